#include "workloads/import/ground_truth.h"

#include <stdio.h>
#include <string.h>
#include "workloads/import/owners.h"
#include "workloads/import/state_files.h"

/* Linux, include/uapi/linux/kernel-page-flags.h: set for every frame of a free buddy block. */
#define KPF_BUDDY   (UINT64_C(1) << 10)
#define FRAME_BYTES UINT64_C(4096)

/* Free frames around snapshot 0. */
struct balance {
	bool buddy_known, known;
	int64_t buddy; /* on the buddy's lists at buddyinfo, then carried forward */
	int64_t free;  /* at event 0, as MemFree counts: without per-CPU lists */
};

struct ground_truth {
	struct state_files *files;
	GHashTable *snapshots; /* "3 buddyinfo" -> GBytes * */
	GArray *timed;	       /* struct ground_truth_snapshot */
	struct balance balance;
};

/* ---- loading ---- */

static const char *text_of(const struct ground_truth *truth, const char *name, gsize *bytes)
{
	GBytes *file = state_files_get(truth->files, name);
	return file ? g_bytes_get_data(file, bytes) : NULL;
}

static void snapshot_clear(gpointer snapshot)
{
	g_free(((struct ground_truth_snapshot *)snapshot)->name);
}

static gint by_clock(gconstpointer left, gconstpointer right)
{
	const struct ground_truth_snapshot *a = left, *b = right;
	return a->clock_ns < b->clock_ns ? -1 : a->clock_ns > b->clock_ns;
}

/* "... mono_begin=18.505768 mono_end=..." */
static void keep_time(struct ground_truth *truth, const char *key, const char *line)
{
	static const char begin[] = " mono_begin=";
	const char *found = strstr(line, begin);
	guint64 seconds, micros;

	if (!found || sscanf(found + sizeof begin - 1, "%" G_GUINT64_FORMAT ".%6" G_GUINT64_FORMAT,
			     &seconds, &micros) != 2)
		return;
	struct ground_truth_snapshot snapshot = { g_strdup(key),
						  seconds * 1000000000 + micros * 1000 };
	g_array_append_val(truth->timed, snapshot);
}

const struct ground_truth_snapshot *ground_truth_snapshot(const struct ground_truth *truth,
							  guint index)
{
	return index < truth->timed->len
		       ? &g_array_index(truth->timed, struct ground_truth_snapshot, index)
		       : NULL;
}

static void keep_snapshot(struct ground_truth *truth, GBytes *all, const char *key, gsize from,
			  gsize to)
{
	g_hash_table_replace(truth->snapshots, g_strdup(key),
			     g_bytes_new_from_bytes(all, from, to - from));
}

/* Cuts snapshots.txt at its "=== SNAP <n> <file> " lines. */
static void cut_snapshots(struct ground_truth *truth)
{
	GBytes *all = state_files_get(truth->files, "snapshots.txt");
	gsize bytes, from = 0;
	char key[64] = "";

	if (!all)
		return;
	const char *text = g_bytes_get_data(all, &bytes);
	for (gsize at = 0; at < bytes;) {
		const char *newline = memchr(text + at, '\n', bytes - at);
		gsize next = newline ? (gsize)(newline - text) + 1 : bytes;
		g_autofree char *line = g_strndup(text + at, next - at);
		unsigned number;
		char file[32];

		if (sscanf(line, "=== SNAP %u %31s", &number, file) == 2) {
			if (*key)
				keep_snapshot(truth, all, key, from, at);
			snprintf(key, sizeof key, "%u %s", number, file);
			keep_time(truth, key, line);
			from = next;
		}
		at = next;
	}
	if (*key)
		keep_snapshot(truth, all, key, from, bytes);
	g_array_sort(truth->timed, by_clock);
}

struct ground_truth *ground_truth_load(const char *path, GError **error)
{
	struct state_files *files = state_files_load(path, error);
	if (!files)
		return NULL;
	struct ground_truth *truth = g_new0(struct ground_truth, 1);
	truth->files = files;
	truth->snapshots = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
						 (GDestroyNotify)g_bytes_unref);
	truth->timed = g_array_new(FALSE, FALSE, sizeof(struct ground_truth_snapshot));
	g_array_set_clear_func(truth->timed, snapshot_clear);
	cut_snapshots(truth);
	return truth;
}

