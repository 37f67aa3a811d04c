#include "tests/unit/test_trace_support.h"
#include "workloads/trace_columns.h"
#include "workloads/trace_format.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static char *folder, *path;

static void setup(void)
{
	folder = make_folder();
	path = g_build_filename(folder, "x.kmt", NULL);
}

static void teardown(void)
{
	g_free(path);
	remove_folder(folder);
}

static GArray *new_events(void)
{
	return g_array_new(FALSE, FALSE, sizeof(struct event));
}

static void assert_same(const GArray *got, const GArray *want, const char *what)
{
	ck_assert_msg(got->len == want->len, "%s: %u events, want %u", what, got->len, want->len);
	for (guint i = 0; i < got->len; i++)
		ck_assert_msg(!memcmp(&g_array_index(got, struct event, i),
				      &g_array_index(want, struct event, i), sizeof(struct event)),
			      "%s: event %u (kind %u) differs", what, i,
			      g_array_index(want, struct event, i).kind);
}

static void assert_round_trip(const GArray *events, const char *what)
{
	GError *error = NULL;
	g_autoptr(GArray) start = new_events(), got = new_events();
	write_trace(path, NULL, events);
	bool good = read_trace(path, start, got, &error);
	ck_assert_msg(good, "%s: %s", what, error ? error->message : "");
	assert_same(got, events, what);
}

/* ---- round trips ---- */

START_TEST(every_field_of_every_kind_comes_back)
{
	g_autoptr(GArray) events = new_events();
	GRand *random = g_rand_new_with_seed((guint32)_i);
	g_autofree char *what = g_strdup_printf("kind %d", _i);
	for (unsigned i = 0; i < 3000; i++) {
		struct event event = random_event(random, (unsigned)_i);
		g_array_append_val(events, event);
	}
	g_rand_free(random);
	assert_round_trip(events, what);
}
END_TEST

START_TEST(a_single_event_of_any_kind_comes_back)
{
	g_autoptr(GArray) events = new_events();
	GRand *random = g_rand_new_with_seed(99);
	struct event event = random_event(random, (unsigned)_i);
	g_rand_free(random);
	g_array_append_val(events, event);
	assert_round_trip(events, "one event");
}
END_TEST

START_TEST(random_traces_come_back)
{
	g_autoptr(GArray) events = random_events((uint32_t)_i, 200000);
	assert_round_trip(events, "random");
}
END_TEST

START_TEST(page_traces_come_back)
{
	g_autoptr(GArray) events = page_events((uint32_t)_i, 200000);
	assert_round_trip(events, "pages");
}
END_TEST

/* Sizes around a batch and a block. */
static const unsigned sizes[] = { 0,
				  1,
				  TRACE_BATCH - 1,
				  TRACE_BATCH,
				  TRACE_BATCH + 1,
				  TRACE_FULL_BLOCK - 1,
				  TRACE_FULL_BLOCK,
				  TRACE_FULL_BLOCK + 1,
				  2 * TRACE_FULL_BLOCK };

START_TEST(any_number_of_events_comes_back)
{
	g_autoptr(GArray) events = page_events(5, sizes[_i]);
	assert_round_trip(events, "size");
}
END_TEST

/* Our writer ends blocks before they are as large as they may be; other writers need not. */
START_TEST(the_largest_blocks_come_back)
{
	g_autoptr(GArray) events =
		_i == 0 ? page_events(6, TRACE_BLOCK_EVENTS) : random_events(6, TRACE_BLOCK_EVENTS);
	g_autoptr(GArray) got = new_events();
	struct trace_encoder *encoder = trace_encoder_new();
	struct trace_decoder *decoder = trace_decoder_new();
	struct event batch[TRACE_BATCH];
	const GArray *cuts;
	GError *error = NULL;
	int count;

	const GByteArray *block = trace_encoder_block(
		encoder, (const struct event *)(void *)events->data, events->len, &cuts);
	g_autofree uint8_t *raw = g_malloc0(block->len + TRACE_RAW_SLACK);
	memcpy(raw, block->data, block->len);
	ck_assert(trace_decoder_start(decoder, raw, block->len, events->len, &error));
	while ((count = trace_decoder_next(decoder, batch, &error)) > 0)
		g_array_append_vals(got, batch, (guint)count);
	ck_assert_msg(count == 0, "%s", error ? error->message : "");
	assert_same(got, events, "block");
	trace_encoder_free(encoder);
	trace_decoder_free(decoder);
}
END_TEST

