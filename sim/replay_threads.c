/*
 * The event loop on host threads: each does the events of its CPUs in trace order, and the order
 * across threads is free.
 *
 *   before   the trace is dealt out: an array of operations a thread, parts of blocks resolved
 *   during   a free waits until its allocation has been done, on whichever thread; who has which
 *            frame stands in one word a frame, claimed after an allocation returns and given up
 *            before its free begins, so that two owners at one time are seen for certain
 *   after    the ledger learns what changed in all, and everything else is as in any pass
 *
 * No thread runs more than LEAD events ahead of another: the load on memory stays about what it
 * was, and threads meet. The trace's order cannot deadlock: the first operation of all that are not
 * done waits for nobody.
 */
#include <inttypes.h>
#include <string.h>

#include "alloc/memmap.h"
#include "sim/lab.h"
#include "sim/session.h"
#include "sim/sparse.h"
#include "sim/threads.h"

#define LEAD	     1024
#define FINDINGS_MAX 16 /* kept by each thread; all are counted */

enum step_kind {
	STEP_ALLOC = 0,
	STEP_FREE,	/* the whole block */
	STEP_FREE_PART, /* of the requested frames; who frees the last one frees the excess too */
};

/* One operation of a thread. */
struct step {
	uint64_t event;
	uint32_t handle;
	uint32_t frames;
	uint32_t align_frames; /* STEP_ALLOC */
	uint32_t first_part;   /* STEP_FREE_PART */
	uint16_t cpu;
	uint8_t kind, zone, mobility;
};

enum finding_kind {
	FOUND_OWNER = 0, /* the frame's is another than it must be */
	FOUND_UNMANAGED,
	FOUND_TOO_SMALL,
	FOUND_MISALIGNED,
	FOUND_REFUSED, /* a free */
};

static const char *const finding_names[] = { "overlap", "out-of-map", "too-small", "misaligned",
					     "free-refused" };

struct finding {
	enum finding_kind kind;
	uint64_t event, frame;
	uint32_t owner, handle;
	int status;
	bool is_free;
};

/* One thread's, on cache lines of its own. */
struct share {
	GArray *steps; /* struct step */
	uint64_t operations, failures, skipped, deferred_frees, violations;
	uint64_t event; /* being done, read by the others; UINT64_MAX: all are */
	struct finding finding[FINDINGS_MAX];
} __attribute__((aligned(128)));

struct party {
	struct session *session;
	struct handles plan; /* as they will stand when all is done */
	uint64_t plan_count; /* of its numbers, used */
	GHashTable *renamed; /* a handle that the trace gave out again -> its number here */
	/* By handle: which one of those that end up with parts freed was allocated when, from 1 on.
	 * Another one may have their freed parts by then. */
	uint64_t *order, allocated;
	uint32_t *owner; /* by frame: 0 nobody's */
	size_t owner_bytes;
	uint64_t ram_frames;
	bool parts; /* the allocator frees parts */
	struct share share[THREADS_MAX];
};

/* ---- before: dealing out ---- */

static bool complain(struct session *session, const char *what, uint64_t number)
{
	if (!session->error)
		g_set_error(&session->error, LAB_ERROR, LAB_ERROR_INPUT,
			    "trace error: %s: event %" G_GUINT64_FORMAT
			    ": %s (handle %" G_GUINT64_FORMAT ")",
			    session->config->trace_path, session->event, what, number);
	return false;
}

static void deal(struct party *party, const struct event *event, struct step step)
{
	const struct session *session = party->session;
	unsigned cpu = event->cpu % session->machine->config->cpus;

	step.event = session->event;
	step.cpu = (uint16_t)cpu;
	g_array_append_val(party->share[cpu % session->config->threads].steps, step);
}

/* Two allocations may not share a number here, for they may overtake each other. */
static uint64_t number_of(const struct party *party, uint64_t handle)
{
	gpointer number;

	if (g_hash_table_lookup_extended(party->renamed, GSIZE_TO_POINTER(handle), NULL, &number))
		return GPOINTER_TO_SIZE(number);
	return handle;
}

