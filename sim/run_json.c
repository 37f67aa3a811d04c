#include "sim/run_json.h"

#include <stdio.h>
#include <string.h>

#include "sim/fragmentation.h"
#include "sim/heap_report.h"
#include "sim/timer.h"
#include "sim/version.h"

static void add_int(JsonBuilder *json, const char *key, uint64_t value)
{
	json_builder_add_int_value(json_builder_set_member_name(json, key), (gint64)value);
}

static void add_double(JsonBuilder *json, const char *key, double value)
{
	json_builder_add_double_value(json_builder_set_member_name(json, key), value);
}

static void add_bool(JsonBuilder *json, const char *key, bool value)
{
	json_builder_add_boolean_value(json_builder_set_member_name(json, key), value);
}

static void add_string(JsonBuilder *json, const char *key, const char *value)
{
	json_builder_add_string_value(json_builder_set_member_name(json, key), value ? value : "");
}

static void begin(JsonBuilder *json, const char *key)
{
	json_builder_begin_object(json_builder_set_member_name(json, key));
}

static void add_hash(JsonBuilder *json, const char *key, uint64_t hash)
{
	char text[17];

	g_snprintf(text, sizeof(text), "%016" G_GINT64_MODIFIER "x", hash);
	add_string(json, key, text);
}

/* With host threads there is none. */
static void add_digest(JsonBuilder *json, const struct replay_result *done)
{
	if (done->digested)
		add_hash(json, "digest", done->digest);
	else
		json_builder_add_null_value(json_builder_set_member_name(json, "digest"));
}

static bool has_heap(const struct run_result *result)
{
	return run_speaker(result)->heap.sites != NULL;
}

static const char *const *operation_names(const struct run_result *result)
{
	return has_heap(result) ? replay_heap_operation_names : replay_operation_names;
}

static void add_heap(JsonBuilder *json, const struct run_result *result)
{
	if (!has_heap(result))
		return;
	json_builder_set_member_name(json, "heap");
	const struct replay_heap *probed =
		result->done[PASS_PROBED] ? &result->pass[PASS_PROBED].heap : NULL;
	json_builder_add_value(json, heap_report_json(&run_speaker(result)->heap, probed));
}

static void add_violations(JsonBuilder *json, const struct run_result *result)
{
	add_int(json, "violations", result->violations);
	json_builder_begin_array(json_builder_set_member_name(json, "violation_list"));
	for (unsigned pass = 0; pass < PASSES; pass++) {
		for (guint i = 0; result->done[pass] && i < result->pass[pass].violation_list->len;
		     i++) {
			const struct replay_violation *violation =
				g_ptr_array_index(result->pass[pass].violation_list, i);
			json_builder_begin_object(json);
			add_string(json, "pass", kernels[pass].name);
			if (violation->event == REPLAY_ALL)
				json_builder_add_null_value(
					json_builder_set_member_name(json, "event"));
			else
				add_int(json, "event", violation->event);
			add_string(json, "kind", violation->kind);
			add_int(json, "frame", violation->frame);
			add_string(json, "message", violation->message);
			add_string(json, "command", violation->command);
			json_builder_end_object(json);
		}
	}
	json_builder_end_array(json);
}

static void sum_counters(const struct replay_result *pass, struct probe_counters *sum)
{
	*sum = (struct probe_counters){ 0 };
	for (unsigned operation = OPERATION_ALLOC; operation < OPERATIONS; operation++)
		for (unsigned order = 0; order < REPLAY_ORDERS; order++)
			probe_counters_add(sum, &pass->row[operation][order].counters);
}

static void add_counters(JsonBuilder *json, const struct probe_counters *counters)
{
	add_int(json, "loads", counters->loads);
	add_int(json, "stores", counters->stores);
	add_int(json, "atomics", counters->atomics);
	add_int(json, "cache_lines", counters->cache_lines);
	add_int(json, "tlb_lookups", counters->tlb_lookups);
	add_int(json, "tlb_misses", counters->tlb_misses);
	add_int(json, "walk_reads", counters->walk_reads);
	add_int(json, "faults", counters->faults);
}

/* ---- address spaces ---- */

static void add_faults(JsonBuilder *json, const struct space_stats *stats)
{
	begin(json, "faults");
	for (unsigned i = SPACE_FAULT_NONE + 1; i < SPACE_FAULTS; i++)
		add_int(json, space_fault_names[i], stats->faults[i]);
	json_builder_end_object(json);
}

