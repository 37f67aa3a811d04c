/*
 * bitmap_lockless.c - F2: the bitmap on atomic operations only. No lock on any path.
 *
 *   level 2                       1 . . .
 *                                 |
 *   level 1              1 0 1 1 . . .   0 0 0 . . .        hints: which words below may be
 * non-zero |   | level 0  0110..1  00..0  1111..1   . . .                the truth: a bit a frame,
 * 1 is free ^ hint of CPU 0     ^ hint of CPU 1
 *
 * Idea: the frames' bits are the only truth, and each word of them changes by one atomic operation.
 * Alloc of a frame is a compare-and-swap that clears a bit; free is a fetch-or that sets it, and
 * whose old value tells a double free. A run of frames takes its words one after the other, and
 * puts back what it has when somebody else was faster. Each CPU searches from where it found
 * something last, and CPUs begin far apart, so that they rarely meet in a word.
 *
 * The levels above say where to look. They may be wrong for a moment, because they change after the
 * truth does, but not for long: whoever sets or clears a summary bit looks at the word below once
 * more, and corrects the bit if the word has changed. In sequentially consistent order the last one
 * to change the bit has seen the word as it is now, or whoever changed the word since is yet to
 * come:
 *
 *        free                              alloc that empties a word
 *        word |= frame                     word &= ~frame          (now 0)
 *        if bit is 0: bit = 1              bit = 0
 *        if word is 0: bit = 0, again      if word is not 0: bit = 1, again
 *
 * In between, a search can miss a frame. So before a request fails for want of memory, it looks at
 * all words of level 0 itself.
 *
 * A compare-and-swap may succeed on a word that changed and changed back (ABA). That is harmless:
 * the word's value is the set of free frames, and nothing else is concluded from it.
 *
 * Counts of free frames are kept by CPU, written by that CPU alone; their sum is the count. So a
 * CPU must not be re-entered in the middle of a call (interrupts off, or as the kernel sees fit).
 *
 * Invariants (check; while no call is under way):
 *   1  header: as init left it; the map is sound, and the shape is what init makes of it
 *   2  no bit of level 0 is set for a frame outside the map
 *   3  a bit of a summary level is set if and only if the word it stands for is not zero
 *   4  the sum of the CPUs' counts is the number of bits set in level 0
 *   5  every CPU's hint is a bit of level 0
 *
 * Cost: one atomic operation an alloc or free of one frame, two when a word becomes empty or ceases
 * to be. Metadata: 65/64 of a bit for each frame of the span, and a cache line a CPU.
 *
 * Source: Linux's sbitmap (hints by CPU) and the bit fields of LLFree (F11), without the latter's
 * counters and reservations. Context: any CPU at any time; init, walk and check while nobody else
 * calls.
 */
#include "alloc/bitops.h"
#include "alloc/frame/systems.h"
#include "alloc/port.h"

#define LEVELS_MAX 9
#define NO_BIT	   UINT64_MAX

struct lockless_shape {
	uint64_t base;		    /* frame number of bit 0: a multiple of 64 */
	uint64_t span;		    /* bits of level 0 */
	uint64_t words;		    /* of all levels */
	uint64_t levels;	    /* 1 .. LEVELS_MAX */
	uint64_t level[LEVELS_MAX]; /* index of each level's first word */
	uint64_t cpus;
	uint64_t words_at; /* bytes from the state's start */
	struct frame_range largest;
};

/* One CPU's, a cache line. */
struct lockless_cpu {
	uint64_t hint;	      /* bit of level 0 */
	uint64_t free_frames; /* freed here less allocated here; wraps below 0 */
	uint64_t unused[6];
};

struct lockless {
	struct memmap map;
	struct lockless_shape shape;
	uint64_t header_sum; /* over the two above */
	struct lockless_cpu cpu[] __attribute__((aligned(64)));
};

static struct lockless_shape shape_of(const struct memmap *map, uint64_t cpus)
{
	struct lockless_shape s = { .cpus = cpus };
	uint64_t bits;

