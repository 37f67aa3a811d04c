/*
 * demand_region.c - H7: a region of kernel addresses whose pages get frames when they are touched.
 *
 *   region    |head|hd| obj |hd|  free ........................................ |hd| obj
 * |hd|..|end| pages     [   f   ][  f  ][  f  ][     ][     ][     ][     ][     ][  f  ][  f  ][
 * ] [f ] tables    in place for all of it from the start: a fault only needs a frame
 *
 * Idea: addresses are many and frames few. The heap inside is an ordinary one, TLSF over one
 * segment as long as the region (tlsf.h, chunk_heap.h), which knows nothing of pages: what it, or
 * an object's owner, touches first faults, and the fault takes a frame. Pages that lie wholly in a
 * free chunk go back when there are enough of them together (`give-back`), or at trim().
 *
 * Where there is no frame a fault cannot be served and whoever touched the page dies. So that it is
 * never the heap's own code, each request first sees to a reserve of frames, enough for all pages
 * that it touches itself, and the pages that the object's free will touch get frames with the
 * object. What the owner touches may find the allocator empty after the reserve: that is the price,
 * and commit() is the way out.
 *
 * Invariants (check): 1 to 8 of H11, and
 *   9  the setup is as init left it
 *  10  the bits say which pages are mapped, and present_pages how many; frames are RAM
 *  11  held frames are those pages and the reserve
 *  12  header, links and last word of every chunk stand on pages that have frames
 *
 * Cost: as H11; the first touch of a page a fault, a frame and a map; a free of many pages an
 * invalidation of each on every CPU. A bit a page, page tables of 4 KiB for 2 (i386: 4) MiB.
 *
 * Differs from a user's heap on brk: what is given back is any run of pages, not the end alone.
 */
#include "alloc/bitops.h"
#include "alloc/heap/systems.h"
#include "alloc/heap/tlsf.h"
#include "alloc/port.h"

/* Pages that a request touches for the first time: header and, across a page's end, links of what
 * is left; the object's header and the last word of the hole before it; and with the object its
 * links and last word. */
#define RESERVE_FRAMES 6u

#define LINKS_BYTES sizeof(struct chunk) /* of a chunk's beginning, kept while it is free */

enum { OPTION_REGION, OPTION_GIVE_BACK };

static const struct frame_option demand_region_options[] = {
	[OPTION_REGION] = { .key = "region",
			    .help = "MiB of kernel addresses, or as many as the machine has",
			    .value = 64,
			    .min = 16,
			    .max = 1024 },
	[OPTION_GIVE_BACK] = { .key = "give-back",
			       .help = "pages that a free chunk must hold to lose its frames",
			       .value = 16,
			       .min = 1,
			       .max = 262144 },
	{ .key = NULL },
};

struct demand_region {
	struct tlsf body; /* first: its functions get the state */
	struct heap_pages pages;
	struct demand_setup {
		struct heap_mapper mapper;
		char *base;
		uint64_t bytes, give_back;
		uint64_t seed;
		struct memmap map; /* the region as the body's memory: pages for frames */
		struct frame_range range;
		uint64_t *present; /* a bit a page */
	} setup;
	uint64_t setup_sum;
	uint64_t started; /* the body has its segment */
	uint64_t present_pages;
	uint64_t reserve_frames;
	uint64_t reserve[RESERVE_FRAMES]; /* frame numbers */
	uint64_t bits[];
};

static uint64_t page_count(const struct demand_region *h)
{
	return h->setup.bytes >> X86_PAGE_SHIFT;
}

static uint64_t page_of(const struct demand_region *h, const void *at)
{
	return (uint64_t)((const char *)at - h->setup.base) >> X86_PAGE_SHIFT;
}

static bool is_present(const struct demand_region *h, uint64_t page)
{
	return page < page_count(h) &&
	       (h->setup.present[page / BITS_PER_WORD] >> page % BITS_PER_WORD & 1);
}

