#include "workloads/generate/emit.h"

bool generation_more(struct generation *generation)
{
	if (!generation->error && generation->stop && *generation->stop)
		trace_error_set(&generation->error, TRACE_ERROR_IO, "interrupted");
	return !generation->error;
}

uint64_t generation_events(const struct generation *generation)
{
	return trace_writer_next(generation->writer);
}

uint32_t generation_name(struct generation *generation, const char *name)
{
	return trace_writer_string(generation->writer, name);
}

void generation_task(struct generation *generation, uint32_t task, const char *name)
{
	trace_writer_task(generation->writer, task, name);
}

static void emit(struct generation *generation, struct event *event)
{
	if (generation->error)
		return;
	event->time_ns = generation->time_ns;
	event->cpu = generation->cpu;
	event->task = generation->task;
	trace_writer_add(generation->writer, event, &generation->error);
	/* Never 0: events of different CPUs at one time have no order in a replay. */
	generation->time_ns +=
		1 + draw_exponential(&generation->clock, generation->value[GENERATE_GAP] - 1);
}

void emit_marker(struct generation *generation, const char *text)
{
	struct event event = { .kind = EVENT_MARKER };

	event.u.marker.text = generation_name(generation, text);
	emit(generation, &event);
}

/* ---- frames ---- */

uint64_t emit_frames(struct generation *generation, unsigned order, enum event_mobility mobility)
{
	struct event event = { .kind = EVENT_FRAME_ALLOC };

	event.u.frame.handle = ++generation->last_handle;
	event.u.frame.frame = EVENT_NO_FRAME;
	event.u.frame.frames = UINT32_C(1) << order;
	event.u.frame.align_frames = UINT32_C(1) << order;
	event.u.frame.mobility = (uint8_t)mobility;
	event.u.frame.gfp = mobility == MOBILITY_MOVABLE ? GFP_MOVABLE : GFP_KERNEL;
	emit(generation, &event);
	return generation->last_handle;
}

void emit_frames_free(struct generation *generation, uint64_t handle)
{
	struct event event = { .kind = EVENT_FRAME_FREE };

	event.u.frame.handle = handle;
	event.u.frame.frame = EVENT_NO_FRAME;
	emit(generation, &event);
}

/* ---- objects ---- */

struct object emit_object(struct generation *generation, uint64_t bytes, uint32_t site,
			  uint32_t cache)
{
	struct object object = { ++generation->last_handle, bytes, site, cache };
	struct event event = { .kind = EVENT_HEAP_ALLOC };

	event.u.heap.handle = object.handle;
	event.u.heap.bytes = bytes;
	event.u.heap.site = site;
	event.u.heap.cache = cache;
	event.u.heap.gfp = GFP_KERNEL;
	emit(generation, &event);
	return object;
}

void emit_object_free(struct generation *generation, struct object *object, uint32_t site)
{
	struct event event = { .kind = EVENT_HEAP_FREE };

	if (object->handle == 0)
		return;
	event.u.heap.handle = object->handle;
	event.u.heap.site = site;
	event.u.heap.cache = object->cache;
	emit(generation, &event);
	object->handle = 0;
}

/* ---- processes ---- */

static void emit_process(struct generation *generation, enum event_kind kind, uint32_t child,
			 uint32_t name)
{
	struct event event = { .kind = (uint8_t)kind };

	event.u.process.child = child;
	event.u.process.name = name;
	emit(generation, &event);
}

void emit_spawn(struct generation *generation, uint32_t child, uint32_t name)
{
	emit_process(generation, EVENT_SPAWN, child, name);
}

void emit_fork(struct generation *generation, uint32_t child, uint32_t name)
{
	emit_process(generation, EVENT_FORK, child, name);
}

void emit_exec(struct generation *generation, uint32_t name)
{
	emit_process(generation, EVENT_EXEC, 0, name);
}

void emit_exit(struct generation *generation)
{
	emit_process(generation, EVENT_EXIT, 0, 0);
}

void emit_region(struct generation *generation, enum event_kind kind, uint64_t address,
		 uint64_t bytes, uint32_t rights)
{
	struct event event = { .kind = (uint8_t)kind };

	event.u.region.address = address;
	event.u.region.bytes = bytes;
	event.u.region.rights = rights;
	emit(generation, &event);
}

void emit_brk(struct generation *generation, uint64_t address)
{
	emit_region(generation, EVENT_BRK, address, 0, 0);
}

void emit_touch(struct generation *generation, uint64_t address, uint32_t bytes, uint8_t access,
		uint64_t ip)
{
	struct event event = { .kind = EVENT_TOUCH };

	event.u.touch.address = address;
	event.u.touch.bytes = bytes;
	event.u.touch.access = access;
	event.u.touch.ip = ip;
	emit(generation, &event);
}
