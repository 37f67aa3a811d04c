#include "workloads/import/trace_dat_clock.h"

#include <stdlib.h>
#include "workloads/import/ring_page.h"

/* Bit of the flags of TIME_SHIFT: offsets between two samples lie on a line. */
#define INTERPOLATE 1

#define MOST ((__int128)1 << 126)

static uint64_t correct(const struct trace_dat_clock *clock, const struct clock_sample *from,
			const struct clock_sample *to, uint64_t stamp)
{
	int64_t offset = from->offset;

	if (clock->interpolate) {
		__int128 span = (__int128)(to->time - from->time);
		__int128 rise = (__int128)to->offset - from->offset;
		__int128 far = (__int128)stamp - from->time;
		/* Absurd ones do not fit. */
		if (!__builtin_mul_overflow(far, rise, &rise) && rise < MOST && rise > -MOST)
			offset = (int64_t)(uint64_t)(offset + (rise + span / 2) / span);
	}
	unsigned __int128 scaled = (unsigned __int128)stamp * from->scaling;
	return (uint64_t)(scaled >> (from->fraction & 127)) + (uint64_t)offset;
}

static uint64_t to_host(const struct trace_dat_clock *clock, uint16_t cpu, uint64_t stamp)
{
	const GArray *samples = cpu < clock->samples->len ? clock->samples->pdata[cpu] : NULL;

	if (!samples || samples->len == 0)
		return stamp;
	const struct clock_sample *all = &g_array_index(samples, struct clock_sample, 0);
	if (samples->len == 1)
		return stamp + (uint64_t)all[0].offset;
	guint before = 0, behind = samples->len - 1;
	while (behind - before > 1) {
		guint middle = before + (behind - before) / 2;
		*(stamp >= all[middle].time ? &before : &behind) = middle;
	}
	return correct(clock, &all[before], &all[behind], stamp);
}

uint64_t trace_dat_clock_time(const struct trace_dat_clock *clock, uint16_t cpu, uint64_t stamp)
{
	if (clock->samples)
		stamp = to_host(clock, cpu, stamp);
	if (clock->multiplier != 0)
		stamp = (uint64_t)(((unsigned __int128)stamp * clock->multiplier) >> clock->shift);
	return stamp + (uint64_t)clock->offset_ns;
}

static gint by_time(gconstpointer left, gconstpointer right)
{
	uint64_t a = ((const struct clock_sample *)left)->time;
	uint64_t b = ((const struct clock_sample *)right)->time;

	return a < b ? -1 : a > b;
}

static void sort_samples(GArray *samples)
{
	guint kept = 0;

	g_array_sort(samples, by_time);
	for (guint i = 0; i < samples->len; i++) {
		struct clock_sample *sample = &g_array_index(samples, struct clock_sample, i);
		if (kept > 0 &&
		    g_array_index(samples, struct clock_sample, kept - 1).time == sample->time)
			continue;
		g_array_index(samples, struct clock_sample, kept++) = *sample;
	}
	g_array_set_size(samples, kept);
}

static void free_samples(gpointer samples)
{
	g_array_unref(samples);
}

bool trace_dat_clock_shift(struct trace_dat_clock *clock, const unsigned char *bytes, size_t count,
			   bool swap)
{
	/* Behind the number of the session: flags, CPUs. */
	if (count < 16 || clock->samples)
		return false;
	uint32_t cpus = (uint32_t)ring_load(bytes + 12, 4, swap);
	const unsigned char *at = bytes + 16, *end = bytes + count;
	clock->set = true;
	clock->interpolate = ring_load(bytes + 8, 4, swap) & INTERPOLATE;
	clock->samples = g_ptr_array_new_with_free_func(free_samples);
	for (uint32_t cpu = 0; cpu < cpus; cpu++) {
		uint32_t number = at + 4 <= end ? (uint32_t)ring_load(at, 4, swap) : 0;
		if (at + 4 > end || number > (size_t)(end - at - 4) / 24)
			return false;
		GArray *samples = g_array_new(FALSE, TRUE, sizeof(struct clock_sample));
		g_array_set_size(samples, number);
		g_ptr_array_add(clock->samples, samples);
		at += 4;
		for (uint32_t i = 0; i < number; i++)
			g_array_index(samples, struct clock_sample, i) = (struct clock_sample){
				.time = ring_load(at + 8u * i, 8, swap),
				.offset = (int64_t)ring_load(at + 8u * (number + i), 8, swap),
				.scaling = ring_load(at + 8u * (2 * number + i), 8, swap),
			};
		at += (size_t)24 * number;
	}
	/* Behind all of them, in newer files: how many bits of `scaling` are a fraction. */
	for (uint32_t cpu = 0; cpu < cpus && at < end; cpu++) {
		GArray *samples = clock->samples->pdata[cpu];
		if (samples->len > (size_t)(end - at) / 8)
			return false;
		for (guint i = 0; i < samples->len; i++, at += 8)
			g_array_index(samples, struct clock_sample, i).fraction =
				ring_load(at, 8, swap);
	}
	g_ptr_array_foreach(clock->samples, (GFunc)(void (*)(void))sort_samples, NULL);
	return true;
}

bool trace_dat_clock_tsc(struct trace_dat_clock *clock, const unsigned char *bytes, size_t count,
			 bool swap)
{
	if (count < 16)
		return false;
	clock->multiplier = (uint32_t)ring_load(bytes, 4, swap);
	clock->shift = (uint32_t)ring_load(bytes + 4, 4, swap);
	clock->set = true;
	return clock->shift < 64;
}

void trace_dat_clock_offset(struct trace_dat_clock *clock, const char *text, int64_t unit_ns)
{
	uint64_t offset = (uint64_t)strtoll(text, NULL, 0) * (uint64_t)unit_ns;

	clock->offset_ns = (int64_t)((uint64_t)clock->offset_ns + offset);
	clock->set |= clock->offset_ns != 0;
}

void trace_dat_clock_free(struct trace_dat_clock *clock)
{
	if (clock->samples)
		g_ptr_array_unref(clock->samples);
}
