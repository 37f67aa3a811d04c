#include "workloads/generate/generator.h"

#include <string.h>

/* clang-format off */
const struct workload workloads[] = {
	{ "fork-storm", "a shell that forks and executes short commands, in pipelines", {
		{ "commands", "commands in all", 1000, 1, 1000000 },
		{ "width", "commands of a pipeline, alive at a time", 3, 1, 1000 },
		{ "depth", "forks of a command's child before it executes", 1, 1, 1000 },
		{ "steps", "touches of a command", 200, 1, 1000000 },
		{ "cpus", "CPUs", 2, 1, 256 } }, generate_fork_storm },
	{ "server", "one parent forks many workers, which serve requests for long", {
		{ "processes", "workers", 200, 1, 100000 },
		{ "requests", "requests in all", 20000, 0, 10000000 },
		{ "pages", "pages of a request's buffer, about", 16, 1, 10000 },
		{ "shared-pages", "pages that all inherit", 512, 1, 100000 },
		{ "cpus", "CPUs", 4, 1, 256 } }, generate_server },
	{ "build-farm", "parallel compiler runs with heaps that grow, from one make", {
		{ "units", "compiler runs in all", 300, 1, 1000000 },
		{ "jobs", "at a time", 4, 1, 1000 },
		{ "heap-pages", "pages of a run's heap, about", 800, 1, 100000 },
		{ "steps", "touches of a run", 3000, 1, 10000000 },
		{ "cpus", "CPUs", 4, 1, 256 } }, generate_build_farm },
	{ NULL, NULL, { { NULL, NULL, 0, 0, 0 } }, NULL },
};
/* clang-format on */

const struct workload *workload_find(const char *name)
{
	for (const struct workload *w = workloads; w->name; w++)
		if (strcmp(w->name, name) == 0)
			return w;
	return NULL;
}

/* ---- settings ---- */

static bool set_value(const struct workload *w, const char *setting, uint64_t *values,
		      GError **error)
{
	const char *equals = strchr(setting, '=');
	gsize length = equals ? (gsize)(equals - setting) : strlen(setting);
	guint64 value;

	for (unsigned i = 0; w->options[i].key; i++) {
		const struct generator_option *o = &w->options[i];
		if (strlen(o->key) != length || strncmp(o->key, setting, length) != 0)
			continue;
		if (!equals ||
		    !g_ascii_string_to_unsigned(equals + 1, 10, o->min, o->max, &value, NULL))
			return trace_error_set(error, TRACE_ERROR_USAGE,
					       "%s: %s is a number from %" G_GUINT64_FORMAT
					       " to %" G_GUINT64_FORMAT,
					       w->name, o->key, o->min, o->max);
		values[i] = value;
		return true;
	}
	GString *keys = g_string_new(NULL);
	for (unsigned i = 0; w->options[i].key; i++)
		g_string_append_printf(keys, "%s%s", i ? ", " : "", w->options[i].key);
	trace_error_set(error, TRACE_ERROR_USAGE, "%s has no setting '%s' (%s)", w->name, setting,
			keys->str);
	g_string_free(keys, TRUE);
	return false;
}

static bool set_values(const struct workload *w, char *const *settings, uint64_t *values,
		       GError **error)
{
	for (unsigned i = 0; w->options[i].key; i++)
		values[i] = w->options[i].value;
	for (; settings && *settings; settings++)
		if (!set_value(w, *settings, values, error))
			return false;
	return true;
}

/* ---- events ---- */

uint32_t generator_below(struct generator *g, uint32_t below)
{
	return below > 1 ? (uint32_t)g_rand_int_range(g->random, 0, (gint32)below) : 0;
}

uint32_t generator_around(struct generator *g, uint32_t mean)
{
	uint64_t product = (uint64_t)generator_below(g, 1000) * generator_below(g, 1000);

	return 1 + (uint32_t)(product * 3 * mean / 1000000);
}

/* Each process stays on its CPU, but for one event in 64. */
static void add(struct generator *g, struct event *event)
{
	uint32_t home = event->task % g->cpus;

	g->time_ns += 100 + generator_below(g, 900);
	event->time_ns = g->time_ns;
	event->cpu = (uint16_t)(generator_below(g, 64) ? home : generator_below(g, g->cpus));
	if (!g->error)
		(void)trace_writer_add(g->writer, event, &g->error);
}

uint32_t generator_spawn(struct generator *g, const char *name)
{
	struct event event = { .kind = EVENT_SPAWN };

	event.u.process.child = ++g->next_process;
	event.u.process.name = trace_writer_string(g->writer, name);
	add(g, &event);
	return event.u.process.child;
}

uint32_t generator_fork(struct generator *g, uint32_t parent)
{
	struct event event = { .kind = EVENT_FORK, .task = parent };

	event.u.process.child = ++g->next_process;
	add(g, &event);
	return event.u.process.child;
}

void generator_exec(struct generator *g, uint32_t process, const char *name)
{
	struct event event = { .kind = EVENT_EXEC, .task = process };

	event.u.process.name = trace_writer_string(g->writer, name);
	add(g, &event);
}

void generator_exit(struct generator *g, uint32_t process)
{
	struct event event = { .kind = EVENT_EXIT, .task = process };

	add(g, &event);
}

