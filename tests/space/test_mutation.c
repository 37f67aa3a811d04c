/*
 * Mutation over everything that page tables invalidate: one life (scene.h) is lived once for each
 * INVLPG, shootdown and flush in it, without that one. Somebody must then use what should have
 * gone, and the stale checker must say so; or there is nothing to use, which is shown.
 *
 *     whole life: 1 2 3 ... n     what the caches held at each, and in which step
 *     life k:     1 2 . x         k is lost, its CPU looks first; ends with the first stale use
 *
 * What becomes of a lost one
 *   reported   the stale checker found a use of it
 *   empty      nothing in that CPU's caches was stale (each entry is held against memory): the page
 *              had been dropped by its own #PF, or A = 1 was inherited (of a large page, of the
 *              shared zero table), or another CPU had set it
 *   made good  what was stale went before any use, by another invalidation of the same operation or
 *              by a load of CR3: nobody looked in between
 *   missed     it was there to the end and nobody used it, or something went wrong and nobody said
 *              so: the test fails
 *
 * So that "made good" cannot swallow everything, musts[] says which steps must be reported under
 * which systems. `slow` loses each; otherwise the first of those that are alike (issued in
 * the same step, of one kind, for one CPU, in one half of the address space), and of users' pages
 * the last, too.
 */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/invalidation.h"
#include "tests/space/scene.h"

static bool all;	 /* slow */
static const char *only; /* this page-table system; NULL: each */

/* With sanitizers a life takes four times as long. */
enum when { ALWAYS = 0, PLAIN, SLOW };

static const struct {
	const char *tables, *setting, *mode;
	enum when when;
	bool high; /* with RAM beyond the direct map */
} cells[] = {
	{ "direct", NULL, "32", SLOW },
	{ "direct", NULL, "pae", SLOW },
	{ "direct", NULL, "4level", ALWAYS },
	{ "direct", NULL, "5level", SLOW },
	{ "recursive", NULL, "32", SLOW },
	{ "recursive", NULL, "pae", ALWAYS },
	{ "recursive", NULL, "4level", SLOW },
	{ "foreign", NULL, "32", SLOW },
	{ "foreign", NULL, "pae", ALWAYS },
	{ "foreign", NULL, "4level", SLOW },
	{ "window", "tables.policy=stack", "32", SLOW },
	{ "window", "tables.policy=stack", "pae", ALWAYS },
	{ "window", "tables.policy=stack", "4level", SLOW },
	{ "window", "tables.policy=stack", "5level", SLOW },
	{ "window", "tables.policy=watermark tables.slots=250", "32", SLOW },
	{ "window", "tables.policy=watermark tables.slots=250", "pae", ALWAYS },
	{ "window", "tables.policy=watermark tables.slots=250", "4level", SLOW },
	{ "window", "tables.policy=watermark tables.slots=250", "5level", SLOW },
	{ "window", "tables.policy=single", "32", SLOW },
	{ "window", "tables.policy=single", "pae", PLAIN },
	{ "window", "tables.policy=single", "4level", SLOW },
	{ "window", "tables.policy=single", "5level", SLOW },
	{ "directories", NULL, "32", SLOW },
	{ "directories", NULL, "pae", ALWAYS },
	{ "directories", NULL, "4level", SLOW },
	{ "directories", NULL, "5level", SLOW },
	{ "pool", NULL, "32", SLOW },
	{ "pool", NULL, "pae", PLAIN },
	{ "pool", NULL, "4level", SLOW },
	{ "pool", NULL, "5level", SLOW },
	{ "preallocated", NULL, "32", SLOW },
	{ "preallocated", NULL, "pae", PLAIN },
	{ "preallocated", NULL, "4level", SLOW },
	{ "preallocated", NULL, "5level", SLOW },
	{ "direct", NULL, "pae", PLAIN, true },
	{ "recursive", NULL, "32", SLOW, true },
	{ "foreign", NULL, "32", SLOW, true },
	{ "window", "tables.policy=stack", "pae", SLOW, true },
	{ "directories", NULL, "32", SLOW, true },
};
#define CELLS (int)G_N_ELEMENTS(cells)

enum fate { FATE_REPORTED = 0, FATE_EMPTY, FATE_MADE_GOOD, FATE_MISSED, FATES };
static const char *const fate_names[FATES] = { "reported", "empty", "made good", "missed" };
static const char *const kind_names[] = { "INVLPG", "shootdown", "flush", "load of CR3" };

