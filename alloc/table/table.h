/*
 * table.h - the page-table slot: how a kernel reaches its page tables, and where their frames come
 * from. Every system T0..T7, and a user's own, implements struct table_ops; map, unmap, protect,
 * query, walk, share and clear are made of it once, in table_map.c and table_range.c, so that
 * systems differ in nothing but what makes them themselves.
 *
 *                      front door (this file)
 *      table_map()  table_unmap()  table_protect()  table_share() ...
 *            |  entries read and exchanged, invalidations that are owed (gather.c)
 *            v
 *      struct table_ops:  enter, open, close, table_new, table_free, unlinked, root_new, root_free
 *        direct  |  recursive  |  window  |  directories  |  pool  |  preallocated
 *
 * State is memory that the caller supplies, in simulated RAM: struct tables, then a record for each
 * CPU, then the system's own. No globals. Not re-entrant; one host thread.
 *
 * What is owed (SDM 3, 4.10.4): an entry that was present and accessed, and now maps another frame,
 * nothing, or with fewer rights, is invalidated on every CPU that runs the space, before its frame
 * may be used again. An entry with A = 0 was never cached (4.10.2.3) and owes nothing, as FreeBSD's
 * pmap does it. Entries that become present, or gain rights, owe nothing (4.10.4.3).
 */
#ifndef KMEMLAB_ALLOC_TABLE_TABLE_H
#define KMEMLAB_ALLOC_TABLE_TABLE_H

#include "alloc/frame/frame.h"
#include "alloc/table/geometry.h"

enum table_right {
	TABLE_WRITE = 1 << 0,
	TABLE_EXEC = 1 << 1, /* without it: XD, where the mode has it */
	TABLE_USER = 1 << 2,
	TABLE_GLOBAL = 1 << 3, /* kernel mappings that all spaces share */
};

/* What one entry maps. */
struct table_leaf {
	struct paddr paddr; /* of its first byte */
	uint8_t level;	    /* 0: 4 KiB */
	uint8_t rights;	    /* enum table_right */
	bool accessed, dirty;
};

/* The page tables of one address space. In simulated RAM; the caller owns the memory. */
struct table_root {
	struct paddr cr3;
	struct pfn top[TABLE_TOP_FRAMES];
	struct table_root *next, *previous;   /* all of them: kernel changes are copied into each */
	uint64_t table_frames;		      /* top included */
	uint32_t number;		      /* of its permanently mapped directory (T5) */
	uint64_t companion[TABLE_TOP_FRAMES]; /* kernel addresses (T6) */
};

/* Where a kernel's address space has room for what a system needs; 0: nowhere. */
struct table_layout {
	struct vaddr own_slot;	   /* recursive slot: first address that it shows */
	struct vaddr foreign_slot; /* the second one */
	struct vaddr windows;	   /* temporary windows: one large page's span a system */
	struct vaddr high;	   /* windows for frames beyond the direct map: one large page's */
	struct vaddr directories;  /* permanently mapped top tables */
	uint32_t directories_max;  /* how many address spaces they have room for */
};

#define TABLE_OPTIONS_MAX 4

struct table_config {
	enum boot_paging paging;
	struct table_layout layout;
	struct reach reach;
	struct frames frames;	 /* of page tables */
	unsigned frame_caps;	 /* of the allocator behind it */
	struct pfn frames_first; /* frames that can be page tables or pages: [first, end) */
	struct pfn frames_end;
	uint32_t cpus;
	bool small_only;		    /* the CPU has no large pages in this mode */
	uint64_t option[TABLE_OPTIONS_MAX]; /* in the order of ops->options */
};

enum table_cap {
	TABLE_CAP_SPACES = 1 << 0,  /* address spaces at all */
	TABLE_CAP_FOREIGN = 1 << 1, /* reaches another space's tables without loading it */
	TABLE_CAP_LIMIT = 1 << 2,   /* has a limit of address spaces */
	TABLE_CAP_SHARED = 1 << 3,  /* kernel tables are never copied after boot */
	TABLE_CAP_HIGH = 1 << 4,    /* tables below the top may be beyond the direct map */
};
extern const char *const table_cap_names[];

/* Counts since init. */
struct table_stats {
	uint64_t invlpg;     /* issued here */
	uint64_t flushes;    /* loads of CR3 that are there to empty the TLB */
	uint64_t loads;	     /* loads of CR3 that change the space that runs */
	uint64_t visits;     /* loads of CR3 to reach a foreign space's tables, and back */
	uint64_t shootdowns; /* requests sent to other CPUs */
	uint64_t spared;     /* invalidations that A = 0 made unnecessary */
	uint64_t slot_moves; /* temporary windows and foreign slots pointed elsewhere */
	uint64_t tables_made, tables_freed;
	uint64_t table_frames, table_frames_peak;
	uint64_t top_copies; /* kernel entries copied into a space after it was made */
	uint64_t splits;     /* large pages and shared zero tables taken apart */
};

