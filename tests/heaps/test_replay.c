/* Heaps under the lab's replay: both builds, twice, judged by the heap ledger, which must see what
 * a rogue heap does wrong; and the bound that TLSF promises, in counted loads. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "sim/check_heap.h"
#include "sim/random.h"
#include "sim/heap_report.h"
#include "tests/support/frame_instance.h"
#include "tests/support/story.h"

static struct story *story;

static void set_up(void)
{
	story = story_new();
	story_memory(story, "BIOS-e820: [mem 0x0-0x3ffffff] usable\n");
	story->machine->cpus = 4;
}

static void tear_down(void)
{
	story_free(story);
}

static struct event *add(uint8_t kind, uint64_t handle, uint64_t bytes)
{
	struct event event = { .time_ns = story->now_ns, .kind = kind, .task = 1 };

	story->now_ns += 1000;
	event.u.heap.handle = handle;
	event.u.heap.bytes = bytes;
	event.u.heap.site = 0x1000 + handle % 7;
	g_array_append_val(story->events, event);
	return &g_array_index(story->events, struct event, story->events->len - 1);
}

static uint64_t some_bytes(struct random *random)
{
	return random_below(random, 1ull << random_below(random, 15)) + 1;
}

/* Objects of all sizes come, change and go on three CPUs. */
static void tell_random(uint64_t seed, unsigned events)
{
	struct random random = random_seeded(seed);
	uint64_t live[400], next = 1;
	unsigned count = 0;

	for (unsigned i = 0; i < events; i++) {
		uint64_t dice = random_below(&random, 8), victim = random_below(&random, count + 1);
		struct event *event;
		if (count == 0 || (count < 400 && dice < 4) || victim == count) {
			if (count == 400)
				continue;
			event = add(EVENT_HEAP_ALLOC, next, some_bytes(&random));
			event->u.heap.align_bytes = dice ? 0 : 64;
			live[count++] = next++;
		} else if (dice == 7) {
			event = add(EVENT_HEAP_REALLOC, live[victim], some_bytes(&random));
		} else {
			event = add(EVENT_HEAP_FREE, live[victim], 0);
			live[victim] = live[--count];
		}
		event->cpu = (uint16_t)(dice % 3);
	}
}

static struct replay_config config_of(const char *heap)
{
	struct replay_config config = story_config(story, "buddy");

	for (unsigned pass = 0; heap && pass < PASSES; pass++)
		config.heap[pass] = kernels[pass].heap_find(heap);
	if (heap)
		heap_config_defaults(config.heap[PASS_NATIVE], &config.heap_config);
	config.heap_config.cpus = 4;
	return config;
}

/* ---- all of them ---- */

static uint64_t digest_of(const char *heap, enum kernel_pass pass, uint64_t *failures)
{
	struct replay_config config = config_of(heap);
	struct replay_result result;

	config.check_events = 211;
	story_pass(&config, pass, &result);
	expect(result.violations == 0, "%s: %s", heap, story_describe(&result));
	expect_eq(probe_outside(), 0);
	if (config.heap[pass]->caps & HEAP_CAP_GIVES_BACK)
		expect_eq(result.heap.held_after_all, 0);
	*failures = result.failures;
	uint64_t digest = result.digest;
	replay_result_clear(&result);
	return digest;
}

static unsigned heaps(void)
{
	unsigned count = 0;

	while (heap_registry[count])
		count++;
	return count;
}

START_TEST(runs_and_passes_agree)
{
	const struct heap_ops *ops = heap_registry[_i];
	uint64_t failures;

	tell_random(7, 3000);
	uint64_t native = digest_of(ops->name, PASS_NATIVE, &failures);
	expect(digest_of(ops->name, PASS_NATIVE, &failures) == native, "%s: twice", ops->name);
	expect(digest_of(ops->name, PASS_PROBED, &failures) == native, "%s: builds", ops->name);
	expect(failures == 0 || !(ops->caps & HEAP_CAP_ANY_SIZE), "%s: %lu requests failed",
	       ops->name, failures);
}
END_TEST

/* ---- H11's bound ---- */

#define PROBE_BYTES 3000u /* no other object is of that order */

