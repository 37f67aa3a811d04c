/*
 * line_shape.h - lines of a recording that differ from an earlier one in digits alone.
 *
 * A recorder prints by a few formats, so most lines repeat one seen before, but for their numbers.
 * A shape is such a line with the places of its numbers, as whoever has read it word by word found
 * them. A line of the same length, with the same bytes around the numbers and as many digits in
 * each, would be read in the same way: its numbers are taken from their places, all at once. Any
 * other line does not match.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_LINE_SHAPE_H
#define KMEMLAB_WORKLOADS_IMPORT_LINE_SHAPE_H

#include "workloads/import/wide.h"

enum { SHAPE_BYTES = 192, SHAPE_NUMBERS = 12 };

enum shape_kind {
	SHAPE_DECIMAL = 0,
	SHAPE_HEX,
	SHAPE_WORD /* anything but blanks, of no worth */
};

/* Digits in a line. */
struct shape_number {
	uint8_t at, digits; /* columns */
	uint8_t kind;	    /* enum shape_kind */
	uint64_t value;	    /* in the line read last */
	uint64_t last;	    /* their first eight bytes there */
};

struct line_shape {
	uint8_t bytes; /* of the line; 0: none yet */
	uint8_t numbers;
	struct shape_number number[SHAPE_NUMBERS];
	char text[SHAPE_BYTES];
	char mask[SHAPE_BYTES]; /* all bits: the line must have the byte of the text */
};

/* Makes the shape of LINE, NUMBERS of it having their places and kinds. Returns false, with a shape
 * that nothing matches, if the line is too long, or one of its numbers has no digit or more than
 * sixteen. */
bool line_shape_make(struct line_shape *shape, struct span line, const struct shape_number *number,
		     unsigned numbers);

static inline bool line_shape_matches(const struct line_shape *shape, struct span line)
{
	if (shape->bytes != span_bytes(line) || shape->bytes == 0)
		return false;
#ifdef __SSE2__
	__m128i differ = _mm_setzero_si128();
	for (unsigned at = 0; at < SHAPE_BYTES; at += WIDE_BYTES) {
		__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(line.begin + at));
		__m128i text = _mm_loadu_si128((const __m128i *)(const void *)(shape->text + at));
		__m128i mask = _mm_loadu_si128((const __m128i *)(const void *)(shape->mask + at));
		differ = _mm_or_si128(differ, _mm_and_si128(_mm_xor_si128(bytes, text), mask));
	}
	return _mm_movemask_epi8(_mm_cmpeq_epi8(differ, _mm_setzero_si128())) == 0xffff;
#else
	unsigned differ = 0;
	for (unsigned at = 0; at < shape->bytes; at++)
		differ |= (unsigned)((line.begin[at] ^ shape->text[at]) & shape->mask[at]);
	return differ == 0;
#endif
}

/* Most numbers are those of the line before. */
static inline bool line_shape_number(struct shape_number *number, const char *at)
{
	const char *end = at + number->digits;
	uint64_t first, value;

	memcpy(&first, at, sizeof first);
	if (number->digits <= sizeof first &&
	    GUINT64_FROM_LE(first ^ number->last) << (64 - 8 * number->digits) == 0)
		return true;
	if (number->kind == SHAPE_WORD)
		return wide_word_end(at, end) == end;
	if ((number->kind == SHAPE_HEX ? wide_hex_digits(at, end, &value)
				       : wide_digits(at, end, &value)) != end)
		return false;
	number->last = first;
	number->value = value;
	return true;
}

/* Whether LINE is of this shape; then the shape has its numbers. */
static inline bool line_shape_read(struct line_shape *shape, struct span line)
{
	bool fits = line_shape_matches(shape, line);

	for (unsigned i = 0; fits && i < shape->numbers; i++)
		fits = line_shape_number(&shape->number[i], line.begin + shape->number[i].at);
	return fits;
}

#endif
