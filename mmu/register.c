/*
 * register.c - the instructions that change a CPU's state: control-register moves, INVLPG, INVPCID,
 * and the requests that other CPUs post.
 *
 * What each drops is SDM 4.10.4.1, no more: a manager that forgets an invalidation must be seen to.
 */
#include "mmu/cpu.h"

static const struct mmu_fault no_fault = { MMU_NO_FAULT, 0, { 0 } };
static const struct mmu_fault undefined = { MMU_UD, 0, { 0 } };
static const struct mmu_fault protection = { MMU_GP, 0, { 0 } };

static void tell(struct mmu_cpu *cpu, uint32_t kind, unsigned pcid, uint64_t va)
{
	struct mmu_drop dropped = { kind, pcid, { va } };

	if (cpu->listener.dropped != NULL)
		cpu->listener.dropped(cpu->listener.context, cpu, &dropped);
}

void mmu_set_listener(struct mmu_cpu *cpu, const struct mmu_listener *listener)
{
	cpu->listener = listener != NULL ? *listener : (struct mmu_listener){ 0 };
}

static void drop(struct mmu_cpu *cpu, enum tlb_scope scope, unsigned pcid)
{
	static const uint32_t kinds[] = {
		[TLB_PCID] = MMU_DROP_PCID,
		[TLB_PCID_GLOBAL] = MMU_DROP_PCID_GLOBAL,
		[TLB_ALL_PCIDS] = MMU_DROP_ALL_PCIDS,
		[TLB_EVERYTHING] = MMU_DROP_EVERYTHING,
	};

	cpu->counts.flushes++;
	tlb_drop(&cpu->tlb, scope, pcid);
	tell(cpu, kinds[scope], pcid, 0);
}

void cpu_flush(struct mmu_cpu *cpu, enum control_flush flush)
{
	unsigned pcid = cpu->control.pcid;

	tlb_set_large_shift(&cpu->tlb, cpu->control.large_shift);
	if (flush == CONTROL_KEEP)
		return;
	fast_empty(&cpu->tlb);
	if (flush == CONTROL_FLUSH_PCID)
		drop(cpu, TLB_PCID, pcid);
	else if (flush == CONTROL_FLUSH_PCID_GLOBAL)
		drop(cpu, TLB_PCID_GLOBAL, pcid);
	else if (flush == CONTROL_FLUSH_ALL)
		drop(cpu, TLB_EVERYTHING, pcid);
	else
		tell(cpu, MMU_DROP_NOTHING, pcid, 0);
}

static struct mmu_fault written(struct mmu_cpu *cpu, bool legal, enum control_flush flush)
{
	if (!legal)
		return protection;
	cpu_flush(cpu, flush);
	return no_fault;
}

struct mmu_fault mmu_load_state(struct mmu_cpu *cpu, const struct mmu_state *state)
{
	bool legal = control_load(&cpu->control, &cpu->config, cpu->ram, state);

	return written(cpu, legal, CONTROL_FLUSH_ALL);
}

struct mmu_state mmu_save_state(const struct mmu_cpu *cpu)
{
	return cpu->control.state;
}

enum mmu_mode mmu_mode(const struct mmu_cpu *cpu)
{
	return cpu->control.mode;
}

uint64_t mmu_read_cr0(const struct mmu_cpu *cpu)
{
	return cpu->control.state.cr0;
}

uint64_t mmu_read_cr2(const struct mmu_cpu *cpu)
{
	return cpu->control.state.cr2;
}

uint64_t mmu_read_cr3(const struct mmu_cpu *cpu)
{
	return cpu->control.state.cr3;
}

uint64_t mmu_read_cr4(const struct mmu_cpu *cpu)
{
	return cpu->control.state.cr4;
}

uint64_t mmu_read_efer(const struct mmu_cpu *cpu)
{
	return cpu->control.state.efer;
}

uint32_t mmu_read_pkrs(const struct mmu_cpu *cpu)
{
	return cpu->control.state.pkrs;
}

struct mmu_fault mmu_write_cr0(struct mmu_cpu *cpu, uint64_t value)
{
	enum control_flush flush;
	bool legal = control_write_cr0(&cpu->control, &cpu->config, cpu->ram, value, &flush);

	return written(cpu, legal, flush);
}

void mmu_write_cr2(struct mmu_cpu *cpu, uint64_t value)
{
	cpu->control.state.cr2 = value;
}

struct mmu_fault mmu_write_cr3(struct mmu_cpu *cpu, uint64_t value)
{
	enum control_flush flush;
	bool legal = control_write_cr3(&cpu->control, &cpu->config, cpu->ram, value, &flush);

	return written(cpu, legal, flush);
}

struct mmu_fault mmu_write_cr4(struct mmu_cpu *cpu, uint64_t value)
{
	enum control_flush flush;
	bool legal = control_write_cr4(&cpu->control, &cpu->config, cpu->ram, value, &flush);

	return written(cpu, legal, flush);
}

struct mmu_fault mmu_write_efer(struct mmu_cpu *cpu, uint64_t value)
{
	enum control_flush flush;
	bool legal = control_write_efer(&cpu->control, &cpu->config, value, &flush);

	return written(cpu, legal, flush);
}

struct mmu_fault mmu_write_pkru(struct mmu_cpu *cpu, uint32_t value)
{
	if (!(cpu->control.state.cr4 & X86_CR4_PKE))
		return undefined;
	cpu->control.state.pkru = value;
	control_derive(&cpu->control, &cpu->config);
	cpu_flush(cpu, CONTROL_RIGHTS_CHANGED);
	return no_fault;
}

struct mmu_fault mmu_read_pkru(const struct mmu_cpu *cpu, uint32_t *value)
{
	if (!(cpu->control.state.cr4 & X86_CR4_PKE))
		return undefined;
	*value = cpu->control.state.pkru;
	return no_fault;
}

