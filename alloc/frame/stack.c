/*
 * stack.c - F4: the free-frame stack. Each free frame holds the number of the next one.
 *
 *   state:  tip[] = { 4, 12, 5 }     next out: 5, 12, 4, then the chain
 *           head --+
 *                  v
 *               frame 7        frame 3        frame 9
 *              +--------+     +--------+     +--------+
 *              | next 3 |---->| next 9 |---->| next 0 |     0: the bottom; frame 0 is never free
 *              | seal   |     | seal   |     | seal   |
 *              |  ...   |     |  ...   |     |  ...   |
 *              +--------+     +--------+     +--------+
 *
 * Idea: memory that nobody uses pays for its own bookkeeping. Alloc pops, free pushes: one frame is
 * opened in each, no other record exists. The frame last freed goes out first, while caches still
 * hold it. Frames are reached through reach.h, so that this works in a kernel without a direct map.
 *
 * The tip: opening a frame costs a cache line and a TLB entry of its own, ten times the rest. So
 * the numbers of the frames freed last, up to option `tip`, stand in the state. When it is full,
 * the older half of it moves into the frames; when it is empty, frames come from there one by one.
 * The order is that of a plain stack, whatever the tip's size.
 *
 * Start-up: the eager variant pushes every frame, from the top down. The lazy one keeps a boundary,
 * `fresh`: frames from there on have never been given out and were never touched. Where the chain
 * is empty, the frame at the boundary goes out and the boundary moves up; so start-up costs the
 * same for any amount of RAM, and the frames come in the same order.
 *
 * Where in its frame a record stands: frame_record_in().
 *
 * The seal is a mix of the frame's number and `next`, wiped when the frame leaves the chain. It
 * tells check() a free frame that somebody wrote to. With tip=0 free() refuses a double free by it;
 * with a tip it would have to open the frame to know, and leaves that to check().
 *
 * Invariants (check):
 *   1  header: as init left it; the map is sound
 *   2  every frame of the chain and of the tip is in the map and below `fresh`
 *   3  the seal of every frame of the chain is that of its number and its next
 *   4  the chain has exactly `chained` frames, and then ends. (So no frame is on it twice: a frame
 *      has one next, and a chain that came back to a frame would not end.)
 *   5  the tip has at most tip_size frames, no two the same, none with the seal of the chain; each
 *      number says how many of its bits are set, and places not in use are 0
 *   6  `fresh` is a frame of the map, or its end; fresh_frames of the map are at or above it, and
 *      `known` frames of the largest range are below
 *
 * Cost: O(1), half of tip_size frames opened in a burst where it overflows. Start-up writes to
 * every frame (the eager variant). Metadata: none but the header and the tip. Not able to: runs,
 * alignment, placement at a given frame. walk() sorts the stack by address in a second list of
 * links, kept in the free frames too: O(n log n).
 *
 * Source: the method of many small kernels since MINIX and Xinu. Differs in the seal and in the
 * record's moving place, and the tip.
 */
#include "alloc/bitops.h"
#include "alloc/frame/systems.h"
#include "alloc/port.h"

struct stack_record {
	uint64_t next;	 /* frame number; 0: none */
	uint64_t seal;	 /* 0 in a frame that was handed out */
	uint64_t sorted; /* scratch of walk(): the next free frame by address */
};

struct stack {
	struct memmap map;
	struct frame_range largest; /* where to look first when a frame comes back */
	struct reach reach;
	uint64_t tip_size;
	uint64_t header_sum;   /* over the four above */
	uint64_t head;	       /* of the chain: frame number; 0: empty */
	uint64_t chained;      /* frames on the chain */
	uint64_t fresh;	       /* frames of the map from here on were never given out */
	uint64_t fresh_frames; /* so many */
	uint64_t known;	       /* frames of the largest range that are below `fresh` */
	uint64_t tip_count;
	uint64_t tip[]; /* tip_size sealed frame numbers, the youngest last */
};

enum { OPTION_TIP };
#define TIP_MAX 1024

