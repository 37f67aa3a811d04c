/* One cell: names become structs, both passes run, their results are compared and written. */
#include "sim/run.h"

#include <string.h>
#include <unistd.h>

#include "sim/heap_report.h"
#include "sim/lab.h"
#include "sim/option.h"
#include "sim/plugin.h"
#include "sim/run_json.h"
#include "sim/size.h"
#include "workloads/memory_map.h"

static const char *const start_names[] = { [START_ASCENDING] = "ascending",
					   [START_RECORDED] = "recorded",
					   [START_SHUFFLED] = "shuffled" };

bool run_parse_start(const char *text, struct run_start *start, GError **error)
{
	*start = (struct run_start){ .mode = START_FIXTURE, .fixture = fixture_find(text) };
	if (start->fixture)
		return true;
	for (unsigned i = 0; i < G_N_ELEMENTS(start_names); i++) {
		if (strcmp(text, start_names[i]) == 0) {
			start->mode = i;
			return true;
		}
	}
	return lab_usage(error,
			 "start state '%s' is not ascending, recorded or shuffled, nor a fixture "
			 "(kmemlab list starts)",
			 text);
}

const char *run_start_name(const struct run_start *start)
{
	return start->fixture ? start->fixture->name : start_names[start->mode];
}

/* How many words, from this one on, say where files go or what is printed. */
static unsigned output_words(char *const *words)
{
	static const char *const alone[] = { "--json", "--force", "--quiet", "-q" };
	const char *word = words[0];

	if (strcmp(word, "-o") == 0 || strcmp(word, "--output") == 0)
		return words[1] ? 2 : 1;
	if (g_str_has_prefix(word, "--output=") || g_str_has_prefix(word, "-o"))
		return 1;
	for (unsigned i = 0; i < G_N_ELEMENTS(alone); i++)
		if (strcmp(word, alone[i]) == 0)
			return 1;
	return 0;
}

char *run_command(char *const *words)
{
	GString *command = g_string_new("kmemlab");

	while (*words) {
		unsigned skip = output_words(words);
		if (skip) {
			words += skip;
			continue;
		}
		const char *word = *words++;
		bool plain =
			*word && strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789"
					      "ABCDEFGHIJKLMNOPQRSTUVWXYZ_./:=,+-") == strlen(word);
		char *quoted = plain ? g_strdup(word) : g_shell_quote(word);
		g_string_append_printf(command, " %s", quoted);
		g_free(quoted);
	}
	return g_string_free(command, FALSE);
}

/* ---- settings ---- */

bool run_set_frames(const struct frame_ops *ops, struct frame_config *config, const char *setting,
		    GError **error)
{
	if (!g_str_has_prefix(setting, "frames."))
		return lab_usage(error, "--set %s: frames.KEY=VALUE is expected", setting);
	return option_set(ops->options, ops->name, setting, config->option, error);
}

bool run_set_heap(const struct heap_ops *ops, struct heap_config *config, const char *setting,
		  GError **error)
{
	if (!g_str_has_prefix(setting, "heap."))
		return lab_usage(error, "--set %s: heap.KEY=VALUE is expected", setting);
	return option_set(ops->options, ops->name, setting, config->option, error);
}

static bool apply_setting(const char *setting, struct replay_config *replay,
			  struct space_choice *choice, struct machine_config *machine,
			  GError **error)
{
	const char *equals = strchr(setting, '=');

	if (!equals)
		return lab_usage(error, "--set %s: SLOT.KEY=VALUE is expected", setting);
	char *key = g_strndup(setting, (gsize)(equals - setting));
	bool fine;
	if (g_str_has_prefix(key, "frames."))
		fine = run_set_frames(replay->frames[PASS_NATIVE], &replay->frame_config, setting,
				      error);
	else if (g_str_has_prefix(key, "heap."))
		fine = replay->heap[PASS_NATIVE]
			       ? run_set_heap(replay->heap[PASS_NATIVE], &replay->heap_config,
					      setting, error)
			       : lab_usage(error, "--set %s: there is no heap (--heap)", setting);
	else if (g_str_has_prefix(key, "tables.") || g_str_has_prefix(key, "space."))
		fine = space_choice_set(choice, setting, error);
	else if (g_str_has_prefix(key, "machine."))
		fine = machine_config_set(machine, key + strlen("machine."), equals + 1, error);
	else
		fine = lab_usage(error,
				 "--set %s: the slots are frames, heap, tables, space and machine",
				 setting);
	g_free(key);
	return fine;
}

