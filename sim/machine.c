/*
 * The machine: RAM, CPUs and the kernel's address space as the host sees it.
 *
 * Power-on leaves what a boot loader leaves: the firmware's memory map in RAM, and physical memory
 * visible through the boot window. When the kernel turns its own tables on, the window goes (a
 * pointer kept from before faults from then on) and the direct map comes, after the simulated
 * tables have been asked whether they really say so.
 */
#include "sim/machine.h"

#include <string.h>
#include <sys/mman.h>

#include "alloc/memmap.h"
#include "sim/lab.h"
#include "sim/size.h"
#include "sim/trap.h"
#include "workloads/memory_map.h"

#define MIB (1024ull * 1024)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

/* Top 8 TiB of a 48-bit space: direct map first, the loader's window in its upper half, room for
 * heap, windows and the recursive slots 510 and 511 (the last TiB) between. */
#define X86_64_BASE (0ull - 8 * TIB)

static const struct machine_layout layouts[MACHINE_ARCHS] = {
	[MACHINE_X86_64] = {
		.arch = "x86_64",
		.base = X86_64_BASE,
		.bytes = 8 * TIB,
		.align = 2 * MIB,
		.boot_window = X86_64_BASE + 4 * TIB,
		.boot_window_bytes = 2 * TIB,
		.direct_map = X86_64_BASE,
		.direct_map_bytes = 4 * TIB,
		.paging = BOOT_PAGING_4LEVEL,
		.leaf_bytes = 2 * MIB,
	},
	/* The classic higher half: user below 3 GiB, 768 MiB direct map, the rest for heap and windows. */
	[MACHINE_I386] = {
		.arch = "i386",
		.base = 0,
		.bytes = 4 * GIB,
		.align = 4 * GIB,
		.boot_window = 0,
		.boot_window_bytes = 4 * GIB,
		.direct_map = 3 * GIB,
		.direct_map_bytes = 768 * MIB,
		.paging = BOOT_PAGING_32,
		.leaf_bytes = 4 * MIB,
	},
};

const struct machine_layout *machine_layout(enum machine_arch arch)
{
	return &layouts[arch];
}

enum boot_paging machine_paging(const struct machine_config *config)
{
	if (!config->paging)
		return BOOT_PAGING_NONE;
	return config->mode ? config->mode : machine_layout(config->arch)->paging;
}

unsigned machine_huge_order(const struct machine_config *config)
{
	return machine_paging(config) == BOOT_PAGING_32 || !config->paging ? 10 : 9;
}

/* i386: the classic layout (guide: systems, M); 16 or 64 MiB of directories above the heap and the
 * frame buffer's window, or 256 MiB of them between a smaller direct map and the heap. */
static struct table_layout i386_tables(const struct machine_config *config)
{
	bool pae = machine_paging(config) == BOOT_PAGING_PAE;
	struct table_layout layout = {
		.own_slot = { pae ? 0xff800000 : 0xffc00000 },
		.foreign_slot = { pae ? 0xff000000 : 0xff800000 },
		.windows = { 0xfe000000 },
		.high = { 0xfe400000 },
		.directories = { 0xf8000000 },
		.directories_max = 4096,
	};

	if (config->many_directories) {
		layout.directories.a = 0xe0000000;
		layout.directories_max = pae ? 16384 : 65536;
	}
	return layout;
}

struct table_layout machine_table_layout(const struct machine_config *config)
{
	struct table_layout layout = {
		.own_slot = { 0ull - TIB / 2 },
		.foreign_slot = { 0ull - TIB },
		.windows = { 0ull - 2 * TIB },
		.directories = { 0ull - 3 * TIB / 2 },
		.directories_max = 65536,
	};

	if (!config->paging)
		return (struct table_layout){ 0 };
	if (config->arch == MACHINE_I386)
		return i386_tables(config);
	/* A slot of the fifth level shows 256 TiB; the reservation has 8. */
	if (machine_paging(config) == BOOT_PAGING_5LEVEL)
		layout.own_slot = layout.foreign_slot = (struct vaddr){ 0 };
	return layout;
}

