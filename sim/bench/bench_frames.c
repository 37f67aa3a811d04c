/*
 * Goal 5: bitmap and stack at most 3 x Y3, buddy at most 2 x Y3. The other systems stand beside
 * them, against the Y3 that is next to what they are, without a goal.
 *
 * Goal 6: an allocation of one frame and its free, one after the other on one CPU, at most 6 x a
 * compare-and-swap that nobody contends for. And the lock-free systems on two host threads against
 * one, in CPU time a pair: 1.0 is twice the throughput, 2.0 is none gained.
 *
 * Goal 10: the same load on 1 GiB of simulated RAM and on more, up to 1 TiB: at most 1.5 x, for the
 * systems that promise it.
 *
 * Load: blocks come and go at random, one free and one allocation a step, from a plan made
 * beforehand, the same for the real thing and for its yardstick.
 */
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "sim/bench/bench.h"
#include "sim/bench/yardstick_frames.h"
#include "sim/kernel.h"
#include "sim/lab.h"
#include "sim/random.h"
#include "sim/run.h"

#define MANAGED_FRAMES (1u << 16) /* of 2^17, so that allocators' own needs do not matter */
#define LIVE	       (MANAGED_FRAMES / 4)
#define STEPS_FULL     2000000u

struct plan {
	uint32_t steps;
	uint32_t *victim; /* index into the live blocks */
	uint8_t *order;	  /* of the allocation that takes its place */
	unsigned max_order;
};

struct contestant {
	const struct plan *plan;
	struct machine *machine;
	struct frames frames;
	struct frame_block *live;
	uint32_t *bare_live;
	uint8_t *bare_order;
	struct yard_stack stack;
	struct yard_bitmap bitmap;
	struct yard_buddy buddy;
	uint64_t swapped;
};

static void make_plan(struct plan *plan, uint32_t steps, unsigned max_order)
{
	struct random random = random_seeded(1);

	*plan = (struct plan){ .steps = steps, .max_order = max_order };
	plan->victim = g_new(uint32_t, steps);
	plan->order = g_new0(uint8_t, steps);
	for (uint32_t i = 0; i < steps; i++) {
		plan->victim[i] = (uint32_t)random_below(&random, LIVE);
		/* Orders thin out by four: mostly single frames, as in recorded kernels. */
		while (plan->order[i] < max_order && random_below(&random, 4) == 0)
			plan->order[i]++;
	}
}

static void plan_clear(struct plan *plan)
{
	g_free(plan->victim);
	g_free(plan->order);
}

/* ---- the real thing ---- */

static void real_alloc(struct contestant *self, uint32_t slot, unsigned order)
{
	struct frame_request request = { .frames = 1u << order, .align_frames = 1u << order };

	if (frame_alloc(&self->frames, &request, &self->live[slot]) != KERR_OK)
		g_error("lab error: bench: %s has no memory", self->frames.ops->name);
}

static uint64_t real_run(void *context)
{
	struct contestant *self = context;
	const struct plan *plan = self->plan;

	machine_enter(self->machine);
	uint64_t begin = bench_cpu_ns();
	for (uint32_t i = 0; i < plan->steps; i++) {
		uint32_t slot = plan->victim[i];
		if (frame_free(&self->frames, &self->live[slot]) != KERR_OK)
			g_error("lab error: bench: %s refuses a free", self->frames.ops->name);
		real_alloc(self, slot, plan->order[i]);
	}
	uint64_t ns = bench_cpu_ns() - begin;
	machine_leave();
	return ns;
}

