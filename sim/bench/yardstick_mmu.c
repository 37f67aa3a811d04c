#include "sim/bench/yardstick_mmu.h"

void yard_tlb_init(struct yard_tlb *tlb, uint8_t *ram, uint64_t root)
{
	memset(tlb->tag, 0xff, sizeof(tlb->tag));
	tlb->ram = ram;
	tlb->root = root;
}

void yard_tlb_fill(struct yard_tlb *tlb, uint64_t va)
{
	uint64_t slot = (va >> 12) % YARD_TLB_SLOTS, entry;

	memcpy(&entry, tlb->ram + yard_walk(tlb->ram, tlb->root, va), 8);
	tlb->tag[slot] = va & ~0xfffull;
	tlb->addend[slot] = (uint64_t)(uintptr_t)tlb->ram + (entry & YARD_ENTRY) - tlb->tag[slot];
}
