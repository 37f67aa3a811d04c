#include "workloads/import/gfp.h"

#include <string.h>
#include "workloads/event.h"

/* Linux 6.1, include/linux/gfp_types.h and include/trace/events/mmflags.h. */
#define IO	       0x40u
#define FS	       0x80u
#define HIGH	       0x20u
#define ATOMIC	       0x200u
#define RECLAIM	       0xc00u
#define DIRECT_RECLAIM 0x400u
#define KSWAPD_RECLAIM 0x800u
#define NOWARN	       0x2000u
#define COMP	       0x40000u
#define NOMEMALLOC     0x80000u
#define HARDWALL       0x100000u
#define ACCOUNT	       0x400000u
#define KERNEL	       (RECLAIM | IO | FS)
#define USER	       (KERNEL | HARDWALL)
#define HIGHUSER       (USER | GFP_BIT_HIGHMEM)
#define MOVABLE_USER   (HIGHUSER | GFP_BIT_MOVABLE)
#define HUGE_LIGHT     ((MOVABLE_USER | COMP | NOMEMALLOC | NOWARN) & ~RECLAIM)

static const struct {
	const char *name;
	uint32_t bits;
} names[] = {
	{ "GFP_HIGHUSER_MOVABLE", MOVABLE_USER },
	{ "__GFP_COMP", COMP },
	{ "__GFP_ZERO", 0x100u },
	{ "GFP_KERNEL_ACCOUNT", KERNEL | ACCOUNT },
	{ "GFP_KERNEL", KERNEL },
	{ "__GFP_NOWARN", NOWARN },
	{ "__GFP_NORETRY", 0x10000u },
	{ "__GFP_IO", IO },
	{ "__GFP_FS", FS },
	{ "__GFP_NOMEMALLOC", NOMEMALLOC },
	{ "__GFP_ACCOUNT", ACCOUNT },
	{ "__GFP_RECLAIMABLE", 0x10u },
	{ "__GFP_HARDWALL", HARDWALL },
	{ "GFP_TRANSHUGE", HUGE_LIGHT | DIRECT_RECLAIM },
	{ "GFP_TRANSHUGE_LIGHT", HUGE_LIGHT },
	{ "GFP_HIGHUSER", HIGHUSER },
	{ "GFP_USER", USER },
	{ "GFP_NOFS", RECLAIM | IO },
	{ "GFP_NOIO", RECLAIM },
	{ "GFP_ATOMIC", HIGH | ATOMIC | KSWAPD_RECLAIM },
	{ "GFP_NOWAIT", KSWAPD_RECLAIM },
	{ "GFP_DMA", GFP_BIT_DMA },
	{ "__GFP_DMA", GFP_BIT_DMA },
	{ "__GFP_HIGHMEM", GFP_BIT_HIGHMEM },
	{ "GFP_DMA32", GFP_BIT_DMA32 },
	{ "__GFP_DMA32", GFP_BIT_DMA32 },
	{ "__GFP_MOVABLE", GFP_BIT_MOVABLE },
	{ "__GFP_HIGH", HIGH },
	{ "__GFP_ATOMIC", ATOMIC },
	{ "__GFP_RETRY_MAYFAIL", 0x4000u },
	{ "__GFP_NOFAIL", 0x8000u },
	{ "__GFP_MEMALLOC", 0x20000u },
	{ "__GFP_THISNODE", 0x200000u },
	{ "__GFP_WRITE", 0x1000u },
	{ "__GFP_RECLAIM", RECLAIM },
	{ "__GFP_DIRECT_RECLAIM", DIRECT_RECLAIM },
	{ "__GFP_KSWAPD_RECLAIM", KSWAPD_RECLAIM },
	{ "__GFP_ZEROTAGS", 0x800000u },
	{ "__GFP_SKIP_ZERO", 0x1000000u },
	{ "__GFP_SKIP_KASAN_UNPOISON", 0x2000000u },
	{ "__GFP_SKIP_KASAN", 0x2000000u },
	{ "__GFP_SKIP_KASAN_POISON", 0x4000000u },
	{ "__GFP_NOLOCKDEP", 0x8000000u },
	{ "__GFP_NO_OBJ_EXT", 0x10000000u },
	/* Names of older kernels. */
	{ "GFP_TEMPORARY", KERNEL | 0x10u },
	{ "__GFP_COLD", 0 },
	{ "__GFP_REPEAT", 0x4000u },
	{ "__GFP_NOTRACK", 0 },
	{ "__GFP_OTHER_NODE", 0 },
	{ "none", 0 },
};

bool gfp_name_bits(const char *name, size_t bytes, uint32_t *bits)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		/* A damaged name may have a zero byte in it. */
		if (strlen(names[i].name) == bytes && memcmp(names[i].name, name, bytes) == 0) {
			*bits = names[i].bits;
			return true;
		}
	}
	return false;
}

static bool hex_bits(const char *text, size_t bytes, uint32_t *bits)
{
	uint64_t value = 0;

	if (bytes < 3 || bytes > 18 || text[0] != '0' || text[1] != 'x')
		return false;
	for (size_t i = 2; i < bytes; i++) {
		char c = text[i];
		unsigned digit = c >= '0' && c <= '9'	? (unsigned)(c - '0')
				 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
							: 16;
		if (digit == 16)
			return false;
		value = value << 4 | digit;
	}
	*bits = (uint32_t)value;
	return true;
}

bool gfp_parse(const char *text, size_t bytes, uint32_t *gfp)
{
	const char *end = text + bytes;
	uint32_t all = 0;

	if (bytes == 0)
		return false;
	for (const char *name = text; name < end;) {
		const char *bar = memchr(name, '|', (size_t)(end - name));
		size_t length = (size_t)((bar ? bar : end) - name);
		uint32_t bits;

		if (length == 0 ||
		    (!gfp_name_bits(name, length, &bits) && !hex_bits(name, length, &bits)))
			return false;
		all |= bits;
		name += length + 1;
	}
	*gfp = all;
	return true;
}

uint8_t gfp_zone(uint32_t gfp)
{
	if (gfp & GFP_BIT_DMA)
		return ZONE_DMA;
	if (gfp & GFP_BIT_DMA32)
		return ZONE_DMA32;
	if ((gfp & GFP_BIT_HIGHMEM) && (gfp & GFP_BIT_MOVABLE))
		return ZONE_MOVABLE;
	if (gfp & GFP_BIT_HIGHMEM)
		return ZONE_HIGHMEM;
	return ZONE_NORMAL;
}
