/*
 * collector.c - H10: conservative mark-sweep over size-classed spans, with explicit roots.
 *
 *   roots: pinned objects           reachable             garbage
 *   +----+     +----+               +----+     +----+     +----+ <-- +----+
 *   |  P | --> |    | ------------> |    |     |  P |     |    | --> |    |
 *   +----+     +----+               +----+     +----+     +----+     +----+
 *   scanned word by word: what could be the address of any byte of an object, is one
 *
 * Idea: an object lives as long as somebody can reach it, and nobody has to say that it is dead.
 * An object is born pinned: its owner holds it. free() drops that root and nothing else; the object
 * stays while some living object holds a word that points at, or into, it. A collection marks from
 * the pinned objects through every aligned word of what it reaches, and sweeps what is not marked.
 * It runs when `percent` of what survived the last one was allocated since (at least 1 MiB), when
 * there is no memory, and when asked (collect()).
 *
 * With sweep=lazy a collection only marks; each later allocation sweeps one span, so that the pause
 * is the marking alone. Marking itself is not incremental: without a write barrier a mutator could
 * hide an object from it.
 *
 * Marking keeps a small stack in the state. Where that overflows, the objects left out are found
 * again by scanning all marked ones, until nothing overflows.
 *
 * Invariants (check): 1 to 6 of H1, and
 *   7  a pinned slot is in use
 *   8  outside of a lazy sweep no slot is marked; in one, marked slots are in use
 *
 * Cost: alloc as H1's, and a share of a collection: O(bytes of what lives). Memory of a freed
 * object comes back at the next collection, not before: more is held than by any heap that is told.
 * Two more bits a slot. A word that looks like an address keeps an object alive for ever.
 *
 * Source: Boehm and Weiser, Garbage collection in an uncooperative environment, 1988.
 */
#include "alloc/heap/size_classes.h"
#include "alloc/heap/systems.h"

#define STACK	       256u
#define PACE_BYTES_MIN (1ull << 20)

enum { OPTION_PERCENT, OPTION_SWEEP };
enum { SWEEP_AT_ONCE, SWEEP_LAZY };
enum { PINNED, MARKED }; /* sets of span_extra() */

struct collector {
	struct size_classes body; /* first: size_classes.h */
	uint64_t pinned;	  /* objects */
	uint64_t percent, lazy;
	uint64_t since_bytes; /* allocated since the last collection */
	uint64_t pace_bytes;  /* collect at that */
	uint64_t sweep_next;  /* lazy: frame to go on at; sweeping: until sweep_end */
	bool sweeping;
	bool overflow;
	uint32_t depth;
	uint64_t collections;
	struct {
		char *at;
		uint64_t bytes;
	} stack[STACK];
	uint64_t root[];
};

static const char *const sweeps[] = { "at-once", "lazy", NULL };

static const struct frame_option collector_options[] = {
	[OPTION_PERCENT] = { .key = "percent",
			     .help = "collect when so much of what survived was allocated again",
			     .value = 100,
			     .min = 1,
			     .max = 10000 },
	[OPTION_SWEEP] = { .key = "sweep",
			   .help = "all garbage at once, or a span with each allocation",
			   .choices = sweeps,
			   .value = SWEEP_AT_ONCE },
	{ .key = NULL },
};

static inline bool has(struct span *s, unsigned set, unsigned slot)
{
	return span_extra(s, set)[slot / BITS_PER_WORD] >> slot % BITS_PER_WORD & 1;
}

static inline void put(struct span *s, unsigned set, unsigned slot, bool on)
{
	uint64_t *word = &span_extra(s, set)[slot / BITS_PER_WORD];
	uint64_t bit = 1ull << slot % BITS_PER_WORD;

	*word = on ? *word | bit : *word & ~bit;
}

static uint64_t collector_state_bytes(const struct heap_config *config, const char **why)
{
	(void)why;
	return sizeof(struct collector) + page_map_root_bytes(config->map);
}

static int collector_init(void *state, const struct heap_config *config)
{
	struct collector *h = state;

	size_classes_setup(&h->body, config, h->root, true, NULL);
	h->percent = config->option[OPTION_PERCENT];
	h->lazy = config->option[OPTION_SWEEP] == SWEEP_LAZY;
	h->pace_bytes = PACE_BYTES_MIN;
	return 0;
}

/* ---- mark ---- */

