/*
 * buddy.c - F8: the binary buddy system.
 *
 *   list[2] -> 8                    free blocks by order, doubly linked, last in, first out
 *   list[1] -> 4
 *   list[0] -> 3
 *
 *   frame      0   1   2   3   4   5   6   7   8   9  10  11
 *   kind      U1   .  U0  F0  F1   .  U1   .  F2   .   .   .     at the head of each block
 *             '---+---''--+---''---+---''---+--'
 *                 order 1 buddies ...
 *
 * Idea: a block of order o is 2^o frames, aligned to its size. A block too large for a request is
 * halved until it fits; the two halves are buddies, and a buddy's number differs in one bit. When
 * a block comes back and its buddy is free, they become one again. So fragmentation never outlives
 * the allocations that cause it, at the price of rounding every request up to a power of two.
 *
 * One byte a frame says what begins there: nothing (a frame inside a block, or in a hole), a free
 * block or a used one, and its order. Links of the lists are indices (spans.h). Two free blocks
 * never begin in one aligned pair of frames (they would have merged), so a pair shares one record
 * of links.
 *
 * Invariants (check):
 *   1  header: as init left it; the map is sound, and the shape is what init makes of it
 *   2  the map is covered by blocks without gap or overlap: a block is aligned to its size, lies in
 *      one range, and no kind is set inside it; none is set in a hole
 *   3  no two buddies of one order below max_order are free
 *   4  every list: each member is a free block of that order, `prev` is the member before it, and
 *      there are as many members as free blocks of that order
 *   5  `nonempty` has the bits of the lists that are not empty
 *   6  free_frames is the sum of the free blocks
 *
 * Cost: O(max_order), without search: `nonempty` finds the list. Metadata: 5 bytes for each frame;
 * holes cost nothing, but those of less than 4 MiB, and all where max-order is above 10. Alignment
 * comes by splitting a larger block, and keeping its low end. A used block may be freed in parts,
 * and a block taken at a given frame; both split only.
 *
 * Source: Knowlton 1965; Knuth, TAOCP 1, 2.5, algorithms R and S. Differs from Linux (F9): one
 * zone, no mobility types, no CPU lists, merged blocks always at the head of their list.
 */
#include "alloc/bitops.h"
#include "alloc/frame/spans.h"
#include "alloc/frame/systems.h"

#define ORDER_LIMIT 30u /* a request is at most 2^31 frames, and an order has 5 bits in a kind */
#define NONE	    UINT32_MAX

#define PAIR_SHIFT 1 /* two frames share a link record */

enum { OPTION_MAX_ORDER };

/* Kinds: what begins at a frame. The order is in the low bits. */
#define KIND_FREE  0x40u
#define KIND_USED  0x80u
#define KIND_ORDER 0x1fu

struct buddy_link {
	uint32_t next, prev;
};

struct buddy_shape {
	struct spans spans;
	uint64_t links;
	uint64_t max_order;
};

struct buddy {
	struct memmap map;
	struct buddy_shape shape;
	uint64_t header_sum; /* over the two above */
	uint64_t free_frames;
	uint64_t nonempty; /* bit o: list[o] has a member */
	uint32_t list[ORDER_LIMIT + 2];
	struct buddy_link link[]; /* shape.links of them, then a kind an index, then the spans */
};

/* Groups of 2^10 suffice for blocks up to that order; larger ones would leave gaps as large. */
#define GROUPED_ORDER 10u

static struct spans_kind spans_kind(uint64_t max_order)
{
	return (struct spans_kind){ .order = max_order > GROUPED_ORDER ? (unsigned)max_order
								       : GROUPED_ORDER,
				    .single = max_order > GROUPED_ORDER };
}

static struct buddy_shape shape_of(const struct memmap *map, uint64_t max_order)
{
	struct buddy_shape s = { .max_order = max_order };

	s.spans = spans_build(map, spans_kind(max_order), NULL);
	s.links = (s.spans.indices + 1) >> PAIR_SHIFT;
	return s;
}

static inline uint8_t *kinds(const struct buddy *b)
{
	return (uint8_t *)(uintptr_t)(b->link + b->shape.links);
}

static inline struct span *table(const struct buddy *b)
{
	return (struct span *)(kinds(b) + round_up_u64(b->shape.spans.indices, sizeof(uint64_t)));
}

