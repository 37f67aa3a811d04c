/*
 * explore_scenario.h - what an exploration plays: a memory map, what is allocated before, and a few
 * operations for each CPU; and the schedule that showed a defect, as a file:
 *
 *     [schedule]
 *     version = 1
 *     frames = bitmap-lockless
 *     settings = frames.key=value; ...
 *     map = [mem 0x0-0x27ffff] usable; ...
 *     cpus = 2
 *     leave = 1                          # frames that setup leaves free; absent: all that are
 *     setup = alloc 1 1; alloc 2 1       # handle, frames
 *     cpu0 = alloc 3 1; free 3
 *     cpu1 = free 1
 *     order = 0 17; 1 45; 0 *            # CPU, accesses to RAM before the next one; * all
 */
#ifndef KMEMLAB_SIM_EXPLORE_SCENARIO_H
#define KMEMLAB_SIM_EXPLORE_SCENARIO_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define EXPLORE_CPUS_MAX     4
#define EXPLORE_HANDLES_MAX  32
#define EXPLORE_FRAMES_MAX   1024	      /* of one request */
#define EXPLORE_SETUP	     EXPLORE_CPUS_MAX /* instead of a CPU */
#define EXPLORE_LEAVE_ALL    UINT64_MAX
#define EXPLORE_ALL	     UINT64_MAX
#define EXPLORE_SEGMENTS_MAX 64

/* Handles are 1 .. EXPLORE_HANDLES_MAX - 1; each is allocated once. */
struct explore_op {
	uint8_t cpu;
	bool is_free;
	uint16_t handle;
	uint32_t frames; /* of an allocation */
};

struct explore_scenario {
	char *map; /* E820 lines with semicolons between */
	unsigned cpus;
	uint64_t leave;
	GArray *ops; /* struct explore_op; those of one CPU in its order */
};

/* CPU does so many accesses, then the next segment's goes on. */
struct explore_segment {
	uint64_t cpu, accesses;
};

struct explore_order {
	unsigned count;
	struct explore_segment segment[EXPLORE_SEGMENTS_MAX];
};

struct explore_scenario *explore_scenario_new(const char *map, unsigned cpus, uint64_t leave,
					      const char *ops);
struct explore_scenario *explore_scenario_copy(const struct explore_scenario *from);
void explore_scenario_free(struct explore_scenario *scenario);

/* The INDEX-th of those that suit an allocator of these capabilities; NULL: there are no more. The
 * first are thought out, EXPLORE_RANDOM more come from the seed. */
#define EXPLORE_RANDOM 12
struct explore_scenario *explore_scenario_get(unsigned caps, uint64_t seed, unsigned index);

/* Frees of handles that nobody on that CPU or in setup has allocated before go, and handles that
 * are used twice. */
void explore_scenario_make_valid(GArray *ops);

/* "free 3" */
char *explore_op_text(const struct explore_op *op);
/* "cpu0: alloc 3 1; free 3 | cpu1: ..." */
char *explore_scenario_text(const struct explore_scenario *scenario);

/* A file of the form above. */
bool explore_file_is(const char *path);
bool explore_file_save(const char *path, const char *frames, char **settings,
		       const struct explore_scenario *scenario, const struct explore_order *order,
		       GError **error);
/* LAB_ERROR_INPUT naming what is wrong. SETTINGS: NULL-terminated, g_strfreev(). */
struct explore_scenario *explore_file_load(const char *path, char ***settings,
					   struct explore_order *order, GError **error);

#endif
