/*
 * Rules 1.5 and 3-7: what entries mean, which fault wins, who may do what, and what is written
 * back. The number of its rule is in each test's name; RULES.md lists them. All combinations of
 * these bits are the business of test_exhaustive.c; here is one of each, worked by hand.
 */
#include "tests/mmu/bench.h"

#define VA   0x1000ull
#define PAGE 0x100000ull
#define KEY3 (3ull << X86_PTE_KEY_SHIFT)
#define PW   (X86_PF_P | X86_PF_W)
#define PU   (X86_PF_P | X86_PF_U)
#define PR   (X86_PF_P | X86_PF_RSVD)

static struct bench b;

static void setup(void)
{
	bench_init(&b, "tiny"); /* every feature; MAXPHYADDR 40 */
	bench_mode(&b, MMU_MODE_4LEVEL);
}

static void teardown(void)
{
	bench_fini(&b);
}

/* Again from empty caches, with these registers on top of the mode's. */
static void reload(uint64_t cr4, uint64_t efer)
{
	b.state.cr4 |= cr4;
	b.state.efer |= efer;
	bench_load(&b);
}

/* A CPU without some feature. */
static void without(const char *feature)
{
	ck_assert(mmu_config_set(&b.config, feature, 0));
	free(b.cpu);
	b.cpu = bench_cpu(&b, 0);
	bench_load(&b);
}

/* PAE: the PDPT stands at ROOT. Returns the address of the PTE of VA. */
static uint64_t map_pae(uint64_t pde_bits, uint64_t leaf)
{
	uint64_t directory = bench_table(&b), table = bench_table(&b);

	put64(&b, ROOT, 0, directory | P);
	put64(&b, directory, 0, table | PWU | pde_bits);
	put64(&b, table, 1, leaf);
	bench_mode(&b, MMU_MODE_PAE);
	return table + 8;
}

START_TEST(rule_1_5_nxe_does_not_count_in_32bit_mode)
{
	uint64_t table = bench_table(&b);

	put32(&b, ROOT, 0, table | PWU);
	put32(&b, table, 1, PAGE | PWU);
	bench_mode(&b, MMU_MODE_32BIT);
	reload(0, X86_EFER_NXE);
	expect_at(&b, VA, MMU_FETCH, MMU_USER, PAGE);
	expect_pf(&b, VA + 0x1000, MMU_FETCH, MMU_USER, X86_PF_U); /* nor in the error code */
}
END_TEST

START_TEST(rule_3_1_keys_are_ignored_without_pke_and_in_upper_entries)
{
	bench_map64(&b, VA, 0, PWU | KEY3, PAGE | PWU | KEY3);
	expect_at(&b, VA, MMU_READ, MMU_USER, PAGE);
	reload(X86_CR4_PKE, 0);
	bench_map64(&b, VA, 0, PWU | KEY3, PAGE | PWU); /* key 3 above, key 0 in the leaf */
	ck_assert_uint_eq(mmu_write_pkru(b.cpu, 1u << 6).vector, 0);
	expect_at(&b, VA, MMU_READ, MMU_USER, PAGE);
}
END_TEST

START_TEST(rule_3_2_bits_62_52_are_reserved_in_pae_and_ignored_in_long_mode)
{
	bench_map64(&b, VA, 0, PWU, PAGE | PWU | 0x7ffull << 52);
	expect_at(&b, VA, MMU_READ, MMU_USER, PAGE);
	memset(b.ram.bytes + ROOT, 0, 4096);
	map_pae(0, PAGE | PWU | 1ull << 62);
	expect_pf(&b, VA, MMU_READ, MMU_USER, PR | X86_PF_U);
}
END_TEST

START_TEST(rule_3_3_bit_8_of_an_upper_entry_is_ignored)
{
	bench_map64(&b, VA, 0, PWU | G, PAGE | PWU);
	expect_at(&b, VA, MMU_READ, MMU_USER, PAGE);
}
END_TEST