#define NO_FRAME 0
#define SEAL	 0x6b6d656d5f667265 /* "kmem_fre": no number of a frame looks like it */

/* A frame's number in the tip: in its uppermost byte stands how many bits of it are set. */
#define TIP_SEAL_SHIFT 56u

static inline uint64_t tip_sealed(uint64_t frame)
{
	return frame | (uint64_t)bit_count(frame) << TIP_SEAL_SHIFT;
}

static inline uint64_t tip_frame(uint64_t sealed)
{
	return sealed & ((1ull << TIP_SEAL_SHIFT) - 1);
}

static inline uint64_t free_frames(const struct stack *s)
{
	return s->chained + s->fresh_frames + s->tip_count;
}

static inline struct stack_record *record_open(const struct stack *s, uint64_t frame)
{
	return frame_record_open(&s->reach, pfn(frame));
}

static inline void record_close(const struct stack *s, struct stack_record *record)
{
	frame_record_close(&s->reach, record);
}

static inline uint64_t seal_of(uint64_t frame, uint64_t next)
{
	return SEAL ^ (frame << 32 | frame >> 32) ^ next;
}

/* Puts a frame on the chain; R is its record. */
static inline void push(struct stack *s, uint64_t frame, struct stack_record *r)
{
	r->next = s->head;
	r->seal = seal_of(frame, s->head);
	s->head = frame;
	s->chained++;
}

/* Takes the frame at the head of the chain off; R is its record. */
static inline int pop(struct stack *s, struct stack_record *r, struct frame_block *out)
{
	*out = (struct frame_block){ pfn(s->head), 1 };
	s->head = r->next;
	r->seal = 0;
	s->chained--;
	return 0;
}

static uint64_t stack_state_bytes(const struct memmap *map, const struct frame_config *config,
				  const char **why)
{
	if (!map->frames) {
		*why = "stack: the memory map has no usable frame";
		return 0;
	}
	if (config->option[OPTION_TIP] > TIP_MAX) {
		*why = "stack: tip is above 1024";
		return 0;
	}
	return sizeof(struct stack) + config->option[OPTION_TIP] * sizeof(uint64_t);
}

/* Where `known` must be for that `fresh`. */
static uint64_t known_of(const struct stack *s)
{
	uint64_t below = s->fresh > s->largest.first.n ? s->fresh - s->largest.first.n : 0;

	return below < s->largest.frames ? below : s->largest.frames;
}

static int stack_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	struct stack *s = state;

	s->map = *map;
	s->largest = memmap_largest(map);
	reach_bind(&s->reach, &config->reach);
	s->tip_size = config->option[OPTION_TIP];
	s->header_sum = FRAME_HEADER_SUM(s);
	s->fresh = map->first.n;
	s->fresh_frames = map->frames;
	return 0;
}

/* The eager start. From the top down, so that the first frames out are the lowest. */
static int stack_init_eager(void *state, const struct memmap *map,
			    const struct frame_config *config)
{
	struct stack *s = state;
	int error = stack_init(state, map, config);

	if (error)
		return error;
	s->fresh = map->end.n;
	s->fresh_frames = 0;
	s->known = known_of(s);
	for (uint32_t i = map->count; i-- > 0;)
		for (uint64_t n = map->ranges[i].frames; n-- > 0;) {
			uint64_t frame = map->ranges[i].first.n + n;
			struct stack_record *r = record_open(s, frame);

			push(s, frame, r);
			record_close(s, r);
		}
	return 0;
}

static __attribute__((noinline)) int pop_by_window(struct stack *s, struct frame_block *out)
{
	struct stack_record *r = record_open(s, s->head);
	int error = pop(s, r, out);

	record_close(s, r);
	return error;
}

