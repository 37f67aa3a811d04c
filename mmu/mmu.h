/*
 * mmu.h - the memory side of an x86 processor: control registers, page walks, TLBs, faults.
 *
 * Hardware, not kernel: it reads and writes page tables in a flat buffer of physical memory, sets
 * accessed and dirty bits, caches and faults. It allocates nothing, keeps no global state, and
 * knows no allocator. Several CPUs stand over one memory, each with its own translation state.
 *
 *     struct mmu_memory ram = { .bytes = ..., .bytes_size = ... };
 *     const struct mmu_config *config = mmu_preset("skylake");
 *     struct mmu_cpu *cpu = mmu_cpu_init(aligned(64, mmu_cpu_bytes(config)), config, &ram, 0);
 *     mmu_load_state(cpu, &state);
 *     if (mmu_translate(cpu, va, 8, (struct mmu_access){ MMU_WRITE, MMU_USER }, &result))
 *             ... result.fault ...
 *
 * Three layers: walk.h (pure walk), tlb.h (architectural caches: all statistics), fast.h (a host
 * table inclusive in the L1 TLBs, which makes a hit cost a few ns and loses no statistics).
 *
 * Source: Intel SDM volume 3 chapters 4 and 5, section 6.15; AMD APM volume 2 chapters 4 and 5.
 * Not modelled: shadow stacks, LAM, nested paging, memory types beyond reporting the PAT index,
 * hardware task switches.
 *
 * Context, for all functions: a CPU belongs to one host thread at a time. Only
 * mmu_post_shootdown() and mmu_shootdowns_pending() may be called from other threads. Page tables
 * are read and their A and D bits written by single atomic operations, so that CPUs on different
 * threads may share tables with kernel code that uses atomics on them.
 */
#ifndef KMEMLAB_MMU_MMU_H
#define KMEMLAB_MMU_MMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mmu/x86.h"

/* Physical memory from address 0 on. Shared by all CPUs of a machine; set up by the caller. */
struct mmu_memory {
	uint8_t *bytes;	     /* RAM; aligned to 4096 */
	uint64_t bytes_size; /* a multiple of 8 */
	/* Beyond the end, reads give all ones and writes are dropped. Counted here, in accesses. */
	uint64_t stray_reads;
	uint64_t stray_writes;
};

/* ---- Configuration ---- */

/* What the processor can do (CPUID); each field 0 or 1. */
struct mmu_features {
	uint32_t pse;	    /* 4 MiB pages in 32-bit mode */
	uint32_t pse36;	    /* their physical address bits 39:32 */
	uint32_t pae;	    /* 8-byte entries */
	uint32_t pge;	    /* global pages */
	uint32_t pat;	    /* PAT bit of leaf entries; without it that bit is reserved */
	uint32_t long_mode; /* 4-level paging; needs pae */
	uint32_t nx;	    /* EFER.NXE */
	uint32_t page1g;    /* 1 GiB pages */
	uint32_t la57;	    /* 5-level paging */
	uint32_t pcid;	    /* CR4.PCIDE */
	uint32_t invpcid;   /* the instruction */
	uint32_t smep;
	uint32_t smap;
	uint32_t pku;
	uint32_t pks;
};

enum mmu_replacement {
	MMU_LRU = 0, /* exact least recently used */
	MMU_PLRU,    /* binary tree of "other half is older" bits; ways a power of two */
	MMU_RANDOM,  /* by the CPU's seed */
};

/* Page-size classes; their bits form mmu_cache_shape.holds. */
enum mmu_size_class { MMU_4K = 0, MMU_2M, MMU_1G, MMU_SIZE_CLASSES }; /* 2M is 4M in 32-bit mode */

/*
 * The caches of a CPU. An L1 is up to three structures looked up side by side, each holding the
 * sizes in its mask (a processor with one structure for all sizes gives only the first). A page of
 * a size that an L1 or the L2 holds nowhere is cached there in pieces of the next smaller size that
 * it holds (SDM 4.10.2.3).
 */
