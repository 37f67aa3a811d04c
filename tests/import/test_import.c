#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "tests/import/import_support.h"
#include "tests/unit/test_trace_support.h"

/*
 * The rules of "Semantics of a replay", each on a text that shows nothing else, and the forms that
 * ftrace's texts come in.
 */

/* Lines of both texts; times in microseconds behind 100 s. */
#define REPORT(cpu, us, event) "            bash-7     [00" cpu "]   100.000" us ": " event "\n"
#define RAW(cpu, us, event) \
	"            bash-7       [00" cpu "] d..3.   100.000" us ": " event "\n"

static const struct {
	const char *name, *text, *want;
	bool buddy;
} stories[] = {
	{ "an allocation and its free",
	  REPORT("0", "001",
		 "mm_page_alloc:  page=0x1 pfn=0x200 order=3 migratetype=1 gfp_flags=GFP_KERNEL")
		  REPORT("0", "002", "mm_page_free:   page=0x1 pfn=0x200 order=3"),
	  "alloc 1 0x200+8\nfree 1\n", false },
	{ "a free of a frame never seen is prologue, in the order of frames",
	  REPORT("0", "001", "mm_page_free: page=0x1 pfn=0x300 order=0")
		  REPORT("0", "002", "mm_page_free: page=0x1 pfn=0x108 order=3"),
	  "start 1 0x108+8\nstart 2 0x300+1\nfree 2\nfree 1\n", false },
	{ "a free of a freed frame: it was allocated untraced at the moment of that free",
	  REPORT("0", "001", "mm_page_alloc: page=0x1 pfn=0x200 order=0 migratetype=0")
		  REPORT("0", "002", "mm_page_free: page=0x1 pfn=0x200 order=0") REPORT(
			  "0", "003", "mm_page_alloc: page=0x1 pfn=0x201 order=0 migratetype=0")
			  REPORT("0", "004", "mm_page_free: page=0x1 pfn=0x200 order=0"),
	  "alloc 2 0x200+1\nfree 2\nalloc 1 0x200+1 untraced\nalloc 3 0x201+1\nfree 1\n", false },
	{ "a block freed twice: each frame was allocated untraced",
	  REPORT("0", "001", "mm_page_free: page=0x1 pfn=0x200 order=1")
		  REPORT("0", "002", "mm_page_free: page=0x1 pfn=0x200 order=1"),
	  "start 1 0x200+2\nfree 1\nalloc 2 0x200+1 untraced\nalloc 3 0x201+1 untraced\n"
	  "free 2\nfree 3\n",
	  false },
	{ "an allocation over a live frame closes the old handle first",
	  REPORT("0", "001", "mm_page_alloc: page=0x1 pfn=0x200 order=1 migratetype=0")
		  REPORT("0", "002", "mm_page_alloc: page=0x1 pfn=0x201 order=0 migratetype=0")
			  REPORT("0", "003", "mm_page_free: page=0x1 pfn=0x201 order=0"),
	  "alloc 1 0x200+2\nfree 1 implied\nalloc 2 0x201+1\nfree 2\n", false },
	{ "a free of a smaller order is a part",
	  REPORT("0", "001", "mm_page_alloc: page=0x1 pfn=0x200 order=3 migratetype=0")
		  REPORT("0", "002", "mm_page_free: page=0x1 pfn=0x204 order=1")
			  REPORT("0", "003", "mm_page_free: page=0x1 pfn=0x200 order=2")
				  REPORT("0", "004", "mm_page_free: page=0x1 pfn=0x206 order=1"),
	  "alloc 1 0x200+8\nfree 1 part 4+2\nfree 1 part 0+4\nfree 1\n", false },
	{ "a free of a larger order frees every handle under it",
	  REPORT("0", "001", "mm_page_alloc: page=0x1 pfn=0x200 order=0 migratetype=0")
		  REPORT("0", "002", "mm_page_alloc: page=0x1 pfn=0x202 order=1 migratetype=0")
			  REPORT("0", "003", "mm_page_free: page=0x1 pfn=0x200 order=2"),
	  "start 1 0x201+1\nalloc 2 0x200+1\nalloc 3 0x202+2\nfree 2\nfree 1\nfree 3\n", false },
	{ "an isolation with a result takes every frame of the block",
	  REPORT("0", "001",
		 "isolate_free_page: (ffffffff9b8f6860) page=0xffc5967444008000 order=1")
		  REPORT("1", "002",
			 "isolate_free_page: (ffffffff9b8f6860) "
			 "page=0xffc5967444009000 order=0")
			  REPORT("0", "003",
				 "isolate_free_page_ret: (ffffffff9b8f6860 <- "
				 "ffffffff9b8bc12a) ret=2")
				  REPORT("0", "004", "mm_page_free: page=0x1 pfn=0x100201 order=0"),
	  "buddy 21 0x100200 order 1\nalloc 1 0x100200+1 compaction\n"
	  "alloc 2 0x100201+1 compaction\nfree 2\n",
	  true },
	{ "an isolation without a result is a note",
	  REPORT("0", "001", "isolate_free_page: (x+0x0/0x1) page=0xffc5967440008000 order=1")
		  REPORT("0", "003", "isolate_free_page_ret: (x <- y) ret=0"),
	  "note isolate_free_page_ret 0 512 1\n", true },
	{ "a failed allocation has no frame",
	  REPORT("0", "001",
		 "mm_page_alloc: page=(nil) pfn=0x0 order=9 migratetype=1 "
		 "gfp_flags=GFP_TRANSHUGE")
		  RAW("0", "002",
		      "mm_page_alloc: page=0000000000000000 pfn=0 order=2 migratetype=1 "
		      "gfp_flags=GFP_KERNEL"),
	  "fail 512\nfail 4\n", false },
	{ "a batched free is not freed twice",
	  REPORT("0", "001", "mm_page_free: page=0x1 pfn=0x200 order=0")
		  REPORT("0", "002", "mm_page_free_batched: page=0x1 pfn=0x200 order=0"),
	  "start 1 0x200+1\nfree 1\n", false },
	{ "the buddy's story",
	  REPORT("0", "001",
		 "mm_page_alloc_zone_locked: page=0x1 pfn=0x200 order=3 migratetype=1 "
		 "percpu_refill=1") REPORT("0", "002",
					   "mm_page_pcpu_drain: page=0x1 pfn=0x200 order=3 "
					   "migratetype=1")
		  REPORT("0", "003", "free_one_page: (f) page=0x1 pfn=0x300 order=0 migratetype=1")
			  REPORT("0", "004", "free_pages_ok: (f) page=0xffc596744437d000 order=6")
				  REPORT("0", "005",
					 "mm_page_alloc_extfrag: page=0x1 pfn=0x10cb00 "
					 "alloc_order=1 "
					 "fallback_order=8 pageblock_order=9 alloc_migratetype=2 "
					 "fallback_migratetype=1 fragmenting=10 "
					 "change_ownership=1"),
	  "buddy 19 0x200 order 3 refill\nbuddy 20 0x200 order 3\nbuddy 20 0x300 order 0\n"
	  "buddy 20 0x10df40 order 6\nbuddy 22 0x10cb00 order 1\n",
	  true },
	{ "heap objects: names come with the free, NULL is nothing, unknown pointers are notes",
	  REPORT("0", "001",
		 "kmalloc: (f+0x1) call_site=f+0x1 ptr=0xff1c51fb024d8000 "
		 "bytes_req=100 bytes_alloc=128 gfp_flags=GFP_KERNEL node=-1 "
		 "accounted=true") REPORT("0", "002",
					  "kmem_cache_alloc: call_site=g ptr=0xff1c51fb024d9000 "
					  "bytes_req=24 bytes_alloc=24 "
					  "gfp_flags=GFP_KERNEL|__GFP_ZERO "
					  "node=-1 accounted=false")
		  REPORT("0", "003", "kfree: call_site=f+0x1 ptr=(nil)") REPORT(
			  "0", "004",
			  "kmem_cache_free: call_site=h ptr=0xff1c51fb024d9000 name=filp")
			  REPORT("0", "005", "kfree: call_site=f+0x1 ptr=0x10") REPORT(
				  "0", "006",
				  "kmalloc: call_site=f+0x1 ptr=0xff1c51fb024d8000 bytes_req=8 "
				  "bytes_alloc=8 gfp_flags=GFP_KERNEL")
				  REPORT("0", "007",
					 "kmalloc: call_site=f+0x1 ptr=(nil) bytes_req=9 "
					 "bytes_alloc=0 gfp_flags=GFP_KERNEL"),
	  "kalloc 1 100/128 -\nkalloc 2 24/24 filp\nkfree 2\nnote kfree 16\nkfree 1 implied\n"
	  "kalloc 3 8/8 -\nkfail 9\n",
	  false },
	{ "processes, and regions inferred from their touches",
	  REPORT("0", "001", "page_fault_user: address=0x1000 ip=0x1 error_code=0x4") REPORT(
		  "0", "002", "page_fault_user: address=0x20fff ip=0x1 error_code=0x7")
		  REPORT("0", "003", "page_fault_user: address=0x900000 ip=0x1 error_code=0x14")
			  REPORT("0", "004",
				 "sched_process_fork: comm=a b pid=7 child_comm=a pid=1 "
				 "child_pid=8") "           x[0]-8     [000]   100.000005: "
						"page_fault_user: address=0x1008 "
						"ip=0x1 error_code=0x7\n"
						"           x[0]-8     [000]   100.000006: "
						"sched_process_exec: "
						"filename=/usr/bin/a pid=9 pid=8 old_pid=8\n"
						"           x[0]-8     [000]   100.000007: "
						"page_fault_user: address=0x1008 "
						"ip=0x1 error_code=0x4\n"
						"           x[0]-8     [000]   100.000008: "
						"sched_process_exit: comm=x y "
						"pid=8 prio=120\n",
	  "mmap 0x1000+0x20000 3 inferred\ntouch 0x1000 1\ntouch 0x20fff 2\n"
	  "mmap 0x900000+0x1000 4 inferred\ntouch 0x900000 4\nfork 8 a pid=1\ntouch 0x1008 2\n"
	  "exec /usr/bin/a pid=9\nmmap 0x1000+0x1000 1 inferred\ntouch 0x1008 1\nexit x y\n",
	  false },
	{ "markers of both texts, and events that are only noted",
	  REPORT("0", "001", "print:                tracing_mark_write: hello: world")
		  RAW("0", "002", "tracing_mark_write: hello: world") REPORT(
			  "0", "003",
			  "mm_compaction_isolate_freepages: range=(0x10 ~ 0x20) "
			  "nr_scanned=3 nr_taken=-1")
			  REPORT("0", "004",
				 "mm_collapse_huge_page: mm=0x10, isolated=0, status=failed"),
	  "marker hello: world\nmarker hello: world\n"
	  "note mm_compaction_isolate_freepages 16 32 3 -1\nnote mm_collapse_huge_page 16 0\n",
	  false },
	{ "lost events leave a marker",
	  REPORT("0", "001",
		 "mm_page_free: page=0x1 pfn=0x200 order=0") "CPU:1 [LOST 12 EVENTS]\nCPU:0 "
							     "[EVENTS DROPPED]\n",
	  "start 1 0x200+1\nfree 1\nmarker [LOST 12 EVENTS]\nmarker [LOST EVENTS]\n", false },
	{ "lines that are no events",
	  "# tracer: nop\n#\n\ncpus=2\nCPU 1 is empty\n##### CPU 1 buffer started ####\n" REPORT(
		  "0", "001", "mm_page_free: page=0x1 pfn=0x200 order=0\r"),
	  "start 1 0x200+1\nfree 1\n", false },
	{ "the last line may lack its end",
	  "  a-1 [000] 1.5: mm_page_free: page=0x1 pfn=0x200 order=0", "start 1 0x200+1\nfree 1\n",
	  false },
	{ "fields in another order, and fields that nobody knows",
	  REPORT("0", "001",
		 "mm_page_alloc: order=1 new_field=x pfn=512 gfp_flags=none|0x80 nid=-1"),
	  "alloc 1 0x200+2\n", false },
};

