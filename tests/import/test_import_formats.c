#include <check.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/import/import_support.h"

/*
 * The formats other than ftrace's: what each line of them means, what is wrong with a damaged one,
 * and a real file of each kind with its counts.
 */

#define PERF(cpu, us, event) "            bash     7 [00" cpu "]   100.000" us "000: " event "\n"

static const struct {
	const char *name, *format, *text, *want;
} stories[] = {
	{ "perf: pages, with the system before the name", "perf-script",
	  PERF("0", "001",
	       "   kmem:mm_page_alloc: page=0x200 pfn=0x200 order=1 migratetype=1 "
	       "gfp_flags=GFP_USER")
		  PERF("1", "002", "kmem:mm_page_free_batched: page=0x200 pfn=0x200 order=0")
			  PERF("1", "003", "kmem:mm_page_free: page=0x200 pfn=0x200 order=1"),
	  "alloc 1 0x200+2\nfree 1\n" },
	{ "perf: objects", "perf-script",
	  PERF("0", "001",
	       "kmem:kmem_cache_alloc: call_site=0xffffffff9c775b8b ptr=0xff3edcb301a2b000 "
	       "bytes_req=100 bytes_alloc=128 gfp_flags=GFP_KERNEL|__GFP_ZERO node=-1 "
	       "accounted=false") PERF("0", "002",
				       "kmem:kmem_cache_free: call_site=0xffffffff9c76403b "
				       "ptr=0xff3edcb301a2b000 name=names_cache")
		  PERF("0", "003", "kmem:kfree: call_site=0xffffffff9c76403b ptr=(nil)"),
	  "kalloc 1 100/128 names_cache\nkfree 1\n" },
	{ "perf: other events are kept with their numbers", "perf-script",
	  PERF("0", "001", "kmem:rss_stat: mm_id=42 curr=1 type=MM_ANONPAGES size=4096B")
		  PERF("0", "002", "sched:sched_switch: prev_pid=7 ==> next_pid=9"),
	  "note kmem:rss_stat 42 1\nnote sched:sched_switch 7 9\n" },
	{ "perf: a command with blanks and brackets, pid and tid, microseconds, no columns",
	  "perf-script",
	  "Web 3 [x] C 12/7 [001] 100.000001: kmem:mm_page_free: page=0x1 pfn=0x10 order=0\n",
	  "start 1 0x10+1\nfree 1\n" },
	{ "perf: call chains and comments are passed over", "perf-script",
	  "# captured on: today\n" PERF(
		  "0", "001",
		  "kmem:mm_page_free: page=0x1 pfn=0x10 order=0") "\tffffffff9c2f5a01 "
								  "__free_pages+0x11 "
								  "([kernel.kallsyms])\n"
								  "\n" PERF("0", "002",
									    "kmem:mm_page_alloc: "
									    "page=0x1 pfn=0x10 "
									    "order=0"),
	  "start 1 0x10+1\nfree 1\nalloc 2 0x10+1\n" },
	{ "perf: what was lost is a marker", "perf-script",
	  PERF("0", "001", "kmem:mm_page_free: page=0x1 pfn=0x10 order=0")
		  PERF("0", "002", "PERF_RECORD_LOST lost 12"),
	  "start 1 0x10+1\nfree 1\nmarker [LOST 12 EVENTS]\n" },
	{ "lackey: regions are inferred over all of the program", "lackey",
	  "==77== Command: /usr/bin/true x\n"
	  "I  00401000,3\n S 1fff0006a8,8\nI  00401003,4\n L 00402000,4\n M 1fff000ffc,8\n",
	  "mmap 0x401000+0x2000 5 inferred\ntouch 0x401000 4\n"
	  "mmap 0x1fff000000+0x2000 3 inferred\n"
	  "touch 0x1fff0006a8 2\ntouch 0x401003 4\ntouch 0x402000 1\ntouch 0x1fff000ffc 3\n" },
	{ "mtrace: objects, with and without a caller", "mtrace",
	  "= Start\n@ ./a b:(main+1e)[0x11ec] + 0x55d0 0x40\n+ 0x5600 0x8\n"
	  "@ ./a b:[0x1259] < 0x55d0\n@ ./a b:[0x1259] > 0x5700 0x80\n- 0x5600\n"
	  "@ ./a b:[0x1259] ! 0x5700 0x800\n@ ./a b:[0x1] - 0x5700\n- 0x99\n= End\n",
	  "kalloc 1 64/0 -\nkalloc 2 8/0 -\nkalloc 1 128/0 - realloc\nkfree 2\nkfail 2048\n"
	  "kfree 1\nnote - 153\n" },
	{ "rep: objects by their ids", "rep",
	  "20000\n2\n6\n1\na 0 512\na 1 128\nr 0 640\nf 1\nf 0\nf -1\n",
	  "kalloc 1 512/0 -\nkalloc 2 128/0 -\nkalloc 1 640/0 - realloc\nkfree 2\nkfree 1\n" },
	{ "csv: frames, of any number", "csv",
	  "# my kernel\r\ntime,cpu,event,frame,frames,order,extra\r\n"
	  "10,0,frame_alloc,0x105,3,,hello\r\n20,1,frame_alloc,0x200,,2,\r\n"
	  "30,1,frame_free,0x106,1,,\r\n40,1,frame_free,0x105,1,,\r\n"
	  "50,1,frame_free,0x107,1,,\r\n60,1,frame_alloc_failed,,,4,\r\n",
	  "alloc 1 0x105+3\nalloc 2 0x200+4\nfree 1 part 1+1\nfree 1 part 0+1\nfree 1\n"
	  "fail 16\n" },
	{ "csv: objects, processes and the rest", "csv",
	  "event,address,to,bytes,cache,task,child,name,access,value\n"
	  "heap_alloc,0x1000,,24,\"inode, cache\",1,,,,\n"
	  "heap_realloc,0x1000,0x2000,48,,1,,,,\nheap_free,0x2000,,,,1,,,,\n"
	  "fork,,,,,1,2,sh,,\nexec,,,,,2,,/bin/sh,,\ntouch,0x400000,,4,,2,,,rx,\n"
	  "exit,,,,,2,,,,\nmarker,,,,,,,\"half, way\",,\nirq,,,,,,,,,9\n",
	  "kalloc 1 24/0 inode, cache\nkalloc 1 48/0 - realloc\nkfree 1\nfork 2 sh\n"
	  "exec /bin/sh\nmmap 0x400000+0x1000 5 inferred\ntouch 0x400000 5\nexit -\nmarker half, "
	  "way\n"
	  "note irq 9\n" },
};

