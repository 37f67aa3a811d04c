/*
 * zoned_buddy.c - F9: the zoned buddy, in the shape of Linux 6.1.
 *
 *   frame    0        16 MiB             4 GiB
 *            |  DMA   |      DMA32       |      NORMAL ...        zones; a request names the
 * highest it may use, and falls downwards a zone:  free frames against watermarks        high
 * ........ low  ........  a request begins here, min  ........  then goes down to here
 *
 *   CPU 0, this zone:   order 0  unmovable: 7 -> 9    movable: 812 -> 40    reclaimable: -
 *                       order 1  ...                   in front of the free lists: orders 0-3 and 9
 *                       ...
 *   free lists:         order 10 unmovable: -         movable: 1024 -> ..   reclaimable: -
 *                       order 9  ...
 *                       ...
 *                       order 0  unmovable: 12 <-> 4  movable: ..           reclaimable: 2048
 *
 *   page blocks         |  movable  |  movable  | unmovable | reclaimable | ...   512 frames each
 *
 * Idea: a buddy (F8) cannot put off fragmentation when allocations that never move lie everywhere.
 * So requests say whether their contents can move; every page block, a huge page in size, has a
 * type, and a freed block goes to the list of its page block's type. A type that has nothing left
 * takes a block from another: as large a one as there is, with its page block when enough of that
 * is free or alike. Every such fallback is counted, and it is fragmenting when its block was
 * smaller than a page block.
 *
 * Devices that reach only low memory get a zone of it. Requests that could go higher leave a
 * reserve there, which grows with what lies above. CPUs keep lists of small blocks of their own,
 * filled and emptied in batches, last in, first out.
 *
 * An allocation, in this order:
 *   1  zones from the highest allowed down, above low; with a zone above DMA32 only without
 *      fragmenting fallbacks, then with them
 *   2  the same above min (Linux wakes background reclaim here)
 *   3  the lists of all CPUs are emptied, and once more above min
 *   4  watermarks=advisory: whatever is there, without marks and reserves
 * There is no reclaim here: where Linux would reclaim, wait or kill, step 4 serves the request as
 * the last reserves serve one that must not fail. watermarks=strict ends before it.
 *
 * One byte a frame says what begins there (see zoned.h): a free block, one on a CPU's list, a used
 * one; its order, and its type. Links of lists are indices (spans.h), one record a frame: two
 * blocks of a pair can both be on CPUs' lists.
 *
 * Invariants (check):
 *   1  header: as init left it; the map is sound, and shape and spans are what init makes of it
 *   2  the map is covered by blocks without gap or overlap: a block is aligned to its size, lies in
 *      one range, and no kind is set inside it; none is set in a hole
 *   3  no two buddies of one order below 10 are free
 *   4  every list of a zone: each member is a free block of that zone, order and type, `prev` is
 *      the member before it, the tail is the last, and there are as many as such blocks
 *   5  `nonempty` has the bits of the lists that are not empty
 *   6  a zone's free_frames is the sum of its free blocks
 *   7  CPUs' lists: as 4, for blocks of kind CPU; count is their sum; no block is on two of them
 *   8  a CPU's free_factor is one that draining can have made
 *   9  every page block has a type, and where types are not told apart it is `unmovable`
 *
 * Cost: O(orders) an operation, and O(batch) where a CPU's list is filled or emptied; a fallback
 * looks at a page block. Metadata: 9 bytes for each frame, nothing for holes, and 128 bytes a CPU
 * and zone. Start-up writes one kind and one link for each block of 1,024 frames.
 *
 * Source: Linux 6.1, mm/page_alloc.c, for the rules (Gorman and Whitcroft 2006 for page blocks;
 * Bonwick and Adams 2001 for CPUs' lists). Differs: no reclaim and no compaction; no watermark
 * boost; no reserve for atomic requests of high order, no CMA; a used block counts as movable when
 * it was asked for as such; FRAME_AT passes marks and CPUs' lists by; one node.
 */
#include "alloc/frame/zoned.h"
#include "alloc/port.h"

#define ANY_ORDER 0u /* fallbacks may be of any order */

static uint64_t zoned_state_bytes(const struct memmap *map, const struct frame_config *config,
				  const char **why)
{
	struct zoned_shape shape;

	return zoned_shape_of(&shape, map, config->cpus, config->option, NULL, why) ? shape.bytes
										    : 0;
}

