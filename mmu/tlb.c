/*
 * tlb.c - set-associative caches with exact, deterministic replacement, and the host fast path.
 *
 *            data look-up                              fetch look-up
 *      fast slots (fast.h)                           fast slots
 *           | lives on                                   | lives on
 *      L1D 4K | 2M | 1G   side by side               L1I 4K | 2M | 1G
 *           \_____________________    _______________________/
 *                                 L2 | L2 1G             unified
 *                       PDE | PDPTE | PML4E | PML5E      paging-structure caches
 *
 * One tag word names a translation, so that a look-up compares one number a way:
 *
 *     63            16 15     4  3  2 1  0
 *     |  va >> shift  |  PCID  | G |cls| 1 |        global entries carry PCID 0 and G = 1
 *
 * (57 linear bits less the 12 of the smallest page: 45 bits above bit 16.) A look-up tries the
 * caller's PCID and the global form. Entries hold raw attributes, never verdicts (5.7).
 *
 * Replacement: an invalid way first (lowest index), then by stamp. A stamp is the look-up's tick;
 * LRU evicts the smallest. Tree-PLRU needs no bits of its own: the bit of a tree node points away
 * from the half that was used last, which is the half with the smaller newest stamp. So the fast
 * path, which only stores a stamp, keeps both policies exact.
 *
 * Invariants
 *  T1  At most one valid way of a set has a given tag: only what a look-up has just missed, or
 *      what has just been dropped, is inserted.
 *  T2  free, live[class] and cut are the numbers of invalid ways and of valid ways of that kind;
 *      a class of zero is not looked up, an invalid way not sought in a full cache, and pieces are
 *      hunted down by a full scan only while cut > 0.
 *  T3  Invalidating a way empties the fast slots that live on it before anything else can run.
 *  T4  Without statistics all structures have no ways: nothing is found and nothing inserted. The
 *      fast slots are the only cache, and every drop empties whatever slot it might concern.
 *
 * Cost: look-up one compare a way and class; drop of a page one set a class; other drops all ways.
 * Sources: Intel SDM volume 3, 4.10 (what may be cached, what must be dropped).
 */
#include "mmu/tlb.h"

#define TAG_VALID	1ull
#define TAG_CLASS_SHIFT 1
#define TAG_GLOBAL	(1ull << 3)
#define TAG_PCID_SHIFT	4
#define TAG_PCID	(0xfffull << TAG_PCID_SHIFT)
#define TAG_PAGE_SHIFT	16
#define LINEAR_BITS	57
#define LINEAR_MASK	((1ull << LINEAR_BITS) - 1)

#define ALIGN_BYTES 64u

static const uint8_t l1_caches[2][MMU_SIZE_CLASSES] = {
	{ MMU_L1D_4K, MMU_L1D_2M, MMU_L1D_1G },
	{ MMU_L1I_4K, MMU_L1I_2M, MMU_L1I_1G },
};
static const uint8_t l2_caches[] = { MMU_L2_TLB, MMU_L2_1G };

static bool is_psc(unsigned cache)
{
	return cache >= MMU_PSC_PDE;
}

/* ---- Memory ---- */

static void *take(uint8_t *base, size_t *used, size_t bytes)
{
	void *at = base == NULL ? NULL : base + *used;

	*used += (bytes + ALIGN_BYTES - 1) & ~(size_t)(ALIGN_BYTES - 1);
	return at;
}

/* Give every array its place after @base; with NULL only measure. Returns the bytes. */
static size_t lay_out(struct tlb *tlb, const struct mmu_config *config, uint8_t *base)
{
	size_t used = 0;

	for (unsigned i = 0; i < MMU_CACHES; i++) {
		const struct mmu_cache_shape *shape = &config->cache[i];
		struct tlb_cache *cache = &tlb->cache[i];
		size_t ways = (size_t)shape->sets * (config->statistics ? shape->ways : 0);

		cache->tag = take(base, &used, ways * sizeof(*cache->tag));
		cache->stamp = take(base, &used, ways * sizeof(*cache->stamp));
		cache->way = take(base, &used, ways * sizeof(*cache->way));
		cache->sets = shape->sets;
		cache->ways = config->statistics ? shape->ways : 0;
		cache->holds = cache->ways == 0 ? 0 : is_psc(i) ? 1u << MMU_4K : shape->holds;
		cache->replacement = shape->replacement;
		cache->free = (uint32_t)ways;
	}
	tlb->inclusive = config->statistics;
	tlb->slots = take(base, &used, TLB_FAST_SLOTS * sizeof(*tlb->slots));
	tlb->no_slots = take(base, &used, MMU_FAST_SLOTS * sizeof(*tlb->slots));
	tlb->links = take(base, &used, tlb->inclusive ? TLB_FAST_SLOTS * sizeof(*tlb->links) : 0);
	tlb->filled = take(base, &used, tlb->inclusive ? 0 : TLB_FAST_SLOTS * sizeof(*tlb->filled));
	return used;
}

