#include "workloads/import/trace_dat.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "workloads/import/source.h"
#include "workloads/import/wire.h"
#include "workloads/trace.h"

/* trace.dat, versions 6 and 7, in a process of its own (trace_dat_child.c), because libtraceevent
 * reads the formats of events and trusts them. */

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
	return wire_run(job, &input, trace_dat_child, error);
}

/* Magic number of trace-cmd.dat(5), then "tracing". */
bool trace_dat_detect(const unsigned char *head, size_t bytes, const char *name)
{
	static const unsigned char magic[] = "\x17\x08\x44tracing";
	return bytes >= sizeof magic - 1 && memcmp(head, magic, sizeof magic - 1) == 0;
}
