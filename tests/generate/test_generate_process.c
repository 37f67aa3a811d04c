/* Whether processes do what they may: a model of their spaces, a right for every page, follows the
 * traces and judges every event. */
#include <check.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "tests/generate/generate_support.h"

#define PAGE	  UINT64_C(4096)
#define SPACE_END UINT64_C(0xc0000000)

struct space {
	GHashTable *rights; /* page number -> rights; absent: no region */
	uint64_t brk;	    /* 0: not set yet */
	unsigned depth;
};

struct model {
	GHashTable *spaces; /* task -> struct space * */
	const struct event *event;
	guint number;
	guint most; /* spaces alive at a time */
	uint64_t kinds[EVENT_KINDS];
	unsigned deepest;
	uint64_t heap_pages; /* the largest heap's, as BRKs moved it */
};

static void space_free(gpointer data)
{
	struct space *space = data;
	g_hash_table_unref(space->rights);
	g_free(space);
}

static struct space *space_new(struct model *model, uint32_t task)
{
	struct space *space = g_new0(struct space, 1);
	gpointer key = GUINT_TO_POINTER(task);

	ck_assert_msg(task != 0 && !g_hash_table_contains(model->spaces, key),
		      "event %u: process %u is alive", model->number, task);
	space->rights = g_hash_table_new(g_direct_hash, g_direct_equal);
	g_hash_table_insert(model->spaces, key, space);
	model->most = MAX(model->most, g_hash_table_size(model->spaces));
	return space;
}

static struct space *actor(struct model *model)
{
	struct space *space =
		g_hash_table_lookup(model->spaces, GUINT_TO_POINTER(model->event->task));

	ck_assert_msg(space != NULL, "event %u: process %u is not alive", model->number,
		      model->event->task);
	return space;
}

static unsigned rights_of(const struct space *space, uint64_t page)
{
	return GPOINTER_TO_UINT(g_hash_table_lookup(space->rights, GSIZE_TO_POINTER(page)));
}

/* Gives pages rights; 0 takes them out. WANT: whether they must be a region before. */
static void set_pages(struct model *model, struct space *space, uint64_t from, uint64_t to,
		      unsigned rights, bool want)
{
	ck_assert_msg(from % PAGE == 0 && to % PAGE == 0 && from < to && from > 0 &&
			      to <= SPACE_END,
		      "event %u: %" PRIx64 " to %" PRIx64, model->number, from, to);
	for (uint64_t page = from / PAGE; page < to / PAGE; page++) {
		ck_assert_msg((rights_of(space, page) != 0) == want,
			      "event %u: page %" PRIx64 " is %sa region", model->number, page,
			      want ? "not " : "");
		if (rights)
			g_hash_table_insert(space->rights, GSIZE_TO_POINTER(page),
					    GUINT_TO_POINTER(rights));
		else
			g_hash_table_remove(space->rights, GSIZE_TO_POINTER(page));
	}
}

static void on_fork(struct model *model)
{
	struct space *parent = actor(model);
	struct space *child = space_new(model, model->event->u.process.child);
	GHashTableIter at;
	gpointer page, rights;

	g_hash_table_iter_init(&at, parent->rights);
	while (g_hash_table_iter_next(&at, &page, &rights))
		g_hash_table_insert(child->rights, page, rights);
	child->brk = parent->brk;
	child->depth = parent->depth + 1;
	model->deepest = MAX(model->deepest, child->depth);
}

static void on_brk(struct model *model)
{
	struct space *space = actor(model);
	uint64_t to = model->event->u.region.address;

	ck_assert_uint_eq(to % PAGE, 0);
	if (space->brk && to > space->brk)
		set_pages(model, space, space->brk, to, RIGHT_READ | RIGHT_WRITE, false);
	if (space->brk && to < space->brk)
		set_pages(model, space, to, space->brk, 0, true);
	if (space->brk && to > space->brk)
		model->heap_pages += (to - space->brk) / PAGE;
	space->brk = to;
}

static void on_touch(struct model *model)
{
	const struct event *event = model->event;
	uint64_t first = event->u.touch.address / PAGE;
	uint64_t last = (event->u.touch.address + event->u.touch.bytes - 1) / PAGE;
	unsigned access = event->u.touch.access, rights = rights_of(actor(model), first);

	ck_assert_uint_gt(event->u.touch.bytes, 0);
	ck_assert_uint_gt(access, 0);
	ck_assert_uint_eq(first, last);
	ck_assert_msg((access & ~rights) == 0,
		      "event %u: access %u of %" PRIx64 ", where rights are %u", model->number,
		      access, event->u.touch.address, rights);
	ck_assert_msg(rights_of(actor(model), event->u.touch.ip / PAGE) & RIGHT_EXEC,
		      "event %u: no code at %" PRIx64, model->number, event->u.touch.ip);
}

