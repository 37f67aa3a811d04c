/*
 * distribution.h - random variates in integer arithmetic. The C library's log() and pow() differ in
 * their last bits between processors and versions, and a trace must not: logarithms and powers are
 * fixed-point numbers here, exact to about 2^-30.
 */
#ifndef KMEMLAB_WORKLOADS_GENERATE_DISTRIBUTION_H
#define KMEMLAB_WORKLOADS_GENERATE_DISTRIBUTION_H

#include <stdbool.h>
#include <stdint.h>
#include "workloads/random.h"

/* log2(x) * 2^32, rounded down; x > 0. */
uint64_t fixed_log2(uint64_t x);
/* 2^(e / 2^32), rounded down; UINT64_MAX from 2^64 on. */
uint64_t fixed_exp2(uint64_t e);

/* With the mean given, 0 or more; P(X > x) = exp(-x / mean). mean below 2^58. */
uint64_t draw_exponential(struct random *random, uint64_t mean);
/* From least to most, both included. */
uint64_t draw_uniform(struct random *random, uint64_t least, uint64_t most);
/* True in `part` of `whole` cases. */
bool draw_chance(struct random *random, uint64_t part, uint64_t whole);

/*
 * Bounded Pareto B(least, most, alpha): density alpha least^alpha x^(-alpha-1) / (1 -
 * (least/most)^alpha). Harchol-Balter, Crovella, Murta: On choosing a task assignment policy for a
 * distributed server system, JPDC 59(2), 1999. Drawn by inversion: x = least (1 - u (1 -
 * (least/most)^alpha))^(-1/alpha).
 */
struct pareto {
	uint64_t least, most;
	uint64_t alpha;	 /* in hundredths */
	uint64_t rarest; /* (least/most)^alpha * 2^64 */
};

/* 0 < least <= most < 2^48; alpha from 1 to 1000 hundredths. */
struct pareto pareto_new(uint64_t least, uint64_t most, uint64_t alpha_hundredths);
uint64_t pareto_draw(const struct pareto *pareto, struct random *random);

#endif
