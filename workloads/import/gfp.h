/*
 * gfp.h - names of Linux's allocation flags.
 *
 * Recorders print gfp words by name ("GFP_KERNEL|__GFP_ZERO"), and kernels renumber the bits now
 * and then. Traces carry one numbering, that of Linux 6.1 (include/linux/gfp_types.h): text is read
 * back through the names, and binary recordings whose own formats name other bits are translated.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_GFP_H
#define KMEMLAB_WORKLOADS_IMPORT_GFP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bits that decide the zone; the same in every kernel. */
#define GFP_BIT_DMA	UINT32_C(0x01)
#define GFP_BIT_HIGHMEM UINT32_C(0x02)
#define GFP_BIT_DMA32	UINT32_C(0x04)
#define GFP_BIT_MOVABLE UINT32_C(0x08)

/* Reads "A|B|0x10" or "none" of BYTES bytes. Returns false for a name that no kernel prints. */
bool gfp_parse(const char *text, size_t bytes, uint32_t *gfp);
/* The bits behind one name; returns false if it is unknown. */
bool gfp_name_bits(const char *name, size_t bytes, uint32_t *bits);
/* enum event_zone: the highest zone that a request with these flags may be served from. */
uint8_t gfp_zone(uint32_t gfp);

#endif
