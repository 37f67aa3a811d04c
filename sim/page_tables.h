/*
 * page_tables.h - page tables as the lab reads them in simulated RAM, frame by frame, with no help
 * of the kernel that wrote them.
 */
#ifndef KMEMLAB_SIM_PAGE_TABLES_H
#define KMEMLAB_SIM_PAGE_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "alloc/space/space.h"
#include "sim/contiguity.h"
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

/* Adds what a space maps, zero pages aside. Large pages count as what they are: contiguous. */
void page_tables_contiguity(struct contiguity *c, const struct machine *machine,
			    const struct spaces *spaces, const struct space *space);

#endif
