/*
 * twin.c - see twin.h.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/mmu/twin.h"

struct item {
	uint64_t first; /* of the piece */
	unsigned piece; /* log2 of its bytes */
	uint64_t page;	/* first byte of the page */
	unsigned shift; /* log2 of the page's bytes */
	bool dirty;
};

struct set {
	struct item *item; /* most recent first */
	unsigned count;
};

struct cache {
	struct set *set;
	unsigned sets, ways, holds;
};

struct twin {
	struct cache cache[MMU_CACHES];
	struct mmu_statistics counts;
	twin_page_fn page;
	void *context;
};

static const unsigned class_shift[] = { 12, 21, 30 };

static const struct lookup_order {
	unsigned caches[3], count;
} l1_data = { { MMU_L1D_4K, MMU_L1D_2M, MMU_L1D_1G }, 3 },
  l1_fetch = { { MMU_L1I_4K, MMU_L1I_2M, MMU_L1I_1G }, 3 }, l2 = { { MMU_L2_TLB, MMU_L2_1G }, 2 };

struct twin *twin_new(const struct mmu_config *config, twin_page_fn page, void *context)
{
	struct twin *twin = calloc(1, sizeof(*twin));

	twin->page = page;
	twin->context = context;
	for (unsigned i = 0; i < MMU_CACHES; i++) {
		const struct mmu_cache_shape *shape = &config->cache[i];
		struct cache *cache = &twin->cache[i];

		*cache = (struct cache){ NULL, shape->sets, shape->ways, shape->holds };
		cache->set = calloc(cache->sets + 1, sizeof(struct set));
		for (unsigned s = 0; s < cache->sets; s++)
			cache->set[s].item = calloc(cache->ways + 1, sizeof(struct item));
	}
	return twin;
}

void twin_free(struct twin *twin)
{
	for (unsigned i = 0; i < MMU_CACHES; i++) {
		for (unsigned s = 0; s < twin->cache[i].sets; s++)
			free(twin->cache[i].set[s].item);
		free(twin->cache[i].set);
	}
	free(twin);
}

static uint64_t align(uint64_t va, unsigned shift)
{
	return va >> shift << shift;
}

static struct set *set_of(const struct cache *cache, uint64_t va, unsigned shift)
{
	return &cache->set[(va >> shift) % cache->sets];
}

static void remove_at(struct set *set, unsigned i)
{
	for (; i + 1 < set->count; i++)
		set->item[i] = set->item[i + 1];
	set->count--;
}

/* Put @item first; returns whether another had to go. */
static bool push(const struct cache *cache, struct set *set, struct item item)
{
	bool evicts = set->count == cache->ways;

	if (evicts)
		set->count--;
	for (unsigned i = set->count; i > 0; i--)
		set->item[i] = set->item[i - 1];
	set->item[0] = item;
	set->count++;
	return evicts;
}

/* Find the piece of @va of this size and make it most recent. */
static bool find(const struct cache *cache, uint64_t va, unsigned shift, struct item *found)
{
	struct set *set;

	if (cache->ways == 0)
		return false;
	set = set_of(cache, va, shift);
	for (unsigned i = 0; i < set->count; i++) {
		if (set->item[i].piece == shift && set->item[i].first == align(va, shift)) {
			*found = set->item[i];
			remove_at(set, i);
			push(cache, set, *found);
			return true;
		}
	}
	return false;
}

static bool find_any(struct twin *t, const struct lookup_order *order, uint64_t va,
		     struct item *found)
{
	for (unsigned i = 0; i < order->count; i++) {
		for (unsigned size = 0; size < 3; size++) {
			if (find(&t->cache[order->caches[i]], va, class_shift[size], found))
				return true;
		}
	}
	return false;
}

