#include <stdio.h>
#include <string.h>
#include "workloads/import/import.h"
#include "workloads/import/owners.h"
#include "workloads/import/source.h"
#include "workloads/recorder/kmemlab_record.h"

/*
 * What workloads/recorder/kmemlab_record.h writes, from a port of a virtual machine: records
 * between whatever else the kernel prints there. The header describes them.
 */

#define BUFFER_BYTES ((size_t)1 << 18)
/* The byte that marks a record, its length, what that counts, the check. */
#define RECORD_MOST (2 + KMEMLAB_RECORD_BYTES + 1)

struct recording {
	struct import_job *job;
	struct raw_event raw;
	uint64_t hertz; /* of the time stamps, 0 unknown */
	uint64_t at;	/* byte of the file where the buffer begins */
	uint32_t names[KMEMLAB_RECORD_KINDS];
};

static const struct {
	const char *name;
	uint8_t kind; /* enum raw_kind */
	uint8_t numbers;
	bool text;
} kinds[KMEMLAB_RECORD_KINDS] = {
	[KMEMLAB_RECORD_BEGIN] = { "begin", RAW_NONE, 2, false },
	[KMEMLAB_RECORD_FRAME_ALLOC] = { "frame_alloc", RAW_FRAMES_ALLOC, 2, false },
	[KMEMLAB_RECORD_FRAME_FREE] = { "frame_free", RAW_FRAMES_FREE, 2, false },
	[KMEMLAB_RECORD_FRAME_FAILED] = { "frame_failed", RAW_FRAMES_ALLOC, 1, false },
	[KMEMLAB_RECORD_HEAP_ALLOC] = { "heap_alloc", RAW_KMALLOC, 3, false },
	[KMEMLAB_RECORD_HEAP_REALLOC] = { "heap_realloc", RAW_RESIZE, 4, false },
	[KMEMLAB_RECORD_HEAP_FREE] = { "heap_free", RAW_KFREE, 2, false },
	[KMEMLAB_RECORD_HEAP_FAILED] = { "heap_failed", RAW_KMALLOC, 2, false },
	[KMEMLAB_RECORD_TOUCH] = { "touch", RAW_ACCESS, 2, false },
	[KMEMLAB_RECORD_FORK] = { "fork", RAW_FORK, 1, false },
	[KMEMLAB_RECORD_EXEC] = { "exec", RAW_EXEC, 0, true },
	[KMEMLAB_RECORD_EXIT] = { "exit", RAW_EXIT, 0, false },
	[KMEMLAB_RECORD_MARKER] = { "marker", RAW_MARKER, 0, true },
};

static bool problem(GError **error, const char *text)
{
	g_set_error_literal(error, TRACE_ERROR, TRACE_ERROR_FORMAT, text);
	return false;
}

/* ---- a record's bytes ---- */

/* A number in groups of 7 bits. Returns its end, NULL if there is none. */
static const uint8_t *take_number(const uint8_t *p, const uint8_t *end, uint64_t *value)
{
	*value = 0;
	for (unsigned shift = 0; p && p < end && shift < 64; shift += 7) {
		*value |= (uint64_t)(*p & 0x7f) << shift;
		if (!(*p++ & 0x80))
			return p;
	}
	return NULL;
}

/* The bytes of a record at P, its mark included; 0 if it is none, or a damaged one. */
static size_t record_bytes(const uint8_t *p, const uint8_t *end)
{
	uint8_t sum = 0;

	if (end - p < 4 || p[0] != KMEMLAB_RECORD_SYNC || end - p < 3 + p[1])
		return 0;
	for (unsigned i = 1; i < 3u + p[1]; i++)
		sum = (uint8_t)(sum + p[i]);
	return sum == 0 ? 3u + p[1] : 0;
}

/* ---- events ---- */

static uint64_t nanoseconds(const struct recording *recording, uint64_t time)
{
	return recording->hertz
		       ? (uint64_t)((unsigned __int128)time * 1000000000 / recording->hertz)
		       : time;
}

static void build(struct recording *recording, unsigned kind, const uint64_t *number, uint32_t text)
{
	struct raw_event *raw = &recording->raw;

	switch (kind) {
	case KMEMLAB_RECORD_FRAME_ALLOC:
	case KMEMLAB_RECORD_FRAME_FREE:
	case KMEMLAB_RECORD_FRAME_FAILED:
		raw->u.frames.first = kind == KMEMLAB_RECORD_FRAME_FAILED ? RAW_NO_PFN : number[0];
		raw->u.frames.frames =
			(uint32_t)MIN(number[kind != KMEMLAB_RECORD_FRAME_FAILED], UINT32_MAX);
		raw->u.frames.align_frames = 1;
		break;
	case KMEMLAB_RECORD_HEAP_REALLOC:
		raw->u.slab.previous = *number++;
		/* fall through */
	case KMEMLAB_RECORD_HEAP_ALLOC:
		raw->u.slab.pointer = number[0];
		raw->u.slab.bytes_requested = number[1];
		raw->u.slab.site = number[2];
		break;
	case KMEMLAB_RECORD_HEAP_FREE:
		raw->u.slab.pointer = number[0];
		raw->u.slab.site = number[1];
		break;
	case KMEMLAB_RECORD_HEAP_FAILED:
		raw->u.slab.bytes_requested = number[0];
		raw->u.slab.site = number[1];
		break;
	case KMEMLAB_RECORD_TOUCH:
		raw->u.access.address = number[0];
		raw->u.access.bytes = 1;
		raw->u.access.access =
			(uint32_t)number[1] & (RIGHT_READ | RIGHT_WRITE | RIGHT_EXEC);
		break;
	case KMEMLAB_RECORD_MARKER:
		raw->u.marker.text = text;
		break;
	default:
		raw->u.process.child = (uint32_t)MIN(number[0], UINT32_MAX);
		raw->u.process.text = text;
		break;
	}
	/* A site that could be a name of ours says nothing. */
	if (raw->kind >= RAW_KMALLOC && raw->kind <= RAW_RESIZE &&
	    owners_site_is_name(raw->u.slab.site))
		raw->u.slab.site = 0;
}

