/*
 * slab.c - H5: slabs and object caches.
 *
 *   cache "inode", 600 bytes                        slab = one page
 *     partial -> slab <-> slab                      +-----------------------------------------+
 *     empty   -> slab                               |head|bits|colour| obj | obj | ... |unused|
 *     magazine of CPU 0: [ o o o . . . ]            +-----------------------------------------+
 *     magazine of CPU 1: [ o . . . . . ]
 *
 * Idea: a cache keeps objects of one kind in pages cut into equal pieces, so that a freed object is
 * the next one's memory as it is, constructed state and all. The slab's head stands in its page: an
 * object's slab is its address rounded down, and the largest object is a page less that head. Slabs
 * begin their objects at different offsets (colours), so that objects of many slabs do not fall
 * into the same cache lines. Each CPU has a magazine of objects of a cache; only when that is empty
 * or full the slabs are looked at, for half a magazine at once.
 *
 * General caches serve requests that name no cache, by size: as many to a page as fit without
 * remainder. For each alignment up to 512 there are more of them, made when first asked for. What
 * fits into no slab is a run of frames (option `large`), known by the page map and by beginning at
 * a page.
 *
 * Two bits an object tell where it is: `vacant` in the slab, `used` in the customer's hands,
 * neither: in a magazine. So a double free is always seen.
 *
 * Invariants (check):
 *   1  constant parts are as init left them; the page map is sound; its words name a slab's cache,
 * or the frames of a run 2  a slab's head is sealed, is in the page map for its cache, and its
 * objects fit 3  no object is both vacant and used; `vacant_objects` counts; there are none beyond
 * the last 4  lists: partial slabs have vacant objects and others, empty ones vacant objects only;
 * linked both ways; full slabs are on no list 5  a magazine holds objects of its cache that are
 * neither vacant nor used; there are as many such objects as magazines and what they hold 6  totals
 * are what slabs and runs hold
 *
 * A free believes a sealed head between the lowest and the highest slab that there ever was; one in
 * 2^32 stray pages looks like one.
 *
 * Cost: O(1); with the magazine hit, the bits of one slab. Head of 48 bytes and two bits an object.
 * State: 128 bytes a cache, and 8 bytes for each 2 MiB of RAM. Magazines are objects of a general
 * cache.
 *
 * Source: Bonwick, The slab allocator, USENIX 1994; Bonwick and Adams, Magazines and vmem, USENIX
 * 2001. Differs: no depot of full magazines; every slab is one page.
 */
#include "alloc/heap/slab.h"
#include "alloc/port.h"

const uint16_t slab_general_bytes[GENERAL] = { 8,   16,	 24,  32,   48,	  64,	80,  96,  112,
					       128, 160, 192, 224,  256,  320,	384, 448, 504,
					       576, 672, 800, 1008, 1344, 2016, 4040 };

static const char *const large_choices[] = { "frames", "refuse", NULL };
static const char *const on_off[] = { "off", "on", NULL };

static const struct frame_option slab_options[] = {
	[OPTION_MAGAZINE] = { .key = "magazine",
			      .help = "objects in a CPU's magazine; 0: no magazines",
			      .value = 32,
			      .max = MAGAZINE_MAX },
	[OPTION_COLOURS] = { .key = "colours",
			     .help = "objects of different slabs at different offsets",
			     .choices = on_off,
			     .value = 1 },
	[OPTION_EMPTY] = { .key = "empty",
			   .help = "empty slabs that a cache keeps",
			   .value = 1,
			   .max = 1024 },
	[OPTION_LARGE] = { .key = "large",
			   .help = "what is larger than a slab's largest object",
			   .choices = large_choices,
			   .value = LARGE_FRAMES },
	{ .key = NULL },
};

/* ---- caches ---- */

