/*
 * What frame.h promises, asked of every system in the registry, on every memory map, under every
 * option. A new allocator gets all of it for free.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/support/frame_maps.h"
#include "tests/support/frame_model.h"

#define SETTINGS_MAX 8
#define CASES_MAX    2048

/* One row of the matrix. */
struct matrix_case {
	const struct frame_ops *ops;
	const struct named_map *map;
	struct frame_config config;
	char name[128];
};

static struct matrix_case cases[CASES_MAX];
static int case_count;

static void add_case(const struct frame_ops *ops, const struct named_map *map,
		     const struct frame_config *config, const char *setting)
{
	struct matrix_case *c = &cases[case_count++];

	if (case_count == CASES_MAX)
		abort();
	*c = (struct matrix_case){ .ops = ops, .map = map, .config = *config };
	snprintf(c->name, sizeof(c->name), "%s%s on %s", ops->name, setting, map->name);
}

/* Every choice of an option, or its ends and its middle; the other options at their defaults. */
static void add_settings(const struct frame_ops *ops, const struct named_map *map, unsigned option)
{
	const struct frame_option *o = &ops->options[option];
	uint64_t middle = o->min + (o->max - o->min) / 4;
	uint64_t numbers[] = { o->min, middle, o->max };
	unsigned n = 3;
	struct frame_config config;
	char setting[64];

	if (o->choices)
		for (n = 0; o->choices[n];)
			n++;
	for (unsigned i = 0; i < n; i++) {
		frame_config_defaults(ops, &config);
		config.option[option] = o->choices ? i : numbers[i];
		if (config.option[option] == o->value)
			continue;
		snprintf(setting, sizeof(setting), ",%s=%lu", o->key, config.option[option]);
		add_case(ops, map, &config, setting);
	}
}

static void build_matrix(void)
{
	struct frame_config config;

	for (const struct frame_ops *const *ops = frame_registry; *ops; ops++)
		for (unsigned m = 0; m < frame_map_count; m++) {
			frame_config_defaults(*ops, &config);
			add_case(*ops, &frame_maps[m], &config, "");
			for (unsigned o = 0; (*ops)->options && (*ops)->options[o].key; o++)
				add_settings(*ops, &frame_maps[m], o);
		}
}

static const struct matrix_case *now; /* the case that runs, and what is asked of it */
static const char *promise;

/* A test that fails leaves its process in the middle of a promise: say of which. */
__attribute__((destructor)) static void name_the_broken_promise(void)
{
	if (promise)
		fprintf(stderr, "# broken: %s: %s\n", now->name, promise);
}

/* NULL where the system refuses the map, which takes a reason. */
static struct frame_instance *instance_of(const struct matrix_case *c)
{
	struct frame_instance *in = frame_instance_new(c->ops, &c->map->map, &c->config);

	if (in->refused) {
		expect(strstr(in->refused, c->ops->name) != NULL,
		       "%s: refused, but the reason does not name the system: %s", c->name,
		       in->refused);
		frame_instance_free(in);
		return NULL;
	}
	return in;
}

static bool can(const struct frame_instance *in, unsigned cap)
{
	return in->frames.ops->caps & cap;
}

#define CASE_TEST(name) static void name(const struct matrix_case *c, struct frame_instance *in)

/* Frames that an empty allocator does not hand out one by one: its own records. */
static uint64_t take_all_singles(struct frame_instance *in, struct frame_block *blocks)
{
	uint64_t n = 0;

	while (frame_instance_alloc(in, 1, &blocks[n]) == 0) {
		n++;
		expect(n <= in->map.frames, "n");
	}
	return n;
}

CASE_TEST(a_fresh_allocator_has_every_frame_free)
{
	struct frame_stats stats;
	struct frame_customer customer;

	in->frames.ops->stats(in->frames.state, &stats);
	expect_eq(stats.managed_frames, in->map.frames);
	expect_eq(stats.free_frames + stats.kept_frames, in->map.frames);
	frame_instance_assert_sound(in);
	frame_customer_init(&customer, in, 1);
	frame_customer_assert_agreement(&customer);
	frame_customer_fini(&customer);
}

CASE_TEST(random_use_keeps_every_promise)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct frame_instance *fresh = instance_of(c);
		struct frame_customer customer;

		frame_customer_init(&customer, fresh, seed);
		for (unsigned step = 0; step < 1500; step++) {
			frame_customer_step(&customer);
			if (step % 50 == 0) {
				frame_instance_assert_sound(fresh);
				frame_customer_assert_agreement(&customer);
			}
		}
		frame_customer_fini(&customer);
		frame_instance_free(fresh);
	}
}

