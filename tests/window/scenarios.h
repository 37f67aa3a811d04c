/*
 * scenarios.h - small stories of kernel code that uses windows: page tables made by hand, temporary
 * and demand-filled windows, recursive slots, faults. Kernel code, compiled native and probed.
 *
 * A scenario returns 0, or the line of the first thing that was not as it must be. Some are meant
 * to die: their test says of what.
 */
#ifndef KMEMLAB_TESTS_WINDOW_SCENARIOS_H
#define KMEMLAB_TESTS_WINDOW_SCENARIOS_H

#include "alloc/frame/frame.h"

/* The kernel that a scenario finds, and what it leaves. On the kernel's stack. */
struct scene {
	struct frames frames;
	struct vaddr direct; /* where physical 0 stands */
	bool wide;	     /* 4 levels of 8-byte entries; otherwise 2 of 4 bytes */
	struct vaddr window; /* first address of a region that nothing maps, large-page aligned */
	struct vaddr slot;   /* where the recursive slot shows the lowest tables */
	unsigned slot_index;
	uint64_t steps; /* how much, of scenarios that repeat something */
	/* Of the fault handlers: they change under code that does no more than touch an address. */
	volatile uint64_t faults;
	volatile uint32_t error_code; /* of the last one */
	volatile uint64_t depth, deepest;
	/* From one call to the next. */
	struct pfn first, second;
};

typedef int (*scenario_fn)(struct scene *);

struct scenario {
	const char *name;
	scenario_fn run;
	const char *dies;  /* kind of the report; NULL: it lives */
	const char *words; /* in the report's message */
	bool only_wide;
};
extern const struct scenario scenarios[]; /* ends with name == NULL */
extern const struct scenario probed_scenarios[];

/* Parts of what the test tells with several CPUs: a window on `first`, one more look, `second` in
 * its place with INVLPG. */
int scene_two_frames(struct scene *scene);
int scene_sees_first(struct scene *scene);
int scene_sees_second(struct scene *scene);
int scene_changes_over(struct scene *scene);
int scene_changes_over_silently(struct scene *scene); /* without INVLPG */
int probed_scene_two_frames(struct scene *scene);
int probed_scene_sees_first(struct scene *scene);
int probed_scene_sees_second(struct scene *scene);
int probed_scene_changes_over(struct scene *scene);
int probed_scene_changes_over_silently(struct scene *scene);

/* A window on `first` again, whose lowest table is `second`; the table's frame given back, with its
 * entry cleared before or not, with INVLPG or not; that frame taken again, for data that look like
 * an entry for the window's next page; a look at that page. */
int scene_makes_a_table(struct scene *scene);
int scene_frees_the_table(struct scene *scene);
int scene_frees_the_table_silently(struct scene *scene); /* without INVLPG */
int scene_frees_the_table_in_use(struct scene *scene);	 /* still entered */
int scene_reuses_the_table(struct scene *scene);
int scene_reuses_it_as_a_table(struct scene *scene);
int scene_looks_at_the_next_page(struct scene *scene);
int probed_scene_makes_a_table(struct scene *scene);
int probed_scene_frees_the_table(struct scene *scene);
int probed_scene_frees_the_table_silently(struct scene *scene);
int probed_scene_frees_the_table_in_use(struct scene *scene);
int probed_scene_reuses_the_table(struct scene *scene);
int probed_scene_reuses_it_as_a_table(struct scene *scene);
int probed_scene_looks_at_the_next_page(struct scene *scene);

/* Touches `steps` pages of the window, mapped one behind the other, again and again. */
int scene_map_many(struct scene *scene);
int scene_touch_many(struct scene *scene);
int probed_scene_map_many(struct scene *scene);
int probed_scene_touch_many(struct scene *scene);

#endif
