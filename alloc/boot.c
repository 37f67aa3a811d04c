/*
 * boot.c - from a firmware memory map to a running memory manager. The order is in boot.h.
 *
 * Where things stand when it is done (one usable range, i386, a bitmap):
 *
 *   physical  | loaded |        | state ... | memmap | lock | tables >|   free ...
 *   virtual   direct_map + physical, and nothing else is mapped
 *
 * The direct map covers the usable runs of the firmware's map and the loaded frames, no hole: a
 * touch of a hole is a page fault, as it must be. Each run is cut into the largest leaves that its
 * ends and its alignment allow, down to 4 KiB. Entries are written through boot pointers, because
 * the tables are not in force yet; after the switch nothing uses one again.
 *
 * Sources: Intel SDM 3, 4.3 and 4.5 (entry formats), 9.8 (order of the switches). Not modelled: the
 * identity mapping that real code needs under its feet while it turns paging on.
 */
#include "alloc/boot.h"
#include "alloc/frame/placement.h"
#include "alloc/lock.h"
#include "alloc/port.h"

/* Page tables under construction. */
struct boot_tables {
	const struct table_geometry *geometry;
	uint32_t cpu_lacks; /* enum boot_cpu_lack */
	uint64_t leaf;	    /* bytes of the largest leaf wanted */
	struct paddr top;   /* the topmost table; in PAE mode its four frames */
	struct paddr cr3;   /* the same but in PAE mode: the four PDPTEs */
	uint64_t frames;    /* in all tables */
	uint64_t leaf_bits; /* besides address and PS */
	struct placement *placement;
	struct pfn direct_end; /* tables lie below it */
};

static uint64_t entry_read(const struct boot_tables *t, struct paddr table, unsigned index)
{
	const void *entries = port_boot_ptr(table);

	return t->geometry->wide ? ((const uint64_t *)entries)[index]
				 : ((const uint32_t *)entries)[index];
}

static void entry_write(const struct boot_tables *t, struct paddr table, unsigned index,
			uint64_t entry)
{
	void *entries = port_boot_ptr(table);

	if (t->geometry->wide)
		((uint64_t *)entries)[index] = entry;
	else
		((uint32_t *)entries)[index] = (uint32_t)entry;
}

static int table_new(struct boot_tables *t, unsigned frames, struct paddr *table)
{
	struct pfn frame;
	int error = placement_take(t->placement, frames, 1, &frame);

	if (error || frame.n + frames > t->direct_end.n)
		return KERR_TOO_SMALL;
	*table = pfn_to_paddr(frame);
	memset(port_boot_ptr(*table), 0, frames * FRAME_BYTES);
	t->frames += frames;
	return 0;
}

/* The table of level TO that translates VA, made where missing. */
static int table_for(struct boot_tables *t, struct vaddr va, unsigned to, struct paddr *out)
{
	struct paddr table = t->top;

	for (unsigned l = table_top(t->geometry); l > to; l--) {
		uint64_t entry = entry_read(t, table, table_index(t->geometry, l, va));
		struct paddr next = { entry & TABLE_ENTRY_ADDRESS };

		if (!(entry & X86_PTE_P)) {
			int error = table_new(t, 1, &next);

			if (error)
				return error;
			entry_write(t, table, table_index(t->geometry, l, va),
				    next.a | X86_PTE_P | X86_PTE_RW);
		}
		table = next;
	}
	*out = table;
	return 0;
}

/* The level whose leaves are the largest that fit at PA and VA into BYTES. */
static unsigned leaf_level(const struct boot_tables *t, struct vaddr va, struct paddr pa,
			   uint64_t bytes)
{
	unsigned l = table_top(t->geometry);

	for (; l > 0; l--) {
		uint64_t size = table_span(t->geometry, l);

		if (t->geometry->level[l].leaf && size <= t->leaf && size <= bytes &&
		    !((va.a | pa.a) & (size - 1)))
			break;
	}
	return l;
}