enum mmu_cache_id {
	MMU_L1D_4K = 0,
	MMU_L1D_2M,
	MMU_L1D_1G,
	MMU_L1I_4K,
	MMU_L1I_2M,
	MMU_L1I_1G,
	MMU_L2_TLB, /* unified */
	MMU_L2_1G,
	MMU_PSC_PDE, /* paging-structure caches: entries that point to a table, by their level */
	MMU_PSC_PDPTE,
	MMU_PSC_PML4E,
	MMU_PSC_PML5E,
	MMU_CACHES
};

struct mmu_cache_shape {
	uint32_t sets;	      /* a power of two; 1: fully associative */
	uint32_t ways;	      /* 0..256; 0: the structure does not exist */
	uint32_t holds;	      /* mask of 1 << enum mmu_size_class; ignored for MMU_PSC_* */
	uint32_t replacement; /* enum mmu_replacement */
};

/* Latencies in cycles: cycles of a run = counts x weights, see mmu_cycles(). */
struct mmu_weights {
	uint32_t l1_hit;     /* every lookup */
	uint32_t l2_lookup;  /* added by every L1 miss */
	uint32_t walk;	     /* added by every walk, for starting it */
	uint32_t entry_read; /* added by every page-table entry read */
	uint32_t ad_write;   /* added by every A or D bit written */
	uint32_t fault;	     /* exception delivery and return */
	uint32_t invlpg;
	uint32_t flush;	    /* MOV CR3 and every invalidation of more than a page */
	uint32_t shootdown; /* at the target: interrupt and return */
};

struct mmu_config {
	struct mmu_features features;
	uint32_t maxphyaddr; /* physical address bits, 32..52 */
	struct mmu_cache_shape cache[MMU_CACHES];
	struct mmu_weights weights;
	/* 1: exact TLB statistics. 0: translation only: no caches but the host table, which is
	 * invalidated as a TLB must be; of the counters only walks, faults and A/D mean something,
	 * and a stale checker has nothing to see. */
	uint32_t statistics;
	/* n > 0: about every n-th lookup drops an entry somewhere, as hardware may at any time
	 * (SDM 4.10.2.2); turns the host table off. */
	uint32_t spurious_invalidation;
	uint32_t seed; /* of spurious invalidation and random replacement */
};

/**
 * mmu_preset - a named configuration: "tiny", "pentium", "skylake", "zen4".
 * Returns a const table, or NULL when there is no such name.
 * Source of the figures: Intel optimization manual (Pentium, Skylake TLB tables), AMD software
 * optimization guide for Zen 4; latencies rounded, for orders of magnitude.
 */
const struct mmu_config *mmu_preset(const char *name);

/**
 * mmu_preset_name - the @index-th preset's name, in a fixed order; NULL beyond the last.
 */
const char *mmu_preset_name(unsigned index);

/**
 * mmu_config_set - set one field by its name.
 * @key: "features.nx", "maxphyaddr", "l1d_4k.sets", "l2_tlb.ways", "psc_pde.replacement",
 *	"weights.walk", "statistics", "spurious_invalidation", "seed" and so on: the field names of
 *	struct mmu_config, the caches by the lower-case rest of their enum name.
 * Returns false for an unknown key or a value beyond the field's range; the field is then as
 * before. What only holds between fields is checked by mmu_config_problem().
 */
bool mmu_config_set(struct mmu_config *config, const char *key, uint64_t value);

/**
 * mmu_config_get - the value that mmu_config_set() would set. Returns false for an unknown key.
 */
bool mmu_config_get(const struct mmu_config *config, const char *key, uint64_t *value);

/**
 * mmu_config_key - the @index-th key, for listings; NULL beyond the last.
 */
const char *mmu_config_key(unsigned index);

/**
 * mmu_config_problem - why this configuration cannot be built, in one sentence; NULL: it can.
 */
const char *mmu_config_problem(const struct mmu_config *config);

/* ---- A CPU ---- */

struct mmu_cpu;

/**
 * mmu_cpu_bytes - the memory that a CPU of this configuration needs; 0 if it cannot be built.
 */
size_t mmu_cpu_bytes(const struct mmu_config *config);

