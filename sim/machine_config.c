/* Machines by name, by file, by trace; and what can be set on them. */
#include "sim/machine.h"

#include <string.h>

#include "sim/lab.h"
#include "sim/machine_file.h"
#include "sim/size.h"
#include "workloads/memory_map.h"
#include "workloads/small_file.h"

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

const struct machine_preset machine_presets[] = {
	{ "pc-512m", "512 MiB PC, x86_64", MACHINE_X86_64, 512 * MIB },
	{ "pc-512m-i386", "512 MiB PC, i386 (two-level paging)", MACHINE_I386, 512 * MIB },
	{ "pc-1g", "1 GiB PC, x86_64", MACHINE_X86_64, 1 * GIB },
	{ "pc-4g", "4 GiB PC, x86_64, 1 GiB of it above the hole at 3 GiB", MACHINE_X86_64,
	  4 * GIB },
	{ NULL, NULL, 0, 0 },
};

/* A PC's lower hole: 639 KiB, the EBIOS area, video memory and ROMs up to 1 MiB; the upper one: PCI
 * from 3 GiB to 4 GiB. */
#define LOW_END	      0x9fc00ull
#define EBIOS_END     0xa0000ull
#define ROM_BASE      0xf0000ull
#define HIGH_BASE     0x100000ull
#define PCI_HOLE_BASE (3 * GIB)
#define PCI_HOLE_END  (4 * GIB)

static void map_add(GArray *map, uint64_t base, uint64_t end, uint32_t type)
{
	struct memory_range range = { .base = base, .bytes = end - base, .type = type };

	if (end > base)
		g_array_append_val(map, range);
}

GArray *machine_pc_map(uint64_t ram_bytes)
{
	GArray *map = g_array_new(FALSE, TRUE, sizeof(struct memory_range));

	map_add(map, 0, LOW_END, MEMORY_USABLE);
	map_add(map, LOW_END, EBIOS_END, MEMORY_RESERVED);
	map_add(map, ROM_BASE, HIGH_BASE, MEMORY_RESERVED);
	map_add(map, HIGH_BASE, MIN(ram_bytes, PCI_HOLE_BASE), MEMORY_USABLE);
	map_add(map, PCI_HOLE_END - 256 * KIB, PCI_HOLE_END, MEMORY_RESERVED);
	if (ram_bytes > PCI_HOLE_BASE)
		map_add(map, PCI_HOLE_END, PCI_HOLE_END + (ram_bytes - PCI_HOLE_BASE),
			MEMORY_USABLE);
	return map;
}

static struct machine_config *config_new(const char *name, enum machine_arch arch, GArray *map)
{
	struct machine_config *config = g_new0(struct machine_config, 1);

	config->name = g_strdup(name);
	config->arch = arch;
	config->memory_map = map;
	config->leaf_bytes = machine_layout(arch)->leaf_bytes;
	config->paging = true;
	config->cpus = 1;
	config->windows = WINDOW_FILLS_DEFAULT;
	config->mmu = *mmu_preset("skylake");
	return config;
}

struct machine_config *machine_config_from_map(const char *name, const GArray *memory_map)
{
	return config_new(name, MACHINE_X86_64, g_array_copy((GArray *)(uintptr_t)memory_map));
}

static struct machine_config *config_from_file(const char *path, GError **error)
{
	g_autofree char *text = NULL, *name = g_path_get_basename(memory_map_file(path));

	/* What cannot be read is complained of where memory maps are. */
	if (small_file_read(path, &text, NULL, NULL) && machine_file_is(text))
		return machine_file_parse(path, text, error);
	GArray *map = memory_map_load(path, error);
	return map ? config_new(name, MACHINE_X86_64, map) : NULL;
}

struct machine_config *machine_config_new(const char *name_or_file, GError **error)
{
	for (const struct machine_preset *preset = machine_presets; preset->name; preset++)
		if (strcmp(preset->name, name_or_file) == 0)
			return config_new(preset->name, preset->arch,
					  machine_pc_map(preset->ram_bytes));
	if (!g_file_test(memory_map_file(name_or_file), G_FILE_TEST_EXISTS)) {
		g_set_error(
			error, LAB_ERROR, LAB_ERROR_USAGE,
			"unknown machine '%s': neither a preset (kmemlab list machines) nor a file",
			name_or_file);
		return NULL;
	}
	return config_from_file(name_or_file, error);
}

struct machine_config *machine_config_copy(const struct machine_config *config)
{
	struct machine_config *copy = g_memdup2(config, sizeof(*config));

