/*
 * One pass: power on, boot, start state, the events, the last audit, everything given back.
 *
 * All kernel code of the pass runs inside trap_run(); whatever it may leave half done is owned by
 * the session.
 */
#include "sim/replay.h"

#include <inttypes.h>
#include <string.h>

#include "alloc/lock.h"
#include "sim/fragmentation.h"
#include "sim/lab.h"
#include "sim/session.h"
#include "sim/start_state.h"
#include "sim/ties.h"
#include "sim/trap.h"
#include "sim/watchdog.h"

/* RAM up to this is touched whole before a timed pass, of larger RAM what the same pass touches. */
#define POPULATE_MAX_BYTES (4ull << 30)

const char *const replay_operation_names[OPERATIONS] = {
	[OPERATION_BOOT] = "boot",
	[OPERATION_ALLOC] = "frame_alloc",
	[OPERATION_FREE] = "frame_free",
	SPACE_CALL_NAMES(OPERATION_SPACE),
};

const char *const replay_heap_operation_names[OPERATIONS] = { "boot", "heap_alloc", "heap_free",
							      "heap_fault" };

static bool going_on(const struct session *session)
{
	return !session->error && !session->corrupt && !session->reached;
}

static bool free_of_boot(const void *context, uint64_t frame)
{
	const struct session *session = context;

	return ledger_owner(session->ledger, frame) == LEDGER_FREE;
}

static void replay_heap_event(struct session *session, const struct event *event)
{
	switch (event->kind) {
	case EVENT_HEAP_ALLOC:
		session_heap_alloc(session, event);
		break;
	case EVENT_HEAP_REALLOC:
		session_heap_resize(session, event);
		break;
	case EVENT_HEAP_FREE:
		session_heap_release(session, event);
		break;
	default: /* frame events belong to the recorded heap too: replay_heap.c */
		break;
	}
}

void session_other_event(struct session *session, const struct event *event)
{
	if (session->heap) {
		replay_heap_event(session, event);
		return;
	}
	switch (event->kind) {
	case EVENT_SPAWN:
	case EVENT_FORK:
	case EVENT_EXEC:
	case EVENT_EXIT:
	case EVENT_MMAP:
	case EVENT_MUNMAP:
	case EVENT_MPROTECT:
	case EVENT_BRK:
	case EVENT_TOUCH:
		session_space_event(session, event);
		break;
	default: /* objects, markers, the recorded buddy's story */
		break;
	}
}

/* Objects that are alive before event 0: of a piece cut out of a trace. */
static void start_objects(struct session *session)
{
	struct event event;

	trace_reader_rewind(session->reader);
	while (going_on(session) &&
	       trace_reader_next_start(session->reader, &event, &session->error) > 0)
		if (event.kind == EVENT_HEAP_ALLOC) {
			session_set_cpu(session, event.cpu);
			session_heap_alloc(session, &event);
		}
}

static void audit(struct session *session)
{
	session_audit(session);
	if (session->heap && !session->corrupt)
		session_heap_audit(session);
}

static void replay_one(struct session *session, uint64_t number, const struct event *event)
{
	session->event = number;
	session->time_ns = event->time_ns;
	recorder_tick(session->recorder, session->result->events, session->time_ns);
	session_events(session, number, event, 1);
	session->reached = number == session->config->until;
	if (session->config->check_events &&
	    session->result->events % session->config->check_events == 0)
		audit(session);
}

/* The events of one instant, in the order that the seed chooses. */
static void replay_ties(struct session *session, const struct event *events, int count)
{
	uint64_t first = session->result->events;
	int order[TIES_MAX];

	ties_shuffle(events, count, &session->random, order);
	for (int i = 0; i < count && going_on(session); i++)
		replay_one(session, first + (uint64_t)order[i], &events[order[i]]);
}

/* How many of the events come before one at which, or after which, something else than itself is
 * due: a sample, an audit, the end, another order of simultaneous ones. */
