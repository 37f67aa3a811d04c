#include "workloads/import/owners.h"

#include <string.h>
#include "workloads/import/gfp.h"
#include "workloads/import/owners_private.h"

/* Linux's PID_MAX_LIMIT on 64-bit machines. */
#define PID_LIMIT 4194304
/* Far above any kernel's MAX_ORDER: 4 GiB in a block. */
#define ORDER_LIMIT 20
/* Bytes of one instruction's access: far above XSAVE's. */
#define ACCESS_LIMIT (1u << 20)
/* A touch whose size the recording does not tell. */
#define TOUCH_BYTES 1
/* x86 #PF error code (Intel SDM 3A 4.7). */
#define FAULT_WRITE UINT64_C(0x02)
#define FAULT_FETCH UINT64_C(0x10)

struct owners *owners_new(const char *folder, GError **error)
{
	struct spool *spool = spool_new(folder, error);
	if (!spool)
		return NULL;
	struct owners *owners = g_new0(struct owners, 1);
	owners->spool = spool;
	owners->first_ns = UINT64_MAX;
	owners->cpus = g_array_new(FALSE, TRUE, sizeof(struct cpu_state));
	owners->blocks = g_array_new(FALSE, FALSE, sizeof(struct block));
	owners->free_blocks = UINT64_MAX;
	owners->prologue = g_array_new(FALSE, FALSE, sizeof(struct prologue_block));
	owners->untraced = g_array_new(FALSE, FALSE, sizeof(struct untraced_frame));
	owners->objects = g_array_new(FALSE, FALSE, sizeof(struct heap_object));
	owners->regions = regions_new();
	owners->strings = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(owners->strings, NULL);
	owners->string_ids = g_hash_table_new(g_str_hash, g_str_equal);
	owners->name_count = g_array_new(FALSE, TRUE, sizeof(uint64_t));
	owners->prologue_rank = g_array_new(FALSE, TRUE, sizeof(uint64_t));
	owners->untraced_rank = g_array_new(FALSE, TRUE, sizeof(uint64_t));
	return owners;
}

void owners_free(struct owners *owners)
{
	if (!owners)
		return;
	spool_free(owners->spool);
	frame_table_fini(&owners->frames);
	map64_fini(&owners->heap);
	map64_fini(&owners->tasks);
	regions_free(owners->regions);
	g_array_unref(owners->cpus);
	g_array_unref(owners->blocks);
	g_array_unref(owners->prologue);
	g_array_unref(owners->untraced);
	g_array_unref(owners->objects);
	g_array_unref(owners->name_count);
	g_array_unref(owners->prologue_rank);
	g_array_unref(owners->untraced_rank);
	g_hash_table_unref(owners->string_ids);
	g_ptr_array_unref(owners->strings);
	g_free(owners);
}

uint64_t owners_taken(const struct owners *owners)
{
	return owners->taken;
}

uint64_t owners_first_ns(const struct owners *owners)
{
	return owners->first_ns;
}

uint64_t owners_lost_events(const struct owners *owners)
{
	return owners->lost;
}

/* ---- strings and names ---- */

uint32_t owners_string(struct owners *owners, const char *text, size_t bytes)
{
	g_autofree char *copy = g_utf8_make_valid(text, (gssize)bytes);
	gpointer id = g_hash_table_lookup(owners->string_ids, copy);

	if (id)
		return GPOINTER_TO_UINT(id);
	id = GUINT_TO_POINTER(owners->strings->len);
	g_hash_table_insert(owners->string_ids, copy, id);
	g_ptr_array_add(owners->strings, g_steal_pointer(&copy));
	return GPOINTER_TO_UINT(id);
}

void owners_task(struct owners *owners, uint32_t pid, const char *name, size_t bytes)
{
	map64_put(&owners->tasks, pid, owners_string(owners, name, bytes));
}

