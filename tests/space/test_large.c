/*
 * Large pages of processes: backed by one block, shared by forks, split where they must be, small
 * where there is no block; and every frame comes back.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/space/rig.h"

#define BASE  0x10000000ull
#define RW    (SPACE_READ | SPACE_WRITE)
#define LARGE (RW | SPACE_LARGE)

static const struct {
	const char *tables, *mode;
} cells[] = {
	{ "direct", "32" },	   { "direct", "pae" },		{ "direct", "4level" },
	{ "direct", "5level" },	   { "recursive", "32" },	{ "recursive", "pae" },
	{ "recursive", "4level" }, { "foreign", "32" },		{ "foreign", "pae" },
	{ "foreign", "4level" },   { "window", "32" },		{ "window", "4level" },
	{ "directories", "32" },   { "directories", "4level" }, { "pool", "32" },
	{ "pool", "4level" },	   { "preallocated", "32" },	{ "preallocated", "4level" },
};
#define CELLS (int)G_N_ELEMENTS(cells)

static struct rig_config config_of(int cell, const char *spaces)
{
	return (struct rig_config){ .tables = cells[cell].tables,
				    .spaces = spaces,
				    .mode = cells[cell].mode,
				    .ram_bytes = 64u << 20,
				    .cpus = 2,
				    .large_tlb = true };
}

static uint64_t span_of(const struct rig *rig)
{
	return table_span(rig->lab.spaces->tables->geometry, 1);
}

static const struct space_stats *stats_of(const struct rig *rig)
{
	return &rig->lab.spaces->stats;
}

static unsigned level_at(struct rig *rig, struct space *space, uint64_t va)
{
	struct tables *t = rig->lab.spaces->tables;
	struct table_leaf leaf;

	ck_assert(table_query(t, &space->root, (struct vaddr){ va }, &leaf));
	table_settle(t);
	return leaf.level;
}

static void touch(struct rig *rig, struct space *space, uint64_t va, unsigned kind, uint64_t value)
{
	uint64_t got = value;

	ck_assert_int_eq(rig_touch(rig, space, va, kind, &got), TOUCH_DONE);
	ck_assert_uint_eq(got, value);
}

/* A region of a span and a half, of which the first is mapped. */
static struct space *with_one_large_page(struct rig *rig)
{
	uint64_t span = span_of(rig);
	struct space *space;

	ck_assert_int_eq(space_lab_new(&rig->lab, &space), 0);
	ck_assert_int_eq(space_lab_map(&rig->lab, space, BASE, BASE + span + span / 2, LARGE), 0);
	space_lab_switch(&rig->lab, space);
	touch(rig, space, BASE + 8, MMU_WRITE, 11);
	touch(rig, space, BASE + span - 8, MMU_WRITE, 12);
	return space;
}

/* ---- one page, and what becomes of it ---- */

static void served(struct rig *rig, void *context)
{
	uint64_t span = span_of(rig), pages = span / FRAME_BYTES;
	struct space *space = with_one_large_page(rig);

	ck_assert_uint_eq(stats_of(rig)->faults[SPACE_FAULT_LARGE], 1);
	ck_assert_uint_eq(stats_of(rig)->faults[SPACE_FAULT_FRESH], 0);
	ck_assert_uint_eq(level_at(rig, space, BASE), 1);
	ck_assert_uint_eq(space->pages, pages);
	/* The region ends in the middle of the next span. */
	touch(rig, space, BASE + span, MMU_WRITE, 13);
	ck_assert_uint_eq(level_at(rig, space, BASE + span), 0);
	ck_assert_uint_eq(space->pages, pages + 1);
	ck_assert_uint_eq(stats_of(rig)->user_frames, pages + 1);
	space_lab_audit(&rig->lab);
	/* All of it is cleared, and as one it goes. */
	touch(rig, space, BASE + span / 2, MMU_READ, 0);
	ck_assert_int_eq(space_lab_unmap(&rig->lab, space, BASE, BASE + span), 0);
	ck_assert_uint_eq(rig->lab.spaces->tables->stats.splits, 0);
	ck_assert_uint_eq(stats_of(rig)->user_frames, 1);
	space_lab_free(&rig->lab, space);
}

