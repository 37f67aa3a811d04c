#include <inttypes.h>
#include <string.h>

#include "sim/walk_explain.h"

const char *walk_entry_name(unsigned level)
{
	static const char *const names[] = { "PTE", "PDE", "PDPTE", "PML4E", "PML5E" };

	return names[level];
}

const char *walk_access_name(const struct mmu_access *access)
{
	static const char *const names[3][3] = {
		{ "read by the kernel", "read by the kernel with EFLAGS.AC=1",
		  "read by user code (CPL 3)" },
		{ "write by the kernel", "write by the kernel with EFLAGS.AC=1",
		  "write by user code (CPL 3)" },
		{ "instruction fetch by the kernel",
		  "instruction fetch by the kernel with EFLAGS.AC=1",
		  "instruction fetch by user code (CPL 3)" },
	};

	return names[access->kind][access->context];
}

/* ---- Trying things on the model ---- */

static uint64_t swap_entry(struct walk_machine *machine, const struct mmu_walk_entry *entry,
			   uint64_t value)
{
	uint8_t *at = machine->memory->ram.bytes + entry->at.a;
	uint64_t old = 0;

	memcpy(&old, at, entry->bytes);
	memcpy(at, &value, entry->bytes);
	return old;
}

static bool reserved_at(struct walk_machine *machine, uint64_t va, unsigned level)
{
	struct mmu_walk walk;

	mmu_walk(machine->cpu, (struct vaddr){ va }, NULL, &walk);
	return (walk.fault.error_code & X86_PF_RSVD) && walk.entry[walk.count - 1].level == level;
}

uint64_t walk_reserved_bits(struct walk_machine *machine, uint64_t va,
			    const struct mmu_walk_entry *entry)
{
	uint64_t keep = entry->value & (X86_PTE_P | X86_PTE_PS), found = 0;
	uint64_t old = swap_entry(machine, entry, keep);

	if ((keep & X86_PTE_PS) && reserved_at(machine, va, entry->level)) {
		found = X86_PTE_PS;
		keep = X86_PTE_P;
	}
	for (uint64_t left = entry->value & ~(X86_PTE_P | X86_PTE_PS); left; left &= left - 1) {
		uint64_t bit = left & -left;
		swap_entry(machine, entry, keep | bit);
		if (reserved_at(machine, va, entry->level))
			found |= bit;
	}
	swap_entry(machine, entry, old);
	return found;
}

/* ---- The error code ---- */

static void print_error_code(uint32_t code, const struct mmu_access *access, FILE *to)
{
	static const char *const short_names[] = { "P", "W/R", "U/S", "RSVD", "I/D", "PK" };
	const char *const meanings[][2] = {
		{ "an entry was not present", "every entry met was present" },
		{ "the access was no write", "the access was a write" },
		{ "the access was the kernel's", "the access was user code's" },
		{ "no reserved bit", "a reserved bit was set in a present entry" },
		{ access && access->kind == MMU_FETCH
			  ? "a fetch, but without EFER.NXE and CR4.SMEP the bit is not used"
			  : "the access was no instruction fetch",
		  "the access was an instruction fetch" },
		{ "no protection key", "the page's protection key forbids it" },
	};

	for (unsigned bit = 0; bit < G_N_ELEMENTS(meanings); bit++) {
		bool set = code >> bit & 1;
		bool about_access = bit == 1 || bit == 2 || bit == 4;
		if (about_access ? access != NULL : (set || bit == 0))
			fprintf(to, "   bit %u %-4s = %d  %s\n", bit, short_names[bit], set,
				meanings[bit][set]);
	}
}

/* ---- Reserved bits ---- */

/* Why a bit is reserved, and all bits for that reason. */
struct reserved_reason {
	uint64_t mask;
	char *why;
};

