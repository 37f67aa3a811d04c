#include "tests/support/frame_instance.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE	     4096u
#define CANARY	     0xc5
#define DIRECT_MAP   0xffff888000000000
#define SPARE_RANGES 8

static char *state_new(uint64_t room)
{
	char *state = mmap(NULL, room + PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ck_assert_ptr_ne(state, MAP_FAILED);
	expect_eq(mprotect(state + room, PAGE, PROT_NONE), 0);
	return state;
}

struct frame_instance *frame_instance_new(const struct frame_ops *ops, const struct memmap *map,
					  const struct frame_config *config)
{
	struct frame_instance *in = calloc(1, sizeof(*in));

	in->machine = stub_machine_new(map->end.n * PAGE, (struct vaddr){ DIRECT_MAP }, true);
	stub_machine_use(in->machine);
	stub_machine_skip_boot(in->machine);
	/* Some ranges of zero frames follow: a checker that runs past the end meets those. */
	in->ranges = calloc(map->count + SPARE_RANGES, sizeof(*in->ranges));
	memcpy(in->ranges, map->ranges, map->count * sizeof(*in->ranges));
	in->map = *map;
	in->map.ranges = in->ranges;
	if (config)
		in->config = *config;
	else
		frame_config_defaults(ops, &in->config);
	in->config.reach.direct = (struct vaddr){ DIRECT_MAP };
	in->config.reach.direct_end = map->end;
	in->frames.ops = ops;

	in->refused = "no reason was given";
	in->state_bytes = ops->state_bytes(&in->map, &in->config, &in->refused);
	if (!in->state_bytes)
		return in;
	in->refused = NULL;
	in->state_room = (in->state_bytes + PAGE - 1) / PAGE * PAGE;
	in->frames.state = state_new(in->state_room);
	memset((char *)in->frames.state + in->state_bytes, CANARY,
	       in->state_room - in->state_bytes);
	expect_eq(ops->init(in->frames.state, &in->map, &in->config), 0);
	return in;
}

void frame_instance_free(struct frame_instance *in)
{
	if (in->frames.state) {
		frame_instance_assert_canary(in);
		munmap(in->frames.state, in->state_room + PAGE);
	}
	stub_machine_free(in->machine);
	free(in->ranges);
	free(in);
}

void frame_instance_assert_canary(const struct frame_instance *in)
{
	const unsigned char *state = in->frames.state;

	for (uint64_t i = in->state_bytes; i < in->state_room; i++)
		expect(state[i] == CANARY, "%s wrote behind its state, at byte %lu of %lu",
		       in->frames.ops->name, i, in->state_bytes);
}

void frame_instance_assert_sound(const struct frame_instance *in)
{
	struct violation v = { 0 };
	int error = in->frames.ops->check(in->frames.state, &v);

	expect(error == 0, "%s: check(): %d, invariant %u at frame %lu: %s", in->frames.ops->name,
	       error, v.invariant, v.frame.n, v.what);
}

uint64_t frame_instance_free_frames(const struct frame_instance *in)
{
	struct frame_stats stats;

	in->frames.ops->stats(in->frames.state, &stats);
	return stats.free_frames;
}

uint64_t frame_instance_kept_frames(const struct frame_instance *in)
{
	struct frame_stats stats;

	in->frames.ops->stats(in->frames.state, &stats);
	return stats.kept_frames;
}

bool frame_instance_may_refuse(const struct frame_instance *in)
{
	struct frame_stats stats;

	in->frames.ops->stats(in->frames.state, &stats);
	return stats.kept_frames || stats.brk_refused;
}

/* FNV-1a over the ends of maximal extents. */
struct digest {
	uint64_t hash;
	struct frame_extent open;
};

static void digest_close(struct digest *d)
{
	uint64_t words[3] = { d->open.first.n, d->open.frames, d->open.state };

	if (!d->open.frames)
		return;
	for (unsigned i = 0; i < 3; i++)
		d->hash = (d->hash ^ words[i]) * 0x100000001b3;
}

static int digest_extent(void *ctx, const struct frame_extent *e)
{
	struct digest *d = ctx;

	if (d->open.frames && d->open.state == e->state &&
	    d->open.first.n + d->open.frames == e->first.n) {
		d->open.frames += e->frames;
		return 0;
	}
	digest_close(d);
	d->open = *e;
	return 0;
}

uint64_t frame_instance_digest(const struct frame_instance *in)
{
	struct digest d = { .hash = 0xcbf29ce484222325 };

	expect_eq(in->frames.ops->walk(in->frames.state, digest_extent, &d), 0);
	digest_close(&d);
	return d.hash;
}

int frame_instance_alloc(struct frame_instance *in, uint32_t frames, struct frame_block *out)
{
	struct frame_request request = { .frames = frames, .align_frames = 1 };

	return frame_alloc(&in->frames, &request, out);
}

int frame_instance_take_at(struct frame_instance *in, uint64_t at, uint32_t frames,
			   struct frame_block *out)
{
	struct frame_request request = {
		.frames = frames, .align_frames = 1, .flags = FRAME_AT, .at = { at }
	};

	return frame_alloc(&in->frames, &request, out);
}

int frame_instance_give(struct frame_instance *in, uint64_t first, uint32_t frames)
{
	struct frame_block block = { { first }, frames };

	return frame_free(&in->frames, &block);
}
