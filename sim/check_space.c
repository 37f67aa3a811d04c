#include "sim/check_space.h"

#include <inttypes.h>
#include <string.h>

#include "sim/lab.h"
#include "sim/machine.h"
#include "sim/process.h"
#include "sim/random.h"
#include "sim/run.h"
#include "sim/shrink.h"
#include "sim/space_lab.h"
#include "sim/space_model.h"
#include "sim/trap.h"
#include "workloads/trace.h"

#define CPUS	      3
#define RAM_BYTES     (40ull << 20)
#define PROCESSES_MAX 12
#define SHRINK_TRIALS 2000
#define AUDITS	      20
#define SHRINK_AUDITS 64

/* ---- one configuration ---- */

struct cell {
	const struct check_space_config *config;
	const char *tables, *spaces, *mode;
	enum kernel_pass pass;
	struct space_choice choice;
	const struct frame_ops *frames;
	struct machine_config *machine;
};

static bool cell_machine(struct cell *cell, GError **error)
{
	bool long_mode = strchr(cell->mode, 'l') != NULL;
	g_autofree char *arch = g_strdup(long_mode ? "x86_64" : "i386");

	cell->machine = machine_config_new("pc-512m", error);
	if (!cell->machine || !machine_config_set(cell->machine, "arch", arch, error) ||
	    !machine_config_set(cell->machine, "paging", cell->mode, error) ||
	    !machine_config_resize(cell->machine, RAM_BYTES, error))
		return false;
	cell->machine->cpus = cell->config->cpus ? cell->config->cpus : CPUS;
	cell->machine->stale_check = true;
	return true;
}

static bool cell_find(struct cell *cell, GError **error)
{
	const char *frames = cell->config->frames ? cell->config->frames : "buddy";

	if (!space_choice_find(&cell->choice, cell->tables, cell->spaces, error))
		return false;
	for (char **setting = cell->config->settings; setting && *setting; setting++)
		if (!space_choice_set(&cell->choice, *setting, error))
			return false;
	cell->frames = kernels[cell->pass].frame_find(frames);
	return cell->frames ||
	       lab_usage(error, "unknown page-frame allocator '%s' (kmemlab list frames)", frames);
}

static char *cell_name(const struct cell *cell)
{
	return g_strdup_printf("tables %s, space %s, %s paging, %s pass, seed %" G_GUINT64_FORMAT,
			       cell->tables, cell->spaces, cell->mode, kernels[cell->pass].name,
			       cell->config->seed);
}

/* ---- one run of a list of events ---- */

struct trial {
	const struct cell *cell;
	const GArray *events; /* struct event; NULL: made on the way */
	GArray *made;
	uint64_t wanted;
	struct random random;
	struct machine *machine;
	struct ledger *ledger;
	struct space_lab *lab;
	struct processes processes;
	struct model *model;
	uint64_t refusals; /* allocations that failed, seen so far */
	uint64_t now;	   /* event */
	uint32_t next_process;
	const struct event *event; /* being done */
	struct check_space_report counts;
	char *message; /* the first thing wrong */
	uint64_t failed_at;
};

static void G_GNUC_PRINTF(2, 3) fail(struct trial *trial, const char *format, ...)
{
	va_list arguments;

	if (trial->message)
		return;
	va_start(arguments, format);
	trial->message = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	trial->failed_at = trial->now;
}

static void on_report(void *context, const char *kind, uint64_t frame, const char *message)
{
	fail(context, "%s: %s", kind, message);
}

static void on_probe(void *context, const struct probe_finding *finding)
{
	fail(context, "%s: %s", finding->kind, finding->message);
}

static void on_stale(void *context, const struct mmu_stale *stale)
{
	fail(context,
	     "stale: a touch of 0x%" PRIx64
	     " by CPU %u uses a translation (kind %u, physical 0x%" PRIx64
	     ") that the tables no longer give",
	     stale->va.a, mmu_cpu_number(stale->cpu), stale->kind, stale->used.a);
}

static void on_touched(void *context, const struct process *process, uint64_t va,
		       const uint8_t *data, unsigned bytes, bool written)
{
	struct trial *trial = context;

	if (written)
		model_write(trial->model, process->number, va, data, bytes);
	else if (!(trial->event->u.touch.access & RIGHT_EXEC) &&
		 !model_holds(trial->model, process->number, va, data, bytes))
		fail(trial, "contents: process %u reads at 0x%" PRIx64 " what nobody wrote there",
		     process->number, va);
	else if (trial->event->u.touch.access & RIGHT_EXEC &&
		 !model_holds(trial->model, process->number, va, data, bytes))
		fail(trial, "contents: process %u fetches at 0x%" PRIx64 " what nobody wrote there",
		     process->number, va);
}

