#include "sim/walk_explain.h"

#include <inttypes.h>
#include <string.h>

static const char *const table_names[] = {
	"page table (PT)", "page directory (PD)", "page-directory-pointer table (PDPT)",
	"PML4 table",	   "PML5 table",
};

static const char *size_name(unsigned shift)
{
	return shift == 12 ? "4 KiB" : shift == 21 ? "2 MiB" : shift == 22 ? "4 MiB" : "1 GiB";
}

/* ---- The machine and the address ---- */

static void print_machine(const struct walk_machine *machine, FILE *to)
{
	const struct mmu_state *s = &machine->state;

	fprintf(to, "Mode: %s", walk_mode_name(machine->mode));
	if (machine->mode == MMU_MODE_NONE) {
		fprintf(to, " (CR0.PG = 0)\n");
		return;
	}
	fprintf(to, ", CR3 %#" PRIx64 ", CR0.WP=%d", s->cr3, (s->cr0 & X86_CR0_WP) != 0);
	if (machine->mode == MMU_MODE_32BIT)
		fprintf(to, " CR4.PSE=%d", (s->cr4 & X86_CR4_PSE) != 0);
	else
		fprintf(to, " EFER.NXE=%d", (s->efer & X86_EFER_NXE) != 0);
	fprintf(to, " CR4.SMEP=%d SMAP=%d", (s->cr4 & X86_CR4_SMEP) != 0,
		(s->cr4 & X86_CR4_SMAP) != 0);
	if (s->cr4 & X86_CR4_PKE)
		fprintf(to, " PKE=1 (PKRU %#x)", s->pkru);
	if (s->cr4 & X86_CR4_PKS)
		fprintf(to, " PKS=1 (PKRS %#x)", s->pkrs);
	fprintf(to, ", %u physical-address bits\n", machine->config.maxphyaddr);
	if (machine->pdpte_accessed_cleared)
		fprintf(to, "Note: the file has bit 5 set in PDPTEs, where a processor reserves it "
			    "(QEMU's TCG sets it); read as 0.\n");
}

/* The name of the table whose entries have this level: "PD" of "page directory (PD)". */
static const char *short_table_name(unsigned level)
{
	static const char *const names[] = { "PT", "PD", "PDPT", "PML4", "PML5" };

	return names[level];
}

static void print_address(const struct walk_machine *machine, uint64_t va, FILE *to)
{
	fprintf(to, "\nThe address is cut into an index for each table, and an offset:\n");
	for (unsigned level = machine->levels; level-- > 0;) {
		unsigned shift = walk_level_shift(machine, level);
		unsigned width = machine->mode == MMU_MODE_32BIT	       ? 10
				 : machine->mode == MMU_MODE_PAE && level == 2 ? 2
									       : 9;
		fprintf(to, "   bits %2u:%-2u  %-5s entry %u\n", shift + width - 1, shift,
			short_table_name(level), walk_level_index(machine, level, va));
	}
	fprintf(to, "   bits 11:0   offset in a 4 KiB page %#" PRIx64 "\n", va & 0xfff);
	fprintf(to,
		"CR3 holds the physical address of the first table, %#" PRIx64
		"; each entry leads to the next.\n",
		machine->root);
}

/* ---- One entry ---- */

static void print_bit(FILE *to, const char *name, bool set, const char *meaning)
{
	fprintf(to, "     %-7s = %d  %s\n", name, set, meaning);
}

static bool is_leaf(const struct mmu_walk *walk, uint32_t i)
{
	return walk->mapped && i == walk->count - 1;
}

static void print_rights_bits(const struct walk_machine *machine,
			      const struct mmu_walk_entry *entry, bool leaf, FILE *to)
{
	uint64_t v = entry->value;

	if (v & X86_PTE_RW)
		print_bit(to, "R/W", true, "writes allowed, as far as this entry goes");
	else
		print_bit(to, "R/W", false,
			  leaf ? "read-only: no user writes, and no kernel writes while CR0.WP=1"
			       : "read-only: no user writes below here, and no kernel writes while "
				 "CR0.WP=1");
	if (v & X86_PTE_US)
		print_bit(to, "U/S", true, "user code allowed, as far as this entry goes");
	else
		print_bit(to, "U/S", false,
			  leaf ? "supervisor: no access by user code"
			       : "supervisor: no access by user code below here");
	if (entry->bytes != 8 || !(machine->state.efer & X86_EFER_NXE))
		return;
	if (v & X86_PTE_XD)
		print_bit(to, "XD", true,
			  leaf ? "no instruction fetches" : "no instruction fetches below here");
	else
		print_bit(to, "XD", false, "fetches allowed, as far as this entry goes");
}

