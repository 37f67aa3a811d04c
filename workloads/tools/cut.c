#include "workloads/tools/tools.h"

#include <inttypes.h>
#include <string.h>
#include "workloads/tools/copy.h"
#include "workloads/tools/live.h"

bool trace_piece_parse(const char *text, struct trace_piece *piece)
{
	int end = 0;

	return text &&
	       sscanf(text, "%64[0-9a-f] %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 "%n",
		      piece->of, &piece->first, &piece->total, &piece->time_ns, &piece->inserted,
		      &end) == 5 &&
	       text[end] == '\0';
}

struct cutting {
	struct trace_reader *reader;
	struct trace_writer *writer;
	struct copy copy;
	struct live *live;
	struct trace_piece piece;
	uint64_t end; /* event number */
	GError **error;
};

/* Numbers of the events in the range: [*first, *end). */
static bool find_range(struct trace_reader *reader, const struct trace_cut *cut, uint64_t *first,
		       uint64_t *end, GError **error)
{
	struct event event;
	uint64_t number, events = trace_reader_meta(reader)->events;
	int got = 0;

	*first = cut->by_time ? events : MIN(cut->first, events);
	*end = cut->by_time ? events : MIN(cut->end, events);
	for (number = 0; cut->by_time && (got = trace_reader_next(reader, &event, error)) > 0;
	     number++) {
		if (*first == events && event.time_ns >= cut->first)
			*first = number;
		if (event.time_ns >= cut->end) {
			*end = number;
			break;
		}
	}
	if (got < 0)
		return false;
	if (*first < *end)
		return true;
	trace_error_set(error, TRACE_ERROR_USAGE,
			"%s: no event lies in that range; it has %" PRIu64 " events over %.6f s",
			trace_reader_path(reader), events,
			(double)trace_reader_meta(reader)->span_ns / 1e9);
	return false;
}

/* Clocks of CPUs may disagree: the first event need not be the earliest. */
static bool earliest(struct trace_reader *reader, uint64_t first, uint64_t end, uint64_t *time_ns,
		     GError **error)
{
	struct event event;
	int got = 0;

	*time_ns = UINT64_MAX;
	if (!trace_reader_seek_event(reader, first, error))
		return false;
	for (uint64_t number = first;
	     number < end && (got = trace_reader_next(reader, &event, error)) > 0; number++)
		*time_ns = MIN(*time_ns, event.time_ns);
	return got >= 0;
}

static bool add_start(const struct event *event, void *data)
{
	struct cutting *cutting = data;

	return copy_start(&cutting->copy, *event, cutting->error);
}

static bool add_other(const struct event *event, void *data)
{
	struct cutting *cutting = data;
	struct event moved = *event;

	moved.time_ns = cutting->copy.time_base;
	cutting->piece.inserted++;
	return copy_event(&cutting->copy, moved, cutting->error);
}

/* Everything up to the range. */
static bool replay_before(struct cutting *cutting)
{
	struct event event;
	int got;

	trace_reader_rewind(cutting->reader);
	while ((got = trace_reader_next_start(cutting->reader, &event, cutting->error)) > 0)
		if (cutting->piece.first == 0 ? !add_start(&event, cutting)
					      : (live_take(cutting->live, &event), false))
			return false;
	for (uint64_t number = 0; got == 0 && number < cutting->piece.first; number++) {
		if (trace_reader_next(cutting->reader, &event, cutting->error) <= 0)
			return false;
		live_take(cutting->live, &event);
	}
	return got == 0 && (cutting->piece.first == 0 ||
			    (live_each_allocation(cutting->live, add_start, cutting) &&
			     live_each_other(cutting->live, add_other, cutting)));
}

static bool copy_range(struct cutting *cutting)
{
	struct event event;

	for (uint64_t number = cutting->piece.first; number < cutting->end; number++)
		if (trace_reader_next(cutting->reader, &event, cutting->error) <= 0 ||
		    !copy_event(&cutting->copy, event, cutting->error))
			return false;
	copy_tasks(&cutting->copy, 0);
	return true;
}

static struct trace_meta *piece_meta(const struct cutting *cutting)
{
	struct trace_meta *meta = copy_meta(&cutting->copy);
	const struct trace_piece *piece = &cutting->piece;

	g_free(meta->cut);
	meta->cut = g_strdup_printf("%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64, piece->of,
				    piece->first, piece->total, piece->time_ns, piece->inserted);
	/* What the recorded kernel held without the trace showing it stays held. */
	if (piece->first > 0 && meta->state_known) {
		uint64_t known = meta->free_frames + meta->prologue_frames;
		meta->free_frames = known - MIN(known, live_frames(cutting->live));
	}
	return meta;
}

static bool cut_open(struct cutting *cutting, const char *output, const struct trace_cut *cut)
{
	const char *sum = trace_reader_sha256(cutting->reader, cutting->error);

	if (!sum ||
	    !find_range(cutting->reader, cut, &cutting->piece.first, &cutting->end,
			cutting->error) ||
	    !earliest(cutting->reader, cutting->piece.first, cutting->end, &cutting->piece.time_ns,
		      cutting->error))
		return false;
	g_strlcpy(cutting->piece.of, sum, sizeof cutting->piece.of);
	cutting->piece.total = trace_reader_meta(cutting->reader)->events;
	cutting->writer = trace_writer_new(output, cutting->error);
	if (!cutting->writer)
		return false;
	bool begun = copy_init(&cutting->copy, cutting->reader, cutting->writer, cutting->error);
	cutting->copy.time_base = cutting->piece.time_ns;
	if (begun)
		copy_renumber(&cutting->copy, NULL, NULL);
	return begun;
}

bool trace_cut(const char *input, const char *output, const struct trace_cut *cut, GError **error)
{
	struct cutting cutting = { .reader = trace_reader_open(input, error), .error = error };

	if (!cutting.reader)
		return false;
	cutting.live = live_new();
	bool done =
		cut_open(&cutting, output, cut) && replay_before(&cutting) && copy_range(&cutting);
	if (done) {
		struct trace_meta *meta = piece_meta(&cutting);
		done = trace_writer_finish(cutting.writer, meta, error);
		trace_meta_free(meta);
	} else {
		trace_writer_abort(cutting.writer);
	}
	copy_fini(&cutting.copy);
	live_free(cutting.live);
	trace_reader_free(cutting.reader);
	return done;
}
