#include "sim/trap.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "sim/machine.h"
#include "sim/source_line.h"

#define ALTERNATE_STACK_BYTES (256 * 1024)

/* Why an access did not go on. Facts only: words are made of them after the signal handler has been
 * left. */
enum trap_cause {
	TRAP_NONE = 0,	 /* the report is in words already */
	TRAP_NO_HANDLER, /* #PF, and the kernel has no handler */
	TRAP_UNHANDLED,	 /* #PF that the kernel's handler does not serve */
	TRAP_NEVER_SERVED,
	TRAP_SAME_AGAIN, /* #PF in the handler for the same */
	TRAP_TOO_DEEP,
	TRAP_UNPAGED, /* CR0.PG = 0 and no RAM there */
	TRAP_NO_RAM,  /* the tables lead beyond RAM */
	TRAP_REFUSED, /* the host maps no more */
	TRAP_CRASH,   /* the host stopped it */
	TRAP_HANG,
};

/* A signal of the host that is no fault of the simulated machine. */
struct trap_crash {
	int signal;
	const void *address;		 /* NULL for what has none */
	const void *pc, *stack, *caller; /* caller: where pc was called from, if it is no code */
};

struct trap_facts {
	enum trap_cause cause;
	struct mmu_fault fault; /* cr2: the address */
	struct paddr paddr;	/* TRAP_NO_RAM */
	struct vaddr outer;	/* TRAP_SAME_AGAIN, TRAP_TOO_DEEP: what the handler was serving */
	bool write;
	const void *pc;
	struct mmu_walk walk;
	struct trap_crash crash;
	unsigned limit_ms; /* TRAP_HANG */
};

/* A fault that the kernel's handler is serving. */
struct trap_active {
	struct vaddr va;
	uint32_t error_code;
};

/* What a thread needs to serve faults and to leave kernel code. */
struct trap_thread {
	sigjmp_buf jump;
	volatile bool armed;
	struct trap_report report;
	struct trap_facts facts;
	volatile bool serving;	 /* inside the lab's windows, which hold a lock */
	volatile unsigned depth; /* of active[]; shared by nested signals */
	struct trap_active active[TRAP_DEPTH_MAX];
};

static _Thread_local struct trap_thread own;
static _Thread_local struct trap_thread *other; /* NULL: own */
_Thread_local struct trap_mark trap_mark;

/* How the host stops a program; SIGSEGV is also the simulated machine's page fault. */
static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
static struct sigaction previous[G_N_ELEMENTS(signals)];

static struct trap_thread *here(void)
{
	return other ? other : &own;
}

struct trap_thread *trap_thread_new(void)
{
	return g_new0(struct trap_thread, 1);
}

void trap_thread_use(struct trap_thread *thread)
{
	other = thread;
}

/* ---- Leaving ---- */

static void leave(void)
{
	here()->armed = here()->serving = trap_mark.inside = false;
	siglongjmp(here()->jump, 1);
}

void trap_die(const char *kind, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	g_strlcpy(here()->report.kind, kind, sizeof(here()->report.kind));
	vsnprintf(here()->report.message, sizeof(here()->report.message), format, arguments);
	va_end(arguments);
	here()->facts.cause = TRAP_NONE;
	if (!here()->armed)
		g_error("lab error: kernel code died outside of an operation: %s: %s", kind,
			here()->report.message);
	leave();
	abort();
}

/* Also from signal handlers. The walk is only looked at, by the lab's own view of RAM. */
static void die_of(struct machine *machine, struct trap_facts facts)
{
	here()->facts = facts;
	mmu_walk(machine->cpu[machine_cpu(machine)], facts.fault.cr2, NULL, &here()->facts.walk);
	leave();
	abort();
}

/* ---- Words ---- */

struct text {
	char *at;
	gsize left;
};

