/* Machines: memory maps, sizes, address spaces, boot. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sim/kernel.h"
#include "sim/lab.h"
#include "sim/size.h"
#include "sim/trap.h"
#include "tests/support/story.h"
#include "workloads/memory_map.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

static GError *error;

static void tear_down(void)
{
	machine_leave();
	g_clear_error(&error);
}

static const char *why(void)
{
	return error ? error->message : "no reason";
}

static struct machine_config *preset(const char *name)
{
	struct machine_config *config = machine_config_new(name, &error);

	ck_assert_msg(config, "%s: %s", name, why());
	return config;
}

/* A machine of that configuration (taken), on which the system has booted. */
static struct machine *boot_on(struct machine_config *config, const char *frames,
			       enum kernel_pass pass)
{
	const struct frame_ops *ops = kernels[pass].frame_find(frames);
	struct machine *machine = machine_new(config, &error);
	struct frame_config options;

	ck_assert_msg(machine, "%s: %s", config->name, why());
	frame_config_defaults(ops, &options);
	options.cpus = config->cpus;
	machine_enter(machine);
	ck_assert_msg(machine_boot(machine, kernels[pass].boot, ops, &options, &error), "%s: %s",
		      config->name, why());
	machine_config_free(config);
	return machine;
}

/* ---- sizes in text ---- */

static const struct {
	const char *text;
	bool good;
	uint64_t bytes;
} sizes[] = {
	{ "0", true, 0 },
	{ "4097", true, 4097 },
	{ "1K", true, KIB },
	{ "512M", true, 512 * MIB },
	{ "512m", true, 512 * MIB },
	{ "3G", true, 3 * GIB },
	{ "2T", true, 2 * TIB },
	{ "16777215T", true, 16777215 * TIB },
	{ "16777216T", false, 0 },
	{ "18446744073709551615", true, UINT64_MAX },
	{ "18446744073709551616", false, 0 },
	{ "18446744073709551615K", false, 0 },
	{ "", false, 0 },
	{ "M", false, 0 },
	{ "-1", false, 0 },
	{ "-1M", false, 0 },
	{ "+1", false, 0 },
	{ " 1", false, 0 },
	{ "1 M", false, 0 },
	{ "1MB", false, 0 },
	{ "1Q", false, 0 },
	{ "1.5G", false, 0 },
	{ "0x10", false, 0 },
	{ "1e3", false, 0 },
};

START_TEST(sizes_are_numbers_with_a_unit)
{
	uint64_t bytes = 77;
	bool good = size_parse(sizes[_i].text, &bytes);

	ck_assert_msg(good == sizes[_i].good, "'%s'", sizes[_i].text);
	ck_assert_msg(bytes == (good ? sizes[_i].bytes : 77), "'%s': %ju", sizes[_i].text,
		      (uintmax_t)bytes);
}
END_TEST

static const struct {
	uint64_t bytes;
	const char *text;
} formats[] = {
	{ 0, "0" },
	{ 1023, "1023" },
	{ 1024, "1K" },
	{ 1536 * KIB, "1536K" },
	{ 512 * MIB, "512M" },
	{ 1024 * GIB, "1T" },
	{ 4097, "4097" },
	{ 5000 * TIB, "5000T" },
	{ UINT64_MAX, "18446744073709551615" },
};

START_TEST(formatted_sizes_are_short_and_exact)
{
	char *text = size_format(formats[_i].bytes);
	uint64_t back;

	ck_assert_str_eq(text, formats[_i].text);
	ck_assert(size_parse(text, &back));
	ck_assert_uint_eq(back, formats[_i].bytes);
	g_free(text);
}
END_TEST

/* ---- configurations ---- */

static unsigned presets(void)
{
	unsigned count = 0;

	while (machine_presets[count].name)
		count++;
	return count;
}

