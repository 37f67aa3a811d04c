/*
 * range_list.c - F3: free ranges on a list by address, each described in its own first frame.
 *
 *   state:  head --+
 *                  v
 *             frame 12                     frame 40              frame 96
 *            +----------+                 +----------+          +----------+
 *            | frames 5 |                 | frames 2 |          | frames 9 |
 *            | next  40 |---------------->| next  96 |--------->| next   0 |
 *            | seal     |                 | seal     |          | seal     |
 *            +----------+ 13 14 15 16     +----------+ 41       +----------+ 97 ... 104
 *               free, no record               free                 free
 *
 * Idea: a free range has room for its own description. Nothing else is kept: the state is a few
 * words for any amount of RAM, and start-up writes one frame a range of the memory map. One record
 * is open at a time, so that one temporary window which moves about suffices for a kernel without a
 * direct map: a record is read into local variables, closed, and written back later.
 *
 * A request is cut from the low end of the first range that has room, and the record moves up: so
 * holes below are filled before the large range above them is. (Cut from the high end, the record
 * could stay; but then the large range, once lowest, would serve everything, and holes above it
 * would pile up: 16,000 random pairs of free and alloc took 30 times as long.) A freed run goes to
 * its place by address, and grows together with its neighbours. The search for that place begins at
 * `finger`, the range where the last one ended, when it lies below; else at the head.
 *
 * Invariants (check):
 *   1  header: as init left it; the map is sound
 *   2  ranges ascend, and between two there is at least one frame that is not free
 *   3  every range lies in the map, not empty
 *   4  the seal of every range is that of its place, size and next
 *   5  the list has `ranges` members and then ends
 *   6  free_frames is the sum of their sizes
 *   7  the finger is 0 or a member of the list
 *
 * Cost: alloc of one frame O(1), of a run O(ranges); free O(ranges between the finger and the
 * place). Each range looked at is a frame opened. Metadata: the header.
 *
 * Source: the coremap of early Unix, moved into the memory that it describes; Knuth, TAOCP 1, 2.5,
 * algorithms A and B. Differs in the seal (see stack.c) and in the finger.
 */
#include "alloc/frame/systems.h"

struct range_record {
	uint64_t frames;
	uint64_t next; /* frame number; 0: the last */
	uint64_t seal; /* 0 in a frame that heads no range any more */
};

struct range_list {
	struct memmap map;
	struct reach reach;
	uint64_t header_sum; /* over the two above */
	uint64_t head;	     /* frame number; 0: nothing is free */
	uint64_t ranges;
	uint64_t free_frames;
	uint64_t finger; /* a range's first frame, or 0 */
};

#define NO_FRAME 0
#define SEAL	 0x6b6d656d5f726e67 /* "kmem_rng" */

/* A range of the list, closed. */
struct range {
	uint64_t first, frames, next;
};

static uint64_t seal_of(const struct range *r)
{
	return SEAL ^ (r->first << 32 | r->first >> 32) ^ (r->frames << 17 | r->frames >> 47) ^
	       r->next;
}

static struct range range_read(const struct range_list *l, uint64_t first)
{
	struct range_record *record = frame_record_open(&l->reach, pfn(first));
	struct range r = { first, record->frames, record->next };

	frame_record_close(&l->reach, record);
	return r;
}

static void range_write(struct range_list *l, const struct range *r)
{
	struct range_record *record = frame_record_open(&l->reach, pfn(r->first));

	*record = (struct range_record){ r->frames, r->next, seal_of(r) };
	frame_record_close(&l->reach, record);
}

/* The frame heads no range any more. */
static void range_wipe(struct range_list *l, uint64_t first)
{
	struct range_record *record = frame_record_open(&l->reach, pfn(first));

	record->seal = 0;
	frame_record_close(&l->reach, record);
	if (l->finger == first)
		l->finger = NO_FRAME;
}

/* The range at PREV, or the head, is followed by NEXT from now on. */
static void link_after(struct range_list *l, uint64_t prev, uint64_t next)
{
	if (prev == NO_FRAME) {
		l->head = next;
		return;
	}
	struct range r = range_read(l, prev);

	r.next = next;
	range_write(l, &r);
}