static int map_run(struct boot_tables *t, struct vaddr direct, struct frame_range run)
{
	struct paddr pa = pfn_to_paddr(run.first),
		     end = pfn_to_paddr(pfn_add(run.first, run.frames));

	while (pa.a < end.a) {
		struct vaddr va = vaddr_add(direct, pa.a);
		unsigned l = leaf_level(t, va, pa, end.a - pa.a);
		struct paddr table;
		int error = table_for(t, va, l, &table);

		if (error)
			return error;
		entry_write(t, table, table_index(t->geometry, l, va),
			    pa.a | t->leaf_bits | table_leaf_bit(l));
		pa.a += table_span(t->geometry, l);
	}
	return 0;
}

/* Whether VA is mapped already: the loaded frames usually lie in a usable run. */
static bool is_mapped(const struct boot_tables *t, struct vaddr va)
{
	struct paddr table = t->top;

	for (unsigned l = table_top(t->geometry);; l--) {
		uint64_t entry = entry_read(t, table, table_index(t->geometry, l, va));

		if (!(entry & X86_PTE_P))
			return false;
		if (table_is_leaf(t->geometry, l, entry))
			return true;
		table = (struct paddr){ entry & TABLE_ENTRY_ADDRESS };
	}
}

static int map_loaded(struct boot_tables *t, const struct boot_params *params)
{
	for (uint64_t i = 0; i < params->loaded.frames; i++) {
		struct pfn frame = pfn_add(params->loaded.first, i);

		if (is_mapped(t, vaddr_add(params->direct_map, pfn_to_paddr(frame).a)))
			continue;
		int error = map_run(t, params->direct_map, (struct frame_range){ frame, 1 });

		if (error)
			return error;
	}
	return 0;
}

/* Frames of the first BYTES that entries can name. */
static struct pfn end_of(const struct boot_params *params, uint64_t bytes)
{
	uint64_t frames = bytes >> X86_PAGE_SHIFT;
	bool pae = params->paging == BOOT_PAGING_PAE;

	/* 4-byte entries hold 20 bits of frame number; without paging on i386 so do addresses. */
	if (params->paging != BOOT_PAGING_4LEVEL && params->paging != BOOT_PAGING_5LEVEL &&
	    frames > 1ull << (pae ? 24 : 20))
		frames = 1ull << (pae ? 24 : 20);
	return pfn(frames);
}

static struct pfn direct_end(const struct boot_params *params)
{
	return end_of(params, params->direct_map_bytes);
}

static struct pfn ram_end(const struct boot_params *params)
{
	return end_of(params, params->ram_bytes ? params->ram_bytes : params->direct_map_bytes);
}

/* The PDPTEs of PAE mode: only P and the address (SDM 3, 4.4.1). */
static int pdptes_build(struct boot_tables *t)
{
	int error = table_new(t, 1, &t->cr3);

	for (unsigned i = 0; !error && i < TABLE_TOP_FRAMES; i++)
		entry_write(t, t->cr3, i, (t->top.a + i * FRAME_BYTES) | X86_PTE_P);
	return error;
}

/* Step 4: page tables with the direct map. */
static int tables_build(struct boot_tables *t, const struct boot_params *params)
{
	const struct table_geometry *g = table_geometry(params->paging);
	struct frame_range run;
	struct pfn from = pfn(0);

	t->geometry = g;
	t->direct_end = direct_end(params);
	t->leaf = params->direct_leaf_bytes;
	t->cpu_lacks = params->cpu_lacks;
	t->leaf_bits = X86_PTE_P | X86_PTE_RW;
	t->leaf_bits |= t->cpu_lacks & BOOT_NO_PGE ? 0 : X86_PTE_G;
	t->leaf_bits |= t->cpu_lacks & BOOT_NO_NX ? 0 : g->no_execute;
	int error = table_new(t, g->top_frames, &t->top);

	t->cr3 = t->top;
	if (!error && g->top_frames > 1)
		error = pdptes_build(t);
	while (!error && memmap_next_run(params->entries, params->entry_count, from,
					 direct_end(params), &run)) {
		error = map_run(t, params->direct_map, run);
		from = pfn_add(run.first, run.frames);
	}
	return error ? error : map_loaded(t, params);
}

