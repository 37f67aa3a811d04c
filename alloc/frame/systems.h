/*
 * systems.h - the systems of this build, one source file each; frame.c puts them into the registry.
 */
#ifndef KMEMLAB_ALLOC_FRAME_SYSTEMS_H
#define KMEMLAB_ALLOC_FRAME_SYSTEMS_H

#include "alloc/frame/frame.h"
#include "alloc/frame/support.h"

extern const struct frame_ops frame_null;
extern const struct frame_ops frame_placement;
extern const struct frame_ops frame_bitmap;
extern const struct frame_ops frame_bitmap_lockless;
extern const struct frame_ops frame_stack;
extern const struct frame_ops frame_stack_lazy;
extern const struct frame_ops frame_range_list;
extern const struct frame_ops frame_split;
extern const struct frame_ops frame_memblock;
extern const struct frame_ops frame_two_ended;
extern const struct frame_ops frame_buddy;
extern const struct frame_ops frame_zoned_buddy;
extern const struct frame_ops frame_llfree;

#endif
