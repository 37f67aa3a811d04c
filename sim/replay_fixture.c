/* A fixture as the start state of a pass: what is held before the trace's own start section. */
#include "sim/fixture.h"
#include "sim/lab.h"
#include "sim/random.h"
#include "sim/session.h"

/* In what order the frames of a fixture are dealt with: in sweeps up through RAM, each frame in the
 * sweep that the seed says. That scatters neighbours, and an allocator that keeps a list by address
 * walks it once a sweep, not half of it for every frame. */
#define SWEEPS 16

static unsigned sweep_of(uint64_t frame, uint64_t seed)
{
	return (unsigned)(random_mix(random_mix(seed) ^ frame) % SWEEPS);
}

static int compare_frames(uint64_t a, uint64_t b, uint64_t seed)
{
	unsigned sweep_a = sweep_of(a, seed), sweep_b = sweep_of(b, seed);

	if (sweep_a != sweep_b)
		return sweep_a < sweep_b ? -1 : 1;
	return a < b ? -1 : a > b;
}

static int by_frame(const void *a, const void *b, void *seed)
{
	return compare_frames(*(const uint64_t *)a, *(const uint64_t *)b, *(const uint64_t *)seed);
}

static int by_block(const void *a, const void *b, void *seed)
{
	const struct frame_block *one = a, *other = b;

	return compare_frames(one->first.n, other->first.n, *(const uint64_t *)seed);
}

static GArray *held_frames(const struct session *session)
{
	const struct fixture *fixture = session->config->fixture;
	const GArray *usable = session->machine->usable;
	uint64_t seed = session->config->seed;
	GArray *frames = g_array_new(FALSE, FALSE, sizeof(uint64_t));

	for (guint i = 0; i < usable->len; i++) {
		const struct frame_range *range = &g_array_index(usable, struct frame_range, i);
		for (uint64_t k = 0; k < range->frames; k++) {
			uint64_t frame = range->first.n + k;
			if (fixture->held(frame, seed))
				g_array_append_val(frames, frame);
		}
	}
	g_array_sort_with_data(frames, by_frame, &seed);
	return frames;
}

static void hold_by_number(struct session *session)
{
	const struct fixture *fixture = session->config->fixture;

	/* The session's, because kernel code may be left at any point. */
	session->held = held_frames(session);
	for (guint i = 0; i < session->held->len; i++) {
		uint64_t frame = g_array_index(session->held, uint64_t, i);
		struct frame_request request = {
			.frames = 1,
			.align_frames = 1,
			.mobility = fixture->mobility(frame, session->config->seed),
			.flags = FRAME_AT,
			.at = { frame },
		};
		/* Boot has taken some. */
		if (ledger_owner(session->ledger, frame) == LEDGER_FREE)
			session_hold(session, &request);
	}
}

/* A block for one frame may be larger: all of it is held where any of it is. */
static bool holds_any(const struct session *session, const struct frame_block *block)
{
	const struct fixture *fixture = session->config->fixture;

	for (uint32_t i = 0; i < block->frames; i++)
		if (fixture->held(block->first.n + i, session->config->seed))
			return true;
	return false;
}

/* Takes all there is; what the fixture does not hold goes back. Mobility cannot be known before the
 * frame is: a system that would look at it is asked for movable frames. */
static void fill_and_thin(struct session *session)
{
	const struct frame_request one = { .frames = 1,
					   .align_frames = 1,
					   .mobility = FRAME_MOVABLE };
	uint64_t seed = session->config->seed;
	GArray *taken = session->untouched;
	guint kept = 0;

	while (session_hold(session, &one))
		;
	g_array_sort_with_data(taken, by_block, &seed);
	for (guint i = 0; i < taken->len; i++) {
		struct frame_block block = g_array_index(taken, struct frame_block, i);
		if (holds_any(session, &block))
			g_array_index(taken, struct frame_block, kept++) = block;
		else
			session_let_go(session, &block);
	}
	g_array_set_size(taken, kept);
}

bool fixture_can_reach(const struct fixture *fixture, const struct frame_ops *ops, GError **error)
{
	return (ops->caps & (FRAME_CAP_AT | FRAME_CAP_FREE)) ||
	       lab_usage(error,
			 "%s cannot be brought into the state '%s': it neither frees nor takes "
			 "frames by number",
			 ops->name, fixture->name);
}

void session_fixture(struct session *session)
{
	unsigned caps = session->frames.ops->caps;

	/* By number each frame gets its mobility; it may cost a search, and where mobility is not
	 * looked at it is not needed. */
	if ((caps & FRAME_CAP_AT) && (!(caps & FRAME_CAP_FREE) || (caps & FRAME_CAP_MOBILITY)))
		hold_by_number(session);
	else
		fill_and_thin(session);
	if (!fixture_compare(session->config->fixture, session->machine->usable,
			     session->config->seed, session->ledger, &session->result->fixture))
		session->error = g_error_new(LAB_ERROR, LAB_ERROR_LAB,
					     "lab error: the host has no address space for a "
					     "second ledger");
}
