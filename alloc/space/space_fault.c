/*
 * space_fault.c - the page-fault handler of user code, and what it says of a touch that is refused.
 *
 * A page that is there and lacks the right is, by region and users: written in place (rights are
 * gained: nothing is invalidated, the fault itself has dropped what the CPU cached of the page, SDM
 * 3, 4.10.4.1), or replaced by a frame of its own (invalidated where it was accessed). A large page
 * that is shared is taken apart, and the 4 KiB that are written are replaced.
 */
#include "alloc/port.h"
#include "alloc/space/space_private.h"

/* ---- V7 ---- */

static struct space_extent extent_of(const struct region *r)
{
	return r ? (struct space_extent){ r->base, r->end, r->rights }
		 : (struct space_extent){ 0, 0, 0 };
}

static int refuse(struct spaces *s, struct space *space, uint64_t address,
		  struct space_report *report)
{
	const struct region *at = region_find(space->regions, address);
	const struct region *below = address ? region_below(space->regions, address) : NULL;
	const struct region *above = region_above(space->regions, address);
	uint64_t guard = s->option[SPACE_OPTION_GUARD_PAGES] * FRAME_BYTES;

	if (at)
		below = at->base ? region_below(space->regions, at->base - 1) : NULL;
	report->fault = SPACE_FAULT_BAD;
	report->null_page = address < FRAME_BYTES;
	report->at = extent_of(at);
	report->below = extent_of(below);
	report->above = extent_of(above);
	report->guard = space_has(s, SPACE_CAP_GUARDS) && !at &&
			((below && address - below->end < guard) ||
			 (above && above->base - address <= guard));
	return KERR_INVALID;
}

/* ---- serving ---- */

/* What a fault is about. */
struct fault {
	struct spaces *s;
	struct space *space;
	const struct region *region;
	uint64_t page;
	bool write, fetch;
	enum space_fault came_to;
};

static int map_fresh(struct fault *f)
{
	struct pfn frame;
	int error = space_take_page(f->s, &frame);

	if (error)
		return error;
	space_clear_page(f->s, frame);
	error = space_map_page(f->s, f->space, f->page, frame, 0, page_rights(f->region->rights));
	if (error)
		space_drop_page(f->s, pfn_to_paddr(frame));
	f->came_to = SPACE_FAULT_FRESH;
	return error;
}

static int map_zero(struct fault *f)
{
	f->came_to = SPACE_FAULT_ZERO;
	return table_map(f->s->tables, &f->space->root, (struct vaddr){ f->page },
			 pfn_to_paddr(f->s->zero), 0,
			 page_rights(f->region->rights) & ~(unsigned)TABLE_WRITE);
}

/* A whole table of zero pages, where the region has room for it and nothing else is mapped. Its
 * pages cannot be executed, so regions with that right do without. */
static bool link_zero_table(struct fault *f)
{
	struct tables *t = f->s->tables;
	uint64_t span = table_span(t->geometry, 1), base = f->page & ~(span - 1);

	if (!space_has(f->s, SPACE_CAP_ZERO_TABLE) || (f->region->rights & SPACE_EXEC) ||
	    base < f->region->base || base + span > f->region->end)
		return false;
	f->came_to = SPACE_FAULT_ZERO_TABLE;
	return table_link_zero(t, &f->space->root, (struct vaddr){ base }) == 0;
}

/* A large page, where the region has room for it, nothing of it is mapped, and a block is free. */
static bool map_large(struct fault *f)
{
	struct spaces *s = f->s;
	uint64_t span = table_span(s->tables->geometry, 1), base = f->page & ~(span - 1);
	struct pfn first;

	if (!f->region->large || base < f->region->base || base + span > f->region->end ||
	    table_hole(s->tables, &f->space->root, (struct vaddr){ base }) < 1)
		return false;
	if (space_take_block(s, 1, &first)) {
		s->stats.large_refused++;
		return false;
	}
	for (uint32_t i = 0; i < leaf_pages(s, 1); i++)
		space_clear_page(s, pfn_add(first, i));
	if (space_map_page(s, f->space, base, first, 1, page_rights(f->region->rights))) {
		space_drop_block(s, pfn_to_paddr(first), 1);
		return false;
	}
	f->came_to = SPACE_FAULT_LARGE;
	return true;
}