static struct vaddr page_vaddr(const struct demand_region *h, uint64_t page)
{
	return vaddr_add(h->setup.mapper.base, page << X86_PAGE_SHIFT);
}

/* ---- frames ---- */

static bool fill_reserve(struct demand_region *h)
{
	while (h->reserve_frames < RESERVE_FRAMES) {
		struct heap_run run = heap_pages_get(&h->pages, 1, 1, FRAME_ZONE_ANY);
		if (!run.at)
			return false;
		h->reserve[h->reserve_frames++] = heap_frame_of(&h->pages, run.at);
	}
	return true;
}

static void put_frame(struct demand_region *h, struct pfn frame)
{
	heap_pages_put(&h->pages, (struct heap_run){ frame_direct(&h->pages.reach, frame), 1 });
}

static bool take_frame(struct demand_region *h, struct pfn *frame)
{
	struct heap_run run = heap_pages_get(&h->pages, 1, 1, FRAME_ZONE_ANY);

	if (run.at)
		*frame = pfn(heap_frame_of(&h->pages, run.at));
	else if (h->reserve_frames)
		*frame = pfn(h->reserve[--h->reserve_frames]);
	else
		return false;
	return true;
}

/* The page, which has no frame, gets one. */
static bool back_page(struct demand_region *h, uint64_t page)
{
	struct pfn frame;

	if (!take_frame(h, &frame))
		return false;
	if (h->setup.mapper.ops->map(h->setup.mapper.context, page_vaddr(h, page), frame)) {
		put_frame(h, frame);
		return false;
	}
	h->setup.present[page / BITS_PER_WORD] |= 1ull << page % BITS_PER_WORD;
	h->present_pages++;
	return true;
}

static bool back(struct demand_region *h, const void *at, uint64_t bytes)
{
	uint64_t end = page_of(h, (const char *)at + bytes - 1) + 1;

	for (uint64_t page = page_of(h, at); bytes && page < end; page++)
		if (!is_present(h, page) && !back_page(h, page))
			return false;
	return true;
}

static void page_gone(void *context, struct vaddr va, struct pfn frame)
{
	struct demand_region *h = context;
	uint64_t page = (va.a - h->setup.mapper.base.a) >> X86_PAGE_SHIFT;

	h->setup.present[page / BITS_PER_WORD] &= ~(1ull << page % BITS_PER_WORD);
	h->present_pages--;
	put_frame(h, frame);
}

/* Pages [first, end) lose their frames. */
static void unback(struct demand_region *h, uint64_t first, uint64_t end)
{
	while (first < end && !is_present(h, first))
		first++;
	while (end > first && !is_present(h, end - 1))
		end--;
	if (first < end)
		h->setup.mapper.ops->unmap(h->setup.mapper.context, page_vaddr(h, first),
					   (end - first) << X86_PAGE_SHIFT, page_gone, h);
}

static bool demand_region_fault(void *state, const void *at, uint32_t error_code)
{
	struct demand_region *h = state;
	uint64_t page = page_of(h, at);

	return page < page_count(h) && !(error_code & X86_PF_P) && !is_present(h, page) &&
	       back_page(h, page);
}

/* ---- start ---- */

static uint64_t region_bytes(const struct heap_config *config, const char **why)
{
	uint64_t most = config->mapper.ops ? config->mapper.bytes : 0;
	uint64_t bytes = config->option[OPTION_REGION] << 20;

	if (!most)
		*why = "it needs page tables and room for a region of kernel addresses";
	return bytes < most ? bytes : most;
}

static uint64_t bits_bytes(uint64_t bytes)
{
	return round_up_u64(bytes >> X86_PAGE_SHIFT, BITS_PER_WORD) / 8;
}

static uint64_t demand_region_state_bytes(const struct heap_config *config, const char **why)
{
	uint64_t bytes = region_bytes(config, why);

	return bytes ? sizeof(struct demand_region) + bits_bytes(bytes) : 0;
}

