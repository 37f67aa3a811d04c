/*
 * machine.h - a simulated machine: RAM with a memory map, CPUs, and the host address space in which
 * kernel code sees kernel virtual addresses.
 *
 *   host reservation  = kernel addresses [layout.base, layout.base + layout.bytes), moved by one
 * constant
 *   boot window        physical RAM as the loader shows it, until the kernel's own tables are on
 *   direct map         usable RAM, one mapping a range, when they are on
 *   the rest           nothing: a touch is translated by the simulated tables (window.h)
 *
 * i386: the reservation is the whole 4 GiB and 4 GiB-aligned, so that the low 32 bits of a host
 * pointer are the kernel's address. x86_64: the top 8 TiB.
 */
#ifndef KMEMLAB_SIM_MACHINE_H
#define KMEMLAB_SIM_MACHINE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "alloc/boot.h"
#include "alloc/port.h"
#include "alloc/table/table.h"
#include "mmu/mmu.h"
#include "sim/ram.h"
#include "sim/window.h"

enum machine_arch { MACHINE_X86_64 = 0, MACHINE_I386, MACHINE_ARCHS };

/* Where things stand in the kernel's address space. */
struct machine_layout {
	const char *arch; /* "x86_64", "i386" */
	uint64_t base,
		bytes;	/* the kernel addresses that have a host reservation; bytes 2^32 for i386 */
	uint64_t align; /* of the reservation */
	uint64_t boot_window; /* kernel address where the loader shows physical 0 */
	uint64_t boot_window_bytes;
	uint64_t direct_map;
	uint64_t direct_map_bytes; /* most that fits */
	enum boot_paging paging;
	uint32_t leaf_bytes; /* default of the direct map */
};
const struct machine_layout *machine_layout(enum machine_arch arch);

struct machine_config;
/* How the machine translates; BOOT_PAGING_NONE where CR0.PG stays 0. */
enum boot_paging machine_paging(const struct machine_config *config);
/* Where its kernel has room for recursive slots, temporary windows and directories. */
struct table_layout machine_table_layout(const struct machine_config *config);
/* Order of a huge page, metric 4: 9 for 2 MiB, 10 for 4 MiB. */
unsigned machine_huge_order(const struct machine_config *config);

/* What a machine is made of; from a preset, a file of E820 lines, or a trace. */
struct machine_config {
	char *name;
	enum machine_arch arch;
	GArray *memory_map;    /* struct memory_range (workloads/memory_map.h) */
	uint32_t leaf_bytes;   /* of the direct map; 4096, 2 MiB or 4 MiB, 1 GiB */
	bool paging;	       /* false: CR0.PG stays 0 (i386 only) */
	enum boot_paging mode; /* of page tables; BOOT_PAGING_NONE: the architecture's own */
	bool highmem;	       /* i386: RAM beyond the direct map is used, too */
	bool many_directories; /* i386: a 512 MiB direct map, and room for 65,536 directories */
	unsigned cpus;
	uint32_t windows; /* live fills at most (window.h) */
	bool stale_check; /* probed pass: every use of a stale translation is a violation */
	struct mmu_config mmu;
};

struct machine_preset {
	const char *name;
	const char *summary;
	enum machine_arch arch;
	uint64_t ram_bytes;
};
/* Ends with name == NULL. */
extern const struct machine_preset machine_presets[];

/* A preset's name, or the path of a machine file (machine_file.h) or of a memory map in any form
 * (workloads/memory_map.h).
 * LAB_ERROR_USAGE for an unknown name and for what is wrong with a machine file, LAB_ERROR_INPUT or
 * TRACE_ERROR_FORMAT for a bad memory map. */
struct machine_config *machine_config_new(const char *name_or_file, GError **error);
/* The memory map of a PC with that much RAM: the holes below 1 MiB and 4 GiB. */
GArray *machine_pc_map(uint64_t ram_bytes);
/* A machine with that memory map (copied): a recorded one. */
struct machine_config *machine_config_from_map(const char *name, const GArray *memory_map);
struct machine_config *machine_config_copy(const struct machine_config *config);
void machine_config_free(struct machine_config *config);
/* `--set machine.KEY=VALUE`: arch (x86_64, i386), leaf (4K, 2M, 4M, 1G), paging (on, off, 32, pae,
 * 4level, 5level), layout (classic, directories), highmem (on, off), cpu (mmu preset), windows
 * (fills), stale-check (on, off), mmu.FIELD. */
bool machine_config_set(struct machine_config *config, const char *key, const char *value,
			GError **error);