size_t tlb_bytes(const struct mmu_config *config)
{
	struct tlb measured;

	return lay_out(&measured, config, NULL);
}

void tlb_init(struct tlb *tlb, const struct mmu_config *config, struct mmu_front *front,
	      void *memory)
{
	*tlb = (struct tlb){ .front = front };
	lay_out(tlb, config, memory);
	tlb->class_shift[MMU_4K] = 12;
	tlb->class_shift[MMU_2M] = 21;
	tlb->class_shift[MMU_1G] = 30;
	/* Any odd multiple keeps the generator's state from being zero. */
	tlb->random = config->seed * 2ull + 1;
	for (unsigned i = 0; i < MMU_CACHES; i++) {
		struct tlb_cache *cache = &tlb->cache[i];

		for (uint32_t w = 0; w < cache->sets * cache->ways; w++) {
			cache->tag[w] = 0;
			cache->stamp[w] = 0;
			cache->way[w].first_slot = TLB_NO_SLOT;
		}
	}
	fast_init(tlb);
}

void tlb_set_large_shift(struct tlb *tlb, unsigned shift)
{
	tlb->class_shift[MMU_2M] = (uint8_t)shift;
}

uint64_t tlb_random(struct tlb *tlb)
{
	uint64_t x = tlb->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	tlb->random = x;
	return x * 0x2545f4914f6cdd1dull; /* xorshift64*, Vigna 2016 */
}

/* ---- Tags and ways ---- */

static uint64_t make_tag(uint64_t va, unsigned shift, unsigned size, unsigned pcid, bool global)
{
	return (va & LINEAR_MASK) >> shift << TAG_PAGE_SHIFT |
	       (global ? TAG_GLOBAL : (uint64_t)pcid << TAG_PCID_SHIFT) |
	       (uint64_t)size << TAG_CLASS_SHIFT | TAG_VALID;
}

/* The same translation under any PCID. */
static uint64_t global_tag(uint64_t tag)
{
	return (tag & ~TAG_PCID) | TAG_GLOBAL;
}

static unsigned tag_class(uint64_t tag)
{
	return tag >> TAG_CLASS_SHIFT & 3;
}

static unsigned tag_pcid(uint64_t tag)
{
	return (tag & TAG_PCID) >> TAG_PCID_SHIFT;
}

static uint32_t first_way(const struct tlb_cache *cache, uint64_t va, unsigned shift)
{
	return (uint32_t)(va >> shift & (cache->sets - 1)) * cache->ways;
}

static uint32_t find(const struct tlb_cache *cache, uint64_t va, unsigned shift, uint64_t tag)
{
	uint32_t first = first_way(cache, va, shift);
	uint64_t global = global_tag(tag);

	for (uint32_t w = first; w < first + cache->ways; w++) {
		if (cache->tag[w] == tag || cache->tag[w] == global)
			return w;
	}
	return TLB_NO_WAY;
}

static void invalidate(struct tlb *tlb, struct tlb_cache *cache, uint32_t w)
{
	struct tlb_way *way = &cache->way[w];

	if (way->first_slot != TLB_NO_SLOT)
		fast_empty_way(tlb, way);
	cache->free++;
	cache->live[tag_class(cache->tag[w])]--;
	cache->cut -= way->piece_shift < way->entry.page_shift;
	cache->tag[w] = 0;
}

/* ---- Replacement ---- */

static uint64_t newest(const uint64_t *stamp, uint32_t ways)
{
	uint64_t max = stamp[0];

	for (uint32_t w = 1; w < ways; w++)
		max = stamp[w] > max ? stamp[w] : max;
	return max;
}

static uint32_t plru_victim(const uint64_t *stamp, uint32_t ways)
{
	uint32_t first = 0;

	for (ways /= 2; ways > 0; ways /= 2) {
		if (newest(stamp + first, ways) > newest(stamp + first + ways, ways))
			first += ways;
	}
	return first;
}

