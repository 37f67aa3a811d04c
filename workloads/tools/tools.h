/*
 * tools.h - traces out of traces: pieces, sums, selections, names made unreadable, comparisons.
 *
 * All write OUTPUT aside and rename it, as trace_writer does; errors are those of reading and
 * writing traces, TRACE_ERROR_USAGE for what was asked. Memory: what is alive in the trace, and a
 * block of each trace that is read; never the trace.
 */
#ifndef KMEMLAB_WORKLOADS_TOOLS_TOOLS_H
#define KMEMLAB_WORKLOADS_TOOLS_TOOLS_H

#include <stdio.h>
#include "workloads/trace.h"

/* ---- cut ---- */

struct trace_cut {
	uint64_t first, end; /* event numbers, half-open */
	bool by_time;	     /* first and end are times in ns: from the first event at or after
				`first` up to the first one at or after `end` */
};

/* The events of a range; what is alive where it begins becomes the start section (FORMAT.md, Meta).
 * TRACE_ERROR_USAGE if no event lies in the range. */
bool trace_cut(const char *input, const char *output, const struct trace_cut *cut, GError **error);

/* Where a piece lies in the trace that it was cut from. */
struct trace_piece {
	char of[65]; /* SHA-256 of that trace's file */
	uint64_t first, total, time_ns, inserted;
};

bool trace_piece_parse(const char *text, struct trace_piece *piece);

/* ---- merge ---- */

/* Pieces of one trace that lie side by side, in any order: the trace that they make up. Other
 * traces: a machine on which all of them ran at the same time, with the RAM and the CPUs of all;
 * the recorded places and the buddy's story are kept of the first, since the others' frames have no
 * number there. Process numbers of the others are raised by PID_STRIDE each. */
enum { TRACE_PID_STRIDE = 1 << 22, TRACE_MERGE_LIMIT = 512 };
bool trace_merge(const char *const *inputs, unsigned count, const char *output, GError **error);
/* The same of COPIES of one trace, each one SHIFT_NS later than the one before. */
bool trace_scale(const char *input, const char *output, unsigned copies, uint64_t shift_ns,
		 GError **error);

/* ---- filter ---- */

struct trace_filter {
	const GArray *tasks;	     /* uint32_t; NULL or empty: all */
	const char *const *names;    /* of tasks, NULL-terminated; beside `tasks`; NULL none */
	const GArray *cpus;	     /* uint16_t; NULL or empty: all */
	int order_first, order_last; /* of blocks of frames, rounded up; last < 0: all */
};

/* Keeps what matches: an allocation with its frees, whoever frees; of allocations made before event
 * 0 those whose order matches, but none where tasks or CPUs are asked for, since theirs are not
 * known. Markers stay. TRACE_ERROR_USAGE if no event matches. */
bool trace_filter(const char *input, const char *output, const struct trace_filter *filter,
		  GError **error);

/* ---- anonymise ---- */

/* Names of processes, programs and caches, markers, call sites and instruction pointers become
 * keyed hashes (HMAC-SHA256): equal ones stay equal, KEY (NULL: random) decides which. Snapshots,
 * the command and the name of the source are left out. Process numbers, addresses of memory,
 * sizes, times and names of tracepoints stay. */
bool trace_anonymise(const char *input, const char *output, const char *key, GError **error);

/* ---- diff ---- */

/* Prints what differs: what the traces say about themselves, and of the events the first ones of
 * each run of differing ones, as lines of text behind "- " and "+ ". Returns 1 if anything
 * differs, 0 if nothing does, -1 with error. Strings are compared as text, so that their numbers
 * do not matter. */
int trace_diff(const char *left, const char *right, FILE *out, GError **error);

/* ---- statistics ---- */

enum { TRACE_SAMPLES = 100, TRACE_BUCKETS = 64, TRACE_ORDERS = 33 };

/* Buckets are powers of two: bucket b counts values in [2^b, 2^(b+1)), bucket 0 also zero. */
struct trace_statistics {
	unsigned samples;
	struct {
		uint64_t time_ns, frames, heap_bytes, objects; /* alive at that time */
	} live[TRACE_SAMPLES + 1];
	uint64_t most_frames, most_heap_bytes;
	uint64_t order[TRACE_ORDERS];	   /* allocations of frames by order, rounded up */
	uint64_t heap_size[TRACE_BUCKETS]; /* allocations of objects by bytes asked for */
	uint64_t frame_life[TRACE_BUCKETS], heap_life[TRACE_BUCKETS]; /* ns, of those allocated
									 and freed in the trace */
	uint64_t frame_blocks_left, objects_left; /* allocated in the trace and alive at its end */
};

bool trace_statistics(struct trace_reader *reader, struct trace_statistics *out, GError **error);

#endif
