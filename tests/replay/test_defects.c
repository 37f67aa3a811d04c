/* Allocators with planted defects: what the ledger, the audits, the probes and the trap say of
 * them. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/lab.h"
#include "tests/replay/defect_frames.h"
#include "tests/support/bad_frames.h"
#include "tests/support/story.h"

extern const struct frame_ops *const probed_bad_frames[];
extern const struct frame_ops *const probed_defect_frames[];

static struct story *story;

static void set_up(void)
{
	story = story_new();
	story_random(story, 7, 600, 3, 800);
}

static void tear_down(void)
{
	story_free(story);
}

struct system {
	const struct frame_ops *ops[PASSES];
};

static bool find_in(const struct frame_ops *const *native, const struct frame_ops *const *probed,
		    const char *name, struct system *system)
{
	for (unsigned i = 0; native[i]; i++)
		if (strcmp(native[i]->name, name) == 0) {
			system->ops[PASS_NATIVE] = native[i];
			system->ops[PASS_PROBED] = probed[i];
			return true;
		}
	return false;
}

static struct system find(const char *name)
{
	struct system system = { 0 };

	ck_assert_msg(find_in(bad_frames, probed_bad_frames, name, &system) ||
			      find_in(defect_frames, probed_defect_frames, name, &system),
		      "no defect %s", name);
	ck_assert_str_eq(system.ops[PASS_PROBED]->name, name);
	return system;
}

static struct replay_config config_of(const char *name)
{
	struct system system = find(name);

	return story_config_ops(story, system.ops[PASS_NATIVE], system.ops[PASS_PROBED]);
}

/* ---- what is said of each ---- */

enum in { BOTH, PROBED_ONLY };

static const struct {
	const char *name;
	const char *kind; /* of the first violation */
	enum in in;
	bool during_event; /* it has an event number and a command that replays up to it */
	bool dies;
	const char *words; /* in the message */
	const char *line;  /* in the source line that the message names; NULL: it names none */
} cases[] = {
	{ "bad-twice", "overlap", BOTH, true, false, "which is live handle", NULL },
	{ "bad-foreign", "out-of-map", BOTH, true, false, "no RAM", NULL },
	{ "bad-loses", "walk", BOTH, false, false, "lost", NULL },
	{ "bad-liar", "walk", BOTH, false, false, "stats() and walk() disagree", NULL },
	{ "bad-overrun", "probe", PROBED_ONLY, true, false, "past the allocator's state",
	  "b->state_bytes) = 1" },
	{ "bad-scribble", "probe", PROBED_ONLY, true, false, "in a frame of live handle",
	  "contents[100] = 1" },
	{ "fewer", "too-small", BOTH, true, false, "too-small", NULL },
	{ "nothing", "too-small", BOTH, true, false, "too-small", NULL },
	{ "huge-block", "out-of-map", BOTH, true, false, "no RAM", NULL },
	{ "misaligned", "misaligned", BOTH, true, false, "misaligned", NULL },
	{ "refuses", "free-refused", BOTH, true, false, "is refused", NULL },
	{ "panics", "panic", BOTH, true, true, "planted panic", NULL },
	{ "panics-in-free", "panic", BOTH, true, true, "planted panic in free", NULL },
	{ "faults", "page-fault", BOTH, true, true, "of kernel address 0x", "*nowhere(d) = 1" },
	{ "kept-window", "page-fault", BOTH, true, true, "of kernel address 0x", "port_boot_ptr" },
	{ "reads-live", "probe", PROBED_ONLY, true, false, "load of 8 bytes at physical",
	  "(void)contents[8]" },
	{ "writes-free", "probe", PROBED_ONLY, true, false, "in a free frame", "contents[8] = 1" },
	{ "writes-tables", "probe", PROBED_ONLY, true, false, "in memory that the kernel took",
	  "contents[8] = 1" },
	{ "writes-global", "probe", PROBED_ONLY, true, false, "outside simulated RAM", "&global" },
	{ "walks-back", "walk", BOTH, false, false, "not in address order", NULL },
	{ "walk-hides-used", "walk", BOTH, false, false, "", NULL },
	{ "walk-hides-free", "walk", BOTH, false, false, "fewer than the ledger's", NULL },
	{ "walk-leaves-map", "walk", BOTH, false, false, "never the allocator's", NULL },
	{ "claims-kept", "walk", BOTH, false, false, "lost", NULL },
	{ "check-faults", "page-fault", BOTH, false, true, "of kernel address 0x", "nowhere(d)" },
};

