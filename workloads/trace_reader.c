#include "workloads/trace.h"
#include "workloads/trace_columns.h"
#include "workloads/trace_format.h"
#include "workloads/trace_meta.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

/* Where a section is being read: one block, decompressed, and one batch of it, decoded. */
struct section {
	uint8_t type;
	GArray *blocks;	  /* numbers of its blocks in the file's order (uint32_t) */
	guint next_block; /* in blocks */
	uint8_t *raw;
	size_t raw_room;
	struct trace_decoder *decoder;
	bool in_block;
	uint64_t next; /* number of the event behind the batch */
	struct event *batch;
	unsigned used, filled;
};

struct trace_reader {
	char *path;
	int file;
	uint64_t bytes;
	uint64_t index_offset;
	GArray *blocks; /* struct trace_block */
	ZSTD_DCtx *zstd;
	uint8_t *stored;
	size_t stored_room;
	struct section start, events;
	GArray *most_time; /* uint64_t an event block: the greatest time in it or before it */
	GByteArray *string_bytes;
	GArray *string_at; /* uint32_t offsets in string_bytes, from id 1 on */
	GHashTable *tasks; /* number -> char * */
	struct trace_meta *meta;
	GPtrArray *attachments;
	char *sha256;
};

/* ---- errors ---- */

static bool fail_at(const struct trace_reader *reader, GError **error, const char *what,
		    uint64_t byte, const char *why)
{
	trace_error_set(error, TRACE_ERROR_FORMAT, "%s: %s at byte %" G_GUINT64_FORMAT ": %s",
			reader->path, what, byte, why);
	return false;
}

static bool fail_block(const struct trace_reader *reader, GError **error, guint number,
		       const char *why)
{
	const struct trace_block *block =
		&g_array_index(reader->blocks, struct trace_block, number);
	trace_error_set(error, TRACE_ERROR_FORMAT, "%s: block %u at byte %" G_GUINT64_FORMAT ": %s",
			reader->path, number, block->offset, why);
	return false;
}

/* Puts the place in front of a reason that knows none. */
static bool place_error(const struct trace_reader *reader, GError **error, guint number)
{
	const struct trace_block *block =
		&g_array_index(reader->blocks, struct trace_block, number);
	g_prefix_error(error, "trace error: %s: block %u at byte %" G_GUINT64_FORMAT ": ",
		       reader->path, number, block->offset);
	return false;
}

/* ---- bytes from the file ---- */

static bool get_bytes(const struct trace_reader *reader, uint64_t offset, void *out, size_t count,
		      GError **error)
{
	char *at = out;
	while (count) {
		ssize_t done = pread(reader->file, at, count, (off_t)offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0) {
			trace_error_set(error, TRACE_ERROR_IO, "%s: cannot read: %s", reader->path,
					g_strerror(errno));
			return false;
		}
		if (done == 0)
			return fail_at(reader, error, "data", offset,
				       "the file was cut off while it was read");
		at += done;
		offset += (size_t)done;
		count -= (size_t)done;
	}
	return true;
}

static void make_room(uint8_t **buffer, size_t *room, size_t bytes)
{
	if (bytes <= *room)
		return;
	g_free(*buffer);
	*buffer = g_malloc(bytes);
	*room = bytes;
}

/* Reads, checks and decompresses a block. The header was checked with the index; it is read again
 * because the two copies must agree. */
static bool load_block(struct trace_reader *reader, guint number, uint8_t **raw, size_t *raw_room,
		       GError **error)
{
	const struct trace_block *block =
		&g_array_index(reader->blocks, struct trace_block, number);
	uint8_t expected[TRACE_BLOCK_BYTES];
	size_t stored = block->stored_bytes;

	make_room(&reader->stored, &reader->stored_room, TRACE_BLOCK_BYTES + stored);
	if (!get_bytes(reader, block->offset, reader->stored, TRACE_BLOCK_BYTES + stored, error))
		return false;
	trace_block_pack(expected, block);
	if (memcmp(expected, reader->stored, TRACE_BLOCK_BYTES))
		return fail_block(reader, error, number,
				  "its header and the index contradict each other (file damaged)");
	const uint8_t *payload = reader->stored + TRACE_BLOCK_BYTES;
	if (XXH64(payload, stored, 0) != block->payload_hash)
		return fail_block(reader, error, number, "checksum differs (file damaged)");
	if (ZSTD_getFrameContentSize(payload, stored) != block->raw_bytes)
		return fail_block(reader, error, number,
				  "its sizes contradict each other (file damaged)");
	make_room(raw, raw_room, block->raw_bytes + TRACE_RAW_SLACK);
	size_t got = ZSTD_decompressDCtx(reader->zstd, *raw, block->raw_bytes, payload, stored);
	if (ZSTD_isError(got) || got != block->raw_bytes)
		return fail_block(reader, error, number,
				  "it cannot be decompressed (file damaged)");
	memset(*raw + got, 0, TRACE_RAW_SLACK);
	return true;
}

