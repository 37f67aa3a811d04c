/*
 * Goals 1-4: hits, misses, simulating the TLBs of a recorded program, demand faults. Everything
 * goes through the fast path or the slow one, as mmu_read() and mmu_write() do, and then loads or
 * stores 8 bytes, as its yardstick does, over the same page tables.
 *
 * Two configurations: exact statistics ("skylake", LRU), and translation only (statistics = 0).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <zstd.h>

#include "mmu/mmu.h"
#include "sim/bench/bench.h"
#include "sim/bench/yardstick_mmu.h"
#include "sim/lab.h"
#include "sim/random.h"
#include "sim/version.h"

#define RAM_BYTES    (256ull << 20)
#define TABLES_BYTES (32ull << 20) /* page tables below, data frames above */
#define ROOT	     0x1000u
#define VA_BASE	     0x7f0000000000ull

#define HITS_FULL	20000000u
#define MISSES_FULL	2000000u
#define REFERENCES_FULL 4000000u
#define FAULTS_FULL	49152u

#define HOT_PAGES   64u
#define HOT_BYTES   (HOT_PAGES * X86_PAGE_BYTES)
#define RANDOM_PLAN 65536u
#define MISS_STRIDE (16ull << 20) /* same set of every cache, same slot of the host table */
/* What a kernel's handler writes after a write fault: A and D are set, as the processor would. */
#define FAULT_BITS (LEAF_BITS | X86_PTE_A | X86_PTE_D)
#define LEAF_BITS  (X86_PTE_P | X86_PTE_RW | X86_PTE_US)
#define TRACE_FILE KMEMLAB_SCRIPTS_SOURCE "/../../shared/data/traces/lackey/lackey-sqlite3.txt.zst"

/* One recorded reference. */
struct reference {
	uint64_t va;
	uint8_t bytes, kind;
};

/* A machine with 4-level tables, and the same tables under the yardsticks. */
struct bench_mmu {
	struct mmu_memory ram;
	struct mmu_cpu *cpu;
	uint64_t next_table, next_frame;
	struct yard_tlb yard;
	uint64_t operations;
	uint64_t stride;	   /* of hits */
	const uint32_t *plan;	   /* offsets of random hits */
	const uint64_t *addresses; /* of misses and faults */
	uint32_t address_count;
	const struct reference *references;
	struct yard_frames frames;
	uint64_t *entries; /* physical addresses of the PTEs that faults write */
	uint64_t sum;
};

/* ---- The machine ---- */

static uint64_t *entry_of(struct bench_mmu *m, uint64_t va)
{
	uint64_t table = ROOT;

	for (unsigned shift = 39; shift > 12; shift -= 9) {
		uint64_t *entry = (uint64_t *)(void *)(m->ram.bytes + table) + (va >> shift & 511);
		if (!(*entry & X86_PTE_P)) {
			*entry = m->next_table | LEAF_BITS | X86_PTE_A;
			m->next_table += X86_PAGE_BYTES;
			if (m->next_table > TABLES_BYTES)
				g_error("lab error: bench: out of page tables");
		}
		table = *entry & YARD_ENTRY;
	}
	return (uint64_t *)(void *)(m->ram.bytes + table) + (va >> 12 & 511);
}

static void map_page(struct bench_mmu *m, uint64_t va)
{
	uint64_t *entry = entry_of(m, va);

	if (*entry & X86_PTE_P)
		return;
	*entry = m->next_frame | LEAF_BITS | X86_PTE_A | X86_PTE_D;
	m->next_frame += X86_PAGE_BYTES;
	if (m->next_frame == RAM_BYTES)
		m->next_frame = TABLES_BYTES;
}

