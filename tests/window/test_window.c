/* Kernel windows: every scenario on both architectures and in both builds, then what only the lab
 * can see: statistics, several CPUs, several threads. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/frame/systems.h"
#include "sim/kernel.h"
#include "sim/probe.h"
#include "sim/trap.h"
#include "sim/window_cost.h"
#include "tests/window/scenarios.h"

/* ---- a booted machine ---- */

#define FINDINGS_MAX 8

struct stage {
	struct machine *machine;
	bool collects;	 /* findings are wanted; otherwise each is a failure */
	bool only_stale; /* of them, those of the stale checker */
	unsigned findings;
	char *finding[FINDINGS_MAX]; /* "kind: message" */
	enum kernel_pass pass;
	struct scene scene;
	struct probe_counters counters;
	struct trap_report report;
	int line; /* that a scenario returned */
	scenario_fn run;
};

static void on_finding(void *context, const struct probe_finding *finding)
{
	struct stage *stage = context;

	if (stage->only_stale && strcmp(finding->kind, "stale") != 0)
		return;
	if (!stage->collects)
		ck_abort_msg("%s: %s", finding->kind, finding->message);
	if (stage->findings < FINDINGS_MAX)
		stage->finding[stage->findings] =
			g_strdup_printf("%s: %s", finding->kind, finding->message);
	stage->findings++;
}

static struct machine_config *config_for(enum machine_arch arch)
{
	GError *error = NULL;
	struct machine_config *config = machine_config_new("pc-512m", &error);

	ck_assert(config && machine_config_resize(config, 32 << 20, &error));
	ck_assert(machine_config_set(config, "arch", machine_layout(arch)->arch, &error));
	return config;
}

static struct scene scene_on(const struct machine *machine)
{
	bool wide = machine->config->arch == MACHINE_X86_64;

	return (struct scene){
		.frames = machine->boot.frames,
		.direct = machine->params.direct_map,
		.wide = wide,
		.window = { wide ? 0xfffffe8000000000 : 0xf4000000 },
		.slot = { wide ? 0xffffff0000000000 : 0xffc00000 },
		.slot_index = wide ? 510 : 1023,
		.steps = 3 * machine->config->windows / 2,
	};
}

static void stage_open_with(struct stage *stage, const struct machine_config *config,
			    enum kernel_pass pass)
{
	GError *error = NULL;
	struct frame_config frames = { .cpus = config->cpus };

	*stage = (struct stage){ .pass = pass };
	stage->machine = machine_new(config, &error);
	ck_assert_msg(stage->machine != NULL, "%s", error ? error->message : "");
	machine_enter(stage->machine);
	const struct frame_ops *ops = kernels[pass].frame_find("bitmap");
	for (unsigned i = 0; ops->options && ops->options[i].key; i++)
		frames.option[i] = ops->options[i].value;
	if (pass == PASS_PROBED) {
		struct probe probe = { .machine = stage->machine,
				       .frames = ops,
				       .report = on_finding,
				       .context = stage };
		probe_begin(&probe);
		probe_phase(PROBE_BOOT, &stage->counters);
	}
	bool booted = machine_boot(stage->machine, kernels[pass].boot, ops, &frames, &error);
	ck_assert_msg(booted, "%s", error ? error->message : "");
	probe_phase(PROBE_OFF, NULL);
	stage->scene = scene_on(stage->machine);
}

static void stage_open(struct stage *stage, enum machine_arch arch, enum kernel_pass pass)
{
	struct machine_config *config = config_for(arch);

	stage_open_with(stage, config, pass);
	machine_config_free(config);
}

static void stage_close(struct stage *stage)
{
	if (stage->pass == PASS_PROBED)
		probe_end();
	machine_leave();
	machine_free(stage->machine);
	for (unsigned i = 0; i < MIN(stage->findings, FINDINGS_MAX); i++)
		g_free(stage->finding[i]);
}

static void call(void *argument)
{
	struct stage *stage = argument;

	stage->line = stage->run(&stage->scene);
}