/* Loads and stores of one allocation when HOLES holes that do not fit it lie about. */
static uint64_t cost_with_holes(const char *heap, unsigned holes)
{
	struct replay_config config;
	struct replay_result result;
	uint64_t handle = 1;

	story_free(story);
	set_up();
	for (unsigned i = 0; i < 2 * holes; i++)
		add(EVENT_HEAP_ALLOC, handle++, 200);
	add(EVENT_HEAP_ALLOC, handle++, 100000);
	add(EVENT_HEAP_FREE, 2 * holes + 1, 0);
	for (unsigned i = 0; i < 2 * holes; i += 2)
		add(EVENT_HEAP_FREE, i + 1, 0);
	add(EVENT_HEAP_ALLOC, handle++, PROBE_BYTES);
	config = config_of(heap);
	if (strcmp(heap, "boundary-tags") == 0)
		config.heap_config.option[0] = 0; /* first-fit */
	story_pass(&config, PASS_PROBED, &result);
	expect(result.violations == 0, "%s: %s", heap, story_describe(&result));
	const struct replay_row *row = &result.row[OPERATION_ALLOC][12];
	expect_eq(row->operations, 1);
	uint64_t cost = row->counters.loads + row->counters.stores;
	replay_result_clear(&result);
	return cost;
}

START_TEST(tlsf_costs_the_same_however_many_holes_there_are)
{
	uint64_t few = cost_with_holes("tlsf", 10), many = cost_with_holes("tlsf", 2000);

	expect(many <= few + 8, "%lu accesses with 10 holes, %lu with 2000", few, many);
	few = cost_with_holes("boundary-tags", 10);
	many = cost_with_holes("boundary-tags", 2000);
	expect(many > few + 1000,
	       "first fit: %lu accesses with 10 holes, %lu with 2000: this "
	       "test would see no search",
	       few, many);
}
END_TEST

/* ---- H10's pause ---- */

/* Most loads and stores of one allocation of 256 bytes while many come and go, beside LIVE others
 * that stay. */
static uint64_t longest_with(unsigned live, bool steps)
{
	struct replay_config config;
	struct replay_result result;
	uint64_t handle = 1;

	story_free(story);
	set_up();
	for (; handle <= live; handle++)
		add(EVENT_HEAP_ALLOC, handle, 1000);
	for (unsigned i = 0; i < 16000; i++, handle++) {
		add(EVENT_HEAP_ALLOC, handle, 256);
		add(EVENT_HEAP_FREE, handle, 0);
	}
	config = config_of("collector");
	config.heap_config.option[2] = steps;
	config.heap_config.option[3] = 256;
	story_pass(&config, PASS_PROBED, &result);
	expect(result.violations == 0, "%s", story_describe(&result));
	uint64_t most = result.row[OPERATION_ALLOC][8].most_accesses;
	replay_result_clear(&result);
	return most;
}

START_TEST(a_collectors_pause_in_steps_does_not_grow_with_the_heap)
{
	uint64_t few = longest_with(500, true), many = longest_with(2000, true);
	uint64_t once_few = longest_with(500, false), once_many = longest_with(2000, false);

	printf("# longest allocation, loads and stores: in steps %lu with 500 objects, %lu with "
	       "2000; at once %lu, %lu\n",
	       few, many, once_few, once_many);
	expect(many <= few + few / 4 && many < 20000, "%lu with 500 objects, %lu with 2000", few,
	       many);
	expect(once_many > 2 * once_few && once_many > 10 * many,
	       "at once %lu and %lu: this test would see no pause", once_few, once_many);
}
END_TEST

/* ---- a rogue heap: TLSF, but for one thing ---- */

enum rogue {
	ROGUE_NONE,
	ROGUE_OVERLAP,
	ROGUE_MISALIGNED,
	ROGUE_SHORT,
	ROGUE_ELSEWHERE,
	ROGUE_SCRIBBLES,
	ROGUE_REFUSES,
	ROGUE_KEEPS,
	ROGUE_LIES,
	ROGUE_TAGS,
	ROGUES
};

