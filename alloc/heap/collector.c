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
 * It runs when `percent` of what survived the last one was allocated since (at least 1 MiB, or an
 * 8th of RAM), when there is no memory, and when asked (collect()).
 *
 * With sweep=lazy a collection only marks; each later allocation sweeps a share, so that the pause
 * is the marking alone. With mark=steps marking is done in shares too: an allocation does `step`
 * words of it, and one for each word that it hands out, and the objects have three colours:
 *
 *   white: not marked      grey: marked, on the stack      black: marked and scanned
 *
 * Objects are born grey. An owner that stores a pointer while a collection is under way could hide
 * a white object in a black one; so it must tell (barrier(), which makes what is pointed to grey:
 * Dijkstra et al.). Nobody can see a plain store: an owner that does not tell may lose what it can
 * reach, and needs mark=at-once. What died since it was marked goes with the next collection. Where
 * there is no memory the collection under way is ended, and another one done, at once.
 *
 * Marking keeps a small stack in the state. Where that overflows, the objects left out are found
 * again by scanning all marked ones, until nothing overflows.
 *
 * Invariants (check): 1 to 6 of H1, and
 *   7  a pinned slot is in use
 *   8  outside of a collection no slot is marked; in one, marked slots are in use
 *   9  no black object points to a white one while it is marked in steps, unless the stack
 *      overflowed
 *
 * Cost: alloc as H1's, and a share of a collection: O(bytes of what lives). Memory of a freed
 * object comes back at the next collection, not before: more is held than by any heap that is told.
 * With mark=steps: O(step + bytes handed out), a span's slots at the sweep. Two more bits a slot. A
 * word that looks like an address keeps an object alive for ever.
 *
 * Source: Boehm and Weiser, Garbage collection in an uncooperative environment, 1988; Dijkstra,
 * Lamport, Martin, Scholten and Steffens, On-the-fly garbage collection, 1978.
 */
#include "alloc/heap/size_classes.h"
#include "alloc/heap/systems.h"

#define STACK	       256u
#define PACE_BYTES_MIN (1ull << 20)
#define PACE_RAM_SHARE 8u

#define LAZY_WORK 512u /* of a lazy sweep, with each allocation: slots, and frames without any */

enum { OPTION_PERCENT, OPTION_SWEEP, OPTION_MARK, OPTION_STEP };
enum { AT_ONCE, IN_SHARES };
enum phase { IDLE, MARK_ROOTS, MARK_AGAIN, SWEEP };
enum { PINNED, MARKED }; /* sets of span_extra() */

