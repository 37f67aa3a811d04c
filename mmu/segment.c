/*
 * segment.c - i386 segmentation.
 *
 *     63    56 55 54    52 51   48 47 46 45 44 43   40 39        16 15         0
 *     | base  | G | B |   | limit | P | DPL | S | type |   base    |   limit   |
 *     | 31:24 |           | 19:16 |                    |   23:0    |   15:0    |
 *
 *     selector --table--> descriptor --load: type, privilege, P--> hidden base, limit, type
 *     offset --use: type, limit--> (base + offset) mod 2^32 --> paging
 *
 * Rule numbers (15.*) are those that the tests cite.
 */
#include "mmu/cpu.h"
#include "mmu/segment.h"

#define SELECTOR_RPL 3u
#define SELECTOR_TI  4u
#define SELECTOR_ROW (~7u & 0xffffu)

#define DESCRIPTOR_BYTES 8u
#define TYPE_BYTE	 5u /* of the descriptor: P, DPL, S, type */
#define TYPE_LDT	 2u

static uint32_t fail(struct mmu_fault *fault, uint32_t vector, uint32_t error_code)
{
	*fault = (struct mmu_fault){ vector, error_code, { 0 } };
	return vector;
}

static uint32_t descriptor_base(uint64_t d)
{
	return (uint32_t)((d >> 16 & 0xffffff) | (d >> 32 & 0xff000000));
}

/* 15.2 */
static uint32_t descriptor_limit(uint64_t d)
{
	uint32_t raw = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000));

	return d & MMU_DESC_G ? raw << 12 | 0xfff : raw;
}

static unsigned descriptor_dpl(uint64_t d)
{
	return d >> 45 & 3;
}

static bool is_data(uint64_t d)
{
	return (d & MMU_DESC_S) && !(d & MMU_DESC_CODE);
}

static bool is_code(uint64_t d)
{
	return (d & MMU_DESC_S) && (d & MMU_DESC_CODE);
}

void mmu_segments_init(struct mmu_segments *s, uint64_t gdt_base, uint32_t gdt_limit)
{
	*s = (struct mmu_segments){ .gdt = { gdt_base, gdt_limit, true } };
}

void mmu_segment_force(struct mmu_segments *s, enum mmu_segment_name name, uint16_t selector,
		       uint64_t descriptor)
{
	s->segment[name] = (struct mmu_segment){
		.selector = selector,
		.usable = true,
		.descriptor = descriptor,
		.base = descriptor_base(descriptor),
		.limit = descriptor_limit(descriptor),
	};
}

/* Find and read a descriptor. */
static uint32_t read_descriptor(const struct mmu_segments *s, struct mmu_cpu *cpu,
				uint16_t selector, struct vaddr *at, uint64_t *descriptor,
				struct mmu_fault *fault)
{
	static const struct mmu_access implicit = { MMU_READ, MMU_IMPLICIT, 0 };
	const struct mmu_descriptor_table *table = selector & SELECTOR_TI ? &s->ldt : &s->gdt;
	uint32_t row = selector & SELECTOR_ROW;

	if (!table->usable || row + DESCRIPTOR_BYTES - 1 > table->limit)
		return fail(fault, MMU_GP, selector & ~SELECTOR_RPL);
	at->a = table->base + row;
	return mmu_read(cpu, *at, descriptor, DESCRIPTOR_BYTES, implicit, fault);
}

/* 15.8 */
static uint32_t set_accessed(struct mmu_cpu *cpu, struct vaddr at, uint64_t *descriptor,
			     struct mmu_fault *fault)
{
	static const struct mmu_access implicit = { MMU_RMW, MMU_IMPLICIT, 0 };
	struct vaddr byte = { at.a + TYPE_BYTE };
	uint8_t type;

	if (*descriptor & MMU_DESC_ACCESSED)
		return MMU_NO_FAULT;
	*descriptor |= MMU_DESC_ACCESSED;
	type = (uint8_t)(*descriptor >> (8 * TYPE_BYTE));
	return mmu_write(cpu, byte, &type, 1, implicit, fault);
}

/* 15.7: may this descriptor be loaded? Returns the vector. */
static uint32_t judge_stack(const struct mmu_segments *s, uint16_t selector, uint64_t d)
{
	if ((selector & SELECTOR_RPL) != s->cpl || descriptor_dpl(d) != s->cpl)
		return MMU_GP;
	if (!is_data(d) || !(d & MMU_DESC_WRITE_READ))
		return MMU_GP;
	return d & MMU_DESC_P ? MMU_NO_FAULT : MMU_SS;
}

