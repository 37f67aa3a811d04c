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
	bool slack;
} wanted[] = {
	{ "size-classes", 85, 95, true },
	{ "sole", 100, 95, false },
	{ "boundary-tags", 100, 80, false },
	{ "page-only", 100, 100, false },
	{ "slab", 60, 75, true },
	{ "pools", 100, 90, false },
	{ "collector", 95, 90, true },
	{ "tlsf", 100, 90, false },
};

struct extents {
	unsigned char *free_word; /* by word of RAM: 1 outside of metadata */
	const char *base;
	uint64_t words;
};

static int note_extent(void *ctx, const struct heap_extent *extent)
{
	struct extents *e = ctx;
	uint64_t first = (uint64_t)((const char *)extent->at - e->base) / 8;

	for (uint64_t i = 0; i < extent->bytes / 8 && first + i < e->words; i++)
		e->free_word[first + i] = 1;
	return 0;
}

static int note_frame(void *ctx, const struct frame_extent *extent)
{
	struct extents *e = ctx;

	for (uint64_t i = 0; extent->state == FRAME_FREE && i < extent->frames * 512; i++)
		e->free_word[extent->first.n * 512 + i] = 1;
	return 0;
}

static struct extents metadata_of(const struct heap_instance *in)
{
	struct extents e = { .base = in->config.reach.base, .words = RAM_MB * 131072ull };

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
	heap_instance_assert_sound(in);
	struct extents e = metadata_of(in);
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
