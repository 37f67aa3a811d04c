#include "workloads/trace_columns.h"

#include <stddef.h>

#define KIND(name) (1u << EVENT_##name)
#define EVERY_KIND (((1u << EVENT_KINDS) - 1) & ~KIND(NONE))
#define ALLOCS	   (KIND(FRAME_ALLOC) | KIND(HEAP_ALLOC))
#define FREES	   (KIND(FRAME_FREE) | KIND(HEAP_FREE) | KIND(HEAP_REALLOC))
#define FAILED	   (KIND(FRAME_ALLOC_FAILED) | KIND(HEAP_ALLOC_FAILED))
#define REQUESTS   (KIND(FRAME_ALLOC) | KIND(FRAME_ALLOC_FAILED))
#define FRAMES	   (REQUESTS | KIND(FRAME_FREE))
#define OBJECTS	   (KIND(HEAP_ALLOC) | KIND(HEAP_ALLOC_FAILED) | KIND(HEAP_REALLOC) | KIND(HEAP_FREE))
#define PROCESSES  (KIND(SPAWN) | KIND(FORK) | KIND(EXEC) | KIND(EXIT))
#define REGIONS	   (KIND(MMAP) | KIND(MUNMAP) | KIND(MPROTECT) | KIND(BRK))
#define RARE_BUDDY (KIND(BUDDY_ISOLATE) | KIND(BUDDY_FALLBACK))
#define BUDDY	   (KIND(BUDDY_TAKE) | KIND(BUDDY_PUT) | RARE_BUDDY)

#define TRY(name)   (1u << PREDICT_##name)
#define PLAIN	    TRY(NOTHING)
#define STEPS	    (TRY(NOTHING) | TRY(LAST))
#define FRAME_STEPS (TRY(LAST) | TRY(LAST_OF_CPU))
#define OLD_HANDLES (TRY(LAST) | TRY(LAST_OF_CPU) | TRY(NEWEST))
#define ADDRESSES   (TRY(LAST) | TRY(LAST_OF_TASK))

#define FIELD(name, key, style, kinds, group, predictors, member)                           \
	{                                                                                   \
		name, key, STYLE_##style, kinds, GROUP_##group, predictors,                 \
			offsetof(struct event, member), sizeof(((struct event *)0)->member) \
	}

/* CPU and task come before the columns predicted by them, new handles before old ones. Numbers
 * stand in files: append only. */
