/* Probes classify addresses, count, and report each line once; the trap catches what dies. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "sim/kernel.h"
#include "sim/probe.h"
#include "sim/trap.h"
#include "tests/support/story.h"

/* What the probed build calls before an access. */
void probed___tsan_read8(void *pointer);
void probed___tsan_write8(void *pointer);
void probed___tsan_write4(void *pointer);
void probed___tsan_unaligned_write8(void *pointer);

#define LIVE_FRAME 0x300

static struct machine *machine;
static struct ledger *ledger;
static struct probe_counters counters;
static GString *said;
static GError *error;

static void note(void *context, const struct probe_finding *finding)
{
	g_string_append_printf(said, "%s\n", finding->message);
}

/* A booted machine with a ledger that knows one live frame. */
static void begin(const char *frames)
{
	const struct frame_ops *ops = kernels[PASS_PROBED].frame_find(frames);
	struct machine_config *config = machine_config_new("pc-512m", &error);
	struct frame_config options;
	struct ledger_finding finding;

	machine = machine_new(config, &error);
	ck_assert_ptr_nonnull(machine);
	machine_config_free(config);
	frame_config_defaults(ops, &options);
	machine_enter(machine);
	struct probe probe = { .machine = machine, .frames = ops, .report = note };
	probe_begin(&probe);
	ck_assert(machine_boot(machine, kernels[PASS_PROBED].boot, ops, &options, &error));
	const struct boot_result *boot = &machine->boot;
	ledger = ledger_new(machine->ram.size >> 12);
	for (guint i = 0; i < machine->usable->len; i++) {
		const struct frame_range *range =
			&g_array_index(machine->usable, struct frame_range, i);
		ledger_assign(ledger, range->first.n, range->frames, LEDGER_TABLE);
	}
	for (uint32_t i = 0; i < boot->map.count; i++)
		ledger_assign(ledger, boot->map.ranges[i].first.n, boot->map.ranges[i].frames,
			      LEDGER_FREE);
	ledger_assign(ledger, boot->state_range.first.n, boot->state_range.frames, LEDGER_STATE);
	ledger_seal(ledger);
	ck_assert_int_eq(
		ledger_take(ledger, LIVE_FRAME, 1, 1, 1, LEDGER_HANDLE_BASE + 9, 0, &finding),
		LEDGER_OK);
	probe_set_ledger(ledger);
	counters = (struct probe_counters){ 0 };
	probe_phase(PROBE_RUN, &counters);
}

static void set_up(void)
{
	said = g_string_new(NULL);
}

static void tear_down(void)
{
	if (machine)
		probe_end();
	machine_leave();
	g_clear_pointer(&ledger, ledger_free);
	g_clear_pointer(&machine, machine_free);
	g_string_free(said, TRUE);
	g_clear_error(&error);
}

static void *at(uint64_t paddr)
{
	return machine_pointer(machine, (struct vaddr){ machine->layout->direct_map + paddr });
}

/* ---- classification ---- */

enum place {
	STATE,
	STATE_END,
	MAP_COPY,
	FREE,
	LIVE,
	TABLES,
	LOADED,
	STACK,
	CONSTANT,
	GLOBAL,
	HEAP
};

static uint64_t global;
static const uint64_t constant = 7;

static const struct {
	const char *name;
	enum place place;
	bool write;
	const char *frames; /* whose probes */
	const char *words;  /* NULL: nothing is said */
} places[] = {
	{ "own state read", STATE, false, "bitmap", NULL },
	{ "own state written", STATE, true, "bitmap", NULL },
	{ "over the end of the state", STATE_END, true, "bitmap", "runs over the end" },
	{ "copy of the map read", MAP_COPY, false, "bitmap", NULL },
	{ "copy of the map written", MAP_COPY, true, "bitmap", "past the allocator's state" },
	{ "free frame read", FREE, false, "bitmap",
	  "load of 8 bytes at physical 0x400000 in a free" },
	{ "free frame written", FREE, true, "bitmap", "store of 8 bytes" },
	{ "free frame written by the stack", FREE, true, "stack", NULL },
	{ "live frame read", LIVE, false, "bitmap", "in a frame of live handle 9" },
	{ "live frame written", LIVE, true, "stack", "in a frame of live handle 9" },
	{ "page tables read", TABLES, false, "bitmap", "took at boot" },
	{ "page tables written", TABLES, true, "bitmap", "took at boot" },
	{ "loaded map read", LOADED, false, "bitmap", NULL },
	{ "loaded map written", LOADED, true, "bitmap", "took at boot" },
	{ "kernel stack written", STACK, true, "bitmap", NULL },
	{ "constants read", CONSTANT, false, "bitmap", NULL },
	{ "constants written", CONSTANT, true, "bitmap", "outside simulated RAM" },
	{ "host data read", GLOBAL, false, "bitmap", "outside simulated RAM" },
	{ "host data written", GLOBAL, true, "bitmap", "outside simulated RAM" },
	{ "host heap read", HEAP, false, "bitmap", "outside simulated RAM" },
};

