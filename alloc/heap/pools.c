/*
 * pools.c - H9: a non-paged and a paged pool, with tags.
 *
 *   non-paged  exact   [48] [64] [80] ... [4080]     a list for every length up to a page
 *              longer  -> chunk <-> chunk            first fit
 *   paged      exact   ...                           the same again, in other segments
 *
 * Idea: two pools of one construction, so that what might be paged out never shares a page with
 * what must not; every block carries its owner's tag in its header, for the question "who has all
 * the memory?". Blocks are chunks (chunk_heap.h); free ones up to a page are kept by exact length,
 * and a bitmap finds the next longer one; longer blocks are one list, first fit. A request goes to
 * the paged pool when it says that it may (HEAP_PAGED). The non-paged pool can feed page tables:
 * heap_as_frames (as_frames.h) over this heap.
 *
 * A block is known to its pool by the flag in its tag word's owner: a segment belongs to one pool,
 * and a free looks into the pool whose bounds and seals know the block. Cookies differ, so no block
 * passes for the other pool's.
 *
 * Invariants (check): 1 to 6 of chunk_heap.h for each pool, and
 *   7  lists are linked both ways and hold chunks of their length
 *   8  the bitmap has the bits of the lists that are not empty
 *
 * Cost: up to a page O(1); longer ones O(free chunks longer than a page). State: two frames. 16
 * bytes an object, and rounding up to 16.
 *
 * Source: the pools of Windows NT as Russinovich, Solomon, Ionescu describe them (Windows
 * Internals, 6th edition, part 2, chapter 10). Differs: no lookaside lists a CPU; segments of 16
 * frames in place of single pages.
 */
#include "alloc/bitops.h"
#include "alloc/heap/chunk_heap.h"
#include "alloc/heap/systems.h"

#define EXACT	    (X86_PAGE_BYTES / CHUNK_UNIT) /* lists; the last: longer than a page */
#define EXACT_WORDS ((EXACT + 1 + BITS_PER_WORD - 1) / BITS_PER_WORD)

enum { OPTION_SEGMENT };
enum { NON_PAGED, PAGED, POOLS };

struct pool {
	struct chunk_heap core; /* first: the index finds us by it */
	uint64_t filled[EXACT_WORDS];
	struct chunk *list[EXACT + 1];
};

struct pools {
	struct pool pool[POOLS];
};

static const struct frame_option pools_options[] = {
	[OPTION_SEGMENT] = { .key = "segment",
			     .help = "frames that a pool gets at a time, at least",
			     .value = 16,
			     .min = 1,
			     .max = 65536 },
	{ .key = NULL },
};

static inline unsigned list_for(uint64_t bytes)
{
	return bytes <= X86_PAGE_BYTES ? (unsigned)(bytes / CHUNK_UNIT) - 1 : EXACT;
}

static void pool_insert(struct chunk_heap *heap, struct chunk *c)
{
	struct pool *p = (struct pool *)heap;
	unsigned i = list_for(chunk_bytes(c));

	c->next = p->list[i];
	c->prev = NULL;
	if (c->next)
		c->next->prev = c;
	p->list[i] = c;
	p->filled[i / BITS_PER_WORD] |= 1ull << i % BITS_PER_WORD;
}

static void pool_remove(struct chunk_heap *heap, struct chunk *c)
{
	struct pool *p = (struct pool *)heap;

	if (c->next)
		c->next->prev = c->prev;
	if (c->prev) {
		c->prev->next = c->next;
		return;
	}
	unsigned i = list_for(chunk_bytes(c));
	p->list[i] = c->next;
	if (!c->next)
		p->filled[i / BITS_PER_WORD] &= ~(1ull << i % BITS_PER_WORD);
}

/* The first list from I on that has a member; EXACT + 1: none. */
static unsigned next_filled(const struct pool *p, unsigned i)
{
	uint64_t word = p->filled[i / BITS_PER_WORD] & (~0ull << i % BITS_PER_WORD);

	for (unsigned w = i / BITS_PER_WORD;;) {
		if (word)
			return w * BITS_PER_WORD + bit_lowest(word);
		if (++w == EXACT_WORDS)
			return EXACT + 1;
		word = p->filled[w];
	}
}

static struct chunk *pool_find(struct chunk_heap *heap, uint64_t bytes)
{
	const struct pool *p = (const struct pool *)heap;
	unsigned i = next_filled(p, list_for(bytes));

	if (i < EXACT)
		return p->list[i];
	for (struct chunk *c = p->list[EXACT]; c; c = c->next)
		if (chunk_bytes(c) >= bytes)
			return c;
	return NULL;
}

static uint64_t pool_sure(uint64_t bytes)
{
	return bytes;
}

static bool count_list(const struct pool *p, unsigned i, uint64_t limit, uint64_t *members,
		       struct heap_violation *v)
{
	const struct chunk *before = NULL;

	for (const struct chunk *c = p->list[i]; c; before = c, c = c->next) {
		if ((*members)++ >= limit || !chunk_heap_has_free(&p->core, c)) {
			heap_found(v, 6, c, "the index holds every free chunk once");
			return false;
		}
		if (c->prev != before || list_for(chunk_bytes(c)) != i) {
			heap_found(v, 7, c, "lists are linked both ways, by length");
			return false;
		}
	}
	return true;
}

