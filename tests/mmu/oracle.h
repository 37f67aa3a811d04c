/*
 * oracle.h - what one access through one path of entries must do, written from the rules and not
 * from the walker: case by case, no tables, no masks shared with mmu/.
 */
#ifndef KMEMLAB_TESTS_MMU_ORACLE_H
#define KMEMLAB_TESTS_MMU_ORACLE_H

#include "mmu/mmu.h"

struct oracle_case {
	enum mmu_mode mode; /* any but MMU_MODE_NONE */
	const struct mmu_features *features;
	unsigned maxphyaddr;
	struct mmu_state state;
	uint64_t va;
	uint64_t entry[MMU_LEVELS_MAX]; /* by level; those below a leaf do not matter */
	unsigned kind;			/* enum mmu_kind */
	unsigned context;		/* enum mmu_context */
};

struct oracle_answer {
	bool fault;
	uint32_t error_code;
	uint64_t paddr;			/* without a fault */
	uint64_t after[MMU_LEVELS_MAX]; /* the entries afterwards */
	unsigned leaf_level;		/* where the walk ended */
};

void oracle_ask(const struct oracle_case *c, struct oracle_answer *answer);

#endif