static void *address_of(enum place place, uint64_t *on_stack)
{
	const struct boot_result *boot = &machine->boot;
	uint64_t state = boot->state_range.first.n << 12;

	switch (place) {
	case STATE:
		return at(state);
	case STATE_END:
		return at(state + boot->state_bytes - 4);
	case MAP_COPY:
		return at(state + ((boot->state_bytes + 7) & ~7ull));
	case FREE:
		return at(0x400000);
	case LIVE:
		return at(LIVE_FRAME << 12);
	case TABLES:
		return at(boot->top_table.a);
	case LOADED:
		return at(machine->params.loaded.first.n << 12);
	case STACK:
		return on_stack;
	case CONSTANT:
		return (void *)(uintptr_t)&constant;
	case GLOBAL:
		return &global;
	case HEAP:
		return said;
	}
	return NULL;
}

START_TEST(addresses_are_classified)
{
	uint64_t on_stack = 0;

	begin(places[_i].frames);
	void *pointer = address_of(places[_i].place, &on_stack);
	if (places[_i].place == STATE_END)
		probed___tsan_unaligned_write8(pointer);
	else if (places[_i].write)
		probed___tsan_write8(pointer);
	else
		probed___tsan_read8(pointer);
	if (!places[_i].words)
		ck_assert_msg(said->len == 0, "%s: %s", places[_i].name, said->str);
	else
		ck_assert_msg(strstr(said->str, places[_i].words), "%s: '%s'", places[_i].name,
			      said->str);
	bool outside = places[_i].words && strstr(places[_i].words, "outside");
	ck_assert_uint_eq(probe_outside(), outside);
	bool in_ram = !outside && places[_i].place != STACK && places[_i].place != CONSTANT;
	ck_assert_uint_eq(counters.loads + counters.stores, in_ram);
}
END_TEST

/* ---- counting ---- */

START_TEST(loads_stores_and_lines_are_counted_once)
{
	uint64_t state;

	begin("bitmap");
	state = machine->boot.state_range.first.n << 12;
	probed___tsan_read8(at(state));
	probed___tsan_read8(at(state + 8));
	probed___tsan_write8(at(state + 56));
	probed___tsan_write4(at(state + 64));
	ck_assert_uint_eq(counters.loads, 2);
	ck_assert_uint_eq(counters.stores, 2);
	ck_assert_uint_eq(counters.cache_lines, 2);
	ck_assert_uint_eq(counters.tlb_lookups, 4);
	ck_assert_uint_le(counters.tlb_misses, 1);
	/* A line is distinct within an operation. */
	probe_phase(PROBE_RUN, &counters);
	probed___tsan_read8(at(state));
	ck_assert_uint_eq(counters.cache_lines, 3);
	probed___tsan_unaligned_write8(at(state + 60));
	ck_assert_uint_eq(counters.cache_lines, 4);
}
END_TEST

START_TEST(checks_are_judged_and_not_counted)
{
	begin("bitmap");
	probe_phase(PROBE_CHECK, NULL);
	probed___tsan_read8(at(LIVE_FRAME << 12));
	ck_assert_ptr_nonnull(strstr(said->str, "live handle 9"));
	ck_assert_uint_eq(counters.loads, 0);
	probe_phase(PROBE_OFF, NULL);
	probed___tsan_read8(&global);
	ck_assert_uint_eq(probe_outside(), 0);
}
END_TEST

START_TEST(a_line_is_reported_once)
{
	begin("bitmap");
	for (unsigned i = 0; i < 100; i++)
		probed___tsan_read8(at(LIVE_FRAME << 12));
	unsigned lines = 0;
	for (const char *c = said->str; *c; c++)
		lines += *c == '\n';
	ck_assert_uint_eq(lines, 1);
	probed___tsan_read8(at(LIVE_FRAME << 12));
	ck_assert_ptr_nonnull(strchr(strchr(said->str, '\n') + 1, '\n'));
	ck_assert_ptr_nonnull(strstr(said->str, "test_probe.c:"));
}
END_TEST

