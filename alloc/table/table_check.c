/*
 * table_check.c - the numbered invariants of one space's page tables.
 *
 *  1  A present entry of the user half above level 0 that maps no memory leads to a frame of the
 *     map.
 *  2  uses[] of a table below the top is the number of its present entries, and not 0.
 *  3  root->table_frames is the number of its tables (and of the PDPTEs' frame), counted by the
 *     entries that lead to them, shared zero tables aside: no two lead to the same one.
 *  4  The upper half of the top table is the kernel's, slots aside.
 *  5  Entries that lead to tables have neither G nor PS, and R/W and U/S set: leaves alone decide.
 *     Links to shared zero tables may say less.
 *  6  A leaf's address is aligned to its size; leaves of the user half have no G.
 *
 * Tables are read as frames, through the direct map, not the way that the system under test reaches
 * them.
 */
#include "alloc/port.h"
#include "alloc/table/systems.h"

struct checker {
	struct tables *t;
	struct table_root *root;
	struct violation *violation;
	uint64_t tables; /* met on the way: a table that two entries lead to counts twice */
};

static int found(struct checker *c, unsigned invariant, struct pfn frame, const char *what)
{
	*c->violation = (struct violation){ invariant, frame, what };
	return KERR_CORRUPT;
}

static int check_leaf(struct checker *c, unsigned level, uint64_t entry, struct pfn table)
{
	uint64_t inside = table_span(c->t->geometry, level) - 1;

	if (level > 0 && (entry & TABLE_ENTRY_ADDRESS & inside & ~X86_PTE_LARGE_PAT))
		return found(c, 6, table, "a large page is not aligned to its size");
	if (entry & X86_PTE_G)
		return found(c, 6, table, "a user's page is global");
	return 0;
}

static int check_table(struct checker *c, unsigned level, struct pfn frame, unsigned first,
		       unsigned end);

static int check_below(struct checker *c, unsigned level, uint64_t entry, struct pfn table)
{
	struct tables *t = c->t;
	struct pfn frame = paddr_to_pfn((struct paddr){ entry & TABLE_ENTRY_ADDRESS });

	if (table_is_zero(t, level, entry))
		return 0;
	if (entry & (X86_PTE_G | X86_PTE_PS) || !(entry & X86_PTE_RW) || !(entry & X86_PTE_US))
		return found(c, 5, table, "an entry that leads to a table has rights of its own");
	if (frame.n < t->config.frames_first.n || frame.n >= t->config.frames_end.n)
		return found(c, 1, table, "an entry leads to a table that is no RAM");
	c->tables++;
	if (c->tables > c->root->table_frames)
		return found(c, 3, frame, "a space has more tables than it counts");
	return check_table(c, level - 1, frame, 0, table_frame_entries(t->geometry));
}

/* Recursion ends after four levels. */
static int check_table(struct checker *c, unsigned level, struct pfn frame, unsigned first,
		       unsigned end)
{
	struct tables *t = c->t;
	void *entries = table_frame_open(t, frame);
	unsigned present = 0;
	int error = 0;

	for (unsigned i = first; !error && i < end; i++) {
		uint64_t entry = entry_get(t, entries, i);

		if (!(entry & X86_PTE_P))
			continue;
		present++;
		error = table_is_leaf(t->geometry, level, entry)
				? check_leaf(c, level, entry, frame)
				: check_below(c, level, entry, frame);
	}
	if (!error && level < table_top(t->geometry) && present != *table_uses(t, frame))
		error = found(c, 2, frame, "a table does not count its entries right");
	if (!error && level < table_top(t->geometry) && present == 0)
		error = found(c, 2, frame, "an empty table is linked");
	table_frame_close(t, entries);
	return error;
}

static bool in_slot(const struct tables *t, unsigned index, struct vaddr slot)
{
	unsigned first = table_index(t->geometry, table_top(t->geometry), slot);

	return slot.a && index - first < t->geometry->top_frames;
}

static int check_kernel_half(struct checker *c, unsigned first)
{
	struct tables *t = c->t;
	unsigned frame_entries = table_frame_entries(t->geometry);

	for (unsigned i = first; i < frame_entries * t->geometry->top_frames; i++) {
		const void *mine = frame_open(&t->reach, c->root->top[i / frame_entries]);
		const void *kernel = frame_open(&t->reach, t->kernel.top[i / frame_entries]);
		uint64_t changing = X86_PTE_A | X86_PTE_D;

		if (in_slot(t, i, t->config.layout.own_slot) ||
		    in_slot(t, i, t->config.layout.foreign_slot))
			continue;
		if ((entry_get(t, mine, i % frame_entries) ^
		     entry_get(t, kernel, i % frame_entries)) &
		    ~changing)
			return found(c, 4, c->root->top[i / frame_entries],
				     "a space's kernel half is not the kernel's");
	}
	return 0;
}

int table_check(struct tables *t, struct table_root *root, struct violation *violation)
{
	struct checker c = { .t = t, .root = root, .violation = violation };
	unsigned frame_entries = table_frame_entries(t->geometry);
	unsigned split = table_index(t->geometry, table_top(t->geometry),
				     table_canonical(t->geometry, t->geometry->user_end));
	int error = 0;

	c.tables = t->geometry->top_frames + (t->geometry->top_frames > 1);
	for (unsigned i = 0; !error && i * frame_entries < split; i++)
		error = check_table(&c, table_top(t->geometry), root->top[i], 0,
				    split - i * frame_entries < frame_entries
					    ? split - i * frame_entries
					    : frame_entries);
	if (!error && c.tables != root->table_frames)
		error = found(&c, 3, root->top[0], "a space does not count its tables right");
	return error ? error : check_kernel_half(&c, split);
}