static int quiet_events(const struct session *session, const struct event *events, int count)
{
	const struct replay_config *config = session->config;
	uint64_t now = session->result->events, quiet = (uint64_t)count, event, time_ns;
	int before = 0;

	if (config->seed)
		return 0;
	recorder_due(session->recorder, &event, &time_ns);
	quiet = MIN(quiet, event > now ? event - now : 0);
	quiet = MIN(quiet, config->until - now);
	if (config->check_events)
		quiet = MIN(quiet, config->check_events - 1 - now % config->check_events);
	if (time_ns == UINT64_MAX)
		return (int)quiet;
	while (before < (int)quiet && events[before].time_ns < time_ns)
		before++;
	return before;
}

static void replay_block(struct session *session, const struct event *events, int count)
{
	for (int i = 0; i < count && going_on(session);) {
		int quiet = quiet_events(session, events + i, count - i);
		if (quiet) {
			i += session_events(session, session->result->events, events + i, quiet);
			continue;
		}
		int ties = session->config->seed ? ties_count(events + i, count - i) : 1;
		if (ties > 1)
			replay_ties(session, events + i, ties);
		else
			replay_one(session, session->result->events, &events[i]);
		i += ties;
	}
}

static int next_block(struct session *session, const struct event **events)
{
	/* Decoding alone touches no new memory, and to ask the host is a system call. */
	if (!trace_reader_at_block_end(session->reader))
		return trace_reader_next_block(session->reader, events, &session->error);
	uint64_t before = timer_minor_faults();
	int count = trace_reader_next_block(session->reader, events, &session->error);

	session->lab_faults += timer_minor_faults() - before;
	return count;
}

static void replay_events(struct session *session)
{
	const struct event *events;
	int count;

	while (going_on(session) && (count = next_block(session, &events)) > 0)
		replay_block(session, events, count);
}

/* Books that outlive the session. */
static void keep_heap_result(struct session *session)
{
	struct replay_heap *kept = &session->result->heap;
	const GArray *sites = heap_ledger_sites(session->heap->ledger);

	session_mapped_figures(session);
	kept->totals = *heap_ledger_totals(session->heap->ledger);
	memcpy(kept->sizes, heap_ledger_sizes(session->heap->ledger), sizeof(kept->sizes));
	kept->frame_requests = session->heap->frame_requests;
	kept->points = heap_ledger_points(session->heap->ledger);
	kept->metadata_at_peak = session->heap->metadata_at_peak;
	kept->objects_at_peak = session->heap->objects_at_peak;
	kept->worst_alloc = session->heap->worst_alloc;
	kept->worst_free = session->heap->worst_free;
	kept->state_bytes = session->heap->state_bytes;
	kept->kept_bytes = session->heap->kept_bytes;
	kept->sites = g_array_new(FALSE, FALSE, sizeof(struct heap_site));
	kept->caches = g_ptr_array_new_with_free_func(g_free);
	g_array_append_vals(kept->sites, sites->data, sites->len);
	for (guint i = 0; i < sites->len; i++)
		g_ptr_array_add(
			kept->caches,
			g_strdup(trace_reader_string(
				session->reader, g_array_index(sites, struct heap_site, i).cache)));
}

static void note_lock(struct session *session)
{
	const struct spinlock *lock = session->frames.lock;

	if (!lock)
		return;
	session->result->lock_acquisitions = lock->acquisitions;
	session->result->lock_contended = lock->contended;
	session->result->lock_waits = lock->waits;
}

/* Kernel code from here on; left at any point by trap_die(). */
static void run_start(struct session *session, struct frame_ops *watched)
{
	session->event = REPLAY_ALL;
	session_space_start(session);
	if (session->error)
		return;
	if (session->heap)
		session_heap_start(session, watched);
	else
		session_start_state(session);
	if (session->heap && !session->error)
		start_objects(session);
	if (!session->error)
		audit(session);
}

static void run_events(struct session *session)
{
	struct replay_result *result = session->result;

	if (session->recorder)
		session->timed = session->pass == PASS_NATIVE && recorder_timed(session->recorder);
	session_space_tick(session);
	uint64_t faults = timer_minor_faults() - recorder_lab_faults(session->recorder);
	gint64 begin = g_get_monotonic_time();
	uint64_t cpu_begin = timer_thread_cpu_ns();
	replay_events(session);
	result->cpu_ns = timer_thread_cpu_ns() - cpu_begin;
	result->seconds = (double)(g_get_monotonic_time() - begin) / 1e6;
	result->host_minor_faults = timer_minor_faults() - recorder_lab_faults(session->recorder) -
				    session->lab_faults - faults;
	result->lab_ns = session->meter.lab_ns;
	session->timed = false;
}