void generator_region(struct generator *g, uint32_t process, unsigned kind, uint64_t address,
		      uint64_t bytes, unsigned rights)
{
	struct event event = { .kind = (uint8_t)kind, .task = process };

	event.u.region.address = address;
	event.u.region.bytes = bytes;
	event.u.region.rights = rights;
	add(g, &event);
}

void generator_touch(struct generator *g, uint32_t process, uint64_t address, unsigned access)
{
	struct event event = { .kind = EVENT_TOUCH, .task = process };

	event.u.touch.address = address & ~7ull;
	event.u.touch.bytes = 8;
	event.u.touch.access = (uint8_t)access;
	add(g, &event);
}

/* ---- programs ---- */

void generator_load(struct generator *g, uint32_t process, const struct image *image)
{
	generator_region(g, process, EVENT_MMAP, IMAGE_TEXT, image->text_pages * IMAGE_PAGE,
			 RIGHT_READ | RIGHT_EXEC);
	generator_region(g, process, EVENT_MMAP, IMAGE_DATA, image->data_pages * IMAGE_PAGE,
			 RIGHT_READ | RIGHT_WRITE);
	generator_region(g, process, EVENT_MMAP, IMAGE_LIB, image->lib_pages * IMAGE_PAGE,
			 RIGHT_READ | RIGHT_EXEC);
	generator_region(g, process, EVENT_MMAP, IMAGE_STACK, image->stack_pages * IMAGE_PAGE,
			 RIGHT_READ | RIGHT_WRITE);
	generator_region(g, process, EVENT_BRK, IMAGE_HEAP, 0, 0);
}

/* Low pages are hot: the product of two dice. */
static uint64_t place(struct generator *g, uint64_t base, uint32_t pages)
{
	uint64_t page = (uint64_t)generator_below(g, pages) * generator_below(g, 1024) / 1024;

	return base + page * IMAGE_PAGE + generator_below(g, 4096);
}

void generator_run(struct generator *g, uint32_t process, const struct image *image, uint32_t steps)
{
	for (uint32_t i = 0; i < steps; i++) {
		switch (generator_below(g, 10)) {
		case 0:
		case 1:
		case 2:
			generator_touch(g, process, place(g, IMAGE_TEXT, image->text_pages),
					RIGHT_EXEC);
			break;
		case 3:
			generator_touch(g, process, place(g, IMAGE_LIB, image->lib_pages),
					RIGHT_EXEC);
			break;
		case 4:
		case 5:
			generator_touch(g, process, place(g, IMAGE_STACK, image->stack_pages),
					RIGHT_WRITE);
			break;
		case 6:
			generator_touch(g, process, place(g, IMAGE_DATA, image->data_pages),
					RIGHT_WRITE);
			break;
		case 7:
			generator_touch(g, process, place(g, IMAGE_DATA, image->data_pages),
					RIGHT_READ | RIGHT_WRITE);
			break;
		default:
			generator_touch(g, process, place(g, IMAGE_DATA, image->data_pages),
					RIGHT_READ);
		}
	}
}

/* ---- the trace ---- */

static char *command_of(const struct workload *w, const uint64_t *values, uint64_t seed)
{
	GString *text = g_string_new(NULL);

	g_string_printf(text, "kmemlab generate %s", w->name);
	for (unsigned i = 0; w->options[i].key; i++)
		g_string_append_printf(text, " %s=%" G_GUINT64_FORMAT, w->options[i].key,
				       values[i]);
	g_string_append_printf(text, " --seed %" G_GUINT64_FORMAT, seed);
	return g_string_free(text, FALSE);
}

static bool finish(struct generator *g, const struct workload *w, char *command, GError **error)
{
	struct trace_meta *meta = trace_meta_new();
	/* 512 MiB, a PC's: whoever replays it says what machine it is. */
	const struct memory_range low = { .base = 0, .bytes = 0x9fc00, .type = MEMORY_USABLE };
	const struct memory_range high = { .base = 0x100000,
					   .bytes = (512ull << 20) - 0x100000,
					   .type = MEMORY_USABLE };

	g_array_append_val(meta->memory_map, low);
	g_array_append_val(meta->memory_map, high);
	meta->source = g_strdup(w->name);
	meta->format = g_strdup("generated");
	meta->program = g_strdup("kmemlab generate");
	meta->command = command;
	meta->cpus = g->cpus;
	bool fine = trace_writer_finish(g->writer, meta, error);
	trace_meta_free(meta);
	return fine;
}

bool workload_generate(const struct workload *w, char *const *settings, uint64_t seed,
		       const char *path, GError **error)
{
	uint64_t values[GENERATOR_OPTIONS_MAX + 1];
	const guint32 seeds[] = { (guint32)seed, (guint32)(seed >> 32) };
	struct generator g = { 0 };

	if (!set_values(w, settings, values, error))
		return false;
	g.writer = trace_writer_new(path, error);
	if (!g.writer)
		return false;
	unsigned options = 0;
	while (w->options[options].key)
		options++;
	g.cpus = (uint32_t)values[options - 1]; /* of every workload the last one */
	g.random = g_rand_new_with_seed_array(seeds, G_N_ELEMENTS(seeds));
	w->generate(&g, values);
	g_rand_free(g.random);
	if (g.error) {
		g_propagate_error(error, g.error);
		trace_writer_abort(g.writer);
		return false;
	}
	return finish(&g, w, command_of(w, values, seed), error);
}
