/*
 * placement.c - F10: placement by a bump pointer, before any other allocator exists.
 *
 *   map before   |==|        |===============================|     |======|
 *   taken                     state|tables>
 *   map after    |==|                     |==================|     |======|
 *                                         ^ the range's `first` is the bump pointer
 *
 * Idea: at boot nothing is ever freed, so an allocation is the addition of a count to a pointer.
 * The pointer is the `first` of a range of the memory map. So the map is at every moment exactly
 * what is still free, ranges that were too short for a request keep their frames, and the hand-over
 * costs nothing.
 *
 * It is also a system of its own, `placement`: what a kernel has that stops here, and never frees.
 * Its copy of the map, with room for SPARE_RANGES more, stands in its state. Frames before an
 * aligned request stay free while that room lasts, and are lost after that.
 *
 * Invariants (check, of the system):
 *   1  header: as init left it; the map is sound
 *   2  what is left is sound, lies in the map, and is as the last take left it (left_sum: there is
 *      no second record of what was taken)
 *   3  lost_frames are not more than the frames taken
 *
 * Cost: O(ranges) a take. Metadata: a range record each.
 */
#include "alloc/frame/placement.h"
#include "alloc/frame/systems.h"
#include "alloc/port.h"

void placement_init(struct placement *placement, struct memmap *map, struct frame_range *ranges,
		    uint32_t capacity)
{
	placement->map = map;
	placement->ranges = ranges;
	placement->capacity = capacity;
}

static const struct frame_range *range_with(const struct memmap *map, uint64_t frames,
					    uint64_t align, bool low)
{
	for (uint32_t i = 0; i < map->count; i++) {
		const struct frame_range *r = &map->ranges[i];
		uint64_t gap = round_up_u64(r->first.n, align) - r->first.n;

		if ((r->first.n < PLACEMENT_LOW_END) == low && gap < r->frames &&
		    frames <= r->frames - gap)
			return r;
	}
	return NULL;
}

int placement_take(struct placement *placement, uint64_t frames, uint64_t align, struct pfn *first)
{
	const struct frame_range *r = range_with(placement->map, frames, align, false);

	if (!r)
		r = range_with(placement->map, frames, align, true);
	if (!r)
		return KERR_NO_MEMORY;
	struct frame_range taken = { pfn(round_up_u64(r->first.n, align)), frames };
	int error = memmap_remove(placement->ranges, placement->capacity, placement->map, taken);

	if (error)
		return error;
	*first = taken.first;
	return 0;
}

/* The system. */
#define SPARE_RANGES 64u

struct placement_frames {
	struct memmap map;
	uint64_t capacity;
	uint64_t header_sum; /* over the two above */
	struct memmap left;  /* its array is `range` */
	uint64_t left_sum;   /* over its ranges */
	uint64_t lost_frames;
	struct frame_range range[];
};

static uint64_t placement_state_bytes(const struct memmap *map, const struct frame_config *config,
				      const char **why)
{
	(void)config;
	if (!map->frames) {
		*why = "placement: the memory map has no usable frame";
		return 0;
	}
	/* Maps may come with a few ranges more than were asked about (boot.c). */
	return sizeof(struct placement_frames) +
	       (map->count + 2 + SPARE_RANGES) * sizeof(struct frame_range);
}

static uint64_t sum_of_left(const struct placement_frames *p)
{
	return frame_header_sum(p->range, p->left.count * sizeof(p->range[0]));
}

static int placement_frames_init(void *state, const struct memmap *map,
				 const struct frame_config *config)
{
	struct placement_frames *p = state;

	(void)config;
	p->map = *map;
	p->capacity = map->count + SPARE_RANGES;
	p->header_sum = FRAME_HEADER_SUM(p);
	p->left = *map;
	p->left.ranges = p->range;
	for (uint32_t i = 0; i < map->count; i++)
		p->range[i] = map->ranges[i];
	p->left_sum = sum_of_left(p);
	return 0;
}

