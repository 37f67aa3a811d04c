#include "tests/support/frame_maps.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/*	[1 ................ 512)	*/
static const struct frame_range one_range[] = { { { 1 }, 511 } };
/*	[512 ............. 1024): aligned to everything a block of it can be aligned to */
static const struct frame_range aligned[] = { { { 512 }, 512 } };
/*	[1 .. 159)  [256 ......... 1000)  [1003 .. 1024)	a small PC with a reserved page */
static const struct frame_range pc[] = { { { 1 }, 158 }, { { 256 }, 744 }, { { 1003 }, 21 } };
/*	[1 .. 159) and nothing else	*/
static const struct frame_range low_only[] = { { { 1 }, 158 } };
/*	. 3 . 5 . 7 . 9 .	no two frames are neighbours */
static const struct frame_range fragments[] = {
	{ { 3 }, 1 },	{ { 5 }, 1 },	{ { 7 }, 1 },	{ { 9 }, 1 },
	{ { 63 }, 1 },	{ { 65 }, 1 },	{ { 67 }, 1 },	{ { 127 }, 1 },
	{ { 129 }, 1 }, { { 200 }, 1 }, { { 256 }, 1 }, { { 511 }, 1 },
};
/*	[256 .. 512)   4 GiB   [1048576 .. 1048832)	*/
static const struct frame_range above_4g[] = { { { 256 }, 256 }, { { 1048576 }, 256 } };
/*	only above 4 GiB */
static const struct frame_range only_high[] = { { { 1048579 }, 333 } };
/*	two islands far apart */
static const struct frame_range far_apart[] = { { { 256 }, 300 }, { { 16777216 }, 200 } };
static const struct frame_range terabyte[] = { { { 256 }, 300 }, { { 268435456 }, 200 } };
/*	prime sizes at prime places */
static const struct frame_range odd[] = { { { 17 }, 101 }, { { 131 }, 251 }, { { 509 }, 7 } };
/*	[63 65) [127 129) [191 193): ranges that straddle words */
static const struct frame_range straddle[] = { { { 63 }, 2 }, { { 127 }, 2 }, { { 191 }, 2 } };
/*	holes of one frame in a range of 1024 */
static const struct frame_range pinholes[] = {
	{ { 1024 }, 64 }, { { 1089 }, 127 }, { { 1217 }, 255 }, { { 1473 }, 63 }, { { 1537 }, 511 }
};
/*	a single frame */
static const struct frame_range single[] = { { { 300 }, 1 } };
/*	4,500 frames: more than one summary level, blocks of every order */
static const struct frame_range three_levels[] = { { { 5 }, 4500 } };

/* FRAMES and the ends are what memmap_normalise() computes. */
#define MAP(label, r, total, from, to)     \
	{                                  \
		.name = label,             \
		.map = {.ranges = r,       \
			.count = COUNT(r), \
			.frames = total,   \
			.first = { from }, \
			.end = { to },     \
		}                          \
	}

const struct named_map frame_maps[] = {
	MAP("one range", one_range, 511, 1, 512),
	MAP("one aligned range", aligned, 512, 512, 1024),
	MAP("small PC", pc, 923, 1, 1024),
	MAP("below 1 MiB only", low_only, 158, 1, 159),
	MAP("fragments of one frame", fragments, 12, 3, 512),
	MAP("on both sides of 4 GiB", above_4g, 512, 256, 1048832),
	MAP("above 4 GiB only", only_high, 333, 1048579, 1048912),
	MAP("64 GiB apart", far_apart, 500, 256, 16777416),
	MAP("prime sizes", odd, 359, 17, 516),
	MAP("ranges across words", straddle, 6, 63, 193),
	MAP("holes of one frame", pinholes, 1020, 1024, 2048),
	MAP("a single frame", single, 1, 300, 301),
	MAP("4,500 frames", three_levels, 4500, 5, 4505),
};
const unsigned frame_map_count = COUNT(frame_maps);

/*	what Linux printed when it was recorded (redis-page; thp-page with 512 MiB) */
static const struct frame_range redis_page[] = { { { 1 }, 158 }, { { 256 }, 114394 } };
static const struct frame_range thp_page[] = { { { 1 }, 158 }, { { 256 }, 130778 } };
/*	a PC of 4 GiB with the hole below 4 GiB, and a server's islands of 8 MiB in 1 TiB */
static const struct frame_range pc_4g[] = { { { 1 }, 158 },
					    { { 256 }, 524000 },
					    { { 1048576 }, 524288 } };
static const struct frame_range islands[] = {
	{ { 256 }, 1792 },	 { { 33554432 }, 2048 },  { { 67108864 }, 2048 },
	{ { 134217728 }, 2048 }, { { 201326592 }, 2048 }, { { 268433408 }, 2048 },
};

const struct named_map large_frame_maps[] = {
	MAP("a terabyte apart", terabyte, 500, 256, 268435656),
	MAP("islands in a terabyte", islands, 12032, 256, 268435456),
	MAP("recorded, redis-page", redis_page, 114552, 1, 114650),
	MAP("recorded, thp-page", thp_page, 130936, 1, 131034),
	MAP("a PC of 4 GiB", pc_4g, 1048446, 1, 1572864),
};
const unsigned large_frame_map_count = COUNT(large_frame_maps);
