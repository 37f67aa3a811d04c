/*
 * config.c - presets, and configuration fields by name.
 */
#include "mmu/mmu.h"

/* Bytes of memory stay sane, and way numbers fit where they are kept. */
#define WAYS_MAX 256u
#define SETS_MAX 4096u

#define HOLDS_4K  (1u << MMU_4K)
#define HOLDS_2M  (1u << MMU_2M)
#define HOLDS_1G  (1u << MMU_1G)
#define HOLDS_ALL (HOLDS_4K | HOLDS_2M | HOLDS_1G)

/* ---- Presets ---- */

#define FEATURES_64                                                                          \
	{                                                                                    \
		.pse = 1, .pse36 = 1, .pae = 1, .pge = 1, .pat = 1, .long_mode = 1, .nx = 1, \
		.page1g = 1, .pcid = 1, .invpcid = 1, .smep = 1, .smap = 1, .pku = 1         \
	}

static const struct {
	const char *name;
	struct mmu_config config;
} presets[] = {
	{ "tiny", /* every feature, caches small enough to thrash in a test */
	  { .features = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 },
	    .maxphyaddr = 40,
	    .cache = { [MMU_L1D_4K] = { 2, 2, HOLDS_4K },
		       [MMU_L1D_2M] = { 1, 2, HOLDS_2M },
		       [MMU_L1I_4K] = { 2, 2, HOLDS_4K },
		       [MMU_L2_TLB] = { 4, 4, HOLDS_4K | HOLDS_2M },
		       [MMU_PSC_PDE] = { 1, 4 },
		       [MMU_PSC_PDPTE] = { 1, 2 },
		       [MMU_PSC_PML4E] = { 1, 2 },
		       [MMU_PSC_PML5E] = { 1, 1 } },
	    .weights = { 1, 7, 10, 20, 20, 1000, 100, 500, 2000 },
	    .statistics = 1,
	    .seed = 1 } },
	{ "pentium", /* P54C: no L2; the code TLB cuts 4 MiB pages */
	  { .features = { .pse = 1 },
	    .maxphyaddr = 32,
	    .cache = { [MMU_L1D_4K] = { 16, 4, HOLDS_4K, MMU_PLRU },
		       [MMU_L1D_2M] = { 2, 4, HOLDS_2M, MMU_PLRU },
		       [MMU_L1I_4K] = { 8, 4, HOLDS_4K, MMU_PLRU } },
	    .weights = { 1, 0, 5, 8, 8, 150, 25, 30, 500 },
	    .statistics = 1,
	    .seed = 1 } },
	{ "skylake",
	  { .features = FEATURES_64,
	    .maxphyaddr = 46,
	    .cache = { [MMU_L1D_4K] = { 16, 4, HOLDS_4K },
		       [MMU_L1D_2M] = { 8, 4, HOLDS_2M },
		       [MMU_L1D_1G] = { 1, 4, HOLDS_1G },
		       [MMU_L1I_4K] = { 16, 8, HOLDS_4K },
		       [MMU_L1I_2M] = { 1, 8, HOLDS_2M },
		       [MMU_L2_TLB] = { 128, 12, HOLDS_4K | HOLDS_2M },
		       [MMU_L2_1G] = { 4, 4, HOLDS_1G },
		       [MMU_PSC_PDE] = { 8, 4 },
		       [MMU_PSC_PDPTE] = { 1, 4 },
		       [MMU_PSC_PML4E] = { 1, 2 } },
	    .weights = { 1, 7, 9, 4, 20, 1000, 120, 300, 2000 },
	    .statistics = 1,
	    .seed = 1 } },
	{ "zen4", /* L1s of one structure for all sizes; its two L2s are one here */
	  { .features = { .pse = 1,
			  .pse36 = 1,
			  .pae = 1,
			  .pge = 1,
			  .pat = 1,
			  .long_mode = 1,
			  .nx = 1,
			  .page1g = 1,
			  .la57 = 1,
			  .pcid = 1,
			  .invpcid = 1,
			  .smep = 1,
			  .smap = 1,
			  .pku = 1 },
	    .maxphyaddr = 48,
	    .cache = { [MMU_L1D_4K] = { 1, 72, HOLDS_ALL },
		       [MMU_L1I_4K] = { 1, 64, HOLDS_ALL },
		       [MMU_L2_TLB] = { 128, 24, HOLDS_4K | HOLDS_2M },
		       [MMU_PSC_PDE] = { 1, 64 },
		       [MMU_PSC_PDPTE] = { 1, 16 },
		       [MMU_PSC_PML4E] = { 1, 16 },
		       [MMU_PSC_PML5E] = { 1, 4 } },
	    .weights = { 1, 8, 10, 4, 20, 1000, 120, 300, 2000 },
	    .statistics = 1,
	    .seed = 1 } },
};

#define PRESETS (sizeof(presets) / sizeof(presets[0]))

static bool same(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b)
		a++, b++;
	return *a == *b;
}

const struct mmu_config *mmu_preset(const char *name)
{
	for (unsigned i = 0; i < PRESETS; i++) {
		if (same(presets[i].name, name))
			return &presets[i].config;
	}
	return NULL;
}

const char *mmu_preset_name(unsigned index)
{
	return index < PRESETS ? presets[index].name : NULL;
}

/* ---- Fields by name: all of them are uint32_t ---- */

#define FIELD(key, member, min, max)                               \
	{                                                          \
		key, offsetof(struct mmu_config, member), min, max \
	}
