#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "workloads/import/import.h"
#include "workloads/import/json_scan.h"
#include "workloads/import/lines.h"
#include "workloads/import/owners.h"
#include "workloads/import/source.h"
#include "workloads/import/text.h"

/*
 * `perf data convert --to-json` of tracepoints, perf 6.2 and later:
 *
 *   { "linux-perf-json-version": 1, "headers": { ... "os-release": "6.12.1", ... }, "samples": [
 *     { "timestamp": 18132995500, "pid": 152, "tid": 153, "cpu": 0, "comm": "sh",
 *       "callchain": [ ... ], "pfn": "0x104d3c", "order": "0", ... }, ... ] }
 *
 * What stands before the call chain is perf's, what stands behind it are the tracepoint's fields,
 * all as strings. The name of the tracepoint is nowhere: an event is what its fields say. perf
 * before 6.2 leaves the fields out.
 */

#define TEXT_BYTES 256
#define KEY_BYTES  48

/* Names of fields that only tell events apart, or whose values are texts. */
enum word {
	WORD_NAME = 0,
	WORD_NODE,
	WORD_ACCOUNTED,
	WORD_FILENAME,
	WORD_OLD_PID,
	WORD_CHILD_COMM,
	WORD_PARENT_COMM,
	WORDS
};

static const char *const words[WORDS] = {
	"name", "node", "accounted", "filename", "old_pid", "child_comm", "parent_comm",
};

struct sample {
	uint64_t time_ns, pid, tid, cpu;
	bool timed;
	bool behind; /* the call chain: fields follow */
	unsigned fields, others;
	char comm[TEXT_BYTES];
	char text[WORDS][TEXT_BYTES];
	uint32_t words; /* 1 << enum word */
	struct raw_fields numbers;
	uint64_t value[RAW_VALUES]; /* of fields that are none of ours */
};

struct perf_json {
	struct import_job *job;
	struct json_scan *scan;
	struct sample sample;
	uint32_t names[RAW_KINDS]; /* string ids */
	uint64_t samples, without_fields;
	bool refills_told; /* the kernel's zone_locked event has a field of its own */
};

/* ---- which event ---- */

#define HAS(field) (1u << RAW_FIELD_##field)
#define WORD(word) (1u << WORD_##word)
/* x86 #PF error code (Intel SDM 3A 4.7): the access came from user mode. */
#define FAULT_USER UINT64_C(4)

/* The first row whose fields are all there, and none of those that must not be. */
static const struct shape {
	uint8_t kind; /* enum raw_kind */
	uint32_t has, has_not;
	uint32_t words, not_words;
} shapes[] = {
	{ RAW_EXTFRAG, HAS(PFN) | HAS(ALLOC_ORDER) | HAS(FALLBACK_ORDER), 0, 0, 0 },
	{ RAW_PAGE_ALLOC, HAS(PFN) | HAS(ORDER) | HAS(GFP_FLAGS), 0, 0, 0 },
	{ RAW_ZONE_LOCKED, HAS(PFN) | HAS(ORDER) | HAS(PERCPU_REFILL), 0, 0, 0 },
	{ RAW_PCPU_DRAIN, HAS(PFN) | HAS(ORDER) | HAS(MIGRATETYPE), 0, 0, 0 },
	{ RAW_PAGE_FREE, HAS(PFN) | HAS(ORDER), 0, 0, 0 },
	{ RAW_PAGE_FREE_BATCHED, HAS(PFN), HAS(ORDER), 0, 0 },
	{ RAW_CACHE_ALLOC, HAS(PTR) | HAS(BYTES_REQ), 0, WORD(ACCOUNTED), 0 },
	{ RAW_KMALLOC, HAS(PTR) | HAS(BYTES_REQ), 0, 0, WORD(ACCOUNTED) },
	{ RAW_CACHE_FREE, HAS(PTR) | HAS(CALL_SITE), HAS(BYTES_REQ), WORD(NAME), 0 },
	{ RAW_KFREE, HAS(PTR) | HAS(CALL_SITE), HAS(BYTES_REQ), 0, WORD(NAME) },
	{ RAW_FAULT_USER, HAS(ADDRESS) | HAS(IP) | HAS(ERROR_CODE), 0, 0, 0 },
	{ RAW_FORK, HAS(CHILD_PID), 0, WORD(CHILD_COMM) | WORD(PARENT_COMM), 0 },
	{ RAW_EXEC, 0, 0, WORD(FILENAME) | WORD(OLD_PID), 0 },
};

static enum raw_kind kind_of(const struct perf_json *json)
{
	const struct sample *sample = &json->sample;
	uint32_t found = sample->numbers.found;

	for (size_t i = 0; i < G_N_ELEMENTS(shapes); i++) {
		const struct shape *shape = &shapes[i];
		if ((shape->has & ~found) || (shape->has_not & found) ||
		    (shape->words & ~sample->words) || (shape->not_words & sample->words))
			continue;
		/* A fault of the kernel's has the same fields. */
		if (shape->kind == RAW_FAULT_USER &&
		    !(sample->numbers.value[RAW_FIELD_ERROR_CODE] & FAULT_USER))
			return RAW_OTHER;
		/* Before Linux 5.19 the two sides of the per-CPU lists look the same. */
		if (shape->kind == RAW_PCPU_DRAIN && !json->refills_told)
			return RAW_OTHER;
		return (enum raw_kind)shape->kind;
	}
	return RAW_OTHER;
}