static inline struct pfn frame_of(const struct buddy *b, uint64_t index)
{
	return spans_frame(&b->shape.spans, table(b), index);
}

/* Index of the first of so many frames of the map, or SPANS_NONE. */
static inline uint64_t managed_index(const struct buddy *b, struct pfn first, uint64_t frames)
{
	return spans_managed(&b->shape.spans, table(b), &b->map, first, frames);
}

static inline struct buddy_link *link_of(struct buddy *b, uint32_t index)
{
	return &b->link[index >> PAIR_SHIFT];
}

static inline void list_push(struct buddy *b, uint32_t index, unsigned order)
{
	uint32_t head = b->list[order];

	*link_of(b, index) = (struct buddy_link){ head, NONE };
	if (head != NONE)
		link_of(b, head)->prev = index;
	b->list[order] = index;
	b->nonempty |= 1ull << order;
	kinds(b)[index] = (uint8_t)(KIND_FREE | order);
}

static inline void list_remove(struct buddy *b, uint32_t index, unsigned order)
{
	struct buddy_link link = *link_of(b, index);

	if (link.next != NONE)
		link_of(b, link.next)->prev = link.prev;
	if (link.prev != NONE)
		link_of(b, link.prev)->next = link.next;
	else if ((b->list[order] = link.next) == NONE)
		b->nonempty &= ~(1ull << order);
}

static uint64_t buddy_state_bytes(const struct memmap *map, const struct frame_config *config,
				  const char **why)
{
	uint64_t max_order = config->option[OPTION_MAX_ORDER];

	if (!max_order || max_order > ORDER_LIMIT) {
		*why = "buddy: max-order is not in 1 to 30";
		return 0;
	}
	if (!map->frames) {
		*why = "buddy: the memory map has no usable frame";
		return 0;
	}
	struct buddy_shape s = shape_of(map, max_order);

	if (s.spans.indices >= NONE) {
		*why = "buddy: links of 32 bits do not reach over 16 TiB";
		return 0;
	}
	return sizeof(struct buddy) + s.links * sizeof(struct buddy_link) +
	       round_up_u64(s.spans.indices, sizeof(uint64_t)) +
	       s.spans.count * sizeof(struct span);
}

/* Order of the largest block that may begin at INDEX, be it free or used, within N frames. */
static unsigned largest_order(const struct buddy *b, uint64_t index, uint64_t n)
{
	unsigned order = bit_highest(n);

	if (index && bit_lowest(index) < order)
		order = bit_lowest(index);
	return order < b->shape.max_order ? order : b->shape.max_order;
}

/* From the top down, so that the lowest blocks are first in their lists: END is a range's end, and
 * the largest block that ends there has the order of its lowest bit, or what still fits. */
static void add_range(struct buddy *b, uint64_t first, uint64_t end)
{
	while (first < end) {
		unsigned order = bit_lowest(end);
		unsigned fits = bit_highest(end - first);

		order = order < fits ? order : fits;
		if (order > b->shape.max_order)
			order = b->shape.max_order;
		end -= 1ull << order;
		list_push(b, (uint32_t)end, order);
	}
}

static int buddy_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	struct buddy *b = state;

	b->map = *map;
	b->shape = shape_of(map, config->option[OPTION_MAX_ORDER]);
	spans_build(map, spans_kind(b->shape.max_order), table(b));
	b->header_sum = FRAME_HEADER_SUM(b);
	b->free_frames = map->frames;
	for (unsigned o = 0; o <= ORDER_LIMIT + 1; o++)
		b->list[o] = NONE;
	for (uint32_t i = map->count; i-- > 0;) {
		uint64_t first = managed_index(b, map->ranges[i].first, map->ranges[i].frames);

		add_range(b, first, first + map->ranges[i].frames);
	}
	return 0;
}

/* Halves a block of order FROM that is on no list until the part that holds TARGET has order TO;
 * the other parts become free. Returns that part. */
static inline uint32_t split_to(struct buddy *b, uint32_t block, unsigned from, unsigned to,
				uint32_t target)
{
	while (from > to) {
		uint32_t half = 1u << --from;

		if (target & half) {
			list_push(b, block, from);
			block += half;
		} else {
			list_push(b, block + half, from);
		}
	}
	return block;
}

