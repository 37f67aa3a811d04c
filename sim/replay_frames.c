/* The frame slot of a replay: every call into the page-frame allocator, judged by the ledger; and
 * the loop over events, for most of them are calls into it. */
#include <inttypes.h>

#include "sim/lab.h"
#include "sim/session.h"
#include "sim/start_state.h"
#include "sim/trap.h"

/* What happens at every event is one function to the compiler, session_events(): a call costs as
 * much as what most of these do. */
#define HOT static inline __attribute__((always_inline))

#define LOOK_AHEAD 16 /* events */

/* ---- calls into the kernel ---- */

static unsigned order_of(uint32_t frames)
{
	return frames <= 1 ? 0 : 32 - (unsigned)__builtin_clz(frames - 1);
}

/* Who looks on when the allocator is called. In the loop over events a constant. */
enum watcher { NOBODY = 0, CLOCK, PROBES };

static enum watcher watcher_of(const struct session *session)
{
	return session->pass == PASS_PROBED ? PROBES : session->timed ? CLOCK : NOBODY;
}

/* A call of the probed build. */
struct watch {
	struct replay_row *row; /* that it is charged to */
	uint64_t before;	/* accesses charged to it so far */
};

/* Charges what the probed build does next to that row; COUNT says whether it is one of the trace's
 * events. */
HOT struct watch watch_call(struct session *session, enum replay_operation operation,
			    uint32_t frames, bool count)
{
	struct replay_row *row = &session->result->row[operation][order_of(frames)];
	row->operations += count;
	probe_phase(PROBE_RUN, count ? &row->counters : NULL);
	return (struct watch){ row, replay_accesses(&row->counters) };
}

HOT void watch_end(const struct watch *watch)
{
	probe_phase(PROBE_OFF, NULL);
	replay_row_most(watch->row, watch->before);
}

/* Books what an operation took. One in which the lab may have filled windows is looked at now, and
 * so is one that demand_request() may want to know about. */
HOT void note_latency(struct session *session, enum replay_operation operation, uint32_t frames,
		      unsigned cpu, uint64_t start, uint64_t stop)
{
	if (frames == 1 && !session->meter.cost) {
		recorder_stamp(session->stamps, operation, 0, cpu, session->event, stop - start);
		return;
	}
	session->last_ns = session_net_ns(session, start, stop);
	recorder_latency(session->recorder, operation, order_of(frames), cpu, session->event,
			 session->last_ns);
}

/* FRAMES: session->frames, on the kernel's stack. */
HOT int enter_alloc(struct session *session, const struct frames *frames,
		    const struct frame_request *request, struct frame_block *block, bool count,
		    enum watcher watcher)
{
	struct watch watch = { NULL, 0 };

	if (watcher == PROBES)
		watch = watch_call(session, OPERATION_ALLOC, request->frames, count);
	trap_kernel_begin();
	uint64_t start = watcher == CLOCK ? session_start(session) : 0;
	int status = session->kernel->frame_alloc(frames, request, block);
	uint64_t stop = watcher == CLOCK ? timer_stop() : 0;
	trap_kernel_end();
	if (watcher == PROBES)
		watch_end(&watch);
	if (watcher == CLOCK && count)
		note_latency(session, OPERATION_ALLOC, request->frames, request->cpu, start, stop);
	return status;
}

static int call_alloc(struct session *session, const struct frame_request *request,
		      struct frame_block *block, bool count)
{
	struct frames frames = session->frames;

	return enter_alloc(session, &frames, request, block, count, watcher_of(session));
}

HOT int enter_free(struct session *session, const struct frames *frames,
		   const struct frame_block *block, unsigned cpu, bool count, enum watcher watcher)
{
	struct watch watch = { NULL, 0 };

	if (watcher == PROBES)
		watch = watch_call(session, OPERATION_FREE, block->frames, count);
	trap_kernel_begin();
	uint64_t start = watcher == CLOCK ? session_start(session) : 0;
	int status = session->kernel->frame_free(frames, block);
	uint64_t stop = watcher == CLOCK ? timer_stop() : 0;
	trap_kernel_end();
	if (watcher == PROBES)
		watch_end(&watch);
	if (watcher == CLOCK && count)
		note_latency(session, OPERATION_FREE, block->frames, cpu, start, stop);
	return status;
}

/* ---- allocation ---- */

static uint64_t digest_step(uint64_t digest, uint64_t event, uint64_t frame)
{
	return random_mix(digest ^ random_mix(event * 0x9e3779b97f4a7c15ull + frame));
}

