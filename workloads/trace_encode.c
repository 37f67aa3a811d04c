#include "workloads/trace_columns.h"
#include "workloads/trace_format.h"

#include <stddef.h>
#include <string.h>
#include <zstd.h>

/* Which predictor and layout suit a column is found by trying all that the table names on a sample
 * of values, compressing each, at the first block and then at every TRIAL_BLOCKS-th: the answer
 * seldom changes within a trace, and trying costs more than encoding. */
enum { TRIAL_BLOCKS = 16, TRIAL_VALUES = 8 << 10, TRIAL_LEVEL = 1 };

/* A raw byte costs the reader time even where it compresses to nothing: weigh it as 1/16 of a
 * compressed one. */
enum { RAW_WEIGHT = 16 };

/* Lengths are decoded one after another, planes side by side: lengths must win by an eighth. */
enum { LENGTHS_SHARE = 8 };

/* A dictionary of more than a few entries must be an eighth of what it stands for, or less. */
enum { FEW_ENTRIES = 256, ENTRY_SHARE = 8 };

/* The dictionary's hash table: at most half full. */
enum { HASH_SLOTS = 2 * TRACE_BLOCK_EVENTS };

enum { MOST_COLUMNS = 64 };

struct choice {
	uint8_t predictor, coding;
};

/* What was found out about a column. */
struct plan {
	bool tried;
	bool apart; /* not in its group, because it takes too many values */
	struct choice choice;
};

struct hash_slot {
	uint32_t generation, number;
};

struct trace_encoder {
	const struct event *events;
	uint32_t count;
	uint32_t kinds; /* 1 << kind of all events */
	uint64_t blocks;
	uint64_t newest, newest_at_start; /* handle given out last, and before this block */
	struct plan plan[MOST_COLUMNS];
	uint8_t way[MOST_COLUMNS]; /* in this block: enum way */

	uint8_t *kind;	   /* of all events */
	uint32_t *by_kind; /* their numbers, sorted by kind */
	uint32_t kind_start[EVENT_KINDS + 1];
	uint32_t *all;	   /* 0, 1, 2 ... */
	uint32_t *several; /* the events of more than one kind, of several_kinds */
	uint32_t several_kinds, several_members;
	const uint32_t *index; /* the events that have the column at hand */
	uint32_t members;
	uint64_t *value, *stored; /* one each */
	uint32_t *number;	  /* of a distinct value or image */
	uint8_t *packed, *entries;
	struct hash_slot *hash;
	uint32_t generation;

	GArray *parts;	  /* struct trace_part */
	GByteArray *data; /* of the parts */
	GByteArray *trial;
	GByteArray *out;
	GArray *data_cuts, *cuts; /* uint32_t */
	ZSTD_CCtx *zstd;
	void *zstd_out;
	size_t zstd_bytes;
};

/* Where a column goes in the block at hand. */
enum way { WAY_NOWHERE = 0, WAY_SHAPE, WAY_ACTOR, WAY_APART };

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
	encoder->value = g_new(uint64_t, TRACE_BLOCK_EVENTS);
	encoder->stored = g_new(uint64_t, TRACE_BLOCK_EVENTS);
	encoder->number = g_new(uint32_t, TRACE_BLOCK_EVENTS);
	encoder->packed = g_malloc(TRACE_BLOCK_EVENTS * TRACE_IMAGE_BYTES);
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
	g_free(encoder->value);
	g_free(encoder->stored);
	g_free(encoder->number);
	g_free(encoder->packed);
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

