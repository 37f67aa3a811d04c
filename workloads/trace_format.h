/*
 * trace_format.h - the skeleton of a .kmt file: header, blocks, trailer (workloads/FORMAT.md).
 *
 * Internal to the reader, the writer and their tests. Everything is little-endian whatever the
 * host.
 */
#ifndef KMEMLAB_WORKLOADS_TRACE_FORMAT_H
#define KMEMLAB_WORKLOADS_TRACE_FORMAT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
	TRACE_VERSION = 1,
	TRACE_HEADER_BYTES = 32,
	TRACE_TRAILER_BYTES = 32,
	TRACE_BLOCK_BYTES = 64,				 /* a block's header */
	TRACE_INDEX_ENTRY_BYTES = 8 + TRACE_BLOCK_BYTES, /* offset, copy of the header */
	/* Hard limits, which a reader checks before it allocates. */
	TRACE_BLOCK_EVENTS = 64 << 10,
	TRACE_RAW_LIMIT = 8 << 20,    /* bytes of a block, decompressed */
	TRACE_STORED_LIMIT = 9 << 20, /* and compressed: zstd adds less than 1 % at worst */
	/* Where a writer cuts. While so many events are encoded they stay in the host's L2 cache:
	 * four times as many make a file a fifteenth smaller, and writing it a tenth slower. */
	TRACE_FULL_BLOCK = 16 << 10,   /* events */
	TRACE_STREAM_CHUNK = 4 << 20,  /* bytes of streams */
	TRACE_STRING_LIMIT = 16 << 20, /* bytes of one string */
};

/* Bytes of all blocks of a stream together, decompressed. */
#define TRACE_STREAM_LIMIT (UINT64_C(1) << 30)

enum trace_block_type {
	TRACE_BLOCK_NONE = 0,
	TRACE_BLOCK_START,	 /* columns: the start section */
	TRACE_BLOCK_EVENTS_TYPE, /* columns: the events */
	TRACE_BLOCK_ATTACHMENTS, /* streams of bytes, cut into blocks anywhere */
	TRACE_BLOCK_STRINGS,
	TRACE_BLOCK_TASKS,
	TRACE_BLOCK_META,
	TRACE_BLOCK_INDEX,
	TRACE_BLOCK_TYPES
};

struct trace_block {
	uint64_t offset; /* of its header in the file; not part of the header */
	uint8_t type;	 /* enum trace_block_type */
	uint64_t number; /* first event of the block in its section, or first byte in its stream */
	uint64_t time_first, time_most; /* of the first event; the greatest. 0 in streams */
	uint32_t count;			/* events; 0 in streams */
	uint32_t raw_bytes, stored_bytes;
	uint64_t payload_hash; /* XXH64 of the stored bytes */
};

/* Unaligned little-endian access. */
static inline uint16_t trace_get16(const uint8_t *at)
{
	uint16_t value;
	memcpy(&value, at, sizeof(value));
	return GUINT16_FROM_LE(value);
}

static inline uint32_t trace_get32(const uint8_t *at)
{
	uint32_t value;
	memcpy(&value, at, sizeof(value));
	return GUINT32_FROM_LE(value);
}

static inline uint64_t trace_get64(const uint8_t *at)
{
	uint64_t value;
	memcpy(&value, at, sizeof(value));
	return GUINT64_FROM_LE(value);
}

static inline void trace_put32(uint8_t *at, uint32_t value)
{
	value = GUINT32_TO_LE(value);
	memcpy(at, &value, sizeof(value));
}

static inline void trace_put64(uint8_t *at, uint64_t value)
{
	value = GUINT64_TO_LE(value);
	memcpy(at, &value, sizeof(value));
}

void trace_header_pack(uint8_t out[TRACE_HEADER_BYTES]);
/* Returns NULL if the bytes are a header of this version, else what is wrong. *future is the
 * version if it is a later one, else 0. */
const char *trace_header_check(const uint8_t in[TRACE_HEADER_BYTES], uint32_t *future);

void trace_trailer_pack(uint8_t out[TRACE_TRAILER_BYTES], uint64_t index_offset,
			uint64_t file_bytes);
const char *trace_trailer_check(const uint8_t in[TRACE_TRAILER_BYTES], uint64_t file_bytes,
				uint64_t *index_offset);

void trace_block_pack(uint8_t out[TRACE_BLOCK_BYTES], const struct trace_block *block);
/* Returns NULL if the bytes are a block's header within the limits, else what is wrong. */
const char *trace_block_unpack(const uint8_t in[TRACE_BLOCK_BYTES], struct trace_block *block);

const char *trace_block_type_name(uint8_t type);

#endif
