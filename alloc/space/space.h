/*
 * space.h - address spaces of processes: regions, the page-fault handler, fork, exit. Stands on a
 * page-frame allocator and a page-table system, both bound at start.
 *
 * What is done with memory that nobody has written, and by fork, is the policy's: the space slot
 * (V1 to V4, V7, V8). A policy is a set of mechanisms, all of them here; none has code of its own.
 *
 *     fault at va --> region? rights? --no--> report: what lies on each side    process dies
 *                        | yes
 *     page there? --no--> zero frame (read) | fresh frame | shared zero table
 *         | yes, write
 *     zero frame --> fresh frame;  one user --> write in place;  several --> copy
 *
 * Context: not re-entrant, one host thread. All state is in simulated RAM.
 */
#ifndef KMEMLAB_ALLOC_SPACE_SPACE_H
#define KMEMLAB_ALLOC_SPACE_SPACE_H

#include "alloc/space/objects.h"
#include "alloc/table/table.h"

enum space_right {
	SPACE_READ = 1 << 0,
	SPACE_WRITE = 1 << 1,
	SPACE_EXEC = 1 << 2,
	SPACE_LARGE = 1 << 3, /* to space_map(): large pages are asked for */
};
#define SPACE_RIGHTS 7u

enum space_cap {
	SPACE_CAP_DEMAND = 1 << 0,     /* V1: pages at first touch */
	SPACE_CAP_ZERO_FRAME = 1 << 1, /* V2: one zero frame until written */
	SPACE_CAP_ZERO_TABLE = 1 << 2, /* V3: a whole table of it, shared */
	SPACE_CAP_COW = 1 << 3,	       /* V4: fork shares; without it fork copies */
	SPACE_CAP_GUARDS = 1 << 4,     /* V7: null page and guard pages */
	SPACE_CAP_EXIT = 1 << 5,       /* V8: exit returns everything */
	SPACE_CAP_LARGE = 1 << 6,      /* V10: large pages where frames are contiguous */
};
extern const char *const space_cap_names[];

#define SPACE_OPTIONS_MAX 4

struct space_ops {
	const char *name; /* "cow" */
	const char *id;	  /* "V4"; "-" for the null one */
	const char *summary;
	unsigned caps;
	const struct frame_option *options; /* ends with key == NULL */
};

/* Options of every policy, in this order. */
enum space_option {
	SPACE_OPTION_PROCESSES = 0, /* most address spaces at a time; 0: what memory allows */
	SPACE_OPTION_GUARD_PAGES,   /* with guards: a touch so near a region is told as its guard */
	SPACE_OPTION_LARGE,	    /* with large pages: enum space_large */
};

/* SPACE_OPTION_LARGE: which regions get large pages where frames are contiguous. */
enum space_large { SPACE_LARGE_NEVER = 0, SPACE_LARGE_ASKED, SPACE_LARGE_ALWAYS };

struct spaces_config {
	const struct table_ops *table_ops;
	struct table_config tables;
	const struct space_ops *policy;
	uint64_t option[SPACE_OPTIONS_MAX];
};

struct region;

struct space {
	struct table_root root;
	struct region *regions;
	uint64_t region_count;
	uint64_t pages;		/* of 4 KiB, mapped to other frames than the zero frame */
	uint64_t brk_base, brk; /* 0: no heap yet */
	struct space *next, *previous;
};

/* What a page fault came to. */
enum space_fault {
	SPACE_FAULT_NONE = 0,
	SPACE_FAULT_SPURIOUS,	/* allowed by the tables: another CPU was faster */
	SPACE_FAULT_ZERO,	/* the zero frame, for reading */
	SPACE_FAULT_ZERO_TABLE, /* a table of it */
	SPACE_FAULT_FRESH,	/* a new frame, cleared */
	SPACE_FAULT_LARGE,	/* a new large page, cleared */
	SPACE_FAULT_FROM_ZERO,	/* a new frame in place of the zero frame */
	SPACE_FAULT_COPY,	/* a copy of a shared frame */
	SPACE_FAULT_REUSE,	/* the last user of a shared frame writes in place */
	SPACE_FAULT_BAD,	/* no region, or not its rights: the process dies */
	SPACE_FAULT_NO_MEMORY,
	SPACE_FAULTS
};
extern const char *const space_fault_names[]; /* "spurious", "zero", ... by number */