START_TEST(rule_3_4_without_pat_its_bits_are_reserved)
{
	bench_map64(&b, VA, 0, PWU, PAGE | PWU | X86_PTE_PAT);
	bench_map64(&b, 0x200000, 1, PWU, PWU | PS | X86_PTE_LARGE_PAT);
	expect_at(&b, VA, MMU_READ, MMU_USER, PAGE);
	expect_at(&b, 0x200000, MMU_READ, MMU_USER, 0);
	without("features.pat");
	expect_pf(&b, VA, MMU_READ, MMU_USER, PR | X86_PF_U);
	expect_pf(&b, 0x200000, MMU_READ, MMU_USER, PR | X86_PF_U);
}
END_TEST

START_TEST(rule_4_1_non_canonical_is_found_before_any_walk)
{
	bench_map64(&b, VA, 0, PWU, PAGE | PWU);
	ck_assert_uint_eq(touch(&b, 1ull << 47 | VA, MMU_WRITE, MMU_USER), MMU_GP);
	ck_assert_uint_eq(stats_of(&b).entry_reads, 0);
	ck_assert_uint_eq(get64(&b, ROOT, 0) & A, 0);
}
END_TEST

START_TEST(rule_4_4_one_level_without_a_right_takes_it_away)
{
	uint64_t pd;

	reload(0, X86_EFER_NXE);
	bench_map64(&b, VA, 0, PWU, PAGE | PWU);
	pd = get64(&b, get64(&b, ROOT, 0) & ~0xfffull, 0) & ~0xfffull;
	expect_at(&b, VA, MMU_FETCH, MMU_USER, PAGE);
	put64(&b, ROOT, 0, (get64(&b, ROOT, 0) & ~W) | XD);
	put64(&b, pd, 0, get64(&b, pd, 0) & ~U);
	bench_load(&b);
	expect_pf(&b, VA, MMU_READ, MMU_USER, PU);
	expect_pf(&b, VA, MMU_WRITE, MMU_SUPERVISOR, PW);
	expect_pf(&b, VA, MMU_FETCH, MMU_SUPERVISOR, X86_PF_P | X86_PF_I);
	expect_at(&b, VA, MMU_READ, MMU_SUPERVISOR, PAGE);
}
END_TEST

START_TEST(rule_4_4_a_pae_pdpte_contributes_no_rights)
{
	map_pae(0, PAGE | PWU);
	ck_assert_uint_eq(get64(&b, ROOT, 0) & (W | U), 0);
	expect_at(&b, VA, MMU_WRITE, MMU_USER, PAGE);
}
END_TEST

START_TEST(rule_4_5_the_leafs_key_alone_counts)
{
	reload(X86_CR4_PKE, 0);
	bench_map64(&b, VA, 0, PWU, PAGE | PWU | KEY3);
	ck_assert_uint_eq(mmu_write_pkru(b.cpu, ~0u & ~(3u << 6)).vector, 0); /* all but 3 */
	expect_at(&b, VA, MMU_READ, MMU_USER, PAGE);
}
END_TEST

START_TEST(rule_5_1_wp_concerns_supervisor_writes_alone)
{
	static const uint64_t rights[] = { P, P | U };

	for (unsigned i = 0; i < 2; i++) {
		uint64_t va = VA + i * 0x1000, page = PAGE + i * 0x1000;
		uint64_t leaf = bench_map64(&b, va, 0, PWU, page | rights[i]);

		expect_pf(&b, va, MMU_WRITE, MMU_SUPERVISOR, PW);
		ck_assert_uint_eq(mmu_write_cr0(b.cpu, b.state.cr0 & ~X86_CR0_WP).vector, 0);
		expect_at(&b, va, MMU_WRITE, MMU_SUPERVISOR, page);
		ck_assert_uint_eq(entry_at(&b, leaf) & (W | D), D); /* D without R/W */
		expect_pf(&b, va, MMU_WRITE, MMU_USER, PW | X86_PF_U);
		ck_assert_uint_eq(mmu_write_cr0(b.cpu, b.state.cr0).vector, 0);
	}
}
END_TEST