CASE_TEST(freeing_everything_restores_the_free_set)
{
	uint64_t before = frame_instance_digest(in);
	struct frame_customer customer;

	if (!can(in, FRAME_CAP_FREE))
		return;
	frame_customer_init(&customer, in, 7);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned step = 0; step < 700; step++)
			frame_customer_step(&customer);
		frame_customer_free_all(&customer);
		frame_instance_assert_sound(in);
		frame_customer_assert_agreement(&customer);
		if (frame_instance_free_frames(in) == in->map.frames)
			expect(frame_instance_digest(in) == before, "%s", c->name);
	}
	frame_customer_fini(&customer);
}

static uint64_t digest_of_run(struct frame_instance *in, uint64_t seed, unsigned steps)
{
	struct frame_customer customer;
	uint64_t digest;

	frame_customer_init(&customer, in, seed);
	for (unsigned step = 0; step < steps; step++)
		frame_customer_step(&customer);
	digest = customer.digest;
	frame_customer_fini(&customer);
	return digest;
}

CASE_TEST(the_same_run_twice_gives_the_same_digest)
{
	struct frame_instance *other = instance_of(c);
	uint64_t second = digest_of_run(other, 5, 800);

	frame_instance_free(other);
	stub_machine_use(in->machine);
	expect(digest_of_run(in, 5, 800) == second, "%s", c->name);
}

CASE_TEST(two_instances_side_by_side_do_not_meet)
{
	struct frame_instance *other = instance_of(c), *alone = instance_of(c);
	uint64_t want = digest_of_run(alone, 11, 500);
	struct frame_customer a, b;

	frame_customer_init(&a, in, 11);
	frame_customer_init(&b, other, 12);
	for (unsigned step = 0; step < 500; step++) {
		stub_machine_use(in->machine);
		frame_customer_step(&a);
		stub_machine_use(other->machine);
		frame_customer_step(&b);
	}
	expect(a.digest == want, "%s", c->name);
	frame_customer_fini(&a);
	frame_customer_fini(&b);
	frame_instance_free(alone);
	frame_instance_free(other);
	stub_machine_use(in->machine);
}

CASE_TEST(every_frame_can_be_handed_out_and_again)
{
	struct frame_block *blocks = calloc(in->map.frames + 1, sizeof(*blocks));
	uint64_t n = take_all_singles(in, blocks);

	/* Zones may keep a reserve; an allocator's own records take frames as they grow. */
	uint64_t left = frame_instance_free_frames(in), kept = frame_instance_kept_frames(in);

	expect(left == 0 || can(in, FRAME_CAP_ZONES), "%s: refuses with %lu free frames", c->name,
	       left);
	expect(n + kept + left == in->map.frames, "%s: %lu of %lu frames", c->name, n,
	       in->map.frames);
	frame_instance_assert_sound(in);
	/* Back in an order that is neither theirs nor its reverse, then all again. */
	for (uint64_t step = 0; can(in, FRAME_CAP_FREE) && step < 2; step++)
		for (uint64_t i = step; i < n; i += 2)
			expect_eq(frame_instance_give(in, blocks[i].first.n, 1), 0);
	frame_instance_assert_sound(in);
	if (can(in, FRAME_CAP_FREE))
		expect_eq(take_all_singles(in, blocks), n);
	frame_instance_assert_sound(in);
	free(blocks);
}

CASE_TEST(counts_are_exact_or_rounded_to_a_power_of_two)
{
	struct frame_block b;

	for (uint32_t n = 1; n <= 40 && can(in, FRAME_CAP_RUNS); n++) {
		uint32_t rounded = 1;

		while (rounded < n)
			rounded *= 2;
		if (frame_instance_alloc(in, n, &b))
			continue;
		if (can(in, FRAME_CAP_ANY_COUNT))
			expect_eq(b.frames, n);
		else
			expect(b.frames == rounded && b.first.n % rounded == 0,
			       "%s: %u frames asked, [%lu, +%u) given", c->name, n, b.first.n,
			       b.frames);
	}
	frame_instance_assert_sound(in);
}

