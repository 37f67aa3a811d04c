#include "tests/replay/defect_frames.h"

#include "alloc/frame/systems.h"
#include "alloc/port.h"

enum defect {
	FEWER,
	NOTHING,
	HUGE_BLOCK,
	MISALIGNED,
	REFUSES,
	PANICS,
	PANICS_IN_FREE,
	FAULTS,
	READS_LIVE,
	WRITES_FREE,
	WRITES_TABLES,
	WRITES_GLOBAL,
	KEPT_WINDOW,
	BOOT_FAULTS,
	BOOT_PANICS,
	BOOT_FAILS,
	WALKS_BACK,
	WALK_HIDES_USED,
	WALK_HIDES_FREE,
	WALK_LEAVES_MAP,
	CLAIMS_KEPT,
	CHECK_FAULTS,
	STRAYS,
	JUMPS,
	DIVIDES,
	OVERFLOWS,
	SPINS,
	SPINS_BARE,
	CHECK_SPINS,
};

struct defective {
	enum defect defect;
	uint64_t at, calls;
	struct frame_block last; /* handed out */
	struct reach reach;
	uint64_t map_frames;
};

/* What kernel code must not have; the lint over alloc/ finds such, here the probes must. */
static uint64_t global;

static const struct frame_option options[] = {
	[DEFECT_OPTION_AT] = { .key = "at",
			       .help = "strike at that call",
			       .value = 20,
			       .min = 1,
			       .max = UINT64_MAX },
	{ .key = NULL },
};

static void *inner(void *state)
{
	return (char *)state + FRAME_BYTES;
}

static const void *inner_const(const void *state)
{
	return (const char *)state + FRAME_BYTES;
}

static uint64_t defect_state_bytes(const struct memmap *map, const struct frame_config *config,
				   const char **why)
{
	struct frame_config own;

	frame_config_defaults(&frame_bitmap, &own);
	own.reach = config->reach;
	return FRAME_BYTES + frame_bitmap.state_bytes(map, &own, why);
}

/* Nothing is mapped there: behind the direct map and the loader's window, in both machines. */
static volatile uint64_t *nowhere(const struct defective *d)
{
	return (volatile uint64_t *)port_ptr(vaddr_add(d->reach.direct, 0x2fff0000));
}

static int defect_init(void *state, const struct memmap *map, const struct frame_config *config,
		       enum defect defect)
{
	struct defective *d = state;
	struct frame_config own;

	frame_config_defaults(&frame_bitmap, &own);
	own.reach = config->reach;
	own.cpus = config->cpus;
	d->defect = defect;
	d->at = config->option[DEFECT_OPTION_AT];
	d->map_frames = map->frames;
	reach_bind(&d->reach, &config->reach);
	if (defect == BOOT_FAULTS)
		*nowhere(d) = 1;
	if (defect == BOOT_PANICS)
		port_panic("planted panic at boot");
	if (defect == BOOT_FAILS)
		return KERR_NO_MEMORY;
	return frame_bitmap.init(inner(state), map, &own);
}

static bool strikes(struct defective *d, enum defect defect)
{
	return d->defect == defect && ++d->calls == d->at;
}

static void touch_frame(const struct defective *d, struct pfn frame, bool write)
{
	volatile uint64_t *contents = (volatile uint64_t *)frame_open(&d->reach, frame);

	if (write)
		contents[8] = 1;
	else
		(void)contents[8];
}

static uint64_t deeper(volatile uint64_t *left)
{
	volatile uint64_t here[512];

	here[0] = (*left)--;
	return *left ? here[0] + deeper(left) + here[0] : 0;
}

/* What the host ends a program for. */
static void crash(struct defective *d)
{
	volatile uint64_t zero = 0, low = 240, deep = 1u << 20;

	if (strikes(d, STRAYS))
		*(volatile uint64_t *)low = 1;
	if (strikes(d, JUMPS))
		((void (*)(void))zero)();
	if (strikes(d, DIVIDES))
		d->calls /= zero;
	if (strikes(d, OVERFLOWS))
		d->calls = deeper(&deep);
}

