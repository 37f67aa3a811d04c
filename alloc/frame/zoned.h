/*
 * zoned.h - what the files of F9, the zoned buddy, share: zoned_buddy.c (theory, slot),
 * zoned_area.c (free lists and fallback), zoned_cpu.c (per-CPU lists), zoned_check.c (walk and
 * check).
 */
#ifndef KMEMLAB_ALLOC_FRAME_ZONED_H
#define KMEMLAB_ALLOC_FRAME_ZONED_H

#include "alloc/bitops.h"
#include "alloc/frame/spans.h"
#include "alloc/frame/systems.h"

#define ZONED_ZONES	 3u
#define ZONED_TYPES	 3u /* enum frame_mobility */
#define ZONED_MAX_ORDER	 10u
#define ZONED_ORDERS	 (ZONED_MAX_ORDER + 1u)
#define PAGEBLOCK_ORDER	 9u
#define PAGEBLOCK_FRAMES (1u << PAGEBLOCK_ORDER)
#define CPU_LIST_ORDER	 3u /* orders 0 .. 3 and PAGEBLOCK_ORDER have lists by CPU */
#define CPU_LISTS	 ((CPU_LIST_ORDER + 2u) * ZONED_TYPES)
#define ZONED_NONE	 UINT32_MAX

/* Kinds: what begins at a frame. 0: nothing, a frame inside a block, or one of a hole. */
#define KIND_FREE	0x40u /* on a zone's list of its order and type */
#define KIND_USED	0x80u
#define KIND_CPU	0xc0u /* on a CPU's list of its order and type */
#define KIND_STATE	0xc0u
#define KIND_TYPE_SHIFT 4u
#define KIND_ORDER	0x0fu

static inline unsigned kind_of(unsigned state, unsigned type, unsigned order)
{
	return state | type << KIND_TYPE_SHIFT | order;
}

static inline unsigned kind_type(unsigned kind)
{
	return kind >> KIND_TYPE_SHIFT & 3u;
}

struct zoned_link {
	uint32_t next, prev;
};

/* Both ends, because blocks enter at either. */
struct zoned_list {
	uint32_t head, tail;
};

enum zoned_mark { MARK_MIN = 0, MARK_LOW, MARK_HIGH, MARKS };

/* What init decides about a zone. */
struct zone_shape {
	uint64_t first, end;	       /* frames: multiples of 2^ZONED_MAX_ORDER, or UINT64_MAX */
	uint64_t managed;	       /* 0: there is no such zone */
	uint64_t mark[MARKS];	       /* watermarks, frames */
	uint64_t reserve[ZONED_ZONES]; /* lowmem reserve against requests for that zone */
	uint64_t cpu_high, cpu_batch;  /* of each CPU's lists */
};

struct zone {
	uint64_t free_frames; /* on the lists below; those on CPUs' lists are not counted */
	uint64_t nonempty[ZONED_TYPES]; /* bit o: list[type][o] has a member */
	struct zoned_list list[ZONED_TYPES][ZONED_ORDERS];
};

/* One CPU's lists for one zone. */
struct zoned_cpu {
	uint32_t count; /* frames on all lists */
	uint32_t free_factor;
	struct zoned_list list[CPU_LISTS];
};

struct zoned_shape {
	struct spans spans;
	struct zone_shape zone[ZONED_ZONES];
	uint64_t option[FRAME_OPTIONS_MAX]; /* as configured */
	uint64_t cpus;
	uint64_t grouping;				/* mobility types are told apart */
	uint64_t cpus_at, links_at, types_at, kinds_at; /* bytes from the state's start */
	uint64_t bytes;
};

struct zoned {
	struct memmap map;
	struct zoned_shape shape;
	uint64_t header_sum; /* over the two above */
	uint64_t fallbacks, fragmenting_fallbacks;
	struct zone zone[ZONED_ZONES];
	struct span span[];
	/* then struct zoned_cpu [zone][cpu], struct zoned_link [index], types of page blocks [index
	 * / 512] and kinds [index] */
};

static inline struct zoned_cpu *zoned_cpu_of(const struct zoned *z, unsigned zone, uint64_t cpu)
{
	return (struct zoned_cpu *)((uintptr_t)z + z->shape.cpus_at) + zone * z->shape.cpus + cpu;
}

static inline struct zoned_link *zoned_links(const struct zoned *z)
{
	return (struct zoned_link *)((uintptr_t)z + z->shape.links_at);
}

static inline uint8_t *zoned_kinds(const struct zoned *z)
{
	return (uint8_t *)((uintptr_t)z + z->shape.kinds_at);
}

