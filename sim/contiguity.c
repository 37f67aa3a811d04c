#include "sim/contiguity.h"

#include <string.h>

const char *const contiguity_size_names[CONTIGUITY_SIZES] = { "4k", "64k", "2m", "1g" };

static const uint64_t size_pages[CONTIGUITY_SIZES] = { 1, 16, 512, 262144 };

/* Blocks of so many pages in the run, which are aligned in addresses and frames. */
static uint64_t aligned_blocks(uint64_t page, uint64_t frame, uint64_t pages, uint64_t size)
{
	uint64_t first = (page + size - 1) / size * size;

	if ((page - frame) % size != 0 || first + size > page + pages)
		return 0;
	return (page + pages - first) / size;
}

static void add_blocks(struct contiguity *c, uint64_t page, uint64_t frame, uint64_t pages)
{
	uint64_t all[CONTIGUITY_SIZES];

	for (unsigned i = 0; i < CONTIGUITY_SIZES; i++)
		all[i] = aligned_blocks(page, frame, pages, size_pages[i]);
	/* A block of a larger size is so many of the smaller ones. */
	for (unsigned top = 0; top < CONTIGUITY_SIZES; top++)
		for (unsigned i = 0; i <= top; i++) {
			uint64_t within =
				i < top ? all[i + 1] * (size_pages[i + 1] / size_pages[i]) : 0;
			c->blocks[top][i] += all[i] - within;
		}
}

static void end_run(struct contiguity *c)
{
	uint64_t pages = c->open.pages;

	if (pages == 0)
		return;
	if (pages < CONTIGUITY_SHORT) {
		c->count[pages]++;
	} else {
		if (!c->longer)
			c->longer = g_array_new(FALSE, FALSE, sizeof(uint64_t));
		g_array_append_val(c->longer, pages);
	}
	c->pages += pages;
	c->runs++;
	add_blocks(c, c->open.page, c->open.frame, pages);
	c->open.pages = 0;
}

void contiguity_add(struct contiguity *c, uint64_t page, uint64_t frame, uint64_t count)
{
	if (c->open.pages == 0 || page != c->open.page + c->open.pages ||
	    frame != c->open.frame + c->open.pages) {
		end_run(c);
		c->open.page = page;
		c->open.frame = frame;
	}
	c->open.pages += count;
}

void contiguity_end_space(struct contiguity *c)
{
	end_run(c);
}

void contiguity_clear(struct contiguity *c)
{
	if (c->longer)
		g_array_unref(c->longer);
	memset(c, 0, sizeof(*c));
}

double contiguity_share(const struct contiguity *c, uint64_t pages)
{
	uint64_t below = 0;

	for (uint64_t length = 1; length < MIN(pages, CONTIGUITY_SHORT); length++)
		below += length * c->count[length];
	for (guint i = 0; c->longer && i < c->longer->len; i++) {
		uint64_t length = g_array_index(c->longer, uint64_t, i);
		below += length < pages ? length : 0;
	}
	return c->pages ? (double)(c->pages - below) / (double)c->pages : 0;
}

static gint longest_first(gconstpointer a, gconstpointer b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

uint64_t contiguity_runs_for_99_percent(const struct contiguity *c)
{
	uint64_t wanted = c->pages - c->pages / 100, runs = 0;

	if (c->longer)
		g_array_sort(c->longer, longest_first);
	for (guint i = 0; c->longer && i < c->longer->len && wanted > 0; i++, runs++)
		wanted -= MIN(wanted, g_array_index(c->longer, uint64_t, i));
	for (uint64_t length = CONTIGUITY_SHORT - 1; length > 0 && wanted > 0; length--) {
		uint64_t here = MIN(c->count[length], (wanted + length - 1) / length);
		runs += here;
		wanted -= MIN(wanted, here * length);
	}
	return runs;
}

uint64_t contiguity_reach(const struct contiguity *c, unsigned size, uint64_t entries)
{
	uint64_t pages = 0;

	for (unsigned i = size + 1; i-- > 0;) {
		uint64_t here = MIN(entries, c->blocks[size][i]);
		pages += here * size_pages[i];
		entries -= here;
	}
	return pages;
}

uint64_t contiguity_entries(const struct contiguity *c, unsigned size)
{
	uint64_t entries = 0;

	for (unsigned i = 0; i <= size; i++)
		entries += c->blocks[size][i];
	return entries;
}
