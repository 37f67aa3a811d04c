/*
 * replay.h - one pass of a trace over a freshly booted machine: every frame event in trace order,
 * judged by the ledger.
 *
 * What is deterministic (placement digest, failures, violations, metrics, machine events of the
 * probed pass) depends on trace, configuration and seed alone; host time is only ever a
 * measurement. With host threads nothing is: what allocator and ledger agree on is judged, and no
 * digest made. An allocation that fails is data. Only a malformed trace ends a pass early (GError);
 * broken invariants and kernel deaths are violations of the pass.
 */
#ifndef KMEMLAB_SIM_REPLAY_H
#define KMEMLAB_SIM_REPLAY_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim/fixture.h"
#include "sim/heap_guard.h"
#include "sim/heap_ledger.h"
#include "sim/kernel.h"
#include "sim/probe.h"
#include "sim/recorder.h"
#include "sim/space_series.h"
#include "workloads/trace.h"

enum replay_start { START_ASCENDING = 0, START_RECORDED, START_SHUFFLED, START_FIXTURE };

#define REPLAY_ALL	      UINT64_MAX
#define REPLAY_ORDERS	      32  /* 2^31 frames is the largest request */
#define REPLAY_VIOLATIONS_MAX 100 /* kept in words; all are counted */

struct replay_config {
	const char *trace_path;
	const struct frame_ops *frames[PASSES]; /* the same system in both builds */
	const struct machine_config *machine;
	struct frame_config frame_config;
	const struct heap_ops *heap[PASSES]; /* NULL: frame events are replayed; else heap events */
	struct heap_config heap_config;	     /* options, CPUs and seed; the rest is the pass's */
	unsigned guard;			     /* enum heap_guard bits */
	uint64_t fail_frames; /* the heap's request for frames of that number, from 1, is refused;
				 0: none */
	uint64_t seed; /* 0: also keeps the recorded order of simultaneous events of different CPUs
			*/
	enum replay_start start;
	const struct fixture *fixture; /* START_FIXTURE: before the start section, in the place of
					  the untouched frames */
	bool place_recorded;	       /* ask AT-capable allocators for the recorded frames */
	uint64_t until;		       /* last event to replay; REPLAY_ALL */
	uint64_t check_events; /* run check() and compare walk() with the ledger every so many
				  events; 0: at the ends */
	bool unjudged;	   /* benchmark of the loop alone: no ledger, no audits, allocators that are
			      trusted */
	unsigned limit_ms; /* CPU time after which one operation hangs; 0: none */
	unsigned threads;  /* native pass on so many host threads, CPUs shared out among them in
			      turn: replay_threads.c; 0: interleaved, as recorded */
	const struct space_choice *spaces; /* NULL: processes are not replayed */
	const char *command; /* how to do this run again, for messages; --until is appended */
};

/* Something that must not be. */
struct replay_violation {
	uint64_t event; /* REPLAY_ALL: not during an event (boot, start state, the end) */
	char *kind;	/* ledger verdict, "check", "walk", "probe", "page-fault", "crash", "hang",
			   "panic", "leak", "deadlock" */
	uint64_t frame;
	char *message; /* "allocator error: ..." */
	char *command; /* replays up to it */
};

enum replay_operation {
	OPERATION_BOOT = 0,
	OPERATION_ALLOC,
	OPERATION_FREE,
	OPERATION_SPACE, /* + enum space_call */
	OPERATIONS = OPERATION_SPACE + SPACE_CALLS
};
extern const char *const replay_operation_names[OPERATIONS];

/* Heap events are replayed: "boot", "heap_alloc" (realloc too), "heap_free", and their rows are by
 * the smallest order with 2^order >= bytes. */
extern const char *const replay_heap_operation_names[OPERATIONS];

