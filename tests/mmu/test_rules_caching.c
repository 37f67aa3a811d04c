/*
 * Rules 6.4, 10, 11, 12: what is cached and what drops it. The number of its rule is in each test's
 * name. That something is still there after a change in memory is asserted of this model; hardware
 * may always have dropped it (11.3).
 */
#include "tests/mmu/bench.h"

#define VA    0x1000ull
#define OLD   0x100000ull
#define NEW   0x200000ull
#define OTHER 0x41000ull /* another PDE cache entry is not needed for it */

static struct bench b;

static void setup(void)
{
	bench_init(&b, "tiny");
	b.state = bench_state(MMU_MODE_4LEVEL);
	b.state.cr4 |= X86_CR4_PGE | X86_CR4_PCIDE;
	bench_load(&b);
}

static void teardown(void)
{
	bench_fini(&b);
}

static void invpcid(unsigned type, unsigned pcid)
{
	ck_assert_uint_eq(mmu_invpcid(b.cpu, type, pcid, (struct vaddr){ VA }).vector,
			  MMU_NO_FAULT);
}

/* Empty all caches, cache VA -> OLD (with @flags), then make memory say NEW. */
static void cache_old(uint64_t flags)
{
	invpcid(MMU_INVPCID_ALL_GLOBAL, 0);
	bench_map64(&b, VA, 0, PWU, OLD | PWU | flags);
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD);
	bench_map64(&b, VA, 0, PWU, NEW | PWU | flags);
}

static void expect_old(void)
{
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD);
}

static void expect_new(void)
{
	expect_at(&b, VA, MMU_READ, MMU_USER, NEW);
}

static void cr3(uint64_t value)
{
	ck_assert_uint_eq(mmu_write_cr3(b.cpu, value).vector, MMU_NO_FAULT);
}

static void cr4_toggle(uint64_t bits)
{
	ck_assert_uint_eq(mmu_write_cr4(b.cpu, mmu_read_cr4(b.cpu) ^ bits).vector, MMU_NO_FAULT);
}

START_TEST(rule_10_1_nothing_is_cached_of_a_faulting_walk)
{
	bench_map64(&b, VA, 0, PWU, 0);
	expect_pf(&b, VA, MMU_READ, MMU_USER, X86_PF_U);
	bench_map64(&b, VA, 0, PWU, NEW | PWU);
	expect_new();
}
END_TEST

START_TEST(rule_10_2_data_and_code_tlbs_are_separate)
{
	expect_pf(&b, VA, MMU_FETCH, MMU_USER, X86_PF_U);
	cache_old(0);
	expect_old();
	/* the unified L2 serves a fetch as well: 10.2 allows either */
	expect_at(&b, VA, MMU_FETCH, MMU_USER, OLD);
	ck_assert_uint_eq(stats_of(&b).l1_fetch_misses, 2);
	ck_assert_uint_eq(stats_of(&b).l2_hits, 1);
}
END_TEST

START_TEST(rule_10_3_invlpg_drops_all_pieces_of_a_large_page)
{
	/* tiny cuts code pages of 2 MiB into 4 KiB, and 1 GiB everywhere */
	bench_map64(&b, 0x200000, 1, PWU, PWU | PS);
	for (unsigned i = 0; i < 4; i++)
		expect_at(&b, 0x200000 + i * 0x1000, MMU_FETCH, MMU_USER, i * 0x1000);
	bench_map64(&b, 0x200000, 1, PWU, 0x200000 | PWU | PS);
	expect_at(&b, 0x201000, MMU_FETCH, MMU_USER, 0x1000);
	mmu_invlpg(b.cpu, (struct vaddr){ 0x3ff000 });
	for (unsigned i = 0; i < 4; i++)
		expect_at(&b, 0x200000 + i * 0x1000, MMU_FETCH, MMU_USER, 0x200000 + i * 0x1000);
}
END_TEST

