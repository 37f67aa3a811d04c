/*
 * emit.h - what a generator works with while it runs: its parameters, its random numbers, a clock,
 * and one function an event. A failure (a full disk, an interruption) is kept and ends the run:
 * generators ask generation_more() in their loops and need look at nothing else.
 */
#ifndef KMEMLAB_WORKLOADS_GENERATE_EMIT_H
#define KMEMLAB_WORKLOADS_GENERATE_EMIT_H

#include "workloads/event.h"
#include "workloads/generate/distribution.h"
#include "workloads/generate/generate.h"
#include "workloads/trace.h"

/* Linux's GFP_KERNEL and __GFP_MOVABLE|GFP_HIGHUSER, as recordings of 6.1 have them. */
#define GFP_KERNEL  0xcc0u
#define GFP_MOVABLE 0x100ccau

struct generation {
	const struct generator *generator;
	const uint64_t *value; /* the parameters, by place */
	struct random random;
	uint64_t usable_frames; /* of the memory map */

	/* Who does what is emitted next; a generator sets them. */
	uint16_t cpu;
	uint32_t task;

	/* Owned by emit.c. */
	struct trace_writer *writer;
	uint64_t time_ns, last_handle;
	struct random clock; /* its own, so that times do not depend on what is drawn between */
	const volatile sig_atomic_t *stop;
	GError *error;
};

/* Whether to go on: false after a failure. */
bool generation_more(struct generation *generation);
/* Events emitted so far. */
uint64_t generation_events(const struct generation *generation);
/* Id of a name: of an object cache, a call site, a program. The same for the same text. */
uint32_t generation_name(struct generation *generation, const char *name);
/* Names a task for readers of the trace. */
void generation_task(struct generation *generation, uint32_t task, const char *name);
/* A line in the trace, for whoever looks at its course. */
void emit_marker(struct generation *generation, const char *text);

/* ---- frames ---- */

/* A block of 2^order frames, aligned to its size. Returns its handle. */
uint64_t emit_frames(struct generation *generation, unsigned order, enum event_mobility mobility);
void emit_frames_free(struct generation *generation, uint64_t handle);

/* ---- objects ---- */

/* An object as its owner has to remember it. */
struct object {
	uint64_t handle, bytes;
	uint32_t site, cache; /* names; cache 0: general-purpose memory */
};

struct object emit_object(struct generation *generation, uint64_t bytes, uint32_t site,
			  uint32_t cache);
/* Freed at the site given, its handle becomes 0. Nothing happens to one without a handle. */
void emit_object_free(struct generation *generation, struct object *object, uint32_t site);

/* ---- processes: by the generation's task ---- */

void emit_spawn(struct generation *generation, uint32_t child, uint32_t name);
void emit_fork(struct generation *generation, uint32_t child, uint32_t name);
void emit_exec(struct generation *generation, uint32_t name);
void emit_exit(struct generation *generation);
/* MMAP, MUNMAP or MPROTECT. */
void emit_region(struct generation *generation, enum event_kind kind, uint64_t address,
		 uint64_t bytes, uint32_t rights);
void emit_brk(struct generation *generation, uint64_t address);
/* ACCESS: bits of enum event_right. */
void emit_touch(struct generation *generation, uint64_t address, uint32_t bytes, uint8_t access,
		uint64_t ip);

#endif
