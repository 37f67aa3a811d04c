#include "tests/import/dat_file.h"

#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define CHUNK (2 * DAT_PAGE)

void dat_put(struct dat_bytes *out, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++) {
		unsigned place = out->big_endian ? bytes - 1 - i : i;
		guint8 byte = place < 8 ? (guint8)(value >> 8 * place) : 0;
		g_byte_array_append(out->bytes, &byte, 1);
	}
}

void dat_put_raw(struct dat_bytes *out, const void *bytes, size_t count)
{
	g_byte_array_append(out->bytes, bytes, (guint)count);
}

void dat_put_string(struct dat_bytes *out, const char *text)
{
	dat_put_raw(out, text, strlen(text) + 1);
}

static void put_sized(struct dat_bytes *out, const char *text, unsigned size_bytes)
{
	dat_put(out, strlen(text), size_bytes);
	dat_put_raw(out, text, strlen(text));
}

/* Puts a number where another one was. */
static void patch(struct dat_bytes *out, size_t at, uint64_t value, unsigned bytes)
{
	struct dat_bytes number = { .bytes = g_byte_array_new(), .big_endian = out->big_endian };

	dat_put(&number, value, bytes);
	memcpy(out->bytes->data + at, number.bytes->data, bytes);
	g_byte_array_unref(number.bytes);
}

static void align(struct dat_bytes *out)
{
	while (out->bytes->len % DAT_PAGE)
		dat_put(out, 0, 1);
}

/* ---- pages ---- */

static unsigned long_bytes(const struct dat_bytes *out)
{
	return out->long_bytes ? out->long_bytes : 8;
}

void dat_page_begin(struct dat_bytes *out, uint64_t time, uint64_t lost)
{
	align(out);
	dat_put(out, time, 8);
	dat_put(out, lost, long_bytes(out));
}

void dat_page_head(struct dat_bytes *out, unsigned type, uint32_t delta)
{
	dat_put(out, out->big_endian ? type << 27 | delta : delta << 5 | type, 4);
}

void dat_page_free(struct dat_bytes *out, uint32_t delta, uint64_t frame, uint32_t order)
{
	dat_page_head(out, 5, delta);
	dat_put(out, 500, 2);
	dat_put(out, 0, 2);
	dat_put(out, 77, 4);
	dat_put(out, frame, 8);
	dat_put(out, order, 4);
}

void dat_page_end(struct dat_bytes *out, uint64_t stored)
{
	size_t page = (out->bytes->len - 1) / DAT_PAGE * DAT_PAGE, bytes = long_bytes(out);
	/* The byte with the bits of a loss. */
	const guint8 *lost = out->bytes->data + page + 8 + (out->big_endian ? bytes - 4 : 3);
	uint64_t bits = (uint64_t)(*lost & 0xc0) << 24;

	patch(out, page + 8, bits | (out->bytes->len - page - 8 - bytes), (unsigned)bytes);
	if (stored)
		dat_put(out, stored, (unsigned)bytes);
	align(out);
}

/* ---- what both versions keep ---- */

#define HEADER_PAGE(bytes, data, size)                                      \
	"\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"          \
	"\tfield: local_t commit;\toffset:8;\tsize:" bytes ";\tsigned:1;\n" \
	"\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"          \
	"\tfield: char data;\toffset:" data ";\tsize:" size ";\tsigned:0;\n"

static const char header_event[] = "# compressed entry header\n"
				   "\ttype_len    :    5 bits\n"
				   "\ttime_delta  :   27 bits\n"
				   "\tarray       :   32 bits\n\n"
				   "\tpadding     : type == 29\n"
				   "\ttime_extend : type == 30\n"
				   "\ttime_stamp : type == 31\n"
				   "\tdata max type_len  == 28\n";

static void put_magic(const struct dat_file *file, struct dat_bytes *out)
{
	dat_put_raw(out, "\x17\x08\x44tracing", 10);
	dat_put_string(out, file->version == 6 ? "6" : "7");
	dat_put(out, file->big_endian, 1);
	dat_put(out, 8, 1);
	dat_put(out, DAT_PAGE, 4);
}

static void put_header_info(struct dat_bytes *out)
{
	dat_put_string(out, "header_page");
	put_sized(out,
		  out->long_bytes == 4 ? HEADER_PAGE("4", "12", "4084")
				       : HEADER_PAGE("8", "16", "4080"),
		  8);
	dat_put_string(out, "header_event");
	put_sized(out, header_event, 8);
}

static void put_systems(const struct dat_file *file, struct dat_bytes *out)
{
	dat_put(out, 1, 4);
	dat_put_string(out, "kmem");
	dat_put(out, 1, 4);
	put_sized(out, file->format ? file->format : DAT_FORMAT("pfn"), 8);
}