	s.base = round_down_u64(map->first.n, BITS_PER_WORD);
	bits = s.span = map->end.n - s.base;
	do {
		bits = bits / BITS_PER_WORD + (bits % BITS_PER_WORD != 0);
		s.level[s.levels++] = s.words;
		s.words += bits;
	} while (bits > 1);
	s.words_at = sizeof(struct lockless) + cpus * sizeof(struct lockless_cpu);
	s.largest = memmap_largest(map);
	return s;
}

static inline uint64_t *word_at(const struct lockless *b, unsigned level, uint64_t index)
{
	uint64_t *words = (uint64_t *)((uintptr_t)b + b->shape.words_at);

	return words + b->shape.level[level] + index;
}

static inline uint64_t word_read(const struct lockless *b, unsigned level, uint64_t index)
{
	return __atomic_load_n(word_at(b, level, index), __ATOMIC_SEQ_CST);
}

static inline struct lockless_cpu *this_cpu(struct lockless *b)
{
	return &b->cpu[b->shape.cpus == 1 ? 0 : port_cpu() % b->shape.cpus];
}

static inline void count_add(struct lockless *b, uint64_t frames)
{
	uint64_t *count = &this_cpu(b)->free_frames;

	__atomic_store_n(count, __atomic_load_n(count, __ATOMIC_RELAXED) + frames,
			 __ATOMIC_RELAXED);
}

/* Word INDEX of level BELOW has become zero, or ceased to be, and may have changed since: its bit
 * above follows, and the bits above that one. After each change of a bit its word is looked at
 * again, so that whoever is last leaves it right. */
static void summary_follow(struct lockless *b, unsigned below, uint64_t index)
{
	for (unsigned l = below + 1; l < b->shape.levels; l++) {
		uint64_t *word = word_at(b, l, index / BITS_PER_WORD);
		uint64_t bit = 1ull << index % BITS_PER_WORD, before;
		bool wanted, changed = false; /* the upper word between zero and not */

		do {
			wanted = word_read(b, l - 1, index) != 0;
			if (wanted && (__atomic_load_n(word, __ATOMIC_SEQ_CST) & bit))
				break;
			before = wanted ? __atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST)
					: __atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST);
			changed |= !(before & ~bit);
		} while (wanted != (word_read(b, l - 1, index) != 0));
		if (!changed)
			return;
		index /= BITS_PER_WORD;
	}
}

/* The lowest bit at or above FROM that seems set, or NO_BIT. */
static uint64_t next_set(const struct lockless *b, uint64_t from)
{
	unsigned level = 0;
	uint64_t at = from; /* a bit of that level */
	uint64_t bits = b->shape.span;

	for (;;) {
		if (at >= bits) {
			return NO_BIT;
		}
		uint64_t word =
			word_read(b, level, at / BITS_PER_WORD) & ~0ull << at % BITS_PER_WORD;

		if (word) {
			at = round_down_u64(at, BITS_PER_WORD) + bit_lowest(word);
			if (!level)
				return at;
			level--; /* that word of the level below may be zero by now: go on there */
			at *= BITS_PER_WORD;
			bits = level ? (b->shape.level[level] - b->shape.level[level - 1])
				     : b->shape.span;
			continue;
		}
		if (level + 1 == b->shape.levels)
			return NO_BIT;
		at = at / BITS_PER_WORD + 1;
		level++;
		bits = b->shape.level[level] - b->shape.level[level - 1];
	}
}

/* The lowest clear bit in [from, limit), or LIMIT. */
static uint64_t next_clear(const struct lockless *b, uint64_t from, uint64_t limit)
{
	while (from < limit) {
		uint64_t word =
			~word_read(b, 0, from / BITS_PER_WORD) & ~0ull << from % BITS_PER_WORD;

		if (word) {
			uint64_t bit = round_down_u64(from, BITS_PER_WORD) + bit_lowest(word);

			return bit < limit ? bit : limit;
		}
		from = round_down_u64(from, BITS_PER_WORD) + BITS_PER_WORD;
	}
	return limit;
}

/* Clears MASK in a word of level 0 if all of it is set. */
static inline bool word_take(struct lockless *b, uint64_t index, uint64_t mask)
{
	uint64_t *word = word_at(b, 0, index);
	uint64_t old = __atomic_load_n(word, __ATOMIC_RELAXED);

	do {
		if ((old & mask) != mask)
			return false;
	} while (!__atomic_compare_exchange_n(word, &old, old & ~mask, true, __ATOMIC_SEQ_CST,
					      __ATOMIC_RELAXED));
	if (!(old & ~mask))
		summary_follow(b, 0, index);
	return true;
}

