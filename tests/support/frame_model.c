#include "tests/support/frame_model.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

void frame_model_init(struct frame_model *model, const struct memmap *map)
{
	model->map = map;
	model->used = calloc(map->frames, 1);
}

void frame_model_fini(struct frame_model *model)
{
	free(model->used);
}

int64_t frame_model_index(const struct frame_model *model, uint64_t frame)
{
	uint64_t before = 0;

	for (uint32_t i = 0; i < model->map->count; i++) {
		const struct frame_range *r = &model->map->ranges[i];

		if (frame >= r->first.n && frame < r->first.n + r->frames)
			return (int64_t)(before + frame - r->first.n);
		before += r->frames;
	}
	return -1;
}

uint64_t frame_model_used(const struct frame_model *model)
{
	uint64_t used = 0;

	for (uint64_t i = 0; i < model->map->frames; i++)
		used += model->used[i];
	return used;
}

bool frame_model_has_run(const struct frame_model *model, uint64_t n, uint64_t align)
{
	uint64_t before = 0;

	for (uint32_t i = 0; i < model->map->count; i++) {
		const struct frame_range *r = &model->map->ranges[i];
		uint64_t run = 0;

		for (uint64_t f = 0; f < r->frames; f++) {
			if (model->used[before + f])
				run = 0;
			else if (run || (r->first.n + f) % align == 0)
				run++;
			/* A run counts from its last aligned start on. */
			if (run >= n)
				return true;
		}
		before += r->frames;
	}
	return false;
}

static void model_set(struct frame_model *model, const struct frame_block *block, int used,
		      const char *who)
{
	for (uint64_t i = 0; i < block->frames; i++) {
		int64_t at = frame_model_index(model, block->first.n + i);

		expect(at >= 0, "%s: frame %lu is not in the map", who, block->first.n + i);
		expect(model->used[at] != used, "%s: frame %lu handed out twice", who,
		       block->first.n + i);
		model->used[at] = (unsigned char)used;
	}
}

void frame_customer_init(struct frame_customer *c, struct frame_instance *in, uint64_t seed)
{
	*c = (struct frame_customer){ .in = in, .random = seed * 2 + 1 };
	frame_model_init(&c->model, &in->map);
	c->live_room = (unsigned)in->map.frames + 1;
	c->live = calloc(c->live_room, sizeof(*c->live));
	c->digest = 0xcbf29ce484222325;
	c->max_run = (unsigned)(in->map.frames / 16 + 1);
}

void frame_customer_fini(struct frame_customer *c)
{
	frame_model_fini(&c->model);
	free(c->live);
}

/* xorshift64* */
uint64_t frame_customer_random(struct frame_customer *c)
{
	c->random ^= c->random >> 12;
	c->random ^= c->random << 25;
	c->random ^= c->random >> 27;
	return c->random * 0x2545f4914f6cdd1d >> 16;
}

static struct frame_request some_request(struct frame_customer *c)
{
	unsigned caps = c->in->frames.ops->caps;
	struct frame_request r = { .frames = 1, .align_frames = 1 };

	if ((caps & FRAME_CAP_RUNS) && frame_customer_random(c) % 3 == 0)
		r.frames = (uint32_t)(1 + frame_customer_random(c) % c->max_run);
	if ((caps & FRAME_CAP_ALIGN) && frame_customer_random(c) % 4 == 0)
		r.align_frames = 1u << frame_customer_random(c) % 8;
	r.mobility = (uint8_t)(frame_customer_random(c) % 3);
	return r;
}

static void customer_alloc(struct frame_customer *c)
{
	const char *name = c->in->frames.ops->name;
	struct frame_request r = some_request(c);
	struct frame_block b = { { 123456789 }, 77 };
	int error = frame_alloc(&c->in->frames, &r, &b);

	c->digest = (c->digest ^ (error ? ~0ull : b.first.n)) * 0x100000001b3;
	if (error) {
		expect(error == KERR_NO_MEMORY || error == KERR_UNSUPPORTED,
		       "%s: alloc of %u frames: %d", name, r.frames, error);
		expect(b.first.n == 123456789 && b.frames == 77,
		       "%s: a failure touched its out parameter", name);
		c->failures++;
		return;
	}
	expect(b.frames >= r.frames, "%s: %u frames asked, %u given", name, r.frames, b.frames);
	expect(b.first.n % r.align_frames == 0, "%s: frame %lu is not aligned to %u", name,
	       b.first.n, r.align_frames);
	model_set(&c->model, &b, 1, name);
	expect(c->live_count < c->live_room, "c->live_count");
	c->live[c->live_count++] = b;
}

