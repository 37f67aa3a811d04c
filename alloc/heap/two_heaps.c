/*
 * two_heaps.c - H6: a byte-granular heap for what is small, a page-granular one for what is large;
 * on i386 each object behind a segment descriptor of its own, if wanted.
 *
 *   small    |hd|obj|hd| obj |hd|  free   |      segments of frames in the direct map
 *   large    | o o . | o . |   | o o o . |       pages of a region, each area with a guard page
 *
 *   GDT      [ null ][ flat ][ base, limit ][ base, limit ][ next free ] ... 8,192
 *                                  |               '-> large object
 *                                  '-> small object: selector 0x10, offsets 0 .. limit
 *
 * Idea: two heaps because they fail differently. Headers in front of large objects would cost each
 * of them a page, pages for small ones nearly all of their memory. The small one is TLSF's
 * (tlsf.h), the large one area.h's; `large` is the border.
 *
 * With `selectors` an object is to be reached as selector:offset. Its descriptor's limit is the
 * object's last byte, so that one byte more is a #GP before any memory is touched, inside the slack
 * of its chunk too. A limit has 20 bits: above 1 MiB it counts pages (G = 1) and an overrun inside
 * the last one passes it; these objects end at their guard page, where it is a #PF, but for up to 7
 * bytes of sizes that are no multiple of 8. There are 8,192 descriptors, one null and one flat for
 * the kernel itself; objects that come when all are taken have none, and are counted. A descriptor
 * that is free has P = 0 and holds the number of the next. The heap's own code is flat.
 *
 * A segment register that was loaded before a resize keeps the old limit (SDM 3, 3.4.3): who holds
 * one loads it again.
 *
 * Invariants (check): 1 to 8 of H11 for the small ones; 9 to 13 are 1 to 5 of area.h for the large
 * ones, and
 *  14  the setup is as init left it
 *  15  a live object's selector is 0, or names a descriptor of just its base and limit
 *  16  every descriptor is a live object's or on the free list; the first two are as init left them
 *
 * Cost: small as H11; large O(pages) maps and invalidations. A descriptor: O(1), 8 bytes, 64 KiB of
 * state; a load of a segment register for each object that is used.
 *
 * Source: Intel SDM volume 3, 3.4.5 (descriptors), 5.3 (limits). Objects as segments: Multics,
 * Intel iAPX 432; on i386 Cash (Lam, Chiueh 2005) bounds arrays so.
 */
#include "alloc/heap/area.h"
#include "alloc/heap/systems.h"
#include "alloc/heap/tlsf.h"
#include "alloc/port.h"

#define DESCRIPTORS	 8192u
#define FIRST_DESCRIPTOR 2u
#define BYTE_LIMIT_MAX	 (1ull << 20) /* bytes of an object whose limit counts bytes */

#define DESCRIPTOR_DATA \
	(X86_DESC_P | X86_DESC_S | X86_DESC_WRITE_READ | X86_DESC_BIG) /* DPL 0, expand-up */
#define DESCRIPTOR_FLAT (DESCRIPTOR_DATA | X86_DESC_G | 0x000f00000000ffff)

enum { OPTION_LARGE, OPTION_SEGMENT, OPTION_REGION, OPTION_SELECTORS };
enum { SELECTORS_OFF, SELECTORS_ON };

static const char *const off_on[] = { "off", "on", NULL };

static const struct frame_option two_heaps_options[] = {
	[OPTION_LARGE] = { .key = "large",
			   .help = "bytes above which an object has pages of its own",
			   .value = X86_PAGE_BYTES,
			   .min = 1024,
			   .max = 64 << 20 },
	[OPTION_SEGMENT] = { .key = "segment",
			     .help = "frames that the small heap gets at a time, at least",
			     .value = 32,
			     .min = 1,
			     .max = 65536 },
	[OPTION_REGION] = { .key = "region",
			    .help = "MiB of kernel addresses for large objects, or as many as "
				    "there are",
			    .value = 1024,
			    .min = 64,
			    .max = 65536 },
	[OPTION_SELECTORS] = { .key = "selectors",
			       .help = "each object behind a segment descriptor (i386)",
			       .choices = off_on,
			       .value = SELECTORS_OFF },
	{ .key = NULL },
};

