/*
 * zoned_shape.c - the zoned buddy's zones and figures: limits, watermarks, lowmem reserve and the
 * size of the CPUs' lists, each computed from the memory map as Linux 6.1 does. Theory:
 * zoned_buddy.c.
 */
#include "alloc/frame/zoned.h"
#include "alloc/port.h"

const struct spans_kind zoned_spans = { .order = ZONED_MAX_ORDER };

#define MIB_FRAMES  256u
#define FRAME_KIB   4u
#define RATIO_NONE  0u
#define HIGHMEM_MIN 32u	 /* frames: what one round of reclaim asks for */
#define HIGHMEM_MAX 128u /* frames */

/* A layout of zones. Limits in MiB, 0: no such zone. The ratio says how much of the zones above a
 * zone keeps back from requests that could be served there. */
static const struct layout {
	uint64_t limit_mib[ZONED_ZONES - 1];
	uint16_t reserve_ratio[ZONED_ZONES];
	bool highmem; /* the last zone is */
} layouts[ZONES_PRESETS] = {
	[ZONES_X86_64] = { { 16, 4096 }, { 256, 256, 32 }, false },
	[ZONES_I386] = { { 16, 896 }, { 256, 32, RATIO_NONE }, true },
	[ZONES_ONE] = { { 0, 0 }, { RATIO_NONE, RATIO_NONE, RATIO_NONE }, false },
};

/* The largest r with r * r <= n. */
static uint64_t square_root(uint64_t n)
{
	uint64_t root = 0;

	for (uint64_t bit = 1ull << 31; bit; bit >>= 1)
		if ((root + bit) * (root + bit) <= n)
			root += bit;
	return root;
}

static uint64_t at_most(uint64_t n, uint64_t limit)
{
	return n < limit ? n : limit;
}

static uint64_t at_least(uint64_t n, uint64_t limit)
{
	return n > limit ? n : limit;
}

/* Frames of the map in [first, end). */
static uint64_t frames_between(const struct memmap *map, uint64_t first, uint64_t end)
{
	uint64_t frames = 0;

	for (uint32_t i = 0; i < map->count; i++) {
		uint64_t from = at_least(map->ranges[i].first.n, first);
		uint64_t to = at_most(map->ranges[i].first.n + map->ranges[i].frames, end);

		frames += from < to ? to - from : 0;
	}
	return frames;
}

/* Zones end where blocks of the largest order do, so that none ever lies in two. */
static bool place_zones(struct zoned_shape *s, const struct memmap *map, const struct layout *l)
{
	uint64_t from = 0;

	for (unsigned i = 0; i < ZONED_ZONES; i++) {
		struct zone_shape *zone = &s->zone[i];
		uint64_t set = i + 1 < ZONED_ZONES ? s->option[OPTION_DMA + i] : 0;
		uint64_t mib = i + 1 < ZONED_ZONES ? set ? set : l->limit_mib[i] : UINT64_MAX;

		zone->first = from;
		zone->end = i + 1 < ZONED_ZONES
				    ? round_up_u64(mib * MIB_FRAMES, 1u << ZONED_MAX_ORDER)
				    : UINT64_MAX;
		if (zone->end < from)
			return false;
		zone->managed = frames_between(map, zone->first, zone->end);
		from = zone->end;
	}
	return true;
}

/* min: a share of what the machine keeps free, which grows with the square root of its memory. low
 * and high: by a quarter of that each, or a thousandth of the zone. */
static void set_marks(struct zoned_shape *s, const struct layout *l)
{
	uint64_t lowmem = 0, keep_kib = s->option[OPTION_MIN];

	for (unsigned i = 0; i < ZONED_ZONES; i++)
		lowmem += l->highmem && i + 1 == ZONED_ZONES ? 0 : s->zone[i].managed;
	if (!keep_kib)
		keep_kib =
			at_most(at_least(square_root(lowmem * FRAME_KIB * 16), 128), 256u * 1024);
	for (unsigned i = 0; i < ZONED_ZONES; i++) {
		struct zone_shape *zone = &s->zone[i];
		uint64_t share = lowmem ? keep_kib / FRAME_KIB * zone->managed / lowmem
					: keep_kib / FRAME_KIB;
		uint64_t step = at_least(share / 4, zone->managed / 1000);

		if (!zone->managed)
			continue;
		if (l->highmem && i + 1 == ZONED_ZONES)
			share = at_most(at_least(zone->managed / 1024, HIGHMEM_MIN), HIGHMEM_MAX);
		zone->mark[MARK_MIN] = share;
		zone->mark[MARK_LOW] = share + step;
		zone->mark[MARK_HIGH] = share + 2 * step;
	}
}

