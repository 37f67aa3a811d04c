/*
 * stale.h - the stale checker: what mmu.h's struct mmu_checker is told. Private to mmu/.
 */
#ifndef KMEMLAB_MMU_STALE_H
#define KMEMLAB_MMU_STALE_H

#include "mmu/cpu.h"
#include "mmu/walk.h"

/* A TLB hit is about to be used. */
void stale_check_hit(struct mmu_cpu *cpu, uint64_t va, struct mmu_access access, uint8_t source,
		     const struct mmu_entry *cached, uint64_t paddr);

/* A walk has read its entries, and has not yet written A or D. @cached: where it began, or NULL. */
void stale_check_tables(struct mmu_cpu *cpu, uint64_t va, struct mmu_access access,
			const struct walk *walk, const struct mmu_entry *cached);

/* A walk that began at a paging-structure-cache entry has ended with @vector. */
void stale_check_walk(struct mmu_cpu *cpu, uint64_t va, struct mmu_access access,
		      const struct walk *walk, const struct mmu_entry *cached, uint32_t vector);

#endif
