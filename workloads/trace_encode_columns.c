#include "workloads/trace_encode_private.h"

/* Which predictor and layout suit a column is found by trying all that the table names on a sample
 * of values, compressing each. */
enum { TRIAL_LEVEL = 1 };

/* A raw byte costs the reader time even where it compresses to nothing: weigh it as 1/16 of a
 * compressed one. */
enum { RAW_WEIGHT = 16 };

/* Lengths are decoded one after another, planes side by side: lengths must win by an eighth. */
enum { LENGTHS_SHARE = 8 };

/* A dictionary of more than a few entries must be an eighth of what it stands for, or less. */
enum { FEW_ENTRIES = 256, ENTRY_SHARE = 8 };

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

uint32_t encoder_most_entries(uint32_t values, uint32_t limit)
{
	return MIN(MAX(values / ENTRY_SHARE, (uint32_t)FEW_ENTRIES), limit);
}

uint32_t encoder_count_distinct(struct trace_encoder *encoder, uint32_t most)
{
	return number_values(encoder, encoder->value, encoder->members, most);
}

void encoder_lay_numbers(struct trace_encoder *encoder, struct trace_part *part, uint32_t distinct,
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
		uint32_t most = encoder_most_entries(encoder->members, TRACE_BLOCK_EVENTS);
		uint32_t distinct = number_values(encoder, encoder->stored, encoder->members, most);
		if (distinct > most)
			return false;
		g_byte_array_append(out, (const guint8 *)encoder->entries, 8 * distinct);
		encoder_lay_numbers(encoder, part, distinct, out);
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

void encoder_add_part(struct trace_encoder *encoder, const struct trace_part *part)
{
	g_array_append_val(encoder->parts, *part);
	g_array_append_val(encoder->data_cuts, encoder->data->len);
}

void encoder_add_scalar(struct trace_encoder *encoder, unsigned number)
{
	const struct trace_column *column = &trace_columns[number];
	struct plan *plan = &encoder->plan[number];
	struct trace_part part = { .column = (uint8_t)number };

	encoder_gather(encoder, number);
	if (!plan->tried || encoder->blocks % TRIAL_BLOCKS == 0) {
		plan->tried = true;
		try_scalar(encoder, column, &plan->choice);
	}
	if (!encode_scalar(encoder, &part, plan->choice, encoder->data)) {
		plan->choice.coding = CODING_PLANES;
		encode_scalar(encoder, &part, plan->choice, encoder->data);
	}
	encoder_add_part(encoder, &part);
}
