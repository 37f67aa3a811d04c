/*
 * snapshot.h - what the kernel says about its memory at a moment, in the files that
 * workloads/import/ground_truth.h reads.
 */
#ifndef KMEMLAB_WORKLOADS_RECORD_SNAPSHOT_H
#define KMEMLAB_WORKLOADS_RECORD_SNAPSHOT_H

#include "workloads/record/tracefs.h"

struct snapshots;

/* FOLDER is made. PROC: NULL for /proc. NULL with error. */
struct snapshots *snapshots_new(const char *folder, const char *proc, GError **error);
void snapshots_free(struct snapshots *snapshots);
/* Takes the next one, with a marker before and behind each file. */
bool snapshots_take(struct snapshots *snapshots, struct tracer *tracer, GError **error);
/* The machine: its memory map, its kernel's name; COMMAND: what is recorded. */
bool snapshots_machine(struct snapshots *snapshots, const char *command, GError **error);

#endif