static void count(struct owners *owners, const struct raw_event *raw)
{
	if (!raw->name) {
		owners->kind_count[raw->kind]++;
		return;
	}
	if (owners->name_count->len <= raw->name)
		g_array_set_size(owners->name_count, raw->name + 1);
	g_array_index(owners->name_count, uint64_t, raw->name)++;
}

/* ---- emitting ---- */

static struct event event_of(const struct raw_event *raw, enum event_kind kind)
{
	return (struct event){
		.time_ns = raw->time_ns,
		.kind = (uint8_t)kind,
		.cpu = raw->cpu,
		.task = raw->pid,
	};
}

static bool emit(struct owners *owners, const struct event *event, GError **error)
{
	return spool_add(owners->spool, event, error);
}

static uint8_t mobility_of(const struct raw_event *raw)
{
	int32_t type = raw->u.page.migratetype;

	if (!(raw->has & RAW_HAS_MIGRATETYPE) || type < 0)
		return MOBILITY_UNMOVABLE;
	return type < EVENT_MOBILITIES ? (uint8_t)type : MOBILITY_ISOLATE;
}

static uint8_t zone_of(const struct raw_event *raw)
{
	return raw->has & RAW_HAS_GFP ? gfp_zone(raw->gfp) : ZONE_ANY;
}

/* ---- blocks of frames ---- */

static struct block *block_at(struct owners *owners, uint64_t index)
{
	return &g_array_index(owners->blocks, struct block, index);
}

static uint64_t block_new(struct owners *owners, struct block block)
{
	uint64_t index = owners->free_blocks;

	if (index == UINT64_MAX) {
		g_array_append_val(owners->blocks, block);
		return owners->blocks->len - 1;
	}
	owners->free_blocks = block_at(owners, index)->first;
	*block_at(owners, index) = block;
	return index;
}

/* Marks frames as freed by the event that is emitted next, and drops the block with its last one.
 */
static void block_take(struct owners *owners, uint64_t index, uint64_t first, uint32_t frames)
{
	struct block *block = block_at(owners, index);

	for (uint64_t frame = first; frame < first + frames; frame++) {
		struct frame_info *info = frame_table_get(&owners->frames, frame);
		if (info->state != FRAME_LIVE || info->ref != index)
			continue;
		info->state = FRAME_FREED;
		info->ref = spool_next(owners->spool);
		block->left--;
	}
	if (block->left == 0) {
		block->first = owners->free_blocks;
		owners->free_blocks = index;
	}
}

/* A free says which handle; where that lies stands in its allocation. How many frames come back
 * goes along in align_frames, for the second pass only. */
static struct event free_of(const struct raw_event *raw, uint64_t handle, uint32_t frames)
{
	struct event event = event_of(raw, EVENT_FRAME_FREE);
	event.u.frame.handle = handle;
	event.u.frame.frame = EVENT_NO_FRAME;
	event.u.frame.align_frames = frames;
	return event;
}

/* The recording lacks the free of what lies here: everything left of it goes. */
static bool close_block(struct owners *owners, const struct raw_event *raw, uint64_t index,
			GError **error)
{
	struct block block = *block_at(owners, index);

	struct event event = free_of(raw, block.handle, block.left);

	event.flags = EVENT_IMPLIED;
	owners->implied++;
	block_take(owners, index, block.first, block.frames);
	return emit(owners, &event, error);
}

struct request {
	uint64_t first;
	uint32_t frames, align_frames;
	uint8_t flags, zone, mobility;
};

