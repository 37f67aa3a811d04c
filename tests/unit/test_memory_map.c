#include "workloads/memory_map.h"
#include "workloads/trace.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static GArray *parse(const char *text, GError **error)
{
	return memory_map_parse(text, strlen(text), "dmesg.txt", error);
}

static const struct {
	const char *name, *text;
	struct memory_range want[3];
	unsigned count;
} good_cases[] = {
	{ "plain line",
	  "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n",
	  { { 0, 0x9fc00, MEMORY_USABLE, 0 } },
	  1 },
	{ "dmesg with time stamps and other lines",
	  "[    0.000000] BIOS-provided physical RAM map:\n"
	  "[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n"
	  "[    0.000000] BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved\n"
	  "[    0.000000] e820: update [mem 0x00000000-0x00000fff] usable ==> reserved\n"
	  "[    0.000000] e820: remove [mem 0x000a0000-0x000fffff] usable\n"
	  "[    0.010000] [mem 0x20000000-0xfeffbfff] available for PCI devices\n",
	  { { 0, 0x9fc00, MEMORY_USABLE, 0 }, { 0x9fc00, 0x400, MEMORY_RESERVED, 0 } },
	  2 },
	{ "raw kernel log levels",
	  "<6>[    0.000000] BIOS-e820: [mem 0x1000-0x1fff] ACPI data\n",
	  { { 0x1000, 0x1000, MEMORY_ACPI_RECLAIMABLE, 0 } },
	  1 },
	{ "journal prefix and carriage return",
	  "Nov 20 12:00:00 host kernel: BIOS-e820: [mem 0x1000-0x1fff] ACPI NVS\r\n",
	  { { 0x1000, 0x1000, MEMORY_ACPI_NVS, 0 } },
	  1 },
	{ "bare ranges",
	  "[mem 0x0-0xfff] unusable\n[    0.000000] [mem 0x1000-0x1fff] usable",
	  { { 0, 0x1000, MEMORY_UNUSABLE, 0 }, { 0x1000, 0x1000, MEMORY_USABLE, 0 } },
	  2 },
	{ "persistent memory of both numbers, soft reserved",
	  "BIOS-e820: [mem 0x0-0xfff] persistent (type 7)\n"
	  "BIOS-e820: [mem 0x0-0xfff] persistent (type 12)\n"
	  "BIOS-e820: [mem 0x0-0xfff] soft reserved\n",
	  { { 0, 0x1000, MEMORY_PERSISTENT, 0 },
	    { 0, 0x1000, MEMORY_PERSISTENT_OLD, 0 },
	    { 0, 0x1000, MEMORY_SOFT_RESERVED, 0 } },
	  3 },
	{ "a type that only has a number",
	  "BIOS-e820: [mem 0x0-0xfff] type 20\n",
	  { { 0, 0x1000, 20, 0 } },
	  1 },
	{ "overlaps and disorder are kept",
	  "BIOS-e820: [mem 0x2000-0x2fff] usable\nBIOS-e820: [mem 0x1000-0x2fff] reserved\n",
	  { { 0x2000, 0x1000, MEMORY_USABLE, 0 }, { 0x1000, 0x2000, MEMORY_RESERVED, 0 } },
	  2 },
	{ "the last byte of 64 bits",
	  "BIOS-e820: [mem 0xfffffffffffff000-0xffffffffffffffff] reserved\n",
	  { { 0xfffffffffffff000, 0x1000, MEMORY_RESERVED, 0 } },
	  1 },
	{ "one byte",
	  "BIOS-e820: [mem 0x1000-0x1000] usable\n",
	  { { 0x1000, 1, MEMORY_USABLE, 0 } },
	  1 },
};

START_TEST(firmware_lines_become_ranges)
{
	GError *error = NULL;
	const char *name = good_cases[_i].name;
	g_autoptr(GArray) map = parse(good_cases[_i].text, &error);
	ck_assert_msg(map != NULL, "%s: %s", name, error ? error->message : "");
	ck_assert_msg(map->len == good_cases[_i].count, "%s: %u ranges", name, map->len);
	ck_assert_msg(
		!memcmp(map->data, good_cases[_i].want, map->len * sizeof(struct memory_range)),
		"%s: other ranges", name);
}
END_TEST

static const struct {
	const char *name, *text, *message;
} bad_cases[] = {
	{ "nothing", "", "trace error: dmesg.txt: no memory map in it" },
	{ "no e820 line", "Linux version 6.1\n", "trace error: dmesg.txt: no memory map in it" },
	{ "end before start", "x\nBIOS-e820: [mem 0x2000-0x1000] usable\n",
	  "trace error: dmesg.txt:2: the range ends before it starts" },
	{ "unknown type", "BIOS-e820: [mem 0x0-0xfff] useable\n",
	  "trace error: dmesg.txt:1: unknown memory type" },
	{ "no type", "BIOS-e820: [mem 0x0-0xfff]\n", "trace error: dmesg.txt:1: not of the form" },
	{ "cut off", "BIOS-e820: [mem 0x0000\n", "trace error: dmesg.txt:1: not of the form" },
	{ "no digits", "BIOS-e820: [mem 0x-0xfff] usable\n",
	  "trace error: dmesg.txt:1: not of the form" },
	{ "17 digits", "BIOS-e820: [mem 0x0-0x10000000000000000] usable\n",
	  "trace error: dmesg.txt:1: not of the form" },
	{ "all of 64 bits", "BIOS-e820: [mem 0x0-0xffffffffffffffff] usable\n",
	  "trace error: dmesg.txt:1: the range covers the whole" },
	{ "type number too large", "BIOS-e820: [mem 0x0-0xfff] type 4294967296\n",
	  "trace error: dmesg.txt:1: unknown memory type" },
};

