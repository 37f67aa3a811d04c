/*
 * guarded.c - H12: every object in pages of its own, and a page behind it that is never mapped.
 *
 *   kernel addresses   |      object|  guard  |   object|  guard  | freed ... |  guard  |
 *                             '-----'-> #PF             '-> #PF     '-> #PF
 *                      end of the object = end of the page
 *
 * Idea: a heap for finding overruns, at the price of a frame and two pages of addresses for the
 * smallest object. The first byte past the end faults in the instruction that touches it; so does
 * every touch of a freed object, as long as its address is not used again. locate() says whose
 * address it was. The body, and what is known out of band, is area.h's.
 *
 * An object ends at its guard page as far as its alignment allows: of sizes that are no multiple of
 * 8 up to 7 bytes behind the object are memory. `place=start` catches what runs over the beginning
 * of an area instead, if the page before it is a guard page, which it is but for the first.
 *
 * Invariants (check): 1 to 5 of area.h.
 *
 * Cost: a frame a page of object, a map and, at the free, an invalidation on every CPU; the page
 * map's leaves: 4 KiB for 2 MiB of addresses.
 *
 * Source: Perens' Electric Fence (1987); kernels: Linux' KFENCE and vmalloc, OpenBSD's guard pages.
 */
#include "alloc/heap/area.h"
#include "alloc/heap/systems.h"

enum { OPTION_REGION, OPTION_PLACE, OPTION_REUSE, OPTION_QUARANTINE };
enum { PLACE_END, PLACE_START };
enum { REUSE_LATE, REUSE_AT_ONCE };

static const char *const places[] = { "end", "start", NULL };
static const char *const reuses[] = { "late", "at-once", NULL };

static const struct frame_option guarded_options[] = {
	[OPTION_REGION] = { .key = "region",
			    .help = "MiB of kernel addresses, or as many as the machine has",
			    .value = 1024,
			    .min = 64,
			    .max = 65536 },
	[OPTION_PLACE] = { .key = "place",
			   .help = "which end of its pages an object stands at",
			   .choices = places,
			   .value = PLACE_END },
	[OPTION_REUSE] = { .key = "reuse",
			   .help = "when the addresses of freed objects are used again",
			   .choices = reuses,
			   .value = REUSE_LATE },
	[OPTION_QUARANTINE] = { .key = "quarantine",
				.help = "freed objects whose addresses stay unused, at least",
				.value = 64,
				.min = 0,
				.max = AREA_QUARANTINE_MAX },
	{ .key = NULL },
};

struct guarded {
	struct areas areas;
	uint64_t room[];
};

static struct area_rules rules_for(const struct heap_config *config, const char **why)
{
	return (struct area_rules){
		.bytes = areas_region_bytes(config, config->option[OPTION_REGION] << 20, why),
		.quarantine = config->option[OPTION_QUARANTINE],
		.late = config->option[OPTION_REUSE] == REUSE_LATE,
		.at_end = config->option[OPTION_PLACE] == PLACE_END,
	};
}

static uint64_t guarded_state_bytes(const struct heap_config *config, const char **why)
{
	struct area_rules rules = rules_for(config, why);

	return rules.bytes ? sizeof(struct guarded) + areas_room_bytes(&rules) : 0;
}

static int guarded_init(void *state, const struct heap_config *config)
{
	struct guarded *g = state;
	const char *why;
	struct area_rules rules = rules_for(config, &why);

	areas_init(&g->areas, config, &rules, g->room);
	return 0;
}

static int guarded_alloc(void *state, const struct heap_request *request, void **out)
{
	struct guarded *g = state;

	return areas_alloc(&g->areas, request, request->tag, out);
}

static int guarded_free(void *state, void *object)
{
	struct guarded *g = state;

	return areas_free(&g->areas, object);
}

static uint64_t guarded_usable(const void *state, const void *object)
{
	const struct guarded *g = state;

	return areas_usable(&g->areas, object);
}

static uint32_t guarded_tag(const void *state, const void *object)
{
	const struct guarded *g = state;

	return areas_value(&g->areas, object);
}

static void guarded_trim(void *state)
{
	struct guarded *g = state;

	areas_trim(&g->areas);
}

static bool guarded_locate(const void *state, const void *at, struct heap_place *out)
{
	const struct guarded *g = state;

	return areas_locate(&g->areas, at, out);
}

static void guarded_stats(const void *state, struct heap_stats *out)
{
	const struct guarded *g = state;

	*out = (struct heap_stats){ 0 };
	areas_add_stats(&g->areas, out);
}

static int guarded_walk(const void *state, heap_visit_fn visit, void *ctx)
{
	const struct guarded *g = state;

	return areas_walk(&g->areas, visit, ctx);
}

static int guarded_check(const void *state, struct heap_violation *v)
{
	const struct guarded *g = state;

	return areas_check(&g->areas, 1, v);
}

const struct heap_ops heap_guarded = {
	.name = "guarded",
	.id = "H12",
	.summary =
		"every object in pages of its own, a guard page behind it: overruns fault at once",
	.caps = HEAP_CAP_FREE | HEAP_CAP_ANY_SIZE | HEAP_CAP_ALIGN | HEAP_CAP_TAGS |
		HEAP_CAP_GIVES_BACK | HEAP_CAP_FINDS_MISUSE | HEAP_CAP_MAPS,
	.options = guarded_options,
	.state_bytes = guarded_state_bytes,
	.init = guarded_init,
	.alloc = guarded_alloc,
	.free = guarded_free,
	.usable = guarded_usable,
	.tag = guarded_tag,
	.trim = guarded_trim,
	.locate = guarded_locate,
	.stats = guarded_stats,
	.walk = guarded_walk,
	.check = guarded_check,
};
