/*
 * tlb_ways.h - the ways of one cache, and what every miss does with them: look-ups and insertions,
 * inline, because one miss makes up to ten of them. Private to mmu/. Theory, and the invariants
 * T1-T5 that these functions keep, in tlb.c.
 */
#ifndef KMEMLAB_MMU_TLB_WAYS_H
#define KMEMLAB_MMU_TLB_WAYS_H

#include "mmu/tlb.h"

/* GCC's own judgement leaves calls of 60 instructions each in a path that has 400. */
#define TLB_INLINE static inline __attribute__((always_inline))

#define TAG_VALID	1ull
#define TAG_CLASS_SHIFT 1
#define TAG_CLASS	(3ull << TAG_CLASS_SHIFT)
#define TAG_GLOBAL	(1ull << 3)
#define TAG_PCID_SHIFT	4
#define TAG_PCID	(0xfffull << TAG_PCID_SHIFT)
#define TAG_PAGE_SHIFT	16
#define LINEAR_BITS	57
#define LINEAR_MASK	((1ull << LINEAR_BITS) - 1)

/* ---- Tags ---- */

/*
 * The sign bits of a canonical address above LINEAR_BITS come along where they fit: they follow
 * from the others. @va must be canonical.
 */
TLB_INLINE uint64_t make_tag(uint64_t va, unsigned shift, unsigned size, unsigned pcid, bool global)
{
	return va >> shift << TAG_PAGE_SHIFT |
	       (global ? TAG_GLOBAL : (uint64_t)pcid << TAG_PCID_SHIFT) |
	       (uint64_t)size << TAG_CLASS_SHIFT | TAG_VALID;
}

/* The same translation under any PCID. */
TLB_INLINE uint64_t global_tag(uint64_t tag)
{
	return (tag & ~TAG_PCID) | TAG_GLOBAL;
}

TLB_INLINE unsigned tag_class(uint64_t tag)
{
	return tag >> TAG_CLASS_SHIFT & 3;
}

TLB_INLINE unsigned tag_pcid(uint64_t tag)
{
	return (tag & TAG_PCID) >> TAG_PCID_SHIFT;
}

/* ---- Live classes: the bits of tlb->live ---- */

#define LIVE_BITS	      4
#define LIVE_BIT(cache, size) (1ull << (LIVE_BITS * (cache) + (size)))
/* All classes of the caches [first, end). */
#define LIVE_MASK(first, end) ((1ull << LIVE_BITS * (end)) - (1ull << LIVE_BITS * (first)))
#define LIVE_L1D	      LIVE_MASK(MMU_L1D_4K, MMU_L1I_4K)
#define LIVE_L1I	      LIVE_MASK(MMU_L1I_4K, MMU_L2_TLB)
#define LIVE_L2		      LIVE_MASK(MMU_L2_TLB, MMU_PSC_PDE)
#define LIVE_TLBS	      LIVE_MASK(MMU_L1D_4K, MMU_PSC_PDE)
#define LIVE_PSC	      LIVE_MASK(MMU_PSC_PDE, MMU_CACHES)

/* for each cache and class with valid entries; @mask is used up */
#define FOR_LIVE(mask, number, size)                                                            \
	for (unsigned number, size;                                                             \
	     (mask) != 0 && (number = (unsigned)__builtin_ctzll(mask) / LIVE_BITS,              \
			    size = (unsigned)__builtin_ctzll(mask) % LIVE_BITS, (void)size, 1); \
	     (mask) &= (mask)-1)

/* ---- Ways ---- */

TLB_INLINE uint32_t first_way(const struct tlb_cache *cache, uint64_t va, unsigned shift)
{
	return (uint32_t)(va >> shift & (cache->sets - 1)) * cache->ways;
}

/* Four at a time, which is what ways come in: a compare and a branch each. */
TLB_INLINE uint32_t scan(const uint64_t *tags, uint32_t ways, uint64_t tag)
{
	uint32_t w = 0;

	for (; w + 4 <= ways; w += 4) {
		if (tags[w] == tag)
			return w;
		if (tags[w + 1] == tag)
			return w + 1;
		if (tags[w + 2] == tag)
			return w + 2;
		if (tags[w + 3] == tag)
			return w + 3;
	}
	for (; w < ways; w++) {
		if (tags[w] == tag)
			return w;
	}
	return TLB_NO_WAY;
}

TLB_INLINE uint32_t find_way(const struct tlb_cache *cache, uint64_t va, unsigned shift,
			     uint64_t tag)
{
	uint32_t first = first_way(cache, va, shift);
	uint32_t w = scan(cache->tag + first, cache->ways, tag);

	if (w == TLB_NO_WAY && cache->global > 0)
		w = scan(cache->tag + first, cache->ways, global_tag(tag));
	return w == TLB_NO_WAY ? w : first + w;
}

