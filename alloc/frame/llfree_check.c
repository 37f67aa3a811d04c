/*
 * llfree_check.c - what llfree says about itself: stats, walk and check. The invariants' numbers
 * are those of llfree.c.
 */
#include "alloc/frame/llfree.h"

void llfree_stats(const void *state, struct frame_stats *out)
{
	const struct llfree *l = state;
	uint64_t free_frames = 0;

	for (uint64_t t = 0; t < l->shape.trees; t++)
		free_frames += LOAD(tree_at(l, t)) & ~TREE_RESERVED;
	for (uint64_t c = 0; c < l->shape.cpus; c++)
		free_frames += bit_count(hand_frames(LOAD(&l->cpu[c].hand)));
	*out = (struct frame_stats){ .managed_frames = l->map.frames, .free_frames = free_frames };
}

/* The word that holds a frame's bit, with what is in hands. */
static uint64_t word_with(const struct llfree *l, uint64_t index)
{
	uint64_t word = LOAD(words_of(l, 0) + index / BITS_PER_WORD);

	for (uint64_t c = 0; c < l->shape.cpus; c++) {
		uint64_t hand = LOAD(&l->cpu[c].hand), half = hand_half(hand);

		if (half / 2 == index / BITS_PER_WORD)
			word |= (uint64_t)hand_frames(hand) << (half % 2 * HALF_FRAMES);
	}
	return word;
}

int llfree_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	const struct llfree *l = state;

	for (uint32_t i = 0; i < l->map.count; i++) {
		uint64_t at = l->map.ranges[i].first.n - l->shape.base, to;
		uint64_t end = at + l->map.ranges[i].frames;

		for (; at < end; at = to) {
			uint64_t word = word_with(l, at) >> at % BITS_PER_WORD;
			bool is_free = word & 1;
			/* Equal bits from here on, to the word's end at most. */
			uint64_t differs = is_free ? ~word : word;
			uint64_t room = BITS_PER_WORD - at % BITS_PER_WORD;
			uint64_t n = differs ? bit_lowest(differs) : BITS_PER_WORD;

			to = at + (n < room ? n : room);
			to = to < end ? to : end;
			struct frame_extent e = { pfn(l->shape.base + at), to - at,
						  is_free ? FRAME_FREE : FRAME_USED };

			if (visit(ctx, &e))
				return KERR_STOP;
		}
	}
	return 0;
}

/* ---- check ---- */

static int check_header(const struct llfree *l, struct violation *violation)
{
	if (l->header_sum != FRAME_HEADER_SUM(l))
		return frame_violation(violation, 1, pfn(0), "the header is as init left it");
	if (!memmap_is_sound(&l->map))
		return frame_violation(violation, 1, pfn(0), "the memory map is sound");
	struct llfree_shape want = llfree_shape_of(&l->map, l->shape.cpus);

	if (l->shape.base != want.base || l->shape.children != want.children ||
	    l->shape.bits_at != want.bits_at)
		return frame_violation(violation, 1, pfn(0), "the shape is what init made");
	return 0;
}

/* Bits outside the map: those inside are counted range by range. */
static int check_outside(const struct llfree *l, struct violation *violation)
{
	uint64_t all = 0, inside = 0;

	for (uint64_t w = 0; w < l->shape.children * CHILD_WORDS; w++)
		all += bit_count(words_of(l, 0)[w]);
	for (uint32_t r = 0; r < l->map.count; r++) {
		uint64_t at = l->map.ranges[r].first.n - l->shape.base;
		uint64_t end = at + l->map.ranges[r].frames;

		while (at < end) {
			uint64_t room = BITS_PER_WORD - at % BITS_PER_WORD;
			unsigned n = (unsigned)(room < end - at ? room : end - at);

			inside += bit_count(words_of(l, 0)[at / BITS_PER_WORD] &
					    bit_mask(at % BITS_PER_WORD, n));
			at += n;
		}
	}
	if (all != inside)
		return frame_violation(violation, 2, l->map.first,
				       "no bit is set for a frame outside the map");
	return 0;
}

/* A child's counter against its bits; its free frames are added to *FRAMES. */
static int check_child(const struct llfree *l, uint64_t child, uint64_t *frames,
		       struct violation *violation)
{
	uint16_t counter = *child_at(l, child);
	uint64_t bits = 0;

	for (unsigned w = 0; w < CHILD_WORDS; w++)
		bits += bit_count(words_of(l, child)[w]);
	if (bits != (counter == CHILD_HUGE ? 0 : counter))
		return frame_violation(violation, 3, pfn(l->shape.base + child * CHILD_FRAMES),
				       "a child's counter is the number of its bits");
	*frames += bits;
	return 0;
}

static int check_tree(const struct llfree *l, uint64_t tree, struct violation *violation)
{
	uint64_t frames = 0, counted, owners = 0;
	uint32_t counter = *tree_at(l, tree);
	struct pfn where = pfn(l->shape.base + tree * TREE_FRAMES);
	int error = 0;

	for (uint64_t c = tree * TREE_CHILDREN;
	     !error && c < (tree + 1) * TREE_CHILDREN && c < l->shape.children; c++)
		error = check_child(l, c, &frames, violation);
	if (error)
		return error;
	counted = counter & ~TREE_RESERVED;
	for (uint64_t c = 0; c < l->shape.cpus; c++)
		owners += l->cpu[c].tree == tree;
	if (owners != counter / TREE_RESERVED)
		return frame_violation(violation, 5, where,
				       "a tree is marked iff exactly one CPU has it");
	if (counted != frames)
		return frame_violation(violation, 4, where,
				       "a tree's count is the sum of its children's");
	return 0;
}

/* What is in the hands is in the map, once, and not set in the bits. */
static int check_hand(const struct llfree *l, uint64_t cpu, struct violation *violation)
{
	uint64_t hand = l->cpu[cpu].hand, half = hand_half(hand);
	struct pfn where = pfn(l->shape.base + half * HALF_FRAMES);

	if (hand != hand_of(half, hand_frames(hand)) ||
	    half >= l->shape.children * (CHILD_FRAMES / HALF_FRAMES))
		return frame_violation(violation, 6, where, "a hand's tag is right");
	for (uint32_t left = hand_frames(hand); left; left &= left - 1)
		if (!memmap_find(&l->map, pfn_add(where, bit_lowest(left))))
			return frame_violation(violation, 2, pfn_add(where, bit_lowest(left)),
					       "a frame in a hand is in the map");
	if ((words_of(l, 0)[half / 2] >> half % 2 * HALF_FRAMES) & hand_frames(hand))
		return frame_violation(violation, 6, where,
				       "the bit of a frame in a hand is not set");
	for (uint64_t c = 0; c < cpu; c++)
		if (hand_half(l->cpu[c].hand) == half && (l->cpu[c].hand & hand_frames(hand)))
			return frame_violation(violation, 6, where, "no frame is in two hands");
	return 0;
}

int llfree_check(const void *state, struct violation *violation)
{
	const struct llfree *l = state;
	int error = check_header(l, violation);

	if (!error)
		error = check_outside(l, violation);
	for (uint64_t t = 0; !error && t < l->shape.trees; t++)
		error = check_tree(l, t, violation);
	for (uint64_t c = 0; !error && c < l->shape.cpus; c++)
		if (l->cpu[c].tree != NO_TREE && l->cpu[c].tree >= l->shape.trees)
			error = frame_violation(violation, 5, pfn(0),
						"what a CPU has is a tree, or none");
	for (uint64_t c = 0; !error && c < l->shape.cpus; c++)
		error = check_hand(l, c, violation);
	return error;
}
