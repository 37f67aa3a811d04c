#include "workloads/trace_meta.h"

#include <inttypes.h>
#include <json-glib/json-glib.h>
#include <stddef.h>
#include <string.h>

GQuark trace_error_quark(void)
{
	return g_quark_from_static_string("kmemlab-trace");
}

bool trace_error_set(GError **error, enum trace_error code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, TRACE_ERROR, (int)code, "trace error: %s", text);
	return false;
}

const char *event_kind_name(unsigned kind)
{
	static const char *const names[EVENT_KINDS] = {
		[EVENT_NONE] = "none",
		[EVENT_FRAME_ALLOC] = "frame_alloc",
		[EVENT_FRAME_FREE] = "frame_free",
		[EVENT_FRAME_ALLOC_FAILED] = "frame_alloc_failed",
		[EVENT_HEAP_ALLOC] = "heap_alloc",
		[EVENT_HEAP_REALLOC] = "heap_realloc",
		[EVENT_HEAP_FREE] = "heap_free",
		[EVENT_HEAP_ALLOC_FAILED] = "heap_alloc_failed",
		[EVENT_SPAWN] = "spawn",
		[EVENT_FORK] = "fork",
		[EVENT_EXEC] = "exec",
		[EVENT_EXIT] = "exit",
		[EVENT_MMAP] = "mmap",
		[EVENT_MUNMAP] = "munmap",
		[EVENT_MPROTECT] = "mprotect",
		[EVENT_BRK] = "brk",
		[EVENT_TOUCH] = "touch",
		[EVENT_MARKER] = "marker",
		[EVENT_NOTE] = "note",
		[EVENT_BUDDY_TAKE] = "buddy_take",
		[EVENT_BUDDY_PUT] = "buddy_put",
		[EVENT_BUDDY_ISOLATE] = "buddy_isolate",
		[EVENT_BUDDY_FALLBACK] = "buddy_fallback",
	};
	return kind < EVENT_KINDS ? names[kind] : NULL;
}

struct trace_meta *trace_meta_new(void)
{
	struct trace_meta *meta = g_new0(struct trace_meta, 1);
	meta->memory_map = g_array_new(FALSE, TRUE, sizeof(struct memory_range));
	meta->untouched = g_array_new(FALSE, TRUE, sizeof(struct trace_frame_range));
	meta->source_events = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	return meta;
}

void trace_meta_free(struct trace_meta *meta)
{
	if (!meta)
		return;
	g_free(meta->source);
	g_free(meta->source_xxh128);
	g_free(meta->source_sha256);
	g_free(meta->format);
	g_free(meta->program);
	g_free(meta->system);
	g_free(meta->command);
	g_free(meta->cut);
	g_array_unref(meta->memory_map);
	g_array_unref(meta->untouched);
	g_hash_table_unref(meta->source_events);
	g_free(meta);
}

void trace_meta_count_source(struct trace_meta *meta, const char *name, uint64_t by)
{
	uint64_t *count = g_hash_table_lookup(meta->source_events, name);
	if (!count) {
		count = g_new0(uint64_t, 1);
		g_hash_table_insert(meta->source_events, g_strdup(name), count);
	}
	*count += by;
}

/* The members that are stored as they are: one line each. */
enum member_type { MEMBER_STRING, MEMBER_BOOL, MEMBER_U32, MEMBER_U64 };
#define MEMBER(name, type)                                     \
	{                                                      \
#name, offsetof(struct trace_meta, name), type \
	}
static const struct {
	const char *name;
	size_t offset;
	enum member_type type;
} members[] = {
	MEMBER(source, MEMBER_STRING),
	MEMBER(source_sha256, MEMBER_STRING),
	MEMBER(source_xxh128, MEMBER_STRING),
	MEMBER(format, MEMBER_STRING),
	MEMBER(program, MEMBER_STRING),
	MEMBER(system, MEMBER_STRING),
	MEMBER(command, MEMBER_STRING),
	MEMBER(machine_recorded, MEMBER_BOOL),
	MEMBER(cpus, MEMBER_U32),
	MEMBER(state_known, MEMBER_BOOL),
	MEMBER(managed_frames, MEMBER_U64),
	MEMBER(free_frames, MEMBER_U64),
	MEMBER(untouched_known, MEMBER_BOOL),
	MEMBER(implied_frees, MEMBER_U64),
	MEMBER(untraced_allocs, MEMBER_U64),
	MEMBER(compaction_allocs, MEMBER_U64),
	MEMBER(events, MEMBER_U64),
	MEMBER(prologue, MEMBER_U64),
	MEMBER(prologue_frames, MEMBER_U64),
	MEMBER(span_ns, MEMBER_U64),
	MEMBER(handles, MEMBER_U64),
	MEMBER(cut, MEMBER_STRING),
};

/* ---- to JSON ---- */

/* A string of a recording may be in any encoding; JSON is UTF-8. */
static void add_text(JsonBuilder *builder, const char *text)
{
	g_autofree char *valid = g_utf8_make_valid(text, -1);
	json_builder_add_string_value(builder, valid);
}

