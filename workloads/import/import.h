/*
 * import.h - from a recording in somebody else's format to a .kmt trace.
 *
 * An importer (one row of the table in import.c) recognises a format by its first bytes and hands
 * over its events: recordings of a kernel as raw events to owners.h, which makes the stories of
 * them. What the recorded machine was and held comes from its ground truth, where there is one.
 *
 * How to add an importer: write its run() in a file of its own, add its row.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_IMPORT_H
#define KMEMLAB_WORKLOADS_IMPORT_IMPORT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

struct import_source;
struct owners;

struct import_options {
	const char *format; /* name of an importer; NULL or "auto": by content */
	const char *state;  /* ground truth, a directory or a tar; NULL: "ground-truth" or
			       "ground-truth.tar.zst" beside the input, if there is one */
	const char *memmap; /* file of E820 lines that goes before the ground truth's; NULL none */
	bool lenient;	    /* skip and count what is malformed instead of giving up */
};

/* What an importer works with while it runs. */
struct import_job {
	struct import_source *source;
	struct owners *owners;
	bool lenient;
	guint64 malformed; /* skipped so far */
	/* Set by an importer whose recordings hold no markers and run on CLOCK_MONOTONIC. */
	bool snapshots_by_clock;
};

struct importer {
	const char *name;    /* "ftrace": the key in the command line and in traces */
	const char *summary; /* one line for help texts */
	bool (*detect)(const unsigned char *head, size_t bytes, const char *name);
	bool (*run)(struct import_job *job, GError **error);
};

/* The const table, ended by a row without a name. */
const struct importer *importers(void);

/*
 * Imports INPUT (plain, .gz, .xz, .zst, .bz2; CTF: a folder) into OUTPUT_KMT. A warning about what
 * was skipped or lost goes to g_message(). On failure nothing is left at OUTPUT_KMT, and the error
 * is: TRACE_ERROR_FORMAT  the input or its ground truth is damaged: "trace error: FILE:LINE: ..."
 * or "trace error: FILE: byte N: ..." TRACE_ERROR_USAGE   unknown format name, or content that no
 * importer knows TRACE_ERROR_IO      files that cannot be read or written Cost: two passes; memory
 * for the frames and live objects of the recording, not for its length.
 */
bool import_file(const char *input, const char *output_kmt, const struct import_options *options,
		 GError **error);

/* For importers. Takes PROBLEM (a TRACE_ERROR_FORMAT without place) and either counts it (lenient;
 * returns true) or raises it as "trace error: INPUT<place>: problem". Other errors are always
 * raised.
 */
bool import_malformed(struct import_job *job, const char *place, GError *problem, GError **error);

/* The importers. */
bool ftrace_text_detect(const unsigned char *head, size_t bytes, const char *name);
bool ftrace_text_run(struct import_job *job, GError **error);
bool lackey_detect(const unsigned char *head, size_t bytes, const char *name);
bool lackey_run(struct import_job *job, GError **error);
bool mtrace_detect(const unsigned char *head, size_t bytes, const char *name);
bool mtrace_run(struct import_job *job, GError **error);
bool rep_detect(const unsigned char *head, size_t bytes, const char *name);
bool rep_run(struct import_job *job, GError **error);
bool csv_detect(const unsigned char *head, size_t bytes, const char *name);
bool csv_run(struct import_job *job, GError **error);
bool recorder_detect(const unsigned char *head, size_t bytes, const char *name);
bool recorder_run(struct import_job *job, GError **error);
bool perf_json_detect(const unsigned char *head, size_t bytes, const char *name);
bool perf_json_run(struct import_job *job, GError **error);
bool ctf_detect(const unsigned char *head, size_t bytes, const char *name);
bool ctf_run(struct import_job *job, GError **error);
bool perf_script_detect(const unsigned char *head, size_t bytes, const char *name);
bool perf_script_run(struct import_job *job, GError **error);
bool tracefs_raw_detect(const unsigned char *head, size_t bytes, const char *name);
bool tracefs_raw_run(struct import_job *job, GError **error);
bool trace_dat_detect(const unsigned char *head, size_t bytes, const char *name);
bool trace_dat_run(struct import_job *job, GError **error);

#endif
