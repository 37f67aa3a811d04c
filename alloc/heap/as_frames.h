/*
 * as_frames.h - page frames out of a heap of the direct map: for kernels whose heap is the only
 * allocator (H2), or whose non-paged pool feeds the page tables (H9). Not in the registry: it has
 * no memory map of its own, and is bound by hand:
 *
 *	struct heap_as_frames f = { heap, reach };
 *	struct frames frames = { &heap_as_frames_ops, &f };
 */
#ifndef KMEMLAB_ALLOC_HEAP_AS_FRAMES_H
#define KMEMLAB_ALLOC_HEAP_AS_FRAMES_H

#include "alloc/heap/heap.h"

struct heap_as_frames {
	struct heap heap;
	struct reach reach; /* bound */
};

extern const struct frame_ops heap_as_frames_ops;

#endif
