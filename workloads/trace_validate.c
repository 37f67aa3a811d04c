#include "workloads/trace.h"

#include <inttypes.h>

/* A live allocation. */
struct block {
	bool heap;
	uint32_t frames;
	GArray *freed; /* struct part, while parts of it are free; else NULL */
};

struct part {
	uint32_t first, frames;
};

struct check {
	struct trace_reader *reader;
	GHashTable *live;  /* uint64_t * handle -> struct block * */
	GArray *last_time; /* uint64_t by CPU */
	guint attachments;
};

static void block_free(gpointer data)
{
	struct block *block = data;
	if (block->freed)
		g_array_free(block->freed, TRUE);
	g_free(block);
}

/* ---- handles ---- */

static const char *check_alloc(struct check *check, const struct event *event, bool heap)
{
	uint64_t handle = event->u.frame.handle;
	uint32_t align = event->u.frame.align_frames;

	if (handle == 0)
		return "an allocation without a handle";
	if (g_hash_table_contains(check->live, &handle))
		return "allocation of a handle that is alive";
	if (!heap && event->u.frame.frames == 0)
		return "an allocation of no frames";
	if (!heap && (align == 0 || (align & (align - 1))))
		return "an alignment that is no power of two";
	struct block *block = g_new0(struct block, 1);
	block->heap = heap;
	block->frames = heap ? 0 : event->u.frame.frames;
	g_hash_table_insert(check->live, g_memdup2(&handle, sizeof(handle)), block);
	return NULL;
}

/* Enters a part among the free ones of its block. Sets *left to the frames that are not free. */
static const char *free_part(struct block *block, struct part part, uint64_t *left)
{
	*left = block->frames;
	if ((uint64_t)part.first + part.frames > block->frames)
		return "a part that reaches beyond its block";
	if (!block->freed)
		block->freed = g_array_new(FALSE, FALSE, sizeof(struct part));
	for (guint i = 0; i < block->freed->len; i++) {
		const struct part *other = &g_array_index(block->freed, struct part, i);
		if (part.first < (uint64_t)other->first + other->frames &&
		    other->first < (uint64_t)part.first + part.frames)
			return "a part that is free already";
		*left -= other->frames;
	}
	*left -= part.frames;
	g_array_append_val(block->freed, part);
	return NULL;
}

static const char *check_free(struct check *check, const struct event *event, bool heap)
{
	uint64_t handle = event->u.frame.handle, left = 0;
	struct block *block = g_hash_table_lookup(check->live, &handle);

	if (!block)
		return "free of a handle that is not alive";
	if (block->heap != heap)
		return heap ? "frames freed as an object" : "an object freed as frames";
	if (!heap && event->u.frame.frames) {
		const struct part part = { event->u.frame.first_part, event->u.frame.frames };
		const char *wrong = free_part(block, part, &left);
		if (wrong)
			return wrong;
	}
	if (left == 0)
		g_hash_table_remove(check->live, &handle);
	return NULL;
}

static const char *check_realloc(struct check *check, const struct event *event)
{
	const struct block *block = g_hash_table_lookup(check->live, &event->u.heap.handle);
	if (!block || !block->heap)
		return "a new size for an object that is not alive";
	return NULL;
}

/* ---- the rest ---- */

static const char *check_request(const struct event *event)
{
	if (event->u.frame.zone >= EVENT_ZONES)
		return "an unknown zone";
	if (event->u.frame.mobility >= EVENT_MOBILITIES)
		return "an unknown mobility";
	return NULL;
}

static bool string_exists(const struct check *check, uint32_t id)
{
	return id == 0 || trace_reader_string(check->reader, id);
}

static const char *check_time(struct check *check, const struct event *event)
{
	if (event->cpu >= check->last_time->len)
		g_array_set_size(check->last_time, event->cpu + 1u);
	uint64_t *last = &g_array_index(check->last_time, uint64_t, event->cpu);
	if (event->time_ns < *last)
		return "the time steps back on its CPU";
	*last = event->time_ns;
	return NULL;
}

