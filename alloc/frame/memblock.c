/*
 * memblock.c - F6: runs of memory in sorted arrays, as early Linux boots with.
 *
 *   memory     [ 1 +158 ]  [ 256 +130784 ]                  the map, as boot normalised it
 *
 *   reserved   state: chunk 0               frame 131039: chunk 1
 *              +--------------------+       +-------------------------------+
 *              | [3 +1] [900 +12]   | <---> | [131000 +2] [131039 +1, own]  |
 *              | 2 of 32            |       | 2 of 254                      |
 *              +--------------------+       +-------------------------------+
 *
 *   free       what is memory and not reserved: found by going along both
 *
 * Idea: at boot a machine has few runs, however much memory it has. So the free frames are not
 * recorded at all. What is taken is, as {first, frames} in address order; neighbours become one.
 * Start-up copies a few words for any amount of RAM.
 *
 * 32 descriptors are in the state. When they do not suffice the array grows by allocating from
 * itself: a frame holds a chunk of 254 more, and is itself in the array, marked as its own. A chunk
 * that is full hands its upper half to a new one; two neighbours that would half fill one become
 * one again, and when everything has been freed only the 32 are left.
 *
 * Where the frame for a chunk comes from: a free frame between the addresses that the full chunk
 * describes, so that its own descriptor has room in one of the halves. A free that splits a run in
 * two needs a descriptor too, and cannot fail: where nothing is free between those addresses, it
 * keeps a frame of those it frees.
 *
 * Requests take the highest free run that is long enough (order=top-down), or the lowest. `edge`
 * says beyond which frame nothing is free in that direction, so that a search for one frame ends at
 * once.
 *
 * Invariants (check):
 *   1  header: as init left it; the map is sound
 *   2  chunks: linked both ways, `chunks` of them, none above its capacity, none but the first
 * empty 3  runs ascend and do not overlap; each lies in one range of the map; no two touch unless
 * one is the array's own 4  the frames that hold chunks, and only those, are the array's own, one
 * frame each 5  run_sum is the exclusive or of all runs' sums 6  free_frames are the frames of the
 * map in no run 7  nothing is free beyond the edge
 *
 * Cost: O(chunks) to find a place and O(254) to insert or remove there; one frame at the edge O(1)
 * besides. A run O(runs). Metadata: 16 bytes a run, none for free memory.
 *
 * Source: Linux mm/memblock.c (before it the LMB of PowerPC and SPARC). Differs: its array doubles
 * into one contiguous range, and a free that cannot double it fails; here it grows by single
 * frames, and frees always succeed. No node ids, no flags. Adjacent allocations become one run, so
 * that a free of a part, or of parts of two allocations, is as good as any.
 */
#include "alloc/frame/memblock.h"
#include "alloc/frame/systems.h"
#include "alloc/port.h"

#define STATIC_RUNS 32u
#define CHUNK_RUNS  ((FRAME_BYTES - sizeof(struct chunk)) / sizeof(struct run))
#define OWN	    (1ull << 63) /* in a run's frames: it holds a chunk */
#define NO_FRAME    0

enum { TOP_DOWN = 0, BOTTOM_UP, DIRECTIONS };
enum { OPTION_ORDER };

struct run {
	uint64_t first;
	uint64_t frames; /* | OWN */
};

struct chunk {
	uint64_t next, prev; /* frame numbers; NO_FRAME: none, or the first chunk */
	uint64_t self;	     /* its frame; NO_FRAME: the first, in the state */
	uint64_t count;
	struct run run[];
};

struct memblock {
	struct memmap map;
	struct reach reach;
	struct frame_range largest;
	uint64_t order;
	uint64_t header_sum; /* over the four above */
	uint64_t free_frames;
	uint64_t chunks; /* besides the first */
	uint64_t run_sum;
	uint64_t edge; /* top-down: nothing at or above is free; bottom-up: nothing below */
	struct chunk head;
	struct run head_runs[STATIC_RUNS]; /* head.run */
};

static inline uint64_t run_frames(const struct run *r)
{
	return r->frames & ~OWN;
}

static inline uint64_t run_end(const struct run *r)
{
	return r->first + run_frames(r);
}

static inline uint64_t run_mix(const struct run *r)
{
	uint64_t mix = (r->first + 1) * 0x9e3779b97f4a7c15 ^ r->frames * 0xc2b2ae3d27d4eb4f;

	return mix ^ mix >> 29;
}