static struct reserved_reason reserved_reason(const struct walk_machine *machine,
					      const struct mmu_walk_entry *entry, unsigned bit)
{
	unsigned m = machine->config.maxphyaddr;
	unsigned size_shift = walk_level_shift(machine, entry->level);

	if (bit == 63)
		return (struct reserved_reason){
			1ull << 63, g_strdup("bit 63 is XD only where EFER.NXE=1; here it is 0")
		};
	if (bit == 7)
		return (struct reserved_reason){
			1ull << 7, g_strdup_printf("bit 7 (PS): a %s cannot map a page",
						   walk_entry_name(entry->level))
		};
	if (machine->mode == MMU_MODE_32BIT)
		return (struct reserved_reason){
			0x3fe000, g_strdup("a 4 MiB page begins at a multiple of 4 MiB, and what "
					   "lies above the address bits that PSE-36 puts here must "
					   "be 0")
		};
	if (bit >= 52)
		return (struct reserved_reason){
			0x7ffull << 52, g_strdup("bits 62:52 are reserved in PAE paging")
		};
	if (bit >= m)
		return (struct reserved_reason){
			(1ull << 52) - (1ull << m),
			g_strdup_printf("an address beyond the %u bits that this processor has "
					"(--maxphyaddr says how many)",
					m)
		};
	return (struct reserved_reason){
		(1ull << size_shift) - (1ull << 13),
		g_strdup_printf(
			"a page of this size begins at a multiple of it: bits %u:13 must be "
			"0",
			size_shift - 1)
	};
}

static void print_reserved(struct walk_machine *machine, uint64_t va,
			   const struct mmu_walk_entry *entry, FILE *to)
{
	uint64_t left = walk_reserved_bits(machine, va, entry);

	fprintf(to, "Why: the %s has reserved bits set, which must be 0 in a present entry:\n",
		walk_entry_name(entry->level));
	while (left) {
		struct reserved_reason reason =
			reserved_reason(machine, entry, (unsigned)__builtin_ctzll(left));
		fprintf(to, "   %#" PRIx64 ": %s\n", left & reason.mask, reason.why);
		g_free(reason.why);
		left &= ~reason.mask;
	}
}

/* ---- Protection ---- */

static bool lacks(const struct mmu_walk_entry *entry, uint64_t bit)
{
	bool set = entry->value & bit;

	return !entry->latched && (bit == X86_PTE_XD ? set : !set);
}

/* "the PDE and the PTE": entries that withhold the right. */
static char *names_lacking(const struct mmu_walk *walk, uint64_t bit)
{
	GString *text = g_string_new(NULL);

	for (uint32_t i = 0; i < walk->count; i++)
		if (lacks(&walk->entry[i], bit))
			g_string_append_printf(
				text, "%sthe %s at %#" PRIx64, text->len ? " and " : "",
				walk_entry_name(walk->entry[i].level), walk->entry[i].at.a);
	return g_string_free(text, FALSE);
}

static void print_lacking(const struct mmu_walk *walk, uint64_t bit, const char *format, FILE *to)
	G_GNUC_PRINTF(3, 0);

/* @format has one %s: the entries. */
static void print_lacking(const struct mmu_walk *walk, uint64_t bit, const char *format, FILE *to)
{
	char *names = names_lacking(walk, bit);

	fputs("   ", to);
	fprintf(to, format, names);
	fputc('\n', to);
	g_free(names);
}

static void print_protection(const struct walk_machine *machine, const struct mmu_access *access,
			     const struct mmu_walk *walk, FILE *to)
{
	bool user = access->context == MMU_USER, write = access->kind == MMU_WRITE;
	bool fetch = access->kind == MMU_FETCH, user_page = walk->leaf.rights & MMU_RIGHT_U;
	const struct mmu_state *s = &machine->state;

	fprintf(to, "Why:\n");
	if (user && !user_page)
		print_lacking(
			walk, X86_PTE_US,
			"The page belongs to the kernel: U/S is 0 in %s, and user code needs 1 "
			"at every level.",
			to);
	if (write && !(walk->leaf.rights & MMU_RIGHT_W) && user)
		print_lacking(walk, X86_PTE_RW,
			      "The page is read-only: R/W is 0 in %s, and a user write needs 1 at "
			      "every level, whatever CR0.WP is.",
			      to);
	if (write && !(walk->leaf.rights & MMU_RIGHT_W) && !user && (s->cr0 & X86_CR0_WP))
		print_lacking(walk, X86_PTE_RW,
			      "The page is read-only: R/W is 0 in %s, and CR0.WP=1 makes that hold "
			      "for the kernel too.",
			      to);
	if (fetch && !(walk->leaf.rights & MMU_RIGHT_X))
		print_lacking(
			walk, X86_PTE_XD,
			"The page is not executable: XD is 1 in %s. Kernels mark data so, that "
			"what is written\n   there can never run.",
			to);
	if (fetch && !user && user_page && (s->cr4 & X86_CR4_SMEP))
		fprintf(to,
			"   CR4.SMEP=1: the kernel must not execute user pages, and this is one "
			"(U/S is 1 at every level).\n");
	if (!fetch && access->context == MMU_SUPERVISOR && user_page && (s->cr4 & X86_CR4_SMAP))
		fprintf(to,
			"   CR4.SMAP=1 and EFLAGS.AC=0: the kernel must not touch user pages by "
			"accident, and this is one\n   (U/S is 1 at every level). A kernel that "
			"means to do it executes STAC first.\n");
	if (walk->fault.error_code & X86_PF_PK)
		fprintf(to,
			"   The page has protection key %u, and %s forbids this access to it.\n",
			walk->leaf.key, user_page ? "PKRU" : "IA32_PKRS");
}