/* ---- the index ---- */

static bool open_ends(struct trace_reader *reader, GError **error)
{
	uint8_t header[TRACE_HEADER_BYTES], trailer[TRACE_TRAILER_BYTES];
	const uint64_t least = TRACE_HEADER_BYTES + TRACE_BLOCK_BYTES + TRACE_TRAILER_BYTES;
	uint32_t future;

	if (reader->bytes < TRACE_HEADER_BYTES)
		return fail_at(reader, error, "header", 0,
			       reader->bytes ? "the file ends in it" : "the file is empty");
	if (!get_bytes(reader, 0, header, sizeof(header), error))
		return false;
	const char *why = trace_header_check(header, &future);
	if (future) {
		trace_error_set(
			error, TRACE_ERROR_FORMAT,
			"%s: header at byte 8: format version %u, this program reads version %d: "
			"written by a newer kmemlab",
			reader->path, future, TRACE_VERSION);
		return false;
	}
	if (why)
		return fail_at(reader, error, "header", 0, why);
	if (reader->bytes < least)
		return fail_at(reader, error, "end", reader->bytes, "the file is cut off");
	uint64_t at = reader->bytes - TRACE_TRAILER_BYTES;
	if (!get_bytes(reader, at, trailer, sizeof(trailer), error))
		return false;
	why = trace_trailer_check(trailer, reader->bytes, &reader->index_offset);
	return !why || fail_at(reader, error, "end", at, why);
}

/* Appends the block of an index entry; blocks stand side by side from the header to the index. */
static bool add_entry(struct trace_reader *reader, const uint8_t *entry, uint64_t *offset,
		      GError **error)
{
	struct trace_block block = { .offset = trace_get64(entry) };
	const char *why = trace_block_unpack(entry + 8, &block);

	g_array_append_val(reader->blocks, block);
	guint number = reader->blocks->len - 1;
	if (why)
		return fail_block(reader, error, number, why);
	if (block.type == TRACE_BLOCK_INDEX || block.offset != *offset ||
	    reader->index_offset - *offset < TRACE_BLOCK_BYTES + (uint64_t)block.stored_bytes)
		return fail_block(reader, error, number, "the index is wrong about it");
	*offset += TRACE_BLOCK_BYTES + (uint64_t)block.stored_bytes;
	return true;
}

static bool load_index(struct trace_reader *reader, uint8_t **raw, size_t *room, GError **error)
{
	uint8_t header[TRACE_BLOCK_BYTES];
	struct trace_block index = { .offset = reader->index_offset };
	uint64_t room_for_it = reader->bytes - TRACE_TRAILER_BYTES - reader->index_offset;

	if (!get_bytes(reader, reader->index_offset, header, sizeof(header), error))
		return false;
	const char *why = trace_block_unpack(header, &index);
	if (!why && (index.type != TRACE_BLOCK_INDEX ||
		     room_for_it != TRACE_BLOCK_BYTES + (uint64_t)index.stored_bytes ||
		     index.raw_bytes % TRACE_INDEX_ENTRY_BYTES))
		why = "it is no index of this file";
	if (why)
		return fail_at(reader, error, "index", reader->index_offset, why);
	/* For the time of its loading the index is block 0 of a list of its own. */
	g_array_append_val(reader->blocks, index);
	bool good = load_block(reader, 0, raw, room, error);
	g_array_set_size(reader->blocks, 0);
	if (!good)
		return false;
	uint64_t offset = TRACE_HEADER_BYTES;
	for (uint32_t at = 0; at < index.raw_bytes; at += TRACE_INDEX_ENTRY_BYTES)
		if (!add_entry(reader, *raw + at, &offset, error))
			return false;
	return offset == reader->index_offset ||
	       fail_at(reader, error, "index", reader->index_offset, "it lacks blocks of the file");
}

