/*
 * Heap workloads by lifetime: a server that replaces at random, generations, power laws.
 *
 * Lifetimes are counted in allocations, not in time: an object of lifetime n is freed right before
 * the n-th allocation after its own.
 */
#include "workloads/generate/deaths.h"
#include "workloads/generate/emit.h"
#include "workloads/generate/families.h"

#define FIRST_TASK 100

#define EVENTS_PARAMETER                                                \
	{                                                               \
		"events", 200000, 1, 1000000000, 0, "",                 \
			"allocations and frees, without the last frees" \
	}
#define DRAIN_PARAMETER                                                         \
	{                                                                       \
		"drain", 1, 0, 1, 0, "", "1: what is alive at the end is freed" \
	}

/* ---- larson ---- */

enum {
	LARSON_EVENTS = GENERATE_OWN,
	LARSON_THREADS,
	LARSON_CPUS,
	LARSON_SLOTS,
	LARSON_LEAST,
	LARSON_MOST,
	LARSON_ROUND,
	LARSON_DRAIN
};

static const struct generate_parameter larson_parameters[] = {
	GENERATE_COMMON(UINT64_C(256) << 20),
	EVENTS_PARAMETER,
	{ "threads", 8, 1, 1024, 0, "", "threads at a time" },
	{ "cpus", 4, 1, 1024, 0, "", "CPUs that the threads take in turn" },
	{ "slots", 1000, 1, 1000000, 0, "objects", "that a thread keeps alive" },
	{ "min-bytes", 10, 1, 1 << 30, 0, "bytes", "smallest object" },
	{ "max-bytes", 500, 1, 1 << 30, 0, "bytes", "largest object; sizes are uniform" },
	{ "round", 2000, 1, 1000000000, 0, "",
	  "replacements until a thread ends and hands its objects to a new one" },
	DRAIN_PARAMETER,
	{ NULL },
};

static const char *larson_problem(const uint64_t *value)
{
	if (value[LARSON_LEAST] > value[LARSON_MOST])
		return "min-bytes is above max-bytes";
	return value[LARSON_THREADS] * value[LARSON_SLOTS] > 10000000
		       ? "threads times slots is more than 10000000 objects"
		       : NULL;
}

/* One of the sets of objects that threads hand on, and the thread that has it now. */
struct larson_thread {
	uint32_t task;
	uint16_t cpu;
	uint64_t left; /* replacements */
	struct object *slot;
};

static void larson_start(struct generation *generation, struct larson_thread *thread,
			 uint32_t number)
{
	thread->task = FIRST_TASK + number;
	thread->cpu = (uint16_t)(number % generation->value[LARSON_CPUS]);
	thread->left = generation->value[LARSON_ROUND];
	generation_task(generation, thread->task, "larson");
}

static void larson_act(struct generation *generation, const struct larson_thread *thread)
{
	generation->cpu = thread->cpu;
	generation->task = thread->task;
}

static void larson_fill(struct generation *generation, struct larson_thread *thread, uint32_t site)
{
	const uint64_t *value = generation->value;

	larson_act(generation, thread);
	for (uint64_t i = 0; i < value[LARSON_SLOTS] && generation_more(generation); i++)
		thread->slot[i] = emit_object(
			generation,
			draw_uniform(&generation->random, value[LARSON_LEAST], value[LARSON_MOST]),
			site, 0);
}

static void larson_replace(struct generation *generation, struct larson_thread *thread,
			   uint32_t site)
{
	const uint64_t *value = generation->value;
	struct object *slot = &thread->slot[random_below(&generation->random, value[LARSON_SLOTS])];

	larson_act(generation, thread);
	emit_object_free(generation, slot, site);
	*slot = emit_object(
		generation,
		draw_uniform(&generation->random, value[LARSON_LEAST], value[LARSON_MOST]), site,
		0);
}

