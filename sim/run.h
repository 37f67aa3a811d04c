/*
 * run.h - one cell: a trace against one memory manager on one machine, in both passes, and the
 * folder of files that it leaves (results/README.md).
 */
#ifndef KMEMLAB_SIM_RUN_H
#define KMEMLAB_SIM_RUN_H

#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

#include "sim/replay.h"

/* What there is before event 0: a mode, or a fixture. */
struct run_start {
	enum replay_start mode;
	const struct fixture *fixture; /* START_FIXTURE */
};

struct run_config {
	const char *trace_path;
	const char *frames; /* registry name, or the path of a plugin */
	const char *label;  /* what plots call it: the name, with its settings if there are any */
	const char *heap;   /* as frames; NULL: frame events are replayed, not heap events */
	const char *heap_label;
	unsigned guard;	      /* enum heap_guard bits */
	uint64_t fail_frames; /* as in struct replay_config */
	const char *tables;   /* registry name of page tables; "none": no paging */
	const char *space;    /* registry name of address spaces; "none" or NULL: no processes */
	char **settings;      /* "slot.key=value", NULL-terminated; may be NULL */
	const char *machine;  /* preset, file, or "recorded" */
	const char *ram; /* a size, or "2x": a multiple of the machine's own usable RAM; NULL: its
			    own */
	unsigned cpus;	 /* 0: as many as the trace names */
	uint64_t seed;
	struct run_start start;
	bool place_recorded;
	uint64_t until;
	uint64_t check_events;
	uint64_t host_memory_bytes; /* systems that write every free frame refuse more free RAM; 0:
				       half of the host's */
	unsigned limit_ms;	    /* CPU time after which one operation hangs; 0: none */
	bool pass[PASSES];
	unsigned threads; /* host threads, native pass only; 0: one, deterministic */

	uint64_t sample_events, sample_ns;
	const char *output;  /* folder to write; NULL: none */
	bool replace;	     /* the folder, if it is there */
	const char *name;    /* "experiment/run" for run.json; may be NULL */
	const char *command; /* as the user could type it */
};

struct run_result {
	char *trace_sha256;
	char *frames_sha256; /* of a plugin's file; NULL for the lab's own systems */
	char *heap_sha256;   /* the same */
	struct replay_result pass[PASSES];
	bool done[PASSES];
	const char *without_probed; /* the plugin that has no such half; NULL: all have */
	bool digests_differ;
	uint64_t violations; /* of both passes */
	struct recorder
		*recorder; /* of the pass that sampled; latencies if it was the native one */
	struct result *files;
	struct machine_config *machine;
	bool machine_known;
};

/* Runs it. LAB_ERROR_USAGE: unknown names, impossible settings, RAM too small to boot in (the
 * message says what works). */
bool run_cell(const struct run_config *config, struct run_result *result, GError **error);
void run_result_clear(struct run_result *result);

/* Is there such a machine, and does it take these systems? For the reasons that run_cell() refuses
 * for too before it boots: LAB_ERROR_USAGE, or what is wrong with a file. Cost: a machine is built;
 * the trace's header is read. */
bool run_possible(const struct run_config *config, GError **error);

/* Placements are the same in both passes: the first one that ran speaks for the run. */
static inline const struct replay_result *run_speaker(const struct run_result *result)
{
	return &result->pass[result->done[PASS_NATIVE] ? PASS_NATIVE : PASS_PROBED];
}

/* `replay --json` (architecture.md's contract). */
JsonNode *run_summary(const struct run_config *config, const struct run_result *result);

/* The command as it could be typed, from the words behind "kmemlab", NULL-terminated: quoted for a
 * shell where that is needed, without where its files go and what it prints. */
char *run_command(char *const *words);

/* What plots call it, "bitmap:policy=next-fit": the name, of a plugin its file's, with what was set
 * on it. */
char *run_label(const char *name, const char *slot, char **settings);

/* The system of that name, in both builds; a name with a slash or ".so" at its end is a plugin's
 * file (plugin.h), which may lack the probed half: NULL. LAB_ERROR_USAGE for unknown ones. */
bool run_find_frames(const char *name, const struct frame_ops *frames[PASSES], GError **error);
/* `--set frames.KEY=VALUE`. LAB_ERROR_USAGE for what OPS has no such setting or value for. */
bool run_set_frames(const struct frame_ops *ops, struct frame_config *config, const char *setting,
		    GError **error);

/* Half of the host's: what a system that writes every free frame may use unless told otherwise. */
uint64_t run_host_memory(void);

/* LAB_ERROR_USAGE for anything but ascending, recorded, shuffled and the fixtures' names. */
bool run_parse_start(const char *text, struct run_start *start, GError **error);
const char *run_start_name(const struct run_start *start);

/* The same for heaps, and `heap.KEY=VALUE`. */
bool run_find_heap(const char *name, const struct heap_ops *heap[PASSES], GError **error);
bool run_set_heap(const struct heap_ops *ops, struct heap_config *config, const char *setting,
		  GError **error);

#endif
