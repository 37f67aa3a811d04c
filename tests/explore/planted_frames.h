/* Page-frame allocators that say they are lock-free, each with one defect of concurrency; alone on
 * a CPU they are sound. Kernel code, built twice; the probed twins are probed_planted_frames[]. */
#ifndef KMEMLAB_TESTS_EXPLORE_PLANTED_FRAMES_H
#define KMEMLAB_TESTS_EXPLORE_PLANTED_FRAMES_H

#include "alloc/frame/frame.h"

/* NULL-terminated. */
extern const struct frame_ops *const planted_frames[];

#endif
