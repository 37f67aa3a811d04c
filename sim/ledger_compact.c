/* What it would take to compact RAM, and how much of it is handed out whole. */
#include "sim/ledger_private.h"

#include <glib.h>

struct region_count {
	uint16_t free, used; /* of usable frames; used: live and reserved */
	bool pinned;
};

/* Those that may not be emptied first, then by free frames, the fullest first. */
static int fullest_first(const void *a, const void *b)
{
	const struct region_count *x = a, *y = b;

	if (x->pinned != y->pinned)
		return x->pinned ? -1 : 1;
	return (int)x->free - (int)y->free;
}

static GArray *count_regions(const struct ledger *ledger, bool pin)
{
	GArray *counts = g_array_new(FALSE, FALSE, sizeof(struct region_count));

	for (uint64_t i = 0; i < ledger_region_count(ledger); i++) {
		const struct ledger_region *region = &ledger->regions[i];
		if (!ledger_region_present(ledger, i) || ledger_region_usable(region) == 0)
			continue;
		struct region_count count = {
			.free = (uint16_t)(LEDGER_REGION_FRAMES - region->used),
			.used = (uint16_t)(region->used - region->holes),
			.pinned = pin && region->mobility[MOBILITY_UNMOVABLE] > 0,
		};
		/* Nothing to fill and nothing to empty: most of a large, free RAM. */
		if (count.used)
			g_array_append_val(counts, count);
	}
	g_array_sort(counts, fullest_first);
	return counts;
}

uint64_t ledger_compaction_moves(const struct ledger *ledger, bool pin_unmovable)
{
	GArray *counts = count_regions(ledger, pin_unmovable);
	struct region_count *count = (struct region_count *)(void *)counts->data;
	uint64_t moves = 0;
	guint left = 0, right = counts->len;

	while (left + 1 < right && !count[right - 1].pinned) {
		struct region_count *to = &count[left], *from = &count[right - 1];
		uint16_t moved = MIN(to->free, from->used);
		moves += moved;
		to->free = (uint16_t)(to->free - moved);
		from->used = (uint16_t)(from->used - moved);
		if (from->used == 0)
			right--;
		else
			left++;
	}
	g_array_unref(counts);
	return moves;
}

uint64_t ledger_live_regions(const struct ledger *ledger)
{
	uint64_t regions = 0;

	for (uint64_t i = 0; i < ledger_region_count(ledger); i++)
		regions += ledger_region_present(ledger, i) &&
			   ledger->regions[i].live == LEDGER_REGION_FRAMES;
	return regions;
}
