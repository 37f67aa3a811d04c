#include "sim/ledger_private.h"

#include <glib.h>

struct cell {
	uint64_t usable, live, reserved;
};

static void add_regions(const struct ledger *ledger, uint64_t first, uint64_t end,
			struct cell *cell)
{
	for (uint64_t i = first; i < end; i++) {
		const struct ledger_region *region = &ledger->regions[i];

		if (!ledger_region_present(ledger, i))
			continue;
		cell->usable += ledger_region_usable(region);
		cell->live += region->live;
		cell->reserved += (uint64_t)(region->used - region->holes - region->live);
	}
}

/* 64 frames or, at the end of RAM, fewer; no branch depends on an owner. */
static void add_word(const struct ledger *ledger, uint64_t first, uint64_t end, struct cell *cell)
{
	uint64_t used = frame_set_word(&ledger->used, first / 64);
	uint64_t live = 0, reserved = 0, free = 0;

	for (uint64_t i = 0; i < end - first; i++) {
		uint32_t owner = ledger->words[first + i] & LEDGER_OWNER_MAX;
		uint64_t taken = used >> i & 1;

		free += !taken;
		live += taken & (owner >= LEDGER_HANDLE_BASE);
		reserved += taken & (owner - LEDGER_STATE < LEDGER_HANDLE_BASE - LEDGER_STATE);
	}
	cell->usable += free + live + reserved;
	cell->live += live;
	cell->reserved += reserved;
}

static void add_frames(const struct ledger *ledger, uint64_t first, uint64_t end, struct cell *cell)
{
	for (; first < end; first += 64) {
		if (frame_set_word(&ledger->used, first / 64) == 0)
			cell->usable += 64;
		else if (ledger_region_present(ledger, first / LEDGER_REGION_FRAMES))
			add_word(ledger, first, MIN(first + 64, end), cell);
	}
}

void ledger_map(const struct ledger *ledger, uint64_t cell_frames, uint8_t *live, uint8_t *reserved)
{
	uint64_t ram_frames = ledger->totals.ram_frames;

	g_return_if_fail(cell_frames >= 64 && (cell_frames & (cell_frames - 1)) == 0);
	for (uint64_t i = 0; i * cell_frames < ram_frames; i++) {
		uint64_t first = i * cell_frames, end = MIN(first + cell_frames, ram_frames);
		struct cell cell = { 0, 0, 0 };

		if (cell_frames < LEDGER_REGION_FRAMES)
			add_frames(ledger, first, end, &cell);
		else
			add_regions(ledger, first / LEDGER_REGION_FRAMES,
				    (end + LEDGER_REGION_FRAMES - 1) / LEDGER_REGION_FRAMES, &cell);
		live[i] = cell.usable ? (uint8_t)(cell.live * 250 / cell.usable) : 255;
		reserved[i] = cell.usable ? (uint8_t)(cell.reserved * 250 / cell.usable) : 255;
	}
}

/* A bijection that spreads each bit over the word (the finaliser of splitmix64). */
static uint64_t mix(uint64_t value)
{
	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
	value = (value ^ value >> 27) * 0x94d049bb133111eb;
	return value ^ value >> 31;
}

/* A sum over words of level 0 that are not wholly used, 4096 wholly free frames counting as one:
 * what is added depends on the free set alone. */
uint64_t ledger_free_hash(const struct ledger *ledger)
{
	const struct frame_set *used = &ledger->used;
	uint64_t hash = mix(ledger->totals.free_frames);

	for (uint64_t i = 0; i < used->counts[1]; i++) {
		if (used->words[1][i] == 0) {
			hash += mix(~i);
			continue;
		}
		for (uint64_t word = i * 64; word < i * 64 + 64 && word < used->counts[0]; word++) {
			uint64_t free = ~frame_set_word(used, word);

			if (free)
				hash += mix(mix(word + 1) ^ free);
		}
	}
	return hash;
}
