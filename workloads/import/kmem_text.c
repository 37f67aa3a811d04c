#include "workloads/import/kmem_text.h"

#include <string.h>
#include "workloads/import/gfp.h"
#include "workloads/import/line_shape.h"
#include "workloads/import/lines.h"

/* Direct-mapped caches, powers of two. */
#define KNOWN_LINES 512
#define TASK_CACHE  256
#define GFP_CACHE   64
#define GFP_BYTES   120
#define NAME_CACHE  64
#define NAME_BYTES  48
#define KEY_BYTES   WIDE_BYTES
#define KEYS	    12
/* So many are less than 2^64 ns. */
#define SECONDS_DIGITS 10

struct task_entry {
	uint32_t pid;
	uint32_t bytes;
	char comm[KMEM_COMM_COLUMNS];
};

struct gfp_entry {
	uint32_t bits;
	uint32_t bytes;
	char text[GFP_BYTES];
};

/* A field's name with its '='. */
struct key {
	uint16_t bytes; /* 0: none yet */
	uint8_t field;	/* enum raw_field */
	char text[KEY_BYTES];
};

/* What an event's name means. */
struct name_entry {
	uint32_t string; /* struct raw_event.name */
	uint8_t kind;	 /* enum raw_kind */
	uint8_t bytes;
	char text[NAME_BYTES];
	struct key keys[KEYS]; /* in the order of the event seen last */
};

/* The numbers of a line that stand before its fields. */
enum head_number { NUMBER_PID = 0, NUMBER_CPU, NUMBER_SECONDS, NUMBER_FRACTION, HEAD_NUMBERS };

/* A line that was read, and what it means. */
struct known_line {
	struct line_shape shape;
	struct span comm;	      /* columns of shape.text */
	uint8_t kind;		      /* enum raw_kind */
	uint8_t field[SHAPE_NUMBERS]; /* enum raw_field of its numbers, those of the head apart */
	uint32_t name, cache;	      /* struct raw_event */
	uint64_t nanoseconds;	      /* of a unit of its fraction */
	struct raw_fields fields;     /* with the values of those that are no numbers */
};

struct kmem_text {
	struct owners *owners;
	struct raw_event raw;	 /* the line's event, and in part the one before */
	struct name_entry *name; /* of the line's event */
	struct raw_fields fields;
	/* The numbers of the line, for its shape. */
	const char *line;
	unsigned numbers;
	struct shape_number number[SHAPE_NUMBERS];
	uint8_t number_field[SHAPE_NUMBERS];
	size_t name_column; /* where the event's name stood last */
	struct task_entry tasks[TASK_CACHE];
	struct gfp_entry gfps[GFP_CACHE];
	struct name_entry names[NAME_CACHE];
	struct known_line known[KNOWN_LINES];
};

struct kmem_text *kmem_text_new(struct owners *owners)
{
	struct kmem_text *kmem = g_new0(struct kmem_text, 1);

	kmem->owners = owners;
	for (int i = 0; i < TASK_CACHE; i++)
		kmem->tasks[i].pid = UINT32_MAX;
	return kmem;
}

void kmem_text_free(struct kmem_text *kmem)
{
	g_free(kmem);
}

/* ---- heads ---- */

/* Nanoseconds of a unit of the last of so many decimals. */
static const uint64_t unit_ns[] = { 1000000000, 100000000, 10000000, 1000000, 100000,
				    10000,	1000,	   100,	     10,      1 };

const char *kmem_text_time(const char *p, const char *end, struct kmem_head *head)
{
	uint64_t whole, part = 0;
	const char *next = kmem_text_digits(p, end, &whole, &head->seconds);

	head->fraction = (struct span){ next, next };
	if (next < end && *next == '.') {
		p = next + 1;
		next = kmem_text_digits(p, end, &part, &head->fraction);
		if (next == p || next - p > 9 || whole > UINT64_MAX / 1000000000 - 1)
			return NULL;
		whole = whole * 1000000000 + part * unit_ns[next - p];
	}
	head->time_ns = whole;
	return next < end && *next == ':' ? next + 1 : NULL;
}

bool kmem_text_name(const char *p, const char *end, struct kmem_head *head)
{
	p = text_skip_blanks(p, end);
	const char *colon = wide_find(p, end, ':');

	/* A colon before anything else ends the system. */
	while (colon && colon + 1 < end && colon[1] != ' ')
		colon = wide_find(colon + 1, end, ':');
	if (!colon || colon == p)
		return false;
	head->name = (struct span){ p, colon };
	head->rest = (struct span){ text_skip_blanks(colon + 1, end), end };
	return true;
}

