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
 *  T2  free, live[class], global and cut are the numbers of invalid ways and of valid ways of that
 *      kind, and the bits of tlb->live say where live[class] > 0. A class of zero is not looked up,
 *      global forms not compared without global entries, and pieces are hunted down by a full scan
 *      only while cut > 0.
 *  T3  Invalidating a way empties the fast slots that live on it before anything else can run.
 *  T4  Without statistics all structures have no ways: nothing is found and nothing inserted. The
 *      fast slots are the only cache, and every drop empties whatever slot it might concern.
 *  T5  Under LRU the time in an invalid way's stamp is 0, and in a valid one's it is not: the
 * oldest stamp is the way to fill, invalid or not. Under the other policies stamps survive
 *      invalidation, as the bits of a tree do.
 *
 * Cost: look-up one compare a way and class; drop of a page one set a class; other drops all ways.
 * Sources: Intel SDM volume 3, 4.10 (what may be cached, what must be dropped).
 */
#include "mmu/tlb_ways.h"

#define ALIGN_BYTES 64u

/* A group's caches have consecutive numbers: first to one before the next group's. */
static const uint8_t group_first[TLB_GROUPS + 1] = { MMU_L1D_4K, MMU_L1I_4K, MMU_L2_TLB,
						     MMU_PSC_PDE };

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
		cache->replacement = shape->replacement;
		cache->stamp_kept = shape->replacement != MMU_LRU ? ~0ull
				    : stamps_name_ways(i)	  ? STAMP_WAY
								  : 0;
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

/* The largest class up to @size that a structure of the group holds. */
static struct tlb_home find_home(const struct mmu_config *config, enum tlb_group group,
				 unsigned size)
{
	for (size++; size-- > 0;) {
		for (unsigned i = group_first[group]; i < group_first[group + 1]; i++) {
			const struct mmu_cache_shape *shape = &config->cache[i];

			if (shape->ways > 0 && (shape->holds >> size & 1))
				return (struct tlb_home){ (uint8_t)i, (uint8_t)size };
		}
	}
	return (struct tlb_home){ MMU_CACHES, 0 };
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
			cache->stamp[w] = stamps_name_ways(i) ? w % cache->ways : 0;
			cache->way[w].first_slot = TLB_NO_SLOT;
		}
	}
	for (unsigned group = 0; group < TLB_GROUPS; group++) {
		for (unsigned size = 0; size < MMU_SIZE_CLASSES; size++)
			tlb->home[group][size] = find_home(config, group, size);
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

uint32_t tlb_choose_unlike_lru(struct tlb *tlb, const struct tlb_cache *cache, uint32_t first)
{
	uint32_t w = cache->free > 0 ? scan(cache->tag + first, cache->ways, 0) : TLB_NO_WAY;

	if (w != TLB_NO_WAY)
		return w;
	if (cache->replacement == MMU_PLRU)
		return plru_victim(cache->stamp + first, cache->ways);
	return (uint32_t)(tlb_random(tlb) % cache->ways);
}

/* ---- Drops ---- */

void tlb_drop_psc_path(struct tlb *tlb, uint64_t va, unsigned pcid, unsigned index_bits)
{
	uint64_t live = tlb->live & LIVE_PSC;

	FOR_LIVE(live, number, size) {
		uint32_t w = find_psc_way(tlb, number, va, pcid, index_bits);

		if (w != TLB_NO_WAY) {
			invalidate(tlb, number, w);
			tlb->dropped++;
		}
	}
}

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
static unsigned drop_class(struct tlb *tlb, unsigned number, unsigned size, uint64_t va,
			   unsigned pcid, bool global)
{
	struct tlb_cache *cache = &tlb->cache[number];
	unsigned shift = tlb->class_shift[size];
	uint64_t tag = make_tag(va, shift, size, pcid, false);
	uint32_t first = first_way(cache, va, shift);
	uint32_t w = scan(cache->tag + first, cache->ways, tag);
	unsigned count = 0;

	if (w != TLB_NO_WAY) {
		invalidate(tlb, number, first + w);
		count++;
	}
	if (!global || cache->global == 0)
		return count;
	w = scan(cache->tag + first, cache->ways, global_tag(tag));
	if (w != TLB_NO_WAY) {
		invalidate(tlb, number, first + w);
		count++;
	}
	return count;
}

/* The pieces of a page that was cut, wherever they are. */
static unsigned drop_pieces(struct tlb *tlb, unsigned number, uint64_t va, unsigned pcid,
			    bool global)
{
	struct tlb_cache *cache = &tlb->cache[number];
	enum tlb_scope scope = global ? TLB_PCID_GLOBAL : TLB_PCID;
	unsigned count = 0;

	for (uint32_t w = 0; w < cache->sets * cache->ways && cache->cut > 0; w++) {
		if (cache->tag[w] != 0 && in_scope(cache->tag[w], scope, pcid) &&
		    covers(cache, w, va)) {
			invalidate(tlb, number, w);
			count++;
		}
	}
	return count;
}

/* The page of @va in the TLBs of @live, bits of tlb->live. Returns how many ways went. */
static unsigned drop_in(struct tlb *tlb, uint64_t live, uint64_t va, unsigned pcid, bool global)
{
	unsigned count = 0;

	FOR_LIVE(live, number, size) {
		count += drop_class(tlb, number, size, va, pcid, global);
		if (tlb->cache[number].cut > 0)
			count += drop_pieces(tlb, number, va, pcid, global);
	}
	return count;
}

void tlb_drop_page(struct tlb *tlb, uint64_t va, unsigned pcid, bool global)
{
	fast_drop_page(tlb, va);
	tlb->dropped += drop_in(tlb, tlb->live & LIVE_TLBS, va, pcid, global);
}

void tlb_drop_missed_page(struct tlb *tlb, uint64_t va, unsigned pcid, bool fetch)
{
	uint64_t missed = LIVE_L2 | (fetch ? LIVE_L1I : LIVE_L1D);
	uint64_t live = tlb->live & LIVE_TLBS & ~missed;

	fast_drop_page(tlb, va);
	if (tlb->cut > 0) /* the page that @va was in may be there in other pieces */
		live = tlb->live & LIVE_TLBS;
	if (live != 0)
		tlb->dropped += drop_in(tlb, live, va, pcid, true);
}

void tlb_forget_data_page(struct tlb *tlb, uint64_t va, unsigned pcid)
{
	fast_drop_page(tlb, va);
	drop_in(tlb, tlb->live & (LIVE_L1D | LIVE_L2), va, pcid, true);
}

static void drop_from(struct tlb *tlb, unsigned first, unsigned end, enum tlb_scope scope,
		      unsigned pcid)
{
	for (unsigned i = first; i < end; i++) {
		struct tlb_cache *cache = &tlb->cache[i];
		uint32_t ways =
			cache->free < cache->sets * cache->ways ? cache->sets * cache->ways : 0;

		for (uint32_t w = 0; w < ways; w++) {
			if (cache->tag[w] != 0 && in_scope(cache->tag[w], scope, pcid)) {
				invalidate(tlb, i, w);
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
	unsigned number = tlb_random(tlb) % MMU_CACHES;
	struct tlb_cache *cache = &tlb->cache[number];
	uint32_t ways = cache->sets * cache->ways;
	uint32_t w = ways == 0 ? 0 : (uint32_t)(tlb_random(tlb) % ways);

	if (ways == 0 || cache->tag[w] == 0)
		return false;
	invalidate(tlb, number, w);
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
