/*
 * segments.c - random descriptors, loaded and used at once, without paging (rules 15.1-15.8).
 *
 * Fields of a record that mean something else here: the descriptor before and after is in cr2 and
 * cr3, the offset in va, the selector in pkru; ac: through SS. The linear address is in place[0].
 */
#include "tests/oracle/image/machine.h"
#include "tests/oracle/image/run.h"

#define LDT	      ((volatile uint64_t *)(word)ORACLE_TABLES) /* two rows */
#define SELECTOR_TI   4u
#define SELECTOR_TEST (8u | SELECTOR_TI)
#define FLAGS_FIXED   2u

static uint64_t make_descriptor(uint32_t base, uint32_t raw_limit, bool user)
{
	unsigned dpl = percent(70) ? (user ? 3 : 0) : random_below(4);
	unsigned access =
		random_below(16) | (percent(95) ? 0x10 : 0) | dpl << 5 | (percent(95) ? 0x80 : 0);
	unsigned flags = random_below(16); /* G, B, L, AVL */

	if (percent(60)) /* writable data */
		access = (access & ~8u) | 2;
	return (raw_limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
	       (uint64_t)(raw_limit >> 16) << 48 | (uint64_t)flags << 52 |
	       (uint64_t)(base >> 24) << 56;
}

static unsigned make_selector(bool user, bool stack)
{
	unsigned rpl = percent(80) ? (user ? 3 : 0) : random_below(4);

	if (percent(4))
		return rpl; /* null */
	if (percent(3))
		return 16u | SELECTOR_TI | rpl; /* beyond the limit */
	return SELECTOR_TEST | (stack && percent(80) ? 3 : rpl);
}

/* Near the limit, or anywhere. */
static uint32_t make_offset(uint64_t descriptor, uint32_t raw_limit)
{
	uint32_t limit = descriptor >> 55 & 1 ? raw_limit << 12 | 0xfff : raw_limit;

	if (percent(60))
		return limit + random_below(8) - 5;
	if (percent(20))
		return 0xffff + random_below(8) - 5;
	return percent(50) ? random_below(0x10000) : random32();
}

static void one_segment(struct oracle_record *r)
{
	bool user = percent(60), stack = user && percent(40), write = percent(50);
	unsigned log2 = random_below(3), selector = make_selector(user, stack);
	uint32_t raw_limit = percent(50) ? random_below(0x100000) : random_below(0x1000);
	uint32_t target = ORACLE_POOL + 0x1000 + random_below(ORACLE_POOL_BYTES - 0x2000);
	uint64_t descriptor = make_descriptor(0, raw_limit, user);
	uint32_t offset = make_offset(descriptor, raw_limit), base = target - offset;

	descriptor |= (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(base >> 24) << 56;
	*r = (struct oracle_record){ .magic = ORACLE_MAGIC,
				     .mode = ORACLE_SEGMENTS,
				     .type = write,
				     .size = (uint8_t)(1u << log2),
				     .cpl = user ? 3 : 0,
				     .ac = stack,
				     .pkru = selector,
				     .number = recorded,
				     .va = offset,
				     .written = random32(),
				     .cr2 = descriptor,
				     .place = { target } };
	LDT[1] = descriptor;
	unsigned stub = stack ? (write ? STUB_SS_WRITE : STUB_SS_READ)
			      : (write ? STUB_ES_WRITE : STUB_ES_READ);
	machine_perform((enum stub)(stub + log2), offset, r->written, selector, user, FLAGS_FIXED);
	r->vector = (uint32_t)result_vector;
	r->error_code = (uint32_t)result_error;
	r->value = result_value;
	r->cr3 = LDT[1];
	uint32_t first = target & ~7u;
	if (write)
		for (unsigned i = 0; i < 4; i++)
			((uint8_t *)&r->value)[i] = *(volatile uint8_t *)(word)(target + i);
	for (uint32_t at = first; at < first + 16; at += 8)
		*(volatile uint64_t *)(word)at = at;
}

void run_segments(uint32_t cases)
{
	static struct oracle_record r;

	LDT[0] = 0;
	machine_set_ldt(ORACLE_TABLES);
	while (recorded < cases) {
		one_segment(&r);
		emit(&r);
	}
}