static void start_body(struct demand_region *h)
{
	struct heap_config inside = { .cpus = 1, .seed = h->setup.seed, .map = &h->setup.map };

	inside.reach.base = h->setup.base;
	inside.reach.direct_end = h->setup.map.end;
	h->body = (struct tlsf){ .first = 0 };
	tlsf_setup(&h->body, &inside, 0);
	h->started = false;
}

static int demand_region_init(void *state, const struct heap_config *config)
{
	struct demand_region *h = state;
	const char *why;
	uint64_t bytes = region_bytes(config, &why), pages = bytes >> X86_PAGE_SHIFT;

	heap_pages_init(&h->pages, config);
	h->setup = (struct demand_setup){ .mapper = config->mapper,
					  .base = port_ptr(config->mapper.base),
					  .bytes = bytes,
					  .give_back = config->option[OPTION_GIVE_BACK],
					  .seed = config->seed,
					  .range = { { 0 }, pages },
					  .present = h->bits };
	h->setup.map = (struct memmap){
		.ranges = &h->setup.range, .count = 1, .frames = pages, .end = { pages }
	};
	h->setup_sum = heap_header_sum(&h->setup, sizeof(h->setup));
	start_body(h);
	return config->mapper.ops->prepare(config->mapper.context, config->mapper.base, bytes);
}

/* The region becomes the body's one segment: its first and last page are touched. */
static bool begin(struct demand_region *h)
{
	if (h->started)
		return true;
	if (!back(h, h->setup.base, 1) || !back(h, h->setup.base + h->setup.bytes - 1, 1))
		return false;
	h->started = true;
	chunk_heap_adopt(&h->body.core,
			 (struct heap_run){ h->setup.base, (uint32_t)page_count(h) });
	return true;
}

/* ---- objects ---- */

/* What the object's free will touch; the reserve holds it. */
static void back_ends(struct demand_region *h, const char *object)
{
	uint64_t bytes = chunk_heap_usable(h, object);

	if (!back(h, object, LINKS_BYTES - CHUNK_HEADER) ||
	    !back(h, object + bytes - sizeof(uint64_t), sizeof(uint64_t)))
		port_panic("a demand-paged heap's reserve was too small");
}

static int demand_region_alloc(void *state, const struct heap_request *request, void **out)
{
	struct demand_region *h = state;
	void *object;

	if (request->bytes > h->setup.bytes || !fill_reserve(h) || !begin(h) || !fill_reserve(h))
		return KERR_NO_MEMORY;
	int error = chunk_heap_alloc(h, request, &object);
	if (error)
		return error;
	back_ends(h, object);
	*out = object;
	return 0;
}

/* Could a header stand there? Looking must not take a frame. */
static bool has_header(const struct demand_region *h, const void *object)
{
	return is_present(h, page_of(h, (const char *)object - CHUNK_HEADER));
}

static uint64_t demand_region_usable(const void *state, const void *object)
{
	return has_header(state, object) ? chunk_heap_usable(state, object) : 0;
}

static uint32_t demand_region_tag(const void *state, const void *object)
{
	return has_header(state, object) ? chunk_heap_tag(state, object) : 0;
}

/* Pages of a free chunk that hold nothing of its own: [*first, *end). */
static void inner_pages(const struct demand_region *h, const struct chunk *c, uint64_t *first,
			uint64_t *end)
{
	const char *from = (const char *)c + LINKS_BYTES - 1;
	const char *to = (const char *)c + chunk_bytes(c) - sizeof(uint64_t);

	*first = page_of(h, from) + 1;
	*end = page_of(h, to);
}

/* The object in pages [from, to) has become a part of C. Chunks beside it were shorter than
 * give_back, or have lost their frames before: what is farther off need not be looked at. */
