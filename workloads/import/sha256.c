#include "workloads/import/sha256.h"

#include <stdbool.h>
#include <string.h>

#define BLOCK 64

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>

/* FIPS 180-4, 4.2.2. */
static const uint32_t constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
	0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
	0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
	0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
	0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
	0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
	0xc67178f2,
};

static bool has_instructions(void)
{
	unsigned eax, ebx, ecx, edx;

	/* CPUID leaf 7, EBX bit 29: SHA extensions (Intel SDM 2A). */
	return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx >> 29 & 1) &&
	       __builtin_cpu_supports("sse4.1");
}

/* Intel SDM 2B, SHA256RNDS2: the state is kept as ABEF and CDGH. */
__attribute__((target("sha,sse4.1"))) static void
hash_blocks(uint32_t state[8], const unsigned char *data, size_t blocks)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
	__m128i low =
		_mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(const void *)state), 0xb1);
	__m128i high = _mm_shuffle_epi32(
		_mm_loadu_si128((const __m128i *)(const void *)(state + 4)), 0x1b);
	__m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xf0);

	for (; blocks > 0; blocks--, data += BLOCK) {
		__m128i old_abef = abef, old_cdgh = cdgh, word[4];

		for (int i = 0; i < 4; i++)
			word[i] = _mm_shuffle_epi8(
				_mm_loadu_si128((const __m128i *)(const void *)(data + 16 * i)),
				swap);
			/* Unrolled, the words stay in registers. */
#pragma GCC unroll 16
		for (int i = 0; i < 16; i++) {
			__m128i now = word[i & 3];
			__m128i sum = _mm_add_epi32(
				now, _mm_loadu_si128(
					     (const __m128i *)(const void *)(constants + 4 * i)));
			cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
			abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
			/* The words of sixteen rounds later take the place of these. */
			__m128i next = _mm_add_epi32(
				_mm_sha256msg1_epu32(now, word[(i + 1) & 3]),
				_mm_alignr_epi8(word[(i + 3) & 3], word[(i + 2) & 3], 4));
			word[i & 3] = _mm_sha256msg2_epu32(next, word[(i + 3) & 3]);
		}
		abef = _mm_add_epi32(abef, old_abef);
		cdgh = _mm_add_epi32(cdgh, old_cdgh);
	}
	low = _mm_shuffle_epi32(abef, 0x1b);
	high = _mm_shuffle_epi32(cdgh, 0xb1);
	_mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(low, high, 0xf0));
	_mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(high, low, 8));
}
#else
static bool has_instructions(void)
{
	return false;
}

static void hash_blocks(uint32_t state[8], const unsigned char *data, size_t blocks)
{
	g_assert_not_reached();
}
#endif

void sha256_init(struct sha256 *sum)
{
	/* FIPS 180-4, 5.3.3. */
	static const uint32_t first[8] = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19 };

	sum->portable = has_instructions() ? NULL : g_checksum_new(G_CHECKSUM_SHA256);
	memcpy(sum->state, first, sizeof first);
	sum->bytes = 0;
}

void sha256_fini(struct sha256 *sum)
{
	if (sum->portable)
		g_checksum_free(sum->portable);
	sum->portable = NULL;
}

void sha256_update(struct sha256 *sum, const void *data, size_t bytes)
{
	const unsigned char *at = data;
	size_t kept = sum->bytes % BLOCK;

	if (sum->portable) {
		g_checksum_update(sum->portable, at, (gssize)bytes);
		return;
	}
	sum->bytes += bytes;
	if (kept > 0) {
		size_t some = MIN(BLOCK - kept, bytes);
		memcpy(sum->rest + kept, at, some);
		at += some;
		bytes -= some;
		if (kept + some < BLOCK)
			return;
		hash_blocks(sum->state, sum->rest, 1);
	}
	hash_blocks(sum->state, at, bytes / BLOCK);
	memcpy(sum->rest, at + bytes / BLOCK * BLOCK, bytes % BLOCK);
}

char *sha256_finish(struct sha256 *sum)
{
	static const unsigned char padding[BLOCK] = { 0x80 };
	uint64_t bits = GUINT64_TO_BE(sum->bytes * 8);
	GString *hex = g_string_sized_new(64);

	if (sum->portable) {
		g_string_append(hex, g_checksum_get_string(sum->portable));
		return g_string_free(hex, FALSE);
	}
	/* One bit, zeros, and the length, up to a whole block. */
	sha256_update(sum, padding, 1 + (BLOCK + 55 - sum->bytes % BLOCK) % BLOCK);
	sha256_update(sum, &bits, sizeof bits);
	for (int i = 0; i < 8; i++)
		g_string_append_printf(hex, "%08x", sum->state[i]);
	return g_string_free(hex, FALSE);
}
