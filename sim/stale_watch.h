/*
 * stale_watch.h - who wrote a page-table entry last, and in words what is wrong with a translation
 * that mmu/'s stale checker reports. Used by the probes (machine.stale-check=on).
 *
 * Which frames will be page tables is not known when they are written, so every store counts. A
 * table of fixed size remembers the last stores by hash; a newer one takes an older one's place, so
 * that an answer may be missing, but is never wrong.
 *
 * Nor is the lab told which frames are page tables. A frame that a fresh walk goes through is one,
 * and belongs to somebody (sim/ledger.h). It is none any more when it is free, or when its owner
 * has changed and a walk gets there by a cached entry alone, or by an entry that was not written
 * since: the frame was given away while something still led to it.
 */
#ifndef KMEMLAB_SIM_STALE_WATCH_H
#define KMEMLAB_SIM_STALE_WATCH_H

#include <glib.h>
#include <stdint.h>

#include "mmu/mmu.h"
#include "sim/ledger.h"

struct stale_watch;

struct stale_watch *stale_watch_new(void);
void stale_watch_free(struct stale_watch *watch);

/* A store of BYTES at PADDR by the code that CALLER returns to. Cost: a few ns. */
void stale_watch_store(struct stale_watch *watch, uint64_t paddr, unsigned bytes,
		       const void *caller);

/* For struct mmu_checker.is_table. OWNER: of the frame of read->at now, from the ledger. */
bool stale_watch_is_table(struct stale_watch *watch, const struct mmu_table_read *read,
			  uint32_t owner);

/* What happened: the access, the translation it used, why memory does not give that, and where the
 * entry concerned was last written, if known. OWNER: of the frame of stale->used. */
char *stale_watch_describe(const struct stale_watch *watch, const struct mmu_stale *stale,
			   uint32_t owner);

#endif
