#include "workloads/import/trace_dat.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <trace-cmd.h>
#include "workloads/import/gfp.h"
#include "workloads/import/map64.h"
#include "workloads/import/text.h"

/*
 * The reading process. It may die at any point; what it has sent until then stands. Nothing here is
 * freed: the process ends with the file.
 */

/* common_type has 16 bits. */
#define EVENT_TYPES 65536
#define NUMBERS	    8
#define GFP_BITS    32

/* Where a number lies in the records of one event type. */
struct number {
	uint16_t offset;
	uint8_t size;
	uint8_t field; /* enum raw_field */
	bool is_signed;
};

/* What is known of one event type, from the formats in the file. */
struct layout {
	struct tep_event *event;
	uint8_t kind;  /* enum raw_kind */
	uint32_t name; /* string number, 0: the usual spelling */
	int pid_offset;
	uint32_t numbers;
	struct number number[NUMBERS];
	struct tep_format_field *text;
	bool gfp_renumbered;
	uint32_t gfp_bit[GFP_BITS]; /* the recording's bit -> bits of gfp.h */
};

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
	struct layout *layouts[EVENT_TYPES];
	struct stream *streams;
	int stream_count;
	struct map64 tasks; /* processes whose name was sent */
	struct trace_seq text;
};

/* ---- formats ---- */

static void send_task(struct child *child, uint32_t pid)
{
	if (map64_find(&child->tasks, pid))
		return;
	map64_put(&child->tasks, pid, 1);
	const char *name = tep_data_comm_from_pid(child->tep, (int)pid);
	if (name && *name && strcmp(name, "<...>") != 0)
		wire_message_text(child->wire, WIRE_TASK, name, strlen(name))->id = pid;
}

/* Our field for one of the recording's; an older kernel's struct page pointers included. */
static void learn_number(struct layout *layout, const struct tep_format_field *field)
{
	enum raw_field known = raw_field_find(field->name, strlen(field->name));
	bool fits = field->size == 1 || field->size == 2 || field->size == 4 || field->size == 8;

	if (known == RAW_FIELD_NONE || layout->numbers == NUMBERS || !fits || field->offset < 0 ||
	    field->offset > UINT16_MAX)
		return;
	layout->number[layout->numbers++] =
		(struct number){ (uint16_t)field->offset, (uint8_t)field->size, (uint8_t)known,
				 (field->flags & TEP_FIELD_IS_SIGNED) != 0 };
}

static const char *text_field_name(uint8_t kind)
{
	switch ((enum raw_kind)kind) {
	case RAW_MARKER:
		return "buf";
	case RAW_EXEC:
		return "filename";
	case RAW_FORK:
		return "child_comm";
	case RAW_EXIT:
		return "comm";
	case RAW_CACHE_FREE:
		return "name";
	default:
		return NULL;
	}
}

static const struct tep_print_flag_sym *find_flags(const struct tep_print_arg *arg)
{
	if (!arg)
		return NULL;
	if (arg->type == TEP_PRINT_FLAGS)
		return arg->flags.flags;
	if (arg->type != TEP_PRINT_OP)
		return NULL;
	const struct tep_print_flag_sym *flags = find_flags(arg->op.left);
	return flags ? flags : find_flags(arg->op.right);
}

/* The format says which bit each flag's name has in this kernel. */
static void learn_gfp(struct layout *layout)
{
	const struct tep_print_flag_sym *flag = NULL;

	for (const struct tep_print_arg *arg = layout->event->print_fmt.args; arg && !flag;
	     arg = arg->next)
		flag = find_flags(arg);
	for (int bit = 0; bit < GFP_BITS; bit++)
		layout->gfp_bit[bit] = UINT32_C(1) << bit;
	for (; flag; flag = flag->next) {
		uint64_t bits = flag->value ? strtoull(flag->value, NULL, 0) : 0;
		uint32_t ours;
		if (!flag->str || bits == 0 || bits > UINT32_MAX || (bits & (bits - 1)) != 0 ||
		    !gfp_name_bits(flag->str, strlen(flag->str), &ours))
			continue;
		/* GFP_NOWAIT and its like stand for their one bit of old as well. */
		if ((ours & (ours - 1)) != 0)
			continue;
		layout->gfp_bit[__builtin_ctzll(bits)] = ours;
		layout->gfp_renumbered |= ours != bits;
	}
}

static struct layout *learn(struct child *child, int type)
{
	struct tep_event *event = tep_find_event(child->tep, type);
	bool spelled;

	if (!event || !event->name)
		return NULL;
	struct layout *layout = g_new0(struct layout, 1);
	layout->event = event;
	layout->kind = (uint8_t)raw_kind_find(event->name, strlen(event->name), &spelled);
	if (spelled || layout->kind == RAW_OTHER)
		layout->name = wire_string(child->wire, event->name, strlen(event->name));
	const struct tep_format_field *pid = tep_find_common_field(event, "common_pid");
	layout->pid_offset = pid && pid->size == 4 ? pid->offset : -1;
	for (const struct tep_format_field *field = event->format.fields; field;
	     field = field->next)
		learn_number(layout, field);
	const char *text = text_field_name(layout->kind);
	if (text)
		layout->text = tep_find_field(event, text);
	learn_gfp(layout);
	return layout;
}

/* ---- records ---- */

static uint64_t read_number(struct child *child, const char *data, const struct number *number)
{
	uint64_t value = tep_read_number(child->tep, data + number->offset, number->size);

	if (number->is_signed && number->size < 8) {
		unsigned shift = 64 - 8u * number->size;
		value = (uint64_t)((int64_t)(value << shift) >> shift);
	}
	return value;
}

