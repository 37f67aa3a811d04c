/*
 * defect_frames.h - more frame allocators with a planted defect each, beside those of
 * tests/support/bad_frames.h: what only a machine shows (faults, panics, foreign memory), and what
 * only a replay asks for (sizes, alignment, refusals, the walk). Kernel code, compiled native and
 * probed. Each wraps the bitmap, whose state stands one frame behind its own.
 *
 * The one option, `at`: the defect strikes at that call from the first on which it can.
 */
#ifndef KMEMLAB_TESTS_REPLAY_DEFECT_FRAMES_H
#define KMEMLAB_TESTS_REPLAY_DEFECT_FRAMES_H

#include "alloc/frame/frame.h"

#define DEFECT_OPTION_AT 0

/* NULL-terminated; the probed build's is probed_defect_frames, in the same order. */
extern const struct frame_ops *const defect_frames[];

#endif
