/*
 * The stale checker (rules 7.4, 12.1-12.4): what it reports, and what software may do without a
 * report. Each scenario runs with the checker on, and once more with it off, where the same stale
 * use goes by without a word: the loop index says which.
 */
#include "tests/mmu/bench.h"

#define VA	0x1000ull
#define OLD	0x100000ull
#define NEW	0x200000ull
#define OTHER	0x2000ull /* under the same PDE */
#define REPORTS 64

static struct bench b;
static struct mmu_stale report[REPORTS];
static struct mmu_walk fresh[REPORTS];
static unsigned reports;
static uint64_t no_table; /* a frame that is no page table */
static struct mmu_table_read last_read;

static void on_stale(void *context, const struct mmu_stale *stale)
{
	ck_assert_ptr_eq(context, &b);
	ck_assert_ptr_eq(stale->cpu, b.cpu);
	ck_assert_uint_lt(reports, REPORTS);
	fresh[reports] = *stale->fresh;
	report[reports++] = *stale;
}

static bool is_table(void *context, const struct mmu_table_read *read)
{
	uint64_t frame = read->at.a & ~0xfffull;

	ck_assert_ptr_eq(context, &b);
	last_read = *read;
	return frame != no_table;
}

static void check_on(bool on)
{
	struct mmu_checker checker = { &b, on_stale, is_table };

	mmu_set_checker(b.cpu, on ? &checker : NULL);
}

static void setup(void)
{
	bench_init(&b, "tiny");
	bench_mode(&b, MMU_MODE_4LEVEL);
	reports = 0;
	no_table = 0;
}

static void teardown(void)
{
	bench_fini(&b);
}

/* The last access was the only one reported, as @kind; with the checker off nothing was. */
static void expect_report(bool on, enum mmu_stale_kind kind)
{
	ck_assert_uint_eq(reports, on ? 1 : 0);
	ck_assert_uint_eq(stats_of(&b).stale_uses, reports);
	if (on)
		ck_assert_uint_eq(report[0].kind, kind);
}

static void start(bool on, uint64_t leaf)
{
	check_on(on);
	bench_map64(&b, VA, 0, PWU, leaf);
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD);
	ck_assert_uint_eq(reports, 0);
}

START_TEST(unmapping_without_invlpg)
{
	start(_i, OLD | PWU);
	bench_map64(&b, VA, 0, PWU, 0);
	expect_at(&b, VA + 8, MMU_READ, MMU_USER, OLD + 8);
	expect_report(_i, MMU_STALE_UNMAPPED);
	if (_i) {
		ck_assert_uint_eq(report[0].va.a, VA + 8);
		ck_assert_uint_eq(report[0].used.a, OLD + 8);
		ck_assert_uint_eq(report[0].cached.page.a, OLD);
		ck_assert_uint_eq(report[0].source, MMU_FROM_L1);
		ck_assert_uint_eq(report[0].access.kind, MMU_READ);
		ck_assert_uint_eq(fresh[0].fault.vector, MMU_PF);
		ck_assert_uint_eq(fresh[0].count, 4);
	}
	mmu_invlpg(b.cpu, (struct vaddr){ VA });
	expect_pf(&b, VA, MMU_READ, MMU_USER, X86_PF_U);
	ck_assert_uint_eq(reports, _i ? 1 : 0);
}
END_TEST

START_TEST(remapping_without_invlpg)
{
	start(_i, OLD | PWU);
	bench_map64(&b, VA, 0, PWU, NEW | PWU);
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD);
	expect_report(_i, MMU_STALE_FRAME);
	if (_i)
		ck_assert_uint_eq(fresh[0].paddr.a, NEW);
}
END_TEST

START_TEST(write_protecting_without_invlpg)
{
	start(_i, OLD | PWU | D);
	bench_map64(&b, VA, 0, PWU, OLD | P | U | A | D);
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD);
	ck_assert_uint_eq(reports, 0); /* reading is still right */
	expect_at(&b, VA, MMU_WRITE, MMU_USER, OLD);
	expect_report(_i, MMU_STALE_RIGHTS);
}
END_TEST