/* KERR_NO_MEMORY: the object does not fit into a slab, or there are caches enough. */
static int make_cache(struct slab_heap *h, uint64_t bytes, uint64_t align, heap_constructor make,
		      uint32_t *out)
{
	uint64_t size = round_up_u64(bytes, align);
	uint64_t objects = size && size <= FRAME_BYTES ? slab_objects(size, align) : 0;

	if (!objects || h->caches == CACHES_MAX)
		return KERR_NO_MEMORY;
	struct slab_cache *c = &h->cache[++h->caches];
	*c = (struct slab_cache){
		.bytes = (uint32_t)size,
		.reciprocal = (uint32_t)(((1ull << 32) + size - 1) / size),
		.objects = (uint16_t)objects,
		.words = (uint16_t)((objects + BITS_PER_WORD - 1) / BITS_PER_WORD),
		.spare = (uint16_t)(FRAME_BYTES - slab_head_bytes(objects, align) - objects * size),
		.align = (uint16_t)align,
		.constructor = make,
	};
	*out = h->caches;
	return 0;
}

static int slab_cache_new(void *state, const struct heap_cache_request *request, uint32_t *out)
{
	return make_cache(state, request->bytes, request->align_bytes, request->constructor, out);
}

static uint64_t slab_state_bytes(const struct heap_config *config, const char **why)
{
	(void)why;
	return sizeof(struct slab_heap) + page_map_root_bytes(config->map);
}

static int slab_init(void *state, const struct heap_config *config)
{
	struct slab_heap *h = state;
	uint32_t number, g = 0;

	heap_pages_init(&h->pages, config);
	page_map_init(&h->map, &h->pages, h->root);
	h->cookie = heap_cookie(config);
	h->cpus = config->cpus;
	for (unsigned i = 0; i < HEAP_OPTIONS_MAX; i++)
		h->option[i] = config->option[i];
	h->header_sum = slab_constant_sum(h);
	for (unsigned i = 0; i < GENERAL; i++)
		if (make_cache(h, slab_general_bytes[i], HEAP_ALIGN_DEFAULT, NULL, &number))
			port_panic("a general cache of the slab heap does not fit into a page");
	for (unsigned step = 1; step < SMALL_STEPS; step++) {
		while (slab_general_bytes[g] < step * 8)
			g++;
		h->general[step] = (uint8_t)(g + 1);
	}
	return 0;
}

/* ---- slabs ---- */

static void push(struct slab **list, struct slab *s)
{
	s->next = *list;
	s->prev = NULL;
	if (*list)
		(*list)->prev = s;
	*list = s;
}

static void unlink_slab(struct slab **list, struct slab *s)
{
	if (s->next)
		s->next->prev = s->prev;
	if (s->prev)
		s->prev->next = s->next;
	else
		*list = s->next;
	s->next = s->prev = NULL;
}

static void colour(const struct slab_heap *h, struct slab_cache *c, struct slab *s)
{
	uint32_t step = c->align > COLOUR_STEP ? c->align : COLOUR_STEP;

	s->first = (char *)s + slab_head_bytes(c->objects, c->align);
	if (!h->option[OPTION_COLOURS])
		return;
	s->first += c->colour;
	c->colour = c->colour + step <= c->spare ? c->colour + step : 0;
}

static struct slab *new_slab(struct slab_heap *h, struct slab_cache *c, uint8_t zone)
{
	struct heap_run run = heap_pages_get(&h->pages, 1, 1, zone);
	struct slab *s = (struct slab *)(void *)run.at;
	uint16_t number = (uint16_t)(c - h->cache);

	if (!s)
		return NULL;
	if (!page_map_set(&h->map, s, 1, (uint64_t)number << 1)) {
		heap_pages_put(&h->pages, run);
		return NULL;
	}
	if (run.at < h->low || !h->low)
		h->low = run.at;
	if (run.at + FRAME_BYTES > h->high)
		h->high = run.at + FRAME_BYTES;
	s->cache = number;
	s->vacant_objects = c->objects;
	colour(h, c, s);
	s->seal = slab_seal(h, s);
	for (unsigned w = 0; w < c->words; w++) {
		unsigned here = c->objects - w * BITS_PER_WORD;
		s->bits[w] = here >= BITS_PER_WORD ? ~0ull : bit_mask(0, here);
		slab_used_bits(c, s)[w] = 0;
	}
	for (unsigned i = 0; c->constructor && i < c->objects; i++)
		c->constructor(s->first + (uint64_t)i * c->bytes, c->bytes);
	push(&c->empty, s);
	c->empty_count++;
	c->slabs++;
	h->slabs++;
	return s;
}