START_TEST(times_may_step_back_between_cpus)
{
	g_autoptr(GArray) events = new_events();
	for (unsigned i = 0; i < 1000; i++) {
		struct event event = { .kind = EVENT_TOUCH, .cpu = i & 1 };
		event.time_ns = i & 1 ? 1000 * i : 5000 + 1000 * i;
		g_array_append_val(events, event);
	}
	assert_round_trip(events, "clocks apart");
}
END_TEST

START_TEST(the_start_section_is_apart)
{
	GError *error = NULL;
	g_autoptr(GArray) start = page_events(1, 70000), events = page_events(2, 1000);
	g_autoptr(GArray) got_start = new_events(), got = new_events();
	uint64_t frames = 0;
	for (guint i = 0; i < start->len; i++) {
		struct event *event = &g_array_index(start, struct event, i);
		event->flags |= EVENT_PROLOGUE;
		frames += event->kind == EVENT_FRAME_ALLOC ? event->u.frame.frames : 0;
	}
	write_trace(path, start, events);
	ck_assert(read_trace(path, got_start, got, &error));
	assert_same(got_start, start, "start");
	assert_same(got, events, "events");
	struct trace_reader *reader = trace_reader_open(path, &error);
	ck_assert_uint_eq(trace_reader_meta(reader)->prologue, 70000);
	ck_assert_uint_eq(trace_reader_meta(reader)->prologue_frames, frames);
	ck_assert_uint_eq(trace_reader_meta(reader)->events, 1000);
	trace_reader_free(reader);
}
END_TEST

START_TEST(same_events_give_the_same_file)
{
	g_autofree char *other = g_build_filename(folder, "y.kmt", NULL);
	g_autofree char *first = NULL, *second = NULL;
	gsize first_bytes, second_bytes;
	g_autoptr(GArray) events = page_events(3, 100000);
	write_trace(path, NULL, events);
	write_trace(other, NULL, events);
	ck_assert(g_file_get_contents(path, &first, &first_bytes, NULL));
	ck_assert(g_file_get_contents(other, &second, &second_bytes, NULL));
	ck_assert_uint_eq(first_bytes, second_bytes);
	ck_assert(!memcmp(first, second, first_bytes));
}
END_TEST

/* ---- what stands beside the events ---- */

static struct trace_meta *full_meta(void)
{
	struct trace_meta *meta = trace_meta_new();
	const struct memory_range ranges[] = {
		{ 0, 0x9fc00, MEMORY_USABLE, 0 },
		{ UINT64_MAX - 0xfff, 0x1000, MEMORY_RESERVED, 0 },
		{ 0x1000, 0, MEMORY_SOFT_RESERVED, 0 },
	};
	const struct trace_frame_range untouched[] = { { 1, 2 }, { UINT64_MAX - 1, 1 } };
	meta->source = g_strdup("trace \"x\"\n\\.dat");
	meta->source_xxh128 = g_strdup("ff11");
	meta->source_sha256 = g_strdup("00ff");
	meta->format = g_strdup("trace-dat");
	meta->program = g_strdup("kmemlab 0.1.0");
	meta->system = g_strdup("6.1.0-56-amd64");
	meta->command = g_strdup("[{\"/* ü */");
	meta->machine_recorded = true;
	g_array_append_vals(meta->memory_map, ranges, G_N_ELEMENTS(ranges));
	meta->cpus = 4;
	meta->state_known = true;
	meta->managed_frames = UINT64_MAX;
	meta->free_frames = INT64_MAX;
	meta->untouched_known = true;
	g_array_append_vals(meta->untouched, untouched, G_N_ELEMENTS(untouched));
	meta->implied_frees = 5;
	meta->untraced_allocs = 6;
	meta->compaction_allocs = 7;
	trace_meta_count_source(meta, "mm_page_free", 8);
	trace_meta_count_source(meta, "kmem:mm_page_alloc", 1);
	trace_meta_count_source(meta, "kmem:mm_page_alloc", 1);
	return meta;
}

