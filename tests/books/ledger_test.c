/*
 * The ledger: verdicts and figures of small hand-made RAMs, then random histories against a model
 * that knows nothing but an array of owners.
 */
#include "sim/ledger_private.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANDLE(n) (LEDGER_HANDLE_BASE + (n))

static struct ledger_finding finding;

static struct ledger *new_ledger(uint64_t ram_frames)
{
	struct ledger *ledger = ledger_new(ram_frames);

	ck_assert_ptr_nonnull(ledger);
	return ledger;
}

/* 2048 frames, a hole at [160, 256), metadata at [0, 8). */
static struct ledger *small_ledger(void)
{
	struct ledger *ledger = new_ledger(2048);

	ledger_assign(ledger, 0, 2048, LEDGER_FREE);
	ledger_assign(ledger, 160, 96, LEDGER_HOLE);
	ledger_assign(ledger, 0, 8, LEDGER_STATE);
	ledger_seal(ledger);
	return ledger;
}

static enum ledger_verdict take(struct ledger *ledger, uint64_t first, uint64_t frames,
				uint32_t owner)
{
	return ledger_take(ledger, first, frames, frames, 1, owner, MOBILITY_MOVABLE, &finding);
}

static enum ledger_verdict release(struct ledger *ledger, uint64_t first, uint64_t frames,
				   uint32_t owner)
{
	return ledger_release(ledger, first, frames, frames, owner, &finding);
}

static void check_ledger(struct ledger *ledger)
{
	const char *broken = ledger_check(ledger);

	ck_assert_msg(!broken, "%s", broken);
}

/* frames:  0 STATE 8 free 160 hole 256 free 300 h1 308 free 512 h2 513 ... 2048 */
static const struct {
	const char *name;
	bool release;
	uint64_t first, frames, requested, align;
	uint32_t owner;
	enum ledger_verdict verdict;
	uint64_t frame;
	uint32_t whose;
} verdicts[] = {
	{ "free frames", false, 8, 8, 8, 8, HANDLE(9), LEDGER_OK },
	{ "more than asked for", false, 1024, 1024, 513, 1024, HANDLE(9), LEDGER_OK },
	{ "up to a used frame", false, 308, 204, 204, 4, HANDLE(9), LEDGER_OK },
	{ "the block's first is owned", false, 300, 1, 1, 1, HANDLE(9), LEDGER_OVERLAP, 300,
	  HANDLE(1) },
	{ "a later frame is owned", false, 508, 8, 8, 4, HANDLE(9), LEDGER_OVERLAP, 512,
	  HANDLE(2) },
	{ "metadata", false, 0, 16, 16, 16, HANDLE(9), LEDGER_OVERLAP, 0, LEDGER_STATE },
	{ "into a hole", false, 128, 64, 64, 64, HANDLE(9), LEDGER_OUT_OF_MAP, 160, LEDGER_HOLE },
	{ "past the end of RAM", false, 2040, 16, 16, 8, HANDLE(9), LEDGER_OUT_OF_MAP, 2048,
	  LEDGER_HOLE },
	{ "beyond RAM", false, 4096, 1, 1, 1, HANDLE(9), LEDGER_OUT_OF_MAP, 4096, LEDGER_HOLE },
	{ "absurd first", false, UINT64_MAX, 2, 2, 1, HANDLE(9), LEDGER_OUT_OF_MAP, UINT64_MAX,
	  LEDGER_HOLE },
	{ "absurd count", false, 1024, UINT64_MAX, 1, 1, HANDLE(9), LEDGER_OUT_OF_MAP, 2048,
	  LEDGER_HOLE },
	{ "misaligned", false, 1025, 2, 2, 2, HANDLE(9), LEDGER_MISALIGNED, 1025, LEDGER_FREE },
	{ "owned and misaligned", false, 301, 2, 2, 2, HANDLE(9), LEDGER_OVERLAP, 301, HANDLE(1) },
	{ "too small", false, 1024, 2, 3, 1, HANDLE(9), LEDGER_TOO_SMALL, 1024, LEDGER_FREE },
	{ "nothing", false, 1024, 0, 0, 1, HANDLE(9), LEDGER_TOO_SMALL, 1024, LEDGER_FREE },
	{ "its own", true, 300, 8, 8, 0, HANDLE(1), LEDGER_OK },
	{ "a part of its own", true, 302, 3, 3, 0, HANDLE(1), LEDGER_OK },
	{ "kernel's metadata", true, 0, 8, 0, 0, LEDGER_STATE, LEDGER_OK },
	{ "free already", true, 1024, 1, 1, 0, HANDLE(1), LEDGER_DOUBLE_FREE, 1024, LEDGER_FREE },
	{ "its end is free", true, 304, 8, 8, 0, HANDLE(1), LEDGER_DOUBLE_FREE, 308, LEDGER_FREE },
	{ "somebody else's", true, 512, 1, 1, 0, HANDLE(1), LEDGER_FOREIGN, 512, HANDLE(2) },
	{ "metadata as a handle", true, 4, 1, 1, 0, HANDLE(1), LEDGER_FOREIGN, 4, LEDGER_STATE },
	{ "a hole", true, 200, 1, 1, 0, HANDLE(1), LEDGER_OUT_OF_MAP, 200, LEDGER_HOLE },
	{ "out of RAM", true, 2047, 2, 2, 0, HANDLE(3), LEDGER_OUT_OF_MAP, 2048, LEDGER_HOLE },
	{ "beyond RAM", true, 1ull << 40, 1, 1, 0, HANDLE(1), LEDGER_OUT_OF_MAP, 1ull << 40,
	  LEDGER_HOLE },
	{ "absurd count", true, 300, UINT64_MAX, 1, 0, HANDLE(1), LEDGER_DOUBLE_FREE, 308,
	  LEDGER_FREE },
	{ "nothing", true, 300, 0, 0, 0, HANDLE(1), LEDGER_TOO_SMALL, 300, HANDLE(1) },
};