static void add_table_stats(JsonBuilder *json, const struct table_stats *stats)
{
	begin(json, "tables");
	add_int(json, "frames", stats->table_frames);
	add_int(json, "frames_peak", stats->table_frames_peak);
	add_int(json, "made", stats->tables_made);
	add_int(json, "freed", stats->tables_freed);
	add_int(json, "invlpg", stats->invlpg);
	add_int(json, "flushes", stats->flushes);
	add_int(json, "loads", stats->loads);
	add_int(json, "visits", stats->visits);
	add_int(json, "shootdowns", stats->shootdowns);
	add_int(json, "spared", stats->spared);
	add_int(json, "slot_moves", stats->slot_moves);
	add_int(json, "top_copies", stats->top_copies);
	add_int(json, "splits", stats->splits);
	json_builder_end_object(json);
}

static void add_mmu(JsonBuilder *json, const struct replay_spaces *s)
{
	const struct mmu_statistics *mmu = &s->mmu;

	begin(json, "mmu");
	add_int(json, "lookups", mmu->data_lookups + mmu->fetch_lookups);
	add_int(json, "l1_misses", mmu->l1_data_misses + mmu->l1_fetch_misses);
	add_int(json, "l2_hits", mmu->l2_hits);
	add_int(json, "walks", mmu->walks);
	add_int(json, "dirty_walks", mmu->dirty_walks);
	add_int(json, "entry_reads", mmu->entry_reads);
	add_int(json, "ad_writes", mmu->accessed_writes + mmu->dirty_writes);
	add_int(json, "faults_not_present", mmu->faults_not_present);
	add_int(json, "faults_protection", mmu->faults_protection);
	add_int(json, "invlpg", mmu->invlpg);
	add_int(json, "flushes", mmu->flushes);
	add_int(json, "dropped", mmu->dropped);
	add_int(json, "shootdowns_taken", mmu->shootdowns_taken);
	add_int(json, "stale_uses", mmu->stale_uses);
	add_int(json, "cycles", s->mmu_cycles);
	json_builder_end_object(json);
}

static void add_reach(JsonBuilder *json, const struct replay_spaces *s)
{
	begin(json, "tlb_reach");
	add_int(json, "entries", s->tlb_entries);
	for (unsigned i = 0; i < CONTIGUITY_SIZES; i++) {
		begin(json, contiguity_size_names[i]);
		add_int(json, "reach_bytes",
			contiguity_reach(&s->contiguity, i, s->tlb_entries) * FRAME_BYTES);
		add_int(json, "entries_for_all", contiguity_entries(&s->contiguity, i));
		json_builder_end_object(json);
	}
	json_builder_end_object(json);
}

#define SHARES 10

static void add_contiguity(JsonBuilder *json, const struct replay_spaces *s)
{
	const struct contiguity *c = &s->contiguity;

	begin(json, "contiguity");
	add_int(json, "pages", c->pages);
	add_int(json, "runs", c->runs);
	add_int(json, "runs_for_99_percent", contiguity_runs_for_99_percent(c));
	json_builder_begin_array(json_builder_set_member_name(json, "share_in_runs_of_2n"));
	for (unsigned i = 0; i < SHARES; i++)
		json_builder_add_double_value(json, contiguity_share(c, 1ull << i));
	json_builder_end_array(json);
	add_reach(json, s);
	json_builder_end_object(json);
}

/* The same in both passes. */
static void add_spaces(JsonBuilder *json, const struct run_result *result)
{
	const struct replay_spaces *s = &run_speaker(result)->spaces;
	char text[17];

	if (!s->on)
		return;
	begin(json, "spaces");
	g_snprintf(text, sizeof(text), "%016" G_GINT64_MODIFIER "x", s->contents);
	add_string(json, "contents", text);
	add_int(json, "touches", s->touches);
	add_int(json, "killed", s->killed);
	add_int(json, "unserved", s->unserved);
	add_int(json, "skipped", s->skipped);
	add_int(json, "invalid", s->invalid);
	add_faults(json, &s->spaces);
	add_int(json, "copies", s->spaces.copies);
	add_int(json, "shared", s->spaces.shared);
	add_int(json, "large_refused", s->spaces.large_refused);
	add_int(json, "user_frames_peak", s->spaces.user_frames_peak);
	add_int(json, "processes_peak", s->spaces.spaces_peak);
	add_table_stats(json, &s->tables);
	add_contiguity(json, s);
	space_series_json(&s->series, json);
	json_builder_end_object(json);
}

