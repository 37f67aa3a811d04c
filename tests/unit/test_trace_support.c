#include "tests/unit/test_trace_support.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static uint64_t random_number(GRand *random, unsigned bits)
{
	uint64_t all = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
	uint64_t any = (uint64_t)g_rand_int(random) << 32 | g_rand_int(random);
	switch (g_rand_int_range(random, 0, 5)) {
	case 0:
		return 0;
	case 1:
		return g_rand_int_range(random, 0, 200) & all;
	case 2:
		return all;
	default:
		return any & all;
	}
}

struct event random_event(GRand *random, unsigned kind)
{
	struct event event = { 0 };
	event.time_ns = random_number(random, 64);
	event.kind = (uint8_t)kind;
	event.flags = (uint8_t)random_number(random, 8) & (uint8_t)~EVENT_PROLOGUE;
	event.cpu = (uint16_t)random_number(random, 16);
	event.task = (uint32_t)random_number(random, 32);
	switch (kind) {
	case EVENT_FRAME_ALLOC:
	case EVENT_FRAME_FREE:
	case EVENT_FRAME_ALLOC_FAILED:
		event.u.frame.handle = random_number(random, 63);
		event.u.frame.frame = random_number(random, 64);
		event.u.frame.frames = (uint32_t)random_number(random, 32);
		event.u.frame.align_frames = (uint32_t)random_number(random, 32);
		event.u.frame.first_part = (uint32_t)random_number(random, 32);
		event.u.frame.zone = (uint8_t)random_number(random, 8);
		event.u.frame.mobility = (uint8_t)random_number(random, 8);
		event.u.frame.gfp = (uint32_t)random_number(random, 32);
		break;
	case EVENT_HEAP_ALLOC:
	case EVENT_HEAP_REALLOC:
	case EVENT_HEAP_FREE:
	case EVENT_HEAP_ALLOC_FAILED:
		event.u.heap.handle = random_number(random, 63);
		event.u.heap.bytes = random_number(random, 64);
		event.u.heap.bytes_recorded = random_number(random, 64);
		event.u.heap.site = random_number(random, 64);
		event.u.heap.align_bytes = (uint32_t)random_number(random, 32);
		event.u.heap.cache = (uint32_t)random_number(random, 32);
		event.u.heap.gfp = (uint32_t)random_number(random, 32);
		break;
	case EVENT_SPAWN:
	case EVENT_FORK:
	case EVENT_EXEC:
	case EVENT_EXIT:
		event.u.process.child = (uint32_t)random_number(random, 32);
		event.u.process.name = (uint32_t)random_number(random, 32);
		break;
	case EVENT_MMAP:
	case EVENT_MUNMAP:
	case EVENT_MPROTECT:
	case EVENT_BRK:
		event.u.region.address = random_number(random, 64);
		event.u.region.bytes = random_number(random, 64);
		event.u.region.rights = (uint32_t)random_number(random, 32);
		break;
	case EVENT_TOUCH:
		event.u.touch.address = random_number(random, 64);
		event.u.touch.ip = random_number(random, 64);
		event.u.touch.bytes = (uint32_t)random_number(random, 32);
		event.u.touch.access = (uint8_t)random_number(random, 8);
		break;
	case EVENT_MARKER:
		event.u.marker.text = (uint32_t)random_number(random, 32);
		event.u.marker.attachment = (uint32_t)random_number(random, 32);
		break;
	case EVENT_NOTE:
		event.u.note.name = (uint32_t)random_number(random, 32);
		event.u.note.count = (uint32_t)random_number(random, 32);
		for (unsigned i = 0; i < 4; i++)
			event.u.note.value[i] = random_number(random, 64);
		break;
	default:
		event.u.buddy.frame = random_number(random, 64);
		event.u.buddy.order = (uint8_t)random_number(random, 8);
		event.u.buddy.mobility = (uint8_t)random_number(random, 8);
		event.u.buddy.path = (uint8_t)random_number(random, 8);
		event.u.buddy.fallback_order = (uint8_t)random_number(random, 8);
		event.u.buddy.fallback_mobility = (uint8_t)random_number(random, 8);
		event.u.buddy.change_ownership = (uint8_t)random_number(random, 8);
	}
	return event;
}

GArray *random_events(uint32_t seed, unsigned count)
{
	GArray *events = g_array_sized_new(FALSE, FALSE, sizeof(struct event), count);
	GRand *random = g_rand_new_with_seed(seed);
	for (unsigned i = 0; i < count; i++) {
		struct event event =
			random_event(random, (unsigned)g_rand_int_range(random, 1, EVENT_KINDS));
		g_array_append_val(events, event);
	}
	g_rand_free(random);
	return events;
}

/* The live handles of a page trace, and what its next event needs. */
struct page_state {
	GRand *random;
	GArray *live; /* uint64_t handles */
	uint64_t newest, frame, time_ns;
};

static struct event page_event(struct page_state *state)
{
	static const uint32_t gfp[] = { 0x1100cca, 0x140dca, 0xcc0, 0x400dc0 };
	GRand *random = state->random;
	struct event event = { 0 };
	unsigned what = (unsigned)g_rand_int_range(random, 0, 10);

