/*
 * Page tables: nothing superfluous, nothing missing, nothing left half done.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sim/process.h"
#include "tests/space/rig.h"

#define BASE  0x10000000ull
#define PAGES 40u
#define RW    (SPACE_READ | SPACE_WRITE)

static const struct {
	const char *tables, *mode;
} cells[] = {
	{ "direct", "32" },	     { "direct", "pae" },
	{ "direct", "4level" },	     { "recursive", "32" },
	{ "recursive", "pae" },	     { "recursive", "4level" },
	{ "foreign", "32" },	     { "foreign", "pae" },
	{ "foreign", "4level" },     { "window", "32" },
	{ "window", "pae" },	     { "window", "4level" },
	{ "directories", "32" },     { "directories", "pae" },
	{ "directories", "4level" }, { "pool", "32" },
	{ "pool", "pae" },	     { "pool", "4level" },
	{ "preallocated", "32" },    { "preallocated", "4level" },
	{ "direct", "5level" },
};
#define CELLS (int)G_N_ELEMENTS(cells)

static struct rig *rig_for(int cell, unsigned cpus, enum kernel_pass pass)
{
	const struct rig_config config = { .tables = cells[cell].tables,
					   .spaces = "regions",
					   .mode = cells[cell].mode,
					   .cpus = cpus,
					   .large_tlb = true,
					   .pass = pass };

	return rig_new(&config);
}

static void touch_all(struct rig *rig, struct space *space, unsigned kind,
		      enum space_touch expected)
{
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t value = i;
		ck_assert_int_eq(rig_touch(rig, space, BASE + i * FRAME_BYTES, kind, &value),
				 expected);
	}
}

/* Pages come, are written, lose the right to be, and go: by ones and by many. */
static void map_unmap_protect(struct rig *rig, void *context)
{
	struct space *space;

	ck_assert_int_eq(space_lab_new(&rig->lab, &space), 0);
	space_lab_switch(&rig->lab, space);
	for (unsigned round = 0; round < 3; round++) {
		ck_assert_int_eq(
			space_lab_map(&rig->lab, space, BASE, BASE + PAGES * FRAME_BYTES, RW), 0);
		touch_all(rig, space, MMU_WRITE, TOUCH_DONE);
		ck_assert_int_eq(space_lab_protect(&rig->lab, space, BASE,
						   BASE + PAGES * FRAME_BYTES, SPACE_READ),
				 0);
		touch_all(rig, space, MMU_READ, TOUCH_DONE);
		touch_all(rig, space, MMU_WRITE, TOUCH_BAD);
		/* A #PF drops what is cached of its page. */
		touch_all(rig, space, MMU_READ, TOUCH_DONE);
		for (unsigned i = 0; i < PAGES; i += 2)
			ck_assert_int_eq(space_lab_unmap(&rig->lab, space, BASE + i * FRAME_BYTES,
							 BASE + (i + 1) * FRAME_BYTES),
					 0);
		ck_assert_int_eq(
			space_lab_unmap(&rig->lab, space, BASE, BASE + PAGES * FRAME_BYTES), 0);
		touch_all(rig, space, MMU_READ, TOUCH_BAD);
	}
	space_lab_free(&rig->lab, space);
}

START_TEST(nothing_is_invalidated_that_need_not_be)
{
	struct rig *rig = rig_for(_i, 1, PASS_PROBED);
	const struct machine_invalidations *count = &rig->machine->invalidations;

	rig_run(rig, map_unmap_protect, NULL);
	const struct table_stats *stats = &rig->lab.spaces->tables->stats;
	ck_assert_uint_gt(count->invlpg, PAGES);
	ck_assert_uint_eq(count->invlpg, stats->invlpg);
	if (strcmp(cells[_i].tables, "foreign") == 0 || strcmp(cells[_i].tables, "window") == 0)
		ck_assert_uint_le(count->invlpg_superfluous + count->flushes_superfluous,
				  stats->slot_moves);
	else
		ck_assert_uint_eq(count->invlpg_superfluous + count->flushes_superfluous, 0);
	/* Only the second slot's move flushes; a stack of windows needs none. */
	if (strcmp(cells[_i].tables, "foreign") != 0)
		ck_assert_uint_eq(count->flushes, 0);
	rig_stop(rig);
	rig_free(rig);
}
END_TEST

