/*
 * two_ended.c - F7: one memory used from both ends.
 *
 *   frame   base                brk                                        end
 *           |###|..|#####|######|...............................|#.##|#####|
 *            heap: runs, contiguous       free                   general frames
 *            ------------------->                                <----------
 *
 * Idea: single frames can be anywhere; a kernel heap wants one contiguous piece that grows. Frames
 * go out from the high end, in address order, so that they keep away from the low end as long as
 * they can; the heap grows from there by its brk. Neither needs a size at boot.
 *
 * Which request goes where: a run (more than one frame), or one frame with an alignment, is for the
 * heap; one frame of any place is general. FRAME_AT names its place and takes it, on either side,
 * without moving the brk. The heap begins at the low end of the map's largest range, and physically
 * contiguous means that it cannot leave it.
 *
 * The heap fills its own holes first, the lowest that has room, and then moves the brk up. When its
 * last run is freed the brk falls back to what is still used. When the two ends meet:
 *   - the brk cannot pass a general frame. Such a run is refused, even where there are enough free
 *     frames above, and counted (frame_stats.brk_refused, when so many frames were free at all)
 *   - general frames go on into the heap's holes, from the top; so a single frame is refused only
 *     when nothing is free. A hole so used is the heap's again when the frame comes back
 *
 * The order by address, free gaps and places are a memblock's (F6), top-down.
 *
 * Invariants (check):
 *   1      header: as init left it
 *   2      the brk lies in the heap's range, and is kept twice alike
 *   3      the frame below the brk is used, or the brk is at the base
 *   10 + n invariant n of memblock.c
 *
 * Cost: that of memblock: a frame O(1) and a search for its run; a run O(runs in the heap).
 * Metadata: 16 bytes a run of used frames, none for free memory.
 *
 * Source: the arrangement of early Unix and of many teaching kernels: a core allocator from the
 * top, kernel brk (sbrk) from the bottom. Differs in that runs below the brk are given back and
 * reused.
 */
#include "alloc/frame/memblock.h"
#include "alloc/frame/systems.h"

struct two_ended {
	struct memmap map;
	uint64_t base, limit; /* of the heap: the map's largest range */
	uint64_t inner_at;    /* bytes from the state's start */
	uint64_t header_sum;  /* over the above */
	uint64_t brk, brk_again;
	uint64_t brk_refused;
};

static const struct frame_ops *const inner_ops = &frame_memblock;

static void *inner(struct two_ended *t)
{
	return (char *)t + t->inner_at;
}

static const void *inner_const(const struct two_ended *t)
{
	return (const char *)t + t->inner_at;
}

static struct frame_config inner_config(const struct frame_config *config)
{
	struct frame_config own;

	frame_config_defaults(inner_ops, &own); /* top-down */
	own.reach = config->reach;
	own.cpus = config->cpus;
	return own;
}

#define INNER_AT ((sizeof(struct two_ended) + 63) / 64 * 64)

static uint64_t two_ended_state_bytes(const struct memmap *map, const struct frame_config *config,
				      const char **why)
{
	struct frame_config own = inner_config(config);

	if (!map->frames) {
		*why = "two-ended: the memory map has no usable frame";
		return 0;
	}
	return INNER_AT + inner_ops->state_bytes(map, &own, why);
}

static int two_ended_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	struct two_ended *t = state;
	struct frame_config own = inner_config(config);
	struct frame_range largest = memmap_largest(map);

	t->map = *map;
	t->base = largest.first.n;
	t->limit = largest.first.n + largest.frames;
	t->inner_at = INNER_AT;
	t->header_sum = FRAME_HEADER_SUM(t);
	t->brk = t->brk_again = t->base;
	return inner_ops->init(inner(t), map, &own);
}

static void set_brk(struct two_ended *t, uint64_t brk)
{
	t->brk = t->brk_again = brk;
}

