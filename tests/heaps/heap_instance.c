#include "tests/heaps/heap_instance.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096u

/* ---- frames that fail ---- */

static int faulty_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct faulty_frames *f = state;

	if (f->calls++ == f->fail_at) {
		f->failed = true;
		return KERR_NO_MEMORY;
	}
	return f->inner.ops->alloc(f->inner.state, request, out);
}

static int faulty_free(void *state, const struct frame_block *block)
{
	struct faulty_frames *f = state;

	return f->inner.ops->free(f->inner.state, block);
}

static struct frame_ops faulty_ops_for(const struct frame_ops *ops)
{
	struct frame_ops faulty = *ops;

	faulty.alloc = faulty_alloc;
	faulty.free = faulty_free;
	return faulty;
}

/* ---- instances ---- */

static struct frame_range one_range[1];

static struct frame_instance *frames_of(const struct frame_ops *ops, unsigned megabytes)
{
	uint64_t frames = (uint64_t)megabytes * 256;
	struct memmap map = { one_range, 1, frames - 16, { 16 }, { frames } };

	one_range[0] = (struct frame_range){ { 16 }, frames - 16 };
	return frame_instance_new(ops, &map, NULL);
}

struct heap_instance *heap_instance_new(const struct heap_ops *ops,
					const struct heap_config *config,
					const struct frame_ops *frames, unsigned megabytes)
{
	struct heap_instance *in = calloc(1, sizeof(*in));
	struct frame_ops *faulty = malloc(sizeof(*faulty));
	const char *why = NULL;

	in->frames = frames_of(frames, megabytes);
	*faulty = faulty_ops_for(frames);
	in->faulty = (struct faulty_frames){ in->frames->frames, 0, UINT64_MAX, false };
	if (config)
		in->config = *config;
	else
		heap_config_defaults(ops, &in->config);
	in->config.frames = (struct frames){ faulty, &in->faulty };
	reach_bind(&in->config.reach, &in->frames->config.reach);
	in->config.map = &in->frames->map;
	in->frames_before = frame_instance_free_frames(in->frames);
	in->state_bytes = ops->state_bytes(&in->config, &why);
	expect(in->state_bytes > 0, "%s: refused: %s", ops->name, why);
	in->state_room = (in->state_bytes + PAGE - 1) / PAGE * PAGE;
	in->heap.ops = ops;
	in->heap.state = mmap(NULL, in->state_room, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(in->heap.state != MAP_FAILED, "mmap");
	expect_eq(ops->init(in->heap.state, &in->config), 0);
	return in;
}

void heap_instance_free(struct heap_instance *in)
{
	free((void *)(uintptr_t)in->config.frames.ops);
	munmap(in->heap.state, in->state_room);
	frame_instance_free(in->frames);
	free(in);
}

void heap_instance_assert_sound(const struct heap_instance *in)
{
	struct heap_violation v = { 0 };
	int error = in->heap.ops->check(in->heap.state, &v);

	expect(error == 0, "%s: check(): %d, invariant %u at %p: %s", in->heap.ops->name, error,
	       v.invariant, v.at, v.what);
	frame_instance_assert_sound(in->frames);
}

int heap_instance_alloc(struct heap_instance *in, uint64_t bytes, uint32_t align, void **out)
{
	struct heap_request request = { .bytes = bytes, .align_bytes = align };

	return heap_alloc(&in->heap, &request, out);
}

/* ---- the customer ---- */

void heap_customer_init(struct heap_customer *c, struct heap_instance *in, uint64_t seed)
{
	bool any = in->heap.ops->caps & HEAP_CAP_ANY_SIZE;

	*c = (struct heap_customer){ .in = in,
				     .random = seed * 0x9e3779b97f4a7c15 + 1,
				     .room = 512,
				     .bytes_max = any ? 100000 : 4096,
				     .align_max = any ? 1 << 16 : 4096 };
	c->live = calloc(c->room, sizeof(*c->live));
}

void heap_customer_fini(struct heap_customer *c)
{
	free(c->live);
}

uint64_t heap_customer_random(struct heap_customer *c)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return c->random;
}

static unsigned char content(const struct heap_object *o, uint64_t i)
{
	return (unsigned char)((o->seed + i) * 167 >> 3);
}

static void fill(const struct heap_object *o)
{
	for (uint64_t i = 0; i < o->bytes; i++)
		o->at[i] = content(o, i);
}

static void verify(const struct heap_customer *c, const struct heap_object *o, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i++)
		expect(o->at[i] == content(o, i),
		       "%s: byte %lu of an object of %lu at %p was overwritten",
		       c->in->heap.ops->name, i, o->bytes, (void *)o->at);
}

static void assert_apart(const struct heap_customer *c, const struct heap_object *fresh)
{
	for (unsigned i = 0; i < c->count; i++) {
		const struct heap_object *o = &c->live[i];
		expect(fresh->at + fresh->bytes <= o->at || o->at + o->bytes <= fresh->at,
		       "%s: objects at %p and %p overlap", c->in->heap.ops->name, (void *)fresh->at,
		       (void *)o->at);
	}
}

