/*
 * bitmap.c - F1: one bit a frame, with summary levels above.
 *
 *   level 2                       1 . . .                    one word: which words of level 1
 *                                 |
 *   level 1              1 0 1 1 . . .   0 0 0 . . .         which words of level 0 are not zero
 *                        |   |
 *   level 0  0110..1  00..0  1111..1   . . .                 a bit a frame: 1 is free
 *   frame    base+0   +64    +128
 *
 * Idea: a set bit is a free frame, so that the lowest free frame is a count of trailing zeros at
 * each level, and words that hold nothing free are never looked at. Frames are numbered densely
 * (spans.h), so that large holes of the memory map have no bits; small ones, and one word between
 * two spans, are zeros that nobody ever sets. The levels are laid out at init; the topmost is one
 * word.
 *
 * Policies for where a request goes:
 *   first-fit  the lowest run that is long enough
 *   next-fit   the first one behind the last allocation, then round from the start
 *   best-fit   the shortest run that is long enough, the lowest of equals
 *
 * Invariants (check):
 *   1  header: as init left it; the map is sound, and the shape is what init makes of it
 *   2  no bit is set for what is no frame of the map
 *   3  a bit of a summary level is set if and only if the word it stands for is not zero; bits
 *      that stand for no word are zero
 *   4  free_frames is the number of bits set in level 0
 *   5  the cursor of next-fit is at most the number of bits
 *
 * Cost: one frame first-fit or next-fit, and a free: O(levels), one level for each factor 64 of the
 * frames. A run: words from the start of the search to the run that fits (best-fit: all of them).
 * Metadata: 65/64 of a bit for each frame, and for holes below 4 MiB.
 *
 * Source: the oldest method there is (Knuth, TAOCP 1, 2.5); summaries as in Linux's sbitmap and in
 * van Emde Boas trees of word degree. Differs from hobby kernels' bitmaps in the summaries and in
 * being sized at boot.
 */
#include "alloc/bitops.h"
#include "alloc/frame/spans.h"
#include "alloc/frame/systems.h"

#define LEVELS_MAX 9 /* 64^9 > 2^52 frames */
#define NO_BIT	   SPANS_NONE

enum bitmap_policy { FIRST_FIT = 0, NEXT_FIT, BEST_FIT, POLICIES };
enum { OPTION_POLICY };

struct bitmap_shape {
	struct spans spans;	    /* bits of level 0 are their indices */
	uint32_t levels;	    /* 1 .. LEVELS_MAX */
	uint32_t policy;	    /* enum bitmap_policy */
	uint64_t level[LEVELS_MAX]; /* index of each level's first word; level 0 is at 0 */
	uint64_t words;
};

struct bitmap {
	struct memmap map;
	struct bitmap_shape shape;
	uint64_t header_sum; /* over the two above */
	uint64_t free_frames;
	uint64_t cursor; /* next-fit: the bit where the next search begins */
	uint64_t word[]; /* then the table of spans */
};

static const struct spans_kind spans_kind = { .order = 6, .guard = true };

static struct bitmap_shape shape_of(const struct memmap *map, uint64_t policy)
{
	struct bitmap_shape s = { .policy = (uint32_t)policy };
	uint64_t bits;

	s.spans = spans_build(map, spans_kind, NULL);
	bits = s.spans.indices;
	do {
		bits = bits / BITS_PER_WORD + (bits % BITS_PER_WORD != 0);
		s.level[s.levels++] = s.words;
		s.words += bits;
	} while (bits > 1);
	return s;
}

static inline struct span *table(const struct bitmap *b)
{
	return (struct span *)(uintptr_t)(b->word + b->shape.words);
}

static inline struct pfn frame_of(const struct bitmap *b, uint64_t bit)
{
	return spans_frame(&b->shape.spans, table(b), bit);
}

/* The bit of the first of so many frames of the map, or NO_BIT. */
static inline uint64_t managed_bit(const struct bitmap *b, struct pfn first, uint64_t frames)
{
	return spans_managed(&b->shape.spans, table(b), &b->map, first, frames);
}

static inline bool bit_is_set(const struct bitmap *b, uint64_t bit)
{
	return b->word[bit / BITS_PER_WORD] >> (bit % BITS_PER_WORD) & 1;
}