void ground_truth_free(struct ground_truth *truth)
{
	if (!truth)
		return;
	g_hash_table_unref(truth->snapshots);
	g_array_unref(truth->timed);
	state_files_free(truth->files);
	g_free(truth);
}

static GBytes *snapshot(const struct ground_truth *truth, unsigned number, const char *file)
{
	g_autofree char *key = g_strdup_printf("%u %s", number, file);
	return g_hash_table_lookup(truth->snapshots, key);
}

/* "SNAP <n> <file> begin" and nothing else. */
static bool parse_marker(const char *marker, unsigned *number, char file[32])
{
	int end = 0;
	return sscanf(marker, "SNAP %u %31s begin%n", number, file, &end) == 2 && end > 0 &&
	       marker[end] == '\0';
}

GBytes *ground_truth_announced(const struct ground_truth *truth, const char *marker, char **name)
{
	unsigned number;
	char file[32];

	if (!parse_marker(marker, &number, file))
		return NULL;
	GBytes *bytes = snapshot(truth, number, file);
	if (bytes)
		*name = g_strdup_printf("SNAP %u %s", number, file);
	return bytes;
}

/* ---- counts in /proc files ---- */

/* Sum of the numbers behind KEY at the starts of lines (after blanks), over the whole file. */
static gint64 sum_of(GBytes *file, const char *key)
{
	gsize bytes;
	const char *data = g_bytes_get_data(file, &bytes);
	g_autofree char *text = g_strndup(data, bytes);
	gint64 sum = 0;
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		line += strspn(line, " ");
		if (g_str_has_prefix(line, key))
			sum += g_ascii_strtoll(line + strlen(key), NULL, 10);
	}
	return sum;
}

/* Frames on the buddy's lists: "Node 0, zone   Normal  <order 0> <order 1> ...". */
static gint64 sum_buddyinfo(GBytes *file)
{
	gsize bytes;
	const char *data = g_bytes_get_data(file, &bytes);
	g_autofree char *text = g_strndup(data, bytes);
	gint64 sum = 0;
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *at = strstr(line, "zone");
		at = at ? at + strcspn(at, " ") : NULL;
		at = at ? at + strspn(at, " ") : NULL; /* the zone's name */
		at = at ? at + strcspn(at, " ") : NULL;
		for (unsigned order = 0; at && *at && order < 32; order++) {
			char *end;
			gint64 blocks = g_ascii_strtoll(at, &end, 10);
			if (end == at)
				break;
			sum += blocks << order;
			at = end;
		}
	}
	return sum;
}

static gint64 managed_in(GBytes *zoneinfo)
{
	return sum_of(zoneinfo, "managed");
}

/* ---- the balance ---- */

static gint64 frames_of(uint8_t order)
{
	return (gint64)1 << order;
}

static void at_marker(struct ground_truth *truth, const char *marker, int64_t held_frames)
{
	struct balance *balance = &truth->balance;
	unsigned number;
	char name[32];

	if (!parse_marker(marker, &number, name) || number != 0)
		return;
	GBytes *file = snapshot(truth, number, name);
	if (!file)
		return;
	if (strcmp(name, "buddyinfo") == 0 && !balance->buddy_known) {
		balance->buddy_known = true;
		balance->buddy = sum_buddyinfo(file);
	} else if (strcmp(name, "zoneinfo") == 0) {
		balance->known = true;
		balance->free =
			(balance->buddy_known ? balance->buddy : sum_of(file, "nr_free_pages")) +
			held_frames;
	}
}

void ground_truth_observe(struct ground_truth *truth, const struct event *event, const char *marker,
			  int64_t held_frames)
{
	struct balance *balance = &truth->balance;

	if (balance->known)
		return;
	if (event->kind == EVENT_BUDDY_PUT)
		balance->buddy += frames_of(event->u.buddy.order);
	else if (event->kind == EVENT_BUDDY_TAKE || event->kind == EVENT_BUDDY_ISOLATE)
		balance->buddy -= frames_of(event->u.buddy.order);
	else if (event->kind == EVENT_MARKER)
		at_marker(truth, marker, held_frames);
}

