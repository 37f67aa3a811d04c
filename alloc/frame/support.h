/*
 * support.h - what systems share, a user's own included: a sum that guards the part of a state
 * which never changes, records in free frames, and how check() says what it found.
 */
#ifndef KMEMLAB_ALLOC_FRAME_SUPPORT_H
#define KMEMLAB_ALLOC_FRAME_SUPPORT_H

#include "alloc/frame/frame.h"

/* Sum over the part of a state that never changes after init (BYTES a multiple of 8). Systems keep
 * it behind that part, so that check() can trust the map's pointer, the shape and the options
 * before it follows them. */
static inline uint64_t frame_header_sum(const void *header, size_t bytes)
{
	const uint64_t *word = header;
	uint64_t sum = 0x9e3779b97f4a7c15;

	for (size_t i = 0; i < bytes / sizeof(*word); i++)
		sum = (sum << 7 | sum >> 57) * 0x100000001b3 ^ word[i];
	return sum;
}

/* For a state whose header ends where its member `header_sum` begins. */
#define FRAME_HEADER_SUM(state) \
	frame_header_sum(state, \
			 (size_t)((const char *)&(state)->header_sum - (const char *)(state)))

/* Where a system keeps its record inside a free frame: in a line of the frame that depends on the
 * frame's number. At one place in every frame, all records would compete for one set of the cache,
 * whose index is the address modulo 4096 in an L1 of 64 sets. */
#define FRAME_RECORD_LINE_BYTES 64u
#define FRAME_RECORD_LINES	(X86_PAGE_BYTES / FRAME_RECORD_LINE_BYTES)

static inline void *frame_record_in(void *contents, struct pfn frame)
{
	return (char *)contents + frame.n % FRAME_RECORD_LINES * FRAME_RECORD_LINE_BYTES;
}

static inline void *frame_record_open(const struct reach *reach, struct pfn frame)
{
	return frame_record_in(frame_open(reach, frame), frame);
}

static inline void frame_record_close(const struct reach *reach, void *record)
{
	frame_close(reach, record);
}

/* Records a finding of check(): `return frame_violation(v, 3, frame, "...");` */
static inline int frame_violation(struct violation *v, unsigned invariant, struct pfn frame,
				  const char *what)
{
	*v = (struct violation){ invariant, frame, what };
	return KERR_CORRUPT;
}

#endif
