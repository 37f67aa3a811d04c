#include "sim/explore_scenario.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "alloc/frame/frame.h"
#include "sim/lab.h"
#include "sim/random.h"
#include "workloads/memory_map.h"

/* ---- what is played ---- */

/* What boot does not take of these: about three words of a bitmap with a hole in between, and some
 * more than four huge pages. */
static const char small_map[] = "[mem 0x0-0x7ffff] usable; [mem 0x90000-0xcffff] usable";
static const char wide_map[] = "[mem 0x100000-0xafffff] usable";

struct outline {
	const char *map;
	unsigned caps; /* that it needs */
	unsigned cpus;
	uint64_t leave;
	const char *ops; /* "cpu op handle frames": s is setup */
};

#define FREE (FRAME_CAP_FREE)
#define RUNS (FRAME_CAP_FREE | FRAME_CAP_RUNS)
#define ALL  EXPLORE_LEAVE_ALL

/* Small states in which CPUs meet: one frame for two, none left, the last bit of a word,
 * neighbours, a block under another's feet, and what comes back in the meantime. */
static const struct outline outlines[] = {
	{ small_map, 0, 2, ALL, "0 a 1 1; 1 a 2 1" },
	{ small_map, 0, 2, 1, "0 a 1 1; 1 a 2 1" },
	{ small_map, 0, 2, 3, "0 a 1 1; 1 a 2 1" },
	{ small_map, FREE, 2, ALL, "s a 1 1; s a 2 1; 0 f 1; 1 f 2" },
	{ small_map, FREE, 2, 1, "0 a 1 1; 0 f 1; 1 a 2 1; 1 f 2" },
	{ small_map, FREE, 2, 0, "s a 1 1; 0 f 1; 1 a 2 1" },
	{ small_map, FREE, 2, 1, "s a 1 1; 0 a 2 1; 1 f 1; 1 a 3 1" },
	{ small_map, FREE, 2, 3, "0 a 1 1; 0 a 2 1; 1 a 3 1; 1 a 4 1; 1 f 3" },
	{ small_map, FREE, 2, ALL, "s a 1 1; s a 2 1; 0 f 1; 0 a 3 1; 1 f 2; 1 a 4 1" },
	{ small_map, FREE, 2, 2, "0 a 1 1; 0 f 1; 0 a 2 1; 1 a 3 1; 1 a 4 1" },
	{ small_map, RUNS, 2, ALL, "0 a 1 2; 1 a 2 2; 1 f 2" },
	{ small_map, RUNS, 2, ALL, "s a 1 1; 0 a 2 4; 0 f 2; 1 f 1; 1 a 3 1" },
	{ small_map, RUNS, 2, ALL, "0 a 1 64; 1 a 2 64; 1 f 2" },
	{ wide_map, RUNS, 2, ALL, "0 a 1 128; 1 a 2 1; 1 f 2" },
	{ wide_map, RUNS, 2, ALL, "0 a 1 512; 1 a 2 1; 1 f 2" },
	{ wide_map, RUNS, 2, ALL, "s a 1 512; 0 f 1; 1 a 2 512; 1 a 3 1" },
	{ wide_map, RUNS, 2, ALL, "0 a 1 1024; 1 a 2 512; 1 f 2" },
	{ small_map, FREE, 3, 1, "s a 1 1; 0 a 2 1; 1 a 3 1; 2 f 1" },
	{ small_map, FREE, 3, 2, "0 a 1 1; 0 f 1; 1 a 2 1; 2 a 3 1" },
};

static void add_op(struct explore_scenario *scenario, unsigned cpu, bool is_free, unsigned handle,
		   unsigned frames)
{
	struct explore_op op = { .cpu = (uint8_t)cpu,
				 .is_free = is_free,
				 .handle = (uint16_t)handle,
				 .frames = is_free ? 0 : frames };

	g_array_append_val(scenario->ops, op);
}

static struct explore_scenario *scenario_empty(const char *map, unsigned cpus, uint64_t leave)
{
	struct explore_scenario *scenario = g_new0(struct explore_scenario, 1);

	scenario->map = g_strdup(map);
	scenario->cpus = cpus;
	scenario->leave = leave;
	scenario->ops = g_array_new(FALSE, TRUE, sizeof(struct explore_op));
	return scenario;
}