static void customer_give(struct frame_customer *c, struct frame_block b)
{
	int error = frame_free(&c->in->frames, &b);

	expect(error == 0, "%s: free of [%lu, +%u): %d", c->in->frames.ops->name, b.first.n,
	       b.frames, error);
	model_set(&c->model, &b, 0, c->in->frames.ops->name);
}

/* Frees a live block: all of it, or its two ends and the middle later. */
static void customer_free(struct frame_customer *c)
{
	unsigned i = (unsigned)(frame_customer_random(c) % c->live_count);
	struct frame_block *b = &c->live[i];

	if ((c->in->frames.ops->caps & FRAME_CAP_PARTIAL_FREE) && b->frames > 1 &&
	    frame_customer_random(c) % 3 == 0) {
		uint32_t part = (uint32_t)(1 + frame_customer_random(c) % (b->frames - 1));
		bool tail = frame_customer_random(c) % 2;
		struct frame_block gone = { pfn_add(b->first, tail ? b->frames - part : 0), part };

		customer_give(c, gone);
		b->frames -= part;
		b->first.n += tail ? 0 : part;
		return;
	}
	struct frame_block whole = *b;

	*b = c->live[--c->live_count];
	customer_give(c, whole);
}

void frame_customer_step(struct frame_customer *c)
{
	/* Phases of growth and of shrinking, so that full and empty are both seen. */
	bool grow = frame_customer_random(c) % 100 < (c->random >> 58 ? 55 : 70);

	if (!c->live_count || grow || !(c->in->frames.ops->caps & FRAME_CAP_FREE))
		customer_alloc(c);
	else
		customer_free(c);
}

void frame_customer_free_all(struct frame_customer *c)
{
	while (c->live_count) {
		unsigned i = (unsigned)(frame_customer_random(c) % c->live_count);
		struct frame_block b = c->live[i];

		c->live[i] = c->live[--c->live_count];
		customer_give(c, b);
	}
}

struct agreement {
	const struct frame_customer *c;
	uint32_t range; /* the range that the next extent begins in */
	uint64_t next;	/* where it must begin */
	uint64_t index; /* position among the map's frames */
	uint64_t free_frames;
	uint64_t kept_frames; /* used, but not the customer's */
};

static int agree(void *ctx, const struct frame_extent *e)
{
	struct agreement *a = ctx;
	const struct memmap *map = a->c->model.map;
	const char *name = a->c->in->frames.ops->name;

	expect(a->range < map->count, "%s: walk() goes on behind the map", name);
	const struct frame_range *r = &map->ranges[a->range];

	expect(e->first.n == a->next, "%s: walk() says %lu, next is %lu", name, e->first.n,
	       a->next);
	expect(e->frames && e->first.n + e->frames <= r->first.n + r->frames,
	       "%s: walk() leaves a range at %lu", name, e->first.n);
	for (uint64_t i = 0; i < e->frames; i++) {
		bool used = a->c->model.used[a->index + i];

		expect(e->state == FRAME_USED || !used,
		       "%s: walk() says the customer's frame %lu is free", name, e->first.n + i);
		a->kept_frames += e->state == FRAME_USED && !used;
	}
	a->index += e->frames;
	a->next += e->frames;
	a->free_frames += e->state == FRAME_FREE ? e->frames : 0;
	if (a->next == r->first.n + r->frames && ++a->range < map->count)
		a->next = map->ranges[a->range].first.n;
	return 0;
}

void frame_customer_assert_agreement(const struct frame_customer *c)
{
	struct agreement a = { .c = c, .next = c->model.map->ranges[0].first.n };
	const struct frame_ops *ops = c->in->frames.ops;
	struct frame_stats stats;

	ops->stats(c->in->frames.state, &stats);
	expect_eq(stats.managed_frames, c->model.map->frames);
	expect_eq(ops->walk(c->in->frames.state, agree, &a), 0);
	expect(a.index == c->model.map->frames, "%s: walk() reported %lu of %lu frames", ops->name,
	       a.index, c->model.map->frames);
	expect(a.free_frames == stats.free_frames, "%s: walk() counts %lu free, stats() %lu",
	       ops->name, a.free_frames, stats.free_frames);
	/* Frames that are nobody's must be accounted for. */
	expect(a.kept_frames == stats.kept_frames,
	       "%s: %lu frames are nobody's, %lu kept for records", ops->name, a.kept_frames,
	       stats.kept_frames);
}
