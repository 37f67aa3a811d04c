#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tests/import/dat_file.h"
#include "tests/import/import_support.h"
#include "workloads/import/trace_dat_file.h"

/* trace.dat files written here (dat_file.h): every form of the container, absurd content, damage at
 * every place. */

static struct loaded *import_dat(struct dat_file *file, bool lenient, GError **error)
{
	struct loaded *loaded =
		import_bytes((const char *)file->bytes->data, file->bytes->len, lenient, error);
	g_byte_array_unref(file->bytes);
	return loaded;
}

static const struct form {
	const char *name;
	unsigned version;
	bool big_endian;
	enum dat_compression compression;
	unsigned long_bytes;
} forms[] = {
	{ "version 6", 6, false, DAT_NONE },
	{ "version 6, big endian", 6, true, DAT_NONE },
	{ "version 7, not compressed", 7, false, DAT_NONE },
	{ "version 7, not compressed, big endian", 7, true, DAT_NONE },
	{ "version 7, zstd", 7, false, DAT_ZSTD },
	{ "version 7, zstd, big endian", 7, true, DAT_ZSTD },
	{ "version 7, zlib", 7, false, DAT_ZLIB },
	{ "version 7, zlib, big endian", 7, true, DAT_ZLIB },
	{ "version 6, of a 32-bit kernel", 6, false, DAT_NONE, 4 },
	{ "version 7, of a 32-bit kernel, big endian", 7, true, DAT_ZSTD, 4 },
};

static struct dat_file file_of(const struct form *form)
{
	return (struct dat_file){ .version = form->version,
				  .big_endian = form->big_endian,
				  .compression = form->compression,
				  .long_bytes = form->long_bytes };
}

static void expect_story(const char *name, struct dat_file *file, const char *want)
{
	GError *error = NULL;
	struct loaded *loaded = import_dat(file, false, &error);

	ck_assert_msg(loaded, "%s: %s", name, error ? error->message : "");
	g_autofree char *got = story(loaded, true);
	ck_assert_msg(strcmp(got, want) == 0, "%s:\n%s", name, got);
	loaded_free(loaded);
}

START_TEST(every_form_is_read)
{
	struct dat_file file = file_of(&forms[_i]);
	GError *error = NULL;

	dat_file_usual(&file, 5000, 0x12345);
	struct loaded *loaded = import_dat(&file, false, &error);
	ck_assert_msg(loaded, "%s: %s", forms[_i].name, error ? error->message : "");
	g_autofree char *got = story(loaded, true);
	ck_assert_msg(strcmp(got, "start 1 0x300+8\nstart 2 0x12345+1\nfree 2\nfree 1\n") == 0,
		      "%s:\n%s", forms[_i].name, got);
	const struct event *last = &g_array_index(loaded->events, struct event, 1);
	ck_assert(last->time_ns == 1000 && last->task == 77 && last->cpu == 0);
	ck_assert_str_eq(trace_reader_task(loaded->reader, 77), "worker");
	loaded_free(loaded);
}
END_TEST

/* ---- several CPUs and buffers ---- */

/* COUNT frees of frames FRAME, FRAME + 1 ..., each in a page of its own, from TIME on every STEP.
 */
static GByteArray *frees(const struct dat_file *file, uint64_t time, uint64_t step, uint64_t frame,
			 int count)
{
	struct dat_bytes pages = { g_byte_array_new(), file->big_endian, file->long_bytes };

	for (int i = 0; i < count; i++) {
		dat_page_begin(&pages, time + (uint64_t)i * step, 0);
		dat_page_free(&pages, 0, frame + (uint64_t)i, 0);
		dat_page_end(&pages, 0);
	}
	return pages.bytes;
}

static void write_cpus(struct dat_file *file, struct dat_cpu *cpus, unsigned count)
{
	file->cpus = cpus;
	file->count = count;
	dat_file_write(file);
	for (unsigned i = 0; i < count; i++)
		g_byte_array_unref(cpus[i].pages);
}

/* By time; at the same time the first CPU of the first buffer goes first. Pages end within chunks.
 */
