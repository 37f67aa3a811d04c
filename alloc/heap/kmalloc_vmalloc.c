/*
 * kmalloc_vmalloc.c - H8: kmalloc from a brk in the direct map, vmalloc for what is large.
 *
 *   RAM      |boot|hd|obj|hd|  obj  |hd| free |end|      |  v  |  v  |     |  v  |
 *   frames        '------ kmalloc ------------ brk ->       single frames of the allocator
 *                                                             |  ___________/
 *   region                                        | v v v . | v v . |        . guard page
 *
 * Idea: two promises in one heap. What kmalloc hands out is contiguous in RAM, so that a device can
 * be told its address: its memory is one run that begins at the low end and grows at its brk, in
 * blocks of `step` frames that are asked for by number (FRAME_AT). What vmalloc hands out is
 * contiguous in kernel addresses only, from single frames wherever they are, so that it is had as
 * long as frames are. Requests above `large` go there, and those that kmalloc cannot serve, unless
 * they say HEAP_CONTIGUOUS.
 *
 * Where the frames behind the brk are somebody else's, the brk jumps to the next place that is
 * free, upwards, once around; that is a new segment. An allocator that cannot give frames by
 * number gives segments wherever it likes. kmalloc's inside is TLSF's (tlsf.h); vmalloc's are
 * area.h's.
 *
 * Invariants (check): 1 to 8 of H11 for kmalloc; 9 to 13 are 1 to 5 of area.h for vmalloc, and
 *  14  the setup is as init left it
 *  15  kmalloc's segments are whole blocks at multiples of `step`, and the frames that it holds;
 *      no more than `limit`
 *
 * Cost: kmalloc as H11, and a request of the frame allocator for each block; a jump looks at every
 * `step` frames of RAM. vmalloc O(pages) maps, and as many invalidations on every CPU at the free.
 * Frames of kmalloc go back with trim(), by whole segments.
 *
 * Source: the split is Linux' (mm/slab.h, mm/vmalloc.c, kvmalloc()) and that of kernels whose heap
 * follows their image; the brk is F7's, seen from above.
 */
#include "alloc/heap/area.h"
#include "alloc/heap/systems.h"
#include "alloc/heap/tlsf.h"

enum { OPTION_LARGE, OPTION_STEP, OPTION_LIMIT, OPTION_REGION };

static const struct frame_option kmalloc_options[] = {
	[OPTION_LARGE] = { .key = "large",
			   .help = "bytes above which a request goes to vmalloc",
			   .value = 128 << 10,
			   .min = X86_PAGE_BYTES,
			   .max = 64 << 20 },
	[OPTION_STEP] = { .key = "step",
			  .help = "log2 of the frames that the brk moves by",
			  .value = 4,
			  .min = 0,
			  .max = 10 },
	[OPTION_LIMIT] = { .key = "limit",
			   .help = "MiB that kmalloc may hold",
			   .value = 1 << 20,
			   .min = 16,
			   .max = 1 << 20 },
	[OPTION_REGION] = { .key = "region",
			    .help = "MiB of kernel addresses for vmalloc, or as many as there are",
			    .value = 1024,
			    .min = 64,
			    .max = 65536 },
	{ .key = NULL },
};

struct kmalloc_vmalloc {
	struct tlsf body; /* first: its functions get the state */
	struct areas areas;
	struct kmalloc_setup {
		uint64_t large, limit_frames;
		uint64_t step_frames; /* 0: the frame allocator cannot be told where */
	} setup;
	uint64_t setup_sum;
	uint64_t jumps;
	uint64_t room[];
};

/* ---- start ---- */

static struct area_rules rules_for(const struct heap_config *config, const char **why)
{
	return (struct area_rules){
		.bytes = areas_region_bytes(config, config->option[OPTION_REGION] << 20, why),
		.late = 1,
	};
}

static uint64_t kmalloc_state_bytes(const struct heap_config *config, const char **why)
{
	struct area_rules rules = rules_for(config, why);

	return rules.bytes ? sizeof(struct kmalloc_vmalloc) + areas_room_bytes(&rules) : 0;
}

static int kmalloc_init(void *state, const struct heap_config *config)
{
	struct kmalloc_vmalloc *h = state;
	unsigned caps = config->frames.ops->caps;
	const char *why;
	struct area_rules rules = rules_for(config, &why);

	tlsf_setup(&h->body, config, 0);
	areas_init(&h->areas, config, &rules, h->room);
	h->setup = (struct kmalloc_setup){
		.large = config->option[OPTION_LARGE],
		.limit_frames = config->option[OPTION_LIMIT] << (20 - X86_PAGE_SHIFT),
		.step_frames = caps & FRAME_CAP_AT ? 1ull << config->option[OPTION_STEP] : 0,
	};
	h->setup_sum = heap_header_sum(&h->setup, sizeof(h->setup));
	return 0;
}

