/*
 * stale_watch.h - who wrote a page-table entry last, and in words what is wrong with a translation
 * that mmu/'s stale checker reports. Used by the probes (machine.stale-check=on).
 *
 * Which frames will be page tables is not known when they are written, so every store counts. A
 * table of fixed size remembers the last stores by hash; a newer one takes an older one's place, so
 * that an answer may be missing, but is never wrong.
 */
#ifndef KMEMLAB_SIM_STALE_WATCH_H
#define KMEMLAB_SIM_STALE_WATCH_H

#include <glib.h>
#include <stdint.h>

#include "mmu/mmu.h"

struct stale_watch;

struct stale_watch *stale_watch_new(void);
void stale_watch_free(struct stale_watch *watch);

/* A store of BYTES at PADDR by the code that CALLER returns to. Cost: a few ns. */
void stale_watch_store(struct stale_watch *watch, uint64_t paddr, unsigned bytes,
		       const void *caller);

/* What happened: the access, the translation it used, why memory does not give that, and where the
 * entry concerned was last written, if known. */
char *stale_watch_describe(const struct stale_watch *watch, const struct mmu_stale *stale);

#endif