/* A place for a run that the heap can reach: in a hole of it, or at the brk; 0: there is none. */
static uint64_t heap_place(const struct two_ended *t, uint64_t n, uint64_t align)
{
	uint64_t at = memblock_find(inner_const(t), t->base, t->limit, n, align);

	if (at > t->brk && !memblock_is_free(inner_const(t), t->brk, at - t->brk))
		return 0; /* general frames lie in between */
	return at;
}

static uint64_t free_frames(const struct two_ended *t)
{
	struct frame_stats stats;

	inner_ops->stats(inner_const(t), &stats);
	return stats.free_frames;
}

static int heap_alloc(struct two_ended *t, const struct frame_request *request,
		      struct frame_block *out)
{
	struct frame_request at = *request;

	at.at = pfn(heap_place(t, request->frames, request->align_frames));
	at.flags |= FRAME_AT;
	int error = at.at.n ? inner_ops->alloc(inner(t), &at, out) : KERR_NO_MEMORY;

	if (error)
		t->brk_refused += free_frames(t) >= request->frames;
	else if (at.at.n + request->frames > t->brk)
		set_brk(t, at.at.n + request->frames);
	return error;
}

/* The frame below the brk may be free now: the block that was there, or a frame that held a part of
 * memblock's array. */
static void settle_brk(struct two_ended *t)
{
	if (t->brk == t->base || !memblock_is_free(inner_const(t), t->brk - 1, 1))
		return;
	uint64_t used = memblock_used_end(inner_const(t), t->brk);

	set_brk(t, used > t->base ? used : t->base);
}

static int two_ended_alloc(void *state, const struct frame_request *request,
			   struct frame_block *out)
{
	struct two_ended *t = state;
	bool anywhere = request->frames == 1 && request->align_frames == 1;
	int error = anywhere || request->flags & FRAME_AT ? inner_ops->alloc(inner(t), request, out)
							  : heap_alloc(t, request, out);

	settle_brk(t);
	return error;
}

static int two_ended_free(void *state, const struct frame_block *block)
{
	struct two_ended *t = state;
	int error = inner_ops->free(inner(t), block);

	settle_brk(t);
	return error;
}

static void two_ended_stats(const void *state, struct frame_stats *out)
{
	const struct two_ended *t = state;

	inner_ops->stats(inner_const(t), out);
	out->brk_refused = t->brk_refused;
}

static int two_ended_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	return inner_ops->walk(inner_const(state), visit, ctx);
}

static int two_ended_check(const void *state, struct violation *violation)
{
	const struct two_ended *t = state;

	if (t->header_sum != FRAME_HEADER_SUM(t))
		return frame_violation(violation, 1, pfn(0), "the header is as init left it");
	if (t->brk < t->base || t->brk > t->limit || t->brk != t->brk_again)
		return frame_violation(violation, 2, pfn(t->brk), "the brk is in the heap's range");
	if (inner_ops->check(inner_const(t), violation)) {
		violation->invariant += 10;
		return KERR_CORRUPT;
	}
	if (t->brk > t->base && memblock_is_free(inner_const(t), t->brk - 1, 1))
		return frame_violation(violation, 3, pfn(t->brk), "the brk is behind a used frame");
	return 0;
}

const struct frame_ops frame_two_ended = {
	.name = "two-ended",
	.id = "F7",
	.summary = "frames from the high end, a contiguous brk heap from the low end",
	.caps = FRAME_CAP_RUNS | FRAME_CAP_ANY_COUNT | FRAME_CAP_ALIGN | FRAME_CAP_AT |
		FRAME_CAP_FREE | FRAME_CAP_PARTIAL_FREE | FRAME_CAP_IN_FRAME,
	.state_bytes = two_ended_state_bytes,
	.init = two_ended_init,
	.alloc = two_ended_alloc,
	.free = two_ended_free,
	.stats = two_ended_stats,
	.walk = two_ended_walk,
	.check = two_ended_check,
};