/* Sorts the blocks of events into their sections and checks that none is missing. */
static bool sort_sections(struct trace_reader *reader, GError **error)
{
	uint64_t most = 0, next[2] = { 0, 0 };

	for (guint i = 0; i < reader->blocks->len; i++) {
		const struct trace_block *block =
			&g_array_index(reader->blocks, struct trace_block, i);
		if (block->count == 0)
			continue;
		bool start = block->type == TRACE_BLOCK_START;
		struct section *section = start ? &reader->start : &reader->events;
		if (block->number != next[start])
			return fail_block(reader, error, i, "events are missing before it");
		next[start] += block->count;
		g_array_append_val(section->blocks, i);
		if (!start) {
			most = MAX(most, block->time_most);
			g_array_append_val(reader->most_time, most);
		}
	}
	reader->start.next = reader->events.next = 0;
	return true;
}

/* ---- streams ---- */

/* Returns all bytes of the blocks of one type. */
static GByteArray *load_stream(struct trace_reader *reader, uint8_t type, GError **error)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	g_autofree uint8_t *raw = NULL;
	size_t room = 0;

	for (guint i = 0; i < reader->blocks->len; i++) {
		const struct trace_block *block =
			&g_array_index(reader->blocks, struct trace_block, i);
		if (block->type != type)
			continue;
		if (block->number != bytes->len ||
		    bytes->len + (uint64_t)block->raw_bytes > TRACE_STREAM_LIMIT) {
			fail_block(reader, error, i, "it does not follow the one before it");
			return NULL;
		}
		if (!load_block(reader, i, &raw, &room, error))
			return NULL;
		g_byte_array_append(bytes, raw, block->raw_bytes);
	}
	return g_steal_pointer(&bytes);
}

/* A place in a stream; a read beyond its end sets failed. */
struct scan {
	const uint8_t *at, *end;
	bool failed;
};

static const uint8_t *scan_bytes(struct scan *scan, uint64_t count)
{
	const uint8_t *at = scan->at;
	if (scan->failed || (uint64_t)(scan->end - at) < count) {
		scan->failed = true;
		return NULL;
	}
	scan->at += count;
	return at;
}

static uint32_t scan32(struct scan *scan)
{
	const uint8_t *at = scan_bytes(scan, 4);
	return at ? trace_get32(at) : 0;
}

static uint64_t scan64(struct scan *scan)
{
	const uint8_t *at = scan_bytes(scan, 8);
	return at ? trace_get64(at) : 0;
}

static char *scan_text(struct scan *scan)
{
	uint32_t length = scan32(scan);
	const uint8_t *at = scan_bytes(scan, length);
	return at ? g_strndup((const char *)at, length) : NULL;
}

static bool fail_stream(const struct trace_reader *reader, GError **error, uint8_t type)
{
	for (guint i = 0; i < reader->blocks->len; i++)
		if (g_array_index(reader->blocks, struct trace_block, i).type == type)
			return fail_block(reader, error, i, "its content is cut off");
	return fail_at(reader, error, trace_block_type_name(type), 0, "missing");
}

/* Strings stay where they are in the stream: the length of the next one is overwritten by the end
 * mark of the one before. */
static bool load_strings(struct trace_reader *reader, GError **error)
{
	GByteArray *bytes = load_stream(reader, TRACE_BLOCK_STRINGS, error);
	if (!bytes)
		return false;
	reader->string_bytes = bytes;
	static const uint8_t end_mark;
	g_byte_array_append(bytes, &end_mark, 1);
	struct scan scan = { bytes->data, bytes->data + bytes->len - 1, false };
	while (scan.at < scan.end && !scan.failed) {
		uint32_t length = scan32(&scan);
		uint32_t at = (uint32_t)(scan.at - bytes->data);
		if (length > TRACE_STRING_LIMIT || !scan_bytes(&scan, length))
			return fail_stream(reader, error, TRACE_BLOCK_STRINGS);
		bytes->data[at - 4] = 0;
		g_array_append_val(reader->string_at, at);
	}
	return !scan.failed || fail_stream(reader, error, TRACE_BLOCK_STRINGS);
}

