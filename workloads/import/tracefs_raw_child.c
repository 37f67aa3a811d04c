#include "workloads/import/tracefs_raw.h"

#include <event-parse.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "workloads/import/trace_record.h"

/* Formats in the layout of the recording's own kernel, the recorder's: nothing is guessed. */

/* More CPUs than any machine has. */
#define CPU_LIMIT 65535

/* The file of one CPU. */
struct source {
	int file;
	unsigned char *page;
	uint64_t offset; /* of the next page */
};

struct child {
	struct wire_child *wire;
	struct tep_handle *tep;
	const char *folder;
	struct ring_reader reader;
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
	const char *wrong =
		text ? ring_layout_parse(&child->reader.layout, text, false) : "cannot be read";

	/* 64-bit kernels have a long of 8 bytes behind the time stamp. */
	if (wrong || tep_parse_header_page(child->tep, text, bytes, 8) != 0)
		fail(child, "its %s %s", TRACEFS_RAW_HEADER, wrong ? wrong : "cannot be parsed");
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

/* As much of the next page as there is. */
static unsigned read_page(struct source *source, unsigned bytes)
{
	unsigned got = 0;

	while (got < bytes) {
		ssize_t some = read(source->file, source->page + got, bytes - got);
		if (some <= 0)
			break;
		got += (unsigned)some;
	}
	return got;
}

static const unsigned char *next_page(void *context, struct ring_stream *stream)
{
	struct child *child = context;
	struct source *source = stream->source;
	unsigned bytes = child->reader.layout.page_bytes, got = read_page(source, bytes);

	stream->page_offset = source->offset;
	source->offset += got;
	if (got == bytes)
		return source->page;
	if (got > 0)
		wire_malformed(child->wire, source->offset,
			       "the last page of cpu%u has %u of %u bytes", stream->cpu, got,
			       bytes);
	return NULL;
}

static void malformed(void *context, uint64_t offset, const char *text)
{
	struct child *child = context;

	wire_malformed(child->wire, offset, "%s", text);
}

static void open_streams(struct child *child)
{
	GArray *streams = g_array_new(FALSE, TRUE, sizeof(struct ring_stream));

	for (unsigned cpu = 0; cpu < CPU_LIMIT; cpu++) {
		g_autofree char *path = g_strdup_printf("%s/cpu%u", child->folder, cpu);
		int file = open(path, O_RDONLY | O_CLOEXEC);
		if (file < 0)
			break;
		struct source *source = g_new0(struct source, 1);
		source->file = file;
		source->page = g_malloc0(child->reader.layout.page_bytes + RING_SLACK);
		struct ring_stream stream = { .cpu = (uint16_t)cpu, .source = source };
		g_array_append_val(streams, stream);
	}
	child->reader.streams = (struct ring_stream *)(void *)streams->data;
	child->reader.count = streams->len;
}

void tracefs_raw_child(const struct wire_input *input, struct wire_end end)
{
	static const struct decoder_source source;
	struct child child = {
		.wire = wire_child_new(end),
		.tep = tep_alloc(),
		.folder = input->path,
		.reader = { .next_page = next_page, .malformed = malformed, .context = &child }
	};

	tep_set_loglevel(TEP_LOG_NONE);
	load_page_header(&child);
	load_formats(&child);
	open_streams(&child);
	decoder_send_all(decoder_new(child.wire, child.tep, false, &source), &child.reader);
	wire_end(child.wire);
}
