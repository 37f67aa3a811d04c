/*
 * window_cost.h - what windows cost the host: calibrated, so that a measured latency can be shown
 * net of it. A processor fills its TLB in about 0.1 us, the lab in several.
 */
#ifndef KMEMLAB_SIM_WINDOW_COST_H
#define KMEMLAB_SIM_WINDOW_COST_H

#include "sim/window.h"

/* Nanoseconds, signal and return included where there is one. */
struct window_cost {
	uint64_t fill;	  /* a touch served by a walk; also a refill */
	uint64_t upgrade; /* a first write */
	uint64_t evict;	  /* what making room adds to a fill */
	uint64_t drop;	  /* one page of an invalidation */
	uint64_t fault;	  /* a touch that the tables refuse, without the kernel's handler */
};

/* Calibrated once a process, on a machine of its own; the first call takes about 0.1 s. Context: a
 * thread outside of kernel code. Zeros where there can be no such machine. */
const struct window_cost *window_cost_get(void);

/* What the counts between two looks at the statistics have cost the host. */
uint64_t window_cost_ns(const struct window_cost *cost, const struct window_statistics *before,
			const struct window_statistics *after);

/*
 * Takes what windows cost the host off what is measured:
 *
 *     window_meter_start(&meter);  start = timer_start();
 *     ... kernel code ...
 *     stop = timer_stop();  lab_ns = window_meter_stop(&meter);
 *
 * A latency is then the time between the stamps less lab_ns. Costs are calibrated medians and the
 * host's are not: of one operation the difference is an estimate, and never below 0.
 */
struct window_meter {
	const struct windows *windows;
	const struct window_cost *cost; /* NULL: no windows are used, nothing is charged */
	struct window_statistics seen;
	uint64_t events;
	uint64_t lab_ns; /* charged so far, over all operations */
};

/* Before and after an operation. Cost: a few ns where windows did nothing. */
void window_meter_start(struct window_meter *meter);
uint64_t window_meter_stop(struct window_meter *meter);

#endif
