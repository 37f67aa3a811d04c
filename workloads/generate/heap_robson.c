/*
 * Robson's adversary: the program that forces any allocator which does not move objects, and whose
 * objects have sizes of powers of two, to use much more memory than is ever alive.
 *
 * The construction is the lower bound of J. M. Robson, An estimate of the store size necessary for
 * dynamic storage allocation, JACM 18(3), 1971 (bounds: Bounds for some functions concerning
 * dynamic storage allocation, JACM 21(3), 1974). In words; M words may be alive, objects have up to
 * n = 2^k:
 *
 *   step 0   allocate M objects of 1 word; f = 0
 *   step i   f becomes f or f + 2^(i-1), whichever makes
 *     1..k         sum over the live objects that hold a word at an address = f mod 2^i
 *                  of 2^i - size
 *            the greater. Every object that holds no such word is freed; then objects of 2^i words
 *            are allocated for as long as M words are not exceeded.
 *
 *   words   |f.......|f.......|f.......|      an object stays where it pins a stretch of 2^i words,
 *            ##       ####        free         in which another of 2^i has no room beside it
 *
 * Whatever the allocator does, it ends with M (k/2 + 1) - n + 1 words or more. Which objects are
 * freed depends on where the allocator put them, and a trace cannot ask: the adversary plays
 * against a model of address-ordered first fit (which an option makes aligned to the objects'
 * sizes) on a heap without headers. A replay on an allocator that places in the same way meets the
 * bound; others are only badly fragmented. What the model needed is left as a marker in the trace.
 *
 * Invariants
 * 1. live <= M words; the words of live objects do not overlap.
 * 2. Objects lie in the array by ascending address.
 * 3. After step i every live object holds a word at an address = f mod 2^i.
 */
#include "workloads/generate/emit.h"
#include "workloads/generate/families.h"

enum {
	ROBSON_LIVE = GENERATE_OWN,
	ROBSON_LARGEST,
	ROBSON_WORD,
	ROBSON_ALIGNED,
	ROBSON_ROUNDS,
	ROBSON_DRAIN
};

static const struct generate_parameter robson_parameters[] = {
	GENERATE_COMMON(UINT64_C(256) << 20),
	{ "live", 1 << 20, 64, UINT64_C(1) << 30, 0, "bytes",
	  "M: most that is alive, a multiple of n" },
	{ "largest", 4096, 2, 1 << 30, 0, "bytes", "n: the largest object, a power of two words" },
	{ "word", 16, 1, 4096, 0, "bytes", "the smallest object, a power of two" },
	{ "aligned", 0, 0, 1, 0, "", "1: the allocator aligns objects to their size" },
	{ "rounds", 1, 1, 1000, 0, "", "how often; all is freed in between" },
	{ "drain", 1, 0, 1, 0, "", "1: what is alive at the end is freed" },
	{ NULL },
};

static const char *robson_problem(const uint64_t *value)
{
	uint64_t live = value[ROBSON_LIVE], largest = value[ROBSON_LARGEST];
	uint64_t word = value[ROBSON_WORD];

	if (word & (word - 1))
		return "word is no power of two";
	if (largest & (largest - 1))
		return "largest is no power of two";
	if (largest <= word)
		return "largest is not above word";
	/* The bound is for such: what is left over after the last object would be missing. */
	if (live % largest)
		return "live is no multiple of largest";
	return live / word > UINT64_C(1) << 24 ? "live is more than 2^24 words" : NULL;
}

struct placed {
	uint64_t at, words;
	struct object object;
};

struct robson_play {
	struct generation *generation;
	GArray *placed; /* struct placed */
	uint64_t live;	/* words */
	uint64_t end;	/* one past the highest word that was ever used */
	uint64_t offset;
	uint32_t site, free_site;
};

static bool pins(const struct placed *placed, uint64_t offset, uint64_t stretch)
{
	/* The first address >= at that is = offset mod stretch. */
	uint64_t first = placed->at + ((offset - placed->at) & (stretch - 1));

	return first < placed->at + placed->words;
}

/* The sum by which an offset is chosen. */
static uint64_t pinned(const struct robson_play *play, uint64_t offset, uint64_t stretch)
{
	uint64_t sum = 0;

	for (guint i = 0; i < play->placed->len; i++) {
		const struct placed *placed = &g_array_index(play->placed, struct placed, i);
		if (pins(placed, offset, stretch))
			sum += stretch - placed->words;
	}
	return sum;
}

