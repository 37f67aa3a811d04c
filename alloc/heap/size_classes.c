/*
 * size_classes.c - H1: one heap for everything, by size classes.
 *
 *   class      16  24  32 ... 64  80  96 112 128 160 ... 8192     larger: a run of its own
 *   magazine  |o|  | | |o|   |o|  ...                             free objects, for each CPU
 *             |o|  |o| | |   |o|
 *   partial    |   |               |
 *              v   v               v
 *             span span           span <-> span                   spans with a vacant slot
 *
 * Idea: a request is rounded up to one of 35 sizes (steps of 8 up to 64, then four to each power of
 * two: at most a fifth is wasted above 16), and each size has spans of its own (span.h), so that
 * what is freed fits the next request exactly and nothing is ever searched, split or joined.
 * Metadata lies out of band. A larger object is a run of frames. Alignment: the first class that is
 * a multiple of it, up to a page; above that a run with frames so aligned. Each zone has its own
 * spans.
 *
 * Up to 1024 bytes each CPU has a magazine of free objects a class. What is asked for mostly comes
 * out of it and what is freed goes into it; spans are looked at for half a magazine at a time. A
 * magazine holds the addresses of the objects' `used` bits: those lead to the span's first line,
 * where the object's place follows and its bit is set; a free clears it, so that a double free is
 * refused while the object is in a magazine, too. So both ways touch the same two lines whatever
 * the size, and branch the same way. A CPU's magazines are two frames, got at its first request and
 * given back by trim(); they keep 16 KiB of a class at most. Where memory is short all are emptied
 * before a request is refused. With one CPU nobody is asked which it is.
 *
 * A class's first span is as small as one object lets it be; each later one has as many slots as
 * the class has already, until it is of the length that suits the class.
 *
 * Invariants (check): 1 to 4 of span.h, and
 *   5  a span's slots are of its class, and counted there
 *   6  a list holds the spans of its class and zone with a vacant slot, once each, linked both ways
 *   7  magazines hold the slots that are neither vacant nor used, once each, by class
 *
 * Cost: O(1): a table, the magazine, the span's line; a free: the page map besides. Half a magazine
 * costs a walk through the first spans' vacant bits. One empty span a class stays with the heap
 * until trim(). State: 2 KiB and 8 bytes for each 2 MiB of RAM; two frames a CPU.
 *
 * Source: Weinstock and Wulf's quick fit; size steps as in Evans, A scalable concurrent malloc(3)
 * implementation, 2006; magazines: Bonwick and Adams, Magazines and vmem, USENIX 2001.
 */
#include "alloc/heap/size_classes.h"
#include "alloc/heap/systems.h"
#include "alloc/port.h"

#define CLASSES	  SIZE_CLASSES
#define CLASS_MAX 8192u
#define RUN	  CLASSES /* kind of a span that is one object */
#define ZONES	  SIZE_CLASS_ZONES

#define SLOTS_WANTED	   8u
#define SPAN_FRAMES_COMMON 4u

/* Bytes of a magazine's objects, at most: a CPU keeps little of the larger classes. */
#define MAGAZINE_BYTES 16384u

struct size_classes_state {
	struct size_classes body;
	uint64_t root[]; /* and behind it the magazines' pointers */
};

/* Without magazines, or for a size beyond them. */
static inline unsigned class_of(uint64_t bytes)
{
	if (bytes <= 64)
		return bytes <= 16 ? 0 : (unsigned)(bytes + 7) / 8 - 2;
	unsigned high = bit_highest(bytes - 1);
	return 7 + (high - 6) * 4 + ((unsigned)((bytes - 1) >> (high - 2)) & 3);
}

static inline uint64_t class_bytes(unsigned size_class)
{
	if (size_class < 7)
		return 8 * (size_class + 2);
	unsigned high = 6 + (size_class - 7) / 4, quarter = (size_class - 7) % 4;
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
	/* Many objects a span: few spans, whose first lines stay in the processor's cache. */
	while (frames < SPAN_FRAMES_COMMON && 2 * frames * FRAME_BYTES / bytes <= SPAN_SLOTS_MAX)
		frames *= 2;
	return (uint8_t)frames;
}

static uint64_t size_classes_state_bytes(const struct heap_config *config, const char **why)
{
	(void)why;
	return sizeof(struct size_classes_state) + page_map_root_bytes(config->map) +
	       config->cpus * sizeof(struct size_magazine *);
}