/* True when the scenario came back. */
static bool stage_run(struct stage *stage, scenario_fn run)
{
	stage->run = run;
	if (stage->pass == PASS_PROBED)
		probe_phase(PROBE_RUN, &stage->counters);
	bool lived = trap_run(call, stage, &stage->report);
	probe_phase(PROBE_OFF, NULL);
	return lived;
}

static struct window_statistics statistics(const struct stage *stage)
{
	struct window_statistics count;

	windows_statistics(stage->machine->windows, &count);
	return count;
}

static void stage_must(struct stage *stage, scenario_fn native, scenario_fn probed)
{
	bool lived = stage_run(stage, stage->pass == PASS_PROBED ? probed : native);

	ck_assert_msg(lived, "%s", stage->report.message);
	ck_assert_msg(stage->line == 0, "scenarios.c:%d", stage->line);
}

#define MUST(stage, name) stage_must(stage, name, probed_##name)

/* ---- scenarios ---- */

#define WAYS 4 /* architectures x builds */

static void play(enum machine_arch arch, enum kernel_pass pass, unsigned number)
{
	const struct scenario *scenario =
		pass == PASS_PROBED ? &probed_scenarios[number] : &scenarios[number];
	const char *on = machine_layout(arch)->arch, *build = kernels[pass].name;
	struct stage stage;

	if (scenario->only_wide && arch == MACHINE_I386)
		return;
	stage_open(&stage, arch, pass);
	bool lived = stage_run(&stage, scenario->run);
	if (!scenario->dies) {
		ck_assert_msg(lived, "%s (%s, %s): %s", scenario->name, on, build,
			      stage.report.message);
		ck_assert_msg(stage.line == 0, "%s (%s, %s): scenarios.c:%d", scenario->name, on,
			      build, stage.line);
	} else {
		ck_assert_msg(!lived, "%s (%s, %s): it lives, and returns %d", scenario->name, on,
			      build, stage.line);
		ck_assert_msg(strcmp(stage.report.kind, scenario->dies) == 0, "%s (%s, %s): %s: %s",
			      scenario->name, on, build, stage.report.kind, stage.report.message);
		ck_assert_msg(strstr(stage.report.message, scenario->words), "%s (%s, %s): %s",
			      scenario->name, on, build, stage.report.message);
	}
	if (scenario->dies && strcmp(scenario->dies, "panic") != 0)
		ck_assert_msg(strstr(stage.report.message, "tests/window/scenarios.c:"), "%s",
			      stage.report.message);
	stage_close(&stage);
}

START_TEST(scenario_holds)
{
	play(_i % 2 ? MACHINE_I386 : MACHINE_X86_64, _i / 2 % 2 ? PASS_PROBED : PASS_NATIVE,
	     (unsigned)_i / WAYS);
}
END_TEST

/* All of them in one process: what a death leaves behind disturbs nobody. */
START_TEST(the_program_outlives_all_deaths)
{
	for (unsigned n = 0; scenarios[n].name; n++)
		for (unsigned way = 0; way < WAYS; way++)
			play(way % 2, way / 2, n);
}
END_TEST

/* ---- reports ---- */

START_TEST(a_report_says_what_the_walk_met)
{
	const struct scenario *scenario = scenarios;
	struct stage stage;

	while (strcmp(scenario->name, "read_only") != 0)
		scenario++;
	stage_open(&stage, MACHINE_I386, PASS_NATIVE);
	ck_assert(!stage_run(&stage, scenario->run));
	const char *message = stage.report.message;
	ck_assert_msg(strstr(message, "write of kernel address 0xf4000000: #PF"), "%s", message);
	ck_assert_msg(strstr(message, "; the walk meets PDE 0x"), "%s", message);
	ck_assert_msg(strstr(message, ", PTE 0x"), "%s", message);
	stage_close(&stage);
}
END_TEST

/* ---- statistics ---- */