static uint32_t lru_victim(const uint64_t *stamp, uint32_t ways)
{
	uint64_t oldest = stamp[0];
	uint32_t victim = 0;

	/* Two selects and no branch: which way is older cannot be predicted. */
	for (uint32_t w = 1; w < ways; w++) {
		bool older = stamp[w] < oldest;

		oldest = older ? stamp[w] : oldest;
		victim = older ? w : victim;
	}
	return victim;
}

static uint32_t victim_of(struct tlb *tlb, const struct tlb_cache *cache, uint32_t first)
{
	const uint64_t *stamp = cache->stamp + first;

	if (cache->replacement == MMU_LRU)
		return first + lru_victim(stamp, cache->ways);
	if (cache->replacement == MMU_PLRU)
		return first + plru_victim(stamp, cache->ways);
	return first + (uint32_t)(tlb_random(tlb) % cache->ways);
}

/* A way to fill in the set at @first: an invalid one, else a victim. */
static uint32_t choose_way(struct tlb *tlb, struct tlb_cache *cache, uint32_t first,
			   uint64_t *evictions)
{
	uint32_t w;

	for (w = first; cache->free > 0 && w < first + cache->ways; w++) {
		if (cache->tag[w] == 0)
			return w;
	}
	w = victim_of(tlb, cache, first);
	invalidate(tlb, cache, w);
	++*evictions;
	return w;
}

/* @tag is in no way of its set: T1. */
static uint32_t insert(struct tlb *tlb, struct tlb_cache *cache, uint64_t va, unsigned shift,
		       uint64_t tag, const struct mmu_entry *entry, uint64_t stamp,
		       uint64_t *evictions)
{
	uint32_t w = choose_way(tlb, cache, first_way(cache, va, shift), evictions);

	cache->tag[w] = tag;
	cache->stamp[w] = stamp;
	cache->way[w] = (struct tlb_way){
		.entry = *entry,
		.piece_shift = (uint8_t)shift,
		.first_slot = TLB_NO_SLOT,
	};
	cache->free--;
	cache->live[tag_class(tag)]++;
	cache->cut += shift < entry->page_shift;
	return w;
}

/* ---- TLBs ---- */

static unsigned size_class(unsigned page_shift)
{
	return page_shift >= 30 ? MMU_1G : page_shift > X86_PAGE_SHIFT ? MMU_2M : MMU_4K;
}

static struct tlb_ref find_in(struct tlb *tlb, const uint8_t *caches, unsigned count, uint64_t va,
			      unsigned pcid, uint64_t stamp)
{
	for (unsigned i = 0; tlb->inclusive && i < count; i++) {
		struct tlb_cache *cache = &tlb->cache[caches[i]];

		for (unsigned size = 0; size < MMU_SIZE_CLASSES; size++) {
			unsigned shift = tlb->class_shift[size];
			uint32_t w;

			if (cache->live[size] == 0)
				continue;
			w = find(cache, va, shift, make_tag(va, shift, size, pcid, false));
			if (w != TLB_NO_WAY) {
				cache->stamp[w] = stamp;
				return (struct tlb_ref){ caches[i], w };
			}
		}
	}
	return (struct tlb_ref){ 0, TLB_NO_WAY };
}

/* Into the structure that holds the page's class, or in the largest smaller pieces held. */
static struct tlb_ref insert_in(struct tlb *tlb, const uint8_t *caches, unsigned count, uint64_t va,
				unsigned pcid, const struct mmu_entry *entry, uint64_t stamp,
				uint64_t *evictions)
{
	for (unsigned size = size_class(entry->page_shift) + 1; size-- > 0;) {
		for (unsigned i = 0; i < count; i++) {
			struct tlb_cache *cache = &tlb->cache[caches[i]];
			unsigned shift = tlb->class_shift[size];
			uint64_t tag = make_tag(va, shift, size, pcid, entry->global);

			if (cache->holds >> size & 1)
				return (struct tlb_ref){ caches[i],
							 insert(tlb, cache, va, shift, tag, entry,
								stamp, evictions) };
		}
	}
	return (struct tlb_ref){ 0, TLB_NO_WAY };
}

