/* Memory maps as tables in memory, the way boot loaders hand them over; little-endian. */
#include "workloads/memory_map_formats.h"

#include <inttypes.h>
#include <string.h>

#include "workloads/trace.h"

#define EFI_PAGE_BYTES 4096ull
#define LIMINE_ALIGN   4096ull
#define EFI_WB	       8ull	  /* UEFI 2.10, 7.2.3: memory attributes */
#define EFI_SP	       0x40000ull /* EFI_MEMORY_SP */

struct reading {
	const uint8_t *at; /* of the table's first byte */
	gsize bytes;
	const char *name;
	GError **error;
	GArray *map;
};

static uint64_t number_at(const struct reading *reading, gsize offset, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = bytes; i-- > 0;)
		value = value << 8 | reading->at[offset + i];
	return value;
}

static bool refuse(const struct reading *reading, gsize offset, const char *wrong)
{
	trace_error_set(reading->error, TRACE_ERROR_FORMAT, "%s: at byte %" G_GSIZE_FORMAT ": %s",
			reading->name, offset, wrong);
	return false;
}

/* An entry at OFFSET. */
static bool add(struct reading *reading, gsize offset, uint64_t base, uint64_t bytes, uint32_t type)
{
	struct memory_range range = { .base = base, .bytes = bytes, .type = type };

	if (bytes == 0)
		return true;
	if (bytes - 1 > UINT64_MAX - base)
		return refuse(reading, offset, "the range goes beyond 64 bits");
	g_array_append_val(reading->map, range);
	return true;
}

/* ---- tables of equal entries ---- */

typedef bool (*entry_fn)(struct reading *reading, gsize offset);

static bool read_entries(struct reading *reading, gsize from, gsize to, gsize entry_bytes,
			 entry_fn entry)
{
	for (gsize at = from; at < to; at += entry_bytes) {
		if (to - at < entry_bytes)
			return refuse(reading, at, "the table ends in the middle of an entry");
		if (!entry(reading, at))
			return false;
	}
	return true;
}

/* What a reader found, or NULL. */
static GArray *finish(struct reading *reading, bool fine)
{
	if (fine && reading->map->len == 0) {
		refuse(reading, 0, "no memory map in it");
		fine = false;
	}
	if (fine)
		return reading->map;
	g_array_unref(reading->map);
	return NULL;
}

static struct reading begin(const char *text, gsize bytes, const char *name, GError **error)
{
	return (struct reading){ .at = (const uint8_t *)text,
				 .bytes = bytes,
				 .name = name,
				 .error = error,
				 .map = g_array_new(FALSE, TRUE, sizeof(struct memory_range)) };
}

static GArray *parse_entries(const char *text, gsize bytes, const char *name, GError **error,
			     gsize entry_bytes, entry_fn entry)
{
	struct reading reading = begin(text, bytes, name, error);

	return finish(&reading, read_entries(&reading, 0, bytes, entry_bytes, entry));
}

/* ---- E820 (ACPI 6.5, 15.1): base, bytes, type; of 24 bytes with attributes ---- */

static bool e820_entry(struct reading *reading, gsize offset)
{
	uint32_t type = (uint32_t)number_at(reading, offset + 16, 4);

	if (type == 0)
		return refuse(reading, offset, "type 0 is none of E820's");
	return add(reading, offset, number_at(reading, offset, 8),
		   number_at(reading, offset + 8, 8), type);
}

/* Bit 0 of the attributes is clear where the entry is to be passed over; loaders that know nothing
 * of attributes leave all of them clear. */
static bool e820_wide_entry(struct reading *reading, gsize offset)
{
	if (number_at(reading, offset + 20, 4) > 0xf)
		return refuse(reading, offset, "attributes that E820 does not have");
	return e820_entry(reading, offset);
}

GArray *memory_map_parse_e820_20(const char *text, gsize bytes, const char *name, GError **error)
{
	return parse_entries(text, bytes, name, error, 20, e820_entry);
}

GArray *memory_map_parse_e820_24(const char *text, gsize bytes, const char *name, GError **error)
{
	return parse_entries(text, bytes, name, error, 24, e820_wide_entry);
}

/* ---- UEFI (UEFI 2.10, 7.2.3): EFI_MEMORY_DESCRIPTOR ---- */

static bool efi_entry(struct reading *reading, gsize offset)
{
	uint32_t type = (uint32_t)number_at(reading, offset, 4);
	uint64_t base = number_at(reading, offset + 8, 8);
	uint64_t pages = number_at(reading, offset + 24, 8);
	uint64_t attributes = number_at(reading, offset + 32, 8);

	if (base % EFI_PAGE_BYTES)
		return refuse(reading, offset, "a UEFI range that begins inside a page");
	if (pages > UINT64_MAX / EFI_PAGE_BYTES)
		return refuse(reading, offset, "the range goes beyond 64 bits");
	return add(reading, offset, base, pages * EFI_PAGE_BYTES,
		   memory_map_efi_type(type, attributes & EFI_WB, attributes & EFI_SP));
}

GArray *memory_map_parse_efi_40(const char *text, gsize bytes, const char *name, GError **error)
{
	return parse_entries(text, bytes, name, error, 40, efi_entry);
}

GArray *memory_map_parse_efi_48(const char *text, gsize bytes, const char *name, GError **error)
{
	return parse_entries(text, bytes, name, error, 48, efi_entry);
}