/* RAM that the kernel can reach: physical addresses below this. */
static uint64_t reachable_bytes(const struct machine_config *config)
{
	const struct machine_layout *layout = machine_layout(config->arch);

	if (config->paging && config->many_directories)
		return 512 * MIB;
	return config->paging ? layout->direct_map_bytes : layout->boot_window_bytes;
}

/* And RAM that it can use: 4-byte entries name 4 GiB of frames, those of PAE 64. */
static uint64_t usable_bytes(const struct machine_config *config)
{
	if (!config->highmem)
		return reachable_bytes(config);
	return machine_paging(config) == BOOT_PAGING_PAE ? 64 * GIB : 4 * GIB;
}

static bool normalise(struct machine *machine, GError **error)
{
	const GArray *map = machine->config->memory_map;
	guint capacity = MEMMAP_RANGES_MAX(map->len);
	struct firmware_range *entries = g_new(struct firmware_range, map->len);
	struct memmap normal;

	for (guint i = 0; i < map->len; i++) {
		const struct memory_range *range = &g_array_index(map, struct memory_range, i);
		entries[i] = (struct firmware_range){ .base = range->base,
						      .bytes = range->bytes,
						      .type = range->type };
	}
	machine->usable = g_array_sized_new(FALSE, TRUE, sizeof(struct frame_range), capacity);
	g_array_set_size(machine->usable, capacity);
	struct paddr limit = { MIN(usable_bytes(machine->config), RAM_MAX_BYTES) };
	int failed = memmap_normalise(entries, map->len, paddr_to_pfn(limit),
				      (struct frame_range *)(void *)machine->usable->data, capacity,
				      &normal);
	g_free(entries);
	if (failed || normal.count == 0) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_BOOT,
			    "machine %s has no usable RAM that a kernel could reach",
			    machine->config->name);
		return false;
	}
	g_array_set_size(machine->usable, normal.count);
	return true;
}

/* What the loader leaves in RAM: the firmware's entries, and room for the kernel's normalised
 * ranges. */
static bool load_memory_map(struct machine *machine, GError **error)
{
	const GArray *map = machine->config->memory_map;
	uint32_t capacity = MEMMAP_RANGES_MAX(map->len) + 1;
	uint64_t entry_bytes = map->len * sizeof(struct firmware_range);
	uint64_t frames = frames_for_bytes(entry_bytes + capacity * sizeof(struct frame_range));

	for (guint i = 0; i < machine->usable->len; i++) {
		const struct frame_range *range =
			&g_array_index(machine->usable, struct frame_range, i);
		if (range->frames < frames)
			continue;
		uint64_t at = pfn_to_paddr(range->first).a;
		struct firmware_range *entries =
			(struct firmware_range *)(void *)(machine->ram.bytes + at);
		for (guint k = 0; k < map->len; k++) {
			const struct memory_range *from =
				&g_array_index(map, struct memory_range, k);
			entries[k] = (struct firmware_range){ .base = from->base,
							      .bytes = from->bytes,
							      .type = from->type };
		}
		struct vaddr window = { machine->layout->boot_window + at };
		machine->params.entries = machine_pointer(machine, window);
		machine->params.entry_count = map->len;
		machine->params.ranges = machine_pointer(machine, vaddr_add(window, entry_bytes));
		machine->params.range_capacity = capacity;
		machine->params.loaded = (struct frame_range){ range->first, frames };
		return true;
	}
	g_set_error(error, LAB_ERROR, LAB_ERROR_BOOT,
		    "machine %s: no usable range holds the memory map itself (%" G_GUINT64_FORMAT
		    " frames)",
		    machine->config->name, frames);
	return false;
}