static void insert(struct twin *t, const struct lookup_order *order, uint64_t va, struct item item,
		   uint64_t *evictions)
{
	unsigned size = item.shift == 30 ? 2 : item.shift == 21 ? 1 : 0;

	for (;; size--) {
		for (unsigned i = 0; i < order->count; i++) {
			struct cache *cache = &t->cache[order->caches[i]];

			if (cache->ways == 0 || !(cache->holds >> size & 1))
				continue;
			item.piece = class_shift[size];
			item.first = align(va, item.piece);
			*evictions += push(cache, set_of(cache, va, item.piece), item);
			return;
		}
		if (size == 0)
			return;
	}
}

/* Drop all pieces of the page that @va is in. */
static void forget(struct twin *t, const struct lookup_order *order, uint64_t va)
{
	for (unsigned c = 0; c < order->count; c++) {
		struct cache *cache = &t->cache[order->caches[c]];

		for (unsigned s = 0; s < cache->sets && cache->ways > 0; s++) {
			struct set *set = &cache->set[s];

			for (unsigned i = set->count; i-- > 0;) {
				if (align(va, set->item[i].shift) == set->item[i].page)
					remove_at(set, i);
			}
		}
	}
}

static struct item walk(struct twin *t, uint64_t va, bool write)
{
	struct twin_page page = t->page(t->context, va);
	unsigned leaf = (page.shift - 12) / 9;
	unsigned from = 3; /* level of the first entry read */
	struct item item;

	for (unsigned level = 1; level <= 3; level++) {
		if (level > leaf &&
		    find(&t->cache[MMU_PSC_PDE + level - 1], va, 12 + 9 * level, &item)) {
			t->counts.psc_hits[level]++;
			from = level - 1;
			break;
		}
	}
	t->counts.entry_reads += from - leaf + 1;
	t->counts.accessed_writes += page.fresh;
	t->counts.dirty_writes += write && !page.dirty;
	for (unsigned level = from; level > leaf; level--) {
		struct cache *cache = &t->cache[MMU_PSC_PDE + level - 1];
		unsigned shift = 12 + 9 * level;

		item = (struct item){ align(va, shift), shift, 0, 63, false };
		if (cache->ways > 0)
			push(cache, set_of(cache, va, shift), item);
	}
	return (struct item){ 0, 0, align(va, page.shift), page.shift, page.dirty || write };
}

void twin_access(struct twin *t, uint64_t va, bool fetch, bool write)
{
	const struct lookup_order *l1 = fetch ? &l1_fetch : &l1_data;
	struct item item;

	*(fetch ? &t->counts.fetch_lookups : &t->counts.data_lookups) += 1;
	if (!find_any(t, l1, va, &item)) {
		*(fetch ? &t->counts.l1_fetch_misses : &t->counts.l1_data_misses) += 1;
		if (find_any(t, &l2, va, &item)) {
			t->counts.l2_hits++;
			insert(t, l1, va, item, &t->counts.l1_evictions);
		} else {
			t->counts.walks++;
			item = walk(t, va, write);
			insert(t, &l2, va, item, &t->counts.l2_evictions);
			insert(t, l1, va, item, &t->counts.l1_evictions);
			return;
		}
	}
	if (write && !item.dirty) {
		t->counts.dirty_walks++;
		item = walk(t, va, true);
		forget(t, &l1_data, va);
		forget(t, &l2, va);
		insert(t, &l2, va, item, &t->counts.l2_evictions);
		insert(t, l1, va, item, &t->counts.l1_evictions);
	}
}

static void empty(struct cache *cache)
{
	for (unsigned s = 0; s < cache->sets; s++)
		cache->set[s].count = 0;
}

void twin_invlpg(struct twin *t, uint64_t va)
{
	forget(t, &l1_data, va);
	forget(t, &l1_fetch, va);
	forget(t, &l2, va);
	for (unsigned i = MMU_PSC_PDE; i < MMU_CACHES; i++)
		empty(&t->cache[i]);
}

void twin_flush(struct twin *t)
{
	for (unsigned i = 0; i < MMU_CACHES; i++)
		empty(&t->cache[i]);
}

const struct mmu_statistics *twin_counts(const struct twin *t)
{
	return &t->counts;
}
