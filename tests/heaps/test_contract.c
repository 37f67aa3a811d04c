/*
 * What heap.h promises, asked of every heap in the registry, with every option, over several frame
 * allocators. A new heap gets all of it for free.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/heaps/heap_instance.h"

#define CASES_MAX 512
#define RAM_MB	  16

struct matrix_case {
	const struct heap_ops *ops;
	const struct frame_ops *frames;
	struct heap_config config;
	char name[128];
};

static struct matrix_case cases[CASES_MAX];
static int case_count;

static void add_case(const struct heap_ops *ops, const struct heap_config *config,
		     const char *setting)
{
	static const char *const frames[] = { "buddy", "bitmap", "stack" };

	for (unsigned f = 0; f < sizeof(frames) / sizeof(*frames); f++) {
		struct matrix_case *c = &cases[case_count++];
		if (case_count == CASES_MAX)
			abort();
		*c = (struct matrix_case){ ops, frame_find(frames[f]), *config, "" };
		c->config.cpus = 2;
		snprintf(c->name, sizeof(c->name), "%s%s over %s", ops->name, setting, frames[f]);
	}
}

static void add_settings(const struct heap_ops *ops, unsigned option)
{
	const struct frame_option *o = &ops->options[option];
	uint64_t numbers[] = { o->min, o->min + 1, o->max };
	unsigned n = 3;
	char setting[64];

	if (o->choices)
		for (n = 0; o->choices[n];)
			n++;
	for (unsigned i = 0; i < n; i++) {
		struct heap_config config;
		heap_config_defaults(ops, &config);
		config.option[option] = o->choices ? i : numbers[i];
		if (config.option[option] == o->value)
			continue;
		snprintf(setting, sizeof(setting), ",%s=%lu", o->key, config.option[option]);
		add_case(ops, &config, setting);
	}
}

static void build_matrix(void)
{
	for (const struct heap_ops *const *ops = heap_registry; *ops; ops++) {
		struct heap_config config;
		heap_config_defaults(*ops, &config);
		add_case(*ops, &config, "");
		for (unsigned o = 0; (*ops)->options && (*ops)->options[o].key; o++)
			add_settings(*ops, o);
	}
}

static const struct matrix_case *now;
static const char *promise;

__attribute__((destructor)) static void name_the_broken_promise(void)
{
	if (promise)
		fprintf(stderr, "# broken: %s: %s\n", now->name, promise);
}

#define CASE_TEST(name) static void name(const struct matrix_case *c, struct heap_instance *in)

static bool can(const struct matrix_case *c, unsigned cap)
{
	return c->ops->caps & cap;
}

/* A heap that hands out any size needs runs for what is larger than a frame. */
static bool has_runs(const struct matrix_case *c)
{
	return c->frames->caps & FRAME_CAP_RUNS;
}

static void assert_all_back(struct heap_instance *in)
{
	struct heap_stats stats;

	if (!(in->heap.ops->caps & HEAP_CAP_GIVES_BACK))
		return;
	if (in->heap.ops->trim)
		in->heap.ops->trim(in->heap.state);
	in->heap.ops->stats(in->heap.state, &stats);
	expect_eq(stats.held_frames, 0);
	expect_eq(stats.used_bytes, 0);
	expect_eq(frame_instance_free_frames(in->frames), in->frames_before);
	heap_instance_assert_sound(in);
}

CASE_TEST(random_use_keeps_every_promise)
{
	struct heap_customer customer;

	for (uint64_t seed = 1; seed <= 2; seed++) {
		heap_customer_init(&customer, in, seed);
		for (unsigned step = 0; step < 1200; step++) {
			heap_customer_step(&customer);
			if (step % 60 == 0) {
				heap_instance_assert_sound(in);
				heap_customer_assert_agreement(&customer);
			}
		}
		heap_customer_free_all(&customer);
		heap_instance_assert_sound(in);
		heap_customer_fini(&customer);
		assert_all_back(in);
		if (!can(c, HEAP_CAP_FREE))
			return;
	}
}