START_TEST(what_a_watermark_wraps_is_flushed)
{
	const struct rig_config config = { .tables = "window",
					   .spaces = "regions",
					   .mode = "32",
					   .setting = "tables.policy=watermark",
					   .large_tlb = true,
					   .pass = PASS_PROBED };
	struct rig *rig = rig_new(&config);

	rig_run(rig, map_unmap_protect, NULL);
	const struct table_stats *stats = &rig->lab.spaces->tables->stats;
	ck_assert_uint_gt(stats->flushes, 0);
	ck_assert_uint_le(stats->flushes, stats->slot_moves / 8 + 1);
	rig_stop(rig);
	rig_free(rig);
}
END_TEST

/* ---- mutation: one owed invalidation after the other is left out ---- */

struct mutation {
	uint64_t skip;	/* number of the one left out, from 1; counted over the changes below */
	uint64_t total; /* so far */
	unsigned first; /* CPU that looks first after each change */
	struct space *space, *child;
};

static void change(struct rig *rig, struct mutation *m, unsigned number)
{
	/* As if the CPU had cached the page again, which it may at any time, after the #PF dropped
	 * it. */
	const struct mmu_fault write = { MMU_PF, X86_PF_P | X86_PF_W | X86_PF_U, { BASE } };
	uint64_t end = BASE + 4 * FRAME_BYTES;
	struct space_report report;
	int status = 0;

	switch (number) {
	case 0:
		status = space_lab_fork(&rig->lab, m->space, &m->child);
		break;
	case 1: /* all four are the parent's own again; one is shared anew, and copied */
		status = space_lab_fault(&rig->lab, m->space, &write, &report);
		break;
	case 2:
		status = space_lab_protect(&rig->lab, m->space, BASE, end, SPACE_READ);
		break;
	case 3:
		status = space_lab_unmap(&rig->lab, m->space, BASE, BASE + 2 * FRAME_BYTES);
		break;
	default:
		status = space_lab_unmap(&rig->lab, m->space, BASE, end);
	}
	ck_assert_int_eq(status, 0);
}

/* Both CPUs run the space and look at all of it. */
static void look(struct rig *rig, struct mutation *m, bool write)
{
	for (unsigned turn = 0; turn < 2; turn++) {
		machine_set_cpu(rig->machine, m->first ^ turn);
		space_lab_switch(&rig->lab, m->space);
		for (unsigned i = 0; i < 4; i++) {
			uint64_t at = BASE + i * FRAME_BYTES, value = i;
			/* Reading finds other frames; writing, what may be written no more. */
			(void)rig_touch(rig, m->space, at, MMU_READ, &value);
			if (write)
				(void)rig_touch(rig, m->space, at, MMU_WRITE, &value);
		}
	}
	machine_set_cpu(rig->machine, 0);
}

static void shared_by_two(struct rig *rig, void *context)
{
	struct machine_invalidations *count = &rig->machine->invalidations;
	struct mutation *m = context;
	struct space *other;

	ck_assert_int_eq(space_lab_new(&rig->lab, &m->space), 0);
	ck_assert_int_eq(space_lab_map(&rig->lab, m->space, BASE, BASE + 4 * FRAME_BYTES, RW), 0);
	look(rig, m, true);
	for (unsigned number = 0; number < 5; number++) {
		if (number == 1) {
			ck_assert_int_eq(space_lab_fork(&rig->lab, m->space, &other), 0);
			look(rig, m, false);
		}
		count->issued = 0;
		count->skip = m->skip > m->total ? m->skip - m->total : 0;
		change(rig, m, number);
		m->total += count->issued;
		count->skip = 0;
		look(rig, m, number <= 2);
		/* A refused write has dropped what it met: cached again for the next change. */
		look(rig, m, false);
	}
	space_lab_free(&rig->lab, other);
	space_lab_free(&rig->lab, m->child);
	space_lab_free(&rig->lab, m->space);
}

static uint64_t stale_with(const char *mode, unsigned first, uint64_t skip, uint64_t *total)
{
	const struct rig_config config = {
		.tables = "direct", .spaces = "cow", .mode = mode, .cpus = 2, .large_tlb = true
	};
	struct mutation mutation = { .skip = skip, .first = first };
	struct rig *rig = rig_new(&config);

	rig_run(rig, shared_by_two, &mutation);
	*total = mutation.total;
	uint64_t stale = rig->stale;
	rig_free(rig);
	return stale;
}