/* CPU 1 has cached what CPU 0 takes away. */
static void cut(struct rig *rig, void *context)
{
	uint64_t span = span_of(rig), middle = BASE + span / 2, pages = span / FRAME_BYTES;
	struct space *space = with_one_large_page(rig);
	uint64_t value = 1;

	machine_set_cpu(rig->machine, 1);
	space_lab_switch(&rig->lab, space);
	touch(rig, space, middle, MMU_READ, 0);
	machine_set_cpu(rig->machine, 0);
	ck_assert_int_eq(space_lab_unmap(&rig->lab, space, middle, middle + 2 * FRAME_BYTES), 0);
	ck_assert_uint_eq(rig->lab.spaces->tables->stats.splits, 1);
	ck_assert_uint_eq(stats_of(rig)->user_frames, pages - 2);
	ck_assert_int_eq(
		space_lab_protect(&rig->lab, space, middle - FRAME_BYTES, middle, SPACE_READ), 0);
	space_lab_audit(&rig->lab);
	for (unsigned cpu = 2; cpu-- > 0;) {
		machine_set_cpu(rig->machine, cpu);
		ck_assert_int_eq(rig_touch(rig, space, middle, MMU_READ, &value), TOUCH_BAD);
		ck_assert_int_eq(rig_touch(rig, space, middle - 8, MMU_WRITE, &value), TOUCH_BAD);
		touch(rig, space, middle - 8, MMU_READ, 0);
		touch(rig, space, BASE + 8, MMU_READ, 11);
		touch(rig, space, BASE + span - 8, MMU_READ, 12);
	}
	touch(rig, space, BASE + 16, MMU_WRITE, 14);
	/* What was cut out comes back by small pages: the table is there. */
	ck_assert_int_eq(space_lab_map(&rig->lab, space, middle, middle + 2 * FRAME_BYTES, LARGE),
			 0);
	touch(rig, space, middle, MMU_WRITE, 15);
	ck_assert_uint_eq(stats_of(rig)->faults[SPACE_FAULT_LARGE], 1);
	space_lab_audit(&rig->lab);
	space_lab_free(&rig->lab, space);
}

static void forked(struct rig *rig, void *context)
{
	uint64_t span = span_of(rig), pages = span / FRAME_BYTES;
	struct space *parent = with_one_large_page(rig), *child;

	ck_assert_int_eq(space_lab_fork(&rig->lab, parent, &child), 0);
	ck_assert_uint_eq(level_at(rig, child, BASE), 1);
	ck_assert_uint_eq(stats_of(rig)->user_frames, pages);
	ck_assert_uint_eq(stats_of(rig)->shared, pages);
	space_lab_audit(&rig->lab);
	/* The child's write takes its own mapping apart, and copies 4 KiB. */
	space_lab_switch(&rig->lab, child);
	touch(rig, child, BASE + 8, MMU_WRITE, 21);
	ck_assert_uint_eq(level_at(rig, child, BASE), 0);
	ck_assert_uint_eq(level_at(rig, parent, BASE), 1);
	ck_assert_uint_eq(stats_of(rig)->copies, 1);
	ck_assert_uint_eq(stats_of(rig)->user_frames, pages + 1);
	touch(rig, child, BASE + span - 8, MMU_READ, 12);
	space_lab_switch(&rig->lab, parent);
	touch(rig, parent, BASE + 8, MMU_READ, 11);
	space_lab_audit(&rig->lab);
	/* The last user writes all of it in place, with nothing taken apart. */
	space_lab_free(&rig->lab, child);
	touch(rig, parent, BASE + span - 8, MMU_WRITE, 22);
	touch(rig, parent, BASE + 8, MMU_WRITE, 23);
	ck_assert_uint_eq(stats_of(rig)->faults[SPACE_FAULT_REUSE], 1);
	ck_assert_uint_eq(level_at(rig, parent, BASE), 1);
	ck_assert_uint_eq(stats_of(rig)->user_frames, pages);
	space_lab_audit(&rig->lab);
	space_lab_free(&rig->lab, parent);
}

/* The parent goes first: a split child is the last user of frames that came as one block. */
static void outlived(struct rig *rig, void *context)
{
	uint64_t pages = span_of(rig) / FRAME_BYTES;
	struct space *parent = with_one_large_page(rig), *child;

	ck_assert_int_eq(space_lab_fork(&rig->lab, parent, &child), 0);
	space_lab_switch(&rig->lab, child);
	touch(rig, child, BASE + 8, MMU_WRITE, 21);
	space_lab_free(&rig->lab, parent);
	ck_assert_uint_eq(stats_of(rig)->user_frames, pages);
	space_lab_audit(&rig->lab);
	space_lab_free(&rig->lab, child);
	ck_assert_uint_eq(stats_of(rig)->user_frames, 0);
}

static void (*const stories[])(struct rig *, void *) = { served, cut, forked, outlived };
#define STORIES (int)G_N_ELEMENTS(stories)

START_TEST(large_pages_come_are_cut_are_shared_and_go)
{
	const struct rig_config config = config_of(_i / STORIES, "process");
	struct rig *rig = rig_new(&config);

	rig_run(rig, stories[_i % STORIES], NULL);
	rig_stop(rig);
	rig_free(rig);
}
END_TEST

