/*
 * check_heap.h - the conformance suite over one kernel heap: frame allocators x amounts of RAM x
 * its options' values, random operations by seed, each replayed in both passes and judged by the
 * heap ledger and guarded (heap_guard.h): once without red zones, and with the default settings
 * once with them, and with each request for frames failing. RAM too small for the operations is
 * among them: failing is legal, losing or mixing up is not. The first failure is shrunk and written
 * as a trace that `kmemlab replay` shows again.
 */
#ifndef KMEMLAB_SIM_CHECK_HEAP_H
#define KMEMLAB_SIM_CHECK_HEAP_H

#include "sim/check.h"

/* As check_frames(). */
bool check_heap(const struct check_config *config, struct check_report *report, GError **error);

#endif
