/*
 * session.h - the inside of one replay pass, shared by the files that make it up; nobody else
 * includes it.
 *
 *   replay.c          the pass: power on, boot, the event loop, the end
 *   replay_frames.c   the frame slot: start state, allocations, frees, giving everything back
 *   replay_space.c    processes: page tables and address spaces, users' touches
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
	uint64_t lab_faults;	     /* host page faults while decoding */
	struct session_space *space; /* NULL: the run has no address spaces */
	bool corrupt;		     /* check() found a broken invariant: the pass ends */
	bool reached;		     /* the last event that is wanted */
	GError *error;		     /* a damaged trace, found inside the loop */
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

/* replay_space.c. */
bool session_space_prepare(struct session *session, GError **error); /* before boot */
void session_space_booted(struct session *session);
void session_space_clear(struct session *session);
void session_space_sample(void *context, struct metrics_spaces *out);
/* Kernel code runs in these. */
void session_space_start(struct session *session);
void session_space_event(struct session *session, const struct event *event);
void session_space_tick(struct session *session);
void session_space_figures(struct session *session);
void session_space_end(struct session *session);
/* Frames of page tables that the kernel keeps. */
uint64_t session_space_held(const struct session *session);

#endif