START_TEST(lines_of_a_format_mean_what_they_should)
{
	struct loaded *loaded = import_text(stories[_i].text);
	g_autofree char *got = story(loaded, false);

	ck_assert_msg(strcmp(got, stories[_i].want) == 0, "%s:\n%s", stories[_i].name, got);
	ck_assert_str_eq(loaded->meta->format, stories[_i].format);
	loaded_free(loaded);
}
END_TEST

#define LACKEY_GOOD "I  00401000,3\n"
#define MTRACE_GOOD "= Start\n@ ./a:[0x1] + 0x10 0x40\n"
#define REP_GOOD    "100\n2\n2\n1\na 0 5\n"
#define CSV_GOOD    "time,event,frame\n1,frame_alloc,5\n"
#define PERF_GOOD   PERF("0", "001", "kmem:mm_page_free: page=0x1 pfn=0x10 order=0")

static const struct {
	const char *name, *text;
	const char *want[2]; /* all in the message */
} damages[] = {
	{ "perf: garbage", PERF_GOOD "garbage\n", { "input:2:", "'garbage'" } },
	{ "perf: a clipped line",
	  PERF_GOOD "            bash     7 [000]   100.000002000: kmem:mm_page_alloc: page=0x",
	  { "input:2:", "page=0x" } },
	{ "perf: no time",
	  PERF_GOOD "            bash     7 [000] kmem:mm_page_alloc: page=0x\n",
	  { "input:2:", "time stamp" } },
	{ "perf: time that goes back",
	  PERF_GOOD PERF("0", "000", "kmem:mm_page_free: page=0x1 pfn=0x11 order=0"),
	  { "input:2:", "time goes back on CPU 0" } },
	{ "perf: an absurd CPU",
	  PERF_GOOD "            bash     7 [99999]   100.1: kmem:mm_page_free: pfn=1 order=0\n",
	  { "input:2:", "CPU" } },
	{ "lackey: a clipped line", LACKEY_GOOD " S 1fff00", { "input:2:", "reference" } },
	{ "lackey: an absurd size", LACKEY_GOOD "I  00401003,99999999\n", { "input:2:", "bytes" } },
	{ "lackey: an address of 17 digits",
	  LACKEY_GOOD "I  10000000000000000,3\n",
	  { "input:2:", "reference" } },
	{ "lackey: an access over the end",
	  LACKEY_GOOD " S ffffffffffffffff,8\n",
	  { "input:2:", "behind" } },
	{ "mtrace: a clipped line", MTRACE_GOOD "@ ./a:[0x2] + 0x", { "input:3:", "0x" } },
	{ "mtrace: half a realloc", MTRACE_GOOD "< 0x10\n- 0x20\n", { "input:4:", "new place" } },
	{ "mtrace: the other half", MTRACE_GOOD "> 0x10 0x5\n", { "input:3:", "old place" } },
	{ "rep: an unknown operation", REP_GOOD "x 0 5\n", { "input:6:", "operation" } },
	{ "rep: an id too large", REP_GOOD "a 2 5\n", { "input:6:", "line 2" } },
	{ "rep: cut off", REP_GOOD, { "input:3:", "the file has 1" } },
	{ "csv: a field that is no number", CSV_GOOD "x,frame_free,1\n", { "input:3:", "'x'" } },
	{ "csv: a value is missing", CSV_GOOD "2,frame_free,\n", { "input:3:", "'frame'" } },
	{ "csv: a clipped line", CSV_GOOD "2,frame_fr", { "input:3:", "fewer" } },
	{ "csv: too many fields", CSV_GOOD "2,frame_free,1,1\n", { "input:3:", "more" } },
	{ "csv: an absurd frame",
	  CSV_GOOD "2,frame_free,0xfffffffffffff\n",
	  { "input:3:", "cannot" } },
	{ "csv: time that goes back", CSV_GOOD "0,frame_free,1\n", { "input:3:", "back" } },
};

