/*
 * llfree.c - F11: the two-level lock-free tree after LLFree.
 *
 *   CPU 0: tree 1      CPU 1: tree 2                             reservations
 *          half 7: 0101..     half 90: 1..                       32 frames in hand
 *               |              |
 *   tree    [ 900 ][ R, 300 ][ R, 12 ][ 16384 ]                  a counter for 32 children
 *               |
 *   child   [ 512 ][ 17 ][ 0, huge ] ...                         a counter for 512 frames
 *               |
 *   bits    0110...1  x 512                                      1: free
 *
 * Idea: a bit field for each 512 frames, the size of a huge page, under counters that say where
 * something is free, so that nothing is ever searched for long. Each word, each counter, changes by
 * one atomic operation, and an allocation goes down from the counters to the bits: who has taken
 * one off a counter is sure to find a bit. A huge block is its child's counter alone: full, then
 * marked; its bits are 0 as those of any used frame, so that a part of it can be freed.
 *
 * A CPU reserves a tree, which is a mark in the tree's counter, and allocates from there until that
 * fails. So CPUs work in different cache lines, and allocations that belong together stay together.
 * Trees to reserve are half used ones first, then free, then nearly full ones: which leaves entire
 * trees free for huge blocks. When there is none to reserve, a CPU takes from anybody's: the mark
 * is a wish, the counts are the truth.
 *
 * The hand: where its tree has plenty, a CPU takes all that is free in half a word at once, off the
 * counters and out of the bits, into one word of its own:
 *
 *   63    58 57                 32 31                          0
 *   [ tag  ][  number of the half ][ its frames that are free   ]    tag: how many of the lower 58
 *                                                                    bits are set
 *
 * A frame from there, and one of that half that comes back, is one compare-and-swap in the CPU's
 * own cache line. Any CPU may change that word, which says all about itself: one that finds nothing
 * elsewhere takes a frame out of another's hand, and a run that finds nothing empties all hands
 * into the bits. While a hand is filled or emptied, up to 32 frames are on their way and nobody
 * else sees them; hands are not filled where a tree is short of frames.
 *
 * Orders 0 to 6 are bits of one word, 7 and 8 are two and four words of one child, 9 is a child,
 * 10 is a pair of children. A request is rounded up to its order.
 *
 * Invariants (check; while no call is under way):
 *   1  header: as init left it; the map is sound, and the shape is what init makes of it
 *   2  no bit is set for a frame outside the map, nor in a hand
 *   3  a child's counter is the number of its bits that are set; in a huge child none is
 *   4  a tree's counter is the sum of its children's
 *   5  a tree is marked reserved if and only if exactly one CPU has it
 *   6  a hand's tag is right; a frame in it is in no other hand, and its bit is not set
 *
 * Cost: a frame out of the hand or into it one atomic operation; else three, without a loop but for
 * those of compare-and-swap and a search among eight words and 32 children. Metadata: 1.04 bits for
 * each frame of the span, and a cache line a CPU.
 *
 * Source: Wrenger, Rommel, Halbuer, Dietrich, Lohmann: LLFree, USENIX ATC 2023, and llfree-c.
 * Differs: bits are 1 for free, so that holes need no writing. One reservation a CPU, not one for
 * each kind of request. A reserved tree's count stays in the tree, whose counter has a cache line
 * to itself, instead of moving to the CPU. The hand. Frames can be asked for by number, and blocks
 * freed in parts.
 */
#include "alloc/frame/llfree.h"
#include "alloc/port.h"

#define SEARCHES   100u		      /* of a tree, for a frame that its counter promises */
#define HAND_LEAST (TREE_FRAMES / 16) /* frames in a tree that fills a hand */

struct llfree_shape llfree_shape_of(const struct memmap *map, uint64_t cpus)
{
	struct llfree_shape s = { .cpus = cpus };

