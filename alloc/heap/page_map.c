#include "alloc/heap/page_map.h"

#include "alloc/heap/support.h"
#include "alloc/port.h"

uint64_t page_map_root_bytes(const struct memmap *map)
{
	return ((map->end.n + PAGE_MAP_LEAF_WORDS - 1) >> PAGE_MAP_LEAF_SHIFT) * sizeof(uint64_t);
}

void page_map_init(struct page_map *map, struct heap_pages *pages, uint64_t *root)
{
	*map = (struct page_map){ .pages = pages,
				  .root = root,
				  .roots = page_map_root_bytes(pages->map) / sizeof(uint64_t),
				  .base = pages->reach.base };
	map->header_sum = heap_header_sum(map, offsetof(struct page_map, header_sum));
}

static uint64_t *leaf_of(uint64_t entry)
{
	return (uint64_t *)(uintptr_t)(entry & ~PAGE_MAP_COUNT_MASK);
}

/* A full leaf counts 512 in 12 bits. */
static bool put(struct page_map *map, uint64_t frame, uint64_t word)
{
	uint64_t *entry = &map->root[frame >> PAGE_MAP_LEAF_SHIFT];

	if (!*entry) {
		struct heap_run leaf = heap_pages_get(map->pages, 1, 1, FRAME_ZONE_ANY);
		if (!leaf.at)
			return false;
		memset(leaf.at, 0, X86_PAGE_BYTES);
		*entry = (uint64_t)(uintptr_t)leaf.at;
	}
	leaf_of(*entry)[frame & (PAGE_MAP_LEAF_WORDS - 1)] = word;
	++*entry;
	return true;
}

static void take(struct page_map *map, uint64_t frame)
{
	uint64_t *entry = &map->root[frame >> PAGE_MAP_LEAF_SHIFT];

	leaf_of(*entry)[frame & (PAGE_MAP_LEAF_WORDS - 1)] = 0;
	if ((--*entry & PAGE_MAP_COUNT_MASK) != 0)
		return;
	heap_pages_put(map->pages, (struct heap_run){ (char *)leaf_of(*entry), 1 });
	*entry = 0;
}

bool page_map_set(struct page_map *map, const void *at, uint64_t frames, uint64_t word)
{
	uint64_t first = heap_frame_of(map->pages, at);

	for (uint64_t i = 0; i < frames; i++) {
		if (put(map, first + i, word))
			continue;
		while (i-- > 0)
			take(map, first + i);
		return false;
	}
	return true;
}

void page_map_clear(struct page_map *map, const void *at, uint64_t frames)
{
	uint64_t first = heap_frame_of(map->pages, at);

	for (uint64_t i = 0; i < frames; i++)
		take(map, first + i);
}

int page_map_walk(const struct page_map *map, page_map_visit_fn visit, void *ctx)
{
	for (uint64_t r = 0; r < map->roots; r++) {
		const uint64_t *leaf = leaf_of(map->root[r]);
		for (uint64_t i = 0; leaf && i < PAGE_MAP_LEAF_WORDS; i++) {
			struct pfn frame = pfn(r << PAGE_MAP_LEAF_SHIFT | i);
			int error = leaf[i] ? visit(ctx, frame_direct(&map->pages->reach, frame),
						    leaf[i])
					    : 0;
			if (error)
				return error;
		}
	}
	return 0;
}

const void *page_map_check(const struct page_map *map)
{
	if (map->header_sum != heap_header_sum(map, offsetof(struct page_map, header_sum)))
		return map;
	if (!heap_pages_sound(map->pages))
		return map->pages;
	for (uint64_t r = 0; r < map->roots; r++) {
		const uint64_t *leaf = leaf_of(map->root[r]);
		uint64_t count = 0;
		if (!map->root[r])
			continue;
		if (!heap_pages_possible(map->pages, leaf))
			return &map->root[r];
		for (uint64_t i = 0; i < PAGE_MAP_LEAF_WORDS; i++)
			count += leaf[i] != 0;
		if (count == 0 || count != (map->root[r] & PAGE_MAP_COUNT_MASK))
			return &map->root[r];
	}
	return NULL;
}