static bool take_frames(struct owners *owners, const struct raw_event *raw, struct request request,
			GError **error)
{
	uint64_t end = request.first + request.frames;

	for (uint64_t frame = request.first; frame < end; frame++) {
		const struct frame_info *info = frame_table_get(&owners->frames, frame);
		if (info->state == FRAME_LIVE && !close_block(owners, raw, info->ref, error))
			return false;
	}
	uint64_t handle = ++owners->handles;
	uint64_t index = block_new(
		owners, (struct block){ request.first, handle, request.frames, request.frames });
	for (uint64_t frame = request.first; frame < end; frame++) {
		struct frame_info *info = frame_table_get(&owners->frames, frame);
		info->state = FRAME_LIVE;
		info->ref = index;
		if (info->origin == FRAME_ORIGIN_NONE)
			info->origin = FRAME_ORIGIN_FREE;
	}
	struct event event = event_of(raw, EVENT_FRAME_ALLOC);
	event.flags = request.flags;
	event.u.frame.handle = handle;
	event.u.frame.frame = request.first;
	event.u.frame.frames = request.frames;
	event.u.frame.align_frames = request.align_frames;
	event.u.frame.zone = request.zone;
	event.u.frame.mobility = request.mobility;
	event.u.frame.gfp = raw->gfp;
	return emit(owners, &event, error);
}

static bool serve(struct owners *owners, const struct raw_event *raw, struct request request,
		  GError **error)
{
	if (request.first != RAW_NO_PFN)
		return take_frames(owners, raw, request, error);
	struct event event = event_of(raw, EVENT_FRAME_ALLOC_FAILED);
	event.u.frame.frame = EVENT_NO_FRAME;
	event.u.frame.frames = request.frames;
	event.u.frame.align_frames = request.align_frames;
	event.u.frame.zone = request.zone;
	event.u.frame.mobility = request.mobility;
	event.u.frame.gfp = raw->gfp;
	return emit(owners, &event, error);
}

static bool page_alloc(struct owners *owners, const struct raw_event *raw, GError **error)
{
	uint32_t frames = UINT32_C(1) << raw->u.page.order;

	return serve(owners, raw,
		     (struct request){ .first = raw->u.page.pfn,
				       .frames = frames,
				       .align_frames = frames,
				       .zone = zone_of(raw),
				       .mobility = mobility_of(raw) },
		     error);
}

static bool frames_alloc(struct owners *owners, const struct raw_event *raw, GError **error)
{
	return serve(owners, raw,
		     (struct request){ .first = raw->u.frames.first,
				       .frames = raw->u.frames.frames,
				       .align_frames = raw->u.frames.align_frames,
				       .zone = raw->u.frames.zone,
				       .mobility = raw->u.frames.mobility },
		     error);
}

/* Frees the run of FRAME's block that begins at FRAME and ends before END. Returns its end in
 * *NEXT. */
static bool free_live(struct owners *owners, const struct raw_event *raw, uint64_t frame,
		      uint64_t end, uint64_t *next, GError **error)
{
	uint64_t index = frame_table_get(&owners->frames, frame)->ref;
	struct block block = *block_at(owners, index);
	uint64_t stop = frame + 1;

	while (stop < end) {
		const struct frame_info *info = frame_table_get(&owners->frames, stop);
		if (info->state != FRAME_LIVE || info->ref != index)
			break;
		stop++;
	}
	*next = stop;
	uint32_t frames = (uint32_t)(stop - frame);
	struct event event = free_of(raw, block.handle, frames);
	if (frames != block.left) {
		event.u.frame.frames = frames;
		event.u.frame.first_part = (uint32_t)(frame - block.first);
	}
	block_take(owners, index, frame, frames);
	return emit(owners, &event, error);
}

/* Largest naturally aligned power of two of frames that begins at FRAME and ends by END. */
static uint32_t aligned_piece(uint64_t frame, uint64_t end)
{
	uint32_t frames = 1;
	while (frame % (2 * (uint64_t)frames) == 0 && frame + 2 * (uint64_t)frames <= end)
		frames *= 2;
	return frames;
}

/* Frames never seen before: they were allocated before event 0, as pieces that a buddy could have
 * given. */
