/* What makes the heaps that map pages themselves, shown on a stub machine whose region of kernel
 * addresses is the host's: what is not mapped faults. */
#include <stdlib.h>
#include <string.h>
#include "tests/heaps/heap_instance.h"

#define PAGE 4096u

static struct heap_instance *in;

static void start_over(const char *name, const char *frames, const char *key, uint64_t value)
{
	const struct heap_ops *ops = heap_find(name);
	struct heap_config config;

	heap_config_defaults(ops, &config);
	for (unsigned i = 0; key && ops->options[i].key; i++)
		if (strcmp(ops->options[i].key, key) == 0)
			config.option[i] = value;
	in = heap_instance_new(ops, &config, frame_find(frames), 16);
}

static void start_with(const char *name, const char *key, uint64_t value)
{
	start_over(name, "buddy", key, value);
}

static void stop(void)
{
	heap_instance_assert_sound(in);
	heap_instance_free(in);
}

static char *take(uint64_t bytes)
{
	void *at = NULL;

	expect_eq(heap_instance_alloc(in, bytes, 0, &at), 0);
	return at;
}

static void give(void *at)
{
	expect_eq(heap_free(&in->heap, at), 0);
}

static struct heap_stats stats(void)
{
	struct heap_stats now;

	in->heap.ops->stats(in->heap.state, &now);
	return now;
}

/* Whether a touch of AT ends in a fault that nobody serves. */
static bool faults(volatile char *at, bool write)
{
	if (sigsetjmp(heap_fault_jump, 1)) {
		expect(heap_fault_at == (void *)(uintptr_t)at, "the fault is at %p, not at %p",
		       heap_fault_at, (void *)(uintptr_t)at);
		return true;
	}
	heap_fault_expected = true;
	if (write)
		*at = 1;
	else
		(void)*at;
	heap_fault_expected = false;
	return false;
}

static struct heap_place place_of(const void *at)
{
	struct heap_place place = { 0 };

	expect(in->heap.ops->locate(in->heap.state, at, &place), "%p is no object's", at);
	return place;
}

/* ---- H12 ---- */

static const uint64_t guarded_sizes[] = { 8, 64, 4088, 4096, 4104, 40000 };

START_TEST(first_byte_past_the_end_faults_and_is_told_whose)
{
	uint64_t bytes = guarded_sizes[_i];

	start_with("guarded", NULL, 0);
	take(24);
	char *object = take(bytes);
	take(24);
	memset(object, 1, bytes);
	expect(!faults(object + bytes - 1, true), "the last byte is the object's");
	expect(faults(object + bytes, true), "%lu bytes: one past the end", bytes);
	expect(faults(object + bytes, false), "reading it too");
	struct heap_place place = place_of(heap_fault_at);
	expect(place.object == object && place.bytes == bytes && !place.freed,
	       "%p of %lu bytes is named", place.object, place.bytes);
	stop();
}
END_TEST

START_TEST(room_behind_an_odd_size_is_less_than_its_alignment)
{
	start_with("guarded", NULL, 0);
	char *object = take(13);
	expect(!faults(object + 15, true) && faults(object + 16, true), "13 bytes, aligned to 8");
	expect_eq(in->heap.ops->usable(in->heap.state, object), 13);
	stop();
}
END_TEST

START_TEST(freed_object_faults_and_is_remembered)
{
	start_with("guarded", NULL, 0);
	char *object = take(100);
	give(object);
	expect(faults(object, false), "a freed object is read");
	struct heap_place place = place_of(object + 50);
	expect(place.object == object && place.bytes == 100 && place.freed, "who it was");
	expect_eq(heap_free(&in->heap, object), KERR_NOT_OWNED);
	expect_eq(stats().held_frames, 1); /* of the page map: it remembers */
	in->heap.ops->trim(in->heap.state);
	expect_eq(stats().held_frames, 0);
	expect(!in->heap.ops->locate(in->heap.state, object, &place), "forgotten");
	stop();
}
END_TEST

/* How many others are freed before an address comes back; 0: never in 3,000. */
static unsigned comes_back_after(const char *key, uint64_t value)
{
	start_with("guarded", key, value);
	char *object = take(8);
	unsigned i = 0;
	give(object);
	for (i = 1; i < 3000; i++) {
		char *other = take(8);
		give(other);
		if (other == object)
			break;
	}
	stop();
	return i % 3000;
}

START_TEST(quarantine_and_reuse_say_when_an_address_comes_back)
{
	expect(comes_back_after(NULL, 0) == 0, "late: not before the region is used up");
	expect_eq(comes_back_after("reuse", 1), 65); /* the 64th pushes it out */
}
END_TEST