/* From low to high and to the tails, so that the lowest blocks are first in their lists. */
static void add_range(struct zoned *z, struct pfn first, uint64_t frames, unsigned type)
{
	uint64_t at = first.n, end = at + frames;
	uint32_t index = (uint32_t)spans_managed(&z->shape.spans, z->span, &z->map, first, frames);

	while (at < end) {
		unsigned order = bit_highest(end - at);

		if (at && bit_lowest(at) < order)
			order = bit_lowest(at);
		order = order < ZONED_MAX_ORDER ? order : ZONED_MAX_ORDER;
		zoned_area_add(z, zoned_zone(z, pfn(at)), index, order, type, true);
		at += 1ull << order;
		index += 1u << order;
	}
}

static int zoned_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	static const struct zoned_list empty = { ZONED_NONE, ZONED_NONE };
	struct zoned *z = state;
	const char *why;

	z->map = *map;
	if (!zoned_shape_of(&z->shape, map, config->cpus, config->option, z->span, &why))
		return KERR_UNSUPPORTED;
	z->header_sum = FRAME_HEADER_SUM(z);
	unsigned type = z->shape.grouping ? FRAME_MOVABLE : FRAME_UNMOVABLE;

	for (unsigned i = 0; i < ZONED_ZONES; i++) {
		for (unsigned t = 0; t < ZONED_TYPES; t++)
			for (unsigned o = 0; o < ZONED_ORDERS; o++)
				z->zone[i].list[t][o] = empty;
		for (uint64_t c = 0; c < config->cpus; c++)
			for (unsigned l = 0; l < CPU_LISTS; l++)
				zoned_cpu_of(z, i, c)->list[l] = empty;
	}
	memset(pageblock_type(z, 0), (int)type, z->shape.spans.indices >> PAGEBLOCK_ORDER);
	for (uint32_t i = 0; i < map->count; i++)
		add_range(z, map->ranges[i].first, map->ranges[i].frames, type);
	return 0;
}

/* ---- allocation ---- */

/* What one attempt goes by. */
struct attempt {
	unsigned order, type, highest; /* the block, and the highest zone allowed */
	uint64_t cpu;
	unsigned fallback_order;
	bool marked; /* against MARK and the reserves */
	enum zoned_mark mark;
};

/* Whether a zone stays above the mark, and has a block of that order at all. */
static inline bool zone_is_above(const struct zoned *z, unsigned zone, const struct attempt *a)
{
	const struct zone *area = &z->zone[zone];
	const struct zone_shape *shape = &z->shape.zone[zone];
	uint64_t keep = shape->mark[a->mark] + shape->reserve[a->highest];

	if (area->free_frames <= keep + ((1ull << a->order) - 1))
		return false;
	return !a->order || (area->nonempty[0] | area->nonempty[1] | area->nonempty[2]) >> a->order;
}

static uint32_t take_from(struct zoned *z, unsigned zone, const struct attempt *a)
{
	return zoned_cpu_keeps(z, zone, a->order)
		       ? zoned_cpu_take(z, zone, a->cpu, a->order, a->type, a->fallback_order)
		       : zoned_area_take(z, zone, a->order, a->type, a->fallback_order);
}

static inline uint32_t take_once(struct zoned *z, const struct attempt *a)
{
	for (unsigned zone = a->highest + 1; zone-- > 0;) {
		if (!z->shape.zone[zone].managed || (a->marked && !zone_is_above(z, zone, a)))
			continue;
		uint32_t block = take_from(z, zone, a);

		if (block != ZONED_NONE)
			return block;
	}
	return ZONED_NONE;
}

/* Steps 1 to 4 of the theory, but for the first try. */
static __attribute__((noinline)) uint32_t take_reluctantly(struct zoned *z, struct attempt *a)
{
	uint64_t watermarks = z->shape.option[OPTION_WATERMARKS];
	uint32_t block = ZONED_NONE;

	if (a->fallback_order) {
		a->fallback_order = ANY_ORDER;
		block = take_once(z, a);
	}
	a->mark = MARK_MIN;
	if (block == ZONED_NONE && a->marked)
		block = take_once(z, a);
	if (block == ZONED_NONE && zoned_cpu_drain_all(z))
		block = take_once(z, a);
	if (block == ZONED_NONE && watermarks == WATERMARKS_ADVISORY) {
		a->marked = false;
		block = take_once(z, a);
		/* What its own lists took for a batch may be of a larger order together. */
		if (block == ZONED_NONE && zoned_cpu_drain_all(z))
			block = take_once(z, a);
	}
	return block;
}

/* Highest zone for a request. The last one has no limit of its own. */
static unsigned highest_zone(const struct zoned *z, unsigned requested)
{
	bool i386 = z->shape.option[OPTION_ZONES] == ZONES_I386;

	switch (requested) {
	case FRAME_ZONE_DMA:
		return z->shape.zone[0].end ? 0 : ZONED_ZONES - 1;
	case FRAME_ZONE_DMA32:
		return z->shape.zone[1].end ? 1 : ZONED_ZONES - 1;
	case FRAME_ZONE_NORMAL:
		return i386 ? 1 : ZONED_ZONES - 1;
	default:
		return ZONED_ZONES - 1;
	}
}

