/*
 * check_ops.h - the operations of a conformance check: a list of trace events, so that what fails
 * is a .kmt trace. Misuse, which no owner's story has, stands in it as a note "check:..." that a
 * replay passes over and `kmemlab check` does.
 */
#ifndef KMEMLAB_SIM_CHECK_OPS_H
#define KMEMLAB_SIM_CHECK_OPS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "workloads/event.h"

#define CHECK_CPUS 2

/* In a list u.note.name is one of these; value[] as said. */
enum check_misuse {
	MISUSE_NONE = 0,
	MISUSE_DOUBLE_FREE,    /* of what handle value[0] had, free by now */
	MISUSE_FOREIGN_FREE,   /* of value[1] frames from value[0] on, where there is no RAM */
	MISUSE_FREE_OF_STATE,  /* the allocator's own metadata */
	MISUSE_FREE_OF_KERNEL, /* frames that the kernel took at boot */
	MISUSE_FREE_BEYOND,    /* handle value[0] and the frame behind it */
	MISUSE_FREE_NOTHING,   /* no frames, at handle value[0] */
	MISUSE_FREE_TOO_MANY,  /* 2^32 - 1 frames, at handle value[0] */
	MISUSE_REQUEST,	       /* value[0] frames aligned to value[1]: senseless */
	MISUSES
};

/* "check:double-free"; NULL for none. */
const char *check_misuse_name(unsigned misuse);

/* COUNT operations by seed for an allocator of those capabilities (enum frame_cap bits) on that map
 * (struct memory_range). Live frames rise past what there is and fall again. The last operation is
 * a double free if DOUBLE_FREE. Array of struct event. */
GArray *check_ops_generate(const GArray *memory_map, unsigned caps, uint64_t seed, uint64_t count,
			   bool double_free);
/* Single frames until there are none left, and a few more. */
GArray *check_ops_exhaust(const GArray *memory_map, uint64_t seed);
/* Drops what makes no sense since other operations were dropped: frees of handles that nobody
 * allocates, handles used twice, parts that are not there.
 * Numbers handles and times anew. */
void check_ops_make_valid(GArray *list);
/* A shrink.simplify(). */
bool check_ops_simplify(void *context, void *operation, unsigned step);

/* Writes a trace with that map. */
bool check_ops_save(const GArray *list, const GArray *memory_map, const char *path, GError **error);
/* Reads one; MEMORY_MAP: transfer full. Events that are no operations are left out. */
GArray *check_ops_load(const char *path, GArray **memory_map, GError **error);

/* "alloc handle 3: 4 frames aligned to 8"; free with g_free(). */
char *check_op_text(const struct event *operation);

#endif