START_TEST(start_placement_guards_the_beginning)
{
	start_with("guarded", "place", 1);
	take(8);
	char *object = take(8);
	expect_eq((uintptr_t)object % PAGE, 0);
	expect(faults(object - 1, false) && !faults(object + 8, true), "place=start");
	stop();
}
END_TEST

/* ---- H7 ---- */

#define MIB (1ull << 20)

START_TEST(frames_come_at_first_touch_and_go_back)
{
	start_with("demand-region", NULL, 0);
	expect_eq(stats().held_frames, 0);
	char *small = take(64);
	uint64_t begun = stats().held_frames;
	char *large = take(8 * MIB);
	uint64_t untouched = stats().held_frames;
	expect(untouched - begun <= 4, "%lu frames for 8 MiB that nobody touched",
	       untouched - begun);
	for (uint64_t i = 0; i < 100; i++)
		large[i * 64 * 1024 + 5000] = 1;
	uint64_t touched = stats().held_frames;
	expect(touched - untouched >= 99 && touched - untouched <= 100, "%lu pages of 100",
	       touched - untouched);
	for (uint64_t i = 0; i < 100; i++)
		expect(large[i * 64 * 1024 + 5000] == 1 && large[i * 64 * 1024 + 5001] == 0,
		       "page %lu", i);
	expect_eq(stats().held_frames, touched);
	heap_instance_assert_sound(in);
	give(large);
	expect(stats().held_frames <= begun + 2, "%lu frames after its free, %lu before it",
	       stats().held_frames, begun);
	small[0] = 1;
	give(small);
	in->heap.ops->trim(in->heap.state);
	expect_eq(stats().held_frames, 0);
	stop();
}
END_TEST

START_TEST(give_back_waits_for_so_many_pages)
{
	start_with("demand-region", "give-back", 32);
	char *keep = take(64);
	char *object = take(20 * PAGE);
	take(64);
	memset(object, 1, 20 * PAGE);
	uint64_t touched = stats().held_frames;
	give(object);
	expect_eq(stats().held_frames, touched);
	in->heap.ops->trim(in->heap.state);
	expect(stats().held_frames + 18 <= touched, "trim() takes them");
	keep[0] = 1;
	stop();
}
END_TEST

START_TEST(more_than_ram_is_handed_out_until_it_is_touched)
{
	start_with("demand-region", NULL, 0);
	char *object = take(40 * MIB);
	uint64_t i = 0;
	for (; i < 40 * MIB && !faults(object + i, true); i += PAGE)
		;
	expect(i > 14 * MIB && i < 16 * MIB, "16 MiB of RAM give out after %lu", i);
	struct heap_place place = place_of(heap_fault_at);
	expect(place.object == object && !place.freed, "whose page it was");
	expect_eq(in->heap.ops->commit(in->heap.state, object, 40 * MIB), KERR_NO_MEMORY);
	void *other = NULL;
	expect_eq(heap_instance_alloc(in, 8, 0, &other), KERR_NO_MEMORY);
	give(object);
	in->heap.ops->trim(in->heap.state);
	expect_eq(stats().held_frames, 0);
	take(8);
	stop();
}
END_TEST

/* ---- H8 ---- */

static char *take_contiguous(uint64_t bytes, int want)
{
	struct heap_request request = { .bytes = bytes, .flags = HEAP_CONTIGUOUS };
	void *at = NULL;

	expect_eq(heap_alloc(&in->heap, &request, &at), want);
	return at;
}

/* Frame behind an address, whichever way it is reached. */
static uint64_t frame_of(const char *at)
{
	uint64_t offset = (uint64_t)(at - in->region.base);

	if (offset < in->region.bytes)
		return in->region.frame[offset / PAGE] - 1ull;
	return (uint64_t)(at - in->config.reach.base) / PAGE;
}

/* Pages of an object whose frame does not follow the one before. */
static unsigned breaks(const char *object, uint64_t bytes)
{
	unsigned count = 0;

	for (const char *at = object + PAGE; at < object + bytes; at += PAGE)
		count += frame_of(at) != frame_of(at - PAGE) + 1;
	return count;
}

START_TEST(kmalloc_grows_one_run_from_the_low_end)
{
	start_over("kmalloc-vmalloc", "two-ended", NULL, 0);
	char *lowest = take(1000), *end = lowest;
	for (unsigned i = 0; i < 60; i++) {
		char *object = take(30000);
		memset(object, 1, 30000);
		expect(breaks(object, 30000) == 0, "object %u lies in frames apart", i);
		end = object + 30000 > end ? object + 30000 : end;
	}
	/* Single frames come from the other end, so nothing stands in the brk's way. */
	char *large = take(1 << 20);
	expect(large >= in->region.base, "above `large`: in the region");
	expect((uint64_t)(end - lowest) < 60 * 30100 + 65536, "one run: %lu bytes",
	       (uint64_t)(end - lowest));
	expect(frame_of(lowest) < 48, "from the low end: frame %lu", frame_of(lowest));
	stop();
}
END_TEST