/* ---- where there are none ---- */

struct expected {
	unsigned level;
	bool refused;
	unsigned rights; /* of the mapping */
};

static void first_touch(struct rig *rig, void *context)
{
	const struct expected *expected = context;
	uint64_t span = span_of(rig);
	struct space *space;

	ck_assert_int_eq(space_lab_new(&rig->lab, &space), 0);
	ck_assert_int_eq(space_lab_map(&rig->lab, space, BASE, BASE + span, expected->rights), 0);
	space_lab_switch(&rig->lab, space);
	if (expected->refused)
		rig->lab.fail_at = rig->lab.requests + 1;
	touch(rig, space, BASE + 8, MMU_WRITE, 5);
	ck_assert_uint_eq(level_at(rig, space, BASE), expected->level);
	ck_assert_uint_eq(stats_of(rig)->large_refused, expected->refused);
	touch(rig, space, BASE + span - 8, MMU_WRITE, 6);
	space_lab_audit(&rig->lab);
	space_lab_free(&rig->lab, space);
}

static const struct {
	const char *name, *spaces, *mode, *setting, *frames;
	bool no_pse;
	struct expected expected;
} places[] = {
	{ "asked for", "process", "32", NULL, NULL, false, { 1, false, LARGE } },
	{ "not asked for", "process", "32", NULL, NULL, false, { 0, false, RW } },
	{ "asked for, never",
	  "process",
	  "4level",
	  "space.large-pages=never",
	  NULL,
	  false,
	  { 0, false, LARGE } },
	{ "always",
	  "process",
	  "4level",
	  "space.large-pages=always",
	  NULL,
	  false,
	  { 1, false, RW } },
	{ "V10: always", "large", "pae", NULL, NULL, false, { 1, false, RW } },
	{ "a policy without", "cow", "4level", NULL, NULL, false, { 0, false, LARGE } },
	{ "no block", "process", "4level", NULL, NULL, false, { 0, true, LARGE } },
	{ "no block, 4 MiB", "process", "32", NULL, NULL, false, { 0, true, LARGE } },
	{ "single frames only", "process", "4level", NULL, "stack", false, { 0, false, LARGE } },
	{ "another allocator", "process", "4level", NULL, "llfree", false, { 1, false, LARGE } },
	{ "a CPU without", "process", "32", NULL, NULL, true, { 0, false, LARGE } },
};

START_TEST(who_gets_large_pages)
{
	const struct rig_config config = { .tables = "direct",
					   .spaces = places[_i].spaces,
					   .mode = places[_i].mode,
					   .setting = places[_i].setting,
					   .frames = places[_i].frames,
					   .no_pse = places[_i].no_pse,
					   .ram_bytes = 64u << 20 };
	struct expected expected = places[_i].expected;
	struct rig *rig = rig_new(&config);

	rig_run(rig, first_touch, &expected);
	rig_stop(rig);
	rig_free(rig);
}
END_TEST

/* All blocks are used up; then a frame of each comes back, which makes no block. */
static void in_pieces(struct rig *rig, void *context)
{
	uint64_t span = span_of(rig), free_frames = ledger_totals(rig->ledger)->free_frames;
	unsigned most = (unsigned)(free_frames / (span / FRAME_BYTES)) + 1, large = 0;
	struct space *space;

	ck_assert_int_eq(space_lab_new(&rig->lab, &space), 0);
	ck_assert_int_eq(space_lab_map(&rig->lab, space, BASE, BASE + most * span, LARGE), 0);
	space_lab_switch(&rig->lab, space);
	/* Until blocks are used up; and then small pages are still served. */
	for (; stats_of(rig)->large_refused == 0 && large < most; large++)
		touch(rig, space, BASE + large * span, MMU_WRITE, large);
	ck_assert_uint_gt(stats_of(rig)->faults[SPACE_FAULT_LARGE], 0);
	ck_assert_uint_eq(stats_of(rig)->faults[SPACE_FAULT_FRESH], 1);
	/* One frame of each comes back, and no block with them. */
	for (unsigned i = 0; i + 1 < large; i++)
		ck_assert_int_eq(space_lab_unmap(&rig->lab, space, BASE + i * span,
						 BASE + i * span + FRAME_BYTES),
				 0);
	touch(rig, space, BASE + (large - 1) * span + FRAME_BYTES, MMU_WRITE, 1);
	ck_assert_uint_eq(stats_of(rig)->faults[SPACE_FAULT_FRESH], 2);
	space_lab_audit(&rig->lab);
	space_lab_free(&rig->lab, space);
}

START_TEST(without_a_block_small_pages_do)
{
	const struct rig_config config = config_of(_i, "process");
	struct rig *rig = rig_new(&config);

	rig_run(rig, in_pieces, NULL);
	rig_stop(rig);
	rig_free(rig);
}
END_TEST