static bool free_unseen(struct owners *owners, const struct raw_event *raw, uint64_t frame,
			uint64_t end, uint64_t *next, GError **error)
{
	uint64_t stop = frame + 1;
	while (stop < end && frame_table_get(&owners->frames, stop)->state == FRAME_UNSEEN)
		stop++;

	struct prologue_block block = { frame, aligned_piece(frame, stop), owners->prologue->len };
	g_array_append_val(owners->prologue, block);
	*next = frame + block.frames;
	for (; frame < *next; frame++) {
		struct frame_info *info = frame_table_get(&owners->frames, frame);
		info->state = FRAME_FREED;
		info->ref = spool_next(owners->spool);
		info->origin = FRAME_ORIGIN_PROLOGUE;
	}
	struct event event = free_of(raw, HANDLE_PROLOGUE | block.index, block.frames);
	return emit(owners, &event, error);
}

static bool free_untraced(struct owners *owners, const struct raw_event *raw, uint64_t frame,
			  GError **error)
{
	struct frame_info *info = frame_table_get(&owners->frames, frame);
	struct untraced_frame untraced = { info->ref, frame, owners->untraced->len };

	g_array_append_val(owners->untraced, untraced);
	info->ref = spool_next(owners->spool);
	struct event event = free_of(raw, HANDLE_UNTRACED | untraced.index, 1);
	return emit(owners, &event, error);
}

static bool free_frames(struct owners *owners, const struct raw_event *raw, uint64_t frame,
			uint64_t frames, GError **error)
{
	uint64_t end = frame + frames;
	bool added = true;

	while (added && frame < end) {
		uint64_t next = frame + 1;
		switch ((enum frame_state)frame_table_get(&owners->frames, frame)->state) {
		case FRAME_LIVE:
			added = free_live(owners, raw, frame, end, &next, error);
			break;
		case FRAME_UNSEEN:
			added = free_unseen(owners, raw, frame, end, &next, error);
			break;
		case FRAME_FREED:
			added = free_untraced(owners, raw, frame, error);
			break;
		}
		frame = next;
	}
	return added;
}

/* ---- the buddy's side ---- */

static bool emit_buddy(struct owners *owners, const struct raw_event *raw, enum event_kind kind,
		       enum event_buddy_path path, GError **error)
{
	struct event event = event_of(raw, kind);

	if (raw->kind == RAW_ZONE_LOCKED && raw->u.page.refill)
		event.flags = EVENT_REFILL;
	event.u.buddy.frame = raw->u.page.pfn;
	event.u.buddy.order = (uint8_t)raw->u.page.order;
	event.u.buddy.mobility = mobility_of(raw);
	event.u.buddy.path = (uint8_t)path;
	if (raw->kind == RAW_EXTFRAG) {
		event.u.buddy.fallback_order = (uint8_t)raw->u.page.fallback_order;
		event.u.buddy.fallback_mobility =
			(uint8_t)CLAMP(raw->u.page.fallback_migratetype, 0, EVENT_MOBILITIES - 1);
		event.u.buddy.change_ownership = raw->u.page.change_ownership;
	}
	return emit(owners, &event, error);
}

/* A block went back to the lists: that shows the mobility of its pageblock, and that a frame which
 * no owner ever had was on a per-CPU list when the recording began. */
static bool buddy_put(struct owners *owners, const struct raw_event *raw,
		      enum event_buddy_path path, GError **error)
{
	struct frame_info *info = frame_table_get(&owners->frames, raw->u.page.pfn);

	if (info->origin == FRAME_ORIGIN_NONE)
		info->origin = FRAME_ORIGIN_FREE;
	if (info->origin == FRAME_ORIGIN_PROLOGUE && info->mobility == FRAME_MOBILITY_UNKNOWN &&
	    (raw->has & RAW_HAS_MIGRATETYPE))
		info->mobility = mobility_of(raw);
	return emit_buddy(owners, raw, EVENT_BUDDY_PUT, path, error);
}

static struct cpu_state *cpu_of(struct owners *owners, const struct raw_event *raw)
{
	if (owners->cpus->len <= raw->cpu)
		g_array_set_size(owners->cpus, raw->cpu + 1u);
	return &g_array_index(owners->cpus, struct cpu_state, raw->cpu);
}

