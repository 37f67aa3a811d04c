/*
 * x86.h - what the processor manual fixes: address types, control-register bits, page-table entry
 * bits, #PF error-code bits. The only file that hardware (mmu/) and kernel (alloc/) share.
 *
 * Sources: Intel SDM volume 3, sections 2.5 (control registers), 2.2.1 (EFER), 4.3-4.6 (paging
 * entries, rights), 4.7 and 6.15 (#PF); AMD APM volume 2, chapter 5.
 */
#ifndef KMEMLAB_MMU_X86_H
#define KMEMLAB_MMU_X86_H

#include <stdint.h>

/* Three numbers that must not be mixed up: one-field structs, so that the compiler sees to it. */
struct pfn {
	uint64_t n; /* frame number: physical address / 4096 */
};
struct paddr {
	uint64_t a; /* physical address, bytes */
};
struct vaddr {
	uint64_t a; /* linear (virtual) address, bytes */
};

#define X86_PAGE_SHIFT 12
#define X86_PAGE_BYTES 4096u

/* CR0 */
#define X86_CR0_PE (1ull << 0)
#define X86_CR0_WP (1ull << 16)
#define X86_CR0_AM (1ull << 18)
#define X86_CR0_NW (1ull << 29)
#define X86_CR0_CD (1ull << 30)
#define X86_CR0_PG (1ull << 31)

/* CR3 */
#define X86_CR3_PCID	 0xfffull     /* with CR4.PCIDE = 1 */
#define X86_CR3_NO_FLUSH (1ull << 63) /* of the value moved, with CR4.PCIDE = 1; not stored */

/* CR4 */
#define X86_CR4_PSE   (1ull << 4)
#define X86_CR4_PAE   (1ull << 5)
#define X86_CR4_PGE   (1ull << 7)
#define X86_CR4_LA57  (1ull << 12)
#define X86_CR4_PCIDE (1ull << 17)
#define X86_CR4_SMEP  (1ull << 20)
#define X86_CR4_SMAP  (1ull << 21)
#define X86_CR4_PKE   (1ull << 22)
#define X86_CR4_PKS   (1ull << 24)

/* IA32_EFER */
#define X86_EFER_SCE (1ull << 0)
#define X86_EFER_LME (1ull << 8)
#define X86_EFER_LMA (1ull << 10)
#define X86_EFER_NXE (1ull << 11)

/* Paging-structure entries; a 4-byte entry has the low 32 bits of these. */
#define X86_PTE_P	  (1ull << 0)
#define X86_PTE_RW	  (1ull << 1)
#define X86_PTE_US	  (1ull << 2)
#define X86_PTE_PWT	  (1ull << 3)
#define X86_PTE_PCD	  (1ull << 4)
#define X86_PTE_A	  (1ull << 5)
#define X86_PTE_D	  (1ull << 6)
#define X86_PTE_PS	  (1ull << 7)
#define X86_PTE_PAT	  (1ull << 7) /* of a PTE */
#define X86_PTE_G	  (1ull << 8)
#define X86_PTE_LARGE_PAT (1ull << 12) /* of a large leaf */
#define X86_PTE_XD	  (1ull << 63)
#define X86_PTE_KEY_SHIFT 59 /* bits 62:59 of a long-mode leaf */

/* #PF error code (SDM 6.15) */
#define X86_PF_P    (1u << 0)
#define X86_PF_W    (1u << 1)
#define X86_PF_U    (1u << 2)
#define X86_PF_RSVD (1u << 3)
#define X86_PF_I    (1u << 4)
#define X86_PF_PK   (1u << 5)
#define X86_PF_SS   (1u << 6)

/* Segment descriptor, 3.4.5 */
#define X86_DESC_ACCESSED   (1ull << 40)
#define X86_DESC_WRITE_READ (1ull << 41) /* data: writable; code: readable */
#define X86_DESC_DOWN_CONF  (1ull << 42) /* data: expand-down; code: conforming */
#define X86_DESC_CODE	    (1ull << 43)
#define X86_DESC_S	    (1ull << 44) /* 0: system descriptor */
#define X86_DESC_P	    (1ull << 47)
#define X86_DESC_BIG	    (1ull << 54) /* B (or D) */
#define X86_DESC_G	    (1ull << 55)

#endif
