/*
 * timer.h - the clock of the native pass: the time-stamp counter, fenced so that the operation lies
 * between the stamps. Its own cost and its rate are calibrated in the same process, subtracted, and
 * printed beside every figure.
 */
#ifndef KMEMLAB_SIM_TIMER_H
#define KMEMLAB_SIM_TIMER_H

#include <stdint.h>
#include <x86intrin.h>

struct timer {
	double ns_per_tick;
	uint64_t cost_ticks; /* median of an empty pair */
};

/* Calibrated once a process; the first call takes about 20 ms. */
const struct timer *timer_get(void);

static inline uint64_t timer_start(void)
{
	_mm_lfence();
	uint64_t stamp = __rdtsc();
	_mm_lfence();
	return stamp;
}

static inline uint64_t timer_stop(void)
{
	unsigned cpu;
	uint64_t stamp = __rdtscp(&cpu);

	_mm_lfence();
	return stamp;
}

/* Net nanoseconds between two stamps: the timer's cost taken off, never below 0. */
static inline uint64_t timer_net_ns(const struct timer *timer, uint64_t start, uint64_t stop)
{
	uint64_t ticks = stop - start;

	/* Signed: the host converts these in one instruction. 2^63 ticks are centuries. */
	int64_t net = ticks > timer->cost_ticks ? (int64_t)(ticks - timer->cost_ticks) : 0;
	return (uint64_t)(int64_t)((double)net * timer->ns_per_tick + 0.5);
}

/* Page faults that the host served for this thread without I/O so far. Cost: a system call. */
uint64_t timer_minor_faults(void);

/* CPU time of this thread, ns. Cost: a system call. */
uint64_t timer_thread_cpu_ns(void);

#endif
