#include "workloads/import/ctf.h"

#include <babeltrace2/babeltrace.h>
#include <stdlib.h>
#include <string.h>

/*
 * The reading process: a graph of source.ctf.fs, which opens the folder, filter.utils.muxer, which
 * merges its streams by time, and a sink of ours. Nothing is freed but messages: the process ends
 * with the folder.
 */

enum { MEMBERS = 32 };

/* Where an event's number or text comes from. */
enum part { PART_NONE = 0, PART_FIELD, PART_PID, PART_TEXT, PART_OTHER };

/* What is known of an event class. */
struct layout {
	uint8_t kind;  /* enum raw_kind */
	uint32_t name; /* number of a string, 0: the usual spelling */
	uint32_t members;
	uint8_t part[MEMBERS];	/* enum part, by member of the payload */
	uint8_t field[MEMBERS]; /* enum raw_field */
};

struct ctf {
	struct wire_child *wire;
	GHashTable *layouts; /* bt_event_class -> struct layout */
	GHashTable *named;   /* processes whose name was sent */
	bt_message_iterator *iterator;
	uint64_t events;
};

/* ---- fields ---- */

static bool number_of(const bt_field *field, uint64_t *value)
{
	bt_field_class_type type = bt_field_get_class_type(field);

	if (bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_UNSIGNED_INTEGER))
		*value = bt_field_integer_unsigned_get_value(field);
	else if (bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_SIGNED_INTEGER))
		*value = (uint64_t)bt_field_integer_signed_get_value(field);
	else if (type == BT_FIELD_CLASS_TYPE_BOOL)
		*value = bt_field_bool_get_value(field);
	else
		return false;
	return true;
}

/* A string, or an array of characters as perf and LTTng write names of processes. */
static size_t text_of(const bt_field *field, char *text, size_t room)
{
	bt_field_class_type type = bt_field_get_class_type(field);
	size_t used = 0;

	if (type == BT_FIELD_CLASS_TYPE_STRING)
		return MIN(g_strlcpy(text, bt_field_string_get_value(field), room), room - 1);
	if (bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_ARRAY)) {
		for (uint64_t i = 0; i < bt_field_array_get_length(field) && used + 1 < room; i++) {
			uint64_t c;
			if (!number_of(bt_field_array_borrow_element_field_by_index_const(field, i),
				       &c) ||
			    c == 0)
				break;
			text[used++] = (char)c;
		}
	}
	text[used] = '\0';
	return used;
}

static const bt_field *member(const bt_field *structure, const char *name)
{
	return structure && bt_field_get_class_type(structure) == BT_FIELD_CLASS_TYPE_STRUCTURE
		       ? bt_field_structure_borrow_member_field_by_name_const(structure, name)
		       : NULL;
}

static bool member_number(const bt_field *structure, const char *name, uint64_t *value)
{
	const bt_field *field = member(structure, name);

	return field && number_of(field, value);
}

/* ---- event classes ---- */

static const char *text_field_name(uint8_t kind)
{
	return kind == RAW_EXEC		? "filename"
	       : kind == RAW_FORK	? "child_comm"
	       : kind == RAW_EXIT	? "comm"
	       : kind == RAW_CACHE_FREE ? "name"
					: NULL;
}

/* "kmem:mm_page_free" of perf, "kmem_mm_page_free" of LTTng. */
static enum raw_kind kind_of(const char *name, bool *spelled)
{
	const char *colon = strrchr(name, ':');
	const char *base = colon ? colon + 1 : name;
	enum raw_kind kind = raw_kind_find(base, strlen(base), spelled);

	if (kind == RAW_OTHER && g_str_has_prefix(base, "kmem_"))
		kind = raw_kind_find(base + 5, strlen(base + 5), spelled);
	if (kind == RAW_OTHER && strcmp(base, "x86_exceptions_page_fault_user") == 0)
		kind = RAW_FAULT_USER;
	*spelled |= kind == RAW_OTHER || strcmp(name, raw_kind_name(kind)) != 0;
	return kind;
}

