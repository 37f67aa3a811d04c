#include "sim/shrink.h"

#include <stdint.h>
#include <string.h>

struct search {
	const struct shrink *shrink;
	GArray *best;
	unsigned trials;
};

static GArray *copy_without(const GArray *list, guint first, guint count)
{
	guint bytes = g_array_get_element_size((GArray *)(uintptr_t)list);
	GArray *copy = g_array_sized_new(FALSE, FALSE, bytes, list->len);

	g_array_append_vals(copy, list->data, first);
	g_array_append_vals(copy, list->data + (gsize)(first + count) * bytes,
			    list->len - first - count);
	return copy;
}

/* Keeps CANDIDATE (taken) if it fails. */
static bool attempt(struct search *search, GArray *candidate)
{
	bool better = false;

	if (search->trials < search->shrink->trials_max) {
		search->trials++;
		better = search->shrink->fails(search->shrink->context, candidate);
	}
	if (better) {
		g_array_unref(search->best);
		search->best = candidate;
	} else {
		g_array_unref(candidate);
	}
	return better;
}

/* Tries to leave out each run of CHUNK operations, the last ones first: what is made late is needed
 * least. */
static bool remove_chunks(struct search *search, guint chunk)
{
	bool progress = false;

	for (guint end = search->best->len; end > 0;) {
		guint first = end > chunk ? end - chunk : 0;
		if (attempt(search, copy_without(search->best, first, end - first)))
			progress = true;
		end = MIN(first, search->best->len);
	}
	return progress;
}

static bool exhausted(const struct search *search)
{
	return search->trials >= search->shrink->trials_max;
}

static void remove_operations(struct search *search)
{
	guint chunk = MAX(search->best->len / 2, 1);

	while (search->best->len > 1 && !exhausted(search)) {
		bool progress = remove_chunks(search, chunk);
		if (chunk == 1 && !progress)
			break;
		if (chunk > 1)
			chunk = MIN(chunk / 2, MAX(search->best->len / 2, 1));
	}
}

static bool simplify_one(struct search *search, guint index)
{
	const struct shrink *shrink = search->shrink;
	guint bytes = g_array_get_element_size(search->best);
	bool progress = false;

	for (unsigned step = 0; index < search->best->len; step++) {
		GArray *candidate = copy_without(search->best, 0, 0);
		char *operation = candidate->data + (gsize)index * bytes;
		bool more = shrink->simplify(shrink->context, operation, step);
		bool differs =
			memcmp(operation, search->best->data + (gsize)index * bytes, bytes) != 0;
		if (more && differs)
			progress |= attempt(search, candidate);
		else
			g_array_unref(candidate);
		if (!more)
			break;
	}
	return progress;
}

static bool simplify_operations(struct search *search)
{
	bool progress = false;

	for (guint i = 0; i < search->best->len && !exhausted(search); i++)
		progress |= simplify_one(search, i);
	return progress;
}

GArray *shrink_list(const struct shrink *shrink, const GArray *list, unsigned *trials)
{
	struct search search = { .shrink = shrink, .best = copy_without(list, 0, 0) };

	/* Simpler operations may make others needless. */
	do
		remove_operations(&search);
	while (simplify_operations(&search) && !exhausted(&search));
	*trials = search.trials;
	return search.best;
}
