/*
 * Kernel heaps against the C library's malloc and others, under the same events through the same
 * loop, on one thread.
 *
 * glibc's, mimalloc and jemalloc define malloc itself, so each runs in a process of its own:
 * `kmemlab bench malloc` under LD_PRELOAD, which measures whatever malloc it has and says which
 * that is. Rounds take turns: every round measures the heaps here and each malloc in its process.
 *
 * Loads are generated ones, the recorded slab traces of the source tree where that is there, and
 * what --trace names. A load is an array of allocations and frees, read before the clock starts; it
 * begins and ends with nothing alive.
 *
 * Both sides: the same loop compiled once, the same array, one call through a pointer an event; the
 * first and the last byte of every object are written. The machine's RAM is populated, and one run
 * of the load goes before those that are timed, so that both have their pages and keep what they
 * cached. CPU time of the process, the least of three runs a round. A kernel's request is a struct
 * behind its front door, as its callers make it; a malloc's is its arguments.
 */
#include <dlfcn.h>
#include <json-glib/json-glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alloc/reach.h"
#include "sim/bench/bench.h"
#include "sim/kernel.h"
#include "sim/lab.h"
#include "sim/version.h"
#include "workloads/generate/generate.h"
#include "workloads/trace.h"

#define EVENTS_FULL 200000u
#define SEED	    1
#define RUNS	    3

/* A machine's RAM, all of it populated: for the machine itself, and times what lives. */
#define RAM_LEAST (UINT64_C(16) << 20)
#define RAM_TIMES 4

static const char *const generated[] = { "larson", "power-law", "kernel-boot" };
#define LOADS_MAX 16u

static const struct rival {
	const char *name, *library; /* NULL: what there is without LD_PRELOAD */
	const char *symbol;	    /* by which a process knows that it has it */
} rivals[] = {
	{ "glibc", NULL, NULL },
	{ "mimalloc", "libmimalloc.so.2", "mi_version" },
	{ "jemalloc", "libjemalloc.so.2", "mallctl" },
};
#define RIVALS	 G_N_ELEMENTS(rivals)
#define MIMALLOC 1

struct bench_event {
	uint32_t handle;
	uint32_t bytes; /* 0: free */
	uint32_t align;
};

struct load {
	char *name;
	uint64_t peak_bytes; /* that live at once */
	GArray *events;	     /* struct bench_event */
	void **object;	     /* by handle */
};

struct loads {
	struct load one[LOADS_MAX];
	unsigned count;
};

/* What the loop drives. */
struct driver {
	void *(*alloc)(void *context, uint64_t bytes, uint32_t align);
	void (*free)(void *context, void *object);
	void *context;
};

/* ---- the loop ---- */

static void run_load(const struct load *load, const struct driver *driver)
{
	for (guint i = 0; i < load->events->len; i++) {
		const struct bench_event *event =
			&g_array_index(load->events, struct bench_event, i);
		if (event->bytes) {
			char *at = driver->alloc(driver->context, event->bytes, event->align);
			if (at)
				at[0] = at[event->bytes - 1] = 1;
			load->object[event->handle] = at;
		} else {
			driver->free(driver->context, load->object[event->handle]);
		}
	}
}

/* ns an event: the least of RUNS, which is what a run costs when nobody else has the processor's
 * caches; the first one, which warms, is not among them. */
static double time_load(const struct load *load, const struct driver *driver)
{
	double least = 0;

	run_load(load, driver);
	for (unsigned run = 0; run < RUNS; run++) {
		uint64_t begin = bench_cpu_ns();
		run_load(load, driver);
		double ns = (double)(bench_cpu_ns() - begin) / load->events->len;
		if (run == 0 || ns < least)
			least = ns;
	}
	return least;
}

/* ---- loads ---- */

/* LIVE: bytes by handle; what a trace frees that it never allocated is left out. */
static void take_event(struct load *load, const struct event *event, uint32_t *live,
		       uint64_t *live_bytes)
{
	struct bench_event one = { .handle = (uint32_t)event->u.heap.handle };

	if (event->kind == EVENT_HEAP_ALLOC) {
		one.bytes = (uint32_t)CLAMP(event->u.heap.bytes, 1, UINT32_MAX);
		one.align = MAX(event->u.heap.align_bytes, HEAP_ALIGN_DEFAULT);
	} else if (event->kind != EVENT_HEAP_FREE || !live[one.handle]) {
		return;
	}
	*live_bytes += (uint64_t)one.bytes - live[one.handle];
	load->peak_bytes = MAX(load->peak_bytes, *live_bytes);
	live[one.handle] = one.bytes;
	g_array_append_val(load->events, one);
}