static void learn_member(struct layout *layout, uint32_t i, const char *name)
{
	/* LTTng marks what it did not take as it was: "_pfn" and the like. */
	const char *base = *name == '_' ? name + 1 : name;
	enum raw_field field = raw_field_find(base, strlen(base));
	const char *text = text_field_name(layout->kind);

	layout->field[i] = (uint8_t)field;
	layout->part[i] = field != RAW_FIELD_NONE	    ? PART_FIELD
			  : text && strcmp(base, text) == 0 ? PART_TEXT
			  : strcmp(base, "common_pid") == 0 ? PART_PID
			  : g_str_has_prefix(base, "common_") || g_str_has_prefix(base, "perf_")
				  ? PART_NONE
				  : PART_OTHER;
}

static struct layout *learn(struct ctf *ctf, const bt_event_class *class)
{
	const char *name = bt_event_class_get_name(class);
	const bt_field_class *payload = bt_event_class_borrow_payload_field_class_const(class);
	struct layout *layout = g_new0(struct layout, 1);
	bool spelled;

	name = name ? name : "event";
	layout->kind = (uint8_t)kind_of(name, &spelled);
	if (spelled)
		layout->name = wire_string(ctf->wire, name, strlen(name));
	if (payload && bt_field_class_get_type(payload) == BT_FIELD_CLASS_TYPE_STRUCTURE)
		layout->members = (uint32_t)MIN(bt_field_class_structure_get_member_count(payload),
						(uint64_t)MEMBERS);
	for (uint32_t i = 0; i < layout->members; i++)
		learn_member(
			layout, i,
			bt_field_class_structure_member_get_name(
				bt_field_class_structure_borrow_member_by_index_const(payload, i)));
	g_hash_table_insert(ctf->layouts, (gpointer)(uintptr_t) class, layout);
	return layout;
}

/* ---- events ---- */

static void read_payload(struct ctf *ctf, const struct layout *layout, const bt_field *payload,
			 struct raw_event *raw, struct raw_fields *fields, uint32_t *text)
{
	char buffer[256];
	uint64_t value, others[RAW_VALUES] = { 0 };
	uint32_t count = 0;

	for (uint32_t i = 0; i < layout->members; i++) {
		const bt_field *field =
			bt_field_structure_borrow_member_field_by_index_const(payload, i);
		if (layout->part[i] == PART_TEXT) {
			size_t bytes = text_of(field, buffer, sizeof buffer);
			*text = wire_string(ctf->wire, buffer, bytes);
		}
		if (layout->part[i] == PART_NONE || !number_of(field, &value))
			continue;
		if (layout->part[i] == PART_PID)
			raw->pid = (uint32_t)value;
		else if (count < RAW_VALUES)
			others[count++] = value;
		if (layout->part[i] == PART_FIELD) {
			fields->value[layout->field[i]] = value;
			fields->found |= 1u << layout->field[i];
		}
	}
	if (raw->kind == RAW_OTHER) {
		raw->u.other.count = count;
		memcpy(raw->u.other.value, others, sizeof others);
	}
}

static void set_text(struct raw_event *raw, uint32_t text)
{
	if (raw->kind == RAW_CACHE_FREE)
		raw->u.slab.cache = text;
	else if (raw->kind >= RAW_FORK && raw->kind <= RAW_EXIT)
		raw->u.process.text = text;
}

/* Who did it and where: the tracers put that into contexts. */
static void read_contexts(struct ctf *ctf, const bt_event *event, struct raw_event *raw)
{
	static const char *const pids[] = { "perf_tid", "tid", "perf_pid", "pid" };
	const bt_field *common = bt_event_borrow_common_context_field_const(event);
	const bt_field *specific = bt_event_borrow_specific_context_field_const(event);
	const bt_packet *packet = bt_event_borrow_packet_const(event);
	const bt_field *name = member(common, "procname");
	char comm[64];
	uint64_t value;

	for (size_t i = 0; i < G_N_ELEMENTS(pids); i++) {
		if (!member_number(common, pids[i], &value) &&
		    !member_number(specific, pids[i], &value))
			continue;
		raw->pid = (uint32_t)value;
		break;
	}
	if (member_number(packet ? bt_packet_borrow_context_field_const(packet) : NULL, "cpu_id",
			  &value) ||
	    member_number(common, "cpu_id", &value) || member_number(common, "perf_cpu", &value))
		raw->cpu = (uint16_t)MIN(value, UINT16_MAX);
	if (!name || raw->pid == 0 || !g_hash_table_add(ctf->named, GUINT_TO_POINTER(raw->pid)))
		return;
	size_t bytes = text_of(name, comm, sizeof comm);
	wire_message_text(ctf->wire, WIRE_TASK, comm, bytes)->id = raw->pid;
}

