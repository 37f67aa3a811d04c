/* kernel.h - the two builds of alloc/ in this program, behind one struct. */
#ifndef KMEMLAB_SIM_KERNEL_H
#define KMEMLAB_SIM_KERNEL_H

#include "alloc/boot.h"
#include "alloc/frame/frame.h"
#include "alloc/heap/heap.h"
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
};

extern const struct kernel kernels[PASSES];

#endif
