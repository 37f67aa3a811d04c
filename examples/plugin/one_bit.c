/*
 * one_bit.c - an allocator of one's own, as small as it gets: one bit a frame, single frames only.
 *
 *   span   | map.first ......................... map.end |     used: the bit is set
 *   bits     1 1 0 0 0 1 1 1 1 0 0 1                           holes of the map: set for ever
 *                ^ hint: no clear bit below
 *
 * Invariants (check):
 *   1  header: as init left it
 *   2  free_frames is the number of clear bits
 *   3  holes are set; no clear bit lies below the hint
 *
 * Cost: O(frames / 64) alloc, O(1) free. Metadata: one bit for each frame of the span.
 */
#include "alloc/bitops.h"
#include "alloc/frame/plugin.h"
#include "alloc/frame/support.h"
#include "alloc/port.h"

struct one_bit {
	struct memmap map;
	uint64_t words;
	uint64_t header_sum;
	uint64_t free_frames;
	uint64_t hint; /* word */
	uint64_t used[];
};

static bool is_used(const struct one_bit *b, uint64_t i)
{
	return b->used[i / BITS_PER_WORD] >> (i % BITS_PER_WORD) & 1;
}

static uint64_t words_for(const struct memmap *map)
{
	return (map->end.n - map->first.n + BITS_PER_WORD - 1) / BITS_PER_WORD;
}

static uint64_t one_bit_bytes(const struct memmap *map, const struct frame_config *config,
			      const char **why)
{
	return sizeof(struct one_bit) + words_for(map) * sizeof(uint64_t);
}

static int one_bit_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	struct one_bit *b = state;

	b->map = *map;
	b->words = words_for(map);
	b->header_sum = FRAME_HEADER_SUM(b);
	b->free_frames = map->frames;
	memset(b->used, 0xff, b->words * sizeof(uint64_t));
	for (uint32_t r = 0; r < map->count; r++)
		for (uint64_t k = 0; k < map->ranges[r].frames; k++) {
			uint64_t i = map->ranges[r].first.n + k - map->first.n;
			b->used[i / BITS_PER_WORD] &= ~(1ull << i % BITS_PER_WORD);
		}
	return 0;
}

static int one_bit_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct one_bit *b = state;

	for (; b->hint < b->words; b->hint++) {
		uint64_t *word = &b->used[b->hint];
		if (~*word) {
			unsigned bit = bit_lowest(~*word);
			*word |= 1ull << bit;
			b->free_frames--;
			*out = (struct frame_block){
				pfn_add(b->map.first, b->hint * BITS_PER_WORD + bit), 1
			};
			return 0;
		}
	}
	return KERR_NO_MEMORY;
}

static int one_bit_free(void *state, const struct frame_block *block)
{
	struct one_bit *b = state;
	uint64_t i = block->first.n - b->map.first.n;

	if (block->frames != 1 || !memmap_holds(&b->map, block->first, 1) || !is_used(b, i))
		return KERR_NOT_OWNED;
	b->used[i / BITS_PER_WORD] &= ~(1ull << i % BITS_PER_WORD);
	b->free_frames++;
	if (i / BITS_PER_WORD < b->hint)
		b->hint = i / BITS_PER_WORD;
	return 0;
}

static void one_bit_stats(const void *state, struct frame_stats *out)
{
	const struct one_bit *b = state;

	*out = (struct frame_stats){ .managed_frames = b->map.frames,
				     .free_frames = b->free_frames };
}

static int one_bit_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	const struct one_bit *b = state;

	for (uint32_t r = 0; r < b->map.count; r++)
		for (uint64_t k = 0; k < b->map.ranges[r].frames; k++) {
			struct pfn frame = pfn_add(b->map.ranges[r].first, k);
			struct frame_extent one = { frame, 1,
						    is_used(b, frame.n - b->map.first.n)
							    ? FRAME_USED
							    : FRAME_FREE };
			if (visit(ctx, &one))
				return KERR_STOP;
		}
	return 0;
}

static int one_bit_check(const void *state, struct violation *violation)
{
	const struct one_bit *b = state;
	uint64_t clear = 0;

	if (b->header_sum != FRAME_HEADER_SUM(b))
		return frame_violation(violation, 1, pfn(0), "the header is as init left it");
	for (uint64_t w = 0; w < b->words; w++) {
		struct pfn first = pfn_add(b->map.first, w * BITS_PER_WORD);
		clear += bit_count(~b->used[w]);
		if (w < b->hint && ~b->used[w])
			return frame_violation(violation, 3, first, "none is free below the hint");
		for (uint64_t free = ~b->used[w]; free; free &= free - 1)
			if (!memmap_holds(&b->map, pfn_add(first, bit_lowest(free)), 1))
				return frame_violation(violation, 3, first, "holes are set");
	}
	if (clear != b->free_frames)
		return frame_violation(violation, 2, pfn(0), "free_frames counts clear bits");
	return 0;
}

static const struct frame_ops one_bit = {
	.name = "one-bit",
	.id = "-",
	.summary = "one bit a frame, single frames, first fit",
	.caps = FRAME_CAP_FREE,
	.state_bytes = one_bit_bytes,
	.init = one_bit_init,
	.alloc = one_bit_alloc,
	.free = one_bit_free,
	.stats = one_bit_stats,
	.walk = one_bit_walk,
	.check = one_bit_check,
};

KMEMLAB_FRAMES_PLUGIN(one_bit);
