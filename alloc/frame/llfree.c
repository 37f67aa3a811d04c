/*
 * llfree.c - F11: the two-level lock-free tree after LLFree.
 *
 *   CPU 0: tree 1      CPU 1: tree 2                             reservations
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
 * marked; its bits are not touched.
 *
 * A CPU reserves a tree, which is a mark in the tree's counter, and allocates from there until that
 * fails. So CPUs work in different cache lines, and allocations that belong together stay together.
 * Trees to reserve are half used ones first, then free, then nearly full ones: which leaves entire
 * trees free for huge blocks. When there is none to reserve, a CPU takes from anybody's: the mark
 * is a wish, the counts are the truth.
 *
 * Orders 0 to 6 are bits of one word, 7 and 8 are two and four words of one child, 9 is a child,
 * 10 is a pair of children. A request is rounded up to its order.
 *
 * Invariants (check; while no call is under way):
 *   1  header: as init left it; the map is sound, and the shape is what init makes of it
 *   2  no bit is set for a frame outside the map
 *   3  a child's counter is the number of its bits that are set; in a huge child all are
 *   4  a tree's counter is the sum of its children's
 *   5  a tree is marked reserved if and only if exactly one CPU has it
 *
 * Cost: alloc or free of a frame three atomic operations, without a loop but for those of
 * compare-and-swap and a search among eight words and 32 children. Metadata: 1.04 bits for each
 * frame of the span, and a cache line a CPU.
 *
 * Source: Wrenger, Rommel, Halbuer, Dietrich, Lohmann: LLFree, USENIX ATC 2023, and llfree-c.
 * Differs: bits are 1 for free, so that holes need no writing. One reservation a CPU, not one for
 * each kind of request. A reserved tree's count stays in the tree, whose counter has a cache line
 * to itself, instead of moving to the CPU: while it is on its way, nobody else sees those frames,
 * and a CPU that is stopped just then made others fail with memory free. Partial frees are not
 * served.
 */
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
#define SEARCHES      100u /* of a tree, for a frame that its counter promises */

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
	uint64_t unused[6];
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

static struct llfree_shape shape_of(const struct memmap *map, uint64_t cpus)
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

static inline void *part_at(const struct llfree *l, uint64_t bytes)
{
	return (void *)((uintptr_t)l + bytes);
}

static inline uint32_t *tree_at(const struct llfree *l, uint64_t tree)
{
	return &((struct llfree_tree *)part_at(l, l->shape.trees_at))[tree].counter;
}

static inline uint16_t *child_at(const struct llfree *l, uint64_t child)
{
	return (uint16_t *)part_at(l, l->shape.children_at) + child;
}

static inline uint64_t *words_of(const struct llfree *l, uint64_t child)
{
	return (uint64_t *)part_at(l, l->shape.bits_at) + child * CHILD_WORDS;
}

#define LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define SWAP(p, old, new) \
	__atomic_compare_exchange_n(p, old, new, true, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)

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

/* Gives N bits from FIRST on back, N a power of two at most 256, aligned. False when one is free.
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
	else if (order == CHILD_ORDER)
		bit = child_swap(l, child, CHILD_FRAMES, CHILD_HUGE) ? 0 : NOT_FOUND;
	else
		bit = pair_swap(l, child, PAIR_FREE, PAIR_HUGE) ? 0 : NOT_FOUND;
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
	struct llfree_shape s = shape_of(map, config->cpus);

	if (s.trees >= NO_TREE) {
		*why = "llfree: the memory map spans too many trees";
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
	l->shape = shape_of(map, config->cpus);
	l->header_sum = FRAME_HEADER_SUM(l);
	for (uint64_t c = 0; c < l->shape.cpus; c++)
		l->cpu[c].tree = NO_TREE;
	for (uint32_t i = 0; i < map->count; i++) {
		uint64_t first = map->ranges[i].first.n - l->shape.base;

		add_range(l, first, first + map->ranges[i].frames);
	}
	return 0;
}

static int llfree_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct llfree *l = state;
	unsigned order = order_for(request->frames);
	struct llfree_cpu *cpu = &l->cpu[l->shape.cpus == 1 ? 0 : request->cpu % l->shape.cpus];

	if (order > MAX_ORDER)
		return KERR_UNSUPPORTED;
	uint64_t index = take_reserved(l, cpu, order);

	if (index == NOT_FOUND)
		index = take_reserving(l, cpu, order);
	if (index == NOT_FOUND)
		index = take_anywhere(l, order);
	if (index == NOT_FOUND)
		return KERR_NO_MEMORY;
	__atomic_store_n(&cpu->child, index / CHILD_FRAMES, __ATOMIC_RELAXED);
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

static int llfree_free(void *state, const struct frame_block *block)
{
	struct llfree *l = state;
	uint64_t index = block->first.n - l->shape.base, n = block->frames;
	bool given;

	if (!is_managed(l, block) || !is_power_of_two(n) || n > 1u << MAX_ORDER ||
	    (index & (n - 1)))
		return KERR_NOT_OWNED;
	uint64_t child = index / CHILD_FRAMES;

	if (n == 2 * CHILD_FRAMES) {
		given = pair_swap(l, child, PAIR_HUGE, PAIR_FREE);
	} else if (n == CHILD_FRAMES) {
		given = child_swap(l, child, CHILD_HUGE, CHILD_FRAMES);
	} else {
		given = bits_give(l, child, index % CHILD_FRAMES, n);
		if (given)
			__atomic_fetch_add(child_at(l, child), (uint16_t)n, __ATOMIC_ACQ_REL);
	}
	if (!given)
		return KERR_NOT_OWNED;
	__atomic_fetch_add(tree_at(l, index / TREE_FRAMES), (uint32_t)n, __ATOMIC_ACQ_REL);
	return 0;
}

static void llfree_stats(const void *state, struct frame_stats *out)
{
	const struct llfree *l = state;
	uint64_t free_frames = 0;

	for (uint64_t t = 0; t < l->shape.trees; t++)
		free_frames += LOAD(tree_at(l, t)) & ~TREE_RESERVED;
	*out = (struct frame_stats){ .managed_frames = l->map.frames, .free_frames = free_frames };
}

/* The word that holds a frame's bit; nothing in a huge child is free. */
static uint64_t word_with(const struct llfree *l, uint64_t index)
{
	if (LOAD(child_at(l, index / CHILD_FRAMES)) & CHILD_HUGE)
		return 0;
	return LOAD(words_of(l, 0) + index / BITS_PER_WORD);
}

static int llfree_walk(const void *state, frame_visit_fn visit, void *ctx)
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
	struct llfree_shape want = shape_of(&l->map, l->shape.cpus);

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
	if (counter == CHILD_HUGE ? bits != CHILD_FRAMES : bits != counter)
		return frame_violation(violation, 3, pfn(l->shape.base + child * CHILD_FRAMES),
				       "a child's counter is the number of its bits");
	*frames += counter == CHILD_HUGE ? 0 : bits;
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

static int llfree_check(const void *state, struct violation *violation)
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
	return error;
}

const struct frame_ops frame_llfree = {
	.name = "llfree",
	.id = "F11",
	.summary = "counters over bit fields of huge pages; lock-free, trees reserved by CPUs",
	.caps = FRAME_CAP_RUNS | FRAME_CAP_FREE | FRAME_CAP_LOCKLESS,
	.state_bytes = llfree_state_bytes,
	.init = llfree_init,
	.alloc = llfree_alloc,
	.free = llfree_free,
	.stats = llfree_stats,
	.walk = llfree_walk,
	.check = llfree_check,
};
