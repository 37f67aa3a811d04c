/*
 * random.h - seeded random numbers: the same everywhere, for ever.
 * SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
 */
#ifndef KMEMLAB_WORKLOADS_RANDOM_H
#define KMEMLAB_WORKLOADS_RANDOM_H

#include <stdint.h>

struct random {
	uint64_t state;
};

/* A bijection that spreads every bit of X over the result. */
static inline uint64_t random_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static inline struct random random_seeded(uint64_t seed)
{
	return (struct random){ seed };
}

static inline uint64_t random_next(struct random *random)
{
	return random_mix(random->state += 0x9e3779b97f4a7c15ull);
}

/* 0 .. below - 1; below > 0. The bias is under below / 2^64. */
static inline uint64_t random_below(struct random *random, uint64_t below)
{
	return (uint64_t)(((unsigned __int128)random_next(random) * below) >> 64);
}

/* [0, 1) */
static inline double random_unit(struct random *random)
{
	return (double)(random_next(random) >> 11) * 0x1p-53;
}

#endif
