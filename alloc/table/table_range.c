/*
 * table_range.c - ranges of addresses: unmap, protect, walk, share, table by table.
 *
 *   va ......................................... end
 *   |  part  |   large page   | hole |  table  | part |
 *     split    one entry        skip   32 entries a time: exchange, invalidate, tell the caller
 *
 * Invariants
 *  R1  What lies partly inside is taken apart before anything changes, so that only that can fail.
 *  R2  A caller hears of a page when no CPU can use it any more (gather.c, G1), with no table open.
 *  R3  table_share(): what was visited is what the second space maps, also after a failure.
 *
 * Cost: O(entries of the tables met); an empty table's span of a higher level is one step.
 */
#include "alloc/port.h"
#include "alloc/table/systems.h"

/* First address behind the entry of LEVEL that holds VA; 0 where the address space ends. */
static struct vaddr behind(const struct tables *t, unsigned level, struct vaddr va)
{
	return table_canonical(t->geometry, (va.a | (table_span(t->geometry, level) - 1)) + 1);
}

/* The smaller of END and where the table of level 0 that holds VA ends. */
static struct vaddr part_end(const struct tables *t, struct vaddr va, struct vaddr end)
{
	struct vaddr table_end = behind(t, 1, va);

	return table_end.a - 1 < end.a - 1 ? table_end : end;
}

/* Ends are exclusive, and may be 0: behind the last address. */
static bool is_before(struct vaddr va, struct vaddr end)
{
	return va.a <= end.a - 1;
}

/* Down to what maps VA: a large page, the link to a shared zero table, nothing, or the table of
 * level 0, whose entry is not read. */
static void find_part(struct tables *t, struct table_root *root, struct vaddr va,
		      struct table_path *path)
{
	table_descend(t, root, va, 1, path);
	if (!(path->entry & X86_PTE_P) || table_is_leaf(t->geometry, path->level, path->entry) ||
	    table_is_zero(t, path->level, path->entry))
		return;
	path->level = 0;
	path->frame[0] = paddr_to_pfn((struct paddr){ path->entry & TABLE_ENTRY_ADDRESS });
}

/* PATH's entry for VA is not present: the first behind it, up to END, that is, or where its table
 * ends. One look into the table, however many are missing. */
static struct vaddr skip_missing(struct tables *t, struct table_root *root,
				 const struct table_path *path, struct vaddr va, struct vaddr end)
{
	unsigned level = path->level, first = frame_index(t, level, va);
	void *entries = t->ops->open(t, root, level, va, path->frame[level]);
	unsigned index;

	do {
		va = behind(t, level, va);
		index = frame_index(t, level, va);
	} while (va.a != 0 && is_before(va, end) && index > first &&
		 !(entry_get(t, entries, index) & X86_PTE_P));
	t->ops->close(t, entries);
	return va;
}

/* Does the range cover the entry of LEVEL at VA wholly? */
static bool covers(const struct tables *t, unsigned level, struct vaddr va, struct vaddr from,
		   struct vaddr end)
{
	uint64_t span = table_span(t->geometry, level);
	uint64_t first = va.a & ~(span - 1);

	return first >= from.a && first + span - 1 <= end.a - 1;
}

/* R1 for one of the range's ends. */
static int cut_at(struct tables *t, struct table_root *root, struct vaddr at, struct vaddr from,
		  struct vaddr end)
{
	struct table_path path;
	int error = 0;

	do {
		table_descend(t, root, at, 1, &path);
		bool whole = !(path.entry & X86_PTE_P) || covers(t, path.level, at, from, end) ||
			     (!table_is_leaf(t->geometry, path.level, path.entry) &&
			      !table_is_zero(t, path.level, path.entry));
		if (whole)
			return 0;
		error = table_take_apart(t, root, at, &path);
	} while (!error && path.level > 0);
	return error;
}

static int cut_ends(struct tables *t, struct table_root *root, struct vaddr from, struct vaddr end)
{
	if (table_is_kept(t, from, end.a - from.a))
		return KERR_INVALID;
	int error = cut_at(t, root, from, from, end);

	return error ? error : cut_at(t, root, (struct vaddr){ end.a - 1 }, from, end);
}

