/*
 * Buckets tile the values with at most 1 % error; percentiles are held against sorted arrays.
 */
#include "sim/histogram.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define VALUES 20000

static struct histogram histogram, other;

static void clear(void)
{
	memset(&histogram, 0, sizeof(histogram));
	memset(&other, 0, sizeof(other));
}

static struct histogram_bucket bucket_of(uint64_t value_ns)
{
	struct histogram_bucket bucket = { 0, 0, 0 };
	unsigned cursor = 0;

	clear();
	histogram_add(&histogram, value_ns);
	if (!histogram_next(&histogram, &cursor, &bucket) || bucket.count != 1 ||
	    histogram_next(&histogram, &cursor, &bucket))
		bucket.count = 0;
	return bucket;
}

static bool bucket_holds(uint64_t value_ns)
{
	struct histogram_bucket bucket = bucket_of(value_ns);

	return bucket.count == 1 && bucket.low_ns <= value_ns && value_ns < bucket.high_ns &&
	       (bucket.high_ns - bucket.low_ns == 1 ||
		(bucket.high_ns - bucket.low_ns) * 100 <= bucket.low_ns);
}

START_TEST(a_bucket_holds_its_value_within_one_percent)
{
	for (uint64_t value = 0; value < 3000; value++)
		ck_assert_msg(bucket_holds(value), "%llu", (unsigned long long)value);
	for (unsigned bit = 8; bit < 40; bit++)
		for (uint64_t i = 0; i < 40; i++) {
			uint64_t value = (1ull << bit) + i * (1ull << bit) / 40;

			ck_assert_msg(bucket_holds(value) && bucket_holds(value - 1), "%llu",
				      (unsigned long long)value);
		}
}
END_TEST

START_TEST(buckets_tile_the_range_without_gaps)
{
	struct histogram_bucket bucket;
	uint64_t end = 0;
	unsigned cursor = 0, buckets = 0;

	clear();
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		histogram.buckets[i] = i + 1;
	while (histogram_next(&histogram, &cursor, &bucket)) {
		ck_assert_uint_eq(bucket.low_ns, end);
		ck_assert_uint_eq(bucket.count, ++buckets);
		end = bucket.high_ns;
	}
	ck_assert_uint_eq(buckets, HISTOGRAM_BUCKETS);
	ck_assert_uint_eq(end, 1ull << 40);
}
END_TEST

START_TEST(absurd_values_count_in_the_last_bucket)
{
	struct histogram_bucket bucket = bucket_of(1ull << 50);

	ck_assert_uint_eq(bucket.count, 1);
	ck_assert_uint_eq(bucket.high_ns, 1ull << 40);
	ck_assert_uint_eq(histogram.max_ns, 1ull << 50);
	ck_assert_uint_eq(histogram_percentile(&histogram, 5000), 1ull << 50);
	ck_assert_double_eq(histogram_mean(&histogram), (double)(1ull << 50));
}
END_TEST

START_TEST(an_empty_histogram_is_all_zero)
{
	struct histogram_bucket bucket;
	unsigned cursor = 0;

	clear();
	ck_assert(!histogram_next(&histogram, &cursor, &bucket));
	ck_assert_uint_eq(histogram_percentile(&histogram, 9999), 0);
	ck_assert_double_eq(histogram_mean(&histogram), 0);
}
END_TEST

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The i-th value of distribution WHICH: uniform, many octaves, constant with outliers. */
static uint64_t draw(int which, unsigned i)
{
	uint64_t value = (uint64_t)random() << 31 ^ (uint64_t)random();

	switch (which) {
	case 0:
		return value % 5000;
	case 1:
		return value >> (22 + random() % 39);
	default:
		return i % 1000 == 0 ? value % (1 << 24) : 17;
	}
}

START_TEST(percentiles_agree_with_sorted_values)
{
	static const unsigned wanted[] = { 1, 1000, 5000, 9000, 9900, 9990, 9999, 10000 };
	static uint64_t values[VALUES];
	uint64_t sum = 0;

	clear();
	srandom((unsigned)_i + 1);
	for (unsigned i = 0; i < VALUES; i++) {
		values[i] = draw(_i, i);
		sum += values[i];
		histogram_add(i % 2 ? &histogram : &other, values[i]);
	}
	histogram_merge(&histogram, &other);
	qsort(values, VALUES, sizeof(values[0]), by_value);
	for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		uint64_t rank = ((uint64_t)VALUES * wanted[i] + 9999) / 10000;
		uint64_t exact = values[rank - 1],
			 got = histogram_percentile(&histogram, wanted[i]);

		ck_assert_msg(exact <= got && (got - exact) * 100 <= exact,
			      "%u of 10000: %llu, not %llu", wanted[i], (unsigned long long)got,
			      (unsigned long long)exact);
	}
	ck_assert_uint_eq(histogram_percentile(&histogram, 10000), values[VALUES - 1]);
	ck_assert_uint_eq(histogram.count, VALUES);
	ck_assert_double_eq(histogram_mean(&histogram), (double)sum / VALUES);
}
END_TEST

START_TEST(ranks_do_not_overflow)
{
	clear();
	histogram.buckets[5] = 1ull << 60;
	histogram.buckets[9] = 1;
	histogram.count = (1ull << 60) + 1;
	histogram.max_ns = 9;
	ck_assert_uint_eq(histogram_percentile(&histogram, 9999), 5);
	ck_assert_uint_eq(histogram_percentile(&histogram, 10000), 9);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("histogram");
	TCase *buckets = tcase_create("buckets"), *percentiles = tcase_create("percentiles");
	SRunner *runner;
	int failed;

	tcase_add_test(buckets, a_bucket_holds_its_value_within_one_percent);
	tcase_add_test(buckets, buckets_tile_the_range_without_gaps);
	tcase_add_test(buckets, absurd_values_count_in_the_last_bucket);
	tcase_add_test(buckets, an_empty_histogram_is_all_zero);
	tcase_add_loop_test(percentiles, percentiles_agree_with_sorted_values, 0, 3);
	tcase_add_test(percentiles, ranks_do_not_overflow);
	suite_add_tcase(suite, buckets);
	suite_add_tcase(suite, percentiles);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
