/*
 * memmap.c - one sweep over the firmware's entries, from the lowest address to the highest.
 *
 *   usable     |-------------|      |---------|
 *   usable           |------------------|
 *   claimed               |---|                     any other type
 *   run        |=========|    |================|
 *
 * The sweep works in bytes, so that two usable entries which meet inside a frame give that frame,
 * and rounds to whole frames at the end. It keeps nothing but its position: the next run begins at
 * the lowest usable byte that no claim covers, and ends where usable entries stop overlapping or a
 * claim begins. Each step looks at every entry once, and each step passes an end of some entry:
 * O(n^2), for n of a few dozen.
 */
#include "alloc/memmap.h"
#include "alloc/port.h"

/* The very last byte of the address space falls off; no processor has physical memory there. */
static uint64_t entry_end(const struct firmware_range *e)
{
	return e->bytes > UINT64_MAX - e->base ? UINT64_MAX : e->base + e->bytes;
}

static bool entry_is_usable(const struct firmware_range *e)
{
	return e->type == MEMMAP_USABLE && e->bytes;
}

static bool entry_is_claim(const struct firmware_range *e)
{
	return e->type != MEMMAP_USABLE && e->bytes;
}

/* The lowest byte at or above AT that a usable entry covers. */
static bool next_usable_byte(const struct firmware_range *entries, uint32_t count, uint64_t *at)
{
	bool found = false;
	uint64_t best = UINT64_MAX;

	for (uint32_t i = 0; i < count; i++) {
		const struct firmware_range *e = &entries[i];

		if (!entry_is_usable(e) || entry_end(e) <= *at)
			continue;
		uint64_t byte = e->base > *at ? e->base : *at;

		if (!found || byte < best)
			best = byte;
		found = true;
	}
	if (found)
		*at = best;
	return found;
}

/* Moves *AT behind the claims that cover it. Returns whether it moved. */
static bool skip_claims(const struct firmware_range *entries, uint32_t count, uint64_t *at)
{
	bool moved = false;

	for (uint32_t i = 0; i < count; i++) {
		const struct firmware_range *e = &entries[i];

		if (entry_is_claim(e) && e->base <= *at && *at < entry_end(e)) {
			*at = entry_end(e);
			moved = true;
		}
	}
	return moved;
}

/* End of the run that begins at START, a usable byte that nobody claims. */
static uint64_t run_end(const struct firmware_range *entries, uint32_t count, uint64_t start)
{
	uint64_t stop = UINT64_MAX, end = start;
	bool grown = true;

	for (uint32_t i = 0; i < count; i++)
		if (entry_is_claim(&entries[i]) && entries[i].base > start &&
		    entries[i].base < stop)
			stop = entries[i].base;
	while (grown && end < stop) {
		grown = false;
		for (uint32_t i = 0; i < count; i++) {
			const struct firmware_range *e = &entries[i];

			if (entry_is_usable(e) && e->base <= end && entry_end(e) > end) {
				end = entry_end(e);
				grown = true;
			}
		}
	}
	return end < stop ? end : stop;
}

bool memmap_next_run(const struct firmware_range *entries, uint32_t count, struct pfn from,
		     struct pfn limit, struct frame_range *run)
{
	if (from.n == 0)
		from.n = 1; /* frame 0 is never given out */
	if (from.n >= limit.n || from.n > UINT64_MAX >> X86_PAGE_SHIFT)
		return false;
	uint64_t at = pfn_to_paddr(from).a;

	while (next_usable_byte(entries, count, &at)) {
		if (skip_claims(entries, count, &at))
			continue;
		uint64_t end = run_end(entries, count, at);
		uint64_t first_frame = frames_for_bytes(at), end_frame = end >> X86_PAGE_SHIFT;

		if (end_frame > limit.n)
			end_frame = limit.n;
		if (first_frame < end_frame) {
			*run = (struct frame_range){ pfn(first_frame), end_frame - first_frame };
			return true;
		}
		at = end;
	}
	return false;
}

