#include "workloads/import/raw.h"

#include <string.h>

/* The first name of a kind is its usual spelling; more rows are other names of the same event. In
 * the order of how often recordings hold them: the scanner looks names up here. */
static const struct {
	const char *name;
	uint8_t bytes;
	uint8_t kind;
} names[] = {
#define NAME(text, kind)                    \
	{                                   \
		text, sizeof text - 1, kind \
	}
	NAME("mm_page_free", RAW_PAGE_FREE),
	NAME("mm_page_alloc", RAW_PAGE_ALLOC),
	NAME("mm_page_free_batched", RAW_PAGE_FREE_BATCHED),
	NAME("mm_page_pcpu_drain", RAW_PCPU_DRAIN),
	NAME("mm_page_alloc_zone_locked", RAW_ZONE_LOCKED),
	NAME("page_fault_user", RAW_FAULT_USER),
	NAME("kmem_cache_free", RAW_CACHE_FREE),
	NAME("kmem_cache_alloc", RAW_CACHE_ALLOC),
	NAME("kfree", RAW_KFREE),
	NAME("kmalloc", RAW_KMALLOC),
	NAME("print", RAW_MARKER),
	NAME("tracing_mark_write", RAW_MARKER),
	NAME("isolate_free_page", RAW_ISOLATE),
	NAME("isolate_free_page_ret", RAW_ISOLATE_RET),
	NAME("free_one_page", RAW_FREE_ONE_PAGE),
	NAME("free_pages_ok", RAW_FREE_PAGES_OK),
	NAME("mm_page_alloc_extfrag", RAW_EXTFRAG),
	NAME("sched_process_fork", RAW_FORK),
	NAME("sched_process_exec", RAW_EXEC),
	NAME("sched_process_exit", RAW_EXIT),
	/* Before 6.1 the node variants were events of their own. */
	NAME("kmalloc_node", RAW_KMALLOC),
	NAME("kmem_cache_alloc_node", RAW_CACHE_ALLOC),
#undef NAME
};

const char *raw_kind_name(enum raw_kind kind)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].kind == kind)
			return names[i].name;
	return NULL;
}

bool raw_kind_has_pointer(enum raw_kind kind)
{
	return kind == RAW_ISOLATE || kind == RAW_FREE_ONE_PAGE || kind == RAW_FREE_PAGES_OK;
}

enum raw_kind raw_kind_find(const char *name, size_t bytes, bool *spelled)
{
	*spelled = false;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (names[i].bytes != bytes || memcmp(names[i].name, name, bytes) != 0)
			continue;
		/* `cat trace` prints a marker under the name of the function that wrote it. */
		*spelled = names[i].kind != RAW_MARKER &&
			   raw_kind_name(names[i].kind) != names[i].name;
		return names[i].kind;
	}
	return RAW_OTHER;
}

/* By length, then by name: few comparisons a look-up. */
static const struct {
	const char *name;
	uint8_t bytes;
	uint8_t field;
} fields_by_length[] = {
#define FIELD(text, field)                   \
	{                                    \
		text, sizeof text - 1, field \
	}
	FIELD("ip", RAW_FIELD_IP),
	FIELD("pfn", RAW_FIELD_PFN),
	FIELD("ptr", RAW_FIELD_PTR),
	FIELD("ret", RAW_FIELD_RET),
	FIELD("page", RAW_FIELD_PAGE),
	FIELD("order", RAW_FIELD_ORDER),
	FIELD("address", RAW_FIELD_ADDRESS),
	FIELD("gfp_flags", RAW_FIELD_GFP_FLAGS),
	FIELD("call_site", RAW_FIELD_CALL_SITE),
	FIELD("bytes_req", RAW_FIELD_BYTES_REQ),
	FIELD("child_pid", RAW_FIELD_CHILD_PID),
	FIELD("error_code", RAW_FIELD_ERROR_CODE),
	FIELD("migratetype", RAW_FIELD_MIGRATETYPE),
	FIELD("bytes_alloc", RAW_FIELD_BYTES_ALLOC),
	FIELD("alloc_order", RAW_FIELD_ALLOC_ORDER),
	FIELD("percpu_refill", RAW_FIELD_PERCPU_REFILL),
	FIELD("fallback_order", RAW_FIELD_FALLBACK_ORDER),
	FIELD("change_ownership", RAW_FIELD_CHANGE_OWNERSHIP),
	FIELD("alloc_migratetype", RAW_FIELD_ALLOC_MIGRATETYPE),
	FIELD("fallback_migratetype", RAW_FIELD_FALLBACK_MIGRATETYPE),
#undef FIELD
};

const char *raw_field_name(enum raw_field field)
{
	for (size_t i = 0; i < sizeof fields_by_length / sizeof *fields_by_length; i++)
		if (fields_by_length[i].field == field)
			return fields_by_length[i].name;
	return NULL;
}

enum raw_field raw_field_find(const char *name, size_t bytes)
{
	for (size_t i = 0; i < sizeof fields_by_length / sizeof *fields_by_length; i++) {
		if (fields_by_length[i].bytes < bytes)
			continue;
		if (fields_by_length[i].bytes > bytes)
			break;
		if (memcmp(fields_by_length[i].name, name, bytes) == 0)
			return (enum raw_field)fields_by_length[i].field;
	}
	return RAW_FIELD_NONE;
}

#define HAS(field) (1u << RAW_FIELD_##field)

