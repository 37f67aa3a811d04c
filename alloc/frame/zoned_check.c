/*
 * zoned_check.c - what the zoned buddy says about itself: stats, walk, and check. The invariants'
 * numbers are those of zoned_buddy.c.
 */
#include "alloc/frame/zoned.h"
#include "alloc/port.h"

void zoned_stats(const void *state, struct frame_stats *out)
{
	const struct zoned *z = state;

	*out = (struct frame_stats){ .managed_frames = z->map.frames,
				     .fallbacks = z->fallbacks,
				     .fragmenting_fallbacks = z->fragmenting_fallbacks };
	for (unsigned zone = 0; zone < ZONED_ZONES; zone++) {
		out->free_frames += z->zone[zone].free_frames;
		for (uint64_t c = 0; c < z->shape.cpus; c++)
			out->free_frames += zoned_cpu_of(z, zone, c)->count;
	}
}

static uint64_t index_of(const struct zoned *z, struct pfn frame)
{
	return spans_managed(&z->shape.spans, z->span, &z->map, frame, 1);
}

int zoned_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	const struct zoned *z = state;

	for (uint32_t i = 0; i < z->map.count; i++) {
		uint64_t at = z->map.ranges[i].first.n, end = at + z->map.ranges[i].frames;
		uint64_t index = index_of(z, pfn(at));

		while (at < end) {
			unsigned kind = zoned_kinds(z)[index];
			bool used = (kind & KIND_STATE) == KIND_USED;
			struct frame_extent e = { pfn(at), 1ull << (kind & KIND_ORDER),
						  used ? FRAME_USED : FRAME_FREE };

			if (visit(ctx, &e))
				return KERR_STOP;
			at += e.frames;
			index += e.frames;
		}
	}
	return 0;
}

/* ---- check ---- */

/* Blocks counted in the map, by zone, type and order; and how many of kind CPU. */
struct census {
	uint32_t free_blocks[ZONED_ZONES][ZONED_TYPES][ZONED_ORDERS];
	uint64_t cpu_blocks, cpu_members;
};

static int check_header(const struct zoned *z, struct violation *violation)
{
	struct zoned_shape want;
	const char *why;

	if (z->header_sum != FRAME_HEADER_SUM(z))
		return frame_violation(violation, 1, pfn(0), "the header is as init left it");
	if (!memmap_is_sound(&z->map) || !z->map.frames)
		return frame_violation(violation, 1, pfn(0), "the memory map is sound");
	if (!zoned_shape_of(&want, &z->map, z->shape.cpus, z->shape.option, NULL, &why) ||
	    memcmp(&want, &z->shape, sizeof(want)) != 0)
		return frame_violation(violation, 1, pfn(0), "the shape is what init made");
	if (!spans_are_sound(&z->shape.spans, z->span, &z->map, zoned_spans))
		return frame_violation(violation, 1, pfn(0), "the spans are what init made");
	return 0;
}

/* No kind is set in [from, to): the inside of a block, or what no frame has. */
static int check_blank(const struct zoned *z, uint64_t from, uint64_t to,
		       struct violation *violation)
{
	for (uint64_t i = from; i < to; i++)
		if (zoned_kinds(z)[i])
			return frame_violation(violation, 2, zoned_frame(z, i),
					       "no kind is set inside a block or in a hole");
	return 0;
}

/* The block at INDEX, in a range that ends at END. */
static int check_block(const struct zoned *z, uint64_t index, uint64_t end, struct census *census,
		       struct violation *violation)
{
	unsigned kind = zoned_kinds(z)[index], order = kind & KIND_ORDER, type = kind_type(kind);
	uint64_t size = 1ull << order, other = index ^ size;
	struct pfn frame = zoned_frame(z, index);

	if (!(kind & KIND_STATE) || type >= ZONED_TYPES)
		return frame_violation(violation, 2, frame, "blocks cover the map without gap");
	if (order > ZONED_MAX_ORDER || index & (size - 1) || size > end - index)
		return frame_violation(violation, 2, frame,
				       "a block is aligned to its size and lies in one range");
	if ((kind & KIND_STATE) == KIND_FREE) {
		census->free_blocks[zoned_zone(z, frame)][type][order]++;
		if (order < ZONED_MAX_ORDER &&
		    (zoned_kinds(z)[other] & ~(3u << KIND_TYPE_SHIFT)) == (KIND_FREE | order))
			return frame_violation(violation, 3, frame, "no two buddies are free");
	}
	census->cpu_blocks += (kind & KIND_STATE) == KIND_CPU;
	return check_blank(z, index + 1, index + size, violation);
}

static int check_cover(const struct zoned *z, struct census *census, struct violation *violation)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < z->map.count; i++) {
		uint64_t first = index_of(z, z->map.ranges[i].first);
		uint64_t end = first + z->map.ranges[i].frames;
		int error = check_blank(z, at, first, violation);

		for (at = first; !error && at < end;) {
			error = check_block(z, at, end, census, violation);
			at += 1ull << (zoned_kinds(z)[at] & KIND_ORDER);
		}
		if (error)
			return error;
	}
	return check_blank(z, at, z->shape.spans.indices, violation);
}

