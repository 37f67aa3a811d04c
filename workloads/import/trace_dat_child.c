#include "workloads/import/trace_dat.h"

#include <glib.h>
#include <trace-cmd.h>
#include "workloads/import/trace_record.h"

/*
 * The reading process. It may die at any point; what it has sent until then stands. Nothing here is
 * freed: the process ends with the file.
 */

/* One CPU of one buffer. */
struct stream {
	struct tracecmd_input *handle;
	struct tep_record *record; /* the next one, NULL at the end */
	int cpu;
	uint64_t first, last; /* bytes of records in the file (version 7: as decompressed) */
};

/* Bytes of a CPU's data. In the library, but not in its header; not there: 0, nothing is checked.
 */
extern unsigned long long tracecmd_get_cpu_file_size(struct tracecmd_input *handle, int cpu)
	__attribute__((weak));

struct child {
	struct wire_child *wire;
	struct tep_handle *tep;
	struct decoder *decoder;
	struct stream *streams;
	int stream_count;
};

/* ---- the file ---- */

static void advance(struct stream *stream)
{
	stream->record = tracecmd_read_data(stream->handle, stream->cpu);
	if (stream->record)
		stream->last = stream->record->offset;
}

static void add_streams(struct child *child, struct tracecmd_input *handle, int cpus)
{
	child->streams = g_renew(struct stream, child->streams, child->stream_count + cpus);
	for (int cpu = 0; cpu < cpus; cpu++) {
		struct stream *stream = &child->streams[child->stream_count++];
		*stream = (struct stream){ .handle = handle, .cpu = cpu };
		advance(stream);
		stream->first = stream->last;
	}
}

/* The library stops at a page that it cannot read, without a word: a stream must end in the last
 * page of its data. */
static void check_ends(struct child *child)
{
	uint64_t page = (uint64_t)MAX(tep_get_sub_buffer_size(child->tep), 1);

	for (int i = 0; i < child->stream_count && tracecmd_get_cpu_file_size; i++) {
		const struct stream *stream = &child->streams[i];
		uint64_t bytes = tracecmd_get_cpu_file_size(stream->handle, stream->cpu);
		uint64_t read = stream->last - stream->first / page * page;
		if (bytes > 0 && read + page < bytes)
			wire_malformed(child->wire, stream->last,
				       "data of CPU %d damaged behind byte %" G_GUINT64_FORMAT
				       " of %" G_GUINT64_FORMAT,
				       stream->cpu, read, bytes);
	}
}

/* The stream with the earliest record, the first of several, as trace-cmd merges. */
static struct stream *earliest(struct child *child)
{
	struct stream *best = NULL;

	for (int i = 0; i < child->stream_count; i++) {
		struct stream *stream = &child->streams[i];
		if (stream->record && (!best || stream->record->ts < best->record->ts))
			best = stream;
	}
	return best;
}

static void open_streams(struct child *child, int file)
{
	struct tracecmd_input *handle = tracecmd_open_fd(file, TRACECMD_FL_LOAD_NO_PLUGINS);
	if (!handle)
		wire_fail(child->wire, "not a whole trace.dat");
	child->tep = tracecmd_get_tep(handle);
	int cpus = child->tep ? tep_get_cpus(child->tep) : 0;
	if (cpus <= 0 || cpus >= UINT16_MAX)
		wire_fail(child->wire, "no sane number of CPUs");
	add_streams(child, handle, cpus);
	for (int i = 0; i < tracecmd_buffer_instances(handle); i++) {
		struct tracecmd_input *instance = tracecmd_buffer_instance_handle(handle, i);
		if (!instance)
			wire_fail(child->wire, "a buffer instance that cannot be read");
		add_streams(child, instance, cpus);
	}
}

void trace_dat_child(const struct wire_input *input, struct wire_end end)
{
	struct child *child = g_new0(struct child, 1);
	struct stream *stream;

	tracecmd_set_loglevel(TEP_LOG_WARNING);
	child->wire = wire_child_new(end);
	open_streams(child, input->file);
	child->decoder = decoder_new(child->wire, child->tep);
	while ((stream = earliest(child)) != NULL) {
		decoder_send(child->decoder, stream->record);
		tracecmd_free_record(stream->record);
		advance(stream);
	}
	check_ends(child);
	wire_end(child->wire);
}
