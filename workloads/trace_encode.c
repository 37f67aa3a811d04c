#include "workloads/trace_encode_private.h"

/* Columns are gathered from so many events at once, while these stay in the L2 cache: a block does
 * not. */
enum { GATHER_EVENTS = 4 << 10 };

struct trace_encoder *trace_encoder_new(void)
{
	struct trace_encoder *encoder = g_new0(struct trace_encoder, 1);
	g_assert(trace_column_count <= MOST_COLUMNS);
	encoder->kind = g_new(uint8_t, TRACE_BLOCK_EVENTS);
	encoder->by_kind = g_new(uint32_t, TRACE_BLOCK_EVENTS);
	encoder->several = g_new(uint32_t, TRACE_BLOCK_EVENTS);
	encoder->all = g_new(uint32_t, TRACE_BLOCK_EVENTS);
	for (uint32_t i = 0; i < TRACE_BLOCK_EVENTS; i++)
		encoder->all[i] = i;
	encoder->head = g_new(uint64_t, TRACE_BLOCK_EVENTS);
	encoder->value = encoder->one_column = g_new(uint64_t, TRACE_BLOCK_EVENTS);
	encoder->stored = g_new(uint64_t, TRACE_BLOCK_EVENTS);
	encoder->number = g_new(uint32_t, TRACE_BLOCK_EVENTS);
	encoder->entries = g_malloc(TRACE_BLOCK_EVENTS * TRACE_IMAGE_BYTES);
	encoder->hash = g_new0(struct hash_slot, HASH_SLOTS);
	encoder->parts = g_array_new(FALSE, FALSE, sizeof(struct trace_part));
	encoder->data = g_byte_array_new();
	encoder->trial = g_byte_array_new();
	encoder->out = g_byte_array_new();
	encoder->data_cuts = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	encoder->cuts = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	encoder->zstd = ZSTD_createCCtx();
	encoder->zstd_bytes = ZSTD_compressBound(TRIAL_VALUES * 24);
	encoder->zstd_out = g_malloc(encoder->zstd_bytes);
	return encoder;
}

void trace_encoder_free(struct trace_encoder *encoder)
{
	if (!encoder)
		return;
	g_free(encoder->kind);
	g_free(encoder->by_kind);
	g_free(encoder->several);
	g_free(encoder->all);
	g_free(encoder->head);
	g_free(encoder->one_column);
	g_free(encoder->gathered);
	g_free(encoder->stored);
	g_free(encoder->number);
	g_free(encoder->entries);
	g_free(encoder->hash);
	g_array_free(encoder->parts, TRUE);
	g_byte_array_free(encoder->data, TRUE);
	g_byte_array_free(encoder->trial, TRUE);
	g_byte_array_free(encoder->out, TRUE);
	g_array_free(encoder->data_cuts, TRUE);
	g_array_free(encoder->cuts, TRUE);
	ZSTD_freeCCtx(encoder->zstd);
	g_free(encoder->zstd_out);
	g_free(encoder);
}

/* ---- events to values ---- */

/* Looks at all events once: sorts their numbers by kind, and finds out which bits differ. */
static void sort_kinds(struct trace_encoder *encoder)
{
	uint32_t at[EVENT_KINDS + 1] = { 0 };

	encoder->kinds = encoder->several_kinds = 0;
	memset(encoder->differ, 0, sizeof(encoder->differ));
	for (uint32_t i = 0; i < encoder->count; i++) {
		unsigned kind = encoder->events[i].kind;
		uint64_t word[EVENT_WORDS];
		memcpy(word, &encoder->events[i], sizeof(word));
		encoder->kind[i] = (uint8_t)kind;
		encoder->head[i] = word[1];
		if (!(encoder->kinds >> kind & 1))
			memcpy(encoder->first[kind], word, sizeof(word));
		for (unsigned w = 0; w < EVENT_WORDS; w++)
			encoder->differ[kind][w] |= word[w] ^ encoder->first[kind][w];
		encoder->kinds |= 1u << kind;
		at[kind + 1]++;
	}
	for (unsigned kind = 0; kind < EVENT_KINDS; kind++)
		at[kind + 1] += at[kind];
	memcpy(encoder->kind_start, at, sizeof(at));
	for (uint32_t i = 0; i < encoder->count; i++)
		encoder->by_kind[at[encoder->kind[i]]++] = i;
}

