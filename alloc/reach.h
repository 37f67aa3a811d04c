/*
 * reach.h - how an allocator touches the contents of a frame that is nobody's: through the direct
 * map where there is one, or through one moving temporary window. Never through the table slot,
 * which itself needs frames.
 */
#ifndef KMEMLAB_ALLOC_REACH_H
#define KMEMLAB_ALLOC_REACH_H

#include "alloc/addr.h"

/* Copied into an allocator's state at init by reach_bind(); holds no memory of its own. */
struct reach {
	struct vaddr direct;   /* where frame 0 stands in the direct map */
	struct pfn direct_end; /* frames below this are in the direct map */
	char *base;	       /* the pointer for `direct`; reach_bind() fills it in */
};

/* Makes COPY ready for frame_open(). CONFIGURED needs only `direct` and `direct_end`. */
void reach_bind(struct reach *copy, const struct reach *configured);

/* The frame is not in the direct map. */
void *frame_open_window(const struct reach *reach, struct pfn frame);

/* Whether the direct map has the frame. A hot path may ask, and keep windows out of its way. */
static inline bool reach_is_direct(const struct reach *reach, struct pfn frame)
{
	return __builtin_expect(frame.n < reach->direct_end.n, 1);
}

static inline void *frame_direct(const struct reach *reach, struct pfn frame)
{
	return reach->base + pfn_to_paddr(frame).a;
}

/* Pointer to the frame's 4096 bytes, valid until frame_close(). One frame is open at a time. A
 * frame beyond the direct map is a panic until the machine has temporary windows. Cost: an addition
 * in the direct map. */
static inline void *frame_open(const struct reach *reach, struct pfn frame)
{
	return reach_is_direct(reach, frame) ? frame_direct(reach, frame)
					     : frame_open_window(reach, frame);
}

static inline void frame_close(const struct reach *reach, void *contents)
{
	(void)reach;
	(void)contents;
}

#endif
