/*
 * sparse.h - zeroed host memory that costs what is touched: arrays indexed by frame number, where
 * the simulated RAM may be far larger than the host's.
 */
#ifndef KMEMLAB_SIM_SPARSE_H
#define KMEMLAB_SIM_SPARSE_H

#include <stddef.h>

/* BYTES of zeroes, page-aligned. Returns NULL where the host refuses the address space. */
void *sparse_new(size_t bytes);
/* Touches the first BYTES, so that using them costs no page faults later. */
void sparse_touch(void *memory, size_t bytes);
/* NULL is allowed. BYTES as given to sparse_new(). */
void sparse_free(void *memory, size_t bytes);

#endif
