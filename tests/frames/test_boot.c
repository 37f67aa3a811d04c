/*
 * Boot on the stub machine: where things end up, and page tables walked by hand, entry by entry.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "alloc/boot.h"
#include "alloc/frame/systems.h"
#include "tests/support/port_stub.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

/* A PC with 4 MiB: 640 KiB, the hole, 3 MiB with a reserved page near the end. */
static const struct firmware_range small_pc[] = {
	{ 0, KIB(636), 1, 0 },
	{ KIB(636), KIB(4), 2, 0 },
	{ MIB(1), MIB(3), 1, 0 },
	{ MIB(4) - KIB(16), KIB(4), 2, 0 },
};
#define SMALL_PC_LOADED ((struct frame_range){ { 300 }, 1 })

struct place {
	const char *name;
	enum boot_paging paging;
	uint64_t direct_map;
	uint64_t direct_map_bytes;
	uint32_t leaf;
};

static const struct place places[] = {
	{ "no paging", BOOT_PAGING_NONE, 0, GIB(4), 4096 },
	{ "i386, 4 KiB", BOOT_PAGING_32, 0xc0000000, MIB(768), 4096 },
	{ "i386, 4 MiB", BOOT_PAGING_32, 0xc0000000, MIB(768), 1u << 22 },
	{ "x86_64, 4 KiB", BOOT_PAGING_4LEVEL, 0xffff888000000000, GIB(64), 4096 },
	{ "x86_64, 2 MiB", BOOT_PAGING_4LEVEL, 0xffff888000000000, GIB(64), 1u << 21 },
	{ "x86_64, 1 GiB", BOOT_PAGING_4LEVEL, 0xffff888000000000, GIB(64), 1u << 30 },
};

/* Puts the loader's arrays where LOADED says and boots. */
static int boot_on(struct stub_machine *m, const struct place *p,
		   const struct firmware_range *entries, uint32_t count, struct frame_range loaded,
		   const struct frame_ops *ops, struct boot_result *result)
{
	char *at = m->boot_view + pfn_to_paddr(loaded.first).a;
	struct boot_params params = {
		.entries = (void *)at,
		.entry_count = count,
		.ranges = (void *)(at + count * sizeof(*entries)),
		.range_capacity = MEMMAP_RANGES_MAX(count) + 1,
		.loaded = loaded,
		.paging = p->paging,
		.direct_map = { p->direct_map },
		.direct_map_bytes = p->direct_map_bytes,
		.direct_leaf_bytes = p->leaf,
		.frames = ops,
	};

	frame_config_defaults(ops, &params.config);
	memcpy(m->ram + pfn_to_paddr(loaded.first).a, entries, count * sizeof(*entries));
	return boot(&params, result);
}

/* Where an address leads, by the tables in RAM; what the processor manual says and nothing more. */
struct mapping {
	bool present;
	uint64_t physical;
	uint64_t leaf_bytes;
	uint64_t entry;
};

static uint64_t ram_u32(const struct stub_machine *m, uint64_t pa)
{
	uint32_t value;

	memcpy(&value, m->ram + pa, sizeof(value));
	return value;
}

static uint64_t ram_u64(const struct stub_machine *m, uint64_t pa)
{
	uint64_t value;

	memcpy(&value, m->ram + pa, sizeof(value));
	return value;
}

static struct mapping walk_32(const struct stub_machine *m, uint64_t va)
{
	uint64_t pde = ram_u32(m, (m->cr3 & ~0xfffull) + (va >> 22) * 4);

	if (!(pde & 1))
		return (struct mapping){ 0 };
	if (pde & 0x80) {
		ck_assert(m->cr4 & X86_CR4_PSE);
		ck_assert_uint_eq(pde & 0x3fe000, 0);
		return (struct mapping){ true, (pde & 0xffc00000) | (va & 0x3fffff), 1u << 22,
					 pde };
	}
	uint64_t pte = ram_u32(m, (pde & 0xfffff000) + (va >> 12 & 1023) * 4);

	if (!(pte & 1))
		return (struct mapping){ 0 };
	return (struct mapping){ true, (pte & 0xfffff000) | (va & 0xfff), 4096, pte };
}

static struct mapping walk_4(const struct stub_machine *m, uint64_t va)
{
	uint64_t table = m->cr3 & 0xffffffffff000;

