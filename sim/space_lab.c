#include "sim/space_lab.h"

#include <inttypes.h>
#include <string.h>

#include "sim/lab.h"
#include "sim/machine.h"
#include "sim/option.h"
#include "sim/random.h"
#include "sim/timer.h"
#include "sim/trap.h"

/* ---- choice ---- */

bool space_choice_find(struct space_choice *choice, const char *tables, const char *spaces,
		       GError **error)
{
	struct spaces_config config = { 0 };

	for (unsigned pass = 0; pass < PASSES; pass++) {
		choice->tables[pass] = kernel_spaces[pass].table_find(tables);
		choice->spaces[pass] = kernel_spaces[pass].space_find(spaces);
	}
	if (!choice->tables[PASS_NATIVE])
		return lab_usage(error, "unknown tables '%s' (kmemlab list tables)", tables);
	if (!choice->spaces[PASS_NATIVE])
		return lab_usage(error, "unknown space policy '%s' (kmemlab list spaces)", spaces);
	spaces_config_defaults(choice->tables[PASS_NATIVE], choice->spaces[PASS_NATIVE], &config);
	memcpy(choice->table_option, config.tables.option, sizeof(choice->table_option));
	memcpy(choice->space_option, config.option, sizeof(choice->space_option));
	return true;
}

bool space_choice_set(struct space_choice *choice, const char *setting, GError **error)
{
	bool tables = g_str_has_prefix(setting, "tables.");
	const struct frame_option *options = tables ? choice->tables[PASS_NATIVE]->options
						    : choice->spaces[PASS_NATIVE]->options;
	const char *name =
		tables ? choice->tables[PASS_NATIVE]->name : choice->spaces[PASS_NATIVE]->name;

	return option_set(options, name, setting,
			  tables ? choice->table_option : choice->space_option, error);
}

static struct spaces_config config_for(const struct machine *machine,
				       const struct frame_ops *frames,
				       const struct space_choice *choice, enum kernel_pass pass)
{
	struct spaces_config config = {
		.table_ops = choice->tables[pass],
		.policy = choice->spaces[pass],
		.tables = {
			.paging = machine_paging(machine->config),
			.layout = machine_table_layout(machine->config),
			.frame_caps = frames->caps,
			.frames_end = { machine->ram.size >> X86_PAGE_SHIFT },
			.cpus = machine->config->cpus,
			.small_only = machine_paging(machine->config) == BOOT_PAGING_32 &&
				      !machine->config->mmu.features.pse,
		},
	};

	memcpy(config.tables.option, choice->table_option, sizeof(config.tables.option));
	memcpy(config.option, choice->space_option, sizeof(config.option));
	return config;
}

bool space_lab_make_room(struct machine *machine, const struct frame_ops *frames,
			 const struct space_choice *choice, enum kernel_pass pass, GError **error)
{
	/* The native build's functions: nothing is booted that probes could watch. */
	struct spaces_config config = config_for(machine, frames, choice, PASS_NATIVE);
	const char *why = "refused";

	if (machine_paging(machine->config) == BOOT_PAGING_NONE)
		config.table_ops = table_find("none");
	machine->params.room_bytes = spaces_state_bytes(&config, &why);
	if (machine->params.room_bytes)
		return true;
	return lab_usage(error, "machine %s, page tables %s: %s", machine->config->name,
			 choice->tables[pass]->name, why);
}

/* ---- the frames that page tables and spaces take ---- */

