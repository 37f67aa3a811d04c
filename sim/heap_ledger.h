/*
 * heap_ledger.h - which object lies where, kept by the lab and never by a heap. It judges every
 * object handed out, knows what each holds (contents are written and verified by its caller through
 * heap_contents_*()), and every metric of heaps is computed from it.
 *
 * A bit for each 8 bytes of the direct map says whether an object lies there. Cost: take and
 * release are O(bytes / 512); host memory is touched only where objects are.
 */
#ifndef KMEMLAB_SIM_HEAP_LEDGER_H
#define KMEMLAB_SIM_HEAP_LEDGER_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "sim/ledger.h"

enum heap_verdict {
	HEAP_VERDICT_OK = 0,
	HEAP_VERDICT_TOO_SMALL, /* fewer usable bytes than asked for */
	HEAP_VERDICT_MISALIGNED,
	HEAP_VERDICT_OUT_OF_HEAP, /* in memory that the frame allocator did not give the heap */
	HEAP_VERDICT_OVERLAP,	  /* on a live object */
};
const char *heap_verdict_name(enum heap_verdict verdict);

enum heap_object_state { HEAP_OBJECT_NONE = 0, HEAP_OBJECT_LIVE, HEAP_OBJECT_FAILED };

/* By handle. */
struct heap_object {
	uint64_t offset; /* from the direct map's beginning */
	uint64_t bytes;	 /* asked for */
	uint64_t usable; /* handed out */
	uint32_t site;	 /* index into sites */
	uint16_t cpu;	 /* that allocated it */
	uint8_t state;	 /* enum heap_object_state */
	uint8_t unused;
};

/* One call site, or one cache of it. Sums are over the whole pass. */
struct heap_site {
	uint64_t address;
	uint32_t cache; /* string id, 0 none */
	uint64_t allocs, frees, failures, moved_cpu;
	uint64_t requested_bytes, usable_bytes;
	uint64_t live_objects, live_bytes, peak_bytes;
};

/* By the smallest order with 2^order >= bytes asked for. */
#define HEAP_SIZE_ORDERS 41
struct heap_size {
	uint64_t allocs, requested_bytes, usable_bytes, live_objects, failures;
};

/* L: live bytes asked for; M: bytes of the frames that the heap holds. */
struct heap_totals {
	uint64_t live_objects, live_bytes, usable_bytes;
	uint64_t allocs, frees, moved_cpu;
	uint64_t requested_bytes, handed_bytes; /* sums over all allocations */
	uint64_t least_bytes, most_bytes;	/* asked for and handed out; 0: none yet */
	uint64_t held_frames;
	uint64_t peak_live_bytes, held_at_peak_live; /* Wilson/Johnstone #2 */
	uint64_t peak_held_bytes, live_at_peak_held; /* #3, #4 */
	double ratio_sum;			     /* of M / L after each operation with L > 0 */
	uint64_t ratio_count;
};

/* After an operation; as many as HEAP_POINTS at equal distances, the last one apart. */
#define HEAP_POINTS 256u
struct heap_point {
	uint64_t operation; /* 1 .. */
	uint64_t live_bytes, held_frames;
};

struct heap_ledger;
/* HANDLES: 1 + the highest; MAP_BYTES: of the direct map; FRAMES, OWNER: the frame ledger and who
 * the heap is there. NULL where the host refuses the address space. */
struct heap_ledger *heap_ledger_new(uint64_t handles, uint64_t map_bytes,
				    const struct ledger *frames, uint32_t owner);
void heap_ledger_free(struct heap_ledger *ledger);

/* NULL: no such handle. */
struct heap_object *heap_ledger_object(struct heap_ledger *ledger, uint64_t handle);
/* Index of a call site, made if it is new. */
uint32_t heap_ledger_site(struct heap_ledger *ledger, uint64_t address, uint32_t cache);
const GArray *heap_ledger_sites(const struct heap_ledger *ledger); /* struct heap_site */
const struct heap_size *heap_ledger_sizes(const struct heap_ledger *ledger);
const struct heap_totals *heap_ledger_totals(const struct heap_ledger *ledger);
/* Of the operations so far, the last one among them: a new array. */
GArray *heap_ledger_points(const struct heap_ledger *ledger); /* struct heap_point */

/* The heap handed out OBJECT (offset, bytes, usable, site, cpu filled in) for HANDLE. Anything but
 * HEAP_VERDICT_OK leaves the ledger as it was. */
enum heap_verdict heap_ledger_take(struct heap_ledger *ledger, uint64_t handle,
				   const struct heap_object *object, uint64_t align_bytes);
/* A live object is given back by CPU. */
void heap_ledger_release(struct heap_ledger *ledger, uint64_t handle, unsigned cpu);
/* A live object is about to move or change its size: it has no place until the next
 * heap_ledger_place(), which is judged as heap_ledger_take() is. */
void heap_ledger_lift(struct heap_ledger *ledger, uint64_t handle);
enum heap_verdict heap_ledger_place(struct heap_ledger *ledger, uint64_t handle, uint64_t offset,
				    uint64_t bytes, uint64_t usable, uint64_t align_bytes);
void heap_ledger_failed(struct heap_ledger *ledger, uint32_t site, uint64_t bytes);

/* The heap got (or gave back, NEGATIVE) frames. */
void heap_ledger_held(struct heap_ledger *ledger, int64_t frames);
/* After each operation: what is summed over time. */
void heap_ledger_tick(struct heap_ledger *ledger);

/* Whether any of [offset, offset + bytes) lies in a live object. */
bool heap_ledger_covers(const struct heap_ledger *ledger, uint64_t offset, uint64_t bytes);

/* What an object holds: bytes that depend on its handle and their place. verify() returns the first
 * byte in [0, bytes) that differs, or UINT64_MAX. */
void heap_contents_write(void *object, uint64_t handle, uint64_t from, uint64_t bytes);
uint64_t heap_contents_verify(const void *object, uint64_t handle, uint64_t bytes);

#endif