void size_classes_setup(struct size_classes *h, const struct heap_config *config, uint64_t *root,
			bool extra, struct size_magazine **magazine)
{
	span_pool_init(&h->pool, config, root, extra);
	h->setup.magazine = magazine;
	h->setup.cpus = magazine ? config->cpus : 0;
	for (unsigned size_class = 0; size_class < CLASSES; size_class++)
		h->setup.frames[size_class] = frames_for(class_bytes(size_class));
	for (unsigned step = 0; step <= SIZE_CLASS_SMALL_BYTES / 8; step++)
		h->setup.small[step] = (uint8_t)class_of(8 * step);
	h->setup_sum = heap_header_sum(&h->setup, sizeof(h->setup));
}

static int size_classes_init(void *state, const struct heap_config *config)
{
	struct size_classes_state *h = state;
	uint64_t roots = page_map_root_bytes(config->map) / sizeof(uint64_t);

	size_classes_setup(&h->body, config, h->root, false,
			   (struct size_magazine **)(void *)(h->root + roots));
	return 0;
}

/* ---- spans ---- */

static inline uint16_t kind_of(unsigned size_class, unsigned zone)
{
	return (uint16_t)(size_class | zone << 8);
}

/* As many slots as the class has already, up to what suits it: a class that is hardly used holds
 * little. */
static uint64_t frames_now(const struct size_classes *h, unsigned size_class, unsigned zone)
{
	uint64_t bytes = class_bytes(size_class), frames = frames_for_bytes(bytes);

	while (frames < h->setup.frames[size_class] &&
	       frames * FRAME_BYTES / bytes < h->slots[zone][size_class])
		frames *= 2;
	return frames;
}

static struct span *new_span(struct size_classes *h, unsigned size_class, unsigned zone)
{
	uint64_t bytes = class_bytes(size_class), few = frames_for_bytes(bytes);
	uint64_t frames = frames_now(h, size_class, zone);
	uint16_t kind = kind_of(size_class, zone);
	struct span *s = span_new(&h->pool, frames, 1, (uint8_t)zone, bytes, kind);

	if (!s && few < frames)
		s = span_new(&h->pool, few, 1, (uint8_t)zone, bytes, kind);
	if (s) {
		span_push(&h->partial[zone][size_class], s);
		h->empty[zone][size_class]++;
		h->slots[zone][size_class] += s->slots;
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
	h->runs++;
	return 0;
}

/* A span with a vacant slot; NULL: no memory. */
static struct span *span_with_room(struct size_classes *h, unsigned size_class, unsigned zone)
{
	struct span *s = h->partial[zone][size_class];

	if (!s && !(s = new_span(h, size_class, zone)))
		return NULL;
	if (s->free == s->slots)
		h->empty[zone][size_class]--;
	return s;
}

/* Straight from a span, for a customer. */
static int take(struct size_classes *h, unsigned size_class, unsigned zone, void **out)
{
	struct span *s = span_with_room(h, size_class, zone);

	if (!s)
		return KERR_NO_MEMORY;
	*out = span_take(&h->pool, s);
	if (!s->free)
		span_unlink(&h->partial[zone][size_class], s);
	return 0;
}

static void drop(struct size_classes *h, struct span *s, unsigned size_class, unsigned zone)
{
	span_unlink(&h->partial[zone][size_class], s);
	h->slots[zone][size_class] -= s->slots;
	span_free(&h->pool, s);
}

/* A slot in hand goes back to its span. */
static void put_back(struct size_classes *h, struct span *s, unsigned slot)
{
	unsigned size_class = s->kind & 0xff, zone = s->kind >> 8;

	span_return(&h->pool, s, slot);
	if (s->free == 1)
		span_push(&h->partial[zone][size_class], s);
	if (s->free < s->slots)
		return;
	if (h->empty[zone][size_class])
		drop(h, s, size_class, zone);
	else
		h->empty[zone][size_class]++;
}

/* ---- magazines ---- */

static inline uint32_t room_for(unsigned size_class)
{
	uint64_t fit = MAGAZINE_BYTES / class_bytes(size_class);

	return (uint32_t)(fit < SIZE_MAGAZINE_ROOM ? fit : SIZE_MAGAZINE_ROOM);
}

/* The current CPU's magazines; NULL: it is to have none, or there are no frames for them. */
static struct size_magazine *magazines(struct size_classes *h)
{
	unsigned cpu = port_cpu();

