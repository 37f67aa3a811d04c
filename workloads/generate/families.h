/* families.h - the generators, one file a family: frames.c, heap.c and its helpers, processes.c. */
#ifndef KMEMLAB_WORKLOADS_GENERATE_FAMILIES_H
#define KMEMLAB_WORKLOADS_GENERATE_FAMILIES_H

#include "workloads/generate/generate.h"

extern const struct generator frame_churn, frame_ramp, checkerboard;
extern const struct generator larson, generational, power_law, sawtooth, fifo, lifo, robson,
	kernel_boot;
extern const struct generator fork_storm, server, build_farm;

#endif