static void print_leaf_bits(const struct walk_machine *machine, const struct mmu_walk *walk,
			    const struct mmu_walk_entry *entry, FILE *to)
{
	uint64_t v = entry->value;
	const struct mmu_state *s = &machine->state;

	print_bit(to, "D", v & X86_PTE_D,
		  v & X86_PTE_D ? "dirty: the page has been written"
				: "clean: the first write sets it");
	print_bit(to, "G", v & X86_PTE_G,
		  !(v & X86_PTE_G)	 ? "dropped from the TLB when CR3 is loaded"
		  : s->cr4 & X86_CR4_PGE ? "global: stays in the TLB when CR3 is loaded"
					 : "global, but ignored because CR4.PGE=0");
	if (s->cr4 & (X86_CR4_PKE | X86_CR4_PKS))
		fprintf(to, "     key     = %u  protection key (bits 62:59)\n", walk->leaf.key);
	fprintf(to, "     memory type: IA32_PAT entry %u (PAT, PCD, PWT bits)\n", walk->leaf.pat);
}

static void print_contribution(const struct walk_machine *machine, const struct mmu_walk *walk,
			       uint32_t i, FILE *to)
{
	const struct mmu_walk_entry *entry = &walk->entry[i];

	if (is_leaf(walk, i)) {
		fprintf(to,
			"   It maps a %s page: physical %#" PRIx64 ", plus offset %#" PRIx64 ".\n",
			size_name(walk->leaf.page_shift), walk->leaf.page.a,
			walk->paddr.a - walk->leaf.page.a);
		return;
	}
	uint64_t table = entry->value & ~0xfffull & ((1ull << machine->config.maxphyaddr) - 1);
	fprintf(to, "   It points to a %s at physical %#" PRIx64 ".\n",
		table_names[entry->level - 1], table);
}

static void print_present_entry(struct walk_machine *machine, uint64_t va,
				const struct mmu_walk *walk, uint32_t i, FILE *to)
{
	const struct mmu_walk_entry *entry = &walk->entry[i];
	bool last = i == walk->count - 1;

	print_bit(to, "P", true, "present");
	if (last && !walk->mapped) {
		fprintf(to,
			"   Bits %#" PRIx64
			" are set and reserved: the walk ends here, whatever the "
			"other bits say.\n",
			walk_reserved_bits(machine, va, entry));
		return;
	}
	if (entry->latched) {
		fprintf(to, "   A PDPTE register, loaded with CR3: it has no R/W, U/S, XD or A "
			    "bits.\n");
	} else {
		print_rights_bits(machine, entry, is_leaf(walk, i), to);
		print_bit(to, "A", entry->value & X86_PTE_A,
			  entry->value & X86_PTE_A ? "accessed: used by a translation before"
						   : "not accessed: the first use sets it");
	}
	if (is_leaf(walk, i)) {
		if (entry->level > 0)
			print_bit(to, "PS", true, "a large page: no table below");
		print_leaf_bits(machine, walk, entry, to);
	}
	print_contribution(machine, walk, i, to);
}

static void print_entry(struct walk_machine *machine, uint64_t va, const struct mmu_walk *walk,
			uint32_t i, FILE *to)
{
	const struct mmu_walk_entry *entry = &walk->entry[i];

	fprintf(to, "\n%u. %s: entry %u, at physical %#" PRIx64 ", is %#" PRIx64 "\n", i + 1,
		walk_entry_name(entry->level), walk_level_index(machine, entry->level, va),
		entry->at.a, entry->value);
	if (entry->value & X86_PTE_P) {
		print_present_entry(machine, va, walk, i, to);
		return;
	}
	print_bit(to, "P", false, "not present: the walk ends here");
	fprintf(to, "   The processor looks at no other bit of it; %s\n",
		entry->value ? "they are the operating system's notes (a swap slot, for example)."
			     : "all of them are 0: nothing was ever mapped here, or it was "
			       "removed.");
}

/* ---- Combined rights ---- */

static void print_combined(const struct walk_machine *machine, const struct mmu_walk *walk,
			   FILE *to)
{
	uint8_t rights = walk->leaf.rights;
	bool xd = machine->entry_bytes == 8 && (machine->state.efer & X86_EFER_NXE);

	fprintf(to, "\nCombined rights (R/W and U/S count only if 1 at every level%s):\n",
		xd ? "; XD counts if 1 at any" : "");
	for (uint32_t i = 0; i < walk->count; i++) {
		const struct mmu_walk_entry *entry = &walk->entry[i];
		if (entry->latched)
			continue;
		fprintf(to, "   %-8s R/W=%d  U/S=%d", walk_entry_name(entry->level),
			(entry->value & X86_PTE_RW) != 0, (entry->value & X86_PTE_US) != 0);
		if (xd)
			fprintf(to, "  XD=%d", (entry->value & X86_PTE_XD) != 0);
		fputc('\n', to);
	}
	fprintf(to, "   together: %s, %s, %s\n", rights & MMU_RIGHT_W ? "writable" : "read-only",
		rights & MMU_RIGHT_U ? "user" : "supervisor",
		rights & MMU_RIGHT_X ? "executable" : "not executable");
}

/* ---- Verdicts ---- */