START_TEST(rule_gives_its_story)
{
	struct loaded *loaded = import_text(stories[_i].text);
	g_autofree char *got = story(loaded, stories[_i].buddy);
	g_autofree char *fault = story_fault(loaded);

	ck_assert_msg(strcmp(got, stories[_i].want) == 0, "%s:\n%s", stories[_i].name, got);
	ck_assert_msg(!fault, "%s: %s", stories[_i].name, fault);
	loaded_free(loaded);
}
END_TEST

/* ---- the head of a line ---- */

static const struct {
	const char *name, *line;
	uint32_t task;
	uint16_t cpu;
	uint64_t time_ns; /* behind 100 s */
	const char *comm;
} heads[] = {
	{ "report", "            bash-7     [001]   100.000002: sched_x: a=1\n", 7, 1, 2000,
	  "bash" },
	{ "raw", "            bash-7       [001] d..3.   100.000002: sched_x: a=1\n", 7, 1, 2000,
	  "bash" },
	{ "raw of an older kernel",
	  "            bash-7     [001] d..3   100.000002: sched_x: a=1\n", 7, 1, 2000, "bash" },
	{ "without the column of flags, in nanoseconds",
	  "            bash-7       [001]   100.000002345: sched_x: a=1\n", 7, 1, 2345, "bash" },
	{ "thread groups",
	  "            bash-7     (     7) [001] ....   100.000002: sched_x: a=1\n", 7, 1, 2000,
	  "bash" },
	{ "unknown thread group",
	  "            bash-7     (-------) [001] .... 100.000002: sched_x: a=1\n", 7, 1, 2000,
	  "bash" },
	{ "blanks in a name", "     my long app-7     [001]   100.000002: sched_x: a=1\n", 7, 1,
	  2000, "my long app" },
	{ "a name that looks like the rest",
	  "   a-1 [002] 1.5-7     [001]   100.000002: sched_x: a=1\n", 7, 1, 2000,
	  "a-1 [002] 1.5" },
	{ "a kernel thread's name", " kworker/u4:2-ev-7     [001]   100.000002: sched_x: a=1\n", 7,
	  1, 2000, "kworker/u4:2-ev" },
	{ "idle", "          <idle>-0     [001]   100.000002: sched_x: a=1\n", 0, 1, 2000,
	  "<idle>" },
	{ "indentation lost", "bash-7 [001] d..3. 100.000002: sched_x: a=1\n", 7, 1, 2000, "bash" },
	{ "many CPUs", "            bash-1234567 [123] ....   100.000002: sched_x: a=1\n", 1234567,
	  123, 2000, "bash" },
};

