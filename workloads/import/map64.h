/*
 * map64.h - hash map from one 64-bit number to another (pointers to objects, chunks of frames,
 * processes): open addressing, linear probing, deletion by shifting back, so that it never decays
 * under a heap's churn. The key UINT64_MAX is reserved.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_MAP64_H
#define KMEMLAB_WORKLOADS_IMPORT_MAP64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map64 {
	struct map64_slot *slots; /* NULL while empty */
	size_t mask;		  /* slots - 1, a power of two less one */
	size_t used;
};

/* A zeroed struct is an empty map. */
void map64_fini(struct map64 *map);
/* Where the value of KEY lives until the next put or remove; NULL if there is none. */
uint64_t *map64_find(const struct map64 *map, uint64_t key);
/* Sets or replaces. Aborts the program when memory runs out, as GLib does. */
void map64_put(struct map64 *map, uint64_t key, uint64_t value);
/* Returns whether KEY was there; its value goes to *VALUE (may be NULL). */
bool map64_remove(struct map64 *map, uint64_t key, uint64_t *value);
/* Calls VISIT for each pair, in no particular order; the map must not change meanwhile. */
void map64_each(const struct map64 *map, void (*visit)(uint64_t key, uint64_t value, void *data),
		void *data);

#endif