/* Books what the allocator gave; HANDLE: NULL for none. False when it must not have given that; the
 * handle is then as if it had failed. */
HOT bool book(struct session *session, uint64_t number, struct handle *handle,
	      const struct frame_request *request, const struct frame_block *block)
{
	struct ledger_finding finding;
	uint32_t owner = number ? (uint32_t)(LEDGER_HANDLE_BASE + number) : LEDGER_UNTOUCHED;

	if (!session->config->unjudged &&
	    ledger_take(session->ledger, block->first.n, block->frames, request->frames,
			request->align_frames, owner, request->mobility, &finding) != LEDGER_OK) {
		session_ledger_violation(session, "allocation", &finding);
		return false;
	}
	if (handle)
		*handle = (struct handle){ .first = block->first.n,
					   .frames = block->frames,
					   .requested = request->frames,
					   .left = request->frames,
					   .state = HANDLE_LIVE,
					   .mobility = request->mobility };
	else
		g_array_append_val(session->untouched, *block);
	return true;
}

HOT struct frame_request request_for(const struct session *session, const struct event *event)
{
	bool at = session->config->place_recorded && event->u.frame.frame != EVENT_NO_FRAME &&
		  (session->frames.ops->caps & FRAME_CAP_AT);

	return (struct frame_request){
		.frames = event->u.frame.frames,
		.align_frames = event->u.frame.align_frames ? event->u.frame.align_frames : 1,
		.zone = event->u.frame.zone,
		.mobility = event->u.frame.mobility,
		.cpu = (uint16_t)session->machine->current_cpu,
		.flags = at ? FRAME_AT : 0,
		.at = { at ? event->u.frame.frame : 0 },
	};
}

static void trace_fault(struct session *session, const char *what, uint64_t number)
{
	if (!session->error)
		g_set_error(&session->error, LAB_ERROR, LAB_ERROR_INPUT,
			    "trace error: %s: event %" G_GUINT64_FORMAT
			    ": %s (handle %" G_GUINT64_FORMAT ")",
			    session->config->trace_path, session->event, what, number);
}

/* BLOCK: NULL when it failed. Before the ledger books it: the fill level is that of the request. */
static void note_demand(struct session *session, const struct event *event,
			const struct frame_block *block)
{
	if (!session->demand)
		return;
	if (block && demand_served(session->demand, event->task, event->u.frame.frames,
				   block->first.n, block->frames))
		return;
	const struct ledger_totals *totals = ledger_totals(session->ledger);
	demand_request(session->demand, event->task, event->u.frame.frames,
		       100 - 100 * (double)totals->free_frames / (double)totals->usable_frames,
		       block ? block->first.n : 0, block ? block->frames : 0, session->last_ns);
}

HOT void alloc_event(struct session *session, const struct frames *frames,
		     const struct event *event, enum watcher watcher)
{
	uint64_t number = event->u.frame.handle;
	struct handle *handle = handles_get(&session->handles, number);
	struct frame_block block;

	const char *problem = handles_request_problem(event);

	if (!problem && (!handle || handle->state == HANDLE_LIVE))
		problem = "an allocation whose handle is in use or out of range";
	if (problem) {
		trace_fault(session, problem, number);
		return;
	}
	struct frame_request request = request_for(session, event);
	int status = enter_alloc(session, frames, &request, &block, true, watcher);
	if (status != KERR_OK && (request.flags & FRAME_AT)) {
		/* Somebody holds the recorded frames here: any others will do. */
		request.flags = 0;
		session->result->displaced++;
		status = call_alloc(session, &request, &block, true);
	}
	note_demand(session, event, status == KERR_OK ? &block : NULL);
	struct replay_result *result = session->result;
	result->operations++;
	result->digest = digest_step(result->digest, session->event,
				     status == KERR_OK ? block.first.n : EVENT_NO_FRAME);
	if (status == KERR_OK && book(session, number, handle, &request, &block))
		return;
	handle->state = HANDLE_FAILED;
	if (status == KERR_OK)
		return;
	session->result->failures++;
	recorder_failure(session->recorder, session->event, event);
}

/* ---- free ---- */

struct release {
	struct session *session;
	uint64_t number;
	unsigned cpu;
	bool count;
};

