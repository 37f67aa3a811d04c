/*
 * The heap slot of a replay: every call into the kernel heap, judged by the heap ledger.
 *
 * The heap has the machine to itself. A recording's frame events include the frames of its own
 * heap, so they are left out, as are those of the start state: what the frame allocator sees is
 * this heap's demand alone. Objects of the start section, which a piece cut out of a trace has, are
 * allocated before event 0. The frame allocator is handed to the heap behind a watch: ops of the
 * lab that call the real ones and tell the frame ledger.
 */
#include <inttypes.h>
#include <string.h>

#include "alloc/reach.h"
#include "sim/lab.h"
#include "sim/session.h"
#include "sim/trap.h"

#define HEAP_OWNER	 (LEDGER_HANDLE_BASE + 1u)
#define HEAP_STATE_OWNER (LEDGER_HANDLE_BASE + 2u)

/* Linux's ___GFP_RECLAIMABLE (include/linux/gfp_types.h): what its kernel could do without. */
#define GFP_RECLAIMABLE 0x10u

/* Around kernel code of the heap. COUNTERS: to charge it to; NULL none. */
void session_heap_begin(struct session *session, enum probe_phase phase,
			struct probe_counters *counters)
{
	if (session->pass == PASS_PROBED) {
		probe_phase(phase, counters);
		probe_heap(true);
	}
	trap_kernel_begin();
}

void session_heap_leave(struct session *session)
{
	trap_kernel_end();
	if (session->pass == PASS_PROBED) {
		probe_heap(false);
		probe_phase(PROBE_OFF, NULL);
	}
}

/* ---- the watched frame allocator: kernel code calls it, it is no kernel code ---- */

void session_heap_to_frames(struct session *session, bool enter)
{
	if (session->pass == PASS_PROBED)
		probe_heap(!enter);
}

/* Of the operation under way, so far; 0 where they are not counted. */
static uint64_t accesses(const struct session *session)
{
	return session->heap->counters ? replay_accesses(session->heap->counters) : 0;
}

/* The lab's own time is not the heap's. */
void session_heap_charge_lab(struct session *session, uint64_t since)
{
	if (session->timed)
		session->heap->lab_ticks += timer_stop() - since;
}

static int watched_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	struct session *session = state;
	struct ledger_finding finding;
	struct frames frames = session->frames;

	if (++session->heap->frame_requests == session->config->fail_frames)
		return KERR_NO_MEMORY;
	uint64_t before = accesses(session);
	session_heap_to_frames(session, true);
	int status = session->kernel->frame_alloc(&frames, request, out);
	session_heap_to_frames(session, false);
	session->heap->frame_accesses += accesses(session) - before;
	uint64_t since = session->timed ? timer_start() : 0;
	trap_kernel_end();
	if (status == KERR_OK) {
		if (!session->config->unjudged &&
		    ledger_take(session->ledger, out->first.n, out->frames,
				MAX(request->frames, out->frames), request->align_frames,
				HEAP_OWNER, request->mobility, &finding) != LEDGER_OK)
			session_ledger_violation(session, "allocation for the heap", &finding);
		heap_ledger_held(session->heap->ledger, out->frames);
		session_guard_frames(session, out);
	}
	trap_kernel_begin();
	session_heap_charge_lab(session, since);
	return status;
}

static int watched_free(void *state, const struct frame_block *block)
{
	struct session *session = state;
	struct ledger_finding finding;
	struct frames frames = session->frames;
	uint64_t since = session->timed ? timer_start() : 0;

	trap_kernel_end();
	if (!session->config->unjudged &&
	    ledger_release(session->ledger, block->first.n, block->frames, block->frames,
			   HEAP_OWNER, &finding) != LEDGER_OK)
		session_ledger_violation(session, "free by the heap", &finding);
	heap_ledger_held(session->heap->ledger, -(int64_t)block->frames);
	session_guard_frames(session, block);
	trap_kernel_begin();
	session_heap_charge_lab(session, since);
	uint64_t before = accesses(session);
	session_heap_to_frames(session, true);
	int status = session->kernel->frame_free(&frames, block);
	session_heap_to_frames(session, false);
	session->heap->frame_accesses += accesses(session) - before;
	return status;
}

/* ---- start ---- */

static void heap_death(struct session *session, const char *what)
{
	session_violation(session, "heap", 0, what);
	session->corrupt = true;
}

/* State, the memory map that the heap is told of, and the kernel's struct heap, in contiguous
 * frames. */