struct two_heaps {
	struct tlsf body; /* first: its functions get the state */
	struct areas areas;
	struct two_setup {
		uint64_t large;
		uint64_t *table; /* of descriptors; NULL: no selectors */
	} setup;
	uint64_t setup_sum;
	uint64_t free_descriptor; /* the first; 0: none */
	uint64_t used_descriptors, without;
	uint64_t slack_bytes; /* of chunks, behind objects that have a limit */
	uint64_t room[];
};

/* ---- start ---- */

static struct area_rules rules_for(const struct heap_config *config, const char **why)
{
	return (struct area_rules){
		.bytes = areas_region_bytes(config, config->option[OPTION_REGION] << 20, why),
		.late = 1,
		.at_end = 1,
	};
}

static uint64_t table_bytes(const struct heap_config *config)
{
	return config->option[OPTION_SELECTORS] == SELECTORS_ON ? DESCRIPTORS * sizeof(uint64_t)
								: 0;
}

static uint64_t two_heaps_state_bytes(const struct heap_config *config, const char **why)
{
	struct area_rules rules = rules_for(config, why);

	if (table_bytes(config) && rules.bytes && !config->mapper.segments) {
		*why = "selectors need CPUs that check segment limits (machine.arch=i386)";
		return 0;
	}
	return rules.bytes
		       ? sizeof(struct two_heaps) + table_bytes(config) + areas_room_bytes(&rules)
		       : 0;
}

static void start_descriptors(struct two_heaps *h)
{
	h->setup.table[0] = 0;
	h->setup.table[1] = DESCRIPTOR_FLAT;
	for (unsigned i = FIRST_DESCRIPTOR; i < DESCRIPTORS; i++)
		h->setup.table[i] = i + 1 < DESCRIPTORS ? i + 1 : 0;
	h->free_descriptor = FIRST_DESCRIPTOR;
}

static int two_heaps_init(void *state, const struct heap_config *config)
{
	struct two_heaps *h = state;
	const char *why;
	struct area_rules rules = rules_for(config, &why);
	uint64_t words = table_bytes(config) / sizeof(uint64_t);

	tlsf_setup(&h->body, config, config->option[OPTION_SEGMENT]);
	areas_init(&h->areas, config, &rules, h->room + words);
	h->setup = (struct two_setup){ .large = config->option[OPTION_LARGE],
				       .table = words ? h->room : NULL };
	h->setup_sum = heap_header_sum(&h->setup, sizeof(h->setup));
	if (words)
		start_descriptors(h);
	return 0;
}

/* ---- descriptors ---- */

static bool is_large(const struct two_heaps *h, const void *object)
{
	return areas_hold(&h->areas, object);
}

static uint64_t address_of(const struct two_heaps *h, const void *object)
{
	const struct reach *reach = &h->areas.pages.reach;

	if (is_large(h, object))
		return h->areas.setup.mapper.base.a +
		       (uint64_t)((const char *)object - h->areas.setup.base);
	return reach->direct.a + (uint64_t)((const char *)object - reach->base);
}

static uint64_t descriptor_for(const struct two_heaps *h, const void *object, uint64_t bytes)
{
	bool pages = bytes > BYTE_LIMIT_MAX;
	uint64_t base = address_of(h, object) & UINT32_MAX;
	uint64_t limit = pages ? (bytes - 1) >> X86_PAGE_SHIFT : bytes - 1;

	return DESCRIPTOR_DATA | (pages ? X86_DESC_G : 0) | (limit & 0xffff) |
	       (limit & 0xf0000) << 32 | (base & 0xffffff) << 16 | (base & 0xff000000) << 32;
}

static uint32_t limit_bytes(uint64_t descriptor)
{
	uint32_t raw = (uint32_t)((descriptor & 0xffff) | (descriptor >> 32 & 0xf0000));

	return descriptor & X86_DESC_G ? (raw << X86_PAGE_SHIFT | 0xfff) + 1 : raw + 1;
}

/* Number of a live object's descriptor; 0: it has none, or is no object. */
static uint32_t descriptor_of(const struct two_heaps *h, const void *object)
{
	if (!h->setup.table)
		return 0;
	return is_large(h, object) ? areas_value(&h->areas, object) : chunk_heap_tag(h, object);
}

/* A small object's chunk may be longer than its limit. */
static uint64_t slack_of(const struct two_heaps *h, const void *object, uint32_t number)
{
	return number && !is_large(h, object)
		       ? chunk_heap_usable(h, object) - limit_bytes(h->setup.table[number])
		       : 0;
}

