/*
 * pool.c - page tables as objects of a kernel pool (T6), known by pointers and not by frames.
 *
 *   chunk of 16 frames   | t | T c | t | free | T c | ... |     t: table of level 0, one page
 *   heads[]:  base, 16 bits of what is used                     T c: an upper table and its
 * companion
 *
 *   companion: for each entry of T that leads to a table, that table's kernel address
 *
 *       root --> c [i] ------> c' [j] ------> t        no frame number is turned into an address
 *                T [i] = frame   T' [j] = frame        (the processor's view)
 *
 * The kernel needs no fixed map of RAM to find a table, only pointers; the price is a second page
 * for every upper table, chunks that are kept while one table in them lives, and one more store
 * whenever a table is linked. The kernel's own tables, made before there is a pool, are boot's.
 *
 * Invariants
 *  Q1  companion[i] is the address of the table that entry i leads to, wherever there is one.
 *  Q2  A chunk's bit is set iff its page belongs to a live table; a chunk without any is given
 * back. Q3  The pages of an upper table and its companion are neighbours.
 *
 * Cost: a descent is one load a level; alloc: the first chunk with room, O(chunks).
 *
 * Reference: page tables from the kernel's heap with a parallel array of pointers, as tutorials for
 * small kernels do it; chunks: Bonwick, "The slab allocator" (USENIX 1994). Needs an allocator that
 * gives runs.
 */
#include "alloc/bitops.h"
#include "alloc/port.h"
#include "alloc/table/systems.h"

#define CHUNK_FRAMES 16u
#define CHUNK_FULL   ((1u << CHUNK_FRAMES) - 1)

struct chunk {
	struct pfn first;
	uint32_t used; /* one bit a page; 0: no chunk here */
};

struct pool_state {
	uint32_t capacity, chunks; /* heads; live ones */
	uint32_t hint;		   /* no head before this one has a free page */
	struct chunk chunk[];
};

static uint32_t capacity_of(const struct table_config *config)
{
	return (uint32_t)((config->frames_end.n - config->frames_first.n) / CHUNK_FRAMES + 1);
}

static uint64_t pool_bytes(const struct table_config *config, const char **why)
{
	if (config->frame_caps & FRAME_CAP_RUNS)
		return sizeof(struct pool_state) + capacity_of(config) * sizeof(struct chunk);
	*why = "page tables: the pool needs a frame allocator that gives runs of frames";
	return UINT64_MAX;
}

static struct pool_state *state_of(const struct tables *t)
{
	return t->own;
}

static int pool_init(struct tables *t)
{
	state_of(t)->capacity = capacity_of(&t->config);
	return 0;
}

static struct vaddr address_of(const struct tables *t, struct pfn frame)
{
	return vaddr_add(t->config.reach.direct, pfn_to_paddr(frame).a);
}

/* The first of PAGES neighbours that are free, as a bit number; CHUNK_FRAMES: none. */
static unsigned free_pages(const struct chunk *chunk, unsigned pages)
{
	uint32_t free = ~chunk->used & CHUNK_FULL;

	if (pages == 2)
		free &= free >> 1;
	return free ? bit_lowest(free) : CHUNK_FRAMES;
}

static int new_chunk(struct tables *t, struct chunk **out)
{
	struct pool_state *p = state_of(t);
	struct frame_request request = { .frames = CHUNK_FRAMES,
					 .align_frames = 1,
					 .zone = FRAME_ZONE_NORMAL,
					 .mobility = FRAME_UNMOVABLE,
					 .cpu = (uint16_t)port_cpu() };
	struct frame_block block;
	struct chunk *chunk = p->chunk;

	while (chunk->used)
		chunk++;
	if (frame_alloc(&t->config.frames, &request, &block))
		return KERR_NO_MEMORY;
	chunk->first = block.first;
	p->chunks++;
	*out = chunk;
	return 0;
}

