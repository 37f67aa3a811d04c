/*
 * copy.h - events on their way from one trace into another: strings and attachments get the numbers
 * that they have there; what the file says about the whole is counted anew.
 */
#ifndef KMEMLAB_WORKLOADS_TOOLS_COPY_H
#define KMEMLAB_WORKLOADS_TOOLS_COPY_H

#include "workloads/tools/live.h"
#include "workloads/trace.h"

enum copy_text { COPY_NAME, COPY_MARKER, COPY_CACHE, COPY_SITE, COPY_NOTE };

struct copy {
	struct trace_reader *reader;
	struct trace_writer *writer;
	const GPtrArray *list; /* struct trace_attachment * of the reader */
	GArray *attachments;   /* uint32_t: the writer's number by the reader's index, 0 not yet */
	/* Another text for a string (transfer full); NULL: as it is. */
	char *(*rename)(void *data, enum copy_text what, const char *text);
	void *data;
	bool no_attachments;
	uint64_t time_base;	      /* subtracted from all times */
	uint64_t attachment_shift_ns; /* added to those of attachments: events come with theirs */
	/* With copy_renumber(): handles are given out anew, in the order of allocation, so that
	 * there are no more than allocations. Replays keep a table of them. */
	GHashTable *numbers; /* uint64_t * handle read -> uint64_t * handle written */
	struct live *live;   /* after the event written last; may be shared */
	uint64_t *handles;   /* given out so far; may be shared */
	uint64_t own_handles;
	bool own_live;
	/* Counted as events go by. */
	uint64_t implied_frees, untraced_allocs, compaction_allocs;
};

/* Returns false with error. */
bool copy_init(struct copy *copy, struct trace_reader *reader, struct trace_writer *writer,
	       GError **error);
void copy_fini(struct copy *copy);
/* Before the first event. LIVE and HANDLES (NULL: the copy's own) are shared by copies that write
 * one after the other into one trace. */
void copy_renumber(struct copy *copy, struct live *live, uint64_t *handles);
/* The handle that is written for one that was read, 0 if none is alive. */
uint64_t copy_handle(const struct copy *copy, uint64_t handle);
void copy_map_handle(struct copy *copy, uint64_t handle, uint64_t written);
/* Adds an event, its time, strings and attachment changed; a snapshot is attached with its marker.
 */
bool copy_event(struct copy *copy, struct event event, GError **error);
bool copy_start(struct copy *copy, struct event event, GError **error);
/* Names of processes, their numbers raised by OFFSET. */
void copy_tasks(struct copy *copy, uint32_t offset);
/* A copy of what the trace says about itself, with the counts of the events that went by. */
struct trace_meta *copy_meta(const struct copy *copy);

#endif
