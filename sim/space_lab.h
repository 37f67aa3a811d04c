/*
 * space_lab.h - a kernel's address spaces on a simulated machine, watched: the frames that they
 * take are booked in the ledger, an allocation can be made to fail, every operation can be timed,
 * and users' touches go through mmu/ as the current CPU, faults to the kernel's handler.
 *
 *   replay_space.c, check_space.c, tests  -->  space_lab  -->  kernel: spaces, tables
 *                                                 ^                    |
 *                                                 +---- watched <------+  frame_alloc, frame_free
 *                                                          |
 *                                                   ledger, the allocator under test
 *
 * Kernel code runs in all functions but the first three: inside trap_run() only.
 */
#ifndef KMEMLAB_SIM_SPACE_LAB_H
#define KMEMLAB_SIM_SPACE_LAB_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "alloc/space/space.h"
#include "sim/kernel.h"
#include "sim/ledger.h"
#include "sim/probe.h"
#include "sim/window_cost.h"

/* Which systems, in both builds, and their settings. */
struct space_choice {
	const struct table_ops *tables[PASSES];
	const struct space_ops *spaces[PASSES];
	uint64_t table_option[TABLE_OPTIONS_MAX];
	uint64_t space_option[SPACE_OPTIONS_MAX];
};

/* LAB_ERROR_USAGE for unknown names. */
bool space_choice_find(struct space_choice *choice, const char *tables, const char *spaces,
		       GError **error);
/* "tables.KEY=VALUE" or "space.KEY=VALUE". LAB_ERROR_USAGE. */
bool space_choice_set(struct space_choice *choice, const char *setting, GError **error);

/* Something that must not be: KIND as in replay.h's violations. */
typedef void (*space_lab_report_fn)(void *context, const char *kind, uint64_t frame,
				    const char *message);

struct space_lab_entry {
	struct frame_block block;
	uint32_t align_frames;
	uint8_t mobility;
	bool is_free;
};

#define SPACE_LAB_LOG 4096

/* What is timed and counted, faults by what they came to: SPACE_CALL_FAULT + enum space_fault. */
enum space_call {
	SPACE_CALL_START = 0,
	SPACE_CALL_SPAWN,
	SPACE_CALL_FORK,
	SPACE_CALL_EXIT,
	SPACE_CALL_MMAP,
	SPACE_CALL_MUNMAP,
	SPACE_CALL_MPROTECT,
	SPACE_CALL_BRK,
	SPACE_CALL_SWITCH,
	SPACE_CALL_FAULT,
	SPACE_CALLS = SPACE_CALL_FAULT + SPACE_FAULTS
};
/* Their names from index BASE of an array on. */
#define SPACE_CALL_NAMES(base)                                                                    \
	[(base) + SPACE_CALL_START] = "spaces_start", [(base) + SPACE_CALL_SPAWN] = "spawn",      \
		  [(base) + SPACE_CALL_FORK] = "fork", [(base) + SPACE_CALL_EXIT] = "exit",       \
		  [(base) + SPACE_CALL_MMAP] = "mmap", [(base) + SPACE_CALL_MUNMAP] = "munmap",   \
		  [(base) + SPACE_CALL_MPROTECT] = "mprotect", [(base) + SPACE_CALL_BRK] = "brk", \
		  [(base) + SPACE_CALL_SWITCH] = "switch",                                        \
		  [(base) + SPACE_CALL_FAULT + SPACE_FAULT_NONE] = "fault_none",                  \
		  [(base) + SPACE_CALL_FAULT + SPACE_FAULT_SPURIOUS] = "fault_spurious",          \
		  [(base) + SPACE_CALL_FAULT + SPACE_FAULT_ZERO] = "fault_zero",                  \
		  [(base) + SPACE_CALL_FAULT + SPACE_FAULT_ZERO_TABLE] = "fault_zero-table",      \
		  [(base) + SPACE_CALL_FAULT + SPACE_FAULT_FRESH] = "fault_fresh",                \
		  [(base) + SPACE_CALL_FAULT + SPACE_FAULT_LARGE] = "fault_large",                \
		  [(base) + SPACE_CALL_FAULT + SPACE_FAULT_FROM_ZERO] = "fault_from-zero",        \
		  [(base) + SPACE_CALL_FAULT + SPACE_FAULT_COPY] = "fault_copy",                  \
		  [(base) + SPACE_CALL_FAULT + SPACE_FAULT_REUSE] = "fault_reuse",                \
		  [(base) + SPACE_CALL_FAULT + SPACE_FAULT_BAD] = "fault_bad",                    \
		  [(base) + SPACE_CALL_FAULT + SPACE_FAULT_NO_MEMORY] = "fault_no-memory"

