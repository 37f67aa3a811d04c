/*
 * space_fault.c - the page-fault handler of user code, and what it says of a touch that is refused.
 *
 * A page that is there and lacks the right is, by region and users: written in place (rights are
 * gained: nothing is invalidated, the fault itself has dropped what the CPU cached of the page, SDM
 * 3, 4.10.4.1), or replaced by a frame of its own (invalidated where it was accessed).
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
	error = space_map_page(f->s, f->space, f->page, frame, page_rights(f->region->rights));
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

static int serve_missing(struct fault *f)
{
	if (f->write || !space_has(f->s, SPACE_CAP_ZERO_FRAME))
		return map_fresh(f);
	return link_zero_table(f) ? 0 : map_zero(f);
}

/* A frame of its own in place of LEAF's, with its contents. */
static int replace(struct fault *f, const struct table_leaf *leaf)
{
	struct spaces *s = f->s;
	bool zero = is_zero_page(s, leaf->paddr);
	struct table_leaf old;
	struct pfn frame;
	int error = space_take_page(s, &frame);

	if (error)
		return error;
	if (zero)
		space_clear_page(s, frame);
	else
		space_copy_page(s, frame, paddr_to_pfn(leaf->paddr));
	error = table_replace(s->tables, &f->space->root, (struct vaddr){ f->page },
			      pfn_to_paddr(frame), page_rights(f->region->rights), &old);
	if (error) {
		space_drop_page(s, pfn_to_paddr(frame));
		return error;
	}
	f->came_to = zero ? SPACE_FAULT_FROM_ZERO : SPACE_FAULT_COPY;
	f->space->pages += zero;
	s->stats.mapped_pages += zero;
	space_drop_page(s, leaf->paddr);
	return 0;
}

static int serve_present(struct fault *f, const struct table_leaf *leaf)
{
	struct spaces *s = f->s;
	bool zero = is_zero_page(s, leaf->paddr);
	struct vaddr page = { f->page };
	struct table_leaf old;

	if (f->write && !(leaf->rights & TABLE_WRITE)) {
		if (zero || *table_uses(s->tables, paddr_to_pfn(leaf->paddr)) > 1)
			return replace(f, leaf);
		f->came_to = SPACE_FAULT_REUSE;
		return table_grant(s->tables, &f->space->root, page,
				   page_rights(f->region->rights));
	}
	f->came_to = SPACE_FAULT_SPURIOUS;
	/* A page of the shared zero table, whose region has become executable. */
	if (f->fetch && !(leaf->rights & TABLE_EXEC))
		return table_replace(s->tables, &f->space->root, page, leaf->paddr,
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
