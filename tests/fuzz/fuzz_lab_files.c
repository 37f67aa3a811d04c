/*
 * fuzz_lab_files.c - bytes to the parsers of the files that the lab itself reads (libFuzzer, or
 * fuzz_driver.c): the first byte says which. Each takes them, or says in a sentence why not.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sim/experiment.h"
#include "sim/machine.h"
#include "sim/machine_file.h"
#include "sim/size.h"
#include "sim/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The paths that a specification names are looked for beside it: nothing is there. */
static const char *spec_path(void)
{
	static char *path;

	if (!path) {
		const char *place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : g_get_tmp_dir();
		path = g_strdup_printf("%s/kmemlab-fuzz-%ld.ini", place, (long)getpid());
	}
	return path;
}

static void assert_said(bool fine, GError **error)
{
	g_assert(fine == (*error == NULL));
	g_assert(fine || strlen((*error)->message) > 10);
	g_clear_error(error);
}

static void fuzz_machine(const char *text)
{
	GError *error = NULL;
	struct machine_config *config = machine_file_parse("/nowhere/board.ini", text, &error);

	assert_said(config != NULL, &error);
	machine_config_free(config);
}

static void fuzz_experiment(const char *text, size_t bytes)
{
	GError *error = NULL;

	FILE *file = fopen(spec_path(), "wb");
	g_assert(file && fwrite(text, 1, bytes, file) == bytes);
	fclose(file);
	struct experiment *experiment = experiment_load(spec_path(), &error);
	assert_said(experiment != NULL, &error);
	if (experiment)
		experiment_free(experiment);
	unlink(spec_path());
}

static void fuzz_snapshot(const char *name, const char *text, size_t bytes)
{
	static struct snapshot snapshot;
	const struct snapshot nothing = { 0 };
	unsigned line = 0;

	snapshot = nothing;
	if (!snapshot_parse(&snapshot, name, text, bytes, &line))
		g_assert(memcmp(&snapshot, &nothing, sizeof(nothing)) == 0);
}

static void fuzz_size(const char *text)
{
	uint64_t bytes = 0, again = 0;

	if (!size_parse(text, &bytes))
		return;
	g_autofree char *said = size_format(bytes);
	g_assert(size_parse(said, &again) && again == bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	g_autofree char *text = g_strndup((const char *)data + 1, size - 1);

	switch (data[0] % 6) {
	case 0:
		fuzz_machine(text);
		break;
	case 1:
		fuzz_experiment(text, strlen(text));
		break;
	case 2:
		fuzz_snapshot("buddyinfo", (const char *)data + 1, size - 1);
		break;
	case 3:
		fuzz_snapshot("zoneinfo", (const char *)data + 1, size - 1);
		break;
	case 4:
		fuzz_snapshot("meminfo", (const char *)data + 1, size - 1);
		break;
	default:
		fuzz_size(text);
		break;
	}
	return 0;
}
