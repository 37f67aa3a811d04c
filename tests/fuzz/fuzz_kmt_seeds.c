/* fuzz_kmt_seeds.c - writes what fuzz_kmt starts from into a folder. */
#include "tests/unit/test_trace_support.h"
#include "workloads/trace_columns.h"
#include "workloads/trace_text.h"

#include <stdlib.h>
#include <string.h>

static void put(const char *folder, const char *name, char way, const void *bytes, gsize size)
{
	g_autoptr(GByteArray) seed = g_byte_array_new();
	g_autofree char *path = g_build_filename(folder, name, NULL);
	g_byte_array_append(seed, (const guint8 *)&way, 1);
	g_byte_array_append(seed, bytes, (guint)size);
	if (!g_file_set_contents(path, (const char *)seed->data, seed->len, NULL))
		g_error("cannot write %s", path);
}

static void put_columns(const char *folder, const char *name, const GArray *events)
{
	struct trace_encoder *encoder = trace_encoder_new();
	g_autoptr(GByteArray) seed = g_byte_array_new();
	const GArray *cuts;
	const GByteArray *raw = trace_encoder_block(
		encoder, &g_array_index(events, struct event, 0), events->len, &cuts);
	const guint8 count[2] = { (guint8)(events->len - 1), (guint8)((events->len - 1) >> 8) };
	g_byte_array_append(seed, count, 2);
	g_byte_array_append(seed, raw->data, raw->len);
	put(folder, name, 0, seed->data, seed->len);
	trace_encoder_free(encoder);
}

static void put_file(const char *folder, const char *name, char way, const char *path)
{
	g_autofree char *bytes = NULL;
	gsize size;
	if (!g_file_get_contents(path, &bytes, &size, NULL))
		g_error("cannot read %s", path);
	put(folder, name, way, bytes, size);
}

/* A trace as seeds of both kinds, and its text twin beside it. */
static void put_both(const char *folder, const char *name, const char *path)
{
	g_autofree char *file = g_strconcat("file-", name, NULL);
	g_autofree char *text = g_strconcat("text-", name, NULL);
	g_autofree char *twin_name = g_strconcat(name, ".txt", NULL);
	g_autofree char *twin = g_build_filename(folder, twin_name, NULL);
	struct trace_reader *reader = trace_reader_open(path, NULL);
	FILE *out = fopen(twin, "w");
	if (!reader || !out || !trace_text_write(reader, out, NULL) || fclose(out))
		g_error("cannot write %s", twin);
	trace_reader_free(reader);
	put_file(folder, file, 1, path);
	put_file(folder, text, 2, twin);
}

int main(int count, char **arguments)
{
	if (count != 2)
		return EXIT_FAILURE;
	const char *folder = arguments[1];
	g_autoptr(GArray) random = random_events(1, 300), pages = page_events(2, 600);
	char *path;
	static const char map[] =
		"[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n"
		"BIOS-e820: [mem 0x1000-0x1fff] type 20\n[mem 0x0-0xfff] persistent (type 12)\n";

	put_columns(folder, "columns-random", random);
	put_columns(folder, "columns-pages", pages);
	path = g_build_filename(folder, "small.kmt", NULL);
	write_small_trace(path);
	put_both(folder, "small", path);
	g_free(path);
	path = g_build_filename(folder, "pages.kmt", NULL);
	write_trace(path, NULL, pages);
	put_both(folder, "pages", path);
	g_free(path);
	put(folder, "map", 3, map, sizeof(map) - 1);
	return EXIT_SUCCESS;
}