static void assert_same_meta(const struct trace_meta *got, const struct trace_meta *want)
{
	ck_assert_str_eq(got->source, want->source);
	ck_assert_str_eq(got->source_xxh128, want->source_xxh128);
	ck_assert_str_eq(got->source_sha256, want->source_sha256);
	ck_assert_str_eq(got->format, want->format);
	ck_assert_str_eq(got->program, want->program);
	ck_assert_str_eq(got->system, want->system);
	ck_assert_str_eq(got->command, want->command);
	ck_assert(got->machine_recorded && got->state_known && got->untouched_known);
	ck_assert_uint_eq(got->memory_map->len, want->memory_map->len);
	ck_assert(!memcmp(got->memory_map->data, want->memory_map->data,
			  want->memory_map->len * sizeof(struct memory_range)));
	ck_assert_uint_eq(got->untouched->len, want->untouched->len);
	ck_assert(!memcmp(got->untouched->data, want->untouched->data,
			  want->untouched->len * sizeof(struct trace_frame_range)));
	ck_assert_uint_eq(got->managed_frames, want->managed_frames);
	ck_assert_uint_eq(got->free_frames, want->free_frames);
	ck_assert_uint_eq(got->implied_frees, 5);
	ck_assert_uint_eq(got->untraced_allocs, 6);
	ck_assert_uint_eq(got->compaction_allocs, 7);
	ck_assert_uint_eq(g_hash_table_size(got->source_events), 2);
	ck_assert_uint_eq(
		*(uint64_t *)g_hash_table_lookup(got->source_events, "kmem:mm_page_alloc"), 2);
}

START_TEST(meta_comes_back)
{
	GError *error = NULL;
	struct trace_writer *writer = trace_writer_new(path, &error);
	struct trace_meta *meta = full_meta();
	struct event event = { .kind = EVENT_FRAME_ALLOC, .cpu = 1, .time_ns = 77 };
	event.u.frame.handle = 41;
	ck_assert_uint_eq(trace_writer_next(writer), 0);
	ck_assert(trace_writer_add(writer, &event, &error));
	ck_assert_uint_eq(trace_writer_next(writer), 1);
	ck_assert(trace_writer_finish(writer, meta, &error));
	struct trace_reader *reader = trace_reader_open(path, &error);
	ck_assert_ptr_nonnull(reader);
	const struct trace_meta *got = trace_reader_meta(reader);
	assert_same_meta(got, meta);
	ck_assert_uint_eq(got->cpus, 4);
	ck_assert_uint_eq(got->events, 1);
	ck_assert_uint_eq(got->span_ns, 77);
	ck_assert_uint_eq(got->handles, 42);
	ck_assert_uint_eq(got->kind_count[EVENT_FRAME_ALLOC], 1);
	trace_meta_free(meta);
	trace_reader_free(reader);
}
END_TEST

START_TEST(an_empty_trace_is_a_trace)
{
	GError *error = NULL;
	struct event event;
	const struct event *events;
	write_trace(path, NULL, NULL);
	struct trace_reader *reader = trace_reader_open(path, &error);
	ck_assert_ptr_nonnull(reader);
	ck_assert_int_eq(trace_reader_next(reader, &event, &error), 0);
	ck_assert_int_eq(trace_reader_next_start(reader, &event, &error), 0);
	ck_assert_int_eq(trace_reader_next_block(reader, &events, &error), 0);
	ck_assert(trace_reader_seek_event(reader, 0, &error));
	ck_assert(trace_reader_seek_time(reader, 0, &error));
	ck_assert_uint_eq(trace_reader_attachments(reader, &error)->len, 0);
	ck_assert_ptr_null(trace_reader_meta(reader)->source);
	ck_assert_ptr_null(trace_reader_string(reader, 1));
	trace_reader_free(reader);
}
END_TEST

START_TEST(strings_and_tasks_come_back)
{
	GError *error = NULL;
	struct trace_writer *writer = trace_writer_new(path, &error);
	g_autofree char *huge = g_strnfill(TRACE_STRING_LIMIT, 'x');
	struct trace_meta *meta = trace_meta_new();
	ck_assert_uint_eq(trace_writer_string(writer, NULL), 0);
	ck_assert_uint_eq(trace_writer_string(writer, "a"), 1);
	ck_assert_uint_eq(trace_writer_string(writer, huge), 2);
	ck_assert_uint_eq(trace_writer_string(writer, ""), 3);
	ck_assert_uint_eq(trace_writer_string(writer, "a"), 1);
	ck_assert_uint_eq(trace_writer_string(writer, "\xff not UTF-8"), 4);
	trace_writer_task(writer, 0, "swapper");
	trace_writer_task(writer, UINT32_MAX, "old");
	trace_writer_task(writer, UINT32_MAX, "new");
	ck_assert(trace_writer_finish(writer, meta, &error));
	trace_meta_free(meta);
	struct trace_reader *reader = trace_reader_open(path, &error);
	ck_assert_ptr_nonnull(reader);
	ck_assert_ptr_null(trace_reader_string(reader, 0));
	ck_assert_str_eq(trace_reader_string(reader, 1), "a");
	ck_assert(!strcmp(trace_reader_string(reader, 2), huge));
	ck_assert_str_eq(trace_reader_string(reader, 3), "");
	ck_assert_str_eq(trace_reader_string(reader, 4), "\xff not UTF-8");
	ck_assert_ptr_null(trace_reader_string(reader, 5));
	ck_assert_str_eq(trace_reader_task(reader, 0), "swapper");
	ck_assert_str_eq(trace_reader_task(reader, UINT32_MAX), "new");
	ck_assert_ptr_null(trace_reader_task(reader, 1));
	trace_reader_free(reader);
}
END_TEST

