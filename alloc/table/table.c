/*
 * table.c - the page-table slot's registry, its start, address spaces' roots, and which of them a
 * CPU runs.
 *
 *   room:  struct tables | CPU records | uses of every frame, 4 bytes each | the system's own
 *
 * Invariants (those of one space's tables are in table_check.c)
 *  T1  cpu[i].running is what CPU i's user code sees; cpu[i].loaded is what its CR3 leads to, and
 *      differs only inside an operation.
 *  T2  All roots but the kernel's are in the ring that starts at it; each has the kernel root's
 *      entries in its upper half, but for the slots that a system keeps there.
 *  T3  stats.table_frames is the sum of all roots' table_frames, the kernel's (boot's) aside.
 */
#include "alloc/port.h"
#include "alloc/table/systems.h"

/* clang-format off */
const struct table_ops *const table_registry[] = {
	&table_none,
	&table_direct,
	&table_recursive,
	&table_foreign,
	&table_window,
	&table_directories,
	&table_pool,
	&table_preallocated,
	NULL,
};
/* clang-format on */

const char *const table_cap_names[] = {
	"spaces", "foreign", "limit", "shared", "high-tables", NULL
};

const struct table_ops *table_find(const char *name)
{
	for (const struct table_ops *const *ops = table_registry; *ops; ops++) {
		const char *a = (*ops)->name, *b = name;

		while (*a && *a == *b) {
			a++;
			b++;
		}
		if (*a == *b)
			return *ops;
	}
	return NULL;
}

void table_config_defaults(const struct table_ops *ops, struct table_config *config)
{
	for (unsigned i = 0; i < TABLE_OPTIONS_MAX; i++)
		config->option[i] = 0;
	for (unsigned i = 0; ops->options && i < TABLE_OPTIONS_MAX && ops->options[i].key; i++)
		config->option[i] = ops->options[i].value;
}

/* ---- state ---- */

static uint64_t cpu_offset(void)
{
	return round_up_u64(sizeof(struct tables), 64);
}

static uint64_t uses_offset(const struct table_config *config)
{
	return cpu_offset() + round_up_u64(config->cpus * sizeof(struct table_cpu), 64);
}

static uint64_t own_offset(const struct table_config *config)
{
	uint64_t frames = config->frames_end.n - config->frames_first.n;

	return uses_offset(config) + round_up_u64(frames * sizeof(uint32_t), 64);
}

uint64_t table_state_bytes(const struct table_ops *ops, const struct table_config *config,
			   const char **why)
{
	uint64_t own = ops->own_bytes(config, why);

	if (own == UINT64_MAX)
		return 0;
	return own_offset(config) + round_up_u64(own, 64);
}

static struct tables *place(void *state, const struct table_config *config)
{
	struct tables *t = state;

	t->config = *config;
	t->geometry = table_geometry(config->paging);
	reach_bind(&t->reach, &config->reach);
	t->cpu = (struct table_cpu *)((char *)state + cpu_offset());
	t->uses = (uint32_t *)((char *)state + uses_offset(config));
	t->own = (char *)state + own_offset(config);
	return t;
}

/* Boot's root, as CR3 leads to it. */
static void find_kernel_root(struct tables *t)
{
	struct table_root *root = &t->kernel;

	root->cr3.a = port_read_cr3() & ~(t->geometry->top_frames > 1 ? 31ull : 4095ull);
	root->top[0] = paddr_to_pfn(root->cr3);
	if (t->geometry->top_frames > 1) {
		const uint64_t *pdpte = frame_open(&t->reach, paddr_to_pfn(root->cr3));

		for (unsigned i = 0; i < TABLE_TOP_FRAMES; i++)
			root->top[i] =
				paddr_to_pfn((struct paddr){ pdpte[i] & TABLE_ENTRY_ADDRESS });
	}
	root->next = root;
	root->previous = root;
}

/* Large pages that boot put into the top table are copied into every space, and cached as global: a
 * CPU that has set D in one space's copy does not set it in the next one's. The kernel asks for
 * neither A nor D of its own memory, so they are set once for all. */
static void settle_kernel_leaves(struct tables *t)
{
	unsigned top = table_top(t->geometry), frame_entries = table_frame_entries(t->geometry);

	for (unsigned i = 0; i < frame_entries * t->geometry->top_frames; i++) {
		void *entries = frame_open(&t->reach, t->kernel.top[i / frame_entries]);
		uint64_t entry = entry_get(t, entries, i % frame_entries);

		if ((entry & X86_PTE_P) && table_is_leaf(t->geometry, top, entry))
			entry_set(t, entries, i % frame_entries, entry | X86_PTE_A | X86_PTE_D);
		frame_close(&t->reach, entries);
	}
}

int table_init(const struct table_ops *ops, const struct table_config *config, void *state)
{
	struct tables *t = place(state, config);

	t->ops = ops;
	find_kernel_root(t);
	settle_kernel_leaves(t);
	for (unsigned i = 0; i < config->cpus; i++)
		t->cpu[i].running = t->cpu[i].loaded = &t->kernel;
	int error = table_high_init(t);

	return error ? error : ops->init(t);
}

