#include <check.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include "workloads/import/map64.h"
#include "workloads/import/regions.h"
#include "workloads/import/text.h"
#include "workloads/event.h"

/* The parts that importers are made of. */

START_TEST(map64_behaves_as_a_hash_table)
{
	struct map64 map = { 0 };
	g_autoptr(GRand) random = g_rand_new_with_seed(3);
	g_autoptr(GHashTable) model = g_hash_table_new(g_direct_hash, g_direct_equal);

	for (int i = 0; i < 200000; i++) {
		/* Few keys with equal low bits, so that probes are long and deletions shift. */
		uint64_t key = (uint64_t)g_rand_int_range(random, 1, 3000) << 12;
		gpointer name = (gpointer)(uintptr_t)key;
		uint64_t value = 0;
		if (g_rand_boolean(random)) {
			map64_put(&map, key, (uint64_t)i + 1);
			g_hash_table_replace(model, name, GINT_TO_POINTER(i + 1));
		} else {
			gpointer want = g_hash_table_lookup(model, name);
			ck_assert(map64_remove(&map, key, &value) == (want != NULL));
			ck_assert_uint_eq(value, GPOINTER_TO_UINT(want));
			g_hash_table_remove(model, name);
		}
		ck_assert_uint_eq(map.used, g_hash_table_size(model));
	}
	map64_fini(&map);
}
END_TEST

static const struct {
	const char *text;
	bool number, pointer;
	uint64_t as_number, as_pointer;
} numbers[] = {
	{ "0", true, true, 0, 0 },
	{ "10", true, true, 10, 0x10 },
	{ "-1", true, false, UINT64_MAX, 0 },
	{ "0x1f", true, true, 0x1f, 0x1f },
	{ "ff1c51fb024d8000", false, true, 0, 0xff1c51fb024d8000 },
	{ "0xffffffffffffffff", true, true, UINT64_MAX, UINT64_MAX },
	{ "0x10000000000000000", false, false, 0, 0 },
	{ "9223372036854775807", true, false, INT64_MAX, 0 },
	{ "18446744073709551616", false, false, 0, 0 },
	{ "true", true, true, 1, 1 },
	{ "false", true, true, 0, 0 },
	{ "(nil)", true, true, 0, 0 },
	{ "(null)", true, true, 0, 0 },
	{ "", false, false, 0, 0 },
	{ "-", false, false, 0, 0 },
	{ "0x", false, false, 0, 0 },
	{ "12a", false, true, 0, 0x12a },
	{ "1 ", false, false, 0, 0 },
};

START_TEST(numbers_are_read_whole_or_not_at_all)
{
	const char *text = numbers[_i].text;
	struct span span = { text, text + strlen(text) };
	uint64_t value = 0;

	ck_assert_msg(text_number(span, &value) == numbers[_i].number, "'%s'", text);
	if (numbers[_i].number)
		ck_assert_msg(value == numbers[_i].as_number, "'%s'", text);
	ck_assert_msg(text_pointer(span, &value) == numbers[_i].pointer, "'%s'", text);
	if (numbers[_i].pointer)
		ck_assert_msg(value == numbers[_i].as_pointer, "'%s'", text);
}
END_TEST

START_TEST(regions_join_over_gaps_of_128_KiB_and_no_more)
{
	struct regions *regions = regions_new();
	struct region region;

	/* 32 pages lie between the first two touches, 33 before the third. */
	regions_touch(regions, 5, 0x1000, RIGHT_READ);
	regions_touch(regions, 5, 0x22000, RIGHT_WRITE);
	regions_touch(regions, 5, 0x44000, RIGHT_READ);
	regions_seal(regions);
	ck_assert(regions_missing(regions, 5, 0x22000, &region));
	ck_assert_uint_eq(region.address, 0x1000);
	ck_assert_uint_eq(region.bytes, 0x22000);
	ck_assert(!regions_missing(regions, 5, 0x1000, &region));
	ck_assert(regions_missing(regions, 5, 0x44000, &region));
	ck_assert_uint_eq(region.bytes, 0x1000);
	regions_free(regions);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("import parts");
	TCase *tcase = tcase_create("parts");

	tcase_add_test(tcase, map64_behaves_as_a_hash_table);
	tcase_add_loop_test(tcase, numbers_are_read_whole_or_not_at_all, 0, G_N_ELEMENTS(numbers));
	tcase_add_test(tcase, regions_join_over_gaps_of_128_KiB_and_no_more);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