static const char *const mutation_modes[] = { "32", "pae", "4level", "5level" };

START_TEST(any_owed_invalidation_that_is_left_out_is_reported)
{
	uint64_t total, ignored;

	ck_assert_uint_eq(stale_with(mutation_modes[_i], 0, 0, &total), 0);
	ck_assert_uint_eq(stale_with(mutation_modes[_i], 1, 0, &ignored), 0);
	ck_assert_uint_eq(total, ignored);
	ck_assert_uint_ge(total, 12);
	/* A CPU that looks first may have made good what the other one lacks. */
	for (uint64_t skip = 1; skip <= total; skip++)
		ck_assert_msg(stale_with(mutation_modes[_i], 0, skip, &ignored) +
					      stale_with(mutation_modes[_i], 1, skip, &ignored) >
				      0,
			      "%s: invalidation %u of %u left out, and nobody noticed",
			      mutation_modes[_i], (unsigned)skip, (unsigned)total);
}
END_TEST

/* ---- what was cached through the shared zero table ---- */

#define ZERO_BASE 0x08000000ull

/* CPU 1 looks at two pages through the shared table, which CPU 0 then takes apart for a third. */
static void cached_through_the_zero_table(struct rig *rig, void *context)
{
	uint64_t written = ZERO_BASE + 2 * FRAME_BYTES, gone = ZERO_BASE + 3 * FRAME_BYTES;
	uint64_t value = 7;
	struct space *space;

	ck_assert_int_eq(space_lab_new(&rig->lab, &space), 0);
	ck_assert_int_eq(space_lab_map(&rig->lab, space, ZERO_BASE, ZERO_BASE + (16u << 20), RW),
			 0);
	machine_set_cpu(rig->machine, 1);
	space_lab_switch(&rig->lab, space);
	ck_assert_int_eq(rig_touch(rig, space, written, MMU_READ, &value), TOUCH_DONE);
	ck_assert_int_eq(rig_touch(rig, space, gone, MMU_READ, &value), TOUCH_DONE);
	machine_set_cpu(rig->machine, 0);
	space_lab_switch(&rig->lab, space);
	value = 9;
	ck_assert_int_eq(rig_touch(rig, space, ZERO_BASE, MMU_WRITE, &value), TOUCH_DONE);
	ck_assert_uint_eq(rig->lab.spaces->tables->stats.splits, 1);
	ck_assert_int_eq(rig_touch(rig, space, written, MMU_WRITE, &value), TOUCH_DONE);
	ck_assert_int_eq(space_lab_unmap(&rig->lab, space, gone, gone + FRAME_BYTES), 0);
	machine_set_cpu(rig->machine, 1);
	value = 0;
	ck_assert_int_eq(rig_touch(rig, space, written, MMU_READ, &value), TOUCH_DONE);
	ck_assert_uint_eq(value, 9);
	ck_assert_int_eq(rig_touch(rig, space, gone, MMU_READ, &value), TOUCH_BAD);
	space_lab_free(&rig->lab, space);
}

START_TEST(what_was_cached_through_the_zero_table_is_invalidated_when_it_changes)
{
	const struct rig_config config = { .tables = cells[_i].tables,
					   .spaces = "zero-table",
					   .mode = cells[_i].mode,
					   .cpus = 2,
					   .large_tlb = true };
	struct rig *rig = rig_new(&config);

	rig_run(rig, cached_through_the_zero_table, NULL);
	rig_expect_clean(rig);
	rig_stop(rig);
	rig_free(rig);
}
END_TEST

/* ---- every allocation fails once ---- */

struct failing {
	struct space *space, *child;
	int status;
};

