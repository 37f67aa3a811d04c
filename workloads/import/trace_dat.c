#include "workloads/import/trace_dat.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "workloads/import/source.h"
#include "workloads/import/wire.h"
#include "workloads/trace.h"

/* trace.dat, versions 6 and 7 (trace-cmd.dat.v6(5), trace-cmd.dat.v7(5)), through libtracecmd in a
 * process of its own (trace_dat_child.c). */

/* Sections known to trace-cmd.dat.v7(5); anything else is not a section. */
#define SECTION_IDS	   64
#define SECTION_HEAD_BYTES 16
#define FILE_HEAD_BYTES	   256

/* Where the first section begins: behind the magic, "7", byte order, size of long, page size, two
 * strings about the compression, and the offset of the options. 0: not version 7. */
static uint64_t first_section(const unsigned char *head, size_t bytes, bool *big_endian)
{
	static const char magic[] = "\x17\x08\x44tracing7";
	const unsigned char *at = head + sizeof magic + 6, *end = head + bytes;

	if (bytes < sizeof magic + 6 || memcmp(head, magic, sizeof magic) != 0)
		return 0;
	*big_endian = head[sizeof magic] == 1;
	for (int strings = 0; at && strings < 2; strings++) {
		at = memchr(at, '\0', (size_t)(end - at));
		at = at ? at + 1 : NULL;
	}
	return at ? (uint64_t)(at - head) + 8 : 0;
}

/* The library does not miss what is cut off behind the events. Sections lie one behind the other.
 */
static bool is_whole(const struct import_source *source, int file, uint64_t bytes, GError **error)
{
	unsigned char head[FILE_HEAD_BYTES];
	bool big_endian;
	ssize_t got = pread(file, head, sizeof head, 0);
	uint64_t at = first_section(head, (size_t)MAX(got, 0), &big_endian);

	while (at > 0 && at < bytes) {
		uint16_t id;
		uint64_t size;
		got = pread(file, head, SECTION_HEAD_BYTES, (off_t)at);
		memcpy(&id, head, sizeof id);
		memcpy(&size, head + 8, sizeof size);
		id = big_endian ? GUINT16_FROM_BE(id) : GUINT16_FROM_LE(id);
		size = big_endian ? GUINT64_FROM_BE(size) : GUINT64_FROM_LE(size);
		if (got == SECTION_HEAD_BYTES && id >= SECTION_IDS)
			break;
		if (got != SECTION_HEAD_BYTES || size > bytes - at - SECTION_HEAD_BYTES) {
			trace_error_set(error, TRACE_ERROR_FORMAT,
					"%s: byte %" G_GUINT64_FORMAT
					": a section goes on behind the end of the file at byte "
					"%" G_GUINT64_FORMAT,
					import_source_path(source), at, bytes);
			return false;
		}
		at += SECTION_HEAD_BYTES + size;
	}
	return true;
}

bool trace_dat_run(struct import_job *job, GError **error)
{
	struct wire_input input = { .file = import_source_file(job->source, error) };
	struct stat status;

	if (input.file < 0)
		return false;
	if (fstat(input.file, &status) != 0) {
		trace_error_set(error, TRACE_ERROR_IO, "cannot read %s: %s",
				import_source_path(job->source), g_strerror(errno));
		return false;
	}
	input.bytes = (uint64_t)status.st_size;
	return is_whole(job->source, input.file, input.bytes, error) &&
	       wire_run(job, &input, trace_dat_child, error);
}

/* Magic number of trace-cmd.dat(5), then "tracing". */
bool trace_dat_detect(const unsigned char *head, size_t bytes, const char *name)
{
	static const unsigned char magic[] = "\x17\x08\x44tracing";
	return bytes >= sizeof magic - 1 && memcmp(head, magic, sizeof magic - 1) == 0;
}
