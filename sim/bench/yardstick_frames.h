/*
 * yardstick_frames.h - Y3: the smallest things that hand out frames. No checks, no memory map, no
 * interface: what an allocator of the same kind costs at the least. Each manages frames 0 .. frames
 * - 1.
 */
#ifndef KMEMLAB_SIM_BENCH_YARDSTICK_FRAMES_H
#define KMEMLAB_SIM_BENCH_YARDSTICK_FRAMES_H

#include <stdint.h>

struct yard_stack {
	uint32_t *frame;
	uint32_t count;
};
void yard_stack_init(struct yard_stack *stack, uint32_t frames);
void yard_stack_fini(struct yard_stack *stack);

static inline uint32_t yard_stack_pop(struct yard_stack *stack)
{
	return stack->frame[--stack->count];
}

static inline void yard_stack_push(struct yard_stack *stack, uint32_t frame)
{
	stack->frame[stack->count++] = frame;
}

/* Three levels of words, a bit set: free below. Up to 2^18 frames. */
struct yard_bitmap {
	uint64_t top;
	uint64_t middle[64];
	uint64_t low[64 * 64];
};
void yard_bitmap_init(struct yard_bitmap *bitmap, uint32_t frames);
uint32_t yard_bitmap_alloc(struct yard_bitmap *bitmap);
void yard_bitmap_free(struct yard_bitmap *bitmap, uint32_t frame);

/* Buddy of orders 0 .. 10 with one byte of state a frame and doubly linked lists of indices. */
#define YARD_BUDDY_ORDERS 11
struct yard_buddy {
	uint32_t frames;
	uint32_t head[YARD_BUDDY_ORDERS];
	uint32_t *next, *previous;
	uint8_t *state; /* order + 1 of a free block's first frame, else 0 */
};
void yard_buddy_init(struct yard_buddy *buddy, uint32_t frames);
void yard_buddy_fini(struct yard_buddy *buddy);
uint32_t yard_buddy_alloc(struct yard_buddy *buddy, unsigned order);
void yard_buddy_free(struct yard_buddy *buddy, uint32_t frame, unsigned order);

/* So many compare-and-swaps of one word, each on the result of the one before. */
void yard_swaps(uint64_t *word, uint32_t count);

#endif
