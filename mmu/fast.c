/*
 * fast.c - fills and empties the slots of fast.h.
 *
 *     L1 way --first_slot--> slot <-> slot <-> slot      (a large page may have many)
 *
 * With statistics the slots that live on an L1 way form a doubly linked list, kept beside them so
 * that a slot stays 32 bytes: emptying a way costs its slots, taking one slot away costs O(1).
 * Without statistics no way exists; what was filled is remembered in order, so that emptying
 * everything costs what was filled and not what there is.
 *
 * Invariants beside F1-F4 of fast.h
 *  S1  With statistics, a non-empty slot is on exactly one list, that of the way whose stamp it
 *      stores to.
 *  S2  Without, every non-empty slot is in filled[0 .. filled_count), and its table's bit is set in
 *      fast_tables.
 */
#include "mmu/tlb.h"

static void empty_slot(struct mmu_fast_slot *slot)
{
	slot->tag[0] = slot->tag[1] = MMU_FAST_EMPTY;
}

static bool slot_empty(const struct mmu_fast_slot *slot)
{
	return slot->tag[0] == MMU_FAST_EMPTY && slot->tag[1] == MMU_FAST_EMPTY;
}

static void set_table(struct mmu_front *front, bool fetch, unsigned context,
		      struct mmu_fast_slot *table)
{
	__atomic_store_n(&front->table[fetch][context], table, __ATOMIC_RELAXED);
}

static struct mmu_fast_slot *table(const struct tlb *tlb, enum fast_table which)
{
	return tlb->slots + which * MMU_FAST_SLOTS;
}

void fast_block(struct tlb *tlb)
{
	for (unsigned context = 0; context < MMU_CONTEXTS; context++) {
		set_table(tlb->front, false, context, tlb->no_slots);
		set_table(tlb->front, true, context, tlb->no_slots);
	}
}

void fast_unblock(struct tlb *tlb)
{
	for (unsigned context = 0; context < MMU_CONTEXTS; context++) {
		set_table(tlb->front, false, context, table(tlb, fast_table(context, false)));
		set_table(tlb->front, true, context, table(tlb, fast_table(context, true)));
	}
}

void fast_init(struct tlb *tlb)
{
	for (uint32_t s = 0; s < TLB_FAST_SLOTS; s++)
		empty_slot(&tlb->slots[s]);
	for (uint32_t s = 0; s < MMU_FAST_SLOTS; s++)
		empty_slot(&tlb->no_slots[s]);
	fast_unblock(tlb);
}

static void unlink_slot(struct tlb *tlb, uint16_t slot)
{
	struct tlb_link *link = &tlb->links[slot];

	if (link->prev != TLB_NO_SLOT)
		tlb->links[link->prev].next = link->next;
	else
		link->way->first_slot = link->next;
	if (link->next != TLB_NO_SLOT)
		tlb->links[link->next].prev = link->prev;
}

static void link_slot(struct tlb *tlb, uint16_t slot, struct tlb_way *way)
{
	tlb->links[slot] = (struct tlb_link){ way, way->first_slot, TLB_NO_SLOT };
	if (way->first_slot != TLB_NO_SLOT)
		tlb->links[way->first_slot].prev = slot;
	way->first_slot = slot;
}

static void remember(struct tlb *tlb, uint16_t slot)
{
	if (tlb->filled_count == TLB_FAST_SLOTS) /* slots were emptied and filled again */
		fast_empty(tlb);
	tlb->filled[tlb->filled_count++] = slot;
}

void fast_fill(struct tlb *tlb, struct tlb_ref ref, const struct fast_fill *fill)
{
	uint64_t page = fill->va & MMU_FAST_PAGE;
	uint32_t index = (uint32_t)((page >> X86_PAGE_SHIFT) % MMU_FAST_SLOTS);
	uint16_t number = (uint16_t)(fill->table * MMU_FAST_SLOTS + index);
	struct mmu_fast_slot *slot = &tlb->slots[number];

	if (tlb->inclusive) {
		if (!slot_empty(slot))
			unlink_slot(tlb, number);
		link_slot(tlb, number, &tlb->cache[ref.cache].way[ref.way]);
		slot->stamp = &tlb->cache[ref.cache].stamp[ref.way];
	} else {
		if (slot_empty(slot))
			remember(tlb, number);
		tlb->fast_large |= fill->page_shift > X86_PAGE_SHIFT;
		tlb->fast_tables |= 1u << fill->table;
		slot->stamp = NULL;
	}
	slot->tag[0] = fill->readable ? page : MMU_FAST_EMPTY;
	slot->tag[1] = fill->writable ? page : MMU_FAST_EMPTY;
	slot->addend = (uint64_t)(uintptr_t)fill->host - page;
}

void fast_empty_way(struct tlb *tlb, struct tlb_way *way)
{
	uint16_t slot = way->first_slot;

	way->first_slot = TLB_NO_SLOT;
	for (; slot != TLB_NO_SLOT; slot = tlb->links[slot].next)
		empty_slot(&tlb->slots[slot]);
}

void fast_empty(struct tlb *tlb)
{
	for (uint32_t i = 0; i < tlb->filled_count; i++)
		empty_slot(&tlb->slots[tlb->filled[i]]);
	tlb->filled_count = 0;
	tlb->fast_large = false;
	tlb->fast_tables = 0;
	for (unsigned i = 0; tlb->inclusive && i <= MMU_L1I_1G; i++) {
		struct tlb_cache *cache = &tlb->cache[i];

		for (uint32_t w = 0; w < cache->sets * cache->ways; w++)
			fast_empty_way(tlb, &cache->way[w]);
	}
}

void fast_drop_page(struct tlb *tlb, uint64_t va)
{
	uint32_t index = (uint32_t)((va >> X86_PAGE_SHIFT) % MMU_FAST_SLOTS);

	if (tlb->inclusive)
		return; /* the ways see to it */
	if (tlb->fast_large) {
		fast_empty(tlb);
		return;
	}
	for (unsigned which = 0; which < TLB_FAST_TABLES; which++) {
		if (tlb->fast_tables >> which & 1)
			empty_slot(&tlb->slots[which * MMU_FAST_SLOTS + index]);
	}
}