START_TEST(cpus_and_instances_are_merged_by_time)
{
	struct dat_file file = file_of(&forms[_i]);
	struct dat_cpu cpus[] = {
		{ "", 0, frees(&file, 1000, 100, 0x10, 5) },
		{ "", 2, frees(&file, 1000, 150, 0x20, 3) },
		{ "second", 0, frees(&file, 950, 50, 0x30, 2) },
		{ "third", 1, frees(&file, 1250, 1, 0x40, 3) },
	};

	write_cpus(&file, cpus, G_N_ELEMENTS(cpus));
	GError *error = NULL;
	struct loaded *loaded = import_dat(&file, false, &error);
	ck_assert_msg(loaded, "%s: %s", forms[_i].name, error ? error->message : "");
	static const struct {
		uint64_t time, frame;
		unsigned cpu;
	} want[] = { { 0, 0x30, 0 },   { 50, 0x10, 0 },	 { 50, 0x20, 2 },  { 50, 0x31, 0 },
		     { 150, 0x11, 0 }, { 200, 0x21, 2 }, { 250, 0x12, 0 }, { 300, 0x40, 1 },
		     { 301, 0x41, 1 }, { 302, 0x42, 1 }, { 350, 0x13, 0 }, { 350, 0x22, 2 },
		     { 450, 0x14, 0 } };
	ck_assert_uint_eq(loaded->events->len, G_N_ELEMENTS(want));
	for (guint i = 0; i < loaded->events->len; i++) {
		const struct event *event = &g_array_index(loaded->events, struct event, i);
		const struct event *start = NULL;
		for (guint j = 0; j < loaded->start->len; j++)
			if (g_array_index(loaded->start, struct event, j).u.frame.handle ==
			    event->u.frame.handle)
				start = &g_array_index(loaded->start, struct event, j);
		ck_assert_msg(start && event->time_ns == want[i].time &&
				      start->u.frame.frame == want[i].frame &&
				      event->cpu == want[i].cpu,
			      "%s: event %u", forms[_i].name, i);
	}
	loaded_free(loaded);
}
END_TEST

START_TEST(losses_are_markers)
{
	struct dat_file file = file_of(&forms[_i]);
	struct dat_bytes pages = { g_byte_array_new(), file.big_endian, file.long_bytes };
	const uint64_t some = UINT64_C(1) << 31, stored = UINT64_C(1) << 30;

	dat_page_begin(&pages, 1000, 0);
	dat_page_free(&pages, 0, 0x10, 0);
	dat_page_end(&pages, 0);
	dat_page_begin(&pages, 2000, some | stored);
	/* A time before the first record. */
	dat_page_head(&pages, 30, 5);
	dat_put(&pages, 0, 4);
	dat_page_free(&pages, 0, 0x11, 0);
	dat_page_free(&pages, 0, 0x12, 0);
	dat_page_end(&pages, 7);
	dat_page_begin(&pages, 3000, some);
	dat_page_free(&pages, 0, 0x13, 0);
	dat_page_end(&pages, 0);
	struct dat_cpu cpu = { "", 0, pages.bytes };
	write_cpus(&file, &cpu, 1);
	expect_story(forms[_i].name, &file,
		     "start 1 0x10+1\nstart 2 0x11+1\nstart 3 0x12+1\nstart 4 0x13+1\nfree 1\n"
		     "marker [LOST 7 EVENTS]\nfree 2\nfree 3\nmarker [LOST EVENTS]\nfree 4\n");
}
END_TEST

/* A free as a record whose length stands in a word of its own. */
static void put_long_free(struct dat_bytes *out, uint32_t delta, uint64_t frame)
{
	dat_page_head(out, 0, delta);
	dat_put(out, 4 + 21, 4);
	dat_put(out, 500, 2);
	dat_put(out, 0, 2);
	dat_put(out, 77, 4);
	dat_put(out, frame, 8);
	/* Order, a byte more, and up to a whole word. */
	dat_put(out, 0, 8);
}