/* ---- the fields ---- */

static bool scan_gfp(struct kmem_text *kmem, struct span text, uint64_t *value)
{
	size_t bytes = span_bytes(text);
	uint32_t bits = 0;

	if (bytes == 0 || bytes > GFP_BYTES) {
		bool known = bytes > 0 && gfp_parse(text.begin, bytes, &bits);
		*value = bits;
		return known;
	}
	struct gfp_entry *entry =
		&kmem->gfps[(bytes * 7 + (unsigned char)text.begin[bytes / 2]) % GFP_CACHE];
	if (entry->bytes != bytes || memcmp(entry->text, text.begin, bytes) != 0) {
		if (!gfp_parse(text.begin, bytes, &bits))
			return false;
		entry->bits = bits;
		entry->bytes = (uint32_t)bytes;
		memcpy(entry->text, text.begin, bytes);
	}
	*value = entry->bits;
	return true;
}

/* A call site is an address where the recorder prints one, otherwise the name of its function. */
static uint64_t scan_site(struct kmem_text *kmem, struct span text)
{
	uint64_t address;

	if (span_bytes(text) >= 8 && text_pointer(text, &address))
		return address;
	return owners_string(kmem->owners, text.begin, span_bytes(text));
}

static bool scan_value(struct kmem_text *kmem, enum raw_field field, struct span text)
{
	uint64_t *value = &kmem->fields.value[field];

	switch (field) {
	case RAW_FIELD_PAGE:
	case RAW_FIELD_PTR:
		return text_pointer(text, value);
	case RAW_FIELD_GFP_FLAGS:
		return scan_gfp(kmem, text, value);
	case RAW_FIELD_CALL_SITE:
		*value = scan_site(kmem, text);
		return true;
	default:
		return text_number(text, value);
	}
}

static bool is_key(const struct key *key, const char *p, const char *end)
{
	return key->bytes > 0 && key->bytes <= MIN(end - p, KEY_BYTES) &&
	       wide_same(key->text, p, key->bytes);
}

/* Reads the key at P, up to and with its '='; a short one is known when it comes again. Returns
 * false for a word without one. */
static bool learn_key(struct key *key, const char *p, const char *end)
{
	const char *equals = p;

	while (equals < end && *equals != '=' && *equals != ' ')
		equals++;
	if (equals == end || *equals == ' ')
		return false;
	size_t bytes = (size_t)(equals + 1 - p);
	if (bytes > UINT16_MAX)
		return false; /* and nobody's field */
	key->field = (uint8_t)raw_field_find(p, bytes - 1);
	key->bytes = (uint16_t)bytes;
	memcpy(key->text, p, MIN(bytes, KEY_BYTES));
	return true;
}

/* Notes where a number of the line stands. */
static void note_number(struct kmem_text *kmem, enum raw_field field, const char *begin,
			const char *end, enum shape_kind kind)
{
	if (kmem->numbers < SHAPE_NUMBERS && end - kmem->line <= SHAPE_BYTES) {
		kmem->number[kmem->numbers] =
			(struct shape_number){ .at = (uint8_t)(begin - kmem->line),
					       .digits = (uint8_t)(end - begin),
					       .kind = (uint8_t)kind };
		kmem->number_field[kmem->numbers] = (uint8_t)field;
	}
	kmem->numbers++;
}

/* The value of a field that is ours. Returns where it ends, NULL if it is no value. */
static const char *scan_known(struct kmem_text *kmem, enum raw_field field, const char *p,
			      const char *end)
{
	uint64_t *value = &kmem->fields.value[field];
	const char *next = NULL;

	/* Where frames are named by their numbers, only whether there is a struct page counts. */
	if (field == RAW_FIELD_PAGE && end - p > 2 && p[0] == '0' && p[1] == 'x' && p[2] != '0' &&
	    !raw_kind_has_pointer((enum raw_kind)kmem->raw.kind)) {
		*value = 1;
		next = wide_word_end(p, end);
		note_number(kmem, RAW_FIELD_NONE, p + 3, next, SHAPE_WORD);
		return next;
	}
	/* Nearly all are plain numbers. */
	if (field != RAW_FIELD_GFP_FLAGS && field != RAW_FIELD_CALL_SITE) {
		bool pointer = field == RAW_FIELD_PTR || field == RAW_FIELD_PAGE;
		bool marked = end - p > 2 && p[0] == '0' && p[1] == 'x';
		next = wide_plain_number(p, end, pointer, value);
		if (next)
			note_number(kmem, field, marked ? p + 2 : p, next,
				    pointer || marked ? SHAPE_HEX : SHAPE_DECIMAL);
	}
	if (next)
		return next;
	next = wide_word_end(p, end);
	return scan_value(kmem, field, (struct span){ p, next }) ? next : NULL;
}