START_TEST(each_misuse_has_its_verdict_and_changes_nothing)
{
	struct ledger *ledger = small_ledger();
	const char *name = verdicts[_i].name;
	struct ledger_totals before;
	enum ledger_verdict verdict;

	ck_assert_int_eq(take(ledger, 300, 8, HANDLE(1)), LEDGER_OK);
	ck_assert_int_eq(take(ledger, 512, 1, HANDLE(2)), LEDGER_OK);
	if (verdicts[_i].frame == 2048 && verdicts[_i].release)
		ck_assert_int_eq(take(ledger, 2047, 1, HANDLE(3)), LEDGER_OK);
	before = *ledger_totals(ledger);
	if (verdicts[_i].release)
		verdict = ledger_release(ledger, verdicts[_i].first, verdicts[_i].frames,
					 verdicts[_i].requested, verdicts[_i].owner, &finding);
	else
		verdict = ledger_take(ledger, verdicts[_i].first, verdicts[_i].frames,
				      verdicts[_i].requested, verdicts[_i].align,
				      verdicts[_i].owner, MOBILITY_MOVABLE, &finding);
	ck_assert_msg(verdict == verdicts[_i].verdict, "%s: %s", name,
		      ledger_verdict_name(verdict));
	if (verdict != LEDGER_OK) {
		ck_assert_msg(finding.verdict == verdict && finding.frame == verdicts[_i].frame &&
				      finding.owner == verdicts[_i].whose,
			      "%s: frame %llu of %u", name, (unsigned long long)finding.frame,
			      finding.owner);
		ck_assert_msg(!memcmp(&before, ledger_totals(ledger), sizeof(before)), "%s", name);
	}
	check_ledger(ledger);
	ledger_free(ledger);
}
END_TEST

START_TEST(verdicts_have_names)
{
	ck_assert_str_eq(ledger_verdict_name(LEDGER_OK), "ok");
	ck_assert_str_eq(ledger_verdict_name(LEDGER_OVERLAP), "overlap");
	ck_assert_str_eq(ledger_verdict_name(LEDGER_OUT_OF_MAP), "out-of-map");
	ck_assert_str_eq(ledger_verdict_name(LEDGER_MISALIGNED), "misaligned");
	ck_assert_str_eq(ledger_verdict_name(LEDGER_TOO_SMALL), "too-small");
	ck_assert_str_eq(ledger_verdict_name(LEDGER_DOUBLE_FREE), "double-free");
	ck_assert_str_eq(ledger_verdict_name(LEDGER_FOREIGN), "foreign");
}
END_TEST