/* What may stand between records, and what it does to the time. */
START_TEST(times_and_paddings_within_a_page)
{
	struct dat_file file = file_of(&forms[_i]);
	struct dat_bytes pages = { g_byte_array_new(), file.big_endian, file.long_bytes };
	const uint64_t base = UINT64_C(3) << 59;
	GError *error = NULL;

	dat_page_begin(&pages, base + 1000, 0);
	dat_page_free(&pages, 0, 0x10, 0);
	dat_page_head(&pages, 29, 10); /* padding: a record that was discarded */
	dat_put(&pages, 12, 4);
	dat_put(&pages, UINT64_MAX, 8);
	put_long_free(&pages, 5, 0x11);
	dat_page_head(&pages, 30, 7); /* a time of more than 27 bits */
	dat_put(&pages, 2, 4);
	dat_page_free(&pages, 1, 0x12, 0);
	dat_page_head(&pages, 31, 3); /* an absolute time of 59 bits */
	dat_put(&pages, 1 << 20, 4);
	dat_page_free(&pages, 0, 0x13, 0);
	dat_page_head(&pages, 31, 3); /* 59 bits have wrapped */
	dat_put(&pages, 0, 4);
	dat_page_free(&pages, 0, 0x14, 0);
	dat_page_head(&pages, 29, 0); /* nothing more on this page */
	dat_put(&pages, UINT64_MAX, 8);
	dat_page_end(&pages, 0);
	struct dat_cpu cpu = { "", 0, pages.bytes };
	write_cpus(&file, &cpu, 1);
	struct loaded *loaded = import_dat(&file, false, &error);
	ck_assert_msg(loaded, "%s: %s", forms[_i].name, error ? error->message : "");
	const uint64_t wide = 15 + (2 << 27) + 7 + 1, absolute = (UINT64_C(1) << 47) + 3 - 1000;
	const uint64_t want[] = { 0, 15, wide, absolute, (UINT64_C(1) << 59) + 3 - 1000 };
	ck_assert_uint_eq(loaded->events->len, G_N_ELEMENTS(want));
	for (guint i = 0; i < loaded->events->len; i++)
		ck_assert_msg(g_array_index(loaded->events, struct event, i).time_ns == want[i],
			      "%s: event %u at %" G_GUINT64_FORMAT, forms[_i].name, i,
			      g_array_index(loaded->events, struct event, i).time_ns);
	loaded_free(loaded);
}
END_TEST

/* ---- clocks ---- */

static uint64_t span_with(struct dat_file *file, unsigned option, GByteArray *data)
{
	GError *error = NULL;

	file->option = option;
	file->option_data = data->data;
	file->option_bytes = data->len;
	dat_file_usual(file, 5000, 0x10);
	g_byte_array_unref(data);
	struct loaded *loaded = import_dat(file, false, &error);
	ck_assert_msg(loaded, "%s", error ? error->message : "");
	uint64_t span = loaded->meta->span_ns;
	loaded_free(loaded);
	return span;
}

/* TSC2NSEC: times are stamps * 3 / 2 here. */
START_TEST(ticks_of_the_tsc_become_times)
{
	struct dat_file file = file_of(&forms[_i]);
	struct dat_bytes option = { .bytes = g_byte_array_new(), .big_endian = file.big_endian };

	dat_put(&option, 3, 4);
	dat_put(&option, 1, 4);
	dat_put(&option, 0, 8);
	ck_assert_uint_eq(span_with(&file, 14, option.bytes), 1500);
}
END_TEST

/* TIME_SHIFT: a guest's clock against its host's, between two samples 1000 ns apart. */
START_TEST(a_guests_times_are_those_of_its_host)
{
	struct dat_file file = file_of(&forms[_i]);
	struct dat_bytes option = { .bytes = g_byte_array_new(), .big_endian = file.big_endian };

	dat_put(&option, 4711, 8); /* session */
	dat_put(&option, 1, 4);	   /* offsets lie on a line */
	dat_put(&option, 1, 4);	   /* CPUs */
	dat_put(&option, 2, 4);	   /* samples: times, offsets, scalings, bits of fractions */
	dat_put(&option, 5000, 8);
	dat_put(&option, 6000, 8);
	dat_put(&option, (uint64_t)-500, 8);
	dat_put(&option, (uint64_t)-300, 8);
	dat_put(&option, 8, 8);
	dat_put(&option, 8, 8);
	dat_put(&option, 3, 8);
	dat_put(&option, 3, 8);
	ck_assert_uint_eq(span_with(&file, 12, option.bytes), 1200);
}
END_TEST

