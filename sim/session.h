/*
 * session.h - the inside of one replay pass, shared by the files that make it up; nobody else
 * includes it.
 *
 *   replay.c          the pass: power on, boot, the event loop, the end
 *   replay_frames.c   the frame slot: start state, allocations, frees, giving everything back
 *   replay_threads.c  the event loop on host threads
 *   replay_verdict.c  what is found wrong on the way
 */
#ifndef KMEMLAB_SIM_SESSION_H
#define KMEMLAB_SIM_SESSION_H

#include "sim/handles.h"
#include "sim/ledger.h"
#include "sim/random.h"
#include "sim/replay.h"
#include "sim/timer.h"

struct session {
	const struct replay_config *config;
	enum kernel_pass pass;
	const struct kernel *kernel;
	struct trace_reader *reader;
	struct machine *machine;
	struct ledger *ledger;
	struct frames frames;
	struct handles handles;
	struct recorder *recorder;
	struct replay_result *result;
	GArray *start;	   /* struct start_item */
	GArray *untouched; /* struct frame_block: held from the start, for no handle */
	uint64_t event;	   /* being replayed; REPLAY_ALL outside of the events */
	uint64_t time_ns;
	struct random random; /* of ties */
	const struct timer *timer;
	bool timed;
	uint64_t lab_faults; /* host page faults while decoding */
	bool corrupt;	     /* check() found a broken invariant: the pass ends */
	bool reached;	     /* the last event that is wanted */
	GError *error;	     /* a damaged trace, found inside the loop */
};

/* replay_verdict.c: books a violation at the present event. */
void session_violation(struct session *session, const char *kind, uint64_t frame,
		       const char *message);
void session_ledger_violation(struct session *session, const char *action,
			      const struct ledger_finding *finding);
/* A probe_report_fn; CONTEXT is the session. */
void session_probe_finding(void *context, const struct probe_finding *finding);
/* Holds the allocator's own account against the ledger. */
void session_audit(struct session *session);
void session_violation_free(gpointer violation);

/* replay_frames.c: kernel code runs in these; inside trap_run() only. */
void session_start_state(struct session *session);
void session_frame_alloc(struct session *session, const struct event *event);
void session_frame_free(struct session *session, const struct event *event);
void session_give_back(struct session *session);

/* replay_threads.c: all events; not inside trap_run(). Where a thread died the result says so. */
void session_replay_threads(struct session *session);

#endif
