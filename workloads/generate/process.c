#include "workloads/generate/process.h"

#define TEXT_BASE  UINT64_C(0x08048000)
#define BREAK_MOST UINT64_C(0x40000000)
#define MMAP_LEAST UINT64_C(0x40000000)
#define MMAP_TOP   UINT64_C(0xb7000000)
#define STACK_TOP  UINT64_C(0xbf800000)

static struct area *area_at(const struct process *process, guint i)
{
	return &g_array_index(process->areas, struct area, i);
}

/* What is emitted next is done by this process. */
static struct generation *act(const struct process *process)
{
	process->generation->task = process->task;
	process->generation->cpu = process->cpu;
	return process->generation;
}

static struct process *process_new(struct generation *generation, uint32_t task, uint16_t cpu)
{
	struct process *process = g_new0(struct process, 1);

	process->generation = generation;
	process->task = task;
	process->cpu = cpu;
	process->areas = g_array_new(FALSE, FALSE, sizeof(struct area));
	return process;
}

/* ---- life ---- */

struct process *process_spawn(struct generation *generation, uint32_t task, uint16_t cpu,
			      const struct program *program)
{
	struct process *process = process_new(generation, task, cpu);

	generation->task = 0;
	generation->cpu = cpu;
	emit_spawn(generation, task, generation_name(generation, program->name));
	process_exec(process, program);
	return process;
}

struct process *process_fork(struct process *parent, uint32_t task, uint16_t cpu)
{
	struct generation *generation = act(parent);
	struct process *child = process_new(generation, task, cpu);

	emit_fork(generation, task, generation_name(generation, parent->name));
	generation_task(generation, task, parent->name);
	child->name = parent->name;
	g_array_append_vals(child->areas, parent->areas->data, parent->areas->len);
	child->parent = parent->task;
	child->depth = parent->depth + 1;
	return child;
}

static void add_area(struct process *process, uint64_t address, uint64_t pages, uint32_t rights)
{
	struct area area = { address, pages, rights };

	g_array_append_val(process->areas, area);
	if (pages > 0)
		emit_region(act(process), EVENT_MMAP, address, pages * PAGE_BYTES, rights);
}

void process_exec(struct process *process, const struct program *program)
{
	struct generation *generation = act(process);
	uint64_t at = TEXT_BASE;

	process->name = program->name;
	emit_exec(generation, generation_name(generation, program->name));
	generation_task(generation, process->task, program->name);
	g_array_set_size(process->areas, 0);
	add_area(process, at, program->text, RIGHT_READ | RIGHT_EXEC);
	at += program->text * PAGE_BYTES;
	add_area(process, at, program->constants, RIGHT_READ | RIGHT_WRITE);
	at += program->constants * PAGE_BYTES;
	add_area(process, at, program->data, RIGHT_READ | RIGHT_WRITE);
	at += program->data * PAGE_BYTES;
	add_area(process, MMAP_TOP - program->library * PAGE_BYTES, program->library,
		 RIGHT_READ | RIGHT_EXEC);
	add_area(process, STACK_TOP - program->stack * PAGE_BYTES, program->stack,
		 RIGHT_READ | RIGHT_WRITE);
	add_area(process, at, 0, RIGHT_READ | RIGHT_WRITE);
	emit_brk(generation, at);
	process_touch_page(process, AREA_STACK, program->stack - 1, RIGHT_WRITE);
	process_fill(process, AREA_CONSTANTS, 0, program->constants);
	struct area *constants = area_at(process, AREA_CONSTANTS);
	constants->rights = RIGHT_READ;
	emit_region(generation, EVENT_MPROTECT, constants->address, constants->pages * PAGE_BYTES,
		    RIGHT_READ);
}

void process_exit(struct process *process)
{
	emit_exit(act(process));
	g_array_unref(process->areas);
	g_free(process);
}

/* ---- touches ---- */

void process_touch_page(struct process *process, guint area, uint64_t page, uint8_t access)
{
	struct generation *generation = act(process);
	struct random *random = &generation->random;
	const struct area *text = area_at(process, AREA_TEXT);
	uint32_t bytes = access & RIGHT_EXEC ? 4 : 8;
	uint64_t offset = random_below(random, PAGE_BYTES / bytes) * bytes;
	uint64_t address = area_at(process, area)->address + page * PAGE_BYTES + offset;
	uint64_t ip = access & RIGHT_EXEC
			      ? address
			      : text->address + random_below(random, text->pages * PAGE_BYTES);

	emit_touch(generation, address, bytes, access, ip);
}

