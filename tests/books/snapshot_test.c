/*
 * Snapshots of /proc files: real ones, and what garbage may look like.
 */
#include "sim/snapshot.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char buddyinfo[] =
	"Node 0, zone      DMA     10      8      6      3      3      2      2      1      0      "
	"0      0 \n"
	"Node 0, zone    DMA32      1      1     12     10      7      2      8      3      0      "
	"0      0 \n";

static const char meminfo[] = "MemTotal:         400588 kB\n"
			      "MemFree:            6100 kB\n"
			      "MemAvailable:     368716 kB\n";

/* As Linux 6.1 prints it, shortened. */
static const char zoneinfo[] = "Node 0, zone      DMA\n"
			       "  per-node stats\n"
			       "      nr_inactive_anon 81\n"
			       "  pages free     442\n"
			       "        boost    0\n"
			       "        high     36\n"
			       "        managed  3840\n"
			       "        protection: (0, 366, 366, 366, 366)\n"
			       "      nr_free_pages 442\n"
			       "  pagesets\n"
			       "    cpu: 0\n"
			       "              count: 0\n"
			       "              high:  15\n"
			       "    cpu: 1\n"
			       "              count: 3\n"
			       "  vm stats threshold: 4\n"
			       "  node_unreclaimable:  0\n"
			       "  start_pfn:           1\n"
			       "Node 0, zone    DMA32\n"
			       "  pages free     1172\n"
			       "        managed  96307\n"
			       "  pagesets\n"
			       "    cpu: 0\n"
			       "              count: 245\n"
			       "    cpu: 1\n"
			       "              count: 101\n"
			       "Node 0, zone   Normal\n"
			       "  pages free     0\n"
			       "        managed  0\n";

static bool parse(struct snapshot *snapshot, const char *name, const char *text)
{
	unsigned bad_line;

	return snapshot_parse(snapshot, name, text, strlen(text), &bad_line);
}

START_TEST(real_files_add_up)
{
	static const uint64_t blocks[] = { 11, 9, 18, 13, 10, 4, 10, 4, 0, 0, 0 };
	struct snapshot snapshot = { 0 };

	ck_assert(parse(&snapshot, "buddyinfo", buddyinfo));
	ck_assert(parse(&snapshot, "meminfo", meminfo));
	ck_assert(parse(&snapshot, "zoneinfo", zoneinfo));
	ck_assert(snapshot.has_buddyinfo && snapshot.has_meminfo && snapshot.has_zoneinfo);
	ck_assert_mem_eq(snapshot.all.free_blocks, blocks, sizeof(blocks));
	ck_assert_uint_eq(snapshot.mem_free_frames, 1525);
	ck_assert_uint_eq(snapshot.all.free_frames, 1614);
	ck_assert_uint_eq(snapshot.all.managed_frames, 100147);
	ck_assert_uint_eq(snapshot.all.per_cpu_frames, 349);
	ck_assert_uint_eq(snapshot.zone_count, 3);
	ck_assert_str_eq(snapshot.zones[1].name, "DMA32");
	ck_assert_uint_eq(snapshot.zones[1].free_blocks[6], 8);
	ck_assert_uint_eq(snapshot.zones[1].per_cpu_frames, 346);
}
END_TEST

START_TEST(a_file_parsed_anew_replaces_its_figures)
{
	struct snapshot snapshot = { 0 };

	for (unsigned i = 0; i < 2; i++) {
		ck_assert(parse(&snapshot, "zoneinfo", zoneinfo));
		ck_assert(parse(&snapshot, "buddyinfo", buddyinfo));
	}
	ck_assert_uint_eq(snapshot.all.free_blocks[0], 11);
	ck_assert_uint_eq(snapshot.all.per_cpu_frames, 349);
	ck_assert_uint_eq(snapshot.zone_count, 3);
}
END_TEST

START_TEST(orders_above_ten_count_as_blocks_of_order_ten)
{
	struct snapshot snapshot = { 0 };

	ck_assert(parse(&snapshot, "buddyinfo", "Node 1, zone Normal 1 0 0 0 0 0 0 0 0 0 5 1 2\n"));
	ck_assert_uint_eq(snapshot.all.free_blocks[0], 1);
	ck_assert_uint_eq(snapshot.all.free_blocks[10], 5 + 2 + 2 * 4);
	ck_assert_uint_eq(snapshot.zones[0].node, 1);
}
END_TEST

START_TEST(other_files_say_nothing)
{
	struct snapshot snapshot = { 0 };

	ck_assert(parse(&snapshot, "vmstat", "nr_free_pages garbage"));
	ck_assert(!snapshot.has_buddyinfo && !snapshot.has_meminfo && !snapshot.has_zoneinfo);
}
END_TEST