/* ---- unmap ---- */

/* Entries of one table of level 0 from VA on, until the gather is full. Returns where to go on. */
static struct vaddr take_pages(struct gather *g, struct pfn frame, struct vaddr va,
			       struct vaddr end)
{
	struct tables *t = g->t;
	void *entries = t->ops->open(t, g->root, 0, va, frame);

	end = part_end(t, va, end);
	for (; is_before(va, end) && g->leaves < GATHER_LEAVES; va = behind(t, 0, va)) {
		unsigned index = frame_index(t, 0, va);

		if (!(entry_get(t, entries, index) & X86_PTE_P))
			continue;
		gather_leaf(g, va, 0, entry_exchange(t, entries, index, 0));
		--*table_uses(t, frame);
	}
	t->ops->close(t, entries);
	return va;
}

/* The pages of a shared zero table: any of them may be cached. */
static void shoot_zero(struct gather *g, struct vaddr va, uint64_t entry)
{
	uint64_t span = table_span(g->t->geometry, 1);
	struct vaddr at = { va.a & ~(span - 1) };

	for (uint64_t done = 0; (entry & X86_PTE_A) && done < span; done += FRAME_BYTES) {
		gather_leaf(g, vaddr_add(at, done), 0, entry);
		if (g->leaves < GATHER_LEAVES)
			continue;
		gather_flush(g);
		gather_reset(g);
	}
	gather_flush(g);
	gather_reset(g);
}

/* A large page, or the link to a shared zero table. */
static void take_entry(struct gather *g, struct vaddr va, struct table_path *path)
{
	struct tables *t = g->t;
	unsigned level = path->level;
	bool zero = table_is_zero(t, level, path->entry);
	struct vaddr first = { va.a & ~(table_span(t->geometry, level) - 1) };
	uint64_t was = table_write(t, g->root, level, va, path->frame[level], 0);

	if (level < table_top(t->geometry))
		--*table_uses(t, path->frame[level]);
	table_copy_top(t, g->root, level, va);
	if (zero) {
		--*table_uses(t, t->zero_table);
		shoot_zero(g, first, was);
		if (t->ops->unlinked)
			t->ops->unlinked(t, g->root, 0, first, was & X86_PTE_A);
	} else {
		gather_leaf(g, first, level, was);
	}
}

static int tell(struct gather *g, table_visit_fn visit, void *context)
{
	struct tables *t = g->t;
	int error = 0;

	for (unsigned i = 0; !error && i < g->leaves; i++) {
		struct table_leaf leaf = gather_leaf_of(t, g->leaf[i].level, g->leaf[i].entry);

		error = visit(context, g->leaf[i].va, &leaf) ? KERR_STOP : 0;
	}
	gather_reset(g);
	return error;
}

int table_unmap(struct tables *t, struct table_root *root, struct vaddr va, struct vaddr end,
		table_visit_fn visit, void *context)
{
	struct gather g = { .t = t, .root = root };
	struct table_path path;
	int error = va.a == end.a ? 0 : cut_ends(t, root, va, end);

	while (!error && va.a != end.a && is_before(va, end)) {
		find_part(t, root, va, &path);
		struct vaddr at = va;

		if (!(path.entry & X86_PTE_P)) {
			va = skip_missing(t, root, &path, va, end);
		} else if (path.level > 0) {
			take_entry(&g, va, &path);
			va = behind(t, path.level, va);
		} else {
			va = take_pages(&g, path.frame[0], va, end);
		}
		if (path.entry & X86_PTE_P)
			table_prune(&g, at, path.level, &path);
		gather_flush(&g);
		error = tell(&g, visit, context);
		if (va.a == 0)
			break;
	}
	return error;
}

/* ---- protect ---- */