struct tlb_ref tlb_find_l1(struct tlb *tlb, uint64_t va, unsigned pcid, bool fetch)
{
	return find_in(tlb, l1_caches[fetch], MMU_SIZE_CLASSES, va, pcid, tlb->front->tick);
}

struct tlb_ref tlb_find_l2(struct tlb *tlb, uint64_t va, unsigned pcid)
{
	return find_in(tlb, l2_caches, sizeof(l2_caches), va, pcid, ++tlb->tick);
}

struct tlb_ref tlb_insert_l1(struct tlb *tlb, uint64_t va, unsigned pcid, bool fetch,
			     const struct mmu_entry *entry)
{
	return insert_in(tlb, l1_caches[fetch], MMU_SIZE_CLASSES, va, pcid, entry, tlb->front->tick,
			 &tlb->l1_evictions);
}

void tlb_insert_l2(struct tlb *tlb, uint64_t va, unsigned pcid, const struct mmu_entry *entry)
{
	insert_in(tlb, l2_caches, sizeof(l2_caches), va, pcid, entry, ++tlb->tick,
		  &tlb->l2_evictions);
}

/* ---- Paging-structure caches: never global, class 0 ---- */

static uint64_t psc_tag(uint64_t va, unsigned shift, unsigned pcid)
{
	return make_tag(va, shift, MMU_4K, pcid, false);
}

static unsigned psc_shift(unsigned cache, unsigned index_bits)
{
	return X86_PAGE_SHIFT + (cache - MMU_PSC_PDE + 1) * index_bits;
}

static uint32_t psc_find_one(const struct tlb *tlb, unsigned i, uint64_t va, unsigned pcid,
			     unsigned index_bits)
{
	const struct tlb_cache *cache = &tlb->cache[i];
	unsigned shift = psc_shift(i, index_bits);

	return cache->live[MMU_4K] == 0 ? TLB_NO_WAY
					: find(cache, va, shift, psc_tag(va, shift, pcid));
}

struct tlb_ref tlb_find_psc(struct tlb *tlb, uint64_t va, unsigned pcid, unsigned index_bits)
{
	for (unsigned i = MMU_PSC_PDE; tlb->inclusive && i < MMU_CACHES; i++) {
		uint32_t w = psc_find_one(tlb, i, va, pcid, index_bits);

		if (w != TLB_NO_WAY) {
			tlb->cache[i].stamp[w] = ++tlb->tick;
			return (struct tlb_ref){ (uint8_t)i, w };
		}
	}
	return (struct tlb_ref){ 0, TLB_NO_WAY };
}

void tlb_insert_psc(struct tlb *tlb, uint64_t va, unsigned pcid, unsigned level,
		    unsigned index_bits, const struct mmu_entry *entry)
{
	unsigned i = MMU_PSC_PDE + level - 1;
	unsigned shift = psc_shift(i, index_bits);
	uint64_t uncounted = 0;

	if (tlb->cache[i].ways > 0)
		insert(tlb, &tlb->cache[i], va, shift, psc_tag(va, shift, pcid), entry, ++tlb->tick,
		       &uncounted);
}

void tlb_drop_psc_path(struct tlb *tlb, uint64_t va, unsigned pcid, unsigned index_bits)
{
	for (unsigned i = MMU_PSC_PDE; i < MMU_CACHES; i++) {
		uint32_t w = psc_find_one(tlb, i, va, pcid, index_bits);

		if (w != TLB_NO_WAY) {
			invalidate(tlb, &tlb->cache[i], w);
			tlb->dropped++;
		}
	}
}

/* ---- Drops ---- */

static bool in_scope(uint64_t tag, enum tlb_scope scope, unsigned pcid)
{
	bool global = tag & TAG_GLOBAL;

	if (scope == TLB_EVERYTHING)
		return true;
	if (global)
		return scope == TLB_PCID_GLOBAL;
	return scope == TLB_ALL_PCIDS || tag_pcid(tag) == pcid;
}

/* Does way @w translate part of the page that @va is in? Its page, not its piece, decides. */
static bool covers(const struct tlb_cache *cache, uint32_t w, uint64_t va)
{
	const struct tlb_way *way = &cache->way[w];
	uint64_t first = cache->tag[w] >> TAG_PAGE_SHIFT << way->piece_shift;

	return ((first ^ va) & LINEAR_MASK) >> way->entry.page_shift == 0;
}