/* ---- the brk ---- */

static uint64_t brk_frame(const struct kmalloc_vmalloc *h)
{
	const char *end = chunk_heap_end(&h->body.core);

	return end ? heap_frame_of(&h->body.core.pages, end) : 0;
}

/* Blocks from FIRST on, up to FRAMES. Returns how many frames there are. */
static uint64_t take_blocks(struct kmalloc_vmalloc *h, uint64_t first, uint64_t frames)
{
	struct heap_pages *pages = &h->body.core.pages;
	uint64_t step = h->setup.step_frames, got = 0;

	while (got < frames && first + got + step <= pages->reach.direct_end.n &&
	       heap_pages_get_at(pages, pfn(first + got), step))
		got += step;
	return got;
}

static void put_blocks(struct kmalloc_vmalloc *h, char *at, uint64_t frames)
{
	uint64_t step = h->setup.step_frames ? h->setup.step_frames : frames;

	for (uint64_t done = 0; done < frames; done += step)
		heap_pages_put(&h->body.core.pages,
			       (struct heap_run){ at + done * FRAME_BYTES, (uint32_t)step });
}

static char *frame_at(const struct kmalloc_vmalloc *h, uint64_t frame)
{
	return frame_direct(&h->body.core.pages.reach, pfn(frame));
}

/* A new segment of FRAMES between two frame numbers, the lowest that is free. */
static bool jump_between(struct kmalloc_vmalloc *h, uint64_t from, uint64_t end, uint64_t frames)
{
	while (from + frames <= end) {
		uint64_t got = take_blocks(h, from, frames);
		char *at = frame_at(h, from);
		if (got >= frames) {
			chunk_heap_adopt(&h->body.core, (struct heap_run){ at, (uint32_t)got });
			return true;
		}
		put_blocks(h, at, got);
		from += got + h->setup.step_frames;
	}
	return false;
}

static bool jump(struct kmalloc_vmalloc *h, uint64_t frames)
{
	uint64_t end = h->body.core.pages.map->end.n, brk = brk_frame(h);

	h->jumps += brk != 0;
	return jump_between(h, brk, end, frames) ||
	       jump_between(h, 0, brk + frames < end ? brk + frames : end, frames);
}

static bool grow_anywhere(struct kmalloc_vmalloc *h, uint64_t frames)
{
	struct heap_run run = heap_pages_get(&h->body.core.pages, frames, 1, FRAME_ZONE_ANY);

	if (run.at)
		chunk_heap_adopt(&h->body.core, run);
	return run.at != NULL;
}

/* Room for a chunk of BYTES. */
static bool grow(struct kmalloc_vmalloc *h, uint64_t bytes)
{
	const struct heap_pages *pages = &h->body.core.pages;
	uint64_t frames = frames_for_bytes(bytes + sizeof(struct chunk_segment) + CHUNK_HEADER);

	if (pages->held_frames + frames > h->setup.limit_frames)
		return false;
	if (!h->setup.step_frames)
		return grow_anywhere(h, frames);
	frames = round_up_u64(frames, h->setup.step_frames);
	uint64_t brk = brk_frame(h), got = brk ? take_blocks(h, brk, frames) : 0;
	if (got)
		chunk_heap_extend(&h->body.core,
				  (struct heap_run){ frame_at(h, brk), (uint32_t)got });
	return got >= frames || jump(h, frames);
}

/* ---- objects ---- */

/* A chunk that is sure to hold such an object, wherever it begins. */
static uint64_t chunk_for(const struct kmalloc_vmalloc *h, const struct heap_request *request)
{
	uint64_t most = request->bytes + request->align_bytes + CHUNK_HEADER + 2 * CHUNK_MIN;

	return h->body.core.setup.index->sure(most);
}

static int kmalloc(struct kmalloc_vmalloc *h, const struct heap_request *request, void **out)
{
	int error = chunk_heap_alloc(h, request, out);

	return error == KERR_NO_MEMORY && grow(h, chunk_for(h, request))
		       ? chunk_heap_alloc(h, request, out)
		       : error;
}

static int kmalloc_vmalloc_alloc(void *state, const struct heap_request *request, void **out)
{
	struct kmalloc_vmalloc *h = state;
	bool contiguous = request->flags & HEAP_CONTIGUOUS;

	if (contiguous || request->bytes <= h->setup.large) {
		int error = kmalloc(h, request, out);
		if (!error || contiguous)
			return error;
	}
	return areas_alloc(&h->areas, request, request->tag, out);
}

