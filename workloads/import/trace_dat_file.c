#include "workloads/import/trace_dat_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "workloads/import/trace_dat_options.h"

/* A section in memory; kallsyms and formats are some 10 MB. */
#define SECTION_LIMIT  (UINT64_C(64) << 20)
#define SECTION_BYTES  16
#define SECTION_PACKED 1 /* its flag */
/* Enough for "ID:" in a format, and for the name of a system. */
#define HEAD_BYTES   512
#define TYPE_LIMIT   65536 /* common_type has 16 bits */
#define WINDOW_BYTES 65536

/* Numbers of sections are those of the options that name them. */
enum section {
	SECTION_OPTIONS = 0,
	SECTION_HEADER_INFO = 16,
	SECTION_FTRACE_FORMATS = 17,
	SECTION_EVENT_FORMATS = 18,
	SECTION_KALLSYMS = 19,
	SECTION_PRINTK = 20,
	SECTION_NAMES = 21
};

bool trace_dat_fail(struct trace_dat *dat, uint64_t at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(dat->problem, sizeof dat->problem, format, args);
	va_end(args);
	dat->problem_at = at;
	return false;
}

bool trace_dat_read(struct trace_dat *dat, uint64_t at, void *out, size_t bytes)
{
	unsigned char *to = out;

	if (at > dat->bytes || bytes > dat->bytes - at)
		return trace_dat_fail(dat, at,
				      "%zu bytes here go on behind the end of the file at byte "
				      "%" G_GUINT64_FORMAT,
				      bytes, dat->bytes);
	while (bytes > 0) {
		ssize_t got = pread(dat->file, to, bytes, (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return trace_dat_fail(dat, at, "cannot be read: %s",
					      got < 0 ? g_strerror(errno) : "the file got shorter");
		to += got;
		at += (uint64_t)got;
		bytes -= (size_t)got;
	}
	return true;
}

/* ---- a part of the file, or of a section, read from its beginning ---- */

struct cursor {
	struct trace_dat *dat;
	const unsigned char *memory; /* of all, or NULL: */
	unsigned char *window;	     /* of the file */
	uint64_t window_at, window_bytes;
	uint64_t at, end;
	uint64_t origin; /* what lies at `at` is said to lie there, in messages */
};

static bool cut_off(struct cursor *cursor, const char *what, uint64_t bytes)
{
	return trace_dat_fail(cursor->dat, cursor->origin + cursor->at,
			      "%s of %" G_GUINT64_FORMAT " bytes goes on behind the end of %s",
			      what, bytes, cursor->memory ? "its section" : "the file");
}

/* The next BYTES (at most WINDOW_BYTES), which stay there; NULL with a problem. */
static const unsigned char *peek(struct cursor *cursor, const char *what, size_t bytes)
{
	if (bytes > cursor->end - cursor->at) {
		cut_off(cursor, what, bytes);
		return NULL;
	}
	if (cursor->memory)
		return cursor->memory + cursor->at;
	if (cursor->at < cursor->window_at ||
	    cursor->at + bytes > cursor->window_at + cursor->window_bytes) {
		cursor->window_at = cursor->at;
		cursor->window_bytes = MIN(WINDOW_BYTES, cursor->end - cursor->at);
		if (!trace_dat_read(cursor->dat, cursor->at, cursor->window, cursor->window_bytes))
			return NULL;
	}
	return cursor->window + (cursor->at - cursor->window_at);
}

static bool take_number(struct cursor *cursor, const char *what, unsigned bytes, uint64_t *number)
{
	const unsigned char *at = peek(cursor, what, bytes);

	if (!at)
		return false;
	*number = bytes == 1   ? *at
		  : bytes == 2 ? trace_dat_u16(cursor->dat, at)
			       : ring_load(at, bytes, cursor->dat->swap);
	cursor->at += bytes;
	return true;
}

/* A text of so many bytes, which is only found. */
static bool take_place(struct cursor *cursor, const char *what, uint64_t bytes,
		       struct trace_dat_place *place)
{
	if (bytes > cursor->end - cursor->at)
		return cut_off(cursor, what, bytes);
	*place = (struct trace_dat_place){ cursor->memory ? cursor->memory + cursor->at : NULL,
					   cursor->origin + cursor->at, bytes };
	cursor->at += bytes;
	return true;
}

/* A number of SIZE_BYTES, then a text of so many. */
static bool take_sized(struct cursor *cursor, const char *what, unsigned size_bytes,
		       struct trace_dat_place *place)
{
	uint64_t bytes;

	return take_number(cursor, what, size_bytes, &bytes) &&
	       take_place(cursor, what, bytes, place);
}

/* A text that ends with zero, of fewer than HEAD_BYTES. */
static const char *take_string(struct cursor *cursor, const char *what)
{
	size_t room = (size_t)MIN(HEAD_BYTES, cursor->end - cursor->at);
	const char *text = (const char *)peek(cursor, what, room);

	if (!text)
		return NULL;
	size_t bytes = strnlen(text, room);
	if (bytes == room) {
		trace_dat_fail(cursor->dat, cursor->origin + cursor->at, "%s goes on and on", what);
		return NULL;
	}
	cursor->at += bytes + 1;
	return text;
}

/* These bytes, and nothing else. */
static bool take_word(struct cursor *cursor, const char *word, size_t bytes)
{
	const unsigned char *at = peek(cursor, word, bytes);

	if (!at)
		return false;
	if (memcmp(at, word, bytes) != 0)
		return trace_dat_fail(cursor->dat, cursor->origin + cursor->at, "no '%s' here",
				      word);
	cursor->at += bytes;
	return true;
}

static struct cursor file_cursor(struct trace_dat *dat, uint64_t at)
{
	return (struct cursor){ .dat = dat,
				.window = g_malloc(WINDOW_BYTES),
				.at = MIN(at, dat->bytes),
				.end = dat->bytes };
}

/* ---- sections of version 7 ---- */

static void *keep(struct trace_dat *dat, void *memory)
{
	g_ptr_array_add(dat->memory, memory);
	return memory;
}

/* The section of that number at byte AT, in memory. */
static bool open_section(struct trace_dat *dat, uint64_t at, enum section id, struct cursor *cursor)
{
	unsigned char head[SECTION_BYTES + 8];

	if (!trace_dat_read(dat, at, head, SECTION_BYTES))
		return false;
	unsigned flags = trace_dat_u16(dat, head + 2);
	uint64_t bytes = trace_dat_u64(dat, head + 8);
	bool packed = flags & SECTION_PACKED;
	if (trace_dat_u16(dat, head) != id)
		return trace_dat_fail(dat, at, "section %u where section %d should be",
				      trace_dat_u16(dat, head), (int)id);
	if (flags & ~(unsigned)SECTION_PACKED)
		return trace_dat_fail(dat, at, "a section with unknown flags 0x%x", flags);
	at += SECTION_BYTES;
	if (bytes > dat->bytes - at || bytes > SECTION_LIMIT || (packed && bytes < 8))
		return trace_dat_fail(dat, at - SECTION_BYTES,
				      "a section of %" G_GUINT64_FORMAT
				      " bytes, in a file of %" G_GUINT64_FORMAT,
				      bytes, dat->bytes);
	unsigned char *content = keep(dat, g_malloc(bytes + 1));
	if (!trace_dat_read(dat, at, content, bytes))
		return false;
	*cursor = (struct cursor){ .dat = dat, .memory = content, .end = bytes, .origin = at };
	if (!packed)
		return true;
	uint32_t in = trace_dat_u32(dat, content), out = trace_dat_u32(dat, content + 4);
	if (in > bytes - 8 || out > SECTION_LIMIT)
		return trace_dat_fail(dat, at, "a section of %u bytes, %u of them compressed", out,
				      in);
	unsigned char *unpacked = keep(dat, g_malloc((size_t)out + 1));
	*cursor = (struct cursor){ .dat = dat, .memory = unpacked, .end = out, .origin = at };
	return trace_dat_decompress(dat, content + 8, in, unpacked, out) ||
	       trace_dat_fail(dat, at, "a section that cannot be decompressed");
}

/* The last bytes may be missing without anybody missing them: sections lie one behind the other. */
static bool check_sections(struct trace_dat *dat, uint64_t at)
{
	unsigned char head[SECTION_BYTES];

	while (at < dat->bytes) {
		if (dat->bytes - at < SECTION_BYTES)
			return trace_dat_fail(dat, at, "the file ends within a section");
		if (!trace_dat_read(dat, at, head, SECTION_BYTES))
			return false;
		uint64_t bytes = trace_dat_u64(dat, head + 8);
		if (trace_dat_u16(dat, head) >= G_N_ELEMENTS(dat->sections))
			return trace_dat_fail(dat, at, "no section begins here");
		if (bytes > dat->bytes - at - SECTION_BYTES)
			return trace_dat_fail(dat, at,
					      "a section goes on behind the end of the file at "
					      "byte %" G_GUINT64_FORMAT,
					      dat->bytes);
		at += SECTION_BYTES + bytes;
	}
	return true;
}

/* ---- what both versions keep, in their order ---- */

static bool take_header_info(struct cursor *cursor)
{
	struct trace_dat *dat = cursor->dat;
	struct trace_dat_place events;

	return take_word(cursor, "header_page", sizeof "header_page") &&
	       take_sized(cursor, "header_page", 8, &dat->texts[TRACE_DAT_HEADER_PAGE]) &&
	       take_word(cursor, "header_event", sizeof "header_event") &&
	       take_sized(cursor, "header_event", 8, &events);
}

/* Learns a format's type from its line "ID: 500". */
static bool take_format(struct cursor *cursor, const char *system)
{
	struct trace_dat_format format = { .system = system };
	uint64_t bytes;

	if (!take_number(cursor, "a format", 8, &bytes))
		return false;
	size_t room = (size_t)MIN(MIN(bytes, HEAD_BYTES), cursor->end - cursor->at);
	const char *text = (const char *)peek(cursor, "a format", room);
	const char *id = text ? memmem(text, room, "\nID:", 4) : NULL;
	char number[16] = "";
	if (id)
		memcpy(number, id + 4, MIN(sizeof number - 1, room - (size_t)(id + 4 - text)));
	if (!take_place(cursor, "a format", bytes, &format.text))
		return false;
	unsigned long type = strtoul(number, NULL, 0);
	gpointer key = GUINT_TO_POINTER((guint)type);
	if (id && type < TYPE_LIMIT && !g_hash_table_contains(cursor->dat->formats, key))
		g_hash_table_insert(cursor->dat->formats, key, g_memdup2(&format, sizeof format));
	return true;
}

static bool take_formats(struct cursor *cursor, const char *system)
{
	uint64_t count;

	if (!take_number(cursor, "formats", 4, &count))
		return false;
	for (; count > 0; count--)
		if (!take_format(cursor, system))
			return false;
	return true;
}

static bool take_systems(struct cursor *cursor)
{
	uint64_t count;

	if (!take_number(cursor, "systems of events", 4, &count))
		return false;
	for (; count > 0; count--) {
		const char *name = take_string(cursor, "the name of a system");
		if (!name || !take_formats(cursor, keep(cursor->dat, g_strdup(name))))
			return false;
	}
	return true;
}

/* ---- version 6 ---- */

/* Where the pages of each CPU are, behind "flyrecord". */
static bool take_cpus(struct cursor *cursor)
{
	struct trace_dat *dat = cursor->dat;
	uint64_t offset, bytes;

	for (uint32_t cpu = 0; cpu < dat->cpus; cpu++) {
		uint64_t at = cursor->at;
		if (!take_number(cursor, "the place of a CPU's data", 8, &offset) ||
		    !take_number(cursor, "the size of a CPU's data", 8, &bytes) ||
		    !trace_dat_add_data(dat, at, cpu, offset, bytes, false))
			return false;
	}
	return true;
}

/* The next BYTES, however many. */
static const unsigned char *option_content(struct cursor *cursor, uint64_t bytes)
{
	if (bytes <= WINDOW_BYTES)
		return peek(cursor, "an option", bytes);
	if (bytes > SECTION_LIMIT) {
		trace_dat_fail(cursor->dat, cursor->at, "an option of %" G_GUINT64_FORMAT " bytes",
			       bytes);
		return NULL;
	}
	unsigned char *content = keep(cursor->dat, g_malloc(bytes));
	return trace_dat_read(cursor->dat, cursor->at, content, bytes) ? content : NULL;
}

static bool take_options(struct cursor *cursor)
{
	uint64_t id, bytes;

	for (;;) {
		uint64_t at = cursor->at;
		if (!take_number(cursor, "an option", 2, &id))
			return false;
		if (id == 0)
			return true;
		if (!take_number(cursor, "an option", 4, &bytes))
			return false;
		if (bytes > cursor->end - cursor->at)
			return cut_off(cursor, "an option", bytes);
		const unsigned char *content = option_content(cursor, bytes);
		if (!content || !trace_dat_option(cursor->dat, at, (unsigned)id, content, bytes))
			return false;
		cursor->at += bytes;
	}
}

/* Options, if any, then the CPUs. */
static bool take_buffer(struct cursor *cursor)
{
	enum { WORD = 10 };
	const char *word = (const char *)peek(cursor, "flyrecord", WORD);

	if (word && memcmp(word, "options  ", WORD) == 0) {
		cursor->at += WORD;
		if (!take_options(cursor))
			return false;
		word = (const char *)peek(cursor, "flyrecord", WORD);
	}
	if (word && memcmp(word, "latency  ", WORD) == 0)
		return trace_dat_fail(cursor->dat, cursor->at,
				      "a latency trace: text instead of records");
	return word && take_word(cursor, "flyrecord", WORD) && take_cpus(cursor);
}

static bool take_version6(struct cursor *cursor)
{
	struct trace_dat *dat = cursor->dat;
	uint64_t cpus, at;

	if (!take_header_info(cursor) || !take_formats(cursor, "ftrace") || !take_systems(cursor) ||
	    !take_sized(cursor, "kallsyms", 4, &dat->texts[TRACE_DAT_KALLSYMS]) ||
	    !take_sized(cursor, "printk_formats", 4, &dat->texts[TRACE_DAT_PRINTK]) ||
	    !take_sized(cursor, "saved_cmdlines", 8, &dat->texts[TRACE_DAT_NAMES]))
		return false;
	at = cursor->at;
	if (!take_number(cursor, "the number of CPUs", 4, &cpus))
		return false;
	dat->cpus = (uint32_t)cpus;
	if (!take_buffer(cursor))
		return false;
	if (dat->cpus == 0 || dat->cpus >= UINT16_MAX)
		return trace_dat_fail(dat, at, "no sane number of CPUs: %u", dat->cpus);
	for (guint i = 0; i < dat->instances->len; i++) {
		cursor->at = g_array_index(dat->instances, uint64_t, i);
		if (cursor->at > cursor->end)
			return trace_dat_fail(dat, cursor->at,
					      "a buffer behind the end of the file at byte "
					      "%" G_GUINT64_FORMAT,
					      dat->bytes);
		if (!take_buffer(cursor))
			return false;
	}
	return true;
}

/* ---- version 7 ---- */

/* One section of options. *NEXT: where more are, 0: nowhere. */
static bool take_option_section(struct trace_dat *dat, uint64_t at, uint64_t *next)
{
	struct cursor cursor;
	uint64_t id, bytes;

	if (!open_section(dat, at, SECTION_OPTIONS, &cursor))
		return false;
	for (;;) {
		at = cursor.origin + cursor.at;
		if (!take_number(&cursor, "an option", 2, &id) ||
		    !take_number(&cursor, "an option", 4, &bytes))
			return false;
		if (bytes > cursor.end - cursor.at)
			return cut_off(&cursor, "an option", bytes);
		const unsigned char *content = cursor.memory + cursor.at;
		if (id == 0) {
			*next = bytes >= 8 ? trace_dat_u64(dat, content) : 0;
			return true;
		}
		if (!trace_dat_option(dat, at, (unsigned)id, content, bytes))
			return false;
		cursor.at += bytes;
	}
}

static bool take_all_options(struct trace_dat *dat)
{
	g_autoptr(GHashTable) seen =
		g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);

	for (uint64_t at = dat->options_at, next = 0; at != 0; at = next) {
		if (!g_hash_table_add(seen, g_memdup2(&at, sizeof at)))
			return trace_dat_fail(dat, at, "options that lead back to themselves");
		if (!take_option_section(dat, at, &next))
			return false;
	}
	return true;
}

static bool open_by_number(struct trace_dat *dat, enum section id, struct cursor *cursor)
{
	return dat->sections[id] != 0 && open_section(dat, dat->sections[id], id, cursor);
}

static bool take_version7(struct trace_dat *dat, uint64_t sections_at)
{
	struct cursor cursor;

	if (!check_sections(dat, sections_at) || !take_all_options(dat))
		return false;
	if (dat->sections[SECTION_HEADER_INFO] == 0 || dat->sections[SECTION_EVENT_FORMATS] == 0)
		return trace_dat_fail(dat, dat->options_at, "options that name no section with %s",
				      dat->sections[SECTION_HEADER_INFO] == 0
					      ? "header_page"
					      : "the formats of events");
	if (dat->data->len == 0)
		return trace_dat_fail(dat, dat->options_at, "options that name no buffer");
	if (!open_by_number(dat, SECTION_HEADER_INFO, &cursor) || !take_header_info(&cursor))
		return false;
	if (dat->sections[SECTION_FTRACE_FORMATS] != 0 &&
	    (!open_by_number(dat, SECTION_FTRACE_FORMATS, &cursor) ||
	     !take_formats(&cursor, "ftrace")))
		return false;
	return open_by_number(dat, SECTION_EVENT_FORMATS, &cursor) && take_systems(&cursor);
}

/* ---- the file ---- */

static bool take_compression(struct cursor *cursor)
{
	struct trace_dat *dat = cursor->dat;
	uint64_t at = cursor->at;
	const char *name = take_string(cursor, "the name of a compression");

	if (!name)
		return false;
	dat->compression = strcmp(name, "zstd") == 0   ? TRACE_DAT_ZSTD
			   : strcmp(name, "zlib") == 0 ? TRACE_DAT_ZLIB
						       : TRACE_DAT_PLAIN;
	if (dat->compression == TRACE_DAT_PLAIN && strcmp(name, "none") != 0)
		return trace_dat_fail(dat, at, "compressed in a way that is not known: %.40s",
				      name);
	return take_string(cursor, "the version of a compression") &&
	       take_number(cursor, "the place of the options", 8, &dat->options_at);
}

static bool take_head(struct cursor *cursor)
{
	static const char magic[] = "\x17\x08\x44tracing";
	struct trace_dat *dat = cursor->dat;
	uint64_t big_endian, long_bytes, page_bytes;

	if (!take_word(cursor, magic, sizeof magic - 1))
		return trace_dat_fail(dat, 0, "not a trace.dat");
	const char *version = take_string(cursor, "the version");
	if (!version)
		return false;
	if (strcmp(version, "6") != 0 && strcmp(version, "7") != 0)
		return trace_dat_fail(dat, sizeof magic - 1, "version %.20s, not 6 or 7", version);
	dat->version = (unsigned)(version[0] - '0');
	if (!take_number(cursor, "the byte order", 1, &big_endian) ||
	    !take_number(cursor, "the size of a long", 1, &long_bytes))
		return false;
	dat->big_endian = big_endian == 1;
	dat->swap = dat->big_endian != (G_BYTE_ORDER == G_BIG_ENDIAN);
	dat->long_bytes = (uint8_t)long_bytes;
	if (big_endian > 1 || (long_bytes != 4 && long_bytes != 8))
		return trace_dat_fail(dat, cursor->at - 2,
				      "no byte order or no size of a long: %u, %u",
				      (unsigned)big_endian, (unsigned)long_bytes);
	/* The kernel's page, where header_page says how large those of the buffer are. */
	return take_number(cursor, "the size of a page", 4, &page_bytes) &&
	       (dat->version == 6 || take_compression(cursor));
}

static bool take_layout(struct trace_dat *dat)
{
	uint64_t at = dat->texts[TRACE_DAT_HEADER_PAGE].at;
	g_autofree char *text = trace_dat_text(dat, TRACE_DAT_HEADER_PAGE, NULL);
	const char *wrong = text ? ring_layout_parse(&dat->layout, text, dat->big_endian) : NULL;

	return text && (!wrong || trace_dat_fail(dat, at, "header_page %s", wrong));
}

bool trace_dat_open(struct trace_dat *dat, int file, uint64_t bytes)
{
	memset(dat, 0, sizeof *dat);
	dat->file = file;
	dat->bytes = bytes;
	dat->formats = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	dat->memory = g_ptr_array_new_with_free_func(g_free);
	dat->data = g_array_new(FALSE, TRUE, sizeof(struct trace_dat_data));
	dat->streams = g_array_new(FALSE, TRUE, sizeof(struct ring_stream));
	dat->instances = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	struct cursor cursor = file_cursor(dat, 0);
	bool opened =
		take_head(&cursor) &&
		(dat->version == 6 ? take_version6(&cursor) : take_version7(dat, cursor.at)) &&
		take_layout(dat) && trace_dat_check_data(dat);
	g_free(cursor.window);
	return opened;
}

void trace_dat_free(struct trace_dat *dat)
{
	for (guint i = 0; i < dat->data->len; i++)
		trace_dat_free_data(&g_array_index(dat->data, struct trace_dat_data, i));
	g_hash_table_unref(dat->formats);
	g_ptr_array_unref(dat->memory);
	g_array_unref(dat->data);
	g_array_unref(dat->streams);
	g_array_unref(dat->instances);
	trace_dat_clock_free(&dat->clock);
	trace_dat_free_decompressor(dat);
}

static char *load(struct trace_dat *dat, const struct trace_dat_place *place, size_t *bytes)
{
	if (place->bytes > SECTION_LIMIT) {
		trace_dat_fail(dat, place->at, "a text of %" G_GUINT64_FORMAT " bytes",
			       place->bytes);
		return NULL;
	}
	char *text = g_malloc(place->bytes + 1);
	if (place->memory)
		memcpy(text, place->memory, place->bytes);
	else if (!trace_dat_read(dat, place->at, text, place->bytes))
		g_clear_pointer(&text, g_free);
	if (text)
		text[place->bytes] = '\0';
	if (bytes)
		*bytes = place->bytes;
	return text;
}

/* Sections that are opened when they are asked for. */
static bool find_text(struct trace_dat *dat, enum trace_dat_text text)
{
	static const struct {
		enum section id;
		unsigned size_bytes;
	} sections[TRACE_DAT_TEXTS] = {
		[TRACE_DAT_KALLSYMS] = { SECTION_KALLSYMS, 4 },
		[TRACE_DAT_PRINTK] = { SECTION_PRINTK, 4 },
		[TRACE_DAT_NAMES] = { SECTION_NAMES, 8 },
	};
	struct cursor cursor;

	return dat->texts[text].bytes > 0 ||
	       (dat->version == 7 && sections[text].size_bytes > 0 &&
		open_by_number(dat, sections[text].id, &cursor) &&
		take_sized(&cursor, "a text", sections[text].size_bytes, &dat->texts[text]));
}

char *trace_dat_text(struct trace_dat *dat, enum trace_dat_text text, size_t *bytes)
{
	return find_text(dat, text) ? load(dat, &dat->texts[text], bytes) : NULL;
}

char *trace_dat_format(struct trace_dat *dat, unsigned type, size_t *bytes, const char **system)
{
	const struct trace_dat_format *format =
		g_hash_table_lookup(dat->formats, GUINT_TO_POINTER(type));

	if (!format)
		return NULL;
	*system = format->system;
	return load(dat, &format->text, bytes);
}