static const struct {
	const char *name, *text;
	unsigned bad_line;
} garbage[] = {
	{ "buddyinfo", "", 0 },
	{ "buddyinfo", "\n \n", 0 },
	{ "buddyinfo", "Node", 1 },
	{ "buddyinfo", "Node 0, zone", 1 },
	{ "buddyinfo", "Node 0, zone DMA", 1 },
	{ "buddyinfo", "Node 0, zone DMA 1 2 x\n", 1 },
	{ "buddyinfo", "Node 0, zone DMA 1 2\nNode 0, zone DMA32 1 -2\n", 2 },
	{ "buddyinfo", "Node x, zone DMA 1 2\n", 1 },
	{ "buddyinfo", "Node 99999, zone DMA 1 2\n", 1 },
	{ "buddyinfo", "Node 0, zone DMA 99999999999999999999999\n", 1 },
	{ "buddyinfo", "Node 0, zone DMA 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21\n",
	  1 },
	{ "buddyinfo", "\377\376\001", 1 },
	{ "meminfo", "", 0 },
	{ "meminfo", "MemTotal: 5 kB\n", 0 },
	{ "meminfo", "MemTotal: 5 kB\nMemFree: lots\n", 2 },
	{ "meminfo", "MemFree: 12 MB\n", 1 },
	{ "meminfo", "MemFree: 12", 1 },
	{ "zoneinfo", "", 0 },
	{ "zoneinfo", "  pages free 5\n", 0 },
	{ "zoneinfo", "Node 0, zone DMA\n  pages free 5\n", 0 },
	{ "zoneinfo", "Node 0, zone DMA\n  pages free 5\nNode 0, zone DMA32\n", 3 },
	{ "zoneinfo", "Node 0, zone DMA\n  pages free many\n", 2 },
	{ "zoneinfo", "Node 0, zone DMA\n  pages free 5\n managed 6\n count: -1\n", 4 },
	{ "zoneinfo", "Node 0, zone DMA\n  pages free 5\n managed 6\nNode zero\n", 4 },
};

START_TEST(garbage_is_refused_by_line_and_changes_nothing)
{
	struct snapshot snapshot = { 0 }, before;
	unsigned bad_line = 77;

	ck_assert(parse(&snapshot, "buddyinfo", buddyinfo));
	before = snapshot;
	ck_assert_msg(!snapshot_parse(&snapshot, garbage[_i].name, garbage[_i].text,
				      strlen(garbage[_i].text), &bad_line),
		      "%s", garbage[_i].text);
	ck_assert_msg(bad_line == garbage[_i].bad_line, "%s: line %u", garbage[_i].text, bad_line);
	ck_assert_mem_eq(&snapshot, &before, sizeof(before));
}
END_TEST

/* Every prefix and every single-byte corruption, in exactly sized memory. Expect: no access beyond
 * it (the sanitizer's word), and no figure larger than the parser's bound allows. */
START_TEST(damaged_files_are_parsed_safely)
{
	static const char *const texts[] = { buddyinfo, meminfo, zoneinfo };
	static const char *const names[] = { "buddyinfo", "meminfo", "zoneinfo" };
	size_t size = strlen(texts[_i]);
	struct snapshot snapshot;
	unsigned bad_line;

	srandom((unsigned)_i);
	for (size_t bytes = 0; bytes < size * 4; bytes++) {
		size_t length = bytes < size ? bytes : size;
		char *copy = malloc(length + !length);

		memcpy(copy, texts[_i], length);
		if (bytes >= size)
			copy[random() % size] = (char)random();
		memset(&snapshot, 0, sizeof(snapshot));
		if (!snapshot_parse(&snapshot, names[_i], copy, length, &bad_line) &&
		    (snapshot.zone_count > 0 || bad_line > 60))
			ck_abort_msg("%zu bytes: line %u", bytes, bad_line);
		free(copy);
	}
}
END_TEST

START_TEST(too_many_zones_are_refused)
{
	static char text[64 * (SNAPSHOT_ZONES + 2)];
	struct snapshot snapshot = { 0 };
	unsigned bad_line;
	size_t used = 0;

	for (unsigned node = 0; node <= SNAPSHOT_ZONES; node++)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "Node %u, zone Normal 1 1\n", node);
	ck_assert(!snapshot_parse(&snapshot, "buddyinfo", text, used, &bad_line));
	ck_assert_uint_eq(bad_line, SNAPSHOT_ZONES + 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot");
	TCase *real = tcase_create("real"), *damaged = tcase_create("damaged");
	SRunner *runner;
	int failed;

	tcase_add_test(real, real_files_add_up);
	tcase_add_test(real, a_file_parsed_anew_replaces_its_figures);
	tcase_add_test(real, orders_above_ten_count_as_blocks_of_order_ten);
	tcase_add_test(real, other_files_say_nothing);
	tcase_add_loop_test(damaged, garbage_is_refused_by_line_and_changes_nothing, 0,
			    sizeof(garbage) / sizeof(garbage[0]));
	tcase_add_loop_test(damaged, damaged_files_are_parsed_safely, 0, 3);
	tcase_add_test(damaged, too_many_zones_are_refused);
	suite_add_tcase(suite, real);
	suite_add_tcase(suite, damaged);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
