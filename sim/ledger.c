/*
 * THEORY
 *
 * Two things are stored: which frames are used (a tree of bits, frame_set.h), and for each used
 * frame a word: who owns it and how movable it is. All else is counted while frames change hands.
 *
 *     frames   . . . T T h h h . . . . . . . . h h . . o o o o      . free  T tables  h handles
 *              l                                            r      o hole
 *     used     0 0 0 1 1 1 1 1 0 0 0 0 0 0 0 0 1 1 0 0 1 1 1 1
 *     words    - - - 3 3 g g g - - - - - - - - k k - - 0 0 0 0      - stale: never read
 *
 * A change [a, b) happens inside one free run [l, r), before it (take) or after it (release); both
 * ends of the run are found in the tree. That is all that is needed:
 *  - runs: [l, r) goes, [l, a) and [b, r) come, or the other way round;
 *  - blocks of order j: those aligned ones that lie in [l, r) and touch [a, b). Once there is none
 *    of order j there is none of order j + 1, so a change of one frame in a shattered RAM costs
 *    one step, and orders above Linux's 10 are as cheap as the others. Where [a, b) is a block
 *    itself, the last such order is where it parts from the frames l - 1 and r;
 *  - regions: 16 bytes each, of which no one is wholly free.
 *
 * INVARIANTS (ledger_check() recomputes each from the words)
 *  L1 a frame's bit is clear exactly where its owner is LEDGER_FREE; frames outside RAM are holes;
 *  L2 free + live + reserved = usable frames; each is the count of frames with such owners;
 *  L3 full[j] counts the naturally aligned, wholly free blocks of order j;
 *  L4 free_runs and run_bins count the maximal runs of free frames;
 *  L5 each region's record counts its used, hole, live frames and those by mobility, and the
 *     totals count regions by level, mixed ones and those with unmovable frames;
 *  L6 handle_frames[h] counts the frames of handle h; live_handles those that have any;
 *  L7 the longest run of the run tree is the longest run.
 *
 * COST of a take and its release together, measured on a busy 2-core VM: order 0 45 ns in RAM whose
 * books fit the L2 cache, 60 ns in 512 MiB at random, 65 ns in fresh RAM; order 9 150 ns.
 */
#include "sim/ledger_private.h"

#include "sim/sparse.h"

#include <glib.h>
#include <string.h>
#include <wchar.h>

G_STATIC_ASSERT(sizeof(wchar_t) == sizeof(uint32_t));
G_STATIC_ASSERT(LEDGER_OWNER_MAX == (1u << LEDGER_MOBILITY_SHIFT) - 1);
G_STATIC_ASSERT(LEDGER_REGION_FRAMES == FRAME_SET_REGION_FRAMES);

#define HANDLE_BYTES (((size_t)LEDGER_HANDLE_MAX + 1) * sizeof(uint32_t))

enum change { TAKE, RELEASE };

const char *ledger_verdict_name(enum ledger_verdict verdict)
{
	switch (verdict) {
	case LEDGER_OK:
		return "ok";
	case LEDGER_OVERLAP:
		return "overlap";
	case LEDGER_OUT_OF_MAP:
		return "out-of-map";
	case LEDGER_MISALIGNED:
		return "misaligned";
	case LEDGER_TOO_SMALL:
		return "too-small";
	case LEDGER_DOUBLE_FREE:
		return "double-free";
	case LEDGER_FOREIGN:
		return "foreign";
	}
	return "unknown";
}

struct ledger *ledger_new(uint64_t ram_frames)
{
	struct ledger *ledger;
	bool complete;

	g_return_val_if_fail(ram_frames > 0 && ram_frames <= LEDGER_FRAMES_MAX, NULL);
	ledger = g_new0(struct ledger, 1);
	ledger->totals.ram_frames = ram_frames;
	complete = frame_set_init(&ledger->used, ram_frames);
	complete = run_tree_init(&ledger->runs, &ledger->used) && complete;
	ledger->words = sparse_new(ram_frames * sizeof(uint32_t));
	ledger->regions = sparse_new(ledger_region_count(ledger) * sizeof(struct ledger_region));
	ledger->handle_frames = sparse_new(HANDLE_BYTES);
	if (complete && ledger->words && ledger->regions && ledger->handle_frames)
		return ledger;
	ledger_free(ledger);
	return NULL;
}

