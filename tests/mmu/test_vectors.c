/*
 * Accesses recorded on two emulators, replayed here: vector, error code, CR2, data, every entry.
 * Where an emulator is known to be wrong, or made another legal choice, the record is counted
 * under that name; the counts are expected exactly, so that nothing hides among them.
 */
#include <string.h>

#include "mmu/mmu.h"
#include "mmu/segment.h"
#include "tests/mmu/bench.h"
#include "tests/mmu/zst.h"

#define MAGIC	      0x31434552u
#define NO_VECTOR     32u
#define POOL	      0x2000000ull
#define POOL_BYTES    0x1000000ull /* each qword holds its own address */
#define GUEST_BYTES   (POOL + POOL_BYTES)
#define LEVELS	      5
#define TYPE_IMPLICIT 4

struct record { /* see the README.md of the data */
	uint32_t magic;
	uint8_t mode, type, size, cpl;
	uint8_t ac, gleaf, cross, seq;
	uint32_t vector, error_code, pkru, pkrs, number;
	uint64_t va, cr2, value, wval, cr0, cr3, cr4, efer, genpa[2];
	struct {
		uint64_t at, before, after;
	} path[2][LEVELS];
};

_Static_assert(sizeof(struct record) == 352, "as recorded");

enum deviation {
	AGREES = 0,
	RSVD_WITHOUT_P,	      /* QEMU: a reserved-bit fault reports P = 0 (rule 6) */
	RMW_REPORTS_READ,     /* QEMU: a LOCK RMW fault reports W = 0 (rule 6) */
	IMPLICIT_HONOURS_AC,  /* both: SMAP is suspended for implicit accesses too (rule 5.3) */
	UPPER_A_ON_SUCCESS,   /* Bochs: a faulting walk sets A nowhere; legal (rule 7.2) */
	LEAF_A_ON_FAULT,      /* QEMU: a faulting access sets A in a 1 GiB leaf; legal (rule 7.2) */
	RMW_READS_FIRST,      /* QEMU: a faulting LOCK RMW sets A, as its read part succeeded */
	RMW_READS_BOTH_PAGES, /* QEMU: a crossing LOCK RMW reads both pages before it writes one */
	FIRST_PAGE_UNMARKED,  /* a crossing access that faults on its second page set no A or D in
				 the first; legal (rule 13.1) */
	DIFFERS,	      /* no excuse */
	DEVIATIONS
};

static const struct {
	const char *name;
	uint32_t records;
	uint32_t want[DEVIATIONS];
} files[] = {
	{ "qemu72-4level",
	  25000,
	  {
		  [AGREES] = 21050,
		  [RSVD_WITHOUT_P] = 2941,
		  [RMW_REPORTS_READ] = 719,
		  [IMPLICIT_HONOURS_AC] = 45,
		  [LEAF_A_ON_FAULT] = 171,
		  [RMW_READS_FIRST] = 65,
		  [RMW_READS_BOTH_PAGES] = 8,
		  [FIRST_PAGE_UNMARKED] = 1,
	  } },
	{ "bochs27-32bit",
	  25000,
	  {
		  [AGREES] = 23267,
		  [IMPLICIT_HONOURS_AC] = 185,
		  [UPPER_A_ON_SUCCESS] = 1548,
	  } },
};

static struct bench b;
static struct record *records;
static size_t record_count;
static char *record_bytes;

static void load(const char *name)
{
	char path[512];
	size_t bytes;

	snprintf(path, sizeof(path), MMU_DATA "/vectors/%s.rec.zst", name);
	record_bytes = zst_read(path, 0, &bytes);
	records = (struct record *)record_bytes;
	record_count = bytes / sizeof(struct record);
}

static void fill_pool(uint64_t first, uint64_t end)
{
	for (uint64_t at = first & ~7ull; at < end; at += 8) {
		if (at >= POOL && at < GUEST_BYTES)
			memcpy(b.ram.bytes + at, &at, 8);
	}
}

static void setup(void)
{
	bench_init(&b, "tiny");
	free(b.ram.bytes);
	b.ram.bytes = aligned_alloc(4096, GUEST_BYTES);
	b.ram.bytes_size = GUEST_BYTES;
	memset(b.ram.bytes, 0, POOL);
	fill_pool(POOL, GUEST_BYTES);
	free(b.cpu);
	b.cpu = bench_cpu(&b, 0);
}

static void teardown(void)
{
	free(record_bytes);
	bench_fini(&b);
}

static unsigned entry_bytes(const struct record *r)
{
	return r->mode == 2 ? 4 : 8;
}

/* Registers: all at the start of a case; later only what changes, without a flush (rule 5.7). */
static void set_registers(const struct record *r)
{
	if (r->seq == 0) {
		b.state = (struct mmu_state){ .cr0 = r->cr0,
					      .cr3 = r->cr3,
					      .cr4 = r->cr4,
					      .efer = r->efer,
					      .pkru = r->pkru,
					      .pkrs = r->pkrs,
					      .code64 = r->mode < 2 };
		bench_load(&b);
		return;
	}
	demand_eq(mmu_write_cr0(b.cpu, r->cr0).vector, 0);
	demand_eq(mmu_write_cr4(b.cpu, r->cr4).vector, 0);
	if (r->cr4 & X86_CR4_PKE)
		demand_eq(mmu_write_pkru(b.cpu, r->pkru).vector, 0);
	demand_eq(mmu_write_pkrs(b.cpu, r->pkrs).vector, 0);
}

