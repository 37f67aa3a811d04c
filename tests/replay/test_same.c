/* The same in, the same out: repeated runs, both builds, two instances side by side, and the free
 * set when everything has come back. */
#include <check.h>
#include <string.h>

#include "sim/random.h"
#include "tests/support/story.h"

static struct story *story;

static unsigned systems(void)
{
	unsigned count = 0;

	while (frame_registry[count])
		count++;
	return count;
}

static const char *name_of(int index)
{
	return frame_registry[index]->name;
}

static void set_up(void)
{
	story = story_new();
}

static void tear_down(void)
{
	story_free(story);
}

/* ---- whole passes ---- */

static uint64_t digest(const char *frames, enum kernel_pass pass, uint64_t seed)
{
	struct replay_config config = story_config(story, frames);
	struct replay_result result;

	config.seed = seed;
	config.start = START_SHUFFLED;
	config.check_events = 97;
	story_pass(&config, pass, &result);
	ck_assert_msg(result.violations == 0, "%s:%s", frames, story_describe(&result));
	ck_assert_uint_eq(probe_outside(), 0);
	uint64_t got = result.digest;
	replay_result_clear(&result);
	return got;
}

START_TEST(runs_and_passes_agree_and_seeds_differ)
{
	const char *name = name_of(_i);

	for (uint64_t handle = 5001; handle <= 5200; handle++)
		story_start(story, handle, 0x200 + 3 * (handle - 5001), 1);
	for (uint64_t handle = 5001; handle <= 5200; handle += 3)
		story_free_all(story, handle);
	story_random(story, 11, 6000, 3, 1200);
	uint64_t native = digest(name, PASS_NATIVE, 1);
	ck_assert_uint_eq(digest(name, PASS_NATIVE, 1), native);
	ck_assert_uint_eq(digest(name, PASS_PROBED, 1), native);
	ck_assert_uint_eq(digest(name, PASS_PROBED, 1), native);
	/* The prologue came in another order. Null gives its next frame whatever came before. */
	if (frame_registry[_i]->caps & FRAME_CAP_FREE)
		ck_assert_uint_ne(digest(name, PASS_NATIVE, 2), native);
}
END_TEST

START_TEST(i386_and_unpaged_machines_agree_in_both_passes)
{
	GError *error = NULL;

	story_random(story, 12, 1500, 3, 1000);
	ck_assert(machine_config_set(story->machine, "arch", "i386", &error));
	for (unsigned paging = 0; paging < 2; paging++) {
		ck_assert(machine_config_set(story->machine, "paging", paging ? "on" : "off",
					     &error));
		uint64_t native = digest(name_of(_i), PASS_NATIVE, 1);
		ck_assert_uint_eq(digest(name_of(_i), PASS_PROBED, 1), native);
	}
}
END_TEST

/* ---- two machines ---- */

#define BLOCKS 100
#define STEPS  500

/* One allocator on one machine, driven step by step. */
struct instance {
	struct machine *machine;
	struct frames frames;
	const struct kernel *kernel;
	struct random random;
	struct frame_block block[BLOCKS]; /* frames 0: none */
	uint64_t digest;
	struct probe_counters counters;
};

static void report(void *context, const struct probe_finding *finding)
{
	ck_abort_msg("%s", finding->message);
}

/* From here on kernel code runs on that machine. */
static void enter(struct instance *in)
{
	machine_enter(in->machine);
	if (in->kernel != &kernels[PASS_PROBED])
		return;
	struct probe probe = { .machine = in->machine, .frames = in->frames.ops, .report = report };
	probe_begin(&probe);
	probe_phase(PROBE_RUN, &in->counters);
}

static void leave(struct instance *in)
{
	if (in->kernel == &kernels[PASS_PROBED]) {
		probe_phase(PROBE_OFF, NULL);
		probe_end();
	}
	machine_leave();
}

static struct instance *instance_new(const char *name, enum kernel_pass pass, uint64_t seed)
{
	struct instance *in = g_new0(struct instance, 1);
	const struct frame_ops *ops = kernels[pass].frame_find(name);
	struct frame_config config;
	GError *error = NULL;

	in->kernel = &kernels[pass];
	in->random = random_seeded(seed);
	in->machine = machine_new(story->machine, &error);
	ck_assert_msg(in->machine, "%s", error ? error->message : "");
	frame_config_defaults(ops, &config);
	machine_enter(in->machine);
	ck_assert_msg(machine_boot(in->machine, in->kernel->boot, ops, &config, &error), "%s: %s",
		      name, error ? error->message : "");
	machine_leave();
	in->frames = in->machine->boot.frames;
	return in;
}

static void instance_free(struct instance *in)
{
	machine_free(in->machine);
	g_free(in);
}