static void judge(struct model *model)
{
	const struct event *event = model->event;
	uint64_t from = event->u.region.address, to = from + event->u.region.bytes;
	struct space *space;

	model->kinds[event->kind]++;
	switch (event->kind) {
	case EVENT_SPAWN:
		space_new(model, event->u.process.child);
		return;
	case EVENT_FORK:
		on_fork(model);
		return;
	case EVENT_EXEC:
		space = actor(model);
		g_hash_table_remove_all(space->rights);
		space->brk = 0;
		ck_assert_uint_gt(event->u.process.name, 0);
		return;
	case EVENT_EXIT:
		actor(model);
		g_hash_table_remove(model->spaces, GUINT_TO_POINTER(event->task));
		return;
	case EVENT_MMAP:
		set_pages(model, actor(model), from, to, event->u.region.rights, false);
		return;
	case EVENT_MUNMAP:
		set_pages(model, actor(model), from, to, 0, true);
		return;
	case EVENT_MPROTECT:
		set_pages(model, actor(model), from, to, event->u.region.rights, true);
		return;
	case EVENT_BRK:
		on_brk(model);
		return;
	case EVENT_TOUCH:
		on_touch(model);
		return;
	default:
		ck_abort_msg("event %u: kind %u", model->number, event->kind);
	}
}

/* Judges a whole trace; everybody is gone at its end. */
static struct model judged(const char *name, const char *text, uint64_t seed)
{
	g_autoptr(GArray) events = events_of(name, text, seed, NULL);
	struct model model = { .spaces = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL,
							       space_free) };

	for (model.number = 0; model.number < events->len; model.number++) {
		model.event = &g_array_index(events, struct event, model.number);
		judge(&model);
	}
	ck_assert_msg(g_hash_table_size(model.spaces) == 0, "%s: processes are left", name);
	g_hash_table_unref(model.spaces);
	return model;
}

static const struct {
	const char *name, *text;
} cases[] = {
	{ "fork-storm", "forks=300" },
	{ "fork-storm", "forks=200 live=2 exec=0 touches=1" },
	{ "fork-storm", "forks=200 live=100 depth=50 exec=20 writes=0" },
	{ "server", "requests=800 workers=10 life=20 helpers=10" },
	{ "server", "requests=300 workers=1 heap=0 keep=0 buffer=1" },
	{ "server", "requests=40 workers=3 buffer=65536 buffer-alpha=0.01 keep=100" },
	{ "build-farm", "compiles=20 max-pages=2000" },
	{ "build-farm", "compiles=10 jobs=1 link=1 max-pages=1000" },
	{ "build-farm", "compiles=1 link=1000000 min-pages=200000 max-pages=200000" },
};

START_TEST(processes_touch_only_what_they_have)
{
	judged(cases[_i].name, cases[_i].text, (uint64_t)_i);
}
END_TEST

START_TEST(a_storm_forks_as_often_and_as_deep_as_asked)
{
	struct model model = judged("fork-storm", "forks=500 live=20 depth=4 exec=30", 1);

	ck_assert_uint_eq(model.kinds[EVENT_FORK], 500);
	ck_assert_uint_eq(model.kinds[EVENT_EXIT], 501);
	ck_assert_uint_eq(model.most, 20);
	ck_assert_uint_eq(model.deepest, 4);
	/* The first exec is the root's. */
	ck_assert_double_eq_tol((double)(model.kinds[EVENT_EXEC] - 1) / 500, 0.3, 0.08);
}
END_TEST

START_TEST(a_server_has_its_workers_and_replaces_them)
{
	struct model model = judged("server", "requests=1000 workers=10 life=50 helpers=5", 2);

	/* The master, the workers, one helper. */
	ck_assert_uint_eq(model.most, 12);
	/* About requests / life of them end, and 50 helpers come. */
	uint64_t more = model.kinds[EVENT_FORK] - 10;
	ck_assert_msg(more > 40 && more < 110, "%" PRIu64 " forks", more);
	ck_assert_uint_gt(model.kinds[EVENT_MMAP], 1000);
	ck_assert_uint_gt(model.kinds[EVENT_MUNMAP], 700);
	ck_assert_uint_gt(model.kinds[EVENT_BRK], 50);
}
END_TEST

START_TEST(a_build_runs_no_more_jobs_than_asked)
{
	struct model model = judged(
		"build-farm", "compiles=40 jobs=5 min-pages=100 max-pages=1000 link=1000000", 3);

	ck_assert_uint_eq(model.most, 6);
	ck_assert_uint_eq(model.kinds[EVENT_FORK], 40);
	/* make itself; a shell and a compiler each. */
	ck_assert_uint_eq(model.kinds[EVENT_EXEC], 81);
	ck_assert_uint_ge(model.heap_pages, 40 * 100);
	ck_assert_uint_le(model.heap_pages, 40 * 1000);
}
END_TEST

static Suite *process_suite(void)
{
	Suite *suite = suite_create("generate process");
	TCase *spaces = tcase_create("spaces");
	TCase *promises = tcase_create("promises");

	tcase_add_loop_test(spaces, processes_touch_only_what_they_have, 0, G_N_ELEMENTS(cases));
	suite_add_tcase(suite, spaces);
	tcase_add_test(promises, a_storm_forks_as_often_and_as_deep_as_asked);
	tcase_add_test(promises, a_server_has_its_workers_and_replaces_them);
	tcase_add_test(promises, a_build_runs_no_more_jobs_than_asked);
	suite_add_tcase(suite, promises);
	return suite;
}

int main(void)
{
	SRunner *runner = srunner_create(process_suite());

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
