#include "workloads/trace.h"
#include "workloads/trace_columns.h"
#include "workloads/trace_format.h"
#include "workloads/trace_meta.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

enum { EVENTS_LEVEL = 3, STREAM_LEVEL = 6 };

/* Events wait here until they fill a block. */
struct section {
	uint8_t type;
	uint64_t written; /* events in blocks already */
	uint32_t count;
	uint64_t time_most;  /* of them */
	struct event *event; /* TRACE_FULL_BLOCK */
	struct trace_encoder *encoder;
};

/* A run of bytes that becomes blocks of one type. */
struct stream {
	uint8_t type;
	uint64_t written;
	GByteArray *bytes;
};

/* A compressed block that waits for the end: only the events stand in the file in the order of
 * their coming, so that the file does not depend on when its other parts were handed in. */
struct waiting {
	struct trace_block block;
	GBytes *stored;
};

struct trace_writer {
	char *path, *aside;
	int file;
	uint64_t offset;
	GArray *blocks;	 /* struct trace_block */
	GArray *waiting; /* struct waiting */
	ZSTD_CCtx *zstd;
	void *stored;
	size_t stored_most;
	struct section start, events;
	struct stream attachments, strings;
	GHashTable *string_ids; /* char * -> id */
	GHashTable *tasks;	/* number -> char * */
	uint32_t attachment_count;
	struct trace_meta counted; /* only what the writer fills; cpus */
	GError *failure;	   /* the first; what cannot report at once reports at the next */
};

/* ---- bytes to the file ---- */

static bool fail_io(struct trace_writer *writer, const char *doing)
{
	int reason = errno;
	if (!writer->failure)
		trace_error_set(&writer->failure, TRACE_ERROR_IO, "%s: cannot %s: %s", writer->path,
				doing, g_strerror(reason));
	return false;
}

static bool fail_usage(struct trace_writer *writer, const char *what)
{
	if (!writer->failure)
		trace_error_set(&writer->failure, TRACE_ERROR_USAGE, "%s: %s", writer->path, what);
	return false;
}

static bool report(const struct trace_writer *writer, GError **error)
{
	if (!writer->failure)
		return true;
	g_propagate_error(error, g_error_copy(writer->failure));
	return false;
}

static bool put_bytes(struct trace_writer *writer, const void *bytes, size_t count)
{
	const char *at = bytes;
	while (count) {
		ssize_t done = write(writer->file, at, count);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return fail_io(writer, "write");
		at += done;
		count -= (size_t)done;
		writer->offset += (size_t)done;
	}
	return true;
}

/* ---- blocks ---- */

/* Compresses into writer->stored; begins a zstd block at every cut, so that columns of different
 * nature do not share statistics. Returns the size, 0 after a failure. */
static size_t compress(struct trace_writer *writer, int level, const uint8_t *raw, size_t bytes,
		       const GArray *cuts)
{
	ZSTD_outBuffer out = { writer->stored, writer->stored_most, 0 };
	size_t at = 0, left;

	ZSTD_CCtx_reset(writer->zstd, ZSTD_reset_session_and_parameters);
	ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setPledgedSrcSize(writer->zstd, bytes);
	for (guint i = 0; cuts && i < cuts->len; i++) {
		uint32_t cut = g_array_index(cuts, uint32_t, i);
		if (cut == bytes || cut == at)
			continue;
		ZSTD_inBuffer in = { raw + at, cut - at, 0 };
		left = ZSTD_compressStream2(writer->zstd, &out, &in, ZSTD_e_flush);
		if (ZSTD_isError(left) || left)
			break;
		at = cut;
	}
	ZSTD_inBuffer in = { raw + at, bytes - at, 0 };
	left = ZSTD_compressStream2(writer->zstd, &out, &in, ZSTD_e_end);
	if (ZSTD_isError(left) || left) {
		fail_usage(writer, "a block could not be compressed");
		return 0;
	}
	return out.pos;
}