static const char *check_frames(struct check *check, const struct event *event)
{
	const char *wrong = check_request(event);
	if (wrong)
		return wrong;
	if (event->kind == EVENT_FRAME_ALLOC)
		return check_alloc(check, event, false);
	if (event->kind == EVENT_FRAME_FREE)
		return check_free(check, event, false);
	return event->u.frame.handle ? "a failed allocation with a handle" : NULL;
}

static const char *check_object(struct check *check, const struct event *event)
{
	if (!string_exists(check, event->u.heap.cache))
		return "a cache whose name is unknown";
	if (event->kind == EVENT_HEAP_ALLOC)
		return check_alloc(check, event, true);
	if (event->kind == EVENT_HEAP_FREE)
		return check_free(check, event, true);
	if (event->kind == EVENT_HEAP_REALLOC)
		return check_realloc(check, event);
	return event->u.heap.handle ? "a failed allocation with a handle" : NULL;
}

static const char *check_event(struct check *check, const struct event *event)
{
	switch (event->kind) {
	case EVENT_FRAME_ALLOC:
	case EVENT_FRAME_FREE:
	case EVENT_FRAME_ALLOC_FAILED:
		return check_frames(check, event);
	case EVENT_HEAP_ALLOC:
	case EVENT_HEAP_REALLOC:
	case EVENT_HEAP_FREE:
	case EVENT_HEAP_ALLOC_FAILED:
		return check_object(check, event);
	case EVENT_SPAWN:
	case EVENT_FORK:
	case EVENT_EXEC:
	case EVENT_EXIT:
		return string_exists(check, event->u.process.name) ? NULL : "an unknown name";
	case EVENT_MARKER:
		if (event->u.marker.attachment > check->attachments)
			return "an attachment that does not exist";
		return string_exists(check, event->u.marker.text) ? NULL : "an unknown text";
	case EVENT_NOTE:
		if (event->u.note.count > G_N_ELEMENTS(event->u.note.value))
			return "more values than a note has";
		return string_exists(check, event->u.note.name) ? NULL : "an unknown name";
	case EVENT_TOUCH:
		return event->u.touch.access & ~(RIGHT_READ | RIGHT_WRITE | RIGHT_EXEC)
			       ? "an unknown access"
			       : NULL;
	default:
		return NULL;
	}
}

static const char *check_start(struct check *check, const struct event *event)
{
	if (event->kind != EVENT_FRAME_ALLOC && event->kind != EVENT_HEAP_ALLOC)
		return "something else than an allocation";
	return check_event(check, event);
}

static bool fail(const struct check *check, GError **error, const char *section, uint64_t number,
		 const char *why)
{
	trace_error_set(error, TRACE_ERROR_FORMAT, "%s: %s %" PRIu64 ": %s",
			trace_reader_path(check->reader), section, number, why);
	return false;
}

static bool check_all(struct check *check, GError **error)
{
	struct event event;
	uint64_t number;
	const char *wrong;
	int got;

	for (number = 0; (got = trace_reader_next_start(check->reader, &event, error)) > 0;
	     number++)
		if ((wrong = check_start(check, &event)))
			return fail(check, error, "start event", number, wrong);
	for (number = 0; got == 0 && (got = trace_reader_next(check->reader, &event, error)) > 0;
	     number++) {
		if ((wrong = check_time(check, &event)) || (wrong = check_event(check, &event)))
			return fail(check, error, "event", number, wrong);
		got = 0;
	}
	return got == 0;
}

bool trace_validate(struct trace_reader *reader, GError **error)
{
	const GPtrArray *attachments = trace_reader_attachments(reader, error);
	if (!attachments)
		return false;
	struct check check = { .reader = reader, .attachments = attachments->len };
	check.live = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, block_free);
	check.last_time = g_array_new(FALSE, TRUE, sizeof(uint64_t));
	trace_reader_rewind(reader);
	bool good = check_all(&check, error);
	g_hash_table_unref(check.live);
	g_array_free(check.last_time, TRUE);
	return good;
}
