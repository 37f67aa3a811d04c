/*
 * histogram.h - latencies in log-linear buckets, as HdrHistogram's: below 256 ns a bucket a
 * nanosecond, above 128 buckets an octave, so that a bucket is at most 1/128 (0.78 %) of its lower
 * bound wide. Values from 2^40 ns (18 minutes) on count in the last bucket; the maximum and the
 * mean are exact for them too. 34 KiB each; all zeroes is an empty histogram.
 */
#ifndef KMEMLAB_SIM_HISTOGRAM_H
#define KMEMLAB_SIM_HISTOGRAM_H

#include <stdbool.h>
#include <stdint.h>

#define HISTOGRAM_SUB_BITS   7
#define HISTOGRAM_VALUE_BITS 40
/* 2 * 128 exact ones, then 128 for each octave from 2^8 on. */
#define HISTOGRAM_BUCKETS \
	((2 + HISTOGRAM_VALUE_BITS - HISTOGRAM_SUB_BITS - 1) << HISTOGRAM_SUB_BITS)

struct histogram {
	uint64_t count, sum_ns, max_ns;
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Half-open: values from LOW_NS, below HIGH_NS. */
struct histogram_bucket {
	uint64_t low_ns, high_ns, count;
};

static inline unsigned histogram_index(uint64_t value_ns)
{
	unsigned shift;

	if (value_ns >> HISTOGRAM_VALUE_BITS)
		return HISTOGRAM_BUCKETS - 1;
	/* How many low bits fall away for 8 significant ones to be left. */
	shift = 63 - HISTOGRAM_SUB_BITS -
		(unsigned)__builtin_clzll(value_ns | 1ull << HISTOGRAM_SUB_BITS);
	return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(value_ns >> shift);
}

/* Cost: a few ns. */
static inline void histogram_add(struct histogram *histogram, uint64_t value_ns)
{
	histogram->buckets[histogram_index(value_ns)]++;
	histogram->count++;
	histogram->sum_ns += value_ns;
	if (value_ns > histogram->max_ns)
		histogram->max_ns = value_ns;
}

void histogram_merge(struct histogram *into, const struct histogram *from);

/* The value that PER_10000 of the values do not exceed (5000: the median, 9999: p99.99; 10000: the
 * maximum, exact): the largest value of the bucket that holds the one of rank
 * ceil(count * PER_10000 / 10000), but at most the maximum. 0 where there are none. */
uint64_t histogram_percentile(const struct histogram *histogram, unsigned per_10000);
double histogram_mean(const struct histogram *histogram); /* exact; 0 where there are none */

/* The next non-empty bucket from index *CURSOR (0 at first) on; false where there is none. */
bool histogram_next(const struct histogram *histogram, unsigned *cursor,
		    struct histogram_bucket *bucket);

#endif
