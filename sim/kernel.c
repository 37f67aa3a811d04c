#include "sim/kernel.h"

/* The probed build's twins; same types, prefixed names. */
int probed_boot(const struct boot_params *params, struct boot_result *result);
int probed_frame_alloc(const struct frames *frames, const struct frame_request *request,
		       struct frame_block *out);
int probed_frame_free(const struct frames *frames, const struct frame_block *block);
const struct frame_ops *probed_frame_find(const char *name);

int probed_heap_alloc(const struct heap *heap, const struct heap_request *request, void **out);
int probed_heap_free(const struct heap *heap, void *object);
int probed_heap_realloc(const struct heap *heap, const struct heap_request *request, void **object);
int probed_heap_cache_new(const struct heap *heap, const struct heap_cache_request *request,
			  uint32_t *out);
const struct heap_ops *probed_heap_find(const char *name);

const struct kernel kernels[PASSES] = {
	[PASS_NATIVE] = { "native", boot, frame_alloc, frame_free, frame_find, heap_alloc,
			  heap_free, heap_realloc, heap_cache_new, heap_find },
	[PASS_PROBED] = { "probed", probed_boot, probed_frame_alloc, probed_frame_free,
			  probed_frame_find, probed_heap_alloc, probed_heap_free,
			  probed_heap_realloc, probed_heap_cache_new, probed_heap_find },
};
