/*
 * page_tables.h - page tables as the lab reads them in simulated RAM, frame by frame, with no help
 * of the kernel that wrote them.
 */
#ifndef KMEMLAB_SIM_PAGE_TABLES_H
#define KMEMLAB_SIM_PAGE_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "alloc/space/space.h"
#include "sim/machine.h"

struct page_tables_visitor {
	void *context;
	/* A table below the top that an entry of LEVEL + 1 leads to. False: it is not looked into.
	 */
	bool (*table)(void *context, struct vaddr va, unsigned level, struct pfn frame);
	void (*leaf)(void *context, struct vaddr va, unsigned level, uint64_t entry);
};

/* All that ROOT's user half leads to, in address order. */
void page_tables_visit(const struct machine *machine, const struct table_root *root,
		       const struct page_tables_visitor *visitor);

/* Metric 11: how contiguous in RAM is what a space maps next to each other? */
struct contiguity {
	uint64_t pages, runs;
	uint64_t by_length[21]; /* pages in runs of [2^n, 2^(n+1)) pages; the last: and longer */
	uint64_t *length_count; /* runs of each length up to the longest; NULL until added */
	uint64_t longest;
};
/* Adds a space, zero pages aside. Large pages count as what they are: contiguous. */
void contiguity_add(struct contiguity *c, const struct machine *machine,
		    const struct spaces *spaces, const struct space *space);
/* Runs, longest first, that cover 99 % of the pages. */
uint64_t contiguity_runs_for_99_percent(const struct contiguity *c);
/* Share of pages in runs of at least PAGES, 0..1. */
double contiguity_share(const struct contiguity *c, uint64_t pages);
void contiguity_clear(struct contiguity *c);

#endif