/* 0 STATE 8 free 160 hole 256 free 2048: two runs of 152 and 1792 frames. */
START_TEST(a_fresh_ledger_knows_its_blocks_and_runs)
{
	static const uint64_t full[] = { 1944, 972, 486, 243, 121, 60, 29, 14, 7, 3, 1, 0 };
	struct ledger *ledger = small_ledger();
	const struct ledger_totals *totals = ledger_totals(ledger);

	ck_assert_uint_eq(totals->usable_frames, 2048 - 96);
	ck_assert_uint_eq(totals->free_frames, 1944);
	ck_assert_uint_eq(totals->reserved_frames, 8);
	for (unsigned order = 0; order < 12; order++)
		ck_assert_msg(totals->full[order] == full[order], "order %u: %llu", order,
			      (unsigned long long)totals->full[order]);
	ck_assert_uint_eq(totals->free_runs, 2);
	ck_assert_uint_eq(totals->run_bins[7], 1);
	ck_assert_uint_eq(totals->run_bins[10], 1);
	ck_assert_uint_eq(ledger_largest_run(ledger), 1792);
	ck_assert_uint_eq(totals->regions, 4);
	ck_assert_uint_eq(totals->region_level[9], 4);
	ck_assert_uint_eq(totals->unmovable_regions, 1);
	check_ledger(ledger);
	ledger_free(ledger);
}
END_TEST

START_TEST(a_handle_lives_until_its_last_frame_goes)
{
	struct ledger *ledger = small_ledger();
	const struct ledger_totals *totals = ledger_totals(ledger);

	ck_assert_int_eq(
		ledger_take(ledger, 512, 512, 400, 512, HANDLE(7), MOBILITY_MOVABLE, &finding),
		LEDGER_OK);
	ck_assert_uint_eq(totals->live_handles, 1);
	ck_assert_uint_eq(totals->requested_frames, 400);
	ck_assert_int_eq(ledger_release(ledger, 768, 256, 200, HANDLE(7), &finding), LEDGER_OK);
	ck_assert_uint_eq(totals->live_handles, 1);
	ck_assert_uint_eq(totals->live_frames, 256);
	ck_assert_uint_eq(totals->requested_frames, 200);
	ck_assert_int_eq(ledger_release(ledger, 512, 256, 200, HANDLE(7), &finding), LEDGER_OK);
	ck_assert_uint_eq(totals->live_handles, 0);
	ck_assert_uint_eq(totals->requested_frames, 0);
	check_ledger(ledger);
	ledger_free(ledger);
}
END_TEST

START_TEST(untouched_frames_are_reserved_and_keep_their_mobility)
{
	struct ledger *ledger = small_ledger();
	const struct ledger_totals *totals = ledger_totals(ledger);

	ck_assert_int_eq(
		ledger_take(ledger, 512, 4, 4, 4, LEDGER_UNTOUCHED, MOBILITY_RECLAIMABLE, &finding),
		LEDGER_OK);
	ck_assert_int_eq(
		ledger_take(ledger, 516, 4, 4, 4, LEDGER_UNTOUCHED, MOBILITY_UNMOVABLE, &finding),
		LEDGER_OK);
	ck_assert_uint_eq(totals->reserved_frames, 8 + 8);
	ck_assert_uint_eq(totals->live_frames, 0);
	ck_assert_uint_eq(totals->requested_frames, 0);
	ck_assert_uint_eq(totals->mixed_regions, 1);
	ck_assert_uint_eq(totals->unmovable_regions, 2);
	check_ledger(ledger);
	ck_assert_int_eq(release(ledger, 512, 8, LEDGER_UNTOUCHED), LEDGER_OK);
	ck_assert_uint_eq(totals->mixed_regions, 0);
	ck_assert_uint_eq(totals->unmovable_regions, 1);
	check_ledger(ledger);
	ledger_free(ledger);
}
END_TEST

START_TEST(regions_move_through_the_levels_as_they_fill)
{
	struct ledger *ledger = new_ledger(512);
	const struct ledger_totals *totals = ledger_totals(ledger);

	ledger_assign(ledger, 0, 512, LEDGER_FREE);
	ledger_assign(ledger, 100, 412, LEDGER_HOLE);
	ledger_seal(ledger);
	for (unsigned taken = 0; taken <= 100; taken++) {
		unsigned level = taken == 0 ? 9 : (100 - taken) / 10;

		ck_assert_msg(totals->region_level[level] == 1, "%u taken", taken);
		check_ledger(ledger);
		if (taken < 100)
			ck_assert_int_eq(take(ledger, taken, 1, HANDLE(taken)), LEDGER_OK);
	}
	ledger_free(ledger);
}
END_TEST