START_TEST(vmalloc_serves_where_kmalloc_finds_no_run)
{
	static struct frame_block block[4096];
	struct frame_request one = { .frames = 1, .align_frames = 1 };
	uint64_t bytes = 512 << 10;
	unsigned n = 0;

	start_with("kmalloc-vmalloc", NULL, 0);
	while (n < 4096 && frame_alloc(&in->frames->frames, &one, &block[n]) == 0)
		n++;
	for (unsigned i = 0; i < n; i += 2)
		expect_eq(frame_free(&in->frames->frames, &block[i]), 0);
	expect_eq(frame_instance_free_frames(in->frames), (n + 1) / 2);
	take_contiguous(bytes, KERR_NO_MEMORY);
	char *object = take(bytes);
	memset(object, 1, bytes);
	expect(breaks(object, bytes) == bytes / PAGE - 1, "%u of its frames are apart",
	       breaks(object, bytes));
	expect(faults(object + bytes, true), "a guard page is behind it");
	char *small = take(100);
	expect(small >= in->region.base, "what kmalloc cannot serve vmalloc does");
	heap_instance_assert_sound(in);
	give(small);
	give(object);
	stop();
}
END_TEST

START_TEST(contiguous_objects_stay_in_the_direct_map)
{
	start_with("kmalloc-vmalloc", "large", 4096);
	char *either = take(100000), *device = take_contiguous(100000, 0);
	expect(either >= in->region.base, "above `large`");
	expect(frame_of(device) < in->frames->map.end.n && breaks(device, 100000) == 0,
	       "HEAP_CONTIGUOUS");
	give(either);
	give(device);
	in->heap.ops->trim(in->heap.state);
	expect_eq(stats().held_frames, 0);
	stop();
}
END_TEST

START_TEST(brk_jumps_over_what_is_somebody_elses)
{
	struct frame_request at = { .frames = 1, .align_frames = 1, .flags = FRAME_AT };
	struct frame_block block;

	start_over("kmalloc-vmalloc", "bitmap", NULL, 0);
	char *first = take(1000);
	at.at.n = frame_of(first) + 40;
	expect_eq(frame_alloc(&in->frames->frames, &at, &block), 0);
	bool below = false, above = false;
	for (unsigned i = 0; i < 30; i++) {
		char *object = take(20000);
		expect(breaks(object, 20000) == 0, "object %u", i);
		uint64_t frame = frame_of(object);
		below |= frame < at.at.n;
		above |= frame > at.at.n;
		expect(frame + 5 < at.at.n || frame > at.at.n, "on the taken frame");
	}
	expect(below && above, "it goes on behind the obstacle");
	stop();
}
END_TEST

/* ---- H6 ---- */

#define SELECTORS_MAX 8190u

static uint64_t descriptor_of(const void *object)
{
	struct heap_descriptors d;
	uint16_t selector = in->heap.ops->selector(in->heap.state, object);

	expect(in->heap.ops->descriptors(in->heap.state, &d), "selectors=on has a table");
	expect_eq(d.limit, 8192 * 8 - 1);
	expect(selector % 8 == 0 && selector + 7u <= d.limit, "selector 0x%x", selector);
	return selector ? ((const uint64_t *)port_ptr(d.table))[selector / 8] : 0;
}

/* By the fields of SDM 3, figure 3-8. */
static uint64_t base_of(uint64_t d)
{
	return (d >> 16 & 0xffffff) | (d >> 32 & 0xff000000);
}

static uint64_t limit_of(uint64_t d)
{
	uint64_t raw = (d & 0xffff) | (d >> 32 & 0xf0000);

	return d >> 55 & 1 ? raw << 12 | 0xfff : raw;
}

static const struct {
	uint64_t bytes, limit;
} segments[] = {
	{ 1, 0 },
	{ 24, 23 },
	{ 1000, 999 },
	{ 5000, 4999 },
	{ 1 << 20, (1 << 20) - 1 },
	{ (1 << 20) + 1, (1 << 20) + 4095 }, /* counts pages from here on */
	{ (2 << 20) - 8, (2 << 20) - 1 },
};

START_TEST(descriptor_says_where_an_object_begins_and_ends)
{
	uint64_t bytes = segments[_i].bytes;

	start_with("two-heaps", "selectors", 1);
	take(40);
	char *object = take(bytes);
	uint64_t d = descriptor_of(object);
	expect_eq(base_of(d), port_vaddr(object).a & UINT32_MAX);
	expect_eq(limit_of(d), segments[_i].limit);
	expect_eq(d >> 40 & 0xff, 0x92); /* present, DPL 0, data, writable */
	expect_eq(in->heap.ops->usable(in->heap.state, object), bytes);
	/* Where the limit counts pages the guard page is the end, but for the alignment. */
	uint64_t end = (bytes + 7) & ~7ull;
	if (bytes > 4096)
		expect(faults(object + end, true), "a guard page behind %lu bytes", bytes);
	give(object);
	expect_eq(in->heap.ops->selector(in->heap.state, object), 0);
	stop();
}
END_TEST

