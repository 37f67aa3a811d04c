/*
 * slab.h - the inside of H5, shared by its two files: slab.c hands out and takes back, slab_check.c
 * looks. Theory: slab.c.
 */
#ifndef KMEMLAB_ALLOC_HEAP_SLAB_H
#define KMEMLAB_ALLOC_HEAP_SLAB_H

#include "alloc/bitops.h"
#include "alloc/heap/page_map.h"
#include "alloc/heap/systems.h"

#define CACHES_MAX   384u
#define COLOUR_STEP  64u
#define MAGAZINE_MAX 64u
#define RUN_MARK     1ull /* in a word of the page map: the rest is the run's frames */

enum { OPTION_MAGAZINE, OPTION_COLOURS, OPTION_EMPTY, OPTION_LARGE };
enum { LARGE_FRAMES, LARGE_REFUSE };

/* Sizes of the general caches. From 504 on: the most that allows N to a page. */
extern const uint16_t slab_general_bytes[];
#define GENERAL	    25u
#define OBJECT_MAX  4040u
#define BITS_WORDS  8u /* 512 objects */
#define SMALL_STEPS (1024u / 8 + 1)
#define ALIGN_FIRST 4u /* orders of the alignments that have general caches of their own */
#define ALIGN_LAST  9u

struct slab {
	uint32_t seal;
	uint16_t cache;
	uint16_t vacant_objects;
	struct slab *next, *prev;
	char *first;	 /* object */
	uint64_t bits[]; /* cache->words of vacant, then as many of used */
};

struct magazine {
	uint32_t count;
	void *object[];
};

struct slab_cache {
	uint32_t bytes;	     /* of an object, alignment included */
	uint32_t reciprocal; /* 2^32 / bytes, rounded up */
	uint16_t objects;    /* to a slab */
	uint16_t words;
	uint16_t spare; /* bytes that colours may take */
	uint16_t align;
	uint32_t colour; /* of the next slab, bytes */
	uint32_t empty_count;
	heap_constructor constructor;
	struct slab *partial, *empty;
	struct magazine **magazine; /* by CPU; NULL: none yet */
	uint64_t slabs, used;	    /* objects in customers' hands */
};

struct slab_heap {
	struct heap_pages pages;
	struct page_map map;
	uint64_t cookie;
	uint64_t option[HEAP_OPTIONS_MAX];
	uint64_t cpus;
	uint64_t header_sum; /* from cookie to here */
	uint32_t caches;     /* cache 0 is none; 1 .. GENERAL the general ones */
	uint64_t slabs, runs, run_frames;
	const char *low, *high;	      /* slabs were never outside of these */
	uint8_t general[SMALL_STEPS]; /* the cache for (bytes + 7) / 8 */
	uint16_t aligned[ALIGN_LAST - ALIGN_FIRST + 1][GENERAL]; /* caches; 0: not made yet */
	struct slab_cache cache[CACHES_MAX + 1];
	uint64_t root[];
};

static inline struct slab *slab_of(const void *object)
{
	return (struct slab *)((uintptr_t)object & ~(uintptr_t)(FRAME_BYTES - 1));
}

static inline uint32_t slab_seal(const struct slab_heap *h, const struct slab *s)
{
	return heap_seal(s, (uint64_t)(uintptr_t)s->first << 16 ^ s->cache, h->cookie);
}

static inline uint64_t *slab_used_bits(const struct slab_cache *c, struct slab *s)
{
	return s->bits + c->words;
}

static inline uint64_t slab_head_bytes(uint64_t objects, uint64_t align)
{
	uint64_t words = (objects + BITS_PER_WORD - 1) / BITS_PER_WORD;

	return round_up_u64(sizeof(struct slab) + 2 * words * sizeof(uint64_t), align);
}

/* 0 where not even one fits. */
static inline uint64_t slab_objects(uint64_t bytes, uint64_t align)
{
	uint64_t n = (FRAME_BYTES - sizeof(struct slab)) / bytes;

	while (n && slab_head_bytes(n, align) + n * bytes > FRAME_BYTES)
		n--;
	return n;
}

static inline uint64_t slab_constant_sum(const struct slab_heap *h)
{
	return heap_header_sum(&h->cookie, offsetof(struct slab_heap, header_sum) -
						   offsetof(struct slab_heap, cookie));
}

static inline unsigned slab_object_number(const struct slab_cache *c, const struct slab *s,
					  const void *object)
{
	return (unsigned)((uint64_t)((const char *)object - s->first) * c->reciprocal >> 32);
}

static inline bool slab_marked(const struct slab_cache *c, const struct slab *s, unsigned number)
{
	return s->bits[c->words + number / BITS_PER_WORD] >> number % BITS_PER_WORD & 1;
}

/* Members of struct heap_ops. */
void slab_stats(const void *state, struct heap_stats *out);
int slab_walk(const void *state, heap_visit_fn visit, void *ctx);
int slab_check(const void *state, struct heap_violation *v);

#endif
