/*
 * story.h - small traces told in a few calls, the machine they run on, and one pass of the lab over
 * them.
 *
 * A story has a folder of its own, which story_free() removes. Unless told otherwise its machine
 * is a small PC of 8 MiB with the hole under 1 MiB, its map is the recorded one, and nothing is
 * known of the state before event 0.
 */
#ifndef KMEMLAB_TESTS_SUPPORT_STORY_H
#define KMEMLAB_TESTS_SUPPORT_STORY_H

#include <glib.h>
#include <stdbool.h>

#include "sim/replay.h"
#include "workloads/trace.h"

struct story {
	char *folder, *path;	 /* the trace's, once written */
	GArray *start, *events;	 /* struct event */
	struct trace_meta *meta; /* to be filled in before story_write() */
	struct machine_config *machine;
	uint64_t now_ns; /* of the next event; each takes one microsecond */
};

struct story *story_new(void);
void story_free(struct story *story);

/* Replaces the memory map by E820 lines, of trace and machine. */
void story_memory(struct story *story, const char *e820);

/* Events. FRAME: where the recording had it, or EVENT_NO_FRAME. */
void story_start(struct story *story, uint64_t handle, uint64_t frame, uint32_t frames);
struct event *story_alloc(struct story *story, uint64_t handle, uint32_t frames);
void story_free_all(struct story *story, uint64_t handle);
void story_free_part(struct story *story, uint64_t handle, uint32_t first, uint32_t frames);
/* Allocations and frees at random, of aligned blocks of up to 2^MAX_ORDER frames, at most LIVE
 * frames at a time; with parts freed now and then. Handles from 1 on. */
void story_random(struct story *story, uint32_t seed, unsigned events, unsigned max_order,
		  uint64_t live);

/* Writes the trace (once) and returns its path. */
const char *story_write(struct story *story);

/* What a pass over the story needs, with the registry's system of that name, or with OPS and its
 * probed twin. The story is written. */
struct replay_config story_config(struct story *story, const char *frames);
struct replay_config story_config_ops(struct story *story, const struct frame_ops *native,
				      const struct frame_ops *probed);

/* Runs the pass and asserts that it ran, whatever it found. */
void story_pass(const struct replay_config *config, enum kernel_pass pass,
		struct replay_result *result);
/* The same, sampled: result->metrics holds the figures at the end of the trace. */
void story_pass_sampled(const struct replay_config *config, enum kernel_pass pass,
			struct replay_result *result);
uint64_t story_metric(const struct replay_result *result, const char *name);
/* The first violation of a kind; NULL. */
const struct replay_violation *story_violation(const struct replay_result *result,
					       const char *kind);
/* Kinds and messages, a line each, for what a test says when it fails. Kept until the next call. */
const char *story_describe(const struct replay_result *result);

/* A machine of any E820 text. */
struct machine_config *story_machine(const char *name, const char *e820);

/* Removes a folder and all that is in it. */
void story_remove_folder(const char *folder);

#endif
