/*
 * size_classes.h - the inside of H1, for heaps that are made of it.
 */
#ifndef KMEMLAB_ALLOC_HEAP_SIZE_CLASSES_H
#define KMEMLAB_ALLOC_HEAP_SIZE_CLASSES_H

#include "alloc/heap/span.h"

#define SIZE_CLASSES	      36u
#define SIZE_CLASS_ZONES      (FRAME_ZONE_MOVABLE + 1u)
#define SIZE_CLASS_INVARIANTS 6u

struct size_classes {
	struct span_pool pool;
	struct span *partial[SIZE_CLASS_ZONES][SIZE_CLASSES];
	uint8_t frames[SIZE_CLASSES];		       /* of a span */
	uint8_t empty[SIZE_CLASS_ZONES][SIZE_CLASSES]; /* empty spans among the partial: 0 or 1 */
};

/* ROOT, EXTRA: as for span_pool_init(). */
void size_classes_setup(struct size_classes *h, const struct heap_config *config, uint64_t *root,
			bool extra);

/* Members of struct heap_ops for a state that begins with a struct size_classes. */
int size_classes_alloc(void *state, const struct heap_request *request, void **out);
int size_classes_free(void *state, void *object);
uint64_t size_classes_usable(const void *state, const void *object);
void size_classes_trim(void *state);
void size_classes_stats(const void *state, struct heap_stats *out);
int size_classes_walk(const void *state, heap_visit_fn visit, void *ctx);
int size_classes_check(const void *state, struct heap_violation *v);

#endif