/* RAM_BYTES 0: 512 MiB, all of it touched beforehand. */
static bool real_init(struct contestant *self, const struct frame_ops *ops, uint64_t ram_bytes,
		      unsigned cpus, const struct plan *plan, GError **error)
{
	struct frame_config config;
	struct machine_config *machine = machine_config_new("pc-512m", error);

	frame_config_defaults(ops, &config);
	config.cpus = cpus;
	*self = (struct contestant){ .plan = plan };
	if (machine && ram_bytes && !machine_config_resize(machine, ram_bytes, error))
		g_clear_pointer(&machine, machine_config_free);
	if (machine)
		machine->cpus = cpus;
	self->machine = machine ? machine_new(machine, error) : NULL;
	machine_config_free(machine);
	if (!self->machine)
		return false;
	machine_enter(self->machine);
	bool booted = machine_boot(self->machine, boot, ops, &config, error);
	self->frames = self->machine->boot.frames;
	self->live = g_new0(struct frame_block, LIVE);
	if (booted && !ram_bytes)
		machine_populate(self->machine, self->machine->usable);
	for (uint32_t slot = 0; booted && slot < LIVE; slot++)
		real_alloc(self, slot, 0);
	machine_leave();
	return booted;
}

static void real_fini(struct contestant *self)
{
	if (self->machine)
		machine_free(self->machine);
	g_free(self->live);
}

/* ---- yardsticks ---- */

static uint64_t stack_run(void *context)
{
	struct contestant *self = context;
	uint64_t begin = bench_cpu_ns();

	for (uint32_t i = 0; i < self->plan->steps; i++) {
		uint32_t *slot = &self->bare_live[self->plan->victim[i]];
		yard_stack_push(&self->stack, *slot);
		*slot = yard_stack_pop(&self->stack);
	}
	return bench_cpu_ns() - begin;
}

static uint64_t bitmap_run(void *context)
{
	struct contestant *self = context;
	uint64_t begin = bench_cpu_ns();

	for (uint32_t i = 0; i < self->plan->steps; i++) {
		uint32_t *slot = &self->bare_live[self->plan->victim[i]];
		yard_bitmap_free(&self->bitmap, *slot);
		*slot = yard_bitmap_alloc(&self->bitmap);
	}
	return bench_cpu_ns() - begin;
}

static uint64_t buddy_run(void *context)
{
	struct contestant *self = context;
	uint64_t begin = bench_cpu_ns();

	for (uint32_t i = 0; i < self->plan->steps; i++) {
		uint32_t slot = self->plan->victim[i];
		yard_buddy_free(&self->buddy, self->bare_live[slot], self->bare_order[slot]);
		self->bare_order[slot] = self->plan->order[i];
		self->bare_live[slot] = yard_buddy_alloc(&self->buddy, self->plan->order[i]);
	}
	return bench_cpu_ns() - begin;
}

static void bare_init(struct contestant *self, const struct plan *plan)
{
	*self = (struct contestant){ .plan = plan };
	self->bare_live = g_new(uint32_t, LIVE);
	self->bare_order = g_new0(uint8_t, LIVE);
}

static void bare_fini(struct contestant *self)
{
	g_free(self->bare_live);
	g_free(self->bare_order);
}

static void start_stack(struct contestant *self)
{
	yard_stack_init(&self->stack, MANAGED_FRAMES);
	for (uint32_t slot = 0; slot < LIVE; slot++)
		self->bare_live[slot] = yard_stack_pop(&self->stack);
}

static void start_bitmap(struct contestant *self)
{
	yard_bitmap_init(&self->bitmap, MANAGED_FRAMES);
	for (uint32_t slot = 0; slot < LIVE; slot++)
		self->bare_live[slot] = yard_bitmap_alloc(&self->bitmap);
}

static void start_buddy(struct contestant *self)
{
	yard_buddy_init(&self->buddy, 2 * MANAGED_FRAMES);
	for (uint32_t slot = 0; slot < LIVE; slot++)
		self->bare_live[slot] = yard_buddy_alloc(&self->buddy, 0);
}

/* ---- goal 5: against bare data structures ---- */

static const struct bare {
	const char *name;
	void (*start)(struct contestant *bare);
	uint64_t (*run)(void *bare);
} bare_stack = { "Y3 array stack", start_stack, stack_run },
  bare_bitmap = { "Y3 three-level bitmap", start_bitmap, bitmap_run },
  bare_buddy = { "Y3 bare buddy", start_buddy, buddy_run };

