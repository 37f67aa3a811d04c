/*
 * window.c - page tables through temporary windows (T4): a small region of kernel addresses whose
 * pages are pointed at whatever table is wanted.
 *
 *   region   | W | s s s s | s s s s | ...          W: the region's own page table
 *              |   CPU 0     CPU 1                  s: slots
 *              +-> PTE of W, PTEs of all slots      writing one of them needs no other way
 *
 *   policy    open                                      close
 *   stack     pop a slot, write its PTE                 clear it, INVLPG, push
 *   watermark next slot; behind the last one: flush     nothing
 *             all (CR3), begin again
 *   single    the one slot, rewritten and INVLPG'd,     nothing
 *             unless it shows that table already
 *
 * Invariants
 *  W1  A slot's PTE is changed from one frame to another only where nobody caches the first: after
 *      an INVLPG, or after a flush since it was last used.
 *  W2  Slots belong to one CPU each, so that no other CPU caches what they show.
 *  W3  No slot has G: a load of CR3 forgets all of them, and the watermark begins again.
 *  W4  stack: slots on the stack have PTE 0.
 *
 * Cost: an open is a store; and an INVLPG (stack, single), or a flush every `slots` opens.
 *
 * Reference: Linux kmap_atomic() (stack), kmap() (watermark: its flush at wrap); the single-slot
 * form is in many small kernels. Differs: tables only, never the pages of users.
 */
#include "alloc/port.h"
#include "alloc/table/systems.h"

enum policy { POLICY_STACK = 0, POLICY_WATERMARK, POLICY_SINGLE };

static const char *const policies[] = { "stack", "watermark", "single", NULL };

static const struct frame_option options[] = {
	{ "policy", "how slots are handed out", policies, POLICY_STACK, 0, 0 },
	{ "slots", "slots a CPU (single has one)", NULL, 8, 1, 256 },
	{ .key = NULL },
};
enum { OPTION_POLICY, OPTION_SLOTS };

/* t->own: */
struct windows_state {
	uint32_t slots;	  /* a CPU */
	uint16_t stack[]; /* of free slots, counted from the CPU's first: slots a CPU */
};

static unsigned slots_of(const struct table_config *config)
{
	return config->option[OPTION_POLICY] == POLICY_SINGLE
		       ? 1
		       : (unsigned)config->option[OPTION_SLOTS];
}

static uint64_t window_bytes(const struct table_config *config, const char **why)
{
	uint64_t slots = (uint64_t)slots_of(config) * config->cpus;

	if (!config->layout.windows.a)
		*why = "page tables: the address space has no room for temporary windows";
	else if (slots >= table_frame_entries(table_geometry(config->paging)))
		*why = "page tables: the slots of all CPUs do not fit into one page table";
	else
		return sizeof(struct windows_state) + slots * sizeof(uint16_t);
	return UINT64_MAX;
}

static struct windows_state *state_of(const struct tables *t)
{
	return t->own;
}

static enum policy policy_of(const struct tables *t)
{
	return (enum policy)t->config.option[OPTION_POLICY];
}

/* Number of a CPU's slot in the region's page table. */
static unsigned slot_number(const struct tables *t, unsigned slot)
{
	return 1 + port_cpu() * state_of(t)->slots + slot;
}

static struct vaddr slot_address(const struct tables *t, unsigned slot)
{
	return vaddr_add(t->config.layout.windows, slot_number(t, slot) * FRAME_BYTES);
}

static uint16_t *stack_of(const struct tables *t, unsigned cpu)
{
	return state_of(t)->stack + cpu * state_of(t)->slots;
}

static struct table_kept kept_region(const struct tables *t, unsigned number)
{
	return (struct table_kept){ t->config.layout.windows,
				    number == 0 ? table_span(t->geometry, 1) : 0 };
}