/* The loops over levels are unrolled for the usual number of them: LEVELS is then a constant. */
#define USUAL_LEVELS 3 /* up to 64^3 frames: 1 GiB */
#define HOT	     static inline __attribute__((always_inline))

/* Word INDEX of level 0 has become zero: the levels above hear of it. */
HOT void summary_clear(struct bitmap *b, uint64_t index, unsigned levels)
{
#pragma GCC unroll 4
	for (unsigned l = 1; l < levels; l++) {
		uint64_t *word = &b->word[b->shape.level[l] + index / BITS_PER_WORD];

		*word &= ~(1ull << index % BITS_PER_WORD);
		if (*word)
			return;
		index /= BITS_PER_WORD;
	}
}

/* Word INDEX of level 0 was zero and is no longer. */
HOT void summary_set(struct bitmap *b, uint64_t index, unsigned levels)
{
#pragma GCC unroll 4
	for (unsigned l = 1; l < levels; l++) {
		uint64_t *word = &b->word[b->shape.level[l] + index / BITS_PER_WORD];
		uint64_t old = *word;

		*word = old | 1ull << index % BITS_PER_WORD;
		if (old)
			return;
		index /= BITS_PER_WORD;
	}
}

/* Calls of the two below are made word by word: N bits from BIT on that lie in one word. */
static inline unsigned bits_in_word(uint64_t bit, uint64_t n)
{
	uint64_t room = BITS_PER_WORD - bit % BITS_PER_WORD;

	return (unsigned)(n < room ? n : room);
}

static void run_set(struct bitmap *b, uint64_t bit, uint64_t n)
{
	while (n) {
		unsigned part = bits_in_word(bit, n);
		uint64_t *word = &b->word[bit / BITS_PER_WORD], old = *word;

		*word = old | bit_mask(bit % BITS_PER_WORD, part);
		if (!old)
			summary_set(b, bit / BITS_PER_WORD, b->shape.levels);
		bit += part;
		n -= part;
	}
}

static void run_clear(struct bitmap *b, uint64_t bit, uint64_t n)
{
	while (n) {
		unsigned part = bits_in_word(bit, n);
		uint64_t *word = &b->word[bit / BITS_PER_WORD];

		*word &= ~bit_mask(bit % BITS_PER_WORD, part);
		if (!*word)
			summary_clear(b, bit / BITS_PER_WORD, b->shape.levels);
		bit += part;
		n -= part;
	}
}

/* From word INDEX, not zero, of the topmost of LEVELS down to the lowest bit of level 0 below. */
HOT uint64_t descend(const struct bitmap *b, unsigned levels, uint64_t index)
{
#pragma GCC unroll 4
	for (unsigned l = levels; l-- > 0;)
		index = index * BITS_PER_WORD + bit_lowest(b->word[b->shape.level[l] + index]);
	return index;
}

/* The lowest set bit at or above FROM, or NO_BIT: climbs until a level has something to the right,
 * then descends. */
static uint64_t next_set(const struct bitmap *b, uint64_t from)
{
	if (from >= b->shape.spans.indices)
		return NO_BIT;
	for (unsigned l = 0; l < b->shape.levels; l++) {
		uint64_t index = from / BITS_PER_WORD;
		uint64_t word = b->word[b->shape.level[l] + index] & ~0ull << from % BITS_PER_WORD;

		if (word) {
			index = index * BITS_PER_WORD + bit_lowest(word);
			return descend(b, l, index);
		}
		from = index + 1; /* in the level above: the words to the right of this one */
		if (l + 1 < b->shape.levels && from >= (b->shape.level[l + 1] - b->shape.level[l]))
			return NO_BIT;
	}
	return NO_BIT;
}

/* The lowest clear bit in [from, limit), or LIMIT. */
static uint64_t next_clear(const struct bitmap *b, uint64_t from, uint64_t limit)
{
	while (from < limit) {
		uint64_t word = ~b->word[from / BITS_PER_WORD] & ~0ull << from % BITS_PER_WORD;

		if (word) {
			uint64_t bit = round_down_u64(from, BITS_PER_WORD) + bit_lowest(word);

			return bit < limit ? bit : limit;
		}
		from = round_down_u64(from, BITS_PER_WORD) + BITS_PER_WORD;
	}
	return limit;
}