static void *place_state(struct session *session, uint64_t bytes, struct memmap **map)
{
	struct session_heap *heap = session->heap;
	const struct boot_result *boot = &session->machine->boot;
	uint64_t state = (bytes + 15) & ~15ull;
	uint64_t frames = frames_for_bytes(state + sizeof(**map) + sizeof(struct heap));
	struct frame_request request = { .frames = (uint32_t)frames, .align_frames = 1 };
	struct frames allocator = session->frames;
	struct ledger_finding finding;

	if (session->kernel->frame_alloc(&allocator, &request, &heap->state) != KERR_OK) {
		g_set_error(&session->error, LAB_ERROR, LAB_ERROR_USAGE,
			    "%s has no %" G_GUINT64_FORMAT
			    " contiguous frames for the state of heap %s",
			    session->frames.ops->name, frames, heap->heap.ops->name);
		return NULL;
	}
	ledger_take(session->ledger, heap->state.first.n, heap->state.frames, frames, 1,
		    HEAP_STATE_OWNER, 0, &finding);
	void *at = machine_pointer(session->machine, vaddr_add(session->machine->params.direct_map,
							       heap->state.first.n * FRAME_BYTES));
	memset(at, 0, frames * FRAME_BYTES);
	*map = (struct memmap *)(void *)((char *)at + state);
	**map = boot->map;
	return at;
}

void session_heap_start(struct session *session, struct frame_ops *watched)
{
	struct session_heap *heap = session->heap;
	struct heap_config config = session->config->heap_config;
	const char *why = "it gives no reason";
	struct memmap *map;

	*watched = *session->frames.ops;
	watched->alloc = watched_alloc;
	watched->free = watched_free;
	heap->heap.ops = session->config->heap[session->pass];
	config.frames = (struct frames){ watched, session };
	config.map = &session->machine->boot.map;
	config.reach = (struct reach){ .direct = session_object_vaddr(session, 0),
				       .direct_end = session->machine->boot.map.end };
	config.reach.base = machine_pointer(session->machine, config.reach.direct);
	if (!session_mapped_start(session, &config))
		return;
	heap->state_bytes = heap->heap.ops->state_bytes(&config, &why);
	if (!heap->state_bytes) {
		g_set_error(&session->error, LAB_ERROR, LAB_ERROR_BOOT,
			    "heap %s refuses this machine: %s", heap->heap.ops->name, why);
		return;
	}
	heap->heap.state = place_state(session, heap->state_bytes, &map);
	if (!heap->heap.state)
		return;
	config.map = map;
	probe_heap_owners(HEAP_OWNER, HEAP_STATE_OWNER);
	session_heap_begin(session, PROBE_RUN, NULL);
	int status = heap->heap.ops->init(heap->heap.state, &config);
	session_heap_leave(session);
	if (status != KERR_OK)
		g_set_error(&session->error, LAB_ERROR, LAB_ERROR_BOOT,
			    "heap %s does not start in this RAM (error %d)", heap->heap.ops->name,
			    status);
	else
		session_mapped_bind(session, (struct heap *)(map + 1));
}

bool session_heap_new(struct session *session, uint64_t handles, GError **error)
{
	struct session_heap *heap = session->heap = g_new0(struct session_heap, 1);

	heap->caches = g_hash_table_new(NULL, NULL);
	heap->ledger = heap_ledger_new(handles, session->machine->boot.map.end.n * FRAME_BYTES,
				       session->ledger, HEAP_OWNER);
	if (!heap->ledger)
		g_set_error(error, LAB_ERROR, LAB_ERROR_LAB,
			    "lab error: no memory for the heap ledger");
	return heap->ledger && session_guard_new(session, handles, error);
}

void session_heap_free(struct session *session)
{
	if (!session->heap)
		return;
	session_guard_free(session);
	heap_ledger_free(session->heap->ledger);
	g_hash_table_unref(session->heap->caches);
	g_clear_pointer(&session->heap, g_free);
}

/* ---- calls into the kernel ---- */

enum call { CALL_ALLOC, CALL_REALLOC, CALL_FREE };

static unsigned order_of(uint64_t bytes)
{
	unsigned order = bytes <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(bytes - 1);

	return MIN(order, REPLAY_ORDERS - 1);
}