void ledger_expect_handles(struct ledger *ledger, uint64_t count)
{
	sparse_touch(ledger->handle_frames, MIN(count, LEDGER_HANDLE_MAX) * sizeof(uint32_t));
}

void ledger_free(struct ledger *ledger)
{
	if (!ledger)
		return;
	sparse_free(ledger->words, ledger->totals.ram_frames * sizeof(uint32_t));
	sparse_free(ledger->regions, ledger_region_count(ledger) * sizeof(struct ledger_region));
	sparse_free(ledger->handle_frames, HANDLE_BYTES);
	run_tree_fini(&ledger->runs);
	frame_set_fini(&ledger->used);
	g_free(ledger);
}

uint32_t ledger_owner(const struct ledger *ledger, uint64_t frame)
{
	if (frame >= ledger->totals.ram_frames ||
	    !ledger_region_present(ledger, frame / LEDGER_REGION_FRAMES))
		return LEDGER_HOLE;
	if (!frame_set_used(&ledger->used, frame))
		return LEDGER_FREE;
	return ledger->words[frame] & LEDGER_OWNER_MAX;
}

bool ledger_all_free(const struct ledger *ledger, uint64_t first, uint64_t frames)
{
	return first < ledger->totals.ram_frames &&
	       frames <= frame_set_next(&ledger->used, first) - first;
}

const struct ledger_totals *ledger_totals(const struct ledger *ledger)
{
	return &ledger->totals;
}

uint64_t ledger_largest_run(struct ledger *ledger)
{
	return run_tree_longest(&ledger->runs);
}

/* Runs and blocks (L3, L4). */

static inline void count_run(struct ledger_totals *totals, uint64_t frames, uint64_t by)
{
	unsigned bin = 63 - (unsigned)__builtin_clzll(frames);

	totals->run_bins[bin < LEDGER_RUN_BINS ? bin : LEDGER_RUN_BINS - 1] += by;
}

/* The highest bit in which two different frame numbers differ: no block of a higher order that
 * holds one of them lacks the other. */
static inline unsigned parting_order(uint64_t a, uint64_t b)
{
	return 63 - (unsigned)__builtin_clzll(a ^ b);
}

/* An aligned block: it holds 2^(order - j) of order j and lies in one of each larger order, up to
 * the last that keeps clear of both ends of the run. */
static inline void count_around_block(struct ledger_totals *totals, uint64_t run, uint64_t run_end,
				      uint64_t first, unsigned order, uint64_t sign)
{
	unsigned left = parting_order(first, run - 1), right = parting_order(first, run_end);
	unsigned top = left < right ? left : right;

	for (unsigned j = 0; j < order; j++)
		totals->full[j] += sign << (order - j);
	for (unsigned j = order; j <= top; j++)
		totals->full[j] += sign;
}

/* Any [first, end): the blocks that lie in the run and touch it. */
static void count_around(struct ledger_totals *totals, uint64_t run, uint64_t run_end,
			 uint64_t first, uint64_t end, uint64_t sign)
{
	for (unsigned order = 0; order < LEDGER_ALL_ORDERS; order++) {
		uint64_t round = (1ull << order) - 1;
		uint64_t in_run = (run + round) >> order, touched = first >> order;
		uint64_t run_stop = run_end >> order, touched_stop = (end + round) >> order;
		uint64_t from = in_run > touched ? in_run : touched;
		uint64_t to = run_stop < touched_stop ? run_stop : touched_stop;

		if (from >= to)
			return;
		totals->full[order] += sign * (to - from);
	}
}

