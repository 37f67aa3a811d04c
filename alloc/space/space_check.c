/*
 * space_check.c - the numbered invariants of space.c for one space; those of its regions are told
 * as 11 and 12, those of its page tables as 20 and more.
 */
#include "alloc/port.h"
#include "alloc/space/space_private.h"

struct checker {
	struct spaces *s;
	struct space *space;
	struct violation *violation;
	uint64_t pages;
};

static int found(struct checker *c, unsigned invariant, struct pfn frame, const char *what)
{
	*c->violation = (struct violation){ invariant, frame, what };
	return KERR_CORRUPT;
}

static int check_page(void *context, struct vaddr va, const struct table_leaf *leaf)
{
	struct checker *c = context;
	const struct region *r = region_find(c->space->regions, va.a);
	uint32_t pages = leaf_pages(c->s, leaf->level);
	struct pfn frame = paddr_to_pfn(leaf->paddr);
	bool zero = is_zero_page(c->s, leaf->paddr);
	bool no_execute = c->s->tables->geometry->no_execute;

	uint32_t least = UINT32_MAX, most = 0;

	for (uint32_t i = 0; !zero && i < pages; i++) {
		uint32_t uses = *table_uses(c->s->tables, pfn_add(frame, i));

		least = uses < least ? uses : least;
		most = uses > most ? uses : most;
	}
	if (!r || va.a + pages * FRAME_BYTES > r->end)
		return found(c, 1, frame, "a page is mapped outside of every region");
	if (least == 0)
		return found(c, 2, frame, "a page is mapped whose frame counts no user");
	if ((leaf->rights & TABLE_WRITE) && (zero || !(r->rights & SPACE_WRITE) || most > 1))
		return found(c, 3, frame, "a page may be written that is shared or read-only");
	if (!zero && ((leaf->rights ^ page_rights(r->rights)) &
		      (TABLE_USER | (no_execute ? TABLE_EXEC : 0))))
		return found(c, 4, frame, "a page has other rights than its region");
	c->pages += zero ? 0 : pages;
	return 0;
}

int space_check(struct spaces *s, struct space *space, struct violation *violation)
{
	struct checker c = { .s = s, .space = space, .violation = violation };
	unsigned broken = region_check(space->regions);
	struct vaddr end = { s->tables->geometry->user_end };
	int error;

	if (broken)
		return found(&c, 10 + broken, pfn(0),
			     "regions overlap or their tree is out of balance");
	error = table_walk(s->tables, &space->root, (struct vaddr){ 0 }, end, check_page, &c);
	table_settle(s->tables);
	if (error)
		return KERR_CORRUPT;
	if (c.pages != space->pages)
		return found(&c, 5, space->root.top[0], "a space does not count its pages right");
	error = table_check(s->tables, &space->root, violation);
	if (error)
		violation->invariant += 20;
	return error;
}
