/*
 * systems.h - the systems of this build, and what they share. Private to alloc/table/.
 */
#ifndef KMEMLAB_ALLOC_TABLE_SYSTEMS_H
#define KMEMLAB_ALLOC_TABLE_SYSTEMS_H

#include "alloc/table/table.h"

extern const struct table_ops table_none;
extern const struct table_ops table_direct;
extern const struct table_ops table_recursive;
extern const struct table_ops table_foreign;
extern const struct table_ops table_window;
extern const struct table_ops table_directories;
extern const struct table_ops table_pool;
extern const struct table_ops table_preallocated;

/* ---- entries ---- */

static inline uint64_t entry_get(const struct tables *t, const void *entries, unsigned index)
{
	return t->geometry->wide
		       ? __atomic_load_n((const uint64_t *)entries + index, __ATOMIC_RELAXED)
		       : __atomic_load_n((const uint32_t *)entries + index, __ATOMIC_RELAXED);
}

/* After what is in the page or table that it points to: another CPU may walk at once. */
static inline void entry_set(const struct tables *t, void *entries, unsigned index, uint64_t entry)
{
	if (t->geometry->wide)
		__atomic_store_n((uint64_t *)entries + index, entry, __ATOMIC_RELEASE);
	else
		__atomic_store_n((uint32_t *)entries + index, (uint32_t)entry, __ATOMIC_RELEASE);
}

/* In one access, so that no A or D that a CPU sets meanwhile is lost. */
static inline uint64_t entry_exchange(const struct tables *t, void *entries, unsigned index,
				      uint64_t entry)
{
	return t->geometry->wide
		       ? __atomic_exchange_n((uint64_t *)entries + index, entry, __ATOMIC_SEQ_CST)
		       : __atomic_exchange_n((uint32_t *)entries + index, (uint32_t)entry,
					     __ATOMIC_SEQ_CST);
}

