/* cells.h - every page-table system in every mode that it has. */
#ifndef KMEMLAB_TESTS_SPACE_CELLS_H
#define KMEMLAB_TESTS_SPACE_CELLS_H

/* A recursive slot of the fifth level shows 256 TiB: this lab's reservation has no room for it. */
static const struct {
	const char *tables, *mode;
} cells[] = {
	{ "direct", "32" },
	{ "direct", "pae" },
	{ "direct", "4level" },
	{ "direct", "5level" },
	{ "recursive", "32" },
	{ "recursive", "pae" },
	{ "recursive", "4level" },
	{ "foreign", "32" },
	{ "foreign", "pae" },
	{ "foreign", "4level" },
	{ "window", "32" },
	{ "window", "pae" },
	{ "window", "4level" },
	{ "window", "5level" },
	{ "directories", "32" },
	{ "directories", "pae" },
	{ "directories", "4level" },
	{ "directories", "5level" },
	{ "pool", "32" },
	{ "pool", "pae" },
	{ "pool", "4level" },
	{ "pool", "5level" },
	{ "preallocated", "32" },
	{ "preallocated", "pae" },
	{ "preallocated", "4level" },
	{ "preallocated", "5level" },
};

#endif