START_TEST(rule_5_2_smep_is_for_fetches_and_smap_for_data)
{
	bench_map64(&b, VA, 0, PWU, PAGE | PWU);
	reload(X86_CR4_SMEP, 0);
	expect_pf(&b, VA, MMU_FETCH, MMU_SUPERVISOR, X86_PF_P | X86_PF_I);
	expect_pf(&b, VA, MMU_FETCH, MMU_SUPERVISOR_AC, X86_PF_P | X86_PF_I);
	expect_at(&b, VA, MMU_READ, MMU_SUPERVISOR, PAGE);
	expect_at(&b, VA, MMU_FETCH, MMU_USER, PAGE);
	b.state.cr4 &= ~X86_CR4_SMEP;
	reload(X86_CR4_SMAP, 0);
	expect_at(&b, VA, MMU_FETCH, MMU_SUPERVISOR, PAGE);
	expect_pf(&b, VA, MMU_READ, MMU_SUPERVISOR, X86_PF_P);
	expect_at(&b, VA, MMU_READ, MMU_SUPERVISOR_AC, PAGE);
}
END_TEST

START_TEST(rule_5_3_implicit_accesses_ignore_ac)
{
	bench_map64(&b, VA, 0, PWU, PAGE | PWU);
	reload(X86_CR4_SMAP, 0);
	expect_at(&b, VA, MMU_READ, MMU_SUPERVISOR_AC, PAGE);
	expect_pf(&b, VA, MMU_READ, MMU_IMPLICIT, X86_PF_P); /* and U = 0 */
}
END_TEST

START_TEST(rule_5_5_pks_is_for_supervisor_pages)
{
	reload(X86_CR4_PKS, 0);
	bench_map64(&b, VA, 0, P | W, PAGE | P | W | KEY3);
	bench_map64(&b, 0x8000001000, 0, PWU, PAGE | PWU | KEY3);
	ck_assert_uint_eq(mmu_write_pkrs(b.cpu, 2u << 6).vector, 0); /* WD */
	expect_at(&b, VA, MMU_READ, MMU_SUPERVISOR, PAGE);
	expect_pf(&b, VA, MMU_WRITE, MMU_SUPERVISOR, PW | X86_PF_PK);
	ck_assert_uint_eq(mmu_write_cr0(b.cpu, b.state.cr0 & ~X86_CR0_WP).vector, 0);
	expect_at(&b, VA, MMU_WRITE, MMU_SUPERVISOR, PAGE);
	ck_assert_uint_eq(mmu_write_pkrs(b.cpu, 1u << 6).vector, 0); /* AD */
	expect_pf(&b, VA, MMU_READ, MMU_SUPERVISOR, X86_PF_P | X86_PF_PK);
	expect_at(&b, VA, MMU_FETCH, MMU_SUPERVISOR, PAGE);
	expect_at(&b, 0x8000001000, MMU_READ, MMU_USER, PAGE);
}
END_TEST

START_TEST(rule_5_6_xd_is_reserved_while_nxe_is_off)
{
	bench_map64(&b, VA, 0, PWU, PAGE | PWU | XD);
	expect_pf(&b, VA, MMU_READ, MMU_USER, PR | X86_PF_U);
	ck_assert_uint_eq(mmu_write_efer(b.cpu, b.state.efer | X86_EFER_NXE).vector, 0);
	expect_at(&b, VA, MMU_READ, MMU_USER, PAGE);
	expect_pf(&b, VA, MMU_FETCH, MMU_USER, PU | X86_PF_I);
}
END_TEST

START_TEST(rule_6_1_the_error_code_describes_the_access)
{
	bench_map64(&b, VA, 0, P, PAGE | P); /* a supervisor page, not to be written */
	expect_pf(&b, VA, MMU_READ, MMU_USER, PU);
	expect_pf(&b, VA, MMU_WRITE, MMU_USER, PU | X86_PF_W);
	expect_pf(&b, VA, MMU_RMW, MMU_USER, PU | X86_PF_W);
	expect_pf(&b, VA, MMU_WRITE, MMU_SUPERVISOR, PW);
	expect_pf(&b, VA, MMU_FETCH, MMU_USER, PU); /* I: neither SMEP nor NXE */
	reload(X86_CR4_SMEP, 0);
	expect_pf(&b, VA, MMU_FETCH, MMU_USER, PU | X86_PF_I);
}
END_TEST