static void run_end(void *argument)
{
	struct session *session = argument;
	struct replay_result *result = session->result;

	session->event = REPLAY_ALL;
	session_space_figures(session);
	note_lock(session);
	if (!session->corrupt)
		audit(session);
	if (session->recorder) {
		recorder_end(session->recorder, result->events, session->time_ns, result->metrics);
		recorder_demand(session->recorder, demand_bins(session->demand));
	}
	if (session->heap)
		keep_heap_result(session);
	result->died = session->corrupt;
	if (!(session->frames.ops->caps & FRAME_CAP_FREE) || session->config->unjudged ||
	    session->corrupt)
		return;
	session_space_end(session);
	if (session->heap) {
		session_heap_end(session);
		/* What it keeps by design is no leak of the frame allocator's. */
		if (session->corrupt || !(session->heap->heap.ops->caps & HEAP_CAP_GIVES_BACK))
			return;
	} else {
		session_give_back(session);
	}
	const struct ledger_totals *totals = ledger_totals(session->ledger);
	if (totals->free_frames + session_space_held(session) + session_mapped_held(session) !=
	    result->managed_frames)
		session_violation(
			session, "leak", 0,
			"after everything was given back fewer frames are free than after boot");
	session_audit(session);
}

static void run_all(void *argument)
{
	struct session *session = argument;
	struct frame_ops watched;

	run_start(session, &watched);
	if (session->error)
		return;
	run_events(session);
	run_end(session);
}

static void run_start_alone(void *argument)
{
	run_start(argument, NULL);
}

static void run_part(struct session *session, void (*part)(void *))
{
	struct trap_report report;

	if (trap_run(part, session, &report))
		return;
	session->result->died = true;
	if (session->heap && report.address.a)
		session_mapped_explain(session, report.address, &report);
	session_violation(session, report.kind, 0, report.message);
}

static void run_kernel(struct session *session)
{
	if (!session->config->threads) {
		run_part(session, run_all);
		return;
	}
	run_part(session, run_start_alone);
	if (!session->result->died && !session->corrupt && !session->error)
		session_replay_threads(session);
	if (!session->result->died && !session->error)
		run_part(session, run_end);
}

static void assign_boot_frames(struct session *session)
{
	const struct machine *machine = session->machine;
	const struct boot_result *boot = &machine->boot;

	for (uint32_t i = 0; i < boot->map.count; i++)
		ledger_assign(session->ledger, boot->map.ranges[i].first.n,
			      boot->map.ranges[i].frames, LEDGER_FREE);
	for (guint i = 0; i < machine->usable->len; i++) {
		const struct frame_range *range =
			&g_array_index(machine->usable, struct frame_range, i);
		ledger_assign_holes(session->ledger, range->first.n, range->frames, LEDGER_TABLE);
	}
	ledger_assign(session->ledger, boot->state_range.first.n, boot->state_range.frames,
		      LEDGER_STATE);
	ledger_seal(session->ledger);
}

static bool power_on(struct session *session, GError **error)
{
	const struct replay_config *config = session->config;
	struct replay_result *result = session->result;
	const struct frame_ops *ops = config->frames[session->pass];
	struct replay_row *boot_row = &result->row[OPERATION_BOOT][0];

	session->machine = machine_new(config->machine, error);
	if (!session->machine)
		return false;
	if (!session_space_prepare(session, error) || !session_mapped_prepare(session, error))
		return false;
	machine_enter(session->machine);
	if (session->pass == PASS_PROBED) {
		struct probe probe = { .machine = session->machine,
				       .frames = ops,
				       .report = session_probe_finding,
				       .context = session };
		probe_begin(&probe);
		probe_phase(PROBE_BOOT, &boot_row->counters);
		boot_row->operations = 1;
	}
	session->frames.ops = ops;
	session->event = REPLAY_ALL;
	bool booted = machine_boot(session->machine, session->kernel->boot, ops,
				   &config->frame_config, error);
	probe_phase(PROBE_OFF, NULL);
	if (!booted)
		return false;
	const struct boot_result *boot = &session->machine->boot;
	session->frames = boot->frames;
	result->state_bytes = boot->state_bytes;
	result->table_frames = boot->table_frames;
	result->managed_frames = boot->map.frames;
	result->usable_frames = boot->usable_frames;
	session->ledger = ledger_new(session->machine->ram.size >> X86_PAGE_SHIFT);
	if (!session->ledger) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_LAB,
			    "lab error: the host has no address space for the ledger");
		return false;
	}
	ledger_expect_handles(session->ledger, session->handles.count);
	assign_boot_frames(session);
	session_space_booted(session);
	if (session->pass == PASS_PROBED)
		probe_set_ledger(session->ledger);
	else if (session->rehearsed)
		machine_populate(session->machine, session->rehearsed);
	else if (session->recorder)
		machine_populate(session->machine, session->machine->usable);
	return true;
}

