/*
 * check_trial.h - one list of operations against one allocator on one freshly booted machine, in
 * both passes, in a process of its own: a crash or a hang ends that process, and is an outcome like
 * any other.
 */
#ifndef KMEMLAB_SIM_CHECK_TRIAL_H
#define KMEMLAB_SIM_CHECK_TRIAL_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim/kernel.h"

#define TRIAL_NO_OPERATION UINT64_MAX

struct trial {
	const struct frame_ops *frames[PASSES]; /* NULL: that pass is not run */
	const struct machine_config *machine;
	struct frame_config frame_config;
	const GArray *operations; /* struct event (check_ops.h) */
	uint64_t audit_every;	  /* operations */
	unsigned
		cpu_ms; /* host CPU time that an operation or an audit may take: beyond, it hangs */
};

/* Stands in memory that the trial's process shares: no pointers. */
struct trial_outcome {
	bool done;    /* the process came to its end */
	bool refused; /* the allocator cannot run on that machine, with a reason: no defect */
	bool failed;
	unsigned pass;	    /* enum kernel_pass, of the failure; PASSES: the passes differ */
	uint64_t operation; /* being done, or after which all was given back: TRIAL_NO_OPERATION */
	char kind[24];	    /* a ledger verdict, "check", "walk", "probe", "panic", "hang", ... */
	char message[400];
	uint64_t digest[PASSES];
	uint64_t allocations, failures; /* of the first pass that ran */
};

/* False with LAB_ERROR_LAB where the host refuses; anything that the allocator does is an OUTCOME.
 */
bool trial_run(const struct trial *trial, struct trial_outcome *outcome, GError **error);

/* The part that the process does, for callers who vouch for the allocator. */
void trial_execute(const struct trial *trial, struct trial_outcome *outcome);

/* In a trial's process: something came to its end, the limit begins anew. */
void trial_alive(void);

/* Does FN, which may crash or hang, return true? In a process of its own. */
bool trial_guard(bool (*fn)(void *), void *argument, unsigned cpu_ms);

#endif
