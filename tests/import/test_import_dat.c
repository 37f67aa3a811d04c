#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "tests/import/import_support.h"

/* trace.dat files of version 6 written here (trace-cmd.dat.v6(5)), for what no machine at hand
 * records: the other byte order, absurd clocks, formats that lack a field. */

#define PAGE 4096

struct dat {
	GByteArray *bytes;
	bool big_endian;
};

static void put(struct dat *dat, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++) {
		guint8 byte = (guint8)(value >> 8 * (dat->big_endian ? bytes - 1 - i : i));
		g_byte_array_append(dat->bytes, &byte, 1);
	}
}

static void put_raw(struct dat *dat, const char *bytes, size_t count)
{
	g_byte_array_append(dat->bytes, (const guint8 *)bytes, (guint)count);
}

/* With its final zero. */
static void put_string(struct dat *dat, const char *text)
{
	put_raw(dat, text, strlen(text) + 1);
}

static void put_sized(struct dat *dat, const char *text, unsigned size_bytes)
{
	put(dat, strlen(text), size_bytes);
	put_raw(dat, text, strlen(text));
}

static const char header_page[] = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
				  "\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
				  "\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
				  "\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n";

static const char header_event[] = "# compressed entry header\n"
				   "\ttype_len    :    5 bits\n"
				   "\ttime_delta  :   27 bits\n"
				   "\tarray       :   32 bits\n\n"
				   "\tpadding     : type == 29\n"
				   "\ttime_extend : type == 30\n"
				   "\ttime_stamp : type == 31\n"
				   "\tdata max type_len  == 28\n";

/* mm_page_free as Linux 6.1 describes it, but for the name of its first field. */
#define FORMAT(pfn)                                                                    \
	"name: mm_page_free\nID: 500\nformat:\n"                                       \
	"\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"         \
	"\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"         \
	"\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n" \
	"\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"                   \
	"\tfield:unsigned long " pfn ";\toffset:8;\tsize:8;\tsigned:0;\n"              \
	"\tfield:unsigned int order;\toffset:16;\tsize:4;\tsigned:0;\n\n"              \
	"print fmt: \"" pfn "=0x%lx order=%d\", REC->" pfn ", REC->order\n"

/* What stands before the pages; *WHERE: the place of their offset. */
static void put_head(struct dat *dat, const char *format, guint *where)
{
	put_raw(dat, "\x17\x08\x44tracing", 10);
	put_string(dat, "6");
	put(dat, dat->big_endian, 1);
	put(dat, 8, 1);
	put(dat, PAGE, 4);
	put_string(dat, "header_page");
	put_sized(dat, header_page, 8);
	put_string(dat, "header_event");
	put_sized(dat, header_event, 8);
	put(dat, 0, 4); /* formats of ftrace itself */
	put(dat, 1, 4);
	put_string(dat, "kmem");
	put(dat, 1, 4);
	put_sized(dat, format, 8);
	put(dat, 0, 4); /* kallsyms */
	put(dat, 0, 4); /* printk */
	put_sized(dat, "77 worker\n", 8);
	put(dat, 1, 4); /* CPUs */
	put_string(dat, "options  ");
	put(dat, 0, 2);
	put_string(dat, "flyrecord");
	*where = dat->bytes->len;
	put(dat, 0, 8);
	put(dat, PAGE, 8);
}

/* The type and length of an event in words of 4 bytes, and its distance in time. */
static void put_event_head(struct dat *dat, unsigned type, uint32_t delta)
{
	put(dat, dat->big_endian ? type << 27 | delta : delta << 5 | type, 4);
}

static void put_free(struct dat *dat, uint32_t delta, uint64_t frame, uint32_t order)
{
	put_event_head(dat, 5, delta);
	put(dat, 500, 2);
	put(dat, 0, 2);
	put(dat, 77, 4);
	put(dat, frame, 8);
	put(dat, order, 4);
}

/* A whole file: two frees, 1000 ns apart, the first at TIME. */
static void put_file(struct dat *dat, const char *format, uint64_t time, uint64_t frame)
{
	guint where;

	dat->bytes = g_byte_array_new();
	put_head(dat, format, &where);
	while (dat->bytes->len % PAGE)
		put(dat, 0, 1);
	guint page = dat->bytes->len;
	struct dat offset = { g_byte_array_new(), dat->big_endian };
	put(&offset, page, 8);
	memcpy(dat->bytes->data + where, offset.bytes->data, 8);
	g_byte_array_unref(offset.bytes);
	put(dat, time, 8);
	put(dat, 2 * 24, 8); /* committed */
	put_free(dat, 0, frame, 0);
	put_free(dat, 1000, 0x300, 3);
	while (dat->bytes->len < page + PAGE)
		put(dat, 0, 1);
}

static struct loaded *import_dat(struct dat *dat, bool lenient, GError **error)
{
	struct loaded *loaded =
		import_bytes((const char *)dat->bytes->data, dat->bytes->len, lenient, error);
	g_byte_array_unref(dat->bytes);
	return loaded;
}

/* The recorder's byte order does not matter. */
START_TEST(either_byte_order_is_read)
{
	struct dat dat = { .big_endian = _i };
	GError *error = NULL;

	put_file(&dat, FORMAT("pfn"), 5000, 0x12345);
	struct loaded *loaded = import_dat(&dat, false, &error);
	ck_assert_msg(loaded, "%s", error ? error->message : "");
	g_autofree char *got = story(loaded, true);
	ck_assert_str_eq(got, "start 1 0x300+8\nstart 2 0x12345+1\nfree 2\nfree 1\n");
	const struct event *last = &g_array_index(loaded->events, struct event, 1);
	ck_assert(last->time_ns == 1000 && last->task == 77 && last->cpu == 0);
	ck_assert_str_eq(trace_reader_task(loaded->reader, 77), "worker");
	loaded_free(loaded);
}
END_TEST

/* A header that lies about the byte order makes its sizes absurd. */
START_TEST(wrong_byte_order_is_refused)
{
	struct dat dat = { .big_endian = _i };
	g_autoptr(GError) error = NULL;

	put_file(&dat, FORMAT("pfn"), 5000, 0x12345);
	dat.bytes->data[12] ^= 1;
	ck_assert_ptr_null(import_dat(&dat, false, &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT));
	ck_assert_msg(strstr(error->message, "input: event 0 (byte 38): header_page of "), "%s",
		      error->message);
}
END_TEST

static const struct {
	const char *name, *format;
	uint64_t time, frame;
	const char *want; /* in the message, NULL: it imports */
} cases[] = {
	{ "a format without a field", FORMAT("number"), 5000, 1, "mm_page_free without pfn" },
	{ "an absurd frame", FORMAT("pfn"), 5000, UINT64_C(1) << 50,
	  "frame number 0x4000000000000" },
	{ "a clock near its end", FORMAT("pfn"), UINT64_MAX - 4096, 1, NULL },
};

START_TEST(absurd_content_is_named)
{
	struct dat dat = { .big_endian = false };
	g_autoptr(GError) error = NULL;

	put_file(&dat, cases[_i].format, cases[_i].time, cases[_i].frame);
	struct loaded *loaded = import_dat(&dat, false, &error);
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

int main(void)
{
	Suite *suite = suite_create("import dat");
	TCase *tcase = tcase_create("dat");

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, either_byte_order_is_read, 0, 2);
	tcase_add_loop_test(tcase, wrong_byte_order_is_refused, 0, 2);
	tcase_add_loop_test(tcase, absurd_content_is_named, 0, G_N_ELEMENTS(cases));
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
