/* A trace on host threads: sound systems stay sound, handles change hands, and what is planted is
 * reported instead of hanging. Defects here are native only, so they may use the host. */
#include <check.h>
#include <sched.h>
#include <string.h>

#include "alloc/frame/systems.h"
#include "alloc/lock.h"
#include "alloc/port.h"
#include "sim/threads.h"
#include "tests/support/story.h"

#define CPUS	 4
#define LIMIT_MS 300

static struct story *story;

static void set_up(void)
{
	story = story_new();
#ifdef __SANITIZE_THREAD__
	/* It leaves no room for the reservation of the other one. */
	ck_assert(machine_config_set(story->machine, "arch", "i386", NULL));
#endif
	story->meta->cpus = CPUS;
	story->machine->cpus = CPUS;
}

static void tear_down(void)
{
	story_free(story);
}

static unsigned systems(void)
{
	unsigned count = 0;

	while (frame_registry[count])
		count++;
	return count;
}

/* Allocations and frees on all CPUs: most handles are freed on another one than they came from. */
static void tell_random(uint32_t seed, unsigned events, unsigned max_order, uint64_t live)
{
	GRand *random = g_rand_new_with_seed(seed);

	story_random(story, seed, events, max_order, live);
	for (guint i = 0; i < story->events->len; i++)
		g_array_index(story->events, struct event, i).cpu =
			(uint16_t)g_rand_int_range(random, 0, CPUS);
	g_rand_free(random);
}

static struct replay_config config_of(const struct frame_ops *ops, unsigned threads)
{
	struct replay_config config = story_config_ops(story, ops, NULL);

	config.frame_config.cpus = CPUS;
	config.threads = threads;
	config.limit_ms = LIMIT_MS;
	return config;
}

static void run(const struct replay_config *config, struct replay_result *result)
{
	story_pass(config, PASS_NATIVE, result);
}

/* ---- what is sound ---- */

static void assert_sound(const struct frame_ops *ops, unsigned threads)
{
	struct replay_config config = config_of(ops, threads);
	struct replay_result result;

	/* A busy host is no defect. */
	config.limit_ms = 20 * THREADS_LIMIT_MS;
	run(&config, &result);
	ck_assert_msg(result.violations == 0, "%s on %u threads:%s", ops->name, threads,
		      story_describe(&result));
	ck_assert(!result.died && !result.digested);
	ck_assert_uint_eq(result.events, story->events->len);
	ck_assert_uint_gt(result.operations, 0);
	if (ops->caps & FRAME_CAP_LOCKLESS)
		ck_assert_uint_eq(result.lock_acquisitions, 0);
	else
		ck_assert_uint_gt(result.lock_acquisitions, 0); /* refusals take none */
	replay_result_clear(&result);
}

START_TEST(systems_of_the_registry_are_sound_on_threads)
{
	tell_random(21, 6000, 3, 900);
	assert_sound(frame_registry[_i], 1);
	assert_sound(frame_registry[_i], 2);
	assert_sound(frame_registry[_i], CPUS);
}
END_TEST

START_TEST(memory_that_runs_out_is_sound_on_threads)
{
	tell_random(22, 6000, 4, 3000);
	assert_sound(frame_registry[_i], CPUS);
}
END_TEST

START_TEST(a_start_state_is_freed_by_threads)
{
	for (uint64_t handle = 5001; handle <= 5400; handle++)
		story_start(story, handle, 0x200 + 2 * (handle - 5001), 1);
	tell_random(23, 6000, 2, 600);
	for (uint64_t handle = 5001; handle <= 5300; handle++) {
		story_free_all(story, handle);
		g_array_index(story->events, struct event, story->events->len - 1).cpu =
			(uint16_t)(handle % CPUS);
	}
	assert_sound(&frame_buddy, CPUS);
	assert_sound(&frame_bitmap_lockless, CPUS);
	assert_sound(&frame_llfree, CPUS);
}
END_TEST

START_TEST(a_handle_may_be_used_again_on_another_thread)
{
	struct replay_config config;
	struct replay_result result;

	for (unsigned i = 0; i < 4000; i++) {
		story_alloc(story, 1 + i % 3, 1 + i % 2)->cpu = (uint16_t)(i % CPUS);
		story_free_all(story, 1 + i % 3);
		g_array_index(story->events, struct event, story->events->len - 1).cpu =
			(uint16_t)(i / 3 % CPUS);
	}
	assert_sound(&frame_buddy, CPUS);
	config = config_of(&frame_llfree, CPUS);
	run(&config, &result);
	ck_assert_uint_eq(result.failures, 0);
	ck_assert_uint_eq(result.operations, 8000);
	replay_result_clear(&result);
}
END_TEST

