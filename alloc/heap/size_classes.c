/*
 * size_classes.c - H1: one heap for everything, by size classes.
 *
 *   class      8  16  24 ... 64  80  96 112 128 160 ... 8192      larger: a run of its own
 *   partial    |   |               |
 *              v   v               v
 *             span span           span <-> span                   spans with a vacant slot
 *
 * Idea: a request is rounded up to one of 36 sizes (steps of 8 up to 64, then four to each power of
 * two: at most a fifth is wasted), and each size has spans of its own (span.h), so that what is
 * freed fits the next request exactly and nothing is ever searched, split or joined. Metadata lies
 * out of band. A larger object is a run of frames. Alignment: the first class that is a multiple of
 * it, up to a page; above that a run with frames so aligned. Each zone has its own spans.
 *
 * Invariants (check): 1 to 4 of span.h, and
 *   5  a span's slots are of its class
 *   6  a list holds the spans of its class and zone with a vacant slot, once each, linked both ways
 *
 * Cost: O(1): the first span of the list, its first vacant bit. One empty span a class stays with
 * the heap until trim(). State: 2 KiB and 8 bytes for each 2 MiB of RAM.
 *
 * Source: Weinstock and Wulf's quick fit; size steps as in Evans, A scalable concurrent malloc(3)
 * implementation, 2006.
 */
#include "alloc/heap/size_classes.h"
#include "alloc/heap/systems.h"

#define CLASSES	  SIZE_CLASSES
#define CLASS_MAX 8192u
#define RUN	  CLASSES /* kind of a span that is one object */
#define ZONES	  SIZE_CLASS_ZONES

#define SLOTS_WANTED 8u

struct size_classes_state {
	struct size_classes body;
	uint64_t root[];
};

static inline unsigned class_of(uint64_t bytes)
{
	if (bytes <= 64)
		return (unsigned)(bytes + 7) / 8 - 1;
	unsigned high = bit_highest(bytes - 1);
	return 8 + (high - 6) * 4 + ((unsigned)((bytes - 1) >> (high - 2)) & 3);
}

static inline uint64_t class_bytes(unsigned size_class)
{
	if (size_class < 8)
		return 8 * (size_class + 1);
	unsigned high = 6 + (size_class - 8) / 4, quarter = (size_class - 8) % 4;
	return (1ull << high) + ((uint64_t)(quarter + 1) << (high - 2));
}

/* Frames of a class's spans: enough slots, little waste at the end. */
static uint8_t frames_for(uint64_t bytes)
{
	uint64_t frames = 1;

	while (frames < SPAN_FRAMES_MAX &&
	       (frames * FRAME_BYTES / bytes < SLOTS_WANTED ||
		frames * FRAME_BYTES % bytes > frames * FRAME_BYTES / 8))
		frames *= 2;
	return (uint8_t)frames;
}

static uint64_t size_classes_state_bytes(const struct heap_config *config, const char **why)
{
	(void)why;
	return sizeof(struct size_classes_state) + page_map_root_bytes(config->map);
}

void size_classes_setup(struct size_classes *h, const struct heap_config *config, uint64_t *root,
			bool extra)
{
	span_pool_init(&h->pool, config, root, extra);
	for (unsigned size_class = 0; size_class < CLASSES; size_class++)
		h->frames[size_class] = frames_for(class_bytes(size_class));
}

static int size_classes_init(void *state, const struct heap_config *config)
{
	struct size_classes_state *h = state;

	size_classes_setup(&h->body, config, h->root, false);
	return 0;
}

static inline uint16_t kind_of(unsigned size_class, unsigned zone)
{
	return (uint16_t)(size_class | zone << 8);
}

/* With the frames that suit the class, or with as many as one object takes. */
static struct span *new_span(struct size_classes *h, unsigned size_class, unsigned zone)
{
	uint64_t bytes = class_bytes(size_class), few = frames_for_bytes(bytes);
	struct span *s = span_new(&h->pool, h->frames[size_class], 1, (uint8_t)zone, bytes,
				  kind_of(size_class, zone));

	if (!s && few < h->frames[size_class])
		s = span_new(&h->pool, few, 1, (uint8_t)zone, bytes, kind_of(size_class, zone));
	if (s) {
		span_push(&h->partial[zone][size_class], s);
		h->empty[zone][size_class]++;
	}
	return s;
}

static int alloc_run(struct size_classes *h, const struct heap_request *r, void **out)
{
	uint64_t align_frames = frames_for_bytes(r->align_bytes);
	struct span *s =
		span_new(&h->pool, frames_for_bytes(r->bytes), align_frames, r->zone, 0, RUN);

	if (!s)
		return KERR_NO_MEMORY;
	*out = span_take(&h->pool, s);
	return 0;
}

static int alloc_now(struct size_classes *h, const struct heap_request *request, void **out)
{
	uint64_t align = request->align_bytes;

	if (request->bytes > CLASS_MAX || align > FRAME_BYTES)
		return alloc_run(h, request, out);
	unsigned size_class = class_of(request->bytes), zone = request->zone;
	if (align > HEAP_ALIGN_DEFAULT)
		while (class_bytes(size_class) & (align - 1))
			size_class++;
	struct span *s = h->partial[zone][size_class];
	if (!s && !(s = new_span(h, size_class, zone)))
		return KERR_NO_MEMORY;
	if (s->free == s->slots)
		h->empty[zone][size_class]--;
	*out = span_take(&h->pool, s);
	if (!s->free)
		span_unlink(&h->partial[zone][size_class], s);
	return 0;
}