/* Sorts the events' numbers by kind. */
static void sort_kinds(struct trace_encoder *encoder)
{
	uint32_t at[EVENT_KINDS + 1] = { 0 };

	encoder->kinds = encoder->several_kinds = 0;
	for (uint32_t i = 0; i < encoder->count; i++) {
		encoder->kind[i] = encoder->events[i].kind;
		encoder->kinds |= 1u << encoder->kind[i];
		at[encoder->kind[i] + 1]++;
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

static uint64_t field_of(const struct event *event, const struct trace_column *column)
{
	const uint8_t *at = (const uint8_t *)event + column->offset;
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

/* Finds the members. Returns whether their values differ from each other; *first is the first. */
static bool differs(struct trace_encoder *encoder, const struct trace_column *column,
		    uint64_t *first)
{
	find_members(encoder, column->kinds);
	*first = encoder->members ? field_of(&encoder->events[encoder->index[0]], column) : 0;
	for (uint32_t i = 1; i < encoder->members; i++)
		if (field_of(&encoder->events[encoder->index[i]], column) != *first)
			return true;
	return false;
}

/* Gathers the column's values. */
static void gather(struct trace_encoder *encoder, const struct trace_column *column)
{
	const struct event *events = encoder->events;
	const uint32_t *index;

	find_members(encoder, column->kinds);
	index = encoder->index;
	if (column->bytes == sizeof(uint64_t))
		for (uint32_t i = 0; i < encoder->members; i++)
			memcpy(&encoder->value[i],
			       (const uint8_t *)&events[index[i]] + column->offset,
			       sizeof(uint64_t));
	else
		for (uint32_t i = 0; i < encoder->members; i++)
			encoder->value[i] = field_of(&events[index[i]], column);
}

/* ---- values to stored numbers ---- */

static uint64_t magnitude(uint64_t difference)
{
	return difference >> 63 ? 0 - difference : difference;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

/* stored[i] = value[i] - what the predictor says. */
static void subtract_prediction(struct trace_encoder *encoder, struct trace_part *part)
{
	const uint64_t *value = encoder->value;
	uint64_t *stored = encoder->stored;
	uint64_t slot[TRACE_SLOTS];
	uint64_t last = part->first, newest = part->first;
	uint32_t at = 0;

	for (unsigned i = 0; i < TRACE_SLOTS; i++)
		slot[i] = part->first;
	for (uint32_t i = 0; i < encoder->members; i++) {
		const struct event *event = &encoder->events[encoder->index[i]];
		uint64_t *of =
			part->predictor == PREDICT_LAST_OF_CPU	  ? &slot[event->cpu % TRACE_SLOTS]
			: part->predictor == PREDICT_LAST_OF_TASK ? &slot[event->task % TRACE_SLOTS]
								  : &last;
		if (part->predictor == PREDICT_NEWEST) {
			for (; at < encoder->index[i]; at++)
				if (encoder->events[at].kind == EVENT_FRAME_ALLOC ||
				    encoder->events[at].kind == EVENT_HEAP_ALLOC)
					newest = encoder->events[at].u.frame.handle;
			*of = newest;
		}
		stored[i] = value[i] - *of;
		*of = value[i];
	}
}

/* Divides the differences by what they have in common and folds their sign into bit 0. */
static void scale_differences(struct trace_encoder *encoder, struct trace_part *part)
{
	uint64_t *stored = encoder->stored;
	uint64_t scale = 0;

	for (uint32_t i = 0; i < encoder->members && scale != 1; i++)
		scale = common_divisor(magnitude(stored[i]), scale);
	part->scale = scale ? scale : 1;
	for (uint32_t i = 0; i < encoder->members; i++) {
		uint64_t size = magnitude(stored[i]);
		uint64_t negative = stored[i] >> 63;
		size = part->scale == 1 ? size : size / part->scale;
		stored[i] = 2 * size - negative;
	}
}

static void scale_values(struct trace_encoder *encoder, struct trace_part *part)
{
	uint64_t scale = 0;
	for (uint32_t i = 0; i < encoder->members && scale != 1; i++)
		scale = common_divisor(encoder->value[i], scale);
	part->scale = scale ? scale : 1;
	for (uint32_t i = 0; i < encoder->members; i++)
		encoder->stored[i] =
			part->scale == 1 ? encoder->value[i] : encoder->value[i] / part->scale;
}

static void predict(struct trace_encoder *encoder, struct trace_part *part)
{
	if (part->predictor == PREDICT_NOTHING) {
		scale_values(encoder, part);
		return;
	}
	part->first =
		part->predictor == PREDICT_NEWEST ? encoder->newest_at_start : encoder->value[0];
	/* As if the first step had been like the second: even steps are even from the start on. */
	if (part->predictor == PREDICT_LAST && encoder->members > 1)
		part->first -= encoder->value[1] - encoder->value[0];
	subtract_prediction(encoder, part);
	scale_differences(encoder, part);
}

/* ---- stored numbers to bytes ---- */

static unsigned bytes_of(uint64_t x)
{
	return x ? (64 - (unsigned)__builtin_clzll(x) + 7) / 8 : 0;
}

static void subtract_low(struct trace_encoder *encoder, struct trace_part *part)
{
	uint64_t low = UINT64_MAX;
	for (uint32_t i = 0; i < encoder->members; i++)
		low = MIN(low, encoder->stored[i]);
	for (uint32_t i = 0; i < encoder->members; i++)
		encoder->stored[i] -= low;
	part->low = low;
}

static void lay_planes(struct trace_encoder *encoder, struct trace_part *part, GByteArray *out)
{
	uint32_t n = encoder->members;
	uint64_t all = 0;
	for (uint32_t i = 0; i < n; i++)
		all |= encoder->stored[i];
	part->width = (uint8_t)bytes_of(all);
	guint at = out->len;
	g_byte_array_set_size(out, at + part->width * n);
	for (unsigned byte = 0; byte < part->width; byte++, at += n)
		for (uint32_t i = 0; i < n; i++)
			out->data[at + i] = (uint8_t)(encoder->stored[i] >> 8 * byte);
}

static void lay_lengths(struct trace_encoder *encoder, struct trace_part *part, GByteArray *out)
{
	uint32_t n = encoder->members;
	guint lengths = out->len, at = lengths + n;
	part->width = 0;
	g_byte_array_set_size(out, at + 8 * n);
	for (uint32_t i = 0; i < n; i++) {
		unsigned length = bytes_of(encoder->stored[i]);
		out->data[lengths + i] = (uint8_t)length;
		trace_put64(out->data + at, encoder->stored[i]);
		at += length;
	}
	g_byte_array_set_size(out, at);
}

/* Of some packed words: values or images. */
static uint32_t hash_words(const uint8_t *value, unsigned bytes)
{
	uint64_t hash = 0;

	for (unsigned i = 0; i < bytes; i += 8) {
		hash = (hash ^ trace_get64(value + i)) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 32;
	}
	return (uint32_t)hash;
}

/* Numbers the distinct ones among `count` packed values of some bytes each, in the order of their
 * first appearance. Returns how many there are, or `most` + 1 if there are more than that. */
static uint32_t number_distinct(struct trace_encoder *encoder, uint32_t count, unsigned bytes,
				uint32_t most)
{
	uint32_t distinct = 0, mask = 255;
	while (mask + 1 < 2 * count)
		mask = 2 * mask + 1;
	encoder->generation++;
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *value = encoder->packed + (size_t)i * bytes;
		uint32_t at = hash_words(value, bytes) & mask;
		while (encoder->hash[at].generation == encoder->generation &&
		       memcmp(encoder->entries + (size_t)encoder->hash[at].number * bytes, value,
			      bytes))
			at = (at + 1) & mask;
		struct hash_slot *slot = &encoder->hash[at];
		if (slot->generation != encoder->generation) {
			if (distinct == most)
				return most + 1;
			*slot = (struct hash_slot){ encoder->generation, distinct };
			memcpy(encoder->entries + (size_t)distinct * bytes, value, bytes);
			distinct++;
		}
		encoder->number[i] = slot->number;
	}
	return distinct;
}

static uint32_t most_entries(uint32_t values, uint32_t limit)
{
	return MIN(MAX(values / ENTRY_SHARE, (uint32_t)FEW_ENTRIES), limit);
}

/* Distinct values among those gathered, or `most` + 1. */
static uint32_t count_distinct(struct trace_encoder *encoder, uint32_t most)
{
	for (uint32_t i = 0; i < encoder->members; i++)
		trace_put64(encoder->packed + 8 * (size_t)i, encoder->value[i]);
	return number_distinct(encoder, encoder->members, 8, most);
}

/* The planes of the members' numbers. */
static void lay_numbers(struct trace_encoder *encoder, struct trace_part *part, uint32_t distinct,
			GByteArray *out)
{
	for (uint32_t i = 0; i < encoder->members; i++)
		encoder->stored[i] = encoder->number[i];
	lay_planes(encoder, part, out);
	part->low = distinct;
}

/* ---- columns ---- */

/* Returns false if the choice does not suit the values: too many distinct ones. */
static bool encode_scalar(struct trace_encoder *encoder, struct trace_part *part,
			  struct choice choice, GByteArray *out)
{
	guint start = out->len;

	part->predictor = choice.predictor;
	part->coding = choice.coding;
	part->count = encoder->members;
	part->first = 0;
	predict(encoder, part);
	if (choice.coding == CODING_NUMBERS) {
		uint32_t most = most_entries(encoder->members, TRACE_BLOCK_EVENTS);
		for (uint32_t i = 0; i < encoder->members; i++)
			trace_put64(encoder->packed + 8 * (size_t)i, encoder->stored[i]);
		uint32_t distinct = number_distinct(encoder, encoder->members, 8, most);
		if (distinct > most)
			return false;
		g_byte_array_append(out, encoder->entries, 8 * distinct);
		lay_numbers(encoder, part, distinct, out);
	} else {
		subtract_low(encoder, part);
		if (choice.coding == CODING_PLANES)
			lay_planes(encoder, part, out);
		else
			lay_lengths(encoder, part, out);
	}
	part->bytes = out->len - start;
	return true;
}

static size_t cost_of(struct trace_encoder *encoder, uint8_t coding)
{
	size_t compressed =
		ZSTD_compressCCtx(encoder->zstd, encoder->zstd_out, encoder->zstd_bytes,
				  encoder->trial->data, encoder->trial->len, TRIAL_LEVEL);
	size_t cost = RAW_WEIGHT * compressed + encoder->trial->len;
	return coding == CODING_LENGTHS ? cost + cost / LENGTHS_SHARE : cost;
}

/* Tries on some of the gathered values all that may suit them. */
static void try_scalar(struct trace_encoder *encoder, const struct trace_column *column,
		       struct choice *best)
{
	size_t least = SIZE_MAX;
	uint32_t members = encoder->members;

	encoder->members = MIN(members, (uint32_t)TRIAL_VALUES);
	for (unsigned i = 0; i < TRACE_PREDICTORS * CODING_IMAGES; i++) {
		struct choice choice = { (uint8_t)(i / CODING_IMAGES), i % CODING_IMAGES };
		struct trace_part part = { 0 };
		if (!(column->predictors >> choice.predictor & 1))
			continue;
		g_byte_array_set_size(encoder->trial, 0);
		if (!encode_scalar(encoder, &part, choice, encoder->trial))
			continue;
		size_t cost = cost_of(encoder, choice.coding);
		if (cost < least) {
			least = cost;
			*best = choice;
		}
	}
	encoder->members = members;
}

static void add_part(struct trace_encoder *encoder, const struct trace_part *part)
{
	g_array_append_val(encoder->parts, *part);
	g_array_append_val(encoder->data_cuts, encoder->data->len);
}

static void add_scalar(struct trace_encoder *encoder, unsigned number)
{
	const struct trace_column *column = &trace_columns[number];
	struct plan *plan = &encoder->plan[number];
	struct trace_part part = { .column = (uint8_t)number };

	gather(encoder, column);
	if (!plan->tried || encoder->blocks % TRIAL_BLOCKS == 0) {
		plan->tried = true;
		try_scalar(encoder, column, &plan->choice);
	}
	if (!encode_scalar(encoder, &part, plan->choice, encoder->data)) {
		plan->choice.coding = CODING_PLANES;
		encode_scalar(encoder, &part, plan->choice, encoder->data);
	}
	add_part(encoder, &part);
}

/* ---- groups ---- */

/* Sends every column its way: what is zero nowhere, what is constant into the shape, into its group
 * what takes few values, the rest apart. */
static void find_ways(struct trace_encoder *encoder)
{
	for (unsigned i = COLUMN_FIELDS; i < trace_column_count; i++) {
		const struct trace_column *column = &trace_columns[i];
		struct plan *plan = &encoder->plan[i];
		uint64_t first;
		bool differ = differs(encoder, column, &first);

		if (!differ && first == 0) {
			encoder->way[i] = WAY_NOWHERE;
			continue;
		}
		encoder->way[i] = differ ? WAY_APART : WAY_SHAPE;
		if (column->group == GROUP_NONE)
			continue;
		if (differ && encoder->blocks % TRIAL_BLOCKS == 0) {
			uint32_t most = most_entries(encoder->members, TRACE_IMAGES);
			gather(encoder, column);
			plan->apart = count_distinct(encoder, most) > most;
		}
		if (!plan->apart || !differ)
			encoder->way[i] = column->group == GROUP_SHAPE ? WAY_SHAPE : WAY_ACTOR;
	}
}

/* The bytes of an event's image that go a way, by kind. */
struct masks {
	uint64_t of_kind[EVENT_KINDS][TRACE_IMAGE_BYTES / 8];
};

/* Returns which bytes of images are ever used, bit i for byte i. */
static uint64_t make_masks(const struct trace_encoder *encoder, uint8_t way, struct masks *masks)
{
	uint64_t used = 0;

	memset(masks, 0, sizeof(*masks));
	for (unsigned kind = 1; kind < EVENT_KINDS; kind++) {
		uint8_t *mask = (uint8_t *)masks->of_kind[kind];
		if (way == WAY_SHAPE)
			mask[offsetof(struct event, kind)] = UINT8_MAX;
		for (unsigned c = COLUMN_FIELDS; c < trace_column_count; c++)
			if (encoder->way[c] == way && trace_columns[c].kinds >> kind & 1)
				memset(mask + trace_columns[c].offset, UINT8_MAX,
				       trace_columns[c].bytes);
		for (unsigned i = 0; i < TRACE_IMAGE_BYTES && encoder->kinds >> kind & 1; i++)
			used |= (uint64_t)(mask[i] != 0) << i;
	}
	return used;
}

/* Packs the images of all events with the columns that go this way. Returns which of their bytes
 * are ever used. */
static uint64_t pack_images(struct trace_encoder *encoder, uint8_t way)
{
	struct masks masks;
	uint64_t used = make_masks(encoder, way, &masks);

	for (uint32_t i = 0; used && i < encoder->count; i++) {
		const uint64_t *mask = masks.of_kind[encoder->kind[i]];
		uint64_t word[TRACE_IMAGE_BYTES / 8];
		memcpy(word, &encoder->events[i], sizeof(word));
		for (unsigned w = 0; w < G_N_ELEMENTS(word); w++)
			word[w] &= mask[w];
		memcpy(encoder->packed + (size_t)i * TRACE_IMAGE_BYTES, word, sizeof(word));
	}
	return used;
}

/* Takes out of the group the column with the most distinct values. */
static void put_one_apart(struct trace_encoder *encoder, uint8_t way)
{
	unsigned worst = 0;
	uint32_t most = 0;
	for (unsigned i = COLUMN_FIELDS; i < trace_column_count; i++) {
		if (encoder->way[i] != way)
			continue;
		gather(encoder, &trace_columns[i]);
		uint32_t distinct = count_distinct(encoder, TRACE_BLOCK_EVENTS);
		if (distinct > most) {
			most = distinct;
			worst = i;
		}
	}
	encoder->way[worst] = WAY_APART;
	encoder->plan[worst].apart = true;
}

static void add_group(struct trace_encoder *encoder, uint8_t column, uint8_t way)
{
	struct trace_part part = { .column = column, .coding = CODING_IMAGES, .scale = 1 };
	uint32_t most = most_entries(encoder->count, TRACE_IMAGES), distinct;
	guint start = encoder->data->len;

	for (;;) {
		part.first = pack_images(encoder, way);
		if (part.first == 0)
			return; /* no actor */
		distinct = number_distinct(encoder, encoder->count, TRACE_IMAGE_BYTES, most);
		if (distinct <= most)
			break;
		put_one_apart(encoder, way);
	}
	for (unsigned byte = 0; byte < TRACE_IMAGE_BYTES; byte++)
		for (uint32_t i = 0; i < distinct && part.first >> byte & 1; i++)
			g_byte_array_append(encoder->data,
					    encoder->entries + (size_t)i * TRACE_IMAGE_BYTES + byte,
					    1);
	part.count = encoder->members = encoder->count;
	lay_numbers(encoder, &part, distinct, encoder->data);
	part.bytes = encoder->data->len - start;
	add_part(encoder, &part);
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

const GByteArray *trace_encoder_block(struct trace_encoder *encoder, const struct event *events,
				      uint32_t count, const GArray **cuts)
{
	encoder->events = events;
	encoder->count = count;
	encoder->newest_at_start = encoder->newest;
	g_array_set_size(encoder->parts, 0);
	g_array_set_size(encoder->data_cuts, 0);
	g_byte_array_set_size(encoder->data, 0);
	sort_kinds(encoder);
	find_ways(encoder);
	add_group(encoder, COLUMN_SHAPE, WAY_SHAPE);
	add_group(encoder, COLUMN_ACTOR, WAY_ACTOR);
	for (unsigned i = COLUMN_FIELDS; i < trace_column_count; i++)
		if (encoder->way[i] == WAY_APART)
			add_scalar(encoder, i);
	for (uint32_t i = 0; i < count; i++)
		if (events[i].kind == EVENT_FRAME_ALLOC || events[i].kind == EVENT_HEAP_ALLOC)
			encoder->newest = events[i].u.frame.handle;
	encoder->blocks++;
	assemble(encoder);
	*cuts = encoder->cuts;
	return encoder->out;
}