static void put_option(struct dat_bytes *out, unsigned id, const void *data, size_t bytes)
{
	dat_put(out, id, 2);
	dat_put(out, bytes, 4);
	dat_put_raw(out, data, bytes);
}

static bool same_buffer(const struct dat_file *file, unsigned left, unsigned right)
{
	return strcmp(file->cpus[left].buffer, file->cpus[right].buffer) == 0;
}

static unsigned last_cpu(const struct dat_file *file)
{
	unsigned last = 0;

	for (unsigned i = 0; i < file->count; i++)
		last = MAX(last, file->cpus[i].cpu);
	return last + 1;
}

/* ---- version 6 ---- */

/* Places of the CPUs' pages, to be filled in. */
static void put_places(const struct dat_file *file, struct dat_bytes *out)
{
	dat_put_string(out, file->latency ? "latency  " : "flyrecord");
	for (unsigned cpu = 0; cpu < last_cpu(file); cpu++) {
		dat_put(out, 0, 8);
		dat_put(out, 0, 8);
	}
}

static void put_pages6(struct dat_file *file, struct dat_bytes *out, unsigned index, size_t places)
{
	const struct dat_cpu *cpu = &file->cpus[index];

	align(out);
	file->pages_at = out->bytes->len;
	patch(out, places + (size_t)16 * cpu->cpu, file->pages_at, 8);
	patch(out, places + (size_t)16 * cpu->cpu + 8, cpu->pages->len, 8);
	dat_put_raw(out, cpu->pages->data, cpu->pages->len);
}

static void put_version6(struct dat_file *file, struct dat_bytes *out)
{
	size_t instances[8], count = 0, places = 0;

	file->header_page_at = out->bytes->len;
	put_header_info(out);
	dat_put(out, 0, 4); /* formats of ftrace itself */
	put_systems(file, out);
	dat_put(out, 0, 4); /* kallsyms */
	dat_put(out, 0, 4); /* printk */
	put_sized(out, "77 worker\n", 8);
	dat_put(out, last_cpu(file), 4);
	dat_put_string(out, "options  ");
	file->options_at = out->bytes->len;
	if (file->option)
		put_option(out, file->option, file->option_data, file->option_bytes);
	for (unsigned i = 1; i < file->count; i++) {
		if (same_buffer(file, i, i - 1))
			continue;
		dat_put(out, 3, 2);
		dat_put(out, 8 + strlen(file->cpus[i].buffer) + 1, 4);
		instances[count++] = out->bytes->len;
		dat_put(out, 0, 8);
		dat_put_string(out, file->cpus[i].buffer);
	}
	dat_put(out, 0, 2);
	count = 0;
	for (unsigned i = 0; i < file->count; i++) {
		if (i > 0 && !same_buffer(file, i, i - 1))
			patch(out, instances[count++], out->bytes->len, 8);
		if (i == 0 || !same_buffer(file, i, i - 1)) {
			places = out->bytes->len + 10;
			put_places(file, out);
		}
		if (i == 0)
			file->buffer_option_at = places;
		put_pages6(file, out, i, places);
	}
}

/* ---- version 7 ---- */

static void compress_bytes(const struct dat_file *file, struct dat_bytes *out, const guint8 *bytes,
			   size_t count)
{
	size_t room = MAX(ZSTD_compressBound(count), compressBound(count));
	g_autofree guint8 *packed = g_malloc(room);
	uLongf zlib_bytes = room;

	if (file->compression == DAT_ZSTD)
		room = ZSTD_compress(packed, room, bytes, count, 1);
	else if (compress(packed, &zlib_bytes, bytes, count) == Z_OK)
		room = zlib_bytes;
	dat_put(out, room, 4);
	dat_put(out, count, 4);
	dat_put_raw(out, packed, room);
}

static size_t put_section(const struct dat_file *file, struct dat_bytes *out, unsigned id,
			  struct dat_bytes *content)
{
	size_t at = out->bytes->len;

	dat_put(out, id, 2);
	dat_put(out, file->compression != DAT_NONE && id != 0, 2);
	dat_put(out, 0, 4);
	dat_put(out, 0, 8);
	if (file->compression != DAT_NONE && id != 0)
		compress_bytes(file, out, content->bytes->data, content->bytes->len);
	else
		dat_put_raw(out, content->bytes->data, content->bytes->len);
	patch(out, at + 8, out->bytes->len - at - 16, 8);
	g_byte_array_set_size(content->bytes, 0);
	return at;
}

