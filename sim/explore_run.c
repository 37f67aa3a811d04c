/* The machine of an exploration: CPUs as fibers, the journal, and what is judged. */
#include "sim/explore_run.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "alloc/bitops.h"
#include "alloc/lock.h"
#include "sim/lab.h"
#include "sim/probe.h"
#include "sim/trap.h"
#include "workloads/memory_map.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK_BYTES  (128 * 1024)
#define ACCESSES_MAX 200000 /* of a run */
#define SOLO_MAX     20000  /* of one operation while nobody else moves */
#define WORD_SLOTS   8192u  /* power of two */
#define NOBODY	     0
#define DRAINED	     0xffff	      /* held from the start, for no handle */
#define EPILOGUE     EXPLORE_CPUS_MAX /* the fiber that gives everything back */
#define FIBERS	     (EXPLORE_CPUS_MAX + 1)

struct fiber {
	ucontext_t context;
	char *stack;
	void *fake_stack; /* ASan's */
	struct trap_thread *trap;
	bool ended, waiting; /* for a lock, until somebody writes */
	int op;		     /* being done, -1 before the first */
	uint64_t solo;	     /* accesses of the operation since somebody else moved */
};

/* An operation's, by the player's clock. */
struct span {
	uint64_t began, ended; /* 0: not yet */
};

/* A word of 8 bytes that CPUs touch. */
struct word {
	uintptr_t key; /* address / 8; 0: empty */
	uint8_t readers, writers;
	bool contended;
};

struct undo {
	uint64_t paddr, old;
	unsigned bytes;
};

struct slot {
	uint64_t first;
	uint32_t frames; /* 0: not live */
};

struct explore_player {
	const struct frame_ops *ops[PASSES];
	const struct explore_scenario *scenario;
	struct machine *machine;
	struct machine_config *config;
	struct frames frames;
	struct probe_observer observer;
	struct probe_counters ignored;
	struct fiber fiber[FIBERS];
	ucontext_t main;
	void *main_fake_stack;
	const void *main_stack;
	size_t main_stack_bytes;
	char *stacks;
	unsigned cpu, next;	    /* running; to run when the main context is back */
	uint64_t accesses, segment; /* of the run; of the present segment */
	bool playing;		    /* an exploration's operations, not setup or epilogue */
	bool over;		    /* of the run: a defect was found */
	GArray *journal;	    /* struct undo */
	struct word words[WORD_SLOTS];
	uint64_t ram_frames, expected_free; /* by stats() when all is given back */
	uint16_t *owner, *owner_then;	    /* by frame; _then: after setup */
	uint64_t *freed_at;		    /* by the clock; UINT64_MAX: being freed */
	uint64_t clock;			    /* goes on where an operation begins or ends */
	struct span *span;		    /* by operation */
	uint32_t *freeing;		    /* by operation: frames that it frees */
	struct slot slot[EXPLORE_HANDLES_MAX], slot_then[EXPLORE_HANDLES_MAX];
	explore_choose_fn choose;
	void *context;
	struct explore_outcome *outcome;
	GArray *trace; /* struct explore_access; NULL: not wanted */
};