START_TEST(damage_is_named_with_its_place)
{
	g_autoptr(GError) error = NULL;
	struct loaded *loaded =
		import_bytes(damages[_i].text, strlen(damages[_i].text), false, &error);

	ck_assert_msg(!loaded && error, "%s: imported", damages[_i].name);
	ck_assert_msg(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_FORMAT), "%s: %s",
		      damages[_i].name, error->message);
	ck_assert_msg(g_str_has_prefix(error->message, "trace error: "), "%s: %s", damages[_i].name,
		      error->message);
	for (int i = 0; i < 2; i++)
		ck_assert_msg(strstr(error->message, damages[_i].want[i]), "%s: %s",
			      damages[_i].name, error->message);
}
END_TEST

START_TEST(damage_is_skipped_and_counted_if_lenient)
{
	struct loaded *loaded =
		import_bytes(damages[_i].text, strlen(damages[_i].text), true, NULL);

	ck_assert_msg(loaded, "%s", damages[_i].name);
	ck_assert_uint_ge(loaded->events->len, 1);
	loaded_free(loaded);
}
END_TEST

/* A zero byte is among the letters of every string that is searched for it. */
START_TEST(a_zero_byte_is_no_operation_of_rep)
{
	static const char text[] = "100\n2\n2\n1\na 0 5\n\0 1 5\n";
	struct import_options options = { .format = "rep" };
	g_autofree char *folder = g_dir_make_tmp("kmemlab-rep-XXXXXX", NULL);
	g_autofree char *input = g_build_filename(folder, "input", NULL);
	g_autofree char *output = g_build_filename(folder, "output.kmt", NULL);
	g_autoptr(GError) error = NULL;

	ck_assert(g_file_set_contents(input, text, sizeof text - 1, NULL));
	ck_assert(!import_file(input, output, &options, &error));
	ck_assert_msg(strstr(error->message, "input:6: no operation"), "%s", error->message);
	g_unlink(input);
	ck_assert_int_eq(g_rmdir(folder), 0);
}
END_TEST

