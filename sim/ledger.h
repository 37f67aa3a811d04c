/*
 * ledger.h - who owns each frame of the simulated RAM, kept by the lab and never by an allocator.
 * It judges every allocation and free, and every metric of physical fragmentation is computed from
 * it (sim/fragmentation.h).
 *
 * Cost: take and release are O(frames / 16 + orders); memory is touched only where frames are used
 * (a free tebibyte of simulated RAM costs one mebibyte). One thread at a time.
 */
#ifndef KMEMLAB_SIM_LEDGER_H
#define KMEMLAB_SIM_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#define LEDGER_ORDERS	     11	 /* orders 0 .. 10, as Linux's MAX_ORDER 11 */
#define LEDGER_ALL_ORDERS    32	 /* of the decomposition without that cap */
#define LEDGER_REGION_FRAMES 512 /* 2 MiB */
#define LEDGER_LEVELS	     10
#define LEDGER_RUN_BINS	     21
#define LEDGER_FRAMES_MAX    UINT32_MAX /* just under 16 TiB */

/* Who owns a frame. Values from LEDGER_HANDLE_BASE on are handles: owner = LEDGER_HANDLE_BASE +
 * handle. */
enum ledger_owner {
	LEDGER_HOLE = 0,  /* no usable RAM there */
	LEDGER_FREE,	  /* the allocator's, not handed out */
	LEDGER_STATE,	  /* the allocator's metadata, given to it at boot */
	LEDGER_TABLE,	  /* page tables and what else the kernel took at boot */
	LEDGER_UNTOUCHED, /* held by the recorded machine, never seen in the trace */
	LEDGER_HANDLE_BASE = 16
};
/* An owner shares its 32 bits with the mobility of the frame: 536 million handles. */
#define LEDGER_OWNER_MAX  ((1u << 29) - 1)
#define LEDGER_HANDLE_MAX (LEDGER_OWNER_MAX - LEDGER_HANDLE_BASE)

enum ledger_verdict {
	LEDGER_OK = 0,
	LEDGER_OVERLAP, /* handed out although somebody owns it: frame = first such, owner = who */
	LEDGER_OUT_OF_MAP,  /* no usable RAM: a hole, or beyond RAM */
	LEDGER_MISALIGNED,  /* frame = the block's first */
	LEDGER_TOO_SMALL,   /* fewer frames than asked for, or none at all */
	LEDGER_DOUBLE_FREE, /* released, but free already */
	LEDGER_FOREIGN,	    /* released, but owned by somebody else */
};
const char *ledger_verdict_name(enum ledger_verdict verdict); /* "overlap", "double-free", ... */

struct ledger_finding {
	enum ledger_verdict verdict;
	uint64_t frame; /* the first offending frame */
	uint32_t owner; /* its owner */
};

struct ledger;
/* RAM_FRAMES: one past the highest frame number, 1 .. LEDGER_FRAMES_MAX; all frames are holes at
 * first. Returns NULL where the host refuses the address space (9 bytes a frame and 2 GiB, of which
 * only what is used costs memory). */
struct ledger *ledger_new(uint64_t ram_frames);
void ledger_free(struct ledger *ledger);

/* Touches what the books of handles below COUNT need, so that a timed run does not pay for it. */
void ledger_expect_handles(struct ledger *ledger, uint64_t count);

/* Sets up who owns what before event 0: [first, first + frames), within RAM, goes to a non-handle
 * OWNER, whatever it was. Frames of LEDGER_STATE, _TABLE and _UNTOUCHED that are assigned (rather
 * than taken) count as unmovable. Before ledger_seal() only. Cost: O(regions / 64) to free RAM that
 * was a hole, else O(frames). */
void ledger_assign(struct ledger *ledger, uint64_t first, uint64_t frames, uint32_t owner);
/* The same for those of them that are holes still. What a kernel took at boot is told cheaply by
 * freeing what it manages first, and giving it the holes that are left in usable RAM. */