/* T2: a valid way comes (@count 1) or goes (@count -1). */
TLB_INLINE void count_way(struct tlb *tlb, unsigned number, uint64_t tag, bool cut, uint32_t count)
{
	struct tlb_cache *cache = &tlb->cache[number];
	unsigned size = tag_class(tag);

	cache->free -= count;
	cache->live[size] += count;
	if (cache->live[size] == 0)
		tlb->live &= ~LIVE_BIT(number, size);
	else
		tlb->live |= LIVE_BIT(number, size);
	cache->global += tag & TAG_GLOBAL ? count : 0;
	cache->cut += cut ? count : 0;
	tlb->cut += cut ? count : 0;
}

TLB_INLINE bool way_is_cut(const struct tlb_way *way)
{
	return way->piece_shift < way->entry.page_shift;
}

TLB_INLINE void invalidate(struct tlb *tlb, unsigned number, uint32_t w)
{
	struct tlb_cache *cache = &tlb->cache[number];
	struct tlb_way *way = &cache->way[w];

	if (way->first_slot != TLB_NO_SLOT)
		fast_empty_way(tlb, way);
	count_way(tlb, number, cache->tag[w], way_is_cut(way), -1u);
	cache->tag[w] = 0;
	cache->stamp[w] &= cache->stamp_kept;
}

/* ---- Replacement ---- */

/* Stamps of all but the L1s: the time, and below it the way, so that the least stamp names it. */
#define STAMP_WAY_BITS 8
#define STAMP_WAY      ((1u << STAMP_WAY_BITS) - 1)

TLB_INLINE bool stamps_name_ways(unsigned number)
{
	return number >= MMU_L2_TLB;
}

/* Bare ticks. Two selects and no branch: which way is older cannot be predicted. */
TLB_INLINE uint32_t oldest_tick(const uint64_t *stamp, uint32_t ways)
{
	uint64_t oldest = stamp[0];
	uint32_t victim = 0;

	for (uint32_t w = 1; w < ways; w++) {
		bool older = stamp[w] < oldest;

		oldest = older ? stamp[w] : oldest;
		victim = older ? w : victim;
	}
	return victim;
}

TLB_INLINE uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

TLB_INLINE uint32_t oldest_named(const uint64_t *stamp, uint32_t ways)
{
	uint64_t a = ~0ull, b = ~0ull;
	uint32_t w = 0;

	for (; w + 4 <= ways; w += 4) {
		a = least(a, stamp[w]);
		b = least(b, stamp[w + 1]);
		a = least(a, stamp[w + 2]);
		b = least(b, stamp[w + 3]);
	}
	for (; w < ways; w++)
		a = least(a, stamp[w]);
	return least(a, b) & STAMP_WAY;
}

/* A way to fill in the set at @first, counted from there: an invalid one, else a victim. */
TLB_INLINE uint32_t choose_way(struct tlb *tlb, const struct tlb_cache *cache, bool named,
			       uint32_t first)
{
	if (cache->replacement != MMU_LRU)
		return tlb_choose_unlike_lru(tlb, cache, first);
	return named ? oldest_named(cache->stamp + first, cache->ways)
		     : oldest_tick(cache->stamp + first, cache->ways);
}

/*
 * @tag is in no way of its set: T1. @named: stamps_name_ways(@number), which callers know before
 * the number. @tick: of the L1s the front's, of the others the TLB's.
 */
TLB_INLINE uint32_t insert(struct tlb *tlb, unsigned number, bool named, uint64_t va,
			   unsigned shift, uint64_t tag, const struct mmu_entry *entry,
			   uint64_t tick, uint64_t *evictions)
{
	struct tlb_cache *cache = &tlb->cache[number];
	uint32_t first = first_way(cache, va, shift);
	uint32_t chosen = choose_way(tlb, cache, named, first);
	uint32_t w = first + chosen;
	struct tlb_way *way = &cache->way[w];
	uint64_t old = cache->tag[w];
	bool cut = shift < entry->page_shift;

	if (old != 0) {
		if (way->first_slot != TLB_NO_SLOT)
			fast_empty_way(tlb, way);
		++*evictions;
	}
	/* Most often one of a kind takes the place of another, and no count changes. */
	if (old == 0 || ((old ^ tag) & (TAG_CLASS | TAG_GLOBAL)) || cut || cache->cut > 0) {
		if (old != 0)
			count_way(tlb, number, old, way_is_cut(way), -1u);
		count_way(tlb, number, tag, cut, 1);
	}
	cache->tag[w] = tag;
	cache->stamp[w] = named ? tick << STAMP_WAY_BITS | chosen : tick;
	way->entry = *entry;
	way->piece_shift = (uint8_t)shift;
	way->first_slot = TLB_NO_SLOT;
	return w;
}

/* ---- TLBs ---- */

TLB_INLINE unsigned size_class(unsigned page_shift)
{
	return page_shift >= 30 ? MMU_1G : page_shift > X86_PAGE_SHIFT ? MMU_2M : MMU_4K;
}