static bool usable_at(const GArray *map, uint64_t address)
{
	for (guint i = 0; i < map->len; i++) {
		const struct memory_range *range = &g_array_index(map, struct memory_range, i);
		if (range->type == MEMORY_USABLE && address - range->base < range->bytes)
			return true;
	}
	return false;
}

START_TEST(presets_have_the_holes_of_a_pc)
{
	const struct machine_preset *want = &machine_presets[_i];
	struct machine_config *config = preset(want->name);
	uint64_t usable = memory_map_usable_frames(config->memory_map) * 4 * KIB;

	ck_assert_uint_eq(config->arch, want->arch);
	/* All but the hole under 1 MiB. */
	ck_assert_uint_eq(usable, want->ram_bytes - MIB + 636 * KIB);
	ck_assert(usable_at(config->memory_map, 0x9e000));
	ck_assert(!usable_at(config->memory_map, 0xa0000));
	ck_assert(!usable_at(config->memory_map, 0xfffff));
	ck_assert(usable_at(config->memory_map, MIB));
	ck_assert(!usable_at(config->memory_map, 3 * GIB));
	ck_assert(!usable_at(config->memory_map, 4 * GIB - 1));
	ck_assert(usable_at(config->memory_map, 4 * GIB) == (want->ram_bytes > 3 * GIB));
	machine_config_free(config);
}
END_TEST

START_TEST(presets_boot_in_both_builds)
{
	for (unsigned pass = 0; pass < PASSES; pass++) {
		struct machine *machine = boot_on(preset(machine_presets[_i].name), "bitmap", pass);
		ck_assert(machine->booted);
		ck_assert_uint_gt(machine->boot.map.frames, machine->boot.usable_frames / 2);
		ck_assert_uint_gt(machine->boot.table_frames, 0);
		machine_leave();
		machine_free(machine);
	}
}
END_TEST

static const struct {
	const char *machine, *ram;
	bool possible;
} resizes[] = {
	{ "pc-512m", "4K", true },	 { "pc-512m", "600K", true },
	{ "pc-512m", "640K", true },	 { "pc-512m", "1M", true },
	{ "pc-512m", "511M", true },	 { "pc-512m", "513M", true },
	{ "pc-512m", "3G", true },	 { "pc-512m", "3073M", true },
	{ "pc-512m", "64G", true },	 { "pc-4g", "2G", true },
	{ "pc-4g", "3G", true },	 { "pc-4g", "5G", true },
	{ "pc-4g", "4095", false },	 { "pc-4g", "0", false },
	{ "pc-4g", "2049G", false },	 { "pc-4g", "2T", false },
	{ "pc-4g", "16777215T", false }, { "pc-512m-i386", "700M", true },
};

START_TEST(resizing_makes_usable_ram_add_up)
{
	struct machine_config *config = preset(resizes[_i].machine);
	uint64_t bytes;

	ck_assert(size_parse(resizes[_i].ram, &bytes));
	bool possible = machine_config_resize(config, bytes, &error);
	ck_assert_msg(possible == resizes[_i].possible, "%s to %s: %s", resizes[_i].machine,
		      resizes[_i].ram, why());
	if (possible)
		ck_assert_msg(memory_map_usable_frames(config->memory_map) == bytes / (4 * KIB),
			      "%s to %s", resizes[_i].machine, resizes[_i].ram);
	else
		ck_assert(g_error_matches(error, LAB_ERROR, LAB_ERROR_USAGE));
	for (uint64_t hole = 3 * GIB; hole < 4 * GIB; hole += 64 * MIB)
		ck_assert(!usable_at(config->memory_map, hole));
	ck_assert(!usable_at(config->memory_map, 0xa0000));
	machine_config_free(config);
}
END_TEST