/* The free block that holds INDEX and has at least ORDER, or ZONED_NONE. */
static uint32_t free_block_with(const struct zoned *z, uint32_t index, unsigned order,
				unsigned *found)
{
	for (unsigned o = order; o < ZONED_ORDERS; o++) {
		uint32_t head = index & ~((1u << o) - 1);
		unsigned kind = zoned_kinds(z)[head];

		if ((kind & (KIND_STATE | KIND_ORDER)) == (KIND_FREE | o)) {
			*found = o;
			return head;
		}
	}
	return ZONED_NONE;
}

static int take_at(struct zoned *z, struct pfn at, unsigned order, uint32_t *block)
{
	uint64_t index = spans_managed(&z->shape.spans, z->span, &z->map, at, 1ull << order);
	unsigned found, zone = zoned_zone(z, at);

	if (at.n & ((1ull << order) - 1))
		return KERR_UNSUPPORTED;
	if (index == SPANS_NONE)
		return KERR_NO_MEMORY;
	uint32_t head = free_block_with(z, (uint32_t)index, order, &found);

	if (head == ZONED_NONE && zoned_cpu_drain_all(z))
		head = free_block_with(z, (uint32_t)index, order, &found);
	if (head == ZONED_NONE)
		return KERR_NO_MEMORY;
	unsigned type = kind_type(zoned_kinds(z)[head]);

	zoned_area_remove(z, zone, head);
	*block = zoned_area_split(z, zone, head, found, order, (uint32_t)index, type);
	return 0;
}

static int zoned_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct zoned *z = state;
	unsigned order = order_for(request->frames), align = bit_lowest(request->align_frames);
	unsigned want = align > order ? align : order;
	uint32_t block;

	if (want > ZONED_MAX_ORDER)
		return KERR_UNSUPPORTED;
	struct attempt a = {
		.order = want,
		.type = z->shape.grouping && request->mobility < ZONED_TYPES ? request->mobility
									     : FRAME_UNMOVABLE,
		.highest = highest_zone(z, request->zone),
		.cpu = z->shape.cpus == 1 ? 0 : request->cpu % z->shape.cpus,
		.marked = z->shape.option[OPTION_WATERMARKS] != WATERMARKS_OFF,
		.mark = MARK_LOW,
	};

	if (request->flags & FRAME_AT) {
		int error = take_at(z, request->at, order, &block);

		if (error)
			return error;
	} else {
		if (a.highest == ZONED_ZONES - 1 && z->shape.zone[ZONED_ZONES - 1].managed &&
		    z->shape.option[OPTION_ZONES] == ZONES_X86_64)
			a.fallback_order = PAGEBLOCK_ORDER;
		block = take_once(z, &a);
		if (block == ZONED_NONE)
			block = take_reluctantly(z, &a);
		if (block == ZONED_NONE)
			return KERR_NO_MEMORY;
		if (want > order)
			zoned_area_split(z, zoned_zone(z, zoned_frame(z, block)), block, want,
					 order, block, a.type);
	}
	zoned_kinds(z)[block] = (uint8_t)kind_of(KIND_USED, a.type, order);
	*out = (struct frame_block){ zoned_frame(z, block), 1u << order };
	return 0;
}

/* ---- free ---- */

/* A block that was used, whole. */
static inline void give(struct zoned *z, unsigned zone, uint32_t block, unsigned order)
{
	unsigned type = *pageblock_type(z, block);

	zoned_kinds(z)[block] = 0;
	if (zoned_cpu_keeps(z, zone, order))
		zoned_cpu_give(z, zone, z->shape.cpus == 1 ? 0 : port_cpu() % z->shape.cpus, block,
			       order, type);
	else
		zoned_area_give(z, zone, block, order, type);
}

/* The used block that holds INDEX, with its order; ZONED_NONE when INDEX is not in one. */
static uint32_t used_block_with(const struct zoned *z, uint32_t index, unsigned *order)
{
	for (unsigned o = 0; o < ZONED_ORDERS; o++) {
		uint32_t head = index & ~((1u << o) - 1);
		unsigned kind = zoned_kinds(z)[head];

		if (!kind)
			continue; /* HEAD lies inside a larger block */
		*order = kind & KIND_ORDER;
		return (kind & KIND_STATE) == KIND_USED && index - head < 1u << *order ? head
										       : ZONED_NONE;
	}
	return ZONED_NONE;
}