static void found(struct explore_player *p, const char *kind, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
static void found(struct explore_player *p, const char *kind, const char *format, ...)
{
	va_list arguments;

	p->over = true;
	if (p->outcome->failed)
		return;
	p->outcome->failed = true;
	g_strlcpy(p->outcome->kind, kind, sizeof(p->outcome->kind));
	va_start(arguments, format);
	vsnprintf(p->outcome->message, sizeof(p->outcome->message), format, arguments);
	va_end(arguments);
}

static void on_probe(void *context, const struct probe_finding *finding)
{
	struct explore_player *p = context;

	if (p->outcome)
		found(p, "probe", "%s", finding->message);
}

/* ---- fibers ---- */

static void enter_main(struct explore_player *p, struct fiber *from)
{
#ifdef __SANITIZE_ADDRESS__
	__sanitizer_start_switch_fiber(from->ended ? NULL : &from->fake_stack, p->main_stack,
				       p->main_stack_bytes);
#endif
	swapcontext(&from->context, &p->main);
#ifdef __SANITIZE_ADDRESS__
	__sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

static void enter_fiber(struct explore_player *p, unsigned cpu)
{
	struct fiber *fiber = &p->fiber[cpu];

	p->cpu = cpu;
	p->segment = 0;
	for (unsigned i = 0; i < FIBERS; i++)
		if (i != cpu)
			p->fiber[i].solo = 0;
	machine_set_cpu(p->machine, cpu == EPILOGUE ? 0 : cpu);
	trap_thread_use(fiber->trap);
	trap_kernel_begin(); /* what goes wrong from here on is the kernel's doing */
#ifdef __SANITIZE_ADDRESS__
	__sanitizer_start_switch_fiber(&p->main_fake_stack, fiber->stack, STACK_BYTES);
#endif
	swapcontext(&p->main, &fiber->context);
#ifdef __SANITIZE_ADDRESS__
	__sanitizer_finish_switch_fiber(p->main_fake_stack, NULL, NULL);
#endif
	trap_kernel_end();
	trap_thread_use(NULL);
}

static void note_segment(struct explore_player *p, uint64_t accesses)
{
	struct explore_order *order = &p->outcome->order;

	if (order->count < EXPLORE_SEGMENTS_MAX)
		order->segment[order->count++] = (struct explore_segment){ p->cpu, accesses };
}

static unsigned runnable(const struct explore_player *p)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < p->scenario->cpus; i++)
		if (!p->fiber[i].ended && !p->fiber[i].waiting)
			mask |= 1u << i;
	return mask;
}

static unsigned ask(struct explore_player *p, bool can_go_on, bool contended)
{
	struct explore_point point = { .begins = p->cpu == EPILOGUE,
				       .cpu = p->cpu,
				       .runnable = runnable(p),
				       .can_go_on = can_go_on,
				       .contended = contended,
				       .accesses = p->segment };

	return p->choose(p->context, &point);
}

/* Another CPU goes on; comes back when it is this one's turn again. */
static void switch_to(struct explore_player *p, unsigned next)
{
	struct fiber *from = &p->fiber[p->cpu];

	note_segment(p, p->segment);
	p->next = next;
	enter_main(p, from);
	/* The run ends, and so does whatever this CPU was about. */
	if (p->over)
		trap_die("over", "the run is over");
}

/* ---- probes ---- */

static struct word *word_of(struct explore_player *p, uintptr_t key)
{
	uint64_t hash = key * 0x9e3779b97f4a7c15ull >> 40;

	for (unsigned i = 0; i < WORD_SLOTS; i++) {
		struct word *word = &p->words[(hash + i) & (WORD_SLOTS - 1)];
		if (word->key == key || !word->key) {
			word->key = key;
			return word;
		}
	}
	g_error("lab error: an exploration touches more than %u words", WORD_SLOTS);
}

static bool note_word(struct explore_player *p, uintptr_t key, unsigned kind)
{
	struct word *word = word_of(p, key);
	bool before = word->contended;
	unsigned users;

	word->readers |= (uint8_t)(1u << p->cpu);
	if (kind != MMU_READ)
		word->writers |= (uint8_t)(1u << p->cpu);
	users = word->readers | word->writers;
	/* Whoever comes second finds it contended; that the first did not stop here is made good by
	 * beginning again. */
	if (word->writers && (users & (users - 1)) && !before) {
		word->contended = true;
		p->outcome->learned = true;
	}
	return word->contended;
}

static void check_limits(struct explore_player *p)
{
	struct fiber *fiber = &p->fiber[p->cpu];

	if (++p->accesses > ACCESSES_MAX)
		trap_die("hang", "%u accesses, and no end", ACCESSES_MAX);
	if (++fiber->solo > SOLO_MAX && !p->frames.lock)
		trap_die("blocks",
			 "CPU %u does not end its operation within %u accesses while the others "
			 "stand still: not lock-free",
			 p->cpu, SOLO_MAX);
}

