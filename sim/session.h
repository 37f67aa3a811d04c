/*
 * session.h - the inside of one replay pass, shared by the files that make it up; nobody else
 * includes it.
 *
 *   replay.c          the pass: power on, boot, blocks of events, the end
 *   replay_frames.c   the frame slot: start state, the loop over events with allocations and frees,
 *                     giving everything back
 *   replay_space.c    processes: page tables and address spaces, users' touches
 *   replay_fixture.c  a fixture as the start state
 *   replay_threads.c  the event loop on host threads
 *   replay_heap.c     the heap slot: objects allocated, resized, verified and freed
 *   replay_guard.c    red zones, poison, what the heap does in objects
 *   replay_mapped.c   what a heap has of kernel virtual memory, and its objects through the MMU
 *   replay_verdict.c  what is found wrong on the way
 */
#ifndef KMEMLAB_SIM_SESSION_H
#define KMEMLAB_SIM_SESSION_H

#include "mmu/segment.h"
#include "sim/handles.h"
#include "sim/heap_ledger.h"
#include "sim/ledger.h"
#include "sim/random.h"
#include "sim/replay.h"
#include "sim/timer.h"
#include "sim/trap.h"
#include "sim/window_cost.h"

/* Of a replay with a heap. */
struct session_heap {
	struct heap heap;
	struct frame_block state; /* where its state stands */
	uint64_t state_bytes;
	struct heap_ledger *ledger;
	GHashTable *caches; /* string id of an object cache -> the heap's number for it */
	uint64_t lab_ticks; /* the lab's own, within the present operation */
	/* Of a heap that maps. */
	struct vaddr region;	   /* kernel addresses that it was given */
	uint64_t region_bytes;	   /* 0: none */
	struct heap_mapper mapper; /* the kernel's */
	struct tables *tables;
	struct heap *bound;    /* in its RAM: what the fault handler is called with */
	uint64_t table_frames; /* taken for page tables */
	uint64_t faults, unbacked;
	bool segmented; /* its objects have segment descriptors: */
	struct mmu_segments segments;
	uint64_t kept_bytes; /* by the heap's stats, at the last audit */
	uint64_t frame_requests;
	uint64_t frame_accesses; /* of the frame allocator, within the present operation */
	const struct probe_counters *counters; /* of the present operation; NULL: not counted */
	struct replay_worst worst_alloc, worst_free;
	uint64_t peak_noted; /* live bytes at which metadata was looked at */
	uint64_t metadata_at_peak, objects_at_peak;
	bool moving; /* a realloc is under way, which copies */
};

struct session {
	const struct replay_config *config;
	enum kernel_pass pass;
	const struct kernel *kernel;
	struct trace_reader *reader;
	struct machine *machine;
	struct ledger *ledger;
	struct frames frames;
	struct handles handles;
	struct session_heap *heap;   /* NULL: none, frame events are replayed */
	struct session_guard *guard; /* NULL: nothing is guarded */
	struct recorder *recorder;
	struct recorder_stamps *stamps; /* NULL unless timed */
	struct demand *demand;		/* NULL without a recorder */
	uint64_t last_ns;		/* of the last timed operation on more than one frame */
	GArray *rehearsed; /* struct frame_range: what an untimed pass touched; NULL: none was */
	struct replay_result *result;
	GArray *start;	   /* struct start_item */
	GArray *held;	   /* uint64_t: frames that a fixture holds; or NULL */
	GArray *untouched; /* struct frame_block: held from the start, for no handle */
	uint64_t event;	   /* being replayed; REPLAY_ALL outside of the events */
	uint64_t time_ns;
	struct random random; /* of ties */
	const struct timer *timer;
	struct window_meter meter; /* of the lab's own time within operations */
	bool timed;
	uint64_t lab_faults;	     /* host page faults while decoding */
	struct session_space *space; /* NULL: the run has no address spaces */
	bool corrupt;		     /* check() found a broken invariant: the pass ends */
	bool reached;		     /* the last event that is wanted */
	GError *error;		     /* a damaged trace, found inside the loop */
};

/* A stamp before an operation that is timed, else 0. */
static inline uint64_t session_start(struct session *session)
{
	if (!session->timed)
		return 0;
	if (session->meter.cost)
		window_meter_start(&session->meter);
	return timer_start();
}

/* Nanoseconds between two stamps, net of the timer and of the lab's windows. */
static inline uint64_t session_net_ns(struct session *session, uint64_t start, uint64_t stop)
{
	uint64_t ns = timer_net_ns(session->timer, start, stop);
	uint64_t lab = session->meter.cost ? window_meter_stop(&session->meter) : 0;

	return ns > lab ? ns - lab : 0;
}

/* The CPU that the event is on, of as many as the machine has. */
static inline void session_set_cpu(struct session *session, unsigned cpu)
{
	unsigned cpus = session->machine->config->cpus;

	cpu = cpu < cpus ? cpu : cpu % cpus;
	if (cpu != session->machine->current_cpu)
		machine_set_cpu(session->machine, cpu);
}

/* replay.c: an event of any other slot than that of frames. */
void session_other_event(struct session *session, const struct event *event);

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
void session_fixture(struct session *session); /* replay_fixture.c */
void session_start_state(struct session *session);
/* Replays the events, NUMBER the first one's, up to one after which the pass ends. Returns how
 * many. Frame events are inlined into the loop. */
int session_events(struct session *session, uint64_t number, const struct event *events, int count);
void session_give_back(struct session *session);
/* A block for no handle, held for the fixture. False: there is none. */
bool session_hold(struct session *session, const struct frame_request *request);
/* Gives it back; the caller takes it out of session->untouched. */
void session_let_go(struct session *session, const struct frame_block *block);

