/*
 * memory_map_formats.h - the forms of memory maps, behind memory_map.h: a parser each. Nobody else
 * includes it.
 *
 * A parser gets all of a file. It returns an array of struct memory_range without empty ranges, or
 * NULL with TRACE_ERROR_FORMAT that names the file and the line, or the offset of the entry.
 */
#ifndef KMEMLAB_WORKLOADS_MEMORY_MAP_FORMATS_H
#define KMEMLAB_WORKLOADS_MEMORY_MAP_FORMATS_H

#include "workloads/memory_map.h"

typedef GArray *(*memory_map_parser)(const char *text, gsize bytes, const char *name,
				     GError **error);

/* Text: a line at a time. */
GArray *memory_map_parse_e820(const char *text, gsize bytes, const char *name, GError **error);
GArray *memory_map_parse_efi(const char *text, gsize bytes, const char *name, GError **error);
GArray *memory_map_parse_iomem(const char *text, gsize bytes, const char *name, GError **error);
GArray *memory_map_parse_limine_text(const char *text, gsize bytes, const char *name,
				     GError **error);

/* Tables in memory, little-endian. */
GArray *memory_map_parse_e820_20(const char *text, gsize bytes, const char *name, GError **error);
GArray *memory_map_parse_e820_24(const char *text, gsize bytes, const char *name, GError **error);
GArray *memory_map_parse_efi_40(const char *text, gsize bytes, const char *name, GError **error);
GArray *memory_map_parse_efi_48(const char *text, gsize bytes, const char *name, GError **error);
GArray *memory_map_parse_multiboot1(const char *text, gsize bytes, const char *name,
				    GError **error);
GArray *memory_map_parse_multiboot2(const char *text, gsize bytes, const char *name,
				    GError **error);
GArray *memory_map_parse_limine(const char *text, gsize bytes, const char *name, GError **error);

/* The memory type that Linux makes of a UEFI memory type (UEFI 2.10, 7.2.3): what the loader and
 * boot services had is free when a kernel runs. WRITE_BACK, SPECIAL: attributes EFI_MEMORY_WB and
 * _SP. */
uint32_t memory_map_efi_type(uint32_t type, bool write_back, bool special);

/* Of Limine's types: what the boot loader had is free when a kernel runs. */
uint32_t memory_map_limine_type(uint64_t type);

#endif