void walk_explain_fault(struct walk_machine *machine, const struct walk_question *question,
			const struct mmu_walk *walk, FILE *to)
{
	const struct mmu_fault *fault = &walk->fault;

	if (fault->vector != MMU_PF) {
		unsigned bits = machine->mode == MMU_MODE_5LEVEL ? 57 : 48;
		fprintf(to,
			"Verdict: general-protection fault, #GP(0).\nWhy: the address is not "
			"canonical: bits 63:%u must all be equal, because only %u bits are "
			"translated.\nNo table is read, and CR2 stays as it is.\n",
			bits - 1, bits);
		return;
	}
	const struct mmu_walk_entry *last = &walk->entry[walk->count - 1];
	if (question->access)
		fprintf(to, "Verdict: page fault (#PF), error code %#x, CR2 = %#" PRIx64 "\n",
			fault->error_code, fault->cr2.a);
	else
		fprintf(to,
			"Verdict: not mapped: any access gives a page fault (#PF), error code "
			"%#x plus the bits that describe the access\n",
			fault->error_code);
	print_error_code(fault->error_code, question->access, to);
	if (!(fault->error_code & X86_PF_P))
		fprintf(to,
			"Why: the %s has P=0, so nothing is mapped here. Levels above it do not "
			"matter, levels below do not exist.\n",
			walk_entry_name(last->level));
	else if (fault->error_code & X86_PF_RSVD)
		print_reserved(machine, question->va, last, to);
	else
		print_protection(machine, question->access, walk, to);
	if (fault->error_code & X86_PF_RSVD)
		fprintf(to,
			"The processor calls the kernel's page-fault handler, which cannot repair "
			"this as it would a missing page:\nno access of a program brings it about, "
			"so it means a corrupted table, or a bug of the kernel.\n");
	else
		fprintf(to,
			"The processor calls the kernel's page-fault handler, which may repair "
			"this and let the access run again\n(demand paging, copy-on-write, swap), "
			"or stop the program.\n");
}

/* ---- What would change it ---- */

struct trial {
	struct walk_machine *machine;
	const struct walk_question *question;
	const struct mmu_walk *walk;
	FILE *to;
	bool faults; /* now */
	bool any;    /* a line was printed */
};

static bool turns(const struct trial *trial, const struct mmu_access *access)
{
	struct mmu_walk walk;

	mmu_walk(trial->machine->cpu, (struct vaddr){ trial->question->va }, access, &walk);
	return (walk.fault.vector != 0) != trial->faults;
}

