/*
 * window.h - kernel addresses beyond the direct map, as plain pointers: host pages that are mapped
 * when the simulated tables say so and unmapped when a TLB would forget them.
 *
 * Stands between a machine's reservation and mmu/. The native build comes here by SIGSEGV
 * (window_touch, called by trap.c), the probed build before each access (window_show, called by
 * probe.c). Kernel code does not know of it.
 *
 * Context: window_touch() runs in a signal handler: no allocation, no stdio, no GLib; the lock is
 * held for look-ups and mmap only, never while kernel code runs. All of it is for any host thread.
 */
#ifndef KMEMLAB_SIM_WINDOW_H
#define KMEMLAB_SIM_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "mmu/mmu.h"
#include "sim/ram.h"

/* Live host mappings: about a second-level TLB. At least so many that one instruction and the
 * faults nested in it make progress; at most what fits beside others into Linux's default
 * vm.max_map_count of 65,530, two a fill. */
#define WINDOW_FILLS_DEFAULT 1024u
#define WINDOW_FILLS_MIN     16u
#define WINDOW_FILLS_MAX     16384u

struct windows;

/* Counts since windows_new(). */
struct window_statistics {
	uint64_t fills;	  /* pages mapped after a walk */
	uint64_t refills; /* mapped again without a walk: a large page's next piece, a PCID's return
			   */
	uint64_t upgrades;  /* first writes to a page that was filled for reading (D) */
	uint64_t evictions; /* fills that made room for another */
	uint64_t drops;	    /* fills that an invalidation took away */
	uint64_t faults;    /* touches that the tables refused */
	uint64_t shows;	    /* probed build: host pages changed before an access */
	uint64_t live;	    /* fills now */
};

/* BASE: the kernel address that RESERVATION[0] stands for. FILLS: the cap. RAM must outlive it. */
struct windows *windows_new(const struct ram *ram, uint8_t *reservation, uint64_t base,
			    unsigned fills);
/* Leaves the host mappings to whoever unmaps the reservation. */
void windows_free(struct windows *windows);

/* From now on CPU's translations are what native pointers mean. Where its control registers differ
 * from the last one's, fills go or are protected anew. Cost: a compare if they do not. */
void windows_switch(struct windows *windows, const struct mmu_cpu *cpu);

/* The CPU's invalidations drop fills from now on. */
void windows_listen(struct windows *windows, struct mmu_cpu *cpu);

/* A machine whose kernel is the probed build: fills are what probes show, nothing else counts. */
void windows_set_probed(struct windows *windows, bool probed);

enum window_verdict {
	WINDOW_READY = 0, /* mapped: do the access again */
	WINDOW_FAULT,	  /* #PF, in *fault; CR2 is set */
	WINDOW_UNPAGED,	  /* CR0.PG = 0, and the address is no RAM */
	WINDOW_NO_RAM,	  /* the tables lead to where there is no RAM; fault->cr2 is the place */
	WINDOW_REFUSED,	  /* the host maps no more */
};

/* A touch that the host could not do, as the CPU shown. A and D bits, protection and what remains
 * cached are as a TLB's. Cost: a walk and an mmap. */
enum window_verdict window_touch(struct windows *windows, struct mmu_cpu *cpu, struct vaddr va,
				 bool write, struct mmu_fault *fault);

/* Before an access of the probed build: the host page at VA becomes the frame at PADDR, which is
 * where the CPU's own TLB leads. Cost: a look-up, if it is that already. */
enum window_verdict window_show(struct windows *windows, struct vaddr va, struct paddr paddr);

void windows_statistics(const struct windows *windows, struct window_statistics *statistics);

/* All that has cost the host something so far: where it has not changed, nothing has. */
uint64_t windows_events(const struct windows *windows);

#endif