bool run_find_heap(const char *name, const struct heap_ops *heap[PASSES], GError **error)
{
	if (plugin_is_path(name))
		return plugin_load_heap(name, heap, error);
	for (unsigned pass = 0; pass < PASSES; pass++)
		heap[pass] = kernels[pass].heap_find(name);
	if (!heap[PASS_NATIVE] || !heap[PASS_PROBED])
		return lab_usage(error, "unknown heap '%s' (kmemlab list heaps)", name);
	return true;
}

bool run_find_frames(const char *name, const struct frame_ops *frames[PASSES], GError **error)
{
	if (plugin_is_path(name))
		return plugin_load(name, frames, error);
	for (unsigned pass = 0; pass < PASSES; pass++)
		frames[pass] = kernels[pass].frame_find(name);
	if (!frames[PASS_NATIVE] || !frames[PASS_PROBED])
		return lab_usage(error, "unknown page-frame allocator '%s' (kmemlab list frames)",
				 name);
	return true;
}

static bool find_heap(const char *name, struct replay_config *replay, GError **error)
{
	if (!name)
		return true;
	if (!run_find_heap(name, replay->heap, error))
		return false;
	heap_config_defaults(replay->heap[PASS_NATIVE], &replay->heap_config);
	return true;
}

char *run_label(const char *name, const char *slot, char **settings)
{
	GString *label = g_string_new(NULL);
	char *base = plugin_is_path(name) ? g_path_get_basename(name) : g_strdup(name);
	char *prefix = g_strconcat(slot, ".", NULL);
	char mark = ':';

	g_string_append(label, base);
	g_free(base);
	for (char **setting = settings; setting && *setting; setting++) {
		if (!g_str_has_prefix(*setting, prefix))
			continue;
		g_string_append_printf(label, "%c%s", mark, *setting + strlen(prefix));
		mark = ',';
	}
	g_free(prefix);
	return g_string_free(label, FALSE);
}

/* Passes that are asked for and that the system has. */
static bool choose_passes(const struct run_config *config, const char *without_probed,
			  bool pass[PASSES], GError **error)
{
	pass[PASS_NATIVE] = config->pass[PASS_NATIVE];
	pass[PASS_PROBED] = config->pass[PASS_PROBED] && !without_probed;
	return pass[PASS_NATIVE] || pass[PASS_PROBED] ||
	       lab_usage(error, "--pass probed: %s has no probed half", without_probed);
}

static bool find_frames(const char *name, struct replay_config *replay, GError **error)
{
	if (!run_find_frames(name, replay->frames, error))
		return false;
	const struct frame_ops *ops = replay->frames[PASS_NATIVE];
	for (unsigned i = 0; ops->options && ops->options[i].key; i++)
		replay->frame_config.option[i] = ops->options[i].value;
	return true;
}

/* ---- the machine ---- */

/* "512M", or "2x": a multiple of the machine's own usable RAM. */
static bool set_ram(struct machine_config *machine, const char *text, GError **error)
{
	uint64_t bytes;
	char *end = NULL;

	if (!text)
		return true;
	if (g_str_has_suffix(text, "x")) {
		double factor = g_ascii_strtod(text, &end);
		if (end != text + strlen(text) - 1 || !(factor > 0 && factor < 1e6))
			return lab_usage(error, "--ram: '%s' is no multiple", text);
		bytes = (uint64_t)((double)memory_map_usable_frames(machine->memory_map) * factor) *
			FRAME_BYTES;
	} else if (!size_parse(text, &bytes)) {
		return lab_usage(
			error,
			"--ram: '%s' is no size (a number with K, M, G or T, or a multiple as 2x)",
			text);
	}
	return machine_config_resize(machine, bytes, error);
}

static struct machine_config *make_machine(const struct run_config *config,
					   struct run_result *result, struct replay_config *replay,
					   struct space_choice *choice, GError **error)
{
	struct trace_reader *reader = trace_reader_open(config->trace_path, error);
	struct machine_config *machine = NULL;

	if (!reader)
		return NULL;
	const struct trace_meta *meta = trace_reader_meta(reader);
	bool recorded = strcmp(config->machine, "recorded") == 0;
	machine = recorded ? machine_config_from_map("recorded", meta->memory_map)
			   : machine_config_new(config->machine, error);
	result->machine_known = !recorded || meta->machine_recorded;
	unsigned cpus = config->cpus ? config->cpus : CLAMP(meta->cpus, 1, RECORDER_CPUS_MAX);
	trace_reader_free(reader);
	if (!machine)
		return NULL;
	machine->cpus = cpus;
	replay->frame_config.cpus = cpus;
	replay->heap_config.cpus = cpus;
	bool fine = true;
	for (char **setting = config->settings; fine && setting && *setting; setting++)
		fine = apply_setting(*setting, replay, choice, machine, error);
	if (fine && strcmp(config->tables, "none") == 0)
		machine->paging = false;
	if (fine && set_ram(machine, config->ram, error))
		return machine;
	machine_config_free(machine);
	return NULL;
}

