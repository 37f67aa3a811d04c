/*
 * walk_list.h - everything that a machine's page tables map, in the format of the QEMU monitor:
 * `info mem` (ranges of equal rights) and `info tlb` (leaf entries).
 *
 * The rules are QEMU's, so that the two can be compared by diff, and not the processor's: reserved
 * bits are not checked, a not-executable page is no range of its own, `info tlb` shows the leaf's
 * flags alone, and 32-bit addresses are printed with 16 digits.
 */
#ifndef KMEMLAB_SIM_WALK_LIST_H
#define KMEMLAB_SIM_WALK_LIST_H

#include <stdio.h>

#include "sim/walk_machine.h"

/* Tables read, and lines printed, before a listing is given up: the tables loop. As 4 KiB pages
 * they are 2 TiB and 256 GiB. */
#define WALK_TABLES_MAX	 (1u << 20)
#define WALK_ENTRIES_MAX (1u << 26)

struct walk_list_result {
	GHashTable *missing; /* frame numbers (g_int64_hash) of tables that the file lacks */
	bool looped;	     /* given up */
};

/* Frames that are missing count as empty tables. */
struct walk_list_result walk_list_ranges(const struct walk_machine *machine, FILE *to);
struct walk_list_result walk_list_entries(const struct walk_machine *machine, FILE *to);

#endif