/* Finds the events of these kinds. */
static void find_members(struct trace_encoder *encoder, uint32_t kinds)
{
	uint32_t n = 0;

	kinds &= encoder->kinds;
	if ((kinds & (kinds - 1)) == 0) {
		unsigned kind = kinds ? (unsigned)__builtin_ctz(kinds) : 0;
		encoder->index = encoder->by_kind + encoder->kind_start[kind];
		encoder->members = encoder->kind_start[kind + 1] - encoder->kind_start[kind];
		return;
	}
	if (kinds == encoder->kinds) {
		encoder->index = encoder->all;
		encoder->members = encoder->count;
		return;
	}
	encoder->index = encoder->several;
	/* Columns of the same kinds stand side by side. */
	if (kinds == encoder->several_kinds) {
		encoder->members = encoder->several_members;
		return;
	}
	for (uint32_t i = 0; i < encoder->count; i++) {
		encoder->several[n] = i;
		n += kinds >> encoder->kind[i] & 1;
	}
	encoder->members = encoder->several_members = n;
	encoder->several_kinds = kinds;
}

static uint64_t field_at(const uint8_t *at, const struct trace_column *column)
{
	switch (column->bytes) {
	case 1:
		return *at;
	case 2:
		return *(const uint16_t *)at;
	case 4:
		return *(const uint32_t *)at;
	default:
		return *(const uint64_t *)at;
	}
}

static uint64_t field_of(const void *event, const struct trace_column *column)
{
	return field_at((const uint8_t *)event + column->offset, column);
}

bool encoder_differs(const struct trace_encoder *encoder, const struct trace_column *column,
		     uint64_t *first)
{
	bool any = false, differ = false;

	*first = 0;
	for (uint32_t left = column->kinds & encoder->kinds; left; left &= left - 1) {
		unsigned kind = (unsigned)__builtin_ctz(left);
		uint64_t value = field_of(encoder->first[kind], column);
		differ |= field_of(encoder->differ[kind], column) != 0 || (any && value != *first);
		*first = value;
		any = true;
	}
	return differ;
}

static void gather_from(const struct trace_encoder *encoder, const struct trace_column *column,
			const uint32_t *index, uint32_t count, uint64_t *value)
{
	const struct event *events = encoder->events;

	if (column->bytes == sizeof(uint64_t))
		for (uint32_t i = 0; i < count; i++)
			memcpy(&value[i], (const uint8_t *)&events[index[i]] + column->offset,
			       sizeof(uint64_t));
	else
		for (uint32_t i = 0; i < count; i++)
			value[i] = field_of(&events[index[i]], column);
}

void encoder_gather(struct trace_encoder *encoder, unsigned number)
{
	find_members(encoder, trace_columns[number].kinds);
	encoder->value = encoder->column_values[number];
	if (encoder->value)
		return;
	encoder->value = encoder->one_column;
	gather_from(encoder, &trace_columns[number], encoder->index, encoder->members,
		    encoder->value);
}

/* Gathers all columns that go apart and whose members have a list of their own, a piece of the
 * block after the other. */
