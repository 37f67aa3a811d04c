#include "workloads/import/kmem_text.h"

#include <string.h>
#include "workloads/import/gfp.h"
#include "workloads/import/lines.h"

/* Direct-mapped caches, powers of two. */
#define TASK_CACHE 256
#define GFP_CACHE  64
#define GFP_BYTES  120
#define NAME_CACHE 64
#define NAME_BYTES 52
#define KEY_BYTES  16
#define KEYS	   12

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

/* A field's name with its '=', to be compared as two words. */
struct key {
	uint32_t bytes; /* 0: none yet */
	uint8_t field;	/* enum raw_field */
	uint64_t word[2], mask[2];
};

/* What an event's name means. */
struct name_entry {
	uint32_t string; /* struct raw_event.name */
	uint8_t kind;	 /* enum raw_kind */
	uint8_t bytes;
	char text[NAME_BYTES];
	struct key keys[KEYS]; /* in the order of the event seen last */
};

struct kmem_text {
	struct owners *owners;
	struct raw_event raw;	 /* the line's event, and in part the one before */
	struct name_entry *name; /* of the line's event */
	struct raw_fields fields;
	struct task_entry tasks[TASK_CACHE];
	struct gfp_entry gfps[GFP_CACHE];
	struct name_entry names[NAME_CACHE];
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

/* The six digits at P, of which eight bytes can be read: microseconds, as ftrace prints them. */
static bool six_digits(const char *p, uint64_t *value)
{
	const uint64_t ones = UINT64_C(0x010101010101);
	uint64_t word;

	memcpy(&word, p, sizeof word);
	/* Eight digits of which the first two are zero. */
	word = GUINT64_FROM_LE(word) << 16 | 0x3030;
	uint64_t above = word + (ones << 16 | 0x0101) * (0x7f - '9');
	word -= (ones << 16 | 0x0101) * '0';
	if ((above | word) & (ones << 16 | 0x0101) << 7)
		return false;
	/* Pairs, fours, eight: each step adds ten, a hundred ... times what stands before. */
	word = word * 10 + (word >> 8);
	word = (((word & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x000f424000000064)) +
		((word >> 16 & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x0000271000000001))) >>
	       32;
	*value = word;
	return true;
}

const char *kmem_text_time(const char *p, const char *end, uint64_t *time_ns)
{
	static const uint64_t scale[] = { 1000000000, 100000000, 10000000, 1000000, 100000,
					  10000,      1000,	 100,	   10,	    1 };
	uint64_t whole, part = 0;
	const char *next = text_digits(p, end, &whole);

	if (next < end && *next == '.') {
		p = next + 1;
		next = end - p >= 8 && p[6] == ':' && six_digits(p, &part)
			       ? p + 6
			       : text_digits(p, end, &part);
		if (next == p || next - p > 9 || whole > UINT64_MAX / 1000000000 - 1)
			return NULL;
		whole = whole * 1000000000 + part * scale[next - p];
	}
	*time_ns = whole;
	return next < end && *next == ':' ? next + 1 : NULL;
}

bool kmem_text_name(const char *p, const char *end, struct kmem_head *head)
{
	p = text_skip_blanks(p, end);
	const char *colon = memchr(p, ':', (size_t)(end - p));

	/* A colon before anything else ends the system. */
	while (colon && colon + 1 < end && colon[1] != ' ')
		colon = memchr(colon + 1, ':', (size_t)(end - colon - 1));
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
	uint64_t word[2] = { 0, 0 };

	if (end - p >= KEY_BYTES)
		memcpy(word, p, KEY_BYTES);
	else
		memcpy(word, p, (size_t)(end - p));
	return key->bytes > 0 && !((word[0] ^ key->word[0]) & key->mask[0]) &&
	       !((word[1] ^ key->word[1]) & key->mask[1]);
}

/* Reads the key at P, up to and with its '=', and remembers it if it is short. Returns false for a
 * word without one. */
static bool learn_key(struct key *key, const char *p, const char *end)
{
	const char *equals = p;

	while (equals < end && *equals != '=' && *equals != ' ')
		equals++;
	if (equals == end || *equals == ' ')
		return false;
	size_t bytes = (size_t)(equals + 1 - p);
	memset(key, 0, sizeof *key);
	key->field = (uint8_t)raw_field_find(p, bytes - 1);
	key->bytes = (uint32_t)bytes;
	if (bytes > KEY_BYTES) {
		key->mask[0] = key->mask[1] = UINT64_MAX;
		return true; /* matches nothing: no word is zero */
	}
	memcpy(key->word, p, bytes);
	memset(key->mask, 0xff, bytes);
	return true;
}

/* Where the word at P ends. */
static const char *word_end(const char *p, const char *end)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);

	/* Eight at a time: a byte that equals a blank leaves the top bit of its place set. */
	for (uint64_t word; end - p >= (ptrdiff_t)sizeof word; p += sizeof word) {
		memcpy(&word, p, sizeof word);
		word ^= ones * ' ';
		if ((word - ones) & ~word & (ones << 7))
			break;
	}
	while (p < end && *p != ' ')
		p++;
	return p;
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
		return word_end(p, end);
	}
	/* Nearly all are plain numbers. */
	if (field != RAW_FIELD_GFP_FLAGS && field != RAW_FIELD_CALL_SITE)
		next = text_plain_number(p, end, field == RAW_FIELD_PTR || field == RAW_FIELD_PAGE,
					 value);
	if (next)
		return next;
	next = word_end(p, end);
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
			p = word_end(p, end);
			continue;
		}
		const char *value = p + key->bytes;
		enum raw_field field = (enum raw_field)key->field;
		const char *next = field == RAW_FIELD_NONE ? word_end(value, end)
							   : scan_known(kmem, field, value, end);
		if (!next)
			return line_problem_at(
				error, "not a value:", (struct span){ p, word_end(p, end) });
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

