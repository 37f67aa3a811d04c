#include "workloads/record/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "workloads/trace.h"

/* 8 bytes a frame; a machine of more RAM gets no kpageflags. */
#define FLAGS_LIMIT (UINT64_C(256) << 20)
#define FRAME_BYTES 4096

struct snapshots {
	char *folder;
	char *proc;
	FILE *text; /* snapshots.txt */
	unsigned taken;
};

/* Linux documents them in proc(5). */
static const char *const files[] = { "buddyinfo", "zoneinfo", "pagetypeinfo", "meminfo", "vmstat" };

static bool fail(GError **error, const char *doing, const char *path)
{
	return trace_error_set(error, TRACE_ERROR_IO, "cannot %s %s: %s", doing, path,
			       g_strerror(errno));
}

struct snapshots *snapshots_new(const char *folder, const char *proc, GError **error)
{
	g_autofree char *path = g_build_filename(folder, "snapshots.txt", NULL);
	g_autofree char *state = g_build_filename(folder, "state", "before", NULL);

	if (g_mkdir_with_parents(state, 0700) != 0) {
		fail(error, "make", state);
		return NULL;
	}
	struct snapshots *snapshots = g_new0(struct snapshots, 1);
	snapshots->folder = g_strdup(folder);
	snapshots->proc = g_strdup(proc ? proc : "/proc");
	snapshots->text = fopen(path, "we");
	if (snapshots->text)
		return snapshots;
	fail(error, "create", path);
	snapshots_free(snapshots);
	return NULL;
}

void snapshots_free(struct snapshots *snapshots)
{
	if (!snapshots)
		return;
	if (snapshots->text)
		fclose(snapshots->text);
	g_free(snapshots->folder);
	g_free(snapshots->proc);
	g_free(snapshots);
}

/* ---- /proc ---- */

static void print_clock(FILE *out, const char *key)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	fprintf(out, " %s=%lld.%06ld", key, (long long)now.tv_sec, now.tv_nsec / 1000);
}

static void mark(struct tracer *tracer, unsigned number, const char *file, const char *what)
{
	g_autofree char *text = g_strdup_printf("SNAP %u %s %s", number, file, what);

	tracer_mark(tracer, text);
}

/* Files that this kernel does not have, or does not show, are left out. */
static void take_file(struct snapshots *snapshots, struct tracer *tracer, const char *file)
{
	g_autofree char *path = g_build_filename(snapshots->proc, file, NULL);
	g_autofree char *text = NULL;
	gsize bytes = 0;

	if (access(path, R_OK) != 0)
		return;
	mark(tracer, snapshots->taken, file, "begin");
	fprintf(snapshots->text, "=== SNAP %u %s", snapshots->taken, file);
	print_clock(snapshots->text, "mono_begin");
	bool read = g_file_get_contents(path, &text, &bytes, NULL);
	print_clock(snapshots->text, "mono_end");
	fputc('\n', snapshots->text);
	if (read)
		fwrite(text, 1, bytes, snapshots->text);
	mark(tracer, snapshots->taken, file, "end");
}

/* ---- kpageflags ---- */

/* The System RAM of iomem, in frames: "00100000-bffd9fff : System RAM". */
static GArray *ram_ranges(const struct snapshots *snapshots)
{
	GArray *ranges = g_array_new(FALSE, FALSE, sizeof(struct trace_frame_range));
	g_autofree char *path = g_build_filename(snapshots->proc, "iomem", NULL);
	FILE *file = fopen(path, "re");
	char line[256];

	while (file && fgets(line, sizeof line, file)) {
		unsigned long long first, last;
		if (*line == ' ' || sscanf(line, "%llx-%llx : System RAM", &first, &last) != 2 ||
		    !strstr(line, "System RAM") || last == 0)
			continue;
		struct trace_frame_range range = { (first + FRAME_BYTES - 1) / FRAME_BYTES, 0 };
		uint64_t end = (last + 1) / FRAME_BYTES;
		range.frames = end > range.first ? end - range.first : 0;
		if (range.frames > 0)
			g_array_append_val(ranges, range);
	}
	if (file)
		fclose(file);
	return ranges;
}

static bool copy_flags(int flags, FILE *out, const struct trace_frame_range *range)
{
	char buffer[65536];

	for (uint64_t at = range->first * 8, end = at + range->frames * 8; at < end;) {
		ssize_t got = pread(flags, buffer, MIN(sizeof buffer, end - at), (off_t)at);
		if (got <= 0 || fwrite(buffer, 1, (size_t)got, out) != (size_t)got)
			return false;
		at += (uint64_t)got;
	}
	return true;
}