/* Takes N frames at AT out of range R, which follows PREV. */
static void carve(struct range_list *l, uint64_t prev, struct range r, uint64_t at, uint64_t n)
{
	struct range right = { at + n, r.first + r.frames - (at + n), r.next };

	if (right.frames) {
		range_write(l, &right);
		r.next = right.first;
		l->ranges++;
	}
	r.frames = at - r.first;
	if (r.frames) {
		range_write(l, &r);
	} else {
		range_wipe(l, r.first);
		link_after(l, prev, r.next);
		l->ranges--;
	}
	l->free_frames -= n;
}

static uint64_t range_list_state_bytes(const struct memmap *map, const struct frame_config *config,
				       const char **why)
{
	(void)config;
	if (!map->frames) {
		*why = "range-list: the memory map has no usable frame";
		return 0;
	}
	return sizeof(struct range_list);
}

static int range_list_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	struct range_list *l = state;

	l->map = *map;
	reach_bind(&l->reach, &config->reach);
	l->header_sum = FRAME_HEADER_SUM(l);
	l->free_frames = map->frames;
	l->ranges = map->count;
	for (uint32_t i = map->count; i-- > 0;) {
		struct range r = { map->ranges[i].first.n, map->ranges[i].frames, l->head };

		range_write(l, &r);
		l->head = r.first;
	}
	return 0;
}

/* First range with room for N aligned frames; they come from its low end. */
static uint64_t take_anywhere(struct range_list *l, uint64_t n, uint64_t align)
{
	uint64_t prev = NO_FRAME, frame = l->head;

	while (frame != NO_FRAME) {
		struct range r = range_read(l, frame);

		uint64_t at = round_up_u64(r.first, align);

		if (n <= r.frames && at - r.first <= r.frames - n) {
			carve(l, prev, r, at, n);
			return at;
		}
		prev = frame;
		frame = r.next;
	}
	return NO_FRAME;
}

/* Where a run belongs: the last range that begins at or below a frame, and that range's prev. */
struct place {
	uint64_t prev; /* of `range`; NO_FRAME also when it was not passed on the way */
	struct range range;
};

/* FROM is where to begin: the head, or a range at or below FRAME. */
static struct place find_place(const struct range_list *l, uint64_t from, uint64_t frame)
{
	struct place place = { NO_FRAME, { NO_FRAME, 0, l->head } };

	while (from != NO_FRAME && from <= frame) {
		place.prev = place.range.first;
		place.range = range_read(l, from);
		from = place.range.next;
	}
	return place;
}

static uint64_t take_at(struct range_list *l, uint64_t at, uint64_t n)
{
	struct place p = find_place(l, l->head, at);

	if (p.range.first == NO_FRAME || n > p.range.frames ||
	    at - p.range.first > p.range.frames - n)
		return NO_FRAME;
	carve(l, p.prev, p.range, at, n);
	return at;
}

static int range_list_alloc(void *state, const struct frame_request *request,
			    struct frame_block *out)
{
	struct range_list *l = state;
	uint64_t at = request->flags & FRAME_AT
			      ? take_at(l, request->at.n, request->frames)
			      : take_anywhere(l, request->frames, request->align_frames);

	if (at == NO_FRAME)
		return KERR_NO_MEMORY;
	*out = (struct frame_block){ pfn(at), request->frames };
	return 0;
}

static int range_list_free(void *state, const struct frame_block *block)
{
	struct range_list *l = state;
	struct range fresh = { block->first.n, block->frames, NO_FRAME };
	uint64_t end = fresh.first + fresh.frames;

	if (!memmap_holds(&l->map, block->first, block->frames))
		return KERR_NOT_OWNED;
	uint64_t from = l->finger && l->finger <= fresh.first ? l->finger : l->head;
	struct range low = find_place(l, from, fresh.first).range;

	if ((low.first != NO_FRAME && low.first + low.frames > fresh.first) ||
	    (low.next != NO_FRAME && low.next < end))
		return KERR_NOT_OWNED;
	l->ranges++;
	l->free_frames += fresh.frames;
	fresh.next = low.next;
	if (low.next == end) {
		struct range high = range_read(l, low.next);

		range_wipe(l, high.first);
		fresh.frames += high.frames;
		fresh.next = high.next;
		l->ranges--;
	}
	if (low.first != NO_FRAME && low.first + low.frames == fresh.first) {
		low.frames += fresh.frames;
		low.next = fresh.next;
		range_write(l, &low);
		l->finger = low.first;
		l->ranges--;
		return 0;
	}
	range_write(l, &fresh);
	link_after(l, low.first, fresh.first);
	l->finger = fresh.first;
	return 0;
}