static bool isolate_enter(struct owners *owners, const struct raw_event *raw)
{
	struct cpu_state *cpu = cpu_of(owners, raw);

	cpu->isolating = true;
	cpu->isolate_pfn = raw->u.page.pfn;
	cpu->isolate_order = (uint32_t)raw->u.page.order;
	return true;
}

/* __isolate_free_page has returned: if it took the block, compaction owns each frame of it. */
static bool isolate_return(struct owners *owners, const struct raw_event *raw, GError **error)
{
	struct cpu_state cpu = *cpu_of(owners, raw);

	cpu_of(owners, raw)->isolating = false;
	if (!cpu.isolating || raw->u.ret.value == 0) {
		struct event note = event_of(raw, EVENT_NOTE);
		note.u.note.name = owners_string(owners, "isolate_free_page_ret", 21);
		note.u.note.count = cpu.isolating ? 3 : 1;
		note.u.note.value[0] = raw->u.ret.value;
		note.u.note.value[1] = cpu.isolating ? cpu.isolate_pfn : 0;
		note.u.note.value[2] = cpu.isolating ? cpu.isolate_order : 0;
		return emit(owners, &note, error);
	}
	struct event event = event_of(raw, EVENT_BUDDY_ISOLATE);
	event.u.buddy.frame = cpu.isolate_pfn;
	event.u.buddy.order = (uint8_t)cpu.isolate_order;
	bool added = emit(owners, &event, error);
	for (uint64_t i = 0; added && i < UINT64_C(1) << cpu.isolate_order; i++) {
		owners->compaction++;
		added = take_frames(owners, raw,
				    (struct request){ .first = cpu.isolate_pfn + i,
						      .frames = 1,
						      .align_frames = 1,
						      .flags = EVENT_COMPACTION,
						      .mobility = MOBILITY_MOVABLE },
				    error);
	}
	return added;
}

/* ---- heap objects ---- */

static bool emit_heap_free(struct owners *owners, const struct raw_event *raw, uint64_t handle,
			   uint8_t flags, GError **error)
{
	struct event event = event_of(raw, EVENT_HEAP_FREE);
	event.flags = flags;
	event.u.heap.handle = handle;
	event.u.heap.site = flags & EVENT_IMPLIED ? 0 : raw->u.slab.site;
	return emit(owners, &event, error);
}

static struct event heap_event(const struct raw_event *raw, enum event_kind kind)
{
	struct event event = event_of(raw, kind);

	event.u.heap.bytes = raw->u.slab.bytes_requested;
	event.u.heap.site = raw->u.slab.site;
	event.u.heap.gfp = raw->gfp;
	return event;
}

/* The recording lacks the free of an object that lies where another one comes to lie. */
static bool close_object(struct owners *owners, const struct raw_event *raw, GError **error)
{
	const uint64_t *live = map64_find(&owners->heap, raw->u.slab.pointer);

	if (!live)
		return true;
	owners->implied++;
	return emit_heap_free(owners, raw,
			      g_array_index(owners->objects, struct heap_object, *live).handle,
			      EVENT_IMPLIED, error);
}

static bool heap_alloc(struct owners *owners, const struct raw_event *raw, GError **error)
{
	bool failed = raw->u.slab.pointer == 0;
	struct event event = heap_event(raw, failed ? EVENT_HEAP_ALLOC_FAILED : EVENT_HEAP_ALLOC);

	if (failed)
		return emit(owners, &event, error);
	if (!close_object(owners, raw, error))
		return false;
	struct heap_object object = { ++owners->handles, raw->u.slab.cache };
	map64_put(&owners->heap, raw->u.slab.pointer, owners->objects->len);
	event.u.heap.handle = object.handle;
	event.u.heap.bytes_recorded = raw->u.slab.bytes_given;
	event.u.heap.cache = owners->objects->len; /* until the second pass knows its name */
	g_array_append_val(owners->objects, object);
	return emit(owners, &event, error);
}

