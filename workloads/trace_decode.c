#include "workloads/trace_columns.h"
#include "workloads/trace_format.h"
#include "workloads/trace.h"

#include <stddef.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Blocks are decoded a batch at a time: first the images of all its events, then column after
 * column what varies. Every loop does one thing to at most TRACE_BATCH values. */

enum { MOST_PARTS = 64, MOST_KINDS = 32 };

/* The eight bytes of an event from its kind on: kind, flags, CPU, task. */
enum { HEAD = offsetof(struct event, kind) };

/* How stored numbers are fetched: those of lengths one by one in the loop that needs them, the
 * others through an array; of narrow planes it has the differences that a predictor wants. */
enum feed { FEED_ARRAY = 0, FEED_STEPS, FEED_LENGTHS };

/* Planes are narrow up to this width, if their low is small: numbers have 32 bits. */
enum { NARROW = 3 };

struct cursor {
	struct trace_part part;
	enum feed feed;
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

/* Places in a batch of the events that have a column; room for eight more than there can be. */
struct members {
	unsigned count;
	uint8_t index[TRACE_BATCH + 8];
};
G_STATIC_ASSERT(TRACE_BATCH - 1 <= UINT8_MAX);

/* The same as a bit an event. */
enum { SET_WORDS = TRACE_BATCH / 64 };
G_STATIC_ASSERT(TRACE_BATCH % 64 == 0);

/* Of a byte of such a set: how many bits are set, and which, a byte each. */
struct spread {
	uint64_t places[256];
	uint8_t count[256];
};

/* 16 bytes of an event at once. */
typedef uint64_t quarter __attribute__((vector_size(16), aligned(8), may_alias));
G_STATIC_ASSERT(HEAD == sizeof(uint64_t));

struct trace_decoder {
	struct cursor cursor[MOST_PARTS];
	unsigned cursors;
	uint32_t left;	/* events */
	uint32_t kinds; /* 1 << kind of all in the block */
	struct event *shape;
	quarter *actor; /* {0, head} */
	uint64_t image_bytes[EVENT_KINDS];

	/* The batch at hand. */
	struct members all, some;
	uint32_t some_kinds;  /* whose events `some` is, 0 none */
	uint32_t known_kinds; /* whose bits are in of_kind */
	uint64_t of_kind[MOST_KINDS][SET_WORDS];
	struct spread spread;
	uint8_t kind[TRACE_BATCH] __attribute__((aligned(16)));
	uint16_t shape_number[TRACE_BATCH], actor_number[TRACE_BATCH];
	uint64_t value[TRACE_BATCH];
	int32_t step[TRACE_BATCH];
	uint64_t newest[TRACE_BATCH + 1]; /* handles, before each event */
	uint64_t slots[MOST_PARTS][TRACE_SLOTS];
};

static void make_spread(struct spread *spread)
{
	for (unsigned bits = 0; bits < 256; bits++)
		for (unsigned bit = 0; bit < 8; bit++)
			if (bits >> bit & 1)
				spread->places[bits] |= (uint64_t)bit << 8 * spread->count[bits]++;
}

struct trace_decoder *trace_decoder_new(void)
{
	struct trace_decoder *decoder = g_new0(struct trace_decoder, 1);
	decoder->shape = g_new(struct event, TRACE_IMAGES);
	decoder->actor = g_new(quarter, TRACE_IMAGES);
	for (unsigned i = 0; i < EVENT_KINDS; i++)
		decoder->image_bytes[i] = trace_image_bytes(i);
	for (unsigned i = 0; i < TRACE_BATCH; i++)
		decoder->all.index[i] = (uint8_t)i;
	make_spread(&decoder->spread);
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

/* Every number in the planes must name one of the distinct values or images. */
static bool check_numbers(const struct cursor *cursor, GError **error)
{
	const uint8_t *p = cursor->data;
	size_t count = cursor->part.count;
	uint8_t most_of_one = 0; /* as narrow as they are: a vector of them at a time */
	uint16_t most_of_two = 0;

	if (cursor->part.width == 1)
		for (size_t i = 0; i < count; i++)
			most_of_one = MAX(most_of_one, p[i]);
	if (cursor->part.width == 2)
		for (size_t i = 0; i < count; i++)
			most_of_two = MAX(most_of_two, (uint16_t)(p[i] | p[i + count] << 8));
	return MAX(most_of_one, most_of_two) < cursor->part.low ||
	       fail(error, cursor,
		    cursor->part.coding == CODING_IMAGES ? "a number of an image is out of range"
							 : "a number of a value is out of range");
}

static bool check_lengths(const struct cursor *cursor, GError **error)
{
	uint32_t sum = 0; /* of at most TRACE_BLOCK_EVENTS bytes */
	uint8_t most = 0;

	for (uint32_t i = 0; i < cursor->part.count; i++)
		sum += cursor->lengths[i];
	for (uint32_t i = 0; i < cursor->part.count; i++)
		most = MAX(most, cursor->lengths[i]);
	if (most > sizeof(uint64_t) || sum > (size_t)(cursor->end - cursor->data))
		return fail(error, cursor, "a length is out of range");
	return sum == (size_t)(cursor->end - cursor->data) ||
	       fail(error, cursor, "bytes follow its last value");
}

/* Once for the block, so that the loops over its values need not look. */
static bool check_values(const struct cursor *cursor, GError **error)
{
	if (cursor->part.coding == CODING_LENGTHS)
		return check_lengths(cursor, error);
	return cursor->part.coding == CODING_PLANES || check_numbers(cursor, error);
}

static enum feed choose_feed(const struct cursor *cursor)
{
	const struct trace_part *part = &cursor->part;

