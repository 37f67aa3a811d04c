#include "sim/check.h"

#include <string.h>
#include <sys/resource.h>

#include "sim/check_ops.h"
#include "sim/check_trial.h"
#include "sim/lab.h"
#include "sim/random.h"
#include "sim/replay.h"
#include "sim/run.h"
#include "sim/shrink.h"
#include "workloads/memory_map.h"

#define AUDITS		 64 /* of a sequence */
#define WIDE_FRAMES	 (1u << 21)
#define AUDITS_WIDE	 4
#define SHRINK_TRIALS	 600
#define SHRINK_HANGS	 40 /* each costs HANG_MS */
#define HANG_MS		 300
#define HANG_BARE_TIMES	 8
#define REPLAY_MS	 20000
#define SHORT_OPERATIONS 120 /* before a double free, which may be the end of the allocator */

/* ---- what is tried ---- */

struct suite {
	const struct check_config *config;
	struct check_report *report;
	const char *map_name;
	GArray *memory_map;
	struct machine_config *machine;
	GArray *failing; /* operations; NULL: none failed */
	struct trial trial;
	struct trial_outcome outcome;
	GPtrArray *words; /* char *: what was set, "frames.max-order=1" */
};

/* An audit costs some systems a look at every frame between the first and the last. */
static uint64_t audit_every(const struct suite *suite, const GArray *operations)
{
	uint64_t frames = memory_map_end(suite->memory_map) >> X86_PAGE_SHIFT;
	uint64_t audits = frames <= WIDE_FRAMES ? AUDITS : AUDITS_WIDE;

	return MAX(1, operations->len / audits);
}

static void count(struct suite *suite, const GArray *operations)
{
	suite->report->configurations++;
	suite->report->refused += suite->outcome.refused;
	if (!suite->outcome.refused) {
		suite->report->operations += operations->len;
		suite->report->unserved += suite->outcome.failures;
	}
}

/* Runs OPERATIONS (taken). False with error; a failure is kept in the suite. */
static bool try_operations(struct suite *suite, GArray *operations, GError **error)
{
	suite->trial.operations = operations;
	suite->trial.audit_every = audit_every(suite, operations);
	bool fine = trial_run(&suite->trial, &suite->outcome, error);
	if (fine)
		count(suite, operations);
	if (fine && suite->outcome.failed)
		suite->failing = operations;
	else
		g_array_unref(operations);
	return fine;
}

static bool over(const struct suite *suite)
{
	return suite->failing != NULL;
}

/* Every configuration has its own numbers, whatever others there are. */
static uint64_t seed_of(const struct suite *suite, uint64_t variant)
{
	uint64_t seed = random_mix(suite->config->seed + 1);

	for (const char *c = suite->map_name; *c; c++)
		seed = random_mix(seed ^ (uint64_t)*c);
	return random_mix(seed ^ variant);
}

/* One setting on the present map: use in general, what ends in a double free, and all there is. */
static bool try_setting(struct suite *suite, GError **error)
{
	unsigned caps = suite->config->frames[PASS_NATIVE]->caps;
	uint64_t operations = suite->config->operations;

	if (!try_operations(suite,
			    check_ops_generate(suite->memory_map, caps, seed_of(suite, 0),
					       operations, false),
			    error))
		return false;
	if (over(suite) || suite->outcome.refused)
		return true;
	if (!try_operations(suite,
			    check_ops_generate(suite->memory_map, caps, seed_of(suite, 1),
					       MIN(operations, SHORT_OPERATIONS), true),
			    error))
		return false;
	return over(suite) ||
	       try_operations(suite, check_ops_exhaust(suite->memory_map, seed_of(suite, 2)),
			      error);
}

static void set_defaults(struct suite *suite)
{
	frame_config_defaults(suite->config->frames[PASS_NATIVE], &suite->trial.frame_config);
	suite->trial.frame_config.cpus = CHECK_CPUS;
	suite->trial.frame_config.seed = suite->config->seed;
	g_ptr_array_set_size(suite->words, 0);
}

