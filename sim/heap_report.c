#include "sim/heap_report.h"

#include <string.h>

#include "alloc/addr.h"

double heap_report_waste(uint64_t a, uint64_t b)
{
	return b ? 100.0 * (1.0 - (double)a / (double)b) : 0.0;
}

static double ratio(uint64_t a, uint64_t b)
{
	return b ? (double)a / (double)b : 0.0;
}

static void add_int(JsonBuilder *json, const char *key, uint64_t value)
{
	json_builder_add_int_value(json_builder_set_member_name(json, key), (gint64)value);
}

static void add_double(JsonBuilder *json, const char *key, double value)
{
	json_builder_add_double_value(json_builder_set_member_name(json, key), value);
}

double heap_report_robson(const struct heap_totals *totals)
{
	double word = (double)totals->least_bytes, live = (double)totals->peak_live_bytes;
	unsigned order = 0;

	if (!totals->least_bytes)
		return 0;
	while (word * (double)(1ull << order) < (double)totals->most_bytes)
		order++;
	return live * (order / 2.0 + 1) - word * (double)(1ull << order) + word;
}

static void add_points(JsonBuilder *json, const GArray *points)
{
	json_builder_set_member_name(json, "over_time");
	json_builder_begin_array(json);
	for (guint i = 0; points && i < points->len; i++) {
		const struct heap_point *point = &g_array_index(points, struct heap_point, i);
		json_builder_begin_array(json);
		json_builder_add_int_value(json, (gint64)point->operation);
		json_builder_add_int_value(json, (gint64)point->live_bytes);
		json_builder_add_int_value(json, (gint64)point->held_frames);
		json_builder_end_array(json);
	}
	json_builder_end_array(json);
}

static void add_worst(JsonBuilder *json, const char *operation, const struct replay_worst *worst)
{
	g_autofree char *accesses = g_strdup_printf("worst_%s_accesses", operation);
	g_autofree char *event = g_strdup_printf("worst_%s_event", operation);

	add_int(json, accesses, worst->accesses);
	add_int(json, event, worst->event);
}

JsonNode *heap_report_json(const struct replay_heap *heap, const struct replay_heap *probed)
{
	const struct heap_totals *t = &heap->totals;
	JsonBuilder *json = json_builder_new();

	json_builder_begin_object(json);
	add_int(json, "allocs", t->allocs);
	add_int(json, "frees", t->frees);
	add_int(json, "live_objects", t->live_objects);
	add_int(json, "live_bytes", t->live_bytes);
	add_int(json, "usable_bytes", t->usable_bytes);
	add_int(json, "held_frames", t->held_frames);
	add_int(json, "held_after_all_frames", heap->held_after_all);
	add_int(json, "frame_requests", heap->frame_requests);
	add_int(json, "peak_live_bytes", t->peak_live_bytes);
	add_int(json, "peak_held_bytes", t->peak_held_bytes);
	add_int(json, "state_bytes", heap->state_bytes);
	add_int(json, "kept_bytes", heap->kept_bytes);
	add_int(json, "call_sites", heap->sites->len);
	add_double(json, "internal_percent", heap_report_waste(t->live_bytes, t->usable_bytes));
	add_double(json, "internal_of_all_percent",
		   heap_report_waste(t->requested_bytes, t->handed_bytes));
	add_double(json, "held_to_live_mean",
		   t->ratio_count ? t->ratio_sum / (double)t->ratio_count : 0.0);
	add_double(json, "held_to_live_at_peak_live",
		   ratio(t->held_at_peak_live, t->peak_live_bytes));
	add_double(json, "peak_held_to_live_then", ratio(t->peak_held_bytes, t->live_at_peak_held));
	add_double(json, "peak_held_to_peak_live", ratio(t->peak_held_bytes, t->peak_live_bytes));
	add_double(json, "moved_cpu_percent",
		   t->frees ? 100.0 * (double)t->moved_cpu / (double)t->frees : 0.0);
	add_double(json, "metadata_bytes_per_object",
		   ratio(heap->kept_bytes + heap->state_bytes, t->live_objects));
	add_double(json, "metadata_bytes_per_object_at_peak",
		   ratio(heap->metadata_at_peak, heap->objects_at_peak));
	add_int(json, "least_bytes", t->least_bytes);
	add_int(json, "most_bytes", t->most_bytes);
	double bound = heap_report_robson(t);
	add_double(json, "robson_bound_bytes", bound);
	add_double(json, "peak_held_to_robson_bound",
		   bound > 0 ? (double)t->peak_held_bytes / bound : 0.0);
	if (probed) {
		add_worst(json, "alloc", &probed->worst_alloc);
		add_worst(json, "free", &probed->worst_free);
	}
	add_points(json, heap->points);
	json_builder_end_object(json);
	JsonNode *root = json_builder_get_root(json);
	g_object_unref(json);
	return root;
}

struct row {
	const struct heap_site *site;
	const char *cache;
};

/* The hungriest first; the address decides between equals, so that files can be compared. */
static int by_bytes(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->site->requested_bytes != y->site->requested_bytes)
		return x->site->requested_bytes < y->site->requested_bytes ? 1 : -1;
	if (x->site->address != y->site->address)
		return x->site->address < y->site->address ? -1 : 1;
	return g_strcmp0(x->cache, y->cache);
}

static void write_sites(struct result *result, const struct replay_heap *heap)
{
	struct row *rows = g_new(struct row, heap->sites->len);

	for (guint i = 0; i < heap->sites->len; i++)
		rows[i] = (struct row){ &g_array_index(heap->sites, struct heap_site, i),
					g_ptr_array_index(heap->caches, i) };
	qsort(rows, heap->sites->len, sizeof(*rows), by_bytes);
	for (guint i = 0; i < heap->sites->len; i++) {
		const struct heap_site *site = rows[i].site;
		struct result_heap_site row = {
			.address = site->address,
			.cache = rows[i].cache,
			.allocs = site->allocs,
			.frees = site->frees,
			.failures = site->failures,
			.moved_cpu = site->moved_cpu,
			.requested_bytes = site->requested_bytes,
			.usable_bytes = site->usable_bytes,
			.live_objects = site->live_objects,
			.live_bytes = site->live_bytes,
			.peak_bytes = site->peak_bytes,
			.internal_percent =
				heap_report_waste(site->requested_bytes, site->usable_bytes),
		};
		result_heap_site(result, &row);
	}
	g_free(rows);
}

void heap_report_write(struct result *result, const struct replay_heap *heap)
{
	write_sites(result, heap);
	for (unsigned order = 0; order < HEAP_SIZE_ORDERS; order++) {
		const struct heap_size *size = &heap->sizes[order];
		struct result_heap_size row = {
			.order = order,
			.allocs = size->allocs,
			.failures = size->failures,
			.requested_bytes = size->requested_bytes,
			.usable_bytes = size->usable_bytes,
			.live_objects = size->live_objects,
			.internal_percent =
				heap_report_waste(size->requested_bytes, size->usable_bytes),
		};
		if (size->allocs || size->failures)
			result_heap_size(result, &row);
	}
}