START_TEST(fills_upgrades_drops_and_evictions_are_counted)
{
	struct machine_config *config = config_for(_i);
	struct stage stage;

	config->windows = 64;
	stage_open_with(&stage, config, PASS_NATIVE);
	stage.scene.steps = 64;
	MUST(&stage, scene_map_many);
	ck_assert_uint_eq(statistics(&stage).fills, 0);
	MUST(&stage, scene_touch_many);
	ck_assert_uint_eq(statistics(&stage).fills, 64);
	ck_assert_uint_eq(statistics(&stage).upgrades, 64);
	ck_assert_uint_eq(statistics(&stage).evictions, 0);
	MUST(&stage, scene_touch_many);
	ck_assert_uint_eq(statistics(&stage).fills, 64);
	mmu_invlpg(stage.machine->cpu[0], stage.scene.window);
	ck_assert_uint_eq(statistics(&stage).drops, 1);
	MUST(&stage, scene_touch_many);
	ck_assert_uint_eq(statistics(&stage).fills, 65);
	ck_assert_uint_eq(statistics(&stage).live, 64);
	stage.scene.steps = 65;
	MUST(&stage, scene_map_many);
	mmu_write_cr3(stage.machine->cpu[0], mmu_read_cr3(stage.machine->cpu[0]));
	ck_assert_uint_eq(statistics(&stage).live, 0);
	MUST(&stage, scene_touch_many);
	MUST(&stage, scene_touch_many);
	/* First in, first out, and one page too many: every touch misses. */
	ck_assert_uint_eq(statistics(&stage).fills, 65 + 2 * 65);
	ck_assert_uint_eq(statistics(&stage).evictions, 1 + 65);
	stage_close(&stage);
	machine_config_free(config);
}
END_TEST

START_TEST(what_windows_cost_is_calibrated)
{
	const struct window_cost *cost = window_cost_get();
	struct window_statistics before = { .fills = 5 },
				 after = { .fills = 7, .upgrades = 1, .drops = 2 };

	/* A host that fills in less than a quarter of a microsecond, or in more than 10 ms, is not
	 * of this world. */
	ck_assert_uint_gt(cost->fill, 250);
	ck_assert_uint_lt(cost->fill, 10000000);
	ck_assert_uint_gt(cost->upgrade, 100);
	ck_assert_uint_gt(cost->drop, 100);
	ck_assert_uint_eq(window_cost_ns(cost, &before, &after),
			  2 * cost->fill + cost->upgrade + 2 * cost->drop);
	ck_assert_ptr_null(machine_current());
}
END_TEST

/* ---- several CPUs ---- */

START_TEST(a_missing_shootdown_shows_in_the_probed_pass)
{
	enum kernel_pass pass = _i / 2;
	struct machine_config *config = config_for(_i % 2);
	struct mmu_shootdown request = { .kind = MMU_SHOOT_PAGES, .pages = 1 };
	struct stage stage;

	config->cpus = 2;
	stage_open_with(&stage, config, pass);
	request.va = stage.scene.window;
	MUST(&stage, scene_two_frames);
	machine_set_cpu(stage.machine, 1);
	MUST(&stage, scene_sees_first);
	machine_set_cpu(stage.machine, 0);
	MUST(&stage, scene_sees_first);
	MUST(&stage, scene_changes_over);
	MUST(&stage, scene_sees_second);
	machine_set_cpu(stage.machine, 1);
	/* Native windows stand for one TLB; the probed build has one for each CPU. */
	if (pass == PASS_NATIVE)
		MUST(&stage, scene_sees_second);
	else
		MUST(&stage, scene_sees_first);
	machine_set_cpu(stage.machine, 0);
	MUST(&stage, scene_sees_second);
	mmu_hold_shootdowns(stage.machine->cpu[1], true);
	mmu_post_shootdown(stage.machine->cpu[1], &request);
	machine_set_cpu(stage.machine, 1);
	if (pass == PASS_PROBED)
		MUST(&stage, scene_sees_first); /* late: interrupts are off there */
	mmu_hold_shootdowns(stage.machine->cpu[1], false);
	MUST(&stage, scene_sees_second);
	stage_close(&stage);
	machine_config_free(config);
}
END_TEST