struct table_cpu {
	struct table_root *running; /* whose user code this CPU runs */
	struct table_root *loaded; /* whose tables CR3 leads to: another only inside an operation */
	struct table_root *foreign; /* what the second recursive slot shows (T3) */
	uint64_t foreign_flushed;   /* tables.foreign_uses when this CPU last flushed */
	uint32_t slot;		    /* T4: watermark, or height of the stack of free slots */
	uint32_t high;		    /* windows of high.c that are open */
};

struct table_ops;

/* A bound system: the front of its state. */
struct tables {
	const struct table_ops *ops;
	const struct table_geometry *geometry;
	struct table_config config;
	struct reach reach;
	struct table_cpu *cpu;
	uint32_t
		*uses; /* by frame: entries of a table that are present; users of a page (space/) */
	void *own;     /* the system's part of the state */
	struct pfn zero_table; /* the shared table of zero pages, which map operations take apart */
	struct pfn zero_frame;
	bool has_zero_table;
	bool has_high;		  /* there is RAM beyond the direct map */
	void *high_entries;	  /* of the windows to it, in the direct map */
	uint64_t foreign_uses;	  /* how often any CPU looked through the second slot (T3) */
	struct table_root kernel; /* boot's own */
	struct table_stats stats;
};

/* [base, base + bytes) is not for mapping. */
struct table_kept {
	struct vaddr base;
	uint64_t bytes;
};

struct table_ops {
	const char *name;    /* "recursive": the key in the CLI, in files and in plots */
	const char *id;	     /* row of the systems table, "T2" */
	const char *summary; /* one line */
	unsigned caps;	     /* enum table_cap */
	const struct frame_option *options; /* ends with key == NULL; may be NULL */

	/* Bytes of the system's own state. UINT64_MAX: refused, *why says the reason. */
	uint64_t (*own_bytes)(const struct table_config *config, const char **why);
	/* Addresses that the system keeps for itself in the kernel's half, by number; bytes 0: no
	 * more. NULL: none. */
	struct table_kept (*kept)(const struct tables *t, unsigned number);
	/* T->own is zeroed; the kernel root stands, and is loaded on all CPUs. */
	int (*init)(struct tables *t) KERR_MUST_CHECK;
	/* Before the tables of ROOT are opened, and again after those of another. May be NULL. */
	void (*enter)(struct tables *t, struct table_root *root);
	/* The entries of the table of LEVEL on VA's way, which stands in FRAME. One is open at a
	 * time. */
	void *(*open)(struct tables *t, struct table_root *root, unsigned level, struct vaddr va,
		      struct pfn frame);
	void (*close)(struct tables *t, void *entries);
	/* A zeroed frame for a table, not linked yet; and when it is linked no more and nothing
	 * caches it. */
	int (*table_new)(struct tables *t, unsigned level, struct pfn *frame) KERR_MUST_CHECK;
	void (*table_free)(struct tables *t, unsigned level, struct pfn frame);
	/* The entry above a table was written, or cleared (ACCESSED: it had A = 1). May be NULL. */
	void (*linked)(struct tables *t, struct table_root *root, unsigned level, struct vaddr va,
		       struct pfn frame);
	void (*unlinked)(struct tables *t, struct table_root *root, unsigned level, struct vaddr va,
			 bool accessed);
	/* A root whose top table has its kernel half; when it goes. May be NULL. */
	int (*root_new)(struct tables *t, struct table_root *root) KERR_MUST_CHECK;
	void (*root_free)(struct tables *t, struct table_root *root);
	/* Before CR3 leads to another root than cpu->loaded. May be NULL. */
	void (*unload)(struct tables *t);
	/* An operation ends: see table_settle(). May be NULL. */
	void (*settle)(struct tables *t);
};

/* All options at their defaults. */
void table_config_defaults(const struct table_ops *ops, struct table_config *config);

/* Bytes of state, aligned to 64. 0: refused, *why is the reason (constant string): a mode, a layout
 * or an allocator that the system cannot work with. */
uint64_t table_state_bytes(const struct table_ops *ops, const struct table_config *config,
			   const char **why);

/* STATE: zeroed. Paging is on, with boot's tables. KERR_NO_MEMORY. Context: CPU 0, once. */
int table_init(const struct table_ops *ops, const struct table_config *config,
	       void *state) KERR_MUST_CHECK;

/* A new space with the kernel's half and nothing else. ROOT: zeroed. KERR_NO_MEMORY: no frame, or
 * no more room for directories; nothing has changed. Cost: a table's worth of copying. */
int table_root_new(struct tables *t, struct table_root *root) KERR_MUST_CHECK;
/* The space's user half is empty and no CPU runs it. */
void table_root_free(struct tables *t, struct table_root *root);

/* This CPU runs ROOT's user code from now on. Cost: a load of CR3 unless it did already. */
void table_run(struct tables *t, struct table_root *root);
/* At the end of every operation: CR3 leads to what this CPU runs again. */
void table_settle(struct tables *t);

