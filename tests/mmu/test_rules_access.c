/*
 * Rules 1-7, 9, 13, 14: what one access does. The number of its rule is in each test's name;
 * combinations of bits are the business of test_exhaustive.c and test_random.c.
 */
#include "tests/mmu/bench.h"

static struct bench b;

static void setup(void)
{
	bench_init(&b, "tiny");
}

static void teardown(void)
{
	bench_fini(&b);
}

START_TEST(rule_1_1_without_paging_linear_is_physical)
{
	bench_mode(&b, MMU_MODE_NONE);
	expect_at(&b, 0x123456, MMU_WRITE, MMU_USER, 0x123456);
	expect_at(&b, 0x1ffff0000, MMU_READ, MMU_USER, 0xffff0000);
	ck_assert_uint_eq(stats_of(&b).data_lookups, 2);
}
END_TEST

START_TEST(rule_1_6_compatibility_mode_cuts_addresses_to_32_bits)
{
	bench_mode(&b, MMU_MODE_4LEVEL);
	bench_map64(&b, 0x80001000, 0, PWU, 0x100000 | PWU);
	expect_pf(&b, 0xffffffff80001000, MMU_READ, MMU_USER, X86_PF_U);
	mmu_set_code64(b.cpu, false);
	expect_at(&b, 0xffffffff80001000, MMU_READ, MMU_USER, 0x100000);
}
END_TEST

START_TEST(rule_1_4_page_size_bit_in_32bit_mode_needs_pse)
{
	uint64_t pt = bench_table(&b);

	put32(&b, pt, 1, 0x100000 | PWU);
	put32(&b, ROOT, 0, pt | PWU | PS);
	b.state = bench_state(MMU_MODE_32BIT);
	b.state.cr4 = 0;
	bench_load(&b);
	expect_at(&b, 0x1234, MMU_READ, MMU_USER, 0x100234);
	b.state.cr4 = X86_CR4_PSE;
	bench_load(&b);
	expect_at(&b, 0x1234, MMU_READ, MMU_USER, pt >> 13 << 32 | 0x1234); /* PSE-36 */
}
END_TEST

START_TEST(rule_2_32bit_two_levels_and_4m_pages)
{
	uint64_t pt = bench_table(&b);

	put32(&b, ROOT, 1, pt | PWU);
	put32(&b, pt, 2, 0x100000 | PWU);
	put32(&b, ROOT, 2, 0x000000 | PWU | PS);
	bench_mode(&b, MMU_MODE_32BIT);
	expect_at(&b, 0x402345, MMU_READ, MMU_USER, 0x100345);
	expect_at(&b, 0x812345, MMU_READ, MMU_USER, 0x012345);
	expect_pf(&b, 0x403000, MMU_READ, MMU_USER, X86_PF_U);
	expect_pf(&b, 0xc00000, MMU_WRITE, MMU_SUPERVISOR, X86_PF_W);
}
END_TEST

START_TEST(rule_2_pse36_puts_address_bits_39_32_in_bits_20_13)
{
	put32(&b, ROOT, 0, 0x00c00000 | 0xa5u << 13 | PWU | PS);
	bench_mode(&b, MMU_MODE_32BIT);
	expect_at(&b, 0x3, MMU_READ, MMU_USER, 0xa500c00003);
}
END_TEST

START_TEST(rule_2_4level_pages_of_three_sizes)
{
	bench_mode(&b, MMU_MODE_4LEVEL);
	bench_map64(&b, 0x7f0000001000, 0, PWU, 0x100000 | PWU);
	bench_map64(&b, 0x7f0000200000, 1, PWU, 0x200000 | PWU | PS);
	bench_map64(&b, 0xffff800040000000, 2, PWU, 0x000000 | PWU | PS);
	expect_at(&b, 0x7f0000001fff, MMU_READ, MMU_USER, 0x100fff);
	expect_at(&b, 0x7f0000312345, MMU_READ, MMU_USER, 0x312345);
	expect_at(&b, 0xffff800040123456, MMU_WRITE, MMU_USER, 0x123456);
}
END_TEST

START_TEST(rule_3_if_p_is_zero_nothing_else_is_looked_at)
{
	bench_mode(&b, MMU_MODE_4LEVEL);
	bench_map64(&b, 0x1000, 0, PWU, ~0ull & ~P);
	expect_pf(&b, 0x1000, MMU_READ, MMU_SUPERVISOR, 0);
}
END_TEST