static const char *const expected[ROGUES] = {
	[ROGUE_OVERLAP] = "overlap",	[ROGUE_MISALIGNED] = "misaligned",
	[ROGUE_SHORT] = "too-small",	[ROGUE_ELSEWHERE] = "out-of-heap",
	[ROGUE_SCRIBBLES] = "contents", [ROGUE_REFUSES] = "free-refused",
	[ROGUE_KEEPS] = "leak",		[ROGUE_LIES] = "stats",
	[ROGUE_TAGS] = "tag",
};

static enum rogue rogue;
static unsigned calls;
static void *previous;

static int rogue_init(void *state, const struct heap_config *config)
{
	calls = 0;
	return heap_find("tlsf")->init(state, config);
}

static int rogue_alloc(void *state, const struct heap_request *request, void **out)
{
	int error = heap_find("tlsf")->alloc(state, request, out);

	if (error || ++calls != 20) {
		previous = error ? NULL : *out;
		return error;
	}
	if (rogue == ROGUE_OVERLAP)
		*out = previous;
	else if (rogue == ROGUE_MISALIGNED)
		*out = (char *)*out + 4;
	else if (rogue == ROGUE_ELSEWHERE)
		*out = (char *)*out + (8 << 20);
	else if (rogue == ROGUE_SCRIBBLES)
		*(char *)previous ^= 1;
	return 0;
}

static int rogue_free(void *state, void *object)
{
	if (rogue == ROGUE_REFUSES && ++calls == 70)
		return KERR_NOT_OWNED;
	return heap_find("tlsf")->free(state, object);
}

static uint64_t rogue_usable(const void *state, const void *object)
{
	uint64_t usable = heap_find("tlsf")->usable(state, object);

	if (calls != 20 || rogue == ROGUE_NONE)
		return usable;
	return rogue == ROGUE_SHORT ? 0 : 256;
}

static void rogue_stats(const void *state, struct heap_stats *out)
{
	heap_find("tlsf")->stats(state, out);
	out->held_frames += rogue == ROGUE_LIES;
}

static uint32_t rogue_tag(const void *state, const void *object)
{
	return heap_find("tlsf")->tag(state, object) + (rogue == ROGUE_TAGS);
}

static struct heap_ops make_rogue(enum rogue how)
{
	struct heap_ops ops = *heap_find("tlsf");

	rogue = how;
	ops.init = rogue_init;
	ops.alloc = rogue_alloc;
	ops.free = rogue_free;
	ops.usable = rogue_usable;
	ops.stats = rogue_stats;
	ops.tag = rogue_tag;
	if (rogue == ROGUE_KEEPS)
		ops.trim = NULL;
	return ops;
}

START_TEST(the_ledger_sees_what_a_rogue_heap_does)
{
	struct heap_ops ops = make_rogue((enum rogue)_i);
	struct replay_result result;
	bool seen = false;

	for (uint64_t handle = 1; handle <= 60; handle++)
		add(EVENT_HEAP_ALLOC, handle, 40 + handle * 8);
	for (uint64_t handle = 1; handle <= 60; handle++)
		add(EVENT_HEAP_FREE, handle, 0);
	struct replay_config config = config_of("tlsf");
	config.heap[PASS_NATIVE] = &ops;
	story_pass(&config, PASS_NATIVE, &result);
	for (guint i = 0; i < result.violation_list->len; i++) {
		const struct replay_violation *violation =
			g_ptr_array_index(result.violation_list, i);
		seen |= expected[_i] && strcmp(violation->kind, expected[_i]) == 0;
	}
	if (expected[_i])
		expect(seen, "%s is not among: %s", expected[_i], story_describe(&result));
	else
		expect(result.violations == 0, "%s", story_describe(&result));
	replay_result_clear(&result);
}
END_TEST

/* ---- check --heap ---- */

