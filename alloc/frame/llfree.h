/*
 * llfree.h - what the files of F11 share: llfree.c (theory, slot), llfree_check.c (stats, walk,
 * check).
 */
#ifndef KMEMLAB_ALLOC_FRAME_LLFREE_H
#define KMEMLAB_ALLOC_FRAME_LLFREE_H

#include "alloc/bitops.h"
#include "alloc/frame/systems.h"

#define CHILD_ORDER   9u
#define CHILD_FRAMES  512u
#define CHILD_WORDS   (CHILD_FRAMES / BITS_PER_WORD)
#define TREE_CHILDREN 32u
#define TREE_FRAMES   (TREE_CHILDREN * CHILD_FRAMES)
#define WORD_ORDER    6u
#define MAX_ORDER     10u

#define CHILD_HUGE    0x8000u	  /* in a child's counter: handed out as a whole */
#define TREE_RESERVED 0x80000000u /* in a tree's counter: a CPU has it */
#define NO_TREE	      UINT32_MAX
#define NOT_FOUND     UINT64_MAX

struct llfree_shape {
	uint64_t base; /* frame number of bit 0: a multiple of a pair of children */
	uint64_t children, trees;
	uint64_t cpus;
	uint64_t trees_at, children_at, bits_at; /* bytes from the state's start */
	struct frame_range largest;
};

/* One CPU's, a cache line. */
struct llfree_cpu {
	uint64_t tree;	/* that it has reserved, or NO_TREE */
	uint64_t child; /* where it found something last: a hint */
	uint64_t hand;	/* half << 32 | frames | tag << 58 */
	uint64_t unused[5];
};

/* One tree's, a cache line. */
struct llfree_tree {
	uint32_t counter; /* free frames; TREE_RESERVED */
	uint32_t unused[15];
};

struct llfree {
	struct memmap map;
	struct llfree_shape shape;
	uint64_t header_sum; /* over the two above */
	struct llfree_cpu cpu[] __attribute__((aligned(64)));
};

/* What init makes of a map. */
struct llfree_shape llfree_shape_of(const struct memmap *map, uint64_t cpus);

static inline void *llfree_part(const struct llfree *l, uint64_t bytes)
{
	return (void *)((uintptr_t)l + bytes);
}

static inline uint32_t *tree_at(const struct llfree *l, uint64_t tree)
{
	return &((struct llfree_tree *)llfree_part(l, l->shape.trees_at))[tree].counter;
}

static inline uint16_t *child_at(const struct llfree *l, uint64_t child)
{
	return (uint16_t *)llfree_part(l, l->shape.children_at) + child;
}

static inline uint64_t *words_of(const struct llfree *l, uint64_t child)
{
	return (uint64_t *)llfree_part(l, l->shape.bits_at) + child * CHILD_WORDS;
}

#define LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define SWAP(p, old, new) \
	__atomic_compare_exchange_n(p, old, new, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)

/* ---- the hand ---- */

#define HALF_FRAMES	32u
#define HAND_HALF_SHIFT 32u
#define HAND_TAG_SHIFT	58u
#define HAND_TAG	(1ull << HAND_TAG_SHIFT) /* one */
#define HALVES_MAX	(1ull << (HAND_TAG_SHIFT - HAND_HALF_SHIFT))

static inline uint32_t hand_frames(uint64_t hand)
{
	return (uint32_t)hand;
}

static inline uint64_t hand_half(uint64_t hand)
{
	return (hand & (HAND_TAG - 1)) >> HAND_HALF_SHIFT;
}

static inline uint64_t hand_of(uint64_t half, uint32_t frames)
{
	uint64_t hand = half << HAND_HALF_SHIFT | frames;

	return hand | (uint64_t)bit_count(hand) << HAND_TAG_SHIFT;
}

void llfree_stats(const void *state, struct frame_stats *out);
int llfree_walk(const void *state, frame_visit_fn visit, void *ctx);
int llfree_check(const void *state, struct violation *violation) KERR_MUST_CHECK;

#endif
