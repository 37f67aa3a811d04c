/*
 * fuzz_trace_dat.c - bytes to the container of trace.dat and its pages, in this process (the whole
 * importer, in a process of its own, is fuzz_import.c's). Whatever comes in, all that is found lies
 * in the file, reading ends, and what is wrong has a name. The first byte is the importer's.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "workloads/import/trace_dat_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* More records than fit into the largest input that is tried, decompressed. */
#define RECORDS 1000000

static const unsigned char *next_page(void *context, struct ring_stream *stream)
{
	struct trace_dat *dat = context;
	const unsigned char *page;

	while (!(page = trace_dat_next_page(dat, stream)) && *dat->problem)
		*dat->problem = '\0';
	return page;
}

static void malformed(void *context, uint64_t offset, const char *text)
{
	g_assert(*text);
}

static uint64_t time_of(const void *context, uint16_t cpu, uint64_t stamp)
{
	const struct trace_dat *dat = context;

	return trace_dat_clock_time(&dat->clock, cpu, stamp);
}

static void read_texts(struct trace_dat *dat)
{
	size_t bytes;
	const char *system;

	for (unsigned text = 0; text < TRACE_DAT_TEXTS; text++)
		g_free(trace_dat_text(dat, (enum trace_dat_text)text, &bytes));
	for (unsigned type = 0; type < 1024; type++)
		g_free(trace_dat_format(dat, type, &bytes, &system));
	*dat->problem = '\0';
}

/* All that was read, so that it must be. */
static volatile unsigned seen;

static void read_records(struct trace_dat *dat)
{
	struct ring_reader reader = { .layout = dat->layout,
				      .streams = (struct ring_stream *)(void *)dat->streams->data,
				      .count = dat->streams->len,
				      .next_page = next_page,
				      .malformed = malformed,
				      .time_of = dat->clock.set ? time_of : NULL,
				      .context = dat };
	struct ring_stream *stream;
	unsigned sum = 0;

	ring_reader_begin(&reader);
	for (unsigned i = 0; i < RECORDS && (stream = ring_reader_next(&reader)) != NULL; i++) {
		for (uint32_t byte = 0; byte < stream->record.bytes; byte++)
			sum += stream->record.data[byte];
		/* The earliest of all that are next; a stream's own times may go back. */
		for (unsigned other = 0; other < reader.count; other++)
			g_assert(!reader.streams[other].has ||
				 reader.streams[other].record.time >= stream->record.time);
	}
	seen = sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct trace_dat dat;

	if (size == 0)
		return 0;
	int file = memfd_create("fuzz", MFD_CLOEXEC);
	g_assert(file >= 0 && write(file, data + 1, size - 1) == (ssize_t)size - 1);
	bool opened = trace_dat_open(&dat, file, size - 1);
	g_assert(opened == !*dat.problem);
	if (opened) {
		read_texts(&dat);
		read_records(&dat);
	}
	trace_dat_free(&dat);
	close(file);
	return 0;
}