/* What kernel code is handed stands on its stack. */
static void give_back(struct instance *in, struct frame_block *block)
{
	struct frames frames = in->frames;
	struct frame_block gone = *block;

	if (gone.frames && (frames.ops->caps & FRAME_CAP_FREE))
		ck_assert_int_eq(in->kernel->frame_free(&frames, &gone), 0);
	block->frames = 0;
}

static void take(struct instance *in, struct frame_block *block)
{
	struct frames frames = in->frames;
	struct frame_block got;
	bool runs = frames.ops->caps & FRAME_CAP_RUNS;
	struct frame_request request = {
		.frames = 1 + (uint32_t)random_below(&in->random, runs ? 6 : 1), .align_frames = 1
	};

	if (in->kernel->frame_alloc(&frames, &request, &got) == 0)
		*block = got;
}

static void step(struct instance *in)
{
	struct frame_block *block = &in->block[random_below(&in->random, BLOCKS)];

	enter(in);
	if (block->frames)
		give_back(in, block);
	else
		take(in, block);
	in->digest = random_mix(in->digest ^ (block->frames ? block->first.n + 1 : 0));
	leave(in);
}

static void assert_same(const struct instance *a, const struct instance *b, const char *what)
{
	ck_assert_msg(a->digest == b->digest, "%s: %s", what, a->frames.ops->name);
	ck_assert_msg(memcmp(&a->counters, &b->counters, sizeof(a->counters)) == 0,
		      "%s: %s: machine events differ", what, a->frames.ops->name);
}

START_TEST(two_instances_side_by_side_do_what_each_does_alone)
{
	story_random(story, 1, 1, 0, 1);
	for (unsigned pass = 0; pass < PASSES; pass++) {
		struct instance *alone[2], *together[2];
		for (unsigned k = 0; k < 2; k++) {
			alone[k] = instance_new(name_of(_i), pass, k + 1);
			for (unsigned i = 0; i < STEPS; i++)
				step(alone[k]);
		}
		together[0] = instance_new(name_of(_i), pass, 1);
		together[1] = instance_new(name_of(_i), pass, 2);
		struct random turns = random_seeded(9);
		for (unsigned left[2] = { STEPS, STEPS }; left[0] + left[1];) {
			unsigned k = (unsigned)random_below(&turns, 2);
			if (left[k])
				step(together[k]), left[k]--;
		}
		for (unsigned k = 0; k < 2; k++) {
			assert_same(alone[k], together[k], "side by side");
			ck_assert_uint_eq(alone[k]->counters.stores > 0, pass == PASS_PROBED);
		}
		ck_assert_uint_ne(alone[0]->digest, alone[1]->digest);
		for (unsigned k = 0; k < 2; k++) {
			instance_free(alone[k]);
			instance_free(together[k]);
		}
	}
}
END_TEST

/* ---- the free set ---- */

static int hash_extent(void *context, const struct frame_extent *extent)
{
	uint64_t *hash = context;

	for (uint64_t i = 0; extent->state == FRAME_FREE && i < extent->frames; i++)
		*hash = random_mix(*hash ^ (extent->first.n + i));
	return 0;
}

static uint64_t free_set(const struct instance *in)
{
	uint64_t hash = 1;

	machine_enter(in->machine);
	ck_assert_int_eq(in->frames.ops->walk(in->frames.state, hash_extent, &hash), 0);
	machine_leave();
	return hash;
}

START_TEST(free_set_after_everything_came_back_is_that_after_boot)
{
	for (unsigned pass = 0; pass < PASSES; pass++) {
		struct instance *in = instance_new(name_of(_i), pass, 4);
		uint64_t before = free_set(in);
		for (unsigned i = 0; i < STEPS + 1; i++)
			step(in);
		ck_assert_uint_ne(free_set(in), before);
		enter(in);
		for (unsigned i = 0; i < BLOCKS; i++)
			give_back(in, &in->block[i]);
		leave(in);
		if (in->frames.ops->caps & FRAME_CAP_FREE)
			ck_assert_msg(free_set(in) == before, "%s: frames are lost or gained",
				      name_of(_i));
		instance_free(in);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sameness");
	TCase *one = tcase_create("passes");

	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_set_timeout(one, 60);
	tcase_add_loop_test(one, runs_and_passes_agree_and_seeds_differ, 0, (int)systems());
	tcase_add_loop_test(one, i386_and_unpaged_machines_agree_in_both_passes, 0, (int)systems());
	suite_add_tcase(suite, one);

	one = tcase_create("instances");
	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_set_timeout(one, 60);
	tcase_add_loop_test(one, two_instances_side_by_side_do_what_each_does_alone, 0,
			    (int)systems());
	tcase_add_loop_test(one, free_set_after_everything_came_back_is_that_after_boot, 0,
			    (int)systems());
	suite_add_tcase(suite, one);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
