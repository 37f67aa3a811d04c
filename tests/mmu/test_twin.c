/*
 * Every TLB counter equals that of a naive simulator (twin.c), on random accesses with
 * invalidations and on a real program's references, for three geometries. `slow` as an argument
 * takes the whole recorded trace, otherwise a slice; without the recording that part is skipped.
 */
#include <stdio.h>
#include <unistd.h>

#include "tests/mmu/bench.h"
#include "tests/mmu/twin.h"
#include "tests/mmu/zst.h"

#define TABLE_BYTES   (16u << 20) /* tables in the first 16 MiB of RAM, data in the rest */
#define TWIN_RAM      (64u << 20)
#define RANDOM_STEPS  400000u
#define SLICE_BYTES   (6u << 20)
#define COMPARE_EVERY 65536u

static bool whole;

static const char *const geometries[] = { "tiny", "skylake", "zen4" };

static struct bench b;
static struct twin *twin;

/* Which size a page has is a fixed property of its address: one region in four is large. */
static unsigned page_shift(uint64_t va)
{
	if ((va >> 30) * 0x9e3779b97f4a7c15ull >> 61 == 0)
		return 30;
	return (va >> 21) * 0x9e3779b97f4a7c15ull >> 62 == 0 ? 21 : 12;
}

static uint64_t *entry_of(uint64_t va, unsigned leaf)
{
	uint64_t table = ROOT;

	for (unsigned level = 3;; level--) {
		uint64_t *entry =
			(uint64_t *)(void *)(b.ram.bytes + table) + (va >> (12 + 9 * level) & 511);

		if (level == leaf)
			return entry;
		if (!(*entry & P)) {
			*entry = bench_table(&b) | PWU | A;
			demand(b.next_table <= TABLE_BYTES, "out of tables");
		}
		table = *entry & 0xffffffffff000ull;
	}
}

/* Map on first touch, outside of what is counted. */
static uint64_t *touch_page(uint64_t va)
{
	unsigned shift = page_shift(va);
	uint64_t *entry = entry_of(va, (shift - 12) / 9);
	uint64_t data = TWIN_RAM - TABLE_BYTES;

	if (!(*entry & P)) {
		uint64_t page = shift == 30 ? 0 : TABLE_BYTES + (va >> shift << shift) % data;

		*entry = page >> shift << shift | PWU | (shift > 12 ? PS : 0);
	}
	return entry;
}

static struct twin_page describe(void *context, uint64_t va)
{
	uint64_t entry = *touch_page(va);

	return (struct twin_page){ page_shift(va), (entry & D) != 0, !(entry & A) };
}

static void setup(unsigned geometry)
{
	memset(&b, 0, sizeof(b));
	b.ram.bytes = aligned_alloc(4096, TWIN_RAM);
	b.ram.bytes_size = TWIN_RAM;
	memset(b.ram.bytes, 0, TABLE_BYTES);
	b.config = *mmu_preset(geometries[geometry]);
	b.cpu = bench_cpu(&b, 0);
	b.next_table = ROOT + 0x1000;
	bench_mode(&b, MMU_MODE_4LEVEL);
	mmu_reset_statistics(b.cpu);
	twin = twin_new(&b.config, describe, NULL);
}

static void teardown(void)
{
	twin_free(twin);
	bench_fini(&b);
}

static void compare(const char *what)
{
	struct mmu_statistics got = stats_of(&b);
	const struct mmu_statistics *want = twin_counts(twin);

#define SAME(field)                                                            \
	demand(got.field == want->field, "%s: " #field " %lu, want %lu", what, \
	       (unsigned long)got.field, (unsigned long)want->field)
	SAME(data_lookups);
	SAME(fetch_lookups);
	SAME(l1_data_misses);
	SAME(l1_fetch_misses);
	SAME(l2_hits);
	SAME(walks);
	SAME(dirty_walks);
	SAME(entry_reads);
	for (unsigned level = 0; level < MMU_LEVELS_MAX; level++)
		SAME(psc_hits[level]);
	SAME(accessed_writes);
	SAME(dirty_writes);
	SAME(l1_evictions);
	SAME(l2_evictions);
#undef SAME
}