static void judge(struct space_lab *lab, const struct space_lab_entry *entry)
{
	struct ledger_finding finding;
	const struct frame_block *block = &entry->block;
	enum ledger_verdict verdict;
	char message[160];

	if (!lab->ledger)
		return;
	verdict = entry->is_free
			  ? ledger_release(lab->ledger, block->first.n, block->frames,
					   block->frames, lab->owner, &finding)
			  : ledger_take(lab->ledger, block->first.n, block->frames, block->frames,
					entry->align_frames, lab->owner, entry->mobility, &finding);
	if (verdict == LEDGER_OK)
		return;
	g_snprintf(message, sizeof(message),
		   "%s of frame 0x%" PRIx64 " for page tables and spaces: %s",
		   entry->is_free ? "free" : "allocation", finding.frame,
		   ledger_verdict_name(verdict));
	lab->report(lab->context, ledger_verdict_name(verdict), finding.frame, message);
}

static void book_log(struct space_lab *lab)
{
	for (unsigned i = 0; i < lab->logged; i++)
		judge(lab, &lab->log[i]);
	lab->logged = 0;
}

static void note(struct space_lab *lab, const struct space_lab_entry *entry)
{
	if (!lab->timed) {
		judge(lab, entry);
		return;
	}
	if (lab->logged == SPACE_LAB_LOG)
		book_log(lab);
	lab->log[lab->logged++] = *entry;
}

static int watched_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct space_lab *lab = state;
	struct frames frames = lab->inner; /* on the kernel's stack */

	lab->requests++;
	if (lab->requests == lab->fail_at || (lab->fail_after && lab->requests > lab->fail_after)) {
		lab->refusals++;
		return KERR_NO_MEMORY;
	}
	enum probe_phase phase = probe_change_phase(PROBE_RUN);
	int status = kernels[lab->pass].frame_alloc(&frames, request, out);
	probe_change_phase(phase);
	lab->refusals += status != KERR_OK;
	if (status != KERR_OK)
		return status;
	struct space_lab_entry entry = { *out, request->align_frames, request->mobility, false };
	lab->held += out->frames;
	lab->digest = random_mix(lab->digest ^
				 random_mix(lab->requests * 0x9e3779b97f4a7c15ull + out->first.n));
	note(lab, &entry);
	return KERR_OK;
}

/* The frames are free in the ledger before the allocator writes its records there. */
static int watched_free(void *state, const struct frame_block *block)
{
	struct space_lab *lab = state;
	struct frames frames = lab->inner;
	struct space_lab_entry entry = { *block, 1, 0, true };

	if (!(frames.ops->caps & FRAME_CAP_FREE))
		return KERR_UNSUPPORTED;
	note(lab, &entry);
	enum probe_phase phase = probe_change_phase(PROBE_RUN);
	int status = kernels[lab->pass].frame_free(&frames, block);
	probe_change_phase(phase);
	if (status == KERR_OK)
		lab->held -= block->frames;
	return status;
}

/* Read by kernel code: constant. What the allocator behind it cannot do it says itself. */
static const struct frame_ops watched_ops = {
	.name = "watched",
	.id = "-",
	.summary = "the allocator under test, as page tables and spaces see it",
	.caps = FRAME_CAP_RUNS | FRAME_CAP_ANY_COUNT | FRAME_CAP_ALIGN | FRAME_CAP_AT |
		FRAME_CAP_FREE,
	.alloc = watched_alloc,
	.free = watched_free,
};

/* ---- calls into the kernel ---- */

static uint64_t enter(struct space_lab *lab)
{
	if (lab->pass == PASS_PROBED) {
		lab->counters = (struct probe_counters){ 0 };
		probe_phase(PROBE_KERNEL, &lab->counters);
	}
	trap_kernel_begin();
	if (!lab->timed)
		return 0;
	if (lab->meter)
		window_meter_start(lab->meter);
	return timer_start();
}

/* Net of the timer and of the lab's windows. */
static uint64_t net_ns(struct space_lab *lab, uint64_t start, uint64_t stop)
{
	uint64_t ns = timer_net_ns(timer_get(), start, stop);
	uint64_t lab_ns = lab->meter ? window_meter_stop(lab->meter) : 0;

	return ns > lab_ns ? ns - lab_ns : 0;
}

