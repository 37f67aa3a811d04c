/*
 * One pass: power on, boot, start state, the events, the last audit, everything given back.
 *
 * All kernel code of the pass runs inside trap_run(); whatever it may leave half done is owned by
 * the session.
 */
#include "sim/replay.h"

#include <inttypes.h>
#include <string.h>

#include "sim/fragmentation.h"
#include "sim/lab.h"
#include "sim/session.h"
#include "sim/start_state.h"
#include "sim/ties.h"
#include "sim/trap.h"

/* RAM up to this is touched before a timed pass (guide: Semantics of a replay, Latency). */
#define POPULATE_MAX_BYTES (4ull << 30)

const char *const replay_operation_names[OPERATIONS] = {
	"boot",	       "frame_alloc",
	"frame_free",  "spaces_start",
	"spawn",       "fork",
	"exit",	       "mmap",
	"munmap",      "mprotect",
	"brk",	       "switch",
	"fault_none",  "fault_spurious",
	"fault_zero",  "fault_zero-table",
	"fault_fresh", "fault_from-zero",
	"fault_copy",  "fault_reuse",
	"fault_bad",   "fault_no-memory",
};

static bool going_on(const struct session *session)
{
	return !session->error && !session->corrupt && !session->reached;
}

static bool free_of_boot(const void *context, uint64_t frame)
{
	const struct session *session = context;

	return ledger_owner(session->ledger, frame) == LEDGER_FREE;
}

static void replay_event(struct session *session, const struct event *event)
{
	machine_set_cpu(session->machine, event->cpu % session->machine->config->cpus);
	switch (event->kind) {
	case EVENT_FRAME_ALLOC:
		session_frame_alloc(session, event);
		break;
	case EVENT_FRAME_FREE:
		session_frame_free(session, event);
		break;
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
	default: /* other slots' events, markers, the recorded buddy's story */
		break;
	}
}

static void replay_one(struct session *session, uint64_t number, const struct event *event)
{
	session->event = number;
	session->time_ns = event->time_ns;
	recorder_tick(session->recorder, session->result->events, session->time_ns);
	replay_event(session, event);
	session->result->events++;
	session->reached = number == session->config->until;
	if (session->config->check_events &&
	    session->result->events % session->config->check_events == 0)
		session_audit(session);
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

static void replay_block(struct session *session, const struct event *events, int count)
{
	for (int i = 0; i < count && going_on(session);) {
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

/* Kernel code from here on; left at any point by trap_die(). */
static void run_kernel(void *argument)
{
	struct session *session = argument;
	struct replay_result *result = session->result;

	session->event = REPLAY_ALL;
	session_space_start(session);
	if (session->error)
		return;
	session_start_state(session);
	session_audit(session);
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
	session->timed = false;
	session->event = REPLAY_ALL;
	session_space_figures(session);
	if (!session->corrupt)
		session_audit(session);
	if (session->recorder)
		recorder_end(session->recorder, result->events, session->time_ns, result->metrics);
	result->died = session->corrupt;
	if (!(session->frames.ops->caps & FRAME_CAP_FREE) || session->config->unjudged ||
	    session->corrupt)
		return;
	session_space_end(session);
	session_give_back(session);
	const struct ledger_totals *totals = ledger_totals(session->ledger);
	if (totals->free_frames + session_space_held(session) != result->managed_frames)
		session_violation(
			session, "leak", 0,
			"after everything was given back fewer frames are free than after boot");
	session_audit(session);
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
	if (!session_space_prepare(session, error))
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
	else if (session->recorder && boot->usable_frames * FRAME_BYTES <= POPULATE_MAX_BYTES)
		machine_populate(session->machine);
	return true;
}

static uint64_t kept_frames(void *context)
{
	const struct session *session = context;
	struct frame_stats stats = { 0 };

	session->frames.ops->stats(session->frames.state, &stats);
	return stats.kept_frames;
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
	if (!session->recorder)
		return true;
	struct recorder_view view = {
		.ledger = session->ledger,
		.machine = session->machine,
		.trace = session->reader,
		.last_event = config->until == REPLAY_ALL ? meta->events
							  : MIN(meta->events, config->until + 1),
		.kept_frames = kept_frames,
		.failures = &result->failures,
		.spaces = session->space ? session_space_sample : NULL,
		.context = session,
	};
	return recorder_begin(session->recorder, &view, error);
}

static void session_clear(struct session *session)
{
	if (session->pass == PASS_PROBED)
		probe_end();
	machine_leave();
	session_space_clear(session);
	handles_fini(&session->handles);
	if (session->start)
		g_array_unref(session->start);
	g_array_unref(session->untouched);
	g_clear_pointer(&session->ledger, ledger_free);
	machine_free(session->machine);
	g_clear_pointer(&session->reader, trace_reader_free);
}

bool replay_pass(const struct replay_config *config, enum kernel_pass pass,
		 struct recorder *recorder, struct replay_result *result, GError **error)
{
	struct session *session = g_new0(struct session, 1);
	struct trap_report report;

	*result = (struct replay_result){ .violation_list = g_ptr_array_new_with_free_func(
						  session_violation_free) };
	result->metrics = g_new0(double, metrics_count());
	session->config = config;
	session->pass = pass;
	session->kernel = &kernels[pass];
	session->recorder = recorder;
	session->result = result;
	session->timer = timer_get();
	session->random = random_seeded(config->seed);
	session->untouched = g_array_new(FALSE, FALSE, sizeof(struct frame_block));
	bool ok = prepare(session, error);
	if (ok && !trap_run(run_kernel, session, &report)) {
		result->died = true;
		session_violation(session, report.kind, 0, report.message);
	}
	if (session->error) {
		g_propagate_error(error, session->error);
		ok = false;
	}
	session_clear(session);
	g_free(session);
	if (!ok)
		replay_result_clear(result);
	return ok;
}

void replay_result_clear(struct replay_result *result)
{
	g_clear_pointer(&result->violation_list, g_ptr_array_unref);
	g_clear_pointer(&result->metrics, g_free);
}