	if (cpu >= h->setup.cpus)
		return NULL;
	if (h->setup.magazine[cpu])
		return h->setup.magazine[cpu];
	struct heap_run run =
		heap_pages_get(&h->pool.pages, SIZE_MAGAZINE_FRAMES, 1, FRAME_ZONE_ANY);
	if (!run.at)
		return NULL;
	h->pool.own_frames += run.frames;
	struct size_magazine *m = (struct size_magazine *)(void *)run.at;
	memset(m, 0, SIZE_MAGAZINE_FRAMES * FRAME_BYTES);
	for (unsigned i = 0; i < SIZE_CLASS_MAGAZINES; i++)
		m[i].room = room_for(i);
	h->setup.magazine[cpu] = m;
	h->only = h->setup.cpus == 1 ? m : NULL;
	return m;
}

/* The N oldest objects go back to their spans. */
static void flush(struct size_classes *h, struct size_magazine *m, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		put_back(h, span_of_bit(m->spare[i]), span_slot_of_bit(m->spare[i]));
	for (uint32_t i = n; i < m->count; i++)
		m->spare[i - n] = m->spare[i];
	m->count -= n;
}

/* Vacant slots of the span, up to COUNT in all. */
static void draw(struct size_classes *h, struct size_magazine *m, struct span *s, uint32_t count)
{
	while (m->count < count && s->free) {
		m->spare[m->count++] = span_bit(s, span_draw(&h->pool, s));
	}
	if (!s->free)
		span_unlink(&h->partial[FRAME_ZONE_ANY][s->kind], s);
}

/* Half of its room, but no new span for more than the first. */
static void refill(struct size_classes *h, struct size_magazine *m, unsigned size_class)
{
	while (m->count < m->room / 2 &&
	       (m->count == 0 || h->partial[FRAME_ZONE_ANY][size_class])) {
		struct span *s = span_with_room(h, size_class, FRAME_ZONE_ANY);
		if (!s)
			return;
		draw(h, m, s, m->room / 2);
	}
}

static inline void *pop(struct size_magazine *m)
{
	uint32_t count = m->count - 1;

	m->count = count;
	span_bit_set(m->spare[count]);
	return span_object(m->spare[count]);
}

static inline struct size_magazine *of_cpu(const struct size_classes *h)
{
	unsigned cpu = port_cpu();

	return cpu < h->setup.cpus ? h->setup.magazine[cpu] : NULL;
}

static inline void push(struct size_magazine *m, struct span_bit bit)
{
	m->spare[m->count++] = bit;
}

/* ---- the operations ---- */

static unsigned class_for(const struct heap_request *request)
{
	unsigned size_class = class_of(request->bytes);

	if (request->align_bytes > HEAP_ALIGN_DEFAULT)
		while (class_bytes(size_class) & (request->align_bytes - 1))
			size_class++;
	return size_class;
}

static int alloc_now(struct size_classes *h, const struct heap_request *request, bool magazine,
		     void **out)
{
	if (request->bytes > CLASS_MAX || request->align_bytes > FRAME_BYTES)
		return alloc_run(h, request, out);
	unsigned size_class = class_for(request);
	struct size_magazine *m =
		magazine && size_class < SIZE_CLASS_MAGAZINES && request->zone == FRAME_ZONE_ANY
			? magazines(h)
			: NULL;
	if (!m)
		return take(h, size_class, request->zone, out);
	m += size_class;
	if (!m->count)
		refill(h, m, size_class);
	if (!m->count)
		return KERR_NO_MEMORY;
	*out = pop(m);
	return 0;
}

static __attribute__((noinline)) int alloc_slowly(struct size_classes *h,
						  const struct heap_request *request, void **out)
{
	int error = alloc_now(h, request, true, out);

	if (error != KERR_NO_MEMORY)
		return error;
	/* Another class may have an empty span, or what a magazine holds would make one. */
	size_classes_trim(h);
	return alloc_now(h, request, false, out);
}

/* Out of a magazine. False: that is empty, or there is none for the request. */
static inline bool alloc_fast(const struct size_classes *h, struct size_magazine *m,
			      const struct heap_request *request, void **out)
{
	if (request->bytes > SIZE_CLASS_SMALL_BYTES || request->align_bytes > HEAP_ALIGN_DEFAULT ||
	    request->zone != FRAME_ZONE_ANY)
		return false;
	m += h->setup.small[(request->bytes + 7) / 8];
	if (!m->count)
		return false;
	*out = pop(m);
	return true;
}

static __attribute__((noinline)) int alloc_by_cpu(struct size_classes *h,
						  const struct heap_request *request, void **out)
{
	struct size_magazine *m = of_cpu(h);

	return m && alloc_fast(h, m, request, out) ? 0 : alloc_slowly(h, request, out);
}

int size_classes_alloc(void *state, const struct heap_request *request, void **out)
{
	struct size_classes *h = state;

	if (!h->only)
		return alloc_by_cpu(h, request, out);
	return alloc_fast(h, h->only, request, out) ? 0 : alloc_slowly(h, request, out);
}

/* For which the fast path found no room. */
static __attribute__((noinline)) int free_slowly(struct size_classes *h, struct span *s,
						 struct span_bit bit)
{
	unsigned slot = (unsigned)(bit.at - span_bit(s, 0).at);
	struct size_magazine *m = s->kind < SIZE_CLASS_MAGAZINES ? magazines(h) : NULL;

