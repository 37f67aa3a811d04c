#include "sim/run_text.h"

#include <inttypes.h>

#include "sim/fragmentation.h"
#include "sim/heap_report.h"
#include "sim/histogram.h"

#define LABEL "%-16s"

/* ---- the passes ---- */

/* What host threads did: nothing of it is the same twice. */
static void add_throughput(GString *text, const struct replay_result *done)
{
	double seconds = done->seconds > 0 ? done->seconds : 1;

	g_string_append_printf(text, "%-7s %.2f million operations a second\n", "threads",
			       (double)done->operations / seconds / 1e6);
	if (done->lock_acquisitions)
		g_string_append_printf(text,
				       "%-7s taken %" PRIu64 " times, %" PRIu64
				       " of them after waiting (%" PRIu64 " looks)\n",
				       "lock", done->lock_acquisitions, done->lock_contended,
				       done->lock_waits);
}

static void add_pass(GString *text, enum kernel_pass pass, const struct replay_result *done)
{
	char digest[32] = "";

	if (done->digested)
		g_snprintf(digest, sizeof(digest), "digest %016" PRIx64 "  ", done->digest);
	g_string_append_printf(text,
			       "%-7s %s%" PRIu64 " events, %" PRIu64 " failures, %" PRIu64
			       " skipped, %" PRIu64 " violations, %.2f s\n",
			       kernels[pass].name, digest, done->events, done->failures,
			       done->skipped, done->violations, done->seconds);
	if (!done->digested)
		add_throughput(text, done);
	if (done->spaces.on)
		g_string_append_printf(text,
				       "%-7s contents %016" PRIx64 "  %" PRIu64 " touches, %" PRIu64
				       " page-table frames at most, %" PRIu64 " processes killed\n",
				       "", done->spaces.contents, done->spaces.touches,
				       done->spaces.tables.table_frames_peak, done->spaces.killed);
	for (guint i = 0; i < done->violation_list->len; i++) {
		const struct replay_violation *violation =
			g_ptr_array_index(done->violation_list, i);
		g_string_append_printf(text, "  %s\n    again: %s\n", violation->message,
				       violation->command);
	}
}

/* ---- where frames lie ---- */

static double metric(const struct replay_result *done, const char *name)
{
	int index = metrics_find(name);

	g_assert(index >= 0);
	return done->metrics[index];
}

#define MIB(frames) ((double)(frames) * (double)FRAME_BYTES / 1048576)

static void add_memory(GString *text, const struct replay_result *done, unsigned huge_order)
{
	char unusable[24];

	g_snprintf(unusable, sizeof(unusable), "unusable_o%u", huge_order);
	g_string_append_printf(
		text, LABEL "%.1f of %.1f MiB free, in %.0f runs, the longest %.1f MiB\n",
		"at the end", MIB(metric(done, "free_frames")), MIB(done->managed_frames),
		metric(done, "free_runs"), MIB(metric(done, "largest_run_frames")));
	g_string_append_printf(text,
			       LABEL "%.1f %% of free memory in blocks of %.0f MiB (%s %.3f)\n",
			       "fragmentation", 100 * (1 - metric(done, unusable)),
			       MIB(1u << huge_order), unusable, metric(done, unusable));
	g_string_append_printf(text, LABEL "%.1f %% of live memory was not asked for\n", "internal",
			       metric(done, "internal_percent"));
	g_string_append_printf(text, LABEL "%.2f bytes a frame\n", "metadata",
			       metric(done, "metadata_bytes_per_frame"));
}

static void add_heap(GString *text, const struct replay_heap *heap,
		     const struct replay_heap *probed)
{
	const struct heap_totals *t = &heap->totals;
	double peak = t->peak_live_bytes ? (double)t->peak_live_bytes : 1;

	g_string_append_printf(text,
			       LABEL "%" PRIu64 " objects of %.1f KiB live, %.1f KiB held; at most "
				     "%.1f KiB live, %.1f KiB held (%.2f times)\n",
			       "objects", t->live_objects, (double)t->live_bytes / 1024,
			       (double)t->held_frames * 4, (double)t->peak_live_bytes / 1024,
			       (double)t->peak_held_bytes / 1024,
			       (double)t->peak_held_bytes / peak);
	g_string_append_printf(text, LABEL "%.1f %% of what was handed out was not asked for\n",
			       "internal", heap_report_waste(t->requested_bytes, t->handed_bytes));
	g_string_append_printf(
		text,
		LABEL "%.1f KiB held at most, of %.1f KiB that Robson's adversary can "
		      "force (%.2f)\n",
		"bound", (double)t->peak_held_bytes / 1024, heap_report_robson(t) / 1024,
		(double)t->peak_held_bytes / MAX(heap_report_robson(t), 1));
	if (probed->worst_alloc.accesses)
		g_string_append_printf(text,
				       LABEL "%" PRIu64 " accesses to allocate (event %" PRIu64
					     "), %" PRIu64 " to free (event %" PRIu64 ")\n",
				       "worst", probed->worst_alloc.accesses,
				       probed->worst_alloc.event, probed->worst_free.accesses,
				       probed->worst_free.event);
}

