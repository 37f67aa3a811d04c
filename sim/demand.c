#include "sim/demand.h"

#include <glib.h>

/* A task's latest run; it may go on. */
struct run {
	uint64_t end, frames;
};

struct demand {
	unsigned huge_order;
	GHashTable *tasks;   /* task -> struct run */
	GHashTable *lengths; /* of ended runs: frames (uint64_t) -> how many (uint64_t) */
	uint32_t last_task;
	struct run *last;
	struct demand_figures figures;
	struct demand_bin bins[DEMAND_BINS];
};

struct demand *demand_new(unsigned huge_order)
{
	struct demand *demand = g_new0(struct demand, 1);

	demand->huge_order = huge_order;
	demand->tasks = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	demand->lengths = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	demand->figures.first_failure_fill_percent = -1;
	demand->figures.huge_first_failure_fill_percent = -1;
	return demand;
}

void demand_free(struct demand *demand)
{
	if (!demand)
		return;
	for (unsigned i = 0; i < DEMAND_BINS; i++)
		g_free(demand->bins[i].latency);
	g_hash_table_unref(demand->tasks);
	g_hash_table_unref(demand->lengths);
	g_free(demand);
}

/* ---- runs ---- */

static void count_length(GHashTable *lengths, uint64_t frames)
{
	uint64_t *count = g_hash_table_lookup(lengths, &frames);

	if (!count) {
		uint64_t *key = g_new(uint64_t, 1);
		*key = frames;
		count = g_new0(uint64_t, 1);
		g_hash_table_insert(lengths, key, count);
	}
	++*count;
}

static struct run *run_of(struct demand *demand, uint32_t task)
{
	if (demand->last && demand->last_task == task)
		return demand->last;
	struct run *run = g_hash_table_lookup(demand->tasks, GUINT_TO_POINTER(task));
	if (!run) {
		run = g_new0(struct run, 1);
		g_hash_table_insert(demand->tasks, GUINT_TO_POINTER(task), run);
	}
	demand->last_task = task;
	demand->last = run;
	return run;
}

static void extend_run(struct demand *demand, uint32_t task, uint64_t first, uint64_t frames)
{
	struct run *run = run_of(demand, task);

	if (run->frames && run->end != first) {
		count_length(demand->lengths, run->frames);
		run->frames = 0;
	}
	run->frames += frames;
	run->end = first + frames;
}

/* ---- requests ---- */

static bool is_huge(const struct demand *demand, uint64_t requested)
{
	uint64_t huge = 1ull << demand->huge_order;

	return requested > huge / 2 && requested <= huge;
}

static void count_huge(struct demand *demand, double fill_percent, bool served, uint64_t ns)
{
	unsigned index = (unsigned)(fill_percent * DEMAND_BINS / 100);
	struct demand_bin *bin = &demand->bins[MIN(index, DEMAND_BINS - 1)];

	bin->requests++;
	bin->served += served;
	demand->figures.huge_requests++;
	demand->figures.huge_served += served;
	if (!served && demand->figures.huge_first_failure_fill_percent < 0)
		demand->figures.huge_first_failure_fill_percent = fill_percent;
	if (!served || ns == 0)
		return;
	if (!bin->latency)
		bin->latency = g_new0(struct histogram, 1);
	histogram_add(bin->latency, ns);
}

static inline void note_block(struct demand *demand, uint32_t task, uint64_t first, uint64_t frames)
{
	demand->figures.allocations++;
	extend_run(demand, task, first, frames);
}

bool demand_served(struct demand *demand, uint32_t task, uint64_t requested, uint64_t first,
		   uint64_t frames)
{
	if (is_huge(demand, requested))
		return false;
	note_block(demand, task, first, frames);
	return true;
}

void demand_request(struct demand *demand, uint32_t task, uint64_t requested, double fill_percent,
		    uint64_t first, uint64_t frames, uint64_t ns)
{
	if (is_huge(demand, requested))
		count_huge(demand, fill_percent, frames > 0, ns);
	if (frames > 0)
		note_block(demand, task, first, frames);
	else if (demand->figures.first_failure_fill_percent < 0)
		demand->figures.first_failure_fill_percent = fill_percent;
}

/* ---- figures ---- */

struct length {
	uint64_t frames, count;
};

static int longest_first(const void *a, const void *b)
{
	const struct length *x = a, *y = b;

	return x->frames > y->frames ? -1 : x->frames < y->frames;
}

static GArray *all_lengths(const struct demand *demand)
{
	GArray *lengths = g_array_new(FALSE, FALSE, sizeof(struct length));
	GHashTableIter iterator;
	gpointer key, value;

	g_hash_table_iter_init(&iterator, demand->lengths);
	while (g_hash_table_iter_next(&iterator, &key, &value)) {
		struct length length = { *(const uint64_t *)key, *(const uint64_t *)value };
		g_array_append_val(lengths, length);
	}
	g_hash_table_iter_init(&iterator, demand->tasks);
	while (g_hash_table_iter_next(&iterator, &key, &value)) {
		struct length length = { ((const struct run *)value)->frames, 1 };
		if (length.frames)
			g_array_append_val(lengths, length);
	}
	g_array_sort(lengths, longest_first);
	return lengths;
}

void demand_figures(const struct demand *demand, struct demand_figures *figures)
{
	GArray *lengths = all_lengths(demand);
	uint64_t total = 0, long16 = 0, long512 = 0, covered = 0, runs = 0;

	*figures = demand->figures;
	for (guint i = 0; i < lengths->len; i++) {
		const struct length *one = &g_array_index(lengths, struct length, i);
		total += one->frames * one->count;
		long16 += one->frames >= 16 ? one->frames * one->count : 0;
		long512 += one->frames >= 512 ? one->frames * one->count : 0;
	}
	/* Wanted: the least number of frames that is 99 % or more. */
	uint64_t wanted = total - total / 100;
	for (guint i = 0; i < lengths->len && covered < wanted; i++) {
		const struct length *one = &g_array_index(lengths, struct length, i);
		uint64_t need = (wanted - covered + one->frames - 1) / one->frames;
		uint64_t taken = MIN(need, one->count);
		runs += taken;
		covered += taken * one->frames;
	}
	figures->contig16_percent = total ? 100 * (double)long16 / (double)total : 0;
	figures->contig512_percent = total ? 100 * (double)long512 / (double)total : 0;
	figures->contig_runs99 = runs;
	g_array_unref(lengths);
}

const struct demand_bin *demand_bins(const struct demand *demand)
{
	return demand->bins;
}