static bool rename_handle(struct party *party, uint64_t handle)
{
	uint64_t number = party->plan_count++;

	if (number >= party->plan.count &&
	    !handles_grow(&party->plan, MIN(2 * number + 1, LEDGER_HANDLE_MAX),
			  &party->session->error))
		return false;
	g_hash_table_insert(party->renamed, GSIZE_TO_POINTER(handle), GSIZE_TO_POINTER(number));
	return true;
}

static bool deal_alloc(struct party *party, const struct event *event)
{
	uint64_t number = number_of(party, event->u.frame.handle);
	struct handle *handle = handles_get(&party->plan, number);
	const char *problem = handles_request_problem(event);

	if (!problem && (!handle || handle->state == HANDLE_LIVE))
		problem = "an allocation whose handle is in use or out of range";
	if (problem)
		return complain(party->session, problem, event->u.frame.handle);
	if (handle->state != HANDLE_UNUSED) {
		if (!rename_handle(party, event->u.frame.handle))
			return false;
		number = number_of(party, event->u.frame.handle);
		handle = handles_get(&party->plan, number);
	}
	*handle = (struct handle){ .frames = event->u.frame.frames,
				   .requested = event->u.frame.frames,
				   .left = event->u.frame.frames,
				   .state = HANDLE_LIVE };
	deal(party, event,
	     (struct step){ .kind = STEP_ALLOC,
			    .handle = (uint32_t)number,
			    .frames = event->u.frame.frames,
			    .align_frames = MAX(event->u.frame.align_frames, 1),
			    .zone = event->u.frame.zone,
			    .mobility = event->u.frame.mobility });
	return true;
}

struct dealing {
	struct party *party;
	const struct event *event;
	uint32_t number; /* of the handle */
};

/* A handles_visit_fn: what earlier frees of parts have left. */
static void deal_run(void *context, struct frame_block run, uint32_t requested)
{
	const struct dealing *dealing = context;

	deal(dealing->party, dealing->event,
	     (struct step){ .kind = STEP_FREE_PART,
			    .handle = dealing->number,
			    .first_part = (uint32_t)run.first.n,
			    .frames = requested });
}

static bool deal_free(struct party *party, const struct event *event)
{
	uint64_t number = number_of(party, event->u.frame.handle);
	struct handle *handle = handles_get(&party->plan, number);
	struct dealing dealing = { party, event, (uint32_t)number };
	uint32_t first = event->u.frame.first_part, frames = event->u.frame.frames;

	if (handle && handle->state == HANDLE_FAILED) {
		party->session->result->skipped++;
		return true;
	}
	if (!handle || handle->state != HANDLE_LIVE)
		return complain(party->session, "free of a handle that is not allocated", number);
	bool untouched = handle->left == handle->requested;
	if (untouched && (frames == 0 || (first == 0 && frames == handle->requested))) {
		deal(party, event, (struct step){ .kind = STEP_FREE, .handle = (uint32_t)number });
		handles_gone(&party->plan, number);
		return true;
	}
	if (frames == 0) {
		handles_live_runs(&party->plan, number, deal_run, &dealing);
		handles_gone(&party->plan, number);
		return true;
	}
	if (!handles_free_part(&party->plan, number, first, frames))
		return complain(party->session, "free of a part that is not allocated", number);
	deal_run(&dealing, (struct frame_block){ { first }, frames }, frames);
	if (handle->left == 0)
		handles_gone(&party->plan, number);
	return true;
}

static bool deal_events(struct party *party)
{
	struct session *session = party->session;
	const struct event *events;
	int count;

	while ((count = trace_reader_next_block(session->reader, &events, &session->error)) > 0) {
		for (int i = 0; i < count; i++) {
			session->event = session->result->events++;
			if (events[i].kind == EVENT_FRAME_ALLOC && !deal_alloc(party, &events[i]))
				return false;
			if (events[i].kind == EVENT_FRAME_FREE && !deal_free(party, &events[i]))
				return false;
			if (session->event == session->config->until)
				return true;
		}
	}
	return session->error == NULL;
}

/* ---- during: who has which frame ---- */

