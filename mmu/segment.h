/*
 * segment.h - i386 segmentation: from selector and offset to a linear address.
 *
 * A segment register has a visible selector and a hidden part (base, limit, attributes) that is
 * loaded from a descriptor and stays until the next load: editing or freeing a descriptor does not
 * reach loaded registers on any CPU, and no instruction shoots them down (15.9).
 *
 * Source: Intel SDM volume 3, 3.4-3.5 (descriptors), 5.3-5.6 (limit, type, privilege), 6.15 (error
 * codes); volume 2, MOV to segment registers, LLDT. Not modelled: loads of CS (gates, far
 * transfers) and task switches; mmu_segment_force() stands in for them.
 *
 * Context: as the CPU that the descriptors are read with.
 */
#ifndef KMEMLAB_MMU_SEGMENT_H
#define KMEMLAB_MMU_SEGMENT_H

#include "mmu/mmu.h"

enum mmu_segment_name {
	MMU_SEG_ES = 0, /* the numbers that instructions encode */
	MMU_SEG_CS,
	MMU_SEG_SS,
	MMU_SEG_DS,
	MMU_SEG_FS,
	MMU_SEG_GS,
	MMU_SEGMENTS
};

/* Descriptor fields. */
#define MMU_DESC_ACCESSED   X86_DESC_ACCESSED
#define MMU_DESC_WRITE_READ X86_DESC_WRITE_READ
#define MMU_DESC_DOWN_CONF  X86_DESC_DOWN_CONF
#define MMU_DESC_CODE	    X86_DESC_CODE
#define MMU_DESC_S	    X86_DESC_S
#define MMU_DESC_P	    X86_DESC_P
#define MMU_DESC_BIG	    X86_DESC_BIG
#define MMU_DESC_G	    X86_DESC_G

/* A register: what is visible, and the descriptor as it was when it was loaded. */
struct mmu_segment {
	uint16_t selector;
	bool usable; /* false: null, every use faults */
	uint64_t descriptor;
	uint64_t base;
	uint32_t limit; /* last valid offset; expand-down: last invalid one */
};

/* GDTR, and the hidden part of LDTR. */
struct mmu_descriptor_table {
	uint64_t base;
	uint32_t limit; /* last valid byte */
	bool usable;
};

struct mmu_segments {
	struct mmu_segment segment[MMU_SEGMENTS];
	struct mmu_descriptor_table gdt;
	struct mmu_descriptor_table ldt;
	uint8_t cpl;
};

/**
 * mmu_segments_init - all registers null, no LDT, CPL 0, GDT [@gdt_base, @gdt_base + @gdt_limit].
 */
void mmu_segments_init(struct mmu_segments *segments, uint64_t gdt_base, uint32_t gdt_limit);

/**
 * mmu_segment_load - MOV to ES, SS, DS, FS or GS.
 * Reads the descriptor by implicit supervisor accesses through @cpu, and sets its accessed bit.
 * Returns 0; or the vector, with @fault set and the register as before: #GP, #NP or #SS with the
 * selector (RPL bits cleared) as error code, #GP(0), or the #PF of reading the table.
 */
uint32_t mmu_segment_load(struct mmu_segments *segments, struct mmu_cpu *cpu,
			  enum mmu_segment_name name, uint16_t selector, struct mmu_fault *fault);

/**
 * mmu_segment_load_ldt - LLDT. A null selector makes the LDT unusable.
 */
uint32_t mmu_segment_load_ldt(struct mmu_segments *segments, struct mmu_cpu *cpu, uint16_t selector,
			      struct mmu_fault *fault);

/* The hidden part of any register, from a descriptor that is in no table; no checks. */
void mmu_segment_force(struct mmu_segments *segments, enum mmu_segment_name name, uint16_t selector,
		       uint64_t descriptor);

/**
 * mmu_segment_linear - check an operand of @bytes at @offset, and give its linear address.
 * @kind: enum mmu_kind; fetches go through CS.
 * In 64-bit code only the base of FS and GS counts, and nothing is checked here (15.11).
 * Returns 0; or MMU_SS (through SS) or MMU_GP, error code 0. The whole operand is checked, before
 * paging is consulted (15.6).
 */
uint32_t mmu_segment_linear(const struct mmu_segments *segments, const struct mmu_cpu *cpu,
			    enum mmu_segment_name name, uint64_t offset, uint32_t bytes,
			    enum mmu_kind kind, struct vaddr *linear);

#endif
