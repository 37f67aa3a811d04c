/*
 * Metric 11: runs by hand, and random mappings against a page-by-page count.
 */
#include "sim/contiguity.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>

START_TEST(a_run_needs_neighbours_in_addresses_and_in_frames)
{
	struct contiguity c = { 0 };

	contiguity_add(&c, 10, 100, 1);
	contiguity_add(&c, 11, 101, 1); /* goes on */
	contiguity_add(&c, 13, 102, 1); /* a hole in addresses */
	contiguity_add(&c, 14, 104, 1); /* and one in frames */
	contiguity_end_space(&c);
	contiguity_add(&c, 15, 105, 1); /* another space */
	contiguity_end_space(&c);
	ck_assert_uint_eq(c.pages, 5);
	ck_assert_uint_eq(c.runs, 4);
	ck_assert_double_eq_tol(contiguity_share(&c, 1), 1, 1e-12);
	ck_assert_double_eq_tol(contiguity_share(&c, 2), 0.4, 1e-12);
	ck_assert_double_eq_tol(contiguity_share(&c, 3), 0, 1e-12);
	ck_assert_uint_eq(contiguity_runs_for_99_percent(&c), 4);
	contiguity_clear(&c);
}
END_TEST

START_TEST(ninety_nine_percent_need_the_longest_runs_only)
{
	struct contiguity c = { 0 };

	/* 2000 + 900 + 80 of 3000 pages are 99.3 %; the first two alone 96.7 %. */
	contiguity_add(&c, 0, 5000, 80);
	contiguity_add(&c, 100, 10000, 2000);
	contiguity_add(&c, 3000, 0, 900);
	for (unsigned i = 0; i < 20; i++)
		contiguity_add(&c, 8000 + 2 * i, 20000 + 2 * i, 1);
	contiguity_end_space(&c);
	ck_assert_uint_eq(c.pages, 3000);
	ck_assert_uint_eq(contiguity_runs_for_99_percent(&c), 3);
	ck_assert_double_eq_tol(contiguity_share(&c, 1024), 2000.0 / 3000, 1e-12);
	ck_assert_double_eq_tol(contiguity_share(&c, 2001), 0, 1e-12);
	contiguity_clear(&c);
}
END_TEST

START_TEST(an_entry_needs_alignment_in_both)
{
	struct contiguity c = { 0 };

	/* Two 2 MiB and 3 pages, aligned; 512 pages whose frames are off by one; 16 pages that are
	 * aligned in frames and addresses by 16, with one page on either side. */
	contiguity_add(&c, 0, 512, 1027);
	contiguity_add(&c, 4096, 8193, 512);
	contiguity_add(&c, 10015, 20015 - 16, 18);
	contiguity_end_space(&c);
	ck_assert_uint_eq(contiguity_entries(&c, 0), 1027 + 512 + 18);
	ck_assert_uint_eq(contiguity_entries(&c, 1), (64 + 3) + 512 + (1 + 2));
	ck_assert_uint_eq(contiguity_entries(&c, 2), (2 + 3) + 512 + (1 + 2));
	ck_assert_uint_eq(contiguity_entries(&c, 3), contiguity_entries(&c, 2));
	ck_assert_uint_eq(contiguity_reach(&c, 0, 7), 7);
	ck_assert_uint_eq(contiguity_reach(&c, 1, 65), 65 * 16);
	ck_assert_uint_eq(contiguity_reach(&c, 1, 66), 65 * 16 + 1);
	ck_assert_uint_eq(contiguity_reach(&c, 2, 1), 512);
	ck_assert_uint_eq(contiguity_reach(&c, 2, 4), 1024 + 16 + 1);
	ck_assert_uint_eq(contiguity_reach(&c, 2, 100000), c.pages);
	contiguity_clear(&c);
}
END_TEST

/* ---- against a count page by page ---- */

#define SPAN 4096u
#define NONE UINT64_MAX

static bool block_at(const uint64_t *frame, uint64_t page, uint64_t size)
{
	if (page % size || page + size > SPAN || frame[page] == NONE || frame[page] % size)
		return false;
	for (uint64_t i = 1; i < size; i++)
		if (frame[page + i] != frame[page] + i)
			return false;
	return true;
}

static uint64_t count_entries(const uint64_t *frame, unsigned top)
{
	static const uint64_t sizes[] = { 1, 16, 512 };
	uint64_t entries = 0;

	for (uint64_t page = 0; page < SPAN;) {
		unsigned size = top + 1;
		while (size > 0 && !block_at(frame, page, sizes[size - 1]))
			size--;
		entries += size > 0;
		page += size > 0 ? sizes[size - 1] : 1;
	}
	return entries;
}

static void draw(GRand *random, uint64_t *frame)
{
	for (uint64_t page = 0; page < SPAN;) {
		static const int32_t most[] = { 3, 40, 1500 };
		uint64_t length = (uint64_t)g_rand_int_range(random, 1, most[page % 3]);
		uint64_t first = (uint64_t)g_rand_int_range(random, 0, 100) * 4096 + page +
				 (g_rand_boolean(random) ? 0 : 1);
		bool hole = g_rand_int_range(random, 0, 4) == 0;
		for (uint64_t i = 0; i < length && page < SPAN; i++, page++)
			frame[page] = hole ? NONE : first + i;
	}
}

START_TEST(random_mappings_count_as_page_by_page)
{
	GRand *random = g_rand_new_with_seed((guint32)_i);
	uint64_t frame[SPAN], in_long = 0, runs = 0;
	struct contiguity c = { 0 };

	draw(random, frame);
	for (uint64_t page = 0, begin = 0; page < SPAN; page++) {
		if (frame[page] == NONE)
			continue;
		contiguity_add(&c, page, frame[page], 1);
		if (page == 0 || frame[page - 1] == NONE || frame[page - 1] + 1 != frame[page])
			begin = page;
		if (page + 1 == SPAN || frame[page + 1] != frame[page] + 1) {
			runs++;
			in_long += page + 1 - begin >= 16 ? page + 1 - begin : 0;
		}
	}
	contiguity_end_space(&c);
	ck_assert_uint_eq(c.runs, runs);
	ck_assert_double_eq_tol(contiguity_share(&c, 16), (double)in_long / (double)c.pages, 1e-12);
	for (unsigned size = 0; size < 3; size++)
		ck_assert_uint_eq(contiguity_entries(&c, size), count_entries(frame, size));
	contiguity_clear(&c);
	g_rand_free(random);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("contiguity");
	TCase *tcase = tcase_create("runs");

	tcase_add_test(tcase, a_run_needs_neighbours_in_addresses_and_in_frames);
	tcase_add_test(tcase, ninety_nine_percent_need_the_longest_runs_only);
	tcase_add_test(tcase, an_entry_needs_alignment_in_both);
	tcase_add_loop_test(tcase, random_mappings_count_as_page_by_page, 0, 100);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