static bool write_block(struct trace_writer *writer, struct trace_block *block, const void *stored)
{
	uint8_t header[TRACE_BLOCK_BYTES];

	block->offset = writer->offset;
	trace_block_pack(header, block);
	g_array_append_val(writer->blocks, *block);
	return put_bytes(writer, header, sizeof(header)) &&
	       put_bytes(writer, stored, block->stored_bytes);
}

/* Compresses a block; writes it if it holds events, else lets it wait. */
static bool put_block(struct trace_writer *writer, struct trace_block *block, int level,
		      const uint8_t *raw, size_t bytes, const GArray *cuts)
{
	size_t stored = compress(writer, level, raw, bytes, cuts);

	if (writer->failure)
		return false;
	block->raw_bytes = (uint32_t)bytes;
	block->stored_bytes = (uint32_t)stored;
	block->payload_hash = XXH64(writer->stored, stored, 0);
	if (block->type == TRACE_BLOCK_EVENTS_TYPE)
		return write_block(writer, block, writer->stored);
	struct waiting waiting = { *block, g_bytes_new(writer->stored, stored) };
	g_array_append_val(writer->waiting, waiting);
	return true;
}

/* Writes the blocks of one type that wait. */
static bool put_waiting(struct trace_writer *writer, uint8_t type)
{
	for (guint i = 0; i < writer->waiting->len; i++) {
		struct waiting *waiting = &g_array_index(writer->waiting, struct waiting, i);
		if (waiting->block.type == type &&
		    !write_block(writer, &waiting->block, g_bytes_get_data(waiting->stored, NULL)))
			return false;
	}
	return true;
}

static bool flush_section(struct trace_writer *writer, struct section *section)
{
	struct trace_block block = { .type = section->type,
				     .number = section->written,
				     .count = section->count };
	const GArray *cuts;

	if (writer->failure || section->count == 0)
		return !writer->failure;
	block.time_first = section->event[0].time_ns;
	block.time_most = section->time_most;
	const GByteArray *raw =
		trace_encoder_block(section->encoder, section->event, section->count, &cuts);
	section->written += section->count;
	section->count = 0;
	section->time_most = 0;
	return put_block(writer, &block, EVENTS_LEVEL, raw->data, raw->len, cuts);
}

/* Writes whole chunks, and what is left of them if this is all. */
static bool flush_stream(struct trace_writer *writer, struct stream *stream, bool all)
{
	while (!writer->failure &&
	       (stream->bytes->len >= TRACE_STREAM_CHUNK || (all && stream->bytes->len > 0))) {
		struct trace_block block = { .type = stream->type, .number = stream->written };
		guint bytes = MIN(stream->bytes->len, (guint)TRACE_STREAM_CHUNK);
		put_block(writer, &block, STREAM_LEVEL, stream->bytes->data, bytes, NULL);
		g_byte_array_remove_range(stream->bytes, 0, bytes);
		stream->written += bytes;
	}
	return !writer->failure;
}

static void append32(GByteArray *bytes, uint32_t value)
{
	uint8_t packed[4];
	trace_put32(packed, value);
	g_byte_array_append(bytes, packed, sizeof(packed));
}

static void append64(GByteArray *bytes, uint64_t value)
{
	uint8_t packed[8];
	trace_put64(packed, value);
	g_byte_array_append(bytes, packed, sizeof(packed));
}

static void append_text(GByteArray *bytes, const char *text)
{
	size_t length = strlen(text);
	append32(bytes, (uint32_t)length);
	g_byte_array_append(bytes, (const guint8 *)text, (guint)length);
}

/* ---- life ---- */

static void waiting_clear(gpointer data)
{
	struct waiting *waiting = data;
	g_bytes_unref(waiting->stored);
}

static void init_section(struct section *section, uint8_t type)
{
	section->type = type;
	section->event = g_new(struct event, TRACE_FULL_BLOCK);
	section->encoder = trace_encoder_new();
}

static void init_stream(struct stream *stream, uint8_t type)
{
	stream->type = type;
	stream->bytes = g_byte_array_new();
}