START_TEST(extending_goes_around_reserved_entries)
{
	struct machine_config *config = story_machine(
		"reserved", "BIOS-e820: [mem 0x0000000000100000-0x00000000007fffff] usable\n"
			    "BIOS-e820: [mem 0x0000000000900000-0x00000000009fffff] reserved\n"
			    "BIOS-e820: [mem 0x0000000000a00800-0x0000000000a00fff] reserved\n");

	ck_assert_msg(machine_config_resize(config, 16 * MIB, &error), "%s", why());
	ck_assert_uint_eq(memory_map_usable_frames(config->memory_map), 16 * MIB / (4 * KIB));
	ck_assert(usable_at(config->memory_map, 8 * MIB));
	ck_assert(!usable_at(config->memory_map, 9 * MIB));
	ck_assert(!usable_at(config->memory_map, 0xa00800));
	ck_assert(usable_at(config->memory_map, 0xa01000));
	struct machine *machine = boot_on(config, "buddy", PASS_NATIVE);
	machine_leave();
	machine_free(machine);
}
END_TEST

START_TEST(extending_ends_where_everything_is_reserved)
{
	static const char *const tops[] = {
		"BIOS-e820: [mem 0x0000000000900000-0xffffffffffffffff] reserved\n",
		"BIOS-e820: [mem 0x00000000c0000000-0xfffffffffffffffe] reserved\n",
		"BIOS-e820: [mem 0x0000000000800001-0x000000ffffffffff] reserved\n"
		"BIOS-e820: [mem 0x0000010000000000-0xffffffffffffffff] reserved\n",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(tops); i++) {
		char *map = g_strconcat(
			"BIOS-e820: [mem 0x0000000000100000-0x00000000007fffff] usable\n", tops[i],
			NULL);
		struct machine_config *config = story_machine("reserved", map);
		ck_assert_msg(!machine_config_resize(config, 64 * GIB, &error), "%s", map);
		ck_assert(g_error_matches(error, LAB_ERROR, LAB_ERROR_USAGE));
		g_clear_error(&error);
		machine_config_free(config);
		g_free(map);
	}
}
END_TEST

static const struct {
	const char *key, *value;
	bool possible;
} settings[] = {
	{ "arch", "i386", true },	{ "arch", "x86_64", true }, { "arch", "vax", false },
	{ "leaf", "4K", true },		{ "leaf", "2M", true },	    { "leaf", "1G", true },
	{ "leaf", "4M", false },	{ "leaf", "0", false },	    { "paging", "off", true },
	{ "paging", "maybe", false },	{ "cpu", "zen4", true },    { "cpu", "z80", false },
	{ "mmu.nonsense", "1", false }, { "nonsense", "1", false },
};

START_TEST(settings_are_judged)
{
	struct machine_config *config = preset("pc-512m");
	bool possible = machine_config_set(config, settings[_i].key, settings[_i].value, &error);

	ck_assert_msg(possible == settings[_i].possible, "%s=%s", settings[_i].key,
		      settings[_i].value);
	if (!possible)
		ck_assert_msg(g_error_matches(error, LAB_ERROR, LAB_ERROR_USAGE) &&
				      strstr(why(), settings[_i].key),
			      "%s", why());
	machine_config_free(config);
}
END_TEST

START_TEST(leaves_of_i386_are_others)
{
	struct machine_config *config = preset("pc-512m-i386");

	ck_assert(machine_config_set(config, "leaf", "4M", &error));
	ck_assert(!machine_config_set(config, "leaf", "2M", NULL));
	ck_assert(!machine_config_set(config, "leaf", "1G", NULL));
	machine_config_free(config);
}
END_TEST

START_TEST(unknown_machines_are_a_usage_error)
{
	ck_assert(!machine_config_new("vax", &error));
	ck_assert(g_error_matches(error, LAB_ERROR, LAB_ERROR_USAGE));
	ck_assert_ptr_nonnull(strstr(why(), "'vax'"));
}
END_TEST

/* ---- address spaces ---- */

