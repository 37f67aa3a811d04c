#include "sim/handles.h"

#include <string.h>

#include "sim/lab.h"
#include "sim/ledger.h"

bool handles_grow(struct handles *handles, uint64_t count, GError **error)
{
	uint64_t known = handles->entry ? handles->count + 1 : 0;

	if (count > LEDGER_HANDLE_MAX) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_INPUT,
			    "trace error: %" G_GUINT64_FORMAT
			    " handles are more than the lab can name",
			    count);
		return false;
	}
	struct handle *entry = g_try_realloc_n(handles->entry, count + 1, sizeof(struct handle));
	if (!entry) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_LAB,
			    "lab error: no memory for %" G_GUINT64_FORMAT " handles", count);
		return false;
	}
	memset(entry + known, 0, (count + 1 - known) * sizeof(struct handle));
	handles->entry = entry;
	handles->count = count;
	return true;
}

bool handles_init(struct handles *handles, uint64_t count, GError **error)
{
	*handles = (struct handles){ 0 };
	if (!handles_grow(handles, count, error))
		return false;
	handles->parts = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
					       (GDestroyNotify)g_byte_array_unref);
	return true;
}

void handles_fini(struct handles *handles)
{
	g_clear_pointer(&handles->parts, g_hash_table_unref);
	g_clear_pointer(&handles->entry, g_free);
}

void handles_forget_parts(struct handles *handles, uint64_t number)
{
	handles->cut -= g_hash_table_remove(handles->parts, &number);
}

static GByteArray *parts_of(struct handles *handles, uint64_t number)
{
	GByteArray *parts = g_hash_table_lookup(handles->parts, &number);

	if (!parts) {
		parts = g_byte_array_new();
		g_byte_array_set_size(parts, handles->entry[number].requested);
		memset(parts->data, 0, parts->len);
		g_hash_table_insert(handles->parts, g_memdup2(&number, sizeof(number)), parts);
		handles->cut++;
	}
	return parts;
}

bool handles_free_part(struct handles *handles, uint64_t number, uint32_t first, uint32_t frames)
{
	struct handle *handle = &handles->entry[number];

	if (frames == 0 || first >= handle->requested || frames > handle->requested - first)
		return false;
	GByteArray *parts = parts_of(handles, number);
	if (memchr(parts->data + first, 1, frames))
		return false;
	memset(parts->data + first, 1, frames);
	handle->left -= frames;
	return true;
}

void handles_live_runs(const struct handles *handles, uint64_t number, handles_visit_fn visit,
		       void *context)
{
	const struct handle *handle = &handles->entry[number];
	const GByteArray *parts =
		handles->cut ? g_hash_table_lookup(handles->parts, &number) : NULL;
	uint32_t at = 0;

	while (parts && at < handle->requested) {
		uint32_t end = at;
		while (end < handle->requested && !parts->data[end])
			end++;
		bool last = end == handle->requested;
		uint32_t frames = (last ? handle->frames : end) - at;
		if (frames)
			visit(context, (struct frame_block){ { handle->first + at }, frames },
			      end - at);
		for (at = end; at < handle->requested && parts->data[at];)
			at++;
	}
	if (!parts)
		visit(context, (struct frame_block){ { handle->first }, handle->frames },
		      handle->requested);
	else if (parts->data[handle->requested - 1] && handle->frames > handle->requested)
		visit(context,
		      (struct frame_block){ { handle->first + handle->requested },
					    handle->frames - handle->requested },
		      0);
}
