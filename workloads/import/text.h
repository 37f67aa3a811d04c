/*
 * text.h - numbers and fields in the texts that recorders print.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_TEXT_H
#define KMEMLAB_WORKLOADS_IMPORT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A piece of a line: [begin, end). */
struct span {
	const char *begin, *end;
};

static inline size_t span_bytes(struct span span)
{
	return (size_t)(span.end - span.begin);
}

static inline bool text_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline const char *text_skip_blanks(const char *p, const char *end)
{
	while (p < end && *p == ' ')
		p++;
	return p;
}

bool text_starts(struct span text, const char *with);
bool text_ends(struct span text, const char *with);
/* The decimal digits at P; a number that does not fit comes out absurdly large. Returns their end.
 */
static inline const char *text_digits(const char *p, const char *end, uint64_t *value)
{
	const char *begin = p;
	uint64_t number = 0;

	for (; p < end && text_is_digit(*p); p++)
		number = number * 10 + (uint64_t)(*p - '0');
	/* 19 digits always fit. */
	*value = p - begin <= 19 ? number : UINT64_MAX / 10;
	return p;
}

/* One more than the worth of a digit, 0 for what is none. */
extern const uint8_t text_hex_digits[256];

/* The whole of TEXT as a number: decimal, negative, or hexadecimal behind 0x. "true", "false",
 * "(nil)" and "(null)" count as 1 and 0. Returns false for anything else, or more than 64 bits. */
bool text_number(struct span text, uint64_t *value);
/* The same, but a number without 0x is hexadecimal, as the kernel prints pointers. */
bool text_pointer(struct span text, uint64_t *value);
/* The first ROOM numbers among the "key=value" of an event's text, "(a ~ b)" being two of them; gfp
 * flags by name count as their bits, other words not at all. Returns how many. */
uint32_t text_values(struct span text, uint64_t *values, uint32_t room);
/* The text between the first KEY ("comm=") and the last STOP (" pid=") behind it, up to the end if
 * there is no STOP. Returns false without KEY. */
bool text_between(struct span text, const char *key, const char *stop, struct span *out);

#endif
