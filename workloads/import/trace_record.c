#include "workloads/import/trace_record.h"

#include <event-parse.h>
#include <stdlib.h>
#include <string.h>
#include <trace-seq.h>
#include "workloads/import/gfp.h"
#include "workloads/import/map64.h"
#include "workloads/import/text.h"

/* common_type has 16 bits. */
#define EVENT_TYPES 65536
#define NUMBERS	    8
#define GFP_BITS    32
/* PID_MAX_LIMIT of Linux. */
#define PIDS (1 << 22)

/* Where a number lies in the records of one event type, and how 8 bytes from there on become it:
 * shifted to the top, then down again. */
struct number {
	uint16_t offset;
	uint8_t field; /* enum raw_field */
	uint8_t up, down;
	bool is_signed;
};

/* What is known of one event type, from the formats in the file. */
struct layout {
	struct tep_event *event;
	uint8_t kind;	    /* enum raw_kind */
	uint8_t missing;    /* enum raw_field: what its records lack */
	bool has_text;	    /* as its kind */
	uint32_t name;	    /* string number, 0: the usual spelling */
	uint32_t bytes;	    /* of the shortest record */
	uint32_t pid_bytes; /* of the shortest that says whose it is; 0: none does */
	uint32_t found;	    /* enum raw_field bits of the numbers */
	uint32_t numbers;
	struct number number[NUMBERS];
	uint16_t pid_offset;
	struct tep_format_field *text;
	bool gfp_renumbered;
	uint32_t gfp_bit[GFP_BITS]; /* the recording's bit -> bits of gfp.h */
};

struct decoder {
	struct wire_child *wire;
	struct tep_handle *tep;
	bool swap;
	struct decoder_source source;
	struct layout *layouts[EVENT_TYPES];
	/* Processes whose name was sent: the last one; all, by bit; numbers that no Linux gives. */
	uint64_t last_task;
	uint64_t tasks[PIDS / 64];
	struct map64 odd_tasks;
	struct trace_seq text;
};

/* Of a type without a format. */
static struct layout unknown;

struct decoder *decoder_new(struct wire_child *wire, struct tep_handle *tep, bool big_endian,
			    const struct decoder_source *source)
{
	struct decoder *decoder = g_new0(struct decoder, 1);

	decoder->wire = wire;
	decoder->tep = tep;
	decoder->swap = big_endian != (G_BYTE_ORDER == G_BIG_ENDIAN);
	decoder->source = *source;
	decoder->last_task = UINT64_MAX;
	trace_seq_init(&decoder->text);
	return decoder;
}

/* ---- formats ---- */

static void send_new_task(struct decoder *decoder, uint32_t pid)
{
	const char *name = tep_data_comm_from_pid(decoder->tep, (int)pid);

	if (name && *name && strcmp(name, "<...>") != 0)
		wire_message_text(decoder->wire, WIRE_TASK, name, strlen(name))->id = pid;
}

static void send_other_task(struct decoder *decoder, uint32_t pid)
{
	decoder->last_task = pid;
	if (pid < PIDS) {
		uint64_t *word = &decoder->tasks[pid / 64], bit = UINT64_C(1) << pid % 64;
		if (*word & bit)
			return;
		*word |= bit;
	} else {
		if (map64_find(&decoder->odd_tasks, pid))
			return;
		map64_put(&decoder->odd_tasks, pid, 1);
	}
	send_new_task(decoder, pid);
}

static inline void send_task(struct decoder *decoder, uint32_t pid)
{
	if (G_UNLIKELY(pid != decoder->last_task))
		send_other_task(decoder, pid);
}