START_TEST(rule_10_4_a_walk_may_begin_below_a_cached_entry)
{
	bench_map64(&b, VA, 0, PWU, OLD | PWU);
	bench_map64(&b, OTHER, 0, PWU, NEW | PWU);
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD);
	ck_assert_uint_eq(b.result.entry_reads, 4);
	put64(&b, ROOT, 0, 0); /* not looked at any more, and gets no A */
	expect_at(&b, OTHER, MMU_READ, MMU_USER, NEW);
	ck_assert_uint_eq(b.result.entry_reads, 1);
	ck_assert_uint_eq(stats_of(&b).psc_hits[1], 1);
	ck_assert_uint_eq(get64(&b, ROOT, 0), 0);
}
END_TEST

START_TEST(rule_10_4_cached_upper_rights_count)
{
	bench_map64(&b, VA, 0, P | U, OLD | PWU);
	bench_map64(&b, OTHER, 0, P | U, NEW | PWU);
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD);
	expect_pf(&b, OTHER, MMU_WRITE, MMU_USER, X86_PF_P | X86_PF_W | X86_PF_U);
	ck_assert_uint_eq(stats_of(&b).psc_hits[1], 1);
}
END_TEST

/* In this model: what was cached, until it is dropped. */
START_TEST(rule_10_5_a_page_size_changed_in_place_is_not_seen)
{
	bench_map64(&b, VA, 0, PWU, OLD | PWU);
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD);
	put64(&b, get64(&b, get64(&b, ROOT, 0) & ~0xfffull, 0) & ~0xfffull, 0, 0x200000 | PWU | PS);
	expect_old();
	mmu_invlpg(b.cpu, (struct vaddr){ VA });
	expect_at(&b, VA, MMU_READ, MMU_USER, 0x200000 | VA);
}
END_TEST

START_TEST(rule_10_6_global_needs_pge_and_survives_cr3)
{
	cache_old(G);
	cr3(ROOT);
	expect_old();
	cr4_toggle(X86_CR4_PGE);
	expect_new();
	cr3(ROOT);
	bench_map64(&b, VA, 0, PWU, OLD | PWU | G);
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD); /* PGE = 0: was not global */
}
END_TEST

START_TEST(rule_11_mov_cr3_drops_non_global)
{
	cache_old(0);
	expect_old();
	cr3(ROOT);
	expect_new();
}
END_TEST

START_TEST(rule_11_mov_cr3_with_pcid_drops_the_new_pcid_only)
{
	cr3(ROOT | 1);
	cache_old(0);
	cr3(ROOT | 2);
	expect_new();
	cr3(ROOT | 1 | X86_CR3_NO_FLUSH);
	expect_old();
	cr3(ROOT | 1);
	expect_new();
}
END_TEST

START_TEST(rule_11_cr4_changes)
{
	cache_old(G);
	cr4_toggle(X86_CR4_SMAP); /* nothing required */
	expect_old();
	cr4_toggle(X86_CR4_SMEP); /* 0 -> 1: all of the current PCID */
	expect_new();
	cache_old(0);
	cr4_toggle(X86_CR4_SMEP); /* 1 -> 0: nothing */
	expect_old();
	cr3(ROOT | 3);
	cr3(ROOT | X86_CR3_NO_FLUSH);
	expect_old();
	cr4_toggle(X86_CR4_PCIDE); /* 1 -> 0: everything */
	expect_new();
}
END_TEST

START_TEST(rule_11_efer_and_wp_keep_what_is_cached)
{
	cache_old(0);
	ck_assert_uint_eq(mmu_write_efer(b.cpu, X86_EFER_LME | X86_EFER_NXE).vector, 0);
	expect_old();
	ck_assert_uint_eq(mmu_write_cr0(b.cpu, b.state.cr0 ^ X86_CR0_WP).vector, 0);
	expect_old();
}
END_TEST

START_TEST(rule_11_invlpg_drops_current_and_global_and_every_psc)
{
	cache_old(G);
	mmu_invlpg(b.cpu, (struct vaddr){ VA + 0xfff });
	expect_new();
	cr3(ROOT | 1);
	cache_old(0);
	cr3(ROOT | 2);
	mmu_invlpg(b.cpu, (struct vaddr){ VA });
	cr3(ROOT | 1 | X86_CR3_NO_FLUSH);
	expect_old(); /* of another PCID */
	mmu_reset_statistics(b.cpu);
	mmu_invlpg(b.cpu, (struct vaddr){ 0x7f0000000000 }); /* elsewhere: all of the PSCs */
	expect_old();
	expect_pf(&b, VA + 0x1000, MMU_READ, MMU_USER, X86_PF_U);
	ck_assert_uint_eq(stats_of(&b).entry_reads, 4);
}
END_TEST

