#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include "workloads/import/trace_dat_file.h"

/* The pages of a trace.dat: as they are in the file, or in chunks that are decompressed one by one,
 * so that memory grows with CPUs, not with the recording. */

#define CPU_LIMIT    UINT16_MAX
#define CHUNK_LIMIT  (UINT32_C(16) << 20) /* trace-cmd writes 10 pages a chunk */
#define MEMORY_LIMIT (UINT64_C(1) << 30)
#define READ_BYTES   65536

/* ---- finding them ---- */

/* Goes along the chunks: how many bytes of pages there are, and how large the largest is. */
static bool measure_chunks(struct trace_dat *dat, struct trace_dat_data *data)
{
	unsigned char head[8];
	uint64_t at = data->at + 4;

	if (dat->compression == TRACE_DAT_PLAIN)
		return trace_dat_fail(dat, data->at,
				      "compressed data in a file without compression");
	if (!trace_dat_read(dat, data->at, head, 4))
		return false;
	data->chunks = trace_dat_u32(dat, head);
	/* The number of chunks is not counted among their bytes. */
	data->bytes = MIN(data->bytes + 4, dat->bytes - data->at);
	data->page_bytes = 0;
	data->next_at = at;
	uint64_t end = data->at + data->bytes;
	for (uint32_t i = 0; i < data->chunks; i++) {
		if (end - at < sizeof head)
			return trace_dat_fail(dat, at, "chunk %u of %u lies behind its CPU's data",
					      i + 1, data->chunks);
		if (!trace_dat_read(dat, at, head, sizeof head))
			return false;
		uint32_t in = trace_dat_u32(dat, head), out = trace_dat_u32(dat, head + 4);
		if (in > end - at - sizeof head || in > CHUNK_LIMIT || out > CHUNK_LIMIT)
			return trace_dat_fail(dat, at,
					      "a chunk of %u bytes, %u of them compressed, which "
					      "goes on behind its CPU's data or is absurd",
					      out, in);
		at += sizeof head + in;
		data->page_bytes += out;
		data->chunk_bytes = MAX(data->chunk_bytes, in);
		data->room_bytes = MAX(data->room_bytes, out);
	}
	return true;
}

bool trace_dat_add_data(struct trace_dat *dat, uint64_t at, uint32_t cpu, uint64_t offset,
			uint64_t bytes, bool compressed)
{
	struct ring_stream stream = { .cpu = (uint16_t)cpu };
	struct trace_dat_data data = { .at = offset,
				       .bytes = bytes,
				       .next_at = offset,
				       .page_bytes = bytes,
				       .offset = offset };

	if (cpu >= CPU_LIMIT)
		return trace_dat_fail(dat, at, "CPU %u", cpu);
	if (bytes == 0)
		return true;
	if (offset > dat->bytes || bytes > dat->bytes - offset)
		return trace_dat_fail(
			dat, at,
			"the data of CPU %u (%" G_GUINT64_FORMAT " bytes at byte %" G_GUINT64_FORMAT
			") go on behind the end of the file at byte %" G_GUINT64_FORMAT,
			cpu, bytes, offset, dat->bytes);
	data.compressed = compressed;
	if (compressed && !measure_chunks(dat, &data))
		return false;
	g_array_append_val(dat->data, data);
	g_array_append_val(dat->streams, stream);
	return true;
}

static gint by_place(gconstpointer left, gconstpointer right)
{
	uint64_t a = (*(const struct trace_dat_data *const *)left)->at;
	uint64_t b = (*(const struct trace_dat_data *const *)right)->at;

	return a < b ? -1 : a > b;
}

static struct trace_dat_data *nth(struct trace_dat *dat, guint index)
{
	return &g_array_index(dat->data, struct trace_dat_data, index);
}

/* Compressed pages are numbered as if they lay behind each other from the first page on. */
static void number_pages(struct trace_dat *dat)
{
	uint64_t next = dat->layout.page_bytes;

	for (guint i = 0; i < dat->data->len; i++) {
		struct trace_dat_data *data = nth(dat, i);
		if (!data->compressed)
			continue;
		data->offset = next;
		next += (data->page_bytes + dat->layout.page_bytes - 1) / dat->layout.page_bytes *
			dat->layout.page_bytes;
	}
}

/* All streams are read side by side. */
static bool check_memory(struct trace_dat *dat)
{
	uint64_t bytes = 0;

	for (guint i = 0; i < dat->data->len; i++) {
		struct trace_dat_data *data = nth(dat, i);
		if (!data->compressed)
			data->room_bytes = (uint32_t)MIN(data->bytes, READ_BYTES);
		bytes += (uint64_t)data->room_bytes + data->chunk_bytes + dat->layout.page_bytes;
	}
	return bytes <= MEMORY_LIMIT ||
	       trace_dat_fail(dat, nth(dat, 0)->at,
			      "reading all CPUs' chunks side by side takes %" G_GUINT64_FORMAT
			      " bytes of memory",
			      bytes);
}

