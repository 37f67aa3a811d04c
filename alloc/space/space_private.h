/*
 * space_private.h - what the files of alloc/space/ share; nobody else includes it.
 *
 *   space.c         start, new spaces, exit, switch; frames of pages
 *   space_region.c  map, unmap, protect, brk
 *   space_fault.c   the page-fault handler and its report
 *   space_fork.c    fork
 *   space_check.c   invariants
 */
#ifndef KMEMLAB_ALLOC_SPACE_SPACE_PRIVATE_H
#define KMEMLAB_ALLOC_SPACE_SPACE_PRIVATE_H

#include "alloc/space/region.h"
#include "alloc/space/space.h"

static inline bool space_has(const struct spaces *s, enum space_cap cap)
{
	return s->policy->caps & cap;
}

static inline bool is_zero_page(const struct spaces *s, struct paddr pa)
{
	return paddr_to_pfn(pa).n == s->zero.n;
}

/* Rights of a page that is its region's own, and may be written in place. */
static inline unsigned page_rights(unsigned rights)
{
	return (rights ? TABLE_USER : 0) | (rights & SPACE_WRITE ? TABLE_WRITE : 0) |
	       (rights & SPACE_EXEC ? TABLE_EXEC : 0);
}

/* Pages of 4 KiB that a page of LEVEL is. */
static inline uint32_t leaf_pages(const struct spaces *s, unsigned level)
{
	return (uint32_t)(table_span(s->tables->geometry, level) >> X86_PAGE_SHIFT);
}

/* A frame for a user's page with one user; not cleared. */
int space_take_page(struct spaces *s, struct pfn *frame) KERR_MUST_CHECK;
/* The frames for a page of LEVEL: one block aligned to it, each with one user; not cleared. */
int space_take_block(struct spaces *s, unsigned level, struct pfn *first) KERR_MUST_CHECK;
void space_clear_page(struct spaces *s, struct pfn frame);
void space_copy_page(struct spaces *s, struct pfn to, struct pfn from);
/* One user less; the last one frees. Zero pages have no users. */
void space_drop_page(struct spaces *s, struct paddr pa);
/* The same for all frames of a page of LEVEL. */
void space_drop_block(struct spaces *s, struct paddr pa, unsigned level);
/* Unmaps what [base, end) maps, and drops its pages. KERR_NO_MEMORY: with nothing changed. */
int space_unmap_pages(struct spaces *s, struct space *space, uint64_t base,
		      uint64_t end) KERR_MUST_CHECK;
/* Maps one page of LEVEL, counted. */
int space_map_page(struct spaces *s, struct space *space, uint64_t address, struct pfn frame,
		   unsigned level, unsigned rights) KERR_MUST_CHECK;

struct region *space_new_region(struct spaces *s);
void space_free_region(struct spaces *s, struct region *region);

#endif