static int serve_missing(struct fault *f)
{
	if (map_large(f))
		return 0;
	if (f->write || !space_has(f->s, SPACE_CAP_ZERO_FRAME))
		return map_fresh(f);
	return link_zero_table(f) ? 0 : map_zero(f);
}

/* The frame of the faulting 4 KiB. */
static struct paddr faulting(const struct fault *f, const struct table_leaf *leaf)
{
	uint64_t inside = table_span(f->s->tables->geometry, leaf->level) - 1;

	return (struct paddr){ leaf->paddr.a + (f->page & inside) };
}

/* A frame of its own in place of LEAF's, with its contents. */
static int replace(struct fault *f, const struct table_leaf *leaf)
{
	struct spaces *s = f->s;
	struct paddr from = faulting(f, leaf);
	bool zero = is_zero_page(s, from);
	struct table_leaf old;
	struct pfn frame;
	int error = space_take_page(s, &frame);

	if (error)
		return error;
	if (zero)
		space_clear_page(s, frame);
	else
		space_copy_page(s, frame, paddr_to_pfn(from));
	error = table_replace(s->tables, &f->space->root, (struct vaddr){ f->page },
			      pfn_to_paddr(frame), page_rights(f->region->rights), &old);
	if (error) {
		space_drop_page(s, pfn_to_paddr(frame));
		return error;
	}
	f->came_to = zero ? SPACE_FAULT_FROM_ZERO : SPACE_FAULT_COPY;
	f->space->pages += zero;
	s->stats.mapped_pages += zero;
	space_drop_page(s, from);
	return 0;
}

static bool is_shared(const struct spaces *s, const struct table_leaf *leaf)
{
	struct pfn first = paddr_to_pfn(leaf->paddr);

	for (uint32_t i = 0; i < leaf_pages(s, leaf->level); i++)
		if (*table_uses(s->tables, pfn_add(first, i)) > 1)
			return true;
	return false;
}

static int serve_present(struct fault *f, const struct table_leaf *leaf)
{
	struct spaces *s = f->s;
	bool zero = is_zero_page(s, leaf->paddr);
	struct vaddr page = { f->page };
	struct table_leaf old;

	if (f->write && !(leaf->rights & TABLE_WRITE)) {
		if (zero || is_shared(s, leaf))
			return replace(f, leaf);
		f->came_to = SPACE_FAULT_REUSE;
		return table_grant(s->tables, &f->space->root, page,
				   page_rights(f->region->rights));
	}
	f->came_to = SPACE_FAULT_SPURIOUS;
	/* A page of the shared zero table, whose region has become executable. */
	if (f->fetch && !(leaf->rights & TABLE_EXEC))
		return table_replace(s->tables, &f->space->root, page, faulting(f, leaf),
				     page_rights(f->region->rights) & ~(unsigned)TABLE_WRITE, &old);
	return 0;
}

int space_fault(struct spaces *s, struct space *space, struct vaddr va, uint32_t error_code,
		struct space_report *report)
{
	struct fault f = { .s = s,
			   .space = space,
			   .region = region_find(space->regions, va.a),
			   .page = va.a & ~(FRAME_BYTES - 1),
			   .write = error_code & X86_PF_W,
			   .fetch = error_code & X86_PF_I };
	unsigned want = f.write ? SPACE_WRITE : f.fetch ? SPACE_EXEC : 0xff;
	struct table_leaf leaf;
	int error;

	/* A page that may be anything may be read: the processor has no right for it. */
	*report = (struct space_report){ .address = va.a };
	if (!f.region || !(f.region->rights & want)) {
		error = refuse(s, space, va.a, report);
	} else {
		error = table_query(s->tables, &space->root, va, &leaf) ? serve_present(&f, &leaf)
									: serve_missing(&f);
		table_settle(s->tables);
		report->fault = error ? SPACE_FAULT_NO_MEMORY : f.came_to;
	}
	s->stats.faults[report->fault]++;
	return error;
}
