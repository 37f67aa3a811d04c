/*
 * Corruption planted in every word of a heap's metadata, one at a time: check() must see it, unless
 * the word says nothing (a link of what is on no list, a cursor, a setting).
 *
 * Metadata is the heap's state, and of the frames that it holds whatever walk() calls neither an
 * object nor free room.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/heaps/heap_instance.h"

#define RAM_MB 4

/* Shares of the words whose corruption is found, in percent, at least. What is missing of the state
 * is cursors and what an empty part of it would be; of frames, links of spans that are on no list.
 * Words that lead out of the heap are left alone: the header sums find them before they are
 * followed, but for the frame allocator itself. SLACK: pages have room behind their last object,
 * which is no metadata; what is 0 is taken for it, what an earlier owner left there is not. */
static const struct {
	const char *heap;
	unsigned in_frames, in_state;
	bool slack, out_of_band;
	bool pages; /* objects in the region have pages of their own: the rest of those is nobody's
		     */
} wanted[] = {
	{ "size-classes", 90, 95, true, true },
	{ "sole", 100, 95, false },
	{ "boundary-tags", 100, 80, false },
	{ "page-only", 100, 100, false },
	{ "slab", 60, 75, true },
	{ "pools", 100, 90, false },
	{ "collector", 90, 90, true, true },
	{ "tlsf", 100, 90, false },
	{ "demand-region", 95, 80, false },
	{ "kmalloc-vmalloc", 98, 90, true, false, true },
	{ "two-heaps", 98, 90, true, false, true },
	{ "guarded", 98, 90, true, false, true },
};

struct extents {
	const struct heap_instance *in;
	bool pages;
	unsigned char *free_word; /* by word of RAM: 1 outside of metadata */
	const char *base;
	uint64_t words;
	bool whole_frames;
};

/* The word of RAM at an address of the direct map or of the region; what leads nowhere is behind
 * the last. */
static uint64_t word_at(const struct extents *e, const char *at)
{
	const struct heap_region *region = &e->in->region;
	uint64_t offset = (uint64_t)(at - region->base);

	if (offset >= region->bytes)
		return (uint64_t)(at - e->base) / 8;
	uint32_t frame = region->frame[offset / 4096];
	return frame ? (frame - 1) * 512ull + offset % 4096 / 8 : e->words;
}

static int note_extent(void *ctx, const struct heap_extent *extent)
{
	struct extents *e = ctx;
	const struct heap_region *region = &e->in->region;
	bool mapped = (uint64_t)((const char *)extent->at - region->base) < region->bytes;
	bool whole = mapped ? e->pages : e->whole_frames;
	uint64_t before = whole ? (uintptr_t)extent->at % 4096 : 0;
	uint64_t bytes = before + extent->bytes;

	bytes = whole ? (bytes + 4095) & ~4095ull : bytes;
	for (uint64_t i = 0; i < bytes / 8; i++) {
		uint64_t word = word_at(e, (const char *)extent->at - before + i * 8);
		if (word < e->words)
			e->free_word[word] = 1;
	}
	return 0;
}

static int note_frame(void *ctx, const struct frame_extent *extent)
{
	struct extents *e = ctx;

	for (uint64_t i = 0; extent->state == FRAME_FREE && i < extent->frames * 512; i++)
		e->free_word[extent->first.n * 512 + i] = 1;
	return 0;
}

static struct extents metadata_of(const struct heap_instance *in, bool whole_frames, bool pages)
{
	struct extents e = { .in = in,
			     .base = in->config.reach.base,
			     .words = RAM_MB * 131072ull,
			     .whole_frames = whole_frames,
			     .pages = pages };

	e.free_word = calloc(e.words, 1);
	memset(e.free_word, 1, 16 * 512);
	in->heap.ops->walk(in->heap.state, note_extent, &e);
	in->frames->frames.ops->walk(in->frames->frames.state, note_frame, &e);
	return e;
}

static bool found(const struct heap_instance *in, uint64_t *word, unsigned bit)
{
	struct heap_violation v = { 0 };

	*word ^= 1ull << bit;
	int error = in->heap.ops->check(in->heap.state, &v);
	*word ^= 1ull << bit;
	expect(error == 0 || (error == KERR_CORRUPT && v.invariant && v.what),
	       "a finding says what");
	return error != 0;
}

/* Two bits of each word: one low, one that a pointer to another frame differs in. */
static unsigned percent_found(const struct heap_instance *in, uint64_t *words, uint64_t count,
			      const unsigned char *skip)
{
	uint64_t planted = 0, seen = 0;

	for (uint64_t i = 0; i < count; i++) {
		if (skip && skip[i])
			continue;
		planted += 2;
		seen += found(in, &words[i], 4);
		seen += found(in, &words[i], 13);
	}
	return planted ? (unsigned)(100 * seen / planted) : 100;
}

/* Words of the state that lead out of the heap: the frame allocator, the direct map, the map. */
static bool leads_out(const struct heap_instance *in, uint64_t word)
{
	return word == (uint64_t)(uintptr_t)in->config.frames.ops ||
	       word == (uint64_t)(uintptr_t)in->config.frames.state ||
	       word == (uint64_t)(uintptr_t)in->config.reach.base ||
	       word == (uint64_t)(uintptr_t)in->config.map ||
	       word - (uint64_t)(uintptr_t)in->heap.state < in->state_bytes;
}

START_TEST(planted_corruption_is_found)
{
	const struct heap_ops *ops = heap_find(wanted[_i].heap);
	struct heap_instance *in = heap_instance_new(ops, NULL, frame_find("bitmap"), RAM_MB);
	struct heap_customer customer;

	heap_customer_init(&customer, in, 5);
	customer.bytes_max = customer.bytes_max > 20000 ? 20000 : customer.bytes_max;
	for (unsigned step = 0; step < 400; step++)
		heap_customer_step(&customer);
	/* A reserve of frames is neither objects nor metadata. */
	if (ops->caps & HEAP_CAP_DEMAND)
		ops->trim(in->heap.state);
	heap_instance_assert_sound(in);
	struct extents e = metadata_of(in, wanted[_i].out_of_band, wanted[_i].pages);
	uint64_t *ram = (uint64_t *)(void *)in->config.reach.base;
	for (uint64_t w = 0; wanted[_i].slack && w < e.words; w++)
		e.free_word[w] |= ram[w] == 0;
	unsigned frames = percent_found(in, ram, e.words, e.free_word);
	uint64_t words = in->state_bytes / 8, *state = in->heap.state;
	unsigned char *skip = calloc(words, 1);
	for (uint64_t i = 0; i < words; i++)
		skip[i] = state[i] == 0 || leads_out(in, state[i]);
	unsigned of_state = percent_found(in, state, words, skip);
	printf("# %s: %u %% of metadata in frames, %u %% of the state\n", ops->name, frames,
	       of_state);
	expect(frames >= wanted[_i].in_frames && of_state >= wanted[_i].in_state,
	       "%s: only %u %% of corruption in frames and %u %% in the state are found", ops->name,
	       frames, of_state);
	heap_instance_assert_sound(in);
	free(skip);
	free(e.free_word);
	heap_customer_fini(&customer);
	heap_instance_free(in);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("heap corruption");
	TCase *tcase = tcase_create("planted");

	tcase_set_timeout(tcase, 60);
	tcase_add_loop_test(tcase, planted_corruption_is_found, 0,
			    sizeof(wanted) / sizeof(*wanted));
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