/* One of the whole life's. */
struct issued {
	struct machine_invalidation what;
	const char *step;
	bool empty;
};

struct life {
	struct rig *rig;
	struct scene scene;
	GArray *issued;	      /* struct issued; NULL: not noted */
	uint64_t count, lose; /* so far; the number of the one that is lost, from 1 */
	/* What was lost, and whether it is still to be used; then by what it went. */
	struct machine_invalidation lost, before;
	bool pending;
	const char *step;
};

static bool is_owed(const struct life *life, const struct machine_invalidation *what)
{
	const struct mmu_cpu *cpu = life->rig->machine->cpu[what->cpu];

	if (what->kind == INVALIDATION_FLUSH)
		return invalidation_flush_is_owed(cpu);
	for (uint64_t i = 0; i < what->pages; i++)
		if (invalidation_is_owed(cpu, vaddr_add(what->va, i * FRAME_BYTES)))
			return true;
	return false;
}

/* A flush may come before what it is for: a watermark's slots are pointed elsewhere after it. */
static bool is_empty(const struct life *life, const struct machine_invalidation *what)
{
	return what->kind != INVALIDATION_FLUSH && !is_owed(life, what);
}

/* Does it make good a lost flush? */
static bool is_flush(const struct life *life, const struct machine_invalidation *what)
{
	return what->kind >= INVALIDATION_FLUSH && what->cpu == life->lost.cpu;
}

/* Has what was lost gone meanwhile? Then by the one before this. */
static void look_after(struct life *life, const struct machine_invalidation *now)
{
	if (!life->pending)
		return;
	life->pending = life->lost.kind == INVALIDATION_FLUSH ? !is_flush(life, now)
							      : is_owed(life, &life->lost);
	if (life->pending || life->lost.kind == INVALIDATION_FLUSH)
		life->before = *now;
}

static bool lose(void *context, const struct machine_invalidation *what)
{
	struct life *life = context;

	look_after(life, what);
	if (what->kind == INVALIDATION_LOAD)
		return false;
	life->count++;
	if (life->issued && !life->scene.resting) {
		struct issued issued = { *what, life->scene.at, is_empty(life, what) };
		g_array_append_val(life->issued, issued);
	}
	if (life->count != life->lose)
		return false;
	life->lost = life->before = *what;
	life->pending = true;
	life->scene.first = what->cpu;
	return true;
}

static struct rig *rig_for(int cell)
{
	const struct rig_config config = { .tables = cells[cell].tables,
					   .spaces = "process",
					   .mode = cells[cell].mode,
					   .setting = cells[cell].setting,
					   .frames = cells[cell].high ? "zoned-buddy" : NULL,
					   .highmem = cells[cell].high,
					   .ram_bytes = cells[cell].high ? 1ull << 30 : 0,
					   .cpus = SCENE_CPUS,
					   .large_tlb = true,
					   .tlb_sets = 32,
					   .pass = PASS_PROBED };

	return rig_new(&config);
}

static void live(struct life *life, int cell)
{
	life->rig = rig_for(cell);
	life->rig->machine->invalidations.lose = lose;
	life->rig->machine->invalidations.context = life;
}

/* Nothing is lost, nothing is wrong; what was issued goes into ISSUED. */
static void live_whole(int cell, GArray *issued)
{
	struct life life = { .issued = issued };

	live(&life, cell);
	rig_run(life.rig, scene_play, &life.scene);
	ck_assert_msg(!life.scene.failed, "%s, %s: %s: %s", cells[cell].tables, cells[cell].mode,
		      life.scene.at, life.scene.failed);
	ck_assert_msg(life.rig->reports == 0, "%s, %s: %s: %s", cells[cell].tables,
		      cells[cell].mode, life.scene.at, life.rig->first);
	life.rig->machine->invalidations.lose = NULL;
	rig_run(life.rig, scene_end, &life.scene);
	ck_assert(!life.scene.failed);
	rig_expect_clean(life.rig);
	rig_free(life.rig);
}

/* NUMBER is lost. *BY: what made it good. */
static enum fate live_without(int cell, uint64_t number, struct machine_invalidation *by)
{
	struct life life = { .lose = number };
	enum fate fate;

