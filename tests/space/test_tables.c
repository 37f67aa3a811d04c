/*
 * Page tables: nothing superfluous, nothing missing, nothing left half done.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sim/process.h"
#include "tests/space/cells.h"
#include "tests/space/rig.h"

#define BASE  0x10000000ull
#define PAGES 40u
#define FAR   0x30000000ull
#define RW    (SPACE_READ | SPACE_WRITE)

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

/* What the kernel does to a space while the CPU runs it, or another. */
struct workplace {
	struct space *space, *other;
	bool foreign;
};

static void leave_it(struct rig *rig, const struct workplace *at)
{
	if (at->foreign)
		space_lab_switch(&rig->lab, at->other);
}

/* Pages come, are written, lose the right to be, and go: by ones and by many. */
static void one_round(struct rig *rig, const struct workplace *at)
{
	struct space *space = at->space;
	uint64_t end = BASE + PAGES * FRAME_BYTES;

	leave_it(rig, at);
	ck_assert_int_eq(space_lab_map(&rig->lab, space, BASE, end, RW), 0);
	space_lab_switch(&rig->lab, space);
	touch_all(rig, space, MMU_WRITE, TOUCH_DONE);
	leave_it(rig, at);
	ck_assert_int_eq(space_lab_protect(&rig->lab, space, BASE, end, SPACE_READ), 0);
	space_lab_switch(&rig->lab, space);
	touch_all(rig, space, MMU_READ, TOUCH_DONE);
	touch_all(rig, space, MMU_WRITE, TOUCH_BAD);
	/* A #PF drops what is cached of its page. */
	touch_all(rig, space, MMU_READ, TOUCH_DONE);
	leave_it(rig, at);
	for (unsigned i = 0; i < PAGES; i += 2)
		ck_assert_int_eq(space_lab_unmap(&rig->lab, space, BASE + i * FRAME_BYTES,
						 BASE + (i + 1) * FRAME_BYTES),
				 0);
	ck_assert_int_eq(space_lab_unmap(&rig->lab, space, BASE, end), 0);
	space_lab_switch(&rig->lab, space);
	touch_all(rig, space, MMU_READ, TOUCH_BAD);
}

static void map_unmap_protect(struct rig *rig, void *context)
{
	struct workplace *at = context;

	ck_assert_int_eq(space_lab_new(&rig->lab, &at->space), 0);
	ck_assert_int_eq(space_lab_new(&rig->lab, &at->other), 0);
	for (unsigned round = 0; round < 3; round++)
		one_round(rig, at);
	space_lab_free(&rig->lab, at->space);
	space_lab_free(&rig->lab, at->other);
}

static void expect_exact(const struct rig *rig, const char *tables, bool foreign)
{
	const struct machine_invalidations *count = &rig->machine->invalidations;
	const struct table_stats *stats = &rig->lab.spaces->tables->stats;

	if (!foreign)
		ck_assert_uint_gt(count->invlpg, PAGES);
	ck_assert_uint_eq(count->invlpg, stats->invlpg);
	ck_assert_uint_eq(count->flushes, stats->flushes);
	if (strcmp(tables, "foreign") == 0 || strcmp(tables, "window") == 0)
		ck_assert_uint_le(count->invlpg_superfluous + count->flushes_superfluous,
				  stats->slot_moves);
	else
		ck_assert_uint_eq(count->invlpg_superfluous + count->flushes_superfluous, 0);
	/* Only a move of the second slot flushes. */
	if (strcmp(tables, "foreign") == 0)
		ck_assert_uint_le(count->flushes, stats->slot_moves);
	else
		ck_assert_uint_eq(count->flushes, 0);
}

START_TEST(nothing_is_invalidated_that_need_not_be)
{
	for (unsigned foreign = 0; foreign < 2; foreign++) {
		struct workplace at = { .foreign = foreign };
		struct rig *rig = rig_for(_i, 1, PASS_PROBED);
		rig_run(rig, map_unmap_protect, &at);
		expect_exact(rig, cells[_i].tables, foreign);
		rig_stop(rig);
		rig_free(rig);
	}
}
END_TEST

