/* Memory maps of every form: real ones, made ones, damaged ones. */
#include "workloads/memory_map.h"
#include "workloads/trace.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define MIB (1024ull * 1024)

static char *path_of(const char *name)
{
	return g_build_filename(TEST_DATA, "memory_maps", name, NULL);
}

/* ---- the files ---- */

static const struct {
	const char *file, *form;
	unsigned ranges;
	uint64_t usable_frames, end;
} files[] = {
	{ "qemu-guest.dmesg", "e820", 7, 114553, 0x1bfda000 },
	{ "qemu-guest.multiboot1", "multiboot1", 7, 114559, 0x1bfe0000 },
	{ "cloud-vm.iomem", "iomem", 6, 6291358, 0x640000000 },
	{ "cloud-vm.e820-20", "e820-20", 6, 6291359, 0x640000000 },
	{ "made.e820-24", "e820-24", 7, 114553, 0x1bfda000 },
	{ "made.multiboot2", "multiboot2", 7, 114553, 0x1bfda000 },
	{ "made.limine", "limine", 8, 114553, 0x1bfda000 },
	{ "made.limine-text", "limine-text", 6, 33182, 0x8200000 },
	{ "made.efi-40", "efi-40", 16, 95455, 0x1755d000 },
	{ "made.efi-48", "efi-48", 16, 95455, 0x1755d000 },
	{ "made.efi-dmesg", "efi", 16, 95455, 0x1755d000 },
};

START_TEST(maps_of_every_form_are_read)
{
	g_autofree char *path = path_of(files[_i].file);
	g_autofree char *named = g_strconcat(files[_i].form, ":", path, NULL);
	GError *error = NULL;
	g_autoptr(GArray) found = memory_map_load(path, &error);
	ck_assert_msg(found, "%s: %s", files[_i].file, error ? error->message : "");
	g_autoptr(GArray) asked = memory_map_load(named, &error);
	ck_assert_msg(asked, "%s: %s", named, error ? error->message : "");
	ck_assert_str_eq(memory_map_file(named), path);
	ck_assert_uint_eq(found->len, asked->len);
	ck_assert(!memcmp(found->data, asked->data, found->len * sizeof(struct memory_range)));
	ck_assert_uint_eq(found->len, files[_i].ranges);
	ck_assert_uint_eq(memory_map_usable_frames(found), files[_i].usable_frames);
	ck_assert_uint_eq(memory_map_end(found), files[_i].end);
}
END_TEST

START_TEST(no_other_form_reads_a_table_as_its_own)
{
	g_autofree char *path = path_of(files[_i].file);
	GError *error = NULL;
	char *text;
	gsize bytes;

	ck_assert(g_file_get_contents(path, &text, &bytes, NULL));
	g_autoptr(GArray) found = memory_map_parse(text, bytes, "map", &error);
	ck_assert_msg(found, "%s: %s", files[_i].file, error ? error->message : "");
	/* With its last byte gone a table is none, a text only shorter. */
	GArray *cut = memory_map_parse(text, bytes - 1, "map", &error);
	if (strchr(files[_i].form, '-') && !strstr(files[_i].form, "text"))
		ck_assert_ptr_null(cut);
	g_clear_pointer(&cut, g_array_unref);
	g_clear_error(&error);
	g_free(text);
}
END_TEST

/* ---- one entry at a time ---- */

#define U64(x)                                                           \
	(x) & 0xff, (x) >> 8 & 0xff, (x) >> 16 & 0xff, (x) >> 24 & 0xff, \
		(uint64_t)(x) >> 32 & 0xff, (uint64_t)(x) >> 40 & 0xff,  \
		(uint64_t)(x) >> 48 & 0xff, (uint64_t)(x) >> 56
#define U32(x) (x) & 0xff, (x) >> 8 & 0xff, (x) >> 16 & 0xff, (uint32_t)(x) >> 24

