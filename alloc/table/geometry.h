/*
 * geometry.h - the shape of page tables in each mode: levels, index bits, which entries may map
 * memory. One description for boot, for every page-table strategy and for their checks.
 *
 * Levels are counted from below: 0 is the table whose entries (PTEs) map 4 KiB. In PAE mode the two
 * tables of 512 entries and the four PDPTE registers above them are told as two levels: the upper
 * one has 2,048 entries in four frames, and the 32 bytes that CR3 leads to only name those frames.
 *
 *     mode      level 4    3      2      1        0      entry   leaves
 *     32-bit                            31:22   21:12    4 B     4 MiB, 4 KiB
 *     PAE                               31:21   20:12    8 B     2 MiB, 4 KiB
 *     4-level           47:39  38:30   29:21   20:12    8 B     1 GiB, 2 MiB, 4 KiB
 *     5-level    56:48  47:39  38:30   29:21   20:12    8 B     1 GiB, 2 MiB, 4 KiB
 *
 * Source: Intel SDM volume 3, 4.3 to 4.5.
 */
#ifndef KMEMLAB_ALLOC_TABLE_GEOMETRY_H
#define KMEMLAB_ALLOC_TABLE_GEOMETRY_H

#include "alloc/addr.h"

enum boot_paging {
	BOOT_PAGING_NONE = 0,
	BOOT_PAGING_32,
	BOOT_PAGING_4LEVEL,
	BOOT_PAGING_PAE,
	BOOT_PAGING_5LEVEL,
	BOOT_PAGING_MODES
};

#define TABLE_LEVELS_MAX 5
#define TABLE_TOP_FRAMES 4 /* of a PAE directory; others have one */

struct table_level {
	uint8_t shift;	    /* address bits below this level's index: log2 of what an entry spans */
	uint8_t index_bits; /* of the index into all frames of this level's table */
	bool leaf;	    /* an entry may map memory */
};

struct table_geometry {
	const char *name; /* "32", "pae", "4level", "5level" */
	uint8_t depth;	  /* levels; 0: no paging */
	bool wide;	  /* entries of 8 bytes, else of 4 */
	uint8_t top_frames;
	struct table_level level[TABLE_LEVELS_MAX]; /* [0]: PTEs */
	uint64_t user_end;   /* the user's half of an address space is [0, user_end) */
	uint64_t va_mask;    /* address bits that are translated */
	uint64_t no_execute; /* the entry bit, 0 where there is none */
};

/* Never NULL; BOOT_PAGING_NONE has depth 0. Cost: none. */
const struct table_geometry *table_geometry(enum boot_paging paging);

/* Bits of an entry that are a physical address; of a large leaf PAT (bit 12) is not among them. */
#define TABLE_ENTRY_ADDRESS 0x000ffffffffff000ull

static inline unsigned table_top(const struct table_geometry *g)
{
	return g->depth - 1u;
}

static inline unsigned table_entry_bytes(const struct table_geometry *g)
{
	return g->wide ? 8 : 4;
}

/* Entries in one frame of a table. */
static inline unsigned table_frame_entries(const struct table_geometry *g)
{
	return X86_PAGE_BYTES / table_entry_bytes(g);
}

/* Bytes that one entry of the level spans. */
static inline uint64_t table_span(const struct table_geometry *g, unsigned level)
{
	return 1ull << g->level[level].shift;
}

/* Index of VA's entry in the level's table, over all frames of a PAE directory. */
static inline unsigned table_index(const struct table_geometry *g, unsigned level, struct vaddr va)
{
	return (unsigned)(va.a >> g->level[level].shift) &
	       ((1u << g->level[level].index_bits) - 1u);
}

/* The canonical address: in 4- and 5-level modes the highest translated bit repeats above. */
static inline struct vaddr table_canonical(const struct table_geometry *g, uint64_t va)
{
	uint64_t sign = (g->va_mask >> 1) + 1;

	va &= g->va_mask;
	return (struct vaddr){ g->depth > 2 && (va & sign) ? va | ~g->va_mask : va };
}

/* The bits that make an entry of LEVEL point to a table. */
static inline uint64_t table_leaf_bit(unsigned level)
{
	return level > 0 ? X86_PTE_PS : 0;
}

/* Does a present entry of LEVEL map memory, and not a table? */
static inline bool table_is_leaf(const struct table_geometry *g, unsigned level, uint64_t entry)
{
	return level == 0 || (g->level[level].leaf && (entry & X86_PTE_PS));
}

/* Where the memory that a leaf of LEVEL maps begins. */
static inline struct paddr table_leaf_address(const struct table_geometry *g, unsigned level,
					      uint64_t entry)
{
	return (struct paddr){ entry & TABLE_ENTRY_ADDRESS & ~(table_span(g, level) - 1) };
}

#endif