START_TEST(cpus_with_other_address_spaces_do_not_share_fills)
{
	struct machine_config *config = config_for(_i);
	struct stage stage;

	config->cpus = 2;
	stage_open_with(&stage, config, PASS_NATIVE);
	MUST(&stage, scene_two_frames);
	MUST(&stage, scene_sees_first);
	/* CPU 1 gets a copy of the top table, and that another table for the window. */
	uint8_t *ram = stage.machine->ram.bytes;
	uint64_t top = mmu_read_cr3(stage.machine->cpu[0]) & ~0xfffull, copy = 31 << 20;
	memcpy(ram + copy, ram + top, 4096);
	memset(ram + copy + 4096, 0, 4096);
	ck_assert_uint_eq(mmu_write_cr3(stage.machine->cpu[1], copy).vector, MMU_NO_FAULT);
	machine_set_cpu(stage.machine, 1);
	if (stage.scene.wide)
		((uint64_t *)(ram + copy))[509] = (copy + 4096) | 3;
	else
		((uint32_t *)(ram + copy))[0xf4000000u >> 22] = (uint32_t)(copy + 4096) | 3;
	ck_assert(!stage_run(&stage, scene_sees_first));
	ck_assert_str_eq(stage.report.kind, "page-fault");
	machine_set_cpu(stage.machine, 0);
	MUST(&stage, scene_sees_first);
	stage_close(&stage);
	machine_config_free(config);
}
END_TEST

/* Ten fills during an operation are charged to it, those before and between are nobody's. */
START_TEST(a_meter_charges_what_happens_between_its_stamps)
{
	const struct window_cost cost = { .fill = 1000, .drop = 10, .fault = 1 };
	struct window_meter meter;
	struct stage stage;

	stage_open(&stage, _i, PASS_NATIVE);
	meter = (struct window_meter){ .windows = stage.machine->windows, .cost = &cost };
	stage.scene.steps = 10;
	MUST(&stage, scene_map_many);
	MUST(&stage, scene_touch_many); /* before: filled by reading, upgraded by writing */
	window_meter_start(&meter);
	ck_assert_uint_eq(window_meter_stop(&meter), 0);
	port_write_cr3(port_read_cr3()); /* between: ten drops */
	window_meter_start(&meter);
	MUST(&stage, scene_touch_many);
	ck_assert_uint_eq(window_meter_stop(&meter), 10 * cost.fill);
	window_meter_start(&meter);
	MUST(&stage, scene_touch_many); /* all there */
	ck_assert_uint_eq(window_meter_stop(&meter), 0);
	window_meter_start(&meter);
	port_write_cr3(port_read_cr3());
	ck_assert_uint_eq(window_meter_stop(&meter), 10 * cost.drop);
	ck_assert_uint_eq(meter.lab_ns, 10 * cost.fill + 10 * cost.drop);
	meter.cost = NULL;
	window_meter_start(&meter);
	MUST(&stage, scene_touch_many);
	ck_assert_uint_eq(window_meter_stop(&meter), 0);
	stage_close(&stage);
}
END_TEST

/* ---- the stale checker ---- */

/* Which scenarios rely on something stale, on purpose. */
static const char *const stale_scenarios[] = { "forgotten_invlpg_reads_the_old_frame",
					       "recursive_slot_shows_the_tables",
					       "recursive_slot_goes_stale",
					       "large_page_is_one_translation",
					       "cr3_spares_global_pages",
					       "pcids_keep_their_translations",
					       NULL };

/* Plays a probed scenario with or without the checker; the stage is left open for its findings. */
static void play_checked(struct stage *stage, enum machine_arch arch, unsigned number, bool check)
{
	struct machine_config *config = config_for(arch);

	config->stale_check = check;
	stage_open_with(stage, config, PASS_PROBED);
	stage->collects = true;
	stage_run(stage, probed_scenarios[number].run);
	machine_config_free(config);
}

