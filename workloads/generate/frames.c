/*
 * Page-frame workloads: churn at a level, a ramp with probes for large blocks, and a checkerboard.
 *
 *      churn              ramp                       checkerboard
 *   held ,---~~~~~~      held        ,-|-|          held  /\  probe
 *       /                        ,-|-'              |   /  \,-|-|-
 *      /                     ,-|-'    | = probes        |  /
 *     +-----------> t       +-----------> t             +-----------> t
 */
#include "workloads/generate/emit.h"
#include "workloads/generate/families.h"

/* What is held: handle and order of every block. */
struct held {
	uint64_t handle;
	uint8_t order;
};

struct frames {
	struct generation *generation;
	GArray *held;	 /* struct held */
	uint64_t frames; /* in them */
};

static void frames_init(struct frames *frames, struct generation *generation)
{
	*frames = (struct frames){ .generation = generation };
	frames->held = g_array_new(FALSE, FALSE, sizeof(struct held));
}

static void frames_fini(struct frames *frames)
{
	g_array_unref(frames->held);
}

static void take(struct frames *frames, unsigned order, uint64_t movable_percent)
{
	struct generation *generation = frames->generation;
	bool movable = draw_chance(&generation->random, movable_percent, 100);
	struct held held = { .order = (uint8_t)order };

	held.handle =
		emit_frames(generation, order, movable ? MOBILITY_MOVABLE : MOBILITY_UNMOVABLE);
	g_array_append_val(frames->held, held);
	frames->frames += UINT64_C(1) << order;
}

/* The last one takes the place of the one given back. */
static void give(struct frames *frames, guint i)
{
	struct held held = g_array_index(frames->held, struct held, i);

	emit_frames_free(frames->generation, held.handle);
	frames->frames -= UINT64_C(1) << held.order;
	g_array_remove_index_fast(frames->held, i);
}

static void give_any(struct frames *frames)
{
	give(frames, (guint)random_below(&frames->generation->random, frames->held->len));
}

static void give_all(struct frames *frames)
{
	while (frames->held->len > 0 && generation_more(frames->generation))
		give(frames, frames->held->len - 1);
}

static uint64_t percent_of_ram(const struct generation *generation, uint64_t percent)
{
	return generation->usable_frames * percent / 100;
}

/* Orders fall off geometrically: each is `fall` hundredths as likely as the one before. */
static unsigned draw_order(struct random *random, uint64_t most, uint64_t fall)
{
	unsigned order = 0;

	while (order < most && draw_chance(random, fall, 100))
		order++;
	return order;
}

/* How many requests of the order succeed now, of so many held together? Then all are given back. */
static void probe(struct frames *frames, unsigned order, uint64_t times)
{
	guint before = frames->held->len;

	for (uint64_t i = 0; i < times && generation_more(frames->generation); i++)
		take(frames, order, 100);
	while (frames->held->len > before && generation_more(frames->generation))
		give(frames, frames->held->len - 1);
}

/* ---- frame-churn ---- */

enum {
	CHURN_EVENTS = GENERATE_OWN,
	CHURN_LIVE,
	CHURN_ORDER,
	CHURN_FALL,
	CHURN_MOVABLE,
	CHURN_CPUS
};

static const struct generate_parameter churn_parameters[] = {
	GENERATE_COMMON(UINT64_C(64) << 20),
	{ "events", 200000, 1, 1000000000, 0, "", "allocations and frees in all" },
	{ "live", 60, 1, 100, 0, "%", "of usable RAM that is held once the level is reached" },
	{ "max-order", 4, 0, 10, 0, "", "largest block, 2^order frames" },
	{ "fall", 25, 0, 99, 2, "", "likelihood of an order, by that of the one below" },
	{ "movable", 70, 0, 100, 0, "%", "of blocks that are movable" },
	{ "cpus", 2, 1, 1024, 0, "", "CPUs, each event on any of them" },
	{ NULL },
};

static bool churn_more(struct generation *generation)
{
	return generation_more(generation) &&
	       generation_events(generation) < generation->value[CHURN_EVENTS];
}

static void churn_run(struct generation *generation)
{
	const uint64_t *value = generation->value;
	uint64_t level = percent_of_ram(generation, value[CHURN_LIVE]);
	struct random *random = &generation->random;
	struct frames frames;
	unsigned order = 0;

	frames_init(&frames, generation);
	for (bool served = true; churn_more(generation);) {
		if (served)
			order = draw_order(random, value[CHURN_ORDER], value[CHURN_FALL]);
		generation->cpu = (uint16_t)random_below(random, value[CHURN_CPUS]);
		generation->task = 100 + generation->cpu;
		/* A large block waits until several small ones are gone. */
		served = frames.frames + (UINT64_C(1) << order) <= level || frames.held->len == 0;
		if (served)
			take(&frames, order, value[CHURN_MOVABLE]);
		else
			give_any(&frames);
	}
	frames_fini(&frames);
}

const struct generator frame_churn = {
	.name = "frame-churn",
	.family = "frames",
	.version = 1,
	.summary = "blocks of mixed orders come and go at random at a constant level",
	.parameters = churn_parameters,
	.run = churn_run,
};

/* ---- frame-ramp ---- */

enum { RAMP_STEP = GENERATE_OWN, RAMP_TOP, RAMP_SPIKE, RAMP_PROBE, RAMP_PROBES, RAMP_MOVABLE };

