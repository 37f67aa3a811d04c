/*
 * frame.h - the page-frame allocator slot: what every system F1..F11, and a user's own, implements.
 *
 * An allocator's state is memory that the caller supplies: in simulated RAM, virtually contiguous,
 * zeroed, aligned to a frame, sized by state_bytes(). There are no globals, so instances stand side
 * by side. Requests come through the front door below, which validates once; ops may rely on it.
 *
 * Calls of alloc and free on one state exclude one another: the front door takes a lock around
 * them where there are several CPUs, unless caps has FRAME_CAP_LOCKLESS. Everything else is for
 * when nobody allocates or frees.
 */
#ifndef KMEMLAB_ALLOC_FRAME_FRAME_H
#define KMEMLAB_ALLOC_FRAME_FRAME_H

#include "alloc/addr.h"
#include "alloc/kerr.h"
#include "alloc/memmap.h"
#include "alloc/reach.h"

/* What an allocator hands out. It may be larger than asked for; the excess is internal
 * fragmentation. */
struct frame_block {
	struct pfn first;
	uint32_t frames;
};

enum frame_zone {
	FRAME_ZONE_ANY = 0,
	FRAME_ZONE_DMA,
	FRAME_ZONE_DMA32,
	FRAME_ZONE_NORMAL,
	FRAME_ZONE_HIGHMEM,
	FRAME_ZONE_MOVABLE,
};

enum frame_mobility { FRAME_UNMOVABLE = 0, FRAME_MOVABLE, FRAME_RECLAIMABLE };

enum frame_request_flag {
	FRAME_AT = 1 << 0, /* exactly at `at`, or fail */
};

struct frame_request {
	uint32_t frames;       /* 1 .. 2^31 */
	uint32_t align_frames; /* power of two; 1: any */
	uint8_t zone;	       /* enum frame_zone; ignored without FRAME_CAP_ZONES */
	uint8_t mobility;      /* enum frame_mobility; ignored without FRAME_CAP_MOBILITY */
	uint16_t cpu;
	uint32_t flags; /* enum frame_request_flag */
	struct pfn at;	/* with FRAME_AT */
};

/* What a system can do; `list frames` prints the names in frame_cap_names[]. */
enum frame_cap {
	FRAME_CAP_RUNS = 1 << 0, /* contiguous blocks of more than one frame */
	FRAME_CAP_ANY_COUNT =
		1 << 1,		  /* runs of any length, not only powers of two (else rounded up) */
	FRAME_CAP_ALIGN = 1 << 2, /* alignments above the block's natural one */
	FRAME_CAP_AT = 1 << 3,	  /* FRAME_AT */
	FRAME_CAP_FREE = 1 << 4,  /* frees at all */
	FRAME_CAP_PARTIAL_FREE = 1 << 5, /* free of a part of an allocated block */
	FRAME_CAP_ZONES = 1 << 6,
	FRAME_CAP_MOBILITY = 1 << 7,
	FRAME_CAP_LOCKLESS = 1 << 8,
	FRAME_CAP_IN_FRAME = 1 << 9, /* keeps records inside free frames: reads and writes them */
	FRAME_CAP_TOUCHES_ALL = 1 << 10, /* writes into every free frame at init */
};

/* Names of the bits above, by bit number, NULL-terminated: "runs", "any-count", ... */
extern const char *const frame_cap_names[];

/* One setting of a system: `--set frames.KEY=VALUE`. */
struct frame_option {
	const char *key;
	const char *help;
	const char *const
		*choices;  /* NULL: a number; else names, NULL-terminated: the value is the index */
	uint64_t value;	   /* default */
	uint64_t min, max; /* inclusive; numbers only */
};

#define FRAME_OPTIONS_MAX 8

/* What boot hands to init besides the map. */
struct frame_config {
	struct reach reach;
	uint32_t cpus;			    /* 1 .. */
	uint64_t seed;			    /* for systems with a random policy */
	uint64_t option[FRAME_OPTIONS_MAX]; /* in the order of ops->options */
};

