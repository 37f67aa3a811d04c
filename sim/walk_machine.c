#include "sim/walk_machine.h"

#include <stdlib.h>

#include "sim/lab.h"

#define CR0_BITS (X86_CR0_PE | X86_CR0_WP | X86_CR0_PG)
#define CR4_BITS                                                                                 \
	(X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_LA57 | X86_CR4_PCIDE | X86_CR4_SMEP | \
	 X86_CR4_SMAP | X86_CR4_PKE | X86_CR4_PKS)

#define MAXPHYADDR_USUAL 40u

const char *walk_mode_name(enum mmu_mode mode)
{
	static const char *const names[] = { "no paging", "32-bit paging", "PAE paging",
					     "4-level paging", "5-level paging" };

	return names[mode];
}

unsigned walk_level_shift(const struct walk_machine *machine, unsigned level)
{
	return X86_PAGE_SHIFT + level * (machine->mode == MMU_MODE_32BIT ? 10 : 9);
}

unsigned walk_level_index(const struct walk_machine *machine, unsigned level, uint64_t va)
{
	unsigned mask = machine->mode == MMU_MODE_32BIT		      ? 1023
			: machine->mode == MMU_MODE_PAE && level == 2 ? 3
								      : 511;

	return (unsigned)(va >> walk_level_shift(machine, level)) & mask;
}

static bool refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool refuse(GError **error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	char *what = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	g_set_error(error, LAB_ERROR, LAB_ERROR_INPUT, "no processor can hold these registers: %s",
		    what);
	g_free(what);
	return false;
}

/* The bits that paging looks at; EFER.LMA stands for LME, CR3 bit 63 is part of no state. */
static struct mmu_state paging_state(const struct mmu_state *given)
{
	struct mmu_state state = *given;

	state.cr0 &= CR0_BITS;
	state.cr4 &= CR4_BITS;
	if (!(state.cr0 & X86_CR0_PG))
		state.efer &= ~(uint64_t)X86_EFER_LMA;
	state.efer = (state.efer & X86_EFER_NXE) |
		     (state.efer & (X86_EFER_LME | X86_EFER_LMA) ? X86_EFER_LME : 0);
	state.cr3 &= ~X86_CR3_NO_FLUSH;
	state.code64 = (state.cr0 & X86_CR0_PG) && state.efer & X86_EFER_LME;
	return state;
}

/* The refusals of SDM 4.1.2 and 2.5, each in words. */
static bool check_registers(const struct mmu_state *s, unsigned maxphyaddr, GError **error)
{
	bool paging = s->cr0 & X86_CR0_PG;
	unsigned cr3_bits = s->code64 ? maxphyaddr : 32;

	if (paging && !(s->cr0 & X86_CR0_PE))
		return refuse(error, "CR0.PG (bit 31) is 1 and CR0.PE (bit 0) is 0");
	if (s->code64 && !(s->cr4 & X86_CR4_PAE))
		return refuse(error, "long mode (EFER.LME, bit 8) without CR4.PAE (bit 5)");
	if ((s->cr4 & X86_CR4_PCIDE) && !s->code64)
		return refuse(error, "CR4.PCIDE (bit 17) outside long mode");
	if (s->cr3 >> cr3_bits)
		return refuse(error, "CR3 %#" G_GINT64_MODIFIER "x has bits above bit %u", s->cr3,
			      cr3_bits - 1);
	return true;
}

/* PAE: the four PDPTEs come in with CR3. Clears A where QEMU has set it in memory. */
static void prepare_pdptes(struct walk_machine *machine)
{
	struct walk_memory *memory = machine->memory;

	walk_memory_want(memory, machine->root);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t at = machine->root + 8 * i, value;
		if (!walk_memory_entry(memory, at, 8, &value) || !(value & X86_PTE_P) ||
		    !(value & X86_PTE_A))
			continue;
		memory->ram.bytes[at] &= (uint8_t)~X86_PTE_A;
		machine->pdpte_accessed_cleared = true;
	}
}

static bool refuse_pdptes(const struct walk_machine *machine, GError **error)
{
	uint64_t reserved = 0x1e6 | ~0ull << machine->config.maxphyaddr, value;

	for (unsigned i = 0; i < 4; i++) {
		uint64_t at = machine->root + 8 * i;
		mmu_memory_read(&machine->memory->ram, (struct paddr){ at }, &value, 8);
		if ((value & X86_PTE_P) && (value & reserved))
			return refuse(error,
				      "PDPTE %u at %#" G_GINT64_MODIFIER "x is %#" G_GINT64_MODIFIER
				      "x, reserved bits %#" G_GINT64_MODIFIER
				      "x: loading CR3 raises #GP",
				      i, at, value, value & reserved);
	}
	return refuse(error, "a combination of bits that is not allowed");
}

static bool load(struct walk_machine *machine, GError **error)
{
	static const unsigned levels[] = { 0, 2, 3, 4, 5 };
	struct mmu_state *s = &machine->state;

	if (s->cr0 & X86_CR0_PG)
		machine->mode =
			s->code64 ? (s->cr4 & X86_CR4_LA57 ? MMU_MODE_5LEVEL : MMU_MODE_4LEVEL)
			: s->cr4 & X86_CR4_PAE ? MMU_MODE_PAE
					       : MMU_MODE_32BIT;
	machine->levels = levels[machine->mode];
	machine->entry_bytes = machine->mode == MMU_MODE_32BIT ? 4 : 8;
	machine->root = s->cr3 & ~(machine->mode == MMU_MODE_PAE ? 0x1full : 0xfffull);
	if (machine->mode == MMU_MODE_PAE)
		prepare_pdptes(machine);
	return mmu_load_state(machine->cpu, s).vector == MMU_NO_FAULT ||
	       refuse_pdptes(machine, error);
}

struct walk_machine *walk_machine_new(struct walk_memory *memory, const struct mmu_state *state,
				      unsigned maxphyaddr, GError **error)
{
	struct walk_machine *machine = g_new0(struct walk_machine, 1);

	machine->memory = memory;
	machine->state = paging_state(state);
	machine->config = *mmu_preset("tiny"); /* has every feature */
	machine->config.statistics = 0;
	if (maxphyaddr == 0) {
		maxphyaddr = MAXPHYADDR_USUAL;
		while (memory->ram.bytes_size >> maxphyaddr > 0)
			maxphyaddr++;
	}
	machine->config.maxphyaddr = maxphyaddr;
	size_t bytes = (mmu_cpu_bytes(&machine->config) + 63) & ~(size_t)63;
	machine->cpu = mmu_cpu_init(aligned_alloc(64, bytes), &machine->config, &memory->ram, 0);
	if (!check_registers(&machine->state, maxphyaddr, error) || !load(machine, error)) {
		walk_machine_free(machine);
		return NULL;
	}
	return machine;
}

void walk_machine_free(struct walk_machine *machine)
{
	free(machine->cpu);
	g_free(machine);
}
