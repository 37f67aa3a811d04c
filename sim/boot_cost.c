#include "sim/boot_cost.h"

#include "sim/lab.h"
#include "sim/probe.h"
#include "sim/timer.h"
#include "sim/trap.h"

struct start {
	const struct kernel *kernel;
	struct machine *machine;
	int status;
};

static void first_frame(void *argument)
{
	struct start *start = argument;
	const struct frame_request one = { .frames = 1, .align_frames = 1 };
	struct frames frames = start->machine->boot.frames; /* on the kernel's stack */
	struct frame_block block;

	trap_kernel_begin();
	start->status = start->kernel->frame_alloc(&frames, &one, &block);
	trap_kernel_end();
}

static void ignore(void *context, const struct probe_finding *finding)
{
}

/* Boots and takes a frame. What is wrong with the kernel is in *error. */
static bool start_machine(struct start *start, const struct frame_ops *ops, GError **error)
{
	struct frame_config config;
	struct trap_report report;

	frame_config_defaults(ops, &config);
	if (!machine_boot(start->machine, start->kernel->boot, ops, &config, error))
		return false;
	if (trap_run(first_frame, start, &report))
		return true;
	g_set_error(error, LAB_ERROR, LAB_ERROR_ALLOCATOR, "allocator error: %s: %s", ops->name,
		    report.message);
	return false;
}

static void note(const struct machine *machine, struct boot_cost *cost)
{
	cost->managed_frames = machine->boot.map.frames;
	cost->state_bytes = machine->boot.state_bytes;
	cost->table_frames = machine->boot.table_frames;
}

static bool native_cost(const struct frame_ops *ops, struct start *start, struct boot_cost *cost,
			GError **error)
{
	uint64_t before = timer_thread_cpu_ns();
	bool fine = start_machine(start, ops, error);

	cost->ns = timer_thread_cpu_ns() - before;
	if (fine)
		note(start->machine, cost);
	return fine;
}

static bool probed_cost(const struct frame_ops *ops, struct start *start, struct boot_cost *cost,
			GError **error)
{
	struct probe probe = { .machine = start->machine, .frames = ops, .report = ignore };
	struct probe_counters counters = { 0 };

	probe_begin(&probe);
	bool fine = probe_count_frames(start->machine->ram.size >> X86_PAGE_SHIFT);
	if (!fine)
		g_set_error(error, LAB_ERROR, LAB_ERROR_LAB,
			    "lab error: the host has no address space to count frames");
	probe_phase(PROBE_BOOT, &counters);
	fine = fine && start_machine(start, ops, error);
	probe_phase(PROBE_OFF, NULL);
	cost->frames_touched = probe_frames_touched();
	probe_end();
	cost->loads = counters.loads;
	cost->stores = counters.stores;
	cost->atomics = counters.atomics;
	if (fine)
		note(start->machine, cost);
	return fine;
}

static bool one_pass(const struct frame_ops *ops, enum kernel_pass pass, uint64_t ram_bytes,
		     struct boot_cost *cost, GError **error)
{
	GArray *map = machine_pc_map(ram_bytes);
	struct machine_config *config = machine_config_from_map("pc", map);
	struct start start = { .kernel = &kernels[pass], .machine = machine_new(config, error) };
	bool fine = start.machine != NULL;

	if (fine) {
		machine_enter(start.machine);
		fine = pass == PASS_NATIVE ? native_cost(ops, &start, cost, error)
					   : probed_cost(ops, &start, cost, error);
		machine_leave();
	}
	machine_free(start.machine);
	machine_config_free(config);
	g_array_unref(map);
	return fine;
}

bool boot_cost(const struct frame_ops *const frames[PASSES], uint64_t ram_bytes,
	       uint64_t host_bytes, struct boot_cost *cost, GError **error)
{
	GError *cause = NULL;

	*cost = (struct boot_cost){ .ram_bytes = ram_bytes };
	if ((frames[PASS_NATIVE]->caps & FRAME_CAP_TOUCHES_ALL) && ram_bytes > host_bytes) {
		cost->refused = g_strdup("writes every free frame: more host memory than allowed");
		return true;
	}
	for (unsigned pass = 0; pass < PASSES && !cause; pass++)
		if (frames[pass])
			one_pass(frames[pass], pass, ram_bytes, cost, &cause);
	if (!cause)
		return true;
	if (g_error_matches(cause, LAB_ERROR, LAB_ERROR_BOOT)) {
		*cost = (struct boot_cost){ .ram_bytes = ram_bytes,
					    .refused = g_strdup(cause->message) };
		g_error_free(cause);
		return true;
	}
	g_propagate_error(error, cause);
	return false;
}

void boot_cost_clear(struct boot_cost *cost)
{
	g_clear_pointer(&cost->refused, g_free);
}