static uint64_t digest_of_run(struct heap_instance *in, uint64_t seed, unsigned steps)
{
	struct heap_customer customer;

	stub_machine_use(in->frames->machine);
	heap_customer_init(&customer, in, seed);
	for (unsigned step = 0; step < steps; step++)
		heap_customer_step(&customer);
	uint64_t digest = customer.digest;
	heap_customer_fini(&customer);
	return digest;
}

CASE_TEST(instances_do_not_meet_and_repeat_themselves)
{
	struct heap_instance *other = heap_instance_new(c->ops, &c->config, c->frames, RAM_MB);
	struct heap_instance *alone = heap_instance_new(c->ops, &c->config, c->frames, RAM_MB);
	struct heap_customer a, b;
	uint64_t want = digest_of_run(alone, 11, 400);

	heap_customer_init(&a, in, 11);
	heap_customer_init(&b, other, 12);
	for (unsigned step = 0; step < 400; step++) {
		stub_machine_use(in->frames->machine);
		heap_customer_step(&a);
		stub_machine_use(other->frames->machine);
		heap_customer_step(&b);
	}
	expect(a.digest == want, "another instance beside it changes placements");
	heap_instance_assert_sound(in);
	heap_instance_assert_sound(other);
	heap_customer_fini(&a);
	heap_customer_fini(&b);
	heap_instance_free(other);
	heap_instance_free(alone);
	stub_machine_use(in->frames->machine);
}

CASE_TEST(every_alignment_up_to_a_mebibyte)
{
	static const uint64_t sizes[] = { 1, 24, 64, 700, 4096, 70000 };
	uint32_t most = can(c, HEAP_CAP_ANY_SIZE) && has_runs(c) ? HEAP_ALIGN_MAX : 256;
	void *at[6 * 21];
	unsigned n = 0;

	if (!can(c, HEAP_CAP_ALIGN))
		return;
	for (unsigned s = 0; s < 6; s++)
		for (uint32_t align = 1; align <= most; align *= 2) {
			if (sizes[s] > 2048 && !has_runs(c))
				continue;
			int error = heap_instance_alloc(in, sizes[s], align, &at[n]);
			if (error == KERR_UNSUPPORTED || error == KERR_NO_MEMORY) {
				/* 16 MiB hold few of the large ones; slab=refuse none. */
				expect(align >= 1024 || sizes[s] >= 4096, "%lu aligned to %u: %d",
				       sizes[s], align, error);
				continue;
			}
			expect_eq(error, 0);
			expect((uintptr_t)at[n] % align == 0, "%p: align %u", at[n], align);
			memset(at[n++], 0x5a, sizes[s]);
		}
	heap_instance_assert_sound(in);
	while (n && can(c, HEAP_CAP_FREE))
		expect_eq(heap_free(&in->heap, at[--n]), 0);
	if (can(c, HEAP_CAP_FREE))
		assert_all_back(in);
}

