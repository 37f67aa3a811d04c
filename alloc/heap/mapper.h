/*
 * mapper.h - kernel virtual memory for heaps that are more than frames of the direct map: a region
 * of kernel addresses, and pages in it that lead to frames. A heap is handed one beside its frame
 * allocator; behind it stands the page-table slot (heap_mapper_over()), or a lab's watch over that.
 *
 *   heap  --map, unmap, query-->  struct heap_mapper_ops  -->  alloc/table/, the kernel's root
 *   kernel code touches a page that is not there  -->  port.h  -->  heap_page_fault()  -->  heap
 *
 * Pages are 4 KiB, for the kernel alone, writable, global, not executable. What an operation takes
 * away is invalidated on all CPUs before the frame is named to whoever frees it. Page tables that
 * were made stay: their frames come from the page-table slot's own source and are not the heap's.
 */
#ifndef KMEMLAB_ALLOC_HEAP_MAPPER_H
#define KMEMLAB_ALLOC_HEAP_MAPPER_H

#include "alloc/addr.h"
#include "alloc/kerr.h"

/* Called for a page that was mapped; nobody can reach FRAME through it any more. */
typedef void (*heap_unmapped_fn)(void *context, struct vaddr va, struct pfn frame);

struct heap_mapper_ops {
	/* The page tables for [va, va + bytes) are there from now on. KERR_NO_MEMORY: a part. Cost:
	 * a descent for each table. */
	int (*prepare)(void *context, struct vaddr va, uint64_t bytes) KERR_MUST_CHECK;
	/* KERR_NO_MEMORY: no frame for a page table. KERR_INVALID: something is mapped there. */
	int (*map)(void *context, struct vaddr va, struct pfn frame) KERR_MUST_CHECK;
	/* What is not mapped in [va, va + bytes) is passed over. TOLD: as above. */
	void (*unmap)(void *context, struct vaddr va, uint64_t bytes, heap_unmapped_fn told,
		      void *told_context);
	/* False: nothing is mapped there. */
	bool (*query)(void *context, struct vaddr va, struct pfn *frame);
};

/* Constant from the heap's init on. */
struct heap_mapper {
	const struct heap_mapper_ops *ops; /* NULL: there is no paging, or no room for a region */
	void *context;
	struct vaddr base; /* of the region; aligned to HEAP_ALIGN_MAX (heap.h) at least */
	uint64_t bytes;
	uint64_t segments; /* 1: CPUs check segment limits (32-bit modes); 0: they do not */
};

struct tables;

/* The region as pages of the kernel's root of T, which must outlive it. */
struct heap_mapper heap_mapper_over(struct tables *t, struct vaddr base, uint64_t bytes);

#endif
