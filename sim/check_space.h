/*
 * check_space.h - page tables and address spaces proved against the reference model: random events
 * by seed over several processes and CPUs, allocations that fail among them; what every touch reads
 * through the MMU is compared byte by byte with the model, every use of a stale translation is a
 * defect, the lab's audit of all page tables must be clean on the way, and everything must be back
 * at the end. A failing list is shrunk and written as a trace.
 */
#ifndef KMEMLAB_SIM_CHECK_SPACE_H
#define KMEMLAB_SIM_CHECK_SPACE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim/check.h"
#include "sim/kernel.h"

struct check_space_config {
	const char *tables, *spaces; /* names; NULL: all of them in turn */
	const char *frames;	     /* NULL: "buddy" */
	const char *mode; /* "32", "pae", "4level", "5level"; NULL: all that are possible */
	char **settings;  /* "tables.KEY=VALUE", "space.KEY=VALUE"; may be NULL */
	uint64_t seed;
	uint64_t operations;   /* of each configuration and pass */
	uint64_t audit_events; /* between audits; 0: about 20 in all */
	unsigned cpus;	       /* 0: 3 */
	bool pass[PASSES];
	const char *trace;  /* only these events, from a .kmt; NULL: random ones */
	const char *output; /* where a failure's trace goes */
	/* For tests: a defect to plant in a machine that has booted. */
	void (*plant)(void *context, struct spaces *spaces);
	void *plant_context;
};

struct check_space_report {
	struct check_report common; /* operations: those done; lines: events */
	uint64_t touches, faults;   /* served or refused */
	uint64_t refused_touches;
	uint64_t large; /* large pages mapped */
};

/* LAB_ERROR_USAGE for names and settings. To be cleared either way: check_report_clear(). */
bool check_spaces(const struct check_space_config *config, struct check_space_report *report,
		  GError **error);

#endif
