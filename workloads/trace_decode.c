#include "workloads/trace_columns.h"
#include "workloads/trace_format.h"
#include "workloads/trace.h"

#include <stddef.h>
#include <string.h>

/* Blocks are decoded a batch at a time: first the images of all its events, then column after
 * column what varies. Every loop does one thing to at most TRACE_BATCH values. */

enum { MOST_PARTS = 64, MOST_KINDS = 32 };

/* The eight bytes of an event from its kind on: kind, flags, CPU, task. */
enum { HEAD = offsetof(struct event, kind) };

struct cursor {
	struct trace_part part;
	const struct trace_column *column;
	const uint8_t *values;	/* CODING_NUMBERS, CODING_IMAGES: the distinct ones */
	const uint8_t *lengths; /* CODING_LENGTHS */
	const uint8_t *data;	/* planes, or what the lengths cut */
	const uint8_t *end;
	uint32_t kinds; /* of the column that are in the block */
	uint32_t done;	/* values decoded */
	uint64_t last;	/* predictors */
	uint64_t *slot; /* TRACE_SLOTS of them, PREDICT_LAST_OF_* */
};

/* Places in a batch of the events that have a column. */
struct members {
	unsigned count;
	uint16_t index[TRACE_BATCH];
};

struct trace_decoder {
	struct cursor cursor[MOST_PARTS];
	unsigned cursors;
	uint32_t left;	/* events */
	uint32_t kinds; /* 1 << kind of all in the block */
	struct event *shape;
	uint64_t *actor; /* heads */
	uint64_t image_bytes[EVENT_KINDS];

	/* The batch at hand. */
	struct members all, several, of_kind[MOST_KINDS];
	uint8_t kind[TRACE_BATCH];
	uint16_t shape_number[TRACE_BATCH], actor_number[TRACE_BATCH];
	uint64_t stored[TRACE_BATCH], value[TRACE_BATCH];
	uint64_t newest[TRACE_BATCH + 1]; /* handles, before each event */
	uint64_t slots[MOST_PARTS][TRACE_SLOTS];
};

struct trace_decoder *trace_decoder_new(void)
{
	struct trace_decoder *decoder = g_new0(struct trace_decoder, 1);
	decoder->shape = g_new(struct event, TRACE_IMAGES);
	decoder->actor = g_new(uint64_t, TRACE_IMAGES);
	for (unsigned i = 0; i < EVENT_KINDS; i++)
		decoder->image_bytes[i] = trace_image_bytes(i);
	for (unsigned i = 0; i < TRACE_BATCH; i++)
		decoder->all.index[i] = (uint16_t)i;
	return decoder;
}

void trace_decoder_free(struct trace_decoder *decoder)
{
	g_free(decoder->shape);
	g_free(decoder->actor);
	g_free(decoder);
}

static bool fail(GError **error, const struct cursor *cursor, const char *what)
{
	g_set_error(error, TRACE_ERROR, TRACE_ERROR_FORMAT, "column %s: %s (file damaged)",
		    cursor->column ? cursor->column->name : "?", what);
	return false;
}

/* ---- what a block says about its columns ---- */

static void part_unpack(const uint8_t *in, struct trace_part *part)
{
	part->column = in[0];
	part->predictor = in[1];
	part->coding = in[2];
	part->width = in[3];
	part->count = trace_get32(in + 8);
	part->bytes = trace_get32(in + 12);
	part->low = trace_get64(in + 16);
	part->scale = trace_get64(in + 24);
	part->first = trace_get64(in + 32);
}

/* How many bytes of distinct values stand before the planes. */
static bool distinct_bytes(const struct cursor *cursor, uint64_t *bytes, GError **error)
{
	const struct trace_part *part = &cursor->part;
	bool images = part->coding == CODING_IMAGES;
	uint64_t most = images ? TRACE_IMAGES : TRACE_BLOCK_EVENTS;

	if (images != (part->column < COLUMN_FIELDS))
		return fail(error, cursor, "impossible layout");
	*bytes = 0;
	if (part->coding != CODING_NUMBERS && !images)
		return true;
	if (part->low == 0 || part->low > most || part->width > 2)
		return fail(error, cursor, "impossible number of distinct values");
	*bytes = part->low * (images ? (unsigned)__builtin_popcountll(part->first) : 8);
	return true;
}