static int kmalloc_vmalloc_free(void *state, void *object)
{
	struct kmalloc_vmalloc *h = state;

	return areas_hold(&h->areas, object) ? areas_free(&h->areas, object)
					     : chunk_heap_free(h, object);
}

static int kmalloc_vmalloc_resize(void *state, void *object, uint64_t bytes)
{
	struct kmalloc_vmalloc *h = state;

	return areas_hold(&h->areas, object) ? KERR_NO_MEMORY : chunk_heap_resize(h, object, bytes);
}

static uint64_t kmalloc_vmalloc_usable(const void *state, const void *object)
{
	const struct kmalloc_vmalloc *h = state;

	return areas_hold(&h->areas, object) ? areas_usable(&h->areas, object)
					     : chunk_heap_usable(h, object);
}

static uint32_t kmalloc_vmalloc_tag(const void *state, const void *object)
{
	const struct kmalloc_vmalloc *h = state;

	return areas_hold(&h->areas, object) ? areas_value(&h->areas, object)
					     : chunk_heap_tag(h, object);
}

static void kmalloc_vmalloc_trim(void *state)
{
	struct kmalloc_vmalloc *h = state;
	struct heap_run run;

	while ((run = chunk_heap_abandon(&h->body.core)).at)
		put_blocks(h, run.at, run.frames);
	areas_trim(&h->areas);
}

/* ---- looking at it ---- */

static bool kmalloc_vmalloc_locate(const void *state, const void *at, struct heap_place *out)
{
	const struct kmalloc_vmalloc *h = state;

	return areas_locate(&h->areas, at, out);
}

static void kmalloc_vmalloc_stats(const void *state, struct heap_stats *out)
{
	const struct kmalloc_vmalloc *h = state;

	chunk_heap_stats(h, out);
	areas_add_stats(&h->areas, out);
}

static int kmalloc_vmalloc_walk(const void *state, heap_visit_fn visit, void *ctx)
{
	const struct kmalloc_vmalloc *h = state;
	int error = chunk_heap_walk(h, visit, ctx);

	return error ? error : areas_walk(&h->areas, visit, ctx);
}

static int check_segments(const struct kmalloc_vmalloc *h, struct heap_violation *v)
{
	const struct chunk_heap *core = &h->body.core;
	uint64_t step = h->setup.step_frames ? h->setup.step_frames : 1;

	for (const struct chunk_segment *s = core->segments; s; s = s->next)
		if ((heap_frame_of(&core->pages, s) | s->frames) & (step - 1))
			return heap_found(v, 15, s, "kmalloc's segments are whole blocks");
	if (core->segment_frames != core->pages.held_frames ||
	    core->pages.held_frames > h->setup.limit_frames + h->setup.step_frames)
		return heap_found(v, 15, &core->pages, "kmalloc holds its segments' frames");
	return 0;
}

static int kmalloc_vmalloc_check(const void *state, struct heap_violation *v)
{
	const struct kmalloc_vmalloc *h = state;

	if (h->setup_sum != heap_header_sum(&h->setup, sizeof(h->setup)))
		return heap_found(v, 14, &h->setup, "the setup is as init left it");
	int error = chunk_heap_check(h, v);
	if (!error)
		error = check_segments(h, v);
	return error ? error : areas_check(&h->areas, 9, v);
}

const struct heap_ops heap_kmalloc_vmalloc = {
	.name = "kmalloc-vmalloc",
	.id = "H8",
	.summary =
		"kmalloc from a brk in the direct map, vmalloc of single frames for what is large",
	.caps = HEAP_CAP_FREE | HEAP_CAP_ANY_SIZE | HEAP_CAP_ALIGN | HEAP_CAP_RESIZE |
		HEAP_CAP_TAGS | HEAP_CAP_GIVES_BACK | HEAP_CAP_FINDS_MISUSE | HEAP_CAP_MAPS,
	.options = kmalloc_options,
	.state_bytes = kmalloc_state_bytes,
	.init = kmalloc_init,
	.alloc = kmalloc_vmalloc_alloc,
	.free = kmalloc_vmalloc_free,
	.resize = kmalloc_vmalloc_resize,
	.usable = kmalloc_vmalloc_usable,
	.tag = kmalloc_vmalloc_tag,
	.trim = kmalloc_vmalloc_trim,
	.locate = kmalloc_vmalloc_locate,
	.stats = kmalloc_vmalloc_stats,
	.walk = kmalloc_vmalloc_walk,
	.check = kmalloc_vmalloc_check,
};
