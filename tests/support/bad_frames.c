#include "tests/support/bad_frames.h"

#include "alloc/frame/systems.h"

enum defect { TWICE, LOSES, SHIFTED, FOREIGN, CORRUPT, OVERRUN, SCRIBBLE, LIAR };

struct bad {
	enum defect defect;
	uint32_t inner; /* index into inners[] */
	uint64_t every, word;
	uint64_t calls; /* that the defect could have struck at */
	uint64_t state_bytes;
	struct pfn end;		 /* of the map */
	struct frame_block last; /* handed out */
	struct reach reach;
};

static const struct frame_ops *const inners[] = { &frame_bitmap, &frame_stack, &frame_buddy };
static const char *const inner_names[] = { "bitmap", "stack", "buddy", NULL };

static const struct frame_option options[] = {
	[BAD_OPTION_INNER] = { .key = "inner", .help = "system inside", .choices = inner_names },
	[BAD_OPTION_EVERY] = { .key = "every",
			       .help = "strike at every n-th call",
			       .value = 100,
			       .min = 1,
			       .max = UINT64_MAX },
	[BAD_OPTION_WORD] = { .key = "word",
			      .help = "which word of the inner state to corrupt",
			      .value = 20,
			      .max = UINT64_MAX },
	{ .key = NULL },
};

static const struct frame_ops *inner_of(const struct bad *b)
{
	return inners[b->inner];
}

static void *inner_state(void *state)
{
	return (char *)state + FRAME_BYTES;
}

static const void *inner_state_const(const void *state)
{
	return (const char *)state + FRAME_BYTES;
}

static struct frame_config inner_config(const struct frame_config *config)
{
	struct frame_config inner;

	frame_config_defaults(inners[config->option[BAD_OPTION_INNER]], &inner);
	inner.reach = config->reach;
	inner.cpus = config->cpus;
	inner.seed = config->seed;
	return inner;
}

static uint64_t bad_state_bytes(const struct memmap *map, const struct frame_config *config,
				const char **why)
{
	if (config->option[BAD_OPTION_INNER] >= sizeof(inners) / sizeof(inners[0])) {
		*why = "bad: unknown inner system";
		return 0;
	}
	struct frame_config inner = inner_config(config);
	uint64_t bytes = inners[config->option[BAD_OPTION_INNER]]->state_bytes(map, &inner, why);

	return bytes ? FRAME_BYTES + bytes : 0;
}

static int bad_init(void *state, const struct memmap *map, const struct frame_config *config,
		    enum defect defect)
{
	struct bad *b = state;
	struct frame_config inner = inner_config(config);
	const char *why;

	b->defect = defect;
	b->inner = (uint32_t)config->option[BAD_OPTION_INNER];
	b->every = config->option[BAD_OPTION_EVERY];
	b->word = config->option[BAD_OPTION_WORD];
	b->state_bytes = bad_state_bytes(map, config, &why);
	b->end = map->end;
	reach_bind(&b->reach, &config->reach);
	return inner_of(b)->init(inner_state(state), map, &inner);
}

/* Whether the defect strikes now, given that it is of this kind. */
static bool strikes(struct bad *b, enum defect defect)
{
	return b->defect == defect && ++b->calls % b->every == 0;
}

static void corrupt(struct bad *b)
{
	uint64_t words = (b->state_bytes - FRAME_BYTES) / sizeof(uint64_t);
	uint64_t *word = inner_state(b);

	word[b->word % words] ^= 1ull << b->calls % 64;
}

static void overrun(struct bad *b)
{
	*((volatile char *)b + b->state_bytes) = 1;
}

static void scribble(struct bad *b)
{
	char *contents = frame_open(&b->reach, b->last.first);

	contents[100] = 1;
	frame_close(&b->reach, contents);
}

static int bad_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct bad *b = state;

	if (b->last.frames >= request->frames && strikes(b, TWICE)) {
		*out = b->last;
		return 0;
	}
	if (strikes(b, FOREIGN)) {
		*out = (struct frame_block){ b->end, request->frames };
		return 0;
	}
	struct frame_block block;
	int error = inner_of(b)->alloc(inner_state(state), request, &block);

	if (error)
		return error;
	if (strikes(b, CORRUPT))
		corrupt(b);
	if (strikes(b, OVERRUN))
		overrun(b);
	if (b->last.frames && strikes(b, SCRIBBLE))
		scribble(b);
	b->last = block;
	if (strikes(b, SHIFTED))
		block.first.n++;
	*out = block;
	return 0;
}

static int bad_free(void *state, const struct frame_block *block)
{
	struct bad *b = state;

	if (strikes(b, LOSES))
		return 0;
	if (block->first.n == b->last.first.n)
		b->last.frames = 0; /* in use no longer: no defect to hand it out again */
	return inner_of(b)->free(inner_state(state), block);
}

static void bad_stats(const void *state, struct frame_stats *out)
{
	const struct bad *b = state;

	inner_of(b)->stats(inner_state_const(state), out);
	out->free_frames += b->defect == LIAR;
}

static int bad_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	return inner_of(state)->walk(inner_state_const(state), visit, ctx);
}

static int bad_check(const void *state, struct violation *violation)
{
	return inner_of(state)->check(inner_state_const(state), violation);
}

#define BAD(symbol, label, text, defect)                                \
	static int symbol##_init(void *state, const struct memmap *map, \
				 const struct frame_config *config)     \
	{                                                               \
		return bad_init(state, map, config, defect);            \
	}                                                               \
	const struct frame_ops bad_frames_##symbol = {                  \
		.name = label,                                          \
		.id = "-",                                              \
		.summary = text,                                        \
		.caps = FRAME_CAP_FREE | FRAME_CAP_RUNS,                \
		.options = options,                                     \
		.state_bytes = bad_state_bytes,                         \
		.init = symbol##_init,                                  \
		.alloc = bad_alloc,                                     \
		.free = bad_free,                                       \
		.stats = bad_stats,                                     \
		.walk = bad_walk,                                       \
		.check = bad_check,                                     \
	}

BAD(twice, "bad-twice", "hands out a frame that is in use", TWICE);
BAD(loses, "bad-loses", "a free that frees nothing", LOSES);
BAD(shifted, "bad-shifted", "a block that begins one frame later", SHIFTED);
BAD(foreign, "bad-foreign", "a frame that is not in the map", FOREIGN);
BAD(corrupt, "bad-corrupt", "flips a bit of the inner metadata", CORRUPT);
BAD(overrun, "bad-overrun", "writes behind its state", OVERRUN);
BAD(scribble, "bad-scribble", "writes into a frame that is in use", SCRIBBLE);
BAD(liar, "bad-liar", "counts one free frame too many", LIAR);

const struct frame_ops *const bad_frames[] = {
	&bad_frames_twice,    &bad_frames_loses,   &bad_frames_shifted,
	&bad_frames_foreign,  &bad_frames_corrupt, &bad_frames_overrun,
	&bad_frames_scribble, &bad_frames_liar,	   NULL,
};
