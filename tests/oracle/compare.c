/*
 * compare.c - accesses that an emulator performed, performed again by mmu/.
 *
 *     compare [--strict] [--accesses N] FILE
 *
 * Vector, error code, CR2, physical addresses, data, and every entry before and after. Where an
 * emulator is known to be wrong, or made another legal choice, the access is counted under that
 * name; --strict turns this tolerance off. Exit 1 when there is an access without an excuse.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mmu/mmu.h"
#include "mmu/segment.h"
#include "tests/oracle/record.h"

#define GUEST_BYTES   (ORACLE_POOL + ORACLE_POOL_BYTES)
#define DIFFERS_SHOWN 10u

enum deviation {
	AGREES = 0,
	RSVD_WITHOUT_P,
	RMW_REPORTS_READ,
	IMPLICIT_HONOURS_AC,
	UPPER_A_ON_SUCCESS,
	LEAF_A_ON_FAULT,
	RMW_READS_FIRST,
	RMW_READS_BOTH_PAGES,
	FIRST_PAGE_UNMARKED,
	BOUNDARY_BY_PAGES,
	PDPTE_ACCESSED,
	DIFFERS,
	DEVIATIONS
};

static const char *const names[DEVIATIONS] = {
	[AGREES] = "agree",
	[RSVD_WITHOUT_P] = "QEMU: a reserved-bit fault reports P = 0 (rule 6)",
	[RMW_REPORTS_READ] = "QEMU: a LOCK RMW fault reports W = 0 (rule 6)",
	[IMPLICIT_HONOURS_AC] = "QEMU, Bochs: AC suspends SMAP for implicit accesses (rule 5.3)",
	[UPPER_A_ON_SUCCESS] = "Bochs: a faulting walk sets A nowhere; legal (rule 7.2)",
	[LEAF_A_ON_FAULT] = "QEMU: a faulting access sets A in a 1 GiB leaf; legal (rule 7.2)",
	[RMW_READS_FIRST] = "QEMU: a faulting LOCK RMW sets A, as its read part succeeded",
	[RMW_READS_BOTH_PAGES] = "QEMU: a crossing LOCK RMW reads both pages before it writes",
	[FIRST_PAGE_UNMARKED] = "a fault on the second page leaves the first unmarked (rule 13.1)",
	[BOUNDARY_BY_PAGES] =
		"QEMU, Bochs: one page, then that the next is not canonical (rule 9.2)",
	[PDPTE_ACCESSED] = "QEMU: PAE PDPTEs are walked in memory, A set in them (rule 8)",
	[DIFFERS] = "DIFFER",
};

struct model {
	struct mmu_memory ram;
	struct mmu_cpu *cpu;
	struct oracle_record previous; /* its entries are in ram */
};

/* ---- The machine ---- */

static void fill_pool(struct model *model, uint64_t first, uint64_t end)
{
	for (uint64_t at = first & ~7ull; at < end; at += 8) {
		if (at >= ORACLE_POOL && at < GUEST_BYTES)
			memcpy(model->ram.bytes + at, &at, 8);
	}
}

static void model_init(struct model *model)
{
	struct mmu_config config = *mmu_preset("tiny"); /* every feature; MAXPHYADDR 40 */
	size_t bytes = (mmu_cpu_bytes(&config) + 63) & ~(size_t)63;

	model->ram.bytes = aligned_alloc(4096, GUEST_BYTES);
	model->ram.bytes_size = GUEST_BYTES;
	memset(model->ram.bytes, 0, ORACLE_POOL);
	fill_pool(model, ORACLE_POOL, GUEST_BYTES);
	model->cpu = mmu_cpu_init(aligned_alloc(64, bytes), &config, &model->ram, 0);
}

static void model_fini(struct model *model)
{
	free(model->ram.bytes);
	free(model->cpu);
}

static unsigned entry_bytes(const struct oracle_record *r)
{
	return r->mode == ORACLE_32BIT ? 4 : 8;
}

static bool is_pdpte(const struct oracle_record *r, unsigned level)
{
	return r->mode == ORACLE_PAE && level == 2;
}