static const struct pairing {
	const char *name;
	const struct bare *bare;
	unsigned max_order;
	double goal; /* 0: none */
} pairings[] = {
	{ "bitmap", &bare_bitmap, 0, 3 },    { "stack", &bare_stack, 0, 3 },
	{ "buddy", &bare_buddy, 3, 2 },	     { "stack-lazy", &bare_stack, 0, 0 },
	{ "split", &bare_stack, 0, 0 },	     { "bitmap-lockless", &bare_bitmap, 0, 0 },
	{ "llfree", &bare_bitmap, 0, 0 },    { "memblock", &bare_bitmap, 0, 0 },
	{ "two-ended", &bare_bitmap, 0, 0 }, { "zoned-buddy", &bare_buddy, 3, 0 },
};

static bool compare(const struct pairing *pairing, uint32_t steps, GArray *figures, GError **error)
{
	struct contestant real, bare;
	struct plan plan;
	char *name = g_strconcat("frames/", pairing->name, NULL);

	make_plan(&plan, steps, pairing->max_order);
	bare_init(&bare, &plan);
	pairing->bare->start(&bare);
	bool fine = real_init(&real, frame_find(pairing->name), 0, 1, &plan, error);
	if (fine)
		bench_compare(figures, name, "ns/operation",
			      &(struct bench_runner){ real_run, &real, 2ull * steps },
			      pairing->bare->name,
			      &(struct bench_runner){ pairing->bare->run, &bare, 2ull * steps },
			      pairing->goal);
	real_fini(&real);
	if (bare.stack.frame)
		yard_stack_fini(&bare.stack);
	if (bare.buddy.state)
		yard_buddy_fini(&bare.buddy);
	bare_fini(&bare);
	plan_clear(&plan);
	g_free(name);
	return fine;
}

/* ---- goal 6: pairs ---- */

#define LOCK_FREE_GOAL 6.0

static void pairs(struct contestant *self, uint16_t cpu)
{
	const struct frame_request request = { .frames = 1, .align_frames = 1, .cpu = cpu };
	struct frame_block block;

	for (uint32_t i = 0; i < self->plan->steps; i++)
		if (frame_alloc(&self->frames, &request, &block) != KERR_OK ||
		    frame_free(&self->frames, &block) != KERR_OK)
			g_error("lab error: bench: %s refuses a pair", self->frames.ops->name);
}

static uint64_t pairs_run(void *context)
{
	struct contestant *self = context;

	machine_enter(self->machine);
	uint64_t begin = bench_cpu_ns();
	pairs(self, 0);
	uint64_t ns = bench_cpu_ns() - begin;
	machine_leave();
	return ns;
}

static uint64_t swaps_run(void *context)
{
	struct contestant *self = context;
	uint64_t begin = bench_cpu_ns();

	yard_swaps(&self->swapped, self->plan->steps);
	return bench_cpu_ns() - begin;
}

/* The kernel's other CPU: the same machine, as seen from there. */
static void *second_cpu(void *context)
{
	struct contestant *self = context;
	struct machine other = *self->machine;

	other.current_cpu = 1;
	machine_enter(&other);
	pairs(self, 1);
	machine_leave();
	return NULL;
}

static uint64_t two_threads_run(void *context)
{
	struct contestant *self = context;
	pthread_t second;

	machine_enter(self->machine);
	uint64_t begin = bench_cpu_ns();
	if (pthread_create(&second, NULL, second_cpu, self) != 0)
		g_error("lab error: bench: no second thread");
	pairs(self, 0);
	pthread_join(second, NULL);
	uint64_t ns = bench_cpu_ns() - begin;
	machine_leave();
	return ns;
}

