#include "alloc/heap/chunk_heap.h"

#include "alloc/heap/support.h"

#define SEGMENT_HEAD sizeof(struct chunk_segment)

static uint32_t seal_of(const struct chunk_heap *heap, const struct chunk *c)
{
	return heap_seal(c, c->word & ~(uint64_t)CHUNK_PREV_FREE, heap->setup.cookie);
}

static uint64_t segment_seal(const struct chunk_heap *heap, const struct chunk_segment *s)
{
	return heap_seal(s, s->frames, ~heap->setup.cookie);
}

static inline void set(struct chunk_heap *heap, struct chunk *c, uint64_t word)
{
	c->word = word;
	c->seal = seal_of(heap, c);
}

static inline uint64_t *last_word(const struct chunk *c)
{
	return (uint64_t *)((uintptr_t)chunk_after(c) - sizeof(uint64_t));
}

static inline struct chunk *first_chunk(const struct chunk_segment *s)
{
	return (struct chunk *)((uintptr_t)s + SEGMENT_HEAD);
}

static inline uint64_t segment_bytes(const struct chunk_segment *s)
{
	return s->frames * FRAME_BYTES;
}

/* Length of the one free chunk of an empty segment. */
static inline uint64_t segment_room(uint64_t frames)
{
	return frames * FRAME_BYTES - SEGMENT_HEAD - CHUNK_HEADER;
}

void chunk_heap_init(struct chunk_heap *heap, const struct heap_config *config,
		     const struct chunk_setup *setup)
{
	*heap = (struct chunk_heap){ .setup = *setup, .low = (const char *)UINTPTR_MAX };
	heap->setup.cookie += heap_cookie(config);
	heap->setup_sum = heap_header_sum(&heap->setup, sizeof(heap->setup));
	heap_pages_init(&heap->pages, config);
}

/* ---- free chunks ---- */

/* C gets that length and becomes free; its neighbours are used. Keeps C's PREV_FREE, which is 0. */
static void make_free(struct chunk_heap *heap, struct chunk *c, uint64_t bytes)
{
	set(heap, c, bytes);
	c->tag = 0;
	*last_word(c) = bytes;
	chunk_after(c)->word |= CHUNK_PREV_FREE;
	heap->free_chunks++;
	heap->free_bytes += bytes;
	heap->setup.index->insert(heap, c);
}

/* Takes C out of the index; what it is now is the caller's to say. */
static void unfree(struct chunk_heap *heap, struct chunk *c)
{
	heap->setup.index->remove(heap, c);
	chunk_after(c)->word &= ~(uint64_t)CHUNK_PREV_FREE;
	heap->free_chunks--;
	heap->free_bytes -= chunk_bytes(c);
}

/* ---- segments ---- */

static void note_bounds(struct chunk_heap *heap)
{
	heap->low = (const char *)UINTPTR_MAX;
	heap->high = NULL;
	for (const struct chunk_segment *s = heap->segments; s; s = s->next) {
		const char *end = (const char *)s + segment_bytes(s);
		heap->low = (const char *)s < heap->low ? (const char *)s : heap->low;
		heap->high = end > heap->high ? end : heap->high;
	}
}

static void link_segment(struct chunk_heap *heap, struct heap_run run)
{
	struct chunk_segment *s = (struct chunk_segment *)(void *)run.at;

	*s = (struct chunk_segment){ .next = heap->segments, .frames = run.frames };
	s->seal = segment_seal(heap, s);
	if (heap->segments)
		heap->segments->prev = s;
	heap->segments = s;
	heap->segment_frames += run.frames;
	heap->low = run.at < heap->low ? run.at : heap->low;
	heap->high =
		run.at + segment_bytes(s) > heap->high ? run.at + segment_bytes(s) : heap->high;
}

/* The segment is one free chunk: its frames go back. */
static void give_back(struct chunk_heap *heap, struct chunk_segment *s)
{
	unfree(heap, first_chunk(s));
	if (s->next)
		s->next->prev = s->prev;
	if (s->prev)
		s->prev->next = s->next;
	else
		heap->segments = s->next;
	heap->segment_frames -= s->frames;
	bool edge =
		(const char *)s == heap->low || (const char *)s + segment_bytes(s) == heap->high;
	heap_pages_put(&heap->pages, (struct heap_run){ (char *)s, (uint32_t)s->frames });
	if (edge)
		note_bounds(heap);
}

/* One empty segment of the usual size stays, so that a heap at a segment's edge does not go to the
 * frame allocator with every request. */
static void segment_emptied(struct chunk_heap *heap, struct chunk_segment *s)
{
	if (s->frames > heap->setup.grow_frames || (heap->spare && heap->spare != s))
		give_back(heap, s);
	else
		heap->spare = s;
}

