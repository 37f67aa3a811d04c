#include "workloads/import/frame_table.h"

#include <glib.h>

#define CHUNK_LOG2 10
#define CHUNK	   (UINT64_C(1) << CHUNK_LOG2)

static void chunk_free(uint64_t number, uint64_t chunk, void *data)
{
	g_free((void *)(uintptr_t)chunk);
}

void frame_table_fini(struct frame_table *table)
{
	map64_each(&table->chunks, chunk_free, NULL);
	map64_fini(&table->chunks);
	*table = (struct frame_table){ 0 };
}

static struct frame_info *chunk_new(void)
{
	struct frame_info *chunk = g_new0(struct frame_info, CHUNK);
	for (uint64_t i = 0; i < CHUNK; i++)
		chunk[i].mobility = FRAME_MOBILITY_UNKNOWN;
	return chunk;
}

struct frame_info *frame_table_get(struct frame_table *table, uint64_t frame)
{
	uint64_t number = frame >> CHUNK_LOG2;

	if (frame >= table->end)
		table->end = frame + 1;
	if (!table->last_chunk || number != table->last_number) {
		uint64_t *there = map64_find(&table->chunks, number);
		struct frame_info *chunk = there ? (void *)(uintptr_t)*there : chunk_new();
		if (!there)
			map64_put(&table->chunks, number, (uintptr_t)chunk);
		table->last_chunk = chunk;
		table->last_number = number;
	}
	return &table->last_chunk[frame & (CHUNK - 1)];
}

const struct frame_info *frame_table_peek(const struct frame_table *table, uint64_t frame)
{
	const uint64_t *there = map64_find(&table->chunks, frame >> CHUNK_LOG2);
	const struct frame_info *chunk = there ? (const void *)(uintptr_t)*there : NULL;

	return chunk ? &chunk[frame & (CHUNK - 1)] : NULL;
}