CASE_TEST(odd_requests_are_answered)
{
	struct heap_request request = { .bytes = 8, .align_bytes = 3 };
	void *first, *second, *at = NULL;
	struct heap_stats stats;

	expect_eq(heap_instance_alloc(in, 0, 0, &first), 0);
	expect_eq(heap_instance_alloc(in, 0, 0, &second), 0);
	expect(first != second, "two objects of no bytes are two objects");
	expect_eq(heap_alloc(&in->heap, &request, &at), KERR_INVALID);
	expect_eq(heap_instance_alloc(in, 8, HEAP_ALIGN_MAX * 2, &at), KERR_INVALID);
	expect_eq(heap_instance_alloc(in, HEAP_BYTES_MAX + 1, 0, &at), KERR_NO_MEMORY);
	expect_eq(heap_instance_alloc(in, UINT64_MAX, 0, &at), KERR_NO_MEMORY);
	expect(heap_instance_alloc(in, (RAM_MB + 1ull) << 20, 0, &at) != 0, "more than RAM");
	expect(heap_instance_alloc(in, HEAP_BYTES_MAX, 0, &at) != 0, "a tebibyte");
	expect(at == NULL, "a refused request wrote its result");
	expect_eq(heap_free(&in->heap, NULL), 0);
	request = (struct heap_request){ .bytes = 200, .flags = HEAP_ZERO };
	expect_eq(heap_alloc(&in->heap, &request, &at), 0);
	for (unsigned i = 0; i < 200; i++)
		expect(((char *)at)[i] == 0, "HEAP_ZERO");
	in->heap.ops->stats(in->heap.state, &stats);
	expect_eq(stats.used_objects, 3);
	heap_instance_assert_sound(in);
}

CASE_TEST(realloc_keeps_contents_and_moves_only_if_it_must)
{
	struct heap_request request = { .bytes = 100 };
	void *at = NULL, *before;

	expect_eq(heap_realloc(&in->heap, &request, &at), 0);
	memset(at, 0x77, 100);
	before = at;
	expect_eq(heap_realloc(&in->heap, &request, &at), 0);
	expect(at == before, "the same size moves");
	for (request.bytes = 200; request.bytes <= 3200; request.bytes *= 2) {
		expect_eq(heap_realloc(&in->heap, &request, &at), 0);
		for (unsigned i = 0; i < 100; i++)
			expect(((char *)at)[i] == 0x77, "byte %u at %lu", i, request.bytes);
		memset((char *)at + 100, 0x11, request.bytes - 100);
	}
	request.bytes = (uint64_t)RAM_MB << 21;
	before = at;
	expect(heap_realloc(&in->heap, &request, &at) != 0 && at == before, "failure keeps it");
	request.bytes = 10;
	expect_eq(heap_realloc(&in->heap, &request, &at), 0);
	for (unsigned i = 0; i < 10; i++)
		expect(((char *)at)[i] == 0x77, "byte %u after shrinking", i);
	heap_instance_assert_sound(in);
}

/* Nothing that begins at a page and is no object is one: what follows a run of the heap, a
 * descriptor, a leaf. */
static void assert_no_page_is_an_object(struct heap_instance *in, void *const *object,
					unsigned objects, const void *run)
{
	for (uint64_t frame = 16; frame < RAM_MB * 256; frame++) {
		char *at = in->config.reach.base + frame * FRAME_BYTES;
		bool known = at == run;
		for (unsigned i = 0; i < objects; i++)
			known |= at == object[i];
		expect(known || heap_free(&in->heap, at) == KERR_NOT_OWNED, "frame %lu", frame);
	}
}

CASE_TEST(double_and_foreign_frees_are_refused)
{
	unsigned char local[256] = { 0 };
	void *object[40], *run = NULL;

	if (!can(c, HEAP_CAP_FINDS_MISUSE))
		return;
	for (unsigned i = 0; i < 40; i++)
		expect_eq(heap_instance_alloc(in, 40 + i * 8, 0, &object[i]), 0);
	/* Longer than a segment: what stands behind it lies between others. */
	if (can(c, HEAP_CAP_ANY_SIZE) && has_runs(c) &&
	    heap_instance_alloc(in, 300000, 0, &run) == 0)
		expect_eq(heap_free(&in->heap, (char *)run + 4096), KERR_NOT_OWNED);
	for (unsigned i = 0; i < 40; i += 2) {
		expect_eq(heap_free(&in->heap, (char *)object[i] + 8), KERR_NOT_OWNED);
		expect_eq(heap_free(&in->heap, (char *)object[i] + 16), KERR_NOT_OWNED);
		expect_eq(heap_free(&in->heap, object[i]), 0);
		expect_eq(heap_free(&in->heap, object[i]), KERR_NOT_OWNED);
	}
	expect_eq(heap_free(&in->heap, local + 64), KERR_NOT_OWNED);
	expect_eq(heap_free(&in->heap, in->config.reach.base + 16 * 4096), KERR_NOT_OWNED);
	expect_eq(in->heap.ops->usable(in->heap.state, object[0]), 0);
	assert_no_page_is_an_object(in, object, 40, run);
	heap_instance_assert_sound(in);
	for (unsigned i = 1; i < 40; i += 2)
		expect_eq(heap_free(&in->heap, object[i]), 0);
	expect_eq(run ? heap_free(&in->heap, run) : 0, 0);
	assert_all_back(in);
}