uint64_t run_host_memory(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) / 2 * (uint64_t)sysconf(_SC_PAGESIZE);
}

static bool fits_host(const struct run_config *config, const struct replay_config *replay,
		      GError **error)
{
	uint64_t limit = config->host_memory_bytes ? config->host_memory_bytes : run_host_memory();
	uint64_t bytes = memory_map_usable_frames(replay->machine->memory_map) * FRAME_BYTES;

	if (!(replay->frames[PASS_NATIVE]->caps & FRAME_CAP_TOUCHES_ALL) || bytes <= limit)
		return true;
	char *need = size_format(bytes), *have = size_format(limit);
	lab_usage(error,
		  "%s writes into every free frame at start: %s of simulated RAM would be host "
		  "memory, "
		  "and --host-memory is %s",
		  config->frames, need, have);
	g_free(need);
	g_free(have);
	return false;
}

/* ---- the smallest RAM that boots ---- */

static bool boots_with(const struct replay_config *replay, uint64_t bytes)
{
	struct machine_config *config = machine_config_copy(replay->machine);
	bool booted = false;

	if (machine_config_resize(config, bytes, NULL)) {
		struct machine *machine = machine_new(config, NULL);
		if (machine && replay->spaces &&
		    !space_lab_make_room(machine, replay->frames[PASS_NATIVE], replay->spaces,
					 PASS_NATIVE, NULL))
			g_clear_pointer(&machine, machine_free);
		if (machine) {
			machine_enter(machine);
			booted = machine_boot(machine, kernels[PASS_NATIVE].boot,
					      replay->frames[PASS_NATIVE], &replay->frame_config,
					      NULL);
			machine_leave();
			machine_free(machine);
		}
	}
	machine_config_free(config);
	return booted;
}

/* 0: no size up to LIMIT does. */
static uint64_t smallest_ram(const struct replay_config *replay, uint64_t limit)
{
	uint64_t fails = 0, works = FRAME_BYTES;

	while (works < limit && !boots_with(replay, works)) {
		fails = works;
		works *= 2;
	}
	if (works >= limit)
		return 0;
	while (works - fails > FRAME_BYTES) {
		uint64_t middle = (fails + (works - fails) / 2) & ~(FRAME_BYTES - 1);
		if (boots_with(replay, middle))
			works = middle;
		else
			fails = middle;
	}
	return works;
}

/* Adds what size would work to a complaint that the memory manager cannot boot. */
static void suggest_ram(const struct replay_config *replay, GError **error)
{
	if (!error || !*error || !g_error_matches(*error, LAB_ERROR, LAB_ERROR_BOOT))
		return;
	uint64_t works = smallest_ram(replay, 64ull << 30);
	char *text = works ? size_format(works) : NULL;
	char *message =
		text ? g_strdup_printf("%s; the smallest RAM that works is %s", (*error)->message,
				       text)
		     : g_strdup_printf("%s; no size up to 64G works either", (*error)->message);
	g_free((*error)->message);
	(*error)->message = message;
	g_free(text);
}

/* ---- passes ---- */

static bool run_passes(const struct run_config *config, const struct replay_config *replay,
		       struct run_result *result, GError **error)
{
	bool wanted[PASSES];

	result->without_probed = !replay->frames[PASS_PROBED]		      ? config->frames
				 : config->heap && !replay->heap[PASS_PROBED] ? config->heap
									      : NULL;
	if (!choose_passes(config, result->without_probed, wanted, error))
		return false;
	for (unsigned pass = 0; pass < PASSES; pass++) {
		struct recorder *recorder = NULL;
		if (!wanted[pass])
			continue;
		/* The first pass samples; placements, and so samples, are the same in both. */
		/* With host threads there is no state at an event. */
		if (!result->recorder && !config->threads) {
			struct recorder_config recording = {
				.sample_events = config->sample_events,
				.sample_ns = config->sample_ns,
				.map_frames = RECORDER_MAP_FRAMES,
				.slow_threshold_ns = RECORDER_SLOW_NS,
				.time = pass == PASS_NATIVE,
				.heap = config->heap != NULL,
			};
			recorder = result->recorder = recorder_new(&recording, result->files);
		}
		if (!replay_pass(replay, pass, recorder, &result->pass[pass], error))
			return false;
		result->done[pass] = true;
		result->violations += result->pass[pass].violations;
	}
	if (result->done[PASS_NATIVE] && result->done[PASS_PROBED])
		result->digests_differ =
			result->pass[PASS_NATIVE].digest != result->pass[PASS_PROBED].digest ||
			result->pass[PASS_NATIVE].events != result->pass[PASS_PROBED].events ||
			result->pass[PASS_NATIVE].spaces.contents !=
				result->pass[PASS_PROBED].spaces.contents;
	return true;
}