static void writer_free(struct trace_writer *writer)
{
	if (writer->file >= 0)
		close(writer->file);
	g_free(writer->path);
	g_free(writer->aside);
	g_array_free(writer->blocks, TRUE);
	g_array_free(writer->waiting, TRUE);
	ZSTD_freeCCtx(writer->zstd);
	g_free(writer->stored);
	g_free(writer->start.event);
	g_free(writer->events.event);
	trace_encoder_free(writer->start.encoder);
	trace_encoder_free(writer->events.encoder);
	g_byte_array_free(writer->attachments.bytes, TRUE);
	g_byte_array_free(writer->strings.bytes, TRUE);
	g_hash_table_unref(writer->string_ids);
	g_hash_table_unref(writer->tasks);
	g_clear_error(&writer->failure);
	g_free(writer);
}

/* A rename would put a file in the place of a device or a pipe. */
static bool replaceable(const char *path)
{
	struct stat status;
	return stat(path, &status) || S_ISREG(status.st_mode);
}

struct trace_writer *trace_writer_new(const char *path, GError **error)
{
	struct trace_writer *writer = g_new0(struct trace_writer, 1);
	uint8_t header[TRACE_HEADER_BYTES];

	writer->path = g_strdup(path);
	writer->aside = g_strconcat(path, ".partial", NULL);
	writer->file = -1;
	writer->blocks = g_array_new(FALSE, FALSE, sizeof(struct trace_block));
	writer->waiting = g_array_new(FALSE, FALSE, sizeof(struct waiting));
	g_array_set_clear_func(writer->waiting, waiting_clear);
	writer->zstd = ZSTD_createCCtx();
	writer->stored_most = TRACE_STORED_LIMIT;
	writer->stored = g_malloc(writer->stored_most);
	init_section(&writer->start, TRACE_BLOCK_START);
	init_section(&writer->events, TRACE_BLOCK_EVENTS_TYPE);
	init_stream(&writer->attachments, TRACE_BLOCK_ATTACHMENTS);
	init_stream(&writer->strings, TRACE_BLOCK_STRINGS);
	writer->string_ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	writer->tasks = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);

	if (!replaceable(path)) {
		trace_error_set(error, TRACE_ERROR_IO, "%s: exists and is not a regular file",
				path);
		writer_free(writer);
		return NULL;
	}
	writer->file = open(writer->aside, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0666);
	if (writer->file < 0) {
		fail_io(writer, "create");
		report(writer, error);
		writer_free(writer);
		return NULL;
	}
	trace_header_pack(header);
	if (!put_bytes(writer, header, sizeof(header))) {
		report(writer, error);
		trace_writer_abort(writer);
		return NULL;
	}
	return writer;
}

void trace_writer_abort(struct trace_writer *writer)
{
	if (!writer)
		return;
	unlink(writer->aside);
	writer_free(writer);
}

/* ---- what is added ---- */

uint32_t trace_writer_string(struct trace_writer *writer, const char *text)
{
	gpointer id;

	if (!text)
		return 0;
	if (g_hash_table_lookup_extended(writer->string_ids, text, NULL, &id))
		return GPOINTER_TO_UINT(id);
	if (strlen(text) > TRACE_STRING_LIMIT) {
		fail_usage(writer, "a string is longer than 16 MiB");
		return 0;
	}
	if (writer->strings.written + writer->strings.bytes->len + strlen(text) >
	    TRACE_STREAM_LIMIT - 4) {
		fail_usage(writer, "more than 1 GiB of strings");
		return 0;
	}
	uint32_t next = g_hash_table_size(writer->string_ids) + 1;
	g_hash_table_insert(writer->string_ids, g_strdup(text), GUINT_TO_POINTER(next));
	append_text(writer->strings.bytes, text);
	flush_stream(writer, &writer->strings, false);
	return next;
}

void trace_writer_task(struct trace_writer *writer, uint32_t task, const char *name)
{
	const char *known = g_hash_table_lookup(writer->tasks, GUINT_TO_POINTER(task));
	if (known && !strcmp(known, name))
		return;
	if (strlen(name) > TRACE_STRING_LIMIT) {
		fail_usage(writer, "the name of a task is longer than 16 MiB");
		return;
	}
	g_hash_table_insert(writer->tasks, GUINT_TO_POINTER(task), g_strdup(name));
}