static bool heap_free(struct owners *owners, const struct raw_event *raw, GError **error)
{
	uint64_t index;

	if (raw->u.slab.pointer == 0)
		return true;
	if (map64_remove(&owners->heap, raw->u.slab.pointer, &index)) {
		struct heap_object *object =
			&g_array_index(owners->objects, struct heap_object, index);
		if (raw->u.slab.cache)
			object->cache = raw->u.slab.cache;
		return emit_heap_free(owners, raw, object->handle, 0, error);
	}
	const char *name = raw_kind_name(raw->kind);
	struct event note = event_of(raw, EVENT_NOTE);
	note.u.note.name = raw->name ? raw->name : owners_string(owners, name, strlen(name));
	note.u.note.count = 1;
	note.u.note.value[0] = raw->u.slab.pointer;
	return emit(owners, &note, error);
}

static bool heap_resize(struct owners *owners, const struct raw_event *raw, GError **error)
{
	uint64_t index;

	if (raw->u.slab.pointer == 0 || !map64_find(&owners->heap, raw->u.slab.previous))
		return heap_alloc(owners, raw, error); /* it failed, or the old one is unknown */
	map64_remove(&owners->heap, raw->u.slab.previous, &index);
	if (!close_object(owners, raw, error))
		return false;
	map64_put(&owners->heap, raw->u.slab.pointer, index);
	struct event event = heap_event(raw, EVENT_HEAP_REALLOC);
	event.u.heap.handle = g_array_index(owners->objects, struct heap_object, index).handle;
	event.u.heap.bytes_recorded = raw->u.slab.bytes_given;
	return emit(owners, &event, error);
}

/* ---- processes and the rest ---- */

static bool access_memory(struct owners *owners, const struct raw_event *raw, GError **error)
{
	struct event event = event_of(raw, EVENT_TOUCH);
	uint64_t last = raw->u.access.address + raw->u.access.bytes - 1;

	event.u.touch.address = raw->u.access.address;
	event.u.touch.ip = raw->u.access.ip;
	event.u.touch.bytes = raw->u.access.bytes;
	event.u.touch.access = (uint8_t)raw->u.access.access;
	regions_touch(owners->regions, raw->pid, raw->u.access.address, raw->u.access.access);
	if (last >> 12 != raw->u.access.address >> 12)
		regions_touch(owners->regions, raw->pid, last, raw->u.access.access);
	return emit(owners, &event, error);
}

static bool fault(struct owners *owners, const struct raw_event *raw, GError **error)
{
	struct event event = event_of(raw, EVENT_TOUCH);
	uint64_t code = raw->u.fault.error_code;

	event.u.touch.address = raw->u.fault.address;
	event.u.touch.ip = raw->u.fault.ip;
	event.u.touch.bytes = TOUCH_BYTES;
	event.u.touch.access = code & FAULT_FETCH   ? RIGHT_EXEC
			       : code & FAULT_WRITE ? RIGHT_WRITE
						    : RIGHT_READ;
	regions_touch(owners->regions, raw->pid, event.u.touch.address, event.u.touch.access);
	return emit(owners, &event, error);
}

static bool process(struct owners *owners, const struct raw_event *raw, enum event_kind kind,
		    GError **error)
{
	struct event event = event_of(raw, kind);

	event.u.process.name = raw->u.process.text;
	if (kind == EVENT_FORK) {
		event.u.process.child = raw->u.process.child;
		regions_fork(owners->regions, raw->pid, raw->u.process.child);
	} else if (kind == EVENT_EXEC) {
		regions_exec(owners->regions, raw->pid);
	} else {
		regions_exit(owners->regions, raw->pid);
	}
	return emit(owners, &event, error);
}

static bool marker(struct owners *owners, const struct raw_event *raw, GError **error)
{
	struct event event = event_of(raw, EVENT_MARKER);
	event.u.marker.text = raw->u.marker.text;
	return emit(owners, &event, error);
}