static bool read_time(const bt_message *message, struct raw_event *raw)
{
	const bt_clock_snapshot *clock =
		bt_message_event_borrow_default_clock_snapshot_const(message);
	int64_t ns;

	if (!clock ||
	    bt_clock_snapshot_get_ns_from_origin(clock, &ns) !=
		    BT_CLOCK_SNAPSHOT_GET_NS_FROM_ORIGIN_STATUS_OK ||
	    ns < 0)
		return false;
	raw->time_ns = (uint64_t)ns;
	return true;
}

static void take_event(struct ctf *ctf, const bt_message *message)
{
	const bt_event *event = bt_message_event_borrow_event_const(message);
	const bt_event_class *class = bt_event_borrow_class_const(event);
	struct layout *layout = g_hash_table_lookup(ctf->layouts, class);
	struct raw_fields fields = { 0 };
	struct raw_event raw;
	uint32_t text = 0;

	ctf->events++;
	if (!layout)
		layout = learn(ctf, class);
	memset(&raw, 0, sizeof raw);
	raw.kind = layout->kind;
	raw.name = layout->name;
	if (!read_time(message, &raw)) {
		wire_malformed(ctf->wire, ctf->events, "an event without a time");
		return;
	}
	read_contexts(ctf, event, &raw);
	read_payload(ctf, layout, bt_event_borrow_payload_field_const(event), &raw, &fields, &text);
	if (raw.kind != RAW_OTHER) {
		enum raw_field missing = raw_build(&raw, &fields);
		if (missing != RAW_FIELD_NONE) {
			wire_malformed(ctf->wire, ctf->events, "%s without %s",
				       raw_kind_name((enum raw_kind)raw.kind),
				       raw_field_name(missing));
			return;
		}
		set_text(&raw, text);
	}
	struct wire_message *next = wire_message(ctf->wire, WIRE_EVENT);
	next->number = ctf->events;
	next->u.raw = raw;
}

static void take_lost(struct ctf *ctf, const bt_message *message)
{
	struct wire_message *lost = wire_message(ctf->wire, WIRE_LOST);
	uint64_t count;

	memset(&lost->u.raw, 0, sizeof lost->u.raw);
	if (bt_message_discarded_events_get_count(message, &count) ==
	    BT_PROPERTY_AVAILABILITY_AVAILABLE)
		lost->number = count;
}

/* ---- the graph ---- */

static bt_graph_simple_sink_component_initialize_func_status start(bt_message_iterator *iterator,
								   void *data)
{
	((struct ctf *)data)->iterator = iterator;
	return BT_GRAPH_SIMPLE_SINK_COMPONENT_INITIALIZE_FUNC_STATUS_OK;
}

static bt_graph_simple_sink_component_consume_func_status consume(bt_message_iterator *iterator,
								  void *data)
{
	bt_message_array_const messages;
	uint64_t count;
	bt_message_iterator_next_status status =
		bt_message_iterator_next(iterator, &messages, &count);

	if (status == BT_MESSAGE_ITERATOR_NEXT_STATUS_END)
		return BT_GRAPH_SIMPLE_SINK_COMPONENT_CONSUME_FUNC_STATUS_END;
	if (status == BT_MESSAGE_ITERATOR_NEXT_STATUS_AGAIN)
		return BT_GRAPH_SIMPLE_SINK_COMPONENT_CONSUME_FUNC_STATUS_AGAIN;
	if (status != BT_MESSAGE_ITERATOR_NEXT_STATUS_OK)
		return BT_GRAPH_SIMPLE_SINK_COMPONENT_CONSUME_FUNC_STATUS_ERROR;
	for (uint64_t i = 0; i < count; i++) {
		bt_message_type type = bt_message_get_type(messages[i]);
		if (type == BT_MESSAGE_TYPE_EVENT)
			take_event(data, messages[i]);
		else if (type == BT_MESSAGE_TYPE_DISCARDED_EVENTS)
			take_lost(data, messages[i]);
		bt_message_put_ref(messages[i]);
	}
	return BT_GRAPH_SIMPLE_SINK_COMPONENT_CONSUME_FUNC_STATUS_OK;
}