static int enter(struct session *session, enum call call, const struct heap_request *request,
		 void **object)
{
	const struct kernel *kernel = session->kernel;
	struct heap heap = session->heap->heap; /* on the kernel's stack */
	void *at = *object;
	int status;

	if (call == CALL_FREE)
		status = kernel->heap_free(&heap, at);
	else if (call == CALL_ALLOC)
		status = kernel->heap_alloc(&heap, request, &at);
	else
		status = kernel->heap_realloc(&heap, request, &at);
	*object = at;
	return status;
}

static void note_worst(struct session *session, enum call call, uint64_t made)
{
	struct session_heap *heap = session->heap;
	struct replay_worst *worst = call == CALL_FREE ? &heap->worst_free : &heap->worst_alloc;

	made -= heap->frame_accesses;
	if (call != CALL_REALLOC && made > worst->accesses)
		*worst = (struct replay_worst){ made, session->event };
}

/* One operation, watched and timed. BYTES decides the row that it is charged to. */
static int call_heap(struct session *session, enum call call, uint64_t bytes,
		     const struct heap_request *request, void **object, bool count)
{
	unsigned order = order_of(bytes);
	struct replay_row *row =
		&session->result->row[call == CALL_FREE ? OPERATION_FREE : OPERATION_ALLOC][order];

	if (session->pass == PASS_PROBED)
		row->operations += count;
	uint64_t before = replay_accesses(&row->counters);
	session->heap->counters = count ? &row->counters : NULL;
	session->heap->frame_accesses = 0;
	session->heap->lab_ticks = 0;
	session_heap_begin(session, PROBE_RUN, count ? &row->counters : NULL);
	uint64_t start = session_start(session);
	session->heap->moving = call == CALL_REALLOC;
	int status = enter(session, call, request, object);
	uint64_t stop = session->timed ? timer_stop() : 0;
	session_heap_leave(session);
	replay_row_most(row, before);
	note_worst(session, call, replay_accesses(&row->counters) - before);
	session->heap->counters = NULL;
	if (session->timed && count)
		recorder_latency(
			session->recorder, call == CALL_FREE ? OPERATION_FREE : OPERATION_ALLOC,
			order, session->machine->current_cpu, session->event,
			session_net_ns(session, start + MIN(session->heap->lab_ticks, stop - start),
				       stop));
	session->result->operations += count;
	return status;
}

int session_heap_free_at(struct session *session, uint64_t offset)
{
	void *at = session_pointer(session, offset);

	session_heap_begin(session, PROBE_OFF, NULL);
	int status = enter(session, CALL_FREE, NULL, &at);
	session_heap_leave(session);
	return status;
}

/* ---- one event ---- */

void *session_pointer(const struct session *session, uint64_t offset)
{
	return machine_pointer(session->machine, session_object_vaddr(session, offset));
}

static void trace_fault(struct session *session, const char *what, uint64_t handle)
{
	char *where = session->event == REPLAY_ALL
			      ? g_strdup("start section")
			      : g_strdup_printf("event %" G_GUINT64_FORMAT, session->event);

	if (!session->error)
		g_set_error(&session->error, LAB_ERROR, LAB_ERROR_INPUT,
			    "trace error: %s: %s: %s (handle %" G_GUINT64_FORMAT ")",
			    session->config->trace_path, where, what, handle);
	g_free(where);
}

static void note_digest(struct session *session, const void *object)
{
	uint64_t address = object ? machine_vaddr(session->machine, object).a : UINT64_MAX;
	uint64_t step = random_mix(session->event * 0x9e3779b97f4a7c15ull + address);

	session->result->digest = random_mix(session->result->digest ^ step);
}

/* The object cache for a name, where the heap has caches and that name can have one. */
static uint32_t cache_for(struct session *session, const struct event *event)
{
	struct session_heap *heap = session->heap;
	gpointer name = GUINT_TO_POINTER(event->u.heap.cache), known;
	uint32_t number = 0;

	if (!event->u.heap.cache || !(heap->heap.ops->caps & HEAP_CAP_CACHES))
		return 0;
	if (g_hash_table_lookup_extended(heap->caches, name, NULL, &known))
		return GPOINTER_TO_UINT(known);
	struct heap_cache_request request = {
		.bytes = session_guard_cache_bytes(session, event->u.heap.bytes,
						   event->u.heap.align_bytes),
		.align_bytes = event->u.heap.align_bytes,
	};
	struct heap bound = heap->heap;
	session_heap_begin(session, PROBE_RUN, NULL);
	if (session->kernel->heap_cache_new(&bound, &request, &number) != KERR_OK)
		number = 0;
	session_heap_leave(session);
	g_hash_table_insert(heap->caches, name, GUINT_TO_POINTER(number));
	return number;
}