struct mmu_fault mmu_write_pkrs(struct mmu_cpu *cpu, uint64_t value)
{
	if (!cpu->config.features.pks || value >> 32)
		return protection;
	cpu->control.state.pkrs = (uint32_t)value;
	control_derive(&cpu->control, &cpu->config);
	cpu_flush(cpu, CONTROL_RIGHTS_CHANGED);
	return no_fault;
}

void mmu_set_code64(struct mmu_cpu *cpu, bool code64)
{
	cpu->control.state.code64 = code64;
	control_derive(&cpu->control, &cpu->config);
	/* The fast path knows whole linear addresses, and does not cut them to 32 bits. */
	cpu_flush(cpu, CONTROL_RIGHTS_CHANGED);
}

/* ---- Invalidation ---- */

static void drop_page(struct mmu_cpu *cpu, uint64_t va, unsigned pcid, bool global)
{
	cpu->counts.invlpg++;
	tlb_drop_page(&cpu->tlb, va, pcid, global);
	tlb_drop_psc(&cpu->tlb, pcid);
	tell(cpu, global ? MMU_DROP_PAGE_GLOBAL : MMU_DROP_PAGE, pcid, va);
}

void mmu_invlpg(struct mmu_cpu *cpu, struct vaddr va)
{
	uint64_t at = va.a & cpu->control.linear_mask;

	if (control_canonical(&cpu->control, at))
		drop_page(cpu, at, cpu->control.pcid, true);
}

struct mmu_fault mmu_invpcid(struct mmu_cpu *cpu, uint64_t type, uint64_t pcid, struct vaddr va)
{
	const struct control *control = &cpu->control;
	bool one_pcid = type == MMU_INVPCID_ADDRESS || type == MMU_INVPCID_SINGLE;

	if (!cpu->config.features.invpcid)
		return undefined;
	if (type > MMU_INVPCID_ALL || (pcid & ~X86_CR3_PCID) ||
	    (one_pcid && pcid != 0 && !(control->state.cr4 & X86_CR4_PCIDE)) ||
	    (type == MMU_INVPCID_ADDRESS && !control_canonical(control, va.a)))
		return protection;
	if (type == MMU_INVPCID_ADDRESS)
		drop_page(cpu, va.a, (unsigned)pcid, false);
	else if (type == MMU_INVPCID_SINGLE)
		drop(cpu, TLB_PCID, (unsigned)pcid);
	else
		drop(cpu, type == MMU_INVPCID_ALL_GLOBAL ? TLB_EVERYTHING : TLB_ALL_PCIDS, 0);
	return no_fault;
}

/* ---- Shootdowns ---- */

static void lock(struct mmu_cpu *cpu)
{
	while (__atomic_test_and_set(&cpu->posting, __ATOMIC_ACQUIRE))
		;
}

static void unlock(struct mmu_cpu *cpu)
{
	__atomic_clear(&cpu->posting, __ATOMIC_RELEASE);
}

/* F4, for what is posted and watched now. Under the lock. */
static void set_blocking(struct mmu_cpu *cpu)
{
	/* A plain load would be merged with that of `watched` and take the lock's byte along. */
	if (__atomic_load_n(&cpu->posted, __ATOMIC_RELAXED) > 0 || cpu->watched)
		fast_block(&cpu->tlb);
	else
		fast_unblock(&cpu->tlb);
}

void cpu_watch(struct mmu_cpu *cpu, bool watched)
{
	lock(cpu);
	cpu->watched = watched;
	set_blocking(cpu);
	unlock(cpu);
}

void mmu_post_shootdown(struct mmu_cpu *target, const struct mmu_shootdown *request)
{
	uint32_t posted;

	lock(target);
	posted = target->posted;
	if (posted == CPU_SHOOTDOWNS)
		target->queue[0].kind = MMU_SHOOT_ALL_GLOBAL;
	else
		target->queue[posted++] = *request;
	__atomic_store_n(&target->posted, posted, __ATOMIC_RELEASE);
	target->counts.shootdowns_posted++;
	fast_block(&target->tlb);
	unlock(target);
}

unsigned mmu_shootdowns_pending(const struct mmu_cpu *target)
{
	return __atomic_load_n(&target->posted, __ATOMIC_ACQUIRE);
}

static void take(struct mmu_cpu *cpu, const struct mmu_shootdown *request)
{
	switch (request->kind) {
	case MMU_SHOOT_PAGES:
		for (uint64_t i = 0; i < request->pages; i++)
			drop_page(cpu, request->va.a + i * X86_PAGE_BYTES, request->pcid, true);
		break;
	case MMU_SHOOT_PCID:
		drop(cpu, TLB_PCID, request->pcid);
		break;
	case MMU_SHOOT_ALL:
		drop(cpu, TLB_ALL_PCIDS, 0);
		break;
	default:
		drop(cpu, TLB_EVERYTHING, 0);
	}
}

unsigned cpu_take_posted(struct mmu_cpu *cpu)
{
	unsigned taken;

	lock(cpu);
	taken = cpu->posted;
	for (unsigned i = 0; i < taken; i++)
		take(cpu, &cpu->queue[i]);
	cpu->counts.shootdowns_taken += taken;
	__atomic_store_n(&cpu->posted, 0, __ATOMIC_RELEASE);
	set_blocking(cpu);
	unlock(cpu);
	return taken;
}

unsigned mmu_accept_shootdowns(struct mmu_cpu *cpu)
{
	return cpu_take_posted(cpu);
}

void mmu_hold_shootdowns(struct mmu_cpu *cpu, bool hold)
{
	cpu->hold = hold;
}