static void larson_run(struct generation *generation)
{
	const uint64_t *value = generation->value;
	uint64_t threads = value[LARSON_THREADS], slots = value[LARSON_SLOTS];
	g_autofree struct larson_thread *thread = g_new0(struct larson_thread, threads);
	g_autofree struct object *objects = g_new0(struct object, threads * slots);
	uint32_t fill = generation_name(generation, "larson: fill");
	uint32_t replace = generation_name(generation, "larson: replace");
	uint32_t drain = generation_name(generation, "larson: drain");
	uint32_t started = 0;

	for (uint64_t i = 0; i < threads; i++) {
		thread[i].slot = &objects[i * slots];
		larson_start(generation, &thread[i], started++);
		larson_fill(generation, &thread[i], fill);
	}
	while (generation_more(generation) &&
	       generation_events(generation) < value[LARSON_EVENTS]) {
		struct larson_thread *one = &thread[random_below(&generation->random, threads)];
		if (one->left-- == 0) {
			larson_start(generation, one, started++);
			one->left--;
		}
		larson_replace(generation, one, replace);
	}
	for (uint64_t i = 0; value[LARSON_DRAIN] && i < threads * slots; i++) {
		larson_act(generation, &thread[i / slots]);
		emit_object_free(generation, &objects[i], drain);
	}
}

const struct generator larson = {
	.name = "larson",
	.family = "heap",
	.version = 1,
	.summary = "server: threads replace random objects and hand them to their successors",
	.parameters = larson_parameters,
	.problem = larson_problem,
	.run = larson_run,
};

/* ---- objects with a lifetime ---- */

static void free_due(struct generation *generation, struct deaths *deaths, uint64_t now,
		     uint32_t site)
{
	struct object object;

	while (generation_more(generation) && deaths_take(deaths, now, &object))
		emit_object_free(generation, &object, site);
}

/* ---- generational ---- */

enum {
	GENERATIONAL_EVENTS = GENERATE_OWN,
	GENERATIONAL_LEAST,
	GENERATIONAL_MOST,
	GENERATIONAL_ALPHA,
	GENERATIONAL_GENERATIONS,
	GENERATIONAL_SURVIVE,
	GENERATIONAL_YOUNG,
	GENERATIONAL_FACTOR,
	GENERATIONAL_DRAIN
};

#define GENERATIONS_MOST 8
/* The mean lifetime of the oldest generation, in allocations. */
#define LIFETIME_MOST (UINT64_C(1) << 40)

static const struct generate_parameter generational_parameters[] = {
	GENERATE_COMMON(UINT64_C(256) << 20),
	EVENTS_PARAMETER,
	{ "min-bytes", 16, 1, 1 << 30, 0, "bytes", "smallest object" },
	{ "max-bytes", 4096, 1, 1 << 30, 0, "bytes", "largest object" },
	{ "size-alpha", 80, 1, 1000, 2, "", "exponent of the sizes' bounded Pareto distribution" },
	{ "generations", 3, 1, GENERATIONS_MOST, 0, "", "classes of lifetime" },
	{ "survive", 10, 0, 100, 0, "%", "of a generation's objects that belong to the next" },
	{ "young", 64, 1, 1000000, 0, "allocations", "mean lifetime of the youngest" },
	{ "factor", 32, 1, 10000, 0, "", "mean lifetime of a generation, by the one before" },
	DRAIN_PARAMETER,
	{ NULL },
};

/* The mean lifetime of a generation; LIFETIME_MOST and above are one. */
static uint64_t generation_life(const uint64_t *value, unsigned number)
{
	uint64_t life = value[GENERATIONAL_YOUNG];

	for (; number > 0 && life < LIFETIME_MOST; number--)
		life *= value[GENERATIONAL_FACTOR];
	return life;
}

static const char *generational_problem(const uint64_t *value)
{
	if (value[GENERATIONAL_LEAST] > value[GENERATIONAL_MOST])
		return "min-bytes is above max-bytes";
	return generation_life(value, (unsigned)value[GENERATIONAL_GENERATIONS] - 1) >=
			       LIFETIME_MOST
		       ? "the last generation lives for more than 2^40 allocations"
		       : NULL;
}

