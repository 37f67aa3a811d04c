#include "tests/explore/planted_frames.h"

#include "alloc/bitops.h"

/* A bit a frame of the span, 1: free; and a list of free frames, for those that keep one. */
struct planted {
	struct memmap map;
	uint64_t span, words;
	uint64_t flag;	 /* a lock by another name */
	uint64_t head;	 /* of the list: frame number, or NONE */
	uint64_t link[]; /* by frame, the list's; then the words */
};

#define NONE	    UINT64_MAX
#define LOAD(p)	    __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

static bool swap(uint64_t *at, uint64_t *old, uint64_t new)
{
	return __atomic_compare_exchange_n(at, old, new, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static uint64_t *word_of(const struct planted *p, uint64_t index)
{
	return (uint64_t *)(uintptr_t)&p->link[p->span + index];
}

static uint64_t bytes_of(const struct memmap *map)
{
	uint64_t span = map->end.n;

	return sizeof(struct planted) + (span + span / BITS_PER_WORD + 1) * sizeof(uint64_t);
}

static uint64_t planted_state_bytes(const struct memmap *map, const struct frame_config *config,
				    const char **why)
{
	(void)config;
	(void)why;
	return bytes_of(map);
}

static void set_bit(struct planted *p, uint64_t frame)
{
	*word_of(p, frame / BITS_PER_WORD) |= 1ull << frame % BITS_PER_WORD;
}

static int planted_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	struct planted *p = state;

	(void)config;
	p->map = *map;
	p->span = map->end.n;
	p->words = p->span / BITS_PER_WORD + 1;
	p->head = NONE;
	for (uint32_t r = map->count; r-- > 0;)
		for (uint64_t i = map->ranges[r].frames; i-- > 0;) {
			uint64_t frame = map->ranges[r].first.n + i;

			set_bit(p, frame);
			p->link[frame] = p->head;
			p->head = frame;
		}
	return 0;
}

static int hand_out(struct frame_block *out, uint64_t frame)
{
	*out = (struct frame_block){ pfn(frame), 1 };
	return 0;
}

/* ---- what is right ---- */

static int right_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct planted *p = state;

	(void)request;
	for (uint64_t i = 0; i < p->words; i++) {
		uint64_t *word = word_of(p, i), old = LOAD(word);

		while (old)
			if (swap(word, &old, old & (old - 1)))
				return hand_out(out, i * BITS_PER_WORD + bit_lowest(old));
	}
	return KERR_NO_MEMORY;
}

static int right_free(void *state, const struct frame_block *block)
{
	struct planted *p = state;
	uint64_t bit = 1ull << block->first.n % BITS_PER_WORD;

	if (!memmap_holds(&p->map, block->first, block->frames))
		return KERR_NOT_OWNED;
	return __atomic_fetch_or(word_of(p, block->first.n / BITS_PER_WORD), bit,
				 __ATOMIC_ACQ_REL) &
			       bit
		       ? KERR_NOT_OWNED
		       : 0;
}

/* ---- the list: ABA ---- */

/* Between looking at the head's link and swapping, the head may go, and come back with another
 * link: the new head is then somebody's. */
static int aba_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct planted *p = state;
	uint64_t head = LOAD(&p->head);

	(void)request;
	while (head != NONE)
		if (swap(&p->head, &head, LOAD(&p->link[head])))
			return hand_out(out, head);
	return KERR_NO_MEMORY;
}

static int list_free(void *state, const struct frame_block *block)
{
	struct planted *p = state;
	uint64_t head = LOAD(&p->head);

	if (!memmap_holds(&p->map, block->first, block->frames))
		return KERR_NOT_OWNED;
	do
		STORE(&p->link[block->first.n], head);
	while (!swap(&p->head, &head, block->first.n));
	return 0;
}

static uint64_t list_next(const struct planted *p, uint64_t frame)
{
	return frame == NONE ? p->head : p->link[frame];
}

static bool in_list(const struct planted *p, uint64_t frame)
{
	uint64_t steps = 0;

	for (uint64_t at = list_next(p, NONE); at != NONE && steps <= p->span; steps++) {
		if (at == frame)
			return true;
		at = list_next(p, at);
	}
	return false;
}

/* ---- lost updates ---- */

static int torn_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct planted *p = state;

	(void)request;
	for (uint64_t i = 0; i < p->words; i++) {
		uint64_t *word = word_of(p, i), old = LOAD(word);

		if (!old)
			continue;
		STORE(word, old & (old - 1)); /* whatever it is by now */
		return hand_out(out, i * BITS_PER_WORD + bit_lowest(old));
	}
	return KERR_NO_MEMORY;
}

static int torn_free(void *state, const struct frame_block *block)
{
	struct planted *p = state;
	uint64_t *word = word_of(p, block->first.n / BITS_PER_WORD);

	if (!memmap_holds(&p->map, block->first, block->frames))
		return KERR_NOT_OWNED;
	STORE(word, LOAD(word) | 1ull << block->first.n % BITS_PER_WORD);
	return 0;
}

/* ---- compare-and-swap that is not tried again ---- */

