/*
 * walk.h - page walks: a pure function over control state and physical memory, and the A and D bits
 * that a walk sets afterwards. Theory in walk.c. Private to mmu/.
 */
#ifndef KMEMLAB_MMU_WALK_H
#define KMEMLAB_MMU_WALK_H

#include "mmu/control.h"

enum walk_end {
	WALK_MAPPED = 0,
	WALK_NOT_PRESENT,
	WALK_RESERVED,
};

/* Where a walk begins: at the root, or below an entry that a paging-structure cache holds. */
struct walk_start {
	uint64_t table; /* physical address of the table to read first */
	unsigned level; /* of its entries */
	uint8_t rights; /* MMU_RIGHT_* of the levels above */
};

struct walk {
	/* By level, from top down to bottom. */
	uint64_t at[MMU_LEVELS_MAX];
	uint64_t value[MMU_LEVELS_MAX];
	uint64_t chain[MMU_LEVELS_MAX]; /* AND of entry ^ XD down to here */
	uint8_t top;
	uint8_t bottom;
	uint8_t end;	       /* enum walk_end */
	bool latched;	       /* PAE from the root: the top entry is a register */
	struct mmu_entry leaf; /* WALK_MAPPED */
};

/* MMU_RIGHT_* out of an AND chain of entry ^ XD: R/W and U/S are bits 2:1, not-XD is bit 63. */
static inline uint8_t walk_rights(uint64_t chain)
{
	return (uint8_t)((chain >> 1 & 3) | (chain >> 63 << 2));
}

/* The fields of struct mmu_entry beside the page, as words. */
struct walk_attributes {
	uint64_t page_shift, rights, key, pat, dirty, global;
};

/*
 * An entry put together in two registers. Six stores of a byte each, copied as a word soon after,
 * would make each copy wait until the bytes have left the store buffer: half of a miss.
 */
union walk_entry_words {
	uint64_t words[2];
	struct mmu_entry entry;
};

static inline struct mmu_entry walk_entry(uint64_t page, struct walk_attributes a)
{
	union walk_entry_words both = { .words = { page, a.page_shift | a.rights << 8 |
								 a.key << 16 | a.pat << 24 |
								 a.dirty << 32 | a.global << 40 } };

	_Static_assert(offsetof(struct mmu_entry, page_shift) == 8 &&
			       offsetof(struct mmu_entry, rights) == 9 &&
			       offsetof(struct mmu_entry, key) == 10 &&
			       offsetof(struct mmu_entry, pat) == 11 &&
			       offsetof(struct mmu_entry, dirty) == 12 &&
			       offsetof(struct mmu_entry, global) == 13,
		       "walk_entry() knows the layout");
	return both.entry;
}

/* D was set by a write: a word again, for the same reason. */
static inline void walk_entry_dirtied(struct mmu_entry *entry)
{
	union walk_entry_words both = { .entry = *entry };

	both.words[1] |= 1ull << 32;
	*entry = both.entry;
}

/**
 * walk_run - walk for @va; no effect on memory.
 * @start: NULL: from the root. @va: canonical, within the mode's linear addresses.
 * Control must be in a paging mode.
 */
void walk_run(const struct control *control, const struct mmu_memory *ram, uint64_t va,
	      const struct walk_start *start, struct walk *walk);

/* Nothing for walk_mark() to do: A is set above the leaf, and @leaf_bits in it. */
static inline bool walk_marked(const struct walk *walk, uint64_t leaf_bits)
{
	return (walk->chain[walk->bottom] & X86_PTE_A) && !(leaf_bits & ~walk->value[walk->bottom]);
}

struct walk_marks {
	uint8_t accessed; /* A bits written */
	uint8_t dirty;	  /* D bits written */
};

/**
 * walk_mark - set A in the entries above the leaf, and in the leaf what @leaf_bits says.
 * @leaf_bits: 0 for a faulting access (7.2), X86_PTE_A, or X86_PTE_A | X86_PTE_D.
 * @marks: added to.
 * Returns false if an entry is no longer what the walk read: walk again.
 */
bool walk_mark(const struct control *control, struct mmu_memory *ram, const struct walk *walk,
	       uint64_t leaf_bits, struct walk_marks *marks);

#endif
