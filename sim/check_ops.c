#include "sim/check_ops.h"

#include <string.h>

#include "alloc/frame/frame.h"
#include "sim/handles.h"
#include "sim/random.h"
#include "workloads/trace.h"

#define LIVE_MAX    4096u /* handles at a time */
#define PARTS_MAX   1024u /* frames of a block that is freed in parts */
#define EXHAUST_MAX 8192u

static const char *const misuse_names[MISUSES] = {
	[MISUSE_DOUBLE_FREE] = "check:double-free",
	[MISUSE_FOREIGN_FREE] = "check:foreign-free",
	[MISUSE_FREE_OF_STATE] = "check:free-of-state",
	[MISUSE_FREE_OF_KERNEL] = "check:free-of-kernel",
	[MISUSE_FREE_BEYOND] = "check:free-beyond",
	[MISUSE_FREE_NOTHING] = "check:free-nothing",
	[MISUSE_FREE_TOO_MANY] = "check:free-too-many",
	[MISUSE_REQUEST] = "check:request",
};

const char *check_misuse_name(unsigned misuse)
{
	return misuse < MISUSES ? misuse_names[misuse] : NULL;
}

/* ---- generating ---- */

struct live {
	uint64_t handle;
	uint32_t frames;
	uint8_t *parts; /* NULL: whole */
};

struct generator {
	struct random random;
	const GArray *map;
	unsigned caps;
	uint64_t usable;
	GArray *list;
	GArray *live; /* struct live */
	uint64_t held, target;
	uint64_t handles, last_freed;
};

static uint64_t below(struct generator *generator, uint64_t limit)
{
	return random_below(&generator->random, limit);
}

static bool chance(struct generator *generator, unsigned percent)
{
	return below(generator, 100) < percent;
}

static uint64_t some_frame(struct generator *generator)
{
	const struct memory_range *range = &g_array_index(
		generator->map, struct memory_range, (guint)below(generator, generator->map->len));
	uint64_t first = range->base >> X86_PAGE_SHIFT, frames = range->bytes >> X86_PAGE_SHIFT;

	return first + below(generator, frames + 2);
}

static uint32_t some_count(struct generator *generator)
{
	bool runs = generator->caps & FRAME_CAP_RUNS;
	uint64_t kind = below(generator, 100);

	if (kind < (runs ? 50 : 95))
		return 1;
	if (kind < 80)
		return 1u << below(generator, 6);
	if (kind < 95)
		return 1 + (uint32_t)below(generator, 70);
	if (kind < 99)
		return 1u << below(generator, 12);
	return 1u << (16 + below(generator, 16));
}

static struct event *append(struct generator *generator, enum event_kind kind)
{
	struct event event = { .kind = (uint8_t)kind };

	event.cpu = (uint16_t)below(generator, CHECK_CPUS);
	g_array_append_val(generator->list, event);
	return &g_array_index(generator->list, struct event, generator->list->len - 1);
}

static void add_alloc(struct generator *generator)
{
	struct event *event = append(generator, EVENT_FRAME_ALLOC);
	struct live live = { .handle = ++generator->handles, .frames = some_count(generator) };

	event->u.frame.handle = live.handle;
	event->u.frame.frames = live.frames;
	event->u.frame.align_frames = chance(generator, 85) ? 1 : 1u << below(generator, 11);
	event->u.frame.frame = EVENT_NO_FRAME;
	if ((generator->caps & FRAME_CAP_AT) && chance(generator, 10))
		event->u.frame.frame = some_frame(generator);
	if (chance(generator, 30))
		event->u.frame.zone = (uint8_t)below(generator, EVENT_ZONES);
	event->u.frame.mobility = (uint8_t)below(generator, 3);
	if (live.frames > generator->usable || generator->live->len >= LIVE_MAX)
		return;
	generator->held += live.frames;
	g_array_append_val(generator->live, live);
}

