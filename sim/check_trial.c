/* The operations of a trial: every call into the allocator, judged by ledger, audits and probes. */
#include "sim/check_trial.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sim/audit.h"
#include "sim/check_ops.h"
#include "sim/handles.h"
#include "sim/lab.h"
#include "sim/ledger.h"
#include "sim/probe.h"
#include "sim/random.h"
#include "sim/trap.h"

/* One pass. */
struct bench {
	const struct trial *trial;
	struct trial_outcome *outcome;
	enum kernel_pass pass;
	const struct kernel *kernel;
	struct machine *machine;
	struct ledger *ledger;
	struct frames frames;
	struct handles handles;
	struct probe_counters ignored;
	uint64_t audits_left; /* after refused misuse; more wait for the next of all */
	bool detected; /* a misuse was taken and then found by check(): the state is worthless */
};

static void found(struct bench *bench, const char *kind, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
static void found(struct bench *bench, const char *kind, const char *format, ...)
{
	struct trial_outcome *outcome = bench->outcome;
	va_list arguments;

	if (outcome->failed)
		return;
	outcome->failed = true;
	outcome->pass = bench->pass;
	g_strlcpy(outcome->kind, kind, sizeof(outcome->kind));
	va_start(arguments, format);
	vsnprintf(outcome->message, sizeof(outcome->message), format, arguments);
	va_end(arguments);
}

static void probe_found(void *context, const struct probe_finding *finding)
{
	found(context, "probe", "%s", finding->message);
}

/* ---- calls into the kernel ---- */

/* Around each of them; PROBE_OFF afterwards. */
static void watch(struct bench *bench, enum probe_phase phase)
{
	if (phase == PROBE_OFF)
		trap_kernel_end();
	else
		trap_kernel_begin();
	if (bench->pass == PASS_PROBED)
		probe_phase(phase, phase == PROBE_RUN ? &bench->ignored : NULL);
}

static int call_alloc(struct bench *bench, const struct frame_request *request,
		      struct frame_block *block)
{
	const struct frame_block before = { { 0x5eed }, 0x5eed };
	struct frames frames = bench->frames; /* on the kernel's stack */

	*block = before;
	watch(bench, PROBE_RUN);
	int status = bench->kernel->frame_alloc(&frames, request, block);
	watch(bench, PROBE_OFF);
	if (status != KERR_OK &&
	    (block->first.n != before.first.n || block->frames != before.frames))
		found(bench, "out", "an allocation that fails (error %d) changes its result",
		      status);
	return status;
}

static int call_free(struct bench *bench, struct frame_block block)
{
	struct frames frames = bench->frames;

	watch(bench, PROBE_RUN);
	int status = bench->kernel->frame_free(&frames, &block);
	watch(bench, PROBE_OFF);
	return status;
}

static void audit(struct bench *bench)
{
	struct audit_finding finding;

	if (bench->outcome->failed || bench->detected)
		return;
	trial_alive();
	watch(bench, PROBE_CHECK);
	bool clean = audit_frames(&bench->frames, bench->ledger, &finding);
	watch(bench, PROBE_OFF);
	if (!clean)
		found(bench, finding.kind, "%s", finding.message);
}

static void judge(struct bench *bench, const char *action, const struct ledger_finding *finding)
{
	found(bench, ledger_verdict_name(finding->verdict),
	      "%s: %s of frame 0x%" PRIx64 ", whose owner is %u", action,
	      ledger_verdict_name(finding->verdict), finding->frame, finding->owner);
}

/* ---- allocation ---- */

/* One frame is refused: is there none? Allocators with zones have reserves, and those that never
 * free lose frames. */
static void judge_refusal(struct bench *bench, const struct frame_request *request, int status)
{
	unsigned caps = bench->frames.ops->caps;
	struct frame_stats stats = { 0 };

	if (request->frames != 1 || request->align_frames != 1 || (caps & FRAME_CAP_ZONES) ||
	    !(caps & FRAME_CAP_FREE))
		return;
	watch(bench, PROBE_CHECK);
	bench->frames.ops->stats(bench->frames.state, &stats);
	watch(bench, PROBE_OFF);
	if (request->flags & FRAME_AT) {
		if ((caps & FRAME_CAP_AT) && stats.kept_frames == 0 &&
		    ledger_all_free(bench->ledger, request->at.n, 1))
			found(bench, "refused",
			      "frame 0x%" PRIx64 " is free and refused (error %d)", request->at.n,
			      status);
	} else if (stats.free_frames) {
		found(bench, "refused",
		      "one frame is refused (error %d) while stats() counts %" PRIu64 " free",
		      status, stats.free_frames);
	}
}

static void take(struct bench *bench, uint64_t number, const struct frame_request *request,
		 const struct frame_block *block)
{
	struct handle *handle = handles_get(&bench->handles, number);
	struct ledger_finding finding;

	if (ledger_take(bench->ledger, block->first.n, block->frames, request->frames,
			request->align_frames, (uint32_t)(LEDGER_HANDLE_BASE + number),
			request->mobility, &finding) != LEDGER_OK) {
		judge(bench, "allocation", &finding);
		return;
	}
	if ((request->flags & FRAME_AT) && block->first.n != request->at.n)
		found(bench, "at", "asked for frame 0x%" PRIx64 ", got 0x%" PRIx64, request->at.n,
		      block->first.n);
	*handle = (struct handle){ .first = block->first.n,
				   .frames = block->frames,
				   .requested = request->frames,
				   .left = request->frames,
				   .state = HANDLE_LIVE,
				   .mobility = request->mobility };
}

static void do_alloc(struct bench *bench, const struct event *event)
{
	struct handle *handle = handles_get(&bench->handles, event->u.frame.handle);
	bool at =
		event->u.frame.frame != EVENT_NO_FRAME && (bench->frames.ops->caps & FRAME_CAP_AT);
	struct frame_block block;
	struct frame_request request = {
		.frames = event->u.frame.frames,
		.align_frames = event->u.frame.align_frames ? event->u.frame.align_frames : 1,
		.zone = event->u.frame.zone,
		.mobility = event->u.frame.mobility,
		.cpu = (uint16_t)bench->machine->current_cpu,
		.flags = at ? FRAME_AT : 0,
		.at = { at ? event->u.frame.frame : 0 },
	};

	int status = call_alloc(bench, &request, &block);
	if (status != KERR_OK && at) {
		judge_refusal(bench, &request, status);
		request.flags = 0;
		status = call_alloc(bench, &request, &block);
	}
	bench->outcome->digest[bench->pass] =
		random_mix(bench->outcome->digest[bench->pass] ^
			   random_mix(status == KERR_OK ? block.first.n : EVENT_NO_FRAME));
	bench->outcome->allocations++;
	if (status == KERR_OK) {
		take(bench, event->u.frame.handle, &request, &block);
		return;
	}
	bench->outcome->failures++;
	judge_refusal(bench, &request, status);
	handle->state = HANDLE_FAILED;
}

/* ---- free ---- */

struct release {
	struct bench *bench;
	uint64_t number;
};

static void release_run(void *context, struct frame_block run, uint32_t requested)
{
	const struct release *release = context;
	struct bench *bench = release->bench;
	struct ledger_finding finding;

	if (!(bench->frames.ops->caps & FRAME_CAP_FREE) || bench->outcome->failed)
		return;
	if (ledger_release(bench->ledger, run.first.n, run.frames, requested,
			   (uint32_t)(LEDGER_HANDLE_BASE + release->number),
			   &finding) != LEDGER_OK) {
		judge(bench, "free", &finding);
		return;
	}
	trial_alive();
	int status = call_free(bench, run);
	if (status != KERR_OK)
		found(bench, "free-refused",
		      "free of %u frames at 0x%" PRIx64
		      " that it had handed out is refused (error %d)",
		      run.frames, run.first.n, status);
}

static bool frees_parts(const struct bench *bench)
{
	return bench->frames.ops->caps & FRAME_CAP_PARTIAL_FREE;
}

static void free_rest(struct bench *bench, uint64_t number, const struct handle *handle)
{
	struct release release = { bench, number };

	if (frees_parts(bench))
		handles_live_runs(&bench->handles, number, release_run, &release);
	else
		release_run(&release, (struct frame_block){ { handle->first }, handle->frames },
			    handle->requested);
	handles_gone(&bench->handles, number);
}

static void free_part(struct bench *bench, uint64_t number, struct handle *handle,
		      const struct event *event)
{
	uint32_t first = event->u.frame.first_part, frames = event->u.frame.frames;
	uint32_t excess = handle->frames - handle->requested;
	struct release release = { bench, number };

	if (!handles_free_part(&bench->handles, number, first, frames))
		return;
	if (frees_parts(bench))
		release_run(&release, (struct frame_block){ { handle->first + first }, frames },
			    frames);
	if (handle->left > 0)
		return;
	handles_gone(&bench->handles, number);
	if (!frees_parts(bench))
		release_run(&release, (struct frame_block){ { handle->first }, handle->frames },
			    handle->requested);
	else if (excess)
		release_run(&release,
			    (struct frame_block){ { handle->first + handle->requested }, excess },
			    0);
}

static void do_free(struct bench *bench, const struct event *event)
{
	uint64_t number = event->u.frame.handle;
	struct handle *handle = handles_get(&bench->handles, number);

	if (!handle || handle->state != HANDLE_LIVE)
		return;
	bool whole = event->u.frame.frames == 0 ||
		     (event->u.frame.frames == handle->requested &&
		      event->u.frame.first_part == 0 && handle->left == handle->requested);
	if (whole)
		free_rest(bench, number, handle);
	else
		free_part(bench, number, handle, event);
}

/* ---- misuse ---- */

static bool owned_by_allocator_or_nobody(const struct bench *bench, uint64_t first, uint64_t frames)
{
	for (uint64_t i = 0; i < frames; i++) {
		uint64_t frame = first + i;
		uint64_t ram = ledger_totals(bench->ledger)->ram_frames;
		uint32_t owner = frame >= first && frame < ram ? ledger_owner(bench->ledger, frame)
							       : LEDGER_HOLE;
		if (owner >= LEDGER_UNTOUCHED)
			return false;
	}
	return true;
}

/* No frame of it is free or handed out. */
static bool foreign(const struct bench *bench, uint64_t first, uint64_t frames)
{
	for (uint64_t i = 0; i < frames; i++)
		if (first + i < ledger_totals(bench->ledger)->ram_frames &&
		    ledger_owner(bench->ledger, first + i) == LEDGER_FREE)
			return false;
	return owned_by_allocator_or_nobody(bench, first, frames);
}

/* What a live handle's block begins with, with another count. False: the handle is not whole. */
static bool block_of(const struct bench *bench, uint64_t number, uint32_t frames,
		     struct frame_block *block)
{
	const struct handle *handle = handles_get(&bench->handles, number);

	if (!handle || handle->state != HANDLE_LIVE || handle->left != handle->requested)
		return false;
	*block = (struct frame_block){ { handle->first }, frames };
	return true;
}

/* The free that the misuse asks for. False: as things stand it would be no misuse. */
static bool wrong_free(const struct bench *bench, const struct event *event,
		       struct frame_block *block)
{
	const struct boot_result *boot = &bench->machine->boot;
	const uint64_t *value = event->u.note.value;
	const struct handle *handle = handles_get(&bench->handles, value[0]);

	switch (event->u.note.name) {
	case MISUSE_DOUBLE_FREE:
		if (!handle || handle->state != HANDLE_GONE)
			return false;
		*block = (struct frame_block){ { handle->first }, handle->frames };
		return ledger_all_free(bench->ledger, handle->first, handle->frames);
	case MISUSE_FOREIGN_FREE:
		*block = (struct frame_block){ { value[0] }, (uint32_t)value[1] };
		return value[1] <= 64 && foreign(bench, value[0], value[1]);
	case MISUSE_FREE_OF_STATE:
		*block = (struct frame_block){ boot->state_range.first, 1 };
		return true;
	case MISUSE_FREE_OF_KERNEL:
		*block = (struct frame_block){ bench->machine->params.loaded.first, 1 };
		return true;
	case MISUSE_FREE_BEYOND:
		return handle && block_of(bench, value[0], handle->frames + 1, block) &&
		       owned_by_allocator_or_nobody(bench, handle->first + handle->frames, 1);
	case MISUSE_FREE_NOTHING:
		return block_of(bench, value[0], 0, block);
	case MISUSE_FREE_TOO_MANY:
		return block_of(bench, value[0], UINT32_MAX, block);
	default:
		return false;
	}
}

/* A misuse that was refused has changed nothing. */
static void refused(struct bench *bench, const char *what)
{
	struct trial_outcome *outcome = bench->outcome;
	char message[sizeof(outcome->message)];

	if (bench->audits_left == 0 || outcome->failed)
		return;
	bench->audits_left--;
	audit(bench);
	if (!outcome->failed)
		return;
	memcpy(message, outcome->message, sizeof(message));
	g_snprintf(outcome->message, sizeof(outcome->message), "after a refused %s: %.300s", what,
		   message);
}

/* Where free() cannot tell, check() must. */
static void taken(struct bench *bench, const char *what)
{
	struct violation violation = { 0 };

	watch(bench, PROBE_CHECK);
	bench->detected = bench->frames.ops->check(bench->frames.state, &violation) != KERR_OK;
	watch(bench, PROBE_OFF);
	if (!bench->detected)
		found(bench, "misuse", "%s is taken, and check() sees nothing", what);
}

static void misused(struct bench *bench, const struct event *event, int status)
{
	char *what = check_op_text(event);

	if (status == KERR_OK)
		taken(bench, what);
	else
		refused(bench, what);
	g_free(what);
}

static void do_misuse(struct bench *bench, const struct event *event)
{
	struct frame_request request = { .frames = (uint32_t)event->u.note.value[0],
					 .align_frames = (uint32_t)event->u.note.value[1] };
	struct frame_block block;

	if (event->u.note.name == MISUSE_REQUEST) {
		int status = call_alloc(bench, &request, &block);
		if (status == KERR_OK)
			found(bench, "misuse", "%u frames aligned to %u are handed out",
			      request.frames, request.align_frames);
		else
			misused(bench, event, status);
	} else if (wrong_free(bench, event, &block)) {
		misused(bench, event, call_free(bench, block));
	}
}

/* ---- the pass ---- */

static void do_operation(struct bench *bench, const struct event *event)
{
	bench->machine->current_cpu = event->cpu % bench->machine->config->cpus;
	if (event->kind == EVENT_FRAME_ALLOC)
		do_alloc(bench, event);
	else if (event->kind == EVENT_FRAME_FREE)
		do_free(bench, event);
	else
		do_misuse(bench, event);
}

static bool over(const struct bench *bench)
{
	return bench->outcome->failed || bench->detected;
}

static void give_back(struct bench *bench)
{
	bench->outcome->operation = TRIAL_NO_OPERATION;
	for (uint64_t number = 1; number < bench->handles.count && !over(bench); number++) {
		struct handle *handle = handles_get(&bench->handles, number);
		if (handle->state == HANDLE_LIVE)
			free_rest(bench, number, handle);
	}
	if (!over(bench) &&
	    ledger_totals(bench->ledger)->free_frames != bench->machine->boot.map.frames)
		found(bench, "leak", "with everything given back not all is free");
	audit(bench);
}

/* Kernel code from here on; left at any point by trap_die(). */
static void run_kernel(void *argument)
{
	struct bench *bench = argument;
	const GArray *operations = bench->trial->operations;

	bench->outcome->operation = 0;
	bench->audits_left = 1 + operations->len / bench->trial->audit_every;
	audit(bench);
	for (guint i = 0; i < operations->len && !over(bench); i++) {
		bench->outcome->operation = i;
		trial_alive();
		do_operation(bench, &g_array_index(operations, struct event, i));
		if ((i + 1) % bench->trial->audit_every == 0)
			audit(bench);
	}
	audit(bench);
	if (!over(bench) && (bench->frames.ops->caps & FRAME_CAP_FREE))
		give_back(bench);
}

/* What boot left to the allocator, what it took, as replay.c has it. */
static void assign_boot_frames(struct bench *bench)
{
	const struct boot_result *boot = &bench->machine->boot;
	const GArray *usable = bench->machine->usable;

	for (uint32_t i = 0; i < boot->map.count; i++)
		ledger_assign(bench->ledger, boot->map.ranges[i].first.n,
			      boot->map.ranges[i].frames, LEDGER_FREE);
	for (guint i = 0; i < usable->len; i++) {
		const struct frame_range *range = &g_array_index(usable, struct frame_range, i);
		ledger_assign_holes(bench->ledger, range->first.n, range->frames, LEDGER_TABLE);
	}
	ledger_assign(bench->ledger, boot->state_range.first.n, boot->state_range.frames,
		      LEDGER_STATE);
	ledger_seal(bench->ledger);
}

/* An init that fails where state_bytes() had no objection is a defect. */
static void judge_boot(struct bench *bench, const GError *error)
{
	bool refusal = g_error_matches(error, LAB_ERROR, LAB_ERROR_BOOT) &&
		       !g_strrstr(error->message, "does not start");

	bench->outcome->operation = TRIAL_NO_OPERATION;
	if (!refusal) {
		found(bench, "boot", "%s", error->message);
		return;
	}
	bench->outcome->refused = true;
	g_strlcpy(bench->outcome->message, error->message, sizeof(bench->outcome->message));
}

static bool power_on(struct bench *bench)
{
	const struct trial *trial = bench->trial;
	GError *error = NULL;

	bench->machine = machine_new(trial->machine, &error);
	if (!bench->machine) {
		found(bench, "lab", "%s", error->message);
		g_error_free(error);
		return false;
	}
	machine_enter(bench->machine);
	if (bench->pass == PASS_PROBED) {
		struct probe probe = { .machine = bench->machine,
				       .frames = trial->frames[bench->pass],
				       .report = probe_found,
				       .context = bench };
		probe_begin(&probe);
		probe_phase(PROBE_BOOT, &bench->ignored);
	}
	bool booted = machine_boot(bench->machine, bench->kernel->boot, trial->frames[bench->pass],
				   &trial->frame_config, &error);
	watch(bench, PROBE_OFF);
	if (!booted) {
		judge_boot(bench, error);
		g_error_free(error);
		return false;
	}
	bench->frames = bench->machine->boot.frames;
	bench->ledger = ledger_new(bench->machine->ram.size >> X86_PAGE_SHIFT);
	if (!bench->ledger) {
		found(bench, "lab", "the host has no address space for the ledger");
		return false;
	}
	assign_boot_frames(bench);
	if (bench->pass == PASS_PROBED)
		probe_set_ledger(bench->ledger);
	return true;
}

static uint64_t handle_count(const GArray *operations)
{
	uint64_t count = 1;

	for (guint i = 0; i < operations->len; i++) {
		const struct event *event = &g_array_index(operations, struct event, i);
		if (event->kind == EVENT_FRAME_ALLOC)
			count = MAX(count, event->u.frame.handle + 1);
	}
	return count;
}

static void run_pass(const struct trial *trial, enum kernel_pass pass,
		     struct trial_outcome *outcome)
{
	struct bench bench = {
		.trial = trial, .outcome = outcome, .pass = pass, .kernel = &kernels[pass]
	};
	struct trap_report report;

	outcome->pass = pass;
	outcome->operation = TRIAL_NO_OPERATION;
	outcome->allocations = outcome->failures = 0;
	if (!handles_init(&bench.handles, handle_count(trial->operations), NULL)) {
		found(&bench, "lab", "no memory for the handles");
		return;
	}
	if (power_on(&bench) && !trap_run(run_kernel, &bench, &report))
		found(&bench, report.kind, "%s", report.message);
	if (pass == PASS_PROBED)
		probe_end();
	machine_leave();
	handles_fini(&bench.handles);
	g_clear_pointer(&bench.ledger, ledger_free);
	g_clear_pointer(&bench.machine, machine_free);
}

void trial_execute(const struct trial *trial, struct trial_outcome *outcome)
{
	bool both = trial->frames[PASS_NATIVE] && trial->frames[PASS_PROBED];

	for (unsigned pass = 0; pass < PASSES && !outcome->failed && !outcome->refused; pass++)
		if (trial->frames[pass])
			run_pass(trial, pass, outcome);
	if (outcome->failed || outcome->refused || !both ||
	    outcome->digest[PASS_NATIVE] == outcome->digest[PASS_PROBED])
		return;
	outcome->failed = true;
	outcome->pass = PASSES;
	outcome->operation = TRIAL_NO_OPERATION;
	g_strlcpy(outcome->kind, "digest", sizeof(outcome->kind));
	g_strlcpy(outcome->message, "the native and the probed pass placed differently",
		  sizeof(outcome->message));
}