/**
 * mmu_cpu_init - build a CPU in @memory, in its state after reset (no paging).
 * @memory: mmu_cpu_bytes(@config) bytes, aligned to 64; the CPU lives there until it is forgotten.
 * @config: copied.
 * @ram: shared with other CPUs; must outlive the CPU.
 * @number: for reports only.
 * Returns the CPU, or NULL if the configuration cannot be built.
 */
struct mmu_cpu *mmu_cpu_init(void *memory, const struct mmu_config *config, struct mmu_memory *ram,
			     unsigned number);

unsigned mmu_cpu_number(const struct mmu_cpu *cpu);
const struct mmu_config *mmu_cpu_config(const struct mmu_cpu *cpu);
struct mmu_memory *mmu_cpu_memory(const struct mmu_cpu *cpu);

/* ---- Faults ---- */

/* Exception vectors (SDM 6.15). Divide error cannot come from here, so 0 says "none". */
enum mmu_vector {
	MMU_NO_FAULT = 0,
	MMU_UD = 6,
	MMU_NP = 11,
	MMU_SS = 12,
	MMU_GP = 13,
	MMU_PF = 14,
};

struct mmu_fault {
	uint32_t vector;     /* enum mmu_vector */
	uint32_t error_code; /* as pushed; 0 where there is none */
	struct vaddr cr2;    /* #PF only: the address that CR2 got; otherwise 0 */
};

/* ---- Control registers ---- */

enum mmu_mode {
	MMU_MODE_NONE = 0, /* linear = physical */
	MMU_MODE_32BIT,
	MMU_MODE_PAE,
	MMU_MODE_4LEVEL,
	MMU_MODE_5LEVEL,
};

/* All of a CPU's control state. */
struct mmu_state {
	uint64_t cr0;
	uint64_t cr2;
	uint64_t cr3;
	uint64_t cr4;
	uint64_t efer; /* LMA is derived: LME and CR0.PG */
	uint32_t pkru;
	uint32_t pkrs;
	bool code64; /* CS.L: 64-bit code; without it EFER.LMA=1 means compatibility mode */
};

/**
 * mmu_load_state - set everything at once, as a VM entry does; all caches are emptied, and in PAE
 * mode the four PDPTEs are loaded from memory.
 * Returns #GP(0) for a combination that the registers cannot hold, with nothing changed. CR3 bits
 * 11:0 are the PCID when CR4.PCIDE=1, as a state and not as a MOV: bit 63 is refused.
 */
struct mmu_fault mmu_load_state(struct mmu_cpu *cpu, const struct mmu_state *state);
struct mmu_state mmu_save_state(const struct mmu_cpu *cpu);
enum mmu_mode mmu_mode(const struct mmu_cpu *cpu);

uint64_t mmu_read_cr0(const struct mmu_cpu *cpu);
uint64_t mmu_read_cr2(const struct mmu_cpu *cpu);
uint64_t mmu_read_cr3(const struct mmu_cpu *cpu);
uint64_t mmu_read_cr4(const struct mmu_cpu *cpu);
uint64_t mmu_read_efer(const struct mmu_cpu *cpu);
uint32_t mmu_read_pkrs(const struct mmu_cpu *cpu);

/*
 * The writes below are the instructions MOV CRn, WRMSR and so on at CPL 0: they return #GP(0)
 * (vector MMU_GP) where the processor raises it, with nothing changed; otherwise they invalidate
 * exactly what the manual requires (SDM 4.10.4.1). Outside 64-bit code the operand is 32 bits wide.
 */
struct mmu_fault mmu_write_cr0(struct mmu_cpu *cpu, uint64_t value);
void mmu_write_cr2(struct mmu_cpu *cpu, uint64_t value);
/* Bit 63 with CR4.PCIDE=1: keep what is cached under the new PCID. */
struct mmu_fault mmu_write_cr3(struct mmu_cpu *cpu, uint64_t value);
struct mmu_fault mmu_write_cr4(struct mmu_cpu *cpu, uint64_t value);
struct mmu_fault mmu_write_efer(struct mmu_cpu *cpu, uint64_t value);
/* WRPKRU and RDPKRU: #UD without CR4.PKE. */
struct mmu_fault mmu_write_pkru(struct mmu_cpu *cpu, uint32_t value);
struct mmu_fault mmu_read_pkru(const struct mmu_cpu *cpu, uint32_t *value);
/* WRMSR IA32_PKRS: #GP without the feature or with a bit in 63:32. */
struct mmu_fault mmu_write_pkrs(struct mmu_cpu *cpu, uint64_t value);

