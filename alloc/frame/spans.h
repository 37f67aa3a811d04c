/*
 * spans.h - a dense numbering of a memory map's frames, so that records by frame cost nothing for
 * holes.
 *
 *   frame   0    |== range ==|         4 GiB hole          |== range ==|. |= range =|
 *                |                                         |                        |
 *   span         |--- 0 -----|                             |---------- 1 -----------|
 *                            '----.     .------------------'
 *   index   0 ...                 |     |                                       ... indices
 *
 * Ranges that meet in a group of 2^10 frames, or in two neighbouring ones, share a span; over
 * larger holes the numbering jumps. Index and frame number are equal modulo 2^order: buddies of
 * blocks up to that order stay buddies, and words of a bitmap stay aligned. Two spans never share a
 * group of 2^order indices; with a guard, one whole group between them stands for no frame, so that
 * a run of indices in use never crosses from one into the next.
 *
 * A map that has lost frames never needs more room, table included, than before: what boot takes
 * between state_bytes() and init() can only split a span where it leaves out a group.
 *
 * The table of spans belongs to whoever builds it, behind the header of its state. Nearly all
 * frames of a machine lie in the map's largest range; its numbers stand in `struct spans`, so that
 * the usual conversion is an addition.
 */
#ifndef KMEMLAB_ALLOC_FRAME_SPANS_H
#define KMEMLAB_ALLOC_FRAME_SPANS_H

#include "alloc/memmap.h"

#define SPANS_NONE UINT64_MAX

/* Frames [first, end) have the indices from `index` on. */
struct span {
	uint64_t first, end;
	uint64_t index;
};

struct spans {
	uint64_t count;		    /* entries of the table */
	uint64_t indices;	    /* all are below this */
	struct frame_range largest; /* range of the map */
	uint64_t largest_index;	    /* of its first frame */
};

struct spans_kind {
	unsigned order; /* of the alignment */
	bool guard;
	bool single; /* one span for everything, holes included: for orders above 10 */
};

/* Fills TABLE, which has room for `count` spans as a first call with NULL tells. Cost: O(ranges).
 */
struct spans spans_build(const struct memmap *map, struct spans_kind kind, struct span *table);

/* Whether the table is what spans_build() makes of the map: for checkers. */
bool spans_are_sound(const struct spans *spans, const struct span *table, const struct memmap *map,
		     struct spans_kind kind);

/* Index of a frame that may be outside of the map, or SPANS_NONE where no span has it. */
uint64_t spans_search(const struct spans *spans, const struct span *table, struct pfn frame);

/* The span that an index lies in. */
const struct span *spans_of_index(const struct spans *spans, const struct span *table,
				  uint64_t index);

/* Index of the first of FRAMES frames, all of which are the map's; else SPANS_NONE. */
static inline uint64_t spans_managed(const struct spans *spans, const struct span *table,
				     const struct memmap *map, struct pfn first, uint64_t frames)
{
	uint64_t offset = first.n - spans->largest.first.n;

	if (__builtin_expect(
		    offset < spans->largest.frames && frames <= spans->largest.frames - offset, 1))
		return spans->largest_index + offset;
	return memmap_holds(map, first, frames) ? spans_search(spans, table, first) : SPANS_NONE;
}

/* The frame of an index that stands for one. */
static inline struct pfn spans_frame(const struct spans *spans, const struct span *table,
				     uint64_t index)
{
	uint64_t offset = index - spans->largest_index;
	const struct span *span;

	if (__builtin_expect(offset < spans->largest.frames, 1))
		return pfn_add(spans->largest.first, offset);
	span = spans_of_index(spans, table, index);
	return pfn(span->first + (index - span->index));
}

#endif