/* [first, end) leaves (TAKE) or has joined (RELEASE) the free run [run, run_end). */
static inline void change_run(struct ledger *ledger, enum change change, uint64_t run,
			      uint64_t run_end, uint64_t first, uint64_t end)
{
	struct ledger_totals *totals = &ledger->totals;
	uint64_t whole = change == TAKE ? UINT64_MAX : 1, part = -whole; /* -1 and 1, or 1 and -1 */
	uint64_t frames = end - first;

	count_run(totals, run_end - run, whole);
	if (first > run)
		count_run(totals, first - run, part);
	if (run_end > end)
		count_run(totals, run_end - end, part);
	totals->free_runs += whole + part * ((first > run) + (uint64_t)(run_end > end));
	if ((frames & (frames - 1)) == 0 && (first & (frames - 1)) == 0)
		count_around_block(totals, run, run_end, first, (unsigned)__builtin_ctzll(frames),
				   whole);
	else
		count_around(totals, run, run_end, first, end, whole);
	totals->free_frames += whole * frames;
}

/* Regions (L5). */

static inline void count_mobility(struct ledger_totals *totals, struct ledger_region *region,
				  enum change change, uint32_t frames, unsigned mobility)
{
	uint16_t *count = &region->mobility[mobility];
	unsigned others = 0;

	if (change == TAKE ? *count > 0 : *count > frames) {
		*count = (uint16_t)(change == TAKE ? *count + frames : *count - frames);
		return;
	}
	/* This mobility appears in the region, or disappears from it. */
	*count = change == TAKE ? (uint16_t)frames : 0;
	for (unsigned i = 0; i < EVENT_MOBILITIES; i++)
		others += i != mobility && region->mobility[i] > 0;
	if (others == 1)
		totals->mixed_regions += change == TAKE ? 1 : UINT64_MAX;
	if (mobility == MOBILITY_UNMOVABLE)
		totals->unmovable_regions += change == TAKE ? 1 : UINT64_MAX;
}

static inline void change_region(struct ledger *ledger, enum change change, uint64_t index,
				 uint32_t frames, uint32_t word)
{
	struct ledger_region *region = &ledger->regions[index];
	struct ledger_totals *totals = &ledger->totals;
	uint32_t by = change == TAKE ? frames : -frames;

	totals->region_level[ledger_region_level(region)]--;
	region->used = (uint16_t)(region->used + by);
	totals->region_level[ledger_region_level(region)]++;
	count_mobility(totals, region, change, frames, word >> LEDGER_MOBILITY_SHIFT);
	if ((word & LEDGER_OWNER_MAX) >= LEDGER_HANDLE_BASE)
		region->live = (uint16_t)(region->live + by);
	run_tree_touch(&ledger->runs, index);
}

static inline void change_regions(struct ledger *ledger, enum change change, uint64_t first,
				  uint64_t end, uint32_t word)
{
	while (first < end) {
		uint64_t index = first / LEDGER_REGION_FRAMES;
		uint64_t stop = (index + 1) * LEDGER_REGION_FRAMES;

		if (stop > end)
			stop = end;
		change_region(ledger, change, index, (uint32_t)(stop - first), word);
		first = stop;
	}
}

/* Owners (L1, L2, L6). */

static inline void change_owner(struct ledger *ledger, enum change change, uint64_t frames,
				uint32_t word)
{
	uint64_t by = change == TAKE ? frames : -frames;
	uint32_t owner = word & LEDGER_OWNER_MAX, *left;

	if (owner < LEDGER_HANDLE_BASE) {
		ledger->totals.reserved_frames += by;
		return;
	}
	left = &ledger->handle_frames[owner - LEDGER_HANDLE_BASE];
	ledger->totals.live_frames += by;
	if (change == TAKE)
		ledger->totals.live_handles += *left == 0;
	*left += (uint32_t)by;
	if (change == RELEASE)
		ledger->totals.live_handles -= *left == 0;
}

/* The free frames [first, end) go to the owner in WORD; the free run that they lie in ends at
 * RUN_END. */
