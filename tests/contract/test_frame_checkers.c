/*
 * The checkers checked. Every bit of every word of an allocator's state is flipped, one at a time,
 * and so are the records in free frames: check() must notice, or the bit must not matter, which is
 * to say that the allocator goes on exactly like one that was left alone. Only where a system has
 * hints, which may say anything, may it go on differently, as long as it keeps its promises.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "alloc/frame/systems.h"
#include "tests/support/bad_frames.h"
#include "tests/support/frame_maps.h"
#include "tests/support/frame_model.h"

/* [1 .. 100) [128 .. 192) [200 .. 230): a few words of everything. */
static const struct frame_range ranges[] = { { { 1 }, 99 }, { { 128 }, 64 }, { { 200 }, 30 } };
static const struct memmap map = { ranges, 3, 193, { 1 }, { 230 } };
#define RAM_BYTES (230 * 4096ull)

/* A machine in the middle of its life, which can be put back there. */
struct patient {
	struct frame_instance *in;
	struct frame_customer customer;
	char *state, *ram; /* copies */
	struct frame_block *live;
	unsigned long noticed, harmless;
};

static void patient_init(struct patient *p, const struct frame_ops *ops)
{
	struct frame_config config;

	frame_config_defaults(ops, &config);
	config.cpus = 2;
	*p = (struct patient){ .in = frame_instance_new(ops, &map, &config) };
	expect(!p->in->refused, "%s: %s", ops->name, p->in->refused);
	frame_customer_init(&p->customer, p->in, 17);
	for (unsigned i = 0; i < 400; i++)
		frame_customer_step(&p->customer);
	/* Leave something free of each size. */
	while (p->customer.live_count > 20 && (ops->caps & FRAME_CAP_FREE)) {
		struct frame_block b = p->customer.live[--p->customer.live_count];

		expect_eq(frame_free(&p->in->frames, &b), 0);
		memset(p->customer.model.used + frame_model_index(&p->customer.model, b.first.n), 0,
		       b.frames);
	}
	frame_instance_assert_sound(p->in);
	p->state = malloc(p->in->state_bytes);
	p->ram = malloc(RAM_BYTES);
	memcpy(p->state, p->in->frames.state, p->in->state_bytes);
	memcpy(p->ram, p->in->machine->ram, RAM_BYTES);
}

static void patient_restore(struct patient *p)
{
	memcpy(p->in->frames.state, p->state, p->in->state_bytes);
	memcpy(p->in->machine->ram, p->ram, RAM_BYTES);
}

static void patient_fini(struct patient *p)
{
	frame_customer_fini(&p->customer);
	frame_instance_free(p->in);
	free(p->state);
	free(p->ram);
}

/* Marks a block as used or free; false when a frame of it is that already, or not in the map. */
static bool mark(bool *used, const struct frame_block *b, bool value)
{
	bool fine = memmap_holds(&map, b->first, b->frames);

	for (uint64_t i = 0; fine && i < b->frames; i++) {
		fine = used[b->first.n + i] != value;
		used[b->first.n + i] = value;
	}
	return fine;
}

/* What the allocator does from here on: a digest over a fixed list of operations. And whether it
 * kept its promises meanwhile. */
static uint64_t future(struct patient *p, bool *kept)
{
	const struct frame_ops *ops = p->in->frames.ops;
	bool used[230] = { false };
	struct violation v;
	struct frame_block got[64];
	uint64_t digest = 0xcbf29ce484222325;
	unsigned n = 0, freed = 0;

	*kept = true;
	for (unsigned i = 0; i < p->customer.live_count; i++)
		mark(used, &p->customer.live[i], true);
	for (unsigned i = 0; i < 300; i++) {
		uint32_t frames = ops->caps & FRAME_CAP_RUNS ? 1 + i * 7 % 5 : 1;

		if (n < 64 && i % 5 < 3) {
			int error = frame_instance_alloc(p->in, frames, &got[n]);

			*kept &= error || mark(used, &got[n], true);
			digest = (digest ^ (error ? 77 : got[n++].first.n)) * 0x100000001b3;
		} else if (freed < p->customer.live_count && i % 2) {
			struct frame_block b = p->customer.live[freed++];

			*kept &= mark(used, &b, false);
			digest =
				(digest ^ (uint64_t)frame_free(&p->in->frames, &b)) * 0x100000001b3;
		} else if (n) {
			*kept &= mark(used, &got[n - 1], false);
			digest = (digest ^ (uint64_t)frame_free(&p->in->frames, &got[--n])) *
				 0x100000001b3;
		}
	}
	*kept &= ops->check(p->in->frames.state, &v) == 0;
	return digest ^ frame_instance_free_frames(p->in);
}

