/*
 * heap_instance.h - one heap over one frame allocator, without boot, and a seeded customer that
 * writes every object, verifies it at its free, and holds the heap's own account against a naive
 * model: an array of what lives.
 */
#ifndef KMEMLAB_TESTS_HEAPS_HEAP_INSTANCE_H
#define KMEMLAB_TESTS_HEAPS_HEAP_INSTANCE_H

#include <setjmp.h>
#include "alloc/heap/heap.h"
#include "tests/support/frame_instance.h"

/* Frame allocator that fails some of its calls (the frame slot's fault decorator). */
struct faulty_frames {
	struct frames inner;
	uint64_t calls, fail_at; /* the call that fails; UINT64_MAX: none */
	bool failed;
};

/* A region of kernel addresses over the stub machine's RAM: pages are the host's mappings, so that
 * what is not mapped faults, and the machine's fault handler is asked. */
struct heap_region {
	char *room, *base;
	struct vaddr va; /* of base */
	uint64_t bytes;
	uint32_t *frame; /* by page: frame number + 1; 0: not mapped */
	struct stub_machine *machine;
	struct heap_region *next; /* of all there are */
};
#define HEAP_REGION_BYTES (64ull << 30)

/* The next touch of a region that nobody serves jumps here instead of ending the program:
 *	if (!sigsetjmp(heap_fault_jump, 1)) { heap_fault_expected = true; ... }
 * and its address is kept. */
extern sigjmp_buf heap_fault_jump;
extern volatile bool heap_fault_expected;
extern void *volatile heap_fault_at;

struct heap_instance {
	struct heap heap;
	struct heap_region region;
	struct heap_config config;
	struct frame_instance *frames;
	struct faulty_frames faulty;
	uint64_t state_bytes, state_room;
	uint64_t frames_before; /* free ones, without the heap */
};

/* CONFIG: options; NULL: the defaults. MEGABYTES of RAM, frames by FRAMES. */
struct heap_instance *heap_instance_new(const struct heap_ops *ops,
					const struct heap_config *config,
					const struct frame_ops *frames, unsigned megabytes);
void heap_instance_free(struct heap_instance *in);
void heap_instance_assert_sound(const struct heap_instance *in);
int heap_instance_alloc(struct heap_instance *in, uint64_t bytes, uint32_t align, void **out);

struct heap_object {
	unsigned char *at;
	uint64_t bytes;
	uint32_t seed;
};

struct heap_customer {
	struct heap_instance *in;
	uint64_t random, digest, failures;
	struct heap_object *live;
	unsigned count, room;
	uint64_t bytes_max, align_max; /* of requests */
};

void heap_customer_init(struct heap_customer *c, struct heap_instance *in, uint64_t seed);
void heap_customer_fini(struct heap_customer *c);
uint64_t heap_customer_random(struct heap_customer *c);
/* One allocation, free or realloc, verified. */
void heap_customer_step(struct heap_customer *c);
void heap_customer_free_all(struct heap_customer *c);
/* Asserts that walk() and stats() say what the model says. */
void heap_customer_assert_agreement(const struct heap_customer *c);

#endif
