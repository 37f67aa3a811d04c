/*
 * live.h - what is alive at a point of a trace: allocations with the parts of them that are free
 * again, and the regions of address spaces.
 */
#ifndef KMEMLAB_WORKLOADS_TOOLS_LIVE_H
#define KMEMLAB_WORKLOADS_TOOLS_LIVE_H

#include <glib.h>
#include <stdbool.h>
#include "workloads/event.h"

struct live;

struct live_part {
	uint32_t first, frames; /* counted from the block's first frame */
};

struct live_block {
	struct event alloc; /* as it came, with the size of the last heap_realloc */
	uint64_t number;    /* of the allocation, in the order of their coming */
	GArray *freed;	    /* struct live_part, NULL while the block is whole */
	uint32_t left;	    /* frames of it that are not free, 0 for objects */
};

struct live *live_new(void);
void live_free(struct live *live);
/* Takes the next event, of the start section or not. Events that make no sense change nothing. */
void live_take(struct live *live, const struct event *event);
/* The allocation that has HANDLE, NULL if none is alive. */
const struct live_block *live_block(const struct live *live, uint64_t handle);
uint64_t live_frames(const struct live *live);
uint64_t live_heap_bytes(const struct live *live);
uint64_t live_objects(const struct live *live);

/* What is alive, in the order of its coming: struct live_block * (transfer container). */
GPtrArray *live_blocks(const struct live *live);

/* The events, all of time 0, that lead from nothing to this state: allocations in the order of
 * their coming, flagged EVENT_PROLOGUE; then what no start section can hold. VISIT returns false
 * to stop; so does the function then. */
typedef bool (*live_fn)(const struct event *event, void *data);
bool live_each_allocation(const struct live *live, live_fn visit, void *data);
bool live_each_other(const struct live *live, live_fn visit, void *data);

#endif
