#include "workloads/tools/tools.h"

#include <string.h>
#include "workloads/tools/live.h"

static unsigned bucket(uint64_t value)
{
	return value > 1 ? 63 - (unsigned)__builtin_clzll(value) : 0;
}

static unsigned order_of(uint32_t frames)
{
	return frames > 1 ? 32 - (unsigned)__builtin_clz(frames - 1) : 0;
}

/* A free ends a life that began in the trace. */
static void count_life(const struct live *live, const struct event *event,
		       struct trace_statistics *out)
{
	const struct live_block *block = live_block(live, event->u.frame.handle);
	bool frames = event->kind == EVENT_FRAME_FREE;

	if (!block || (block->alloc.flags & EVENT_PROLOGUE) ||
	    frames != (block->alloc.kind == EVENT_FRAME_ALLOC))
		return;
	/* Of a block that goes in parts the last one counts. */
	if (frames && event->u.frame.frames > 0 && event->u.frame.frames < block->left)
		return;
	uint64_t *life = frames ? out->frame_life : out->heap_life;
	uint64_t begin = block->alloc.time_ns;
	life[bucket(event->time_ns > begin ? event->time_ns - begin : 0)]++;
}

static void count(const struct live *live, const struct event *event, struct trace_statistics *out)
{
	switch ((enum event_kind)event->kind) {
	case EVENT_FRAME_ALLOC:
		out->order[order_of(event->u.frame.frames)]++;
		break;
	case EVENT_HEAP_ALLOC:
		out->heap_size[bucket(event->u.heap.bytes)]++;
		break;
	case EVENT_FRAME_FREE:
	case EVENT_HEAP_FREE:
		count_life(live, event, out);
		break;
	default:
		break;
	}
}

static void sample(const struct live *live, uint64_t time_ns, struct trace_statistics *out)
{
	out->live[out->samples].time_ns = time_ns;
	out->live[out->samples].frames = live_frames(live);
	out->live[out->samples].heap_bytes = live_heap_bytes(live);
	out->live[out->samples].objects = live_objects(live);
	out->samples++;
}

static uint64_t sum(const uint64_t *counts, unsigned number)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < number; i++)
		total += counts[i];
	return total;
}

static bool count_all(struct trace_reader *reader, struct live *live, struct trace_statistics *out,
		      GError **error)
{
	uint64_t step = trace_reader_meta(reader)->span_ns / TRACE_SAMPLES + 1;
	struct event event;
	int got;

	while ((got = trace_reader_next_start(reader, &event, error)) > 0)
		live_take(live, &event);
	while (got == 0 && (got = trace_reader_next(reader, &event, error)) > 0) {
		/* The state before the first event that is later. */
		while (out->samples < TRACE_SAMPLES && event.time_ns >= out->samples * step)
			sample(live, out->samples * step, out);
		count(live, &event, out);
		live_take(live, &event);
		out->most_frames = MAX(out->most_frames, live_frames(live));
		out->most_heap_bytes = MAX(out->most_heap_bytes, live_heap_bytes(live));
		got = 0;
	}
	if (got < 0)
		return false;
	sample(live, trace_reader_meta(reader)->span_ns, out);
	out->frame_blocks_left =
		sum(out->order, TRACE_ORDERS) - sum(out->frame_life, TRACE_BUCKETS);
	out->objects_left = sum(out->heap_size, TRACE_BUCKETS) - sum(out->heap_life, TRACE_BUCKETS);
	return true;
}

bool trace_statistics(struct trace_reader *reader, struct trace_statistics *out, GError **error)
{
	struct live *live = live_new();

	memset(out, 0, sizeof *out);
	trace_reader_rewind(reader);
	bool done = count_all(reader, live, out, error);
	live_free(live);
	return done;
}
