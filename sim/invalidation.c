#include "sim/invalidation.h"

struct question {
	const struct mmu_cpu *cpu;
	bool one_page; /* else all that is not global */
	struct vaddr va;
	unsigned level; /* of the paging-structure cache being visited; 0: a TLB */
	bool owed;
};

static bool in_page(const struct mmu_entry *entry, struct vaddr first, struct vaddr va)
{
	return (first.a ^ va.a) >> entry->page_shift == 0;
}

/* A translation that memory no longer gives, or gives with fewer rights. */
static bool is_stale_page(const struct mmu_cpu *cpu, struct vaddr va, const struct mmu_entry *entry)
{
	struct mmu_walk fresh;

	if (mmu_walk(cpu, va, NULL, &fresh) != MMU_NO_FAULT)
		return true;
	uint64_t inside = va.a & ((1ull << entry->page_shift) - 1);

	return fresh.paddr.a != entry->page.a + inside ||
	       fresh.leaf.page_shift != entry->page_shift ||
	       (entry->rights & ~fresh.leaf.rights) != 0;
}

/* A table that the entry above no longer leads to. */
static bool is_stale_table(const struct mmu_cpu *cpu, struct vaddr va, unsigned level,
			   const struct mmu_entry *entry)
{
	const uint64_t address = 0x000ffffffffff000ull;
	struct mmu_walk fresh;

	mmu_walk(cpu, va, NULL, &fresh);
	for (unsigned i = 0; i < fresh.count; i++) {
		const struct mmu_walk_entry *now = &fresh.entry[i];
		if (now->level == level)
			return !(now->value & X86_PTE_P) ||
			       (fresh.mapped && fresh.count == i + 1) ||
			       (now->value & address) != entry->page.a;
	}
	return true;
}

static void visit(void *context, struct vaddr va, unsigned pcid, const struct mmu_entry *entry)
{
	struct question *q = context;

	if (q->owed)
		return;
	if (q->level > 0)
		q->owed = is_stale_table(q->cpu, va, q->level, entry);
	else if (q->one_page ? in_page(entry, va, q->va) : !entry->global)
		q->owed = is_stale_page(q->cpu, va, entry);
}

static bool ask(struct question *q)
{
	for (unsigned cache = 0; cache < MMU_CACHES && !q->owed; cache++) {
		q->level = cache >= MMU_PSC_PDE ? cache - MMU_PSC_PDE + 1 : 0;
		mmu_visit_cached(q->cpu, cache, visit, q);
	}
	return q->owed;
}

bool invalidation_is_owed(const struct mmu_cpu *cpu, struct vaddr va)
{
	struct question question = { .cpu = cpu, .one_page = true, .va = va };

	return ask(&question);
}

bool invalidation_flush_is_owed(const struct mmu_cpu *cpu)
{
	struct question question = { .cpu = cpu };

	return ask(&question);
}