START_TEST(rule_4_2_the_first_offending_level_wins)
{
	bench_mode(&b, MMU_MODE_4LEVEL);
	bench_map64(&b, 0x1000, 0, PWU, 0);
	put64(&b, ROOT, 0, get64(&b, ROOT, 0) | 1ull << 50);
	expect_pf(&b, 0x1000, MMU_READ, MMU_SUPERVISOR, X86_PF_P | X86_PF_RSVD);
}
END_TEST

START_TEST(rule_4_3_rights_never_hide_a_missing_page)
{
	bench_mode(&b, MMU_MODE_4LEVEL);
	bench_map64(&b, 0x1000, 0, P, 0);
	expect_pf(&b, 0x1000, MMU_WRITE, MMU_USER, X86_PF_W | X86_PF_U);
}
END_TEST

START_TEST(rule_5_7_smap_and_wp_act_without_a_flush)
{
	bench_mode(&b, MMU_MODE_4LEVEL);
	bench_map64(&b, 0x1000, 0, PWU, 0x100000 | P | U | D);
	expect_at(&b, 0x1000, MMU_READ, MMU_SUPERVISOR, 0x100000);
	expect_pf(&b, 0x1000, MMU_WRITE, MMU_SUPERVISOR, X86_PF_P | X86_PF_W);
	expect_at(&b, 0x1000, MMU_READ, MMU_SUPERVISOR, 0x100000);
	mmu_reset_statistics(b.cpu);
	ck_assert_uint_eq(mmu_write_cr0(b.cpu, b.state.cr0 & ~X86_CR0_WP).vector, 0);
	expect_at(&b, 0x1000, MMU_WRITE, MMU_SUPERVISOR, 0x100000);
	ck_assert_uint_eq(mmu_write_cr4(b.cpu, b.state.cr4 | X86_CR4_SMAP).vector, 0);
	expect_at(&b, 0x1000, MMU_READ, MMU_SUPERVISOR_AC, 0x100000);
	ck_assert_uint_eq(stats_of(&b).walks, 0);
	expect_pf(&b, 0x1000, MMU_READ, MMU_SUPERVISOR, X86_PF_P);
	/* 5.3: an implicit access does not honour AC, and its U bit is 0 */
	expect_pf(&b, 0x1000, MMU_READ, MMU_IMPLICIT, X86_PF_P);
}
END_TEST

START_TEST(rule_5_4_key_rights_change_without_a_flush)
{
	b.state = bench_state(MMU_MODE_4LEVEL);
	b.state.cr4 |= X86_CR4_PKE;
	bench_load(&b);
	bench_map64(&b, 0x1000, 0, PWU, 0x100000 | PWU | D | 3ull << X86_PTE_KEY_SHIFT);
	expect_at(&b, 0x1000, MMU_WRITE, MMU_USER, 0x100000);
	ck_assert_uint_eq(mmu_write_pkru(b.cpu, 2u << 6).vector, 0); /* WD of key 3 */
	expect_at(&b, 0x1000, MMU_READ, MMU_USER, 0x100000);
	expect_pf(&b, 0x1000, MMU_WRITE, MMU_USER, X86_PF_P | X86_PF_W | X86_PF_U | X86_PF_PK);
	ck_assert_uint_eq(mmu_write_pkru(b.cpu, 1u << 6).vector, 0); /* AD */
	expect_pf(&b, 0x1000, MMU_READ, MMU_SUPERVISOR, X86_PF_P | X86_PF_PK);
	expect_at(&b, 0x1000, MMU_FETCH, MMU_USER, 0x100000);
}
END_TEST

START_TEST(rule_7_1_accessed_everywhere_dirty_in_the_leaf_only)
{
	uint64_t leaf;

	bench_mode(&b, MMU_MODE_4LEVEL);
	leaf = bench_map64(&b, 0x1000, 0, PWU, 0x100000 | PWU);
	expect_at(&b, 0x1000, MMU_READ, MMU_USER, 0x100000);
	ck_assert_uint_eq(entry_at(&b, leaf), 0x100000 | PWU | A);
	ck_assert_uint_eq(get64(&b, ROOT, 0) & (A | D), A);
	expect_at(&b, 0x1000, MMU_WRITE, MMU_USER, 0x100000);
	ck_assert_uint_eq(entry_at(&b, leaf), 0x100000 | PWU | A | D);
	ck_assert_uint_eq(get64(&b, ROOT, 0) & (A | D), A);
	ck_assert_uint_eq(stats_of(&b).dirty_walks, 1);
}
END_TEST