static bool pool_count(const struct chunk_heap *heap, uint64_t limit, uint64_t *members,
		       struct heap_violation *v)
{
	const struct pool *p = (const struct pool *)heap;

	for (unsigned i = 0; i < EXACT_WORDS * BITS_PER_WORD; i++) {
		bool filled = p->filled[i / BITS_PER_WORD] >> i % BITS_PER_WORD & 1;
		if (filled != (i <= EXACT && p->list[i])) {
			heap_found(v, 8, &p->filled, "the bitmap says which lists have members");
			return false;
		}
		if (filled && !count_list(p, i, limit, members, v))
			return false;
	}
	return true;
}

static const struct chunk_index pool_index = {
	.insert = pool_insert,
	.remove = pool_remove,
	.find = pool_find,
	.sure = pool_sure,
	.count = pool_count,
};

static uint64_t pools_state_bytes(const struct heap_config *config, const char **why)
{
	(void)config;
	(void)why;
	return sizeof(struct pools);
}

static int pools_init(void *state, const struct heap_config *config)
{
	struct pools *h = state;

	for (unsigned i = 0; i < POOLS; i++) {
		struct chunk_setup setup = { .index = &pool_index,
					     .cookie = i,
					     .grow_frames = config->option[OPTION_SEGMENT] };
		chunk_heap_init(&h->pool[i].core, config, &setup);
	}
	return 0;
}

static int pools_alloc(void *state, const struct heap_request *request, void **out)
{
	struct pools *h = state;
	unsigned i = request->flags & HEAP_PAGED ? PAGED : NON_PAGED;

	return chunk_heap_alloc(&h->pool[i].core, request, out);
}

static int pools_free(void *state, void *object)
{
	struct pools *h = state;
	int error = chunk_heap_free(&h->pool[NON_PAGED].core, object);

	return error == KERR_NOT_OWNED ? chunk_heap_free(&h->pool[PAGED].core, object) : error;
}

static int pools_resize(void *state, void *object, uint64_t bytes)
{
	struct pools *h = state;
	int error = chunk_heap_resize(&h->pool[NON_PAGED].core, object, bytes);

	return error == KERR_NOT_OWNED ? chunk_heap_resize(&h->pool[PAGED].core, object, bytes)
				       : error;
}

static uint64_t pools_usable(const void *state, const void *object)
{
	const struct pools *h = state;
	uint64_t usable = chunk_heap_usable(&h->pool[NON_PAGED].core, object);

	return usable ? usable : chunk_heap_usable(&h->pool[PAGED].core, object);
}

static uint32_t pools_tag(const void *state, const void *object)
{
	const struct pools *h = state;
	bool non_paged = chunk_heap_usable(&h->pool[NON_PAGED].core, object) != 0;

	return chunk_heap_tag(&h->pool[non_paged ? NON_PAGED : PAGED].core, object);
}

static void pools_trim(void *state)
{
	struct pools *h = state;

	for (unsigned i = 0; i < POOLS; i++)
		chunk_heap_trim(&h->pool[i].core);
}

static void pools_stats(const void *state, struct heap_stats *out)
{
	const struct pools *h = state;
	struct heap_stats one;

	*out = (struct heap_stats){ 0 };
	for (unsigned i = 0; i < POOLS; i++) {
		chunk_heap_stats(&h->pool[i].core, &one);
		out->held_frames += one.held_frames;
		out->used_objects += one.used_objects;
		out->used_bytes += one.used_bytes;
		out->kept_bytes += one.kept_bytes;
	}
}

static int pools_walk(const void *state, heap_visit_fn visit, void *ctx)
{
	const struct pools *h = state;

	for (unsigned i = 0; i < POOLS; i++)
		if (chunk_heap_walk(&h->pool[i].core, visit, ctx))
			return KERR_STOP;
	return 0;
}

static int pools_check(const void *state, struct heap_violation *v)
{
	const struct pools *h = state;
	int error = chunk_heap_check(&h->pool[NON_PAGED].core, v);

	return error ? error : chunk_heap_check(&h->pool[PAGED].core, v);
}

const struct heap_ops heap_pools = {
	.name = "pools",
	.id = "H9",
	.summary = "a non-paged and a paged pool, free blocks by exact length, owners' tags",
	.caps = HEAP_CAP_FREE | HEAP_CAP_ANY_SIZE | HEAP_CAP_ALIGN | HEAP_CAP_RESIZE |
		HEAP_CAP_TAGS | HEAP_CAP_GIVES_BACK | HEAP_CAP_FINDS_MISUSE,
	.options = pools_options,
	.state_bytes = pools_state_bytes,
	.init = pools_init,
	.alloc = pools_alloc,
	.free = pools_free,
	.resize = pools_resize,
	.usable = pools_usable,
	.tag = pools_tag,
	.trim = pools_trim,
	.stats = pools_stats,
	.walk = pools_walk,
	.check = pools_check,
};