START_TEST(stale_uses_are_found_where_they_are_and_nowhere_else)
{
	const struct scenario *scenario = &probed_scenarios[_i / 2];
	bool stale = g_strv_contains(stale_scenarios, scenario->name);
	enum machine_arch arch = _i % 2;
	struct stage stage;

	if (scenario->only_wide && arch == MACHINE_I386)
		return;
	play_checked(&stage, arch, (unsigned)_i / 2, true);
	if (!stale)
		ck_assert_msg(stage.findings == 0, "%s: %s", scenario->name, stage.finding[0]);
	else
		ck_assert_msg(stage.findings > 0, "%s: nobody noticed", scenario->name);
	if (stale)
		ck_assert_msg(g_str_has_prefix(stage.finding[0], "stale: "), "%s",
			      stage.finding[0]);
	stage_close(&stage);
	play_checked(&stage, arch, (unsigned)_i / 2, false);
	ck_assert_uint_eq(stage.findings, 0);
	stage_close(&stage);
}
END_TEST

START_TEST(a_stale_use_names_the_access_and_the_write)
{
	unsigned number = 0;
	struct stage stage;

	while (strcmp(scenarios[number].name, "forgotten_invlpg_reads_the_old_frame") != 0)
		number++;
	play_checked(&stage, MACHINE_X86_64, number, true);
	const char *said = stage.finding[0];
	ck_assert_msg(strstr(said, "a load of 0xfffffe8000000000 by CPU 0 goes on to physical 0x"),
		      "%s", said);
	ck_assert_msg(strstr(said, "where the tables now say 0x"), "%s", said);
	ck_assert_msg(strstr(said, "was last written at tests/window/scenarios.c:"), "%s", said);
	ck_assert_msg(strstr(said, ", at tests/window/scenarios.c:"), "%s", said);
	stage_close(&stage);
}
END_TEST

START_TEST(a_missing_shootdown_is_a_stale_use_of_the_other_cpu)
{
	struct machine_config *config = config_for(_i);
	struct stage stage;

	config->cpus = 2;
	config->stale_check = true;
	stage_open_with(&stage, config, PASS_PROBED);
	stage.collects = true;
	MUST(&stage, scene_two_frames);
	MUST(&stage, scene_sees_first);
	machine_set_cpu(stage.machine, 1);
	MUST(&stage, scene_sees_first);
	ck_assert_uint_eq(stage.findings, 0);
	machine_set_cpu(stage.machine, 0);
	MUST(&stage, scene_changes_over);
	MUST(&stage, scene_sees_second);
	ck_assert_uint_eq(stage.findings, 0);
	machine_set_cpu(stage.machine, 1);
	MUST(&stage, scene_sees_first);
	ck_assert_uint_eq(stage.findings, 1);
	ck_assert_msg(strstr(stage.finding[0], "by CPU 1"), "%s", stage.finding[0]);
	stage_close(&stage);
	machine_config_free(config);
}
END_TEST

/* How a page table's frame gets to somebody else, and what is said of the next walk. */
static const struct {
	const char *name;
	scenario_fn frees, reuses;
	const char *said; /* NULL: nothing */
	const char *why;
} recyclings[] = {
	{ "no INVLPG", probed_scene_frees_the_table_silently, probed_scene_reuses_the_table,
	  "in a frame that was handed out again (handle 2)", "no invalidation reached this CPU" },
	{ "still entered", probed_scene_frees_the_table_in_use, probed_scene_reuses_the_table,
	  "in a frame that was handed out again (handle 2)", "the tables still lead there" },
	{ "as it must be", probed_scene_frees_the_table, probed_scene_reuses_it_as_a_table, NULL,
	  NULL },
};

