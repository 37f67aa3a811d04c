/*
 * owners.h - from raw events of a kernel recording to the two stories of a trace.
 *
 * The owners' story is what a workload asked for: every mm_page_alloc and mm_page_free, and the
 * frames that compaction isolated; the buddy's story (EVENT_BUDDY_*) is kept beside it. The rules
 * are those of architecture.md, "Semantics of a replay":
 *
 *   never seen --free--> PROLOGUE: allocated before event 0, put into the start section
 *   never seen --alloc-> live under a new handle
 *   live -------free---> freed; of fewer frames than the block: a partial free; of more frames: one
 *                        free for each handle under it
 *   live -------alloc--> the old handle is closed first (EVENT_IMPLIED), all that is left of it
 *   freed ------alloc--> live under a new handle
 *   freed ------free---> UNTRACED: somebody allocated the frame unseen; an order-0 allocation is
 * put right behind the event that had freed it
 *
 * The last rule writes into the past, so importing takes two passes: owners_add() spools events to
 * a temporary file and remembers the insertions, owners_read() merges them. Memory grows with
 * frames and live objects, not with events.
 *
 * Heap objects are followed by pointer in the same way: an allocation of a live pointer closes the
 * old object (EVENT_IMPLIED); kfree(NULL) is counted, no more. A free of a pointer never seen
 * becomes an EVENT_NOTE under the recorder's name with the pointer as its number: the recording
 * does not say how large that object was, so it cannot be in the start section. kmem_cache_alloc
 * names no cache; an object gets the name that its kmem_cache_free brings.
 *
 * What the recording does not tell, and what is put in its place: the mobility of prologue frames
 * is that of the pageblock in which they are seen to go back to the buddy's lists
 * (mm_page_pcpu_drain, free_one_page), movable if that is never seen; untraced and isolated frames
 * are movable.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_OWNERS_H
#define KMEMLAB_WORKLOADS_IMPORT_OWNERS_H

#include <glib.h>
#include <stdbool.h>
#include "workloads/event.h"
#include "workloads/import/frame_table.h"
#include "workloads/import/raw.h"
#include "workloads/trace.h"

struct owners;

/* FOLDER takes the temporary file. NULL with TRACE_ERROR_IO. */
struct owners *owners_new(const char *folder, GError **error);
void owners_free(struct owners *owners);

/* ---- first pass ---- */

/* Id (> 0) of a string, the same for the same text. Bytes that are not UTF-8 are replaced. */
uint32_t owners_string(struct owners *owners, const char *text, size_t bytes);
/* The process is called so from now on. */
void owners_task(struct owners *owners, uint32_t pid, const char *name, size_t bytes);
/* The recorder lost events here; 0: it does not say how many. Leaves a marker in the trace. */
bool owners_lost(struct owners *owners, const struct raw_event *where, uint64_t events,
		 GError **error);
/* How many were lost so far, losses of unknown number counted as one. */
uint64_t owners_lost_events(const struct owners *owners);
/* Takes the next event of the recording. Returns false with TRACE_ERROR_FORMAT (without a place:
 * the importer knows it) for one that cannot be, and has then changed nothing; or with
 * TRACE_ERROR_IO. */
bool owners_add(struct owners *owners, const struct raw_event *raw, GError **error);
/* Events taken so far. */
uint64_t owners_taken(const struct owners *owners);
/* What the recorder's clock said at the trace's time 0. */
uint64_t owners_first_ns(const struct owners *owners);

/* ---- second pass ---- */

/* From the first pass to the second. */
bool owners_seal(struct owners *owners, GError **error);
/* The start section: its size, and its INDEX-th event, by ascending recorded frame. */
uint64_t owners_start_count(const struct owners *owners);
void owners_start(const struct owners *owners, uint64_t index, struct event *out);
/* The next event of the story, complete but for string ids, which are those of owners_string():
 * process.name, marker.text, note.name, heap.cache, and heap.site where owners_site_is_name().
 * Returns 1, 0 at the end, -1 with error. */
int owners_read(struct owners *owners, struct event *out, GError **error);
/* Frames that owners have taken since event 0, less those that they gave back, up to the event read
 * last. */
int64_t owners_held_frames(const struct owners *owners);
const char *owners_text(const struct owners *owners, uint32_t string);
bool owners_site_is_name(uint64_t site);
/* What is known of a frame after the first pass; NULL if nothing. */
const struct frame_info *owners_frame(const struct owners *owners, uint64_t frame);
/* One past the highest frame in the recording. */
uint64_t owners_frame_end(const struct owners *owners);
/* Names of processes, in the order of their numbers. */
void owners_each_task(const struct owners *owners,
		      void (*visit)(uint32_t pid, const char *name, void *data), void *data);
/* Fills the counts of META that stem from the recording. */
void owners_counts(const struct owners *owners, struct trace_meta *meta);

#endif
