/*
 * bench.h - figures as ratios: each thing measured stands beside a yardstick, the smallest loop
 * that does the same work with no features, and the two run in turn in the same process, in CPU
 * time. A figure is the median of the rounds.
 */
#ifndef KMEMLAB_SIM_BENCH_BENCH_H
#define KMEMLAB_SIM_BENCH_BENCH_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define BENCH_ROUNDS 5

struct bench_options {
	uint64_t scale;		   /* work a round: 100 is full size; the smoke test uses 1 */
	const char *const *traces; /* more loads for the heaps; NULL-terminated, or NULL */
};

/* One line of output. */
struct bench_figure {
	char *name;	  /* "frames/buddy" */
	double value;	  /* of the real thing */
	const char *unit; /* "ns/operation" */
	const char *yardstick;
	double yardstick_value;
	double ratio; /* value / yardstick_value */
	double goal;  /* largest ratio that meets it; 0: none set */
};

/* A suite appends its figures. False with error when it cannot run at all. */
struct bench_suite {
	const char *name;
	const char *summary;
	bool (*run)(const struct bench_options *options, GArray *figures, GError **error);
};
/* Ends with name == NULL. */
extern const struct bench_suite bench_suites[];

bool bench_frames(const struct bench_options *options, GArray *figures, GError **error);
bool bench_heaps(const struct bench_options *options, GArray *figures, GError **error);
bool bench_malloc(const struct bench_options *options, GArray *figures, GError **error);
bool bench_mmu(const struct bench_options *options, GArray *figures, GError **error);
bool bench_replay(const struct bench_options *options, GArray *figures, GError **error);
bool bench_threads(const struct bench_options *options, GArray *figures, GError **error);
bool bench_traces(const struct bench_options *options, GArray *figures, GError **error);

/* One contestant: RUN does OPERATIONS operations on CONTEXT and returns the CPU time they took, ns.
 */
struct bench_runner {
	uint64_t (*run)(void *context);
	void *context;
	uint64_t operations;
};

/* Runs both in turn, BENCH_ROUNDS times after one round of warming up, and appends the figure. */
void bench_compare(GArray *figures, const char *name, const char *unit,
		   const struct bench_runner *real, const char *yardstick,
		   const struct bench_runner *bare, double goal);

/* CPU time of this process, ns. */
uint64_t bench_cpu_ns(void);

void bench_figures_free(GArray *figures);

#endif
