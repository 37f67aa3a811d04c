/*
 * placement.h - F10, the allocator that exists before any other: boot takes the frame allocator's
 * state and the first page tables from it, then hands over what is left without losing a frame.
 *
 * It has no memory of its own: it works on the normalised map itself, whose ranges shrink from
 * below.
 */
#ifndef KMEMLAB_ALLOC_FRAME_PLACEMENT_H
#define KMEMLAB_ALLOC_FRAME_PLACEMENT_H

#include "alloc/memmap.h"

/* Frames below 1 MiB are the only ones that some devices reach: taken last. */
#define PLACEMENT_LOW_END 256u

struct placement {
	struct memmap *map;
	struct frame_range *ranges; /* the map's own array, writable */
	uint32_t capacity;
};

/* MAP must be normalised; RANGES is its array. Both belong to the placement allocator until the
 * hand-over, which is simply to use MAP again. */
void placement_init(struct placement *placement, struct memmap *map, struct frame_range *ranges,
		    uint32_t capacity);

/* FRAMES contiguous frames, > 0, aligned to ALIGN frames: from the lowest range at or above
 * PLACEMENT_LOW_END that has them, else from the lowest below. The map loses them. Returns 0 with
 * *first; KERR_NO_MEMORY when no range is long enough; KERR_TOO_SMALL when the frames before the
 * aligned ones would need one range more than there is room for. Cost: O(ranges). */
int placement_take(struct placement *placement, uint64_t frames, uint64_t align,
		   struct pfn *first) KERR_MUST_CHECK;

#endif
