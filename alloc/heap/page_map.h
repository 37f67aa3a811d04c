/*
 * page_map.h - from the frame of an address to a word that a heap keeps about it: out-of-band
 * metadata, as the struct page array of a kernel is, but only where there is something to know.
 *
 *   root (in the heap's state)      leaf: one frame for 2 MiB of RAM
 *   +--------+--------+-----
 *   | leaf,n |   0    | ...   -->   +------+------+------+-----
 *   +--------+--------+-----        | word | word |  0   | ... 512
 *
 * The low bits of a root entry count the words of its leaf that are not 0: a leaf without any goes
 * back. Cost: a look-up is two dependent loads; 8 bytes of root for each 2 MiB of RAM, and a leaf
 * of one frame where any word is set.
 */
#ifndef KMEMLAB_ALLOC_HEAP_PAGE_MAP_H
#define KMEMLAB_ALLOC_HEAP_PAGE_MAP_H

#include "alloc/heap/pages.h"

#define PAGE_MAP_LEAF_SHIFT 9u
#define PAGE_MAP_LEAF_WORDS (1u << PAGE_MAP_LEAF_SHIFT)
#define PAGE_MAP_COUNT_MASK ((uint64_t)X86_PAGE_BYTES - 1)

struct page_map {
	struct heap_pages *pages;
	uint64_t *root;
	uint64_t roots;
	const char *base;    /* of the direct map, as pages->reach has it */
	uint64_t header_sum; /* over the above */
};

/* Bytes of root for the frames of MAP. */
uint64_t page_map_root_bytes(const struct memmap *map);
/* ROOT: zeroed, that many bytes. */
void page_map_init(struct page_map *map, struct heap_pages *pages, uint64_t *root);

/* Sets the words of [at, at + frames) to WORD, not 0; they are 0. False, and nothing set, where
 * there is no frame for a leaf. */
bool page_map_set(struct page_map *map, const void *at, uint64_t frames, uint64_t word);
/* Sets them back to 0. */
void page_map_clear(struct page_map *map, const void *at, uint64_t frames);

/* 0 for whatever lies elsewhere. */
static inline uint64_t page_map_get(const struct page_map *map, const void *at)
{
	uint64_t frame = (uint64_t)((const char *)at - map->base) >> X86_PAGE_SHIFT;

	if (frame >> PAGE_MAP_LEAF_SHIFT >= map->roots)
		return 0;
	const uint64_t *leaf =
		(const uint64_t *)(uintptr_t)(map->root[frame >> PAGE_MAP_LEAF_SHIFT] &
					      ~PAGE_MAP_COUNT_MASK);
	return leaf ? leaf[frame & (PAGE_MAP_LEAF_WORDS - 1)] : 0;
}

/* Calls VISIT for every word that is set, by address; anything but 0 ends it and is returned. */
typedef int (*page_map_visit_fn)(void *ctx, const void *at, uint64_t word);
int page_map_walk(const struct page_map *map, page_map_visit_fn visit, void *ctx);

/* Whether roots and leaves are sound: leaves in RAM, counts right; and before that the map's and
 * its pages' own constant parts. NULL, or the place. */
const void *page_map_check(const struct page_map *map);

#endif