static void print_translation(const struct walk_machine *machine, const struct mmu_walk *walk,
			      FILE *to)
{
	if (machine->mode == MMU_MODE_NONE)
		fprintf(to, "Physical address: %#" PRIx64 ", the same as the linear one.\n",
			walk->paddr.a);
	else
		fprintf(to, "Physical address: %#" PRIx64 " in a %s page.\n", walk->paddr.a,
			size_name(walk->leaf.page_shift));
}

static void print_side_effects(const struct mmu_walk *walk, const struct mmu_access *access,
			       FILE *to)
{
	for (uint32_t i = 0; i < walk->count; i++) {
		const struct mmu_walk_entry *entry = &walk->entry[i];
		bool a = !entry->latched && !(entry->value & X86_PTE_A);
		bool d = is_leaf(walk, i) && access->kind == MMU_WRITE &&
			 !(entry->value & X86_PTE_D);
		if (a || d)
			fprintf(to, "It also sets %s in the %s.\n",
				a && d ? "A and D"
				: a    ? "A"
				       : "D",
				walk_entry_name(entry->level));
	}
}

/* A query: the six accesses that the combined rights decide. */
static void print_possible(const struct walk_machine *machine, uint64_t va, FILE *to)
{
	static const uint8_t kinds[] = { MMU_READ, MMU_WRITE, MMU_FETCH };
	static const uint8_t contexts[] = { MMU_SUPERVISOR, MMU_USER };

	fprintf(to, "What may be done here (--access says why):\n");
	for (unsigned c = 0; c < 2; c++) {
		for (unsigned k = 0; k < 3; k++) {
			struct mmu_access access = { kinds[k], contexts[c], 0, 0 };
			struct mmu_walk walk;
			mmu_walk(machine->cpu, (struct vaddr){ va }, &access, &walk);
			fprintf(to, "   %-40s %s", walk_access_name(&access),
				walk.fault.vector ? "page fault" : "yes");
			if (walk.fault.vector)
				fprintf(to, ", error code %#x", walk.fault.error_code);
			fputc('\n', to);
		}
	}
}

static void print_verdict(struct walk_machine *machine, const struct walk_question *question,
			  const struct mmu_walk *walk, FILE *to)
{
	fputc('\n', to);
	if (walk->fault.vector) {
		walk_explain_fault(machine, question, walk, to);
	} else if (question->access) {
		fprintf(to, "Verdict: allowed. ");
		print_translation(machine, walk, to);
		print_side_effects(walk, question->access, to);
	} else {
		print_translation(machine, walk, to);
		if (machine->mode != MMU_MODE_NONE)
			print_possible(machine, question->va, to);
	}
	if (machine->mode != MMU_MODE_NONE)
		walk_explain_changes(machine, question, walk, to);
}

static void print_missing(const struct walk_machine *machine, const struct mmu_walk *walk,
			  uint64_t missing, FILE *to)
{
	uint32_t i = 0;

	while (walk->entry[i].at.a != missing)
		i++;
	fprintf(to,
		"\n%u. %s: would be at physical %#" PRIx64 ", but the file lacks frame %#" PRIx64
		".\n   Whether the address is mapped cannot be told from this file.\n",
		i + 1, walk_entry_name(walk->entry[i].level), missing, missing / X86_PAGE_BYTES);
}

/* The whole answer in one line, for those who know the rest. */
static void print_result(const struct mmu_walk *walk, FILE *to)
{
	if (walk->fault.vector == MMU_PF)
		fprintf(to, "Result: page fault (#PF), error code %#x\n", walk->fault.error_code);
	else if (walk->fault.vector)
		fprintf(to, "Result: general-protection fault (#GP)\n");
	else
		fprintf(to, "Result: physical address %#" PRIx64 "\n", walk->paddr.a);
}

bool walk_explain(struct walk_machine *machine, const struct walk_question *question, FILE *to,
		  uint64_t *missing)
{
	struct mmu_walk walk;
	bool whole = walk_memory_walk(machine->memory, machine->cpu, question->va, question->access,
				      &walk, missing);
	int digits = walk_wide(machine) ? 16 : 8;

	fprintf(to, "Linear address 0x%0*" PRIx64, digits, question->va);
	if (question->access)
		fprintf(to, ", access: %s", walk_access_name(question->access));
	fputc('\n', to);
	if (whole)
		print_result(&walk, to);
	print_machine(machine, to);
	if (walk.count > 0)
		print_address(machine, question->va, to);
	for (uint32_t i = 0; i < walk.count && (whole || walk.entry[i].at.a != *missing); i++)
		print_entry(machine, question->va, &walk, i, to);
	if (!whole) {
		print_missing(machine, &walk, *missing, to);
		return false;
	}
	if (walk.mapped && walk.count > 0)
		print_combined(machine, &walk, to);
	print_verdict(machine, question, &walk, to);
	walk_explain_recursive(machine, question, &walk, to);
	return true;
}
