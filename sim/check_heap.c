#include "sim/check_heap.h"

#include <string.h>
#include <unistd.h>

#include "sim/lab.h"
#include "sim/random.h"
#include "sim/replay.h"
#include "sim/run.h"
#include "sim/shrink.h"
#include "workloads/trace.h"

#define CPUS	      4u
#define LIVE_MAX      300u
#define AUDITS	      64u
#define SHRINK_TRIALS 400u

/* What changes no placement. */
#define GUARD		   (HEAP_GUARD_POISON | HEAP_GUARD_ACCESS | HEAP_GUARD_MISUSE)
#define FAILING_OPERATIONS 200u

/* Frame allocators of different kinds: rounding up, exact, single frames. */
static const char *const frame_names[] = { "buddy", "bitmap", "stack" };
/* The second is less than the operations ask for. */
static const uint64_t ram_bytes[] = { 64ull << 20, 3ull << 20 };

struct heap_op {
	uint8_t kind; /* EVENT_HEAP_ALLOC, _REALLOC, _FREE */
	uint8_t cpu;
	uint32_t align;
	uint32_t handle;
	uint64_t bytes;
};

struct suite {
	const struct check_config *config;
	struct check_report *report;
	struct replay_config replay;
	const char *frames, *words; /* of the configuration: "heap.policy=best-fit", or "" */
	uint64_t frame_requests;    /* of the last native pass that found nothing */
	uint64_t ram;
	char *path;	 /* of the trace of a trial */
	char *message;	 /* of the last trial that failed */
	bool refused;	 /* the last trial's memory manager did not start */
	GArray *failing; /* struct heap_op; NULL: none */
};

/* ---- operations ---- */

static uint64_t some_bytes(struct random *random)
{
	uint64_t limit = 1ull << random_below(random, 18);

	/* Now and then more than there is. */
	if (random_below(random, 64) == 0)
		return HEAP_BYTES_MAX >> random_below(random, 20);
	return random_below(random, limit + 1);
}

static uint32_t some_align(struct random *random)
{
	return random_below(random, 6) ? 0 : 1u << random_below(random, 21);
}

static GArray *random_operations(uint64_t seed, uint64_t count)
{
	struct random random = random_seeded(seed);
	GArray *list = g_array_new(FALSE, TRUE, sizeof(struct heap_op));
	uint32_t live[LIVE_MAX], next = 1;
	unsigned alive = 0;

	for (uint64_t i = 0; i < count; i++) {
		struct heap_op op = { .kind = EVENT_HEAP_ALLOC,
				      .cpu = (uint8_t)random_below(&random, CPUS) };
		uint64_t dice = random_below(&random, 16);
		unsigned victim = alive ? (unsigned)random_below(&random, alive) : 0;
		op.bytes = some_bytes(&random);
		if (alive == 0 || (dice < 9 && alive < LIVE_MAX)) {
			op.align = some_align(&random);
			op.handle = live[alive++] = next++;
		} else if (dice < 11) {
			op.kind = EVENT_HEAP_REALLOC;
			op.handle = live[victim];
		} else {
			op.kind = EVENT_HEAP_FREE;
			op.bytes = 0;
			op.handle = live[victim];
			live[victim] = live[--alive];
		}
		g_array_append_val(list, op);
	}
	return list;
}

/* Leaves out what acts on objects that are not there. */
static void make_valid(GArray *list)
{
	GHashTable *live = g_hash_table_new(NULL, NULL);
	guint kept = 0;

	for (guint i = 0; i < list->len; i++) {
		struct heap_op op = g_array_index(list, struct heap_op, i);
		gpointer key = GUINT_TO_POINTER(op.handle);
		bool there = g_hash_table_contains(live, key);
		if (there == (op.kind == EVENT_HEAP_ALLOC))
			continue;
		if (op.kind == EVENT_HEAP_ALLOC)
			g_hash_table_add(live, key);
		else if (op.kind == EVENT_HEAP_FREE)
			g_hash_table_remove(live, key);
		g_array_index(list, struct heap_op, kept++) = op;
	}
	g_array_set_size(list, kept);
	g_hash_table_unref(live);
}

