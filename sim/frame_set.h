/*
 * frame_set.h - the set of frames that are NOT free, as a tree of 64-bit words, so that the ends of
 * the free run around a frame are found in a few word operations however long the run is.
 *
 *     level 2            [ 1 ............................ ]      a bit: 4096 frames
 *     level 1       [ 0 1 1 0 ... ]   [ 0 0 0 ... ]              a bit:   64 frames
 *     level 0   [...][.##.][#...][...]                           a bit:    1 frame
 *
 * INVARIANTS
 *  S1 a bit of level l + 1 is set exactly where the word of level l below it is not zero;
 *  S2 a region (512 frames) is *present* or absent. The words of level 0 of an absent region were
 *     never written and mean "all used"; their bits at level 1 are set;
 *  S3 whatever lies beyond the last frame counts as used.
 *
 * Free is zero, because untouched memory is zero: a free tebibyte costs the levels from 1 up and
 * the presence bits, 600 KiB.
 */
#ifndef KMEMLAB_SIM_FRAME_SET_H
#define KMEMLAB_SIM_FRAME_SET_H

#include <stdbool.h>
#include <stdint.h>

#define FRAME_SET_LEVELS	7
#define FRAME_SET_REGION_FRAMES 512
#define FRAME_SET_REGION_WORDS	(FRAME_SET_REGION_FRAMES / 64)

struct frame_set {
	uint64_t frames;
	unsigned levels;
	uint64_t *words[FRAME_SET_LEVELS];
	uint64_t counts[FRAME_SET_LEVELS]; /* words of each level */
	uint64_t *present;		   /* a bit a region */
	uint64_t present_words;
};

/* All frames used, all regions absent. False where the host refuses the address space; fini() is
 * due all the same. */
bool frame_set_init(struct frame_set *set, uint64_t frames);
void frame_set_fini(struct frame_set *set);

/* Absent regions become present: all used, or all free. The second form needs whole regions. */
void frame_set_admit_used(struct frame_set *set, uint64_t region);
void frame_set_admit_free(struct frame_set *set, uint64_t region, uint64_t regions);

/* The first free frame of [first, end), END if there is none; FIRST is in a present region.
 * Cost: O(words). */
uint64_t frame_set_next_free(const struct frame_set *set, uint64_t first, uint64_t end);

/* Slow halves of what stands below. */
void frame_set_add_far(struct frame_set *set, uint64_t first, uint64_t end);
void frame_set_remove_far(struct frame_set *set, uint64_t first, uint64_t end);
uint64_t frame_set_next_far(const struct frame_set *set, uint64_t word);
uint64_t frame_set_start_far(const struct frame_set *set, uint64_t word);

static inline bool frame_set_present(const struct frame_set *set, uint64_t region)
{
	return set->present[region / 64] >> (region % 64) & 1;
}

/* 64 frames from WORD * 64 on, a bit each. */
static inline uint64_t frame_set_word(const struct frame_set *set, uint64_t word)
{
	return frame_set_present(set, word / FRAME_SET_REGION_WORDS) ? set->words[0][word]
								     : UINT64_MAX;
}

static inline bool frame_set_used(const struct frame_set *set, uint64_t frame)
{
	return frame >= set->frames || frame_set_word(set, frame / 64) >> (frame % 64) & 1;
}

/* Bits of [first, end), which lie in one word, from 1 to 64 of them. */
static inline uint64_t frame_set_mask(uint64_t first, uint64_t end)
{
	return UINT64_MAX >> (64 - (end - first)) << (first % 64);
}

/* [first, end), all free (or all used) before, becomes used (or free). Its regions are present.
 * Cost: O(words + levels). */
static inline void frame_set_add(struct frame_set *set, uint64_t first, uint64_t end)
{
	uint64_t *word = &set->words[0][first / 64];

	if (first / 64 == (end - 1) / 64 && *word) {
		*word |= frame_set_mask(first, end);
		return;
	}
	frame_set_add_far(set, first, end);
}

static inline void frame_set_remove(struct frame_set *set, uint64_t first, uint64_t end)
{
	uint64_t *word = &set->words[0][first / 64];

	if (first / 64 == (end - 1) / 64 && *word != frame_set_mask(first, end)) {
		*word &= ~frame_set_mask(first, end);
		return;
	}
	frame_set_remove_far(set, first, end);
}

/* The first used frame from FRAME on; the number of frames where there is none. */
static inline uint64_t frame_set_next(const struct frame_set *set, uint64_t frame)
{
	uint64_t word;

	if (frame >= set->frames)
		return set->frames;
	word = frame_set_word(set, frame / 64) >> (frame % 64);
	if (word)
		return frame + (unsigned)__builtin_ctzll(word);
	return frame_set_next_far(set, frame / 64 + 1);
}

/* Where the free run that ends at FRAME begins: FRAME itself if the frame before it is used. */
static inline uint64_t frame_set_run_start(const struct frame_set *set, uint64_t frame)
{
	uint64_t last = frame - 1, word;

	if (frame == 0)
		return 0;
	word = frame_set_word(set, last / 64) << (63 - last % 64);
	if (word)
		return frame - (unsigned)__builtin_clzll(word);
	return frame_set_start_far(set, last / 64);
}

#endif