static const struct {
	const char *name, *form;
	uint8_t bytes[64];
	gsize count;
	struct memory_range want;
	const char *error; /* NULL: read */
} entries[] = {
	{ "E820 usable",
	  "e820-20",
	  { U64(0x100000), U64(0x1000), U32(1) },
	  20,
	  { 0x100000, 0x1000, MEMORY_USABLE, 0 },
	  NULL },
	{ "E820 of type 0",
	  "e820-20",
	  { U64(0x100000), U64(0x1000), U32(0) },
	  20,
	  { 0 },
	  "map: at byte 0: type 0 is none of E820's" },
	{ "E820 cut off",
	  "e820-20",
	  { U64(0x100000), U64(0x1000), U32(1), 7 },
	  21,
	  { 0 },
	  "map: at byte 20: the table ends in the middle of an entry" },
	{ "E820 beyond 64 bits",
	  "e820-20",
	  { U64(0xfffffffffffff000), U64(0x2000), U32(1) },
	  20,
	  { 0 },
	  "map: at byte 0: the range goes beyond 64 bits" },
	{ "E820 of nothing",
	  "e820-20",
	  { U64(0x1000), U64(0), U32(1) },
	  20,
	  { 0 },
	  "map: at byte 0: no memory map in it" },
	{ "E820 with odd attributes",
	  "e820-24",
	  { U64(0x1000), U64(0x1000), U32(1), U32(0x100) },
	  24,
	  { 0 },
	  "map: at byte 0: attributes that E820 does not have" },
	{ "UEFI conventional memory",
	  "efi-40",
	  { U32(7), U32(0), U64(0x1000), U64(0), U64(3), U64(0xf) },
	  40,
	  { 0x1000, 0x3000, MEMORY_USABLE, 0 },
	  NULL },
	{ "UEFI memory that is not written back",
	  "efi-40",
	  { U32(7), U32(0), U64(0x1000), U64(0), U64(3), U64(0x7) },
	  40,
	  { 0x1000, 0x3000, MEMORY_RESERVED, 0 },
	  NULL },
	{ "UEFI memory for a purpose",
	  "efi-48",
	  { U32(7), U32(0), U64(0x1000), U64(0), U64(3), U64(0x4000f) },
	  48,
	  { 0x1000, 0x3000, MEMORY_SOFT_RESERVED, 0 },
	  NULL },
	{ "UEFI inside a page",
	  "efi-40",
	  { U32(7), U32(0), U64(0x1001), U64(0), U64(3), U64(0xf) },
	  40,
	  { 0 },
	  "map: at byte 0: a UEFI range that begins inside a page" },
	{ "UEFI of too many pages",
	  "efi-40",
	  { U32(7), U32(0), U64(0), U64(0), U64(0x10000000000000), U64(0xf) },
	  40,
	  { 0 },
	  "map: at byte 0: the range goes beyond 64 bits" },
	{ "Multiboot 1 with room behind the entry",
	  "multiboot1",
	  { U32(24), U64(0x1000), U64(0x2000), U32(1), U32(0) },
	  28,
	  { 0x1000, 0x2000, MEMORY_USABLE, 0 },
	  NULL },
	{ "Multiboot 1 of too small a size",
	  "multiboot1",
	  { U32(16), U64(0x1000), U64(0x2000), U32(1) },
	  24,
	  { 0 },
	  "map: at byte 0: an entry's size is below 20" },
	{ "Multiboot 1 beyond the end",
	  "multiboot1",
	  { U32(60), U64(0x1000), U64(0x2000), U32(1) },
	  24,
	  { 0 },
	  "map: at byte 0: an entry's size is below 20, or beyond" },
	{ "Multiboot 2's tag alone",
	  "multiboot2",
	  { U32(6), U32(40), U32(24), U32(0), U64(0x1000), U64(0x2000), U32(1), U32(0) },
	  40,
	  { 0x1000, 0x2000, MEMORY_USABLE, 0 },
	  NULL },
	{ "Multiboot 2's tag with small entries",
	  "multiboot2",
	  { U32(6), U32(40), U32(16), U32(0), U64(0x1000), U64(0x2000), U32(1), U32(0) },
	  40,
	  { 0 },
	  "map: at byte 0: a memory map tag with entries below 24 bytes" },
	{ "Multiboot 2's EFI tag",
	  "multiboot2",
	  { U32(17), U32(56), U32(40), U32(1), U32(7), U32(0), U64(0x1000), U64(0), U64(3),
	    U64(15) },
	  56,
	  { 0x1000, 0x3000, MEMORY_USABLE, 0 },
	  NULL },
	{ "Multiboot 2 with a tag beyond the end",
	  "multiboot2",
	  { U32(24), U32(0), U32(1), U32(99), U64(0) },
	  24,
	  { 0 },
	  "map: at byte 8: a tag's size is below 8, or beyond the end" },
	{ "Multiboot 2 without a map",
	  "multiboot2",
	  { U32(16), U32(0), U32(0), U32(8) },
	  16,
	  { 0 },
	  "map: at byte 0: no memory map in it" },
	{ "Limine, the loader's",
	  "limine",
	  { U64(0x1000), U64(0x2000), U64(5) },
	  24,
	  { 0x1000, 0x2000, MEMORY_USABLE, 0 },
	  NULL },
	{ "Limine, half a page",
	  "limine",
	  { U64(0x1000), U64(0x800), U64(0) },
	  24,
	  { 0 },
	  "map: at byte 0: a usable range that is no whole pages" },
	{ "Limine of a wild type",
	  "limine",
	  { U64(0x1000), U64(0x2000), U64(0x100000001) },
	  24,
	  { 0 },
	  "map: at byte 0: a type that Limine does not have" },
};