/* Mostly small, now and then large: uniform in the exponent. */
static uint64_t some_bytes(struct heap_customer *c)
{
	uint64_t limit = 1ull << heap_customer_random(c) % 18;

	limit = limit < c->bytes_max ? limit : c->bytes_max;
	return heap_customer_random(c) % (limit + 1);
}

static uint32_t some_align(struct heap_customer *c)
{
	uint64_t align = 1ull << heap_customer_random(c) % 21;

	return heap_customer_random(c) % 4 || align > c->align_max ? 0 : (uint32_t)align;
}

static void note(struct heap_customer *c, const void *at)
{
	uint64_t offset = at ? (uint64_t)((const char *)at - c->in->config.reach.base) : 1;

	c->digest = (c->digest ^ offset) * 0x100000001b3;
}

static void assert_place(const struct heap_customer *c, const struct heap_object *o, uint32_t align)
{
	const struct heap *heap = &c->in->heap;
	uint64_t usable = heap->ops->usable(heap->state, o->at);

	align = align ? align : HEAP_ALIGN_DEFAULT;
	expect((uintptr_t)o->at % align == 0, "%s: %p is not aligned to %u", heap->ops->name,
	       (void *)o->at, align);
	expect(usable >= o->bytes, "%s: %lu bytes usable of %lu asked for", heap->ops->name, usable,
	       o->bytes);
}

static void customer_alloc(struct heap_customer *c)
{
	struct heap_object o = { .bytes = some_bytes(c),
				 .seed = (uint32_t)heap_customer_random(c) };
	uint32_t align = some_align(c);
	void *at = NULL;
	int error = heap_instance_alloc(c->in, o.bytes, align, &at);

	note(c, error ? NULL : at);
	if (error) {
		expect(at == NULL, "%s: a failed request wrote its result", c->in->heap.ops->name);
		c->failures++;
		return;
	}
	o.at = at;
	assert_place(c, &o, align);
	assert_apart(c, &o);
	fill(&o);
	c->live[c->count++] = o;
}

static void customer_free(struct heap_customer *c, unsigned i)
{
	struct heap_object o = c->live[i];
	bool frees = c->in->heap.ops->caps & HEAP_CAP_FREE;

	verify(c, &o, o.bytes);
	c->live[i] = c->live[--c->count];
	expect_eq(heap_free(&c->in->heap, o.at), frees ? 0 : KERR_UNSUPPORTED);
}

static void customer_realloc(struct heap_customer *c, unsigned i)
{
	struct heap_object o = c->live[i], grown = o;
	struct heap_request request = { .bytes = some_bytes(c) };
	void *at = o.at;

	grown.bytes = request.bytes;
	int error = heap_realloc(&c->in->heap, &request, &at);
	note(c, error ? NULL : at);
	if (error) {
		expect(at == o.at, "%s: a failed realloc moved", c->in->heap.ops->name);
		verify(c, &o, o.bytes);
		c->failures++;
		return;
	}
	grown.at = at;
	verify(c, &grown, o.bytes < grown.bytes ? o.bytes : grown.bytes);
	c->live[i] = c->live[--c->count];
	assert_place(c, &grown, 0);
	assert_apart(c, &grown);
	fill(&grown);
	c->live[c->count++] = grown;
}

void heap_customer_step(struct heap_customer *c)
{
	unsigned dice = (unsigned)(heap_customer_random(c) % 16);
	unsigned victim = c->count ? (unsigned)(heap_customer_random(c) % c->count) : 0;

	c->in->frames->machine->cpu = dice % c->in->config.cpus;
	if (!c->count || (dice < 9 && c->count < c->room))
		customer_alloc(c);
	else if (dice < 11)
		customer_realloc(c, victim);
	else
		customer_free(c, victim);
}

void heap_customer_free_all(struct heap_customer *c)
{
	while (c->count)
		customer_free(c, c->count - 1);
}

struct seen {
	const struct heap_customer *customer;
	uint64_t used;
};

static int see(void *ctx, const struct heap_extent *extent)
{
	struct seen *seen = ctx;
	const struct heap_customer *c = seen->customer;

	if (extent->state != HEAP_USED)
		return 0;
	seen->used++;
	for (unsigned i = 0; i < c->count; i++)
		if (c->live[i].at == extent->at && extent->bytes >= c->live[i].bytes)
			return 0;
	ck_abort_msg("%s: walk() shows an object at %p that nobody has", c->in->heap.ops->name,
		     extent->at);
}

void heap_customer_assert_agreement(const struct heap_customer *c)
{
	const struct heap *heap = &c->in->heap;
	struct seen seen = { c, 0 };
	struct heap_stats stats;

	if (!(heap->ops->caps & HEAP_CAP_FREE))
		return;
	if (heap->ops->collect)
		heap->ops->collect(heap->state);
	expect_eq(heap->ops->walk(heap->state, see, &seen), 0);
	heap->ops->stats(heap->state, &stats);
	expect_eq(seen.used, c->count);
	expect_eq(stats.used_objects, c->count);
	expect_eq(stats.held_frames,
		  c->in->frames_before - frame_instance_free_frames(c->in->frames));
	expect(stats.used_bytes + stats.kept_bytes <= stats.held_frames * FRAME_BYTES,
	       "%s: more bytes are used and kept than frames are held", heap->ops->name);
}
