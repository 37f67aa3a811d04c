/*
 * CPUs on host threads, over one memory: the protocol of shootdowns. Compiled twice, the second
 * time under ThreadSanitizer with mmu/ itself: the protocol alone must order every plain access.
 *
 *     thread 0 (CPU 0)                           threads 1..3 (CPUs 1..3)
 *     write the PTE: the other frame             read through VA ..........
 *     post a request to every CPU                  |  taken before the next access
 *     wait until nothing is pending  <-------------+  the old frame is used no more
 *     scribble over the old frame
 */
#include <pthread.h>

#include "tests/mmu/bench.h"

#define CPUS   4u
#define VA     0x1000ull
#define ROUNDS 300u
#define LIVE   0x1111111111111111ull
#define DEAD   0xddddddddddddddddull

static const uint64_t frames[2] = { 0x100000, 0x200000 };

static struct bench b;
static struct mmu_cpu *cpus[CPUS];
static uint64_t leaf;	   /* address of the PTE of VA */
static unsigned spared;	   /* a CPU that gets no request; 0: none */
static bool done;	   /* of thread 0 */
static uint64_t seen_dead; /* by the spared CPU */
static unsigned step;	   /* of two threads that take turns */

static void setup(void)
{
	bench_init(&b, "tiny");
	bench_mode(&b, MMU_MODE_4LEVEL);
	leaf = bench_map64(&b, VA, 0, PWU, frames[0] | PWU);
	cpus[0] = b.cpu;
	for (unsigned i = 1; i < CPUS; i++) {
		cpus[i] = bench_cpu(&b, i);
		ck_assert_uint_eq(mmu_load_state(cpus[i], &b.state).vector, 0);
	}
	spared = step = 0;
	seen_dead = 0;
	done = false;
}

static void teardown(void)
{
	for (unsigned i = 1; i < CPUS; i++)
		free(cpus[i]);
	bench_fini(&b);
}

static uint64_t *pte(void)
{
	return (uint64_t *)(void *)(b.ram.bytes + leaf);
}

/* Tables are shared with walkers on other threads: kernel code writes them atomically, and after
 * what is in the page, which a CPU that has nothing cached reads without having been told of it. */
static void set_pte(uint64_t value)
{
	__atomic_store_n(pte(), value, __ATOMIC_RELEASE);
}

static uint64_t load_va(struct mmu_cpu *cpu)
{
	const struct mmu_access read = { MMU_READ, MMU_USER, 0 };
	struct mmu_fault fault;
	uint64_t value = 0;

	demand_eq(mmu_read(cpu, (struct vaddr){ VA }, &value, 8, read, &fault), 0);
	return value;
}

static void fill_frame(uint64_t frame, uint64_t value)
{
	memcpy(b.ram.bytes + frame, &value, 8);
}

static void *reader(void *context)
{
	struct mmu_cpu *cpu = context;

	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE)) {
		for (unsigned i = 0; i < 50; i++)
			demand_eq(load_va(cpu), LIVE);
		sched_yield(); /* there may be fewer processors than CPUs */
	}
	mmu_accept_shootdowns(cpu);
	return NULL;
}

/* VA moves to the other frame; nobody reads the old one when this returns. */
static void move_page(unsigned round)
{
	const struct mmu_shootdown request = { MMU_SHOOT_PAGES, 0, { VA }, 1 };

	fill_frame(frames[round % 2], LIVE);
	set_pte(frames[round % 2] | PWU);
	mmu_invlpg(cpus[0], (struct vaddr){ VA });
	for (unsigned i = 1; i < CPUS; i++)
		mmu_post_shootdown(cpus[i], &request);
	for (unsigned i = 1; i < CPUS; i++) {
		while (mmu_shootdowns_pending(cpus[i]) > 0)
			sched_yield();
	}
	fill_frame(frames[1 - round % 2], DEAD);
}

START_TEST(rule_12_4_threads_shoot_each_other_down)
{
	pthread_t threads[CPUS];

	fill_frame(frames[0], LIVE);
	for (unsigned i = 1; i < CPUS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, reader, cpus[i]), 0);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		move_page(round);
		demand_eq(load_va(cpus[0]), LIVE);
	}
	__atomic_store_n(&done, true, __ATOMIC_RELEASE);
	for (unsigned i = 1; i < CPUS; i++) {
		struct mmu_statistics s;

		pthread_join(threads[i], NULL);
		mmu_get_statistics(cpus[i], &s);
		ck_assert_uint_eq(s.shootdowns_posted, ROUNDS);
		ck_assert_uint_eq(s.shootdowns_taken, ROUNDS);
		ck_assert_uint_eq(s.invlpg, ROUNDS);
	}
}
END_TEST

/* Two threads in turn: what happens between them is told by `step` alone. */
static void await(unsigned wanted)
{
	while (__atomic_load_n(&step, __ATOMIC_ACQUIRE) != wanted)
		sched_yield();
}

static void advance(void)
{
	__atomic_fetch_add(&step, 1, __ATOMIC_RELEASE);
}

static void *reader_in_turn(void *context)
{
	struct mmu_cpu *cpu = context;

	demand_eq(load_va(cpu), LIVE);
	advance(); /* 1: cached here */
	await(2);  /* the page has moved, and its frame belongs to somebody else */
	seen_dead = load_va(cpu) == DEAD;
	advance(); /* 3 */
	await(4);  /* told at last, or interrupts on again */
	mmu_hold_shootdowns(cpu, false);
	demand_eq(load_va(cpu), LIVE);
	return NULL;
}

enum mistake { MISSING, LATE, NONE };

/* A request that is never posted, or not waited for while the target has interrupts off: the other
 * thread reads a frame that is no longer its own. Done right it does not. */
START_TEST(missing_and_late_shootdowns_are_seen)
{
	const struct mmu_shootdown request = { MMU_SHOOT_PAGES, 0, { VA }, 1 };
	enum mistake mistake = (enum mistake)_i;
	pthread_t thread;

	fill_frame(frames[0], LIVE);
	mmu_hold_shootdowns(cpus[1], mistake == LATE);
	ck_assert_int_eq(pthread_create(&thread, NULL, reader_in_turn, cpus[1]), 0);
	await(1);
	fill_frame(frames[1], LIVE);
	set_pte(frames[1] | PWU);
	if (mistake != MISSING)
		mmu_post_shootdown(cpus[1], &request);
	fill_frame(frames[0], DEAD);
	advance();
	await(3);
	ck_assert_uint_eq(seen_dead, mistake != NONE);
	if (mistake == MISSING)
		mmu_post_shootdown(cpus[1], &request);
	advance();
	pthread_join(thread, NULL);
	ck_assert_uint_eq(mmu_shootdowns_pending(cpus[1]), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mmu: host threads");
	TCase *tc = tcase_create("threads");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, rule_12_4_threads_shoot_each_other_down);
	tcase_add_loop_test(tc, missing_and_late_shootdowns_are_seen, MISSING, NONE + 1);
	tcase_set_timeout(tc, 120);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK); /* ThreadSanitizer watches one process */
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