static void prepare(struct rig *rig, void *context)
{
	struct failing *f = context;
	uint64_t value = 7;

	ck_assert_int_eq(space_lab_new(&rig->lab, &f->space), 0);
	ck_assert_int_eq(space_lab_map(&rig->lab, f->space, 0x08000000, 0x09000000, RW), 0);
	ck_assert_int_eq(space_lab_map(&rig->lab, f->space, BASE, BASE + PAGES * FRAME_BYTES, RW),
			 0);
	space_lab_switch(&rig->lab, f->space);
	/* The second one takes a shared zero table apart. */
	ck_assert_int_eq(rig_touch(rig, f->space, 0x08000000, MMU_READ, &value), TOUCH_DONE);
	ck_assert_int_eq(rig_touch(rig, f->space, 0x08801000, MMU_WRITE, &value), TOUCH_DONE);
	touch_all(rig, f->space, MMU_WRITE, TOUCH_DONE);
}

static void try_fork(struct rig *rig, void *context)
{
	struct failing *f = context;

	f->status = space_lab_fork(&rig->lab, f->space, &f->child);
}

/* An unmap that cuts the shared zero table in two. */
static void try_cut(struct rig *rig, void *context)
{
	struct failing *f = context;

	f->status = space_lab_unmap(&rig->lab, f->space, 0x08100000, 0x08101000);
}

static void try_split_write(struct rig *rig, void *context)
{
	struct failing *f = context;
	uint64_t value = 9;

	f->status = rig_touch(rig, f->space, 0x08002000, MMU_WRITE, &value) == TOUCH_DONE
			    ? 0
			    : KERR_NO_MEMORY;
}

static void finish(struct rig *rig, void *context)
{
	struct failing *f = context;

	space_lab_audit(&rig->lab);
	if (f->child)
		space_lab_free(&rig->lab, f->child);
	space_lab_free(&rig->lab, f->space);
}

static void audit(struct rig *rig, void *context)
{
	space_lab_audit(&rig->lab);
}

static unsigned fail_each(int cell, void (*operation)(struct rig *, void *))
{
	for (unsigned n = 1;; n++) {
		const struct rig_config config = { .tables = cells[cell].tables,
						   .spaces = "process",
						   .mode = cells[cell].mode };
		struct rig *rig = rig_new(&config);
		struct failing f = { 0 };

		rig_run(rig, prepare, &f);
		rig->lab.fail_at = rig->lab.requests + n;
		uint64_t refusals = rig->lab.refusals;
		rig_run(rig, operation, &f);
		bool failed = rig->lab.refusals > refusals;
		ck_assert_int_eq(f.status, failed ? KERR_NO_MEMORY : 0);
		rig->lab.fail_at = 0;
		rig_run(rig, audit, NULL);
		rig_expect_clean(rig);
		/* And it is as if nothing had been: the same works now. */
		if (failed) {
			rig_run(rig, operation, &f);
			ck_assert_int_eq(f.status, 0);
		}
		rig_run(rig, finish, &f);
		rig_stop(rig);
		rig_free(rig);
		if (!failed)
			return n - 1;
	}
}

/* A pool may have what is asked for. */
static bool has_pool(int cell)
{
	return strcmp(cells[cell].tables, "pool") == 0;
}

START_TEST(a_fork_that_fails_anywhere_is_undone)
{
	ck_assert_uint_ge(fail_each(_i, try_fork), has_pool(_i) ? 0 : 3);
}
END_TEST

START_TEST(an_unmap_that_cannot_cut_changes_nothing)
{
	ck_assert_uint_ge(fail_each(_i, try_cut), has_pool(_i) ? 0 : 1);
}
END_TEST

START_TEST(a_write_that_cannot_take_a_zero_table_apart_changes_nothing)
{
	ck_assert_uint_ge(fail_each(_i, try_split_write), 1);
}
END_TEST

/* ---- bad touches ---- */

