/*
 * recursive.c - page tables through the recursive slot (T2), with a second slot for a foreign space
 * (T3).
 *
 *   top table of the space that is loaded
 *   | user ... | kernel ... | F --> foreign top (T3) | R --> this very table |
 *
 *   With R, the walk for an address inside the slot meets the top table twice and so ends one level
 *   early, in a table instead of a page:
 *
 *     table of level 0 for va:  slot + (va >> 12) * entry bytes             = shown(va)
 *     table of level l for va:  shown(shown(...(va)))                       l + 1 times
 *     of the foreign space:     the last step, which is the walk's first, through F
 *
 *   i386: R is entry 1023, tables at 0xffc00000, directory at 0xfffff000. PAE: four entries, one
 *   for each frame of the directory. 4 levels: R is 511, F is 510.
 *
 * T2 has no way to another space's tables but to load that space: CR3 there and back, TLB lost.
 * T3 points F there; what is cached of the slot is flushed when F moves.
 *
 * Invariants
 *  R1  R of every space leads to its own top table; F is empty, or, inside an operation, leads to
 *      the top table of cpu->foreign in the space that is loaded on that CPU: CPUs that run one
 *      space share its F.
 *  R2  No entry that leads to a table has G: read as a leaf through the slot it would survive loads
 *      of CR3.
 *  R3  A table that goes, or comes in the place of a large page, owes an INVLPG of the page that
 * the slot shows it at, wherever the space is loaded: a large page's entry, read as a leaf, shows
 *      the memory itself there.
 *  R4  The slot is never read below a large page (table_map.c, M4).
 *  R5  Before a CPU looks through F in another operation, or at another space, it flushes, unless
 *      nobody looked through F since its last flush. (CPUs may share a TLB.)
 *
 * Cost: an address computation; the first look into a table costs a TLB miss. 5 levels: a slot
 * covers 256 TiB, so the layout may have no room for one.
 *
 * Reference: the technique of Windows NT and of many small kernels (Intel SDM 3, 4.3 makes it work:
 * an entry that leads to a table has the format of one that maps a page).
 */
#include "alloc/port.h"
#include "alloc/table/systems.h"

/* ---- addresses ---- */

static struct vaddr shown(const struct tables *t, struct vaddr slot, struct vaddr va)
{
	uint64_t page = (va.a & t->geometry->va_mask) >> X86_PAGE_SHIFT;

	return vaddr_add(slot, page * table_entry_bytes(t->geometry));
}

/* VA's entry of LEVEL, by the slot of the space that is loaded or by the foreign one. */
static struct vaddr entry_at(const struct tables *t, struct vaddr slot, unsigned level,
			     struct vaddr va)
{
	for (unsigned l = 0; l < level; l++)
		va = shown(t, t->config.layout.own_slot, va);
	return shown(t, slot, va);
}

static struct vaddr page_of(struct vaddr va)
{
	return (struct vaddr){ va.a & ~(FRAME_BYTES - 1) };
}

/* ---- slots ---- */

/* Entries of ROOT's top table that make up SLOT lead to the top table of TO; NULL: nowhere. In the
 * direct map: of a space that is being made, or is not loaded. */
static void fill_slot(struct tables *t, struct table_root *root, struct vaddr slot,
		      const struct table_root *to)
{
	unsigned top = table_top(t->geometry), frame_entries = table_frame_entries(t->geometry);

	for (unsigned i = 0; i < t->geometry->top_frames; i++) {
		unsigned index = table_index(t->geometry, top, slot) + i;
		void *entries = frame_open(&t->reach, root->top[index / frame_entries]);

		entry_set(t, entries, index % frame_entries,
			  to ? pfn_to_paddr(to->top[i]).a | X86_PTE_P | X86_PTE_RW : 0);
		frame_close(&t->reach, entries);
	}
}

static uint64_t slots_bytes(const struct table_config *config, const char **why)
{
	if (config->layout.own_slot.a)
		return 0;
	*why = "page tables: the address space has no room for a recursive slot";
	return UINT64_MAX;
}

static uint64_t two_slots_bytes(const struct table_config *config, const char **why)
{
	if (config->layout.own_slot.a && config->layout.foreign_slot.a)
		return 0;
	*why = "page tables: the address space has no room for two recursive slots";
	return UINT64_MAX;
}

/* A page in a slot would be a page table of somebody's, whatever its size. */
static struct table_kept kept_slots(const struct tables *t, unsigned number)
{
	unsigned top = table_top(t->geometry);
	uint64_t bytes = table_span(t->geometry, top) * t->geometry->top_frames;

	switch (number) {
	case 0:
		return (struct table_kept){ t->config.layout.own_slot, bytes };
	case 1:
		return (struct table_kept){ t->config.layout.foreign_slot,
					    t->ops == &table_foreign ? bytes : 0 };
	default:
		return (struct table_kept){ { 0 }, 0 };
	}
}

static int slots_init(struct tables *t)
{
	fill_slot(t, &t->kernel, t->config.layout.own_slot, &t->kernel);
	return 0;
}

static int slots_root_new(struct tables *t, struct table_root *root)
{
	fill_slot(t, root, t->config.layout.own_slot, root);
	if (t->config.layout.foreign_slot.a)
		fill_slot(t, root, t->config.layout.foreign_slot, NULL);
	return 0;
}

