/*
 * walk.c - one page walk.
 *
 *     CR3 --> table of level 4 --entry--> table of level 3 --entry--> ... --leaf--> page
 *              (5-level)         |                           |               |
 *                                +---- AND of R/W, U/S and not-XD -----------+--> rights
 *
 * A walk reads one entry a level, top down, and ends at the first entry that is not present, that
 * has a reserved bit, or that maps a page. It judges nothing: rights come out raw, as three bits,
 * because WP, SMEP, SMAP, AC and the key registers act without a walk (5.7). All that depends on
 * the mode is in struct control: reserved[level][PS], leaf_levels, shifts and masks.
 *
 * Invariants
 *  W1  walk_run() writes no memory, and reads each entry once, by one atomic load.
 *  W2  The first offending level wins; rights never hide it (4.2, 4.3).
 *  W3  chain[level] is the AND over all levels from the root down to it; a PAE register and a
 *      4-byte entry contribute nothing to XD (4.4).
 *  W4  walk_mark() changes an entry only by compare-and-swap against what walk_run() judged: A or D
 *      never lands in an entry that was cleared meanwhile (7.3, 12.4).
 *  W5  A is set top down, D in the leaf only; on a fault entries above the offending one get A, the
 *      offending one gets nothing (7.1, 7.2).
 *
 * An entry used at two levels (a recursive slot, 7.8) fails the second compare-and-swap, because
 * the first one set A: the caller walks again, and then finds A at both.
 *
 * Cost: one dependent load a level. Sources: Intel SDM volume 3, 4.3-4.5, 4.8.
 */
#include "mmu/walk.h"
#include "mmu/memory.h"

/* The inverse of walk_rights(): an AND chain of entries that had these rights, and A set. */
static uint64_t walk_chain(uint8_t rights)
{
	const uint64_t judged = X86_PTE_RW | X86_PTE_US | X86_PTE_XD;

	return ~judged | (uint64_t)(rights & 3) << 1 | (uint64_t)(rights >> 2) << 63;
}

/* What a mode's entries look like: constants, so that a walker is compiled for each form. */
struct entry_form {
	unsigned log2_bytes, index_bits;
	bool pse36; /* 4 MiB leaves have address bits above 31 */
};
static const struct entry_form form_4byte = { 2, 10, true };
static const struct entry_form form_8byte = { 3, 9, false };

static inline void set_leaf(const struct control *c, const struct entry_form form, unsigned level,
			    uint64_t value, uint64_t chain, struct mmu_entry *leaf)
{
	unsigned shift = X86_PAGE_SHIFT + level * form.index_bits;
	uint64_t pat = level == 0 ? X86_PTE_PAT : X86_PTE_LARGE_PAT;
	uint64_t page = value & c->address_mask & ~0ull << shift;

	if (form.pse36 && level == 1) /* entry bit 13 is address bit 32 */
		page |= (value & c->pse36_mask) << (32 - 13);
	*leaf = walk_entry(page, (struct walk_attributes){
					 .page_shift = shift,
					 .rights = walk_rights(chain),
					 .key = value >> X86_PTE_KEY_SHIFT & 15,
					 /* PCD and PWT are bits 4:3 */
					 .pat = (value & pat ? 4 : 0) | (value >> 3 & 3),
					 .dirty = value >> 6 & 1,
					 .global = value >> 8 & (c->state.cr4 / X86_CR4_PGE) & 1,
				 });
}

/* From @table, whose entries have @level, down to the end of the walk. */
static inline __attribute__((always_inline)) void descend(const struct control *c,
							  const struct mmu_memory *ram, uint64_t va,
							  const struct entry_form form,
							  uint64_t table, unsigned level,
							  uint64_t chain, struct walk *w)
{
	for (;; level--) {
		uint64_t index = va >> (X86_PAGE_SHIFT + level * form.index_bits) &
				 ((1u << form.index_bits) - 1);
		uint64_t at = table + (index << form.log2_bytes);
		uint64_t value = memory_entry_read(ram, at, form.log2_bytes);
		unsigned ps = value >> 7 & 1;

		chain &= value ^ X86_PTE_XD;
		w->at[level] = at;
		w->value[level] = value;
		w->chain[level] = chain;
		if (!(value & X86_PTE_P) || (value & c->reserved[level][ps])) {
			w->bottom = (uint8_t)level;
			w->end = value & X86_PTE_P ? WALK_RESERVED : WALK_NOT_PRESENT;
			return;
		}
		if (c->leaves >> (2 * level + ps) & 1)
			break;
		table = value & c->address_mask;
	}
	w->bottom = (uint8_t)level;
	w->end = WALK_MAPPED;
	set_leaf(c, form, level, w->value[level], chain, &w->leaf);
}

/* The PAE registers: level 2 without reading memory. False: not present. */
static bool start_pae(const struct control *c, uint64_t va, struct walk *w, uint64_t *table)
{
	unsigned index = va >> 30 & 3;

	w->latched = true;
	w->top = 2;
	w->bottom = 2;
	w->at[2] = c->root + 8 * index;
	w->value[2] = c->pdpte[index];
	w->chain[2] = ~0ull;
	w->end = WALK_NOT_PRESENT;
	*table = w->value[2] & c->address_mask;
	return w->value[2] & X86_PTE_P;
}

void walk_run(const struct control *c, const struct mmu_memory *ram, uint64_t va,
	      const struct walk_start *start, struct walk *w)
{
	uint64_t chain = ~0ull;
	uint64_t table = c->root;
	unsigned level = c->levels - 1u;

	w->latched = false;
	w->top = (uint8_t)level;
	if (start != NULL) {
		table = start->table;
		level = start->level;
		w->top = (uint8_t)level;
		chain = walk_chain(start->rights);
	} else if (c->mode == MMU_MODE_PAE && !start_pae(c, va, w, &table)) {
		return;
	}
	if (c->entry_shift == 3)
		descend(c, ram, va, form_8byte, table, level, chain, w);
	else
		descend(c, ram, va, form_4byte, table, level, chain, w);
}

bool walk_mark(const struct control *c, struct mmu_memory *ram, const struct walk *w,
	       uint64_t leaf_bits, struct walk_marks *marks)
{
	for (unsigned level = w->top - w->latched; level + 1 > w->bottom; level--) {
		uint64_t old = w->value[level];
		uint64_t set = (level > w->bottom ? X86_PTE_A : leaf_bits) & ~old;

		if (set == 0)
			continue;
		if (!memory_entry_swap(ram, w->at[level], c->entry_shift, old, old | set))
			return false;
		marks->accessed += (set & X86_PTE_A) != 0;
		marks->dirty += (set & X86_PTE_D) != 0;
	}
	return true;
}
