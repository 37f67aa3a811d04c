#include "sim/ties.h"

#include <stdbool.h>

int ties_count(const struct event *events, int count)
{
	int ties = 1;

	while (ties < count && ties < TIES_MAX && events[ties].time_ns == events[0].time_ns)
		ties++;
	return ties;
}

/* The handle that an event is about; 0: none. */
static uint64_t handle_of(const struct event *event)
{
	switch (event->kind) {
	case EVENT_FRAME_ALLOC:
	case EVENT_FRAME_FREE:
		return event->u.frame.handle;
	case EVENT_HEAP_ALLOC:
	case EVENT_HEAP_REALLOC:
	case EVENT_HEAP_FREE:
		return event->u.heap.handle;
	default:
		return 0;
	}
}

/* Must A, which stands first in the trace, be replayed before B? */
static bool ordered(const struct event *a, const struct event *b)
{
	return a->cpu == b->cpu || (handle_of(a) && handle_of(a) == handle_of(b));
}

static bool ready(const struct event *events, int event, const bool *taken)
{
	for (int before = 0; before < event; before++)
		if (!taken[before] && ordered(&events[before], &events[event]))
			return false;
	return true;
}

void ties_shuffle(const struct event *events, int count, struct random *random, int order[TIES_MAX])
{
	bool taken[TIES_MAX] = { false };

	for (int done = 0; done < count; done++) {
		int candidates[TIES_MAX], found = 0;
		for (int event = 0; event < count; event++)
			if (!taken[event] && ready(events, event, taken))
				candidates[found++] = event;
		order[done] = candidates[random_below(random, (uint64_t)found)];
		taken[order[done]] = true;
	}
}
