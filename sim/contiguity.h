/*
 * contiguity.h - metric 11: how contiguous in RAM is what is mapped side by side.
 *
 * A run is a longest sequence of pages of one space, adjacent in addresses, whose frames are
 * adjacent too, in the same order. From all runs come: the share of pages in runs of at least n;
 * how many of the longest runs hold 99 % of the pages; and the reach of a TLB.
 *
 * Reach. Were there a page size for it, a naturally aligned block of 2^k pages, in addresses and in
 * frames alike, could be one entry. Runs are cut into such blocks of 4 KiB, 64 KiB, 2 MiB and 1 GiB
 * up to a largest size, the largest first; the reach of E entries is what the E largest map.
 */
#ifndef KMEMLAB_SIM_CONTIGUITY_H
#define KMEMLAB_SIM_CONTIGUITY_H

#include <glib.h>
#include <stdint.h>

#define CONTIGUITY_SIZES 4
extern const char *const contiguity_size_names[CONTIGUITY_SIZES]; /* "4k", "64k", "2m", "1g" */

#define CONTIGUITY_SHORT 1024

struct contiguity {
	uint64_t pages, runs;
	uint64_t count[CONTIGUITY_SHORT]; /* runs by length */
	GArray *longer;			  /* uint64_t: lengths of the others; NULL: none */
	/* Blocks of exactly each size, when sizes up to the first index are allowed. */
	uint64_t blocks[CONTIGUITY_SIZES][CONTIGUITY_SIZES];
	struct {
		uint64_t page, frame, pages; /* the run that may go on */
	} open;
};

/* COUNT pages from PAGE on map the frames from FRAME on. Pages of a space come in ascending order.
 * Cost: O(1). */
void contiguity_add(struct contiguity *c, uint64_t page, uint64_t frame, uint64_t count);
/* The space has no more. */
void contiguity_end_space(struct contiguity *c);
void contiguity_clear(struct contiguity *c);

/* Share of pages in runs of at least PAGES, 0..1; 0 where nothing is mapped. Below, C is ended. */
double contiguity_share(const struct contiguity *c, uint64_t pages);
/* Runs, longest first, that hold 99 % of the pages. Sorts. */
uint64_t contiguity_runs_for_99_percent(const struct contiguity *c);
/* Pages that ENTRIES map at best, with sizes up to that index; and how many entries map all. */
uint64_t contiguity_reach(const struct contiguity *c, unsigned size, uint64_t entries);
uint64_t contiguity_entries(const struct contiguity *c, unsigned size);

#endif
