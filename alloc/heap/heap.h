/*
 * heap.h - the kernel-heap slot: what every system H1..H12, and a user's own, implements.
 *
 * A heap gets its frames from a page-frame allocator that is handed in (alloc/frame/frame.h), and
 * gives them back there. Its state is memory that the caller supplies: in simulated RAM, virtually
 * contiguous, zeroed, aligned to a frame, sized by state_bytes(). There are no globals, so
 * instances stand side by side. Requests come through the front door below, which validates once;
 * ops may rely on it.
 *
 * Calls on one state are not re-entrant. The current CPU (port_cpu()) may change between calls.
 */
#ifndef KMEMLAB_ALLOC_HEAP_HEAP_H
#define KMEMLAB_ALLOC_HEAP_HEAP_H

#include "alloc/frame/frame.h"

#define HEAP_ALIGN_DEFAULT 8u
#define HEAP_ALIGN_MAX	   (1u << 20)
#define HEAP_BYTES_MAX	   (1ull << 40) /* no request above this is ever served */

enum heap_request_flag {
	HEAP_ZERO = 1 << 0,	   /* the object's bytes are 0 */
	HEAP_NO_POINTERS = 1 << 1, /* a collector need not look into it */
	HEAP_PAGED = 1 << 2,	   /* may come from a pool that could be paged out */
};

/* `flags` does not stand beside `align_bytes`: a compiler would read both at once, out of two
 * stores that the caller made a moment ago, which no store buffer can forward. */
struct heap_request {
	uint64_t bytes; /* 0 is taken as 1: every object has an address of its own */
	uint32_t
		align_bytes; /* power of two up to HEAP_ALIGN_MAX; below HEAP_ALIGN_DEFAULT: that */
	uint32_t tag;	     /* owner, kept with HEAP_CAP_TAGS; 0 none */
	uint32_t flags;	     /* enum heap_request_flag */
	uint32_t cache;	     /* object cache with HEAP_CAP_CACHES (heap_cache_new()); 0 none */
	uint8_t zone;	     /* enum frame_zone, passed on to the frame allocator */
};

/* What a system can do; `list heaps` prints the names in heap_cap_names[]. */
enum heap_cap {
	HEAP_CAP_FREE = 1 << 0,		/* frees at all */
	HEAP_CAP_ANY_SIZE = 1 << 1,	/* objects of any size; else see largest() */
	HEAP_CAP_ALIGN = 1 << 2,	/* alignments above its natural one, to HEAP_ALIGN_MAX */
	HEAP_CAP_RESIZE = 1 << 3,	/* may grow or shrink an object where it stands */
	HEAP_CAP_TAGS = 1 << 4,		/* keeps an object's tag */
	HEAP_CAP_CACHES = 1 << 5,	/* object caches, with constructors */
	HEAP_CAP_GIVES_BACK = 1 << 6,	/* trim() leaves no frame held when no object lives */
	HEAP_CAP_FINDS_MISUSE = 1 << 7, /* refuses double and foreign frees */
	HEAP_CAP_COLLECTS = 1 << 8,	/* finds garbage by itself: free() only drops a root */
	HEAP_CAP_BOUNDED = 1 << 9,	/* time of alloc() and free() has a bound (frames aside) */
	HEAP_CAP_OUT_OF_BAND = 1 << 10, /* stores nothing into free objects */
};

/* Names of the bits above, by bit number, NULL-terminated. */
extern const char *const heap_cap_names[];

#define HEAP_OPTIONS_MAX FRAME_OPTIONS_MAX

/* What the kernel hands to init. */
struct heap_config {
	struct frames frames;	  /* where its frames come from; copied */
	struct reach reach;	  /* the direct map, bound (reach_bind()); copied */
	const struct memmap *map; /* what those frames can be; stays valid as long as the state */
	uint32_t cpus;		  /* 1 .. */
	uint64_t seed;		  /* of cookies and random policies */
	uint64_t option[HEAP_OPTIONS_MAX]; /* in the order of ops->options */
};

struct heap_stats {
	uint64_t held_frames;  /* got from the frame allocator and not given back */
	uint64_t used_objects; /* handed out */
	uint64_t used_bytes;   /* their usable sizes */
	uint64_t kept_bytes;   /* of the held frames: headers, descriptors, tables */
	uint64_t slots; /* objects, used or not, that its slabs are cut into; 0: it has none */
};

enum heap_state { HEAP_FREE = 0, HEAP_USED };

/* One extent of walk(): an object, or free memory that objects can come from. Return 0 to go on,
 * anything else ends the walk, which returns KERR_STOP. */
struct heap_extent {
	const void *at;
	uint64_t bytes; /* of an object: usable */
	enum heap_state state;
	uint32_t tag;
};
typedef int (*heap_visit_fn)(void *ctx, const struct heap_extent *extent);

/* What check() found. */
struct heap_violation {
	unsigned invariant; /* number in the theory block of the system's source file */
	const void *at;
	const char *what; /* constant string: the invariant in words */
};

/* Brings a fresh object into the state in which free() must get it back (Bonwick 1994). */
typedef void (*heap_constructor)(void *object, uint64_t bytes);