/**
 * mmu_set_code64 - a far jump changed CS.L. With EFER.LMA=1: 64-bit code (canonical addresses) or
 * compatibility mode (32-bit linear addresses). Without LMA it is false and stays so.
 */
void mmu_set_code64(struct mmu_cpu *cpu, bool code64);

/* ---- Invalidation ---- */

/**
 * mmu_invlpg - INVLPG at CPL 0. A non-canonical address is a no-op.
 * Drops the page of @va under the current PCID and global, and all paging-structure caches of the
 * current PCID. Cost: one set of each cache.
 */
void mmu_invlpg(struct mmu_cpu *cpu, struct vaddr va);

enum mmu_invpcid_type {
	MMU_INVPCID_ADDRESS = 0,
	MMU_INVPCID_SINGLE = 1,
	MMU_INVPCID_ALL_GLOBAL = 2,
	MMU_INVPCID_ALL = 3,
};

/**
 * mmu_invpcid - INVPCID at CPL 0.
 * @type: enum mmu_invpcid_type; others #GP.
 * @pcid: the descriptor's first 8 bytes; bits 63:12 must be zero.
 * Returns #UD without the feature, #GP(0) for a bad descriptor (SDM volume 2, INVPCID).
 */
struct mmu_fault mmu_invpcid(struct mmu_cpu *cpu, uint64_t type, uint64_t pcid, struct vaddr va);

enum mmu_shootdown_kind {
	MMU_SHOOT_NONE = 0,
	MMU_SHOOT_PAGES,      /* INVLPG of each page in [va, va + pages * 4096) */
	MMU_SHOOT_PCID,	      /* all non-global of a PCID, and its paging-structure caches */
	MMU_SHOOT_ALL,	      /* all non-global of all PCIDs */
	MMU_SHOOT_ALL_GLOBAL, /* everything */
};

struct mmu_shootdown {
	uint32_t kind;	 /* enum mmu_shootdown_kind */
	uint32_t pcid;	 /* PAGES (taken under this PCID, and global), PCID */
	struct vaddr va; /* PAGES */
	uint64_t pages;	 /* PAGES: 1.. */
};

/**
 * mmu_post_shootdown - ask another CPU to invalidate, as an interrupt would.
 * The target takes it before its next access, or at mmu_accept_shootdowns(); until then its caches
 * are as they were. A full queue (16) merges into MMU_SHOOT_ALL_GLOBAL, which is always allowed.
 * Context: any thread.
 */
void mmu_post_shootdown(struct mmu_cpu *target, const struct mmu_shootdown *request);

/* The number of posted requests not yet taken: what an initiator waits for. Any thread. */
unsigned mmu_shootdowns_pending(const struct mmu_cpu *target);

/* Take all posted requests now. Returns how many. Context: the target's thread. */
unsigned mmu_accept_shootdowns(struct mmu_cpu *cpu);

/**
 * mmu_hold_shootdowns - interrupts off: accesses no longer take posted requests (explicit
 * acceptance does). Shows late shootdowns. Off after init.
 */
void mmu_hold_shootdowns(struct mmu_cpu *cpu, bool hold);

/* What a CPU's caches were told to drop. */
enum mmu_drop_kind {
	MMU_DROP_NOTHING = 0, /* but verdicts changed (WP, SMAP, keys), or the PCID did */
	MMU_DROP_PAGE,	      /* of one address, under one PCID */
	MMU_DROP_PAGE_GLOBAL, /* and as a global page */
	MMU_DROP_PCID,	      /* all non-global of one PCID */
	MMU_DROP_PCID_GLOBAL, /* and all global */
	MMU_DROP_ALL_PCIDS,   /* all non-global */
	MMU_DROP_EVERYTHING,
};