struct explore_scenario *explore_scenario_new(const char *map, unsigned cpus, uint64_t leave,
					      const char *ops)
{
	struct explore_scenario *scenario = scenario_empty(map, cpus, leave);
	char **words = g_strsplit(ops, ";", -1);

	for (char **word = words; *word; word++) {
		char who = 0, what = 0;
		unsigned handle = 0, frames = 0;
		if (sscanf(*word, " %c %c %u %u", &who, &what, &handle, &frames) >= 3)
			add_op(scenario, who == 's' ? EXPLORE_SETUP : (unsigned)(who - '0'),
			       what == 'f', handle, frames);
	}
	g_strfreev(words);
	return scenario;
}

struct explore_scenario *explore_scenario_copy(const struct explore_scenario *from)
{
	struct explore_scenario *copy = scenario_empty(from->map, from->cpus, from->leave);

	g_array_append_vals(copy->ops, from->ops->data, from->ops->len);
	return copy;
}

void explore_scenario_free(struct explore_scenario *scenario)
{
	if (!scenario)
		return;
	g_array_unref(scenario->ops);
	g_free(scenario->map);
	g_free(scenario);
}

/* Up to three operations for each of two CPUs, on a state with little left. */
static struct explore_scenario *random_scenario(unsigned caps, uint64_t seed)
{
	struct random random = random_seeded(seed);
	uint64_t leave = random_below(&random, 3);
	struct explore_scenario *scenario = scenario_empty(small_map, 2, leave);
	unsigned handle = 1;

	for (; handle <= 2; handle++)
		add_op(scenario, EXPLORE_SETUP, false, handle, 1);
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		unsigned last = cpu + 1; /* what it may free: what setup left it, then its own */
		for (unsigned i = 0; i < 3; i++) {
			bool give = last && random_below(&random, 2);
			bool run = (caps & FRAME_CAP_RUNS) && random_below(&random, 4) == 0;
			if (give && (caps & FRAME_CAP_FREE)) {
				add_op(scenario, cpu, true, last, 0);
				last = 0;
			} else {
				add_op(scenario, cpu, false, handle, run ? 2 : 1);
				last = handle++;
			}
		}
	}
	return scenario;
}

struct explore_scenario *explore_scenario_get(unsigned caps, uint64_t seed, unsigned index)
{
	for (gsize i = 0; i < G_N_ELEMENTS(outlines); i++) {
		const struct outline *outline = &outlines[i];
		if ((caps & outline->caps) != outline->caps)
			continue;
		if (index-- == 0)
			return explore_scenario_new(outline->map, outline->cpus, outline->leave,
						    outline->ops);
	}
	return index < EXPLORE_RANDOM ? random_scenario(caps, random_mix(seed + 1) ^ index) : NULL;
}

void explore_scenario_make_valid(GArray *ops)
{
	unsigned owner[EXPLORE_HANDLES_MAX] = { 0 }; /* CPU + 1; 0: nobody's */
	bool seen[EXPLORE_HANDLES_MAX] = { false };
	guint kept = 0;

	/* Setup comes first, whatever the order of the list. */
	for (unsigned round = 0; round < 2; round++)
		for (guint i = 0; i < ops->len; i++) {
			struct explore_op *op = &g_array_index(ops, struct explore_op, i);
			bool setup = op->cpu == EXPLORE_SETUP;
			if (setup != (round == 0))
				continue;
			bool mine = owner[op->handle] == op->cpu + 1u ||
				    owner[op->handle] == EXPLORE_SETUP + 1u;
			bool fine = op->is_free ? mine : !seen[op->handle];
			owner[op->handle] = op->is_free || !fine ? owner[op->handle] : op->cpu + 1u;
			if (op->is_free && fine)
				owner[op->handle] = 0;
			seen[op->handle] |= !op->is_free;
			op->handle = fine ? op->handle : 0;
		}
	for (guint i = 0; i < ops->len; i++)
		if (g_array_index(ops, struct explore_op, i).handle)
			g_array_index(ops, struct explore_op, kept++) =
				g_array_index(ops, struct explore_op, i);
	g_array_set_size(ops, kept);
}

/* ---- words ---- */

char *explore_op_text(const struct explore_op *op)
{
	return op->is_free ? g_strdup_printf("free %u", op->handle)
			   : g_strdup_printf("alloc %u %u", op->handle, op->frames);
}

/* The operations of one CPU, or of setup, with semicolons between. */
static char *ops_text(const struct explore_scenario *scenario, unsigned cpu)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < scenario->ops->len; i++) {
		const struct explore_op *op = &g_array_index(scenario->ops, struct explore_op, i);
		if (op->cpu != cpu)
			continue;
		char *one = explore_op_text(op);
		g_string_append_printf(text, "%s%s", text->len ? "; " : "", one);
		g_free(one);
	}
	return g_string_free(text, FALSE);
}