	copy->name = g_strdup(config->name);
	copy->memory_map = g_array_copy(config->memory_map);
	return copy;
}

void machine_config_free(struct machine_config *config)
{
	if (!config)
		return;
	g_free(config->name);
	g_array_unref(config->memory_map);
	g_free(config);
}

static bool set_arch(struct machine_config *config, const char *value)
{
	for (unsigned arch = 0; arch < MACHINE_ARCHS; arch++) {
		if (strcmp(machine_layout(arch)->arch, value) == 0) {
			config->arch = arch;
			config->mode = BOOT_PAGING_NONE;
			config->leaf_bytes = machine_layout(arch)->leaf_bytes;
			return true;
		}
	}
	return false;
}

static bool set_leaf(struct machine_config *config, const char *value)
{
	uint64_t bytes;
	enum boot_paging mode =
		config->paging ? machine_paging(config) : machine_layout(config->arch)->paging;
	const struct table_geometry *g = table_geometry(mode);

	if (!size_parse(value, &bytes))
		return false;
	for (unsigned l = 0; l < g->depth; l++) {
		if (!g->level[l].leaf || bytes != table_span(g, l))
			continue;
		config->leaf_bytes = (uint32_t)bytes;
		return true;
	}
	return false;
}

static bool set_cpu(struct machine_config *config, const char *value)
{
	const struct mmu_config *preset = mmu_preset(value);

	if (preset)
		config->mmu = *preset;
	return preset != NULL;
}

static bool set_switch(const char *value, bool *on)
{
	*on = strcmp(value, "on") == 0;
	return *on || strcmp(value, "off") == 0;
}

/* A leaf of the direct map that the mode does not have becomes its middle one. */
static void fit_leaf(struct machine_config *config)
{
	const struct table_geometry *g = table_geometry(machine_paging(config));

	for (unsigned l = 0; l < g->depth; l++)
		if (g->level[l].leaf && config->leaf_bytes == table_span(g, l))
			return;
	if (g->depth > 1)
		config->leaf_bytes = (uint32_t)table_span(g, 1);
}

static bool set_paging(struct machine_config *config, const char *value)
{
	bool on = true;
	enum boot_paging mode = BOOT_PAGING_NONE;

	for (unsigned i = BOOT_PAGING_NONE + 1; i < BOOT_PAGING_MODES; i++)
		if (strcmp(value, table_geometry(i)->name) == 0)
			mode = i;
	if (!mode && !set_switch(value, &on))
		return false;
	config->paging = on;
	config->mode = mode;
	config->mmu.features.la57 |= mode == BOOT_PAGING_5LEVEL;
	fit_leaf(config);
	return true;
}

static bool set_layout(struct machine_config *config, const char *value)
{
	config->many_directories = strcmp(value, "directories") == 0;
	return config->many_directories || strcmp(value, "classic") == 0;
}

static bool set_highmem(struct machine_config *config, const char *value)
{
	bool on;

	if (!set_switch(value, &on))
		return false;
	config->highmem = on;
	return true;
}

static bool set_stale_check(struct machine_config *config, const char *value)
{
	bool on;

	if (!set_switch(value, &on))
		return false;
	config->stale_check = on;
	return true;
}

static bool set_windows(struct machine_config *config, const char *value)
{
	guint64 fills;

	if (!g_ascii_string_to_unsigned(value, 10, WINDOW_FILLS_MIN, WINDOW_FILLS_MAX, &fills,
					NULL))
		return false;
	config->windows = (uint32_t)fills;
	return true;
}

static bool set_mmu(struct machine_config *config, const char *field, const char *value)
{
	guint64 number;

	return g_ascii_string_to_unsigned(value, 10, 0, G_MAXUINT64, &number, NULL) &&
	       mmu_config_set(&config->mmu, field, number) && !mmu_config_problem(&config->mmu);
}

