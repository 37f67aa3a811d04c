/*
 * recorder.h - watches one pass of a replay and writes what it saw: samples of all metrics,
 * failures, frame-map frames, the recorded kernel's own figures beside ours, and latencies. Files:
 * results/README.md.
 */
#ifndef KMEMLAB_SIM_RECORDER_H
#define KMEMLAB_SIM_RECORDER_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim/fragmentation.h"
#include "sim/histogram.h"
#include "sim/ledger.h"
#include "sim/machine.h"
#include "sim/result.h"
#include "workloads/event.h"
#include "workloads/trace.h"

struct recorder_config {
	uint64_t
		sample_events; /* a sample every so many events; 0: about RECORDER_SAMPLES in all */
	uint64_t sample_ns;    /* and one every so many ns of trace time; 0: none */
	unsigned map_frames;   /* frame-map frames in all; 0: none */
	uint64_t slow_threshold_ns; /* operations at least this slow are kept one by one */
	bool time;		    /* this pass is timed */
	bool heap;		    /* operations are a heap's: "heap_alloc", "heap_free" */
};

#define RECORDER_SAMPLES    500
#define RECORDER_MAP_FRAMES 200
#define RECORDER_MAP_CELLS  512	 /* about so many with RAM */
#define RECORDER_MAP_SPAN   4096 /* at most, holes included */
#define RECORDER_SLOW_NS    10000
#define RECORDER_SLOW_MAX   100000 /* kept one by one; the rest only in the histogram */
#define RECORDER_ORDERS	    32
#define RECORDER_CPUS_MAX   256

/* What a recorder needs to know of the pass that it watches. All borrowed. */
struct recorder_view {
	struct ledger *ledger;
	const struct machine *machine;
	struct trace_reader *trace;
	uint64_t last_event; /* how many events the pass will have at most */
	/* What neither ledger nor machine know: the allocator's own counts, failures, demand. */
	void (*add_figures)(void *context, struct metrics_extra *extra);
	/* Takes samples of its own beside ours; may be NULL. */
	void (*sample)(void *context, struct result *result, uint64_t event, uint64_t time_ns);
	void *context;
};

struct recorder;
/* RESULT: where files go; NULL: figures only. Borrowed. */
struct recorder *recorder_new(const struct recorder_config *config, struct result *result);
void recorder_free(struct recorder *recorder);

bool recorder_begin(struct recorder *recorder, const struct recorder_view *view, GError **error);
/* The state after EVENT events; time is the next event's. Takes what samples are due. */
void recorder_tick(struct recorder *recorder, uint64_t event, uint64_t time_ns);
/* What recorder_tick() waits for: after that many events, or at that time; UINT64_MAX: nothing. */
void recorder_due(const struct recorder *recorder, uint64_t *event, uint64_t *time_ns);
void recorder_failure(struct recorder *recorder, uint64_t event, const struct event *what);
bool recorder_timed(const struct recorder *recorder);
/* One timed operation (enum replay_operation), of that order, on that CPU. */
void recorder_latency(struct recorder *recorder, unsigned operation, unsigned order, unsigned cpu,
		      uint64_t event, uint64_t ns);

/* Operations by the ticks that they took, the timer's cost in them. What that is in ns, and where
 * it counts, is worked out many at a time: beside the operations it would be in their way. */
struct recorder_stamp {
	uint64_t event, ticks;
	uint16_t cpu;
	uint8_t order, operation;
};

#define RECORDER_STAMPS 256

struct recorder_stamps {
	unsigned count;
	struct recorder_stamp stamp[RECORDER_STAMPS];
	struct recorder *recorder;
};
/* The recorder's, or NULL: it is not timed. */
struct recorder_stamps *recorder_stamps(struct recorder *recorder);
void recorder_book_stamps(struct recorder *recorder);

/* As recorder_latency(). */
static inline void recorder_stamp(struct recorder_stamps *stamps, unsigned operation,
				  unsigned order, unsigned cpu, uint64_t event, uint64_t ticks)
{
	stamps->stamp[stamps->count++] = (struct recorder_stamp){ .event = event,
								  .ticks = ticks,
								  .cpu = (uint16_t)cpu,
								  .order = (uint8_t)order,
								  .operation = (uint8_t)operation };
	if (stamps->count == RECORDER_STAMPS)
		recorder_book_stamps(stamps->recorder);
}

/* The last sample and frame-map frame. METRICS gets the final values (metrics table order). */
void recorder_end(struct recorder *recorder, uint64_t event, uint64_t time_ns, double *metrics);

/* Huge requests by fill level (DEMAND_BINS): rows of fill.csv, and what is timed. */
void recorder_demand(struct recorder *recorder, const struct demand_bin *bins);
/* Its latencies as JSON, {"LOW": {percentiles}}, for timing.json; the caller owns it. */
JsonNode *recorder_demand_json(const struct recorder *recorder);

/* Host page faults that the recorder itself caused while the pass ran; they are none of the
 * operations'. 0 for NULL. */
uint64_t recorder_lab_faults(const struct recorder *recorder);

/* Merged over CPUs; NULL where there was no such operation. */
const struct histogram *recorder_histogram(struct recorder *recorder, unsigned operation,
					   unsigned order);
/* Writes latency.csv and slow.csv. */
void recorder_write_latency(struct recorder *recorder);
/* Sum of all net latencies and their number. */
void recorder_total(struct recorder *recorder, uint64_t *operations, uint64_t *ns);

#endif