START_TEST(i386_pointers_end_in_the_kernel_address)
{
	struct machine *machine = boot_on(preset("pc-512m-i386"), "bitmap", PASS_NATIVE);
	static const uint32_t addresses[] = { 0, 0xc0000000, 0xc0123456, 0xffffffff };

	ck_assert_uint_eq((uintptr_t)machine->reservation % (4 * GIB), 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(addresses); i++) {
		struct vaddr va = { addresses[i] };
		ck_assert_uint_eq((uint32_t)(uintptr_t)machine_pointer(machine, va), addresses[i]);
		ck_assert_uint_eq(machine_vaddr(machine, machine_pointer(machine, va)).a,
				  addresses[i]);
		ck_assert(machine_holds(machine, machine_pointer(machine, va)));
	}
	ck_assert(!machine_holds(machine, machine->reservation - 1));
	ck_assert(!machine_holds(machine, machine->reservation + 4 * GIB));
	machine_leave();
	machine_free(machine);
}
END_TEST

static const char *const pcs[] = { "pc-512m", "pc-512m-i386", "pc-4g" };

START_TEST(direct_map_shows_what_ram_holds)
{
	struct machine *machine = boot_on(preset(pcs[_i]), "bitmap", PASS_NATIVE);

	for (guint i = 0; i < machine->usable->len; i++) {
		const struct frame_range *range =
			&g_array_index(machine->usable, struct frame_range, i);
		uint64_t at[2] = { range->first.n << 12,
				   ((range->first.n + range->frames) << 12) - 8 };
		for (unsigned end = 0; end < 2; end++) {
			struct vaddr va = { machine->layout->direct_map + at[end] };
			uint64_t *through = machine_pointer(machine, va);
			uint64_t *ram = (uint64_t *)(void *)(machine->ram.bytes + at[end]);
			uint64_t kept = *ram;
			*ram = 0x1234567890abcdef ^ at[end];
			ck_assert_uint_eq(*through, 0x1234567890abcdef ^ at[end]);
			*through = kept;
			ck_assert_uint_eq(*ram, kept);
		}
	}
	machine_leave();
	machine_free(machine);
}
END_TEST

static volatile uint64_t *victim;

static void touch(void *unused)
{
	*victim = *victim + 1;
}

static void assert_faults(struct machine *machine, uint64_t address, const char *what)
{
	struct trap_report report;
	char words[40];

	victim = machine_pointer(machine, (struct vaddr){ address });
	ck_assert_msg(!trap_run(touch, NULL, &report), "%s is mapped", what);
	ck_assert_str_eq(report.kind, "page-fault");
	snprintf(words, sizeof(words), "read of kernel address 0x%jx", (uintmax_t)address);
	ck_assert_msg(strstr(report.message, words), "%s: %s", what, report.message);
	ck_assert_msg(strstr(report.message, "test_machine.c:"), "%s: %s", what, report.message);
}

START_TEST(what_the_kernel_does_not_map_faults)
{
	struct machine *machine = boot_on(preset(pcs[_i]), "bitmap", PASS_NATIVE);
	const struct machine_layout *layout = machine->layout;

	assert_faults(machine, layout->boot_window + 2 * MIB, "the loader's window");
	assert_faults(machine, layout->direct_map + 0xc0000, "the hole under 1 MiB");
	if (layout->arch[0] == 'x')
		assert_faults(machine, layout->direct_map + 3 * GIB + MIB, "the PCI hole");
	assert_faults(machine, layout->base + layout->bytes - 4 * KIB, "the end of the space");
	machine_leave();
	machine_free(machine);
}
END_TEST

START_TEST(loaders_window_shows_ram_before_boot)
{
	struct machine_config *config = preset(pcs[_i]);
	struct machine *machine = machine_new(config, &error);
	struct vaddr window = { machine->layout->boot_window + 5 * MIB };

	ck_assert_msg(machine, "%s", why());
	*(uint64_t *)machine_pointer(machine, window) = 42;
	ck_assert_uint_eq(machine->ram.bytes[5 * MIB], 42);
	ck_assert(!machine->booted);
	machine_free(machine);
	machine_config_free(config);
}
END_TEST

