#include "workloads/import/owners.h"

#include <string.h>
#include "workloads/import/owners_private.h"
#include "workloads/import/radix_sort.h"

/* The second pass of owners.h. */

/* The start section is sorted by frame. */
static void rank_prologue(struct owners *owners)
{
	guint count = owners->prologue->len;
	g_autofree struct radix_item *order = g_new(struct radix_item, count);
	g_autoptr(GArray) found = owners->prologue;

	for (guint i = 0; i < count; i++)
		order[i] =
			(struct radix_item){ g_array_index(found, struct prologue_block, i).first,
					     i };
	radix_sort(order, count);
	owners->prologue = g_array_sized_new(FALSE, FALSE, sizeof(struct prologue_block), count);
	g_array_set_size(owners->prologue_rank, count);
	for (guint i = 0; i < count; i++) {
		g_array_index(owners->prologue_rank, uint64_t, order[i].index) = i;
		g_array_append_val(owners->prologue,
				   g_array_index(found, struct prologue_block, order[i].index));
	}
}

/* By the event behind which they belong, then by frame. */
static gint by_place(gconstpointer left, gconstpointer right)
{
	const struct untraced_frame *a = left, *b = right;
	if (a->after != b->after)
		return a->after < b->after ? -1 : 1;
	return a->frame < b->frame ? -1 : a->frame > b->frame;
}

static void rank_untraced(struct owners *owners)
{
	g_array_sort(owners->untraced, by_place);
	g_array_set_size(owners->untraced_rank, owners->untraced->len);
	for (guint i = 0; i < owners->untraced->len; i++) {
		const struct untraced_frame *untraced =
			&g_array_index(owners->untraced, struct untraced_frame, i);
		g_array_index(owners->untraced_rank, uint64_t, untraced->index) = i;
	}
}

bool owners_seal(struct owners *owners, GError **error)
{
	rank_prologue(owners);
	rank_untraced(owners);
	regions_seal(owners->regions);
	return spool_rewind(owners->spool, error);
}

static uint64_t final_handle(const struct owners *owners, uint64_t handle)
{
	uint64_t prologue = owners->prologue->len;

	if (handle & HANDLE_PROLOGUE)
		return 1 +
		       g_array_index(owners->prologue_rank, uint64_t, handle & ~HANDLE_PROLOGUE);
	if (handle & HANDLE_UNTRACED)
		return 1 + prologue +
		       g_array_index(owners->untraced_rank, uint64_t, handle & ~HANDLE_UNTRACED);
	return prologue + owners->untraced->len + handle;
}

uint64_t owners_start_count(const struct owners *owners)
{
	return owners->prologue->len;
}

void owners_start(const struct owners *owners, uint64_t index, struct event *out)
{
	const struct prologue_block *block =
		&g_array_index(owners->prologue, struct prologue_block, index);
	const struct frame_info *info = owners_frame(owners, block->first);

	*out = (struct event){ .kind = EVENT_FRAME_ALLOC, .flags = EVENT_PROLOGUE };
	out->cpu = UINT16_MAX;
	out->u.frame.handle = 1 + index;
	out->u.frame.frame = block->first;
	out->u.frame.frames = out->u.frame.align_frames = block->frames;
	out->u.frame.mobility = info && info->mobility != FRAME_MOBILITY_UNKNOWN
					? (uint8_t)info->mobility
					: MOBILITY_MOVABLE;
}

/* The untraced allocation that belongs behind the event read last, if there is one. */
static bool read_untraced(struct owners *owners, struct event *out)
{
	if (owners->untraced_next == owners->untraced->len)
		return false;
	const struct untraced_frame *untraced =
		&g_array_index(owners->untraced, struct untraced_frame, owners->untraced_next);
	if (untraced->after >= owners->read)
		return false;

	owners->untraced_next++;
	owners->held_frames++;
	*out = (struct event){ .time_ns = owners->last.time_ns,
			       .kind = EVENT_FRAME_ALLOC,
			       .flags = EVENT_UNTRACED,
			       .cpu = owners->last.cpu,
			       .task = owners->last.task };
	out->u.frame.handle = final_handle(owners, HANDLE_UNTRACED | untraced->index);
	out->u.frame.frame = untraced->frame;
	out->u.frame.frames = out->u.frame.align_frames = 1;
	out->u.frame.mobility = MOBILITY_MOVABLE;
	return true;
}