static void forget(struct generator *generator, guint index)
{
	struct live *live = &g_array_index(generator->live, struct live, index);

	for (uint32_t i = 0; i < live->frames; i++)
		generator->held -= !live->parts || !live->parts[i];
	generator->last_freed = live->handle;
	g_free(live->parts);
	g_array_remove_index_fast(generator->live, index);
}

/* A run of frames in the middle of a block that were not freed yet. */
static void free_part(struct generator *generator, struct event *event, guint index)
{
	struct live *live = &g_array_index(generator->live, struct live, index);
	uint32_t first = (uint32_t)below(generator, live->frames), frames = 0;
	uint32_t wanted = 1 + (uint32_t)below(generator, live->frames);
	uint32_t left = 0;

	if (!live->parts)
		live->parts = g_new0(uint8_t, live->frames);
	while (live->parts[first])
		first = (first + 1) % live->frames;
	while (frames < wanted && first + frames < live->frames && !live->parts[first + frames])
		live->parts[first + frames++] = 1;
	generator->held -= frames;
	event->u.frame.first_part = first;
	event->u.frame.frames = frames;
	for (uint32_t i = 0; i < live->frames; i++)
		left += !live->parts[i];
	if (left == 0)
		forget(generator, index);
}

static void add_free(struct generator *generator)
{
	guint index = (guint)below(generator, generator->live->len);
	const struct live *live = &g_array_index(generator->live, struct live, index);
	struct event *event = append(generator, EVENT_FRAME_FREE);

	event->u.frame.handle = live->handle;
	event->u.frame.frame = EVENT_NO_FRAME;
	if (live->frames > 1 && live->frames <= PARTS_MAX && chance(generator, 25))
		free_part(generator, event, index);
	else
		forget(generator, index);
}

static uint64_t any_live(struct generator *generator)
{
	guint count = generator->live->len;

	return count ? g_array_index(generator->live, struct live, (guint)below(generator, count))
			       .handle
		     : 1;
}

/* Beside the map, within it where it has holes, and where no machine has RAM. */
static uint64_t foreign_frame(struct generator *generator)
{
	static const uint64_t absurd[] = { 0, 1ull << 40, 1ull << 52, UINT64_MAX >> 12,
					   UINT64_MAX };

	if (chance(generator, 40))
		return absurd[below(generator, G_N_ELEMENTS(absurd))];
	return some_frame(generator) - (chance(generator, 30) ? 1 : 0);
}

static void add_misuse(struct generator *generator, unsigned misuse)
{
	static const uint32_t senseless[][2] = {
		{ 0, 1 }, { 1, 0 }, { 1, 3 }, { UINT32_MAX, 1 }, { 0x80000001, 1 }
	};
	uint64_t which = below(generator, G_N_ELEMENTS(senseless));
	uint64_t frame = foreign_frame(generator), handle = any_live(generator);
	uint64_t count = chance(generator, 60) ? 1 : 1 + below(generator, 8);
	struct event *event = append(generator, EVENT_NOTE);

	event->u.note.name = misuse;
	event->u.note.count = 1;
	event->u.note.value[0] = handle;
	if (misuse == MISUSE_DOUBLE_FREE)
		event->u.note.value[0] = generator->last_freed;
	if (misuse == MISUSE_FOREIGN_FREE || misuse == MISUSE_REQUEST)
		event->u.note.count = 2;
	if (misuse == MISUSE_FOREIGN_FREE) {
		event->u.note.value[0] = frame;
		event->u.note.value[1] = count;
	} else if (misuse == MISUSE_REQUEST) {
		event->u.note.value[0] = senseless[which][0];
		event->u.note.value[1] = senseless[which][1];
	}
}

/* Frames held go to a new target whenever they have reached the last one: past the end of RAM, to
 * nothing, and anywhere in between. */
