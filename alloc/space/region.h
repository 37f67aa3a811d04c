/*
 * region.h - the regions of an address space: an ordered set of [base, end) that do not overlap.
 * Private to alloc/space/.
 */
#ifndef KMEMLAB_ALLOC_SPACE_REGION_H
#define KMEMLAB_ALLOC_SPACE_REGION_H

#include "alloc/space/objects.h"

struct region {
	struct region *left, *right;
	uint64_t base, end; /* multiples of 4 KiB */
	uint8_t height;	    /* of the subtree; a leaf has 1 */
	uint8_t rights;	    /* enum space_right */
	bool heap;	    /* grown by brk */
	bool large;	    /* mapped by large pages where that can be */
};

/* The region that holds ADDRESS; NULL. O(log n), as all below. */
struct region *region_find(struct region *root, uint64_t address);
/* The last one with base <= ADDRESS, the first one with base > ADDRESS; NULL. */
struct region *region_below(struct region *root, uint64_t address);
struct region *region_above(struct region *root, uint64_t address);
struct region *region_first(struct region *root);
/* NEW overlaps none. Returns the new root. */
struct region *region_insert(struct region *root, struct region *new);
/* Takes REGION out, which is in there. Returns the new root; the node is the caller's. */
struct region *region_remove(struct region *root, struct region *region);
/* Which invariant of region.c is broken below ROOT; 0: none. O(n). */
unsigned region_check(const struct region *root);

#endif
