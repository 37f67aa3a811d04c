/* Processes in a replay: their events as operations on address spaces, with users' touches through
 * mmu/ in both passes, and what all of it came to. */
#include <inttypes.h>

#include "sim/lab.h"
#include "sim/machine.h"
#include "sim/page_tables.h"
#include "sim/process.h"
#include "sim/session.h"

struct session_space {
	struct space_lab lab;
	struct processes processes;
	uint64_t most_mapped;	      /* pages, when the result's contiguity was measured */
	struct contiguity contiguity; /* at a sample not long ago */
	uint64_t measured;	      /* at this event */
};

static void on_report(void *context, const char *kind, uint64_t frame, const char *message)
{
	session_violation(context, kind, frame, message);
}

/* Every operation of the kernel, faults by what they came to. */
static void on_call(void *context, enum space_call call, uint64_t ns,
		    const struct probe_counters *counters)
{
	struct session *session = context;
	unsigned operation = OPERATION_SPACE + call;

	if (session->event == REPLAY_ALL && call != SPACE_CALL_START)
		return;
	if (session->timed)
		recorder_latency(session->recorder, operation, 0, session->machine->current_cpu,
				 session->event, ns);
	if (session->pass == PASS_PROBED) {
		struct replay_row *row = &session->result->row[operation][0];
		uint64_t before = replay_accesses(&row->counters);
		row->operations++;
		probe_counters_add(&row->counters, counters);
		replay_row_most(row, before);
	}
}

bool session_space_prepare(struct session *session, GError **error)
{
	const struct replay_config *config = session->config;

	return !config->spaces ||
	       space_lab_make_room(session->machine, config->frames[session->pass], config->spaces,
				   session->pass, error);
}

void session_space_booted(struct session *session)
{
	struct ledger *ledger = session->config->unjudged ? NULL : session->ledger;

	if (!session->config->spaces)
		return;
	session->space = g_new0(struct session_space, 1);
	/* The number behind the last handle: all frames of page tables and spaces are its. */
	space_lab_init(&session->space->lab, session->machine, session->pass, &session->frames,
		       ledger, (uint32_t)(LEDGER_HANDLE_BASE + session->handles.count));
	session->space->lab.report = on_report;
	session->space->lab.meter = &session->meter;
	session->space->lab.called = on_call;
	session->space->lab.context = session;
	processes_init(&session->space->processes, &session->space->lab);
	session->result->spaces.on = true;
	space_series_init(&session->result->spaces.series);
}

void session_space_clear(struct session *session)
{
	if (session->space) {
		processes_fini(&session->space->processes);
		contiguity_clear(&session->space->contiguity);
	}
	g_clear_pointer(&session->space, g_free);
}

void session_space_start(struct session *session)
{
	if (!session->space)
		return;
	int status = space_lab_start(&session->space->lab, session->config->spaces);
	if (status != KERR_OK)
		g_set_error(&session->error, LAB_ERROR, LAB_ERROR_BOOT,
			    "page tables %s and space %s cannot start on machine %s (error %d): "
			    "too little memory",
			    session->config->spaces->tables[session->pass]->name,
			    session->config->spaces->spaces[session->pass]->name,
			    session->machine->config->name, status);
}

/* ---- metric 11 ---- */

/* Tables are read again at a sample when so many events have passed for each of them: what reading
 * costs stays below what the events did. */
#define EVENTS_A_TABLE 16

static void measure_contiguity(struct session *session, struct contiguity *c)
{
	const struct spaces *spaces = session->space->lab.spaces;

	contiguity_clear(c);
	for (const struct space *space = spaces->first; space; space = space->next)
		page_tables_contiguity(c, session->machine, spaces, space);
}

/* Again whenever a quarter more is mapped than ever before: never far from the largest state. */
static void watch_size(struct session *session)
{
	const struct spaces *spaces = session->space->lab.spaces;

	if (spaces->stats.mapped_pages <= session->space->most_mapped * 5 / 4 + 64)
		return;
	session->space->most_mapped = spaces->stats.mapped_pages;
	measure_contiguity(session, &session->result->spaces.contiguity);
}

/* ---- samples ---- */

static uint32_t tlb_entries(const struct machine *machine)
{
	const struct mmu_cache_shape *shape = machine->config->mmu.cache;
	const struct mmu_cache_shape *second = &shape[MMU_L2_TLB], *first = &shape[MMU_L1D_4K];

	return second->ways ? second->sets * second->ways : first->sets * first->ways;
}

static uint64_t all_faults(const struct space_stats *stats)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < SPACE_FAULTS; i++)
		sum += stats->faults[i];
	return sum;
}