static const struct generate_parameter ramp_parameters[] = {
	GENERATE_COMMON(UINT64_C(256) << 20),
	{ "step", 5, 1, 100, 0, "%", "of usable RAM by which the level goes up" },
	{ "top", 98, 1, 100, 0, "%", "of usable RAM that is taken at most, probes apart" },
	{ "spike", 10, 0, 100, 0, "%",
	  "of usable RAM taken beyond the level, given back at random" },
	{ "probe-order", 9, 0, 10, 0, "", "order of the blocks that are probed for" },
	{ "probes", 16, 1, 100000, 0, "", "requests at each step, held together, then given back" },
	{ "movable", 70, 0, 100, 0, "%", "of single frames that are movable" },
	{ NULL },
};

static const char *ramp_problem(const uint64_t *value)
{
	return value[RAMP_STEP] > value[RAMP_TOP] ? "step is above top" : NULL;
}

static void mark_level(struct generation *generation, uint64_t level)
{
	g_autofree char *text = g_strdup_printf("level %" G_GUINT64_FORMAT " %%", level);

	emit_marker(generation, text);
}

/* Up to the level and a spike beyond it, back at random: without spikes the held frames would lie
 * without a gap, and only their number be measured. */
static void climb(struct frames *frames, uint64_t level)
{
	struct generation *generation = frames->generation;
	const uint64_t *value = generation->value;
	uint64_t peak = MIN(level + value[RAMP_SPIKE], value[RAMP_TOP]);
	uint64_t most = percent_of_ram(generation, MAX(peak, level));

	while (frames->frames < most && generation_more(generation))
		take(frames, 0, value[RAMP_MOVABLE]);
	while (frames->frames > percent_of_ram(generation, level) && generation_more(generation))
		give_any(frames);
}

static void ramp_run(struct generation *generation)
{
	const uint64_t *value = generation->value;
	struct frames frames;

	frames_init(&frames, generation);
	generation->task = 100;
	for (uint64_t level = value[RAMP_STEP];
	     level <= value[RAMP_TOP] && generation_more(generation); level += value[RAMP_STEP]) {
		climb(&frames, level);
		mark_level(generation, level);
		probe(&frames, (unsigned)value[RAMP_PROBE], value[RAMP_PROBES]);
	}
	give_all(&frames);
	frames_fini(&frames);
}

const struct generator frame_ramp = {
	.name = "frame-ramp",
	.family = "frames",
	.version = 1,
	.summary = "RAM fills up in steps; at each, large blocks are asked for (metric 12)",
	.parameters = ramp_parameters,
	.problem = ramp_problem,
	.run = ramp_run,
};

/* ---- checkerboard ---- */

enum {
	BOARD_FILL = GENERATE_OWN,
	BOARD_ORDER,
	BOARD_EVERY,
	BOARD_PROBE,
	BOARD_PROBES,
	BOARD_ROUNDS
};

static const struct generate_parameter board_parameters[] = {
	GENERATE_COMMON(UINT64_C(64) << 20),
	{ "fill", 90, 1, 100, 0, "%", "of usable RAM that is taken" },
	{ "order", 0, 0, 9, 0, "", "order of the blocks" },
	{ "every", 2, 2, 1024, 0, "", "one of this many blocks, in order of allocation, stays" },
	{ "probe-order", 1, 1, 10, 0, "", "order of the blocks that are then asked for" },
	{ "probes", 1000, 1, 10000000, 0, "",
	  "how many are asked for, held together, then given back" },
	{ "rounds", 1, 1, 1000, 0, "", "how often" },
	{ NULL },
};

static const char *board_problem(const uint64_t *value)
{
	return value[BOARD_PROBE] <= value[BOARD_ORDER] ? "probe-order is not above order" : NULL;
}

/* Frees all but every `every`-th; what stays keeps its order. */
static void punch_holes(struct frames *frames, uint64_t every)
{
	struct generation *generation = frames->generation;
	guint kept = 0;

	for (guint i = 0; i < frames->held->len && generation_more(generation); i++) {
		struct held held = g_array_index(frames->held, struct held, i);
		if (i % every == 0) {
			g_array_index(frames->held, struct held, kept++) = held;
			continue;
		}
		emit_frames_free(generation, held.handle);
		frames->frames -= UINT64_C(1) << held.order;
	}
	g_array_set_size(frames->held, kept);
}

static void board_run(struct generation *generation)
{
	const uint64_t *value = generation->value;
	uint64_t wanted = percent_of_ram(generation, value[BOARD_FILL]);
	struct frames frames;

	frames_init(&frames, generation);
	generation->task = 100;
	for (uint64_t i = 0; i < value[BOARD_ROUNDS] && generation_more(generation); i++) {
		while (frames.frames + (UINT64_C(1) << value[BOARD_ORDER]) <= wanted &&
		       generation_more(generation))
			take(&frames, (unsigned)value[BOARD_ORDER], 0);
		emit_marker(generation, "holes");
		punch_holes(&frames, value[BOARD_EVERY]);
		emit_marker(generation, "probes");
		probe(&frames, (unsigned)value[BOARD_PROBE], value[BOARD_PROBES]);
		give_all(&frames);
	}
	frames_fini(&frames);
}

const struct generator checkerboard = {
	.name = "checkerboard",
	.family = "frames",
	.version = 1,
	.summary = "takes RAM in equal blocks, frees all but every n-th, asks for larger ones",
	.parameters = board_parameters,
	.problem = board_problem,
	.run = board_run,
};
