/*
 * memmap.h - firmware memory maps, normalised.
 *
 * Input is what firmware gives: entries in any order, overlapping, empty, of many types, not
 * page-aligned. Output is the usable RAM as whole frames: sorted, disjoint, not touching, none
 * empty. Where entries overlap the most restrictive type wins (ACPI 6.5 section 15: a range is
 * usable only if nobody claims it), a frame that is usable in part is not usable, and frame 0 is
 * never given out, so that no frame has the physical address 0.
 */
#ifndef KMEMLAB_ALLOC_MEMMAP_H
#define KMEMLAB_ALLOC_MEMMAP_H

#include "alloc/addr.h"
#include "alloc/kerr.h"

#define MEMMAP_USABLE 1u /* ACPI address range type 1; any other type is not for us */

/* One entry as firmware hands it over (E820 layout with the extension word as padding). */
struct firmware_range {
	uint64_t base;	/* bytes */
	uint64_t bytes; /* may be 0; base + bytes may reach 2^64, and is cut there */
	uint32_t type;
	uint32_t pad;
};

/* Usable frames. The array belongs to whoever made it and outlives the map's users. */
struct memmap {
	const struct frame_range *ranges; /* by address; disjoint, not adjacent, none empty */
	uint32_t count;
	uint64_t frames;  /* their sum */
	struct pfn first; /* first usable frame; 0 when there is none */
	struct pfn end;	  /* one past the last usable frame */
};

/* Most ranges that n entries can leave: every non-usable one can split one usable range in two. */
#define MEMMAP_RANGES_MAX(entries) (2u * (entries) + 1u)

/* The first maximal run of usable frames at or above FROM and below LIMIT; false when there is
 * none. A run that FROM cuts begins at FROM. Cost: O(n) entries for maps that overlap little. */
bool memmap_next_run(const struct firmware_range *entries, uint32_t count, struct pfn from,
		     struct pfn limit, struct frame_range *run);

/* Normalises ENTRIES into RANGES (room for CAPACITY) and fills MAP, which refers to RANGES. Frames
 * at or above LIMIT are left out (RAM that the kernel cannot reach). Returns 0; KERR_TOO_SMALL when
 * CAPACITY does not suffice. Cost: O(n^2) in entries, no memory besides RANGES. Context: boot, one
 * CPU. */
int memmap_normalise(const struct firmware_range *entries, uint32_t count, struct pfn limit,
		     struct frame_range *ranges, uint32_t capacity,
		     struct memmap *map) KERR_MUST_CHECK;

/* Takes [first, first + frames) out of a normalised map in place, splitting a range where needed;
 * frames that the map does not hold are passed over. Returns 0, or KERR_TOO_SMALL when a split has
 * no room. */
int memmap_remove(struct frame_range *ranges, uint32_t capacity, struct memmap *map,
		  struct frame_range taken) KERR_MUST_CHECK;

/* The range that holds the frame, NULL when none does. Cost: O(log ranges). */
const struct frame_range *memmap_find(const struct memmap *map, struct pfn frame);

/* Whether every frame of [first, first + frames) is the map's; FRAMES > 0. Because ranges do not
 * touch, such a run lies in one of them. Cost: O(log ranges). */
bool memmap_holds(const struct memmap *map, struct pfn first, uint64_t frames);

/* The range with the most frames, the lowest of equals; empty for an empty map. Most of a machine's
 * frames lie in it, so that allocators look there before they search. Cost: O(ranges). */
struct frame_range memmap_largest(const struct memmap *map);

/* Whether the map is what memmap_normalise() promises: for checkers. Cost: O(ranges). */
bool memmap_is_sound(const struct memmap *map);

#endif
