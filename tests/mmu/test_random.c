/*
 * Random paths, registers, features and physical widths in every paging mode, against the oracle
 * (rules 1-8): outcome, physical address, error code, CR2, and every entry afterwards; by a
 * translation after a flush, by a second one that the TLB answers, and by the pure walk.
 */
#include <stdio.h>

#include "tests/mmu/bench.h"
#include "tests/mmu/oracle.h"

#define CASES 150000u

static uint64_t seed;

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static bool one_in(unsigned n)
{
	return random64() % n == 0;
}

static uint64_t maybe(uint64_t flag)
{
	return random64() & 1 ? flag : 0;
}

/* The tables of a path stand one behind the other, the top one at ROOT. */
static uint64_t table_at(unsigned top, unsigned level)
{
	return ROOT + (top - level) * 0x1000ull;
}

static unsigned top_of(enum mmu_mode mode)
{
	return mode == MMU_MODE_32BIT ? 1 : (unsigned)mode; /* PAE 2, 4-level 3, 5-level 4 */
}

static void random_config(struct bench *b)
{
	static const uint8_t widths[] = { 32, 36, 39, 40, 46, 52 };

	b->config.maxphyaddr = widths[random64() % sizeof(widths)];
	b->config.features.pse36 = random64() & 1;
	b->config.features.page1g = random64() & 1;
	b->config.statistics = !one_in(4);
	free(b->cpu);
	b->cpu = bench_cpu(b, 0);
}

static void random_state(struct bench *b, enum mmu_mode mode)
{
	struct mmu_state *s = &b->state;

	*s = bench_state(mode);
	s->cr0 ^= maybe(X86_CR0_WP);
	s->cr4 ^= maybe(X86_CR4_PSE);
	s->cr4 |= maybe(X86_CR4_PGE) | maybe(X86_CR4_SMEP) | maybe(X86_CR4_SMAP);
	if (mode >= MMU_MODE_4LEVEL)
		s->cr4 |= maybe(X86_CR4_PKE) | maybe(X86_CR4_PKS);
	s->efer |= maybe(X86_EFER_NXE);
	s->pkru = (uint32_t)(random64() & random64());
	s->pkrs = (uint32_t)(random64() & random64());
}

static bool may_be_leaf(const struct oracle_case *c, unsigned level)
{
	if (level == 2)
		return c->features->page1g;
	return level == 1 && (c->mode != MMU_MODE_32BIT || (c->state.cr4 & X86_CR4_PSE));
}

/* An entry that points down, or is a leaf of random flags; unlikely reserved bits. */
static uint64_t random_entry(const struct oracle_case *c, unsigned level, uint64_t below)
{
	uint64_t flags = random64() & (W | U | A | D | G | 0xe18); /* PWT, PCD, ignored 11:9 */
	uint64_t address = below;
	bool wide = c->mode != MMU_MODE_32BIT;

	flags |= one_in(16) ? 0 : P;
	flags |= one_in(4) ? 0 : W;
	flags |= one_in(3) ? 0 : U;
	if (level == 0 || (may_be_leaf(c, level) && one_in(3))) {
		unsigned shift = 12 + level * (wide ? 9 : 10);
		uint64_t width = wide ? (1ull << c->maxphyaddr) - 1 : 0xffffffff;

		address = random64() & width & ~((1ull << shift) - 1);
		flags |= level > 0 ? PS : 0;
		if (!wide && level == 1) /* PSE-36 bits and what is above them */
			address |= random64() & 0x1e000;
		if (one_in(8)) /* low address bits: reserved in large leaves but for PAT */
			address |= random64() & ((1ull << shift) - 1) & ~0xfffull;
	} else if (one_in(16)) { /* reserved, ignored, or a leaf with reserved bits */
		flags |= PS;
	}
	if (wide && one_in(6))
		flags |= XD;
	if (wide && c->mode != MMU_MODE_PAE)
		flags |= (random64() & 0x7f) << 52;
	if (wide && one_in(16))
		address |= 1ull << (c->maxphyaddr + random64() % (63 - c->maxphyaddr));
	return address | flags;
}

static void put_entries(struct bench *b, const struct oracle_case *c)
{
	unsigned top = top_of(c->mode);
	unsigned bits = c->mode == MMU_MODE_32BIT ? 10 : 9;

	for (unsigned level = 0; level <= top; level++) {
		unsigned index = c->va >> (12 + level * bits) & ((1u << bits) - 1);

		if (c->mode == MMU_MODE_32BIT)
			put32(b, table_at(top, level), index, c->entry[level]);
		else
			put64(b, table_at(top, level), index, c->entry[level]);
	}
}

