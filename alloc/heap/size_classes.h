/*
 * size_classes.h - the inside of H1, for heaps that are made of it.
 */
#ifndef KMEMLAB_ALLOC_HEAP_SIZE_CLASSES_H
#define KMEMLAB_ALLOC_HEAP_SIZE_CLASSES_H

#include "alloc/heap/span.h"

#define SIZE_CLASSES	      35u
#define SIZE_CLASS_ZONES      (FRAME_ZONE_MOVABLE + 1u)
#define SIZE_CLASS_INVARIANTS 7u

/* The classes that have magazines are those up to 1024 bytes. */
#define SIZE_CLASS_SMALL_BYTES 1024u
#define SIZE_CLASS_MAGAZINES   23u
#define SIZE_MAGAZINE_ROOM     42u

/* A CPU's free objects of a class. */
struct size_magazine {
	uint32_t count, room;
	struct span_bit spare[SIZE_MAGAZINE_ROOM];
};
#define SIZE_MAGAZINE_FRAMES 2u
_Static_assert(SIZE_CLASS_MAGAZINES * sizeof(struct size_magazine) <=
		       SIZE_MAGAZINE_FRAMES * FRAME_BYTES,
	       "a CPU's magazines");

struct size_classes {
	struct span_pool pool;
	struct size_setup {
		struct size_magazine **magazine; /* by CPU: of each class, or NULL */
		uint64_t cpus;			 /* that may have magazines */
		uint8_t small[(SIZE_CLASS_SMALL_BYTES / 8 + 8) &
			      ~7u];			  /* class of (bytes + 7) / 8 */
		uint8_t frames[(SIZE_CLASSES + 7) & ~7u]; /* of a class's spans, at most */
	} setup;
	uint64_t setup_sum;
	struct size_magazine *only; /* with one CPU: its magazines; there is nobody to ask */
	uint64_t runs;
	uint32_t slots[SIZE_CLASS_ZONES][SIZE_CLASSES]; /* of all spans */
	uint8_t empty[SIZE_CLASS_ZONES][SIZE_CLASSES];	/* empty spans among the partial: 0 or 1 */
	struct span *partial[SIZE_CLASS_ZONES][SIZE_CLASSES];
};

/* ROOT, EXTRA: as for span_pool_init(). MAGAZINE: a pointer, NULL, for each CPU; NULL: this heap
 * is to have no magazines. */
void size_classes_setup(struct size_classes *h, const struct heap_config *config, uint64_t *root,
			bool extra, struct size_magazine **magazine);

/* Members of struct heap_ops for a state that begins with a struct size_classes. */
int size_classes_alloc(void *state, const struct heap_request *request, void **out);
int size_classes_free(void *state, void *object);
uint64_t size_classes_usable(const void *state, const void *object);
void size_classes_trim(void *state);
void size_classes_stats(const void *state, struct heap_stats *out);
int size_classes_walk(const void *state, heap_visit_fn visit, void *ctx);
int size_classes_check(const void *state, struct heap_violation *v);

#endif