START_TEST(limit_follows_a_resize)
{
	struct heap_request request = { .bytes = 90 };
	void *at;

	start_with("two-heaps", "selectors", 1);
	at = take(40);
	expect_eq(heap_realloc(&in->heap, &request, &at), 0);
	expect_eq(limit_of(descriptor_of(at)), 89);
	expect_eq(stats().used_bytes, 90);
	stop();
}
END_TEST

START_TEST(objects_beyond_the_last_descriptor_are_counted)
{
	static char *object[SELECTORS_MAX + 10];
	struct heap_descriptors d;
	unsigned n = SELECTORS_MAX + 10;

	start_with("two-heaps", "selectors", 1);
	for (unsigned i = 0; i < n; i++) {
		object[i] = take(16);
		uint16_t selector = in->heap.ops->selector(in->heap.state, object[i]);
		expect((selector != 0) == (i < SELECTORS_MAX), "object %u has selector 0x%x", i,
		       selector);
	}
	expect(in->heap.ops->descriptors(in->heap.state, &d), "a table");
	expect_eq(d.used, SELECTORS_MAX);
	expect_eq(d.without, 10);
	heap_instance_assert_sound(in);
	give(object[17]);
	object[17] = take(16);
	expect(in->heap.ops->selector(in->heap.state, object[17]) != 0, "used again");
	for (unsigned i = 0; i < n; i++)
		give(object[i]);
	stop();
}
END_TEST

START_TEST(small_and_large_objects_live_apart)
{
	start_with("two-heaps", NULL, 0);
	char *small = take(4096), *large = take(4097);
	uint64_t before = stats().held_frames;
	expect(small < in->region.base || small >= in->region.base + in->region.bytes, "small");
	expect(large >= in->region.base && large < in->region.base + in->region.bytes, "large");
	expect(faults(large + 4104, true), "large ones have a guard page");
	take(64);
	expect_eq(stats().held_frames, before);
	take(64 << 10);
	expect(stats().held_frames <= before + 16 + 1, "64 KiB are 16 frames");
	stop();
}
END_TEST

START_TEST(selectors_need_segments)
{
	const struct heap_ops *ops = heap_find("two-heaps");
	struct heap_config config;
	const char *why = NULL;

	start_with("two-heaps", NULL, 0);
	config = in->config;
	config.option[3] = 1;
	expect(ops->state_bytes(&config, &why) > 0, "%s", why);
	config.mapper.segments = 0;
	expect_eq(ops->state_bytes(&config, &why), 0);
	expect(strstr(why, "segment limits"), "%s", why);
	config.mapper.ops = NULL;
	expect_eq(ops->state_bytes(&config, &why), 0);
	expect(strstr(why, "page tables"), "%s", why);
	stop();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("heaps that map");
	TCase *tcase = tcase_create("promises");

	tcase_add_loop_test(tcase, first_byte_past_the_end_faults_and_is_told_whose, 0,
			    sizeof(guarded_sizes) / sizeof(*guarded_sizes));
	tcase_add_test(tcase, room_behind_an_odd_size_is_less_than_its_alignment);
	tcase_add_test(tcase, freed_object_faults_and_is_remembered);
	tcase_add_test(tcase, quarantine_and_reuse_say_when_an_address_comes_back);
	tcase_add_test(tcase, start_placement_guards_the_beginning);
	tcase_add_test(tcase, frames_come_at_first_touch_and_go_back);
	tcase_add_test(tcase, give_back_waits_for_so_many_pages);
	tcase_add_test(tcase, more_than_ram_is_handed_out_until_it_is_touched);
	tcase_add_test(tcase, kmalloc_grows_one_run_from_the_low_end);
	tcase_add_test(tcase, vmalloc_serves_where_kmalloc_finds_no_run);
	tcase_add_test(tcase, contiguous_objects_stay_in_the_direct_map);
	tcase_add_test(tcase, brk_jumps_over_what_is_somebody_elses);
	tcase_add_loop_test(tcase, descriptor_says_where_an_object_begins_and_ends, 0,
			    sizeof(segments) / sizeof(*segments));
	tcase_add_test(tcase, limit_follows_a_resize);
	tcase_add_test(tcase, objects_beyond_the_last_descriptor_are_counted);
	tcase_add_test(tcase, small_and_large_objects_live_apart);
	tcase_add_test(tcase, selectors_need_segments);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
