/*
 * heap.c - the front door of the kernel heaps, and their registry.
 */
#include "alloc/heap/heap.h"
#include "alloc/heap/systems.h"
#include "alloc/port.h"

/* clang-format off */
const struct heap_ops *const heap_registry[] = {
	&heap_null,
	&heap_size_classes,
	&heap_sole,
	&heap_boundary_tags,
	&heap_page_only,
	&heap_slab,
	&heap_pools,
	&heap_collector,
	&heap_tlsf,
	NULL,
};
/* clang-format on */

const char *const heap_cap_names[] = {
	"free",	      "any-size",     "align",	  "resize",  "tags",	    "caches",
	"gives-back", "finds-misuse", "collects", "bounded", "out-of-band", NULL,
};

static bool names_equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

const struct heap_ops *heap_find(const char *name)
{
	for (const struct heap_ops *const *ops = heap_registry; *ops; ops++)
		if (names_equal((*ops)->name, name))
			return *ops;
	return NULL;
}

void heap_config_defaults(const struct heap_ops *ops, struct heap_config *config)
{
	*config = (struct heap_config){ .cpus = 1 };
	for (unsigned i = 0; ops->options && i < HEAP_OPTIONS_MAX && ops->options[i].key; i++)
		config->option[i] = ops->options[i].value;
}

/* Fills in what 0 stands for. */
static int validate(uint64_t *bytes, uint32_t *align)
{
	*bytes += *bytes == 0;
	if ((*align & (*align - 1)) || *align > HEAP_ALIGN_MAX)
		return KERR_INVALID;
	if (*align < HEAP_ALIGN_DEFAULT)
		*align = HEAP_ALIGN_DEFAULT;
	return *bytes > HEAP_BYTES_MAX ? KERR_NO_MEMORY : 0;
}

static int alloc_valid(const struct heap *heap, const struct heap_request *request, void **out)
{
	int error = heap->ops->alloc(heap->state, request, out);

	if (!error && (request->flags & HEAP_ZERO))
		memset(*out, 0, request->bytes);
	return error;
}

int heap_alloc_incomplete(const struct heap *heap, const struct heap_request *request, void **out)
{
	struct heap_request valid = *request;
	int error = validate(&valid.bytes, &valid.align_bytes);

	return error ? error : alloc_valid(heap, &valid, out);
}

/* Where they are called through a pointer. */
extern int heap_alloc(const struct heap *heap, const struct heap_request *request, void **out);
extern int heap_free(const struct heap *heap, void *object);

/* Whether the object may stay where it is: large enough, aligned, and not twice what is needed,
 * unless every object is as large. */
static bool stays(const struct heap *heap, const void *object, uint64_t usable,
		  const struct heap_request *request)
{
	bool one_size = !(heap->ops->caps & HEAP_CAP_ANY_SIZE);

	return usable >= request->bytes && (one_size || usable / 2 <= request->bytes) &&
	       ((uintptr_t)object & (request->align_bytes - 1)) == 0;
}

static int move(const struct heap *heap, const struct heap_request *request, uint64_t usable,
		void **object)
{
	void *old = *object, *fresh;
	int error = heap->ops->alloc(heap->state, request, &fresh);

	if (error)
		return error;
	uint64_t keep = usable < request->bytes ? usable : request->bytes;
	memcpy(fresh, old, keep);
	if (request->flags & HEAP_ZERO)
		memset((char *)fresh + keep, 0, request->bytes - keep);
	*object = fresh;
	/* A heap that cannot free loses the old place. */
	error = heap->ops->free(heap->state, old);
	return error == KERR_UNSUPPORTED ? 0 : error;
}

int heap_realloc(const struct heap *heap, const struct heap_request *request, void **object)
{
	struct heap_request valid = *request;
	int error = validate(&valid.bytes, &valid.align_bytes);

	if (error)
		return error;
	if (!*object)
		return alloc_valid(heap, &valid, object);
	uint64_t usable = heap->ops->usable(heap->state, *object);
	if (!usable)
		return KERR_NOT_OWNED;
	if (stays(heap, *object, usable, &valid))
		return 0;
	if (heap->ops->resize && ((uintptr_t)*object & (valid.align_bytes - 1)) == 0 &&
	    heap->ops->resize(heap->state, *object, valid.bytes) == 0)
		return 0;
	error = move(heap, &valid, usable, object);
	/* A smaller size that cannot be had elsewhere is had here. */
	return error == KERR_NO_MEMORY && usable >= valid.bytes &&
			       ((uintptr_t)*object & (valid.align_bytes - 1)) == 0
		       ? 0
		       : error;
}

int heap_cache_new(const struct heap *heap, const struct heap_cache_request *request, uint32_t *out)
{
	struct heap_cache_request valid = *request;
	int error = validate(&valid.bytes, &valid.align_bytes);

	if (error)
		return error;
	return heap->ops->cache_new ? heap->ops->cache_new(heap->state, &valid, out)
				    : KERR_UNSUPPORTED;
}
