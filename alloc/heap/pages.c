#include "alloc/heap/pages.h"

#include "alloc/heap/support.h"
#include "alloc/port.h"

#define REQUEST_FRAMES_MAX (1ull << 31)

void heap_pages_init(struct heap_pages *pages, const struct heap_config *config)
{
	*pages = (struct heap_pages){ .frames = config->frames,
				      .reach = config->reach,
				      .map = config->map };
	pages->header_sum = heap_header_sum(pages, offsetof(struct heap_pages, header_sum));
}

bool heap_pages_sound(const struct heap_pages *pages)
{
	return pages->header_sum == heap_header_sum(pages, offsetof(struct heap_pages, header_sum));
}

static bool give(const struct heap_pages *pages, uint64_t first, uint64_t frames)
{
	struct frame_block block = { pfn(first), (uint32_t)frames };

	return frame_free(&pages->frames, &block) == 0;
}

/* Keeps FRAMES of the block, gives the rest back if the allocator takes parts. */
static uint32_t trim(const struct heap_pages *pages, const struct frame_block *block,
		     uint64_t frames)
{
	if (block->frames == frames || !(pages->frames.ops->caps & FRAME_CAP_PARTIAL_FREE) ||
	    !give(pages, block->first.n + frames, block->frames - frames))
		return block->frames;
	return (uint32_t)frames;
}

struct heap_run heap_pages_get(struct heap_pages *pages, uint64_t frames, uint64_t align_frames,
			       uint8_t zone)
{
	const struct frame_ops *ops = pages->frames.ops;
	struct frame_request request = { .frames = (uint32_t)frames,
					 .align_frames = (uint32_t)align_frames,
					 .zone = zone,
					 .cpu = (uint16_t)port_cpu() };
	struct frame_block block;

	if (frames > REQUEST_FRAMES_MAX)
		return (struct heap_run){ NULL, 0 };
	/* Blocks that are aligned to their size: a larger one is aligned to more. */
	if (!(ops->caps & (FRAME_CAP_ALIGN | FRAME_CAP_ANY_COUNT)) && align_frames > frames)
		request.frames = (uint32_t)align_frames;
	if (frame_alloc(&pages->frames, &request, &block) != 0)
		return (struct heap_run){ NULL, 0 };
	if (!reach_is_direct(&pages->reach, pfn_add(block.first, block.frames - 1)))
		port_panic("a heap of the direct map got frames beyond it");
	uint32_t kept = trim(pages, &block, frames);
	pages->held_frames += kept;
	return (struct heap_run){ frame_direct(&pages->reach, block.first), kept };
}

void heap_pages_put(struct heap_pages *pages, struct heap_run run)
{
	pages->held_frames -= run.frames;
	if ((pages->frames.ops->caps & FRAME_CAP_FREE) &&
	    !give(pages, heap_frame_of(pages, run.at), run.frames))
		port_panic("the frame allocator refuses frames that a heap got from it");
}

bool heap_pages_possible(const struct heap_pages *pages, const void *at)
{
	uint64_t frame = heap_frame_of(pages, at);

	for (uint32_t i = 0; i < pages->map->count; i++)
		if (frame - pages->map->ranges[i].first.n < pages->map->ranges[i].frames)
			return true;
	return false;
}