static char *describe(const struct heap_op *op)
{
	switch (op->kind) {
	case EVENT_HEAP_ALLOC:
		return g_strdup_printf("object %u: alloc %" G_GUINT64_FORMAT
				       " bytes, aligned to %u, CPU %u",
				       op->handle, op->bytes, op->align, op->cpu);
	case EVENT_HEAP_REALLOC:
		return g_strdup_printf("object %u: realloc to %" G_GUINT64_FORMAT " bytes, CPU %u",
				       op->handle, op->bytes, op->cpu);
	default:
		return g_strdup_printf("object %u: free, CPU %u", op->handle, op->cpu);
	}
}

static bool write_trace(const char *path, const GArray *list, const struct machine_config *machine,
			GError **error)
{
	struct trace_writer *writer = trace_writer_new(path, error);
	bool fine = writer != NULL;

	for (guint i = 0; fine && i < list->len; i++) {
		const struct heap_op *op = &g_array_index(list, struct heap_op, i);
		struct event event = { .time_ns = i * 1000ull, .kind = op->kind, .cpu = op->cpu };
		event.task = 1;
		event.u.heap.handle = op->handle;
		event.u.heap.bytes = op->bytes;
		event.u.heap.align_bytes = op->align;
		event.u.heap.site = op->handle;
		fine = trace_writer_add(writer, &event, error);
	}
	if (!fine) {
		if (writer)
			trace_writer_abort(writer);
		return false;
	}
	struct trace_meta *meta = trace_meta_new();
	meta->source = g_strdup("check");
	meta->format = g_strdup("generated");
	meta->machine_recorded = true;
	meta->cpus = CPUS;
	g_array_append_vals(meta->memory_map, machine->memory_map->data, machine->memory_map->len);
	fine = trace_writer_finish(writer, meta, error);
	trace_meta_free(meta);
	return fine;
}

/* ---- one trial ---- */

static void keep_message(struct suite *suite, const char *message)
{
	g_free(suite->message);
	suite->message = g_strdup(message);
}

/* False with error; *FAILED says what was found. The digest of a pass that found nothing is left in
 * *DIGEST. */
static bool run_pass(struct suite *suite, enum kernel_pass pass, bool *failed, uint64_t *digest,
		     GError **error)
{
	struct replay_result result;
	GError *cause = NULL;

	if (!replay_pass(&suite->replay, pass, NULL, &result, &cause)) {
		/* RAM in which it does not start: legal. */
		suite->refused = g_error_matches(cause, LAB_ERROR, LAB_ERROR_BOOT) ||
				 g_error_matches(cause, LAB_ERROR, LAB_ERROR_USAGE);
		if (!suite->refused) {
			g_propagate_error(error, cause);
			return false;
		}
		g_error_free(cause);
		return true;
	}
	*failed = result.violations > 0;
	*digest = result.digest;
	if (*failed && result.violation_list->len)
		keep_message(suite, ((const struct replay_violation *)g_ptr_array_index(
					     result.violation_list, 0))
					    ->message);
	if (pass == PASS_NATIVE && !*failed) {
		suite->report->unserved += result.failures;
		suite->frame_requests = result.heap.frame_requests;
	}
	replay_result_clear(&result);
	return true;
}

static bool trial(struct suite *suite, const GArray *list, bool *failed, GError **error)
{
	uint64_t native = 0, probed = 0;

	*failed = false;
	suite->refused = false;
	suite->replay.check_events = MAX(1, list->len / AUDITS);
	if (list->len == 0)
		return true;
	if (!write_trace(suite->path, list, suite->replay.machine, error) ||
	    !run_pass(suite, PASS_NATIVE, failed, &native, error))
		return false;
	if (*failed || suite->refused || !suite->replay.heap[PASS_PROBED])
		return true;
	if (!run_pass(suite, PASS_PROBED, failed, &probed, error))
		return false;
	if (!*failed && native != probed) {
		keep_message(suite, "allocator error: the native and the probed pass placed "
				    "differently");
		*failed = true;
	}
	return true;
}