/* Whether all of [index, index + n) is in used blocks. */
static bool is_used(const struct zoned *z, uint32_t index, uint64_t n)
{
	for (uint64_t at = index, end = index + n; at < end;) {
		unsigned order;
		uint32_t head = used_block_with(z, (uint32_t)at, &order);

		if (head == ZONED_NONE)
			return false;
		at = head + (1ull << order);
	}
	return true;
}

/* A part of used blocks: halves them until the part is made of whole blocks, and frees those. */
static __attribute__((noinline)) int free_part(struct zoned *z, unsigned zone, uint32_t index,
					       uint64_t n)
{
	uint64_t end = index + n;

	if (!is_used(z, index, n))
		return KERR_NOT_OWNED;
	for (uint64_t at = index; at < end;) {
		unsigned want = bit_highest(end - at), order;
		uint32_t head = used_block_with(z, (uint32_t)at, &order);
		unsigned type = kind_type(zoned_kinds(z)[head]);

		while (order > want || head != at) {
			uint32_t half = 1u << --order;

			zoned_kinds(z)[head] = (uint8_t)kind_of(KIND_USED, type, order);
			zoned_kinds(z)[head + half] = (uint8_t)kind_of(KIND_USED, type, order);
			if (at & half)
				head += half;
		}
		give(z, zone, head, order);
		at += 1ull << order;
	}
	return 0;
}

static int zoned_free(void *state, const struct frame_block *block)
{
	struct zoned *z = state;
	uint64_t index =
		spans_managed(&z->shape.spans, z->span, &z->map, block->first, block->frames);

	if (index == SPANS_NONE)
		return KERR_NOT_OWNED;
	unsigned zone = zoned_zone(z, block->first), kind = zoned_kinds(z)[index];

	if ((kind & KIND_STATE) != KIND_USED || block->frames != 1u << (kind & KIND_ORDER))
		return free_part(z, zone, (uint32_t)index, block->frames);
	give(z, zone, (uint32_t)index, kind & KIND_ORDER);
	return 0;
}

static const char *const presets[] = { "x86-64", "i386", "one", NULL };
static const char *const switches[] = { "off", "on", NULL };
static const char *const watermarks[] = { "advisory", "strict", "off", NULL };

#define LIMIT_MAX_MIB (1u << 20)
#define MIN_MAX_KIB   (1u << 20)

static const struct frame_option options[] = {
	[OPTION_ZONES] = { .key = "zones",
			   .help = "DMA, DMA32, NORMAL; or DMA, NORMAL, HIGHMEM; or all in one",
			   .choices = presets },
	[OPTION_DMA] = { .key = "dma-mib",
			 .help = "where the first zone ends, rounded up to 4 MiB; 0: at 16 MiB",
			 .max = LIMIT_MAX_MIB },
	[OPTION_LOW] = { .key = "low-mib",
			 .help = "where the second zone ends; 0: at 4 GiB, or 896 MiB with i386",
			 .max = LIMIT_MAX_MIB },
	[OPTION_CPU_LISTS] = { .key = "cpu-lists",
			       .help = "lists of small blocks by CPU",
			       .choices = switches,
			       .value = 1 },
	[OPTION_MOBILITY] = { .key = "mobility",
			      .help = "tell movable, reclaimable and unmovable apart",
			      .choices = switches,
			      .value = 1 },
	[OPTION_WATERMARKS] = { .key = "watermarks",
				.help = "what stops an allocation: nothing left, the min mark, or "
					"no "
					"mark at all",
				.choices = watermarks },
	[OPTION_MIN] = { .key = "min-kib",
			 .help = "KiB to keep free, as min_free_kbytes; 0: by the amount of RAM",
			 .max = MIN_MAX_KIB },
	[OPTION_RESERVE] = { .key = "reserve",
			     .help = "low zones keep a reserve from requests that can go higher",
			     .choices = switches,
			     .value = 1 },
	{ .key = NULL },
};

const struct frame_ops frame_zoned_buddy = {
	.name = "zoned-buddy",
	.id = "F9",
	.summary = "buddies by zone and mobility behind lists by CPU, in Linux's shape",
	.caps = FRAME_CAP_RUNS | FRAME_CAP_ALIGN | FRAME_CAP_AT | FRAME_CAP_FREE |
		FRAME_CAP_PARTIAL_FREE | FRAME_CAP_ZONES | FRAME_CAP_MOBILITY,
	.options = options,
	.state_bytes = zoned_state_bytes,
	.init = zoned_init,
	.alloc = zoned_alloc,
	.free = zoned_free,
	.stats = zoned_stats,
	.walk = zoned_walk,
	.check = zoned_check,
};
