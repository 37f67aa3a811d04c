/* run_text.h - a run's result for a person at a terminal. */
#ifndef KMEMLAB_SIM_RUN_TEXT_H
#define KMEMLAB_SIM_RUN_TEXT_H

#include "sim/run.h"

/* Digests and counts of each pass, its violations, then what the run was made for: how fragmented
 * memory is at the end, what was not served, how fast operations were and what they touched. Free
 * with g_free(). */
char *run_text(const struct run_config *config, const struct run_result *result);

#endif