/* What an event of a kind cannot do without. */
static const uint32_t required[RAW_KINDS] = {
	[RAW_PAGE_ALLOC] = HAS(PFN) | HAS(ORDER),
	[RAW_PAGE_FREE] = HAS(PFN) | HAS(ORDER),
	[RAW_PAGE_FREE_BATCHED] = HAS(PFN),
	[RAW_ZONE_LOCKED] = HAS(PFN) | HAS(ORDER),
	[RAW_PCPU_DRAIN] = HAS(PFN) | HAS(ORDER),
	[RAW_EXTFRAG] = HAS(PFN) | HAS(ALLOC_ORDER) | HAS(FALLBACK_ORDER),
	[RAW_ISOLATE] = HAS(PFN) | HAS(ORDER),
	[RAW_ISOLATE_RET] = HAS(RET),
	[RAW_FREE_ONE_PAGE] = HAS(PFN) | HAS(ORDER),
	[RAW_FREE_PAGES_OK] = HAS(PFN) | HAS(ORDER),
	[RAW_KMALLOC] = HAS(PTR) | HAS(BYTES_REQ),
	[RAW_KFREE] = HAS(PTR),
	[RAW_CACHE_ALLOC] = HAS(PTR) | HAS(BYTES_REQ),
	[RAW_CACHE_FREE] = HAS(PTR),
	[RAW_FAULT_USER] = HAS(ADDRESS) | HAS(ERROR_CODE),
	[RAW_FORK] = HAS(CHILD_PID),
};

static void build_page(struct raw_event *raw, const struct raw_fields *fields)
{
	bool extfrag = raw->kind == RAW_EXTFRAG;
	enum raw_field type = extfrag ? RAW_FIELD_ALLOC_MIGRATETYPE : RAW_FIELD_MIGRATETYPE;

	memset(&raw->u.page, 0, sizeof raw->u.page);
	raw->u.page.pfn = fields->found & HAS(PFN)
				  ? raw_field_value(fields, RAW_FIELD_PFN)
				  : raw_page_pfn(raw_field_value(fields, RAW_FIELD_PAGE));
	if (extfrag) {
		raw->u.page.order = (int32_t)raw_field_value(fields, RAW_FIELD_ALLOC_ORDER);
		raw->u.page.fallback_order =
			(int32_t)raw_field_value(fields, RAW_FIELD_FALLBACK_ORDER);
		raw->u.page.fallback_migratetype =
			(int32_t)raw_field_value(fields, RAW_FIELD_FALLBACK_MIGRATETYPE);
		raw->u.page.change_ownership =
			raw_field_value(fields, RAW_FIELD_CHANGE_OWNERSHIP) != 0;
	} else if (raw->kind != RAW_PAGE_FREE_BATCHED) {
		raw->u.page.order = (int32_t)raw_field_value(fields, RAW_FIELD_ORDER);
	}
	if (fields->found & 1u << type) {
		raw->u.page.migratetype = (int32_t)raw_field_value(fields, type);
		raw->has |= RAW_HAS_MIGRATETYPE;
	}
	raw->u.page.refill = raw->kind == RAW_ZONE_LOCKED &&
			     raw_field_value(fields, RAW_FIELD_PERCPU_REFILL) != 0;
}

static void build_slab(struct raw_event *raw, const struct raw_fields *fields)
{
	raw->u.slab.cache = 0;
	raw->u.slab.pointer = raw_field_value(fields, RAW_FIELD_PTR);
	raw->u.slab.site = raw_field_value(fields, RAW_FIELD_CALL_SITE);
	raw->u.slab.bytes_requested = raw_field_value(fields, RAW_FIELD_BYTES_REQ);
	raw->u.slab.bytes_given = raw_field_value(fields, RAW_FIELD_BYTES_ALLOC);
}

enum raw_field raw_missing(enum raw_kind kind, uint32_t found)
{
	if (raw_kind_has_pointer(kind) && (found & HAS(PAGE)))
		found |= HAS(PFN);
	uint32_t missing = required[kind] & ~found;

	return missing ? (enum raw_field)__builtin_ctz(missing) : RAW_FIELD_NONE;
}

enum raw_field raw_build(struct raw_event *raw, const struct raw_fields *fields)
{
	enum raw_field missing = raw_missing((enum raw_kind)raw->kind, fields->found);

	if (missing == RAW_FIELD_NONE)
		raw_fill(raw, fields);
	return missing;
}

void raw_fill(struct raw_event *raw, const struct raw_fields *fields)
{
	raw->has = 0;
	raw->gfp = 0;
	if (fields->found & HAS(GFP_FLAGS)) {
		raw->has = RAW_HAS_GFP;
		raw->gfp = (uint32_t)raw_field_value(fields, RAW_FIELD_GFP_FLAGS);
	}
	if (raw->kind == RAW_ISOLATE_RET)
		raw->u.ret.value = raw_field_value(fields, RAW_FIELD_RET);
	else if (raw->kind >= RAW_PAGE_ALLOC && raw->kind <= RAW_FREE_PAGES_OK)
		build_page(raw, fields);
	else if (raw->kind >= RAW_KMALLOC && raw->kind <= RAW_CACHE_FREE)
		build_slab(raw, fields);
	else if (raw->kind == RAW_FORK)
		raw->u.process.child = (uint32_t)raw_field_value(fields, RAW_FIELD_CHILD_PID);
	if (raw->kind == RAW_FAULT_USER) {
		raw->u.fault.address = raw_field_value(fields, RAW_FIELD_ADDRESS);
		raw->u.fault.ip = raw_field_value(fields, RAW_FIELD_IP);
		raw->u.fault.error_code = raw_field_value(fields, RAW_FIELD_ERROR_CODE);
	}
}