/* Type of the page block that a frame is in. */
static inline uint8_t *pageblock_type(const struct zoned *z, uint32_t index)
{
	return (uint8_t *)((uintptr_t)z + z->shape.types_at) + (index >> PAGEBLOCK_ORDER);
}

static inline struct pfn zoned_frame(const struct zoned *z, uint64_t index)
{
	return spans_frame(&z->shape.spans, z->span, index);
}

/* Zone of a frame of the map. */
static inline unsigned zoned_zone(const struct zoned *z, struct pfn frame)
{
	return (frame.n >= z->shape.zone[0].end) + (frame.n >= z->shape.zone[1].end);
}

/* ---- zoned_area.c: the free lists of a zone ---- */

void zoned_list_push(struct zoned *z, struct zoned_list *list, uint32_t block, bool tail);
void zoned_list_remove(struct zoned *z, struct zoned_list *list, uint32_t block);

/* A block that is on no list enters; nothing is merged. */
void zoned_area_add(struct zoned *z, unsigned zone, uint32_t block, unsigned order, unsigned type,
		    bool tail);
/* A free block leaves its list; its kind becomes 0. */
void zoned_area_remove(struct zoned *z, unsigned zone, uint32_t block);

/* A block of ORDER for TYPE, by fallback to other types where its own has nothing; those only from
 * blocks of at least FALLBACK_ORDER. Its kind is 0. ZONED_NONE: there is none. */
uint32_t zoned_area_take(struct zoned *z, unsigned zone, unsigned order, unsigned type,
			 unsigned fallback_order);

/* Halves a block of order FROM that is on no list until the part that holds TARGET has order TO;
 * the other parts become free, with TYPE. Returns that part. */
uint32_t zoned_area_split(struct zoned *z, unsigned zone, uint32_t block, unsigned from,
			  unsigned to, uint32_t target, unsigned type);

/* Frees a block of kind 0, and merges it as far as it goes. */
void zoned_area_give(struct zoned *z, unsigned zone, uint32_t block, unsigned order, unsigned type);

/* ---- zoned_cpu.c: the lists of CPUs ---- */

static inline bool zoned_cpu_keeps(const struct zoned *z, unsigned zone, unsigned order)
{
	return z->shape.zone[zone].cpu_high &&
	       (order <= CPU_LIST_ORDER || order == PAGEBLOCK_ORDER);
}

/* As zoned_area_take(), through the CPU's list. */
uint32_t zoned_cpu_take(struct zoned *z, unsigned zone, uint64_t cpu, unsigned order, unsigned type,
			unsigned fallback_order);
void zoned_cpu_give(struct zoned *z, unsigned zone, uint64_t cpu, uint32_t block, unsigned order,
		    unsigned type);
/* Empties the lists of all CPUs. False when they were empty. */
bool zoned_cpu_drain_all(struct zoned *z);

/* List of an order and a type among a CPU's; and the order that list I is for. */
static inline unsigned zoned_cpu_list(unsigned order, unsigned type)
{
	return (order > CPU_LIST_ORDER ? CPU_LIST_ORDER + 1 : order) * ZONED_TYPES + type;
}

static inline unsigned zoned_cpu_list_order(unsigned i)
{
	unsigned row = i / ZONED_TYPES;

	return row > CPU_LIST_ORDER ? PAGEBLOCK_ORDER : row;
}

/* ---- zoned_shape.c: what init decides ---- */

/* False: refused, *WHY says the reason. TABLE: as of spans_build(). */
bool zoned_shape_of(struct zoned_shape *shape, const struct memmap *map, uint64_t cpus,
		    const uint64_t *option, struct span *table, const char **why);

enum {
	OPTION_ZONES,
	OPTION_DMA,
	OPTION_LOW,
	OPTION_CPU_LISTS,
	OPTION_MOBILITY,
	OPTION_WATERMARKS,
	OPTION_MIN,
	OPTION_RESERVE
};
enum { ZONES_X86_64 = 0, ZONES_I386, ZONES_ONE, ZONES_PRESETS };
enum { WATERMARKS_ADVISORY = 0, WATERMARKS_STRICT, WATERMARKS_OFF };

extern const struct spans_kind zoned_spans;

/* ---- zoned_check.c ---- */

void zoned_stats(const void *state, struct frame_stats *out);
int zoned_walk(const void *state, frame_visit_fn visit, void *ctx);
int zoned_check(const void *state, struct violation *violation) KERR_MUST_CHECK;

#endif
