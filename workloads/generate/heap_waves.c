/*
 * Heap workloads by shape: a sawtooth, a queue, a stack.
 *
 *      sawtooth             fifo                  lifo
 *   alive  /|  /|        alive ,---------      alive   /\  /\/\
 *         / | / |             /                     /\/  \/    \
 *        /  |/  |            / oldest goes out     /  newest goes out
 *       +----------> t      +-----------> t       +-------------> t
 */
#include "workloads/generate/emit.h"
#include "workloads/generate/families.h"

#define TASK 100

#define SIZES(least, most, alpha)                                                  \
	{ "min-bytes", (least), 1, 1 << 30, 0, "bytes", "smallest object" },       \
		{ "max-bytes", (most), 1, 1 << 30, 0, "bytes", "largest object" }, \
	{                                                                          \
		"size-alpha", (alpha), 1, 1000, 2, "",                             \
			"exponent of the sizes' bounded Pareto distribution"       \
	}
#define DRAIN_PARAMETER                                                         \
	{                                                                       \
		"drain", 1, 0, 1, 0, "", "1: what is alive at the end is freed" \
	}

/* The three begin alike. */
enum { WAVE_LEAST = GENERATE_OWN, WAVE_MOST, WAVE_ALPHA, WAVE_EVENTS, WAVE_DRAIN, WAVE_OWN };

struct wave {
	struct generation *generation;
	struct pareto sizes;
	uint32_t rise, fall, drain; /* call sites */
};

static struct wave wave_new(struct generation *generation)
{
	const uint64_t *value = generation->value;
	struct wave wave = { .generation = generation };

	wave.sizes = pareto_new(value[WAVE_LEAST], value[WAVE_MOST], value[WAVE_ALPHA]);
	wave.rise = generation_name(generation, "rise");
	wave.fall = generation_name(generation, "fall");
	wave.drain = generation_name(generation, "drain");
	generation->task = TASK;
	return wave;
}

static bool wave_more(struct wave *wave)
{
	return generation_more(wave->generation) &&
	       generation_events(wave->generation) < wave->generation->value[WAVE_EVENTS];
}

static struct object wave_object(struct wave *wave)
{
	return emit_object(wave->generation, pareto_draw(&wave->sizes, &wave->generation->random),
			   wave->rise, 0);
}

static const char *wave_problem(const uint64_t *value)
{
	return value[WAVE_LEAST] > value[WAVE_MOST] ? "min-bytes is above max-bytes" : NULL;
}

/* ---- sawtooth ---- */

enum { SAW_PEAK = WAVE_OWN, SAW_FLOOR, SAW_SHUFFLE };

static const struct generate_parameter sawtooth_parameters[] = {
	GENERATE_COMMON(UINT64_C(256) << 20),
	SIZES(16, 4096, 80),
	{ "events", 200000, 1, 1000000000, 0, "", "allocations and frees, without the last frees" },
	DRAIN_PARAMETER,
	{ "peak", 10000, 1, 10000000, 0, "objects", "alive at the top of a tooth" },
	{ "floor", 10, 0, 99, 0, "%", "of the peak that stays alive at its foot" },
	{ "shuffle", 1, 0, 1, 0, "", "1: freed in random order; 0: oldest first" },
	{ NULL },
};

/* Frees objects until FLOOR are left; those that stay keep the order of their age. */
static void saw_fall(struct wave *wave, GArray *alive, guint floor, bool shuffle)
{
	struct random *random = &wave->generation->random;
	guint end = alive->len - MIN(floor, alive->len);

	/* What is to go comes first: any END of them, in an order by chance, or the oldest. */
	for (guint i = 0; shuffle && i < end; i++) {
		struct object *one = &g_array_index(alive, struct object, i);
		struct object *other = &g_array_index(
			alive, struct object, i + (guint)random_below(random, alive->len - i));
		struct object swapped = *one;
		*one = *other;
		*other = swapped;
	}
	for (guint i = 0; i < end && generation_more(wave->generation); i++)
		emit_object_free(wave->generation, &g_array_index(alive, struct object, i),
				 wave->fall);
	g_array_remove_range(alive, 0, end);
}

static void free_all(struct wave *wave, GArray *alive)
{
	if (!wave->generation->value[WAVE_DRAIN])
		return;
	for (guint i = 0; i < alive->len && generation_more(wave->generation); i++)
		emit_object_free(wave->generation, &g_array_index(alive, struct object, i),
				 wave->drain);
}