/* Beyond a word's length, alignment is the frame's: at or above that of BIT, maybe over holes. */
static __attribute__((noinline)) uint64_t align_far(const struct bitmap *b, uint64_t bit,
						    uint64_t align)
{
	const struct spans *spans = &b->shape.spans;
	uint64_t frame = round_up_u64(frame_of(b, bit).n, align);

	for (uint64_t i = 0; i < spans->count; i++) {
		const struct span *span = &table(b)[i];

		if (frame < span->first)
			frame = round_up_u64(span->first, align);
		if (frame < span->end)
			return span->index + (frame - span->first);
	}
	return spans->indices;
}

/* The lowest bit at or above BIT, which is set, whose frame number is so aligned. */
static inline uint64_t align_bit(const struct bitmap *b, uint64_t bit, uint64_t align)
{
	return align <= BITS_PER_WORD ? round_up_u64(bit, align) : align_far(b, bit, align);
}

/* First run of N set bits, aligned, that begins in [from, stop); or NO_BIT. */
static uint64_t first_run(const struct bitmap *b, uint64_t from, uint64_t stop, uint64_t n,
			  uint64_t align)
{
	for (;;) {
		uint64_t bit = next_set(b, from);

		if (bit == NO_BIT)
			return NO_BIT;
		bit = align_bit(b, bit, align);
		if (bit >= stop || n > b->shape.spans.indices || bit > b->shape.spans.indices - n)
			return NO_BIT;
		from = next_clear(b, bit, bit + n);
		if (from == bit + n)
			return bit;
	}
}

static uint64_t next_run(const struct bitmap *b, uint64_t n, uint64_t align)
{
	uint64_t bit = first_run(b, b->cursor, b->shape.spans.indices, n, align);

	return bit != NO_BIT ? bit : first_run(b, 0, b->cursor, n, align);
}

static uint64_t best_run(const struct bitmap *b, uint64_t n, uint64_t align)
{
	uint64_t best = NO_BIT, best_bits = UINT64_MAX, end;

	for (uint64_t bit = next_set(b, 0); bit != NO_BIT; bit = next_set(b, end)) {
		uint64_t aligned = align_bit(b, bit, align);

		end = next_clear(b, bit, b->shape.spans.indices);
		if (aligned < end && n <= end - aligned && end - bit < best_bits) {
			best = aligned;
			best_bits = end - bit;
			if (best_bits == n)
				break;
		}
	}
	return best;
}

static uint64_t find_run(const struct bitmap *b, uint64_t n, uint64_t align)
{
	switch (b->shape.policy) {
	case NEXT_FIT:
		return next_run(b, n, align);
	case BEST_FIT:
		return best_run(b, n, align);
	default:
		return first_run(b, 0, b->shape.spans.indices, n, align);
	}
}

/* A run at a place that the caller names. */
static uint64_t run_at(const struct bitmap *b, struct pfn at, uint64_t n)
{
	uint64_t bit = managed_bit(b, at, n);

	return bit != NO_BIT && next_clear(b, bit, bit + n) == bit + n ? bit : NO_BIT;
}

static uint64_t bitmap_state_bytes(const struct memmap *map, const struct frame_config *config,
				   const char **why)
{
	if (!map->frames) {
		*why = "bitmap: the memory map has no usable frame";
		return 0;
	}
	if (config->option[OPTION_POLICY] >= POLICIES) {
		*why = "bitmap: unknown policy";
		return 0;
	}
	struct bitmap_shape s = shape_of(map, 0);

	return sizeof(struct bitmap) + sizeof(uint64_t) * s.words +
	       sizeof(struct span) * s.spans.count;
}

static int bitmap_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	struct bitmap *b = state;

	b->map = *map;
	b->shape = shape_of(map, config->option[OPTION_POLICY]);
	b->header_sum = FRAME_HEADER_SUM(b);
	spans_build(map, spans_kind, table(b));
	b->free_frames = map->frames;
	for (uint32_t i = 0; i < map->count; i++)
		run_set(b, managed_bit(b, map->ranges[i].first, map->ranges[i].frames),
			map->ranges[i].frames);
	return 0;
}

