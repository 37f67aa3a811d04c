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

struct stale_watch {
	uint64_t stores;
	struct store slot[SLOTS];
};

struct stale_watch *stale_watch_new(void)
{
	return g_new0(struct stale_watch, 1);
}

void stale_watch_free(struct stale_watch *watch)
{
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

/* The last store into an entry, NULL if that is no longer known. */
static const struct store *last_store(const struct stale_watch *watch,
				      const struct mmu_walk_entry *entry)
{
	uint64_t first = entry->at.a >> WORD_SHIFT;
	const struct store *last = NULL;

	for (unsigned i = 0; i < entry->bytes / 4u; i++) {
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
		const struct store *last = last_store(watch, &walk->entry[i]);
		if (!last || (*store && last->number < (*store)->number))
			continue;
		*store = last;
		found = &walk->entry[i];
	}
	if (!found && walk->count > 0)
		found = &walk->entry[walk->count - 1];
	return found;
}

static void say_what(GString *text, const struct mmu_stale *stale)
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
		g_string_append_printf(
			text, "walks through physical 0x%" PRIx64 ", in a frame that is free",
			stale->used.a);
	}
}

char *stale_watch_describe(const struct stale_watch *watch, const struct mmu_stale *stale)
{
	static const char *const verbs[MMU_KINDS] = { "load", "store", "fetch", "atomic" };
	static const char *const names[] = { "PTE", "PDE", "PDPTE", "PML4E", "PML5E" };
	GString *text = g_string_new(NULL);
	const struct store *store;
	const struct mmu_walk_entry *entry = culprit(watch, stale->fresh, &store);

	g_string_append_printf(text, "a %s of 0x%" PRIx64 " by CPU %u ", verbs[stale->access.kind],
			       stale->va.a, mmu_cpu_number(stale->cpu));
	say_what(text, stale);
	if (entry)
		g_string_append_printf(text, "; %s 0x%" PRIx64 " at physical 0x%" PRIx64,
				       names[entry->level], entry->value, entry->at.a);
	if (store) {
		char *place = source_line((const char *)store->caller - 1);
		g_string_append_printf(text, " was last written at %s", place);
		g_free(place);
	}
	g_string_append(text, "; no invalidation reached this CPU");
	return g_string_free(text, FALSE);
}
