#include "alloc/heap/span.h"

#include "alloc/heap/support.h"
#include "alloc/port.h"

/* At the beginning of a frame, in place of its first record. */
struct span_frame {
	struct span_frame *next, *prev;
	uint32_t vacant; /* bit i: record i + 1 of the frame describes nothing */
	uint32_t seal;
};

#define EXTRA_BYTES (SPAN_EXTRA_SETS * SPAN_WORDS * sizeof(uint64_t))

static unsigned descriptors(const struct span_pool *pool)
{
	return (unsigned)(FRAME_BYTES / pool->record_bytes) - 1;
}

static uint32_t all_vacant(const struct span_pool *pool)
{
	return (1u << descriptors(pool)) - 1;
}

void span_pool_init(struct span_pool *pool, const struct heap_config *config, uint64_t *root,
		    bool extra)
{
	*pool = (struct span_pool){ .cookie = heap_cookie(config),
				    .record_bytes =
					    sizeof(struct span) + (extra ? EXTRA_BYTES : 0) };
	pool->header_sum = heap_header_sum(&pool->cookie, 2 * sizeof(uint64_t));
	heap_pages_init(&pool->pages, config);
	page_map_init(&pool->map, &pool->pages, root);
}

static uint32_t seal_of(const struct span_pool *pool, const struct span *s)
{
	return heap_seal(s, (uint64_t)(uintptr_t)s->base ^ s->frames ^ (uint64_t)s->kind << 40,
			 pool->cookie);
}

static uint32_t frame_seal(const struct span_pool *pool, const struct span_frame *f)
{
	return heap_seal(f, 0, ~pool->cookie);
}

/* ---- descriptors ---- */

static void push_frame(struct span_pool *pool, struct span_frame *f)
{
	f->next = pool->frames;
	f->prev = NULL;
	if (f->next)
		f->next->prev = f;
	pool->frames = f;
}

static void unlink_frame(struct span_pool *pool, struct span_frame *f)
{
	if (f->next)
		f->next->prev = f->prev;
	if (f->prev)
		f->prev->next = f->next;
	else
		pool->frames = f->next;
}

static bool more_descriptors(struct span_pool *pool)
{
	struct heap_run run = heap_pages_get(&pool->pages, 1, 1, FRAME_ZONE_ANY);
	struct span_frame *f = (struct span_frame *)(void *)run.at;

	if (!f)
		return false;
	memset(f, 0, FRAME_BYTES);
	f->vacant = all_vacant(pool);
	f->seal = frame_seal(pool, f);
	push_frame(pool, f);
	pool->descriptor_frames++;
	return true;
}

static struct span *descriptor_new(struct span_pool *pool)
{
	if (!pool->frames && !more_descriptors(pool))
		return NULL;
	struct span_frame *f = pool->frames;
	unsigned i = bit_lowest(f->vacant);
	f->vacant &= f->vacant - 1;
	if (!f->vacant)
		unlink_frame(pool, f);
	return (struct span *)((uintptr_t)f + (i + 1) * pool->record_bytes);
}

static void descriptor_free(struct span_pool *pool, struct span *s)
{
	struct span_frame *f = (struct span_frame *)((uintptr_t)s & ~(uintptr_t)(FRAME_BYTES - 1));

	s->seal = 0;
	if (!f->vacant)
		push_frame(pool, f);
	f->vacant |= 1u << (((uintptr_t)s - (uintptr_t)f) / pool->record_bytes - 1);
	if (f->vacant != all_vacant(pool))
		return;
	unlink_frame(pool, f);
	pool->descriptor_frames--;
	heap_pages_put(&pool->pages, (struct heap_run){ (char *)f, 1 });
}

/* ---- spans ---- */

/* A run with one slot is known by its first frame. */
static uint64_t known_frames(const struct span *s)
{
	return s->slots > 1 ? s->frames : 1;
}

static uint32_t reciprocal_of(uint64_t slot_bytes)
{
	return (uint32_t)(((1ull << 32) + slot_bytes - 1) / slot_bytes);
}

