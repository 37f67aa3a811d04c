/*
 * invalidation.h - was an invalidation owed? Asked before it is done, of the CPU that does it: does
 * it drop anything that memory no longer says?
 *
 * By what the CPU caches at that moment: an invalidation of a stale entry that had been evicted
 * already counts as superfluous. Tests use TLBs that evict nothing.
 */
#ifndef KMEMLAB_SIM_INVALIDATION_H
#define KMEMLAB_SIM_INVALIDATION_H

#include <stdbool.h>

#include "mmu/mmu.h"

/* INVLPG of VA: the page's translations, and all paging-structure caches of the current PCID. Cost:
 * O(entries of the caches). */
bool invalidation_is_owed(const struct mmu_cpu *cpu, struct vaddr va);
/* A load of CR3: everything that is not global. */
bool invalidation_flush_is_owed(const struct mmu_cpu *cpu);

#endif