/* A recording without markers, or whose zoneinfo has none: what the files say is taken as it is. */
static GBytes *first_zoneinfo(const struct ground_truth *truth)
{
	GBytes *zoneinfo = snapshot(truth, 0, "zoneinfo");
	return zoneinfo ? zoneinfo : state_files_get(truth->files, "state/before/zoneinfo");
}

static void fill_state(const struct ground_truth *truth, struct trace_meta *meta)
{
	GBytes *zoneinfo = first_zoneinfo(truth);
	if (!zoneinfo)
		return;
	int64_t managed = managed_in(zoneinfo);
	int64_t free =
		truth->balance.known ? truth->balance.free : sum_of(zoneinfo, "nr_free_pages");
	if (managed <= 0)
		return;
	meta->state_known = true;
	meta->managed_frames = (uint64_t)managed;
	meta->free_frames = (uint64_t)CLAMP(free, 0, managed);
}

/* ---- the machine ---- */

static char *stripped(const char *text, gsize bytes)
{
	char *line = g_strndup(text, bytes);
	char *newline = strchr(line, '\n');
	if (newline)
		*newline = '\0';
	g_strstrip(line);
	g_autofree char *raw = line;
	return g_utf8_make_valid(raw, -1);
}

/* "Linux version 6.1.0-56-amd64 (...) ..." */
static char *kernel_release(const char *version, gsize bytes)
{
	static const char prefix[] = "Linux version ";
	g_autofree char *line = stripped(version, bytes);

	if (!g_str_has_prefix(line, prefix))
		return g_steal_pointer(&line);
	const char *release = line + sizeof prefix - 1;
	return g_strndup(release, strcspn(release, " "));
}

/* The first line of command.txt, which says how the recording was made. */
static char *command_line(const char *command, gsize bytes)
{
	static const char prefix[] = "record: ";
	g_autofree char *line = stripped(command, bytes);

	return g_strdup(g_str_has_prefix(line, prefix) ? line + sizeof prefix - 1 : line);
}

static bool fill_machine(const struct ground_truth *truth, struct trace_meta *meta, GError **error)
{
	gsize bytes;
	const char *text = text_of(truth, "state/before/version", &bytes);

	if (text && !meta->system)
		meta->system = kernel_release(text, bytes);
	text = text_of(truth, "command.txt", &bytes);
	if (text && !meta->command)
		meta->command = command_line(text, bytes);
	text = text_of(truth, "dmesg-memory.txt", &bytes);
	if (!text || meta->machine_recorded)
		return true;
	g_autofree char *name =
		g_strdup_printf("%s: dmesg-memory.txt", state_files_path(truth->files));
	GArray *map = memory_map_parse(text, bytes, name, error);
	if (!map)
		return false;
	g_array_unref(meta->memory_map);
	meta->memory_map = map;
	meta->machine_recorded = true;
	return true;
}

/* ---- untouched frames ---- */

static gint by_base(gconstpointer left, gconstpointer right)
{
	const struct trace_frame_range *a = left, *b = right;
	return a->first < b->first ? -1 : a->first > b->first;
}

/* Whole usable frames in order; what overlaps a range of another type is not usable. */
static bool frame_is_usable(const GArray *map, uint64_t frame)
{
	uint64_t first = frame * FRAME_BYTES, last = first + FRAME_BYTES - 1;
	bool usable = false;

	for (guint i = 0; i < map->len; i++) {
		const struct memory_range *range = &g_array_index(map, struct memory_range, i);
		if (range->bytes == 0 || last < range->base ||
		    first > range->base + (range->bytes - 1))
			continue;
		if (range->type != MEMORY_USABLE)
			return false;
		usable |= first >= range->base && last <= range->base + (range->bytes - 1);
	}
	return usable;
}