	if (s->kind == RUN) {
		span_return(&h->pool, s, slot);
		span_free(&h->pool, s);
		h->runs--;
	} else if (!m) {
		put_back(h, s, slot);
	} else {
		m += s->kind;
		/* The older half goes back: the newer is warm. */
		if (m->count == m->room)
			flush(h, m, (m->room + 1) / 2);
		push(m, bit);
	}
	return 0;
}

/* The object's bit is cleared: a magazine takes it, or its span. */
static inline int free_into(struct size_classes *h, struct size_magazine *m, struct span *s,
			    struct span_bit bit)
{
	if (!m || s->kind >= SIZE_CLASS_MAGAZINES || m[s->kind].count >= m[s->kind].room)
		return free_slowly(h, s, bit);
	push(&m[s->kind], bit);
	return 0;
}

static __attribute__((noinline)) int free_by_cpu(struct size_classes *h, struct span *s,
						 struct span_bit bit)
{
	return free_into(h, of_cpu(h), s, bit);
}

int size_classes_free(void *state, void *object)
{
	struct size_classes *h = state;
	struct span *s = span_of(&h->pool, object);
	int slot = s ? span_slot(s, object) : -1;

	if (slot < 0)
		return KERR_NOT_OWNED;
	struct span_bit bit = span_bit(s, (unsigned)slot);
	span_bit_clear(bit);
	return h->only ? free_into(h, h->only, s, bit) : free_by_cpu(h, s, bit);
}

uint64_t size_classes_usable(const void *state, const void *object)
{
	const struct size_classes *h = state;

	return span_usable(&h->pool, object);
}

static void drop_magazines(struct size_classes *h)
{
	for (uint64_t cpu = 0; cpu < h->setup.cpus; cpu++) {
		struct size_magazine *m = h->setup.magazine[cpu];
		if (!m)
			continue;
		for (unsigned i = 0; i < SIZE_CLASS_MAGAZINES; i++)
			flush(h, &m[i], m[i].count);
		heap_pages_put(&h->pool.pages,
			       (struct heap_run){ (char *)m, SIZE_MAGAZINE_FRAMES });
		h->pool.own_frames -= SIZE_MAGAZINE_FRAMES;
		h->setup.magazine[cpu] = NULL;
	}
	h->only = NULL;
}

void size_classes_trim(void *state)
{
	struct size_classes *h = state;

	drop_magazines(h);
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

void size_classes_stats(const void *state, struct heap_stats *out)
{
	const struct size_classes *h = state;

	span_stats(&h->pool, out);
	out->slots = h->runs;
	for (unsigned i = 0; i < ZONES * CLASSES; i++)
		out->slots += h->slots[i / CLASSES][i % CLASSES];
	for (uint64_t cpu = 0; cpu < h->setup.cpus; cpu++)
		for (unsigned i = 0; h->setup.magazine[cpu] && i < SIZE_CLASS_MAGAZINES; i++) {
			uint64_t count = h->setup.magazine[cpu][i].count;
			out->used_objects -= count;
			out->used_bytes -= count * class_bytes(i);
		}
}

int size_classes_walk(const void *state, heap_visit_fn visit, void *ctx)
{
	const struct size_classes *h = state;

	return span_walk(&h->pool, visit, ctx);
}

/* ---- check ---- */

struct tally {
	struct heap_violation *v;
	uint64_t partial, empty, slots, runs;
	uint64_t drawn,
		drawn_sum; /* slots that are neither vacant nor used; over their addresses */
};

static inline uint64_t address_sum(const void *object)
{
	uint64_t x = (uint64_t)(uintptr_t)object * 0x9e3779b97f4a7c15;

	return (x ^ x >> 29) * 0xbf58476d1ce4e5b9;
}

static void tally_drawn(struct tally *t, const struct span *s)
{
	for (unsigned slot = 0; slot < s->slots; slot++) {
		uint64_t either = s->vacant[slot / BITS_PER_WORD] | s->used[slot / BITS_PER_WORD];
		if (either >> slot % BITS_PER_WORD & 1)
			continue;
		t->drawn++;
		t->drawn_sum += address_sum(s->base + slot * s->slot_bytes);
	}
}

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
	t->slots += s->kind != RUN ? s->slots : 0;
	t->runs += s->kind == RUN;
	tally_drawn(t, s);
	return 0;
}

static int check_magazine(const struct size_classes *h, const struct size_magazine *m,
			  unsigned size_class, struct tally *t)
{
	if (m->room != room_for(size_class) || m->count > m->room)
		return heap_found(t->v, 7, m, "a magazine has its room and no more objects");
	for (uint32_t i = 0; i < m->count; i++) {
		const struct span *s = span_of_bit(m->spare[i]);
		if (!heap_pages_possible(&h->pool.pages, s) ||
		    span_slot_of_bit(m->spare[i]) >= s->slots || s->kind != size_class ||
		    span_of(&h->pool, s->base) != s)
			return heap_found(t->v, 7, &m->spare[i],
					  "a magazine's objects are of its class");
		t->drawn--;
		t->drawn_sum -= address_sum(span_object(m->spare[i]));
	}
	return 0;
}

static int check_magazines(const struct size_classes *h, struct tally *t)
{
	uint64_t frames = 0;
	int error = 0;

	for (uint64_t cpu = 0; !error && cpu < h->setup.cpus; cpu++) {
		const struct size_magazine *m = h->setup.magazine[cpu];
		if (!m)
			continue;
		frames += SIZE_MAGAZINE_FRAMES;
		if (((uintptr_t)m & (FRAME_BYTES - 1)) || !heap_pages_possible(&h->pool.pages, m) ||
		    page_map_get(&h->pool.map, m))
			return heap_found(t->v, 7, &h->setup.magazine[cpu],
					  "a CPU's magazines are a frame of the heap's own");
		for (unsigned i = 0; !error && i < SIZE_CLASS_MAGAZINES; i++)
			error = check_magazine(h, &m[i], i, t);
	}
	if (!error && (t->drawn || t->drawn_sum || frames != h->pool.own_frames ||
		       h->only != (h->setup.cpus == 1 ? h->setup.magazine[0] : NULL)))
		return heap_found(t->v, 7, h, "magazines hold every slot in hand once");
	return error;
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
	t->slots -= h->slots[zone][size_class];
	return 0;
}

int size_classes_check(const void *state, struct heap_violation *v)
{
	const struct size_classes *h = state;
	struct tally t = { .v = v };
	int error = span_check(&h->pool, v);

	if (!error && h->setup_sum != heap_header_sum(&h->setup, sizeof(h->setup)))
		return heap_found(v, 1, &h->setup, "constant parts are as init left them");
	if (!error)
		error = span_each(&h->pool, tally_span, &t);
	for (unsigned i = 0; !error && i < ZONES * CLASSES; i++)
		error = check_list(h, i / CLASSES, i % CLASSES, &t);
	if (!error && (t.partial || t.empty || t.slots || t.runs != h->runs))
		return heap_found(v, 6, h, "every span with a vacant slot is in its list");
	return error ? error : check_magazines(h, &t);
}

const struct heap_ops heap_size_classes = {
	.name = "size-classes",
	.id = "H1",
	.summary = "35 sizes in spans of their own, magazines, metadata out of band; larger ones "
		   "are runs",
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
