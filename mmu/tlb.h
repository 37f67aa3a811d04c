/*
 * tlb.h - the architectural caches of one CPU (L1 and L2 TLBs, paging-structure caches) and the
 * host fast path that lives on the L1s. Theory in tlb.c. Private to mmu/.
 */
#ifndef KMEMLAB_MMU_TLB_H
#define KMEMLAB_MMU_TLB_H

#include "mmu/mmu.h"

#define TLB_NO_WAY  (~0u)
#define TLB_NO_SLOT 0xffffu

/* Fast-path tables: contexts of equal rights share one. */
enum fast_table {
	FAST_DATA_SUPERVISOR = 0,
	FAST_DATA_SUPERVISOR_AC,
	FAST_DATA_USER,
	FAST_FETCH_SUPERVISOR,
	FAST_FETCH_USER,
	TLB_FAST_TABLES
};

/* Slots of all tables; their numbers fit 16 bits. */
#define TLB_FAST_SLOTS (TLB_FAST_TABLES * MMU_FAST_SLOTS)

/* A valid entry of a cache, beside its tag and stamp. */
struct tlb_way {
	struct mmu_entry entry;
	uint8_t piece_shift; /* log2 of what this way translates: less than the page if cut */
	uint16_t first_slot; /* fast slots living on this way, or TLB_NO_SLOT */
};

/* Tags, stamps and entries are arrays of their own: a look-up scans tags, an eviction stamps. */
struct tlb_cache {
	uint64_t *tag;	 /* 0: invalid */
	uint64_t *stamp; /* time of last use; what invalidation does to it: T5 */
	struct tlb_way *way;
	uint32_t sets;
	uint32_t ways;
	uint32_t replacement;
	uint64_t stamp_kept;		 /* mask: what invalidation leaves of a stamp */
	uint32_t free;			 /* invalid ways */
	uint32_t live[MMU_SIZE_CLASSES]; /* valid entries by class */
	uint32_t global;		 /* of those, entries with G */
	uint32_t cut;			 /* of those, pieces of larger pages */
};

/* Structures that are looked up side by side. */
enum tlb_group { TLB_L1D = 0, TLB_L1I, TLB_L2, TLB_GROUPS };

/* Where a group caches pages of one class: which structure, in pieces of which class. */
struct tlb_home {
	uint8_t cache; /* MMU_CACHES: nowhere */
	uint8_t size;
};

/* Fast slots of one L1 way form a doubly linked list. */
struct tlb_link {
	struct tlb_way *way;
	uint16_t next;
	uint16_t prev;
};

struct tlb {
	struct tlb_cache cache[MMU_CACHES];
	uint64_t live; /* bit 4 * cache + class: that cache has valid entries of that class */
	uint32_t cut;  /* pieces of larger pages, in all caches */
	struct tlb_home home[TLB_GROUPS][MMU_SIZE_CLASSES];
	struct mmu_front *front;
	bool inclusive;			/* with statistics: F1 */
	struct mmu_fast_slot *slots;	/* TLB_FAST_TABLES tables */
	struct mmu_fast_slot *no_slots; /* a table that stays empty: F4 */
	struct tlb_link *links;		/* with statistics: one a slot */
	uint16_t *filled;		/* without: slots filled since all were emptied */
	uint32_t filled_count;
	bool fast_large;      /* without: one of them came from a page larger than 4 KiB */
	uint32_t fast_tables; /* without: bit t: slots of enum fast_table t were filled */
	uint64_t tick;	      /* of everything but the L1s */
	uint64_t random;
	uint8_t class_shift[MMU_SIZE_CLASSES];
	/* Counts. */
	uint64_t dropped;
	uint64_t l1_evictions;
	uint64_t l2_evictions;
};

/* A valid way: cache and index, as found by a look-up. */
struct tlb_ref {
	uint32_t cache;
	uint32_t way; /* TLB_NO_WAY: none */
};