static void give_back(struct demand_region *h, const struct chunk *c, uint64_t from, uint64_t to)
{
	uint64_t first, end, near = h->setup.give_back + 2;

	inner_pages(h, c, &first, &end);
	if (end <= first || end - first < h->setup.give_back)
		return;
	if (from > near && first < from - near)
		first = from - near;
	if (end > to + near)
		end = to + near;
	unback(h, first, end);
}

static int demand_region_free(void *state, void *object)
{
	struct demand_region *h = state;
	uint64_t bytes = demand_region_usable(h, object);
	const struct chunk *c = (const struct chunk *)((uintptr_t)object - CHUNK_HEADER);
	uint64_t from = page_of(h, c), to = page_of(h, (const char *)object + bytes) + 1;

	if (!bytes)
		return KERR_NOT_OWNED;
	if (c->word & CHUNK_PREV_FREE)
		c = (const struct chunk *)((uintptr_t)c - ((const uint64_t *)(const void *)c)[-1]);
	int error = chunk_heap_free(h, object);
	if (!error)
		give_back(h, c, from, to);
	return error;
}

static int demand_region_resize(void *state, void *object, uint64_t bytes)
{
	struct demand_region *h = state;

	if (!has_header(h, object))
		return KERR_NOT_OWNED;
	if (!fill_reserve(h))
		return KERR_NO_MEMORY;
	int error = chunk_heap_resize(h, object, bytes);
	if (!error)
		back_ends(h, object);
	return error;
}

static int demand_region_commit(void *state, void *object, uint64_t bytes)
{
	return back(state, object, bytes) ? 0 : KERR_NO_MEMORY;
}

/* ---- trim ---- */

static int trim_extent(void *ctx, const struct heap_extent *extent)
{
	struct demand_region *h = ctx;
	const struct chunk *c = (const struct chunk *)((uintptr_t)extent->at - CHUNK_HEADER);
	uint64_t first, end;

	if (extent->state == HEAP_USED)
		return 0;
	inner_pages(h, c, &first, &end);
	unback(h, first, end);
	return 0;
}

static void demand_region_trim(void *state)
{
	struct demand_region *h = state;

	if (h->body.core.used_objects) {
		chunk_heap_walk(h, trim_extent, h);
	} else {
		unback(h, 0, page_count(h));
		start_body(h);
	}
	while (h->reserve_frames)
		put_frame(h, pfn(h->reserve[--h->reserve_frames]));
}

/* ---- looking at it ---- */

static bool demand_region_locate(const void *state, const void *at, struct heap_place *out)
{
	const struct demand_region *h = state;
	const char *end = h->setup.base + h->setup.bytes;

	if (!h->started || page_of(h, at) >= page_count(h))
		return false;
	for (const struct chunk *c = (const struct chunk *)((uintptr_t)h->setup.base +
							    sizeof(struct chunk_segment));
	     has_header(h, (const char *)c + CHUNK_HEADER) && chunk_bytes(c) >= CHUNK_MIN &&
	     (const char *)c + chunk_bytes(c) < end;
	     c = chunk_after(c)) {
		if ((const char *)at >= (const char *)chunk_after(c))
			continue;
		*out = (struct heap_place){ .object = (const char *)c + CHUNK_HEADER,
					    .bytes = chunk_bytes(c) - CHUNK_HEADER };
		return chunk_used(c);
	}
	return false;
}

static void demand_region_stats(const void *state, struct heap_stats *out)
{
	const struct demand_region *h = state;
	uint64_t chunks = h->body.core.used_objects + h->body.core.free_chunks;

	chunk_heap_stats(h, out);
	out->held_frames = h->pages.held_frames;
	out->kept_bytes = chunks * CHUNK_HEADER + h->reserve_frames * FRAME_BYTES;
}

struct ends_check {
	const struct demand_region *heap;
	const void *bad;
};

