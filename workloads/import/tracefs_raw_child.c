#include "workloads/import/tracefs_raw.h"

#include <event-parse.h>
#include <fcntl.h>
#include <kbuffer.h>
#include <string.h>
#include <unistd.h>
#include "workloads/import/trace_record.h"

/* Formats in the layout of the recording's own kernel, the recorder's: nothing is guessed. */

#define PAGE_LIMIT (1 << 20)
/* More CPUs than any machine has. */
#define CPU_LIMIT 65535

struct stream {
	int file;
	struct kbuffer *pages;
	char *page;
	uint64_t offset; /* of the page behind this one */
	bool has;	 /* record is one */
	struct tep_record record;
};

struct child {
	struct wire_child *wire;
	struct tep_handle *tep;
	const char *folder;
	unsigned page_bytes;
	GArray *streams; /* struct stream */
};

static _Noreturn void fail(struct child *child, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void fail(struct child *child, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	wire_fail(child->wire, g_strdup_vprintf(format, args));
}

/* ---- the formats ---- */

static char *load(struct child *child, const char *name, gsize *bytes)
{
	g_autofree char *path = g_build_filename(child->folder, name, NULL);
	char *text = NULL;

	return g_file_get_contents(path, &text, bytes, NULL) ? text : NULL;
}

static void load_page_header(struct child *child)
{
	gsize bytes = 0;
	char *text = load(child, TRACEFS_RAW_HEADER, &bytes);

	/* 64-bit kernels have a long of 8 bytes behind the time stamp. */
	if (!text || tep_parse_header_page(child->tep, text, bytes, 8) != 0)
		fail(child, "its %s cannot be read", TRACEFS_RAW_HEADER);
	int data = tep_get_header_page_size(child->tep);
	const char *field = strstr(text, "char data;");
	unsigned offset = 0, size = 0;
	if (!field || sscanf(field, "char data; offset:%u; size:%u;", &offset, &size) != 2 ||
	    offset + size < 4096 || offset + size > PAGE_LIMIT || data <= 0)
		fail(child, "its %s names no size of a page", TRACEFS_RAW_HEADER);
	child->page_bytes = offset + size;
}

static void load_formats(struct child *child)
{
	g_autofree char *path = g_build_filename(child->folder, TRACEFS_RAW_FORMATS, NULL);
	GDir *folder = g_dir_open(path, 0, NULL);
	const char *name;

	if (!folder)
		fail(child, "it has no folder %s", TRACEFS_RAW_FORMATS);
	while ((name = g_dir_read_name(folder)) != NULL) {
		g_autofree char *file = g_build_filename(TRACEFS_RAW_FORMATS, name, NULL);
		g_autofree char *system = g_strndup(name, strcspn(name, "."));
		gsize bytes = 0;
		char *text = load(child, file, &bytes);
		/* An event of which only the text cannot be parsed still has its fields. */
		if (text && *system)
			tep_parse_event(child->tep, text, bytes, system);
	}
	char *names = load(child, TRACEFS_RAW_NAMES, NULL);
	if (names)
		tep_parse_saved_cmdlines(child->tep, names);
}

/* ---- the pages ---- */

/* The next page with an event in it. False at the end. */
static bool next_page(struct child *child, struct stream *stream, unsigned cpu)
{
	for (;;) {
		unsigned got = 0;
		while (got < child->page_bytes) {
			ssize_t some =
				read(stream->file, stream->page + got, child->page_bytes - got);
			if (some <= 0)
				break;
			got += (unsigned)some;
		}
		if (got == 0)
			return false;
		stream->offset += got;
		if (got < child->page_bytes) {
			wire_malformed(child->wire, stream->offset,
				       "the last page of cpu%u has %u of %u bytes", cpu, got,
				       child->page_bytes);
			return false;
		}
		if (kbuffer_load_subbuffer(stream->pages, stream->page) != 0)
			continue;
		if ((unsigned)kbuffer_subbuffer_size(stream->pages) > child->page_bytes)
			wire_malformed(child->wire, stream->offset - child->page_bytes,
				       "a page of cpu%u says that it is longer than a page", cpu);
		else
			return true;
	}
}

static void fill_record(struct child *child, struct stream *stream, void *data,
			unsigned long long when)
{
	struct tep_record *record = &stream->record;
	int offset = kbuffer_curr_offset(stream->pages);

	record->ts = when;
	record->data = data;
	record->size = kbuffer_event_size(stream->pages);
	record->offset = stream->offset - child->page_bytes + (unsigned)offset;
	/* What a page says of its inside is not believed. */
	if ((char *)data < stream->page || record->size < 0 ||
	    (char *)data + record->size > stream->page + child->page_bytes) {
		wire_malformed(child->wire, record->offset, "a record reaches beyond its page");
		record->size = 0;
	}
}

static void advance(struct child *child, struct stream *stream, unsigned cpu)
{
	unsigned long long when;
	void *data = stream->has ? kbuffer_next_event(stream->pages, &when) : NULL;

	stream->record.missed_events = 0;
	while (!data && next_page(child, stream, cpu)) {
		data = kbuffer_read_event(stream->pages, &when);
		if (data)
			stream->record.missed_events = kbuffer_missed_events(stream->pages);
	}
	stream->has = data != NULL;
	if (stream->has)
		fill_record(child, stream, data, when);
}

static void open_streams(struct child *child)
{
	enum kbuffer_endian endian =
		tep_is_file_bigendian(child->tep) ? KBUFFER_ENDIAN_BIG : KBUFFER_ENDIAN_LITTLE;
	for (unsigned cpu = 0; cpu < CPU_LIMIT; cpu++) {
		g_autofree char *path = g_strdup_printf("%s/cpu%u", child->folder, cpu);
		struct stream stream = { .file = open(path, O_RDONLY | O_CLOEXEC) };
		if (stream.file < 0)
			break;
		stream.pages = kbuffer_alloc(KBUFFER_LSIZE_8, endian);
		stream.page = g_malloc0(child->page_bytes);
		stream.record.cpu = (int)cpu;
		g_array_append_val(child->streams, stream);
	}
	for (unsigned cpu = 0; cpu < child->streams->len; cpu++)
		advance(child, &g_array_index(child->streams, struct stream, cpu), cpu);
}

static int earliest(const struct child *child)
{
	int best = -1;

	for (guint i = 0; i < child->streams->len; i++) {
		const struct stream *stream = &g_array_index(child->streams, struct stream, i);
		if (stream->has &&
		    (best < 0 ||
		     stream->record.ts <
			     g_array_index(child->streams, struct stream, best).record.ts))
			best = (int)i;
	}
	return best;
}

void tracefs_raw_child(const struct wire_input *input, struct wire_end end)
{
	struct child child = { .wire = wire_child_new(end),
			       .tep = tep_alloc(),
			       .folder = input->path,
			       .streams = g_array_new(FALSE, FALSE, sizeof(struct stream)) };
	int cpu;

	tep_set_loglevel(TEP_LOG_NONE);
	load_page_header(&child);
	load_formats(&child);
	open_streams(&child);
	struct decoder *decoder = decoder_new(child.wire, child.tep);
	while ((cpu = earliest(&child)) >= 0) {
		struct stream *stream = &g_array_index(child.streams, struct stream, cpu);
		if (stream->record.size > 0)
			decoder_send(decoder, &stream->record);
		advance(&child, stream, (unsigned)cpu);
	}
	wire_end(child.wire);
}
