#include "workloads/trace_format.h"

#include <string.h>
#include <xxhash.h>

/* As PNG's: a byte above 127, line ends of both kinds and an end-of-file mark show what a transfer
 * as text did to the file. */
static const uint8_t header_magic[8] = { 0x89, 'K', 'M', 'T', '\r', '\n', 0x1a, '\n' };
static const uint8_t trailer_magic[8] = { 'K', 'M', 'T', ' ', 'e', 'n', 'd', '\n' };
static const uint8_t block_magic[4] = { 'K', 'M', 'T', 'B' };

/* The last eight bytes of every fixed part hash what stands before them. */
static void seal(uint8_t *bytes, size_t count)
{
	trace_put64(bytes + count - 8, XXH64(bytes, count - 8, 0));
}

static bool sealed(const uint8_t *bytes, size_t count)
{
	return trace_get64(bytes + count - 8) == XXH64(bytes, count - 8, 0);
}

/* 0 magic, 8 version, 12 bytes of this header, 16 zero, 24 hash. */
void trace_header_pack(uint8_t out[TRACE_HEADER_BYTES])
{
	memset(out, 0, TRACE_HEADER_BYTES);
	memcpy(out, header_magic, sizeof(header_magic));
	trace_put32(out + 8, TRACE_VERSION);
	trace_put32(out + 12, TRACE_HEADER_BYTES);
	seal(out, TRACE_HEADER_BYTES);
}

const char *trace_header_check(const uint8_t in[TRACE_HEADER_BYTES], uint32_t *future)
{
	*future = 0;
	if (memcmp(in, header_magic, sizeof(header_magic)))
		return "not a .kmt trace";
	if (!sealed(in, TRACE_HEADER_BYTES))
		return "the header's checksum differs (file damaged)";
	uint32_t version = trace_get32(in + 8);
	if (version > TRACE_VERSION) {
		*future = version;
		return "written by a newer program";
	}
	if (version != TRACE_VERSION || trace_get32(in + 12) != TRACE_HEADER_BYTES ||
	    trace_get64(in + 16) != 0)
		return "the header contradicts itself";
	return NULL;
}

/* 0 magic, 8 offset of the index block, 16 bytes of the file, 24 hash. */
void trace_trailer_pack(uint8_t out[TRACE_TRAILER_BYTES], uint64_t index_offset,
			uint64_t file_bytes)
{
	memcpy(out, trailer_magic, sizeof(trailer_magic));
	trace_put64(out + 8, index_offset);
	trace_put64(out + 16, file_bytes);
	seal(out, TRACE_TRAILER_BYTES);
}

const char *trace_trailer_check(const uint8_t in[TRACE_TRAILER_BYTES], uint64_t file_bytes,
				uint64_t *index_offset)
{
	if (memcmp(in, trailer_magic, sizeof(trailer_magic)))
		return "no end mark (file cut off, or still being written)";
	if (!sealed(in, TRACE_TRAILER_BYTES))
		return "the end mark's checksum differs (file damaged)";
	if (trace_get64(in + 16) != file_bytes)
		return "the file has another length than it says (file damaged)";
	*index_offset = trace_get64(in + 8);
	if (*index_offset < TRACE_HEADER_BYTES ||
	    *index_offset > file_bytes - TRACE_TRAILER_BYTES - TRACE_BLOCK_BYTES)
		return "the index lies outside the file";
	return NULL;
}

/* 0 magic, 4 type, 5 zero, 8 number, 16 time_first, 24 time_most, 32 count, 36 raw_bytes,
 * 40 stored_bytes, 44 zero, 48 payload_hash, 56 hash. */
void trace_block_pack(uint8_t out[TRACE_BLOCK_BYTES], const struct trace_block *block)
{
	memset(out, 0, TRACE_BLOCK_BYTES);
	memcpy(out, block_magic, sizeof(block_magic));
	out[4] = block->type;
	trace_put64(out + 8, block->number);
	trace_put64(out + 16, block->time_first);
	trace_put64(out + 24, block->time_most);
	trace_put32(out + 32, block->count);
	trace_put32(out + 36, block->raw_bytes);
	trace_put32(out + 40, block->stored_bytes);
	trace_put64(out + 48, block->payload_hash);
	seal(out, TRACE_BLOCK_BYTES);
}

static bool holds_events(const struct trace_block *block)
{
	return block->type == TRACE_BLOCK_START || block->type == TRACE_BLOCK_EVENTS_TYPE;
}

const char *trace_block_unpack(const uint8_t in[TRACE_BLOCK_BYTES], struct trace_block *block)
{
	if (memcmp(in, block_magic, sizeof(block_magic)))
		return "no block begins here (file damaged)";
	if (!sealed(in, TRACE_BLOCK_BYTES))
		return "checksum of the block's header differs (file damaged)";
	block->type = in[4];
	block->number = trace_get64(in + 8);
	block->time_first = trace_get64(in + 16);
	block->time_most = trace_get64(in + 24);
	block->count = trace_get32(in + 32);
	block->raw_bytes = trace_get32(in + 36);
	block->stored_bytes = trace_get32(in + 40);
	block->payload_hash = trace_get64(in + 48);
	if (block->type == TRACE_BLOCK_NONE || block->type >= TRACE_BLOCK_TYPES)
		return "unknown type of block";
	if (block->raw_bytes == 0 || block->raw_bytes > TRACE_RAW_LIMIT ||
	    block->stored_bytes == 0 || block->stored_bytes > TRACE_STORED_LIMIT)
		return "the block is larger than any may be";
	if (holds_events(block) ? block->count == 0 || block->count > TRACE_BLOCK_EVENTS
				: block->count != 0)
		return "the block holds an impossible number of events";
	static const uint8_t zero[4];
	if (memcmp(in + 5, zero, 3) || memcmp(in + 44, zero, 4))
		return "bytes that must be zero are not";
	return NULL;
}

const char *trace_block_type_name(uint8_t type)
{
	static const char *const names[TRACE_BLOCK_TYPES] = {
		"none",	   "start section", "events", "attachments",
		"strings", "tasks",	    "meta",   "index",
	};
	return type < TRACE_BLOCK_TYPES ? names[type] : "unknown";
}
