/*
 * split.c - F5: a bitmap for low memory, a stack for the rest.
 *
 *   frame    0          limit                                        end
 *            | low memory |  high memory                              |
 *            |   bitmap   |  stack of free frames                     |
 *            | 0110111... |  tip[] -> 700 -> 413 -> ...               |
 *
 * Idea: old devices reach only low memory, and want it in contiguous runs; everybody else wants one
 * frame, anywhere, fast. So the low part, 1 MiB unless configured, has a bitmap (F1), where runs
 * can be found; the rest has a stack (F4, lazy start), which cannot serve runs and does not need
 * to. One frame comes from the stack, and from low memory when the stack is empty; runs, alignment
 * and the DMA zone come from low memory only.
 *
 *   state:  header | low ranges | high ranges | bitmap's state | stack's state
 *
 * The map is cut at the limit into two maps, which stand in the state; each inner system has one
 * and knows of nothing else.
 *
 * Invariants (check):
 *   1      header: as init left it; the map is sound
 *   2      the two maps are the map, cut at the limit
 *   10 + n invariant n of bitmap.c, for low memory
 *   20 + n invariant n of stack.c, for high memory
 *
 * Cost: that of the stack for a frame, of the bitmap for runs. Metadata: 65/64 of a bit for each
 * frame below the limit.
 *
 * Source: the usual arrangement of hobby kernels with ISA DMA; NetBSD's bus_dma reserves.
 */
#include "alloc/frame/systems.h"

enum { OPTION_LIMIT };
#define LIMIT_DEFAULT 256 /* frames: 1 MiB */

struct split_layout {
	uint64_t limit;			/* first frame that is not low */
	uint64_t low_at, high_at;	/* bytes from the state's start to each inner state */
	uint64_t low_bytes;		/* 0: no low memory */
	uint64_t high_bytes;		/* 0: no high memory */
	uint64_t low_count, high_count; /* ranges */
};

struct split {
	struct memmap map;
	struct split_layout layout;
	struct memmap low, high;
	uint64_t header_sum; /* over the above */
	struct frame_range range[];
};

static const struct frame_ops *const low_ops = &frame_bitmap;
static const struct frame_ops *const high_ops = &frame_stack_lazy;

static void *low_state(struct split *s)
{
	return (char *)s + s->layout.low_at;
}

static void *high_state(struct split *s)
{
	return (char *)s + s->layout.high_at;
}

static const void *low_state_const(const struct split *s)
{
	return (const char *)s + s->layout.low_at;
}

static const void *high_state_const(const struct split *s)
{
	return (const char *)s + s->layout.high_at;
}

static struct frame_config inner_config(const struct frame_ops *ops,
					const struct frame_config *config)
{
	struct frame_config inner;

	frame_config_defaults(ops, &inner);
	inner.reach = config->reach;
	inner.cpus = config->cpus;
	inner.seed = config->seed;
	return inner;
}

/* Both systems' state depends on the ends of their map only: one range that spans it will do. */
static uint64_t inner_bytes(const struct frame_ops *ops, uint64_t first, uint64_t end,
			    const struct frame_config *config, const char **why)
{
	struct frame_range range = { pfn(first), end - first };
	struct memmap span = { &range, 1, end - first, pfn(first), pfn(end) };
	struct frame_config inner = inner_config(ops, config);

	return ops->state_bytes(&span, &inner, why);
}

/* The part of range R that lies in [from, to). */
static struct frame_range clip(const struct frame_range *r, uint64_t from, uint64_t to)
{
	uint64_t first = r->first.n > from ? r->first.n : from;
	uint64_t end = r->first.n + r->frames < to ? r->first.n + r->frames : to;

	return (struct frame_range){ pfn(first), first < end ? end - first : 0 };
}

static bool lay_out(struct split_layout *l, const struct memmap *map,
		    const struct frame_config *config, const char **why)
{
	uint64_t low_end = 0, high_first = 0;

	*l = (struct split_layout){ .limit = config->option[OPTION_LIMIT] };
	for (uint32_t i = 0; i < map->count; i++) {
		struct frame_range low = clip(&map->ranges[i], 0, l->limit);
		struct frame_range high = clip(&map->ranges[i], l->limit, UINT64_MAX);

		if (low.frames) {
			low_end = low.first.n + low.frames;
			l->low_count++;
		}
		if (high.frames && !l->high_count++)
			high_first = high.first.n;
	}
	l->low_at =
		sizeof(struct split) + (l->low_count + l->high_count) * sizeof(struct frame_range);
	if (l->low_count) {
		l->low_bytes = inner_bytes(low_ops, map->first.n, low_end, config, why);
		if (!l->low_bytes)
			return false;
	}
	l->high_at = round_up_u64(l->low_at + l->low_bytes, sizeof(uint64_t));
	if (l->high_count)
		l->high_bytes = inner_bytes(high_ops, high_first, map->end.n, config, why);
	return !l->high_count || l->high_bytes;
}

static uint64_t split_state_bytes(const struct memmap *map, const struct frame_config *config,
				  const char **why)
{
	struct split_layout l;

	if (!map->frames) {
		*why = "split: the memory map has no usable frame";
		return 0;
	}
	return lay_out(&l, map, config, why) ? l.high_at + l.high_bytes : 0;
}