static bool compare_lock_free(const struct frame_ops *ops, uint32_t steps, GArray *figures,
			      GError **error)
{
	struct contestant real, bare = { 0 };
	struct plan plan;
	char *pair = g_strdup_printf("frames/%s-pair", ops->name);
	char *threads = g_strdup_printf("frames/%s-2-threads", ops->name);

	make_plan(&plan, steps, 0);
	bare.plan = &plan;
	bool fine = real_init(&real, ops, 0, 2, &plan, error);
	if (fine) {
		bench_compare(figures, pair, "ns/pair",
			      &(struct bench_runner){ pairs_run, &real, steps },
			      "uncontended compare-and-swap",
			      &(struct bench_runner){ swaps_run, &bare, steps }, LOCK_FREE_GOAL);
		bench_compare(figures, threads, "ns/pair",
			      &(struct bench_runner){ two_threads_run, &real, 2ull * steps },
			      "the same on one thread",
			      &(struct bench_runner){ pairs_run, &real, steps }, 0);
	}
	real_fini(&real);
	plan_clear(&plan);
	g_free(pair);
	g_free(threads);
	return fine;
}

/* ---- goal 10: RAM ---- */

#define SCALE_GOAL 1.5

static const char *const flat_systems[] = { "stack-lazy", "memblock", "buddy", "zoned-buddy",
					    "llfree" };

static const uint64_t scale_gib[] = { 4, 32, 256, 1024 };

/* Systems that write every free frame at start: that much of the host they may have. */
#define TOUCHED_GIB 4

static double scale_goal(const struct frame_ops *ops)
{
	for (gsize i = 0; i < G_N_ELEMENTS(flat_systems); i++)
		if (strcmp(flat_systems[i], ops->name) == 0)
			return SCALE_GOAL;
	return 0;
}

static bool compare_sizes(const struct frame_ops *ops, uint32_t steps, uint64_t most_gib,
			  GArray *figures, GError **error)
{
	struct contestant small, large;
	struct plan plan;
	bool fine;

	make_plan(&plan, steps, 0);
	fine = real_init(&small, ops, 1ull << 30, 1, &plan, error);
	for (gsize i = 0; fine && i < G_N_ELEMENTS(scale_gib) && scale_gib[i] <= most_gib; i++) {
		char *name = g_strdup_printf("frames/%s-%" PRIu64 "G", ops->name, scale_gib[i]);

		fine = real_init(&large, ops, scale_gib[i] << 30, 1, &plan, error);
		if (fine)
			bench_compare(figures, name, "ns/operation",
				      &(struct bench_runner){ real_run, &large, 2ull * steps },
				      "the same in 1 GiB",
				      &(struct bench_runner){ real_run, &small, 2ull * steps },
				      scale_goal(ops));
		real_fini(&large);
		g_free(name);
	}
	real_fini(&small);
	plan_clear(&plan);
	return fine;
}

bool bench_frames(const struct bench_options *options, GArray *figures, GError **error)
{
	uint32_t steps = (uint32_t)(STEPS_FULL / 100 * options->scale);
	uint64_t most_gib = options->scale < 10 ? scale_gib[0] : scale_gib[3];

	for (gsize i = 0; i < G_N_ELEMENTS(pairings); i++)
		if (!compare(&pairings[i], steps, figures, error))
			return false;
	for (const struct frame_ops *const *ops = frame_registry; *ops; ops++)
		if (((*ops)->caps & FRAME_CAP_LOCKLESS) && ((*ops)->caps & FRAME_CAP_FREE) &&
		    !compare_lock_free(*ops, steps, figures, error))
			return false;
	for (const struct frame_ops *const *ops = frame_registry; *ops; ops++) {
		uint64_t most = (*ops)->caps & FRAME_CAP_TOUCHES_ALL ? TOUCHED_GIB : most_gib;

		if (((*ops)->caps & FRAME_CAP_FREE) &&
		    !compare_sizes(*ops, steps / 10, most, figures, error))
			return false;
	}
	return true;
}