/* "key=value key=value", perhaps behind something in parentheses. Events of a name have the same
 * keys in the same order nearly always, so that each is compared with the one before. */
static bool scan_fields(struct kmem_text *kmem, struct span rest, GError **error)
{
	const char *p = rest.begin, *end = rest.end;
	struct key *key = kmem->name->keys, *last = key + KEYS - 1;

	kmem->fields.found = 0;
	if (p < end && *p == '(') {
		p = memchr(p, ')', (size_t)(end - p));
		p = p ? p + 1 : end;
	}
	while ((p = text_skip_blanks(p, end)) < end) {
		if (!is_key(key, p, end) && !learn_key(key, p, end)) {
			p = wide_word_end(p, end);
			continue;
		}
		const char *value = p + key->bytes;
		enum raw_field field = (enum raw_field)key->field;
		const char *next = field == RAW_FIELD_NONE ? wide_word_end(value, end)
							   : scan_known(kmem, field, value, end);
		if (!next)
			return line_problem_at(
				error, "not a value:", (struct span){ p, wide_word_end(p, end) });
		kmem->fields.found |= 1u << field;
		key += key < last;
		p = next;
	}
	return true;
}

static uint32_t string_of(struct kmem_text *kmem, struct span text)
{
	return owners_string(kmem->owners, text.begin, span_bytes(text));
}

static bool build_process(struct kmem_text *kmem, const struct kmem_head *head, GError **error)
{
	struct raw_event *raw = &kmem->raw;
	struct span text = head->rest;
	bool found;

	if (raw->kind == RAW_EXEC)
		found = text_between(text, "filename=", " pid=", &text);
	else if (raw->kind == RAW_FORK)
		found = text_between(text, "child_comm=", " child_pid=", &text);
	else
		found = text_between(text, "comm=", " pid=", &text);
	if (!found || text.end == head->rest.end)
		return line_problem(error, raw->kind == RAW_EXEC   ? "no filename and pid"
					   : raw->kind == RAW_FORK ? "no child_comm and child_pid"
								   : "no comm and pid");
	raw->u.process.text = string_of(kmem, text);
	if (raw->kind != RAW_FORK)
		return true;
	/* Only what follows the names: they may hold anything. */
	return scan_fields(kmem, (struct span){ text.end, head->rest.end }, error);
}

/* Not tracing_mark_write, the function that `cat trace` names. */
static bool is_print(struct span name)
{
	return span_bytes(name) >= 5 && memcmp(name.end - 5, "print", 5) == 0;
}

static bool build_marker(struct kmem_text *kmem, const struct kmem_head *head)
{
	struct span text = head->rest;
	const char *colon;

	/* trace-cmd prints the function that wrote the marker before it. */
	if (is_print(head->name) && (colon = memchr(text.begin, ':', span_bytes(text))) != NULL)
		text.begin = text_skip_blanks(colon + 1, text.end);
	kmem->raw.u.marker.text = string_of(kmem, text);
	return true;
}

static bool finish_fields(struct kmem_text *kmem, struct raw_fields *fields, GError **error)
{
	struct raw_event *raw = &kmem->raw;

	/* A failed allocation is printed as "page=(nil) pfn=0x0". */
	if (raw->kind == RAW_PAGE_ALLOC && (fields->found & 1u << RAW_FIELD_PFN) &&
	    fields->value[RAW_FIELD_PFN] == 0 && raw_field_value(fields, RAW_FIELD_PAGE) == 0)
		fields->value[RAW_FIELD_PFN] = RAW_NO_PFN;
	enum raw_field missing = raw_build(raw, fields);
	if (missing == RAW_FIELD_NONE)
		return true;
	g_set_error(error, TRACE_ERROR, TRACE_ERROR_FORMAT, "%s without %s",
		    raw_kind_name((enum raw_kind)raw->kind), raw_field_name(missing));
	return false;
}