START_TEST(rule_11_2_entries_carry_their_pcid_and_global_ones_match_all)
{
	cr3(ROOT | 1);
	cache_old(0);
	cr3(ROOT | 2 | X86_CR3_NO_FLUSH);
	expect_new(); /* entries of PCID 1 are not for PCID 2 */
	cr3(ROOT | 1 | X86_CR3_NO_FLUSH);
	cache_old(G);
	cr3(ROOT | 2 | X86_CR3_NO_FLUSH);
	expect_old();
	cr3(ROOT);
	cr4_toggle(X86_CR4_PCIDE); /* everything goes, and PCID 0 is all there is */
	cache_old(0);
	expect_old();
}
END_TEST

START_TEST(rule_9_3_invlpg_of_a_non_canonical_address_does_nothing)
{
	cache_old(0);
	mmu_invlpg(b.cpu, (struct vaddr){ 1ull << 47 | VA });
	ck_assert_uint_eq(stats_of(&b).invlpg, 0);
	expect_old();
}
END_TEST

START_TEST(rule_11_invpcid_types)
{
	cache_old(0);
	invpcid(MMU_INVPCID_ADDRESS, 0);
	expect_new();
	cache_old(G);
	invpcid(MMU_INVPCID_ADDRESS, 0); /* not the global ones */
	invpcid(MMU_INVPCID_SINGLE, 0);
	invpcid(MMU_INVPCID_ALL, 0);
	expect_old();
	invpcid(MMU_INVPCID_ALL_GLOBAL, 0);
	expect_new();
	cr3(ROOT | 1);
	cache_old(0);
	invpcid(MMU_INVPCID_SINGLE, 2);
	expect_old();
	invpcid(MMU_INVPCID_ALL, 0);
	expect_new();
}
END_TEST

START_TEST(rule_6_4_a_page_fault_drops_what_it_used)
{
	bench_map64(&b, VA, 0, PWU, OLD | P | U | A);
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD);
	bench_map64(&b, VA, 0, PWU, OLD | PWU | A);
	/* 12.1: one spurious fault after a gain of rights, no second one */
	expect_pf(&b, VA, MMU_WRITE, MMU_USER, X86_PF_P | X86_PF_W | X86_PF_U);
	expect_at(&b, VA, MMU_WRITE, MMU_USER, OLD);
}
END_TEST

START_TEST(rule_12_1_making_present_needs_no_invalidation)
{
	bench_map64(&b, VA, 0, PWU, OLD | PWU);
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD);
	expect_pf(&b, OTHER, MMU_READ, MMU_USER, X86_PF_U);
	bench_map64(&b, OTHER, 0, PWU, NEW | PWU);
	expect_at(&b, OTHER, MMU_READ, MMU_USER, NEW);
}
END_TEST

START_TEST(paging_off_drops_everything)
{
	cache_old(G);
	cr4_toggle(X86_CR4_PCIDE);
	cache_old(G);
	mmu_set_code64(b.cpu, false);
	ck_assert_uint_eq(mmu_write_cr0(b.cpu, X86_CR0_PE).vector, 0);
	ck_assert_uint_eq(mmu_write_cr0(b.cpu, b.state.cr0).vector, 0);
	expect_new();
}
END_TEST

