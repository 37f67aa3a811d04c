/*
 * RAM beyond the direct map of i386: what is there, who reaches it, and what happens when one side
 * of the border runs out.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/space/rig.h"

#define BASE	   0x10000000ull
#define FAR	   0x40000000ull /* in a table of its own */
#define PAGES	   8u
#define RW	   (SPACE_READ | SPACE_WRITE)
#define DIRECT_END (768ull << 20)

static const struct {
	const char *tables, *mode;
	bool high_tables;
} cells[] = {
	{ "direct", "32", false },	 { "direct", "pae", false },
	{ "recursive", "32", true },	 { "recursive", "pae", true },
	{ "foreign", "32", true },	 { "foreign", "pae", true },
	{ "window", "32", true },	 { "window", "pae", true },
	{ "directories", "32", false },	 { "pool", "pae", false },
	{ "preallocated", "32", false },
};
#define CELLS (int)G_N_ELEMENTS(cells)

static struct rig *rig_for(int cell, enum kernel_pass pass)
{
	const struct rig_config config = { .tables = cells[cell].tables,
					   .spaces = "process",
					   .mode = cells[cell].mode,
					   .frames = "zoned-buddy",
					   .highmem = true,
					   .ram_bytes = 1ull << 30,
					   .cpus = 2,
					   .large_tlb = true,
					   .pass = pass };

	return rig_new(&config);
}

static uint64_t touch(struct rig *rig, struct space *space, uint64_t va, unsigned kind,
		      uint64_t value)
{
	ck_assert_int_eq(rig_touch(rig, space, va, kind, &value), TOUCH_DONE);
	return value;
}

/* Where the page at VA is, and where its table. */
static void expect_place(struct rig *rig, uint64_t va, bool high_table)
{
	struct mmu_walk walk;

	ck_assert_uint_eq(mmu_walk(rig->machine->cpu[0], (struct vaddr){ va }, NULL, &walk), 0);
	ck_assert_uint_ge(walk.paddr.a, DIRECT_END);
	ck_assert_int_eq(walk.entry[walk.count - 1].at.a >= DIRECT_END, high_table);
	for (uint32_t i = 0; i + 1 < walk.count; i++)
		ck_assert_uint_lt(walk.entry[i].at.a, DIRECT_END);
}

struct high {
	int cell;
	struct space *space, *child;
	struct frame_block *held;
	unsigned helds;
};

static void begin(struct rig *rig, struct high *h)
{
	ck_assert_int_eq(space_lab_new(&rig->lab, &h->space), 0);
	ck_assert_int_eq(space_lab_map(&rig->lab, h->space, BASE, BASE + 64 * FRAME_BYTES, RW), 0);
	ck_assert_int_eq(space_lab_map(&rig->lab, h->space, FAR, FAR + FRAME_BYTES, RW), 0);
	space_lab_switch(&rig->lab, h->space);
	for (unsigned i = 0; i < PAGES; i++)
		touch(rig, h->space, BASE + i * FRAME_BYTES, MMU_WRITE, i + 1);
}

/* Pages are cleared, written, shared, copied, and read again by both sides. */
static void live_high(struct rig *rig, void *context)
{
	struct high *h = context;

	begin(rig, h);
	for (unsigned i = 0; i < PAGES; i++) {
		expect_place(rig, BASE + i * FRAME_BYTES, cells[h->cell].high_tables);
		ck_assert_uint_eq(touch(rig, h->space, BASE + i * FRAME_BYTES + 8, MMU_READ, 9), 0);
	}
	ck_assert_int_eq(space_lab_fork(&rig->lab, h->space, &h->child), 0);
	for (unsigned i = 0; i < PAGES; i++)
		touch(rig, h->space, BASE + i * FRAME_BYTES + 8, MMU_WRITE, 100 + i);
	machine_set_cpu(rig->machine, 1);
	space_lab_switch(&rig->lab, h->child);
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t at = BASE + i * FRAME_BYTES;
		ck_assert_uint_eq(touch(rig, h->child, at, MMU_READ, 0), i + 1);
		ck_assert_uint_eq(touch(rig, h->child, at + 8, MMU_READ, 9), 0);
		touch(rig, h->child, at, MMU_WRITE, 200 + i);
	}
	machine_set_cpu(rig->machine, 0);
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t at = BASE + i * FRAME_BYTES;
		ck_assert_uint_eq(touch(rig, h->space, at, MMU_READ, 0), i + 1);
		ck_assert_uint_eq(touch(rig, h->space, at + 8, MMU_READ, 0), 100 + i);
	}
	space_lab_audit(&rig->lab);
	space_lab_free(&rig->lab, h->child);
	space_lab_free(&rig->lab, h->space);
}

