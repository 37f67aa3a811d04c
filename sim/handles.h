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

/* A hint that handles_get() of that number comes soon. */
static inline void handles_expect(const struct handles *handles, uint64_t number)
{
	if (number < handles->count)
		__builtin_prefetch(&handles->entry[number], 1);
}

/* What is wrong with an allocation as an event of a trace (a constant string); NULL: nothing. */
const char *handles_request_problem(const struct event *event);

/* All of the handle is free; its number may be used again. */
void handles_gone(struct handles *handles, uint64_t number);

/* Notes that [first, first + frames) of the requested frames were freed. False when they are not
 * all live. */
bool handles_free_part(struct handles *handles, uint64_t number, uint32_t first, uint32_t frames);

/* Calls VISIT for each run of the block that is still live: requested frames not freed, and what
 * was handed out beyond them as part of the last run. */
typedef void (*handles_visit_fn)(void *context, struct frame_block run, uint32_t requested);
void handles_live_runs(const struct handles *handles, uint64_t number, handles_visit_fn visit,
		       void *context);

#endif
