/*
 * Goal 5: bitmap and stack at most 3 x Y3, buddy at most 2 x Y3.
 *
 * Load: half of the frames are allocated first; then blocks come and go at random, one free and one
 * allocation a step, from a plan made beforehand, the same for the real thing and for its
 * yardstick.
 */
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

static bool real_init(struct contestant *self, const char *name, const struct plan *plan,
		      GError **error)
{
	const struct frame_ops *ops = frame_find(name);
	struct frame_config config = { .cpus = 1, .seed = 1 };
	struct machine_config *machine = machine_config_new("pc-512m", error);

	for (unsigned i = 0; ops->options && ops->options[i].key; i++)
		config.option[i] = ops->options[i].value;
	*self = (struct contestant){ .plan = plan };
	self->machine = machine ? machine_new(machine, error) : NULL;
	machine_config_free(machine);
	if (!self->machine)
		return false;
	machine_enter(self->machine);
	bool booted = machine_boot(self->machine, boot, ops, &config, error);
	self->frames = self->machine->boot.frames;
	self->live = g_new0(struct frame_block, LIVE);
	if (booted)
		machine_populate(self->machine, self->machine->usable);
	for (uint32_t slot = 0; booted && slot < LIVE; slot++)
		real_alloc(self, slot, 0);
	machine_leave();
	return booted;
}

static void real_fini(struct contestant *self)
{
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

static const struct pairing {
	const char *name, *yardstick;
	unsigned max_order;
	double goal;
	void (*start)(struct contestant *bare);
	uint64_t (*run)(void *bare);
} pairings[] = {
	{ "bitmap", "Y3 three-level bitmap", 0, 3, start_bitmap, bitmap_run },
	{ "stack", "Y3 array stack", 0, 3, start_stack, stack_run },
	{ "buddy", "Y3 bare buddy", 3, 2, start_buddy, buddy_run },
};

static bool compare(const struct pairing *pairing, uint32_t steps, GArray *figures, GError **error)
{
	struct contestant real, bare;
	struct plan plan;
	char *name = g_strconcat("frames/", pairing->name, NULL);

	make_plan(&plan, steps, pairing->max_order);
	bare_init(&bare, &plan);
	pairing->start(&bare);
	bool fine = real_init(&real, pairing->name, &plan, error);
	if (fine)
		bench_compare(
			figures, name, "ns/operation",
			&(struct bench_runner){ real_run, &real, 2ull * steps }, pairing->yardstick,
			&(struct bench_runner){ pairing->run, &bare, 2ull * steps }, pairing->goal);
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

bool bench_frames(const struct bench_options *options, GArray *figures, GError **error)
{
	uint32_t steps = (uint32_t)(STEPS_FULL / 100 * options->scale);

	for (gsize i = 0; i < G_N_ELEMENTS(pairings); i++)
		if (!compare(&pairings[i], steps, figures, error))
			return false;
	return true;
}
