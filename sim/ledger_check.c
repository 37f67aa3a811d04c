/*
 * ledger_check.c - every figure of the ledger again, from ledger_owner() alone, frame by frame;
 * then the trees' own invariants. Naive on purpose.
 */
#include "sim/ledger_private.h"

#include <glib.h>
#include <string.h>

/* What the owners say. */
struct census {
	struct ledger_totals totals;
	uint64_t longest;
	uint64_t run;	     /* free frames up to here */
	GHashTable *handles; /* handle -> frames */
};

static void end_run(struct census *census)
{
	unsigned bin = 0;

	if (census->run == 0)
		return;
	while (bin < LEDGER_RUN_BINS - 1 && census->run >> (bin + 1))
		bin++;
	census->totals.run_bins[bin]++;
	census->totals.free_runs++;
	census->longest = MAX(census->longest, census->run);
	census->run = 0;
}

static void count_frame(struct census *census, uint64_t frame, uint32_t owner)
{
	struct ledger_totals *totals = &census->totals;
	gpointer handle = GUINT_TO_POINTER(owner);

	totals->usable_frames += owner != LEDGER_HOLE;
	if (owner != LEDGER_FREE) {
		end_run(census);
		totals->live_frames += owner >= LEDGER_HANDLE_BASE;
		totals->reserved_frames += owner != LEDGER_HOLE && owner < LEDGER_HANDLE_BASE;
		if (owner >= LEDGER_HANDLE_BASE)
			g_hash_table_insert(census->handles, handle,
					    GUINT_TO_POINTER(GPOINTER_TO_UINT(g_hash_table_lookup(
								     census->handles, handle)) +
							     1));
		return;
	}
	totals->free_frames++;
	census->run++;
	/* The block of each order that ends with this frame, if it is aligned and free. */
	for (unsigned order = 0; order < LEDGER_ALL_ORDERS; order++)
		totals->full[order] +=
			(frame + 1) % (1ull << order) == 0 && census->run >= 1ull << order;
}

static bool region_holds(const struct ledger *ledger, uint64_t index, struct census *census)
{
	struct ledger_region seen = { 0 };
	unsigned mobilities = 0;

	for (uint64_t i = 0; i < LEDGER_REGION_FRAMES; i++) {
		uint64_t frame = index * LEDGER_REGION_FRAMES + i;
		uint32_t owner = ledger_owner(ledger, frame);

		seen.used += owner != LEDGER_FREE;
		seen.holes += owner == LEDGER_HOLE;
		seen.live += owner >= LEDGER_HANDLE_BASE;
		if (owner > LEDGER_FREE)
			seen.mobility[ledger->words[frame] >> LEDGER_MOBILITY_SHIFT]++;
	}
	for (unsigned i = 0; i < EVENT_MOBILITIES; i++)
		mobilities += seen.mobility[i] > 0;
	census->totals.mixed_regions += mobilities > 1;
	census->totals.unmovable_regions += seen.mobility[MOBILITY_UNMOVABLE] > 0;
	if (seen.holes < LEDGER_REGION_FRAMES) {
		census->totals.regions++;
		census->totals.region_level[ledger_region_level(&seen)]++;
	}
	return !ledger_region_present(ledger, index) ||
	       !memcmp(&seen, &ledger->regions[index], sizeof(seen));
}

static bool handles_hold(const struct ledger *ledger, const struct census *census)
{
	GHashTableIter iter;
	gpointer owner, frames;

	g_hash_table_iter_init(&iter, census->handles);
	while (g_hash_table_iter_next(&iter, &owner, &frames))
		if (ledger->handle_frames[GPOINTER_TO_UINT(owner) - LEDGER_HANDLE_BASE] !=
		    GPOINTER_TO_UINT(frames))
			return false;
	return ledger->totals.live_handles == g_hash_table_size(census->handles);
}

static bool set_holds(const struct frame_set *set)
{
	for (unsigned level = 1; level < set->levels; level++)
		for (uint64_t i = 0; i < set->counts[level - 1]; i++) {
			uint64_t below =
				level == 1 ? frame_set_word(set, i) : set->words[level - 1][i];

			if ((set->words[level][i / 64] >> (i % 64) & 1) != (below != 0))
				return false;
		}
	return true;
}

static const char *compare(struct ledger *ledger, const struct census *census)
{
	const struct ledger_totals *have = &ledger->totals, *want = &census->totals;

	if (have->free_frames != want->free_frames || have->live_frames != want->live_frames ||
	    have->reserved_frames != want->reserved_frames ||
	    have->usable_frames != want->usable_frames ||
	    have->usable_frames != have->free_frames + have->live_frames + have->reserved_frames)
		return "L2: free, live, reserved or usable frames";
	if (memcmp(have->full, want->full, sizeof(have->full)))
		return "L3: free blocks by order";
	if (have->free_runs != want->free_runs ||
	    memcmp(have->run_bins, want->run_bins, sizeof(have->run_bins)))
		return "L4: free runs";
	if (have->regions != want->regions || have->mixed_regions != want->mixed_regions ||
	    have->unmovable_regions != want->unmovable_regions ||
	    memcmp(have->region_level, want->region_level, sizeof(have->region_level)))
		return "L5: counts of regions";
	if (!handles_hold(ledger, census))
		return "L6: frames of a handle";
	if (ledger_largest_run(ledger) != census->longest)
		return "L7: longest free run";
	return NULL;
}

const char *ledger_check(struct ledger *ledger)
{
	struct census census = { .handles = g_hash_table_new(NULL, NULL) };
	const char *broken = NULL;

	if (!set_holds(&ledger->used))
		broken = "S1: a summary bit of the set of used frames";
	for (uint64_t i = 0; i < ledger_region_count(ledger); i++)
		if (!region_holds(ledger, i, &census) && !broken)
			broken = "L5: a region's record";
	for (uint64_t frame = 0; frame < ledger->totals.ram_frames; frame++)
		count_frame(&census, frame, ledger_owner(ledger, frame));
	end_run(&census);
	if (!broken)
		broken = compare(ledger, &census);
	g_hash_table_destroy(census.handles);
	return broken;
}