static void mark(struct collector *h, struct span *s, unsigned slot)
{
	if (has(s, MARKED, slot))
		return;
	put(s, MARKED, slot, true);
	if (h->depth == STACK) {
		h->overflow = true;
		return;
	}
	h->stack[h->depth].at = s->base + slot * s->slot_bytes;
	h->stack[h->depth++].bytes = s->slot_bytes;
}

/* Whether the word could be an address in an object; runs are known by their first frame only, so
 * that a pointer into a later frame of a large object does not hold it. */
static void mark_word(struct collector *h, uint64_t word)
{
	const char *at = (const char *)(uintptr_t)word;
	struct span *s = span_of(&h->body.pool, at);

	if (!s)
		return;
	uint64_t slot = s->slots > 1 ? ((uint64_t)(at - s->base) * s->reciprocal) >> 32 : 0;
	if (slot < s->slots && span_in_use(s, (unsigned)slot))
		mark(h, s, (unsigned)slot);
}

static void scan_stack(struct collector *h)
{
	while (h->depth) {
		h->depth--;
		const uint64_t *word = (const uint64_t *)(void *)h->stack[h->depth].at;
		uint64_t words = h->stack[h->depth].bytes / sizeof(*word);
		for (uint64_t i = 0; i < words; i++)
			mark_word(h, word[i]);
	}
}

static int mark_pinned(void *ctx, struct span *s)
{
	struct collector *h = ctx;

	for (unsigned slot = 0; slot < s->slots; slot++)
		if (has(s, PINNED, slot)) {
			mark(h, s, slot);
			scan_stack(h);
		}
	return 0;
}

/* Scans what is marked once more: its children may have found the stack full. */
static int scan_again(void *ctx, struct span *s)
{
	struct collector *h = ctx;

	for (unsigned slot = 0; slot < s->slots; slot++)
		if (has(s, MARKED, slot)) {
			h->stack[0].at = s->base + slot * s->slot_bytes;
			h->stack[0].bytes = s->slot_bytes;
			h->depth = 1;
			scan_stack(h);
		}
	return 0;
}

/* ---- sweep ---- */

/* Frees what is not marked. The span may be gone afterwards. */
static void sweep_span(struct collector *h, struct span *s)
{
	unsigned slots = s->slots, used = s->slots - s->free;
	char *base = s->base;
	uint64_t bytes = s->slot_bytes;

	for (unsigned slot = 0; slot < slots && used; slot++) {
		if (!span_in_use(s, slot))
			continue;
		used--;
		if (has(s, MARKED, slot))
			put(s, MARKED, slot, false);
		else if (size_classes_free(&h->body, base + slot * bytes) != 0)
			return; /* cannot be: the slot is in use */
	}
}

/* The span that begins at or after FRAME; NULL: none, *FRAME is the end. */
static struct span *span_from(const struct collector *h, uint64_t *frame)
{
	const struct page_map *map = &h->body.pool.map;
	uint64_t end = map->roots << PAGE_MAP_LEAF_SHIFT;

	while (*frame < end) {
		if (!map->root[*frame >> PAGE_MAP_LEAF_SHIFT]) {
			*frame = ((*frame >> PAGE_MAP_LEAF_SHIFT) + 1) << PAGE_MAP_LEAF_SHIFT;
			continue;
		}
		const char *at = frame_direct(&h->body.pool.pages.reach, pfn(*frame));
		struct span *s = span_of(&h->body.pool, at);
		if (s && s->base == at)
			return s;
		++*frame;
	}
	return NULL;
}

/* When to collect next, by what survived. */
static void set_pace(struct collector *h)
{
	h->pace_bytes = h->body.pool.taken_bytes / 100 * h->percent;
	if (h->pace_bytes < PACE_BYTES_MIN)
		h->pace_bytes = PACE_BYTES_MIN;
}

/* Goes on sweeping: at most SPANS spans. */
static void sweep(struct collector *h, uint64_t spans)
{
	struct span *s;

	while (h->sweeping && spans-- > 0) {
		s = span_from(h, &h->sweep_next);
		if (!s) {
			h->sweeping = false;
			set_pace(h);
			break;
		}
		h->sweep_next += s->frames;
		sweep_span(h, s);
	}
}

static void begin(struct collector *h)
{
	sweep(h, UINT64_MAX); /* the last one's rest */
	span_each(&h->body.pool, mark_pinned, h);
	while (h->overflow) {
		h->overflow = false;
		span_each(&h->body.pool, scan_again, h);
	}
	h->sweeping = true;
	h->sweep_next = 0;
	h->since_bytes = 0;
	h->collections++;
}