struct mmu_drop {
	uint32_t kind;	 /* enum mmu_drop_kind */
	uint32_t pcid;	 /* PAGE*, PCID* */
	struct vaddr va; /* PAGE* */
};

struct mmu_listener {
	void *context;
	/* After the drop, with the control registers as they are from then on. Must not use this
	 * CPU but for reading; may run while a posted request is being taken. */
	void (*dropped)(void *context, const struct mmu_cpu *cpu, const struct mmu_drop *drop);
};

/**
 * mmu_set_listener - tell somebody who keeps copies of translations outside of the CPU.
 * @listener: copied; NULL turns it off.
 */
void mmu_set_listener(struct mmu_cpu *cpu, const struct mmu_listener *listener);

/* ---- Accesses ---- */

enum mmu_kind {
	MMU_READ = 0,
	MMU_WRITE,
	MMU_FETCH,
	MMU_RMW, /* LOCK, XCHG, CMPXCHG whether it stores or not: rights and D as a write */
	MMU_KINDS
};

/* Who accesses: the four cases that the rules tell apart (SDM 4.6). */
enum mmu_context {
	MMU_SUPERVISOR = 0, /* CPL < 3, EFLAGS.AC = 0 */
	MMU_SUPERVISOR_AC,  /* CPL < 3, EFLAGS.AC = 1: SMAP suspended */
	MMU_USER,	    /* CPL = 3, explicit */
	MMU_IMPLICIT,	    /* GDT, LDT, IDT, TSS accesses at any CPL: supervisor, AC ignored */
	MMU_CONTEXTS
};

struct mmu_access {
	uint8_t kind;	 /* enum mmu_kind */
	uint8_t context; /* enum mmu_context */
	uint8_t via_ss;	 /* 1: through SS; a non-canonical address then gives #SS */
	uint8_t unused;	 /* makes four bytes, which fit a register as they are */
};

/* Where a translation came from. */
enum mmu_source {
	MMU_FROM_L1 = 0, /* the fast path included */
	MMU_FROM_L2,
	MMU_FROM_WALK,
	MMU_FROM_NOWHERE, /* no paging, or a fault before any lookup */
};

/* A translation as caches hold it: raw attributes, never a verdict. */
struct mmu_entry {
	struct paddr page;  /* first byte of the page; paging-structure cache: the next table */
	uint8_t page_shift; /* log2 of the size in the page table: 12, 21, 22, 30 */
	uint8_t rights;	    /* MMU_RIGHT_*, combined over all levels */
	uint8_t key;	    /* protection key of the leaf */
	uint8_t pat;	    /* index into IA32_PAT: 4 PAT + 2 PCD + PWT of the leaf */
	uint8_t dirty;	    /* the leaf's D */
	uint8_t global;	    /* the leaf's G, if CR4.PGE */
};

#define MMU_RIGHT_W 1u /* R/W = 1 at all levels */
#define MMU_RIGHT_U 2u /* U/S = 1 at all levels */
#define MMU_RIGHT_X 4u /* XD = 0 at all levels */

struct mmu_piece {
	struct paddr paddr;
	uint32_t bytes;
};

/* Access sizes: 1..64 bytes. Longer ones are several accesses, as they are on hardware. */
#define MMU_ACCESS_MAX_BYTES 64u

struct mmu_result {
	struct mmu_fault fault;
	uint32_t pieces;	   /* 1, or 2 when the access crosses a page; 0 on a fault */
	struct mmu_piece piece[2]; /* in address order */
	/* What it cost; of a crossing access the sum, and the farther source. */
	uint8_t source;	     /* enum mmu_source */
	uint8_t psc_hits;    /* paging-structure-cache hits */
	uint8_t entry_reads; /* page-table entries read */
	uint8_t ad_writes;   /* A and D bits written */
};

/*
 * mmu_translate() is in fast.h, an inline function over the host fast path:
 *
 * mmu_translate - one access' translation, with all its effects: A and D bits, caches, statistics,
 * CR2, posted shootdowns. No data is moved.
 * @bytes: 1..MMU_ACCESS_MAX_BYTES.
 * @result: all set on a fault; without one, fault.vector, pieces and piece[] and the cost.
 * Returns 0, or the vector. Cost: a few ns on an L1 hit; on a miss one walk a page, repeated only
 * while entries change underneath.
 */