static void describe(struct two_heaps *h, const void *object, uint64_t bytes, uint32_t number)
{
	h->setup.table[number] = descriptor_for(h, object, bytes);
	h->slack_bytes += slack_of(h, object, number);
}

static uint32_t take_descriptor(struct two_heaps *h)
{
	uint32_t number = (uint32_t)h->free_descriptor;

	if (number) {
		h->free_descriptor = h->setup.table[number];
		h->used_descriptors++;
	}
	return number;
}

static void put_descriptor(struct two_heaps *h, uint32_t number)
{
	h->setup.table[number] = h->free_descriptor;
	h->free_descriptor = number;
	h->used_descriptors--;
}

/* ---- objects ---- */

static int two_heaps_alloc(void *state, const struct heap_request *request, void **out)
{
	struct two_heaps *h = state;
	struct heap_request r = *request;
	uint32_t number = h->setup.table ? take_descriptor(h) : 0;
	void *object;

	/* A chunk whose limit counts pages would end inside its neighbour. */
	bool large = r.bytes > h->setup.large || (number && r.bytes > BYTE_LIMIT_MAX);
	r.tag = number;
	int error = large ? areas_alloc(&h->areas, &r, number, &object)
			  : chunk_heap_alloc(h, &r, &object);
	if (error) {
		if (number)
			put_descriptor(h, number);
		return error;
	}
	if (number)
		describe(h, object, r.bytes, number);
	else
		h->without += h->setup.table != NULL;
	*out = object;
	return 0;
}

static int two_heaps_free(void *state, void *object)
{
	struct two_heaps *h = state;
	uint32_t number = descriptor_of(h, object);
	uint64_t slack = slack_of(h, object, number);
	int error =
		is_large(h, object) ? areas_free(&h->areas, object) : chunk_heap_free(h, object);

	if (error || !number)
		return error;
	h->slack_bytes -= slack;
	put_descriptor(h, number);
	return 0;
}

static int two_heaps_resize(void *state, void *object, uint64_t bytes)
{
	struct two_heaps *h = state;
	uint32_t number = descriptor_of(h, object);
	uint64_t slack = slack_of(h, object, number);

	if (is_large(h, object) || (number && bytes > BYTE_LIMIT_MAX))
		return KERR_NO_MEMORY;
	int error = chunk_heap_resize(h, object, bytes);
	if (error || !number)
		return error;
	h->slack_bytes -= slack;
	describe(h, object, bytes, number);
	return 0;
}

static uint64_t two_heaps_usable(const void *state, const void *object)
{
	const struct two_heaps *h = state;

	if (is_large(h, object))
		return areas_usable(&h->areas, object);
	return chunk_heap_usable(h, object) - slack_of(h, object, descriptor_of(h, object));
}

static void two_heaps_trim(void *state)
{
	struct two_heaps *h = state;

	chunk_heap_trim(h);
	areas_trim(&h->areas);
}

/* ---- looking at it ---- */

static bool two_heaps_descriptors(const void *state, struct heap_descriptors *out)
{
	const struct two_heaps *h = state;

	if (!h->setup.table)
		return false;
	*out = (struct heap_descriptors){ .table = port_vaddr(h->setup.table),
					  .limit = DESCRIPTORS * sizeof(uint64_t) - 1,
					  .used = (uint32_t)h->used_descriptors,
					  .without = h->without };
	return true;
}

static uint16_t two_heaps_selector(const void *state, const void *object)
{
	return (uint16_t)(descriptor_of(state, object) << 3);
}

static bool two_heaps_locate(const void *state, const void *at, struct heap_place *out)
{
	const struct two_heaps *h = state;

	return areas_locate(&h->areas, at, out);
}

static void two_heaps_stats(const void *state, struct heap_stats *out)
{
	const struct two_heaps *h = state;

	chunk_heap_stats(h, out);
	areas_add_stats(&h->areas, out);
	out->used_bytes -= h->slack_bytes;
}

struct visit {
	const struct two_heaps *heap;
	heap_visit_fn visit;
	void *ctx;
};

static int visit_small(void *ctx, const struct heap_extent *extent)
{
	const struct visit *v = ctx;
	struct heap_extent object = *extent;

	if (extent->state == HEAP_USED)
		object.bytes = two_heaps_usable(v->heap, extent->at);
	object.tag = 0;
	return v->visit(v->ctx, &object);
}