static bool other(struct owners *owners, const struct raw_event *raw, GError **error)
{
	struct event event = event_of(raw, EVENT_NOTE);
	event.u.note.name = raw->name;
	event.u.note.count = raw->u.other.count;
	memcpy(event.u.note.value, raw->u.other.value, sizeof event.u.note.value);
	return emit(owners, &event, error);
}

bool owners_lost(struct owners *owners, const struct raw_event *where, uint64_t events,
		 GError **error)
{
	g_autofree char *text =
		events ? g_strdup_printf("[LOST %" G_GUINT64_FORMAT " EVENTS]", events)
		       : g_strdup("[LOST EVENTS]");
	struct raw_event raw = { .cpu = where->cpu };

	owners->lost += events ? events : 1;
	if (owners->taken == 0)
		return true; /* before the first event: there is no time to put it at */
	/* Time must not go back on a CPU, and a text does not say when this was. */
	raw.time_ns = MAX(cpu_of(owners, &raw)->last_ns, owners->first_ns);
	raw.u.marker.text = owners_string(owners, text, strlen(text));
	return marker(owners, &raw, error);
}

/* ---- the front door ---- */

static bool refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool refuse(GError **error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error_literal(error, TRACE_ERROR, TRACE_ERROR_FORMAT, text);
	return false;
}

static bool page_is_sane(const struct raw_event *raw, GError **error)
{
	uint64_t pfn = raw->u.page.pfn;

	if (raw->u.page.order < 0 || raw->u.page.order > ORDER_LIMIT)
		return refuse(error, "order %d cannot be", (int)raw->u.page.order);
	if (raw->kind == RAW_PAGE_ALLOC && pfn == RAW_NO_PFN)
		return true;
	uint64_t frames = UINT64_C(1) << raw->u.page.order;
	if (pfn >= FRAME_NUMBERS || pfn + frames > FRAME_NUMBERS)
		return refuse(error, "frame number 0x%" G_GINT64_MODIFIER "x cannot be", pfn);
	if (pfn % frames != 0)
		return refuse(error,
			      "frame number 0x%" G_GINT64_MODIFIER "x is not aligned to order %d",
			      pfn, (int)raw->u.page.order);
	return true;
}

static bool range_is_sane(const struct raw_event *raw, GError **error)
{
	uint64_t first = raw->u.frames.first;
	uint32_t frames = raw->u.frames.frames, align = raw->u.frames.align_frames;

	if (frames == 0 || frames > UINT32_C(1) << ORDER_LIMIT)
		return refuse(error, "%u frames cannot be", frames);
	if (raw->kind == RAW_FRAMES_ALLOC && (align == 0 || (align & (align - 1)) != 0))
		return refuse(error, "an alignment of %u frames cannot be", align);
	if (raw->kind == RAW_FRAMES_ALLOC && first == RAW_NO_PFN)
		return true;
	if (first >= FRAME_NUMBERS || first + frames > FRAME_NUMBERS)
		return refuse(error, "frame number 0x%" G_GINT64_MODIFIER "x cannot be", first);
	return raw->kind == RAW_FRAMES_FREE || first % align == 0 ||
	       refuse(error, "frame number 0x%" G_GINT64_MODIFIER "x is not aligned to %u frames",
		      first, align);
}

static bool access_is_sane(const struct raw_event *raw, GError **error)
{
	uint32_t bytes = raw->u.access.bytes;

	if (bytes == 0 || bytes > ACCESS_LIMIT)
		return refuse(error, "an access of %u bytes cannot be", bytes);
	if (raw->u.access.address > UINT64_MAX - bytes)
		return refuse(error, "an access ends behind the address space");
	return true;
}