/*
 * The entries before the access; a new case begins with empty tables. A in PDPTEs is QEMU's own.
 * Within a case they are what our last access left, unless it deviated in a way that was excused:
 * what was cached of entries that are put right must go.
 */
static void set_entries(struct model *model, const struct oracle_record *r)
{
	const uint64_t nothing = 0;

	for (unsigned path = 0; path < 2; path++) {
		for (unsigned level = 0; level < ORACLE_LEVELS; level++) {
			uint64_t at = model->previous.path[path][level].at;
			if (at && r->seq == 0)
				memcpy(model->ram.bytes + at, &nothing, entry_bytes(r));
		}
	}
	for (unsigned path = 0; path < 2; path++) {
		for (unsigned level = 0; level < ORACLE_LEVELS; level++) {
			uint64_t at = r->path[path][level].at;
			uint64_t value = r->path[path][level].before;
			if (is_pdpte(r, level))
				value &= ~(uint64_t)X86_PTE_A;
			if (!at || memcmp(model->ram.bytes + at, &value, entry_bytes(r)) == 0)
				continue;
			memcpy(model->ram.bytes + at, &value, entry_bytes(r));
			mmu_invlpg(model->cpu, (struct vaddr){ r->va });
			mmu_invlpg(model->cpu, (struct vaddr){ r->va + r->size - 1 });
		}
	}
	model->previous = *r;
}

/* All at the start of a case; later only what changes, without a flush (rule 5.7). */
static bool set_registers(struct model *model, const struct oracle_record *r)
{
	if (r->seq == 0) {
		struct mmu_state state = { .cr0 = r->cr0,
					   .cr3 = r->cr3,
					   .cr4 = r->cr4,
					   .efer = r->efer,
					   .pkru = r->pkru,
					   .pkrs = r->pkrs,
					   .code64 = r->mode <= ORACLE_5LEVEL };
		return mmu_load_state(model->cpu, &state).vector == 0;
	}
	bool fine = mmu_write_cr0(model->cpu, r->cr0).vector == 0 &&
		    mmu_write_cr4(model->cpu, r->cr4).vector == 0 &&
		    mmu_write_pkrs(model->cpu, r->pkrs).vector == 0;
	if (r->cr4 & X86_CR4_PKE)
		fine = fine && mmu_write_pkru(model->cpu, r->pkru).vector == 0;
	return fine;
}

static struct mmu_access access_of(const struct oracle_record *r)
{
	static const uint8_t kinds[] = { [ORACLE_READ] = MMU_READ,
					 [ORACLE_WRITE] = MMU_WRITE,
					 [ORACLE_FETCH] = MMU_FETCH,
					 [ORACLE_RMW] = MMU_RMW,
					 [ORACLE_IMPLICIT] = MMU_READ };
	struct mmu_access access = { .kind = kinds[r->type], .context = MMU_SUPERVISOR };

	if (r->type == ORACLE_IMPLICIT)
		access.context = MMU_IMPLICIT;
	else if (r->cpl == 3)
		access.context = MMU_USER;
	else if (r->ac)
		access.context = MMU_SUPERVISOR_AC;
	return access;
}

/* ---- Comparing ---- */

static unsigned leaf_level(const struct oracle_record *r, unsigned path)
{
	unsigned level = 0;

	while (level < ORACLE_LEVELS - 1 && !r->path[path][level].at)
		level++;
	return level;
}

enum part { LEAVES, UPPER, PDPTES };

/* How our entries of one part differ from the recorded ones. */
static uint64_t entry_difference(const struct model *model, const struct oracle_record *r,
				 enum part part)
{
	uint64_t difference = 0;

	for (unsigned path = 0; path < 2; path++) {
		for (unsigned level = 0; level < ORACLE_LEVELS; level++) {
			const struct oracle_entry *entry = &r->path[path][level];
			enum part mine = level == leaf_level(r, path) ? LEAVES
					 : is_pdpte(r, level)	      ? PDPTES
								      : UPPER;
			uint64_t got = 0;
			if (!entry->at || mine != part)
				continue;
			memcpy(&got, model->ram.bytes + entry->at, entry_bytes(r));
			difference |= got ^ entry->after;
		}
	}
	return difference;
}