static void on_faulted(void *context, const struct space_report *report)
{
	struct trial *trial = context;

	trial->counts.faults++;
	trial->counts.large += report->fault == SPACE_FAULT_LARGE;
}

/* ---- random events ---- */

static unsigned random_pages(struct trial *trial, unsigned page)
{
	static const unsigned most[] = { 1, 4, 32, 2560 };
	unsigned wanted = most[random_below(&trial->random, G_N_ELEMENTS(most))];
	unsigned limit = MIN(wanted, model_room(page));

	return 1 + (unsigned)random_below(&trial->random, limit);
}

/* Pages of few places, so that what is touched is often mapped. */
static unsigned random_page(struct trial *trial)
{
	static const unsigned starts[] = { 0, 64, 192, 704, 1216, 2752, 2880, 3008, 3072 };
	unsigned start = starts[random_below(&trial->random, G_N_ELEMENTS(starts))];

	return start + (unsigned)random_below(&trial->random, 64);
}

static struct event region_event(struct trial *trial, uint32_t process, unsigned kind)
{
	static const uint8_t rights[] = { 3, 3, 3, 1, 7, 5, 0 };
	unsigned page = random_page(trial);
	struct event event = { .kind = (uint8_t)kind, .task = process };

	/* Heaps are brk's. */
	if (page >= MODEL_PAGES - MODEL_HEAP_PAGES)
		page = 192;
	/* Sometimes the whole of a span, for shared zero tables. */
	if (random_below(&trial->random, 8) == 0) {
		event.u.region.address = 0x08000000;
		event.u.region.bytes = 0x800000;
	} else {
		event.u.region.address = model_address(page);
		event.u.region.bytes = random_pages(trial, page) * FRAME_BYTES;
	}
	event.u.region.rights = rights[random_below(&trial->random, sizeof(rights))];
	if (kind == EVENT_MMAP && random_below(&trial->random, 3) == 0)
		event.u.region.rights |= RIGHT_LARGE;
	return event;
}

static struct event touch_event(struct trial *trial, uint32_t process)
{
	static const uint8_t accesses[] = { 1, 1, 1, 1, 2, 2, 2, 3, 4 };
	struct event event = { .kind = EVENT_TOUCH, .task = process };
	unsigned page = random_page(trial);

	event.u.touch.address = model_address(page) + random_below(&trial->random, FRAME_BYTES);
	event.u.touch.bytes = 1 + (uint32_t)random_below(&trial->random, 16);
	event.u.touch.access = accesses[random_below(&trial->random, sizeof(accesses))];
	return event;
}

static struct event process_start(struct trial *trial, uint32_t parent, unsigned kind)
{
	struct event event = { .kind = (uint8_t)kind, .task = parent };

	event.u.process.child = ++trial->next_process;
	return event;
}

static struct event brk_event(struct trial *trial, uint32_t process)
{
	struct event event = { .kind = EVENT_BRK, .task = process };

	event.u.region.address =
		model_heap() + random_below(&trial->random, MODEL_HEAP_PAGES * FRAME_BYTES);
	return event;
}

static struct event random_event(struct trial *trial)
{
	unsigned live = model_processes(trial->model);
	uint64_t dice = random_below(&trial->random, 1000);

	if (live == 0)
		return process_start(trial, 0, EVENT_SPAWN);
	uint32_t process =
		model_process(trial->model, (unsigned)random_below(&trial->random, live));
	if (dice < 10 && live < PROCESSES_MAX)
		return process_start(trial, process, EVENT_FORK);
	if (dice < 12 && live < PROCESSES_MAX)
		return process_start(trial, 0, EVENT_SPAWN);
	if (dice < 22)
		return (struct event){ .kind = live > 2 ? EVENT_EXIT : EVENT_EXEC,
				       .task = process };
	if (dice < 90)
		return region_event(trial, process, EVENT_MMAP);
	if (dice < 130)
		return region_event(trial, process, EVENT_MUNMAP);
	if (dice < 180)
		return region_event(trial, process, EVENT_MPROTECT);
	if (dice < 200)
		return brk_event(trial, process);
	if (dice < 215) {
		struct event event = { .kind = EVENT_NOTE };
		event.u.note.count = 1;
		event.u.note.value[0] = 1 + random_below(&trial->random, 6);
		return event;
	}
	return touch_event(trial, process);
}

