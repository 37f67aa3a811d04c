/*
 * The binary buddy with one mistake each, of the kind that is really made. It is the allocator's
 * own source under another name, so that a mistake stands in the middle of the real structure.
 */
#define frame_buddy planted_sound
#include "alloc/frame/buddy.c"

#include "tests/check/rogue_frames.h"

/* The upper half of a split goes on no list: it is lost. */
static int lost_split_alloc(void *state, const struct frame_request *request,
			    struct frame_block *out)
{
	struct buddy *b = state;
	int error = buddy_alloc(state, request, out);

	if (error || request->flags)
		return error;
	uint32_t half = (uint32_t)managed_index(b, out->first, 1) ^ out->frames;
	unsigned order = order_for(out->frames);

	if (order < b->shape.max_order && half < b->shape.spans.indices &&
	    kinds(b)[half] == (KIND_FREE | order)) {
		list_remove(b, half, order);
		kinds(b)[half] = (uint8_t)(KIND_USED | order);
		b->free_frames -= out->frames;
	}
	return 0;
}

/* A block that comes back never looks for its buddy. */
static int unmerged_free(void *state, const struct frame_block *block)
{
	struct buddy *b = state;
	uint64_t index = managed_index(b, block->first, block->frames);
	unsigned order = order_for(block->frames);

	if (index == SPANS_NONE || kinds(b)[index] != (KIND_USED | order))
		return buddy_free(state, block);
	list_push(b, (uint32_t)index, order);
	b->free_frames += block->frames;
	return 0;
}

/* The last frame of the map is taken for the one behind it. */
static int off_by_one_alloc(void *state, const struct frame_request *request,
			    struct frame_block *out)
{
	const struct buddy *b = state;
	int error = buddy_alloc(state, request, out);

	if (!error && out->first.n + out->frames == b->map.end.n)
		out->first.n++;
	return error;
}

/* A frame less than is needed: what stands at the end lies in the first range. */
static uint64_t overlap_state_bytes(const struct memmap *map, const struct frame_config *config,
				    const char **why)
{
	uint64_t bytes = buddy_state_bytes(map, config, why);

	return bytes > FRAME_BYTES ? bytes - FRAME_BYTES : bytes;
}

#define PLANTED(symbol, label, text, bytes_fn, alloc_fn, free_fn)                          \
	static const struct frame_ops symbol = {                                           \
		.name = label,                                                             \
		.id = "-",                                                                 \
		.summary = text,                                                           \
		.caps = FRAME_CAP_RUNS | FRAME_CAP_ALIGN | FRAME_CAP_AT | FRAME_CAP_FREE | \
			FRAME_CAP_PARTIAL_FREE,                                            \
		.options = options,                                                        \
		.state_bytes = bytes_fn,                                                   \
		.init = buddy_init,                                                        \
		.alloc = alloc_fn,                                                         \
		.free = free_fn,                                                           \
		.stats = buddy_stats,                                                      \
		.walk = buddy_walk,                                                        \
		.check = buddy_check,                                                      \
	}

PLANTED(lost_split, "lost-split", "half of what is split is lost", buddy_state_bytes,
	lost_split_alloc, buddy_free);
PLANTED(unmerged, "unmerged", "buddies that stay apart", buddy_state_bytes, buddy_alloc,
	unmerged_free);
PLANTED(off_by_one, "off-by-one", "a limit that is one too high", buddy_state_bytes,
	off_by_one_alloc, buddy_free);
PLANTED(overlap, "overlap", "records that reach into the first range", overlap_state_bytes,
	buddy_alloc, buddy_free);

const struct frame_ops *const planted_frames[] = { &lost_split, &unmerged, &off_by_one, &overlap,
						   NULL };