	for (int shift = 39; shift >= 12; shift -= 9) {
		uint64_t entry = ram_u64(m, table + (va >> shift & 511) * 8);
		uint64_t inside = (1ull << shift) - 1;

		if (!(entry & 1))
			return (struct mapping){ 0 };
		if (shift == 12 || (entry & 0x80)) {
			ck_assert_int_lt(shift, 39);
			ck_assert_uint_eq(entry & inside & 0xfffffffffe000, 0);
			return (struct mapping){ true,
						 (entry & 0xffffffffff000 & ~inside) |
							 (va & inside),
						 inside + 1, entry };
		}
		table = entry & 0xffffffffff000;
	}
	return (struct mapping){ 0 };
}

static struct mapping walk(const struct stub_machine *m, const struct place *p, uint64_t va)
{
	return p->paging == BOOT_PAGING_32 ? walk_32(m, va) : walk_4(m, va);
}

static bool frame_is_usable(const struct firmware_range *entries, uint32_t count, uint64_t frame)
{
	bool usable = false;

	for (uint32_t i = 0; i < count; i++) {
		const struct firmware_range *e = &entries[i];

		if (e->base >= (frame + 1) << 12 || e->base + e->bytes <= frame << 12)
			continue;
		if (e->type != MEMMAP_USABLE)
			return false;
		usable = true;
	}
	return usable && frame;
}

static void assert_direct_map(const struct stub_machine *m, const struct place *p,
			      const struct firmware_range *entries, uint32_t count)
{
	for (uint64_t frame = 0; frame < m->ram_bytes >> 12; frame++) {
		struct mapping got = walk(m, p, p->direct_map + (frame << 12) + 123);

		if (!frame_is_usable(entries, count, frame)) {
			ck_assert_msg(!got.present, "%s: hole frame %lu is mapped", p->name, frame);
			continue;
		}
		ck_assert_msg(got.present && got.physical == (frame << 12) + 123,
			      "%s: frame %lu: entry %lx", p->name, frame, got.entry);
		ck_assert_uint_le(got.leaf_bytes, p->leaf);
		ck_assert_msg(
			(got.entry & 0x17f) == (0x103 | (got.entry & 0x60)),
			"%s: frame %lu: entry %lx is not present, writable, supervisor, global",
			p->name, frame, got.entry);
		ck_assert_int_eq(got.entry >> 63, p->paging == BOOT_PAGING_4LEVEL);
	}
}

START_TEST(tables_map_usable_frames_and_no_hole)
{
	const struct place *p = &places[_i];
	struct stub_machine *m = stub_machine_new(MIB(4), (struct vaddr){ p->direct_map },
						  p->paging == BOOT_PAGING_4LEVEL);
	struct boot_result r;

	ck_assert_int_eq(boot_on(m, p, small_pc, 4, SMALL_PC_LOADED, &frame_bitmap, &r), 0);
	if (p->paging == BOOT_PAGING_NONE) {
		ck_assert_uint_eq(m->cr0 & X86_CR0_PG, 0);
		ck_assert_uint_eq(r.table_frames, 0);
	} else {
		assert_direct_map(m, p, small_pc, 4);
		ck_assert_uint_eq(m->cr3, r.top_table.a);
		ck_assert_uint_eq(m->cr0 & (X86_CR0_PG | X86_CR0_WP), X86_CR0_PG | X86_CR0_WP);
		ck_assert(m->cr4 & X86_CR4_PGE);
		if (p->paging == BOOT_PAGING_4LEVEL)
			ck_assert(m->efer & X86_EFER_NXE);
	}
	stub_machine_free(m);
}
END_TEST

START_TEST(every_frame_is_free_or_accounted_for)
{
	const struct place *p = &places[_i];
	struct stub_machine *m = stub_machine_new(MIB(4), (struct vaddr){ p->direct_map },
						  p->paging == BOOT_PAGING_4LEVEL);
	struct boot_result r;
	struct frame_stats stats;
	struct violation v;

	ck_assert_int_eq(boot_on(m, p, small_pc, 4, SMALL_PC_LOADED, &frame_bitmap, &r), 0);
	/* Expect 636 KiB less frame 0, and 3 MiB less the reserved page. */
	ck_assert_uint_eq(r.usable_frames, 158 + 768 - 1);
	ck_assert_uint_eq(r.map.frames + r.state_range.frames + r.table_frames + 1,
			  r.usable_frames);
	r.frames.ops->stats(r.frames.state, &stats);
	ck_assert_uint_eq(stats.managed_frames, r.map.frames);
	ck_assert_uint_eq(stats.free_frames, r.map.frames);
	ck_assert_int_eq(r.frames.ops->check(r.frames.state, &v), 0);
	ck_assert(!memmap_find(&r.map, SMALL_PC_LOADED.first));
	ck_assert(!memmap_find(&r.map, r.state_range.first));
	/* Low memory stays free: the state and the tables lie above 1 MiB. */
	ck_assert_uint_eq(r.map.first.n, 1);
	ck_assert_uint_eq(r.map.ranges[0].frames, 158);
	stub_machine_free(m);
}
END_TEST

