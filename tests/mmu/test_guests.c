/*
 * The page tables of real Linux guests: every page that QEMU's `info tlb` listed translates as
 * given, by a pure walk and by a translation with all effects, and every hole faults not-present.
 */
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "mmu/mmu.h"
#include "tests/mmu/bench.h"
#include "tests/mmu/zst.h"

#define PROBES_IN_LARGE_HOLE 4096u

static const struct {
	const char *name;
	enum mmu_mode mode;
	unsigned lines;
} guests[] = {
	{ "i386-nopae", MMU_MODE_32BIT, 6340 },
	{ "i386-pae", MMU_MODE_PAE, 5348 },
	{ "x86_64-4level", MMU_MODE_4LEVEL, 75834 },
};

struct guest {
	const char *name;
	struct mmu_memory ram;
	struct mmu_cpu *cpu;
	char *expect;
	bool pae;
	bool wide; /* 64-bit linear addresses */
};

/*
 * QEMU walks the PDPTEs in memory each time and sets A in them, where a processor reserves the bit
 * (rules 8.2, 8.3): as recorded they could not be loaded.
 */
static void clear_pdpte_accessed(struct guest *g, uint64_t cr3)
{
	for (unsigned i = 0; i < 4; i++)
		g->ram.bytes[(cr3 & 0xffffffe0) + 8 * i] &= (uint8_t)~X86_PTE_A;
}