static void bad_touches(struct rig *rig, void *context)
{
	struct space *space;
	uint64_t value = 0;
	struct mmu_fault fault = { .error_code = X86_PF_U | X86_PF_W };
	struct space_report report;

	ck_assert_int_eq(space_lab_new(&rig->lab, &space), 0);
	ck_assert_int_eq(space_lab_map(&rig->lab, space, 0, FRAME_BYTES, RW), KERR_INVALID);
	ck_assert_int_eq(space_lab_map(&rig->lab, space, BASE, BASE + FRAME_BYTES, RW), 0);
	ck_assert_int_eq(space_lab_map(&rig->lab, space, BASE + 0x4000, BASE + 0x5000, SPACE_READ),
			 0);
	space_lab_switch(&rig->lab, space);
	ck_assert_int_eq(rig_touch(rig, space, 0x10, MMU_WRITE, &value), TOUCH_BAD);
	ck_assert_int_eq(rig_touch(rig, space, BASE + 0x4000, MMU_WRITE, &value), TOUCH_BAD);
	ck_assert_int_eq(rig_touch(rig, space, BASE + 0x1000, MMU_READ, &value), TOUCH_BAD);
	ck_assert_int_eq(rig_touch(rig, space, BASE, MMU_FETCH, &value),
			 rig->lab.spaces->tables->geometry->no_execute ? TOUCH_BAD : TOUCH_DONE);
	fault.cr2.a = BASE + 0x1010;
	ck_assert_int_eq(space_lab_fault(&rig->lab, space, &fault, &report), KERR_INVALID);
	ck_assert(report.guard && !report.null_page && report.at.end == 0);
	ck_assert_uint_eq(report.below.base, BASE);
	ck_assert_uint_eq(report.above.base, BASE + 0x4000);
	ck_assert_uint_eq(report.above.rights, SPACE_READ);
	fault.cr2.a = BASE + 0x2010;
	ck_assert_int_eq(space_lab_fault(&rig->lab, space, &fault, &report), KERR_INVALID);
	ck_assert(!report.guard);
	fault.cr2.a = 8;
	ck_assert_int_eq(space_lab_fault(&rig->lab, space, &fault, &report), KERR_INVALID);
	ck_assert(report.null_page);
	char *text = process_report_text(&report);
	ck_assert_msg(strstr(text, "null page") != NULL, "%s", text);
	g_free(text);
	space_lab_free(&rig->lab, space);
}

START_TEST(a_bad_touch_is_told_with_what_lies_around)
{
	const struct rig_config config = { .tables = cells[_i].tables,
					   .spaces = "process",
					   .mode = cells[_i].mode };
	struct rig *rig = rig_new(&config);

	rig_run(rig, bad_touches, NULL);
	rig_stop(rig);
	rig_free(rig);
}
END_TEST

/* ---- large pages ---- */

static int keep(void *context, struct vaddr va, const struct table_leaf *leaf)
{
	uint64_t *pages = context;

	*pages += 1ull << (leaf->level == 0 ? 0 : 9);
	return 0;
}

/* A large page is mapped, used, cut in two by an unmap and a protect, and goes: straight through
 * the page-table slot, over memory of the kernel's own. */
static void large_pages(struct rig *rig, void *context)
{
	struct tables *t = rig->lab.spaces->tables;
	uint64_t span = table_span(t->geometry, 1), visited = 0, value = 3;
	struct paddr memory = { span }; /* contents do not matter but for being RAM */
	struct vaddr va = { BASE }, page = { BASE + 5 * FRAME_BYTES };
	struct mmu_access access = { .kind = MMU_READ, .context = MMU_USER };
	struct table_root *root = g_aligned_alloc0(1, sizeof(*root), 64);
	struct mmu_fault fault;
	struct table_leaf leaf;

	ck_assert_int_eq(table_root_new(t, root), 0);
	table_run(t, root);
	ck_assert_int_eq(table_map(t, root, va, memory, 1, TABLE_USER | TABLE_WRITE), 0);
	ck_assert_int_eq(table_map(t, root, page, memory, 0, TABLE_USER), KERR_INVALID);
	ck_assert_uint_eq(mmu_read(rig->machine->cpu[0], page, &value, 8, access, &fault), 0);
	ck_assert(table_query(t, root, page, &leaf) && leaf.level == 1);
	ck_assert_int_eq(table_unmap(t, root, page, vaddr_add(page, FRAME_BYTES), keep, &visited),
			 0);
	ck_assert_uint_eq(visited, 1);
	ck_assert_uint_eq(mmu_read(rig->machine->cpu[0], page, &value, 8, access, &fault), MMU_PF);
	ck_assert(table_query(t, root, va, &leaf) && leaf.level == 0 && leaf.paddr.a == memory.a &&
		  (leaf.rights & TABLE_WRITE));
	ck_assert(!table_query(t, root, page, &leaf));
	ck_assert_int_eq(table_protect(t, root, va, vaddr_add(va, span), TABLE_USER), 0);
	access.kind = MMU_WRITE;
	ck_assert_uint_eq(mmu_write(rig->machine->cpu[0], va, &value, 8, access, &fault), MMU_PF);
	ck_assert_int_eq(table_unmap(t, root, va, vaddr_add(va, span), keep, &visited), 0);
	/* And a large page where the table was: what the slot showed there is no table now. */
	ck_assert_int_eq(table_map(t, root, va, memory, 1, TABLE_USER), 0);
	access.kind = MMU_READ;
	ck_assert_uint_eq(mmu_read(rig->machine->cpu[0], page, &value, 8, access, &fault), 0);
	ck_assert_int_eq(table_unmap(t, root, va, vaddr_add(va, span), keep, &visited), 0);
	table_run(t, &t->kernel);
	table_root_free(t, root);
	g_aligned_free(root);
}