/* Locks that nobody gives back: one in memory, one in a register. */
static void spin(struct defective *d)
{
	volatile struct defective *watched = d;

	if (strikes(d, SPINS))
		while (watched->at)
			;
	if (strikes(d, SPINS_BARE))
		for (;;)
			;
}

/* Touches what it must not. */
static void trespass(struct defective *d)
{
	if (strikes(d, PANICS))
		port_panic("planted panic");
	if (strikes(d, FAULTS))
		*nowhere(d) = 1;
	if (d->last.frames && strikes(d, READS_LIVE))
		touch_frame(d, d->last.first, false);
	if (strikes(d, WRITES_TABLES))
		touch_frame(d, paddr_to_pfn((struct paddr){ port_read_cr3() }), true);
	if (strikes(d, WRITES_GLOBAL))
		*(volatile uint64_t *)&global += 1;
	if (strikes(d, KEPT_WINDOW))
		*(volatile uint64_t *)port_boot_ptr((struct paddr){ 0x200000 }) = 1;
}

static int defect_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct defective *d = state;
	struct frame_block block;

	trespass(d);
	crash(d);
	spin(d);
	bool shift = request->align_frames > 1 && strikes(d, MISALIGNED);
	struct frame_request wider = *request;
	wider.frames += shift;
	int error = frame_bitmap.alloc(inner(state), &wider, &block);
	if (error)
		return error;
	d->last = block;
	if (block.frames > 1 && strikes(d, FEWER))
		block.frames--;
	if (strikes(d, NOTHING))
		block.frames = 0;
	if (strikes(d, HUGE_BLOCK))
		block.frames = UINT32_MAX;
	if (shift)
		block = (struct frame_block){ pfn_add(block.first, 1), request->frames };
	*out = block;
	return 0;
}

static int defect_free(void *state, const struct frame_block *block)
{
	struct defective *d = state;

	if (strikes(d, PANICS_IN_FREE))
		port_panic("planted panic in free");
	if (strikes(d, REFUSES))
		return KERR_NOT_OWNED;
	if (block->first.n == d->last.first.n)
		d->last.frames = 0;
	int error = frame_bitmap.free(inner(state), block);
	if (strikes(d, WRITES_FREE))
		touch_frame(d, block->first, true);
	return error;
}

static void defect_stats(const void *state, struct frame_stats *out)
{
	const struct defective *d = state;

	frame_bitmap.stats(inner_const(state), out);
	if (d->defect == CLAIMS_KEPT)
		out->kept_frames += 3;
}

/* Passes the bitmap's extents on, with the planted lie. */
struct walk {
	const struct defective *d;
	frame_visit_fn visit;
	void *ctx;
	struct frame_extent first;
};

static int pass_on(void *ctx, const struct frame_extent *extent)
{
	struct walk *walk = ctx;
	enum defect defect = walk->d->defect;

	if ((defect == WALK_HIDES_USED && extent->state == FRAME_USED) ||
	    (defect == WALK_HIDES_FREE && extent->state == FRAME_FREE))
		return 0;
	if (!walk->first.frames)
		walk->first = *extent;
	return walk->visit(walk->ctx, extent);
}

static int defect_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	struct walk walk = { .d = state, .visit = visit, .ctx = ctx };
	int status = frame_bitmap.walk(inner_const(state), pass_on, &walk);
	struct frame_extent beyond = { { walk.d->reach.direct_end.n }, 1, FRAME_FREE };

	if (!status && walk.d->defect == WALKS_BACK && walk.first.frames)
		status = visit(ctx, &walk.first);
	if (!status && walk.d->defect == WALK_LEAVES_MAP)
		status = visit(ctx, &beyond);
	return status;
}

static int defect_check(const void *state, struct violation *violation)
{
	const struct defective *d = state;

	if (d->defect == CHECK_FAULTS)
		(void)*nowhere(d);
	for (volatile const uint64_t *at = &d->at; d->defect == CHECK_SPINS && *at;)
		;
	return frame_bitmap.check(inner_const(state), violation);
}