static void add_operation(struct generator *generator)
{
	bool rising = generator->held < generator->target;

	if (chance(generator, 4)) {
		add_misuse(generator,
			   MISUSE_FOREIGN_FREE +
				   (unsigned)below(generator, MISUSES - MISUSE_FOREIGN_FREE));
		return;
	}
	if (chance(generator, 2))
		generator->target = below(generator, 3) * generator->usable / 2 +
				    below(generator, generator->usable / 3 + 1);
	if (generator->live->len == 0 || chance(generator, rising ? 80 : 25))
		add_alloc(generator);
	else
		add_free(generator);
}

GArray *check_ops_generate(const GArray *memory_map, unsigned caps, uint64_t seed, uint64_t count,
			   bool double_free)
{
	struct generator generator = {
		.random = random_seeded(seed),
		.map = memory_map,
		.caps = caps,
		.usable = memory_map_usable_frames(memory_map),
		.list = g_array_sized_new(FALSE, TRUE, sizeof(struct event), (guint)count + 1),
		.live = g_array_new(FALSE, TRUE, sizeof(struct live)),
	};

	generator.target = generator.usable;
	while (generator.list->len < count)
		add_operation(&generator);
	while (double_free && generator.live->len &&
	       generator.last_freed != g_array_index(generator.live, struct live, 0).handle)
		add_free(&generator);
	if (double_free)
		add_misuse(&generator, MISUSE_DOUBLE_FREE);
	for (guint i = 0; i < generator.live->len; i++)
		g_free(g_array_index(generator.live, struct live, i).parts);
	g_array_unref(generator.live);
	check_ops_make_valid(generator.list);
	return generator.list;
}

GArray *check_ops_exhaust(const GArray *memory_map, uint64_t seed)
{
	uint64_t count = MIN(memory_map_usable_frames(memory_map) + 8, EXHAUST_MAX);
	GArray *list = g_array_new(FALSE, TRUE, sizeof(struct event));
	struct random random = random_seeded(seed);

	for (uint64_t handle = 1; handle <= count; handle++) {
		struct event event = { .kind = EVENT_FRAME_ALLOC };
		event.cpu = (uint16_t)random_below(&random, CHECK_CPUS);
		event.u.frame.handle = handle;
		event.u.frame.frames = event.u.frame.align_frames = 1;
		event.u.frame.frame = EVENT_NO_FRAME;
		g_array_append_val(list, event);
	}
	check_ops_make_valid(list);
	return list;
}

/* ---- keeping lists valid ---- */

/* Handles are numbered as they first appear, so that a trace of few events has low numbers. */
struct validity {
	struct handles handles;
	GHashTable *number; /* old handle -> new */
};

static uint64_t number_of(const struct validity *validity, uint64_t handle)
{
	return GPOINTER_TO_SIZE(g_hash_table_lookup(validity->number, GSIZE_TO_POINTER(handle)));
}

static uint64_t make_number(struct validity *validity, uint64_t handle)
{
	uint64_t number = number_of(validity, handle);

	if (!number) {
		number = g_hash_table_size(validity->number) + 1;
		g_hash_table_insert(validity->number, GSIZE_TO_POINTER(handle),
				    GSIZE_TO_POINTER(number));
	}
	return number;
}

static bool valid_alloc(struct validity *validity, const struct event *event)
{
	struct handle *handle = handles_get(&validity->handles, event->u.frame.handle);

	if (!handle || handle->state == HANDLE_LIVE)
		return false;
	*handle = (struct handle){ .state = HANDLE_LIVE,
				   .frames = event->u.frame.frames,
				   .requested = event->u.frame.frames,
				   .left = event->u.frame.frames };
	return true;
}

static bool valid_free(struct validity *validity, const struct event *event)
{
	uint64_t number = event->u.frame.handle;
	struct handle *handle = handles_get(&validity->handles, number);

	if (!handle || handle->state != HANDLE_LIVE)
		return false;
	if (event->u.frame.frames) {
		if (handle->requested > PARTS_MAX ||
		    !handles_free_part(&validity->handles, number, event->u.frame.first_part,
				       event->u.frame.frames))
			return false;
		if (handle->left)
			return true;
	}
	handles_gone(&validity->handles, number);
	return true;
}

