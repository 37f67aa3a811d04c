#include "alloc/heap/slab.h"

void slab_stats(const void *state, struct heap_stats *out)
{
	const struct slab_heap *h = state;
	uint64_t content = h->run_frames * FRAME_BYTES, bytes = content;
	uint64_t objects = h->runs, slots = h->runs;

	for (uint32_t i = 1; i <= h->caches; i++) {
		const struct slab_cache *c = &h->cache[i];
		content += c->slabs * c->objects * c->bytes;
		objects += c->used;
		slots += c->slabs * c->objects;
		bytes += c->used * c->bytes;
	}
	*out = (struct heap_stats){ .held_frames = h->pages.held_frames,
				    .used_objects = objects,
				    .used_bytes = bytes,
				    .kept_bytes = h->pages.held_frames * FRAME_BYTES - content,
				    .slots = slots };
}

struct walk {
	const struct slab_heap *heap;
	heap_visit_fn visit;
	void *ctx;
};

static int walk_word(void *ctx, const void *at, uint64_t word)
{
	const struct walk *walk = ctx;
	const struct slab *s = at;

	if (word & RUN_MARK) {
		struct heap_extent run = { .at = at,
					   .bytes = (word >> 1) * FRAME_BYTES,
					   .state = HEAP_USED };
		return walk->visit(walk->ctx, &run);
	}
	const struct slab_cache *c = &walk->heap->cache[s->cache];
	for (unsigned i = 0; i < c->objects; i++) {
		struct heap_extent extent = { .at = s->first + (uint64_t)i * c->bytes,
					      .bytes = c->bytes,
					      .state = slab_marked(c, s, i) ? HEAP_USED
									    : HEAP_FREE };
		if (walk->visit(walk->ctx, &extent))
			return KERR_STOP;
	}
	return 0;
}

int slab_walk(const void *state, heap_visit_fn visit, void *ctx)
{
	const struct slab_heap *h = state;
	struct walk walk = { h, visit, ctx };

	return page_map_walk(&h->map, walk_word, &walk) ? KERR_STOP : 0;
}

/* ---- check ---- */

struct tally {
	const struct slab_heap *heap;
	struct heap_violation *v;
	uint64_t slabs, partial, empty, run_frames, used_objects, used_bytes, in_magazines;
};

static int tally_bits(struct tally *t, const struct slab_cache *c, const struct slab *s)
{
	unsigned vacant = 0, used = 0;

	for (unsigned w = 0; w < c->words; w++) {
		unsigned here = c->objects - w * BITS_PER_WORD;
		uint64_t valid = here >= BITS_PER_WORD ? ~0ull : bit_mask(0, here);
		uint64_t v = s->bits[w], u = s->bits[c->words + w];
		if ((v & u) || ((v | u) & ~valid))
			return heap_found(t->v, 3, s, "no object is vacant and used at once");
		vacant += bit_count(v);
		used += bit_count(u);
	}
	if (vacant != s->vacant_objects)
		return heap_found(t->v, 3, s, "vacant_objects counts the vacant ones");
	if (!vacant && (s->next || s->prev))
		return heap_found(t->v, 4, s, "a full slab is on no list");
	t->partial += vacant && vacant < c->objects;
	t->empty += vacant == c->objects;
	t->used_objects += used;
	t->used_bytes += (uint64_t)used * c->bytes;
	t->in_magazines += c->objects - vacant - used;
	return 0;
}

static bool fits_its_page(const struct slab_cache *c, const struct slab *s)
{
	uint64_t offset = (uint64_t)(s->first - (const char *)s);

	return offset >= slab_head_bytes(c->objects, c->align) &&
	       offset + (uint64_t)c->objects * c->bytes <= FRAME_BYTES;
}

static int tally_word(void *ctx, const void *at, uint64_t word)
{
	struct tally *t = ctx;
	const struct slab_heap *h = t->heap;
	const struct slab *s = at;

	if (word & RUN_MARK) {
		uint64_t bytes = (word >> 1) * FRAME_BYTES;
		t->run_frames += word >> 1;
		t->used_objects++;
		t->used_bytes += bytes;
		if (!bytes || !heap_pages_possible(&h->pages, (const char *)at + bytes - 1))
			return heap_found(t->v, 1, at, "words name caches, or frames of a run");
		return 0;
	}
	if (word >> 1 == 0 || word >> 1 > h->caches)
		return heap_found(t->v, 1, at, "words name caches, or frames of a run");
	if (s->seal != slab_seal(h, s) || s->cache != word >> 1 ||
	    !fits_its_page(&h->cache[s->cache], s))
		return heap_found(t->v, 2, s, "a slab's head is sealed and its objects fit");
	t->slabs++;
	return tally_bits(t, &h->cache[s->cache], s);
}