	state->time_ns += (uint64_t)g_rand_int_range(random, 0, 20) * 1000;
	event.time_ns = state->time_ns;
	event.cpu = state->time_ns / 1000000 & 1;
	event.task = 100 + event.cpu * 7;
	if (what < 4 || state->live->len == 0) {
		unsigned order = what == 0 ? (unsigned)g_rand_int_range(random, 0, 4) : 0;
		event.kind = EVENT_FRAME_ALLOC;
		event.u.frame.handle = ++state->newest;
		event.u.frame.frame = state->frame++;
		event.u.frame.frames = event.u.frame.align_frames = 1u << order;
		event.u.frame.zone = ZONE_NORMAL;
		event.u.frame.gfp = gfp[g_rand_int_range(random, 0, G_N_ELEMENTS(gfp))];
		event.u.frame.mobility = event.u.frame.gfp > 0x100000;
		g_array_append_val(state->live, event.u.frame.handle);
	} else if (what < 8) {
		guint at = (guint)g_rand_int_range(random, 0, (gint32)state->live->len);
		event.kind = EVENT_FRAME_FREE;
		event.u.frame.handle = g_array_index(state->live, uint64_t, at);
		event.u.frame.frame = EVENT_NO_FRAME;
		g_array_remove_index_fast(state->live, at);
	} else {
		event.kind = what == 8 ? EVENT_BUDDY_TAKE : EVENT_BUDDY_PUT;
		event.u.buddy.frame = state->frame + (uint64_t)g_rand_int_range(random, 0, 64);
		event.u.buddy.path = what == 8 ? BUDDY_PATH_ZONE_LOCKED : BUDDY_PATH_PCPU_DRAIN;
	}
	return event;
}

GArray *page_events(uint32_t seed, unsigned count)
{
	GArray *events = g_array_sized_new(FALSE, FALSE, sizeof(struct event), count);
	struct page_state state = { .random = g_rand_new_with_seed(seed),
				    .live = g_array_new(FALSE, FALSE, sizeof(uint64_t)),
				    .frame = 0x4000 };
	for (unsigned i = 0; i < count; i++) {
		struct event event = page_event(&state);
		g_array_append_val(events, event);
	}
	g_rand_free(state.random);
	g_array_free(state.live, TRUE);
	return events;
}

char *make_folder(void)
{
	GError *error = NULL;
	char *folder = g_dir_make_tmp("kmemlab-test-XXXXXX", &error);
	if (!folder)
		g_error("%s", error->message);
	return folder;
}

void remove_folder(char *folder)
{
	GDir *dir = g_dir_open(folder, 0, NULL);
	const char *name;
	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(folder, name, NULL);
		g_unlink(path);
	}
	if (dir)
		g_dir_close(dir);
	g_rmdir(folder);
	g_free(folder);
}

static void add_all(struct trace_writer *writer, const GArray *start, const GArray *events)
{
	GError *error = NULL;
	for (guint i = 0; start && i < start->len; i++)
		if (!trace_writer_add_start(writer, &g_array_index(start, struct event, i), &error))
			g_error("%s", error->message);
	for (guint i = 0; events && i < events->len; i++)
		if (!trace_writer_add(writer, &g_array_index(events, struct event, i), &error))
			g_error("%s", error->message);
}

void write_trace(const char *path, const GArray *start, const GArray *events)
{
	GError *error = NULL;
	struct trace_writer *writer = trace_writer_new(path, &error);
	if (!writer)
		g_error("%s", error->message);
	add_all(writer, start, events);
	struct trace_meta *meta = trace_meta_new();
	if (!trace_writer_finish(writer, meta, &error))
		g_error("%s", error->message);
	trace_meta_free(meta);
}

void write_small_trace(const char *path)
{
	static const char attached_text[] = "Node 0, zone DMA 1 2 3\n";
	GError *error = NULL;
	g_autoptr(GArray) start = random_events(1, 5);
	g_autoptr(GArray) events = random_events(2, 40);
	g_autoptr(GBytes) attached = g_bytes_new_static(attached_text, strlen(attached_text));
	struct trace_writer *writer = trace_writer_new(path, &error);
	if (!writer)
		g_error("%s", error->message);
	for (guint i = 0; i < start->len; i++)
		g_array_index(start, struct event, i).flags |= EVENT_PROLOGUE;
	trace_writer_string(writer, "SNAP 0 buddyinfo begin");
	trace_writer_string(writer, "");
	trace_writer_string(writer, "kmalloc-64");
	trace_writer_task(writer, 7, "kswapd0");
	trace_writer_attach(writer, "SNAP 0 buddyinfo", 5, 0, attached);
	add_all(writer, start, events);
	struct trace_meta *meta = trace_meta_new();
	const struct memory_range range = { 0x1000, 0x9e000, MEMORY_USABLE, 0 };
	const struct trace_frame_range untouched = { 17, 4 };
	g_array_append_val(meta->memory_map, range);
	g_array_append_val(meta->untouched, untouched);
	meta->source = g_strdup("small");
	trace_meta_count_source(meta, "mm_page_alloc", 3);
	if (!trace_writer_finish(writer, meta, &error))
		g_error("%s", error->message);
	trace_meta_free(meta);
}

bool read_trace(const char *path, GArray *start, GArray *events, GError **error)
{
	struct trace_reader *reader = trace_reader_open(path, error);
	struct event event;
	int got;

	if (!reader)
		return false;
	while ((got = trace_reader_next_start(reader, &event, error)) > 0)
		g_array_append_val(start, event);
	while (got == 0 && (got = trace_reader_next(reader, &event, error)) > 0) {
		g_array_append_val(events, event);
		got = 0;
	}
	bool good = got == 0 && trace_reader_attachments(reader, error);
	trace_reader_free(reader);
	return good;
}