START_TEST(large_leaves_serve_the_middle_of_a_range)
{
	/* 64 MiB with ragged ends: 3 MiB + 4 KiB ... 61 MiB - 4 KiB. */
	static const struct firmware_range ragged[] = { { MIB(3) + KIB(4), MIB(58) - KIB(8), 1,
							  0 } };
	const struct place *p = &places[2];
	struct stub_machine *m = stub_machine_new(MIB(64), (struct vaddr){ p->direct_map }, false);
	struct boot_result r;

	ck_assert_int_eq(
		boot_on(m, p, ragged, 1, (struct frame_range){ { 1000 }, 1 }, &frame_bitmap, &r),
		0);
	ck_assert_uint_eq(walk_32(m, p->direct_map + MIB(4)).leaf_bytes, 1u << 22);
	ck_assert_uint_eq(walk_32(m, p->direct_map + MIB(60) - 1).leaf_bytes, 1u << 22);
	ck_assert_uint_eq(walk_32(m, p->direct_map + MIB(60)).leaf_bytes, 4096);
	ck_assert_uint_eq(walk_32(m, p->direct_map + MIB(3) + KIB(4)).leaf_bytes, 4096);
	ck_assert(!walk_32(m, p->direct_map + MIB(3)).present);
	ck_assert(!walk_32(m, p->direct_map + MIB(61) - KIB(4)).present);
	/* Top table, and one for each ragged end. */
	ck_assert_uint_eq(r.table_frames, 3);
	stub_machine_free(m);
}
END_TEST

START_TEST(gigabyte_leaves_fall_back_to_two_mebibytes)
{
	static const struct firmware_range big[] = { { MIB(2), GIB(3) - MIB(2), 1, 0 },
						     { GIB(4), GIB(2), 1, 0 } };
	const struct place *p = &places[5];
	struct stub_machine *m = stub_machine_new(GIB(6), (struct vaddr){ p->direct_map }, true);
	struct boot_result r;

	ck_assert_int_eq(
		boot_on(m, p, big, 2, (struct frame_range){ { 1024 }, 1 }, &frame_bitmap, &r), 0);
	ck_assert_uint_eq(walk_4(m, p->direct_map + MIB(2)).leaf_bytes, MIB(2));
	ck_assert_uint_eq(walk_4(m, p->direct_map + GIB(1)).leaf_bytes, GIB(1));
	ck_assert_uint_eq(walk_4(m, p->direct_map + GIB(5)).physical, GIB(5));
	ck_assert(!walk_4(m, p->direct_map + GIB(3)).present);
	ck_assert(!walk_4(m, p->direct_map + MIB(1)).present);
	ck_assert_uint_eq(r.table_frames, 3);
	stub_machine_free(m);
}
END_TEST

START_TEST(ram_above_the_direct_map_is_left_alone)
{
	static const struct firmware_range two[] = { { MIB(1), MIB(15), 1, 0 },
						     { GIB(1), MIB(16), 1, 0 } };
	const struct place *p = &places[1];
	struct stub_machine *m =
		stub_machine_new(GIB(1) + MIB(16), (struct vaddr){ p->direct_map }, false);
	struct boot_result r;

	ck_assert_int_eq(
		boot_on(m, p, two, 2, (struct frame_range){ { 1024 }, 1 }, &frame_bitmap, &r), 0);
	ck_assert_uint_eq(r.usable_frames, 15 * 256);
	ck_assert_uint_le(r.map.end.n, 4096);
	stub_machine_free(m);
}
END_TEST