void chunk_heap_adopt(struct chunk_heap *heap, struct heap_run run)
{
	link_segment(heap, run);
	struct chunk *c = first_chunk(heap->segments);
	struct chunk *end = (struct chunk *)((uintptr_t)c + segment_room(run.frames));
	set(heap, end, CHUNK_HEADER | CHUNK_USED);
	end->tag = run.frames;
	make_free(heap, c, segment_room(run.frames));
}

static struct chunk *grow(struct chunk_heap *heap, uint64_t bytes, uint8_t zone)
{
	uint64_t need = frames_for_bytes(bytes + SEGMENT_HEAD + CHUNK_HEADER);
	uint64_t frames = need > heap->setup.grow_frames ? need : heap->setup.grow_frames;
	struct heap_run run = heap_pages_get(&heap->pages, frames, 1, zone);

	while (!run.at && frames > need) {
		frames = frames / 2 > need ? frames / 2 : need;
		run = heap_pages_get(&heap->pages, frames, 1, zone);
	}
	if (!run.at)
		return NULL;
	chunk_heap_adopt(heap, run);
	return first_chunk(heap->segments);
}

/* ---- allocation ---- */

static inline uint64_t chunk_for(uint64_t bytes)
{
	uint64_t need = round_up_u64(bytes + CHUNK_HEADER, CHUNK_UNIT);

	return need < CHUNK_MIN ? CHUNK_MIN : need;
}

/* Bytes from C to where a chunk whose object has that alignment begins: 0, or room for a chunk. */
static uint64_t gap_before(const struct chunk *c, uint64_t align)
{
	uintptr_t object = (uintptr_t)c + CHUNK_HEADER;

	if ((object & (align - 1)) == 0)
		return 0;
	return ((object + CHUNK_MIN + align - 1) & ~(align - 1)) - object;
}

/* C, taken out of the index, is used from now on with BYTES; the rest of it is free again. */
static void use(struct chunk_heap *heap, struct chunk *c, uint64_t bytes, uint32_t tag)
{
	uint64_t rest = chunk_bytes(c) - bytes;
	uint64_t keep = c->word & CHUNK_PREV_FREE;

	if (rest < CHUNK_MIN) {
		bytes += rest;
		rest = 0;
	}
	set(heap, c, bytes | CHUNK_USED | keep);
	c->tag = tag;
	if (rest) {
		chunk_after(c)->word = 0;
		make_free(heap, chunk_after(c), rest);
	}
	heap->used_bytes += bytes;
}

int chunk_heap_alloc(void *state, const struct heap_request *request, void **out)
{
	struct chunk_heap *heap = state;
	uint64_t need = chunk_for(request->bytes), align = request->align_bytes;
	uint64_t ask = align > CHUNK_UNIT ? need + align + CHUNK_MIN - CHUNK_UNIT : need;
	struct chunk *c = heap->setup.index->find(heap, ask);

	if (!c && !heap->setup.fixed)
		c = grow(heap, heap->setup.index->sure(ask), request->zone);
	if (!c)
		return KERR_NO_MEMORY;
	unfree(heap, c);
	uint64_t gap = align > CHUNK_UNIT ? gap_before(c, align) : 0;
	if (gap) {
		struct chunk *hole = c;
		c = (struct chunk *)((uintptr_t)c + gap);
		c->word = chunk_bytes(hole) - gap;
		make_free(heap, hole, gap);
	}
	if (heap->spare &&
	    (const char *)c - (const char *)heap->spare < (ptrdiff_t)segment_bytes(heap->spare) &&
	    (const char *)c > (const char *)heap->spare)
		heap->spare = NULL;
	use(heap, c, need, request->tag);
	heap->used_objects++;
	*out = (char *)c + CHUNK_HEADER;
	return 0;
}

/* ---- free ---- */

/* The chunk of a live object; NULL for anything else, the end mark of a segment among it. */
static struct chunk *chunk_of(const struct chunk_heap *heap, const void *object)
{
	struct chunk *c = (struct chunk *)((uintptr_t)object - CHUNK_HEADER);

	if (((uintptr_t)object & (CHUNK_UNIT - 1)) || (const char *)object >= heap->high ||
	    (const char *)c < heap->low + SEGMENT_HEAD)
		return NULL;
	return c->seal == seal_of(heap, c) && chunk_used(c) && chunk_bytes(c) > CHUNK_HEADER ? c
											     : NULL;
}

/* The segment of which C is all, free. Nothing is looked at but C and what stands behind it. */
static struct chunk_segment *empty_segment(const struct chunk *c)
{
	const struct chunk *end = chunk_after(c);