CASE_TEST(alignment_is_kept_up_to_the_largest)
{
	struct frame_block b;

	for (uint32_t align = 1; align <= 4096 && can(in, FRAME_CAP_ALIGN); align *= 2) {
		struct frame_request r = { .frames = 1, .align_frames = align };
		struct frame_customer customer;
		bool possible;

		frame_customer_init(&customer, in, 1);
		possible = frame_model_has_run(&customer.model, 1, align);
		frame_customer_fini(&customer);
		int error = frame_alloc(&in->frames, &r, &b);

		/* Not every zone has every alignment. */
		expect(error == 0 || !possible || error == KERR_UNSUPPORTED ||
			       !can(in, FRAME_CAP_FREE) || can(in, FRAME_CAP_ZONES) ||
			       frame_instance_may_refuse(in),
		       "%s: alignment %u: %d", c->name, align, error);
		if (error)
			continue;
		expect_eq(b.first.n % align, 0);
		if (can(in, FRAME_CAP_FREE))
			expect_eq(frame_free(&in->frames, &b), 0);
	}
	frame_instance_assert_sound(in);
}

CASE_TEST(a_frame_can_be_asked_for_by_number)
{
	struct frame_block b = { { 99 }, 99 };
	uint64_t before = frame_instance_digest(in);

	if (!can(in, FRAME_CAP_AT)) {
		expect_eq(frame_instance_take_at(in, in->map.first.n, 1, &b), KERR_UNSUPPORTED);
		return;
	}
	for (uint32_t i = 0; i < in->map.count; i++) {
		uint64_t first = in->map.ranges[i].first.n, n = in->map.ranges[i].frames;

		/* From the middle outwards, so that blocks are split on both sides. */
		for (uint64_t k = 0; k < n; k++) {
			uint64_t at = first +
				      (k % 2 ? n / 2 - 1 - k / 2 + (n % 2 ? 0 : 0) : n / 2 + k / 2);

			expect(frame_instance_take_at(in, at, 1, &b) == 0, "%s: frame %lu", c->name,
			       at);
			expect_eq(b.first.n, at);
			expect_eq(b.frames, 1);
			expect_eq(frame_instance_take_at(in, at, 1, &b), KERR_NO_MEMORY);
		}
		expect_eq(frame_instance_take_at(in, first - 1, 1, &b), KERR_NO_MEMORY);
		expect_eq(frame_instance_take_at(in, first + n, 1, &b), KERR_NO_MEMORY);
	}
	frame_instance_assert_sound(in);
	expect_eq(frame_instance_free_frames(in), 0);
	for (uint32_t i = 0; i < in->map.count; i++)
		for (uint64_t k = 0; k < in->map.ranges[i].frames; k++)
			expect_eq(frame_instance_give(in, in->map.ranges[i].first.n + k, 1), 0);
	frame_instance_assert_sound(in);
	expect(frame_instance_digest(in) == before, "%s", c->name);
}

CASE_TEST(a_block_can_be_freed_frame_by_frame)
{
	struct frame_block b;
	uint64_t before = frame_instance_digest(in);

	if (!can(in, FRAME_CAP_PARTIAL_FREE))
		return;
	for (uint32_t n = 2; n <= 64; n += n < 8 ? 1 : 7) {
		if (frame_instance_alloc(in, n, &b))
			continue;
		uint64_t used = in->map.frames - frame_instance_free_frames(in);

		expect_eq(used, b.frames);
		/* 7 and B.frames have no common factor, or the block is walked plainly. */
		uint32_t stride = b.frames % 7 ? 7 : 1;

		for (uint32_t k = 0; k < b.frames; k++) {
			uint64_t frame = b.first.n + (uint64_t)k * stride % b.frames;

			expect(frame_instance_give(in, frame, 1) == 0, "%s: frame %lu", c->name,
			       frame);
			expect_eq(frame_instance_give(in, frame, 1), KERR_NOT_OWNED);
		}
		frame_instance_assert_sound(in);
		expect(frame_instance_digest(in) == before, "%s: %u frames", c->name, n);
	}
}

/* A double free: refused, or found by check() where free() cannot tell. */
static void assert_double_free_shows(const struct matrix_case *c, uint64_t skip)
{
	struct frame_instance *in = instance_of(c);
	struct frame_block b;
	struct violation v;

	for (uint64_t i = 0; i <= skip; i++)
		expect_eq(frame_instance_alloc(in, 1, &b), 0);
	expect_eq(frame_free(&in->frames, &b), 0);
	int again = frame_free(&in->frames, &b);

	expect(again == KERR_NOT_OWNED || in->frames.ops->check(in->frames.state, &v),
	       "%s: a double free of frame %lu goes unseen", c->name, b.first.n);
	frame_instance_free(in);
	/* And one of a frame that was never handed out. */
	in = instance_of(c);
	expect(frame_instance_give(in, b.first.n, 1) == KERR_NOT_OWNED ||
		       in->frames.ops->check(in->frames.state, &v),
	       "%s: a free of free frame %lu goes unseen", c->name, b.first.n);
	frame_instance_free(in);
}

