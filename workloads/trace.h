/*
 * trace.h - reading and writing .kmt traces (format: workloads/FORMAT.md).
 *
 * A trace is: what is known about the recorded machine and its state (struct trace_meta), a start
 * section (the allocations that were alive before event 0, the "prologue"), the events, a table of
 * strings, and attached files (snapshots of /proc files). Events are numbered from 0 without the
 * start section; their number is what messages, digests and --until speak of.
 */
#ifndef KMEMLAB_WORKLOADS_TRACE_H
#define KMEMLAB_WORKLOADS_TRACE_H

#include <glib.h>
#include <stdbool.h>
#include "workloads/event.h"
#include "workloads/memory_map.h"

#define TRACE_ERROR trace_error_quark()
GQuark trace_error_quark(void);
enum trace_error {
	TRACE_ERROR_IO,	    /* the file cannot be read or written: the system's fault */
	TRACE_ERROR_FORMAT, /* the input is damaged or not what it says: message names block and
			       byte, or line */
	TRACE_ERROR_USAGE,  /* the caller's fault: options, values out of range */
};

/* "trace error: " and the text, which begins with the file's name. Returns false. */
bool trace_error_set(GError **error, enum trace_error code, const char *format, ...)
	G_GNUC_PRINTF(3, 4);

struct trace_frame_range {
	uint64_t first;	 /* frame number */
	uint64_t frames; /* > 0 */
};

/* What is known about a trace besides its events. Owned strings; arrays are never NULL. */
struct trace_meta {
	char *source;	     /* base name of the imported file, or the generator's name */
	char *source_xxh128; /* of the imported file; NULL for generated traces */
	char *source_sha256; /* in its place in traces of before 0.2, else NULL */
	char *format;	     /* importer or generator: "ftrace", "trace-dat", ... */
	char *program;	     /* "kmemlab 0.1.0" */
	char *system;	     /* kernel release of the recorded system, or NULL */
	char *command;	     /* what was recorded (command.txt or the options given), or NULL */

	bool machine_recorded; /* memory_map is the machine's own, not guessed from the frames seen
				*/
	GArray *memory_map;    /* struct memory_range, as firmware gave it */
	uint32_t cpus;	       /* 1 + highest CPU seen */

	bool state_known;	 /* the next four come from the recording's ground truth */
	uint64_t managed_frames; /* frames the recorded kernel managed */
	uint64_t free_frames; /* free at event 0 as MemFree counts: frames on per-CPU lists are held
			       */
	bool untouched_known; /* the list is exact (kpageflags); else it is empty */
	GArray *untouched;    /* struct trace_frame_range: neither free nor prologue at event 0 */

	/* Counts that the importer alone knows (architecture.md, command line: info --json). */
	uint64_t implied_frees, untraced_allocs, compaction_allocs;
	GHashTable *source_events; /* char * name in the recorder's spelling -> uint64_t * count */
	char *cut; /* where in another trace this piece lies (tools/tools.h), or NULL */

	/* Filled by the writer and found again by the reader. */
	uint64_t events, prologue, prologue_frames, span_ns;
	uint64_t kind_count[EVENT_KINDS];
	uint64_t handles; /* 1 + highest handle, start section included */
};

struct trace_meta *trace_meta_new(void);
void trace_meta_free(struct trace_meta *meta);
void trace_meta_count_source(struct trace_meta *meta, const char *name, uint64_t by);

struct trace_attachment {
	char *name;	  /* for instance "SNAP 3 buddyinfo" */
	uint64_t time_ns; /* trace time it belongs to; UINT64_MAX unknown */
	uint64_t event;	  /* number of the first event that comes after it; UINT64_MAX unknown */
	GBytes *bytes;
};

/* ---- writing: aside (PATH.partial), then renamed over PATH by trace_writer_finish() ----
 *
 * Events, start section, strings, tasks and attachments may be handed in in any order: the file
 * does not depend on it. What fails in a function without an error is reported by the next one that
 * has one. Memory: two blocks, the strings, and start section and attachments compressed. Cost:
 * about 110 ns an event. */
struct trace_writer;
/* Returns NULL with TRACE_ERROR_IO if the file cannot be made, or PATH is there and no regular
 * file. */
