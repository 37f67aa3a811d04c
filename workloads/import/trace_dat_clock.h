/*
 * trace_dat_clock.h - from the stamps of a trace.dat to its times, by the options that say how:
 * clocks in ticks of the TSC, guests that were recorded beside their host, offsets.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_TRACE_DAT_CLOCK_H
#define KMEMLAB_WORKLOADS_IMPORT_TRACE_DAT_CLOCK_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A guest's clock against its host's, from `time` on. */
struct clock_sample {
	uint64_t time;
	int64_t offset;
	uint64_t scaling;
	uint64_t fraction;
};

struct trace_dat_clock {
	bool set; /* stamps are not times as they are */
	int64_t offset_ns;
	uint32_t multiplier, shift; /* of the TSC; multiplier 0: none */
	bool interpolate;
	GPtrArray *samples; /* by CPU: GArray of struct clock_sample, in the order of time */
};

uint64_t trace_dat_clock_time(const struct trace_dat_clock *clock, uint16_t cpu, uint64_t stamp);
/* Takes the option TIME_SHIFT. Returns false if it is too short for what it says. */
bool trace_dat_clock_shift(struct trace_dat_clock *clock, const unsigned char *bytes, size_t count,
			   bool swap);
/* Takes the option TSC2NSEC. */
bool trace_dat_clock_tsc(struct trace_dat_clock *clock, const unsigned char *bytes, size_t count,
			 bool swap);
/* Takes the options DATE and OFFSET: a number as text, in units of UNIT_NS. */
void trace_dat_clock_offset(struct trace_dat_clock *clock, const char *text, int64_t unit_ns);
void trace_dat_clock_free(struct trace_dat_clock *clock);

#endif