static void drop_slab(struct slab_heap *h, struct slab_cache *c, struct slab *s)
{
	unlink_slab(&c->empty, s);
	c->empty_count--;
	c->slabs--;
	h->slabs--;
	s->seal = 0;
	page_map_clear(&h->map, s, 1);
	heap_pages_put(&h->pages, (struct heap_run){ (char *)s, 1 });
}

/* An object out of the slabs, neither vacant nor used any more; NULL: no memory. */
static void *take_object(struct slab_heap *h, struct slab_cache *c, uint8_t zone)
{
	struct slab *s = c->partial ? c->partial : c->empty;
	unsigned word = 0;

	if (!s && !(s = new_slab(h, c, zone)))
		return NULL;
	if (s->vacant_objects == c->objects) {
		unlink_slab(&c->empty, s);
		c->empty_count--;
		push(&c->partial, s);
	}
	while (!s->bits[word])
		word++;
	unsigned bit = bit_lowest(s->bits[word]);
	s->bits[word] &= s->bits[word] - 1;
	if (--s->vacant_objects == 0)
		unlink_slab(&c->partial, s);
	return s->first + (uint64_t)(word * BITS_PER_WORD + bit) * c->bytes;
}

static void put_object(struct slab_heap *h, struct slab_cache *c, void *object)
{
	struct slab *s = slab_of(object);
	unsigned number = slab_object_number(c, s, object);

	s->bits[number / BITS_PER_WORD] |= 1ull << number % BITS_PER_WORD;
	if (s->vacant_objects++ == 0)
		push(&c->partial, s);
	if (s->vacant_objects < c->objects)
		return;
	unlink_slab(&c->partial, s);
	push(&c->empty, s);
	c->empty_count++;
	if (c->empty_count > h->option[OPTION_EMPTY])
		drop_slab(h, c, s);
}

/* ---- magazines ---- */

static struct slab_cache *general_cache(struct slab_heap *h, uint64_t bytes)
{
	if (bytes <= 1024)
		return &h->cache[h->general[(bytes + 7) / 8]];
	unsigned g = h->general[SMALL_STEPS - 1] - 1u;
	while (slab_general_bytes[g] < bytes)
		g++;
	return &h->cache[g + 1];
}

/* Room for a magazine, or for the table of them; from the slabs, never from a magazine. */
static void *own_object(struct slab_heap *h, uint64_t bytes)
{
	void *object = bytes <= OBJECT_MAX ? take_object(h, general_cache(h, bytes), FRAME_ZONE_ANY)
					   : NULL;

	if (object)
		memset(object, 0, bytes);
	return object;
}

/* NULL: magazines are off, or there is no memory for one. */
static struct magazine *magazine_of(struct slab_heap *h, struct slab_cache *c)
{
	unsigned cpu = port_cpu();
	uint64_t room = h->option[OPTION_MAGAZINE];

	if (!room || cpu >= h->cpus)
		return NULL;
	if (!c->magazine)
		c->magazine = own_object(h, h->cpus * sizeof(*c->magazine));
	if (c->magazine && !c->magazine[cpu])
		c->magazine[cpu] = own_object(h, sizeof(struct magazine) + room * sizeof(void *));
	return c->magazine ? c->magazine[cpu] : NULL;
}

static void *alloc_object(struct slab_heap *h, struct slab_cache *c, uint8_t zone)
{
	struct magazine *m = magazine_of(h, c);

	if (!m || zone != FRAME_ZONE_ANY)
		return take_object(h, c, zone);
	if (m->count)
		return m->object[--m->count];
	for (uint64_t half = h->option[OPTION_MAGAZINE] / 2; m->count < half; m->count++) {
		/* What is in hand is enough when a new slab would be needed. */
		if (m->count && !c->partial && !c->empty)
			break;
		void *object = take_object(h, c, zone);
		if (!object)
			break;
		m->object[m->count] = object;
	}
	return m->count ? m->object[--m->count] : take_object(h, c, zone);
}

