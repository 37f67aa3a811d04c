/*
 * demand.h - what the trace's requests got: how contiguous it is (metric 11, as far as frames alone
 * define it) and how full RAM was when a huge request was served or not (metric 12).
 *
 * Contiguity. Nothing is mapped where frames alone are replayed. What stands in for a mapping is
 * the order in which a task gets its frames: a task that touches its memory from low to high sees
 * them mapped in that order. A run is a longest sequence of one task's successive allocations each
 * of which begins where the one before it ended. Frees do not shorten runs: it is placement that is
 * measured. Allocations of the start state count for nothing.
 *
 * Fill level: the share of usable RAM that is not free when the request comes, in percent.
 */
#ifndef KMEMLAB_SIM_DEMAND_H
#define KMEMLAB_SIM_DEMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/histogram.h"

#define DEMAND_BINS 20 /* of five percent; the last one holds 100 as well */

struct demand_bin {
	uint64_t requests, served;
	struct histogram *latency; /* of the served ones, where they were timed; NULL: none was */
};

struct demand_figures {
	uint64_t allocations; /* served, of any order */
	uint64_t huge_requests, huge_served;
	double first_failure_fill_percent;	    /* of any order; -1: none failed */
	double huge_first_failure_fill_percent;	    /* -1: none failed */
	double contig16_percent, contig512_percent; /* of frames, in runs of so many or more */
	uint64_t contig_runs99; /* of the longest runs, how many hold 99 % of the frames */
};

struct demand;
/* HUGE_ORDER: requests of more than half of 2^HUGE_ORDER frames and not more than all are huge. */
struct demand *demand_new(unsigned huge_order);
void demand_free(struct demand *demand);

/* A request of REQUESTED frames by TASK got the block of FRAMES > 0 from FIRST on. False: it is
 * huge, and nothing was noted; demand_request() wants to know more of it. Cost: a look-up by task.
 */
bool demand_served(struct demand *demand, uint32_t task, uint64_t requested, uint64_t first,
		   uint64_t frames);
/* Any request, of REQUESTED frames by TASK at that fill level, and the block that it got: FRAMES
 * from FIRST on; 0 frames: it failed. NS: what it took; 0: not timed. Cost: a look-up by task. */
void demand_request(struct demand *demand, uint32_t task, uint64_t requested, double fill_percent,
		    uint64_t first, uint64_t frames, uint64_t ns);

/* Cost: O(tasks + lengths of runs that there are). */
void demand_figures(const struct demand *demand, struct demand_figures *figures);
const struct demand_bin *demand_bins(const struct demand *demand); /* DEMAND_BINS huge ones */

#endif