static void free_unpinned(struct robson_play *play, uint64_t stretch)
{
	guint kept = 0;

	for (guint i = 0; i < play->placed->len && generation_more(play->generation); i++) {
		struct placed placed = g_array_index(play->placed, struct placed, i);
		if (pins(&placed, play->offset, stretch)) {
			g_array_index(play->placed, struct placed, kept++) = placed;
		} else {
			play->live -= placed.words;
			emit_object_free(play->generation, &placed.object, play->free_site);
		}
	}
	g_array_set_size(play->placed, kept);
}

static struct placed place(struct robson_play *play, uint64_t at, uint64_t words)
{
	uint64_t bytes = words * play->generation->value[ROBSON_WORD];
	struct placed placed = { at, words, emit_object(play->generation, bytes, play->site, 0) };

	play->live += words;
	play->end = MAX(play->end, at + words);
	return placed;
}

/* Objects of one size, first fit by address: one walk over the holes, since none is freed between.
 */
static void allocate(struct robson_play *play, uint64_t words)
{
	const uint64_t *value = play->generation->value;
	uint64_t most = value[ROBSON_LIVE] / value[ROBSON_WORD];
	uint64_t align = value[ROBSON_ALIGNED] ? words : 1;
	GArray *old = play->placed;
	uint64_t at = 0;

	play->placed = g_array_sized_new(FALSE, FALSE, sizeof(struct placed), old->len);
	for (guint i = 0; i <= old->len; i++) {
		const struct placed *next =
			i < old->len ? &g_array_index(old, struct placed, i) : NULL;
		at = (at + align - 1) & ~(align - 1);
		for (; play->live + words <= most && (!next || at + words <= next->at) &&
		       generation_more(play->generation);
		     at += words) {
			struct placed placed = place(play, at, words);
			g_array_append_val(play->placed, placed);
		}
		if (!next)
			break;
		g_array_append_val(play->placed, *next);
		at = next->at + next->words;
	}
	g_array_unref(old);
}

static void step(struct robson_play *play, uint64_t words)
{
	uint64_t other = play->offset + words / 2;

	if (pinned(play, other, words) > pinned(play, play->offset, words))
		play->offset = other;
	free_unpinned(play, words);
	allocate(play, words);
}

static void free_all(struct robson_play *play)
{
	for (guint i = 0; i < play->placed->len && generation_more(play->generation); i++)
		emit_object_free(play->generation,
				 &g_array_index(play->placed, struct placed, i).object,
				 play->free_site);
	g_array_set_size(play->placed, 0);
	play->live = 0;
	play->offset = 0;
}

/* M (k/2 + 1) - n + 1 words, in bytes. */
static uint64_t robson_bound(const uint64_t *value)
{
	uint64_t live = value[ROBSON_LIVE] / value[ROBSON_WORD];
	uint64_t largest = value[ROBSON_LARGEST] / value[ROBSON_WORD];
	uint64_t steps = (uint64_t)__builtin_ctzll(largest);

	return (live * (steps + 2) / 2 - largest + 1) * value[ROBSON_WORD];
}

static void say_result(const struct robson_play *play)
{
	const uint64_t *value = play->generation->value;
	g_autofree char *text = g_strdup_printf(
		"robson: at most %" G_GUINT64_FORMAT
		" bytes alive; first fit used %" G_GUINT64_FORMAT ", bound %" G_GUINT64_FORMAT,
		value[ROBSON_LIVE], play->end * value[ROBSON_WORD], robson_bound(value));

	emit_marker(play->generation, text);
}

static void robson_run(struct generation *generation)
{
	const uint64_t *value = generation->value;
	uint64_t largest = value[ROBSON_LARGEST] / value[ROBSON_WORD];
	struct robson_play play = { .generation = generation };

	play.placed = g_array_new(FALSE, FALSE, sizeof(struct placed));
	play.site = generation_name(generation, "robson: allocate");
	play.free_site = generation_name(generation, "robson: free");
	generation->task = 100;
	for (uint64_t round = 0; round < value[ROBSON_ROUNDS] && generation_more(generation);
	     round++) {
		free_all(&play);
		allocate(&play, 1);
		for (uint64_t words = 2; words <= largest && generation_more(generation);
		     words *= 2)
			step(&play, words);
		say_result(&play);
	}
	if (value[ROBSON_DRAIN])
		free_all(&play);
	g_array_unref(play.placed);
}

const struct generator robson = {
	.name = "robson",
	.family = "heap",
	.version = 1,
	.summary = "Robson's adversary: as much fragmentation as M live bytes and sizes to n can "
		   "force",
	.parameters = robson_parameters,
	.problem = robson_problem,
	.run = robson_run,
};