static bool try_value(struct suite *suite, unsigned index, uint64_t value, GError **error)
{
	const struct frame_option *option = &suite->config->frames[PASS_NATIVE]->options[index];

	if (over(suite) || value == option->value)
		return true;
	set_defaults(suite);
	suite->trial.frame_config.option[index] = value;
	g_ptr_array_add(
		suite->words,
		option->choices
			? g_strdup_printf("frames.%s=%s", option->key, option->choices[value])
			: g_strdup_printf("frames.%s=%" G_GUINT64_FORMAT, option->key, value));
	return try_setting(suite, error);
}

/* Every choice, or both ends of the numbers. */
static bool try_option(struct suite *suite, unsigned index, GError **error)
{
	const struct frame_option *option = &suite->config->frames[PASS_NATIVE]->options[index];

	for (uint64_t value = 0; option->choices && option->choices[value]; value++)
		if (!try_value(suite, index, value, error))
			return false;
	return option->choices || (try_value(suite, index, option->min, error) &&
				   try_value(suite, index, option->max, error));
}

static bool apply_settings(struct suite *suite, GError **error)
{
	set_defaults(suite);
	for (char **setting = suite->config->settings; setting && *setting; setting++) {
		if (!run_set_frames(suite->config->frames[PASS_NATIVE], &suite->trial.frame_config,
				    *setting, error))
			return false;
		g_ptr_array_add(suite->words, g_strdup(*setting));
	}
	return true;
}

static bool has_settings(const struct suite *suite)
{
	return suite->config->settings && *suite->config->settings;
}

static bool try_map(struct suite *suite, GError **error)
{
	const struct frame_option *options = suite->config->frames[PASS_NATIVE]->options;

	if (!apply_settings(suite, error) || !try_setting(suite, error))
		return false;
	for (unsigned i = 0; !has_settings(suite) && options && options[i].key && !over(suite); i++)
		if (!try_option(suite, i, error))
			return false;
	return true;
}

/* ---- the maps' machines ---- */

/* MEMORY_MAP is taken. */
static void use_map(struct suite *suite, const char *name, GArray *memory_map)
{
	suite->map_name = name;
	suite->memory_map = memory_map;
	suite->machine = machine_config_from_map(name, memory_map);
	suite->machine->cpus = CHECK_CPUS;
	suite->trial.machine = suite->machine;
}

static void drop_map(struct suite *suite)
{
	g_clear_pointer(&suite->memory_map, g_array_unref);
	g_clear_pointer(&suite->machine, machine_config_free);
}

static bool try_all_maps(struct suite *suite, GError **error)
{
	for (const struct check_map *map = check_maps; map->name; map++) {
		GArray *ranges = memory_map_parse(map->e820, strlen(map->e820), map->name, error);
		if (!ranges)
			return false;
		drop_map(suite);
		use_map(suite, map->name, ranges);
		if (!try_map(suite, error))
			return false;
		if (over(suite))
			return true;
	}
	return true;
}

static bool try_trace(struct suite *suite, GError **error)
{
	GArray *memory_map;
	GArray *operations = check_ops_load(suite->config->trace, &memory_map, error);

	if (!operations)
		return false;
	use_map(suite, suite->config->trace, memory_map);
	if (apply_settings(suite, error))
		return try_operations(suite, operations, error);
	g_array_unref(operations);
	return false;
}

/* ---- a failure made small ---- */

