/* What makes each heap itself, shown on a stub machine. */
#include <stdlib.h>
#include <string.h>
#include "alloc/heap/as_frames.h"
#include "tests/heaps/heap_instance.h"

static struct heap_instance *in;

static void start_with(const char *name, const char *key, uint64_t value)
{
	const struct heap_ops *ops = heap_find(name);
	struct heap_config config;

	heap_config_defaults(ops, &config);
	config.cpus = 2;
	for (unsigned i = 0; key && ops->options[i].key; i++)
		if (strcmp(ops->options[i].key, key) == 0)
			config.option[i] = value;
	in = heap_instance_new(ops, &config, frame_find("buddy"), 16);
}

static void stop(void)
{
	heap_instance_assert_sound(in);
	heap_instance_free(in);
}

static void *take(uint64_t bytes)
{
	void *at = NULL;

	expect_eq(heap_instance_alloc(in, bytes, 0, &at), 0);
	return at;
}

static void *take_from(uint32_t cache, uint64_t bytes)
{
	struct heap_request request = { .bytes = bytes, .cache = cache };
	void *at = NULL;

	expect_eq(heap_alloc(&in->heap, &request, &at), 0);
	return at;
}

static void give(void *at)
{
	expect_eq(heap_free(&in->heap, at), 0);
}

static uint64_t held(void)
{
	struct heap_stats stats;

	in->heap.ops->stats(in->heap.state, &stats);
	return stats.held_frames;
}

static uint64_t used(void)
{
	struct heap_stats stats;

	in->heap.ops->stats(in->heap.state, &stats);
	return stats.used_objects;
}

static uint64_t page(const void *at)
{
	return (uint64_t)(uintptr_t)at & ~4095ull;
}

/* ---- H2 ---- */

START_TEST(sole_owns_all_of_ram_and_frames_are_its_objects)
{
	struct frame_block a, b;

	start_with("sole", NULL, 0);
	expect_eq(frame_instance_free_frames(in->frames), 0);
	struct heap_as_frames source = { in->heap, in->config.reach };
	struct frames frames = { &heap_as_frames_ops, &source };
	struct frame_request request = { .frames = 1, .align_frames = 1 };
	expect_eq(frame_alloc(&frames, &request, &a), 0);
	expect_eq(frame_alloc(&frames, &request, &b), 0);
	uint64_t apart = a.first.n > b.first.n ? a.first.n - b.first.n : b.first.n - a.first.n;
	expect(apart > 1, "a header stands between two frames: they are %lu apart", apart);
	memset(frame_direct(&in->config.reach, a.first), 1, 4096);
	expect_eq(used(), 2);
	expect_eq(frame_free(&frames, &a), 0);
	expect_eq(frame_free(&frames, &a), KERR_NOT_OWNED);
	expect_eq(frame_free(&frames, &b), 0);
	stop();
}
END_TEST

/* ---- H3 ---- */

START_TEST(both_holes_of_an_aligned_object_are_used_again)
{
	void *aligned = NULL;
	unsigned below = 0, above = 0;

	start_with("boundary-tags", NULL, 0);
	take(1000);
	expect_eq(heap_instance_alloc(in, 100, 65536, &aligned), 0);
	uint64_t frames = held();
	for (const char *at = take(1000); held() == frames; at = take(1000)) {
		below += at < (char *)aligned && (char *)aligned - at < 65536;
		above += at > (char *)aligned && at - (char *)aligned < 65536;
	}
	expect(below > 5 && above > 5, "%u objects before the aligned one, %u behind it", below,
	       above);
	stop();
}
END_TEST

START_TEST(boundary_tags_hold_their_owners_tag)
{
	struct heap_request request = { .bytes = 64, .tag = 0xbeef };
	void *at;

	start_with("boundary-tags", NULL, 0);
	expect_eq(heap_alloc(&in->heap, &request, &at), 0);
	expect_eq(in->heap.ops->tag(in->heap.state, at), 0xbeef);
	stop();
}
END_TEST

/* ---- H4 ---- */

START_TEST(page_only_hands_out_pages_and_nothing_else)
{
	void *at = NULL;

	start_with("page-only", NULL, 0);
	at = take(1);
	expect_eq((uintptr_t)at & 4095, 0);
	expect_eq(in->heap.ops->usable(in->heap.state, at), 4096);
	at = NULL;
	expect_eq(heap_instance_alloc(in, 4097, 0, &at), KERR_UNSUPPORTED);
	stop();
}
END_TEST