static void cut(struct span *s, uint64_t slot_bytes)
{
	uint64_t bytes = (uint64_t)s->frames * FRAME_BYTES;
	uint64_t slots = slot_bytes ? bytes / slot_bytes : 1;

	s->slot_bytes = slot_bytes ? slot_bytes : bytes;
	s->step = (uint32_t)slot_bytes;
	/* Of a single slot, offset 0 is the only one that begins it. */
	s->reciprocal = slot_bytes ? reciprocal_of(slot_bytes) : 1;
	s->slots = (uint16_t)(slots < SPAN_SLOTS_MAX ? slots : SPAN_SLOTS_MAX);
	s->free = s->slots;
	for (unsigned w = 0; w < SPAN_WORDS; w++) {
		unsigned first = w * BITS_PER_WORD;
		unsigned here = s->slots > first ? s->slots - first : 0;
		s->vacant[w] = here >= BITS_PER_WORD ? ~0ull : here ? bit_mask(0, here) : 0;
		s->used[w] = 0;
	}
}

struct span *span_new(struct span_pool *pool, uint64_t frames, uint64_t align_frames, uint8_t zone,
		      uint64_t slot_bytes, uint16_t kind)
{
	struct span *s = descriptor_new(pool);

	if (!s)
		return NULL;
	struct heap_run run = heap_pages_get(&pool->pages, frames, align_frames, zone);
	if (!run.at) {
		descriptor_free(pool, s);
		return NULL;
	}
	*s = (struct span){ .base = run.at, .frames = run.frames, .kind = kind };
	cut(s, slot_bytes);
	memset(s + 1, 0, pool->record_bytes - sizeof(*s));
	s->seal = seal_of(pool, s);
	if (!page_map_set(&pool->map, run.at, known_frames(s), (uint64_t)(uintptr_t)s)) {
		heap_pages_put(&pool->pages, run);
		descriptor_free(pool, s);
		return NULL;
	}
	pool->run_frames += run.frames;
	return s;
}

void span_free(struct span_pool *pool, struct span *s)
{
	page_map_clear(&pool->map, s->base, known_frames(s));
	pool->run_frames -= s->frames;
	heap_pages_put(&pool->pages, (struct heap_run){ s->base, s->frames });
	descriptor_free(pool, s);
}

/* ---- looking at them ---- */

struct each {
	span_visit_fn visit;
	void *ctx;
};

static int each_frame(void *ctx, const void *at, uint64_t word)
{
	const struct each *each = ctx;
	struct span *s = (struct span *)(uintptr_t)word;

	return s->base == at ? each->visit(each->ctx, s) : 0;
}

int span_each(const struct span_pool *pool, span_visit_fn visit, void *ctx)
{
	struct each each = { visit, ctx };

	return page_map_walk(&pool->map, each_frame, &each);
}

uint64_t span_usable(const struct span_pool *pool, const void *object)
{
	const struct span *s = span_of(pool, object);

	return s && span_slot(s, object) >= 0 ? s->slot_bytes : 0;
}

void span_stats(const struct span_pool *pool, struct heap_stats *out)
{
	*out = (struct heap_stats){
		.held_frames = pool->pages.held_frames,
		.used_objects = pool->taken_slots,
		.used_bytes = pool->taken_bytes,
		.kept_bytes = (pool->pages.held_frames - pool->run_frames) * FRAME_BYTES,
	};
}

struct walk {
	heap_visit_fn visit;
	void *ctx;
};

static int walk_span(void *ctx, struct span *s)
{
	const struct walk *walk = ctx;

	for (unsigned i = 0; i < s->slots; i++) {
		struct heap_extent extent = { .at = s->base + i * s->slot_bytes,
					      .bytes = s->slot_bytes,
					      .state = span_in_use(s, i) ? HEAP_USED : HEAP_FREE };
		if (walk->visit(walk->ctx, &extent))
			return KERR_STOP;
	}
	return 0;
}

int span_walk(const struct span_pool *pool, heap_visit_fn visit, void *ctx)
{
	struct walk walk = { visit, ctx };

	return span_each(pool, walk_span, &walk);
}

/* ---- check ---- */

struct span_tally {
	const struct span_pool *pool;
	struct heap_violation *v;
	uint64_t spans, known, run_frames, taken_slots, taken_bytes;
};

static bool is_span(const struct span_pool *pool, const struct span *s)
{
	uintptr_t offset = (uintptr_t)s & (FRAME_BYTES - 1);

	return heap_pages_possible(&pool->pages, s) && offset && offset % pool->record_bytes == 0 &&
	       s->seal == seal_of(pool, s);
}