/* What a heap with tags is given of a call site. */
static uint32_t tag_of(uint64_t site)
{
	return (uint32_t)(site ^ site >> 32);
}

/* The tag that an object was born with. */
static uint32_t object_tag(const struct session *session, const struct heap_object *object)
{
	const GArray *sites = heap_ledger_sites(session->heap->ledger);

	return tag_of(g_array_index(sites, struct heap_site, object->site).address);
}

static struct heap_request request_for(struct session *session, const struct event *event)
{
	return (struct heap_request){
		.bytes = event->u.heap.bytes,
		.align_bytes = event->u.heap.align_bytes,
		.flags = event->u.heap.gfp & GFP_RECLAIMABLE ? HEAP_PAGED : 0,
		.tag = tag_of(event->u.heap.site),
		.cache = cache_for(session, event),
	};
}

static uint64_t alignment(const struct event *event)
{
	return MAX(event->u.heap.align_bytes, HEAP_ALIGN_DEFAULT);
}

static const char *request_problem(const struct event *event)
{
	uint32_t align = event->u.heap.align_bytes;

	if (event->u.heap.bytes > HEAP_BYTES_MAX)
		return "an object of more than a tebibyte";
	if ((align & (align - 1)) || align > HEAP_ALIGN_MAX)
		return "an object's alignment is no power of two up to 1 MiB";
	return NULL;
}

static void note_failure(struct session *session, const struct event *event, uint32_t site)
{
	struct event frames = *event;
	uint64_t need = frames_for_bytes(event->u.heap.bytes);

	if (session->event == REPLAY_ALL) {
		session->result->start_failures++;
		return;
	}
	heap_ledger_failed(session->heap->ledger, site, event->u.heap.bytes);
	session->result->failures++;
	memset(&frames.u, 0, sizeof(frames.u));
	frames.u.frame.frames = (uint32_t)MIN(need, UINT32_MAX);
	frames.u.frame.align_frames = (uint32_t)MAX(1, frames_for_bytes(event->u.heap.align_bytes));
	recorder_failure(session->recorder, session->event, &frames);
}

void session_object_violation(struct session *session, const char *kind, uint64_t offset,
			      const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	char *what = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	char *message = g_strdup_printf("heap %s: object at kernel address 0x%" PRIx64 ": %s",
					session->heap->heap.ops->name,
					session_object_vaddr(session, offset).a, what);
	bool direct = offset < heap_ledger_region_offset(session->heap->ledger);
	session_violation(session, kind, direct ? offset >> X86_PAGE_SHIFT : 0, message);
	g_free(message);
	g_free(what);
}

static uint64_t usable_bytes(struct session *session, const void *object)
{
	const struct heap *heap = &session->heap->heap;

	session_heap_begin(session, PROBE_CHECK, NULL);
	uint64_t bytes = heap->ops->usable(heap->state, object);
	session_heap_leave(session);
	return bytes;
}

/* Whether an object still holds what was written, and is still its owner's in the heap's eyes. */
static void verify(struct session *session, uint64_t handle, const struct heap_object *object)
{
	const struct heap *heap = &session->heap->heap;
	uint64_t bad;

	if (!session_object_verify(session, handle, object, object->bytes, &bad))
		return;
	if (bad != UINT64_MAX)
		session_object_violation(session, "contents", object->offset,
					 "byte %" PRIu64 " of %" PRIu64 " was overwritten", bad,
					 object->bytes);
	session_guard_verify(session, handle, object);
	if (!(heap->ops->caps & HEAP_CAP_TAGS))
		return;
	session_heap_begin(session, PROBE_CHECK, NULL);
	uint32_t tag = heap->ops->tag(heap->state, session_pointer(session, object->offset));
	session_heap_leave(session);
	if (tag != object_tag(session, object))
		session_object_violation(session, "tag", object->offset,
					 "its tag is not the one given");
}

static void give(struct session *session, uint64_t handle, bool count)
{
	struct heap_ledger *ledger = session->heap->ledger;
	struct heap_object *object = heap_ledger_object(ledger, handle);
	void *at = session_pointer(session, object->offset);
	uint64_t bytes = object->bytes, offset = object->offset;

	verify(session, handle, object);
	if (!(session->heap->heap.ops->caps & HEAP_CAP_FREE)) {
		heap_ledger_release(ledger, handle, session->machine->current_cpu);
		return;
	}
	bool there = session_guard_freeing(session, handle, object);
	heap_ledger_release(ledger, handle, session->machine->current_cpu);
	if (!there)
		return;
	int status = call_heap(session, CALL_FREE, bytes, NULL, &at, count);
	if (status != KERR_OK)
		session_object_violation(session, "free-refused", offset,
					 "its free is refused (error %d)", status);
	session_guard_freed(session, offset);
}

