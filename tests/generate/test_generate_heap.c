/* What each heap workload promises, read off its traces. */
#include <check.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tests/generate/generate_support.h"

/* What is alive, followed through the events. */
struct alive {
	GHashTable *objects; /* handle -> index of its heap_alloc among the events */
	uint64_t bytes;
	uint64_t allocations;
};

static struct alive alive_new(void)
{
	return (struct alive){ .objects = g_hash_table_new(g_direct_hash, g_direct_equal) };
}

/* Returns the allocation that a free ends, NULL for other events. */
static const struct event *alive_take(struct alive *alive, const GArray *events, guint i)
{
	const struct event *event = &g_array_index(events, struct event, i);
	gpointer handle = GSIZE_TO_POINTER(event->u.heap.handle), index;

	if (event->kind == EVENT_HEAP_ALLOC) {
		g_hash_table_insert(alive->objects, handle, GUINT_TO_POINTER(i));
		alive->bytes += event->u.heap.bytes;
		alive->allocations++;
	}
	if (event->kind != EVENT_HEAP_FREE)
		return NULL;
	ck_assert(g_hash_table_lookup_extended(alive->objects, handle, NULL, &index));
	g_hash_table_remove(alive->objects, handle);
	const struct event *born = &g_array_index(events, struct event, GPOINTER_TO_UINT(index));
	alive->bytes -= born->u.heap.bytes;
	return born;
}

static void alive_free(struct alive *alive)
{
	g_hash_table_unref(alive->objects);
}

/* Short. */
static GArray *few_events_of(const char *name, const char *text, GPtrArray **names)
{
	g_autofree char *all = g_strconcat(
		strcmp(name, "robson") == 0 ? "live=64K " : "events=20000 ", text, NULL);

	return events_of(name, all, 1, names);
}

static const char *const heap_workloads[] = {
	"larson", "generational", "power-law", "sawtooth", "fifo", "lifo", "robson", "kernel-boot"
};

START_TEST(objects_have_what_recorded_ones_have)
{
	const char *name = heap_workloads[_i];
	g_autoptr(GPtrArray) names = NULL;
	g_autoptr(GArray) events = few_events_of(name, "", &names);
	struct alive alive = alive_new();
	unsigned cached = 0;

	for (guint i = 0; i < events->len; i++) {
		const struct event *event = &g_array_index(events, struct event, i);
		const struct event *born = alive_take(&alive, events, i);
		if (event->kind == EVENT_MARKER)
			continue;
		ck_assert_msg(event->kind == EVENT_HEAP_ALLOC || event->kind == EVENT_HEAP_FREE,
			      "%s: kind %u", name, event->kind);
		ck_assert_msg(event->task > 0, "%s: event %u", name, i);
		ck_assert_uint_lt(event->u.heap.site, names->len);
		ck_assert_msg(event->u.heap.site > 0, "%s: event %u has no call site", name, i);
		ck_assert(!born || born->u.heap.cache == event->u.heap.cache);
		ck_assert(event->kind == EVENT_HEAP_FREE || event->u.heap.bytes > 0);
		ck_assert(event->kind == EVENT_HEAP_FREE || event->u.heap.gfp == 0xcc0);
		cached += event->u.heap.cache > 0;
	}
	ck_assert_msg(g_hash_table_size(alive.objects) == 0, "%s: not drained", name);
	ck_assert_msg((cached > 0) == (strcmp(name, "kernel-boot") == 0), "%s", name);
	alive_free(&alive);
}
END_TEST

START_TEST(without_a_drain_objects_stay)
{
	const char *name = heap_workloads[_i];
	g_autoptr(GArray) events = few_events_of(name, "drain=0", NULL);
	struct alive alive = alive_new();

	for (guint i = 0; i < events->len; i++)
		alive_take(&alive, events, i);
	ck_assert_msg(g_hash_table_size(alive.objects) > 0, "%s", name);
	alive_free(&alive);
}
END_TEST