static bool names_handle(const struct event *event)
{
	switch (event->u.note.name) {
	case MISUSE_DOUBLE_FREE:
	case MISUSE_FREE_BEYOND:
	case MISUSE_FREE_NOTHING:
	case MISUSE_FREE_TOO_MANY:
		return true;
	default:
		return false;
	}
}

/* And gives it its new numbers. */
static bool valid(struct validity *validity, struct event *event)
{
	if (event->kind == EVENT_FRAME_ALLOC) {
		event->u.frame.handle = make_number(validity, event->u.frame.handle);
		return valid_alloc(validity, event);
	}
	if (event->kind == EVENT_FRAME_FREE) {
		event->u.frame.handle = number_of(validity, event->u.frame.handle);
		return valid_free(validity, event);
	}
	if (!names_handle(event))
		return true;
	event->u.note.value[0] = number_of(validity, event->u.note.value[0]);
	return event->u.note.value[0] != 0;
}

void check_ops_make_valid(GArray *list)
{
	struct validity validity = { 0 };
	guint kept = 0;

	if (!handles_init(&validity.handles, list->len + 1, NULL))
		return;
	validity.number = g_hash_table_new(NULL, NULL);
	for (guint i = 0; i < list->len; i++) {
		struct event *event = &g_array_index(list, struct event, i);
		if (!valid(&validity, event))
			continue;
		event->time_ns = 1000 * (uint64_t)kept;
		g_array_index(list, struct event, kept++) = *event;
	}
	g_array_set_size(list, kept);
	g_hash_table_unref(validity.number);
	handles_fini(&validity.handles);
}

bool check_ops_simplify(void *context, void *operation, unsigned step)
{
	struct event *event = operation;

	if (event->kind != EVENT_FRAME_ALLOC) {
		event->cpu = 0;
		return step == 0;
	}
	switch (step) {
	case 0:
		event->u.frame.frames = 1;
		return true;
	case 1:
		event->u.frame.frames = (event->u.frame.frames + 1) / 2;
		return true;
	case 2:
		event->u.frame.frames -= event->u.frame.frames > 1;
		return true;
	case 3:
		event->u.frame.align_frames = 1;
		return true;
	case 4:
		event->u.frame.frame = EVENT_NO_FRAME;
		return true;
	case 5:
		event->u.frame.zone = ZONE_ANY;
		event->u.frame.mobility = MOBILITY_UNMOVABLE;
		return true;
	case 6:
		event->cpu = 0;
		return true;
	default:
		return false;
	}
}

/* ---- as a trace ---- */

bool check_ops_save(const GArray *list, const GArray *memory_map, const char *path, GError **error)
{
	struct trace_writer *writer = trace_writer_new(path, error);
	struct trace_meta *meta = trace_meta_new();
	bool fine = writer != NULL;

	meta->source = g_strdup("kmemlab check");
	meta->format = g_strdup("check");
	meta->machine_recorded = true;
	g_array_append_vals(meta->memory_map, memory_map->data, memory_map->len);
	for (guint i = 0; fine && i < list->len; i++) {
		struct event event = g_array_index(list, struct event, i);
		if (event.kind == EVENT_NOTE)
			event.u.note.name =
				trace_writer_string(writer, misuse_names[event.u.note.name]);
		fine = trace_writer_add(writer, &event, error);
	}
	if (fine)
		fine = trace_writer_finish(writer, meta, error);
	else if (writer)
		trace_writer_abort(writer);
	trace_meta_free(meta);
	return fine;
}

static unsigned misuse_by_name(const char *name)
{
	for (unsigned i = 1; name && i < MISUSES; i++)
		if (strcmp(misuse_names[i], name) == 0)
			return i;
	return MISUSE_NONE;
}