/**
 * mmu_read, mmu_write, mmu_fetch - move data through the translation.
 * @bytes: 1..MMU_ACCESS_MAX_BYTES.
 * @access: .kind of mmu_write is MMU_WRITE or MMU_RMW; mmu_read and mmu_fetch set it themselves.
 * @fault: set when not 0 is returned.
 * Returns 0, or the vector: nothing was read into @to, or no byte of memory was written, also when
 * only the second page faults.
 */
uint32_t mmu_read(struct mmu_cpu *cpu, struct vaddr va, void *to, uint32_t bytes,
		  struct mmu_access access, struct mmu_fault *fault);
uint32_t mmu_write(struct mmu_cpu *cpu, struct vaddr va, const void *from, uint32_t bytes,
		   struct mmu_access access, struct mmu_fault *fault);
uint32_t mmu_fetch(struct mmu_cpu *cpu, struct vaddr va, void *to, uint32_t bytes,
		   struct mmu_access access, struct mmu_fault *fault);

/* Physical accesses, as a device or the walker makes them. Beyond the end: ones, dropped, counted.
 */
void mmu_memory_read(struct mmu_memory *ram, struct paddr at, void *to, uint32_t bytes);
void mmu_memory_write(struct mmu_memory *ram, struct paddr at, const void *from, uint32_t bytes);

/* ---- Queries ---- */

#define MMU_LEVELS_MAX 5

struct mmu_walk_entry {
	struct paddr at; /* where it was read; a latched PDPTE: where it was loaded from */
	uint64_t value;
	uint8_t level; /* 0 PTE, 1 PDE, 2 PDPTE, 3 PML4E, 4 PML5E */
	uint8_t bytes; /* 4 or 8 */
	bool latched;  /* a PAE PDPTE register: memory was not read and has no A bit to set */
};

struct mmu_walk {
	uint32_t count; /* entries met, top down */
	struct mmu_walk_entry entry[MMU_LEVELS_MAX];
	struct mmu_fault fault; /* cr2 is the address asked for */
	struct mmu_entry leaf;	/* valid unless not present or reserved */
	struct paddr paddr;	/* with the page offset; as leaf */
	bool mapped;		/* leaf and paddr are valid */
	bool accessed;		/* A = 1 in every entry met that has one */
};

/**
 * mmu_walk - what a fresh walk of the tables in memory gives for @va; no effect on anything.
 * @access: judged for its rights; NULL: a query, which only fails for non-canonical, not-present
 *	(error code 0) and reserved bits (P and RSVD).
 * Returns 0, or the vector, as walk->fault. Cost: the entry reads.
 */
uint32_t mmu_walk(const struct mmu_cpu *cpu, struct vaddr va, const struct mmu_access *access,
		  struct mmu_walk *walk);

/**
 * mmu_judge - what an access gets from a translation with these attributes, D aside.
 * Returns 0, or the error code of its protection fault. Cost: a table look-up.
 */
uint32_t mmu_judge(const struct mmu_cpu *cpu, struct mmu_access access,
		   const struct mmu_entry *entry);

/**
 * mmu_visit_cached - call @visit for each valid entry of one cache, sets first, then ways.
 * @va: the first address that the entry translates (its piece, if the page was cut).
 */
typedef void (*mmu_visit_fn)(void *context, struct vaddr va, unsigned pcid,
			     const struct mmu_entry *entry);
void mmu_visit_cached(const struct mmu_cpu *cpu, enum mmu_cache_id cache, mmu_visit_fn visit,
		      void *context);

/* ---- Stale checker ---- */

enum mmu_stale_kind {
	MMU_STALE_NONE = 0,
	MMU_STALE_UNMAPPED, /* a fresh walk finds no translation */
	MMU_STALE_FRAME,    /* a fresh walk gives another physical address */
	MMU_STALE_RIGHTS,   /* a fresh walk refuses this access */
	MMU_STALE_DIRTY,    /* a write that leaves D = 0 in memory, because the cache says D = 1 */
	MMU_STALE_FAULT,    /* a walk from a paging-structure cache faults, a fresh one does not */
	MMU_STALE_TABLE,    /* a walk reads a frame that is no page table (any more) */
	MMU_STALE_KINDS
};

