/*
 * space_series.h - what address spaces hold over time: points at samples, at most
 * SPACE_SERIES_POINTS of them. When there are more every second one goes, and from then on only
 * every second sample is taken: a function of the samples alone.
 */
#ifndef KMEMLAB_SIM_SPACE_SERIES_H
#define KMEMLAB_SIM_SPACE_SERIES_H

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdint.h>

#include "sim/process.h"

#define SPACE_SERIES_POINTS  100
#define SPACE_SERIES_LARGEST 8

struct space_point {
	uint64_t event, time_ns;
	struct space_stats spaces;
	uint64_t table_frames, invlpg, shootdowns;
	unsigned largest; /* how many below, most pages first, then by number */
	struct space_point_process {
		uint32_t number;
		uint64_t pages, table_frames;
	} process[SPACE_SERIES_LARGEST];
};

struct space_series {
	GArray *points;	 /* struct space_point */
	uint64_t sample; /* samples seen */
	uint64_t stride; /* of samples that are points */
};

void space_series_init(struct space_series *series);
void space_series_fini(struct space_series *series);
/* A sample is due: is it a point? Cost of a point: O(processes that ever were). */
void space_series_sample(struct space_series *series, const struct processes *processes,
			 uint64_t event, uint64_t time_ns);
/* Adds the members "over_time" and "largest_processes" to an open object. */
void space_series_json(const struct space_series *series, JsonBuilder *json);

#endif