/* A touch of a region that its space lacks: the region comes first, the touch is held. */
static void complete_touch(struct owners *owners, struct event *out)
{
	struct region region;

	if (!regions_missing(owners->regions, out->task, out->u.touch.address, &region))
		return;
	owners->held = *out;
	owners->holding = true;
	out->kind = EVENT_MMAP;
	out->flags = EVENT_INFERRED;
	memset(&out->u, 0, sizeof out->u);
	out->u.region.address = region.address;
	out->u.region.bytes = region.bytes;
	out->u.region.rights = region.rights;
}

static void complete(struct owners *owners, struct event *out)
{
	out->time_ns -= owners->first_ns;
	switch (out->kind) {
	case EVENT_FRAME_ALLOC:
		out->u.frame.handle = final_handle(owners, out->u.frame.handle);
		owners->held_frames += out->u.frame.frames;
		break;
	case EVENT_FRAME_FREE:
		out->u.frame.handle = final_handle(owners, out->u.frame.handle);
		owners->held_frames -= out->u.frame.align_frames;
		out->u.frame.align_frames = 0;
		break;
	case EVENT_HEAP_ALLOC:
		out->u.heap.handle = final_handle(owners, out->u.heap.handle);
		out->u.heap.cache =
			g_array_index(owners->objects, struct heap_object, out->u.heap.cache).cache;
		break;
	case EVENT_HEAP_REALLOC:
	case EVENT_HEAP_FREE:
		out->u.heap.handle = final_handle(owners, out->u.heap.handle);
		break;
	case EVENT_FORK:
		regions_fork(owners->regions, out->task, out->u.process.child);
		break;
	case EVENT_EXEC:
		regions_exec(owners->regions, out->task);
		break;
	case EVENT_EXIT:
		regions_exit(owners->regions, out->task);
		break;
	default:
		break;
	}
}

int owners_read(struct owners *owners, struct event *out, GError **error)
{
	if (owners->holding) {
		*out = owners->held;
		owners->holding = false;
		return 1;
	}
	if (read_untraced(owners, out))
		return 1;
	int got = spool_read(owners->spool, out, error);
	if (got <= 0)
		return got;
	owners->read++;
	complete(owners, out);
	owners->last = *out;
	if (out->kind == EVENT_TOUCH)
		complete_touch(owners, out);
	return 1;
}

int64_t owners_held_frames(const struct owners *owners)
{
	return owners->held_frames;
}

const char *owners_text(const struct owners *owners, uint32_t string)
{
	return string < owners->strings->len ? g_ptr_array_index(owners->strings, string) : NULL;
}

/* Names have small ids; kernels live in the upper half of the address space, also of 32 bits. */
bool owners_site_is_name(uint64_t site)
{
	return site > 0 && site <= INT32_MAX;
}

const struct frame_info *owners_frame(const struct owners *owners, uint64_t frame)
{
	return frame_table_peek(&owners->frames, frame);
}

uint64_t owners_frame_end(const struct owners *owners)
{
	return owners->frames.end;
}

static void gather_pid(uint64_t pid, uint64_t name, void *data)
{
	g_array_append_val((GArray *)data, pid);
}

static gint by_number(gconstpointer left, gconstpointer right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
	return a < b ? -1 : a > b;
}

void owners_each_task(const struct owners *owners,
		      void (*visit)(uint32_t pid, const char *name, void *data), void *data)
{
	g_autoptr(GArray) pids = g_array_new(FALSE, FALSE, sizeof(uint64_t));

	map64_each(&owners->tasks, gather_pid, pids);
	g_array_sort(pids, by_number);
	for (guint i = 0; i < pids->len; i++) {
		uint64_t pid = g_array_index(pids, uint64_t, i);
		const uint64_t *name = map64_find(&owners->tasks, pid);
		visit((uint32_t)pid, owners_text(owners, (uint32_t)*name), data);
	}
}

void owners_counts(const struct owners *owners, struct trace_meta *meta)
{
	for (int kind = 0; kind < RAW_KINDS; kind++)
		if (owners->kind_count[kind] > 0)
			trace_meta_count_source(meta, raw_kind_name((enum raw_kind)kind),
						owners->kind_count[kind]);
	for (guint id = 0; id < owners->name_count->len; id++) {
		uint64_t times = g_array_index(owners->name_count, uint64_t, id);
		if (times > 0)
			trace_meta_count_source(meta, owners_text(owners, id), times);
	}
	if (owners->lost > 0)
		trace_meta_count_source(meta, "[LOST EVENTS]", owners->lost);
	meta->cpus = owners->cpus->len;
	meta->implied_frees = owners->implied;
	meta->untraced_allocs = owners->untraced->len;
	meta->compaction_allocs = owners->compaction;
}
