/*
 * The lab's implementation of alloc/port.h, for both builds of the kernel: the probed build's
 * undefined symbols carry the prefix "probed_" and are the same functions.
 */
#include "alloc/port.h"

#include <limits.h>

#include "alloc/lock.h"
#include "sim/invalidation.h"
#include "sim/machine.h"
#include "sim/trap.h"

#define NO_CPU UINT_MAX

static _Thread_local struct machine *current;
static _Thread_local unsigned own_cpu = NO_CPU; /* of a host thread that is a CPU by itself */

void machine_enter(struct machine *machine)
{
	current = machine;
	own_cpu = NO_CPU;
}

void machine_enter_as(struct machine *machine, unsigned cpu)
{
	current = machine;
	own_cpu = cpu;
}

void machine_leave(void)
{
	current = NULL;
	own_cpu = NO_CPU;
}

unsigned machine_cpu(const struct machine *machine)
{
	return own_cpu == NO_CPU ? machine->current_cpu : own_cpu;
}

struct machine *machine_current(void)
{
	return current;
}

static struct mmu_cpu *cpu(void)
{
	return current->cpu[machine_cpu(current)];
}

void *port_ptr(struct vaddr va)
{
	return machine_pointer(current, va);
}

struct vaddr port_vaddr(const void *pointer)
{
	return machine_vaddr(current, pointer);
}

void *port_boot_ptr(struct paddr pa)
{
	struct vaddr window = { current->layout->boot_window + pa.a };

	return machine_pointer(current, window);
}

uint64_t port_read_cr0(void)
{
	return mmu_read_cr0(cpu());
}

uint64_t port_read_cr3(void)
{
	return mmu_read_cr3(cpu());
}

uint64_t port_read_cr4(void)
{
	return mmu_read_cr4(cpu());
}

uint64_t port_read_efer(void)
{
	return mmu_read_efer(cpu());
}

static void written(struct mmu_fault fault, const char *what, uint64_t value)
{
	if (fault.vector != MMU_NO_FAULT)
		trap_die("panic", "#GP(%u) on a write of 0x%" PRIx64 " to %s", fault.error_code,
			 value, what);
	machine_paging_changed(current);
}

void port_write_cr0(uint64_t value)
{
	written(mmu_write_cr0(cpu(), value), "CR0", value);
}

/* A test wants to see what becomes of it. */
static bool is_lost(enum machine_invalidation_kind kind, unsigned target, struct vaddr va,
		    uint64_t pages)
{
	const struct machine_invalidations *i = &current->invalidations;
	struct machine_invalidation what = { kind, target, va, pages };

	return i->lose && i->lose(i->context, &what);
}

static void audit_flush(void)
{
	struct machine_invalidations *count = &current->invalidations;

	if (!current->config->stale_check)
		return;
	count->flushes++;
	count->flushes_superfluous += !invalidation_flush_is_owed(cpu());
}

/* The same value again: there is no other reason than what it drops. */
void port_write_cr3(uint64_t value)
{
	bool flush = value == mmu_read_cr3(cpu());

	if (flush)
		audit_flush();
	if (is_lost(flush ? INVALIDATION_FLUSH : INVALIDATION_LOAD, machine_cpu(current),
		    (struct vaddr){ 0 }, 0) &&
	    flush)
		return;
	written(mmu_write_cr3(cpu(), value), "CR3", value);
}

void port_write_cr4(uint64_t value)
{
	written(mmu_write_cr4(cpu(), value), "CR4", value);
}

void port_write_efer(uint64_t value)
{
	written(mmu_write_efer(cpu(), value), "EFER", value);
}

void port_invlpg(struct vaddr va)
{
	struct machine_invalidations *count = &current->invalidations;

	if (current->config->stale_check) {
		count->invlpg++;
		count->invlpg_superfluous += !invalidation_is_owed(cpu(), va);
	}
	if (!is_lost(INVALIDATION_PAGE, machine_cpu(current), va, 1))
		mmu_invlpg(cpu(), va);
}

/* The target takes what is posted before its next access, so for the sender it is done. */
void port_shootdown(unsigned target, struct vaddr va, uint64_t pages)
{
	struct mmu_shootdown request = { .kind = MMU_SHOOT_PAGES,
					 .pcid = (uint32_t)(mmu_read_cr4(cpu()) & X86_CR4_PCIDE
								    ? mmu_read_cr3(cpu()) &
									      X86_CR3_PCID
								    : 0),
					 .va = va,
					 .pages = pages };

	if (!is_lost(INVALIDATION_SHOOTDOWN, target, va, pages))
		mmu_post_shootdown(current->cpu[target], &request);
}

void port_set_fault_handler(port_fault_handler handler, void *context)
{
	current->fault_handler = handler;
	current->fault_context = context;
}

unsigned port_cpu(void)
{
	return machine_cpu(current);
}

void port_spin_wait(const struct spinlock *lock)
{
	unsigned holder = __atomic_load_n(&lock->holder, __ATOMIC_RELAXED); /* and 1 */

	if (holder == machine_cpu(current) + 1)
		trap_die("deadlock", "CPU %u waits for a lock that it has itself",
			 machine_cpu(current));
	if (!current->spin_wait)
		trap_die("deadlock",
			 "CPU %u waits for a lock that CPU %d has, which is not running",
			 machine_cpu(current), (int)holder - 1);
	current->spin_wait(current->spin_context, lock);
}

void port_panic(const char *why)
{
	trap_die("panic", "%s", why);
}

#define ALSO_PROBED(type, name, parameters) \
	type probed_##name parameters;      \
	type probed_##name parameters __attribute__((alias(#name)))

ALSO_PROBED(void *, port_ptr, (struct vaddr va));
ALSO_PROBED(struct vaddr, port_vaddr, (const void *pointer));
ALSO_PROBED(void *, port_boot_ptr, (struct paddr pa));
ALSO_PROBED(uint64_t, port_read_cr0, (void));
ALSO_PROBED(uint64_t, port_read_cr3, (void));
ALSO_PROBED(uint64_t, port_read_cr4, (void));
ALSO_PROBED(uint64_t, port_read_efer, (void));
ALSO_PROBED(void, port_write_cr0, (uint64_t value));
ALSO_PROBED(void, port_write_cr3, (uint64_t value));
ALSO_PROBED(void, port_write_cr4, (uint64_t value));
ALSO_PROBED(void, port_write_efer, (uint64_t value));
ALSO_PROBED(void, port_invlpg, (struct vaddr va));
ALSO_PROBED(void, port_shootdown, (unsigned target, struct vaddr va, uint64_t pages));
ALSO_PROBED(void, port_set_fault_handler, (port_fault_handler handler, void *context));
ALSO_PROBED(unsigned, port_cpu, (void));
ALSO_PROBED(void, port_spin_wait, (const struct spinlock *lock));
ALSO_PROBED(void, port_panic, (const char *why)) __attribute__((noreturn));
