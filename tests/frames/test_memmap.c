/*
 * Firmware maps in, usable frames out. The drawings are in frames; one letter a frame: u usable,
 * R reserved.
 */
#include <check.h>
#include <string.h>
#include "alloc/memmap.h"

#define USABLE	    1, 0
#define RESERVED    2, 0
#define F(n)	    ((uint64_t)(n) << 12)
#define ENTRIES_MAX 6
#define RANGES_MAX  6

static const struct {
	const char *name;
	struct firmware_range in[ENTRIES_MAX];
	uint64_t limit;
	struct frame_range want[RANGES_MAX];
} cases[] = {
	{ "nothing at all", { { 0 } }, UINT64_MAX, { { { 0 }, 0 } } },
	{ "one range; frame 0 stays out", { { 0, F(8), USABLE } }, UINT64_MAX, { { { 1 }, 7 } } },
	{ "unsorted",
	  { { F(20), F(5), USABLE }, { F(10), F(5), USABLE } },
	  UINT64_MAX,
	  { { { 10 }, 5 }, { { 20 }, 5 } } },
	{ "neighbours become one",
	  { { F(10), F(5), USABLE }, { F(15), F(5), USABLE } },
	  UINT64_MAX,
	  { { { 10 }, 10 } } },
	{ "neighbours that meet inside a frame give that frame",
	  { { F(10), F(5) + 100, USABLE }, { F(15) + 100, F(5) - 100, USABLE } },
	  UINT64_MAX,
	  { { { 10 }, 10 } } },
	{ "overlapping usable ranges count once",
	  { { F(10), F(8), USABLE }, { F(14), F(8), USABLE }, { F(11), F(2), USABLE } },
	  UINT64_MAX,
	  { { { 10 }, 12 } } },
	{ "the same twice",
	  { { F(10), F(8), USABLE }, { F(10), F(8), USABLE } },
	  UINT64_MAX,
	  { { { 10 }, 8 } } },
	{ "reserved in the middle splits",
	  { { F(10), F(20), USABLE }, { F(15), F(3), RESERVED } },
	  UINT64_MAX,
	  { { { 10 }, 5 }, { { 18 }, 12 } } },
	{ "reserved first in the list wins too",
	  { { F(15), F(3), RESERVED }, { F(10), F(20), USABLE } },
	  UINT64_MAX,
	  { { { 10 }, 5 }, { { 18 }, 12 } } },
	{ "one reserved byte takes its frame",
	  { { F(10), F(20), USABLE }, { F(15) + 7, 1, RESERVED } },
	  UINT64_MAX,
	  { { { 10 }, 5 }, { { 16 }, 14 } } },
	{ "reserved over everything",
	  { { F(10), F(20), USABLE }, { F(5), F(100), RESERVED } },
	  UINT64_MAX,
	  { { { 0 }, 0 } } },
	{ "reserved ranges that overlap each other",
	  { { F(10), F(20), USABLE }, { F(12), F(4), RESERVED }, { F(14), F(4), RESERVED } },
	  UINT64_MAX,
	  { { { 10 }, 2 }, { { 18 }, 12 } } },
	{ "reserved at both ends",
	  { { F(10), F(20), USABLE }, { F(8), F(4), RESERVED }, { F(28), F(9), RESERVED } },
	  UINT64_MAX,
	  { { { 12 }, 16 } } },
	{ "unknown types are claims",
	  { { F(10), F(20), USABLE }, { F(15), F(5), 0, 0 }, { F(25), F(5), 77, 0 } },
	  UINT64_MAX,
	  { { { 10 }, 5 }, { { 20 }, 5 } } },
	{ "empty entries mean nothing",
	  { { F(10), F(20), USABLE }, { F(15), 0, RESERVED }, { F(50), 0, USABLE } },
	  UINT64_MAX,
	  { { { 10 }, 20 } } },
	{ "frames usable in part are not usable",
	  { { F(10) + 1, F(3), USABLE } },
	  UINT64_MAX,
	  { { { 11 }, 2 } } },
	{ "less than a frame", { { F(10) + 1, 4095, USABLE } }, UINT64_MAX, { { { 0 }, 0 } } },
	{ "less than a frame across a boundary",
	  { { F(10) + 2048, 4096, USABLE } },
	  UINT64_MAX,
	  { { { 0 }, 0 } } },
	{ "to 2^64", /* the last frame of the address space falls off */
	  { { F(10), UINT64_MAX - F(10) + 1 - 4096, USABLE } },
	  UINT64_MAX,
	  { { { 10 }, (1ull << 52) - 11 } } },
	{ "past 2^64",
	  { { F(10), UINT64_MAX, USABLE }, { F(20), UINT64_MAX, RESERVED } },
	  UINT64_MAX,
	  { { { 10 }, 10 } } },
	{ "the limit cuts",
	  { { F(10), F(20), USABLE }, { F(40), F(5), USABLE } },
	  25,
	  { { { 10 }, 15 } } },
	{ "the limit before everything", { { F(10), F(20), USABLE } }, 10, { { { 0 }, 0 } } },
	{ "a PC's first mebibyte",
	  { { 0, 0x9fc00, USABLE },
	    { 0x9fc00, 0x400, RESERVED },
	    { 0xf0000, 0x10000, RESERVED },
	    { 0x100000, F(1000), USABLE } },
	  UINT64_MAX,
	  { { { 1 }, 158 }, { { 256 }, 1000 } } },
};
#define CASES ((int)(sizeof(cases) / sizeof(cases[0])))