START_TEST(what_is_assigned_twice_belongs_to_the_last)
{
	struct ledger *ledger = new_ledger(5000);

	ledger_assign(ledger, 100, 3000, LEDGER_FREE);
	check_ledger(ledger);
	ledger_assign(ledger, 90, 1000, LEDGER_STATE);
	check_ledger(ledger);
	ledger_assign(ledger, 0, 5000, LEDGER_TABLE);
	check_ledger(ledger);
	ledger_assign(ledger, 1000, 2000, LEDGER_HOLE);
	check_ledger(ledger);
	ledger_assign(ledger, 1500, 3500, LEDGER_FREE);
	check_ledger(ledger);
	ck_assert_int_eq(ledger_owner(ledger, 999), LEDGER_TABLE);
	ck_assert_int_eq(ledger_owner(ledger, 1000), LEDGER_HOLE);
	ck_assert_int_eq(ledger_owner(ledger, 1500), LEDGER_FREE);
	ck_assert_int_eq(ledger_owner(ledger, 4999), LEDGER_FREE);
	ck_assert_int_eq(ledger_owner(ledger, 5000), LEDGER_HOLE);
	ck_assert(ledger_all_free(ledger, 1500, 3500));
	ck_assert(!ledger_all_free(ledger, 1500, 3501));
	ck_assert(!ledger_all_free(ledger, 1499, 2));
	ck_assert(!ledger_all_free(ledger, 5000, 1));
	ledger_free(ledger);
}
END_TEST

START_TEST(holes_are_assigned_without_touching_what_is_owned)
{
	struct ledger *ledger = new_ledger(5000);

	ledger_assign(ledger, 600, 1700, LEDGER_FREE);
	ledger_assign(ledger, 700, 100, LEDGER_HOLE);
	ledger_assign(ledger, 900, 100, LEDGER_STATE);
	ledger_assign_holes(ledger, 500, 4000, LEDGER_TABLE);
	check_ledger(ledger);
	for (uint64_t i = 0; i < 5000; i++) {
		uint32_t want = i < 500 || i >= 4500   ? LEDGER_HOLE
				: i < 600 || i >= 2300 ? LEDGER_TABLE
				: i >= 700 && i < 800  ? LEDGER_TABLE
				: i >= 900 && i < 1000 ? LEDGER_STATE
						       : LEDGER_FREE;

		ck_assert_msg(ledger_owner(ledger, i) == want, "frame %u", (unsigned)i);
	}
	ledger_free(ledger);
}
END_TEST

START_TEST(equal_free_sets_hash_equal)
{
	struct ledger *a = small_ledger(), *b = small_ledger();
	uint64_t fresh = ledger_free_hash(a);

	ck_assert_uint_eq(fresh, ledger_free_hash(b));
	ck_assert_int_eq(take(a, 512, 8, HANDLE(1)), LEDGER_OK);
	ck_assert_uint_ne(fresh, ledger_free_hash(a));
	ck_assert_int_eq(take(b, 512, 4, HANDLE(3)), LEDGER_OK);
	ck_assert_int_eq(take(b, 516, 4, LEDGER_UNTOUCHED), LEDGER_OK);
	ck_assert_uint_eq(ledger_free_hash(b), ledger_free_hash(a));
	ck_assert_int_eq(release(a, 512, 8, HANDLE(1)), LEDGER_OK);
	ck_assert_uint_eq(fresh, ledger_free_hash(a));
	ledger_free(a);
	ledger_free(b);
}
END_TEST

START_TEST(the_map_shows_shares_of_usable_frames)
{
	/* Cells of 512: [0] 416 usable, 8 reserved, 208 live; [1] 256 live; [2] all; [3] nothing.
	 */
	static const uint8_t live[] = { 125, 125, 250, 0 }, reserved[] = { 4, 0, 0, 0 };
	/* Cells of 64 over [128, 256): 32 usable live 32; no RAM. */
	struct ledger *ledger = small_ledger();
	uint8_t got_live[32], got_reserved[32];

	ck_assert_int_eq(take(ledger, 8, 152, HANDLE(1)), LEDGER_OK);
	ck_assert_int_eq(take(ledger, 256, 56, HANDLE(2)), LEDGER_OK);
	ck_assert_int_eq(take(ledger, 512, 256, HANDLE(3)), LEDGER_OK);
	ck_assert_int_eq(take(ledger, 1024, 512, HANDLE(4)), LEDGER_OK);
	ledger_map(ledger, 512, got_live, got_reserved);
	ck_assert_mem_eq(got_live, live, 4);
	ck_assert_mem_eq(got_reserved, reserved, 4);
	ledger_map(ledger, 64, got_live, got_reserved);
	ck_assert_int_eq(got_live[0], 218);
	ck_assert_int_eq(got_reserved[0], 31);
	ck_assert_int_eq(got_live[2], 250);
	ck_assert_int_eq(got_live[3], 255);
	ck_assert_int_eq(got_reserved[3], 255);
	ck_assert_int_eq(got_live[4], 218);
	ledger_map(ledger, 4096, got_live, got_reserved);
	ck_assert_int_eq(got_live[0], (208 + 256 + 512) * 250 / 1952);
	ledger_free(ledger);
}
END_TEST

