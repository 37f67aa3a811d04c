/*
 * Many processes: the limit of directories, forks deep and wide, a fork bomb; whatever happens,
 * every frame comes back.
 */
#include <check.h>
#include <stdlib.h>

#include "tests/space/rig.h"

#define RW (SPACE_READ | SPACE_WRITE)

#define LIMIT 65536u

static void fill_the_area(struct rig *rig, void *context)
{
	struct space **space = g_new(struct space *, LIMIT);
	struct space *one_more;

	for (uint32_t i = 0; i < LIMIT; i++)
		ck_assert_int_eq(space_lab_new(&rig->lab, &space[i]), 0);
	ck_assert_int_eq(space_lab_new(&rig->lab, &one_more), KERR_NO_MEMORY);
	ck_assert_uint_eq(rig->lab.spaces->stats.spaces, LIMIT);
	/* One that goes makes room for one. */
	space_lab_free(&rig->lab, space[777]);
	ck_assert_int_eq(space_lab_new(&rig->lab, &space[777]), 0);
	ck_assert_int_eq(space_lab_new(&rig->lab, &one_more), KERR_NO_MEMORY);
	for (uint32_t i = 0; i < LIMIT; i++)
		space_lab_free(&rig->lab, space[i]);
	g_free(space);
}

START_TEST(sixty_five_thousand_directories_and_not_one_more)
{
	const struct rig_config config = { .tables = "directories",
					   .spaces = "regions",
					   .mode = "32",
					   .layout = "directories",
					   .ram_bytes = 400u << 20 };
	struct rig *rig = rig_new(&config);

	rig_run(rig, fill_the_area, NULL);
	rig_stop(rig);
	rig_free(rig);
}
END_TEST

#define FORKS 1000u
#define BASE  0x10000000ull
#define PAGES 8u

static struct space *first_space(struct rig *rig)
{
	struct space *space;

	ck_assert_int_eq(space_lab_new(&rig->lab, &space), 0);
	ck_assert_int_eq(space_lab_map(&rig->lab, space, BASE, BASE + PAGES * FRAME_BYTES, RW), 0);
	space_lab_switch(&rig->lab, space);
	for (uint64_t i = 0; i < PAGES; i++)
		ck_assert_int_eq(rig_touch(rig, space, BASE + i * FRAME_BYTES, MMU_WRITE, &i),
				 TOUCH_DONE);
	return space;
}

/* A child writes its number into one page; the others it must find as the first wrote them. */
static void be_different(struct rig *rig, struct space *space, uint64_t number)
{
	uint64_t page = BASE + number % (PAGES - 1) * FRAME_BYTES, value = number;

	space_lab_switch(&rig->lab, space);
	ck_assert_int_eq(rig_touch(rig, space, page + 8, MMU_WRITE, &value), TOUCH_DONE);
	ck_assert_int_eq(rig_touch(rig, space, BASE + (PAGES - 1) * FRAME_BYTES, MMU_READ, &value),
			 TOUCH_DONE);
	ck_assert_uint_eq(value, PAGES - 1);
	ck_assert_int_eq(rig_touch(rig, space, page + 8, MMU_READ, &value), TOUCH_DONE);
	ck_assert_uint_eq(value, number);
}

struct shape {
	bool deep;
};

static void fork_them(struct rig *rig, void *context)
{
	const struct shape *shape = context;
	struct space *space[FORKS + 1] = { first_space(rig) };

	for (unsigned i = 1; i <= FORKS; i++) {
		struct space *parent = shape->deep ? space[i - 1] : space[0];
		ck_assert_int_eq(space_lab_fork(&rig->lab, parent, &space[i]), 0);
		be_different(rig, space[i], i);
	}
	/* The page that nobody wrote is one frame still. */
	struct table_leaf leaf;
	struct tables *t = rig->lab.spaces->tables;
	ck_assert(table_query(t, &space[FORKS]->root,
			      (struct vaddr){ BASE + (PAGES - 1) * FRAME_BYTES }, &leaf));
	table_settle(t);
	ck_assert_uint_eq(*table_uses(t, paddr_to_pfn(leaf.paddr)), FORKS + 1);
	space_lab_audit(&rig->lab);
	/* Parents first, so that the children are the last users. */
	for (unsigned i = 0; i <= FORKS; i++)
		space_lab_free(&rig->lab, space[i]);
}

static const char *const systems[] = { "direct", "recursive", "foreign", "pool", "preallocated" };

START_TEST(a_thousand_forks_deep_and_wide_come_back)
{
	const struct rig_config config = {
		.tables = systems[_i / 2], .spaces = "cow", .mode = "4level", .ram_bytes = 64u << 20
	};
	struct shape shape = { _i % 2 };
	struct rig *rig = rig_new(&config);

	rig_run(rig, fork_them, &shape);
	rig_stop(rig);
	rig_free(rig);
}
END_TEST

/* Everybody forks until nothing is left. */
static void bomb(struct rig *rig, void *context)
{
	struct space *space[8192] = { first_space(rig) };
	unsigned count = 1;
	uint64_t *limit = context;

	for (unsigned i = 0; count < G_N_ELEMENTS(space); i++) {
		int status = space_lab_fork(&rig->lab, space[i], &space[count]);
		if (status == KERR_OK) {
			count++;
			continue;
		}
		ck_assert_int_eq(status, KERR_NO_MEMORY);
		break;
	}
	ck_assert_uint_gt(count, 50);
	if (*limit)
		ck_assert_uint_eq(count, *limit);
	space_lab_audit(&rig->lab);
	for (unsigned i = 0; i < count; i++)
		space_lab_free(&rig->lab, space[i]);
}

START_TEST(a_fork_bomb_meets_the_limit_or_the_end_of_memory)
{
	const struct rig_config config = { .tables = "direct",
					   .spaces = "cow",
					   .mode = "32",
					   .setting = _i ? "space.processes=100" : NULL,
					   .ram_bytes = 8u << 20 };
	uint64_t limit = _i ? 100 : 0;
	struct rig *rig = rig_new(&config);

	rig_run(rig, bomb, &limit);
	rig_stop(rig);
	rig_free(rig);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("processes");
	TCase *tcase = tcase_create("many");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, sixty_five_thousand_directories_and_not_one_more);
	tcase_add_loop_test(tcase, a_thousand_forks_deep_and_wide_come_back, 0, 10);
	tcase_add_loop_test(tcase, a_fork_bomb_meets_the_limit_or_the_end_of_memory, 0, 2);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
