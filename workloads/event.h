/*
 * event.h - one event of a workload trace, as importers make it, the .kmt format stores it, and a
 * replay consumes it. Format-neutral: no file, no allocator.
 *
 * Two stories stand side by side in a recording (docs: workloads/FORMAT.md). The owners' story
 * (FRAME_*, HEAP_*, processes, touches) is what a workload asked for and is what a replay drives
 * allocators with. The buddy's story (BUDDY_*) is what the recorded kernel's own free lists did; a
 * replay skips it, a model of that kernel is checked against it.
 */
#ifndef KMEMLAB_WORKLOADS_EVENT_H
#define KMEMLAB_WORKLOADS_EVENT_H

#include <stdint.h>

enum event_kind {
	EVENT_NONE = 0,
	/* Owners' story: frames. A handle names an allocation from here to its last free. */
	EVENT_FRAME_ALLOC, /* u.frame: handle, frames, align, recorded first frame, zone, mobility
			    */
	EVENT_FRAME_FREE,  /* u.frame: handle; frames == 0: all that is left of it; else a part */
	EVENT_FRAME_ALLOC_FAILED, /* u.frame: what the recorded system could not serve; handle 0 */
	/* Owners' story: kernel heap objects and user-program objects. */
	EVENT_HEAP_ALLOC,	 /* u.heap */
	EVENT_HEAP_REALLOC,	 /* u.heap: handle keeps its name, bytes is the new size */
	EVENT_HEAP_FREE,	 /* u.heap: handle, site */
	EVENT_HEAP_ALLOC_FAILED, /* u.heap */
	/* Processes and address spaces; `task` of the event is the process that acts. */
	EVENT_SPAWN,	/* u.process: child; a new, empty space */
	EVENT_FORK,	/* u.process: child */
	EVENT_EXEC,	/* u.process: name */
	EVENT_EXIT,	/* u.process */
	EVENT_MMAP,	/* u.region: address, bytes, rights */
	EVENT_MUNMAP,	/* u.region */
	EVENT_MPROTECT, /* u.region */
	EVENT_BRK,	/* u.region: address is the new break */
	EVENT_TOUCH,	/* u.touch: address, bytes, access */
	/* Everything else. */
	EVENT_MARKER, /* u.marker: text, attachment */
	EVENT_NOTE,   /* u.note: an event of the recorder kept by name, with its numbers */
	/* Buddy's story of the recorded Linux. */
	EVENT_BUDDY_TAKE, /* u.buddy: a block left the free lists (mm_page_alloc_zone_locked) */
	EVENT_BUDDY_PUT,  /* u.buddy: a block entered them (drain, free_one_page, free_pages_ok) */
	EVENT_BUDDY_ISOLATE,  /* u.buddy: compaction took a free block out of the lists */
	EVENT_BUDDY_FALLBACK, /* u.buddy: mm_page_alloc_extfrag */
	EVENT_KINDS
};

/* Bits of struct event.flags. */
enum event_flag {
	EVENT_PROLOGUE =
		1 << 0, /* allocated before the recording began; in the start section only */
	EVENT_COMPACTION = 1 << 1, /* frames isolated by compaction, not asked for by an owner */
	EVENT_UNTRACED =
		1 << 2, /* inferred: freed twice in the recording, so allocated in between */
	EVENT_INFERRED = 1 << 3, /* inferred region, see MMAP */
	EVENT_REFILL = 1 << 4,	 /* BUDDY_TAKE for a per-CPU list (percpu_refill) */
	EVENT_IMPLIED =
		1 << 5, /* a free that the recording lacks: the frames were allocated anew */
};

enum event_zone {
	ZONE_ANY = 0,
	ZONE_DMA,
	ZONE_DMA32,
	ZONE_NORMAL,
	ZONE_HIGHMEM,
	ZONE_MOVABLE,
	EVENT_ZONES
};

/* Linux's migrate types, in its order (include/linux/mmzone.h). */
enum event_mobility {
	MOBILITY_UNMOVABLE = 0,
	MOBILITY_MOVABLE,
	MOBILITY_RECLAIMABLE,
	MOBILITY_HIGHATOMIC,
	MOBILITY_ISOLATE,
	EVENT_MOBILITIES
};

enum event_right {
	RIGHT_READ = 1,
	RIGHT_WRITE = 2,
	RIGHT_EXEC = 4,
	RIGHT_LARGE = 8, /* of mmap: large pages are asked for */
};

/* No recorded frame number is known. */
#define EVENT_NO_FRAME UINT64_MAX

/* The buddy's story: how a block entered or left the lists. */
enum event_buddy_path {
	BUDDY_PATH_ZONE_LOCKED = 0,
	BUDDY_PATH_PCPU_DRAIN,
	BUDDY_PATH_FREE_ONE,
	BUDDY_PATH_FREE_PAGES_OK
};

struct event {
	uint64_t time_ns; /* since the trace's first event; never decreasing within a CPU */
	uint8_t kind;	  /* enum event_kind */
	uint8_t flags;	  /* enum event_flag bits */
	uint16_t cpu;	  /* 0 .. 65534; 65535 unknown */
	uint32_t task;	  /* process number (pid) of the actor; 0 idle or unknown */
	union {
		struct {
			uint64_t handle; /* > 0 */
			uint64_t frame;	 /* recorded first frame, or EVENT_NO_FRAME */
			uint32_t frames; /* ALLOC: 1 ..; FREE: 0 all that is left, else the part's
					    count */
			uint32_t align_frames; /* ALLOC: power of two, in frames */
			uint32_t first_part;   /* FREE of a part: its first frame, counted from the
						  block's */
			uint8_t zone;	  /* enum event_zone: what the request allows at most */
			uint8_t mobility; /* enum event_mobility */
			uint16_t reserved;
			uint32_t gfp; /* the recorder's flags word, 0 if unknown */
		} frame;
		struct {
			uint64_t handle;
			uint64_t bytes;		 /* requested */
			uint64_t bytes_recorded; /* what the recorded heap gave, 0 unknown */
			uint64_t site;		 /* call site address or name id, 0 unknown */
			uint32_t align_bytes;	 /* 0: the heap's default */
			uint32_t cache;		 /* string id of the object cache's name, 0 none */
			uint32_t gfp;
		} heap;
		struct {
			uint32_t child; /* SPAWN, FORK */
			uint32_t name;	/* string id */
		} process;
		struct {
			uint64_t address;
			uint64_t bytes;
			uint32_t rights; /* enum event_right bits */
		} region;
		struct {
			uint64_t address;
			uint64_t ip; /* instruction pointer, 0 unknown */
			uint32_t bytes;
			uint8_t access; /* one of enum event_right, or RIGHT_READ|RIGHT_WRITE for
					   modify */
		} touch;
		struct {
			uint32_t text;	     /* string id */
			uint32_t attachment; /* 1 + index of an attached snapshot file, 0 none */
		} marker;
		struct {
			uint32_t name;	/* string id of the recorder's event name */
			uint32_t count; /* how many of value[] are meant */
			uint64_t value[4];
		} note;
		struct {
			uint64_t frame;
			uint8_t order;
			uint8_t mobility;
			uint8_t path;		   /* enum event_buddy_path */
			uint8_t fallback_order;	   /* FALLBACK */
			uint8_t fallback_mobility; /* FALLBACK */
			uint8_t change_ownership;  /* FALLBACK: the pageblock was claimed */
		} buddy;
	} u;
};

#endif