static bool machine_init(struct bench_mmu *m, bool statistics, GError **error)
{
	struct mmu_config config = *mmu_preset("skylake");
	const struct mmu_state state = { .cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP,
					 .cr3 = ROOT,
					 .cr4 = X86_CR4_PAE,
					 .efer = X86_EFER_LME | X86_EFER_NXE,
					 .code64 = true };

	*m = (struct bench_mmu){ .next_table = ROOT + X86_PAGE_BYTES, .next_frame = TABLES_BYTES };
	void *ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ram == MAP_FAILED)
		return lab_set_errno(error, "bench: memory");
	m->ram = (struct mmu_memory){ .bytes = ram, .bytes_size = RAM_BYTES };
	config.statistics = statistics;
	m->cpu = mmu_cpu_init(aligned_alloc(64, (mmu_cpu_bytes(&config) + 63) & ~(size_t)63),
			      &config, &m->ram, 0);
	mmu_load_state(m->cpu, &state);
	yard_tlb_init(&m->yard, m->ram.bytes, ROOT);
	return true;
}

static void machine_fini(struct bench_mmu *m)
{
	if (m->ram.bytes)
		munmap(m->ram.bytes, RAM_BYTES);
	free(m->cpu);
}

static inline uint8_t *real_host(struct mmu_cpu *cpu, uint64_t va, uint32_t bytes, uint8_t kind)
{
	const struct mmu_access access = { kind, MMU_USER, 0, 0 };
	uint8_t *host = mmu_fast_host(cpu, (struct vaddr){ va }, bytes, access);
	struct mmu_result result;

	if (host != NULL)
		return host;
	if (mmu_translate_slow(cpu, (struct vaddr){ va }, bytes, mmu_access_pack(access), &result))
		g_error("lab error: bench: fault at %#lx", (unsigned long)va);
	return mmu_cpu_memory(cpu)->bytes + result.piece[0].paddr.a;
}

static inline uint64_t load(const uint8_t *host)
{
	uint64_t value;

	memcpy(&value, host, 8);
	return value;
}

/* ---- Goal 1: hits ---- */

static uint64_t real_strided(void *context)
{
	struct bench_mmu *m = context;
	struct mmu_cpu *cpu = m->cpu;
	uint64_t begin = bench_cpu_ns(), at = 0, sum = 0;

	for (uint64_t i = 0; i < m->operations; i++) {
		sum += load(real_host(cpu, VA_BASE + at, 8, MMU_READ));
		at = (at + m->stride) % HOT_BYTES;
	}
	m->sum += sum;
	return bench_cpu_ns() - begin;
}

static uint64_t bare_strided(void *context)
{
	struct bench_mmu *m = context;
	uint64_t begin = bench_cpu_ns(), at = 0, sum = 0;

	for (uint64_t i = 0; i < m->operations; i++) {
		sum += load(yard_tlb_host(&m->yard, VA_BASE + at));
		at = (at + m->stride) % HOT_BYTES;
	}
	m->sum += sum;
	return bench_cpu_ns() - begin;
}

static uint64_t real_random(void *context)
{
	struct bench_mmu *m = context;
	struct mmu_cpu *cpu = m->cpu;
	uint64_t begin = bench_cpu_ns(), sum = 0;

	for (uint64_t i = 0; i < m->operations; i++)
		sum += load(real_host(cpu, VA_BASE + m->plan[i % RANDOM_PLAN], 8, MMU_READ));
	m->sum += sum;
	return bench_cpu_ns() - begin;
}

static uint64_t bare_random(void *context)
{
	struct bench_mmu *m = context;
	uint64_t begin = bench_cpu_ns(), sum = 0;

	for (uint64_t i = 0; i < m->operations; i++)
		sum += load(yard_tlb_host(&m->yard, VA_BASE + m->plan[i % RANDOM_PLAN]));
	m->sum += sum;
	return bench_cpu_ns() - begin;
}

static const struct hit_case {
	const char *name;
	uint64_t stride; /* 0: random */
	double goal[2];	 /* without and with statistics */
} hit_cases[] = {
	{ "sequential", 8, { 1.3, 1.2 } },
	{ "stride-64", 64, { 1.3, 1.5 } },
	{ "random", 0, { 1.3, 5 } },
};