TLB_INLINE struct tlb_ref find_in(const struct tlb *tlb, uint64_t mask, uint64_t va, unsigned pcid)
{
	uint64_t live = tlb->live & mask;

	FOR_LIVE(live, number, size) {
		unsigned shift = tlb->class_shift[size];
		uint32_t w = find_way(&tlb->cache[number], va, shift,
				      make_tag(va, shift, size, pcid, false));

		if (w != TLB_NO_WAY)
			return (struct tlb_ref){ number, w };
	}
	return (struct tlb_ref){ 0, TLB_NO_WAY };
}

/* Look-ups stamp what they find. The L1 look-up uses the front's tick as it is. */
TLB_INLINE struct tlb_ref tlb_find_l1(struct tlb *tlb, uint64_t va, unsigned pcid, bool fetch)
{
	struct tlb_ref ref = find_in(tlb, fetch ? LIVE_L1I : LIVE_L1D, va, pcid);

	if (ref.way != TLB_NO_WAY)
		tlb->cache[ref.cache].stamp[ref.way] = tlb->front->tick;
	return ref;
}

TLB_INLINE void stamp_named(struct tlb *tlb, struct tlb_ref ref)
{
	uint64_t *stamp = &tlb->cache[ref.cache].stamp[ref.way];

	*stamp = tlb->tick << STAMP_WAY_BITS | (*stamp & STAMP_WAY);
}

TLB_INLINE struct tlb_ref tlb_find_l2(struct tlb *tlb, uint64_t va, unsigned pcid)
{
	struct tlb_ref ref = find_in(tlb, LIVE_L2, va, pcid);

	tlb->tick++;
	if (ref.way != TLB_NO_WAY)
		stamp_named(tlb, ref);
	return ref;
}

/* Insert as most recently used. */
TLB_INLINE struct tlb_ref insert_in(struct tlb *tlb, enum tlb_group group, uint64_t va,
				    unsigned pcid, const struct mmu_entry *entry, uint64_t tick,
				    uint64_t *evictions)
{
	struct tlb_home home = tlb->home[group][size_class(entry->page_shift)];
	unsigned shift = tlb->class_shift[home.size];
	uint64_t tag = make_tag(va, shift, home.size, pcid, entry->global);

	if (home.cache == MMU_CACHES)
		return (struct tlb_ref){ 0, TLB_NO_WAY };
	return (struct tlb_ref){ home.cache, insert(tlb, home.cache, group == TLB_L2, va, shift,
						    tag, entry, tick, evictions) };
}

TLB_INLINE struct tlb_ref tlb_insert_l1(struct tlb *tlb, uint64_t va, unsigned pcid, bool fetch,
					const struct mmu_entry *entry)
{
	return insert_in(tlb, fetch ? TLB_L1I : TLB_L1D, va, pcid, entry, tlb->front->tick,
			 &tlb->l1_evictions);
}

TLB_INLINE void tlb_insert_l2(struct tlb *tlb, uint64_t va, unsigned pcid,
			      const struct mmu_entry *entry)
{
	insert_in(tlb, TLB_L2, va, pcid, entry, ++tlb->tick, &tlb->l2_evictions);
}

/* ---- Paging-structure caches: never global, class 0 ---- */

TLB_INLINE uint32_t find_psc_way(const struct tlb *tlb, unsigned number, uint64_t va, unsigned pcid,
				 unsigned index_bits)
{
	const struct tlb_cache *cache = &tlb->cache[number];
	unsigned shift = X86_PAGE_SHIFT + (number - MMU_PSC_PDE + 1) * index_bits;
	uint32_t first = first_way(cache, va, shift);
	uint32_t w =
		scan(cache->tag + first, cache->ways, make_tag(va, shift, MMU_4K, pcid, false));

	return w == TLB_NO_WAY ? w : first + w;
}

/* The deepest paging-structure-cache entry for @va; its level is 1 + cache - MMU_PSC_PDE. */
TLB_INLINE struct tlb_ref tlb_find_psc(struct tlb *tlb, uint64_t va, unsigned pcid,
				       unsigned index_bits)
{
	uint64_t live = tlb->live & LIVE_PSC;

	FOR_LIVE(live, number, size) {
		struct tlb_ref ref = { number, find_psc_way(tlb, number, va, pcid, index_bits) };

		if (ref.way != TLB_NO_WAY) {
			tlb->tick++;
			stamp_named(tlb, ref);
			return ref;
		}
	}
	return (struct tlb_ref){ 0, TLB_NO_WAY };
}

/* @level: of the entry, 1 to 4; there is no cache of leaf entries. */
TLB_INLINE void tlb_insert_psc(struct tlb *tlb, uint64_t va, unsigned pcid, unsigned level,
			       unsigned index_bits, const struct mmu_entry *entry)
{
	unsigned number = MMU_PSC_PDE + level - 1;
	unsigned shift = X86_PAGE_SHIFT + level * index_bits;
	uint64_t uncounted = 0;

	if (tlb->cache[number].ways > 0)
		insert(tlb, number, true, va, shift, make_tag(va, shift, MMU_4K, pcid, false),
		       entry, ++tlb->tick, &uncounted);
}

#endif