static void free_object(struct slab_heap *h, struct slab_cache *c, void *object)
{
	struct magazine *m = magazine_of(h, c);
	uint64_t room = h->option[OPTION_MAGAZINE];

	if (!m) {
		put_object(h, c, object);
		return;
	}
	/* The older half goes back: the newer is warm. */
	if (m->count == room) {
		uint32_t half = (uint32_t)(room + 1) / 2;
		for (uint32_t i = 0; i < half; i++)
			put_object(h, c, m->object[i]);
		for (uint32_t i = half; i < m->count; i++)
			m->object[i - half] = m->object[i];
		m->count -= half;
	}
	m->object[m->count++] = object;
}

/* ---- the operations ---- */

static void mark(const struct slab_cache *c, struct slab *s, unsigned number, bool used)
{
	uint64_t *word = &slab_used_bits(c, s)[number / BITS_PER_WORD];
	uint64_t bit = 1ull << number % BITS_PER_WORD;

	*word = used ? *word | bit : *word & ~bit;
}

static int alloc_run(struct slab_heap *h, const struct heap_request *r, void **out)
{
	uint64_t align_frames = frames_for_bytes(r->align_bytes);

	if (h->option[OPTION_LARGE] == LARGE_REFUSE)
		return KERR_UNSUPPORTED;
	struct heap_run run =
		heap_pages_get(&h->pages, frames_for_bytes(r->bytes), align_frames, r->zone);
	if (!run.at)
		return KERR_NO_MEMORY;
	if (!page_map_set(&h->map, run.at, 1, (uint64_t)run.frames << 1 | RUN_MARK)) {
		heap_pages_put(&h->pages, run);
		return KERR_NO_MEMORY;
	}
	h->run_frames += run.frames;
	h->runs++;
	*out = run.at;
	return 0;
}

/* The general cache for that size and alignment, made if need be; NULL: there is none. */
static struct slab_cache *aligned_cache(struct slab_heap *h, const struct heap_request *r)
{
	unsigned order = bit_lowest(r->align_bytes);
	uint32_t number;

	if (order > ALIGN_LAST)
		return NULL;
	unsigned g = (unsigned)(general_cache(h, r->bytes) - h->cache) - 1;
	uint16_t *known = &h->aligned[order - ALIGN_FIRST][g];
	if (!*known) {
		if (make_cache(h, slab_general_bytes[g], r->align_bytes, NULL, &number))
			return NULL;
		*known = (uint16_t)number;
	}
	return &h->cache[*known];
}

/* The cache that serves a request; NULL: it takes a run. */
static struct slab_cache *cache_for(struct slab_heap *h, const struct heap_request *r)
{
	if (r->cache && r->cache <= h->caches && r->bytes <= h->cache[r->cache].bytes &&
	    r->align_bytes <= h->cache[r->cache].align)
		return &h->cache[r->cache];
	if (r->bytes > OBJECT_MAX)
		return NULL;
	return r->align_bytes <= HEAP_ALIGN_DEFAULT ? general_cache(h, r->bytes)
						    : aligned_cache(h, r);
}

static int alloc_now(struct slab_heap *h, const struct heap_request *request, void **out)
{
	struct slab_cache *c = cache_for(h, request);

	if (!c)
		return alloc_run(h, request, out);
	void *object = alloc_object(h, c, request->zone);
	if (!object)
		return KERR_NO_MEMORY;
	struct slab *s = slab_of(object);
	mark(c, s, slab_object_number(c, s, object), true);
	c->used++;
	*out = object;
	return 0;
}

/* The slab of a live object; NULL for anything else. */
static struct slab *live_slab(const struct slab_heap *h, const void *object)
{
	struct slab *s = slab_of(object);