/* All but one frame first-fit. */
static __attribute__((noinline)) int
alloc_run(struct bitmap *b, const struct frame_request *request, struct frame_block *out)
{
	uint64_t bit = request->flags & FRAME_AT
			       ? run_at(b, request->at, request->frames)
			       : find_run(b, request->frames, request->align_frames);

	if (bit == NO_BIT)
		return KERR_NO_MEMORY;
	run_clear(b, bit, request->frames);
	b->cursor = bit + request->frames;
	b->free_frames -= request->frames;
	*out = (struct frame_block){ frame_of(b, bit), request->frames };
	return 0;
}

HOT int alloc_lowest(struct bitmap *b, struct frame_block *out, unsigned levels)
{
	uint64_t bit = descend(b, levels, 0);
	uint64_t *word = &b->word[bit / BITS_PER_WORD];

	*word &= *word - 1; /* clears the lowest, which is this one */
	if (!*word)
		summary_clear(b, bit / BITS_PER_WORD, levels);
	b->free_frames--;
	*out = (struct frame_block){ frame_of(b, bit), 1 };
	return 0;
}

static int bitmap_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct bitmap *b = state;

	if (request->frames != 1 || request->align_frames != 1 || request->flags ||
	    b->shape.policy != FIRST_FIT)
		return alloc_run(b, request, out);
	if (!b->free_frames)
		return KERR_NO_MEMORY;
	if (b->shape.levels == USUAL_LEVELS)
		return alloc_lowest(b, out, USUAL_LEVELS);
	return alloc_lowest(b, out, b->shape.levels);
}

static __attribute__((noinline)) int free_run(struct bitmap *b, uint64_t bit, uint64_t n)
{
	uint64_t end = bit + n;
	uint64_t free_bit = next_set(b, bit);

	if (free_bit != NO_BIT && free_bit < end)
		return KERR_NOT_OWNED;
	run_set(b, bit, n);
	b->free_frames += n;
	return 0;
}

HOT int free_one(struct bitmap *b, uint64_t bit, unsigned levels)
{
	uint64_t *word = &b->word[bit / BITS_PER_WORD], old = *word;
	uint64_t mask = 1ull << bit % BITS_PER_WORD;

	if (old & mask)
		return KERR_NOT_OWNED;
	*word = old | mask;
	if (!old)
		summary_set(b, bit / BITS_PER_WORD, levels);
	b->free_frames++;
	return 0;
}

static int bitmap_free(void *state, const struct frame_block *block)
{
	struct bitmap *b = state;

	uint64_t bit = managed_bit(b, block->first, block->frames);

	if (bit == NO_BIT)
		return KERR_NOT_OWNED;
	if (block->frames != 1)
		return free_run(b, bit, block->frames);
	if (b->shape.levels == USUAL_LEVELS)
		return free_one(b, bit, USUAL_LEVELS);
	return free_one(b, bit, b->shape.levels);
}

static void bitmap_stats(const void *state, struct frame_stats *out)
{
	const struct bitmap *b = state;

	*out = (struct frame_stats){ .managed_frames = b->map.frames,
				     .free_frames = b->free_frames };
}

static int bitmap_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	const struct bitmap *b = state;

	for (uint32_t i = 0; i < b->map.count; i++) {
		uint64_t at = b->map.ranges[i].first.n, bit = managed_bit(b, pfn(at), 1);
		uint64_t end = bit + b->map.ranges[i].frames, to;

		for (; bit < end; bit = to) {
			bool is_free = bit_is_set(b, bit);

			to = is_free ? next_clear(b, bit, end) : next_set(b, bit);
			if (to > end)
				to = end;
			struct frame_extent extent = { pfn(at), to - bit,
						       is_free ? FRAME_FREE : FRAME_USED };

			at += to - bit;

			if (visit(ctx, &extent))
				return KERR_STOP;
		}
	}
	return 0;
}

/* Bits of the word for frames [first, first + 64) that the map has; *RANGE goes along with it. */
static uint64_t managed_bits(const struct memmap *map, uint32_t *range, uint64_t first)
{
	uint64_t mask = 0;

	for (; *range < map->count; ++*range) {
		const struct frame_range *r = &map->ranges[*range];
		uint64_t from = r->first.n > first ? r->first.n - first : 0;
		uint64_t to = r->first.n + r->frames - first;

		if (from >= BITS_PER_WORD)
			break;
		mask |= bit_mask((unsigned)from,
				 (unsigned)((to < BITS_PER_WORD ? to : BITS_PER_WORD) - from));
		if (to >= BITS_PER_WORD) {
			*range += to == BITS_PER_WORD;
			break;
		}
	}
	return mask;
}