START_TEST(clearing_dirty_without_invlpg)
{
	start(_i, OLD | PWU | D);
	bench_map64(&b, VA, 0, PWU, OLD | PWU | A);
	expect_at(&b, VA, MMU_WRITE, MMU_USER, OLD);
	expect_report(_i, MMU_STALE_DIRTY);
}
END_TEST

START_TEST(invlpg_of_the_wrong_page)
{
	start(_i, OLD | PWU);
	bench_map64(&b, VA, 0, PWU, NEW | PWU);
	mmu_invlpg(b.cpu, (struct vaddr){ VA + 0x1000 });
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD);
	expect_report(_i, MMU_STALE_FRAME);
}
END_TEST

START_TEST(invlpg_on_the_wrong_cpu)
{
	struct mmu_cpu *mine = b.cpu, *other = bench_cpu(&b, 1);
	struct mmu_shootdown request = { MMU_SHOOT_PAGES, 0, { VA }, 1 };

	start(_i, OLD | PWU);
	bench_map64(&b, VA, 0, PWU, NEW | PWU);
	ck_assert_uint_eq(mmu_load_state(other, &b.state).vector, 0);
	mmu_invlpg(other, (struct vaddr){ VA });
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD); /* the shootdown is missing */
	expect_report(_i, MMU_STALE_FRAME);
	mmu_post_shootdown(mine, &request);
	expect_at(&b, VA, MMU_READ, MMU_USER, NEW);
	ck_assert_uint_eq(reports, _i ? 1 : 0);
	free(other);
}
END_TEST

START_TEST(a_shootdown_that_comes_late)
{
	struct mmu_shootdown request = { MMU_SHOOT_PAGES, 0, { VA }, 1 };

	start(_i, OLD | PWU);
	mmu_hold_shootdowns(b.cpu, true);
	bench_map64(&b, VA, 0, PWU, NEW | PWU);
	mmu_post_shootdown(b.cpu, &request);
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD);
	expect_report(_i, MMU_STALE_FRAME);
}
END_TEST

/* 12.3: the page table is freed and reused while a PDE is still cached. */
START_TEST(a_recycled_page_table_is_walked_and_written)
{
	uint64_t leaf, table;

	start(_i, OLD | PWU);
	leaf = bench_map64(&b, OTHER, 0, PWU, 0);
	table = leaf & ~0xfffull;
	put64(&b, get64(&b, get64(&b, ROOT, 0) & ~0xfffull, 0) & ~0xfffull, 0, 0); /* the PDE */
	no_table = table;
	memset(b.ram.bytes + table, 0, 4096);
	put64(&b, table, 2, 0x1f7003); /* the new owner's data, that looks like an entry */
	expect_at(&b, OTHER, MMU_WRITE, MMU_SUPERVISOR, 0x1f7000);
	ck_assert_uint_eq(entry_at(&b, leaf), 0x1f7003 | A | D); /* and is corrupted */
	ck_assert_uint_eq(reports, _i ? 2 : 0);
	if (_i) {
		ck_assert_uint_eq(report[0].kind, MMU_STALE_TABLE);
		ck_assert_uint_eq(report[0].used.a, leaf);
		ck_assert_uint_eq(report[0].cached.page.a, table);
		ck_assert_uint_eq(report[1].kind, MMU_STALE_UNMAPPED);
	}
}
END_TEST

/* A checker that must judge frames is told whether memory leads there, and by which entry. */
START_TEST(a_table_read_says_what_leads_to_it)
{
	uint64_t leaf, pd;

	start(true, OLD | PWU);
	leaf = bench_map64(&b, OTHER, 0, PWU, NEW | PWU);
	pd = get64(&b, get64(&b, ROOT, 0) & ~0xfffull, 0) & ~0xfffull;
	expect_at(&b, OTHER, MMU_READ, MMU_USER, NEW); /* through the cached PDE */
	ck_assert_uint_eq(last_read.at.a, leaf);
	ck_assert(last_read.linked);
	ck_assert_uint_eq(last_read.parent.a, pd);
	put64(&b, pd, 0, 0);
	touch(&b, OTHER + 0x1000, MMU_READ, MMU_USER);
	ck_assert_uint_eq(last_read.at.a, leaf + 8);
	ck_assert(!last_read.linked);
	ck_assert_uint_eq(last_read.parent.a, MMU_NO_PARENT);
}
END_TEST