static bool make_cpus(struct machine *machine, GError **error)
{
	const struct machine_config *config = machine->config;
	const char *problem = mmu_config_problem(&config->mmu);

	if (problem) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_USAGE, "machine %s: %s", config->name,
			    problem);
		return false;
	}
	machine->memory =
		(struct mmu_memory){ .bytes = machine->ram.bytes, .bytes_size = machine->ram.size };
	machine->cpu = g_new0(struct mmu_cpu *, config->cpus);
	for (unsigned i = 0; i < config->cpus; i++) {
		void *memory = g_aligned_alloc0(1, mmu_cpu_bytes(&config->mmu), 64);
		machine->cpu[i] = mmu_cpu_init(memory, &config->mmu, &machine->memory, i);
		windows_listen(machine->windows, machine->cpu[i]);
	}
	machine_set_cpu(machine, 0);
	return true;
}

static bool make_address_space(struct machine *machine, GError **error)
{
	const struct machine_layout *layout = machine->layout;

	machine->reservation = ram_reserve(layout->bytes, layout->align, error);
	if (!machine->reservation)
		return false;
	machine->host_minus_kernel =
		(int64_t)((uint64_t)(uintptr_t)machine->reservation - layout->base);
	machine->windows = windows_new(&machine->ram, machine->reservation, layout->base,
				       machine->config->windows);
	struct vaddr window = { layout->boot_window };
	return ram_map(&machine->ram, 0, MIN(machine->ram.size, layout->boot_window_bytes),
		       machine_pointer(machine, window), error);
}

/* What the CPU cannot do, and what does not go together. */
static bool is_possible(const struct machine_config *config, GError **error)
{
	const struct mmu_features *has = &config->mmu.features;
	enum boot_paging mode = machine_paging(config);
	bool i386 = config->arch == MACHINE_I386;
	const char *problem = NULL;

	if (!config->paging && !i386)
		problem = "long mode needs paging; paging=off is for i386";
	else if (!i386 && !has->long_mode)
		problem = "an x86_64 kernel needs a CPU with long mode";
	else if (i386 == (mode == BOOT_PAGING_4LEVEL || mode == BOOT_PAGING_5LEVEL))
		problem = i386 ? "paging with 4 and 5 levels is for x86_64"
			       : "paging of 32 bits and PAE is for i386";
	else if (mode == BOOT_PAGING_5LEVEL && !has->la57)
		problem = "the CPU has no 5-level paging (machine.mmu.features.la57=1)";
	else if (mode == BOOT_PAGING_PAE && !(has->pae && has->nx))
		problem = "the CPU has no PAE with NX";
	else if (config->many_directories && !i386)
		problem = "layout=directories is for i386";
	else if (config->highmem && (!i386 || !config->paging))
		problem = "highmem=on is for i386 with paging: elsewhere all RAM is in reach";
	if (problem)
		g_set_error(error, LAB_ERROR, LAB_ERROR_USAGE, "machine %s: %s", config->name,
			    problem);
	return !problem;
}

struct machine *machine_new(const struct machine_config *config, GError **error)
{
	struct machine *machine = g_new0(struct machine, 1);

	machine->config = machine_config_copy(config);
	machine->layout = machine_layout(config->arch);
	machine->ram.fd = -1;
	if (!is_possible(config, error))
		goto failed;
	if (!normalise(machine, error))
		goto failed;
	const struct frame_range *top =
		&g_array_index(machine->usable, struct frame_range, machine->usable->len - 1);
	uint64_t size = pfn_to_paddr(pfn_add(top->first, top->frames)).a;
	if (!ram_init(&machine->ram, size, error) || !make_address_space(machine, error) ||
	    !make_cpus(machine, error) || !load_memory_map(machine, error))
		goto failed;
	return machine;
failed:
	machine_free(machine);
	return NULL;
}

void machine_free(struct machine *machine)
{
	if (!machine)
		return;
	for (unsigned i = 0; machine->cpu && i < machine->config->cpus; i++)
		g_aligned_free(machine->cpu[i]);
	g_free(machine->cpu);
	windows_free(machine->windows);
	if (machine->reservation)
		munmap(machine->reservation, machine->layout->bytes);
	ram_fini(&machine->ram);
	if (machine->usable)
		g_array_unref(machine->usable);
	machine_config_free(machine->config);
	g_free(machine);
}

/* ---- boot ---- */

struct boot_call {
	struct machine *machine;
	machine_boot_fn fn;
	int status;
};

