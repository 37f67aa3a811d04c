/*
 * fast.h - the host fast path of mmu.h: a direct-mapped table of 4 KiB pages per access context,
 * looked up inline. Part of mmu.h, which includes it.
 *
 *     va ---> slot[(va >> 12) % slots] --- tag == page of va + size - 1 ---> host = va + addend
 *                                    \--- *stamp = ++tick (exact LRU of the L1 way behind it;
 *                                         without statistics there is none, and no count)
 *
 * Invariants (kept by fast.c, which alone fills and empties slots)
 *  F1  With statistics, a slot is valid only while the L1 way that `stamp` belongs to is valid.
 *  F2  A slot's read (write) tag matches only where a slow access of that context and kind would
 *      succeed without any side effect but the stamp: rights hold, and for writes D = 1.
 *  F3  A slot's page lies wholly within RAM.
 *  F4  While requests are posted, or a checker or spurious invalidation is on, all table pointers
 *      lead to a table that stays empty: every access takes the slow path, and the fast one needs
 *      no flag to look at.
 *
 * The slot is chosen by the page of the first byte and compared with the page of the last. An
 * access that crosses into page p + 1 finds slot p, which can hold p + 1 as little as anything else
 * but pages of its own index: so one compare also sends crossing accesses the slow way, and
 * misaligned ones within a page stay. The tag of an empty slot is no page.
 *
 * Cost: a compare, an add, one store of the tick. L1 hits are tick - slow lookups: no counter. A
 * loop that keeps the CPU's address in a register lets the processor forward the tick from store to
 * load at no cost; one that loads it anew each time waits 5 cycles an access for it.
 */
#ifndef KMEMLAB_MMU_FAST_H
#define KMEMLAB_MMU_FAST_H

#include "mmu/mmu.h" /* whose last line includes this file: either order compiles */

struct mmu_fast_slot {
	uint64_t tag[2]; /* page of va for reads (or fetches), for writes; else MMU_FAST_EMPTY */
	uint64_t addend; /* host address - va, modulo 2^64 */
	uint64_t *stamp; /* of the L1 way; NULL without statistics */
};

#define MMU_FAST_EMPTY (~0ull)
#define MMU_FAST_PAGE  (~0xfffull)

/*
 * Slots of a table: 16 MiB of reach, so that without statistics misses are rare. With statistics at
 * most as many are in use as the L1s have entries; the rest costs address space, not cache.
 */
#define MMU_FAST_SLOTS 4096u

/* The part of a CPU that the inline functions see: its first bytes. */
struct mmu_front {
	uint8_t *bytes;	  /* of RAM */
	uint64_t tick;	  /* look-ups so far: the time of all stamps in the L1s */
	uint64_t fetches; /* of these, fetches */
	/* [fetch][context]; contexts of equal rights share a table. */
	struct mmu_fast_slot *table[2][MMU_CONTEXTS];
};

/**
 * mmu_fast_host - the host address behind an access, if the fast path knows it.
 * Counts and stamps the access. Returns NULL, with no effect at all, when it must go the slow way.
 */
static inline uint8_t *mmu_fast_host(struct mmu_cpu *cpu, struct vaddr va, uint32_t bytes,
				     struct mmu_access access)
{
	struct mmu_front *front = (struct mmu_front *)cpu;
	bool fetch = access.kind == MMU_FETCH;
	const struct mmu_fast_slot *table =
		__atomic_load_n(&front->table[fetch][access.context], __ATOMIC_RELAXED);
	const struct mmu_fast_slot *slot = &table[(va.a >> X86_PAGE_SHIFT) % MMU_FAST_SLOTS];
	uint64_t want = (va.a + bytes - 1) & MMU_FAST_PAGE;

	/* MMU_WRITE and MMU_RMW are the odd kinds. */
	if (slot->tag[access.kind & 1] != want)
		return NULL;
	if (slot->stamp != NULL) {
		front->fetches += fetch;
		*slot->stamp = ++front->tick;
	}
	return (uint8_t *)(uintptr_t)(va.a + slot->addend);
}

/*
 * The rest of mmu_translate(): everything that the fast path does not know.
 * @packed: mmu_access_pack(). A struct of bytes as an argument is put together in memory, byte by
 * byte, and read back as a word, before every access and not only before slow ones: 6 ns.
 */
uint32_t mmu_translate_slow(struct mmu_cpu *cpu, struct vaddr va, uint32_t bytes, uint32_t packed,
			    struct mmu_result *result);

static inline uint32_t mmu_access_pack(struct mmu_access access)
{
	return access.kind | (uint32_t)access.context << 8 | (uint32_t)access.via_ss << 16;
}

/* Documented in mmu.h. */
static inline uint32_t mmu_translate(struct mmu_cpu *cpu, struct vaddr va, uint32_t bytes,
				     struct mmu_access access, struct mmu_result *result)
{
	const uint8_t *host = mmu_fast_host(cpu, va, bytes, access);

	if (host == NULL)
		return mmu_translate_slow(cpu, va, bytes, mmu_access_pack(access), result);
	result->fault.vector = MMU_NO_FAULT;
	result->pieces = 1;
	result->piece[0].paddr.a = (uint64_t)(host - ((const struct mmu_front *)cpu)->bytes);
	result->piece[0].bytes = bytes;
	result->source = MMU_FROM_L1;
	result->psc_hits = 0;
	result->entry_reads = 0;
	result->ad_writes = 0;
	return MMU_NO_FAULT;
}

#endif