/* A recording ends with objects alive: they are freed then, oldest first. */
static void free_the_rest(struct load *load, const uint32_t *live, uint64_t handles)
{
	for (uint64_t handle = 0; handle < handles; handle++) {
		struct bench_event one = { .handle = (uint32_t)handle };
		if (live[handle])
			g_array_append_val(load->events, one);
	}
}

/* The first PERCENT of a trace's events, and frees of what they leave alive. */
static bool read_load(const char *path, uint64_t percent, struct load *load, GError **error)
{
	struct trace_reader *reader = trace_reader_open(path, error);
	const struct event *events;
	int count = 0;

	if (!reader)
		return false;
	uint64_t handles = trace_reader_meta(reader)->handles;
	g_autofree uint32_t *live = g_new0(uint32_t, handles);
	uint64_t live_bytes = 0;
	load->events = g_array_new(FALSE, FALSE, sizeof(struct bench_event));
	load->object = g_new0(void *, handles);
	uint64_t most = MAX(trace_reader_meta(reader)->events / 100 * percent, 1000);
	while ((count = trace_reader_next_block(reader, &events, error)) > 0)
		for (int i = 0; i < count && most; i++, most--)
			take_event(load, &events[i], live, &live_bytes);
	free_the_rest(load, live, handles);
	trace_reader_free(reader);
	return count == 0 && (load->events->len ||
			      lab_usage(error, "%s has no heap events to measure with", path));
}

static bool make_load(const char *name, uint64_t scale, struct load *load, GError **error)
{
	const struct generator *generator = generator_find(name);
	struct generate_options options;
	char *path = NULL, *events = g_strdup_printf("events=%" G_GUINT64_FORMAT,
						     MAX(1000, EVENTS_FULL / 100 * scale));
	int fd = g_file_open_tmp("kmemlab-bench-XXXXXX.kmt", &path, error);

	generate_defaults(generator, &options);
	options.seed = SEED;
	options.memory_map = machine_pc_map(options.value[GENERATE_RAM]);
	bool fine = fd >= 0 && generate_set(generator, &options, events, error) &&
		    generate(generator, &options, path, error) && read_load(path, 100, load, error);
	g_array_unref(options.memory_map);
	if (fd >= 0) {
		close(fd);
		unlink(path);
	}
	g_free(path);
	g_free(events);
	return fine;
}

static void loads_clear(struct loads *loads)
{
	for (unsigned i = 0; i < loads->count; i++) {
		if (loads->one[i].events)
			g_array_unref(loads->one[i].events);
		g_free(loads->one[i].object);
		g_free(loads->one[i].name);
	}
}

/* NULL: there are too many. */
static struct load *one_more(struct loads *loads, char *name)
{
	struct load *load = loads->count < LOADS_MAX ? &loads->one[loads->count++] : NULL;

	if (load)
		load->name = name;
	else
		g_free(name);
	return load;
}

static bool add_trace(struct loads *loads, const char *path, uint64_t scale, GError **error)
{
	char *name = g_path_get_basename(path);

	if (g_str_has_suffix(name, ".kmt"))
		name[strlen(name) - strlen(".kmt")] = 0;
	struct load *load = one_more(loads, name);
	return load ? read_load(path, MIN(scale, 100), load, error)
		    : lab_usage(error, "more than %u loads", LOADS_MAX);
}