/* A page of the area; the first ones (of the stack: the last ones) are popular. */
static uint64_t draw_page(struct process *process, guint area)
{
	uint64_t pages = area_at(process, area)->pages;
	const struct pareto popular = pareto_new(1, pages, 50);
	uint64_t page = pareto_draw(&popular, &process->generation->random) - 1;

	return area == AREA_STACK ? pages - 1 - page : page;
}

static guint draw_area(struct process *process)
{
	static const uint8_t likely[] = { AREA_TEXT, AREA_TEXT,	 AREA_LIBRARY, AREA_CONSTANTS,
					  AREA_DATA, AREA_STACK, AREA_STACK,   AREA_HEAP,
					  AREA_HEAP, AREA_HEAP };
	struct random *random = &process->generation->random;
	guint mapped = process->areas->len - AREA_MAPPED;

	if (mapped > 0 && draw_chance(random, 1, 4))
		return AREA_MAPPED + (guint)random_below(random, mapped);
	guint area = likely[random_below(random, G_N_ELEMENTS(likely))];
	return area_at(process, area)->pages > 0 ? area : AREA_DATA;
}

static uint8_t draw_access(struct random *random, uint32_t rights)
{
	if (rights & RIGHT_EXEC)
		return RIGHT_EXEC;
	if (!(rights & RIGHT_WRITE))
		return RIGHT_READ;
	/* Of ten accesses to data about three write, one of them to what it has just read. */
	static const uint8_t accesses[] = {
		RIGHT_READ, RIGHT_READ, RIGHT_READ,  RIGHT_READ,  RIGHT_READ,
		RIGHT_READ, RIGHT_READ, RIGHT_WRITE, RIGHT_WRITE, RIGHT_READ | RIGHT_WRITE
	};
	return accesses[random_below(random, G_N_ELEMENTS(accesses))];
}

void process_run(struct process *process, uint64_t count)
{
	struct generation *generation = process->generation;

	for (; count > 0 && generation_more(generation); count--) {
		guint area = draw_area(process);
		uint64_t page = draw_page(process, area);
		process_touch_page(
			process, area, page,
			draw_access(&generation->random, area_at(process, area)->rights));
	}
}

void process_fill(struct process *process, guint area, uint64_t first, uint64_t pages)
{
	for (uint64_t i = 0; i < pages && generation_more(process->generation); i++)
		process_touch_page(process, area, first + i, RIGHT_WRITE);
}

/* ---- regions ---- */

uint64_t process_grow(struct process *process, uint64_t pages)
{
	struct area *heap = area_at(process, AREA_HEAP);
	uint64_t most = (BREAK_MOST - heap->address) / PAGE_BYTES;

	pages = MIN(pages, most - heap->pages);
	heap->pages += pages;
	if (pages > 0)
		emit_brk(act(process), heap->address + heap->pages * PAGE_BYTES);
	return pages;
}

void process_shrink(struct process *process, uint64_t pages)
{
	struct area *heap = area_at(process, AREA_HEAP);

	heap->pages -= pages;
	emit_brk(act(process), heap->address + heap->pages * PAGE_BYTES);
}

/* Top-down first fit: below what is in the way, until nothing is. */
static bool find_room(const struct process *process, uint64_t bytes, uint64_t *address)
{
	bool moved = true;

	for (*address = MMAP_TOP - bytes; moved && *address >= MMAP_LEAST;) {
		moved = false;
		for (guint i = AREA_LIBRARY; i < process->areas->len; i++) {
			const struct area *other = area_at(process, i);
			if (*address < other->address + other->pages * PAGE_BYTES &&
			    other->address < *address + bytes) {
				if (other->address < MMAP_LEAST + bytes)
					return false;
				*address = other->address - bytes;
				moved = true;
			}
		}
	}
	return *address >= MMAP_LEAST;
}

guint process_mmap(struct process *process, uint64_t pages, uint32_t rights)
{
	uint64_t address;

	if (pages > (MMAP_TOP - MMAP_LEAST) / PAGE_BYTES ||
	    !find_room(process, pages * PAGE_BYTES, &address))
		return 0;
	add_area(process, address, pages, rights);
	return process->areas->len - 1;
}

void process_munmap(struct process *process, guint area)
{
	const struct area *gone = area_at(process, area);

	emit_region(act(process), EVENT_MUNMAP, gone->address, gone->pages * PAGE_BYTES, 0);
	g_array_remove_index(process->areas, area);
}