/* More than is read of a file at once. */
START_TEST(a_long_option_is_read)
{
	struct dat_file file = file_of(&forms[_i]);
	struct dat_bytes option = { .bytes = g_byte_array_new(), .big_endian = file.big_endian };
	enum { SAMPLES = 4000 };

	dat_put(&option, 4711, 8);
	dat_put(&option, 0, 4); /* offsets in steps */
	dat_put(&option, 1, 4);
	dat_put(&option, SAMPLES, 4);
	for (uint64_t i = 0; i < SAMPLES; i++)
		dat_put(&option, 5000 + i, 8);
	for (uint64_t i = 0; i < SAMPLES; i++)
		dat_put(&option, 2 * i, 8);
	for (uint64_t i = 0; i < SAMPLES; i++)
		dat_put(&option, 1, 8);
	ck_assert_uint_eq(span_with(&file, 12, option.bytes), 3000);
}
END_TEST

/* DATE and OFFSET shift all times; the trace's begin at 0. */
START_TEST(an_offset_shifts_all_times)
{
	static const unsigned options[] = { 1, 7 };

	for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
		struct dat_file file = file_of(&forms[_i]);
		GByteArray *text =
			g_byte_array_append(g_byte_array_new(), (const guint8 *)"0x123456", 9);
		ck_assert_uint_eq(span_with(&file, options[i], text), 1000);
	}
}
END_TEST

/* ---- absurd content ---- */

/* A header that lies about the byte order makes its sizes absurd. */
START_TEST(wrong_byte_order_is_refused)
{
	struct dat_file file = file_of(&forms[_i]);
	g_autoptr(GError) error = NULL;

	dat_file_usual(&file, 5000, 0x12345);
	file.bytes->data[12] ^= 1;
	ck_assert_ptr_null(import_dat(&file, false, &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT));
	ck_assert_msg(strstr(error->message, "input: event 0 (byte "), "%s: %s", forms[_i].name,
		      error->message);
}
END_TEST

static const struct {
	const char *name, *format;
	uint64_t time, frame;
	const char *want; /* in the message, NULL: it imports */
} cases[] = {
	{ "a format without a field", DAT_FORMAT("number"), 5000, 1, "mm_page_free without pfn" },
	{ "an absurd frame", DAT_FORMAT("pfn"), 5000, UINT64_C(1) << 50,
	  "frame number 0x4000000000000" },
	{ "a format that is none", "name: mm_page_free\nID: 500\n", 5000, 1,
	  "no format for a record of type 500" },
	{ "a format of another type", "name: mm_page_free\nID: 501\n", 5000, 1,
	  "no format for a record of type 500" },
	{ "a clock near its end", DAT_FORMAT("pfn"), UINT64_MAX - 4096, 1, NULL },
};

START_TEST(absurd_content_is_named)
{
	struct dat_file file = { .version = 6, .format = cases[_i].format };
	g_autoptr(GError) error = NULL;

	dat_file_usual(&file, cases[_i].time, cases[_i].frame);
	struct loaded *loaded = import_dat(&file, false, &error);
	if (cases[_i].want) {
		ck_assert_msg(!loaded && error, "%s was imported", cases[_i].name);
		ck_assert_msg(strstr(error->message, cases[_i].want) &&
				      strstr(error->message, "input: event 0 (byte "),
			      "%s: %s", cases[_i].name, error->message);
	} else {
		ck_assert_msg(loaded, "%s: %s", cases[_i].name, error ? error->message : "");
		ck_assert_uint_eq(loaded->meta->span_ns, 1000);
		loaded_free(loaded);
	}
}
END_TEST

/* ---- damage of the container ---- */

enum place { WHOLE, HEADER_PAGE, OPTIONS, LAST_OPTIONS, BUFFER, BUFFER_OPTION, PAGES };