static int compare_names(gconstpointer a, gconstpointer b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Slab traces of the source tree; an installed program has none. */
static bool add_recorded(struct loads *loads, uint64_t scale, GError **error)
{
	GDir *folder = g_dir_open(KMEMLAB_RECORDED_SOURCE, 0, NULL);
	g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
	const char *name;
	bool fine = true;

	while (folder && (name = g_dir_read_name(folder)))
		if (strstr(name, "slab") && g_str_has_suffix(name, ".kmt"))
			g_ptr_array_add(paths,
					g_build_filename(KMEMLAB_RECORDED_SOURCE, name, NULL));
	g_clear_pointer(&folder, g_dir_close);
	g_ptr_array_sort(paths, compare_names);
	for (guint i = 0; fine && i < paths->len; i++)
		fine = add_trace(loads, paths->pdata[i], scale, error);
	return fine;
}

static bool loads_make(struct loads *loads, const struct bench_options *options, GError **error)
{
	bool fine = true;

	for (unsigned i = 0; fine && i < G_N_ELEMENTS(generated); i++) {
		struct load *load = one_more(loads, g_strdup(generated[i]));
		fine = make_load(generated[i], options->scale, load, error);
	}
	fine = fine && add_recorded(loads, options->scale, error);
	for (unsigned i = 0; fine && options->traces && options->traces[i]; i++)
		fine = add_trace(loads, options->traces[i], options->scale, error);
	return fine;
}

/* ---- this process's malloc ---- */

static void *malloc_alloc(void *context, uint64_t bytes, uint32_t align)
{
	(void)context;
	return align <= 16 ? malloc(bytes)
			   : aligned_alloc(align, (bytes + align - 1) & ~(uint64_t)(align - 1));
}

static void malloc_free(void *context, void *object)
{
	(void)context;
	free(object);
}

static const struct driver malloc_driver = { malloc_alloc, malloc_free, NULL };

static const char *malloc_name(void)
{
	for (unsigned i = 0; i < RIVALS; i++)
		if (rivals[i].symbol && dlsym(RTLD_DEFAULT, rivals[i].symbol))
			return rivals[i].name;
	return rivals[0].name;
}

bool bench_malloc(const struct bench_options *options, GArray *figures, GError **error)
{
	struct loads loads = { 0 };
	bool fine = loads_make(&loads, options, error);

	for (unsigned i = 0; fine && i < loads.count; i++) {
		double ns = time_load(&loads.one[i], &malloc_driver);
		struct bench_figure figure = {
			.name = g_strdup_printf("malloc/%s/%s", malloc_name(), loads.one[i].name),
			.value = ns,
			.unit = "ns/event",
			.yardstick = "itself",
			.yardstick_value = ns,
			.ratio = 1,
		};
		g_array_append_val(figures, figure);
	}
	loads_clear(&loads);
	return fine;
}

/* ---- the same in a process with another malloc ---- */

/* NULL: it could not be run. Values by load, negative where there is none. */
static bool parse_child(const char *text, const struct loads *loads, const char *rival, double *ns)
{
	JsonParser *parser = json_parser_new();
	bool fine = json_parser_load_from_data(parser, text, -1, NULL);
	JsonNode *root = fine ? json_parser_get_root(parser) : NULL;
	JsonArray *rows = root && JSON_NODE_HOLDS_ARRAY(root) ? json_node_get_array(root) : NULL;
	unsigned found = 0;

	for (guint r = 0; rows && r < json_array_get_length(rows); r++) {
		JsonObject *row = json_array_get_object_element(rows, r);
		for (unsigned i = 0; i < loads->count; i++) {
			char *name = g_strdup_printf("malloc/%s/%s", rival, loads->one[i].name);
			if (g_strcmp0(json_object_get_string_member(row, "name"), name) == 0) {
				ns[i] = json_object_get_double_member(row, "value");
				found++;
			}
			g_free(name);
		}
	}
	g_object_unref(parser);
	return found == loads->count;
}

static char **rival_command(const struct bench_options *options)
{
	g_autoptr(GStrvBuilder) words = g_strv_builder_new();
	g_autofree char *percent = g_strdup_printf("%" G_GUINT64_FORMAT, options->scale);

	g_strv_builder_add_many(words, "/proc/self/exe", "bench", "malloc", "--json", "--scale",
				percent, NULL);
	for (unsigned i = 0; options->traces && options->traces[i]; i++)
		g_strv_builder_add_many(words, "--trace", options->traces[i], NULL);
	return g_strv_builder_end(words);
}

static bool run_rival(const struct rival *rival, const struct bench_options *options,
		      const struct loads *loads, double *ns)
{
	g_auto(GStrv) command = rival_command(options);
	g_auto(GStrv) environment = g_get_environ();
	g_autofree char *text = NULL;
	int status = -1;

	if (rival->library)
		environment = g_environ_setenv(environment, "LD_PRELOAD", rival->library, TRUE);
	return g_spawn_sync(NULL, command, environment, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL,
			    &text, NULL, &status, NULL) &&
	       status == 0 && parse_child(text, loads, rival->name, ns);
}

/* ---- kernel heaps ---- */

struct bench_heap {
	struct machine *machine;
	struct frames frames;
	struct heap heap;
};

static void *kernel_alloc(void *context, uint64_t bytes, uint32_t align)
{
	const struct bench_heap *bench = context;
	struct heap_request request = { .bytes = bytes, .align_bytes = align };
	void *at = NULL;

	return heap_alloc(&bench->heap, &request, &at) == KERR_OK ? at : NULL;
}

static void kernel_free(void *context, void *object)
{
	const struct bench_heap *bench = context;

	if (heap_free(&bench->heap, object) != KERR_OK)
		g_error("lab error: bench: a heap refuses its own object");
}

static bool start_heap(struct bench_heap *bench, const struct heap_ops *ops, GError **error)
{
	const struct boot_result *boot = &bench->machine->boot;
	struct heap_config config;
	struct frame_block block;
	const char *why = "";

	heap_config_defaults(ops, &config);
	bench->frames = boot->frames;
	config.frames = bench->frames;
	config.map = &boot->map;
	config.reach = (struct reach){ .direct = bench->machine->params.direct_map,
				       .direct_end = boot->map.end };
	config.reach.base = machine_pointer(bench->machine, config.reach.direct);
	uint64_t bytes = ops->state_bytes(&config, &why);
	struct frame_request request = { .frames = (uint32_t)frames_for_bytes(bytes),
					 .align_frames = 1 };
	if (!bytes || frame_alloc(&bench->frames, &request, &block) != KERR_OK)
		return lab_usage(error, "heap %s does not start: %s", ops->name, why);
	bench->heap = (struct heap){ ops, frame_direct(&config.reach, block.first) };
	memset(bench->heap.state, 0, request.frames * FRAME_BYTES);
	return ops->init(bench->heap.state, &config) == KERR_OK ||
	       lab_usage(error, "heap %s does not start", ops->name);
}

/* A machine of its own for each measurement. */
static bool time_heap(const struct heap_ops *ops, const struct load *load, double *ns,
		      GError **error)
{
	struct machine_config *config = machine_config_new("pc-512m", error);
	uint64_t ram = RAM_LEAST + RAM_TIMES * load->peak_bytes / FRAME_BYTES * FRAME_BYTES;
	struct bench_heap bench = { 0 };
	struct driver driver = { kernel_alloc, kernel_free, &bench };
	struct frame_config frames;

	bench.machine = config && machine_config_resize(config, ram, error)
				? machine_new(config, error)
				: NULL;
	if (config)
		machine_config_free(config);
	if (!bench.machine)
		return false;
	frame_config_defaults(frame_find("buddy"), &frames);
	machine_enter(bench.machine);
	bool fine = machine_boot(bench.machine, kernels[PASS_NATIVE].boot, frame_find("buddy"),
				 &frames, error) &&
		    start_heap(&bench, ops, error);
	if (fine) {
		machine_populate(bench.machine, bench.machine->usable);
		*ns = time_load(load, &driver);
	}
	machine_leave();
	machine_free(bench.machine);
	return fine;
}

/* ---- figures ---- */

struct rounds {
	double heap[16][LOADS_MAX][BENCH_ROUNDS];
	double rival[RIVALS][LOADS_MAX][BENCH_ROUNDS];
	bool there[RIVALS];
};

/* General-purpose heaps: objects of any size, freed one by one. */
static unsigned contestants(const struct heap_ops **heaps)
{
	const unsigned wanted = HEAP_CAP_FREE | HEAP_CAP_ANY_SIZE;
	unsigned count = 0;

	for (const struct heap_ops *const *ops = heap_registry; *ops && count < 16; ops++)
		if (((*ops)->caps & wanted) == wanted)
			heaps[count++] = *ops;
	return count;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(const double *values)
{
	double sorted[BENCH_ROUNDS];

	memcpy(sorted, values, sizeof(sorted));
	qsort(sorted, BENCH_ROUNDS, sizeof(*sorted), compare_doubles);
	return sorted[BENCH_ROUNDS / 2];
}

static void add_figure(GArray *figures, char *name, const double *real, const double *bare,
		       const char *yardstick, double goal)
{
	double ratios[BENCH_ROUNDS];

	for (unsigned r = 0; r < BENCH_ROUNDS; r++)
		ratios[r] = bare ? real[r] / bare[r] : 0;
	struct bench_figure figure = {
		.name = name,
		.value = median(real),
		.unit = "ns/event",
		.yardstick = yardstick,
		.yardstick_value = bare ? median(bare) : 0,
		.ratio = median(ratios),
		.goal = bare ? goal : 0,
	};
	g_array_append_val(figures, figure);
}

static const char *absent(unsigned rival)
{
	static const char *const texts[] = { "glibc (did not run)", "mimalloc (not installed)",
					     "jemalloc (not installed)" };

	return texts[rival];
}

static void add_heap(GArray *figures, const struct rounds *rounds, const struct loads *loads,
		     const struct heap_ops *ops, unsigned h)
{
	for (unsigned l = 0; l < loads->count; l++)
		for (unsigned r = 0; r < RIVALS; r++)
			add_figure(figures,
				   g_strdup_printf("heaps/%s/%s/%s", ops->name, loads->one[l].name,
						   rivals[r].name),
				   rounds->heap[h][l],
				   rounds->there[r] ? rounds->rival[r][l] : NULL,
				   rounds->there[r] ? rivals[r].name : absent(r), 0);
}

/* The one whose loads take least in all, by its ratio to mimalloc. */
static void add_fastest(GArray *figures, const struct rounds *rounds, const struct loads *loads,
			const struct heap_ops *const *heaps, unsigned count)
{
	unsigned best = 0;
	double best_ns = 1e300;

	for (unsigned h = 0; h < count; h++) {
		double ns = 0;
		for (unsigned l = 0; l < loads->count; l++)
			ns += median(rounds->heap[h][l]);
		if (ns < best_ns) {
			best_ns = ns;
			best = h;
		}
	}
	bool there = rounds->there[MIMALLOC];
	for (unsigned l = 0; l < loads->count; l++)
		add_figure(figures,
			   g_strdup_printf("heaps/fastest=%s/%s", heaps[best]->name,
					   loads->one[l].name),
			   rounds->heap[best][l], there ? rounds->rival[MIMALLOC][l] : NULL,
			   there ? rivals[MIMALLOC].name : absent(MIMALLOC), 1.5);
}

static bool one_round(struct rounds *rounds, unsigned round, const struct bench_options *options,
		      const struct loads *loads, const struct heap_ops *const *heaps,
		      unsigned count, GError **error)
{
	for (unsigned r = 0; r < RIVALS; r++) {
		double ns[LOADS_MAX] = { 0 };
		rounds->there[r] = (round == 0 || rounds->there[r]) &&
				   run_rival(&rivals[r], options, loads, ns);
		for (unsigned l = 0; l < loads->count; l++)
			rounds->rival[r][l][round] = ns[l];
	}
	for (unsigned h = 0; h < count; h++)
		for (unsigned l = 0; l < loads->count; l++)
			if (!time_heap(heaps[h], &loads->one[l], &rounds->heap[h][l][round], error))
				return false;
	return true;
}

bool bench_heaps(const struct bench_options *options, GArray *figures, GError **error)
{
	struct rounds *rounds = g_new0(struct rounds, 1);
	struct loads loads = { 0 };
	const struct heap_ops *heaps[16];
	unsigned count = contestants(heaps);
	bool fine = loads_make(&loads, options, error);

	for (unsigned round = 0; fine && round < BENCH_ROUNDS; round++)
		fine = one_round(rounds, round, options, &loads, heaps, count, error);
	if (fine)
		add_fastest(figures, rounds, &loads, heaps, count);
	for (unsigned h = 0; fine && h < count; h++)
		add_heap(figures, rounds, &loads, heaps[h], h);
	loads_clear(&loads);
	g_free(rounds);
	return fine;
}