static void on_access(void *context, const void *pointer, unsigned kind, unsigned bytes,
		      const void *caller)
{
	struct explore_player *p = context;
	uintptr_t first = (uintptr_t)pointer / 8, last = ((uintptr_t)pointer + bytes - 1) / 8;
	bool contended = false;

	if (!p->playing)
		return;
	for (uintptr_t key = first; key <= last; key++)
		contended |= note_word(p, key, kind);
	unsigned next = ask(p, true, contended);
	if (next != p->cpu)
		switch_to(p, next);
	check_limits(p);
	p->segment++;
	if (p->trace && contended) {
		struct explore_access access = { .cpu = p->cpu,
						 .kind = kind,
						 .bytes = bytes,
						 .op = p->fiber[p->cpu].op,
						 .pointer = pointer,
						 .caller = caller };
		g_array_append_val(p->trace, access);
	}
}

static void on_write(void *context, uint64_t paddr, unsigned bytes)
{
	struct explore_player *p = context;

	for (unsigned done = 0; done < bytes; done += 8) {
		struct undo undo = { .paddr = paddr + done, .bytes = MIN(bytes - done, 8) };
		memcpy(&undo.old, p->machine->ram.bytes + undo.paddr, undo.bytes);
		g_array_append_val(p->journal, undo);
	}
	for (unsigned i = 0; i < p->scenario->cpus; i++)
		p->fiber[i].waiting = false;
}

static void undo_all(struct explore_player *p)
{
	for (guint i = p->journal->len; i-- > 0;) {
		const struct undo *undo = &g_array_index(p->journal, struct undo, i);
		memcpy(p->machine->ram.bytes + undo->paddr, &undo->old, undo->bytes);
	}
	g_array_set_size(p->journal, 0);
}

/* machine->spin_wait */
static void on_spin_wait(void *context, const struct spinlock *lock)
{
	struct explore_player *p = context;

	if (!p->playing)
		trap_die("deadlock", "waits for a lock that CPU %d has, with everything done",
			 (int)lock->holder - 1);
	p->fiber[p->cpu].waiting = true;
	if (!runnable(p))
		trap_die("deadlock", "all CPUs wait for locks; CPU %u for one that CPU %d has",
			 p->cpu, (int)lock->holder - 1);
	switch_to(p, ask(p, false, true));
}

/* ---- operations ---- */

static bool is_managed(const struct explore_player *p, const struct frame_block *block)
{
	const struct memmap *map = &p->machine->boot.map;

	for (guint i = 0; i < map->count; i++)
		if (block->first.n - map->ranges[i].first.n < map->ranges[i].frames &&
		    block->frames <=
			    map->ranges[i].frames - (block->first.n - map->ranges[i].first.n))
			return true;
	return false;
}

static void claim(struct explore_player *p, uint16_t owner, const struct frame_block *block)
{
	if (!block->frames || !is_managed(p, block)) {
		found(p, "out-of-map",
		      "%u frames at 0x%" PRIx64 " are handed out, which it does "
		      "not manage",
		      block->frames, block->first.n);
		return;
	}
	for (uint64_t i = 0; i < block->frames; i++) {
		uint64_t frame = block->first.n + i;
		if (p->owner[frame] == DRAINED)
			found(p, "overlap",
			      "frame 0x%" PRIx64 " is handed out for handle %u, and "
			      "was before all this",
			      frame, owner);
		else if (p->owner[frame] != NOBODY)
			found(p, "overlap",
			      "frame 0x%" PRIx64 " is handed out for handle %u while "
			      "handle %u has it",
			      frame, owner, p->owner[frame]);
		p->owner[frame] = owner;
	}
}

/* Frames that were free from the operation's beginning to now, less what others' operations in that
 * time may have kept from it: allocations what they try to take, frees what they have not counted
 * yet. */
