/*
 * table_map.c - one address at a time: down the levels, tables made and unlinked, large pages and
 * shared zero tables taken apart.
 *
 *     top                 level 1               level 0
 *   | ... |             | ... |   t->uses       | ... |
 *   | E --+-----------> | E --+--[n present]--> | PTE |--> page
 *   | ... |             | ... |                 | ... |
 *                        E leads to the shared zero table in many spaces at once; the first
 *                        mapping there takes a copy (uses of the shared one: spaces that link it)
 *
 * Invariants
 *  M1  uses[table] is the number of its present entries; a table below the top that reaches 0 is
 *      unlinked in the same operation.
 *  M2  Tables are cleared, and filled where they replace something, before an entry leads to them.
 *  M3  One table is open at a time: a system may have a single window.
 *  M4  No entry of a table is looked at before the one above says that it is a table: below a large
 *      page the recursive slot shows the page's memory, not entries.
 *  M5  Frames for all missing tables are there before the first is linked, so that a failure
 *      changes nothing.
 */
#include "alloc/port.h"
#include "alloc/table/systems.h"

/* ---- one entry ---- */

void table_enter(struct tables *t, struct table_root *root)
{
	if (t->ops->enter)
		t->ops->enter(t, root);
}

uint64_t table_read(struct tables *t, struct table_root *root, unsigned level, struct vaddr va,
		    struct pfn frame)
{
	void *entries = t->ops->open(t, root, level, va, frame);
	uint64_t entry = entry_get(t, entries, frame_index(t, level, va));

	t->ops->close(t, entries);
	return entry;
}

uint64_t table_write(struct tables *t, struct table_root *root, unsigned level, struct vaddr va,
		     struct pfn frame, uint64_t entry)
{
	void *entries = t->ops->open(t, root, level, va, frame);
	uint64_t was = entry_exchange(t, entries, frame_index(t, level, va), entry);

	t->ops->close(t, entries);
	return was;
}

bool table_is_zero(const struct tables *t, unsigned level, uint64_t entry)
{
	return level == 1 && t->has_zero_table && (entry & X86_PTE_P) &&
	       !table_is_leaf(t->geometry, level, entry) &&
	       paddr_to_pfn((struct paddr){ entry & TABLE_ENTRY_ADDRESS }).n == t->zero_table.n;
}

/* ---- down ---- */

/* Reads on from path->level, whose frame is known. */
static void go_down(struct tables *t, struct table_root *root, struct vaddr va, unsigned to,
		    struct table_path *path)
{
	for (unsigned l = path->level;; l--) {
		path->level = l;
		path->entry = table_read(t, root, l, va, path->frame[l]);
		if (l == to || !(path->entry & X86_PTE_P) ||
		    table_is_leaf(t->geometry, l, path->entry))
			return;
		path->frame[l - 1] =
			paddr_to_pfn((struct paddr){ path->entry & TABLE_ENTRY_ADDRESS });
	}
}

void table_descend(struct tables *t, struct table_root *root, struct vaddr va, unsigned to,
		   struct table_path *path)
{
	path->level = table_top(t->geometry);
	path->frame[path->level] = top_frame(t, root, va);
	table_enter(t, root);
	go_down(t, root, va, to, path);
}

void table_copy_top(struct tables *t, struct table_root *root, unsigned level, struct vaddr va)
{
	unsigned top = table_top(t->geometry);

	if (level != top || root != &t->kernel)
		return;
	uint64_t entry = table_read(t, root, top, va, top_frame(t, root, va));

	for (struct table_root *r = t->kernel.next; r != &t->kernel; r = r->next) {
		table_enter(t, r);
		table_write(t, r, top, va, top_frame(t, r, va), entry);
		t->stats.top_copies++;
	}
	table_enter(t, &t->kernel);
}

