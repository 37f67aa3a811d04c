/*
 * objects.h - equal small objects in single frames: the nodes that address spaces are made of.
 * Frames are taken when no page has room, and given back with the last object in them.
 *
 * Not a heap: one size each, no alignment, no caches. Where a kernel has a heap, its slabs do this.
 */
#ifndef KMEMLAB_ALLOC_SPACE_OBJECTS_H
#define KMEMLAB_ALLOC_SPACE_OBJECTS_H

#include "alloc/frame/frame.h"

struct object_page;

struct objects {
	struct frames frames;
	struct reach reach;
	uint32_t bytes;
	struct object_page *partial; /* pages with room and at least one object */
	uint64_t pages, live;
};

/* BYTES: 16 to 2000. REACH: bound. */
void objects_init(struct objects *objects, const struct frames *frames, const struct reach *reach,
		  uint32_t bytes);
/* A zeroed object; NULL: no frame. Cost: O(1), a frame's clearing aside. */
void *object_alloc(struct objects *objects);
/* Cost: O(1). */
void object_free(struct objects *objects, void *object);

#endif