/* The n-th call of the frame allocator fails, for every n. */
CASE_TEST(no_frame_at_any_moment_is_survived)
{
	for (uint64_t n = 0;; n++) {
		struct heap_instance *fresh =
			heap_instance_new(c->ops, &c->config, c->frames, RAM_MB);
		struct heap_customer customer;
		fresh->faulty.fail_at = fresh->faulty.calls + n;
		heap_customer_init(&customer, fresh, 3);
		customer.bytes_max = 9000;
		for (unsigned step = 0; step < 150; step++)
			heap_customer_step(&customer);
		heap_instance_assert_sound(fresh);
		heap_customer_assert_agreement(&customer);
		heap_customer_free_all(&customer);
		if (can(c, HEAP_CAP_FREE))
			assert_all_back(fresh);
		bool failed = fresh->faulty.failed;
		heap_customer_fini(&customer);
		heap_instance_free(fresh);
		if (!failed)
			break;
		expect(n < 2000, "no end of frames");
	}
	stub_machine_use(in->frames->machine);
}

/* All of RAM is asked for in small objects, and comes back. */
CASE_TEST(a_full_machine_is_survived)
{
	void *at, *last = NULL;
	uint64_t n = 0;

	while (heap_instance_alloc(in, 1000, 0, &at) == 0) {
		*(void **)at = last;
		last = at;
		n++;
	}
	expect(n * (can(c, HEAP_CAP_ANY_SIZE) ? 1400 : 4300) >= (uint64_t)(RAM_MB - 1) << 20,
	       "%lu objects of 1000 bytes is all of %u MiB", n, RAM_MB);
	heap_instance_assert_sound(in);
	for (; last && can(c, HEAP_CAP_FREE); last = at) {
		at = *(void **)last;
		expect_eq(heap_free(&in->heap, last), 0);
	}
	if (can(c, HEAP_CAP_FREE))
		assert_all_back(in);
}

/* clang-format off */
static const struct {
	const char *name;
	void (*run)(const struct matrix_case *c, struct heap_instance *in);
} promises[] = {
#define PROMISE(name) { #name, name }
	PROMISE(random_use_keeps_every_promise),
	PROMISE(instances_do_not_meet_and_repeat_themselves),
	PROMISE(every_alignment_up_to_a_mebibyte),
	PROMISE(odd_requests_are_answered),
	PROMISE(realloc_keeps_contents_and_moves_only_if_it_must),
	PROMISE(double_and_foreign_frees_are_refused),
	PROMISE(no_frame_at_any_moment_is_survived),
	PROMISE(a_full_machine_is_survived),
};
/* clang-format on */

START_TEST(every_heap_keeps_it)
{
	now = &cases[_i];
	for (unsigned p = 0; p < sizeof(promises) / sizeof(*promises); p++) {
		struct heap_instance *in =
			heap_instance_new(now->ops, &now->config, now->frames, RAM_MB);
		promise = promises[p].name;
		promises[p].run(now, in);
		heap_instance_free(in);
	}
	promise = NULL;
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("heap contract");
	TCase *tcase = tcase_create("registry");

	build_matrix();
	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, every_heap_keeps_it, 0, case_count);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