static void say(struct trial *trial, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void say(struct trial *trial, const char *format, ...)
{
	va_list arguments;

	if (!trial->any)
		fprintf(trial->to, trial->faults ? "It would be allowed:\n" : "It would fault:\n");
	trial->any = true;
	fputs("   - ", trial->to);
	va_start(arguments, format);
	vfprintf(trial->to, format, arguments);
	va_end(arguments);
	fputc('\n', trial->to);
}

/* The rights that entries give: on a fault all that withhold one must change, otherwise any. */
static const struct {
	uint64_t bit;
	const char *grant, *withhold;
} entry_rights[] = {
	{ X86_PTE_RW, "R/W set", "R/W cleared" },
	{ X86_PTE_US, "U/S set", "U/S cleared" },
	{ X86_PTE_XD, "XD cleared", "XD set" },
};

/* Grants the rights in @mask (bits of entry_rights) at every level; false undoes it. */
static void grant(const struct trial *trial, unsigned mask, bool apply)
{
	for (uint32_t i = 0; i < trial->walk->count; i++) {
		const struct mmu_walk_entry *entry = &trial->walk->entry[i];
		uint64_t value = entry->value;
		for (unsigned r = 0; apply && r < G_N_ELEMENTS(entry_rights); r++)
			if ((mask >> r & 1) && lacks(entry, entry_rights[r].bit))
				value ^= entry_rights[r].bit;
		if (!entry->latched)
			swap_entry(trial->machine, entry, value);
	}
}

static void say_grant(struct trial *trial, unsigned mask)
{
	GString *text = g_string_new("with ");

	for (unsigned r = 0; r < G_N_ELEMENTS(entry_rights); r++) {
		char *names = names_lacking(trial->walk, entry_rights[r].bit);
		if (mask >> r & 1)
			g_string_append_printf(text, "%s%s in %s",
					       text->len > strlen("with ") ? " and " : "",
					       entry_rights[r].grant, names);
		g_free(names);
	}
	say(trial, "%s", text->str);
	g_string_free(text, TRUE);
}

/* The smallest sets of rights that are enough. */
static void try_grants(struct trial *trial)
{
	static const unsigned masks[] = { 1, 2, 4, 3, 5, 6, 7 };
	unsigned enough = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(masks); i++) {
		if (enough && (masks[i] & enough) == enough)
			continue;
		grant(trial, masks[i], true);
		if (turns(trial, trial->question->access)) {
			say_grant(trial, masks[i]);
			enough = masks[i];
		}
		grant(trial, masks[i], false);
	}
}

/* Each right that the access rests on, withheld in the leaf: any other entry would do as well. */
static void try_withholding(struct trial *trial)
{
	const struct mmu_walk_entry *leaf = &trial->walk->entry[trial->walk->count - 1];
	bool xd = trial->machine->entry_bytes == 8 && (trial->machine->state.efer & X86_EFER_NXE);

	for (unsigned r = 0; r < G_N_ELEMENTS(entry_rights); r++) {
		uint64_t bit = entry_rights[r].bit;
		if (lacks(leaf, bit) || (bit == X86_PTE_XD && !xd))
			continue;
		swap_entry(trial->machine, leaf, leaf->value ^ bit);
		if (turns(trial, trial->question->access))
			say(trial, "with %s in the %s (or in any entry above)",
			    entry_rights[r].withhold, walk_entry_name(leaf->level));
		swap_entry(trial->machine, leaf, leaf->value);
	}
	say(trial, "with P cleared in any of the entries");
}

static void try_state(struct trial *trial, const struct mmu_state *state, const char *text)
{
	if (mmu_load_state(trial->machine->cpu, state).vector == MMU_NO_FAULT &&
	    turns(trial, trial->question->access))
		say(trial, "%s", text);
	mmu_load_state(trial->machine->cpu, &trial->machine->state);
}

