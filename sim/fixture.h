/*
 * fixture.h - named, fragmented states of RAM that any allocator can be started from.
 *
 * A fixture is a rule that says of each frame number whether it is held, and how movable it is;
 * with a seed it says so of other frames alike in number. It knows neither allocator nor memory
 * map, so that its free set on a machine (all usable frames that are not held) is one and the same
 * for all allocators, and has a hash.
 *
 * How an allocator is brought there (sim/replay_fixture.c): single frames are taken until there are
 * no more, and those that are not held go back, in 16 sweeps up through RAM, each frame in the one
 * that the seed says. A system that looks at mobility, and one that cannot free, is asked for each
 * held frame by number instead (FRAME_CAP_AT), in the same order. What it then misses is what its
 * own state, the page tables and its reserves have taken, and is reported (struct fixture_reached).
 */
#ifndef KMEMLAB_SIM_FIXTURE_H
#define KMEMLAB_SIM_FIXTURE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim/ledger.h"

struct fixture {
	const char *name;
	const char *summary; /* one line */
	bool (*held)(uint64_t frame, uint64_t seed);
	uint8_t (*mobility)(uint64_t frame,
			    uint64_t seed); /* of a held frame: enum event_mobility */
};

struct frame_ops;
/* LAB_ERROR_USAGE for systems that can do neither of it. */
bool fixture_can_reach(const struct fixture *fixture, const struct frame_ops *ops, GError **error);

/* Ends with name == NULL. */
extern const struct fixture fixtures[];
const struct fixture *fixture_find(const char *name); /* NULL: there is none */

/* The books of RAM in that state before anybody has booted there: USABLE (struct frame_range) is
 * free or held. NULL where the host has no address space. Cost: O(frames). */
struct ledger *fixture_ledger(const struct fixture *fixture, const GArray *usable,
			      uint64_t ram_frames, uint64_t seed);

/* How near an allocator came. */
struct fixture_reached {
	uint64_t target_hash, reached_hash; /* of the free sets (ledger_free_hash) */
	uint64_t target_free_frames, reached_free_frames;
	uint64_t missing_frames; /* held by the fixture, free here */
	uint64_t extra_frames;	 /* free in the fixture, not here */
	double distance;	 /* metric 23 */
};
/* Holds the REAL state against the fixture's. False where the host has no address space. */
bool fixture_compare(const struct fixture *fixture, const GArray *usable, uint64_t seed,
		     const struct ledger *real, struct fixture_reached *reached);

#endif
