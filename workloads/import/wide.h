/*
 * wide.h - the words and numbers of a line, sixteen bytes at a time and without a branch a digit.
 *
 * Everything here may read WIDE_SLACK bytes behind the end that it is given, and makes nothing of
 * them; lines.h hands out lines behind which so much can be read.
 *
 * The arithmetic on eight digits in a word is folklore (Lemire, "Quickly parsing eight digits",
 * 2018; Mula, "SIMD-ized parsing of hexadecimal digits", 2017).
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_WIDE_H
#define KMEMLAB_WORKLOADS_IMPORT_WIDE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include "workloads/import/text.h"

enum { WIDE_BYTES = 16, WIDE_SLACK = 256 };

#define WIDE_ONES UINT64_C(0x0101010101010101)

/* Bit i: byte i of the sixteen at P is C. */
static inline unsigned wide_equal(const char *p, char c)
{
#ifdef __SSE2__
	__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
	return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(c)));
#else
	unsigned mask = 0;
	for (unsigned i = 0; i < WIDE_BYTES; i++)
		mask |= (unsigned)(p[i] == c) << i;
	return mask;
#endif
}

/* Whether the first BYTES, at most sixteen, at A and B are the same. */
static inline bool wide_same(const char *a, const char *b, size_t bytes)
{
#ifdef __SSE2__
	__m128i left = _mm_loadu_si128((const __m128i *)(const void *)a);
	__m128i right = _mm_loadu_si128((const __m128i *)(const void *)b);
	unsigned differ = ~(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(left, right));
	return (differ & ((1u << bytes) - 1)) == 0;
#else
	return memcmp(a, b, bytes) == 0;
#endif
}

/* The first C in [p, end), NULL if there is none. */
static inline const char *wide_find(const char *p, const char *end, char c)
{
	for (; p < end; p += WIDE_BYTES) {
		unsigned mask = wide_equal(p, c);
		if (mask == 0)
			continue;
		p += __builtin_ctz(mask);
		return p < end ? p : NULL;
	}
	return NULL;
}

/* Bit i: byte i of the 64 at P is C. */
static inline uint64_t wide_equal_64(const char *p, char c)
{
	return (uint64_t)wide_equal(p, c) | (uint64_t)wide_equal(p + 16, c) << 16 |
	       (uint64_t)wide_equal(p + 32, c) << 32 | (uint64_t)wide_equal(p + 48, c) << 48;
}

/* Where the word at P ends: at a blank or at END. */
static inline const char *wide_word_end(const char *p, const char *end)
{
	const char *blank = wide_find(p, end, ' ');
	return blank ? blank : end;
}

/* The worth of eight digits, each a byte from 0 to 9, the first one in the lowest byte: pairs, then
 * fours, then eight, each step adding to a part ten, a hundred ... times what stands before it. */
static inline uint64_t wide_eight_digits(uint64_t digits)
{
	digits = digits * 10 + (digits >> 8);
	return ((digits & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x000f424000000064) +
		(digits >> 16 & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x0000271000000001)) >>
	       32;
}

/* As text_digits(). */
static inline const char *wide_digits(const char *p, const char *end, uint64_t *value)
{
	uint64_t word;

	memcpy(&word, p, sizeof word);
	word = GUINT64_FROM_LE(word) ^ WIDE_ONES * '0';
	/* The top bit of each byte that is above 9. */
	uint64_t other = ((word & WIDE_ONES * 0x7f) + WIDE_ONES * (0x7f - 9)) | word;
	other &= WIDE_ONES << 7;
	if (other == 0)
		return text_digits(p, end, value);
	unsigned digits = (unsigned)__builtin_ctzll(other) / 8;
	digits = MIN(digits, (unsigned)MIN(end - p, 8));
	*value = wide_eight_digits(word << 8 << (56 - 8 * digits));
	return p + digits;
}

/* The hexadecimal digits at P, at most sixteen. Returns their end. */
static inline const char *wide_hex_digits(const char *p, const char *end, uint64_t *value)
{
#ifdef __SSE2__
	__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i digit = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
	__m128i letter = _mm_sub_epi8(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
	__m128i is_digit = _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit);
	__m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(5)), letter);
	unsigned other =
		~(unsigned)_mm_movemask_epi8(_mm_or_si128(is_digit, is_letter)) | 1u << WIDE_BYTES;
	unsigned digits = MIN((unsigned)__builtin_ctz(other), (unsigned)MIN(end - p, WIDE_BYTES));
	/* Four bits a byte, then eight in each pair of bytes, the first pair in the lowest byte. */
	__m128i four =
		_mm_or_si128(_mm_and_si128(is_digit, digit),
			     _mm_and_si128(is_letter, _mm_add_epi8(letter, _mm_set1_epi8(10))));
	__m128i pairs =
		_mm_and_si128(_mm_or_si128(_mm_slli_epi16(four, 4), _mm_srli_epi16(four, 8)),
			      _mm_set1_epi16(0xff));
	uint64_t all = (uint64_t)_mm_cvtsi128_si64(_mm_packus_epi16(pairs, pairs));
	all = __builtin_bswap64(all);
	*value = digits ? all >> (64 - 4 * digits) : 0;
	return p + digits;
#else
	const char *begin = p;
	unsigned digit;

	for (*value = 0;
	     p < end && p - begin < WIDE_BYTES && (digit = text_hex_digits[(unsigned char)*p]) != 0;
	     p++)
		*value = *value << 4 | (digit - 1);
	return p;
#endif
}

/* The number at P up to a blank or the end: decimal, or hexadecimal behind 0x (or without, if HEX).
 * Returns its end; NULL for anything else, which text_number() may still know. */
static inline const char *wide_plain_number(const char *p, const char *end, bool hex,
					    uint64_t *value)
{
	const char *begin, *next;

	if (end - p > 2 && p[0] == '0' && p[1] == 'x') {
		p += 2;
		hex = true;
	}
	begin = p;
	next = hex ? wide_hex_digits(p, end, value) : wide_digits(p, end, value);
	/* Nineteen digits always fit. */
	if (next == begin || next - begin > 19 || (next < end && *next != ' '))
		return NULL;
	return next;
}

#endif
