#include "workloads/tools/live.h"

#include <string.h>

struct region {
	uint64_t begin, end; /* end: of the last byte, + 1; 0 for the top of the address space */
	uint32_t rights;
};

struct space {
	GArray *regions; /* struct region, disjoint, in no order */
	uint64_t brk;	 /* 0 none */
};

struct live {
	GHashTable *blocks; /* uint64_t * (of the block's event) -> struct live_block * */
	GHashTable *spaces; /* task -> struct space * */
	uint64_t frames, heap_bytes, objects;
	uint64_t allocations; /* so far */
};

static void block_free(gpointer data)
{
	struct live_block *block = data;

	if (block->freed)
		g_array_unref(block->freed);
	g_free(block);
}

static void space_free(gpointer data)
{
	struct space *space = data;

	g_array_unref(space->regions);
	g_free(space);
}

struct live *live_new(void)
{
	struct live *live = g_new0(struct live, 1);

	live->blocks = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, block_free);
	live->spaces = g_hash_table_new_full(NULL, NULL, NULL, space_free);
	return live;
}

void live_free(struct live *live)
{
	g_hash_table_unref(live->blocks);
	g_hash_table_unref(live->spaces);
	g_free(live);
}

const struct live_block *live_block(const struct live *live, uint64_t handle)
{
	return g_hash_table_lookup(live->blocks, &handle);
}

uint64_t live_frames(const struct live *live)
{
	return live->frames;
}

uint64_t live_heap_bytes(const struct live *live)
{
	return live->heap_bytes;
}

uint64_t live_objects(const struct live *live)
{
	return live->objects;
}

/* ---- allocations ---- */

static void drop(struct live *live, struct live_block *block)
{
	if (block->alloc.kind == EVENT_FRAME_ALLOC) {
		live->frames -= block->left;
	} else {
		live->heap_bytes -= block->alloc.u.heap.bytes;
		live->objects--;
	}
	g_hash_table_remove(live->blocks, &block->alloc.u.frame.handle);
}

static void allocate(struct live *live, const struct event *event)
{
	struct live_block *block = g_hash_table_lookup(live->blocks, &event->u.frame.handle);

	if (block)
		drop(live, block);
	block = g_new0(struct live_block, 1);
	block->alloc = *event;
	block->number = live->allocations++;
	if (event->kind == EVENT_FRAME_ALLOC) {
		block->left = event->u.frame.frames;
		live->frames += block->left;
	} else {
		live->heap_bytes += event->u.heap.bytes;
		live->objects++;
	}
	g_hash_table_insert(live->blocks, &block->alloc.u.frame.handle, block);
}

static void release(struct live *live, const struct event *event)
{
	struct live_block *block = g_hash_table_lookup(live->blocks, &event->u.frame.handle);

	if (!block)
		return;
	uint32_t frames = event->kind == EVENT_FRAME_FREE ? event->u.frame.frames : 0;
	if (frames == 0 || frames >= block->left) {
		drop(live, block);
		return;
	}
	struct live_part part = { event->u.frame.first_part, frames };
	if (!block->freed)
		block->freed = g_array_new(FALSE, FALSE, sizeof(struct live_part));
	g_array_append_val(block->freed, part);
	block->left -= frames;
	live->frames -= frames;
}

static void resize(struct live *live, const struct event *event)
{
	struct live_block *block = g_hash_table_lookup(live->blocks, &event->u.heap.handle);

	if (!block || block->alloc.kind != EVENT_HEAP_ALLOC)
		return;
	live->heap_bytes += event->u.heap.bytes - block->alloc.u.heap.bytes;
	block->alloc.u.heap.bytes = event->u.heap.bytes;
	block->alloc.u.heap.bytes_recorded = event->u.heap.bytes_recorded;
}

/* ---- address spaces ---- */

static struct space *space_of(struct live *live, uint32_t task)
{
	struct space *space = g_hash_table_lookup(live->spaces, GUINT_TO_POINTER(task));

	if (!space) {
		space = g_new0(struct space, 1);
		space->regions = g_array_new(FALSE, FALSE, sizeof(struct region));
		g_hash_table_insert(live->spaces, GUINT_TO_POINTER(task), space);
	}
	return space;
}

/* Takes [begin, end) out of all regions; what was there goes to *TAKEN, if that is wanted. */
static void carve(struct space *space, uint64_t begin, uint64_t end, GArray *taken)
{
	/* What is appended on the way lies outside of the range. */
	for (guint i = space->regions->len; i-- > 0;) {
		struct region region = g_array_index(space->regions, struct region, i);
		if (region.end - 1 < begin || region.begin > end - 1)
			continue;
		struct region inside = { MAX(region.begin, begin), MIN(region.end - 1, end - 1) + 1,
					 region.rights };
		struct region before = { region.begin, begin, region.rights };
		struct region behind = { end, region.end, region.rights };
		g_array_remove_index_fast(space->regions, i);
		if (region.begin < begin)
			g_array_append_val(space->regions, before);
		if (region.end - 1 > end - 1)
			g_array_append_val(space->regions, behind);
		if (taken)
			g_array_append_val(taken, inside);
	}
}

static void change_region(struct live *live, const struct event *event)
{
	struct space *space = space_of(live, event->task);
	uint64_t begin = event->u.region.address, bytes = event->u.region.bytes;
	uint64_t end = begin + bytes;

	if (event->kind == EVENT_BRK) {
		space->brk = begin;
		return;
	}
	if (bytes == 0)
		return;
	g_autoptr(GArray) taken = g_array_new(FALSE, FALSE, sizeof(struct region));
	carve(space, begin, end, taken);
	if (event->kind == EVENT_MMAP) {
		struct region region = { begin, end, event->u.region.rights };
		g_array_append_val(space->regions, region);
	}
	for (guint i = 0; event->kind == EVENT_MPROTECT && i < taken->len; i++) {
		struct region region = g_array_index(taken, struct region, i);
		region.rights = event->u.region.rights;
		g_array_append_val(space->regions, region);
	}
}

