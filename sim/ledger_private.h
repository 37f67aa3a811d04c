/*
 * ledger_private.h - what ledger.c, ledger_map.c and ledger_check.c share.
 */
#ifndef KMEMLAB_SIM_LEDGER_PRIVATE_H
#define KMEMLAB_SIM_LEDGER_PRIVATE_H

#include "sim/ledger.h"
#include "sim/run_tree.h"
#include "workloads/event.h"

/* A frame's word: its owner, and above it its mobility. Meaningless where the frame is free. */
#define LEDGER_MOBILITY_SHIFT 29

/* Frames of a 2 MiB region. All zeroes: wholly usable and wholly free. */
struct ledger_region {
	uint16_t used; /* not free: holes, reserved, live */
	uint16_t holes;
	uint16_t live;
	uint16_t mobility[EVENT_MOBILITIES]; /* of live and reserved frames */
};

struct ledger {
	struct frame_set used;
	struct run_tree runs;
	uint32_t *words; /* a frame */
	struct ledger_region *regions;
	uint32_t *handle_frames; /* by handle: frames it still owns */
	bool sealed;
	struct ledger_totals totals;
};

static inline uint64_t ledger_region_count(const struct ledger *ledger)
{
	return (ledger->totals.ram_frames + LEDGER_REGION_FRAMES - 1) / LEDGER_REGION_FRAMES;
}

static inline bool ledger_region_present(const struct ledger *ledger, uint64_t index)
{
	return frame_set_present(&ledger->used, index);
}

static inline uint32_t ledger_region_usable(const struct ledger_region *region)
{
	return LEDGER_REGION_FRAMES - region->holes;
}

/* Free tenths of the usable frames, of which there are some; all of them free is the top level. */
static inline unsigned ledger_region_level(const struct ledger_region *region)
{
	uint32_t ten_free = 10 * (uint32_t)(LEDGER_REGION_FRAMES - region->used);
	uint32_t level = region->holes ? ten_free / ledger_region_usable(region)
				       : ten_free / LEDGER_REGION_FRAMES;

	return level < LEDGER_LEVELS ? level : LEDGER_LEVELS - 1;
}

#endif