static bool load_tasks(struct trace_reader *reader, GError **error)
{
	g_autoptr(GByteArray) bytes = load_stream(reader, TRACE_BLOCK_TASKS, error);
	if (!bytes)
		return false;
	/* Without tasks there is no data at all. */
	struct scan scan = { bytes->data, bytes->len ? bytes->data + bytes->len : bytes->data,
			     false };
	while (scan.at < scan.end && !scan.failed) {
		uint32_t task = scan32(&scan);
		char *name = scan_text(&scan);
		if (name)
			g_hash_table_insert(reader->tasks, GUINT_TO_POINTER(task), name);
	}
	return !scan.failed || fail_stream(reader, error, TRACE_BLOCK_TASKS);
}

static void attachment_free(gpointer data)
{
	struct trace_attachment *attachment = data;
	g_free(attachment->name);
	g_bytes_unref(attachment->bytes);
	g_free(attachment);
}

const GPtrArray *trace_reader_attachments(struct trace_reader *reader, GError **error)
{
	if (reader->attachments)
		return reader->attachments;
	GByteArray *bytes = load_stream(reader, TRACE_BLOCK_ATTACHMENTS, error);
	if (!bytes)
		return NULL;
	g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(attachment_free);
	g_autoptr(GBytes) all = g_byte_array_free_to_bytes(bytes);
	gsize size;
	const uint8_t *data = g_bytes_get_data(all, &size);
	struct scan scan = { data, data ? data + size : NULL, false };
	while (scan.at < scan.end && !scan.failed) {
		char *name = scan_text(&scan);
		uint64_t time_ns = scan64(&scan), event = scan64(&scan), length = scan64(&scan);
		const uint8_t *at = scan_bytes(&scan, length);
		if (!at) {
			g_free(name);
			break;
		}
		struct trace_attachment *attachment = g_new(struct trace_attachment, 1);
		*attachment =
			(struct trace_attachment){ name, time_ns, event,
						   g_bytes_new_from_bytes(all, (gsize)(at - data),
									  (gsize)length) };
		g_ptr_array_add(list, attachment);
	}
	if (scan.failed) {
		fail_stream(reader, error, TRACE_BLOCK_ATTACHMENTS);
		return NULL;
	}
	reader->attachments = g_steal_pointer(&list);
	return reader->attachments;
}

static uint64_t events_in(const struct trace_reader *reader, const struct section *section)
{
	uint64_t count = 0;
	for (guint i = 0; i < section->blocks->len; i++)
		count += g_array_index(reader->blocks, struct trace_block,
				       g_array_index(section->blocks, guint, i))
				 .count;
	return count;
}

static bool load_meta(struct trace_reader *reader, GError **error)
{
	g_autoptr(GByteArray) bytes = load_stream(reader, TRACE_BLOCK_META, error);
	if (!bytes)
		return false;
	if (bytes->len == 0)
		return fail_stream(reader, error, TRACE_BLOCK_META);
	reader->meta = trace_meta_from_json((const char *)bytes->data, bytes->len, error);
	if (reader->meta && (reader->meta->events != events_in(reader, &reader->events) ||
			     reader->meta->prologue != events_in(reader, &reader->start))) {
		trace_error_set(error, TRACE_ERROR_FORMAT,
				"meta: another number of events than in the file");
		trace_meta_free(g_steal_pointer(&reader->meta));
	}
	if (reader->meta)
		return true;
	for (guint i = 0; i < reader->blocks->len; i++)
		if (g_array_index(reader->blocks, struct trace_block, i).type == TRACE_BLOCK_META)
			return place_error(reader, error, i);
	return false;
}

/* ---- life ---- */

static void init_section(struct section *section, uint8_t type)
{
	section->type = type;
	section->blocks = g_array_new(FALSE, FALSE, sizeof(guint));
}

static void fini_section(struct section *section)
{
	g_array_free(section->blocks, TRUE);
	g_free(section->batch);
	g_free(section->raw);
	if (section->decoder)
		trace_decoder_free(section->decoder);
}

void trace_reader_free(struct trace_reader *reader)
{
	if (!reader)
		return;
	if (reader->file >= 0)
		close(reader->file);
	g_free(reader->path);
	g_array_free(reader->blocks, TRUE);
	ZSTD_freeDCtx(reader->zstd);
	g_free(reader->stored);
	fini_section(&reader->start);
	fini_section(&reader->events);
	g_array_free(reader->most_time, TRUE);
	if (reader->string_bytes)
		g_byte_array_free(reader->string_bytes, TRUE);
	g_array_free(reader->string_at, TRUE);
	g_hash_table_unref(reader->tasks);
	trace_meta_free(reader->meta);
	if (reader->attachments)
		g_ptr_array_unref(reader->attachments);
	g_free(reader->sha256);
	g_free(reader);
}

