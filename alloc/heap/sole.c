/*
 * sole.c - H2: the heap as the only allocator.
 *
 *   RAM     |seg: every frame that there is, as chunks ...                       |end|
 *            hd| object |hd|  free   |hd|<- 4080 ->|hd| page-aligned block |hd| free
 *                                     hole before a frame
 *
 * Idea: why have two allocators? At start the heap takes every free frame, in runs as long as they
 * come, and is all there is from then on: objects are its chunks, and so are frames and page
 * tables, as blocks of 4096 bytes aligned to 4096 (heap_as_frames, below). What that costs is to be
 * seen here: a header before every frame spoils the page before it, so that two frames never stand
 * side by side, and nothing larger than the longest run can be had. The chunks are found by TLSF's
 * index (tlsf.h).
 *
 * heap_as_frames makes a page-frame allocator of any heap: a block is an object.
 *
 * Invariants (check): 1 to 8 of H11, and
 *   9  the frames held are those that it took at start
 *
 * Cost: as H11; at start one request of the frame allocator for each run. A frame costs 16 bytes
 * and the hole before it, up to 4080 bytes, which only smaller objects can use. Never gives frames
 * back.
 */
#include "alloc/heap/as_frames.h"
#include "alloc/heap/systems.h"
#include "alloc/heap/tlsf.h"
#include "alloc/port.h"

#define RUN_FRAMES_MAX (1ull << 22) /* 16 GiB: what TLSF's lists tell apart */

struct sole {
	struct tlsf body;
	uint64_t taken_frames;
};

static uint64_t sole_state_bytes(const struct heap_config *config, const char **why)
{
	(void)config;
	(void)why;
	return sizeof(struct sole);
}

static int sole_init(void *state, const struct heap_config *config)
{
	struct sole *h = state;
	struct chunk_heap *core = &h->body.core;

	tlsf_setup(&h->body, config, 0);
	for (uint64_t frames = RUN_FRAMES_MAX; frames; frames /= 2) {
		struct heap_run run;
		while ((run = heap_pages_get(&core->pages, frames, 1, FRAME_ZONE_ANY)).at)
			chunk_heap_adopt(core, run);
	}
	h->taken_frames = core->pages.held_frames;
	return h->taken_frames ? 0 : KERR_NO_MEMORY;
}

static int sole_check(const void *state, struct heap_violation *v)
{
	const struct sole *h = state;
	int error = chunk_heap_check(&h->body.core, v);

	if (!error && h->body.core.pages.held_frames != h->taken_frames)
		return heap_found(v, 9, h, "frames held are those taken at start");
	return error;
}

const struct heap_ops heap_sole = {
	.name = "sole",
	.id = "H2",
	.summary = "takes all of RAM at start and is the only allocator; frames are its objects",
	.caps = HEAP_CAP_FREE | HEAP_CAP_ANY_SIZE | HEAP_CAP_ALIGN | HEAP_CAP_RESIZE |
		HEAP_CAP_TAGS | HEAP_CAP_FINDS_MISUSE | HEAP_CAP_BOUNDED,
	.state_bytes = sole_state_bytes,
	.init = sole_init,
	.alloc = chunk_heap_alloc,
	.free = chunk_heap_free,
	.resize = chunk_heap_resize,
	.usable = chunk_heap_usable,
	.tag = chunk_heap_tag,
	.stats = chunk_heap_stats,
	.walk = chunk_heap_walk,
	.check = sole_check,
};

/* ---- frames out of a heap ---- */

static int as_frames_alloc(void *state, const struct frame_request *request,
			   struct frame_block *out)
{
	struct heap_as_frames *f = state;
	uint64_t align = request->align_frames * FRAME_BYTES;
	struct heap_request r = { .bytes = request->frames * FRAME_BYTES,
				  .align_bytes = (uint32_t)align,
				  .zone = request->zone };
	void *at;

	if (align > HEAP_ALIGN_MAX)
		return KERR_UNSUPPORTED;
	int error = heap_alloc(&f->heap, &r, &at);
	if (error)
		return error;
	uint64_t offset = (uint64_t)((const char *)at - f->reach.base);
	*out = (struct frame_block){ paddr_to_pfn((struct paddr){ offset }), request->frames };
	return 0;
}

static int as_frames_free(void *state, const struct frame_block *block)
{
	struct heap_as_frames *f = state;

	return heap_free(&f->heap, frame_direct(&f->reach, block->first));
}

static void as_frames_stats(const void *state, struct frame_stats *out)
{
	const struct heap_as_frames *f = state;
	struct heap_stats stats;

	f->heap.ops->stats(f->heap.state, &stats);
	*out = (struct frame_stats){ .managed_frames = stats.held_frames };
}

const struct frame_ops heap_as_frames_ops = {
	.name = "heap-as-frames",
	.id = "-",
	.summary = "page frames as aligned objects of a kernel heap",
	.caps = FRAME_CAP_RUNS | FRAME_CAP_ANY_COUNT | FRAME_CAP_ALIGN | FRAME_CAP_FREE,
	.alloc = as_frames_alloc,
	.free = as_frames_free,
	.stats = as_frames_stats,
};