static void add_figures(void *context, struct metrics_extra *extra)
{
	const struct session *session = context;
	struct frame_stats stats = { 0 };

	trap_kernel_begin();
	session->frames.ops->stats(session->frames.state, &stats);
	trap_kernel_end();
	extra->kept_frames = stats.kept_frames;
	extra->failures = session->result->failures;
	extra->has_mobility = session->frames.ops->caps & FRAME_CAP_MOBILITY;
	extra->fallbacks = stats.fallbacks;
	extra->fragmenting_fallbacks = stats.fragmenting_fallbacks;
	demand_figures(session->demand, &extra->demand);
	if (session->space)
		session_space_metrics(context, &extra->spaces);
}

/* Of what is there beside the ledger. */
static void take_samples(void *context, struct result *result, uint64_t event, uint64_t time_ns)
{
	const struct session *session = context;

	if (session->heap)
		session_heap_sample(context, result, event, time_ns);
	if (session->space)
		session_space_sample(context, event, time_ns);
}

/* Each handle of the start section once: none has its frames yet. */
static bool name_start_handles(struct session *session, GError **error)
{
	for (guint i = 0; i < session->start->len; i++) {
		uint64_t number = g_array_index(session->start, struct start_item, i).handle;
		struct handle *handle = handles_get(&session->handles, number);
		if (number == 0)
			continue;
		if (!handle || handle->state != HANDLE_UNUSED) {
			g_set_error(error, LAB_ERROR, LAB_ERROR_INPUT,
				    "trace error: %s: start section: handle %" G_GUINT64_FORMAT
				    " is out of range or there twice",
				    session->config->trace_path, number);
			return false;
		}
		handle->state = HANDLE_FAILED;
	}
	return true;
}

static bool prepare_heap(struct session *session, const struct trace_meta *meta, GError **error)
{
	if (meta->kind_count[EVENT_HEAP_ALLOC] == 0)
		return lab_usage(error, "%s holds no heap events to replay",
				 session->config->trace_path);
	return session_heap_new(session, meta->handles, error);
}

static bool prepare(struct session *session, GError **error)
{
	const struct replay_config *config = session->config;
	struct replay_result *result = session->result;
	const struct trace_meta *meta;

	session->reader = trace_reader_open(config->trace_path, error);
	if (!session->reader)
		return false;
	meta = trace_reader_meta(session->reader);
	result->prologue = meta->prologue;
	result->prologue_frames = meta->prologue_frames;
	if (meta->handles > meta->events + meta->prologue + 1) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_INPUT,
			    "trace error: %s: handles up to %" G_GUINT64_FORMAT
			    " in a trace of %" G_GUINT64_FORMAT " events",
			    config->trace_path, meta->handles, meta->events);
		return false;
	}
	if (!handles_init(&session->handles, meta->handles, error) || !power_on(session, error))
		return false;
	session->start = start_items(session->reader, session->machine, config->start, config->seed,
				     free_of_boot, session, error);
	if (!session->start) {
		if (error && g_error_matches(*error, LAB_ERROR, LAB_ERROR_INPUT))
			g_prefix_error(error, "trace error: %s: ", config->trace_path);
		return false;
	}
	if (!name_start_handles(session, error))
		return false;
	if (config->heap[session->pass] && session->machine->config->highmem)
		return lab_usage(error,
				 "machine %s: highmem=on: kernel heaps keep to the direct map",
				 session->machine->config->name);
	if (config->heap[session->pass] && !prepare_heap(session, meta, error))
		return false;
	if (!session->recorder)
		return true;
	session->demand = demand_new(machine_huge_order(session->machine->config));
	session->meter.windows = session->machine->windows;
	/* Frame allocators keep to the direct map; calibrating takes a tenth of a second. */
	if ((session->heap || config->spaces) && session->pass == PASS_NATIVE &&
	    recorder_timed(session->recorder))
		session->meter.cost = window_cost_get();
	struct recorder_view view = {
		.ledger = session->ledger,
		.machine = session->machine,
		.trace = session->reader,
		.last_event = config->until == REPLAY_ALL ? meta->events
							  : MIN(meta->events, config->until + 1),
		.add_figures = add_figures,
		.sample = take_samples,
		.context = session,
	};
	return recorder_begin(session->recorder, &view, error);
}

