#include "tests/support/story.h"

#include <check.h>
#include <glib/gstdio.h>
#include <string.h>

#include "sim/fragmentation.h"
#include "workloads/memory_map.h"

static const char small_pc[] = "BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n"
			       "BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved\n"
			       "BIOS-e820: [mem 0x00000000000f0000-0x00000000000fffff] reserved\n"
			       "BIOS-e820: [mem 0x0000000000100000-0x00000000007fffff] usable\n";

#define MUST(expression, error) \
	ck_assert_msg((expression), "%s: %s", #expression, (error) ? (error)->message : "no reason")

struct machine_config *story_machine(const char *name, const char *e820)
{
	GError *error = NULL;
	GArray *map = memory_map_parse(e820, strlen(e820), name, &error);

	MUST(map, error);
	struct machine_config *config = machine_config_from_map(name, map);
	g_array_unref(map);
	return config;
}

struct story *story_new(void)
{
	struct story *story = g_new0(struct story, 1);
	GError *error = NULL;

	story->folder = g_dir_make_tmp("kmemlab-story-XXXXXX", &error);
	MUST(story->folder, error);
	story->start = g_array_new(FALSE, TRUE, sizeof(struct event));
	story->events = g_array_new(FALSE, TRUE, sizeof(struct event));
	story->meta = trace_meta_new();
	story->meta->source = g_strdup("story");
	story->meta->format = g_strdup("story");
	story_memory(story, small_pc);
	return story;
}

void story_memory(struct story *story, const char *e820)
{
	g_clear_pointer(&story->machine, machine_config_free);
	story->machine = story_machine("story", e820);
	g_array_set_size(story->meta->memory_map, 0);
	g_array_append_vals(story->meta->memory_map, story->machine->memory_map->data,
			    story->machine->memory_map->len);
	story->meta->machine_recorded = true;
}

void story_remove_folder(const char *folder)
{
	GDir *dir = g_dir_open(folder, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		char *path = g_build_filename(folder, name, NULL);
		if (g_file_test(path, G_FILE_TEST_IS_DIR) &&
		    !g_file_test(path, G_FILE_TEST_IS_SYMLINK))
			story_remove_folder(path);
		else
			g_unlink(path);
		g_free(path);
	}
	if (dir)
		g_dir_close(dir);
	g_rmdir(folder);
}

void story_free(struct story *story)
{
	story_remove_folder(story->folder);
	g_free(story->folder);
	g_free(story->path);
	g_array_unref(story->start);
	g_array_unref(story->events);
	trace_meta_free(story->meta);
	machine_config_free(story->machine);
	g_free(story);
}

/* ---- events ---- */

void story_start(struct story *story, uint64_t handle, uint64_t frame, uint32_t frames)
{
	struct event event = { .kind = EVENT_FRAME_ALLOC, .flags = EVENT_PROLOGUE };

	event.u.frame.handle = handle;
	event.u.frame.frame = frame;
	event.u.frame.frames = frames;
	event.u.frame.align_frames = 1;
	g_array_append_val(story->start, event);
}

static struct event *add(struct story *story, enum event_kind kind, uint64_t handle)
{
	struct event event = { .kind = (uint8_t)kind, .time_ns = story->now_ns };

	story->now_ns += 1000;
	event.u.frame.handle = handle;
	event.u.frame.frame = EVENT_NO_FRAME;
	g_array_append_val(story->events, event);
	return &g_array_index(story->events, struct event, story->events->len - 1);
}

struct event *story_alloc(struct story *story, uint64_t handle, uint32_t frames)
{
	struct event *event = add(story, EVENT_FRAME_ALLOC, handle);

	event->u.frame.frames = frames;
	event->u.frame.align_frames = 1;
	return event;
}

void story_free_all(struct story *story, uint64_t handle)
{
	add(story, EVENT_FRAME_FREE, handle);
}

void story_free_part(struct story *story, uint64_t handle, uint32_t first, uint32_t frames)
{
	struct event *event = add(story, EVENT_FRAME_FREE, handle);

	event->u.frame.first_part = first;
	event->u.frame.frames = frames;
}

struct live {
	uint64_t handle;
	uint32_t frames, freed; /* from its first frame on */
};

static void free_some(struct story *story, GArray *live, guint index, uint64_t *held, GRand *random)
{
	struct live *one = &g_array_index(live, struct live, index);
	uint32_t left = one->frames - one->freed;

	if (left > 1 && g_rand_int_range(random, 0, 4) == 0) {
		uint32_t part = (uint32_t)g_rand_int_range(random, 1, (gint32)left);
		story_free_part(story, one->handle, one->freed, part);
		one->freed += part;
		*held -= part;
		return;
	}
	story_free_all(story, one->handle);
	*held -= left;
	g_array_remove_index_fast(live, index);
}

void story_random(struct story *story, uint32_t seed, unsigned events, unsigned max_order,
		  uint64_t live_most)
{
	GRand *random = g_rand_new_with_seed(seed);
	GArray *live = g_array_new(FALSE, TRUE, sizeof(struct live));
	uint64_t held = 0, handle = 0;

	for (unsigned i = 0; i < events; i++) {
		struct live one = { .handle = handle + 1,
				    .frames = 1u << g_rand_int_range(random, 0,
								     (gint32)max_order + 1) };
		bool allocate = !live->len || g_rand_int_range(random, 0, 100) < 55;
		if (allocate && held + one.frames <= live_most) {
			struct event *event = story_alloc(story, one.handle, one.frames);
			event->u.frame.align_frames = one.frames;
			event->u.frame.mobility = (uint8_t)g_rand_int_range(random, 0, 3);
			event->cpu = (uint16_t)g_rand_int_range(random, 0, 2);
			g_array_append_val(live, one);
			held += one.frames;
			handle++;
		} else if (live->len) {
			free_some(story, live,
				  (guint)g_rand_int_range(random, 0, (gint32)live->len), &held,
				  random);
		}
	}
	g_array_unref(live);
	g_rand_free(random);
}

const char *story_write(struct story *story)
{
	GError *error = NULL;

	if (story->path)
		return story->path;
	story->path = g_build_filename(story->folder, "story.kmt", NULL);
	struct trace_writer *writer = trace_writer_new(story->path, &error);
	MUST(writer, error);
	for (guint i = 0; i < story->start->len; i++)
		MUST(trace_writer_add_start(writer, &g_array_index(story->start, struct event, i),
					    &error),
		     error);
	for (guint i = 0; i < story->events->len; i++)
		MUST(trace_writer_add(writer, &g_array_index(story->events, struct event, i),
				      &error),
		     error);
	MUST(trace_writer_finish(writer, story->meta, &error), error);
	return story->path;
}

/* ---- passes ---- */

struct replay_config story_config_ops(struct story *story, const struct frame_ops *native,
				      const struct frame_ops *probed)
{
	struct replay_config config = {
		.trace_path = story_write(story),
		.frames = { native, probed },
		.machine = story->machine,
		.until = REPLAY_ALL,
		.command = "kmemlab replay story.kmt",
	};

	frame_config_defaults(native, &config.frame_config);
	return config;
}

struct replay_config story_config(struct story *story, const char *frames)
{
	const struct frame_ops *native = kernels[PASS_NATIVE].frame_find(frames);
	const struct frame_ops *probed = kernels[PASS_PROBED].frame_find(frames);

	ck_assert_msg(native && probed, "no system %s", frames);
	return story_config_ops(story, native, probed);
}

void story_pass(const struct replay_config *config, enum kernel_pass pass,
		struct replay_result *result)
{
	GError *error = NULL;

	MUST(replay_pass(config, pass, NULL, result, &error), error);
}

void story_pass_sampled(const struct replay_config *config, enum kernel_pass pass,
			struct replay_result *result)
{
	struct recorder_config sampling = { .sample_events = 1000 };
	struct recorder *recorder = recorder_new(&sampling, NULL);
	GError *error = NULL;

	MUST(replay_pass(config, pass, recorder, result, &error), error);
	recorder_free(recorder);
}

uint64_t story_metric(const struct replay_result *result, const char *name)
{
	int index = metrics_find(name);

	ck_assert_msg(index >= 0, "no metric %s", name);
	return (uint64_t)result->metrics[index];
}

const struct replay_violation *story_violation(const struct replay_result *result, const char *kind)
{
	for (guint i = 0; i < result->violation_list->len; i++) {
		const struct replay_violation *one = g_ptr_array_index(result->violation_list, i);
		if (strcmp(one->kind, kind) == 0)
			return one;
	}
	return NULL;
}

const char *story_describe(const struct replay_result *result)
{
	static char text[2000];
	gsize at = 0;

	text[0] = '\0';
	for (guint i = 0; i < result->violation_list->len && at < sizeof(text) - 1; i++) {
		const struct replay_violation *one = g_ptr_array_index(result->violation_list, i);
		at += (gsize)g_snprintf(text + at, (gulong)(sizeof(text) - at), "\n  [%s] %s",
					one->kind, one->message);
	}
	return text;
}