struct heap_cache_request {
	uint64_t bytes;
	uint32_t align_bytes;
	heap_constructor constructor; /* NULL: none */
};

struct heap_ops {
	const char *name; /* "size-classes": the key in the CLI, in files and in plots */
	const char *id;	  /* row of the systems table, "H1"; "-" for the null one */
	const char *summary;
	unsigned caps;			    /* enum heap_cap bits */
	const struct frame_option *options; /* ends with key == NULL; may be NULL */

	/* Bytes of state. 0: refused, *why says the reason (constant string). */
	uint64_t (*state_bytes)(const struct heap_config *config, const char **why);
	/* STATE is zeroed. KERR_NO_MEMORY where it needs frames at once and gets none. */
	int (*init)(void *state, const struct heap_config *config) KERR_MUST_CHECK;
	/* 0 with *out; KERR_NO_MEMORY; KERR_UNSUPPORTED (size, alignment: its caps say so). */
	int (*alloc)(void *state, const struct heap_request *request, void **out) KERR_MUST_CHECK;
	/* 0; KERR_NOT_OWNED where it can tell; KERR_UNSUPPORTED without HEAP_CAP_FREE. */
	int (*free)(void *state, void *object) KERR_MUST_CHECK;
	/* Makes the object's usable size at least BYTES without moving it. 0; KERR_NO_MEMORY.
	 * NULL without HEAP_CAP_RESIZE. */
	int (*resize)(void *state, void *object, uint64_t bytes) KERR_MUST_CHECK;
	/* Bytes that the owner may use; 0: no live object of this heap, where it can tell. */
	uint64_t (*usable)(const void *state, const void *object);
	/* The object's tag; NULL without HEAP_CAP_TAGS. */
	uint32_t (*tag)(const void *state, const void *object);
	/* Makes an object cache. 0 with its number (> 0); KERR_NO_MEMORY. NULL without
	 * HEAP_CAP_CACHES. */
	int (*cache_new)(void *state, const struct heap_cache_request *request,
			 uint32_t *out) KERR_MUST_CHECK;
	/* Reclaims what no root leads to: objects not freed, and what they point to. NULL without
	 * HEAP_CAP_COLLECTS. */
	void (*collect)(void *state);
	/* An owner has just stored VALUE, a pointer to an object or anything else, into an object.
	 * For collectors that mark while owners go on; others, and other heaps, need not be told.
	 * May be NULL. */
	void (*barrier)(void *state, const void *value);
	/* Gives back every frame that it can do without. May be NULL. */
	void (*trim)(void *state);
	void (*stats)(const void *state, struct heap_stats *out);
	/* Every object, and free extents where it knows them; in no particular order. */
	int (*walk)(const void *state, heap_visit_fn visit, void *ctx);
	/* All numbered invariants. 0, or KERR_CORRUPT with *violation. May take O(memory held). */
	int (*check)(const void *state, struct heap_violation *violation) KERR_MUST_CHECK;
};

/* A bound heap: what the rest of the kernel holds. */
struct heap {
	const struct heap_ops *ops;
	void *state;
};

/*
 * The front door.
 *
 * heap_alloc(): KERR_INVALID for an alignment that is no power of two or above HEAP_ALIGN_MAX;
 * KERR_NO_MEMORY above HEAP_BYTES_MAX, else as ops->alloc(). *out is untouched on failure.
 * heap_free(): freeing NULL is done at once.
 * heap_realloc(): *object NULL: an allocation. Otherwise the object keeps its contents up to the
 * smaller of both sizes and moves only if it must; request->bytes 0 shrinks it to the smallest
 * size. On failure it stays as it was. Cost: with a move, O(bytes).
 */
int heap_alloc_incomplete(const struct heap *heap, const struct heap_request *request,
			  void **out) KERR_MUST_CHECK; /* heap_alloc()'s other half */

/* Most requests are complete and need no copy. */
KERR_MUST_CHECK inline int heap_alloc(const struct heap *heap, const struct heap_request *request,
				      void **out)
{
	if (request->bytes - 1 < HEAP_BYTES_MAX && request->align_bytes == HEAP_ALIGN_DEFAULT &&
	    !(request->flags & HEAP_ZERO))
		return heap->ops->alloc(heap->state, request, out);
	return heap_alloc_incomplete(heap, request, out);
}

KERR_MUST_CHECK inline int heap_free(const struct heap *heap, void *object)
{
	return object ? heap->ops->free(heap->state, object) : 0;
}

int heap_realloc(const struct heap *heap, const struct heap_request *request,
		 void **object) KERR_MUST_CHECK;
/* KERR_UNSUPPORTED without HEAP_CAP_CACHES; KERR_INVALID as for heap_alloc(). */
int heap_cache_new(const struct heap *heap, const struct heap_cache_request *request,
		   uint32_t *out) KERR_MUST_CHECK;

/* All options at their defaults. */
void heap_config_defaults(const struct heap_ops *ops, struct heap_config *config);

/* All systems of this build, the null one first, NULL-terminated. */
extern const struct heap_ops *const heap_registry[];
const struct heap_ops *heap_find(const char *name);

#endif
