/*
 * span.h - runs of frames cut into equal slots, described out of band: what size-classed heaps are
 * made of.
 *
 *   page map                 span (128 bytes, in a descriptor frame)
 *   frame 71 --+             +--------------------------------+
 *   frame 72 --+-----------> | base 71, 2 frames, 48 bytes    |      run: |o|o| |o| | | ...
 *   frame 73   ...           | vacant 0010110.. used 1101000..|            '--48--'
 *                            +--------------------------------+
 *
 * Nothing is written into a free slot, so that overruns hurt objects only, and whether a slot is
 * in use is always known. Two bits a slot: `vacant`, with the span; `used`, with a customer;
 * neither, drawn: the heap has it in hand (a magazine).
 *
 * Invariants (span_check):
 *   1  the constant parts are as init left them, the page map is sound, and every word in it is a
 * sealed span that holds that frame 2  a span's slots fit its run; no slot is vacant and used;
 * `free` counts the vacant ones; there are none beyond the slots 3  descriptor frames: linked both
 * ways; a bit of `vacant` for every descriptor without a span 4  taken slots and bytes are the
 * spans' slots that are not vacant; held frames are the runs, the descriptor frames, the page map's
 * leaves, and the heap's own
 *
 * Cost: slot from address: a multiplication; a look-up: two dependent loads and the span's lines.
 */
#ifndef KMEMLAB_ALLOC_HEAP_SPAN_H
#define KMEMLAB_ALLOC_HEAP_SPAN_H

#include "alloc/bitops.h"
#include "alloc/heap/page_map.h"

#define SPAN_SLOTS_MAX	256u
#define SPAN_WORDS	(SPAN_SLOTS_MAX / BITS_PER_WORD)
#define SPAN_FRAMES_MAX 16u /* of a span with more than one slot */
#define SPAN_INVARIANTS 4u

/* A free of a slot, and handing it out of a magazine, touch the first line only. */
struct span {
	char *base;
	uint32_t reciprocal; /* 2^32 / slot_bytes, rounded up; of a single slot 1 */
	uint16_t slots;
	uint16_t kind; /* the heap's: its class */
	uint64_t used[SPAN_WORDS];
	uint32_t frames;
	uint32_t seal; /* over base, frames and kind */
	uint16_t free; /* vacant slots */
	uint16_t flags;
	uint32_t step; /* slot_bytes, where there are several slots */
	uint64_t vacant[SPAN_WORDS];
	uint64_t slot_bytes;
	struct span *next, *prev; /* of a list of the heap */
	uint64_t more;
};
_Static_assert(sizeof(struct span) == 128, "31 spans and a header fill a frame");
_Static_assert(offsetof(struct span, vacant) == 64, "two cache lines, hot and cold");

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
	uint64_t own_frames; /* that the heap itself keeps: held, and in no span */
	uint64_t taken_slots, taken_bytes;
};

/* ROOT: as for page_map_init(). EXTRA: spans have span_extra() bits. */
void span_pool_init(struct span_pool *pool, const struct heap_config *config, uint64_t *root,
		    bool extra);

/* A run of FRAMES with one slot of all its bytes (SLOT_BYTES 0) or with slots of SLOT_BYTES, all
 * vacant, on no list. A run may be longer than asked for. NULL: no memory. */
struct span *span_new(struct span_pool *pool, uint64_t frames, uint64_t align_frames, uint8_t zone,
		      uint64_t slot_bytes, uint16_t kind);
void span_free(struct span_pool *pool, struct span *span);

/* The bit that says whether a slot is in use, by its address: a byte's, and the bit in it. It leads
 * from a slot in hand to its span without a look-up. SLOT is one of the span's. */
struct span_bit {
	uintptr_t at; /* 8 times the byte's address, and the bit */
};

static inline struct span_bit span_bit(const struct span *span, unsigned slot)
{
	return (struct span_bit){ ((uintptr_t)span->used << 3) + slot };
}

static inline uint8_t *span_bit_byte(struct span_bit bit)
{
	return (uint8_t *)((intptr_t)bit.at >> 3);
}

static inline void span_bit_set(struct span_bit bit)
{
	*span_bit_byte(bit) |= (uint8_t)(1u << (bit.at & 7));
}

static inline void span_bit_clear(struct span_bit bit)
{
	*span_bit_byte(bit) &= (uint8_t) ~(1u << (bit.at & 7));
}

static inline bool span_bit_is_set(struct span_bit bit)
{
	return *span_bit_byte(bit) >> (bit.at & 7) & 1;
}

/* Of a pool without extra bits, where descriptors are aligned to their size. */
static inline struct span *span_of_bit(struct span_bit bit)
{
	return (struct span *)((uintptr_t)span_bit_byte(bit) & ~(sizeof(struct span) - 1));
}

static inline unsigned span_slot_of_bit(struct span_bit bit)
{
	return (unsigned)(bit.at - span_bit(span_of_bit(bit), 0).at);
}

static inline void *span_object(struct span_bit bit)
{
	const struct span *s = span_of_bit(bit);

	return s->base + (uint32_t)span_slot_of_bit(bit) * s->step;
}

static inline bool span_in_use(const struct span *span, unsigned slot)
{
	return span_bit_is_set(span_bit(span, slot));
}

/* Takes a vacant slot into the heap's hand; there is one. */
static inline unsigned span_draw(struct span_pool *pool, struct span *span)
{
	unsigned word = 0;

	while (!span->vacant[word])
		word++;
	unsigned bit = bit_lowest(span->vacant[word]);
	span->vacant[word] &= span->vacant[word] - 1;
	span->free--;
	pool->taken_slots++;
	pool->taken_bytes += span->slot_bytes;
	return word * BITS_PER_WORD + bit;
}

/* Gives one in hand back to its span. */
static inline void span_return(struct span_pool *pool, struct span *span, unsigned slot)
{
	span->vacant[slot / BITS_PER_WORD] |= 1ull << slot % BITS_PER_WORD;
	span->free++;
	pool->taken_slots--;
	pool->taken_bytes -= span->slot_bytes;
}

/* Takes a vacant slot for a customer; there is one. */
static inline void *span_take(struct span_pool *pool, struct span *span)
{
	unsigned slot = span_draw(pool, span);

	span_bit_set(span_bit(span, slot));
	return span->base + slot * span->slot_bytes;
}

static inline void span_give(struct span_pool *pool, struct span *span, unsigned slot)
{
	span_bit_clear(span_bit(span, slot));
	span_return(pool, span, slot);
}

/* The span that holds the address; NULL: none of this pool. */
static inline struct span *span_of(const struct span_pool *pool, const void *at)
{
	return (struct span *)(uintptr_t)page_map_get(&pool->map, at);
}

/* Slot that begins at the address, and is in use; -1 otherwise. The address is in a frame that the
 * page map knows for the span. An offset below 2^16 is a multiple of the slots' length exactly
 * where the fraction of its product with the reciprocal is below the reciprocal (Lemire, Kaser,
 * Kurz: Faster remainder by direct computation, 2019); of a single slot only the beginning is
 * known. */
static inline int span_slot(const struct span *span, const void *at)
{
	uint64_t offset = (uint64_t)((const char *)at - span->base);
	uint64_t product = offset * span->reciprocal;
	unsigned slot = (unsigned)(product >> 32);

	if ((uint32_t)product >= span->reciprocal)
		return -1;
	if (slot >= span->slots || !span_in_use(span, slot))
		return -1;
	return (int)slot;
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