/* Changed bytes at a place of a little-endian file, and what the message says. */
static const struct {
	const char *name;
	unsigned version;
	enum dat_compression compression;
	enum place place;
	unsigned offset;
	uint64_t value;
	unsigned bytes;
	const char *want;
} damages[] = {
	{ "another version", 7, DAT_ZSTD, WHOLE, 10, '8', 1, "(byte 10): version 8, not 6 or 7" },
	{ "no byte order", 6, DAT_NONE, WHOLE, 12, 2, 1, "(byte 12): no byte order" },
	{ "longs of 5 bytes", 6, DAT_NONE, WHOLE, 13, 5, 1, "size of a long: 0, 5" },
	{ "an unknown compression", 7, DAT_ZSTD, WHOLE, 18, 'x', 1,
	  "(byte 18): compressed in a way that is not known: xstd" },
	{ "options behind the end", 7, DAT_NONE, WHOLE, 25, 1 << 30, 8,
	  "(byte 1073741824): 16 bytes here go on behind the end of the file" },
	{ "options that are something else", 7, DAT_NONE, OPTIONS, 0, 16, 2,
	  "section 16 where section 0 should be" },
	{ "options with unknown flags", 7, DAT_NONE, OPTIONS, 2, 4, 2,
	  "a section with unknown flags 0x4" },
	{ "a section longer than the file", 7, DAT_NONE, OPTIONS, 8, 1 << 30, 8,
	  "a section goes on behind the end of the file" },
	{ "a section that is none", 7, DAT_NONE, BUFFER, 0, 99, 2, "no section begins here" },
	{ "an option longer than its section", 7, DAT_NONE, OPTIONS, 18, 1 << 20, 4,
	  "an option of 1048576 bytes goes on behind the end of its section" },
	{ "an option too short", 7, DAT_NONE, OPTIONS, 18, 7, 4, "option 16 of only 7 bytes" },
	{ "a header that is missing", 7, DAT_NONE, OPTIONS, 16, 19, 2,
	  "options that name no section with header_page" },
	{ "a header that is no header", 7, DAT_NONE, HEADER_PAGE, 16, 'x', 1,
	  "no 'header_page' here" },
	{ "a compressed section cut short", 7, DAT_ZSTD, HEADER_PAGE, 20, 1, 4,
	  "a section that cannot be decompressed" },
	{ "a compressed section longer than it", 7, DAT_ZSTD, HEADER_PAGE, 16, 1 << 20, 4,
	  "1048576 of them compressed" },
	{ "a buffer that is none", 7, DAT_NONE, BUFFER_OPTION, 0, 33, 8,
	  "(byte 33): section 16 with flags 0x0 where a buffer should be" },
	{ "more CPUs than the option has", 7, DAT_NONE, BUFFER_OPTION, 18, 9, 4,
	  "option 3 of only" },
	{ "a CPU that no machine has", 7, DAT_NONE, BUFFER_OPTION, 22, 1 << 20, 4, "CPU 1048576" },
	{ "data behind the end", 7, DAT_NONE, BUFFER_OPTION, 26, 1 << 30, 8,
	  "the data of CPU 0 (4096 bytes at byte 1073741824) go on behind the end" },
	{ "data behind the end, version 6", 6, DAT_NONE, BUFFER_OPTION, 8, 1 << 30, 8,
	  "the data of CPU 0 (1073741824 bytes at byte" },
	{ "more chunks than there are", 7, DAT_ZSTD, PAGES, 0, 2, 4, "chunk 2 of 2 lies behind" },
	{ "a chunk longer than the data", 7, DAT_ZSTD, PAGES, 4, 1 << 20, 4,
	  "a chunk of 4096 bytes, 1048576 of them compressed" },
	{ "an absurd chunk", 7, DAT_ZLIB, PAGES, 8, 1 << 30, 4, "a chunk of 1073741824 bytes" },
	{ "a chunk that is none", 7, DAT_ZSTD, PAGES, 12, 0, 4,
	  "a chunk of pages that cannot be decompressed" },
	{ "a page longer than a page", 6, DAT_NONE, PAGES, 8, 4081, 4,
	  "a page says that it is longer than a page" },
	{ "a record longer than its page", 6, DAT_NONE, PAGES, 16, 28, 4,
	  "a record reaches beyond its page" },
	{ "a header_page without a field, version 7", 7, DAT_NONE, HEADER_PAGE, 16 + 33, 'x', 1,
	  "(byte 69): header_page has no field timestamp" },
	{ "no header_page", 6, DAT_NONE, HEADER_PAGE, 0, 'x', 1, "no 'header_page' here" },
	{ "a header_page longer than the file", 6, DAT_NONE, HEADER_PAGE, 12, 1 << 30, 8,
	  "header_page of 1073741824 bytes goes on behind the end of the file" },
	{ "a header_page without a field", 6, DAT_NONE, HEADER_PAGE, 33, 'x', 1,
	  "header_page has no field timestamp" },
};

