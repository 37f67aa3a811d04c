/*
 * fuzz_kmt.c - bytes to every parser of workloads/ (libFuzzer). The first byte chooses the parser:
 * the columns of a block, a .kmt file (whose checksums are made good first), the text twin, a
 * memory map. The mutator opens the blocks of a .kmt file, changes what is in them, and closes them
 * again.
 */
#include "tests/fuzz/kmt_reseal.h"
#include "workloads/memory_map.h"
#include "workloads/trace.h"
#include "workloads/trace_columns.h"
#include "workloads/trace_format.h"
#include "workloads/trace_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FUZZ_COLUMNS, FUZZ_FILE, FUZZ_TEXT, FUZZ_MAP, FUZZ_WAYS };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);

static const char *path_of(const char *name)
{
	static char *folder;
	static char path[200];
	if (!folder)
		folder = g_dir_make_tmp("kmemlab-fuzz-XXXXXX", NULL);
	g_snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

/* Two bytes of count, then the block. */
static void fuzz_columns(const uint8_t *data, size_t size)
{
	static struct trace_decoder *decoder;
	struct event events[TRACE_BATCH];
	GError *error = NULL;

	if (size < 2 || size - 2 > TRACE_RAW_LIMIT)
		return;
	if (!decoder)
		decoder = trace_decoder_new();
	uint32_t count = 1u + trace_get16(data);
	uint32_t bytes = (uint32_t)size - 2;
	uint8_t *raw = g_malloc0(bytes + TRACE_RAW_SLACK);
	memcpy(raw, data + 2, bytes);
	if (trace_decoder_start(decoder, raw, bytes, count, &error)) {
		uint32_t total = 0;
		int got;
		while ((got = trace_decoder_next(decoder, events, &error)) > 0)
			total += (uint32_t)got;
		g_assert(got < 0 || total == count);
	}
	g_clear_error(&error);
	g_free(raw);
}

static void fuzz_file(const uint8_t *data, size_t size)
{
	g_autoptr(GByteArray) file = g_byte_array_new();
	GError *error = NULL;
	FILE *nowhere = fopen("/dev/null", "w");

	g_byte_array_append(file, data, (guint)size);
	kmt_reseal(file);
	const char *path = path_of("in.kmt");
	g_file_set_contents(path, (const char *)file->data, file->len, NULL);
	struct trace_reader *reader = trace_reader_open(path, &error);
	if (reader && trace_text_write(reader, nowhere, &error)) {
		trace_reader_seek_event(reader, size, NULL);
		trace_reader_seek_time(reader, size, NULL);
		trace_validate(reader, &error);
	}
	g_clear_error(&error);
	trace_reader_free(reader);
	fclose(nowhere);
}

static void fuzz_text(const uint8_t *data, size_t size)
{
	GError *error = NULL;
	FILE *in = size ? fmemopen((void *)(guintptr)data, size, "r") : NULL;
	if (!in)
		return;
	trace_text_read(in, "text", path_of("out.kmt"), &error);
	g_clear_error(&error);
	fclose(in);
}

static void fuzz_map(const uint8_t *data, size_t size)
{
	GError *error = NULL;
	GArray *map = memory_map_parse((const char *)data, size, "text", &error);
	if (map) {
		g_autofree char *text = memory_map_format(map);
		memory_map_usable_frames(map);
		memory_map_end(map);
		GArray *again = memory_map_parse(text, strlen(text), "again", NULL);
		g_assert(again && again->len == map->len);
		g_array_free(again, TRUE);
		g_array_free(map, TRUE);
	}
	g_clear_error(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const ways[FUZZ_WAYS])(const uint8_t *, size_t) = { fuzz_columns, fuzz_file,
									  fuzz_text, fuzz_map };
	if (size)
		ways[data[0] % FUZZ_WAYS](data + 1, size - 1);
	return 0;
}

#ifdef FUZZ_MUTATOR
static void mutate(GByteArray *raw, void *data)
{
	guint room = raw->len + 64, size = raw->len;
	g_byte_array_set_size(raw, room);
	g_byte_array_set_size(raw, (guint)LLVMFuzzerMutate(raw->data, size, room));
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
	if (size == 0 || data[0] % FUZZ_WAYS != FUZZ_FILE || seed % 4 == 0)
		return LLVMFuzzerMutate(data, size, room);
	g_autoptr(GByteArray) file = g_byte_array_new();
	g_byte_array_append(file, data + 1, (guint)size - 1);
	if (!kmt_change_payload(file, seed / 4 % 8, mutate, NULL) || file->len + 1 > room)
		return LLVMFuzzerMutate(data, size, room);
	memcpy(data + 1, file->data, file->len);
	return file->len + 1;
}
#endif
