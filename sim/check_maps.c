/* The memory maps of the suite. */
#include "sim/check.h"

/* clang-format off */
const struct check_map check_maps[] = {
	{ "one range",
	  "[mem 0x0-0x27ffff] usable\n" },
	{ "small PC",
	  "[mem 0x0-0x9fbff] usable\n"
	  "[mem 0x9fc00-0x9ffff] reserved\n"
	  "[mem 0xf0000-0xfffff] reserved\n"
	  "[mem 0x100000-0x7dffff] usable\n"
	  "[mem 0x7e0000-0x7fffff] ACPI data\n" },
	{ "below 1 MiB only",
	  "[mem 0x0-0x9fbff] usable\n"
	  "[mem 0x9fc00-0x9ffff] reserved\n" },
	{ "holes of one frame",
	  "[mem 0x100000-0x6dbfff] usable\n"
	  "[mem 0x12c000-0x12cfff] reserved\n"
	  "[mem 0x12d000-0x12dfff] reserved\n"
	  "[mem 0x1bf000-0x1bffff] reserved\n"
	  "[mem 0x200000-0x200fff] reserved\n"
	  "[mem 0x27f000-0x27ffff] reserved\n"
	  "[mem 0x280000-0x280fff] reserved\n"
	  "[mem 0x3ff000-0x3fffff] reserved\n"
	  "[mem 0x401000-0x401fff] reserved\n"
	  "[mem 0x500000-0x500fff] reserved\n"
	  "[mem 0x640000-0x640fff] reserved\n" },
	{ "fragments of one frame",
	  "[mem 0x1000-0x78fff] usable\n"
	  "[mem 0x100000-0x100fff] usable\n"
	  "[mem 0x102000-0x102fff] usable\n"
	  "[mem 0x104000-0x104fff] usable\n"
	  "[mem 0x106000-0x106fff] usable\n"
	  "[mem 0x108000-0x108fff] usable\n"
	  "[mem 0x10a000-0x10afff] usable\n"
	  "[mem 0x10c000-0x10cfff] usable\n"
	  "[mem 0x10e000-0x10efff] usable\n"
	  "[mem 0x110000-0x110fff] usable\n"
	  "[mem 0x112000-0x112fff] usable\n"
	  "[mem 0x114000-0x114fff] usable\n"
	  "[mem 0x116000-0x116fff] usable\n"
	  "[mem 0x118000-0x118fff] usable\n"
	  "[mem 0x11a000-0x11afff] usable\n"
	  "[mem 0x11c000-0x11cfff] usable\n"
	  "[mem 0x11e000-0x11efff] usable\n"
	  "[mem 0x120000-0x120fff] usable\n"
	  "[mem 0x122000-0x122fff] usable\n"
	  "[mem 0x124000-0x124fff] usable\n"
	  "[mem 0x126000-0x126fff] usable\n"
	  "[mem 0x128000-0x128fff] usable\n"
	  "[mem 0x12a000-0x12afff] usable\n"
	  "[mem 0x12c000-0x12cfff] usable\n"
	  "[mem 0x12e000-0x12efff] usable\n"
	  "[mem 0x130000-0x130fff] usable\n"
	  "[mem 0x132000-0x132fff] usable\n"
	  "[mem 0x134000-0x134fff] usable\n"
	  "[mem 0x136000-0x136fff] usable\n"
	  "[mem 0x138000-0x138fff] usable\n"
	  "[mem 0x13a000-0x13afff] usable\n"
	  "[mem 0x13c000-0x13cfff] usable\n"
	  "[mem 0x13e000-0x13efff] usable\n"
	  "[mem 0x140000-0x140fff] usable\n"
	  "[mem 0x142000-0x142fff] usable\n"
	  "[mem 0x144000-0x144fff] usable\n"
	  "[mem 0x146000-0x146fff] usable\n"
	  "[mem 0x148000-0x148fff] usable\n"
	  "[mem 0x14a000-0x14afff] usable\n"
	  "[mem 0x14c000-0x14cfff] usable\n"
	  "[mem 0x14e000-0x14efff] usable\n"
	  "[mem 0x150000-0x150fff] usable\n"
	  "[mem 0x152000-0x152fff] usable\n"
	  "[mem 0x154000-0x154fff] usable\n"
	  "[mem 0x156000-0x156fff] usable\n"
	  "[mem 0x158000-0x158fff] usable\n"
	  "[mem 0x15a000-0x15afff] usable\n"
	  "[mem 0x15c000-0x15cfff] usable\n"
	  "[mem 0x15e000-0x15efff] usable\n"
	  "[mem 0x160000-0x160fff] usable\n"
	  "[mem 0x162000-0x162fff] usable\n"
	  "[mem 0x164000-0x164fff] usable\n"
	  "[mem 0x166000-0x166fff] usable\n"
	  "[mem 0x168000-0x168fff] usable\n"
	  "[mem 0x16a000-0x16afff] usable\n"
	  "[mem 0x16c000-0x16cfff] usable\n"
	  "[mem 0x16e000-0x16efff] usable\n"
	  "[mem 0x170000-0x170fff] usable\n"
	  "[mem 0x172000-0x172fff] usable\n"
	  "[mem 0x174000-0x174fff] usable\n"
	  "[mem 0x176000-0x176fff] usable\n"
	  "[mem 0x178000-0x178fff] usable\n"
	  "[mem 0x17a000-0x17afff] usable\n"
	  "[mem 0x17c000-0x17cfff] usable\n"
	  "[mem 0x17e000-0x17efff] usable\n"
	  "[mem 0x1ff000-0x1fffff] usable\n"
	  "[mem 0x400000-0x400fff] usable\n" },
	{ "on both sides of 4 GiB",
	  "[mem 0x100000-0x3bbfff] usable\n"
	  "[mem 0xffc00000-0xffefffff] usable\n"
	  "[mem 0x100000000-0x1002bbfff] usable\n" },
	{ "almost all above 4 GiB",
	  "[mem 0x100000-0x12bfff] usable\n"
	  "[mem 0x100003000-0x100537fff] usable\n" },
	{ "prime sizes",
	  "[mem 0x11000-0x75fff] usable\n"
	  "[mem 0x83000-0x17dfff] usable\n"
	  "[mem 0x1fd000-0x203fff] usable\n"
	  "[mem 0x209000-0x5f9fff] usable\n" },
	{ "ranges across words",
	  "[mem 0x3f000-0x40fff] usable\n"
	  "[mem 0x7f000-0x80fff] usable\n"
	  "[mem 0xbf000-0xc0fff] usable\n"
	  "[mem 0xff000-0x100fff] usable\n"
	  "[mem 0x13f000-0x1c0fff] usable\n"
	  "[mem 0x1ff000-0x200fff] usable\n" },
	{ "aligned to everything",
	  "[mem 0x10000-0x73fff] usable\n"
	  "[mem 0x400000-0x7fffff] usable\n" },
	{ "unsorted, overlapping, not page-aligned",
	  "[mem 0x400123-0x5fff00] usable\n"
	  "[mem 0x100000-0x2fffff] usable\n"
	  "[mem 0x2ff000-0x3ff7ff] usable\n"
	  "[mem 0x180800-0x1808ff] reserved\n"
	  "[mem 0x210000-0x213fff] ACPI NVS\n"
	  "[mem 0x500000-0x6fffff] usable\n" },
	{ "forty ranges",
	  "[mem 0x12c000-0x132fff] usable\n"
	  "[mem 0x15e000-0x165fff] usable\n"
	  "[mem 0x190000-0x198fff] usable\n"
	  "[mem 0x1c2000-0x1cbfff] usable\n"
	  "[mem 0x1f4000-0x1fefff] usable\n"
	  "[mem 0x226000-0x231fff] usable\n"
	  "[mem 0x258000-0x264fff] usable\n"
	  "[mem 0x28a000-0x297fff] usable\n"
	  "[mem 0x2bc000-0x2cafff] usable\n"
	  "[mem 0x2ee000-0x2fdfff] usable\n"
	  "[mem 0x320000-0x330fff] usable\n"
	  "[mem 0x352000-0x363fff] usable\n"
	  "[mem 0x384000-0x396fff] usable\n"
	  "[mem 0x3b6000-0x3c9fff] usable\n"
	  "[mem 0x3e8000-0x3fcfff] usable\n"
	  "[mem 0x41a000-0x42ffff] usable\n"
	  "[mem 0x44c000-0x462fff] usable\n"
	  "[mem 0x47e000-0x495fff] usable\n"
	  "[mem 0x4b0000-0x4c8fff] usable\n"
	  "[mem 0x4e2000-0x4fbfff] usable\n"
	  "[mem 0x514000-0x52efff] usable\n"
	  "[mem 0x546000-0x561fff] usable\n"
	  "[mem 0x578000-0x594fff] usable\n"
	  "[mem 0x5aa000-0x5c7fff] usable\n"
	  "[mem 0x5dc000-0x5fafff] usable\n"
	  "[mem 0x60e000-0x62dfff] usable\n"
	  "[mem 0x640000-0x660fff] usable\n"
	  "[mem 0x672000-0x693fff] usable\n"
	  "[mem 0x6a4000-0x6c6fff] usable\n"
	  "[mem 0x6d6000-0x6f9fff] usable\n"
	  "[mem 0x708000-0x72cfff] usable\n"
	  "[mem 0x73a000-0x75ffff] usable\n"
	  "[mem 0x76c000-0x792fff] usable\n"
	  "[mem 0x79e000-0x7c5fff] usable\n"
	  "[mem 0x7d0000-0x7f8fff] usable\n"
	  "[mem 0x802000-0x82bfff] usable\n"
	  "[mem 0x834000-0x85efff] usable\n"
	  "[mem 0x866000-0x891fff] usable\n"
	  "[mem 0x898000-0x8c4fff] usable\n"
	  "[mem 0x8ca000-0x8f7fff] usable\n" },
	{ "64 GiB apart",
	  "[mem 0x100000-0x357fff] usable\n"
	  "[mem 0x1000000000-0x10001f3fff] usable\n" },
	{ "a tebibyte apart",
	  "[mem 0x100000-0x357fff] usable\n"
	  "[mem 0x10000000000-0x100001f3fff] usable\n" },
	{ NULL, NULL },
};
/* clang-format on */
