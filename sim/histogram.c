#include "sim/histogram.h"

static uint64_t bucket_low(unsigned index)
{
	unsigned shift;

	/* The 256 exact ones; after them every 128 buckets are twice as wide. */
	if (index < 2u << HISTOGRAM_SUB_BITS)
		return index;
	shift = (index >> HISTOGRAM_SUB_BITS) - 1;
	return (uint64_t)(index - (shift << HISTOGRAM_SUB_BITS)) << shift;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	into->count += from->count;
	into->sum_ns += from->sum_ns;
	if (from->max_ns > into->max_ns)
		into->max_ns = from->max_ns;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

/* ceil(count * per_10000 / 10000) without overflow. */
static uint64_t rank_of(uint64_t count, unsigned per_10000)
{
	uint64_t rank = count / 10000 * per_10000 + (count % 10000 * per_10000 + 9999) / 10000;

	return rank > 0 ? rank : 1;
}

uint64_t histogram_percentile(const struct histogram *histogram, unsigned per_10000)
{
	uint64_t rank = rank_of(histogram->count, per_10000), seen = 0, value;
	unsigned i = 0;

	if (histogram->count == 0)
		return 0;
	while (i < HISTOGRAM_BUCKETS - 1 && seen + histogram->buckets[i] < rank)
		seen += histogram->buckets[i++];
	value = bucket_low(i + 1) - 1;
	return i == HISTOGRAM_BUCKETS - 1 || value > histogram->max_ns ? histogram->max_ns : value;
}

double histogram_mean(const struct histogram *histogram)
{
	return histogram->count ? (double)histogram->sum_ns / (double)histogram->count : 0;
}

bool histogram_next(const struct histogram *histogram, unsigned *cursor,
		    struct histogram_bucket *bucket)
{
	for (; *cursor < HISTOGRAM_BUCKETS; (*cursor)++) {
		uint64_t count = histogram->buckets[*cursor];

		if (count == 0)
			continue;
		bucket->low_ns = bucket_low(*cursor);
		bucket->high_ns = bucket_low(*cursor + 1);
		bucket->count = count;
		(*cursor)++;
		return true;
	}
	return false;
}
