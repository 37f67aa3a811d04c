/*
 * scene.h - a life of a few address spaces that owes every kind of invalidation that page tables
 * can owe, told in steps; after each, two CPUs look at all of it as users and as the kernel.
 *
 * What a mapping loses is looked for where it was, and frames that come free go to somebody else
 * at once, so that whoever uses a translation that should be gone uses a wrong one.
 */
#ifndef KMEMLAB_TESTS_SPACE_SCENE_H
#define KMEMLAB_TESTS_SPACE_SCENE_H

#include "tests/space/rig.h"

#define SCENE_CPUS 2u

struct scene {
	unsigned first; /* the CPU that looks first after each step */
	bool resting;	/* the last step: nobody looks for all that is done now */
	/* What came of it. */
	const char *at;	    /* the step that is under way */
	const char *failed; /* NULL, or what an operation should not have returned */
	/* The scene's own. */
	struct space *a, *b, *more[2], *runs[SCENE_CPUS];
	struct frame_block large, held[1024];
	unsigned helds;
	bool kernel_page;
};

/* A function for rig_run() and rig_try(); CONTEXT: struct scene. The rig is probed, has SCENE_CPUS
 * CPUs and the policy "process". Stops after the step in which something stale was used. */
void scene_play(struct rig *rig, void *context);
/* Everything goes back; only after a life in which nothing was lost. */
void scene_end(struct rig *rig, void *context);

#endif