/* Sets MASK in a word of level 0; false, and nothing done, when part of it is set already. */
static inline bool word_give(struct lockless *b, uint64_t index, uint64_t mask)
{
	uint64_t old = __atomic_fetch_or(word_at(b, 0, index), mask, __ATOMIC_SEQ_CST);

	if (old & mask) {
		/* Only what this call set goes back. */
		if (mask & ~old)
			__atomic_fetch_and(word_at(b, 0, index), ~(mask & ~old), __ATOMIC_SEQ_CST);
		return false;
	}
	if (!old)
		summary_follow(b, 0, index);
	return true;
}

/* Bits [bit, bit + n) that lie in BIT's word. */
static uint64_t part_of(uint64_t bit, uint64_t n, unsigned *bits)
{
	uint64_t room = BITS_PER_WORD - bit % BITS_PER_WORD;

	*bits = (unsigned)(n < room ? n : room);
	return bit_mask(bit % BITS_PER_WORD, *bits);
}

static bool run_give(struct lockless *b, uint64_t bit, uint64_t n);

/* Takes [bit, bit + n) word by word; what it has goes back when a word is gone. */
static bool run_take(struct lockless *b, uint64_t bit, uint64_t n)
{
	uint64_t at = bit;

	while (at < bit + n) {
		unsigned bits;
		uint64_t mask = part_of(at, bit + n - at, &bits);

		if (!word_take(b, at / BITS_PER_WORD, mask)) {
			if (at > bit)
				run_give(b, bit, at - bit);
			return false;
		}
		at += bits;
	}
	return true;
}

/* Gives [bit, bit + n) back; what it gave is taken again when a part is free already. */
static bool run_give(struct lockless *b, uint64_t bit, uint64_t n)
{
	uint64_t at = bit;

	while (at < bit + n) {
		unsigned bits;
		uint64_t mask = part_of(at, bit + n - at, &bits);

		if (!word_give(b, at / BITS_PER_WORD, mask)) {
			while (at > bit) { /* a caller's mistake: undo, backwards */
				uint64_t first = round_down_u64(at - 1, BITS_PER_WORD);

				first = first > bit ? first : bit;
				mask = part_of(first, at - first, &bits);
				if (!word_take(b, first / BITS_PER_WORD, mask))
					break; /* somebody has it by now, and rightly */
				at = first;
			}
			return false;
		}
		at += bits;
	}
	return true;
}

/* A run of N, aligned, that begins in [from, stop), taken; or NO_BIT. */
static uint64_t take_between(struct lockless *b, uint64_t from, uint64_t stop, uint64_t n,
			     uint64_t align)
{
	for (;;) {
		uint64_t bit = next_set(b, from);

		if (bit == NO_BIT)
			return NO_BIT;
		bit = round_up_u64(b->shape.base + bit, align) - b->shape.base;
		if (bit >= stop || n > b->shape.span || bit > b->shape.span - n)
			return NO_BIT;
		from = next_clear(b, bit, bit + n);
		if (from == bit + n) {
			if (run_take(b, bit, n))
				return bit;
			from = bit; /* somebody was faster: look again from here */
		}
	}
}

/* The summaries know of nothing: the truth, word by word. */
static uint64_t take_by_scan(struct lockless *b, uint64_t n, uint64_t align)
{
	uint64_t bit = 0,
		 words = b->shape.span / BITS_PER_WORD + (b->shape.span % BITS_PER_WORD != 0);

	for (uint64_t i = 0; i < words; i++) {
		uint64_t word = word_read(b, 0, i);

		if (!word)
			continue;
		if (b->shape.levels > 1)
			summary_follow(b, 0, i); /* whoever should have will not mind */
		bit = i * BITS_PER_WORD + bit_lowest(word);
		bit = take_between(b, bit, round_down_u64(bit, BITS_PER_WORD) + BITS_PER_WORD, n,
				   align);
		if (bit != NO_BIT)
			return bit;
	}
	return NO_BIT;
}