/* The ledger of a kernel whose lowest table for the window is handle 1. */
static struct ledger *ledger_with_table(const struct stage *stage, uint64_t table)
{
	uint64_t frames = stage->machine->ram.size / X86_PAGE_BYTES;
	struct ledger *ledger = ledger_new(frames);
	struct ledger_finding finding;

	ledger_assign(ledger, 0, frames, LEDGER_TABLE);
	ledger_assign(ledger, table, 1, LEDGER_FREE);
	ledger_seal(ledger);
	ck_assert_int_eq(ledger_take(ledger, table, 1, 1, 1, LEDGER_HANDLE_BASE + 1, 0, &finding),
			 LEDGER_OK);
	return ledger;
}

static void must_run(struct stage *stage, scenario_fn run)
{
	stage_must(stage, NULL, run);
}

static void recycle(struct stage *stage, unsigned way)
{
	struct ledger_finding finding;

	stage->collects = stage->only_stale = true;
	must_run(stage, probed_scene_makes_a_table);
	uint64_t table = stage->scene.second.n;
	struct ledger *ledger = ledger_with_table(stage, table);
	probe_set_ledger(ledger);
	must_run(stage, probed_scene_sees_first);
	must_run(stage, recyclings[way].frees);
	ck_assert_int_eq(ledger_release(ledger, table, 1, 1, LEDGER_HANDLE_BASE + 1, &finding),
			 LEDGER_OK);
	ck_assert_int_eq(ledger_take(ledger, table, 1, 1, 1, LEDGER_HANDLE_BASE + 2, 0, &finding),
			 LEDGER_OK);
	must_run(stage, recyclings[way].reuses);
	ck_assert_uint_eq(stage->findings, 0);
	must_run(stage, probed_scene_looks_at_the_next_page);
	probe_set_ledger(NULL);
	ledger_free(ledger);
}

START_TEST(a_walk_through_a_recycled_table_is_noticed)
{
	const char *name = recyclings[_i / 4].name, *said = recyclings[_i / 4].said;
	struct machine_config *config = config_for(_i % 2);
	bool check = _i / 2 % 2;
	struct stage stage;

	config->stale_check = check;
	stage_open_with(&stage, config, PASS_PROBED);
	recycle(&stage, (unsigned)_i / 4);
	if (!check || !said) {
		ck_assert_msg(stage.findings == 0, "%s: %s", name, stage.finding[0]);
	} else {
		ck_assert_msg(stage.findings > 0, "%s: nobody noticed", name);
		ck_assert_msg(strstr(stage.finding[0], said), "%s: %s", name, stage.finding[0]);
		ck_assert_msg(strstr(stage.finding[0], recyclings[_i / 4].why), "%s: %s", name,
			      stage.finding[0]);
	}
	stage_close(&stage);
	machine_config_free(config);
}
END_TEST

/* ---- the host ---- */

static void touch_and_keep_errno(void *argument)
{
	struct stage *stage = argument;

	errno = ERANGE;
	stage->line = scene_sees_first(&stage->scene);
	stage->line += errno != ERANGE;
}

START_TEST(errno_survives_a_fill)
{
	struct stage stage;

	stage_open(&stage, MACHINE_X86_64, PASS_NATIVE);
	MUST(&stage, scene_two_frames);
	ck_assert(trap_run(touch_and_keep_errno, &stage, &stage.report));
	ck_assert_int_eq(stage.line, 0);
	stage_close(&stage);
}
END_TEST

static gpointer play_everything(gpointer data)
{
	unsigned way = GPOINTER_TO_UINT(data);

	for (unsigned round = 0; round < 3; round++)
		for (unsigned n = 0; scenarios[n].name; n++)
			play(way % 2, way / 2, n);
	return NULL;
}

START_TEST(threads_have_machines_of_their_own)
{
	GThread *threads[WAYS];

	for (unsigned i = 0; i < WAYS; i++)
		threads[i] = g_thread_new("kernel", play_everything, GUINT_TO_POINTER(i));
	for (unsigned i = 0; i < WAYS; i++)
		g_thread_join(threads[i]);
}
END_TEST