START_TEST(rule_7_4_a_hit_writes_no_bits)
{
	uint64_t leaf;

	bench_mode(&b, MMU_MODE_4LEVEL);
	leaf = bench_map64(&b, 0x1000, 0, PWU, 0x100000 | PWU);
	expect_at(&b, 0x1000, MMU_WRITE, MMU_USER, 0x100000);
	bench_map64(&b, 0x1000, 0, PWU, 0x100000 | PWU);
	expect_at(&b, 0x1000, MMU_WRITE, MMU_USER, 0x100000);
	ck_assert_uint_eq(entry_at(&b, leaf), 0x100000 | PWU);
	mmu_invlpg(b.cpu, (struct vaddr){ 0x1000 });
	expect_at(&b, 0x1000, MMU_WRITE, MMU_USER, 0x100000);
	ck_assert_uint_eq(entry_at(&b, leaf), 0x100000 | PWU | A | D);
}
END_TEST

START_TEST(rule_7_5_the_first_write_looks_at_memory_again)
{
	bench_mode(&b, MMU_MODE_4LEVEL);
	bench_map64(&b, 0x1000, 0, PWU, 0x100000 | PWU);
	expect_at(&b, 0x1000, MMU_READ, MMU_USER, 0x100000);
	bench_map64(&b, 0x1000, 0, PWU, 0);
	expect_at(&b, 0x1000, MMU_READ, MMU_USER, 0x100000);
	expect_pf(&b, 0x1000, MMU_WRITE, MMU_USER, X86_PF_W | X86_PF_U);
}
END_TEST

START_TEST(rule_7_8_a_recursive_entry_gets_a_at_both_uses)
{
	uint64_t va = 0xffffff7fbfdfe000; /* slot 510 at every level */

	bench_mode(&b, MMU_MODE_4LEVEL);
	put64(&b, ROOT, 510, ROOT | P | W);
	expect_at(&b, va, MMU_WRITE, MMU_SUPERVISOR, ROOT);
	ck_assert_uint_eq(get64(&b, ROOT, 510), ROOT | P | W | A | D);
	ck_assert_uint_ge(stats_of(&b).walk_restarts, 1);
}
END_TEST

START_TEST(rule_9_1_non_canonical_is_gp_or_ss_without_cr2)
{
	struct mmu_access access = { MMU_READ, MMU_SUPERVISOR, 0 };

	bench_mode(&b, MMU_MODE_4LEVEL);
	mmu_write_cr2(b.cpu, 0x77);
	ck_assert_uint_eq(touch(&b, 0x800000000000, MMU_READ, MMU_USER), MMU_GP);
	ck_assert_uint_eq(b.result.fault.error_code, 0);
	access.via_ss = 1;
	ck_assert_uint_eq(
		mmu_translate(b.cpu, (struct vaddr){ 0xffff7fffffffffff }, 1, access, &b.result),
		MMU_SS);
	ck_assert_uint_eq(mmu_read_cr2(b.cpu), 0x77);
	bench_mode(&b, MMU_MODE_5LEVEL);
	ck_assert_uint_eq(touch(&b, 0x800000000000, MMU_READ, MMU_USER), MMU_PF);
	ck_assert_uint_eq(touch(&b, 1ull << 56, MMU_READ, MMU_USER), MMU_GP);
}
END_TEST

START_TEST(rule_9_2_running_over_the_canonical_boundary_is_gp)
{
	struct mmu_access access = { MMU_READ, MMU_USER, 0 };

	bench_mode(&b, MMU_MODE_4LEVEL);
	bench_map64(&b, 0x7ffffffff000, 0, PWU, 0x100000 | PWU);
	expect_at(&b, 0x7fffffffffff, MMU_READ, MMU_USER, 0x100fff);
	ck_assert_uint_eq(
		mmu_translate(b.cpu, (struct vaddr){ 0x7fffffffffff }, 2, access, &b.result),
		MMU_GP);
}
END_TEST