char *explore_scenario_text(const struct explore_scenario *scenario)
{
	GString *text = g_string_new(NULL);
	char *one = ops_text(scenario, EXPLORE_SETUP);

	if (*one)
		g_string_append_printf(text, "setup: %s | ", one);
	g_free(one);
	if (scenario->leave != EXPLORE_LEAVE_ALL)
		g_string_append_printf(text, "%" PRIu64 " frames left | ", scenario->leave);
	for (unsigned cpu = 0; cpu < scenario->cpus; cpu++) {
		one = ops_text(scenario, cpu);
		g_string_append_printf(text, "%scpu %u: %s", cpu ? " | " : "", cpu, one);
		g_free(one);
	}
	return g_string_free(text, FALSE);
}

/* ---- files ---- */

#define GROUP	"schedule"
#define VERSION 1

bool explore_file_is(const char *path)
{
	FILE *file = fopen(path, "r");
	char line[64] = "";
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file) && (line[0] == '#' || line[0] == '\n'))
		;
	found = g_str_has_prefix(line, "[" GROUP "]");
	fclose(file);
	return found;
}

static char *order_text(const struct explore_order *order)
{
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; i < order->count; i++) {
		const struct explore_segment *segment = &order->segment[i];
		g_string_append_printf(text, "%s%" PRIu64 " ", i ? "; " : "", segment->cpu);
		if (segment->accesses == EXPLORE_ALL)
			g_string_append_c(text, '*');
		else
			g_string_append_printf(text, "%" PRIu64, segment->accesses);
	}
	return g_string_free(text, FALSE);
}

static void set_text(GKeyFile *keys, const char *key, char *text)
{
	if (text && *text)
		g_key_file_set_string(keys, GROUP, key, text);
	g_free(text);
}

bool explore_file_save(const char *path, const char *frames, char **settings,
		       const struct explore_scenario *scenario, const struct explore_order *order,
		       GError **error)
{
	GKeyFile *keys = g_key_file_new();
	char key[8];

	g_key_file_set_integer(keys, GROUP, "version", VERSION);
	g_key_file_set_string(keys, GROUP, "frames", frames);
	if (settings)
		set_text(keys, "settings", g_strjoinv("; ", settings));
	g_key_file_set_string(keys, GROUP, "map", scenario->map);
	g_key_file_set_integer(keys, GROUP, "cpus", (gint)scenario->cpus);
	if (scenario->leave != EXPLORE_LEAVE_ALL)
		g_key_file_set_uint64(keys, GROUP, "leave", scenario->leave);
	set_text(keys, "setup", ops_text(scenario, EXPLORE_SETUP));
	for (unsigned cpu = 0; cpu < scenario->cpus; cpu++) {
		g_snprintf(key, sizeof(key), "cpu%u", cpu);
		set_text(keys, key, ops_text(scenario, cpu));
	}
	set_text(keys, "order", order_text(order));
	bool fine = g_key_file_save_to_file(keys, path, error);
	g_key_file_unref(keys);
	return fine;
}

struct reading {
	const char *path;
	GKeyFile *keys;
	GError **error;
};

static bool refuse(const struct reading *reading, const char *key, const char *what)
{
	g_set_error(reading->error, LAB_ERROR, LAB_ERROR_INPUT, "schedule error: %s: %s: %s",
		    reading->path, key, what);
	return false;
}

/* Items between semicolons; none where the key is absent. */
static char **items(const struct reading *reading, const char *key)
{
	char *text = g_key_file_get_string(reading->keys, GROUP, key, NULL);
	char **list = g_strsplit(text ? text : "", ";", -1);
	guint kept = 0;

	for (guint i = 0; list[i]; i++) {
		g_strstrip(list[i]);
		if (*list[i])
			list[kept++] = list[i];
		else
			g_free(list[i]);
	}
	list[kept] = NULL;
	g_free(text);
	return list;
}

static bool read_op(const struct reading *reading, const char *key, const char *text, unsigned cpu,
		    struct explore_scenario *scenario)
{
	unsigned handle, frames;
	int end = 0;

