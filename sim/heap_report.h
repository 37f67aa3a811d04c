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

/* PROBED: that pass's, for what only it knows; NULL where there was none. */
JsonNode *heap_report_json(const struct replay_heap *heap, const struct replay_heap *probed);
void heap_report_write(struct result *result, const struct replay_heap *heap);

/* What no allocator that moves nothing can do with less of, in bytes, against its own adversary:
 * M (log2(n) / 2 + 1) - n + 1 for M words alive and objects up to n words (Robson, JACM 1974). A
 * word is the smallest object asked for; n is rounded up to a power of two of them. 0: no objects.
 */
double heap_report_robson(const struct heap_totals *totals);

/* 100 * (1 - a / b), 0 where b is 0. */
double heap_report_waste(uint64_t a, uint64_t b);

#endif