START_TEST(head_of_a_line_is_read)
{
	/* The first event sets the time from which all count. */
	g_autofree char *text = g_strconcat(
		"           first-9     [000]   100.000000: sched_x: a=1\n", heads[_i].line, NULL);
	struct loaded *loaded = import_text(text);
	const struct event *event = &g_array_index(loaded->events, struct event, 1);

	ck_assert_msg(event->task == heads[_i].task, "%s", heads[_i].name);
	ck_assert_msg(event->cpu == heads[_i].cpu, "%s", heads[_i].name);
	ck_assert_msg(event->time_ns == heads[_i].time_ns, "%s", heads[_i].name);
	ck_assert_str_eq(trace_reader_task(loaded->reader, event->task), heads[_i].comm);
	ck_assert_uint_eq(loaded->meta->cpus, heads[_i].cpu + 1u);
	loaded_free(loaded);
}
END_TEST

/* ---- requests ---- */

static const struct {
	const char *fields;
	uint32_t gfp;
	uint8_t zone, mobility;
} requests[] = {
	{ "migratetype=0 gfp_flags=GFP_KERNEL", 0xcc0, ZONE_NORMAL, MOBILITY_UNMOVABLE },
	{ "migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO", 0x140dca,
	  ZONE_MOVABLE, MOBILITY_MOVABLE },
	{ "migratetype=2 gfp_flags=GFP_NOFS|__GFP_RECLAIMABLE", 0xc50, ZONE_NORMAL,
	  MOBILITY_RECLAIMABLE },
	{ "migratetype=0 gfp_flags=GFP_KERNEL|GFP_DMA", 0xcc1, ZONE_DMA, MOBILITY_UNMOVABLE },
	{ "migratetype=0 gfp_flags=GFP_DMA32|0x40000000", 0x40000004, ZONE_DMA32,
	  MOBILITY_UNMOVABLE },
	{ "migratetype=0 gfp_flags=GFP_HIGHUSER", 0x100cc2, ZONE_HIGHMEM, MOBILITY_UNMOVABLE },
	{ "migratetype=3 gfp_flags=GFP_ATOMIC", 0xa20, ZONE_NORMAL, MOBILITY_HIGHATOMIC },
	{ "migratetype=0", 0, ZONE_ANY, MOBILITY_UNMOVABLE },
};

