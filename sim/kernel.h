/* kernel.h - the two builds of alloc/ in this program, behind one struct. */
#ifndef KMEMLAB_SIM_KERNEL_H
#define KMEMLAB_SIM_KERNEL_H

#include "alloc/boot.h"
#include "alloc/frame/frame.h"
#include "alloc/heap/heap.h"
#include "alloc/space/space.h"
#include "sim/machine.h"

enum kernel_pass { PASS_NATIVE = 0, PASS_PROBED, PASSES };

struct kernel {
	const char *name; /* "native", "probed" */
	machine_boot_fn boot;
	int (*frame_alloc)(const struct frames *, const struct frame_request *,
			   struct frame_block *);
	int (*frame_free)(const struct frames *, const struct frame_block *);
	const struct frame_ops *(*frame_find)(const char *);
	int (*heap_alloc)(const struct heap *, const struct heap_request *, void **);
	int (*heap_free)(const struct heap *, void *);
	int (*heap_realloc)(const struct heap *, const struct heap_request *, void **);
	int (*heap_cache_new)(const struct heap *, const struct heap_cache_request *, uint32_t *);
	const struct heap_ops *(*heap_find)(const char *);
	port_fault_handler heap_page_fault;
	/* What heaps map pages with: the kernel's own page tables, without spaces. */
	int (*table_init)(const struct table_ops *, const struct table_config *, void *);
	struct heap_mapper (*heap_mapper_over)(struct tables *, struct vaddr, uint64_t);
};

/* Page tables and address spaces (alloc/space/space.h), of one build. */
struct kernel_spaces {
	const struct table_ops *(*table_find)(const char *);
	const struct space_ops *(*space_find)(const char *);
	uint64_t (*state_bytes)(const struct spaces_config *, const char **);
	int (*init)(const struct spaces_config *, void *, struct spaces **);
	void (*fini)(struct spaces *);
	int (*new)(struct spaces *, struct space **);
	int (*fork)(struct spaces *, struct space *, struct space **);
	void (*free)(struct spaces *, struct space *);
	int (*map)(struct spaces *, struct space *, uint64_t, uint64_t, unsigned);
	int (*unmap)(struct spaces *, struct space *, uint64_t, uint64_t);
	int (*protect)(struct spaces *, struct space *, uint64_t, uint64_t, unsigned);
	int (*brk)(struct spaces *, struct space *, uint64_t);
	void (*change)(struct spaces *, struct space *);
	int (*fault)(struct spaces *, struct space *, struct vaddr, uint32_t,
		     struct space_report *);
	int (*check)(struct spaces *, struct space *, struct violation *);
};
extern const struct kernel_spaces kernel_spaces[PASSES];

extern const struct kernel kernels[PASSES];

#endif