static void drop(struct size_classes *h, struct span *s, unsigned size_class, unsigned zone)
{
	span_unlink(&h->partial[zone][size_class], s);
	span_free(&h->pool, s);
}

int size_classes_free(void *state, void *object)
{
	struct size_classes *h = state;
	struct span *s = span_of(&h->pool, object);
	int slot = s ? span_slot(s, object) : -1;

	if (slot < 0)
		return KERR_NOT_OWNED;
	span_give(&h->pool, s, (unsigned)slot);
	if (s->kind == RUN) {
		span_free(&h->pool, s);
		return 0;
	}
	unsigned size_class = s->kind & 0xff, zone = s->kind >> 8;
	if (s->free == 1)
		span_push(&h->partial[zone][size_class], s);
	if (s->free < s->slots)
		return 0;
	if (h->empty[zone][size_class])
		drop(h, s, size_class, zone);
	else
		h->empty[zone][size_class]++;
	return 0;
}

uint64_t size_classes_usable(const void *state, const void *object)
{
	const struct size_classes *h = state;

	return span_usable(&h->pool, object);
}

void size_classes_trim(void *state)
{
	struct size_classes *h = state;

	for (unsigned zone = 0; zone < ZONES; zone++)
		for (unsigned size_class = 0; size_class < CLASSES; size_class++) {
			struct span *next, *s = h->partial[zone][size_class];
			for (; s && h->empty[zone][size_class]; s = next) {
				next = s->next;
				if (s->free < s->slots)
					continue;
				h->empty[zone][size_class]--;
				drop(h, s, size_class, zone);
			}
		}
}

int size_classes_alloc(void *state, const struct heap_request *request, void **out)
{
	int error = alloc_now(state, request, out);

	if (error != KERR_NO_MEMORY)
		return error;
	/* Another class may have an empty span. */
	size_classes_trim(state);
	return alloc_now(state, request, out);
}

void size_classes_stats(const void *state, struct heap_stats *out)
{
	const struct size_classes *h = state;

	span_stats(&h->pool, out);
}

int size_classes_walk(const void *state, heap_visit_fn visit, void *ctx)
{
	const struct size_classes *h = state;

	return span_walk(&h->pool, visit, ctx);
}

/* ---- check ---- */

struct tally {
	struct heap_violation *v;
	uint64_t partial, empty;
};

static int tally_span(void *ctx, struct span *s)
{
	struct tally *t = ctx;
	unsigned size_class = s->kind & 0xff;

	if (s->kind == RUN ? s->slots != 1
			   : size_class >= CLASSES || s->kind >> 8 >= ZONES ||
				     s->slot_bytes != class_bytes(size_class))
		return heap_found(t->v, 5, s, "a span's slots are of its class");
	t->partial += s->kind != RUN && s->free;
	t->empty += s->kind != RUN && s->free == s->slots;
	return 0;
}

static int check_list(const struct size_classes *h, unsigned zone, unsigned size_class,
		      struct tally *t)
{
	const struct span *before = NULL;

	for (const struct span *s = h->partial[zone][size_class]; s; before = s, s = s->next) {
		if (!heap_pages_possible(&h->pool.pages, s) || span_of(&h->pool, s->base) != s ||
		    s->kind != kind_of(size_class, zone) || s->prev != before || !s->free ||
		    t->partial == 0)
			return heap_found(t->v, 6, s, "lists hold their spans with vacant slots");
		t->partial--;
	}
	t->empty -= h->empty[zone][size_class];
	return 0;
}

int size_classes_check(const void *state, struct heap_violation *v)
{
	const struct size_classes *h = state;
	struct tally t = { .v = v };
	int error = span_check(&h->pool, v);

	if (!error)
		error = span_each(&h->pool, tally_span, &t);
	for (unsigned i = 0; !error && i < ZONES * CLASSES; i++)
		error = check_list(h, i / CLASSES, i % CLASSES, &t);
	if (!error && (t.partial || t.empty))
		return heap_found(v, 6, h, "every span with a vacant slot is in its list");
	return error;
}

const struct heap_ops heap_size_classes = {
	.name = "size-classes",
	.id = "H1",
	.summary = "36 sizes in spans of their own, metadata out of band; larger ones are runs",
	.caps = HEAP_CAP_FREE | HEAP_CAP_ANY_SIZE | HEAP_CAP_ALIGN | HEAP_CAP_GIVES_BACK |
		HEAP_CAP_FINDS_MISUSE | HEAP_CAP_BOUNDED | HEAP_CAP_OUT_OF_BAND,
	.state_bytes = size_classes_state_bytes,
	.init = size_classes_init,
	.alloc = size_classes_alloc,
	.free = size_classes_free,
	.usable = size_classes_usable,
	.trim = size_classes_trim,
	.stats = size_classes_stats,
	.walk = size_classes_walk,
	.check = size_classes_check,
};