static void session_clear(struct session *session)
{
	if (session->rehearsed)
		g_array_unref(session->rehearsed);
	if (session->pass == PASS_PROBED)
		probe_end();
	machine_leave();
	session_space_clear(session);
	handles_fini(&session->handles);
	if (session->start)
		g_array_unref(session->start);
	if (session->held)
		g_array_unref(session->held);
	demand_free(session->demand);
	g_array_unref(session->untouched);
	session_heap_free(session);
	g_clear_pointer(&session->ledger, ledger_free);
	machine_free(session->machine);
	g_clear_pointer(&session->reader, trace_reader_free);
}

/* A pass over a session of its own. A recorder's pass is timed: on REHEARSED frames, when they are
 * given; TOUCHED gets those that this one touches. Either may be NULL. */
static bool run_pass(const struct replay_config *config, enum kernel_pass pass,
		     struct recorder *recorder, GArray *rehearsed, GArray **touched,
		     struct replay_result *result, GError **error)
{
	struct session *session = g_new0(struct session, 1);
	*result = (struct replay_result){ .violation_list = g_ptr_array_new_with_free_func(
						  session_violation_free) };
	result->metrics = g_new0(double, metrics_count());
	result->digested = config->threads == 0;
	session->config = config;
	session->pass = pass;
	session->kernel = &kernels[pass];
	session->recorder = recorder;
	session->stamps = recorder ? recorder_stamps(recorder) : NULL;
	session->rehearsed = rehearsed;
	session->result = result;
	session->timer = timer_get();
	session->random = random_seeded(config->seed);
	session->untouched = g_array_new(FALSE, FALSE, sizeof(struct frame_block));
	watchdog_start(config->limit_ms);
	bool ok = prepare(session, error);
	if (ok)
		run_kernel(session);
	watchdog_stop();
	if (session->error) {
		g_propagate_error(error, session->error);
		ok = false;
	}
	if (ok && touched)
		*touched = ram_touched(&session->machine->ram);
	session_clear(session);
	g_free(session);
	if (!ok)
		replay_result_clear(result);
	return ok;
}

static bool needs_rehearsal(const struct replay_config *config, enum kernel_pass pass,
			    struct recorder *recorder)
{
	return pass == PASS_NATIVE && recorder && recorder_timed(recorder) &&
	       memory_map_usable_frames(config->machine->memory_map) * FRAME_BYTES >
		       POPULATE_MAX_BYTES;
}

bool replay_pass(const struct replay_config *config, enum kernel_pass pass,
		 struct recorder *recorder, struct replay_result *result, GError **error)
{
	GArray *rehearsed = NULL;

	if (needs_rehearsal(config, pass, recorder)) {
		struct replay_result unused;
		if (!run_pass(config, pass, NULL, NULL, &rehearsed, &unused, error))
			return false;
		replay_result_clear(&unused);
	}
	return run_pass(config, pass, recorder, rehearsed, NULL, result, error);
}

void replay_result_clear(struct replay_result *result)
{
	g_clear_pointer(&result->violation_list, g_ptr_array_unref);
	g_clear_pointer(&result->metrics, g_free);
	g_clear_pointer(&result->heap.sites, g_array_unref);
	g_clear_pointer(&result->heap.points, g_array_unref);
	g_clear_pointer(&result->heap.caches, g_ptr_array_unref);
	contiguity_clear(&result->spaces.contiguity);
	space_series_fini(&result->spaces.series);
}
