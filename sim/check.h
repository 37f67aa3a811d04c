/*
 * check.h - the conformance suite over one page-frame allocator: memory maps x its options' values,
 * random operations by seed, misuse among them, each in a process of its own (check_trial.h). The
 * first failure is shrunk and written as a trace.
 */
#ifndef KMEMLAB_SIM_CHECK_H
#define KMEMLAB_SIM_CHECK_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim/kernel.h"

#define CHECK_OPERATIONS   1000
#define CHECK_TIME_MS	   2000 /* CPU time of one operation */
#define CHECK_TEXT_OPS_MAX 40	/* of a failure, in words; the trace has them all */

struct check_config {
	const char *name;			/* as it is typed behind --frames or --heap */
	const struct frame_ops *frames[PASSES]; /* check_frames(); the probed one may be NULL */
	const struct heap_ops *heap[PASSES];	/* check_heap() (check_heap.h); the same */
	char **settings; /* "SLOT.KEY=VALUE", NULL-terminated; NULL: every option's values in turn
			  */
	uint64_t seed, operations;
	unsigned cpu_ms;
	const char *trace;  /* check_frames(): only these operations, on their map; NULL: the whole
			       suite */
	const char *output; /* where a failure's trace goes */
};

struct check_report {
	uint64_t configurations, refused;
	uint64_t operations, unserved; /* allocations and frees done; allocations that failed */
	bool failed;
	/* Of the failure: */
	char *where;	   /* map, settings, seed */
	char *message;	   /* "allocator error: ..." */
	GPtrArray *lines;  /* char *: the operations left, in words */
	guint from;	   /* operations before they were shrunk */
	unsigned trials;   /* that shrinking took */
	const char *trace; /* the file written */
	char *command;	   /* shows the failure again */
};

/* LAB_ERROR_USAGE for impossible settings; what the allocator does wrong is in the REPORT, to be
 * cleared either way. */
bool check_frames(const struct check_config *config, struct check_report *report, GError **error);
void check_report_clear(struct check_report *report);

/* The suite's memory maps; ends with name == NULL. */
struct check_map {
	const char *name;
	const char *e820; /* lines as Linux prints them */
};
extern const struct check_map check_maps[];

#endif
