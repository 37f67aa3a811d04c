#include "sim/recorder.h"

#include <stdio.h>
#include <string.h>

#include "sim/fragmentation.h"
#include "sim/replay.h"
#include "sim/snapshot.h"
#include "sim/timer.h"

/* A snapshot of the recorded kernel that is due at an event. */
struct recorded {
	uint64_t event, time_ns;
	unsigned number;
	bool buddy_known;
	uint64_t free_blocks[LEDGER_ORDERS];
	uint64_t mem_free_frames; /* RESULT_ABSENT where meminfo is missing */
};

struct slow {
	uint64_t event, ns;
	uint16_t cpu;
	uint8_t order, operation;
};

struct recorder {
	struct recorder_config config;
	struct result *result;
	struct recorder_view view;
	uint64_t sample_events, next_sample_event, next_sample_ns;
	uint64_t map_events, next_map_event;
	uint64_t cell_frames, cells;
	uint8_t *map_live, *map_reserved;
	double *values;
	GArray *recorded; /* struct recorded, by event */
	guint next_recorded;
	GArray *slow;		   /* struct slow */
	const struct timer *timer; /* NULL: not timed */
	struct recorder_stamps stamps;
	uint64_t lab_faults;
	struct histogram *by_fill[DEMAND_BINS];
	struct histogram *histogram[OPERATIONS][RECORDER_ORDERS][RECORDER_CPUS_MAX];
	struct histogram *merged[OPERATIONS][RECORDER_ORDERS];
};

struct recorder *recorder_new(const struct recorder_config *config, struct result *result)
{
	struct recorder *recorder = g_new0(struct recorder, 1);

	recorder->config = *config;
	recorder->result = result;
	recorder->values = g_new0(double, metrics_count());
	recorder->recorded = g_array_new(FALSE, TRUE, sizeof(struct recorded));
	recorder->slow = g_array_new(FALSE, TRUE, sizeof(struct slow));
	recorder->timer = config->time ? timer_get() : NULL;
	/* Touched now: later that would be a page fault among what is timed. */
	memset(&recorder->stamps, 0, sizeof(recorder->stamps));
	recorder->stamps.recorder = recorder;
	return recorder;
}

void recorder_free(struct recorder *recorder)
{
	for (unsigned operation = 0; operation < OPERATIONS; operation++) {
		for (unsigned order = 0; order < RECORDER_ORDERS; order++) {
			for (unsigned cpu = 0; cpu < RECORDER_CPUS_MAX; cpu++)
				g_free(recorder->histogram[operation][order][cpu]);
			g_free(recorder->merged[operation][order]);
		}
	}
	for (unsigned bin = 0; bin < DEMAND_BINS; bin++)
		g_free(recorder->by_fill[bin]);
	g_array_unref(recorder->recorded);
	g_array_unref(recorder->slow);
	g_free(recorder->map_live);
	g_free(recorder->map_reserved);
	g_free(recorder->values);
	g_free(recorder);
}

/* ---- the recorded kernel's own account ---- */

static struct recorded *recorded_number(struct recorder *recorder, unsigned number,
					const struct trace_attachment *attachment)
{
	for (guint i = 0; i < recorder->recorded->len; i++) {
		struct recorded *old = &g_array_index(recorder->recorded, struct recorded, i);
		if (old->number == number)
			return old;
	}
	struct recorded fresh = { .event = attachment->event,
				  .time_ns = attachment->time_ns,
				  .number = number,
				  .mem_free_frames = RESULT_ABSENT };
	g_array_append_val(recorder->recorded, fresh);
	return &g_array_index(recorder->recorded, struct recorded, recorder->recorded->len - 1);
}