static uint64_t leave(struct space_lab *lab, uint64_t start)
{
	uint64_t stop = lab->timed ? timer_stop() : 0, ns = 0;

	trap_kernel_end();
	probe_phase(PROBE_OFF, NULL);
	if (lab->timed) {
		ns = net_ns(lab, start, stop);
		book_log(lab);
	}
	return ns;
}

static void tell(struct space_lab *lab, enum space_call call, uint64_t ns)
{
	if (lab->called)
		lab->called(lab->context, call, ns, &lab->counters);
}

static const struct kernel_spaces *kernel_of(const struct space_lab *lab)
{
	return &kernel_spaces[lab->pass];
}

void space_lab_init(struct space_lab *lab, struct machine *machine, enum kernel_pass pass,
		    const struct frames *frames, struct ledger *ledger, uint32_t owner)
{
	*lab = (struct space_lab){
		.machine = machine, .pass = pass, .inner = *frames, .ledger = ledger, .owner = owner
	};
}

int space_lab_start(struct space_lab *lab, const struct space_choice *choice)
{
	struct machine *machine = lab->machine;
	struct spaces_config config = config_for(machine, lab->inner.ops, choice, lab->pass);
	struct paddr room = pfn_to_paddr(machine->boot.room.first);
	struct spaces *spaces = NULL;

	machine_set_cpu(machine, 0);
	config.tables.frames = (struct frames){ &watched_ops, lab };
	config.tables.reach.direct = machine->params.direct_map;
	config.tables.reach.direct_end.n =
		MIN(config.tables.frames_end.n, machine->params.direct_map_bytes >> X86_PAGE_SHIFT);
	uint64_t start = enter(lab);
	int status = kernel_of(lab)->init(
		&config, machine_pointer(machine, vaddr_add(machine->params.direct_map, room.a)),
		&spaces);
	tell(lab, SPACE_CALL_START, leave(lab, start));
	lab->spaces = spaces;
	if (status == KERR_OK)
		lab->kernel_held =
			spaces->tables->kernel.table_frames - spaces->tables->has_zero_table;
	return status;
}

void space_lab_stop(struct space_lab *lab)
{
	char message[160];
	uint64_t start = enter(lab);

	kernel_of(lab)->fini(lab->spaces);
	leave(lab, start);
	if (lab->held == lab->kernel_held || !(lab->inner.ops->caps & FRAME_CAP_FREE))
		return;
	g_snprintf(message, sizeof(message),
		   "after the last process %" PRIu64 " frames of page tables and spaces are held, "
		   "and the kernel's own tables have %" PRIu64,
		   lab->held, lab->kernel_held);
	lab->report(lab->context, "leak", 0, message);
}