static void sawtooth_run(struct generation *generation)
{
	const uint64_t *value = generation->value;
	guint floor = (guint)(value[SAW_PEAK] * value[SAW_FLOOR] / 100);
	struct wave wave = wave_new(generation);
	g_autoptr(GArray) alive = g_array_new(FALSE, FALSE, sizeof(struct object));

	while (wave_more(&wave)) {
		while (alive->len < value[SAW_PEAK] && wave_more(&wave)) {
			struct object object = wave_object(&wave);
			g_array_append_val(alive, object);
		}
		if (wave_more(&wave))
			saw_fall(&wave, alive, floor, value[SAW_SHUFFLE]);
	}
	free_all(&wave, alive);
}

const struct generator sawtooth = {
	.name = "sawtooth",
	.family = "heap",
	.version = 1,
	.summary = "phases: memory fills to a peak and falls to a floor, again and again",
	.parameters = sawtooth_parameters,
	.problem = wave_problem,
	.run = sawtooth_run,
};

/* ---- fifo ---- */

enum { FIFO_DEPTH = WAVE_OWN };

static const struct generate_parameter fifo_parameters[] = {
	GENERATE_COMMON(UINT64_C(256) << 20),
	SIZES(16, 4096, 80),
	{ "events", 200000, 1, 1000000000, 0, "", "allocations and frees, without the last frees" },
	DRAIN_PARAMETER,
	{ "depth", 5000, 1, 10000000, 0, "objects", "that wait in the queue" },
	{ NULL },
};

/* A ring: the object that is replaced is always the oldest. */
static void fifo_run(struct generation *generation)
{
	const uint64_t *value = generation->value;
	struct wave wave = wave_new(generation);
	g_autofree struct object *ring = g_new0(struct object, value[FIFO_DEPTH]);
	uint64_t at = 0;

	for (; wave_more(&wave); at = (at + 1) % value[FIFO_DEPTH]) {
		emit_object_free(generation, &ring[at], wave.fall);
		ring[at] = wave_object(&wave);
	}
	for (uint64_t i = 0; value[WAVE_DRAIN] && i < value[FIFO_DEPTH]; i++)
		emit_object_free(generation, &ring[(at + i) % value[FIFO_DEPTH]], wave.drain);
}

const struct generator fifo = {
	.name = "fifo",
	.family = "heap",
	.version = 1,
	.summary = "a queue: the oldest object is freed before each new one",
	.parameters = fifo_parameters,
	.problem = wave_problem,
	.run = fifo_run,
};

/* ---- lifo ---- */

enum { LIFO_DEPTH = WAVE_OWN, LIFO_BURST };

static const struct generate_parameter lifo_parameters[] = {
	GENERATE_COMMON(UINT64_C(256) << 20),
	SIZES(16, 4096, 80),
	{ "events", 200000, 1, 1000000000, 0, "", "allocations and frees, without the last frees" },
	DRAIN_PARAMETER,
	{ "depth", 5000, 1, 10000000, 0, "objects", "at most on the stack" },
	{ "burst", 16, 1, 1000000, 0, "objects", "mean number pushed or popped at a time" },
	{ NULL },
};

static void lifo_pop(struct wave *wave, GArray *stack, uint32_t site)
{
	emit_object_free(wave->generation, &g_array_index(stack, struct object, stack->len - 1),
			 site);
	g_array_set_size(stack, stack->len - 1);
}

static void lifo_run(struct generation *generation)
{
	const uint64_t *value = generation->value;
	struct wave wave = wave_new(generation);
	g_autoptr(GArray) stack = g_array_new(FALSE, FALSE, sizeof(struct object));

	/* A random walk between an empty and a full stack. */
	while (wave_more(&wave)) {
		bool push = draw_chance(&generation->random, 1, 2);
		uint64_t left = 1 + draw_exponential(&generation->random, value[LIFO_BURST] - 1);
		for (; left > 0 && wave_more(&wave); left--) {
			if (push ? stack->len == value[LIFO_DEPTH] : stack->len == 0)
				break;
			if (push) {
				struct object object = wave_object(&wave);
				g_array_append_val(stack, object);
			} else {
				lifo_pop(&wave, stack, wave.fall);
			}
		}
	}
	while (value[WAVE_DRAIN] && stack->len > 0 && generation_more(generation))
		lifo_pop(&wave, stack, wave.drain);
}

const struct generator lifo = {
	.name = "lifo",
	.family = "heap",
	.version = 1,
	.summary = "a stack: always the newest object is freed",
	.parameters = lifo_parameters,
	.problem = wave_problem,
	.run = lifo_run,
};