static int two_heaps_walk(const void *state, heap_visit_fn visit, void *ctx)
{
	const struct two_heaps *h = state;
	struct visit v = { h, visit, ctx };
	int error = chunk_heap_walk(h, visit_small, &v);

	return error ? error : areas_walk(&h->areas, visit, ctx);
}

/* ---- check ---- */

struct tally {
	const struct two_heaps *heap;
	const void *bad;
	uint64_t described, slack_bytes;
};

/* The extents of both heaps as they are, chunks with their slack. The processor sets A. */
static int tally_object(void *ctx, const struct heap_extent *extent)
{
	struct tally *t = ctx;
	const struct two_heaps *h = t->heap;

	if (extent->state != HEAP_USED)
		return 0;
	uint32_t number =
		is_large(h, extent->at) ? areas_value(&h->areas, extent->at) : extent->tag;
	if (!number)
		return 0;
	t->bad = extent->at;
	if (number < FIRST_DESCRIPTOR || number >= DESCRIPTORS)
		return 1;
	uint64_t descriptor = h->setup.table[number] & ~X86_DESC_ACCESSED;
	uint64_t bytes = is_large(h, extent->at) ? extent->bytes : limit_bytes(descriptor);
	if (descriptor != descriptor_for(h, extent->at, bytes) || bytes > extent->bytes)
		return 1;
	t->bad = NULL;
	t->described++;
	t->slack_bytes += extent->bytes - bytes;
	return 0;
}

static int check_free_list(const struct two_heaps *h, struct heap_violation *v)
{
	uint64_t free = 0;

	for (uint64_t i = h->free_descriptor; i; i = h->setup.table[i])
		if (i < FIRST_DESCRIPTOR || i >= DESCRIPTORS || free++ >= DESCRIPTORS)
			return heap_found(v, 16, &h->setup.table[i % DESCRIPTORS],
					  "free descriptors are a list");
	if (free + h->used_descriptors != DESCRIPTORS - FIRST_DESCRIPTOR ||
	    h->setup.table[0] != 0 || (h->setup.table[1] & ~X86_DESC_ACCESSED) != DESCRIPTOR_FLAT)
		return heap_found(v, 16, h->setup.table, "a descriptor is an object's or free");
	return 0;
}

static int check_descriptors(const struct two_heaps *h, struct heap_violation *v)
{
	struct tally t = { .heap = h };

	if (chunk_heap_walk(h, tally_object, &t) || areas_walk(&h->areas, tally_object, &t))
		return heap_found(v, 15, t.bad, "an object's descriptor has its base and limit");
	if (t.described != h->used_descriptors || t.slack_bytes != h->slack_bytes)
		return heap_found(v, 16, &h->used_descriptors, "descriptors used are objects'");
	return check_free_list(h, v);
}

static int two_heaps_check(const void *state, struct heap_violation *v)
{
	const struct two_heaps *h = state;

	if (h->setup_sum != heap_header_sum(&h->setup, sizeof(h->setup)))
		return heap_found(v, 14, &h->setup, "the setup is as init left it");
	int error = chunk_heap_check(h, v);
	if (!error)
		error = areas_check(&h->areas, 9, v);
	if (!error && h->setup.table)
		error = check_descriptors(h, v);
	return error;
}

const struct heap_ops heap_two_heaps = {
	.name = "two-heaps",
	.id = "H6",
	.summary = "small objects byte by byte, large ones by pages; on i386 behind selectors",
	.caps = HEAP_CAP_FREE | HEAP_CAP_ANY_SIZE | HEAP_CAP_ALIGN | HEAP_CAP_RESIZE |
		HEAP_CAP_GIVES_BACK | HEAP_CAP_FINDS_MISUSE | HEAP_CAP_MAPS,
	.options = two_heaps_options,
	.state_bytes = two_heaps_state_bytes,
	.init = two_heaps_init,
	.alloc = two_heaps_alloc,
	.free = two_heaps_free,
	.resize = two_heaps_resize,
	.usable = two_heaps_usable,
	.trim = two_heaps_trim,
	.locate = two_heaps_locate,
	.descriptors = two_heaps_descriptors,
	.selector = two_heaps_selector,
	.stats = two_heaps_stats,
	.walk = two_heaps_walk,
	.check = two_heaps_check,
};
