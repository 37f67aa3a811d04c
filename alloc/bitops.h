/*
 * bitops.h - the bit arithmetic that allocators share. Plain C and compiler built-ins of one
 * instruction each: nothing here touches memory.
 */
#ifndef KMEMLAB_ALLOC_BITOPS_H
#define KMEMLAB_ALLOC_BITOPS_H

#include <stdint.h>

#define BITS_PER_WORD 64u

/* Number of the lowest or highest set bit; WORD != 0. */
static inline unsigned bit_lowest(uint64_t word)
{
	return (unsigned)__builtin_ctzll(word);
}

static inline unsigned bit_highest(uint64_t word)
{
	return 63u - (unsigned)__builtin_clzll(word);
}

static inline unsigned bit_count(uint64_t word)
{
	return (unsigned)__builtin_popcountll(word);
}

/* Mask of bits [first, first + n) of one word; first < 64, 1 <= n <= 64 - first. */
static inline uint64_t bit_mask(unsigned first, unsigned n)
{
	return (~0ull >> (BITS_PER_WORD - n)) << first;
}

/* Smallest order with 2^order >= n; 1 <= n <= 2^63. No branch: a mix of orders predicts badly. */
static inline unsigned order_for(uint64_t n)
{
	return bit_highest(2 * n - 1);
}

#endif
