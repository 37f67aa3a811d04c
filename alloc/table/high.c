/*
 * high.c - frames beyond the direct map (high memory), through windows of one page.
 *
 *   region   | s s s s | s s s s | ...       four slots a CPU, used as a stack
 *              CPU 0     CPU 1               their PTEs: one page table, in the direct map
 *
 *   open     next slot: write its PTE        a slot's PTE was 0: nothing is owed
 *   close    clear it, INVLPG if A = 1
 *
 * For the contents of users' pages (cleared, copied), and for page tables that are there while they
 * are made or checked; how entries are reached in between is the page-table system's own business.
 *
 * Invariants
 *  H1  A slot that is not open has PTE 0, and its CPU caches nothing of it.
 *  H2  Slots are used by one CPU each; what is opened last is closed first.
 *  H3  The region's page table is the kernel's, in the direct map, and in every space.
 *
 * Cost: two stores and an INVLPG a frame. Metadata: one page table.
 *
 * Reference: Linux kmap_atomic(), kmap_local_page() (mm/highmem.c).
 */
#include "alloc/port.h"
#include "alloc/table/systems.h"

#define SLOTS 4u /* a CPU: two for a copy, and the same again for a check in between */

static bool has_high(const struct tables *t)
{
	return t->config.frames_end.n > t->reach.direct_end.n;
}

int table_high_init(struct tables *t)
{
	unsigned index;

	if (!has_high(t))
		return 0;
	if (!t->config.layout.high.a || t->config.cpus * SLOTS > table_frame_entries(t->geometry))
		return KERR_UNSUPPORTED;
	int error = table_make_kernel(t, t->config.layout.high, FRAME_BYTES);

	if (error)
		return error;
	t->high_entries = table_kernel_entries(t, t->config.layout.high, 0, &index);
	t->has_high = true;
	return 0;
}

bool table_is_high_window(const struct tables *t, struct vaddr va, uint64_t bytes)
{
	uint64_t base = t->config.layout.high.a;

	return t->has_high && (va.a - base < table_span(t->geometry, 1) || base - va.a < bytes);
}

static struct vaddr slot_address(const struct tables *t, unsigned slot)
{
	return vaddr_add(t->config.layout.high, (uint64_t)slot * FRAME_BYTES);
}

void *table_frame_open(struct tables *t, struct pfn frame)
{
	if (reach_is_direct(&t->reach, frame))
		return frame_direct(&t->reach, frame);
	struct table_cpu *cpu = &t->cpu[port_cpu()];

	if (!t->has_high || cpu->high == SLOTS)
		port_panic("page tables: no window for a frame beyond the direct map");
	unsigned slot = port_cpu() * SLOTS + cpu->high++;

	entry_set(t, t->high_entries, slot, entry_for(t, pfn_to_paddr(frame), 0, TABLE_WRITE));
	t->stats.slot_moves++;
	return port_ptr(slot_address(t, slot));
}

void table_frame_close(struct tables *t, void *contents)
{
	struct vaddr at = port_vaddr(contents);
	uint64_t slot = (at.a - t->config.layout.high.a) >> X86_PAGE_SHIFT;

	if (!t->has_high || slot >= table_frame_entries(t->geometry))
		return;
	t->cpu[port_cpu()].high--;
	if (entry_exchange(t, t->high_entries, (unsigned)slot, 0) & X86_PTE_A)
		table_invlpg(t, at);
}