static const struct {
	const char *setting;
	uint64_t slots; /* 0: it never flushes */
} policies[] = {
	{ "tables.policy=stack", 0 },
	{ "tables.policy=single", 0 },
	{ "tables.policy=watermark", 8 },
	{ "tables.policy=watermark tables.slots=3", 3 },
};

START_TEST(only_a_watermark_that_wraps_flushes)
{
	const struct rig_config config = { .tables = "window",
					   .spaces = "regions",
					   .mode = "32",
					   .setting = policies[_i].setting,
					   .large_tlb = true,
					   .pass = PASS_PROBED };
	struct workplace at = { .foreign = false };
	struct rig *rig = rig_new(&config);

	rig_run(rig, map_unmap_protect, &at);
	const struct table_stats *stats = &rig->lab.spaces->tables->stats;
	/* An INVLPG of a slot drops what it showed; one of a page, the page, unless a flush has. */
	ck_assert_uint_le(rig->machine->invalidations.invlpg_superfluous,
			  policies[_i].slots ? stats->slot_moves : 0);
	ck_assert_uint_eq(stats->flushes == 0, policies[_i].slots == 0);
	if (policies[_i].slots) {
		/* A load of another space's CR3 begins anew as well, and these are few. */
		ck_assert_uint_le(stats->flushes, stats->slot_moves / policies[_i].slots);
		ck_assert_uint_ge(stats->flushes + stats->loads + 1,
				  stats->slot_moves / policies[_i].slots);
	}
	rig_stop(rig);
	rig_free(rig);
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

/* Rights that a whole region has lost its child's pages have lost too, however they are mapped. */
static void fork_without_rights(struct rig *rig, void *context)
{
	struct space *space, *child;
	uint64_t value = 0;

	ck_assert_int_eq(space_lab_new(&rig->lab, &space), 0);
	ck_assert_int_eq(space_lab_map(&rig->lab, space, ZERO_BASE, ZERO_BASE + (16u << 20), RW),
			 0);
	space_lab_switch(&rig->lab, space);
	ck_assert_int_eq(rig_touch(rig, space, ZERO_BASE, MMU_READ, &value), TOUCH_DONE);
	ck_assert_int_eq(space_lab_protect(&rig->lab, space, ZERO_BASE, ZERO_BASE + (16u << 20), 0),
			 0);
	ck_assert_int_eq(space_lab_fork(&rig->lab, space, &child), 0);
	space_lab_switch(&rig->lab, child);
	ck_assert_int_eq(rig_touch(rig, child, ZERO_BASE, MMU_READ, &value), TOUCH_BAD);
	ck_assert_int_eq(rig_touch(rig, child, ZERO_BASE + FRAME_BYTES, MMU_READ, &value),
			 TOUCH_BAD);
	space_lab_free(&rig->lab, child);
	space_lab_free(&rig->lab, space);
}

static const char *const all_policies[] = { "regions", "zero-frame", "zero-table", "cow",
					    "guarded", "large",	     "process" };

START_TEST(a_child_has_no_right_that_its_parent_lost)
{
	const struct rig_config config = { .tables = "direct",
					   .spaces = all_policies[_i],
					   .mode = "4level" };
	struct rig *rig = rig_new(&config);

	rig_run(rig, fork_without_rights, NULL);
	rig_stop(rig);
	rig_free(rig);
}
END_TEST

/* ---- every allocation fails once ---- */

struct failing {
	struct space *space, *child;
	int status;
};

/* So many regions that their nodes fill frames to the last one. */
static void fill_nodes(struct rig *rig, struct failing *f)
{
	uint64_t at = 0x20000000;

	do {
		ck_assert_int_eq(space_lab_map(&rig->lab, f->space, at, at + FRAME_BYTES, RW), 0);
		at += 2 * FRAME_BYTES;
	} while (rig->lab.spaces->region_objects.partial);
}

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
	ck_assert_int_eq(space_lab_map(&rig->lab, f->space, FAR, FAR + FRAME_BYTES, RW), 0);
	fill_nodes(rig, f);
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

/* A mapping in the middle of another one, whose zero table it cuts. */
static void try_mmap(struct rig *rig, void *context)
{
	struct failing *f = context;

	f->status = space_lab_map(&rig->lab, f->space, 0x08100000, 0x08101000, RW);
}

static void try_protect(struct rig *rig, void *context)
{
	struct failing *f = context;

	f->status = space_lab_protect(&rig->lab, f->space, 0x08100000, 0x08101000, SPACE_READ);
}

/* A first touch where there is no table yet. */
static void try_first_touch(struct rig *rig, void *context)
{
	struct failing *f = context;
	uint64_t value = 9;

	f->status =
		rig_touch(rig, f->space, FAR, MMU_WRITE, &value) == TOUCH_DONE ? 0 : KERR_NO_MEMORY;
}

static void try_spawn(struct rig *rig, void *context)
{
	struct failing *f = context;

	f->status = space_lab_new(&rig->lab, &f->child);
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

static const struct {
	const char *name;
	void (*operation)(struct rig *, void *);
	unsigned least; /* allocations that can fail, but for a pool's, which may have them */
} failures[] = {
	{ "fork", try_fork, 4 },
	{ "an unmap that cuts", try_cut, 2 },
	{ "a mapping in the middle of another", try_mmap, 2 },
	{ "a protect that cuts", try_protect, 2 },
	{ "a write that takes a zero table apart", try_split_write, 2 },
	{ "a first touch without a table", try_first_touch, 2 },
	{ "spawn", try_spawn, 1 },
};
#define FAILURES (int)G_N_ELEMENTS(failures)

START_TEST(an_operation_that_fails_anywhere_is_undone)
{
	int cell = _i / FAILURES;
	unsigned failed = fail_each(cell, failures[_i % FAILURES].operation);

	ck_assert_msg(failed >= (has_pool(cell) ? 0 : failures[_i % FAILURES].least),
		      "%s, %s, %s: only %u allocations", failures[_i % FAILURES].name,
		      cells[cell].tables, cells[cell].mode, failed);
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

	*pages += 1ull << (leaf->level * 9);
	return 0;
}

/* A large page of a level is mapped, used, cut by an unmap down to 4 KiB and by a protect, and
 * goes: straight through the page-table slot, over memory of the kernel's own. */
static void large_pages_of(struct rig *rig, struct table_root *root, unsigned level)
{
	struct tables *t = rig->lab.spaces->tables;
	uint64_t span = table_span(t->geometry, level), visited = 0, value = 3;
	struct paddr memory = { level > 1 ? 0
					  : span }; /* contents do not matter but for being RAM */
	struct vaddr va = { level > 1 ? 1ull << 30 : BASE };
	uint64_t offset = level > 1 ? 0x205000 : 0x5000;
	struct vaddr page = { va.a + offset };
	struct mmu_access access = { .kind = MMU_READ, .context = MMU_USER };
	struct mmu_fault fault;
	struct table_leaf leaf;

	ck_assert_int_eq(table_map(t, root, va, memory, level, TABLE_USER | TABLE_WRITE), 0);
	ck_assert_int_eq(table_map(t, root, page, memory, 0, TABLE_USER), KERR_INVALID);
	ck_assert_uint_eq(mmu_read(rig->machine->cpu[0], page, &value, 8, access, &fault), 0);
	ck_assert(table_query(t, root, page, &leaf) && leaf.level == level);
	ck_assert_int_eq(table_unmap(t, root, page, vaddr_add(page, FRAME_BYTES), keep, &visited),
			 0);
	ck_assert_uint_eq(visited, 1);
	ck_assert_uint_eq(mmu_read(rig->machine->cpu[0], page, &value, 8, access, &fault), MMU_PF);
	ck_assert(table_query(t, root, (struct vaddr){ page.a + FRAME_BYTES }, &leaf));
	ck_assert(leaf.level == 0 && leaf.paddr.a == memory.a + offset + FRAME_BYTES &&
		  (leaf.rights & TABLE_WRITE));
	ck_assert(!table_query(t, root, page, &leaf));
	ck_assert_int_eq(table_protect(t, root, va, vaddr_add(va, span), TABLE_USER), 0);
	access.kind = MMU_WRITE;
	ck_assert_uint_eq(mmu_write(rig->machine->cpu[0], va, &value, 8, access, &fault), MMU_PF);
	ck_assert_int_eq(table_unmap(t, root, va, vaddr_add(va, span), keep, &visited), 0);
	/* And a large page where the table was: what the slot showed there is no table now. */
	ck_assert_int_eq(table_map(t, root, va, memory, level, TABLE_USER), 0);
	access.kind = MMU_READ;
	ck_assert_uint_eq(mmu_read(rig->machine->cpu[0], page, &value, 8, access, &fault), 0);
	ck_assert_int_eq(table_unmap(t, root, va, vaddr_add(va, span), keep, &visited), 0);
}

static void large_pages(struct rig *rig, void *context)
{
	struct tables *t = rig->lab.spaces->tables;
	struct table_root *root = g_aligned_alloc0(1, sizeof(*root), 64);

	ck_assert_int_eq(table_root_new(t, root), 0);
	table_run(t, root);
	for (unsigned level = 1; level < t->geometry->depth; level++)
		if (t->geometry->level[level].leaf)
			large_pages_of(rig, root, level);
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

/* ---- addresses that a system keeps for itself ---- */

static void expect_refused(struct tables *t, struct vaddr va, unsigned level)
{
	struct vaddr end = vaddr_add(va, table_span(t->geometry, level));
	uint64_t visited = 0;

	ck_assert_int_eq(table_map(t, &t->kernel, va, (struct paddr){ 0 }, level, TABLE_WRITE),
			 KERR_INVALID);
	ck_assert_int_eq(table_unmap(t, &t->kernel, va, end, keep, &visited), KERR_INVALID);
	ck_assert_int_eq(table_protect(t, &t->kernel, va, end, 0), KERR_INVALID);
	ck_assert_uint_eq(visited, 0);
}

/* Through the slot every present entry looks like a page, and each that is not, like room for one:
 * a page mapped there, large or small, would become somebody's page table. */
static void inside_of_what_is_kept(struct rig *rig, void *context)
{
	struct tables *t = rig->lab.spaces->tables;
	const struct table_layout *layout = &t->config.layout;
	const char *name = t->ops->name;
	bool foreign = strcmp(name, "foreign") == 0, recursive = strcmp(name, "recursive") == 0;
	struct vaddr kept[4] = { 0 };

	if (recursive || foreign)
		kept[0] = layout->own_slot;
	if (foreign)
		kept[1] = layout->foreign_slot;
	if (strcmp(name, "window") == 0)
		kept[2] = layout->windows;
	if (strcmp(name, "directories") == 0)
		kept[3] = layout->directories;
	for (unsigned i = 0; i < G_N_ELEMENTS(kept); i++) {
		if (!kept[i].a)
			continue;
		for (unsigned level = 0; level < t->geometry->depth; level++)
			if (t->geometry->level[level].leaf)
				expect_refused(t, kept[i], level);
		/* In its midst, and straight across its beginning. */
		expect_refused(t, vaddr_add(kept[i], 5 * FRAME_BYTES), 0);
		uint64_t visited = 0;
		ck_assert_int_eq(table_unmap(t, &t->kernel,
					     (struct vaddr){ kept[i].a - FRAME_BYTES },
					     vaddr_add(kept[i], FRAME_BYTES), keep, &visited),
				 KERR_INVALID);
	}
	table_settle(t);
}

START_TEST(what_a_system_keeps_for_itself_nobody_maps)
{
	struct rig *rig = rig_for(_i, 1, PASS_NATIVE);

	rig_run(rig, inside_of_what_is_kept, NULL);
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
	tcase_add_loop_test(tcase, only_a_watermark_that_wraps_flushes, 0,
			    (int)G_N_ELEMENTS(policies));
	tcase_add_loop_test(tcase, a_child_has_no_right_that_its_parent_lost, 0,
			    G_N_ELEMENTS(all_policies));
	tcase_add_loop_test(tcase, an_operation_that_fails_anywhere_is_undone, 0, CELLS * FAILURES);
	tcase_add_loop_test(tcase,
			    what_was_cached_through_the_zero_table_is_invalidated_when_it_changes,
			    0, CELLS);
	tcase_add_loop_test(tcase, a_bad_touch_is_told_with_what_lies_around, 0, CELLS);
	tcase_add_loop_test(tcase, large_pages_are_cut_and_come_again, 0, CELLS);
	tcase_add_loop_test(tcase, what_a_system_keeps_for_itself_nobody_maps, 0, CELLS);
	tcase_add_loop_test(tcase, what_the_kernel_maps_every_space_has, 0, CELLS);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