static void add_number(JsonBuilder *builder, uint64_t number)
{
	if (number <= INT64_MAX) {
		json_builder_add_int_value(builder, (int64_t)number);
	} else {
		g_autofree char *text = g_strdup_printf("0x%" PRIx64, number);
		json_builder_add_string_value(builder, text);
	}
}

static void add_members(JsonBuilder *builder, const struct trace_meta *meta)
{
	for (size_t i = 0; i < G_N_ELEMENTS(members); i++) {
		const char *at = (const char *)meta + members[i].offset;
		if (members[i].type == MEMBER_STRING && !*(char *const *)at)
			continue;
		json_builder_set_member_name(builder, members[i].name);
		switch (members[i].type) {
		case MEMBER_STRING:
			add_text(builder, *(char *const *)at);
			break;
		case MEMBER_BOOL:
			json_builder_add_boolean_value(builder, *(const bool *)at);
			break;
		case MEMBER_U32:
			add_number(builder, *(const uint32_t *)at);
			break;
		case MEMBER_U64:
			add_number(builder, *(const uint64_t *)at);
			break;
		}
	}
}

static void add_map(JsonBuilder *builder, const GArray *map)
{
	json_builder_set_member_name(builder, "memory_map");
	json_builder_begin_array(builder);
	for (guint i = 0; i < map->len; i++) {
		const struct memory_range *range = &g_array_index(map, struct memory_range, i);
		json_builder_begin_array(builder);
		add_number(builder, range->base);
		add_number(builder, range->bytes);
		add_number(builder, range->type);
		json_builder_end_array(builder);
	}
	json_builder_end_array(builder);
}

static void add_untouched(JsonBuilder *builder, const GArray *untouched)
{
	json_builder_set_member_name(builder, "untouched");
	json_builder_begin_array(builder);
	for (guint i = 0; i < untouched->len; i++) {
		const struct trace_frame_range *range =
			&g_array_index(untouched, struct trace_frame_range, i);
		json_builder_begin_array(builder);
		add_number(builder, range->first);
		add_number(builder, range->frames);
		json_builder_end_array(builder);
	}
	json_builder_end_array(builder);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void add_counts(JsonBuilder *builder, const struct trace_meta *meta)
{
	json_builder_set_member_name(builder, "source_events");
	json_builder_begin_object(builder);
	GList *names = g_list_sort(g_hash_table_get_keys(meta->source_events), compare_names);
	for (GList *at = names; at; at = at->next) {
		g_autofree char *valid = g_utf8_make_valid(at->data, -1);
		json_builder_set_member_name(builder, valid);
		add_number(builder,
			   *(uint64_t *)g_hash_table_lookup(meta->source_events, at->data));
	}
	g_list_free(names);
	json_builder_end_object(builder);

	json_builder_set_member_name(builder, "kind_count");
	json_builder_begin_object(builder);
	for (unsigned kind = 1; kind < EVENT_KINDS; kind++) {
		if (!meta->kind_count[kind])
			continue;
		json_builder_set_member_name(builder, event_kind_name(kind));
		add_number(builder, meta->kind_count[kind]);
	}
	json_builder_end_object(builder);
}

char *trace_meta_to_json(const struct trace_meta *meta)
{
	g_autoptr(JsonBuilder) builder = json_builder_new();
	json_builder_begin_object(builder);
	add_members(builder, meta);
	add_map(builder, meta->memory_map);
	add_untouched(builder, meta->untouched);
	add_counts(builder, meta);
	json_builder_end_object(builder);
	JsonNode *root = json_builder_get_root(builder);
	char *text = json_to_string(root, FALSE);
	json_node_unref(root);
	return text;
}

/* ---- from JSON ---- */

static bool wrong(GError **error, const char *what)
{
	g_set_error(error, TRACE_ERROR, TRACE_ERROR_FORMAT, "%s: not of the expected form", what);
	return false;
}

static bool read_number(JsonNode *node, uint64_t *number)
{
	if (!node || !JSON_NODE_HOLDS_VALUE(node))
		return false;
	if (json_node_get_value_type(node) == G_TYPE_INT64) {
		int64_t value = json_node_get_int(node);
		*number = (uint64_t)value;
		return value >= 0;
	}
	if (json_node_get_value_type(node) != G_TYPE_STRING)
		return false;
	const char *text = json_node_get_string(node);
	guint64 value;
	if (!g_str_has_prefix(text, "0x") ||
	    !g_ascii_string_to_unsigned(text + 2, 16, 0, UINT64_MAX, &value, NULL))
		return false;
	*number = value;
	return true;
}

static bool read_member(struct trace_meta *meta, size_t i, JsonNode *node)
{
	char *at = (char *)meta + members[i].offset;
	uint64_t number = 0;

	if (members[i].type == MEMBER_STRING || members[i].type == MEMBER_BOOL) {
		GType want = members[i].type == MEMBER_STRING ? G_TYPE_STRING : G_TYPE_BOOLEAN;
		if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != want)
			return false;
		if (want == G_TYPE_STRING)
			*(char **)at = g_strdup(json_node_get_string(node));
		else
			*(bool *)at = json_node_get_boolean(node);
		return true;
	}
	if (!read_number(node, &number))
		return false;
	if (members[i].type == MEMBER_U64)
		*(uint64_t *)at = number;
	else if (number > UINT32_MAX)
		return false;
	else
		*(uint32_t *)at = (uint32_t)number;
	return true;
}