/* What software must invalidate: each change of a cached entry goes unseen until then. */
START_TEST(rule_12_2_changes_that_take_something_away_need_invlpg)
{
	static const struct {
		uint64_t before, after;
		unsigned kind, context;
		uint32_t vector; /* once invalidated */
	} changes[] = {
		{ OLD | PWU | D, 0, MMU_READ, MMU_USER, MMU_PF },
		{ OLD | PWU | D, OLD | P | U | D, MMU_WRITE, MMU_USER, MMU_PF },
		{ OLD | PWU, OLD | PWU | XD, MMU_FETCH, MMU_USER, MMU_PF },
		{ OLD | PWU, OLD | P | W, MMU_READ, MMU_USER, MMU_PF },
		{ OLD | PWU | D, OLD | PWU, MMU_WRITE, MMU_USER, MMU_NO_FAULT }, /* D again */
	};

	ck_assert_uint_eq(mmu_write_efer(b.cpu, X86_EFER_LME | X86_EFER_NXE).vector, 0);
	for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		uint64_t leaf = bench_map64(&b, VA, 0, PWU, changes[i].before);

		invpcid(MMU_INVPCID_ALL_GLOBAL, 0);
		expect_at(&b, VA, changes[i].kind, changes[i].context, OLD);
		bench_map64(&b, VA, 0, PWU, changes[i].after);
		expect_at(&b, VA, changes[i].kind, changes[i].context, OLD);
		ck_assert_uint_eq(entry_at(&b, leaf), changes[i].after);
		mmu_invlpg(b.cpu, (struct vaddr){ VA });
		ck_assert_uint_eq(touch(&b, VA, changes[i].kind, changes[i].context),
				  changes[i].vector);
		if (!changes[i].vector)
			ck_assert_uint_eq(entry_at(&b, leaf) & (A | D), A | D);
	}
}
END_TEST

START_TEST(rule_12_3_one_invlpg_a_pcid_frees_a_page_table)
{
	uint64_t pd, leaf = bench_map64(&b, VA, 0, PWU, OLD | PWU);

	bench_map64(&b, OTHER, 0, PWU, NEW | PWU);
	expect_at(&b, VA, MMU_READ, MMU_USER, OLD);
	pd = get64(&b, get64(&b, ROOT, 0) & ~0xfffull, 0) & ~0xfffull;
	put64(&b, pd, 0, 0);
	mmu_invlpg(b.cpu, (struct vaddr){ VA });
	memset(b.ram.bytes + (leaf & ~0xfffull), 0xff, 4096); /* somebody else's now */
	expect_pf(&b, OTHER, MMU_READ, MMU_USER, X86_PF_U);
	ck_assert_uint_eq(entry_at(&b, leaf), ~0ull);
}
END_TEST

START_TEST(rule_12_5_invlpg_is_ordered_after_earlier_stores)
{
	struct mmu_access write = { MMU_WRITE, MMU_USER, 0 };
	uint64_t entry = NEW | PWU, leaf;
	struct mmu_fault fault;

	cache_old(0);
	leaf = bench_map64(&b, VA, 0, PWU, OLD | PWU);
	bench_map64(&b, OTHER, 0, PWU, (leaf & ~0xfffull) | PWU); /* the table, to write to */
	ck_assert_uint_eq(mmu_write(b.cpu, (struct vaddr){ OTHER + (leaf & 0xfff) }, &entry, 8,
				    write, &fault),
			  0);
	mmu_invlpg(b.cpu, (struct vaddr){ VA });
	expect_new();
}
END_TEST

START_TEST(rule_12_4_a_shootdown_waits_until_it_is_taken)
{
	struct mmu_shootdown request = { MMU_SHOOT_PAGES, 0, { VA }, 1 };

	cache_old(0);
	expect_old();
	mmu_post_shootdown(b.cpu, &request);
	ck_assert_uint_eq(mmu_shootdowns_pending(b.cpu), 1);
	expect_new(); /* the next access takes it first */
	ck_assert_uint_eq(mmu_shootdowns_pending(b.cpu), 0);
	mmu_hold_shootdowns(b.cpu, true);
	cache_old(0);
	mmu_post_shootdown(b.cpu, &request);
	expect_old(); /* interrupts off: late */
	ck_assert_uint_eq(mmu_accept_shootdowns(b.cpu), 1);
	expect_new();
	for (unsigned i = 0; i < 40; i++)
		mmu_post_shootdown(b.cpu, &request);
	ck_assert_uint_eq(mmu_shootdowns_pending(b.cpu), 16);
	mmu_accept_shootdowns(b.cpu);
	ck_assert_uint_eq(stats_of(&b).shootdowns_posted, 42);
	mmu_hold_shootdowns(b.cpu, false);
	cache_old(G);
	expect_old();
	request.kind = MMU_SHOOT_ALL;
	mmu_post_shootdown(b.cpu, &request);
	expect_old();
	request.kind = MMU_SHOOT_ALL_GLOBAL;
	mmu_post_shootdown(b.cpu, &request);
	expect_new();
}
END_TEST