/* The model: an array of owners; random blocks live in a list. */
struct block {
	uint64_t first, frames;
	uint32_t owner;
};

struct model {
	struct ledger *ledger;
	uint64_t frames;
	uint32_t *owners;
	struct block blocks[600];
	unsigned count;
	uint32_t next_handle;
};

static uint64_t random_below(uint64_t limit)
{
	return ((uint64_t)random() << 31 ^ (uint64_t)random()) % limit;
}

static void model_assign(struct model *model, uint64_t first, uint64_t frames, uint32_t owner)
{
	ledger_assign(model->ledger, first, frames, owner);
	for (uint64_t i = first; i < first + frames; i++)
		model->owners[i] = owner;
}

static void model_take(struct model *model)
{
	uint64_t frames = random() % 3 ? 1ull << random_below(11) : 1 + random_below(700);
	uint64_t first = random_below(model->frames + 8), offending;
	uint32_t owner = HANDLE(model->next_handle++);
	enum ledger_verdict want = LEDGER_OK, got;

	if (random() % 4)
		first &= ~((frames & -frames) - 1);
	for (offending = first; offending < first + frames && want == LEDGER_OK; offending++)
		if (offending >= model->frames || model->owners[offending] == LEDGER_HOLE)
			want = LEDGER_OUT_OF_MAP;
		else if (model->owners[offending] != LEDGER_FREE)
			want = LEDGER_OVERLAP;
	got = ledger_take(model->ledger, first, frames, 1 + random_below(frames), 1, owner,
			  (uint8_t)random_below(EVENT_MOBILITIES), &finding);
	ck_assert_int_eq(got, want);
	if (got != LEDGER_OK) {
		ck_assert_uint_eq(finding.frame, offending - 1);
		return;
	}
	for (uint64_t i = first; i < first + frames; i++)
		model->owners[i] = owner;
	model->blocks[model->count++] = (struct block){ first, frames, owner };
}

static void model_release(struct model *model)
{
	unsigned pick = (unsigned)random_below(model->count);
	struct block *block = &model->blocks[pick];
	uint64_t part = random() % 3 ? block->frames : 1 + random_below(block->frames);

	ck_assert_int_eq(
		ledger_release(model->ledger, block->first, part, 0, block->owner, &finding),
		LEDGER_OK);
	for (uint64_t i = 0; i < part; i++)
		model->owners[block->first + i] = LEDGER_FREE;
	block->first += part;
	block->frames -= part;
	if (block->frames == 0)
		*block = model->blocks[--model->count];
}

static void compare_map(struct model *model, uint64_t cell_frames)
{
	uint64_t cells = (model->frames + cell_frames - 1) / cell_frames, wrong = 0;
	uint8_t *live = malloc(cells), *reserved = malloc(cells);

	ledger_map(model->ledger, cell_frames, live, reserved);
	for (uint64_t cell = 0; cell < cells; cell++) {
		unsigned usable = 0, lives = 0, reserves = 0;

		for (uint64_t i = cell * cell_frames;
		     i < (cell + 1) * cell_frames && i < model->frames; i++) {
			usable += model->owners[i] != LEDGER_HOLE;
			lives += model->owners[i] >= LEDGER_HANDLE_BASE;
			reserves += model->owners[i] >= LEDGER_STATE &&
				    model->owners[i] < LEDGER_HANDLE_BASE;
		}
		wrong += live[cell] != (usable ? lives * 250 / usable : 255) ||
			 reserved[cell] != (usable ? reserves * 250 / usable : 255);
	}
	ck_assert_uint_eq(wrong, 0);
	free(live);
	free(reserved);
}

static void model_compare(struct model *model)
{
	uint64_t same = 0;

	/* Each ck_assert() writes to a pipe. */
	while (same < model->frames && ledger_owner(model->ledger, same) == model->owners[same])
		same++;
	ck_assert_uint_eq(same, model->frames);
	check_ledger(model->ledger);
	compare_map(model, 64 << random() % 7);
}

