/*
 * frame.c - the front door of the page-frame allocators, and their registry.
 */
#include "alloc/bitops.h"
#include "alloc/frame/frame.h"
#include "alloc/frame/systems.h"
#include "alloc/lock.h"

/* clang-format off */
const struct frame_ops *const frame_registry[] = {
	&frame_null,
	&frame_placement,
	&frame_bitmap,
	&frame_bitmap_lockless,
	&frame_range_list,
	&frame_stack,
	&frame_stack_lazy,
	&frame_split,
	&frame_memblock,
	&frame_two_ended,
	&frame_buddy,
	&frame_zoned_buddy,
	&frame_llfree,
	NULL,
};
/* clang-format on */

const char *const frame_cap_names[] = {
	"runs",	 "any-count", "align",	  "at",	      "free",	     "partial-free",
	"zones", "mobility",  "lockless", "in-frame", "touches-all", NULL,
};

#define FRAME_REQUEST_MAX (1ull << 31)

static bool names_equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

const struct frame_ops *frame_find(const char *name)
{
	for (const struct frame_ops *const *ops = frame_registry; *ops; ops++)
		if (names_equal((*ops)->name, name))
			return *ops;
	return NULL;
}

void frame_config_defaults(const struct frame_ops *ops, struct frame_config *config)
{
	*config = (struct frame_config){ .cpus = 1 };
	if (!ops->options)
		return;
	for (unsigned i = 0; i < FRAME_OPTIONS_MAX && ops->options[i].key; i++)
		config->option[i] = ops->options[i].value;
}

/* Alignment that every block of so many frames has without asking. */
static uint64_t natural_alignment(unsigned caps, uint32_t frames)
{
	return (caps & FRAME_CAP_ANY_COUNT) ? 1 : 1ull << order_for(frames);
}

/* The rare requests: everything but one frame anywhere. */
static int request_is_served(unsigned caps, const struct frame_request *r)
{
	if (!r->frames || r->frames > FRAME_REQUEST_MAX || !is_power_of_two(r->align_frames))
		return KERR_INVALID;
	if (r->frames > 1 && !(caps & FRAME_CAP_RUNS))
		return KERR_UNSUPPORTED;
	if (r->align_frames > 1 && !(caps & FRAME_CAP_ALIGN) &&
	    r->align_frames > natural_alignment(caps, r->frames))
		return KERR_UNSUPPORTED;
	if (r->flags & FRAME_AT) {
		if (!(caps & FRAME_CAP_AT))
			return KERR_UNSUPPORTED;
		if (r->at.n & (r->align_frames - 1))
			return KERR_INVALID;
	}
	return 0;
}

int frame_alloc(const struct frames *frames, const struct frame_request *request,
		struct frame_block *out)
{
	if (request->frames != 1 || request->align_frames != 1 || request->flags) {
		int error = request_is_served(frames->ops->caps, request);

		if (error)
			return error;
	}
	if (!frames->lock)
		return frames->ops->alloc(frames->state, request, out);
	spin_lock(frames->lock);
	int status = frames->ops->alloc(frames->state, request, out);
	spin_unlock(frames->lock);
	return status;
}

int frame_free(const struct frames *frames, const struct frame_block *block)
{
	/* None, or too many. */
	if (block->frames - 1u >= FRAME_REQUEST_MAX ||
	    block->first.n > UINT64_MAX - FRAME_REQUEST_MAX)
		return KERR_INVALID;
	if (!(frames->ops->caps & FRAME_CAP_FREE))
		return KERR_UNSUPPORTED;
	if (!frames->lock)
		return frames->ops->free(frames->state, block);
	spin_lock(frames->lock);
	int status = frames->ops->free(frames->state, block);
	spin_unlock(frames->lock);
	return status;
}