/* What differs by pass: the probed one's MMU sees the kernel's accesses too, and with the stale
 * checker knows which invalidations dropped nothing. */
static void add_pass_spaces(JsonBuilder *json, const struct run_result *result, unsigned pass)
{
	const struct replay_spaces *s = &result->pass[pass].spaces;

	if (!s->on)
		return;
	add_mmu(json, s);
	if (!result->machine->stale_check || pass != PASS_PROBED)
		return;
	begin(json, "invalidations");
	add_int(json, "invlpg", s->invalidations.invlpg);
	add_int(json, "invlpg_superfluous", s->invalidations.invlpg_superfluous);
	add_int(json, "flushes", s->invalidations.flushes);
	add_int(json, "flushes_superfluous", s->invalidations.flushes_superfluous);
	add_int(json, "missing", s->mmu.stale_uses);
	json_builder_end_object(json);
}

/* Of the lock around alloc and free; waits are for host threads, and of no use to compare. */
static void add_lock(JsonBuilder *json, const struct replay_result *done)
{
	begin(json, "lock");
	add_int(json, "acquisitions", done->lock_acquisitions);
	add_int(json, "contended", done->lock_contended);
	json_builder_end_object(json);
}

/* Host threads: no two runs place alike. */
static void add_threads(JsonBuilder *json, const struct run_config *config,
			const struct replay_result *done)
{
	begin(json, "threads");
	add_int(json, "count", config->threads);
	add_double(json, "seconds", done->seconds);
	add_double(json, "cpu_seconds", (double)done->cpu_ns / 1e9);
	add_double(json, "operations_per_second",
		   done->seconds > 0 ? (double)done->operations / done->seconds : 0.0);
	add_int(json, "lock_waits", done->lock_waits);
	json_builder_end_object(json);
}

/* What a pass adds; host time only where a person asked for it, not in files that are compared byte
 * for byte. */
static void add_passes(JsonBuilder *json, const struct run_result *result, bool seconds)
{
	struct probe_counters sum;

	begin(json, "passes");
	for (unsigned pass = 0; pass < PASSES; pass++) {
		if (!result->done[pass])
			continue;
		begin(json, kernels[pass].name);
		add_digest(json, &result->pass[pass]);
		if (seconds)
			add_double(json, "seconds", result->pass[pass].seconds);
		if (pass == PASS_PROBED) {
			sum_counters(&result->pass[pass], &sum);
			begin(json, "counters");
			add_counters(json, &sum);
			json_builder_end_object(json);
		}
		add_pass_spaces(json, result, pass);
		json_builder_end_object(json);
	}
	json_builder_end_object(json);
}

static void add_fixture(JsonBuilder *json, const struct fixture_reached *reached)
{
	begin(json, "start_state");
	add_hash(json, "target_hash", reached->target_hash);
	add_hash(json, "reached_hash", reached->reached_hash);
	add_int(json, "target_free_frames", reached->target_free_frames);
	add_int(json, "reached_free_frames", reached->reached_free_frames);
	add_int(json, "missing_frames", reached->missing_frames);
	add_int(json, "extra_frames", reached->extra_frames);
	add_double(json, "distance", reached->distance);
	json_builder_end_object(json);
}

static void add_result(JsonBuilder *json, const struct run_config *config,
		       const struct run_result *result)
{
	const struct replay_result *done = run_speaker(result);

	add_digest(json, done);
	add_int(json, "events", done->events);
	add_int(json, "operations", done->operations);
	add_int(json, "failures", done->failures);
	add_int(json, "skipped", done->skipped);
	add_int(json, "deferred_frees", done->deferred_frees);
	add_int(json, "prologue", done->prologue);
	add_int(json, "prologue_frames", done->prologue_frames);
	add_int(json, "start_failures", done->start_failures);
	add_int(json, "displaced", done->displaced);
	add_int(json, "untouched_frames", done->untouched_frames);
	add_lock(json, done);
	if (config->start.fixture)
		add_fixture(json, &done->fixture);
	add_bool(json, "digests_differ", result->digests_differ);
	add_violations(json, result);
}

static void add_metrics(JsonBuilder *json, const struct run_result *result)
{
	json_builder_set_member_name(json, "metrics");
	json_builder_add_value(json, metrics_json(run_speaker(result)->metrics));
}