/* ---- a failure ---- */

static bool still_fails(void *context, GArray *list)
{
	bool failed;

	make_valid(list);
	return trial(context, list, &failed, NULL) && failed;
}

static bool simplify(void *context, void *operation, unsigned step)
{
	struct heap_op *op = operation;

	(void)context;
	if (step == 0)
		op->cpu = 0;
	else if (step == 1)
		op->align = 0;
	else if (step == 2)
		op->bytes = MIN(op->bytes, 8);
	else if (step == 3)
		op->bytes /= 2;
	return step <= 3;
}

static bool keep_failure(struct suite *suite, const GArray *list, GError **error)
{
	struct check_report *report = suite->report;
	struct shrink how = { .fails = still_fails,
			      .simplify = simplify,
			      .context = suite,
			      .trials_max = SHRINK_TRIALS };
	bool failed;

	suite->failing = shrink_list(&how, list, &report->trials);
	make_valid(suite->failing);
	if (!trial(suite, suite->failing, &failed, error) ||
	    !write_trace(suite->config->output, suite->failing, suite->replay.machine, error))
		return false;
	report->failed = true;
	report->from = list->len;
	report->message = g_strdup(suite->message ? suite->message : "it failed once");
	report->where = g_strdup_printf(
		"%s, %" G_GUINT64_FORMAT " MiB, %s, seed %" G_GUINT64_FORMAT, suite->frames,
		suite->ram >> 20, *suite->words ? suite->words : "default settings",
		suite->config->seed);
	report->lines = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < suite->failing->len; i++)
		g_ptr_array_add(report->lines,
				describe(&g_array_index(suite->failing, struct heap_op, i)));
	report->trace = suite->config->output;
	char *guard = heap_guard_words(suite->replay.guard);
	char *fail = suite->replay.fail_frames
			     ? g_strdup_printf(" --fail-frames %" G_GUINT64_FORMAT,
					       suite->replay.fail_frames)
			     : g_strdup("");
	report->command = g_strdup_printf("kmemlab replay %s --frames %s --heap %s%s%s%s%s%s "
					  "--check-events 1",
					  suite->config->output, suite->frames, suite->config->name,
					  *suite->words ? " --set " : "", suite->words,
					  *guard ? " --guard " : "", guard, fail);
	g_free(guard);
	g_free(fail);
	return true;
}

/* ---- configurations ---- */

static bool try_list(struct suite *suite, GArray *list, GError **error)
{
	bool failed = false;

	if (!trial(suite, list, &failed, error))
		return false;
	suite->report->configurations++;
	suite->report->refused += suite->refused;
	suite->report->operations += suite->refused ? 0 : list->len;
	return !failed || keep_failure(suite, list, error);
}

/* Its requests for frames fail one at a time; after the first few in growing steps. */
static bool try_frames_that_fail(struct suite *suite, const GArray *all, GError **error)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(struct heap_op));
	bool fine = true;

	g_array_append_vals(list, all->data, MIN(all->len, FAILING_OPERATIONS));
	suite->frame_requests = UINT64_MAX;
	for (uint64_t n = 1; fine && !suite->report->failed && n <= suite->frame_requests;
	     n += 1 + n / 4) {
		suite->replay.fail_frames = n;
		fine = try_list(suite, list, error);
	}
	suite->replay.fail_frames = 0;
	g_array_unref(list);
	return fine;
}

static bool try_ram(struct suite *suite, uint64_t ram, GError **error)
{
	GArray *map = machine_pc_map(ram);
	struct machine_config *machine = machine_config_from_map("check", map);
	GArray *list = random_operations(suite->config->seed + ram, suite->config->operations);
	bool fine = true;

	machine->cpus = CPUS;
	suite->replay.machine = machine;
	suite->ram = ram;
	make_valid(list);
	fine = try_list(suite, list, error);
	if (fine && !*suite->words && !suite->refused && !suite->report->failed) {
		/* Longer requests, placed elsewhere. */
		suite->replay.guard |= HEAP_GUARD_REDZONE;
		fine = try_list(suite, list, error);
		suite->replay.guard = GUARD;
		if (fine && !suite->report->failed && ram == ram_bytes[0])
			fine = try_frames_that_fail(suite, list, error);
	}
	g_array_unref(list);
	g_array_unref(map);
	machine_config_free(machine);
	return fine;
}

