/*
 * tlsf.c - H11: two-level segregated fit.
 *
 *   first    1 0 1 1 ...                     bit f: some list of row f has a member
 *   second   row f   0 0 1 0 ... 1           bit s: list[f][s] has a member
 *   list     [f][s] -> chunk <-> chunk       lengths in [2^f + s 2^f/16, 2^f + (s + 1) 2^f/16)
 *
 * Idea: the lists of free chunks are so fine (16 to each power of two) that any member of the next
 * higher list is good enough, and two bitmaps say in two instructions which that is. So neither
 * allocating nor freeing ever searches: the time has a bound that no history of requests can move.
 * The body (segments, chunks, splitting and joining) is chunk_heap.h's.
 *
 * Invariants (check): 1 to 6 of chunk_heap.h, and
 *   7  each list is linked both ways and its members have lengths of that list
 *   8  the bitmaps have the bits of the lists that are not empty
 *
 * Cost: find, insert and remove O(1): no loop. The request is rounded up to the lists' next
 * boundary when searching, so up to 1/16 of a chunk may be passed over. State: one frame. 16 bytes
 * an object, and rounding up to 16; objects below 32 bytes take 48. The bound is for what needs no
 * new segment; that is the frame allocator's time.
 *
 * Source: Masmano, Ripoll, Crespo, Real, TLSF: a new dynamic memory allocator for real-time
 * systems, ECRTS 2004.
 */
#include "alloc/bitops.h"
#include "alloc/heap/systems.h"
#include "alloc/heap/tlsf.h"

#define SECOND_SHIFT 4u
#define SECOND	     TLSF_SECOND
#define LINEAR_SHIFT 8u /* below 2^8 row 0 is linear, in steps of CHUNK_UNIT */
#define FIRST	     TLSF_FIRST
#define LENGTH_LIMIT (1ull << (LINEAR_SHIFT + FIRST - 1)) /* longer chunks: in the last list */

enum { OPTION_SEGMENT };

static const struct frame_option tlsf_options[] = {
	[OPTION_SEGMENT] = { .key = "segment",
			     .help = "frames got at a time, at least",
			     .value = 64,
			     .min = 1,
			     .max = 65536 },
	{ .key = NULL },
};

struct place {
	unsigned first, second;
};

static inline struct place place_of(uint64_t bytes)
{
	if (bytes >= LENGTH_LIMIT)
		return (struct place){ FIRST - 1, SECOND - 1 };
	if (bytes < 1u << LINEAR_SHIFT)
		return (struct place){ 0, (unsigned)bytes / CHUNK_UNIT };
	unsigned high = bit_highest(bytes);
	return (struct place){ high - LINEAR_SHIFT + 1,
			       (unsigned)(bytes >> (high - SECOND_SHIFT)) & (SECOND - 1) };
}

/* Up to the next list's lower end: all members of that list are long enough. */
static uint64_t tlsf_sure(uint64_t bytes)
{
	if (bytes < 1u << LINEAR_SHIFT)
		return bytes;
	return round_up_u64(bytes, 1ull << (bit_highest(bytes) - SECOND_SHIFT));
}

static void tlsf_insert(struct chunk_heap *heap, struct chunk *c)
{
	struct tlsf *t = (struct tlsf *)heap;
	struct place p = place_of(chunk_bytes(c));
	struct chunk **list = &t->list[p.first][p.second];

	c->next = *list;
	c->prev = NULL;
	if (*list)
		(*list)->prev = c;
	*list = c;
	t->first |= 1u << p.first;
	t->second[p.first] |= (uint16_t)(1u << p.second);
}

static void tlsf_remove(struct chunk_heap *heap, struct chunk *c)
{
	struct tlsf *t = (struct tlsf *)heap;

	if (c->next)
		c->next->prev = c->prev;
	if (c->prev) {
		c->prev->next = c->next;
		return;
	}
	struct place p = place_of(chunk_bytes(c));
	t->list[p.first][p.second] = c->next;
	if (c->next)
		return;
	t->second[p.first] &= (uint16_t) ~(1u << p.second);
	if (!t->second[p.first])
		t->first &= ~(1u << p.first);
}