static void add_latency(JsonBuilder *json, const struct run_result *result)
{
	char key[48];

	begin(json, "latency");
	for (unsigned operation = OPERATION_ALLOC;
	     operation < OPERATIONS && result->done[PASS_NATIVE]; operation++) {
		for (unsigned order = 0; order < RECORDER_ORDERS; order++) {
			const struct histogram *histogram =
				recorder_histogram(result->recorder, operation, order);
			if (!histogram)
				continue;
			g_snprintf(key, sizeof(key), "%s/%u", operation_names(result)[operation],
				   order);
			json_builder_add_value(json_builder_set_member_name(json, key),
					       result_latency_json(histogram));
		}
	}
	json_builder_end_object(json);
}

static JsonNode *finish(JsonBuilder *json)
{
	json_builder_end_object(json);
	JsonNode *root = json_builder_get_root(json);
	g_object_unref(json);
	return root;
}

JsonNode *run_summary(const struct run_config *config, const struct run_result *result)
{
	JsonBuilder *json = json_builder_new();

	json_builder_begin_object(json);
	add_string(json, "allocator", config->label);
	if (config->heap)
		add_string(json, "heap_name", config->heap_label);
	add_result(json, config, result);
	add_passes(json, result, true);
	add_spaces(json, result);
	if (config->threads) {
		add_threads(json, config, run_speaker(result));
		return finish(json);
	}
	add_metrics(json, result);
	add_heap(json, result);
	add_latency(json, result);
	return finish(json);
}

static char *cpu_model(void)
{
	char *text = NULL, *name = NULL;

	if (g_file_get_contents("/proc/cpuinfo", &text, NULL, NULL)) {
		const char *line = strstr(text, "model name");
		const char *colon = line ? strchr(line, ':') : NULL;
		if (colon)
			name = g_strstrip(g_strndup(colon + 1, strcspn(colon + 1, "\n")));
	}
	g_free(text);
	return name ? name : g_strdup("unknown");
}

static void add_config(JsonBuilder *json, const struct run_config *config,
		       const struct run_result *result)
{
	const struct replay_result *done = run_speaker(result);
	const struct machine_config *machine = result->machine;
	char **names = g_strsplit(config->name ? config->name : "", "/", 2);
	char *trace = g_path_get_basename(config->trace_path);

	if (g_str_has_suffix(trace, ".kmt"))
		trace[strlen(trace) - strlen(".kmt")] = '\0';
	begin(json, "config");
	add_string(json, "experiment", names[0]);
	add_string(json, "run", names[0] ? names[1] : NULL);
	add_string(json, "trace", trace);
	add_string(json, "trace_sha256", result->trace_sha256);
	add_string(json, "frames", config->label);
	if (result->frames_sha256)
		add_string(json, "frames_sha256", result->frames_sha256);
	if (config->heap)
		add_string(json, "heap", config->heap_label);
	if (config->guard) {
		char *words = heap_guard_words(config->guard);
		add_string(json, "guard", words);
		g_free(words);
	}
	if (result->heap_sha256)
		add_string(json, "heap_sha256", result->heap_sha256);
	add_string(json, "tables", config->tables);
	add_string(json, "space", config->space ? config->space : "none");
	add_string(json, "paging", table_geometry(machine_paging(machine))->name);
	begin(json, "options");
	for (char **setting = config->settings; setting && *setting; setting++) {
		char **pair = g_strsplit(*setting, "=", 2);
		add_string(json, pair[0], pair[1]);
		g_strfreev(pair);
	}
	json_builder_end_object(json);
	add_string(json, "machine", machine->name);
	add_bool(json, "machine_known", result->machine_known);
	add_string(json, "arch", machine_layout(machine->arch)->arch);
	add_int(json, "ram_bytes", done->usable_frames * FRAME_BYTES);
	add_int(json, "usable_frames", done->usable_frames);
	add_int(json, "direct_leaf_bytes", machine->leaf_bytes);
	add_int(json, "cpus", machine->cpus);
	add_int(json, "seed", config->seed);
	add_string(json, "start", run_start_name(&config->start));
	add_string(json, "place", config->place_recorded ? "recorded" : "free");
	add_string(json, "pass",
		   result->done[PASS_NATIVE] && result->done[PASS_PROBED] ? "both"
		   : result->done[PASS_NATIVE]				  ? "native"
									  : "probed");
	if (config->until == REPLAY_ALL)
		json_builder_add_null_value(json_builder_set_member_name(json, "until"));
	else
		add_int(json, "until", config->until);
	add_int(json, "sample_events", config->sample_events);
	add_int(json, "sample_ns", config->sample_ns);
	add_string(json, "command", config->command);
	json_builder_end_object(json);
	g_free(trace);
	g_strfreev(names);
}