static int check_frames(const struct bitmap *b, uint64_t words, struct violation *violation)
{
	uint64_t free_frames = 0, k = 0;
	uint32_t range = 0;

	for (uint64_t i = 0; i < words; i++) {
		/* The span that has the word, or the one before it. */
		while (k + 1 < b->shape.spans.count && table(b)[k + 1].index / BITS_PER_WORD <= i)
			k++;
		uint64_t frame = table(b)[k].first + i * BITS_PER_WORD - table(b)[k].index;
		uint64_t foreign = b->word[i] & ~managed_bits(&b->map, &range, frame);

		if (foreign)
			return frame_violation(violation, 2, pfn(frame + bit_lowest(foreign)),
					       "no bit is set for what is no frame of the map");
		free_frames += bit_count(b->word[i]);
	}
	if (free_frames != b->free_frames)
		return frame_violation(violation, 4, b->map.first,
				       "free_frames is the number of bits set");
	return 0;
}

/* Level L against the level below it, which has BELOW words. */
static int check_summary(const struct bitmap *b, unsigned l, uint64_t below, uint64_t words,
			 struct violation *violation)
{
	uint64_t frames_per_bit = BITS_PER_WORD;

	for (unsigned i = 1; i < l; i++)
		frames_per_bit *= BITS_PER_WORD;
	for (uint64_t bit = 0; bit < words * BITS_PER_WORD; bit++) {
		uint64_t word = b->word[b->shape.level[l] + bit / BITS_PER_WORD];
		bool want = bit < below && b->word[b->shape.level[l - 1] + bit];

		if ((word >> bit % BITS_PER_WORD & 1) != want)
			return frame_violation(violation, 3, frame_of(b, bit * frames_per_bit),
					       "a summary bit is set iff its word is not zero");
	}
	return 0;
}

static int bitmap_check(const void *state, struct violation *violation)
{
	const struct bitmap *b = state;

	if (b->header_sum != FRAME_HEADER_SUM(b))
		return frame_violation(violation, 1, pfn(0), "the header is as init left it");
	if (!memmap_is_sound(&b->map))
		return frame_violation(violation, 1, pfn(0), "the memory map is sound");
	struct bitmap_shape want = shape_of(&b->map, b->shape.policy);

	if (b->shape.words != want.words || b->shape.levels != want.levels ||
	    !spans_are_sound(&b->shape.spans, table(b), &b->map, spans_kind))
		return frame_violation(violation, 1, pfn(0), "the shape is what init made");
	if (b->cursor > b->shape.spans.indices)
		return frame_violation(violation, 5, pfn(0),
				       "the cursor is at most the number of bits");
	for (unsigned l = 0; l < want.levels; l++) {
		uint64_t end = l + 1 < want.levels ? want.level[l + 1] : want.words;
		uint64_t words = end - want.level[l];
		int error =
			l ? check_summary(b, l, want.level[l] - want.level[l - 1], words, violation)
			  : check_frames(b, words, violation);

		if (error)
			return error;
	}
	return 0;
}

static const char *const policies[] = { "first-fit", "next-fit", "best-fit", NULL };

static const struct frame_option options[] = {
	[OPTION_POLICY] = { .key = "policy",
			    .help = "which of the runs that are long enough",
			    .choices = policies,
			    .value = FIRST_FIT },
	{ .key = NULL },
};

const struct frame_ops frame_bitmap = {
	.name = "bitmap",
	.id = "F1",
	.summary = "a bit a frame with summary levels; first-fit, next-fit or best-fit",
	.caps = FRAME_CAP_RUNS | FRAME_CAP_ANY_COUNT | FRAME_CAP_ALIGN | FRAME_CAP_AT |
		FRAME_CAP_FREE | FRAME_CAP_PARTIAL_FREE,
	.options = options,
	.state_bytes = bitmap_state_bytes,
	.init = bitmap_init,
	.alloc = bitmap_alloc,
	.free = bitmap_free,
	.stats = bitmap_stats,
	.walk = bitmap_walk,
	.check = bitmap_check,
};
