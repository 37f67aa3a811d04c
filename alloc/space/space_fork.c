/*
 * space_fork.c - a space like another: regions are copied, pages shared until one side writes (V4),
 * or copied at once.
 *
 * A failure half-way takes the new space apart again. The parent keeps its pages; those that were
 * shared already are read-only there, and its next write finds itself the only user.
 */
#include "alloc/port.h"
#include "alloc/space/space_private.h"

struct fork {
	struct spaces *s;
	struct space *parent, *child;
	int error;
};

/* A table_visit_fn: the child has the page too. */
static int count_shared(void *context, struct vaddr va, const struct table_leaf *leaf)
{
	struct fork *f = context;

	(void)va;
	if (is_zero_page(f->s, leaf->paddr))
		return 0;
	uint32_t pages = leaf_pages(f->s, leaf->level);

	for (uint32_t i = 0; i < pages; i++)
		++*table_uses(f->s->tables, pfn_add(paddr_to_pfn(leaf->paddr), i));
	f->child->pages += pages;
	f->s->stats.mapped_pages += pages;
	f->s->stats.shared += pages;
	return 0;
}

/* 4 KiB that the parent maps: the child gets a copy. */
static int copy_frame(struct fork *f, struct vaddr va, struct pfn from, unsigned rights)
{
	struct pfn frame;
	int error = space_take_page(f->s, &frame);

	if (error)
		return error;
	space_copy_page(f->s, frame, from);
	error = space_map_page(f->s, f->child, va.a, frame, 0, rights);
	if (error)
		space_drop_page(f->s, pfn_to_paddr(frame));
	return error;
}

/* A table_visit_fn of the parent. What a large page holds becomes small ones. */
static int copy_leaf(void *context, struct vaddr va, const struct table_leaf *leaf)
{
	struct fork *f = context;

	if (is_zero_page(f->s, leaf->paddr)) {
		f->error =
			table_map(f->s->tables, &f->child->root, va, leaf->paddr, 0, leaf->rights);
		return f->error;
	}
	for (uint32_t i = 0; !f->error && i < leaf_pages(f->s, leaf->level); i++)
		f->error = copy_frame(f, vaddr_add(va, i * FRAME_BYTES),
				      pfn_add(paddr_to_pfn(leaf->paddr), i), leaf->rights);
	return f->error;
}

static int fork_pages(struct fork *f, const struct region *r)
{
	struct tables *t = f->s->tables;
	struct vaddr base = { r->base }, end = { r->end };
	int error;

	if (space_has(f->s, SPACE_CAP_COW))
		return table_share(t, &f->parent->root, &f->child->root, base, end, count_shared,
				   f);
	error = table_walk(t, &f->parent->root, base, end, copy_leaf, f);
	return error ? f->error : 0;
}

static int fork_region(struct fork *f, const struct region *r)
{
	struct region *copy = space_new_region(f->s);

	if (!copy)
		return KERR_NO_MEMORY;
	*copy = (struct region){ .base = r->base,
				 .end = r->end,
				 .rights = r->rights,
				 .heap = r->heap,
				 .large = r->large };
	f->child->regions = region_insert(f->child->regions, copy);
	f->child->region_count++;
	return fork_pages(f, r);
}

int space_fork(struct spaces *s, struct space *parent, struct space **out)
{
	struct fork f = { .s = s, .parent = parent };
	int error = space_new(s, &f.child);

	if (error)
		return error;
	f.child->brk_base = parent->brk_base;
	f.child->brk = parent->brk;
	for (const struct region *r = region_first(parent->regions); !error && r;
	     r = region_above(parent->regions, r->base))
		error = fork_region(&f, r);
	table_settle(s->tables);
	if (error) {
		space_free(s, f.child);
		return KERR_NO_MEMORY;
	}
	*out = f.child;
	return 0;
}
