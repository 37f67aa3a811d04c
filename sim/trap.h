/*
 * trap.h - faults of kernel code, and where it ends when it cannot go on.
 *
 * A touch of a kernel address without a host mapping is served by the simulated tables (window.h),
 * or by the kernel's own page-fault handler (port_set_fault_handler). What neither serves, a panic,
 * or a fault in the lab's services ends the kernel's operation: control returns to its entry with a
 * report; the kernel's state is then what it was at that moment and must not be entered again.
 *
 * Handler rules (SA_SIGINFO | SA_NODEFER | SA_ONSTACK, an alternate stack a thread, errno kept):
 * ARCHITECTURE.md, idea 3. What the host stops for another reason (an address outside of the
 * machine, a division by zero, an illegal instruction, no stack left) ends the kernel's operation
 * as well, where one is marked as under way; outside of any it goes to the handler that was there
 * before.
 */
#ifndef KMEMLAB_SIM_TRAP_H
#define KMEMLAB_SIM_TRAP_H

#include <glib.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#include "mmu/mmu.h"

struct machine;

/* This thread and the kernel: whether an operation of it is under way, and how many have begun.
 * What goes wrong inside of one is the kernel's doing, whatever the host calls it. */
struct trap_mark {
	volatile bool inside;
	volatile uint64_t operations;
};
extern _Thread_local struct trap_mark trap_mark;

/* Around each operation, inside trap_run(). Cost: three stores. */
static inline void trap_kernel_begin(void)
{
	trap_mark.operations++;
	trap_mark.inside = true;
}

static inline void trap_kernel_end(void)
{
	trap_mark.inside = false;
}

/* Faults inside fault handlers: more than a kernel nests on purpose, less than fills the alternate
 * stack (a nested signal and a handler take some 5 KiB, three times that under ASan). */
#define TRAP_DEPTH_MAX 8

struct trap_report {
	char kind[16]; /* "page-fault", "double-fault", "crash", "hang", "panic", "deadlock",
			  "boot", "lab" */
	char message[1024];
	struct vaddr address; /* that faulted; 0: it was something else */
};

/* Runs FN(ARGUMENT), kernel code of the current machine. True when it returned; false when it died,
 * with *report. FN must own nothing that would leak: it may be left at any point. Not nested. */
bool trap_run(void (*fn)(void *), void *argument, struct trap_report *report);

/* Leaves the innermost trap_run() of this thread; outside of one the program aborts with the
 * message. */
void trap_die(const char *kind, const char *format, ...) G_GNUC_PRINTF(2, 3) G_GNUC_NORETURN;

/* Makes ready what trap_run() and kernel code on this thread need: the handler, once, and the
 * thread's stack for it. trap_run() does it; so must who runs kernel code outside of one. */
void trap_prepare_thread(void);

/* One host thread may run several pieces of kernel code by turns, each on a stack of its own, with
 * a trap_run() of its own: from _use() on that is the one meant; NULL: the thread's. Free with
 * g_free(). */
struct trap_thread;
struct trap_thread *trap_thread_new(void);
void trap_thread_use(struct trap_thread *thread);

/* Takes another host thread out of its trap_run(), as trap_hang() does. The signal may come late,
 * or at no moment to leave: ask again. */
void trap_interrupt(pthread_t thread, unsigned limit_ms);

/* Delivers a #PF of the current CPU to the kernel's handler. Returns when the access is to be done
 * again; otherwise leaves as trap_die() does. PC: of the access. Context: also a signal handler. */
void trap_page_fault(struct machine *machine, const struct mmu_fault *fault, const void *pc);

/* Deliveries for one access after which a handler that claims success is no longer believed. */
#define TRAP_TRIES_MAX 16
void trap_never_served(struct machine *machine, const struct mmu_fault *fault,
		       const void *pc) G_GNUC_NORETURN;

/* From a signal handler, or from a probe: the operation under way has used up LIMIT_MS and still
 * runs at PC. Returns where this is no moment to leave: the lab is serving it. */
void trap_hang(unsigned limit_ms, const void *pc);

/* What the host stopped, in words: "Segmentation fault at host address 0x8, outside of the machine,
 * at mine.c:12 (mine_alloc)". STATE: the handler's third argument. */
void trap_describe_crash(int signal, const siginfo_t *info, const void *state, char *text,
			 gsize bytes);

/* An access whose translation leads beyond RAM. */
void trap_no_ram(struct machine *machine, struct vaddr va, struct paddr paddr,
		 const void *pc) G_GNUC_NORETURN;

#endif
