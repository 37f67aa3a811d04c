/*
 * All legal combinations of entry bits, control bits and accesses, against the oracle (rules 3-7).
 *
 * A case has: PTE P W U A D XD and one reserved bit (51); PDE the same, PS and, with PS, reserved
 * bit 13; PDPTE W; a read, write or fetch; user or supervisor; EFER.NXE, CR0.WP, CR4.SMEP; at most
 * one reserved bit is set, counting XD while NXE = 0. Per level count that is
 *
 *     P W U A D twice, PDPTE.W, user, WP, SMEP      2^14
 *     kinds                                         3
 *     PS, XD twice, reserved bits, NXE              NXE=1: 4 * (3 + 4); NXE=0: 5 + 6; 39 in all
 *
 * = 1,916,928; with CR4.PKE, PKRU.AD, PKRU.WD (both only with PKE) and the leaf's key 0 or 1: times
 * 2 + 2 * 4 = 10. Every access is made twice: the second answer comes from the TLB. Runs without
 * forks; `slow` as an argument runs the cases with keys as well.
 */
#include <stdio.h>

#include "tests/mmu/bench.h"
#include "tests/mmu/oracle.h"

#define CASES	   1916928u
#define CASES_KEYS 19169280u
#define VA	   0x7f5678901000ull
#define PAGE	   0x100000ull
#define LARGE_PAGE 0x200000ull
#define BIT13	   (1ull << 13)
#define BIT51	   (1ull << 51)

static bool with_keys;

struct sweep {
	struct bench b;
	struct oracle_case c;
	uint64_t at[MMU_LEVELS_MAX]; /* addresses of the entries */
	unsigned key;
	uint64_t cases;
	uint64_t wrong;
};

/* The n-th of PDE and PTE flag sets that differ in P, W, U, A, D, XD, 51 and, for PDEs, PS, 13. */
static uint64_t flags_of(unsigned n)
{
	static const uint64_t flag[] = { P, W, U, A, D, XD, BIT51, PS, BIT13 };
	uint64_t flags = 0;

	for (unsigned i = 0; i < 9; i++)
		flags |= n >> i & 1 ? flag[i] : 0;
	return flags;
}

static unsigned reserved_bits(uint64_t entry, bool nxe)
{
	return ((entry & BIT51) != 0) + ((entry & BIT13) != 0) + (!nxe && (entry & XD) != 0);
}

static bool agrees(struct sweep *s, const struct oracle_answer *want, unsigned top)
{
	const struct mmu_result *got = &s->b.result;

	if (want->fault != (got->fault.vector == MMU_PF))
		return false;
	if (want->fault) {
		if (got->fault.error_code != want->error_code || got->fault.cr2.a != VA)
			return false;
	} else if (got->fault.vector != 0 || got->piece[0].paddr.a != want->paddr) {
		return false;
	}
	for (unsigned level = 0; level <= top; level++) {
		if (entry_at(&s->b, s->at[level]) != want->after[level])
			return false;
	}
	return true;
}

static void one_case(struct sweep *s, unsigned top)
{
	struct oracle_answer want;

	s->cases++;
	for (unsigned level = 0; level <= top; level++)
		memcpy(s->b.ram.bytes + s->at[level], &s->c.entry[level], 8);
	oracle_ask(&s->c, &want);
	mmu_invlpg(s->b.cpu, (struct vaddr){ VA });
	for (unsigned again = 0; again < 2; again++) {
		touch(&s->b, VA, s->c.kind, s->c.context);
		if (agrees(s, &want, top))
			continue;
		if (s->wrong++ < 10)
			printf("# pdpte %lx pde %lx pte %lx kind %u context %u cr4 %lx pkru %x: "
			       "want %d %x, got %u %x\n",
			       s->c.entry[2], s->c.entry[1], s->c.entry[0], s->c.kind, s->c.context,
			       s->c.state.cr4, s->c.state.pkru, want.fault, want.error_code,
			       s->b.result.fault.vector, s->b.result.fault.error_code);
	}
}