/* ---- real files ---- */

static const struct {
	const char *file, *format;
	struct {
		const char *name;
		uint64_t count;
	} want[12];
} excerpts[] = {
	{ "perf.script.txt.zst",
	  "perf-script",
	  { { "kmem:kfree", 39 },
	    { "kmem:kmalloc", 20 },
	    { "kmem:kmem_cache_alloc", 758 },
	    { "kmem:kmem_cache_free", 746 },
	    { "kmem:mm_page_alloc", 128 },
	    { "kmem:mm_page_alloc_extfrag", 1 },
	    { "kmem:mm_page_alloc_zone_locked", 93 },
	    { "kmem:rss_stat", 15 } } },
	{ "lackey.txt.zst",
	  "lackey",
	  { { "I", 16657 }, { "L", 3154 }, { "S", 170 }, { "M", 20 } } },
	{ "mtrace.txt.zst", "mtrace", { { "+", 283 }, { "-", 283 }, { "<", 2 }, { ">", 2 } } },
	{ "recorder.bin.zst",
	  "recorder",
	  { { "begin", 1 },
	    { "frame_alloc", 204 },
	    { "frame_free", 198 },
	    { "heap_alloc", 64 },
	    { "heap_free", 64 },
	    { "marker", 2 } } },
	{ "wordcount.rep.zst", "rep", { { "a", 283 }, { "f", 283 }, { "r", 2 } } },
};

START_TEST(real_file_imports_with_every_event_counted)
{
	g_autofree char *path = g_build_filename(EXCERPTS_FOLDER, excerpts[_i].file, NULL);
	struct import_options options = { .format = "auto" };
	struct loaded *loaded = import_path(path, &options);
	g_autofree char *fault = story_fault(loaded);
	guint kinds = 0;

	ck_assert_msg(!fault, "%s: %s", excerpts[_i].file, fault);
	ck_assert_str_eq(loaded->meta->format, excerpts[_i].format);
	for (; excerpts[_i].want[kinds].name; kinds++)
		ck_assert_msg(loaded_source_events(loaded, excerpts[_i].want[kinds].name) ==
				      excerpts[_i].want[kinds].count,
			      "%s: %s %" G_GUINT64_FORMAT, excerpts[_i].file,
			      excerpts[_i].want[kinds].name,
			      loaded_source_events(loaded, excerpts[_i].want[kinds].name));
	ck_assert_uint_eq(g_hash_table_size(loaded->meta->source_events), kinds);
	loaded_free(loaded);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("import formats");
	TCase *tcase = tcase_create("formats");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, lines_of_a_format_mean_what_they_should, 0,
			    G_N_ELEMENTS(stories));
	tcase_add_loop_test(tcase, damage_is_named_with_its_place, 0, G_N_ELEMENTS(damages));
	tcase_add_test(tcase, a_zero_byte_is_no_operation_of_rep);
	tcase_add_loop_test(tcase, damage_is_skipped_and_counted_if_lenient, 0,
			    G_N_ELEMENTS(damages));
	tcase_add_loop_test(tcase, real_file_imports_with_every_event_counted, 0,
			    G_N_ELEMENTS(excerpts));
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