/* ---- frames for tables ---- */

static int take_frame(struct tables *t, enum frame_zone zone, struct pfn *frame)
{
	struct frame_request request = { .frames = 1,
					 .align_frames = 1,
					 .zone = (uint8_t)zone,
					 .mobility = FRAME_UNMOVABLE,
					 .cpu = (uint16_t)port_cpu() };
	struct frame_block block;
	int error = frame_alloc(&t->config.frames, &request, &block);

	if (!error)
		*frame = block.first;
	return error ? KERR_NO_MEMORY : 0;
}

int table_take_kernel_frame(struct tables *t, struct pfn *frame)
{
	struct pfn taken;

	if (take_frame(t, FRAME_ZONE_NORMAL, &taken))
		return KERR_NO_MEMORY;
	if (!reach_is_direct(&t->reach, taken)) {
		table_give_kernel_frame(t, taken);
		return KERR_NO_MEMORY;
	}
	*frame = taken;
	return 0;
}

void table_give_kernel_frame(struct tables *t, struct pfn frame)
{
	struct frame_block block = { frame, 1 };

	/* An allocator that takes nothing back keeps it: its caps say so. */
	if (frame_free(&t->config.frames, &block) == KERR_NOT_OWNED)
		port_panic("page tables: the frame allocator does not know its own frame");
}

static void count_frame(struct tables *t)
{
	t->stats.tables_made++;
	if (++t->stats.table_frames > t->stats.table_frames_peak)
		t->stats.table_frames_peak = t->stats.table_frames;
}

static void clear(struct tables *t, struct pfn frame)
{
	void *contents = table_frame_open(t, frame);

	memset(contents, 0, FRAME_BYTES);
	table_frame_close(t, contents);
}

int table_low_new(struct tables *t, struct pfn *frame)
{
	int error = table_take_kernel_frame(t, frame);

	if (!error)
		clear(t, *frame);
	return error;
}

int table_plain_new(struct tables *t, unsigned level, struct pfn *frame)
{
	bool high =
		t->has_high && (t->ops->caps & TABLE_CAP_HIGH) && level < table_top(t->geometry);

	if (!high)
		return table_low_new(t, frame);
	if (take_frame(t, FRAME_ZONE_HIGHMEM, frame))
		return KERR_NO_MEMORY;
	clear(t, *frame);
	return 0;
}

void table_plain_free(struct tables *t, unsigned level, struct pfn frame)
{
	(void)level;
	table_give_kernel_frame(t, frame);
}

void *table_plain_open(struct tables *t, struct table_root *root, unsigned level, struct vaddr va,
		       struct pfn frame)
{
	(void)root;
	(void)level;
	(void)va;
	return frame_open(&t->reach, frame);
}

void table_plain_close(struct tables *t, void *entries)
{
	frame_close(&t->reach, entries);
}

uint64_t table_nothing_of_its_own(const struct table_config *config, const char **why)
{
	(void)config;
	(void)why;
	return 0;
}

int table_no_init(struct tables *t)
{
	(void)t;
	return 0;
}

int table_new(struct tables *t, struct table_root *root, unsigned level, struct pfn *frame)
{
	int error = t->ops->table_new(t, level, frame);

	if (error)
		return error;
	*table_uses(t, *frame) = 0;
	root->table_frames++;
	count_frame(t);
	return 0;
}

void table_free(struct tables *t, struct table_root *root, unsigned level, struct pfn frame)
{
	root->table_frames--;
	t->stats.tables_freed++;
	t->stats.table_frames--;
	t->ops->table_free(t, level, frame);
}

/* ---- the kernel's own tables, at init ---- */

void *table_kernel_entries(struct tables *t, struct vaddr va, unsigned level, unsigned *index)
{
	struct pfn frame = top_frame(t, &t->kernel, va);

	for (unsigned l = table_top(t->geometry); l > level; l--) {
		uint64_t entry = entry_get(t, frame_open(&t->reach, frame), frame_index(t, l, va));

		frame = paddr_to_pfn((struct paddr){ entry & TABLE_ENTRY_ADDRESS });
	}
	*index = frame_index(t, level, va);
	return frame_open(&t->reach, frame);
}

/* The tables for one level-0 table's span. */
static int make_kernel_table(struct tables *t, struct vaddr va)
{
	for (unsigned l = table_top(t->geometry); l > 0; l--) {
		unsigned index;
		void *entries = table_kernel_entries(t, va, l, &index);
		struct pfn frame;
		uint64_t entry = entry_get(t, entries, index);

		if (entry & X86_PTE_P) {
			if (table_is_leaf(t->geometry, l, entry))
				port_panic("page tables: the layout has two uses for an address");
			continue;
		}
		if (table_low_new(t, &frame))
			return KERR_NO_MEMORY;
		t->kernel.table_frames++;
		entry_set(t, entries, index, entry_to_table(t, va, frame));
	}
	return 0;
}

