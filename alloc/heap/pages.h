/*
 * pages.h - where heaps in the direct map get their memory: contiguous frames of the frame slot, as
 * pointers. Counts what is held. Where frames come only as powers of two, what is too much goes
 * back at once if that allocator takes parts.
 */
#ifndef KMEMLAB_ALLOC_HEAP_PAGES_H
#define KMEMLAB_ALLOC_HEAP_PAGES_H

#include "alloc/heap/heap.h"

struct heap_pages {
	struct frames frames;
	struct reach reach;
	const struct memmap *map;
	uint64_t header_sum; /* over the above */
	uint64_t held_frames;
};

struct heap_run {
	char *at; /* NULL: none */
	uint32_t frames;
};

void heap_pages_init(struct heap_pages *pages, const struct heap_config *config);

/* At least FRAMES (1 .. 2^31) frames, aligned to ALIGN_FRAMES (a power of two); .at is NULL where
 * the frame allocator has no such run or cannot make one. */
struct heap_run heap_pages_get(struct heap_pages *pages, uint64_t frames, uint64_t align_frames,
			       uint8_t zone);
/* Just [first, first + frames); false where the allocator cannot say where, or not there. */
bool heap_pages_get_at(struct heap_pages *pages, struct pfn first, uint64_t frames);
/* A run as it was got, or (for allocators with partial frees) a part. A refusal is a panic: the
 * two allocators disagree about who owns what. One that cannot free loses them. */
void heap_pages_put(struct heap_pages *pages, struct heap_run run);

/* Whether its constant part is as init left it: without that check() could follow nothing. */
bool heap_pages_sound(const struct heap_pages *pages);

/* Whether the address lies in a frame that could be one of ours: RAM of the map. Cost: O(ranges of
 * the map); for check(). */
bool heap_pages_possible(const struct heap_pages *pages, const void *at);

/* The frame at an address of the direct map; beyond the direct map a number no map has. */
static inline uint64_t heap_frame_of(const struct heap_pages *pages, const void *at)
{
	return (uint64_t)((const char *)at - pages->reach.base) >> X86_PAGE_SHIFT;
}

#endif