static void link_table(struct tables *t, struct table_root *root, struct vaddr va, unsigned level,
		       struct pfn above, struct pfn frame)
{
	table_write(t, root, level + 1, va, above, entry_to_table(t, va, frame));
	if (level + 1 < table_top(t->geometry))
		++*table_uses(t, above);
	table_copy_top(t, root, level + 1, va);
	if (t->ops->linked)
		t->ops->linked(t, root, level, va, frame);
}

/* Frames for the tables of levels [to, from). */
static int take_tables(struct tables *t, struct table_root *root, unsigned to, unsigned from,
		       struct pfn frame[TABLE_LEVELS_MAX])
{
	for (unsigned l = to; l < from; l++) {
		int error = table_new(t, root, l, &frame[l]);

		if (error) {
			while (l-- > to)
				table_free(t, root, l, frame[l]);
			return error;
		}
	}
	return 0;
}

int table_reach(struct tables *t, struct table_root *root, struct vaddr va, unsigned to,
		struct table_path *path)
{
	struct pfn frame[TABLE_LEVELS_MAX];

	table_descend(t, root, va, to, path);
	if (path->level == to)
		return 0;
	if (path->entry & X86_PTE_P)
		return KERR_INVALID;
	unsigned from = path->level;
	int error = take_tables(t, root, to, from, frame);

	if (error)
		return error;
	table_enter(t, root);
	for (unsigned l = from; l-- > to;) {
		link_table(t, root, va, l, path->frame[l + 1], frame[l]);
		path->frame[l] = frame[l];
	}
	path->level = to;
	path->entry = 0;
	return 0;
}

/* ---- up ---- */

void table_prune(struct gather *g, struct vaddr va, unsigned level, struct table_path *path)
{
	struct tables *t = g->t;

	/* Boot's tables are not counted, and all spaces lead to them. */
	if (g->root == &t->kernel)
		return;
	for (; level < table_top(t->geometry) && *table_uses(t, path->frame[level]) == 0; level++) {
		uint64_t was = table_write(t, g->root, level + 1, va, path->frame[level + 1], 0);

		if (level + 1 < table_top(t->geometry))
			--*table_uses(t, path->frame[level + 1]);
		gather_table(g, va, level, path->frame[level], was);
	}
}

/* ---- taking apart ---- */

/* The entries of a space's own table in place of the shared zero table, to which LINK led. A page
 * that anybody has used through it may be cached by whoever runs this space too, so that A is not
 * for this copy to clear. A link that has lost U: its pages have. */
static void fill_zero(struct tables *t, struct pfn frame, uint64_t link)
{
	void *shared = table_frame_open(t, t->zero_table);
	void *to = table_frame_open(t, frame);
	unsigned rights = link & X86_PTE_US ? TABLE_USER : 0;
	uint64_t page = entry_for(t, pfn_to_paddr(t->zero_frame), 0, rights);

	for (unsigned i = 0; i < table_frame_entries(t->geometry); i++)
		entry_set(t, to, i, page | (entry_get(t, shared, i) & link & X86_PTE_A));
	table_frame_close(t, to);
	table_frame_close(t, shared);
}

/* The entries of a table that maps what the large page ENTRY of LEVEL + 1 did. */
static void fill_pieces(struct tables *t, unsigned level, struct pfn frame, uint64_t entry)
{
	void *to = table_frame_open(t, frame);
	uint64_t at = table_leaf_address(t->geometry, level + 1, entry).a;
	uint64_t bits = entry & ~TABLE_ENTRY_ADDRESS;

	if (level == 0)
		bits &= ~X86_PTE_PS;
	if (level == 0 && (entry & X86_PTE_LARGE_PAT))
		bits |= X86_PTE_PAT;
	else
		bits |= entry & X86_PTE_LARGE_PAT;
	for (unsigned i = 0; i < table_frame_entries(t->geometry); i++)
		entry_set(t, to, i, (at + i * table_span(t->geometry, level)) | bits);
	table_frame_close(t, to);
}

/* What another CPU set in the old entry, or in the shared table, after it was read: before the
 * exchange that gave WAS, for it is not led there any more. */