	if (cursor->column->bytes < sizeof(uint64_t))
		return FEED_ARRAY;
	if (part->coding == CODING_LENGTHS)
		return FEED_LENGTHS;
	return part->coding == CODING_PLANES && part->width <= NARROW &&
			       part->predictor != PREDICT_NOTHING &&
			       part->low <= UINT32_MAX - ((1u << 8 * NARROW) - 1)
		       ? FEED_STEPS
		       : FEED_ARRAY;
}

static void start_predictor(struct trace_decoder *decoder, struct cursor *cursor)
{
	cursor->done = 0;
	cursor->feed = choose_feed(cursor);
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
	unpack_images(cursor, HEAD, (uint8_t *)decoder->actor + HEAD, sizeof(*decoder->actor));
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
	if (!lay_out(cursor, raw + *at, error) || !check_values(cursor, error))
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

static inline uint64_t unzigzag(uint64_t x)
{
	return (x >> 1) ^ (0 - (x & 1));
}

static inline int32_t unzigzag32(uint32_t x)
{
	return (int32_t)((x >> 1) ^ (0 - (x & 1)));
}

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

/* step[i] = stored number i, its sign unfolded, of narrow planes. A vector of them at a time. */
static void read_steps(const struct cursor *cursor, unsigned n, int32_t *restrict step)
{
	const uint8_t *first = cursor->data + cursor->done;
	const uint8_t *second = first + cursor->part.count, *third = second + cursor->part.count;
	uint32_t low = (uint32_t)cursor->part.low;

	switch (cursor->part.width) {
	case 0:
		for (unsigned i = 0; i < n; i++)
			step[i] = unzigzag32(low);
		break;
	case 1:
		for (unsigned i = 0; i < n; i++)
			step[i] = unzigzag32(low + first[i]);
		break;
	case 2:
		for (unsigned i = 0; i < n; i++)
			step[i] = unzigzag32(low + (first[i] | (uint32_t)second[i] << 8));
		break;
	default:
		for (unsigned i = 0; i < n; i++)
			step[i] = unzigzag32(low + (first[i] | (uint32_t)second[i] << 8 |
						    (uint32_t)third[i] << 16));
	}
}

/* x[i] = stored number i of one of the layouts that are rare. */
static void read_array(const struct cursor *cursor, unsigned n, uint64_t *x)
{
	read_planes(cursor, n, x);
	if (cursor->part.coding == CODING_NUMBERS)
		for (unsigned i = 0; i < n; i++)
			x[i] = trace_get64(cursor->values + 8 * x[i]);
	else
		for (unsigned i = 0; i < n; i++)
			x[i] += cursor->part.low;
}

/* ---- values out of numbers ---- */

/* Stored numbers on their way to a loop. */
struct source {
	const uint8_t *at, *length; /* FEED_LENGTHS */
	uint64_t low;		    /* the same */
	const uint64_t *x;	    /* FEED_ARRAY */
	const int32_t *step;	    /* FEED_STEPS */
};

static inline __attribute__((always_inline)) uint64_t fetch(struct source *from, enum feed feed,
							    unsigned i)
{
	static const uint64_t masks[] = {
		0,	    0xff,	  0xffff,	  0xffffff,
		0xffffffff, 0xffffffffff, 0xffffffffffff, 0xffffffffffffff,
		UINT64_MAX
	};
	if (feed == FEED_LENGTHS) {
		uint64_t number = trace_get64(from->at) & masks[from->length[i]];
		from->at += from->length[i];
		return from->low + number;
	}
	return from->x[i];
}

/* What is to be added to a predicted value, but for the scale. */
static inline __attribute__((always_inline)) uint64_t difference(struct source *from,
								 enum feed feed, unsigned i)
{
	return feed == FEED_STEPS ? (uint64_t)(int64_t)from->step[i]
				  : unzigzag(fetch(from, feed, i));
}

/* Where values go: into a field of 64 bits of the set's events, or back where they came from. */
enum way { WAY_BACK = 0, WAY_SOME, WAY_ALL };

struct sink {
	const struct event *events;
	const uint8_t *index;
	uint8_t *field; /* of event 0 */
	uint64_t *x;
};

static inline __attribute__((always_inline)) void put(const struct sink *sink, enum way way,
						      unsigned i, uint64_t value)
{
	if (way == WAY_BACK)
		sink->x[i] = value;
	else
		memcpy(sink->field + (way == WAY_ALL ? i : sink->index[i]) * sizeof(struct event),
		       &value, sizeof(value));
}

/* The last value of a slot stays in a register while events of one CPU or task follow each other.
 */
static inline __attribute__((always_inline)) void
predict_by_slot(struct cursor *cursor, struct source *from, enum feed feed, const struct sink *sink,
		unsigned n, enum way way, unsigned (*slot_of)(const struct event *))
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
		last += difference(from, feed, i) * scale;
		put(sink, way, i, last);
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

static inline __attribute__((always_inline)) void
predict(struct cursor *cursor, struct source *from, enum feed feed, const uint64_t *newest,
	const struct sink *sink, unsigned n, enum way way)
{
	uint64_t scale = cursor->part.scale, last = cursor->last;

	switch (cursor->part.predictor) {
	case PREDICT_NOTHING:
		for (unsigned i = 0; i < n; i++)
			put(sink, way, i, fetch(from, feed, i) * scale);
		break;
	case PREDICT_LAST:
		for (unsigned i = 0; i < n; i++) {
			last += difference(from, feed, i) * scale;
			put(sink, way, i, last);
		}
		cursor->last = last;
		break;
	case PREDICT_LAST_OF_CPU:
		predict_by_slot(cursor, from, feed, sink, n, way, cpu_slot);
		break;
	case PREDICT_LAST_OF_TASK:
		predict_by_slot(cursor, from, feed, sink, n, way, task_slot);
		break;
	case PREDICT_NEWEST:
		for (unsigned i = 0; i < n; i++)
			put(sink, way, i,
			    newest[sink->index[i]] + difference(from, feed, i) * scale);
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

/* One loop for each layout. */
static inline __attribute__((always_inline)) void put_long(struct trace_decoder *decoder,
							   struct cursor *cursor,
							   const struct sink *sink, unsigned n,
							   enum way way)
{
	const uint64_t *newest = decoder->newest;
	struct source from = { .at = cursor->data,
			       .length = cursor->lengths + cursor->done,
			       .low = cursor->part.low,
			       .x = decoder->value,
			       .step = decoder->step };

	switch (cursor->feed) {
	case FEED_ARRAY:
		read_array(cursor, n, decoder->value);
		predict(cursor, &from, FEED_ARRAY, newest, sink, n, way);
		break;
	case FEED_STEPS:
		read_steps(cursor, n, decoder->step);
		predict(cursor, &from, FEED_STEPS, newest, sink, n, way);
		break;
	case FEED_LENGTHS:
		predict(cursor, &from, FEED_LENGTHS, newest, sink, n, way);
		cursor->data = from.at;
		break;
	}
}

/* A field of less than 64 bits: first into an array. */
static void put_short(struct trace_decoder *decoder, struct cursor *cursor, struct event *out,
		      const struct members *set)
{
	uint64_t *x = decoder->value;
	struct source from = { .at = cursor->data,
			       .length = cursor->lengths + cursor->done,
			       .low = cursor->part.low };
	struct sink sink = { out, set->index, NULL, x };

	if (cursor->part.coding == CODING_LENGTHS) {
		for (unsigned i = 0; i < set->count; i++)
			x[i] = fetch(&from, FEED_LENGTHS, i);
		cursor->data = from.at;
	} else {
		read_array(cursor, set->count, x);
	}
	from.x = x;
	predict(cursor, &from, FEED_ARRAY, decoder->newest, &sink, set->count, WAY_BACK);
	scatter(out, set, cursor->column, x);
}

static void put_values(struct trace_decoder *decoder, struct cursor *cursor, struct event *out,
		       const struct members *set)
{
	struct sink sink = { out, set->index, (uint8_t *)out + cursor->column->offset, NULL };

	if (cursor->column->bytes < sizeof(uint64_t))
		put_short(decoder, cursor, out, set);
	else if (set == &decoder->all)
		put_long(decoder, cursor, &sink, set->count, WAY_ALL);
	else
		put_long(decoder, cursor, &sink, set->count, WAY_SOME);
}

/* ---- a batch ---- */

/* out[i] = number i of an image. */
static bool read_numbers(struct cursor *cursor, unsigned n, uint16_t *out, GError **error)
{
	const uint8_t *p = cursor->data + cursor->done;
	size_t plane = cursor->part.count;

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
	return true;
}

/* Puts the images of the batch's events together. */
static void copy_images(struct trace_decoder *decoder, struct event *out, unsigned n)
{
	const struct event *shape = decoder->shape;
	const quarter *actor = decoder->actor;
	const uint16_t *shape_number = decoder->shape_number, *actor_number = decoder->actor_number;
	uint8_t *kind = decoder->kind;

	for (unsigned i = 0; i < n; i++) {
		const struct event *image = &shape[shape_number[i]];
		quarter first = ((const quarter *)(const void *)image)[0] | actor[actor_number[i]];
		memcpy(&out[i], &first, sizeof(first));
		memcpy(&out[i].u, &image->u, sizeof(image->u));
		kind[i] = image->kind;
	}
	memset(kind + n, EVENT_NONE, TRACE_BATCH - n);
	decoder->all.count = n;
	decoder->some_kinds = decoder->known_kinds = 0;
}

/* Bit i of the set = event i is of that kind. */
static void find_kind(struct trace_decoder *decoder, unsigned kind)
{
	for (unsigned word = 0; word < SET_WORDS; word++) {
		const uint8_t *at = decoder->kind + 64 * word;
		uint64_t bits = 0;
#ifdef __SSE2__
		for (unsigned i = 0; i < 64; i += 16) {
			__m128i same = _mm_cmpeq_epi8(_mm_load_si128((const __m128i *)(at + i)),
						      _mm_set1_epi8((char)kind));
			bits |= (uint64_t)(unsigned)_mm_movemask_epi8(same) << i;
		}
#else
		for (unsigned i = 0; i < 64; i++)
			bits |= (uint64_t)(at[i] == kind) << i;
#endif
		decoder->of_kind[kind][word] = bits;
	}
	decoder->known_kinds |= 1u << kind;
}

static const struct members *members_of(struct trace_decoder *decoder, uint32_t kinds)
{
	struct members *set = &decoder->some;
	uint64_t bits[SET_WORDS] = { 0 }, any = 0;
	unsigned count = 0;

	if (kinds == decoder->kinds)
		return &decoder->all;
	/* Columns of the same kinds stand side by side. */
	if (kinds == decoder->some_kinds)
		return set;
	decoder->some_kinds = kinds;
	for (uint32_t left = kinds; left; left &= left - 1) {
		unsigned kind = (unsigned)__builtin_ctz(left);
		if (!(decoder->known_kinds >> kind & 1))
			find_kind(decoder, kind);
		for (unsigned word = 0; word < SET_WORDS; word++)
			bits[word] |= decoder->of_kind[kind][word];
	}
	set->count = 0;
	for (unsigned word = 0; word < SET_WORDS; word++)
		any |= bits[word];
	if (!any)
		return set;
	/* Eight events at a time, whether they are members or not: no branch to guess wrong. */
	for (unsigned first = 0; first < TRACE_BATCH; first += 8) {
		uint8_t eight = (uint8_t)(bits[first / 64] >> first % 64);
		trace_put64(set->index + count,
			    decoder->spread.places[eight] + first * UINT64_C(0x0101010101010101));
		count += decoder->spread.count[eight];
	}
	set->count = count;
	return set;
}

/* newest[i] = the handle that the last allocation before event i gave out. Without a branch: which
 * events are allocations is hard to guess. */
static void learn_newest(struct trace_decoder *decoder, struct cursor *cursor,
			 const struct event *out)
{
	const uint32_t gives = 1u << EVENT_FRAME_ALLOC | 1u << EVENT_HEAP_ALLOC;
	uint64_t newest = cursor->last;
	for (unsigned i = 0; i < decoder->all.count; i++) {
		uint64_t given = 0 - (uint64_t)(gives >> decoder->kind[i] & 1);
		decoder->newest[i] = newest;
		newest = (newest & ~given) | (out[i].u.frame.handle & given);
	}
	cursor->last = newest;
}

static bool decode_column(struct trace_decoder *decoder, struct cursor *cursor, struct event *out,
			  GError **error)
{
	const struct members *set = members_of(decoder, cursor->kinds);

	if (cursor->part.predictor == PREDICT_NEWEST)
		learn_newest(decoder, cursor, out);
	if (set->count == 0)
		return true;
	if (set->count > cursor->part.count - cursor->done)
		return fail(error, cursor, "it has too few values");
	put_values(decoder, cursor, out, set);
	cursor->done += set->count;
	return true;
}

static bool used_up(const struct trace_decoder *decoder, GError **error)
{
	for (unsigned i = 0; i < decoder->cursors; i++) {
		const struct cursor *cursor = &decoder->cursor[i];
		if (cursor->done != cursor->part.count)
			return fail(error, cursor, "it has too many values");
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
		decoder->actor[0] = (quarter){ 0, 0 };
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