/* Cuts or extends the highest usable ranges so that usable RAM adds up to BYTES (whole frames). */
bool machine_config_resize(struct machine_config *config, uint64_t bytes, GError **error);

/* What kernel code does for the sake of a CPU's caches, or that empties them. */
enum machine_invalidation_kind {
	INVALIDATION_PAGE = 0,	/* INVLPG */
	INVALIDATION_SHOOTDOWN, /* of PAGES pages from VA on, on another CPU */
	INVALIDATION_FLUSH,	/* CR3 with the value that it has */
	INVALIDATION_LOAD,	/* CR3 with another one */
};

struct machine_invalidation {
	enum machine_invalidation_kind kind;
	unsigned cpu; /* whose caches */
	struct vaddr va;
	uint64_t pages;
};

struct machine {
	struct machine_config *config;
	const struct machine_layout *layout;
	struct ram ram;
	struct mmu_memory memory;
	uint8_t *reservation;
	int64_t host_minus_kernel; /* the one constant: host address = kernel address + this, modulo
				      2^64 */
	struct mmu_cpu **cpu;
	unsigned current_cpu; /* set by machine_set_cpu() */
	struct windows *windows;
	port_fault_handler fault_handler; /* the kernel's, or NULL */
	void *fault_context;
	/* A CPU looks at a lock that another one has. NULL: nobody else runs, so it is a deadlock.
	 */
	void (*spin_wait)(void *context, const struct spinlock *lock);
	void *spin_context;
	bool booted; /* the kernel's own tables are on (or it wants none) */
	struct boot_params params;
	struct boot_result boot;
	GArray *usable; /* struct frame_range: the normalised map, before boot took anything */
	struct machine_invalidations {
		uint64_t invlpg, flushes; /* by kernel code, stale-check on */
		uint64_t invlpg_superfluous, flushes_superfluous; /* that dropped nothing stale */
		/* For tests, else NULL: asked before each. True: it is lost; a load never is. */
		bool (*lose)(void *context, const struct machine_invalidation *what);
		void *context;
	} invalidations;
};

/* Builds and powers on: RAM, CPUs after reset, the loader's window, the memory map in RAM. Nothing
 * has booted. */
struct machine *machine_new(const struct machine_config *config, GError **error);
void machine_free(struct machine *machine);

/* Runs kernel boot code with that build's boot() (native or probed). Between machine_enter() and
 * machine_leave(). LAB_ERROR_BOOT with the kernel's reason when the memory manager cannot boot
 * there; LAB_ERROR_ALLOCATOR when it dies on the way. */
typedef int (*machine_boot_fn)(const struct boot_params *params, struct boot_result *result);
bool machine_boot(struct machine *machine, machine_boot_fn boot_fn, const struct frame_ops *frames,
		  const struct frame_config *frame_config, GError **error);

/* Touches these frames (struct frame_range; `usable` for all RAM) through the direct map, so that
 * host page faults do not fall into measurements. */
void machine_populate(struct machine *machine, const GArray *ranges);

/* The kernel code of this thread runs on that machine from now on (port.h answers for it). */
void machine_enter(struct machine *machine);
void machine_leave(void);
struct machine *machine_current(void);

/* The same for one of several host threads, each of which is another CPU of that machine
 * (threads.h). Whoever owns the machine has entered it before. */
void machine_enter_as(struct machine *machine, unsigned cpu);
/* The CPU that kernel code of this thread runs on. */
unsigned machine_cpu(const struct machine *machine);

/* The CPU that kernel code runs on from now on. Cost: a few ns where its control registers are the
 * last one's; see windows_switch(). */
void machine_set_cpu(struct machine *machine, unsigned cpu);

/* The usable range that the direct map shows PADDR in at VA; NULL: it does not. */
const struct frame_range *machine_direct_range(const struct machine *machine, struct vaddr va,
					       struct paddr paddr);

static inline void *machine_pointer(const struct machine *machine, struct vaddr va)
{
	return (void *)(uintptr_t)(va.a + (uint64_t)machine->host_minus_kernel);
}

static inline struct vaddr machine_vaddr(const struct machine *machine, const void *pointer)
{
	return (struct vaddr){ (uint64_t)(uintptr_t)pointer -
			       (uint64_t)machine->host_minus_kernel };
}

/* Is the pointer inside the reservation? */
static inline bool machine_holds(const struct machine *machine, const void *pointer)
{
	return (uint64_t)((const uint8_t *)pointer - machine->reservation) < machine->layout->bytes;
}

/* Called by port.h's writes: the loader's window goes, the direct map comes, when paging turns on.
 */
void machine_paging_changed(struct machine *machine);

#endif
