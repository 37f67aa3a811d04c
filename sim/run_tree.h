/*
 * run_tree.h - the longest free run of a frame set, updated lazily: a change only marks the 2 MiB
 * region it fell into; asking costs O(regions marked since + their ancestors).
 *
 * A node covers 512 * 8^level frames and holds the free frames at its start, at its end, and its
 * longest run. A node that is wholly free has its bits in the set's upper levels clear and is not
 * stored; one that is wholly used is all zeroes, as untouched memory is.
 */
#ifndef KMEMLAB_SIM_RUN_TREE_H
#define KMEMLAB_SIM_RUN_TREE_H

#include "sim/frame_set.h"

#define RUN_TREE_LEVELS 10

struct run_summary {
	uint32_t prefix, suffix, best;
};

struct run_tree {
	const struct frame_set *set;
	unsigned levels;
	struct run_summary *nodes[RUN_TREE_LEVELS];
	uint64_t *dirty[RUN_TREE_LEVELS]; /* a bit a node; its ancestors' bits are set too */
	uint64_t counts[RUN_TREE_LEVELS];
};

/* For a SET just initialised (all used), which must outlive the tree. False where the host refuses
 * the address space; fini() is due all the same. */
bool run_tree_init(struct run_tree *tree, const struct frame_set *set);
void run_tree_fini(struct run_tree *tree);
/* In frames, 0 where nothing is free. */
uint64_t run_tree_longest(struct run_tree *tree);
/* Slow half of run_tree_touch(). */
void run_tree_mark(struct run_tree *tree, uint64_t region);

/* Frames of REGION changed. */
static inline void run_tree_touch(struct run_tree *tree, uint64_t region)
{
	if (!(tree->dirty[0][region / 64] >> (region % 64) & 1))
		run_tree_mark(tree, region);
}

#endif