/* Every rule above that demands freshness holds without statistics too. */
START_TEST(without_statistics_required_invalidations_still_work)
{
	bench_fini(&b);
	bench_init(&b, "tiny");
	b.config.statistics = 0;
	free(b.cpu);
	b.cpu = bench_cpu(&b, 0);
	b.state = bench_state(MMU_MODE_4LEVEL);
	bench_load(&b);
	cache_old(0);
	expect_old();
	mmu_invlpg(b.cpu, (struct vaddr){ VA });
	expect_new();
	cache_old(0);
	cr3(ROOT);
	expect_new();
	bench_map64(&b, 0x200000, 1, PWU, PWU | PS);
	expect_at(&b, 0x201000, MMU_READ, MMU_USER, 0x1000);
	expect_at(&b, 0x3ff000, MMU_READ, MMU_USER, 0x1ff000);
	bench_map64(&b, 0x200000, 1, PWU, 0x200000 | PWU | PS);
	expect_at(&b, 0x201000, MMU_READ, MMU_USER, 0x1000);
	mmu_invlpg(b.cpu, (struct vaddr){ 0x280000 });
	expect_at(&b, 0x201000, MMU_READ, MMU_USER, 0x201000);
	expect_at(&b, 0x3ff000, MMU_READ, MMU_USER, 0x3ff000);
	ck_assert_uint_eq(mmu_write_cr4(b.cpu, b.state.cr4 | X86_CR4_SMAP).vector, 0);
	expect_pf(&b, 0x201000, MMU_READ, MMU_SUPERVISOR, X86_PF_P);
}
END_TEST

/* More pages than any structure holds, three times over, with entries dropped at any time: each
 * access still gives what memory says, as memory does not change. */
START_TEST(rule_11_3_spurious_invalidation_and_eviction_change_no_translation)
{
	static const unsigned policies[] = { MMU_LRU, MMU_PLRU, MMU_RANDOM };

	b.config.spurious_invalidation = 3;
	for (unsigned i = 0; i < MMU_CACHES; i++)
		b.config.cache[i].replacement = policies[_i];
	b.config.cache[MMU_L1D_4K].ways = 4;
	free(b.cpu);
	b.cpu = bench_cpu(&b, 0);
	bench_load(&b);
	for (unsigned page = 0; page < 300; page++)
		bench_map64(&b, page * 0x1000ull, 0, PWU, (page + 256) * 0x1000ull | PWU);
	for (unsigned n = 0; n < 3000; n++) {
		unsigned page = n * 7919 % 300;

		expect_at(&b, page * 0x1000ull, n % 5 ? MMU_READ : MMU_FETCH, MMU_USER,
			  (page + 256) * 0x1000ull);
	}
	ck_assert_uint_gt(stats_of(&b).spurious, 100);
	ck_assert_uint_gt(stats_of(&b).l1_evictions, 100);
}
END_TEST

/* Hand-worked: ways 0..3 filled in order; touching 0 turns the root and the left node away from
 * it, so the tree leads to way 2, where LRU would take way 1. */