/* The chain is empty: moves the boundary up by a frame. */
static __attribute__((noinline)) int take_fresh(struct stack *s, struct frame_block *out)
{
	if (!s->fresh_frames)
		return KERR_NO_MEMORY;
	uint64_t frame = s->fresh++;

	if (!memmap_find(&s->map, pfn(s->fresh))) {
		/* Over a hole: to the range that follows, or to the end. */
		s->fresh = s->map.end.n;
		for (uint32_t i = s->map.count; i-- > 0 && s->map.ranges[i].first.n > frame;)
			s->fresh = s->map.ranges[i].first.n;
	}
	s->fresh_frames--;
	s->known = known_of(s);
	*out = (struct frame_block){ pfn(frame), 1 };
	return 0;
}

static int stack_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct stack *s = state;
	uint64_t n = s->tip_count, frame;

	if (__builtin_expect(n != 0, 1)) {
		s->tip_count = n - 1;
		frame = tip_frame(s->tip[n - 1]);
		s->tip[n - 1] = 0;
		*out = (struct frame_block){ pfn(frame), 1 };
		return 0;
	}
	frame = s->head;
	if (frame == NO_FRAME)
		return take_fresh(s, out);
	if (!reach_is_direct(&s->reach, pfn(frame)))
		return pop_by_window(s, out);
	return pop(s, frame_record_in(frame_direct(&s->reach, pfn(frame)), pfn(frame)), out);
}

/* The tip is full: its older half moves into the frames, oldest first. */
static __attribute__((noinline)) void spill(struct stack *s)
{
	uint64_t n = (s->tip_size + 1) / 2;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t frame = tip_frame(s->tip[i]);
		struct stack_record *r = record_open(s, frame);

		push(s, frame, r);
		record_close(s, r);
	}
	s->tip_count -= n;
	memmove(s->tip, s->tip + n, s->tip_count * sizeof(s->tip[0]));
	memset(s->tip + s->tip_count, 0, n * sizeof(s->tip[0]));
}

/* Without a tip: the frame is opened anyway, and its seal tells whether it is free. */
static __attribute__((noinline)) int free_into_chain(struct stack *s, uint64_t frame)
{
	struct stack_record *r = record_open(s, frame);
	bool is_free = r->seal == seal_of(frame, r->next);

	if (!is_free)
		push(s, frame, r);
	record_close(s, r);
	return is_free ? KERR_NOT_OWNED : 0;
}

static __attribute__((noinline)) int free_slowly(struct stack *s, const struct frame_block *block)
{
	uint64_t frame = block->first.n;

	if (block->frames != 1 || frame >= s->fresh || !memmap_find(&s->map, block->first))
		return KERR_NOT_OWNED;
	if (!s->tip_size)
		return free_into_chain(s, frame);
	if (s->tip_count == s->tip_size)
		spill(s);
	s->tip[s->tip_count++] = tip_sealed(frame);
	return 0;
}

static int stack_free(void *state, const struct frame_block *block)
{
	struct stack *s = state;
	uint64_t frame = block->first.n, n = s->tip_count;

	if (__builtin_expect(block->frames != 1 || frame - s->largest.first.n >= s->known ||
				     n == s->tip_size,
			     0))
		return free_slowly(s, block);
	s->tip[n] = tip_sealed(frame);
	s->tip_count = n + 1;
	return 0;
}

static void stack_stats(const void *state, struct frame_stats *out)
{
	const struct stack *s = state;

	*out = (struct frame_stats){ .managed_frames = s->map.frames,
				     .free_frames = free_frames(s) };
}

static uint64_t sorted_next(const struct stack *s, uint64_t frame)
{
	struct stack_record *r = record_open(s, frame);
	uint64_t next = r->sorted;

	record_close(s, r);
	return next;
}

static void sorted_link(const struct stack *s, uint64_t frame, uint64_t next)
{
	struct stack_record *r = record_open(s, frame);

	r->sorted = next;
	record_close(s, r);
}