static void note(struct share *share, enum finding_kind kind, struct finding finding)
{
	finding.kind = kind;
	finding.event = share->event;
	if (share->violations < FINDINGS_MAX)
		share->finding[share->violations] = finding;
	share->violations++;
}

/* The block's frames, which must be FROM's, become TO's. */
static void pass_on(struct party *party, struct share *share, uint32_t handle,
		    struct frame_block block, uint32_t from, uint32_t to)
{
	bool managed = memmap_holds(&party->session->machine->boot.map, block.first, block.frames);
	struct finding finding = { .frame = block.first.n, .handle = handle, .is_free = to == 0 };

	if (party->session->config->unjudged)
		return;
	if (!managed) {
		note(share, FOUND_UNMANAGED, finding);
		return;
	}
	for (uint64_t i = 0; i < block.frames; i++) {
		finding.owner =
			__atomic_exchange_n(&party->owner[block.first.n + i], to, __ATOMIC_RELAXED);
		if (finding.owner == from)
			continue;
		finding.frame = block.first.n + i;
		note(share, FOUND_OWNER, finding);
		return;
	}
}

static void judge_block(struct party *party, struct share *share, const struct step *step,
			const struct frame_block *block)
{
	struct finding finding = { .frame = block->first.n, .handle = step->handle };

	if (block->frames < step->frames)
		note(share, FOUND_TOO_SMALL, finding);
	else if (block->first.n & (step->align_frames - 1))
		note(share, FOUND_MISALIGNED, finding);
	pass_on(party, share, step->handle, *block, 0, LEDGER_HANDLE_BASE + step->handle);
}

/* Some of it is live at the end, and some is not. */
static bool ends_in_parts(const struct party *party, uint64_t number)
{
	const struct handle *plan = handles_get(&party->plan, number);

	return plan->state == HANDLE_LIVE && plan->left < plan->requested;
}

static void do_alloc(struct party *party, struct share *share, const struct step *step)
{
	struct session *session = party->session;
	struct handle *handle = &session->handles.entry[step->handle];
	struct frames frames = session->frames; /* on the kernel's stack */
	struct frame_block block;
	struct frame_request request = { .frames = step->frames,
					 .align_frames = step->align_frames,
					 .zone = step->zone,
					 .mobility = step->mobility,
					 .cpu = step->cpu };

	trap_kernel_begin();
	int status = session->kernel->frame_alloc(&frames, &request, &block);
	trap_kernel_end();
	share->operations++;
	if (status == KERR_OK) {
		handle->first = block.first.n;
		handle->frames = block.frames;
		handle->requested = handle->left = step->frames;
		handle->mobility = step->mobility;
		judge_block(party, share, step, &block);
		if (step->frames > 1 && ends_in_parts(party, step->handle))
			party->order[step->handle] =
				__atomic_add_fetch(&party->allocated, 1, __ATOMIC_RELAXED);
	} else {
		share->failures++;
	}
	__atomic_store_n(&handle->state, status == KERR_OK ? HANDLE_LIVE : HANDLE_FAILED,
			 __ATOMIC_RELEASE);
}

static void give(struct party *party, struct share *share, uint32_t handle,
		 struct frame_block block)
{
	struct session *session = party->session;
	struct frames frames = session->frames;

	if (!(frames.ops->caps & FRAME_CAP_FREE))
		return;
	pass_on(party, share, handle, block, LEDGER_HANDLE_BASE + handle, 0);
	trap_kernel_begin();
	int status = session->kernel->frame_free(&frames, &block);
	trap_kernel_end();
	share->operations++;
	if (status != KERR_OK)
		note(share, FOUND_REFUSED,
		     (struct finding){
			     .frame = block.first.n, .handle = handle, .status = status });
}

/* The state of the step's handle once its allocation has been done; HANDLE_UNUSED: not to be waited
 * for any more. */
static uint8_t wait_for_handle(struct party *party, struct threads_worker *worker, uint32_t number)
{
	const struct handle *handle = &party->session->handles.entry[number];
	unsigned looks = 0;
	uint8_t state;

	while ((state = __atomic_load_n(&handle->state, __ATOMIC_ACQUIRE)) == HANDLE_UNUSED)
		if (!threads_wait(worker, &looks))
			break;
	return state;
}