uint32_t trace_writer_attach(struct trace_writer *writer, const char *name, uint64_t time_ns,
			     uint64_t event, GBytes *bytes)
{
	struct stream *stream = &writer->attachments;
	gsize left;
	const uint8_t *at = g_bytes_get_data(bytes, &left);

	if (strlen(name) > TRACE_STRING_LIMIT ||
	    stream->written + stream->bytes->len + strlen(name) + left + 28 > TRACE_STREAM_LIMIT) {
		fail_usage(writer, "more than 1 GiB of attachments");
		return ++writer->attachment_count;
	}
	append_text(stream->bytes, name);
	append64(stream->bytes, time_ns);
	append64(stream->bytes, event);
	append64(stream->bytes, left);
	while (left) {
		gsize some = MIN(left, (gsize)TRACE_STREAM_CHUNK);
		g_byte_array_append(stream->bytes, at, (guint)some);
		flush_stream(writer, stream, false);
		at += some;
		left -= some;
	}
	return ++writer->attachment_count;
}

/* Where the event names a handle, that; else 0. */
static uint64_t handle_of(const struct event *event)
{
	return event->kind >= EVENT_FRAME_ALLOC && event->kind <= EVENT_HEAP_ALLOC_FAILED
		       ? event->u.frame.handle
		       : 0;
}

static bool acceptable(struct trace_writer *writer, const struct event *event, bool start)
{
	if (event->kind == EVENT_NONE || event->kind >= EVENT_KINDS)
		return fail_usage(writer, "an event of no kind was to be written");
	if (!start != !(event->flags & EVENT_PROLOGUE))
		return fail_usage(writer, start ? "an event of the start section lacks its flag"
						: "a prologue event outside the start section");
	if (handle_of(event) == UINT64_MAX)
		return fail_usage(writer, "a handle above the greatest one");
	return true;
}

static bool add(struct trace_writer *writer, struct section *section, const struct event *event,
		GError **error)
{
	struct trace_meta *counted = &writer->counted;

	if (writer->failure || !acceptable(writer, event, section == &writer->start))
		return report(writer, error);
	section->event[section->count++] = *event;
	section->time_most = MAX(section->time_most, event->time_ns);
	counted->handles = MAX(counted->handles, handle_of(event) + 1);
	if (event->cpu != UINT16_MAX)
		counted->cpus = MAX(counted->cpus, event->cpu + 1u);
	if (section->count == TRACE_FULL_BLOCK && !flush_section(writer, section))
		return report(writer, error);
	return true;
}

bool trace_writer_add_start(struct trace_writer *writer, const struct event *event, GError **error)
{
	if (!add(writer, &writer->start, event, error))
		return false;
	writer->counted.prologue++;
	if (event->kind == EVENT_FRAME_ALLOC)
		writer->counted.prologue_frames += event->u.frame.frames;
	return true;
}

bool trace_writer_add(struct trace_writer *writer, const struct event *event, GError **error)
{
	if (!add(writer, &writer->events, event, error))
		return false;
	writer->counted.events++;
	writer->counted.kind_count[event->kind]++;
	writer->counted.span_ns = MAX(writer->counted.span_ns, event->time_ns);
	return true;
}

uint64_t trace_writer_next(const struct trace_writer *writer)
{
	return writer->counted.events;
}

/* ---- the end ---- */

static int compare_tasks(gconstpointer a, gconstpointer b)
{
	guint left = GPOINTER_TO_UINT(a), right = GPOINTER_TO_UINT(b);
	return left < right ? -1 : left > right;
}

static bool put_tasks(struct trace_writer *writer)
{
	struct stream stream;
	init_stream(&stream, TRACE_BLOCK_TASKS);
	stream.written = 0;
	GList *tasks = g_list_sort(g_hash_table_get_keys(writer->tasks), compare_tasks);
	for (GList *at = tasks; at; at = at->next) {
		append32(stream.bytes, GPOINTER_TO_UINT(at->data));
		append_text(stream.bytes, g_hash_table_lookup(writer->tasks, at->data));
		flush_stream(writer, &stream, false);
	}
	g_list_free(tasks);
	flush_stream(writer, &stream, true);
	g_byte_array_free(stream.bytes, TRUE);
	return !writer->failure;
}