static int tally_slots(struct span_tally *t, const struct span *s)
{
	unsigned vacant = 0;

	for (unsigned w = 0; w < SPAN_WORDS; w++) {
		unsigned first = w * BITS_PER_WORD;
		unsigned here = s->slots > first ? s->slots - first : 0;
		uint64_t beyond = here >= BITS_PER_WORD ? 0 : here ? ~bit_mask(0, here) : ~0ull;
		if ((s->vacant[w] | s->used[w]) & beyond)
			return heap_found(t->v, 2, s, "no bit is set beyond a span's slots");
		if (s->vacant[w] & s->used[w])
			return heap_found(t->v, 2, s, "no slot is vacant and used");
		vacant += bit_count(s->vacant[w]);
	}
	uint64_t bytes = (uint64_t)s->frames * FRAME_BYTES;
	if (!s->slots || s->slots > SPAN_SLOTS_MAX || s->slot_bytes == 0 ||
	    s->slot_bytes > bytes / s->slots ||
	    s->reciprocal != (s->reciprocal != 1 ? reciprocal_of(s->slot_bytes) : 1) ||
	    (s->reciprocal == 1 && s->slots != 1))
		return heap_found(t->v, 2, s, "a span's slots fit its run");
	if (!vacant && (s->next || s->prev))
		return heap_found(t->v, 2, s, "a span without vacant slots is on no list");
	if (vacant != s->free)
		return heap_found(t->v, 2, s, "free counts the bits of vacant slots");
	t->taken_slots += s->slots - vacant;
	t->taken_bytes += (s->slots - vacant) * s->slot_bytes;
	return 0;
}

static int tally_frame(void *ctx, const void *at, uint64_t word)
{
	struct span_tally *t = ctx;
	const struct span *s = (const struct span *)(uintptr_t)word;

	t->known++;
	if (!is_span(t->pool, s) ||
	    (uintptr_t)at - (uintptr_t)s->base >= (uint64_t)s->frames * FRAME_BYTES)
		return heap_found(t->v, 1, at, "words of the page map are sealed spans");
	if (s->base != at)
		return 0;
	t->spans++;
	t->run_frames += s->frames;
	t->known -= known_frames(s);
	return tally_slots(t, s);
}

static int check_descriptors(const struct span_pool *pool, uint64_t spans, struct heap_violation *v)
{
	const struct span_frame *before = NULL;
	uint64_t vacant = 0, frames = 0;

	for (const struct span_frame *f = pool->frames; f; before = f, f = f->next) {
		if (((uintptr_t)f & (FRAME_BYTES - 1)) || !heap_pages_possible(&pool->pages, f) ||
		    f->seal != frame_seal(pool, f) || f->prev != before ||
		    frames++ >= pool->descriptor_frames)
			return heap_found(v, 3, f, "descriptor frames are linked and sealed");
		if (!f->vacant || f->vacant >= all_vacant(pool))
			return heap_found(v, 3, f,
					  "a listed frame has vacant and used descriptors");
		vacant += bit_count(f->vacant);
	}
	if (spans + vacant != pool->descriptor_frames * descriptors(pool))
		return heap_found(v, 3, pool, "a descriptor for every span");
	return 0;
}

int span_check(const struct span_pool *pool, struct heap_violation *v)
{
	struct span_tally t = { .pool = pool, .v = v };
	const void *bad = page_map_check(&pool->map);
	uint64_t leaves = 0;

	if (bad || pool->header_sum != heap_header_sum(&pool->cookie, 2 * sizeof(uint64_t)))
		return heap_found(v, 1, bad, "constant parts and the page map are sound");
	int error = page_map_walk(&pool->map, tally_frame, &t);
	if (error)
		return error;
	if (t.known)
		return heap_found(v, 1, pool, "a span's frames are all in the page map");
	error = check_descriptors(pool, t.spans, v);
	if (error)
		return error;
	for (uint64_t r = 0; r < pool->map.roots; r++)
		leaves += pool->map.root[r] != 0;
	if (t.taken_slots != pool->taken_slots || t.taken_bytes != pool->taken_bytes ||
	    t.run_frames != pool->run_frames ||
	    t.run_frames + pool->descriptor_frames + leaves + pool->own_frames !=
		    pool->pages.held_frames)
		return heap_found(v, 4, pool, "totals are what the spans hold");
	return 0;
}
