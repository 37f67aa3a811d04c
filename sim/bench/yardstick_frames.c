#include "sim/bench/yardstick_frames.h"

#include <glib.h>
#include <string.h>

#define NONE UINT32_MAX

void yard_stack_init(struct yard_stack *stack, uint32_t frames)
{
	stack->frame = g_new(uint32_t, frames);
	stack->count = 0;
	for (uint32_t frame = frames; frame > 0; frame--)
		yard_stack_push(stack, frame - 1);
}

void yard_stack_fini(struct yard_stack *stack)
{
	g_free(stack->frame);
}

void yard_bitmap_init(struct yard_bitmap *bitmap, uint32_t frames)
{
	memset(bitmap, 0, sizeof(*bitmap));
	for (uint32_t frame = 0; frame < frames; frame++)
		yard_bitmap_free(bitmap, frame);
}

uint32_t yard_bitmap_alloc(struct yard_bitmap *bitmap)
{
	unsigned a = (unsigned)__builtin_ctzll(bitmap->top);
	unsigned b = a * 64 + (unsigned)__builtin_ctzll(bitmap->middle[a]);
	unsigned frame = b * 64 + (unsigned)__builtin_ctzll(bitmap->low[b]);

	bitmap->low[b] &= bitmap->low[b] - 1;
	if (!bitmap->low[b]) {
		bitmap->middle[a] &= bitmap->middle[a] - 1;
		if (!bitmap->middle[a])
			bitmap->top &= bitmap->top - 1;
	}
	return frame;
}

void yard_bitmap_free(struct yard_bitmap *bitmap, uint32_t frame)
{
	bitmap->low[frame >> 6] |= 1ull << (frame & 63);
	bitmap->middle[frame >> 12] |= 1ull << (frame >> 6 & 63);
	bitmap->top |= 1ull << (frame >> 12);
}

static void buddy_link(struct yard_buddy *buddy, uint32_t frame, unsigned order)
{
	uint32_t head = buddy->head[order];

	buddy->state[frame] = (uint8_t)(order + 1);
	buddy->next[frame] = head;
	buddy->previous[frame] = NONE;
	if (head != NONE)
		buddy->previous[head] = frame;
	buddy->head[order] = frame;
}

static void buddy_unlink(struct yard_buddy *buddy, uint32_t frame, unsigned order)
{
	uint32_t next = buddy->next[frame], previous = buddy->previous[frame];

	buddy->state[frame] = 0;
	if (previous == NONE)
		buddy->head[order] = next;
	else
		buddy->next[previous] = next;
	if (next != NONE)
		buddy->previous[next] = previous;
}

void yard_buddy_init(struct yard_buddy *buddy, uint32_t frames)
{
	uint32_t block = 1u << (YARD_BUDDY_ORDERS - 1);

	*buddy = (struct yard_buddy){ .frames = frames };
	buddy->next = g_new(uint32_t, frames);
	buddy->previous = g_new(uint32_t, frames);
	buddy->state = g_new0(uint8_t, frames);
	for (unsigned order = 0; order < YARD_BUDDY_ORDERS; order++)
		buddy->head[order] = NONE;
	for (uint32_t frame = 0; frame + block <= frames; frame += block)
		buddy_link(buddy, frame, YARD_BUDDY_ORDERS - 1);
}

void yard_buddy_fini(struct yard_buddy *buddy)
{
	g_free(buddy->next);
	g_free(buddy->previous);
	g_free(buddy->state);
}

uint32_t yard_buddy_alloc(struct yard_buddy *buddy, unsigned order)
{
	unsigned from = order;

	while (from < YARD_BUDDY_ORDERS && buddy->head[from] == NONE)
		from++;
	if (from == YARD_BUDDY_ORDERS)
		return NONE;
	uint32_t frame = buddy->head[from];
	buddy_unlink(buddy, frame, from);
	while (from-- > order)
		buddy_link(buddy, frame + (1u << from), from);
	return frame;
}

void yard_buddy_free(struct yard_buddy *buddy, uint32_t frame, unsigned order)
{
	while (order < YARD_BUDDY_ORDERS - 1) {
		uint32_t other = frame ^ (1u << order);
		if (other >= buddy->frames || buddy->state[other] != order + 1)
			break;
		buddy_unlink(buddy, other, order);
		frame &= ~(1u << order);
		order++;
	}
	buddy_link(buddy, frame, order);
}

void yard_swaps(uint64_t *word, uint32_t count)
{
	uint64_t seen = *word;

	for (uint32_t i = 0; i < count; i++)
		if (__atomic_compare_exchange_n(word, &seen, seen + 1, 0, __ATOMIC_SEQ_CST,
						__ATOMIC_SEQ_CST))
			seen++;
}
