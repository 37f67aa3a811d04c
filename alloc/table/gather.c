/*
 * gather.c - what an operation took away, until no CPU can use it any more.
 *
 *   entries exchanged            gather_flush()                         then only
 *   [leaf va, entry, A?] ...  -> INVLPG here, shootdowns elsewhere  ->  frames are freed,
 *   [table frame, A?] ...        slot pages of tables (unlinked)        tables given back
 *
 * Invariants
 *  G1  Nothing that was gathered is freed, or linked again, before the flush.
 *  G2  An entry with A = 1 at the exchange is invalidated on every CPU that runs its space; one
 *      with A = 0 on none (SDM 3, 4.10.2.3: not cached).
 *  G3  Where a table went whose entry above had A = 1, at least one INVLPG follows on each of these
 *      CPUs: it empties their paging-structure caches (4.10.4.1).
 *  G4  A CPU that does not run the space gets nothing: its last load of CR3 has emptied it. Kernel
 *      entries concern all CPUs.
 *
 * Cost: one INVLPG a page; a request for each run of adjacent pages and CPU.
 */
#include "alloc/port.h"
#include "alloc/table/systems.h"

static bool is_kernel(const struct gather *g)
{
	return g->root == &g->t->kernel;
}

void gather_leaf(struct gather *g, struct vaddr va, unsigned level, uint64_t entry)
{
	g->leaf[g->leaves++] = (struct gather_leaf){ va, entry, (uint8_t)level, entry & X86_PTE_A };
	g->t->stats.spared += !(entry & X86_PTE_A);
}

void gather_table(struct gather *g, struct vaddr va, unsigned level, struct pfn frame,
		  uint64_t entry)
{
	bool accessed = entry & X86_PTE_A;

	g->table[g->tables++] = (struct gather_table){ va, frame, (uint8_t)level, accessed };
	g->walks_owed |= accessed;
}

static void flush_here(struct gather *g)
{
	struct tables *t = g->t;
	const struct table_cpu *cpu = &t->cpu[port_cpu()];
	uint64_t before = t->stats.invlpg;

	for (unsigned i = 0; i < g->leaves; i++)
		if (g->leaf[i].owed && (is_kernel(g) || cpu->running == g->root))
			table_invlpg(t, g->leaf[i].va);
	for (unsigned i = 0; i < g->tables; i++)
		if (t->ops->unlinked)
			t->ops->unlinked(t, g->root, g->table[i].level, g->table[i].va,
					 g->table[i].accessed);
	if (g->walks_owed && t->stats.invlpg == before &&
	    (is_kernel(g) || cpu->running == g->root || cpu->loaded == g->root))
		table_invlpg(t, g->table[0].va);
}

/* Requests for the owed leaves, adjacent ones of 4 KiB in one: INVLPG of any address in a large
 * page drops all of it (SDM 3, 4.10.4.1). Returns how many. */
static unsigned shoot_leaves(struct gather *g, unsigned cpu)
{
	unsigned sent = 0;

	for (unsigned i = 0; i < g->leaves;) {
		unsigned end = i + 1;

		if (!g->leaf[i].owed) {
			i++;
			continue;
		}
		while (end < g->leaves && g->leaf[end].owed && !g->leaf[i].level &&
		       !g->leaf[end].level &&
		       g->leaf[end].va.a == g->leaf[i].va.a + (end - i) * FRAME_BYTES)
			end++;
		port_shootdown(cpu, g->leaf[i].va, end - i);
		sent++;
		i = end;
	}
	return sent;
}

static void flush_elsewhere(struct gather *g)
{
	struct tables *t = g->t;
	unsigned here = port_cpu();

	for (unsigned cpu = 0; cpu < t->config.cpus; cpu++) {
		if (cpu == here || (!is_kernel(g) && t->cpu[cpu].running != g->root))
			continue;
		unsigned sent = shoot_leaves(g, cpu);

		if (!sent && g->walks_owed) {
			port_shootdown(cpu, g->table[0].va, 1);
			sent++;
		}
		t->stats.shootdowns += sent;
	}
}

void gather_flush(struct gather *g)
{
	flush_here(g);
	flush_elsewhere(g);
	for (unsigned i = 0; i < g->tables; i++)
		table_free(g->t, g->root, g->table[i].level, g->table[i].frame);
	g->tables = 0;
	g->walks_owed = false;
}

void gather_reset(struct gather *g)
{
	g->leaves = 0;
}

struct table_leaf gather_leaf_of(const struct tables *t, unsigned level, uint64_t entry)
{
	return (struct table_leaf){
		.paddr = table_leaf_address(t->geometry, level, entry),
		.level = (uint8_t)level,
		.rights = (entry & X86_PTE_RW ? TABLE_WRITE : 0) |
			  (entry & X86_PTE_US ? TABLE_USER : 0) |
			  (entry & X86_PTE_G ? TABLE_GLOBAL : 0) |
			  (t->geometry->no_execute && (entry & X86_PTE_XD) ? 0 : TABLE_EXEC),
		.accessed = entry & X86_PTE_A,
		.dirty = entry & X86_PTE_D,
	};
}
