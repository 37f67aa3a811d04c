/*
 * plugin.h - a kernel heap of your own, as a shared object that `--heap ./mine.so` loads.
 *
 *     static const struct heap_ops mine = { .name = "mine", ... };
 *     KMEMLAB_HEAP_PLUGIN(mine);
 *
 * Built and loaded as a page-frame allocator of your own is (alloc/frame/plugin.h, which says what
 * it may do); one file may hold both. pages.h, page_map.h, span.h and chunk_heap.h are there to
 * build on: what is included becomes part of the plugin.
 */
#ifndef KMEMLAB_ALLOC_HEAP_PLUGIN_H
#define KMEMLAB_ALLOC_HEAP_PLUGIN_H

#include "alloc/frame/plugin.h"
#include "alloc/heap/heap.h"

/* As struct kmemlab_plugin. The version is one for both: a heap calls the frame slot too. */
struct kmemlab_heap_plugin {
	uint32_t abi;
	uint32_t ops_bytes, config_bytes, request_bytes, stats_bytes, map_bytes;
	const struct heap_ops *heap;
};

#define KMEMLAB_HEAP_PLUGIN_SYMBOL "kmemlab_heap_plugin"

/* Once in a plugin, at file scope: OPS is its const struct heap_ops. */
#define KMEMLAB_HEAP_PLUGIN(ops)                                     \
	extern const struct kmemlab_heap_plugin kmemlab_heap_plugin; \
	__attribute__((visibility("default")))                       \
	const struct kmemlab_heap_plugin kmemlab_heap_plugin = {     \
		.abi = KMEMLAB_PLUGIN_ABI,                           \
		.ops_bytes = sizeof(struct heap_ops),                \
		.config_bytes = sizeof(struct heap_config),          \
		.request_bytes = sizeof(struct heap_request),        \
		.stats_bytes = sizeof(struct heap_stats),            \
		.map_bytes = sizeof(struct memmap),                  \
		.heap = &(ops),                                      \
	}

#endif
