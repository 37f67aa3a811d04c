/*
 * Workloads of processes: a shell that forks, a server with workers, a build farm.
 *
 *   fork-storm   sh --fork--> sh --exec--> ls ... exit
 *                 `--fork--> sh --fork--> sh ...
 *   server       master --fork--> worker: map a buffer, fill it, read it, unmap it; end, be
 * replaced
 *                                    `--fork+exec--> helper, exit
 *   build-farm   make --fork+exec--> sh --fork+exec--> cc1: grows, exits; now and then ld
 */
#include "workloads/generate/families.h"
#include "workloads/generate/process.h"

#define FIRST_TASK 100

/* All that live; the first is the root, which ends last. */
struct crowd {
	struct generation *generation;
	GPtrArray *live; /* struct process * */
	uint32_t next_task;
	uint64_t cpus;
};

static void crowd_init(struct crowd *crowd, struct generation *generation, uint64_t cpus,
		       const struct program *root)
{
	*crowd = (struct crowd){ generation, g_ptr_array_new(), FIRST_TASK, cpus };
	g_ptr_array_add(crowd->live, process_spawn(generation, crowd->next_task++, 0, root));
}

static struct process *crowd_at(const struct crowd *crowd, guint i)
{
	return g_ptr_array_index(crowd->live, i);
}

static struct process *crowd_any(const struct crowd *crowd)
{
	return crowd_at(crowd, (guint)random_below(&crowd->generation->random, crowd->live->len));
}

static struct process *crowd_fork(struct crowd *crowd, struct process *parent)
{
	uint16_t cpu = (uint16_t)random_below(&crowd->generation->random, crowd->cpus);
	struct process *child = process_fork(parent, crowd->next_task++, cpu);

	g_ptr_array_add(crowd->live, child);
	return child;
}

static void crowd_exit(struct crowd *crowd, struct process *process)
{
	g_ptr_array_remove(crowd->live, process);
	process_exit(process);
}

/* The youngest first, so that the root is the last. */
static void crowd_fini(struct crowd *crowd)
{
	while (crowd->live->len > 0)
		crowd_exit(crowd, crowd_at(crowd, crowd->live->len - 1));
	g_ptr_array_unref(crowd->live);
}

/* Copy-on-write at once: what a child of a fork writes first is its stack and its data. */
static void write_after_fork(struct process *process, uint64_t pages)
{
	struct random *random = &process->generation->random;

	for (uint64_t i = 0; i < pages && generation_more(process->generation); i++) {
		guint area = draw_chance(random, 1, 2) ? AREA_STACK : AREA_DATA;
		const struct area *chosen = &g_array_index(process->areas, struct area, area);
		process_touch_page(process, area, random_below(random, chosen->pages), RIGHT_WRITE);
	}
}

/* ---- fork-storm ---- */

enum {
	STORM_FORKS = GENERATE_OWN,
	STORM_LIVE,
	STORM_DEPTH,
	STORM_EXEC,
	STORM_TOUCHES,
	STORM_WRITES,
	STORM_CPUS
};

static const struct generate_parameter storm_parameters[] = {
	GENERATE_COMMON(UINT64_C(256) << 20),
	{ "forks", 2000, 1, 100000000, 0, "", "in all" },
	{ "live", 32, 2, 1000000, 0, "processes", "at most at a time" },
	{ "depth", 3, 1, 1000000, 0, "", "generations of shells below the first" },
	{ "exec", 80, 0, 100, 0, "%", "of children that run another program" },
	{ "touches", 60, 1, 1000000, 0, "", "mean accesses of a child until it exits" },
	{ "writes", 8, 0, 100000, 0, "", "pages that a child writes right after the fork" },
	{ "cpus", 2, 1, 1024, 0, "", "CPUs" },
	{ NULL },
};

/* Sizes in pages as of dash and coreutils on x86. */
static const struct program shell = { "sh", 24, 2, 3, 200, 33 };
static const struct program commands[] = {
	{ "ls", 34, 2, 2, 220, 33 },  { "cat", 8, 1, 1, 200, 33 },  { "grep", 40, 1, 2, 230, 33 },
	{ "sed", 25, 1, 2, 210, 33 }, { "true", 6, 1, 1, 200, 33 },
};