static void assert_parsed(const char *name, const char *form, const char *text, gsize bytes,
			  const struct memory_range *want, const char *message)
{
	GError *error = NULL;
	g_autoptr(GArray) map = memory_map_parse_as(form, text, bytes, "map", &error);

	if (message) {
		ck_assert_msg(!map, "%s: accepted", name);
		ck_assert_msg(strstr(error->message, message), "%s: %s", name, error->message);
		ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT));
		g_error_free(error);
		return;
	}
	ck_assert_msg(map, "%s: %s", name, error ? error->message : "");
	ck_assert_msg(map->len == 1 && !memcmp(map->data, want, sizeof(*want)), "%s: another range",
		      name);
}

START_TEST(entries_mean_what_their_specifications_say)
{
	assert_parsed(entries[_i].name, entries[_i].form, (const char *)entries[_i].bytes,
		      entries[_i].count, &entries[_i].want, entries[_i].error);
}
END_TEST

static const struct {
	const char *name, *form, *text;
	struct memory_range want;
	const char *error;
} lines[] = {
	{ "Linux before 4.0",
	  "efi",
	  "EFI: mem07: type=7, attr=0xf, range=[0x0000000000001000-0x0000000000003000) (0MB)\n",
	  { 0x1000, 0x2000, MEMORY_USABLE, 0 },
	  NULL },
	{ "an unknown UEFI type",
	  "efi",
	  "\nefi: mem00: [Nonsense|WB] range=[0x0-0xfff] (0MB)\n",
	  { 0 },
	  "map:2: unknown UEFI memory type" },
	{ "a UEFI line cut off",
	  "efi",
	  "efi: mem00: [Boot Data  |   |WB] range=[0x0\n",
	  { 0 },
	  "map:1: no range=" },
	{ "other UEFI lines",
	  "efi",
	  "efi: memattr: table\nefi: mem00: [Boot Data  |   |WB] range=[0x0-0xfff] (0MB)\n",
	  { 0, 0x1000, MEMORY_USABLE, 0 },
	  NULL },
	{ "what lies inside is not counted",
	  "iomem",
	  "00001000-00001fff : System RAM\n  00001000-00001010 : Kernel code\n"
	  "00002000-00002fff : PCI Bus 0000:00\n",
	  { 0x1000, 0x1000, MEMORY_USABLE, 0 },
	  NULL },
	{ "iomem as others than root see it",
	  "iomem",
	  "00000000-00000000 : Reserved\n00000000-00000000 : System RAM\n",
	  { 0 },
	  "only root sees them" },
	{ "no colon in iomem",
	  "iomem",
	  "00001000-00001fff System RAM\n",
	  { 0 },
	  "map:1: not of the form" },
	{ "Limine's old name",
	  "limine-text",
	  "base=0x1000 length=0x1000 type=kernel-and-modules\n",
	  { 0x1000, 0x1000, MEMORY_RESERVED, 0 },
	  NULL },
	{ "Limine of no type",
	  "limine-text",
	  "# map\nbase=0x1000 length=0x1000 type=free\n",
	  { 0 },
	  "map:2: not of the form" },
	{ "no such form", "bios", "", { 0 }, "'bios' is no form" },
};

