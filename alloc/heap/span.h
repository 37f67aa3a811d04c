/*
 * span.h - runs of frames cut into equal slots, described out of band: what size-classed heaps are
 * made of.
 *
 *   page map                 span (128 bytes, in a descriptor frame)
 *   frame 71 --+             +--------------------------------+
 *   frame 72 --+-----------> | base 71, 2 frames, 48 bytes    |      run: |o|o| |o| | | ...
 *   frame 73   ...           | free slots 1101...  (bitmap)   |            '--48--'
 *                            +--------------------------------+
 *
 * Nothing is written into a free slot, so that overruns hurt objects only, and whether a slot is
 * in use is always known.
 *
 * Invariants (span_check):
 *   1  the constant parts are as init left them, the page map is sound, and every word in it is a
 * sealed span that holds that frame 2  a span's slots fit its run; `free` counts its bitmap's bits;
 * there are none beyond the slots 3  descriptor frames: linked both ways; a bit of `vacant` for
 * every descriptor without a span 4  used objects and bytes are the spans' used slots; held frames
 * are the runs, the descriptor frames and the page map's leaves
 *
 * Cost: slot from address: a multiplication; a look-up: two dependent loads and the span's lines.
 */
#ifndef KMEMLAB_ALLOC_HEAP_SPAN_H
#define KMEMLAB_ALLOC_HEAP_SPAN_H

#include "alloc/bitops.h"
#include "alloc/heap/page_map.h"

#define SPAN_SLOTS_MAX	512u
#define SPAN_WORDS	(SPAN_SLOTS_MAX / BITS_PER_WORD)
#define SPAN_FRAMES_MAX 16u /* of a span with more than one slot */
#define SPAN_INVARIANTS 4u

struct span {
	struct span *next, *prev; /* of a list of the heap */
	char *base;
	uint32_t frames;
	uint32_t seal; /* over base, frames and kind */
	uint64_t slot_bytes;
	uint32_t reciprocal; /* 2^32 / slot_bytes, rounded up */
	uint16_t slots, free;
	uint16_t kind; /* the heap's: its class */
	uint16_t flags;
	uint64_t spare;
	uint64_t vacant[SPAN_WORDS]; /* a bit for every free slot */
};
_Static_assert(sizeof(struct span) == 128, "31 spans and a header fill a frame");

/* Bits of a heap's own for every slot, where the pool was told to have them: SPAN_EXTRA_SETS of
 * SPAN_WORDS words, all 0 in a new span. */
#define SPAN_EXTRA_SETS 2u
static inline uint64_t *span_extra(struct span *span, unsigned set)
{
	return (uint64_t *)(span + 1) + (size_t)set * SPAN_WORDS;
}

struct span_frame;
struct span_pool {
	struct heap_pages pages;
	struct page_map map;
	uint64_t cookie;
	uint64_t record_bytes;	   /* of a descriptor, extra bits included */
	uint64_t header_sum;	   /* over the two */
	struct span_frame *frames; /* with a vacant descriptor */
	uint64_t descriptor_frames, run_frames;
	uint64_t used_objects, used_bytes;
};

/* ROOT: as for page_map_init(). EXTRA: spans have span_extra() bits. */
void span_pool_init(struct span_pool *pool, const struct heap_config *config, uint64_t *root,
		    bool extra);

/* A run of FRAMES with one slot of all its bytes (SLOT_BYTES 0) or with slots of SLOT_BYTES, all
 * vacant, on no list. A run may be longer than asked for. NULL: no memory. */
struct span *span_new(struct span_pool *pool, uint64_t frames, uint64_t align_frames, uint8_t zone,
		      uint64_t slot_bytes, uint16_t kind);
void span_free(struct span_pool *pool, struct span *span);

/* Takes a vacant slot; there is one. */
static inline void *span_take(struct span_pool *pool, struct span *span)
{
	unsigned word = 0;

	while (!span->vacant[word])
		word++;
	unsigned bit = bit_lowest(span->vacant[word]);
	span->vacant[word] &= span->vacant[word] - 1;
	span->free--;
	pool->used_objects++;
	pool->used_bytes += span->slot_bytes;
	return span->base + (word * BITS_PER_WORD + bit) * span->slot_bytes;
}

/* The span that holds the address; NULL: none of this pool. */
static inline struct span *span_of(const struct span_pool *pool, const void *at)
{
	return (struct span *)(uintptr_t)page_map_get(&pool->map, at);
}

/* Slot that begins at the address, and is in use; -1 otherwise. */
static inline int span_slot(const struct span *span, const void *at)
{
	uint64_t offset = (uint64_t)((const char *)at - span->base);
	uint64_t slot = offset * span->reciprocal >> 32;

	if (offset >= (uint64_t)span->frames * FRAME_BYTES)
		return -1;
	if (slot * span->slot_bytes != offset || slot >= span->slots ||
	    (span->vacant[slot / BITS_PER_WORD] >> slot % BITS_PER_WORD & 1))
		return -1;
	return (int)slot;
}

static inline void span_give(struct span_pool *pool, struct span *span, unsigned slot)
{
	span->vacant[slot / BITS_PER_WORD] |= 1ull << slot % BITS_PER_WORD;
	span->free++;
	pool->used_objects--;
	pool->used_bytes -= span->slot_bytes;
}

static inline void span_push(struct span **list, struct span *span)
{
	span->next = *list;
	span->prev = NULL;
	if (*list)
		(*list)->prev = span;
	*list = span;
}

static inline void span_unlink(struct span **list, struct span *span)
{
	if (span->next)
		span->next->prev = span->prev;
	if (span->prev)
		span->prev->next = span->next;
	else
		*list = span->next;
	span->next = span->prev = NULL;
}

/* Calls VISIT once for every span; anything but 0 ends it and is returned. */
typedef int (*span_visit_fn)(void *ctx, struct span *span);
int span_each(const struct span_pool *pool, span_visit_fn visit, void *ctx);

/* As the members of struct heap_ops. */
uint64_t span_usable(const struct span_pool *pool, const void *object);
void span_stats(const struct span_pool *pool, struct heap_stats *out);
int span_walk(const struct span_pool *pool, heap_visit_fn visit, void *ctx);
int span_check(const struct span_pool *pool, struct heap_violation *v);

#endif
