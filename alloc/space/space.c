/*
 * space.c - address spaces: their start, their frames, their end. The idea is in space.h.
 *
 *   struct spaces --> spaces (objects) --> struct space: page-table root, regions (AVL tree)
 *                                             |
 *   uses[frame], 4 bytes a frame of RAM   tables: page -> frame, present where touched
 *
 * Invariants (space_check.c)
 *  S1  Every page that is mapped lies in a region, a large one wholly.
 *  S2  uses[frame] of a page's frame, of each frame of a large page, is the number of spaces that
 *      map it, at least 1; the zero frame is not counted.
 *  S3  A page that may be written has one user, is not the zero frame, and its region allows it. A
 *      large page is shared as long as one of its frames is.
 *  S4  A page's other rights are its region's.
 *  S5  space->pages is the number of pages of 4 KiB that it maps to frames other than the zero
 *      frame, and stats.mapped_pages their sum over all spaces.
 *  S6  stats.user_frames is the number of frames with uses that are no tables.
 *
 * A large page's frames come as one block and go as one if their last user maps all of them, one by
 * one where the page was split: only an allocator that frees parts of blocks can back them.
 *
 * Cost: a fault is O(log regions) and one descent through the tables; memory: 4 bytes a frame, some
 * 100 bytes a region, 200 a space.
 *
 * References: Mach's demand paging (Rashid 1987); copy-on-write: Linux do_wp_page(), which also
 * writes in place for the last user. Differs: no files, no swap; regions are private.
 */
#include "alloc/port.h"
#include "alloc/space/space_private.h"

/* ---- start and end ---- */

static uint64_t tables_offset(void)
{
	return round_up_u64(sizeof(struct spaces), 64);
}

uint64_t spaces_state_bytes(const struct spaces_config *config, const char **why)
{
	if (!(config->policy->caps & SPACE_CAP_DEMAND)) {
		*why = "spaces: the policy has no address spaces";
		return 0;
	}
	uint64_t bytes = table_state_bytes(config->table_ops, &config->tables, why);

	return bytes ? tables_offset() + bytes : 0;
}

static int take_zero(struct spaces *s)
{
	if (!space_has(s, SPACE_CAP_ZERO_FRAME)) {
		s->zero = pfn(UINT64_MAX);
		return 0;
	}
	if (table_take_kernel_frame(s->tables, &s->zero))
		return KERR_NO_MEMORY;
	space_clear_page(s, s->zero);
	return space_has(s, SPACE_CAP_ZERO_TABLE) ? table_make_zero(s->tables, s->zero) : 0;
}

static bool large_possible(const struct spaces_config *config)
{
	unsigned needed = FRAME_CAP_RUNS | FRAME_CAP_PARTIAL_FREE;

	return (config->policy->caps & SPACE_CAP_LARGE) && !config->tables.small_only &&
	       config->option[SPACE_OPTION_LARGE] != SPACE_LARGE_NEVER &&
	       (config->tables.frame_caps & needed) == needed;
}

int spaces_init(const struct spaces_config *config, void *state, struct spaces **out)
{
	struct spaces *s = state;

	s->tables = (struct tables *)((char *)state + tables_offset());
	s->policy = config->policy;
	s->frames = config->tables.frames;
	reach_bind(&s->reach, &config->tables.reach);
	for (unsigned i = 0; i < SPACE_OPTIONS_MAX; i++)
		s->option[i] = config->option[i];
	s->large = large_possible(config);
	objects_init(&s->space_objects, &s->frames, &s->reach, sizeof(struct space));
	objects_init(&s->region_objects, &s->frames, &s->reach, sizeof(struct region));
	int error = table_init(config->table_ops, &config->tables, s->tables);

	if (!error)
		error = take_zero(s);
	if (!error)
		*out = s;
	return error;
}

void spaces_fini(struct spaces *s)
{
	if (s->first)
		port_panic("spaces: the end comes while processes live");
	table_drop_zero(s->tables);
	if (space_has(s, SPACE_CAP_ZERO_FRAME))
		table_give_kernel_frame(s->tables, s->zero);
}

/* ---- frames of pages ---- */

int space_take_block(struct spaces *s, unsigned level, struct pfn *first)
{
	uint32_t frames = leaf_pages(s, level);
	struct frame_request request = { .frames = frames,
					 .align_frames = frames,
					 .mobility = FRAME_MOVABLE,
					 .cpu = (uint16_t)port_cpu() };
	struct frame_block block;

	if (frame_alloc(&s->frames, &request, &block))
		return KERR_NO_MEMORY;
	*first = block.first;
	for (uint32_t i = 0; i < frames; i++)
		*table_uses(s->tables, pfn_add(*first, i)) = 1;
	s->stats.user_frames += frames;
	if (s->stats.user_frames > s->stats.user_frames_peak)
		s->stats.user_frames_peak = s->stats.user_frames;
	return 0;
}

int space_take_page(struct spaces *s, struct pfn *frame)
{
	return space_take_block(s, 0, frame);
}

void space_clear_page(struct spaces *s, struct pfn frame)
{
	void *contents = table_frame_open(s->tables, frame);

	memset(contents, 0, FRAME_BYTES);
	table_frame_close(s->tables, contents);
}

