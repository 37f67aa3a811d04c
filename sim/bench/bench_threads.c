/*
 * Throughput by CPUs (metric 19): every system with one host thread, then with two, each as a CPU
 * of one machine, in wall clock. A ratio of 0.5 is perfect scaling, 1 none; what lies above is the
 * price of the lock, or of cache lines that CPUs share.
 */
#include <string.h>

#include "alloc/frame/frame.h"
#include "alloc/lock.h"
#include "sim/bench/bench.h"
#include "sim/kernel.h"
#include "sim/lab.h"
#include "sim/threads.h"

#define RAM_BYTES (64ull << 20)
#define CPUS	  2
#define HELD	  16  /* blocks that a CPU has at a time */
#define STEPS	  500 /* pairs of a CPU, for each percent of scale */

struct contest {
	struct machine *machine;
	unsigned threads;
	uint64_t pairs; /* of each thread */
	const char *problem;
};

/* Frees the oldest of a few frames and allocates another. */
static void pairs(struct threads_worker *worker)
{
	const struct contest *contest = worker->context;
	struct frames frames = contest->machine->boot.frames;
	struct frame_request request = { .frames = 1,
					 .align_frames = 1,
					 .cpu = (uint16_t)worker->index };
	struct frame_block held[HELD];

	memset(held, 0, sizeof(held));
	for (uint64_t i = 0; i < contest->pairs && !threads_stopping(worker); i++) {
		struct frame_block *block = &held[i % HELD];
		if (block->frames && frame_free(&frames, block) != KERR_OK)
			trap_die("lab", "a free is refused");
		if (frame_alloc(&frames, &request, block) != KERR_OK)
			trap_die("lab", "an allocation fails");
		threads_alive(worker);
	}
	for (unsigned i = 0; i < HELD; i++)
		if (held[i].frames && frame_free(&frames, &held[i]) != KERR_OK)
			trap_die("lab", "a free is refused");
}

/* A bench_runner's: by the wall, for two threads have twice the CPU time. */
static uint64_t run_contest(void *context)
{
	struct contest *contest = context;
	struct threads_report report;
	struct threads_config config = { .machine = contest->machine,
					 .count = contest->threads,
					 .run = pairs,
					 .context = contest,
					 .limit_ms = 60000 };

	if (!threads_run(&config, &report, NULL))
		contest->problem = "no host threads";
	else if (report.died)
		contest->problem = "a thread ended early";
	return report.wall_ns;
}

/* NULL where the system does not run on such a machine. */
static struct machine *boot_machine(const struct frame_ops *ops)
{
	GArray *map = machine_pc_map(RAM_BYTES);
	struct machine_config *config = machine_config_from_map("bench", map);
	struct frame_config frame_config;
	struct machine *machine;

	config->cpus = CPUS;
	frame_config_defaults(ops, &frame_config);
	frame_config.cpus = CPUS;
	machine = machine_new(config, NULL);
	machine_config_free(config);
	g_array_unref(map);
	if (!machine)
		return NULL;
	machine_enter(machine);
	if (machine_boot(machine, kernels[PASS_NATIVE].boot, ops, &frame_config, NULL))
		return machine;
	machine_leave();
	machine_free(machine);
	return NULL;
}

static bool bench_system(const struct frame_ops *ops, const struct bench_options *options,
			 GArray *figures, GError **error)
{
	struct machine *machine = boot_machine(ops);
	uint64_t steps = MAX(options->scale, 1) * STEPS;
	struct contest one = { machine, 1, steps, NULL }, two = { machine, CPUS, steps, NULL };

	if (!machine)
		return true;
	char *name = g_strdup_printf("threads/%s", ops->name);
	bench_compare(
		figures, name, "ns/pair", &(struct bench_runner){ run_contest, &two, CPUS * steps },
		"the same on one thread", &(struct bench_runner){ run_contest, &one, steps }, 0);
	const char *problem = one.problem ? one.problem : two.problem;
	if (problem)
		g_set_error(error, LAB_ERROR, LAB_ERROR_LAB, "lab error: bench: %s: %s", name,
			    problem);
	g_free(name);
	machine_leave();
	machine_free(machine);
	return !problem;
}

bool bench_threads(const struct bench_options *options, GArray *figures, GError **error)
{
	for (const struct frame_ops *const *ops = frame_registry; *ops; ops++)
		if (((*ops)->caps & FRAME_CAP_FREE) && !bench_system(*ops, options, figures, error))
			return false;
	return true;
}