static void set_entries(const struct record *r)
{
	for (unsigned path = 0; path < 2; path++) {
		for (unsigned level = 0; level < LEVELS; level++) {
			if (r->path[path][level].at)
				memcpy(b.ram.bytes + r->path[path][level].at,
				       &r->path[path][level].before, entry_bytes(r));
		}
	}
}

static struct mmu_access access_of(const struct record *r)
{
	static const uint8_t kinds[] = { MMU_READ, MMU_WRITE, MMU_FETCH, MMU_RMW, MMU_READ };
	struct mmu_access access = { kinds[r->type], MMU_SUPERVISOR, 0 };

	if (r->type == TYPE_IMPLICIT)
		access.context = MMU_IMPLICIT;
	else if (r->cpl == 3)
		access.context = MMU_USER;
	else if (r->ac)
		access.context = MMU_SUPERVISOR_AC;
	return access;
}

/* The first level of a path that is in use: its leaf. */
static unsigned leaf_level(const struct record *r, unsigned path)
{
	unsigned level = 0;

	while (level < LEVELS - 1 && !r->path[path][level].at)
		level++;
	return level;
}

/* How our entries differ from the recorded ones, in leaves or above them. */
static uint64_t entry_difference(const struct record *r, bool leaves)
{
	uint64_t difference = 0;

	for (unsigned path = 0; path < 2; path++) {
		for (unsigned level = 0; level < LEVELS; level++) {
			uint64_t got = 0, at = r->path[path][level].at;

			if (!at || (level == leaf_level(r, path)) != leaves)
				continue;
			memcpy(&got, b.ram.bytes + at, entry_bytes(r));
			difference |= got ^ r->path[path][level].after;
		}
	}
	return difference;
}

/* Where the emulator had no RAM (PSE-36 pages), only the low half is known: it lay in the pool. */
static bool same_place(const struct record *r, const struct mmu_piece *piece, unsigned i)
{
	if (piece->paddr.a >= GUEST_BYTES)
		return r->mode == 2 && (uint32_t)piece->paddr.a == r->genpa[i];
	return piece->paddr.a == r->genpa[i];
}

/* What a read got, and what a write left behind in the pool. */
static bool data_agrees(const struct record *r, const struct mmu_result *result)
{
	uint64_t got = 0, mask = r->size >= 8 ? ~0ull : (1ull << 8 * r->size) - 1;
	uint8_t *out = (uint8_t *)&got;
	bool outside = false;

	for (unsigned i = 0; i < result->pieces; i++) {
		if (!same_place(r, &result->piece[i], i))
			return false;
		outside |= result->piece[i].paddr.a >= GUEST_BYTES;
	}
	/* No data is recorded of fetches and implicit reads, nor the operation of an RMW. */
	if (result->fault.vector != 0 || r->type >= 2 || (r->type == 0 && outside))
		return true;
	for (unsigned i = 0; i < result->pieces; i++) {
		memcpy(out, b.ram.bytes + r->genpa[i], result->piece[i].bytes);
		out += result->piece[i].bytes;
	}
	return ((got ^ r->value) & mask) == 0;
}

static enum deviation compare_fault(const struct record *r, const struct mmu_result *got)
{
	uint32_t vector = got->fault.vector ? got->fault.vector : NO_VECTOR;
	uint32_t code = got->fault.error_code;

	if (vector == MMU_PF && r->vector == NO_VECTOR && r->type == TYPE_IMPLICIT && r->ac &&
	    (r->cr4 & X86_CR4_SMAP))
		return IMPLICIT_HONOURS_AC;
	if (vector != r->vector)
		return DIFFERS;
	if (vector == MMU_PF && r->type == 3 && r->cross && got->fault.cr2.a != r->cr2)
		return RMW_READS_BOTH_PAGES;
	if (vector == MMU_PF && got->fault.cr2.a != r->cr2)
		return DIFFERS;
	if (vector == NO_VECTOR || code == r->error_code)
		return AGREES;
	if (code & X86_PF_RSVD && (code & ~X86_PF_P) == r->error_code)
		return RSVD_WITHOUT_P;
	if (r->type == 3 && (code & ~X86_PF_W) == (r->error_code | (code & X86_PF_PK)))
		return RMW_REPORTS_READ;
	if (r->type == 3 && code & X86_PF_RSVD && (code & ~(X86_PF_W | X86_PF_P)) == r->error_code)
		return RSVD_WITHOUT_P;
	return DIFFERS;
}

/* Entries of an access whose outcome agrees. */
static enum deviation compare_entries(const struct record *r, const struct mmu_result *got)
{
	bool faulted = got->fault.vector == MMU_PF;
	bool second = faulted && got->fault.cr2.a != r->va;
	uint64_t upper = entry_difference(r, false);
	uint64_t leaves = entry_difference(r, true);

