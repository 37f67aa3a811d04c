/*
 * plugin.h - a user's own page-frame allocator or kernel heap out of a shared object
 * (alloc/frame/plugin.h, alloc/heap/plugin.h).
 *
 * The file is examined before anything of it runs: it must be an x86-64 shared object that needs no
 * library, begins no code of its own, keeps no variables, and asks for nothing but port.h and the
 * four mem* functions. It is code in this process all the same: what it does wrong is caught where
 * the lab's own systems are caught (trap.h, watchdog.h, probe.h), and a write of it to the lab's
 * memory is seen in the probed pass alone.
 */
#ifndef KMEMLAB_SIM_PLUGIN_H
#define KMEMLAB_SIM_PLUGIN_H

#include <glib.h>
#include <stdbool.h>

#include "sim/kernel.h"

/* Is that a file's name (it ends in ".so", or has a slash) rather than a system's? */
bool plugin_is_path(const char *name);

/* Its ops in both builds; the probed one is NULL where the plugin has no such half. They stay valid
 * until the program ends. LAB_ERROR_INPUT says what is wrong with the file. */
bool plugin_load(const char *path, const struct frame_ops *frames[PASSES], GError **error);
bool plugin_load_heap(const char *path, const struct heap_ops *heap[PASSES], GError **error);

#endif
