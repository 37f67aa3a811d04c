/*
 * bad_frames.h - frame allocators with a planted defect each: what checkers, ledger and probes must
 * catch. Kernel code like any other: compiled native and probed. Each wraps a real system, whose
 * state stands one frame behind its own.
 *
 * Options, the same for all: `inner` (bitmap, stack, buddy), `every` (the defect strikes at every
 * n-th call it can strike at), `word` (for bad-corrupt: which word of the inner state).
 */
#ifndef KMEMLAB_TESTS_SUPPORT_BAD_FRAMES_H
#define KMEMLAB_TESTS_SUPPORT_BAD_FRAMES_H

#include "alloc/frame/frame.h"

enum bad_frames_option { BAD_OPTION_INNER, BAD_OPTION_EVERY, BAD_OPTION_WORD };

extern const struct frame_ops bad_frames_twice;	   /* hands out a frame that is in use */
extern const struct frame_ops bad_frames_loses;	   /* a free that frees nothing */
extern const struct frame_ops bad_frames_shifted;  /* a block that begins one frame later */
extern const struct frame_ops bad_frames_foreign;  /* a frame that is not in the map */
extern const struct frame_ops bad_frames_corrupt;  /* flips a bit of the inner metadata */
extern const struct frame_ops bad_frames_overrun;  /* writes behind its state */
extern const struct frame_ops bad_frames_scribble; /* writes into a frame that is in use */
extern const struct frame_ops bad_frames_liar;	   /* stats() counts one frame too many */

extern const struct frame_ops *const bad_frames[]; /* all of them, NULL-terminated */

#endif
