/*
 * addr.h - conversions between frame numbers, physical and virtual addresses, and rounding.
 * Ranges are half-open everywhere: [first, first + frames).
 */
#ifndef KMEMLAB_ALLOC_ADDR_H
#define KMEMLAB_ALLOC_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mmu/x86.h"

#define FRAME_BYTES ((uint64_t)X86_PAGE_BYTES)

/* A run of frames. */
struct frame_range {
	struct pfn first;
	uint64_t frames;
};

static inline struct pfn pfn(uint64_t n)
{
	return (struct pfn){ n };
}

static inline struct pfn pfn_add(struct pfn f, uint64_t frames)
{
	return (struct pfn){ f.n + frames };
}

static inline struct paddr pfn_to_paddr(struct pfn f)
{
	return (struct paddr){ f.n << X86_PAGE_SHIFT };
}

/* The frame that holds a physical address. */
static inline struct pfn paddr_to_pfn(struct paddr p)
{
	return (struct pfn){ p.a >> X86_PAGE_SHIFT };
}

static inline struct vaddr vaddr_add(struct vaddr v, uint64_t bytes)
{
	return (struct vaddr){ v.a + bytes };
}

static inline uint64_t round_down_u64(uint64_t x, uint64_t power_of_two)
{
	return x & ~(power_of_two - 1);
}

/* Wraps to 0 past 2^64: callers check their ranges first. */
static inline uint64_t round_up_u64(uint64_t x, uint64_t power_of_two)
{
	return (x + power_of_two - 1) & ~(power_of_two - 1);
}

static inline bool is_power_of_two(uint64_t x)
{
	return x && !(x & (x - 1));
}

/* Frames needed to hold so many bytes. */
static inline uint64_t frames_for_bytes(uint64_t bytes)
{
	return (bytes >> X86_PAGE_SHIFT) + ((bytes & (FRAME_BYTES - 1)) != 0);
}

#endif