START_TEST(lines_mean_what_their_printers_say)
{
	assert_parsed(lines[_i].name, lines[_i].form, lines[_i].text, strlen(lines[_i].text),
		      &lines[_i].want, lines[_i].error);
}
END_TEST

START_TEST(what_could_be_two_is_refused)
{
	/* Attributes all clear: E820 says usable and unusable, Limine reserved and the loader's. */
	static const uint8_t both[] = { U64(0x1000),   U64(0x1000), U64(1),
					U64(0x100000), U64(0x1000), U64(5) };
	GError *error = NULL;

	ck_assert_ptr_null(memory_map_parse((const char *)both, sizeof(both), "map", &error));
	ck_assert_msg(strstr(error->message, "several forms (e820-24, limine)"), "%s",
		      error->message);
	g_error_free(error);
}
END_TEST

/* ---- damage ---- */

START_TEST(damage_is_an_error_or_another_map)
{
	g_autofree char *path = path_of(files[_i].file);
	GRand *random = g_rand_new_with_seed((guint32)_i);
	char *text;
	gsize bytes;

	ck_assert(g_file_get_contents(path, &text, &bytes, NULL));
	for (unsigned round = 0; round < 3000; round++) {
		g_autofree char *copy = g_memdup2(text, bytes);
		gsize length = round % 3 ? bytes : (gsize)g_rand_int_range(random, 0, (gint)bytes);
		GError *error = NULL;
		for (unsigned i = 0; i < 1 + round % 4; i++)
			copy[g_rand_int_range(random, 0, (gint)bytes)] =
				(char)g_rand_int_range(random, 0, 256);
		GArray *map = round % 2 ? memory_map_parse(copy, length, "map", &error)
					: memory_map_parse_as(files[_i].form, copy, length, "map",
							      &error);
		ck_assert((map == NULL) == (error != NULL));
		if (map)
			memory_map_usable_frames(map);
		g_clear_pointer(&map, g_array_unref);
		g_clear_error(&error);
	}
	g_free(text);
	g_rand_free(random);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("memory_map_forms");
	TCase *one = tcase_create("forms");
	int count = (int)G_N_ELEMENTS(files);

	tcase_add_loop_test(one, maps_of_every_form_are_read, 0, count);
	tcase_add_loop_test(one, no_other_form_reads_a_table_as_its_own, 0, count);
	tcase_add_loop_test(one, entries_mean_what_their_specifications_say, 0,
			    (int)G_N_ELEMENTS(entries));
	tcase_add_loop_test(one, lines_mean_what_their_printers_say, 0, (int)G_N_ELEMENTS(lines));
	tcase_add_test(one, what_could_be_two_is_refused);
	tcase_add_loop_test(one, damage_is_an_error_or_another_map, 0, count);
	suite_add_tcase(suite, one);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