static void try_registers(struct trial *trial)
{
	static const struct {
		size_t field;
		uint64_t bit;
		const char *now_set, *now_clear;
	} bits[] = {
		{ offsetof(struct mmu_state, cr0), X86_CR0_WP,
		  "with CR0.WP=0: the kernel may write read-only pages", "with CR0.WP=1" },
		{ offsetof(struct mmu_state, cr4), X86_CR4_SMEP, "with CR4.SMEP=0",
		  "with CR4.SMEP=1" },
		{ offsetof(struct mmu_state, cr4), X86_CR4_SMAP, "with CR4.SMAP=0",
		  "with CR4.SMAP=1" },
		{ offsetof(struct mmu_state, efer), X86_EFER_NXE,
		  "with EFER.NXE=0: XD is then a reserved bit", "with EFER.NXE=1" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(bits); i++) {
		struct mmu_state state = trial->machine->state;
		uint64_t *field = (uint64_t *)((uint8_t *)&state + bits[i].field);
		bool set = *field & bits[i].bit;
		*field ^= bits[i].bit;
		try_state(trial, &state, set ? bits[i].now_set : bits[i].now_clear);
	}
	struct mmu_state keys = trial->machine->state;
	keys.pkru = keys.pkrs = 0;
	try_state(trial, &keys, "with no protection key denied (PKRU and PKRS 0)");
}

static void try_access(struct trial *trial, uint8_t kind, uint8_t context, const char *text)
{
	struct mmu_access access = { kind, context, 0, 0 };

	if ((kind != trial->question->access->kind ||
	     context != trial->question->access->context) &&
	    turns(trial, &access))
		say(trial, "%s", text);
}

static void try_other_accesses(struct trial *trial)
{
	const struct mmu_access *access = trial->question->access;

	try_access(trial, access->kind, MMU_SUPERVISOR, "from the kernel (CPL below 3)");
	try_access(trial, access->kind, MMU_USER, "from user code");
	if (access->context == MMU_SUPERVISOR)
		try_access(trial, access->kind, MMU_SUPERVISOR_AC, "with EFLAGS.AC=1 (after STAC)");
	if (access->context == MMU_SUPERVISOR_AC)
		try_access(trial, access->kind, MMU_SUPERVISOR, "with EFLAGS.AC=0 (after CLAC)");
	try_access(trial, MMU_READ, access->context, "as a read");
	if (!trial->faults)
		try_access(trial, MMU_WRITE, access->context, "as a write");
}

static void change_not_present(const struct trial *trial)
{
	const struct mmu_walk_entry *last = &trial->walk->entry[trial->walk->count - 1];

	fprintf(trial->to, "What would change it: an entry with P=1 at physical %#" PRIx64,
		last->at.a);
	if (last->level == 0)
		fprintf(trial->to, " that names the frame to map.\n");
	else
		fprintf(trial->to,
			", pointing to a table whose entry %u, in turn, leads to the "
			"frame to map.\n",
			walk_level_index(trial->machine, last->level - 1, trial->question->va));
	fprintf(trial->to,
		last->latched
			? "CR3 must be loaded again afterwards: the four PDPTEs are read only "
			  "then.\n"
			: "No INVLPG is needed for that: processors do not cache entries that are "
			  "not present.\n");
}

static void change_reserved(const struct trial *trial)
{
	const struct mmu_walk_entry *last = &trial->walk->entry[trial->walk->count - 1];
	uint64_t bits = walk_reserved_bits(trial->machine, trial->question->va, last);
	struct walk_machine *machine = trial->machine;
	struct mmu_walk after;
	uint64_t missing;

	fprintf(trial->to,
		"What would change it: %#" PRIx64 " in place of %#" PRIx64
		" in the %s at physical %#" PRIx64 ".\n",
		last->value & ~bits, last->value, walk_entry_name(last->level), last->at.a);
	uint64_t old = swap_entry(machine, last, last->value & ~bits);
	if (!walk_memory_walk(machine->memory, machine->cpu, trial->question->va,
			      trial->question->access, &after, &missing))
		fprintf(trial->to,
			"What follows then cannot be told: the file lacks frame %#" PRIx64 ".\n",
			missing / X86_PAGE_BYTES);
	else if (after.fault.vector)
		fprintf(trial->to, "It would then still fault, with error code %#x.\n",
			after.fault.error_code);
	else
		fprintf(trial->to, "It would then lead to physical %#" PRIx64 ".\n", after.paddr.a);
	swap_entry(machine, last, old);
	if (bits == X86_PTE_XD)
		fprintf(trial->to, "Or EFER.NXE=1, which makes bit 63 the XD bit.\n");
}

void walk_explain_changes(struct walk_machine *machine, const struct walk_question *question,
			  const struct mmu_walk *walk, FILE *to)
{
	struct trial trial = { .machine = machine,
			       .question = question,
			       .walk = walk,
			       .to = to,
			       .faults = walk->fault.vector != 0 };

	if (walk->fault.vector == MMU_PF && !(walk->fault.error_code & X86_PF_P)) {
		change_not_present(&trial);
	} else if (walk->fault.vector == MMU_PF && (walk->fault.error_code & X86_PF_RSVD)) {
		change_reserved(&trial);
	} else if (question->access && walk->mapped) {
		if (trial.faults)
			try_grants(&trial);
		else
			try_withholding(&trial);
		try_registers(&trial);
		try_other_accesses(&trial);
		if (!trial.any)
			fprintf(to, "No single change allows it: each reason above is enough to "
				    "refuse, and all of them would have to go.\n");
		fprintf(to,
			trial.faults
				? "An entry that only gains rights needs no INVLPG: at worst the "
				  "access faults once more, and then sees it.\n"
				: "After taking a right away, INVLPG the address: until then the "
				  "processor may use the entry as it was.\n");
	}
}
