#include "tests/heaps/bad_heap.h"

#include "alloc/heap/systems.h"

/* Before the state of the heap that does the work. */
struct bad {
	unsigned char *victim;
	uint64_t bytes;
	uint64_t unused[6];
};

static void *inner(const void *state)
{
	return (struct bad *)(uintptr_t)state + 1;
}

static uint64_t bad_state_bytes(const struct heap_config *config, const char **why)
{
	return sizeof(struct bad) + heap_size_classes.state_bytes(config, why);
}

static int bad_init(void *state, const struct heap_config *config)
{
	return heap_size_classes.init(inner(state), config);
}

static void misuse(struct bad *bad, enum bad_heap how)
{
	volatile unsigned char *victim = bad->victim;

	switch (how) {
	case BAD_HEAP_OVERRUN:
		victim[bad->bytes - 1] = 1;
		break;
	case BAD_HEAP_UNDERRUN:
		victim[8] = 1;
		break;
	case BAD_HEAP_STORES:
		victim[40] = 1;
		break;
	case BAD_HEAP_LOADS:
		(void)victim[40];
		break;
	default:
		break;
	}
}

static int bad_alloc(void *state, const struct heap_request *request, void **out, enum bad_heap how)
{
	struct bad *bad = state;

	if (request->tag == BAD_TRIGGER && bad->victim)
		misuse(bad, how);
	int error = heap_size_classes.alloc(inner(state), request, out);
	if (!error && request->tag == BAD_VICTIM) {
		bad->victim = *out;
		bad->bytes = request->bytes;
	}
	return error;
}

static int bad_free(void *state, void *object, enum bad_heap how)
{
	const struct bad *bad = state;

	if (how == BAD_HEAP_KEEPS && object == bad->victim)
		return 0;
	int error = heap_size_classes.free(inner(state), object);
	return how == BAD_HEAP_FREES_TWICE ? 0 : error;
}

static uint64_t bad_usable(const void *state, const void *object)
{
	return heap_size_classes.usable(inner(state), object);
}

static void bad_trim(void *state)
{
	heap_size_classes.trim(inner(state));
}

static void bad_stats(const void *state, struct heap_stats *out)
{
	heap_size_classes.stats(inner(state), out);
}

static int bad_walk(const void *state, heap_visit_fn visit, void *ctx)
{
	return heap_size_classes.walk(inner(state), visit, ctx);
}

static int bad_check(const void *state, struct heap_violation *v)
{
	return heap_size_classes.check(inner(state), v);
}

#define BAD_HEAP_CALLS(how)                                                                 \
	static int alloc_##how(void *state, const struct heap_request *request, void **out) \
	{                                                                                   \
		return bad_alloc(state, request, out, how);                                 \
	}                                                                                   \
	static int free_##how(void *state, void *object)                                    \
	{                                                                                   \
		return bad_free(state, object, how);                                        \
	}

BAD_HEAP_CALLS(BAD_HEAP_NOT)
BAD_HEAP_CALLS(BAD_HEAP_OVERRUN)
BAD_HEAP_CALLS(BAD_HEAP_UNDERRUN)
BAD_HEAP_CALLS(BAD_HEAP_STORES)
BAD_HEAP_CALLS(BAD_HEAP_LOADS)
BAD_HEAP_CALLS(BAD_HEAP_FREES_TWICE)
BAD_HEAP_CALLS(BAD_HEAP_KEEPS)

#define BAD_HEAP(how)                                                                              \
	[how] = {                                                                                  \
		.name = "bad-heap",                                                                \
		.id = "-",                                                                         \
		.summary = "size-classes but for one thing",                                       \
		.caps = HEAP_CAP_FREE | HEAP_CAP_ANY_SIZE | HEAP_CAP_ALIGN | HEAP_CAP_GIVES_BACK | \
			HEAP_CAP_FINDS_MISUSE | HEAP_CAP_OUT_OF_BAND,                              \
		.state_bytes = bad_state_bytes,                                                    \
		.init = bad_init,                                                                  \
		.alloc = alloc_##how,                                                              \
		.free = free_##how,                                                                \
		.usable = bad_usable,                                                              \
		.trim = bad_trim,                                                                  \
		.stats = bad_stats,                                                                \
		.walk = bad_walk,                                                                  \
		.check = bad_check,                                                                \
	}

const struct heap_ops bad_heaps[BAD_HEAPS] = {
	BAD_HEAP(BAD_HEAP_NOT),	   BAD_HEAP(BAD_HEAP_OVERRUN), BAD_HEAP(BAD_HEAP_UNDERRUN),
	BAD_HEAP(BAD_HEAP_STORES), BAD_HEAP(BAD_HEAP_LOADS),   BAD_HEAP(BAD_HEAP_FREES_TWICE),
	BAD_HEAP(BAD_HEAP_KEEPS),
};