GArray *check_ops_load(const char *path, GArray **memory_map, GError **error)
{
	struct trace_reader *reader = trace_reader_open(path, error);
	GArray *list = g_array_new(FALSE, TRUE, sizeof(struct event));
	struct event event;
	int got = reader ? 1 : -1;

	while (reader && (got = trace_reader_next(reader, &event, error)) > 0) {
		if (event.kind == EVENT_NOTE)
			event.u.note.name =
				misuse_by_name(trace_reader_string(reader, event.u.note.name));
		bool wanted = event.kind == EVENT_NOTE ? event.u.note.name != MISUSE_NONE
						       : event.kind == EVENT_FRAME_ALLOC ||
								 event.kind == EVENT_FRAME_FREE;
		if (event.kind == EVENT_FRAME_ALLOC)
			wanted = !handles_request_problem(&event);
		if (wanted)
			g_array_append_val(list, event);
	}
	if (got == 0) {
		const struct trace_meta *meta = trace_reader_meta(reader);
		*memory_map = g_array_new(FALSE, TRUE, sizeof(struct memory_range));
		g_array_append_vals(*memory_map, meta->memory_map->data, meta->memory_map->len);
		check_ops_make_valid(list);
	} else {
		g_clear_pointer(&list, g_array_unref);
	}
	g_clear_pointer(&reader, trace_reader_free);
	return list;
}

/* ---- in words ---- */

static char *alloc_text(const struct event *event)
{
	GString *text = g_string_new(NULL);

	g_string_printf(text, "alloc handle %" G_GUINT64_FORMAT ": %u frame%s",
			event->u.frame.handle, event->u.frame.frames,
			event->u.frame.frames == 1 ? "" : "s");
	if (event->u.frame.align_frames > 1)
		g_string_append_printf(text, " aligned to %u", event->u.frame.align_frames);
	if (event->u.frame.frame != EVENT_NO_FRAME)
		g_string_append_printf(text, " at 0x%" G_GINT64_MODIFIER "x", event->u.frame.frame);
	if (event->u.frame.zone)
		g_string_append_printf(text, ", zone %u", event->u.frame.zone);
	if (event->u.frame.mobility)
		g_string_append_printf(text, ", mobility %u", event->u.frame.mobility);
	if (event->cpu)
		g_string_append_printf(text, ", CPU %u", event->cpu);
	return g_string_free(text, FALSE);
}

static char *misuse_text(const struct event *event)
{
	const uint64_t *value = event->u.note.value;
	const char *name = misuse_names[event->u.note.name] + strlen("check:");

	switch (event->u.note.name) {
	case MISUSE_FOREIGN_FREE:
		return g_strdup_printf("%s: %" G_GUINT64_FORMAT " frames at 0x%" G_GINT64_MODIFIER
				       "x",
				       name, value[1], value[0]);
	case MISUSE_REQUEST:
		return g_strdup_printf("%s: %" G_GUINT64_FORMAT
				       " frames aligned to %" G_GUINT64_FORMAT,
				       name, value[0], value[1]);
	case MISUSE_FREE_OF_STATE:
	case MISUSE_FREE_OF_KERNEL:
		return g_strdup(name);
	default:
		return g_strdup_printf("%s: handle %" G_GUINT64_FORMAT, name, value[0]);
	}
}

char *check_op_text(const struct event *operation)
{
	if (operation->kind == EVENT_FRAME_ALLOC)
		return alloc_text(operation);
	if (operation->kind == EVENT_NOTE)
		return misuse_text(operation);
	if (operation->u.frame.frames)
		return g_strdup_printf("free  handle %" G_GUINT64_FORMAT
				       ": %u frames from its frame %u",
				       operation->u.frame.handle, operation->u.frame.frames,
				       operation->u.frame.first_part);
	return g_strdup_printf("free  handle %" G_GUINT64_FORMAT, operation->u.frame.handle);
}