/* A block of ORDER out of the smallest free block of at least AT_LEAST. */
static inline uint32_t take(struct buddy *b, unsigned order, unsigned at_least)
{
	uint64_t candidates = b->nonempty >> at_least;

	if (!candidates)
		return NONE;
	unsigned from = at_least + bit_lowest(candidates);
	uint32_t block = b->list[from];

	list_remove(b, block, from);
	while (from > order) {
		from--;
		list_push(b, block + (1u << from), from);
	}
	return block;
}

/* The free block that holds INDEX and has at least ORDER, or NONE. */
static uint32_t free_block_with(const struct buddy *b, uint32_t index, unsigned order,
				unsigned *found)
{
	for (unsigned o = order; o <= b->shape.max_order; o++) {
		uint32_t head = index & ~((1u << o) - 1);

		if (kinds(b)[head] == (KIND_FREE | o)) {
			*found = o;
			return head;
		}
	}
	return NONE;
}

static int take_at(struct buddy *b, struct pfn at, unsigned order, uint32_t *out)
{
	uint64_t index = managed_index(b, at, 1ull << order);
	unsigned found;

	if (at.n & ((1ull << order) - 1))
		return KERR_UNSUPPORTED;
	if (index == SPANS_NONE)
		return KERR_NO_MEMORY;
	uint32_t head = free_block_with(b, (uint32_t)index, order, &found);

	if (head == NONE)
		return KERR_NO_MEMORY;
	list_remove(b, head, found);
	kinds(b)[head] = 0;
	*out = split_to(b, head, found, order, (uint32_t)index);
	return 0;
}

/* Alignment above a block's size, where no block of that size is left: any block that begins at
 * such a frame by chance, as those at the ends of ranges do. A search, for rare requests. */
static uint32_t take_aligned(struct buddy *b, unsigned order, uint64_t align)
{
	for (unsigned o = order; o <= b->shape.max_order; o++) {
		uint32_t block = b->list[o];

		while (block != NONE && frame_of(b, block).n & (align - 1))
			block = link_of(b, block)->next;
		if (block != NONE) {
			list_remove(b, block, o);
			return split_to(b, block, o, order, block);
		}
	}
	return NONE;
}

static __attribute__((noinline)) int
take_special(struct buddy *b, const struct frame_request *request, unsigned order, uint32_t *block)
{
	unsigned align_order = bit_lowest(request->align_frames);

	if (request->flags & FRAME_AT)
		return take_at(b, request->at, order, block);
	*block = take(b, order, align_order > order ? align_order : order);
	if (*block == NONE)
		*block = take_aligned(b, order, request->align_frames);
	return *block == NONE ? KERR_NO_MEMORY : 0;
}

static int buddy_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct buddy *b = state;
	unsigned order = order_for(request->frames);
	uint32_t block;

	if (order > b->shape.max_order)
		return KERR_UNSUPPORTED;
	if (request->flags || request->align_frames > 1u << order) {
		int error = take_special(b, request, order, &block);

		if (error)
			return error;
	} else {
		block = take(b, order, order);
		if (block == NONE)
			return KERR_NO_MEMORY;
	}
	kinds(b)[block] = (uint8_t)(KIND_USED | order);
	b->free_frames -= 1ull << order;
	*out = (struct frame_block){ frame_of(b, block), 1u << order };
	return 0;
}

/* Frees a whole used block, and merges it as far as it goes. */
static inline void give_back(struct buddy *b, uint32_t block, unsigned order)
{
	uint8_t *kind = kinds(b);

	b->free_frames += 1ull << order;
	for (; order < b->shape.max_order; order++) {
		uint32_t other = block ^ 1u << order;

		if (other >= b->shape.spans.indices || kind[other] != (KIND_FREE | order))
			break;
		list_remove(b, other, order);
		kind[other > block ? other : block] = 0;
		block &= ~(1u << order);
	}
	list_push(b, block, order);
}

/* The used block that holds INDEX, with its order; NONE when INDEX is not in one. */
static uint32_t used_block_with(const struct buddy *b, uint32_t index, unsigned *order)
{
	for (unsigned o = 0; o <= b->shape.max_order; o++) {
		uint32_t head = index & ~((1u << o) - 1);
		unsigned kind = kinds(b)[head];

		if (!kind)
			continue; /* HEAD lies inside a larger block */
		*order = kind & KIND_ORDER;
		return kind & KIND_USED && index - head < 1u << *order ? head : NONE;
	}
	return NONE;
}