/* The twin goes first: it reads A and D as they are before the access. */
static void both(uint64_t va, uint32_t bytes, unsigned kind)
{
	struct mmu_access access = { (uint8_t)kind, MMU_USER, 0 };
	uint64_t last = va + bytes - 1;
	bool write = kind == MMU_WRITE || kind == MMU_RMW;

	touch_page(va);
	touch_page(last);
	twin_access(twin, va, kind == MMU_FETCH, write);
	if (va >> 12 != last >> 12) {
		/* The same large page twice: the first half's effects must be in memory. */
		uint64_t saved = *touch_page(va);

		*touch_page(va) |= A | (write ? D : 0);
		twin_access(twin, last >> 12 << 12, kind == MMU_FETCH, write);
		*touch_page(va) = saved;
	}
	demand(mmu_translate(b.cpu, (struct vaddr){ va }, bytes, access, &b.result) == 0,
	       "va %lx faults", va);
}

static uint64_t random64(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

START_TEST(counters_equal_on_random_accesses)
{
	static const uint8_t kinds[] = { MMU_READ,  MMU_READ,  MMU_READ, MMU_WRITE,
					 MMU_FETCH, MMU_FETCH, MMU_RMW,	 MMU_READ };
	uint64_t seed = 88172645463325252;

	setup(_i);
	for (unsigned n = 0; n < RANDOM_STEPS; n++) {
		uint64_t r = random64(&seed);
		/* One of 2^k pages, k drawn anew: near pages often, far ones seldom. */
		uint64_t page = (r >> 32) & ((1ull << (r % 11)) - 1);
		uint64_t va = (r & 0x60000000000) | page * (r >> 62 ? 0x201000 : 0x1000) |
			      (r >> 20 & 0xfff);

		both(va, 1 + (r >> 16 & 7), kinds[r >> 13 & 7]);
		if (n % 997 == 0) {
			mmu_invlpg(b.cpu, (struct vaddr){ va });
			twin_invlpg(twin, va);
		}
		if (n % 9973 == 0) {
			demand_eq(mmu_write_cr3(b.cpu, ROOT).vector, 0);
			twin_flush(twin);
		}
		if (n % COMPARE_EVERY == 0)
			compare(geometries[_i]);
	}
	compare(geometries[_i]);
	teardown();
}
END_TEST

/* One line of a lackey trace: "I  0401ab70,3", " S 1fff0006a8,8", " L ", " M ". */
static const char *one_reference(const char *line)
{
	static const char letters[] = {
		[MMU_READ] = 'L', [MMU_WRITE] = 'S', [MMU_FETCH] = 'I', [MMU_RMW] = 'M'
	};
	const char *end = strchr(line, '\n');
	char letter = line[0] == ' ' ? line[1] : line[0];
	unsigned kind = 0;
	char *comma;
	uint64_t va;
	uint32_t bytes;

	if (end == NULL)
		return NULL;
	if (line[0] == '=')
		return end + 1;
	while (kind < MMU_KINDS && letters[kind] != letter)
		kind++;
	if (kind == MMU_KINDS)
		return end + 1;
	va = strtoull(line + 2, &comma, 16);
	bytes = (uint32_t)strtoul(comma + 1, NULL, 10);
	both(va, bytes > MMU_ACCESS_MAX_BYTES ? MMU_ACCESS_MAX_BYTES : bytes, kind);
	return end + 1;
}

START_TEST(counters_equal_on_a_recorded_trace)
{
	size_t bytes;
	unsigned n = 0;
	char *text;

	if (access(MMU_LACKEY, R_OK) != 0)
		return;
	text = zst_read(MMU_LACKEY, whole ? 0 : SLICE_BYTES, &bytes);
	setup(_i);
	for (const char *line = text; line != NULL && *line != '\0'; n++) {
		line = one_reference(line);
		if (n % COMPARE_EVERY == 0)
			compare(geometries[_i]);
	}
	compare(geometries[_i]);
	teardown();
	free(text);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("mmu: the twin");
	TCase *tc = tcase_create("twin");
	int count = sizeof(geometries) / sizeof(geometries[0]);

	whole = argc > 1 && strcmp(argv[1], "slow") == 0;
	tcase_set_timeout(tc, 600);
	tcase_add_loop_test(tc, counters_equal_on_random_accesses, 0, count);
	tcase_add_loop_test(tc, counters_equal_on_a_recorded_trace, 0, count);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