static int window_init(struct tables *t)
{
	struct windows_state *w = state_of(t);
	struct vaddr region = t->config.layout.windows;
	unsigned index;
	int error = table_make_kernel(t, region, FRAME_BYTES);

	if (error)
		return error;
	void *upper = table_kernel_entries(t, region, 1, &index);
	struct paddr table = { entry_get(t, upper, index) & TABLE_ENTRY_ADDRESS };
	void *entries = table_kernel_entries(t, region, 0, &index);

	entry_set(t, entries, index, entry_for(t, table, 0, TABLE_WRITE));
	w->slots = slots_of(&t->config);
	for (unsigned cpu = 0; cpu < t->config.cpus; cpu++) {
		for (unsigned i = 0; i < w->slots; i++)
			stack_of(t, cpu)[i] = (uint16_t)(w->slots - 1 - i);
		t->cpu[cpu].slot = policy_of(t) == POLICY_STACK ? w->slots : 0;
	}
	return 0;
}

/* A slot's PTE, through the region's first page. Returns what it was. */
static uint64_t point_slot(struct tables *t, unsigned slot, uint64_t entry)
{
	void *entries = port_ptr(t->config.layout.windows);

	return entry_exchange(t, entries, slot_number(t, slot), entry);
}

static unsigned next_slot(struct tables *t, struct table_cpu *cpu)
{
	switch (policy_of(t)) {
	case POLICY_STACK:
		if (cpu->slot == 0)
			port_panic("page tables: no temporary window is free");
		return stack_of(t, port_cpu())[--cpu->slot];
	case POLICY_WATERMARK:
		if (cpu->slot == state_of(t)->slots) {
			table_flush(t);
			cpu->slot = 0;
		}
		return cpu->slot++;
	default:
		return 0;
	}
}

static void *window_open(struct tables *t, struct table_root *root, unsigned level, struct vaddr va,
			 struct pfn frame)
{
	struct table_cpu *cpu = &t->cpu[port_cpu()];
	unsigned slot = next_slot(t, cpu);
	struct vaddr at = slot_address(t, slot);
	uint64_t entry = entry_for(t, pfn_to_paddr(frame), 0, TABLE_WRITE);

	(void)root;
	(void)level;
	(void)va;
	if (policy_of(t) == POLICY_SINGLE) {
		const void *entries = port_ptr(t->config.layout.windows);
		uint64_t was = entry_get(t, entries, slot_number(t, slot));

		if ((was & (TABLE_ENTRY_ADDRESS | X86_PTE_P)) ==
		    (entry & (TABLE_ENTRY_ADDRESS | X86_PTE_P)))
			return port_ptr(at);
	}
	uint64_t was = point_slot(t, slot, entry);

	t->stats.slot_moves++;
	if (policy_of(t) == POLICY_SINGLE && (was & X86_PTE_A))
		table_invlpg(t, at);
	return port_ptr(at);
}

static void window_close(struct tables *t, void *entries)
{
	struct table_cpu *cpu = &t->cpu[port_cpu()];
	struct vaddr at = port_vaddr(entries);
	unsigned slot = (unsigned)((at.a - slot_address(t, 0).a) >> X86_PAGE_SHIFT);

	if (policy_of(t) != POLICY_STACK)
		return;
	if (point_slot(t, slot, 0) & X86_PTE_A)
		table_invlpg(t, at);
	stack_of(t, port_cpu())[cpu->slot++] = (uint16_t)slot;
}

/* CR3 is about to be loaded: W3. */
static void window_unload(struct tables *t)
{
	if (policy_of(t) == POLICY_WATERMARK)
		t->cpu[port_cpu()].slot = 0;
}

const struct table_ops table_window = {
	.name = "window",
	.id = "T4",
	.summary = "temporary windows: a few slots pointed at one table after the other",
	.caps = TABLE_CAP_SPACES | TABLE_CAP_FOREIGN | TABLE_CAP_HIGH,
	.options = options,
	.own_bytes = window_bytes,
	.kept = kept_region,
	.init = window_init,
	.open = window_open,
	.close = window_close,
	.table_new = table_plain_new,
	.table_free = table_plain_free,
	.unload = window_unload,
};
