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

struct decoder {
	struct wire_child *wire;
	struct tep_handle *tep;
	struct layout *layouts[EVENT_TYPES];
	struct map64 tasks; /* processes whose name was sent */
	struct trace_seq text;
};

struct decoder *decoder_new(struct wire_child *wire, struct tep_handle *tep)
{
	struct decoder *decoder = g_new0(struct decoder, 1);

	decoder->wire = wire;
	decoder->tep = tep;
	trace_seq_init(&decoder->text);
	return decoder;
}

/* ---- formats ---- */

static void send_task(struct decoder *decoder, uint32_t pid)
{
	if (map64_find(&decoder->tasks, pid))
		return;
	map64_put(&decoder->tasks, pid, 1);
	const char *name = tep_data_comm_from_pid(decoder->tep, (int)pid);
	if (name && *name && strcmp(name, "<...>") != 0)
		wire_message_text(decoder->wire, WIRE_TASK, name, strlen(name))->id = pid;
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

static struct layout *learn(struct decoder *decoder, int type)
{
	struct tep_event *event = tep_find_event(decoder->tep, type);
	bool spelled;

	if (!event || !event->name)
		return NULL;
	struct layout *layout = g_new0(struct layout, 1);
	layout->event = event;
	layout->kind = (uint8_t)raw_kind_find(event->name, strlen(event->name), &spelled);
	if (spelled || layout->kind == RAW_OTHER)
		layout->name = wire_string(decoder->wire, event->name, strlen(event->name));
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

static uint64_t read_number(struct decoder *decoder, const char *data, const struct number *number)
{
	uint64_t value = tep_read_number(decoder->tep, data + number->offset, number->size);

	if (number->is_signed && number->size < 8) {
		unsigned shift = 64 - 8u * number->size;
		value = (uint64_t)((int64_t)(value << shift) >> shift);
	}
	return value;
}

/* The text of a record; false where it lies outside of it. */
static bool read_text(struct decoder *decoder, const struct tep_record *record,
		      const struct tep_format_field *field, struct span *out)
{
	size_t size = (size_t)record->size, offset = (size_t)field->offset,
	       bytes = (size_t)field->size;
	const char *data = record->data;

	if (field->flags & TEP_FIELD_IS_DYNAMIC) {
		if (offset + 4 > size)
			return false;
		uint64_t where = tep_read_number(decoder->tep, data + offset, 4);
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

static bool read_numbers(struct decoder *decoder, const struct tep_record *record,
			 const struct layout *layout, struct raw_event *raw)
{
	struct raw_fields fields;
	const char *name = layout->event->name;

	fields.found = 0;
	for (uint32_t i = 0; i < layout->numbers; i++) {
		const struct number *number = &layout->number[i];
		if (number->offset + number->size > record->size) {
			wire_malformed(decoder->wire, record->offset, "%s of %d bytes is too short",
				       name, record->size);
			return false;
		}
		fields.value[number->field] = read_number(decoder, record->data, number);
		fields.found |= 1u << number->field;
	}
	enum raw_field missing = raw_build(raw, &fields);
	if (missing != RAW_FIELD_NONE) {
		wire_malformed(decoder->wire, record->offset, "%s without %s", name,
			       raw_field_name(missing));
		return false;
	}
	if (layout->gfp_renumbered)
		translate_gfp(layout, raw);
	return true;
}

/* An event of no known kind: the numbers in its text, so that both routes give the same. */
static void read_other(struct decoder *decoder, struct tep_record *record, struct raw_event *raw)
{
	trace_seq_reset(&decoder->text);
	tep_print_event(decoder->tep, &decoder->text, record, "%s", TEP_PRINT_INFO);
	struct span text = { decoder->text.buffer, decoder->text.buffer + decoder->text.len };
	raw->u.other.count = text_values(text, raw->u.other.value, RAW_VALUES);
}

static bool read_string(struct decoder *decoder, const struct tep_record *record,
			const struct layout *layout, struct raw_event *raw)
{
	struct span text = { "", "" };
	uint32_t id = 0;

	if (layout->text && !read_text(decoder, record, layout->text, &text)) {
		wire_malformed(decoder->wire, record->offset,
			       "%s: its %s lies outside of the record", layout->event->name,
			       layout->text->name);
		return false;
	}
	if (raw->kind == RAW_MARKER)
		while (text.end > text.begin && text.end[-1] == '\n')
			text.end--;
	if (layout->text)
		id = wire_string(decoder->wire, text.begin, span_bytes(text));
	if (raw->kind == RAW_MARKER)
		raw->u.marker.text = id;
	else if (raw->kind == RAW_CACHE_FREE)
		raw->u.slab.cache = id;
	else
		raw->u.process.text = id;
	return true;
}

static bool read_record(struct decoder *decoder, struct tep_record *record, struct raw_event *raw)
{
	int type = tep_data_type(decoder->tep, record);
	struct layout *layout = NULL;

	if (type >= 0 && type < EVENT_TYPES) {
		if (!decoder->layouts[type])
			decoder->layouts[type] = learn(decoder, type);
		layout = decoder->layouts[type];
	}
	if (!layout || layout->pid_offset < 0 || layout->pid_offset + 4 > record->size) {
		wire_malformed(decoder->wire, record->offset,
			       "no format for a record of type %d and %d bytes", type,
			       record->size);
		return false;
	}
	memset(raw, 0, sizeof *raw);
	raw->time_ns = record->ts;
	raw->cpu = (uint16_t)MIN((unsigned)record->cpu, UINT16_MAX);
	raw->kind = layout->kind;
	raw->name = layout->name;
	raw->pid = (uint32_t)tep_read_number(decoder->tep,
					     (const char *)record->data + layout->pid_offset, 4);
	send_task(decoder, raw->pid);
	if (raw->kind == RAW_OTHER) {
		read_other(decoder, record, raw);
		return true;
	}
	return read_numbers(decoder, record, layout, raw) &&
	       (!text_field_name(raw->kind) || read_string(decoder, record, layout, raw));
}

void decoder_send(struct decoder *decoder, struct tep_record *record)
{
	struct raw_event raw;

	if (record->missed_events != 0) {
		struct wire_message *lost = wire_message(decoder->wire, WIRE_LOST);
		memset(&lost->u.raw, 0, sizeof lost->u.raw);
		lost->u.raw.time_ns = record->ts;
		lost->u.raw.cpu = (uint16_t)MIN((unsigned)record->cpu, UINT16_MAX - 1);
		lost->number = record->missed_events > 0 ? (uint64_t)record->missed_events : 0;
	}
	if (!read_record(decoder, record, &raw))
		return;
	struct wire_message *next = wire_message(decoder->wire, WIRE_EVENT);
	next->number = record->offset;
	next->u.raw = raw;
}