/* A list whose members all have KIND and lie in ZONE: *MEMBERS of them, at most MOST. */
static int check_list(const struct zoned *z, unsigned zone, const struct zoned_list *list,
		      unsigned kind, uint64_t most, uint64_t *members, unsigned invariant,
		      struct violation *violation)
{
	uint32_t prev = ZONED_NONE, at = list->head;

	for (*members = 0; at != ZONED_NONE; ++*members) {
		if (at >= z->shape.spans.indices || zoned_kinds(z)[at] != kind ||
		    zoned_zone(z, zoned_frame(z, at)) != zone || *members == most)
			return frame_violation(violation, invariant, pfn(at),
					       "members are blocks of the list's zone, order and "
					       "type");
		if (zoned_links(z)[at].prev != prev)
			return frame_violation(violation, invariant, zoned_frame(z, at),
					       "prev is the member before");
		prev = at;
		at = zoned_links(z)[at].next;
	}
	if (list->tail != prev)
		return frame_violation(violation, invariant, pfn(prev), "the tail is the last");
	return 0;
}

static int check_zone(const struct zoned *z, unsigned zone, const struct census *census,
		      struct violation *violation)
{
	const struct zone *area = &z->zone[zone];
	struct pfn where = pfn(z->shape.zone[zone].first);
	uint64_t frames = 0;

	for (unsigned type = 0; type < ZONED_TYPES; type++) {
		uint64_t nonempty = 0, members;

		for (unsigned o = 0; o < ZONED_ORDERS; o++) {
			uint64_t blocks = census->free_blocks[zone][type][o];
			int error = check_list(z, zone, &area->list[type][o],
					       kind_of(KIND_FREE, type, o), blocks, &members, 4,
					       violation);

			if (error)
				return error;
			if (members != blocks)
				return frame_violation(violation, 4, where,
						       "a list has as many members as there are "
						       "free blocks");
			nonempty |= (uint64_t)(blocks > 0) << o;
			frames += blocks << o;
		}
		if (nonempty != area->nonempty[type])
			return frame_violation(violation, 5, where,
					       "nonempty has the bits of the lists that are not "
					       "empty");
	}
	if (frames != area->free_frames)
		return frame_violation(violation, 6, where,
				       "free_frames is the sum of the free blocks");
	return 0;
}

static int check_cpu(const struct zoned *z, unsigned zone, uint64_t number, struct census *census,
		     struct violation *violation)
{
	const struct zoned_cpu *cpu = zoned_cpu_of(z, zone, number);
	const struct zone_shape *shape = &z->shape.zone[zone];
	struct pfn where = pfn(shape->first);
	uint64_t frames = 0, members;

	for (unsigned i = 0; i < CPU_LISTS; i++) {
		unsigned order = zoned_cpu_list_order(i);
		int error = check_list(z, zone, &cpu->list[i],
				       kind_of(KIND_CPU, i % ZONED_TYPES, order),
				       census->cpu_blocks, &members, 7, violation);

		if (error)
			return error;
		frames += members << order;
		census->cpu_members += members;
	}
	if (frames != cpu->count)
		return frame_violation(violation, 7, where, "a CPU's count is that of its lists");
	/* It grew when a drain of one less was below the most that a drain takes. */
	if (cpu->free_factor > 32 ||
	    (cpu->free_factor &&
	     shape->cpu_batch << (cpu->free_factor - 1) >= shape->cpu_high - shape->cpu_batch))
		return frame_violation(violation, 8, where,
				       "free_factor is one that draining made");
	return 0;
}

static int check_types(const struct zoned *z, struct violation *violation)
{
	unsigned types = z->shape.grouping ? ZONED_TYPES : 1;

	for (uint64_t i = 0; i < z->shape.spans.indices; i += PAGEBLOCK_FRAMES)
		if (*pageblock_type(z, (uint32_t)i) >= types)
			return frame_violation(violation, 9, zoned_frame(z, i),
					       "every page block has a type");
	return 0;
}

int zoned_check(const void *state, struct violation *violation)
{
	const struct zoned *z = state;
	struct census census;
	int error = check_header(z, violation);

	memset(&census, 0, sizeof(census));
	if (!error)
		error = check_cover(z, &census, violation);
	for (unsigned zone = 0; !error && zone < ZONED_ZONES; zone++) {
		error = check_zone(z, zone, &census, violation);
		for (uint64_t c = 0; !error && c < z->shape.cpus; c++)
			error = check_cpu(z, zone, c, &census, violation);
	}
	if (!error && census.cpu_members != census.cpu_blocks)
		error = frame_violation(violation, 7, z->map.first,
					"every block of kind CPU is on a CPU's list");
	return error ? error : check_types(z, violation);
}