/* The next event: from the list, or made. False: no more. */
static bool next_event(struct trial *trial, struct event *event)
{
	if (trial->events) {
		if (trial->now >= trial->events->len)
			return false;
		*event = g_array_index(trial->events, struct event, trial->now);
		return true;
	}
	if (trial->counts.common.operations >= trial->wanted)
		return false;
	*event = random_event(trial);
	event->cpu = (uint16_t)random_below(&trial->random, trial->machine->config->cpus);
	g_array_append_val(trial->made, *event);
	return true;
}

/* ---- doing them ---- */

/* Makes sense for the model: shrinking leaves gaps. */
static bool is_possible(const struct trial *trial, const struct event *event)
{
	bool lives = false, child = false;

	for (unsigned i = 0; i < model_processes(trial->model); i++) {
		lives |= model_process(trial->model, i) == event->task;
		child |= model_process(trial->model, i) == event->u.process.child;
	}
	if (event->kind == EVENT_NOTE)
		return true;
	if (!process_event_is(event->kind))
		return false;
	if (event->kind == EVENT_SPAWN)
		return !child;
	return lives && !(event->kind == EVENT_FORK && child);
}

static void judge_touch(struct trial *trial, const struct event *event,
			enum process_outcome outcome)
{
	bool allowed = model_allows(trial->model, event);

	trial->counts.touches++;
	trial->counts.refused_touches += outcome == PROCESS_KILLED;
	if (outcome == PROCESS_KILLED && allowed)
		fail(trial, "fault: process %u may touch 0x%" PRIx64 " (access %u) and is refused",
		     event->task, event->u.touch.address, event->u.touch.access);
	else if (outcome == PROCESS_DONE && !allowed)
		fail(trial, "fault: process %u touches 0x%" PRIx64 " (access %u), which it may not",
		     event->task, event->u.touch.address, event->u.touch.access);
}

static void do_event(struct trial *trial, const struct event *event)
{
	struct space_lab *lab = trial->lab;
	uint64_t refusals = lab->refusals;

	if (event->kind == EVENT_NOTE) {
		lab->fail_at = lab->requests + event->u.note.value[0];
		return;
	}
	machine_set_cpu(trial->machine, event->cpu % trial->machine->config->cpus);
	trial->event = event;
	/* Heaps begin where the model has room for them. */
	bool first_brk = event->kind == EVENT_BRK && process_find(&trial->processes, event->task) &&
			 process_find(&trial->processes, event->task)->space->brk_base == 0;
	struct event real = *event;
	if (first_brk)
		real.u.region.address = model_heap();
	enum process_outcome outcome = process_event(&trial->processes, &real, trial->now);
	if (event->kind == EVENT_TOUCH)
		judge_touch(trial, event, outcome);
	else if (outcome == PROCESS_DONE)
		model_apply(trial->model, &real);
	else if (outcome != PROCESS_FAILED)
		fail(trial, "refused: an event of kind %u of process %u, outcome %u", event->kind,
		     event->task, outcome);
	if (outcome == PROCESS_FAILED) {
		trial->counts.common.unserved++;
		if (lab->refusals == refusals)
			fail(trial,
			     "memory: event of kind %u fails, and every frame asked for came",
			     event->kind);
		/* The old program is gone, and the new one has no space. */
		if (event->kind == EVENT_EXEC)
			model_apply(trial->model,
				    &(struct event){ .kind = EVENT_EXIT, .task = event->task });
	}
	trial->counts.common.operations++;
}

static void run_events(void *argument)
{
	struct trial *trial = argument;
	const struct check_space_config *config = trial->cell->config;
	/* A short list is audited at every event, so that it ends where it fails. */
	uint64_t total = trial->events ? trial->events->len : trial->wanted; /* or some more */
	uint64_t step = trial->events	       ? MAX(1, total / SHRINK_AUDITS)
			: config->audit_events ? config->audit_events
					       : MAX(1, total / AUDITS);
	struct event event;

	if (space_lab_start(trial->lab, &trial->cell->choice) != KERR_OK) {
		fail(trial, "start: the kernel has no memory for its page tables");
		return;
	}
	if (config->plant)
		config->plant(config->plant_context, trial->lab->spaces);
	for (; !trial->message && next_event(trial, &event); trial->now++) {
		if (is_possible(trial, &event))
			do_event(trial, &event);
		if (trial->now % step == step - 1 && !trial->message)
			space_lab_audit(trial->lab);
	}
	trial->lab->fail_at = 0;
	if (!trial->message)
		space_lab_audit(trial->lab);
	if (trial->message)
		return;
	machine_set_cpu(trial->machine, 0);
	processes_exit_all(&trial->processes);
	space_lab_audit(trial->lab);
	space_lab_stop(trial->lab);
}