/* The line of our own source that a message names as "FILE.c:NUMBER". */
static void assert_names_line(const char *name, const char *message, const char *wanted)
{
	const char *at = strstr(message, "at tests/");
	char path[300], *text = NULL, file[200];
	unsigned number = 0;

	ck_assert_msg(at && sscanf(at, "at %199[^:]:%u", file, &number) == 2 && number > 0,
		      "%s: no source line in: %s", name, message);
	snprintf(path, sizeof(path), "%s/%s", TEST_SOURCE_ROOT, file);
	ck_assert_msg(g_file_get_contents(path, &text, NULL, NULL), "%s: no file %s", name, path);
	char **lines = g_strsplit(text, "\n", -1);
	ck_assert_msg(number <= g_strv_length(lines), "%s: %s", name, message);
	ck_assert_msg(strstr(lines[number - 1], wanted), "%s: %s names: %s", name, message,
		      lines[number - 1]);
	g_strfreev(lines);
	g_free(text);
}

static void assert_replays_again(struct replay_config *config, enum kernel_pass pass,
				 const struct replay_violation *first)
{
	struct replay_result again;
	char *end, *command = g_strdup_printf("--until %" G_GUINT64_FORMAT, first->event);

	ck_assert_msg(g_str_has_suffix(first->command, command), "%s", first->command);
	config->until = g_ascii_strtoull(strstr(first->command, "--until ") + 8, &end, 10);
	ck_assert_str_eq(end, "");
	story_pass(config, pass, &again);
	ck_assert_uint_ge(again.violations, 1);
	const struct replay_violation *same = g_ptr_array_index(again.violation_list, 0);
	ck_assert_str_eq(same->kind, first->kind);
	ck_assert_str_eq(same->message, first->message);
	ck_assert_uint_eq(same->event, first->event);
	replay_result_clear(&again);
	if (config->until > 0) {
		config->until--;
		story_pass(config, pass, &again);
		const struct replay_violation *other = story_violation(&again, first->kind);
		ck_assert_msg(!other || other->event == REPLAY_ALL, "%s", story_describe(&again));
		replay_result_clear(&again);
	}
	g_free(command);
}

static void judge(int index, enum kernel_pass pass)
{
	struct replay_config config = config_of(cases[index].name);
	struct replay_result result;
	const char *name = cases[index].name;

	story_pass(&config, pass, &result);
	if (cases[index].in == PROBED_ONLY && pass == PASS_NATIVE) {
		ck_assert_msg(result.violations == 0, "%s:%s", name, story_describe(&result));
		replay_result_clear(&result);
		return;
	}
	ck_assert_msg(result.violations > 0, "%s: nobody noticed", name);
	const struct replay_violation *first = g_ptr_array_index(result.violation_list, 0);
	ck_assert_msg(strcmp(first->kind, cases[index].kind) == 0, "%s:%s", name,
		      story_describe(&result));
	ck_assert_msg(strstr(first->message, cases[index].words), "%s: %s", name, first->message);
	ck_assert_msg(g_str_has_prefix(first->message, "allocator error: "), "%s", first->message);
	ck_assert_msg(strstr(first->message, name), "%s: %s", name, first->message);
	ck_assert_msg((first->event != REPLAY_ALL) == cases[index].during_event, "%s: event %jd",
		      name, (intmax_t)first->event);
	ck_assert_msg(result.died == cases[index].dies, "%s: died %d", name, result.died);
	if (cases[index].line)
		assert_names_line(name, first->message, cases[index].line);
	if (cases[index].during_event)
		assert_replays_again(&config, pass, first);
	replay_result_clear(&result);
}

START_TEST(native_pass_names_the_defect)
{
	judge(_i, PASS_NATIVE);
}
END_TEST

START_TEST(probed_pass_names_the_defect)
{
	judge(_i, PASS_PROBED);
}
END_TEST

/* ---- what would end or stop the program ---- */

static const struct {
	const char *name, *kind, *words;
	bool during_event;
	const char *line;
} ends[] = {
	{ "strays", "crash", "Segmentation fault at host address 0xf0, outside of the machine",
	  true, "*(volatile uint64_t *)low = 1" },
	{ "jumps", "crash", "a jump to (nil), where there is no code", true, "zero)();" },
	/* A sanitizer's build of kernel code traps instead. */
	{ "divides", "crash", "at tests/replay/defect_frames.c", true, "/= zero" },
	{ "overflows", "crash", "stack overflow", true, NULL },
	{ "spins", "hang", "does not come back within 200 ms of CPU time", true,
	  "while (watched->at)" },
	{ "spins-bare", "hang", "does not come back within 200 ms of CPU time", true, NULL },
	{ "check-spins", "hang", "does not come back within 200 ms of CPU time", false, "*at;)" },
};