/* What the kernel reads and writes stands in simulated RAM or on its stack: copies, not the lab's
 * structs. */
static void call_boot(void *argument)
{
	struct boot_call *call = argument;
	struct boot_params params = call->machine->params;
	struct boot_result result = { 0 };

	trap_kernel_begin();
	call->status = call->fn(&params, &result);
	trap_kernel_end();
	call->machine->boot = result;
}

/* The boot CPU brings the others up with its own control registers, as a kernel's start-up code
 * does. */
static void start_other_cpus(struct machine *machine)
{
	struct mmu_state state = mmu_save_state(machine->cpu[0]);

	for (unsigned i = 1; i < machine->config->cpus; i++)
		if (mmu_load_state(machine->cpu[i], &state).vector != MMU_NO_FAULT)
			g_error("lab error: CPU %u refuses the state of CPU 0", i);
}

/* What the loader read from CPUID. */
static uint32_t cpu_lacks(const struct mmu_features *has)
{
	return (has->pse ? 0 : BOOT_NO_PSE) | (has->pge ? 0 : BOOT_NO_PGE) |
	       (has->nx ? 0 : BOOT_NO_NX) | (has->page1g ? 0 : BOOT_NO_1G);
}

static unsigned find_option(const struct frame_ops *frames, const char *key)
{
	unsigned i = 0;

	while (frames->options && frames->options[i].key &&
	       strcmp(frames->options[i].key, key) != 0)
		i++;
	return frames->options && frames->options[i].key ? i : FRAME_OPTIONS_MAX;
}

/* With high memory, the kernel asks for frames of its own by zone, and the zone that it means ends
 * where the direct map does. */
static bool fit_zones(const struct machine *machine, const struct frame_ops *frames,
		      struct frame_config *config, GError **error)
{
	const uint64_t direct_mib = reachable_bytes(machine->config) / MIB;
	unsigned zones = find_option(frames, "zones"), low = find_option(frames, "low-mib");
	const char *problem = NULL;

	if (!machine->config->highmem)
		return true;
	if (frames->caps & FRAME_CAP_IN_FRAME)
		problem = "keeps records in free frames, which the direct map must show";
	else if (!(frames->caps & FRAME_CAP_ZONES) || zones == FRAME_OPTIONS_MAX ||
		 low == FRAME_OPTIONS_MAX)
		problem = "has no zone that ends where the direct map does (zoned-buddy has)";
	else if (config->option[low] > direct_mib)
		problem = "has a second zone that ends beyond the direct map (low-mib)";
	if (problem) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_USAGE,
			    "machine %s: highmem=on: the frame allocator %s %s",
			    machine->config->name, frames->name, problem);
		return false;
	}
	for (uint64_t i = 0; frames->options[zones].choices[i]; i++)
		if (strcmp(frames->options[zones].choices[i], "i386") == 0)
			config->option[zones] = i;
	if (config->option[low] == 0)
		config->option[low] = direct_mib;
	return true;
}

bool machine_boot(struct machine *machine, machine_boot_fn boot_fn, const struct frame_ops *frames,
		  const struct frame_config *frame_config, GError **error)
{
	const struct machine_layout *layout = machine->layout;
	struct boot_params *params = &machine->params;
	struct boot_call call = { .machine = machine, .fn = boot_fn };
	struct trap_report report;

	params->paging = machine_paging(machine->config);
	params->direct_map = (struct vaddr){ machine->config->paging ? layout->direct_map
								     : layout->boot_window };
	params->direct_map_bytes = reachable_bytes(machine->config);
	params->ram_bytes = usable_bytes(machine->config);
	params->direct_leaf_bytes = machine->config->leaf_bytes;
	params->cpu_lacks = cpu_lacks(&machine->config->mmu.features);
	params->frames = frames;
	params->ram_is_zero = true; /* a fresh memfd */
	params->config = *frame_config;
	if (!fit_zones(machine, frames, &params->config, error))
		return false;
	if (!trap_run(call_boot, &call, &report)) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_ALLOCATOR,
			    "allocator error: %s died while booting: %s", frames->name,
			    report.message);
		return false;
	}
	if (call.status != KERR_OK) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_BOOT, "%s cannot boot on machine %s: %s",
			    frames->name, machine->config->name,
			    machine->boot.why ? machine->boot.why : "no reason given");
		return false;
	}
	machine->booted = true;
	start_other_cpus(machine);
	return true;
}

