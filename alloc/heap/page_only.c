/*
 * page_only.c - H4: single pages and nothing else.
 *
 *   object = page = frame of the direct map
 *   page map:  . 1 1 . . 1      1: handed out
 *
 * Idea: the kernel heap that early kernels begin with: whoever needs memory gets a page, and cuts
 * it up himself. A request above a page is refused; one below wastes the rest of its page.
 *
 * Invariants (check):
 *   1  the page map is sound: leaves in RAM, counts right
 *   2  every page handed out lies in RAM, and there are used_pages of them
 *   3  held frames are the used pages and the page map's leaves
 *
 * Cost: the frame allocator's, and a word in the page map, which tells double and foreign frees.
 */
#include "alloc/heap/page_map.h"
#include "alloc/heap/systems.h"

struct page_only {
	struct heap_pages pages;
	struct page_map used;
	uint64_t used_pages;
	uint64_t root[];
};

static uint64_t page_only_state_bytes(const struct heap_config *config, const char **why)
{
	(void)why;
	return sizeof(struct page_only) + page_map_root_bytes(config->map);
}

static int page_only_init(void *state, const struct heap_config *config)
{
	struct page_only *p = state;

	heap_pages_init(&p->pages, config);
	page_map_init(&p->used, &p->pages, p->root);
	return 0;
}

static int page_only_alloc(void *state, const struct heap_request *request, void **out)
{
	struct page_only *p = state;

	if (request->bytes > FRAME_BYTES || request->align_bytes > FRAME_BYTES)
		return KERR_UNSUPPORTED;
	struct heap_run page = heap_pages_get(&p->pages, 1, 1, request->zone);
	if (!page.at)
		return KERR_NO_MEMORY;
	if (!page_map_set(&p->used, page.at, 1, 1)) {
		heap_pages_put(&p->pages, page);
		return KERR_NO_MEMORY;
	}
	p->used_pages++;
	*out = page.at;
	return 0;
}

static uint64_t page_only_usable(const void *state, const void *object)
{
	const struct page_only *p = state;
	bool page = ((uintptr_t)object & (FRAME_BYTES - 1)) == 0;

	return page && page_map_get(&p->used, object) ? FRAME_BYTES : 0;
}

static int page_only_free(void *state, void *object)
{
	struct page_only *p = state;

	if (!page_only_usable(p, object))
		return KERR_NOT_OWNED;
	page_map_clear(&p->used, object, 1);
	heap_pages_put(&p->pages, (struct heap_run){ object, 1 });
	p->used_pages--;
	return 0;
}

static void page_only_stats(const void *state, struct heap_stats *out)
{
	const struct page_only *p = state;

	*out = (struct heap_stats){
		.held_frames = p->pages.held_frames,
		.used_objects = p->used_pages,
		.used_bytes = p->used_pages * FRAME_BYTES,
		.kept_bytes = (p->pages.held_frames - p->used_pages) * FRAME_BYTES,
	};
}

struct visit {
	heap_visit_fn visit;
	void *ctx;
};

static int visit_page(void *ctx, const void *at, uint64_t word)
{
	const struct visit *v = ctx;
	struct heap_extent extent = { .at = at, .bytes = FRAME_BYTES, .state = HEAP_USED };

	(void)word;
	return v->visit(v->ctx, &extent);
}

static int page_only_walk(const void *state, heap_visit_fn visit, void *ctx)
{
	const struct page_only *p = state;
	struct visit v = { visit, ctx };

	return page_map_walk(&p->used, visit_page, &v) ? KERR_STOP : 0;
}

struct tally {
	const struct page_only *heap;
	uint64_t pages;
	const void *outside;
};

static int tally_page(void *ctx, const void *at, uint64_t word)
{
	struct tally *t = ctx;

	if (word != 1 || !heap_pages_possible(&t->heap->pages, at))
		t->outside = at;
	t->pages++;
	return t->outside != NULL;
}

static int page_only_check(const void *state, struct heap_violation *v)
{
	const struct page_only *p = state;
	struct tally t = { .heap = p };
	const void *bad = page_map_check(&p->used);
	uint64_t leaves = 0;

	if (bad)
		return heap_found(v, 1, bad, "the page map is sound");
	page_map_walk(&p->used, tally_page, &t);
	if (t.outside || t.pages != p->used_pages)
		return heap_found(v, 2, t.outside, "pages handed out lie in RAM and are counted");
	for (uint64_t r = 0; r < p->used.roots; r++)
		leaves += p->root[r] != 0;
	if (p->pages.held_frames != p->used_pages + leaves)
		return heap_found(v, 3, p, "held frames are pages and leaves");
	return 0;
}

const struct heap_ops heap_page_only = {
	.name = "page-only",
	.id = "H4",
	.summary = "hands out single pages and nothing else",
	.caps = HEAP_CAP_FREE | HEAP_CAP_GIVES_BACK | HEAP_CAP_FINDS_MISUSE | HEAP_CAP_BOUNDED |
		HEAP_CAP_OUT_OF_BAND,
	.state_bytes = page_only_state_bytes,
	.init = page_only_init,
	.alloc = page_only_alloc,
	.free = page_only_free,
	.usable = page_only_usable,
	.stats = page_only_stats,
	.walk = page_only_walk,
	.check = page_only_check,
};
