#include "workloads/trace_encode_private.h"

void encoder_find_ways(struct trace_encoder *encoder)
{
	for (unsigned i = COLUMN_FIELDS; i < trace_column_count; i++) {
		const struct trace_column *column = &trace_columns[i];
		struct plan *plan = &encoder->plan[i];
		uint64_t first;
		bool differ = encoder_differs(encoder, column, &first);

		if (!differ && first == 0) {
			encoder->way[i] = WAY_NOWHERE;
			continue;
		}
		encoder->way[i] = differ ? WAY_APART : WAY_SHAPE;
		if (column->group == GROUP_NONE)
			continue;
		if (differ && encoder->blocks % TRIAL_BLOCKS == 0) {
			encoder_gather(encoder, i);
			uint32_t most = encoder_most_entries(encoder->members, TRACE_IMAGES);
			plan->apart = encoder_count_distinct(encoder, most) > most;
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

/* Numbers the distinct images in the order of their first appearance, as they stand in the events.
 * Returns how many there are, or `most` + 1 if there are more. An event mostly looks like the last
 * one of its kind. */
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
		encoder_gather(encoder, i);
		uint32_t distinct = encoder_count_distinct(encoder, TRACE_BLOCK_EVENTS);
		if (distinct > most) {
			most = distinct;
			worst = i;
		}
	}
	encoder->way[worst] = WAY_APART;
	encoder->plan[worst].apart = true;
}

void encoder_add_group(struct trace_encoder *encoder, uint8_t column, uint8_t way)
{
	struct trace_part part = { .column = column, .coding = CODING_IMAGES, .scale = 1 };
	uint32_t most = encoder_most_entries(encoder->count, TRACE_IMAGES), distinct;
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
	encoder_lay_numbers(encoder, &part, distinct, encoder->data);
	part.bytes = encoder->data->len - start;
	encoder_add_part(encoder, &part);
}