const struct trace_column trace_columns[] = {
	[COLUMN_SHAPE] = { .name = "shape" },
	[COLUMN_ACTOR] = { .name = "actor" },
	[COLUMN_FLAGS] = FIELD("flags", "flags", FLAGS, EVERY_KIND, SHAPE, PLAIN, flags),
	[COLUMN_CPU] = FIELD("cpu", "cpu", DECIMAL, EVERY_KIND, ACTOR, PLAIN, cpu),
	[COLUMN_TASK] = FIELD("task", "task", DECIMAL, EVERY_KIND, ACTOR, PLAIN, task),
	[COLUMN_TIME] = FIELD("time", "time", DECIMAL, EVERY_KIND, NONE, TRY(LAST), time_ns),
	FIELD("new_handle", "handle", DECIMAL, ALLOCS, NONE, TRY(LAST), u.frame.handle),
	FIELD("old_handle", "handle", DECIMAL, FREES, NONE, OLD_HANDLES, u.frame.handle),
	FIELD("failed_handle", "handle", DECIMAL, FAILED, NONE, PLAIN, u.frame.handle),

	FIELD("frame", "frame", FRAME, REQUESTS, NONE, FRAME_STEPS, u.frame.frame),
	FIELD("freed_frame", "frame", FRAME, KIND(FRAME_FREE), NONE, FRAME_STEPS, u.frame.frame),
	FIELD("frames", "frames", DECIMAL, FRAMES, SHAPE, PLAIN, u.frame.frames),
	FIELD("align_frames", "align", DECIMAL, FRAMES, SHAPE, PLAIN, u.frame.align_frames),
	FIELD("first_part", "first", DECIMAL, FRAMES, SHAPE, STEPS, u.frame.first_part),
	FIELD("zone", "zone", ZONE, FRAMES, SHAPE, PLAIN, u.frame.zone),
	FIELD("mobility", "mobility", MOBILITY, FRAMES, SHAPE, PLAIN, u.frame.mobility),
	FIELD("frame_gfp", "gfp", HEX, FRAMES, SHAPE, PLAIN, u.frame.gfp),

	FIELD("bytes", "bytes", DECIMAL, OBJECTS, SHAPE, PLAIN, u.heap.bytes),
	FIELD("bytes_recorded", "recorded", DECIMAL, OBJECTS, SHAPE, PLAIN, u.heap.bytes_recorded),
	FIELD("site", "site", HEX, OBJECTS, SHAPE, PLAIN, u.heap.site),
	FIELD("align_bytes", "align", DECIMAL, OBJECTS, SHAPE, PLAIN, u.heap.align_bytes),
	FIELD("cache", "cache", STRING, OBJECTS, SHAPE, PLAIN, u.heap.cache),
	FIELD("heap_gfp", "gfp", HEX, OBJECTS, SHAPE, PLAIN, u.heap.gfp),

	FIELD("child", "child", DECIMAL, PROCESSES, NONE, STEPS, u.process.child),
	FIELD("process_name", "name", STRING, PROCESSES, SHAPE, STEPS, u.process.name),
	FIELD("region_address", "address", HEX, REGIONS, NONE, ADDRESSES, u.region.address),
	FIELD("region_bytes", "bytes", DECIMAL, REGIONS, SHAPE, PLAIN, u.region.bytes),
	FIELD("rights", "rights", RIGHTS, REGIONS, SHAPE, PLAIN, u.region.rights),

	FIELD("touch_address", "address", HEX, KIND(TOUCH), NONE, ADDRESSES, u.touch.address),
	FIELD("ip", "ip", HEX, KIND(TOUCH), NONE, PLAIN | ADDRESSES, u.touch.ip),
	FIELD("touch_bytes", "bytes", DECIMAL, KIND(TOUCH), SHAPE, PLAIN, u.touch.bytes),
	FIELD("access", "access", RIGHTS, KIND(TOUCH), SHAPE, PLAIN, u.touch.access),

	FIELD("text", "text", STRING, KIND(MARKER), NONE, STEPS, u.marker.text),
	FIELD("attachment", "attachment", DECIMAL, KIND(MARKER), NONE, STEPS, u.marker.attachment),
	FIELD("note", "name", STRING, KIND(NOTE), SHAPE, PLAIN, u.note.name),
	FIELD("values", "values", DECIMAL, KIND(NOTE), SHAPE, PLAIN, u.note.count),
	FIELD("value_0", "v0", HEX, KIND(NOTE), NONE, STEPS, u.note.value[0]),
	FIELD("value_1", "v1", HEX, KIND(NOTE), NONE, STEPS, u.note.value[1]),
	FIELD("value_2", "v2", HEX, KIND(NOTE), NONE, STEPS, u.note.value[2]),
	FIELD("value_3", "v3", HEX, KIND(NOTE), NONE, STEPS, u.note.value[3]),

	FIELD("taken_frame", "frame", FRAME, KIND(BUDDY_TAKE), NONE, FRAME_STEPS, u.buddy.frame),
	FIELD("put_frame", "frame", FRAME, KIND(BUDDY_PUT), NONE, FRAME_STEPS, u.buddy.frame),
	FIELD("buddy_frame", "frame", FRAME, RARE_BUDDY, NONE, FRAME_STEPS, u.buddy.frame),
	FIELD("order", "order", DECIMAL, BUDDY, SHAPE, PLAIN, u.buddy.order),
	FIELD("buddy_mobility", "mobility", MOBILITY, BUDDY, SHAPE, PLAIN, u.buddy.mobility),
	FIELD("path", "path", PATH, BUDDY, SHAPE, PLAIN, u.buddy.path),
	FIELD("fallback_order", "fallback_order", DECIMAL, BUDDY, SHAPE, PLAIN,
	      u.buddy.fallback_order),
	FIELD("fallback_mobility", "fallback_mobility", MOBILITY, BUDDY, SHAPE, PLAIN,
	      u.buddy.fallback_mobility),
	FIELD("change_ownership", "claimed", DECIMAL, BUDDY, SHAPE, PLAIN,
	      u.buddy.change_ownership),
};
const unsigned trace_column_count = G_N_ELEMENTS(trace_columns);

/* Files hold images, byte by byte as this struct lies in memory. */
G_STATIC_ASSERT(sizeof(struct event) == TRACE_IMAGE_BYTES);
G_STATIC_ASSERT(offsetof(struct event, kind) == 8 && offsetof(struct event, u) == 16);
/* One column holds the handles of frames and of heap objects. */
G_STATIC_ASSERT(offsetof(struct event, u.frame.handle) == offsetof(struct event, u.heap.handle));
#if G_BYTE_ORDER != G_LITTLE_ENDIAN
#error "images of events are little-endian: a big-endian host must swap their fields"
#endif

uint64_t trace_image_bytes(unsigned kind)
{
	uint64_t bytes = UINT64_C(1) << offsetof(struct event, kind);
	for (unsigned i = COLUMN_FIELDS; i < trace_column_count; i++)
		if (trace_columns[i].kinds >> kind & 1)
			bytes |= ((UINT64_C(1) << trace_columns[i].bytes) - 1)
				 << trace_columns[i].offset;
	return bytes;
}
