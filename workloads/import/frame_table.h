/*
 * frame_table.h - what an importer knows about each frame: whose it is now, and how the recording
 * first showed it. Sparse (chunks of 1,024 frames on demand), so that RAM with holes and absurd
 * frame numbers cost what is touched.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_FRAME_TABLE_H
#define KMEMLAB_WORKLOADS_IMPORT_FRAME_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include "workloads/import/map64.h"

enum frame_state {
	FRAME_UNSEEN = 0, /* neither allocated nor freed so far */
	FRAME_LIVE,	  /* ref: index of its block */
	FRAME_FREED,	  /* ref: number of the spooled event that freed it */
};

/* How the recording showed a frame first. */
enum frame_origin {
	FRAME_ORIGIN_NONE = 0,
	FRAME_ORIGIN_FREE,     /* it was free when the recording began */
	FRAME_ORIGIN_PROLOGUE, /* it was allocated when the recording began */
};

/* No drain has shown the mobility of the frame's pageblock. */
#define FRAME_MOBILITY_UNKNOWN 7

struct frame_info {
	uint64_t ref : 56;
	uint64_t state : 2;
	uint64_t origin : 2;
	uint64_t mobility : 3; /* where a prologue frame went back to */
};

/* Frame numbers of a 52-bit physical address. */
#define FRAME_NUMBERS (UINT64_C(1) << 40)

struct frame_table {
	struct map64 chunks;
	uint64_t last_number; /* chunk found last */
	struct frame_info *last_chunk;
	uint64_t end; /* one past the highest frame asked for */
};

/* A zeroed struct is an empty table. */
void frame_table_fini(struct frame_table *table);
/* The entry of FRAME (< FRAME_NUMBERS), made if need be; stays where it is. */
struct frame_info *frame_table_get(struct frame_table *table, uint64_t frame);
/* The entry, NULL if the frame was never asked for and its neighbours neither. */
const struct frame_info *frame_table_peek(const struct frame_table *table, uint64_t frame);

#endif
