/* deaths.h - who dies when: a queue of numbered things by the moment of their end. */
#ifndef KMEMLAB_WORKLOADS_GENERATE_DEATHS_H
#define KMEMLAB_WORKLOADS_GENERATE_DEATHS_H

#include <glib.h>
#include <stdbool.h>
#include "workloads/generate/emit.h"

struct death {
	uint64_t due;	 /* in whatever the generator counts */
	uint64_t number; /* earlier ones go first among those due together */
	struct object object;
};

/* Binary heap: children of i at 2 i + 1 and 2 i + 2, neither of them due before it. */
struct deaths {
	GArray *heap; /* struct death */
	uint64_t next;
};

void deaths_init(struct deaths *deaths);
void deaths_fini(struct deaths *deaths);
void deaths_add(struct deaths *deaths, uint64_t due, struct object object);
/* Takes out the first if it is due by NOW. Cost: O(log n), as adding. */
bool deaths_take(struct deaths *deaths, uint64_t now, struct object *object);

#endif