static int check_ends(void *ctx, const struct heap_extent *extent)
{
	struct ends_check *check = ctx;
	const struct demand_region *h = check->heap;
	const char *last = (const char *)extent->at + extent->bytes - sizeof(uint64_t);

	if (!is_present(h, page_of(h, (const char *)extent->at + LINKS_BYTES - CHUNK_HEADER - 1)) ||
	    !is_present(h, page_of(h, last)))
		check->bad = extent->at;
	return check->bad != NULL;
}

/* Whether bit and page tables agree. */
static bool page_sound(const struct demand_region *h, uint64_t page)
{
	const struct heap_mapper *m = &h->setup.mapper;
	struct pfn frame;
	bool mapped = m->ops->query(m->context, page_vaddr(h, page), &frame);

	if (mapped != is_present(h, page))
		return false;
	return !mapped || heap_pages_possible(&h->pages, frame_direct(&h->pages.reach, frame));
}

/* Of pages without frames those beside one that has: the others' bits are counted. */
static int check_pages(const struct demand_region *h, struct heap_violation *v)
{
	uint64_t present = 0;

	for (uint64_t page = 0; page < page_count(h); page++) {
		bool here = is_present(h, page);
		bool beside = page > 0 && is_present(h, page - 1);
		present += here;
		if ((here || beside || is_present(h, page + 1)) && !page_sound(h, page))
			return heap_found(v, 10, h->setup.base + (page << X86_PAGE_SHIFT),
					  "bits say which pages are mapped, to RAM");
	}
	if (present != h->present_pages)
		return heap_found(v, 10, &h->present_pages, "present_pages counts the bits");
	for (unsigned i = 0; i < h->reserve_frames && i < RESERVE_FRAMES; i++)
		if (!heap_pages_possible(&h->pages,
					 frame_direct(&h->pages.reach, pfn(h->reserve[i]))))
			return heap_found(v, 11, &h->reserve[i], "reserved frames are RAM");
	if (h->reserve_frames > RESERVE_FRAMES ||
	    h->pages.held_frames != present + h->reserve_frames)
		return heap_found(v, 11, &h->pages, "held frames are pages and the reserve");
	return 0;
}

static int demand_region_check(const void *state, struct heap_violation *v)
{
	const struct demand_region *h = state;
	struct ends_check ends = { .heap = h };

	if (h->setup_sum != heap_header_sum(&h->setup, sizeof(h->setup)) ||
	    !heap_pages_sound(&h->pages))
		return heap_found(v, 9, &h->setup, "the setup is as init left it");
	int error = check_pages(h, v);
	if (!error && h->started != (h->body.core.segments != NULL))
		return heap_found(v, 9, &h->started, "it is started when it has its segment");
	if (!error)
		error = chunk_heap_check(h, v);
	if (error)
		return error;
	chunk_heap_walk(h, check_ends, &ends);
	if (ends.bad)
		return heap_found(v, 12, ends.bad, "chunks' ends stand on pages with frames");
	return 0;
}

const struct heap_ops heap_demand_region = {
	.name = "demand-region",
	.id = "H7",
	.summary = "a region of kernel addresses whose pages get frames at their first touch",
	.caps = HEAP_CAP_FREE | HEAP_CAP_ANY_SIZE | HEAP_CAP_ALIGN | HEAP_CAP_RESIZE |
		HEAP_CAP_TAGS | HEAP_CAP_GIVES_BACK | HEAP_CAP_FINDS_MISUSE | HEAP_CAP_MAPS |
		HEAP_CAP_DEMAND,
	.options = demand_region_options,
	.state_bytes = demand_region_state_bytes,
	.init = demand_region_init,
	.alloc = demand_region_alloc,
	.free = demand_region_free,
	.resize = demand_region_resize,
	.usable = demand_region_usable,
	.tag = demand_region_tag,
	.trim = demand_region_trim,
	.fault = demand_region_fault,
	.commit = demand_region_commit,
	.locate = demand_region_locate,
	.stats = demand_region_stats,
	.walk = chunk_heap_walk,
	.check = demand_region_check,
};