/* One class of one TLB: the set that the page would be in. Returns how many ways went. */
static unsigned drop_class(struct tlb *tlb, struct tlb_cache *cache, unsigned size, uint64_t va,
			   unsigned pcid, bool global)
{
	unsigned shift = tlb->class_shift[size];
	uint64_t tag = make_tag(va, shift, size, pcid, false);
	uint32_t first = first_way(cache, va, shift);
	unsigned count = 0;

	if (cache->live[size] == 0)
		return 0;
	for (uint32_t w = first; w < first + cache->ways; w++) {
		if (cache->tag[w] == tag || (global && cache->tag[w] == global_tag(tag))) {
			invalidate(tlb, cache, w);
			count++;
		}
	}
	return count;
}

/* The pieces of a page that was cut, wherever they are. */
static unsigned drop_pieces(struct tlb *tlb, struct tlb_cache *cache, uint64_t va, unsigned pcid,
			    bool global)
{
	enum tlb_scope scope = global ? TLB_PCID_GLOBAL : TLB_PCID;
	unsigned count = 0;

	for (uint32_t w = 0; w < cache->sets * cache->ways && cache->cut > 0; w++) {
		if (cache->tag[w] != 0 && in_scope(cache->tag[w], scope, pcid) &&
		    covers(cache, w, va)) {
			invalidate(tlb, cache, w);
			count++;
		}
	}
	return count;
}

static unsigned drop_in(struct tlb *tlb, unsigned i, uint64_t va, unsigned pcid, bool global)
{
	struct tlb_cache *cache = &tlb->cache[i];
	unsigned count = 0;

	for (unsigned size = 0; size < MMU_SIZE_CLASSES; size++)
		count += drop_class(tlb, cache, size, va, pcid, global);
	return count + drop_pieces(tlb, cache, va, pcid, global);
}

void tlb_drop_page(struct tlb *tlb, uint64_t va, unsigned pcid, bool global)
{
	fast_drop_page(tlb, va);
	for (unsigned i = 0; !is_psc(i); i++)
		tlb->dropped += drop_in(tlb, i, va, pcid, global);
}

void tlb_forget_data_page(struct tlb *tlb, uint64_t va, unsigned pcid)
{
	fast_drop_page(tlb, va);
	for (unsigned i = MMU_L1D_4K; !is_psc(i); i = i == MMU_L1D_1G ? MMU_L2_TLB : i + 1)
		drop_in(tlb, i, va, pcid, true);
}

static void drop_from(struct tlb *tlb, unsigned first, unsigned end, enum tlb_scope scope,
		      unsigned pcid)
{
	for (unsigned i = first; i < end; i++) {
		struct tlb_cache *cache = &tlb->cache[i];

		for (uint32_t w = 0; w < cache->sets * cache->ways; w++) {
			if (cache->tag[w] != 0 && in_scope(cache->tag[w], scope, pcid)) {
				invalidate(tlb, cache, w);
				tlb->dropped++;
			}
		}
	}
}

void tlb_drop(struct tlb *tlb, enum tlb_scope scope, unsigned pcid)
{
	if (!tlb->inclusive)
		fast_empty(tlb);
	drop_from(tlb, 0, MMU_CACHES, scope, pcid);
}

void tlb_drop_psc(struct tlb *tlb, unsigned pcid)
{
	drop_from(tlb, MMU_PSC_PDE, MMU_CACHES, TLB_PCID, pcid);
}

bool tlb_drop_random(struct tlb *tlb)
{
	struct tlb_cache *cache = &tlb->cache[tlb_random(tlb) % MMU_CACHES];
	uint32_t ways = cache->sets * cache->ways;
	uint32_t w = ways == 0 ? 0 : (uint32_t)(tlb_random(tlb) % ways);

	if (ways == 0 || cache->tag[w] == 0)
		return false;
	invalidate(tlb, cache, w);
	return true;
}

bool tlb_inspect(const struct tlb *tlb, struct tlb_ref ref, uint64_t *va, unsigned *pcid)
{
	const struct tlb_cache *cache = &tlb->cache[ref.cache];
	unsigned unused = 64 - LINEAR_BITS;

	if (cache->tag[ref.way] == 0)
		return false;
	*va = cache->tag[ref.way] >> TAG_PAGE_SHIFT << cache->way[ref.way].piece_shift;
	*va = (uint64_t)((int64_t)(*va << unused) >> unused);
	*pcid = tag_pcid(cache->tag[ref.way]);
	return true;
}