static int64_t surely_free(const struct explore_player *p)
{
	const struct memmap *map = &p->machine->boot.map;
	uint64_t began = p->span[p->fiber[p->cpu].op].began;
	int64_t frames = 0;

	for (guint r = 0; r < map->count; r++)
		for (uint64_t i = 0; i < map->ranges[r].frames; i++) {
			uint64_t frame = map->ranges[r].first.n + i;
			frames += p->owner[frame] == NOBODY && p->freed_at[frame] <= began;
		}
	for (guint i = 0; i < p->scenario->ops->len; i++) {
		const struct explore_op *op =
			&g_array_index(p->scenario->ops, struct explore_op, i);
		const struct span *span = &p->span[i];
		if (op->cpu != p->cpu && span->began && (!span->ended || span->ended > began))
			frames -= op->is_free ? p->freeing[i] : 1u << order_for(op->frames);
	}
	return frames;
}

static void judge_refusal(struct explore_player *p, uint32_t frames, int status)
{
	unsigned caps = p->frames.ops->caps;

	if (frames > 1 || (caps & FRAME_CAP_ZONES) || !(caps & FRAME_CAP_FREE))
		return;
	int64_t left = surely_free(p);
	if (left > 0)
		found(p, "refused",
		      "one frame is refused (error %d), while %" PRId64
		      " were free all the time that it took",
		      status, left);
}

static void do_alloc(struct explore_player *p, const struct explore_op *op)
{
	struct frames frames = p->frames; /* on the kernel's stack */
	struct frame_block block = { { 0 }, 0 };
	struct frame_request request = { .frames = op->frames,
					 .align_frames = 1,
					 .cpu = (uint16_t)p->machine->current_cpu };

	int status = kernels[PASS_PROBED].frame_alloc(&frames, &request, &block);
	if (status != KERR_OK) {
		judge_refusal(p, op->frames, status);
		return;
	}
	claim(p, op->handle, &block);
	p->slot[op->handle] = (struct slot){ block.first.n, block.frames };
}

static void do_free(struct explore_player *p, const struct explore_op *op)
{
	struct frames frames = p->frames;
	struct slot slot = p->slot[op->handle];
	struct frame_block block = { { slot.first }, slot.frames };

	if (!slot.frames || !(frames.ops->caps & FRAME_CAP_FREE))
		return; /* its allocation failed */
	for (uint32_t i = 0; i < slot.frames; i++) {
		uint16_t owner = p->owner[slot.first + i];
		if (owner != op->handle)
			found(p, "overlap",
			      "frame 0x%" PRIx64 " of handle %u is handle %u's by now",
			      slot.first + i, op->handle, owner);
		p->owner[slot.first + i] = NOBODY;
		p->freed_at[slot.first + i] = UINT64_MAX;
	}
	p->slot[op->handle].frames = 0;
	p->freeing[p->fiber[p->cpu].op] = slot.frames;
	int status = kernels[PASS_PROBED].frame_free(&frames, &block);
	if (status != KERR_OK)
		found(p, "free-refused",
		      "free of handle %u, %u frames at 0x%" PRIx64 ", is refused (error %d)",
		      op->handle, block.frames, block.first.n, status);
	for (uint32_t i = 0; i < slot.frames; i++)
		if (p->freed_at[slot.first + i] == UINT64_MAX)
			p->freed_at[slot.first + i] = p->clock + 1; /* as this free ends */
}

static void do_ops(struct explore_player *p, unsigned cpu)
{
	struct fiber *fiber = &p->fiber[cpu < EXPLORE_SETUP ? cpu : EPILOGUE];

	for (guint i = 0; i < p->scenario->ops->len && !p->over; i++) {
		const struct explore_op *op =
			&g_array_index(p->scenario->ops, struct explore_op, i);
		if (op->cpu != cpu)
			continue;
		fiber->op = (int)i;
		fiber->solo = 0;
		p->span[i].began = ++p->clock;
		if (op->is_free)
			do_free(p, op);
		else
			do_alloc(p, op);
		p->span[i].ended = ++p->clock;
	}
}

/* ---- setup and epilogue ---- */

/* Single frames until only so many are left. */
static void drain(struct explore_player *p)
{
	struct frame_request request = { .frames = 1, .align_frames = 1 };
	struct frame_block block;
	struct frame_stats stats;

	for (;;) {
		struct frames frames = p->frames;
		p->ops[PASS_NATIVE]->stats(p->frames.state, &stats);
		if (stats.free_frames <= p->scenario->leave ||
		    kernels[PASS_PROBED].frame_alloc(&frames, &request, &block) != KERR_OK)
			return;
		claim(p, DRAINED, &block);
	}
}

