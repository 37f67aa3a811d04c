/*
 * radix_sort.h - sorting by a number, in time linear in the items (Knuth, TAOCP 3, 5.2.5).
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_RADIX_SORT_H
#define KMEMLAB_WORKLOADS_IMPORT_RADIX_SORT_H

#include <stddef.h>
#include <stdint.h>

struct radix_item {
	uint64_t key;
	uint64_t index; /* of what the key stands for */
};

/* By ascending key; items of one key stay in their order. Takes as much memory again meanwhile. */
void radix_sort(struct radix_item *items, size_t count);

#endif