/* ---- H5 ---- */

START_TEST(slabs_largest_object_is_a_page_less_its_head)
{
	void *at = NULL;

	start_with("slab", "large", 1);
	take(4040);
	expect_eq(heap_instance_alloc(in, 4041, 0, &at), KERR_UNSUPPORTED);
	stop();
	start_with("slab", "large", 0);
	expect_eq((uintptr_t)take(4041) & 4095, 0);
	stop();
}
END_TEST

static unsigned colours_of(uint64_t on)
{
	bool seen[4096] = { false };
	unsigned colours = 0;
	uint64_t last = 0;

	start_with("slab", "colours", on);
	in->config.cpus = 1;
	for (unsigned i = 0; i < 400; i++) {
		const char *at = take(320);
		if (page(at) != last && !seen[(uintptr_t)at & 4095]) {
			seen[(uintptr_t)at & 4095] = true;
			colours++;
		}
		last = page(at);
	}
	stop();
	return colours;
}

START_TEST(slabs_of_a_cache_begin_at_different_colours)
{
	unsigned with = colours_of(1), without = colours_of(0);

	expect(with > without, "%u places with colours, %u without", with, without);
}
END_TEST

static unsigned constructed;

static void construct(void *object, uint64_t bytes)
{
	constructed++;
	memset(object, 0x42, bytes);
}

START_TEST(a_constructor_runs_once_an_object_and_its_work_is_kept)
{
	struct heap_cache_request request = { .bytes = 200, .constructor = construct };
	uint32_t cache;

	constructed = 0;
	start_with("slab", NULL, 0);
	expect_eq(heap_cache_new(&in->heap, &request, &cache), 0);
	for (unsigned round = 0; round < 50; round++) {
		unsigned char *at = take_from(cache, 200);
		expect(at[0] == 0x42 && at[199] == 0x42, "not as constructed in round %u", round);
		give(at);
	}
	expect(constructed && constructed <= 20, "%u objects were constructed for a slab",
	       constructed);
	stop();
}
END_TEST

START_TEST(each_cpu_has_its_own_magazine)
{
	static const char *const heaps[] = { "slab", "size-classes" };

	start_with(heaps[_i], NULL, 0);
	in->frames->machine->cpu = 0;
	void *mine = take(64);
	give(mine);
	in->frames->machine->cpu = 1;
	expect(take(64) != mine, "CPU 1 got what CPU 0 freed");
	in->frames->machine->cpu = 0;
	expect(take(64) == mine, "CPU 0 did not get back what it freed last");
	stop();
}
END_TEST

START_TEST(a_free_object_in_a_magazine_is_not_freed_again)
{
	struct heap_config config;
	struct heap_violation v;
	void *object[100];

	heap_config_defaults(heap_find("size-classes"), &config);
	config.cpus = 1 + (uint32_t)_i; /* with one, another way in */
	in = heap_instance_new(heap_find("size-classes"), &config, frame_find("buddy"), 16);
	for (unsigned i = 0; i < 100; i++)
		object[i] = take(48);
	for (unsigned i = 0; i < 100; i++) {
		give(object[i]);
		expect_eq(heap_free(&in->heap, object[i]), KERR_NOT_OWNED);
		expect_eq(heap_free(&in->heap, (char *)object[i] + 8), KERR_NOT_OWNED);
	}
	expect_eq(in->heap.ops->check(in->heap.state, &v), 0);
	expect_eq(used(), 0);
	/* The last span, the magazines, the page map's leaf, descriptors. */
	expect(held() <= 8, "%lu frames are held for nothing", held());
	in->heap.ops->trim(in->heap.state);
	expect_eq(held(), 0);
	stop();
}
END_TEST

START_TEST(a_class_that_is_hardly_used_holds_little)
{
	start_with("size-classes", NULL, 0);
	uint64_t before = held();
	void *one = take(8192);
	uint64_t first = held() - before;
	void *more[16];
	for (unsigned i = 0; i < 16; i++)
		more[i] = take(8192);
	expect(first <= 2 + 4, "%lu frames for the first 8 KiB", first);
	expect(held() - before >= 2 * 17, "17 objects of 8 KiB are in %lu frames", held());
	give(one);
	for (unsigned i = 0; i < 16; i++)
		give(more[i]);
	stop();
}
END_TEST

