/*
 * memory_map.h - memory maps as firmware and boot loaders hand them over, read from files.
 *
 *	e820		what Linux prints at boot: "BIOS-e820: [mem 0x...-0x...] usable", with or
 *			without dmesg's time stamps; other lines are passed over
 *	e820-20, -24	the BIOS's table: u64 base, u64 bytes, u32 type (u32 attributes)
 *	efi		what Linux prints with efi=debug: "efi: mem00: [...] range=[0x...-0x...]"
 *	efi-40, -48	EFI_MEMORY_DESCRIPTORs of that size
 *	multiboot1	the table that mmap_addr leads to: each entry behind its size
 *	multiboot2	the boot information, or its memory map tag (or the EFI one) alone
 *	limine		limine_memmap_entry: u64 base, u64 length, u64 type
 *	limine-text	"base=0x0 length=0x9f000 type=usable"
 *	iomem		/proc/iomem, read by root
 *
 * What a boot loader or UEFI's boot services occupy is usable, since a kernel may have it. Ranges
 *may overlap or be unsorted: normalising is the kernel's business (alloc/memmap.h), not ours.
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

/* Reads a memory map of whatever form it is. A line with "BIOS-e820:" must parse; a line that is
 * nothing but a range and a type ("[mem 0x0-0x9ffff] usable") counts too. Returns an array of
 * struct memory_range (transfer full), NULL with TRACE_ERROR_FORMAT naming NAME and the line or
 * byte of what is malformed, or that there is no map, or that it could be several. */
GArray *memory_map_parse(const char *text, gsize bytes, const char *name, GError **error);
/* The same of one form. TRACE_ERROR_FORMAT where there is no such form. */
GArray *memory_map_parse_as(const char *form, const char *text, gsize bytes, const char *name,
			    GError **error);
/* PATH: a file, or "FORM:FILE" where no file has that name. */
GArray *memory_map_load(const char *path, GError **error);
/* The file in such a path: PATH itself, or what stands behind "FORM:". */
const char *memory_map_file(const char *path);
/* The forms above, NULL-terminated. */
extern const char *const memory_map_forms[];

/* As E820 lines, one a range (no time stamps); empty ranges have no such form and
 * are left out. */
char *memory_map_format(const GArray *map);
/* "usable", "reserved", "ACPI data", ... as Linux prints them; "unknown" for other numbers. */
const char *memory_type_name(uint32_t type);
/* Sum of whole usable frames, overlaps counted once, reserved ranges taken out. */
uint64_t memory_map_usable_frames(const GArray *map);
/* One past the last byte of usable RAM; UINT64_MAX where that is 2^64, 0 where there is none. */
uint64_t memory_map_end(const GArray *map);

#endif