static uint32_t judge_data(const struct mmu_segments *s, uint16_t selector, uint64_t d)
{
	unsigned rpl = selector & SELECTOR_RPL;
	unsigned needed = rpl > s->cpl ? rpl : s->cpl;
	bool conforming = is_code(d) && (d & MMU_DESC_DOWN_CONF);

	if (!is_data(d) && !(is_code(d) && (d & MMU_DESC_WRITE_READ)))
		return MMU_GP;
	if (!conforming && descriptor_dpl(d) < needed)
		return MMU_GP;
	return d & MMU_DESC_P ? MMU_NO_FAULT : MMU_NP;
}

uint32_t mmu_segment_load(struct mmu_segments *s, struct mmu_cpu *cpu, enum mmu_segment_name name,
			  uint16_t selector, struct mmu_fault *fault)
{
	struct vaddr at;
	uint64_t descriptor;
	uint32_t vector;

	if (name == MMU_SEG_CS)
		return fail(fault, MMU_UD, 0);
	if ((selector & ~SELECTOR_RPL) == 0) {
		if (name == MMU_SEG_SS)
			return fail(fault, MMU_GP, 0);
		s->segment[name] = (struct mmu_segment){ .selector = selector };
		return MMU_NO_FAULT;
	}
	vector = read_descriptor(s, cpu, selector, &at, &descriptor, fault);
	if (vector)
		return vector;
	vector = name == MMU_SEG_SS ? judge_stack(s, selector, descriptor)
				    : judge_data(s, selector, descriptor);
	if (vector)
		return fail(fault, vector, selector & ~SELECTOR_RPL);
	vector = set_accessed(cpu, at, &descriptor, fault);
	if (vector)
		return vector;
	mmu_segment_force(s, name, selector, descriptor);
	return MMU_NO_FAULT;
}

uint32_t mmu_segment_load_ldt(struct mmu_segments *s, struct mmu_cpu *cpu, uint16_t selector,
			      struct mmu_fault *fault)
{
	struct vaddr at;
	uint64_t d;
	uint32_t vector;

	if ((selector & ~SELECTOR_RPL) == 0) {
		s->ldt.usable = false;
		return MMU_NO_FAULT;
	}
	if (selector & SELECTOR_TI)
		return fail(fault, MMU_GP, selector & ~SELECTOR_RPL);
	vector = read_descriptor(s, cpu, selector, &at, &d, fault);
	if (vector)
		return vector;
	if ((d & MMU_DESC_S) || (d >> 40 & 15) != TYPE_LDT)
		return fail(fault, MMU_GP, selector & ~SELECTOR_RPL);
	if (!(d & MMU_DESC_P))
		return fail(fault, MMU_NP, selector & ~SELECTOR_RPL);
	s->ldt = (struct mmu_descriptor_table){ descriptor_base(d), descriptor_limit(d), true };
	return MMU_NO_FAULT;
}

/* 15.5 */
static bool type_allows(uint64_t d, enum mmu_kind kind)
{
	if (kind == MMU_FETCH)
		return is_code(d);
	if (kind == MMU_READ)
		return is_data(d) || (d & MMU_DESC_WRITE_READ);
	return is_data(d) && (d & MMU_DESC_WRITE_READ);
}

/* 15.3, 15.4 */
static bool limit_allows(const struct mmu_segment *segment, uint64_t offset, uint32_t bytes)
{
	uint64_t last = offset + bytes - 1;
	uint64_t top = segment->descriptor & MMU_DESC_BIG ? 0xffffffff : 0xffff;

	if (is_data(segment->descriptor) && (segment->descriptor & MMU_DESC_DOWN_CONF))
		return offset > segment->limit && last <= top;
	return last <= segment->limit;
}

uint32_t mmu_segment_linear(const struct mmu_segments *s, const struct mmu_cpu *cpu,
			    enum mmu_segment_name name, uint64_t offset, uint32_t bytes,
			    enum mmu_kind kind, struct vaddr *linear)
{
	const struct mmu_segment *segment = &s->segment[name];
	uint32_t vector = name == MMU_SEG_SS ? MMU_SS : MMU_GP;

	if (cpu->control.state.code64) { /* 15.11 */
		bool based = name == MMU_SEG_FS || name == MMU_SEG_GS;

		linear->a = (based ? segment->base : 0) + offset;
		return MMU_NO_FAULT;
	}
	offset = (uint32_t)offset;
	if (!segment->usable || !type_allows(segment->descriptor, kind) ||
	    !limit_allows(segment, offset, bytes))
		return vector;
	linear->a = (uint32_t)(segment->base + offset); /* 15.1 */
	return MMU_NO_FAULT;
}
