/*
 * yardstick_mmu.h - Y1, Y2, Y5: the smallest things that translate addresses. No rights, no faults,
 * no accessed bits, no statistics: what an MMU model costs at the least.
 */
#ifndef KMEMLAB_SIM_BENCH_YARDSTICK_MMU_H
#define KMEMLAB_SIM_BENCH_YARDSTICK_MMU_H

#include <stdint.h>
#include <string.h>

#define YARD_TLB_SLOTS 1024u
#define YARD_ENTRY     0x000ffffffffff000ull /* address bits of an 8-byte entry */

/* Y2: four dependent loads through 4-level tables in a flat buffer. Returns the address of the
 * last entry. */
static inline uint64_t yard_walk(const uint8_t *ram, uint64_t root, uint64_t va)
{
	uint64_t table = root, at = 0;

	for (unsigned shift = 39; shift >= 12; shift -= 9) {
		uint64_t entry;
		at = table + (va >> shift & 511) * 8;
		memcpy(&entry, ram + at, 8);
		table = entry & YARD_ENTRY;
	}
	return at;
}

/* Y1: a direct-mapped soft TLB: compare the tag, add the host offset. */
struct yard_tlb {
	uint64_t tag[YARD_TLB_SLOTS]; /* page address; all ones: empty */
	uint64_t addend[YARD_TLB_SLOTS];
	uint8_t *ram;
	uint64_t root;
};
void yard_tlb_init(struct yard_tlb *tlb, uint8_t *ram, uint64_t root);
void yard_tlb_fill(struct yard_tlb *tlb, uint64_t va);

static inline uint8_t *yard_tlb_host(struct yard_tlb *tlb, uint64_t va)
{
	uint64_t slot = (va >> 12) % YARD_TLB_SLOTS;

	if (tlb->tag[slot] != (va & ~0xfffull))
		yard_tlb_fill(tlb, va);
	return (uint8_t *)(uintptr_t)(va + tlb->addend[slot]);
}

/*
 * An exception empties the pipeline: of what comes after it nothing starts before it is over.
 * Without this the processor runs eight iterations of a loop of faults side by side, and the
 * yardstick is how many it can overlap, which no program's faults do.
 */
static inline void yard_serialise(void)
{
	__builtin_ia32_lfence();
}

/* Y5: walk, and where nothing is mapped pop a frame and write the entry. Returns the frame. */
struct yard_frames {
	uint64_t *frame; /* physical addresses */
	uint32_t count;
};

static inline uint64_t yard_fault(uint8_t *ram, uint64_t root, uint64_t va, uint64_t bits,
				  struct yard_frames *frames)
{
	uint64_t at = yard_walk(ram, root, va), entry;

	memcpy(&entry, ram + at, 8);
	if (!(entry & 1)) {
		entry = frames->frame[--frames->count] | bits;
		memcpy(ram + at, &entry, 8);
	}
	return entry & YARD_ENTRY;
}

#endif
