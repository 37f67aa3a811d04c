/*
 * result.h - the folder of files that a run leaves (results/README.md is the schema). It is written
 * aside, as `<folder>.partial-<pid>` in the same parent, and renamed whole.
 *
 * A NULL result is one that nobody asked for: all calls but result_new() take it and do nothing. An
 * I/O error does not disturb the run: the first one is kept, later calls do nothing, and
 * result_commit() reports it with the path and leaves nothing behind.
 */
#ifndef KMEMLAB_SIM_RESULT_H
#define KMEMLAB_SIM_RESULT_H

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim/histogram.h"

#define RESULT_ERROR (result_error_quark())
enum result_error {
	RESULT_ERROR_NONE = 0,
	RESULT_ERROR_EXISTS, /* the folder is there and may not be replaced */
	RESULT_ERROR_IO,
};
GQuark result_error_quark(void);

struct result;
/* Makes FOLDER's parents and the folder aside. A FOLDER that is there is refused, here and again by
 * result_commit(), unless it is empty, or REPLACE is set and it holds nothing but a run's files. */
struct result *result_new(const char *folder, bool replace, GError **error);
/* Frees RESULT, and so does result_abort(). False: no folder, ERROR is set. */
bool result_commit(struct result *result, GError **error);
void result_abort(struct result *result);

/* samples.csv. METRICS: metrics_count() values (sim/fragmentation.h). */
void result_sample(struct result *result, uint64_t event, uint64_t time_ns, const double *metrics);

/* recorded.csv; the file exists where there is a row. A figure that the snapshot lacks: NULL and
 * RESULT_ABSENT. */
#define RESULT_ABSENT UINT64_MAX
struct result_recorded {
	uint64_t snapshot, event, time_ns;
	const uint64_t *free_blocks; /* LEDGER_ORDERS of them */
	uint64_t mem_free_frames, ledger_free_frames;
};
void result_recorded(struct result *result, const struct result_recorded *row);

/* failures.csv. ZONE, MOBILITY: enum event_zone, event_mobility, written as names. */
struct result_failure {
	uint64_t event, time_ns;
	uint64_t frames, align_frames;
	unsigned zone, mobility, cpu, task;
	uint64_t free_frames;
	int largest_free_order;
};
void result_failure(struct result *result, const struct result_failure *row);

/* events.csv. A negative ORDER (boot has none) is left empty. */
struct result_events {
	const char *operation;
	int order;
	uint64_t operations, loads, stores, atomics, cache_lines, tlb_lookups, tlb_misses,
		walk_reads, faults, most_accesses;
};
/* Huge requests while LOW to HIGH percent of usable RAM were not free. */
void result_fill(struct result *result, unsigned low_percent, unsigned high_percent,
		 uint64_t requests, uint64_t served);
void result_events(struct result *result, const struct result_events *row);

/* latency.csv: the non-empty buckets of HISTOGRAM. */
void result_latency(struct result *result, const char *operation, unsigned order, unsigned cpu,
		    const struct histogram *histogram);
/* slow.csv. */
void result_slow(struct result *result, uint64_t event, const char *operation, unsigned order,
		 unsigned cpu, uint64_t latency_ns);

/* frames.bin: once the shape, then the frames; LIVE and RESERVED as ledger_map() fills them.
 * Without a shape there is no file. */
void result_map_shape(struct result *result, uint64_t ram_frames, uint64_t cell_frames);
void result_map(struct result *result, uint64_t event, uint64_t time_ns, const uint8_t *live,
		const uint8_t *reserved);

/* heap.csv, heap_sites.csv, heap_sizes.csv; the files exist where there is a row. */
struct result_heap_sample {
	uint64_t event, time_ns;
	uint64_t live_objects, live_bytes, usable_bytes, held_frames, kept_bytes, failures;
	double internal_percent;
	uint64_t slots;
	double vacant_slots_percent; /* of them */
};
void result_heap_sample(struct result *result, const struct result_heap_sample *row);
struct result_heap_site {
	uint64_t address;  /* 0: unknown */
	const char *cache; /* NULL: none */
	uint64_t allocs, frees, failures, moved_cpu;
	uint64_t requested_bytes, usable_bytes, live_objects, live_bytes, peak_bytes;
	double internal_percent;
};
void result_heap_site(struct result *result, const struct result_heap_site *row);
struct result_heap_size {
	unsigned order;
	uint64_t allocs, failures, requested_bytes, usable_bytes, live_objects;
	double internal_percent;
};
void result_heap_size(struct result *result, const struct result_heap_size *row);

/* A whole file: run.json, timing.json. NODE stays the caller's. */
void result_json(struct result *result, const char *name, JsonNode *node);

/* What run.json, timing.json and `replay --json` say of a histogram: {"count", "p50_ns", "p90_ns",
 * "p99_ns", "p999_ns", "p9999_ns", "max_ns", "mean_ns"}. */
JsonNode *result_latency_json(const struct histogram *histogram);

#endif
