#include "workloads/import/line_shape.h"

G_STATIC_ASSERT(SHAPE_BYTES <= UINT8_MAX && SHAPE_BYTES % WIDE_BYTES == 0);

bool line_shape_make(struct line_shape *shape, struct span line, const struct shape_number *number,
		     unsigned numbers)
{
	size_t bytes = span_bytes(line);

	shape->bytes = 0;
	if (bytes > SHAPE_BYTES || numbers > SHAPE_NUMBERS)
		return false;
	memset(shape->mask, 0, sizeof shape->mask);
	memset(shape->mask, 0xff, bytes);
	memcpy(shape->text, line.begin, bytes);
	for (unsigned i = 0; i < numbers; i++) {
		if (number[i].digits == 0 || number[i].digits > WIDE_BYTES ||
		    number[i].at + number[i].digits > bytes)
			return false;
		memset(shape->mask + number[i].at, 0, number[i].digits);
		shape->number[i] = number[i];
		/* No digits: the next line's are read. */
		shape->number[i].last = 0;
	}
	shape->numbers = (uint8_t)numbers;
	shape->bytes = (uint8_t)bytes;
	return true;
}