static bool take_record(struct recording *recording, const uint8_t *p, const uint8_t *end,
			GError **error)
{
	struct raw_event *raw = &recording->raw;
	uint64_t head[3], number[KMEMLAB_RECORD_NUMBERS] = { 0 };
	unsigned kind = *p++;
	uint32_t text = 0;

	if (kind == 0 || kind >= KMEMLAB_RECORD_KINDS)
		return problem(error, "a record of an unknown kind");
	for (unsigned i = 0; i < 3; i++)
		p = take_number(p, end, &head[i]);
	for (unsigned i = 0; i < kinds[kind].numbers; i++)
		p = take_number(p, end, &number[i]);
	if (!p || (p != end && !kinds[kind].text))
		return problem(error, "a record of the wrong length");
	if (kind == KMEMLAB_RECORD_BEGIN) {
		if (number[0] != KMEMLAB_RECORD_VERSION)
			return problem(error, "a record of a later version");
		recording->hertz = number[1];
	}
	if (kinds[kind].text)
		text = owners_string(recording->job->owners, (const char *)p, (size_t)(end - p));
	memset(&raw->u, 0, sizeof raw->u);
	raw->cpu = (uint16_t)MIN(head[0], UINT16_MAX);
	raw->pid = (uint32_t)MIN(head[1], UINT32_MAX);
	raw->time_ns = nanoseconds(recording, head[2]);
	raw->kind = kinds[kind].kind;
	raw->name = recording->names[kind];
	build(recording, kind, number, text);
	return owners_add(recording->job->owners, raw, error);
}

/* Takes the records in [begin, end) and passes over the rest. Returns where a record may be that is
 * not there as a whole, NULL with error. */
static const uint8_t *take_records(struct recording *recording, const uint8_t *begin,
				   const uint8_t *end, bool all, GError **error)
{
	const uint8_t *p = begin;

	while ((p = memchr(p, KMEMLAB_RECORD_SYNC, (size_t)(end - p))) != NULL) {
		GError *wrong = NULL;
		char place[40];
		size_t bytes = record_bytes(p, end);

		if (bytes == 0 && !all && end - p < RECORD_MOST)
			return p;
		snprintf(place, sizeof place, ": byte %" G_GUINT64_FORMAT,
			 recording->at + (uint64_t)(p - begin));
		if (bytes == 0)
			problem(&wrong, "a record is damaged or cut off");
		if ((wrong || !take_record(recording, p + 2, p + bytes - 1, &wrong)) &&
		    !import_malformed(recording->job, place, wrong, error))
			return NULL;
		p += MAX(bytes, 1);
	}
	return end;
}

static bool take_all(struct recording *recording, uint8_t *buffer, GError **error)
{
	size_t kept = 0;

	for (;;) {
		ssize_t got = import_source_read(recording->job->source, buffer + kept,
						 BUFFER_BYTES - kept, error);
		if (got < 0)
			return false;
		const uint8_t *end = buffer + kept + got;
		const uint8_t *rest = take_records(recording, buffer, end, got == 0, error);
		if (!rest || got == 0)
			return rest != NULL;
		recording->at += (uint64_t)(rest - buffer);
		kept = (size_t)(end - rest);
		memmove(buffer, rest, kept);
	}
}

bool recorder_run(struct import_job *job, GError **error)
{
	g_autofree uint8_t *buffer = g_malloc(BUFFER_BYTES);
	struct recording recording = { .job = job };

	for (unsigned i = 1; i < KMEMLAB_RECORD_KINDS; i++)
		recording.names[i] =
			owners_string(job->owners, kinds[i].name, strlen(kinds[i].name));
	if (!take_all(&recording, buffer, error))
		return false;
	return owners_taken(job->owners) > 0 ||
	       trace_error_set(error, TRACE_ERROR_FORMAT, "%s: no record in the whole file",
			       import_source_path(job->source));
}

/* A whole record of a kind that there is. */
bool recorder_detect(const unsigned char *head, size_t bytes, const char *name)
{
	const uint8_t *end = head + bytes;

	for (const uint8_t *p = head;
	     (p = memchr(p, KMEMLAB_RECORD_SYNC, (size_t)(end - p))) != NULL; p++)
		if (record_bytes(p, end) > 0 && p[2] > 0 && p[2] < KMEMLAB_RECORD_KINDS)
			return true;
	return false;
}