static void read_nowhere(void *unused)
{
	probed___tsan_read8(at(3ull << 30));
	__asm__ volatile("" ::: "memory"); /* no tail call: the line is this function's */
}

START_TEST(a_probed_access_to_nothing_is_a_page_fault)
{
	struct trap_report report;

	begin("bitmap");
	ck_assert(!trap_run(read_nowhere, NULL, &report));
	ck_assert_str_eq(report.kind, "page-fault");
	ck_assert_ptr_nonnull(strstr(report.message, "error code 0x0"));
	ck_assert_ptr_nonnull(strstr(report.message, "test_probe.c:"));
	ck_assert_uint_eq(counters.faults, 1);
}
END_TEST

/* ---- trap ---- */

static void die(void *kind)
{
	trap_die(kind, "frame %d of %s", 7, "many");
}

static void live_on(void *flag)
{
	*(bool *)flag = true;
}

START_TEST(deaths_are_reported_and_lives_are_not)
{
	struct trap_report report = { "none", "none" };
	bool ran = false;
	char kind[] = "panic", long_kind[] = "a-kind-that-is-longer-than-any";

	ck_assert(trap_run(live_on, &ran, &report));
	ck_assert(ran);
	ck_assert_str_eq(report.kind, "none");
	for (unsigned i = 0; i < 1000; i++) {
		ck_assert(!trap_run(die, kind, &report));
		ck_assert_str_eq(report.kind, "panic");
		ck_assert_str_eq(report.message, "frame 7 of many");
	}
	ck_assert(!trap_run(die, long_kind, &report));
	ck_assert_uint_eq(strlen(report.kind), sizeof(report.kind) - 1);
}
END_TEST

static void fault_on_machine(void *unused)
{
	*(volatile uint64_t *)machine_pointer(machine_current(), (struct vaddr){ 0x1000 - 8192 }) =
		1;
}

static void *fault_in_thread(void *own)
{
	struct trap_report report;
	bool caught = true;

	machine_enter(own);
	for (unsigned i = 0; i < 50; i++) {
		errno = 1234;
		caught = caught && !trap_run(fault_on_machine, NULL, &report) &&
			 strcmp(report.kind, "page-fault") == 0 &&
			 strstr(report.message, "write of kernel address 0xfffffffffffff000");
	}
	machine_leave();
	return caught ? own : NULL;
}

START_TEST(threads_fault_each_on_their_own)
{
	struct machine_config *config = machine_config_new("pc-512m", &error);
	struct machine *own[4];
	pthread_t thread[4];
	void *result;

	for (unsigned i = 0; i < 4; i++) {
		own[i] = machine_new(config, &error);
		ck_assert_int_eq(pthread_create(&thread[i], NULL, fault_in_thread, own[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++) {
		ck_assert_int_eq(pthread_join(thread[i], &result), 0);
		ck_assert_ptr_eq(result, own[i]);
		machine_free(own[i]);
	}
	machine_config_free(config);
}
END_TEST

static sigjmp_buf elsewhere;

static void other_handler(int number)
{
	siglongjmp(elsewhere, 1);
}

START_TEST(faults_elsewhere_go_to_the_handler_before)
{
	struct sigaction other = { .sa_handler = other_handler };
	struct trap_report report;
	bool ran = false;

	volatile char *nothing = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert(nothing != MAP_FAILED);
	ck_assert_int_eq(sigaction(SIGSEGV, &other, NULL), 0);
	ck_assert(trap_run(live_on, &ran, &report));
	if (sigsetjmp(elsewhere, 1) == 0) {
		*nothing = 1;
		ck_abort_msg("nobody noticed");
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("probe and trap");
	TCase *one = tcase_create("probe");

	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_add_loop_test(one, addresses_are_classified, 0, (int)G_N_ELEMENTS(places));
	tcase_add_test(one, loads_stores_and_lines_are_counted_once);
	tcase_add_test(one, checks_are_judged_and_not_counted);
	tcase_add_test(one, a_line_is_reported_once);
	tcase_add_test(one, a_probed_access_to_nothing_is_a_page_fault);
	tcase_set_timeout(one, 30);
	suite_add_tcase(suite, one);

	one = tcase_create("trap");
	tcase_add_checked_fixture(one, set_up, tear_down);
	tcase_add_test(one, deaths_are_reported_and_lives_are_not);
	tcase_add_test(one, threads_fault_each_on_their_own);
	tcase_add_test(one, faults_elsewhere_go_to_the_handler_before);
	tcase_set_timeout(one, 30);
	suite_add_tcase(suite, one);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
