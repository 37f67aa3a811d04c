/*
 * control.h - control registers, and all that follows from them: the geometry of a walk, reserved
 * bits, verdict tables, error codes. Recomputed when a register changes, so that a walk or a hit
 * asks no question about modes. Private to mmu/.
 */
#ifndef KMEMLAB_MMU_CONTROL_H
#define KMEMLAB_MMU_CONTROL_H

#include "mmu/mmu.h"

/* Contexts with rights of their own: implicit accesses have those of MMU_SUPERVISOR (5.3). */
#define CONTROL_CONTEXTS 3
/* Kinds with rights of their own: MMU_RMW has those of MMU_WRITE. */
#define CONTROL_KINDS 3

/* Every combination of MMU_RIGHT_W, _U and _X. */
#define CONTROL_RIGHTS 8

/* What one access may do. Index of a verdict: [context][kind]. */
struct control_verdict {
	uint8_t allow;	    /* bit r: allowed on a page of combined rights r, keys aside */
	uint8_t error_code; /* W, U and I bits: they describe the access alone (6.1) */
	uint16_t deny[2];   /* bit k: key k denies; [0] supervisor pages, [1] user pages */
};

struct control {
	struct mmu_state state;
	uint64_t pdpte[4]; /* PAE: latched */

	/* Derived. */
	uint8_t mode;	     /* enum mmu_mode */
	uint8_t levels;	     /* of the walk through memory; PAE: 2, below the registers */
	uint8_t entry_shift; /* log2 of the entry's bytes */
	uint8_t index_bits;
	uint8_t leaf_levels;	 /* bit l: PS = 1 at level l makes a leaf */
	uint16_t leaves;	 /* bit 2 l + PS: an entry of level l with that PS is a leaf */
	uint8_t large_shift;	 /* log2 of the page size at level 1 */
	uint8_t canonical_bits;	 /* 48 or 57; 0: linear addresses are 32 bits wide */
	uint64_t canonical_half; /* first non-canonical address */
	uint64_t canonical_high; /* bits that a canonical address plus that has not */
	uint16_t pcid;		 /* that new entries are tagged with */
	uint64_t linear_mask;	 /* 2^32 - 1, or all */
	uint64_t root;		 /* physical address of the top table */
	uint64_t address_mask;	 /* of an entry that points to a table or a 4 KiB page */
	uint64_t pse36_mask;	 /* 32-bit 4 MiB leaf: bits 20:13 that are address bits 39:32 */
	uint64_t reserved[MMU_LEVELS_MAX][2]; /* [level][PS]; at level 0 both are the same */
	struct control_verdict verdict[CONTROL_CONTEXTS][CONTROL_KINDS];
};

/* log2 of the bytes that an entry at @level translates. */
static inline unsigned control_shift(const struct control *control, unsigned level)
{
	return X86_PAGE_SHIFT + level * control->index_bits;
}

static inline const struct control_verdict *control_verdict(const struct control *control,
							    unsigned context, unsigned kind)
{
	context = context == MMU_IMPLICIT ? MMU_SUPERVISOR : context;
	kind = kind == MMU_RMW ? MMU_WRITE : kind;
	return &control->verdict[context][kind];
}

/* Does the linear address exist? Always, where linear addresses are 32 bits wide. */
static inline bool control_canonical(const struct control *control, uint64_t va)
{
	return ((va + control->canonical_half) & control->canonical_high) == 0;
}

/* What a register write asks the caches to do. */
enum control_flush {
	CONTROL_KEEP = 0,
	CONTROL_RIGHTS_CHANGED,	   /* cached attributes stay, verdicts derived from them do not */
	CONTROL_FLUSH_PCID,	   /* all non-global of the (new) PCID */
	CONTROL_FLUSH_PCID_GLOBAL, /* and the global ones */
	CONTROL_FLUSH_ALL,
};

/**
 * control_load - replace the whole state; PDPTEs are read from @ram in PAE mode.
 * Returns false for a state that the registers cannot hold; nothing is changed.
 */
bool control_load(struct control *control, const struct mmu_config *config, struct mmu_memory *ram,
		  const struct mmu_state *state);

/*
 * One register write each: false means #GP(0) and nothing changed; otherwise *@flush says what the
 * caches must drop.
 */
bool control_write_cr0(struct control *control, const struct mmu_config *config,
		       struct mmu_memory *ram, uint64_t value, enum control_flush *flush);
bool control_write_cr3(struct control *control, const struct mmu_config *config,
		       struct mmu_memory *ram, uint64_t value, enum control_flush *flush);
bool control_write_cr4(struct control *control, const struct mmu_config *config,
		       struct mmu_memory *ram, uint64_t value, enum control_flush *flush);
bool control_write_efer(struct control *control, const struct mmu_config *config, uint64_t value,
			enum control_flush *flush);

/* Recompute all that is derived, after a change of PKRU, PKRS or code64. */
void control_derive(struct control *control, const struct mmu_config *config);

#endif
