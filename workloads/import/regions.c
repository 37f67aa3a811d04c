#include "workloads/import/regions.h"

#include <glib.h>
#include <string.h>
#include "workloads/import/map64.h"
#include "workloads/import/radix_sort.h"

#define PAGE_BYTES UINT64_C(4096)
#define GAP_PAGES  (UINT64_C(128) * 1024 / PAGE_BYTES)
/* Pages remembered, a power of two: a program's references stay on a few of them. */
#define RECENT 4096
/* Touches kept before repeated ones are thrown out. */
#define COMPACT_FIRST 65536

struct touch {
	uint64_t page;
	uint32_t family;
	uint32_t access;
};

/* A space of a process: its family and which of the family's regions it has mapped. */
struct space {
	uint32_t family;
	GByteArray *mapped; /* one byte a region of the family; NULL in the first pass */
};

struct family {
	uint32_t first, count; /* in regions->found */
};

/* A page that a process touched lately, with what it did. In the second pass: a page in a region
 * that the process has. */
struct recent {
	uint64_t page;
	uint32_t pid;
	uint32_t access;
};

struct regions {
	bool sealed;
	uint32_t next_family;
	struct map64 spaces; /* pid -> struct space * */
	GArray *touches;     /* struct touch, until sealed */
	size_t compact_at;
	GArray *families; /* struct family, by number */
	GArray *found;	  /* struct region, by family and address */
	struct recent recent[RECENT];
};

static void space_free(uint64_t pid, uint64_t space_address, void *data)
{
	struct space *space = (void *)(uintptr_t)space_address;
	if (space->mapped)
		g_byte_array_unref(space->mapped);
	g_free(space);
}

/* Spaces have changed: what was said of their pages is void. */
static void forget_recent(struct regions *regions)
{
	for (unsigned i = 0; i < RECENT; i++)
		regions->recent[i].page = UINT64_MAX;
}

static struct recent *recent_of(struct regions *regions, uint32_t pid, uint64_t page)
{
	return &regions->recent[(page ^ pid * 31) % RECENT];
}

static void forget_spaces(struct regions *regions)
{
	map64_each(&regions->spaces, space_free, NULL);
	map64_fini(&regions->spaces);
	regions->next_family = 0;
}

struct regions *regions_new(void)
{
	struct regions *regions = g_new0(struct regions, 1);
	regions->touches = g_array_new(FALSE, FALSE, sizeof(struct touch));
	regions->families = g_array_new(FALSE, TRUE, sizeof(struct family));
	regions->found = g_array_new(FALSE, FALSE, sizeof(struct region));
	regions->compact_at = COMPACT_FIRST;
	forget_recent(regions);
	return regions;
}

void regions_free(struct regions *regions)
{
	if (!regions)
		return;
	forget_spaces(regions);
	g_array_unref(regions->touches);
	g_array_unref(regions->families);
	g_array_unref(regions->found);
	g_free(regions);
}

static GByteArray *nothing_mapped(const struct regions *regions, uint32_t family)
{
	if (!regions->sealed || family >= regions->families->len)
		return NULL;
	GByteArray *mapped = g_byte_array_new();
	g_byte_array_set_size(mapped,
			      g_array_index(regions->families, struct family, family).count);
	if (mapped->len > 0)
		memset(mapped->data, 0, mapped->len);
	return mapped;
}

static void put_space(struct regions *regions, uint32_t pid, uint32_t family, GByteArray *mapped)
{
	uint64_t *old = map64_find(&regions->spaces, pid);
	if (old)
		space_free(pid, *old, NULL);
	if (old)
		forget_recent(regions);
	struct space *space = g_new(struct space, 1);
	*space = (struct space){ family, mapped };
	map64_put(&regions->spaces, pid, (uintptr_t)space);
}

static void new_family(struct regions *regions, uint32_t pid)
{
	uint32_t family = regions->next_family++;
	put_space(regions, pid, family, nothing_mapped(regions, family));
}

static struct space *space_of(struct regions *regions, uint32_t pid)
{
	if (!map64_find(&regions->spaces, pid))
		new_family(regions, pid);
	return (void *)(uintptr_t)*map64_find(&regions->spaces, pid);
}

void regions_fork(struct regions *regions, uint32_t parent, uint32_t child)
{
	const struct space *space = space_of(regions, parent);
	GByteArray *mapped = NULL;

	if (child == parent)
		return;
	if (space->mapped) {
		mapped = g_byte_array_sized_new(space->mapped->len);
		g_byte_array_append(mapped, space->mapped->data, space->mapped->len);
	}
	put_space(regions, child, space->family, mapped);
}