static void set_up(struct explore_player *p)
{
	do_ops(p, EXPLORE_SETUP);
	if (p->scenario->leave != EXPLORE_LEAVE_ALL)
		drain(p);
}

static int visit_extent(void *context, const struct frame_extent *extent)
{
	struct explore_player *p = context;

	for (uint64_t i = 0; i < extent->frames; i++) {
		uint64_t frame = extent->first.n + i;
		bool is_free = frame < p->ram_frames && p->owner[frame] == NOBODY;
		if (is_free == (extent->state == FRAME_FREE))
			continue;
		found(p, is_free ? "lost" : "overlap",
		      is_free ? "frame 0x%" PRIx64 " is used by walk(), and nobody has it"
			      : "frame 0x%" PRIx64 " is free by walk(), and somebody has it",
		      frame);
		return 1;
	}
	return 0;
}

/* Nobody is under way. By the native build, which nobody watches, on the same state. */
static void audit(struct explore_player *p)
{
	const struct frame_ops *ops = p->ops[PASS_NATIVE];
	struct violation violation = { 0 };
	struct frame_stats stats = { 0 };

	if (p->over)
		return;
	if (ops->check(p->frames.state, &violation) != KERR_OK) {
		found(p, "check", "invariant %u is broken at frame 0x%" PRIx64 ": %s",
		      violation.invariant, violation.frame.n, violation.what);
		return;
	}
	ops->stats(p->frames.state, &stats);
	if (!stats.kept_frames)
		ops->walk(p->frames.state, visit_extent, p);
}

static void give_back(struct explore_player *p)
{
	struct frame_stats stats = { 0 };

	p->fiber[EPILOGUE].op = (int)p->scenario->ops->len; /* none of the scenario's */
	for (unsigned handle = 1; handle < EXPLORE_HANDLES_MAX && !p->over; handle++)
		if (p->slot[handle].frames)
			do_free(p, &(struct explore_op){ .is_free = true,
							 .handle = (uint16_t)handle });
	if (p->over || !(p->frames.ops->caps & FRAME_CAP_FREE))
		return;
	p->ops[PASS_NATIVE]->stats(p->frames.state, &stats);
	if (stats.free_frames + stats.kept_frames != p->expected_free)
		found(p, "leak",
		      "with everything given back %" PRIu64 " frames are free, not %" PRIu64,
		      stats.free_frames, p->expected_free);
}

static void finish(struct explore_player *p)
{
	audit(p);
	give_back(p);
	audit(p);
}

/* ---- a fiber's life ---- */

struct life {
	struct explore_player *player;
	unsigned cpu;
	void (*part)(
		struct explore_player *); /* of the epilogue's fiber; else the CPU's operations */
};

static void live(void *argument)
{
	const struct life *life = argument;

	if (life->part)
		life->part(life->player);
	else
		do_ops(life->player, life->cpu);
}

static void fiber_main(unsigned low, unsigned high)
{
	const struct life *life = (const void *)((uintptr_t)low | (uintptr_t)high << 32);
	struct explore_player *p = life->player;
	struct fiber *fiber = &p->fiber[life->cpu];
	struct trap_report report;

#ifdef __SANITIZE_ADDRESS__
	__sanitizer_finish_switch_fiber(NULL, &p->main_stack, &p->main_stack_bytes);
#endif
	if (!trap_run(live, (void *)(uintptr_t)life, &report) && !p->over)
		found(p, report.kind, "CPU %u: %s", life->cpu, report.message);
	fiber->ended = true;
	fiber->waiting = false;
	if (p->playing && !p->over) {
		unsigned others = runnable(p);
		bool waiting = false;
		for (unsigned i = 0; i < p->scenario->cpus; i++)
			waiting |= p->fiber[i].waiting;
		if (!others && waiting)
			found(p, "deadlock", "CPU %u has ended, and the others wait for locks",
			      life->cpu);
		p->next = others ? ask(p, false, true) : EPILOGUE;
		note_segment(p, EXPLORE_ALL);
	}
	enter_main(p, fiber);
}