void space_copy_page(struct spaces *s, struct pfn to, struct pfn from)
{
	void *target = table_frame_open(s->tables, to);
	void *source = table_frame_open(s->tables, from);

	memcpy(target, source, FRAME_BYTES);
	table_frame_close(s->tables, source);
	table_frame_close(s->tables, target);
	s->stats.copies++;
}

static void give_back(struct spaces *s, struct pfn first, uint32_t frames)
{
	struct frame_block block = { first, frames };

	s->stats.user_frames -= frames;
	if (frame_free(&s->frames, &block) == KERR_NOT_OWNED)
		port_panic("spaces: the frame allocator does not know its own frame");
}

void space_drop_page(struct spaces *s, struct paddr pa)
{
	struct pfn frame = paddr_to_pfn(pa);

	if (!is_zero_page(s, pa) && --*table_uses(s->tables, frame) == 0)
		give_back(s, frame, 1);
}

void space_drop_block(struct spaces *s, struct paddr pa, unsigned level)
{
	struct pfn first = paddr_to_pfn(pa);
	uint32_t frames = leaf_pages(s, level), last = 0;

	if (is_zero_page(s, pa))
		return;
	for (uint32_t i = 0; i < frames; i++)
		last += --*table_uses(s->tables, pfn_add(first, i)) == 0;
	if (last == frames) {
		give_back(s, first, frames);
		return;
	}
	for (uint32_t i = 0; last > 0 && i < frames; i++)
		if (*table_uses(s->tables, pfn_add(first, i)) == 0) {
			give_back(s, pfn_add(first, i), 1);
			last--;
		}
}

struct drop {
	struct spaces *spaces;
	struct space *space;
};

/* A table_visit_fn. */
static int drop_leaf(void *context, struct vaddr va, const struct table_leaf *leaf)
{
	struct drop *drop = context;

	(void)va;
	if (is_zero_page(drop->spaces, leaf->paddr))
		return 0;
	drop->space->pages -= leaf_pages(drop->spaces, leaf->level);
	drop->spaces->stats.mapped_pages -= leaf_pages(drop->spaces, leaf->level);
	space_drop_block(drop->spaces, leaf->paddr, leaf->level);
	return 0;
}

int space_unmap_pages(struct spaces *s, struct space *space, uint64_t base, uint64_t end)
{
	struct drop drop = { s, space };
	int error = table_unmap(s->tables, &space->root, (struct vaddr){ base },
				(struct vaddr){ end }, drop_leaf, &drop);

	table_settle(s->tables);
	return error;
}

int space_map_page(struct spaces *s, struct space *space, uint64_t address, struct pfn frame,
		   unsigned level, unsigned rights)
{
	int error = table_map(s->tables, &space->root, (struct vaddr){ address },
			      pfn_to_paddr(frame), level, rights);

	if (error)
		return error;
	space->pages += leaf_pages(s, level);
	s->stats.mapped_pages += leaf_pages(s, level);
	return 0;
}

/* ---- spaces ---- */

struct region *space_new_region(struct spaces *s)
{
	struct region *region = object_alloc(&s->region_objects);

	s->stats.regions += region != NULL;
	return region;
}

void space_free_region(struct spaces *s, struct region *region)
{
	s->stats.regions--;
	object_free(&s->region_objects, region);
}

int space_new(struct spaces *s, struct space **out)
{
	uint64_t limit = s->option[SPACE_OPTION_PROCESSES];

	if (limit && s->stats.spaces >= limit)
		return KERR_NO_MEMORY;
	struct space *space = object_alloc(&s->space_objects);

	if (!space)
		return KERR_NO_MEMORY;
	int error = table_root_new(s->tables, &space->root);

	table_settle(s->tables);
	if (error) {
		object_free(&s->space_objects, space);
		return error;
	}
	space->next = s->first;
	if (s->first)
		s->first->previous = space;
	s->first = space;
	if (++s->stats.spaces > s->stats.spaces_peak)
		s->stats.spaces_peak = s->stats.spaces;
	*out = space;
	return 0;
}

static void free_regions(struct spaces *s, struct region *region)
{
	if (!region)
		return;
	free_regions(s, region->left);
	free_regions(s, region->right);
	space_free_region(s, region);
}

void space_free(struct spaces *s, struct space *space)
{
	if (s->tables->cpu[port_cpu()].running == &space->root)
		space_switch(s, NULL);
	/* Nothing lies partly in it, so nothing is split, and it cannot fail. */
	if (space_unmap_pages(s, space, 0, s->tables->geometry->user_end))
		port_panic("spaces: an exit needs memory");
	table_root_free(s->tables, &space->root);
	table_settle(s->tables);
	free_regions(s, space->regions);
	if (space->next)
		space->next->previous = space->previous;
	if (space->previous)
		space->previous->next = space->next;
	else
		s->first = space->next;
	s->stats.spaces--;
	object_free(&s->space_objects, space);
}

void space_switch(struct spaces *s, struct space *space)
{
	table_run(s->tables, space ? &space->root : &s->tables->kernel);
}