static void collector_collect(void *state)
{
	struct collector *h = state;

	begin(h);
	sweep(h, UINT64_MAX);
}

/* ---- the operations ---- */

static void pace(struct collector *h, uint64_t bytes)
{
	if (h->sweeping)
		sweep(h, 1);
	if (h->since_bytes + bytes < h->pace_bytes)
		return;
	if (h->lazy)
		begin(h);
	else
		collector_collect(h);
}

/* An object made while a sweep is under way: one that the sweep has yet to come by must look
 * marked. */
static void shelter(struct collector *h, struct span *s, unsigned slot)
{
	if (h->sweeping && heap_frame_of(&h->body.pool.pages, s->base) >= h->sweep_next)
		put(s, MARKED, slot, true);
}

static int collector_alloc(void *state, const struct heap_request *request, void **out)
{
	struct collector *h = state;

	pace(h, request->bytes);
	int error = size_classes_alloc(&h->body, request, out);
	if (error == KERR_NO_MEMORY) {
		collector_collect(h);
		size_classes_trim(&h->body);
		error = size_classes_alloc(&h->body, request, out);
	}
	if (error)
		return error;
	struct span *s = span_of(&h->body.pool, *out);
	unsigned slot = (unsigned)span_slot(s, *out);
	/* What an earlier owner left would look like pointers. */
	for (uint64_t i = 0; i < s->slot_bytes / sizeof(uint64_t); i++)
		((uint64_t *)*out)[i] = 0;
	put(s, PINNED, slot, true);
	shelter(h, s, slot);
	h->pinned++;
	h->since_bytes += s->slot_bytes;
	return 0;
}

/* The span of a pinned object; NULL: it is none. */
static struct span *pinned_span(const struct collector *h, const void *object, unsigned *slot)
{
	struct span *s = span_of(&h->body.pool, object);
	int found = s ? span_slot(s, object) : -1;

	if (found < 0 || !has(s, PINNED, (unsigned)found))
		return NULL;
	*slot = (unsigned)found;
	return s;
}

static int collector_free(void *state, void *object)
{
	struct collector *h = state;
	unsigned slot;
	struct span *s = pinned_span(h, object, &slot);

	if (!s)
		return KERR_NOT_OWNED;
	put(s, PINNED, slot, false);
	h->pinned--;
	return 0;
}

static uint64_t collector_usable(const void *state, const void *object)
{
	unsigned slot;
	const struct span *s = pinned_span(state, object, &slot);

	return s ? s->slot_bytes : 0;
}

static void collector_trim(void *state)
{
	collector_collect(state);
	size_classes_trim(state);
}

/* ---- check ---- */

struct tally {
	const struct collector *heap;
	struct heap_violation *v;
	uint64_t pinned;
};

static int tally_span(void *ctx, struct span *s)
{
	struct tally *t = ctx;

	for (unsigned w = 0; w < SPAN_WORDS; w++) {
		if (span_extra(s, PINNED)[w] & ~s->used[w])
			return heap_found(t->v, 7, s, "a pinned slot is in use");
		if (span_extra(s, MARKED)[w] & (t->heap->sweeping ? ~s->used[w] : ~0ull))
			return heap_found(t->v, 8, s, "marked slots wait for a sweep");
		t->pinned += bit_count(span_extra(s, PINNED)[w]);
	}
	return 0;
}

static int collector_check(const void *state, struct heap_violation *v)
{
	const struct collector *h = state;
	struct tally t = { h, v, 0 };
	int error = size_classes_check(state, v);

	if (!error)
		error = span_each(&h->body.pool, tally_span, &t);
	if (!error && t.pinned != h->pinned)
		return heap_found(v, 7, h, "pinned objects are counted");
	return error;
}

const struct heap_ops heap_collector = {
	.name = "collector",
	.id = "H10",
	.summary = "conservative mark-sweep over size classes; free() only drops a root",
	.caps = HEAP_CAP_FREE | HEAP_CAP_ANY_SIZE | HEAP_CAP_ALIGN | HEAP_CAP_GIVES_BACK |
		HEAP_CAP_FINDS_MISUSE | HEAP_CAP_COLLECTS,
	.options = collector_options,
	.state_bytes = collector_state_bytes,
	.init = collector_init,
	.alloc = collector_alloc,
	.free = collector_free,
	.usable = collector_usable,
	.collect = collector_collect,
	.trim = collector_trim,
	.stats = size_classes_stats,
	.walk = size_classes_walk,
	.check = collector_check,
};