START_TEST(a_free_without_its_allocation_is_a_trace_error)
{
	struct replay_config config;
	struct replay_result result;
	GError *error = NULL;

	story_alloc(story, 1, 1);
	story_free_all(story, 1);
	story_free_all(story, 1);
	config = config_of(&frame_buddy, 2);
	ck_assert(!replay_pass(&config, PASS_NATIVE, NULL, &result, &error));
	ck_assert_msg(strstr(error->message, "event 2: free of a handle that is not allocated"),
		      "%s", error->message);
	g_error_free(error);
}
END_TEST

#ifndef __SANITIZE_THREAD__
/* ---- what is planted ---- */

/* A byte a frame, looked at and then written: it says that it needs no lock. */
struct bytes {
	struct memmap map;
	uint8_t taken[];
};

static uint64_t bytes_state_bytes(const struct memmap *map, const struct frame_config *config,
				  const char **why)
{
	(void)config;
	(void)why;
	return sizeof(struct bytes) + map->end.n;
}

static int bytes_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	struct bytes *b = state;

	(void)config;
	b->map = *map;
	return 0;
}

static int bytes_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct bytes *b = state;

	for (uint32_t r = 0; r < b->map.count; r++)
		for (uint64_t i = 0; i < b->map.ranges[r].frames; i++) {
			uint64_t frame = b->map.ranges[r].first.n + i;
			if (__atomic_load_n(&b->taken[frame], __ATOMIC_RELAXED))
				continue;
			sched_yield(); /* the others' chance */
			__atomic_store_n(&b->taken[frame], 1, __ATOMIC_RELAXED);
			*out = (struct frame_block){ pfn(frame), 1 };
			return 0;
		}
	(void)request;
	return KERR_NO_MEMORY;
}

static int bytes_free(void *state, const struct frame_block *block)
{
	struct bytes *b = state;

	__atomic_store_n(&b->taken[block->first.n], 0, __ATOMIC_RELAXED);
	return 0;
}

static int bytes_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	const struct bytes *b = state;

	for (uint32_t r = 0; r < b->map.count; r++)
		for (uint64_t i = 0; i < b->map.ranges[r].frames; i++) {
			struct frame_extent extent = { pfn(b->map.ranges[r].first.n + i), 1 };
			extent.state = b->taken[extent.first.n] ? FRAME_USED : FRAME_FREE;
			if (visit(ctx, &extent))
				return KERR_STOP;
		}
	return 0;
}

static int count_free(void *ctx, const struct frame_extent *extent)
{
	*(uint64_t *)ctx += extent->state == FRAME_FREE;
	return 0;
}

static void bytes_stats(const void *state, struct frame_stats *out)
{
	const struct bytes *b = state;

	*out = (struct frame_stats){ .managed_frames = b->map.frames };
	bytes_walk(state, count_free, &out->free_frames);
}

static int bytes_check(const void *state, struct violation *violation)
{
	(void)state;
	(void)violation;
	return 0;
}

/* ---- those that do not come back ---- */

static unsigned calls; /* of alloc, on any thread */

static bool is_time(void)
{
	return __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) == 100;
}

static void loop_for_ever(void)
{
	volatile bool never = false;

	while (!never)
		;
}

static int hangs_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	if (is_time())
		loop_for_ever();
	return frame_bitmap_lockless.alloc(state, request, out);
}

static int panics_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	if (is_time())
		port_panic("planted panic");
	return bytes_alloc(state, request, out);
}

/* A lock of its own, which one path forgets. */
static struct spinlock own_lock;

static int forgets_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	spin_lock(&own_lock);
	int status = bytes_alloc(state, request, out);
	if (!is_time())
		spin_unlock(&own_lock);
	return status;
}

/* Takes a lock that it has. */
static int twice_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	spin_lock(&own_lock);
	if (is_time())
		spin_lock(&own_lock);
	int status = bytes_alloc(state, request, out);
	spin_unlock(&own_lock);
	return status;
}

