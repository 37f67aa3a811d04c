#include "workloads/tools/tools.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "workloads/tools/copy.h"

/* One of the traces. */
struct strand {
	struct trace_reader *reader;
	struct copy copy;
	struct trace_piece piece;
	bool is_piece;
	struct event next; /* read ahead, if has_next */
	bool has_next;
	uint64_t handle_offset, shift_ns;
	uint32_t task_offset, cpu_offset;
	bool foreign; /* its frames have no number on the common machine */
};

struct merging {
	struct strand *strand;
	unsigned count;
	struct trace_writer *writer;
	struct live *live; /* joining: after what was written so far */
	uint64_t handles;
	GError **error;
};

static bool usage(struct merging *merging, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool usage(struct merging *merging, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	return trace_error_set(merging->error, TRACE_ERROR_USAGE, "%s", text);
}

static const struct trace_meta *meta_of(const struct strand *strand)
{
	return trace_reader_meta(strand->reader);
}

/* ---- pieces of one trace ---- */

static int by_place(const void *left, const void *right)
{
	const struct strand *a = left, *b = right;
	return a->piece.first < b->piece.first ? -1 : a->piece.first > b->piece.first;
}

static bool are_pieces(const struct merging *merging)
{
	for (unsigned i = 0; i < merging->count; i++)
		if (!merging->strand[i].is_piece ||
		    strcmp(merging->strand[i].piece.of, merging->strand[0].piece.of) != 0)
			return false;
	return merging->count > 0;
}

static uint64_t piece_end(const struct strand *strand)
{
	return strand->piece.first + meta_of(strand)->events - strand->piece.inserted;
}

static bool check_pieces(struct merging *merging)
{
	qsort(merging->strand, merging->count, sizeof *merging->strand, by_place);
	for (unsigned i = 1; i < merging->count; i++) {
		const struct strand *left = &merging->strand[i - 1], *right = &merging->strand[i];
		if (piece_end(left) != right->piece.first)
			return usage(merging,
				     "%s ends at event %" PRIu64 " of their trace, %s begins at "
				     "event %" PRIu64 ": pieces must lie side by side",
				     trace_reader_path(left->reader), piece_end(left),
				     trace_reader_path(right->reader), right->piece.first);
	}
	return true;
}

/* The start section of a piece is what the one before left alive, in the same order. */
static bool fit_start(struct merging *merging, struct strand *strand)
{
	g_autoptr(GPtrArray) blocks = live_blocks(merging->live);
	struct event event;
	guint i = 0;
	int got;

	while ((got = trace_reader_next_start(strand->reader, &event, merging->error)) > 0) {
		const struct live_block *block = i < blocks->len ? blocks->pdata[i] : NULL;
		if (!block || block->alloc.kind != event.kind ||
		    block->alloc.u.frame.frame != event.u.frame.frame)
			break;
		copy_map_handle(&strand->copy, event.u.frame.handle, block->alloc.u.frame.handle);
		i++;
	}
	if (got == 0 && i == blocks->len)
		return true;
	return got >= 0 && trace_error_set(merging->error, TRACE_ERROR_FORMAT,
					   "%s: start event %u is not what the piece before it "
					   "left alive",
					   trace_reader_path(strand->reader), i);
}

static bool join_piece(struct merging *merging, unsigned i, uint64_t base_ns)
{
	struct strand *strand = &merging->strand[i];
	struct event event;
	int got = 0;

	copy_renumber(&strand->copy, merging->live, &merging->handles);
	if (i > 0 && !fit_start(merging, strand))
		return false;
	while (i == 0 &&
	       (got = trace_reader_next_start(strand->reader, &event, merging->error)) > 0)
		if (!copy_start(&strand->copy, event, merging->error))
			return false;
	strand->copy.attachment_shift_ns = strand->piece.time_ns - base_ns;
	if (got < 0 || !trace_reader_seek_event(strand->reader, i == 0 ? 0 : strand->piece.inserted,
						merging->error))
		return false;
	while ((got = trace_reader_next(strand->reader, &event, merging->error)) > 0) {
		event.time_ns += strand->piece.time_ns - base_ns;
		if (!copy_event(&strand->copy, event, merging->error))
			return false;
	}
	copy_tasks(&strand->copy, 0);
	return got == 0;
}

static struct trace_meta *join_meta(const struct merging *merging, uint64_t base_ns)
{
	const struct strand *first = &merging->strand[0];
	struct trace_meta *meta = copy_meta(&first->copy);
	uint64_t end = piece_end(&merging->strand[merging->count - 1]);

	for (unsigned i = 1; i < merging->count; i++) {
		meta->implied_frees += merging->strand[i].copy.implied_frees;
		meta->untraced_allocs += merging->strand[i].copy.untraced_allocs;
		meta->compaction_allocs += merging->strand[i].copy.compaction_allocs;
	}
	g_clear_pointer(&meta->cut, g_free);
	if (first->piece.first > 0 || end < first->piece.total)
		meta->cut = g_strdup_printf("%s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
					    first->piece.of, first->piece.first, first->piece.total,
					    base_ns, first->piece.inserted);
	return meta;
}

static struct trace_meta *join(struct merging *merging)
{
	uint64_t base_ns = UINT64_MAX;

	if (!check_pieces(merging))
		return NULL;
	merging->live = live_new();
	for (unsigned i = 0; i < merging->count; i++)
		base_ns = MIN(base_ns, merging->strand[i].piece.time_ns);
	for (unsigned i = 0; i < merging->count; i++)
		if (!join_piece(merging, i, base_ns))
			return NULL;
	return join_meta(merging, base_ns);
}

/* ---- traces side by side ---- */

static bool place_strands(struct merging *merging)
{
	uint64_t handles = 0, cpus = 0;

	if (merging->count > TRACE_MERGE_LIMIT)
		return usage(merging, "more than %d traces at once", TRACE_MERGE_LIMIT);
	for (unsigned i = 0; i < merging->count; i++) {
		struct strand *strand = &merging->strand[i];
		const struct trace_meta *meta = meta_of(strand);
		strand->handle_offset = handles;
		strand->cpu_offset = (uint32_t)cpus;
		strand->task_offset = i * TRACE_PID_STRIDE;
		strand->foreign = i > 0;
		strand->copy.attachment_shift_ns = strand->shift_ns;
		handles += meta->handles > 0 ? meta->handles - 1 : 0;
		cpus += meta->cpus;
		if (handles >= UINT64_MAX / 2)
			return usage(merging, "too many handles together");
	}
	return cpus < UINT16_MAX || usage(merging, "more than 65534 CPUs together");
}

static void move_event(const struct strand *strand, struct event *event)
{
	event->time_ns += strand->shift_ns;
	if (event->task > 0)
		event->task += strand->task_offset;
	if (event->cpu != UINT16_MAX)
		event->cpu = (uint16_t)(event->cpu + strand->cpu_offset);
	if (event->kind >= EVENT_FRAME_ALLOC && event->kind <= EVENT_HEAP_ALLOC_FAILED &&
	    event->u.frame.handle > 0)
		event->u.frame.handle += strand->handle_offset;
	if (event->kind >= EVENT_SPAWN && event->kind <= EVENT_EXIT && event->u.process.child > 0)
		event->u.process.child += strand->task_offset;
	if (strand->foreign && event->kind >= EVENT_FRAME_ALLOC &&
	    event->kind <= EVENT_FRAME_ALLOC_FAILED)
		event->u.frame.frame = EVENT_NO_FRAME;
}

static bool is_left_out(const struct strand *strand, const struct event *event)
{
	return strand->foreign && event->kind >= EVENT_BUDDY_TAKE &&
	       event->kind <= EVENT_BUDDY_FALLBACK;
}

static bool read_ahead(struct strand *strand, GError **error)
{
	int got;

	do
		got = trace_reader_next(strand->reader, &strand->next, error);
	while (got > 0 && is_left_out(strand, &strand->next));
	strand->has_next = got > 0;
	if (got > 0)
		move_event(strand, &strand->next);
	return got >= 0;
}

static struct strand *earliest(struct merging *merging)
{
	struct strand *best = NULL;

	for (unsigned i = 0; i < merging->count; i++) {
		struct strand *strand = &merging->strand[i];
		if (strand->has_next && (!best || strand->next.time_ns < best->next.time_ns))
			best = strand;
	}
	return best;
}

static bool interleave(struct merging *merging)
{
	struct strand *strand;
	struct event event;
	int got = 0;

	for (unsigned i = 0; i < merging->count; i++) {
		strand = &merging->strand[i];
		while ((got = trace_reader_next_start(strand->reader, &event, merging->error)) >
		       0) {
			move_event(strand, &event);
			event.time_ns = 0;
			if (!copy_start(&strand->copy, event, merging->error))
				return false;
		}
		if (got < 0 || !read_ahead(strand, merging->error))
			return false;
		copy_tasks(&strand->copy, strand->task_offset);
	}
	while ((strand = earliest(merging)) != NULL)
		if (!copy_event(&strand->copy, strand->next, merging->error) ||
		    !read_ahead(strand, merging->error))
			return false;
	return true;
}

/* Where the range with the highest end lies, of the usable ones or of all. */
static struct memory_range *highest(const struct trace_meta *meta, bool usable)
{
	struct memory_range *found = NULL;

	for (guint i = 0; i < meta->memory_map->len; i++) {
		struct memory_range *range =
			&g_array_index(meta->memory_map, struct memory_range, i);
		if ((!usable || range->type == MEMORY_USABLE) &&
		    (!found || range->base + range->bytes > found->base + found->bytes))
			found = range;
	}
	return found;
}

static bool is_gap(const struct trace_meta *meta, uint64_t base, uint64_t bytes)
{
	for (guint i = 0; i < meta->memory_map->len; i++) {
		const struct memory_range *range =
			&g_array_index(meta->memory_map, struct memory_range, i);
		if (range->base < base + bytes && base < range->base + range->bytes)
			return false;
	}
	return true;
}

/* One machine with the RAM of all: the highest usable range grows, or there is one above all. */
static void add_ram(struct trace_meta *meta, const struct trace_meta *other)
{
	uint64_t bytes = memory_map_usable_frames(other->memory_map) << 12;
	struct memory_range *top = highest(meta, true), *end = highest(meta, false);
	struct memory_range more = { .bytes = bytes, .type = MEMORY_USABLE };

	if (top && is_gap(meta, top->base + top->bytes, bytes)) {
		top->bytes += bytes;
		return;
	}
	more.base = end ? end->base + end->bytes : 0;
	g_array_append_val(meta->memory_map, more);
}

static void add_source(gpointer name, gpointer count, gpointer meta)
{
	trace_meta_count_source(meta, name, *(const uint64_t *)count);
}

static void add_meta(struct trace_meta *meta, const struct strand *strand)
{
	const struct trace_meta *other = meta_of(strand);
	char *source = g_strdup_printf("%s + %s", meta->source ? meta->source : "?",
				       other->source ? other->source : "?");

	g_free(meta->source);
	meta->source = source;
	g_clear_pointer(&meta->source_xxh128, g_free);
	g_clear_pointer(&meta->source_sha256, g_free);
	if (g_strcmp0(meta->system, other->system) != 0)
		g_clear_pointer(&meta->system, g_free);
	if (g_strcmp0(meta->command, other->command) != 0)
		g_clear_pointer(&meta->command, g_free);
	add_ram(meta, other);
	meta->machine_recorded = false;
	meta->state_known = meta->state_known && other->state_known;
	meta->managed_frames += other->managed_frames;
	meta->free_frames += other->free_frames;
	meta->untouched_known = false;
	g_array_set_size(meta->untouched, 0);
	meta->implied_frees += strand->copy.implied_frees;
	meta->untraced_allocs += strand->copy.untraced_allocs;
	meta->compaction_allocs += strand->copy.compaction_allocs;
	g_hash_table_foreach(other->source_events, add_source, meta);
}

static struct trace_meta *add_up(struct merging *merging)
{
	if (!place_strands(merging) || !interleave(merging))
		return NULL;
	struct trace_meta *meta = copy_meta(&merging->strand[0].copy);
	g_clear_pointer(&meta->cut, g_free);
	for (unsigned i = 1; i < merging->count; i++)
		add_meta(meta, &merging->strand[i]);
	if (!meta->state_known)
		meta->managed_frames = meta->free_frames = 0;
	return meta;
}

/* ---- the whole ---- */

static bool open_all(struct merging *merging, const char *const *inputs, const char *output)
{
	for (unsigned i = 0; i < merging->count; i++) {
		struct strand *strand = &merging->strand[i];
		strand->reader = trace_reader_open(inputs[i], merging->error);
		if (!strand->reader)
			return false;
		strand->is_piece = trace_piece_parse(meta_of(strand)->cut, &strand->piece);
	}
	merging->writer = trace_writer_new(output, merging->error);
	if (!merging->writer)
		return false;
	for (unsigned i = 0; i < merging->count; i++)
		if (!copy_init(&merging->strand[i].copy, merging->strand[i].reader, merging->writer,
			       merging->error))
			return false;
	return true;
}

static bool merge(struct merging *merging, const char *const *inputs, const char *output,
		  bool copies)
{
	struct trace_meta *meta = NULL;
	bool done = false;

	if (open_all(merging, inputs, output))
		meta = !copies && are_pieces(merging) ? join(merging) : add_up(merging);
	if (meta)
		done = trace_writer_finish(merging->writer, meta, merging->error);
	else
		trace_writer_abort(merging->writer);
	trace_meta_free(meta);
	if (merging->live)
		live_free(merging->live);
	for (unsigned i = 0; i < merging->count; i++) {
		copy_fini(&merging->strand[i].copy);
		trace_reader_free(merging->strand[i].reader);
	}
	g_free(merging->strand);
	return done;
}

bool trace_merge(const char *const *inputs, unsigned count, const char *output, GError **error)
{
	struct merging merging = { .strand = g_new0(struct strand, MAX(count, 1)),
				   .count = count,
				   .error = error };

	return merge(&merging, inputs, output, false);
}

bool trace_scale(const char *input, const char *output, unsigned copies, uint64_t shift_ns,
		 GError **error)
{
	if (copies < 1 || copies > TRACE_MERGE_LIMIT)
		return trace_error_set(error, TRACE_ERROR_USAGE, "from 1 to %d copies can be made",
				       TRACE_MERGE_LIMIT);
	if (shift_ns > UINT64_MAX / 4 / copies)
		return trace_error_set(error, TRACE_ERROR_USAGE,
				       "that shift leads beyond all time");
	g_autofree const char **inputs = g_new(const char *, copies);
	struct merging merging = { .strand = g_new0(struct strand, copies),
				   .count = copies,
				   .error = error };
	for (unsigned i = 0; i < copies; i++) {
		inputs[i] = input;
		merging.strand[i].shift_ns = i * shift_ns;
	}
	return merge(&merging, inputs, output, true);
}
