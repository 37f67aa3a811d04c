#include "sim/run_tree.h"

#include "sim/sparse.h"

#include <string.h>

static size_t dirty_bytes(uint64_t nodes)
{
	return (nodes + 63) / 64 * 8;
}

bool run_tree_init(struct run_tree *tree, const struct frame_set *set)
{
	uint64_t nodes = set->counts[0] / FRAME_SET_REGION_WORDS;
	bool complete = true;

	memset(tree, 0, sizeof(*tree));
	tree->set = set;
	for (;;) {
		unsigned level = tree->levels++;

		tree->counts[level] = nodes;
		tree->nodes[level] = sparse_new(nodes * sizeof(struct run_summary));
		tree->dirty[level] = sparse_new(dirty_bytes(nodes));
		complete = complete && tree->nodes[level] && tree->dirty[level];
		if (nodes == 1)
			return complete;
		nodes = (nodes + 7) / 8;
	}
}

void run_tree_fini(struct run_tree *tree)
{
	for (unsigned level = 0; level < tree->levels; level++) {
		sparse_free(tree->nodes[level], tree->counts[level] * sizeof(struct run_summary));
		sparse_free(tree->dirty[level], dirty_bytes(tree->counts[level]));
	}
	memset(tree, 0, sizeof(*tree));
}

void run_tree_mark(struct run_tree *tree, uint64_t region)
{
	uint64_t node = region;

	for (unsigned level = 0; level < tree->levels; level++, node /= 8) {
		uint64_t *word = &tree->dirty[level][node / 64], bit = 1ull << (node % 64);

		if (*word & bit)
			return;
		*word |= bit;
	}
}

/* A node's frames are 8 bits or one bit of a level of the set: 512 * 8^level = 2^(9 + 3 level). */
static bool wholly_free(const struct run_tree *tree, unsigned level, uint64_t node)
{
	unsigned shift = 9 + 3 * level, set_level = shift / 6;
	const uint64_t *words = tree->set->words[set_level];

	if (set_level >= tree->set->levels)
		return false;
	if (shift % 6)
		return !(words[node / 8] >> (node % 8 * 8) & 0xff);
	return !(words[node / 64] >> (node % 64) & 1);
}

/* The longer of BEST and the longest run of ones in BITS. */
static uint32_t longer_run(uint64_t bits, uint32_t best)
{
	/* Afterwards a bit is left for each run longer than BEST. */
	for (uint32_t known = 1, wanted = best + 1; known < wanted && bits;) {
		uint32_t step = wanted - known < known ? wanted - known : known;

		bits &= bits << step;
		known += step;
	}
	for (; bits; bits &= bits << 1)
		best++;
	return best;
}

static struct run_summary summarise_region(const struct frame_set *set, uint64_t region)
{
	struct run_summary sum = { 0, 0, 0 };
	bool whole = true;

	for (uint64_t i = 0; i < FRAME_SET_REGION_WORDS; i++) {
		uint64_t used = frame_set_word(set, region * FRAME_SET_REGION_WORDS + i);

		if (!used) {
			sum.suffix += 64;
			continue;
		}
		sum.suffix += (unsigned)__builtin_ctzll(used);
		if (whole)
			sum.prefix = sum.suffix;
		whole = false;
		if (sum.suffix > sum.best)
			sum.best = sum.suffix;
		if (sum.best < 62)
			sum.best = longer_run(~used, sum.best);
		sum.suffix = (unsigned)__builtin_clzll(used);
	}
	if (sum.suffix > sum.best)
		sum.best = sum.suffix;
	if (whole)
		sum.prefix = sum.suffix;
	return sum;
}

static struct run_summary node_summary(const struct run_tree *tree, unsigned level, uint64_t node)
{
	uint32_t frames = (uint32_t)FRAME_SET_REGION_FRAMES << (3 * level);

	if (wholly_free(tree, level, node))
		return (struct run_summary){ frames, frames, frames };
	return tree->nodes[level][node];
}

static struct run_summary summarise_children(const struct run_tree *tree, unsigned level,
					     uint64_t node)
{
	uint32_t child_frames = (uint32_t)FRAME_SET_REGION_FRAMES << (3 * (level - 1));
	struct run_summary sum = { 0, 0, 0 };
	uint64_t end = node * 8 + 8;

	if (end > tree->counts[level - 1])
		end = tree->counts[level - 1];
	for (uint64_t i = node * 8; i < end; i++) {
		struct run_summary child = node_summary(tree, level - 1, i);

		if (sum.prefix == (i - node * 8) * child_frames)
			sum.prefix += child.prefix;
		if (sum.suffix + child.prefix > sum.best)
			sum.best = sum.suffix + child.prefix;
		if (child.best > sum.best)
			sum.best = child.best;
		sum.suffix =
			child.suffix == child_frames ? sum.suffix + child_frames : child.suffix;
	}
	if (end < node * 8 + 8)
		sum.suffix = 0;
	return sum;
}

/* Brings a dirty node and its dirty descendants up to date. */
static void refresh(struct run_tree *tree, unsigned level, uint64_t node)
{
	tree->dirty[level][node / 64] &= ~(1ull << (node % 64));
	if (level > 0) {
		uint64_t dirty = tree->dirty[level - 1][node / 8] >> (node % 8 * 8) & 0xff;

		for (; dirty; dirty &= dirty - 1)
			refresh(tree, level - 1, node * 8 + (unsigned)__builtin_ctzll(dirty));
	}
	if (wholly_free(tree, level, node))
		return;
	tree->nodes[level][node] = level > 0 ? summarise_children(tree, level, node)
					     : summarise_region(tree->set, node);
}

uint64_t run_tree_longest(struct run_tree *tree)
{
	unsigned top = tree->levels - 1;

	if (tree->dirty[top][0] & 1)
		refresh(tree, top, 0);
	return node_summary(tree, top, 0).best;
}
