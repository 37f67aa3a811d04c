#include "tests/heaps/heap_instance.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

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

/* ---- a region of kernel addresses ---- */

#define REGION_ALIGN (2ull << 20)

sigjmp_buf heap_fault_jump;
volatile bool heap_fault_expected;
void *volatile heap_fault_at;

static struct heap_region *regions;

static uint64_t page_of(const struct heap_region *r, struct vaddr va)
{
	return (va.a - r->va.a) / PAGE;
}

static int region_prepare(void *context, struct vaddr va, uint64_t bytes)
{
	const struct heap_region *r = context;
	uint64_t offset = page_of(r, va) * PAGE;

	expect(offset <= r->bytes && bytes <= r->bytes - offset, "tables beyond the region");
	return 0;
}

static int region_map(void *context, struct vaddr va, struct pfn frame)
{
	const struct heap_region *r = context;
	uint64_t page = page_of(r, va);

	expect(page < r->bytes / PAGE && frame.n < r->machine->ram_bytes / PAGE, "a map beyond");
	if (r->frame[page])
		return KERR_INVALID;
	r->frame[page] = (uint32_t)frame.n + 1;
	expect(mmap(r->base + page * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		    r->machine->fd, (off_t)(frame.n * PAGE)) != MAP_FAILED,
	       "mmap of a page");
	return 0;
}

static void hide(const struct heap_region *r, uint64_t page, uint64_t pages)
{
	expect(mmap(r->base + page * PAGE, pages * PAGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED,
	       "munmap of a page");
}

static void region_unmap(void *context, struct vaddr va, uint64_t bytes, heap_unmapped_fn told,
			 void *told_context)
{
	const struct heap_region *r = context;

	hide(r, page_of(r, va), bytes / PAGE);
	for (uint64_t page = page_of(r, va), end = page + bytes / PAGE; page < end; page++) {
		uint32_t frame = r->frame[page];
		if (!frame)
			continue;
		r->frame[page] = 0;
		told(told_context, vaddr_add(r->va, page * PAGE), (struct pfn){ frame - 1 });
	}
}

static bool region_query(void *context, struct vaddr va, struct pfn *frame)
{
	const struct heap_region *r = context;
	uint64_t page = page_of(r, va);

	if (page >= r->bytes / PAGE || !r->frame[page])
		return false;
	frame->n = r->frame[page] - 1;
	return true;
}

static const struct heap_mapper_ops region_ops = {
	.prepare = region_prepare,
	.map = region_map,
	.unmap = region_unmap,
	.query = region_query,
};

/* A page fault of kernel code, or of the test. */
static void on_fault(int signal, siginfo_t *info, void *state)
{
	const ucontext_t *registers = state;
	const struct heap_region *r = regions;
	uint32_t code = registers->uc_mcontext.gregs[REG_ERR] & X86_PF_W;

	while (r && (uint64_t)((char *)info->si_addr - r->base) >= r->bytes)
		r = r->next;
	if (r)
		stub_machine_use(r->machine);
	if (r && r->machine->fault_handler &&
	    r->machine->fault_handler(r->machine->fault_context, port_vaddr(info->si_addr), code))
		return;
	heap_fault_at = info->si_addr;
	if (heap_fault_expected) {
		heap_fault_expected = false;
		siglongjmp(heap_fault_jump, 1);
	}
	sigaction(signal, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
}

static void region_start(struct heap_region *r, const struct heap_ops *ops,
			 struct stub_machine *machine)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

	if (!(ops->caps & HEAP_CAP_MAPS))
		return;
	*r = (struct heap_region){ .bytes = HEAP_REGION_BYTES, .machine = machine };
	r->room = mmap(NULL, r->bytes + REGION_ALIGN, PROT_NONE, flags, -1, 0);
	r->frame = mmap(NULL, r->bytes / PAGE * sizeof(*r->frame), PROT_READ | PROT_WRITE, flags,
			-1, 0);
	expect(r->room != MAP_FAILED && (void *)r->frame != MAP_FAILED, "mmap of a region");
	r->base = (char *)(((uintptr_t)r->room + REGION_ALIGN - 1) & ~(REGION_ALIGN - 1));
	r->va = port_vaddr(r->base);
	r->next = regions;
	regions = r;
	expect_eq(sigaction(SIGSEGV, &action, NULL), 0);
}

static void region_stop(struct heap_region *r)
{
	struct heap_region **at = &regions;

	if (!r->bytes)
		return;
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	munmap(r->room, r->bytes + REGION_ALIGN);
	munmap(r->frame, r->bytes / PAGE * sizeof(*r->frame));
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
	region_start(&in->region, ops, in->frames->machine);
	in->config.mapper = (struct heap_mapper){ .ops = &region_ops,
						  .context = &in->region,
						  .base = in->region.va,
						  .bytes = in->region.bytes,
						  .segments = 1 };
	in->frames_before = frame_instance_free_frames(in->frames);
	in->state_bytes = ops->state_bytes(&in->config, &why);
	expect(in->state_bytes > 0, "%s: refused: %s", ops->name, why);
	in->state_room = (in->state_bytes + PAGE - 1) / PAGE * PAGE;
	in->heap.ops = ops;
	in->heap.state = mmap(NULL, in->state_room, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(in->heap.state != MAP_FAILED, "mmap");
	expect_eq(ops->init(in->heap.state, &in->config), 0);
	port_set_fault_handler(heap_page_fault, &in->heap);
	return in;
}

void heap_instance_free(struct heap_instance *in)
{
	free((void *)(uintptr_t)in->config.frames.ops);
	munmap(in->heap.state, in->state_room);
	region_stop(&in->region);
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
	unsigned caps = in->heap.ops->caps;
	uint64_t most = caps & HEAP_CAP_MAPS ? 30000 : 100000; /* the host maps every page */

	*c = (struct heap_customer){ .in = in,
				     .random = seed * 0x9e3779b97f4a7c15 + 1,
				     .room = 512,
				     .bytes_max = caps & HEAP_CAP_ANY_SIZE ? most : 4096,
				     .align_max = caps & HEAP_CAP_ANY_SIZE ? 1 << 16 : 4096 };
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
	const struct heap_region *region = &c->in->region;
	uint64_t offset = at ? (uint64_t)((const char *)at - c->in->config.reach.base) : 1;

	if (at && (uint64_t)((const char *)at - region->base) < region->bytes)
		offset = ~(uint64_t)((const char *)at - region->base);
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
	/* On demand an object may be larger than what stands behind it. */
	expect((heap->ops->caps & HEAP_CAP_DEMAND) ||
		       stats.used_bytes + stats.kept_bytes <= stats.held_frames * FRAME_BYTES,
	       "%s: more bytes are used and kept than frames are held", heap->ops->name);
}