/* The part of the map in [from, to), its ranges put into RANGES. */
static struct memmap cut(const struct memmap *map, uint64_t from, uint64_t to,
			 struct frame_range *ranges)
{
	struct memmap part = { .ranges = ranges };

	for (uint32_t i = 0; i < map->count; i++) {
		struct frame_range r = clip(&map->ranges[i], from, to);

		if (!r.frames)
			continue;
		if (!part.count)
			part.first = r.first;
		part.end = pfn_add(r.first, r.frames);
		part.frames += r.frames;
		ranges[part.count++] = r;
	}
	return part;
}

static int split_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	struct split *s = state;
	struct frame_config low = inner_config(low_ops, config);
	struct frame_config high = inner_config(high_ops, config);
	const char *why;
	int error = 0;

	s->map = *map;
	if (!lay_out(&s->layout, map, config, &why))
		return KERR_UNSUPPORTED;
	s->low = cut(map, 0, s->layout.limit, s->range);
	s->high = cut(map, s->layout.limit, UINT64_MAX, s->range + s->layout.low_count);
	s->header_sum = FRAME_HEADER_SUM(s);
	if (s->low.count)
		error = low_ops->init(low_state(s), &s->low, &low);
	if (!error && s->high.count)
		error = high_ops->init(high_state(s), &s->high, &high);
	return error;
}

static int split_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct split *s = state;
	bool plain = request->frames == 1 && request->align_frames == 1 &&
		     request->zone != FRAME_ZONE_DMA;

	if (plain && s->high.count) {
		int error = high_ops->alloc(high_state(s), request, out);

		if (error != KERR_NO_MEMORY)
			return error;
	}
	return s->low.count ? low_ops->alloc(low_state(s), request, out) : KERR_NO_MEMORY;
}

static int split_free(void *state, const struct frame_block *block)
{
	struct split *s = state;

	if (block->first.n < s->layout.limit)
		return s->low.count ? low_ops->free(low_state(s), block) : KERR_NOT_OWNED;
	return s->high.count ? high_ops->free(high_state(s), block) : KERR_NOT_OWNED;
}

static void split_stats(const void *state, struct frame_stats *out)
{
	const struct split *s = state;
	struct frame_stats low = { 0 }, high = { 0 };

	if (s->low.count)
		low_ops->stats(low_state_const(s), &low);
	if (s->high.count)
		high_ops->stats(high_state_const(s), &high);
	*out = (struct frame_stats){
		.managed_frames = s->map.frames,
		.free_frames = low.free_frames + high.free_frames,
		.kept_frames = low.kept_frames + high.kept_frames,
	};
}

static int split_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	const struct split *s = state;
	int error = 0;

	if (s->low.count)
		error = low_ops->walk(low_state_const(s), visit, ctx);
	if (!error && s->high.count)
		error = high_ops->walk(high_state_const(s), visit, ctx);
	return error;
}

/* The two maps' ranges, joined at the limit, are the map's. */
static int check_cut(const struct split *s, struct violation *violation)
{
	const struct frame_range *low = s->range, *high = s->range + s->layout.low_count;

	for (uint32_t i = 0; i < s->map.count; i++) {
		struct frame_range l = clip(&s->map.ranges[i], 0, s->layout.limit);
		struct frame_range h = clip(&s->map.ranges[i], s->layout.limit, UINT64_MAX);
		bool holds =
			(!l.frames || (low->first.n == l.first.n && low->frames == l.frames)) &&
			(!h.frames || (high->first.n == h.first.n && high->frames == h.frames));

		if (!holds)
			return frame_violation(violation, 2, s->map.ranges[i].first,
					       "the two maps are the map, cut at the limit");
		low += l.frames != 0;
		high += h.frames != 0;
	}
	return 0;
}

static int split_check(const void *state, struct violation *violation)
{
	const struct split *s = state;
	int error;

	if (s->header_sum != FRAME_HEADER_SUM(s))
		return frame_violation(violation, 1, pfn(0), "the header is as init left it");
	if (!memmap_is_sound(&s->map))
		return frame_violation(violation, 1, pfn(0), "the memory map is sound");
	error = check_cut(s, violation);
	if (error)
		return error;
	if (s->low.count) {
		error = low_ops->check(low_state_const(s), violation);
		violation->invariant += error ? 10 : 0;
	}
	if (!error && s->high.count) {
		error = high_ops->check(high_state_const(s), violation);
		violation->invariant += error ? 20 : 0;
	}
	return error;
}

static const struct frame_option options[] = {
	[OPTION_LIMIT] = { .key = "limit",
			   .help = "frames of low memory, from address 0",
			   .value = LIMIT_DEFAULT,
			   .max = 1ull << 20 },
	{ .key = NULL },
};

const struct frame_ops frame_split = {
	.name = "split",
	.id = "F5",
	.summary = "a bitmap for low memory and its runs, a stack for the rest",
	.caps = FRAME_CAP_RUNS | FRAME_CAP_ANY_COUNT | FRAME_CAP_ALIGN | FRAME_CAP_FREE |
		FRAME_CAP_PARTIAL_FREE | FRAME_CAP_ZONES | FRAME_CAP_IN_FRAME,
	.options = options,
	.state_bytes = split_state_bytes,
	.init = split_init,
	.alloc = split_alloc,
	.free = split_free,
	.stats = split_stats,
	.walk = split_walk,
	.check = split_check,
};