#define FEATURE(name) FIELD("features." #name, features.name, 0, 1)
#define WEIGHT(name)  FIELD("weights." #name, weights.name, 0, 1000000)
#define CACHE(key, id)                                              \
	FIELD(key ".sets", cache[id].sets, 1, SETS_MAX),            \
		FIELD(key ".ways", cache[id].ways, 0, WAYS_MAX),    \
		FIELD(key ".holds", cache[id].holds, 0, HOLDS_ALL), \
		FIELD(key ".replacement", cache[id].replacement, 0, MMU_RANDOM)

static const struct {
	const char *key;
	size_t offset;
	uint32_t min;
	uint32_t max;
} fields[] = {
	FEATURE(pse),
	FEATURE(pse36),
	FEATURE(pae),
	FEATURE(pge),
	FEATURE(pat),
	FEATURE(long_mode),
	FEATURE(nx),
	FEATURE(page1g),
	FEATURE(la57),
	FEATURE(pcid),
	FEATURE(invpcid),
	FEATURE(smep),
	FEATURE(smap),
	FEATURE(pku),
	FEATURE(pks),
	FIELD("maxphyaddr", maxphyaddr, 32, 52),
	CACHE("l1d_4k", MMU_L1D_4K),
	CACHE("l1d_2m", MMU_L1D_2M),
	CACHE("l1d_1g", MMU_L1D_1G),
	CACHE("l1i_4k", MMU_L1I_4K),
	CACHE("l1i_2m", MMU_L1I_2M),
	CACHE("l1i_1g", MMU_L1I_1G),
	CACHE("l2_tlb", MMU_L2_TLB),
	CACHE("l2_1g", MMU_L2_1G),
	CACHE("psc_pde", MMU_PSC_PDE),
	CACHE("psc_pdpte", MMU_PSC_PDPTE),
	CACHE("psc_pml4e", MMU_PSC_PML4E),
	CACHE("psc_pml5e", MMU_PSC_PML5E),
	WEIGHT(l1_hit),
	WEIGHT(l2_lookup),
	WEIGHT(walk),
	WEIGHT(entry_read),
	WEIGHT(ad_write),
	WEIGHT(fault),
	WEIGHT(invlpg),
	WEIGHT(flush),
	WEIGHT(shootdown),
	FIELD("statistics", statistics, 0, 1),
	FIELD("spurious_invalidation", spurious_invalidation, 0, 1000000),
	FIELD("seed", seed, 0, 0xffffffff),
};

#define FIELDS (sizeof(fields) / sizeof(fields[0]))

bool mmu_config_set(struct mmu_config *config, const char *key, uint64_t value)
{
	for (unsigned i = 0; i < FIELDS; i++) {
		if (!same(fields[i].key, key))
			continue;
		if (value < fields[i].min || value > fields[i].max)
			return false;
		*(uint32_t *)((uint8_t *)config + fields[i].offset) = (uint32_t)value;
		return true;
	}
	return false;
}

bool mmu_config_get(const struct mmu_config *config, const char *key, uint64_t *value)
{
	for (unsigned i = 0; i < FIELDS; i++) {
		if (!same(fields[i].key, key))
			continue;
		*value = *(const uint32_t *)((const uint8_t *)config + fields[i].offset);
		return true;
	}
	return false;
}

const char *mmu_config_key(unsigned index)
{
	return index < FIELDS ? fields[index].key : NULL;
}

/* ---- Sense ---- */

static bool power_of_two(uint32_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static const char *cache_problem(const struct mmu_cache_shape *shape)
{
	if (shape->ways == 0)
		return NULL;
	if (shape->ways > WAYS_MAX || shape->sets > SETS_MAX)
		return "a cache has more than 256 ways or 4096 sets";
	if (!power_of_two(shape->sets))
		return "the sets of a cache are not a power of two";
	if (shape->replacement > MMU_RANDOM)
		return "unknown replacement";
	if (shape->replacement == MMU_PLRU && !power_of_two(shape->ways))
		return "tree-PLRU needs a power of two of ways";
	return NULL;
}

/* Does one of the three structures of an L1 hold 4 KiB pages? */
static bool holds_4k(const struct mmu_cache_shape *l1)
{
	for (unsigned i = 0; i < MMU_SIZE_CLASSES; i++) {
		if (l1[i].ways > 0 && (l1[i].holds & HOLDS_4K))
			return true;
	}
	return false;
}

const char *mmu_config_problem(const struct mmu_config *config)
{
	const struct mmu_features *f = &config->features;

	for (unsigned i = 0; i < MMU_CACHES; i++) {
		const char *problem = cache_problem(&config->cache[i]);

		if (problem)
			return problem;
	}
	if (!holds_4k(&config->cache[MMU_L1D_4K]) || !holds_4k(&config->cache[MMU_L1I_4K]))
		return "each L1 needs a structure that holds 4 KiB pages";
	if (config->maxphyaddr < 32 || config->maxphyaddr > 52)
		return "maxphyaddr is not in 32..52";
	if (f->long_mode && !f->pae)
		return "long_mode needs pae";
	if ((f->la57 || f->page1g || f->pcid || f->pku || f->pks) && !f->long_mode)
		return "la57, page1g, pcid, pku and pks need long_mode";
	if (f->nx && !f->pae)
		return "nx needs pae";
	if (f->pse36 && !f->pse)
		return "pse36 needs pse";
	return NULL;
}