START_TEST(attachments_come_back)
{
	GError *error = NULL;
	struct trace_writer *writer = trace_writer_new(path, &error);
	struct trace_meta *meta = trace_meta_new();
	/* Longer than two chunks of a stream, and not of one byte only. */
	gsize size = 2 * TRACE_STREAM_CHUNK + 12345;
	char *large = g_malloc(size);
	for (gsize i = 0; i < size; i++)
		large[i] = (char)(i * i >> 7);
	g_autoptr(GBytes) big = g_bytes_new_take(large, size), none = g_bytes_new(NULL, 0);
	ck_assert_uint_eq(trace_writer_attach(writer, "kpageflags", 5, 6, big), 1);
	ck_assert_uint_eq(trace_writer_attach(writer, "", UINT64_MAX, UINT64_MAX, none), 2);
	ck_assert(trace_writer_finish(writer, meta, &error));
	trace_meta_free(meta);
	struct trace_reader *reader = trace_reader_open(path, &error);
	const GPtrArray *got = trace_reader_attachments(reader, &error);
	ck_assert_ptr_nonnull(got);
	ck_assert_uint_eq(got->len, 2);
	const struct trace_attachment *first = got->pdata[0], *second = got->pdata[1];
	ck_assert_str_eq(first->name, "kpageflags");
	ck_assert_uint_eq(first->time_ns, 5);
	ck_assert_uint_eq(first->event, 6);
	ck_assert(g_bytes_equal(first->bytes, big));
	ck_assert_str_eq(second->name, "");
	ck_assert_uint_eq(second->time_ns, UINT64_MAX);
	ck_assert_uint_eq(g_bytes_get_size(second->bytes), 0);
	trace_reader_free(reader);
}
END_TEST

START_TEST(sha256_is_that_of_the_file)
{
	GError *error = NULL;
	g_autofree char *text = NULL;
	gsize bytes;
	g_autoptr(GArray) events = page_events(3, 100000);
	write_trace(path, NULL, events);
	ck_assert(g_file_get_contents(path, &text, &bytes, NULL));
	g_autofree char *want =
		g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)text, bytes);
	struct trace_reader *reader = trace_reader_open(path, &error);
	ck_assert_str_eq(trace_reader_sha256(reader, &error), want);
	ck_assert_str_eq(trace_reader_sha256(reader, &error), want);
	trace_reader_free(reader);
}
END_TEST

/* ---- seeking ---- */

START_TEST(seek_finds_any_event)
{
	GError *error = NULL;
	g_autoptr(GArray) events = page_events(4, 150000);
	write_trace(path, NULL, events);
	struct trace_reader *reader = trace_reader_open(path, &error);
	GRand *random = g_rand_new_with_seed(1);
	for (unsigned i = 0; i < 200; i++) {
		static const guint edges[] = { 0, 65535, 65536, 131071, 131072, 149999, 511, 512 };
		guint at = i < G_N_ELEMENTS(edges) ? edges[i]
						   : (guint)g_rand_int_range(random, 0, 150000);
		ck_assert(trace_reader_seek_event(reader, at, &error));
		for (guint k = at; k < MIN(at + 700, events->len); k++) {
			struct event event;
			ck_assert_int_eq(trace_reader_next(reader, &event, &error), 1);
			ck_assert_msg(!memcmp(&event, &g_array_index(events, struct event, k),
					      sizeof(event)),
				      "event %u after seeking %u", k, at);
		}
	}
	g_rand_free(random);
	struct event event;
	ck_assert(trace_reader_seek_event(reader, 150000, &error));
	ck_assert_int_eq(trace_reader_next(reader, &event, &error), 0);
	ck_assert(trace_reader_seek_event(reader, UINT64_MAX, &error));
	ck_assert_int_eq(trace_reader_next(reader, &event, &error), 0);
	trace_reader_free(reader);
}
END_TEST