size_t tlb_bytes(const struct mmu_config *config);
/* @memory: tlb_bytes(), aligned to 64. */
void tlb_init(struct tlb *tlb, const struct mmu_config *config, struct mmu_front *front,
	      void *memory);

/* log2 of large pages changes with the mode: 21 or 22. */
void tlb_set_large_shift(struct tlb *tlb, unsigned shift);

static inline const struct mmu_entry *tlb_entry(const struct tlb *tlb, struct tlb_ref ref)
{
	return &tlb->cache[ref.cache].way[ref.way].entry;
}

/* A way to fill, counted from @first, by the policies that are not MMU_LRU. */
uint32_t tlb_choose_unlike_lru(struct tlb *tlb, const struct tlb_cache *cache, uint32_t first);

/* What a drop covers. */
enum tlb_scope {
	TLB_PCID = 0,	 /* non-global entries of one PCID */
	TLB_PCID_GLOBAL, /* and all global ones */
	TLB_ALL_PCIDS,	 /* all non-global */
	TLB_EVERYTHING,
};

/* The page of @va in all TLBs, under @pcid and, if asked, global. */
void tlb_drop_page(struct tlb *tlb, uint64_t va, unsigned pcid, bool global);
/* The same for the current PCID, after a look-up in an L1 and the L2 has found nothing. */
void tlb_drop_missed_page(struct tlb *tlb, uint64_t va, unsigned pcid, bool fetch);
/* Before its reinsertion with D = 1: the page in the L1D and the L2, uncounted. */
void tlb_forget_data_page(struct tlb *tlb, uint64_t va, unsigned pcid);
/* TLB entries in scope, and the paging-structure caches of the PCID or of all. */
void tlb_drop(struct tlb *tlb, enum tlb_scope scope, unsigned pcid);
/* All paging-structure caches of a PCID. */
void tlb_drop_psc(struct tlb *tlb, unsigned pcid);
/* The paging-structure-cache entries that a walk for @va would use. */
void tlb_drop_psc_path(struct tlb *tlb, uint64_t va, unsigned pcid, unsigned index_bits);
/* One valid entry somewhere, chosen by the CPU's seed. False: that place was empty. */
bool tlb_drop_random(struct tlb *tlb);

/* For mmu_visit_cached(). False: way invalid. */
bool tlb_inspect(const struct tlb *tlb, struct tlb_ref ref, uint64_t *va, unsigned *pcid);

/* A deterministic generator (xorshift64*) for random replacement and spurious invalidation. */
uint64_t tlb_random(struct tlb *tlb);

/* ---- fast.c ---- */

static inline enum fast_table fast_table(unsigned context, bool fetch)
{
	if (fetch)
		return context == MMU_USER ? FAST_FETCH_USER : FAST_FETCH_SUPERVISOR;
	if (context == MMU_USER)
		return FAST_DATA_USER;
	return context == MMU_SUPERVISOR_AC ? FAST_DATA_SUPERVISOR_AC : FAST_DATA_SUPERVISOR;
}

struct fast_fill {
	enum fast_table table;
	uint64_t va;
	uint8_t *host;	    /* of the 4 KiB page's first byte */
	uint8_t page_shift; /* of the whole page */
	bool readable;	    /* reads (fetches) of this context succeed */
	bool writable;	    /* writes do, and D = 1 */
};

void fast_init(struct tlb *tlb);
/* Let the fast path serve 4 KiB, from an L1 way; without statistics @ref is not looked at. */
void fast_fill(struct tlb *tlb, struct tlb_ref ref, const struct fast_fill *fill);
/* The slots that live on a way. */
void fast_empty_way(struct tlb *tlb, struct tlb_way *way);
/* All slots, and nothing else: verdicts changed. */
void fast_empty(struct tlb *tlb);
/* Without statistics: the slots of one page, or all if a large page may have given them. */
void fast_drop_page(struct tlb *tlb, uint64_t va);
/* F4. Blocking may come from another thread, under the CPU's posting lock. */
void fast_block(struct tlb *tlb);
void fast_unblock(struct tlb *tlb);

#endif
