#include "workloads/import/text.h"

#include <string.h>
#include "workloads/import/gfp.h"

bool text_starts(struct span text, const char *with)
{
	size_t bytes = strlen(with);
	return span_bytes(text) >= bytes && memcmp(text.begin, with, bytes) == 0;
}

bool text_ends(struct span text, const char *with)
{
	size_t bytes = strlen(with);
	return span_bytes(text) >= bytes && memcmp(text.end - bytes, with, bytes) == 0;
}

const uint8_t text_hex_digits[256] = {
	['0'] = 1,  ['1'] = 2,	['2'] = 3,  ['3'] = 4,	['4'] = 5,  ['5'] = 6,
	['6'] = 7,  ['7'] = 8,	['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12,
	['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16, ['A'] = 11, ['B'] = 12,
	['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

static bool is_word(struct span text, const char *word)
{
	size_t bytes = strlen(word);
	return span_bytes(text) == bytes && memcmp(text.begin, word, bytes) == 0;
}

static bool word_number(struct span text, uint64_t *value)
{
	*value = is_word(text, "true");
	return *value || is_word(text, "false") || is_word(text, "(nil)") ||
	       is_word(text, "(null)");
}

static bool decimal(struct span text, uint64_t *value)
{
	uint64_t number = 0;

	/* 19 digits always fit; the 20th may not. */
	if (text.begin == text.end || span_bytes(text) > 19)
		return false;
	for (const char *p = text.begin; p < text.end; p++) {
		if (!text_is_digit(*p))
			return false;
		number = number * 10 + (uint64_t)(*p - '0');
	}
	*value = number;
	return true;
}

static bool hexadecimal(struct span text, uint64_t *value)
{
	uint64_t number = 0;

	if (text.begin == text.end || span_bytes(text) > 16)
		return false;
	for (const char *p = text.begin; p < text.end; p++) {
		unsigned digit = text_hex_digits[(unsigned char)*p];
		if (digit == 0)
			return false;
		number = number << 4 | (digit - 1);
	}
	*value = number;
	return true;
}

static bool behind_0x(struct span *text)
{
	if (span_bytes(*text) < 2 || text->begin[0] != '0' || text->begin[1] != 'x')
		return false;
	text->begin += 2;
	return true;
}

bool text_number(struct span text, uint64_t *value)
{
	if (behind_0x(&text))
		return hexadecimal(text, value);
	if (decimal(text, value))
		return true;
	if (text.begin < text.end && *text.begin == '-') {
		text.begin++;
		if (!decimal(text, value))
			return false;
		*value = -*value;
		return true;
	}
	return word_number(text, value);
}

bool text_pointer(struct span text, uint64_t *value)
{
	behind_0x(&text);
	return hexadecimal(text, value) || word_number(text, value);
}

static const char *until(const char *p, const char *end, const char *stops)
{
	while (p < end && !strchr(stops, *p))
		p++;
	return p;
}

/* "(a ~ b)" behind a '='. Returns its end. */
static const char *range_values(const char *p, const char *end, uint64_t *values, uint32_t room,
				uint32_t *count)
{
	const char *close = until(p, end, ")");

	while (p < close && *count < room) {
		const char *stop = until(p, close, " ~");
		if (text_number((struct span){ p, stop }, &values[*count]))
			++*count;
		p = stop + 1;
	}
	return close;
}

uint32_t text_values(struct span text, uint64_t *values, uint32_t room)
{
	uint32_t count = 0;
	const char *p = text.begin;

	memset(values, 0, room * sizeof *values);
	while (count < room) {
		const char *equals = memchr(p, '=', (size_t)(text.end - p));
		if (!equals)
			break;
		const char *value = equals + 1;
		if (value < text.end && *value == '(') {
			p = range_values(value + 1, text.end, values, room, &count);
			continue;
		}
		p = until(value, text.end, " ,");
		struct span word = { value, p };
		uint32_t gfp;
		if (text_number(word, &values[count]))
			count++;
		else if (span_bytes(word) == 16 && hexadecimal(word, &values[count]))
			count++; /* a pointer as `cat trace` prints it */
		else if (gfp_parse(word.begin, span_bytes(word), &gfp))
			values[count++] = gfp;
	}
	if (count < room)
		values[count] = 0; /* a failed attempt may have left something */
	return count;
}

bool text_between(struct span text, const char *key, const char *stop, struct span *out)
{
	size_t key_bytes = strlen(key), stop_bytes = strlen(stop);
	const char *found = memmem(text.begin, span_bytes(text), key, key_bytes);

	if (!found)
		return false;
	*out = (struct span){ found + key_bytes, text.end };
	for (const char *p = out->begin; (size_t)(text.end - p) >= stop_bytes; p++) {
		p = memmem(p, (size_t)(text.end - p), stop, stop_bytes);
		if (!p)
			break;
		out->end = p;
	}
	return true;
}