static bool finish_fields(struct kmem_text *kmem, GError **error)
{
	struct raw_event *raw = &kmem->raw;
	struct raw_fields *fields = &kmem->fields;

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
	if (!scan_fields(kmem, head->rest, error) || !finish_fields(kmem, error))
		return false;
	if (raw->kind == RAW_CACHE_FREE && text_between(head->rest, " name=", "\n", &name))
		raw->u.slab.cache = string_of(kmem, name);
	return true;
}

/* ---- events ---- */

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

	if (entry->bytes == bytes && memcmp(entry->text, name.begin, bytes) == 0)
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
	    memcmp(entry->comm, head->comm.begin, bytes) == 0)
		return;
	if (bytes == 0 || bytes > KMEM_COMM_COLUMNS ||
	    (bytes == 5 && memcmp(head->comm.begin, "<...>", 5) == 0))
		return;
	entry->pid = (uint32_t)head->pid;
	entry->bytes = (uint32_t)bytes;
	memcpy(entry->comm, head->comm.begin, bytes);
	owners_task(kmem->owners, entry->pid, entry->comm, bytes);
}

bool kmem_text_event(struct kmem_text *kmem, const struct kmem_head *head, GError **error)
{
	struct raw_event *raw = &kmem->raw;

	if (head->cpu >= UINT16_MAX)
		return line_problem(error, "CPU number above 65534");
	kmem->name = name_of(kmem, head->name);
	raw->time_ns = head->time_ns;
	raw->cpu = (uint16_t)head->cpu;
	raw->pid = (uint32_t)MIN(head->pid, UINT32_MAX);
	raw->kind = kmem->name->kind;
	raw->name = kmem->name->string;
	raw->has = 0;
	raw->gfp = 0;
	if (!build_event(kmem, head, error) || !owners_add(kmem->owners, raw, error))
		return false;
	note_task(kmem, head);
	return true;
}

bool kmem_text_lost(struct kmem_text *kmem, uint64_t cpu, uint64_t events, GError **error)
{
	struct raw_event where = kmem->raw;

	where.cpu = (uint16_t)MIN(cpu, UINT16_MAX - 1);
	return owners_lost(kmem->owners, &where, events, error);
}
