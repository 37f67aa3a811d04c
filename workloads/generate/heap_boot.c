/*
 * A kernel's boot as its heap sees it: phases that each have their own mix of object caches and
 * call sites; much of what is allocated early stays for ever, what comes later mostly goes soon.
 *
 *   alive                                   ,--~~~~~~~~~ user space: processes come and go
 *                            ,--------------'  filesystems: dentries, inodes, buffers
 *              ,-------------'  drivers: devices, kobjects, and scratch memory of probing
 *     ,--------'  core: nearly all of it permanent
 *    +-----------------------------------------------> allocations
 *
 * Names, sizes and call sites are Linux's, as one recording of 6.1 on x86_64 has them; lifetimes in
 * allocations are rounded from the same recording (kmem events of a compile job, where half of the
 * vm_area_structs outlive 270 allocations and their mean is 4400, for instance: hence two rows for
 * such caches); weights of the first two phases, which it does not cover, are ours.
 */
#include "workloads/generate/deaths.h"
#include "workloads/generate/emit.h"
#include "workloads/generate/families.h"

#define FIRST_TASK 100

enum phase { CORE, DRIVERS, FILES, USERS, PHASES };

static const struct {
	const char *name;
	unsigned percent; /* of the events */
} phases[PHASES] = {
	[CORE] = { "boot: core", 5 },
	[DRIVERS] = { "boot: drivers", 25 },
	[FILES] = { "boot: filesystems", 20 },
	[USERS] = { "boot: user space", 50 },
};

struct boot_class {
	const char *cache; /* NULL: kmalloc */
	const char *site;
	uint32_t least, most;	 /* bytes; sizes between are power-law distributed */
	uint32_t permanent;	 /* % that are never freed */
	uint32_t life;		 /* mean of the others, in allocations */
	uint16_t weight[PHASES]; /* how often, by phase */
};

static const struct boot_class classes[] = {
	{ NULL, "kmem_cache_create", 32, 256, 100, 0, { 20, 2, 2, 0 } },
	{ "irq_desc", "alloc_desc", 448, 448, 100, 0, { 30, 4, 0, 0 } },
	{ NULL, "alloc_workqueue", 512, 1024, 100, 0, { 15, 5, 3, 0 } },
	{ NULL, "register_sysctl", 64, 2048, 100, 0, { 40, 5, 5, 0 } },
	{ "radix_tree_node", "radix_tree_node_alloc", 576, 576, 95, 200, { 30, 20, 15, 3 } },
	{ NULL, "setup_percpu", 4096, 32768, 100, 0, { 3, 0, 0, 0 } },
	{ NULL, "kstrdup", 8, 96, 60, 50, { 60, 100, 30, 10 } },
	{ "kernfs_node_cache", "__kernfs_new_node", 128, 128, 98, 500, { 60, 200, 10, 1 } },
	{ NULL, "device_create", 664, 736, 98, 100, { 5, 40, 5, 0 } },
	{ NULL, "kobject_create", 96, 96, 95, 100, { 20, 50, 10, 0 } },
	{ NULL, "really_probe", 16, 2048, 30, 30, { 0, 150, 5, 0 } },
	{ NULL, "acpi_ut_allocate_object", 72, 80, 50, 4, { 20, 250, 0, 0 } },
	{ NULL, "request_firmware", 4096, 131072, 5, 20, { 0, 4, 0, 0 } },
	{ NULL, "pci_alloc_dev", 2048, 2560, 100, 0, { 0, 10, 0, 0 } },
	{ "dentry", "__d_alloc", 192, 192, 40, 20000, { 0, 10, 80, 6 } },
	{ "ext4_inode_cache", "ext4_alloc_inode", 1184, 1184, 30, 25000, { 0, 0, 50, 4 } },
	{ "lsm_inode_cache", "security_inode_alloc", 32, 32, 30, 10000, { 0, 5, 60, 10 } },
	{ "buffer_head", "alloc_buffer_head", 104, 104, 0, 15000, { 0, 0, 120, 30 } },
	{ "ext4_extent_status", "ext4_es_insert_extent", 40, 40, 0, 10000, { 0, 0, 60, 18 } },
	{ "jbd2_journal_handle", "start_this_handle", 56, 56, 0, 1, { 0, 0, 60, 85 } },
	{ "bio-192", "mempool_alloc_slab", 192, 192, 0, 6, { 0, 5, 80, 26 } },
	{ "biovec-64", "bvec_alloc", 1024, 1024, 0, 3, { 0, 1, 30, 12 } },
	{ "names_cache", "getname_flags", 4096, 4096, 0, 1, { 0, 20, 200, 500 } },
	{ "filp", "alloc_empty_file", 256, 256, 2, 170, { 0, 5, 60, 75 } },
	{ "filp", "alloc_empty_file", 256, 256, 2, 4000, { 0, 0, 5, 17 } },
	{ "lsm_file_cache", "security_file_alloc", 24, 24, 2, 700, { 0, 5, 60, 92 } },
	{ "vm_area_struct", "vm_area_alloc", 152, 152, 0, 270, { 0, 0, 1, 50 } },
	{ "vm_area_struct", "vm_area_dup", 152, 152, 0, 8000, { 0, 0, 1, 28 } },
	{ "anon_vma_chain", "anon_vma_clone", 64, 64, 0, 4500, { 0, 0, 1, 38 } },
	{ "anon_vma", "anon_vma_fork", 96, 96, 0, 5600, { 0, 0, 1, 20 } },
	{ "maple_node", "mas_alloc_nodes", 256, 256, 0, 4, { 0, 5, 5, 145 } },
	{ NULL, "seq_read", 4096, 8192, 0, 2, { 0, 0, 10, 6 } },
	{ NULL, "load_elf_binary", 28, 728, 0, 30, { 0, 0, 2, 20 } },
	{ NULL, "alloc_pipe_info", 1024, 2048, 0, 2000, { 0, 0, 0, 4 } },
};

