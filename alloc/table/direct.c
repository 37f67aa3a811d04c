/*
 * direct.c - page tables through the direct map (T1), through nothing because there is no paging
 * (T0), and kernel tables made in advance (T7).
 *
 * T1   table in frame f  ->  direct map + 4096 f
 *
 *      Nothing to set up and nothing to invalidate but what the mapping itself owes. The price is
 *      that every table must be where the direct map is. On i386 that is the first 768 MiB.
 *
 * T7   the kernel root's upper half, made at boot:
 *
 *      | user half: empty | E ----> table | E ----> table | ... |    every entry is there
 *                           |               |
 *      a new space copies these pointers once; what the kernel maps later stands behind them
 *
 * Invariants
 *  D1  T7: every entry of the upper half of every top table is present, and the same in all spaces:
 *      table_stats.top_copies stays 0.
 *
 * Cost: T1 an addition. T7 up to 256 frames at boot (512 in PAE mode), whether they are ever used.
 *
 * Reference: Linux (PAGE_OFFSET); preallocated kernel tables: Linux preallocate_vmalloc_pages().
 */
#include "alloc/port.h"
#include "alloc/table/systems.h"

static uint64_t no_tables(const struct table_config *config, const char **why)
{
	(void)config;
	*why = "page tables: without paging there are none, and no address spaces";
	return UINT64_MAX;
}

static int no_tables_init(struct tables *t)
{
	(void)t;
	return KERR_UNSUPPORTED;
}

const struct table_ops table_none = {
	.name = "none",
	.id = "T0",
	.summary = "no paging: addresses are physical, processes do not exist (i386)",
	.own_bytes = no_tables,
	.init = no_tables_init,
};

const struct table_ops table_direct = {
	.name = "direct",
	.id = "T1",
	.summary = "direct map: every table at a fixed offset",
	.caps = TABLE_CAP_SPACES | TABLE_CAP_FOREIGN,
	.own_bytes = table_nothing_of_its_own,
	.init = table_no_init,
	.open = table_plain_open,
	.close = table_plain_close,
	.table_new = table_plain_new,
	.table_free = table_plain_free,
};

static int make_upper_half(struct tables *t)
{
	const struct table_geometry *g = t->geometry;
	unsigned top = table_top(g), end = table_frame_entries(g) * g->top_frames;

	for (unsigned i = table_index(g, top, (struct vaddr){ g->user_end }); i < end; i++) {
		struct vaddr va = table_canonical(g, i * table_span(g, top));
		unsigned index;
		void *entries = table_kernel_entries(t, va, top, &index);
		struct pfn frame;

		if (entry_get(t, entries, index) & X86_PTE_P)
			continue;
		if (table_low_new(t, &frame))
			return KERR_NO_MEMORY;
		t->kernel.table_frames++;
		entry_set(t, entries, index, entry_to_table(t, va, frame));
	}
	return 0;
}

const struct table_ops table_preallocated = {
	.name = "preallocated",
	.id = "T7",
	.summary = "direct map, and the kernel's tables made at boot, shared by every space",
	.caps = TABLE_CAP_SPACES | TABLE_CAP_FOREIGN | TABLE_CAP_SHARED,
	.own_bytes = table_nothing_of_its_own,
	.init = make_upper_half,
	.open = table_plain_open,
	.close = table_plain_close,
	.table_new = table_plain_new,
	.table_free = table_plain_free,
};