/* There was no frame for a page of the object when the workload touched it: its request failed
 * after all, and it goes. */
static void give_unbacked(struct session *session, const struct event *event, uint64_t handle)
{
	struct heap_object *object = heap_ledger_object(session->heap->ledger, handle);
	void *at = session_pointer(session, object->offset);
	uint64_t bytes = object->bytes;

	note_failure(session, event, object->site);
	heap_ledger_release(session->heap->ledger, handle, session->machine->current_cpu);
	object->state = HEAP_OBJECT_FAILED;
	if (call_heap(session, CALL_FREE, bytes, NULL, &at, false) != KERR_OK)
		session_object_violation(session, "free-refused", object->offset,
					 "its free is refused");
	heap_ledger_tick(session->heap->ledger);
}

/* After an operation. What the heap keeps for itself is asked for at new peaks, a 64th apart. */
static void tick(struct session *session)
{
	struct session_heap *heap = session->heap;
	const struct heap_totals *totals = heap_ledger_totals(heap->ledger);
	struct heap_stats stats = { 0 };

	heap_ledger_tick(heap->ledger);
	if (totals->live_bytes <= heap->peak_noted + heap->peak_noted / 64)
		return;
	session_heap_begin(session, PROBE_CHECK, NULL);
	heap->heap.ops->stats(heap->heap.state, &stats);
	session_heap_leave(session);
	heap->peak_noted = totals->live_bytes;
	heap->metadata_at_peak = heap->state_bytes + stats.kept_bytes;
	heap->objects_at_peak = totals->live_objects;
}

void session_heap_alloc(struct session *session, const struct event *event)
{
	struct heap_ledger *ledger = session->heap->ledger;
	uint64_t handle = event->u.heap.handle;
	struct heap_object *known = heap_ledger_object(ledger, handle);
	const char *problem = request_problem(event);
	void *at = NULL;

	if (!problem && (!known || known->state == HEAP_OBJECT_LIVE))
		problem = "an object whose handle is in use or out of range";
	if (problem) {
		trace_fault(session, problem, handle);
		return;
	}
	struct heap_request request = request_for(session, event);
	uint64_t front = session_guard_widen(session, handle, true, &request);
	uint32_t site = heap_ledger_site(ledger, event->u.heap.site, event->u.heap.cache);
	bool start = session->event == REPLAY_ALL; /* not counted */
	int status = call_heap(session, CALL_ALLOC, event->u.heap.bytes, &request, &at, !start);
	note_digest(session, status == KERR_OK ? at : NULL);
	*known = (struct heap_object){ .state = HEAP_OBJECT_FAILED };
	if (status != KERR_OK) {
		note_failure(session, event, site);
		return;
	}
	struct heap_object object = { .offset = session_object_offset(session, at),
				      .bytes = MAX(event->u.heap.bytes, 1),
				      .usable = usable_bytes(session, at),
				      .site = site,
				      .cpu = (uint16_t)session->machine->current_cpu };
	enum heap_verdict verdict =
		object.usable < request.bytes
			? HEAP_VERDICT_TOO_SMALL
			: heap_ledger_take(ledger, handle, &object, alignment(event));
	if (verdict != HEAP_VERDICT_OK) {
		session_object_violation(session, heap_verdict_name(verdict), object.offset,
					 "%" PRIu64 " bytes for a request of %" PRIu64 ": %s",
					 object.usable, request.bytes, heap_verdict_name(verdict));
		return;
	}
	session_guard_born(session, handle, front, false);
	if (!session_object_write(session, handle, known, 0)) {
		give_unbacked(session, event, handle);
		return;
	}
	if (session->config->overrun_event && session->event == session->config->overrun_event)
		session_object_overrun(session, known);
	tick(session);
}

void session_heap_release(struct session *session, const struct event *event)
{
	uint64_t handle = event->u.heap.handle;
	struct heap_object *object = heap_ledger_object(session->heap->ledger, handle);

	if (object && object->state == HEAP_OBJECT_FAILED) {
		session->result->skipped++;
		return;
	}
	if (!object || object->state != HEAP_OBJECT_LIVE) {
		trace_fault(session, "free of an object that is not allocated", handle);
		return;
	}
	give(session, handle, true);
	tick(session);
}

