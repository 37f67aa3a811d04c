/* What is planted around and in objects (sim/heap_guard.h) is found again: every kind of trespass
 * by a heap that commits it, with object, offset, call site and, in the probed pass, source line;
 * and nothing is found of the lab's own heaps. */
#include <check.h>
#include <string.h>

#include "sim/random.h"
#include "sim/lab.h"
#include "tests/heaps/bad_heap.h"
#include "tests/support/frame_instance.h"
#include "tests/support/story.h"

extern const struct heap_ops probed_bad_heaps[BAD_HEAPS];

static struct story *story;

static void set_up(void)
{
	story = story_new();
	story_memory(story, "BIOS-e820: [mem 0x0-0x1ffffff] usable\n");
}

static void tear_down(void)
{
	story_free(story);
}

static void add(uint8_t kind, uint64_t handle, uint64_t bytes, uint64_t site)
{
	struct event event = { .time_ns = story->now_ns, .kind = kind, .task = 1 };

	story->now_ns += 1000;
	event.u.heap.handle = handle;
	event.u.heap.bytes = bytes;
	event.u.heap.site = site;
	g_array_append_val(story->events, event);
}

static struct replay_config config_for(const struct heap_ops *native, const struct heap_ops *probed)
{
	struct replay_config config = story_config(story, "buddy");

	config.heap[PASS_NATIVE] = native;
	config.heap[PASS_PROBED] = probed;
	heap_config_defaults(native, &config.heap_config);
	config.guard = HEAP_GUARD_ALL;
	return config;
}

/* ---- trespasses ---- */

/* A victim of 100 bytes among others; its byte 0 is 16 behind where the heap has it. FREED: it is
 * dead when the heap strikes, and its memory comes back to somebody. */
static void tell(bool freed)
{
	for (uint64_t handle = 1; handle <= 4; handle++)
		add(EVENT_HEAP_ALLOC, handle, 100, handle == 3 ? BAD_VICTIM : 0x1000);
	if (freed)
		add(EVENT_HEAP_FREE, 3, 0, 0);
	add(EVENT_HEAP_ALLOC, 5, 700, BAD_TRIGGER);
	for (uint64_t handle = 6; freed && handle < 60; handle++)
		add(EVENT_HEAP_ALLOC, handle, 100, 0x2000);
}

#define BAD_LINE "tests/heaps/bad_heap.c:"

/* clang-format off */
static const struct {
	const char *name;
	enum bad_heap how;
	bool freed;
	enum kernel_pass pass;
	const char *kind; /* NULL: nothing is found */
	const char *words[3];
} cases[] = {
	{ "no trespass", BAD_HEAP_NOT, false, PASS_NATIVE, NULL, { NULL } },
	{ "no trespass", BAD_HEAP_NOT, true, PASS_PROBED, NULL, { NULL } },
	{ "overrun", BAD_HEAP_OVERRUN, false, PASS_NATIVE, "redzone",
	  { "15 bytes behind its end", "object of 100 bytes, handle 3", "call site 0xbad" } },
	{ "overrun", BAD_HEAP_OVERRUN, false, PASS_PROBED, "redzone",
	  { "15 bytes behind its end", "object of 100 bytes, handle 3", "call site 0xbad" } },
	{ "overrun's store", BAD_HEAP_OVERRUN, false, PASS_PROBED, "object-touched",
	  { "store of 1 bytes at byte 115 of the object of 100 bytes", "call site 0xbad", BAD_LINE } },
	{ "underrun", BAD_HEAP_UNDERRUN, false, PASS_NATIVE, "redzone",
	  { "8 bytes before its beginning", "object of 100 bytes, handle 3", "call site 0xbad" } },
	{ "underrun's store", BAD_HEAP_UNDERRUN, false, PASS_PROBED, "object-touched",
	  { "store of 1 bytes at byte -8 of the object of 100 bytes", "call site 0xbad", BAD_LINE } },
	{ "store into a live object", BAD_HEAP_STORES, false, PASS_NATIVE, "contents",
	  { "byte 24 of 100" } },
	{ "store into a live object", BAD_HEAP_STORES, false, PASS_PROBED, "object-touched",
	  { "store of 1 bytes at byte 24 of the object of 100 bytes", "call site 0xbad", BAD_LINE } },
	{ "load from a live object", BAD_HEAP_LOADS, false, PASS_PROBED, "object-touched",
	  { "load of 1 bytes at byte 24 of the object of 100 bytes", "call site 0xbad", BAD_LINE } },
	{ "load after the free", BAD_HEAP_LOADS, true, PASS_PROBED, "use-after-free",
	  { "load of 1 bytes at byte 24", "call site 0xbad, freed at event 4", BAD_LINE } },
	{ "store after the free", BAD_HEAP_STORES, true, PASS_NATIVE, "poison",
	  { "0x01 was written after the free into byte 24", "handle 3, ", "call site 0xbad, freed at event 4" } },
	{ "store after the free", BAD_HEAP_STORES, true, PASS_PROBED, "use-after-free",
	  { "store of 1 bytes at byte 24", "call site 0xbad, freed at event 4", BAD_LINE } },
	{ "free of anything", BAD_HEAP_FREES_TWICE, true, PASS_NATIVE, "misuse",
	  { "inside of an object is not refused" } },
	{ "object kept", BAD_HEAP_KEEPS, true, PASS_NATIVE, "walk",
	  { "object of 100 bytes, handle 3", "call site 0xbad, freed at event 4" } },
};
/* clang-format on */