static void assert_refused(struct frame_instance *in, uint64_t first, uint32_t frames, int want,
			   const char *what)
{
	int error = frame_instance_give(in, first, frames);

	expect(error == want, "%s: free of %s [%lu, +%u): %d, not %d", now->name, what, first,
	       frames, error, want);
}

CASE_TEST(misuse_is_refused_and_changes_nothing)
{
	struct frame_block a, b;
	uint64_t end = in->map.end.n;

	if (!can(in, FRAME_CAP_FREE)) {
		expect_eq(frame_instance_give(in, in->map.first.n, 1), KERR_UNSUPPORTED);
		return;
	}
	expect_eq(frame_instance_alloc(in, 1, &a), 0);
	if (frame_instance_alloc(in, 1, &b) == 0)
		expect_eq(frame_instance_give(in, b.first.n, 1), 0);
	uint64_t before = frame_instance_digest(in);

	assert_double_free_shows(c, 0);
	assert_double_free_shows(c, in->map.frames / 2);
	stub_machine_use(in->machine);
	assert_refused(in, 0, 1, KERR_NOT_OWNED, "frame 0");
	assert_refused(in, in->map.first.n - 1, 1, KERR_NOT_OWNED, "the frame below the map");
	assert_refused(in, end, 1, KERR_NOT_OWNED, "the frame above the map");
	assert_refused(in, end + (1ull << 32), 1, KERR_NOT_OWNED, "a frame far above the map");
	assert_refused(in, 1ull << 52, 1, KERR_NOT_OWNED, "a frame that cannot be");
	assert_refused(in, UINT64_MAX, 1, KERR_INVALID, "the last number");
	assert_refused(in, a.first.n, 0, KERR_INVALID, "no frames");
	assert_refused(in, a.first.n, 0xffffffff, KERR_INVALID, "too many frames");
	assert_refused(in, a.first.n, 1u << 31, KERR_NOT_OWNED, "2^31 frames");
	for (uint32_t i = 0; i + 1 < in->map.count; i++)
		assert_refused(in, in->map.ranges[i + 1].first.n - 1, 1, KERR_NOT_OWNED, "a hole");
	if (in->map.frames > a.first.n - in->map.first.n + 1)
		assert_refused(in, a.first.n, 2, KERR_NOT_OWNED, "more than was handed out");
	expect(frame_instance_digest(in) == before, "%s", now->name);
	frame_instance_assert_sound(in);
	assert_refused(in, a.first.n, 1, 0, "what was handed out");
}

CASE_TEST(senseless_requests_are_refused)
{
	static const struct {
		uint32_t frames, align;
		int want;
	} requests[] = {
		{ 0, 1, KERR_INVALID },		 { 1, 0, KERR_INVALID },
		{ 1, 3, KERR_INVALID },		 { 0xffffffff, 1, KERR_INVALID },
		{ 0x80000001, 1, KERR_INVALID },
	};
	uint64_t before = frame_instance_digest(in);
	struct frame_block b = { { 4711 }, 4711 };

	for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		struct frame_request r = { .frames = requests[i].frames,
					   .align_frames = requests[i].align };

		expect(frame_alloc(&in->frames, &r, &b) == requests[i].want,
		       "%s: %u frames aligned to %u", c->name, r.frames, r.align_frames);
	}
	/* More frames than there are. */
	for (uint32_t n = 1u << 31; n > in->map.frames; n /= 2) {
		int error = frame_instance_alloc(in, n, &b);

		expect(error == KERR_NO_MEMORY || error == KERR_UNSUPPORTED, "%s: %u frames: %d",
		       c->name, n, error);
	}
	struct frame_request far = { .frames = 1, .align_frames = 1u << 31 };

	ck_assert_int_ne(frame_alloc(&in->frames, &far, &b), 0);
	ck_assert(b.first.n == 4711 && b.frames == 4711);
	expect(frame_instance_digest(in) == before, "%s", c->name);
	frame_instance_assert_sound(in);
}

static int stop_at_once(void *ctx, const struct frame_extent *e)
{
	++*(unsigned *)ctx;
	return 1;
}

CASE_TEST(a_visitor_can_stop_the_walk)
{
	unsigned calls = 0;

	expect_eq(in->frames.ops->walk(in->frames.state, stop_at_once, &calls), KERR_STOP);
	expect_eq(calls, 1);
}