static void bench_hits(struct bench_mmu *m, bool statistics, uint64_t operations, GArray *figures)
{
	struct random random = random_seeded(1);
	uint32_t *plan = g_new(uint32_t, RANDOM_PLAN);

	for (uint32_t i = 0; i < RANDOM_PLAN; i++)
		plan[i] = (uint32_t)random_below(&random, HOT_BYTES / 8) * 8;
	for (uint64_t page = 0; page < HOT_PAGES; page++)
		map_page(m, VA_BASE + page * X86_PAGE_BYTES);
	m->operations = operations;
	m->plan = plan;
	for (gsize i = 0; i < G_N_ELEMENTS(hit_cases); i++) {
		const struct hit_case *hit = &hit_cases[i];
		char *name =
			g_strdup_printf("mmu/%shit-%s", statistics ? "" : "nostat-", hit->name);
		m->stride = hit->stride;
		bench_compare(figures, name, "ns/access",
			      &(struct bench_runner){ hit->stride ? real_strided : real_random, m,
						      operations },
			      "Y1 soft TLB",
			      &(struct bench_runner){ hit->stride ? bare_strided : bare_random, m,
						      operations },
			      hit->goal[statistics]);
		g_free(name);
	}
	g_free(plan);
}

/* ---- Goal 2: misses ---- */

/* The next address waits for the data of this one, as in a program that follows pointers. */
static uint64_t real_misses(void *context)
{
	struct bench_mmu *m = context;
	struct mmu_cpu *cpu = m->cpu;
	uint64_t begin = bench_cpu_ns(), sum = 0;

	for (uint64_t i = 0; i < m->operations; i++)
		sum += load(
			real_host(cpu, m->addresses[(i + sum) % m->address_count], 8, MMU_READ));
	m->sum += sum;
	return bench_cpu_ns() - begin;
}

static uint64_t bare_misses(void *context)
{
	struct bench_mmu *m = context;
	uint64_t begin = bench_cpu_ns(), sum = 0;

	for (uint64_t i = 0; i < m->operations; i++) {
		uint64_t va = m->addresses[(i + sum) % m->address_count];
		uint64_t entry = load(m->ram.bytes + yard_walk(m->ram.bytes, ROOT, va));
		sum += load(m->ram.bytes + (entry & YARD_ENTRY));
	}
	m->sum += sum;
	return bench_cpu_ns() - begin;
}

static void bench_misses(struct bench_mmu *m, bool statistics, uint64_t operations, GArray *figures)
{
	uint64_t addresses[HOT_PAGES];

	for (uint64_t i = 0; i < HOT_PAGES; i++) {
		addresses[i] = VA_BASE + (1ull << 36) + i * MISS_STRIDE;
		map_page(m, addresses[i]);
	}
	m->operations = operations;
	m->addresses = addresses;
	m->address_count = HOT_PAGES;
	bench_compare(figures, statistics ? "mmu/miss-walk" : "mmu/nostat-miss-walk", "ns/access",
		      &(struct bench_runner){ real_misses, m, operations },
		      "Y2 four dependent loads",
		      &(struct bench_runner){ bare_misses, m, operations }, 2);
}

/* ---- Goal 3: the TLBs of a recorded program ---- */

static uint64_t real_references(void *context)
{
	struct bench_mmu *m = context;
	struct mmu_cpu *cpu = m->cpu;
	uint64_t begin = bench_cpu_ns(), sum = 0;

	for (uint64_t i = 0; i < m->operations; i++) {
		const struct reference *r = &m->references[i];
		sum += *real_host(cpu, r->va, r->bytes, r->kind);
	}
	m->sum += sum;
	return bench_cpu_ns() - begin;
}

static uint64_t bare_references(void *context)
{
	struct bench_mmu *m = context;
	uint64_t begin = bench_cpu_ns(), sum = 0;

	for (uint64_t i = 0; i < m->operations; i++)
		sum += *yard_tlb_host(&m->yard, m->references[i].va);
	m->sum += sum;
	return bench_cpu_ns() - begin;
}