/* A zone keeps back a share of all that lies above it, against requests that may go there. */
static void set_reserves(struct zoned_shape *s, const struct layout *l)
{
	for (unsigned i = 0; i < ZONED_ZONES; i++) {
		uint64_t above = 0;

		for (unsigned j = i + 1; j < ZONED_ZONES; j++) {
			above += s->zone[j].managed;
			if (s->zone[i].managed && l->reserve_ratio[i])
				s->zone[i].reserve[j] = above / l->reserve_ratio[i];
		}
	}
}

/* A batch is a quarter of a thousandth of the zone, at most 256 KiB, and one less than a power of
 * two. All CPUs' lists together hold what lies below the low mark. */
static void set_cpu_lists(struct zoned_shape *s)
{
	for (unsigned i = 0; i < ZONED_ZONES; i++) {
		struct zone_shape *zone = &s->zone[i];
		uint64_t batch = at_least(at_most(zone->managed >> 10, MIB_FRAMES) / 4, 1);

		if (!zone->managed)
			continue;
		batch = (1ull << bit_highest(batch + batch / 2)) - 1;
		zone->cpu_batch = at_least(batch, 1);
		zone->cpu_high = at_least(zone->mark[MARK_LOW] / s->cpus, batch * 4);
		zone->cpu_high = at_least(zone->cpu_high, 1);
	}
}

static bool reserves_fit(const struct zoned_shape *s)
{
	for (unsigned i = 0; i < ZONED_ZONES; i++)
		if (s->zone[i].managed && s->zone[i].managed <= s->zone[i].mark[MARK_HIGH])
			return false;
	return true;
}

static void lay_out(struct zoned_shape *s, uint64_t header_bytes)
{
	s->cpus_at = round_up_u64(header_bytes + s->spans.count * sizeof(struct span), 64);
	s->links_at = s->cpus_at + ZONED_ZONES * s->cpus * sizeof(struct zoned_cpu);
	s->types_at = s->links_at + s->spans.indices * sizeof(struct zoned_link);
	s->kinds_at = s->types_at + (s->spans.indices >> PAGEBLOCK_ORDER);
	s->bytes = s->kinds_at + s->spans.indices;
}

bool zoned_shape_of(struct zoned_shape *s, const struct memmap *map, uint64_t cpus,
		    const uint64_t *option, struct span *table, const char **why)
{
	memset(s, 0, sizeof(*s));
	memcpy(s->option, option, sizeof(s->option));
	s->cpus = cpus;
	s->spans = spans_build(map, zoned_spans, table);
	if (!map->frames || !cpus) {
		*why = "zoned-buddy: no usable frame, or no CPU";
		return false;
	}
	if (s->spans.indices >= ZONED_NONE) {
		*why = "zoned-buddy: links of 32 bits do not reach over 16 TiB of RAM";
		return false;
	}
	const struct layout *l = &layouts[option[OPTION_ZONES] % ZONES_PRESETS];

	if (!place_zones(s, map, l)) {
		*why = "zoned-buddy: low-mib is below dma-mib";
		return false;
	}
	set_marks(s, l);
	if (option[OPTION_RESERVE])
		set_reserves(s, l);
	if (option[OPTION_CPU_LISTS])
		set_cpu_lists(s);
	/* Below that, every page block would end up mixed anyway. */
	s->grouping = option[OPTION_MOBILITY] &&
		      map->frames >= (uint64_t)PAGEBLOCK_FRAMES * 2 * ZONED_TYPES;
	if (option[OPTION_WATERMARKS] == WATERMARKS_STRICT && !reserves_fit(s)) {
		*why = "zoned-buddy: a zone of this memory map is not larger than its watermarks";
		return false;
	}
	lay_out(s, sizeof(struct zoned));
	return true;
}
