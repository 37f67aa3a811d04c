/*
 * snapshot.h - what a recorded Linux said of its memory: the texts of /proc/buddyinfo, meminfo and
 * zoneinfo (formats: mm/vmstat.c, fs/proc/meminfo.c) as a trace carries them.
 */
#ifndef KMEMLAB_SIM_SNAPSHOT_H
#define KMEMLAB_SIM_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/ledger.h"

#define SNAPSHOT_ZONES	    64
#define SNAPSHOT_NAME_BYTES 16

/* Figures of files that were not parsed are 0. */
struct snapshot_zone {
	unsigned node;
	char name[SNAPSHOT_NAME_BYTES];
	/* buddyinfo; blocks of orders above 10 count as so many of order 10. */
	uint64_t free_blocks[LEDGER_ORDERS];
	/* zoneinfo; frames on per-CPU lists are not among the free ones. */
	uint64_t free_frames, managed_frames, per_cpu_frames;
};

/* All zeroes is a snapshot of which nothing is known. */
struct snapshot {
	bool has_buddyinfo, has_meminfo, has_zoneinfo;
	uint64_t mem_free_frames; /* meminfo: MemFree */
	struct snapshot_zone all; /* the zones added up; no name */
	unsigned zone_count;
	struct snapshot_zone zones[SNAPSHOT_ZONES];
};

/* Adds what TEXT says, BYTES of the file of that NAME; other names say nothing. False: it is not
 * such a file, or damaged, in line *BAD_LINE (from 1 on; 0: something is missing at its end);
 * SNAPSHOT is as before. Any bytes are parsed safely. */
bool snapshot_parse(struct snapshot *snapshot, const char *name, const char *text, size_t bytes,
		    unsigned *bad_line);

#endif