START_TEST(rule_13_1_a_crossing_access_has_two_pieces)
{
	struct mmu_access access = { MMU_WRITE, MMU_USER, 0 };
	struct mmu_fault fault;
	const uint64_t value = 0x8877665544332211;
	uint64_t back;

	bench_mode(&b, MMU_MODE_4LEVEL);
	bench_map64(&b, 0x1000, 0, PWU, 0x100000 | PWU);
	bench_map64(&b, 0x2000, 0, PWU, 0x200000 | PWU);
	ck_assert_uint_eq(mmu_write(b.cpu, (struct vaddr){ 0x1ffd }, &value, 8, access, &fault), 0);
	ck_assert_uint_eq(mmu_read(b.cpu, (struct vaddr){ 0x1ffd }, &back, 8, access, &fault), 0);
	ck_assert_uint_eq(back, value);
	ck_assert_uint_eq(b.ram.bytes[0x100ffd], 0x11);
	ck_assert_uint_eq(b.ram.bytes[0x200004], 0x88);
	ck_assert_uint_eq(stats_of(&b).data_lookups, 4);
}
END_TEST

START_TEST(rule_13_1_a_store_that_faults_on_its_second_page_writes_nothing)
{
	struct mmu_access access = { MMU_WRITE, MMU_USER, 0 };
	struct mmu_fault fault;
	const uint64_t value = ~0ull;
	uint64_t leaf;

	bench_mode(&b, MMU_MODE_4LEVEL);
	leaf = bench_map64(&b, 0x1000, 0, PWU, 0x100000 | PWU);
	ck_assert_uint_eq(mmu_write(b.cpu, (struct vaddr){ 0x1ffd }, &value, 8, access, &fault),
			  MMU_PF);
	ck_assert_uint_eq(fault.cr2.a, 0x2000); /* 6.3 */
	ck_assert_uint_eq(fault.error_code, X86_PF_W | X86_PF_U);
	ck_assert_uint_eq(b.ram.bytes[0x100ffd], 0);
	ck_assert_uint_eq(entry_at(&b, leaf) & A, A);
}
END_TEST

START_TEST(rule_13_3_offsets_wrap_at_4_gib)
{
	uint64_t low = bench_table(&b), high = bench_table(&b);
	struct mmu_access access = { MMU_READ, MMU_USER, 0 };

	put32(&b, ROOT, 0, low | PWU);
	put32(&b, ROOT, 1023, high | PWU);
	put32(&b, low, 0, 0x100000 | PWU);
	put32(&b, high, 1023, 0x200000 | PWU);
	bench_mode(&b, MMU_MODE_32BIT);
	ck_assert_uint_eq(mmu_translate(b.cpu, (struct vaddr){ 0xfffffffe }, 4, access, &b.result),
			  0);
	ck_assert_uint_eq(b.result.pieces, 2);
	ck_assert_uint_eq(b.result.piece[0].paddr.a, 0x200ffe);
	ck_assert_uint_eq(b.result.piece[1].paddr.a, 0x100000);
}
END_TEST

START_TEST(rule_14_1_pat_index_of_the_leaf)
{
	struct mmu_walk walk;

	bench_mode(&b, MMU_MODE_4LEVEL);
	bench_map64(&b, 0x1000, 0, PWU, 0x100000 | PWU | X86_PTE_PAT | X86_PTE_PWT);
	bench_map64(&b, 0x200000, 1, PWU, X86_PTE_LARGE_PAT | PWU | PS | X86_PTE_PCD);
	mmu_walk(b.cpu, (struct vaddr){ 0x1000 }, NULL, &walk);
	ck_assert_uint_eq(walk.leaf.pat, 5);
	mmu_walk(b.cpu, (struct vaddr){ 0x200000 }, NULL, &walk);
	ck_assert_uint_eq(walk.leaf.pat, 6);
}
END_TEST