/* The usable ranges in whole frames, sorted; they may overlap. */
static GArray *usable_ranges(const GArray *map)
{
	GArray *ranges = g_array_new(FALSE, FALSE, sizeof(struct trace_frame_range));

	for (guint i = 0; i < map->len; i++) {
		const struct memory_range *range = &g_array_index(map, struct memory_range, i);
		uint64_t first = (range->base + FRAME_BYTES - 1) / FRAME_BYTES;
		uint64_t end = (range->base + range->bytes) / FRAME_BYTES;
		struct trace_frame_range frames = { first, end > first ? end - first : 0 };
		if (range->type == MEMORY_USABLE && frames.frames > 0 && end <= FRAME_NUMBERS)
			g_array_append_val(ranges, frames);
	}
	g_array_sort(ranges, by_base);
	return ranges;
}

/* Flags of frames, as /proc/kpageflags gave them for some ranges. */
struct page_flags {
	GArray *ranges; /* struct trace_frame_range, in the file's order */
	const uint64_t *flags;
	gsize count;
};

static bool load_flags(const struct ground_truth *truth, struct page_flags *out)
{
	gsize bytes, text_bytes;
	const char *flags = text_of(truth, "kpageflags.0000.bin", &bytes);
	const char *text = text_of(truth, "kpageflags.ranges", &text_bytes);

	if (!flags || !text)
		return false;
	out->flags = (const uint64_t *)(const void *)flags;
	out->count = bytes / sizeof(uint64_t);
	out->ranges = g_array_new(FALSE, FALSE, sizeof(struct trace_frame_range));
	g_autofree char *copy = g_strndup(text, text_bytes);
	char *rest = NULL;
	for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		struct trace_frame_range range;
		if (sscanf(line, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, &range.first,
			   &range.frames) == 2)
			g_array_append_val(out->ranges, range);
	}
	return true;
}

static bool was_buddy(const struct page_flags *flags, uint64_t frame)
{
	uint64_t before = 0;

	for (guint i = 0; i < flags->ranges->len; i++) {
		const struct trace_frame_range *range =
			&g_array_index(flags->ranges, struct trace_frame_range, i);
		if (frame >= range->first && frame - range->first < range->frames) {
			uint64_t at = before + (frame - range->first);
			return at < flags->count && (GUINT64_FROM_LE(flags->flags[at]) & KPF_BUDDY);
		}
		before += range->frames;
	}
	return false;
}

static bool was_held(const struct page_flags *flags, const struct owners *owners, uint64_t frame)
{
	const struct frame_info *info = owners_frame(owners, frame);
	return (!info || info->origin == FRAME_ORIGIN_NONE) && !was_buddy(flags, frame);
}

static void add_frame(GArray *ranges, uint64_t frame)
{
	struct trace_frame_range *last =
		ranges->len ? &g_array_index(ranges, struct trace_frame_range, ranges->len - 1)
			    : NULL;
	if (last && last->first + last->frames == frame) {
		last->frames++;
		return;
	}
	struct trace_frame_range range = { frame, 1 };
	g_array_append_val(ranges, range);
}

static void fill_untouched(const struct ground_truth *truth, const struct owners *owners,
			   struct trace_meta *meta)
{
	struct page_flags flags;
	uint64_t done = 0;

	if (!load_flags(truth, &flags))
		return;
	if (memory_map_usable_frames(meta->memory_map) > 2 * (uint64_t)flags.count) {
		/* Flags of another machine, or a map that is not true: they say nothing. */
		g_array_unref(flags.ranges);
		return;
	}
	g_autoptr(GArray) usable = usable_ranges(meta->memory_map);
	for (guint i = 0; i < usable->len; i++) {
		const struct trace_frame_range *range =
			&g_array_index(usable, struct trace_frame_range, i);
		uint64_t end = range->first + range->frames;
		for (uint64_t frame = MAX(done, range->first); frame < end; frame++)
			if (was_held(&flags, owners, frame) &&
			    frame_is_usable(meta->memory_map, frame))
				add_frame(meta->untouched, frame);
		done = MAX(done, end);
	}
	meta->untouched_known = true;
	g_array_unref(flags.ranges);
}

bool ground_truth_fill(struct ground_truth *truth, const struct owners *owners,
		       struct trace_meta *meta, GError **error)
{
	if (!fill_machine(truth, meta, error))
		return false;
	fill_state(truth, meta);
	if (meta->machine_recorded)
		fill_untouched(truth, owners, meta);
	return true;
}
