/*
 * walk_memory.h - the physical memory of another machine, out of a file, under mmu/.
 *
 * Read are: a raw dump (QEMU's pmemsave), an ELF core (QEMU's dump-guest-memory: the PT_LOAD
 * segments, placed by p_paddr), and a pt-pages file ("PTPAGES1": control registers and the frames
 * that hold page tables). Each may be compressed by zstd.
 *
 * The file is mapped, and a frame is copied into `ram` when it is asked for: a dump may be larger
 * than this host's memory, and its segments lie at any offset. What `ram` shows of a frame that was
 * not asked for means nothing.
 */
#ifndef KMEMLAB_SIM_WALK_MEMORY_H
#define KMEMLAB_SIM_WALK_MEMORY_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "mmu/mmu.h"

/* Physical addresses end below this: what a process can reserve. 64 TiB. */
#define WALK_PADDR_LIMIT (1ull << 46)

/* [first, end) of physical memory is in the file, from offset on. */
struct walk_span {
	uint64_t first, end;
	uint64_t offset;
};

struct walk_memory {
	struct mmu_memory ram; /* frames that were asked for; zero elsewhere */
	GArray *spans;	       /* struct walk_span, ascending, disjoint */
	const char *format;    /* "raw dump", "ELF core", "pt-pages" */
	bool has_state;	       /* pt-pages: cr0, cr3, cr4 and efer of `state` are the file's */
	struct mmu_state state;

	/* Private. */
	const uint8_t *file;
	uint64_t file_bytes;
	GHashTable *copied; /* frame numbers in ram */
};

/**
 * walk_memory_open - map @path.
 * @base: physical address of a raw dump's first byte; must be 0 for the other formats.
 * Returns NULL with LAB_ERROR_INPUT for a file that cannot be read or is damaged, LAB_ERROR_USAGE
 * for @base where it means nothing.
 */
struct walk_memory *walk_memory_open(const char *path, uint64_t base, GError **error);
void walk_memory_free(struct walk_memory *memory);

/* Are all of [paddr, paddr + bytes) in the file? */
bool walk_memory_holds(const struct walk_memory *memory, uint64_t paddr, uint64_t bytes);

/**
 * walk_memory_entry - one page-table entry of 4 or 8 bytes, straight out of the file.
 * Returns false if the file lacks it.
 */
bool walk_memory_entry(const struct walk_memory *memory, uint64_t paddr, unsigned bytes,
		       uint64_t *value);

/* All of [paddr, paddr + bytes) in the file, at one place. NULL if it lacks some, or cuts it. */
const uint8_t *walk_memory_bytes(const struct walk_memory *memory, uint64_t paddr, uint64_t bytes);

/* Makes the frame around @paddr, as far as the file has it, readable in ram. True: it was not yet.
 */
bool walk_memory_want(struct walk_memory *memory, uint64_t paddr);

/**
 * walk_memory_walk - mmu_walk() with every frame that it needs in place.
 * @cpu: over memory->ram.
 * @missing: set to the physical address of the first entry that the file lacks. The walk is then
 *	worth nothing from that entry on.
 * Returns false if there is one.
 */
bool walk_memory_walk(struct walk_memory *memory, const struct mmu_cpu *cpu, uint64_t va,
		      const struct mmu_access *access, struct mmu_walk *walk, uint64_t *missing);

#endif