static inline struct chunk *chunk_at(const struct memblock *m, uint64_t frame)
{
	return frame == NO_FRAME ? (struct chunk *)(uintptr_t)&m->head
				 : frame_open(&m->reach, pfn(frame));
}

static inline uint64_t chunk_room(const struct chunk *c)
{
	return c->self == NO_FRAME ? STATIC_RUNS : CHUNK_RUNS;
}

static struct chunk *chunk_next(const struct memblock *m, const struct chunk *c)
{
	return c->next == NO_FRAME ? NULL : chunk_at(m, c->next);
}

static struct chunk *chunk_prev(const struct memblock *m, const struct chunk *c)
{
	return c->self == NO_FRAME ? NULL : chunk_at(m, c->prev);
}

/* ---- places ---- */

/* Between two runs: run I of a chunk is the one after it. */
struct place {
	struct chunk *chunk;
	uint64_t i; /* 0 .. count */
};

/* Of the first run that ends behind FRAME, in the last chunk that begins at or below it. */
static struct place place_of(const struct memblock *m, uint64_t frame)
{
	struct chunk *c = chunk_at(m, NO_FRAME), *next;

	while ((next = chunk_next(m, c)) && next->run[0].first <= frame)
		c = next;
	uint64_t low = 0, high = c->count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (run_end(&c->run[middle]) <= frame)
			low = middle + 1;
		else
			high = middle;
	}
	return (struct place){ c, low };
}

/* The run after a place, the run before it; NULL where there is none. */
static struct run *run_after(const struct memblock *m, const struct place *p)
{
	struct chunk *c = p->chunk;

	if (p->i < c->count)
		return &c->run[p->i];
	c = chunk_next(m, c);
	return c ? &c->run[0] : NULL;
}

static struct run *run_before(const struct memblock *m, const struct place *p)
{
	struct chunk *c = p->chunk;

	if (p->i)
		return &c->run[p->i - 1];
	while ((c = chunk_prev(m, c)))
		if (c->count)
			return &c->run[c->count - 1];
	return NULL;
}

static bool place_up(const struct memblock *m, struct place *p)
{
	struct chunk *next;

	if (p->i < p->chunk->count) {
		p->i++;
		return true;
	}
	next = chunk_next(m, p->chunk);
	if (!next)
		return false;
	*p = (struct place){ next, 1 };
	return true;
}

static bool place_down(const struct memblock *m, struct place *p)
{
	while (!p->i) {
		struct chunk *prev = chunk_prev(m, p->chunk);

		if (!prev)
			return false;
		*p = (struct place){ prev, prev->count };
	}
	p->i--;
	return true;
}

/* ---- gaps ---- */

/* A way along memory and runs. */
struct way {
	const struct memblock *m;
	uint32_t range; /* of the map */
	struct place place;
};

static struct way way_from(const struct memblock *m, uint64_t frame)
{
	struct way w = { .m = m, .place = place_of(m, frame) };

	while (w.range + 1 < m->map.count && m->map.ranges[w.range + 1].first.n <= frame)
		w.range++;
	return w;
}

/* For going down from END. The place is behind the run that may end there. */
static struct way way_below(const struct memblock *m, uint64_t end)
{
	struct way w = way_from(m, end - 1);

	place_up(m, &w.place);
	return w;
}

/* The first gap with frames at or above AT: [*first, *end). */
static bool gap_up(struct way *w, uint64_t at, uint64_t *first, uint64_t *end)
{
	const struct memmap *map = &w->m->map;

	for (; w->range < map->count; w->range++) {
		const struct frame_range *r = &map->ranges[w->range];
		uint64_t r_end = r->first.n + r->frames;

		at = at > r->first.n ? at : r->first.n;
		while (at < r_end) {
			const struct run *run = run_after(w->m, &w->place);

			if (run && run_end(run) <= at) {
				place_up(w->m, &w->place);
			} else if (run && run->first <= at) {
				at = run_end(run);
			} else {
				*first = at;
				*end = run && run->first < r_end ? run->first : r_end;
				return true;
			}
		}
	}
	return false;
}