/* Step 5. NXE and PSE come before the tables that use them, PGE after PG (SDM 3, 4.10.2.4). A bit
 * that the CPU does not have is a #GP. LA57 cannot change in long mode: with 5 levels the loader
 * has left its own 5 on. */
static void paging_on(const struct boot_tables *t)
{
	if (t->geometry->wide) {
		uint64_t efer = port_read_efer();
		bool paging = port_read_cr0() & X86_CR0_PG;

		efer |= t->cpu_lacks & BOOT_NO_NX ? 0 : X86_EFER_NXE;
		efer |= t->geometry->depth > 2 && !paging ? X86_EFER_LME : 0;
		port_write_cr4(port_read_cr4() | X86_CR4_PAE);
		port_write_efer(efer);
		if (t->geometry->depth > 4 && !paging)
			port_write_cr4(port_read_cr4() | X86_CR4_LA57);
	} else if (!(t->cpu_lacks & BOOT_NO_PSE)) {
		port_write_cr4(port_read_cr4() | X86_CR4_PSE);
	}
	port_write_cr3(t->cr3.a);
	port_write_cr0(port_read_cr0() | X86_CR0_PE | X86_CR0_WP | X86_CR0_PG);
	if (!(t->cpu_lacks & BOOT_NO_PGE))
		port_write_cr4(port_read_cr4() | X86_CR4_PGE);
}

/* NULL, or why not. */
static const char *leaf_problem(const struct boot_params *params)
{
	const struct table_geometry *g = table_geometry(params->paging);
	uint32_t leaf = params->direct_leaf_bytes;
	bool possible = g->depth == 0 || leaf == 1u << 12;

	for (unsigned l = 0; l < g->depth; l++)
		possible |= g->level[l].leaf && leaf == table_span(g, l);
	if (!possible)
		return "boot: no leaf of that size in this mode";
	if (leaf == 1u << 22 && !g->wide && (params->cpu_lacks & BOOT_NO_PSE))
		return "boot: this CPU has no 4 MiB pages (PSE); the direct map needs 4 KiB leaves";
	if (leaf == 1u << 30 && (params->cpu_lacks & BOOT_NO_1G))
		return "boot: this CPU has no 1 GiB pages; the direct map needs smaller leaves";
	return NULL;
}

static int refuse(struct boot_result *result, int error, const char *why)
{
	result->why = why;
	return error;
}

/* The final pointer for something that a boot pointer names inside the loaded frames. */
static void *final_ptr(const struct boot_params *params, const void *boot_pointer)
{
	struct paddr base = pfn_to_paddr(params->loaded.first);
	uint64_t offset = (uint64_t)((const char *)boot_pointer - (char *)port_boot_ptr(base));

	return port_ptr(vaddr_add(params->direct_map, base.a + offset));
}

/* What boot works on between its steps. */
struct boot_work {
	struct memmap map;
	struct placement placement;
	struct boot_tables tables;
	struct frame_config config;
	struct frame_range state;	  /* the state, behind it the map's struct, and the lock */
	const struct frame_range *ranges; /* final address of the map's array */
};

static bool needs_lock(const struct boot_params *params)
{
	return params->config.cpus > 1 && !(params->frames->caps & FRAME_CAP_LOCKLESS);
}

/* Bytes from the state's start to the map's struct, and to the lock. */
static uint64_t map_at(uint64_t state_bytes)
{
	return round_up_u64(state_bytes, 16);
}

static uint64_t lock_at(uint64_t state_bytes)
{
	return round_up_u64(map_at(state_bytes) + sizeof(struct memmap), sizeof(struct spinlock));
}

/* Contiguous frames in the direct map. */
static int take_low(const struct boot_params *params, struct boot_work *w,
		    struct frame_range *range)
{
	int error = placement_take(&w->placement, range->frames, 1, &range->first);

	return error || range->first.n + range->frames > direct_end(params).n ? KERR_TOO_SMALL : 0;
}