/* ---- Multiboot 1 (specification 0.6.96, 3.3): each entry behind its own size ---- */

GArray *memory_map_parse_multiboot1(const char *text, gsize bytes, const char *name, GError **error)
{
	struct reading reading = begin(text, bytes, name, error);
	bool fine = true;
	gsize size;

	for (gsize at = 0; fine && at < bytes; at += 4 + size) {
		if (bytes - at < 24) {
			fine = refuse(&reading, at, "the table ends in the middle of an entry");
			break;
		}
		size = number_at(&reading, at, 4);
		if (size < 20 || size > bytes - at - 4)
			fine = refuse(&reading, at,
				      "an entry's size is below 20, or beyond the end");
		else if (number_at(&reading, at + 20, 4) == 0)
			fine = refuse(&reading, at, "type 0 is none of Multiboot's");
		else
			fine = add(&reading, at, number_at(&reading, at + 4, 8),
				   number_at(&reading, at + 12, 8),
				   (uint32_t)number_at(&reading, at + 20, 4));
	}
	return finish(&reading, fine);
}

/* ---- Multiboot 2 (specification 2.0, 3.6): tags ---- */

enum { TAG_END = 0, TAG_MEMORY_MAP = 6, TAG_EFI_MEMORY_MAP = 17 };

static bool read_memory_map_tag(struct reading *reading, gsize at, gsize end)
{
	gsize entry_bytes = at + 16 <= end ? number_at(reading, at + 8, 4) : 0;

	if (entry_bytes < 24 || entry_bytes % 8)
		return refuse(reading, at,
			      "a memory map tag with entries below 24 bytes, or not a "
			      "multiple of 8");
	return read_entries(reading, at + 16, end, entry_bytes, e820_entry);
}

static bool read_efi_tag(struct reading *reading, gsize at, gsize end)
{
	gsize entry_bytes = at + 16 <= end ? number_at(reading, at + 8, 4) : 0;

	if (entry_bytes < 40 || entry_bytes % 8)
		return refuse(reading, at,
			      "an EFI memory map tag with descriptors below 40 bytes, or "
			      "not a multiple of 8");
	return read_entries(reading, at + 16, end, entry_bytes, efi_entry);
}

/* The tag of that type in [from, bytes): its offset and end. False with *wrong where tags do not
 * follow one another; *at is 0 where there is none. */
static bool find_tag(struct reading *reading, gsize from, uint32_t wanted, gsize *found, gsize *end)
{
	*found = 0;
	for (gsize at = from; at < reading->bytes;) {
		if (reading->bytes - at < 8)
			return refuse(reading, at, "the information ends in the middle of a tag");
		uint32_t type = (uint32_t)number_at(reading, at, 4);
		gsize size = number_at(reading, at + 4, 4);
		if (size < 8 || size > reading->bytes - at)
			return refuse(reading, at, "a tag's size is below 8, or beyond the end");
		if (type == wanted) {
			*found = at;
			*end = at + size;
			return true;
		}
		if (type == TAG_END)
			return true;
		at += (size + 7) & ~(gsize)7;
	}
	return true;
}

/* All of the boot information, or the memory map's tag alone. */
GArray *memory_map_parse_multiboot2(const char *text, gsize bytes, const char *name, GError **error)
{
	struct reading reading = begin(text, bytes, name, error);
	gsize at = 0, end = 0;
	bool fine = true;

	if (bytes < 16)
		return finish(&reading, refuse(&reading, 0, "shorter than any boot information"));
	uint64_t first = number_at(&reading, 0, 4), second = number_at(&reading, 4, 4);
	bool tag = first == TAG_MEMORY_MAP || first == TAG_EFI_MEMORY_MAP;
	if (tag && second <= bytes && second >= 16) {
		end = second;
		fine = first == TAG_MEMORY_MAP ? read_memory_map_tag(&reading, 0, end)
					       : read_efi_tag(&reading, 0, end);
		return finish(&reading, fine);
	}
	if (first < 16 || first > bytes || second != 0)
		return finish(&reading, refuse(&reading, 0,
					       "neither boot information nor a tag of "
					       "it"));
	reading.bytes = first;
	fine = find_tag(&reading, 8, TAG_MEMORY_MAP, &at, &end);
	if (fine && at)
		return finish(&reading, read_memory_map_tag(&reading, at, end));
	fine = fine && find_tag(&reading, 8, TAG_EFI_MEMORY_MAP, &at, &end);
	if (fine && at)
		return finish(&reading, read_efi_tag(&reading, at, end));
	return finish(&reading, fine);
}

/* ---- Limine (boot protocol, memory map feature): base, length, type of 64 bits each ---- */

static bool limine_entry(struct reading *reading, gsize offset)
{
	uint64_t type = number_at(reading, offset + 16, 8);

	uint64_t base = number_at(reading, offset, 8), bytes = number_at(reading, offset + 8, 8);
	bool usable = memory_map_limine_type(type) == MEMORY_USABLE;

	if (type > 0xff)
		return refuse(reading, offset, "a type that Limine does not have");
	if (usable && (base | bytes) % LIMINE_ALIGN)
		return refuse(reading, offset, "a usable range that is no whole pages");
	return add(reading, offset, base, bytes, memory_map_limine_type(type));
}

GArray *memory_map_parse_limine(const char *text, gsize bytes, const char *name, GError **error)
{
	return parse_entries(text, bytes, name, error, 24, limine_entry);
}