/* What seek_time is to find, by the slowest means. */
static guint first_at(const GArray *events, uint64_t time_ns)
{
	guint i = 0;
	while (i < events->len && g_array_index(events, struct event, i).time_ns < time_ns)
		i++;
	return i;
}

START_TEST(seek_finds_any_time)
{
	GError *error = NULL;
	g_autoptr(GArray) events = page_events(4, 150000);
	GRand *random = g_rand_new_with_seed(2);
	/* Steps back, as between CPUs, even across the edge of a block. */
	for (guint i = 100; i < events->len; i += 997)
		g_array_index(events, struct event, i).time_ns -= 900000;
	g_array_index(events, struct event, 65535).time_ns += 5000000;
	write_trace(path, NULL, events);
	struct trace_reader *reader = trace_reader_open(path, &error);
	uint64_t span = trace_reader_meta(reader)->span_ns;
	for (unsigned i = 0; i < 300; i++) {
		uint64_t time_ns = i == 0   ? 0
				   : i == 1 ? span
				   : i == 2 ? span + 1
				   : i == 3 ? g_array_index(events, struct event, 65535).time_ns
					    : (uint64_t)(g_rand_double(random) * (double)span);
		struct event event;
		guint want = first_at(events, time_ns);
		ck_assert(trace_reader_seek_time(reader, time_ns, &error));
		int got = trace_reader_next(reader, &event, &error);
		ck_assert_int_eq(got, want < events->len);
		if (got)
			ck_assert(!memcmp(&event, &g_array_index(events, struct event, want),
					  sizeof(event)));
	}
	g_rand_free(random);
	trace_reader_free(reader);
}
END_TEST

START_TEST(runs_of_events_continue_single_ones)
{
	GError *error = NULL;
	g_autoptr(GArray) events = page_events(4, 70000), got = new_events();
	write_trace(path, NULL, events);
	struct trace_reader *reader = trace_reader_open(path, &error);
	const struct event *run;
	int count = 1;
	while (count > 0) {
		struct event event;
		count = trace_reader_next(reader, &event, &error);
		if (count > 0) {
			g_array_append_val(got, event);
			count = trace_reader_next_block(reader, &run, &error);
			g_array_append_vals(got, run, (guint)MAX(count, 0));
		}
	}
	assert_same(got, events, "runs");
	trace_reader_free(reader);
}
END_TEST

static void add_round_trips(Suite *suite)
{
	TCase *tcase = tcase_create("round trips");
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 100);
	tcase_add_loop_test(tcase, every_field_of_every_kind_comes_back, 1, EVENT_KINDS);
	tcase_add_loop_test(tcase, a_single_event_of_any_kind_comes_back, 1, EVENT_KINDS);
	tcase_add_loop_test(tcase, random_traces_come_back, 0, 2);
	tcase_add_loop_test(tcase, page_traces_come_back, 0, 2);
	tcase_add_loop_test(tcase, any_number_of_events_comes_back, 0, G_N_ELEMENTS(sizes));
	tcase_add_loop_test(tcase, the_largest_blocks_come_back, 0, 2);
	tcase_add_test(tcase, times_may_step_back_between_cpus);
	tcase_add_test(tcase, the_start_section_is_apart);
	tcase_add_test(tcase, same_events_give_the_same_file);
	suite_add_tcase(suite, tcase);
}

int main(void)
{
	Suite *suite = suite_create("trace");
	add_round_trips(suite);
	TCase *beside = tcase_create("beside the events");
	tcase_add_checked_fixture(beside, setup, teardown);
	tcase_set_timeout(beside, 100);
	tcase_add_test(beside, meta_comes_back);
	tcase_add_test(beside, an_empty_trace_is_a_trace);
	tcase_add_test(beside, strings_and_tasks_come_back);
	tcase_add_test(beside, attachments_come_back);
	tcase_add_test(beside, sha256_is_that_of_the_file);
	suite_add_tcase(suite, beside);
	TCase *seek = tcase_create("seek");
	tcase_add_checked_fixture(seek, setup, teardown);
	tcase_set_timeout(seek, 100);
	tcase_add_test(seek, seek_finds_any_event);
	tcase_add_test(seek, seek_finds_any_time);
	tcase_add_test(seek, runs_of_events_continue_single_ones);
	suite_add_tcase(suite, seek);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