static inline void give(struct ledger *ledger, uint64_t first, uint64_t end, uint64_t run_end,
			uint32_t word)
{
	uint64_t run = frame_set_run_start(&ledger->used, first);

	change_run(ledger, TAKE, run, run_end, first, end);
	frame_set_add(&ledger->used, first, end);
	if (end - first == 1)
		ledger->words[first] = word;
	else
		wmemset((wchar_t *)&ledger->words[first], (wchar_t)word, end - first);
	change_regions(ledger, TAKE, first, end, word);
	change_owner(ledger, TAKE, end - first, word);
}

/* The frames [first, end), all with WORD, become free. */
static inline void give_back(struct ledger *ledger, uint64_t first, uint64_t end, uint32_t word)
{
	uint64_t run = frame_set_run_start(&ledger->used, first);
	uint64_t run_end = frame_set_next(&ledger->used, end);

	change_run(ledger, RELEASE, run, run_end, first, end);
	frame_set_remove(&ledger->used, first, end);
	change_regions(ledger, RELEASE, first, end, word);
	change_owner(ledger, RELEASE, end - first, word);
}

/* Where the used frames from FIRST on stop having FIRST's word, at most END. */
static inline uint64_t same_word_end(const struct ledger *ledger, uint64_t first, uint64_t end)
{
	const uint32_t *words = ledger->words;
	uint64_t stop = frame_set_next_free(&ledger->used, first, end);
	uint64_t frames = stop - first;

	/* All equal, if each equals its neighbour. */
	if (frames <= 1 || !memcmp(&words[first], &words[first + 1], (frames - 1) * sizeof(*words)))
		return stop;
	for (stop = first + 1; words[stop] == words[first];)
		stop++;
	return stop;
}

/* Boot. */

/* Takes REGION out of the totals' count by level, or puts it there. */
static void count_region(struct ledger *ledger, uint64_t index, uint64_t by)
{
	const struct ledger_region *region = &ledger->regions[index];

	if (ledger_region_usable(region) == 0)
		return;
	ledger->totals.regions += by;
	ledger->totals.region_level[ledger_region_level(region)] += by;
}

/* Within one region: FRAMES holes become usable (by = -1) or the reverse; they are used before and
 * after, so that nothing but the region's record changes. */
static void change_holes(struct ledger *ledger, uint64_t index, uint64_t frames, int by)
{
	struct ledger_region *region = &ledger->regions[index];

	count_region(ledger, index, UINT64_MAX);
	region->holes = (uint16_t)(region->holes + by * (int)frames);
	count_region(ledger, index, 1);
	ledger->totals.usable_frames -= (uint64_t)((int64_t)frames * by);
}

/* Within one region: the holes [first, end) become reserved frames (RELEASE), or the reverse. */
static void change_hole(struct ledger *ledger, enum change change, uint64_t first, uint64_t end)
{
	uint64_t index = first / LEDGER_REGION_FRAMES, frames = end - first;
	enum change reserve = change == TAKE ? RELEASE : TAKE;

	if (change == RELEASE)
		change_holes(ledger, index, frames, -1);
	count_mobility(&ledger->totals, &ledger->regions[index], reserve, (uint32_t)frames,
		       MOBILITY_UNMOVABLE);
	change_owner(ledger, reserve, frames, LEDGER_TABLE);
	if (change == TAKE)
		change_holes(ledger, index, frames, 1);
	wmemset((wchar_t *)&ledger->words[first], change == TAKE ? LEDGER_HOLE : LEDGER_TABLE,
		frames);
}

/* [first, end) within one present region becomes free, whatever it was. */
static void free_piece(struct ledger *ledger, uint64_t first, uint64_t end)
{
	while (first < end) {
		uint64_t stop;

		first = frame_set_next(&ledger->used, first);
		if (first >= end)
			return;
		stop = same_word_end(ledger, first, end);
		if (ledger->words[first] == LEDGER_HOLE)
			change_hole(ledger, RELEASE, first, stop);
		give_back(ledger, first, stop, ledger->words[first]);
		first = stop;
	}
}

