#include "workloads/import/trace_dat.h"

#include <event-parse.h>
#include <glib.h>
#include <string.h>
#include "workloads/import/trace_dat_file.h"
#include "workloads/import/trace_record.h"

/*
 * The reading process. It may die at any point; what it has sent until then stands. Nothing here is
 * freed: the process ends with the file.
 */

struct child {
	struct wire_child *wire;
	struct trace_dat dat;
	bool has_printk, has_functions;
};

/* What cannot be read is malformed, and the next chunk is tried. */
static const unsigned char *next_page(void *context, struct ring_stream *stream)
{
	struct child *child = context;
	const unsigned char *page;

	while (!(page = trace_dat_next_page(&child->dat, stream)) && *child->dat.problem) {
		wire_malformed(child->wire, child->dat.problem_at, "CPU %u: %s", stream->cpu,
			       child->dat.problem);
		*child->dat.problem = '\0';
	}
	return page;
}

static void malformed(void *context, uint64_t offset, const char *text)
{
	struct child *child = context;

	wire_malformed(child->wire, offset, "%s", text);
}

static uint64_t time_of(const void *context, uint16_t cpu, uint64_t stamp)
{
	const struct child *child = context;

	return trace_dat_clock_time(&child->dat.clock, cpu, stamp);
}

/* An event of which only the text cannot be parsed still has its fields. */
static void add_format(void *context, struct tep_handle *tep, int type)
{
	struct child *child = context;
	const char *system;
	size_t bytes;
	g_autofree char *text = trace_dat_format(&child->dat, (unsigned)type, &bytes, &system);

	if (text)
		tep_parse_event(tep, text, bytes, system);
}

/* A text of the file, handed to PARSE; a damaged one is missed by nobody but those who print. */
static void add_text(struct child *child, struct tep_handle *tep, enum trace_dat_text which,
		     int (*parse)(struct tep_handle *tep, const char *text))
{
	g_autofree char *text = trace_dat_text(&child->dat, which, NULL);

	if (text)
		parse(tep, text);
	else if (*child->dat.problem)
		wire_malformed(child->wire, child->dat.problem_at, "%s", child->dat.problem);
	*child->dat.problem = '\0';
}

/* Whether a format prints names of functions: "%pS" and its like, or the formats of trace_printk()
 * in the records, which may. */
static bool names_functions(const char *format, const char *system)
{
	if (strcmp(system, "ftrace") == 0)
		return true;
	for (const char *at = format; (at = strstr(at, "%p")) != NULL; at += 2)
		if (at[2] && strchr("sSfFB", at[2]))
			return true;
	return false;
}

/* The names of 100,000 functions take longer to read than many a recording. */
static void add_symbols(void *context, struct tep_handle *tep, int type)
{
	struct child *child = context;
	const char *system;
	size_t bytes;
	g_autofree char *format = trace_dat_format(&child->dat, (unsigned)type, &bytes, &system);

	if (!child->has_printk)
		add_text(child, tep, TRACE_DAT_PRINTK, tep_parse_printk_formats);
	child->has_printk = true;
	if (!child->has_functions && format && names_functions(format, system)) {
		add_text(child, tep, TRACE_DAT_KALLSYMS, tep_parse_kallsyms);
		child->has_functions = true;
	}
}

static struct tep_handle *make_tep(struct child *child)
{
	struct trace_dat *dat = &child->dat;
	struct tep_handle *tep = tep_alloc();
	size_t bytes;

	tep_set_loglevel(TEP_LOG_NONE);
	tep_set_file_bigendian(tep, dat->big_endian ? TEP_BIG_ENDIAN : TEP_LITTLE_ENDIAN);
	tep_set_long_size(tep, dat->long_bytes);
	g_autofree char *page = trace_dat_text(dat, TRACE_DAT_HEADER_PAGE, &bytes);
	if (page)
		tep_parse_header_page(tep, page, bytes, dat->long_bytes);
	add_text(child, tep, TRACE_DAT_NAMES, tep_parse_saved_cmdlines);
	return tep;
}

void trace_dat_child(const struct wire_input *input, struct wire_end end)
{
	struct child *child = g_new0(struct child, 1);
	struct trace_dat *dat = &child->dat;
	struct decoder_source source = { add_format, add_symbols, child };

	child->wire = wire_child_new(end);
	if (!trace_dat_open(dat, input->file, input->bytes))
		wire_fail_at(child->wire, dat->problem_at, dat->problem);
	struct tep_handle *tep = make_tep(child);
	struct ring_reader reader = {
		.layout = dat->layout,
		.streams = (struct ring_stream *)(void *)dat->streams->data,
		.count = dat->streams->len,
		.next_page = next_page,
		.malformed = malformed,
		.time_of = dat->clock.set ? time_of : NULL,
		.context = child,
	};
	decoder_send_all(decoder_new(child->wire, tep, dat->big_endian, &source), &reader);
	wire_end(child->wire);
}
