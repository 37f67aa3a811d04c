/*
 * explore.h - all interleavings of a few CPUs up to a number of preemptions, over small states: for
 * lock-free page-frame allocators, and whatever else takes part.
 *
 * A preemption is a switch away from a CPU that could have gone on. Bugs of concurrency need few of
 * them, and the number of schedules with k preemptions grows as a polynomial in the length of the
 * run: k = 0 is explored first, then 1, 2, ... up to the bound, so that what is found needs as few
 * as can be. CPUs are switched before accesses to words that several CPUs touch and one writes;
 * other accesses cannot be told apart by anybody. Which words those are is learned on the way: as
 * soon as another one shows, the scenario begins again.
 *
 * What is found is made small (operations are dropped as long as it still happens), written as a
 * file (explore_scenario.h) and shown access by access with source lines.
 *
 * Source: Musuvathi, Qadeer: Iterative context bounding for systematic testing of multithreaded
 * programs, PLDI 2007. Differs: no partial-order reduction beyond the one above; memory is
 * sequentially consistent, as compare-and-swap on x86 is, so weak orders are for ThreadSanitizer.
 */
#ifndef KMEMLAB_SIM_EXPLORE_H
#define KMEMLAB_SIM_EXPLORE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim/kernel.h"

#define EXPLORE_PREEMPTIONS	2
#define EXPLORE_PREEMPTIONS_MAX 8
#define EXPLORE_SCHEDULES	20000 /* of one scenario */

struct explore_config {
	const char *name;			/* as it is typed behind --frames */
	const struct frame_ops *frames[PASSES]; /* both */
	char **settings; /* "frames.KEY=VALUE", NULL-terminated; may be NULL */
	uint64_t seed;
	unsigned preemptions;
	uint64_t schedules;   /* of one scenario at most */
	unsigned cpu_ms;      /* that one run may take on the host; beyond, it hangs */
	const char *schedule; /* play only this file; NULL: explore */
	const char *output;   /* where a failure's schedule goes */
};

struct explore_report {
	uint64_t scenarios, refused; /* refused: the allocator does not run on that map */
	uint64_t schedules, accesses;
	uint64_t cut; /* scenarios whose schedules were more than allowed: not all were played */
	bool failed;
	/* Of the failure: */
	unsigned preemptions;
	char *where;	  /* the scenario */
	char *message;	  /* "allocator error: ..." */
	GPtrArray *lines; /* char *: what happened, in order */
	guint from, left; /* operations before and after they were made fewer */
	char *command;	  /* shows it again */
};

/* LAB_ERROR_USAGE for impossible settings and allocators without a probed build, LAB_ERROR_INPUT
 * for a bad schedule file. What the allocator does is in the REPORT, to be cleared either way. Runs
 * in a process of its own. */
bool explore_frames(const struct explore_config *config, struct explore_report *report,
		    GError **error);
void explore_report_clear(struct explore_report *report);

#endif