static uint64_t take_run(struct lockless *b, uint64_t hint, uint64_t n, uint64_t align)
{
	uint64_t bit = take_between(b, hint, b->shape.span, n, align);

	if (bit == NO_BIT)
		bit = take_between(b, 0, hint, n, align);
	return bit != NO_BIT ? bit : take_by_scan(b, n, align);
}

static uint64_t lockless_state_bytes(const struct memmap *map, const struct frame_config *config,
				     const char **why)
{
	if (!map->frames) {
		*why = "bitmap-lockless: the memory map has no usable frame";
		return 0;
	}
	if (!config->cpus) {
		*why = "bitmap-lockless: no CPU";
		return 0;
	}
	struct lockless_shape s = shape_of(map, config->cpus);

	return s.words_at + s.words * sizeof(uint64_t);
}

static int lockless_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	struct lockless *b = state;

	b->map = *map;
	b->shape = shape_of(map, config->cpus);
	b->header_sum = FRAME_HEADER_SUM(b);
	b->cpu[0].free_frames = map->frames;
	for (uint32_t i = 0; i < map->count; i++)
		if (!run_give(b, map->ranges[i].first.n - b->shape.base, map->ranges[i].frames))
			return KERR_CORRUPT; /* the state was not zero */
	/* CPUs begin far apart. */
	for (uint64_t c = 0; c < config->cpus; c++)
		b->cpu[c].hint = b->shape.span / config->cpus * c;
	return 0;
}

static int lockless_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct lockless *b = state;
	uint64_t *hint = &b->cpu[b->shape.cpus == 1 ? 0 : request->cpu % b->shape.cpus].hint;
	uint64_t bit = __atomic_load_n(hint, __ATOMIC_RELAXED), n = request->frames;

	if (request->flags & FRAME_AT) {
		bit = request->at.n - b->shape.base;
		if (request->at.n < b->shape.base || bit >= b->shape.span ||
		    n > b->shape.span - bit || !run_take(b, bit, n))
			return KERR_NO_MEMORY;
	} else {
		uint64_t word = word_read(b, 0, bit / BITS_PER_WORD);
		bool quick = n == 1 && request->align_frames == 1 && word &&
			     word_take(b, bit / BITS_PER_WORD, word & -word);

		bit = quick ? round_down_u64(bit, BITS_PER_WORD) + bit_lowest(word)
			    : take_run(b, bit, n, request->align_frames);
		if (bit == NO_BIT)
			return KERR_NO_MEMORY;
		__atomic_store_n(hint, bit, __ATOMIC_RELAXED);
	}
	count_add(b, -n);
	*out = (struct frame_block){ pfn(b->shape.base + bit), request->frames };
	return 0;
}

static int lockless_free(void *state, const struct frame_block *block)
{
	struct lockless *b = state;
	uint64_t offset = block->first.n - b->shape.largest.first.n;
	uint64_t bit = block->first.n - b->shape.base;

	if ((offset >= b->shape.largest.frames ||
	     block->frames > b->shape.largest.frames - offset) &&
	    !memmap_holds(&b->map, block->first, block->frames))
		return KERR_NOT_OWNED;
	if (!(block->frames == 1 ? word_give(b, bit / BITS_PER_WORD, 1ull << bit % BITS_PER_WORD)
				 : run_give(b, bit, block->frames)))
		return KERR_NOT_OWNED;
	count_add(b, block->frames);
	return 0;
}

static uint64_t sum_of_counts(const struct lockless *b)
{
	uint64_t sum = 0;

	for (uint64_t c = 0; c < b->shape.cpus; c++)
		sum += __atomic_load_n(&b->cpu[c].free_frames, __ATOMIC_RELAXED);
	return sum;
}

static void lockless_stats(const void *state, struct frame_stats *out)
{
	const struct lockless *b = state;

	*out = (struct frame_stats){ .managed_frames = b->map.frames,
				     .free_frames = sum_of_counts(b) };
}

