/*
 * generator.h - what workloads say while they are made: a process does this or that. Private to
 * workloads/generate/. The first error is kept; later calls do nothing.
 */
#ifndef KMEMLAB_WORKLOADS_GENERATE_GENERATOR_H
#define KMEMLAB_WORKLOADS_GENERATE_GENERATOR_H

#include "workloads/generate/generate.h"
#include "workloads/trace.h"

struct generator {
	struct trace_writer *writer;
	GRand *random;
	uint64_t time_ns;
	uint32_t next_process, cpus;
	GError *error;
};

/* 0 .. below - 1 */
uint32_t generator_below(struct generator *g, uint32_t below);
/* A number of pages or steps around MEAN: 1 .. 3 MEAN, small ones more often. */
uint32_t generator_around(struct generator *g, uint32_t mean);

uint32_t generator_spawn(struct generator *g, const char *name);
uint32_t generator_fork(struct generator *g, uint32_t parent);
void generator_exec(struct generator *g, uint32_t process, const char *name);
void generator_exit(struct generator *g, uint32_t process);
/* KIND: EVENT_MMAP, EVENT_MUNMAP, EVENT_MPROTECT, EVENT_BRK (address only). */
void generator_region(struct generator *g, uint32_t process, unsigned kind, uint64_t address,
		      uint64_t bytes, unsigned rights);
/* ACCESS: enum event_right. */
void generator_touch(struct generator *g, uint32_t process, uint64_t address, unsigned access);

/* A program as an i386 loader lays it out: text, data, a library, stack; heap begun. */
#define IMAGE_TEXT  0x08048000ull
#define IMAGE_DATA  0x08200000ull
#define IMAGE_HEAP  0x09000000ull
#define IMAGE_LIB   0x40000000ull
#define IMAGE_MMAP  0x50000000ull
#define IMAGE_STACK 0xbff00000ull
#define IMAGE_PAGE  4096ull

struct image {
	uint32_t text_pages, data_pages, lib_pages, stack_pages;
};
void generator_load(struct generator *g, uint32_t process, const struct image *image);
/* Runs it for STEPS touches: code and stack mostly, data and library now and then. */
void generator_run(struct generator *g, uint32_t process, const struct image *image,
		   uint32_t steps);

void generate_fork_storm(struct generator *g, const uint64_t *values);
void generate_server(struct generator *g, const uint64_t *values);
void generate_build_farm(struct generator *g, const uint64_t *values);

#endif
