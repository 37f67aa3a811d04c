/*
 * dat_file.h - trace.dat files written for tests (trace-cmd.dat.v6(5), trace-cmd.dat.v7(5)), for
 * what no machine at hand records: the other byte order, other compressions, absurd content.
 */
#ifndef KMEMLAB_TESTS_IMPORT_DAT_FILE_H
#define KMEMLAB_TESTS_IMPORT_DAT_FILE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DAT_PAGE 4096

/* mm_page_free as Linux 6.1 describes it, but for the name of its first field. */
#define DAT_FORMAT(pfn)                                                                \
	"name: mm_page_free\nID: 500\nformat:\n"                                       \
	"\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"         \
	"\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"         \
	"\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n" \
	"\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"                   \
	"\tfield:unsigned long " pfn ";\toffset:8;\tsize:8;\tsigned:0;\n"              \
	"\tfield:unsigned int order;\toffset:16;\tsize:4;\tsigned:0;\n\n"              \
	"print fmt: \"" pfn "=0x%lx order=%d\", REC->" pfn ", REC->order\n"

/* Bytes in the byte order of a recording. */
struct dat_bytes {
	GByteArray *bytes;
	bool big_endian;
	unsigned long_bytes; /* of its kernel, 0: 8; matters for pages */
};

void dat_put(struct dat_bytes *out, uint64_t value, unsigned bytes);
void dat_put_raw(struct dat_bytes *out, const void *bytes, size_t count);
/* With its final zero. */
void dat_put_string(struct dat_bytes *out, const char *text);

/* ---- pages ---- */

/* Begins a page whose first event is at TIME; LOST: bits 31 and 30 of its commit. */
void dat_page_begin(struct dat_bytes *out, uint64_t time, uint64_t lost);
/* A word of 5 bits of type and 27 of time. */
void dat_page_head(struct dat_bytes *out, unsigned type, uint32_t delta);
/* mm_page_free (type 500) by process 77. */
void dat_page_free(struct dat_bytes *out, uint32_t delta, uint64_t frame, uint32_t order);
/* Fills in the commit and the rest of the page; STORED, if not 0: how many events were lost. */
void dat_page_end(struct dat_bytes *out, uint64_t stored);

/* ---- files ---- */

enum dat_compression { DAT_NONE, DAT_ZSTD, DAT_ZLIB };

/* The pages of one CPU; "" is the main buffer, others are instances. */
struct dat_cpu {
	const char *buffer;
	unsigned cpu;
	GByteArray *pages;
};

struct dat_file {
	/* What is wanted: */
	unsigned version; /* 6 or 7 */
	bool big_endian;
	unsigned long_bytes;		  /* of the kernel, 0: 8 */
	enum dat_compression compression; /* version 7 */
	const char *format;		  /* of type 500, NULL: DAT_FORMAT("pfn") */
	const struct dat_cpu *cpus;	  /* buffers together, the main one first */
	unsigned count;
	/* An option beside the usual ones, 0 none. */
	unsigned option;
	const void *option_data;
	size_t option_bytes;
	bool latency;
	/* Where it is: */
	GByteArray *bytes;
	size_t header_page_at; /* its section, or itself */
	size_t options_at;
	size_t buffer_option_at; /* the last one's data (version 7), of the first CPU (version 6) */
	size_t buffer_at;	 /* its section (version 7) */
	size_t pages_at;	 /* of the CPU written last: pages or chunks */
	size_t last_options_at;	 /* version 7 */
};

/* Writes file->bytes, to be freed by the caller. */
void dat_file_write(struct dat_file *file);
/* The usual one: two frees on CPU 0, 1000 ns apart, the first of FRAME at TIME. */
void dat_file_usual(struct dat_file *file, uint64_t time, uint64_t frame);

#endif