static void change_process(struct live *live, const struct event *event)
{
	const struct space *parent;
	struct space *child;

	switch ((enum event_kind)event->kind) {
	case EVENT_EXEC:
	case EVENT_EXIT:
		g_hash_table_remove(live->spaces, GUINT_TO_POINTER(event->task));
		break;
	case EVENT_FORK:
	case EVENT_SPAWN:
		g_hash_table_remove(live->spaces, GUINT_TO_POINTER(event->u.process.child));
		parent = g_hash_table_lookup(live->spaces, GUINT_TO_POINTER(event->task));
		if (event->kind == EVENT_SPAWN || !parent)
			break;
		child = space_of(live, event->u.process.child);
		child->brk = parent->brk;
		g_array_append_vals(child->regions, parent->regions->data, parent->regions->len);
		break;
	default:
		break;
	}
}

void live_take(struct live *live, const struct event *event)
{
	switch ((enum event_kind)event->kind) {
	case EVENT_FRAME_ALLOC:
	case EVENT_HEAP_ALLOC:
		allocate(live, event);
		break;
	case EVENT_FRAME_FREE:
	case EVENT_HEAP_FREE:
		release(live, event);
		break;
	case EVENT_HEAP_REALLOC:
		resize(live, event);
		break;
	case EVENT_SPAWN:
	case EVENT_FORK:
	case EVENT_EXEC:
	case EVENT_EXIT:
		change_process(live, event);
		break;
	case EVENT_MMAP:
	case EVENT_MUNMAP:
	case EVENT_MPROTECT:
	case EVENT_BRK:
		change_region(live, event);
		break;
	default:
		break;
	}
}

/* ---- the state as events ---- */

static gint by_coming(gconstpointer left, gconstpointer right)
{
	uint64_t a = (*(const struct live_block *const *)left)->number;
	uint64_t b = (*(const struct live_block *const *)right)->number;
	return a < b ? -1 : a > b;
}

GPtrArray *live_blocks(const struct live *live)
{
	GPtrArray *blocks = g_ptr_array_sized_new(g_hash_table_size(live->blocks));
	GHashTableIter at;
	gpointer block;

	g_hash_table_iter_init(&at, live->blocks);
	while (g_hash_table_iter_next(&at, NULL, &block))
		g_ptr_array_add(blocks, block);
	g_ptr_array_sort(blocks, by_coming);
	return blocks;
}

bool live_each_allocation(const struct live *live, live_fn visit, void *data)
{
	g_autoptr(GPtrArray) blocks = live_blocks(live);

	for (guint i = 0; i < blocks->len; i++) {
		struct event event = ((const struct live_block *)blocks->pdata[i])->alloc;
		event.time_ns = 0;
		event.flags |= EVENT_PROLOGUE;
		if (!visit(&event, data))
			return false;
	}
	return true;
}

static bool each_part(const struct live_block *block, live_fn visit, void *data)
{
	for (guint i = 0; block->freed && i < block->freed->len; i++) {
		const struct live_part *part = &g_array_index(block->freed, struct live_part, i);
		struct event event = { .kind = EVENT_FRAME_FREE,
				       .flags = EVENT_IMPLIED | EVENT_INFERRED,
				       .cpu = UINT16_MAX };
		event.u.frame.handle = block->alloc.u.frame.handle;
		event.u.frame.frame = EVENT_NO_FRAME;
		event.u.frame.frames = part->frames;
		event.u.frame.first_part = part->first;
		if (!visit(&event, data))
			return false;
	}
	return true;
}

static bool each_region(uint32_t task, const struct space *space, live_fn visit, void *data)
{
	struct event event = { .flags = EVENT_INFERRED, .cpu = UINT16_MAX, .task = task };

	for (guint i = 0; i < space->regions->len; i++) {
		const struct region *region = &g_array_index(space->regions, struct region, i);
		event.kind = EVENT_MMAP;
		event.u.region.address = region->begin;
		event.u.region.bytes = region->end - region->begin;
		event.u.region.rights = region->rights;
		if (!visit(&event, data))
			return false;
	}
	if (space->brk == 0)
		return true;
	event.kind = EVENT_BRK;
	memset(&event.u, 0, sizeof event.u);
	event.u.region.address = space->brk;
	return visit(&event, data);
}

static gint by_number(gconstpointer left, gconstpointer right)
{
	guint a = GPOINTER_TO_UINT(left), b = GPOINTER_TO_UINT(right);
	return a < b ? -1 : a > b;
}

static gint by_address(gconstpointer left, gconstpointer right)
{
	const struct region *a = left, *b = right;
	return a->begin < b->begin ? -1 : a->begin > b->begin;
}

bool live_each_other(const struct live *live, live_fn visit, void *data)
{
	g_autoptr(GPtrArray) blocks = live_blocks(live);
	g_autoptr(GList) tasks = g_list_sort(g_hash_table_get_keys(live->spaces), by_number);

	for (guint i = 0; i < blocks->len; i++)
		if (!each_part(blocks->pdata[i], visit, data))
			return false;
	for (const GList *task = tasks; task; task = task->next) {
		struct space *space = g_hash_table_lookup(live->spaces, task->data);
		g_array_sort(space->regions, by_address);
		if (!each_region(GPOINTER_TO_UINT(task->data), space, visit, data))
			return false;
	}
	return true;
}
