/*
 * bad_heap.h - heaps that are size-classes but for one thing, kernel code like alloc/: at an
 * allocation for BAD_TRIGGER they misuse the last object that was allocated for BAD_VICTIM.
 */
#ifndef KMEMLAB_TESTS_HEAPS_BAD_HEAP_H
#define KMEMLAB_TESTS_HEAPS_BAD_HEAP_H

#include "alloc/heap/heap.h"

#define BAD_VICTIM  0xbadull /* call sites */
#define BAD_TRIGGER 0x7177ull

enum bad_heap {
	BAD_HEAP_NOT = 0,
	BAD_HEAP_OVERRUN,     /* stores into the last byte of what was asked for */
	BAD_HEAP_UNDERRUN,    /* stores into byte 8 */
	BAD_HEAP_STORES,      /* into byte 40 */
	BAD_HEAP_LOADS,	      /* byte 40 */
	BAD_HEAP_FREES_TWICE, /* takes a free of anything */
	BAD_HEAP_KEEPS,	      /* does not free the victim */
	BAD_HEAPS
};

extern const struct heap_ops bad_heaps[BAD_HEAPS];

#endif