	if ((const char *)s < h->low || (const char *)s >= h->high || s->seal != slab_seal(h, s) ||
	    s->cache > h->caches)
		return NULL;
	const struct slab_cache *c = &h->cache[s->cache];
	uint64_t offset = (uint64_t)((const char *)object - s->first);
	if (offset >= FRAME_BYTES)
		return NULL;
	unsigned number = slab_object_number(c, s, object);
	return number < c->objects && (uint64_t)number * c->bytes == offset &&
			       slab_marked(c, s, number)
		       ? s
		       : NULL;
}

/* Frames of a live run that begins there; 0: none. */
static uint64_t live_run(const struct slab_heap *h, const void *object)
{
	uint64_t word = page_map_get(&h->map, object);

	return ((uintptr_t)object & (FRAME_BYTES - 1)) == 0 && (word & RUN_MARK) ? word >> 1 : 0;
}

static int free_run(struct slab_heap *h, void *object)
{
	uint64_t frames = live_run(h, object);

	if (!frames)
		return KERR_NOT_OWNED;
	page_map_clear(&h->map, object, 1);
	heap_pages_put(&h->pages, (struct heap_run){ object, (uint32_t)frames });
	h->run_frames -= frames;
	h->runs--;
	return 0;
}

static int slab_free(void *state, void *object)
{
	struct slab_heap *h = state;

	/* A slab begins with its head: what begins at a page is a run. */
	if (((uintptr_t)object & (FRAME_BYTES - 1)) == 0)
		return free_run(h, object);
	struct slab *s = live_slab(h, object);
	if (!s)
		return KERR_NOT_OWNED;
	struct slab_cache *c = &h->cache[s->cache];
	mark(c, s, slab_object_number(c, s, object), false);
	c->used--;
	free_object(h, c, object);
	return 0;
}

static uint64_t slab_usable(const void *state, const void *object)
{
	const struct slab_heap *h = state;

	if (((uintptr_t)object & (FRAME_BYTES - 1)) == 0)
		return live_run(h, object) * FRAME_BYTES;
	const struct slab *s = live_slab(h, object);
	return s ? h->cache[s->cache].bytes : 0;
}

static void empty_magazines(struct slab_heap *h, struct slab_cache *c)
{
	for (unsigned cpu = 0; c->magazine && cpu < h->cpus; cpu++) {
		struct magazine *m = c->magazine[cpu];
		while (m && m->count)
			put_object(h, c, m->object[--m->count]);
		if (m)
			put_object(h, &h->cache[slab_of(m)->cache], m);
	}
	if (c->magazine)
		put_object(h, &h->cache[slab_of(c->magazine)->cache], c->magazine);
	c->magazine = NULL;
}

static void slab_trim(void *state)
{
	struct slab_heap *h = state;

	for (uint32_t i = 1; i <= h->caches; i++)
		empty_magazines(h, &h->cache[i]);
	for (uint32_t i = 1; i <= h->caches; i++)
		while (h->cache[i].empty)
			drop_slab(h, &h->cache[i], h->cache[i].empty);
}

static int slab_alloc(void *state, const struct heap_request *request, void **out)
{
	int error = alloc_now(state, request, out);

	if (error != KERR_NO_MEMORY)
		return error;
	/* What magazines and empty slabs of other caches hold. */
	slab_trim(state);
	return alloc_now(state, request, out);
}

const struct heap_ops heap_slab = {
	.name = "slab",
	.id = "H5",
	.summary = "object caches in pages cut into equal pieces; colours, magazines, constructors",
	.caps = HEAP_CAP_FREE | HEAP_CAP_ANY_SIZE | HEAP_CAP_ALIGN | HEAP_CAP_CACHES |
		HEAP_CAP_GIVES_BACK | HEAP_CAP_FINDS_MISUSE | HEAP_CAP_BOUNDED,
	.options = slab_options,
	.state_bytes = slab_state_bytes,
	.init = slab_init,
	.alloc = slab_alloc,
	.free = slab_free,
	.usable = slab_usable,
	.cache_new = slab_cache_new,
	.trim = slab_trim,
	.stats = slab_stats,
	.walk = slab_walk,
	.check = slab_check,
};