static void write_json(struct result *files, const char *name, JsonNode *node)
{
	result_json(files, name, node);
	json_node_unref(node);
}

static bool write_files(const struct run_config *config, struct run_result *result, GError **error)
{
	enum kernel_pass speaker = result->done[PASS_NATIVE] ? PASS_NATIVE : PASS_PROBED;

	if (!result->files)
		return true;
	recorder_write_latency(result->recorder);
	run_write_events(result);
	if (config->heap)
		heap_report_write(result->files, &result->pass[speaker].heap);
	write_json(result->files, "run.json", run_json(config, result));
	if (result->done[PASS_NATIVE])
		write_json(result->files, "timing.json", run_timing(result));
	return result_commit(g_steal_pointer(&result->files), error);
}

/* Page tables and spaces: chosen even where no processes are replayed, for --set. */
static bool choose_spaces(const struct run_config *config, struct replay_config *replay,
			  struct space_choice *choice, GError **error)
{
	const char *space = config->space ? config->space : "none";

	if (!space_choice_find(choice, config->tables, space, error))
		return false;
	replay->spaces = strcmp(space, "none") != 0 ? choice : NULL;
	return true;
}

/* Does the machine take the systems? Nothing is booted. */
static bool machine_takes(const struct replay_config *replay, GError **error)
{
	struct machine *machine = machine_new(replay->machine, error);

	if (!machine)
		return false;
	bool fine = !replay->spaces || space_lab_make_room(machine, replay->frames[PASS_NATIVE],
							   replay->spaces, PASS_NATIVE, error);
	machine_free(machine);
	return fine;
}

bool run_possible(const struct run_config *config, GError **error)
{
	struct replay_config replay = { 0 };
	struct run_result result = { 0 };
	struct space_choice choice = { 0 };

	bool fine = find_frames(config->frames, &replay, error) &&
		    find_heap(config->heap, &replay, error) &&
		    choose_spaces(config, &replay, &choice, error) &&
		    (result.machine = make_machine(config, &result, &replay, &choice, error));
	replay.machine = result.machine;
	fine = fine && machine_takes(&replay, error);
	run_result_clear(&result);
	return fine;
}

bool run_cell(const struct run_config *config, struct run_result *result, GError **error)
{
	struct replay_config replay = {
		.trace_path = config->trace_path,
		.frame_config = { .seed = config->seed },
		.seed = config->seed,
		.start = config->start.mode,
		.fixture = config->start.fixture,
		.place_recorded = config->place_recorded,
		.until = config->until,
		.check_events = config->check_events,
		.guard = config->guard,
		.fail_frames = config->fail_frames,
		.limit_ms = config->limit_ms,
		.threads = config->threads,
		.command = config->command,
	};

	struct space_choice choice = { 0 };

	*result = (struct run_result){ 0 };
	if (!find_frames(config->frames, &replay, error) ||
	    (replay.fixture &&
	     !fixture_can_reach(replay.fixture, replay.frames[PASS_NATIVE], error)) ||
	    !find_heap(config->heap, &replay, error) ||
	    !choose_spaces(config, &replay, &choice, error))
		return false;
	replay.heap_config.seed = config->seed;
	if (plugin_is_path(config->frames))
		result->frames_sha256 = lab_file_sha256(config->frames);
	if (config->heap && plugin_is_path(config->heap))
		result->heap_sha256 = lab_file_sha256(config->heap);
	result->machine = make_machine(config, result, &replay, &choice, error);
	if (!result->machine)
		return false;
	result->trace_sha256 = lab_file_sha256(config->trace_path);
	replay.machine = result->machine;
	if (config->threads > result->machine->cpus)
		return lab_usage(error,
				 "--threads %u: the machine has %u CPUs; --cpus N gives it more",
				 config->threads, result->machine->cpus);
	if (!fits_host(config, &replay, error))
		return false;
	if (config->output && !(result->files = result_new(config->output, config->replace, error)))
		return false;
	if (!run_passes(config, &replay, result, error)) {
		suggest_ram(&replay, error);
		return false;
	}
	return write_files(config, result, error);
}

void run_result_clear(struct run_result *result)
{
	for (unsigned pass = 0; pass < PASSES; pass++)
		replay_result_clear(&result->pass[pass]);
	g_clear_pointer(&result->recorder, recorder_free);
	g_clear_pointer(&result->files, result_abort);
	g_clear_pointer(&result->machine, machine_config_free);
	g_clear_pointer(&result->trace_sha256, g_free);
	g_clear_pointer(&result->frames_sha256, g_free);
	g_clear_pointer(&result->heap_sha256, g_free);
}