static void check_rogue(enum rogue how, struct check_report *report)
{
	struct heap_ops ops = make_rogue(how);
	char *output = g_build_filename(story->folder, "failure.kmt", NULL);
	struct check_config config = {
		.name = "rogue",
		.heap = { [PASS_NATIVE] = &ops },
		.operations = 100,
		.cpu_ms = 5000,
		.output = output,
	};
	GError *error = NULL;

	*report = (struct check_report){ 0 };
	expect(check_heap(&config, report, &error), "%s", error ? error->message : "");
	if (report->failed) {
		struct trace_reader *reader = trace_reader_open(output, &error);
		ck_assert_ptr_nonnull(reader);
		expect(trace_validate(reader, &error), "%s", error ? error->message : "");
		trace_reader_free(reader);
	}
	g_free(output);
}

START_TEST(check_shrinks_what_a_rogue_heap_does_wrong)
{
	struct check_report report;

	check_rogue(ROGUE_NONE, &report);
	expect(!report.failed, "%s", report.message);
	expect(report.configurations > 10, "%lu configurations", report.configurations);
	check_report_clear(&report);
	check_rogue(ROGUE_OVERLAP, &report);
	expect(report.failed && strstr(report.message, "overlap"), "%s", report.message);
	/* It strikes at the 20th allocation, so that 20 are the least. */
	expect_eq(report.lines->len, 20);
	expect(strstr(report.command, "--heap rogue") != NULL, "%s", report.command);
	check_report_clear(&report);
}
END_TEST

/* ---- traces that make no sense, and books ---- */

START_TEST(a_trace_that_frees_what_is_not_there_is_refused)
{
	struct replay_result result;
	GError *error = NULL;

	add(EVENT_HEAP_ALLOC, 1, 10);
	add(EVENT_HEAP_FREE, 1, 0);
	add(EVENT_HEAP_FREE, 1, 0);
	struct replay_config config = config_of("tlsf");
	ck_assert(!replay_pass(&config, PASS_NATIVE, NULL, &result, &error));
	ck_assert_ptr_nonnull(strstr(error->message, "event 2"));
	g_error_free(error);
}
END_TEST

START_TEST(books_are_kept_by_call_site_and_size)
{
	struct replay_result result;
	struct event *event;

	for (uint64_t handle = 1; handle <= 4; handle++) {
		event = add(EVENT_HEAP_ALLOC, handle, 100);
		event->u.heap.site = handle <= 3 ? 0xaaaa : 0xbbbb;
	}
	add(EVENT_HEAP_FREE, 1, 0)->cpu = 1;
	struct replay_config config = config_of("size-classes");
	story_pass(&config, PASS_NATIVE, &result);
	expect(result.violations == 0, "%s", story_describe(&result));
	const struct heap_totals *totals = &result.heap.totals;
	expect_eq(totals->allocs, 4);
	expect_eq(totals->live_objects, 3);
	expect_eq(totals->live_bytes, 300);
	expect_eq(totals->usable_bytes, 3 * 112);
	expect_eq(totals->peak_live_bytes, 400);
	expect_eq(totals->moved_cpu, 1);
	expect_eq(result.heap.sites->len, 2);
	const struct heap_site *site = &g_array_index(result.heap.sites, struct heap_site, 0);
	expect_eq(site->address, 0xaaaa);
	expect_eq(site->allocs, 3);
	expect_eq(site->live_objects, 2);
	expect_eq(site->peak_bytes, 300);
	expect_eq(result.heap.sizes[7].allocs, 4);
	expect_eq(result.heap.sizes[7].usable_bytes, 448);
	replay_result_clear(&result);
}
END_TEST

START_TEST(points_over_time_are_few_and_at_equal_distances)
{
	struct replay_result result;
	const unsigned pairs = 777; /* and the last of 1554 is no point of its own accord */

	for (uint64_t handle = 1; handle <= pairs; handle++) {
		add(EVENT_HEAP_ALLOC, handle, 100);
		if (handle % 2 == 0)
			add(EVENT_HEAP_FREE, handle, 0);
	}
	struct replay_config config = config_of("size-classes");
	story_pass(&config, PASS_NATIVE, &result);
	const GArray *points = result.heap.points;
	ck_assert_uint_ge(points->len, HEAP_POINTS / 2);
	ck_assert_uint_le(points->len, HEAP_POINTS + 1);
	uint64_t stride = g_array_index(points, struct heap_point, 0).operation;
	for (guint i = 0; i + 1 < points->len; i++) {
		const struct heap_point *point = &g_array_index(points, struct heap_point, i);
		uint64_t n =
			point->operation; /* of each three, two are live gains and one a free */
		expect_eq(n, (i + 1) * stride);
		expect_eq(point->live_bytes, 100 * (n / 3 + (n % 3 > 0) + (n % 3 > 1)));
		expect(point->held_frames > 0, "operation %lu: nothing is held", n);
	}
	const struct heap_point *last = &g_array_index(points, struct heap_point, points->len - 1);
	expect_eq(last->operation, pairs + pairs / 2);
	expect_eq(last->live_bytes, result.heap.totals.live_bytes);
	replay_result_clear(&result);
}
END_TEST