void ledger_assign_holes(struct ledger *ledger, uint64_t first, uint64_t frames, uint32_t owner);
/* After the last ledger_assign() of boot: what is a hole and what is usable RAM is fixed now. */
void ledger_seal(struct ledger *ledger);

/* The allocator handed out [first, first + frames) for a request of REQUESTED frames aligned to
 * ALIGN_FRAMES (a power of two). Anything but LEDGER_OK leaves the ledger unchanged and fills
 * FINDING; where several verdicts hold: too small, then overlap or out of map (whichever frame
 * comes first), then misaligned. OWNER: LEDGER_UNTOUCHED or a handle (requested frames count for
 * handles only). MOBILITY: enum event_mobility. Any FIRST and FRAMES are judged safely. */
enum ledger_verdict ledger_take(struct ledger *ledger, uint64_t first, uint64_t frames,
				uint64_t requested, uint64_t align_frames, uint32_t owner,
				uint8_t mobility, struct ledger_finding *finding);
/* The OWNER (LEDGER_STATE or above) gives back [first, first + frames); frames that were asked for
 * among them: REQUESTED. A handle dies with its last frame. Verdicts as above. */
enum ledger_verdict ledger_release(struct ledger *ledger, uint64_t first, uint64_t frames,
				   uint64_t requested, uint32_t owner,
				   struct ledger_finding *finding);

uint32_t ledger_owner(const struct ledger *ledger, uint64_t frame); /* LEDGER_HOLE beyond RAM */
bool ledger_all_free(const struct ledger *ledger, uint64_t first, uint64_t frames);
/* 64-bit hash of the free set; equal sets in RAM of equal size, equal hashes, whatever the way
 * there. O(words that are not wholly free). */
uint64_t ledger_free_hash(const struct ledger *ledger);

/* Running figures, all kept incrementally. */
struct ledger_totals {
	uint64_t ram_frames, usable_frames, free_frames, live_frames, reserved_frames,
		requested_frames, live_handles;
	uint64_t full[LEDGER_ALL_ORDERS]; /* aligned blocks of that order that are wholly free: S_j
					     of the metrics */
	uint64_t free_runs;
	uint64_t run_bins[LEDGER_RUN_BINS];   /* by floor(log2(length)), the last: and longer */
	uint64_t regions;		      /* 2 MiB regions with usable RAM */
	uint64_t region_level[LEDGER_LEVELS]; /* by free tenths of their usable frames */
	uint64_t mixed_regions, unmovable_regions; /* holding two mobilities; one unmovable frame */
};
const struct ledger_totals *ledger_totals(const struct ledger *ledger);
/* Longest free run, in frames. Cost: O(regions changed since the last call + log). */
uint64_t ledger_largest_run(struct ledger *ledger);
/* Frame moves that would compact RAM (metric 7): regions are emptied, the emptiest first, into the
 * free frames of the fullest. PIN_UNMOVABLE: a region with an unmovable frame cannot be emptied,
 * and is filled first. Cost: O(regions log regions). */
uint64_t ledger_compaction_moves(const struct ledger *ledger, bool pin_unmovable);
/* Aligned 2 MiB that are wholly handed out to handles. O(regions) */
uint64_t ledger_live_regions(const struct ledger *ledger);
/* Share of live and of reserved frames in cells of CELL_FRAMES (power of two, >= 64) frames, in
 * 250ths of the cell's usable frames (rounded down), 255: no RAM. Arrays hold
 * ceil(ram_frames / cell_frames) bytes. O(regions), with cells smaller than a region O(frames). */
void ledger_map(const struct ledger *ledger, uint64_t cell_frames, uint8_t *live,
		uint8_t *reserved);

/* For tests: recomputes every figure and every invariant from the owners, frame by frame. Returns
 * NULL, or which invariant is broken (a constant string, numbered as in ledger.c). */
const char *ledger_check(struct ledger *ledger);

#endif