static void generational_run(struct generation *generation)
{
	static const char *const names[GENERATIONS_MOST] = {
		"generation 0", "generation 1", "generation 2", "generation 3",
		"generation 4", "generation 5", "generation 6", "generation 7",
	};
	const uint64_t *value = generation->value;
	struct random *random = &generation->random;
	struct pareto sizes = pareto_new(value[GENERATIONAL_LEAST], value[GENERATIONAL_MOST],
					 value[GENERATIONAL_ALPHA]);
	struct deaths deaths;

	deaths_init(&deaths);
	generation->task = FIRST_TASK;
	uint32_t death = generation_name(generation, "death");
	for (uint64_t count = 0; generation_more(generation) &&
				 generation_events(generation) < value[GENERATIONAL_EVENTS];
	     count++) {
		unsigned number = 0;
		free_due(generation, &deaths, count, death);
		while (number + 1 < value[GENERATIONAL_GENERATIONS] &&
		       draw_chance(random, value[GENERATIONAL_SURVIVE], 100))
			number++;
		uint64_t life = 1 + draw_exponential(random, generation_life(value, number));
		struct object object = emit_object(generation, pareto_draw(&sizes, random),
						   generation_name(generation, names[number]), 0);
		deaths_add(&deaths, count + life, object);
	}
	if (value[GENERATIONAL_DRAIN])
		free_due(generation, &deaths, UINT64_MAX, generation_name(generation, "drain"));
	deaths_fini(&deaths);
}

const struct generator generational = {
	.name = "generational",
	.family = "heap",
	.version = 1,
	.summary = "most objects die young, the survivors live long",
	.parameters = generational_parameters,
	.problem = generational_problem,
	.run = generational_run,
};

/* ---- power-law ---- */

enum {
	POWER_EVENTS = GENERATE_OWN,
	POWER_LEAST,
	POWER_MOST,
	POWER_SIZE_ALPHA,
	POWER_LIFE_LEAST,
	POWER_LIFE_MOST,
	POWER_LIFE_ALPHA,
	POWER_DRAIN
};

static const struct generate_parameter power_parameters[] = {
	GENERATE_COMMON(UINT64_C(512) << 20),
	EVENTS_PARAMETER,
	{ "min-bytes", 16, 1, 1 << 30, 0, "bytes", "smallest object" },
	{ "max-bytes", 65536, 1, 1 << 30, 0, "bytes", "largest object" },
	{ "size-alpha", 110, 1, 1000, 2, "", "exponent of the sizes' bounded Pareto distribution" },
	{ "min-life", 1, 1, UINT64_C(1) << 40, 0, "allocations", "shortest lifetime" },
	{ "max-life", 1000000, 1, UINT64_C(1) << 40, 0, "allocations", "longest lifetime" },
	{ "life-alpha", 70, 1, 1000, 2, "",
	  "exponent of the lifetimes' bounded Pareto distribution" },
	DRAIN_PARAMETER,
	{ NULL },
};

static const char *power_problem(const uint64_t *value)
{
	if (value[POWER_LEAST] > value[POWER_MOST])
		return "min-bytes is above max-bytes";
	return value[POWER_LIFE_LEAST] > value[POWER_LIFE_MOST] ? "min-life is above max-life"
								: NULL;
}

static void power_run(struct generation *generation)
{
	const uint64_t *value = generation->value;
	struct pareto sizes =
		pareto_new(value[POWER_LEAST], value[POWER_MOST], value[POWER_SIZE_ALPHA]);
	struct pareto lives = pareto_new(value[POWER_LIFE_LEAST], value[POWER_LIFE_MOST],
					 value[POWER_LIFE_ALPHA]);
	uint32_t birth = generation_name(generation, "birth");
	uint32_t death = generation_name(generation, "death");
	struct deaths deaths;

	deaths_init(&deaths);
	generation->task = FIRST_TASK;
	for (uint64_t count = 0;
	     generation_more(generation) && generation_events(generation) < value[POWER_EVENTS];
	     count++) {
		free_due(generation, &deaths, count, death);
		uint64_t bytes = pareto_draw(&sizes, &generation->random);
		uint64_t life = pareto_draw(&lives, &generation->random);
		deaths_add(&deaths, count + life, emit_object(generation, bytes, birth, 0));
	}
	if (value[POWER_DRAIN])
		free_due(generation, &deaths, UINT64_MAX, generation_name(generation, "drain"));
	deaths_fini(&deaths);
}

const struct generator power_law = {
	.name = "power-law",
	.family = "heap",
	.version = 1,
	.summary = "sizes and lifetimes with heavy tails: few large ones, few that stay for ever",
	.parameters = power_parameters,
	.problem = power_problem,
	.run = power_run,
};