/* The last gap with frames below AT. */
static bool gap_down(struct way *w, uint64_t at, uint64_t *first, uint64_t *end)
{
	for (;; w->range--) {
		const struct frame_range *r = &w->m->map.ranges[w->range];
		uint64_t r_end = r->first.n + r->frames;

		at = at < r_end ? at : r_end;
		while (at > r->first.n) {
			const struct run *run = run_before(w->m, &w->place);

			if (run && run->first >= at) {
				place_down(w->m, &w->place);
			} else if (run && run_end(run) >= at) {
				at = run->first;
			} else {
				*first = run && run_end(run) > r->first.n ? run_end(run)
									  : r->first.n;
				*end = at;
				return true;
			}
		}
		if (!w->range)
			return false;
	}
}

/* Where N aligned frames go: the highest or the lowest gap that has room. */
static uint64_t find_down(const struct memblock *m, uint64_t n, uint64_t align)
{
	struct way w = way_below(m, m->edge);
	uint64_t first, end = m->edge;

	while (gap_down(&w, end, &first, &end)) {
		uint64_t at = end >= n ? round_down_u64(end - n, align) : 0;

		if (end >= n && at >= first)
			return at;
		end = first;
	}
	return NO_FRAME;
}

uint64_t memblock_find(const void *state, uint64_t from, uint64_t stop, uint64_t n, uint64_t align)
{
	struct way w = way_from(state, from);
	uint64_t first, end = from;

	while (gap_up(&w, end, &first, &end) && first < stop) {
		uint64_t at = round_up_u64(first, align), limit = end < stop ? end : stop;

		if (at < limit && n <= limit - at)
			return at;
	}
	return NO_FRAME;
}

bool memblock_is_free(const void *state, uint64_t first, uint64_t n)
{
	const struct memblock *m = state;

	if (!memmap_holds(&m->map, pfn(first), n))
		return false;
	struct place p = place_of(m, first);
	const struct run *run = run_after(m, &p);

	return !run || run->first >= first + n;
}

uint64_t memblock_used_end(const void *state, uint64_t limit)
{
	const struct memblock *m = state;
	struct place p = place_of(m, limit);
	const struct run *run = run_after(m, &p);

	if (run && run->first < limit)
		return limit;
	run = run_before(m, &p);
	return run ? run_end(run) : 0;
}

/* ---- the array ---- */

static void run_set(struct memblock *m, struct run *r, uint64_t first, uint64_t frames)
{
	m->run_sum ^= run_mix(r);
	*r = (struct run){ first, frames };
	m->run_sum ^= run_mix(r);
}

static void run_insert(struct memblock *m, struct place p, struct run run)
{
	struct chunk *c = p.chunk;

	memmove(&c->run[p.i + 1], &c->run[p.i], (c->count - p.i) * sizeof(c->run[0]));
	c->run[p.i] = run;
	c->count++;
	m->run_sum ^= run_mix(&run);
}

static void link_after(struct memblock *m, struct chunk *c, struct chunk *added)
{
	struct chunk *next = chunk_next(m, c);

	added->next = c->next;
	added->prev = c->self;
	if (next)
		next->prev = added->self;
	c->next = added->self;
	m->chunks++;
}

static void unlink_chunk(struct memblock *m, struct chunk *c)
{
	struct chunk *next = chunk_next(m, c);

	chunk_at(m, c->prev)->next = c->next;
	if (next)
		next->prev = c->prev;
	m->chunks--;
}

/* Gives a full chunk's upper half to a new chunk in FRAME, which is free, and enters that frame. */
static void chunk_split(struct memblock *m, struct chunk *c, uint64_t frame)
{
	struct chunk *added = frame_open(&m->reach, pfn(frame));
	uint64_t keep = c->count / 2;

	added->self = frame;
	added->count = c->count - keep;
	memcpy(added->run, c->run + keep, added->count * sizeof(c->run[0]));
	c->count = keep;
	link_after(m, c, added);
	run_insert(m, place_of(m, frame), (struct run){ frame, 1 | OWN });
	m->free_frames--;
}

/* The highest free frame between the addresses that a chunk describes, but not in [skip, skip + n).
 */
static uint64_t frame_for_split(const struct memblock *m, const struct chunk *c, uint64_t skip,
				uint64_t n)
{
	const struct chunk *next = chunk_next(m, c);
	uint64_t stop = c->self == NO_FRAME ? 0 : c->run[0].first, first;
	uint64_t end = next ? next->run[0].first : m->map.end.n;
	struct way w = way_below(m, end);

	while (gap_down(&w, end, &first, &end) && end > stop) {
		if (end <= skip || end > skip + n)
			return end - 1;
		if (first < skip)
			return skip - 1 >= stop ? skip - 1 : NO_FRAME;
		end = first;
	}
	return NO_FRAME;
}

