/*
 * boundary_tags.c - H3: boundary tags, one list of free chunks, alignment by over-allocating.
 *
 *   free -> [ 96 ] <-> [ 4064 ] <-> [ 48 ] <-> ...      doubly linked through the free chunks
 *                        ^ rover (next-fit)
 *
 * Idea: the classic heap. The body (segments, chunks, splitting and joining) is chunk_heap.h's; the
 * index is one list, searched from its head (first-fit), from where the last search ended
 * (next-fit), or to its end for the tightest (best-fit). A freed chunk goes to the head.
 *
 * Invariants (check): 1 to 6 of chunk_heap.h, and
 *   7  the list is linked both ways and the rover is a member of it
 *
 * Cost: find O(free chunks), the rest O(1). 16 bytes an object, and rounding up to 16; objects
 * below 32 bytes take 48. Source: Knuth, TAOCP 1, 2.5.
 */
#include "alloc/heap/chunk_heap.h"
#include "alloc/heap/systems.h"

enum { OPTION_POLICY, OPTION_SEGMENT };
enum { FIRST_FIT, NEXT_FIT, BEST_FIT };

struct boundary_tags {
	struct chunk_heap core; /* first: the index finds us by it */
	struct chunk *first, *rover;
	uint64_t policy;
};

static const char *const policies[] = { "first-fit", "next-fit", "best-fit", NULL };

static const struct frame_option boundary_tags_options[] = {
	[OPTION_POLICY] = { .key = "policy",
			    .help = "which free chunk serves a request",
			    .choices = policies,
			    .value = FIRST_FIT },
	[OPTION_SEGMENT] = { .key = "segment",
			     .help = "frames got at a time, at least",
			     .value = 64,
			     .min = 1,
			     .max = 65536 },
	{ .key = NULL },
};

static void list_insert(struct chunk_heap *heap, struct chunk *c)
{
	struct boundary_tags *b = (struct boundary_tags *)heap;

	c->next = b->first;
	c->prev = NULL;
	if (b->first)
		b->first->prev = c;
	b->first = c;
}

static void list_remove(struct chunk_heap *heap, struct chunk *c)
{
	struct boundary_tags *b = (struct boundary_tags *)heap;

	if (b->rover == c)
		b->rover = c->next;
	if (c->next)
		c->next->prev = c->prev;
	if (c->prev)
		c->prev->next = c->next;
	else
		b->first = c->next;
}

static struct chunk *fit_between(struct chunk *from, const struct chunk *to, uint64_t bytes)
{
	for (struct chunk *c = from; c != to; c = c->next)
		if (chunk_bytes(c) >= bytes)
			return c;
	return NULL;
}

static struct chunk *tightest(struct chunk *from, uint64_t bytes)
{
	struct chunk *best = NULL;

	for (struct chunk *c = from; c; c = c->next) {
		if (chunk_bytes(c) == bytes)
			return c;
		if (chunk_bytes(c) > bytes && (!best || chunk_bytes(c) < chunk_bytes(best)))
			best = c;
	}
	return best;
}

static struct chunk *list_find(struct chunk_heap *heap, uint64_t bytes)
{
	struct boundary_tags *b = (struct boundary_tags *)heap;

	if (b->policy == BEST_FIT)
		return tightest(b->first, bytes);
	if (b->policy == FIRST_FIT)
		return fit_between(b->first, NULL, bytes);
	struct chunk *c = fit_between(b->rover, NULL, bytes);
	b->rover = c ? c : fit_between(b->first, b->rover, bytes);
	return b->rover;
}

static uint64_t list_sure(uint64_t bytes)
{
	return bytes;
}

static bool list_count(const struct chunk_heap *heap, uint64_t limit, uint64_t *members,
		       struct heap_violation *v)
{
	const struct boundary_tags *b = (const struct boundary_tags *)heap;
	const struct chunk *before = NULL;
	bool rover = !b->rover;

	for (const struct chunk *c = b->first; c; before = c, c = c->next) {
		if ((*members)++ >= limit || !chunk_heap_has_free(heap, c)) {
			heap_found(v, 6, c, "the index holds every free chunk once");
			return false;
		}
		if (c->prev != before) {
			heap_found(v, 7, c, "the list is linked both ways");
			return false;
		}
		rover |= b->rover == c;
	}
	if (!rover)
		heap_found(v, 7, &b->rover, "the rover is a member of the list");
	return rover;
}

static const struct chunk_index list_index = {
	.insert = list_insert,
	.remove = list_remove,
	.find = list_find,
	.sure = list_sure,
	.count = list_count,
};

static uint64_t boundary_tags_state_bytes(const struct heap_config *config, const char **why)
{
	(void)config;
	(void)why;
	return sizeof(struct boundary_tags);
}

static int boundary_tags_init(void *state, const struct heap_config *config)
{
	struct boundary_tags *b = state;

	chunk_heap_init(&b->core, config,
			&(struct chunk_setup){ .index = &list_index,
					       .grow_frames = config->option[OPTION_SEGMENT] });
	b->policy = config->option[OPTION_POLICY];
	return 0;
}

const struct heap_ops heap_boundary_tags = {
	.name = "boundary-tags",
	.id = "H3",
	.summary = "chunks with lengths at both ends, one free list; aligned by over-allocating",
	.caps = HEAP_CAP_FREE | HEAP_CAP_ANY_SIZE | HEAP_CAP_ALIGN | HEAP_CAP_RESIZE |
		HEAP_CAP_TAGS | HEAP_CAP_GIVES_BACK | HEAP_CAP_FINDS_MISUSE,
	.options = boundary_tags_options,
	.state_bytes = boundary_tags_state_bytes,
	.init = boundary_tags_init,
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