/* What a pass with a heap leaves (sim/heap_report.h). */
struct replay_heap {
	struct heap_totals totals; /* at the end of the trace */
	struct heap_size sizes[HEAP_SIZE_ORDERS];
	GArray *sites;	   /* struct heap_site; NULL without a heap */
	GPtrArray *caches; /* char *: names of object caches by site, may hold NULL */
	uint64_t state_bytes, kept_bytes;
	uint64_t held_after_all; /* frames, when everything was freed */
	uint64_t frame_requests; /* of the heap, in the whole pass */
	GArray *points;		 /* struct heap_point */
	/* Bytes of state and of held frames without room for objects, and objects, about when most
	 * bytes lived. */
	uint64_t metadata_at_peak, objects_at_peak;
	struct replay_worst {
		uint64_t accesses, event;
	} worst_alloc, worst_free; /* probed pass; the frame allocator's accesses are not in them */
};

struct replay_row {
	uint64_t operations;
	struct probe_counters counters;
	uint64_t most_accesses; /* loads, stores and atomics of the operation that made most */
};

static inline uint64_t replay_accesses(const struct probe_counters *counters)
{
	return counters->loads + counters->stores + counters->atomics;
}

/* An operation ended, before which the row's counters stood at BEFORE accesses. */
static inline void replay_row_most(struct replay_row *row, uint64_t before)
{
	uint64_t made = replay_accesses(&row->counters) - before;

	row->most_accesses = made > row->most_accesses ? made : row->most_accesses;
}

/* What address spaces did, where the run has any. */
struct replay_spaces {
	bool on;
	uint64_t contents; /* digest of what touches read */
	uint64_t touches;
	uint64_t killed, unserved, skipped, invalid; /* events; killed: processes */
	struct space_stats spaces;
	struct table_stats tables;
	struct mmu_statistics mmu; /* of all CPUs: users' touches; probed pass: the kernel's too */
	uint64_t mmu_cycles;	   /* counts x weights of the machine */
	struct machine_invalidations invalidations; /* with machine.stale-check=on */
	struct contiguity contiguity;		    /* when about the most was mapped */
	uint32_t tlb_entries;			    /* of the second level, or the first */
	struct space_series series;
};

struct replay_result {
	struct replay_spaces spaces;
	uint64_t digest;
	bool digested;	     /* not with host threads */
	uint64_t events;     /* of the trace, without the prologue, as far as replayed */
	uint64_t operations; /* calls into the allocator for events */
	uint64_t failures, skipped, deferred_frees;
	uint64_t prologue, prologue_frames; /* handles and frames of the start section */
	uint64_t start_failures;	    /* of them, not placed at all */
	uint64_t displaced; /* placed elsewhere than --start or --place recorded asked for */
	uint64_t untouched_frames;
	struct fixture_reached fixture; /* START_FIXTURE: before the start section */
	uint64_t violations;
	GPtrArray *violation_list; /* struct replay_violation *, the first REPLAY_VIOLATIONS_MAX */
	bool died; /* the kernel did, or its check() found it corrupt: what follows the last event
		      is missing */
	uint64_t state_bytes, table_frames, managed_frames, usable_frames;
	double *metrics; /* at the end of the trace, in the order of the metrics table */
	struct replay_row row[OPERATIONS][REPLAY_ORDERS]; /* probed pass: machine events */
	struct replay_heap heap;
	uint64_t lock_acquisitions, lock_contended, lock_waits; /* of the front door's lock, from
								   boot to the last event */
	double seconds;		    /* host time of the event loop, wall clock */
	uint64_t cpu_ns;	    /* and CPU time of this thread */
	uint64_t host_minor_faults; /* during the loop, decoding and recording aside */
	uint64_t lab_ns;	    /* of windows, taken off latencies: window_cost.h */
};

/* One pass. RECORDER may be NULL (nothing is sampled or timed). False with error for malformed
 * traces, machines that do not boot (LAB_ERROR_USAGE) and host failures. */
bool replay_pass(const struct replay_config *config, enum kernel_pass pass,
		 struct recorder *recorder, struct replay_result *result, GError **error);
void replay_result_clear(struct replay_result *result);

#endif