START_TEST(robsons_bound_is_his)
{
	/* M = 65536 words of 16 bytes, n = 256 words: M (8 / 2 + 1) - n + 1. */
	struct heap_totals totals = { .peak_live_bytes = 1 << 20,
				      .least_bytes = 16,
				      .most_bytes = 4096 };

	expect_eq((uint64_t)heap_report_robson(&totals), (65536 * 5 - 256 + 1) * 16);
	totals.most_bytes = 2049; /* rounded up to the same n */
	expect_eq((uint64_t)heap_report_robson(&totals), (65536 * 5 - 256 + 1) * 16);
	totals.most_bytes = 16; /* one size: nothing can be forced */
	expect_eq((uint64_t)heap_report_robson(&totals), 1 << 20);
	totals.least_bytes = totals.most_bytes = 0;
	expect_eq((uint64_t)heap_report_robson(&totals), 0);
}
END_TEST

START_TEST(the_worst_operation_is_named_without_the_frame_allocator)
{
	struct replay_result native, probed;

	for (uint64_t handle = 1; handle <= 8; handle++)
		add(EVENT_HEAP_ALLOC, handle, 64);
	add(EVENT_HEAP_ALLOC, 9, 3000000); /* a segment of its own */
	add(EVENT_HEAP_FREE, 9, 0);
	add(EVENT_HEAP_FREE, 1, 0);
	struct replay_config config = config_of("tlsf");
	story_pass(&config, PASS_PROBED, &probed);
	uint64_t most = 0;
	for (unsigned order = 0; order < REPLAY_ORDERS; order++)
		most = MAX(most, probed.row[OPERATION_ALLOC][order].most_accesses);
	/* The first request brings a segment; so does the ninth. */
	expect(probed.heap.worst_alloc.event == 0 || probed.heap.worst_alloc.event == 8,
	       "event %lu", probed.heap.worst_alloc.event);
	expect(probed.heap.worst_alloc.accesses > 10 && probed.heap.worst_alloc.accesses < most,
	       "%lu of %lu accesses", probed.heap.worst_alloc.accesses, most);
	expect(probed.heap.worst_free.event >= 9, "event %lu", probed.heap.worst_free.event);
	story_pass(&config, PASS_NATIVE, &native);
	expect_eq(native.heap.worst_alloc.accesses, 0);
	replay_result_clear(&native);
	replay_result_clear(&probed);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("heap replay");
	TCase *tcase = tcase_create("passes");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, set_up, tear_down);
	tcase_add_loop_test(tcase, runs_and_passes_agree, 0, (int)heaps());
	tcase_add_test(tcase, tlsf_costs_the_same_however_many_holes_there_are);
	tcase_add_test(tcase, a_collectors_pause_in_steps_does_not_grow_with_the_heap);
	tcase_add_loop_test(tcase, the_ledger_sees_what_a_rogue_heap_does, 0, ROGUES);
	tcase_add_test(tcase, check_shrinks_what_a_rogue_heap_does_wrong);
	tcase_add_test(tcase, a_trace_that_frees_what_is_not_there_is_refused);
	tcase_add_test(tcase, books_are_kept_by_call_site_and_size);
	tcase_add_test(tcase, points_over_time_are_few_and_at_equal_distances);
	tcase_add_test(tcase, robsons_bound_is_his);
	tcase_add_test(tcase, the_worst_operation_is_named_without_the_frame_allocator);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
