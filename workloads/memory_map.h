/*
 * memory_map.h - memory maps as firmware hands them over, read from text.
 *
 * The text form is the E820 lines that Linux prints at boot ("BIOS-e820: [mem 0x...-0x...]
 * usable"), with or without dmesg's time stamps; other lines are passed over. Ranges may overlap,
 * be unsorted or empty: normalising is the kernel's business (alloc/memmap.h), not ours.
 */
#ifndef KMEMLAB_WORKLOADS_MEMORY_MAP_H
#define KMEMLAB_WORKLOADS_MEMORY_MAP_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* ACPI 6.5, table 15-4: address range types. */
enum memory_type {
	MEMORY_USABLE = 1,
	MEMORY_RESERVED = 2,
	MEMORY_ACPI_RECLAIMABLE = 3,
	MEMORY_ACPI_NVS = 4,
	MEMORY_UNUSABLE = 5,
	MEMORY_PERSISTENT = 7,
	MEMORY_PERSISTENT_OLD = 12,	   /* NVDIMMs before ACPI 6, by Linux's convention */
	MEMORY_SOFT_RESERVED = 0xefffffff, /* EFI "specific purpose" memory, as Linux numbers it */
};

struct memory_range {
	uint64_t base;	/* bytes */
	uint64_t bytes; /* 0 is legal and means nothing */
	uint32_t type;	/* enum memory_type; unknown types are reserved */
	uint32_t pad;
};

/* Reads E820 lines out of text of any length. A line with "BIOS-e820:" must parse; a line that is
 * nothing but a range and a type ("[mem 0x0-0x9ffff] usable") counts too. Returns an array of
 * struct memory_range (transfer full), NULL with TRACE_ERROR_FORMAT naming NAME:line for a
 * malformed E820 line, or when there is none at all. */
GArray *memory_map_parse(const char *text, gsize bytes, const char *name, GError **error);
GArray *memory_map_load(const char *path, GError **error);
/* The same text form back, one line a range (no time stamps); empty ranges have no such form and
 * are left out. */
char *memory_map_format(const GArray *map);
/* "usable", "reserved", "ACPI data", ... as Linux prints them; "unknown" for other numbers. */
const char *memory_type_name(uint32_t type);
/* Sum of whole usable frames, overlaps counted once, reserved ranges taken out. */
uint64_t memory_map_usable_frames(const GArray *map);
/* One past the last byte of usable RAM; UINT64_MAX where that is 2^64, 0 where there is none. */
uint64_t memory_map_end(const GArray *map);

#endif
