/*
 * memblock.h - what two-ended (F7) asks of memblock (F6) besides the slot's operations. STATE is
 * memblock's.
 */
#ifndef KMEMLAB_ALLOC_FRAME_MEMBLOCK_H
#define KMEMLAB_ALLOC_FRAME_MEMBLOCK_H

#include "alloc/frame/frame.h"

/* The lowest place for N aligned frames in [first, stop), all free; 0: there is none. Cost: O(runs)
 * in between. */
uint64_t memblock_find(const void *state, uint64_t first, uint64_t stop, uint64_t n,
		       uint64_t align);

/* Whether all of [first, first + n) is memory and free. */
bool memblock_is_free(const void *state, uint64_t first, uint64_t n);

/* The end of the last used run that begins below LIMIT, cut there; 0: there is none. */
uint64_t memblock_used_end(const void *state, uint64_t limit);

#endif