bool machine_config_set(struct machine_config *config, const char *key, const char *value,
			GError **error)
{
	static const struct {
		const char *key;
		bool (*set)(struct machine_config *, const char *);
		const char *values;
	} keys[] = {
		{ "arch", set_arch, "x86_64 or i386" },
		{ "leaf", set_leaf, "4K, 2M or 1G (x86_64), 4K or 4M (i386), 4K or 2M (PAE)" },
		{ "cpu", set_cpu, "tiny, pentium, skylake or zen4" },
		{ "paging", set_paging, "on, off, 32, pae, 4level or 5level" },
		{ "layout", set_layout, "classic or directories" },
		{ "highmem", set_highmem, "on or off" },
		{ "windows", set_windows, "16 to 16384" },
		{ "stale-check", set_stale_check, "on or off" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
		if (strcmp(key, keys[i].key) != 0)
			continue;
		if (keys[i].set(config, value))
			return true;
		g_set_error(error, LAB_ERROR, LAB_ERROR_USAGE, "machine.%s: '%s' is not %s", key,
			    value, keys[i].values);
		return false;
	}
	if (g_str_has_prefix(key, "mmu.")) {
		if (set_mmu(config, key + strlen("mmu."), value))
			return true;
		g_set_error(error, LAB_ERROR, LAB_ERROR_USAGE,
			    "machine.%s: no such field, or '%s' is not possible there", key, value);
		return false;
	}
	g_set_error(error, LAB_ERROR, LAB_ERROR_USAGE,
		    "unknown setting machine.%s (arch, leaf, cpu, paging, layout, windows, "
		    "stale-check, "
		    "mmu.FIELD)",
		    key);
	return false;
}

/* ---- size ---- */

/* The highest usable range, NULL if there is none. */
static struct memory_range *highest_usable(GArray *map)
{
	struct memory_range *best = NULL;

	for (guint i = 0; i < map->len; i++) {
		struct memory_range *range = &g_array_index(map, struct memory_range, i);
		if (range->type == MEMORY_USABLE && range->bytes &&
		    (!best || range->base > best->base))
			best = range;
	}
	return best;
}

static void cut_usable(GArray *map, uint64_t bytes)
{
	uint64_t have;

	while ((have = memory_map_usable_frames(map) * FRAME_BYTES) > bytes) {
		struct memory_range *top = highest_usable(map);
		top->bytes -= MIN(top->bytes, have - bytes);
	}
}

/* Does the entry claim anything of the frame at START? */
static bool claims(const struct memory_range *range, uint64_t start)
{
	if (range->bytes == 0)
		return false;
	return start >= range->base ? start - range->base < range->bytes
				    : range->base - start < FRAME_BYTES;
}

/* The first frame at or above START of which no entry claims anything, as an address; *end is where
 * the next claim (or the PCI hole) begins. */
static uint64_t next_gap(const GArray *map, uint64_t start, uint64_t *end)
{
	bool moved = true;

	start = (start + FRAME_BYTES - 1) & ~(FRAME_BYTES - 1);
	while (moved) {
		moved = false;
		if (start >= PCI_HOLE_BASE && start < PCI_HOLE_END)
			start = PCI_HOLE_END;
		for (guint i = 0; i < map->len; i++) {
			const struct memory_range *range =
				&g_array_index(map, struct memory_range, i);
			if (claims(range, start)) {
				if (range->bytes > RAM_MAX_BYTES ||
				    range->base + range->bytes > RAM_MAX_BYTES)
					return *end = RAM_MAX_BYTES;
				start = (range->base + range->bytes + FRAME_BYTES - 1) &
					~(FRAME_BYTES - 1);
				moved = true;
			}
		}
	}
	*end = start < PCI_HOLE_BASE ? PCI_HOLE_BASE : RAM_MAX_BYTES;
	for (guint i = 0; i < map->len; i++) {
		const struct memory_range *range = &g_array_index(map, struct memory_range, i);
		if (range->bytes && range->base >= start)
			*end = MIN(*end, range->base & ~(FRAME_BYTES - 1));
	}
	return start;
}

bool machine_config_resize(struct machine_config *config, uint64_t bytes, GError **error)
{
	GArray *map = config->memory_map;
	uint64_t cursor = memory_map_end(map), have, end;

	if (bytes < FRAME_BYTES || bytes > RAM_MAX_BYTES) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_USAGE,
			    "RAM size out of range: 4K to 2T is possible");
		return false;
	}
	bytes &= ~(FRAME_BYTES - 1);
	cut_usable(map, bytes);
	while ((have = memory_map_usable_frames(map) * FRAME_BYTES) < bytes) {
		cursor = next_gap(map, cursor, &end);
		if (cursor >= RAM_MAX_BYTES) {
			g_set_error(error, LAB_ERROR, LAB_ERROR_USAGE,
				    "no room for that much RAM in the memory map");
			return false;
		}
		map_add(map, cursor, MIN(end, cursor + (bytes - have)), MEMORY_USABLE);
		cursor = MIN(end, cursor + (bytes - have));
	}
	return true;
}