static int once_free(void *state, const struct frame_block *block)
{
	struct planted *p = state;
	uint64_t *word = word_of(p, block->first.n / BITS_PER_WORD), old = LOAD(word);

	if (!memmap_holds(&p->map, block->first, block->frames))
		return KERR_NOT_OWNED;
	(void)swap(word, &old, old | 1ull << block->first.n % BITS_PER_WORD);
	return 0;
}

static int once_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct planted *p = state;

	(void)request;
	for (uint64_t i = 0; i < p->words; i++) {
		uint64_t *word = word_of(p, i), old = LOAD(word), first = old;

		/* Somebody else was there: it goes on to the next word, with this one not empty. */
		if (old && swap(word, &old, old & (old - 1)))
			return hand_out(out, i * BITS_PER_WORD + bit_lowest(first));
	}
	return KERR_NO_MEMORY;
}

/* Takes what it saw although the swap says that it has changed. */
static int heedless_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct planted *p = state;

	(void)request;
	for (uint64_t i = 0; i < p->words; i++) {
		uint64_t *word = word_of(p, i), old = LOAD(word), first = old;

		if (!old)
			continue;
		(void)swap(word, &old, old & (old - 1));
		return hand_out(out, i * BITS_PER_WORD + bit_lowest(first));
	}
	return KERR_NO_MEMORY;
}

/* ---- a lock by another name ---- */

static int waits_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct planted *p = state;

	while (__atomic_exchange_n(&p->flag, 1, __ATOMIC_ACQUIRE))
		;
	int status = torn_alloc(state, request, out);
	STORE(&p->flag, 0);
	return status;
}

static int waits_free(void *state, const struct frame_block *block)
{
	struct planted *p = state;

	while (__atomic_exchange_n(&p->flag, 1, __ATOMIC_ACQUIRE))
		;
	int status = torn_free(state, block);
	STORE(&p->flag, 0);
	return status;
}

/* ---- what all have ---- */

static bool is_free(const struct planted *p, uint64_t frame)
{
	return *word_of(p, frame / BITS_PER_WORD) >> frame % BITS_PER_WORD & 1;
}

static int walk_by(const struct planted *p, bool (*test)(const struct planted *, uint64_t),
		   frame_visit_fn visit, void *ctx)
{
	for (uint32_t r = 0; r < p->map.count; r++)
		for (uint64_t i = 0; i < p->map.ranges[r].frames; i++) {
			uint64_t frame = p->map.ranges[r].first.n + i;
			struct frame_extent extent = { pfn(frame), 1,
						       test(p, frame) ? FRAME_FREE : FRAME_USED };

			if (visit(ctx, &extent))
				return KERR_STOP;
		}
	return 0;
}

static int planted_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	return walk_by(state, is_free, visit, ctx);
}

static int list_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	return walk_by(state, in_list, visit, ctx);
}

static void planted_stats(const void *state, struct frame_stats *out)
{
	const struct planted *p = state;
	uint64_t count = 0;

	for (uint64_t i = 0; i < p->words; i++)
		count += bit_count(*word_of(p, i));
	*out = (struct frame_stats){ .managed_frames = p->map.frames, .free_frames = count };
}

static void list_stats(const void *state, struct frame_stats *out)
{
	const struct planted *p = state;
	uint64_t count = 0;

	for (uint64_t at = p->head; at != NONE && count <= p->span; count++)
		at = p->link[at];
	*out = (struct frame_stats){ .managed_frames = p->map.frames, .free_frames = count };
}

static int planted_check(const void *state, struct violation *violation)
{
	(void)state;
	(void)violation;
	return 0;
}

#define PLANTED(symbol, label, text, alloc_fn, free_fn, walk_fn, stats_fn) \
	static const struct frame_ops symbol = {                           \
		.name = label,                                             \
		.id = "-",                                                 \
		.summary = text,                                           \
		.caps = FRAME_CAP_FREE | FRAME_CAP_LOCKLESS,               \
		.state_bytes = planted_state_bytes,                        \
		.init = planted_init,                                      \
		.alloc = alloc_fn,                                         \
		.free = free_fn,                                           \
		.stats = stats_fn,                                         \
		.walk = walk_fn,                                           \
		.check = planted_check,                                    \
	}

PLANTED(right, "right", "no defect", right_alloc, right_free, planted_walk, planted_stats);
PLANTED(aba, "aba", "a list whose head may come back", aba_alloc, list_free, list_walk, list_stats);
PLANTED(lost_alloc, "lost-alloc", "alloc by load and store", torn_alloc, right_free, planted_walk,
	planted_stats);
PLANTED(lost_free, "lost-free", "free by load and store", right_alloc, torn_free, planted_walk,
	planted_stats);
PLANTED(free_once, "free-once", "free whose swap is not tried again", right_alloc, once_free,
	planted_walk, planted_stats);
PLANTED(alloc_once, "alloc-once", "alloc whose swap is not tried again", once_alloc, right_free,
	planted_walk, planted_stats);
PLANTED(heedless, "heedless", "alloc that heeds no failed swap", heedless_alloc, right_free,
	planted_walk, planted_stats);
PLANTED(waits, "waits", "waits for others", waits_alloc, waits_free, planted_walk, planted_stats);

const struct frame_ops *const planted_frames[] = {
	&right, &aba, &lost_alloc, &lost_free, &free_once, &alloc_once, &heedless, &waits, NULL,
};
