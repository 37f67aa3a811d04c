/*
 * raw.h - one event as a kernel recorder wrote it, in any of its spellings.
 *
 * Every importer turns its
 * input into raw events and hands them, in the recording's order, to owners.h, which alone knows
 * what they mean for a replay. Raw events are of fixed size, so that they also travel through the
 * pipe between trace_dat.c and the process in which it reads.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_RAW_H
#define KMEMLAB_WORKLOADS_IMPORT_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum raw_kind {
	RAW_NONE = 0,
	RAW_PAGE_ALLOC,
	RAW_PAGE_FREE,
	RAW_PAGE_FREE_BATCHED,
	RAW_ZONE_LOCKED,
	RAW_PCPU_DRAIN,
	RAW_EXTFRAG,
	RAW_ISOLATE,	 /* kprobe on the entry of __isolate_free_page */
	RAW_ISOLATE_RET, /* its return value; 0: not taken */
	RAW_FREE_ONE_PAGE,
	RAW_FREE_PAGES_OK,
	RAW_KMALLOC,
	RAW_KFREE,
	RAW_CACHE_ALLOC,
	RAW_CACHE_FREE,
	RAW_RESIZE, /* an object keeps its name and gets another size, perhaps another place */
	RAW_FAULT_USER,
	RAW_ACCESS, /* a memory reference of a program */
	/* As kernels other than Linux count: any number of frames. */
	RAW_FRAMES_ALLOC,
	RAW_FRAMES_FREE,
	RAW_FORK,
	RAW_EXEC,
	RAW_EXIT,
	RAW_MARKER,
	RAW_OTHER, /* kept by name, with its first numbers */
	RAW_KINDS
};

/* Fields of struct raw_event that its kind does not always carry. */
enum raw_has { RAW_HAS_MIGRATETYPE = 1 << 0, RAW_HAS_GFP = 1 << 1 };

/* A failed allocation: no frame. */
#define RAW_NO_PFN UINT64_MAX
#define RAW_VALUES 4

struct raw_event {
	uint64_t time_ns; /* of the recorder's clock */
	uint32_t pid;	  /* process number of the actor; 0 idle or unknown */
	uint16_t cpu;
	uint8_t kind;  /* enum raw_kind */
	uint8_t has;   /* enum raw_has bits */
	uint32_t gfp;  /* in the numbering of Linux 6.1, see gfp.h */
	uint32_t name; /* string id of the recorder's spelling; 0: raw_kind_name() */
	union {
		struct {
			uint64_t pfn; /* RAW_NO_PFN: the allocation failed */
			int32_t order;
			int32_t migratetype;
			int32_t fallback_order;
			int32_t fallback_migratetype;
			uint8_t refill; /* percpu_refill */
			uint8_t change_ownership;
		} page;
		struct {
			uint64_t first; /* RAW_NO_PFN: the allocation failed */
			uint32_t frames;
			uint32_t align_frames; /* of an allocation: a power of two */
			uint8_t zone;	       /* enum event_zone */
			uint8_t mobility;      /* enum event_mobility */
		} frames;
		struct {
			uint64_t value;
		} ret;
		struct {
			uint64_t pointer;
			uint64_t site; /* address, or a string id where the recorder names it */
			uint64_t bytes_requested;
			uint64_t bytes_given;
			uint64_t previous; /* RESIZE: where the object lay */
			uint32_t cache;	   /* string id, 0 unknown */
		} slab;
		struct {
			uint64_t address;
			uint64_t ip;
			uint64_t error_code;
		} fault;
		struct {
			uint64_t address;
			uint64_t ip;
			uint32_t bytes;
			uint32_t access; /* enum event_right bits */
		} access;
		struct {
			uint32_t child; /* FORK */
			uint32_t text;	/* string id: child's name, executable, own name */
		} process;
		struct {
			uint32_t text; /* string id */
		} marker;
		struct {
			uint32_t count;
			uint64_t value[RAW_VALUES];
		} other;
	} u;
};

/* The recorder's spelling of a kind ("mm_page_alloc"), NULL for NONE and OTHER. */
const char *raw_kind_name(enum raw_kind kind);
/* Whether the event names its frame by the pointer to its struct page (kprobes do). In other events
 * `trace-cmd report` prints a meaningless page=, `cat trace` a hash. */
bool raw_kind_has_pointer(enum raw_kind kind);
/* The kind of an event by its recorder's name (need not be terminated), RAW_OTHER if it is none of
 * ours. *SPELLED: the name differs from raw_kind_name(), so that it must be kept. */
enum raw_kind raw_kind_find(const char *name, size_t bytes, bool *spelled);

/* Numbers that recorders give by name, whatever their format. */
enum raw_field {
	RAW_FIELD_NONE = 0,
	RAW_FIELD_PFN,
	RAW_FIELD_PAGE, /* pointer to the struct page */
	RAW_FIELD_ORDER,
	RAW_FIELD_MIGRATETYPE,
	RAW_FIELD_GFP_FLAGS,
	RAW_FIELD_PERCPU_REFILL,
	RAW_FIELD_ALLOC_ORDER,
	RAW_FIELD_FALLBACK_ORDER,
	RAW_FIELD_ALLOC_MIGRATETYPE,
	RAW_FIELD_FALLBACK_MIGRATETYPE,
	RAW_FIELD_CHANGE_OWNERSHIP,
	RAW_FIELD_RET,
	RAW_FIELD_CALL_SITE,
	RAW_FIELD_PTR,
	RAW_FIELD_BYTES_REQ,
	RAW_FIELD_BYTES_ALLOC,
	RAW_FIELD_ADDRESS,
	RAW_FIELD_IP,
	RAW_FIELD_ERROR_CODE,
	RAW_FIELD_CHILD_PID,
	RAW_FIELDS
};

/* The numbers found in one event. */
struct raw_fields {
	uint32_t found;		    /* 1 << enum raw_field */
	uint64_t value[RAW_FIELDS]; /* of those found; the others may be anything */
};

/* The number, 0 if it was not found. */
static inline uint64_t raw_field_value(const struct raw_fields *fields, enum raw_field field)
{
	return fields->found >> field & 1 ? fields->value[field] : 0;
}

/* The name that recorders give a field ("migratetype"). */
const char *raw_field_name(enum raw_field field);
/* The field of that name (need not be terminated), RAW_FIELD_NONE if it is none of ours. */
enum raw_field raw_field_find(const char *name, size_t bytes);
/* Fills RAW->u (and gfp, has) for RAW->kind out of FIELDS; strings are the importer's business.
 * Returns RAW_FIELD_NONE, or the field that is missing. */
enum raw_field raw_build(struct raw_event *raw, const struct raw_fields *fields);
/* The two halves of it, for readers whose events of one type all have the same fields. */
enum raw_field raw_missing(enum raw_kind kind, uint32_t found);
void raw_fill(struct raw_event *raw, const struct raw_fields *fields);

/* Frame number behind a struct page pointer: vmemmap is aligned to 1 GiB and a struct page is 64
 * bytes, so the number is exact for RAM below 64 GiB. */
static inline uint64_t raw_page_pfn(uint64_t page)
{
	return (page & 0x3fffffff) / 64;
}

#endif
