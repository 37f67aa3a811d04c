#include "sim/walk_list.h"

#include <inttypes.h>
#include <string.h>

#define ADDRESS_MASK  0x000ffffffffff000ull
#define NOTHING_BEGUN (~0ull)

struct listing {
	const struct walk_machine *machine;
	FILE *to;
	struct walk_list_result result;
	uint32_t tables, entries;
	/* One call for every leaf, and with @rights 0 for every entry that is not present. */
	void (*visit)(struct listing *self, uint64_t va, unsigned level, uint64_t entry,
		      uint64_t rights);
	/* info mem: the range that is growing. */
	uint64_t begin, begin_rights;
};

/* QEMU extends the sign of everything that it prints there, of sizes too. */
static uint64_t canonical(const struct walk_machine *machine, uint64_t va)
{
	unsigned bits = machine->mode == MMU_MODE_5LEVEL ? 57 : 48;

	return va >> (bits - 1) & 1 ? va | ~0ull << bits : va;
}

/* ---- The traversal ---- */

static bool maps_page(const struct walk_machine *machine, unsigned level, uint64_t entry)
{
	if (level == 0)
		return true;
	if (!(entry & X86_PTE_PS))
		return false;
	if (machine->mode == MMU_MODE_32BIT)
		return machine->state.cr4 & X86_CR4_PSE;
	return level == 1 || (level == 2 && machine->mode != MMU_MODE_PAE);
}

static void note_missing(struct listing *self, uint64_t table)
{
	gint64 number = (gint64)(table / X86_PAGE_BYTES);

	if (g_hash_table_contains(self->result.missing, &number))
		return;
	gint64 *frame = g_new(gint64, 1);
	*frame = number;
	g_hash_table_add(self->result.missing, frame);
}

static void list_table(struct listing *self, uint64_t table, unsigned level, uint64_t va,
		       uint64_t rights)
{
	const struct walk_machine *machine = self->machine;
	bool pdpt = machine->mode == MMU_MODE_PAE && level == 2;
	unsigned count = pdpt ? 4 : X86_PAGE_BYTES / machine->entry_bytes;
	const uint8_t *bytes =
		walk_memory_bytes(machine->memory, table, (uint64_t)count * machine->entry_bytes);
	uint64_t step = 1ull << walk_level_shift(machine, level);

	if (++self->tables > WALK_TABLES_MAX)
		self->result.looped = true;
	for (unsigned i = 0; i < count && !self->result.looped; i++, va += step) {
		uint64_t entry = 0, combined;
		if (bytes)
			memcpy(&entry, bytes + i * machine->entry_bytes, machine->entry_bytes);
		else if (!walk_memory_entry(machine->memory, table + i * machine->entry_bytes,
					    machine->entry_bytes, &entry))
			note_missing(self, table);
		/* PDPTEs of PAE have no rights of their own. */
		combined = pdpt ? rights : entry & rights;
		if (!(entry & X86_PTE_P))
			self->visit(self, va, level, entry, 0);
		else if (maps_page(machine, level, entry))
			self->visit(self, va, level, entry, combined);
		else
			list_table(self, entry & ADDRESS_MASK, level - 1, va, combined);
	}
}

static struct walk_list_result list_all(struct listing *self)
{
	self->result.missing = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	if (self->machine->levels > 0)
		list_table(self, self->machine->root, self->machine->levels - 1, 0,
			   X86_PTE_P | X86_PTE_RW | X86_PTE_US);
	return self->result;
}

/* ---- info mem ---- */

static void visit_range(struct listing *self, uint64_t va, unsigned level, uint64_t entry,
			uint64_t rights)
{
	if (rights == self->begin_rights)
		return;
	if (self->begin != NOTHING_BEGUN)
		fprintf(self->to, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c\n",
			canonical(self->machine, self->begin), canonical(self->machine, va),
			canonical(self->machine, va - self->begin),
			self->begin_rights & X86_PTE_US ? 'u' : '-',
			self->begin_rights & X86_PTE_RW ? 'w' : '-');
	self->begin = rights ? va : NOTHING_BEGUN;
	self->begin_rights = rights;
}

struct walk_list_result walk_list_ranges(const struct walk_machine *machine, FILE *to)
{
	struct listing self = {
		.machine = machine, .to = to, .visit = visit_range, .begin = NOTHING_BEGUN
	};
	struct walk_list_result result = list_all(&self);
	unsigned bits = machine->mode == MMU_MODE_5LEVEL   ? 57
			: machine->mode == MMU_MODE_4LEVEL ? 48
							   : 32;

	if (!result.looped)
		visit_range(&self, 1ull << bits, 0, 0, 0);
	return result;
}

/* ---- info tlb ---- */

/* The bits of a leaf that QEMU prints as its address. */
static uint64_t printed_bits(const struct walk_machine *machine, unsigned level)
{
	static const uint64_t wide[] = { 0x3fffffffff000, 0x3ffffffe00000, 0x3ffffc0000000 };

	if (machine->mode >= MMU_MODE_4LEVEL)
		return wide[level];
	if (level == 0)
		return ~0xfffull;
	return machine->mode == MMU_MODE_PAE ? ~0xfffffull : ~0x1fffffull;
}

static void visit_entry(struct listing *self, uint64_t va, unsigned level, uint64_t entry,
			uint64_t rights)
{
	/* Bit 7 of a PTE is PAT, which the listing does not show. */
	uint64_t flags = level == 0 ? entry & ~X86_PTE_PAT : entry;

	if (rights == 0)
		return;
	if (++self->entries > WALK_ENTRIES_MAX)
		self->result.looped = true;
	fprintf(self->to, "%016" PRIx64 ": %016" PRIx64 " %c%c%c%c%c%c%c%c%c\n",
		canonical(self->machine, va), flags & printed_bits(self->machine, level),
		flags & X86_PTE_XD ? 'X' : '-', flags & X86_PTE_G ? 'G' : '-',
		flags & X86_PTE_PS ? 'P' : '-', flags & X86_PTE_D ? 'D' : '-',
		flags & X86_PTE_A ? 'A' : '-', flags & X86_PTE_PCD ? 'C' : '-',
		flags & X86_PTE_PWT ? 'T' : '-', flags & X86_PTE_US ? 'U' : '-',
		flags & X86_PTE_RW ? 'W' : '-');
}

struct walk_list_result walk_list_entries(const struct walk_machine *machine, FILE *to)
{
	struct listing self = { .machine = machine, .to = to, .visit = visit_entry };

	return list_all(&self);
}