START_TEST(a_trespass_is_found_and_named)
{
	struct replay_config config;
	struct replay_result result;

	tell(cases[_i].freed);
	config = config_for(&bad_heaps[cases[_i].how], &probed_bad_heaps[cases[_i].how]);
	story_pass(&config, cases[_i].pass, &result);
	if (!cases[_i].kind) {
		expect(result.violations == 0, "%s: %s", cases[_i].name, story_describe(&result));
	} else {
		const struct replay_violation *found = story_violation(&result, cases[_i].kind);
		expect(found, "%s: no %s among: %s", cases[_i].name, cases[_i].kind,
		       story_describe(&result));
		for (unsigned i = 0; i < 3 && cases[_i].words[i]; i++)
			expect(strstr(found->message, cases[_i].words[i]), "%s: '%s' is not in: %s",
			       cases[_i].name, cases[_i].words[i], found->message);
	}
	replay_result_clear(&result);
}
END_TEST

/* Each guard finds its own, and without any a store into the red zone's place is nobody's. */
START_TEST(what_is_not_asked_for_is_not_looked_at)
{
	struct replay_config config;
	struct replay_result result;

	tell(false);
	config = config_for(&bad_heaps[BAD_HEAP_LOADS], &probed_bad_heaps[BAD_HEAP_LOADS]);
	config.guard = HEAP_GUARD_ALL & ~(unsigned)HEAP_GUARD_ACCESS;
	story_pass(&config, PASS_PROBED, &result);
	expect(result.violations == 0, "%s", story_describe(&result));
	replay_result_clear(&result);
}
END_TEST

/* ---- the lab's own ---- */

static void tell_random(uint64_t seed, unsigned events)
{
	struct random random = random_seeded(seed);
	uint64_t live[300], next = 1;
	unsigned count = 0;

	for (unsigned i = 0; i < events; i++) {
		uint64_t dice = random_below(&random, 8), victim = random_below(&random, count + 1);
		uint64_t bytes = random_below(&random, 1ull << random_below(&random, 14));
		if (victim == count || dice < 4) {
			if (count == 300)
				continue;
			add(EVENT_HEAP_ALLOC, next, bytes, 0x1000 + dice);
			g_array_index(story->events, struct event, story->events->len - 1)
				.u.heap.align_bytes = dice ? 0 : 1u << random_below(&random, 13);
			live[count++] = next++;
		} else if (dice == 7) {
			add(EVENT_HEAP_REALLOC, live[victim], bytes, 0);
		} else {
			add(EVENT_HEAP_FREE, live[victim], 0, 0);
			live[victim] = live[--count];
		}
	}
}