START_TEST(without_paging_addresses_are_physical)
{
	struct machine_config *config = preset("pc-512m-i386");

	ck_assert(machine_config_set(config, "paging", "off", &error));
	struct machine *machine = boot_on(config, "buddy", PASS_NATIVE);
	ck_assert_uint_eq(machine->boot.table_frames, 0);
	ck_assert_uint_eq(machine->boot.top_table.a, 0);
	*(uint64_t *)machine_pointer(machine, (struct vaddr){ 5 * MIB }) = 42;
	ck_assert_uint_eq(machine->ram.bytes[5 * MIB], 42);
	machine_leave();
	machine_free(machine);
}
END_TEST

START_TEST(long_mode_needs_paging_and_a_cpu_that_has_it)
{
	struct machine_config *config = preset("pc-512m");

	ck_assert(machine_config_set(config, "paging", "off", &error));
	ck_assert(!machine_new(config, &error));
	ck_assert(g_error_matches(error, LAB_ERROR, LAB_ERROR_USAGE));
	g_clear_error(&error);
	ck_assert(machine_config_set(config, "paging", "on", &error));
	ck_assert(machine_config_set(config, "cpu", "pentium", &error));
	ck_assert(!machine_new(config, &error));
	ck_assert(g_error_matches(error, LAB_ERROR, LAB_ERROR_USAGE));
	machine_config_free(config);
}
END_TEST

struct lesser_cpu {
	const char *name, *machine;
	const char *settings[3][2];
};

static struct machine_config *lesser_config(const struct lesser_cpu *cpu)
{
	struct machine_config *config = preset(cpu->machine);

	for (unsigned s = 0; s < 3 && cpu->settings[s][0]; s++)
		ck_assert_msg(machine_config_set(config, cpu->settings[s][0], cpu->settings[s][1],
						 &error),
			      "%s: %s", cpu->name, why());
	return config;
}

static const struct {
	struct lesser_cpu cpu;
	uint64_t on, off; /* CR4 bits after boot */
	bool nxe;
} lesser_cpus[] = {
	{ { "pentium", "pc-512m-i386", { { "cpu", "pentium" } } },
	  X86_CR4_PSE,
	  X86_CR4_PGE,
	  false },
	{ { "486",
	    "pc-512m-i386",
	    { { "cpu", "pentium" }, { "mmu.features.pse", "0" }, { "leaf", "4K" } } },
	  0,
	  X86_CR4_PSE | X86_CR4_PGE,
	  false },
	{ { "skylake", "pc-512m-i386", { { "cpu", "skylake" } } },
	  X86_CR4_PSE | X86_CR4_PGE,
	  0,
	  false },
	{ { "x86_64", "pc-512m", { { "cpu", "skylake" } } }, X86_CR4_PAE | X86_CR4_PGE, 0, true },
	{ { "x86_64 without NX and PGE",
	    "pc-512m",
	    { { "mmu.features.nx", "0" }, { "mmu.features.pge", "0" } } },
	  X86_CR4_PAE,
	  X86_CR4_PGE,
	  false },
};

/* The same kernel boots on a CPU that lacks a feature, and turns on only what is there. */
START_TEST(kernel_turns_on_what_the_cpu_has)
{
	const char *name = lesser_cpus[_i].cpu.name;

	for (unsigned pass = 0; pass < PASSES; pass++) {
		struct machine *machine =
			boot_on(lesser_config(&lesser_cpus[_i].cpu), "bitmap", pass);
		uint64_t cr4 = mmu_read_cr4(machine->cpu[0]),
			 wanted = lesser_cpus[_i].on | lesser_cpus[_i].off;
		bool nxe = mmu_read_efer(machine->cpu[0]) & X86_EFER_NXE;

		ck_assert_msg((cr4 & wanted) == lesser_cpus[_i].on, "%s: CR4 0x%lx", name,
			      (unsigned long)cr4);
		ck_assert_msg(nxe == lesser_cpus[_i].nxe, "%s: NXE %d", name, nxe);
		struct vaddr va = { machine->layout->direct_map + 5 * MIB };
		*(uint64_t *)machine_pointer(machine, va) = 42;
		ck_assert_uint_eq(machine->ram.bytes[5 * MIB], 42);
		machine_leave();
		machine_free(machine);
	}
}
END_TEST

