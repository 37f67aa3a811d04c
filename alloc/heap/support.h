/*
 * support.h - what heaps share, a user's own included: how check() says what it found, and seals
 * and sums that guard what never changes.
 */
#ifndef KMEMLAB_ALLOC_HEAP_SUPPORT_H
#define KMEMLAB_ALLOC_HEAP_SUPPORT_H

#include "alloc/heap/heap.h"

/* Records a finding of check(): `return heap_found(v, 3, at, "...");` */
static inline int heap_found(struct heap_violation *v, unsigned invariant, const void *at,
			     const char *what)
{
	*v = (struct heap_violation){ invariant, at, what };
	return KERR_CORRUPT;
}

/* A 32-bit seal over a record's address and its constant words: what a stray write leaves behind
 * passes for a record once in 2^32. */
static inline uint32_t heap_seal(const void *at, uint64_t word, uint64_t cookie)
{
	uint64_t x = ((uint64_t)(uintptr_t)at ^ cookie) + word * 0x9e3779b97f4a7c15;

	return (uint32_t)((x ^ x >> 29) * 0xbf58476d1ce4e5b9 >> 32);
}

/* Sum over the part of a record that never changes after init (BYTES a multiple of 8), so that
 * check() can trust it before it follows its pointers. */
static inline uint64_t heap_header_sum(const void *header, size_t bytes)
{
	const uint64_t *word = header;
	uint64_t sum = 0x9e3779b97f4a7c15;

	for (size_t i = 0; i < bytes / sizeof(*word); i++)
		sum = (sum << 7 | sum >> 57) * 0x100000001b3 ^ word[i];
	return sum;
}

static inline uint64_t heap_cookie(const struct heap_config *config)
{
	return (config->seed + 1) * 0x94d049bb133111eb;
}

#endif