static void storm_fork(struct crowd *crowd, struct process *parent)
{
	struct generation *generation = crowd->generation;
	struct random *random = &generation->random;
	const uint64_t *value = generation->value;
	struct process *child = crowd_fork(crowd, parent);

	child->left = 1 + draw_exponential(random, value[STORM_TOUCHES] - 1);
	write_after_fork(child, value[STORM_WRITES]);
	/* The parent's pages are shared now too. */
	process_touch_page(parent, AREA_STACK, shell.stack - 1, RIGHT_WRITE);
	if (draw_chance(random, value[STORM_EXEC], 100))
		process_exec(child, &commands[random_below(random, G_N_ELEMENTS(commands))]);
}

static bool is_shell(const struct process *process)
{
	return process->name == shell.name;
}

static void storm_run(struct generation *generation)
{
	const uint64_t *value = generation->value;
	uint64_t forks = 0;
	struct crowd crowd;

	crowd_init(&crowd, generation, value[STORM_CPUS], &shell);
	while (forks < value[STORM_FORKS] && generation_more(generation)) {
		struct process *process = crowd_any(&crowd);
		bool root = process == crowd_at(&crowd, 0);
		bool may_fork = is_shell(process) && process->depth < value[STORM_DEPTH] &&
				crowd.live->len < value[STORM_LIVE];
		if (may_fork && (root || draw_chance(&generation->random, 1, 3))) {
			storm_fork(&crowd, process);
			forks++;
		} else if (!root && process->left == 0) {
			crowd_exit(&crowd, process);
		} else {
			uint64_t some = root ? 1 : MIN(process->left, 8);
			process_run(process, some);
			process->left -= root ? 0 : some;
		}
	}
	crowd_fini(&crowd);
}

const struct generator fork_storm = {
	.name = "fork-storm",
	.family = "process",
	.version = 1,
	.summary = "shells fork shells and programs that run briefly and exit",
	.parameters = storm_parameters,
	.run = storm_run,
};

/* ---- server ---- */

enum {
	SERVER_REQUESTS = GENERATE_OWN,
	SERVER_WORKERS,
	SERVER_BUFFER,
	SERVER_ALPHA,
	SERVER_KEEP,
	SERVER_HEAP,
	SERVER_TOUCHES,
	SERVER_HELPERS,
	SERVER_LIFE,
	SERVER_CPUS
};

static const struct generate_parameter server_parameters[] = {
	GENERATE_COMMON(UINT64_C(512) << 20),
	{ "requests", 5000, 1, 100000000, 0, "", "in all" },
	{ "workers", 32, 1, 100000, 0, "processes", "that serve them" },
	{ "buffer", 256, 1, 65536, 0, "pages", "largest buffer that a request maps" },
	{ "buffer-alpha", 100, 1, 1000, 2, "",
	  "exponent of the buffers' bounded Pareto distribution" },
	{ "keep", 8, 0, 1000, 0, "regions", "that a worker keeps mapped as a cache" },
	{ "heap", 512, 0, 65536, 0, "pages", "most of a worker's heap (brk)" },
	{ "touches", 40, 1, 1000000, 0, "", "mean accesses of a request besides its buffer's" },
	{ "helpers", 2, 0, 100, 0, "%", "of requests that start a short-lived program" },
	{ "life", 500, 1, 100000000, 0, "requests", "mean until a worker is replaced" },
	{ "cpus", 4, 1, 1024, 0, "", "CPUs" },
	{ NULL },
};

static const struct program master = { "server", 300, 8, 24, 600, 64 };
static const struct program helper = { "helper", 60, 2, 4, 300, 33 };

static void server_start_worker(struct crowd *crowd)
{
	struct generation *generation = crowd->generation;
	struct process *worker = crowd_fork(crowd, crowd_at(crowd, 0));

	worker->left =
		1 + draw_exponential(&generation->random, generation->value[SERVER_LIFE] - 1);
	write_after_fork(worker, 4);
}

