/*
 * Rules 1.3, 8, 11.1: what control registers accept. The number of its rule is in each test's name.
 */
#include "tests/mmu/bench.h"

#define CR0_LONG (X86_CR0_PE | X86_CR0_PG | X86_CR0_WP)

static struct bench b;

static void setup(void)
{
	bench_init(&b, "tiny");
}

static void teardown(void)
{
	bench_fini(&b);
}

/* A refused write leaves everything as it was. */
static void expect_gp(struct mmu_fault fault)
{
	struct mmu_state state = mmu_save_state(b.cpu);

	ck_assert_uint_eq(fault.vector, MMU_GP);
	ck_assert_uint_eq(fault.error_code, 0);
	ck_assert_int_eq(memcmp(&state, &b.state, sizeof(state)), 0);
}

static void expect_ok(struct mmu_fault fault)
{
	ck_assert_uint_eq(fault.vector, MMU_NO_FAULT);
	b.state = mmu_save_state(b.cpu);
}

static void start(enum mmu_mode mode)
{
	bench_mode(&b, mode);
	b.state = mmu_save_state(b.cpu);
}

START_TEST(rule_1_2_into_long_mode_and_out_again)
{
	start(MMU_MODE_NONE);
	expect_ok(mmu_write_cr4(b.cpu, X86_CR4_PAE));
	expect_ok(mmu_write_efer(b.cpu, X86_EFER_LME));
	ck_assert_uint_eq(mmu_read_efer(b.cpu), X86_EFER_LME);
	expect_ok(mmu_write_cr0(b.cpu, CR0_LONG));
	ck_assert_uint_eq(mmu_read_efer(b.cpu), X86_EFER_LME | X86_EFER_LMA);
	ck_assert_uint_eq(mmu_mode(b.cpu), MMU_MODE_4LEVEL);
	expect_ok(mmu_write_cr0(b.cpu, X86_CR0_PE));
	ck_assert_uint_eq(mmu_mode(b.cpu), MMU_MODE_NONE);
	ck_assert_uint_eq(mmu_read_efer(b.cpu), X86_EFER_LME);
	expect_ok(mmu_write_cr4(b.cpu, X86_CR4_PAE | X86_CR4_LA57));
	expect_ok(mmu_write_cr0(b.cpu, CR0_LONG));
	ck_assert_uint_eq(mmu_mode(b.cpu), MMU_MODE_5LEVEL);
}
END_TEST

START_TEST(rule_1_3_paging_needs_protection_and_long_mode_needs_pae)
{
	start(MMU_MODE_NONE);
	expect_gp(mmu_write_cr0(b.cpu, X86_CR0_PG));
	expect_gp(mmu_write_cr0(b.cpu, X86_CR0_PE | X86_CR0_NW));
	expect_ok(mmu_write_efer(b.cpu, X86_EFER_LME));
	expect_gp(mmu_write_cr0(b.cpu, CR0_LONG));
}
END_TEST

START_TEST(rule_1_3_pae_la57_and_lme_are_fixed_in_long_mode)
{
	start(MMU_MODE_4LEVEL);
	expect_gp(mmu_write_cr4(b.cpu, b.state.cr4 & ~X86_CR4_PAE));
	expect_gp(mmu_write_cr4(b.cpu, b.state.cr4 | X86_CR4_LA57));
	expect_gp(mmu_write_efer(b.cpu, 0));
	expect_ok(mmu_write_efer(b.cpu, X86_EFER_LME | X86_EFER_NXE));
}
END_TEST

START_TEST(rule_1_3_paging_cannot_go_off_in_64bit_code_or_with_pcids)
{
	start(MMU_MODE_4LEVEL);
	expect_gp(mmu_write_cr0(b.cpu, X86_CR0_PE));
	expect_ok(mmu_write_cr4(b.cpu, b.state.cr4 | X86_CR4_PCIDE));
	mmu_set_code64(b.cpu, false);
	b.state = mmu_save_state(b.cpu);
	expect_gp(mmu_write_cr0(b.cpu, X86_CR0_PE));
}
END_TEST

START_TEST(rule_1_3_pcide_needs_long_mode_and_a_clear_cr3)
{
	start(MMU_MODE_32BIT);
	expect_gp(mmu_write_cr4(b.cpu, X86_CR4_PCIDE));
	start(MMU_MODE_4LEVEL);
	expect_ok(mmu_write_cr3(b.cpu, ROOT | 0x18));
	expect_gp(mmu_write_cr4(b.cpu, b.state.cr4 | X86_CR4_PCIDE));
}
END_TEST

