/* The workloads of generate.h: what their processes do. */
#include "workloads/generate/generator.h"

/* ---- fork-storm ---- */

enum { STORM_COMMANDS, STORM_WIDTH, STORM_DEPTH, STORM_STEPS };

static const struct image shell = { 180, 40, 300, 32 };
static const struct image command = { 40, 12, 300, 32 };

/* One command: forked as deep as asked for, each child touching what it inherited; the last one
 * executes. */
static uint32_t start_command(struct generator *g, uint32_t parent, uint64_t depth)
{
	uint32_t process = parent;

	for (uint64_t i = 0; i < depth; i++) {
		process = generator_fork(g, process);
		generator_run(g, process, &shell, 8);
	}
	generator_exec(g, process, "command");
	generator_load(g, process, &command);
	return process;
}

static void finish_command(struct generator *g, uint32_t last, uint64_t depth, uint64_t steps)
{
	generator_run(g, last, &command, generator_around(g, (uint32_t)steps));
	for (uint64_t i = 0; i < depth; i++)
		generator_exit(g, last - (uint32_t)i);
}

void generate_fork_storm(struct generator *g, const uint64_t *values)
{
	uint32_t parent = generator_spawn(g, "shell");
	uint64_t width = MIN(values[STORM_WIDTH], values[STORM_COMMANDS]);
	uint32_t *alive = g_new(uint32_t, width);

	generator_load(g, parent, &shell);
	generator_run(g, parent, &shell, 2000);
	for (uint64_t done = 0; done < values[STORM_COMMANDS] && !g->error; done += width) {
		for (uint64_t i = 0; i < width; i++)
			alive[i] = start_command(g, parent, values[STORM_DEPTH]);
		generator_run(g, parent, &shell, 20);
		for (uint64_t i = 0; i < width; i++)
			finish_command(g, alive[i], values[STORM_DEPTH], values[STORM_STEPS]);
	}
	generator_exit(g, parent);
	g_free(alive);
}

/* ---- server ---- */

enum { SERVER_PROCESSES, SERVER_REQUESTS, SERVER_PAGES, SERVER_SHARED };

static void serve(struct generator *g, uint32_t worker, const struct image *image, uint32_t pages)
{
	uint64_t bytes = pages * IMAGE_PAGE;

	generator_region(g, worker, EVENT_MMAP, IMAGE_MMAP, bytes, RIGHT_READ | RIGHT_WRITE);
	generator_run(g, worker, image, 24);
	for (uint32_t i = 0; i < pages; i++)
		generator_touch(g, worker, IMAGE_MMAP + i * IMAGE_PAGE + generator_below(g, 4096),
				generator_below(g, 3) ? RIGHT_WRITE : RIGHT_READ);
	if (generator_below(g, 8) == 0)
		generator_region(g, worker, EVENT_MPROTECT, IMAGE_MMAP, bytes, RIGHT_READ);
	generator_touch(g, worker, IMAGE_MMAP, RIGHT_READ);
	generator_region(g, worker, EVENT_MUNMAP, IMAGE_MMAP, bytes, 0);
}

void generate_server(struct generator *g, const uint64_t *values)
{
	uint32_t processes = (uint32_t)values[SERVER_PROCESSES];
	const struct image image = { 400, (uint32_t)values[SERVER_SHARED], 600, 32 };
	uint32_t parent = generator_spawn(g, "server");
	uint32_t first = parent + 1;

	generator_load(g, parent, &image);
	for (uint32_t i = 0; i < image.data_pages; i++)
		generator_touch(g, parent, IMAGE_DATA + i * IMAGE_PAGE, RIGHT_WRITE);
	generator_run(g, parent, &image, 1000);
	for (uint32_t i = 0; i < processes && !g->error; i++)
		generator_fork(g, parent);
	for (uint64_t i = 0; i < values[SERVER_REQUESTS] && !g->error; i++)
		serve(g, first + generator_below(g, processes), &image,
		      generator_around(g, (uint32_t)values[SERVER_PAGES]));
	for (uint32_t i = 0; i < processes && !g->error; i++)
		generator_exit(g, first + i);
	generator_exit(g, parent);
}

/* ---- build-farm ---- */

enum { FARM_UNITS, FARM_JOBS, FARM_HEAP, FARM_STEPS };

static const struct image make = { 60, 200, 300, 32 };
static const struct image compiler = { 3000, 300, 600, 64 };

struct job {
	uint32_t process;
	uint32_t heap_pages, wanted_pages, steps;
};

static void start_job(struct generator *g, struct job *job, uint32_t parent, const uint64_t *values)
{
	job->process = generator_fork(g, parent);
	generator_run(g, job->process, &make, 12);
	generator_exec(g, job->process, "cc1");
	generator_load(g, job->process, &compiler);
	job->heap_pages = 0;
	job->wanted_pages = generator_around(g, (uint32_t)values[FARM_HEAP]);
	job->steps = generator_around(g, (uint32_t)values[FARM_STEPS]);
}

/* A slice of a compiler's time: the heap grows, and its newest part is written. False: it ends. */
static bool work(struct generator *g, struct job *job)
{
	uint32_t slice = MIN(job->steps, 100), grow = MIN(32, job->wanted_pages - job->heap_pages);

	if (grow > 0)
		generator_region(g, job->process, EVENT_BRK,
				 IMAGE_HEAP + (job->heap_pages + grow) * IMAGE_PAGE, 0, 0);
	for (uint32_t i = 0; i < grow; i++)
		generator_touch(g, job->process, IMAGE_HEAP + (job->heap_pages + i) * IMAGE_PAGE,
				RIGHT_WRITE);
	job->heap_pages += grow;
	generator_run(g, job->process, &compiler, slice);
	for (uint32_t i = 0; i < slice / 4; i++)
		generator_touch(g, job->process,
				IMAGE_HEAP +
					generator_below(g, job->heap_pages * (uint32_t)IMAGE_PAGE),
				RIGHT_READ | RIGHT_WRITE);
	job->steps -= slice;
	return job->steps > 0;
}

void generate_build_farm(struct generator *g, const uint64_t *values)
{
	uint32_t parent = generator_spawn(g, "make");
	uint32_t jobs = (uint32_t)MIN(values[FARM_JOBS], values[FARM_UNITS]), live = 0;
	uint64_t started = 0;
	struct job *job = g_new0(struct job, jobs);

	generator_load(g, parent, &make);
	generator_run(g, parent, &make, 3000);
	while ((live > 0 || started < values[FARM_UNITS]) && !g->error) {
		while (live < jobs && started < values[FARM_UNITS]) {
			start_job(g, &job[live++], parent, values);
			started++;
		}
		uint32_t i = generator_below(g, live);
		if (work(g, &job[i]))
			continue;
		generator_exit(g, job[i].process);
		job[i] = job[--live];
	}
	generator_exit(g, parent);
	g_free(job);
}
