#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/import/dat_file.h"

/* Seeds for fuzz_trace_dat and for the importer: fuzz_trace_dat_seeds FOLDER. Each begins with the
 * byte that fuzz_import takes. */

/* An event of no known kind, which libtraceevent prints, and a marker. */
#define COMMON                                                                         \
	"format:\n"                                                                    \
	"\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"         \
	"\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"         \
	"\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n" \
	"\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"

static const char *const formats[] = {
	DAT_FORMAT("pfn"),
	"name: something\nID: 500\n" COMMON
	"\tfield:unsigned long where;\toffset:8;\tsize:8;\tsigned:0;\n"
	"\tfield:__data_loc char[] what;\toffset:16;\tsize:4;\tsigned:0;\n\n"
	"print fmt: \"where=%pS what=%s flags=%s\", (void *)REC->where, __get_str(what), "
	"REC->where ? __print_flags(REC->where, \"|\", { 0x10, \"A\" }, { 1, \"B\" }) : "
	"\"none\"\n",
	"name: print\nID: 500\n" COMMON "\tfield:unsigned long ip;\toffset:8;\tsize:8;\tsigned:0;\n"
	"\tfield:char buf[];\toffset:16;\tsize:0;\tsigned:0;\n\n"
	"print fmt: \"%ps: %s\", (void *)REC->ip, REC->buf\n",
};

static GByteArray *pages_of(bool big_endian, uint64_t time)
{
	struct dat_bytes pages = { .bytes = g_byte_array_new(), .big_endian = big_endian };

	dat_page_begin(&pages, time, UINT64_C(3) << 30);
	dat_page_free(&pages, 10, 0x10, 0);
	dat_page_head(&pages, 29, 5); /* padding */
	dat_put(&pages, 8, 4);
	dat_put(&pages, 0, 4);
	dat_page_head(&pages, 30, 5); /* a long time */
	dat_put(&pages, 1, 4);
	dat_page_free(&pages, 0, 0x11, 0);
	dat_page_head(&pages, 31, 5); /* an absolute one */
	dat_put(&pages, time >> 26, 4);
	dat_page_head(&pages, 0, 1); /* a long record */
	dat_put(&pages, 24, 4);
	dat_put(&pages, 500, 2);
	dat_put(&pages, 0, 18);
	dat_page_end(&pages, 3);
	dat_page_begin(&pages, time + (UINT64_C(1) << 28), 0);
	dat_page_free(&pages, 10, 0x12, 0);
	dat_page_end(&pages, 0);
	return pages.bytes;
}

static bool write_seed(const char *folder, const char *name, const GByteArray *bytes)
{
	g_autofree char *path = g_build_filename(folder, name, NULL);
	FILE *out = fopen(path, "wb");

	if (!out)
		return false;
	bool done = fputc('1', out) != EOF && fwrite(bytes->data, 1, bytes->len, out) == bytes->len;
	return fclose(out) == 0 && done;
}

int main(int count, char **arguments)
{
	static const unsigned char option[] = { 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };

	if (count < 2)
		return EXIT_FAILURE;
	/* Bits: byte order, an option that sets the clock; then version and compression; formats.
	 */
	for (unsigned seed = 0; seed < 16 * G_N_ELEMENTS(formats); seed++) {
		unsigned form = seed % 16;
		bool big_endian = form & 1;
		struct dat_cpu cpus[] = { { "", 0, pages_of(big_endian, 1 << 30) },
					  { "", 2, pages_of(big_endian, (1 << 30) + 7) },
					  { "more", 1, pages_of(big_endian, (1 << 30) + 3) } };
		struct dat_file file = {
			.version = form < 4 ? 6 : 7,
			.big_endian = big_endian,
			.compression = form < 8 ? DAT_NONE : (enum dat_compression)(form / 4 - 1),
			.option = form & 2 ? 14 : 0,
			.option_data = option,
			.option_bytes = sizeof option,
			.cpus = cpus,
			.count = G_N_ELEMENTS(cpus),
			.format = formats[seed / 16]
		};
		dat_file_write(&file);
		g_autofree char *name = g_strdup_printf("%02u.dat", seed);
		if (!write_seed(arguments[1], name, file.bytes))
			return EXIT_FAILURE;
		g_byte_array_unref(file.bytes);
		for (size_t i = 0; i < G_N_ELEMENTS(cpus); i++)
			g_byte_array_unref(cpus[i].pages);
	}
	return EXIT_SUCCESS;
}