START_TEST(reads_beyond_ram_are_ones_and_counted)
{
	struct mmu_access access = { MMU_READ, MMU_USER, 0 };
	struct mmu_fault fault;
	uint64_t value = 0;

	bench_mode(&b, MMU_MODE_4LEVEL);
	bench_map64(&b, 0x1000, 0, PWU, 0x100000000 | PWU);
	ck_assert_uint_eq(mmu_read(b.cpu, (struct vaddr){ 0x1000 }, &value, 8, access, &fault), 0);
	ck_assert_uint_eq(value, ~0ull);
	ck_assert_uint_eq(mmu_write(b.cpu, (struct vaddr){ 0x1000 }, &value, 8, access, &fault), 0);
	ck_assert_uint_eq(b.ram.stray_reads, 1);
	ck_assert_uint_eq(b.ram.stray_writes, 1);
	put64(&b, ROOT, 1, 0x8000000000 | PWU); /* a table beyond RAM: reserved bits everywhere */
	expect_pf(&b, 0x8000000000, MMU_READ, MMU_SUPERVISOR, X86_PF_P | X86_PF_RSVD);
}
END_TEST

START_TEST(a_walk_has_no_effect_and_reports_every_entry)
{
	struct mmu_access write = { MMU_WRITE, MMU_USER, 0 };
	struct mmu_statistics before, after;
	struct mmu_walk walk;
	uint64_t leaf;

	bench_mode(&b, MMU_MODE_4LEVEL);
	leaf = bench_map64(&b, 0x1000, 0, PWU, 0x100000 | P | U);
	before = stats_of(&b);
	ck_assert_uint_eq(mmu_walk(b.cpu, (struct vaddr){ 0x1234 }, NULL, &walk), 0);
	ck_assert_uint_eq(walk.count, 4);
	ck_assert_uint_eq(walk.entry[0].at.a, ROOT);
	ck_assert_uint_eq(walk.entry[0].level, 3);
	ck_assert_uint_eq(walk.entry[3].at.a, leaf);
	ck_assert_uint_eq(walk.paddr.a, 0x100234);
	ck_assert_uint_eq(walk.leaf.rights, MMU_RIGHT_U | MMU_RIGHT_X);
	ck_assert_uint_eq(mmu_walk(b.cpu, (struct vaddr){ 0x1234 }, &write, &walk), MMU_PF);
	ck_assert(walk.mapped);
	ck_assert_uint_eq(entry_at(&b, leaf), 0x100000 | P | U);
	after = stats_of(&b);
	ck_assert_int_eq(memcmp(&before, &after, sizeof(before)), 0);
	ck_assert_uint_eq(mmu_read_cr2(b.cpu), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mmu rules: accesses");
	TCase *tc = tcase_create("accesses");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, rule_1_1_without_paging_linear_is_physical);
	tcase_add_test(tc, rule_1_4_page_size_bit_in_32bit_mode_needs_pse);
	tcase_add_test(tc, rule_1_6_compatibility_mode_cuts_addresses_to_32_bits);
	tcase_add_test(tc, rule_2_32bit_two_levels_and_4m_pages);
	tcase_add_test(tc, rule_2_pse36_puts_address_bits_39_32_in_bits_20_13);
	tcase_add_test(tc, rule_2_4level_pages_of_three_sizes);
	tcase_add_test(tc, rule_3_if_p_is_zero_nothing_else_is_looked_at);
	tcase_add_test(tc, rule_4_2_the_first_offending_level_wins);
	tcase_add_test(tc, rule_4_3_rights_never_hide_a_missing_page);
	tcase_add_test(tc, rule_5_7_smap_and_wp_act_without_a_flush);
	tcase_add_test(tc, rule_5_4_key_rights_change_without_a_flush);
	tcase_add_test(tc, rule_7_1_accessed_everywhere_dirty_in_the_leaf_only);
	tcase_add_test(tc, rule_7_4_a_hit_writes_no_bits);
	tcase_add_test(tc, rule_7_5_the_first_write_looks_at_memory_again);
	tcase_add_test(tc, rule_7_8_a_recursive_entry_gets_a_at_both_uses);
	tcase_add_test(tc, rule_9_1_non_canonical_is_gp_or_ss_without_cr2);
	tcase_add_test(tc, rule_9_2_running_over_the_canonical_boundary_is_gp);
	tcase_add_test(tc, rule_13_1_a_crossing_access_has_two_pieces);
	tcase_add_test(tc, rule_13_1_a_store_that_faults_on_its_second_page_writes_nothing);
	tcase_add_test(tc, rule_13_3_offsets_wrap_at_4_gib);
	tcase_add_test(tc, rule_14_1_pat_index_of_the_leaf);
	tcase_add_test(tc, reads_beyond_ram_are_ones_and_counted);
	tcase_add_test(tc, a_walk_has_no_effect_and_reports_every_entry);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
