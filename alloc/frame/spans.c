/*
 * spans.c - the table of spans: made in one pass over the map's ranges.
 */
#include "alloc/frame/spans.h"

#define GROUP_FRAMES 1024u /* ranges that meet in such groups share a span */

/* A pass over the map. */
struct cursor {
	const struct memmap *map;
	struct spans_kind kind;
	uint32_t range;	  /* first range that is in no span yet */
	uint64_t indices; /* given so far */
};

static bool shares_span(const struct cursor *c, const struct span *span,
			const struct frame_range *next)
{
	return c->kind.single ||
	       round_down_u64(next->first.n, GROUP_FRAMES) <= round_up_u64(span->end, GROUP_FRAMES);
}

/* The next span; false behind the last. */
static bool next_span(struct cursor *c, struct span *out)
{
	const struct frame_range *r = c->map->ranges;
	uint64_t group = 1ull << c->kind.order;
	struct span span;

	if (c->range == c->map->count)
		return false;
	span.first = r[c->range].first.n;
	do {
		span.end = r[c->range].first.n + r[c->range].frames;
		c->range++;
	} while (c->range < c->map->count && shares_span(c, &span, &r[c->range]));
	span.index = c->indices + (span.first & (group - 1));
	c->indices = span.index + (span.end - span.first);
	if (!c->kind.single)
		c->indices = round_up_u64(c->indices, group) + (c->kind.guard ? group : 0);
	*out = span;
	return true;
}

struct spans spans_build(const struct memmap *map, struct spans_kind kind, struct span *table)
{
	struct cursor cursor = { .map = map, .kind = kind };
	struct spans s = { .largest = memmap_largest(map) };
	struct span span;

	while (next_span(&cursor, &span)) {
		if (s.largest.first.n >= span.first && s.largest.first.n < span.end)
			s.largest_index = span.index + (s.largest.first.n - span.first);
		if (table)
			table[s.count] = span;
		s.count++;
	}
	s.indices = cursor.indices;
	return s;
}

bool spans_are_sound(const struct spans *spans, const struct span *table, const struct memmap *map,
		     struct spans_kind kind)
{
	struct cursor cursor = { .map = map, .kind = kind };
	struct spans want = spans_build(map, kind, NULL);
	struct span span;

	if (spans->count != want.count || spans->indices != want.indices ||
	    spans->largest_index != want.largest_index ||
	    spans->largest.first.n != want.largest.first.n ||
	    spans->largest.frames != want.largest.frames)
		return false;
	for (uint64_t i = 0; next_span(&cursor, &span); i++)
		if (span.first != table[i].first || span.end != table[i].end ||
		    span.index != table[i].index)
			return false;
	return true;
}

uint64_t spans_search(const struct spans *spans, const struct span *table, struct pfn frame)
{
	uint64_t low = 0, high = spans->count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		const struct span *span = &table[middle];

		if (frame.n < span->first)
			high = middle;
		else if (frame.n >= span->end)
			low = middle + 1;
		else
			return span->index + (frame.n - span->first);
	}
	return SPANS_NONE;
}

const struct span *spans_of_index(const struct spans *spans, const struct span *table,
				  uint64_t index)
{
	uint64_t low = 0, high = spans->count - 1;

	/* The last span that begins at or below INDEX. */
	while (low < high) {
		uint64_t middle = low + (high - low + 1) / 2;

		if (table[middle].index <= index)
			low = middle;
		else
			high = middle - 1;
	}
	return &table[low];
}