/* So many descriptors must be free in a chunk before one is added: for the run, and for the frame
 * of a chunk that splits just then. */
#define SPARE 2u

/* Makes room for a run at FRAME; frames [skip, skip + n) are not to be used for it. */
static bool make_room(struct memblock *m, uint64_t frame, uint64_t skip, uint64_t n)
{
	struct chunk *c = place_of(m, frame).chunk;

	if (c->count + SPARE <= chunk_room(c))
		return true;
	uint64_t found = frame_for_split(m, c, skip, n);

	if (found != NO_FRAME)
		chunk_split(m, c, found);
	return found != NO_FRAME;
}

static void run_release(struct memblock *m, struct place p);

/* A chunk that has lost a run: with its neighbour it may fill half of one. */
static void chunk_shrink(struct memblock *m, struct chunk *c)
{
	struct chunk *next = chunk_next(m, c), *prev = chunk_prev(m, c);

	if (!next || c->count + next->count > chunk_room(c) / 2) {
		next = c;
		c = prev;
		if (!c || (next->count && c->count + next->count > chunk_room(c) / 2))
			return;
	}
	memcpy(c->run + c->count, next->run, next->count * sizeof(c->run[0]));
	c->count += next->count;
	unlink_chunk(m, next);
	m->free_frames++;
	run_release(m, place_of(m, next->self));
}

/* Frames [first, end) became free: in the direction of the edge? */
static void edge_reaches(struct memblock *m, uint64_t first, uint64_t end)
{
	if (m->order == TOP_DOWN)
		m->edge = end > m->edge ? end : m->edge;
	else
		m->edge = first < m->edge ? first : m->edge;
}

/* The run after a place goes; the chunk may go with it. */
static void run_remove(struct memblock *m, struct place p)
{
	struct chunk *c = p.chunk;

	m->run_sum ^= run_mix(&c->run[p.i]);
	c->count--;
	memmove(&c->run[p.i], &c->run[p.i + 1], (c->count - p.i) * sizeof(c->run[0]));
	chunk_shrink(m, c);
}

/* The same, and what it described is free. */
static void run_release(struct memblock *m, struct place p)
{
	const struct run *run = &p.chunk->run[p.i];

	edge_reaches(m, run->first, run_end(run));
	run_remove(m, p);
}

/* Enters [first, first + n), which is free. */
static bool reserve(struct memblock *m, uint64_t first, uint64_t n)
{
	struct place p = place_of(m, first);
	struct run *before = run_before(m, &p), *after = run_after(m, &p);
	bool joins_before = before && run_end(before) == first && !(before->frames & OWN);
	bool joins_after = after && first + n == after->first && !(after->frames & OWN);

	if (joins_before && joins_after) {
		uint64_t end = run_end(after);

		run_set(m, before, before->first, end - before->first);
		if (p.i == p.chunk->count) /* AFTER begins the next chunk */
			p = (struct place){ chunk_next(m, p.chunk), 0 };
		m->free_frames -= n;
		run_remove(m, p);
		return true;
	}
	if (joins_before) {
		run_set(m, before, before->first, before->frames + n);
	} else if (joins_after) {
		run_set(m, after, first, after->frames + n);
	} else {
		if (!make_room(m, first, first, n))
			return false;
		run_insert(m, place_of(m, first), (struct run){ first, n });
	}
	m->free_frames -= n;
	return true;
}

/* ---- the slot ---- */

static uint64_t memblock_state_bytes(const struct memmap *map, const struct frame_config *config,
				     const char **why)
{
	if (!map->frames) {
		*why = "memblock: the memory map has no usable frame";
		return 0;
	}
	if (config->option[OPTION_ORDER] >= DIRECTIONS) {
		*why = "memblock: unknown order";
		return 0;
	}
	return sizeof(struct memblock);
}

static int memblock_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	struct memblock *m = state;

	m->map = *map;
	reach_bind(&m->reach, &config->reach);
	m->largest = memmap_largest(map);
	m->order = config->option[OPTION_ORDER];
	m->header_sum = FRAME_HEADER_SUM(m);
	m->free_frames = map->frames;
	m->edge = m->order == TOP_DOWN ? map->end.n : map->first.n;
	return 0;
}