START_TEST(rule_1_3_reserved_bits)
{
	start(MMU_MODE_4LEVEL);
	expect_gp(mmu_write_cr0(b.cpu, b.state.cr0 | 1ull << 32));
	expect_gp(mmu_write_cr4(b.cpu, b.state.cr4 | 1ull << 15));
	expect_gp(mmu_write_cr3(b.cpu, ROOT | 1ull << b.config.maxphyaddr));
	expect_gp(mmu_write_cr3(b.cpu, ROOT | X86_CR3_NO_FLUSH));
	expect_gp(mmu_write_efer(b.cpu, b.state.efer | 1ull << 12));
	expect_gp(mmu_write_pkrs(b.cpu, 1ull << 32));
	expect_ok(mmu_write_cr4(b.cpu, b.state.cr4 | X86_CR4_PCIDE));
	expect_ok(mmu_write_cr3(b.cpu, ROOT | X86_CR3_NO_FLUSH | 5));
	ck_assert_uint_eq(mmu_read_cr3(b.cpu), ROOT | 5);
}
END_TEST

START_TEST(absent_features_reserve_their_bits)
{
	bench_fini(&b);
	bench_init(&b, "pentium");
	start(MMU_MODE_NONE);
	expect_gp(mmu_write_cr4(b.cpu, X86_CR4_PAE));
	expect_gp(mmu_write_cr4(b.cpu, X86_CR4_PGE));
	expect_gp(mmu_write_efer(b.cpu, X86_EFER_NXE));
	expect_gp(mmu_write_pkrs(b.cpu, 0));
	expect_ok(mmu_write_cr4(b.cpu, X86_CR4_PSE));
	ck_assert_uint_eq(mmu_invpcid(b.cpu, 2, 0, (struct vaddr){ 0 }).vector, MMU_UD);
}
END_TEST

START_TEST(wrpkru_is_undefined_without_pke)
{
	uint32_t value = 7;

	start(MMU_MODE_4LEVEL);
	ck_assert_uint_eq(mmu_write_pkru(b.cpu, 1).vector, MMU_UD);
	ck_assert_uint_eq(mmu_read_pkru(b.cpu, &value).vector, MMU_UD);
	expect_ok(mmu_write_cr4(b.cpu, b.state.cr4 | X86_CR4_PKE));
	expect_ok(mmu_write_pkru(b.cpu, 0x55));
	expect_ok(mmu_read_pkru(b.cpu, &value));
	ck_assert_uint_eq(value, 0x55);
}
END_TEST

/* A PDPT at ROOT: four 1 GiB regions, of which 0 and 3 lead to one directory with 2 MiB pages. */
static uint64_t make_pae(void)
{
	uint64_t directory = bench_table(&b);

	put64(&b, ROOT, 0, directory | P);
	put64(&b, ROOT, 3, directory | P);
	put64(&b, directory, 1, 0x200000 | PWU | PS);
	return directory;
}

START_TEST(rule_8_1_pdptes_are_latched_until_the_next_load)
{
	uint64_t directory = make_pae();

	start(MMU_MODE_PAE);
	expect_at(&b, 0x200123, MMU_READ, MMU_USER, 0x200123);
	put64(&b, ROOT, 0, 0);
	put64(&b, ROOT, 1, directory | P);
	mmu_invlpg(b.cpu, (struct vaddr){ 0x200000 });
	expect_at(&b, 0x200123, MMU_READ, MMU_USER, 0x200123); /* 8.3 */
	expect_pf(&b, 0x40200123, MMU_READ, MMU_USER, X86_PF_U);
	expect_ok(mmu_write_cr3(b.cpu, ROOT));
	expect_at(&b, 0x40200123, MMU_READ, MMU_USER, 0x200123);
	expect_pf(&b, 0x200123, MMU_READ, MMU_USER, X86_PF_U);
	ck_assert_uint_eq(get64(&b, ROOT, 1), directory | P); /* no A */
}
END_TEST

START_TEST(rule_8_1_toggling_pge_reloads_toggling_smap_does_not)
{
	uint64_t directory = make_pae();

	start(MMU_MODE_PAE);
	put64(&b, ROOT, 2, directory | P);
	expect_ok(mmu_write_cr4(b.cpu, b.state.cr4 | X86_CR4_SMAP));
	expect_pf(&b, 0x80200000, MMU_READ, MMU_USER, X86_PF_U);
	expect_ok(mmu_write_cr4(b.cpu, b.state.cr4 | X86_CR4_PGE));
	expect_at(&b, 0x80200000, MMU_READ, MMU_USER, 0x200000);
	put64(&b, ROOT, 2, 0);
	expect_ok(mmu_write_cr0(b.cpu, b.state.cr0 | X86_CR0_CD));
	mmu_invlpg(b.cpu, (struct vaddr){ 0x80200000 });
	expect_pf(&b, 0x80200000, MMU_READ, MMU_USER, X86_PF_U);
}
END_TEST