/* "I  0401ab70,3", " S 1fff0006a8,8", " L ", " M "; false: a line that is no reference. */
static bool parse_reference(const char *line, struct reference *reference)
{
	char letter = line[0] == ' ' ? line[1] : line[0];
	char *end;

	reference->kind = letter == 'L'	  ? MMU_READ
			  : letter == 'S' ? MMU_WRITE
			  : letter == 'M' ? MMU_RMW
			  : letter == 'I' ? MMU_FETCH
					  : MMU_KINDS;
	if (reference->kind == MMU_KINDS || line[0] == '\0' || line[1] == '\0')
		return false;
	reference->va = g_ascii_strtoull(line + 2, &end, 16);
	if (*end != ',')
		return false;
	reference->bytes =
		(uint8_t)CLAMP(g_ascii_strtoull(end + 1, NULL, 10), 1, MMU_ACCESS_MAX_BYTES);
	return true;
}

/* Fills @to from the lines of one stretch of text; returns what is left of the last line. */
static char *take_lines(char *text, struct reference *to, uint64_t *count, uint64_t limit)
{
	char *end;

	while (*count < limit && (end = strchr(text, '\n')) != NULL) {
		*end = '\0';
		*count += parse_reference(text, &to[*count]);
		text = end + 1;
	}
	return text;
}

/* Up to @limit references of the recording; 0 if it is not there. */
static uint64_t read_trace(const char *path, struct reference *to, uint64_t limit)
{
	FILE *file = fopen(path, "rb");
	size_t in_bytes = ZSTD_DStreamInSize(), out_bytes = ZSTD_DStreamOutSize(), kept = 0;
	uint64_t count = 0;

	if (!file)
		return 0;
	ZSTD_DCtx *context = ZSTD_createDCtx();
	char *in = g_malloc(in_bytes), *out = g_malloc(2 * out_bytes + 1);
	ZSTD_inBuffer input = { in, 0, 0 };
	while (count < limit) {
		if (input.pos == input.size)
			input = (ZSTD_inBuffer){ in, fread(in, 1, in_bytes, file), 0 };
		ZSTD_outBuffer output = { out + kept, 2 * out_bytes - kept, 0 };
		if (input.size == 0 ||
		    ZSTD_isError(ZSTD_decompressStream(context, &output, &input)))
			break;
		out[kept + output.pos] = '\0';
		const char *rest = take_lines(out, to, &count, limit);
		kept = strlen(rest);
		memmove(out, rest, kept);
	}
	ZSTD_freeDCtx(context);
	g_free(in);
	g_free(out);
	fclose(file);
	return count;
}

/* Without the recording: code that runs on, and data near or far by chance. */
static uint64_t generate_trace(struct reference *to, uint64_t limit)
{
	struct random random = random_seeded(3);
	uint64_t code = 0x400000, page;

	for (uint64_t i = 0; i < limit; i++) {
		if (i % 3 != 0) {
			code = random_below(&random, 16)
				       ? code + 4
				       : 0x400000 + random_below(&random, 1 << 18) * 4;
			to[i] = (struct reference){ code, 4, MMU_FETCH };
			continue;
		}
		page = random_below(&random, 1ull << random_below(&random, 11));
		to[i] = (struct reference){ 0x10000000 + page * X86_PAGE_BYTES +
						    random_below(&random, 512) * 8,
					    8, random_below(&random, 3) ? MMU_READ : MMU_WRITE };
	}
	return limit;
}

static void bench_references(struct bench_mmu *m, uint64_t limit, GArray *figures)
{
	struct reference *references = g_new(struct reference, limit);
	uint64_t count = read_trace(TRACE_FILE, references, limit);
	const char *name = "mmu/tlb-lackey-sqlite3";

	if (count == 0) {
		name = "mmu/tlb-generated";
		count = generate_trace(references, limit);
	}
	for (uint64_t i = 0; i < count; i++) {
		map_page(m, references[i].va);
		map_page(m, references[i].va + references[i].bytes - 1);
	}
	m->references = references;
	m->operations = count;
	bench_compare(figures, name, "ns/reference",
		      &(struct bench_runner){ real_references, m, count }, "Y1 soft TLB",
		      &(struct bench_runner){ bare_references, m, count }, 10);
	g_free(references);
}