static size_t place_of(const struct dat_file *file, enum place place)
{
	const size_t places[] = {
		[WHOLE] = 0,
		[HEADER_PAGE] = file->header_page_at,
		[OPTIONS] = file->options_at,
		[LAST_OPTIONS] = file->last_options_at,
		[BUFFER] = file->buffer_at,
		[BUFFER_OPTION] = file->buffer_option_at,
		[PAGES] = file->pages_at,
	};
	return places[place];
}

START_TEST(damage_of_the_container_is_named)
{
	struct dat_file file = { .version = damages[_i].version,
				 .compression = damages[_i].compression };
	g_autoptr(GError) error = NULL;

	dat_file_usual(&file, 5000, 0x12345);
	size_t at = place_of(&file, damages[_i].place) + damages[_i].offset;
	for (unsigned i = 0; i < damages[_i].bytes; i++)
		file.bytes->data[at + i] = (guint8)(damages[_i].value >> 8 * i);
	ck_assert_msg(!import_dat(&file, false, &error), "%s was imported", damages[_i].name);
	ck_assert_msg(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT) &&
			      strstr(error->message, damages[_i].want),
		      "%s: %s", damages[_i].name, error->message);
}
END_TEST

static void set_u64(struct dat_file *file, size_t at, uint64_t value)
{
	for (unsigned i = 0; i < 8; i++)
		file->bytes->data[at + i] = (guint8)(value >> 8 * i);
}

static void expect_error(struct dat_file *file, const char *want)
{
	g_autoptr(GError) error = NULL;

	ck_assert(!import_dat(file, false, &error));
	ck_assert_msg(strstr(error->message, want), "%s", error->message);
}

START_TEST(options_that_go_in_a_circle_are_refused)
{
	struct dat_file file = { .version = 7 };

	dat_file_usual(&file, 5000, 0x12345);
	set_u64(&file, file.bytes->len - 8, file.options_at);
	expect_error(&file, "options that lead back to themselves");
}
END_TEST

START_TEST(data_of_two_cpus_at_one_place_are_refused)
{
	for (unsigned version = 6; version <= 7; version++) {
		struct dat_file file = { .version = version };
		struct dat_cpu cpus[] = { { "", 0, frees(&file, 1000, 100, 0x10, 2) },
					  { "", 1, frees(&file, 1000, 100, 0x20, 2) } };
		write_cpus(&file, cpus, 2);
		/* The second CPU's pages from the middle of the first one's. */
		size_t at = file.buffer_option_at + (version == 6 ? 16 : 22 + 20 + 4);
		set_u64(&file, at, file.pages_at - DAT_PAGE);
		expect_error(&file, "the data of a CPU begin within another's");
	}
}
END_TEST

START_TEST(a_cpu_that_comes_twice_is_refused)
{
	struct dat_file file = { .version = 7 };
	struct dat_cpu cpus[] = { { "", 3, frees(&file, 1000, 100, 0x10, 2) },
				  { "", 3, frees(&file, 1000, 100, 0x20, 2) } };

	write_cpus(&file, cpus, 2);
	expect_error(&file, "a buffer that has CPU 3 twice");
}
END_TEST