static void load_pages(struct guest *g)
{
	char path[512];
	size_t bytes;
	struct mmu_state state = { 0 };
	uint64_t head[5], pfn, last = 0;
	char *file, *at;

	snprintf(path, sizeof(path), MMU_DATA "/linux-guest/%s/pt-pages.bin.zst", g->name);
	file = zst_read(path, 0, &bytes);
	ck_assert_int_eq(memcmp(file, "PTPAGES1", 8), 0);
	memcpy(head, file + 8, sizeof(head));
	demand_eq(bytes, 8 + sizeof(head) + head[4] * (8 + 4096));
	for (unsigned pass = 0; pass < 2; pass++) {
		at = file + 8 + sizeof(head);
		for (uint64_t i = 0; i < head[4]; i++, at += 8 + 4096) {
			memcpy(&pfn, at, 8);
			last = pfn > last ? pfn : last;
			if (pass == 1)
				memcpy(g->ram.bytes + pfn * 4096, at + 8, 4096);
		}
		if (pass == 0) { /* sparse: only what is touched costs memory */
			g->ram.bytes_size = (last + 1) * 4096;
			g->ram.bytes = mmap(NULL, g->ram.bytes_size, PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
			ck_assert_ptr_ne(g->ram.bytes, MAP_FAILED);
		}
	}
	free(file);
	if (g->pae)
		clear_pdpte_accessed(g, head[1]);
	state.cr0 = head[0];
	state.cr3 = head[1];
	state.cr4 = head[2];
	state.efer = head[3];
	state.code64 = g->wide = (head[3] & X86_EFER_LMA) != 0;
	demand_eq(mmu_load_state(g->cpu, &state).vector, MMU_NO_FAULT);
}

static void guest_init(struct guest *g, unsigned i)
{
	struct mmu_config config = *mmu_preset("skylake");
	size_t bytes = mmu_cpu_bytes(&config);
	char path[512];

	memset(g, 0, sizeof(*g));
	g->name = guests[i].name;
	g->pae = guests[i].mode == MMU_MODE_PAE;
	g->cpu = mmu_cpu_init(aligned_alloc(64, (bytes + 63) & ~(size_t)63), &config, &g->ram, 0);
	load_pages(g);
	demand_eq(mmu_mode(g->cpu), guests[i].mode);
	snprintf(path, sizeof(path), MMU_DATA "/linux-guest/%s/expect.txt.zst", g->name);
	g->expect = zst_read(path, 0, &bytes);
}

static void guest_fini(struct guest *g)
{
	munmap(g->ram.bytes, g->ram.bytes_size);
	free(g->cpu);
	free(g->expect);
}

struct line {
	uint64_t va;
	uint64_t paddr;
	unsigned shift;
	char rights[4];
	uint64_t leaf;
};

/* The next line of @text that is no comment. False at the end. */
static bool next_line(char **text, struct line *line)
{
	while (**text == '#')
		*text = strchr(*text, '\n') + 1;
	if (**text == '\0')
		return false;
	ck_assert_int_eq(sscanf(*text, "%" SCNx64 " %" SCNx64 " %u %3s %" SCNx64, &line->va,
				&line->paddr, &line->shift, line->rights, &line->leaf),
			 5);
	*text = strchr(*text, '\n') + 1;
	return true;
}

static void expect_verdict(const struct guest *g, const struct line *line, unsigned kind,
			   unsigned context, bool allowed)
{
	struct mmu_access access = { (uint8_t)kind, (uint8_t)context, 0 };
	struct mmu_walk walk;

	mmu_walk(g->cpu, (struct vaddr){ line->va }, &access, &walk);
	demand((walk.fault.vector == 0) == allowed, "%s: va %" PRIx64 " kind %u context %u",
	       g->name, line->va, kind, context);
}

static void expect_line(const struct guest *g, const struct line *line)
{
	static const struct mmu_access read = { MMU_READ, MMU_SUPERVISOR_AC, 0 };
	bool w = line->rights[0] == 'W', u = line->rights[1] == 'U', x = line->rights[2] == 'X';
	uint64_t offset = line->va * 31 & ((1ull << line->shift) - 1);
	struct vaddr va = { line->va + offset };
	struct mmu_walk walk;
	struct mmu_result result;

	demand_eq(mmu_walk(g->cpu, va, NULL, &walk), 0);
	demand(walk.paddr.a == line->paddr + offset, "%s: va %" PRIx64, g->name, line->va);
	demand_eq(walk.leaf.page_shift, line->shift);
	/* Our own translations set A in this copy; the listing has the guest's. */
	demand_eq(walk.entry[walk.count - 1].value & ~X86_PTE_A, line->leaf & ~X86_PTE_A);
	demand_eq(walk.leaf.rights,
		  (w ? MMU_RIGHT_W : 0) | (u ? MMU_RIGHT_U : 0) | (x ? MMU_RIGHT_X : 0));
	expect_verdict(g, line, MMU_READ, MMU_USER, u);
	expect_verdict(g, line, MMU_WRITE, MMU_USER, u && w);
	expect_verdict(g, line, MMU_FETCH, MMU_USER, u && x);
	expect_verdict(g, line, MMU_WRITE, MMU_SUPERVISOR_AC, w);
	demand_eq(mmu_translate(g->cpu, va, 1, read, &result), 0);
	demand_eq(result.piece[0].paddr.a, line->paddr + offset);
}

static void expect_not_present(const struct guest *g, uint64_t va)
{
	struct mmu_walk walk;

	demand(mmu_walk(g->cpu, (struct vaddr){ va }, NULL, &walk) == MMU_PF,
	       "%s: va %" PRIx64 " is mapped", g->name, va);
	demand_eq(walk.fault.error_code, 0);
}

/* Nothing in [first, end), of canonical addresses: every page of a small hole, else a sample. */
static void expect_hole(const struct guest *g, uint64_t first, uint64_t end)
{
	uint64_t pages = (end - first) / 4096, step;

	if (pages == 0)
		return;
	step = pages <= PROBES_IN_LARGE_HOLE ? 1 : pages / PROBES_IN_LARGE_HOLE;
	for (uint64_t i = 0; i < pages; i += step)
		expect_not_present(g, first + i * 4096);
	expect_not_present(g, end - 1);
}

static void expect_gap(const struct guest *g, uint64_t first, uint64_t end)
{
	const uint64_t low_end = 1ull << 47, high_first = ~0ull << 47;

	if (g->wide && first < low_end && end >= high_first) {
		expect_hole(g, first, low_end);
		first = high_first;
	}
	expect_hole(g, first, end);
}

START_TEST(every_page_translates_and_every_hole_faults)
{
	struct guest g;
	struct line line;
	uint64_t end = 0;
	unsigned lines = 0;
	char *text;

	guest_init(&g, _i);
	for (text = g.expect; next_line(&text, &line); lines++) {
		expect_gap(&g, end, line.va);
		expect_line(&g, &line);
		end = line.va + (1ull << line.shift);
	}
	expect_gap(&g, end, g.wide ? ~0xfffull : 0x100000000);
	demand_eq(lines, guests[_i].lines);
	guest_fini(&g);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mmu: real guests' page tables");
	TCase *tc = tcase_create("guests");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, every_page_translates_and_every_hole_faults, 0,
			    sizeof(guests) / sizeof(guests[0]));
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