static void say(struct text *text, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void say(struct text *text, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	gsize length = (gsize)vsnprintf(text->at, text->left, format, arguments);
	va_end(arguments);
	length = MIN(length, text->left - 1);
	text->at += length;
	text->left -= length;
}

static const char *reason_of(uint32_t error_code)
{
	if (!(error_code & X86_PF_P))
		return "the page is not present";
	if (error_code & X86_PF_RSVD)
		return "an entry has a reserved bit set";
	if (error_code & X86_PF_PK)
		return "the page's protection key forbids it";
	return error_code & X86_PF_W ? "the page's rights forbid writing"
				     : "the page's rights forbid it";
}

static void say_fault(struct text *text, const struct mmu_fault *fault)
{
	say(text, "%s of kernel address 0x%" PRIx64 ": #PF, %s (vector 14, error code 0x%x)",
	    fault->error_code & X86_PF_W ? "write" : "read", fault->cr2.a,
	    reason_of(fault->error_code), fault->error_code);
}

static void say_walk(struct text *text, const struct mmu_walk *walk)
{
	static const char *const names[] = { "PTE", "PDE", "PDPTE", "PML4E", "PML5E" };

	for (uint32_t i = 0; i < walk->count; i++) {
		const struct mmu_walk_entry *entry = &walk->entry[i];
		say(text, "%s %s 0x%" PRIx64 " at physical 0x%" PRIx64 "%s",
		    i == 0 ? "; the walk meets" : ",", names[entry->level], entry->value,
		    entry->at.a, entry->value & X86_PTE_P ? "" : " (not present)");
	}
}

/* A frame that ran into the guard page below the stack: the fault is next to the stack pointer. */
#define STACK_REACH (64 * 1024)

static bool overflowed(const struct trap_crash *crash)
{
	uintptr_t address = (uintptr_t)crash->address, stack = (uintptr_t)crash->stack;

	return crash->signal == SIGSEGV && address < stack + STACK_REACH &&
	       address + STACK_REACH > stack;
}

static void say_crash(struct text *text, const struct trap_crash *crash)
{
	bool placed = crash->signal == SIGSEGV || crash->signal == SIGBUS;

	if (overflowed(crash))
		say(text, "stack overflow");
	else if (crash->caller)
		say(text, "%s: a jump to %p, where there is no code", strsignal(crash->signal),
		    crash->pc);
	else if (placed)
		say(text, "%s at host address %p, outside of the machine", strsignal(crash->signal),
		    crash->address);
	else
		say(text, "%s", strsignal(crash->signal));
}

static void say_cause(struct text *text, const struct trap_facts *facts)
{
	const char *verb = facts->write ? "write" : "read";

	switch (facts->cause) {
	case TRAP_UNPAGED:
		say(text, "%s of kernel address 0x%" PRIx64 ", which nothing maps", verb,
		    facts->fault.cr2.a);
		return;
	case TRAP_NO_RAM:
		say(text,
		    "%s of kernel address 0x%" PRIx64 ", which leads to physical 0x%" PRIx64
		    ", where there is no RAM",
		    verb, facts->fault.cr2.a, facts->paddr.a);
		return;
	case TRAP_REFUSED:
		say(text, "the host maps no window for kernel address 0x%" PRIx64,
		    facts->fault.cr2.a);
		return;
	case TRAP_CRASH:
		say_crash(text, &facts->crash);
		return;
	case TRAP_HANG:
		say(text, "does not come back within %u ms of CPU time", facts->limit_ms);
		return;
	default:
		say_fault(text, &facts->fault);
	}
}

static void say_rest(struct text *text, const struct trap_facts *facts)
{
	switch (facts->cause) {
	case TRAP_UNHANDLED:
		say(text, "; the kernel's fault handler does not serve it");
		break;
	case TRAP_NEVER_SERVED:
		say(text, "; the kernel's fault handler says that it has served it, %d times",
		    TRAP_TRIES_MAX);
		break;
	case TRAP_SAME_AGAIN:
		say(text, "; the kernel's fault handler was serving just that page");
		break;
	case TRAP_TOO_DEEP:
		say(text,
		    "; the kernel's fault handler is already serving %d faults inside one another, "
		    "the "
		    "last one at 0x%" PRIx64,
		    TRAP_DEPTH_MAX, facts->outer.a);
		break;
	default:
		break;
	}
}

static void report_facts(const struct trap_facts *facts, struct trap_report *report)
{
	struct text text = { report->message, sizeof(report->message) };
	bool faulted = facts->cause != TRAP_CRASH && facts->cause != TRAP_HANG;
	bool twice = facts->cause == TRAP_SAME_AGAIN || facts->cause == TRAP_TOO_DEEP;
	const char *kind = facts->cause == TRAP_REFUSED ? "lab"
			   : facts->cause == TRAP_CRASH ? "crash"
			   : facts->cause == TRAP_HANG	? "hang"
							: "page-fault";

	report->address.a = faulted ? facts->fault.cr2.a : 0;
	g_strlcpy(report->kind, twice ? "double-fault" : kind, sizeof(report->kind));
	say_cause(&text, facts);
	if (facts->pc) {
		char *place = source_line(facts->pc);
		say(&text, ", at %s", place);
		g_free(place);
	}
	say_rest(&text, facts);
	say_walk(&text, &facts->walk);
}

/* ---- Page faults ---- */

static struct trap_facts facts_of(enum trap_cause cause, const struct mmu_fault *fault,
				  const void *pc)
{
	return (struct trap_facts){
		.cause = cause, .fault = *fault, .write = fault->error_code & X86_PF_W, .pc = pc
	};
}

static bool same_fault(const struct trap_active *active, const struct mmu_fault *fault)
{
	return active->va.a >> X86_PAGE_SHIFT == fault->cr2.a >> X86_PAGE_SHIFT &&
	       active->error_code == fault->error_code;
}

/* A fault while others are being served: is there still sense in it? */
static void judge_nesting(struct machine *machine, const struct mmu_fault *fault, const void *pc)
{
	unsigned depth = here()->depth;
	struct trap_facts facts = facts_of(TRAP_SAME_AGAIN, fault, pc);

	for (unsigned i = 0; i < depth; i++)
		if (same_fault(&here()->active[i], fault))
			die_of(machine, facts);
	if (depth < TRAP_DEPTH_MAX)
		return;
	facts.cause = TRAP_TOO_DEEP;
	facts.outer = here()->active[depth - 1].va;
	die_of(machine, facts);
}

void trap_page_fault(struct machine *machine, const struct mmu_fault *fault, const void *pc)
{
	unsigned depth = here()->depth;

	if (!machine->fault_handler)
		die_of(machine, facts_of(TRAP_NO_HANDLER, fault, pc));
	judge_nesting(machine, fault, pc);
	here()->active[depth] = (struct trap_active){ fault->cr2, fault->error_code };
	here()->depth = depth + 1;
	bool served = machine->fault_handler(machine->fault_context, fault->cr2, fault->error_code);
	here()->depth = depth;
	if (!served)
		die_of(machine, facts_of(TRAP_UNHANDLED, fault, pc));
}

void trap_never_served(struct machine *machine, const struct mmu_fault *fault, const void *pc)
{
	die_of(machine, facts_of(TRAP_NEVER_SERVED, fault, pc));
	abort();
}

void trap_no_ram(struct machine *machine, struct vaddr va, struct paddr paddr, const void *pc)
{
	struct mmu_fault at = { .cr2 = va };
	struct trap_facts facts = facts_of(TRAP_NO_RAM, &at, pc);

	facts.paddr = paddr;
	die_of(machine, facts);
	abort();
}

/* ---- Crashes and hangs ---- */

static const void *registers_pc(const void *state)
{
	return (const void *)(uintptr_t)((const ucontext_t *)state)->uc_mcontext.gregs[REG_RIP];
}

static struct trap_crash crash_of(int signal, const siginfo_t *info, const void *state)
{
	const ucontext_t *registers = state;
	struct trap_crash crash = { .signal = signal, .pc = registers_pc(state) };

	crash.stack = (const void *)(uintptr_t)registers->uc_mcontext.gregs[REG_RSP];
	if (signal == SIGSEGV || signal == SIGBUS)
		crash.address = info->si_addr;
	/* A call of what is no code has left the place behind the call on the stack. */
	if (signal == SIGSEGV && crash.address == crash.pc)
		memcpy(&crash.caller, crash.stack, sizeof(crash.caller));
	return crash;
}

static const void *crash_place(const struct trap_crash *crash)
{
	return crash->caller ? (const char *)crash->caller - 1 : crash->pc;
}

void trap_describe_crash(int signal, const siginfo_t *info, const void *state, char *buffer,
			 gsize bytes)
{
	struct trap_crash crash = crash_of(signal, info, state);
	struct text text = { buffer, bytes };
	char *place = source_line(crash_place(&crash));

	say_crash(&text, &crash);
	say(&text, ", at %s", place);
	g_free(place);
}

static void die_of_crash(int signal, const siginfo_t *info, const void *state)
{
	struct trap_facts facts = { .cause = TRAP_CRASH, .crash = crash_of(signal, info, state) };

	facts.pc = crash_place(&facts.crash);
	here()->facts = facts;
	leave();
}

void trap_hang(unsigned limit_ms, const void *pc)
{
	if (!here()->armed || here()->serving)
		return;
	here()->facts = (struct trap_facts){ .cause = TRAP_HANG, .limit_ms = limit_ms, .pc = pc };
	leave();
}

/* ---- The signal ---- */

static void pass_on(int signal, siginfo_t *info, void *context)
{
	const struct sigaction *before = previous;

	for (gsize i = 0; i < G_N_ELEMENTS(signals); i++)
		if (signals[i] == signal)
			before = &previous[i];
	if (before->sa_flags & SA_SIGINFO) {
		before->sa_sigaction(signal, info, context);
	} else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) {
		before->sa_handler(signal);
	} else {
		sigaction(signal, before, NULL); /* the access faults again and ends the program */
	}
}