static void free_part(struct party *party, struct share *share, struct handle *handle,
		      const struct step *step)
{
	struct frame_block whole = { { handle->first }, handle->frames };
	struct frame_block part = { { handle->first + step->first_part }, step->frames };
	struct frame_block excess = { { handle->first + handle->requested },
				      handle->frames - handle->requested };

	if (party->parts)
		give(party, share, step->handle, part);
	if (__atomic_sub_fetch(&handle->left, step->frames, __ATOMIC_ACQ_REL) > 0)
		share->deferred_frees += !party->parts;
	else if (!party->parts)
		give(party, share, step->handle, whole);
	else if (excess.frames)
		give(party, share, step->handle, excess);
}

static void do_free(struct party *party, struct share *share, struct threads_worker *worker,
		    const struct step *step)
{
	struct handle *handle = &party->session->handles.entry[step->handle];
	uint8_t state = wait_for_handle(party, worker, step->handle);

	if (state == HANDLE_UNUSED)
		return;
	if (state == HANDLE_FAILED) {
		share->skipped++;
	} else if (step->kind == STEP_FREE_PART) {
		free_part(party, share, handle, step);
	} else {
		give(party, share, step->handle,
		     (struct frame_block){ { handle->first }, handle->frames });
		__atomic_store_n(&handle->left, 0, __ATOMIC_RELAXED);
	}
}

/* The event that some thread has got no further than. */
static uint64_t hindmost(const struct party *party)
{
	uint64_t event = UINT64_MAX;

	for (unsigned i = 0; i < party->session->config->threads; i++)
		event = MIN(event, __atomic_load_n(&party->share[i].event, __ATOMIC_RELAXED));
	return event;
}

/* Publishes where this thread is, and waits for those who lag behind. *HORIZON: as far as is known
 * to be near enough. */
static void keep_together(const struct party *party, struct share *share, uint64_t event,
			  struct threads_worker *worker, uint64_t *horizon)
{
	unsigned looks = 0;

	__atomic_store_n(&share->event, event, __ATOMIC_RELAXED);
	while (event > *horizon) {
		*horizon = hindmost(party) + LEAD;
		if (event > *horizon && !threads_wait(worker, &looks))
			return;
	}
}

static void run_share(struct threads_worker *worker)
{
	struct party *party = worker->context;
	struct share *share = &party->share[worker->index];
	unsigned cpu = worker->index;
	uint64_t horizon = 0;

	for (guint i = 0; i < share->steps->len; i++) {
		const struct step *step = &g_array_index(share->steps, struct step, i);
		if (step->cpu != cpu)
			threads_set_cpu(worker, cpu = step->cpu);
		keep_together(party, share, step->event, worker, &horizon);
		if (threads_stopping(worker))
			return;
		if (step->kind == STEP_ALLOC)
			do_alloc(party, share, step);
		else
			do_free(party, share, worker, step);
		threads_alive(worker);
	}
	__atomic_store_n(&share->event, UINT64_MAX, __ATOMIC_RELAXED);
}

/* ---- after: the books ---- */

static void describe(const struct finding *finding, char *text, gsize bytes)
{
	const char *action = finding->is_free ? "free" : "allocation";

	if (finding->kind == FOUND_REFUSED)
		g_snprintf(text, bytes,
			   "free of handle %u at 0x%" PRIx64
			   ", which it had handed out, is refused (error %d)",
			   finding->handle, finding->frame, finding->status);
	else if (finding->kind != FOUND_OWNER)
		g_snprintf(text, bytes, "%s of handle %u: %s: frame 0x%" PRIx64, action,
			   finding->handle, finding_names[finding->kind], finding->frame);
	else if (finding->owner == 0)
		g_snprintf(text, bytes,
			   "free of handle %u: frame 0x%" PRIx64
			   " was handed out a second time meanwhile, and freed",
			   finding->handle, finding->frame);
	else
		g_snprintf(text, bytes, "%s of handle %u: frame 0x%" PRIx64 " is handle %u's",
			   action, finding->handle, finding->frame,
			   finding->owner - LEDGER_HANDLE_BASE);
}

