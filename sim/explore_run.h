/*
 * explore_run.h - one machine on which a scenario is played again and again, each time with another
 * interleaving of its CPUs, accurate to one access.
 *
 * The kernel is the probed build. Every CPU has a stack of its own on this one host thread, and the
 * probe before each access to simulated RAM asks the caller whether another CPU goes on first. What
 * the kernel writes is journalled and undone afterwards, so that each run begins in the same state,
 * and costs what it does, not what RAM holds.
 *
 * Judged are: two owners of a frame at one time, frees that are refused, an allocation of one frame
 * that fails while some frame was free all the time, an operation of a lock-free system that does
 * not end while the others stand still, deadlocks, whatever ends kernel code (trap.h), what probes
 * find, and at the end check(), walk(), the count of free frames, and that all can be given back.
 */
#ifndef KMEMLAB_SIM_EXPLORE_RUN_H
#define KMEMLAB_SIM_EXPLORE_RUN_H

#include "sim/explore_scenario.h"
#include "sim/kernel.h"

struct explore_point {
	bool begins;	   /* of all: who is the first? `cpu` is nobody */
	unsigned cpu;	   /* that is about to do something */
	unsigned runnable; /* bits: who could go on instead, and itself if it can */
	bool can_go_on;	   /* false: it has ended, or waits for a lock */
	bool contended;	   /* the access is to a word that CPUs share, and one of them writes */
	uint64_t accesses; /* of this CPU since it was switched to */
};

/* Returns the CPU that goes on, one of the runnable ones. */
typedef unsigned (*explore_choose_fn)(void *context, const struct explore_point *point);

/* An access to a contended word, for people. */
struct explore_access {
	unsigned cpu, kind, bytes;
	int op; /* index of the CPU's operation */
	const void *pointer, *caller;
};

struct explore_outcome {
	bool failed;
	char kind[24];
	char message[400];
	uint64_t accesses; /* of all CPUs */
	struct explore_order order;
	bool learned; /* a word turned out to be contended that was not known to be */
};

struct explore_player;

/* Boots and does the setup. NULL with LAB_ERROR_BOOT where it cannot boot on that map (no defect),
 * another error for what else is wrong. */
struct explore_player *explore_player_new(const struct frame_ops *const frames[PASSES],
					  const struct frame_config *config,
					  const struct explore_scenario *scenario, GError **error);
void explore_player_free(struct explore_player *player);

/* One run. CHOOSE is asked at the beginning and end of each CPU, when one waits, and before each
 * access; ACCESSES (struct explore_access), if not NULL, gets those to contended words. */
void explore_play(struct explore_player *player, explore_choose_fn choose, void *context,
		  struct explore_outcome *outcome, GArray *accesses);

/* Where in the allocator's state a pointer leads, in bytes; UINT64_MAX: not there. */
uint64_t explore_offset(const struct explore_player *player, const void *pointer);

#endif