START_TEST(malformed_lines_are_named)
{
	GError *error = NULL;
	const char *name = bad_cases[_i].name;
	GArray *map = parse(bad_cases[_i].text, &error);
	ck_assert_msg(map == NULL, "%s: accepted", name);
	ck_assert_msg(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT), "%s: other error",
		      name);
	ck_assert_msg(g_str_has_prefix(error->message, bad_cases[_i].message), "%s: message \"%s\"",
		      name, error->message);
	g_error_free(error);
}
END_TEST

START_TEST(a_missing_file_is_an_io_error)
{
	GError *error = NULL;
	ck_assert_ptr_null(memory_map_load("/nonexistent/dmesg.txt", &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_IO));
	g_error_free(error);
}
END_TEST

START_TEST(text_form_reads_back)
{
	const char *text =
		"BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n"
		"BIOS-e820: [mem 0x00000000fffc0000-0x00000000ffffffff] reserved\n"
		"BIOS-e820: [mem 0x0000000100000000-0x00000001ffffffff] ACPI data\n"
		"BIOS-e820: [mem 0x0000000200000000-0x00000002ffffffff] ACPI NVS\n"
		"BIOS-e820: [mem 0x0000000300000000-0x00000003ffffffff] unusable\n"
		"BIOS-e820: [mem 0x0000000400000000-0x00000004ffffffff] persistent (type 12)\n"
		"BIOS-e820: [mem 0xfffffffffffff000-0xffffffffffffffff] type 99\n";
	GError *error = NULL;
	g_autoptr(GArray) map = parse(text, &error);
	ck_assert_ptr_nonnull(map);
	g_autofree char *again = memory_map_format(map);
	ck_assert_str_eq(again, text);
}
END_TEST

static const struct {
	const char *name;
	struct memory_range range[4];
	unsigned count;
	uint64_t frames, end;
} sum_cases[] = {
	{ "nothing usable", { { 0, 0x10000, MEMORY_RESERVED, 0 } }, 1, 0, 0 },
	{ "whole frames only", { { 0x800, 0x2000, MEMORY_USABLE, 0 } }, 1, 1, 0x2800 },
	{ "less than a frame", { { 0x1001, 0xffe, MEMORY_USABLE, 0 } }, 1, 0, 0x1fff },
	{ "adjacent ranges join",
	  { { 0x800, 0x800, MEMORY_USABLE, 0 }, { 0, 0x800, MEMORY_USABLE, 0 } },
	  2,
	  1,
	  0x1000 },
	{ "overlaps count once",
	  { { 0, 0x3000, MEMORY_USABLE, 0 }, { 0x1000, 0x3000, MEMORY_USABLE, 0 } },
	  2,
	  4,
	  0x4000 },
	{ "reserved in the middle takes whole frames",
	  { { 0, 0x5000, MEMORY_USABLE, 0 }, { 0x1fff, 2, MEMORY_RESERVED, 0 } },
	  2,
	  3,
	  0x5000 },
	{ "reserved twice",
	  { { 0, 0x5000, MEMORY_USABLE, 0 },
	    { 0x1000, 0x2000, MEMORY_RESERVED, 0 },
	    { 0x2000, 0x2000, MEMORY_ACPI_NVS, 0 } },
	  3,
	  2,
	  0x5000 },
	{ "empty ranges mean nothing",
	  { { 0x9000, 0, MEMORY_USABLE, 0 }, { 0, 0x1000, MEMORY_USABLE, 0 } },
	  2,
	  1,
	  0x1000 },
	{ "up to the last byte",
	  { { 0xffffffffffffe000, 0x2000, MEMORY_USABLE, 0 } },
	  1,
	  2,
	  UINT64_MAX },
	{ "beyond the last byte",
	  { { 0xffffffffffffe000, 0x9000, MEMORY_USABLE, 0 } },
	  1,
	  2,
	  UINT64_MAX },
};

START_TEST(usable_frames_are_counted_once)
{
	g_autoptr(GArray) map = g_array_new(FALSE, FALSE, sizeof(struct memory_range));
	g_array_append_vals(map, sum_cases[_i].range, sum_cases[_i].count);
	uint64_t frames = memory_map_usable_frames(map), end = memory_map_end(map);
	ck_assert_msg(frames == sum_cases[_i].frames, "%s: %lu frames", sum_cases[_i].name,
		      (unsigned long)frames);
	ck_assert_msg(end == sum_cases[_i].end, "%s: ends at %lx", sum_cases[_i].name,
		      (unsigned long)end);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memory_map");
	TCase *text = tcase_create("text");
	tcase_add_loop_test(text, firmware_lines_become_ranges, 0, G_N_ELEMENTS(good_cases));
	tcase_add_loop_test(text, malformed_lines_are_named, 0, G_N_ELEMENTS(bad_cases));
	tcase_add_test(text, a_missing_file_is_an_io_error);
	tcase_add_test(text, text_form_reads_back);
	suite_add_tcase(suite, text);
	TCase *sums = tcase_create("sums");
	tcase_add_loop_test(sums, usable_frames_are_counted_once, 0, G_N_ELEMENTS(sum_cases));
	suite_add_tcase(suite, sums);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