static bool is_sane(struct owners *owners, const struct raw_event *raw, GError **error)
{
	if (raw->pid > PID_LIMIT)
		return refuse(error, "process number %u cannot be", raw->pid);
	if (raw->cpu == UINT16_MAX)
		return refuse(error, "CPU number above %d", UINT16_MAX - 1);
	uint64_t last = cpu_of(owners, raw)->last_ns;
	if (raw->time_ns < last)
		return refuse(error,
			      "time goes back on CPU %u, by %" G_GUINT64_FORMAT
			      " ns to %" G_GUINT64_FORMAT,
			      raw->cpu, last - raw->time_ns, raw->time_ns);
	if (raw->kind == RAW_FORK && raw->u.process.child > PID_LIMIT)
		return refuse(error, "process number %u cannot be", raw->u.process.child);
	if (raw->kind >= RAW_PAGE_ALLOC && raw->kind <= RAW_FREE_PAGES_OK &&
	    raw->kind != RAW_ISOLATE_RET)
		return page_is_sane(raw, error);
	if (raw->kind == RAW_FRAMES_ALLOC || raw->kind == RAW_FRAMES_FREE)
		return range_is_sane(raw, error);
	return raw->kind != RAW_ACCESS || access_is_sane(raw, error);
}

static bool dispatch(struct owners *owners, const struct raw_event *raw, GError **error)
{
	switch ((enum raw_kind)raw->kind) {
	case RAW_PAGE_ALLOC:
		return page_alloc(owners, raw, error);
	case RAW_PAGE_FREE:
		return free_frames(owners, raw, raw->u.page.pfn, UINT64_C(1) << raw->u.page.order,
				   error);
	case RAW_FRAMES_ALLOC:
		return frames_alloc(owners, raw, error);
	case RAW_FRAMES_FREE:
		return free_frames(owners, raw, raw->u.frames.first, raw->u.frames.frames, error);
	case RAW_ZONE_LOCKED:
		return emit_buddy(owners, raw, EVENT_BUDDY_TAKE, BUDDY_PATH_ZONE_LOCKED, error);
	case RAW_PCPU_DRAIN:
		return buddy_put(owners, raw, BUDDY_PATH_PCPU_DRAIN, error);
	case RAW_FREE_ONE_PAGE:
		return buddy_put(owners, raw, BUDDY_PATH_FREE_ONE, error);
	case RAW_FREE_PAGES_OK:
		return buddy_put(owners, raw, BUDDY_PATH_FREE_PAGES_OK, error);
	case RAW_EXTFRAG:
		return emit_buddy(owners, raw, EVENT_BUDDY_FALLBACK, BUDDY_PATH_ZONE_LOCKED, error);
	case RAW_ISOLATE:
		return isolate_enter(owners, raw);
	case RAW_ISOLATE_RET:
		return isolate_return(owners, raw, error);
	case RAW_KMALLOC:
	case RAW_CACHE_ALLOC:
		return heap_alloc(owners, raw, error);
	case RAW_KFREE:
	case RAW_CACHE_FREE:
		return heap_free(owners, raw, error);
	case RAW_RESIZE:
		return heap_resize(owners, raw, error);
	case RAW_ACCESS:
		return access_memory(owners, raw, error);
	case RAW_FAULT_USER:
		return fault(owners, raw, error);
	case RAW_FORK:
		return process(owners, raw, EVENT_FORK, error);
	case RAW_EXEC:
		return process(owners, raw, EVENT_EXEC, error);
	case RAW_EXIT:
		return process(owners, raw, EVENT_EXIT, error);
	case RAW_MARKER:
		return marker(owners, raw, error);
	case RAW_OTHER:
		return other(owners, raw, error);
	case RAW_PAGE_FREE_BATCHED: /* a second view of a free that was traced before it */
	case RAW_NONE:
	case RAW_KINDS:
		break;
	}
	return true;
}

bool owners_add(struct owners *owners, const struct raw_event *raw, GError **error)
{
	if (!is_sane(owners, raw, error))
		return false;
	cpu_of(owners, raw)->last_ns = raw->time_ns;
	owners->first_ns = MIN(owners->first_ns, raw->time_ns);
	owners->taken++;
	count(owners, raw);
	return dispatch(owners, raw, error);
}