static bool lay_out(struct cursor *cursor, const uint8_t *data, GError **error)
{
	const struct trace_part *part = &cursor->part;
	uint64_t planes = (uint64_t)part->width * part->count, before;

	if (part->predictor >= TRACE_PREDICTORS || part->coding >= TRACE_CODINGS)
		return fail(error, cursor, "unknown layout");
	if (part->count > TRACE_BLOCK_EVENTS || part->width > 8)
		return fail(error, cursor, "impossible count or width");
	if (!distinct_bytes(cursor, &before, error))
		return false;
	cursor->values = cursor->lengths = data;
	if (part->coding == CODING_LENGTHS)
		before = part->count;
	if (part->bytes < before ||
	    (part->coding != CODING_LENGTHS && part->bytes != before + planes))
		return fail(error, cursor, "its size contradicts its layout");
	cursor->data = data + before;
	cursor->end = data + part->bytes;
	return true;
}

static void start_predictor(struct trace_decoder *decoder, struct cursor *cursor)
{
	cursor->done = 0;
	cursor->last = cursor->part.first;
	if (cursor->part.predictor == PREDICT_LAST_OF_CPU ||
	    cursor->part.predictor == PREDICT_LAST_OF_TASK) {
		cursor->slot = decoder->slots[cursor - decoder->cursor];
		for (unsigned i = 0; i < TRACE_SLOTS; i++)
			cursor->slot[i] = cursor->part.first;
	}
}

/* An image stands byte by byte: byte 0 of all images, if stored at all, then byte 1 ... Unpacks
 * them from byte `from_byte` on. */
static void unpack_images(const struct cursor *cursor, unsigned from_byte, void *images,
			  size_t stride)
{
	uint8_t *to = images;
	const uint8_t *from = cursor->values;
	for (unsigned byte = from_byte; byte < TRACE_IMAGE_BYTES; byte++) {
		if (!(cursor->part.first >> byte & 1))
			continue;
		for (uint64_t i = 0; i < cursor->part.low; i++)
			to[i * stride + byte - from_byte] = *from++;
	}
}

static bool load_shapes(struct trace_decoder *decoder, const struct cursor *cursor, GError **error)
{
	memset(decoder->shape, 0, cursor->part.low * sizeof(*decoder->shape));
	unpack_images(cursor, 0, decoder->shape, sizeof(*decoder->shape));
	decoder->kinds = 0;
	for (uint64_t i = 0; i < cursor->part.low; i++) {
		const uint8_t *image = (const uint8_t *)&decoder->shape[i];
		unsigned kind = decoder->shape[i].kind;
		uint64_t used = 0;
		for (unsigned byte = 0; byte < TRACE_IMAGE_BYTES; byte++)
			used |= (uint64_t)(image[byte] != 0) << byte;
		if (kind == EVENT_NONE || kind >= EVENT_KINDS)
			return fail(error, cursor, "an event of no kind");
		if (used & ~decoder->image_bytes[kind])
			return fail(error, cursor, "a field that its kind of event does not have");
		decoder->kinds |= 1u << kind;
	}
	return true;
}

static bool load_actors(struct trace_decoder *decoder, const struct cursor *cursor, GError **error)
{
	const uint64_t allowed =
		((UINT64_C(1) << sizeof(uint64_t)) - 1) << HEAD & ~(UINT64_C(1) << HEAD);
	if (cursor->part.first & ~allowed)
		return fail(error, cursor, "more than an actor");
	memset(decoder->actor, 0, cursor->part.low * sizeof(*decoder->actor));
	unpack_images(cursor, HEAD, decoder->actor, sizeof(*decoder->actor));
	return true;
}

static bool start_part(struct trace_decoder *decoder, unsigned i, const uint8_t *raw, uint64_t *at,
		       uint32_t bytes, GError **error)
{
	struct cursor *cursor = &decoder->cursor[i];

	part_unpack(raw + 4 + i * TRACE_PART_BYTES, &cursor->part);
	cursor->column = NULL;
	if (cursor->part.column >= trace_column_count)
		return fail(error, cursor, "unknown column");
	cursor->column = &trace_columns[cursor->part.column];
	if (i == 0 ? cursor->part.column != COLUMN_SHAPE
		   : cursor->part.column <= cursor[-1].part.column)
		return fail(error, cursor, "out of order");
	if (cursor->part.bytes > bytes - *at)
		return fail(error, cursor, "it is cut off");
	if (!lay_out(cursor, raw + *at, error))
		return false;
	*at += cursor->part.bytes;
	if (cursor->part.column == COLUMN_SHAPE)
		return load_shapes(decoder, cursor, error);
	if (cursor->part.column == COLUMN_ACTOR)
		return load_actors(decoder, cursor, error);
	cursor->kinds = cursor->column->kinds & decoder->kinds;
	start_predictor(decoder, cursor);
	return true;
}