static void server_heap(struct process *worker, uint64_t most)
{
	struct random *random = &worker->generation->random;
	uint64_t pages = g_array_index(worker->areas, struct area, AREA_HEAP).pages;
	uint64_t some = 1 + random_below(random, 16);

	if (most == 0)
		return;
	if (pages + some <= most) {
		process_fill(worker, AREA_HEAP, pages, process_grow(worker, some));
	} else if (draw_chance(random, 1, 4)) {
		/* What lies at the end is given back. */
		process_shrink(worker, pages / 2);
	}
}

static void server_buffer(struct process *worker, const struct pareto *sizes)
{
	struct random *random = &worker->generation->random;
	uint64_t keep = worker->generation->value[SERVER_KEEP];
	uint64_t pages = pareto_draw(sizes, random);
	guint area = process_mmap(worker, pages, RIGHT_READ | RIGHT_WRITE);

	if (area == 0)
		return;
	process_fill(worker, area, 0, pages);
	for (uint64_t i = 0; i < pages; i += 4)
		process_touch_page(worker, area, random_below(random, pages), RIGHT_READ);
	if (keep == 0 || !draw_chance(random, 1, 4))
		process_munmap(worker, area);
	else if (worker->areas->len - AREA_MAPPED > keep)
		process_munmap(worker, AREA_MAPPED + (guint)random_below(random, keep));
}

static void server_help(struct crowd *crowd, struct process *worker)
{
	struct process *child = crowd_fork(crowd, worker);

	write_after_fork(child, 2);
	process_exec(child, &helper);
	process_run(child, 50);
	crowd_exit(crowd, child);
}

static void server_request(struct crowd *crowd, struct process *worker, const struct pareto *sizes)
{
	struct generation *generation = crowd->generation;
	const uint64_t *value = generation->value;
	struct random *random = &generation->random;

	process_run(worker, 1 + draw_exponential(random, value[SERVER_TOUCHES] - 1));
	if (draw_chance(random, 1, 8))
		server_heap(worker, value[SERVER_HEAP]);
	server_buffer(worker, sizes);
	if (draw_chance(random, value[SERVER_HELPERS], 100))
		server_help(crowd, worker);
	if (--worker->left > 0)
		return;
	crowd_exit(crowd, worker);
	server_start_worker(crowd);
}

static void server_run(struct generation *generation)
{
	const uint64_t *value = generation->value;
	struct pareto sizes = pareto_new(1, value[SERVER_BUFFER], value[SERVER_ALPHA]);
	struct crowd crowd;

	crowd_init(&crowd, generation, value[SERVER_CPUS], &master);
	struct process *root = crowd_at(&crowd, 0);
	guint settings = process_mmap(root, 64, RIGHT_READ | RIGHT_WRITE);
	process_fill(root, settings, 0, 64);
	for (uint64_t i = 0; i < value[SERVER_WORKERS] && generation_more(generation); i++)
		server_start_worker(&crowd);
	for (uint64_t i = 0; i < value[SERVER_REQUESTS] && generation_more(generation); i++) {
		guint one = 1 + (guint)random_below(&generation->random, crowd.live->len - 1);
		server_request(&crowd, crowd_at(&crowd, one), &sizes);
	}
	crowd_fini(&crowd);
}

const struct generator server = {
	.name = "server",
	.family = "process",
	.version = 1,
	.summary = "long-lived workers map, fill and unmap buffers, grow heaps, start helpers",
	.parameters = server_parameters,
	.run = server_run,
};

/* ---- build-farm ---- */

enum {
	BUILD_COMPILES = GENERATE_OWN,
	BUILD_JOBS,
	BUILD_LEAST,
	BUILD_MOST,
	BUILD_ALPHA,
	BUILD_LINK,
	BUILD_CPUS
};