START_TEST(pages_live_beyond_the_direct_map)
{
	for (enum kernel_pass pass = PASS_NATIVE; pass < PASSES; pass++) {
		struct high high = { .cell = _i };
		struct rig *rig = rig_for(_i, pass);
		rig_run(rig, live_high, &high);
		rig_stop(rig);
		rig_free(rig);
	}
}
END_TEST

/* ---- one side runs out ---- */

#define HELD_MAX 4096u

/* All frames of one zone, and those below it. */
static void hold_all(struct rig *rig, struct high *h, enum frame_zone zone)
{
	for (uint32_t frames = 1024; frames > 0; frames /= 2) {
		struct frame_request request = { .frames = frames,
						 .align_frames = 1,
						 .zone = (uint8_t)zone };
		while (h->helds < HELD_MAX &&
		       frame_alloc(&rig->lab.spaces->frames, &request, &h->held[h->helds]) == 0)
			h->helds++;
	}
	ck_assert_uint_lt(h->helds, HELD_MAX);
}

static void let_go(struct rig *rig, struct high *h)
{
	while (h->helds > 0)
		ck_assert_int_eq(frame_free(&rig->lab.spaces->frames, &h->held[--h->helds]), 0);
}

static void low_is_exhausted(struct rig *rig, void *context)
{
	bool high_tables = cells[((struct high *)context)->cell].high_tables;
	struct high *h = context;
	uint64_t value = 77;

	begin(rig, h);
	hold_all(rig, h, FRAME_ZONE_NORMAL);
	/* A page needs none of it, a table only where the kernel must see it in the direct map, and
	 * a space always. */
	touch(rig, h->space, BASE + 9 * FRAME_BYTES, MMU_WRITE, 5);
	enum space_touch got = rig_touch(rig, h->space, FAR, MMU_WRITE, &value);
	if (strcmp(cells[h->cell].tables, "pool") != 0)
		ck_assert_int_eq(got, high_tables ? TOUCH_DONE : TOUCH_NO_MEMORY);
	ck_assert_int_eq(space_lab_fork(&rig->lab, h->space, &h->child), KERR_NO_MEMORY);
	let_go(rig, h);
	space_lab_audit(&rig->lab);
	rig_expect_clean(rig);
	touch(rig, h->space, FAR, MMU_WRITE, 78);
	ck_assert_int_eq(space_lab_fork(&rig->lab, h->space, &h->child), 0);
	space_lab_free(&rig->lab, h->child);
	for (unsigned i = 0; i < PAGES; i++)
		ck_assert_uint_eq(touch(rig, h->space, BASE + i * FRAME_BYTES, MMU_READ, 0), i + 1);
	space_lab_free(&rig->lab, h->space);
}

/* Pages go below when there is no more above. */
static void high_is_exhausted(struct rig *rig, void *context)
{
	struct high *h = context;
	struct mmu_walk walk;

	begin(rig, h);
	hold_all(rig, h, FRAME_ZONE_HIGHMEM);
	let_go(rig, h);
	hold_all(rig, h, FRAME_ZONE_NORMAL);
	unsigned low = h->helds;
	hold_all(rig, h, FRAME_ZONE_HIGHMEM);
	for (unsigned i = 0; i < low; i++)
		ck_assert_int_eq(frame_free(&rig->lab.spaces->frames, &h->held[i]), 0);
	h->helds -= low;
	memmove(h->held, h->held + low, h->helds * sizeof(*h->held));
	touch(rig, h->space, BASE + 9 * FRAME_BYTES, MMU_WRITE, 5);
	ck_assert_uint_eq(mmu_walk(rig->machine->cpu[0], (struct vaddr){ BASE + 9 * FRAME_BYTES },
				   NULL, &walk),
			  0);
	ck_assert_uint_lt(walk.paddr.a, DIRECT_END);
	touch(rig, h->space, FAR, MMU_WRITE, 6);
	let_go(rig, h);
	space_lab_free(&rig->lab, h->space);
}

static void exhaust(int cell, void (*how)(struct rig *rig, void *context))
{
	struct high high = { .cell = cell, .held = g_new0(struct frame_block, HELD_MAX) };
	struct rig *rig = rig_for(cell, PASS_NATIVE);

	rig_run(rig, how, &high);
	rig_stop(rig);
	rig_free(rig);
	g_free(high.held);
}

START_TEST(without_low_memory_there_are_no_new_spaces)
{
	exhaust(_i, low_is_exhausted);
}
END_TEST

START_TEST(without_high_memory_pages_are_low)
{
	exhaust(_i, high_is_exhausted);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("high memory");
	TCase *tcase = tcase_create("highmem");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, pages_live_beyond_the_direct_map, 0, CELLS);
	tcase_add_loop_test(tcase, without_low_memory_there_are_no_new_spaces, 0, CELLS);
	tcase_add_loop_test(tcase, without_high_memory_pages_are_low, 0, CELLS);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