/* ---- T2 ---- */

static void load_it(struct tables *t, struct table_root *root)
{
	if (t->cpu[port_cpu()].loaded == root)
		return;
	t->stats.visits++;
	table_load(t, root);
}

static void *open_own(struct tables *t, struct table_root *root, unsigned level, struct vaddr va,
		      struct pfn frame)
{
	(void)root;
	(void)frame;
	return port_ptr(page_of(entry_at(t, t->config.layout.own_slot, level, va)));
}

static void close_nothing(struct tables *t, void *entries)
{
	(void)t;
	(void)entries;
}

/* R3, on every other CPU whose own slot shows ROOT's tables. */
static void shoot_slot(struct tables *t, const struct table_root *root, struct vaddr page)
{
	for (unsigned cpu = 0; cpu < t->config.cpus; cpu++) {
		if (cpu == port_cpu() || (t->cpu[cpu].running != root && root != &t->kernel))
			continue;
		port_shootdown(cpu, page, 1);
		t->stats.shootdowns++;
	}
}

static void unlinked_own(struct tables *t, struct table_root *root, unsigned level, struct vaddr va,
			 bool accessed)
{
	struct vaddr page = page_of(entry_at(t, t->config.layout.own_slot, level, va));

	if (!accessed)
		return;
	table_invlpg(t, page);
	shoot_slot(t, root, page);
}

const struct table_ops table_recursive = {
	.name = "recursive",
	.id = "T2",
	.summary = "recursive slot: the top table maps itself; foreign spaces are loaded",
	.caps = TABLE_CAP_SPACES | TABLE_CAP_HIGH,
	.own_bytes = slots_bytes,
	.kept = kept_slots,
	.init = slots_init,
	.enter = load_it,
	.open = open_own,
	.close = close_nothing,
	.table_new = table_plain_new,
	.table_free = table_plain_free,
	.unlinked = unlinked_own,
	.root_new = slots_root_new,
};

/* ---- T3 ---- */

/* Through R: what the CPU has loaded, and the kernel's half below its top table, which all spaces
 * share. */
static bool by_own_slot(struct tables *t, const struct table_root *root)
{
	return t->cpu[port_cpu()].loaded == root;
}

/* F in the space that is loaded here, written through R. */
static void set_foreign(struct tables *t, struct table_root *to)
{
	struct table_cpu *cpu = &t->cpu[port_cpu()];
	struct vaddr slot = t->config.layout.foreign_slot;
	unsigned top = table_top(t->geometry);

	for (unsigned i = 0; i < t->geometry->top_frames; i++) {
		struct vaddr at = vaddr_add(slot, i * table_span(t->geometry, top));
		void *entries = open_own(t, cpu->loaded, top, at, (struct pfn){ 0 });

		entry_set(t, entries, frame_index(t, top, at),
			  to ? pfn_to_paddr(to->top[i]).a | X86_PTE_P | X86_PTE_RW : 0);
	}
	cpu->foreign = to;
}

static void point_foreign(struct tables *t, struct table_root *root)
{
	struct table_cpu *cpu = &t->cpu[port_cpu()];

	if (by_own_slot(t, root) || cpu->foreign == root)
		return;
	set_foreign(t, root);
	t->stats.slot_moves++;
	if (cpu->foreign_flushed != t->foreign_uses) {
		table_flush(t);
		cpu->foreign_flushed = t->foreign_uses;
	}
	t->foreign_uses++;
}

static struct vaddr slot_for(struct tables *t, const struct table_root *root)
{
	return by_own_slot(t, root) ? t->config.layout.own_slot : t->config.layout.foreign_slot;
}

static void *open_either(struct tables *t, struct table_root *root, unsigned level, struct vaddr va,
			 struct pfn frame)
{
	(void)frame;
	return port_ptr(page_of(entry_at(t, slot_for(t, root), level, va)));
}

static void unlinked_either(struct tables *t, struct table_root *root, unsigned level,
			    struct vaddr va, bool accessed)
{
	if (!accessed)
		return;
	table_invlpg(t, page_of(entry_at(t, slot_for(t, root), level, va)));
	shoot_slot(t, root, page_of(entry_at(t, t->config.layout.own_slot, level, va)));
}

/* At an operation's end, and before another space is loaded. */
static void clear_foreign(struct tables *t)
{
	if (t->cpu[port_cpu()].foreign)
		set_foreign(t, NULL);
}

const struct table_ops table_foreign = {
	.name = "foreign",
	.id = "T3",
	.summary = "recursive slot, and a second one that is pointed at a foreign space",
	.caps = TABLE_CAP_SPACES | TABLE_CAP_FOREIGN | TABLE_CAP_HIGH,
	.own_bytes = two_slots_bytes,
	.kept = kept_slots,
	.init = slots_init,
	.enter = point_foreign,
	.open = open_either,
	.close = close_nothing,
	.table_new = table_plain_new,
	.table_free = table_plain_free,
	.unlinked = unlinked_either,
	.root_new = slots_root_new,
	.unload = clear_foreign,
	.settle = clear_foreign,
};
