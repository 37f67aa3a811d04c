/*
 * fragmentation.h - the metrics of physical fragmentation and of metadata, computed from the
 * ledger: one table for `list metrics`, for the columns of samples.csv and for "metrics" in
 * run.json.
 *
 * Definitions are those of the guide to metrics (`row` is the number there), with
 *   k_i  naturally aligned free blocks of order i, order 10 counting every free aligned 4 MiB:
 *        k_10 = S_10, k_i = S_i - 2 S_(i+1), S_i being the ledger's full[i];
 *   F    free frames;  B = sum of k_i for i = 0 .. 10;  H the order of a huge page.
 * Where those leave a case open:
 *   7    a region's usable frames count, also where they are fewer than 512; the lab's moves, not
 * an allocator's; compact_moves_pinned leaves regions with an unmovable frame as they are, and
 * fills them first; 9    of the allocator's own count (frame_stats), the one metric that the ledger
 * cannot know; -1 where it knows no mobility; 11   contig: by task and order of allocation
 * (demand.h); mapped_contig and tlb_reach: of page tables (contiguity.h), -1 where the run has no
 * spaces; live_huge_percent: the share of live frames in aligned 2 MiB that are wholly live, at
 * most what large pages could map; 12   huge requests are those of order H; -1 where none has
 * failed; 4    0 while F (or usable RAM) is less than a huge page; 5    blocks are NOT capped at
 * order 10: a free aligned GiB is one block. With fewer than 50 free blocks the mean of those there
 * are, 0 where there is none; 10   run_scatter is 0 where nothing is free; 13   internal_percent is
 * 0 where nothing is live; 16   (state_bytes + 4096 kept_frames) / managed_frames, 0 where nothing
 * is managed.
 *
 * frag_index_milli_*, extfrag_percent_* are what Linux computes (mm/vmstat.c: fragmentation_index,
 * extfrag_for_order), with its truncating integer divisions; its index of 0 where B = 0 comes
 * before -1000 where a block is free.
 */
#ifndef KMEMLAB_SIM_FRAGMENTATION_H
#define KMEMLAB_SIM_FRAGMENTATION_H

#include <stddef.h>
#include <stdint.h>
#include <json-glib/json-glib.h>

#include "sim/contiguity.h"
#include "sim/demand.h"
#include "sim/ledger.h"

enum metric_kind {
	METRIC_INTEGER = 0, /* exact in a double: below 2^53 */
	METRIC_FRACTION,    /* printed with six digits after the point */
};

struct metric {
	const char *name; /* column and key */
	const char *unit; /* "" for an index or a count */
	unsigned row;	  /* of the guide to metrics; 0: a plain amount */
	enum metric_kind kind;
	const char *help; /* one line */
};

/* What address spaces hold, where there are any. */
struct metrics_spaces {
	bool on;
	uint64_t processes, mapped_pages, user_frames, table_frames;
	uint64_t faults, copies, shootdowns;	    /* so far */
	double contig16_percent, contig512_percent; /* of mapped pages */
	uint64_t contig_runs99;
	uint64_t reach_bytes[CONTIGUITY_SIZES];
};

/* What the ledger does not know. */
struct metrics_extra {
	unsigned huge_order; /* H: 9, or 10 with 4-byte page table entries */
	uint64_t state_bytes, kept_frames, managed_frames;
	uint64_t failures;
	struct metrics_spaces spaces;
	bool has_mobility; /* else fallbacks are not defined */
	uint64_t fallbacks, fragmenting_fallbacks;
	struct demand_figures demand;
};

/* Metrics are numbered from 0 to metrics_count() - 1, in the order of samples.csv. */
unsigned metrics_count(void);
const struct metric *metrics_at(unsigned index);
int metrics_find(const char *name); /* -1: unknown */

/* Fills metrics_count() values. Cost: O(metrics + regions changed since the last call). */
void metrics_compute(struct ledger *ledger, const struct metrics_extra *extra, double *values);

#define METRIC_TEXT_BYTES 32
/* As CSV files have it, independent of the locale. Returns the length. */
size_t metrics_format(const struct metric *metric, double value, char text[METRIC_TEXT_BYTES]);
/* {name: value, ...}; the caller owns it. */
JsonNode *metrics_json(const double *values);

/* k_i of the metrics. */
void metrics_free_blocks(const struct ledger *ledger, uint64_t blocks[LEDGER_ORDERS]);
/* Distance of two states by their free blocks (metric 23), 0 to 1: half the sum over orders of the
 * difference of the shares of free frames that lie in blocks of that order. Nothing free in one of
 * them: 1; in both: 0. */
double metrics_distance(const uint64_t a[LEDGER_ORDERS], const uint64_t b[LEDGER_ORDERS]);

/* The largest order up to 10 of which an aligned block is free; -1 where nothing is. */
int metrics_largest_free_order(const struct ledger *ledger);

#endif