/* No room to keep the frames before the aligned ones: they are taken along, and lost. */
static int take_with_gap(struct placement_frames *p, struct placement *placement,
			 const struct frame_request *request, struct pfn *first)
{
	uint64_t align = request->align_frames;
	struct pfn start;
	int error = placement_take(placement, request->frames + align - 1, 1, &start);

	if (error)
		return KERR_NO_MEMORY;
	p->lost_frames += align - 1;
	*first = pfn(round_up_u64(start.n, align));
	return 0;
}

static int placement_alloc(void *state, const struct frame_request *request,
			   struct frame_block *out)
{
	struct placement_frames *p = state;
	struct placement placement = { &p->left, p->range, (uint32_t)p->capacity };
	struct pfn first;
	int error = placement_take(&placement, request->frames, request->align_frames, &first);

	if (error == KERR_TOO_SMALL)
		error = take_with_gap(p, &placement, request, &first);
	if (error)
		return error;
	p->left_sum = sum_of_left(p);
	*out = (struct frame_block){ first, request->frames };
	return 0;
}

static int placement_free(void *state, const struct frame_block *block)
{
	(void)state;
	(void)block;
	return KERR_UNSUPPORTED;
}

static void placement_stats(const void *state, struct frame_stats *out)
{
	const struct placement_frames *p = state;

	*out = (struct frame_stats){ .managed_frames = p->map.frames,
				     .free_frames = p->left.frames,
				     .kept_frames = p->lost_frames };
}

static int placement_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	const struct placement_frames *p = state;
	uint32_t next = 0; /* range of what is left */

	for (uint32_t i = 0; i < p->map.count; i++) {
		uint64_t at = p->map.ranges[i].first.n, end = at + p->map.ranges[i].frames;

		while (at < end) {
			const struct frame_range *r = &p->range[next];
			struct frame_extent e = { pfn(at), end - at, FRAME_USED };

			if (next < p->left.count && r->first.n == at) {
				e.frames = r->frames;
				e.state = FRAME_FREE;
				next++;
			} else if (next < p->left.count && r->first.n < end) {
				e.frames = r->first.n - at;
			}
			if (visit(ctx, &e))
				return KERR_STOP;
			at += e.frames;
		}
	}
	return 0;
}

static int placement_check(const void *state, struct violation *violation)
{
	const struct placement_frames *p = state;

	if (p->header_sum != FRAME_HEADER_SUM(p))
		return frame_violation(violation, 1, pfn(0), "the header is as init left it");
	if (!memmap_is_sound(&p->map))
		return frame_violation(violation, 1, pfn(0), "the memory map is sound");
	if (p->left.ranges != p->range || p->left.count > p->capacity || !memmap_is_sound(&p->left))
		return frame_violation(violation, 2, pfn(0), "what is left is sound");
	if (p->left_sum != sum_of_left(p))
		return frame_violation(violation, 2, pfn(0),
				       "what is left is as the last take left it");
	for (uint32_t i = 0; i < p->left.count; i++)
		if (!memmap_holds(&p->map, p->range[i].first, p->range[i].frames))
			return frame_violation(violation, 2, p->range[i].first,
					       "what is left lies in the map");
	if (p->left.frames > p->map.frames || p->lost_frames > p->map.frames - p->left.frames)
		return frame_violation(violation, 3, pfn(0),
				       "lost_frames are not more than the frames taken");
	return 0;
}

const struct frame_ops frame_placement = {
	.name = "placement",
	.id = "F10",
	.summary = "the bump pointer of early boot; frees nothing, spares low memory",
	.caps = FRAME_CAP_RUNS | FRAME_CAP_ANY_COUNT | FRAME_CAP_ALIGN,
	.state_bytes = placement_state_bytes,
	.init = placement_frames_init,
	.alloc = placement_alloc,
	.free = placement_free,
	.stats = placement_stats,
	.walk = placement_walk,
	.check = placement_check,
};
