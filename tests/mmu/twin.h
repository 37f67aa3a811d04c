/*
 * twin.h - a deliberately naive TLB simulator: every set a list, most recent first, searched and
 * shifted element by element. No PCIDs; exact LRU only. Shares nothing with mmu/tlb.c but the
 * configuration and the counters' meaning.
 */
#ifndef KMEMLAB_TESTS_MMU_TWIN_H
#define KMEMLAB_TESTS_MMU_TWIN_H

#include "mmu/mmu.h"

struct twin;

struct twin_page {
	unsigned shift; /* log2 of the page that an address is in: 12, 21, 30 */
	bool dirty;	/* its leaf has D = 1 */
	bool fresh;	/* its leaf has A = 0 */
};

/* What the tables say about @va; a 4-level walk, all upper entries accessed. */
typedef struct twin_page (*twin_page_fn)(void *context, uint64_t va);

struct twin *twin_new(const struct mmu_config *config, twin_page_fn page, void *context);
void twin_free(struct twin *twin);

/* One look-up of one page. */
void twin_access(struct twin *twin, uint64_t va, bool fetch, bool write);
void twin_invlpg(struct twin *twin, uint64_t va);
void twin_flush(struct twin *twin);

/* data_lookups, fetch_lookups, misses, l2_hits, walks, dirty_walks, entry_reads, psc_hits,
 * dirty_writes, accessed_writes, evictions. The others are 0. */
const struct mmu_statistics *twin_counts(const struct twin *twin);

#endif