/* Makes the map's sums agree with its ranges. */
static void summarise(struct memmap *map)
{
	map->frames = 0;
	map->first = map->end = pfn(0);
	for (uint32_t i = 0; i < map->count; i++)
		map->frames += map->ranges[i].frames;
	if (map->count) {
		const struct frame_range *last = &map->ranges[map->count - 1];

		map->first = map->ranges[0].first;
		map->end = pfn_add(last->first, last->frames);
	}
}

int memmap_normalise(const struct firmware_range *entries, uint32_t count, struct pfn limit,
		     struct frame_range *ranges, uint32_t capacity, struct memmap *map)
{
	struct frame_range run;
	struct pfn from = pfn(0);
	uint32_t n = 0;

	while (memmap_next_run(entries, count, from, limit, &run)) {
		if (n == capacity)
			return KERR_TOO_SMALL;
		ranges[n++] = run;
		from = pfn_add(run.first, run.frames);
	}
	map->ranges = ranges;
	map->count = n;
	summarise(map);
	return 0;
}

/* Both parts of range I that stay when [first, end) goes from its middle. */
static void split_range(struct frame_range *ranges, struct memmap *map, uint32_t i, uint64_t first,
			uint64_t end)
{
	uint64_t old_end = ranges[i].first.n + ranges[i].frames;

	memmove(&ranges[i + 1], &ranges[i], (map->count - i) * sizeof(*ranges));
	map->count++;
	ranges[i].frames = first - ranges[i].first.n;
	ranges[i + 1] = (struct frame_range){ pfn(end), old_end - end };
}

int memmap_remove(struct frame_range *ranges, uint32_t capacity, struct memmap *map,
		  struct frame_range taken)
{
	uint64_t first = taken.first.n;
	uint64_t end = taken.frames > UINT64_MAX - first ? UINT64_MAX : first + taken.frames;
	uint32_t i = 0;

	while (i < map->count && first < end) {
		uint64_t r_first = ranges[i].first.n, r_end = r_first + ranges[i].frames;

		if (r_end <= first || end <= r_first) {
			i++;
		} else if (r_first < first && end < r_end) {
			if (map->count == capacity)
				return KERR_TOO_SMALL;
			split_range(ranges, map, i, first, end);
			break;
		} else if (first <= r_first && r_end <= end) {
			map->count--;
			memmove(&ranges[i], &ranges[i + 1], (map->count - i) * sizeof(*ranges));
		} else if (r_first < first) {
			ranges[i++].frames = first - r_first;
		} else {
			ranges[i] = (struct frame_range){ pfn(end), r_end - end };
			i++;
		}
	}
	summarise(map);
	return 0;
}

const struct frame_range *memmap_find(const struct memmap *map, struct pfn frame)
{
	uint32_t low = 0, high = map->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct frame_range *r = &map->ranges[middle];

		if (frame.n < r->first.n)
			high = middle;
		else if (frame.n - r->first.n >= r->frames)
			low = middle + 1;
		else
			return r;
	}
	return NULL;
}

bool memmap_holds(const struct memmap *map, struct pfn first, uint64_t frames)
{
	const struct frame_range *r = memmap_find(map, first);

	return r && frames <= r->frames - (first.n - r->first.n);
}

struct frame_range memmap_largest(const struct memmap *map)
{
	struct frame_range largest = { .frames = 0 };

	for (uint32_t i = 0; i < map->count; i++)
		if (map->ranges[i].frames > largest.frames)
			largest = map->ranges[i];
	return largest;
}

bool memmap_is_sound(const struct memmap *map)
{
	uint64_t frames = 0, end = 0;

	for (uint32_t i = 0; i < map->count; i++) {
		const struct frame_range *r = &map->ranges[i];

		/* `<=` also demands a gap, and that frame 0 is in no range. */
		if (r->first.n <= end && (i || r->first.n == 0))
			return false;
		if (!r->frames || r->frames > UINT64_MAX - r->first.n)
			return false;
		end = r->first.n + r->frames;
		frames += r->frames;
	}
	return frames == map->frames && end == map->end.n &&
	       map->first.n == (map->count ? map->ranges[0].first.n : 0);
}
