#include "sim/timer.h"

#include <glib.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define PAIRS	       4001
#define CALIBRATION_US 20000

static int compare_ticks(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t pair_cost(void)
{
	static uint64_t ticks[PAIRS];

	for (unsigned i = 0; i < PAIRS; i++) {
		uint64_t start = timer_start();
		ticks[i] = timer_stop() - start;
	}
	qsort(ticks, PAIRS, sizeof(ticks[0]), compare_ticks);
	return ticks[PAIRS / 2];
}

static double rate(void)
{
	gint64 begin = g_get_monotonic_time();
	uint64_t first = timer_start();

	while (g_get_monotonic_time() - begin < CALIBRATION_US)
		;
	uint64_t last = timer_stop();
	gint64 end = g_get_monotonic_time();
	return (double)(end - begin) * 1000.0 / (double)(last - first);
}

const struct timer *timer_get(void)
{
	static struct timer timer;
	static gsize once;

	if (g_once_init_enter(&once)) {
		timer.ns_per_tick = rate();
		timer.cost_ticks = pair_cost();
		g_once_init_leave(&once, 1);
	}
	return &timer;
}

uint64_t timer_minor_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return (uint64_t)usage.ru_minflt;
}

uint64_t timer_thread_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
