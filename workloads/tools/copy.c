#include "workloads/tools/copy.h"

#include <string.h>
#include "workloads/import/owners.h"
#include "workloads/trace_meta.h"

bool copy_init(struct copy *copy, struct trace_reader *reader, struct trace_writer *writer,
	       GError **error)
{
	memset(copy, 0, sizeof *copy);
	copy->reader = reader;
	copy->writer = writer;
	copy->list = trace_reader_attachments(reader, error);
	copy->attachments = g_array_new(FALSE, TRUE, sizeof(uint32_t));
	if (copy->list)
		g_array_set_size(copy->attachments, copy->list->len);
	return copy->list != NULL;
}

void copy_fini(struct copy *copy)
{
	if (copy->attachments)
		g_array_unref(copy->attachments);
	copy->attachments = NULL;
	if (copy->numbers)
		g_hash_table_unref(copy->numbers);
	if (copy->own_live)
		live_free(copy->live);
}

void copy_renumber(struct copy *copy, struct live *live, uint64_t *handles)
{
	copy->numbers = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	copy->own_live = live == NULL;
	copy->live = live ? live : live_new();
	copy->handles = handles ? handles : &copy->own_handles;
}

uint64_t copy_handle(const struct copy *copy, uint64_t handle)
{
	const uint64_t *written = g_hash_table_lookup(copy->numbers, &handle);
	return written ? *written : 0;
}

void copy_map_handle(struct copy *copy, uint64_t handle, uint64_t written)
{
	g_hash_table_insert(copy->numbers, g_memdup2(&handle, sizeof handle),
			    g_memdup2(&written, sizeof written));
}

static void renumber(struct copy *copy, struct event *event)
{
	uint64_t handle = event->u.frame.handle;
	bool names = event->kind >= EVENT_FRAME_ALLOC && event->kind <= EVENT_HEAP_FREE &&
		     event->kind != EVENT_FRAME_ALLOC_FAILED;

	if (names && (event->kind == EVENT_FRAME_ALLOC || event->kind == EVENT_HEAP_ALLOC))
		copy_map_handle(copy, handle, ++*copy->handles);
	if (names)
		event->u.frame.handle = copy_handle(copy, handle);
	live_take(copy->live, event);
	if (names && !live_block(copy->live, event->u.frame.handle))
		g_hash_table_remove(copy->numbers, &handle);
}

static uint32_t string_of(struct copy *copy, enum copy_text what, uint32_t id)
{
	const char *text = trace_reader_string(copy->reader, id);
	g_autofree char *other = text && copy->rename ? copy->rename(copy->data, what, text) : NULL;

	return trace_writer_string(copy->writer, other ? other : text);
}

static uint32_t attachment_of(struct copy *copy, uint32_t number)
{
	if (number == 0 || number > copy->list->len || copy->no_attachments)
		return 0;
	const struct trace_attachment *attachment = copy->list->pdata[number - 1];
	uint32_t *ours = &g_array_index(copy->attachments, uint32_t, number - 1);
	uint64_t time_ns = attachment->time_ns;
	if (time_ns != UINT64_MAX)
		time_ns += copy->attachment_shift_ns - MIN(time_ns, copy->time_base);
	if (*ours == 0)
		*ours = trace_writer_attach(copy->writer, attachment->name, time_ns,
					    trace_writer_next(copy->writer), attachment->bytes);
	return *ours;
}

static void rewrite(struct copy *copy, struct event *event)
{
	event->time_ns -= MIN(event->time_ns, copy->time_base);
	if (copy->numbers)
		renumber(copy, event);
	switch ((enum event_kind)event->kind) {
	case EVENT_HEAP_ALLOC:
	case EVENT_HEAP_REALLOC:
	case EVENT_HEAP_FREE:
	case EVENT_HEAP_ALLOC_FAILED:
		event->u.heap.cache = string_of(copy, COPY_CACHE, event->u.heap.cache);
		if (owners_site_is_name(event->u.heap.site))
			event->u.heap.site =
				string_of(copy, COPY_SITE, (uint32_t)event->u.heap.site);
		break;
	case EVENT_SPAWN:
	case EVENT_FORK:
	case EVENT_EXEC:
	case EVENT_EXIT:
		event->u.process.name = string_of(copy, COPY_NAME, event->u.process.name);
		break;
	case EVENT_MARKER:
		event->u.marker.text = string_of(copy, COPY_MARKER, event->u.marker.text);
		event->u.marker.attachment = attachment_of(copy, event->u.marker.attachment);
		break;
	case EVENT_NOTE:
		event->u.note.name = string_of(copy, COPY_NOTE, event->u.note.name);
		break;
	default:
		break;
	}
}

bool copy_event(struct copy *copy, struct event event, GError **error)
{
	copy->implied_frees += event.kind == EVENT_FRAME_FREE && (event.flags & EVENT_IMPLIED) &&
			       !(event.flags & EVENT_INFERRED);
	copy->untraced_allocs += event.kind == EVENT_FRAME_ALLOC && (event.flags & EVENT_UNTRACED);
	copy->compaction_allocs +=
		event.kind == EVENT_FRAME_ALLOC && (event.flags & EVENT_COMPACTION);
	rewrite(copy, &event);
	return trace_writer_add(copy->writer, &event, error);
}

bool copy_start(struct copy *copy, struct event event, GError **error)
{
	rewrite(copy, &event);
	return trace_writer_add_start(copy->writer, &event, error);
}

struct naming {
	struct copy *copy;
	uint32_t offset;
};

static void name_task(uint32_t task, const char *name, void *data)
{
	const struct naming *naming = data;
	struct copy *copy = naming->copy;
	g_autofree char *other = copy->rename ? copy->rename(copy->data, COPY_NAME, name) : NULL;

	trace_writer_task(copy->writer, task > 0 ? task + naming->offset : 0, other ? other : name);
}

void copy_tasks(struct copy *copy, uint32_t offset)
{
	struct naming naming = { copy, offset };

	trace_reader_each_task(copy->reader, name_task, &naming);
}

struct trace_meta *copy_meta(const struct copy *copy)
{
	g_autofree char *json = trace_meta_to_json(trace_reader_meta(copy->reader));
	struct trace_meta *meta = trace_meta_from_json(json, strlen(json), NULL);

	g_assert(meta); /* what we wrote ourselves */
	meta->implied_frees = copy->implied_frees;
	meta->untraced_allocs = copy->untraced_allocs;
	meta->compaction_allocs = copy->compaction_allocs;
	return meta;
}
