#include "sim/page_tables.h"

#include <glib.h>
#include <string.h>

struct reading {
	const struct machine *machine;
	const struct table_geometry *g;
	const struct page_tables_visitor *visitor;
};

static uint64_t read_entry(const struct reading *r, struct pfn frame, unsigned index)
{
	uint64_t at = pfn_to_paddr(frame).a + index * table_entry_bytes(r->g), entry = 0;

	if (at + table_entry_bytes(r->g) <= r->machine->ram.size)
		memcpy(&entry, r->machine->ram.bytes + at, table_entry_bytes(r->g));
	return entry;
}

static void visit_table(const struct reading *r, unsigned level, struct pfn frame, uint64_t va,
			unsigned count)
{
	for (unsigned i = 0; i < count; i++, va += table_span(r->g, level)) {
		uint64_t entry = read_entry(r, frame, i);
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

struct run {
	struct contiguity *c;
	const struct table_geometry *g;
	const struct spaces *spaces;
	uint64_t next_page, next_frame, pages;
};

static void end_run(struct run *run)
{
	struct contiguity *c = run->c;

	if (run->pages == 0)
		return;
	unsigned bin = 63 - (unsigned)__builtin_clzll(run->pages);
	c->by_length[MIN(bin, G_N_ELEMENTS(c->by_length) - 1)] += run->pages;
	if (run->pages > c->longest) {
		c->length_count = g_renew(uint64_t, c->length_count, run->pages + 1);
		memset(c->length_count + c->longest + (c->longest > 0), 0,
		       (run->pages - c->longest + (c->longest == 0)) * sizeof(uint64_t));
		c->longest = run->pages;
	}
	c->length_count[run->pages]++;
	c->pages += run->pages;
	c->runs++;
	run->pages = 0;
}

static void add_leaf(void *context, struct vaddr va, unsigned level, uint64_t entry)
{
	struct run *run = context;
	uint64_t page = va.a >> X86_PAGE_SHIFT;
	uint64_t frame = paddr_to_pfn(table_leaf_address(run->g, level, entry)).n;
	uint64_t pages = table_span(run->g, level) >> X86_PAGE_SHIFT;

	if (frame == run->spaces->zero.n)
		return;
	if (page != run->next_page || frame != run->next_frame)
		end_run(run);
	run->pages += pages;
	run->next_page = page + pages;
	run->next_frame = frame + pages;
}

static bool into_table(void *context, struct vaddr va, unsigned level, struct pfn frame)
{
	const struct run *run = context;
	const struct tables *t = run->spaces->tables;

	return !t->has_zero_table || frame.n != t->zero_table.n;
}

void contiguity_add(struct contiguity *c, const struct machine *machine,
		    const struct spaces *spaces, const struct space *space)
{
	struct run run = { .c = c,
			   .g = table_geometry(machine_paging(machine->config)),
			   .spaces = spaces };
	struct page_tables_visitor visitor = { &run, into_table, add_leaf };

	page_tables_visit(machine, &space->root, &visitor);
	end_run(&run);
}

uint64_t contiguity_runs_for_99_percent(const struct contiguity *c)
{
	uint64_t wanted = c->pages - c->pages / 100, runs = 0;

	for (uint64_t length = c->longest; length > 0 && wanted > 0; length--) {
		uint64_t here = MIN(c->length_count[length], (wanted + length - 1) / length);
		runs += here;
		wanted -= MIN(wanted, here * length);
	}
	return runs;
}

double contiguity_share(const struct contiguity *c, uint64_t pages)
{
	uint64_t in = 0;

	for (uint64_t length = pages; length <= c->longest; length++)
		in += length * c->length_count[length];
	return c->pages ? (double)in / (double)c->pages : 0;
}

void contiguity_clear(struct contiguity *c)
{
	g_free(c->length_count);
	*c = (struct contiguity){ 0 };
}
