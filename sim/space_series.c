#include "sim/space_series.h"

void space_series_init(struct space_series *series)
{
	*series = (struct space_series){
		.points = g_array_new(FALSE, TRUE, sizeof(struct space_point)),
		.stride = 1,
	};
}

void space_series_fini(struct space_series *series)
{
	g_clear_pointer(&series->points, g_array_unref);
}

/* ---- a point ---- */

static bool is_larger(const struct space_point_process *a, const struct space_point_process *b)
{
	return a->pages != b->pages ? a->pages > b->pages : a->number < b->number;
}

/* Keeps the largest in order. */
static void consider(struct space_point *point, const struct space_point_process *process)
{
	unsigned at = point->largest;

	if (at == SPACE_SERIES_LARGEST && !is_larger(process, &point->process[at - 1]))
		return;
	if (at == SPACE_SERIES_LARGEST)
		at--;
	else
		point->largest++;
	for (; at > 0 && is_larger(process, &point->process[at - 1]); at--)
		point->process[at] = point->process[at - 1];
	point->process[at] = *process;
}

static void find_largest(struct space_point *point, const struct processes *processes)
{
	GHashTableIter iter;
	gpointer value;

	g_hash_table_iter_init(&iter, processes->by_number);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		const struct process *process = value;
		if (process->state != PROCESS_LIVE)
			continue;
		const struct space_point_process one = { process->number, process->space->pages,
							 process->space->root.table_frames };
		consider(point, &one);
	}
}

static void thin(struct space_series *series)
{
	GArray *points = series->points;

	for (guint i = 0; 2 * i < points->len; i++)
		g_array_index(points, struct space_point, i) =
			g_array_index(points, struct space_point, 2 * i);
	g_array_set_size(points, (points->len + 1) / 2);
	series->stride *= 2;
}

void space_series_sample(struct space_series *series, const struct processes *processes,
			 uint64_t event, uint64_t time_ns)
{
	const struct spaces *spaces = processes->lab->spaces;

	if (series->sample++ % series->stride != 0)
		return;
	struct space_point point = {
		.event = event,
		.time_ns = time_ns,
		.spaces = spaces->stats,
		.table_frames = spaces->tables->stats.table_frames,
		.invlpg = spaces->tables->stats.invlpg,
		.shootdowns = spaces->tables->stats.shootdowns,
	};

	find_largest(&point, processes);
	g_array_append_val(series->points, point);
	if (series->points->len > SPACE_SERIES_POINTS)
		thin(series);
}

/* ---- JSON ---- */

#define POINT(series, i) (&g_array_index((series)->points, struct space_point, i))

/* One member: the 64-bit field at OFFSET of every point. */
static void add_column(const struct space_series *series, JsonBuilder *json, const char *name,
		       gsize offset)
{
	json_builder_begin_array(json_builder_set_member_name(json, name));
	for (guint i = 0; i < series->points->len; i++) {
		const uint64_t *field =
			(const uint64_t *)(gconstpointer)((const char *)POINT(series, i) + offset);
		json_builder_add_int_value(json, (gint64)*field);
	}
	json_builder_end_array(json);
}

static void add_over_time(const struct space_series *series, JsonBuilder *json)
{
	static const struct {
		const char *name;
		gsize offset;
	} columns[] = {
		{ "event", offsetof(struct space_point, event) },
		{ "time_ns", offsetof(struct space_point, time_ns) },
		{ "processes", offsetof(struct space_point, spaces.spaces) },
		{ "regions", offsetof(struct space_point, spaces.regions) },
		{ "mapped_pages", offsetof(struct space_point, spaces.mapped_pages) },
		{ "user_frames", offsetof(struct space_point, spaces.user_frames) },
		{ "page_table_frames", offsetof(struct space_point, table_frames) },
		{ "copies", offsetof(struct space_point, spaces.copies) },
		{ "invlpg", offsetof(struct space_point, invlpg) },
		{ "shootdowns", offsetof(struct space_point, shootdowns) },
	};

	json_builder_begin_object(json_builder_set_member_name(json, "over_time"));
	for (gsize i = 0; i < G_N_ELEMENTS(columns); i++)
		add_column(series, json, columns[i].name, columns[i].offset);
	json_builder_begin_object(json_builder_set_member_name(json, "faults"));
	for (unsigned i = SPACE_FAULT_NONE + 1; i < SPACE_FAULTS; i++)
		add_column(series, json, space_fault_names[i],
			   offsetof(struct space_point, spaces.faults) + i * sizeof(uint64_t));
	json_builder_end_object(json);
	json_builder_end_object(json);
}

static void add_largest(const struct space_point *point, JsonBuilder *json)
{
	json_builder_begin_object(json);
	json_builder_add_int_value(json_builder_set_member_name(json, "event"),
				   (gint64)point->event);
	json_builder_begin_array(json_builder_set_member_name(json, "process"));
	for (unsigned i = 0; i < point->largest; i++)
		json_builder_add_int_value(json, point->process[i].number);
	json_builder_end_array(json);
	json_builder_begin_array(json_builder_set_member_name(json, "pages"));
	for (unsigned i = 0; i < point->largest; i++)
		json_builder_add_int_value(json, (gint64)point->process[i].pages);
	json_builder_end_array(json);
	json_builder_begin_array(json_builder_set_member_name(json, "table_frames"));
	for (unsigned i = 0; i < point->largest; i++)
		json_builder_add_int_value(json, (gint64)point->process[i].table_frames);
	json_builder_end_array(json);
	json_builder_end_object(json);
}

void space_series_json(const struct space_series *series, JsonBuilder *json)
{
	add_over_time(series, json);
	json_builder_begin_array(json_builder_set_member_name(json, "largest_processes"));
	for (guint i = 0; i < series->points->len; i++)
		add_largest(POINT(series, i), json);
	json_builder_end_array(json);
}
