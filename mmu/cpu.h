/*
 * cpu.h - all of one CPU. Private to mmu/.
 */
#ifndef KMEMLAB_MMU_CPU_H
#define KMEMLAB_MMU_CPU_H

#include "mmu/control.h"
#include "mmu/tlb.h"

/* Posted requests that a CPU can hold before they merge into one of everything. */
#define CPU_SHOOTDOWNS 16

struct mmu_cpu {
	struct mmu_front front; /* first: fast.h */
	struct mmu_config config;
	struct mmu_memory *ram;
	unsigned number;
	struct control control;
	struct tlb tlb;
	struct mmu_checker checker;
	struct mmu_listener listener;
	bool checking;
	bool watched; /* checker or spurious invalidation: no hit may go unseen */

	/* Posted by other CPUs; `posting` is a spin lock over the queue. */
	bool posting;
	bool hold;
	uint32_t posted;
	struct mmu_shootdown queue[CPU_SHOOTDOWNS];

	/* Counts; lookups are the ticks since `first_*`. */
	struct mmu_statistics counts;
	uint64_t first_tick;
	uint64_t first_fetch;
};

/* register.c: what a register write asked for. */
void cpu_flush(struct mmu_cpu *cpu, enum control_flush flush);

/* register.c: set `watched`; the fast path is off meanwhile. */
void cpu_watch(struct mmu_cpu *cpu, bool watched);

/* register.c: take what was posted. Returns how many. */
unsigned cpu_take_posted(struct mmu_cpu *cpu);

#endif
