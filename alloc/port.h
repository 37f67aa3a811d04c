/*
 * port.h - everything that kernel code may ask of the outside. Each outside (the lab, a unit test,
 * a bare-metal image) implements it. Nothing here is allocator-specific, and no host pointer that
 * is not a kernel address ever crosses it.
 *
 * A kernel address and the C pointer that stands for it differ by one constant a machine; only
 * port_ptr() and port_vaddr() know it.
 */
#ifndef KMEMLAB_ALLOC_PORT_H
#define KMEMLAB_ALLOC_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "alloc/addr.h"

/* The C library's four that a compiler may call on its own; the outside provides them. */
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int byte, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

/* Pointer for a kernel virtual address and back. Cost: one addition. Any context. The address need
 * not be mapped; a touch of an unmapped one is a page fault. */
void *port_ptr(struct vaddr va);
struct vaddr port_vaddr(const void *pointer);

/* Where the boot loader lets the kernel see physical memory before the kernel's own page tables:
 * with paging off the address itself, in long mode the loader's window. Valid until
 * port_write_cr3() (long mode) or the port_write_cr0() that sets PG; touching such a pointer later
 * is a fault. */
void *port_boot_ptr(struct paddr pa);

/* Control registers of the current CPU. A value that the processor would refuse with #GP is a
 * panic. */
uint64_t port_read_cr0(void);
uint64_t port_read_cr3(void);
uint64_t port_read_cr4(void);
uint64_t port_read_efer(void);
void port_write_cr0(uint64_t value);
void port_write_cr3(uint64_t value);
void port_write_cr4(uint64_t value);
void port_write_efer(uint64_t value);

/* INVLPG: drops the current CPU's translation of the page that holds the address. */
void port_invlpg(struct vaddr va);

/* Has another CPU do INVLPG of each page in [va, va + pages * 4096), under what it runs, and
 * returns when it has: an interrupt and its acknowledgement. */
void port_shootdown(unsigned cpu, struct vaddr va, uint64_t pages);

/* Serves a page fault of kernel code: the address that CR2 got, and the error code as pushed
 * (X86_PF_*). Returns true when the access is to be done again; false ends the kernel's operation
 * with a report. May touch windows itself: a fault in here on the same page for the same reason, or
 * one too many inside one another, is a double fault. */
typedef bool (*port_fault_handler)(void *context, struct vaddr va, uint32_t error_code);

/* The machine's one handler, of all CPUs; NULL: none, as after reset. CONTEXT is a kernel address
 * or NULL. Runs on the faulting CPU, in the middle of whatever touched the address. */
void port_set_fault_handler(port_fault_handler handler, void *context);

/* Number of the current CPU, 0 ... */
unsigned port_cpu(void);

/* One look of the current CPU at a lock (lock.h) that another CPU has, before the next: PAUSE. Does
 * not return where the outside knows that the lock will not come free. */
struct spinlock;
void port_spin_wait(const struct spinlock *lock);

/* The kernel cannot go on. WHY is a constant string. Does not return. */
__attribute__((noreturn)) void port_panic(const char *why);

#endif