static void model_run(uint64_t frames, unsigned seed, unsigned steps, unsigned compare_every)
{
	struct model model = { .ledger = new_ledger(frames),
			       .frames = frames,
			       .owners = calloc(frames, sizeof(uint32_t)) };
	uint64_t fresh;

	srandom(seed);
	if (seed % 4)
		model_assign(&model, 0, frames, LEDGER_FREE);
	for (unsigned i = 0; i < 12; i++) {
		uint64_t first = random_below(frames), span = 1 + random_below(frames - first);

		model_assign(&model, first, 1 + random_below(span),
			     (uint32_t)random_below(LEDGER_UNTOUCHED + 1));
		model_compare(&model);
	}
	model_assign(&model, frames / 2, frames - frames / 2, LEDGER_FREE);
	ledger_seal(model.ledger);
	fresh = ledger_free_hash(model.ledger);
	for (unsigned i = 0; i < steps; i++) {
		if (model.count == 600 || (model.count > 0 && random() % 9 < 4))
			model_release(&model);
		else
			model_take(&model);
		if (i % compare_every == 0)
			model_compare(&model);
	}
	while (model.count)
		model_release(&model);
	model_compare(&model);
	ck_assert_uint_eq(fresh, ledger_free_hash(model.ledger));
	ck_assert_uint_eq(ledger_totals(model.ledger)->live_handles, 0);
	free(model.owners);
	ledger_free(model.ledger);
}

START_TEST(random_histories_of_small_rams_agree_with_the_model)
{
	static const uint64_t sizes[] = { 1, 63, 64, 65, 512, 1000, 1024, 4096, 4097, 5000 };

	model_run(sizes[_i], (unsigned)_i + 1, 400, 1);
}
END_TEST

START_TEST(random_histories_of_a_middle_ram_agree_with_the_model)
{
	model_run(300000, (unsigned)_i + 100, 3000, 500);
}
END_TEST

/* A wide RAM, all free but for a few blocks in the order of their addresses: what lies between
 * two of them is a run. */
struct wide {
	struct ledger *ledger;
	uint64_t frames;
	struct block blocks[200];
	unsigned count;
};

static void wide_take(struct wide *wide, uint32_t owner)
{
	uint64_t frames = 1 + (random_below(1 << 22) >> random_below(22));
	uint64_t first = random_below(wide->frames - frames);
	unsigned at = 0;
	enum ledger_verdict want;

	if (random() % 2)
		first &= ~((1ull << random_below(20)) - 1);
	while (at < wide->count && wide->blocks[at].first + wide->blocks[at].frames <= first)
		at++;
	want = at < wide->count && wide->blocks[at].first < first + frames ? LEDGER_OVERLAP
									   : LEDGER_OK;
	ck_assert_int_eq(take(wide->ledger, first, frames, owner), want);
	if (want != LEDGER_OK)
		return;
	memmove(&wide->blocks[at + 1], &wide->blocks[at],
		(wide->count++ - at) * sizeof(struct block));
	wide->blocks[at] = (struct block){ first, frames, owner };
}

static void wide_release(struct wide *wide)
{
	unsigned at = (unsigned)random_below(wide->count);
	const struct block *block = &wide->blocks[at];

	ck_assert_int_eq(release(wide->ledger, block->first, block->frames, block->owner),
			 LEDGER_OK);
	memmove(&wide->blocks[at], &wide->blocks[at + 1],
		(--wide->count - at) * sizeof(struct block));
}

static void wide_compare(const struct wide *wide)
{
	const struct ledger_totals *totals = ledger_totals(wide->ledger);
	uint64_t full[LEDGER_ALL_ORDERS] = { 0 }, runs = 0, longest = 0, first = 0;

	for (unsigned i = 0; i <= wide->count; i++) {
		uint64_t end = i < wide->count ? wide->blocks[i].first : wide->frames;

		runs += end > first;
		longest = end - first > longest ? end - first : longest;
		for (unsigned order = 0; order < LEDGER_ALL_ORDERS; order++) {
			uint64_t from = (first + (1ull << order) - 1) >> order;

			full[order] += end >> order > from ? (end >> order) - from : 0;
		}
		first = i < wide->count ? end + wide->blocks[i].frames : end;
	}
	ck_assert_mem_eq(full, totals->full, sizeof(full));
	ck_assert_uint_eq(runs, totals->free_runs);
	ck_assert_uint_eq(longest, ledger_largest_run(wide->ledger));
}

