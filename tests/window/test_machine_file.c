/* Machines from files: what each key does, and what is said about files that are wrong. */
#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/lab.h"
#include "sim/machine.h"
#include "workloads/memory_map.h"

static char *folder;

static void set_up(void)
{
	folder = g_dir_make_tmp("machine-XXXXXX", NULL);
	ck_assert_ptr_nonnull(folder);
}

static void tear_down(void)
{
	const char *name;
	GDir *dir = g_dir_open(folder, 0, NULL);

	while ((name = g_dir_read_name(dir))) {
		char *path = g_build_filename(folder, name, NULL);
		g_unlink(path);
		g_free(path);
	}
	g_dir_close(dir);
	g_rmdir(folder);
	g_clear_pointer(&folder, g_free);
}

static char *write_file(const char *name, const char *text)
{
	char *path = g_build_filename(folder, name, NULL);

	ck_assert(g_file_set_contents(path, text, -1, NULL));
	return path;
}

static struct machine_config *load(const char *text, GError **error)
{
	char *path = write_file("board.ini", text);
	struct machine_config *config = machine_config_new(path, error);

	g_free(path);
	return config;
}

static struct machine_config *must_load(const char *text)
{
	GError *error = NULL;
	struct machine_config *config = load(text, &error);

	ck_assert_msg(config != NULL, "%s", error ? error->message : "");
	return config;
}

static uint64_t usable(const struct machine_config *config)
{
	return memory_map_usable_frames(config->memory_map) * 4096;
}

START_TEST(every_key_of_machine_is_taken)
{
	struct machine_config *config =
		must_load("# a comment\n\n[machine]\nleaf = 4M\nname = board\narch = i386\n"
			  "cpu = pentium\nram = 64M\npaging = off\nwindows = 77\n"
			  "stale-check = on\n");

	ck_assert_str_eq(config->name, "board");
	ck_assert_int_eq(config->arch, MACHINE_I386);
	ck_assert_uint_eq(config->leaf_bytes, 4 << 20);
	ck_assert_uint_eq(config->windows, 77);
	ck_assert(!config->paging && config->stale_check);
	ck_assert(memcmp(&config->mmu, mmu_preset("pentium"), sizeof(config->mmu)) == 0);
	ck_assert(usable(config) > 63 << 20 && usable(config) <= 64 << 20);
	machine_config_free(config);
}
END_TEST

START_TEST(mmu_keys_change_the_preset)
{
	struct machine_config *config = must_load("[machine]\nram=64M\ncpu=tiny\n[mmu]\nl2_tlb."
						  "sets=4\nl2_tlb.ways = 3\nweights.walk=99\n");

	ck_assert_str_eq(config->name, "board.ini");
	ck_assert_uint_eq(config->mmu.cache[MMU_L2_TLB].sets, 4);
	ck_assert_uint_eq(config->mmu.cache[MMU_L2_TLB].ways, 3);
	ck_assert_uint_eq(config->mmu.weights.walk, 99);
	machine_config_free(config);
}
END_TEST

START_TEST(memory_maps_stand_inside_or_beside)
{
	g_free(write_file("map.e820", "BIOS-e820: [mem 0x100000-0x4ffffff] usable\n"));
	struct machine_config *config = must_load("[memory]\ne820 = map.e820\n");
	ck_assert_uint_eq(usable(config), 0x4f00000);
	machine_config_free(config);
	config = must_load(
		"[memory]\ne820=[mem 0x0-0x9ffff] usable; [mem 0x100000-0x1fffff] usable\n");
	ck_assert_uint_eq(usable(config), 0x1a0000);
	machine_config_free(config);
	config = must_load("[machine]\nram = 32M\n[memory]\ne820 = map.e820\n");
	ck_assert_uint_eq(usable(config), 32 << 20);
	machine_config_free(config);
}
END_TEST

START_TEST(bare_lines_are_a_machine_still)
{
	struct machine_config *config =
		must_load("[    0.000000] BIOS-e820: [mem 0x0-0xfffff] usable\n");

	ck_assert_uint_eq(usable(config), 1 << 20);
	machine_config_free(config);
}
END_TEST

static const struct {
	const char *text, *words;
} wrong[] = {
	{ "[machine]\nram = 64M\nspeed = 3\n", "board.ini:3: speed: unknown key" },
	{ "[machine]\nram = 64M\n\n[disk]\nsize = 3\n", "board.ini:4: disk: no such section" },
	{ "[machine]\nram = 64M\n[memory]\nmap = x\n", "board.ini:4: map: unknown key" },
	{ "[machine]\nram = 64M\n[mmu]\n\nl9.ways = 3\n", "board.ini:5: l9.ways: no such field" },
	{ "[machine]\nram = 64M\n[mmu]\nl1d_4k.ways = few\n",
	  "board.ini:4: l1d_4k.ways: not a value" },
	{ "[machine]\nram = 64M\n[mmu]\nl1d_4k.sets = 3\n", "board.ini:3: mmu: " },
	{ "[machine]\nram = much\n", "board.ini:2: ram: " },
	{ "[machine]\nram = 1K\n", "board.ini:2: ram: " },
	{ "[machine]\narch = i386\n", "board.ini:1: machine: neither ram" },
	{ "[machine]\nram = 64M\narch = vax\n", "board.ini:3: machine.arch: 'vax'" },
	{ "[machine]\nram = 64M\nleaf = 4M\n", "board.ini:3: machine.leaf: '4M'" },
	{ "[machine]\nram = 64M\nwindows = 3\n", "board.ini:3: machine.windows: '3'" },
	{ "[machine]\nram = 64M\nnonsense\n", "board.ini: " },
};

START_TEST(what_is_wrong_is_named_with_file_and_line)
{
	GError *error = NULL;
	struct machine_config *config = load(wrong[_i].text, &error);

	ck_assert_msg(config == NULL, "%s", wrong[_i].text);
	ck_assert_msg(g_error_matches(error, LAB_ERROR, LAB_ERROR_USAGE), "%s", error->message);
	ck_assert_msg(strstr(error->message, wrong[_i].words), "%s: %s", wrong[_i].text,
		      error->message);
	g_error_free(error);
}
END_TEST

START_TEST(a_bad_map_inside_is_said_like_any_bad_map)
{
	GError *error = NULL;

	ck_assert_ptr_null(
		load("[machine]\n\n[memory]\ne820 = BIOS-e820: [mem 0x9-0x1] usable\n", &error));
	ck_assert_msg(strstr(error->message, "board.ini:4:1: the range ends"), "%s",
		      error->message);
	g_clear_error(&error);
	ck_assert_ptr_null(load("[memory]\ne820 = nowhere.e820\n", &error));
	ck_assert_msg(strstr(error->message, "nowhere.e820"), "%s", error->message);
	g_clear_error(&error);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("machine files");
	TCase *one = tcase_create("files");

	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_add_test(one, every_key_of_machine_is_taken);
	tcase_add_test(one, mmu_keys_change_the_preset);
	tcase_add_test(one, memory_maps_stand_inside_or_beside);
	tcase_add_test(one, bare_lines_are_a_machine_still);
	tcase_add_loop_test(one, what_is_wrong_is_named_with_file_and_line, 0,
			    (int)G_N_ELEMENTS(wrong));
	tcase_add_test(one, a_bad_map_inside_is_said_like_any_bad_map);
	suite_add_tcase(suite, one);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
