/*
 * owners_private.h - the state that the two passes of owners.h share.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_OWNERS_PRIVATE_H
#define KMEMLAB_WORKLOADS_IMPORT_OWNERS_PRIVATE_H

#include "workloads/import/map64.h"
#include "workloads/import/owners.h"
#include "workloads/import/regions.h"
#include "workloads/import/spool.h"

/*
 * Handles of the first pass. Allocations are counted as they come; those that are found out later
 * (prologue, untraced) are numbered apart, because their place in the trace is not yet known. The
 * second pass turns all three into one sequence: prologue, untraced, allocations.
 */
#define HANDLE_PROLOGUE (UINT64_C(1) << 62) /* | index into prologue */
#define HANDLE_UNTRACED (UINT64_C(1) << 61) /* | index into untraced */

/* An allocation that has frames left. */
struct block {
	uint64_t first; /* frame; index of the next free entry while unused */
	uint64_t handle;
	uint32_t frames;
	uint32_t left;
};

struct prologue_block {
	uint64_t first;
	uint32_t frames;
	uint32_t index; /* order of discovery, the number in HANDLE_PROLOGUE */
};

struct untraced_frame {
	uint64_t after; /* number of the spooled event behind which it belongs */
	uint64_t frame;
	uint64_t index; /* order of discovery, the number in HANDLE_UNTRACED */
};

struct heap_object {
	uint64_t handle;
	uint32_t cache; /* string id, mostly known once it is freed */
};

/* What is remembered of each CPU. */
struct cpu_state {
	uint64_t last_ns;
	uint64_t isolate_pfn; /* entry of __isolate_free_page that awaits its return */
	uint32_t isolate_order;
	bool isolating;
};

struct owners {
	struct spool *spool;
	uint64_t taken;
	uint64_t first_ns; /* earliest time */
	GArray *cpus;	   /* struct cpu_state */

	struct frame_table frames;
	GArray *blocks;	      /* struct block */
	uint64_t free_blocks; /* head of the list of unused entries, UINT64_MAX none */
	uint64_t handles;     /* allocations so far */
	GArray *prologue;     /* struct prologue_block */
	GArray *untraced;     /* struct untraced_frame */

	struct map64 heap; /* pointer -> index into objects */
	GArray *objects;   /* struct heap_object */
	struct regions *regions;

	GHashTable *string_ids; /* text -> id */
	GPtrArray *strings;	/* by id; [0] is NULL */
	struct map64 tasks;	/* pid -> string id */

	uint64_t kind_count[RAW_KINDS];
	GArray *name_count; /* uint64_t by string id: events counted by name */
	uint64_t implied, compaction, lost;

	/* Second pass. */
	GArray *prologue_rank; /* uint64_t: place in the start section by order of discovery */
	GArray *untraced_rank; /* uint64_t: place in the trace by order of discovery */
	uint64_t read;	       /* spooled events read */
	guint untraced_next;
	int64_t held_frames;
	struct event last; /* spooled event read last */
	struct event held; /* to be returned next, if holding */
	bool holding;
};

#endif
