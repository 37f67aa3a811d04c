#include "workloads/tools/tools.h"

#include <inttypes.h>
#include <json-glib/json-glib.h>
#include <string.h>
#include "workloads/import/owners.h"
#include "workloads/trace_columns.h"
#include "workloads/trace_meta.h"
#include "workloads/trace_text.h"

/* How many runs of differing events are shown, and how many events of each. */
enum { RUNS_SHOWN = 10, EVENTS_SHOWN = 3 };

struct side {
	struct trace_reader *reader;
	struct event event;
	bool has;
	char sign;
};

struct comparison {
	struct side left, right;
	FILE *out;
	const char *section;
	uint64_t number, differing, runs;
	unsigned run; /* differing events in a row */
};

/* ---- events ---- */

static bool same_text(const struct comparison *comparison, uint64_t left, uint64_t right)
{
	const char *a = left <= UINT32_MAX
				? trace_reader_string(comparison->left.reader, (uint32_t)left)
				: NULL;
	const char *b = right <= UINT32_MAX
				? trace_reader_string(comparison->right.reader, (uint32_t)right)
				: NULL;

	return a && b ? strcmp(a, b) == 0 : !a && !b && left == right;
}

static bool same_field(const struct comparison *comparison, const struct trace_column *column)
{
	uint64_t left = 0, right = 0; /* little-endian: trace_columns.c says so */

	memcpy(&left, (const uint8_t *)&comparison->left.event + column->offset, column->bytes);
	memcpy(&right, (const uint8_t *)&comparison->right.event + column->offset, column->bytes);
	if (column->style == STYLE_STRING)
		return same_text(comparison, left, right);
	if (strcmp(column->key, "site") == 0 && owners_site_is_name(left) &&
	    owners_site_is_name(right))
		return same_text(comparison, left, right);
	return left == right;
}

static bool same_event(const struct comparison *comparison)
{
	const struct event *left = &comparison->left.event, *right = &comparison->right.event;

	if (left->kind != right->kind)
		return false;
	for (unsigned i = COLUMN_FIELDS; i < trace_column_count; i++)
		if ((trace_columns[i].kinds >> left->kind & 1) &&
		    !same_field(comparison, &trace_columns[i]))
			return false;
	return true;
}

static void show(const struct comparison *comparison, const struct side *side)
{
	if (!side->has)
		return;
	fprintf(comparison->out, "%c ", side->sign);
	trace_text_event(side->reader, comparison->out, comparison->section, comparison->number,
			 &side->event);
}

static void take_pair(struct comparison *comparison)
{
	bool same = comparison->left.has && comparison->right.has && same_event(comparison);

	comparison->differing += !same;
	comparison->runs += !same && comparison->run == 0;
	comparison->run = same ? 0 : comparison->run + 1;
	if (same || comparison->runs > RUNS_SHOWN || comparison->run > EVENTS_SHOWN)
		return;
	show(comparison, &comparison->left);
	show(comparison, &comparison->right);
}

static bool compare_section(struct comparison *comparison, const char *section,
			    int (*next)(struct trace_reader *, struct event *, GError **),
			    GError **error)
{
	uint64_t before = comparison->differing;

	comparison->section = section;
	comparison->run = 0;
	for (comparison->number = 0;; comparison->number++) {
		int left = next(comparison->left.reader, &comparison->left.event, error);
		if (left < 0)
			return false;
		int right = next(comparison->right.reader, &comparison->right.event, error);
		if (right < 0)
			return false;
		comparison->left.has = left > 0;
		comparison->right.has = right > 0;
		if (left == 0 && right == 0)
			break;
		take_pair(comparison);
	}
	if (comparison->differing > before)
		fprintf(comparison->out, "%s section: %" PRIu64 " of %" PRIu64 " places differ\n",
			section, comparison->differing - before, comparison->number);
	return true;
}

/* ---- what they say about themselves ---- */

static JsonNode *meta_node(const struct side *side)
{
	g_autofree char *json = trace_meta_to_json(trace_reader_meta(side->reader));

	return json_from_string(json, NULL);
}

static void compare_meta(struct comparison *comparison)
{
	g_autoptr(JsonNode) left = meta_node(&comparison->left);
	g_autoptr(JsonNode) right = meta_node(&comparison->right);
	JsonObject *a = json_node_get_object(left), *b = json_node_get_object(right);
	g_autoptr(GList) names = json_object_get_members(a);

	for (GList *more = json_object_get_members(b); more; more = g_list_delete_link(more, more))
		if (!json_object_has_member(a, more->data))
			names = g_list_append(names, more->data);
	for (GList *name = names; name; name = name->next) {
		JsonNode *x = json_object_get_member(a, name->data);
		JsonNode *y = json_object_get_member(b, name->data);
		if (x && y && json_node_equal(x, y))
			continue;
		g_autofree char *was = x ? json_to_string(x, FALSE) : NULL;
		g_autofree char *is = y ? json_to_string(y, FALSE) : NULL;
		fprintf(comparison->out, "meta %s: %.200s -> %.200s\n", (const char *)name->data,
			was ? was : "none", is ? is : "none");
		comparison->differing++;
	}
}

static bool compare_attachments(struct comparison *comparison, GError **error)
{
	const GPtrArray *a = trace_reader_attachments(comparison->left.reader, error);
	const GPtrArray *b = a ? trace_reader_attachments(comparison->right.reader, error) : NULL;

	if (!b)
		return false;
	if (a->len != b->len)
		fprintf(comparison->out, "attachments: %u -> %u\n", a->len, b->len);
	comparison->differing += a->len != b->len;
	for (guint i = 0; i < MIN(a->len, b->len); i++) {
		const struct trace_attachment *x = a->pdata[i], *y = b->pdata[i];
		if (strcmp(x->name, y->name) == 0 && x->time_ns == y->time_ns &&
		    x->event == y->event && g_bytes_equal(x->bytes, y->bytes))
			continue;
		fprintf(comparison->out, "attachment %u: \"%s\" -> \"%s\"\n", i + 1, x->name,
			y->name);
		comparison->differing++;
	}
	return true;
}

int trace_diff(const char *left, const char *right, FILE *out, GError **error)
{
	struct comparison comparison = { .left = { .sign = '-' },
					 .right = { .sign = '+' },
					 .out = out };
	bool done = false;

	comparison.left.reader = trace_reader_open(left, error);
	if (comparison.left.reader)
		comparison.right.reader = trace_reader_open(right, error);
	if (comparison.right.reader) {
		compare_meta(&comparison);
		done = compare_attachments(&comparison, error) &&
		       compare_section(&comparison, "start", trace_reader_next_start, error) &&
		       compare_section(&comparison, "event", trace_reader_next, error);
	}
	trace_reader_free(comparison.left.reader);
	trace_reader_free(comparison.right.reader);
	return done ? comparison.differing > 0 : -1;
}