/* The object is where the heap says that it is now: AT, with KEEP bytes of before; or, where it was
 * not RESIZED, as it was. */
static void settle(struct session *session, const struct event *event, char *at, bool resized,
		   uint64_t keep, uint64_t front)
{
	struct heap_ledger *ledger = session->heap->ledger;
	uint64_t handle = event->u.heap.handle, offset = session_object_offset(session, at);
	struct heap_object *object = heap_ledger_object(ledger, handle);
	uint64_t was = session_guard_front(session, handle);
	uint64_t bytes = resized ? MAX(event->u.heap.bytes, 1) : object->bytes;
	enum heap_verdict verdict = heap_ledger_place(ledger, handle, offset, bytes,
						      usable_bytes(session, at), alignment(event));

	if (!resized)
		note_failure(session, event, object->site);
	if (verdict == HEAP_VERDICT_OK && resized && object->usable < front + bytes)
		verdict = HEAP_VERDICT_TOO_SMALL;
	if (verdict != HEAP_VERDICT_OK) {
		session_object_violation(session, heap_verdict_name(verdict), offset,
					 "after a realloc to %" PRIu64 " bytes: %s", bytes,
					 heap_verdict_name(verdict));
		return;
	}
	uint64_t bad;
	session_object_verify(session, handle, object, resized ? keep : bytes, &bad);
	if (bad != UINT64_MAX)
		session_object_violation(session, "contents", offset,
					 "byte %" PRIu64 " did not survive a realloc", bad);
	if (resized && front != was)
		memmove(at + front, at + was, keep);
	if (resized)
		session_guard_born(session, handle, front, true);
	if (resized && !session_object_write(session, handle, object, keep))
		give_unbacked(session, event, handle);
	else
		tick(session);
}

void session_heap_resize(struct session *session, const struct event *event)
{
	struct heap_ledger *ledger = session->heap->ledger;
	uint64_t handle = event->u.heap.handle;
	struct heap_object *object = heap_ledger_object(ledger, handle);
	const char *problem = request_problem(event);

	if (!problem && (!object || object->state == HEAP_OBJECT_NONE))
		problem = "a new size for an object that is not allocated";
	if (problem) {
		trace_fault(session, problem, handle);
		return;
	}
	if (object->state == HEAP_OBJECT_FAILED) {
		session->result->skipped++;
		return;
	}
	struct heap_request request = request_for(session, event);
	void *at = session_pointer(session, object->offset);
	uint64_t keep = MIN(object->bytes, request.bytes);
	uint64_t front = session_guard_widen(session, handle, false, &request);
	verify(session, handle, object);
	request.tag = object_tag(session, object);
	heap_ledger_lift(ledger, handle);
	int status = call_heap(session, CALL_REALLOC, event->u.heap.bytes, &request, &at, true);
	note_digest(session, status == KERR_OK ? at : NULL);
	settle(session, event, at, status == KERR_OK, keep, front);
}

/* ---- the end ---- */

static void trim(struct session *session)
{
	const struct heap *heap = &session->heap->heap;

	if (!heap->ops->trim)
		return;
	session_heap_begin(session, PROBE_RUN, NULL);
	heap->ops->trim(heap->state);
	session_heap_leave(session);
}

void session_heap_end(struct session *session)
{
	struct session_heap *heap = session->heap;
	struct heap_object *object;
	struct ledger_finding finding;
	char message[160];

	for (uint64_t handle = 1; (object = heap_ledger_object(heap->ledger, handle)); handle++)
		if (object->state == HEAP_OBJECT_LIVE)
			give(session, handle, false);
	trim(session);
	session_heap_audit(session);
	uint64_t held = heap_ledger_totals(heap->ledger)->held_frames;
	session->result->heap.held_after_all = held;
	if (session->corrupt || !(heap->heap.ops->caps & HEAP_CAP_GIVES_BACK))
		return;
	if (held) {
		g_snprintf(message, sizeof(message),
			   "heap %s: %" PRIu64 " frames are held when no object lives",
			   heap->heap.ops->name, held);
		session_violation(session, "leak", 0, message);
		return;
	}
	struct frames frames = session->frames;
	ledger_release(session->ledger, heap->state.first.n, heap->state.frames, heap->state.frames,
		       HEAP_STATE_OWNER, &finding);
	if (session->kernel->frame_free(&frames, &heap->state) != KERR_OK)
		heap_death(session, "the frames of the heap's state are refused");
}