/* What of a range is in the direct map. */
static struct frame_range direct_part(const struct machine *machine,
				      const struct frame_range *range)
{
	uint64_t end = reachable_bytes(machine->config) >> X86_PAGE_SHIFT;

	return (struct frame_range){ range->first,
				     range->first.n < end ? MIN(range->frames, end - range->first.n)
							  : 0 };
}

/* The simulated tables must say "linear" for what gets one host mapping: asked at every page that a
 * leaf could begin with. */
static void map_direct(struct machine *machine, const struct frame_range *range)
{
	struct mmu_cpu *cpu = machine->cpu[machine->current_cpu];
	uint64_t first = pfn_to_paddr(range->first).a,
		 end = first + (range->frames << X86_PAGE_SHIFT);
	struct mmu_walk walk;
	GError *error = NULL;

	for (uint64_t at = first; at < end; at = MIN(round_down_u64(at, 2 * MIB) + 2 * MIB,
						     MAX(at + FRAME_BYTES, end - FRAME_BYTES))) {
		struct vaddr va = { machine->layout->direct_map + at };
		if (mmu_walk(cpu, va, NULL, &walk) != 0 || walk.paddr.a != at)
			trap_die("boot",
				 "the kernel's tables do not map physical 0x%" PRIx64
				 " at 0x%" PRIx64,
				 at, va.a);
	}
	struct vaddr va = { machine->layout->direct_map + first };
	if (!ram_map(&machine->ram, first, end - first, machine_pointer(machine, va), &error))
		trap_die("lab", "%s", error->message);
}

void machine_paging_changed(struct machine *machine)
{
	struct mmu_cpu *cpu = machine->cpu[machine->current_cpu];
	struct vaddr window = { machine->layout->boot_window };

	if (machine->booted || mmu_mode(cpu) == MMU_MODE_NONE)
		return;
	if (mmu_mode(cpu) >= MMU_MODE_4LEVEL)
		mmu_set_code64(cpu, true);
	ram_unmap(machine_pointer(machine, window),
		  MIN(machine->ram.size, machine->layout->boot_window_bytes));
	for (guint i = 0; i < machine->usable->len; i++) {
		struct frame_range range = direct_part(
			machine, &g_array_index(machine->usable, struct frame_range, i));
		if (range.frames > 0)
			map_direct(machine, &range);
	}
	machine->booted = true;
}

void machine_set_cpu(struct machine *machine, unsigned cpu)
{
	machine->current_cpu = cpu;
	windows_switch(machine->windows, machine->cpu[cpu]);
}

const struct frame_range *machine_direct_range(const struct machine *machine, struct vaddr va,
					       struct paddr paddr)
{
	uint64_t frame = paddr.a >> X86_PAGE_SHIFT;

	if (va.a - machine->params.direct_map.a != paddr.a ||
	    paddr.a >= reachable_bytes(machine->config))
		return NULL;
	for (guint i = 0; i < machine->usable->len; i++) {
		const struct frame_range *range =
			&g_array_index(machine->usable, struct frame_range, i);
		if (frame - range->first.n < range->frames)
			return range;
	}
	return NULL;
}

void machine_populate(struct machine *machine, const GArray *ranges)
{
	for (guint i = 0; i < ranges->len; i++) {
		struct frame_range range =
			direct_part(machine, &g_array_index(ranges, struct frame_range, i));
		struct vaddr va = { machine->params.direct_map.a + pfn_to_paddr(range.first).a };
		/* A kernel without MADV_POPULATE_WRITE (before 5.14) leaves the faults to be
		 * counted. */
		if (range.frames > 0)
			(void)madvise(machine_pointer(machine, va), range.frames << X86_PAGE_SHIFT,
				      MADV_POPULATE_WRITE);
	}
}
