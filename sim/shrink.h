/*
 * shrink.h - from a list of operations that shows a defect to a short one that still does: delta
 * debugging (Zeller, Hildebrandt: Simplifying and isolating failure-inducing input, IEEE TSE 2002)
 * over whole operations, then over their numbers.
 *
 * Knows nothing of allocators: the caller says which lists still fail, and how one operation could
 * be simpler. Deterministic: the same list and the same answers give the same result.
 */
#ifndef KMEMLAB_SIM_SHRINK_H
#define KMEMLAB_SIM_SHRINK_H

#include <glib.h>
#include <stdbool.h>

struct shrink {
	/* Does the list (made valid by the callee, in place) still fail? May cut it behind the
	 * operation that fails. */
	bool (*fails)(void *context, GArray *list);
	/* Makes the operation simpler in the STEP-th way; false when there are no more ways. An
	 * operation that is as simple already is left as it is. */
	bool (*simplify)(void *context, void *operation, unsigned step);
	void *context;
	unsigned trials_max; /* calls of fails() at most */
};

/* The shortest failing list found: LIST (an array without a clear function, which fails) or a new
 * one; transfer full. TRIALS: how many lists were tried. Cost: O(n log n) trials where few
 * operations matter, O(n^2) at worst. */
GArray *shrink_list(const struct shrink *shrink, const GArray *list, unsigned *trials);

#endif