static const bt_plugin *plugin(struct ctf *ctf, const char *name)
{
	const bt_plugin *found = NULL;

	bt_plugin_find(name, BT_TRUE, BT_TRUE, BT_TRUE, BT_TRUE, BT_FALSE, &found);
	if (!found)
		wire_fail(ctf->wire, "libbabeltrace2 cannot find its plugins ctf and utils");
	return found;
}

static const bt_component_source *add_source(struct ctf *ctf, bt_graph *graph, const char *path)
{
	const bt_component_class_source *class =
		bt_plugin_borrow_source_component_class_by_name_const(plugin(ctf, "ctf"), "fs");
	const bt_component_source *source = NULL;
	bt_value *inputs = bt_value_array_create(), *params = bt_value_map_create();

	bt_value_array_append_string_element(inputs, path);
	bt_value_map_insert_entry(params, "inputs", inputs);
	if (!class ||
	    bt_graph_add_source_component(graph, class, "folder", params, BT_LOGGING_LEVEL_NONE,
					  &source) != BT_GRAPH_ADD_COMPONENT_STATUS_OK)
		wire_fail(ctf->wire, "not a CTF trace that libbabeltrace2 can open");
	return source;
}

static bt_graph *make_graph(struct ctf *ctf, const char *path)
{
	bt_graph *graph = bt_graph_create(0);
	const bt_component_source *source = add_source(ctf, graph, path);
	const bt_component_class_filter *class =
		bt_plugin_borrow_filter_component_class_by_name_const(plugin(ctf, "utils"),
								      "muxer");
	const bt_component_filter *muxer = NULL;
	const bt_component_sink *sink = NULL;
	bool fine = class && bt_graph_add_filter_component(graph, class, "merge", NULL,
							   BT_LOGGING_LEVEL_NONE, &muxer) ==
				     BT_GRAPH_ADD_COMPONENT_STATUS_OK;

	fine = fine &&
	       bt_graph_add_simple_sink_component(graph, "events", start, consume, NULL, ctf,
						  &sink) == BT_GRAPH_ADD_COMPONENT_STATUS_OK;
	/* The muxer grows an input port with every connection. */
	for (uint64_t i = 0; fine && i < bt_component_source_get_output_port_count(source); i++)
		fine = bt_graph_connect_ports(
			       graph,
			       bt_component_source_borrow_output_port_by_index_const(source, i),
			       bt_component_filter_borrow_input_port_by_index_const(muxer, i),
			       NULL) == BT_GRAPH_CONNECT_PORTS_STATUS_OK;
	fine = fine &&
	       bt_graph_connect_ports(
		       graph, bt_component_filter_borrow_output_port_by_index_const(muxer, 0),
		       bt_component_sink_borrow_input_port_by_index_const(sink, 0),
		       NULL) == BT_GRAPH_CONNECT_PORTS_STATUS_OK;
	if (!fine)
		wire_fail(ctf->wire, "libbabeltrace2 cannot read its streams");
	return graph;
}

static _Noreturn void give_up(struct ctf *ctf)
{
	const bt_error *why = bt_current_thread_take_error();
	const char *text = "damaged";

	/* The innermost cause is the first. */
	if (why && bt_error_get_cause_count(why) > 0)
		text = bt_error_cause_get_message(bt_error_borrow_cause_by_index(why, 0));
	wire_fail(ctf->wire, text);
}

void ctf_child(const struct wire_input *input, struct wire_end end)
{
	struct ctf *ctf = g_new0(struct ctf, 1);
	bt_graph_run_status status;

	ctf->wire = wire_child_new(end);
	ctf->layouts = g_hash_table_new(NULL, NULL);
	ctf->named = g_hash_table_new(NULL, NULL);
	bt_graph *graph = make_graph(ctf, input->path);
	do
		status = bt_graph_run(graph);
	while (status == BT_GRAPH_RUN_STATUS_AGAIN);
	if (status != BT_GRAPH_RUN_STATUS_OK)
		give_up(ctf);
	wire_end(ctf->wire);
}