static uint64_t entry_now(const struct bench *b, const struct oracle_case *c, unsigned level)
{
	unsigned top = top_of(c->mode);
	unsigned bits = c->mode == MMU_MODE_32BIT ? 10 : 9;
	unsigned index = c->va >> (12 + level * bits) & ((1u << bits) - 1);

	return c->mode == MMU_MODE_32BIT ? get32(b, table_at(top, level), index)
					 : get64(b, table_at(top, level), index);
}

static void random_path(struct oracle_case *c)
{
	unsigned top = top_of(c->mode);

	c->va = random64() & random64() & 0xffffffff;
	if (c->mode >= MMU_MODE_4LEVEL) {
		unsigned unused = c->mode == MMU_MODE_5LEVEL ? 7 : 16;

		c->va = (uint64_t)((int64_t)(random64() << unused) >> unused);
	}
	for (unsigned level = 0; level <= top; level++)
		c->entry[level] = random_entry(c, level, level ? table_at(top, level - 1) : 0);
	if (c->mode == MMU_MODE_PAE) /* reserved bits would fail the load: another test */
		c->entry[2] = table_at(2, 1) | (one_in(16) ? 0 : P);
}

static void expect(struct bench *b, const struct oracle_case *c, const struct oracle_answer *want,
		   unsigned n)
{
	const struct mmu_fault *fault = &b->result.fault;

	demand((fault->vector == MMU_PF) == want->fault,
	       "case %u mode %u va %lx: vector %u, want fault %d code %x", n, c->mode, c->va,
	       fault->vector, want->fault, want->error_code);
	if (want->fault) {
		demand(fault->error_code == want->error_code, "case %u: code %x, want %x", n,
		       fault->error_code, want->error_code);
		demand_eq(fault->cr2.a, c->va);
		demand_eq(mmu_read_cr2(b->cpu), c->va);
	} else {
		demand(b->result.piece[0].paddr.a == want->paddr, "case %u: %lx, want %lx", n,
		       b->result.piece[0].paddr.a, want->paddr);
	}
	for (unsigned level = 0; level <= top_of(c->mode); level++)
		demand(entry_now(b, c, level) == want->after[level],
		       "case %u level %u: %lx, want %lx", n, level, entry_now(b, c, level),
		       want->after[level]);
}

static void expect_walk(struct bench *b, const struct oracle_case *c,
			const struct oracle_answer *want)
{
	struct mmu_access access = { (uint8_t)c->kind, (uint8_t)c->context, 0 };
	struct mmu_walk walk;

	mmu_walk(b->cpu, (struct vaddr){ c->va }, &access, &walk);
	demand_eq(walk.fault.error_code, want->error_code);
	demand_eq(walk.fault.vector, want->fault ? MMU_PF : 0);
	demand_eq(walk.count, top_of(c->mode) - want->leaf_level + 1);
	demand_eq(walk.entry[walk.count - 1].value, c->entry[want->leaf_level]);
	if (!want->fault)
		demand_eq(walk.paddr.a, want->paddr);
}

START_TEST(random_cases_agree_with_the_oracle)
{
	struct bench b;
	struct oracle_case c = { .mode = (enum mmu_mode)_i, .features = &b.config.features };
	struct oracle_answer want;

	seed = 0x9e3779b97f4a7c15 + (unsigned)_i;
	bench_init(&b, "tiny");
	for (unsigned n = 0; n < CASES; n++) {
		if (n % 64 == 0)
			random_config(&b);
		c.maxphyaddr = b.config.maxphyaddr;
		random_state(&b, c.mode);
		c.state = b.state;
		random_path(&c);
		put_entries(&b, &c);
		bench_load(&b);
		c.kind = random64() % MMU_KINDS;
		c.context = random64() % MMU_CONTEXTS;
		oracle_ask(&c, &want);
		expect_walk(&b, &c, &want);
		for (unsigned again = 0; again < 2; again++) {
			touch(&b, c.va, c.kind, c.context);
			expect(&b, &c, &want, n);
		}
	}
	bench_fini(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mmu: random paths");
	TCase *tc = tcase_create("random");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, random_cases_agree_with_the_oracle, MMU_MODE_32BIT,
			    MMU_MODE_5LEVEL + 1);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