	s.base = round_down_u64(map->first.n, 1u << MAX_ORDER);
	s.children = (map->end.n - s.base + CHILD_FRAMES - 1) / CHILD_FRAMES;
	s.children += s.children % 2; /* pairs */
	s.trees = (s.children + TREE_CHILDREN - 1) / TREE_CHILDREN;
	s.trees_at = sizeof(struct llfree) + cpus * sizeof(struct llfree_cpu);
	s.children_at = round_up_u64(s.trees_at + s.trees * sizeof(struct llfree_tree), 64);
	s.bits_at = round_up_u64(s.children_at + s.children * sizeof(uint16_t), 64);
	s.largest = memmap_largest(map);
	return s;
}

/* ---- bits ---- */

/* The lowest aligned run of 2^ORDER set bits, ORDER <= 6, as its first bit; 64 when there is none.
 * A run's first bit survives when the word is folded onto itself ORDER times. */
static unsigned run_in_word(uint64_t word, unsigned order)
{
	static const uint64_t starts[] = { ~0ull,
					   0x5555555555555555,
					   0x1111111111111111,
					   0x0101010101010101,
					   0x0001000100010001,
					   0x0000000100000001,
					   1 };

	for (unsigned o = 0; o < order; o++)
		word &= word >> (1u << o);
	word &= starts[order];
	return word ? bit_lowest(word) : BITS_PER_WORD;
}

static uint64_t mask_of(unsigned order)
{
	return order == WORD_ORDER ? ~0ull : (1ull << (1u << order)) - 1;
}

/* Takes 2^ORDER bits, ORDER <= 6, of a word. Returns the first, or 64. */
static unsigned word_take(uint64_t *word, unsigned order)
{
	uint64_t old = LOAD(word);

	for (;;) {
		unsigned bit = run_in_word(old, order);

		if (bit == BITS_PER_WORD || SWAP(word, &old, old & ~(mask_of(order) << bit)))
			return bit;
	}
}