/* ---- what operations cost ---- */

static const char *operation_name(const struct replay_result *done, enum replay_operation operation)
{
	return (done->heap.sites ? replay_heap_operation_names : replay_operation_names)[operation];
}

static void add_latency(GString *text, const struct replay_result *done, struct recorder *recorder,
			enum replay_operation operation)
{
	static const unsigned points[] = { 5000, 9900, 9990, 10000 };
	struct histogram *all = g_new0(struct histogram, 1);

	for (unsigned order = 0; order < RECORDER_ORDERS; order++) {
		const struct histogram *one = recorder_histogram(recorder, operation, order);
		if (one)
			histogram_merge(all, one);
	}
	if (!all->count) {
		g_free(all);
		return;
	}
	g_string_append_printf(text, LABEL "%11" PRIu64, operation_name(done, operation),
			       all->count);
	for (guint i = 0; i < G_N_ELEMENTS(points); i++)
		g_string_append_printf(text, "%11" PRIu64, histogram_percentile(all, points[i]));
	g_string_append_c(text, '\n');
	g_free(all);
}

static void add_events(GString *text, const struct replay_result *done,
		       enum replay_operation operation)
{
	struct probe_counters sum = { 0 };
	uint64_t operations = 0;

	for (unsigned order = 0; order < REPLAY_ORDERS; order++) {
		const struct replay_row *row = &done->row[operation][order];
		operations += row->operations;
		probe_counters_add(&sum, &row->counters);
	}
	if (!operations)
		return;
	double each = 1.0 / (double)operations;
	g_string_append_printf(text, LABEL "%11.2f%11.2f%11.2f%11.2f\n",
			       operation_name(done, operation), (double)sum.loads * each,
			       (double)sum.stores * each, (double)sum.cache_lines * each,
			       (double)sum.tlb_misses * each);
}

static void add_start(GString *text, const struct fixture *fixture,
		      const struct fixture_reached *reached)
{
	g_string_append_printf(text,
			       "start   %s %016" PRIx64 "  %" PRIu64 " of %" PRIu64
			       " frames free (%" PRIu64 " missing, %" PRIu64
			       " more held), distance %.4f\n",
			       fixture->name, reached->target_hash, reached->reached_free_frames,
			       reached->target_free_frames, reached->missing_frames,
			       reached->extra_frames, reached->distance);
}

char *run_text(const struct run_config *config, const struct run_result *result)
{
	GString *text = g_string_new(NULL);
	const struct replay_result *speaker = run_speaker(result);

	if (config->start.fixture)
		add_start(text, config->start.fixture, &speaker->fixture);
	for (unsigned pass = 0; pass < PASSES; pass++)
		if (result->done[pass])
			add_pass(text, pass, &result->pass[pass]);
	if (result->digests_differ)
		g_string_append_printf(text,
				       "allocator error: %s: the native and the probed pass placed "
				       "differently\n",
				       config->label);
	if (speaker->died || !speaker->digested)
		return g_string_free(text, FALSE);
	if (speaker->heap.sites)
		add_heap(text, &speaker->heap, &result->pass[PASS_PROBED].heap);
	else
		add_memory(text, speaker, machine_huge_order(result->machine));
	if (result->done[PASS_NATIVE] && recorder_timed(result->recorder)) {
		g_string_append_printf(text, LABEL "%11s%11s%11s%11s%11s\n", "latency, ns", "count",
				       "p50", "p99", "p99.9", "max");
		for (unsigned i = OPERATION_ALLOC; i < OPERATIONS; i++)
			add_latency(text, speaker, result->recorder, i);
	}
	if (result->done[PASS_PROBED]) {
		g_string_append_printf(text, LABEL "%11s%11s%11s%11s\n", "an operation's", "loads",
				       "stores", "lines", "TLB misses");
		for (unsigned i = OPERATION_ALLOC; i < OPERATIONS; i++)
			add_events(text, &result->pass[PASS_PROBED], i);
	}
	return g_string_free(text, FALSE);
}
