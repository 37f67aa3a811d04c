/*
 * frame_model.h - a deliberately naive model of who owns which frame: a byte a frame of the map,
 * found by a linear search through its ranges. And a seeded customer that drives an allocator and
 * holds every answer against the model.
 */
#ifndef KMEMLAB_TESTS_SUPPORT_FRAME_MODEL_H
#define KMEMLAB_TESTS_SUPPORT_FRAME_MODEL_H

#include "tests/support/frame_instance.h"

struct frame_model {
	const struct memmap *map;
	unsigned char *used; /* by position among the map's frames */
};

void frame_model_init(struct frame_model *model, const struct memmap *map);
void frame_model_fini(struct frame_model *model);
/* Position of a frame among the map's frames, or -1. */
int64_t frame_model_index(const struct frame_model *model, uint64_t frame);
uint64_t frame_model_used(const struct frame_model *model);
/* Whether a run of N free frames exists, aligned to ALIGN, in one range. */
bool frame_model_has_run(const struct frame_model *model, uint64_t n, uint64_t align);

/* Allocates and frees at random. */
struct frame_customer {
	struct frame_instance *in;
	struct frame_model model;
	uint64_t random;
	struct frame_block *live;
	unsigned live_count, live_room;
	uint64_t digest;   /* over everything handed out or refused */
	uint64_t failures; /* requests that had no memory */
	unsigned max_run;  /* frames of the largest request; 0: what suits the map */
};

void frame_customer_init(struct frame_customer *c, struct frame_instance *in, uint64_t seed);
void frame_customer_fini(struct frame_customer *c);
uint64_t frame_customer_random(struct frame_customer *c);
/* One allocation, free or partial free, checked against the model. */
void frame_customer_step(struct frame_customer *c);
void frame_customer_free_all(struct frame_customer *c);
/* Asserts that walk() and stats() say what the model says. */
void frame_customer_assert_agreement(const struct frame_customer *c);

#endif
