/*
 * systems.h - the heaps of this build; heap.c puts them into the registry.
 */
#ifndef KMEMLAB_ALLOC_HEAP_SYSTEMS_H
#define KMEMLAB_ALLOC_HEAP_SYSTEMS_H

#include "alloc/heap/heap.h"
#include "alloc/heap/support.h"

extern const struct heap_ops heap_null;
extern const struct heap_ops heap_size_classes;
extern const struct heap_ops heap_sole;
extern const struct heap_ops heap_boundary_tags;
extern const struct heap_ops heap_page_only;
extern const struct heap_ops heap_slab;
extern const struct heap_ops heap_pools;
extern const struct heap_ops heap_collector;
extern const struct heap_ops heap_tlsf;

#endif