/* Maps the page of LEVEL's size at VA to PA; both aligned to it. KERR_INVALID: something is mapped
 * there, a table is linked there, alignment, a level without leaves, an address outside of the half
 * or kept by the system (ops->kept); KERR_NO_MEMORY, with nothing changed. */
int table_map(struct tables *t, struct table_root *root, struct vaddr va, struct paddr pa,
	      unsigned level, unsigned rights) KERR_MUST_CHECK;

/* A page is present at VA: its 4 KiB map PA from now on. *OLD: what they were. Invalidates if owed.
 * KERR_NO_MEMORY: a large page or a shared zero table could not be taken apart; KERR_INVALID: not
 * mapped. */
int table_replace(struct tables *t, struct table_root *root, struct vaddr va, struct paddr pa,
		  unsigned rights, struct table_leaf *old) KERR_MUST_CHECK;

/* The page at VA, of whatever size, gains RIGHTS; it loses none. Nothing is owed (SDM 3, 4.10.4.3).
 * KERR_INVALID: not mapped. */
int table_grant(struct tables *t, struct table_root *root, struct vaddr va,
		unsigned rights) KERR_MUST_CHECK;

/* Called for each leaf; VA is its first address. Return 0 to go on, else the walk ends with
 * KERR_STOP. May not change the space. */
typedef int (*table_visit_fn)(void *context, struct vaddr va, const struct table_leaf *leaf);

/* Unmaps [va, end), multiples of 4 KiB; large pages that lie partly inside are split. VISIT is
 * called for what was mapped when it is invalidated everywhere, so that its frames may be freed;
 * pages of shared zero tables are not visited. Tables that become empty are freed. KERR_NO_MEMORY:
 * a split, with nothing changed; KERR_INVALID: some of it is kept by the system. */
int table_unmap(struct tables *t, struct table_root *root, struct vaddr va, struct vaddr end,
		table_visit_fn visit, void *context) KERR_MUST_CHECK;

/* Pages mapped in [va, end) get these rights; A and D stay. The right to write is kept or lost,
 * never gained: which page may be written in place the fault handler knows. Splits as
 * table_unmap(). */
int table_protect(struct tables *t, struct table_root *root, struct vaddr va, struct vaddr end,
		  unsigned rights) KERR_MUST_CHECK;

/* What maps VA. False: nothing. */
bool table_query(struct tables *t, struct table_root *root, struct vaddr va,
		 struct table_leaf *leaf);

/* Level of the missing entry on VA's way: what it spans is unmapped, without a table. -1: VA is
 * mapped. */
int table_hole(struct tables *t, struct table_root *root, struct vaddr va);

/* Visits what is mapped in [va, end), in address order, shared zero tables included. */
int table_walk(struct tables *t, struct table_root *root, struct vaddr va, struct vaddr end,
	       table_visit_fn visit, void *context);

/* Maps what FROM maps in [va, end) in TO as well, the same frames without the right to write, which
 * FROM's entries lose too. VISIT is called for each that TO has. KERR_NO_MEMORY: TO has a part,
 * which was visited. */
int table_share(struct tables *t, struct table_root *from, struct table_root *to, struct vaddr va,
		struct vaddr end, table_visit_fn visit, void *context) KERR_MUST_CHECK;

/* Links the shared zero table where a whole table's span of TO is unmapped. KERR_INVALID: it is
 * not, or there is no such table. */
int table_link_zero(struct tables *t, struct table_root *root, struct vaddr va) KERR_MUST_CHECK;
/* Makes the shared zero table: every entry maps FRAME, for reading by users. */
int table_make_zero(struct tables *t, struct pfn frame) KERR_MUST_CHECK;
void table_drop_zero(struct tables *t);

/* Any frame's contents, those beyond the direct map through one of a few windows of this CPU (see
 * high.c), until it is closed: the last that was opened first. Cost: an addition in the direct map;
 * else two stores and an INVLPG. */
void *table_frame_open(struct tables *t, struct pfn frame);
void table_frame_close(struct tables *t, void *contents);

/* One frame for the kernel's own use, in the direct map, not cleared. */
int table_take_kernel_frame(struct tables *t, struct pfn *frame) KERR_MUST_CHECK;
void table_give_kernel_frame(struct tables *t, struct pfn frame);

/* The numbered invariants of table_check.c for one space: 0, or KERR_CORRUPT. O(its tables). */
int table_check(struct tables *t, struct table_root *root,
		struct violation *violation) KERR_MUST_CHECK;

/* Users of a frame: present entries of a page table, or spaces that map a page. */
static inline uint32_t *table_uses(const struct tables *t, struct pfn frame)
{
	return &t->uses[frame.n - t->config.frames_first.n];
}

/* All systems of this build, the null one first, NULL-terminated. */
extern const struct table_ops *const table_registry[];
const struct table_ops *table_find(const char *name);

#endif
