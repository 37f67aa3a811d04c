#include "tests/fuzz/kmt_reseal.h"
#include "workloads/trace_format.h"

#include <string.h>
#include <xxhash.h>
#include <zstd.h>

/* Reads what a block's header says without judging it. Returns whether one stands there whole. */
static gboolean peek(const GByteArray *file, guint at, guint *stored)
{
	if (file->len < at + TRACE_BLOCK_BYTES || memcmp(file->data + at, "KMTB", 4) ||
	    file->data[at + 4] == TRACE_BLOCK_INDEX)
		return FALSE;
	*stored = trace_get32(file->data + at + 40);
	return *stored <= file->len - at - TRACE_BLOCK_BYTES;
}

static void seal(uint8_t *bytes, gsize count)
{
	trace_put64(bytes + count - 8, XXH64(bytes, count - 8, 0));
}

static void append_block(GByteArray *file, uint8_t type, const GByteArray *raw)
{
	uint8_t header[TRACE_BLOCK_BYTES];
	gsize room = ZSTD_compressBound(raw->len);
	g_autofree uint8_t *stored = g_malloc(room);
	struct trace_block block = { .type = type, .raw_bytes = raw->len };
	block.stored_bytes = (uint32_t)ZSTD_compress(stored, room, raw->data, raw->len, 1);
	block.payload_hash = XXH64(stored, block.stored_bytes, 0);
	trace_block_pack(header, &block);
	g_byte_array_append(file, header, sizeof(header));
	g_byte_array_append(file, stored, block.stored_bytes);
}

void kmt_reseal(GByteArray *file)
{
	g_autoptr(GByteArray) index = g_byte_array_new();
	uint8_t trailer[TRACE_TRAILER_BYTES], offset[8];
	guint at = TRACE_HEADER_BYTES, stored;

	if (file->len < at)
		g_byte_array_set_size(file, at);
	trace_header_pack(file->data);
	for (; peek(file, at, &stored); at += TRACE_BLOCK_BYTES + stored) {
		uint8_t *header = file->data + at;
		trace_put64(header + 48, XXH64(header + TRACE_BLOCK_BYTES, stored, 0));
		seal(header, TRACE_BLOCK_BYTES);
		trace_put64(offset, at);
		g_byte_array_append(index, offset, sizeof(offset));
		g_byte_array_append(index, header, TRACE_BLOCK_BYTES);
	}
	g_byte_array_set_size(file, at);
	append_block(file, TRACE_BLOCK_INDEX, index);
	trace_trailer_pack(trailer, at, file->len + sizeof(trailer));
	g_byte_array_append(file, trailer, sizeof(trailer));
}

gboolean kmt_change_payload(GByteArray *file, guint number, void (*change)(GByteArray *, void *),
			    void *data)
{
	guint at = TRACE_HEADER_BYTES, stored = 0;

	while (peek(file, at, &stored) && number--)
		at += TRACE_BLOCK_BYTES + stored;
	if (!peek(file, at, &stored))
		return FALSE;
	uint8_t *payload = file->data + at + TRACE_BLOCK_BYTES;
	unsigned long long size = ZSTD_getFrameContentSize(payload, stored);
	if (size > TRACE_RAW_LIMIT)
		return FALSE;
	g_autoptr(GByteArray) raw = g_byte_array_new(), packed = g_byte_array_new();
	g_byte_array_set_size(raw, (guint)size);
	if (ZSTD_isError(ZSTD_decompress(raw->data, size, payload, stored)))
		return FALSE;
	change(raw, data);
	g_byte_array_set_size(packed, (guint)ZSTD_compressBound(raw->len));
	g_byte_array_set_size(
		packed, (guint)ZSTD_compress(packed->data, packed->len, raw->data, raw->len, 1));
	g_autofree uint8_t *tail =
		g_memdup2(payload + stored, file->len - at - TRACE_BLOCK_BYTES - stored);
	gsize tail_bytes = file->len - at - TRACE_BLOCK_BYTES - stored;
	trace_put32(file->data + at + 36, raw->len);
	trace_put32(file->data + at + 40, packed->len);
	g_byte_array_set_size(file, at + TRACE_BLOCK_BYTES);
	g_byte_array_append(file, packed->data, packed->len);
	g_byte_array_append(file, tail, (guint)tail_bytes);
	return TRUE;
}