START_TEST(latency_traces_are_refused_by_name)
{
	for (unsigned version = 6; version <= 7; version++) {
		struct dat_file file = { .version = version, .latency = true };
		dat_file_usual(&file, 5000, 0x12345);
		expect_error(&file, "a latency trace");
	}
}
END_TEST

/* Five pages in three chunks, of which the second one cannot be decompressed. */
START_TEST(a_damaged_chunk_is_skipped_if_lenient)
{
	for (int lenient = 0; lenient < 2; lenient++) {
		struct dat_file file = { .version = 7, .compression = DAT_ZSTD };
		struct dat_cpu cpu = { "", 0, frees(&file, 1000, 100, 0x10, 5) };
		g_autoptr(GError) error = NULL;

		write_cpus(&file, &cpu, 1);
		uint32_t first;
		memcpy(&first, file.bytes->data + file.pages_at + 4, 4);
		memset(file.bytes->data + file.pages_at + 4 + 8 + GUINT32_FROM_LE(first) + 8, 0, 4);
		struct loaded *loaded = import_dat(&file, lenient, &error);
		if (!lenient) {
			ck_assert_msg(!loaded && strstr(error->message, "event 2 (byte "), "%s",
				      error ? error->message : "");
			continue;
		}
		ck_assert_msg(loaded, "%s", error ? error->message : "");
		g_autofree char *got = story(loaded, true);
		ck_assert_str_eq(got, "start 1 0x10+1\nstart 2 0x11+1\nstart 3 0x14+1\n"
				      "free 1\nfree 2\nfree 3\n");
		loaded_free(loaded);
	}
}
END_TEST

/* The container, in this process: whatever is cut off is missed. */
START_TEST(a_file_cut_off_anywhere_is_refused)
{
	struct dat_file file = file_of(&forms[_i]);
	int memory = memfd_create("dat", MFD_CLOEXEC);
	struct trace_dat dat;

	dat_file_usual(&file, 5000, 0x12345);
	ck_assert(write(memory, file.bytes->data, file.bytes->len) == (ssize_t)file.bytes->len);
	for (guint bytes = 0; bytes <= file.bytes->len; bytes++) {
		bool opened = trace_dat_open(&dat, memory, bytes);
		ck_assert_msg(opened == (bytes == file.bytes->len) && opened == !*dat.problem,
			      "%s, cut at %u of %u: %s", forms[_i].name, bytes, file.bytes->len,
			      dat.problem);
		ck_assert(opened || dat.problem_at <= file.bytes->len);
		trace_dat_free(&dat);
	}
	g_byte_array_unref(file.bytes);
	close(memory);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("import dat");
	TCase *tcase = tcase_create("dat");
	int all = G_N_ELEMENTS(forms);

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, every_form_is_read, 0, all);
	tcase_add_loop_test(tcase, cpus_and_instances_are_merged_by_time, 0, all);
	tcase_add_loop_test(tcase, losses_are_markers, 0, all);
	tcase_add_loop_test(tcase, times_and_paddings_within_a_page, 0, all);
	tcase_add_loop_test(tcase, ticks_of_the_tsc_become_times, 0, all);
	tcase_add_loop_test(tcase, a_guests_times_are_those_of_its_host, 0, all);
	tcase_add_loop_test(tcase, a_long_option_is_read, 0, all);
	tcase_add_loop_test(tcase, an_offset_shifts_all_times, 0, all);
	tcase_add_loop_test(tcase, wrong_byte_order_is_refused, 0, all);
	tcase_add_loop_test(tcase, absurd_content_is_named, 0, G_N_ELEMENTS(cases));
	tcase_add_loop_test(tcase, damage_of_the_container_is_named, 0, G_N_ELEMENTS(damages));
	tcase_add_test(tcase, options_that_go_in_a_circle_are_refused);
	tcase_add_test(tcase, data_of_two_cpus_at_one_place_are_refused);
	tcase_add_test(tcase, a_cpu_that_comes_twice_is_refused);
	tcase_add_test(tcase, latency_traces_are_refused_by_name);
	tcase_add_test(tcase, a_damaged_chunk_is_skipped_if_lenient);
	tcase_add_loop_test(tcase, a_file_cut_off_anywhere_is_refused, 0, all);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
