#include "workloads/generate/distribution.h"

#include <stddef.h>

/* 2^(1/2), 2^(1/4), 2^(1/8), ... times 2^62, rounded down. */
static const uint64_t root[32] = {
	0x5a827999fcef3242, 0x4c1bf828c6dc54b7, 0x45cae0f1f545eb73, 0x42d561b3e6243d8a,
	0x4166c34c5615d0eb, 0x40b268f9de0183b9, 0x4058f6a7ecccd5b6, 0x402c6be96af2fb58,
	0x4016321b687027a8, 0x400b18178ba33b14, 0x40058bce410147e8, 0x4002c5d7bff71dae,
	0x400162e807ee7e5b, 0x4000b1730df6a524, 0x400058b9497b8151, 0x40002c5c955dd701,
	0x4000162e46d6f26b, 0x40000b1722757b1b, 0x4000058b90fd3e0c, 0x400002c5c86f3f26,
	0x40000162e433c79b, 0x400000b17218edcf, 0x40000058b90c3968, 0x4000002c5c860d54,
	0x400000162e4302d2, 0x4000000b17218073, 0x400000058b90bffc, 0x40000002c5c85fee,
	0x4000000162e42ff3, 0x40000000b17217f8, 0x4000000058b90bfc, 0x400000002c5c85fe,
};

/* ln 2 times 2^32. */
#define LN2 UINT64_C(2977044471)

static uint64_t multiply_shift(uint64_t a, uint64_t b, unsigned shift)
{
	return (uint64_t)(((unsigned __int128)a * b) >> shift);
}

uint64_t fixed_log2(uint64_t x)
{
	unsigned whole = 63 - (unsigned)__builtin_clzll(x);
	uint64_t mantissa = x << (63 - whole); /* 1 <= m < 2 in units of 2^-63 */
	uint64_t fraction = 0;

	/* Squaring doubles the logarithm: its next bit is whether that reaches 2. */
	for (unsigned bit = 0; bit < 32; bit++) {
		unsigned __int128 square = (unsigned __int128)mantissa * mantissa;
		bool reaches = square >> 127;
		mantissa = (uint64_t)(square >> (reaches ? 64 : 63));
		fraction = fraction << 1 | reaches;
	}
	return ((uint64_t)whole << 32) + fraction;
}

uint64_t fixed_exp2(uint64_t e)
{
	uint64_t whole = e >> 32;
	uint64_t mantissa = UINT64_C(1) << 62;

	if (whole > 63)
		return UINT64_MAX;
	for (unsigned bit = 0; bit < 32; bit++)
		if (e >> (31 - bit) & 1)
			mantissa = multiply_shift(mantissa, root[bit], 62);
	return whole >= 62 ? mantissa << (whole - 62) : mantissa >> (62 - whole);
}

/* -log2(u) in units of 2^-32, for u uniform in (0, 1]. */
static uint64_t draw_bits(struct random *random)
{
	return (UINT64_C(64) << 32) - fixed_log2(random_next(random) | 1);
}

uint64_t draw_exponential(struct random *random, uint64_t mean)
{
	return multiply_shift(multiply_shift(draw_bits(random), LN2, 32), mean, 32);
}

uint64_t draw_uniform(struct random *random, uint64_t least, uint64_t most)
{
	return least + random_below(random, most - least + 1);
}

bool draw_chance(struct random *random, uint64_t part, uint64_t whole)
{
	return random_below(random, whole) < part;
}

struct pareto pareto_new(uint64_t least, uint64_t most, uint64_t alpha_hundredths)
{
	struct pareto pareto = { least, most, alpha_hundredths, UINT64_MAX };
	uint64_t span = (fixed_log2(most) - fixed_log2(least)) * alpha_hundredths / 100;

	if (span > 0)
		pareto.rarest =
			span >= UINT64_C(64) << 32 ? 0 : fixed_exp2((UINT64_C(64) << 32) - span);
	return pareto;
}

uint64_t pareto_draw(const struct pareto *pareto, struct random *random)
{
	if (pareto->least == pareto->most)
		return pareto->least;
	/* v = 1 - u (1 - rarest), in units of 2^-64, from rarest to 1. */
	uint64_t v = pareto->rarest + random_below(random, UINT64_MAX - pareto->rarest) + 1;
	uint64_t bits = (UINT64_C(64) << 32) - fixed_log2(v);
	/* least * 2^y, in one power, so that y keeps its fraction. */
	uint64_t x = fixed_exp2(fixed_log2(pareto->least) + bits * 100 / pareto->alpha);

	return x < pareto->least ? pareto->least : x > pareto->most ? pareto->most : x;
}
