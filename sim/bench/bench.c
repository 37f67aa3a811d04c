#include "sim/bench/bench.h"

#include <stdlib.h>
#include <time.h>

const struct bench_suite bench_suites[] = {
	{ "frames", "page-frame allocators against bare data structures (Y3)", bench_frames },
	{ "replay", "the replay loop and the trace format against bare event loops (Y4)",
	  bench_replay },
	{ "mmu", "translations, misses and faults against bare loops (Y1, Y2, Y5)", bench_mmu },
	{ "heaps",
	  "kernel heaps against glibc, mimalloc and jemalloc, each in a process of its own",
	  bench_heaps },
	{ "malloc", "the malloc of this process (LD_PRELOAD another), under the loads of heaps",
	  bench_malloc },
	{ "threads", "page-frame allocators on two host threads against one, in wall clock",
	  bench_threads },
	{ "traces", "importing recordings and decoding traces, against trace-cmd, Python and zstd",
	  bench_traces },
	{ NULL, NULL, NULL },
};

uint64_t bench_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double time_one(const struct bench_runner *runner)
{
	return (double)runner->run(runner->context) / (double)runner->operations;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values)
{
	qsort(values, BENCH_ROUNDS, sizeof(values[0]), compare_doubles);
	return values[BENCH_ROUNDS / 2];
}

void bench_compare(GArray *figures, const char *name, const char *unit,
		   const struct bench_runner *real, const char *yardstick,
		   const struct bench_runner *bare, double goal)
{
	double real_ns[BENCH_ROUNDS], bare_ns[BENCH_ROUNDS], ratios[BENCH_ROUNDS];

	time_one(real);
	time_one(bare);
	for (unsigned i = 0; i < BENCH_ROUNDS; i++) {
		real_ns[i] = time_one(real);
		bare_ns[i] = time_one(bare);
		ratios[i] = real_ns[i] / bare_ns[i];
	}
	struct bench_figure figure = {
		.name = g_strdup(name),
		.value = median(real_ns),
		.unit = unit,
		.yardstick = yardstick,
		.yardstick_value = median(bare_ns),
		.ratio = median(ratios),
		.goal = goal,
	};
	g_array_append_val(figures, figure);
}

void bench_figures_free(GArray *figures)
{
	for (guint i = 0; i < figures->len; i++)
		g_free(g_array_index(figures, struct bench_figure, i).name);
	g_array_unref(figures);
}