/* Merges two lists that are sorted by address, neither empty. Returns the first frame. */
static uint64_t sorted_merge(const struct stack *s, uint64_t a, uint64_t b)
{
	uint64_t first = a < b ? a : b, last = NO_FRAME;

	while (a && b) {
		uint64_t low = a < b ? a : b;

		if (last)
			sorted_link(s, last, low);
		last = low;
		if (low == a)
			a = sorted_next(s, a);
		else
			b = sorted_next(s, b);
	}
	sorted_link(s, last, a ? a : b);
	return first;
}

/* Adds a frame to the bins of the sort below; returns its next in the chain. */
static uint64_t sort_add(const struct stack *s, uint64_t *bin, uint64_t frame)
{
	struct stack_record *r = record_open(s, frame);
	uint64_t next = r->next, list = frame;

	r->sorted = NO_FRAME;
	record_close(s, r);
	for (; *bin; bin++) {
		list = sorted_merge(s, *bin, list);
		*bin = NO_FRAME;
	}
	*bin = list;
	return next;
}

/* All free frames by address, linked through `sorted`: a merge sort from the bottom up, in which
 * bin i holds a sorted list of 2^i frames or nothing, as a binary counter does. */
static uint64_t sort_free(const struct stack *s)
{
	uint64_t bin[64] = { NO_FRAME }, all = NO_FRAME;
	uint64_t frame = s->head;

	for (uint64_t i = 0; i < s->tip_count; i++)
		sort_add(s, bin, tip_frame(s->tip[i]));
	for (uint64_t n = s->chained; n && frame; n--)
		frame = sort_add(s, bin, frame);
	for (unsigned i = 0; i < 64; i++)
		if (bin[i])
			all = all ? sorted_merge(s, all, bin[i]) : bin[i];
	return all;
}

/* Goes on with the free frames at and after *FRAME as long as they are adjacent. */
static uint64_t adjacent_free(const struct stack *s, uint64_t *frame, uint64_t end)
{
	uint64_t n = 0, at = *frame;

	while (*frame == at + n && at + n < end) {
		n++;
		*frame = sorted_next(s, *frame);
	}
	return n;
}

static int stack_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	const struct stack *s = state;
	uint64_t free_frame = sort_free(s);

	for (uint32_t i = 0; i < s->map.count; i++) {
		uint64_t at = s->map.ranges[i].first.n;
		uint64_t end = at + s->map.ranges[i].frames;

		while (at < end) {
			struct frame_extent e = { pfn(at), 0, FRAME_USED };

			if (at >= s->fresh) {
				e.state = FRAME_FREE;
				e.frames = end - at;
			} else if (free_frame == at) {
				e.state = FRAME_FREE;
				e.frames = adjacent_free(s, &free_frame, end);
			} else {
				uint64_t to = s->fresh < end ? s->fresh : end;

				if (free_frame > at && free_frame < to)
					to = free_frame;
				e.frames = to - at;
			}
			if (visit(ctx, &e))
				return KERR_STOP;
			at += e.frames;
		}
	}
	return 0;
}

static int check_chain(const struct stack *s, struct violation *violation)
{
	uint64_t frame = s->head;

	if (s->chained > s->map.frames)
		return frame_violation(violation, 4, pfn(0),
				       "the chain has as many frames as are counted");
	for (uint64_t n = 0; n < s->chained; n++) {
		if (frame == NO_FRAME)
			return frame_violation(violation, 4, pfn(0),
					       "the chain has as many frames as are counted");
		if (!memmap_find(&s->map, pfn(frame)) || frame >= s->fresh)
			return frame_violation(violation, 2, pfn(frame),
					       "every free frame is in the map, below fresh");
		struct stack_record *r = record_open(s, frame);
		uint64_t next = r->next, seal = r->seal;

		record_close(s, r);
		if (seal != seal_of(frame, next))
			return frame_violation(violation, 3, pfn(frame),
					       "a free frame is as the allocator left it");
		frame = next;
	}
	if (frame != NO_FRAME)
		return frame_violation(violation, 4, pfn(frame),
				       "the chain ends after the frames that are counted");
	return 0;
}