static int check_list(const struct slab_heap *h, uint32_t number, const struct slab *first,
		      bool empty, struct tally *t)
{
	const struct slab *before = NULL;
	uint64_t *left = empty ? &t->empty : &t->partial;

	for (const struct slab *s = first; s; before = s, s = s->next) {
		unsigned objects = h->cache[number].objects;
		if (((uintptr_t)s & (FRAME_BYTES - 1)) ||
		    page_map_get(&h->map, s) != (uint64_t)number << 1 || s->prev != before ||
		    s->vacant_objects == 0 || (s->vacant_objects == objects) != empty ||
		    (*left)-- == 0)
			return heap_found(t->v, 4, s, "lists hold the slabs with vacant objects");
	}
	return 0;
}

/* An object of that cache (0: of any) which nobody has. */
static bool is_spare(const struct slab_heap *h, uint32_t number, const void *object)
{
	const struct slab *s = slab_of(object);
	uint64_t word = page_map_get(&h->map, object);

	if (!word || (word & RUN_MARK) || (number && word >> 1 != number))
		return false;
	const struct slab_cache *c = &h->cache[word >> 1];
	uint64_t offset = (uint64_t)((const char *)object - s->first);
	if (offset >= FRAME_BYTES)
		return false;
	unsigned i = slab_object_number(c, s, object);
	return i < c->objects && (uint64_t)i * c->bytes == offset && !slab_marked(c, s, i) &&
	       !(s->bits[i / BITS_PER_WORD] >> i % BITS_PER_WORD & 1);
}

static int check_magazines(const struct slab_heap *h, uint32_t number, struct tally *t)
{
	const struct slab_cache *c = &h->cache[number];

	if (!c->magazine)
		return 0;
	if (!is_spare(h, 0, c->magazine))
		return heap_found(t->v, 5, &c->magazine, "magazines stand in spare objects");
	t->in_magazines--;
	for (unsigned cpu = 0; cpu < h->cpus; cpu++) {
		const struct magazine *m = c->magazine[cpu];
		if (!m)
			continue;
		if (!is_spare(h, 0, m) || m->count > h->option[OPTION_MAGAZINE])
			return heap_found(t->v, 5, m, "magazines stand in spare objects");
		t->in_magazines -= 1 + m->count;
		for (uint32_t i = 0; i < m->count; i++)
			if (!is_spare(h, number, m->object[i]))
				return heap_found(t->v, 5, m, "a magazine holds spare objects");
	}
	return 0;
}

/* What make_cache() and init computed. */
static bool cache_is_sound(const struct slab_cache *c)
{
	uint64_t align = c->align, bytes = c->bytes;

	return is_power_of_two(align) && bytes && bytes <= FRAME_BYTES &&
	       (bytes & (align - 1)) == 0 && c->objects == slab_objects(bytes, align) &&
	       c->words == (c->objects + BITS_PER_WORD - 1) / BITS_PER_WORD &&
	       c->reciprocal == (uint32_t)(((1ull << 32) + bytes - 1) / bytes) &&
	       c->spare == FRAME_BYTES - slab_head_bytes(c->objects, align) - c->objects * bytes &&
	       c->colour <= c->spare;
}

static const void *unsound_cache(const struct slab_heap *h)
{
	for (uint32_t i = 1; i <= h->caches; i++)
		if (!cache_is_sound(&h->cache[i]))
			return &h->cache[i];
	for (unsigned step = 1; step < SMALL_STEPS; step++) {
		unsigned g = h->general[step];
		if (g < 1 || g > GENERAL || slab_general_bytes[g - 1] < step * 8 ||
		    (g > 1 && slab_general_bytes[g - 2] >= step * 8))
			return &h->general[step];
	}
	return NULL;
}

static int check_totals(const struct slab_heap *h, const struct tally *t)
{
	uint64_t leaves = 0;

	for (uint64_t r = 0; r < h->map.roots; r++)
		leaves += h->root[r] != 0;
	if (t->partial || t->empty)
		return heap_found(t->v, 4, h, "every slab with vacant objects is in a list");
	if (t->in_magazines)
		return heap_found(t->v, 5, h, "spare objects are magazines or in one");
	struct heap_stats stats;
	slab_stats(h, &stats);
	if (t->used_objects != stats.used_objects || t->used_bytes != stats.used_bytes ||
	    t->slabs != h->slabs || t->run_frames != h->run_frames ||
	    h->slabs + h->run_frames + leaves != h->pages.held_frames)
		return heap_found(t->v, 6, h, "totals are what slabs and runs hold");
	return 0;
}

int slab_check(const void *state, struct heap_violation *v)
{
	const struct slab_heap *h = state;
	struct tally t = { .heap = h, .v = v };
	const void *bad = page_map_check(&h->map);

	if (bad || h->caches > CACHES_MAX || h->header_sum != slab_constant_sum(h))
		return heap_found(v, 1, bad, "constant parts and the page map are sound");
	bad = unsound_cache(h);
	if (bad)
		return heap_found(v, 7, bad, "a cache is what its size and alignment make it");
	int error = page_map_walk(&h->map, tally_word, &t);
	for (uint32_t i = 1; !error && i <= h->caches; i++) {
		error = check_list(h, i, h->cache[i].partial, false, &t);
		if (!error)
			error = check_list(h, i, h->cache[i].empty, true, &t);
		if (!error)
			error = check_magazines(h, i, &t);
	}
	return error ? error : check_totals(h, &t);
}
