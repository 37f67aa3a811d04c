/*
 * ties.h - events of different CPUs with equal timestamps: the recording does not say which came
 * first (the `global` trace clock gives such), so a seed may choose. Events of one CPU and events
 * on one handle keep their order.
 */
#ifndef KMEMLAB_SIM_TIES_H
#define KMEMLAB_SIM_TIES_H

#include <stdint.h>

#include "sim/random.h"
#include "workloads/event.h"

#define TIES_MAX 64 /* events of one instant beyond this keep their order */

/* How many of the COUNT > 0 events from EVENTS on share the first one's timestamp (at most
 * TIES_MAX). */
int ties_count(const struct event *events, int count);

/* Fills ORDER with a permutation of 0 .. count - 1 to take the events of one instant in. */
void ties_shuffle(const struct event *events, int count, struct random *random,
		  int order[TIES_MAX]);

#endif