static void prepare(struct explore_player *p, struct life *life)
{
	struct fiber *fiber = &p->fiber[life->cpu];
	uintptr_t argument = (uintptr_t)life;

	fiber->ended = fiber->waiting = false;
	fiber->op = -1;
	fiber->solo = 0;
	getcontext(&fiber->context);
	fiber->context.uc_stack.ss_sp = fiber->stack;
	fiber->context.uc_stack.ss_size = STACK_BYTES;
	fiber->context.uc_link = NULL;
	makecontext(&fiber->context, (void (*)(void))(uintptr_t)fiber_main, 2, (unsigned)argument,
		    (unsigned)(argument >> 32));
}

/* A part of the lab's own, kernel code in it, on a stack that probes know. */
static void run_part(struct explore_player *p, void (*part)(struct explore_player *))
{
	struct life life = { p, EPILOGUE, part };

	prepare(p, &life);
	enter_fiber(p, EPILOGUE);
}

/* ---- a run ---- */

static void reset(struct explore_player *p)
{
	undo_all(p);
	memcpy(p->owner, p->owner_then, p->ram_frames * sizeof(*p->owner));
	memset(p->freed_at, 0, p->ram_frames * sizeof(*p->freed_at));
	memcpy(p->slot, p->slot_then, sizeof(p->slot));
	memset(p->span, 0, p->scenario->ops->len * sizeof(*p->span));
	p->accesses = p->segment = p->clock = 0;
	p->over = false;
	probe_report_again();
}

/* CPUs that stand in the middle of something are brought to their end: what they own on their
 * stacks is the host's. */
static void end_fibers(struct explore_player *p)
{
	for (unsigned i = 0; i < p->scenario->cpus; i++)
		if (!p->fiber[i].ended && p->fiber[i].op >= 0)
			enter_fiber(p, i);
}

void explore_play(struct explore_player *player, explore_choose_fn choose, void *context,
		  struct explore_outcome *outcome, GArray *accesses)
{
	struct explore_player *p = player;
	struct life lives[EXPLORE_CPUS_MAX];

	*outcome = (struct explore_outcome){ 0 };
	p->outcome = outcome;
	p->choose = choose;
	p->context = context;
	p->trace = accesses;
	for (unsigned i = 0; i < p->scenario->cpus; i++) {
		lives[i] = (struct life){ p, i, NULL };
		prepare(p, &lives[i]);
	}
	p->playing = true;
	p->cpu = EPILOGUE; /* nobody has begun */
	for (p->next = ask(p, false, true); p->next != EPILOGUE && !p->over;)
		enter_fiber(p, p->next);
	p->playing = false;
	if (p->over)
		note_segment(p, EXPLORE_ALL); /* who found it was in the middle */
	outcome->accesses = p->accesses;
	if (p->over)
		end_fibers(p);
	else
		run_part(p, finish);
	p->outcome = NULL;
	reset(p);
}

uint64_t explore_offset(const struct explore_player *player, const void *pointer)
{
	uint64_t offset = (uint64_t)((const char *)pointer - (const char *)player->frames.state);

	return offset < player->machine->boot.state_bytes ? offset : UINT64_MAX;
}

/* ---- the machine ---- */

static bool make_stacks(struct explore_player *p, GError **error)
{
	p->stacks = mmap(NULL, FIBERS * STACK_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p->stacks == MAP_FAILED) {
		p->stacks = NULL;
		return lab_set_errno(error, "stacks for CPUs");
	}
	for (unsigned i = 0; i < FIBERS; i++) {
		p->fiber[i].stack = p->stacks + i * STACK_BYTES;
		p->fiber[i].trap = trap_thread_new();
	}
	return true;
}