static uint64_t guarded_digest(const struct heap_ops *ops, enum kernel_pass pass, unsigned guard)
{
	struct replay_config config = config_for(ops, kernels[PASS_PROBED].heap_find(ops->name));
	struct replay_result result;

	config.guard = guard;
	config.check_events = 151;
	story_pass(&config, pass, &result);
	expect(result.violations == 0, "%s: %s", ops->name, story_describe(&result));
	uint64_t digest = result.digest;
	replay_result_clear(&result);
	return digest;
}

START_TEST(nothing_is_found_of_the_labs_own_heaps)
{
	const struct heap_ops *ops = heap_registry[_i];
	const unsigned all = heap_guard_possible(ops);
	const unsigned same = all & ~(unsigned)HEAP_GUARD_REDZONE;

	tell_random(3, 2000);
	uint64_t native = guarded_digest(ops, PASS_NATIVE, all);
	expect(guarded_digest(ops, PASS_PROBED, all) == native, "%s: builds", ops->name);
	expect(guarded_digest(ops, PASS_NATIVE, same) == guarded_digest(ops, PASS_NATIVE, 0),
	       "%s: guards other than red zones change placements", ops->name);
}
END_TEST

static int heaps(void)
{
	int count = 0;

	while (heap_registry[count])
		count++;
	return count;
}

/* ---- frames that fail ---- */

START_TEST(the_nth_request_for_frames_is_refused_and_survived)
{
	uint64_t failures = 0;

	for (const struct heap_ops *const *ops = heap_registry; *ops; ops++) {
		uint64_t requests = 1;
		if (story->events->len == 0)
			tell_random(5, 300);
		for (uint64_t n = 1; n <= requests; n++) {
			struct replay_config config = config_for(*ops, NULL);
			struct replay_result result;
			GError *error = NULL;
			config.fail_frames = n;
			/* One that needs frames at once does not start. */
			if (!replay_pass(&config, PASS_NATIVE, NULL, &result, &error)) {
				g_clear_error(&error);
				requests = MIN(n + 1, 60);
				continue;
			}
			expect(result.violations == 0, "%s, request %lu: %s", (*ops)->name, n,
			       story_describe(&result));
			failures += result.failures;
			requests = MIN(result.heap.frame_requests, 60);
			replay_result_clear(&result);
		}
	}
	/* Some ask for less, and get it. */
	expect(failures > 20, "%lu requests failed of all heaps", failures);
}
END_TEST

START_TEST(what_cannot_be_planted_in_mapped_objects_is_refused)
{
	const struct heap_ops *ops = heap_registry[_i];
	struct replay_result result;
	GError *error = NULL;

	if (!(ops->caps & HEAP_CAP_MAPS))
		return;
	tell_random(3, 300);
	struct replay_config config = config_for(ops, NULL);
	config.guard = HEAP_GUARD_POISON;
	expect(!replay_pass(&config, PASS_NATIVE, NULL, &result, &error), "%s is guarded",
	       ops->name);
	expect(g_error_matches(error, LAB_ERROR, LAB_ERROR_USAGE) &&
		       strstr(error->message, "misuse"),
	       "%s: %s", ops->name, error->message);
	g_clear_error(&error);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("heap guards");
	TCase *tcase = tcase_create("guards");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_loop_test(tcase, a_trespass_is_found_and_named, 0, G_N_ELEMENTS(cases));
	tcase_add_test(tcase, what_is_not_asked_for_is_not_looked_at);
	tcase_add_loop_test(tcase, nothing_is_found_of_the_labs_own_heaps, 0, heaps());
	tcase_add_loop_test(tcase, what_cannot_be_planted_in_mapped_objects_is_refused, 0, heaps());
	tcase_add_test(tcase, the_nth_request_for_frames_is_refused_and_survived);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
