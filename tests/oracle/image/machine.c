#include "tests/oracle/image/machine.h"

#include "mmu/x86.h"

/* Page tables of the identity map, where entry.asm puts the 64-bit ones. */
#define ROOT_4LEVEL 0x100000u
#define WIDE_PDPT   0x101000u
#define IDENTITY_PD 0x102000u
#define USER_PT	    0x103000u
#define ROOT_5LEVEL 0x104000u
#define ROOT_32BIT  0x110000u
#define IDENTITY_PT 0x111000u /* 32 of them: 128 MiB */
#define USER_PT_32  0x140000u
#define PAE_PDPT    0x150000u
#define PAE_PD	    0x151000u

/* The stubs' page for CPL 3. */
#define USER_VA_32  0x0a000000u
#define USER_VA	    0x3fe00000u /* PDPTE 0, PDE 511 */
#define IDENTITY_MB 128u

#define KERNEL_BITS (X86_PTE_P | X86_PTE_RW | X86_PTE_A | X86_PTE_D)
#define USER_BITS   (X86_PTE_P | X86_PTE_US | X86_PTE_A | X86_PTE_D)

#define MSR_EFER 0xc0000080u

#define SELECTOR_LDT 0x40u
#define DPL3	     (3u << 5)

extern uint8_t exception_stubs[], stub_interrupt[], stub_page[];
void load_tables(const void *gdtr, const void *idtr);
void perform(const struct job *job);

struct pointer {
	uint16_t limit;
	word base;
} __attribute__((packed));

static uint64_t gdt[10];
static uint32_t idt[129 * 4];
static uint32_t tss[32];
static uint64_t user_va;

static void put32(uint32_t at, uint32_t value)
{
	*(volatile uint32_t *)(word)at = value;
}

static void put64(uint32_t at, uint64_t value)
{
	*(volatile uint64_t *)(word)at = value;
}

/* A system descriptor; in 64-bit mode it has a second half. */
static void set_system(unsigned index, uint64_t base, uint32_t limit, unsigned type)
{
	gdt[index] = (limit & 0xffff) | (base & 0xffffff) << 16 | (uint64_t)(0x80 | type) << 40 |
		     (base >> 24 & 0xff) << 56;
	if (sizeof(word) == 8)
		gdt[index + 1] = base >> 32;
}

static void set_gate(unsigned vector, const uint8_t *code, unsigned dpl)
{
	word at = (word)code;
	unsigned words = sizeof(word) == 8 ? 4 : 2;
	uint32_t *gate = &idt[vector * words];

	gate[0] = (8u << 16) | (at & 0xffff);
	gate[1] = (uint32_t)(at & 0xffff0000u) | 0x8e00 | dpl << 13;
}

static void init_tables(void)
{
	struct pointer gdtr = { sizeof(gdt) - 1, (word)gdt }, idtr = { sizeof(idt) - 1, (word)idt };
	bool wide = sizeof(word) == 8;

	gdt[1] = wide ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull;
	gdt[2] = 0x00cf93000000ffffull;
	gdt[3] = wide ? 0x00affb000000ffffull : 0x00cffb000000ffffull;
	gdt[4] = 0x00cff3000000ffffull;
	tss[1] = 0x80000; /* the stack of CPL 0: ESP0, or RSP0 */
	if (!wide)
		tss[2] = 0x10;
	tss[25] = sizeof(tss) << 16;
	set_system(6, (word)tss, sizeof(tss) - 1, 9);
	for (unsigned vector = 0; vector < 32; vector++)
		set_gate(vector, exception_stubs + 16 * vector, 0);
	set_gate(0x80, stub_interrupt, 3);
	load_tables(&gdtr, &idtr);
}

static void map_32bit(void)
{
	for (uint32_t i = 0; i < IDENTITY_MB / 4; i++) {
		put32(ROOT_32BIT + 4 * i, (IDENTITY_PT + i * 4096) | KERNEL_BITS);
		for (uint32_t j = 0; j < 1024; j++)
			put32(IDENTITY_PT + i * 4096 + 4 * j, (i << 22) | (j << 12) | KERNEL_BITS);
	}
	put32(ROOT_32BIT + 4 * (USER_VA_32 >> 22), USER_PT_32 | USER_BITS);
	put32(USER_PT_32, (uint32_t)(word)stub_page | USER_BITS);
}

