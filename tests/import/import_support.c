#include "tests/import/import_support.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>
#include "tests/unit/test_trace_support.h"
#include "workloads/import/map64.h"

static gint by_text(gconstpointer left, gconstpointer right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

char *folder_names(const char *folder)
{
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	const char *name;

	while ((name = g_dir_read_name(dir)) != NULL)
		g_ptr_array_add(names, g_strdup(name));
	g_ptr_array_sort(names, by_text);
	g_ptr_array_add(names, NULL);
	return g_strjoinv(" ", (char **)names->pdata);
}

/* ---- traces ---- */

static void must(bool done, GError *error)
{
	if (!done)
		g_error("%s", error ? error->message : "failed without an error");
}

struct loaded *loaded_new(const char *kmt)
{
	struct loaded *loaded = g_new0(struct loaded, 1);
	GError *error = NULL;
	struct event event;
	int got;

	loaded->reader = trace_reader_open(kmt, &error);
	must(loaded->reader, error);
	loaded->meta = trace_reader_meta(loaded->reader);
	loaded->start = g_array_new(FALSE, FALSE, sizeof(struct event));
	loaded->events = g_array_new(FALSE, FALSE, sizeof(struct event));
	while ((got = trace_reader_next_start(loaded->reader, &event, &error)) > 0)
		g_array_append_val(loaded->start, event);
	must(got == 0, error);
	while ((got = trace_reader_next(loaded->reader, &event, &error)) > 0)
		g_array_append_val(loaded->events, event);
	must(got == 0, error);
	loaded->attachments = trace_reader_attachments(loaded->reader, &error);
	must(loaded->attachments, error);
	must(trace_validate(loaded->reader, &error), error);
	return loaded;
}

void loaded_free(struct loaded *loaded)
{
	trace_reader_free(loaded->reader);
	g_array_unref(loaded->start);
	g_array_unref(loaded->events);
	g_free(loaded);
}

uint64_t loaded_source_events(const struct loaded *loaded, const char *name)
{
	const uint64_t *count = g_hash_table_lookup(loaded->meta->source_events, name);
	return count ? *count : 0;
}

struct loaded *import_path(const char *path, const struct import_options *options)
{
	g_autofree char *name = g_build_filename(g_get_tmp_dir(), "kmemlab-XXXXXX.kmt", NULL);
	GError *error = NULL;
	int fd = g_mkstemp(name);

	must(fd >= 0, NULL);
	close(fd);
	bool done = import_file(path, name, options, &error);
	must(done, error);
	struct loaded *loaded = loaded_new(name);
	g_unlink(name);
	return loaded;
}

struct loaded *import_bytes(const char *content, gsize bytes, bool lenient, GError **error)
{
	char *folder = make_folder();
	g_autofree char *input = g_build_filename(folder, "input", NULL);
	g_autofree char *output = g_build_filename(folder, "output.kmt", NULL);
	struct import_options options = { .lenient = lenient };
	struct loaded *loaded = NULL;

	must(g_file_set_contents(input, content, (gssize)bytes, NULL), NULL);
	if (import_file(input, output, &options, error)) {
		loaded = loaded_new(output);
	} else {
		g_autofree char *names = folder_names(folder);
		if (strcmp(names, "input") != 0)
			g_error("a failed import left files behind: %s", names);
	}
	remove_folder(folder);
	return loaded;
}

struct loaded *import_text(const char *text)
{
	GError *error = NULL;
	struct loaded *loaded = import_bytes(text, strlen(text), false, &error);

	must(loaded, error);
	return loaded;
}

/* ---- as text ---- */

static void add_flags(GString *out, uint8_t flags)
{
	static const struct {
		uint8_t flag;
		const char *name;
	} names[] = {
		{ EVENT_COMPACTION, " compaction" }, { EVENT_UNTRACED, " untraced" },
		{ EVENT_INFERRED, " inferred" },     { EVENT_REFILL, " refill" },
		{ EVENT_IMPLIED, " implied" },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		if (flags & names[i].flag)
			g_string_append(out, names[i].name);
}

static const char *string_of(const struct loaded *loaded, uint32_t id)
{
	const char *text = trace_reader_string(loaded->reader, id);
	return text ? text : "-";
}

static void add_frames(GString *out, const struct event *event)
{
	switch (event->kind) {
	case EVENT_FRAME_ALLOC:
		g_string_append_printf(out, "%s %" G_GUINT64_FORMAT " 0x%" G_GINT64_MODIFIER "x+%u",
				       event->flags & EVENT_PROLOGUE ? "start" : "alloc",
				       event->u.frame.handle, event->u.frame.frame,
				       event->u.frame.frames);
		break;
	case EVENT_FRAME_FREE:
		g_string_append_printf(out, "free %" G_GUINT64_FORMAT, event->u.frame.handle);
		if (event->u.frame.frames > 0)
			g_string_append_printf(out, " part %u+%u", event->u.frame.first_part,
					       event->u.frame.frames);
		break;
	default:
		g_string_append_printf(out, "fail %u", event->u.frame.frames);
	}
}

static void add_heap(GString *out, const struct loaded *loaded, const struct event *event)
{
	if (event->kind == EVENT_HEAP_FREE)
		g_string_append_printf(out, "kfree %" G_GUINT64_FORMAT, event->u.heap.handle);
	else if (event->kind == EVENT_HEAP_ALLOC_FAILED)
		g_string_append_printf(out, "kfail %" G_GUINT64_FORMAT, event->u.heap.bytes);
	else
		g_string_append_printf(out,
				       "kalloc %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
				       "/%" G_GUINT64_FORMAT " %s",
				       event->u.heap.handle, event->u.heap.bytes,
				       event->u.heap.bytes_recorded,
				       string_of(loaded, event->u.heap.cache));
	if (event->kind == EVENT_HEAP_REALLOC)
		g_string_append(out, " realloc");
}

static void add_rest(GString *out, const struct loaded *loaded, const struct event *event)
{
	switch (event->kind) {
	case EVENT_FORK:
		g_string_append_printf(out, "fork %u %s", event->u.process.child,
				       string_of(loaded, event->u.process.name));
		break;
	case EVENT_EXEC:
	case EVENT_EXIT:
		g_string_append_printf(out, "%s %s", event->kind == EVENT_EXEC ? "exec" : "exit",
				       string_of(loaded, event->u.process.name));
		break;
	case EVENT_MMAP:
		g_string_append_printf(
			out, "mmap 0x%" G_GINT64_MODIFIER "x+0x%" G_GINT64_MODIFIER "x %u",
			event->u.region.address, event->u.region.bytes, event->u.region.rights);
		break;
	case EVENT_TOUCH:
		g_string_append_printf(out, "touch 0x%" G_GINT64_MODIFIER "x %u",
				       event->u.touch.address, event->u.touch.access);
		break;
	case EVENT_MARKER:
		g_string_append_printf(out, "marker %s", string_of(loaded, event->u.marker.text));
		break;
	case EVENT_NOTE:
		g_string_append_printf(out, "note %s", string_of(loaded, event->u.note.name));
		for (uint32_t i = 0; i < event->u.note.count; i++)
			g_string_append_printf(out, " %" G_GINT64_FORMAT,
					       (gint64)event->u.note.value[i]);
		break;
	default:
		g_string_append_printf(out, "buddy %u 0x%" G_GINT64_MODIFIER "x order %u",
				       event->kind, event->u.buddy.frame, event->u.buddy.order);
	}
}

static void add_line(GString *out, const struct loaded *loaded, const struct event *event)
{
	if (event->kind <= EVENT_FRAME_ALLOC_FAILED)
		add_frames(out, event);
	else if (event->kind <= EVENT_HEAP_ALLOC_FAILED)
		add_heap(out, loaded, event);
	else
		add_rest(out, loaded, event);
	add_flags(out, event->flags);
	g_string_append_c(out, '\n');
}

char *story(const struct loaded *loaded, bool buddy)
{
	GString *out = g_string_new(NULL);

	for (guint i = 0; i < loaded->start->len; i++)
		add_line(out, loaded, &g_array_index(loaded->start, struct event, i));
	for (guint i = 0; i < loaded->events->len; i++) {
		const struct event *event = &g_array_index(loaded->events, struct event, i);
		if (buddy || event->kind < EVENT_BUDDY_TAKE)
			add_line(out, loaded, event);
	}
	return g_string_free(out, FALSE);
}

/* ---- two imports of one recording ---- */

/* Strings have different numbers in two traces. Compares and forgets them. */
static bool same_string(const struct loaded *one, const struct loaded *other, uint32_t *left,
			uint32_t *right)
{
	bool same = g_strcmp0(trace_reader_string(one->reader, *left),
			      trace_reader_string(other->reader, *right)) == 0;
	*left = *right = 0;
	return same;
}

static bool same_strings(const struct loaded *one, const struct loaded *other, struct event *left,
			 struct event *right)
{
	switch (left->kind) {
	case EVENT_MARKER:
		return same_string(one, other, &left->u.marker.text, &right->u.marker.text);
	case EVENT_NOTE:
		return same_string(one, other, &left->u.note.name, &right->u.note.name);
	case EVENT_HEAP_ALLOC:
		return same_string(one, other, &left->u.heap.cache, &right->u.heap.cache);
	case EVENT_FORK:
	case EVENT_EXEC:
	case EVENT_EXIT:
		return same_string(one, other, &left->u.process.name, &right->u.process.name);
	default:
		return true;
	}
}

static bool same_event(const struct loaded *one, const struct loaded *other, struct event left,
		       struct event right)
{
	bool same = ABS((int64_t)(left.time_ns - right.time_ns)) <= 1000;

	left.time_ns = right.time_ns = 0;
	if (left.kind != right.kind)
		return false;
	if (left.kind == EVENT_MMAP && one->events->len != other->events->len)
		right.u.region = left.u.region;
	same &= same_strings(one, other, &left, &right);
	same &= g_strcmp0(trace_reader_task(one->reader, left.task),
			  trace_reader_task(other->reader, right.task)) == 0;
	return same && memcmp(&left, &right, sizeof left) == 0;
}

char *story_difference(const struct loaded *one, const struct loaded *other)
{
	guint start_bytes = one->start->len * (guint)sizeof(struct event);

	if (one->start->len != other->start->len ||
	    memcmp(one->start->data, other->start->data, start_bytes) != 0)
		return g_strdup("the start sections differ");
	for (guint i = 0; i < MIN(one->events->len, other->events->len); i++)
		if (!same_event(one, other, g_array_index(one->events, struct event, i),
				g_array_index(other->events, struct event, i)))
			return g_strdup_printf("event %u", i);
	return NULL;
}

/* ---- what must hold ---- */

/* A handle while it has frames. */
struct holding {
	uint64_t first, left;
};

struct judge {
	const struct loaded *loaded;
	struct map64 frames;   /* frame -> handle */
	struct map64 holdings; /* handle -> struct holding * */
	struct map64 spent;    /* handles that were allocated ever */
	GArray *last_ns;       /* by CPU */
	GHashTable *regions;   /* task -> GArray of struct event, its MMAPs */
	char *fault;
};

static void blame(struct judge *judge, const struct event *event, const char *what)
{
	if (!judge->fault)
		judge->fault = g_strdup_printf("%s: kind %u, handle %" G_GUINT64_FORMAT
					       ", frame 0x%" G_GINT64_MODIFIER
					       "x, at %" G_GUINT64_FORMAT " ns",
					       what, event->kind, event->u.frame.handle,
					       event->u.frame.frame, event->time_ns);
}

static void judge_alloc(struct judge *judge, const struct event *event)
{
	uint64_t handle = event->u.frame.handle;
	uint64_t first = event->u.frame.frame;

	if (handle == 0 || handle >= judge->loaded->meta->handles ||
	    map64_find(&judge->spent, handle))
		blame(judge, event, "an allocation of a handle that cannot be new");
	if (event->u.frame.frames == 0 || first % event->u.frame.align_frames != 0)
		blame(judge, event, "an allocation that is empty or not aligned as it says");
	map64_put(&judge->spent, handle, 1);
	for (uint64_t frame = first; frame < first + event->u.frame.frames; frame++) {
		if (map64_find(&judge->frames, frame))
			blame(judge, event, "an allocation over a live frame");
		map64_put(&judge->frames, frame, handle);
	}
	struct holding *holding = g_new(struct holding, 1);
	*holding = (struct holding){ first, event->u.frame.frames };
	map64_put(&judge->holdings, handle, (uintptr_t)holding);
}

static void judge_free(struct judge *judge, const struct event *event)
{
	uint64_t handle = event->u.frame.handle;
	uint64_t *found = map64_find(&judge->holdings, handle);
	uint64_t freed = 0;

	if (!found) {
		blame(judge, event, "a free of a handle that has no frames");
		return;
	}
	struct holding *holding = (void *)(uintptr_t)*found;
	uint64_t first = holding->first + event->u.frame.first_part;
	uint64_t wanted = event->u.frame.frames > 0 ? event->u.frame.frames : holding->left;
	for (uint64_t frame = first; freed < wanted; frame++) {
		uint64_t *owner = map64_find(&judge->frames, frame);
		if (owner && *owner == handle) {
			map64_remove(&judge->frames, frame, NULL);
			freed++;
		} else if (event->u.frame.frames > 0 || frame > first + (1u << 20)) {
			blame(judge, event, "a free of a part that is gone");
			return;
		}
	}
	holding->left -= freed;
	if (holding->left == 0) {
		map64_remove(&judge->holdings, handle, NULL);
		g_free(holding);
	}
}

static void judge_time(struct judge *judge, const struct event *event)
{
	if (event->cpu >= judge->last_ns->len)
		g_array_set_size(judge->last_ns, event->cpu + 1u);
	uint64_t *last = &g_array_index(judge->last_ns, uint64_t, event->cpu);
	if (event->time_ns < *last)
		blame(judge, event, "time goes back on a CPU");
	*last = event->time_ns;
}

static GArray *space_of(struct judge *judge, uint32_t task)
{
	GArray *space = g_hash_table_lookup(judge->regions, GUINT_TO_POINTER(task));
	if (!space) {
		space = g_array_new(FALSE, FALSE, sizeof(struct event));
		g_hash_table_insert(judge->regions, GUINT_TO_POINTER(task), space);
	}
	return space;
}

/* The region of SPACE that holds the ADDRESS. */
static const struct event *region_at(const GArray *space, uint64_t address)
{
	for (guint i = 0; i < space->len; i++) {
		const struct event *region = &g_array_index(space, struct event, i);
		if (address - region->u.region.address < region->u.region.bytes)
			return region;
	}
	return NULL;
}

static void judge_space(struct judge *judge, const struct event *event)
{
	GArray *space = space_of(judge, event->task);
	const struct event *region;

	switch (event->kind) {
	case EVENT_FORK:
		g_hash_table_insert(judge->regions, GUINT_TO_POINTER(event->u.process.child),
				    g_array_copy(space));
		break;
	case EVENT_EXEC:
	case EVENT_EXIT:
		g_array_set_size(space, 0);
		break;
	case EVENT_MMAP:
		if (region_at(space, event->u.region.address))
			blame(judge, event, "a region over another one");
		g_array_append_val(space, *event);
		break;
	default:
		region = region_at(space, event->u.touch.address);
		if (!region || (event->u.touch.access & ~region->u.region.rights))
			blame(judge, event, "a touch where no region allows it");
	}
}

static void judge_event(struct judge *judge, const struct event *event)
{
	judge_time(judge, event);
	if (event->kind == EVENT_FRAME_ALLOC)
		judge_alloc(judge, event);
	else if (event->kind == EVENT_FRAME_FREE)
		judge_free(judge, event);
	else if (event->kind >= EVENT_SPAWN && event->kind <= EVENT_TOUCH)
		judge_space(judge, event);
}

static void drop_holding(uint64_t handle, uint64_t holding, void *data)
{
	g_free((void *)(uintptr_t)holding);
}

char *story_fault(const struct loaded *loaded)
{
	struct judge judge = { .loaded = loaded };

	judge.last_ns = g_array_new(FALSE, TRUE, sizeof(uint64_t));
	judge.regions = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL,
					      (GDestroyNotify)g_array_unref);
	for (guint i = 0; i < loaded->start->len; i++)
		judge_alloc(&judge, &g_array_index(loaded->start, struct event, i));
	for (guint i = 0; i < loaded->events->len; i++)
		judge_event(&judge, &g_array_index(loaded->events, struct event, i));
	map64_each(&judge.holdings, drop_holding, NULL);
	map64_fini(&judge.holdings);
	map64_fini(&judge.frames);
	map64_fini(&judge.spent);
	g_array_unref(judge.last_ns);
	g_hash_table_unref(judge.regions);
	return judge.fault;
}
