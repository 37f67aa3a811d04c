#include "workloads/trace_columns.h"
#include "workloads/trace_format.h"

#include <stddef.h>
#include <string.h>
#include <zstd.h>

/* Which predictor and layout suit a column is found by trying all that the table names on a sample
 * of values, compressing each, at the first block and then at every TRIAL_BLOCKS-th: the answer
 * seldom changes within a trace, and trying costs more than encoding. */
enum { TRIAL_BLOCKS = 64, TRIAL_VALUES = 8 << 10, TRIAL_LEVEL = 1 };

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

/* Columns are gathered from so many events at once, while these stay in the L2 cache: a block does
 * not. */
enum { GATHER_EVENTS = 4 << 10 };

enum { EVENT_WORDS = sizeof(struct event) / sizeof(uint64_t) };
G_STATIC_ASSERT(offsetof(struct event, kind) == 8);

struct trace_encoder {
	const struct event *events;
	uint32_t count;
	uint32_t kinds; /* 1 << kind of all events */
	uint64_t blocks;
	uint64_t newest, newest_at_start; /* handle given out last, and before this block */
	struct plan plan[MOST_COLUMNS];
	uint8_t way[MOST_COLUMNS]; /* in this block: enum way */

	uint8_t *kind;	/* of all events */
	uint64_t *head; /* word 1 of all events: kind, flags, CPU, task */
	/* By kind: its first event, and the bits in which another one differs from it. */
	uint64_t first[EVENT_KINDS][EVENT_WORDS], differ[EVENT_KINDS][EVENT_WORDS];
	uint32_t *by_kind; /* their numbers, sorted by kind */
	uint32_t kind_start[EVENT_KINDS + 1];
	uint32_t *all;	   /* 0, 1, 2 ... */
	uint32_t *several; /* the events of more than one kind, of several_kinds */
	uint32_t several_kinds, several_members;
	const uint32_t *index; /* the events that have the column at hand */
	uint32_t members;
	uint64_t *value; /* one each: of a column in gathered, or in one_column */
	uint64_t *stored;
	uint64_t *one_column;
	uint64_t *gathered; /* columns one behind the other */
	size_t gathered_room;
	uint64_t *column_values[MOST_COLUMNS]; /* in gathered, NULL: not there */
	uint32_t *number;		       /* of a distinct value or image */
	uint64_t *entries;		       /* the distinct ones, word after word */
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

/* Returns whether the values of a column differ from each other; *first is one of them. */
static bool differs(const struct trace_encoder *encoder, const struct trace_column *column,
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

/* Gathers the column's values. */
static void gather(struct trace_encoder *encoder, unsigned number)
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

/* stored[i] = value[i] - value[i - 1]. */
static void subtract_last(struct trace_encoder *encoder, const struct trace_part *part)
{
	const uint64_t *value = encoder->value;

	encoder->stored[0] = value[0] - part->first;
	for (uint32_t i = 1; i < encoder->members; i++)
		encoder->stored[i] = value[i] - value[i - 1];
}

/* Handles: less the latest that was given out before the event. */
static void subtract_newest(struct trace_encoder *encoder, const struct trace_part *part)
{
	uint64_t newest = part->first;
	uint32_t at = 0;

	for (uint32_t i = 0; i < encoder->members; i++) {
		for (; at < encoder->index[i]; at++)
			if (encoder->kind[at] == EVENT_FRAME_ALLOC ||
			    encoder->kind[at] == EVENT_HEAP_ALLOC)
				newest = encoder->events[at].u.frame.handle;
		encoder->stored[i] = encoder->value[i] - newest;
	}
}

/* Less the last value of the event's CPU, or of its task: SHIFT and BITS of the event's head. */
static void subtract_last_of(struct trace_encoder *encoder, const struct trace_part *part,
			     unsigned shift, unsigned bits)
{
	uint64_t slot[TRACE_SLOTS], mask = (UINT64_C(1) << bits) - 1;

	for (unsigned i = 0; i < TRACE_SLOTS; i++)
		slot[i] = part->first;
	for (uint32_t i = 0; i < encoder->members; i++) {
		uint64_t head = encoder->head[encoder->index[i]];
		uint64_t *of = &slot[(head >> shift & mask) % TRACE_SLOTS];
		encoder->stored[i] = encoder->value[i] - *of;
		*of = encoder->value[i];
	}
}

/* stored[i] = value[i] - what the predictor says. */
static void subtract_prediction(struct trace_encoder *encoder, const struct trace_part *part)
{
	switch ((enum trace_predictor)part->predictor) {
	case PREDICT_NEWEST:
		subtract_newest(encoder, part);
		break;
	case PREDICT_LAST_OF_CPU:
		subtract_last_of(encoder, part, 16, 16);
		break;
	case PREDICT_LAST_OF_TASK:
		subtract_last_of(encoder, part, 32, 32);
		break;
	default:
		subtract_last(encoder, part);
		break;
	}
}

/* Exact division by a constant with one multiplication (Warren, Hacker's Delight, 10-16 and 10-17):
 * x / scale is x times the inverse of scale's odd part modulo 2^64, rotated by the even part; of
 * an x that scale does not divide the result is above the greatest quotient. */
struct divisor {
	uint64_t scale, inverse, most;
	unsigned shift;
};

static struct divisor divisor_of(uint64_t scale)
{
	unsigned shift = (unsigned)__builtin_ctzll(scale);
	uint64_t odd = scale >> shift, inverse = odd;

	/* Each step doubles the right bits; an odd number is its own inverse modulo 8. */
	for (unsigned bits = 3; bits < 64; bits *= 2)
		inverse *= 2 - odd * inverse;
	return (struct divisor){ scale, inverse, UINT64_MAX / scale, shift };
}

static inline uint64_t quotient(struct divisor by, uint64_t x)
{
	uint64_t product = x * by.inverse;
	return product >> by.shift | product << (-by.shift & 63);
}

/* The greatest divisor of all, 1 if they are all zero. */
static struct divisor common_scale(const uint64_t *x, uint32_t count, bool is_signed)
{
	uint64_t scale = 0;
	struct divisor by = { 0 };

	for (uint32_t i = 0; i < count && scale != 1; i++) {
		uint64_t size = is_signed ? magnitude(x[i]) : x[i];
		if (size == 0 || (scale && quotient(by, size) <= by.most))
			continue;
		scale = common_divisor(size, scale);
		by = divisor_of(scale);
	}
	return scale ? by : divisor_of(1);
}

/* Divides the differences by what they have in common and folds their sign into bit 0. */
static void scale_differences(struct trace_encoder *encoder, struct trace_part *part)
{
	uint64_t *stored = encoder->stored;
	struct divisor by = common_scale(stored, encoder->members, true);

	part->scale = by.scale;
	for (uint32_t i = 0; i < encoder->members; i++)
		stored[i] = 2 * quotient(by, magnitude(stored[i])) - (stored[i] >> 63);
}

static void scale_values(struct trace_encoder *encoder, struct trace_part *part)
{
	struct divisor by = common_scale(encoder->value, encoder->members, false);

	part->scale = by.scale;
	for (uint32_t i = 0; i < encoder->members; i++)
		encoder->stored[i] = quotient(by, encoder->value[i]);
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
	uint64_t low = UINT64_MAX, high = 0;
	for (uint32_t i = 0; i < encoder->members; i++) {
		low = MIN(low, encoder->stored[i]);
		high = MAX(high, encoder->stored[i]);
	}
	for (uint32_t i = 0; low > 0 && i < encoder->members; i++)
		encoder->stored[i] -= low;
	part->low = low;
	part->width = (uint8_t)bytes_of(high - low);
}

static void lay_planes(struct trace_encoder *encoder, struct trace_part *part, GByteArray *out)
{
	uint32_t n = encoder->members;
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

static inline __attribute__((always_inline)) uint32_t hash_words(const uint64_t *word,
								 unsigned words)
{
	uint64_t hash = 0;

	for (unsigned i = 0; i < words; i++) {
		hash = (hash ^ word[i]) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 32;
	}
	return (uint32_t)hash;
}

static inline __attribute__((always_inline)) bool same_words(const uint64_t *a, const uint64_t *b,
							     unsigned words)
{
	uint64_t differ = 0;

	for (unsigned i = 0; i < words; i++)
		differ |= a[i] ^ b[i];
	return differ == 0;
}

/* Numbers the distinct ones among COUNT values in the order of their first appearance. Returns how
 * many there are, or `most` + 1 if there are more than that. */
static uint32_t number_values(struct trace_encoder *encoder, const uint64_t *value, uint32_t count,
			      uint32_t most)
{
	struct hash_slot *hash = encoder->hash;
	uint64_t *entries = encoder->entries;
	uint32_t distinct = 0, mask = 255, generation = ++encoder->generation;

	while (mask + 1 < 2 * count)
		mask = 2 * mask + 1;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = hash_words(&value[i], 1) & mask;
		while (hash[at].generation == generation && entries[hash[at].number] != value[i])
			at = (at + 1) & mask;
		struct hash_slot *slot = &hash[at];
		if (slot->generation != generation) {
			if (distinct == most)
				return most + 1;
			*slot = (struct hash_slot){ generation, distinct };
			entries[distinct++] = value[i];
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
	return number_values(encoder, encoder->value, encoder->members, most);
}

/* The planes of the members' numbers. */
static void lay_numbers(struct trace_encoder *encoder, struct trace_part *part, uint32_t distinct,
			GByteArray *out)
{
	uint32_t n = encoder->members;
	guint at = out->len;

	part->width = (uint8_t)bytes_of(distinct - 1);
	part->low = distinct;
	g_byte_array_set_size(out, at + part->width * n);
	for (unsigned byte = 0; byte < part->width; byte++, at += n)
		for (uint32_t i = 0; i < n; i++)
			out->data[at + i] = (uint8_t)(encoder->number[i] >> 8 * byte);
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
		uint32_t distinct = number_values(encoder, encoder->stored, encoder->members, most);
		if (distinct > most)
			return false;
		g_byte_array_append(out, (const guint8 *)encoder->entries, 8 * distinct);
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

	gather(encoder, number);
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
			gather(encoder, i);
			uint32_t most = most_entries(encoder->members, TRACE_IMAGES);
			plan->apart = count_distinct(encoder, most) > most;
		}
		if (!plan->apart || !differ)
			encoder->way[i] = column->group == GROUP_SHAPE ? WAY_SHAPE : WAY_ACTOR;
	}
}

/* The bytes of an event's image that go a way: by kind, of the words of 8 bytes in which any kind
 * has some. */
struct masks {
	uint64_t used; /* bit i: byte i of images is used */
	unsigned words;
	uint8_t word[TRACE_IMAGE_BYTES / 8]; /* which words */
	uint64_t of_kind[EVENT_KINDS][TRACE_IMAGE_BYTES / 8];
};

static void make_masks(const struct trace_encoder *encoder, uint8_t way, struct masks *masks)
{
	uint8_t bytes[EVENT_KINDS][TRACE_IMAGE_BYTES];

	memset(masks, 0, sizeof(*masks));
	memset(bytes, 0, sizeof(bytes));
	for (unsigned kind = 1; kind < EVENT_KINDS; kind++) {
		if (way == WAY_SHAPE)
			bytes[kind][offsetof(struct event, kind)] = UINT8_MAX;
		for (unsigned c = COLUMN_FIELDS; c < trace_column_count; c++)
			if (encoder->way[c] == way && trace_columns[c].kinds >> kind & 1)
				memset(&bytes[kind][trace_columns[c].offset], UINT8_MAX,
				       trace_columns[c].bytes);
		for (unsigned i = 0; i < TRACE_IMAGE_BYTES && encoder->kinds >> kind & 1; i++)
			masks->used |= (uint64_t)(bytes[kind][i] != 0) << i;
	}
	for (unsigned word = 0; word < TRACE_IMAGE_BYTES / 8; word++) {
		if (!(masks->used >> 8 * word & UINT8_MAX))
			continue;
		for (unsigned kind = 1; kind < EVENT_KINDS; kind++)
			memcpy(&masks->of_kind[kind][masks->words], &bytes[kind][8 * word], 8);
		masks->word[masks->words++] = (uint8_t)word;
	}
}

/* The words in use of an event's image. */
static inline __attribute__((always_inline)) void image_words(const struct trace_encoder *encoder,
							      const struct masks *masks, uint32_t i,
							      unsigned words, uint64_t *out)
{
	const uint64_t *mask = masks->of_kind[encoder->kind[i]];
	const uint8_t *event = (const uint8_t *)&encoder->events[i];

	for (unsigned w = 0; w < words; w++) {
		memcpy(&out[w], event + 8 * masks->word[w], sizeof(*out));
		out[w] &= mask[w];
	}
}

/* As number_words(), of images as they stand in the events. An event mostly looks like the last one
 * of its kind. */
static inline __attribute__((always_inline)) uint32_t
number_images_of(struct trace_encoder *encoder, const struct masks *masks, unsigned words,
		 uint32_t most)
{
	uint32_t distinct = 0, slots = 255, last[EVENT_KINDS] = { 0 };
	uint64_t *entries = encoder->entries;
	struct hash_slot *hash = encoder->hash;
	uint32_t generation = ++encoder->generation;

	while (slots + 1 < 2 * encoder->count)
		slots = 2 * slots + 1;
	for (uint32_t i = 0; i < encoder->count; i++) {
		uint64_t image[EVENT_WORDS];
		image_words(encoder, masks, i, words, image);
		uint32_t *of_kind = &last[encoder->kind[i]];
		if (*of_kind < distinct && same_words(entries + *of_kind * words, image, words)) {
			encoder->number[i] = *of_kind;
			continue;
		}
		uint32_t at = hash_words(image, words) & slots;
		while (hash[at].generation == generation &&
		       !same_words(entries + (size_t)hash[at].number * words, image, words))
			at = (at + 1) & slots;
		struct hash_slot *slot = &hash[at];
		if (slot->generation != generation) {
			if (distinct == most)
				return most + 1;
			*slot = (struct hash_slot){ generation, distinct };
			memcpy(entries + (size_t)distinct * words, image, 8 * words);
			distinct++;
		}
		encoder->number[i] = *of_kind = slot->number;
	}
	return distinct;
}

/* A loop for each size that is usual. */
static uint32_t number_images(struct trace_encoder *encoder, const struct masks *masks,
			      uint32_t most)
{
	switch (masks->words) {
	case 1:
		return number_images_of(encoder, masks, 1, most);
	case 4:
		return number_images_of(encoder, masks, 4, most);
	case 5:
		return number_images_of(encoder, masks, 5, most);
	default:
		return number_images_of(encoder, masks, masks->words, most);
	}
}

/* Byte by byte: byte 0 of all distinct images if it is used, then byte 1 ... */
static void lay_images(struct trace_encoder *encoder, const struct masks *masks, uint32_t distinct)
{
	size_t bytes = 8 * (size_t)masks->words;
	guint at = encoder->data->len;

	g_byte_array_set_size(encoder->data,
			      at + distinct * (guint)__builtin_popcountll(masks->used));
	for (unsigned byte = 0; byte < bytes; byte++) {
		if (!(masks->used >> (8 * masks->word[byte / 8] + byte % 8) & 1))
			continue;
		for (uint32_t i = 0; i < distinct; i++)
			encoder->data->data[at++] =
				((const uint8_t *)encoder->entries)[i * bytes + byte];
	}
}

/* Takes out of the group the column with the most distinct values. */
static void put_one_apart(struct trace_encoder *encoder, uint8_t way)
{
	unsigned worst = 0;
	uint32_t most = 0;
	for (unsigned i = COLUMN_FIELDS; i < trace_column_count; i++) {
		if (encoder->way[i] != way)
			continue;
		gather(encoder, i);
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
	struct masks masks;

	for (;;) {
		make_masks(encoder, way, &masks);
		if (masks.used == 0)
			return; /* no actor */
		distinct = number_images(encoder, &masks, most);
		if (distinct <= most)
			break;
		put_one_apart(encoder, way);
	}
	part.first = masks.used;
	lay_images(encoder, &masks, distinct);
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
	find_ways(encoder);
	add_group(encoder, COLUMN_SHAPE, WAY_SHAPE);
	add_group(encoder, COLUMN_ACTOR, WAY_ACTOR);
	gather_apart(encoder);
	for (unsigned i = COLUMN_FIELDS; i < trace_column_count; i++)
		if (encoder->way[i] == WAY_APART)
			add_scalar(encoder, i);
	learn_newest(encoder);
	encoder->blocks++;
	assemble(encoder);
	*cuts = encoder->cuts;
	return encoder->out;
}