/* Steps 1 to 3: the map, and room for the state. */
static int plan(const struct boot_params *params, struct boot_work *w, struct boot_result *result)
{
	if (memmap_normalise(params->entries, params->entry_count, ram_end(params), params->ranges,
			     params->range_capacity, &w->map))
		return refuse(result, KERR_TOO_SMALL, "boot: the memory map has too many ranges");
	result->usable_frames = w->map.frames;
	if (memmap_remove(params->ranges, params->range_capacity, &w->map, params->loaded))
		return refuse(result, KERR_TOO_SMALL, "boot: the memory map has too many ranges");
	placement_init(&w->placement, &w->map, params->ranges, params->range_capacity);

	w->config = params->config;
	w->config.reach =
		(struct reach){ .direct = params->direct_map, .direct_end = direct_end(params) };
	const char *why = "boot: the frame allocator refuses this memory map";

	result->state_bytes =
		w->map.frames ? params->frames->state_bytes(&w->map, &w->config, &why) : 0;
	if (!w->map.frames)
		return refuse(result, KERR_TOO_SMALL, "boot: no usable RAM");
	if (!result->state_bytes)
		return refuse(result, KERR_UNSUPPORTED, why);

	uint64_t bytes = needs_lock(params) ? lock_at(result->state_bytes) + sizeof(struct spinlock)
					    : map_at(result->state_bytes) + sizeof(struct memmap);

	w->state.frames = frames_for_bytes(bytes);
	if (take_low(params, w, &w->state))
		return refuse(result, KERR_TOO_SMALL,
			      "boot: no range of RAM holds the frame allocator's state");
	result->room.frames = frames_for_bytes(params->room_bytes);
	if (result->room.frames && take_low(params, w, &result->room))
		return refuse(result, KERR_TOO_SMALL,
			      "boot: no range of RAM holds the state of page tables and spaces");
	return 0;
}

/* Step 6: what is left becomes the frame allocator's. */
static int hand_over(const struct boot_params *params, struct boot_work *w,
		     struct boot_result *result)
{
	struct paddr pa = pfn_to_paddr(w->state.first);
	char *state = port_ptr(vaddr_add(params->direct_map, pa.a));
	struct memmap *map = (void *)(state + map_at(result->state_bytes));
	struct spinlock *lock = (void *)(state + lock_at(result->state_bytes));

	if (!w->map.frames)
		return refuse(result, KERR_TOO_SMALL, "boot: no frame is left over");
	if (!params->ram_is_zero)
		memset(state, 0, result->state_bytes);
	if (!params->ram_is_zero && result->room.frames)
		memset(port_ptr(vaddr_add(params->direct_map, pfn_to_paddr(result->room.first).a)),
		       0, result->room.frames * FRAME_BYTES);
	w->map.ranges = w->ranges;
	*map = w->map;
	if (params->frames->init(state, map, &w->config))
		return refuse(result, KERR_UNSUPPORTED, "boot: the frame allocator does not start");
	result->frames = (struct frames){ params->frames, state, NULL };
	if (needs_lock(params)) {
		*lock = (struct spinlock){ 0 };
		result->frames.lock = lock;
	}
	result->state_range = w->state;
	result->map = w->map;
	return 0;
}

int boot(const struct boot_params *params, struct boot_result *result)
{
	struct boot_work w;

	memset(&w, 0, sizeof(w));
	memset(result, 0, sizeof(*result));
	const char *why = leaf_problem(params);

	if (why)
		return refuse(result, KERR_INVALID, why);
	int error = plan(params, &w, result);

	if (error)
		return error;
	w.ranges = final_ptr(params, params->ranges);
	if (params->paging != BOOT_PAGING_NONE) {
		w.tables.placement = &w.placement;
		error = tables_build(&w.tables, params);
		if (error)
			return refuse(result, error, "boot: RAM does not hold the page tables");
		paging_on(&w.tables);
		result->table_frames = w.tables.frames;
		result->top_table = w.tables.cr3;
	}
	return hand_over(params, &w, result);
}
