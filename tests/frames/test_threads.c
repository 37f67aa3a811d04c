/*
 * Allocators under host threads: no frame has two owners, none is lost. The lock-free ones as they
 * are, the others behind the front door's lock. The same program runs under ThreadSanitizer.
 */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include "alloc/frame/systems.h"
#include "alloc/lock.h"
#include "tests/support/frame_instance.h"

#define THREADS 4
#ifndef STEPS
#define STEPS 60000
#endif
#define FRAMES_MAX 16384

static const struct {
	const char *name;
	uint64_t frames;
	unsigned hold;	  /* blocks that a thread keeps at most */
	uint32_t max_run; /* frames */
} loads[] = {
	{ "plenty", 2048, 100, 1 },
	{ "two words for four threads", 128, 40, 1 },
	{ "nearly nothing", 5, 3, 1 },
	{ "runs within words", 1024, 20, 16 },
	{ "runs across words", 2048, 10, 150 },
	{ "up to whole children", 16384, 6, 1024 },
};

struct shared {
	struct frame_instance *in;
	_Atomic unsigned char owner[FRAMES_MAX + 64];
	atomic_uint failures;
	const char *broken; /* the first promise that was */
};

struct customer {
	struct shared *shared;
	unsigned number, hold;
	uint32_t max_run;
	uint64_t random;
	pthread_t thread;
};

static uint64_t next_random(struct customer *c)
{
	c->random ^= c->random << 13;
	c->random ^= c->random >> 7;
	c->random ^= c->random << 17;
	return c->random >> 8;
}

/* libcheck's assertions are not for threads. */
static void claim(struct shared *s, const struct frame_block *b, unsigned char from,
		  unsigned char to, const char *what)
{
	for (uint64_t i = 0; i < b->frames; i++)
		if (atomic_exchange(&s->owner[b->first.n + i], to) != from)
			s->broken = what;
}

static void give(struct customer *c, const struct frame_block *b)
{
	claim(c->shared, b, (unsigned char)(c->number + 1), 0, "a frame changed its owner");
	if (frame_free(&c->shared->in->frames, b))
		c->shared->broken = "a free was refused";
}

static void *run(void *arg)
{
	struct customer *c = arg;
	struct frame_block held[128];
	unsigned n = 0;

	stub_thread_cpu = c->number;
	for (unsigned i = 0; i < STEPS; i++) {
		struct frame_request r = { .frames = 1 + (uint32_t)(next_random(c) % c->max_run),
					   .align_frames = 1,
					   .cpu = (uint16_t)c->number };

		if (c->shared->in->frames.ops->caps & FRAME_CAP_ALIGN)
			r.align_frames = 1u << next_random(c) % 3;

		if (n == c->hold || (n && next_random(c) % 2)) {
			unsigned k = (unsigned)(next_random(c) % n);
			struct frame_block b = held[k];

			held[k] = held[--n];
			give(c, &b);
		} else if (frame_alloc(&c->shared->in->frames, &r, &held[n]) == 0) {
			claim(c->shared, &held[n++], 0, (unsigned char)(c->number + 1),
			      "a frame has two owners");
		} else {
			atomic_fetch_add(&c->shared->failures, 1);
		}
	}
	while (n)
		give(c, &held[--n]);
	return NULL;
}

static struct spinlock lock;

static void stress(const struct frame_ops *ops, int load)
{
	const struct frame_range range = { { 64 }, loads[load].frames };
	const struct memmap map = { &range, 1, range.frames, { 64 }, { 64 + range.frames } };
	struct shared *shared = calloc(1, sizeof(*shared));
	struct customer customers[THREADS];
	struct frame_config config;

	frame_config_defaults(ops, &config);
	config.cpus = THREADS;
	shared->in = frame_instance_new(ops, &map, &config);
	ck_assert(!shared->in->refused);
	uint64_t before = frame_instance_digest(shared->in);

	lock = (struct spinlock){ 0 };
	if (!(ops->caps & FRAME_CAP_LOCKLESS))
		shared->in->frames.lock = &lock;

	for (unsigned i = 0; i < THREADS; i++) {
		customers[i] = (struct customer){ .shared = shared,
						  .number = i,
						  .hold = loads[load].hold,
						  .max_run = loads[load].max_run,
						  .random = 88172645463325252u + i * 977 };
		pthread_create(&customers[i].thread, NULL, run, &customers[i]);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(customers[i].thread, NULL);
	ck_assert_msg(!shared->broken, "%s, %s: %s", ops->name, loads[load].name, shared->broken);
	frame_instance_assert_sound(shared->in);
	ck_assert_msg(frame_instance_digest(shared->in) == before, "%s, %s: frames are missing",
		      ops->name, loads[load].name);
	ck_assert_uint_eq(lock.next, lock.serving);
	ck_assert_uint_eq((uint32_t)lock.acquisitions, lock.next);
	ck_assert_uint_le(lock.contended, lock.acquisitions);
	/* Where all that is held at once fits with room to spare, nobody may have gone without: but
	 * for zones' reserves. */
	if (loads[load].max_run == 1 && !(ops->caps & FRAME_CAP_ZONES) &&
	    THREADS * loads[load].hold < loads[load].frames / 4)
		ck_assert_uint_eq(shared->failures, 0);
	frame_instance_free(shared->in);
	free(shared);
}

START_TEST(no_frame_has_two_owners)
{
	for (const struct frame_ops *const *ops = frame_registry; *ops; ops++)
		if ((*ops)->caps & FRAME_CAP_LOCKLESS)
			stress(*ops, _i);
}
END_TEST

/* One load: what differs between systems is not the lock's business. */
#define LOCKED_LOAD 0

START_TEST(the_lock_makes_the_others_safe)
{
	const struct frame_ops *ops = frame_registry[_i];

	if (!(ops->caps & FRAME_CAP_LOCKLESS) && (ops->caps & FRAME_CAP_FREE))
		stress(ops, LOCKED_LOAD);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("threads");
	TCase *t = tcase_create("lock-free");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, no_frame_has_two_owners, 0, (int)(sizeof(loads) / sizeof(loads[0])));
	suite_add_tcase(s, t);

	int systems = 0;

	while (frame_registry[systems])
		systems++;
	t = tcase_create("locked");
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, the_lock_makes_the_others_safe, 0, systems);
	suite_add_tcase(s, t);

	SRunner *runner = srunner_create(s);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}
