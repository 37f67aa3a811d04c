#include "workloads/import/map64.h"

#include <glib.h>

#define EMPTY	    UINT64_MAX
#define FIRST_SLOTS 1024

struct map64_slot {
	uint64_t key, value;
};

/* Fibonacci hashing: pointers and frame numbers share their low bits. */
static size_t home(const struct map64 *map, uint64_t key)
{
	return (size_t)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & map->mask;
}

static struct map64_slot *slots_new(size_t count)
{
	struct map64_slot *slots = g_new(struct map64_slot, count);
	for (size_t i = 0; i < count; i++)
		slots[i].key = EMPTY;
	return slots;
}

static void insert(struct map64 *map, uint64_t key, uint64_t value)
{
	size_t i = home(map, key);
	while (map->slots[i].key != EMPTY)
		i = (i + 1) & map->mask;
	map->slots[i] = (struct map64_slot){ key, value };
	map->used++;
}

static void grow(struct map64 *map)
{
	struct map64_slot *old = map->slots;
	size_t count = old ? map->mask + 1 : 0;
	size_t wanted = count ? 2 * count : FIRST_SLOTS;

	map->slots = slots_new(wanted);
	map->mask = wanted - 1;
	map->used = 0;
	for (size_t i = 0; i < count; i++)
		if (old[i].key != EMPTY)
			insert(map, old[i].key, old[i].value);
	g_free(old);
}

void map64_fini(struct map64 *map)
{
	g_free(map->slots);
	*map = (struct map64){ 0 };
}

static struct map64_slot *find(const struct map64 *map, uint64_t key)
{
	if (!map->slots)
		return NULL;
	for (size_t i = home(map, key); map->slots[i].key != EMPTY; i = (i + 1) & map->mask)
		if (map->slots[i].key == key)
			return &map->slots[i];
	return NULL;
}

uint64_t *map64_find(const struct map64 *map, uint64_t key)
{
	struct map64_slot *slot = find(map, key);
	return slot ? &slot->value : NULL;
}

void map64_put(struct map64 *map, uint64_t key, uint64_t value)
{
	uint64_t *there = map64_find(map, key);

	g_assert(key != EMPTY);
	if (there) {
		*there = value;
		return;
	}
	/* Half full at most: probes stay short. */
	if (!map->slots || 2 * (map->used + 1) > map->mask)
		grow(map);
	insert(map, key, value);
}

bool map64_remove(struct map64 *map, uint64_t key, uint64_t *value)
{
	struct map64_slot *there = find(map, key);
	if (!there)
		return false;
	if (value)
		*value = there->value;

	size_t hole = (size_t)(there - map->slots);
	for (size_t i = (hole + 1) & map->mask; map->slots[i].key != EMPTY;
	     i = (i + 1) & map->mask) {
		/* Whoever probed past the hole on the way to its place moves into it. */
		size_t distance = (i - home(map, map->slots[i].key)) & map->mask;
		if (distance >= ((i - hole) & map->mask)) {
			map->slots[hole] = map->slots[i];
			hole = i;
		}
	}
	map->slots[hole].key = EMPTY;
	map->used--;
	return true;
}

void map64_each(const struct map64 *map, void (*visit)(uint64_t key, uint64_t value, void *data),
		void *data)
{
	for (size_t i = 0; map->slots && i <= map->mask; i++)
		if (map->slots[i].key != EMPTY)
			visit(map->slots[i].key, map->slots[i].value, data);
}
