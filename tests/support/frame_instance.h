/*
 * frame_instance.h - one allocator on one memory map, without boot: its state stands in the test's
 * memory, between a canary and a page that traps; frames stand in a stub machine's sparse RAM.
 */
#ifndef KMEMLAB_TESTS_SUPPORT_FRAME_INSTANCE_H
#define KMEMLAB_TESTS_SUPPORT_FRAME_INSTANCE_H

#include <check.h>
#include "alloc/frame/frame.h"
#include "tests/support/port_stub.h"

/* ck_assert_*() tells the parent process of every assertion that holds: a system call each, too
 * slow inside loops over frames. These speak up only when they fail. */
#define expect(condition, ...)                     \
	do {                                       \
		if (!(condition))                  \
			ck_abort_msg(__VA_ARGS__); \
	} while (0)
#define expect_eq(got, want)                                                               \
	do {                                                                               \
		int64_t got_ = (int64_t)(got), want_ = (int64_t)(want);                    \
		expect(got_ == want_, "%s is %ld, not %s, %ld", #got, got_, #want, want_); \
	} while (0)

struct frame_instance {
	struct frames frames;
	struct frame_config config;
	struct memmap map; /* the allocator has this one */
	struct frame_range *ranges;
	struct stub_machine *machine;
	uint64_t state_bytes;
	uint64_t state_room; /* state_bytes rounded up to pages */
	const char *refused; /* why there is no state, or NULL */
};

/* CONFIG NULL: the defaults. Where the system refuses the map, `refused` says why and the rest is
 * unusable. The machine becomes the current one. */
struct frame_instance *frame_instance_new(const struct frame_ops *ops, const struct memmap *map,
					  const struct frame_config *config);
void frame_instance_free(struct frame_instance *in);

/* Asserts that the allocator wrote nothing behind its state. */
void frame_instance_assert_canary(const struct frame_instance *in);

/* check() with an assertion that names what it found. */
void frame_instance_assert_sound(const struct frame_instance *in);

uint64_t frame_instance_free_frames(const struct frame_instance *in);
uint64_t frame_instance_kept_frames(const struct frame_instance *in);
/* Whether there is a reason to refuse a run that a look at the free frames does not show: records
 * in some of them, or a brk that has been stopped. */
bool frame_instance_may_refuse(const struct frame_instance *in);

/* A 64-bit hash over walk(): state of every frame in address order, whatever the extents. */
uint64_t frame_instance_digest(const struct frame_instance *in);

/* Shorthands for requests; 0 or an error. */
int frame_instance_alloc(struct frame_instance *in, uint32_t frames, struct frame_block *out);
int frame_instance_take_at(struct frame_instance *in, uint64_t at, uint32_t frames,
			   struct frame_block *out);
int frame_instance_give(struct frame_instance *in, uint64_t first, uint32_t frames);

#endif
