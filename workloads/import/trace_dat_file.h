/*
 * trace_dat_file.h - the container of trace-cmd: what is where in a trace.dat.
 *
 *   version 6   head | header_page, header_event | formats of ftrace | formats of events | kallsyms
 *               | printk | command lines | CPUs, options | where each CPU's pages are | ... pages
 *   version 7   head, with the place of the first options | sections, each with its number, flags
 *               and size; options say where the others are, where each CPU's pages are, and where
 *               the next options are. Sections and pages may be compressed.
 *
 * Sources: trace-cmd.dat.v6(5), trace-cmd.dat.v7(5); for what they leave out (options of version
 * 6's instances, what TIME_SHIFT and DATE do to a time) the behaviour of trace-cmd's own reader,
 * lib/trace-cmd/trace-input.c. Nothing that the file says is used before it is held against the
 * file's size; sizes in memory have limits. Either byte order.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_TRACE_DAT_FILE_H
#define KMEMLAB_WORKLOADS_IMPORT_TRACE_DAT_FILE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "workloads/import/ring_reader.h"
#include "workloads/import/trace_dat_clock.h"

/* Texts of the recording machine. */
enum trace_dat_text {
	TRACE_DAT_HEADER_PAGE,
	TRACE_DAT_KALLSYMS,
	TRACE_DAT_PRINTK,
	TRACE_DAT_NAMES, /* saved_cmdlines */
	TRACE_DAT_TEXTS
};

enum trace_dat_compression { TRACE_DAT_PLAIN, TRACE_DAT_ZSTD, TRACE_DAT_ZLIB };

/* Bytes of the file, or of a section that was decompressed. */
struct trace_dat_place {
	const unsigned char *memory; /* NULL: it is in the file */
	uint64_t at, bytes;	     /* for messages, or in the file */
};

/* The format of one type of events. */
struct trace_dat_format {
	struct trace_dat_place text;
	const char *system;
};

/* The pages of one CPU of one buffer; beside it, one of the reader's streams. */
struct trace_dat_data {
	uint64_t at, bytes;   /* in the file */
	bool compressed;      /* in chunks */
	uint64_t page_bytes;  /* of it all, decompressed */
	uint64_t offset;      /* of the first page, as trace-cmd numbers them */
	uint32_t chunk_bytes; /* the largest chunk, compressed */
	uint32_t room_bytes;  /* the largest chunk, decompressed */
	/* Reading: */
	uint64_t next_at;	    /* in the file */
	uint32_t chunks;	    /* left */
	uint64_t read;		    /* bytes of pages so far */
	unsigned char *chunk;	    /* compressed */
	unsigned char *room;	    /* decompressed, or read */
	uint32_t room_at, room_end; /* what is left of it */
	unsigned char *page;	    /* one that lies in two of them */
};

struct trace_dat {
	int file;
	uint64_t bytes;
	unsigned version; /* 6 or 7 */
	bool big_endian, swap;
	uint8_t long_bytes; /* of user space: 4 or 8 */
	enum trace_dat_compression compression;
	uint64_t options_at; /* version 7: the first */
	struct ring_layout layout;
	struct trace_dat_place texts[TRACE_DAT_TEXTS];
	uint64_t sections[32]; /* version 7: where they are, by number; 0 nowhere */
	GHashTable *formats;   /* type -> struct trace_dat_format */
	GPtrArray *memory;     /* decompressed sections, names of systems */
	uint32_t cpus;	       /* version 6 */
	GArray *data;	       /* struct trace_dat_data */
	GArray *streams;       /* struct ring_stream, of the same length */
	GArray *instances;     /* version 6: uint64_t, where more buffers are */
	struct trace_dat_clock clock;
	void *zstd;
	/* What is wrong, and at which byte. */
	char problem[160];
	uint64_t problem_at;
};

/* Finds everything in FILE of BYTES; it stays open. Returns false with problem and problem_at. Free
 * in both cases. */
bool trace_dat_open(struct trace_dat *dat, int file, uint64_t bytes);
void trace_dat_free(struct trace_dat *dat);
/* A text with a zero behind it, to be freed with g_free(). NULL: there is none, or with problem
 * and problem_at it cannot be read. */
char *trace_dat_text(struct trace_dat *dat, enum trace_dat_text text, size_t *bytes);
/* The format of an event type, as above. */
char *trace_dat_format(struct trace_dat *dat, unsigned type, size_t *bytes, const char **system);

/* The next page of one of DAT's streams. NULL at the end, or with a problem where pages cannot be
 * read (problem is not empty; clear it and go on behind them). */
const unsigned char *trace_dat_next_page(struct trace_dat *dat, struct ring_stream *stream);

/* ---- for trace_dat_data.c and trace_dat_options.c ---- */

/* Returns false. */
bool trace_dat_fail(struct trace_dat *dat, uint64_t at, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
/* Reads all of it, or fails. */
bool trace_dat_read(struct trace_dat *dat, uint64_t at, void *out, size_t bytes);
static inline uint16_t trace_dat_u16(const struct trace_dat *dat, const unsigned char *at)
{
	return (uint16_t)(dat->big_endian ? at[0] << 8 | at[1] : at[1] << 8 | at[0]);
}
static inline uint32_t trace_dat_u32(const struct trace_dat *dat, const unsigned char *at)
{
	return (uint32_t)ring_load(at, 4, dat->swap);
}
static inline uint64_t trace_dat_u64(const struct trace_dat *dat, const unsigned char *at)
{
	return ring_load(at, 8, dat->swap);
}

/* Adds the pages of a CPU; AT names who says so. */
bool trace_dat_add_data(struct trace_dat *dat, uint64_t at, uint32_t cpu, uint64_t offset,
			uint64_t bytes, bool compressed);
/* When all are added: none may lie in another one. */
bool trace_dat_check_data(struct trace_dat *dat);
void trace_dat_free_data(struct trace_dat_data *data);
/* Decompresses to exactly OUT_BYTES. */
bool trace_dat_decompress(struct trace_dat *dat, const unsigned char *in, size_t in_bytes,
			  unsigned char *out, size_t out_bytes);
void trace_dat_free_decompressor(struct trace_dat *dat);

#endif