static uint32_t entries_of(const struct firmware_range *in)
{
	uint32_t n = 0;

	while (n < ENTRIES_MAX && (in[n].base || in[n].bytes))
		n++;
	return n;
}

START_TEST(normalises)
{
	struct frame_range ranges[MEMMAP_RANGES_MAX(ENTRIES_MAX)];
	struct memmap map;
	uint64_t frames = 0;
	uint32_t n = 0;

	ck_assert_int_eq(memmap_normalise(cases[_i].in, entries_of(cases[_i].in),
					  (struct pfn){ cases[_i].limit }, ranges,
					  MEMMAP_RANGES_MAX(ENTRIES_MAX), &map),
			 0);
	for (; n < RANGES_MAX && cases[_i].want[n].frames; n++) {
		ck_assert_msg(n < map.count, "%s: range %u is missing", cases[_i].name, n);
		ck_assert_msg(map.ranges[n].first.n == cases[_i].want[n].first.n &&
				      map.ranges[n].frames == cases[_i].want[n].frames,
			      "%s: range %u is [%lu, +%lu)", cases[_i].name, n,
			      map.ranges[n].first.n, map.ranges[n].frames);
		frames += map.ranges[n].frames;
	}
	ck_assert_msg(map.count == n, "%s: %u ranges", cases[_i].name, map.count);
	ck_assert_msg(map.frames == frames, "%s: %lu frames", cases[_i].name, map.frames);
	ck_assert_msg(memmap_is_sound(&map), "%s: not sound", cases[_i].name);
	ck_assert_uint_eq(map.first.n, n ? map.ranges[0].first.n : 0);
}
END_TEST

START_TEST(more_ranges_than_room_is_too_small)
{
	const struct firmware_range in[] = { { F(10), F(20), USABLE }, { F(15), F(3), RESERVED } };
	struct frame_range ranges[2];
	struct memmap map;
	const struct pfn no_limit = { UINT64_MAX };

	ck_assert_int_eq(memmap_normalise(in, 2, no_limit, ranges, 1, &map), KERR_TOO_SMALL);
	ck_assert_int_eq(memmap_normalise(in, 2, no_limit, ranges, 2, &map), 0);
	ck_assert_int_eq(memmap_normalise(in, 2, no_limit, ranges, 0, &map), KERR_TOO_SMALL);
}
END_TEST

/* Every map of four entries over eleven frames against a byte a frame. */
START_TEST(agrees_with_a_naive_model)
{
	uint64_t random = (uint64_t)_i * 2654435761u + 1;

	for (int round = 0; round < 2000; round++) {
		struct firmware_range in[4];
		struct frame_range ranges[MEMMAP_RANGES_MAX(4)];
		struct memmap map;
		char usable[12] = { 0 };
		uint64_t total = 0;

		for (int e = 0; e < 4; e++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			in[e] = (struct firmware_range){ F(random >> 60 & 7), F(random >> 50 & 3),
							 1 + (random >> 40 & 1), 0 };
		}
		for (int pass = 1; pass <= 2; pass++)
			for (int e = 0; e < 4; e++)
				if (in[e].type == (uint32_t)pass)
					memset(usable + (in[e].base >> 12), pass == 1,
					       in[e].bytes >> 12);
		usable[0] = 0;
		ck_assert_int_eq(memmap_normalise(in, 4, (struct pfn){ 100 }, ranges,
						  MEMMAP_RANGES_MAX(4), &map),
				 0);
		ck_assert(memmap_is_sound(&map));
		for (uint64_t f = 0; f < 12; f++) {
			ck_assert_int_eq(memmap_holds(&map, (struct pfn){ f }, 1), usable[f]);
			total += (uint64_t)usable[f];
		}
		ck_assert_uint_eq(map.frames, total);
	}
}
END_TEST

/*	[10 .......... 20)   [30 .......... 40)	*/
static void two_ranges(struct frame_range *ranges, struct memmap *map)
{
	ranges[0] = (struct frame_range){ { 10 }, 10 };
	ranges[1] = (struct frame_range){ { 30 }, 10 };
	*map = (struct memmap){ ranges, 2, 20, { 10 }, { 40 } };
}