struct space_lab {
	struct machine *machine;
	enum kernel_pass pass;
	struct frames inner;   /* the allocator under test */
	struct ledger *ledger; /* NULL: nothing is judged */
	uint32_t owner;	       /* of all frames of page tables and spaces, in the ledger */
	space_lab_report_fn report;
	void *context;
	struct spaces *spaces; /* the kernel's, in simulated RAM */
	uint64_t digest;       /* of all frames that were handed out, in order */
	uint64_t held;	       /* frames taken and not given back */
	uint64_t kernel_held;  /* of them, for good: the kernel's half of page tables */
	uint64_t requests;     /* allocations asked for */
	uint64_t refusals;     /* of them, not served */
	uint64_t fail_at;      /* the one with this number (from 1) fails; 0: none */
	uint64_t fail_after;   /* and all after this number; 0: none */
	/* Timed: bookings wait until the operation is over. */
	bool timed;
	struct window_meter *meter; /* with timed: takes the lab's own windows off; or NULL */
	/* After each operation: its net time, 0 where it is not timed, and, in the probed pass,
	 * what it cost. May be NULL. */
	void (*called)(void *context, enum space_call call, uint64_t ns,
		       const struct probe_counters *counters);
	struct probe_counters counters; /* of the operation that runs */
	struct space_lab_entry log[SPACE_LAB_LOG];
	unsigned logged;
};

/* Before machine_boot(): makes room for the state. LAB_ERROR_USAGE with the kernel's reason where
 * the systems refuse this machine. */
bool space_lab_make_room(struct machine *machine, const struct frame_ops *frames,
			 const struct space_choice *choice, enum kernel_pass pass, GError **error);
/* After it, and after the ledger knows what boot took. */
void space_lab_init(struct space_lab *lab, struct machine *machine, enum kernel_pass pass,
		    const struct frames *frames, struct ledger *ledger, uint32_t owner);

/* The kernel starts its page tables and spaces. An enum kerr. */
int space_lab_start(struct space_lab *lab, const struct space_choice *choice);
/* All spaces have gone: gives back the rest, and reports what is missing. */
void space_lab_stop(struct space_lab *lab);

/* The operations of alloc/space/space.h, as the current CPU. */
int space_lab_new(struct space_lab *lab, struct space **out);
int space_lab_fork(struct space_lab *lab, struct space *parent, struct space **out);
/* CPUs that run it leave it first. */
void space_lab_free(struct space_lab *lab, struct space *space);
int space_lab_map(struct space_lab *lab, struct space *space, uint64_t base, uint64_t end,
		  unsigned rights);
int space_lab_unmap(struct space_lab *lab, struct space *space, uint64_t base, uint64_t end);
int space_lab_protect(struct space_lab *lab, struct space *space, uint64_t base, uint64_t end,
		      unsigned rights);
int space_lab_brk(struct space_lab *lab, struct space *space, uint64_t brk);
void space_lab_switch(struct space_lab *lab, struct space *space);
int space_lab_fault(struct space_lab *lab, struct space *space, const struct mmu_fault *fault,
		    struct space_report *report);

enum space_touch { TOUCH_DONE = 0, TOUCH_BAD, TOUCH_NO_MEMORY };

/* BYTES, 1 to MMU_ACCESS_MAX_BYTES, of user code that the current CPU runs in SPACE: read into DATA
 * or written from it. FAULTED, which may be NULL, is called after each fault that the kernel served
 * or refused. */
typedef void (*space_faulted_fn)(void *context, const struct space_report *report);
enum space_touch space_lab_touch(struct space_lab *lab, struct space *space, struct vaddr va,
				 void *data, unsigned bytes, unsigned kind,
				 space_faulted_fn faulted, void *context);

/* Holds everything against the lab's own reading of the page tables in RAM (page_tables.h): who
 * maps what, how often, and whose frames these are; and asks the kernel's check(). False: reported.
 * Cost: O(tables). */
bool space_lab_audit(struct space_lab *lab);

#endif
