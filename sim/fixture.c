#include "sim/fixture.h"

#include <math.h>
#include <string.h>

#include "alloc/addr.h"
#include "sim/fragmentation.h"
#include "sim/random.h"
#include "workloads/event.h"

/* A number that the frame (or the block of an order) and the seed decide. */
static uint64_t draw(uint64_t number, uint64_t seed, uint64_t salt)
{
	return random_mix(random_mix(number ^ salt << 56) ^ random_mix(seed + 0x9e3779b97f4a7c15));
}

/* True once in N draws. */
static bool one_in(uint64_t n, uint64_t number, uint64_t seed, uint64_t salt)
{
	return draw(number, seed, salt) % n == 0;
}

static bool held_never(uint64_t frame, uint64_t seed)
{
	return false;
}

static bool held_one_per_region(uint64_t frame, uint64_t seed)
{
	uint64_t region = frame / LEDGER_REGION_FRAMES;

	return frame % LEDGER_REGION_FRAMES == draw(region, seed, 1) % LEDGER_REGION_FRAMES;
}

static bool held_half(uint64_t frame, uint64_t seed)
{
	return one_in(2, frame, seed, 2);
}

static bool held_odd(uint64_t frame, uint64_t seed)
{
	return frame & 1;
}

static bool held_most(uint64_t frame, uint64_t seed)
{
	return !one_in(16, frame, seed, 3);
}

/* ---- aged-desktop ---- */

/*
 * A quarter of RAM is free, in blocks whose orders are shared out as a recorded Linux had them: the
 * free blocks of orders 0 to 10 in /proc/buddyinfo (zones added up) after a program had been built,
 * last snapshot of the recording compile-page.
 *
 * Block by block from the largest order down: an aligned block that lies in no free one is free
 * with the probability that gives its order's share; of two buddies that would both be free one is
 * not, or they would be a block of the next order.
 */
static const uint64_t recorded_blocks[LEDGER_ORDERS] = { 111, 150, 184, 303, 180, 68,
							 23,  18,  5,	5,   1 };
#define AGED_FREE 0.25

/* Draws below it make a block of that order free. */
static uint64_t thresholds[LEDGER_ORDERS];

static void find_thresholds(void)
{
	static gsize once;
	double frames = 0, left = 1;

	if (!g_once_init_enter(&once))
		return;
	for (unsigned order = 0; order < LEDGER_ORDERS; order++)
		frames += (double)(recorded_blocks[order] << order);
	for (unsigned order = LEDGER_ORDERS; order-- > 0;) {
		double share = AGED_FREE * (double)(recorded_blocks[order] << order) / frames;
		double wanted = share / left;
		/* p - p^2 / 2 of the blocks remain when one of each two free buddies goes. */
		double p = order + 1 < LEDGER_ORDERS ? 1 - sqrt(1 - 2 * wanted) : wanted;
		thresholds[order] = (uint64_t)(p * 0x1p32);
		left -= share;
	}
	g_once_init_leave(&once, 1);
}

static bool block_drawn(uint64_t block, unsigned order, uint64_t seed)
{
	return draw(block, seed, 16 + order) >> 32 < thresholds[order];
}

static bool held_aged(uint64_t frame, uint64_t seed)
{
	find_thresholds();
	for (unsigned order = LEDGER_ORDERS; order-- > 0;) {
		uint64_t block = frame >> order, buddy = block ^ 1;
		bool alone = order + 1 == LEDGER_ORDERS || !block_drawn(buddy, order, seed) ||
			     draw(block, seed, 32) < draw(buddy, seed, 32);
		if (block_drawn(block, order, seed) && alone)
			return false;
	}
	return true;
}

/* ---- mobility ---- */

static uint8_t unmovable(uint64_t frame, uint64_t seed)
{
	return MOBILITY_UNMOVABLE;
}

static uint8_t movable(uint64_t frame, uint64_t seed)
{
	return MOBILITY_MOVABLE;
}

