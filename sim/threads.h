/*
 * threads.h - host threads that are CPUs: kernel code of one machine's native build on all of them
 * at the same time. Nothing is deterministic here; it is for stress and for scaling.
 *
 * The machine has booted on the calling thread. All threads begin together. While they run, the
 * calling thread watches: a thread that shows no sign of life for the limit is told to stop, and
 * everybody else with it; one that sits in an endless loop of kernel code is taken out of it by a
 * signal. So whatever the kernel does, threads_run() comes back with a report.
 *
 * Kernel code reaches RAM through the direct map. Windows are one TLB for all (window.h).
 */
#ifndef KMEMLAB_SIM_THREADS_H
#define KMEMLAB_SIM_THREADS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim/machine.h"
#include "sim/trap.h"

#define THREADS_MAX	 64
#define THREADS_LIMIT_MS 2000

struct threads;

/* One host thread's; of its own cache lines. */
struct threads_worker {
	struct threads *threads;
	unsigned index; /* 0 .. */
	void *context;	/* as configured */
	uint64_t steps; /* signs of life; written by the thread, read by the watcher */
} __attribute__((aligned(128)));

typedef void (*threads_fn)(struct threads_worker *worker);

struct threads_config {
	struct machine *machine;
	unsigned count; /* 1 .. THREADS_MAX; not more than the machine has CPUs */
	threads_fn run; /* on each thread, inside trap_run(), as CPU `index` at first: may be left
			   anywhere in kernel code, so it owns nothing */
	void *context;
	unsigned limit_ms; /* without a sign of life: CPU time of the thread, and ten times as much
			      by the wall; 0: THREADS_LIMIT_MS */
};

struct threads_report {
	bool died;		 /* some thread did; the machine must not be entered again */
	unsigned thread;	 /* the first that did */
	struct trap_report trap; /* how: "hang", "deadlock", or as trap.h says */
	uint64_t wall_ns;	 /* from the first one's start to the last one's end */
	uint64_t cpu_ns;	 /* of all threads together */
};

/* Returns when all have ended. False with LAB_ERROR_LAB where the host refuses a thread; what the
 * kernel does is in the REPORT. Ends the program (exit code 4) where a thread cannot be ended. */
bool threads_run(const struct threads_config *config, struct threads_report *report,
		 GError **error);

/* ---- for the threads ---- */

/* The thread goes on as that CPU; no other thread may be it. */
void threads_set_cpu(struct threads_worker *worker, unsigned cpu);

/* An operation is done. Cost: a store. */
static inline void threads_alive(struct threads_worker *worker)
{
	__atomic_store_n(&worker->steps, worker->steps + 1, __ATOMIC_RELAXED);
}

/* Somebody died: return. */
bool threads_stopping(const struct threads_worker *worker);

/* One look at something that another thread will do, before the next; a while longer each time
 * (*LOOKS, 0 at first). A sign of life: whom it waits for has a limit. False: do not wait, return.
 */
bool threads_wait(struct threads_worker *worker, unsigned *looks);

#endif