static void assign_piece(struct ledger *ledger, uint64_t first, uint64_t end, uint32_t owner)
{
	uint64_t index = first / LEDGER_REGION_FRAMES;

	if (!ledger_region_present(ledger, index)) {
		if (owner == LEDGER_HOLE)
			return;
		frame_set_admit_used(&ledger->used, index);
		ledger->regions[index].used = LEDGER_REGION_FRAMES;
		ledger->regions[index].holes = LEDGER_REGION_FRAMES;
	}
	free_piece(ledger, first, end);
	if (owner == LEDGER_FREE)
		return;
	give(ledger, first, end, frame_set_next(&ledger->used, end),
	     owner == LEDGER_HOLE ? LEDGER_TABLE : owner);
	if (owner == LEDGER_HOLE)
		change_hole(ledger, TAKE, first, end);
}

/* Whole regions from FIRST on, at most to END, that were never usable become free at one stroke.
 * Returns where they stop. */
static uint64_t open_regions(struct ledger *ledger, uint64_t first, uint64_t end)
{
	uint64_t index = first / LEDGER_REGION_FRAMES, stop = index;

	if (first % LEDGER_REGION_FRAMES)
		return first;
	while ((stop + 1) * LEDGER_REGION_FRAMES <= end && !ledger_region_present(ledger, stop))
		run_tree_touch(&ledger->runs, stop++);
	if (stop == index)
		return first;
	end = stop * LEDGER_REGION_FRAMES;
	change_run(ledger, RELEASE, frame_set_run_start(&ledger->used, first),
		   frame_set_next(&ledger->used, end), first, end);
	frame_set_admit_free(&ledger->used, index, stop - index);
	ledger->totals.usable_frames += end - first;
	ledger->totals.regions += stop - index;
	ledger->totals.region_level[LEDGER_LEVELS - 1] += stop - index;
	return end;
}

void ledger_assign(struct ledger *ledger, uint64_t first, uint64_t frames, uint32_t owner)
{
	uint64_t ram_frames = ledger->totals.ram_frames, end = first + frames;

	g_return_if_fail(!ledger->sealed && owner < LEDGER_HANDLE_BASE);
	g_return_if_fail(first <= ram_frames && frames <= ram_frames - first);
	while (first < end) {
		uint64_t stop = (first / LEDGER_REGION_FRAMES + 1) * LEDGER_REGION_FRAMES;

		if (owner == LEDGER_FREE) {
			uint64_t opened = open_regions(ledger, first, end);

			if (opened > first) {
				first = opened;
				continue;
			}
		}
		if (stop > end)
			stop = end;
		assign_piece(ledger, first, stop, owner);
		first = stop;
	}
}

void ledger_assign_holes(struct ledger *ledger, uint64_t first, uint64_t frames, uint32_t owner)
{
	uint64_t ram_frames = ledger->totals.ram_frames, end = first + frames, stop;

	g_return_if_fail(first <= ram_frames && frames <= ram_frames - first);
	while ((first = frame_set_next(&ledger->used, first)) < end) {
		uint64_t index = first / LEDGER_REGION_FRAMES;

		stop = MIN(end, (index + 1) * LEDGER_REGION_FRAMES);
		if (ledger_region_present(ledger, index))
			stop = same_word_end(ledger, first, stop);
		if (ledger_owner(ledger, first) == LEDGER_HOLE)
			ledger_assign(ledger, first, stop - first, owner);
		first = stop;
	}
}

void ledger_seal(struct ledger *ledger)
{
	ledger->sealed = true;
}

/* Verdicts. */

static enum ledger_verdict find(const struct ledger *ledger, struct ledger_finding *finding,
				enum ledger_verdict verdict, uint64_t frame)
{
	finding->verdict = verdict;
	finding->frame = frame;
	finding->owner = ledger_owner(ledger, frame);
	return verdict;
}