static void boot_ledger(struct trial *trial)
{
	const struct boot_result *boot = &trial->machine->boot;

	trial->ledger = ledger_new(trial->machine->ram.size >> X86_PAGE_SHIFT);
	for (uint32_t i = 0; i < boot->map.count; i++)
		ledger_assign(trial->ledger, boot->map.ranges[i].first.n,
			      boot->map.ranges[i].frames, LEDGER_FREE);
	for (guint i = 0; i < trial->machine->usable->len; i++) {
		const struct frame_range *range =
			&g_array_index(trial->machine->usable, struct frame_range, i);
		ledger_assign_holes(trial->ledger, range->first.n, range->frames, LEDGER_TABLE);
	}
	ledger_assign(trial->ledger, boot->state_range.first.n, boot->state_range.frames,
		      LEDGER_STATE);
	ledger_seal(trial->ledger);
}

static void set_checkers(struct trial *trial)
{
	const struct mmu_checker checker = { .context = trial, .stale = on_stale };

	for (unsigned i = 0; i < trial->machine->config->cpus; i++)
		mmu_set_checker(trial->machine->cpu[i], &checker);
}

static bool trial_boot(struct trial *trial, GError **error)
{
	const struct cell *cell = trial->cell;
	struct frame_config frame_config;

	trial->machine = machine_new(cell->machine, error);
	if (!trial->machine ||
	    !space_lab_make_room(trial->machine, cell->frames, &cell->choice, cell->pass, error))
		return false;
	machine_enter(trial->machine);
	frame_config_defaults(cell->frames, &frame_config);
	frame_config.cpus = cell->machine->cpus;
	struct probe probe = { .machine = trial->machine,
			       .frames = cell->frames,
			       .report = on_probe,
			       .context = trial };
	if (cell->pass == PASS_PROBED) {
		probe_begin(&probe);
		probe_phase(PROBE_BOOT, NULL);
	}
	bool booted = machine_boot(trial->machine, kernels[cell->pass].boot, cell->frames,
				   &frame_config, error);
	probe_phase(PROBE_OFF, NULL);
	if (!booted)
		return false;
	boot_ledger(trial);
	if (cell->pass == PASS_PROBED)
		probe_set_ledger(trial->ledger);
	else
		set_checkers(trial);
	return true;
}

static void trial_end(struct trial *trial)
{
	if (trial->cell->pass == PASS_PROBED)
		probe_end();
	machine_leave();
	processes_fini(&trial->processes);
	g_clear_pointer(&trial->model, model_free);
	g_clear_pointer(&trial->ledger, ledger_free);
	g_clear_pointer(&trial->lab, g_free);
	machine_free(trial->machine);
	trial->machine = NULL;
}

/* Runs it from power-on. False with error: the cell is refused. What is wrong is in the trial. */
static bool trial_run(struct trial *trial, GError **error)
{
	struct trap_report report;
	bool fine = trial_boot(trial, error);

	if (fine) {
		trial->lab = g_new0(struct space_lab, 1);
		space_lab_init(trial->lab, trial->machine, trial->cell->pass,
			       &trial->machine->boot.frames, trial->ledger, LEDGER_HANDLE_BASE + 1);
		trial->lab->report = on_report;
		trial->lab->context = trial;
		processes_init(&trial->processes, trial->lab);
		trial->processes.survive = true;
		trial->processes.touched = on_touched;
		trial->processes.faulted = on_faulted;
		trial->processes.context = trial;
		trial->model = model_new(
			table_geometry(machine_paging(trial->machine->config))->no_execute);
		if (!trap_run(run_events, trial, &report))
			fail(trial, "%s: %s", report.kind, report.message);
	}
	trial_end(trial);
	return fine;
}

/* ---- failures ---- */

static bool list_fails(void *context, GArray *list)
{
	struct trial trial = { .cell = context, .events = list };

	trial_run(&trial, NULL);
	bool failed = trial.message != NULL;
	if (failed && trial.failed_at + 1 < list->len)
		g_array_set_size(list, (guint)trial.failed_at + 1);
	g_free(trial.message);
	return failed;
}