static int memblock_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct memblock *m = state;
	uint64_t n = request->frames, at;

	if (request->flags & FRAME_AT) {
		at = request->at.n;
		if (!memblock_is_free(m, at, n))
			return KERR_NO_MEMORY;
	} else {
		at = m->order == TOP_DOWN
			     ? find_down(m, n, request->align_frames)
			     : memblock_find(m, m->edge, m->map.end.n, n, request->align_frames);
		if (at == NO_FRAME)
			return KERR_NO_MEMORY;
	}
	uint64_t edge = m->edge;

	/* One frame is the first in that direction that is free at all. */
	if (n == 1 && request->align_frames == 1 && !(request->flags & FRAME_AT))
		m->edge = m->order == TOP_DOWN ? at : at + 1;
	if (!reserve(m, at, n)) {
		m->edge = edge;
		return KERR_NO_MEMORY;
	}
	*out = (struct frame_block){ pfn(at), request->frames };
	return 0;
}

/* Frees [first, end) in the middle of a run, which becomes two. */
static void free_middle(struct memblock *m, uint64_t first, uint64_t end)
{
	struct place p = place_of(m, first);
	uint64_t run_first = p.chunk->run[p.i].first, last = run_end(&p.chunk->run[p.i]);
	bool fits = make_room(m, first, 0, 0);

	if (!fits) {
		/* The lowest frame freed stays, for a chunk: until it is entered it is in the run.
		 */
		run_set(m, &p.chunk->run[p.i], run_first, first - run_first);
		m->free_frames++;
		chunk_split(m, p.chunk, first);
		first++;
		m->free_frames += end - first;
		run_insert(m, place_of(m, end), (struct run){ end, last - end });
	} else {
		p = place_of(m, first);
		run_set(m, &p.chunk->run[p.i], run_first, first - run_first);
		run_insert(m, (struct place){ p.chunk, p.i + 1 }, (struct run){ end, last - end });
		m->free_frames += end - first;
	}
	edge_reaches(m, first, end);
}

static int memblock_free(void *state, const struct frame_block *block)
{
	struct memblock *m = state;
	uint64_t first = block->first.n, end = first + block->frames;
	struct place p = place_of(m, first);

	if (p.i == p.chunk->count)
		return KERR_NOT_OWNED;
	struct run *run = &p.chunk->run[p.i];

	if (run->frames & OWN || first < run->first || end > run_end(run))
		return KERR_NOT_OWNED;
	if (first > run->first && end < run_end(run)) {
		free_middle(m, first, end);
		return 0;
	}
	m->free_frames += end - first;
	if (first == run->first && end == run_end(run)) {
		run_release(m, p);
		return 0;
	}
	if (first == run->first)
		run_set(m, run, end, run->frames - (end - first));
	else
		run_set(m, run, run->first, first - run->first);
	edge_reaches(m, first, end);
	return 0;
}

static void memblock_stats(const void *state, struct frame_stats *out)
{
	const struct memblock *m = state;

	*out = (struct frame_stats){ .managed_frames = m->map.frames,
				     .free_frames = m->free_frames,
				     .kept_frames = m->chunks };
}

static int memblock_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	const struct memblock *m = state;
	struct way w = way_from(m, m->map.first.n);
	uint64_t first = 0, end = 0; /* the gap that comes next */

	for (uint32_t i = 0; i < m->map.count; i++) {
		uint64_t at = m->map.ranges[i].first.n, r_end = at + m->map.ranges[i].frames;

		while (at < r_end) {
			if (end <= at && !gap_up(&w, at, &first, &end))
				first = end = UINT64_MAX;
			bool is_free = first <= at;
			uint64_t to = is_free ? end : first < r_end ? first : r_end;
			struct frame_extent e = { pfn(at), to - at,
						  is_free ? FRAME_FREE : FRAME_USED };

			if (visit(ctx, &e))
				return KERR_STOP;
			at = to;
		}
	}
	return 0;
}

/* ---- check ---- */

struct survey {
	uint64_t sum, frames, own;
	struct run last; /* the run before */
};

static int check_run(const struct memblock *m, const struct run *r, struct survey *s,
		     struct violation *violation)
{
	uint64_t frames = run_frames(r);