static void put_chunks(const struct dat_file *file, struct dat_bytes *out, GByteArray *pages)
{
	dat_put(out, (pages->len + CHUNK - 1) / CHUNK, 4);
	for (guint at = 0; at < pages->len; at += CHUNK)
		compress_bytes(file, out, pages->data + at, MIN(CHUNK, pages->len - at));
}

/* The section of one buffer; OPTION gets what an option says of it. */
static unsigned put_buffer(struct dat_file *file, struct dat_bytes *out, unsigned first,
			   struct dat_bytes *option)
{
	unsigned end = first;

	while (end < file->count && same_buffer(file, first, end))
		end++;
	file->buffer_at = out->bytes->len;
	dat_put(out, 3, 2);
	dat_put(out, file->compression != DAT_NONE, 2);
	dat_put(out, 0, 12);
	dat_put(option, file->buffer_at, 8);
	dat_put_string(option, file->cpus[first].buffer);
	dat_put_string(option, "mono");
	dat_put(option, DAT_PAGE, 4);
	dat_put(option, end - first, 4);
	for (unsigned i = first; i < end; i++) {
		size_t head = file->compression == DAT_NONE ? 0 : 4;
		file->pages_at = out->bytes->len;
		if (file->compression == DAT_NONE)
			dat_put_raw(out, file->cpus[i].pages->data, file->cpus[i].pages->len);
		else
			put_chunks(file, out, file->cpus[i].pages);
		dat_put(option, file->cpus[i].cpu, 4);
		dat_put(option, file->pages_at, 8);
		dat_put(option, out->bytes->len - file->pages_at - head, 8);
	}
	patch(out, file->buffer_at + 8, out->bytes->len - file->buffer_at - 16, 8);
	return end;
}

/* An option that names a section. */
static void put_place(struct dat_bytes *out, unsigned id, size_t at)
{
	dat_put(out, id, 2);
	dat_put(out, 8, 4);
	dat_put(out, at, 8);
}

static void put_version7(struct dat_file *file, struct dat_bytes *out)
{
	struct dat_bytes content = { g_byte_array_new(), out->big_endian, out->long_bytes };
	struct dat_bytes options = { .bytes = g_byte_array_new(), .big_endian = out->big_endian };
	struct dat_bytes option = { .bytes = g_byte_array_new(), .big_endian = out->big_endian };
	static const char *const names[] = { "none", "zstd", "zlib" };

	dat_put_string(out, names[file->compression]);
	dat_put_string(out, "1");
	size_t options_place = out->bytes->len;
	dat_put(out, 0, 8);
	put_header_info(&content);
	file->header_page_at = put_section(file, out, 16, &content);
	put_place(&options, 16, file->header_page_at);
	put_systems(file, &content);
	put_place(&options, 18, put_section(file, out, 18, &content));
	put_sized(&content, "77 worker\n", 8);
	put_place(&options, 21, put_section(file, out, 21, &content));
	if (file->option)
		put_option(&options, file->option, file->option_data, file->option_bytes);
	put_place(&options, 0, 0);
	file->options_at = out->bytes->len;
	patch(out, options_place, file->options_at, 8);
	put_section(file, out, 0, &options);
	size_t next = out->bytes->len - 8;
	for (unsigned first = 0; first < file->count;) {
		first = put_buffer(file, out, first, &option);
		file->buffer_option_at = options.bytes->len + 6;
		put_option(&options, file->latency ? 22 : 3, option.bytes->data, option.bytes->len);
		g_byte_array_set_size(option.bytes, 0);
	}
	put_place(&options, 0, 0);
	file->last_options_at = out->bytes->len;
	file->buffer_option_at += file->last_options_at + 16;
	patch(out, next, file->last_options_at, 8);
	put_section(file, out, 0, &options);
	g_byte_array_unref(content.bytes);
	g_byte_array_unref(options.bytes);
	g_byte_array_unref(option.bytes);
}

void dat_file_write(struct dat_file *file)
{
	struct dat_bytes out = { g_byte_array_new(), file->big_endian, file->long_bytes };

	file->bytes = out.bytes;
	put_magic(file, &out);
	if (file->version == 6)
		put_version6(file, &out);
	else
		put_version7(file, &out);
}

void dat_file_usual(struct dat_file *file, uint64_t time, uint64_t frame)
{
	struct dat_bytes pages = { g_byte_array_new(), file->big_endian, file->long_bytes };
	struct dat_cpu cpu = { "", 0, pages.bytes };

	dat_page_begin(&pages, time, 0);
	dat_page_free(&pages, 0, frame, 0);
	dat_page_free(&pages, 1000, 0x300, 3);
	dat_page_end(&pages, 0);
	file->cpus = &cpu;
	file->count = 1;
	dat_file_write(file);
	file->cpus = NULL;
	g_byte_array_unref(pages.bytes);
}