START_TEST(rule_8_2_a_reserved_bit_refuses_the_load)
{
	make_pae();
	start(MMU_MODE_PAE);
	put64(&b, ROOT, 1, bench_table(&b) | PWU);
	expect_gp(mmu_write_cr3(b.cpu, ROOT));
	expect_gp(mmu_write_cr4(b.cpu, b.state.cr4 | X86_CR4_PGE));
	expect_at(&b, 0x200000, MMU_READ, MMU_USER, 0x200000);
	put64(&b, ROOT, 1, ~P); /* not present: anything goes */
	expect_ok(mmu_write_cr3(b.cpu, ROOT));
}
END_TEST

START_TEST(rule_11_1_invpcid_checks_its_descriptor)
{
	struct vaddr bad = { 1ull << 47 };

	start(MMU_MODE_4LEVEL);
	expect_gp(mmu_invpcid(b.cpu, 4, 0, (struct vaddr){ 0 }));
	expect_gp(mmu_invpcid(b.cpu, 1, 1, (struct vaddr){ 0 })); /* PCIDE = 0 */
	expect_gp(mmu_invpcid(b.cpu, 0, 0, bad));
	expect_ok(mmu_invpcid(b.cpu, 1, 0, bad));
	expect_ok(mmu_write_cr4(b.cpu, b.state.cr4 | X86_CR4_PCIDE));
	expect_ok(mmu_invpcid(b.cpu, 1, 0xfff, bad));
	expect_gp(mmu_invpcid(b.cpu, 1, 0x1000, bad));
}
END_TEST

START_TEST(a_configuration_is_set_and_refused_by_field_name)
{
	struct mmu_config config = *mmu_preset("skylake");
	uint64_t value;

	ck_assert(mmu_config_set(&config, "l2_tlb.ways", 8));
	ck_assert_uint_eq(config.cache[MMU_L2_TLB].ways, 8);
	ck_assert(mmu_config_set(&config, "features.nx", 0));
	ck_assert(!mmu_config_set(&config, "features.nx", 2));
	ck_assert(!mmu_config_set(&config, "maxphyaddr", 53));
	ck_assert(!mmu_config_set(&config, "no.such.key", 1));
	for (unsigned i = 0; mmu_config_key(i) != NULL; i++) {
		ck_assert(mmu_config_get(&config, mmu_config_key(i), &value));
		if (strstr(mmu_config_key(i), ".sets") == NULL || value > 0)
			ck_assert(mmu_config_set(&config, mmu_config_key(i), value));
	}
	ck_assert_ptr_null(mmu_config_problem(&config));
	ck_assert(mmu_config_set(&config, "l1d_4k.sets", 3));
	ck_assert_ptr_nonnull(mmu_config_problem(&config));
	ck_assert_uint_eq(mmu_cpu_bytes(&config), 0);
	for (unsigned i = 0; mmu_preset_name(i) != NULL; i++)
		ck_assert_ptr_null(mmu_config_problem(mmu_preset(mmu_preset_name(i))));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mmu rules: control registers");
	TCase *tc = tcase_create("control");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, rule_1_2_into_long_mode_and_out_again);
	tcase_add_test(tc, rule_1_3_paging_needs_protection_and_long_mode_needs_pae);
	tcase_add_test(tc, rule_1_3_pae_la57_and_lme_are_fixed_in_long_mode);
	tcase_add_test(tc, rule_1_3_paging_cannot_go_off_in_64bit_code_or_with_pcids);
	tcase_add_test(tc, rule_1_3_pcide_needs_long_mode_and_a_clear_cr3);
	tcase_add_test(tc, rule_1_3_reserved_bits);
	tcase_add_test(tc, absent_features_reserve_their_bits);
	tcase_add_test(tc, wrpkru_is_undefined_without_pke);
	tcase_add_test(tc, rule_8_1_pdptes_are_latched_until_the_next_load);
	tcase_add_test(tc, rule_8_1_toggling_pge_reloads_toggling_smap_does_not);
	tcase_add_test(tc, rule_8_2_a_reserved_bit_refuses_the_load);
	tcase_add_test(tc, rule_11_1_invpcid_checks_its_descriptor);
	tcase_add_test(tc, a_configuration_is_set_and_refused_by_field_name);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