static void book_share(struct session *session, const struct share *share)
{
	struct replay_result *result = session->result;
	char text[200];

	result->operations += share->operations;
	result->failures += share->failures;
	result->skipped += share->skipped;
	result->deferred_frees += share->deferred_frees;
	for (uint64_t i = 0; i < MIN(share->violations, FINDINGS_MAX); i++) {
		const struct finding *finding = &share->finding[i];
		describe(finding, text, sizeof(text));
		session->event = finding->event;
		session_violation(session, finding_names[finding->kind], finding->frame, text);
	}
	if (share->violations > FINDINGS_MAX)
		result->violations += share->violations - FINDINGS_MAX;
	session->event = REPLAY_ALL;
}

/* What of a block is free by now. */
struct booking {
	struct party *party;
	uint64_t number;
	struct handle *handle;
	uint32_t next; /* requested frames before this one are booked */
};

static void book_release(const struct booking *booking, uint32_t first, uint32_t frames,
			 uint32_t requested)
{
	struct session *session = booking->party->session;
	struct ledger_finding finding;

	if (ledger_release(session->ledger, booking->handle->first + first, frames, requested,
			   (uint32_t)(LEDGER_HANDLE_BASE + booking->number), &finding) != LEDGER_OK)
		session_ledger_violation(session, "free", &finding);
}

/* A handles_visit_fn over what is live: what lies before it was freed. */
static void book_gap(void *context, struct frame_block run, uint32_t requested)
{
	struct booking *booking = context;
	uint32_t from = booking->next, to = (uint32_t)run.first.n;

	booking->next = to + requested;
	if (to == from)
		return;
	if (booking->party->parts)
		book_release(booking, from, to - from, to - from);
	handles_free_part(&booking->party->session->handles, booking->number, from, to - from);
}

static void book_free(struct booking *booking)
{
	struct party *party = booking->party;
	const struct handle *plan = handles_get(&party->plan, booking->number);

	if (plan->state == HANDLE_GONE) {
		book_release(booking, 0, booking->handle->frames, booking->handle->requested);
	} else if (plan->left < plan->requested) {
		booking->handle->left = booking->handle->requested;
		handles_live_runs(&party->plan, booking->number, book_gap, booking);
		book_gap(booking, (struct frame_block){ { plan->requested }, 0 }, 0);
	}
}

static void book_alloc(const struct booking *booking)
{
	struct session *session = booking->party->session;
	const struct handle *handle = booking->handle;
	struct ledger_finding finding;

	if (ledger_take(session->ledger, handle->first, handle->frames, handle->requested, 1,
			(uint32_t)(LEDGER_HANDLE_BASE + booking->number), handle->mobility,
			&finding) != LEDGER_OK)
		session_ledger_violation(session, "allocation", &finding);
}

static void book_handle(struct party *party, uint64_t number, bool was_live)
{
	struct session *session = party->session;
	struct handle *handle = handles_get(&session->handles, number);
	bool frees = session->frames.ops->caps & FRAME_CAP_FREE;
	bool gone = handles_get(&party->plan, number)->state == HANDLE_GONE;
	struct booking booking = { party, number, handle, 0 };

	if (handle->state != HANDLE_LIVE)
		return;
	if (!was_live && !(gone && frees))
		book_alloc(&booking);
	if (frees && (was_live || !gone))
		book_free(&booking);
	if (gone)
		handles_gone(&session->handles, number);
}

static int compare_order(const void *a, const void *b, gpointer context)
{
	const struct party *party = context;
	uint64_t left = party->order[*(const uint64_t *)a];
	uint64_t right = party->order[*(const uint64_t *)b];

	return left < right ? -1 : left > right;
}

static void book_parts(struct party *party)
{
	GArray *numbers = g_array_new(FALSE, FALSE, sizeof(uint64_t));

	for (uint64_t number = 1; number < party->session->handles.count; number++)
		if (party->order[number])
			g_array_append_val(numbers, number);
	g_array_sort_with_data(numbers, compare_order, party);
	for (guint i = 0; i < numbers->len; i++)
		book_handle(party, g_array_index(numbers, uint64_t, i), false);
	g_array_unref(numbers);
}