/* replay_heap.c. Host side: the books; before and after kernel code runs. */
bool session_heap_new(struct session *session, uint64_t handles, GError **error);
void session_heap_free(struct session *session);
/* Kernel code runs in these. WATCHED: on the kernel's stack, stays there while the heap lives. */
void session_heap_start(struct session *session, struct frame_ops *watched);
void session_heap_alloc(struct session *session, const struct event *event);
void session_heap_resize(struct session *session, const struct event *event);
void session_heap_release(struct session *session, const struct event *event);
void session_heap_audit(struct session *session);
/* A row of heap.csv. CONTEXT: the session. */
void session_heap_sample(void *context, struct result *result, uint64_t event, uint64_t time_ns);
/* Frees all that lives; what the heap holds then is a leak, if it promised to give it back. */
void session_heap_end(struct session *session);

/* What kernel code has for an object's offset (session_object_offset()). */
void *session_pointer(const struct session *session, uint64_t offset);
/* The heap's status for a free of what is no object. It may look at what is not its own to find
 * out: not judged. */
int session_heap_free_at(struct session *session, uint64_t offset);
void session_object_violation(struct session *session, const char *kind, uint64_t offset,
			      const char *format, ...) G_GNUC_PRINTF(4, 5);

/* replay_guard.c. Nothing is done where nothing is guarded. */
bool session_guard_new(struct session *session, uint64_t handles, GError **error);
void session_guard_free(struct session *session);
/* Makes room for red zones; FRESH: an object that is not there yet. Bytes before the object. */
uint64_t session_guard_widen(const struct session *session, uint64_t handle, bool fresh,
			     struct heap_request *request);
/* The same for the objects of a cache. */
uint64_t session_guard_cache_bytes(const struct session *session, uint64_t bytes, uint64_t align);
uint64_t session_guard_front(const struct session *session, uint64_t handle);
/* The ledger has a new object, or one that MOVED or changed its size. Before its contents are
 * written. */
void session_guard_born(struct session *session, uint64_t handle, uint64_t front, bool moved);
void session_guard_verify(struct session *session, uint64_t handle,
			  const struct heap_object *object);
/* Before and after a free. False: misuse has freed it already. */
bool session_guard_freeing(struct session *session, uint64_t handle,
			   const struct heap_object *object);
void session_guard_freed(struct session *session, uint64_t offset);
/* The heap got these frames, or gives them back. */
void session_guard_frames(struct session *session, const struct frame_block *block);
/* What the byte is or was of; LIVE: of a live object, else of the one that died there last. Free
 * with g_free(). Cost: O(handles). */
char *session_object_story(const struct session *session, uint64_t offset, bool live);
/* Around kernel code of the heap. COUNTERS: to charge it to; NULL none. */
void session_heap_begin(struct session *session, enum probe_phase phase,
			struct probe_counters *counters);
void session_heap_leave(struct session *session);
/* The heap's call goes on in the frame allocator (ENTER), or comes back from there. */
void session_heap_to_frames(struct session *session, bool enter);
/* The lab's own time is not the heap's. */
void session_heap_charge_lab(struct session *session, uint64_t since);

/* replay_mapped.c. Before boot, on the host's side: room for page tables. */
bool session_mapped_prepare(struct session *session, GError **error);
/* Kernel code runs in these: page tables start, CONFIG gets its mapper; then the heap's fault
 * handler is in force. False with session->error. */
bool session_mapped_start(struct session *session, struct heap_config *config);
void session_mapped_bind(struct session *session, struct heap *in_ram);
/* Frames of page tables: they stay. */
uint64_t session_mapped_held(const struct session *session);
void session_mapped_figures(struct session *session);
/* Adds whose object a faulting address is next to. */
void session_mapped_explain(struct session *session, struct vaddr va, struct trap_report *report);
/* Objects have an offset: from the beginning of the direct map, or behind its end from the
 * beginning of the region. */
uint64_t session_object_offset(const struct session *session, const void *object);
struct vaddr session_object_vaddr(const struct session *session, uint64_t offset);
/* The frame behind an offset of the region; UINT64_MAX: none. A heap_frame_fn. */
uint64_t session_region_frame(void *context, uint64_t offset);

/* The workload writes, or verifies, bytes [from, bytes) of an object through the machine: as kernel
 * code of the current CPU, faults to the heap. *BAD: the first byte that differs, or UINT64_MAX.
 * False: a touch failed; where that was the heap's fault it is reported. */
bool session_object_write(struct session *session, uint64_t handle,
			  const struct heap_object *object, uint64_t from);
bool session_object_verify(struct session *session, uint64_t handle,
			   const struct heap_object *object, uint64_t bytes, uint64_t *bad);
/* One byte past the end, for tests. */
void session_object_overrun(struct session *session, const struct heap_object *object);

/* replay_threads.c: all events; not inside trap_run(). Where a thread died the result says so. */
void session_replay_threads(struct session *session);

/* replay_space.c. */
bool session_space_prepare(struct session *session, GError **error); /* before boot */
void session_space_booted(struct session *session);
void session_space_clear(struct session *session);
/* What samples.csv has; and a point of what run.json has over time. */
void session_space_metrics(struct session *session, struct metrics_spaces *out);
void session_space_sample(struct session *session, uint64_t event, uint64_t time_ns);
/* Kernel code runs in these. */
void session_space_start(struct session *session);
void session_space_event(struct session *session, const struct event *event);
void session_space_tick(struct session *session);
void session_space_figures(struct session *session);
void session_space_end(struct session *session);
/* Frames of page tables that the kernel keeps. */
uint64_t session_space_held(const struct session *session);

#endif
