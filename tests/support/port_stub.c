#include "tests/support/port_stub.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "alloc/port.h"

jmp_buf stub_panic_jump;
bool stub_panic_expected;
const char *stub_panic_why;
_Thread_local unsigned stub_thread_cpu;

static struct stub_machine *current;

static void give_up(const char *what)
{
	perror(what);
	abort();
}

#define VIEW_ALIGN                                                                     \
	(2ul << 20) /* as a kernel's direct map: pointers are as aligned as frames are \
		     */

static char *view_new(struct stub_machine *m, int prot)
{
	char *room = mmap(NULL, m->ram_bytes + VIEW_ALIGN, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (room == MAP_FAILED)
		give_up("port stub: mmap");
	char *view = (char *)(((uintptr_t)room + VIEW_ALIGN - 1) & ~(VIEW_ALIGN - 1));
	if (mmap(view, m->ram_bytes, prot, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, m->fd, 0) ==
	    MAP_FAILED)
		give_up("port stub: mmap");
	if (view > room)
		munmap(room, (size_t)(view - room));
	munmap(view + m->ram_bytes, VIEW_ALIGN - (size_t)(view - room));
	return view;
}

static void view_set(struct stub_machine *m, char *view, int prot)
{
	if (mprotect(view, m->ram_bytes, prot))
		give_up("port stub: mprotect");
}

struct stub_machine *stub_machine_new(uint64_t ram_bytes, struct vaddr direct_map,
				      bool paging_at_start)
{
	struct stub_machine *m = calloc(1, sizeof(*m));

	m->ram_bytes = ram_bytes;
	m->direct_map = direct_map;
	m->paging_at_start = paging_at_start;
	m->fd = memfd_create("stub-ram", MFD_CLOEXEC);
	if (m->fd < 0 || ftruncate(m->fd, (off_t)ram_bytes))
		give_up("port stub: RAM");
	m->ram = view_new(m, PROT_READ | PROT_WRITE);
	m->boot_view = view_new(m, PROT_READ | PROT_WRITE);
	m->direct_view = view_new(m, PROT_NONE);
	m->cr0 = X86_CR0_PE;
	if (paging_at_start) {
		m->cr0 |= X86_CR0_PG;
		m->cr4 = X86_CR4_PAE;
		m->efer = X86_EFER_LME | X86_EFER_LMA;
	}
	if (!current)
		current = m;
	return m;
}

void stub_machine_free(struct stub_machine *m)
{
	if (!m)
		return;
	munmap(m->ram, m->ram_bytes);
	munmap(m->boot_view, m->ram_bytes);
	munmap(m->direct_view, m->ram_bytes);
	close(m->fd);
	if (current == m)
		current = NULL;
	free(m);
}

void stub_machine_use(struct stub_machine *m)
{
	current = m;
}

void stub_machine_skip_boot(struct stub_machine *m)
{
	view_set(m, m->boot_view, PROT_NONE);
	view_set(m, m->direct_view, PROT_READ | PROT_WRITE);
	m->booted = true;
}

void *port_ptr(struct vaddr va)
{
	/* Without paging there is one view, and kernel addresses are physical. */
	char *view = current->booted || current->direct_map.a ? current->direct_view
							      : current->boot_view;

	return view + (va.a - current->direct_map.a);
}

struct vaddr port_vaddr(const void *pointer)
{
	const char *base = port_ptr(current->direct_map);

	return vaddr_add(current->direct_map, (uint64_t)((const char *)pointer - base));
}

void *port_boot_ptr(struct paddr pa)
{
	return current->boot_view + pa.a;
}

uint64_t port_read_cr0(void)
{
	return current->cr0;
}

uint64_t port_read_cr3(void)
{
	return current->cr3;
}

uint64_t port_read_cr4(void)
{
	return current->cr4;
}

uint64_t port_read_efer(void)
{
	return current->efer;
}

void port_write_cr0(uint64_t value)
{
	bool turned_on = (value & X86_CR0_PG) && !(current->cr0 & X86_CR0_PG);

	if ((value & X86_CR0_PG) && !(value & X86_CR0_PE))
		port_panic("#GP: PG without PE");
	if (turned_on && (current->efer & X86_EFER_LME) && !(current->cr4 & X86_CR4_PAE))
		port_panic("#GP: long mode without PAE");
	current->cr0 = value;
	if (turned_on)
		stub_machine_skip_boot(current);
}

void port_write_cr3(uint64_t value)
{
	current->cr3 = value;
	if (current->cr0 & X86_CR0_PG)
		stub_machine_skip_boot(current);
}

void port_write_cr4(uint64_t value)
{
	if ((current->efer & X86_EFER_LMA) && !(value & X86_CR4_PAE))
		port_panic("#GP: PAE cleared in long mode");
	current->cr4 = value;
}

void port_write_efer(uint64_t value)
{
	if ((current->cr0 & X86_CR0_PG) && ((value ^ current->efer) & X86_EFER_LME))
		port_panic("#GP: LME changed while paging is on");
	current->efer = value;
}

void port_invlpg(struct vaddr va)
{
	(void)va;
	current->invlpgs++;
}

/* Nothing is cached here. */
void port_shootdown(unsigned cpu, struct vaddr va, uint64_t pages)
{
	(void)cpu;
	(void)va;
	(void)pages;
}

void port_set_fault_handler(port_fault_handler handler, void *context)
{
	current->fault_handler = handler;
	current->fault_context = context;
}

unsigned port_cpu(void)
{
	return current->cpu + stub_thread_cpu;
}

/* Threads of the host are CPUs here. */
void port_spin_wait(const struct spinlock *lock)
{
	(void)lock;
	sched_yield();
}

void port_panic(const char *why)
{
	stub_panic_why = why;
	if (stub_panic_expected) {
		stub_panic_expected = false;
		longjmp(stub_panic_jump, 1);
	}
	fprintf(stderr, "kernel panic: %s\n", why);
	abort();
}
