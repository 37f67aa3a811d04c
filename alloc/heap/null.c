/*
 * null.c - the heap that never frees: a pointer that only goes up.
 *
 *   run of frames   |oooo.ooooooo.ooo|............|
 *                                    ^ next       ^ end
 *
 * Idea: what a replay costs without a heap, and the least that any heap must beat. A request that
 * does not fit behind `next` gets a new run; what is left of the old one is lost.
 *
 * Invariants (check):
 *   1  `next` lies in the run, or is its end; the run lies in RAM
 *   2  used bytes are not more than the frames held
 *
 * Cost: O(1); 8 bytes before each object, its size, which realloc needs. Not able to: free. walk()
 * shows no objects.
 */
#include "alloc/heap/pages.h"
#include "alloc/heap/systems.h"

#define RUN_FRAMES 16u

/* Each object is preceded by its size, which realloc needs. */
struct bump_size {
	uint64_t bytes;
};

struct bump {
	struct heap_pages pages;
	char *next, *end;
	uint64_t used_objects, used_bytes;
};

static uint64_t bump_state_bytes(const struct heap_config *config, const char **why)
{
	(void)config;
	(void)why;
	return sizeof(struct bump);
}

static int bump_init(void *state, const struct heap_config *config)
{
	struct bump *b = state;

	heap_pages_init(&b->pages, config);
	return 0;
}

static char *place(const struct bump *b, const struct heap_request *request)
{
	uintptr_t at = (uintptr_t)b->next + sizeof(struct bump_size);

	return (char *)((at + request->align_bytes - 1) & ~(uintptr_t)(request->align_bytes - 1));
}

static bool fits(const struct bump *b, const struct heap_request *request)
{
	const char *at = place(b, request);

	return b->next && at <= b->end && request->bytes <= (uint64_t)(b->end - at);
}

static bool new_run(struct bump *b, const struct heap_request *request)
{
	uint64_t need =
		frames_for_bytes(request->bytes + request->align_bytes + sizeof(struct bump_size));
	uint64_t frames = need > RUN_FRAMES ? need : RUN_FRAMES;
	struct heap_run run = heap_pages_get(&b->pages, frames, 1, request->zone);

	if (!run.at && frames > need)
		run = heap_pages_get(&b->pages, need, 1, request->zone);
	if (!run.at)
		return false;
	b->next = run.at;
	b->end = run.at + (uint64_t)run.frames * FRAME_BYTES;
	return true;
}

static int bump_alloc(void *state, const struct heap_request *request, void **out)
{
	struct bump *b = state;

	if (!fits(b, request) && !new_run(b, request))
		return KERR_NO_MEMORY;
	char *at = place(b, request);
	((struct bump_size *)(void *)at)[-1].bytes = request->bytes;
	b->next = (char *)(((uintptr_t)at + request->bytes + 7) & ~(uintptr_t)7);
	b->used_objects++;
	b->used_bytes += request->bytes;
	*out = at;
	return 0;
}

static int bump_free(void *state, void *object)
{
	(void)state;
	(void)object;
	return KERR_UNSUPPORTED;
}

static uint64_t bump_usable(const void *state, const void *object)
{
	(void)state;
	return ((const struct bump_size *)object)[-1].bytes;
}

static void bump_stats(const void *state, struct heap_stats *out)
{
	const struct bump *b = state;

	*out = (struct heap_stats){ .held_frames = b->pages.held_frames,
				    .used_objects = b->used_objects,
				    .used_bytes = b->used_bytes };
}

static int bump_walk(const void *state, heap_visit_fn visit, void *ctx)
{
	(void)state;
	(void)visit;
	(void)ctx;
	return 0;
}

static int bump_check(const void *state, struct heap_violation *v)
{
	const struct bump *b = state;

	if (b->next > b->end || (b->next && !heap_pages_possible(&b->pages, b->end - 1)))
		return heap_found(v, 1, b->next, "next lies in a run of RAM");
	if (b->used_bytes > b->pages.held_frames * FRAME_BYTES)
		return heap_found(v, 2, b, "used bytes are not more than the frames held");
	return 0;
}

const struct heap_ops heap_null = {
	.name = "null",
	.id = "-",
	.summary = "a pointer that only goes up; frees nothing",
	.caps = HEAP_CAP_ANY_SIZE | HEAP_CAP_ALIGN,
	.state_bytes = bump_state_bytes,
	.init = bump_init,
	.alloc = bump_alloc,
	.free = bump_free,
	.usable = bump_usable,
	.stats = bump_stats,
	.walk = bump_walk,
	.check = bump_check,
};
