#include "workloads/import/tracefs_raw.h"

#include <sys/stat.h>
#include "workloads/import/source.h"
#include "workloads/trace.h"

bool tracefs_raw_detect(const unsigned char *head, size_t bytes, const char *name)
{
	g_autofree char *page = g_build_filename(name, TRACEFS_RAW_HEADER, NULL);
	g_autofree char *cpu = g_build_filename(name, "cpu0", NULL);

	return g_file_test(page, G_FILE_TEST_IS_REGULAR) && g_file_test(cpu, G_FILE_TEST_EXISTS);
}

bool tracefs_raw_run(struct import_job *job, GError **error)
{
	struct wire_input input = { .file = -1, .path = import_source_path(job->source) };
	struct stat status;

	for (unsigned cpu = 0;; cpu++) {
		g_autofree char *path = g_strdup_printf("%s/cpu%u", input.path, cpu);
		if (stat(path, &status) != 0)
			break;
		input.bytes += (uint64_t)status.st_size;
	}
	return wire_run(job, &input, tracefs_raw_child, error);
}
