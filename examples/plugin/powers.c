/*
 * powers.c - a kernel heap of one's own: powers of two, on the lab's spans (alloc/heap/span.h).
 *
 *   list   16 -> span -> span      a span: one frame, cut into equal slots, described out of band
 *          32 -> span
 *        ... 2048                  larger: a run of frames with one slot
 *
 * Invariants (check): 1 to 4 of span.h, and
 *   5  a list holds spans of its size with a vacant slot, linked both ways
 *
 * Cost: O(1), and a frame from below now and then. Up to half of what is handed out is waste. A
 * list takes spans of all zones: a request's zone is a wish.
 */
#include "alloc/bitops.h"
#include "alloc/heap/plugin.h"
#include "alloc/heap/span.h"
#include "alloc/heap/support.h"

#define SHIFT_MIN 4u
#define SHIFT_MAX 11u
#define SIZES	  (SHIFT_MAX - SHIFT_MIN + 1)
#define RUN	  SIZES /* kind of a span that is one object */

struct powers {
	struct span_pool pool;
	struct span *list[SIZES];
	uint64_t root[];
};

static uint64_t powers_state_bytes(const struct heap_config *config, const char **why)
{
	return sizeof(struct powers) + page_map_root_bytes(config->map);
}

static int powers_init(void *state, const struct heap_config *config)
{
	struct powers *h = state;

	span_pool_init(&h->pool, config, h->root, false);
	return 0;
}

/* The power that has room, and the alignment too: a slot is aligned to its size. */
static unsigned kind_for(const struct heap_request *r)
{
	uint64_t bytes = r->bytes > r->align_bytes ? r->bytes : r->align_bytes;

	if (bytes > 1u << SHIFT_MAX)
		return RUN;
	return bytes <= 1u << SHIFT_MIN ? 0 : bit_highest(bytes - 1) + 1 - SHIFT_MIN;
}

static int powers_alloc(void *state, const struct heap_request *r, void **out)
{
	struct powers *h = state;
	unsigned kind = kind_for(r);
	struct span *s = kind == RUN ? NULL : h->list[kind];

	if (kind == RUN)
		s = span_new(&h->pool, frames_for_bytes(r->bytes), frames_for_bytes(r->align_bytes),
			     r->zone, 0, RUN);
	else if (!s && (s = span_new(&h->pool, 1, 1, r->zone, 1ull << (kind + SHIFT_MIN),
				     (uint16_t)kind)))
		span_push(&h->list[kind], s);
	if (!s)
		return KERR_NO_MEMORY;
	*out = span_take(&h->pool, s);
	if (kind != RUN && !s->free)
		span_unlink(&h->list[kind], s);
	return 0;
}

static int powers_free(void *state, void *object)
{
	struct powers *h = state;
	struct span *s = span_of(&h->pool, object);
	int slot = s ? span_slot(s, object) : -1;

	if (slot < 0)
		return KERR_NOT_OWNED;
	span_give(&h->pool, s, (unsigned)slot);
	if (s->kind != RUN && s->free == 1)
		span_push(&h->list[s->kind], s);
	if (s->free < s->slots)
		return 0;
	if (s->kind != RUN)
		span_unlink(&h->list[s->kind], s);
	span_free(&h->pool, s);
	return 0;
}

static uint64_t powers_usable(const void *state, const void *object)
{
	return span_usable(&((const struct powers *)state)->pool, object);
}

static void powers_stats(const void *state, struct heap_stats *out)
{
	span_stats(&((const struct powers *)state)->pool, out);
}

static int powers_walk(const void *state, heap_visit_fn visit, void *ctx)
{
	return span_walk(&((const struct powers *)state)->pool, visit, ctx);
}

static int powers_check(const void *state, struct heap_violation *v)
{
	const struct powers *h = state;
	int error = span_check(&h->pool, v);

	for (unsigned kind = 0; !error && kind < SIZES; kind++) {
		const struct span *before = NULL;
		for (const struct span *s = h->list[kind]; s; before = s, s = s->next)
			if (!heap_pages_possible(&h->pool.pages, s) || s->kind != kind ||
			    !s->free || s->prev != before || span_of(&h->pool, s->base) != s)
				return heap_found(v, 5, s, "lists hold spans with vacant slots");
	}
	return error;
}

static const struct heap_ops powers = {
	.name = "powers",
	.id = "-",
	.summary = "powers of two in spans of one frame; larger ones are runs",
	.caps = HEAP_CAP_FREE | HEAP_CAP_ANY_SIZE | HEAP_CAP_ALIGN | HEAP_CAP_GIVES_BACK |
		HEAP_CAP_FINDS_MISUSE,
	.state_bytes = powers_state_bytes,
	.init = powers_init,
	.alloc = powers_alloc,
	.free = powers_free,
	.usable = powers_usable,
	.stats = powers_stats,
	.walk = powers_walk,
	.check = powers_check,
};

KMEMLAB_HEAP_PLUGIN(powers);
