/*
 * zoned_area.c - the free lists of a zone of the zoned buddy: splitting, merging, and what happens
 * when a mobility type has nothing left. Theory and invariants: zoned_buddy.c.
 */
#include "alloc/frame/zoned.h"

void zoned_list_push(struct zoned *z, struct zoned_list *list, uint32_t block, bool tail)
{
	struct zoned_link *links = zoned_links(z);

	if (tail) {
		links[block] = (struct zoned_link){ ZONED_NONE, list->tail };
		if (list->tail != ZONED_NONE)
			links[list->tail].next = block;
		else
			list->head = block;
		list->tail = block;
	} else {
		links[block] = (struct zoned_link){ list->head, ZONED_NONE };
		if (list->head != ZONED_NONE)
			links[list->head].prev = block;
		else
			list->tail = block;
		list->head = block;
	}
}

void zoned_list_remove(struct zoned *z, struct zoned_list *list, uint32_t block)
{
	struct zoned_link *links = zoned_links(z), link = links[block];

	if (link.next != ZONED_NONE)
		links[link.next].prev = link.prev;
	else
		list->tail = link.prev;
	if (link.prev != ZONED_NONE)
		links[link.prev].next = link.next;
	else
		list->head = link.next;
}

void zoned_area_add(struct zoned *z, unsigned zone, uint32_t block, unsigned order, unsigned type,
		    bool tail)
{
	struct zone *area = &z->zone[zone];

	zoned_kinds(z)[block] = (uint8_t)kind_of(KIND_FREE, type, order);
	zoned_list_push(z, &area->list[type][order], block, tail);
	area->nonempty[type] |= 1ull << order;
	area->free_frames += 1ull << order;
}

void zoned_area_remove(struct zoned *z, unsigned zone, uint32_t block)
{
	struct zone *area = &z->zone[zone];
	unsigned kind = zoned_kinds(z)[block], order = kind & KIND_ORDER, type = kind_type(kind);
	struct zoned_list *list = &area->list[type][order];

	zoned_list_remove(z, list, block);
	if (list->head == ZONED_NONE)
		area->nonempty[type] &= ~(1ull << order);
	area->free_frames -= 1ull << order;
	zoned_kinds(z)[block] = 0;
}

uint32_t zoned_area_split(struct zoned *z, unsigned zone, uint32_t block, unsigned from,
			  unsigned to, uint32_t target, unsigned type)
{
	while (from > to) {
		uint32_t half = 1u << --from;

		if (target & half) {
			zoned_area_add(z, zone, block, from, type, false);
			block += half;
		} else {
			zoned_area_add(z, zone, block + half, from, type, false);
		}
	}
	return block;
}

/* Out of the smallest block of TYPE that suffices. */
static uint32_t take_own(struct zoned *z, unsigned zone, unsigned order, unsigned type)
{
	uint64_t candidates = z->zone[zone].nonempty[type] >> order;

	if (!candidates)
		return ZONED_NONE;
	unsigned from = order + bit_lowest(candidates);
	uint32_t block = z->zone[zone].list[type][from].head;

	zoned_area_remove(z, zone, block);
	return zoned_area_split(z, zone, block, from, order, block, type);
}

/* Which types a type falls back to, the most welcome first. */
static const uint8_t fallback_types[ZONED_TYPES][ZONED_TYPES - 1] = {
	[FRAME_UNMOVABLE] = { FRAME_RECLAIMABLE, FRAME_MOVABLE },
	[FRAME_MOVABLE] = { FRAME_RECLAIMABLE, FRAME_UNMOVABLE },
	[FRAME_RECLAIMABLE] = { FRAME_UNMOVABLE, FRAME_MOVABLE },
};

static uint32_t fallback_block(const struct zone *area, unsigned order, unsigned type)
{
	for (unsigned i = 0; i < ZONED_TYPES - 1; i++) {
		uint32_t block = area->list[fallback_types[type][i]][order].head;

		if (block != ZONED_NONE)
			return block;
	}
	return ZONED_NONE;
}

/* Whether a block of ORDER that falls to TYPE brings the rest of its page block along. */
static bool steals_pageblock(unsigned order, unsigned type)
{
	return order >= PAGEBLOCK_ORDER / 2 || type != FRAME_MOVABLE;
}

/* A free block to the tail of TYPE's list. */
static void retype_block(struct zoned *z, unsigned zone, uint32_t block, unsigned type)
{
	unsigned order = zoned_kinds(z)[block] & KIND_ORDER;

	zoned_area_remove(z, zone, block);
	zoned_area_add(z, zone, block, order, type, true);
}

/* All free blocks of the page block that holds BLOCK go to TYPE. Returns their frames; *MOVABLE
 * gets the frames in it that are used and movable. */