enum ledger_verdict ledger_take(struct ledger *ledger, uint64_t first, uint64_t frames,
				uint64_t requested, uint64_t align_frames, uint32_t owner,
				uint8_t mobility, struct ledger_finding *finding)
{
	uint64_t run_end;

	g_assert(owner <= LEDGER_OWNER_MAX && mobility < EVENT_MOBILITIES);
	if (G_UNLIKELY(frames == 0 || frames < requested))
		return find(ledger, finding, LEDGER_TOO_SMALL, first);
	if (G_UNLIKELY(first >= ledger->totals.ram_frames))
		return find(ledger, finding, LEDGER_OUT_OF_MAP, first);
	run_end = frame_set_next(&ledger->used, first);
	if (G_UNLIKELY(frames > run_end - first))
		return find(ledger, finding,
			    ledger_owner(ledger, run_end) == LEDGER_HOLE ? LEDGER_OUT_OF_MAP
									 : LEDGER_OVERLAP,
			    run_end);
	if (G_UNLIKELY(first & (align_frames - 1)))
		return find(ledger, finding, LEDGER_MISALIGNED, first);
	give(ledger, first, first + frames, run_end,
	     owner | (uint32_t)mobility << LEDGER_MOBILITY_SHIFT);
	if (owner >= LEDGER_HANDLE_BASE)
		ledger->totals.requested_frames += requested;
	return LEDGER_OK;
}

/* Where the frames from FIRST on that OWNER has, with one mobility, stop; at most END. */
static inline uint64_t owned_end(const struct ledger *ledger, uint64_t first, uint64_t end,
				 uint32_t owner)
{
	/* The words of an absent region are holes. */
	if (!frame_set_used(&ledger->used, first) ||
	    (ledger->words[first] & LEDGER_OWNER_MAX) != owner)
		return first;
	return end - first == 1 ? end : same_word_end(ledger, first, end);
}

/* Not all of the frames are OWNER's with one mobility: they are judged first, then given back
 * piece by piece. */
static enum ledger_verdict release_pieces(struct ledger *ledger, uint64_t first, uint64_t end,
					  uint32_t owner, struct ledger_finding *finding)
{
	uint64_t ram_end = MIN(end, ledger->totals.ram_frames), at = first, stop;

	while (at < ram_end && (stop = owned_end(ledger, at, ram_end, owner)) > at)
		at = stop;
	if (at < end) {
		uint32_t whose = ledger_owner(ledger, at);

		return find(ledger, finding,
			    whose == LEDGER_HOLE   ? LEDGER_OUT_OF_MAP
			    : whose == LEDGER_FREE ? LEDGER_DOUBLE_FREE
						   : LEDGER_FOREIGN,
			    at);
	}
	for (; first < end; first = stop) {
		stop = owned_end(ledger, first, end, owner);
		give_back(ledger, first, stop, ledger->words[first]);
	}
	return LEDGER_OK;
}

enum ledger_verdict ledger_release(struct ledger *ledger, uint64_t first, uint64_t frames,
				   uint64_t requested, uint32_t owner,
				   struct ledger_finding *finding)
{
	uint64_t ram_frames = ledger->totals.ram_frames, end;
	enum ledger_verdict verdict = LEDGER_OK;

	g_assert(owner > LEDGER_FREE && owner <= LEDGER_OWNER_MAX);
	if (G_UNLIKELY(frames == 0))
		return find(ledger, finding, LEDGER_TOO_SMALL, first);
	if (G_UNLIKELY(first >= ram_frames))
		return find(ledger, finding, LEDGER_OUT_OF_MAP, first);
	/* Both words are likely to be missing from the caches: fetch them side by side. */
	__builtin_prefetch(&ledger->words[first]);
	if (owner >= LEDGER_HANDLE_BASE)
		__builtin_prefetch(&ledger->handle_frames[owner - LEDGER_HANDLE_BASE], 1);
	end = frames <= ram_frames - first ? first + frames : UINT64_MAX;
	if (G_LIKELY(end <= ram_frames && owned_end(ledger, first, end, owner) == end))
		give_back(ledger, first, end, ledger->words[first]);
	else
		verdict = release_pieces(ledger, first, end, owner, finding);
	if (verdict == LEDGER_OK && owner >= LEDGER_HANDLE_BASE)
		ledger->totals.requested_frames -= requested;
	return verdict;
}
