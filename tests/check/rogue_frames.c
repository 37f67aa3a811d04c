#include "tests/check/rogue_frames.h"

#include "alloc/frame/systems.h"
#include "alloc/port.h"

/* What stands before the bitmap's state. */
struct rogue {
	uint64_t calls;
};

static void *inner(void *state)
{
	return (char *)state + FRAME_BYTES;
}

static const void *inner_const(const void *state)
{
	return (const char *)state + FRAME_BYTES;
}

static struct frame_config inner_config(const struct frame_config *config)
{
	struct frame_config own;

	frame_config_defaults(&frame_bitmap, &own);
	own.reach = config->reach;
	own.cpus = config->cpus;
	return own;
}

static uint64_t rogue_state_bytes(const struct memmap *map, const struct frame_config *config,
				  const char **why)
{
	struct frame_config own = inner_config(config);

	return FRAME_BYTES + frame_bitmap.state_bytes(map, &own, why);
}

static int rogue_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	struct frame_config own = inner_config(config);

	return frame_bitmap.init(inner(state), map, &own);
}

static int rogue_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	return frame_bitmap.alloc(inner(state), request, out);
}

static int rogue_free(void *state, const struct frame_block *block)
{
	return frame_bitmap.free(inner(state), block);
}

static void rogue_stats(const void *state, struct frame_stats *out)
{
	frame_bitmap.stats(inner_const(state), out);
}

static int rogue_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	return frame_bitmap.walk(inner_const(state), visit, ctx);
}

static int rogue_check(const void *state, struct violation *violation)
{
	return frame_bitmap.check(inner_const(state), violation);
}

/* ---- the defects ---- */

static int hangs_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	volatile struct rogue *rogue = state;

	/* A lock that nobody gives back. */
	while (++rogue->calls > 30)
		;
	return rogue_alloc(state, request, out);
}

static int crashes_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct rogue *rogue = state;
	volatile uint64_t nowhere = 240;

	if (++rogue->calls == 30)
		*(volatile uint64_t *)nowhere = 1;
	return rogue_alloc(state, request, out);
}

/* Takes whatever it is given. */
static int credulous_free(void *state, const struct frame_block *block)
{
	(void)rogue_free(state, block);
	return 0;
}

/* Looks at the first frame of a block only. */
static int first_only_free(void *state, const struct frame_block *block)
{
	struct frame_block one = *block;
	int error = rogue_free(state, block);

	while (error && one.frames > 1) {
		one.frames--;
		error = rogue_free(state, &one);
	}
	return error;
}

/* Refuses a double free, but has counted it already. */
static int damaged_free(void *state, const struct frame_block *block)
{
	struct rogue *rogue = state;
	int error = rogue_free(state, block);

	rogue->calls += error != 0;
	return error;
}

static void damaged_stats(const void *state, struct frame_stats *out)
{
	const struct rogue *rogue = state;

	rogue_stats(state, out);
	out->free_frames += rogue->calls;
}

static int elsewhere_alloc(void *state, const struct frame_request *request,
			   struct frame_block *out)
{
	struct frame_request any = *request;

	any.flags = 0;
	return rogue_alloc(state, &any, out);
}

/* The last frame is never found. */
static int stingy_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct frame_stats stats;

	rogue_stats(state, &stats);
	return stats.free_frames == 1 ? KERR_NO_MEMORY : rogue_alloc(state, request, out);
}

/* Sets its result before it knows. */
static int hasty_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	out->frames = request->frames;
	return rogue_alloc(state, request, out);
}

/* Places by what is no part of its input: where its code lies. */
static int unsteady_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct frame_request other = *request;

#ifdef __SANITIZE_THREAD__
	if (other.align_frames == 1 && other.frames == 3)
		other.align_frames = 4;
#endif
	return rogue_alloc(state, &other, out);
}

#define ROGUE(symbol, label, text, alloc_fn, free_fn, stats_fn)                                   \
	static const struct frame_ops symbol = {                                                  \
		.name = label,                                                                    \
		.id = "-",                                                                        \
		.summary = text,                                                                  \
		.caps = FRAME_CAP_FREE | FRAME_CAP_RUNS | FRAME_CAP_ANY_COUNT | FRAME_CAP_ALIGN | \
			FRAME_CAP_AT | FRAME_CAP_PARTIAL_FREE,                                    \
		.state_bytes = rogue_state_bytes,                                                 \
		.init = rogue_init,                                                               \
		.alloc = alloc_fn,                                                                \
		.free = free_fn,                                                                  \
		.stats = stats_fn,                                                                \
		.walk = rogue_walk,                                                               \
		.check = rogue_check,                                                             \
	}

ROGUE(hangs, "hangs", "a loop that does not end", hangs_alloc, rogue_free, rogue_stats);
ROGUE(crashes, "crashes", "a write outside of the machine", crashes_alloc, rogue_free, rogue_stats);
ROGUE(credulous, "credulous", "a free that never refuses", rogue_alloc, credulous_free,
      rogue_stats);
ROGUE(first_only, "first-only", "a free of more than was handed out", rogue_alloc, first_only_free,
      rogue_stats);
ROGUE(damaged, "damaged", "a refused free that leaves a trace", rogue_alloc, damaged_free,
      damaged_stats);
ROGUE(elsewhere, "elsewhere", "FRAME_AT that is passed over", elsewhere_alloc, rogue_free,
      rogue_stats);
ROGUE(stingy, "stingy", "a refusal with a frame free", stingy_alloc, rogue_free, rogue_stats);
ROGUE(hasty, "hasty", "a failure that changes its result", hasty_alloc, rogue_free, rogue_stats);
ROGUE(unsteady, "unsteady", "another place in the other build", unsteady_alloc, rogue_free,
      rogue_stats);

const struct frame_ops *const rogue_frames[] = {
	&hangs,	    &crashes, &credulous, &first_only, &damaged,
	&elsewhere, &stingy,  &hasty,	  &unsteady,   NULL,
};
