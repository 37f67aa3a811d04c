/*
 * ring_reader.h - the records of many CPUs' pages in the order of their time.
 *
 * A stream is one CPU of one buffer. Its pages come from a callback (a file, chunks that are
 * decompressed one by one); a record lies in its page until the stream goes on. The earliest record
 * is next; of several, that of the first stream, as trace-cmd merges.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_RING_READER_H
#define KMEMLAB_WORKLOADS_IMPORT_RING_READER_H

#include "workloads/import/ring_page.h"

struct ring_stream;

#define RING_SLACK 8

/* The next whole page, NULL at the end; sets stream->page_offset. RING_SLACK more bytes can be read
 * behind it, whatever they are: a number is read as 8 bytes wherever it lies. */
typedef const unsigned char *ring_next_page(void *context, struct ring_stream *stream);

struct ring_stream {
	/* By whom it is filled in: */
	uint16_t cpu;
	void *source;
	/* The page's place, for messages. */
	uint64_t page_offset;

	/* By the reader: */
	bool has; /* record is the next one */
	struct ring_record record;
	struct ring_page page;
};

struct ring_reader {
	/* By whom it is filled in: */
	struct ring_layout layout;
	struct ring_stream *streams;
	unsigned count;
	ring_next_page *next_page;
	/* The record or page at byte OFFSET cannot be read. */
	void (*malformed)(void *context, uint64_t offset, const char *text);
	/* NULL: the recording's stamps are times. */
	uint64_t (*time_of)(const void *context, uint16_t cpu, uint64_t stamp);
	void *context;

	/* By the reader: */
	struct ring_stream *current;
	uint64_t until; /* CURRENT goes first up to here: the time at which another one is due */
};

/* Fills in the first record of every stream. */
void ring_reader_begin(struct ring_reader *reader);
/* Of ring_reader_next(): what comes less often than a record. */
void ring_reader_turn(struct ring_reader *reader, struct ring_stream *stream,
		      enum ring_result result);
void ring_reader_choose(struct ring_reader *reader);

/* Fills in the next record of a stream. */
static inline void ring_reader_advance(struct ring_reader *reader, struct ring_stream *stream)
{
	enum ring_result result = ring_page_next(&stream->page, &reader->layout, &stream->record);

	/* What was lost, was lost before the first record of the page. */
	stream->page.lost_some &= !stream->has;
	if (G_UNLIKELY(result != RING_RECORD || reader->time_of))
		ring_reader_turn(reader, stream, result);
}

/* The stream whose record is next; NULL at the end. Cost: constant while a stream goes first, else
 * linear in the number of streams. */
static inline struct ring_stream *ring_reader_next(struct ring_reader *reader)
{
	struct ring_stream *stream = reader->current;

	if (G_LIKELY(stream != NULL)) {
		ring_reader_advance(reader, stream);
		if (stream->has && stream->record.time <= reader->until)
			return stream;
	}
	ring_reader_choose(reader);
	return reader->current;
}

/* Where a stream's record lies. */
static inline uint64_t ring_stream_offset(const struct ring_stream *stream)
{
	return stream->page_offset + stream->record.offset;
}

/* Whether events were lost right before the record: those of its page's beginning. */
static inline bool ring_stream_lost(const struct ring_stream *stream)
{
	return G_UNLIKELY(stream->page.lost_some);
}

#endif