START_TEST(larson_keeps_its_slots_full_and_hands_them_on)
{
	g_autoptr(GArray) events = events_of(
		"larson", "threads=6 slots=50 cpus=3 round=100 events=60000 drain=0", 3, NULL);
	struct alive alive = alive_new();
	unsigned other_task = 0, other_cpu = 0, frees = 0;
	double sum = 0;

	for (guint i = 0; i < events->len; i++) {
		const struct event *event = &g_array_index(events, struct event, i);
		const struct event *born = alive_take(&alive, events, i);
		guint live = g_hash_table_size(alive.objects);
		if (alive.allocations > 300)
			ck_assert_msg(live == 300 || live == 299, "event %u: %u alive", i, live);
		ck_assert_uint_le(live, 300);
		if (event->kind == EVENT_HEAP_ALLOC) {
			ck_assert_uint_ge(event->u.heap.bytes, 10);
			ck_assert_uint_le(event->u.heap.bytes, 500);
			sum += (double)event->u.heap.bytes;
			continue;
		}
		frees++;
		other_task += born->task != event->task;
		other_cpu += born->cpu != event->cpu;
		ck_assert_uint_lt(event->cpu, 3);
	}
	/* Uniform on [10, 500]: mean 255, standard error 141/sqrt(n). */
	ck_assert_double_eq_tol(sum / (double)alive.allocations, 255, 4);
	/* After 100 replacements in 50 slots about half were the former thread's: 50 (1 - e^-2) /
	 * 100. */
	ck_assert_double_eq_tol((double)other_task / frees, 0.43, 0.03);
	ck_assert_uint_gt(other_cpu, 0);
	alive_free(&alive);
}
END_TEST

/* Lifetimes, in allocations, of the objects of which `pick` holds and that were born early enough
 * to be freed in any case. */
static GArray *lifetimes(const GArray *events, uint64_t before, uint64_t site)
{
	GArray *lives = g_array_new(FALSE, FALSE, sizeof(double));
	struct alive alive = alive_new();
	g_autofree uint64_t *birth = g_new0(uint64_t, events->len + 1);

	for (guint i = 0; i < events->len; i++) {
		const struct event *born = alive_take(&alive, events, i);
		if (!born) {
			birth[i] = alive.allocations;
			continue;
		}
		uint64_t when = birth[born - &g_array_index(events, struct event, 0)];
		double life = (double)(alive.allocations - when + 1);
		if (when <= before && (site == 0 || born->u.heap.site == site))
			g_array_append_val(lives, life);
	}
	alive_free(&alive);
	return lives;
}

static uint64_t name_id(const GPtrArray *names, const char *name)
{
	for (guint i = 1; i < names->len; i++)
		if (strcmp(g_ptr_array_index(names, i), name) == 0)
			return i;
	ck_abort_msg("no name %s", name);
	return 0;
}

START_TEST(generations_have_their_shares_and_lifetimes)
{
	g_autoptr(GPtrArray) names = NULL;
	g_autoptr(GArray) events =
		events_of("generational", "events=200000 survive=20 young=50 factor=10", 4, &names);
	const double share[] = { 0.8, 0.16, 0.04 }, life[] = { 50, 500, 5000 };
	const uint64_t early = 50000;

	for (unsigned number = 0; number < 3; number++) {
		g_autofree char *site = g_strdup_printf("generation %u", number);
		g_autoptr(GArray) lives = lifetimes(events, early, name_id(names, site));
		double mean = 0;
		for (guint i = 0; i < lives->len; i++)
			mean += g_array_index(lives, double, i) / lives->len;
		double error = 4 / sqrt(lives->len);
		ck_assert_msg(fabs((double)lives->len / early - share[number]) < 0.01,
			      "generation %u: %u objects", number, lives->len);
		ck_assert_msg(fabs(mean - life[number]) < error * life[number] + 1,
			      "generation %u: mean lifetime %f", number, mean);
	}
}
END_TEST

/* Hill's estimate of the exponent of a tail that begins at LEAST. */
static double hill(const GArray *values, double least)
{
	double sum = 0;

	for (guint i = 0; i < values->len; i++)
		sum += log(g_array_index(values, double, i) / least);
	return values->len / sum;
}

