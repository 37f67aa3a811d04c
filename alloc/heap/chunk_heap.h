/*
 * chunk_heap.h - a heap of boundary-tagged chunks in segments of contiguous frames: the body that
 * H3, H11 and others share. They differ in the index, which knows the free chunks and finds one
 * that is large enough.
 *
 *   segment  |head|hd| object    |hd| free:  next prev  ...   bytes|hd| object |end|
 *                  '--- chunk ---''----------- chunk --------------'
 *
 * A chunk is a header of 16 bytes and what follows it up to the next header. The header holds its
 * length, two flags, the object's tag and a seal. A free chunk also holds its links in the index,
 * and its length once more in its last 8 bytes (Knuth's boundary tag), which lets the chunk behind
 * it find its beginning. A segment ends with a used chunk that has no body, and the segment's
 * length in frames in the place of a tag.
 *
 * Aligned allocation asks for size + alignment, moves up inside, and makes chunks of their own of
 * what is left on both sides.
 *
 * Invariants (chunk_heap_check; a heap's own start at CHUNK_INVARIANTS + 1):
 *   1  the setup is as init left it; segments: each in RAM, linked both ways, sealed; their sum is
 * segment_frames 2  a segment is covered by chunks without gap up to its end mark; each is sealed
 *   3  no two free chunks are neighbours
 *   4  a chunk's flag PREV_FREE says whether the one before it is free; a free chunk's last word is
 *      its length
 *   5  used_objects, used_bytes, free_chunks and free_bytes are what the segments hold
 *   6  the index holds every free chunk once, and nothing else
 *
 * Cost: alloc is the index's find, a split and, with alignment, another one; free is at most two
 * joins; neither depends on the number of chunks otherwise. A free must name a sealed header
 * between the lowest and the highest address of the segments: one in 2^32 stray words is one.
 *
 * Source: Knuth, TAOCP 1, 2.5, exercise 6 ff. and algorithm C; Lea's malloc for the flag of the
 * chunk before.
 */
#ifndef KMEMLAB_ALLOC_HEAP_CHUNK_HEAP_H
#define KMEMLAB_ALLOC_HEAP_CHUNK_HEAP_H

#include "alloc/heap/pages.h"

#define CHUNK_UNIT	 16u
#define CHUNK_HEADER	 16u
#define CHUNK_MIN	 48u /* header, links, last word */
#define CHUNK_INVARIANTS 6u

enum chunk_flag { CHUNK_USED = 1, CHUNK_PREV_FREE = 2, CHUNK_FLAGS = CHUNK_UNIT - 1 };

struct chunk {
	uint64_t word; /* length, a multiple of CHUNK_UNIT, and flags */
	uint32_t seal;
	uint32_t tag;
	struct chunk *next, *prev; /* in the index; the object of a used chunk */
};

struct chunk_segment {
	struct chunk_segment *next, *prev;
	uint64_t frames;
	uint64_t seal;
};

struct chunk_heap;
struct chunk_index {
	void (*insert)(struct chunk_heap *heap, struct chunk *chunk);
	void (*remove)(struct chunk_heap *heap, struct chunk *chunk);
	/* A free chunk of at least BYTES, left where it is; NULL. */
	struct chunk *(*find)(struct chunk_heap *heap, uint64_t bytes);
	/* How long a chunk find() needs to be sure to return it, for BYTES. */
	uint64_t (*sure)(uint64_t bytes);
	/* Counts its members; false with *V where it is not sound. LIMIT: more are a loop. */
	bool (*count)(const struct chunk_heap *heap, uint64_t limit, uint64_t *members,
		      struct heap_violation *v);
};

struct chunk_heap {
	struct heap_pages pages;
	struct chunk_setup {
		const struct chunk_index *index;
		uint64_t cookie;
		uint64_t grow_frames; /* of a new segment, at least */
		uint64_t fixed; /* 1: gets no segments but by chunk_heap_adopt(), gives none back */
	} setup;
	uint64_t setup_sum;
	struct chunk_segment *segments;
	struct chunk_segment *spare; /* an empty one, kept; in the list too */
	const char *low, *high;
	uint64_t segment_frames;
	uint64_t used_objects, used_bytes, free_chunks, free_bytes; /* bytes: whole chunks */
};

static inline uint64_t chunk_bytes(const struct chunk *c)
{
	return c->word & ~(uint64_t)CHUNK_FLAGS;
}

static inline bool chunk_used(const struct chunk *c)
{
	return c->word & CHUNK_USED;
}

static inline struct chunk *chunk_after(const struct chunk *c)
{
	return (struct chunk *)((uintptr_t)c + chunk_bytes(c));
}

/* SETUP: index, a constant whose own records are the caller's to set up; grow_frames; fixed; what
 * tells its cookie from that of other heaps beside it. */
void chunk_heap_init(struct chunk_heap *heap, const struct heap_config *config,
		     const struct chunk_setup *setup);

/* The run is a segment from now on. At least two frames, or one. */
void chunk_heap_adopt(struct chunk_heap *heap, struct heap_run run);

/* Members of struct heap_ops for a state that begins with a struct chunk_heap. */
int chunk_heap_alloc(void *state, const struct heap_request *request, void **out);
int chunk_heap_free(void *state, void *object);
int chunk_heap_resize(void *state, void *object, uint64_t bytes);
uint64_t chunk_heap_usable(const void *state, const void *object);
uint32_t chunk_heap_tag(const void *state, const void *object);
void chunk_heap_trim(void *state);
void chunk_heap_stats(const void *state, struct heap_stats *out);
int chunk_heap_walk(const void *state, heap_visit_fn visit, void *ctx);
int chunk_heap_check(const void *state, struct heap_violation *v);

/* For an index's count(): whether CHUNK is a sealed free chunk between the lowest and the highest
 * segment. check() has seen each one that lies in a segment, and counted them. */
bool chunk_heap_has_free(const struct chunk_heap *heap, const struct chunk *chunk);

#endif
