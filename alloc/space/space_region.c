/*
 * space_region.c - the calls that change a space's regions: map, unmap, protect, brk.
 *
 * Order in all of them: nodes that may be needed, then the page tables, then the tree. The first
 * two can fail, and leave everything as it was; the third cannot.
 */
#include "alloc/port.h"
#include "alloc/space/space_private.h"

static bool is_range(const struct spaces *s, uint64_t base, uint64_t end)
{
	return base < end && end <= s->tables->geometry->user_end &&
	       !((base | end) & (FRAME_BYTES - 1));
}

/* The first region that has a part of [base, end). */
static struct region *first_in(const struct space *space, uint64_t base, uint64_t end)
{
	struct region *r = region_find(space->regions, base);

	if (!r)
		r = region_above(space->regions, base);
	return r && r->base < end ? r : NULL;
}

static void insert(struct space *space, struct region *r)
{
	space->regions = region_insert(space->regions, r);
	space->region_count++;
}

static void take_out(struct spaces *s, struct space *space, struct region *r)
{
	space->regions = region_remove(space->regions, r);
	space->region_count--;
	space_free_region(s, r);
}

/* Two regions meet at ADDRESS, where one was; NODE becomes the upper one. */
static void cut(struct space *space, struct region *r, uint64_t address, struct region *node)
{
	*node = (struct region){ .base = address,
				 .end = r->end,
				 .rights = r->rights,
				 .heap = r->heap,
				 .large = r->large };
	r->end = address;
	insert(space, node);
}

/* ---- unmap ---- */

static void forget_range(struct spaces *s, struct space *space, uint64_t base, uint64_t end,
			 struct region *spare)
{
	struct region *r;

	while ((r = first_in(space, base, end)) != NULL) {
		if (r->base < base && r->end > end) {
			cut(space, r, end, spare);
			r->end = base;
		} else if (r->base < base) {
			r->end = base;
		} else if (r->end > end) {
			r->base = end;
		} else {
			take_out(s, space, r);
		}
	}
}

int space_unmap(struct spaces *s, struct space *space, uint64_t base, uint64_t end)
{
	struct region *spare = NULL;

	if (!is_range(s, base, end))
		return KERR_INVALID;
	struct region *r = first_in(space, base, end);

	if (!r)
		return 0;
	if (r->base < base && r->end > end && !(spare = space_new_region(s)))
		return KERR_NO_MEMORY;
	int error = space_unmap_pages(s, space, base, end);

	if (error && spare)
		space_free_region(s, spare);
	if (!error)
		forget_range(s, space, base, end, spare);
	return error;
}

/* ---- map ---- */

static bool are_alike(const struct region *a, const struct region *b)
{
	return a->rights == b->rights && a->heap == b->heap && a->large == b->large;
}

/* Neighbours with the same rights become one; guards lie between regions and stay. */
static void join(struct spaces *s, struct space *space, struct region *r)
{
	struct region *below = r->base ? region_below(space->regions, r->base - 1) : NULL;
	struct region *above = region_above(space->regions, r->base);

	if (space_has(s, SPACE_CAP_GUARDS))
		return;
	if (above && above->base == r->end && are_alike(above, r)) {
		uint64_t end = above->end;

		take_out(s, space, above);
		r->end = end;
	}
	if (below && below->end == r->base && are_alike(below, r)) {
		uint64_t end = r->end;

		take_out(s, space, r);
		below->end = end;
	}
}

static int map_kind(struct spaces *s, struct space *space, uint64_t base, uint64_t end,
		    unsigned rights, bool heap)
{
	if (!is_range(s, base, end) || (space_has(s, SPACE_CAP_GUARDS) && base == 0))
		return KERR_INVALID;
	struct region *r = space_new_region(s);

	if (!r)
		return KERR_NO_MEMORY;
	int error = space_unmap(s, space, base, end);

	if (error) {
		space_free_region(s, r);
		return error;
	}
	*r = (struct region){ .base = base,
			      .end = end,
			      .rights = rights & SPACE_RIGHTS,
			      .heap = heap,
			      .large = s->large &&
				       ((rights & SPACE_LARGE) ||
					s->option[SPACE_OPTION_LARGE] == SPACE_LARGE_ALWAYS) };
	insert(space, r);
	join(s, space, r);
	return 0;
}

int space_map(struct spaces *s, struct space *space, uint64_t base, uint64_t end, unsigned rights)
{
	return map_kind(s, space, base, end, rights, false);
}

int space_brk(struct spaces *s, struct space *space, uint64_t brk)
{
	uint64_t end = round_up_u64(brk, FRAME_BYTES);
	int error = 0;

	if (end < brk || end > s->tables->geometry->user_end || brk < space->brk_base)
		return KERR_INVALID;
	if (!space->brk_base) {
		space->brk_base = brk;
		space->brk = brk;
		return 0;
	}
	uint64_t old = round_up_u64(space->brk, FRAME_BYTES);

	if (end > old)
		error = map_kind(s, space, old, end, SPACE_READ | SPACE_WRITE, true);
	else if (end < old)
		error = space_unmap(s, space, end, old);
	if (!error)
		space->brk = brk;
	return error;
}

/* ---- protect ---- */

/* Is there a region that ADDRESS cuts in two? */
static struct region *cut_by(const struct space *space, uint64_t address)
{
	struct region *r = region_find(space->regions, address);

	return r && r->base < address ? r : NULL;
}

static void set_rights(struct space *space, uint64_t base, uint64_t end, unsigned rights,
		       struct region *node[2])
{
	struct region *r = cut_by(space, base);

	if (r)
		cut(space, r, base, node[0]);
	r = cut_by(space, end);
	if (r)
		cut(space, r, end, node[1]);
	for (r = first_in(space, base, end); r; r = first_in(space, r->end, end))
		r->rights = (uint8_t)rights;
}

int space_protect(struct spaces *s, struct space *space, uint64_t base, uint64_t end,
		  unsigned rights)
{
	struct region *node[2] = { NULL, NULL };
	bool wanted[2] = { cut_by(space, base) != NULL, cut_by(space, end) != NULL };
	int error = 0;

	if (!is_range(s, base, end))
		return KERR_INVALID;
	for (unsigned i = 0; i < 2; i++)
		if (wanted[i] && !(node[i] = space_new_region(s)))
			error = KERR_NO_MEMORY;
	if (!error) {
		error = table_protect(s->tables, &space->root, (struct vaddr){ base },
				      (struct vaddr){ end }, page_rights(rights));
		table_settle(s->tables);
	}
	if (!error)
		set_rights(space, base, end, rights, node);
	for (unsigned i = 0; error && i < 2; i++)
		if (node[i])
			space_free_region(s, node[i]);
	return error;
}
