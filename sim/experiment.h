/*
 * experiment.h - allocators x traces x machines x seeds: an INI file, its cells, and running them
 * in parallel processes.
 *
 *     [experiment]
 *     name = demo
 *     title = Three allocators under two recordings
 *
 *     [cells]
 *     trace = ../recorded/redis-page.kmt; ../recorded/thp-page.kmt
 *     frames = bitmap; bitmap:policy=next-fit; stack; buddy
 *     machine = recorded
 *     ram = recorded; 1G; 2x
 *     seed = 1; 2; 3
 *     start = ascending
 *
 *     [cells heaps]
 *     trace = boot.kmt
 *     frames = buddy
 *     heap = slab; tlsf:segment=16
 *
 *     [cells spaces]
 *     trace = storm.kmt
 *     frames = buddy
 *     tables = direct; recursive; window:policy=single
 *     space = regions; process
 *     machine = pc-512m-i386; pc-512m-i386:paging=pae; pc-512m; pc-512m:paging=5level
 *
 *     [options]
 *     pass = both
 *     place = free
 *     cpus = 2
 *     sample-events = 0
 *     set = machine.leaf=4K; machine.cpu=zen4
 *
 * name is the folder under results/ (else the file's own). Every combination of the lists in a
 * group [cells] or [cells NAME] is a cell; items are separated by ";", which therefore begins no
 * comment: that is "#", at the start of a line. A trace's path is relative to the file, and so is a
 * plugin's. frames, heap, tables, space and machine are name[:key=value,...]; frames may be
 * file.so[:key=value,...]. heap "none": frame events are replayed, else heap events; space "none":
 * processes are not; machine a preset, a file or recorded; ram a size or a multiple of the
 * machine's own. [options] are switches of `kmemlab replay`, the same for all cells; tables and
 * space may stand there too.
 *
 * Unknown names and settings are refused (but of frames: such a cell fails). Combinations that
 * cannot be (a heap under a trace without heap events, page tables that a machine does not take)
 * are skipped, with their reason, unless a group has nothing else: then it is refused.
 */
#ifndef KMEMLAB_SIM_EXPERIMENT_H
#define KMEMLAB_SIM_EXPERIMENT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct experiment_cell {
	char *run; /* folder name */
	char *trace_path;
	char *trace;			/* base name without .kmt */
	char *frames;			/* label: name[:key=value,...], a plugin's is its file's */
	char *frames_path;		/* of a plugin; NULL: the lab's own system */
	char *heap;			/* label, or "none" */
	char *heap_path;		/* of a plugin; NULL */
	char *tables, *space, *machine; /* labels */
	char *ram;			/* as in the file */
	char *start;
	uint64_t seed;
	char **argv; /* of the process that runs it, argv[0] being the program; -o comes last */
	const char *status; /* "pending", "done", "failed", "skipped" */
	int exit;
	char *message; /* of a failed cell, or why it is skipped */
};

struct experiment {
	char *name, *title;
	GPtrArray *cells; /* struct experiment_cell * */
};

/* LAB_ERROR_USAGE names file and line of unknown groups and keys, and values that make no sense; a
 * file that is no INI is LAB_ERROR_INPUT. Cells that cannot be are "skipped" already. Cost: headers
 * of traces are read, and a machine is built for each cell. */
struct experiment *experiment_load(const char *path, GError **error);
void experiment_free(struct experiment *experiment);

struct experiment_options {
	const char *directory; /* NULL: results/<name> */
	unsigned jobs;	       /* 0: one a CPU of the host */
	uint64_t first, last;  /* cells to run, inclusive; all: 0, UINT64_MAX */
	bool repeat;	       /* also what is done */
};

/* Runs the cells that are not skipped; those whose folder holds a finished run of the same command
 * and trace are kept. Progress on stderr if that is a terminal. *failed counts cells that ended
 * with anything but success or violations; *violated those with exit 1. */
bool experiment_run(struct experiment *experiment, const struct experiment_options *options,
		    unsigned *failed, unsigned *violated, GError **error);

#endif
