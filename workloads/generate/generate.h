/*
 * generate.h - workloads that nobody recorded: generators, chosen by name, that write .kmt traces.
 *
 * A generator is a const struct: what it is called, what can be set, and a function that emits
 * events. The same generator, parameters and seed give the same bytes on every machine: nothing but
 * integers is computed with (distribution.h). docs/workloads.md says what each of them does, by
 * which formulas, and after which paper.
 *
 * To add one: write its struct in the file of its family, add it to the registry in generate.c and
 * to docs/workloads.md; the tests, `kmemlab list workloads` and `kmemlab generate` find it there.
 */
#ifndef KMEMLAB_WORKLOADS_GENERATE_GENERATE_H
#define KMEMLAB_WORKLOADS_GENERATE_GENERATE_H

#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct generation;

/* A number that can be set. Values are kept as integers: 1.25 with two decimals is 125. */
struct generate_parameter {
	const char *key;
	uint64_t preset, least, most; /* in units of 10^-decimals */
	uint8_t decimals;	      /* 0 to 3 */
	const char *unit;	      /* "bytes" takes K, M, G and T; "" a plain number */
	const char *meaning;
};

struct generator {
	const char *name;    /* the key in the command line and in traces */
	const char *family;  /* "frames", "heap", "process" */
	unsigned version;    /* raised when the same parameters and seed give another trace */
	const char *summary; /* one line */
	/* Ends with key == NULL; the first ones are those of enum generate_common. */
	const struct generate_parameter *parameters;
	/* What is wrong with values that are each in their range, NULL if nothing. May be NULL. */
	const char *(*problem)(const uint64_t *value);
	void (*run)(struct generation *generation);
};

/* Places of the parameters that every generator has. */
enum generate_common {
	GENERATE_RAM, /* bytes of RAM of the machine in the trace's header */
	GENERATE_GAP, /* mean ns between events */
	GENERATE_OWN, /* the generator's own ones begin here */
};
#define GENERATE_PARAMETERS_MOST 24

#define GENERATE_COMMON(ram_bytes)                                                           \
	{ "ram",                                                                             \
	  (ram_bytes),                                                                       \
	  UINT64_C(4) << 20,                                                                 \
	  UINT64_C(1) << 42,                                                                 \
	  0,                                                                                 \
	  "bytes",                                                                           \
	  "RAM of the machine in the trace" },                                               \
	{                                                                                    \
		"gap", 1000, 1, 1000000000, 0, "ns", "mean time between events, exponential" \
	}

/* The const table, ended by NULL. */
extern const struct generator *const generators[];

/* NULL for an unknown name. */
const struct generator *generator_find(const char *name);

struct generate_options {
	uint64_t seed;
	uint64_t value[GENERATE_PARAMETERS_MOST]; /* by place in the generator's parameters */
	GArray *memory_map; /* struct memory_range; borrowed, goes into the header */
	/* When it becomes true, generating ends with an error soon. NULL: never. */
	const volatile sig_atomic_t *stop;
};

/* Fills in all presets; seed 0, no map. */
void generate_defaults(const struct generator *generator, struct generate_options *options);

/* Sets one parameter from "key=value". Returns false with TRACE_ERROR_USAGE that names the key, or
 * the keys that there are, or the range. */
bool generate_set(const struct generator *generator, struct generate_options *options,
		  const char *assignment, GError **error);

/* A value as generate_set() takes it. Free with g_free(). */
char *generate_value_text(const struct generate_parameter *parameter, uint64_t value);

/* Writes the trace. The options must come from generate_defaults() and generate_set(). On failure
 * nothing is left at PATH, and the error is TRACE_ERROR_USAGE (parameters that do not go together),
 * TRACE_ERROR_IO (the file; stopped). Cost: about 0.2 us an event; memory: what is alive. */
bool generate(const struct generator *generator, const struct generate_options *options,
	      const char *path, GError **error);

#endif
