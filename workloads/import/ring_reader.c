#include "workloads/import/ring_reader.h"

#include <stdio.h>

static void malformed(struct ring_reader *reader, uint64_t offset, const char *what, uint16_t cpu)
{
	char text[80];

	snprintf(text, sizeof text, "CPU %u: %s", cpu, what);
	reader->malformed(reader->context, offset, text);
}

/* The next page with anything in it. Of an empty one that tells of a loss, the loss is kept. */
static bool next_page(struct ring_reader *reader, struct ring_stream *stream)
{
	const unsigned char *bytes = reader->next_page(reader->context, stream);

	if (!bytes)
		return false;
	bool lost_some = stream->page.lost_some;
	uint64_t lost = lost_some ? stream->page.lost : 0;
	if (!ring_page_begin(&stream->page, &reader->layout, bytes))
		malformed(reader, stream->page_offset, "a page says that it is longer than a page",
			  stream->cpu);
	if (lost_some) {
		bool known = lost > 0 && (stream->page.lost > 0 || !stream->page.lost_some);
		stream->page.lost = known ? lost + stream->page.lost : 0;
		stream->page.lost_some = true;
	}
	return true;
}

/* Turns pages up to one with a record. */
void ring_reader_turn(struct ring_reader *reader, struct ring_stream *stream,
		      enum ring_result result)
{
	for (; result != RING_RECORD;
	     result = ring_page_next(&stream->page, &reader->layout, &stream->record)) {
		if (result == RING_DAMAGED)
			malformed(reader, ring_stream_offset(stream),
				  "a record reaches beyond its page", stream->cpu);
		if (!next_page(reader, stream)) {
			stream->has = false;
			return;
		}
	}
	if (reader->time_of)
		stream->record.time =
			reader->time_of(reader->context, stream->cpu, stream->record.time);
	stream->has = true;
}

void ring_reader_begin(struct ring_reader *reader)
{
	reader->current = NULL;
	for (unsigned i = 0; i < reader->count; i++) {
		struct ring_stream *stream = &reader->streams[i];
		stream->has = false;
		stream->page = (struct ring_page){ .at = 0, .end = 0 };
		ring_reader_advance(reader, stream);
	}
}

/* The earliest stream, the first of several; it goes first until another one is due: one that lies
 * before it at the same time, one behind it after that. */
void ring_reader_choose(struct ring_reader *reader)
{
	struct ring_stream *best = NULL;
	uint64_t until = UINT64_MAX;

	for (unsigned i = 0; i < reader->count; i++) {
		struct ring_stream *stream = &reader->streams[i];
		if (stream->has && (!best || stream->record.time < best->record.time))
			best = stream;
	}
	for (unsigned i = 0; i < reader->count; i++) {
		const struct ring_stream *stream = &reader->streams[i];
		if (stream->has && stream != best)
			until = MIN(until, stream->record.time - (stream < best ? 1 : 0));
	}
	reader->current = best;
	reader->until = until;
}
