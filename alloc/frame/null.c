/*
 * null.c - the frame allocator that never frees: a pointer that only goes up.
 *
 *   map      |=====|      |===================|        |========|
 *             used  lost   used used | free ...          free
 *                                    ^ next, in range `at`
 *
 * Idea: what a replay costs without an allocator, and the least that any allocator must beat. A
 * request that does not fit into what is left of a range moves on to the next range that has room;
 * what it leaves behind is lost: walk() calls it used, stats() kept.
 *
 * Invariants (check):
 *   1  header: as init left it; the map is sound
 *   2  `next` lies in range `at`, or is its end
 *   3  `free_frames` are the frames behind `next`; the lost ones are not more than those before it
 *
 * Cost: O(1) a frame; no metadata. Not able to: free.
 */
#include "alloc/frame/systems.h"

struct null_frames {
	struct memmap map;
	uint64_t header_sum;
	uint64_t next; /* frame number */
	uint64_t free_frames;
	uint64_t lost_frames; /* left behind by alignment and at the ends of ranges */
	uint32_t at;	      /* index of the range that holds `next` */
};

static uint64_t range_end(const struct frame_range *r)
{
	return r->first.n + r->frames;
}

static uint64_t null_state_bytes(const struct memmap *map, const struct frame_config *config,
				 const char **why)
{
	(void)map;
	(void)config;
	(void)why;
	return sizeof(struct null_frames);
}

static int null_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	struct null_frames *n = state;

	(void)config;
	n->map = *map;
	n->header_sum = FRAME_HEADER_SUM(n);
	n->free_frames = map->frames;
	n->next = map->first.n;
	return 0;
}

static int null_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct null_frames *n = state;
	uint64_t free_frames = n->free_frames;
	uint64_t from = n->next;

	for (uint32_t i = n->at; i < n->map.count; i++) {
		const struct frame_range *r = &n->map.ranges[i];

		if (i != n->at)
			from = r->first.n;
		uint64_t first = round_up_u64(from, request->align_frames);
		uint64_t end = range_end(r);

		if (first >= from && first <= end && request->frames <= end - first) {
			n->at = i;
			n->next = first + request->frames;
			n->lost_frames += n->free_frames - free_frames + (first - from);
			n->free_frames = free_frames - (n->next - from);
			*out = (struct frame_block){ pfn(first), request->frames };
			return 0;
		}
		free_frames -= end - from;
	}
	return KERR_NO_MEMORY;
}

static int null_free(void *state, const struct frame_block *block)
{
	(void)state;
	(void)block;
	return KERR_UNSUPPORTED;
}

static void null_stats(const void *state, struct frame_stats *out)
{
	const struct null_frames *n = state;

	*out = (struct frame_stats){ .managed_frames = n->map.frames,
				     .free_frames = n->free_frames,
				     .kept_frames = n->lost_frames };
}

static int null_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	const struct null_frames *n = state;

	for (uint32_t i = 0; i < n->map.count; i++) {
		const struct frame_range *r = &n->map.ranges[i];
		uint64_t used = i < n->at ? r->frames : i > n->at ? 0 : n->next - r->first.n;
		struct frame_extent taken = { r->first, used, FRAME_USED };
		struct frame_extent rest = { pfn_add(r->first, used), r->frames - used,
					     FRAME_FREE };

		if (taken.frames && visit(ctx, &taken))
			return KERR_STOP;
		if (rest.frames && visit(ctx, &rest))
			return KERR_STOP;
	}
	return 0;
}

static int null_check(const void *state, struct violation *violation)
{
	const struct null_frames *n = state;
	uint64_t free_frames = 0;

	if (n->header_sum != FRAME_HEADER_SUM(n))
		return frame_violation(violation, 1, pfn(0), "the header is as init left it");
	if (!memmap_is_sound(&n->map))
		return frame_violation(violation, 1, pfn(0), "the memory map is sound");
	if (n->map.count ? n->at >= n->map.count : n->at != 0)
		return frame_violation(violation, 2, pfn(n->next), "next lies in a range");
	for (uint32_t i = n->at; i < n->map.count; i++) {
		const struct frame_range *r = &n->map.ranges[i];

		if (i == n->at && (n->next < r->first.n || n->next > range_end(r)))
			return frame_violation(violation, 2, pfn(n->next), "next lies in a range");
		free_frames += i == n->at ? range_end(r) - n->next : r->frames;
	}
	if (free_frames != n->free_frames)
		return frame_violation(violation, 3, pfn(n->next),
				       "free_frames are the frames behind next");
	if (n->lost_frames > n->map.frames - free_frames)
		return frame_violation(violation, 3, pfn(n->next),
				       "lost_frames are not more than the frames before next");
	return 0;
}

const struct frame_ops frame_null = {
	.name = "null",
	.id = "-",
	.summary = "a pointer that only goes up; frees nothing",
	.caps = FRAME_CAP_RUNS | FRAME_CAP_ANY_COUNT | FRAME_CAP_ALIGN,
	.state_bytes = null_state_bytes,
	.init = null_init,
	.alloc = null_alloc,
	.free = null_free,
	.stats = null_stats,
	.walk = null_walk,
	.check = null_check,
};