static int check_tip(const struct stack *s, struct violation *violation)
{
	for (uint64_t i = 0; i < s->tip_count; i++) {
		struct pfn frame = pfn(tip_frame(s->tip[i]));

		if (s->tip[i] != tip_sealed(frame.n))
			return frame_violation(violation, 5, frame,
					       "a number in the tip is as the allocator left it");
		if (!memmap_find(&s->map, frame) || frame.n >= s->fresh)
			return frame_violation(violation, 2, frame,
					       "every free frame is in the map, below fresh");
		for (uint64_t k = 0; k < i; k++)
			if (s->tip[k] == s->tip[i])
				return frame_violation(violation, 5, frame,
						       "no frame is in the tip twice");
		struct stack_record *r = record_open(s, frame.n);
		bool chained = r->seal == seal_of(frame.n, r->next);

		record_close(s, r);
		if (chained)
			return frame_violation(violation, 5, frame,
					       "no frame of the tip is on the chain too");
	}
	for (uint64_t i = s->tip_count; i < s->tip_size; i++)
		if (s->tip[i])
			return frame_violation(violation, 5, pfn(tip_frame(s->tip[i])),
					       "places of the tip not in use are 0");
	return 0;
}

static int check_fresh(const struct stack *s, struct violation *violation)
{
	uint64_t frames = 0;

	if (s->fresh != s->map.end.n && !memmap_find(&s->map, pfn(s->fresh)))
		return frame_violation(violation, 6, pfn(s->fresh),
				       "fresh is a frame of the map, or its end");
	for (uint32_t i = 0; i < s->map.count; i++) {
		uint64_t first = s->map.ranges[i].first.n, end = first + s->map.ranges[i].frames;

		if (end > s->fresh)
			frames += end - (first > s->fresh ? first : s->fresh);
	}
	if (s->known != known_of(s))
		return frame_violation(violation, 6, pfn(s->fresh),
				       "known are the frames of the largest range below fresh");
	if (frames != s->fresh_frames)
		return frame_violation(violation, 6, pfn(s->fresh),
				       "fresh_frames of the map are at or above fresh");
	return 0;
}

static int stack_check(const void *state, struct violation *violation)
{
	const struct stack *s = state;
	int error;

	if (s->header_sum != FRAME_HEADER_SUM(s))
		return frame_violation(violation, 1, pfn(0), "the header is as init left it");
	if (!memmap_is_sound(&s->map))
		return frame_violation(violation, 1, pfn(0), "the memory map is sound");
	error = check_fresh(s, violation);
	if (error)
		return error;
	if (s->tip_count > s->tip_size)
		return frame_violation(violation, 5, pfn(0), "the tip has at most tip_size frames");
	error = check_chain(s, violation);
	return error ? error : check_tip(s, violation);
}

static const struct frame_option options[] = {
	[OPTION_TIP] = { .key = "tip",
			 .help = "numbers of frames kept in the state; 0: a double free is refused",
			 .value = 64,
			 .max = TIP_MAX },
	{ .key = NULL },
};

const struct frame_ops frame_stack = {
	.name = "stack",
	.id = "F4",
	.summary = "each free frame holds the number of the next; last in, first out",
	.caps = FRAME_CAP_FREE | FRAME_CAP_IN_FRAME | FRAME_CAP_TOUCHES_ALL,
	.options = options,
	.state_bytes = stack_state_bytes,
	.init = stack_init_eager,
	.alloc = stack_alloc,
	.free = stack_free,
	.stats = stack_stats,
	.walk = stack_walk,
	.check = stack_check,
};

const struct frame_ops frame_stack_lazy = {
	.name = "stack-lazy",
	.id = "F4",
	.summary = "as stack, but frames never given out are not touched",
	.caps = FRAME_CAP_FREE | FRAME_CAP_IN_FRAME,
	.options = options,
	.state_bytes = stack_state_bytes,
	.init = stack_init,
	.alloc = stack_alloc,
	.free = stack_free,
	.stats = stack_stats,
	.walk = stack_walk,
	.check = stack_check,
};