static unsigned retype_free(struct zoned *z, unsigned zone, uint32_t block, unsigned type,
			    unsigned *movable)
{
	uint32_t at = block & ~(PAGEBLOCK_FRAMES - 1), end = at + PAGEBLOCK_FRAMES;
	unsigned moved = 0;

	*movable = 0;
	while (at < end) {
		unsigned kind = zoned_kinds(z)[at], frames = 1u << (kind & KIND_ORDER);

		if ((kind & KIND_STATE) == KIND_FREE) {
			retype_block(z, zone, at, type);
			moved += frames;
		} else if ((kind & KIND_STATE) == KIND_USED && kind_type(kind) == FRAME_MOVABLE) {
			*movable += frames;
		}
		at += frames; /* kind 0 is a frame of a hole */
	}
	return moved;
}

/* BLOCK, free and of another type, becomes TYPE's: with its page blocks when it is as large as one,
 * with all that is free around it when WHOLE, else alone. A page block changes its type when at
 * least half of it is free or of the right kind. */
static void steal(struct zoned *z, unsigned zone, uint32_t block, unsigned type, bool whole)
{
	unsigned order = zoned_kinds(z)[block] & KIND_ORDER;
	unsigned old_type = *pageblock_type(z, block), movable, alike = 0;

	if (order >= PAGEBLOCK_ORDER) {
		for (uint32_t i = 0; i < 1u << order; i += PAGEBLOCK_FRAMES)
			*pageblock_type(z, block + i) = (uint8_t)type;
		retype_block(z, zone, block, type);
		return;
	}
	if (!whole) {
		retype_block(z, zone, block, type);
		return;
	}
	unsigned moved = retype_free(z, zone, block, type, &movable);

	if (type == FRAME_MOVABLE)
		alike = movable;
	else if (old_type == FRAME_MOVABLE)
		alike = PAGEBLOCK_FRAMES - (moved + movable);
	if (moved + alike >= PAGEBLOCK_FRAMES / 2)
		*pageblock_type(z, block) = (uint8_t)type;
}

/* Makes something of at least ORDER TYPE's, out of what other types have. Large blocks first, so
 * that types mix in few page blocks; except that a movable request, which can be moved away again,
 * takes the smallest where the largest is too small to bring its page block along. */
static bool fall_back(struct zoned *z, unsigned zone, unsigned order, unsigned type,
		      unsigned fallback_order)
{
	const struct zone *area = &z->zone[zone];
	unsigned least = order > fallback_order ? order : fallback_order;
	unsigned from = ZONED_ORDERS;
	uint32_t block = ZONED_NONE;

	while (block == ZONED_NONE && from-- > least)
		block = fallback_block(area, from, type);
	if (block == ZONED_NONE)
		return false;
	bool whole = steals_pageblock(from, type);

	if (!whole && from > order) {
		block = ZONED_NONE;
		for (from = order; block == ZONED_NONE; from++)
			block = fallback_block(area, from, type);
		from--;
	}
	z->fallbacks++;
	z->fragmenting_fallbacks += from < PAGEBLOCK_ORDER;
	steal(z, zone, block, type, whole);
	return true;
}

uint32_t zoned_area_take(struct zoned *z, unsigned zone, unsigned order, unsigned type,
			 unsigned fallback_order)
{
	uint32_t block = take_own(z, zone, order, type);

	if (block == ZONED_NONE && z->shape.grouping &&
	    fall_back(z, zone, order, type, fallback_order))
		block = take_own(z, zone, order, type);
	return block;
}

/* The free block of ORDER that BLOCK would merge with. */
static bool buddy_is_free(const struct zoned *z, uint32_t block, unsigned order, uint32_t *buddy)
{
	*buddy = block ^ 1u << order;
	unsigned kind = *buddy < z->shape.spans.indices ? zoned_kinds(z)[*buddy] : 0;

	return (kind & (KIND_STATE | KIND_ORDER)) == (KIND_FREE | order);
}

void zoned_area_give(struct zoned *z, unsigned zone, uint32_t block, unsigned order, unsigned type)
{
	uint32_t buddy, next;
	bool tail = false;

	for (; order < ZONED_MAX_ORDER && buddy_is_free(z, block, order, &buddy); order++) {
		zoned_area_remove(z, zone, buddy);
		block &= ~(1u << order);
	}
	/* One more merge is near when the buddy of what the two would make is free already: then
	 * this block should be the last to go out. */
	if (order < ZONED_MAX_ORDER - 1)
		tail = buddy_is_free(z, block & ~(1u << order), order + 1, &next);
	zoned_area_add(z, zone, block, order, type, tail);
}