START_TEST(zone_and_mobility_travel_in_the_request)
{
	g_autofree char *text =
		g_strdup_printf("  a-1 [000] 1.5: mm_page_alloc: page=0x1 pfn=0x200 order=0 %s\n",
				requests[_i].fields);
	struct loaded *loaded = import_text(text);
	const struct event *event = &g_array_index(loaded->events, struct event, 0);

	ck_assert_msg(event->u.frame.gfp == requests[_i].gfp, "%s: %x", requests[_i].fields,
		      event->u.frame.gfp);
	ck_assert_msg(event->u.frame.zone == requests[_i].zone, "%s", requests[_i].fields);
	ck_assert_msg(event->u.frame.mobility == requests[_i].mobility, "%s", requests[_i].fields);
	loaded_free(loaded);
}
END_TEST

START_TEST(prologue_has_the_mobility_that_its_drain_shows)
{
	struct loaded *loaded =
		import_text(REPORT("0", "001", "mm_page_free: page=0x1 pfn=0x200 order=0")
				    REPORT("0", "002", "mm_page_free: page=0x1 pfn=0x201 order=0")
					    REPORT("0", "003",
						   "mm_page_pcpu_drain: page=0x1 pfn=0x200 order=0 "
						   "migratetype=2"));

	ck_assert_uint_eq(g_array_index(loaded->start, struct event, 0).u.frame.mobility,
			  MOBILITY_RECLAIMABLE);
	ck_assert_uint_eq(g_array_index(loaded->start, struct event, 1).u.frame.mobility,
			  MOBILITY_MOVABLE);
	loaded_free(loaded);
}
END_TEST