START_TEST(sizes_and_lifetimes_have_the_tails_asked_for)
{
	static const struct {
		const char *text;
		double size, life;
	} cases[] = {
		{ "size-alpha=1.50 life-alpha=2.00", 1.5, 2 },
		{ "size-alpha=1.10 life-alpha=3.00", 1.1, 3 },
		{ "size-alpha=2.50 life-alpha=1.60", 2.5, 1.6 },
	};
	g_autofree char *text = g_strdup_printf(
		"min-bytes=4096 max-bytes=1G min-life=1000 max-life=10000000 events=120000 %s",
		cases[_i].text);
	g_autoptr(GArray) events = events_of("power-law", text, 5, NULL);
	g_autoptr(GArray) sizes = g_array_new(FALSE, FALSE, sizeof(double));

	for (guint i = 0; i < events->len; i++) {
		const struct event *event = &g_array_index(events, struct event, i);
		double bytes = (double)event->u.heap.bytes;
		if (event->kind == EVENT_HEAP_ALLOC)
			g_array_append_val(sizes, bytes);
	}
	double size = hill(sizes, 4096);
	ck_assert_msg(fabs(size / cases[_i].size - 1) < 0.02, "%s: sizes %f", cases[_i].text, size);
	/* Half of the lifetimes are below 1000 * 2^(1/alpha): objects of the first half cover that.
	 */
	g_autoptr(GArray) lives = lifetimes(events, 30000, 0);
	double median = 1000 * pow(2, 1 / cases[_i].life), below = 0;
	for (guint i = 0; i < lives->len; i++)
		below += g_array_index(lives, double, i) <= median;
	ck_assert_msg(fabs(below / 30000 - 0.5) < 0.015, "%s: median %f", cases[_i].text,
		      below / 30000);
}
END_TEST

START_TEST(a_tooth_goes_from_the_floor_to_the_peak)
{
	g_autoptr(GArray) events =
		events_of("sawtooth", "peak=1000 floor=25 events=20000 drain=0", 6, NULL);
	struct alive alive = alive_new();
	unsigned peaks = 0, floors = 0, in_order = 0, frees = 0;
	uint64_t last_freed = 0;

	for (guint i = 0; i < events->len; i++) {
		const struct event *event = &g_array_index(events, struct event, i);
		bool rising = event->kind == EVENT_HEAP_ALLOC;
		bool turns = i + 1 < events->len &&
			     g_array_index(events, struct event, i + 1).kind != event->kind;
		alive_take(&alive, events, i);
		guint live = g_hash_table_size(alive.objects);
		if (turns)
			ck_assert_uint_eq(live, rising ? 1000 : 250);
		peaks += turns && rising;
		floors += turns && !rising;
		if (rising)
			continue;
		frees++;
		in_order += event->u.heap.handle > last_freed;
		last_freed = event->u.heap.handle;
	}
	ck_assert_uint_gt(peaks, 10);
	ck_assert_uint_gt(floors, 10);
	/* By chance one of two comes after the one before it. */
	ck_assert_double_eq_tol((double)in_order / frees, 0.5, 0.05);
	alive_free(&alive);
}
END_TEST

START_TEST(a_queue_frees_the_oldest)
{
	g_autoptr(GArray) events = events_of("fifo", "depth=100 events=20000", 7, NULL);
	struct alive alive = alive_new();
	uint64_t next = 1;

	for (guint i = 0; i < events->len; i++) {
		const struct event *event = &g_array_index(events, struct event, i);
		if (event->kind == EVENT_HEAP_FREE)
			ck_assert_uint_eq(event->u.heap.handle, next++);
		alive_take(&alive, events, i);
		ck_assert_uint_le(g_hash_table_size(alive.objects), 100);
	}
	ck_assert_uint_eq(next - 1, alive.allocations);
	alive_free(&alive);
}
END_TEST

