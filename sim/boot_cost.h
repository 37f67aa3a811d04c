/*
 * boot_cost.h - what it costs to start an allocator (metric 22): from the firmware's memory map to
 * the first frame handed out, page tables of the direct map included.
 */
#ifndef KMEMLAB_SIM_BOOT_COST_H
#define KMEMLAB_SIM_BOOT_COST_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim/kernel.h"

struct boot_cost {
	uint64_t ram_bytes, managed_frames, state_bytes, table_frames;
	uint64_t loads, stores, atomics; /* probed build; 0 without one */
	uint64_t frames_touched;	 /* of them, distinct frames of simulated RAM */
	uint64_t ns;			 /* native build, this host */
	char *refused; /* the reason, instead of all but ram_bytes; NULL: it boots */
};

/* A PC with so much RAM, all else at defaults. HOST_BYTES: a system that writes every free frame is
 * refused more RAM than that. LAB_ERROR_ALLOCATOR when it dies on the way, LAB_ERROR_LAB when the
 * host refuses. *cost is to be cleared. */
bool boot_cost(const struct frame_ops *const frames[PASSES], uint64_t ram_bytes,
	       uint64_t host_bytes, struct boot_cost *cost, GError **error);
void boot_cost_clear(struct boot_cost *cost);

#endif