static bool build_event(struct kmem_text *kmem, const struct kmem_head *head, GError **error)
{
	struct raw_event *raw = &kmem->raw;
	struct span name;

	switch ((enum raw_kind)raw->kind) {
	case RAW_MARKER:
		return build_marker(kmem, head);
	case RAW_OTHER:
		raw->u.other.count = text_values(head->rest, raw->u.other.value, RAW_VALUES);
		return true;
	case RAW_EXEC:
	case RAW_EXIT:
		return build_process(kmem, head, error);
	case RAW_FORK:
		if (!build_process(kmem, head, error))
			return false;
		raw->u.process.child =
			(uint32_t)raw_field_value(&kmem->fields, RAW_FIELD_CHILD_PID);
		return true;
	default:
		break;
	}
	if (!scan_fields(kmem, head->rest, error) || !finish_fields(kmem, &kmem->fields, error))
		return false;
	if (raw->kind == RAW_CACHE_FREE && text_between(head->rest, " name=", "\n", &name))
		raw->u.slab.cache = string_of(kmem, name);
	return true;
}

/* ---- names ---- */

static bool same_name(const struct name_entry *entry, struct span name)
{
	for (size_t at = 0; at < entry->bytes; at += WIDE_BYTES)
		if (!wide_same(entry->text + at, name.begin + at,
			       MIN(entry->bytes - at, (size_t)WIDE_BYTES)))
			return false;
	return entry->bytes > 0;
}

/* Looks the name up; what it means is remembered. */
static struct name_entry *name_of(struct kmem_text *kmem, struct span name)
{
	size_t bytes = span_bytes(name);
	/* Middle and last letter tell the usual names apart. */
	struct name_entry *entry =
		&kmem->names[(bytes * 5 + (unsigned char)name.begin[bytes / 2] * 3 +
			      (unsigned char)name.end[-1]) %
			     NAME_CACHE];
	bool spelled;

	if (entry->bytes == bytes && same_name(entry, name))
		return entry;
	const char *colon = memrchr(name.begin, ':', bytes);
	const char *base = colon ? colon + 1 : name.begin;
	entry->kind = (uint8_t)raw_kind_find(base, (size_t)(name.end - base), &spelled);
	entry->string = spelled || colon || entry->kind == RAW_OTHER ? string_of(kmem, name) : 0;
	entry->bytes = (uint8_t)(bytes <= NAME_BYTES ? bytes : 0);
	memcpy(entry->text, name.begin, entry->bytes);
	memset(entry->keys, 0, sizeof entry->keys);
	return entry;
}

static void note_task(struct kmem_text *kmem, const struct kmem_head *head)
{
	struct task_entry *entry = &kmem->tasks[head->pid % TASK_CACHE];
	size_t bytes = span_bytes(head->comm);

	if (entry->pid == head->pid && entry->bytes == bytes &&
	    wide_same(entry->comm, head->comm.begin, bytes))
		return;
	if (bytes == 0 || bytes > KMEM_COMM_COLUMNS ||
	    (bytes == 5 && memcmp(head->comm.begin, "<...>", 5) == 0))
		return;
	entry->pid = (uint32_t)head->pid;
	entry->bytes = (uint32_t)bytes;
	memcpy(entry->comm, head->comm.begin, bytes);
	owners_task(kmem->owners, entry->pid, entry->comm, bytes);
}

/* ---- lines like an earlier one ---- */

/* Where a line like it would be remembered: by its length, and by what is no number, the end of the
 * command and the beginning of the event's name. NULL: nowhere. */
static struct known_line *known_place(struct kmem_text *kmem, struct span line)
{
	uint64_t comm, name[2];

	if (span_bytes(line) <= MAX(kmem->name_column, (size_t)KMEM_COMM_COLUMNS))
		return NULL;
	memcpy(&comm, line.begin + KMEM_COMM_COLUMNS - sizeof comm, sizeof comm);
	memcpy(name, line.begin + kmem->name_column, sizeof name);
	uint64_t hash = (comm ^ name[0] * 31 ^ name[1]) + span_bytes(line);
	hash *= UINT64_C(0x9e3779b97f4a7c15);
	return &kmem->known[hash >> 40 & (KNOWN_LINES - 1)];
}