static bool try_setting(struct suite *suite, const char *words, GError **error)
{
	bool fine = true;

	suite->words = words;
	for (unsigned f = 0; fine && f < G_N_ELEMENTS(frame_names); f++) {
		suite->frames = frame_names[f];
		for (unsigned pass = 0; pass < PASSES; pass++)
			suite->replay.frames[pass] = kernels[pass].frame_find(frame_names[f]);
		frame_config_defaults(suite->replay.frames[PASS_NATIVE],
				      &suite->replay.frame_config);
		suite->replay.frame_config.cpus = CPUS;
		for (unsigned r = 0; fine && r < G_N_ELEMENTS(ram_bytes); r++)
			if (!suite->report->failed)
				fine = try_ram(suite, ram_bytes[r], error);
	}
	return fine;
}

static void reset_options(struct suite *suite)
{
	struct heap_config *config = &suite->replay.heap_config;

	heap_config_defaults(suite->config->heap[PASS_NATIVE], config);
	config->cpus = CPUS;
	config->seed = suite->config->seed;
}

/* One option at each of its choices, or at its ends. */
static bool try_option(struct suite *suite, unsigned index, GError **error)
{
	const struct frame_option *option = &suite->config->heap[PASS_NATIVE]->options[index];
	uint64_t values[] = { option->min, option->max };
	unsigned count = 2;
	bool fine = true;

	for (count = option->choices ? 0 : 2; option->choices && option->choices[count];)
		count++;
	for (unsigned i = 0; fine && i < count && !suite->report->failed; i++) {
		uint64_t value = option->choices ? i : values[i];
		char *words =
			option->choices
				? g_strdup_printf("heap.%s=%s", option->key, option->choices[i])
				: g_strdup_printf("heap.%s=%" G_GUINT64_FORMAT, option->key, value);
		reset_options(suite);
		suite->replay.heap_config.option[index] = value;
		if (value != option->value)
			fine = try_setting(suite, words, error);
		g_free(words);
	}
	return fine;
}

static bool try_all(struct suite *suite, GError **error)
{
	const struct heap_ops *ops = suite->config->heap[PASS_NATIVE];

	reset_options(suite);
	if (suite->config->settings) {
		for (char **setting = suite->config->settings; *setting; setting++)
			if (!run_set_heap(ops, &suite->replay.heap_config, *setting, error))
				return false;
		char *words = g_strjoinv(" --set ", suite->config->settings);
		bool fine = try_setting(suite, words, error);
		g_free(words);
		return fine;
	}
	if (!try_setting(suite, "", error))
		return false;
	for (unsigned i = 0; ops->options && ops->options[i].key; i++)
		if (!try_option(suite, i, error))
			return false;
	return true;
}

bool check_heap(const struct check_config *config, struct check_report *report, GError **error)
{
	struct suite suite = { .config = config,
			       .report = report,
			       .replay = { .until = REPLAY_ALL,
					   .limit_ms = config->cpu_ms,
					   .guard = GUARD,
					   .command = "kmemlab check" } };
	int fd = g_file_open_tmp("kmemlab-check-XXXXXX.kmt", &suite.path, error);

	if (fd < 0)
		return false;
	close(fd);
	suite.replay.trace_path = suite.path;
	for (unsigned pass = 0; pass < PASSES; pass++)
		suite.replay.heap[pass] = config->heap[pass];
	bool fine = try_all(&suite, error);
	unlink(suite.path);
	g_free(suite.path);
	g_free(suite.message);
	if (suite.failing)
		g_array_unref(suite.failing);
	return fine;
}