/* Reads an array of arrays of `width` numbers each; calls add with each of them. */
static bool read_rows(JsonObject *object, const char *name, unsigned width,
		      void (*add)(GArray *, const uint64_t *), GArray *out)
{
	JsonNode *node = json_object_get_member(object, name);
	if (!node || !JSON_NODE_HOLDS_ARRAY(node))
		return false;
	JsonArray *rows = json_node_get_array(node);
	for (guint i = 0; i < json_array_get_length(rows); i++) {
		JsonNode *row = json_array_get_element(rows, i);
		uint64_t number[3];
		if (!JSON_NODE_HOLDS_ARRAY(row) ||
		    json_array_get_length(json_node_get_array(row)) != width)
			return false;
		for (unsigned k = 0; k < width; k++)
			if (!read_number(json_array_get_element(json_node_get_array(row), k),
					 &number[k]))
				return false;
		add(out, number);
	}
	return true;
}

static void add_memory_range(GArray *out, const uint64_t *number)
{
	struct memory_range range = { number[0], number[1], (uint32_t)number[2], 0 };
	g_array_append_val(out, range);
}

static void add_frame_range(GArray *out, const uint64_t *number)
{
	struct trace_frame_range range = { number[0], number[1] };
	g_array_append_val(out, range);
}

static JsonObject *object_in(JsonObject *object, const char *name)
{
	JsonNode *node = json_object_get_member(object, name);
	return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

static bool read_counts(struct trace_meta *meta, JsonObject *object, GError **error)
{
	JsonObject *sources = object_in(object, "source_events");
	JsonObject *kinds = object_in(object, "kind_count");
	JsonObjectIter at;
	const char *name;
	JsonNode *node;
	uint64_t number;

	if (!sources || !kinds)
		return wrong(error, sources ? "kind_count" : "source_events");
	json_object_iter_init(&at, sources);
	while (json_object_iter_next(&at, &name, &node)) {
		if (!read_number(node, &number))
			return wrong(error, "source_events");
		trace_meta_count_source(meta, name, number);
	}
	for (unsigned kind = 1; kind < EVENT_KINDS; kind++) {
		node = json_object_get_member(kinds, event_kind_name(kind));
		if (node && !read_number(node, &meta->kind_count[kind]))
			return wrong(error, "kind_count");
	}
	return true;
}

static bool read_object(struct trace_meta *meta, JsonObject *object, GError **error)
{
	for (size_t i = 0; i < G_N_ELEMENTS(members); i++) {
		JsonNode *node = json_object_get_member(object, members[i].name);
		if (!node && members[i].type == MEMBER_STRING)
			continue;
		if (!node || !read_member(meta, i, node))
			return wrong(error, members[i].name);
	}
	if (!read_rows(object, "memory_map", 3, add_memory_range, meta->memory_map))
		return wrong(error, "memory_map");
	if (!read_rows(object, "untouched", 2, add_frame_range, meta->untouched))
		return wrong(error, "untouched");
	return read_counts(meta, object, error);
}

/* The parser recurses into every bracket: a deep text would exhaust the stack. Ours is three deep.
 * It takes comments too, which could hide brackets from this count. */
static bool shallow(const char *text, gsize bytes)
{
	unsigned depth = 0;
	bool quoted = false;
	for (gsize i = 0; i < bytes && depth < 8; i++) {
		if (!quoted && (text[i] == '/' || text[i] == '#' || text[i] == '\''))
			return false;
		if (quoted && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			quoted = !quoted;
		else if (!quoted && (text[i] == '[' || text[i] == '{'))
			depth++;
		else if (!quoted && depth && (text[i] == ']' || text[i] == '}'))
			depth--;
	}
	return depth < 8;
}

struct trace_meta *trace_meta_from_json(const char *text, gsize bytes, GError **error)
{
	g_autoptr(JsonParser) parser = json_parser_new_immutable();
	g_autoptr(GError) reason = NULL;

	if (!shallow(text, bytes)) {
		wrong(error, "meta");
		return NULL;
	}
	if (!json_parser_load_from_data(parser, text, (gssize)bytes, &reason)) {
		g_set_error(error, TRACE_ERROR, TRACE_ERROR_FORMAT, "meta: %s", reason->message);
		return NULL;
	}
	JsonNode *root = json_parser_get_root(parser);
	if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
		wrong(error, "meta");
		return NULL;
	}
	struct trace_meta *meta = trace_meta_new();
	if (!read_object(meta, json_node_get_object(root), error)) {
		trace_meta_free(meta);
		return NULL;
	}
	return meta;
}
