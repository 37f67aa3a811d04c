/*
 * space_model.h - the dumb reference: what each process's memory must hold, byte by byte, kept in
 * plain host memory with no page tables, no sharing, no laziness. A fork copies everything.
 *
 * It speaks of a fixed set of pages (the universe), some thousand of them in clusters that lie
 * across the spans of page tables of every mode, below 3 GiB, so that one list of events fits all
 * modes. Whoever adds swap, files, reclaim or compaction changes nothing here: contents stay what
 * they are.
 */
#ifndef KMEMLAB_SIM_SPACE_MODEL_H
#define KMEMLAB_SIM_SPACE_MODEL_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "workloads/event.h"

#define MODEL_PAGES 3328u /* of the universe */

/* Address of the universe's page N, 0 .. MODEL_PAGES - 1, and back (-1: not in it). */
uint64_t model_address(unsigned page);
int model_page(uint64_t address);
/* Pages from N on that are neighbours in addresses too, N included. */
unsigned model_room(unsigned page);
/* Where heaps begin; the pages behind it are of the universe, up to MODEL_HEAP_PAGES. */
#define MODEL_HEAP_PAGES 256u
uint64_t model_heap(void);

struct model;
struct model *model_new(bool no_execute);
void model_free(struct model *model);

/* Live processes, in the order of their birth. */
unsigned model_processes(const struct model *model);
uint32_t model_process(const struct model *model, unsigned index);

/* May the touch be, wholly? False for processes that do not live. */
bool model_allows(const struct model *model, const struct event *touch);
/* The event happened (not for touches). */
void model_apply(struct model *model, const struct event *event);
/* BYTES were written at VA. */
void model_write(struct model *model, uint32_t process, uint64_t va, const uint8_t *data,
		 unsigned bytes);
/* Is this what is there? */
bool model_holds(const struct model *model, uint32_t process, uint64_t va, const uint8_t *data,
		 unsigned bytes);

#endif