static bool power_on(struct explore_player *p, const struct frame_config *config, GError **error)
{
	GArray *map;
	char *lines = g_strdelimit(g_strdup(p->scenario->map), ";", '\n');

	map = memory_map_parse(lines, strlen(lines), "map", error);
	g_free(lines);
	if (!map)
		return false;
	p->config = machine_config_from_map("exploration", map);
	p->config->cpus = p->scenario->cpus;
	g_array_unref(map);
	p->machine = machine_new(p->config, error);
	if (!p->machine)
		return false;
	machine_enter(p->machine);
	p->observer = (struct probe_observer){ on_access, on_write, p };
	struct probe probe = { .machine = p->machine,
			       .frames = p->ops[PASS_PROBED],
			       .report = on_probe,
			       .context = p,
			       .observer = &p->observer };
	probe_begin(&probe);
	probe_phase(PROBE_BOOT, &p->ignored);
	bool booted = machine_boot(p->machine, kernels[PASS_PROBED].boot, p->ops[PASS_PROBED],
				   config, error);
	probe_phase(PROBE_OFF, NULL);
	return booted;
}

static void take_books(struct explore_player *p)
{
	struct frame_stats stats = { 0 };

	p->frames = p->machine->boot.frames;
	p->machine->spin_wait = on_spin_wait;
	p->machine->spin_context = p;
	p->ram_frames = p->machine->ram.size >> X86_PAGE_SHIFT;
	p->owner = g_new0(uint16_t, p->ram_frames);
	p->owner_then = g_new0(uint16_t, p->ram_frames);
	p->freed_at = g_new0(uint64_t, p->ram_frames);
	p->span = g_new0(struct span, p->scenario->ops->len + 1);
	p->freeing = g_new0(uint32_t, p->scenario->ops->len + 1);
	p->ops[PASS_NATIVE]->stats(p->frames.state, &stats);
	p->expected_free = stats.free_frames + stats.kept_frames;
}

static bool do_setup(struct explore_player *p, GError **error)
{
	struct explore_outcome outcome = { 0 };

	p->outcome = &outcome;
	probe_set_stack(p->stacks, FIBERS * STACK_BYTES);
	probe_phase(PROBE_RUN, &p->ignored);
	run_part(p, set_up);
	p->outcome = NULL;
	for (uint64_t frame = 0; frame < p->ram_frames; frame++)
		p->expected_free -= p->owner[frame] == DRAINED;
	memcpy(p->owner_then, p->owner, p->ram_frames * sizeof(*p->owner));
	memcpy(p->slot_then, p->slot, sizeof(p->slot));
	g_array_set_size(p->journal, 0); /* setup stays done */
	reset(p);
	if (!outcome.failed)
		return true;
	g_set_error(error, LAB_ERROR, LAB_ERROR_INPUT, "allocator error: %s: setup: %s",
		    p->ops[PASS_NATIVE]->name, outcome.message);
	return false;
}

struct explore_player *explore_player_new(const struct frame_ops *const frames[PASSES],
					  const struct frame_config *config,
					  const struct explore_scenario *scenario, GError **error)
{
	struct explore_player *p = g_new0(struct explore_player, 1);
	struct frame_config own = *config;

	own.cpus = scenario->cpus;
	p->scenario = scenario;
	p->journal = g_array_new(FALSE, FALSE, sizeof(struct undo));
	for (unsigned pass = 0; pass < PASSES; pass++)
		p->ops[pass] = frames[pass];
	trap_prepare_thread();
	if (make_stacks(p, error) && power_on(p, &own, error)) {
		take_books(p);
		if (do_setup(p, error))
			return p;
	}
	explore_player_free(p);
	return NULL;
}

void explore_player_free(struct explore_player *player)
{
	probe_phase(PROBE_OFF, NULL);
	probe_end();
	machine_leave();
	machine_free(player->machine);
	if (player->config)
		machine_config_free(player->config);
	for (unsigned i = 0; i < FIBERS; i++)
		g_free(player->fiber[i].trap);
	if (player->stacks)
		munmap(player->stacks, FIBERS * STACK_BYTES);
	g_array_unref(player->journal);
	g_free(player->owner);
	g_free(player->owner_then);
	g_free(player->freed_at);
	g_free(player->span);
	g_free(player->freeing);
	g_free(player);
}
