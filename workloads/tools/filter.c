#include "workloads/tools/tools.h"

#include <string.h>
#include "workloads/tools/copy.h"

struct filtering {
	const struct trace_filter *filter;
	struct copy copy;
	GHashTable *tasks;	 /* numbers that match; NULL: all do */
	uint64_t dropped_frames; /* of the start section */
	uint64_t matched;	 /* events but markers */
};

static bool has_cpu(const struct filtering *filtering, uint16_t cpu)
{
	const GArray *cpus = filtering->filter->cpus;

	for (guint i = 0; cpus && i < cpus->len; i++)
		if (g_array_index(cpus, uint16_t, i) == cpu)
			return true;
	return !cpus || cpus->len == 0;
}

static bool has_task(const struct filtering *filtering, uint32_t task)
{
	return !filtering->tasks || g_hash_table_contains(filtering->tasks, GUINT_TO_POINTER(task));
}

static bool has_order(const struct filtering *filtering, uint32_t frames)
{
	int order = frames > 1 ? 32 - __builtin_clz(frames - 1) : 0;

	return filtering->filter->order_last < 0 ||
	       (order >= filtering->filter->order_first && order <= filtering->filter->order_last);
}

static bool is_actors(const struct filtering *filtering, const struct event *event)
{
	return has_cpu(filtering, event->cpu) && has_task(filtering, event->task);
}

static bool matches(struct filtering *filtering, const struct event *event)
{
	bool orders = filtering->filter->order_last >= 0;

	switch ((enum event_kind)event->kind) {
	case EVENT_FRAME_ALLOC:
	case EVENT_FRAME_ALLOC_FAILED:
		return is_actors(filtering, event) && has_order(filtering, event->u.frame.frames);
	case EVENT_HEAP_ALLOC:
	case EVENT_HEAP_ALLOC_FAILED:
		return !orders && is_actors(filtering, event);
	case EVENT_FRAME_FREE:
	case EVENT_HEAP_FREE:
	case EVENT_HEAP_REALLOC:
		return copy_handle(&filtering->copy, event->u.frame.handle) > 0;
	case EVENT_SPAWN:
	case EVENT_FORK:
		return !orders && has_cpu(filtering, event->cpu) &&
		       (has_task(filtering, event->task) ||
			has_task(filtering, event->u.process.child));
	case EVENT_BUDDY_TAKE:
	case EVENT_BUDDY_PUT:
	case EVENT_BUDDY_ISOLATE:
	case EVENT_BUDDY_FALLBACK:
		return is_actors(filtering, event) &&
		       has_order(filtering, 1u << MIN(event->u.buddy.order, 31));
	case EVENT_MARKER:
		return true;
	default:
		return !orders && is_actors(filtering, event);
	}
}

static bool filter_start(struct filtering *filtering, GError **error)
{
	struct trace_reader *reader = filtering->copy.reader;
	bool actors =
		filtering->tasks || (filtering->filter->cpus && filtering->filter->cpus->len > 0);
	struct event event;
	int got;

	while ((got = trace_reader_next_start(reader, &event, error)) > 0) {
		bool frames = event.kind == EVENT_FRAME_ALLOC;
		bool fits = frames ? has_order(filtering, event.u.frame.frames)
				   : filtering->filter->order_last < 0;
		if (actors || !fits) {
			filtering->dropped_frames += frames ? event.u.frame.frames : 0;
			continue;
		}
		if (!copy_start(&filtering->copy, event, error))
			return false;
	}
	return got == 0;
}

static bool filter_events(struct filtering *filtering, GError **error)
{
	struct event event;
	int got;

	while ((got = trace_reader_next(filtering->copy.reader, &event, error)) > 0) {
		if (!matches(filtering, &event))
			continue;
		filtering->matched += event.kind != EVENT_MARKER;
		if (!copy_event(&filtering->copy, event, error))
			return false;
	}
	if (got == 0 && filtering->matched == 0)
		return trace_error_set(error, TRACE_ERROR_USAGE, "%s: no event matches",
				       trace_reader_path(filtering->copy.reader));
	return got == 0;
}

static void match_name(uint32_t task, const char *name, void *data)
{
	struct filtering *filtering = data;

	if (g_strv_contains(filtering->filter->names, name))
		g_hash_table_add(filtering->tasks, GUINT_TO_POINTER(task));
}

static void find_tasks(struct filtering *filtering)
{
	const struct trace_filter *filter = filtering->filter;
	bool numbers = filter->tasks && filter->tasks->len > 0;
	bool names = filter->names && filter->names[0];

	if (!numbers && !names)
		return;
	filtering->tasks = g_hash_table_new(NULL, NULL);
	for (guint i = 0; numbers && i < filter->tasks->len; i++)
		g_hash_table_add(filtering->tasks,
				 GUINT_TO_POINTER(g_array_index(filter->tasks, uint32_t, i)));
	if (names)
		trace_reader_each_task(filtering->copy.reader, match_name, filtering);
}

static struct trace_meta *filtered_meta(const struct filtering *filtering)
{
	struct trace_meta *meta = copy_meta(&filtering->copy);

	g_clear_pointer(&meta->cut, g_free);
	meta->free_frames += meta->state_known ? filtering->dropped_frames : 0;
	return meta;
}

bool trace_filter(const char *input, const char *output, const struct trace_filter *filter,
		  GError **error)
{
	struct filtering filtering = { .filter = filter };
	struct trace_reader *reader = trace_reader_open(input, error);
	struct trace_writer *writer = reader ? trace_writer_new(output, error) : NULL;
	bool done = false;

	if (writer && copy_init(&filtering.copy, reader, writer, error)) {
		copy_renumber(&filtering.copy, NULL, NULL);
		find_tasks(&filtering);
		copy_tasks(&filtering.copy, 0);
		done = filter_start(&filtering, error) && filter_events(&filtering, error);
	}
	if (done) {
		struct trace_meta *meta = filtered_meta(&filtering);
		done = trace_writer_finish(writer, meta, error);
		trace_meta_free(meta);
	} else {
		trace_writer_abort(writer);
	}
	copy_fini(&filtering.copy);
	if (filtering.tasks)
		g_hash_table_unref(filtering.tasks);
	trace_reader_free(reader);
	return done;
}
