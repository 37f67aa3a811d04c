/*
 * frame_maps.h - memory maps, as allocators get them after normalisation, from the plain to the
 * nasty. Whatever manages frames must work on each, or refuse it with a reason.
 */
#ifndef KMEMLAB_TESTS_SUPPORT_FRAME_MAPS_H
#define KMEMLAB_TESTS_SUPPORT_FRAME_MAPS_H

#include <stdbool.h>
#include "alloc/memmap.h"

struct named_map {
	const char *name;
	struct memmap map;
};

extern const struct named_map frame_maps[];
extern const unsigned frame_map_count;
/* On their own, because their frames, or metadata for their span, take a while to check. */
extern const struct named_map large_frame_maps[];
extern const unsigned large_frame_map_count;

#endif