/* What a read got, and what a write left behind, also one that faulted (rule 13.1). */
static bool data_agrees(const struct model *model, const struct oracle_record *r,
			const struct mmu_result *result)
{
	uint64_t got = 0, mask = r->size >= 8 ? ~0ull : (1ull << 8 * r->size) - 1;
	uint64_t in_page = 4096 - r->va % 4096;

	for (unsigned i = 0; i < result->pieces; i++)
		if (result->piece[i].paddr.a != r->place[i] && (i == 0 || r->cross))
			return false;
	if (r->type > ORACLE_WRITE || (r->type == ORACLE_READ && result->fault.vector))
		return true;
	for (unsigned i = 0; i < r->size; i++) {
		uint64_t at =
			i < in_page || !r->cross ? r->place[0] + i : r->place[1] + (i - in_page);
		uint8_t theirs = (uint8_t)(r->value >> 8 * i);
		uint8_t nothing = theirs == 0xff ? 0xff : 0; /* QEMU reads 0 where no RAM is */
		bool ram = at >= ORACLE_POOL && at < GUEST_BYTES;
		got |= (uint64_t)(ram ? model->ram.bytes[at] : nothing) << 8 * i;
	}
	return ((got ^ r->value) & mask) == 0;
}

static enum deviation compare_fault(const struct oracle_record *r, const struct mmu_fault *got)
{
	uint32_t vector = got->vector ? got->vector : ORACLE_NO_VECTOR;
	uint32_t code = got->error_code;

	if (vector == MMU_PF && r->vector == ORACLE_NO_VECTOR && r->type == ORACLE_IMPLICIT &&
	    r->ac && (r->cr4 & X86_CR4_SMAP))
		return IMPLICIT_HONOURS_AC;
	if (vector != r->vector)
		return DIFFERS;
	if (vector == MMU_PF && got->cr2.a != r->cr2)
		return r->type == ORACLE_RMW && r->cross ? RMW_READS_BOTH_PAGES : DIFFERS;
	if (vector == ORACLE_NO_VECTOR || code == r->error_code)
		return AGREES;
	if ((code & X86_PF_RSVD) && (code & ~X86_PF_P) == r->error_code)
		return RSVD_WITHOUT_P;
	if (r->type == ORACLE_RMW && (code & ~X86_PF_W) == (r->error_code | (code & X86_PF_PK)))
		return RMW_REPORTS_READ;
	if (r->type == ORACLE_RMW && (code & X86_PF_RSVD) &&
	    (code & ~(X86_PF_W | X86_PF_P)) == r->error_code)
		return RSVD_WITHOUT_P;
	return DIFFERS;
}

/* Entries of an access whose outcome agrees. */
static enum deviation compare_entries(const struct model *model, const struct oracle_record *r,
				      const struct mmu_fault *got)
{
	const uint64_t ad = X86_PTE_A | X86_PTE_D;
	bool faulted = got->vector == MMU_PF;
	bool second = faulted && got->cr2.a != r->va;
	uint64_t upper = entry_difference(model, r, UPPER);
	uint64_t leaves = entry_difference(model, r, LEAVES);
	uint64_t pdptes = entry_difference(model, r, PDPTES);

	if (pdptes & ~(uint64_t)X86_PTE_A)
		return DIFFERS;
	if (!upper && !leaves)
		return pdptes ? PDPTE_ACCESSED : AGREES;
	if (leaves && second && !((upper | leaves) & ~ad))
		return FIRST_PAGE_UNMARKED;
	if (!faulted || ((upper | leaves) & ~(uint64_t)X86_PTE_A))
		return DIFFERS;
	if (!leaves)
		return UPPER_A_ON_SUCCESS;
	if (upper)
		return DIFFERS;
	return leaf_level(r, 0) == 2   ? LEAF_A_ON_FAULT
	       : r->type == ORACLE_RMW ? RMW_READS_FIRST
				       : DIFFERS;
}