/* What a process consists of, besides what its class says: it comes and goes as one. */
static const struct {
	const char *cache, *site;
	uint32_t bytes;
} process_parts[] = {
	{ "task_struct", "dup_task_struct", 8392 },
	{ "cred_jar", "prepare_creds", 184 },
	{ "signal_cache", "copy_signal", 1152 },
	{ "sighand_cache", "copy_sighand", 2080 },
	{ "files_cache", "dup_fd", 704 },
	{ "mm_struct", "dup_mm", 1104 },
	{ "pid", "alloc_pid", 128 },
};
/* One in this many draws of the last phase is a fork; its mean lifetime in allocations. */
#define FORK_ONE_IN  400
#define PROCESS_LIFE 6000

enum { BOOT_EVENTS = GENERATE_OWN, BOOT_CPUS, BOOT_DRAIN };

static const struct generate_parameter boot_parameters[] = {
	GENERATE_COMMON(UINT64_C(512) << 20),
	{ "events", 300000, 100, 1000000000, 0, "",
	  "allocations and frees, without the last frees" },
	{ "cpus", 2, 1, 1024, 0, "", "CPUs; the others come up after the core phase" },
	{ "drain", 1, 0, 1, 0, "", "1: what is alive at the end is freed, by age" },
	{ NULL },
};

struct boot {
	struct generation *generation;
	struct deaths deaths;
	struct pareto sizes[G_N_ELEMENTS(classes)];
	uint64_t count; /* allocations */
	uint32_t tasks;
	uint32_t free_site;
};

static struct object boot_object(struct boot *boot, const char *cache, const char *site,
				 uint64_t bytes)
{
	struct generation *generation = boot->generation;

	boot->count++;
	return emit_object(generation, bytes, generation_name(generation, site),
			   generation_name(generation, cache));
}

static void boot_allocate(struct boot *boot, unsigned number)
{
	const struct boot_class *class = &classes[number];
	struct random *random = &boot->generation->random;
	uint64_t bytes = pareto_draw(&boot->sizes[number], random);
	bool stays = draw_chance(random, class->permanent, 100);
	uint64_t life = 1 + draw_exponential(random, class->life);
	struct object object = boot_object(boot, class->cache, class->site, bytes);

	/* What stays is still in the queue, for the end. */
	deaths_add(&boot->deaths, stays ? UINT64_MAX : boot->count + life, object);
}

static void boot_fork(struct boot *boot)
{
	struct generation *generation = boot->generation;
	uint64_t life = 1 + draw_exponential(&generation->random, PROCESS_LIFE);
	uint64_t due = boot->count + life;

	generation->task = FIRST_TASK + boot->tasks++;
	generation_task(generation, generation->task, "user");
	for (unsigned i = 0; i < G_N_ELEMENTS(process_parts); i++)
		deaths_add(&boot->deaths, due,
			   boot_object(boot, process_parts[i].cache, process_parts[i].site,
				       process_parts[i].bytes));
}

static unsigned draw_class(struct random *random, enum phase phase)
{
	uint64_t sum = 0;
	unsigned i = 0;

	for (unsigned k = 0; k < G_N_ELEMENTS(classes); k++)
		sum += classes[k].weight[phase];
	uint64_t left = random_below(random, sum);
	for (; left >= classes[i].weight[phase]; i++)
		left -= classes[i].weight[phase];
	return i;
}

static void boot_step(struct boot *boot, enum phase phase)
{
	struct generation *generation = boot->generation;
	struct random *random = &generation->random;
	struct object object;

	generation->cpu =
		phase == CORE ? 0 : (uint16_t)random_below(random, generation->value[BOOT_CPUS]);
	generation->task = phase == USERS && boot->tasks
				   ? FIRST_TASK + (uint32_t)random_below(random, boot->tasks)
				   : 1;
	while (generation_more(generation) && deaths_take(&boot->deaths, boot->count, &object))
		emit_object_free(generation, &object, boot->free_site);
	if (phase == USERS && draw_chance(random, 1, FORK_ONE_IN))
		boot_fork(boot);
	else
		boot_allocate(boot, draw_class(random, phase));
}

static void boot_run(struct generation *generation)
{
	const uint64_t *value = generation->value;
	struct boot boot = { .generation = generation };
	struct object object;
	uint64_t end = 0;

	deaths_init(&boot.deaths);
	boot.free_site = generation_name(generation, "kfree");
	generation_task(generation, 1, "swapper/0");
	for (unsigned i = 0; i < G_N_ELEMENTS(classes); i++)
		boot.sizes[i] = pareto_new(classes[i].least, classes[i].most, 100);
	for (unsigned phase = 0; phase < PHASES; phase++) {
		end += value[BOOT_EVENTS] * phases[phase].percent / 100;
		emit_marker(generation, phases[phase].name);
		while (generation_more(generation) && generation_events(generation) < end)
			boot_step(&boot, phase);
	}
	while (value[BOOT_DRAIN] && generation_more(generation) &&
	       deaths_take(&boot.deaths, UINT64_MAX, &object))
		emit_object_free(generation, &object, boot.free_site);
	deaths_fini(&boot.deaths);
}

const struct generator kernel_boot = {
	.name = "kernel-boot",
	.family = "heap",
	.version = 1,
	.summary = "a kernel boots: named caches, permanent objects early, transient ones later",
	.parameters = boot_parameters,
	.run = boot_run,
};