static uint64_t kept_after_use(uint64_t empty)
{
	void *object[600];
	const struct heap_ops *ops = heap_find("slab");
	struct heap_config config;

	heap_config_defaults(ops, &config);
	for (unsigned i = 0; ops->options[i].key; i++)
		config.option[i] = strcmp(ops->options[i].key, "empty") == 0 ? empty
				   : strcmp(ops->options[i].key, "magazine") == 0
					   ? 0
					   : config.option[i];
	in = heap_instance_new(ops, &config, frame_find("buddy"), 16);
	for (unsigned i = 0; i < 600; i++)
		object[i] = take(512);
	for (unsigned i = 0; i < 600; i++)
		give(object[i]);
	uint64_t frames = held();
	stop();
	return frames;
}

START_TEST(a_cache_keeps_as_many_empty_slabs_as_it_is_told)
{
	expect_eq(kept_after_use(0), 0);
	expect_eq(kept_after_use(1), 2); /* and the page map's leaf */
	expect_eq(kept_after_use(20), 21);
}
END_TEST

/* ---- H9 ---- */

START_TEST(paged_and_non_paged_objects_never_share_a_page)
{
	struct heap_request paged = { .bytes = 100, .flags = HEAP_PAGED, .tag = 7 };
	struct heap_request fixed = { .bytes = 100, .tag = 8 };
	void *at[2][200];

	start_with("pools", NULL, 0);
	for (unsigned i = 0; i < 200; i++) {
		expect_eq(heap_alloc(&in->heap, &paged, &at[0][i]), 0);
		expect_eq(heap_alloc(&in->heap, &fixed, &at[1][i]), 0);
	}
	for (unsigned i = 0; i < 200; i++)
		for (unsigned k = 0; k < 200; k++)
			expect(page(at[0][i]) != page(at[1][k]), "%p and %p", at[0][i], at[1][k]);
	expect_eq(in->heap.ops->tag(in->heap.state, at[0][3]), 7);
	expect_eq(in->heap.ops->tag(in->heap.state, at[1][3]), 8);
	stop();
}
END_TEST

START_TEST(the_non_paged_pool_feeds_page_tables)
{
	struct frame_request request = { .frames = 1, .align_frames = 1 };
	struct frame_block block[40];

	start_with("pools", NULL, 0);
	struct heap_as_frames source = { in->heap, in->config.reach };
	struct frames frames = { &heap_as_frames_ops, &source };
	for (unsigned i = 0; i < 40; i++) {
		expect_eq(frame_alloc(&frames, &request, &block[i]), 0);
		memset(frame_direct(&in->config.reach, block[i].first), (int)i, 4096);
	}
	heap_instance_assert_sound(in);
	for (unsigned i = 0; i < 40; i++) {
		const unsigned char *bytes = frame_direct(&in->config.reach, block[i].first);
		expect(bytes[0] == i && bytes[4095] == i, "table %u", i);
		expect_eq(frame_free(&frames, &block[i]), 0);
	}
	expect_eq(used(), 0);
	stop();
}
END_TEST

/* ---- H10 ---- */

static void collect(void)
{
	in->heap.ops->collect(in->heap.state);
}

START_TEST(a_cycle_that_nobody_holds_is_collected)
{
	start_with("collector", NULL, 0);
	void **a = take(64), **b = take(64), **c = take(64);
	*a = b;
	*b = c;
	*c = a;
	give(b);
	give(c);
	collect();
	expect_eq(used(), 3); /* a is held, and holds the others */
	give(a);
	collect();
	expect_eq(used(), 0);
	stop();
}
END_TEST

START_TEST(a_pointer_into_an_object_holds_it)
{
	start_with("collector", NULL, 0);
	char **holder = take(16), *object = take(300);
	*holder = object + 299;
	give(object);
	collect();
	expect_eq(used(), 2);
	*holder = NULL;
	collect();
	expect_eq(used(), 1);
	stop();
}
END_TEST