struct collector {
	struct size_classes body;     /* first: size_classes.h */
	uint64_t pinned;	      /* objects */
	uint64_t percent, lazy, step; /* step 0: marks at once */
	uint64_t since_bytes;	      /* allocated since the last collection */
	uint64_t pace_bytes;	      /* collect at that */
	uint64_t pace_least;
	uint64_t next;	    /* frame to go on at, marking or sweeping */
	uint32_t next_slot; /* of the span there, marking */
	uint32_t phase;
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
static const char *const marks[] = { "at-once", "steps", NULL };

static const struct frame_option collector_options[] = {
	[OPTION_PERCENT] = { .key = "percent",
			     .help = "collect when so much of what survived was allocated again",
			     .value = 100,
			     .min = 1,
			     .max = 10000 },
	[OPTION_SWEEP] = { .key = "sweep",
			   .help = "all garbage at once, or a share with each allocation",
			   .choices = sweeps,
			   .value = AT_ONCE },
	[OPTION_MARK] = { .key = "mark",
			  .help = "all at once, or a share with each allocation; owners tell of "
				  "stores then (barrier)",
			  .choices = marks,
			  .value = AT_ONCE },
	[OPTION_STEP] = { .key = "step",
			  .help = "mark=steps: words of work with each allocation",
			  .value = 1024,
			  .min = 64,
			  .max = 1 << 20 },
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

/* In little RAM garbage must not spread over all of it before it is looked for. */
static uint64_t least_pace(const struct memmap *map)
{
	uint64_t frames = 0;

	for (uint32_t i = 0; i < map->count; i++)
		frames += map->ranges[i].frames;
	uint64_t bytes = frames * FRAME_BYTES / PACE_RAM_SHARE;
	return bytes < PACE_BYTES_MIN ? bytes : PACE_BYTES_MIN;
}

static int collector_init(void *state, const struct heap_config *config)
{
	struct collector *h = state;

	size_classes_setup(&h->body, config, h->root, true, NULL);
	h->percent = config->option[OPTION_PERCENT];
	h->lazy = config->option[OPTION_SWEEP] == IN_SHARES;
	h->step = config->option[OPTION_MARK] == IN_SHARES ? config->option[OPTION_STEP] : 0;
	h->pace_least = least_pace(config->map);
	h->pace_bytes = h->pace_least;
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

/* Scans what is grey, BUDGET words at most. */
static void scan_stack(struct collector *h, uint64_t *budget)
{
	while (h->depth && *budget) {
		const uint64_t *word = (const uint64_t *)(void *)h->stack[h->depth - 1].at;
		uint64_t words = h->stack[h->depth - 1].bytes / sizeof(*word);
		if (words <= *budget) {
			h->depth--;
		} else {
			words = *budget;
			h->stack[h->depth - 1].at += words * sizeof(*word);
			h->stack[h->depth - 1].bytes -= words * sizeof(*word);
		}
		*budget -= words;
		for (uint64_t i = 0; i < words; i++)
			mark_word(h, word[i]);
	}
}

/* The span that begins at or after FRAME, which moves there; NULL: none, or the budget is spent. */
static struct span *span_from(const struct collector *h, uint64_t *frame, uint64_t *budget)
{
	const struct page_map *map = &h->body.pool.map;
	uint64_t end = map->roots << PAGE_MAP_LEAF_SHIFT;

	for (; *frame < end && *budget; --*budget) {
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

static bool at_end(const struct collector *h)
{
	return h->next >= h->body.pool.map.roots << PAGE_MAP_LEAF_SHIFT;
}

/* A root, or (after an overflow) whatever is marked, whose children may have found the stack full;
 * the stack is empty. */
static void visit(struct collector *h, struct span *s, unsigned slot)
{
	if (h->phase == MARK_ROOTS && has(s, PINNED, slot)) {
		mark(h, s, slot);
	} else if (h->phase == MARK_AGAIN && has(s, MARKED, slot)) {
		h->stack[0].at = s->base + slot * s->slot_bytes;
		h->stack[0].bytes = s->slot_bytes;
		h->depth = 1;
	}
}

/* Marks on: BUDGET words, slots and frames at most. When nothing is left to mark, sweeping is next.
 * A span may have come or gone since the last share: what is new is marked already. */
static void mark_share(struct collector *h, uint64_t *budget)
{
	scan_stack(h, budget);
	while (!h->depth && *budget && !at_end(h)) {
		uint64_t from = h->next;
		struct span *s = span_from(h, &h->next, budget);
		if (h->next != from)
			h->next_slot = 0;
		for (; s && h->next_slot < s->slots && *budget && !h->depth; --*budget) {
			visit(h, s, h->next_slot++);
			scan_stack(h, budget);
			if (!*budget)
				return;
		}
		if (s && h->next_slot >= s->slots) {
			h->next += s->frames;
			h->next_slot = 0;
		}
	}
	if (h->depth || !at_end(h))
		return;
	h->phase = h->overflow ? MARK_AGAIN : SWEEP;
	h->overflow = false;
	h->next = h->next_slot = 0;
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

/* When to collect next, by what survived. */
static void set_pace(struct collector *h)
{
	h->pace_bytes = h->body.pool.taken_bytes / 100 * h->percent;
	if (h->pace_bytes < h->pace_least)
		h->pace_bytes = h->pace_least;
}

/* Sweeps on: BUDGET slots, of whole spans, and frames at most. */
static void sweep_share(struct collector *h, uint64_t *budget)
{
	while (*budget) {
		struct span *s = span_from(h, &h->next, budget);
		if (!s)
			break;
		*budget -= s->slots < *budget ? s->slots : *budget;
		h->next += s->frames;
		sweep_span(h, s);
	}
	if (!at_end(h))
		return;
	h->phase = IDLE;
	set_pace(h);
}

/* Goes on with the collection under way, if there is one. */
static void advance(struct collector *h, uint64_t budget)
{
	while (h->phase != IDLE && budget) {
		if (h->phase == SWEEP)
			sweep_share(h, &budget);
		else
			mark_share(h, &budget);
	}
}

static void begin(struct collector *h)
{
	h->phase = MARK_ROOTS;
	h->next = h->next_slot = 0;
	h->since_bytes = 0;
	h->collections++;
}

/* Marks all, at once. */
static void mark_all(struct collector *h)
{
	uint64_t budget = UINT64_MAX;

	advance(h, budget); /* the last one's rest */
	begin(h);
	while (h->phase != SWEEP)
		mark_share(h, &budget);
}

static void collector_collect(void *state)
{
	struct collector *h = state;

	mark_all(h);
	advance(h, UINT64_MAX);
}

/* ---- the operations ---- */

static void pace(struct collector *h, uint64_t bytes)
{
	if (h->phase != IDLE)
		advance(h, h->step ? h->step + bytes / sizeof(uint64_t) : LAZY_WORK);
	if (h->since_bytes + bytes < h->pace_bytes)
		return;
	if (h->step && h->phase == IDLE)
		begin(h);
	else if (!h->step && h->lazy)
		mark_all(h);
	else if (!h->step)
		collector_collect(h);
}

/* An object made while a collection is under way is grey; one that the sweep has yet to come by
 * must look marked. */
static void shelter(struct collector *h, struct span *s, unsigned slot)
{
	if (h->phase == MARK_ROOTS || h->phase == MARK_AGAIN)
		mark(h, s, slot);
	else if (h->phase == SWEEP && heap_frame_of(&h->body.pool.pages, s->base) >= h->next)
		put(s, MARKED, slot, true);
}

static void collector_barrier(void *state, const void *value)
{
	struct collector *h = state;

	if (h->phase == MARK_ROOTS || h->phase == MARK_AGAIN)
		mark_word(h, (uint64_t)(uintptr_t)value);
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
		if (span_extra(s, MARKED)[w] & (t->heap->phase != IDLE ? ~s->used[w] : ~0ull))
			return heap_found(t->v, 8, s, "marked slots wait for a sweep");
		t->pinned += bit_count(span_extra(s, PINNED)[w]);
	}
	return 0;
}

static bool is_grey(const struct collector *h, const char *at, uint64_t bytes)
{
	for (uint32_t i = 0; i < h->depth; i++)
		if ((uint64_t)(h->stack[i].at - at) < bytes)
			return true;
	return false;
}

static bool is_white(const struct collector *h, uint64_t word)
{
	const char *at = (const char *)(uintptr_t)word;
	struct span *s = span_of(&h->body.pool, at);
	uint64_t slot = s && s->slots > 1 ? ((uint64_t)(at - s->base) * s->reciprocal) >> 32 : 0;

	return s && slot < s->slots && span_in_use(s, (unsigned)slot) &&
	       !has(s, MARKED, (unsigned)slot);
}

static int see_black(void *ctx, struct span *s)
{
	const struct tally *t = ctx;

	for (unsigned slot = 0; slot < s->slots; slot++) {
		char *at = s->base + slot * s->slot_bytes;
		if (!has(s, MARKED, slot) || is_grey(t->heap, at, s->slot_bytes))
			continue;
		for (uint64_t i = 0; i < s->slot_bytes / sizeof(uint64_t); i++)
			if (is_white(t->heap, ((const uint64_t *)(const void *)at)[i]))
				return heap_found(t->v, 9, at,
						  "no black object points to a white one");
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
	if (!error && (h->phase > SWEEP || h->depth > STACK))
		return heap_found(v, 9, h, "a phase, and a depth of the stack");
	if (!error && h->phase == MARK_ROOTS && !h->overflow)
		error = span_each(&h->body.pool, see_black, &t);
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
	.barrier = collector_barrier,
	.trim = collector_trim,
	.stats = size_classes_stats,
	.walk = size_classes_walk,
	.check = collector_check,
};