static int by_event(const void *a, const void *b)
{
	const struct recorded *x = a, *y = b;

	if (x->event != y->event)
		return x->event < y->event ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* Attachments are named "SNAP <n> <file>"; the event of buddyinfo is the snapshot's. */
static bool load_recorded(struct recorder *recorder, GError **error)
{
	const GPtrArray *attachments = trace_reader_attachments(recorder->view.trace, error);

	if (!attachments)
		return false;
	struct snapshot *parsed = g_new(struct snapshot, 1);
	for (guint i = 0; i < attachments->len; i++) {
		const struct trace_attachment *attachment = g_ptr_array_index(attachments, i);
		unsigned number;
		char file[32];
		gsize bytes;
		if (sscanf(attachment->name, "SNAP %u %31s", &number, file) != 2 ||
		    attachment->event == UINT64_MAX)
			continue;
		const char *text = g_bytes_get_data(attachment->bytes, &bytes);
		unsigned bad_line;
		*parsed = (struct snapshot){ 0 };
		if (!snapshot_parse(parsed, file, text, bytes, &bad_line))
			continue;
		struct recorded *recorded = recorded_number(recorder, number, attachment);
		if (parsed->has_meminfo)
			recorded->mem_free_frames = parsed->mem_free_frames;
		if (!parsed->has_buddyinfo)
			continue;
		recorded->event = attachment->event;
		recorded->time_ns = attachment->time_ns;
		recorded->buddy_known = true;
		memcpy(recorded->free_blocks, parsed->all.free_blocks,
		       sizeof(recorded->free_blocks));
	}
	g_free(parsed);
	g_array_sort(recorder->recorded, by_event);
	return true;
}

/* ---- set-up ---- */

/* Cells of a power of two of frames, at least a bitmap word's worth: about RECORDER_MAP_CELLS of
 * them with RAM, and not too many more for the holes between. */
static void size_map(struct recorder *recorder)
{
	const struct ledger_totals *totals = ledger_totals(recorder->view.ledger);
	uint64_t frames = totals->ram_frames;

	recorder->cell_frames = 64;
	while (recorder->cell_frames * RECORDER_MAP_CELLS < totals->usable_frames ||
	       recorder->cell_frames * RECORDER_MAP_SPAN < frames)
		recorder->cell_frames *= 2;
	recorder->cells = (frames + recorder->cell_frames - 1) / recorder->cell_frames;
	recorder->map_live = g_malloc0(recorder->cells);
	recorder->map_reserved = g_malloc0(recorder->cells);
}

bool recorder_begin(struct recorder *recorder, const struct recorder_view *view, GError **error)
{
	const struct recorder_config *config = &recorder->config;

	recorder->view = *view;
	recorder->sample_events = config->sample_events
					  ? config->sample_events
					  : MAX(1, view->last_event / RECORDER_SAMPLES);
	recorder->next_sample_ns = config->sample_ns ? config->sample_ns : UINT64_MAX;
	recorder->map_events =
		config->map_frames ? MAX(1, view->last_event / config->map_frames) : UINT64_MAX;
	recorder->next_map_event = config->map_frames ? 0 : UINT64_MAX;
	size_map(recorder);
	if (config->map_frames)
		result_map_shape(recorder->result, ledger_totals(view->ledger)->ram_frames,
				 recorder->cell_frames);
	return load_recorded(recorder, error);
}

/* ---- samples ---- */

static void compute(struct recorder *recorder)
{
	const struct recorder_view *view = &recorder->view;
	struct metrics_extra extra = {
		.huge_order = machine_huge_order(view->machine->config),
		.state_bytes = view->machine->boot.state_bytes,
		.managed_frames = view->machine->boot.map.frames,
	};

	view->add_figures(view->context, &extra);

	metrics_compute(view->ledger, &extra, recorder->values);
}

static void sample(struct recorder *recorder, uint64_t event, uint64_t time_ns)
{
	compute(recorder);
	result_sample(recorder->result, event, time_ns, recorder->values);
	if (recorder->view.sample)
		recorder->view.sample(recorder->view.context, recorder->result, event, time_ns);
}

static void sample_map(struct recorder *recorder, uint64_t event, uint64_t time_ns)
{
	if (!recorder->result)
		return;
	ledger_map(recorder->view.ledger, recorder->cell_frames, recorder->map_live,
		   recorder->map_reserved);
	result_map(recorder->result, event, time_ns, recorder->map_live, recorder->map_reserved);
}

static void tick_recorded(struct recorder *recorder, uint64_t event)
{
	while (recorder->next_recorded < recorder->recorded->len) {
		const struct recorded *due = &g_array_index(recorder->recorded, struct recorded,
							    recorder->next_recorded);
		if (due->event > event)
			return;
		struct result_recorded row = {
			.snapshot = due->number,
			.event = due->event,
			.time_ns = due->time_ns,
			.free_blocks = due->buddy_known ? due->free_blocks : NULL,
			.mem_free_frames = due->mem_free_frames,
			.ledger_free_frames = ledger_totals(recorder->view.ledger)->free_frames,
		};
		result_recorded(recorder->result, &row);
		recorder->next_recorded++;
	}
}

static void tick_slow(struct recorder *recorder, uint64_t event, uint64_t time_ns)
{
	tick_recorded(recorder, event);
	if (event >= recorder->next_sample_event || time_ns >= recorder->next_sample_ns) {
		sample(recorder, event, time_ns);
		if (event >= recorder->next_sample_event)
			recorder->next_sample_event = event + recorder->sample_events;
		while (recorder->next_sample_ns <= time_ns)
			recorder->next_sample_ns += recorder->config.sample_ns;
	}
	if (event >= recorder->next_map_event) {
		sample_map(recorder, event, time_ns);
		recorder->next_map_event = event + recorder->map_events;
	}
}

void recorder_due(const struct recorder *recorder, uint64_t *event, uint64_t *time_ns)
{
	*event = *time_ns = UINT64_MAX;
	if (!recorder)
		return;
	if (recorder->next_recorded < recorder->recorded->len)
		*event = g_array_index(recorder->recorded, struct recorded, recorder->next_recorded)
				 .event;
	*event = MIN(*event, MIN(recorder->next_sample_event, recorder->next_map_event));
	*time_ns = recorder->next_sample_ns;
}

void recorder_tick(struct recorder *recorder, uint64_t event, uint64_t time_ns)
{
	uint64_t due_event, due_ns;

	recorder_due(recorder, &due_event, &due_ns);
	if (!recorder || (event < due_event && time_ns < due_ns))
		return;
	uint64_t before = timer_minor_faults();
	tick_slow(recorder, event, time_ns);
	recorder->lab_faults += timer_minor_faults() - before;
}

void recorder_end(struct recorder *recorder, uint64_t event, uint64_t time_ns, double *metrics)
{
	tick_recorded(recorder, event);
	sample(recorder, event, time_ns);
	sample_map(recorder, event, time_ns);
	memcpy(metrics, recorder->values, metrics_count() * sizeof(*metrics));
}

void recorder_failure(struct recorder *recorder, uint64_t event, const struct event *what)
{
	if (!recorder)
		return;
	struct result_failure row = {
		.event = event,
		.time_ns = what->time_ns,
		.frames = what->u.frame.frames,
		.align_frames = what->u.frame.align_frames,
		.zone = what->u.frame.zone,
		.mobility = what->u.frame.mobility,
		.cpu = what->cpu,
		.task = what->task,
		.free_frames = ledger_totals(recorder->view.ledger)->free_frames,
		.largest_free_order = metrics_largest_free_order(recorder->view.ledger),
	};
	uint64_t before = timer_minor_faults();
	result_failure(recorder->result, &row);
	recorder->lab_faults += timer_minor_faults() - before;
}

void recorder_demand(struct recorder *recorder, const struct demand_bin *bins)
{
	for (unsigned bin = 0; recorder && bin < DEMAND_BINS; bin++) {
		unsigned low = bin * 100 / DEMAND_BINS, high = (bin + 1) * 100 / DEMAND_BINS;
		if (!bins[bin].requests)
			continue;
		result_fill(recorder->result, low, high, bins[bin].requests, bins[bin].served);
		if (bins[bin].latency)
			recorder->by_fill[bin] =
				g_memdup2(bins[bin].latency, sizeof(*bins[bin].latency));
	}
}

JsonNode *recorder_demand_json(const struct recorder *recorder)
{
	JsonObject *object = json_object_new();
	JsonNode *node = json_node_new(JSON_NODE_OBJECT);
	char low[8];

	for (unsigned bin = 0; bin < DEMAND_BINS; bin++) {
		if (!recorder->by_fill[bin])
			continue;
		g_snprintf(low, sizeof(low), "%u", bin * 100 / DEMAND_BINS);
		json_object_set_member(object, low, result_latency_json(recorder->by_fill[bin]));
	}
	json_node_take_object(node, object);
	return node;
}

/* ---- latency ---- */

bool recorder_timed(const struct recorder *recorder)
{
	return recorder->config.time;
}

uint64_t recorder_lab_faults(const struct recorder *recorder)
{
	return recorder ? recorder->lab_faults : 0;
}

/* Touched here, so that adding to it later costs no page fault. */
static struct histogram *new_histogram(struct recorder *recorder)
{
	uint64_t before = timer_minor_faults();
	struct histogram *histogram = g_new(struct histogram, 1);

	memset(histogram, 0, sizeof(*histogram));
	recorder->lab_faults += timer_minor_faults() - before;
	return histogram;
}

static inline void book_latency(struct recorder *recorder, unsigned operation, unsigned order,
				unsigned cpu, uint64_t event, uint64_t ns)
{
	struct histogram **histogram =
		&recorder->histogram[operation][order][MIN(cpu, RECORDER_CPUS_MAX - 1)];

	if (!*histogram)
		*histogram = new_histogram(recorder);
	histogram_add(*histogram, ns);
	if (ns >= recorder->config.slow_threshold_ns && recorder->slow->len < RECORDER_SLOW_MAX) {
		struct slow slow = { .event = event,
				     .ns = ns,
				     .cpu = (uint16_t)cpu,
				     .order = (uint8_t)order,
				     .operation = (uint8_t)operation };
		g_array_append_val(recorder->slow, slow);
	}
}

struct recorder_stamps *recorder_stamps(struct recorder *recorder)
{
	return recorder->timer ? &recorder->stamps : NULL;
}

void recorder_book_stamps(struct recorder *recorder)
{
	for (unsigned i = 0; i < recorder->stamps.count; i++) {
		const struct recorder_stamp *stamp = &recorder->stamps.stamp[i];
		book_latency(recorder, stamp->operation, stamp->order, stamp->cpu, stamp->event,
			     timer_net_ns(recorder->timer, 0, stamp->ticks));
	}
	recorder->stamps.count = 0;
}

void recorder_latency(struct recorder *recorder, unsigned operation, unsigned order, unsigned cpu,
		      uint64_t event, uint64_t ns)
{
	recorder_book_stamps(recorder);
	book_latency(recorder, operation, order, cpu, event, ns);
}

const struct histogram *recorder_histogram(struct recorder *recorder, unsigned operation,
					   unsigned order)
{
	struct histogram **merged = &recorder->merged[operation][order];

	recorder_book_stamps(recorder);
	if (*merged)
		return *merged;
	for (unsigned cpu = 0; cpu < RECORDER_CPUS_MAX; cpu++) {
		const struct histogram *part = recorder->histogram[operation][order][cpu];
		if (part && !*merged)
			*merged = g_new0(struct histogram, 1);
		if (part)
			histogram_merge(*merged, part);
	}
	return *merged;
}

void recorder_total(struct recorder *recorder, uint64_t *operations, uint64_t *ns)
{
	*operations = *ns = 0;
	for (unsigned operation = 0; operation < OPERATIONS; operation++) {
		for (unsigned order = 0; order < RECORDER_ORDERS; order++) {
			const struct histogram *all =
				recorder_histogram(recorder, operation, order);
			*operations += all ? all->count : 0;
			*ns += all ? all->sum_ns : 0;
		}
	}
}

static const char *operation_name(const struct recorder *recorder, unsigned operation)
{
	if (recorder->config.heap && operation == OPERATION_ALLOC)
		return "heap_alloc";
	if (recorder->config.heap && operation == OPERATION_FREE)
		return "heap_free";
	return replay_operation_names[operation];
}

void recorder_write_latency(struct recorder *recorder)
{
	recorder_book_stamps(recorder);
	for (unsigned operation = 0; operation < OPERATIONS; operation++)
		for (unsigned order = 0; order < RECORDER_ORDERS; order++)
			for (unsigned cpu = 0; cpu < RECORDER_CPUS_MAX; cpu++)
				if (recorder->histogram[operation][order][cpu])
					result_latency(recorder->result,
						       operation_name(recorder, operation), order,
						       cpu,
						       recorder->histogram[operation][order][cpu]);
	for (guint i = 0; i < recorder->slow->len; i++) {
		const struct slow *slow = &g_array_index(recorder->slow, struct slow, i);
		result_slow(recorder->result, slow->event,
			    operation_name(recorder, slow->operation), slow->order, slow->cpu,
			    slow->ns);
	}
}