static bool put_meta(struct trace_writer *writer, struct trace_meta *meta)
{
	const struct trace_meta *counted = &writer->counted;
	struct stream stream = { .type = TRACE_BLOCK_META };

	meta->events = counted->events;
	meta->prologue = counted->prologue;
	meta->prologue_frames = counted->prologue_frames;
	meta->span_ns = counted->span_ns;
	meta->handles = counted->handles;
	meta->cpus = MAX(meta->cpus, counted->cpus);
	memcpy(meta->kind_count, counted->kind_count, sizeof(meta->kind_count));
	char *text = trace_meta_to_json(meta);
	size_t bytes = strlen(text);
	if (bytes > TRACE_STREAM_LIMIT)
		fail_usage(writer, "more than 1 GiB of meta data");
	else
		stream.bytes = g_byte_array_new_take((guint8 *)text, bytes);
	if (!stream.bytes) {
		g_free(text);
		return false;
	}
	flush_stream(writer, &stream, true);
	g_byte_array_free(stream.bytes, TRUE);
	return !writer->failure;
}

/* Writes what waits, its sections in the order of their numbers. */
static bool put_all_waiting(struct trace_writer *writer)
{
	for (uint8_t type = TRACE_BLOCK_START; type < TRACE_BLOCK_INDEX; type++)
		if (!put_waiting(writer, type))
			return false;
	return true;
}

static bool put_index(struct trace_writer *writer)
{
	GByteArray *bytes = g_byte_array_new();
	struct trace_block index = { .type = TRACE_BLOCK_INDEX };
	uint8_t header[TRACE_BLOCK_BYTES], trailer[TRACE_TRAILER_BYTES];

	if (writer->blocks->len > TRACE_RAW_LIMIT / TRACE_INDEX_ENTRY_BYTES)
		fail_usage(writer, "more blocks than an index has room for");
	for (guint i = 0; i < writer->blocks->len && !writer->failure; i++) {
		const struct trace_block *block =
			&g_array_index(writer->blocks, struct trace_block, i);
		trace_block_pack(header, block);
		append64(bytes, block->offset);
		g_byte_array_append(bytes, header, sizeof(header));
	}
	uint64_t offset = writer->offset;
	bool good = !writer->failure &&
		    put_block(writer, &index, STREAM_LEVEL, bytes->data, bytes->len, NULL) &&
		    put_waiting(writer, TRACE_BLOCK_INDEX);
	g_byte_array_free(bytes, TRUE);
	if (!good)
		return false;
	trace_trailer_pack(trailer, offset, writer->offset + sizeof(trailer));
	return put_bytes(writer, trailer, sizeof(trailer));
}

/* The data before the name, the name before we say so. */
static bool publish(struct trace_writer *writer)
{
	int closed;

	if (fsync(writer->file))
		return fail_io(writer, "write");
	closed = close(writer->file);
	writer->file = -1;
	if (closed)
		return fail_io(writer, "write");
	if (rename(writer->aside, writer->path))
		return fail_io(writer, "create");
	g_autofree char *folder = g_path_get_dirname(writer->path);
	int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0) {
		fsync(dir);
		close(dir);
	}
	return true;
}

bool trace_writer_finish(struct trace_writer *writer, struct trace_meta *meta, GError **error)
{
	bool good = flush_section(writer, &writer->start) &&
		    flush_section(writer, &writer->events) &&
		    flush_stream(writer, &writer->attachments, true) &&
		    flush_stream(writer, &writer->strings, true) && put_tasks(writer) &&
		    put_meta(writer, meta) && put_all_waiting(writer) && put_index(writer) &&
		    publish(writer);
	if (!good) {
		report(writer, error);
		trace_writer_abort(writer);
		return false;
	}
	writer_free(writer);
	return true;
}
