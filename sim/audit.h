/* audit.h - an allocator's own account (walk, check, stats) held against the lab's ledger. */
#ifndef KMEMLAB_SIM_AUDIT_H
#define KMEMLAB_SIM_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "alloc/frame/frame.h"
#include "sim/ledger.h"

struct audit_finding {
	const char *kind; /* "check" or "walk" */
	uint64_t frame;
	char message[240];
};

/* Runs check(), then walk(): extents must come in address order, lie in RAM that the allocator
 * manages, and be free and used exactly where the ledger says so; stats() must agree. True when all
 * holds. Cost: O(frames). */
bool audit_frames(const struct frames *frames, const struct ledger *ledger,
		  struct audit_finding *finding);

#endif