static void free_refused(struct session *session, const struct frame_block *run, int status)
{
	char message[160];

	g_snprintf(message, sizeof(message),
		   "free of %u frames at 0x%" PRIx64
		   " that it had handed out is refused (error %d)",
		   run->frames, run->first.n, status);
	session_violation(session, "free-refused", run->first.n, message);
}

/* Frees one run of a handle's block. The frames are free in the ledger before the allocator writes
 * its records there. */
HOT void release_block(const struct release *release, const struct frames *frames,
		       struct frame_block run, uint32_t requested, enum watcher watcher)
{
	struct session *session = release->session;
	struct ledger_finding finding;
	uint32_t owner = release->number ? (uint32_t)(LEDGER_HANDLE_BASE + release->number)
					 : LEDGER_UNTOUCHED;

	if (!(session->frames.ops->caps & FRAME_CAP_FREE))
		return;
	if (!session->config->unjudged && ledger_release(session->ledger, run.first.n, run.frames,
							 requested, owner, &finding) != LEDGER_OK) {
		session_ledger_violation(session, "free", &finding);
		return;
	}
	int status = enter_free(session, frames, &run, release->cpu, release->count, watcher);
	session->result->operations += release->count;
	if (status != KERR_OK)
		free_refused(session, &run, status);
}

/* A handles_visit_fn. */
static void release_run(void *context, struct frame_block run, uint32_t requested)
{
	const struct release *release = context;
	struct frames frames = release->session->frames;

	release_block(release, &frames, run, requested, watcher_of(release->session));
}

static void free_part(struct session *session, const struct event *event, struct handle *handle)
{
	uint64_t number = event->u.frame.handle;
	uint32_t first = event->u.frame.first_part, frames = event->u.frame.frames;
	struct release release = { session, number, session->machine->current_cpu, true };
	bool partial = session->frames.ops->caps & FRAME_CAP_PARTIAL_FREE;

	if (!handles_free_part(&session->handles, number, first, frames)) {
		trace_fault(session, "free of a part that is not allocated", number);
		return;
	}
	if (partial)
		release_run(&release, (struct frame_block){ { handle->first + first }, frames },
			    frames);
	else
		session->result->deferred_frees += handle->left > 0;
	if (handle->left > 0)
		return;
	handles_gone(&session->handles, number);
	if (!partial)
		release_run(&release, (struct frame_block){ { handle->first }, handle->frames },
			    handle->requested);
	else if (handle->frames > handle->requested)
		release_run(&release,
			    (struct frame_block){ { handle->first + handle->requested },
						  handle->frames - handle->requested },
			    0);
}

/* All that is left of a handle: with parts freed already, an allocator without partial frees gets
 * the whole block back. */
HOT void free_rest(struct session *session, const struct frames *frames, uint64_t number,
		   struct handle *handle, bool count, enum watcher watcher)
{
	struct release release = { session, number, session->machine->current_cpu, count };

	if (session->handles.cut && (session->frames.ops->caps & FRAME_CAP_PARTIAL_FREE))
		handles_live_runs(&session->handles, number, release_run, &release);
	else
		release_block(&release, frames,
			      (struct frame_block){ { handle->first }, handle->frames },
			      handle->requested, watcher);
	handles_gone(&session->handles, number);
}

HOT void free_event(struct session *session, const struct frames *frames, const struct event *event,
		    enum watcher watcher)
{
	uint64_t number = event->u.frame.handle;
	struct handle *handle = handles_get(&session->handles, number);

	if (handle && handle->state == HANDLE_FAILED) {
		session->result->skipped++;
		return;
	}
	if (!handle || handle->state != HANDLE_LIVE) {
		trace_fault(session, "free of a handle that is not allocated", number);
		return;
	}
	bool whole = event->u.frame.frames == handle->requested && event->u.frame.first_part == 0 &&
		     handle->left == handle->requested;
	if (event->u.frame.frames == 0 || whole)
		free_rest(session, frames, number, handle, true, watcher);
	else
		free_part(session, event, handle);
}

/* ---- the events ---- */

/* Its handle is wanted soon: the table is larger than the host's caches. */
HOT void expect_event(const struct session *session, const struct event *event)
{
	if (event->kind == EVENT_FRAME_ALLOC || event->kind == EVENT_FRAME_FREE)
		handles_expect(&session->handles, event->u.frame.handle);
}