static double children_ms(void)
{
	struct rusage usage;

	getrusage(RUSAGE_CHILDREN, &usage);
	return 1e3 * (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       1e-3 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Shrinking would wait for the limit again and again: a multiple of what boot and the audits take
 * is enough. */
static void tighten_limit(struct suite *suite)
{
	GArray *nothing = g_array_new(FALSE, TRUE, sizeof(struct event));
	struct trial trial = suite->trial;
	struct trial_outcome outcome;
	double before = children_ms();

	trial.operations = nothing;
	trial.audit_every = 1;
	if (trial_run(&trial, &outcome, NULL)) {
		double bare = HANG_BARE_TIMES * (children_ms() - before);
		suite->trial.cpu_ms = MIN(suite->trial.cpu_ms, (unsigned)MAX(HANG_MS, bare));
	}
	g_array_unref(nothing);
}

static bool still_fails(void *context, GArray *list)
{
	struct suite *suite = context;
	struct trial trial = suite->trial;
	struct trial_outcome outcome;

	check_ops_make_valid(list);
	trial.operations = list;
	trial.audit_every = audit_every(suite, list);
	if (!trial_run(&trial, &outcome, NULL) || !outcome.failed ||
	    strcmp(outcome.kind, suite->outcome.kind) != 0)
		return false;
	if (outcome.operation < list->len)
		g_array_set_size(list, (guint)outcome.operation + 1);
	suite->outcome = outcome;
	return true;
}

static void shrink(struct suite *suite)
{
	bool hangs = strcmp(suite->outcome.kind, "hang") == 0;
	struct shrink how = { .fails = still_fails,
			      .simplify = check_ops_simplify,
			      .context = suite,
			      .trials_max = hangs ? SHRINK_HANGS : SHRINK_TRIALS };
	GArray *list = suite->failing;

	/* One pass suffices where one pass fails. */
	for (unsigned pass = 0; pass < PASSES && suite->outcome.pass != PASSES; pass++)
		if (pass != suite->outcome.pass)
			suite->trial.frames[pass] = NULL;
	if (hangs)
		tighten_limit(suite);
	if (suite->outcome.operation < list->len)
		g_array_set_size(list, (guint)suite->outcome.operation + 1);
	suite->report->from = list->len;
	suite->failing = shrink_list(&how, list, &suite->report->trials);
	g_array_unref(list);
	/* An empty list fails too where nothing but the boot matters. */
	GArray *nothing = g_array_new(FALSE, TRUE, sizeof(struct event));
	if (suite->failing->len == 1 && still_fails(suite, nothing))
		g_array_set_size(suite->failing, 0);
	g_array_unref(nothing);
}

/* ---- and shown again ---- */

struct replaying {
	const struct suite *suite;
	const char *path;
};

/* Does `kmemlab replay` see it too? */
static bool replay_shows(void *argument)
{
	const struct replaying *replaying = argument;
	const struct suite *suite = replaying->suite;
	struct replay_config config = {
		.trace_path = replaying->path,
		.frames = { suite->config->frames[0], suite->config->frames[1] },
		.machine = suite->machine,
		.frame_config = suite->trial.frame_config,
		.seed = suite->config->seed,
		.place_recorded = true,
		.until = REPLAY_ALL,
		.check_events = 1,
		.command = "",
	};
	struct replay_result result[PASSES] = { 0 };
	uint64_t violations = 0;
	bool differ = config.frames[PASS_PROBED] != NULL;

	for (unsigned pass = 0; pass < PASSES; pass++) {
		if (!config.frames[pass])
			continue;
		if (!replay_pass(&config, pass, NULL, &result[pass], NULL))
			return false;
		violations += result[pass].violations;
	}
	return violations > 0 || (differ && result[0].digest != result[1].digest);
}

static bool ends_the_process(const struct suite *suite)
{
	return strcmp(suite->outcome.kind, "hang") == 0 ||
	       strcmp(suite->outcome.kind, "crash") == 0;
}

static char *again(const struct suite *suite, const char *path)
{
	struct replaying replaying = { suite, path };
	GPtrArray *words = g_ptr_array_new();
	char *seed = g_strdup_printf("%" G_GUINT64_FORMAT, suite->config->seed);
	char *cpus = g_strdup_printf("%u", CHECK_CPUS);
	bool replayed =
		!ends_the_process(suite) && trial_guard(replay_shows, &replaying, REPLAY_MS);
	const char *const common[] = { replayed ? "replay" : "check", path,	"--frames",
				       suite->config->name,	      "--seed", seed };
	const char *const of_replay[] = { "--cpus",	    cpus, "--place", "recorded",
					  "--check-events", "1" };

	for (unsigned i = 0; i < G_N_ELEMENTS(common); i++)
		g_ptr_array_add(words, (gpointer)(uintptr_t)common[i]);
	for (unsigned i = 0; replayed && i < G_N_ELEMENTS(of_replay); i++)
		g_ptr_array_add(words, (gpointer)(uintptr_t)of_replay[i]);
	if (replayed && !suite->config->frames[PASS_PROBED]) {
		g_ptr_array_add(words, (gpointer)(uintptr_t) "--pass");
		g_ptr_array_add(words, (gpointer)(uintptr_t) "native");
	}
	for (guint i = 0; i < suite->words->len; i++) {
		g_ptr_array_add(words, (gpointer)(uintptr_t) "--set");
		g_ptr_array_add(words, g_ptr_array_index(suite->words, i));
	}
	g_ptr_array_add(words, NULL);
	char *command = run_command((char **)words->pdata);
	g_ptr_array_unref(words);
	g_free(seed);
	g_free(cpus);
	return command;
}

static char *where(const struct suite *suite)
{
	GString *text = g_string_new(NULL);

	g_string_printf(text, "map \"%s\"", suite->map_name);
	for (guint i = 0; i < suite->words->len; i++)
		g_string_append_printf(text, ", %s",
				       (const char *)g_ptr_array_index(suite->words, i));
	g_string_append_printf(
		text, ", seed %" G_GUINT64_FORMAT ", %s", suite->config->seed,
		suite->outcome.pass < PASSES
			? (suite->outcome.pass == PASS_NATIVE ? "native pass" : "probed pass")
			: "both passes");
	return g_string_free(text, FALSE);
}

static bool report_failure(struct suite *suite, GError **error)
{
	struct check_report *report = suite->report;
	const struct trial_outcome *outcome = &suite->outcome;

	report->failed = true;
	shrink(suite);
	report->where = where(suite);
	report->message = g_strdup_printf(
		"%s error: %s: %s: %s", strcmp(outcome->kind, "lab") == 0 ? "lab" : "allocator",
		suite->config->frames[PASS_NATIVE]->name, outcome->kind, outcome->message);
	report->lines = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < suite->failing->len; i++)
		g_ptr_array_add(report->lines,
				check_op_text(&g_array_index(suite->failing, struct event, i)));
	report->trace = suite->config->output;
	if (!check_ops_save(suite->failing, suite->memory_map, report->trace, error))
		return false;
	report->command = again(suite, report->trace);
	return true;
}

/* What was read from a file is not shrunk or written again. */
static void report_trace(struct suite *suite)
{
	struct check_report *report = suite->report;

	report->failed = true;
	report->where = where(suite);
	report->message = g_strdup_printf(
		"allocator error: %s: %s: %s, at operation %" G_GUINT64_FORMAT,
		suite->config->frames[PASS_NATIVE]->name, suite->outcome.kind,
		suite->outcome.message, MIN(suite->outcome.operation, suite->failing->len));
}

bool check_frames(const struct check_config *config, struct check_report *report, GError **error)
{
	struct suite suite = {
		.config = config,
		.report = report,
		.trial = { .frames = { config->frames[0], config->frames[1] },
			   .cpu_ms = config->cpu_ms },
		.words = g_ptr_array_new_with_free_func(g_free),
	};

	*report = (struct check_report){ 0 };
	bool fine = config->trace ? try_trace(&suite, error) : try_all_maps(&suite, error);
	if (fine && over(&suite) && config->trace)
		report_trace(&suite);
	else if (fine && over(&suite))
		fine = report_failure(&suite, error);
	drop_map(&suite);
	g_clear_pointer(&suite.failing, g_array_unref);
	g_ptr_array_unref(suite.words);
	return fine;
}

void check_report_clear(struct check_report *report)
{
	g_free(report->where);
	g_free(report->message);
	g_free(report->command);
	g_clear_pointer(&report->lines, g_ptr_array_unref);
}