static const struct {
	struct lesser_cpu cpu;
	const char *why; /* part of the message */
} impossible_leaves[] = {
	{ { "486", "pc-512m-i386", { { "cpu", "pentium" }, { "mmu.features.pse", "0" } } },
	  "this CPU has no 4 MiB pages" },
	{ { "old x86_64", "pc-4g", { { "mmu.features.page1g", "0" }, { "leaf", "1G" } } },
	  "this CPU has no 1 GiB pages" },
};

START_TEST(leaves_that_the_cpu_has_not_are_refused_with_the_reason)
{
	struct machine_config *config = lesser_config(&impossible_leaves[_i].cpu);
	struct machine *machine = machine_new(config, &error);
	struct frame_config options;

	ck_assert_msg(machine, "%s", why());
	frame_config_defaults(frame_find("bitmap"), &options);
	machine_enter(machine);
	ck_assert(!machine_boot(machine, kernels[PASS_NATIVE].boot, frame_find("bitmap"), &options,
				&error));
	ck_assert_msg(strstr(why(), impossible_leaves[_i].why) != NULL, "%s", why());
	machine_leave();
	machine_free(machine);
	machine_config_free(config);
}
END_TEST

START_TEST(all_cpus_run_in_the_kernels_tables)
{
	for (unsigned pass = 0; pass < PASSES; pass++) {
		struct machine_config *config = preset("pc-512m");
		config->cpus = 5;
		struct machine *machine = boot_on(config, "bitmap", pass);
		for (unsigned i = 0; i < 5; i++) {
			struct mmu_walk walk;
			struct vaddr va = { machine->layout->direct_map + 5 * MIB };
			ck_assert_uint_eq(mmu_read_cr3(machine->cpu[i]), machine->boot.top_table.a);
			ck_assert_int_eq(mmu_walk(machine->cpu[i], va, NULL, &walk), 0);
			ck_assert_uint_eq(walk.paddr.a, 5 * MIB);
		}
		machine_leave();
		machine_free(machine);
	}
}
END_TEST

/* ---- large and small ---- */