#define OTHER_CPUS 3

static const struct stage *shared_stage;

/* A host thread that is another CPU of the machine. */
static gpointer touch_as_cpu(gpointer number)
{
	struct stage mine = { .machine = shared_stage->machine, .scene = shared_stage->scene };

	machine_enter_as(mine.machine, GPOINTER_TO_UINT(number));
	MUST(&mine, scene_touch_many);
	for (uint64_t i = 0; i < mine.scene.steps; i++)
		port_invlpg(vaddr_add(mine.scene.window, i * FRAME_BYTES));
	MUST(&mine, scene_touch_many);
	machine_leave();
	return NULL;
}

/* More pages than fills, so that each thread's fills evict the others', and INVLPG of pages that
 * the others touch. The fills' own lock is all that stands between them. */
START_TEST(threads_share_the_windows_of_one_machine)
{
	struct machine_config *config = config_for(_i);
	struct window_statistics count;
	GThread *threads[OTHER_CPUS];
	struct stage stage;

	config->windows = 64;
	config->cpus = 1 + OTHER_CPUS;
	stage_open_with(&stage, config, PASS_NATIVE);
	MUST(&stage, scene_map_many);
	shared_stage = &stage;
	for (unsigned i = 0; i < OTHER_CPUS; i++)
		threads[i] = g_thread_new("kernel", touch_as_cpu, GUINT_TO_POINTER(i + 1));
	MUST(&stage, scene_touch_many);
	for (unsigned i = 0; i < OTHER_CPUS; i++)
		g_thread_join(threads[i]);
	count = statistics(&stage);
	ck_assert_uint_gt(count.drops, 0);
	ck_assert_uint_gt(count.evictions, stage.scene.steps);
	ck_assert_uint_eq(count.faults, 0);
	stage_close(&stage);
	machine_config_free(config);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("windows");
	TCase *one = tcase_create("scenarios");
	int count = 0;

	while (scenarios[count].name)
		count++;
	tcase_add_loop_test(one, scenario_holds, 0, count * WAYS);
	tcase_add_test(one, the_program_outlives_all_deaths);
	tcase_add_test(one, a_report_says_what_the_walk_met);
	tcase_set_timeout(one, 60);
	suite_add_tcase(suite, one);

	one = tcase_create("the lab's view");
	tcase_add_loop_test(one, fills_upgrades_drops_and_evictions_are_counted, 0, MACHINE_ARCHS);
	tcase_add_test(one, what_windows_cost_is_calibrated);
	tcase_add_loop_test(one, a_meter_charges_what_happens_between_its_stamps, 0, MACHINE_ARCHS);
	tcase_add_loop_test(one, a_missing_shootdown_shows_in_the_probed_pass, 0, WAYS);
	tcase_add_loop_test(one, cpus_with_other_address_spaces_do_not_share_fills, 0,
			    MACHINE_ARCHS);
	suite_add_tcase(suite, one);

	one = tcase_create("stale");
	tcase_add_loop_test(one, stale_uses_are_found_where_they_are_and_nowhere_else, 0,
			    count * MACHINE_ARCHS);
	tcase_add_test(one, a_stale_use_names_the_access_and_the_write);
	tcase_add_loop_test(one, a_missing_shootdown_is_a_stale_use_of_the_other_cpu, 0,
			    MACHINE_ARCHS);
	tcase_add_loop_test(one, a_walk_through_a_recycled_table_is_noticed, 0,
			    (int)G_N_ELEMENTS(recyclings) * 4);
	suite_add_tcase(suite, one);

	one = tcase_create("the host");
	tcase_add_test(one, errno_survives_a_fill);
	tcase_add_test(one, threads_have_machines_of_their_own);
	tcase_add_loop_test(one, threads_share_the_windows_of_one_machine, 0, MACHINE_ARCHS);
	tcase_set_timeout(one, 60);
	suite_add_tcase(suite, one);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