static void add_late(struct tables *t, struct pfn frame, uint64_t before, uint64_t was, bool zero)
{
	uint64_t late = was & ~before & (X86_PTE_A | X86_PTE_D);

	if (t->config.cpus == 1 || !(zero ? was & X86_PTE_A : late))
		return;
	void *shared = zero ? table_frame_open(t, t->zero_table) : NULL;
	void *to = table_frame_open(t, frame);

	for (unsigned i = 0; i < table_frame_entries(t->geometry); i++) {
		uint64_t bits = zero ? entry_get(t, shared, i) & X86_PTE_A : late;
		uint64_t entry = entry_get(t, to, i);

		/* CPUs use the new table already. */
		while (bits && !entry_swap(t, to, i, &entry, entry | bits))
			;
	}
	table_frame_close(t, to);
	if (zero)
		table_frame_close(t, shared);
}

int table_take_apart(struct tables *t, struct table_root *root, struct vaddr va,
		     struct table_path *path)
{
	struct gather g = { .t = t, .root = root };
	unsigned level = path->level - 1;
	bool zero = table_is_zero(t, path->level, path->entry);
	struct pfn frame;
	int error = table_new(t, root, level, &frame);

	if (error)
		return error;
	if (zero)
		fill_zero(t, frame, path->entry);
	else
		fill_pieces(t, level, frame, path->entry);
	*table_uses(t, frame) = table_frame_entries(t->geometry);
	table_enter(t, root);
	uint64_t was = table_write(t, root, level + 1, va, path->frame[level + 1],
				   entry_to_table(t, va, frame));

	add_late(t, frame, path->entry, was, zero);
	table_copy_top(t, root, level + 1, va);
	if (t->ops->linked)
		t->ops->linked(t, root, level, va, frame);
	if (zero)
		--*table_uses(t, t->zero_table);
	t->stats.splits++;
	/* Whatever of the old entry is cached goes by one INVLPG, all pieces of a large page too;
	 * and what a recursive slot shows there is another table now, or a table for the first
	 * time. */
	gather_leaf(&g, va, zero ? 0 : level + 1, was);
	gather_flush(&g);
	if (t->ops->unlinked)
		t->ops->unlinked(t, root, level, va, was & X86_PTE_A);
	path->frame[level] = frame;
	path->level = level;
	path->entry = table_read(t, root, level, va, frame);
	return 0;
}

/* ---- operations ---- */

bool table_is_kept(const struct tables *t, struct vaddr va, uint64_t bytes)
{
	if (table_is_high_window(t, va, bytes))
		return true;
	for (unsigned i = 0; t->ops->kept; i++) {
		struct table_kept kept = t->ops->kept(t, i);

		if (kept.bytes == 0)
			break;
		if (va.a - kept.base.a < kept.bytes || kept.base.a - va.a < bytes)
			return true;
	}
	return false;
}

static bool is_placed(const struct tables *t, const struct table_root *root, struct vaddr va,
		      struct paddr pa, unsigned level)
{
	const struct table_geometry *g = t->geometry;

	return level < g->depth && g->level[level].leaf && !(level && t->config.small_only) &&
	       !((va.a | pa.a) & (table_span(g, level) - 1)) &&
	       is_user(t, va) == (root != &t->kernel) && table_canonical(g, va.a).a == va.a &&
	       !table_is_kept(t, va, table_span(g, level));
}

/* The shared zero table, or the large page, if VA is in one, is taken apart. */
static int own_table(struct tables *t, struct table_root *root, struct vaddr va)
{
	struct table_path path;
	int error = 0;

	do {
		table_descend(t, root, va, 1, &path);
		if (!(path.entry & X86_PTE_P) ||
		    (!table_is_leaf(t->geometry, path.level, path.entry) &&
		     !table_is_zero(t, path.level, path.entry)))
			return 0;
		error = table_take_apart(t, root, va, &path);
	} while (!error);
	return error;
}