struct trace_writer *trace_writer_new(const char *path, GError **error);
/* Interns a string of at most 16 MiB. Returns its id, > 0, stable for this writer; 0 for NULL. */
uint32_t trace_writer_string(struct trace_writer *writer, const char *text);
/* Names a process for readers of the trace; the last name wins. */
void trace_writer_task(struct trace_writer *writer, uint32_t task, const char *name);
/* Attaches a file. Returns 1 + its index, the value of event.u.marker.attachment. */
uint32_t trace_writer_attach(struct trace_writer *writer, const char *name, uint64_t time_ns,
			     uint64_t event, GBytes *bytes);
/* Adds to the start section (EVENT_PROLOGUE set) or to the events, in order. Only the fields that
 * the kind has are kept, and no padding. Returns false with TRACE_ERROR_USAGE for an event of no
 * kind, one whose EVENT_PROLOGUE does not fit the section, or a handle of UINT64_MAX;
 * TRACE_ERROR_IO. */
bool trace_writer_add_start(struct trace_writer *writer, const struct event *event, GError **error);
bool trace_writer_add(struct trace_writer *writer, const struct event *event, GError **error);
/* Number that the next added event gets. */
uint64_t trace_writer_next(const struct trace_writer *writer);
/* Writes strings, attachments, meta and index, syncs, renames. Fills in what trace_meta says the
 * writer fills, and raises meta->cpus to the CPUs seen. The writer is gone afterwards either way,
 * and if it failed, so is the partial file; a file of before stays as it was. */
bool trace_writer_finish(struct trace_writer *writer, struct trace_meta *meta, GError **error);
/* Gives up: no file is left behind. */
void trace_writer_abort(struct trace_writer *writer);

/* ---- reading ----
 *
 * TRACE_ERROR_FORMAT says "trace error: PATH: block 12 at byte 123456: what"; nothing that a file
 * says is believed before it was checked. Memory: index, strings, tasks and meta, and one block of
 * each section read. After an error in one block the reader may be used further, to seek to
 * another. */
struct trace_reader;
/* Checks the ends, the index, strings, tasks and meta. Returns NULL with error. */
struct trace_reader *trace_reader_open(const char *path, GError **error);
void trace_reader_free(struct trace_reader *reader);
const struct trace_meta *trace_reader_meta(const struct trace_reader *reader);
const char *trace_reader_string(const struct trace_reader *reader,
				uint32_t id); /* NULL for 0 or unknown */
const char *trace_reader_task(const struct trace_reader *reader,
			      uint32_t task); /* NULL if unnamed */
/* Calls visit for every named process, in ascending order of their numbers. */
void trace_reader_each_task(const struct trace_reader *reader,
			    void (*visit)(uint32_t task, const char *name, void *data), void *data);
const GPtrArray *trace_reader_attachments(struct trace_reader *reader,
					  GError **error); /* struct trace_attachment * */
/* The path that was opened. */
const char *trace_reader_path(const struct trace_reader *reader);
/* SHA-256 of the whole file, lower-case hex; computed at the first call. NULL with error. */
const char *trace_reader_sha256(struct trace_reader *reader, GError **error);
/* Returns 1 with an event, 0 at the end, -1 with error. The two sections are read independently. */
int trace_reader_next_start(struct trace_reader *reader, struct event *out, GError **error);
int trace_reader_next(struct trace_reader *reader, struct event *out, GError **error);
/* The next run of decoded events at once, about 11 ns an event: Returns how many (0 at the end, -1
 * with error); *out stays valid until the next call on the reader. */
int trace_reader_next_block(struct trace_reader *reader, const struct event **out, GError **error);
/* Whether the next of these calls goes to the file for another block (or finds the end), and does
 * not merely decode. */
bool trace_reader_at_block_end(const struct trace_reader *reader);
/* Continues with event number, or with the first event at or after the time; beyond the last: at
 * the end. Cost: a block is decompressed, and decoded up to the event. */
bool trace_reader_seek_event(struct trace_reader *reader, uint64_t event, GError **error);
bool trace_reader_seek_time(struct trace_reader *reader, uint64_t time_ns, GError **error);
/* Starts over in both sections. */
void trace_reader_rewind(struct trace_reader *reader);

/* Whether the whole trace makes sense, both sections: handles are allocated once at a time and
 * freed while they live, parts lie inside their block and are freed once, times do not step back on
 * a CPU, strings and attachments exist, enumerations are in range. Reads the trace from its
 * beginning and leaves the reader at the end. Returns false with TRACE_ERROR_FORMAT naming the
 * first wrong event, "x.kmt: event 12: ...", or with what reading failed of. Memory: the live
 * handles. */
bool trace_validate(struct trace_reader *reader, GError **error);

#endif