static void begin_line(struct kmem_text *kmem, struct span line, const struct kmem_head *head)
{
	const struct span *digits[HEAD_NUMBERS] = { &head->pid_digits, &head->cpu_digits,
						    &head->seconds, &head->fraction };

	kmem->line = line.begin;
	kmem->numbers = 0;
	for (int i = 0; i < HEAD_NUMBERS; i++)
		note_number(kmem, RAW_FIELD_NONE, digits[i]->begin, digits[i]->end, SHAPE_DECIMAL);
}

/* What was read of LINE holds for lines like it, if it has fields alone. */
static void remember_line(struct kmem_text *kmem, struct span line, const struct kmem_head *head)
{
	const struct raw_event *raw = &kmem->raw;

	if (raw->kind == RAW_MARKER || raw->kind == RAW_OTHER ||
	    (raw->kind >= RAW_FORK && raw->kind <= RAW_EXIT) ||
	    span_bytes(head->seconds) > SECONDS_DIGITS)
		return;
	kmem->name_column = (size_t)(head->name.begin - line.begin);
	struct known_line *known = known_place(kmem, line);
	if (!known || !line_shape_make(&known->shape, line, kmem->number, kmem->numbers))
		return;
	known->comm = (struct span){ known->shape.text + (head->comm.begin - line.begin),
				     known->shape.text + (head->comm.end - line.begin) };
	known->kind = raw->kind;
	known->name = raw->name;
	known->cache = raw->kind == RAW_CACHE_FREE ? raw->u.slab.cache : 0;
	known->nanoseconds = unit_ns[span_bytes(head->fraction)];
	known->fields = kmem->fields;
	memcpy(known->field, kmem->number_field, sizeof known->field);
}

/* ---- events ---- */

static bool begin_event(struct kmem_text *kmem, const struct kmem_head *head, GError **error)
{
	struct raw_event *raw = &kmem->raw;

	if (head->cpu >= UINT16_MAX)
		return line_problem(error, "CPU number above 65534");
	raw->time_ns = head->time_ns;
	raw->cpu = (uint16_t)head->cpu;
	raw->pid = (uint32_t)MIN(head->pid, UINT32_MAX);
	raw->has = 0;
	raw->gfp = 0;
	return true;
}

static bool take_event(struct kmem_text *kmem, const struct kmem_head *head, GError **error)
{
	if (!owners_add(kmem->owners, &kmem->raw, error))
		return false;
	note_task(kmem, head);
	return true;
}

bool kmem_text_event(struct kmem_text *kmem, struct span line, const struct kmem_head *head,
		     GError **error)
{
	if (!begin_event(kmem, head, error))
		return false;
	kmem->name = name_of(kmem, head->name);
	kmem->raw.kind = kmem->name->kind;
	kmem->raw.name = kmem->name->string;
	begin_line(kmem, line, head);
	if (!build_event(kmem, head, error) || !take_event(kmem, head, error))
		return false;
	remember_line(kmem, line, head);
	return true;
}

int kmem_text_again(struct kmem_text *kmem, struct span line, GError **error)
{
	struct known_line *known = known_place(kmem, line);
	struct raw_event *raw = &kmem->raw;

	if (!known || !line_shape_read(&known->shape, line))
		return 0;
	const struct shape_number *number = known->shape.number;
	struct kmem_head head = { .comm = known->comm,
				  .time_ns = number[NUMBER_SECONDS].value * 1000000000 +
					     number[NUMBER_FRACTION].value * known->nanoseconds,
				  .pid = number[NUMBER_PID].value,
				  .cpu = number[NUMBER_CPU].value };
	raw->kind = known->kind;
	raw->name = known->name;
	for (unsigned i = HEAD_NUMBERS; i < known->shape.numbers; i++)
		known->fields.value[known->field[i]] = number[i].value;
	if (!begin_event(kmem, &head, error) || !finish_fields(kmem, &known->fields, error))
		return -1;
	if (raw->kind == RAW_CACHE_FREE)
		raw->u.slab.cache = known->cache;
	return take_event(kmem, &head, error) ? 1 : -1;
}

bool kmem_text_lost(struct kmem_text *kmem, uint64_t cpu, uint64_t events, GError **error)
{
	struct raw_event where = kmem->raw;

	where.cpu = (uint16_t)MIN(cpu, UINT16_MAX - 1);
	return owners_lost(kmem->owners, &where, events, error);
}