	if (sscanf(text, "alloc %u %u%n", &handle, &frames, &end) == 2 && !text[end]) {
		if (frames < 1 || frames > EXPLORE_FRAMES_MAX)
			return refuse(reading, key, "an allocation of no frames, or too many");
	} else if (sscanf(text, "free %u%n", &handle, &end) == 1 && !text[end]) {
		frames = 0;
	} else {
		return refuse(reading, key, "neither \"alloc HANDLE FRAMES\" nor \"free HANDLE\"");
	}
	if (handle < 1 || handle >= EXPLORE_HANDLES_MAX)
		return refuse(reading, key, "a handle is 1 to 31");
	add_op(scenario, cpu, frames == 0, handle, frames);
	return true;
}

static bool read_ops(const struct reading *reading, const char *key, unsigned cpu,
		     struct explore_scenario *scenario)
{
	char **list = items(reading, key);
	bool fine = true;

	for (char **one = list; fine && *one; one++)
		fine = read_op(reading, key, *one, cpu, scenario);
	g_strfreev(list);
	return fine;
}

static bool read_order(const struct reading *reading, unsigned cpus, struct explore_order *order)
{
	char **list = items(reading, "order");
	bool fine = true;

	*order = (struct explore_order){ 0 };
	for (char **one = list; fine && *one; one++) {
		struct explore_segment segment = { 0, EXPLORE_ALL };
		char accesses[32];
		int end = 0;
		fine = order->count < EXPLORE_SEGMENTS_MAX &&
		       sscanf(*one, "%" SCNu64 " %31s%n", &segment.cpu, accesses, &end) == 2 &&
		       !(*one)[end] && segment.cpu < cpus &&
		       (strcmp(accesses, "*") == 0 ||
			g_ascii_string_to_unsigned(accesses, 10, 0, UINT32_MAX, &segment.accesses,
						   NULL));
		if (fine)
			order->segment[order->count++] = segment;
		else
			refuse(reading, "order", "pairs of a CPU and a number of accesses, or *");
	}
	g_strfreev(list);
	return fine;
}

static bool map_is_fine(const struct reading *reading, char *map)
{
	g_strdelimit(map, ";", '\n');
	GArray *ranges = memory_map_parse(map, strlen(map), reading->path, reading->error);
	g_strdelimit(map, "\n", ';');
	if (ranges)
		g_array_unref(ranges);
	return ranges != NULL;
}

static struct explore_scenario *read_scenario(const struct reading *reading,
					      struct explore_order *order)
{
	g_autofree char *map = g_key_file_get_string(reading->keys, GROUP, "map", NULL);
	gint cpus = g_key_file_get_integer(reading->keys, GROUP, "cpus", NULL);
	uint64_t leave = EXPLORE_LEAVE_ALL;
	char key[8];

	if (g_key_file_get_integer(reading->keys, GROUP, "version", NULL) != VERSION) {
		refuse(reading, "version", "1 is what can be read");
		return NULL;
	}
	if (cpus < 1 || cpus > EXPLORE_CPUS_MAX) {
		refuse(reading, "cpus", "1 to 4");
		return NULL;
	}
	if (!map || !map_is_fine(reading, map)) {
		if (!map)
			refuse(reading, "map", "is missing");
		return NULL;
	}
	if (g_key_file_has_key(reading->keys, GROUP, "leave", NULL))
		leave = g_key_file_get_uint64(reading->keys, GROUP, "leave", NULL);
	struct explore_scenario *scenario = scenario_empty(map, (unsigned)cpus, leave);
	bool fine = read_ops(reading, "setup", EXPLORE_SETUP, scenario);
	for (unsigned cpu = 0; fine && cpu < scenario->cpus; cpu++) {
		g_snprintf(key, sizeof(key), "cpu%u", cpu);
		fine = read_ops(reading, key, cpu, scenario);
	}
	if (fine && read_order(reading, scenario->cpus, order)) {
		explore_scenario_make_valid(scenario->ops);
		return scenario;
	}
	explore_scenario_free(scenario);
	return NULL;
}

struct explore_scenario *explore_file_load(const char *path, char ***settings,
					   struct explore_order *order, GError **error)
{
	struct reading reading = { path, g_key_file_new(), error };
	struct explore_scenario *scenario = NULL;
	GError *problem = NULL;

	if (!g_key_file_load_from_file(reading.keys, path, G_KEY_FILE_NONE, &problem)) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_INPUT, "schedule error: %s: %s", path,
			    problem->message);
		g_error_free(problem);
	} else {
		scenario = read_scenario(&reading, order);
	}
	if (scenario)
		*settings = items(&reading, "settings");
	g_key_file_unref(reading.keys);
	return scenario;
}
