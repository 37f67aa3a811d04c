#include "sim/window_cost.h"

#include <glib.h>
#include <stdlib.h>

#include "sim/machine.h"
#include "sim/timer.h"
#include "sim/trap.h"

/*
 * A scratch machine with tables that the lab writes itself:
 *
 *   frame 256 top | 257 .. 259 next levels | 260 data, behind all pages
 *
 * and a window of PAGES pages at the reservation's last 512 GiB but two.
 */
#define TABLE_FRAME   256ull
#define DATA_FRAME    (TABLE_FRAME + 4)
#define WINDOW	      0xfffffe8000000000ull
#define WINDOW_SLOT   509
#define PAGES	      256u
#define ROUNDS	      9u /* odd: the median is one of them */
#define ENTRY_BITS    (X86_PTE_P | X86_PTE_RW)
#define SCRATCH_BYTES (4ull << 20)

struct scratch {
	struct machine *machine;
	const struct timer *timer;
};

static uint64_t *table(const struct scratch *scratch, unsigned level)
{
	return (uint64_t *)(void *)(scratch->machine->ram.bytes +
				    ((TABLE_FRAME + level) << X86_PAGE_SHIFT));
}

static bool power_on(struct scratch *scratch)
{
	GArray *map = machine_pc_map(SCRATCH_BYTES);
	struct machine_config *config = machine_config_from_map("calibration", map);
	struct mmu_state state = { .cr0 = X86_CR0_PE | X86_CR0_WP | X86_CR0_PG,
				   .cr3 = TABLE_FRAME << X86_PAGE_SHIFT,
				   .cr4 = X86_CR4_PAE,
				   .efer = X86_EFER_LME | X86_EFER_NXE,
				   .code64 = true };

	config->windows = PAGES;
	scratch->machine = machine_new(config, NULL);
	machine_config_free(config);
	g_array_unref(map);
	return scratch->machine &&
	       mmu_load_state(scratch->machine->cpu[0], &state).vector == MMU_NO_FAULT;
}

/* All pages lead to one frame, with A and D clear, and nothing is filled. */
static void start_round(const struct scratch *scratch)
{
	for (unsigned level = 0; level < 3; level++)
		table(scratch, level)[level == 0 ? WINDOW_SLOT : 0] =
			(TABLE_FRAME + level + 1) << X86_PAGE_SHIFT | ENTRY_BITS;
	for (unsigned i = 0; i < 512; i++)
		table(scratch, 3)[i] = DATA_FRAME << X86_PAGE_SHIFT | ENTRY_BITS;
	mmu_write_cr3(scratch->machine->cpu[0], TABLE_FRAME << X86_PAGE_SHIFT);
}

/* ---- what is timed, a page each ---- */

static volatile uint8_t *byte_of(const struct scratch *scratch, unsigned page)
{
	struct vaddr va = { WINDOW + ((uint64_t)page << X86_PAGE_SHIFT) };

	return machine_pointer(scratch->machine, va);
}

static void read_page(const struct scratch *scratch, unsigned page)
{
	(void)*byte_of(scratch, page);
}

static void write_page(const struct scratch *scratch, unsigned page)
{
	*byte_of(scratch, page) = 1;
}

static void read_beyond(const struct scratch *scratch, unsigned page)
{
	(void)*byte_of(scratch, PAGES + page);
}

static void drop_page(const struct scratch *scratch, unsigned page)
{
	struct vaddr va = { WINDOW + ((uint64_t)(PAGES + page) << X86_PAGE_SHIFT) };

	mmu_invlpg(scratch->machine->cpu[0], va);
}

static uint64_t time_pages(const struct scratch *scratch,
			   void (*one)(const struct scratch *, unsigned))
{
	uint64_t start = timer_start();

	for (unsigned page = 0; page < PAGES; page++)
		one(scratch, page);
	return timer_net_ns(scratch->timer, start, timer_stop()) / PAGES;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

static uint64_t median(uint64_t *values)
{
	qsort(values, ROUNDS, sizeof(*values), compare);
	return values[ROUNDS / 2];
}

static struct window_cost measure(const struct scratch *scratch)
{
	uint64_t fill[ROUNDS], upgrade[ROUNDS], evict[ROUNDS], drop[ROUNDS];
	struct window_cost cost;

	for (unsigned round = 0; round < ROUNDS; round++) {
		start_round(scratch);
		fill[round] = time_pages(scratch, read_page);
		upgrade[round] = time_pages(scratch, write_page);
		evict[round] = time_pages(scratch, read_beyond);
		drop[round] = time_pages(scratch, drop_page);
	}
	cost.fill = median(fill);
	cost.upgrade = median(upgrade);
	cost.evict = median(evict);
	cost.evict -= MIN(cost.evict, cost.fill);
	cost.drop = median(drop);
	/* A fill without its call to the host, which costs as much as a drop's. */
	cost.fault = cost.fill - MIN(cost.fill, cost.drop);
	return cost;
}

static struct window_cost calibrate(void)
{
	struct scratch scratch = { .timer = timer_get() };
	struct machine *before = machine_current();
	struct window_cost cost = { 0 };

	trap_prepare_thread();
	if (power_on(&scratch)) {
		machine_enter(scratch.machine);
		cost = measure(&scratch);
		machine_leave();
		if (before)
			machine_enter(before);
	}
	machine_free(scratch.machine);
	return cost;
}

const struct window_cost *window_cost_get(void)
{
	static struct window_cost cost;
	static gsize once;

	if (g_once_init_enter(&once)) {
		cost = calibrate();
		g_once_init_leave(&once, 1);
	}
	return &cost;
}

uint64_t window_cost_ns(const struct window_cost *cost, const struct window_statistics *before,
			const struct window_statistics *after)
{
	return (after->fills - before->fills + after->refills - before->refills) * cost->fill +
	       (after->upgrades - before->upgrades) * cost->upgrade +
	       (after->evictions - before->evictions) * cost->evict +
	       (after->drops - before->drops) * cost->drop +
	       (after->faults - before->faults) * cost->fault;
}

static void look(struct window_meter *meter)
{
	windows_statistics(meter->windows, &meter->seen);
	meter->events = windows_events(meter->windows);
}

void window_meter_start(struct window_meter *meter)
{
	if (meter->cost && windows_events(meter->windows) != meter->events)
		look(meter);
}

uint64_t window_meter_stop(struct window_meter *meter)
{
	struct window_statistics before = meter->seen;

	if (!meter->cost || windows_events(meter->windows) == meter->events)
		return 0;
	look(meter);
	uint64_t ns = window_cost_ns(meter->cost, &before, &meter->seen);
	meter->lab_ns += ns;
	return ns;
}
