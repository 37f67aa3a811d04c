/*
 * stale.c - compares what caches gave with what a fresh walk gives.
 *
 * Only differences that software may not rely on are reports. A cache may lag behind memory in the
 * directions that need no invalidation: more rights in memory, A cleared, an entry made present
 * (12.1; the latter two cannot even be seen here). What remains is a translation that memory no
 * longer gives, for which an INVLPG or a shootdown was forgotten (12.2, 12.3).
 */
#include "mmu/stale.h"

static void report(struct mmu_cpu *cpu, struct mmu_stale *stale)
{
	stale->cpu = cpu;
	cpu->counts.stale_uses++;
	cpu->checker.stale(cpu->checker.context, stale);
}

/* What is wrong with an access that got @paddr, if a fresh walk gives @fresh? */
static uint32_t compare(struct mmu_access access, uint64_t paddr, const struct mmu_walk *fresh)
{
	bool writes = access.kind == MMU_WRITE || access.kind == MMU_RMW;

	if (!fresh->mapped)
		return MMU_STALE_UNMAPPED;
	if (fresh->paddr.a != paddr)
		return MMU_STALE_FRAME;
	if (fresh->fault.vector)
		return MMU_STALE_RIGHTS;
	return writes && !fresh->leaf.dirty ? MMU_STALE_DIRTY : MMU_STALE_NONE;
}

void stale_check_hit(struct mmu_cpu *cpu, uint64_t va, struct mmu_access access, uint8_t source,
		     const struct mmu_entry *cached, uint64_t paddr)
{
	struct mmu_walk fresh;
	struct mmu_stale stale = {
		.va = { va },
		.access = access,
		.source = source,
		.cached = *cached,
		.used = { paddr },
		.fresh = &fresh,
	};

	mmu_walk(cpu, stale.va, &access, &fresh);
	stale.kind = compare(access, paddr, &fresh);
	if (stale.kind != MMU_STALE_NONE)
		report(cpu, &stale);
}

/* What a fresh walk says about the table that holds the entry at @at. */
static struct mmu_table_read table_read(const struct mmu_walk *fresh, uint64_t at)
{
	struct mmu_table_read read = { .at = { at }, .parent = { MMU_NO_PARENT } };

	for (uint32_t i = 0; i < fresh->count && !read.linked; i++) {
		read.linked = fresh->entry[i].at.a == at;
		if (read.linked && i > 0 && !fresh->entry[i - 1].latched)
			read.parent = fresh->entry[i - 1].at;
	}
	return read;
}

void stale_check_tables(struct mmu_cpu *cpu, uint64_t va, struct mmu_access access,
			const struct walk *walk, const struct mmu_entry *cached)
{
	struct mmu_walk fresh;
	struct mmu_stale stale = {
		.kind = MMU_STALE_TABLE,
		.va = { va },
		.access = access,
		.source = MMU_FROM_WALK,
		.fresh = &fresh,
	};

	if (cpu->checker.is_table == NULL)
		return;
	if (cached != NULL)
		stale.cached = *cached;
	mmu_walk(cpu, stale.va, &access, &fresh);
	for (unsigned level = walk->top - walk->latched; level + 1 > walk->bottom; level--) {
		struct mmu_table_read read = table_read(&fresh, walk->at[level]);

		if (cpu->checker.is_table(cpu->checker.context, &read))
			continue;
		stale.used.a = walk->at[level];
		report(cpu, &stale);
	}
}

void stale_check_walk(struct mmu_cpu *cpu, uint64_t va, struct mmu_access access,
		      const struct walk *walk, const struct mmu_entry *cached, uint32_t vector)
{
	const struct mmu_entry *leaf = &walk->leaf;
	struct mmu_walk fresh;
	struct mmu_stale stale = {
		.va = { va },
		.access = access,
		.source = MMU_FROM_WALK,
		.cached = *cached,
		.fresh = &fresh,
	};

	mmu_walk(cpu, stale.va, &access, &fresh);
	if (vector != MMU_NO_FAULT) {
		stale.kind = fresh.fault.vector ? MMU_STALE_NONE : MMU_STALE_FAULT;
		stale.used = cached->page;
	} else {
		stale.cached = *leaf;
		stale.used.a = leaf->page.a | (va & ((1ull << leaf->page_shift) - 1));
		stale.kind = compare(access, stale.used.a, &fresh);
	}
	if (stale.kind != MMU_STALE_NONE)
		report(cpu, &stale);
}

void mmu_set_checker(struct mmu_cpu *cpu, const struct mmu_checker *checker)
{
	cpu->checking = checker != NULL;
	if (checker != NULL)
		cpu->checker = *checker;
	cpu_watch(cpu, cpu->checking || cpu->config.spurious_invalidation);
}
