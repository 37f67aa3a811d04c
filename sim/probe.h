/*
 * probe.h - what happens at every load and store of the probed build of the kernel.
 *
 * A probe runs before the access. It classifies the address (simulated RAM, kernel stack, read-only
 * data; anything else is a violation), translates it as the current CPU, and asks the ledger whose
 * frame it is: while an allocator runs, it may touch its own state, free frames if its records live
 * there, the memory map it was given (reading), and nothing else.
 *
 * One probed machine runs at a time in a thread; probes know it through probe_begin(). Cost: a few
 * ns an access.
 */
#ifndef KMEMLAB_SIM_PROBE_H
#define KMEMLAB_SIM_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alloc/frame/frame.h"
#include "sim/ledger.h"
#include "sim/machine.h"

/* Machine events, summed over whatever operations were charged to it. */
struct probe_counters {
	uint64_t loads, stores, atomics; /* accesses to simulated RAM; an atomic counts here only */
	uint64_t cache_lines;		 /* distinct 64-byte lines, per operation */
	uint64_t tlb_lookups, tlb_misses; /* pages looked up; not found in the L1 TLBs */
	uint64_t walk_reads;		  /* page-table entries read by walks */
	uint64_t faults;
};

static inline void probe_counters_add(struct probe_counters *sum, const struct probe_counters *more)
{
	sum->loads += more->loads;
	sum->stores += more->stores;
	sum->atomics += more->atomics;
	sum->cache_lines += more->cache_lines;
	sum->tlb_lookups += more->tlb_lookups;
	sum->tlb_misses += more->tlb_misses;
	sum->walk_reads += more->walk_reads;
	sum->faults += more->faults;
}

enum probe_phase {
	PROBE_OFF = 0,
	PROBE_LEAVE,  /* the next access ends the operation: see probe_interrupt() */
	PROBE_BOOT,   /* whose frame it is does not matter yet; holes do */
	PROBE_RUN,    /* an operation of the allocator: checked and counted */
	PROBE_CHECK,  /* walk() and check(): reading is checked, nothing is counted */
	PROBE_KERNEL, /* an operation of page tables and spaces: stays out of the allocator's state
			 and of free frames, counted */
};

/* One access that must not be, reported once for each source line. */
struct probe_finding {
	const char *kind; /* "probe"; "stale" for what machine.stale-check finds */
	uint64_t frame;	  /* 0 outside simulated RAM */
	const char *message;
};
typedef void (*probe_report_fn)(void *context, const struct probe_finding *finding);

/* Somebody who wants to know of each access of PROBE_RUN to simulated RAM, and may run other CPUs
 * in between. NULL: none of it. */
struct probe_observer {
	/* Before anything is done about the access; POINTER is the kernel's. */
	void (*access)(void *context, const void *pointer, unsigned kind, unsigned bytes,
		       const void *caller);
	/* The access is about to write BYTES, in one page, at PADDR. May be NULL. */
	void (*write)(void *context, uint64_t paddr, unsigned bytes);
	void *context;
};

struct probe {
	struct machine *machine;
	const struct ledger *ledger; /* NULL during boot */
	const struct frame_ops *frames;
	probe_report_fn report;
	void *context;
	const struct probe_observer *observer;
};

/* From here to probe_end() the probed build of this thread is watched. */
void probe_begin(const struct probe *probe);
void probe_set_ledger(const struct ledger *ledger);
void probe_end(void);
/* The same as probe.observer, later. */
void probe_set_observer(const struct probe_observer *observer);

/* Forgets which source lines were reported. */
void probe_report_again(void);

/* The kernel's stacks are there instead of at the thread's own. */
void probe_set_stack(const void *low, size_t bytes);

/* Charges what follows to COUNTERS (not cleared), as one operation. */
void probe_phase(enum probe_phase phase, struct probe_counters *counters);

/* The allocator is called inside of a kernel operation, or returns there: what is counted stays.
 * Returns the phase of before. */
enum probe_phase probe_change_phase(enum probe_phase phase);
/* Whose accesses the next ones are: a heap's, or (false, as at first) the frame allocator's. A heap
 * may touch the frames it got (OWNER in the ledger), its state, and nothing else. */
void probe_heap_owners(uint32_t owner, uint32_t state_owner);
void probe_heap(bool heap);
bool probe_in_heap(void);

/* From a signal handler on this thread: the operation under way hangs, and the next access that it
 * makes shall end it. False: nothing is being watched. */
bool probe_interrupt(unsigned limit_ms);

/* From here to probe_end() distinct frames of simulated RAM (RAM_FRAMES of them) are counted. False
 * where the host has no address space. */
bool probe_count_frames(uint64_t ram_frames);
uint64_t probe_frames_touched(void);

/* Accesses so far that were neither simulated RAM, kernel stack nor read-only data. */
uint64_t probe_outside(void);

#endif
