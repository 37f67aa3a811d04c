/*
 * record.h - a recording of this machine's kernel through tracefs, straight into a .kmt trace.
 *
 * The kernel's ring buffers are read page by page into a folder, with the formats of the events and
 * snapshots of what the kernel says about itself (/proc/buddyinfo and its like, markers in the
 * buffer around each); the importer "tracefs" makes the trace of it afterwards, so that nothing is
 * decoded while the workload runs. A buffer of our own (a tracefs instance) leaves others alone.
 */
#ifndef KMEMLAB_WORKLOADS_RECORD_RECORD_H
#define KMEMLAB_WORKLOADS_RECORD_RECORD_H

#include <glib.h>
#include <stdbool.h>

struct record_options {
	const char *output;	 /* TRACE.kmt */
	char **command;		 /* NULL-terminated; NULL or empty: nothing but waiting */
	double seconds;		 /* at most so long; 0: until the command ends, or ctrl-C */
	double snapshot_seconds; /* between snapshots; 0: only at the start and at the end */
	unsigned buffer_kib;	 /* of each CPU */
	bool heap;		 /* also kmalloc and kmem_cache_alloc with their frees */
	bool faults;		 /* also page faults of user programs */
	bool keep;		 /* leave the folder TRACE.kmt.recording */
	const char *tracefs;	 /* folder; NULL: where it is mounted */
	const char *instance;	 /* a buffer that exists and stays; NULL: one of our own */
	const char *proc;	 /* folder; NULL: /proc */
};

/* Records. *STATUS is the command's wait status, 0 without one. What was lost is said by
 * g_message(). On failure nothing is left of the recording, nor of the trace, and the error is:
 *   TRACE_ERROR_USAGE   no permission, or an unusable option
 *   TRACE_ERROR_IO      no tracefs, or it or a file cannot be read or written
 *   TRACE_ERROR_FORMAT  what was recorded cannot be imported
 * Context: changes the process's handling of SIGINT and SIGTERM while it runs. */
bool record(const struct record_options *options, int *status, GError **error);

#endif