static void judge_end(int index, enum kernel_pass pass)
{
	struct replay_config config = config_of(ends[index].name);
	struct replay_result result;

	config.limit_ms = 200;
	story_pass(&config, pass, &result);
	const struct replay_violation *end = story_violation(&result, ends[index].kind);
	ck_assert_msg(end && result.died, "%s:%s", ends[index].name, story_describe(&result));
	ck_assert_msg(strstr(end->message, ends[index].words), "%s", end->message);
	ck_assert_msg((end->event != REPLAY_ALL) == ends[index].during_event, "%s", end->message);
	if (ends[index].line)
		assert_names_line(ends[index].name, end->message, ends[index].line);
	replay_result_clear(&result);
	/* The program is as good as new. */
	config = config_of("fewer");
	story_pass(&config, pass, &result);
	ck_assert(!result.died);
	replay_result_clear(&result);
}

START_TEST(native_crash_or_hang_ends_the_pass_alone)
{
	judge_end(_i, PASS_NATIVE);
}
END_TEST

START_TEST(probed_crash_or_hang_ends_the_pass_alone)
{
	judge_end(_i, PASS_PROBED);
}
END_TEST

START_TEST(only_stray_accesses_are_told_from_accesses_to_the_wrong_frame)
{
	struct replay_config config = config_of("writes-global");
	struct replay_result result;

	story_pass(&config, PASS_PROBED, &result);
	ck_assert_uint_eq(probe_outside() > 0, 1);
	replay_result_clear(&result);
	config = config_of("reads-live");
	story_pass(&config, PASS_PROBED, &result);
	ck_assert_uint_eq(probe_outside(), 0);
	replay_result_clear(&result);
}
END_TEST

/* ---- deaths ---- */

static const struct {
	const char *name;
	const char *words;
	int code;
} boots[] = {
	{ "boot-faults", "died while booting", LAB_ERROR_ALLOCATOR },
	{ "boot-panics", "planted panic at boot", LAB_ERROR_ALLOCATOR },
	{ "boot-fails", "cannot boot", LAB_ERROR_BOOT },
};

START_TEST(death_in_boot_is_an_error_and_the_lab_goes_on)
{
	for (unsigned pass = 0; pass < PASSES; pass++) {
		struct replay_config config = config_of(boots[_i].name);
		struct replay_result result;
		GError *error = NULL;
		bool ran = replay_pass(&config, pass, NULL, &result, &error);
		ck_assert_msg(!ran && error, "%s: booted", boots[_i].name);
		ck_assert_msg(g_error_matches(error, LAB_ERROR, boots[_i].code), "%s: %s",
			      boots[_i].name, error->message);
		ck_assert_msg(strstr(error->message, boots[_i].words) &&
				      strstr(error->message, boots[_i].name),
			      "%s: %s", boots[_i].name, error->message);
		if (strcmp(boots[_i].name, "boot-faults") == 0)
			assert_names_line(boots[_i].name, error->message, "*nowhere(d) = 1");
		g_error_free(error);
		config = story_config(story, "bitmap");
		story_pass(&config, pass, &result);
		ck_assert_msg(result.violations == 0, "%s", story_describe(&result));
		replay_result_clear(&result);
	}
}
END_TEST

START_TEST(death_in_a_pass_leaves_the_next_pass_alone)
{
	struct replay_config good = story_config(story, "bitmap"), bad = config_of("faults");
	struct replay_result before, died, after;

	for (unsigned pass = 0; pass < PASSES; pass++) {
		story_pass(&good, pass, &before);
		for (unsigned i = 0; i < 20; i++) {
			story_pass(&bad, pass, &died);
			ck_assert(died.died);
			replay_result_clear(&died);
		}
		story_pass(&good, pass, &after);
		ck_assert_uint_eq(after.digest, before.digest);
		ck_assert_msg(after.violations == 0, "%s", story_describe(&after));
		replay_result_clear(&before);
		replay_result_clear(&after);
	}
}
END_TEST

START_TEST(i386_allocators_die_as_cleanly)
{
	static const char *const names[] = { "faults", "panics", "kept-window", "check-faults" };
	GError *error = NULL;

	ck_assert(machine_config_set(story->machine, "arch", "i386", &error));
	for (unsigned pass = 0; pass < PASSES; pass++) {
		struct replay_config config = config_of(names[_i]);
		struct replay_result result;
		story_pass(&config, pass, &result);
		ck_assert_msg(result.died, "%s in pass %u", names[_i], pass);
		replay_result_clear(&result);
	}
}
END_TEST

/* ---- corruption ---- */

/* Some words of a state hold nothing at the time (the buddy's links of blocks in use, the
 * empty end of the stack's tip): those may
 * flip unseen, and do no harm. */
static const struct {
	const char *name;
	uint64_t inner;
	unsigned max_order;
	unsigned named; /* of the first CORRUPT_WORDS words */
} inners[] = {
	{ "bitmap", 0, 3, 150 },
	{ "stack", 1, 0, 40 },
	{ "buddy", 2, 3, 55 },
};