static void all_accesses(struct sweep *s, unsigned top)
{
	static const uint8_t contexts[] = { MMU_SUPERVISOR, MMU_USER };

	for (unsigned kind = MMU_READ; kind <= MMU_FETCH; kind++) {
		for (unsigned i = 0; i < 2; i++) {
			s->c.kind = kind;
			s->c.context = contexts[i];
			one_case(s, top);
		}
	}
}

static void all_entries(struct sweep *s, unsigned top)
{
	bool nxe = s->c.state.efer & X86_EFER_NXE;
	uint64_t key = (uint64_t)s->key << X86_PTE_KEY_SHIFT;
	uint64_t pt = s->at[0] & ~0xfffull;

	for (unsigned n = 0; n < 512; n++) {
		uint64_t pde = flags_of(n);

		if ((pde & BIT13) && !(pde & PS))
			continue;
		for (unsigned m = 0; m < 128; m++) {
			uint64_t pte = flags_of(m);

			if (reserved_bits(pde, nxe) + reserved_bits(pte, nxe) > 1)
				continue;
			for (unsigned w = 0; w < 2; w++) {
				s->c.entry[2] = (s->at[1] & ~0xfffull) | P | U | (w ? W : 0);
				s->c.entry[1] = pde | (pde & PS ? LARGE_PAGE | key : pt);
				s->c.entry[0] = PAGE | pte | key;
				all_accesses(s, top);
			}
		}
	}
}

static void all_key_states(struct sweep *s, unsigned top)
{
	for (unsigned pke = 0; pke <= (with_keys ? 1 : 0); pke++) {
		for (unsigned rights = 0; rights < (pke ? 4 : 1); rights++) {
			s->b.state.cr4 = (s->b.state.cr4 & ~X86_CR4_PKE) | (pke ? X86_CR4_PKE : 0);
			s->b.state.pkru = rights << 2; /* of key 1 */
			bench_load(&s->b);
			s->c.state = s->b.state;
			for (s->key = 0; s->key <= (with_keys ? 1 : 0); s->key++)
				all_entries(s, top);
		}
	}
}

static void sweep(enum mmu_mode mode)
{
	static struct sweep s;
	unsigned top = mode == MMU_MODE_5LEVEL ? 4 : 3;

	memset(&s, 0, sizeof(s));
	bench_init(&s.b, "tiny");
	bench_mode(&s.b, mode);
	s.at[0] = bench_map64(&s.b, VA, 0, PWU, 0);
	for (unsigned level = top, table = ROOT; level > 0; level--) {
		s.at[level] = table + 8 * (VA >> (12 + 9 * level) & 511);
		table = entry_at(&s.b, s.at[level]) & ~0xfffull;
		s.c.entry[level] = table | PWU;
	}
	s.c.mode = mode;
	s.c.features = &s.b.config.features;
	s.c.maxphyaddr = s.b.config.maxphyaddr;
	s.c.va = VA;
	for (unsigned n = 0; n < 8; n++) {
		s.b.state = bench_state(mode);
		s.b.state.efer |= n & 1 ? X86_EFER_NXE : 0;
		s.b.state.cr4 |= n & 2 ? X86_CR4_SMEP : 0;
		s.b.state.cr0 &= n & 4 ? ~0ull : ~X86_CR0_WP;
		all_key_states(&s, top);
	}
	ck_assert_uint_eq(s.wrong, 0);
	ck_assert_uint_eq(s.cases, with_keys ? CASES_KEYS : CASES);
	bench_fini(&s.b);
}

START_TEST(every_combination_4level)
{
	sweep(MMU_MODE_4LEVEL);
}
END_TEST

START_TEST(every_combination_5level)
{
	sweep(MMU_MODE_5LEVEL);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("mmu: every combination");
	TCase *tc = tcase_create("combinations");

	with_keys = argc > 1 && strcmp(argv[1], "slow") == 0;
	tcase_set_timeout(tc, 600);
	tcase_add_test(tc, every_combination_4level);
	tcase_add_test(tc, every_combination_5level);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
