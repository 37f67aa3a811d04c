#include "sim/space_model.h"

#include <string.h>

#define PAGE 4096u

/* The last one is where heaps are. Together MODEL_PAGES. */
static const struct {
	uint64_t base;
	unsigned pages;
} clusters[] = {
	{ 0x00001000, 64 },   /* beside the null page */
	{ 0x003f0000, 128 },  /* across 4 MiB: two tables, in every mode */
	{ 0x08000000, 2560 }, /* two tables of 4 MiB and more, five of 2 MiB */
	{ 0x3fff0000, 128 },  /* across 1 GiB */
	{ 0x7ff80000, 128 },  /* across 2 GiB: the sign of 32 bits */
	{ 0xbffc0000, 64 },   /* the last pages of an i386 process */
	{ 0x30000000, MODEL_HEAP_PAGES },
};

uint64_t model_address(unsigned page)
{
	for (gsize i = 0; i < G_N_ELEMENTS(clusters); i++) {
		if (page < clusters[i].pages)
			return clusters[i].base + (uint64_t)page * PAGE;
		page -= clusters[i].pages;
	}
	return 0;
}

int model_page(uint64_t address)
{
	unsigned before = 0;

	for (gsize i = 0; i < G_N_ELEMENTS(clusters); i++) {
		if (address - clusters[i].base < (uint64_t)clusters[i].pages * PAGE)
			return (int)(before + (address - clusters[i].base) / PAGE);
		before += clusters[i].pages;
	}
	return -1;
}

unsigned model_room(unsigned page)
{
	for (gsize i = 0; i < G_N_ELEMENTS(clusters); i++) {
		if (page < clusters[i].pages)
			return clusters[i].pages - page;
		page -= clusters[i].pages;
	}
	return 0;
}

uint64_t model_heap(void)
{
	return clusters[G_N_ELEMENTS(clusters) - 1].base;
}

/* ---- processes ---- */

struct memory {
	uint32_t number;
	uint64_t brk;		     /* 0: none yet */
	bool mapped[MODEL_PAGES];    /* in a region */
	uint8_t rights[MODEL_PAGES]; /* enum event_right */
	uint8_t *bytes[MODEL_PAGES]; /* NULL: all zero */
};

struct model {
	bool no_execute;
	GPtrArray *live; /* struct memory * */
};

static void clear_page(struct memory *m, unsigned page)
{
	g_clear_pointer(&m->bytes[page], g_free);
	m->mapped[page] = false;
}

static void memory_free(gpointer data)
{
	struct memory *m = data;

	for (unsigned i = 0; i < MODEL_PAGES; i++)
		g_free(m->bytes[i]);
	g_free(m);
}

struct model *model_new(bool no_execute)
{
	struct model *model = g_new0(struct model, 1);

	model->no_execute = no_execute;
	model->live = g_ptr_array_new_with_free_func(memory_free);
	return model;
}

void model_free(struct model *model)
{
	g_ptr_array_unref(model->live);
	g_free(model);
}

unsigned model_processes(const struct model *model)
{
	return model->live->len;
}

uint32_t model_process(const struct model *model, unsigned index)
{
	const struct memory *m = g_ptr_array_index(model->live, index);

	return m->number;
}

static struct memory *memory_of(const struct model *model, uint32_t number)
{
	for (guint i = 0; i < model->live->len; i++) {
		struct memory *m = g_ptr_array_index(model->live, i);
		if (m->number == number)
			return m;
	}
	return NULL;
}

static struct memory *birth(struct model *model, uint32_t number)
{
	struct memory *m = g_new0(struct memory, 1);

	m->number = number;
	g_ptr_array_add(model->live, m);
	return m;
}

/* ---- events ---- */

static bool page_allows(const struct model *model, const struct memory *m, int page,
			unsigned access)
{
	if (page < 0 || !m->mapped[page] || m->rights[page] == 0)
		return false;
	if ((access & RIGHT_WRITE) && !(m->rights[page] & RIGHT_WRITE))
		return false;
	return !(access & RIGHT_EXEC) || !model->no_execute || (m->rights[page] & RIGHT_EXEC);
}