void session_space_metrics(struct session *session, struct metrics_spaces *out)
{
	struct session_space *space = session->space;
	const struct spaces *spaces = space->lab.spaces;
	const struct table_stats *tables = &spaces->tables->stats;
	struct contiguity *c = &space->contiguity;
	uint64_t events = session->result->events;

	if (events >= space->measured + EVENTS_A_TABLE * tables->table_frames) {
		measure_contiguity(session, c);
		space->measured = events;
	}
	*out = (struct metrics_spaces){
		.on = true,
		.processes = spaces->stats.spaces,
		.mapped_pages = spaces->stats.mapped_pages,
		.user_frames = spaces->stats.user_frames,
		.table_frames = tables->table_frames,
		.faults = all_faults(&spaces->stats),
		.copies = spaces->stats.copies,
		.shootdowns = tables->shootdowns,
		.contig16_percent = 100 * contiguity_share(c, 16),
		.contig512_percent = 100 * contiguity_share(c, 512),
		.contig_runs99 = contiguity_runs_for_99_percent(c),
	};
	for (unsigned i = 0; i < CONTIGUITY_SIZES; i++)
		out->reach_bytes[i] =
			contiguity_reach(c, i, tlb_entries(session->machine)) * FRAME_BYTES;
}

void session_space_sample(struct session *session, uint64_t event, uint64_t time_ns)
{
	space_series_sample(&session->result->spaces.series, &session->space->processes, event,
			    time_ns);
}

/* The timed pass begins; before it nothing is. */
void session_space_tick(struct session *session)
{
	if (session->space)
		session->space->lab.timed = session->timed;
}

/* ---- events ---- */

static void note_failure(struct session *session, const struct event *event)
{
	struct event what = { .kind = EVENT_FRAME_ALLOC,
			      .time_ns = event->time_ns,
			      .cpu = event->cpu,
			      .task = event->task };

	what.u.frame.frames = 1;
	what.u.frame.align_frames = 1;
	what.u.frame.mobility = MOBILITY_MOVABLE;
	session->result->failures++;
	session->result->spaces.unserved++;
	recorder_failure(session->recorder, session->event, &what);
}

void session_space_event(struct session *session, const struct event *event)
{
	struct replay_spaces *result = &session->result->spaces;

	if (!session->space)
		return;
	switch (process_event(&session->space->processes, event, session->event)) {
	case PROCESS_FAILED:
		note_failure(session, event);
		break;
	case PROCESS_SKIPPED:
		session->result->skipped++;
		result->skipped++;
		break;
	case PROCESS_INVALID:
		result->invalid++;
		break;
	default:
		break;
	}
	if (event->kind != EVENT_TOUCH ||
	    session->space->lab.spaces->stats.mapped_pages > session->space->most_mapped)
		watch_size(session);
}

/* ---- the end ---- */

static void add_mmu(struct mmu_statistics *sum, const struct mmu_statistics *one)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)one;

	G_STATIC_ASSERT(sizeof(*sum) % sizeof(uint64_t) == 0);
	for (gsize i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
		to[i] += from[i];
}

void session_space_figures(struct session *session)
{
	struct replay_spaces *result = &session->result->spaces;
	const struct machine *machine = session->machine;
	struct mmu_statistics one;

	if (!session->space)
		return;
	const struct spaces *spaces = session->space->lab.spaces;
	session->space->lab.timed = false;
	if (session->space->most_mapped <= spaces->stats.mapped_pages)
		measure_contiguity(session, &result->contiguity);
	result->tlb_entries = tlb_entries(machine);
	result->contents = session->space->processes.contents;
	result->touches = session->space->processes.touches;
	result->killed = session->space->processes.killed;
	result->spaces = spaces->stats;
	result->tables = spaces->tables->stats;
	result->invalidations = machine->invalidations;
	for (unsigned i = 0; i < machine->config->cpus; i++) {
		mmu_get_statistics(machine->cpu[i], &one);
		add_mmu(&result->mmu, &one);
	}
	result->mmu_cycles = mmu_cycles(&result->mmu, &machine->config->mmu.weights);
	session->result->digest ^= session->space->lab.digest;
}

void session_space_end(struct session *session)
{
	if (!session->space)
		return;
	machine_set_cpu(session->machine, 0);
	space_lab_audit(&session->space->lab);
	processes_exit_all(&session->space->processes);
	space_lab_audit(&session->space->lab);
	space_lab_stop(&session->space->lab);
}

uint64_t session_space_held(const struct session *session)
{
	return session->space ? session->space->lab.kernel_held : 0;
}