/* An order that the model has room for is served by every allocator that serves runs. */
CASE_TEST(no_request_fails_that_the_model_could_serve)
{
	struct frame_customer customer;
	struct frame_block b;

	if (!can(in, FRAME_CAP_FREE) || !can(in, FRAME_CAP_RUNS) || can(in, FRAME_CAP_ZONES))
		return;
	frame_customer_init(&customer, in, 23);
	for (unsigned step = 0; step < 600; step++) {
		frame_customer_step(&customer);
		uint32_t n = 1u << frame_customer_random(&customer) % 6;
		int error = frame_instance_alloc(in, n, &b);
		/* Orders want alignment; a run of any length does not. */
		uint64_t align = can(in, FRAME_CAP_ANY_COUNT) ? 1 : n;
		bool possible = frame_model_has_run(&customer.model, n, align);

		if (error == KERR_UNSUPPORTED || (error && frame_instance_may_refuse(in)))
			continue;
		expect((error == 0) == possible, "%s: %u frames of %lu free: %d, the model says %d",
		       c->name, n, frame_instance_free_frames(in), error, possible);
		if (!error)
			expect_eq(frame_free(&in->frames, &b), 0);
	}
	frame_customer_fini(&customer);
}

typedef void (*case_test_fn)(const struct matrix_case *c, struct frame_instance *in);

#define ROW(test)           \
	{                   \
#test, test \
	}
static const struct {
	const char *name;
	case_test_fn run;
} promises[] = {
	ROW(a_fresh_allocator_has_every_frame_free),
	ROW(random_use_keeps_every_promise),
	ROW(freeing_everything_restores_the_free_set),
	ROW(the_same_run_twice_gives_the_same_digest),
	ROW(two_instances_side_by_side_do_not_meet),
	ROW(every_frame_can_be_handed_out_and_again),
	ROW(counts_are_exact_or_rounded_to_a_power_of_two),
	ROW(alignment_is_kept_up_to_the_largest),
	ROW(a_frame_can_be_asked_for_by_number),
	ROW(a_block_can_be_freed_frame_by_frame),
	ROW(misuse_is_refused_and_changes_nothing),
	ROW(senseless_requests_are_refused),
	ROW(a_visitor_can_stop_the_walk),
	ROW(no_request_fails_that_the_model_could_serve),
};
#define PROMISES ((int)(sizeof(promises) / sizeof(promises[0])))

/* One test a case: each promise on a fresh instance. */
START_TEST(keeps_its_promises)
{
	now = &cases[_i];
	for (int p = 0; p < PROMISES; p++) {
		struct frame_instance *in = instance_of(now);

		if (!in)
			return;
		promise = promises[p].name;
		promises[p].run(now, in);
		promise = NULL;
		frame_instance_free(in);
	}
}
END_TEST

/* Writes to every frame, of which there are more than a test should touch. */
static bool is_too_much(const struct frame_ops *ops, const struct memmap *map)
{
	return (ops->caps & FRAME_CAP_TOUCHES_ALL) && map->frames > 1u << 18;
}

START_TEST(a_large_map_is_served_or_refused)
{
	const struct named_map *map = &large_frame_maps[(unsigned)_i % large_frame_map_count];
	struct matrix_case c = { .ops = frame_registry[(unsigned)_i / large_frame_map_count],
				 .map = map };
	struct frame_customer customer;
	struct frame_instance *in;

	if (is_too_much(c.ops, &map->map))
		return;
	frame_config_defaults(c.ops, &c.config);
	in = instance_of(&c);
	if (!in)
		return;
	uint64_t before = frame_instance_digest(in);

	frame_customer_init(&customer, in, 3);
	customer.max_run = customer.max_run < 700 ? customer.max_run : 700;
	for (unsigned step = 0; step < 500; step++)
		frame_customer_step(&customer);
	frame_customer_assert_agreement(&customer);
	frame_instance_assert_sound(in);
	if (can(in, FRAME_CAP_FREE)) {
		frame_customer_free_all(&customer);
		expect(frame_instance_digest(in) == before, "%s on %s", c.ops->name, map->name);
	}
	frame_customer_fini(&customer);
	frame_instance_free(in);
}
END_TEST

static int registry_count(void)
{
	int n = 0;

	while (frame_registry[n])
		n++;
	return n;
}

int main(void)
{
	Suite *s = suite_create("contract of the frame allocators");
	TCase *t = tcase_create("promises");

	build_matrix();
	tcase_set_timeout(t, 20);
	tcase_add_loop_test(t, keeps_its_promises, 0, case_count);
	tcase_add_loop_test(t, a_large_map_is_served_or_refused, 0,
			    registry_count() * (int)large_frame_map_count);
	suite_add_tcase(s, t);

	SRunner *runner = srunner_create(s);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}