#define DEFECT(symbol, label, text, which)                                                       \
	static int symbol##_init(void *state, const struct memmap *map,                          \
				 const struct frame_config *config)                              \
	{                                                                                        \
		return defect_init(state, map, config, which);                                   \
	}                                                                                        \
	static const struct frame_ops symbol = {                                                 \
		.name = label,                                                                   \
		.id = "-",                                                                       \
		.summary = text,                                                                 \
		.caps = FRAME_CAP_FREE | FRAME_CAP_RUNS | FRAME_CAP_ANY_COUNT | FRAME_CAP_ALIGN, \
		.options = options,                                                              \
		.state_bytes = defect_state_bytes,                                               \
		.init = symbol##_init,                                                           \
		.alloc = defect_alloc,                                                           \
		.free = defect_free,                                                             \
		.stats = defect_stats,                                                           \
		.walk = defect_walk,                                                             \
		.check = defect_check,                                                           \
	}

DEFECT(fewer, "fewer", "a block of one frame less than asked for", FEWER);
DEFECT(nothing, "nothing", "a block of no frames", NOTHING);
DEFECT(huge_block, "huge-block", "a block of 2^32 - 1 frames", HUGE_BLOCK);
DEFECT(misaligned, "misaligned", "a block one frame off its alignment", MISALIGNED);
DEFECT(refuses, "refuses", "a free of its own block that fails", REFUSES);
DEFECT(panics, "panics", "a panic in alloc", PANICS);
DEFECT(panics_in_free, "panics-in-free", "a panic in free", PANICS_IN_FREE);
DEFECT(faults, "faults", "a write where nothing is mapped", FAULTS);
DEFECT(reads_live, "reads-live", "a read of a frame that is in use", READS_LIVE);
DEFECT(writes_free, "writes-free", "a record in a free frame, undeclared", WRITES_FREE);
DEFECT(writes_tables, "writes-tables", "a write into the page tables", WRITES_TABLES);
DEFECT(writes_global, "writes-global", "state outside simulated RAM", WRITES_GLOBAL);
DEFECT(kept_window, "kept-window", "a boot pointer used when the window is gone", KEPT_WINDOW);
DEFECT(boot_faults, "boot-faults", "a write where nothing is mapped, in init", BOOT_FAULTS);
DEFECT(boot_panics, "boot-panics", "a panic in init", BOOT_PANICS);
DEFECT(boot_fails, "boot-fails", "an init that fails", BOOT_FAILS);
DEFECT(walks_back, "walks-back", "walk() that shows its first extent again", WALKS_BACK);
DEFECT(walk_hides_used, "walk-hides-used", "walk() without the used extents", WALK_HIDES_USED);
DEFECT(walk_hides_free, "walk-hides-free", "walk() without the free extents", WALK_HIDES_FREE);
DEFECT(walk_leaves_map, "walk-leaves-map", "walk() that shows a frame beyond RAM", WALK_LEAVES_MAP);
DEFECT(claims_kept, "claims-kept", "stats() that counts frames as kept", CLAIMS_KEPT);
DEFECT(check_faults, "check-faults", "check() that touches what is not mapped", CHECK_FAULTS);
DEFECT(strays, "strays", "a write to the lab's memory", STRAYS);
DEFECT(jumps, "jumps", "a call of a null pointer", JUMPS);
DEFECT(divides, "divides", "a division by zero", DIVIDES);
DEFECT(overflows, "overflows", "a recursion without an end", OVERFLOWS);
DEFECT(spins, "spins", "an endless loop over memory", SPINS);
DEFECT(spins_bare, "spins-bare", "an endless loop over nothing", SPINS_BARE);
DEFECT(check_spins, "check-spins", "a check() that does not end", CHECK_SPINS);

const struct frame_ops *const defect_frames[] = {
	&fewer,		&nothing,	 &huge_block,	   &misaligned,	     &refuses,
	&panics,	&panics_in_free, &faults,	   &reads_live,	     &writes_free,
	&writes_tables, &writes_global,	 &kept_window,	   &boot_faults,     &boot_panics,
	&boot_fails,	&walks_back,	 &walk_hides_used, &walk_hides_free, &walk_leaves_map,
	&claims_kept,	&check_faults,	 &strays,	   &jumps,	     &divides,
	&overflows,	&spins,		 &spins_bare,	   &check_spins,     NULL,
};