HOT int events_under(enum watcher watcher, struct session *session, uint64_t number,
		     const struct event *events, int count)
{
	struct frames frames = session->frames; /* on the kernel's stack */
	struct replay_result *result = session->result;
	bool ours = !session->heap;

	for (int i = 0; i < MIN(count, LOOK_AHEAD); i++)
		expect_event(session, &events[i]);
	for (int i = 0; i < count; i++) {
		const struct event *event = &events[i];
		if (i + LOOK_AHEAD < count)
			expect_event(session, event + LOOK_AHEAD);
		session->event = number++;
		session->time_ns = event->time_ns;
		session_set_cpu(session, event->cpu);
		if (ours && event->kind == EVENT_FRAME_ALLOC)
			alloc_event(session, &frames, event, watcher);
		else if (ours && event->kind == EVENT_FRAME_FREE)
			free_event(session, &frames, event, watcher);
		else
			session_other_event(session, event);
		result->events++;
		if (session->error || session->corrupt)
			return i + 1;
	}
	return count;
}

int session_events(struct session *session, uint64_t number, const struct event *events, int count)
{
	switch (watcher_of(session)) {
	case CLOCK:
		return events_under(CLOCK, session, number, events, count);
	case PROBES:
		return events_under(PROBES, session, number, events, count);
	case NOBODY:
		break;
	}
	return events_under(NOBODY, session, number, events, count);
}

/* ---- before the first event and after the last ---- */

static void note_start_failure(struct session *session, const struct start_item *item)
{
	struct handle *handle = item->handle ? handles_get(&session->handles, item->handle) : NULL;

	session->result->start_failures++;
	if (handle)
		handle->state = HANDLE_FAILED;
}

/* Returns false when the recorded place is taken and the item must wait until all others have
 * theirs. */
static bool start_one(struct session *session, const struct start_item *item, bool at)
{
	struct frame_block block;
	struct frame_request request = {
		.frames = item->frames,
		.align_frames = item->align_frames ? item->align_frames : 1,
		.zone = item->zone,
		.mobility = item->mobility,
		.cpu = (uint16_t)(item->cpu % session->machine->config->cpus),
		.flags = at ? FRAME_AT : 0,
		.at = { at ? item->frame : 0 },
	};

	if (call_alloc(session, &request, &block, false) != KERR_OK) {
		if (at)
			return false;
		note_start_failure(session, item);
	} else if (!book(session, item->handle, handles_get(&session->handles, item->handle),
			 &request, &block)) {
		note_start_failure(session, item);
	}
	return true;
}

bool session_hold(struct session *session, const struct frame_request *request)
{
	struct frame_request booked = *request;
	struct frame_block block;

	if (call_alloc(session, request, &block, false) != KERR_OK)
		return false;
	if (!(session->frames.ops->caps & FRAME_CAP_MOBILITY))
		booked.mobility =
			session->config->fixture->mobility(block.first.n, session->config->seed);
	return book(session, 0, NULL, &booked, &block);
}

void session_let_go(struct session *session, const struct frame_block *block)
{
	struct release release = { session, 0, 0, false };

	release_run(&release, *block, block->frames);
}

void session_start_state(struct session *session)
{
	bool recorded = session->config->start == START_RECORDED &&
			(session->frames.ops->caps & FRAME_CAP_AT);
	GArray *start = session->start;
	guint waiting = 0;

	if (session->config->start == START_FIXTURE)
		session_fixture(session);
	for (guint i = 0; i < start->len; i++) {
		struct start_item *item = &g_array_index(start, struct start_item, i);
		bool at = recorded && item->frame != EVENT_NO_FRAME;
		session->result->untouched_frames += item->handle == 0;
		/* Items without a place, and those whose place is taken, come after all that have
		 * one. */
		if ((recorded && !at) || !start_one(session, item, at)) {
			session->result->displaced += at;
			g_array_index(start, struct start_item, waiting++) = *item;
		}
	}
	for (guint i = 0; i < waiting; i++)
		start_one(session, &g_array_index(start, struct start_item, i), false);
}

void session_give_back(struct session *session)
{
	struct release untouched = { session, 0, 0, false };
	struct frames frames = session->frames;
	enum watcher watcher = watcher_of(session);

	for (uint64_t number = 1; number < session->handles.count; number++) {
		struct handle *handle = handles_get(&session->handles, number);
		if (handle->state == HANDLE_LIVE)
			free_rest(session, &frames, number, handle, false, watcher);
	}
	for (guint i = 0; i < session->untouched->len; i++)
		release_run(&untouched, g_array_index(session->untouched, struct frame_block, i),
			    1);
}