/* ---- every allocation fails once ---- */

struct failing {
	struct space *space, *child;
	int status;
};

static void prepare(struct rig *rig, void *context)
{
	struct failing *f = context;

	f->space = with_one_large_page(rig);
}

static void prepare_shared(struct rig *rig, void *context)
{
	struct failing *f = context;

	f->space = with_one_large_page(rig);
	ck_assert_int_eq(space_lab_fork(&rig->lab, f->space, &f->child), 0);
}

static void try_fork(struct rig *rig, void *context)
{
	struct failing *f = context;

	f->status = space_lab_fork(&rig->lab, f->space, &f->child);
}

static void try_cut(struct rig *rig, void *context)
{
	struct failing *f = context;
	uint64_t middle = BASE + span_of(rig) / 2;

	f->status = space_lab_unmap(&rig->lab, f->space, middle, middle + FRAME_BYTES);
}

static void try_protect(struct rig *rig, void *context)
{
	struct failing *f = context;
	uint64_t middle = BASE + span_of(rig) / 2;

	f->status =
		space_lab_protect(&rig->lab, f->space, middle, middle + FRAME_BYTES, SPACE_READ);
}

static void try_write(struct rig *rig, void *context)
{
	struct failing *f = context;
	uint64_t value = 31;

	f->status = rig_touch(rig, f->space, BASE + 8, MMU_WRITE, &value) == TOUCH_DONE
			    ? 0
			    : KERR_NO_MEMORY;
}

static void check_contents(struct rig *rig, void *context)
{
	struct failing *f = context;
	uint64_t value = 0;

	space_lab_audit(&rig->lab);
	touch(rig, f->space, BASE + span_of(rig) - 8, MMU_READ, 12);
	ck_assert_int_eq(rig_touch(rig, f->space, BASE + 8, MMU_READ, &value), TOUCH_DONE);
	ck_assert(value == 11 || value == 31);
}

static void finish(struct rig *rig, void *context)
{
	struct failing *f = context;

	if (f->child)
		space_lab_free(&rig->lab, f->child);
	space_lab_free(&rig->lab, f->space);
}

static const struct {
	const char *name;
	void (*prepare)(struct rig *, void *);
	void (*operation)(struct rig *, void *);
	unsigned least; /* allocations that can fail */
} failures[] = {
	{ "fork", prepare, try_fork, 1 },
	{ "unmap that cuts", prepare, try_cut, 1 },
	{ "protect that cuts", prepare, try_protect, 1 },
	{ "write to what is shared", prepare_shared, try_write, 2 },
};
#define FAILURES (int)G_N_ELEMENTS(failures)

/* False: the N-th allocation was not asked for. */
static bool fail_nth(const struct rig_config *config, int failure, unsigned n)
{
	struct rig *rig = rig_new(config);
	struct failing f = { 0 };

	rig_run(rig, failures[failure].prepare, &f);
	uint64_t refusals = rig->lab.refusals;
	rig->lab.fail_at = rig->lab.requests + n;
	rig_run(rig, failures[failure].operation, &f);
	bool failed = rig->lab.refusals > refusals;
	ck_assert_msg(f.status == (failed ? KERR_NO_MEMORY : 0), "%s, allocation %u: %d",
		      failures[failure].name, n, f.status);
	rig->lab.fail_at = 0;
	rig_run(rig, check_contents, &f);
	rig_expect_clean(rig);
	if (failed) {
		rig_run(rig, failures[failure].operation, &f);
		ck_assert_int_eq(f.status, 0);
	}
	rig_run(rig, finish, &f);
	rig_stop(rig);
	rig_free(rig);
	return failed;
}

START_TEST(any_allocation_that_fails_leaves_large_pages_whole)
{
	const struct rig_config config = config_of(_i / FAILURES, "process");
	unsigned n = 1;

	while (fail_nth(&config, _i % FAILURES, n))
		n++;
	/* A pool may have what is asked for. */
	if (strcmp(cells[_i / FAILURES].tables, "pool") != 0)
		ck_assert_uint_ge(n - 1, failures[_i % FAILURES].least);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("large pages");
	TCase *tcase = tcase_create("large");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, large_pages_come_are_cut_are_shared_and_go, 0, CELLS * STORIES);
	tcase_add_loop_test(tcase, who_gets_large_pages, 0, G_N_ELEMENTS(places));
	tcase_add_loop_test(tcase, without_a_block_small_pages_do, 0, CELLS);
	tcase_add_loop_test(tcase, any_allocation_that_fails_leaves_large_pages_whole, 0,
			    CELLS * FAILURES);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