START_TEST(random_histories_of_wide_rams_agree_with_their_gaps)
{
	static const uint64_t sizes[] = { 1ull << 24, 1ull << 26, (1ull << 28) - 77, 1ull << 30,
					  LEDGER_FRAMES_MAX };
	struct wide wide = { .ledger = new_ledger(sizes[_i]), .frames = sizes[_i] };

	srandom((unsigned)_i + 1);
	ledger_assign(wide.ledger, 0, wide.frames, LEDGER_FREE);
	ledger_seal(wide.ledger);
	wide_compare(&wide);
	for (uint32_t step = 0; step < 400; step++) {
		if (wide.count == 200 || (wide.count > 0 && random() % 5 < 2))
			wide_release(&wide);
		else
			wide_take(&wide, HANDLE(step));
		wide_compare(&wide);
	}
	while (wide.count)
		wide_release(&wide);
	wide_compare(&wide);
	ledger_free(wide.ledger);
}
END_TEST

/* What ledger_check() must see, one planted fault each. */
enum fault {
	WORD,
	USED_BIT,
	SUMMARY_BIT,
	FREE_FRAMES,
	LIVE_FRAMES,
	RESERVED_FRAMES,
	USABLE_FRAMES,
	FULL_0,
	FULL_TOP,
	FREE_RUNS,
	RUN_BIN,
	REGION_USED,
	REGION_LIVE,
	REGION_MOBILITY,
	REGIONS,
	REGION_LEVEL,
	MIXED,
	UNMOVABLE,
	HANDLE_FRAMES,
	LIVE_HANDLES,
	RUN_LEAF,
	RUN_TOP,
	FAULTS
};

static void plant(struct ledger *ledger, enum fault fault)
{
	struct ledger_totals *totals = &ledger->totals;
	uint64_t *const counters[FAULTS] = {
		[FREE_FRAMES] = &totals->free_frames,
		[LIVE_FRAMES] = &totals->live_frames,
		[RESERVED_FRAMES] = &totals->reserved_frames,
		[USABLE_FRAMES] = &totals->usable_frames,
		[FULL_0] = &totals->full[0],
		[FULL_TOP] = &totals->full[LEDGER_ALL_ORDERS - 1],
		[FREE_RUNS] = &totals->free_runs,
		[RUN_BIN] = &totals->run_bins[3],
		[REGIONS] = &totals->regions,
		[REGION_LEVEL] = &totals->region_level[0],
		[MIXED] = &totals->mixed_regions,
		[UNMOVABLE] = &totals->unmovable_regions,
		[LIVE_HANDLES] = &totals->live_handles,
		[USED_BIT] = &ledger->used.words[0][1500 / 64],
		[SUMMARY_BIT] = &ledger->used.words[1][0],
	};

	if (fault == SUMMARY_BIT || fault == USED_BIT)
		*counters[fault] ^= 1ull << (1500 / 64 % 64);
	else if (counters[fault])
		++*counters[fault];
	else if (fault == WORD)
		ledger->words[300]++;
	else if (fault == REGION_USED)
		ledger->regions[2].used++;
	else if (fault == REGION_LIVE)
		ledger->regions[0].live++;
	else if (fault == REGION_MOBILITY)
		ledger->regions[0].mobility[MOBILITY_ISOLATE]++;
	else if (fault == HANDLE_FRAMES)
		ledger->handle_frames[1]--;
	else if (fault == RUN_LEAF || fault == RUN_TOP)
		ledger->runs.nodes[fault == RUN_LEAF ? 0 : 1][0].best += 2000;
}

START_TEST(each_planted_fault_is_seen)
{
	struct ledger *ledger = small_ledger();

	ck_assert_int_eq(take(ledger, 300, 8, HANDLE(1)), LEDGER_OK);
	ck_assert_int_eq(take(ledger, 513, 1, HANDLE(2)), LEDGER_OK);
	check_ledger(ledger);
	plant(ledger, (enum fault)_i);
	if (_i == RUN_LEAF)
		ck_assert_int_eq(take(ledger, 514, 1, HANDLE(3)), LEDGER_OK);
	ck_assert_msg(ledger_check(ledger), "fault %d", _i);
	ledger_free(ledger);
}
END_TEST

/* Counted page by page; the kernel's running counters are off by megabytes on many CPUs. */
static uint64_t resident_kib(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	unsigned long long kib = 0;

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%*[^\n] Rss: %llu", &kib), 1);
	fclose(file);
	return kib;
}