START_TEST(loaded_frames_outside_usable_ram_are_mapped_too)
{
	const struct place *p = &places[_i];
	struct stub_machine *m = stub_machine_new(MIB(4), (struct vaddr){ p->direct_map },
						  p->paging == BOOT_PAGING_4LEVEL);
	static const struct firmware_range half[] = { { MIB(1), MIB(2), 1, 0 } };
	struct boot_result r;
	struct violation v;

	ck_assert_int_eq(
		boot_on(m, p, half, 1, (struct frame_range){ { 1000 }, 2 }, &frame_bitmap, &r), 0);
	ck_assert_int_eq(r.frames.ops->check(r.frames.state, &v), 0);
	if (p->paging != BOOT_PAGING_NONE) {
		ck_assert_uint_eq(walk(m, p, p->direct_map + 1000 * 4096).physical, 1000 * 4096);
		ck_assert_uint_eq(walk(m, p, p->direct_map + 1001 * 4096).physical, 1001 * 4096);
		ck_assert(!walk(m, p, p->direct_map + 1002 * 4096).present);
	}
	stub_machine_free(m);
}
END_TEST

START_TEST(too_little_ram_is_refused_with_a_reason)
{
	const struct place *p = &places[1];
	static const struct firmware_range tiny[] = { { MIB(1), KIB(8), 1, 0 } };
	struct stub_machine *m = stub_machine_new(MIB(4), (struct vaddr){ p->direct_map }, false);
	struct boot_result r;

	ck_assert_int_eq(
		boot_on(m, p, tiny, 1, (struct frame_range){ { 1000 }, 1 }, &frame_bitmap, &r),
		KERR_TOO_SMALL);
	ck_assert_str_eq(r.why, "boot: RAM does not hold the page tables");
	ck_assert_int_eq(
		boot_on(m, p, tiny, 0, (struct frame_range){ { 1000 }, 1 }, &frame_bitmap, &r),
		KERR_TOO_SMALL);
	ck_assert_str_eq(r.why, "boot: no usable RAM");
	stub_machine_free(m);
}
END_TEST

START_TEST(impossible_leaf_sizes_are_invalid)
{
	struct place p = places[1];
	struct stub_machine *m = stub_machine_new(MIB(4), (struct vaddr){ p.direct_map }, false);
	struct boot_result r;

	p.leaf = 1u << 21;
	ck_assert_int_eq(boot_on(m, &p, small_pc, 4, SMALL_PC_LOADED, &frame_bitmap, &r),
			 KERR_INVALID);
	stub_machine_free(m);
}
END_TEST

/* RAM that firmware left dirty must not matter. */
START_TEST(state_is_cleared_unless_the_loader_vouches)
{
	const struct place *p = &places[1];
	struct stub_machine *m = stub_machine_new(MIB(4), (struct vaddr){ p->direct_map }, false);
	struct boot_result r;
	struct violation v;

	memset(m->ram, 0xa5, m->ram_bytes);
	ck_assert_int_eq(boot_on(m, p, small_pc, 4, SMALL_PC_LOADED, &frame_bitmap, &r), 0);
	ck_assert_int_eq(r.frames.ops->check(r.frames.state, &v), 0);
	assert_direct_map(m, p, small_pc, 4);
	stub_machine_free(m);
}
END_TEST

int main(void)
{
	const int n = sizeof(places) / sizeof(places[0]);
	Suite *s = suite_create("boot");
	TCase *t = tcase_create("tables");

	tcase_add_loop_test(t, tables_map_usable_frames_and_no_hole, 0, n);
	tcase_add_test(t, large_leaves_serve_the_middle_of_a_range);
	tcase_add_test(t, gigabyte_leaves_fall_back_to_two_mebibytes);
	tcase_add_loop_test(t, loaded_frames_outside_usable_ram_are_mapped_too, 0, n);
	suite_add_tcase(s, t);
	t = tcase_create("accounts");
	tcase_add_loop_test(t, every_frame_is_free_or_accounted_for, 0, n);
	tcase_add_test(t, ram_above_the_direct_map_is_left_alone);
	tcase_add_test(t, state_is_cleared_unless_the_loader_vouches);
	suite_add_tcase(s, t);
	t = tcase_create("refusals");
	tcase_add_test(t, too_little_ram_is_refused_with_a_reason);
	tcase_add_test(t, impossible_leaf_sizes_are_invalid);
	suite_add_tcase(s, t);

	SRunner *runner = srunner_create(s);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}