/* ---- events ---- */

static uint32_t string_of(struct perf_json *json, const char *text)
{
	return owners_string(json->job->owners, text, strlen(text));
}

/* perf's spelling: `perf script` of the same recording gives the same trace. */
static uint32_t name_of(struct perf_json *json, enum raw_kind kind)
{
	const char *system = kind == RAW_FAULT_USER		    ? "exceptions"
			     : kind == RAW_FORK || kind == RAW_EXEC ? "sched"
								    : "kmem";
	if (json->names[kind] == 0) {
		g_autofree char *name =
			kind == RAW_OTHER ? g_strdup("sample")
					  : g_strconcat(system, ":", raw_kind_name(kind), NULL);
		json->names[kind] = string_of(json, name);
	}
	return json->names[kind];
}

static bool build_event(struct perf_json *json, struct raw_event *raw, GError **error)
{
	struct sample *sample = &json->sample;

	raw->name = name_of(json, (enum raw_kind)raw->kind);
	if (raw->kind == RAW_OTHER) {
		raw->u.other.count = MIN(sample->others, RAW_VALUES);
		memcpy(raw->u.other.value, sample->value, sizeof sample->value);
		return true;
	}
	enum raw_field missing = raw_build(raw, &sample->numbers);
	if (missing != RAW_FIELD_NONE) {
		g_set_error(error, TRACE_ERROR, TRACE_ERROR_FORMAT, "%s without %s",
			    raw_kind_name((enum raw_kind)raw->kind), raw_field_name(missing));
		return false;
	}
	if (raw->kind == RAW_CACHE_FREE)
		raw->u.slab.cache = string_of(json, sample->text[WORD_NAME]);
	if (raw->kind == RAW_FORK)
		raw->u.process.text = string_of(json, sample->text[WORD_CHILD_COMM]);
	if (raw->kind == RAW_EXEC)
		raw->u.process.text = string_of(json, sample->text[WORD_FILENAME]);
	return true;
}

static bool take_sample(struct perf_json *json, GError **error)
{
	struct sample *sample = &json->sample;
	struct raw_event raw = { .time_ns = sample->time_ns };

	json->samples++;
	if (!sample->timed)
		return line_problem(error, "a sample without timestamp");
	if (sample->cpu >= UINT16_MAX)
		return line_problem(error, "CPU number above 65534");
	if (sample->fields == 0) {
		json->without_fields++;
		return true;
	}
	raw.cpu = (uint16_t)sample->cpu;
	/* As tracepoints and perf script count: threads. perf has -1 where it knows none. */
	raw.pid = sample->tid <= INT32_MAX ? (uint32_t)sample->tid : 0;
	raw.kind = (uint8_t)kind_of(json);
	if (!build_event(json, &raw, error) || !owners_add(json->job->owners, &raw, error))
		return false;
	if (sample->comm[0] && raw.pid > 0)
		owners_task(json->job->owners, raw.pid, sample->comm, strlen(sample->comm));
	return true;
}

/* ---- the members of a sample ---- */

static bool number_of(const char *text, uint64_t *value)
{
	struct span span = { text, text + strlen(text) };

	span.begin = text_skip_blanks(span.begin, span.end);
	return text_number(span, value);
}

static bool take_header_member(struct sample *sample, const char *key, const char *text,
			       GError **error)
{
	static const struct {
		const char *key;
		size_t offset;
	} numbers[] = {
		{ "timestamp", offsetof(struct sample, time_ns) },
		{ "pid", offsetof(struct sample, pid) },
		{ "tid", offsetof(struct sample, tid) },
		{ "cpu", offsetof(struct sample, cpu) },
	};

	if (strcmp(key, "comm") == 0)
		g_strlcpy(sample->comm, text, sizeof sample->comm);
	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
		uint64_t *value = (uint64_t *)(void *)((char *)sample + numbers[i].offset);
		if (strcmp(key, numbers[i].key) != 0)
			continue;
		sample->timed |= i == 0;
		if (number_of(text, value))
			return true;
		g_set_error(error, TRACE_ERROR, TRACE_ERROR_FORMAT, "%s is no number: '%.60s'", key,
			    text);
		return false;
	}
	return true;
}

static bool take_field(struct sample *sample, const char *key, const char *text, GError **error)
{
	enum raw_field field = raw_field_find(key, strlen(key));
	uint64_t number;

	sample->fields++;
	for (unsigned word = 0; word < WORDS; word++) {
		if (strcmp(key, words[word]) != 0)
			continue;
		sample->words |= 1u << word;
		g_strlcpy(sample->text[word], text, TEXT_BYTES);
	}
	if (field == RAW_FIELD_NONE) {
		if (sample->others < RAW_VALUES && number_of(text, &number))
			sample->value[sample->others++] = number;
		return true;
	}
	sample->numbers.found |= 1u << field;
	if (number_of(text, &sample->numbers.value[field]))
		return true;
	g_set_error(error, TRACE_ERROR, TRACE_ERROR_FORMAT, "%s is no number: '%.60s'", key, text);
	return false;
}