bool trace_decoder_start(struct trace_decoder *decoder, const uint8_t *raw, uint32_t bytes,
			 uint32_t count, GError **error)
{
	uint32_t parts = bytes >= 4 ? trace_get32(raw) : 0;
	uint64_t at = 4 + (uint64_t)parts * TRACE_PART_BYTES;

	decoder->cursors = 0;
	decoder->left = 0;
	if (parts == 0 || parts > MOST_PARTS || at > bytes) {
		g_set_error(error, TRACE_ERROR, TRACE_ERROR_FORMAT,
			    "the list of columns is cut off (file damaged)");
		return false;
	}
	for (unsigned i = 0; i < parts; i++) {
		decoder->cursor[i].done = 0;
		if (!start_part(decoder, i, raw, &at, bytes, error))
			return false;
	}
	if (at != bytes)
		return fail(error, &decoder->cursor[parts - 1], "bytes follow the last column");
	decoder->cursors = parts;
	decoder->left = count;
	return true;
}

/* ---- numbers out of bytes ---- */

/* x[i] = the number whose bytes stand at the same place in each plane. */
static void read_planes(const struct cursor *cursor, unsigned n, uint64_t *x)
{
	size_t plane = cursor->part.count;
	const uint8_t *p = cursor->data + cursor->done;

	switch (cursor->part.width) {
	case 0:
		memset(x, 0, n * sizeof(*x));
		return;
	case 1:
		for (unsigned i = 0; i < n; i++)
			x[i] = p[i];
		return;
	case 2:
		for (unsigned i = 0; i < n; i++)
			x[i] = p[i] | (uint64_t)p[i + plane] << 8;
		return;
	default:
		for (unsigned i = 0; i < n; i++)
			x[i] = p[i] | (uint64_t)p[i + plane] << 8 |
			       (uint64_t)p[i + 2 * plane] << 16;
	}
	for (unsigned byte = 3; byte < cursor->part.width; byte++)
		for (unsigned i = 0; i < n; i++)
			x[i] |= (uint64_t)p[i + byte * plane] << 8 * byte;
}

static bool read_lengths(struct cursor *cursor, unsigned n, uint64_t *x, GError **error)
{
	static const uint64_t masks[9] = {
		0,	    0xff,	  0xffff,	  0xffffff,
		0xffffffff, 0xffffffffff, 0xffffffffffff, 0xffffffffffffff,
		UINT64_MAX
	};
	const uint8_t *length = cursor->lengths + cursor->done;
	const uint8_t *at = cursor->data;
	unsigned sum = 0, most = 0;

	for (unsigned i = 0; i < n; i++) {
		sum += length[i];
		most = MAX(most, length[i]);
	}
	if (most > 8 || sum > (size_t)(cursor->end - at))
		return fail(error, cursor, "a length is out of range");
	for (unsigned i = 0; i < n; i++) {
		x[i] = trace_get64(at) & masks[length[i]];
		at += length[i];
	}
	cursor->data = at;
	return true;
}

/* x[i] = stored number i, from whatever layout. */
static bool read_stored(struct trace_decoder *decoder, struct cursor *cursor, unsigned n,
			uint64_t *x, GError **error)
{
	uint64_t low = cursor->part.low, most = 0;

	if (cursor->part.coding == CODING_NUMBERS) {
		uint64_t *number = decoder->stored;
		read_planes(cursor, n, number);
		for (unsigned i = 0; i < n; i++)
			most = MAX(most, number[i]);
		if (most >= low)
			return fail(error, cursor, "a number of a value is out of range");
		for (unsigned i = 0; i < n; i++)
			x[i] = trace_get64(cursor->values + 8 * number[i]);
		return true;
	}
	if (cursor->part.coding == CODING_PLANES)
		read_planes(cursor, n, x);
	else if (!read_lengths(cursor, n, x, error))
		return false;
	if (low)
		for (unsigned i = 0; i < n; i++)
			x[i] += low;
	return true;
}

/* ---- values out of numbers ---- */

static inline uint64_t unzigzag(uint64_t x)
{
	return (x >> 1) ^ (0 - (x & 1));
}

