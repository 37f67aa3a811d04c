/*
 * ground_truth.h - what the recorded machine said about itself: its memory map, how much it held
 * and where when the recording began, and the snapshots of its /proc files.
 *
 * Files used, all optional (data/traces/README.md describes them):
 *   dmesg-memory.txt               E820 lines: the memory map
 *   snapshots.txt                  "=== SNAP <n> <file> ..." lines, each before the file as read
 *   kpageflags.0000.bin, .ranges   flags of each frame at snapshot 0
 *   state/before/zoneinfo, version, and command.txt
 *
 * Free at event 0. Snapshot 0 lies a little behind event 0, and its files are read one after the
 * other. With the recording's "SNAP 0 <file> begin" markers the counts are carried back: buddyinfo
 * (exact) is brought forward to the reading of zoneinfo by the buddy's story, and what the owners
 * took until then is given back. Frames on per-CPU lists are not free there, as MemFree sees it:
 * the free frames of a replay then differ from MemFree by what those lists have grown.
 *
 * Untouched. A usable frame that the recording never shows in any owner's hand or on its way to the
 * lists, and that was no buddy block at snapshot 0, was held all the time: by the kernel's image
 * and its memory map, by firmware, or by somebody who kept it. (Frames that sat on a per-CPU list
 * from before event 0 until after the last event are taken for held; there are a few dozen at
 * most.)
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_GROUND_TRUTH_H
#define KMEMLAB_WORKLOADS_IMPORT_GROUND_TRUTH_H

#include <glib.h>
#include <stdbool.h>
#include "workloads/event.h"
#include "workloads/trace.h"

struct ground_truth;
struct owners;

/* PATH: folder or tar. NULL with TRACE_ERROR_IO or TRACE_ERROR_FORMAT. */
struct ground_truth *ground_truth_load(const char *path, GError **error);
void ground_truth_free(struct ground_truth *truth);
/* The file that a marker announces ("SNAP 3 buddyinfo begin") under the name that its attachment
 * gets, "SNAP 3 buddyinfo". NULL if the marker announces none. */
GBytes *ground_truth_announced(const struct ground_truth *truth, const char *marker, char **name);
/* A file of a snapshot, for recordings without markers. */
struct ground_truth_snapshot {
	char *name;	   /* "3 buddyinfo" */
	uint64_t clock_ns; /* CLOCK_MONOTONIC before it was read */
};
/* The INDEX-th of those that say when they were read, in the order of their times; NULL behind the
 * last one. */
const struct ground_truth_snapshot *ground_truth_snapshot(const struct ground_truth *truth,
							  guint index);
/* Told every event of the trace in order. MARKER is the text of EVENT_MARKER, otherwise NULL;
 * HELD_FRAMES what owners_held_frames() says. */
void ground_truth_observe(struct ground_truth *truth, const struct event *event, const char *marker,
			  int64_t held_frames);
/* After the last event: fills the machine and the state of META. META->memory_map is used if it is
 * there already. */
bool ground_truth_fill(struct ground_truth *truth, const struct owners *owners,
		       struct trace_meta *meta, GError **error);

#endif
