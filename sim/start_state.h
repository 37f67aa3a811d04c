/*
 * start_state.h - what is allocated before event 0: the trace's prologue handles, and the frames
 * that the recorded machine held and the trace never shows ("untouched"), in the order that the
 * start mode says.
 */
#ifndef KMEMLAB_SIM_START_STATE_H
#define KMEMLAB_SIM_START_STATE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim/machine.h"
#include "sim/replay.h"
#include "workloads/trace.h"

/* One allocation to be made. */
struct start_item {
	uint64_t handle; /* 0: untouched, one frame */
	uint64_t frame;	 /* where the recording had it, or EVENT_NO_FRAME */
	uint32_t frames, align_frames;
	uint8_t zone, mobility;
	uint16_t cpu;
};

/* Frames that are to be held as untouched: what the recorded machine's usable RAM has more than its
 * free frames, its prologue, and what our own kernel took at boot in the recorded kernel's stead. 0
 * when the trace does not know its state. */
uint64_t start_untouched_frames(const struct trace_meta *meta, const struct machine *machine);

/* The items in the order to allocate them (transfer full, struct start_item). FREE_OF_BOOT says
 * whether our kernel left the frame to the allocator. NULL with error when the trace is damaged, or
 * with LAB_ERROR_INPUT where an item makes no sense. */
GArray *start_items(struct trace_reader *reader, const struct machine *machine,
		    enum replay_start start, uint64_t seed,
		    bool (*free_of_boot)(const void *context, uint64_t frame), const void *context,
		    GError **error);

#endif