	if (chunk_bytes(end) != CHUNK_HEADER || chunk_bytes(c) != segment_room(end->tag))
		return NULL;
	return (struct chunk_segment *)((uintptr_t)c - SEGMENT_HEAD);
}

/* C is no object any more: it becomes free, and one with its free neighbours. */
static struct chunk *release(struct chunk_heap *heap, struct chunk *c)
{
	uint64_t bytes = chunk_bytes(c);
	struct chunk *after = chunk_after(c);

	if (!chunk_used(after)) {
		unfree(heap, after);
		bytes += chunk_bytes(after);
		after->seal = 0; /* no chunk begins here any more */
	}
	if (c->word & CHUNK_PREV_FREE) {
		struct chunk *before =
			(struct chunk *)((uintptr_t)c - ((const uint64_t *)(const void *)c)[-1]);
		unfree(heap, before);
		bytes += chunk_bytes(before);
		c->seal = 0;
		c = before;
	}
	make_free(heap, c, bytes);
	return c;
}

int chunk_heap_free(void *state, void *object)
{
	struct chunk_heap *heap = state;
	struct chunk *c = chunk_of(heap, object);

	if (!c)
		return KERR_NOT_OWNED;
	heap->used_objects--;
	heap->used_bytes -= chunk_bytes(c);
	c = release(heap, c);
	struct chunk_segment *s = heap->setup.fixed ? NULL : empty_segment(c);
	if (s)
		segment_emptied(heap, s);
	return 0;
}

int chunk_heap_resize(void *state, void *object, uint64_t bytes)
{
	struct chunk_heap *heap = state;
	struct chunk *c = chunk_of(heap, object);
	uint64_t need = chunk_for(bytes);

	if (!c)
		return KERR_NOT_OWNED;
	struct chunk *after = chunk_after(c);
	uint64_t room = chunk_bytes(c) + (chunk_used(after) ? 0 : chunk_bytes(after));
	if (room < need)
		return KERR_NO_MEMORY;
	heap->used_bytes -= chunk_bytes(c);
	if (!chunk_used(after)) {
		unfree(heap, after);
		after->seal = 0;
		c->word += chunk_bytes(after);
	}
	use(heap, c, need, c->tag);
	return 0;
}

uint64_t chunk_heap_usable(const void *state, const void *object)
{
	const struct chunk_heap *heap = state;
	const struct chunk *c = chunk_of(heap, object);

	return c ? chunk_bytes(c) - CHUNK_HEADER : 0;
}

uint32_t chunk_heap_tag(const void *state, const void *object)
{
	const struct chunk_heap *heap = state;
	const struct chunk *c = chunk_of(heap, object);

	return c ? c->tag : 0;
}

void chunk_heap_trim(void *state)
{
	struct chunk_heap *heap = state;

	if (heap->spare)
		give_back(heap, heap->spare);
	heap->spare = NULL;
}

/* ---- looking at it ---- */

void chunk_heap_stats(const void *state, struct heap_stats *out)
{
	const struct chunk_heap *heap = state;
	uint64_t used = heap->used_bytes - heap->used_objects * CHUNK_HEADER;

	*out = (struct heap_stats){
		.held_frames = heap->pages.held_frames,
		.used_objects = heap->used_objects,
		.used_bytes = used,
		.kept_bytes = heap->pages.held_frames * FRAME_BYTES - heap->free_bytes - used,
	};
}

static int walk_segment(const struct chunk_segment *s, heap_visit_fn visit, void *ctx)
{
	const struct chunk *c = first_chunk(s);
	const struct chunk *end = (const struct chunk *)((uintptr_t)c + segment_room(s->frames));

	for (; c < end; c = chunk_after(c)) {
		struct heap_extent extent = { .at = (const char *)c + CHUNK_HEADER,
					      .bytes = chunk_bytes(c) - CHUNK_HEADER,
					      .state = chunk_used(c) ? HEAP_USED : HEAP_FREE,
					      .tag = c->tag };
		if (visit(ctx, &extent))
			return KERR_STOP;
	}
	return 0;
}

int chunk_heap_walk(const void *state, heap_visit_fn visit, void *ctx)
{
	const struct chunk_heap *heap = state;

	for (const struct chunk_segment *s = heap->segments; s; s = s->next)
		if (walk_segment(s, visit, ctx))
			return KERR_STOP;
	return 0;
}

/* ---- check ---- */

struct tally {
	uint64_t frames, used_objects, used_bytes, free_chunks, free_bytes;
};