/* By 2 MiB, as page blocks have it, and one frame in 64 a stranger to its block. */
static uint8_t mixed(uint64_t frame, uint64_t seed)
{
	uint64_t region = frame / LEDGER_REGION_FRAMES, eighth = draw(region, seed, 4) % 8;

	if (one_in(64, frame, seed, 5))
		return MOBILITY_UNMOVABLE;
	return eighth == 0   ? MOBILITY_UNMOVABLE
	       : eighth == 1 ? MOBILITY_RECLAIMABLE
			     : MOBILITY_MOVABLE;
}

const struct fixture fixtures[] = {
	{ "empty", "nothing is held", held_never, movable },
	{ "one-per-2M",
	  "one unmovable frame somewhere in every 2 MiB: all but free, and no huge page",
	  held_one_per_region, unmovable },
	{ "half-random", "every other frame by chance, movable", held_half, movable },
	{ "checkerboard", "every odd frame, movable: half is free, and no two frames together",
	  held_odd, movable },
	{ "cache-filled", "15 frames of 16 by chance, movable: a page cache that fills RAM",
	  held_most, movable },
	{ "aged-desktop",
	  "a quarter free, in blocks of the orders that a recorded Linux had free; three "
	  "mobilities",
	  held_aged, mixed },
	{ NULL, NULL, NULL, NULL },
};

const struct fixture *fixture_find(const char *name)
{
	for (const struct fixture *fixture = fixtures; fixture->name; fixture++)
		if (strcmp(fixture->name, name) == 0)
			return fixture;
	return NULL;
}

/* ---- on a machine ---- */

static void hold_range(const struct fixture *fixture, uint64_t seed, struct ledger *ledger,
		       const struct frame_range *range)
{
	struct ledger_finding finding;

	for (uint64_t i = 0; i < range->frames; i++) {
		uint64_t frame = range->first.n + i;
		if (fixture->held(frame, seed))
			ledger_take(ledger, frame, 1, 1, 1, LEDGER_UNTOUCHED,
				    fixture->mobility(frame, seed), &finding);
	}
}

struct ledger *fixture_ledger(const struct fixture *fixture, const GArray *usable,
			      uint64_t ram_frames, uint64_t seed)
{
	struct ledger *ledger = ledger_new(ram_frames);

	for (guint i = 0; ledger && i < usable->len; i++) {
		const struct frame_range *range = &g_array_index(usable, struct frame_range, i);
		ledger_assign(ledger, range->first.n, range->frames, LEDGER_FREE);
	}
	for (guint i = 0; ledger && i < usable->len; i++)
		hold_range(fixture, seed, ledger, &g_array_index(usable, struct frame_range, i));
	return ledger;
}

bool fixture_compare(const struct fixture *fixture, const GArray *usable, uint64_t seed,
		     const struct ledger *real, struct fixture_reached *reached)
{
	struct ledger *target =
		fixture_ledger(fixture, usable, ledger_totals(real)->ram_frames, seed);
	uint64_t wanted[LEDGER_ORDERS], got[LEDGER_ORDERS];

	if (!target)
		return false;
	metrics_free_blocks(target, wanted);
	metrics_free_blocks(real, got);
	*reached = (struct fixture_reached){
		.target_hash = ledger_free_hash(target),
		.reached_hash = ledger_free_hash(real),
		.target_free_frames = ledger_totals(target)->free_frames,
		.reached_free_frames = ledger_totals(real)->free_frames,
		.distance = metrics_distance(wanted, got),
	};
	for (guint i = 0; i < usable->len; i++) {
		const struct frame_range *range = &g_array_index(usable, struct frame_range, i);
		for (uint64_t k = 0; k < range->frames; k++) {
			uint64_t frame = range->first.n + k;
			bool free = ledger_owner(real, frame) == LEDGER_FREE;
			bool wanted_free = ledger_owner(target, frame) == LEDGER_FREE;
			reached->missing_frames += free && !wanted_free;
			reached->extra_frames += !free && wanted_free;
		}
	}
	ledger_free(target);
	return true;
}