/* The manual would set PK, no hardware was seen to: our choice is that it stays 0. */
START_TEST(rule_6_2_a_user_access_to_a_supervisor_page_looks_at_no_key)
{
	reload(X86_CR4_PKS, 0);
	bench_map64(&b, VA, 0, P | W, PAGE | P | W | KEY3);
	ck_assert_uint_eq(mmu_write_pkrs(b.cpu, 3u << 6).vector, 0);
	expect_pf(&b, VA, MMU_READ, MMU_USER, PU);
}
END_TEST

START_TEST(rule_6_3_cr2_is_the_first_byte_that_cannot_be_had)
{
	struct mmu_access read = { MMU_READ, MMU_USER, 0 };

	bench_map64(&b, VA, 0, PWU, PAGE | PWU);
	expect_pf(&b, VA + 0x1234, MMU_READ, MMU_USER, X86_PF_U);
	ck_assert_uint_eq(mmu_translate(b.cpu, (struct vaddr){ VA + 0xffd }, 8, read, &b.result),
			  MMU_PF);
	ck_assert_uint_eq(mmu_read_cr2(b.cpu), VA + 0x1000); /* the second page */
	ck_assert_uint_eq(mmu_translate(b.cpu, (struct vaddr){ VA - 3 }, 8, read, &b.result),
			  MMU_PF);
	ck_assert_uint_eq(mmu_read_cr2(b.cpu), VA - 3); /* the first */
}
END_TEST

START_TEST(rule_7_2_a_fault_leaves_the_leaf_as_it_is)
{
	uint64_t leaf = bench_map64(&b, VA, 0, PWU, PAGE | P | U);

	expect_pf(&b, VA, MMU_WRITE, MMU_USER, PW | X86_PF_U);
	ck_assert_uint_eq(entry_at(&b, leaf), PAGE | P | U);
	ck_assert_uint_eq(get64(&b, ROOT, 0) & A, A); /* above it A may be set, and is */
}
END_TEST

/* Between the walk's reading of the leaf and its marking, which is when a checker is asked. */
static bool clear_leaf(void *context, const struct mmu_table_read *read)
{
	uint64_t *leaf = context;

	if (*leaf == read->at.a) {
		put64(&b, *leaf & ~0xfffull, *leaf % 4096 / 8, 0);
		*leaf = 0; /* once */
	}
	return true;
}

static void never_stale(void *context, const struct mmu_stale *stale)
{
}

START_TEST(rule_7_3_an_entry_that_is_cleared_under_the_walk_is_judged_again)
{
	uint64_t leaf = bench_map64(&b, VA, 0, PWU, PAGE | PWU), watched = leaf;
	struct mmu_checker checker = { &watched, never_stale, clear_leaf };

	mmu_set_checker(b.cpu, &checker);
	expect_pf(&b, VA, MMU_WRITE, MMU_USER, X86_PF_W | X86_PF_U);
	ck_assert_uint_eq(entry_at(&b, leaf), 0); /* neither A nor D */
	ck_assert_uint_eq(stats_of(&b).walk_restarts, 1);
}
END_TEST

START_TEST(rule_7_6_a_locked_access_sets_d_whether_it_stores_or_not)
{
	uint64_t leaf = bench_map64(&b, VA, 0, PWU, PAGE | PWU);

	expect_at(&b, VA, MMU_RMW, MMU_USER, PAGE);
	ck_assert_uint_eq(entry_at(&b, leaf) & D, D);
}
END_TEST

START_TEST(rule_7_7_this_model_sets_no_a_speculatively)
{
	uint64_t next = bench_map64(&b, VA + 0x1000, 0, PWU, PAGE | PWU);

	bench_map64(&b, VA, 0, PWU, PAGE | PWU);
	for (unsigned i = 0; i < 0x1000; i += 8)
		expect_at(&b, VA + i, MMU_READ, MMU_USER, PAGE + i);
	ck_assert_uint_eq(entry_at(&b, next) & A, 0);
}
END_TEST

