#include "workloads/generate/deaths.h"

static struct death *at(const struct deaths *deaths, guint i)
{
	return &g_array_index(deaths->heap, struct death, i);
}

static bool before(const struct death *a, const struct death *b)
{
	return a->due < b->due || (a->due == b->due && a->number < b->number);
}

static void swap(struct death *a, struct death *b)
{
	struct death other = *a;
	*a = *b;
	*b = other;
}

void deaths_init(struct deaths *deaths)
{
	*deaths = (struct deaths){ .heap = g_array_new(FALSE, FALSE, sizeof(struct death)) };
}

void deaths_fini(struct deaths *deaths)
{
	g_array_unref(deaths->heap);
}

void deaths_add(struct deaths *deaths, uint64_t due, struct object object)
{
	struct death death = { due, deaths->next++, object };
	guint i = deaths->heap->len;

	g_array_append_val(deaths->heap, death);
	for (; i > 0 && before(at(deaths, i), at(deaths, (i - 1) / 2)); i = (i - 1) / 2)
		swap(at(deaths, i), at(deaths, (i - 1) / 2));
}

bool deaths_take(struct deaths *deaths, uint64_t now, struct object *object)
{
	guint i = 0, count = deaths->heap->len;

	if (count == 0 || at(deaths, 0)->due > now)
		return false;
	*object = at(deaths, 0)->object;
	*at(deaths, 0) = *at(deaths, --count);
	g_array_set_size(deaths->heap, count);
	for (;;) {
		guint first = i, child = 2 * i + 1;
		for (guint end = MIN(child + 2, count); child < end; child++)
			if (before(at(deaths, child), at(deaths, first)))
				first = child;
		if (first == i)
			return true;
		swap(at(deaths, i), at(deaths, first));
		i = first;
	}
}
