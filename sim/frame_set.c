#include "sim/frame_set.h"

#include "sim/sparse.h"

#include <string.h>

static uint64_t words_for(uint64_t bits)
{
	return (bits + 63) / 64;
}

bool frame_set_init(struct frame_set *set, uint64_t frames)
{
	uint64_t regions = (frames + FRAME_SET_REGION_FRAMES - 1) / FRAME_SET_REGION_FRAMES;
	uint64_t words = regions * FRAME_SET_REGION_WORDS;
	bool complete;

	memset(set, 0, sizeof(*set));
	set->frames = frames;
	set->present_words = words_for(regions);
	set->present = sparse_new(set->present_words * 8);
	complete = set->present != NULL;
	do {
		uint64_t *level = sparse_new(words * 8);

		complete = complete && level;
		if (level && set->levels > 0)
			memset(level, 0xff, words * 8);
		set->words[set->levels] = level;
		set->counts[set->levels++] = words;
		words = words_for(words);
	} while (set->levels < 2 || set->counts[set->levels - 1] > 1);
	return complete;
}

void frame_set_fini(struct frame_set *set)
{
	for (unsigned level = 0; level < set->levels; level++)
		sparse_free(set->words[level], set->counts[level] * 8);
	sparse_free(set->present, set->present_words * 8);
	memset(set, 0, sizeof(*set));
}

/* Bits of word INDEX that lie in the bit range [first, end). */
static uint64_t range_mask(uint64_t index, uint64_t first, uint64_t end)
{
	uint64_t mask = UINT64_MAX;

	if (first > index * 64)
		mask &= UINT64_MAX << (first % 64);
	if (end < index * 64 + 64)
		mask &= ~(UINT64_MAX << (end % 64));
	return mask;
}

static void set_bit_up(struct frame_set *set, unsigned level, uint64_t bit)
{
	for (; level < set->levels; level++, bit /= 64) {
		uint64_t *word = &set->words[level][bit / 64], old = *word;

		*word = old | 1ull << (bit % 64);
		if (old)
			return;
	}
}

static void clear_bit_up(struct frame_set *set, unsigned level, uint64_t bit)
{
	for (; level < set->levels; level++, bit /= 64) {
		uint64_t *word = &set->words[level][bit / 64];

		*word &= ~(1ull << (bit % 64));
		if (*word)
			return;
	}
}

void frame_set_add_far(struct frame_set *set, uint64_t first, uint64_t end)
{
	for (uint64_t i = first / 64; i <= (end - 1) / 64; i++) {
		uint64_t old = set->words[0][i];

		set->words[0][i] = old | range_mask(i, first, end);
		if (!old)
			set_bit_up(set, 1, i);
	}
}

/* Clears the bits [first, end) of LEVEL, and above them what has become empty. */
static void clear_range(struct frame_set *set, unsigned level, uint64_t first, uint64_t end)
{
	for (uint64_t i = first / 64; i <= (end - 1) / 64; i++) {
		uint64_t *word = &set->words[level][i];

		*word &= ~range_mask(i, first, end);
		if (!*word)
			clear_bit_up(set, level + 1, i);
	}
}

void frame_set_remove_far(struct frame_set *set, uint64_t first, uint64_t end)
{
	clear_range(set, 0, first, end);
}

void frame_set_admit_used(struct frame_set *set, uint64_t region)
{
	set->present[region / 64] |= 1ull << (region % 64);
	memset(&set->words[0][region * FRAME_SET_REGION_WORDS], 0xff, FRAME_SET_REGION_WORDS * 8);
}

void frame_set_admit_free(struct frame_set *set, uint64_t region, uint64_t regions)
{
	uint64_t end = region + regions;

	for (uint64_t i = region / 64; i <= (end - 1) / 64; i++)
		set->present[i] |= range_mask(i, region, end);
	clear_range(set, 1, region * FRAME_SET_REGION_WORDS, end * FRAME_SET_REGION_WORDS);
}

uint64_t frame_set_next_free(const struct frame_set *set, uint64_t first, uint64_t end)
{
	for (uint64_t i = first / 64; i * 64 < end; i++) {
		uint64_t free = ~frame_set_word(set, i) & range_mask(i, first, end);

		if (free)
			return i * 64 + (unsigned)__builtin_ctzll(free);
	}
	return end;
}

/* The first used frame under bit BIT of LEVEL, which is set. Bits beyond RAM lead to its end. */
static uint64_t descend_first(const struct frame_set *set, unsigned level, uint64_t bit)
{
	uint64_t frame;

	for (; level > 1; level--) {
		if (bit >= set->counts[level - 1])
			return set->frames;
		bit = bit * 64 + (unsigned)__builtin_ctzll(set->words[level - 1][bit]);
	}
	if (bit >= set->counts[0])
		return set->frames;
	frame = bit * 64 + (unsigned)__builtin_ctzll(frame_set_word(set, bit));
	return frame < set->frames ? frame : set->frames;
}

uint64_t frame_set_next_far(const struct frame_set *set, uint64_t word)
{
	uint64_t bit = word;

	for (unsigned level = 1; level < set->levels; level++) {
		uint64_t i = bit / 64, bits;

		if (i >= set->counts[level])
			break;
		bits = set->words[level][i] & UINT64_MAX << (bit % 64);
		if (bits)
			return descend_first(set, level, i * 64 + (unsigned)__builtin_ctzll(bits));
		bit = i + 1;
	}
	return set->frames;
}

uint64_t frame_set_start_far(const struct frame_set *set, uint64_t word)
{
	uint64_t bit = word;

	for (unsigned level = 1; level < set->levels; level++, bit /= 64) {
		uint64_t bits = bit % 64 ? set->words[level][bit / 64] << (64 - bit % 64) : 0;

		if (!bits)
			continue;
		bit -= 1 + (unsigned)__builtin_clzll(bits);
		for (; level > 1; level--)
			bit = bit * 64 + 63 - (unsigned)__builtin_clzll(set->words[level - 1][bit]);
		return bit * 64 + 64 - (unsigned)__builtin_clzll(frame_set_word(set, bit));
	}
	return 0;
}