int table_make_kernel(struct tables *t, struct vaddr va, uint64_t bytes)
{
	uint64_t span = table_span(t->geometry, 1);
	int error = 0;

	for (uint64_t at = 0; !error && at < bytes; at += span)
		error = make_kernel_table(t, vaddr_add(va, at));
	return error;
}

/* ---- what CPUs run ---- */

void table_invlpg(struct tables *t, struct vaddr va)
{
	t->stats.invlpg++;
	port_invlpg(va);
}

void table_flush(struct tables *t)
{
	t->stats.flushes++;
	port_write_cr3(port_read_cr3());
}

void table_load(struct tables *t, struct table_root *root)
{
	struct table_cpu *cpu = &t->cpu[port_cpu()];

	if (cpu->loaded == root)
		return;
	if (t->ops->unload)
		t->ops->unload(t);
	cpu->loaded = root;
	cpu->foreign_flushed = t->foreign_uses;
	port_write_cr3(root->cr3.a);
}

void table_run(struct tables *t, struct table_root *root)
{
	struct table_cpu *cpu = &t->cpu[port_cpu()];

	if (cpu->running == root && cpu->loaded == root)
		return;
	cpu->running = root;
	t->stats.loads++;
	table_load(t, root);
}

void table_settle(struct tables *t)
{
	struct table_cpu *cpu = &t->cpu[port_cpu()];

	if (t->ops->settle)
		t->ops->settle(t);
	if (cpu->loaded == cpu->running)
		return;
	t->stats.visits++;
	table_load(t, cpu->running);
}

/* ---- roots ---- */

static void free_tops(struct tables *t, struct table_root *root, unsigned count)
{
	while (count-- > 0)
		table_free(t, root, table_top(t->geometry), root->top[count]);
}

static int make_tops(struct tables *t, struct table_root *root)
{
	for (unsigned i = 0; i < t->geometry->top_frames; i++) {
		int error = table_new(t, root, table_top(t->geometry), &root->top[i]);

		if (error) {
			free_tops(t, root, i);
			return error;
		}
	}
	return 0;
}

/* What CR3 leads to: the top table, or in PAE mode the four PDPTEs (SDM 3, 4.4.1). */
static int make_cr3(struct tables *t, struct table_root *root)
{
	struct pfn frame;

	root->cr3 = pfn_to_paddr(root->top[0]);
	if (t->geometry->top_frames == 1)
		return 0;
	if (table_low_new(t, &frame))
		return KERR_NO_MEMORY;
	uint64_t *pdpte = frame_open(&t->reach, frame);

	for (unsigned i = 0; i < TABLE_TOP_FRAMES; i++)
		pdpte[i] = pfn_to_paddr(root->top[i]).a | X86_PTE_P;
	frame_close(&t->reach, pdpte);
	root->cr3 = pfn_to_paddr(frame);
	root->table_frames++;
	count_frame(t);
	return 0;
}

static void free_cr3(struct tables *t, struct table_root *root)
{
	if (t->geometry->top_frames == 1)
		return;
	root->table_frames--;
	t->stats.tables_freed++;
	t->stats.table_frames--;
	table_plain_free(t, 0, paddr_to_pfn(root->cr3));
}

/* The upper half of the kernel's top table. */
static void copy_kernel(struct tables *t, struct table_root *root)
{
	unsigned frame_entries = table_frame_entries(t->geometry);
	unsigned first = table_index(t->geometry, table_top(t->geometry),
				     table_canonical(t->geometry, t->geometry->user_end));
	unsigned end = frame_entries * t->geometry->top_frames;

	for (unsigned i = first; i < end;) {
		unsigned in_frame = i % frame_entries, count = frame_entries - in_frame;
		unsigned bytes = table_entry_bytes(t->geometry);
		const char *from = frame_open(&t->reach, t->kernel.top[i / frame_entries]);
		char *to = frame_open(&t->reach, root->top[i / frame_entries]);

		memcpy(to + in_frame * bytes, from + in_frame * bytes, count * bytes);
		i += count;
	}
}

int table_root_new(struct tables *t, struct table_root *root)
{
	int error = make_tops(t, root);

	if (error)
		return error;
	error = make_cr3(t, root);
	if (error) {
		free_tops(t, root, t->geometry->top_frames);
		return error;
	}
	copy_kernel(t, root);
	if (t->ops->root_new)
		error = t->ops->root_new(t, root);
	if (error) {
		free_cr3(t, root);
		free_tops(t, root, t->geometry->top_frames);
		return error;
	}
	root->next = t->kernel.next;
	root->previous = &t->kernel;
	root->next->previous = root;
	t->kernel.next = root;
	return 0;
}

void table_root_free(struct tables *t, struct table_root *root)
{
	for (unsigned i = 0; i < t->config.cpus; i++)
		if (t->cpu[i].running == root)
			port_panic("page tables: a space goes while a CPU runs it");
	table_settle(t);
	if (t->ops->root_free)
		t->ops->root_free(t, root);
	root->next->previous = root->previous;
	root->previous->next = root->next;
	free_cr3(t, root);
	free_tops(t, root, t->geometry->top_frames);
}
