#include "workloads/import/ctf.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "workloads/import/source.h"
#include "workloads/trace.h"

/*
 * The Common Trace Format 1.8 (diamon.org/ctf): a folder with a file `metadata` that describes the
 * streams beside it. LTTng writes it, and `perf data convert --to-ctf`.
 */

/* Metadata in packets begins with it, in either byte order (CTF 1.8, 7.1). */
#define METADATA_MAGIC UINT32_C(0x75d11d57)

static bool is_metadata(const char *path)
{
	static const char text[] = "/* CTF 1.";
	char head[sizeof text - 1];
	uint32_t magic;
	FILE *file = fopen(path, "re");
	size_t got = file ? fread(head, 1, sizeof head, file) : 0;

	if (file)
		fclose(file);
	if (got < sizeof head)
		return false;
	memcpy(&magic, head, sizeof magic);
	return memcmp(head, text, sizeof head) == 0 || magic == METADATA_MAGIC ||
	       magic == GUINT32_SWAP_LE_BE(METADATA_MAGIC);
}

bool ctf_detect(const unsigned char *head, size_t bytes, const char *name)
{
	g_autofree char *metadata = g_build_filename(name, "metadata", NULL);

	return is_metadata(metadata);
}

#ifdef HAVE_BABELTRACE2
bool ctf_run(struct import_job *job, GError **error)
{
	struct wire_input input = { .file = -1, .path = import_source_path(job->source) };
	GDir *folder = g_dir_open(input.path, 0, NULL);
	const char *name;

	while (folder && (name = g_dir_read_name(folder)) != NULL) {
		g_autofree char *path = g_build_filename(input.path, name, NULL);
		struct stat status;
		if (stat(path, &status) == 0)
			input.bytes += (uint64_t)status.st_size;
	}
	if (!folder) {
		trace_error_set(error, TRACE_ERROR_FORMAT, "%s: CTF is a folder, not a file",
				input.path);
		return false;
	}
	g_dir_close(folder);
	return wire_run(job, &input, ctf_child, error);
}
#else
bool ctf_run(struct import_job *job, GError **error)
{
	trace_error_set(error, TRACE_ERROR_USAGE,
			"%s: this kmemlab was built without libbabeltrace2, which reads CTF",
			import_source_path(job->source));
	return false;
}
#endif