static bool open_file(struct trace_reader *reader, GError **error)
{
	struct stat status;

	reader->file = open(reader->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (reader->file < 0 || fstat(reader->file, &status)) {
		trace_error_set(error, TRACE_ERROR_IO, "%s: cannot open: %s", reader->path,
				g_strerror(errno));
		return false;
	}
	if (!S_ISREG(status.st_mode)) {
		trace_error_set(error, TRACE_ERROR_IO, "%s: not a regular file", reader->path);
		return false;
	}
	reader->bytes = (uint64_t)status.st_size;
	return true;
}

static bool load_all(struct trace_reader *reader, GError **error)
{
	g_autofree uint8_t *raw = NULL;
	size_t room = 0;
	return open_file(reader, error) && open_ends(reader, error) &&
	       load_index(reader, &raw, &room, error) && sort_sections(reader, error) &&
	       load_strings(reader, error) && load_tasks(reader, error) && load_meta(reader, error);
}

struct trace_reader *trace_reader_open(const char *path, GError **error)
{
	struct trace_reader *reader = g_new0(struct trace_reader, 1);
	reader->path = g_strdup(path);
	reader->file = -1;
	reader->blocks = g_array_new(FALSE, FALSE, sizeof(struct trace_block));
	reader->most_time = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	reader->string_at = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	reader->tasks = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
	reader->zstd = ZSTD_createDCtx();
	init_section(&reader->start, TRACE_BLOCK_START);
	init_section(&reader->events, TRACE_BLOCK_EVENTS_TYPE);
	if (!load_all(reader, error)) {
		trace_reader_free(reader);
		return NULL;
	}
	return reader;
}

/* ---- what was loaded ---- */

const struct trace_meta *trace_reader_meta(const struct trace_reader *reader)
{
	return reader->meta;
}

const char *trace_reader_string(const struct trace_reader *reader, uint32_t id)
{
	if (id == 0 || id > reader->string_at->len)
		return NULL;
	return (const char *)reader->string_bytes->data +
	       g_array_index(reader->string_at, uint32_t, id - 1);
}

const char *trace_reader_task(const struct trace_reader *reader, uint32_t task)
{
	return g_hash_table_lookup(reader->tasks, GUINT_TO_POINTER(task));
}

static int compare_tasks(gconstpointer a, gconstpointer b)
{
	guint left = GPOINTER_TO_UINT(a), right = GPOINTER_TO_UINT(b);
	return left < right ? -1 : left > right;
}

void trace_reader_each_task(const struct trace_reader *reader,
			    void (*visit)(uint32_t task, const char *name, void *data), void *data)
{
	GList *tasks = g_list_sort(g_hash_table_get_keys(reader->tasks), compare_tasks);
	for (GList *at = tasks; at; at = at->next)
		visit(GPOINTER_TO_UINT(at->data), g_hash_table_lookup(reader->tasks, at->data),
		      data);
	g_list_free(tasks);
}

const char *trace_reader_path(const struct trace_reader *reader)
{
	return reader->path;
}

const char *trace_reader_sha256(struct trace_reader *reader, GError **error)
{
	enum { PIECE = 1 << 16 };
	if (reader->sha256)
		return reader->sha256;
	g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
	g_autofree uint8_t *piece = g_malloc(PIECE);
	for (uint64_t at = 0; at < reader->bytes;) {
		size_t some = MIN(reader->bytes - at, (uint64_t)PIECE);
		if (!get_bytes(reader, at, piece, some, error))
			return NULL;
		g_checksum_update(checksum, piece, (gssize)some);
		at += some;
	}
	reader->sha256 = g_strdup(g_checksum_get_string(checksum));
	return reader->sha256;
}

/* ---- events ---- */

static guint block_of(const struct section *section, guint i)
{
	return g_array_index(section->blocks, guint, i);
}

static bool enter_block(struct trace_reader *reader, struct section *section, GError **error)
{
	guint number = block_of(section, section->next_block);
	const struct trace_block *block =
		&g_array_index(reader->blocks, struct trace_block, number);

	if (!section->decoder) {
		section->decoder = trace_decoder_new();
		section->batch = g_new(struct event, TRACE_BATCH);
	}
	section->in_block = false;
	section->used = section->filled = 0;
	if (!load_block(reader, number, &section->raw, &section->raw_room, error))
		return false;
	if (!trace_decoder_start(section->decoder, section->raw, block->raw_bytes, block->count,
				 error))
		return place_error(reader, error, number);
	section->in_block = true;
	section->next_block++;
	section->next = block->number;
	return true;
}

/* Decodes the next batch. Returns its size, 0 at the end, -1 with error. */
static int fill(struct trace_reader *reader, struct section *section, GError **error)
{
	for (;;) {
		section->used = section->filled = 0;
		if (section->in_block) {
			int got = trace_decoder_next(section->decoder, section->batch, error);
			if (got < 0) {
				section->in_block = false;
				place_error(reader, error,
					    block_of(section, section->next_block - 1));
				return -1;
			}
			section->filled = (unsigned)got;
			section->next += section->filled;
			if (got)
				return got;
			section->in_block = false;
		}
		if (section->next_block == section->blocks->len)
			return 0;
		if (!enter_block(reader, section, error))
			return -1;
	}
}

static int next(struct trace_reader *reader, struct section *section, struct event *out,
		GError **error)
{
	if (section->used == section->filled) {
		int got = fill(reader, section, error);
		if (got <= 0)
			return got;
	}
	*out = section->batch[section->used++];
	return 1;
}

int trace_reader_next_start(struct trace_reader *reader, struct event *out, GError **error)
{
	return next(reader, &reader->start, out, error);
}

int trace_reader_next(struct trace_reader *reader, struct event *out, GError **error)
{
	return next(reader, &reader->events, out, error);
}

int trace_reader_next_block(struct trace_reader *reader, const struct event **out, GError **error)
{
	struct section *section = &reader->events;
	if (section->used == section->filled) {
		int got = fill(reader, section, error);
		if (got <= 0)
			return got;
	}
	*out = section->batch + section->used;
	int count = (int)(section->filled - section->used);
	section->used = section->filled;
	return count;
}

bool trace_reader_at_block_end(const struct trace_reader *reader)
{
	const struct section *section = &reader->events;

	if (section->used < section->filled)
		return false;
	if (!section->in_block)
		return true;
	const struct trace_block *block = &g_array_index(
		reader->blocks, struct trace_block, block_of(section, section->next_block - 1));
	return section->next == block->number + block->count;
}

/* ---- seeking ---- */

static void go_to(struct section *section, guint block)
{
	section->in_block = false;
	section->used = section->filled = 0;
	section->next_block = block;
}

bool trace_reader_seek_event(struct trace_reader *reader, uint64_t event, GError **error)
{
	struct section *section = &reader->events;
	guint low = 0, high = section->blocks->len;

	if (event >= reader->meta->events) {
		go_to(section, section->blocks->len);
		return true;
	}
	/* The last block whose first event is not behind the one wanted. */
	while (high - low > 1) {
		guint middle = low + (high - low) / 2;
		const struct trace_block *block = &g_array_index(reader->blocks, struct trace_block,
								 block_of(section, middle));
		if (block->number <= event)
			low = middle;
		else
			high = middle;
	}
	section->next_block = low;
	if (!enter_block(reader, section, error))
		return false;
	while (section->next <= event)
		if (fill(reader, section, error) < 0)
			return false;
	section->used = section->filled - (unsigned)(section->next - event);
	return true;
}

bool trace_reader_seek_time(struct trace_reader *reader, uint64_t time_ns, GError **error)
{
	struct section *section = &reader->events;
	guint low = 0, high = section->blocks->len;

	/* The first block that holds such a time: the running maximum never decreases. */
	while (low < high) {
		guint middle = low + (high - low) / 2;
		if (g_array_index(reader->most_time, uint64_t, middle) < time_ns)
			low = middle + 1;
		else
			high = middle;
	}
	go_to(section, low);
	for (;;) {
		int got = fill(reader, section, error);
		if (got <= 0)
			return got == 0;
		while (section->used < section->filled &&
		       section->batch[section->used].time_ns < time_ns)
			section->used++;
		if (section->used < section->filled)
			return true;
	}
}

void trace_reader_rewind(struct trace_reader *reader)
{
	go_to(&reader->start, 0);
	go_to(&reader->events, 0);
}