static bool simpler(void *context, void *operation, unsigned step)
{
	struct event *event = operation;

	switch (step) {
	case 0:
		event->cpu = 0;
		return true;
	case 1:
		if (event->kind == EVENT_TOUCH)
			event->u.touch.bytes = 1;
		else if (event->kind >= EVENT_MMAP && event->kind <= EVENT_MPROTECT)
			event->u.region.bytes = FRAME_BYTES;
		return true;
	default:
		return false;
	}
}

static char *event_text(const struct event *event)
{
	static const char *const names[] = { "spawn",  "fork",	   "exec", "exit", "mmap",
					     "munmap", "mprotect", "brk",  "touch" };

	if (event->kind == EVENT_NOTE)
		return g_strdup_printf("allocation %" PRIu64 " from here on fails",
				       event->u.note.value[0]);
	const char *name = names[event->kind - EVENT_SPAWN];
	if (event->kind == EVENT_SPAWN || event->kind == EVENT_FORK)
		return g_strdup_printf("cpu %u process %u: %s of process %u", event->cpu,
				       event->task, name, event->u.process.child);
	if (event->kind == EVENT_TOUCH)
		return g_strdup_printf("cpu %u process %u: touch of %u bytes at 0x%" PRIx64
				       ", access %u",
				       event->cpu, event->task, event->u.touch.bytes,
				       event->u.touch.address, event->u.touch.access);
	if (event->kind < EVENT_MMAP)
		return g_strdup_printf("cpu %u process %u: %s", event->cpu, event->task, name);
	return g_strdup_printf("cpu %u process %u: %s 0x%" PRIx64 " + 0x%" PRIx64 ", rights %u",
			       event->cpu, event->task, name, event->u.region.address,
			       event->u.region.bytes, event->u.region.rights);
}

static bool save(const struct cell *cell, const GArray *events, const char *path, GError **error)
{
	struct trace_writer *writer = trace_writer_new(path, error);
	struct trace_meta *meta;
	bool fine = writer != NULL;

	if (!fine)
		return false;
	uint32_t name = trace_writer_string(writer, "fail-allocation");
	for (guint i = 0; fine && i < events->len; i++) {
		struct event event = g_array_index(events, struct event, i);
		event.time_ns = i;
		if (event.kind == EVENT_NOTE)
			event.u.note.name = name;
		fine = trace_writer_add(writer, &event, error);
	}
	if (!fine) {
		trace_writer_abort(writer);
		return false;
	}
	meta = trace_meta_new();
	meta->source = g_strdup("check");
	meta->format = g_strdup("check");
	meta->program = g_strdup("kmemlab check");
	meta->command = cell_name(cell);
	g_array_unref(meta->memory_map);
	meta->memory_map = g_array_copy(cell->machine->memory_map);
	fine = trace_writer_finish(writer, meta, error);
	trace_meta_free(meta);
	return fine;
}

static char *again(const struct cell *cell, const char *path)
{
	const struct check_space_config *config = cell->config;
	GPtrArray *words = g_ptr_array_new();
	const char *const common[] = { "check",	   path,
				       "--tables", cell->tables,
				       "--space",  cell->spaces,
				       "--mode",   cell->mode,
				       "--frames", config->frames ? config->frames : "buddy" };

	for (gsize i = 0; i < G_N_ELEMENTS(common); i++)
		g_ptr_array_add(words, (gpointer)(uintptr_t)common[i]);
	for (char **setting = config->settings; setting && *setting; setting++) {
		g_ptr_array_add(words, (gpointer)(uintptr_t) "--set");
		g_ptr_array_add(words, *setting);
	}
	g_ptr_array_add(words, NULL);
	char *command = run_command((char **)words->pdata);
	g_ptr_array_unref(words);
	return command;
}

static bool report_failure(const struct cell *cell, struct trial *trial,
			   struct check_space_report *report, GError **error)
{
	const struct check_space_config *config = cell->config;
	const GArray *list = trial->events ? trial->events : trial->made;
	struct shrink shrink = { list_fails, simpler, (void *)(uintptr_t)cell, SHRINK_TRIALS };

	report->common.failed = true;
	report->common.where = cell_name(cell);
	report->common.from = list->len;
	report->common.message = g_steal_pointer(&trial->message);
	if (config->trace || !config->output)
		return true;
	GArray *left = shrink_list(&shrink, list, &report->common.trials);
	report->common.lines = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < left->len; i++)
		g_ptr_array_add(report->common.lines,
				event_text(&g_array_index(left, struct event, i)));
	report->common.trace = config->output;
	bool fine = save(cell, left, config->output, error);
	report->common.command = again(cell, config->output);
	g_array_unref(left);
	return fine;
}

