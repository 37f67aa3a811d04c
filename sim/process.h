/*
 * process.h - the processes of a trace: each event of them, as operations on address spaces, with
 * what a process of that number is now. Used by replays and by the model check alike.
 *
 * What a touch writes is a function of the event's number and the address; what it reads goes into
 * a digest of contents, which is therefore the same for every page-table system, mode and pass that
 * serves the same events.
 *
 * A process that a trace never spawns begins with its first event. One that touches what it may not
 * dies: everything is given back, later events on it are skipped. One whose spawn or fork failed
 * never lived: they are skipped too.
 */
#ifndef KMEMLAB_SIM_PROCESS_H
#define KMEMLAB_SIM_PROCESS_H

#include <glib.h>

#include "sim/space_lab.h"
#include "workloads/event.h"

enum process_outcome {
	PROCESS_DONE = 0,
	PROCESS_SKIPPED, /* the process is dead, or never lived; or the address is no user's */
	PROCESS_FAILED,	 /* no memory, or a limit: data */
	PROCESS_KILLED,	 /* a touch that was refused */
	PROCESS_INVALID, /* the event makes no sense for this process: the trace's fault */
};

enum process_state { PROCESS_LIVE = 0, PROCESS_GONE, PROCESS_NEVER };

struct process {
	uint32_t number;
	enum process_state state;
	struct space *space;
};

/* What was read or written: BYTES at VA, 64 at most. */
typedef void (*process_touched_fn)(void *context, const struct process *process, uint64_t va,
				   const uint8_t *data, unsigned bytes, bool written);

struct processes {
	struct space_lab *lab;
	GHashTable *by_number;	  /* struct process * */
	struct process **running; /* by CPU; NULL: the kernel alone */
	struct process *last;	  /* looked up */
	bool survive;		  /* a refused touch does not kill */
	process_touched_fn touched;
	space_faulted_fn faulted;
	void *context;		    /* of both */
	struct space_report report; /* of the last refused touch */
	uint64_t contents;	    /* digest of what was read */
	uint64_t live, live_peak;
	uint64_t touches, killed;
};

void processes_init(struct processes *processes, struct space_lab *lab);
/* The processes that live are not given back: processes_exit_all() does that. */
void processes_fini(struct processes *processes);

/* The events of kinds SPAWN to TOUCH, as the current CPU. */
bool process_event_is(unsigned kind);
enum process_outcome process_event(struct processes *processes, const struct event *event,
				   uint64_t number);
/* NULL: there never was one. */
struct process *process_find(struct processes *processes, uint32_t number);
/* All that live, in order of their numbers. */
void processes_exit_all(struct processes *processes);

/* The bytes that event NUMBER writes at VA. */
void process_pattern(uint64_t number, uint64_t va, uint8_t *data, unsigned bytes);

/* In words, V7: what lies around a refused touch. */
char *process_report_text(const struct space_report *report);

#endif
