/*
 * regions.h - address spaces inferred from faults.
 *
 * A recording of page_fault_user has no mmap events. The regions of a process are inferred from all
 * of its faults (architecture.md, "Inferred regions"): touched pages joined over gaps of up to 128
 * KiB, rights the union of the accesses. That needs the whole recording, so the first pass collects
 * and the second one is told, before each touch, which region must be there.
 *
 * A process is a series of spaces: fork copies one, exec begins an empty one. Spaces that come from
 * each other by fork are a family and share one inference, so that a child's touch of memory that
 * it inherited falls into a region which the parent has too. Threads cannot be told from processes
 * in sched_process_fork; each gets a space of its family.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_REGIONS_H
#define KMEMLAB_WORKLOADS_IMPORT_REGIONS_H

#include <stdbool.h>
#include <stdint.h>

struct regions;

struct region {
	uint64_t address; /* of its first page */
	uint64_t bytes;
	uint32_t rights; /* enum event_right bits */
};

struct regions *regions_new(void);
void regions_free(struct regions *regions);

/* Both passes, in the recording's order. */
void regions_fork(struct regions *regions, uint32_t parent, uint32_t child);
void regions_exec(struct regions *regions, uint32_t pid);
void regions_exit(struct regions *regions, uint32_t pid);
/* First pass. */
void regions_touch(struct regions *regions, uint32_t pid, uint64_t address, uint32_t access);
/* Between the passes. */
void regions_seal(struct regions *regions);
/* Second pass: the region that PID's space lacks for a touch of ADDRESS; it counts as mapped from
 * then on. Returns false if it is there already. */
bool regions_missing(struct regions *regions, uint32_t pid, uint64_t address, struct region *out);

#endif