/* An access with two deviations is counted under that of its outcome. */
static enum deviation compare(const struct model *model, const struct oracle_record *r,
			      const struct mmu_result *got)
{
	enum deviation outcome = compare_fault(r, &got->fault);

	if (outcome == DIFFERS || outcome == IMPLICIT_HONOURS_AC || outcome == RMW_READS_BOTH_PAGES)
		return outcome;
	enum deviation entries = compare_entries(model, r, &got->fault);
	if (entries == DIFFERS || !data_agrees(model, r, got))
		return DIFFERS;
	return outcome != AGREES ? outcome : entries;
}

/* ---- One access ---- */

/* Does the access begin canonical and end beyond? */
static bool crosses_boundary(const struct oracle_record *r)
{
	uint64_t half = 1ull << (r->mode == ORACLE_5LEVEL ? 56 : 47);

	return r->mode <= ORACLE_5LEVEL && r->va < half && r->va + r->size > half;
}

/* As an emulator does it that takes an access over the boundary page by page: all of the first
 * page, its faults and marks, and then #GP. */
static enum deviation repeat_first_page(struct model *model, const struct oracle_record *r,
					struct mmu_result *result)
{
	struct oracle_record page = *r;
	struct mmu_access access = access_of(r);

	if (r->type == ORACLE_RMW)
		access.kind = MMU_READ;
	page.cross = 0;
	page.size = (uint8_t)(4096 - r->va % 4096);
	mmu_translate(model->cpu, (struct vaddr){ r->va }, page.size, access, result);
	result->pieces = 0;
	if (!result->fault.vector)
		result->fault.vector = MMU_GP;
	return compare(model, &page, result) == DIFFERS ? DIFFERS : BOUNDARY_BY_PAGES;
}

static enum deviation repeat(struct model *model, const struct oracle_record *r,
			     struct mmu_result *result)
{
	struct mmu_access access = access_of(r);
	struct mmu_fault fault;

	set_entries(model, r);
	if (!set_registers(model, r))
		return DIFFERS;
	fill_pool(model, r->place[0], r->place[0] + 8);
	fill_pool(model, r->place[1], r->place[1] + 8);
	mmu_translate(model->cpu, (struct vaddr){ r->va }, r->size, access, result);
	if (r->type == ORACLE_WRITE && mmu_write(model->cpu, (struct vaddr){ r->va }, &r->written,
						 r->size, access, &fault) != result->fault.vector)
		return DIFFERS;
	enum deviation deviation = compare(model, r, result);
	if (deviation == DIFFERS && result->fault.vector == MMU_GP && crosses_boundary(r))
		deviation = repeat_first_page(model, r, result);
	fill_pool(model, r->place[0], r->place[0] + 8);
	fill_pool(model, r->place[1], r->place[1] + 8);
	return deviation;
}

/* ---- Segments ---- */

/* A descriptor, row 1 of an LDT, loaded and used at once; no paging (rules 15.1-15.8). */
static enum deviation repeat_segment(struct model *model, const struct oracle_record *r,
				     struct mmu_result *result)
{
	const struct mmu_state no_paging = { .cr0 = X86_CR0_PE };
	enum mmu_segment_name name = r->ac ? MMU_SEG_SS : MMU_SEG_ES;
	uint64_t mask = (1ull << 8 * r->size) - 1, after, value;
	struct mmu_segments segments;
	struct mmu_fault fault = { 0 };
	struct vaddr linear = { 0 };

	mmu_load_state(model->cpu, &no_paging);
	mmu_segments_init(&segments, 0, 0);
	segments.ldt = (struct mmu_descriptor_table){ ORACLE_TABLES, 15, true };
	segments.cpl = r->cpl;
	memcpy(model->ram.bytes + ORACLE_TABLES + 8, &r->cr2, 8);
	if (!mmu_segment_load(&segments, model->cpu, name, (uint16_t)r->pkru, &fault))
		fault.vector = mmu_segment_linear(&segments, model->cpu, name, r->va, r->size,
						  r->type ? MMU_WRITE : MMU_READ, &linear);
	*result = (struct mmu_result){ .fault = fault };
	memcpy(&after, model->ram.bytes + ORACLE_TABLES + 8, 8);
	if ((fault.vector ? fault.vector : ORACLE_NO_VECTOR) != r->vector ||
	    fault.error_code != r->error_code || after != r->cr3)
		return DIFFERS;
	/* A write that faulted left the pool's own contents behind. */
	memcpy(&value, model->ram.bytes + r->place[0], sizeof(value));
	if (r->type && !fault.vector)
		value = r->written;
	if ((r->type || !fault.vector) && ((value ^ r->value) & mask))
		return DIFFERS;
	return fault.vector || linear.a == r->place[0] ? AGREES : DIFFERS;
}