START_TEST(a_stack_frees_the_newest)
{
	g_autoptr(GArray) events = events_of("lifo", "depth=60 burst=4 events=20000", 8, NULL);
	g_autoptr(GArray) stack = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	guint deepest = 0;

	for (guint i = 0; i < events->len; i++) {
		const struct event *event = &g_array_index(events, struct event, i);
		if (event->kind == EVENT_HEAP_ALLOC) {
			g_array_append_val(stack, event->u.heap.handle);
			deepest = MAX(deepest, stack->len);
			continue;
		}
		ck_assert_uint_gt(stack->len, 0);
		ck_assert_uint_eq(event->u.heap.handle,
				  g_array_index(stack, uint64_t, stack->len - 1));
		g_array_set_size(stack, stack->len - 1);
	}
	ck_assert_uint_eq(deepest, 60);
	ck_assert_uint_eq(stack->len, 0);
}
END_TEST

/* ---- Robson ---- */

/* First fit as plainly as can be: one byte a word, 1 where it is taken. */
struct first_fit {
	uint8_t *taken;
	size_t words, end;
	GHashTable *at; /* handle -> first word + 1 */
};

static void first_fit_take(struct first_fit *heap, uint64_t handle, size_t words, bool aligned)
{
	size_t at = 0, free = 0;

	for (size_t i = 0; free < words; i++) {
		ck_assert_uint_lt(i, heap->words);
		if (free == 0)
			at = i;
		free = heap->taken[i] || (aligned && at % words) ? 0 : free + 1;
	}
	memset(heap->taken + at, 1, words);
	heap->end = MAX(heap->end, at + words);
	g_hash_table_insert(heap->at, GSIZE_TO_POINTER(handle), GSIZE_TO_POINTER(at + 1));
}

static void first_fit_give(struct first_fit *heap, uint64_t handle, size_t words)
{
	size_t at = GPOINTER_TO_SIZE(g_hash_table_lookup(heap->at, GSIZE_TO_POINTER(handle)));

	ck_assert_uint_gt(at, 0);
	memset(heap->taken + at - 1, 0, words);
	g_hash_table_remove(heap->at, GSIZE_TO_POINTER(handle));
}

START_TEST(first_fit_meets_robsons_bound)
{
	static const struct {
		size_t live, steps, word; /* words; log2 of the largest; bytes */
		bool aligned;
	} cases[] = {
		{ 256, 1, 16, false }, { 256, 4, 16, false }, { 1024, 5, 32, false },
		{ 512, 6, 8, false },  { 960, 5, 16, false }, { 1024, 5, 16, true },
		{ 512, 7, 64, true },
	};
	size_t live = cases[_i].live, word = cases[_i].word, largest = (size_t)1 << cases[_i].steps;
	g_autofree char *text =
		g_strdup_printf("live=%zu largest=%zu word=%zu aligned=%d", live * word,
				largest * word, word, cases[_i].aligned);
	g_autoptr(GPtrArray) names = NULL;
	g_autoptr(GArray) events = events_of("robson", text, 9, &names);
	struct first_fit heap = { .words = live * (cases[_i].steps + 2) };
	struct alive alive = alive_new();
	const char *said = NULL;

	heap.taken = g_new0(uint8_t, heap.words);
	heap.at = g_hash_table_new(g_direct_hash, g_direct_equal);
	for (guint i = 0; i < events->len; i++) {
		const struct event *event = &g_array_index(events, struct event, i);
		const struct event *born = alive_take(&alive, events, i);
		size_t words = event->u.heap.bytes / word;
		if (event->kind == EVENT_MARKER)
			said = g_ptr_array_index(names, event->u.marker.text);
		if (event->kind == EVENT_HEAP_ALLOC) {
			ck_assert_msg(words && words <= largest && !(words & (words - 1)) &&
					      words * word == event->u.heap.bytes,
				      "%s: %" PRIu64 " bytes", text, event->u.heap.bytes);
			first_fit_take(&heap, event->u.heap.handle, words, cases[_i].aligned);
		}
		if (born)
			first_fit_give(&heap, event->u.heap.handle, born->u.heap.bytes / word);
		ck_assert_msg(alive.bytes <= live * word, "%s: more is alive", text);
	}
	/* M (log2 n / 2 + 1) - n + 1 */
	size_t bound = live * (cases[_i].steps + 2) / 2 - largest + 1;
	ck_assert_msg(heap.end >= bound, "%s: %zu words, bound %zu", text, heap.end, bound);
	g_autofree char *used =
		g_strdup_printf("first fit used %zu, bound %zu", heap.end * word, bound * word);
	ck_assert_msg(said && strstr(said, used), "'%s', not '%s'", said ? said : "", used);
	g_hash_table_unref(heap.at);
	g_free(heap.taken);
	alive_free(&alive);
}
END_TEST

