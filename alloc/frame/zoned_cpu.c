/*
 * zoned_cpu.c - the zoned buddy's lists of CPUs: blocks of small orders, and page blocks, that a
 * CPU takes and gives without touching the zone. Theory and invariants: zoned_buddy.c.
 */
#include "alloc/frame/zoned.h"

static uint32_t pop(struct zoned *z, struct zoned_cpu *cpu, unsigned i, bool tail)
{
	struct zoned_list *list = &cpu->list[i];
	uint32_t block = tail ? list->tail : list->head;

	zoned_list_remove(z, list, block);
	zoned_kinds(z)[block] = 0;
	cpu->count -= 1u << zoned_cpu_list_order(i);
	return block;
}

static void push(struct zoned *z, struct zoned_cpu *cpu, uint32_t block, unsigned order,
		 unsigned type, bool tail)
{
	zoned_kinds(z)[block] = (uint8_t)kind_of(KIND_CPU, type, order);
	zoned_list_push(z, &cpu->list[zoned_cpu_list(order, type)], block, tail);
	cpu->count += 1u << order;
}

/* Fills an empty list, in the order that the zone gives the blocks. */
static void refill(struct zoned *z, unsigned zone, struct zoned_cpu *cpu, unsigned order,
		   unsigned type, unsigned fallback_order)
{
	uint64_t n = z->shape.zone[zone].cpu_batch;

	if (n > 1)
		n = n >> order > 2 ? n >> order : 2;
	for (; n; n--) {
		uint32_t block = zoned_area_take(z, zone, order, type, fallback_order);

		if (block == ZONED_NONE)
			return;
		push(z, cpu, block, order, type, true);
	}
}

uint32_t zoned_cpu_take(struct zoned *z, unsigned zone, uint64_t number, unsigned order,
			unsigned type, unsigned fallback_order)
{
	struct zoned_cpu *cpu = zoned_cpu_of(z, zone, number);
	unsigned i = zoned_cpu_list(order, type);

	cpu->free_factor >>= 1; /* who allocates may keep what it frees */
	if (cpu->list[i].head == ZONED_NONE)
		refill(z, zone, cpu, order, type, fallback_order);
	return cpu->list[i].head == ZONED_NONE ? ZONED_NONE : pop(z, cpu, i, false);
}

/* Frees at least FRAMES, from the tails, list after list beginning with FIRST. */
static void drain(struct zoned *z, unsigned zone, struct zoned_cpu *cpu, uint64_t frames,
		  unsigned first)
{
	frames = frames < cpu->count ? frames : cpu->count;
	for (unsigned i = first; frames; i = (i + 1) % CPU_LISTS) {
		unsigned order = zoned_cpu_list_order(i);

		while (frames && cpu->list[i].head != ZONED_NONE) {
			zoned_area_give(z, zone, pop(z, cpu, i, true), order, i % ZONED_TYPES);
			frames -= frames < 1u << order ? frames : 1u << order;
		}
	}
}

/* How many frames leave a CPU that has too many: more each time, as long as it only frees. */
static uint64_t drain_frames(const struct zone_shape *shape, struct zoned_cpu *cpu)
{
	uint64_t batch = shape->cpu_batch, most = shape->cpu_high - batch, n;

	if (shape->cpu_high < batch)
		return 1;
	n = batch << cpu->free_factor;
	if (n < most)
		cpu->free_factor++;
	n = n > most ? most : n;
	return n > batch ? n : batch;
}

void zoned_cpu_give(struct zoned *z, unsigned zone, uint64_t number, uint32_t block, unsigned order,
		    unsigned type)
{
	const struct zone_shape *shape = &z->shape.zone[zone];
	struct zoned_cpu *cpu = zoned_cpu_of(z, zone, number);
	unsigned i = zoned_cpu_list(order, type);

	push(z, cpu, block, order, type, false);
	if (order && order <= CPU_LIST_ORDER && cpu->free_factor)
		drain(z, zone, cpu, cpu->count, i);
	else if (cpu->count >= shape->cpu_high)
		drain(z, zone, cpu, drain_frames(shape, cpu), i);
}

bool zoned_cpu_drain_all(struct zoned *z)
{
	bool any = false;

	for (unsigned zone = 0; zone < ZONED_ZONES; zone++)
		for (uint64_t c = 0; c < z->shape.cpus; c++) {
			struct zoned_cpu *cpu = zoned_cpu_of(z, zone, c);

			any |= cpu->count != 0;
			drain(z, zone, cpu, cpu->count, 0);
		}
	return any;
}
