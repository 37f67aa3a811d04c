#include "sim/start_state.h"

#include <string.h>

#include "sim/handles.h"
#include "sim/lab.h"
#include "sim/random.h"
#include "workloads/memory_map.h"

/* Usable frames of the recorded machine that a kernel could own; frame 0 is nobody's
 * (alloc/memmap.h). */
static uint64_t recorded_usable(const struct trace_meta *meta)
{
	uint64_t frames = memory_map_usable_frames(meta->memory_map);

	for (guint i = 0; i < meta->memory_map->len; i++) {
		const struct memory_range *range =
			&g_array_index(meta->memory_map, struct memory_range, i);
		if (range->type == MEMORY_USABLE && range->base == 0 && range->bytes >= FRAME_BYTES)
			return frames - 1;
	}
	return frames;
}

uint64_t start_untouched_frames(const struct trace_meta *meta, const struct machine *machine)
{
	uint64_t own = machine->boot.usable_frames - machine->boot.map.frames;
	uint64_t accounted = meta->free_frames + meta->prologue_frames + own;
	uint64_t usable = recorded_usable(meta);

	return meta->state_known && usable > accounted ? usable - accounted : 0;
}

static bool read_prologue(struct trace_reader *reader, GArray *items, GError **error)
{
	struct event event;
	int got;

	while ((got = trace_reader_next_start(reader, &event, error)) > 0) {
		if (event.kind != EVENT_FRAME_ALLOC)
			continue;
		const char *problem = handles_request_problem(&event);
		if (problem) {
			g_set_error(error, LAB_ERROR, LAB_ERROR_INPUT, "start section: item %u: %s",
				    items->len, problem);
			return false;
		}
		struct start_item item = {
			.handle = event.u.frame.handle,
			.frame = event.u.frame.frame,
			.frames = event.u.frame.frames,
			.align_frames = event.u.frame.align_frames,
			.zone = event.u.frame.zone,
			.mobility = event.u.frame.mobility,
			.cpu = event.cpu,
		};
		g_array_append_val(items, item);
	}
	return got == 0;
}

/* Untouched frames at known places, as far as they are ours to give. Returns how many. */
static uint64_t add_known_untouched(const struct trace_meta *meta, uint64_t wanted,
				    bool (*free_of_boot)(const void *, uint64_t),
				    const void *context, GArray *items)
{
	uint64_t added = 0;

	for (guint i = 0; meta->untouched_known && i < meta->untouched->len; i++) {
		const struct trace_frame_range *range =
			&g_array_index(meta->untouched, struct trace_frame_range, i);
		for (uint64_t k = 0; k < range->frames && added < wanted; k++) {
			struct start_item item = { .frame = range->first + k,
						   .frames = 1,
						   .align_frames = 1 };
			if (!free_of_boot(context, item.frame))
				continue;
			g_array_append_val(items, item);
			added++;
		}
	}
	return added;
}

static int by_frame(const void *a, const void *b)
{
	const struct start_item *x = a, *y = b;

	if (x->frame != y->frame)
		return x->frame < y->frame ? -1 : 1;
	return x->handle < y->handle ? -1 : x->handle > y->handle;
}

/* COUNT frames of unknown place, spread evenly among ITEMS: one into each stretch of equal length,
 * where the seed says. */
static GArray *spread_unknown(GArray *items, uint64_t count, struct random *random)
{
	GArray *all = g_array_sized_new(FALSE, FALSE, sizeof(struct start_item),
					(guint)(items->len + count));
	struct start_item unknown = { .frame = EVENT_NO_FRAME, .frames = 1, .align_frames = 1 };
	uint64_t placed = 0;
	double stretch = count ? (double)items->len / (double)count : 0,
	       next = stretch * random_unit(random);

	for (guint i = 0; i < items->len; i++) {
		for (; placed < count && next <= (double)i; placed++)
			g_array_append_val(all, unknown),
				next = stretch * ((double)placed + 1 + random_unit(random));
		g_array_append_val(all, g_array_index(items, struct start_item, i));
	}
	for (; placed < count; placed++)
		g_array_append_val(all, unknown);
	g_array_unref(items);
	return all;
}

static void shuffle(GArray *items, struct random *random)
{
	struct start_item *item = (struct start_item *)(void *)items->data;

	for (guint i = items->len; i > 1; i--) {
		guint k = (guint)random_below(random, i);
		struct start_item swap = item[i - 1];
		item[i - 1] = item[k];
		item[k] = swap;
	}
}

GArray *start_items(struct trace_reader *reader, const struct machine *machine,
		    enum replay_start start, uint64_t seed,
		    bool (*free_of_boot)(const void *context, uint64_t frame), const void *context,
		    GError **error)
{
	const struct trace_meta *meta = trace_reader_meta(reader);
	GArray *items = g_array_new(FALSE, FALSE, sizeof(struct start_item));
	struct random random = random_seeded(seed);

	if (!read_prologue(reader, items, error)) {
		g_array_unref(items);
		return NULL;
	}
	uint64_t untouched = start == START_FIXTURE ? 0 : start_untouched_frames(meta, machine);
	uint64_t known = add_known_untouched(meta, untouched, free_of_boot, context, items);
	g_array_sort(items, by_frame);
	items = spread_unknown(items, untouched - known, &random);
	if (start == START_SHUFFLED)
		shuffle(items, &random);
	return items;
}
