/*
 * rogue_frames.h - frame allocators that no trace of allocations and frees unmasks, or that do not
 * come back: defects for `kmemlab check` beside those of tests/support and tests/replay. Kernel
 * code, compiled native and probed; each wraps the bitmap.
 */
#ifndef KMEMLAB_TESTS_CHECK_ROGUE_FRAMES_H
#define KMEMLAB_TESTS_CHECK_ROGUE_FRAMES_H

#include "alloc/frame/frame.h"

/* NULL-terminated; the probed build's is probed_rogue_frames, in the same order. */
extern const struct frame_ops *const rogue_frames[];
/* The binary buddy with mistakes (planted_buddy.c). Ends with NULL. */
extern const struct frame_ops *const planted_frames[];

#endif
