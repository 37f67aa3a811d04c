/*
 * geometry.c - the table behind geometry.h.
 */
#include "alloc/table/geometry.h"

#define LONG_LEVELS                                        \
	{ 12, 9, true }, { 21, 9, true }, { 30, 9, true }, \
	{                                                  \
		39, 9, false                               \
	}

static const struct table_geometry geometries[BOOT_PAGING_MODES] = {
	[BOOT_PAGING_NONE] = { .name = "none" },
	[BOOT_PAGING_32] = {
		.name = "32",
		.depth = 2,
		.top_frames = 1,
		.level = { { 12, 10, true }, { 22, 10, true } },
		.user_end = 0xc0000000,
		.va_mask = 0xffffffff,
	},
	[BOOT_PAGING_PAE] = {
		.name = "pae",
		.depth = 2,
		.wide = true,
		.top_frames = TABLE_TOP_FRAMES,
		.level = { { 12, 9, true }, { 21, 11, true } },
		.user_end = 0xc0000000,
		.va_mask = 0xffffffff,
		.no_execute = X86_PTE_XD,
	},
	[BOOT_PAGING_4LEVEL] = {
		.name = "4level",
		.depth = 4,
		.wide = true,
		.top_frames = 1,
		.level = { LONG_LEVELS },
		.user_end = 1ull << 47,
		.va_mask = (1ull << 48) - 1,
		.no_execute = X86_PTE_XD,
	},
	[BOOT_PAGING_5LEVEL] = {
		.name = "5level",
		.depth = 5,
		.wide = true,
		.top_frames = 1,
		.level = { LONG_LEVELS, { 48, 9, false } },
		.user_end = 1ull << 56,
		.va_mask = (1ull << 57) - 1,
		.no_execute = X86_PTE_XD,
	},
};

const struct table_geometry *table_geometry(enum boot_paging paging)
{
	return &geometries[paging];
}