static void ck_grown(uint64_t before_kib, uint64_t at_most_kib)
{
#if defined(__SANITIZE_ADDRESS__)
	at_most_kib *= 8; /* shadow memory and quarantine */
#endif
	ck_assert_uint_le(resident_kib() - before_kib, at_most_kib);
}

/* 1 TiB, 1024 order-9 blocks and as many single frames far apart. Expect: figures exact, and the
 * host pays for the blocks' owners, not for RAM. */
START_TEST(a_tebibyte_costs_what_is_touched)
{
	const uint64_t frames = 1ull << 28, step = frames / 1024;
	uint64_t before = resident_kib();
	struct ledger *ledger = new_ledger(frames);
	const struct ledger_totals *totals = ledger_totals(ledger);

	ledger_assign(ledger, 0, 786432, LEDGER_FREE);
	ledger_assign(ledger, 1048576, frames - 1048576, LEDGER_FREE);
	ledger_assign_holes(ledger, 0, 786432, LEDGER_TABLE);
	ledger_assign_holes(ledger, 1048576, frames - 1048576, LEDGER_TABLE);
	ledger_seal(ledger);
	ck_assert_uint_eq(ledger_largest_run(ledger), frames - 1048576);
	ck_grown(before, 1536);
	for (uint64_t i = 4; i < 1024; i++) {
		ck_assert_int_eq(take(ledger, i * step, 512, HANDLE(2 * i)), LEDGER_OK);
		ck_assert_int_eq(take(ledger, i * step + 1023, 1, HANDLE(2 * i + 1)), LEDGER_OK);
	}
	ck_assert_uint_eq(ledger_largest_run(ledger), 786432);
	ck_assert_uint_eq(totals->free_runs, 1 + 2 * 1020);
	ck_assert_uint_eq(totals->full[18], 3);
	ck_assert_uint_eq(totals->full[17], 6 + 1020);
	for (uint64_t i = 4; i < 1024; i++) {
		ck_assert_int_eq(release(ledger, i * step, 512, HANDLE(2 * i)), LEDGER_OK);
		ck_assert_int_eq(release(ledger, i * step + 1023, 1, HANDLE(2 * i + 1)), LEDGER_OK);
	}
	ck_assert_uint_eq(ledger_largest_run(ledger), frames - 1048576);
	ck_assert_uint_eq(totals->free_runs, 2);
	(void)ledger_free_hash(ledger);
	ck_grown(before, 24 * 1024);
	ledger_free(ledger);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ledger");
	TCase *judging = tcase_create("verdicts"), *figures = tcase_create("figures");
	TCase *checker = tcase_create("checker"), *model = tcase_create("model");
	TCase *sparse = tcase_create("sparse");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(judging, each_misuse_has_its_verdict_and_changes_nothing, 0,
			    sizeof(verdicts) / sizeof(verdicts[0]));
	tcase_add_test(judging, verdicts_have_names);
	tcase_add_test(figures, a_fresh_ledger_knows_its_blocks_and_runs);
	tcase_add_test(figures, a_handle_lives_until_its_last_frame_goes);
	tcase_add_test(figures, untouched_frames_are_reserved_and_keep_their_mobility);
	tcase_add_test(figures, regions_move_through_the_levels_as_they_fill);
	tcase_add_test(figures, what_is_assigned_twice_belongs_to_the_last);
	tcase_add_test(figures, holes_are_assigned_without_touching_what_is_owned);
	tcase_add_test(figures, equal_free_sets_hash_equal);
	tcase_add_test(figures, the_map_shows_shares_of_usable_frames);
	tcase_add_loop_test(checker, each_planted_fault_is_seen, 0, FAULTS);
	tcase_set_timeout(model, 120);
	tcase_add_loop_test(model, random_histories_of_small_rams_agree_with_the_model, 0, 10);
	tcase_add_loop_test(model, random_histories_of_a_middle_ram_agree_with_the_model, 0, 4);
	tcase_set_timeout(sparse, 120);
	tcase_add_loop_test(sparse, random_histories_of_wide_rams_agree_with_their_gaps, 0, 5);
	tcase_add_test(sparse, a_tebibyte_costs_what_is_touched);
	suite_add_tcase(suite, judging);
	suite_add_tcase(suite, figures);
	suite_add_tcase(suite, checker);
	suite_add_tcase(suite, model);
	suite_add_tcase(suite, sparse);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