START_TEST(a_chain_longer_than_the_mark_stack_is_marked)
{
	start_with("collector", NULL, 0);
	/* Each object holds many others: the stack of 256 overflows. */
	void **hub[40];
	for (unsigned i = 0; i < 40; i++)
		hub[i] = take(8000);
	for (unsigned i = 0; i < 40; i++)
		for (unsigned k = 0; k < 1000; k++)
			if (i + 1 < 40 && k == 0)
				hub[i][k] = hub[i + 1];
			else
				hub[i][k] = k % 2 ? take(16) : NULL;
	for (unsigned i = 1; i < 40; i++)
		give(hub[i]);
	uint64_t all = used();
	for (unsigned i = 0; i < 40; i++)
		for (unsigned k = 1; k < 1000; k += 2)
			give(hub[i][k]);
	collect();
	expect_eq(used(), all);
	give(hub[0]);
	collect();
	expect_eq(used(), 0);
	stop();
}
END_TEST

START_TEST(a_collection_runs_by_itself)
{
	for (uint64_t lazy = 0; lazy < 2; lazy++) {
		start_with("collector", "sweep", lazy);
		for (unsigned i = 0; i < 20000; i++)
			give(take(500));
		expect(used() < 8000, "%lu objects are held of 20000 that were freed", used());
		stop();
	}
}
END_TEST

START_TEST(a_cycle_is_collected_in_steps)
{
	unsigned asked = 0;

	start_with("collector", "mark", 1);
	void **a = take(64), **b = take(64);
	*a = b;
	*b = a;
	uint64_t with = used();
	give(a);
	give(b);
	/* The garbage of a mebibyte starts a collection, and each allocation does some of it. */
	while (used() >= with && asked < 100000) {
		give(take(256));
		with = used() > with ? used() : with;
		asked++;
		if (asked % 64 == 0)
			heap_instance_assert_sound(in);
	}
	expect(in->heap.ops->usable(in->heap.state, a) == 0, "a freed object is usable");
	expect(asked > 4000 && asked < 20000, "collected after %u allocations", asked);
	collect();
	expect_eq(used(), 0);
	stop();
}
END_TEST

/* ---- mark=steps under random mutation, against a model ---- */

#define NODES 4000u
#define EDGES 6u

struct node {
	struct node *edge[EDGES];
	uint64_t magic; /* last: a freed node's is overwritten */
};

static struct graph {
	struct node *node[NODES]; /* NULL: not there */
	struct node *edge[NODES][EDGES];
	bool pinned[NODES], reached[NODES];
	uint64_t random;
	bool barrier;
} graph;

static uint64_t dice(void)
{
	graph.random ^= graph.random << 13;
	graph.random ^= graph.random >> 7;
	graph.random ^= graph.random << 17;
	return graph.random;
}

static unsigned index_of(const struct node *node)
{
	return (unsigned)(node->magic & 0xffff);
}

static void reach_from(unsigned start)
{
	static unsigned stack[NODES * (EDGES + 1)];
	unsigned depth = 0;

	stack[depth++] = start;
	while (depth) {
		unsigned i = stack[--depth];
		if (graph.reached[i])
			continue;
		graph.reached[i] = true;
		for (unsigned e = 0; e < EDGES; e++)
			if (graph.edge[i][e])
				stack[depth++] = index_of(graph.edge[i][e]);
	}
}

static void find_reached(void)
{
	memset(graph.reached, 0, sizeof(graph.reached));
	for (unsigned i = 0; i < NODES; i++)
		if (graph.node[i] && graph.pinned[i])
			reach_from(i);
}

static unsigned char *is_used; /* by 8 bytes of RAM */

static int note_used(void *ctx, const struct heap_extent *extent)
{
	(void)ctx;
	is_used[((const char *)extent->at - in->config.reach.base) / 8] =
		extent->state == HEAP_USED;
	return 0;
}

/* How many reachable nodes the heap has reclaimed. What the model cannot reach is forgotten. */
static unsigned lost_nodes(void)
{
	unsigned lost = 0;

	memset(is_used, 0, 16 << 17);
	in->heap.ops->walk(in->heap.state, note_used, NULL);
	find_reached();
	for (unsigned i = 0; i < NODES; i++) {
		if (!graph.node[i])
			continue;
		if (graph.reached[i])
			lost += !is_used[((const char *)graph.node[i] - in->config.reach.base) / 8];
		else
			graph.node[i] = NULL;
	}
	return lost;
}