int table_map(struct tables *t, struct table_root *root, struct vaddr va, struct paddr pa,
	      unsigned level, unsigned rights)
{
	struct table_path path;

	if (!is_placed(t, root, va, pa, level))
		return KERR_INVALID;
	int error = table_reach(t, root, va, level, &path);

	if (!error && (path.entry & X86_PTE_P))
		error = KERR_INVALID;
	if (error)
		return error;
	table_write(t, root, level, va, path.frame[level], entry_for(t, pa, level, rights));
	if (level < table_top(t->geometry))
		++*table_uses(t, path.frame[level]);
	table_copy_top(t, root, level, va);
	return 0;
}

int table_replace(struct tables *t, struct table_root *root, struct vaddr va, struct paddr pa,
		  unsigned rights, struct table_leaf *old)
{
	struct gather g = { .t = t, .root = root };
	struct table_path path;
	int error = own_table(t, root, va);

	if (error)
		return error;
	table_descend(t, root, va, 0, &path);
	if (path.level > 0 || !(path.entry & X86_PTE_P))
		return KERR_INVALID;
	uint64_t was = table_write(t, root, 0, va, path.frame[0], entry_for(t, pa, 0, rights));

	gather_leaf(&g, va, 0, was);
	gather_flush(&g);
	*old = gather_leaf_of(t, 0, was);
	return 0;
}

int table_grant(struct tables *t, struct table_root *root, struct vaddr va, unsigned rights)
{
	struct table_path path;
	uint64_t gain =
		(rights & TABLE_WRITE ? X86_PTE_RW : 0) | (rights & TABLE_USER ? X86_PTE_US : 0);
	uint64_t lift = rights & TABLE_EXEC ? t->geometry->no_execute : 0;

	table_descend(t, root, va, 0, &path);
	if (!(path.entry & X86_PTE_P))
		return KERR_INVALID;
	void *entries = t->ops->open(t, root, path.level, va, path.frame[path.level]);
	unsigned index = frame_index(t, path.level, va);
	uint64_t was = path.entry;

	while (!entry_swap(t, entries, index, &was, (was | gain) & ~lift))
		;
	t->ops->close(t, entries);
	return 0;
}

int table_hole(struct tables *t, struct table_root *root, struct vaddr va)
{
	struct table_path path;

	table_descend(t, root, va, 0, &path);
	return path.entry & X86_PTE_P ? -1 : (int)path.level;
}

bool table_query(struct tables *t, struct table_root *root, struct vaddr va,
		 struct table_leaf *leaf)
{
	struct table_path path;

	table_descend(t, root, va, 0, &path);
	if (!(path.entry & X86_PTE_P))
		return false;
	*leaf = gather_leaf_of(t, path.level, path.entry);
	return true;
}

/* ---- the shared zero table ---- */

int table_make_zero(struct tables *t, struct pfn frame)
{
	int error = table_new(t, &t->kernel, 0, &t->zero_table);

	if (error)
		return error;
	t->zero_frame = frame;
	void *entries = table_frame_open(t, t->zero_table);

	for (unsigned i = 0; i < table_frame_entries(t->geometry); i++)
		entry_set(t, entries, i, entry_for(t, pfn_to_paddr(frame), 0, TABLE_USER));
	table_frame_close(t, entries);
	t->has_zero_table = true;
	return 0;
}

void table_drop_zero(struct tables *t)
{
	if (!t->has_zero_table)
		return;
	t->has_zero_table = false;
	table_free(t, &t->kernel, 0, t->zero_table);
}

int table_link_zero(struct tables *t, struct table_root *root, struct vaddr va)
{
	struct table_path path;

	if (!t->has_zero_table || !is_placed(t, root, va, (struct paddr){ 0 }, 1))
		return KERR_INVALID;
	int error = table_reach(t, root, va, 1, &path);

	if (!error && (path.entry & X86_PTE_P))
		error = KERR_INVALID;
	if (error)
		return error;
	link_table(t, root, va, 0, path.frame[1], t->zero_table);
	++*table_uses(t, t->zero_table);
	return 0;
}