/* Takes N whole words, N a power of two, of a child's eight. Returns the first word, or 8. */
static unsigned words_take(uint64_t *words, unsigned n)
{
	for (unsigned first = 0; first < CHILD_WORDS; first += n) {
		unsigned got = 0;
		uint64_t all = ~0ull;

		while (got < n && __atomic_compare_exchange_n(&words[first + got], &all, 0, false,
							      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			got++;
		if (got == n)
			return first;
		while (got--)
			__atomic_store_n(&words[first + got], ~0ull, __ATOMIC_RELEASE);
	}
	return CHILD_WORDS;
}

/* Takes 2^ORDER bits, ORDER < 9, of a child. Returns the first, or NOT_FOUND. */
static uint64_t bits_take(const struct llfree *l, uint64_t child, unsigned order)
{
	uint64_t *words = words_of(l, child);

	if (order > WORD_ORDER) {
		unsigned word = words_take(words, 1u << (order - WORD_ORDER));

		return word < CHILD_WORDS ? word * BITS_PER_WORD : NOT_FOUND;
	}
	for (unsigned w = 0; w < CHILD_WORDS; w++) {
		unsigned bit = word_take(&words[w], order);

		if (bit < BITS_PER_WORD)
			return w * BITS_PER_WORD + bit;
	}
	return NOT_FOUND;
}

/* Gives N bits from FIRST on back, N a power of two at most 512, aligned. False when one is free.
 */
static bool bits_give(const struct llfree *l, uint64_t child, uint64_t first, uint64_t n)
{
	uint64_t *words = words_of(l, child) + first / BITS_PER_WORD;

	if (n < BITS_PER_WORD) {
		uint64_t mask = bit_mask(first % BITS_PER_WORD, (unsigned)n), old = LOAD(words);

		do {
			if (old & mask)
				return false;
		} while (!SWAP(words, &old, old | mask));
		return true;
	}
	for (uint64_t w = 0; w < n / BITS_PER_WORD; w++)
		if (LOAD(&words[w]))
			return false;
	for (uint64_t w = 0; w < n / BITS_PER_WORD; w++)
		__atomic_store_n(&words[w], ~0ull, __ATOMIC_RELEASE);
	return true;
}

/* ---- children ---- */

typedef uint32_t __attribute__((may_alias)) child_pair;

#define PAIR_FREE (CHILD_FRAMES << 16 | CHILD_FRAMES)
#define PAIR_HUGE (CHILD_HUGE << 16 | CHILD_HUGE)

/* Two neighbours, or one child, from one state into another as a whole. */
static bool pair_swap(const struct llfree *l, uint64_t child, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n((child_pair *)child_at(l, child), &from, to, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static bool child_swap(const struct llfree *l, uint64_t child, uint16_t from, uint16_t to)
{
	return __atomic_compare_exchange_n(child_at(l, child), &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

static void words_fill(const struct llfree *l, uint64_t child, uint64_t children, uint64_t value)
{
	uint64_t *words = words_of(l, child);

	for (unsigned w = 0; w < children * CHILD_WORDS; w++)
		__atomic_store_n(&words[w], value, __ATOMIC_RELEASE);
}

/* Takes a child, or a pair, as a whole. Nobody else looks at its bits as long as it is marked. */
static bool huge_take(const struct llfree *l, uint64_t child, unsigned order)
{
	bool taken = order == CHILD_ORDER ? child_swap(l, child, CHILD_FRAMES, CHILD_HUGE)
					  : pair_swap(l, child, PAIR_FREE, PAIR_HUGE);

	if (taken)
		words_fill(l, child, order == CHILD_ORDER ? 1 : 2, 0);
	return taken;
}

/* Gives a child back that was taken as a whole. False: it was not. */
static bool huge_give(const struct llfree *l, uint64_t child)
{
	if (LOAD(child_at(l, child)) != CHILD_HUGE)
		return false;
	words_fill(l, child, 1, ~0ull);
	return child_swap(l, child, CHILD_HUGE, CHILD_FRAMES);
}

/* A block of an order below 9 out of a child; its first bit, or NOT_FOUND. */
static uint64_t child_take(const struct llfree *l, uint64_t child, unsigned order)
{
	uint16_t *counter = child_at(l, child), old = LOAD(counter), n = (uint16_t)(1u << order);
	uint64_t bit;

	do {
		if ((old & CHILD_HUGE) || old < n)
			return NOT_FOUND;
	} while (!SWAP(counter, &old, (uint16_t)(old - n)));
	do
		bit = bits_take(l, child, order);
	while (bit == NOT_FOUND && !order); /* there is one: the counter said so */
	if (bit == NOT_FOUND)
		__atomic_fetch_add(counter, n, __ATOMIC_ACQ_REL);
	return bit;
}

/* A block of ORDER out of one child, or of a pair; the first frame's index, or NOT_FOUND. */
static inline uint64_t block_take(const struct llfree *l, uint64_t child, unsigned order)
{
	uint64_t bit = 0;

	if (order < CHILD_ORDER)
		bit = child_take(l, child, order);
	else if (!huge_take(l, child, order))
		bit = NOT_FOUND;
	return bit == NOT_FOUND ? NOT_FOUND : child * CHILD_FRAMES + bit;
}

typedef uint64_t __attribute__((may_alias)) child_quad;

/* A single frame, the usual request: a tree's counters are one cache line, and zeros in it are
 * passed over four at a time. */
static uint64_t tree_search_frame(const struct llfree *l, uint64_t tree, uint64_t start)
{
	const child_quad *quads = (const child_quad *)child_at(l, tree * TREE_CHILDREN);
	unsigned from = start / TREE_CHILDREN == tree ? start % TREE_CHILDREN / 4 : 0;

	for (unsigned i = 0; i < TREE_CHILDREN / 4; i++) {
		unsigned q = (from + i) % (TREE_CHILDREN / 4);
		uint64_t counters = LOAD(&quads[q]) & 0x7fff7fff7fff7fff; /* less the huge ones */

		while (counters) {
			unsigned lane = bit_lowest(counters) / 16;
			uint64_t child = tree * TREE_CHILDREN + q * 4 + lane;
			uint64_t bit = child_take(l, child, 0);

			if (bit != NOT_FOUND)
				return child * CHILD_FRAMES + bit;
			counters &= ~(0xffffull << lane * 16);
		}
	}
	return NOT_FOUND;
}

/* A block of ORDER out of a tree's children, whose frames the caller has taken off the tree's count
 * already; from child START on, then from the first. The first frame's index, or NOT_FOUND. */
static uint64_t tree_search(const struct llfree *l, uint64_t tree, unsigned order, uint64_t start)
{
	uint64_t first = tree * TREE_CHILDREN, end = first + TREE_CHILDREN;
	uint64_t step = order > CHILD_ORDER ? 2 : 1, index = NOT_FOUND;

	if (!order)
		return tree_search_frame(l, tree, start);
	end = end < l->shape.children ? end : l->shape.children;
	start = start >= first && start < end ? round_down_u64(start, step) : first;
	for (uint64_t c = start; c < end && index == NOT_FOUND; c += step)
		index = block_take(l, c, order);
	for (uint64_t c = first; c < start && index == NOT_FOUND; c += step)
		index = block_take(l, c, order);
	return index;
}

/* ---- trees and reservations ---- */

/* A block from a tree: off its count first, whoever has reserved it, then from its children. */
static uint64_t tree_take(const struct llfree *l, uint64_t tree, unsigned order, uint64_t start)
{
	uint32_t *counter = tree_at(l, tree), old = LOAD(counter), n = 1u << order;
	uint64_t index = NOT_FOUND;

	do {
		if ((old & ~TREE_RESERVED) < n)
			return NOT_FOUND;
	} while (!SWAP(counter, &old, old - n));
	/* A frame that was counted is in some child, but may move while children are looked at. */
	for (unsigned tries = order ? 1 : SEARCHES; tries && index == NOT_FOUND; tries--)
		index = tree_search(l, tree, order, start);
	if (index == NOT_FOUND)
		__atomic_fetch_add(counter, n, __ATOMIC_ACQ_REL);
	return index;
}

static uint64_t take_reserved(const struct llfree *l, const struct llfree_cpu *cpu, unsigned order)
{
	uint64_t tree = LOAD(&cpu->tree);

	return tree == NO_TREE ? NOT_FOUND : tree_take(l, tree, order, LOAD(&cpu->child));
}

/* TREE becomes CPU's, if it is nobody's and has N frames; the one that CPU had becomes nobody's. */
static bool reserve(struct llfree *l, struct llfree_cpu *cpu, uint64_t tree, uint64_t n)
{
	uint32_t *counter = tree_at(l, tree), old = LOAD(counter);

	do {
		if ((old & TREE_RESERVED) || old < n)
			return false;
	} while (!SWAP(counter, &old, old | TREE_RESERVED));
	uint64_t before = __atomic_exchange_n(&cpu->tree, tree, __ATOMIC_ACQ_REL);

	if (before != NO_TREE)
		__atomic_fetch_and(tree_at(l, before), ~TREE_RESERVED, __ATOMIC_ACQ_REL);
	return true;
}

/* How welcome a tree is, 0 the most: half used, entirely free, nearly full. */
static unsigned tree_rank(uint32_t frames)
{
	if (frames == TREE_FRAMES)
		return 1;
	return frames >= TREE_FRAMES / 16 ? 0 : 2;
}
#define RANKS 3

/* Reserves one tree after the other until one has the block. */
static uint64_t take_reserving(struct llfree *l, struct llfree_cpu *cpu, unsigned order)
{
	uint64_t last = LOAD(&cpu->tree);
	uint64_t first = (uint64_t)(cpu - l->cpu) * l->shape.trees / l->shape.cpus;
	uint64_t start = last != NO_TREE ? last : first; /* CPUs begin far apart */

	for (unsigned rank = 0; rank < RANKS; rank++)
		for (uint64_t i = 0; i < l->shape.trees; i++) {
			uint64_t tree = (start + i) % l->shape.trees;
			uint32_t count = LOAD(tree_at(l, tree));

			if ((count & TREE_RESERVED) || tree_rank(count) != rank ||
			    !reserve(l, cpu, tree, 1ull << order))
				continue;
			uint64_t index = take_reserved(l, cpu, order);

			if (index != NOT_FOUND)
				return index;
		}
	return NOT_FOUND;
}

/* No tree to reserve has it: out of any, also of those that other CPUs have. */
static uint64_t take_anywhere(const struct llfree *l, unsigned order)
{
	uint64_t index = NOT_FOUND;

	for (uint64_t tree = 0; tree < l->shape.trees && index == NOT_FOUND; tree++)
		index = tree_take(l, tree, order, 0);
	return index;
}

/* ---- the slot ---- */

static uint64_t llfree_state_bytes(const struct memmap *map, const struct frame_config *config,
				   const char **why)
{
	if (!map->frames || !config->cpus) {
		*why = "llfree: no usable frame, or no CPU";
		return 0;
	}
	struct llfree_shape s = llfree_shape_of(map, config->cpus);

	if (s.children * (CHILD_FRAMES / HALF_FRAMES) > HALVES_MAX) {
		*why = "llfree: the memory map spans more than 8 TiB";
		return 0;
	}
	return s.bits_at + s.children * CHILD_WORDS * sizeof(uint64_t);
}

/* Sets the bits of [index, end), and counts them in the children and trees. */
static void add_range(struct llfree *l, uint64_t index, uint64_t end)
{
	while (index < end) {
		uint64_t room = BITS_PER_WORD - index % BITS_PER_WORD;
		unsigned n = (unsigned)(room < end - index ? room : end - index);

		words_of(l, 0)[index / BITS_PER_WORD] |= bit_mask(index % BITS_PER_WORD, n);
		*child_at(l, index / CHILD_FRAMES) += (uint16_t)n;
		*tree_at(l, index / TREE_FRAMES) += n;
		index += n;
	}
}

static int llfree_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	struct llfree *l = state;

	l->map = *map;
	l->shape = llfree_shape_of(map, config->cpus);
	l->header_sum = FRAME_HEADER_SUM(l);
	for (uint64_t c = 0; c < l->shape.cpus; c++)
		l->cpu[c].tree = NO_TREE;
	for (uint32_t i = 0; i < map->count; i++) {
		uint64_t first = map->ranges[i].first.n - l->shape.base;

		add_range(l, first, first + map->ranges[i].frames);
	}
	return 0;
}

/* ---- the hand ---- */

/* Takes N frames off a child's count. */
static bool child_count_take(const struct llfree *l, uint64_t child, uint16_t n)
{
	uint16_t *counter = child_at(l, child), old = LOAD(counter);

	do {
		if ((old & CHILD_HUGE) || old < n)
			return false;
	} while (!SWAP(counter, &old, (uint16_t)(old - n)));
	return true;
}

static bool tree_count_take(const struct llfree *l, uint64_t tree, uint32_t n)
{
	uint32_t *counter = tree_at(l, tree), old = LOAD(counter);

	do {
		if ((old & ~TREE_RESERVED) < n)
			return false;
	} while (!SWAP(counter, &old, old - n));
	return true;
}

static void counts_give(const struct llfree *l, uint64_t child, uint32_t n)
{
	__atomic_fetch_add(child_at(l, child), (uint16_t)n, __ATOMIC_ACQ_REL);
	__atomic_fetch_add(tree_at(l, child / TREE_CHILDREN), n, __ATOMIC_ACQ_REL);
}

/* The lowest frame of a hand, or NOT_FOUND when it is empty. */
static inline uint64_t hand_take(struct llfree_cpu *cpu)
{
	uint64_t hand = LOAD(&cpu->hand);

	do {
		if (!hand_frames(hand))
			return NOT_FOUND;
	} while (!SWAP(&cpu->hand, &hand, (hand & (hand - 1)) - HAND_TAG));
	return hand_half(hand) * HALF_FRAMES + bit_lowest(hand);
}

/* Frames of half a word, which are in nobody's hand any more, go to the bits and counters. */
static void half_give(const struct llfree *l, uint64_t half, uint32_t frames)
{
	uint64_t child = half * HALF_FRAMES / CHILD_FRAMES;
	uint64_t *word = words_of(l, 0) + half / 2;

	__atomic_fetch_or(word, (uint64_t)frames << (half % 2 * HALF_FRAMES), __ATOMIC_ACQ_REL);
	counts_give(l, child, bit_count(frames));
}

/* The first half of a child that has free frames; those are *FRAMES. */
static uint64_t half_find(const struct llfree *l, uint64_t child, uint32_t *frames)
{
	for (unsigned w = 0; w < CHILD_WORDS; w++) {
		uint64_t word = LOAD(&words_of(l, child)[w]);
		unsigned h = !(uint32_t)word;

		*frames = (uint32_t)(word >> h * HALF_FRAMES);
		if (*frames)
			return (child * CHILD_WORDS + w) * 2 + h;
	}
	return NOT_FOUND;
}

/* Fills an empty hand out of the CPU's tree, and takes a frame from it; NOT_FOUND: the tree is
 * short of frames, or somebody was faster. */
static uint64_t hand_fill(const struct llfree *l, struct llfree_cpu *cpu)
{
	uint64_t tree = LOAD(&cpu->tree), child = LOAD(&cpu->child), hand = LOAD(&cpu->hand), half;
	uint32_t frames;

	if (tree == NO_TREE || child / TREE_CHILDREN != tree ||
	    (LOAD(tree_at(l, tree)) & ~TREE_RESERVED) < HAND_LEAST)
		return NOT_FOUND;
	if ((half = half_find(l, child, &frames)) == NOT_FOUND)
		return NOT_FOUND;
	uint32_t n = bit_count(frames);
	uint64_t *word = words_of(l, 0) + half / 2, old = LOAD(word);
	uint64_t mask = (uint64_t)frames << (half % 2 * HALF_FRAMES);

	if (!tree_count_take(l, tree, n))
		return NOT_FOUND;
	if (!child_count_take(l, child, (uint16_t)n)) {
		__atomic_fetch_add(tree_at(l, tree), n, __ATOMIC_ACQ_REL);
		return NOT_FOUND;
	}
	do {
		if ((old & mask) != mask) {
			counts_give(l, child, n);
			return NOT_FOUND;
		}
	} while (!SWAP(word, &old, old & ~mask));
	/* The lowest is the caller's. */
	if (hand_frames(hand) ||
	    !__atomic_compare_exchange_n(&cpu->hand, &hand, hand_of(half, frames & (frames - 1)),
					 false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		half_give(l, half, frames & (frames - 1));
	return half * HALF_FRAMES + bit_lowest(frames);
}

/* A frame of the hand's half comes back. */
static inline bool hand_give(const struct llfree *l, struct llfree_cpu *cpu, uint64_t index,
			     bool *refused)
{
	uint64_t hand = LOAD(&cpu->hand), bit = 1ull << index % HALF_FRAMES;

	if (hand_half(hand) != index / HALF_FRAMES)
		return false;
	*refused = LOAD(words_of(l, 0) + index / BITS_PER_WORD) >> index % BITS_PER_WORD & 1;
	while (!*refused && hand_half(hand) == index / HALF_FRAMES) {
		*refused = (hand & bit) != 0;
		if (!*refused && SWAP(&cpu->hand, &hand, (hand | bit) + HAND_TAG))
			return true;
	}
	return *refused;
}

/* Empties the hands that hold frames of [index, index + n) into the bits. False: there were none.
 */
static bool hands_empty(struct llfree *l, uint64_t index, uint64_t n)
{
	bool any = false;

	for (uint64_t c = 0; c < l->shape.cpus; c++) {
		uint64_t hand = LOAD(&l->cpu[c].hand), half = hand_half(hand);

		if ((half + 1) * HALF_FRAMES <= index || half * HALF_FRAMES >= index + n)
			continue;
		do
			half = hand_half(hand);
		while (hand_frames(hand) && !SWAP(&l->cpu[c].hand, &hand, hand_of(half, 0)));
		if (hand_frames(hand)) {
			half_give(l, half, hand_frames(hand));
			any = true;
		}
	}
	return any;
}

static uint64_t take_from_hands(struct llfree *l)
{
	uint64_t index = NOT_FOUND;

	for (uint64_t c = 0; c < l->shape.cpus && index == NOT_FOUND; c++)
		index = hand_take(&l->cpu[c]);
	return index;
}

/* ---- allocation and free ---- */

/* The block of 2^ORDER frames from INDEX on: off the counts, then out of the bits. */
static bool take_exactly(const struct llfree *l, uint64_t index, unsigned order)
{
	uint64_t child = index / CHILD_FRAMES, n = 1ull << order;
	uint64_t *words = words_of(l, 0) + index / BITS_PER_WORD, taken = 0;
	uint64_t mask = n < BITS_PER_WORD ? bit_mask(index % BITS_PER_WORD, (unsigned)n) : ~0ull;

	if (!tree_count_take(l, child / TREE_CHILDREN, (uint32_t)n))
		return false;
	if (order >= CHILD_ORDER) {
		if (huge_take(l, child, order))
			return true;
		__atomic_fetch_add(tree_at(l, child / TREE_CHILDREN), (uint32_t)n,
				   __ATOMIC_ACQ_REL);
		return false;
	}
	if (!child_count_take(l, child, (uint16_t)n)) {
		__atomic_fetch_add(tree_at(l, child / TREE_CHILDREN), (uint32_t)n,
				   __ATOMIC_ACQ_REL);
		return false;
	}
	for (; taken * BITS_PER_WORD < n; taken++) {
		uint64_t old = LOAD(&words[taken]);

		while ((old & mask) == mask && !SWAP(&words[taken], &old, old & ~mask))
			;
		if ((old & mask) != mask)
			break;
	}
	if (taken * BITS_PER_WORD >= n)
		return true;
	while (taken--)
		__atomic_fetch_or(&words[taken], mask, __ATOMIC_ACQ_REL);
	counts_give(l, child, (uint32_t)n);
	return false;
}

static int take_at(struct llfree *l, struct pfn at, unsigned order, uint64_t *index)
{
	uint64_t n = 1ull << order;

	if (at.n & (n - 1))
		return KERR_UNSUPPORTED;
	if (!memmap_holds(&l->map, at, n))
		return KERR_NO_MEMORY;
	*index = at.n - l->shape.base;
	hands_empty(l, *index, n);
	return take_exactly(l, *index, order) ? 0 : KERR_NO_MEMORY;
}

/* Everything but a frame out of the hand. */
static __attribute__((noinline)) uint64_t take_block(struct llfree *l, struct llfree_cpu *cpu,
						     unsigned order)
{
	uint64_t index = order ? NOT_FOUND : hand_fill(l, cpu);

	if (index == NOT_FOUND)
		index = take_reserved(l, cpu, order);
	if (index == NOT_FOUND)
		index = take_reserving(l, cpu, order);
	if (index == NOT_FOUND)
		index = take_anywhere(l, order);
	if (index == NOT_FOUND && !order)
		index = take_from_hands(l);
	if (index == NOT_FOUND && hands_empty(l, 0, l->shape.children * CHILD_FRAMES))
		index = take_anywhere(l, order);
	if (index != NOT_FOUND)
		__atomic_store_n(&cpu->child, index / CHILD_FRAMES, __ATOMIC_RELAXED);
	return index;
}

static int llfree_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct llfree *l = state;
	unsigned order = order_for(request->frames);
	struct llfree_cpu *cpu = &l->cpu[l->shape.cpus == 1 ? 0 : request->cpu % l->shape.cpus];
	uint64_t index;

	if (order > MAX_ORDER)
		return KERR_UNSUPPORTED;
	if (__builtin_expect(request->flags & FRAME_AT, 0)) {
		int error = take_at(l, request->at, order, &index);

		if (error)
			return error;
	} else {
		index = order ? NOT_FOUND : hand_take(cpu);
		if (index == NOT_FOUND)
			index = take_block(l, cpu, order);
		if (index == NOT_FOUND)
			return KERR_NO_MEMORY;
	}
	*out = (struct frame_block){ pfn(l->shape.base + index), 1u << order };
	return 0;
}

static bool is_managed(const struct llfree *l, const struct frame_block *block)
{
	uint64_t offset = block->first.n - l->shape.largest.first.n;

	if (offset < l->shape.largest.frames && block->frames <= l->shape.largest.frames - offset)
		return true;
	return memmap_holds(&l->map, block->first, block->frames);
}

/* Gives an aligned piece back, at most a child. */
static bool piece_give(const struct llfree *l, uint64_t index, uint64_t n)
{
	uint64_t child = index / CHILD_FRAMES;

	if (n == CHILD_FRAMES && huge_give(l, child)) {
		__atomic_fetch_add(tree_at(l, index / TREE_FRAMES), (uint32_t)n, __ATOMIC_ACQ_REL);
		return true;
	}
	/* A part of a huge child: from now on it goes by its bits, none of which is set. */
	if (LOAD(child_at(l, child)) == CHILD_HUGE)
		child_swap(l, child, CHILD_HUGE, 0);
	if (!bits_give(l, child, index % CHILD_FRAMES, n))
		return false;
	counts_give(l, child, (uint32_t)n);
	return true;
}

/* Whether no frame of a run is free, in the bits or in a hand. */
static bool is_used(const struct llfree *l, uint64_t index, uint64_t n)
{
	for (uint64_t c = 0; c < l->shape.cpus && n > 1; c++) {
		uint64_t hand = LOAD(&l->cpu[c].hand);

		for (uint32_t left = hand_frames(hand); left; left &= left - 1)
			if (hand_half(hand) * HALF_FRAMES + bit_lowest(left) - index < n)
				return false;
	}
	while (n) {
		uint64_t room = BITS_PER_WORD - index % BITS_PER_WORD, part = room < n ? room : n;

		if (LOAD(words_of(l, 0) + index / BITS_PER_WORD) &
		    bit_mask(index % BITS_PER_WORD, (unsigned)part))
			return false;
		index += part;
		n -= part;
	}
	return true;
}

static __attribute__((noinline)) int free_run(const struct llfree *l, uint64_t index, uint64_t n)
{
	if (!is_used(l, index, n))
		return KERR_NOT_OWNED;
	while (n) {
		uint64_t part = 1ull << bit_highest(n < CHILD_FRAMES ? n : CHILD_FRAMES);

		if (index && 1ull << bit_lowest(index) < part)
			part = 1ull << bit_lowest(index);
		if (!piece_give(l, index, part))
			return KERR_NOT_OWNED;
		index += part;
		n -= part;
	}
	return 0;
}

static int llfree_free(void *state, const struct frame_block *block)
{
	struct llfree *l = state;
	uint64_t index = block->first.n - l->shape.base;
	bool refused = false;

	if (!is_managed(l, block))
		return KERR_NOT_OWNED;
	if (block->frames == 1 &&
	    hand_give(l, &l->cpu[l->shape.cpus == 1 ? 0 : port_cpu() % l->shape.cpus], index,
		      &refused))
		return refused ? KERR_NOT_OWNED : 0;
	return free_run(l, index, block->frames);
}

const struct frame_ops frame_llfree = {
	.name = "llfree",
	.id = "F11",
	.summary = "counters over bit fields of huge pages; lock-free, trees reserved by CPUs",
	.caps = FRAME_CAP_RUNS | FRAME_CAP_AT | FRAME_CAP_FREE | FRAME_CAP_PARTIAL_FREE |
		FRAME_CAP_LOCKLESS,
	.state_bytes = llfree_state_bytes,
	.init = llfree_init,
	.alloc = llfree_alloc,
	.free = llfree_free,
	.stats = llfree_stats,
	.walk = llfree_walk,
	.check = llfree_check,
};