/* First frees of what was there before, whose frames others may have; then blocks with parts that
 * others may have; then the rest. */
static void book_changes(struct party *party, const uint8_t *before)
{
	uint64_t count = party->session->handles.count;

	for (uint64_t number = 1; number < count; number++)
		if (before[number] == HANDLE_LIVE)
			book_handle(party, number, true);
	book_parts(party);
	for (uint64_t number = 1; number < count; number++)
		if (before[number] != HANDLE_LIVE && !party->order[number])
			book_handle(party, number, false);
}

/* ---- all of it ---- */

static void own(struct party *party, const struct handle *handle, uint32_t owner)
{
	for (uint32_t i = 0; i < handle->frames; i++)
		party->owner[handle->first + i] = owner;
}

/* The plan begins with what the start state has placed. */
static bool party_init(struct party *party, struct session *session)
{
	*party = (struct party){ .session = session };
	party->parts = session->frames.ops->caps & FRAME_CAP_PARTIAL_FREE;
	party->owner_bytes = ledger_totals(session->ledger)->ram_frames * sizeof(uint32_t);
	party->owner = sparse_new(party->owner_bytes);
	for (unsigned i = 0; i < session->config->threads; i++)
		party->share[i].steps = g_array_new(FALSE, FALSE, sizeof(struct step));
	party->plan_count = session->handles.count;
	party->renamed = g_hash_table_new(NULL, NULL);
	if (!handles_init(&party->plan, session->handles.count, &session->error))
		return false;
	if (!party->owner) {
		g_set_error(&session->error, LAB_ERROR, LAB_ERROR_LAB,
			    "lab error: the host has no address space for the owners of frames");
		return false;
	}
	for (uint64_t number = 1; number < session->handles.count; number++) {
		const struct handle *handle = handles_get(&session->handles, number);
		struct handle *plan = handles_get(&party->plan, number);
		*plan = *handle;
		plan->first = 0; /* the plan knows parts, not places */
		plan->frames = plan->requested;
		if (handle->state == HANDLE_LIVE)
			own(party, handle, (uint32_t)(LEDGER_HANDLE_BASE + number));
	}
	return true;
}

static void party_fini(struct party *party)
{
	for (unsigned i = 0; i < party->session->config->threads; i++)
		g_array_unref(party->share[i].steps);
	handles_fini(&party->plan);
	g_hash_table_unref(party->renamed);
	sparse_free(party->owner, party->owner_bytes);
}

static uint8_t *states_of(const struct handles *handles)
{
	uint8_t *states = g_new(uint8_t, handles->count);

	for (uint64_t number = 0; number < handles->count; number++)
		states[number] = handles->entry[number].state;
	return states;
}

static void let_them_run(struct party *party)
{
	struct session *session = party->session;
	struct replay_result *result = session->result;
	struct threads_report report;
	struct threads_config config = {
		.machine = session->machine,
		.count = session->config->threads,
		.run = run_share,
		.context = party,
		.limit_ms = session->config->limit_ms,
	};
	uint8_t *before = states_of(&session->handles);

	party->order = g_new0(uint64_t, session->handles.count);
	bool fine = threads_run(&config, &report, &session->error);

	for (unsigned i = 0; fine && i < config.count; i++)
		book_share(session, &party->share[i]);
	result->seconds = (double)report.wall_ns / 1e9;
	result->cpu_ns = report.cpu_ns;
	if (fine && report.died) {
		result->died = true;
		session->event = party->share[report.thread].event;
		session_violation(session, report.trap.kind, 0, report.trap.message);
		session->event = REPLAY_ALL;
	} else if (fine) {
		book_changes(party, before);
	}
	g_free(before);
	g_free(party->order);
}

void session_replay_threads(struct session *session)
{
	struct party *party = g_aligned_alloc0(1, sizeof(*party), 128);

	if (party_init(party, session) && deal_events(party) &&
	    handles_grow(&session->handles, party->plan_count, &session->error))
		let_them_run(party);
	session->event = REPLAY_ALL;
	party_fini(party);
	g_aligned_free(party);
}