static void range_list_stats(const void *state, struct frame_stats *out)
{
	const struct range_list *l = state;

	*out = (struct frame_stats){ .managed_frames = l->map.frames,
				     .free_frames = l->free_frames };
}

static int range_list_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	const struct range_list *l = state;
	uint64_t free_frame = l->head;

	for (uint32_t i = 0; i < l->map.count; i++) {
		uint64_t at = l->map.ranges[i].first.n, end = at + l->map.ranges[i].frames;

		while (at < end) {
			struct frame_extent e = { pfn(at), end - at, FRAME_USED };

			if (free_frame == at) {
				struct range r = range_read(l, at);

				e.state = FRAME_FREE;
				e.frames = r.frames;
				free_frame = r.next;
			} else if (free_frame > at && free_frame < end) {
				e.frames = free_frame - at;
			}
			if (visit(ctx, &e))
				return KERR_STOP;
			at += e.frames;
		}
	}
	return 0;
}

static bool seal_holds(const struct range_list *l, const struct range *r)
{
	struct range_record *record = frame_record_open(&l->reach, pfn(r->first));
	bool holds = record->seal == seal_of(r);

	frame_record_close(&l->reach, record);
	return holds;
}

/* Every member of the list; adds their frames up, and looks for the finger among them. */
static int check_list(const struct range_list *l, uint64_t *free_frames, bool *finger_found,
		      struct violation *violation)
{
	uint64_t frame = l->head, end = 0;

	for (uint64_t n = 0; n < l->ranges; n++) {
		if (frame == NO_FRAME)
			return frame_violation(violation, 5, pfn(end), "the list has all ranges");
		if (frame <= end)
			return frame_violation(violation, 2, pfn(frame),
					       "ranges ascend and do not touch");
		if (!memmap_find(&l->map, pfn(frame)))
			return frame_violation(violation, 3, pfn(frame),
					       "every range lies in the map");
		struct range r = range_read(l, frame);

		if (!seal_holds(l, &r))
			return frame_violation(violation, 4, pfn(frame),
					       "a free frame is as the allocator left it");
		if (!r.frames || !memmap_holds(&l->map, pfn(frame), r.frames))
			return frame_violation(violation, 3, pfn(frame),
					       "every range lies in the map");
		*finger_found |= frame == l->finger;
		*free_frames += r.frames;
		end = frame + r.frames;
		frame = r.next;
	}
	if (frame != NO_FRAME)
		return frame_violation(violation, 5, pfn(frame), "the list ends after all ranges");
	return 0;
}

static int range_list_check(const void *state, struct violation *violation)
{
	const struct range_list *l = state;
	bool finger_found = l->finger == NO_FRAME;
	uint64_t free_frames = 0;

	if (l->header_sum != FRAME_HEADER_SUM(l))
		return frame_violation(violation, 1, pfn(0), "the header is as init left it");
	if (!memmap_is_sound(&l->map))
		return frame_violation(violation, 1, pfn(0), "the memory map is sound");
	int error = check_list(l, &free_frames, &finger_found, violation);

	if (error)
		return error;
	if (free_frames != l->free_frames)
		return frame_violation(violation, 6, pfn(l->head),
				       "free_frames is the sum of the ranges");
	if (!finger_found)
		return frame_violation(violation, 7, pfn(l->finger),
				       "the finger is a member of the list");
	return 0;
}

const struct frame_ops frame_range_list = {
	.name = "range-list",
	.id = "F3",
	.summary = "free ranges by address, each described in its own first frame",
	.caps = FRAME_CAP_RUNS | FRAME_CAP_ANY_COUNT | FRAME_CAP_ALIGN | FRAME_CAP_AT |
		FRAME_CAP_FREE | FRAME_CAP_PARTIAL_FREE | FRAME_CAP_IN_FRAME,
	.state_bytes = range_list_state_bytes,
	.init = range_list_init,
	.alloc = range_list_alloc,
	.free = range_list_free,
	.stats = range_list_stats,
	.walk = range_list_walk,
	.check = range_list_check,
};