/* The text of a record; false where it lies outside of it. */
static bool read_text(struct child *child, const struct tep_record *record,
		      const struct tep_format_field *field, struct span *out)
{
	size_t size = (size_t)record->size, offset = (size_t)field->offset,
	       bytes = (size_t)field->size;
	const char *data = record->data;

	if (field->flags & TEP_FIELD_IS_DYNAMIC) {
		if (offset + 4 > size)
			return false;
		uint64_t where = tep_read_number(child->tep, data + offset, 4);
		size_t base = field->flags & TEP_FIELD_IS_RELATIVE ? offset + 4 : 0;
		offset = base + (where & 0xffff);
		bytes = where >> 16 & 0xffff;
	} else if (bytes == 0 && offset <= size) {
		bytes = size - offset; /* buf[] goes on to the end */
	}
	if (offset > size || bytes > size - offset)
		return false;
	out->begin = data + offset;
	out->end = out->begin + strnlen(out->begin, bytes);
	return true;
}

static void translate_gfp(const struct layout *layout, struct raw_event *raw)
{
	uint32_t ours = 0;

	for (uint32_t left = raw->gfp; left; left &= left - 1)
		ours |= layout->gfp_bit[__builtin_ctz(left)];
	raw->gfp = ours;
}

static bool read_numbers(struct child *child, const struct tep_record *record,
			 const struct layout *layout, struct raw_event *raw)
{
	struct raw_fields fields;
	const char *name = layout->event->name;

	memset(&fields, 0, sizeof fields);
	for (uint32_t i = 0; i < layout->numbers; i++) {
		const struct number *number = &layout->number[i];
		if (number->offset + number->size > record->size) {
			wire_malformed(child->wire, record->offset, "%s of %d bytes is too short",
				       name, record->size);
			return false;
		}
		fields.value[number->field] = read_number(child, record->data, number);
		fields.found |= 1u << number->field;
	}
	enum raw_field missing = raw_build(raw, &fields);
	if (missing != RAW_FIELD_NONE) {
		wire_malformed(child->wire, record->offset, "%s without %s", name,
			       raw_field_name(missing));
		return false;
	}
	if (layout->gfp_renumbered)
		translate_gfp(layout, raw);
	return true;
}

/* An event of no known kind: the numbers in its text, so that both routes give the same. */
static void read_other(struct child *child, struct tep_record *record, struct raw_event *raw)
{
	trace_seq_reset(&child->text);
	tep_print_event(child->tep, &child->text, record, "%s", TEP_PRINT_INFO);
	struct span text = { child->text.buffer, child->text.buffer + child->text.len };
	raw->u.other.count = text_values(text, raw->u.other.value, RAW_VALUES);
}

static bool read_string(struct child *child, const struct tep_record *record,
			const struct layout *layout, struct raw_event *raw)
{
	struct span text = { "", "" };
	uint32_t id = 0;

	if (layout->text && !read_text(child, record, layout->text, &text)) {
		wire_malformed(child->wire, record->offset, "%s: its %s lies outside of the record",
			       layout->event->name, layout->text->name);
		return false;
	}
	if (raw->kind == RAW_MARKER)
		while (text.end > text.begin && text.end[-1] == '\n')
			text.end--;
	if (layout->text)
		id = wire_string(child->wire, text.begin, span_bytes(text));
	if (raw->kind == RAW_MARKER)
		raw->u.marker.text = id;
	else if (raw->kind == RAW_CACHE_FREE)
		raw->u.slab.cache = id;
	else
		raw->u.process.text = id;
	return true;
}

static bool read_record(struct child *child, struct tep_record *record, struct raw_event *raw)
{
	int type = tep_data_type(child->tep, record);
	struct layout *layout = NULL;

	if (type >= 0 && type < EVENT_TYPES) {
		if (!child->layouts[type])
			child->layouts[type] = learn(child, type);
		layout = child->layouts[type];
	}
	if (!layout || layout->pid_offset < 0 || layout->pid_offset + 4 > record->size) {
		wire_malformed(child->wire, record->offset,
			       "no format for a record of type %d and %d bytes", type,
			       record->size);
		return false;
	}
	memset(raw, 0, sizeof *raw);
	raw->time_ns = record->ts;
	raw->cpu = (uint16_t)MIN((unsigned)record->cpu, UINT16_MAX);
	raw->kind = layout->kind;
	raw->name = layout->name;
	raw->pid = (uint32_t)tep_read_number(child->tep,
					     (const char *)record->data + layout->pid_offset, 4);
	send_task(child, raw->pid);
	if (raw->kind == RAW_OTHER) {
		read_other(child, record, raw);
		return true;
	}
	return read_numbers(child, record, layout, raw) &&
	       (!text_field_name(raw->kind) || read_string(child, record, layout, raw));
}

static void send_record(struct child *child, struct tep_record *record)
{
	struct raw_event raw;

	if (record->missed_events != 0) {
		struct wire_message *lost = wire_message(child->wire, WIRE_LOST);
		memset(&lost->u.raw, 0, sizeof lost->u.raw);
		lost->u.raw.time_ns = record->ts;
		lost->u.raw.cpu = (uint16_t)MIN((unsigned)record->cpu, UINT16_MAX - 1);
		lost->number = record->missed_events > 0 ? (uint64_t)record->missed_events : 0;
	}
	if (!read_record(child, record, &raw))
		return;
	struct wire_message *next = wire_message(child->wire, WIRE_EVENT);
	next->number = record->offset;
	next->u.raw = raw;
}

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
	trace_seq_init(&child->text);
	open_streams(child, input->file);
	while ((stream = earliest(child)) != NULL) {
		send_record(child, stream->record);
		tracecmd_free_record(stream->record);
		advance(stream);
	}
	check_ends(child);
	wire_end(child->wire);
}
