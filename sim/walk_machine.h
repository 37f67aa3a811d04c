/*
 * walk_machine.h - a CPU of mmu/ over a memory file: control registers as somebody read them off an
 * emulator, made fit for mmu_load_state().
 */
#ifndef KMEMLAB_SIM_WALK_MACHINE_H
#define KMEMLAB_SIM_WALK_MACHINE_H

#include "sim/walk_memory.h"

struct walk_machine {
	struct walk_memory *memory; /* not owned */
	struct mmu_config config;
	struct mmu_cpu *cpu;
	struct mmu_state state; /* what was loaded: the bits that matter for paging */
	enum mmu_mode mode;
	unsigned levels;      /* of entries that a walk meets; PAE: 3, the first one a register */
	unsigned entry_bytes; /* 4 or 8 */
	uint64_t root;	      /* physical address of the top table */
	/* PAE: the file has A set in PDPTEs, where the bit is reserved. QEMU's TCG writes it there;
	 * it was cleared in our copy. */
	bool pdpte_accessed_cleared;
};

/**
 * walk_machine_new - load @state over @memory.
 * Bits of CR0, CR4 and EFER that have nothing to do with paging are dropped.
 * @maxphyaddr: 32..52, or 0: 40, as QEMU's CPUs have, or more if the file's memory needs more.
 * Returns NULL with LAB_ERROR_INPUT for registers that no processor can hold, with the reason.
 */
struct walk_machine *walk_machine_new(struct walk_memory *memory, const struct mmu_state *state,
				      unsigned maxphyaddr, GError **error);
void walk_machine_free(struct walk_machine *machine);

/* "32-bit paging", "4-level paging" ... */
const char *walk_mode_name(enum mmu_mode mode);

/* Lowest address bit that the index at @level (0: PTE) uses. */
unsigned walk_level_shift(const struct walk_machine *machine, unsigned level);

/* Index of @va into the table of @level. */
unsigned walk_level_index(const struct walk_machine *machine, unsigned level, uint64_t va);

/* Linear addresses are 64 bits wide (and canonical) or 32. */
static inline bool walk_wide(const struct walk_machine *machine)
{
	return machine->mode >= MMU_MODE_4LEVEL;
}

#endif