static void add_boot(JsonBuilder *json, const struct run_result *result)
{
	const struct replay_result *done = run_speaker(result);

	begin(json, "boot");
	add_int(json, "state_bytes", done->state_bytes);
	add_int(json, "table_frames", done->table_frames);
	add_int(json, "managed_frames", done->managed_frames);
	if (result->done[PASS_PROBED])
		add_counters(json, &result->pass[PASS_PROBED].row[OPERATION_BOOT][0].counters);
	json_builder_end_object(json);
}

static void add_host(JsonBuilder *json, const struct run_result *result)
{
	const struct timer *timer = timer_get();
	char *cpu = cpu_model();

	begin(json, "host");
	add_string(json, "program", "kmemlab " KMEMLAB_VERSION);
	add_string(json, "compiler", KMEMLAB_COMPILER);
	add_string(json, "flags", KMEMLAB_FLAGS);
	add_string(json, "cpu", cpu);
	add_double(json, "timer_cost_ns", (double)timer->cost_ticks * timer->ns_per_tick);
	add_int(json, "slow_threshold_ns", RECORDER_SLOW_NS);
	add_int(json, "sample_rate", 1); /* every operation is timed; those above the threshold are
					    also kept one by one */
	if (result->done[PASS_NATIVE]) {
		add_int(json, "host_minor_faults", result->pass[PASS_NATIVE].host_minor_faults);
		add_int(json, "lab_ns", result->pass[PASS_NATIVE].lab_ns);
		add_double(json, "native_seconds", result->pass[PASS_NATIVE].seconds);
	}
	if (result->done[PASS_PROBED])
		add_double(json, "probed_seconds", result->pass[PASS_PROBED].seconds);
	json_builder_end_object(json);
	g_free(cpu);
}

JsonNode *run_json(const struct run_config *config, const struct run_result *result)
{
	JsonBuilder *json = json_builder_new();

	json_builder_begin_object(json);
	add_int(json, "schema", 1);
	add_config(json, config, result);
	begin(json, "result");
	add_result(json, config, result);
	add_passes(json, result, false);
	add_spaces(json, result);
	add_boot(json, result);
	add_metrics(json, result);
	add_heap(json, result);
	json_builder_end_object(json);
	add_host(json, result);
	return finish(json);
}

JsonNode *run_timing(const struct run_result *result)
{
	JsonBuilder *json = json_builder_new();
	uint64_t operations, ns;

	recorder_total(result->recorder, &operations, &ns);
	json_builder_begin_object(json);
	add_latency(json, result);
	json_builder_set_member_name(json, "huge_by_fill_percent");
	json_builder_add_value(json, recorder_demand_json(result->recorder));
	add_double(json, "operations_per_second", ns ? (double)operations * 1e9 / (double)ns : 0.0);
	add_int(json, "lab_ns", result->pass[PASS_NATIVE].lab_ns);
	add_double(json, "native_seconds", result->pass[PASS_NATIVE].seconds);
	if (result->done[PASS_PROBED])
		add_double(json, "probed_seconds", result->pass[PASS_PROBED].seconds);
	return finish(json);
}

void run_write_events(const struct run_result *result)
{
	const struct replay_result *probed = &result->pass[PASS_PROBED];

	if (!result->done[PASS_PROBED])
		return;
	for (unsigned operation = 0; operation < OPERATIONS; operation++)
		for (unsigned order = 0; order < REPLAY_ORDERS; order++) {
			const struct replay_row *row = &probed->row[operation][order];
			const struct probe_counters *counters = &row->counters;
			if (!row->operations)
				continue;
			struct result_events line = {
				.operation = operation_names(result)[operation],
				.order = operation == OPERATION_BOOT ? -1 : (int)order,
				.operations = row->operations,
				.loads = counters->loads,
				.stores = counters->stores,
				.atomics = counters->atomics,
				.cache_lines = counters->cache_lines,
				.tlb_lookups = counters->tlb_lookups,
				.tlb_misses = counters->tlb_misses,
				.walk_reads = counters->walk_reads,
				.faults = counters->faults,
				.most_accesses = row->most_accesses,
			};
			result_events(result->files, &line);
		}
}