/* Whether all of [index, index + n) is in used blocks. */
static bool is_used(const struct buddy *b, uint32_t index, uint64_t n)
{
	uint64_t at = index, end = index + n;

	while (at < end) {
		unsigned order;
		uint32_t head = used_block_with(b, (uint32_t)at, &order);

		if (head == NONE)
			return false;
		at = head + (1ull << order);
	}
	return true;
}

/* A part of a used block: halves it until the part is made of whole blocks, and frees those. */
static __attribute__((noinline)) int free_part(struct buddy *b, uint32_t index, uint64_t n)
{
	uint64_t end = index + n;

	if (!is_used(b, index, n))
		return KERR_NOT_OWNED;
	for (uint64_t at = index; at < end;) {
		unsigned want = largest_order(b, at, end - at), order;
		uint32_t head = used_block_with(b, (uint32_t)at, &order);

		while (order > want || head != at) {
			uint32_t half = 1u << --order;

			kinds(b)[head] = kinds(b)[head + half] = (uint8_t)(KIND_USED | order);
			if (at & half)
				head += half;
		}
		kinds(b)[head] = 0;
		give_back(b, head, order);
		at += 1ull << order;
	}
	return 0;
}

static int buddy_free(void *state, const struct frame_block *block)
{
	struct buddy *b = state;

	uint64_t index = managed_index(b, block->first, block->frames);

	if (index == SPANS_NONE)
		return KERR_NOT_OWNED;
	unsigned kind = kinds(b)[index], order = kind & KIND_ORDER;

	if (!(kind & KIND_USED) || block->frames != 1u << order)
		return free_part(b, (uint32_t)index, block->frames);
	give_back(b, (uint32_t)index, order);
	return 0;
}

static void buddy_stats(const void *state, struct frame_stats *out)
{
	const struct buddy *b = state;

	*out = (struct frame_stats){ .managed_frames = b->map.frames,
				     .free_frames = b->free_frames };
}

static int buddy_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	const struct buddy *b = state;

	for (uint32_t i = 0; i < b->map.count; i++) {
		uint64_t at = b->map.ranges[i].first.n, end = at + b->map.ranges[i].frames;
		uint64_t index = managed_index(b, pfn(at), 1);

		while (at < end) {
			unsigned kind = kinds(b)[index];
			struct frame_extent e = { pfn(at), 1ull << (kind & KIND_ORDER),
						  kind & KIND_FREE ? FRAME_FREE : FRAME_USED };

			if (visit(ctx, &e))
				return KERR_STOP;
			at += e.frames;
			index += e.frames;
		}
	}
	return 0;
}

static int check_header(const struct buddy *b, struct violation *violation)
{
	struct buddy_shape want;

	if (b->header_sum != FRAME_HEADER_SUM(b))
		return frame_violation(violation, 1, pfn(0), "the header is as init left it");
	if (!memmap_is_sound(&b->map) || !b->map.frames)
		return frame_violation(violation, 1, pfn(0), "the memory map is sound");
	want = shape_of(&b->map, b->shape.max_order);
	if (b->shape.links != want.links ||
	    !spans_are_sound(&b->shape.spans, table(b), &b->map, spans_kind(b->shape.max_order)))
		return frame_violation(violation, 1, pfn(0), "the shape is what init made");
	return 0;
}

typedef uint64_t __attribute__((may_alias)) kinds_word;

/* No kind is set in [from, to): the inside of a block, or a hole, which may be a terabyte. */
static int check_blank(const struct buddy *b, uint64_t from, uint64_t to,
		       struct violation *violation)
{
	const uint8_t *kind = kinds(b);

	for (uint64_t i = from; i < to; i++) {
		while ((uintptr_t)(kind + i) % sizeof(kinds_word) == 0 &&
		       to - i >= sizeof(kinds_word) && !*(const kinds_word *)(kind + i))
			i += sizeof(kinds_word);
		if (i < to && kind[i])
			return frame_violation(violation, 2, frame_of(b, i),
					       "no kind is set inside a block or in a hole");
	}
	return 0;
}

