#include "sim/page_tables.h"

#include <glib.h>

struct reading {
	const struct machine *machine;
	const struct table_geometry *g;
	const struct page_tables_visitor *visitor;
};

static uint64_t read_entry(const struct reading *r, const void *entries, unsigned index)
{
	return r->g->wide ? ((const uint64_t *)entries)[index] : ((const uint32_t *)entries)[index];
}

static void visit_table(const struct reading *r, unsigned level, struct pfn frame, uint64_t va,
			unsigned count)
{
	uint64_t at = pfn_to_paddr(frame).a;
	const void *entries = r->machine->ram.bytes + at;

	if (at + FRAME_BYTES > r->machine->ram.size)
		return;
	for (unsigned i = 0; i < count; i++, va += table_span(r->g, level)) {
		uint64_t entry = read_entry(r, entries, i);
		struct pfn below = paddr_to_pfn((struct paddr){ entry & TABLE_ENTRY_ADDRESS });
		if (!(entry & X86_PTE_P))
			continue;
		if (table_is_leaf(r->g, level, entry))
			r->visitor->leaf(r->visitor->context, (struct vaddr){ va }, level, entry);
		else if (r->visitor->table(r->visitor->context, (struct vaddr){ va }, level - 1,
					   below))
			visit_table(r, level - 1, below, va, table_frame_entries(r->g));
	}
}

void page_tables_visit(const struct machine *machine, const struct table_root *root,
		       const struct page_tables_visitor *visitor)
{
	const struct table_geometry *g = table_geometry(machine_paging(machine->config));
	struct reading reading = { machine, g, visitor };
	unsigned top = table_top(g), frame_entries = table_frame_entries(g);
	unsigned user = (unsigned)(g->user_end >> g->level[top].shift);

	for (unsigned i = 0; i * frame_entries < user; i++)
		visit_table(&reading, top, root->top[i],
			    (uint64_t)i * frame_entries * table_span(g, top),
			    MIN(user - i * frame_entries, frame_entries));
}

/* ---- metric 11 ---- */

struct mapped {
	struct contiguity *c;
	const struct table_geometry *g;
	const struct spaces *spaces;
};

static void add_leaf(void *context, struct vaddr va, unsigned level, uint64_t entry)
{
	const struct mapped *m = context;
	uint64_t frame = paddr_to_pfn(table_leaf_address(m->g, level, entry)).n;

	if (frame != m->spaces->zero.n)
		contiguity_add(m->c, va.a >> X86_PAGE_SHIFT, frame,
			       table_span(m->g, level) >> X86_PAGE_SHIFT);
}

static bool into_table(void *context, struct vaddr va, unsigned level, struct pfn frame)
{
	const struct mapped *m = context;
	const struct tables *t = m->spaces->tables;

	return !t->has_zero_table || frame.n != t->zero_table.n;
}

void page_tables_contiguity(struct contiguity *c, const struct machine *machine,
			    const struct spaces *spaces, const struct space *space)
{
	struct mapped mapped = { c, table_geometry(machine_paging(machine->config)), spaces };
	struct page_tables_visitor visitor = { &mapped, into_table, add_leaf };

	page_tables_visit(machine, &space->root, &visitor);
	contiguity_end_space(c);
}
