/* Memory maps: the first byte says of which form, one beyond the last: found out. */
#include <stdlib.h>
#include <string.h>

#include "workloads/memory_map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(GArray *map)
{
	g_autofree char *text = memory_map_format(map);
	uint64_t frames = memory_map_usable_frames(map);

	/* What was read can be written as E820 lines and read again. */
	GArray *again = memory_map_parse(text, strlen(text), "again", NULL);
	g_assert(again && again->len == map->len);
	g_assert(memory_map_usable_frames(again) == frames);
	g_assert(memory_map_end(again) == memory_map_end(map));
	g_array_unref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned forms = g_strv_length((char **)(guintptr)memory_map_forms);
	GError *error = NULL;

	if (size == 0)
		return 0;
	const char *form = memory_map_forms[data[0] % (forms + 1)];
	const char *text = (const char *)data + 1;
	GArray *map = form ? memory_map_parse_as(form, text, size - 1, "map", &error)
			   : memory_map_parse(text, size - 1, "map", &error);
	g_assert((map == NULL) == (error != NULL));
	if (map) {
		use(map);
		g_array_unref(map);
	}
	g_clear_error(&error);
	return 0;
}