/* Where values go: into a field of 64 bits of the set's events, or back where they came from. */
struct sink {
	const struct event *events;
	const uint16_t *index;
	uint8_t *field; /* of event 0; NULL: back */
	uint64_t *x;
};

static inline __attribute__((always_inline)) void put(const struct sink *sink, bool direct,
						      unsigned i, uint64_t value)
{
	if (direct)
		memcpy(sink->field + sink->index[i] * sizeof(struct event), &value, sizeof(value));
	else
		sink->x[i] = value;
}

/* The last value of a slot stays in a register while events of one CPU or task follow each other.
 */
static inline __attribute__((always_inline)) void
predict_by_slot(struct cursor *cursor, const struct sink *sink, unsigned n, bool direct,
		unsigned (*slot_of)(const struct event *))
{
	uint64_t scale = cursor->part.scale;
	unsigned slot = slot_of(&sink->events[sink->index[0]]);
	uint64_t last = cursor->slot[slot];

	for (unsigned i = 0; i < n; i++) {
		unsigned now = slot_of(&sink->events[sink->index[i]]);
		if (now != slot) {
			cursor->slot[slot] = last;
			slot = now;
			last = cursor->slot[slot];
		}
		last += unzigzag(sink->x[i]) * scale;
		put(sink, direct, i, last);
	}
	cursor->slot[slot] = last;
}

static inline unsigned cpu_slot(const struct event *event)
{
	return event->cpu % TRACE_SLOTS;
}

static inline unsigned task_slot(const struct event *event)
{
	return event->task % TRACE_SLOTS;
}

static inline __attribute__((always_inline)) void predict(struct cursor *cursor,
							  const uint64_t *newest,
							  const struct sink *sink, unsigned n,
							  bool direct)
{
	uint64_t scale = cursor->part.scale, last = cursor->last;

	switch (cursor->part.predictor) {
	case PREDICT_NOTHING:
		for (unsigned i = 0; i < n; i++)
			put(sink, direct, i, sink->x[i] * scale);
		break;
	case PREDICT_LAST:
		for (unsigned i = 0; i < n; i++) {
			last += unzigzag(sink->x[i]) * scale;
			put(sink, direct, i, last);
		}
		cursor->last = last;
		break;
	case PREDICT_LAST_OF_CPU:
		predict_by_slot(cursor, sink, n, direct, cpu_slot);
		break;
	case PREDICT_LAST_OF_TASK:
		predict_by_slot(cursor, sink, n, direct, task_slot);
		break;
	case PREDICT_NEWEST:
		for (unsigned i = 0; i < n; i++)
			put(sink, direct, i, newest[sink->index[i]] + unzigzag(sink->x[i]) * scale);
		break;
	}
}

/* Stores values in a field of less than 64 bits of the set's events. */
static void scatter(struct event *events, const struct members *set,
		    const struct trace_column *column, const uint64_t *x)
{
	uint8_t *base = (uint8_t *)events + column->offset;

	for (unsigned i = 0; i < set->count; i++) {
		uint8_t *at = base + set->index[i] * sizeof(*events);
		if (column->bytes == 1)
			*at = (uint8_t)x[i];
		else if (column->bytes == 2)
			*(uint16_t *)at = (uint16_t)x[i];
		else
			*(uint32_t *)at = (uint32_t)x[i];
	}
}

static void put_values(const struct trace_decoder *decoder, struct cursor *cursor,
		       struct event *out, const struct members *set, uint64_t *x)
{
	struct sink sink = { out, set->index, NULL, x };

	if (cursor->column->bytes == sizeof(uint64_t)) {
		sink.field = (uint8_t *)out + cursor->column->offset;
		predict(cursor, decoder->newest, &sink, set->count, true);
	} else {
		predict(cursor, decoder->newest, &sink, set->count, false);
		scatter(out, set, cursor->column, x);
	}
}

/* ---- a batch ---- */

/* out[i] = number i of an image; all are below the number of images. */
static bool read_numbers(struct cursor *cursor, unsigned n, uint16_t *out, GError **error)
{
	const uint8_t *p = cursor->data + cursor->done;
	size_t plane = cursor->part.count;
	unsigned most = 0;

	if (n > plane - cursor->done)
		return fail(error, cursor, "it has too few values");
	cursor->done += n;
	if (cursor->part.width == 0)
		memset(out, 0, n * sizeof(*out));
	else if (cursor->part.width == 1)
		for (unsigned i = 0; i < n; i++)
			out[i] = p[i];
	else
		for (unsigned i = 0; i < n; i++)
			out[i] = (uint16_t)(p[i] | p[i + plane] << 8);
	for (unsigned i = 0; i < n; i++)
		most = MAX(most, out[i]);
	return most < cursor->part.low ||
	       fail(error, cursor, "a number of an image is out of range");
}