/* False: the entry was not *WAS, and *WAS is what it is. */
static inline bool entry_swap(const struct tables *t, void *entries, unsigned index, uint64_t *was,
			      uint64_t entry)
{
	if (t->geometry->wide)
		return __atomic_compare_exchange_n((uint64_t *)entries + index, was, entry, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	uint32_t narrow = (uint32_t)*was;
	bool done =
		__atomic_compare_exchange_n((uint32_t *)entries + index, &narrow, (uint32_t)entry,
					    false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	*was = narrow;
	return done;
}

static inline uint64_t entry_for(const struct tables *t, struct paddr pa, unsigned level,
				 unsigned rights)
{
	return pa.a | X86_PTE_P | table_leaf_bit(level) | (rights & TABLE_WRITE ? X86_PTE_RW : 0) |
	       (rights & TABLE_USER ? X86_PTE_US : 0) | (rights & TABLE_GLOBAL ? X86_PTE_G : 0) |
	       (rights & TABLE_EXEC ? 0 : t->geometry->no_execute);
}

static inline bool is_user(const struct tables *t, struct vaddr va)
{
	return va.a < t->geometry->user_end;
}

/* An entry that leads to a table. Never G: the recursive slot reads it as a leaf. */
static inline uint64_t entry_to_table(const struct tables *t, struct vaddr va, struct pfn frame)
{
	return pfn_to_paddr(frame).a | X86_PTE_P | X86_PTE_RW | (is_user(t, va) ? X86_PTE_US : 0);
}

static inline unsigned frame_index(const struct tables *t, unsigned level, struct vaddr va)
{
	return table_index(t->geometry, level, va) & (table_frame_entries(t->geometry) - 1);
}

/* The frame of the top table that holds VA's entry. */
static inline struct pfn top_frame(const struct tables *t, const struct table_root *root,
				   struct vaddr va)
{
	unsigned top = table_top(t->geometry);

	return root->top[table_index(t->geometry, top, va) / table_frame_entries(t->geometry)];
}

/* ---- table.c ---- */

/* A table of ROOT, counted; and gone again, unlinked and cached nowhere. */
int table_new(struct tables *t, struct table_root *root, unsigned level,
	      struct pfn *frame) KERR_MUST_CHECK;
void table_free(struct tables *t, struct table_root *root, unsigned level, struct pfn frame);
/* high.c: at init, the windows' page table. KERR_UNSUPPORTED: the layout has no room for them. */
int table_high_init(struct tables *t) KERR_MUST_CHECK;
/* Where they are. */
bool table_is_high_window(const struct tables *t, struct vaddr va, uint64_t bytes);
/* A cleared frame in the direct map. */
int table_low_new(struct tables *t, struct pfn *frame) KERR_MUST_CHECK;
/* What most systems do about new tables: a frame, cleared; beyond the direct map with
 * TABLE_CAP_HIGH, if it is not the top. */
int table_plain_new(struct tables *t, unsigned level, struct pfn *frame) KERR_MUST_CHECK;
void table_plain_free(struct tables *t, unsigned level, struct pfn frame);
/* ops->open of those that see all tables in the direct map. */
void *table_plain_open(struct tables *t, struct table_root *root, unsigned level, struct vaddr va,
		       struct pfn frame);
void table_plain_close(struct tables *t, void *entries);
uint64_t table_nothing_of_its_own(const struct table_config *config, const char **why);
int table_no_init(struct tables *t) KERR_MUST_CHECK;
/* Makes the kernel's tables for [va, va + bytes) down to level 0, in the direct map, at init. */
int table_make_kernel(struct tables *t, struct vaddr va, uint64_t bytes) KERR_MUST_CHECK;
/* The kernel's PTE for VA, in the direct map; its table must be there. */
void *table_kernel_entries(struct tables *t, struct vaddr va, unsigned level, unsigned *index);
/* CR3 again, for what it empties. */
void table_flush(struct tables *t);
void table_invlpg(struct tables *t, struct vaddr va);
/* Loads ROOT without running it. */
void table_load(struct tables *t, struct table_root *root);

/* Is any of [va, va + bytes) kept by the system for itself? */
bool table_is_kept(const struct tables *t, struct vaddr va, uint64_t bytes);

/* ---- gather.c: what an operation changed, until it is invalidated ---- */

#define GATHER_LEAVES 32
#define GATHER_TABLES (TABLE_LEVELS_MAX * 2)

struct gather {
	struct tables *t;
	struct table_root *root;
	unsigned leaves, tables;
	bool walks_owed; /* a table was unlinked that paging-structure caches may lead to */
	struct gather_leaf {
		struct vaddr va;
		uint64_t entry; /* as it was */
		uint8_t level;
		bool owed;
	} leaf[GATHER_LEAVES];
	struct gather_table {
		struct vaddr va;
		struct pfn frame;
		uint8_t level;
		bool accessed;
	} table[GATHER_TABLES];
};

/* Remembers that VA's entry of LEVEL was ENTRY and lost something by what replaced it. */
void gather_leaf(struct gather *g, struct vaddr va, unsigned level, uint64_t entry);
/* Remembers a table of LEVEL that nothing points to any more; ENTRY did. */
void gather_table(struct gather *g, struct vaddr va, unsigned level, struct pfn frame,
		  uint64_t entry);
/* Everything remembered is invalidated on all CPUs that may cache it; then the tables go. The
 * leaves stay to be looked at until gather_reset(). */
void gather_flush(struct gather *g);
void gather_reset(struct gather *g);
struct table_leaf gather_leaf_of(const struct tables *t, unsigned level, uint64_t entry);

/* ---- table_map.c ---- */

/* How far down the tables lead for an address. */
struct table_path {
	struct pfn frame[TABLE_LEVELS_MAX]; /* of the table of each level down to `level` */
	unsigned level;			    /* of the last entry read */
	uint64_t entry;
};
/* Down to the entry of level TO, or to the first that leads no further. */
void table_descend(struct tables *t, struct table_root *root, struct vaddr va, unsigned to,
		   struct table_path *path);
/* The same, with missing tables made. KERR_INVALID: a large page is in the way. */
int table_reach(struct tables *t, struct table_root *root, struct vaddr va, unsigned to,
		struct table_path *path) KERR_MUST_CHECK;
/* A large page, or a shared zero table, is replaced by a table of its own. *PATH: as found. */
int table_take_apart(struct tables *t, struct table_root *root, struct vaddr va,
		     struct table_path *path) KERR_MUST_CHECK;
/* Does the entry lead to the shared zero table? */
bool table_is_zero(const struct tables *t, unsigned level, uint64_t entry);
/* Unlinks the table of LEVEL, and those above that become empty. */
void table_prune(struct gather *g, struct vaddr va, unsigned level, struct table_path *path);
/* A kernel entry of the top level, as it now is, becomes every space's. */
void table_copy_top(struct tables *t, struct table_root *root, unsigned level, struct vaddr va);
void table_enter(struct tables *t, struct table_root *root);
uint64_t table_read(struct tables *t, struct table_root *root, unsigned level, struct vaddr va,
		    struct pfn frame);
uint64_t table_write(struct tables *t, struct table_root *root, unsigned level, struct vaddr va,
		     struct pfn frame, uint64_t entry);

#endif