static bool read_sample(struct perf_json *json, GError **error)
{
	struct sample *sample = &json->sample;
	char key[KEY_BYTES], text[TEXT_BYTES];

	memset(sample, 0, sizeof *sample);
	for (bool first = true;; first = false) {
		int more = json_scan_member(json->scan, first, key, sizeof key, error);
		if (more <= 0)
			return more == 0 && take_sample(json, error);
		if (strcmp(key, "callchain") == 0) {
			sample->behind = true;
			if (!json_scan_skip(json->scan, error))
				return false;
			continue;
		}
		if (!json_scan_scalar(json->scan, text, sizeof text, error))
			return false;
		if (!(sample->behind ? take_field(sample, key, text, error)
				     : take_header_member(sample, key, text, error)))
			return false;
	}
}

/* ---- the whole ---- */

/* Raises a problem, or counts it and goes on with the next sample. Returns false with error. */
static bool malformed(struct perf_json *json, GError *problem, GError **error)
{
	char place[40];

	snprintf(place, sizeof place, ": byte %" G_GUINT64_FORMAT, json_scan_offset(json->scan));
	return import_malformed(json->job, place, problem, error) &&
	       json_scan_find(json->scan, "\"timestamp\"", error);
}

static bool read_samples(struct perf_json *json, GError **error)
{
	for (bool first = true;; first = false) {
		GError *problem = NULL;
		int more = json_scan_element(json->scan, first, &problem);
		if (more == 0)
			return true;
		if (more > 0 && json_scan_enter(json->scan, '{', &problem) &&
		    read_sample(json, &problem))
			continue;
		/* Behind a problem the next sample stands open, at its first key. */
		while (problem) {
			if (!malformed(json, g_steal_pointer(&problem), error))
				return false;
			if (json_scan_ended(json->scan))
				return true;
			read_sample(json, &problem);
		}
	}
}

static bool read_headers(struct perf_json *json, GError **error)
{
	char key[KEY_BYTES], text[TEXT_BYTES];
	unsigned major, minor;

	if (!json_scan_enter(json->scan, '{', error))
		return false;
	for (bool first = true;; first = false) {
		int more = json_scan_member(json->scan, first, key, sizeof key, error);
		if (more <= 0)
			return more == 0;
		if (strcmp(key, "os-release") != 0) {
			if (!json_scan_skip(json->scan, error))
				return false;
			continue;
		}
		if (!json_scan_scalar(json->scan, text, sizeof text, error))
			return false;
		if (sscanf(text, "%u.%u", &major, &minor) == 2)
			json->refills_told = major > 5 || (major == 5 && minor >= 19);
	}
}

static bool read_all(struct perf_json *json, GError **error)
{
	char key[KEY_BYTES];

	if (!json_scan_enter(json->scan, '{', error))
		return false;
	for (bool first = true;; first = false) {
		int more = json_scan_member(json->scan, first, key, sizeof key, error);
		bool read = true;
		if (more <= 0)
			return more == 0;
		if (strcmp(key, "headers") == 0)
			read = read_headers(json, error);
		else if (strcmp(key, "samples") == 0)
			read = json_scan_enter(json->scan, '[', error) && read_samples(json, error);
		else
			read = json_scan_skip(json->scan, error);
		if (!read)
			return false;
	}
}

static bool check_found(const struct perf_json *json, GError **error)
{
	const char *path = import_source_path(json->job->source);

	if (owners_taken(json->job->owners) > 0)
		return true;
	if (json->without_fields > 0)
		trace_error_set(error, TRACE_ERROR_FORMAT,
				"%s: samples without the fields of their tracepoints: perf before "
				"6.2 leaves them out; use `perf script --ns`",
				path);
	else
		trace_error_set(error, TRACE_ERROR_FORMAT, "%s: no event in the whole file", path);
	return false;
}

bool perf_json_run(struct import_job *job, GError **error)
{
	struct perf_json json = { .job = job, .scan = json_scan_new(job->source) };
	GError *problem = NULL;

	job->snapshots_by_clock = true;
	bool done = read_all(&json, &problem);
	if (problem && g_error_matches(problem, TRACE_ERROR, TRACE_ERROR_FORMAT) &&
	    !g_str_has_prefix(problem->message, "trace error: ")) {
		char place[40];
		snprintf(place, sizeof place, ": byte %" G_GUINT64_FORMAT,
			 json_scan_offset(json.scan));
		done = import_malformed(job, place, g_steal_pointer(&problem), error);
	} else if (problem) {
		g_propagate_error(error, g_steal_pointer(&problem));
	}
	json_scan_free(json.scan);
	return done && check_found(&json, error);
}

bool perf_json_detect(const unsigned char *head, size_t bytes, const char *name)
{
	static const char key[] = "\"linux-perf-json-version\"";

	return memmem(head, MIN(bytes, 200), key, sizeof key - 1) != NULL;
}