#define CALL(lab, call, operation, ...)                                                \
	({                                                                             \
		uint64_t start_ = enter(lab);                                          \
		int status_ = kernel_of(lab)->operation((lab)->spaces, ##__VA_ARGS__); \
		tell(lab, call, leave(lab, start_));                                   \
		status_;                                                               \
	})

int space_lab_new(struct space_lab *lab, struct space **out)
{
	struct space *space = NULL;
	int status = CALL(lab, SPACE_CALL_SPAWN, new, &space);

	*out = space;
	return status;
}

int space_lab_fork(struct space_lab *lab, struct space *parent, struct space **out)
{
	struct space *space = NULL;
	int status = CALL(lab, SPACE_CALL_FORK, fork, parent, &space);

	*out = space;
	return status;
}

void space_lab_switch(struct space_lab *lab, struct space *space)
{
	uint64_t start = enter(lab);

	kernel_of(lab)->change(lab->spaces, space);
	tell(lab, SPACE_CALL_SWITCH, leave(lab, start));
}

void space_lab_free(struct space_lab *lab, struct space *space)
{
	struct machine *machine = lab->machine;
	unsigned here = machine->current_cpu;

	/* Other CPUs are told by an interrupt to run the kernel's own space. */
	for (unsigned cpu = 0; cpu < machine->config->cpus; cpu++) {
		if (cpu == here || lab->spaces->tables->cpu[cpu].running != &space->root)
			continue;
		machine_set_cpu(machine, cpu);
		space_lab_switch(lab, NULL);
	}
	machine_set_cpu(machine, here);
	uint64_t start = enter(lab);
	kernel_of(lab)->free(lab->spaces, space);
	tell(lab, SPACE_CALL_EXIT, leave(lab, start));
}

int space_lab_map(struct space_lab *lab, struct space *space, uint64_t base, uint64_t end,
		  unsigned rights)
{
	return CALL(lab, SPACE_CALL_MMAP, map, space, base, end, rights);
}

int space_lab_unmap(struct space_lab *lab, struct space *space, uint64_t base, uint64_t end)
{
	return CALL(lab, SPACE_CALL_MUNMAP, unmap, space, base, end);
}

int space_lab_protect(struct space_lab *lab, struct space *space, uint64_t base, uint64_t end,
		      unsigned rights)
{
	return CALL(lab, SPACE_CALL_MPROTECT, protect, space, base, end, rights);
}

int space_lab_brk(struct space_lab *lab, struct space *space, uint64_t brk)
{
	return CALL(lab, SPACE_CALL_BRK, brk, space, brk);
}

int space_lab_fault(struct space_lab *lab, struct space *space, const struct mmu_fault *fault,
		    struct space_report *report)
{
	struct space_report told; /* on the kernel's stack */
	uint64_t start = enter(lab);
	int status =
		kernel_of(lab)->fault(lab->spaces, space, fault->cr2, fault->error_code, &told);
	uint64_t ns = leave(lab, start);

	*report = told;
	tell(lab, SPACE_CALL_FAULT + told.fault, ns);
	return status;
}

/* ---- users ---- */

/* Faults for one access: two pages, each made present and then writable, with room to spare. */
#define TOUCH_TRIES 16

static uint32_t access_once(struct mmu_cpu *cpu, struct vaddr va, void *data, unsigned bytes,
			    unsigned kind, struct mmu_fault *fault)
{
	struct mmu_access access = { .kind = (uint8_t)kind, .context = MMU_USER };

	switch (kind) {
	case MMU_READ:
		return mmu_read(cpu, va, data, bytes, access, fault);
	case MMU_FETCH:
		return mmu_fetch(cpu, va, data, bytes, access, fault);
	default:
		return mmu_write(cpu, va, data, bytes, access, fault);
	}
}

enum space_touch space_lab_touch(struct space_lab *lab, struct space *space, struct vaddr va,
				 void *data, unsigned bytes, unsigned kind,
				 space_faulted_fn faulted, void *context)
{
	struct mmu_cpu *cpu = lab->machine->cpu[lab->machine->current_cpu];
	struct space_report report;
	struct mmu_fault fault;

	for (unsigned tries = 0; tries < TOUCH_TRIES; tries++) {
		if (access_once(cpu, va, data, bytes, kind, &fault) == MMU_NO_FAULT)
			return TOUCH_DONE;
		if (fault.vector != MMU_PF) {
			report = (struct space_report){ .fault = SPACE_FAULT_BAD, .address = va.a };
			faulted(context, &report);
			return TOUCH_BAD;
		}
		int status = space_lab_fault(lab, space, &fault, &report);
		if (faulted)
			faulted(context, &report);
		if (status != KERR_OK)
			return status == KERR_NO_MEMORY ? TOUCH_NO_MEMORY : TOUCH_BAD;
	}
	char message[160];
	g_snprintf(message, sizeof(message),
		   "the fault handler says that it has served user address 0x%" PRIx64
		   " (error code 0x%x), %u times",
		   fault.cr2.a, fault.error_code, TOUCH_TRIES);
	lab->report(lab->context, "never-served", 0, message);
	return TOUCH_BAD;
}