	live(&life, cell);
	/* The checker stays; what else is counted of invalidations takes most of a life's time. */
	life.rig->machine->config->stale_check = false;
	bool lived = rig_try(life.rig, scene_play, &life.scene);
	probe_phase(PROBE_OFF, NULL);
	if (life.rig->stale > 0)
		fate = FATE_REPORTED;
	else if (!lived || life.scene.failed || life.rig->reports > 0)
		fate = FATE_MISSED;
	else
		fate = life.pending && is_owed(&life, &life.lost) ? FATE_MISSED : FATE_MADE_GOOD;
	*by = life.before;
	rig_free(life.rig);
	return fate;
}

/* ---- which ones ---- */

/* In this scene, in every mode. */
static bool is_users(const struct issued *one)
{
	return one->what.va.a < 0xc0000000;
}

static bool alike(const struct issued *a, const struct issued *b)
{
	return a->step == b->step && a->what.kind == b->what.kind && a->what.cpu == b->what.cpu &&
	       a->empty == b->empty && is_users(a) == is_users(b);
}

/* The first that is alike, and of what users see the last, too. */
static bool is_sampled(const GArray *issued, guint number)
{
	const struct issued *one = &g_array_index(issued, struct issued, number);
	bool before = false, behind = !is_users(one);

	for (guint i = 0; i < issued->len; i++) {
		if (i == number || !alike(one, &g_array_index(issued, struct issued, i)))
			continue;
		before |= i < number;
		behind |= i > number;
	}
	return !before || !behind;
}

/* ---- what must come out ---- */

/* At least one INVLPG or flush, and one shootdown, of these steps is reported; the others that a
 * step owes are made good inside of it. */
static const struct must {
	const char *tables; /* NULL: all */
	const char *step;   /* NULL: of any, a flush */
	bool here, elsewhere;
} musts[] = {
	{ NULL, "fork", false, true },
	{ NULL, "copy on write", false, true },
	{ NULL, "copy on write, foreign", false, true },
	{ NULL, "protect", true, true },
	{ NULL, "protect, foreign", false, true },
	{ NULL, "unmap a page", true, true },
	{ NULL, "unmap with tables", true, true },
	{ NULL, "unmap with a table, foreign", false, true },
	{ NULL, "unmap of zero tables", true, false },
	{ NULL, "zero table linked and unlinked", true, false },
	{ NULL, "protect pieces", true, true },
	{ NULL, "unmap pieces", true, false },
	{ NULL, "protect a large page", true, true },
	{ NULL, "unmap a large page", true, true },
	{ NULL, "unmap the last page", true, true },
	{ NULL, "unmap a kernel page", true, true },
	{ NULL, "unmap it", true, true },
	/* No space but the one that runs is loaded for a fork. */
	{ "direct", "fork", true, false },
	{ "direct", "copy on write", true, false },
	{ "pool", "fork", true, false },
	{ "preallocated", "fork", true, false },
	{ "window", "fork", true, false },
	{ "directories", "fork", true, false },
	/* What the slot shows. */
	{ "recursive", "zero table taken apart by a write", true, false },
	{ "foreign", "zero table taken apart by a write", true, false },
	{ "foreign", NULL, true, false },
	/* What the area shows. */
	{ "directories", "exit", true, true },
	{ "directories", "copy on write, foreign", true, false },
};

struct outcome {
	const char *step;
	unsigned count[4][FATES]; /* by kind */
};

static struct outcome *outcome_of(GHashTable *outcomes, const char *step)
{
	struct outcome *outcome = g_hash_table_lookup(outcomes, step);

	if (!outcome) {
		outcome = g_new0(struct outcome, 1);
		outcome->step = step;
		g_hash_table_insert(outcomes, (gpointer)(uintptr_t)step, outcome);
	}
	return outcome;
}

static bool any_flush(GHashTable *outcomes)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, outcomes);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		if (((const struct outcome *)value)->count[INVALIDATION_FLUSH][FATE_REPORTED])
			return true;
	return false;
}

/* NULL, or what is missing. */
static const char *missing(const struct must *must, GHashTable *outcomes)
{
	const struct outcome *got = must->step ? g_hash_table_lookup(outcomes, must->step) : NULL;

	if (!must->step)
		return any_flush(outcomes) ? NULL : "lost flush that is reported";
	if (!got)
		return "invalidation at all";
	if (must->here && !got->count[INVALIDATION_PAGE][FATE_REPORTED] &&
	    !got->count[INVALIDATION_FLUSH][FATE_REPORTED])
		return "lost INVLPG or flush that is reported";
	if (must->elsewhere && !got->count[INVALIDATION_SHOOTDOWN][FATE_REPORTED])
		return "lost shootdown that is reported";
	return NULL;
}