/* All options at their defaults, one CPU, seed 0, no reach (boot fills that in). */
struct frame_ops;
void frame_config_defaults(const struct frame_ops *ops, struct frame_config *config);

struct frame_stats {
	uint64_t managed_frames; /* handed over by init */
	uint64_t free_frames;	 /* could be handed out now */
	uint64_t kept_frames;	 /* taken for the allocator's own records since init */
	/* With FRAME_CAP_MOBILITY, else 0: allocations served from another mobility type's free
	 * blocks, and those of them whose block was smaller than a page block (metric 9). */
	uint64_t fallbacks;
	uint64_t fragmenting_fallbacks;
	/* Runs that a system with a brk refused while at least so many frames were free (22). */
	uint64_t brk_refused;
};

enum frame_state { FRAME_FREE = 0, FRAME_USED };

/* One extent of walk(). Return 0 to go on, anything else ends the walk, which returns KERR_STOP. */
struct frame_extent {
	struct pfn first;
	uint64_t frames;
	enum frame_state state;
};
typedef int (*frame_visit_fn)(void *ctx, const struct frame_extent *extent);

/* What check() found. */
struct violation {
	unsigned invariant; /* number in the theory block of the system's source file */
	struct pfn frame;   /* where */
	const char *what;   /* constant string: the invariant in words */
};

struct frame_ops {
	const char *name;    /* "buddy": the key in the CLI, in files and in plots */
	const char *id;	     /* row of the systems table, "F8"; "-" for the null one */
	const char *summary; /* one line */
	unsigned caps;	     /* enum frame_cap bits */
	const struct frame_option *options; /* ends with key == NULL; may be NULL */

	/* Bytes of state for that map. 0: refused, *why says the reason (constant string). */
	uint64_t (*state_bytes)(const struct memmap *map, const struct frame_config *config,
				const char **why);
	/* STATE is zeroed. Every frame of MAP is free afterwards. MAP stays valid as long as STATE.
	 */
	int (*init)(void *state, const struct memmap *map,
		    const struct frame_config *config) KERR_MUST_CHECK;
	/* 0 with *out; KERR_NO_MEMORY, KERR_UNSUPPORTED. */
	int (*alloc)(void *state, const struct frame_request *request,
		     struct frame_block *out) KERR_MUST_CHECK;
	/* BLOCK as handed out, or a part of it with FRAME_CAP_PARTIAL_FREE. 0; KERR_NOT_OWNED where
	 * it can tell; KERR_UNSUPPORTED without FRAME_CAP_FREE. */
	int (*free)(void *state, const struct frame_block *block) KERR_MUST_CHECK;
	void (*stats)(const void *state, struct frame_stats *out);
	/* Every free and used extent of the map, in address order. Adjacent extents of one state
	 * are allowed. */
	int (*walk)(const void *state, frame_visit_fn visit, void *ctx);
	/* All numbered invariants, the whole structure. 0, or KERR_CORRUPT with *violation. May
	 * take O(frames). */
	int (*check)(const void *state, struct violation *violation) KERR_MUST_CHECK;
};

/* A bound allocator: what the rest of the kernel holds. */
struct frames {
	const struct frame_ops *ops;
	void *state;
	struct spinlock *lock; /* around alloc and free (lock.h); NULL: none is needed, for there is
				  one CPU or the system is FRAME_CAP_LOCKLESS */
};

/* The front door. Validates (KERR_INVALID: no frames, more than 2^31, alignment no power of two;
 * KERR_UNSUPPORTED: a run, FRAME_AT or a free that caps exclude), then calls the system, holding
 * the lock if there is one. Context: any CPU. */
int frame_alloc(const struct frames *frames, const struct frame_request *request,
		struct frame_block *out) KERR_MUST_CHECK;
int frame_free(const struct frames *frames, const struct frame_block *block) KERR_MUST_CHECK;

/* All systems of this build, the null one first, NULL-terminated. */
extern const struct frame_ops *const frame_registry[];
const struct frame_ops *frame_find(const char *name);

#endif
