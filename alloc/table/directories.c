/*
 * directories.c - permanently mapped directories (T5): a reserved area of kernel addresses with one
 * page for each process, always there.
 *
 *   area     | D0 | D1 | z | D3 | z | z | ... | z |     D: a process's top table (4 pages in PAE
 * mode) number = root->number                      z: the zero frame, read-only
 *
 *   | used | bit map of numbers |
 *
 * Any process's directory is one address computation away, whatever is loaded; the area's size is a
 * hard limit of processes. Until a number is used its page shows one shared zero frame. Lower
 * tables are reached through the direct map.
 *
 * Invariants
 *  P1  Number n is used iff its bit is set iff its page maps root->top[]; all other pages map the
 *      zero frame without the right to write.
 *  P2  A page of the area goes from one frame to another only with an INVLPG everywhere, if it was
 *      ever looked at.
 *
 * Cost: 4 bytes (8) of page table a process that could be, at boot: 256 KiB for 65,536 on i386.
 *
 * Reference: the layout is that of small i386 kernels with a fixed process table. Differs: lower
 * tables are not in the area.
 */
#include "alloc/bitops.h"
#include "alloc/port.h"
#include "alloc/table/systems.h"

struct directories_state {
	struct pfn zero;
	uint32_t limit;
	uint32_t next; /* where the search for a free number begins */
	uint64_t used[];
};

static uint32_t limit_of(const struct table_config *config)
{
	return config->layout.directories_max;
}

static uint64_t directories_bytes(const struct table_config *config, const char **why)
{
	if (config->layout.directories.a && limit_of(config))
		return sizeof(struct directories_state) +
		       (limit_of(config) + BITS_PER_WORD - 1) / BITS_PER_WORD * sizeof(uint64_t);
	*why = "page tables: the address space has no room for permanently mapped directories";
	return UINT64_MAX;
}

static struct directories_state *state_of(const struct tables *t)
{
	return t->own;
}

static struct vaddr page_at(const struct tables *t, uint32_t number, unsigned i)
{
	return vaddr_add(t->config.layout.directories,
			 ((uint64_t)number * t->geometry->top_frames + i) * FRAME_BYTES);
}

static struct table_kept kept_area(const struct tables *t, unsigned number)
{
	uint64_t pages = (uint64_t)limit_of(&t->config) * t->geometry->top_frames;

	return (struct table_kept){ t->config.layout.directories,
				    number == 0 ? pages * FRAME_BYTES : 0 };
}

static int directories_init(struct tables *t)
{
	struct directories_state *d = state_of(t);
	uint64_t pages = (uint64_t)limit_of(&t->config) * t->geometry->top_frames;
	int error = table_low_new(t, &d->zero);

	if (error)
		return error;
	t->kernel.table_frames++;
	d->limit = limit_of(&t->config);
	error = table_make_kernel(t, t->config.layout.directories, pages * FRAME_BYTES);
	for (uint64_t i = 0; !error && i < pages; i++) {
		unsigned index;
		void *entries = table_kernel_entries(t, page_at(t, 0, (unsigned)i), 0, &index);

		entry_set(t, entries, index, entry_for(t, pfn_to_paddr(d->zero), 0, TABLE_GLOBAL));
	}
	return error;
}

/* One page of the area shows FRAME from now on. */
static void show(struct tables *t, struct vaddr page, struct pfn frame, unsigned rights)
{
	struct gather g = { .t = t, .root = &t->kernel };
	unsigned index;
	void *entries = table_kernel_entries(t, page, 0, &index);

	gather_leaf(&g, page, 0,
		    entry_exchange(t, entries, index,
				   entry_for(t, pfn_to_paddr(frame), 0, rights | TABLE_GLOBAL)));
	gather_flush(&g);
}

static bool find_number(struct directories_state *d, uint32_t *number)
{
	uint32_t words = (d->limit + BITS_PER_WORD - 1) / BITS_PER_WORD;

	for (uint32_t i = 0; i < words; i++) {
		uint32_t word = (d->next + i) % words;

		if (d->used[word] == UINT64_MAX)
			continue;
		*number = word * BITS_PER_WORD + bit_lowest(~d->used[word]);
		if (*number >= d->limit)
			continue;
		d->next = word;
		return true;
	}
	return false;
}

static int directories_root_new(struct tables *t, struct table_root *root)
{
	struct directories_state *d = state_of(t);

	if (!find_number(d, &root->number))
		return KERR_NO_MEMORY;
	d->used[root->number / BITS_PER_WORD] |= 1ull << root->number % BITS_PER_WORD;
	for (unsigned i = 0; i < t->geometry->top_frames; i++)
		show(t, page_at(t, root->number, i), root->top[i], TABLE_WRITE);
	return 0;
}

static void directories_root_free(struct tables *t, struct table_root *root)
{
	struct directories_state *d = state_of(t);

	for (unsigned i = 0; i < t->geometry->top_frames; i++)
		show(t, page_at(t, root->number, i), d->zero, 0);
	d->used[root->number / BITS_PER_WORD] &= ~(1ull << root->number % BITS_PER_WORD);
}

static void *directories_open(struct tables *t, struct table_root *root, unsigned level,
			      struct vaddr va, struct pfn frame)
{
	unsigned top = table_top(t->geometry);

	if (level < top || root == &t->kernel)
		return frame_open(&t->reach, frame);
	return port_ptr(
		page_at(t, root->number,
			table_index(t->geometry, top, va) / table_frame_entries(t->geometry)));
}

static void directories_close(struct tables *t, void *entries)
{
	(void)t;
	(void)entries;
}

const struct table_ops table_directories = {
	.name = "directories",
	.id = "T5",
	.summary = "permanently mapped directories: one page a process, a hard limit on processes",
	.caps = TABLE_CAP_SPACES | TABLE_CAP_FOREIGN | TABLE_CAP_LIMIT,
	.own_bytes = directories_bytes,
	.kept = kept_area,
	.init = directories_init,
	.open = directories_open,
	.close = directories_close,
	.table_new = table_plain_new,
	.table_free = table_plain_free,
	.root_new = directories_root_new,
	.root_free = directories_root_free,
};