static uint64_t resident_bytes(void)
{
	unsigned long total, resident;
	FILE *file = fopen("/proc/self/statm", "re");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(fscanf(file, "%lu %lu", &total, &resident), 2);
	fclose(file);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

START_TEST(sparse_ram_costs_what_is_touched)
{
	struct machine_config *config = preset("pc-4g");
	uint64_t before = resident_bytes();

	ck_assert(machine_config_resize(config, 64 * GIB, &error));
	ck_assert(machine_config_set(config, "leaf", "1G", &error));
	struct machine *machine = boot_on(config, "null", PASS_NATIVE);
	ck_assert_uint_gt(machine->boot.map.frames, 63 * GIB / (4 * KIB));
	ck_assert_uint_lt(resident_bytes() - before, 64 * MIB);
	machine_leave();
	machine_free(machine);
}
END_TEST

START_TEST(touched_frames_are_those_that_were_written)
{
	static const struct frame_range written[] = { { { 3 }, 1 },
						      { { 700 }, 2 },
						      { { 4095 }, 1 } };
	struct ram ram;

	ck_assert(ram_init(&ram, 16 * MIB, &error));
	GArray *touched = ram_touched(&ram);
	ck_assert_uint_eq(touched->len, 0);
	g_array_unref(touched);
	for (gsize i = 0; i < G_N_ELEMENTS(written); i++)
		memset(ram.bytes + written[i].first.n * FRAME_BYTES, 0x5a,
		       written[i].frames * FRAME_BYTES);
	touched = ram_touched(&ram);
	ck_assert_uint_eq(touched->len, G_N_ELEMENTS(written));
	ck_assert_mem_eq(touched->data, written, sizeof(written));
	g_array_unref(touched);
	ram_fini(&ram);
}
END_TEST

START_TEST(machines_without_room_say_so)
{
	static const char *const maps[] = {
		"BIOS-e820: [mem 0x0000000000000000-0x0000000000ffffff] reserved\n",
		"BIOS-e820: [mem 0x0000000000100000-0x00000000001007ff] usable\n",
		"BIOS-e820: [mem 0x0000000000000000-0x0000000000000fff] usable\n",
		"BIOS-e820: [mem 0xfffffffffffff000-0xffffffffffffffff] usable\n",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(maps); i++) {
		struct machine_config *config = story_machine("tiny", maps[i]);
		ck_assert_msg(!machine_new(config, &error), "%s", maps[i]);
		ck_assert_msg(g_error_matches(error, LAB_ERROR, LAB_ERROR_BOOT), "%s", why());
		g_clear_error(&error);
		machine_config_free(config);
	}
}
END_TEST

static void add_case(Suite *suite, TCase *one)
{
	tcase_add_checked_fixture(one, NULL, tear_down);
	tcase_set_timeout(one, 30);
	suite_add_tcase(suite, one);
}

int main(void)
{
	Suite *suite = suite_create("machine");
	TCase *one = tcase_create("sizes");

	tcase_add_loop_test(one, sizes_are_numbers_with_a_unit, 0, (int)G_N_ELEMENTS(sizes));
	tcase_add_loop_test(one, formatted_sizes_are_short_and_exact, 0,
			    (int)G_N_ELEMENTS(formats));
	add_case(suite, one);

	one = tcase_create("configurations");
	tcase_add_loop_test(one, presets_have_the_holes_of_a_pc, 0, (int)presets());
	tcase_add_loop_test(one, presets_boot_in_both_builds, 0, (int)presets());
	tcase_add_loop_test(one, resizing_makes_usable_ram_add_up, 0, (int)G_N_ELEMENTS(resizes));
	tcase_add_test(one, extending_goes_around_reserved_entries);
	tcase_add_test(one, extending_ends_where_everything_is_reserved);
	tcase_add_loop_test(one, settings_are_judged, 0, (int)G_N_ELEMENTS(settings));
	tcase_add_test(one, leaves_of_i386_are_others);
	tcase_add_test(one, unknown_machines_are_a_usage_error);
	add_case(suite, one);

	one = tcase_create("address spaces");
	tcase_add_test(one, i386_pointers_end_in_the_kernel_address);
	tcase_add_loop_test(one, direct_map_shows_what_ram_holds, 0, (int)G_N_ELEMENTS(pcs));
	tcase_add_loop_test(one, what_the_kernel_does_not_map_faults, 0, (int)G_N_ELEMENTS(pcs));
	tcase_add_loop_test(one, loaders_window_shows_ram_before_boot, 0, (int)G_N_ELEMENTS(pcs));
	tcase_add_test(one, without_paging_addresses_are_physical);
	tcase_add_test(one, long_mode_needs_paging_and_a_cpu_that_has_it);
	tcase_add_loop_test(one, kernel_turns_on_what_the_cpu_has, 0,
			    (int)G_N_ELEMENTS(lesser_cpus));
	tcase_add_loop_test(one, leaves_that_the_cpu_has_not_are_refused_with_the_reason, 0,
			    (int)G_N_ELEMENTS(impossible_leaves));
	tcase_add_test(one, all_cpus_run_in_the_kernels_tables);
	add_case(suite, one);

	one = tcase_create("large and small");
	tcase_add_test(one, sparse_ram_costs_what_is_touched);
	tcase_add_test(one, touched_frames_are_those_that_were_written);
	tcase_add_test(one, machines_without_room_say_so);
	add_case(suite, one);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