/* Rights of one entry become RIGHTS. Returns what it was; 0 where nothing was lost. */
static uint64_t change_rights(const struct tables *t, void *entries, unsigned index, unsigned level,
			      unsigned rights)
{
	/* RW is not among what can be gained. */
	uint64_t mask =
		X86_PTE_US | t->geometry->no_execute | (rights & TABLE_WRITE ? 0 : X86_PTE_RW);
	uint64_t want = entry_for(t, (struct paddr){ 0 }, level, rights) & mask;
	uint64_t was = entry_get(t, entries, index);

	if (!(was & X86_PTE_P))
		return 0;
	while ((was & mask) != want && !entry_swap(t, entries, index, &was, (was & ~mask) | want))
		;
	was = (was & mask) == want ? 0 : was;
	/* XD counts the other way round. */
	uint64_t lost = (was & ~want & mask & (X86_PTE_RW | X86_PTE_US)) |
			(want & ~was & t->geometry->no_execute);

	return was && lost ? was : 0;
}

/* The pages of a table of level 0, or the large page, at VA. Returns where to go on. */
static struct vaddr protect_part(struct gather *g, const struct table_path *path, struct vaddr va,
				 struct vaddr end, unsigned rights)
{
	struct tables *t = g->t;
	unsigned level = path->level;
	void *entries = t->ops->open(t, g->root, level, va, path->frame[level]);
	struct vaddr stop = level > 0 ? behind(t, level, va) : part_end(t, va, end);

	for (; is_before(va, stop) && g->leaves < GATHER_LEAVES; va = behind(t, level, va)) {
		uint64_t was = change_rights(t, entries, frame_index(t, level, va), level, rights);

		if (was)
			gather_leaf(g, va, level, was);
	}
	t->ops->close(t, entries);
	table_copy_top(t, g->root, level, (struct vaddr){ va.a - 1 });
	return va;
}

int table_protect(struct tables *t, struct table_root *root, struct vaddr va, struct vaddr end,
		  unsigned rights)
{
	struct gather g = { .t = t, .root = root };
	struct table_path path;
	int error = va.a == end.a ? 0 : cut_ends(t, root, va, end);

	while (!error && va.a != end.a && is_before(va, end)) {
		find_part(t, root, va, &path);
		if (!(path.entry & X86_PTE_P))
			va = skip_missing(t, root, &path, va, end);
		else
			va = protect_part(&g, &path, va, end, rights);
		gather_flush(&g);
		gather_reset(&g);
		if (va.a == 0)
			break;
	}
	return error;
}

/* ---- walk ---- */

/* Collects up to a gather's worth of what is mapped from VA on; changes nothing. A link to the
 * shared zero table may have lost U: PATH's entry then says so for all of its pages. */
static struct vaddr look(struct gather *g, const struct table_path *path, struct vaddr va,
			 struct vaddr end)
{
	uint64_t given = path->entry | ~(uint64_t)X86_PTE_US;

	struct tables *t = g->t;
	void *entries = t->ops->open(t, g->root, 0, va, path->frame[0]);

	end = part_end(t, va, end);
	for (; is_before(va, end) && g->leaves < GATHER_LEAVES; va = behind(t, 0, va)) {
		uint64_t entry = entry_get(t, entries, frame_index(t, 0, va));

		if (entry & X86_PTE_P)
			g->leaf[g->leaves++] = (struct gather_leaf){ va, entry & given, 0, false };
	}
	t->ops->close(t, entries);
	return va;
}

int table_walk(struct tables *t, struct table_root *root, struct vaddr va, struct vaddr end,
	       table_visit_fn visit, void *context)
{
	struct gather g = { .t = t, .root = root };
	struct table_path path;
	int error = 0;

	while (!error && va.a != end.a && is_before(va, end)) {
		find_part(t, root, va, &path);
		if (table_is_zero(t, path.level, path.entry)) {
			path.level = 0;
			path.frame[0] = t->zero_table;
		}
		if (!(path.entry & X86_PTE_P)) {
			va = skip_missing(t, root, &path, va, end);
		} else if (path.level > 0) {
			g.leaf[g.leaves++] = (struct gather_leaf){
				{ va.a & ~(table_span(t->geometry, path.level) - 1) },
				path.entry,
				(uint8_t)path.level,
				false
			};
			va = behind(t, path.level, va);
		} else {
			va = look(&g, &path, va, end);
		}
		error = tell(&g, visit, context);
		if (va.a == 0)
			break;
	}
	return error;
}