void regions_exec(struct regions *regions, uint32_t pid)
{
	new_family(regions, pid);
}

void regions_exit(struct regions *regions, uint32_t pid)
{
	uint64_t space;
	if (map64_remove(&regions->spaces, pid, &space))
		space_free(pid, space, NULL);
	forget_recent(regions);
}

/* Their numbers, by family and page. */
static struct radix_item *sorted(const struct touch *touch, guint count)
{
	struct radix_item *order = g_new(struct radix_item, count);

	for (guint i = 0; i < count; i++)
		order[i] = (struct radix_item){ touch[i].page, i };
	radix_sort(order, count);
	for (guint i = 0; i < count; i++)
		order[i].key = touch[order[i].index].family;
	radix_sort(order, count);
	return order;
}

/* Sorts, and joins touches of the same page. */
static void compact(struct regions *regions)
{
	g_autoptr(GArray) old = regions->touches;
	const struct touch *all = (const struct touch *)(const void *)old->data;
	g_autofree struct radix_item *order = sorted(all, old->len);
	struct touch *last = NULL;

	regions->touches = g_array_sized_new(FALSE, FALSE, sizeof(struct touch), old->len);
	for (guint i = 0; i < old->len; i++) {
		const struct touch *next = &all[order[i].index];
		if (last && last->family == next->family && last->page == next->page) {
			last->access |= next->access;
			continue;
		}
		g_array_append_val(regions->touches, *next);
		last = &g_array_index(regions->touches, struct touch, regions->touches->len - 1);
	}
}

void regions_touch(struct regions *regions, uint32_t pid, uint64_t address, uint32_t access)
{
	struct recent *recent = recent_of(regions, pid, address / PAGE_BYTES);
	bool known = recent->page == address / PAGE_BYTES && recent->pid == pid;

	if (known && (access & ~recent->access) == 0)
		return;
	*recent =
		(struct recent){ address / PAGE_BYTES, pid, access | (known ? recent->access : 0) };
	struct touch touch = { address / PAGE_BYTES, space_of(regions, pid)->family, access };
	g_array_append_val(regions->touches, touch);
	if (regions->touches->len >= regions->compact_at) {
		compact(regions);
		regions->compact_at = MAX(COMPACT_FIRST, 2 * (size_t)regions->touches->len);
	}
}

void regions_seal(struct regions *regions)
{
	const struct touch *last = NULL;

	compact(regions);
	g_array_set_size(regions->families, regions->next_family);
	for (guint i = 0; i < regions->touches->len; i++) {
		const struct touch *touch = &g_array_index(regions->touches, struct touch, i);
		struct family *family =
			&g_array_index(regions->families, struct family, touch->family);
		bool joins = last && last->family == touch->family &&
			     touch->page - last->page - 1 <= GAP_PAGES;
		if (joins) {
			struct region *region = &g_array_index(regions->found, struct region,
							       regions->found->len - 1);
			region->bytes = (touch->page + 1) * PAGE_BYTES - region->address;
			region->rights |= touch->access;
		} else {
			struct region region = { touch->page * PAGE_BYTES, PAGE_BYTES,
						 touch->access };
			if (family->count++ == 0)
				family->first = regions->found->len;
			g_array_append_val(regions->found, region);
		}
		last = touch;
	}
	forget_spaces(regions);
	forget_recent(regions);
	g_array_set_size(regions->touches, 0);
	regions->sealed = true;
}

bool regions_missing(struct regions *regions, uint32_t pid, uint64_t address, struct region *out)
{
	struct recent *recent = recent_of(regions, pid, address / PAGE_BYTES);

	if (recent->page == address / PAGE_BYTES && recent->pid == pid)
		return false;
	struct space *space = space_of(regions, pid);
	if (!space->mapped || space->mapped->len == 0)
		return false;
	*recent = (struct recent){ address / PAGE_BYTES, pid, 0 };

	const struct family *family =
		&g_array_index(regions->families, struct family, space->family);
	const struct region *found = &g_array_index(regions->found, struct region, family->first);
	uint32_t low = 0, high = family->count;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;
		if (found[middle].address <= address)
			low = middle;
		else
			high = middle;
	}
	if (space->mapped->data[low] || address - found[low].address >= found[low].bytes)
		return false;
	space->mapped->data[low] = 1;
	*out = found[low];
	return true;
}