START_TEST(rule_8_3_a_pdpte_has_no_a)
{
	uint64_t leaf = map_pae(0, PAGE | PWU);

	expect_at(&b, VA, MMU_WRITE, MMU_USER, PAGE);
	ck_assert_uint_eq(entry_at(&b, leaf) & (A | D), A | D);
	ck_assert_uint_eq(get64(&b, ROOT, 0) & A, 0);
}
END_TEST

START_TEST(rule_13_2_a_large_page_is_crossed_at_its_own_end)
{
	struct mmu_access read = { MMU_READ, MMU_USER, 0 };

	bench_map64(&b, 0x200000, 1, PWU, 0x200000 | PWU | PS);
	bench_map64(&b, 0x400000, 0, PWU, PAGE | PWU);
	ck_assert_uint_eq(mmu_translate(b.cpu, (struct vaddr){ 0x3ffffe }, 4, read, &b.result), 0);
	ck_assert_uint_eq(b.result.pieces, 2);
	ck_assert_uint_eq(b.result.piece[0].paddr.a, 0x3ffffe);
	ck_assert_uint_eq(b.result.piece[1].paddr.a, PAGE);
	/* Within it two neighbours of 4 KiB are neighbours in memory too, and one walk serves. */
	mmu_reset_statistics(b.cpu);
	ck_assert_uint_eq(mmu_translate(b.cpu, (struct vaddr){ 0x280ffe }, 4, read, &b.result), 0);
	ck_assert_uint_eq(b.result.piece[1].paddr.a, 0x281000);
	ck_assert_uint_eq(stats_of(&b).walks, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mmu rules: rights");
	TCase *tc = tcase_create("rights");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, rule_1_5_nxe_does_not_count_in_32bit_mode);
	tcase_add_test(tc, rule_3_1_keys_are_ignored_without_pke_and_in_upper_entries);
	tcase_add_test(tc, rule_3_2_bits_62_52_are_reserved_in_pae_and_ignored_in_long_mode);
	tcase_add_test(tc, rule_3_3_bit_8_of_an_upper_entry_is_ignored);
	tcase_add_test(tc, rule_3_4_without_pat_its_bits_are_reserved);
	tcase_add_test(tc, rule_4_1_non_canonical_is_found_before_any_walk);
	tcase_add_test(tc, rule_4_4_one_level_without_a_right_takes_it_away);
	tcase_add_test(tc, rule_4_4_a_pae_pdpte_contributes_no_rights);
	tcase_add_test(tc, rule_4_5_the_leafs_key_alone_counts);
	tcase_add_test(tc, rule_5_1_wp_concerns_supervisor_writes_alone);
	tcase_add_test(tc, rule_5_2_smep_is_for_fetches_and_smap_for_data);
	tcase_add_test(tc, rule_5_3_implicit_accesses_ignore_ac);
	tcase_add_test(tc, rule_5_5_pks_is_for_supervisor_pages);
	tcase_add_test(tc, rule_5_6_xd_is_reserved_while_nxe_is_off);
	tcase_add_test(tc, rule_6_1_the_error_code_describes_the_access);
	tcase_add_test(tc, rule_6_2_a_user_access_to_a_supervisor_page_looks_at_no_key);
	tcase_add_test(tc, rule_6_3_cr2_is_the_first_byte_that_cannot_be_had);
	tcase_add_test(tc, rule_7_2_a_fault_leaves_the_leaf_as_it_is);
	tcase_add_test(tc, rule_7_3_an_entry_that_is_cleared_under_the_walk_is_judged_again);
	tcase_add_test(tc, rule_7_6_a_locked_access_sets_d_whether_it_stores_or_not);
	tcase_add_test(tc, rule_7_7_this_model_sets_no_a_speculatively);
	tcase_add_test(tc, rule_8_3_a_pdpte_has_no_a);
	tcase_add_test(tc, rule_13_2_a_large_page_is_crossed_at_its_own_end);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