/* ---- the suite ---- */

static void add_counts(struct check_space_report *report, const struct trial *trial)
{
	report->common.configurations++;
	report->common.operations += trial->counts.common.operations;
	report->touches += trial->counts.touches;
	report->faults += trial->counts.faults;
	report->common.unserved += trial->counts.common.unserved;
	report->refused_touches += trial->counts.refused_touches;
	report->large += trial->counts.large;
}

static bool try_cell(struct cell *cell, const GArray *events, struct check_space_report *report,
		     GError **error)
{
	struct trial trial = { .cell = cell,
			       .events = events,
			       .wanted = cell->config->operations,
			       .random = random_seeded(cell->config->seed) };
	GError *refusal = NULL;

	if (!cell_find(cell, error) || !cell_machine(cell, error)) {
		g_clear_pointer(&cell->machine, machine_config_free);
		return false;
	}
	trial.made = g_array_new(FALSE, FALSE, sizeof(struct event));
	bool fine = true;
	if (!trial_run(&trial, &refusal)) {
		/* A technique that does not exist in this mode is no failure of it. */
		report->common.refused++;
		g_clear_error(&refusal);
	} else {
		add_counts(report, &trial);
		if (trial.message)
			fine = report_failure(cell, &trial, report, error);
	}
	g_free(trial.message);
	g_array_unref(trial.made);
	g_clear_pointer(&cell->machine, machine_config_free);
	return fine;
}

static GArray *load(const char *path, GError **error)
{
	struct trace_reader *reader = trace_reader_open(path, error);
	GArray *events = g_array_new(FALSE, FALSE, sizeof(struct event));
	struct event event;
	int got = reader ? 1 : -1;

	while (got == 1 && (got = trace_reader_next(reader, &event, error)) == 1)
		if (process_event_is(event.kind) ||
		    (event.kind == EVENT_NOTE && event.u.note.count == 1))
			g_array_append_val(events, event);
	g_clear_pointer(&reader, trace_reader_free);
	if (got == 0)
		return events;
	g_array_unref(events);
	return NULL;
}

static bool is_wanted(const char *asked, const char *name)
{
	return asked ? strcmp(asked, name) == 0 : strcmp(name, "none") != 0;
}

static bool try_modes(const struct check_space_config *config, const char *tables,
		      const char *spaces, const GArray *events, struct check_space_report *report,
		      GError **error)
{
	for (unsigned mode = BOOT_PAGING_NONE + 1; mode < BOOT_PAGING_MODES; mode++) {
		const char *name = table_geometry(mode)->name;
		for (unsigned pass = 0; pass < PASSES; pass++) {
			struct cell cell = { config, tables, spaces, name, pass };
			if (!is_wanted(config->mode, name) || !config->pass[pass])
				continue;
			if (!try_cell(&cell, events, report, error))
				return false;
			if (report->common.failed)
				return true;
		}
	}
	return true;
}

static bool try_all(const struct check_space_config *config, const GArray *events,
		    struct check_space_report *report, GError **error)
{
	for (const struct table_ops *const *t = table_registry; *t; t++)
		for (const struct space_ops *const *s = space_registry; *s; s++) {
			if (!is_wanted(config->tables, (*t)->name) ||
			    !is_wanted(config->spaces, (*s)->name))
				continue;
			if (!try_modes(config, (*t)->name, (*s)->name, events, report, error))
				return false;
			if (report->common.failed)
				return true;
		}
	return true;
}

static bool is_mode(const char *name)
{
	for (unsigned mode = BOOT_PAGING_NONE + 1; mode < BOOT_PAGING_MODES; mode++)
		if (strcmp(table_geometry(mode)->name, name) == 0)
			return true;
	return false;
}

bool check_spaces(const struct check_space_config *config, struct check_space_report *report,
		  GError **error)
{
	struct space_choice choice;
	GArray *events = NULL;

	*report = (struct check_space_report){ 0 };
	if (config->mode && !is_mode(config->mode))
		return lab_usage(error, "--mode: '%s' is not 32, pae, 4level or 5level",
				 config->mode);
	if (!space_choice_find(&choice, config->tables ? config->tables : "direct",
			       config->spaces ? config->spaces : "process", error))
		return false;
	if (config->trace && !(events = load(config->trace, error)))
		return false;
	bool fine = try_all(config, events, report, error);
	if (events)
		g_array_unref(events);
	return fine;
}
