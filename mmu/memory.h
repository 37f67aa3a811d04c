/*
 * memory.h - page-table entries in physical memory: atomic reads and compare-and-swap. Private.
 */
#ifndef KMEMLAB_MMU_MEMORY_H
#define KMEMLAB_MMU_MEMORY_H

#include "mmu/mmu.h"

/* Is [at, at + bytes) wholly within RAM? */
static inline bool memory_holds(const struct mmu_memory *ram, uint64_t at, uint64_t bytes)
{
	return at < ram->bytes_size && bytes <= ram->bytes_size - at;
}

/* @log2_bytes: 2 or 3; @at is aligned to it. All ones beyond the end of RAM. What was stored before
 * the entry is seen through it: processors load in order (SDM vol. 3A, 8.2.2). */
static inline uint64_t memory_entry_read(const struct mmu_memory *ram, uint64_t at,
					 unsigned log2_bytes)
{
	const void *host = ram->bytes + at;
	uint64_t ones = log2_bytes == 2 ? 0xffffffffull : ~0ull;

	if (at >= ram->bytes_size) /* both are aligned: there is no part of an entry */
		return ones;
	if (log2_bytes == 2)
		return __atomic_load_n((const uint32_t *)host, __ATOMIC_ACQUIRE);
	return __atomic_load_n((const uint64_t *)host, __ATOMIC_ACQUIRE);
}

/* Replace @old by @new. False: the entry is no longer @old. Beyond the end: dropped, true. */
static inline bool memory_entry_swap(struct mmu_memory *ram, uint64_t at, unsigned log2_bytes,
				     uint64_t old, uint64_t new)
{
	void *host = ram->bytes + at;
	uint32_t old32 = (uint32_t)old;

	if (at >= ram->bytes_size)
		return true;
	if (log2_bytes == 2)
		return __atomic_compare_exchange_n((uint32_t *)host, &old32, (uint32_t) new, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	return __atomic_compare_exchange_n((uint64_t *)host, &old, new, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_RELAXED);
}

#endif
