/* run_json.h - a run's result as JSON and as rows of events.csv; schemas: results/README.md and
 * ARCHITECTURE.md. */
#ifndef KMEMLAB_SIM_RUN_JSON_H
#define KMEMLAB_SIM_RUN_JSON_H

#include <json-glib/json-glib.h>

#include "sim/run.h"

JsonNode *run_json(const struct run_config *config, const struct run_result *result); /* run.json */
JsonNode *run_timing(const struct run_result *result);	/* timing.json */
void run_write_events(const struct run_result *result); /* events.csv */

#endif