static void store(unsigned from, unsigned e, struct node *to)
{
	graph.edge[from][e] = to;
	graph.node[from]->edge[e] = to;
	if (graph.barrier)
		in->heap.ops->barrier(in->heap.state, to);
}

/* A pointer is read out of one node, stored in another, and cleared where it was: what hides an
 * object from a collector that is not told. Only what the model reaches is touched. */
static void mutate(void)
{
	unsigned from = (unsigned)(dice() % NODES), to = (unsigned)(dice() % NODES);
	unsigned e = (unsigned)(dice() % EDGES), f = (unsigned)(dice() % EDGES);

	if (!graph.node[from] || !graph.node[to] || !graph.reached[from] || !graph.reached[to])
		return;
	if (dice() % 4 && graph.edge[from][e]) {
		store(to, f, graph.edge[from][e]);
		store(from, e, NULL);
	} else if (graph.pinned[to] && dice() % 8 == 0 && graph.pinned[from]) {
		store(from, e, graph.node[to]);
		graph.pinned[to] = false;
		give(graph.node[to]);
	}
	find_reached();
}

static void born(unsigned i)
{
	graph.node[i] = take(sizeof(struct node));
	graph.node[i]->magic = 0xabcd0000u + i;
	memset(graph.edge[i], 0, sizeof(graph.edge[i]));
	graph.pinned[i] = true;
}

static unsigned lost_under_mutation(bool barrier)
{
	unsigned lost = 0;

	start_with("collector", "mark", 1);
	graph = (struct graph){ .random = 88172645463325252ull, .barrier = barrier };
	is_used = calloc(16 << 17, 1);
	for (unsigned step = 0; step < 1500 && !lost; step++) {
		for (unsigned k = 0; k < 8; k++) {
			unsigned i = (unsigned)(dice() % NODES);
			if (!graph.node[i])
				born(i);
			give(take(512)); /* garbage, so that collections go on */
		}
		find_reached();
		for (unsigned k = 0; k < 4; k++)
			mutate();
		if (step % 16 == 0)
			lost = lost_nodes();
		if (barrier && step % 64 == 0)
			heap_instance_assert_sound(in);
	}
	free(is_used);
	heap_instance_free(in);
	return lost;
}

START_TEST(marking_in_steps_loses_nothing_that_is_told)
{
	expect_eq(lost_under_mutation(true), 0);
	/* And this test would see it. */
	expect(lost_under_mutation(false) > 0, "nothing is lost without the barrier either");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("heap promises");
	TCase *tcase = tcase_create("designs");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, sole_owns_all_of_ram_and_frames_are_its_objects);
	tcase_add_test(tcase, both_holes_of_an_aligned_object_are_used_again);
	tcase_add_test(tcase, boundary_tags_hold_their_owners_tag);
	tcase_add_test(tcase, page_only_hands_out_pages_and_nothing_else);
	tcase_add_test(tcase, slabs_largest_object_is_a_page_less_its_head);
	tcase_add_test(tcase, slabs_of_a_cache_begin_at_different_colours);
	tcase_add_test(tcase, a_constructor_runs_once_an_object_and_its_work_is_kept);
	tcase_add_loop_test(tcase, each_cpu_has_its_own_magazine, 0, 2);
	tcase_add_loop_test(tcase, a_free_object_in_a_magazine_is_not_freed_again, 0, 2);
	tcase_add_test(tcase, a_class_that_is_hardly_used_holds_little);
	tcase_add_test(tcase, a_cache_keeps_as_many_empty_slabs_as_it_is_told);
	tcase_add_test(tcase, paged_and_non_paged_objects_never_share_a_page);
	tcase_add_test(tcase, the_non_paged_pool_feeds_page_tables);
	tcase_add_test(tcase, a_cycle_that_nobody_holds_is_collected);
	tcase_add_test(tcase, a_pointer_into_an_object_holds_it);
	tcase_add_test(tcase, a_chain_longer_than_the_mark_stack_is_marked);
	tcase_add_test(tcase, a_collection_runs_by_itself);
	tcase_add_test(tcase, a_cycle_is_collected_in_steps);
	tcase_add_test(tcase, marking_in_steps_loses_nothing_that_is_told);
	suite_add_tcase(suite, tcase);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
