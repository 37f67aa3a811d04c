/*
 * rig.h - a machine with address spaces that a test drives by hand, and TLBs so large that they
 * evict nothing: what is cached is what was used and not invalidated.
 */
#ifndef KMEMLAB_TESTS_SPACE_RIG_H
#define KMEMLAB_TESTS_SPACE_RIG_H

#include "sim/machine.h"
#include "sim/space_lab.h"

struct rig_config {
	const char *tables, *spaces, *mode; /* as `kmemlab check` takes them */
	const char *setting;		    /* NULL, or some of tables. and space. */
	const char *frames;		    /* NULL: buddy */
	const char *layout;		    /* NULL: classic */
	uint64_t ram_bytes;		    /* 0: 32 MiB */
	bool highmem;			    /* i386: RAM beyond the direct map, zoned-buddy */
	unsigned cpus;			    /* 0: 1 */
	bool large_tlb;
	unsigned tlb_sets;     /* of 8 ways, with large_tlb; 0: 256 */
	bool no_pse;	       /* 32-bit mode without large pages */
	enum kernel_pass pass; /* probed: what the kernel does goes through the TLBs too */
};

struct rig {
	struct machine_config *config;
	struct machine *machine;
	struct ledger *ledger;
	struct space_lab lab;
	struct space_choice choice;
	uint64_t reports, stale;
	char first[200]; /* report */
	uint64_t free_at_start;
};

/* Aborts the test where the systems are refused. */
struct rig *rig_new(const struct rig_config *config);
void rig_free(struct rig *rig);
/* Runs FN as kernel code; fails the test when it dies. */
void rig_run(struct rig *rig, void (*fn)(struct rig *rig, void *context), void *context);
/* The same, and it may die. True: it returned. */
bool rig_try(struct rig *rig, void (*fn)(struct rig *rig, void *context), void *context);
/* All gone, nothing leaked, nothing reported. */
void rig_expect_clean(struct rig *rig);
void rig_stop(struct rig *rig);

/* One touch of 8 bytes by user code. */
enum space_touch rig_touch(struct rig *rig, struct space *space, uint64_t va, unsigned kind,
			   uint64_t *value);

#endif