static void show_entry(const struct model *model, const struct oracle_record *r,
		       const struct oracle_entry *entry)
{
	uint64_t ours = 0;

	memcpy(&ours, model->ram.bytes + entry->at, entry_bytes(r));
	printf("  entry at %" PRIx64 ": %" PRIx64 " -> %" PRIx64 ", ours %" PRIx64 "\n", entry->at,
	       entry->before, entry->after, ours);
}

static void show(const struct model *model, const struct oracle_record *r,
		 const struct mmu_result *got)
{
	printf("access %u: mode %u type %u size %u cpl %u ac %u cross %u seq %u va %" PRIx64
	       ": vector %u code %x cr2 %" PRIx64 "; ours %u %x %" PRIx64 "\n",
	       r->number, r->mode, r->type, r->size, r->cpl, r->ac, r->cross, r->seq, r->va,
	       r->vector, r->error_code, r->cr2,
	       got->fault.vector ? got->fault.vector : ORACLE_NO_VECTOR, got->fault.error_code,
	       got->fault.cr2.a);
	printf("  cr0 %" PRIx64 " cr4 %" PRIx64 " efer %" PRIx64 " pkru %x pkrs %x places %" PRIx64
	       " %" PRIx64 " value %" PRIx64 " written %" PRIx64 "\n",
	       r->cr0, r->cr4, r->efer, r->pkru, r->pkrs, r->place[0], r->place[1], r->value,
	       r->written);
	for (unsigned path = 0; path < 2; path++)
		for (unsigned level = 0; level < ORACLE_LEVELS; level++)
			if (r->path[path][level].at)
				show_entry(model, r, &r->path[path][level]);
}

static uint64_t compare_file(struct model *model, FILE *file, uint64_t limit,
			     uint64_t count[DEVIATIONS])
{
	struct oracle_record r;
	uint64_t accesses = 0;

	while (accesses < limit && fread(&r, sizeof(r), 1, file) == 1) {
		struct mmu_result result;
		if (r.magic != ORACLE_MAGIC || r.mode > ORACLE_SEGMENTS || r.type > ORACLE_IMPLICIT)
			break;
		enum deviation deviation = r.mode == ORACLE_SEGMENTS
						   ? repeat_segment(model, &r, &result)
						   : repeat(model, &r, &result);
		if (deviation == DIFFERS && count[DIFFERS] < DIFFERS_SHOWN)
			show(model, &r, &result);
		count[deviation]++;
		accesses++;
	}
	return accesses;
}

static int usage(void)
{
	fprintf(stderr, "usage: compare [--strict] [--accesses N] FILE\n");
	return 2;
}

int main(int argc, char **argv)
{
	uint64_t count[DEVIATIONS] = { 0 }, wanted = UINT64_MAX, bad;
	bool strict = false;
	struct model model = { 0 };
	int at = 1;

	for (; at < argc - 1; at++) {
		if (strcmp(argv[at], "--strict") == 0)
			strict = true;
		else if (strcmp(argv[at], "--accesses") == 0)
			wanted = strtoull(argv[++at], NULL, 10);
		else
			return usage();
	}
	FILE *file = at == argc - 1 ? fopen(argv[at], "rb") : NULL;
	if (!file)
		return usage();
	model_init(&model);
	uint64_t accesses = compare_file(&model, file, wanted, count);
	fclose(file);
	model_fini(&model);
	for (unsigned d = 0; d < DEVIATIONS; d++)
		if (count[d])
			printf("%9llu %s\n", (unsigned long long)count[d], names[d]);
	bad = strict ? accesses - count[AGREES] : count[DIFFERS];
	if (accesses == 0 || (wanted != UINT64_MAX && accesses != wanted)) {
		printf("the emulator stopped after %llu accesses\n", (unsigned long long)accesses);
		return 1;
	}
	return bad ? 1 : 0;
}
