/*
 * heap_report.h - what a replay with a heap says of it: the "heap" member of run.json and of
 * `replay --json`, heap_sites.csv and heap_sizes.csv (results/README.md). Rows 13 to 16 of the
 * guide to metrics.
 */
#ifndef KMEMLAB_SIM_HEAP_REPORT_H
#define KMEMLAB_SIM_HEAP_REPORT_H

#include <json-glib/json-glib.h>

#include "sim/replay.h"
#include "sim/result.h"

JsonNode *heap_report_json(const struct replay_heap *heap);
void heap_report_write(struct result *result, const struct replay_heap *heap);

/* 100 * (1 - a / b), 0 where b is 0. */
double heap_report_waste(uint64_t a, uint64_t b);

#endif