static void map_directory(uint32_t directory, uint32_t user_table)
{
	for (uint32_t i = 0; i < IDENTITY_MB / 2; i++)
		put64(directory + 8 * i, (i << 21) | KERNEL_BITS | X86_PTE_PS);
	put64(directory + 8 * 511, user_table | USER_BITS);
	put64(user_table, (word)stub_page | USER_BITS);
}

static void map_all(struct machine *machine)
{
	user_va = USER_VA;
	if (machine->mode == ORACLE_SEGMENTS) {
		user_va = (word)stub_page;
	} else if (machine->mode == ORACLE_32BIT) {
		machine->root = ROOT_32BIT;
		user_va = USER_VA_32;
		map_32bit();
	} else if (machine->mode == ORACLE_PAE) {
		machine->root = PAE_PDPT;
		put64(PAE_PDPT, PAE_PD | X86_PTE_P);
		map_directory(PAE_PD, USER_PT_32);
	} else {
		machine->root = machine->mode == ORACLE_5LEVEL ? ROOT_5LEVEL : ROOT_4LEVEL;
		put64(ROOT_5LEVEL, ROOT_4LEVEL | KERNEL_BITS | X86_PTE_US);
		put64(ROOT_4LEVEL, WIDE_PDPT | KERNEL_BITS | X86_PTE_US);
		put64(WIDE_PDPT, IDENTITY_PD | KERNEL_BITS | X86_PTE_US);
		map_directory(IDENTITY_PD, USER_PT);
	}
}

static void find_features(struct machine *machine)
{
	struct cpuid basic = read_cpuid(0), seven = { 0 };
	struct cpuid extended = read_cpuid(0x80000001);

	if (basic.a >= 7)
		seven = read_cpuid(7);
	machine->smep = seven.b >> 7 & 1;
	machine->smap = seven.b >> 20 & 1;
	machine->pku = sizeof(word) == 8 && (seven.c >> 3 & 1);
	machine->pks = sizeof(word) == 8 && (seven.c >> 31 & 1);
	machine->page1g = extended.d >> 26 & 1;
	machine->nx = extended.d >> 20 & 1;
}

void machine_init(struct machine *machine, enum oracle_mode mode)
{
	machine->mode = mode;
	find_features(machine);
	init_tables();
	map_all(machine);
	if (mode == ORACLE_SEGMENTS)
		return;
	if (sizeof(word) == 4) {
		write_cr4(X86_CR4_PGE | (mode == ORACLE_PAE ? X86_CR4_PAE : 0));
		write_cr3((word)machine->root);
		write_cr0(read_cr0() | X86_CR0_PG | X86_CR0_WP);
	}
	machine_flush(machine);
}

void machine_perform(enum stub stub, uint64_t va, uint64_t value, uint64_t compared, bool user,
		     word flags)
{
	struct job job = {
		.stub = (user ? (word)user_va : (word)stub_page) + 16u * stub,
		.va = (word)va,
		.value = (word)value,
		.compared = (word)compared,
		.user = user,
		.flags = flags,
	};

	perform(&job);
}

void machine_set_ldt(uint64_t base)
{
	set_system(SELECTOR_LDT / 8, base, 15, 2);
	load_ldt(SELECTOR_LDT);
}

void machine_flush(const struct machine *machine)
{
	word cr4 = read_cr4();

	write_cr4(cr4 & ~(word)X86_CR4_PGE);
	write_cr3((word)machine->root);
	write_cr4(cr4 | X86_CR4_PGE);
}

void machine_stop(void)
{
	const char *shutdown = "Shutdown"; /* Bochs */

	write_port(0xf4, 0); /* QEMU's isa-debug-exit */
	while (*shutdown)
		write_port(0x8900, (uint8_t)*shutdown++);
	for (;;)
		__asm__ volatile("hlt");
}
