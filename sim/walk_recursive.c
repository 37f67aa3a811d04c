/*
 * Recursive slots. An entry that points back to the top table makes the walk lose one level each
 * time it passes: with R, R, R, R as the indices, the page that is reached is the top table itself.
 *
 *     va of the entry of level l that translates va:
 *         indices   R ... R (l + 1 times), then the upper indices of va, one for each table left
 *         offset    entry's index in its table x its size
 *
 * With PAE the PDPT has no room for it: four neighbouring entries of a page directory point to the
 * four page directories, and a slot is the number of the first of them, 0..2044. Every address
 * found is then translated, and printed only if it leads to the entry.
 */
#include <inttypes.h>

#include "sim/walk_explain.h"

#define ADDRESS_MASK 0x000ffffffffff000ull
#define PAE_SLOTS    2048u

static uint64_t sign_extend(const struct walk_machine *machine, uint64_t va)
{
	unsigned bits = machine->mode == MMU_MODE_5LEVEL ? 57 : 48;

	if (!walk_wide(machine))
		return (uint32_t)va;
	return (uint64_t)((int64_t)(va << (64 - bits)) >> (64 - bits));
}

static uint64_t through_slot(const struct walk_machine *machine, unsigned slot, uint64_t va,
			     const struct mmu_walk_entry *entry)
{
	unsigned level = entry->level;

	if (machine->mode == MMU_MODE_PAE) {
		uint64_t window = (uint64_t)slot << 21;
		uint64_t table = level == 0 ? window : window + (window >> 12) * 8;
		return (uint32_t)(table + (va >> (level == 0 ? 12 : 21)) * 8);
	}
	unsigned top = machine->levels - 1;
	unsigned bits = walk_level_shift(machine, 1) - walk_level_shift(machine, 0);
	uint64_t seen = entry->at.a & (X86_PAGE_BYTES - 1);
	for (unsigned l = 0; l <= top; l++) {
		unsigned from = l + level + 1;
		uint64_t index = from <= top ? walk_level_index(machine, from, va) : slot;
		seen |= index << (X86_PAGE_SHIFT + l * bits);
	}
	return sign_extend(machine, seen);
}

static bool leads_to(struct walk_machine *machine, uint64_t va, uint64_t paddr)
{
	struct mmu_walk walk;
	uint64_t missing;

	return walk_memory_walk(machine->memory, machine->cpu, va, NULL, &walk, &missing) &&
	       walk.mapped && walk.paddr.a == paddr;
}

/* Does the slot's entry point back? PAE: four that point to the four directories. */
static bool is_recursive(const struct walk_machine *machine, unsigned slot)
{
	const struct walk_memory *memory = machine->memory;
	unsigned bytes = machine->entry_bytes;
	uint64_t entry, pdpte, directory;

	if (machine->mode != MMU_MODE_PAE)
		return walk_memory_entry(memory, machine->root + (uint64_t)slot * bytes, bytes,
					 &entry) &&
		       (entry & X86_PTE_P) && !(entry & X86_PTE_PS) &&
		       (entry & ADDRESS_MASK) == machine->root;
	if (slot % 512 > 508 ||
	    !walk_memory_entry(memory, machine->root + slot / 512 * 8, 8, &pdpte) ||
	    !(pdpte & X86_PTE_P))
		return false;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t at = (pdpte & ADDRESS_MASK) + (slot % 512 + i) * 8;
		if (!walk_memory_entry(memory, machine->root + i * 8, 8, &directory) ||
		    !walk_memory_entry(memory, at, 8, &entry))
			return false;
		/* A directory that is not there needs no entry. */
		if ((directory & X86_PTE_P) && (!(entry & X86_PTE_P) || (entry & X86_PTE_PS) ||
						((entry ^ directory) & ADDRESS_MASK) != 0))
			return false;
	}
	return true;
}

static unsigned slots(const struct walk_machine *machine)
{
	return machine->mode == MMU_MODE_PAE ? PAE_SLOTS : X86_PAGE_BYTES / machine->entry_bytes;
}

static void explain_slot(struct walk_machine *machine, unsigned slot,
			 const struct walk_question *question, const struct mmu_walk *walk,
			 FILE *to)
{
	if (!is_recursive(machine, slot)) {
		fprintf(to, "\nSlot %u is not recursive: it does not point back to %s.\n", slot,
			machine->mode == MMU_MODE_PAE ? "the page directories" : "the top table");
		return;
	}
	fprintf(to, "\nThrough the recursive slot %u the kernel sees these entries at:\n", slot);
	for (uint32_t i = 0; i < walk->count; i++) {
		const struct mmu_walk_entry *entry = &walk->entry[i];
		uint64_t seen = through_slot(machine, slot, question->va, entry);
		if (entry->latched)
			continue;
		if (leads_to(machine, seen, entry->at.a))
			fprintf(to, "   %-6s 0x%0*" PRIx64 "\n", walk_entry_name(entry->level),
				walk_wide(machine) ? 16 : 8, seen);
		else
			fprintf(to, "   %-6s nowhere: the way there is not mapped\n",
				walk_entry_name(entry->level));
	}
}

void walk_explain_recursive(struct walk_machine *machine, const struct walk_question *question,
			    const struct mmu_walk *walk, FILE *to)
{
	if (walk->count == 0)
		return;
	for (unsigned i = 0; i < question->slot_count; i++)
		explain_slot(machine, question->slots[i], question, walk, to);
	for (unsigned slot = 0; question->slot_count == 0 && slot < slots(machine); slot++)
		if (is_recursive(machine, slot))
			explain_slot(machine, slot, question, walk, to);
}
