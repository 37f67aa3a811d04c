/*
 * tlsf.h - the inside of H11, for heaps that are made of it.
 */
#ifndef KMEMLAB_ALLOC_HEAP_TLSF_H
#define KMEMLAB_ALLOC_HEAP_TLSF_H

#include "alloc/heap/chunk_heap.h"

#define TLSF_SECOND 16u
#define TLSF_FIRST  28u

struct tlsf {
	struct chunk_heap core; /* first: the index finds us by it */
	uint32_t first;
	uint16_t second[TLSF_FIRST];
	struct chunk *list[TLSF_FIRST][TLSF_SECOND];
};

/* T: zeroed. GROW_FRAMES: of a new segment, at least; 0: it is fixed. */
void tlsf_setup(struct tlsf *t, const struct heap_config *config, uint64_t grow_frames);

#endif
