/*
 * handles.h - from the trace's names for allocations to the frames that an allocator gave: the
 * lab's handle table. Partial frees are rare; which parts are gone is kept aside for the handles
 * that have any.
 */
#ifndef KMEMLAB_SIM_HANDLES_H
#define KMEMLAB_SIM_HANDLES_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "alloc/frame/frame.h"
#include "workloads/event.h"

#define HANDLES_FRAMES_MAX (1u << 31) /* of one request (alloc/frame/frame.h) */

enum handle_state {
	HANDLE_UNUSED = 0,
	HANDLE_LIVE,
	HANDLE_FAILED, /* its allocation failed; later events on it are skipped */
	HANDLE_GONE,
};

struct handle {
	uint64_t first;	    /* frame */
	uint32_t frames;    /* handed out */
	uint32_t requested; /* asked for */
	uint32_t left;	    /* of the requested ones, not freed yet */
	uint8_t state;	    /* enum handle_state */
	uint8_t mobility;
};

struct handles {
	struct handle *entry; /* by number */
	uint64_t count;
	GHashTable *parts; /* handle number -> GByteArray: one byte a requested frame, 1 freed */
	uint64_t cut;	   /* handles in it */
};

/* COUNT: 1 + the highest number. The table is touched, so that it costs no page faults later. */
bool handles_init(struct handles *handles, uint64_t count, GError **error);
/* The same numbers and more: up to COUNT - 1; COUNT is not below handles->count. */
bool handles_grow(struct handles *handles, uint64_t count, GError **error);
void handles_fini(struct handles *handles);

/* NULL when the number is beyond the table. */
static inline struct handle *handles_get(const struct handles *handles, uint64_t number)
{
	return number > 0 && number < handles->count ? &handles->entry[number] : NULL;
}

/* A hint that handles_get() of that number comes soon. An entry may lie across two cache lines. */
static inline void handles_expect(const struct handles *handles, uint64_t number)
{
	if (number < handles->count) {
		__builtin_prefetch(&handles->entry[number].first, 1);
		__builtin_prefetch(&handles->entry[number].state, 1);
	}
}

/* What is wrong with an allocation as an event of a trace (a constant string); NULL: nothing. */
static inline const char *handles_request_problem(const struct event *event)
{
	uint32_t frames = event->u.frame.frames, align = event->u.frame.align_frames;

	if (event->u.frame.handle == 0)
		return "an allocation without a handle";
	if (frames == 0 || frames > HANDLES_FRAMES_MAX)
		return "an allocation of no frames, or of more than 2^31";
	if (align & (align - 1))
		return "an alignment that is no power of two";
	if (event->u.frame.zone >= EVENT_ZONES || event->u.frame.mobility >= EVENT_MOBILITIES)
		return "an allocation in no known zone or of no known mobility";
	return NULL;
}

/* No part of the handle is known to be freed any more. */
void handles_forget_parts(struct handles *handles, uint64_t number);

/* All of the handle is free; its number may be used again. */
static inline void handles_gone(struct handles *handles, uint64_t number)
{
	handles->entry[number].state = HANDLE_GONE;
	if (handles->cut)
		handles_forget_parts(handles, number);
}

/* Notes that [first, first + frames) of the requested frames were freed. False when they are not
 * all live. */
bool handles_free_part(struct handles *handles, uint64_t number, uint32_t first, uint32_t frames);

/* Calls VISIT for each run of the block that is still live: requested frames not freed, and what
 * was handed out beyond them as part of the last run. */
typedef void (*handles_visit_fn)(void *context, struct frame_block run, uint32_t requested);
void handles_live_runs(const struct handles *handles, uint64_t number, handles_visit_fn visit,
		       void *context);

#endif