/* A real ThreadSanitizer keeps it blocked in here, and a nested fault would kill. */
static void unblock(int signal)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signal);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* A touch in the reservation: returns when it is to be done again, false when it cannot be. */
static bool serve(struct machine *machine, struct vaddr va, bool write, const void *pc)
{
	struct mmu_fault fault = { 0 };

	for (unsigned tries = 0; tries < TRAP_TRIES_MAX; tries++) {
		struct mmu_cpu *cpu = machine->cpu[machine_cpu(machine)];
		here()->serving = true;
		enum window_verdict verdict =
			window_touch(machine->windows, cpu, va, write, &fault);
		here()->serving = false;
		if (verdict == WINDOW_READY)
			return true;
		if (!here()->armed)
			return false;
		if (verdict == WINDOW_FAULT) {
			trap_page_fault(machine, &fault, pc);
			continue;
		}
		struct trap_facts facts = {
			.fault.cr2 = va, .paddr = { fault.cr2.a }, .write = write, .pc = pc
		};
		facts.cause = verdict == WINDOW_UNPAGED	 ? TRAP_UNPAGED
			      : verdict == WINDOW_NO_RAM ? TRAP_NO_RAM
							 : TRAP_REFUSED;
		die_of(machine, facts);
	}
	trap_never_served(machine, &fault, pc);
}

