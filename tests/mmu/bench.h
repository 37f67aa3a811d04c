/*
 * bench.h - a small machine for MMU tests: RAM, one CPU, and entries written by hand.
 *
 *     0x001000 .. 0x010000   page tables, handed out by bench_table()
 *     0x100000 .. 0x400000   data; a page there is named by its physical address
 */
#ifndef KMEMLAB_TESTS_MMU_BENCH_H
#define KMEMLAB_TESTS_MMU_BENCH_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "mmu/mmu.h"

#define RAM_BYTES 0x400000u
#define ROOT	  0x1000u
#define P	  X86_PTE_P
#define W	  X86_PTE_RW
#define U	  X86_PTE_US
#define A	  X86_PTE_A
#define D	  X86_PTE_D
#define PS	  X86_PTE_PS
#define G	  X86_PTE_G
#define XD	  X86_PTE_XD
#define PWU	  (P | W | U)

/* ck_assert() writes to a file each time; loops of millions ask with these. */
#define demand(condition, ...)                     \
	do {                                       \
		if (!(condition))                  \
			ck_abort_msg(__VA_ARGS__); \
	} while (0)
#define demand_eq(a, b)                                                               \
	demand((a) == (b), "%s is %llx, %s is %llx", #a, (unsigned long long)(a), #b, \
	       (unsigned long long)(b))

struct bench {
	struct mmu_memory ram;
	struct mmu_config config;
	struct mmu_cpu *cpu;
	struct mmu_state state;
	uint64_t next_table;
	struct mmu_result result;
};

static inline struct mmu_cpu *bench_cpu(struct bench *b, unsigned number)
{
	size_t bytes = mmu_cpu_bytes(&b->config);

	ck_assert_uint_ne(bytes, 0);
	return mmu_cpu_init(aligned_alloc(64, (bytes + 63) & ~(size_t)63), &b->config, &b->ram,
			    number);
}

static inline void bench_init(struct bench *b, const char *preset)
{
	memset(b, 0, sizeof(*b));
	b->ram.bytes = aligned_alloc(4096, RAM_BYTES);
	b->ram.bytes_size = RAM_BYTES;
	memset(b->ram.bytes, 0, RAM_BYTES);
	b->config = *mmu_preset(preset);
	b->cpu = bench_cpu(b, 0);
	b->next_table = ROOT + 0x1000;
}

static inline void bench_fini(struct bench *b)
{
	free(b->cpu);
	free(b->ram.bytes);
}

static inline uint64_t bench_table(struct bench *b)
{
	uint64_t table = b->next_table;

	b->next_table += 0x1000;
	return table;
}

static inline void put32(struct bench *b, uint64_t table, unsigned index, uint64_t value)
{
	uint32_t entry = (uint32_t)value;

	memcpy(b->ram.bytes + table + 4 * index, &entry, 4);
}

static inline void put64(struct bench *b, uint64_t table, unsigned index, uint64_t value)
{
	memcpy(b->ram.bytes + table + 8 * index, &value, 8);
}

static inline uint64_t get32(const struct bench *b, uint64_t table, unsigned index)
{
	uint32_t entry;

	memcpy(&entry, b->ram.bytes + table + 4 * index, 4);
	return entry;
}

static inline uint64_t get64(const struct bench *b, uint64_t table, unsigned index)
{
	uint64_t entry;

	memcpy(&entry, b->ram.bytes + table + 8 * index, 8);
	return entry;
}

/* Control registers of each mode; ROOT is the top table, WP is on. */
static inline struct mmu_state bench_state(enum mmu_mode mode)
{
	struct mmu_state s = {
		.cr0 = X86_CR0_PE | (mode == MMU_MODE_NONE ? 0 : X86_CR0_PG | X86_CR0_WP),
		.cr3 = ROOT,
		.cr4 = X86_CR4_PSE,
	};

	if (mode >= MMU_MODE_PAE)
		s.cr4 |= X86_CR4_PAE;
	if (mode >= MMU_MODE_4LEVEL) {
		s.efer = X86_EFER_LME;
		s.code64 = true;
	}
	if (mode == MMU_MODE_5LEVEL)
		s.cr4 |= X86_CR4_LA57;
	return s;
}

static inline void bench_load(struct bench *b)
{
	struct mmu_fault fault = mmu_load_state(b->cpu, &b->state);

	demand_eq(fault.vector, MMU_NO_FAULT);
}

static inline void bench_mode(struct bench *b, enum mmu_mode mode)
{
	b->state = bench_state(mode);
	bench_load(b);
}

/*
 * 64-bit tables for one address: upper entries with @upper, a leaf at @level with all of @leaf.
 * Tables that are there already are used. Returns the physical address of the leaf.
 */
static inline uint64_t bench_map64(struct bench *b, uint64_t va, unsigned level, uint64_t upper,
				   uint64_t leaf)
{
	uint64_t table = ROOT;
	unsigned top = mmu_mode(b->cpu) == MMU_MODE_5LEVEL ? 4 : 3;

	for (unsigned l = top; l > level; l--) {
		unsigned index = va >> (12 + 9 * l) & 511;

		if (!(get64(b, table, index) & P))
			put64(b, table, index, bench_table(b) | upper);
		table = get64(b, table, index) & 0x000ffffffffff000ull;
	}
	put64(b, table, va >> (12 + 9 * level) & 511, leaf);
	return table + 8 * (va >> (12 + 9 * level) & 511);
}

static inline uint64_t entry_at(const struct bench *b, uint64_t at)
{
	uint64_t entry;

	memcpy(&entry, b->ram.bytes + at, 8);
	return entry;
}

/* One access; the result stays in b->result. Returns the vector. */
static inline uint32_t touch(struct bench *b, uint64_t va, unsigned kind, unsigned context)
{
	struct mmu_access access = { (uint8_t)kind, (uint8_t)context, 0 };

	return mmu_translate(b->cpu, (struct vaddr){ va }, 1, access, &b->result);
}

static inline void expect_at(struct bench *b, uint64_t va, unsigned kind, unsigned context,
			     uint64_t paddr)
{
	ck_assert_uint_eq(touch(b, va, kind, context), MMU_NO_FAULT);
	ck_assert_uint_eq(b->result.pieces, 1);
	ck_assert_uint_eq(b->result.piece[0].paddr.a, paddr);
}

static inline void expect_pf(struct bench *b, uint64_t va, unsigned kind, unsigned context,
			     uint32_t error_code)
{
	ck_assert_uint_eq(touch(b, va, kind, context), MMU_PF);
	ck_assert_uint_eq(b->result.fault.error_code, error_code);
	ck_assert_uint_eq(b->result.fault.cr2.a, va);
	ck_assert_uint_eq(mmu_read_cr2(b->cpu), va);
}

static inline struct mmu_statistics stats_of(const struct bench *b)
{
	struct mmu_statistics s;

	mmu_get_statistics(b->cpu, &s);
	return s;
}

static inline int run_suite(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