	if (!frames || r->first < run_end(&s->last) ||
	    !memmap_holds(&m->map, pfn(r->first), frames))
		return frame_violation(violation, 3, pfn(r->first),
				       "runs ascend, and lie in a range of the map");
	if (run_frames(&s->last) && r->first == run_end(&s->last) &&
	    !((r->frames | s->last.frames) & OWN))
		return frame_violation(violation, 3, pfn(r->first), "no two runs touch");
	if (r->frames & OWN && (frames != 1 || chunk_at(m, r->first)->self != r->first))
		return frame_violation(violation, 4, pfn(r->first),
				       "the array's own frames hold chunks");
	s->own += (r->frames & OWN) != 0;
	s->sum ^= run_mix(r);
	s->frames += frames;
	s->last = *r;
	return 0;
}

/* A chunk whose frame is known to be in the map. */
static int check_chunk(const struct memblock *m, const struct chunk *c, uint64_t prev,
		       uint64_t self, struct survey *s, struct violation *violation)
{
	if (c->prev != prev || c->self != self || c->count > chunk_room(c) ||
	    (!c->count && self != NO_FRAME))
		return frame_violation(violation, 2, pfn(self),
				       "chunks are linked both ways, and none is empty");
	for (uint64_t i = 0; i < c->count; i++) {
		int error = check_run(m, &c->run[i], s, violation);

		if (error)
			return error;
	}
	return 0;
}

static int check_array(const struct memblock *m, struct survey *s, struct violation *violation)
{
	uint64_t prev = NO_FRAME, self = NO_FRAME;

	for (uint64_t n = 0;; n++) {
		const struct chunk *c = chunk_at(m, self);
		int error = check_chunk(m, c, prev, self, s, violation);

		if (error)
			return error;
		prev = self;
		self = c->next;
		if (self == NO_FRAME && n == m->chunks)
			break;
		if (n == m->chunks || !memmap_find(&m->map, pfn(self)))
			return frame_violation(violation, 2, pfn(self),
					       "there are as many chunks as are counted");
	}
	if (s->own != m->chunks)
		return frame_violation(violation, 4, m->map.first,
				       "each chunk's frame is the array's own");
	return 0;
}

static int memblock_check(const void *state, struct violation *violation)
{
	const struct memblock *m = state;
	struct survey s = { 0 };
	uint64_t first, end;
	int error;

	if (m->header_sum != FRAME_HEADER_SUM(m))
		return frame_violation(violation, 1, pfn(0), "the header is as init left it");
	if (!memmap_is_sound(&m->map))
		return frame_violation(violation, 1, pfn(0), "the memory map is sound");
	error = check_array(m, &s, violation);
	if (error)
		return error;
	if (s.sum != m->run_sum)
		return frame_violation(violation, 5, m->map.first, "run_sum is that of the runs");
	if (s.frames + m->free_frames != m->map.frames)
		return frame_violation(violation, 6, m->map.first,
				       "free_frames are the frames in no run");
	if (m->edge < m->map.first.n || m->edge > m->map.end.n)
		return frame_violation(violation, 7, pfn(m->edge), "the edge lies in the map");
	struct way w = way_from(m, m->order == TOP_DOWN ? m->edge : m->map.first.n);

	if (gap_up(&w, m->order == TOP_DOWN ? m->edge : m->map.first.n, &first, &end) &&
	    (m->order == TOP_DOWN || first < m->edge))
		return frame_violation(violation, 7, pfn(first), "nothing is free beyond the edge");
	return 0;
}

static const char *const orders[] = { "top-down", "bottom-up", NULL };

static const struct frame_option options[] = {
	[OPTION_ORDER] = { .key = "order",
			   .help = "which end of memory goes out first",
			   .choices = orders,
			   .value = TOP_DOWN },
	{ .key = NULL },
};

const struct frame_ops frame_memblock = {
	.name = "memblock",
	.id = "F6",
	.summary = "sorted arrays of runs; the array grows by allocating from itself",
	.caps = FRAME_CAP_RUNS | FRAME_CAP_ANY_COUNT | FRAME_CAP_ALIGN | FRAME_CAP_AT |
		FRAME_CAP_FREE | FRAME_CAP_PARTIAL_FREE | FRAME_CAP_IN_FRAME,
	.options = options,
	.state_bytes = memblock_state_bytes,
	.init = memblock_init,
	.alloc = memblock_alloc,
	.free = memblock_free,
	.stats = memblock_stats,
	.walk = memblock_walk,
	.check = memblock_check,
};