/* ---- Goal 4: demand faults ---- */

static void unmap_all(struct bench_mmu *m)
{
	for (uint32_t i = 0; i < m->address_count; i++)
		memset(m->ram.bytes + m->entries[i], 0, 8);
	m->frames.count = m->address_count;
	mmu_write_cr3(m->cpu, ROOT);
}

static inline void store(uint8_t *host, uint64_t value)
{
	memcpy(host, &value, 8);
}

static uint64_t real_faults(void *context)
{
	struct bench_mmu *m = context;
	const struct mmu_access access = { MMU_WRITE, MMU_USER, 0, 0 };

	unmap_all(m);
	uint64_t begin = bench_cpu_ns();
	for (uint32_t i = 0; i < m->address_count; i++) {
		struct vaddr va = { m->addresses[i] };
		struct mmu_result result;
		if (mmu_translate(m->cpu, va, 8, access, &result) == MMU_PF) {
			uint64_t at = yard_walk(m->ram.bytes, ROOT, va.a);
			store(m->ram.bytes + at, m->frames.frame[--m->frames.count] | FAULT_BITS);
			mmu_translate(m->cpu, va, 8, access, &result);
		}
		store(m->ram.bytes + result.piece[0].paddr.a, i);
		yard_serialise();
	}
	return bench_cpu_ns() - begin;
}

static uint64_t bare_faults(void *context)
{
	struct bench_mmu *m = context;

	unmap_all(m);
	uint64_t begin = bench_cpu_ns();
	for (uint32_t i = 0; i < m->address_count; i++) {
		uint64_t frame =
			yard_fault(m->ram.bytes, ROOT, m->addresses[i], FAULT_BITS, &m->frames);
		store(m->ram.bytes + frame, i);
		yard_serialise();
	}
	return bench_cpu_ns() - begin;
}

static void bench_faults(struct bench_mmu *m, bool statistics, uint32_t pages, GArray *figures)
{
	struct random random = random_seeded(5);
	uint64_t *addresses = g_new(uint64_t, pages), *frames = g_new(uint64_t, pages);

	m->entries = g_new(uint64_t, pages);
	for (uint32_t i = 0; i < pages; i++) {
		uint32_t other = (uint32_t)random_below(&random, i + 1ull);
		addresses[i] = addresses[other];
		addresses[other] = VA_BASE + (1ull << 38) + i * (uint64_t)X86_PAGE_BYTES;
		frames[i] = TABLES_BYTES + i * (uint64_t)X86_PAGE_BYTES;
	}
	for (uint32_t i = 0; i < pages; i++)
		m->entries[i] = (uint64_t)((uint8_t *)entry_of(m, addresses[i]) - m->ram.bytes);
	m->addresses = addresses;
	m->address_count = pages;
	m->frames = (struct yard_frames){ frames, pages };
	bench_compare(figures, statistics ? "mmu/demand-fault" : "mmu/nostat-demand-fault",
		      "ns/fault", &(struct bench_runner){ real_faults, m, pages },
		      "Y5 walk, pop, write", &(struct bench_runner){ bare_faults, m, pages }, 2);
	g_free(m->entries);
	g_free(addresses);
	g_free(frames);
}

bool bench_mmu(const struct bench_options *options, GArray *figures, GError **error)
{
	for (int statistics = 0; statistics < 2; statistics++) {
		struct bench_mmu machine;
		if (!machine_init(&machine, statistics, error))
			return false;
		bench_hits(&machine, statistics, HITS_FULL / 100 * options->scale, figures);
		bench_misses(&machine, statistics, MISSES_FULL / 100 * options->scale, figures);
		if (statistics)
			bench_references(&machine, REFERENCES_FULL / 100 * options->scale, figures);
		bench_faults(&machine, statistics,
			     (uint32_t)(FAULTS_FULL * MIN(options->scale, 100) / 100), figures);
		machine_fini(&machine);
	}
	return true;
}
