/*
 * port_stub.h - the smallest outside that kernel code can stand on, for unit tests: sparse RAM, a
 * direct map, control registers that only remember. No MMU: what the page tables say is for the
 * test to read.
 *
 * RAM has three views: the test's own, always there; the loader's, which boot pointers lead into
 * and which is taken away when the kernel turns its own paging on; the kernel's direct map, which
 * is not there before. So that a kernel which touches either at the wrong time crashes here too.
 */
#ifndef KMEMLAB_TESTS_SUPPORT_PORT_STUB_H
#define KMEMLAB_TESTS_SUPPORT_PORT_STUB_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include "alloc/addr.h"
#include "alloc/port.h"

struct stub_machine {
	int fd;
	uint64_t ram_bytes;
	struct vaddr direct_map;
	bool paging_at_start; /* long mode: the loader's tables are in force */
	bool booted;	      /* the kernel's tables are */
	char *ram;	      /* the test's view */
	char *boot_view;
	char *direct_view;
	uint64_t cr0, cr3, cr4, efer;
	unsigned cpu;
	uint64_t invlpgs;
	port_fault_handler fault_handler; /* called by tests that have something to fault */
	void *fault_context;
};

/* A machine of RAM_BYTES (sparse: 1 TiB is fine). PAGING_AT_START: as a loader leaves a machine in
 * long mode; otherwise protected mode, paging off. The first one made is the current one. */
struct stub_machine *stub_machine_new(uint64_t ram_bytes, struct vaddr direct_map,
				      bool paging_at_start);
void stub_machine_free(struct stub_machine *machine);

/* The machine that port_*() means from now on. */
void stub_machine_use(struct stub_machine *machine);

/* Added to the machine's `cpu` on this host thread. */
extern _Thread_local unsigned stub_thread_cpu;

/* Makes the direct map usable as if boot had been: for tests of an allocator alone. */
void stub_machine_skip_boot(struct stub_machine *machine);

/* A panic jumps here instead of aborting, while it is set; the reason is kept.
 *	if (!setjmp(stub_panic_jump)) { stub_panic_expected = true; ... } */
extern jmp_buf stub_panic_jump;
extern bool stub_panic_expected;
extern const char *stub_panic_why;

#endif
