/*
 * plugin.h - a page-frame allocator of your own, as a shared object that `--frames ./mine.so`
 * loads.
 *
 *     static const struct frame_ops mine = { .name = "mine", ... };
 *     KMEMLAB_FRAMES_PLUGIN(mine);
 *
 * `kmemlab-plugin-build -o mine.so mine.c` compiles it as the lab compiles its own systems: twice,
 * native and probed. It is kernel code: freestanding, its state in the memory that init() is given,
 * no variables of its own, nothing of the outside but alloc/port.h (and memmap.h, reach.h, which
 * are compiled into it).
 */
#ifndef KMEMLAB_ALLOC_FRAME_PLUGIN_H
#define KMEMLAB_ALLOC_FRAME_PLUGIN_H

#include "alloc/frame/frame.h"

/* Raised whenever a plugin that was built before must not be loaded any more. */
#define KMEMLAB_PLUGIN_ABI 1u

/* The only symbol that a plugin shows. The sizes are a second look at the version: of what crosses
 * between the two. */
struct kmemlab_plugin {
	uint32_t abi;
	uint32_t ops_bytes, config_bytes, request_bytes, stats_bytes, map_bytes;
	const struct frame_ops *frames;
};

#define KMEMLAB_PLUGIN_SYMBOL "kmemlab_plugin"

/* Once in a plugin, at file scope: OPS is its const struct frame_ops. */
#define KMEMLAB_FRAMES_PLUGIN(ops)                                                            \
	extern const struct kmemlab_plugin kmemlab_plugin;                                    \
	__attribute__((visibility("default"))) const struct kmemlab_plugin kmemlab_plugin = { \
		.abi = KMEMLAB_PLUGIN_ABI,                                                    \
		.ops_bytes = sizeof(struct frame_ops),                                        \
		.config_bytes = sizeof(struct frame_config),                                  \
		.request_bytes = sizeof(struct frame_request),                                \
		.stats_bytes = sizeof(struct frame_stats),                                    \
		.map_bytes = sizeof(struct memmap),                                           \
		.frames = &(ops),                                                             \
	}

#endif