#define BYTES(label, extra, alloc_fn)                                                             \
	{                                                                                         \
		.name = label, .id = "-", .summary = "planted", .caps = FRAME_CAP_FREE | (extra), \
		.state_bytes = bytes_state_bytes, .init = bytes_init, .alloc = alloc_fn,          \
		.free = bytes_free, .stats = bytes_stats, .walk = bytes_walk,                     \
		.check = bytes_check,                                                             \
	}

static const struct frame_ops racy = BYTES("racy", FRAME_CAP_LOCKLESS, bytes_alloc);
static const struct frame_ops locked = BYTES("locked", 0, bytes_alloc);
static const struct frame_ops panics = BYTES("panics", 0, panics_alloc);
static const struct frame_ops forgets = BYTES("forgets", FRAME_CAP_LOCKLESS, forgets_alloc);
static const struct frame_ops twice = BYTES("twice", FRAME_CAP_LOCKLESS, twice_alloc);
static struct frame_ops hangs, hangs_locked; /* F2, but for one call */

static void plant_hangs(void)
{
	hangs = frame_bitmap_lockless;
	hangs.name = "hangs";
	hangs.alloc = hangs_alloc;
	hangs_locked = hangs;
	hangs_locked.name = "hangs-locked";
	hangs_locked.caps &= ~(unsigned)FRAME_CAP_LOCKLESS;
}

START_TEST(a_race_is_seen)
{
	struct replay_config config;
	struct replay_result result;

	tell_random(24, 6000, 0, 200);
	assert_sound(&racy, 1);
	assert_sound(&locked, CPUS);
	config = config_of(&racy, CPUS);
	config.limit_ms = 20 * THREADS_LIMIT_MS;
	run(&config, &result);
	ck_assert_uint_gt(result.violations, 0);
	ck_assert_msg(story_violation(&result, "overlap"), "%s", story_describe(&result));
	replay_result_clear(&result);
}
END_TEST

static const struct {
	const struct frame_ops *ops;
	const char *kind;
	const char *words;
} endless[] = {
	{ &hangs, "hang",
	  "does not come back within 300 ms of CPU time, at tests/threads/test_replay.c" },
	{ &hangs_locked, "hang",
	  "does not come back within 300 ms of CPU time, at tests/threads/test_replay.c" },
	{ &panics, "panic", "planted panic" },
	{ &forgets, "deadlock", "waits for a lock" },
	{ &twice, "deadlock", "waits for a lock that it has itself" },
};

START_TEST(what_does_not_come_back_ends_with_a_report)
{
	const struct replay_violation *found;
	struct replay_config config;
	struct replay_result result;

	plant_hangs();
	tell_random(25, 3000, 0, 200);
	for (unsigned threads = 1; threads <= CPUS; threads *= 2) {
		calls = 0;
		own_lock = (struct spinlock){ 0 };
		config = config_of(endless[_i].ops, threads);
		gint64 begin = g_get_monotonic_time();
		run(&config, &result);
		ck_assert(result.died);
		found = story_violation(&result, endless[_i].kind);
		ck_assert_msg(found, "%s: %s", endless[_i].ops->name, story_describe(&result));
		ck_assert_msg(strstr(found->message, endless[_i].words), "%s", found->message);
		ck_assert_uint_ne(found->event, REPLAY_ALL);
		ck_assert_int_lt(g_get_monotonic_time() - begin, 60 * G_USEC_PER_SEC);
		replay_result_clear(&result);
	}
}
END_TEST

#endif

int main(void)
{
	Suite *suite = suite_create("replay on threads");
	TCase *one = tcase_create("sound");

	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_set_timeout(one, 60);
	tcase_add_loop_test(one, systems_of_the_registry_are_sound_on_threads, 0, (int)systems());
	tcase_add_loop_test(one, memory_that_runs_out_is_sound_on_threads, 0, (int)systems());
	tcase_add_test(one, a_start_state_is_freed_by_threads);
	tcase_add_test(one, a_handle_may_be_used_again_on_another_thread);
	tcase_add_test(one, a_free_without_its_allocation_is_a_trace_error);
	suite_add_tcase(suite, one);

#ifndef __SANITIZE_THREAD__ /* it finds the races, and holds signals back */
	one = tcase_create("planted");
	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_set_timeout(one, 60);
	tcase_add_test(one, a_race_is_seen);
	tcase_add_loop_test(one, what_does_not_come_back_ends_with_a_report, 0,
			    (int)G_N_ELEMENTS(endless));
	suite_add_tcase(suite, one);
#endif

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