static struct chunk *tlsf_find(struct chunk_heap *heap, uint64_t bytes)
{
	struct tlsf *t = (struct tlsf *)heap;
	uint64_t length = tlsf_sure(bytes);

	if (length >= LENGTH_LIMIT)
		return NULL; /* lengths beyond share a list: such requests get their own segment */
	struct place p = place_of(length);
	uint32_t second = t->second[p.first] & (~0u << p.second);
	if (!second) {
		uint32_t first = t->first & (uint32_t)(~0ull << (p.first + 1));
		if (!first)
			return NULL;
		p.first = bit_lowest(first);
		second = t->second[p.first];
	}
	return t->list[p.first][bit_lowest(second)];
}

static bool count_list(const struct tlsf *t, struct place p, uint64_t limit, uint64_t *members,
		       struct heap_violation *v)
{
	const struct chunk *before = NULL;

	for (const struct chunk *c = t->list[p.first][p.second]; c; before = c, c = c->next) {
		if ((*members)++ >= limit || !chunk_heap_has_free(&t->core, c)) {
			heap_found(v, 6, c, "the index holds every free chunk once");
			return false;
		}
		struct place mine = place_of(chunk_bytes(c));
		if (c->prev != before || mine.first != p.first || mine.second != p.second) {
			heap_found(v, 7, c, "lists are linked both ways, by length");
			return false;
		}
	}
	return true;
}

static bool tlsf_count(const struct chunk_heap *heap, uint64_t limit, uint64_t *members,
		       struct heap_violation *v)
{
	const struct tlsf *t = (const struct tlsf *)heap;

	for (unsigned f = 0; f < FIRST; f++) {
		for (unsigned s = 0; s < SECOND; s++) {
			if ((t->list[f][s] != NULL) != (t->second[f] >> s & 1)) {
				heap_found(v, 8, &t->list[f][s],
					   "bitmaps say which lists have members");
				return false;
			}
			if (!count_list(t, (struct place){ f, s }, limit, members, v))
				return false;
		}
		if ((t->second[f] != 0) != (t->first >> f & 1)) {
			heap_found(v, 8, &t->first, "bitmaps say which lists have members");
			return false;
		}
	}
	return true;
}

static const struct chunk_index tlsf_index = {
	.insert = tlsf_insert,
	.remove = tlsf_remove,
	.find = tlsf_find,
	.sure = tlsf_sure,
	.count = tlsf_count,
};

static uint64_t tlsf_state_bytes(const struct heap_config *config, const char **why)
{
	(void)config;
	(void)why;
	return sizeof(struct tlsf);
}

void tlsf_setup(struct tlsf *t, const struct heap_config *config, uint64_t grow_frames)
{
	chunk_heap_init(&t->core, config,
			&(struct chunk_setup){ .index = &tlsf_index,
					       .grow_frames = grow_frames,
					       .fixed = grow_frames == 0 });
}

static int tlsf_init(void *state, const struct heap_config *config)
{
	tlsf_setup(state, config, config->option[OPTION_SEGMENT]);
	return 0;
}

const struct heap_ops heap_tlsf = {
	.name = "tlsf",
	.id = "H11",
	.summary = "two-level segregated fit: no search, bounded time",
	.caps = HEAP_CAP_FREE | HEAP_CAP_ANY_SIZE | HEAP_CAP_ALIGN | HEAP_CAP_RESIZE |
		HEAP_CAP_TAGS | HEAP_CAP_GIVES_BACK | HEAP_CAP_FINDS_MISUSE | HEAP_CAP_BOUNDED,
	.options = tlsf_options,
	.state_bytes = tlsf_state_bytes,
	.init = tlsf_init,
	.alloc = chunk_heap_alloc,
	.free = chunk_heap_free,
	.resize = chunk_heap_resize,
	.usable = chunk_heap_usable,
	.tag = chunk_heap_tag,
	.trim = chunk_heap_trim,
	.stats = chunk_heap_stats,
	.walk = chunk_heap_walk,
	.check = chunk_heap_check,
};
