#include "workloads/import/radix_sort.h"

#include <glib.h>
#include <string.h>

#define DIGIT_BITS 11
#define DIGITS	   (1u << DIGIT_BITS)

static unsigned digit(const struct radix_item *item, unsigned shift)
{
	return item->key >> shift & (DIGITS - 1);
}

static void deal(const struct radix_item *from, struct radix_item *to, size_t count, unsigned shift)
{
	size_t place[DIGITS + 1] = { 0 };

	for (size_t i = 0; i < count; i++)
		place[digit(&from[i], shift) + 1]++;
	for (unsigned i = 1; i < DIGITS; i++)
		place[i] += place[i - 1];
	for (size_t i = 0; i < count; i++)
		to[place[digit(&from[i], shift)]++] = from[i];
}

void radix_sort(struct radix_item *items, size_t count)
{
	g_autofree struct radix_item *other = g_new(struct radix_item, count);
	struct radix_item *from = items, *to = other;
	uint64_t differ = 0;

	for (size_t i = 1; i < count; i++)
		differ |= items[i].key ^ items[0].key;
	for (unsigned shift = 0; shift < 64; shift += DIGIT_BITS) {
		if ((differ >> shift & (DIGITS - 1)) == 0)
			continue;
		deal(from, to, count, shift);
		struct radix_item *swap = from;
		from = to;
		to = swap;
	}
	if (from != items)
		memcpy(items, from, count * sizeof *items);
}
