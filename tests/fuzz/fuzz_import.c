/*
 * fuzz_import.c - bytes to an importer (libFuzzer, or fuzz_driver.c). FUZZ_FORMAT names it, "auto"
 * lets the content choose. The first byte says whether the import is lenient. Whatever comes in, an
 * import ends with a trace that validates, or with an error that says something, and leaves nothing
 * behind.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "workloads/import/import.h"
#include "workloads/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *output_path(void)
{
	static char *path;

	/* Where syncing costs nothing. */
	if (!path)
		path = g_strdup_printf("%s/kmemlab-fuzz-%ld.kmt",
				       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : g_get_tmp_dir(),
				       (long)getpid());
	return path;
}

static void be_silent(const char *domain, GLogLevelFlags level, const char *text, gpointer data)
{
}

static void check_trace(const char *path)
{
	GError *error = NULL;
	struct trace_reader *reader = trace_reader_open(path, &error);

	if (!reader || !trace_validate(reader, &error))
		g_error("an import made a bad trace: %s", error->message);
	trace_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char format[] = FUZZ_FORMAT;
	struct import_options options = { .format = format, .state = NULL };
	GError *error = NULL;
	char input[40];

	if (size == 0)
		return 0;
	g_log_set_default_handler(be_silent, NULL);
	int file = memfd_create("fuzz", MFD_CLOEXEC);
	g_assert(file >= 0 && write(file, data + 1, size - 1) == (ssize_t)size - 1);
	snprintf(input, sizeof input, "/proc/self/fd/%d", file);
	options.lenient = data[0] & 1;
	if (import_file(input, output_path(), &options, &error)) {
		check_trace(output_path());
		unlink(output_path());
	} else {
		g_assert(error && strlen(error->message) > 20);
		g_assert(access(output_path(), F_OK) != 0);
		g_error_free(error);
	}
	close(file);
	return 0;
}