START_TEST(tree_plru_takes_the_way_that_the_tree_leads_to)
{
	static const unsigned pages[] = { 0, 1, 2, 3, 0, 4 };

	b.config.cache[MMU_L1D_4K] =
		(struct mmu_cache_shape){ 1, 4, 1u << MMU_4K, _i ? MMU_PLRU : MMU_LRU };
	free(b.cpu);
	b.cpu = bench_cpu(&b, 0);
	bench_load(&b);
	for (unsigned page = 0; page < 5; page++)
		bench_map64(&b, page * 0x1000ull, 0, PWU, OLD | PWU);
	for (unsigned i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		expect_at(&b, pages[i] * 0x1000ull, MMU_READ, MMU_USER, OLD);
	mmu_reset_statistics(b.cpu);
	expect_at(&b, 0x1000, MMU_READ, MMU_USER, OLD);
	ck_assert_uint_eq(stats_of(&b).l1_data_misses, _i ? 0 : 1);
}
END_TEST

static void count_visit(void *context, struct vaddr va, unsigned pcid,
			const struct mmu_entry *entry)
{
	ck_assert_uint_eq(va.a, 0xffff800000001000);
	ck_assert_uint_eq(pcid, 5);
	ck_assert_uint_eq(entry->page.a, OLD);
	++*(unsigned *)context;
}

START_TEST(a_visitor_sees_what_is_cached)
{
	unsigned seen = 0;

	cr3(ROOT | 5);
	bench_map64(&b, 0xffff800000001000, 0, PWU, OLD | PWU);
	expect_at(&b, 0xffff800000001000, MMU_READ, MMU_USER, OLD);
	mmu_visit_cached(b.cpu, MMU_L1D_4K, count_visit, &seen);
	mmu_visit_cached(b.cpu, MMU_L2_TLB, count_visit, &seen);
	mmu_visit_cached(b.cpu, MMU_L1I_4K, count_visit, &seen);
	ck_assert_uint_eq(seen, 2);
}
END_TEST

START_TEST(cycles_are_counts_times_weights)
{
	struct mmu_statistics s;

	bench_map64(&b, VA, 0, PWU, OLD | PWU);
	mmu_reset_statistics(b.cpu);
	expect_at(&b, VA, MMU_WRITE, MMU_USER, OLD);
	expect_at(&b, VA, MMU_WRITE, MMU_USER, OLD);
	s = stats_of(&b);
	/* tiny: 2 look-ups of 1, an L1 miss of 7, a walk of 10, 4 reads and 5 A/D bits of 20 */
	ck_assert_uint_eq(mmu_cycles(&s, &b.config.weights), 2 + 7 + 10 + 4 * 20 + 5 * 20);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mmu rules: caching");
	TCase *tc = tcase_create("caching");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, rule_6_4_a_page_fault_drops_what_it_used);
	tcase_add_test(tc, rule_9_3_invlpg_of_a_non_canonical_address_does_nothing);
	tcase_add_test(tc, rule_10_1_nothing_is_cached_of_a_faulting_walk);
	tcase_add_test(tc, rule_10_2_data_and_code_tlbs_are_separate);
	tcase_add_test(tc, rule_10_3_invlpg_drops_all_pieces_of_a_large_page);
	tcase_add_test(tc, rule_10_4_a_walk_may_begin_below_a_cached_entry);
	tcase_add_test(tc, rule_10_4_cached_upper_rights_count);
	tcase_add_test(tc, rule_10_5_a_page_size_changed_in_place_is_not_seen);
	tcase_add_test(tc, rule_10_6_global_needs_pge_and_survives_cr3);
	tcase_add_test(tc, rule_11_mov_cr3_drops_non_global);
	tcase_add_test(tc, rule_11_mov_cr3_with_pcid_drops_the_new_pcid_only);
	tcase_add_test(tc, rule_11_cr4_changes);
	tcase_add_test(tc, rule_11_efer_and_wp_keep_what_is_cached);
	tcase_add_test(tc, rule_11_invlpg_drops_current_and_global_and_every_psc);
	tcase_add_test(tc, rule_11_invpcid_types);
	tcase_add_test(tc, rule_11_2_entries_carry_their_pcid_and_global_ones_match_all);
	tcase_add_test(tc, rule_12_1_making_present_needs_no_invalidation);
	tcase_add_test(tc, rule_12_2_changes_that_take_something_away_need_invlpg);
	tcase_add_test(tc, rule_12_3_one_invlpg_a_pcid_frees_a_page_table);
	tcase_add_test(tc, rule_12_5_invlpg_is_ordered_after_earlier_stores);
	tcase_add_test(tc, rule_12_4_a_shootdown_waits_until_it_is_taken);
	tcase_add_test(tc, paging_off_drops_everything);
	tcase_add_test(tc, without_statistics_required_invalidations_still_work);
	tcase_add_loop_test(tc, rule_11_3_spurious_invalidation_and_eviction_change_no_translation,
			    0, 3);
	tcase_add_loop_test(tc, tree_plru_takes_the_way_that_the_tree_leads_to, 0, 2);
	tcase_add_test(tc, a_visitor_sees_what_is_cached);
	tcase_add_test(tc, cycles_are_counts_times_weights);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
