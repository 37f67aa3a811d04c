/*
 * generate.h - workloads that are made, not recorded: traces of processes by a seed. Addresses are
 * below 3 GiB, so that one trace runs on i386, PAE and x86_64 machines.
 */
#ifndef KMEMLAB_WORKLOADS_GENERATE_GENERATE_H
#define KMEMLAB_WORKLOADS_GENERATE_GENERATE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct generator;

struct generator_option {
	const char *key;
	const char *help;
	uint64_t value, min, max; /* default, and what is possible */
};

#define GENERATOR_OPTIONS_MAX 6

struct workload {
	const char *name;
	const char *summary;
	struct generator_option options[GENERATOR_OPTIONS_MAX + 1]; /* ends with key == NULL */
	void (*generate)(struct generator *generator, const uint64_t *values);
};
/* Ends with name == NULL. */
extern const struct workload workloads[];
const struct workload *workload_find(const char *name);

/* Writes the trace PATH of WORKLOAD with SETTINGS ("key=value", NULL-terminated, may be NULL).
 * TRACE_ERROR_USAGE for a setting that it has not, or a value that is not possible. */
bool workload_generate(const struct workload *workload, char *const *settings, uint64_t seed,
		       const char *path, GError **error);

#endif