static const struct {
	const char *name;
	struct frame_range taken;
	struct frame_range want[3];
} removals[] = {
	{ "nothing", { { 12 }, 0 }, { { { 10 }, 10 }, { { 30 }, 10 } } },
	{ "a hole", { { 20 }, 10 }, { { { 10 }, 10 }, { { 30 }, 10 } } },
	{ "the head", { { 5 }, 7 }, { { { 12 }, 8 }, { { 30 }, 10 } } },
	{ "the tail", { { 18 }, 5 }, { { { 10 }, 8 }, { { 30 }, 10 } } },
	{ "the middle", { { 13 }, 2 }, { { { 10 }, 3 }, { { 15 }, 5 }, { { 30 }, 10 } } },
	{ "the middle of the last",
	  { { 33 }, 2 },
	  { { { 10 }, 10 }, { { 30 }, 3 }, { { 35 }, 5 } } },
	{ "a whole range", { { 10 }, 10 }, { { { 30 }, 10 } } },
	{ "across two", { { 15 }, 20 }, { { { 10 }, 5 }, { { 35 }, 5 } } },
	{ "everything", { { 0 }, UINT64_MAX }, { { { 0 }, 0 } } },
};

START_TEST(removes)
{
	struct frame_range ranges[3];
	struct memmap map;
	uint32_t n = 0;

	two_ranges(ranges, &map);
	ck_assert_int_eq(memmap_remove(ranges, 3, &map, removals[_i].taken), 0);
	for (; n < 3 && removals[_i].want[n].frames; n++)
		ck_assert_msg(n < map.count && ranges[n].first.n == removals[_i].want[n].first.n &&
				      ranges[n].frames == removals[_i].want[n].frames,
			      "%s: range %u", removals[_i].name, n);
	ck_assert_msg(map.count == n && memmap_is_sound(&map), "%s", removals[_i].name);
}
END_TEST

START_TEST(a_split_without_room_changes_nothing)
{
	struct frame_range ranges[2];
	struct memmap map;

	two_ranges(ranges, &map);
	ck_assert_int_eq(memmap_remove(ranges, 2, &map, (struct frame_range){ { 13 }, 2 }),
			 KERR_TOO_SMALL);
	ck_assert_uint_eq(map.count, 2);
	ck_assert_uint_eq(map.frames, 20);
}
END_TEST

START_TEST(finds_what_it_holds)
{
	struct frame_range ranges[2];
	struct memmap map;

	two_ranges(ranges, &map);
	ck_assert(memmap_holds(&map, (struct pfn){ 10 }, 10));
	ck_assert(!memmap_holds(&map, (struct pfn){ 10 }, 11));
	ck_assert(!memmap_holds(&map, (struct pfn){ 9 }, 1));
	ck_assert(!memmap_holds(&map, (struct pfn){ 25 }, 1));
	ck_assert(memmap_holds(&map, (struct pfn){ 39 }, 1));
	ck_assert(!memmap_holds(&map, (struct pfn){ 39 }, UINT64_MAX));
	ck_assert(!memmap_holds(&map, (struct pfn){ 40 }, 1));
	ck_assert_uint_eq(memmap_largest(&map).first.n, 10);
}
END_TEST

START_TEST(unsound_maps_are_told)
{
	struct frame_range ranges[2];
	struct memmap map;

	two_ranges(ranges, &map);
	ck_assert(memmap_is_sound(&map));
	ranges[1].first.n = 20;
	map.end.n = 30;
	ck_assert_msg(!memmap_is_sound(&map), "ranges that touch");
	two_ranges(ranges, &map);
	ranges[1].frames = 0;
	ck_assert_msg(!memmap_is_sound(&map), "an empty range");
	two_ranges(ranges, &map);
	map.frames++;
	ck_assert_msg(!memmap_is_sound(&map), "a wrong sum");
	two_ranges(ranges, &map);
	map.end.n++;
	ck_assert_msg(!memmap_is_sound(&map), "a wrong end");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("memmap");
	TCase *t = tcase_create("normalise");

	tcase_add_loop_test(t, normalises, 0, CASES);
	tcase_add_test(t, more_ranges_than_room_is_too_small);
	tcase_add_loop_test(t, agrees_with_a_naive_model, 0, 5);
	suite_add_tcase(s, t);
	t = tcase_create("remove and find");
	tcase_add_loop_test(t, removes, 0, (int)(sizeof(removals) / sizeof(removals[0])));
	tcase_add_test(t, a_split_without_room_changes_nothing);
	tcase_add_test(t, finds_what_it_holds);
	tcase_add_test(t, unsound_maps_are_told);
	suite_add_tcase(s, t);

	SRunner *runner = srunner_create(s);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}