static int lockless_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	const struct lockless *b = state;

	for (uint32_t i = 0; i < b->map.count; i++) {
		uint64_t bit = b->map.ranges[i].first.n - b->shape.base;
		uint64_t end = bit + b->map.ranges[i].frames, to;

		for (; bit < end; bit = to) {
			bool is_free =
				word_read(b, 0, bit / BITS_PER_WORD) >> bit % BITS_PER_WORD & 1;

			to = is_free ? next_clear(b, bit, end) : next_set(b, bit);
			if (to > end)
				to = end;
			struct frame_extent extent = { pfn(b->shape.base + bit), to - bit,
						       is_free ? FRAME_FREE : FRAME_USED };

			if (visit(ctx, &extent))
				return KERR_STOP;
		}
	}
	return 0;
}

static int check_header(const struct lockless *b, struct violation *violation)
{
	if (b->header_sum != FRAME_HEADER_SUM(b))
		return frame_violation(violation, 1, pfn(0), "the header is as init left it");
	if (!memmap_is_sound(&b->map))
		return frame_violation(violation, 1, pfn(0), "the memory map is sound");
	struct lockless_shape want = shape_of(&b->map, b->shape.cpus);

	if (b->shape.base != want.base || b->shape.span != want.span ||
	    b->shape.words != want.words || b->shape.words_at != want.words_at)
		return frame_violation(violation, 1, pfn(0), "the shape is what init made");
	for (uint64_t c = 0; c < b->shape.cpus; c++)
		if (b->cpu[c].hint >= b->shape.span)
			return frame_violation(violation, 5, pfn(b->shape.base + b->cpu[c].hint),
					       "every CPU's hint is a bit of level 0");
	return 0;
}

/* Level 0: what is set outside the map must be nothing; the rest is counted range by range. */
static int check_frames(const struct lockless *b, uint64_t words, struct violation *violation)
{
	uint64_t all = 0, inside = 0;

	for (uint64_t i = 0; i < words; i++)
		all += bit_count(word_read(b, 0, i));
	for (uint32_t r = 0; r < b->map.count; r++) {
		uint64_t bit = b->map.ranges[r].first.n - b->shape.base;
		uint64_t end = bit + b->map.ranges[r].frames;

		while (bit < end) {
			unsigned bits;
			uint64_t mask = part_of(bit, end - bit, &bits);

			inside += bit_count(word_read(b, 0, bit / BITS_PER_WORD) & mask);
			bit += bits;
		}
	}
	if (all != inside)
		return frame_violation(violation, 2, b->map.first,
				       "no bit is set for a frame outside the map");
	if (all != sum_of_counts(b))
		return frame_violation(violation, 4, b->map.first,
				       "the CPUs' counts add up to the bits that are set");
	return 0;
}

static int lockless_check(const void *state, struct violation *violation)
{
	const struct lockless *b = state;
	int error = check_header(b, violation);

	if (error)
		return error;
	uint64_t below = b->shape.levels > 1 ? b->shape.level[1] : b->shape.words;

	error = check_frames(b, below, violation);
	for (unsigned l = 1; !error && l < b->shape.levels; l++) {
		uint64_t end = l + 1 < b->shape.levels ? b->shape.level[l + 1] : b->shape.words;
		uint64_t words = end - b->shape.level[l];

		for (uint64_t bit = 0; bit < words * BITS_PER_WORD; bit++) {
			bool is_set =
				word_read(b, l, bit / BITS_PER_WORD) >> bit % BITS_PER_WORD & 1;

			if (is_set != (bit < below && word_read(b, l - 1, bit)))
				return frame_violation(
					violation, 3, b->map.first,
					"a summary bit is set iff its word is not zero");
		}
		below = words;
	}
	return error;
}

const struct frame_ops frame_bitmap_lockless = {
	.name = "bitmap-lockless",
	.id = "F2",
	.summary = "a bit a frame, on atomic operations only",
	.caps = FRAME_CAP_RUNS | FRAME_CAP_ANY_COUNT | FRAME_CAP_ALIGN | FRAME_CAP_AT |
		FRAME_CAP_FREE | FRAME_CAP_PARTIAL_FREE | FRAME_CAP_LOCKLESS,
	.state_bytes = lockless_state_bytes,
	.init = lockless_init,
	.alloc = lockless_alloc,
	.free = lockless_free,
	.stats = lockless_stats,
	.walk = lockless_walk,
	.check = lockless_check,
};
