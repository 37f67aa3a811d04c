/*
 * boot.h - from a firmware memory map to a running memory manager, in the order that a kernel must
 * follow:
 *
 *   1 normalise the firmware's map                          (memmap.h)
 *   2 placement allocator over it: a bump pointer           (frame/placement.h, F10)
 *   3 room for the frame allocator's state, from 2
 *   4 kernel page tables with the direct map, frames from 2
 *   5 paging on: from here every pointer is a kernel virtual address
 *   6 hand-over: what 2 did not take becomes the frame allocator's, which starts at its final
 * address
 *
 * Without paging (tables "none") 4 and 5 fall away and virtual addresses are physical ones.
 */
#ifndef KMEMLAB_ALLOC_BOOT_H
#define KMEMLAB_ALLOC_BOOT_H

#include "alloc/addr.h"
#include "alloc/frame/frame.h"
#include "alloc/kerr.h"
#include "alloc/memmap.h"
#include "alloc/table/geometry.h"

/* What a CPU may do without (CPUID): bits of boot_params.cpu_lacks. */
enum boot_cpu_lack {
	BOOT_NO_PSE = 1, /* 4 MiB pages (32-bit) */
	BOOT_NO_PGE = 2, /* global pages */
	BOOT_NO_NX = 4,	 /* EFER.NXE */
	BOOT_NO_1G = 8,	 /* 1 GiB pages */
};

/* What the loader passes. All pointers are boot pointers (port_boot_ptr). */
struct boot_params {
	const struct firmware_range *entries; /* firmware's map, in RAM */
	uint32_t entry_count;
	struct frame_range *ranges; /* the kernel's array for the normalised map, in RAM */
	uint32_t range_capacity;    /* MEMMAP_RANGES_MAX(entry_count) + 1 or more */
	struct frame_range loaded;  /* frames that hold the two arrays: not free */
	enum boot_paging paging;
	struct vaddr direct_map;   /* where physical 0 goes */
	uint64_t direct_map_bytes; /* most that fits there */
	/* RAM above this is left unused. What lies between the two is high memory: the frame
	 * allocator has it, boot and the allocator itself never touch it. 0: direct_map_bytes. */
	uint64_t ram_bytes;
	uint32_t direct_leaf_bytes; /* 4096; 2^22 (32-bit); 2^21 (PAE, 4- and 5-level); 2^30 (the
				       latter two) */
	uint32_t cpu_lacks;  /* enum boot_cpu_lack; nothing that these bits name is turned on */
	uint64_t room_bytes; /* contiguous, zeroed room for what starts after boot: page-table
				strategy, address spaces; 0: none */
	const struct frame_ops *frames;
	struct frame_config config; /* reach is filled in by boot */
	bool ram_is_zero; /* the loader vouches that free RAM holds zeros: boot need not clear it */
};

/* What stands when boot is done. */
struct boot_result {
	struct frames frames; /* state pointer at its final address */
	uint64_t state_bytes;
	struct frame_range state_range; /* the state, its map, its lock: contiguous */
	struct frame_range room;	/* frames of room_bytes */
	uint64_t table_frames;		/* of them, page tables */
	struct paddr top_table;		/* value for CR3; 0 without paging */
	struct memmap map; /* what the frame allocator manages; its array is in RAM, at its final
			      address. The allocator got a copy that stands behind its state. */
	uint64_t
		usable_frames; /* usable RAM that the kernel can reach, before anything was taken */
	const char *why;       /* on failure: the reason, constant string */
};

/* Returns 0; KERR_INVALID (no such leaf size in this mode or on this CPU), KERR_TOO_SMALL (RAM does
 * not hold it), KERR_UNSUPPORTED (the frame allocator refuses this map), each with result->why.
 * Context: CPU 0, once a machine. Cost: O(direct map leaves) + the allocator's init. */
int boot(const struct boot_params *params, struct boot_result *result) KERR_MUST_CHECK;

#endif
