/*
 * process.h - a process as a generator follows it: what it has mapped, so that it touches nothing
 * else. Addresses stay below 3 GiB, for 32-bit machines.
 *
 *   0x08048000  text r-x | constants r-- | data rw- | break ->
 *   0x40000000  <- what is mapped, downwards from 0xb7000000
 *   0xbf800000  <- stack rw-, which ends there
 *
 * The first BRK after a SPAWN or EXEC says where the heap begins; a later one makes what lies
 * between a region, or less of it. All addresses and sizes are multiples of 4096.
 */
#ifndef KMEMLAB_WORKLOADS_GENERATE_PROCESS_H
#define KMEMLAB_WORKLOADS_GENERATE_PROCESS_H

#include "workloads/generate/emit.h"

#define PAGE_BYTES UINT64_C(4096)

/* What exec makes of a process: sizes in pages, each at least 1. */
struct program {
	const char *name;
	uint32_t text, constants, data, library, stack;
};

struct area {
	uint64_t address, pages;
	uint32_t rights; /* enum event_right bits */
};

/* Places of the areas that every program has; mapped ones follow. */
enum area_place {
	AREA_TEXT,
	AREA_CONSTANTS,
	AREA_DATA,
	AREA_LIBRARY,
	AREA_STACK,
	AREA_HEAP,
	AREA_MAPPED
};

struct process {
	struct generation *generation;
	uint32_t task;
	uint16_t cpu;
	const char *name; /* of its program */
	GArray *areas;	  /* struct area */
	/* The generator's own. */
	uint32_t depth;	 /* generations from the first process */
	uint32_t parent; /* task */
	uint64_t left;	 /* what it has still to do */
	uint8_t role;
};

/* From the kernel: an empty space, and a program in it. */
struct process *process_spawn(struct generation *generation, uint32_t task, uint16_t cpu,
			      const struct program *program);
/* A copy with a number of its own. */
struct process *process_fork(struct process *parent, uint32_t task, uint16_t cpu);
/* Empties the space, maps the program, relocates: the constants are written, then protected. */
void process_exec(struct process *process, const struct program *program);
/* Emits the exit and frees the process. */
void process_exit(struct process *process);

/* One access of 8 bytes or less (X: 4) within the page of the area, ACCESS within its rights. */
void process_touch_page(struct process *process, guint area, uint64_t page, uint8_t access);
/* COUNT accesses as programs make them: fetches from text and library, stack, data, heap and
 * mappings; some pages of each are much more popular than others. */
void process_run(struct process *process, uint64_t count);
/* Writes to PAGES pages of the area from FIRST on. */
void process_fill(struct process *process, guint area, uint64_t first, uint64_t pages);

/* Moves the break up, not above 0x40000000. Returns by how many pages. */
uint64_t process_grow(struct process *process, uint64_t pages);
/* Moves it down; the heap has as many pages. */
void process_shrink(struct process *process, uint64_t pages);
/* Maps PAGES where there is room. Returns the area's place, 0 where there is none. */
guint process_mmap(struct process *process, uint64_t pages, uint32_t rights);
/* Unmaps a mapped area; the places of later ones go down by one. */
void process_munmap(struct process *process, guint area);

#endif