static void judge(int cell, GHashTable *outcomes)
{
	/* A watermark that wraps within a step makes good what else the step owes. */
	bool wraps = cells[cell].setting && strstr(cells[cell].setting, "watermark");
	unsigned asked = 0, answered = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(musts); i++) {
		const struct must *must = &musts[i];
		if (must->tables && strcmp(must->tables, cells[cell].tables) != 0)
			continue;
		const char *what = missing(must, outcomes);
		asked++;
		answered += what == NULL;
		ck_assert_msg(!what || wraps, "%s, %s: '%s' has no %s", cells[cell].tables,
			      cells[cell].mode, must->step ? must->step : "the whole life", what);
	}
	ck_assert_msg(answered * 3 >= asked * 2, "%s, %s: only %u of %u steps are reported",
		      cells[cell].tables, cells[cell].mode, answered, asked);
}

/* One line for what was not reported, with the reason. */
static void say(int cell, const struct issued *one, guint number, enum fate fate,
		const struct machine_invalidation *by)
{
	if (fate == FATE_REPORTED || !all)
		return;
	printf("# %s, %s: %s %u of CPU %u at 0x%" PRIx64 " in '%s': %s%s%s\n", cells[cell].tables,
	       cells[cell].mode, kind_names[one->what.kind], number, one->what.cpu, one->what.va.a,
	       one->step, fate_names[fate],
	       fate == FATE_EMPTY ? ", nothing stale was cached" : ", before any use, by a later ",
	       fate == FATE_EMPTY ? "" : kind_names[by->kind]);
}

static void say_sums(int cell, const GArray *issued, GHashTable *outcomes)
{
	unsigned sum[FATES] = { 0 };
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, outcomes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct outcome *outcome = value;
		for (unsigned kind = 0; kind < G_N_ELEMENTS(kind_names); kind++)
			for (unsigned fate = 0; fate < FATES; fate++)
				sum[fate] += outcome->count[kind][fate];
	}
	printf("# %s, %s: %u issued; lost: %u reported, %u empty, %u made good\n",
	       cells[cell].tables, cells[cell].mode, issued->len, sum[FATE_REPORTED],
	       sum[FATE_EMPTY], sum[FATE_MADE_GOOD]);
	fflush(stdout);
}

static bool is_wanted(int cell)
{
#ifdef __SANITIZE_ADDRESS__
	const enum when now = ALWAYS;
#else
	const enum when now = PLAIN;
#endif

	if (only && strcmp(only, cells[cell].tables) != 0)
		return false;
	return all || cells[cell].when <= now;
}

START_TEST(every_owed_invalidation_that_is_lost_is_reported)
{
	GArray *issued = g_array_new(FALSE, FALSE, sizeof(struct issued));
	GHashTable *outcomes = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);

	if (is_wanted(_i))
		live_whole(_i, issued);
	for (guint i = 0; i < issued->len; i++) {
		const struct issued *one = &g_array_index(issued, struct issued, i);
		struct machine_invalidation by = { 0 };
		enum fate fate = FATE_EMPTY;
		if (!all && !is_sampled(issued, i))
			continue;
		if (!one->empty)
			fate = live_without(_i, i + 1, &by);
		ck_assert_msg(fate != FATE_MISSED,
			      "%s, %s: %s %u of CPU %u at 0x%" PRIx64 " in '%s' was lost, and "
			      "nobody noticed",
			      cells[_i].tables, cells[_i].mode, kind_names[one->what.kind], i + 1,
			      one->what.cpu, one->what.va.a, one->step);
		outcome_of(outcomes, one->step)->count[one->what.kind][fate]++;
		say(_i, one, i + 1, fate, &by);
	}
	if (issued->len > 0) {
		say_sums(_i, issued, outcomes);
		judge(_i, outcomes);
	}
	g_hash_table_unref(outcomes);
	g_array_unref(issued);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("mutation");
	TCase *tcase = tcase_create("mutation");

	all = argc > 1 && strcmp(argv[1], "slow") == 0;
	only = argc > 2 ? argv[2] : NULL;
	tcase_set_timeout(tcase, all ? 3600 : 300);
	tcase_add_loop_test(tcase, every_owed_invalidation_that_is_lost_is_reported, 0, CELLS);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