/* ---- share ---- */

struct share {
	struct gather g; /* of the first space */
	struct table_root *to;
	unsigned count; /* what the second space gets */
	struct {
		struct vaddr va;
		uint64_t entry;
		uint8_t level;
	} page[GATHER_LEAVES];
	table_visit_fn visit;
	void *context;
};

/* The right to write goes, in the first space; what is there is noted for the second. */
static struct vaddr borrow(struct share *s, const struct table_path *path, struct vaddr va,
			   struct vaddr end)
{
	struct tables *t = s->g.t;
	unsigned level = path->level;
	void *entries = t->ops->open(t, s->g.root, level, va, path->frame[level]);

	end = level > 0 ? behind(t, level, va) : part_end(t, va, end);
	for (; is_before(va, end) && s->count < GATHER_LEAVES; va = behind(t, level, va)) {
		unsigned index = frame_index(t, level, va);
		uint64_t was = entry_get(t, entries, index);

		if (!(was & X86_PTE_P))
			continue;
		while ((was & X86_PTE_RW) &&
		       !entry_swap(t, entries, index, &was, was & ~X86_PTE_RW))
			;
		if (was & X86_PTE_RW)
			gather_leaf(&s->g, va, level, was);
		s->page[s->count].va.a = va.a & ~(table_span(t->geometry, level) - 1);
		s->page[s->count].level = (uint8_t)level;
		s->page[s->count++].entry = was & ~(X86_PTE_RW | X86_PTE_A | X86_PTE_D);
	}
	t->ops->close(t, entries);
	return va;
}

/* Notes of one table go into one table. */
static int lend(struct share *s)
{
	struct tables *t = s->g.t;
	unsigned level = s->page[0].level;
	struct table_path path;
	int error = s->count ? table_reach(t, s->to, s->page[0].va, level, &path) : 0;

	if (error || !s->count)
		return error;
	void *entries = t->ops->open(t, s->to, level, s->page[0].va, path.frame[level]);

	for (unsigned i = 0; i < s->count; i++)
		entry_set(t, entries, frame_index(t, level, s->page[i].va), s->page[i].entry);
	t->ops->close(t, entries);
	if (level < table_top(t->geometry))
		*table_uses(t, path.frame[level]) += s->count;
	for (unsigned i = 0; i < s->count; i++) {
		struct table_leaf leaf = gather_leaf_of(t, level, s->page[i].entry);

		if (s->visit(s->context, s->page[i].va, &leaf))
			return KERR_STOP;
	}
	s->count = 0;
	return 0;
}

int table_share(struct tables *t, struct table_root *from, struct table_root *to, struct vaddr va,
		struct vaddr end, table_visit_fn visit, void *context)
{
	struct share s = {
		.g = { .t = t, .root = from }, .to = to, .visit = visit, .context = context
	};
	struct table_path path;
	int error = 0;

	while (!error && va.a != end.a && is_before(va, end)) {
		find_part(t, from, va, &path);
		bool zero = table_is_zero(t, path.level, path.entry);

		if (!(path.entry & X86_PTE_P))
			va = skip_missing(t, from, &path, va, end);
		else if (zero)
			va = behind(t, path.level, va);
		else
			va = borrow(&s, &path, va, end);
		gather_flush(&s.g);
		gather_reset(&s.g);
		/* A link that users may not use is not worth one: what is not there reads as zero.
		 */
		if (zero && !(path.entry & X86_PTE_US))
			error = 0;
		else if (zero)
			error = table_link_zero(
				t, to,
				(struct vaddr){ (va.a - 1) & ~(table_span(t->geometry, 1) - 1) });
		else
			error = lend(&s);
		if (va.a == 0)
			break;
	}
	return error;
}