/* ---- what is known of the whole ---- */

START_TEST(machine_without_a_map_is_guessed_in_steps_of_32_MiB)
{
	struct loaded *loaded =
		import_text("  a-1 [000] 1.5: mm_page_free: page=0x1 pfn=0x2000 order=0\n");
	const struct memory_range *range =
		&g_array_index(loaded->meta->memory_map, struct memory_range, 0);

	ck_assert(!loaded->meta->machine_recorded);
	ck_assert(!loaded->meta->state_known);
	ck_assert_uint_eq(loaded->meta->memory_map->len, 1);
	ck_assert_uint_eq(range->base, 0);
	ck_assert_uint_eq(range->bytes, UINT64_C(64) << 20);
	ck_assert_uint_eq(range->type, MEMORY_USABLE);
	loaded_free(loaded);
}
END_TEST

START_TEST(source_events_are_counted_as_the_recorder_spells_them)
{
	struct loaded *loaded = import_text(
		REPORT("0", "001", "mm_page_free: page=0x1 pfn=0x200 order=0")
			REPORT("0", "002", "mm_page_free_batched: page=0x1 pfn=0x200 order=0")
				REPORT("0", "003", "kfree: call_site=f ptr=(nil)")
					RAW("0", "004", "tracing_mark_write: x") REPORT(
						"0", "005",
						"kmalloc_node: call_site=f "
						"ptr=0x10 bytes_req=8")
						REPORT("0", "006",
						       "rss_stat: a=1") "CPU:0 [LOST 5 EVENTS]\n");

	ck_assert_uint_eq(loaded_source_events(loaded, "mm_page_free"), 1);
	ck_assert_uint_eq(loaded_source_events(loaded, "mm_page_free_batched"), 1);
	ck_assert_uint_eq(loaded_source_events(loaded, "kfree"), 1);
	ck_assert_uint_eq(loaded_source_events(loaded, "print"), 1);
	ck_assert_uint_eq(loaded_source_events(loaded, "kmalloc_node"), 1);
	ck_assert_uint_eq(loaded_source_events(loaded, "rss_stat"), 1);
	ck_assert_uint_eq(loaded_source_events(loaded, "[LOST EVENTS]"), 5);
	ck_assert_uint_eq(g_hash_table_size(loaded->meta->source_events), 7);
	loaded_free(loaded);
}
END_TEST

START_TEST(lenient_skips_what_is_malformed)
{
	static const char text[] = "  a-1 [000] 1.5: mm_page_free: page=0x1 pfn=0x200 order=0\n"
				   "garbage\n"
				   "  a-1 [000] 1.6: mm_page_free: page=0x1 order=0\n"
				   "  a-1 [000] 1.4: mm_page_free: page=0x1 pfn=0x300 order=0\n"
				   "  a-1 [000] 1.7: mm_page_free: page=0x1 pfn=0x201 ord";
	struct loaded *loaded = import_bytes(text, sizeof text - 1, true, NULL);
	g_autofree char *got = story(loaded, true);

	ck_assert_str_eq(got, "start 1 0x200+1\nfree 1\n");
	ck_assert_uint_eq(loaded_source_events(loaded, "mm_page_free"), 1);
	loaded_free(loaded);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("import");
	TCase *tcase = tcase_create("stories");

	tcase_add_loop_test(tcase, rule_gives_its_story, 0, G_N_ELEMENTS(stories));
	tcase_add_loop_test(tcase, head_of_a_line_is_read, 0, G_N_ELEMENTS(heads));
	tcase_add_loop_test(tcase, zone_and_mobility_travel_in_the_request, 0,
			    G_N_ELEMENTS(requests));
	tcase_add_test(tcase, prologue_has_the_mobility_that_its_drain_shows);
	tcase_add_test(tcase, machine_without_a_map_is_guessed_in_steps_of_32_MiB);
	tcase_add_test(tcase, source_events_are_counted_as_the_recorder_spells_them);
	tcase_add_test(tcase, lenient_skips_what_is_malformed);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
