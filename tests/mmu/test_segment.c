/*
 * Rules 15.1-15.11: i386 segmentation. 10,000 recorded cases are in test_vectors.c; here is what
 * they do not reach. The number of its rule is in each test's name.
 */
#include "mmu/segment.h"
#include "tests/mmu/bench.h"

#define GDT	 0x10000u
#define CODE	 (MMU_DESC_S | MMU_DESC_P | MMU_DESC_CODE)
#define DATA	 (MMU_DESC_S | MMU_DESC_P)
#define WRITABLE MMU_DESC_WRITE_READ
#define DPL3	 (3ull << 45)
#define LDT_TYPE (2ull << 40 | MMU_DESC_P)
#define ACCESSED MMU_DESC_ACCESSED

static struct bench b;
static struct mmu_segments s;
static struct mmu_fault fault;

static uint64_t descriptor(uint32_t base, uint32_t raw_limit, uint64_t flags)
{
	return (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(base >> 24) << 56 |
	       (raw_limit & 0xffff) | (uint64_t)(raw_limit >> 16) << 48 | flags;
}

static void setup(void)
{
	bench_init(&b, "tiny");
	mmu_segments_init(&s, GDT, 15 * 8 - 1);
	put64(&b, GDT, 1, descriptor(0, 0xfffff, DATA | WRITABLE | MMU_DESC_G | MMU_DESC_BIG));
	put64(&b, GDT, 2, descriptor(0x1000, 0x0fff, DATA | WRITABLE | DPL3));
	put64(&b, GDT, 3, descriptor(0x1000, 0x0fff, DATA | WRITABLE | MMU_DESC_DOWN_CONF));
	put64(&b, GDT, 4, descriptor(0, 0xffff, CODE));
	put64(&b, GDT, 5, descriptor(GDT + 0x100, 0xf, LDT_TYPE));
	put64(&b, GDT, 6, descriptor(0, 0xffff, (DATA | WRITABLE) & ~MMU_DESC_P));
	put64(&b, GDT, 7, descriptor(0xfffff000, 0xfffff, DATA | WRITABLE | MMU_DESC_G));
	put64(&b, GDT, 8, descriptor(0, 0xffff, DATA));
	put64(&b, GDT + 0x100, 1, descriptor(0x2000, 0xff, DATA | WRITABLE));
}

static void teardown(void)
{
	bench_fini(&b);
}

static uint32_t load(enum mmu_segment_name name, uint16_t selector)
{
	return mmu_segment_load(&s, b.cpu, name, selector, &fault);
}

static uint32_t use(enum mmu_segment_name name, uint32_t offset, uint32_t bytes, enum mmu_kind kind,
		    uint64_t want)
{
	struct vaddr linear = { 0 };
	uint32_t vector = mmu_segment_linear(&s, b.cpu, name, offset, bytes, kind, &linear);

	if (vector == 0)
		ck_assert_uint_eq(linear.a, want);
	return vector;
}

START_TEST(rule_15_1_the_sum_wraps_at_4_gib)
{
	ck_assert_uint_eq(load(MMU_SEG_DS, 7 * 8), 0);
	ck_assert_uint_eq(use(MMU_SEG_DS, 0x2000, 4, MMU_READ, 0x1000), 0);
}
END_TEST

START_TEST(rule_15_2_g_scales_the_limit_and_fills_it_with_ones)
{
	put64(&b, GDT, 2, descriptor(0x1000, 1, DATA | WRITABLE | DPL3 | MMU_DESC_G));
	ck_assert_uint_eq(load(MMU_SEG_DS, 2 * 8), 0);
	ck_assert_uint_eq(use(MMU_SEG_DS, 0x1fff, 1, MMU_READ, 0x2fff), 0);
	ck_assert_uint_eq(use(MMU_SEG_DS, 0x2000, 1, MMU_READ, 0), MMU_GP);
	put64(&b, GDT, 2, descriptor(0x1000, 1, DATA | WRITABLE | DPL3)); /* G = 0: bytes */
	ck_assert_uint_eq(load(MMU_SEG_DS, 2 * 8), 0);
	ck_assert_uint_eq(use(MMU_SEG_DS, 1, 1, MMU_READ, 0x1001), 0);
	ck_assert_uint_eq(use(MMU_SEG_DS, 2, 1, MMU_READ, 0), MMU_GP);
}
END_TEST

START_TEST(rule_15_3_the_last_byte_decides)
{
	ck_assert_uint_eq(load(MMU_SEG_DS, 2 * 8), 0);
	ck_assert_uint_eq(use(MMU_SEG_DS, 0xffc, 4, MMU_READ, 0x1ffc), 0);
	ck_assert_uint_eq(use(MMU_SEG_DS, 0xffd, 4, MMU_READ, 0), MMU_GP);
}
END_TEST

START_TEST(rule_15_4_expand_down_begins_above_its_limit)
{
	ck_assert_uint_eq(load(MMU_SEG_SS, 3 * 8), 0);
	ck_assert_uint_eq(use(MMU_SEG_SS, 0x0fff, 1, MMU_WRITE, 0), MMU_SS); /* 15.6 */
	ck_assert_uint_eq(use(MMU_SEG_SS, 0x1000, 1, MMU_WRITE, 0x2000), 0);
	ck_assert_uint_eq(use(MMU_SEG_SS, 0xfffe, 2, MMU_WRITE, 0x10ffe), 0);
	ck_assert_uint_eq(use(MMU_SEG_SS, 0xffff, 2, MMU_WRITE, 0), MMU_SS);
}
END_TEST

START_TEST(rule_15_5_types)
{
	ck_assert_uint_eq(load(MMU_SEG_DS, 8 * 8), 0);
	ck_assert_uint_eq(use(MMU_SEG_DS, 0, 1, MMU_READ, 0), 0);
	ck_assert_uint_eq(use(MMU_SEG_DS, 0, 1, MMU_WRITE, 0), MMU_GP);
	ck_assert_uint_eq(use(MMU_SEG_DS, 0, 1, MMU_RMW, 0), MMU_GP);
	mmu_segment_force(&s, MMU_SEG_CS, 0x20, get64(&b, GDT, 4));
	ck_assert_uint_eq(use(MMU_SEG_CS, 0x10, 1, MMU_FETCH, 0x10), 0);
	ck_assert_uint_eq(use(MMU_SEG_CS, 0x10, 1, MMU_READ, 0), MMU_GP); /* execute only */
}
END_TEST

START_TEST(rule_15_6_the_stack_segment_has_a_vector_of_its_own)
{
	put64(&b, GDT, 2, descriptor(0x1000, 0x0fff, DATA | WRITABLE));
	ck_assert_uint_eq(load(MMU_SEG_SS, 2 * 8), 0);
	ck_assert_uint_eq(load(MMU_SEG_DS, 2 * 8), 0);
	mmu_reset_statistics(b.cpu);
	ck_assert_uint_eq(use(MMU_SEG_SS, 0x0ffd, 4, MMU_READ, 0), MMU_SS);
	ck_assert_uint_eq(use(MMU_SEG_DS, 0x0ffd, 4, MMU_READ, 0), MMU_GP);
	ck_assert_uint_eq(stats_of(&b).data_lookups, 0); /* paging was not asked */
}
END_TEST

START_TEST(rule_15_7_loads)
{
	ck_assert_uint_eq(load(MMU_SEG_ES, 3), 0); /* null */
	ck_assert_uint_eq(use(MMU_SEG_ES, 0, 1, MMU_READ, 0), MMU_GP);
	ck_assert_uint_eq(load(MMU_SEG_SS, 0), MMU_GP);
	ck_assert_uint_eq(fault.error_code, 0);
	ck_assert_uint_eq(load(MMU_SEG_DS, 15 * 8 + 1), MMU_GP); /* beyond the table */
	ck_assert_uint_eq(fault.error_code, 15 * 8);
	ck_assert_uint_eq(load(MMU_SEG_DS, 1 * 8 | 3), MMU_GP); /* DPL 0 < RPL 3 */
	ck_assert_uint_eq(load(MMU_SEG_DS, 4 * 8), MMU_GP);	/* code that cannot be read */
	ck_assert_uint_eq(load(MMU_SEG_DS, 6 * 8), MMU_NP);
	ck_assert_uint_eq(load(MMU_SEG_SS, 6 * 8), MMU_SS);
	ck_assert_uint_eq(fault.error_code, 6 * 8);
	ck_assert_uint_eq(load(MMU_SEG_SS, 8 * 8), MMU_GP); /* not writable */
	ck_assert_uint_eq(load(MMU_SEG_SS, 2 * 8), MMU_GP); /* DPL 3, CPL 0 */
	ck_assert_uint_eq(load(MMU_SEG_CS, 4 * 8), MMU_UD);
	ck_assert(!s.segment[MMU_SEG_SS].usable);
}
END_TEST

START_TEST(rule_15_7_through_an_ldt)
{
	ck_assert_uint_eq(load(MMU_SEG_DS, 1 * 8 | 4), MMU_GP);
	ck_assert_uint_eq(fault.error_code, 1 * 8 | 4); /* 15.10: TI is kept */
	ck_assert_uint_eq(mmu_segment_load_ldt(&s, b.cpu, 1 * 8, &fault), MMU_GP);
	ck_assert_uint_eq(mmu_segment_load_ldt(&s, b.cpu, 5 * 8, &fault), 0);
	ck_assert_uint_eq(load(MMU_SEG_DS, 1 * 8 | 4), 0);
	ck_assert_uint_eq(use(MMU_SEG_DS, 0x10, 1, MMU_READ, 0x2010), 0);
	ck_assert_uint_eq(load(MMU_SEG_DS, 2 * 8 | 4), MMU_GP);
	ck_assert_uint_eq(mmu_segment_load_ldt(&s, b.cpu, 0, &fault), 0);
	ck_assert_uint_eq(load(MMU_SEG_DS, 1 * 8 | 4), MMU_GP);
}
END_TEST

START_TEST(rule_15_10_selectors_reach_8192_descriptors_and_name_them_in_errors)
{
	s.gdt.limit = 0xffff;
	put64(&b, GDT, 8191, descriptor(0x3000, 0xff, DATA | WRITABLE | DPL3));
	ck_assert_uint_eq(load(MMU_SEG_DS, 0xfff8 | 3), 0);
	ck_assert_uint_eq(use(MMU_SEG_DS, 0x10, 1, MMU_READ, 0x3010), 0);
	put64(&b, GDT, 8191, 0);
	ck_assert_uint_eq(load(MMU_SEG_DS, 0xfff8 | 3), MMU_GP);
	ck_assert_uint_eq(fault.error_code, 0xfff8); /* without the RPL */
}
END_TEST

START_TEST(rule_15_8_a_load_sets_accessed_by_an_implicit_write)
{
	uint64_t pt = bench_table(&b);

	put32(&b, ROOT, 0, pt | P | W);
	put32(&b, pt, GDT >> 12, GDT | P);
	bench_mode(&b, MMU_MODE_32BIT);
	s.cpl = 3;
	ck_assert_uint_eq(load(MMU_SEG_DS, 2 * 8 | 3), MMU_PF); /* the GDT is read-only, WP = 1 */
	ck_assert_uint_eq(fault.error_code, X86_PF_P | X86_PF_W);
	ck_assert_uint_eq(fault.cr2.a, GDT + 2 * 8 + 5);
	put32(&b, pt, GDT >> 12, GDT | P | W);
	mmu_invlpg(b.cpu, (struct vaddr){ GDT });
	ck_assert_uint_eq(load(MMU_SEG_DS, 2 * 8 | 3), 0);
	ck_assert_uint_eq(get64(&b, GDT, 2) & ACCESSED, ACCESSED);
	ck_assert_uint_eq(get32(&b, pt, GDT >> 12) & D, D);
	put32(&b, pt, GDT >> 12, GDT | P); /* accessed already: no write */
	mmu_invlpg(b.cpu, (struct vaddr){ GDT });
	ck_assert_uint_eq(load(MMU_SEG_DS, 2 * 8 | 3), 0);
}
END_TEST

START_TEST(rule_15_9_loaded_registers_do_not_see_edited_descriptors)
{
	ck_assert_uint_eq(load(MMU_SEG_DS, 2 * 8), 0);
	put64(&b, GDT, 2, 0);
	ck_assert_uint_eq(use(MMU_SEG_DS, 0x10, 4, MMU_WRITE, 0x1010), 0);
	ck_assert_uint_eq(load(MMU_SEG_DS, 2 * 8), MMU_GP);
	ck_assert_uint_eq(use(MMU_SEG_DS, 0x10, 4, MMU_WRITE, 0x1010), 0); /* as it was */
}
END_TEST

START_TEST(rule_15_11_in_64bit_code_only_fs_and_gs_have_a_base)
{
	ck_assert_uint_eq(load(MMU_SEG_DS, 2 * 8), 0);
	ck_assert_uint_eq(load(MMU_SEG_FS, 2 * 8), 0);
	bench_mode(&b, MMU_MODE_4LEVEL);
	ck_assert_uint_eq(use(MMU_SEG_DS, 0x5000, 4, MMU_WRITE, 0x5000), 0);
	ck_assert_uint_eq(use(MMU_SEG_FS, 0x5000, 4, MMU_WRITE, 0x6000), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mmu: segmentation");
	TCase *tc = tcase_create("segments");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, rule_15_1_the_sum_wraps_at_4_gib);
	tcase_add_test(tc, rule_15_2_g_scales_the_limit_and_fills_it_with_ones);
	tcase_add_test(tc, rule_15_3_the_last_byte_decides);
	tcase_add_test(tc, rule_15_4_expand_down_begins_above_its_limit);
	tcase_add_test(tc, rule_15_5_types);
	tcase_add_test(tc, rule_15_6_the_stack_segment_has_a_vector_of_its_own);
	tcase_add_test(tc, rule_15_7_loads);
	tcase_add_test(tc, rule_15_7_through_an_ldt);
	tcase_add_test(tc, rule_15_8_a_load_sets_accessed_by_an_implicit_write);
	tcase_add_test(tc, rule_15_9_loaded_registers_do_not_see_edited_descriptors);
	tcase_add_test(tc, rule_15_10_selectors_reach_8192_descriptors_and_name_them_in_errors);
	tcase_add_test(tc, rule_15_11_in_64bit_code_only_fs_and_gs_have_a_base);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