bool trace_dat_check_data(struct trace_dat *dat)
{
	g_autoptr(GPtrArray) sorted = g_ptr_array_new();

	for (guint i = 0; i < dat->data->len; i++) {
		/* The arrays stay where they are from now on. */
		g_array_index(dat->streams, struct ring_stream, i).source = nth(dat, i);
		g_ptr_array_add(sorted, nth(dat, i));
	}
	g_ptr_array_sort(sorted, by_place);
	for (guint i = 1; i < sorted->len; i++) {
		const struct trace_dat_data *before = sorted->pdata[i - 1],
					    *data = sorted->pdata[i];
		if (data->at < before->at + before->bytes)
			return trace_dat_fail(
				dat, data->at,
				"the data of a CPU begin within another's, which goes "
				"up to byte %" G_GUINT64_FORMAT,
				before->at + before->bytes);
	}
	number_pages(dat);
	return check_memory(dat);
}

/* ---- decompressing ---- */

bool trace_dat_decompress(struct trace_dat *dat, const unsigned char *in, size_t in_bytes,
			  unsigned char *out, size_t out_bytes)
{
	uLongf got = out_bytes;

	switch (dat->compression) {
	case TRACE_DAT_ZSTD:
		if (!dat->zstd)
			dat->zstd = ZSTD_createDCtx();
		return ZSTD_decompressDCtx(dat->zstd, out, out_bytes, in, in_bytes) == out_bytes;
	case TRACE_DAT_ZLIB:
		return uncompress(out, &got, in, in_bytes) == Z_OK && got == out_bytes;
	case TRACE_DAT_PLAIN:
		break;
	}
	return false;
}

void trace_dat_free_decompressor(struct trace_dat *dat)
{
	ZSTD_freeDCtx(dat->zstd);
}

void trace_dat_free_data(struct trace_dat_data *data)
{
	g_free(data->chunk);
	g_free(data->room);
	g_free(data->page);
}

/* ---- reading them ---- */

static void make_room(struct trace_dat *dat, struct trace_dat_data *data)
{
	data->room = g_malloc(data->room_bytes + RING_SLACK);
	data->chunk = g_malloc(data->chunk_bytes);
	data->page = g_malloc(dat->layout.page_bytes + RING_SLACK);
}

/* Nothing is left in the file. */
static bool is_read(const struct trace_dat_data *data)
{
	return data->compressed ? data->chunks == 0 : data->next_at == data->at + data->bytes;
}

/* The next chunk, or the next bytes of the file, to data->room. Nothing left: room_end is 0. */
static bool fill_room(struct trace_dat *dat, struct trace_dat_data *data)
{
	unsigned char head[8];
	uint64_t at = data->next_at;

	if (!data->room)
		make_room(dat, data);
	data->room_at = data->room_end = 0;
	if (!data->compressed) {
		uint32_t bytes = (uint32_t)MIN(data->room_bytes, data->at + data->bytes - at);
		data->next_at += bytes;
		data->read += bytes;
		if (!trace_dat_read(dat, at, data->room, bytes))
			return false;
		data->room_end = bytes;
		return true;
	}
	if (data->chunks == 0)
		return true;
	if (!trace_dat_read(dat, at, head, sizeof head))
		return false;
	uint32_t in = trace_dat_u32(dat, head), out = trace_dat_u32(dat, head + 4);
	/* As they were measured, or somebody writes to the file. */
	if (in > data->chunk_bytes || out > data->room_bytes)
		return trace_dat_fail(dat, at, "a chunk that has grown");
	data->chunks--;
	data->next_at += sizeof head + in;
	if (!trace_dat_read(dat, at + sizeof head, data->chunk, in))
		return false;
	data->read += out;
	if (!trace_dat_decompress(dat, data->chunk, in, data->room, out))
		return trace_dat_fail(dat, at, "a chunk of pages that cannot be decompressed");
	data->room_end = out;
	return true;
}

/* The last page may be cut off behind its last event. */
static bool pad_page(struct trace_dat *dat, struct trace_dat_data *data, uint32_t bytes)
{
	struct ring_page page;

	memset(data->page + bytes, 0, dat->layout.page_bytes - bytes);
	return (ring_page_begin(&page, &dat->layout, data->page) && page.end <= bytes) ||
	       trace_dat_fail(dat, data->at,
			      "the last page of the CPU's data here has %u of %u bytes", bytes,
			      dat->layout.page_bytes);
}

/* A page that lies in two chunks, or is the last one. NULL at the end, or with a problem. */
static const unsigned char *join_page(struct trace_dat *dat, struct trace_dat_data *data)
{
	uint32_t got = 0;

	for (;;) {
		uint32_t part = MIN(dat->layout.page_bytes - got, data->room_end - data->room_at);
		if (part > 0)
			memcpy(data->page + got, data->room + data->room_at, part);
		got += part;
		data->room_at += part;
		if (got == dat->layout.page_bytes)
			return data->page;
		if (!fill_room(dat, data))
			return NULL;
		if (data->room_end == 0 && is_read(data))
			return got > 0 && pad_page(dat, data, got) ? data->page : NULL;
	}
}

const unsigned char *trace_dat_next_page(struct trace_dat *dat, struct ring_stream *stream)
{
	struct trace_dat_data *data = stream->source;
	uint32_t page_bytes = dat->layout.page_bytes;

	if (data->room_at == data->room_end && !fill_room(dat, data))
		return NULL;
	stream->page_offset = data->offset + data->read - (data->room_end - data->room_at);
	if (data->room_end - data->room_at < page_bytes)
		return join_page(dat, data);
	const unsigned char *page = data->room + data->room_at;
	data->room_at += page_bytes;
	return page;
}