struct mmu_stale {
	uint32_t kind; /* enum mmu_stale_kind */
	const struct mmu_cpu *cpu;
	struct vaddr va; /* of the access, in the page concerned */
	struct mmu_access access;
	uint32_t source;	 /* enum mmu_source of the translation used */
	struct mmu_entry cached; /* what was used; MMU_STALE_TABLE and _FAULT: page is the table */
	struct paddr used;	 /* physical address used; MMU_STALE_TABLE: of the entry read */
	const struct mmu_walk *fresh; /* what a fresh walk gives; valid during the call */
};

/* An entry that a walk has read, in the frame that it takes for a page table. */
struct mmu_table_read {
	struct paddr at;
	bool linked; /* a fresh walk reads the same entry: the tables in memory lead there */
	/* The entry that leads to this table, if linked and not the top one; else MMU_NO_PARENT. */
	struct paddr parent;
};

#define MMU_NO_PARENT (~0ull)

struct mmu_checker {
	void *context;
	/* Called for each stale use, before the access goes on with what is cached. Must not use
	 * this CPU. Who wrote the entry last (fresh->entry[].at) is for the callee to look up. */
	void (*stale)(void *context, const struct mmu_stale *stale);
	/* Is the frame of read->at a page table now? NULL: not asked. Called for every entry that
	 * a walk reads. False: MMU_STALE_TABLE. */
	bool (*is_table)(void *context, const struct mmu_table_read *read);
};

/**
 * mmu_set_checker - compare every use of a cached translation with a fresh walk.
 * @checker: copied; NULL turns it off. Uses that SDM 4.10.4.3 allows without invalidation (more
 *	rights in memory than cached, A cleared) are no reports.
 * Cost: a walk for each access; the host fast path is off meanwhile. Statistics stay the same.
 */
void mmu_set_checker(struct mmu_cpu *cpu, const struct mmu_checker *checker);

/* ---- Statistics ---- */

/* Counts since init or reset. A lookup is one page of one access: a crossing access makes two. */
struct mmu_statistics {
	uint64_t data_lookups;
	uint64_t fetch_lookups;
	uint64_t l1_data_hits;	/* derived: lookups - misses */
	uint64_t l1_fetch_hits; /* derived */
	uint64_t l1_data_misses;
	uint64_t l1_fetch_misses;
	uint64_t l2_hits;
	uint64_t walks;		/* L2 misses */
	uint64_t dirty_walks;	/* first writes through an entry with D = 0: hits that walk again */
	uint64_t walk_restarts; /* an entry changed under the walker */
	uint64_t entry_reads;
	uint64_t psc_hits[MMU_LEVELS_MAX]; /* walks begun below an entry of this level */
	uint64_t accessed_writes;	   /* A bits set */
	uint64_t dirty_writes;		   /* D bits set */
	uint64_t faults_not_present;
	uint64_t faults_reserved;
	uint64_t faults_protection; /* P = 1, neither reserved nor key */
	uint64_t faults_key;
	uint64_t faults_address; /* #GP and #SS: not canonical */
	uint64_t invlpg;	 /* single pages: INVLPG, INVPCID 0, pages of shootdowns */
	uint64_t flushes;	 /* every invalidation of more than a page */
	uint64_t dropped;	 /* TLB and paging-structure entries dropped by either, or by #PF */
	uint64_t spurious;	 /* entries dropped by spurious invalidation */
	uint64_t l1_evictions;
	uint64_t l2_evictions;
	uint64_t shootdowns_posted;
	uint64_t shootdowns_taken;
	uint64_t stale_uses; /* reports of the checker */
};

void mmu_get_statistics(const struct mmu_cpu *cpu, struct mmu_statistics *statistics);
void mmu_reset_statistics(struct mmu_cpu *cpu);

/* Cycles = counts x weights. */
uint64_t mmu_cycles(const struct mmu_statistics *statistics, const struct mmu_weights *weights);

#include "mmu/fast.h"

#endif