#define CORRUPT_WORDS  160
#define CORRUPT_HEAD   32   /* word by word; then all over the state, */
#define CORRUPT_STRIDE 7919 /* taken modulo its size */
#define CORRUPT_CALL   64

static uint64_t event_of_allocation(unsigned number)
{
	for (guint i = 0; i < story->events->len; i++)
		if (g_array_index(story->events, struct event, i).kind == EVENT_FRAME_ALLOC &&
		    --number == 0)
			return i;
	ck_abort_msg("the story has too few allocations");
}

/* A bit of the metadata flips at one allocation, the audit comes right after it. Whether check()
 * named it; a flip that nobody ever notices must be one that changes nothing. */
static bool corruption_is_named(int index, uint64_t word, uint64_t digest)
{
	struct replay_config config = config_of("bad-corrupt");
	struct replay_result result;

	config.frame_config.option[BAD_OPTION_INNER] = inners[index].inner;
	config.frame_config.option[BAD_OPTION_EVERY] = CORRUPT_CALL;
	config.frame_config.option[BAD_OPTION_WORD] = word;
	config.check_events = 1;
	config.until = event_of_allocation(2 * CORRUPT_CALL) - 1;
	story_pass(&config, PASS_NATIVE, &result);
	bool named = false;
	if (result.violations) {
		const struct replay_violation *first = g_ptr_array_index(result.violation_list, 0);
		ck_assert_msg(strcmp(first->kind, "check") == 0, "%s, word %u:%s",
			      inners[index].name, (unsigned)word, story_describe(&result));
		ck_assert_msg(strstr(first->message, "invariant "), "%s", first->message);
		ck_assert_uint_eq(first->event, event_of_allocation(CORRUPT_CALL));
		ck_assert_msg(result.violations == 1, "the pass goes on:%s",
			      story_describe(&result));
		named = true;
	} else {
		ck_assert_msg(result.digest == digest, "%s, word %u: unseen, and frames differ",
			      inners[index].name, (unsigned)word);
	}
	replay_result_clear(&result);
	return named;
}

START_TEST(corruption_at_any_depth_is_named_by_check)
{
	struct replay_result sound;
	unsigned named = 0;

	story_free(story);
	story = story_new();
	story_random(story, 7, 300, inners[_i].max_order, 800);
	struct replay_config config = config_of("bad-corrupt");
	config.frame_config.option[BAD_OPTION_INNER] = inners[_i].inner;
	config.frame_config.option[BAD_OPTION_EVERY] = UINT64_MAX;
	config.until = event_of_allocation(2 * CORRUPT_CALL) - 1;
	story_pass(&config, PASS_NATIVE, &sound);
	ck_assert_msg(sound.violations == 0, "%s", story_describe(&sound));
	for (uint64_t i = 0; i < CORRUPT_WORDS; i++)
		named += corruption_is_named(_i, i < CORRUPT_HEAD ? i : i * CORRUPT_STRIDE,
					     sound.digest);
	ck_assert_msg(named >= inners[_i].named, "%s: %u of %u", inners[_i].name, named,
		      CORRUPT_WORDS);
	replay_result_clear(&sound);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("planted defects");
	TCase *one = tcase_create("judged");

	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_add_loop_test(one, native_pass_names_the_defect, 0, (int)G_N_ELEMENTS(cases));
	tcase_add_loop_test(one, probed_pass_names_the_defect, 0, (int)G_N_ELEMENTS(cases));
	tcase_add_test(one, only_stray_accesses_are_told_from_accesses_to_the_wrong_frame);
	suite_add_tcase(suite, one);

	one = tcase_create("deaths");
	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_set_timeout(one, 60);
	tcase_add_loop_test(one, native_crash_or_hang_ends_the_pass_alone, 0,
			    (int)G_N_ELEMENTS(ends));
	tcase_add_loop_test(one, probed_crash_or_hang_ends_the_pass_alone, 0,
			    (int)G_N_ELEMENTS(ends));
	tcase_add_loop_test(one, death_in_boot_is_an_error_and_the_lab_goes_on, 0,
			    (int)G_N_ELEMENTS(boots));
	tcase_add_test(one, death_in_a_pass_leaves_the_next_pass_alone);
	tcase_add_loop_test(one, i386_allocators_die_as_cleanly, 0, 4);
	suite_add_tcase(suite, one);

	one = tcase_create("corruption");
	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_set_timeout(one, 60);
	tcase_add_loop_test(one, corruption_at_any_depth_is_named_by_check, 0,
			    (int)G_N_ELEMENTS(inners));
	suite_add_tcase(suite, one);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