/* The block at INDEX of a range that ends at END; adds it to FREE_BLOCKS. */
static int check_block(const struct buddy *b, uint64_t index, uint64_t end, uint64_t *free_blocks,
		       struct violation *violation)
{
	unsigned kind = kinds(b)[index], order = kind & KIND_ORDER;
	uint64_t size = 1ull << order, other = index ^ size;
	struct pfn frame = frame_of(b, index);

	if (kind != (KIND_FREE | order) && kind != (KIND_USED | order))
		return frame_violation(violation, 2, frame, "blocks cover the map without gap");
	if (order > b->shape.max_order || index & (size - 1) || size > end - index)
		return frame_violation(violation, 2, frame,
				       "a block is aligned to its size and lies in one range");
	if (kind & KIND_FREE) {
		free_blocks[order]++;
		if (order < b->shape.max_order && other < b->shape.spans.indices &&
		    kinds(b)[other] == kind)
			return frame_violation(violation, 3, frame, "no two buddies are free");
	}
	return check_blank(b, index + 1, index + size, violation);
}

/* All kinds, in address order; counts the free blocks of each order. */
static int check_cover(const struct buddy *b, uint64_t *free_blocks, struct violation *violation)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < b->map.count; i++) {
		uint64_t first = managed_index(b, b->map.ranges[i].first, 1);
		uint64_t end = first + b->map.ranges[i].frames;
		int error = check_blank(b, at, first, violation);

		for (at = first; !error && at < end;) {
			error = check_block(b, at, end, free_blocks, violation);
			at += 1ull << (kinds(b)[at] & KIND_ORDER);
		}
		if (error)
			return error;
	}
	return check_blank(b, at, b->shape.spans.indices, violation);
}

static int check_list(const struct buddy *b, unsigned order, uint64_t members,
		      struct violation *violation)
{
	uint32_t prev = NONE, at = b->list[order];

	for (uint64_t n = 0; n < members; n++) {
		struct pfn frame = frame_of(b, at);

		if (at >= b->shape.spans.indices || kinds(b)[at] != (KIND_FREE | order))
			return frame_violation(violation, 4, frame,
					       "members are free blocks of the list's order");
		const struct buddy_link *link = &b->link[at >> PAIR_SHIFT];

		if (link->prev != prev)
			return frame_violation(violation, 4, frame, "prev is the member before");
		prev = at;
		at = link->next;
	}
	if (at != NONE)
		return frame_violation(violation, 4, frame_of(b, at),
				       "a list has as many members as there are free blocks");
	return 0;
}

static int buddy_check(const void *state, struct violation *violation)
{
	const struct buddy *b = state;
	uint64_t free_blocks[KIND_ORDER + 1] = { 0 }, free_frames = 0, nonempty = 0;
	int error = check_header(b, violation);

	if (!error)
		error = check_cover(b, free_blocks, violation);
	for (unsigned o = 0; !error && o <= ORDER_LIMIT + 1; o++) {
		free_frames += free_blocks[o] << o;
		nonempty |= (uint64_t)(free_blocks[o] > 0) << o;
		error = check_list(b, o, free_blocks[o], violation);
	}
	if (error)
		return error;
	if (nonempty != b->nonempty)
		return frame_violation(violation, 5, b->map.first,
				       "nonempty has the bits of the lists that are not empty");
	if (free_frames != b->free_frames)
		return frame_violation(violation, 6, b->map.first,
				       "free_frames is the sum of the free blocks");
	return 0;
}

static const struct frame_option options[] = {
	[OPTION_MAX_ORDER] = { .key = "max-order",
			       .help = "largest block is 2^N frames",
			       .value = 10,
			       .min = 1,
			       .max = ORDER_LIMIT },
	{ .key = NULL },
};

const struct frame_ops frame_buddy = {
	.name = "buddy",
	.id = "F8",
	.summary = "blocks of 2^n frames that split and merge",
	.caps = FRAME_CAP_RUNS | FRAME_CAP_ALIGN | FRAME_CAP_AT | FRAME_CAP_FREE |
		FRAME_CAP_PARTIAL_FREE,
	.options = options,
	.state_bytes = buddy_state_bytes,
	.init = buddy_init,
	.alloc = buddy_alloc,
	.free = buddy_free,
	.stats = buddy_stats,
	.walk = buddy_walk,
	.check = buddy_check,
};