/* A region as others see it; end == 0: there is none. */
struct space_extent {
	uint64_t base, end;
	uint8_t rights;
};

/* V7: what lies around a touch that was refused. */
struct space_report {
	enum space_fault fault;
	uint64_t address;
	bool null_page, guard; /* in the null page; within guard pages of a neighbour */
	struct space_extent at, below, above;
};

struct space_stats {
	uint64_t faults[SPACE_FAULTS];
	uint64_t copies;	/* pages copied, by faults and by forks */
	uint64_t shared;	/* pages that forks shared */
	uint64_t large_refused; /* large pages that could be, and no block was free */
	uint64_t user_frames;	/* frames that hold users' pages now */
	uint64_t user_frames_peak;
	uint64_t mapped_pages; /* of all spaces, now */
	uint64_t spaces, spaces_peak, regions;
};

struct spaces {
	struct tables *tables;
	struct frames frames;
	struct reach reach;
	const struct space_ops *policy;
	uint64_t option[SPACE_OPTIONS_MAX];
	struct pfn zero; /* the zero frame */
	bool large;	 /* large pages are possible: policy, machine and allocator */
	struct objects space_objects, region_objects;
	struct space *first; /* all of them */
	struct space_stats stats;
};

/* All at their defaults. */
void spaces_config_defaults(const struct table_ops *tables, const struct space_ops *policy,
			    struct spaces_config *config);

/* Bytes of state; 0: refused, *why says the reason. */
uint64_t spaces_state_bytes(const struct spaces_config *config, const char **why);
/* STATE: zeroed, in the direct map, aligned to 64. Returns 0, KERR_NO_MEMORY, KERR_UNSUPPORTED. */
int spaces_init(const struct spaces_config *config, void *state,
		struct spaces **out) KERR_MUST_CHECK;
/* Gives back what spaces_init() took and boot did not give; all spaces are gone. Page tables of
 * the kernel's half stay. */
void spaces_fini(struct spaces *s);

/* A new, empty space. KERR_NO_MEMORY: no frame, or the limit of processes or directories. */
int space_new(struct spaces *s, struct space **out) KERR_MUST_CHECK;
/* A space like PARENT. KERR_NO_MEMORY with nothing left of it; PARENT is as it was, though pages of
 * it may fault once more. Cost: O(regions + pages). */
int space_fork(struct spaces *s, struct space *parent, struct space **out) KERR_MUST_CHECK;
/* Everything that only it owned comes back. No other CPU runs it. */
void space_free(struct spaces *s, struct space *space);

/* [base, end), multiples of 4 KiB: a region with these rights; what was there goes. KERR_INVALID:
 * empty, outside the user half, the null page of a guarded space; KERR_NO_MEMORY. With SPACE_LARGE
 * it gets large pages at first touch, where they fit in and a block is free, else small ones. */
int space_map(struct spaces *s, struct space *space, uint64_t base, uint64_t end,
	      unsigned rights) KERR_MUST_CHECK;
int space_unmap(struct spaces *s, struct space *space, uint64_t base, uint64_t end) KERR_MUST_CHECK;
/* Parts that belong to no region are left alone. */
int space_protect(struct spaces *s, struct space *space, uint64_t base, uint64_t end,
		  unsigned rights) KERR_MUST_CHECK;
/* The first break is where the heap begins; later ones grow and shrink it. */
int space_brk(struct spaces *s, struct space *space, uint64_t brk) KERR_MUST_CHECK;

/* This CPU runs SPACE from now on; NULL: the kernel alone. */
void space_switch(struct spaces *s, struct space *space);

/* A #PF of SPACE's user code. REPORT says what it came to. Returns 0 when the access is to be done
 * again; KERR_INVALID: it may not be; KERR_NO_MEMORY. */
int space_fault(struct spaces *s, struct space *space, struct vaddr va, uint32_t error_code,
		struct space_report *report) KERR_MUST_CHECK;

/* The invariants of space.c, region.c and table_check.c for one space. 0, or KERR_CORRUPT. */
int space_check(struct spaces *s, struct space *space, struct violation *violation) KERR_MUST_CHECK;

extern const struct space_ops *const space_registry[];
const struct space_ops *space_find(const char *name);

#endif