/* ---- a boot ---- */

START_TEST(a_boot_keeps_what_is_early_and_frees_what_is_late)
{
	g_autoptr(GPtrArray) names = NULL;
	g_autoptr(GArray) events =
		events_of("kernel-boot", "events=100000 cpus=3 drain=0", 10, &names);
	static const char *const phases[] = { "boot: core", "boot: drivers", "boot: filesystems",
					      "boot: user space" };
	unsigned phase = 0, born[5] = { 0 }, dead[5] = { 0 };
	g_autofree uint8_t *birth = g_new0(uint8_t, events->len);
	g_autoptr(GHashTable) caches = g_hash_table_new(g_direct_hash, g_direct_equal);
	struct alive alive = alive_new();

	for (guint i = 0; i < events->len; i++) {
		const struct event *event = &g_array_index(events, struct event, i);
		const struct event *first = alive_take(&alive, events, i);
		if (event->kind == EVENT_MARKER) {
			ck_assert_str_eq(g_ptr_array_index(names, event->u.marker.text),
					 phases[phase]);
			phase++;
			continue;
		}
		g_hash_table_add(caches, GUINT_TO_POINTER(event->u.heap.cache));
		if (phase == 1)
			ck_assert_uint_eq(event->cpu, 0);
		if (first) {
			dead[birth[first - &g_array_index(events, struct event, 0)]]++;
		} else {
			birth[i] = (uint8_t)phase;
			born[phase]++;
		}
	}
	ck_assert_uint_eq(phase, 4);
	ck_assert_msg(dead[1] * 10 < born[1] * 2, "core: %u of %u died", dead[1], born[1]);
	ck_assert_msg(dead[4] * 10 > born[4] * 8, "user space: %u of %u died", dead[4], born[4]);
	ck_assert_uint_gt(g_hash_table_size(caches), 20);
	alive_free(&alive);
}
END_TEST

static Suite *heap_suite(void)
{
	Suite *suite = suite_create("generate heap");
	TCase *all = tcase_create("all");
	TCase *lives = tcase_create("lifetimes");
	TCase *shapes = tcase_create("shapes");

	tcase_add_loop_test(all, objects_have_what_recorded_ones_have, 0,
			    G_N_ELEMENTS(heap_workloads));
	tcase_add_loop_test(all, without_a_drain_objects_stay, 0, G_N_ELEMENTS(heap_workloads));
	suite_add_tcase(suite, all);
	tcase_add_test(lives, larson_keeps_its_slots_full_and_hands_them_on);
	tcase_add_test(lives, generations_have_their_shares_and_lifetimes);
	tcase_add_loop_test(lives, sizes_and_lifetimes_have_the_tails_asked_for, 0, 3);
	tcase_add_test(lives, a_boot_keeps_what_is_early_and_frees_what_is_late);
	suite_add_tcase(suite, lives);
	tcase_add_test(shapes, a_tooth_goes_from_the_floor_to_the_peak);
	tcase_add_test(shapes, a_queue_frees_the_oldest);
	tcase_add_test(shapes, a_stack_frees_the_newest);
	tcase_add_loop_test(shapes, first_fit_meets_robsons_bound, 0, 7);
	suite_add_tcase(suite, shapes);
	return suite;
}

int main(void)
{
	SRunner *runner = srunner_create(heap_suite());

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
