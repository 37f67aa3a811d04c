/*
 * area.h - areas of a kernel virtual region: runs of pages from single frames, each followed by a
 * page that is never mapped. What H12 is made of, and what others keep large objects in.
 *
 *   region   | a  a  a  . | b  . |         | q  q  . | c  c  . |        .  guard page
 *            '-- area ----'                  freed: its pages lead nowhere, and stay so a while
 *
 *   page map   H  B  B  G   H  G   0  0  0   h  b  g   H  B  G          one word a page
 *
 *   H  first page: where in it the object begins, bytes behind the object up to the guard page,
 *      length in pages      B  its first page's number      G  a word of the owner's, sealed
 *
 * The object lies at the area's end, so that its first byte past the end is the guard page's, or at
 * its beginning. Alignment above 8 can leave room behind it, size modulo alignment.
 *
 * Addresses are used in the order of the region, round and round, so that a freed address comes
 * back as late as possible (`late`), or the lowest free one first. Independent of that the last
 * freed areas stay in quarantine, in a ring; whose addresses are wanted for lack of others leave
 * it early.
 *
 * Invariants (areas_check)
 *   1  the constant parts are as init left them and the page map is sound
 *   2  words are areas, whole ones, in the region; an object lies inside its area
 *   3  every page of a live area leads to a frame of RAM; guard pages and freed areas lead nowhere
 *   4  totals are what the words say; held frames are the mapped pages and the page map's leaves
 *   5  the ring names each area in quarantine once, and nothing else
 *
 * Cost: alloc and free are O(pages) maps and invalidations; the search for addresses is O(1) until
 * the region was used once, then O(pages looked at). Two words of 8 bytes a page of area.
 */
#ifndef KMEMLAB_ALLOC_HEAP_AREA_H
#define KMEMLAB_ALLOC_HEAP_AREA_H

#include "alloc/heap/page_map.h"

#define AREA_INVARIANTS	    5u
#define AREA_QUARANTINE_MAX 65536u

struct area_rules {
	uint64_t bytes;	     /* of the region, whole pages; up to 2^32 of them */
	uint64_t quarantine; /* areas, up to AREA_QUARANTINE_MAX */
	uint64_t late;	     /* 1: addresses come back as late as possible */
	uint64_t at_end;     /* 1: objects end at their guard page */
};

struct areas {
	struct heap_pages pages;
	struct area_setup {
		struct heap_mapper mapper;
		char *base;
		struct area_rules rules;
		uint32_t *ring; /* first pages, rules.quarantine of them */
		uint64_t cookie;
	} setup;
	uint64_t setup_sum;
	struct page_map words;
	uint64_t cursor; /* page from which a search begins */
	uint64_t ring_first, ring_count;
	uint64_t freed_bytes; /* of the objects in quarantine */
	uint64_t mapped_pages, used_areas, used_bytes;
};

/* Bytes of memory for areas_init(): the page map's root, and the ring. */
uint64_t areas_room_bytes(const struct area_rules *rules);
/* The region that CONFIG's mapper has, cut to BYTES; 0 with *WHY where it has none. */
uint64_t areas_region_bytes(const struct heap_config *config, uint64_t bytes, const char **why);
/* ROOM: zeroed. The region is the mapper's, from its beginning. */
void areas_init(struct areas *a, const struct heap_config *config, const struct area_rules *rules,
		void *room);

/* An area with an object of BYTES; *OUT is its address. VALUE is kept for the owner. KERR_NO_MEMORY
 * (frames, page tables, addresses) with nothing changed. */
int areas_alloc(struct areas *a, const struct heap_request *request, uint32_t value,
		void **out) KERR_MUST_CHECK;
/* KERR_NOT_OWNED: no live area's object begins there. */
int areas_free(struct areas *a, void *object) KERR_MUST_CHECK;
/* Bytes of the live object that begins there; 0: none does. */
uint64_t areas_usable(const struct areas *a, const void *object);
/* The owner's word of a live object. */
uint32_t areas_value(const struct areas *a, const void *object);
/* Ends the quarantine. */
void areas_trim(struct areas *a);

static inline bool areas_hold(const struct areas *a, const void *at)
{
	return (uint64_t)((const char *)at - a->setup.base) < a->setup.rules.bytes;
}

/* As the members of struct heap_ops. Extents of walk() are objects only. */
bool areas_locate(const struct areas *a, const void *at, struct heap_place *out);
void areas_add_stats(const struct areas *a, struct heap_stats *stats);
int areas_walk(const struct areas *a, heap_visit_fn visit, void *ctx);
/* FIRST: number of the first of the invariants above in the owner's theory block. */
int areas_check(const struct areas *a, unsigned first, struct heap_violation *v);

#endif