static const struct generate_parameter build_parameters[] = {
	GENERATE_COMMON(UINT64_C(1) << 30),
	{ "compiles", 200, 1, 10000000, 0, "", "in all" },
	{ "jobs", 8, 1, 10000, 0, "processes", "make -j" },
	{ "min-pages", 200, 1, 200000, 0, "pages", "heap of the smallest compilation" },
	{ "max-pages", 16384, 1, 200000, 0, "pages", "heap of the largest" },
	{ "alpha", 120, 1, 1000, 2, "", "exponent of the heaps' bounded Pareto distribution" },
	{ "link", 20, 1, 1000000, 0, "compiles", "mean until a linker runs" },
	{ "cpus", 4, 1, 1024, 0, "", "CPUs" },
	{ NULL },
};

static const char *build_problem(const uint64_t *value)
{
	return value[BUILD_LEAST] > value[BUILD_MOST] ? "min-pages is above max-pages" : NULL;
}

static const struct program make = { "make", 55, 2, 2, 220, 33 };
static const struct program compiler = { "cc1", 5600, 40, 900, 400, 64 };
static const struct program linker = { "ld", 400, 8, 10, 300, 33 };

enum build_role { ROLE_MAKE, ROLE_COMPILER, ROLE_LINKER };
/* glibc moves the break by 128 KiB and a page at a time. */
#define GROWTH_PAGES 33

/* A recipe: make forks a shell, which becomes or starts the program. */
static void build_start(struct crowd *crowd, const struct pareto *sizes)
{
	struct generation *generation = crowd->generation;
	struct random *random = &generation->random;
	struct process *child = crowd_fork(crowd, crowd_at(crowd, 0));
	bool link = draw_chance(random, 1, generation->value[BUILD_LINK] + 1);

	write_after_fork(child, 3);
	process_exec(child, &shell);
	process_run(child, 20);
	process_exec(child, link ? &linker : &compiler);
	child->role = link ? ROLE_LINKER : ROLE_COMPILER;
	child->left = pareto_draw(sizes, random);
}

static void compiler_step(struct process *process)
{
	struct random *random = &process->generation->random;
	uint64_t pages = g_array_index(process->areas, struct area, AREA_HEAP).pages;
	uint64_t some = MIN(process->left, GROWTH_PAGES);

	process_fill(process, AREA_HEAP, pages, process_grow(process, some));
	/* A source file is read; what was built of it is gone over again. */
	if (draw_chance(random, 1, 4)) {
		guint file = process_mmap(process, 1 + random_below(random, 32), RIGHT_READ);
		if (file > 0) {
			process_run(process, 30);
			process_munmap(process, file);
		}
	}
	process_run(process, 60);
	process->left -= some;
}

/* Object files stay mapped until the end. */
static void linker_step(struct process *process)
{
	uint64_t some = MIN(process->left, 64);
	guint file = process_mmap(process, some, RIGHT_READ);

	for (uint64_t i = 0; file > 0 && i < some && generation_more(process->generation); i++)
		process_touch_page(process, file, i, RIGHT_READ);
	process_run(process, 30);
	process->left -= some;
}

static void build_step(struct crowd *crowd, struct process *process)
{
	if (process->left == 0)
		crowd_exit(crowd, process);
	else if (process->role == ROLE_LINKER)
		linker_step(process);
	else
		compiler_step(process);
}

static void build_run(struct generation *generation)
{
	const uint64_t *value = generation->value;
	struct pareto sizes = pareto_new(value[BUILD_LEAST], value[BUILD_MOST], value[BUILD_ALPHA]);
	uint64_t started = 0;
	struct crowd crowd;

	crowd_init(&crowd, generation, value[BUILD_CPUS], &make);
	while ((started < value[BUILD_COMPILES] || crowd.live->len > 1) &&
	       generation_more(generation)) {
		if (started < value[BUILD_COMPILES] && crowd.live->len <= value[BUILD_JOBS]) {
			build_start(&crowd, &sizes);
			started++;
			continue;
		}
		guint one = 1 + (guint)random_below(&generation->random, crowd.live->len - 1);
		build_step(&crowd, crowd_at(&crowd, one));
	}
	crowd_fini(&crowd);
}

const struct generator build_farm = {
	.name = "build-farm",
	.family = "process",
	.version = 1,
	.summary = "make -j: compilers grow, touch what they have, and exit; now and then a linker",
	.parameters = build_parameters,
	.problem = build_problem,
	.run = build_run,
};