static void gather_apart(struct trace_encoder *encoder)
{
	struct {
		unsigned number;
		const uint32_t *index, *end;
		uint64_t *value;
	} column[MOST_COLUMNS];
	unsigned columns = 0;
	size_t used = 0;

	for (unsigned i = COLUMN_FIELDS; i < trace_column_count; i++) {
		if (encoder->way[i] != WAY_APART)
			continue;
		find_members(encoder, trace_columns[i].kinds);
		if (encoder->index == encoder->several)
			continue;
		column[columns].number = i;
		column[columns].index = encoder->index;
		column[columns++].end = encoder->index + encoder->members;
		used += encoder->members;
	}
	if (used > encoder->gathered_room) {
		g_free(encoder->gathered);
		encoder->gathered = g_new(uint64_t, used);
		encoder->gathered_room = used;
	}
	used = 0;
	for (unsigned c = 0; c < columns; c++) {
		column[c].value = encoder->gathered + used;
		encoder->column_values[column[c].number] = column[c].value;
		used += (size_t)(column[c].end - column[c].index);
	}
	for (uint32_t stop = GATHER_EVENTS; stop < encoder->count + GATHER_EVENTS;
	     stop += GATHER_EVENTS)
		for (unsigned c = 0; c < columns; c++) {
			const uint32_t *index = column[c].index;
			uint32_t count = 0;
			while (index + count < column[c].end && index[count] < stop)
				count++;
			gather_from(encoder, &trace_columns[column[c].number], index, count,
				    column[c].value);
			column[c].index += count;
			column[c].value += count;
		}
}

/* ---- blocks ---- */

static void part_pack(uint8_t *out, const struct trace_part *part)
{
	memset(out, 0, TRACE_PART_BYTES);
	out[0] = part->column;
	out[1] = part->predictor;
	out[2] = part->coding;
	out[3] = part->width;
	trace_put32(out + 8, part->count);
	trace_put32(out + 12, part->bytes);
	trace_put64(out + 16, part->low);
	trace_put64(out + 24, part->scale);
	trace_put64(out + 32, part->first);
}

static void assemble(struct trace_encoder *encoder)
{
	guint head = 4 + encoder->parts->len * TRACE_PART_BYTES;
	g_byte_array_set_size(encoder->out, head);
	trace_put32(encoder->out->data, encoder->parts->len);
	g_array_set_size(encoder->cuts, 0);
	g_array_append_val(encoder->cuts, head);
	for (guint i = 0; i < encoder->parts->len; i++) {
		uint32_t cut = head + g_array_index(encoder->data_cuts, uint32_t, i);
		g_array_append_val(encoder->cuts, cut);
		part_pack(encoder->out->data + 4 + i * TRACE_PART_BYTES,
			  &g_array_index(encoder->parts, struct trace_part, i));
	}
	g_byte_array_append(encoder->out, encoder->data->data, encoder->data->len);
}

static void learn_newest(struct trace_encoder *encoder)
{
	for (uint32_t i = encoder->count; i-- > 0;)
		if (encoder->kind[i] == EVENT_FRAME_ALLOC || encoder->kind[i] == EVENT_HEAP_ALLOC) {
			encoder->newest = encoder->events[i].u.frame.handle;
			return;
		}
}

const GByteArray *trace_encoder_block(struct trace_encoder *encoder, const struct event *events,
				      uint32_t count, const GArray **cuts)
{
	encoder->events = events;
	encoder->count = count;
	encoder->newest_at_start = encoder->newest;
	g_array_set_size(encoder->parts, 0);
	g_array_set_size(encoder->data_cuts, 0);
	g_byte_array_set_size(encoder->data, 0);
	memset(encoder->column_values, 0, sizeof(encoder->column_values));
	sort_kinds(encoder);
	encoder_find_ways(encoder);
	encoder_add_group(encoder, COLUMN_SHAPE, WAY_SHAPE);
	encoder_add_group(encoder, COLUMN_ACTOR, WAY_ACTOR);
	gather_apart(encoder);
	for (unsigned i = COLUMN_FIELDS; i < trace_column_count; i++)
		if (encoder->way[i] == WAY_APART)
			encoder_add_scalar(encoder, i);
	learn_newest(encoder);
	encoder->blocks++;
	assemble(encoder);
	*cuts = encoder->cuts;
	return encoder->out;
}
