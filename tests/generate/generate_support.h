/* generate_support.h - generated traces for tests. */
#ifndef KMEMLAB_TESTS_GENERATE_SUPPORT_H
#define KMEMLAB_TESTS_GENERATE_SUPPORT_H

#include "tests/unit/test_trace_support.h"
#include "workloads/generate/generate.h"

/* The presets, then "key=value"s separated by spaces; a machine of as much RAM as they say. Aborts
 * the test program where one is refused. */
void options_of(const struct generator *generator, const char *assignments, uint64_t seed,
		struct generate_options *options);
void options_free(struct generate_options *options);
uint64_t option_of(const struct generator *generator, const struct generate_options *options,
		   const char *key);

/* Generates with those settings into a temporary file, validates it, and returns its events (struct
 * event). Strings of the trace are put into *names by id if it is not NULL (free with
 * g_ptr_array_unref()). Aborts the test program when anything fails. */
GArray *events_of(const char *name, const char *assignments, uint64_t seed, GPtrArray **names);

#endif
