#include "sim/stale_watch.h"

#include <inttypes.h>

#include "sim/source_line.h"

#define WORD_SHIFT 2 /* the smaller entries have 4 bytes */
#define SLOTS	   (1u << 18)

struct store {
	uint64_t word;	 /* paddr >> WORD_SHIFT */
	uint64_t number; /* of the store; 0: none */
	const void *caller;
};

/* A frame when a fresh walk went through it last. */
struct table {
	uint32_t owner;
	uint64_t stores; /* made until then */
};

struct stale_watch {
	uint64_t stores;
	GHashTable *tables; /* frame number to struct table */
	struct store slot[SLOTS];
};

struct stale_watch *stale_watch_new(void)
{
	struct stale_watch *watch = g_new0(struct stale_watch, 1);

	watch->tables = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	return watch;
}

void stale_watch_free(struct stale_watch *watch)
{
	if (watch)
		g_hash_table_destroy(watch->tables);
	g_free(watch);
}

static unsigned slot_of(uint64_t word)
{
	return (unsigned)(word * 0x9e3779b97f4a7c15ull >> 46);
}

void stale_watch_store(struct stale_watch *watch, uint64_t paddr, unsigned bytes,
		       const void *caller)
{
	uint64_t first = paddr >> WORD_SHIFT, last = (paddr + bytes - 1) >> WORD_SHIFT;

	watch->stores++;
	for (uint64_t word = first; word <= last; word++)
		watch->slot[slot_of(word)] = (struct store){ word, watch->stores, caller };
}

/* The last store into [at, at + bytes), NULL if that is no longer known. */
static const struct store *last_store(const struct stale_watch *watch, struct paddr at,
				      unsigned bytes)
{
	uint64_t first = at.a >> WORD_SHIFT;
	const struct store *last = NULL;

	for (unsigned i = 0; i < bytes / 4; i++) {
		const struct store *store = &watch->slot[slot_of(first + i)];
		if (store->number && store->word == first + i &&
		    (!last || store->number > last->number))
			last = store;
	}
	return last;
}

/* Of the entries that a fresh walk meets, the one that changed last: it is what was not
 * invalidated. */
static const struct mmu_walk_entry *culprit(const struct stale_watch *watch,
					    const struct mmu_walk *walk, const struct store **store)
{
	const struct mmu_walk_entry *found = NULL;

	*store = NULL;
	for (uint32_t i = 0; i < walk->count; i++) {
		const struct store *last =
			last_store(watch, walk->entry[i].at, walk->entry[i].bytes);
		if (!last || (*store && last->number < (*store)->number))
			continue;
		*store = last;
		found = &walk->entry[i];
	}
	if (!found && walk->count > 0)
		found = &walk->entry[walk->count - 1];
	return found;
}

/* Has the entry at PARENT been written since that many stores? Yes, too, if nobody knows. */
static bool written_since(const struct stale_watch *watch, struct paddr parent, uint64_t stores)
{
	const struct store *last;

	if (parent.a == MMU_NO_PARENT)
		return true;
	last = last_store(watch, parent, 4); /* the half with P */
	return !last || last->number > stores;
}

bool stale_watch_is_table(struct stale_watch *watch, const struct mmu_table_read *read,
			  uint32_t owner)
{
	gpointer frame = (gpointer)(uintptr_t)(read->at.a >> X86_PAGE_SHIFT);
	struct table *known = g_hash_table_lookup(watch->tables, frame);

	if (owner == LEDGER_FREE)
		return false;
	if (known && known->owner != owner &&
	    (!read->linked || !written_since(watch, read->parent, known->stores)))
		return false;
	if (!read->linked)
		return true;
	if (!known) {
		known = g_new(struct table, 1);
		g_hash_table_insert(watch->tables, frame, known);
	}
	*known = (struct table){ owner, watch->stores };
	return true;
}

static void say_table(GString *text, const struct mmu_stale *stale, uint32_t owner)
{
	g_string_append_printf(text, "walks through physical 0x%" PRIx64 ", in a frame that ",
			       stale->used.a);
	if (owner == LEDGER_FREE)
		g_string_append(text, "is free");
	else if (owner >= LEDGER_HANDLE_BASE)
		g_string_append_printf(text, "was handed out again (handle %u)",
				       owner - LEDGER_HANDLE_BASE);
	else
		g_string_append(text, "belongs to somebody else now");
}

static bool leads_to(const struct mmu_walk *walk, struct paddr at)
{
	for (uint32_t i = 0; i < walk->count; i++)
		if (walk->entry[i].at.a == at.a)
			return true;
	return false;
}

static void say_what(GString *text, const struct mmu_stale *stale, uint32_t owner)
{
	const struct mmu_walk *fresh = stale->fresh;

	switch (stale->kind) {
	case MMU_STALE_UNMAPPED:
		g_string_append_printf(text, "goes on to physical 0x%" PRIx64 ", which is unmapped",
				       stale->used.a);
		break;
	case MMU_STALE_FRAME:
		g_string_append_printf(text,
				       "goes on to physical 0x%" PRIx64
				       ", where the tables now say 0x%" PRIx64,
				       stale->used.a, fresh->paddr.a);
		break;
	case MMU_STALE_RIGHTS:
		g_string_append_printf(text,
				       "succeeds, though the tables now forbid it (error code "
				       "0x%x)",
				       fresh->fault.error_code);
		break;
	case MMU_STALE_DIRTY:
		g_string_append(text, "leaves D clear in memory, because the TLB has it set");
		break;
	case MMU_STALE_FAULT:
		g_string_append_printf(text,
				       "faults by a cached table at physical 0x%" PRIx64
				       ", though the tables now map it",
				       stale->used.a);
		break;
	default:
		say_table(text, stale, owner);
	}
}

char *stale_watch_describe(const struct stale_watch *watch, const struct mmu_stale *stale,
			   uint32_t owner)
{
	static const char *const verbs[MMU_KINDS] = { "load", "store", "fetch", "atomic" };
	static const char *const names[] = { "PTE", "PDE", "PDPTE", "PML4E", "PML5E" };
	GString *text = g_string_new(NULL);
	const struct store *store;
	const struct mmu_walk_entry *entry = culprit(watch, stale->fresh, &store);

	g_string_append_printf(text, "a %s of 0x%" PRIx64 " by CPU %u ", verbs[stale->access.kind],
			       stale->va.a, mmu_cpu_number(stale->cpu));
	say_what(text, stale, owner);
	if (entry)
		g_string_append_printf(text, "; %s 0x%" PRIx64 " at physical 0x%" PRIx64,
				       names[entry->level], entry->value, entry->at.a);
	if (store) {
		char *place = source_line((const char *)store->caller - 1);
		g_string_append_printf(text, " was last written at %s", place);
		g_free(place);
	}
	if (stale->kind == MMU_STALE_TABLE && leads_to(stale->fresh, stale->used))
		g_string_append(text, "; the tables still lead there");
	else
		g_string_append(text, "; no invalidation reached this CPU");
	return g_string_free(text, FALSE);
}