START_TEST(large_pages_are_cut_and_come_again)
{
	struct rig *rig = rig_for(_i, 1, PASS_NATIVE);

	rig_run(rig, large_pages, NULL);
	rig_stop(rig);
	rig_free(rig);
}
END_TEST

/* ---- kernel mappings ---- */

static void kernel_mapping(struct rig *rig, void *context)
{
	struct tables *t = rig->lab.spaces->tables;
	struct space *space[3];
	uint64_t visited = 0;
	/* A part of the kernel's half that no table covers yet. */
	struct vaddr va = { t->geometry->depth > 2 ? 0ull - (3ull << 40) : 0xf5000000 };
	struct paddr memory = { 0x200000 };

	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(space_lab_new(&rig->lab, &space[i]), 0);
	ck_assert_int_eq(table_map(t, &t->kernel, va, memory, 0, TABLE_WRITE | TABLE_GLOBAL), 0);
	table_settle(t);
	for (unsigned i = 0; i < 3; i++) {
		struct mmu_walk walk;
		space_lab_switch(&rig->lab, space[i]);
		ck_assert_uint_eq(mmu_walk(rig->machine->cpu[0], va, NULL, &walk), 0);
		ck_assert_uint_eq(walk.paddr.a, memory.a);
	}
	/* A span of the fifth level holds the whole kernel. */
	bool shared = (t->ops->caps & TABLE_CAP_SHARED) || t->geometry->depth == 5;
	ck_assert_uint_eq(t->stats.top_copies, shared ? 0 : 3);
	ck_assert_int_eq(table_unmap(t, &t->kernel, va, vaddr_add(va, FRAME_BYTES), keep, &visited),
			 0);
	table_settle(t);
	ck_assert_uint_eq(visited, 1);
	space_lab_switch(&rig->lab, NULL);
	for (unsigned i = 0; i < 3; i++)
		space_lab_free(&rig->lab, space[i]);
}

START_TEST(what_the_kernel_maps_every_space_has)
{
	struct rig *rig = rig_for(_i, 1, PASS_NATIVE);

	rig_run(rig, kernel_mapping, NULL);
	rig_expect_clean(rig);
	rig_free(rig);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("page tables");
	TCase *tcase = tcase_create("tables");

	tcase_set_timeout(tcase, 30);
	tcase_add_loop_test(tcase, nothing_is_invalidated_that_need_not_be, 0, CELLS);
	tcase_add_test(tcase, what_a_watermark_wraps_is_flushed);
	tcase_add_loop_test(tcase, any_owed_invalidation_that_is_left_out_is_reported, 0, 4);
	tcase_add_loop_test(tcase, a_fork_that_fails_anywhere_is_undone, 0, CELLS);
	tcase_add_loop_test(tcase, an_unmap_that_cannot_cut_changes_nothing, 0, CELLS);
	tcase_add_loop_test(tcase,
			    what_was_cached_through_the_zero_table_is_invalidated_when_it_changes,
			    0, CELLS);
	tcase_add_loop_test(tcase, a_write_that_cannot_take_a_zero_table_apart_changes_nothing, 0,
			    CELLS);
	tcase_add_loop_test(tcase, a_bad_touch_is_told_with_what_lies_around, 0, CELLS);
	tcase_add_loop_test(tcase, large_pages_are_cut_and_come_again, 0, CELLS);
	tcase_add_loop_test(tcase, what_the_kernel_maps_every_space_has, 0, CELLS);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