static bool has_hints(const struct frame_ops *ops)
{
	return ops->caps & (FRAME_CAP_LOCKLESS | FRAME_CAP_MOBILITY);
}

static void flip(struct patient *p, uint64_t *word, unsigned bit, uint64_t want, const char *where,
		 uint64_t place)
{
	const struct frame_ops *ops = p->in->frames.ops;
	struct violation v = { 0 };
	uint64_t old = *word;

	*word ^= 1ull << bit;
	if (ops->check(p->in->frames.state, &v)) {
		expect(v.invariant && v.what, "%s: a violation without a name", ops->name);
		p->noticed++;
		*word = old;
		return;
	}
	bool kept;
	uint64_t got = future(p, &kept);

	expect(got == want || (has_hints(ops) && kept),
	       "%s: check() does not see bit %u of %s word %lu flipped (was %lx), and it "
	       "matters",
	       ops->name, bit, where, place, old);
	p->harmless++;
	patient_restore(p);
}

static int collect_free(void *ctx, const struct frame_extent *e)
{
	bool *is_free = ctx;

	for (uint64_t i = 0; i < e->frames; i++)
		is_free[e->first.n + i] = e->state == FRAME_FREE;
	return 0;
}

START_TEST(every_bit_is_noticed_or_does_not_matter)
{
	const struct frame_ops *ops = frame_registry[_i];
	struct patient p;
	bool is_free[230] = { false };

	patient_init(&p, ops);
	bool kept;
	uint64_t want = future(&p, &kept);

	expect(kept, "%s: the patient is not well to begin with", ops->name);

	patient_restore(&p);
	uint64_t *state = p.in->frames.state;

	for (uint64_t w = 0; w < p.in->state_bytes / 8; w++)
		for (unsigned bit = 0; bit < 64; bit++)
			flip(&p, &state[w], bit, want, "state", w);
	expect_eq(ops->walk(p.in->frames.state, collect_free, is_free), 0);
	for (uint64_t f = 0; f < 230 && (ops->caps & FRAME_CAP_IN_FRAME); f++)
		for (unsigned w = 0; is_free[f] && w < 512; w++) {
			uint64_t *word = (uint64_t *)(p.in->machine->ram + f * 4096) + w;

			for (unsigned bit = 0; bit < 64 && *word; bit++)
				flip(&p, word, bit, want, "frame", f * 512 + w);
		}
	expect(p.noticed > 100, "p.noticed");
	patient_fini(&p);
}
END_TEST

/* Defects that change what is true, not what is written: the customer's model sees those. */
static bool customer_survives(const struct frame_ops *ops, unsigned inner)
{
	struct frame_config config;
	struct frame_instance *in;
	struct violation v;
	bool sound = true;

	frame_config_defaults(ops, &config);
	config.option[BAD_OPTION_INNER] = inner;
	config.option[BAD_OPTION_EVERY] = 10;
	config.option[BAD_OPTION_WORD] = 12;
	in = frame_instance_new(ops, &map, &config);
	for (unsigned i = 0; i < 40 && sound; i++) {
		struct frame_block b;

		sound = frame_instance_alloc(in, 1, &b) == 0 &&
			ops->check(in->frames.state, &v) == 0;
	}
	frame_instance_free(in);
	return sound;
}

START_TEST(a_corrupted_node_is_noticed_in_every_system)
{
	ck_assert(!customer_survives(&bad_frames_corrupt, (unsigned)_i));
	ck_assert(customer_survives(&bad_frames_loses, (unsigned)_i));
}
END_TEST

static int registry_count(void)
{
	int n = 0;

	while (frame_registry[n])
		n++;
	return n;
}

int main(void)
{
	Suite *s = suite_create("checkers of the frame allocators");
	TCase *t = tcase_create("planted corruption");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, every_bit_is_noticed_or_does_not_matter, 0, registry_count());
	tcase_add_loop_test(t, a_corrupted_node_is_noticed_in_every_system, 0, 3);
	suite_add_tcase(s, t);

	SRunner *runner = srunner_create(s);

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}
