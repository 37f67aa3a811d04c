/* What page tables say, as the lab reads them in RAM, against what the kernel counts and the ledger
 * knows. */
#include <inttypes.h>

#include "sim/page_tables.h"
#include "sim/space_lab.h"

struct audit {
	struct space_lab *lab;
	const struct tables *t;
	GHashTable *users;   /* frame + 1 -> how many leaves map it */
	GHashTable *writers; /* frames that some leaf may write */
	GHashTable *tables;  /* frame + 1 */
	uint64_t leaves, zero_links;
	bool clean;
};

static gpointer key_of(struct pfn frame)
{
	return GSIZE_TO_POINTER((gsize)frame.n + 1);
}

static void complain(struct audit *a, struct pfn frame, const char *what)
{
	char message[160];

	a->clean = false;
	g_snprintf(message, sizeof(message), "audit of address spaces: frame 0x%" PRIx64 " %s",
		   frame.n, what);
	a->lab->report(a->lab->context, "space", frame.n, message);
}

static void want_owned(struct audit *a, struct pfn frame, const char *what)
{
	if (a->lab->ledger && ledger_owner(a->lab->ledger, frame.n) != a->lab->owner)
		complain(a, frame, what);
}

static bool on_table(void *context, struct vaddr va, unsigned level, struct pfn frame)
{
	struct audit *a = context;

	if (a->t->has_zero_table && frame.n == a->t->zero_table.n) {
		a->zero_links++;
		return false;
	}
	want_owned(a, frame, "is a page table, and nobody gave it for one");
	if (g_hash_table_add(a->tables, key_of(frame)))
		return true;
	complain(a, frame, "is a page table in two places");
	return false;
}

static void on_frame(struct audit *a, struct pfn frame, bool writable)
{
	a->leaves++;
	want_owned(a, frame, "is mapped for a user, and nobody gave it");
	gsize users = GPOINTER_TO_SIZE(g_hash_table_lookup(a->users, key_of(frame)));
	g_hash_table_insert(a->users, key_of(frame), GSIZE_TO_POINTER(users + 1));
	if (writable)
		g_hash_table_add(a->writers, key_of(frame));
}

static void on_leaf(void *context, struct vaddr va, unsigned level, uint64_t entry)
{
	struct audit *a = context;
	struct pfn frame = paddr_to_pfn(table_leaf_address(a->t->geometry, level, entry));
	bool zero = frame.n == a->lab->spaces->zero.n;

	if (zero) {
		if (entry & X86_PTE_RW)
			complain(a, frame, "is the zero frame, and may be written");
		return;
	}
	for (uint64_t i = 0; i < table_span(a->t->geometry, level) >> X86_PAGE_SHIFT; i++)
		on_frame(a, pfn_add(frame, i), entry & X86_PTE_RW);
}

static void on_user(gpointer key, gpointer value, gpointer context)
{
	struct audit *a = context;
	struct pfn frame = { GPOINTER_TO_SIZE(key) - 1 };

	if (*table_uses(a->t, frame) != GPOINTER_TO_SIZE(value))
		complain(a, frame, "is mapped another number of times than the kernel counts");
	if (GPOINTER_TO_SIZE(value) > 1 && g_hash_table_contains(a->writers, key))
		complain(a, frame, "is shared, and may be written in place");
	if (g_hash_table_contains(a->tables, key))
		complain(a, frame, "is a user's page and a page table");
}

/* Frames that hold spaces and regions, the zero frame, the shared zero table. */
static uint64_t other_frames(const struct spaces *s)
{
	return s->space_objects.pages + s->region_objects.pages +
	       (s->policy->caps & SPACE_CAP_ZERO_FRAME ? 1 : 0) + s->tables->has_zero_table;
}

static void compare_sums(struct audit *a)
{
	const struct spaces *s = a->lab->spaces;
	const struct table_stats *tables = &s->tables->stats;
	uint64_t tops = s->stats.spaces * (a->t->geometry->top_frames > 1 ? 5 : 1);
	uint64_t made = g_hash_table_size(a->tables) + tops + s->tables->has_zero_table;
	uint64_t held = g_hash_table_size(a->users) + g_hash_table_size(a->tables) + tops +
			other_frames(s) + a->lab->kernel_held;
	struct pfn nowhere = { 0 };

	if (a->leaves != s->stats.mapped_pages ||
	    g_hash_table_size(a->users) != s->stats.user_frames)
		complain(a, nowhere, "(all): pages are counted wrong");
	if (made != tables->table_frames)
		complain(a, nowhere, "(all): page tables are counted wrong");
	if (s->tables->has_zero_table && a->zero_links != *table_uses(a->t, a->t->zero_table))
		complain(a, nowhere, "(all): links to the shared zero table are counted wrong");
	/* A pool holds more than its tables. */
	if (g_strcmp0(a->t->ops->name, "pool") != 0 && held != a->lab->held)
		complain(a, nowhere, "(all): frames are held that nothing leads to");
}

static void ask_kernel(struct audit *a, struct space *space)
{
	struct violation violation;
	struct space_lab *lab = a->lab;
	char message[200];

	if (lab->pass == PASS_PROBED)
		probe_phase(PROBE_KERNEL, NULL);
	int status = kernel_spaces[lab->pass].check(lab->spaces, space, &violation);
	probe_phase(PROBE_OFF, NULL);
	if (status == KERR_OK)
		return;
	a->clean = false;
	g_snprintf(message, sizeof(message),
		   "check() of address spaces: invariant %u is broken at frame 0x%" PRIx64 ": %s",
		   violation.invariant, violation.frame.n, violation.what);
	lab->report(lab->context, "check", violation.frame.n, message);
}

bool space_lab_audit(struct space_lab *lab)
{
	struct audit audit = { .lab = lab,
			       .t = lab->spaces->tables,
			       .users = g_hash_table_new(NULL, NULL),
			       .writers = g_hash_table_new(NULL, NULL),
			       .tables = g_hash_table_new(NULL, NULL),
			       .clean = true };
	struct page_tables_visitor visitor = { &audit, on_table, on_leaf };

	for (struct space *space = lab->spaces->first; space; space = space->next) {
		page_tables_visit(lab->machine, &space->root, &visitor);
		ask_kernel(&audit, space);
	}
	g_hash_table_foreach(audit.users, on_user, &audit);
	compare_sums(&audit);
	g_hash_table_unref(audit.users);
	g_hash_table_unref(audit.writers);
	g_hash_table_unref(audit.tables);
	return audit.clean;
}