/* Copies the images of the batch's events and sorts the events by kind. */
static void copy_images(struct trace_decoder *decoder, struct event *out, unsigned n)
{
	for (uint32_t kinds = decoder->kinds; kinds; kinds &= kinds - 1)
		decoder->of_kind[__builtin_ctz(kinds)].count = 0;
	for (unsigned i = 0; i < n; i++) {
		const struct event *image = &decoder->shape[decoder->shape_number[i]];
		struct members *same = &decoder->of_kind[image->kind];
		uint64_t head;
		out[i] = *image;
		memcpy(&head, (const uint8_t *)image + HEAD, sizeof(head));
		head |= decoder->actor[decoder->actor_number[i]];
		memcpy((uint8_t *)&out[i] + HEAD, &head, sizeof(head));
		decoder->kind[i] = image->kind;
		same->index[same->count++] = (uint16_t)i;
	}
	decoder->all.count = n;
}

static const struct members *members_of(struct trace_decoder *decoder, uint32_t kinds)
{
	if (kinds == decoder->kinds)
		return &decoder->all;
	if ((kinds & (kinds - 1)) == 0)
		return kinds ? &decoder->of_kind[__builtin_ctz(kinds)] : NULL;
	struct members *set = &decoder->several;
	unsigned count = 0;
	for (unsigned i = 0; i < decoder->all.count; i++) {
		set->index[count] = (uint16_t)i;
		count += kinds >> decoder->kind[i] & 1;
	}
	set->count = count;
	return set;
}

/* newest[i] = the handle that the last allocation before event i gave out. */
static void learn_newest(struct trace_decoder *decoder, struct cursor *cursor,
			 const struct event *out)
{
	const uint32_t gives = 1u << EVENT_FRAME_ALLOC | 1u << EVENT_HEAP_ALLOC;
	uint64_t newest = cursor->last;
	for (unsigned i = 0; i < decoder->all.count; i++) {
		decoder->newest[i] = newest;
		newest = gives >> decoder->kind[i] & 1 ? out[i].u.frame.handle : newest;
	}
	cursor->last = newest;
}

static bool decode_column(struct trace_decoder *decoder, struct cursor *cursor, struct event *out,
			  GError **error)
{
	const struct members *set = members_of(decoder, cursor->kinds);
	uint64_t *x = decoder->value;

	if (cursor->part.predictor == PREDICT_NEWEST)
		learn_newest(decoder, cursor, out);
	if (!set || set->count == 0)
		return true;
	if (set->count > cursor->part.count - cursor->done)
		return fail(error, cursor, "it has too few values");
	if (!read_stored(decoder, cursor, set->count, x, error))
		return false;
	cursor->done += set->count;
	put_values(decoder, cursor, out, set, x);
	return true;
}

static bool used_up(const struct trace_decoder *decoder, GError **error)
{
	for (unsigned i = 0; i < decoder->cursors; i++) {
		const struct cursor *cursor = &decoder->cursor[i];
		if (cursor->done != cursor->part.count)
			return fail(error, cursor, "it has too many values");
		if (cursor->part.coding == CODING_LENGTHS && cursor->data != cursor->end)
			return fail(error, cursor, "bytes follow its last value");
	}
	return true;
}

int trace_decoder_next(struct trace_decoder *decoder, struct event *out, GError **error)
{
	unsigned n = MIN(decoder->left, TRACE_BATCH);
	unsigned first = 1;

	if (n == 0)
		return 0;
	if (!read_numbers(&decoder->cursor[0], n, decoder->shape_number, error))
		return -1;
	if (decoder->cursors > 1 && decoder->cursor[1].part.column == COLUMN_ACTOR) {
		if (!read_numbers(&decoder->cursor[1], n, decoder->actor_number, error))
			return -1;
		first = 2;
	} else {
		decoder->actor[0] = 0;
		memset(decoder->actor_number, 0, n * sizeof(*decoder->actor_number));
	}
	copy_images(decoder, out, n);
	for (unsigned i = first; i < decoder->cursors; i++)
		if (!decode_column(decoder, &decoder->cursor[i], out, error))
			return -1;
	decoder->left -= n;
	if (decoder->left == 0 && !used_up(decoder, error))
		return -1;
	return (int)n;
}