static int pool_new(struct tables *t, unsigned level, struct pfn *frame)
{
	struct pool_state *p = state_of(t);
	unsigned pages = level > 0 ? 2 : 1, at = CHUNK_FRAMES;
	struct chunk *chunk = NULL;

	for (uint32_t i = 0, seen = 0; seen < p->chunks && at == CHUNK_FRAMES; i++) {
		chunk = &p->chunk[i];
		seen += chunk->used != 0;
		if (chunk->used)
			at = free_pages(chunk, pages);
	}
	if (at == CHUNK_FRAMES) {
		int error = new_chunk(t, &chunk);

		if (error)
			return error;
		at = 0;
	}
	chunk->used |= ((1u << pages) - 1) << at;
	*frame = pfn_add(chunk->first, at);
	memset(port_ptr(address_of(t, *frame)), 0, pages * FRAME_BYTES);
	return 0;
}

static void pool_free(struct tables *t, unsigned level, struct pfn frame)
{
	struct pool_state *p = state_of(t);
	unsigned pages = level > 0 ? 2 : 1;
	struct chunk *chunk = p->chunk;

	while (!chunk->used || frame.n - chunk->first.n >= CHUNK_FRAMES)
		chunk++;
	chunk->used &= ~(((1u << pages) - 1) << (frame.n - chunk->first.n));
	if (chunk->used)
		return;
	struct frame_block block = { chunk->first, CHUNK_FRAMES };

	p->chunks--;
	if (frame_free(&t->config.frames, &block) == KERR_NOT_OWNED)
		port_panic("page tables: the frame allocator does not know the pool's chunk");
}

/* ---- companions ---- */

static uint64_t companion_get(const struct tables *t, struct vaddr companion, unsigned index)
{
	return table_canonical(t->geometry, entry_get(t, port_ptr(companion), index)).a;
}

/* The companion of the table of LEVEL on VA's way. */
static struct vaddr companion_at(const struct tables *t, const struct table_root *root,
				 unsigned level, struct vaddr va)
{
	unsigned top = table_top(t->geometry);
	struct vaddr at = { root->companion[table_index(t->geometry, top, va) /
					    table_frame_entries(t->geometry)] };

	for (unsigned l = top; l > level; l--)
		at.a = companion_get(t, at, frame_index(t, l, va)) + FRAME_BYTES;
	return at;
}

static void *pool_open(struct tables *t, struct table_root *root, unsigned level, struct vaddr va,
		       struct pfn frame)
{
	if (root == &t->kernel || !is_user(t, va))
		return frame_open(&t->reach, frame);
	if (level == table_top(t->geometry))
		return port_ptr((struct vaddr){ companion_at(t, root, level, va).a - FRAME_BYTES });
	struct vaddr above = companion_at(t, root, level + 1, va);

	return port_ptr((struct vaddr){ companion_get(t, above, frame_index(t, level + 1, va)) });
}

static void pool_close(struct tables *t, void *entries)
{
	(void)t;
	(void)entries;
}

static void pool_linked(struct tables *t, struct table_root *root, unsigned level, struct vaddr va,
			struct pfn frame)
{
	if (root == &t->kernel)
		return;
	entry_set(t, port_ptr(companion_at(t, root, level + 1, va)), frame_index(t, level + 1, va),
		  address_of(t, frame).a);
}

static int pool_root_new(struct tables *t, struct table_root *root)
{
	for (unsigned i = 0; i < t->geometry->top_frames; i++)
		root->companion[i] = address_of(t, pfn_add(root->top[i], 1)).a;
	return 0;
}

const struct table_ops table_pool = {
	.name = "pool",
	.id = "T6",
	.summary = "tables are objects of a pool, found by pointers kept beside them",
	.caps = TABLE_CAP_SPACES | TABLE_CAP_FOREIGN,
	.own_bytes = pool_bytes,
	.init = pool_init,
	.open = pool_open,
	.close = pool_close,
	.table_new = pool_new,
	.table_free = pool_free,
	.linked = pool_linked,
	.root_new = pool_root_new,
};