static void take_flags(struct snapshots *snapshots)
{
	g_autoptr(GArray) ranges = ram_ranges(snapshots);
	g_autofree char *from = g_build_filename(snapshots->proc, "kpageflags", NULL);
	g_autofree char *to =
		g_strdup_printf("%s/kpageflags.%04u.bin", snapshots->folder, snapshots->taken);
	g_autofree char *list = g_build_filename(snapshots->folder, "kpageflags.ranges", NULL);
	g_autoptr(GString) text = g_string_new(NULL);
	uint64_t bytes = 0;

	for (guint i = 0; i < ranges->len; i++) {
		const struct trace_frame_range *range =
			&g_array_index(ranges, struct trace_frame_range, i);
		g_string_append_printf(text, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT "\n",
				       range->first, range->frames);
		bytes += range->frames * 8;
	}
	int flags = bytes > 0 && bytes <= FLAGS_LIMIT ? open(from, O_RDONLY | O_CLOEXEC) : -1;
	FILE *out = flags >= 0 ? fopen(to, "we") : NULL;
	bool done = out != NULL;
	for (guint i = 0; done && i < ranges->len; i++)
		done = copy_flags(flags, out, &g_array_index(ranges, struct trace_frame_range, i));
	if (out && fclose(out) != 0)
		done = false;
	if (flags >= 0)
		close(flags);
	/* Half a file would be read as a whole one. */
	if (out && !(done && g_file_set_contents(list, text->str, -1, NULL)))
		g_unlink(to);
}

bool snapshots_take(struct snapshots *snapshots, struct tracer *tracer, GError **error)
{
	for (size_t i = 0; i < G_N_ELEMENTS(files); i++)
		take_file(snapshots, tracer, files[i]);
	if (snapshots->taken == 0)
		take_flags(snapshots);
	snapshots->taken++;
	return fflush(snapshots->text) == 0 || fail(error, "write", snapshots->folder);
}

/* ---- the machine ---- */

static gint by_base(gconstpointer left, gconstpointer right)
{
	const struct memory_range *a = left, *b = right;
	return a->base < b->base ? -1 : a->base > b->base;
}

/* /sys/firmware/memmap/N/{start,end,type}, as the firmware gave it. */
static char *firmware_map(void)
{
	static const char root[] = "/sys/firmware/memmap";
	g_autoptr(GArray) map = g_array_new(FALSE, TRUE, sizeof(struct memory_range));
	GDir *folder = g_dir_open(root, 0, NULL);
	const char *name;

	while (folder && (name = g_dir_read_name(folder)) != NULL) {
		g_autofree char *start = NULL, *end = NULL, *type = NULL;
		g_autofree char *start_path = g_build_filename(root, name, "start", NULL);
		g_autofree char *end_path = g_build_filename(root, name, "end", NULL);
		g_autofree char *type_path = g_build_filename(root, name, "type", NULL);
		if (!g_file_get_contents(start_path, &start, NULL, NULL) ||
		    !g_file_get_contents(end_path, &end, NULL, NULL) ||
		    !g_file_get_contents(type_path, &type, NULL, NULL))
			continue;
		struct memory_range range = { .base = g_ascii_strtoull(start, NULL, 16) };
		range.bytes = g_ascii_strtoull(end, NULL, 16) - range.base + 1;
		range.type = g_str_has_prefix(type, "System RAM") ? MEMORY_USABLE : MEMORY_RESERVED;
		g_array_append_val(map, range);
	}
	if (folder)
		g_dir_close(folder);
	g_array_sort(map, by_base);
	return map->len > 0 ? memory_map_format(map) : NULL;
}

static bool write_file(const struct snapshots *snapshots, const char *name, const char *text,
		       GError **error)
{
	g_autofree char *path = g_build_filename(snapshots->folder, name, NULL);

	return g_file_set_contents(path, text, -1, error);
}

bool snapshots_machine(struct snapshots *snapshots, const char *command, GError **error)
{
	g_autofree char *version = g_build_filename(snapshots->proc, "version", NULL);
	g_autofree char *line = g_strdup_printf("record: %s\n", command);
	g_autofree char *text = NULL;
	g_autofree char *map = firmware_map();

	if (g_file_get_contents(version, &text, NULL, NULL) &&
	    !write_file(snapshots, "state/before/version", text, error))
		return false;
	if (map && !write_file(snapshots, "dmesg-memory.txt", map, error))
		return false;
	return write_file(snapshots, "command.txt", line, error);
}