/* No malloc, no stdio, no GLib in here; the kernel's own fault handler may run. */
static void on_fault(int signal, siginfo_t *info, void *context)
{
	int saved_errno = errno;
	struct machine *machine = machine_current();
	const ucontext_t *state = context;

	if (!machine || signal != SIGSEGV || !machine_holds(machine, info->si_addr)) {
		if (here()->armed && trap_mark.inside)
			die_of_crash(signal, info, context);
		pass_on(signal, info, context);
		return;
	}
	unblock(signal);
	bool write = (state->uc_mcontext.gregs[REG_ERR] >> 1) & 1;
	const void *pc = registers_pc(context);
	if (!serve(machine, machine_vaddr(machine, info->si_addr), write, pc))
		pass_on(signal, info, context);
	errno = saved_errno;
}

/* ---- The signal of a thread that watches this one ---- */

static unsigned interrupt_ms; /* atomic */

static void on_interrupt(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)info;
	trap_hang(__atomic_load_n(&interrupt_ms, __ATOMIC_RELAXED), registers_pc(context));
}

void trap_interrupt(pthread_t thread, unsigned limit_ms)
{
	struct sigaction action = { .sa_sigaction = on_interrupt,
				    .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };

	sigemptyset(&action.sa_mask);
	__atomic_store_n(&interrupt_ms, limit_ms, __ATOMIC_RELAXED);
	if (sigaction(SIGURG, &action, NULL) != 0)
		g_error("lab error: sigaction: %s", g_strerror(errno));
	pthread_kill(thread, SIGURG);
}

static void install_handler(void)
{
	static gsize once;

	if (!g_once_init_enter(&once))
		return;
	struct sigaction action = { .sa_sigaction = on_fault,
				    .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };
	sigemptyset(&action.sa_mask);
	for (gsize i = 0; i < G_N_ELEMENTS(signals); i++)
		if (sigaction(signals[i], &action, &previous[i]) != 0)
			g_error("lab error: sigaction: %s", g_strerror(errno));
	g_once_init_leave(&once, 1);
}

/* ---- The thread's stack ---- */

/* What was there before comes back first: a sanitizer frees what it finds installed. */
static void take_stack_away(gpointer data)
{
	stack_t *old = data, ours;

	if (sigaltstack(NULL, &ours) == 0 && sigaltstack(old, NULL) == 0)
		munmap(ours.ss_sp, ours.ss_size);
	g_free(old);
}

static void give_stack(void)
{
	static GPrivate given = G_PRIVATE_INIT(take_stack_away);
	stack_t *old;

	if (g_private_get(&given))
		return;
	void *memory = mmap(NULL, ALTERNATE_STACK_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t stack = { .ss_sp = memory, .ss_size = ALTERNATE_STACK_BYTES };
	old = g_new0(stack_t, 1);
	if (memory == MAP_FAILED || sigaltstack(&stack, old) != 0)
		g_error("lab error: no stack for the fault handler: %s", g_strerror(errno));
	g_private_set(&given, old);
}

void trap_prepare_thread(void)
{
	install_handler();
	give_stack();
}

bool trap_run(void (*fn)(void *), void *argument, struct trap_report *report)
{
	g_assert(!here()->armed);
	trap_prepare_thread();
	here()->depth = 0;
	if (sigsetjmp(here()->jump, 1) == 0) {
		here()->armed = true;
		fn(argument);
		here()->armed = false;
		return true;
	}
	here()->depth = 0;
	if (here()->facts.cause == TRAP_NONE)
		*report = here()->report; /* its address is 0 */
	else
		report_facts(&here()->facts, report);
	return false;
}