/* Our field for one of the recording's; an older kernel's struct page pointers included. */
static void learn_number(struct decoder *decoder, struct layout *layout,
			 const struct tep_format_field *field)
{
	enum raw_field known = raw_field_find(field->name, strlen(field->name));
	bool fits = field->size == 1 || field->size == 2 || field->size == 4 || field->size == 8;

	if (known == RAW_FIELD_NONE || layout->numbers == NUMBERS || !fits || field->offset < 0 ||
	    field->offset > UINT16_MAX)
		return;
	unsigned rest = 64 - 8 * (unsigned)field->size;
	layout->number[layout->numbers++] = (struct number){
		.offset = (uint16_t)field->offset,
		.field = (uint8_t)known,
		/* The other byte order's first bytes are at the top when they are swapped. */
		.up = (uint8_t)((G_BYTE_ORDER == G_BIG_ENDIAN) == decoder->swap ? rest : 0),
		.down = (uint8_t)rest,
		.is_signed = (field->flags & TEP_FIELD_IS_SIGNED) != 0,
	};
	layout->found |= 1u << known;
	layout->bytes = MAX(layout->bytes, (uint32_t)(field->offset + field->size));
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

/* Where common_type and common_pid are; common_type is where Linux has always had it. */
static bool learn_common(struct layout *layout)
{
	const struct tep_format_field *type = tep_find_common_field(layout->event, "common_type");
	const struct tep_format_field *pid = tep_find_common_field(layout->event, "common_pid");

	if (!type || type->offset != 0 || type->size != 2 || !pid || pid->size != 4 ||
	    pid->offset < 0 || pid->offset > UINT16_MAX)
		return false;
	layout->pid_offset = (uint16_t)pid->offset;
	layout->pid_bytes = layout->pid_offset + 4u;
	layout->bytes = layout->pid_bytes;
	return true;
}

static struct layout *learn(struct decoder *decoder, int type)
{
	bool spelled;

	if (decoder->source.add_format)
		decoder->source.add_format(decoder->source.context, decoder->tep, type);
	struct tep_event *event = tep_find_event(decoder->tep, type);
	if (!event || !event->name)
		return &unknown;
	struct layout *layout = g_new0(struct layout, 1);
	layout->event = event;
	layout->kind = (uint8_t)raw_kind_find(event->name, strlen(event->name), &spelled);
	if (spelled || layout->kind == RAW_OTHER)
		layout->name = wire_string(decoder->wire, event->name, strlen(event->name));
	if (!learn_common(layout))
		return layout;
	if (layout->kind == RAW_OTHER && decoder->source.add_symbols)
		decoder->source.add_symbols(decoder->source.context, decoder->tep, type);
	for (const struct tep_format_field *field = event->format.fields;
	     field && layout->kind != RAW_OTHER; field = field->next)
		learn_number(decoder, layout, field);
	const char *text = text_field_name(layout->kind);
	layout->has_text = text != NULL;
	if (text)
		layout->text = tep_find_field(event, text);
	if (layout->kind != RAW_OTHER)
		layout->missing = (uint8_t)raw_missing((enum raw_kind)layout->kind, layout->found);
	learn_gfp(layout);
	return layout;
}

/* ---- records ---- */

/* Reads 8 bytes, which is more than there are of a record's last number: see ring_reader.h. */
static inline uint64_t read_number(const struct decoder *decoder, const unsigned char *data,
				   const struct number *number)
{
	uint64_t value = ring_load(data + number->offset, 8, decoder->swap) << number->up;

	return number->is_signed ? (uint64_t)((int64_t)value >> number->down)
				 : value >> number->down;
}

/* The text of a record; false where it lies outside of it. */
static bool read_text(struct decoder *decoder, const struct ring_record *record,
		      const struct tep_format_field *field, struct span *out)
{
	size_t size = record->bytes, offset = (size_t)field->offset, bytes = (size_t)field->size;

	if (field->flags & TEP_FIELD_IS_DYNAMIC) {
		if (offset + 4 > size)
			return false;
		uint64_t where = ring_load(record->data + offset, 4, decoder->swap);
		size_t base = field->flags & TEP_FIELD_IS_RELATIVE ? offset + 4 : 0;
		offset = base + (where & 0xffff);
		bytes = where >> 16 & 0xffff;
	} else if (bytes == 0 && offset <= size) {
		bytes = size - offset; /* buf[] goes on to the end */
	}
	if (offset > size || bytes > size - offset)
		return false;
	out->begin = (const char *)record->data + offset;
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

static inline void read_numbers(const struct decoder *decoder, const struct ring_record *record,
				const struct layout *layout, struct raw_event *raw)
{
	struct raw_fields fields;

	fields.found = layout->found;
	for (uint32_t i = 0; i < layout->numbers; i++)
		fields.value[layout->number[i].field] =
			read_number(decoder, record->data, &layout->number[i]);
	raw_fill(raw, &fields);
	if (layout->gfp_renumbered)
		translate_gfp(layout, raw);
}

/* An event of no known kind: the numbers in its text, so that both routes give the same. */
static void read_other(struct decoder *decoder, const struct ring_stream *stream,
		       struct raw_event *raw)
{
	struct tep_record record = {
		.ts = stream->record.time,
		.offset = ring_stream_offset(stream),
		.size = (int)stream->record.bytes,
		.data = (void *)(uintptr_t)stream->record.data,
		.cpu = stream->cpu,
	};

	trace_seq_reset(&decoder->text);
	tep_print_event(decoder->tep, &decoder->text, &record, "%s", TEP_PRINT_INFO);
	struct span text = { decoder->text.buffer, decoder->text.buffer + decoder->text.len };
	raw->u.other.count = text_values(text, raw->u.other.value, RAW_VALUES);
}

static void put_text(struct raw_event *raw, uint32_t id)
{
	if (raw->kind == RAW_MARKER)
		raw->u.marker.text = id;
	else if (raw->kind == RAW_CACHE_FREE)
		raw->u.slab.cache = id;
	else
		raw->u.process.text = id;
}

/* Sends the text of a record. */
static bool send_text(struct decoder *decoder, const struct ring_stream *stream,
		      const struct layout *layout, uint32_t *id)
{
	struct span text;

	if (!read_text(decoder, &stream->record, layout->text, &text)) {
		wire_malformed(decoder->wire, ring_stream_offset(stream),
			       "%s: its %s lies outside of the record", layout->event->name,
			       layout->text->name);
		return false;
	}
	if (layout->kind == RAW_MARKER)
		while (text.end > text.begin && text.end[-1] == '\n')
			text.end--;
	*id = wire_string(decoder->wire, text.begin, span_bytes(text));
	return true;
}

/* Why a record has no event. */
static void send_malformed(struct decoder *decoder, const struct ring_stream *stream,
			   const struct layout *layout, unsigned type)
{
	uint64_t offset = ring_stream_offset(stream);
	unsigned bytes = stream->record.bytes;

	if (layout->pid_bytes == 0 || bytes < layout->pid_bytes)
		wire_malformed(decoder->wire, offset,
			       "no format for a record of type %u and %u bytes", type, bytes);
	else if (bytes < layout->bytes)
		wire_malformed(decoder->wire, offset, "%s of %u bytes is too short",
			       layout->event->name, bytes);
	else
		wire_malformed(decoder->wire, offset, "%s without %s", layout->event->name,
			       raw_field_name((enum raw_field)layout->missing));
}

static void send_lost(struct decoder *decoder, const struct ring_stream *stream)
{
	struct wire_message *lost = wire_message(decoder->wire, WIRE_LOST);

	memset(&lost->u.raw, 0, sizeof lost->u.raw);
	lost->u.raw.time_ns = stream->record.time;
	lost->u.raw.cpu = stream->cpu;
	lost->number = stream->page.lost;
}

static unsigned load_type(const struct decoder *decoder, const unsigned char *data)
{
	uint16_t type;

	memcpy(&type, data, sizeof type);
	return decoder->swap ? __builtin_bswap16(type) : type;
}

static void send(struct decoder *decoder, const struct ring_stream *stream)
{
	const struct ring_record *record = &stream->record;
	unsigned type = record->bytes >= 2 ? load_type(decoder, record->data) : 0;
	struct layout *layout = decoder->layouts[type];
	uint32_t text = 0;

	if (ring_stream_lost(stream))
		send_lost(decoder, stream);
	if (G_UNLIKELY(!layout))
		layout = decoder->layouts[type] = learn(decoder, (int)type);
	if (G_UNLIKELY(record->bytes < layout->bytes || layout->missing ||
		       layout->pid_bytes == 0)) {
		send_malformed(decoder, stream, layout, type);
		return;
	}
	uint32_t pid = (uint32_t)ring_load(record->data + layout->pid_offset, 4, decoder->swap);
	send_task(decoder, pid);
	if (layout->text && !send_text(decoder, stream, layout, &text))
		return;
	struct wire_message *next = wire_message(decoder->wire, WIRE_EVENT);
	struct raw_event *raw = &next->u.raw;
	next->number = ring_stream_offset(stream);
	raw->time_ns = record->time;
	raw->pid = pid;
	raw->cpu = stream->cpu;
	raw->kind = layout->kind;
	raw->name = layout->name;
	if (G_UNLIKELY(layout->kind == RAW_OTHER)) {
		raw->has = 0;
		raw->gfp = 0;
		read_other(decoder, stream, raw);
		return;
	}
	raw->u.slab.previous = 0;
	read_numbers(decoder, record, layout, raw);
	if (layout->has_text)
		put_text(raw, text);
}

void decoder_send_all(struct decoder *decoder, struct ring_reader *reader)
{
	struct ring_stream *stream;

	ring_reader_begin(reader);
	while ((stream = ring_reader_next(reader)) != NULL)
		send(decoder, stream);
}