bool model_allows(const struct model *model, const struct event *touch)
{
	const struct memory *m = memory_of(model, touch->task);
	uint64_t first = touch->u.touch.address / PAGE;
	uint64_t last = (touch->u.touch.address + MAX(touch->u.touch.bytes, 1) - 1) / PAGE;

	for (uint64_t page = first; m && page <= last; page++)
		if (!page_allows(model, m, model_page(page * PAGE), touch->u.touch.access))
			return false;
	return m != NULL;
}

static void copy_memory(struct model *model, const struct memory *from, uint32_t child)
{
	struct memory *m = birth(model, child);

	m->brk = from->brk;
	memcpy(m->mapped, from->mapped, sizeof(m->mapped));
	memcpy(m->rights, from->rights, sizeof(m->rights));
	for (unsigned i = 0; i < MODEL_PAGES; i++)
		m->bytes[i] = g_memdup2(from->bytes[i], PAGE);
}

static void map_range(struct memory *m, uint64_t base, uint64_t end, unsigned rights)
{
	for (uint64_t at = base; at < end; at += PAGE) {
		int page = model_page(at);
		if (page < 0)
			continue;
		clear_page(m, (unsigned)page);
		m->mapped[page] = true;
		m->rights[page] = (uint8_t)rights;
	}
}

static void change_range(struct memory *m, const struct event *event)
{
	uint64_t base = event->u.region.address, end = base + event->u.region.bytes;

	if (event->kind == EVENT_MMAP) {
		map_range(m, base, end, event->u.region.rights & ~(unsigned)RIGHT_LARGE);
		return;
	}
	for (uint64_t at = base; at < end; at += PAGE) {
		int page = model_page(at);
		if (page >= 0 && event->kind == EVENT_MUNMAP)
			clear_page(m, (unsigned)page);
		else if (page >= 0)
			m->rights[page] = (uint8_t)event->u.region.rights;
	}
}

static void move_break(struct memory *m, uint64_t brk)
{
	uint64_t end = (brk + PAGE - 1) / PAGE * PAGE, old = (m->brk + PAGE - 1) / PAGE * PAGE;

	if (m->brk && end > old)
		map_range(m, old, end, RIGHT_READ | RIGHT_WRITE);
	for (uint64_t at = end; m->brk && at < old; at += PAGE)
		clear_page(m, (unsigned)model_page(at));
	m->brk = brk;
}

void model_apply(struct model *model, const struct event *event)
{
	struct memory *m = memory_of(model, event->task);

	switch (event->kind) {
	case EVENT_SPAWN:
		birth(model, event->u.process.child);
		break;
	case EVENT_FORK:
		copy_memory(model, m, event->u.process.child);
		break;
	case EVENT_EXEC:
		for (unsigned i = 0; i < MODEL_PAGES; i++)
			clear_page(m, i);
		m->brk = 0;
		break;
	case EVENT_EXIT:
		g_ptr_array_remove(model->live, m);
		break;
	case EVENT_BRK:
		move_break(m, event->u.region.address);
		break;
	default:
		change_range(m, event);
	}
}

/* ---- contents ---- */

void model_write(struct model *model, uint32_t process, uint64_t va, const uint8_t *data,
		 unsigned bytes)
{
	struct memory *m = memory_of(model, process);

	for (unsigned i = 0; m && i < bytes; i++) {
		int page = model_page(va + i);
		if (page < 0)
			continue;
		if (!m->bytes[page])
			m->bytes[page] = g_malloc0(PAGE);
		m->bytes[page][(va + i) % PAGE] = data[i];
	}
}

bool model_holds(const struct model *model, uint32_t process, uint64_t va, const uint8_t *data,
		 unsigned bytes)
{
	const struct memory *m = memory_of(model, process);

	for (unsigned i = 0; m && i < bytes; i++) {
		int page = model_page(va + i);
		uint8_t want = page >= 0 && m->bytes[page] ? m->bytes[page][(va + i) % PAGE] : 0;
		if (page < 0 || data[i] != want)
			return false;
	}
	return m != NULL;
}