static bool segment_sound(const struct chunk_heap *heap, const struct chunk_segment *s,
			  const struct chunk_segment *before)
{
	return ((uintptr_t)s & (FRAME_BYTES - 1)) == 0 && heap_pages_possible(&heap->pages, s) &&
	       s->prev == before && s->seal == segment_seal(heap, s) && s->frames &&
	       heap_pages_possible(&heap->pages, (const char *)s + segment_bytes(s) - 1);
}

static int check_chunks(const struct chunk_heap *heap, const struct chunk_segment *s,
			struct tally *tally, struct heap_violation *v)
{
	const struct chunk *c = first_chunk(s);
	const struct chunk *end = (const struct chunk *)((uintptr_t)c + segment_room(s->frames));
	bool before_free = false;

	for (; c < end; c = chunk_after(c)) {
		uint64_t bytes = chunk_bytes(c);
		if (c->seal != seal_of(heap, c) || bytes < CHUNK_MIN ||
		    bytes > (uint64_t)((const char *)end - (const char *)c))
			return heap_found(v, 2, c, "a segment is covered by sealed chunks");
		if (!chunk_used(c) && before_free)
			return heap_found(v, 3, c, "no two free chunks are neighbours");
		if (before_free != ((c->word & CHUNK_PREV_FREE) != 0) ||
		    (c->word & CHUNK_FLAGS & ~(uint64_t)(CHUNK_USED | CHUNK_PREV_FREE)) ||
		    (!chunk_used(c) && *last_word(c) != bytes))
			return heap_found(v, 4, c, "flags and last words agree with neighbours");
		before_free = !chunk_used(c);
		*(before_free ? &tally->free_chunks : &tally->used_objects) += 1;
		*(before_free ? &tally->free_bytes : &tally->used_bytes) += bytes;
	}
	if (end->seal != seal_of(heap, end) || chunk_bytes(end) != CHUNK_HEADER ||
	    !chunk_used(end) || end->tag != s->frames)
		return heap_found(v, 2, end, "a segment ends with its end mark");
	if (before_free != ((end->word & CHUNK_PREV_FREE) != 0))
		return heap_found(v, 4, end, "flags and last words agree with neighbours");
	return 0;
}

static int check_segments(const struct chunk_heap *heap, struct tally *tally,
			  struct heap_violation *v)
{
	const struct chunk_segment *before = NULL;

	for (const struct chunk_segment *s = heap->segments; s; before = s, s = s->next) {
		if (!segment_sound(heap, s, before) || tally->frames >= heap->segment_frames)
			return heap_found(v, 1, s, "segments lie in RAM, linked and sealed");
		int error = check_chunks(heap, s, tally, v);
		if (error)
			return error;
		tally->frames += s->frames;
		if ((const char *)s < heap->low || (const char *)s + segment_bytes(s) > heap->high)
			return heap_found(v, 1, s, "segments lie between low and high");
	}
	if (tally->frames != heap->segment_frames)
		return heap_found(v, 1, heap, "segments add up to segment_frames");
	return 0;
}

int chunk_heap_check(const void *state, struct heap_violation *v)
{
	const struct chunk_heap *heap = state;
	struct tally tally = { 0 };
	uint64_t members = 0;

	if (!heap_pages_sound(&heap->pages) ||
	    heap->setup_sum != heap_header_sum(&heap->setup, sizeof(heap->setup)))
		return heap_found(v, 1, heap, "the setup is as init left it");
	int error = check_segments(heap, &tally, v);

	if (error)
		return error;
	if (tally.used_objects != heap->used_objects || tally.used_bytes != heap->used_bytes ||
	    tally.free_chunks != heap->free_chunks || tally.free_bytes != heap->free_bytes)
		return heap_found(v, 5, heap, "totals are what the segments hold");
	if (heap->spare && (heap->setup.fixed || !heap_pages_possible(&heap->pages, heap->spare) ||
			    ((uintptr_t)heap->spare & (FRAME_BYTES - 1)) ||
			    !empty_segment(first_chunk(heap->spare))))
		return heap_found(v, 1, &heap->spare, "the spare segment is empty");
	if (!heap->setup.index->count(heap, heap->free_chunks, &members, v))
		return KERR_CORRUPT;
	if (members != heap->free_chunks)
		return heap_found(v, 6, heap, "the index holds every free chunk once");
	return 0;
}

bool chunk_heap_has_free(const struct chunk_heap *heap, const struct chunk *chunk)
{
	return ((uintptr_t)chunk & (CHUNK_UNIT - 1)) == 0 && (const char *)chunk >= heap->low &&
	       (const char *)chunk < heap->high && heap_pages_possible(&heap->pages, chunk) &&
	       chunk->seal == seal_of(heap, chunk) && !chunk_used(chunk);
}