/* The same, but the frame was cleared: the walk faults where a fresh one would not. */
START_TEST(a_stale_table_makes_a_page_seem_unmapped)
{
	uint64_t pde, pd, table;

	start(_i, OLD | PWU);
	pd = get64(&b, get64(&b, ROOT, 0) & ~0xfffull, 0) & ~0xfffull;
	pde = get64(&b, pd, 0);
	table = bench_table(&b);
	put64(&b, pd, 0, table | PWU);
	put64(&b, table, 2, NEW | PWU);
	expect_pf(&b, OTHER, MMU_READ, MMU_USER, X86_PF_U);
	expect_report(_i, MMU_STALE_FAULT);
	if (_i)
		ck_assert_uint_eq(report[0].used.a, pde & ~0xfffull);
	expect_at(&b, OTHER, MMU_READ, MMU_USER, NEW); /* 6.4: dropped */
}
END_TEST

START_TEST(changes_that_need_no_invalidation_are_no_reports)
{
	check_on(true);
	bench_map64(&b, VA, 0, PWU, 0);
	expect_pf(&b, VA, MMU_READ, MMU_USER, X86_PF_U);
	bench_map64(&b, VA, 0, PWU, OLD | P | U);
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD);
	bench_map64(&b, VA, 0, PWU, OLD | PWU); /* more rights, A cleared */
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD);
	expect_pf(&b, VA, MMU_WRITE, MMU_USER, X86_PF_P | X86_PF_W | X86_PF_U); /* spurious */
	expect_at(&b, VA, MMU_WRITE, MMU_USER, OLD);
	ck_assert_uint_eq(reports, 0);
}
END_TEST

START_TEST(the_checker_changes_no_statistics)
{
	struct mmu_statistics s[2];

	for (unsigned on = 0; on < 2; on++) {
		teardown();
		setup();
		check_on(on);
		for (unsigned page = 0; page < 40; page++)
			bench_map64(&b, page * 0x1000ull, 0, PWU, (page + 256) * 0x1000ull | PWU);
		for (unsigned n = 0; n < 5000; n++)
			touch(&b, n * n % 40 * 0x1000ull, n % 3 ? MMU_READ : MMU_WRITE, MMU_USER);
		s[on] = stats_of(&b);
	}
	ck_assert_int_eq(memcmp(&s[0], &s[1], sizeof(s[0])), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mmu: stale checker");
	TCase *tc = tcase_create("stale");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, unmapping_without_invlpg, 0, 2);
	tcase_add_loop_test(tc, remapping_without_invlpg, 0, 2);
	tcase_add_loop_test(tc, write_protecting_without_invlpg, 0, 2);
	tcase_add_loop_test(tc, clearing_dirty_without_invlpg, 0, 2);
	tcase_add_loop_test(tc, invlpg_of_the_wrong_page, 0, 2);
	tcase_add_loop_test(tc, invlpg_on_the_wrong_cpu, 0, 2);
	tcase_add_loop_test(tc, a_shootdown_that_comes_late, 0, 2);
	tcase_add_loop_test(tc, a_recycled_page_table_is_walked_and_written, 0, 2);
	tcase_add_test(tc, a_table_read_says_what_leads_to_it);
	tcase_add_loop_test(tc, a_stale_table_makes_a_page_seem_unmapped, 0, 2);
	tcase_add_test(tc, changes_that_need_no_invalidation_are_no_reports);
	tcase_add_test(tc, the_checker_changes_no_statistics);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