	if (!upper && !leaves)
		return AGREES;
	if (leaves && second && !((upper | leaves) & ~(A | D)))
		return FIRST_PAGE_UNMARKED;
	if (!faulted || ((upper | leaves) & ~A))
		return DIFFERS;
	if (!leaves)
		return UPPER_A_ON_SUCCESS;
	if (upper)
		return DIFFERS;
	return leaf_level(r, 0) == 2 ? LEAF_A_ON_FAULT : r->type == 3 ? RMW_READS_FIRST : DIFFERS;
}

/* A record with two deviations is counted under that of its error code. */
static enum deviation compare(const struct record *r, const struct mmu_result *got)
{
	enum deviation outcome = compare_fault(r, got), entries;

	if (outcome == DIFFERS || outcome == IMPLICIT_HONOURS_AC || outcome == RMW_READS_BOTH_PAGES)
		return outcome;
	entries = compare_entries(r, got);
	if (entries == DIFFERS || !data_agrees(r, got))
		return DIFFERS;
	return outcome != AGREES ? outcome : entries;
}

static enum deviation replay(const struct record *r)
{
	struct mmu_access access = access_of(r);
	struct mmu_fault fault;
	uint64_t value;

	set_registers(r);
	set_entries(r);
	for (unsigned i = 0; i < 2; i++)
		fill_pool(r->genpa[i], r->genpa[i] + 8);
	mmu_translate(b.cpu, (struct vaddr){ r->va }, r->size, access, &b.result);
	if (r->type == 1) {
		uint32_t vector = mmu_write(b.cpu, (struct vaddr){ r->va }, &r->wval, r->size,
					    access, &fault);

		demand_eq(vector, b.result.fault.vector);
	} else if (r->type == 0 && b.result.fault.vector == 0) {
		demand_eq(mmu_read(b.cpu, (struct vaddr){ r->va }, &value, r->size, access, &fault),
			  0);
	}
	return compare(r, &b.result);
}

START_TEST(recorded_accesses_agree_but_for_named_deviations)
{
	uint32_t count[DEVIATIONS] = { 0 };

	load(files[_i].name);
	demand_eq(record_count, files[_i].records);
	for (size_t i = 0; i < record_count; i++) {
		enum deviation deviation;

		demand_eq(records[i].magic, MAGIC);
		deviation = replay(&records[i]);
		if (deviation == DIFFERS && count[DIFFERS] < 10)
			printf("# %s record %zu: type %u cpl %u ac %u want %u %x, got %u %x\n",
			       files[_i].name, i, records[i].type, records[i].cpl, records[i].ac,
			       records[i].vector, records[i].error_code, b.result.fault.vector,
			       b.result.fault.error_code);
		count[deviation]++;
	}
	for (unsigned d = AGREES; d < DEVIATIONS; d++)
		demand(count[d] == files[_i].want[d], "%s: deviation %u: %u records, not %u",
		       files[_i].name, d, count[d], files[_i].want[d]);
}
END_TEST

#define LDT_BASE 0x10000u

/* Rules 15.1-15.8: the descriptor is row 1 of an LDT, loaded and used at once; no paging. */
static void replay_segment(const struct record *r, size_t i)
{
	enum mmu_segment_name name = r->ac ? MMU_SEG_SS : MMU_SEG_DS;
	struct mmu_segments segments;
	struct mmu_fault fault = { 0 };
	struct vaddr linear = { 0 };
	uint64_t after;

	mmu_segments_init(&segments, 0, 0);
	segments.ldt = (struct mmu_descriptor_table){ LDT_BASE, 0xffff, true };
	segments.cpl = r->cpl;
	memcpy(b.ram.bytes + LDT_BASE + 8, &r->cr2, 8);
	if (!mmu_segment_load(&segments, b.cpu, name, (uint16_t)r->pkru, &fault))
		fault.vector = mmu_segment_linear(&segments, b.cpu, name, r->va, r->size,
						  r->type ? MMU_WRITE : MMU_READ, &linear);
	demand((fault.vector ? fault.vector : NO_VECTOR) == r->vector, "record %zu: %u", i,
	       fault.vector);
	demand(fault.error_code == r->error_code, "record %zu", i);
	memcpy(&after, b.ram.bytes + LDT_BASE + 8, 8);
	demand(after == r->cr3, "record %zu: descriptor %lx, not %lx", i, after, r->cr3);
	if (r->vector == NO_VECTOR)
		demand(linear.a == r->genpa[0], "record %zu: %lx", i, linear.a);
}

START_TEST(recorded_segment_checks_agree_without_exception)
{
	load("bochs27-segments");
	demand_eq(record_count, 10000);
	bench_mode(&b, MMU_MODE_NONE);
	for (size_t i = 0; i < record_count; i++)
		replay_segment(&records[i], i);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mmu: recorded vectors");
	TCase *tc = tcase_create("vectors");

	tcase_set_timeout(tc, 120);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, recorded_accesses_agree_but_for_named_deviations, 0,
			    sizeof(files) / sizeof(files[0]));
	tcase_add_test(tc, recorded_segment_checks_agree_without_exception);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
