/*
 * Heaps that map pages (HEAP_CAP_MAPS): their page tables, their faults, and their objects as the
 * workload reaches them.
 *
 *   heap --mapper--> [watch] --> kernel's mapper --> alloc/table/ --> frames [watched, booked]
 *   kernel code touches a page that is not there --> trap.c, probe.c --> heap_page_fault() --> heap
 *   the workload touches an object --> mmu/ as the current CPU --+ #PF --> heap_page_fault()
 *                                                                '-------> RAM, as the lab sees it
 *
 * Page tables take their frames from the same allocator as the heap, for an owner of their own in
 * the frame ledger; the kernel's page tables stay once they are made, and are no leak.
 */
#include <inttypes.h>
#include <string.h>

#include "mmu/fast.h"
#include "mmu/segment.h"
#include "sim/lab.h"
#include "sim/session.h"

#define TABLE_OWNER (LEDGER_HANDLE_BASE + 3u)

/* Faults of one touch: the page is made present, with room to spare. */
#define TOUCH_TRIES 4

static bool maps(const struct session *session)
{
	const struct heap_ops *ops = session->config->heap[session->pass];

	return ops && (ops->caps & HEAP_CAP_MAPS);
}

/* ---- page tables ---- */

static enum probe_phase enter_tables(const struct session *session)
{
	return session->pass == PASS_PROBED ? probe_change_phase(PROBE_KERNEL) : PROBE_OFF;
}

static void leave_tables(const struct session *session, enum probe_phase before)
{
	if (session->pass == PASS_PROBED)
		probe_change_phase(before);
}

static int table_frame_alloc(void *state, const struct frame_request *request,
			     struct frame_block *out)
{
	struct session *session = state;
	struct ledger_finding finding;
	struct frames frames = session->frames; /* on the kernel's stack */
	enum probe_phase before =
		session->pass == PASS_PROBED ? probe_change_phase(PROBE_RUN) : PROBE_OFF;

	session_heap_to_frames(session, true);
	int status = session->kernel->frame_alloc(&frames, request, out);
	session_heap_to_frames(session, false);
	leave_tables(session, before);
	if (status != KERR_OK)
		return status;
	uint64_t since = session->timed ? timer_start() : 0;
	trap_kernel_end();
	session->heap->table_frames += out->frames;
	if (ledger_take(session->ledger, out->first.n, out->frames, request->frames,
			request->align_frames, TABLE_OWNER, request->mobility,
			&finding) != LEDGER_OK)
		session_ledger_violation(session, "allocation for page tables", &finding);
	trap_kernel_begin();
	session_heap_charge_lab(session, since);
	return status;
}

/* Tables that could not be linked come back; those that were stay. */
static int table_frame_free(void *state, const struct frame_block *block)
{
	struct session *session = state;
	struct ledger_finding finding;
	struct frames frames = session->frames;

	if (!(frames.ops->caps & FRAME_CAP_FREE))
		return KERR_UNSUPPORTED;
	trap_kernel_end();
	session->heap->table_frames -= block->frames;
	if (ledger_release(session->ledger, block->first.n, block->frames, block->frames,
			   TABLE_OWNER, &finding) != LEDGER_OK)
		session_ledger_violation(session, "free by page tables", &finding);
	trap_kernel_begin();
	enum probe_phase before =
		session->pass == PASS_PROBED ? probe_change_phase(PROBE_RUN) : PROBE_OFF;
	session_heap_to_frames(session, true);
	int status = session->kernel->frame_free(&frames, block);
	session_heap_to_frames(session, false);
	leave_tables(session, before);
	return status;
}

/* Read by kernel code: constant. What the allocator behind it cannot do it says itself. */
static const struct frame_ops table_frame_ops = {
	.name = "watched",
	.id = "-",
	.summary = "the allocator under test, as the page tables of a heap see it",
	.caps = FRAME_CAP_RUNS | FRAME_CAP_ANY_COUNT | FRAME_CAP_ALIGN | FRAME_CAP_AT |
		FRAME_CAP_FREE,
	.alloc = table_frame_alloc,
	.free = table_frame_free,
};

static struct table_config table_config_for(const struct session *session,
					    const struct machine *machine)
{
	const struct space_choice *choice = session->config->heap_tables;
	const struct frame_ops *frames = session->config->frames[session->pass];
	struct table_config config = {
		.paging = machine_paging(machine->config),
		.layout = machine_table_layout(machine->config),
		.frame_caps = frames->caps,
		.frames_end = { machine->ram.size >> X86_PAGE_SHIFT },
		.cpus = machine->config->cpus,
	};

	if (choice)
		memcpy(config.option, choice->table_option, sizeof(config.option));
	return config;
}

static const struct table_ops *table_ops_for(const struct session *session, enum kernel_pass pass)
{
	const struct space_choice *choice = session->config->heap_tables;

	return choice ? choice->tables[pass] : kernel_spaces[pass].table_find("direct");
}

bool session_mapped_prepare(struct session *session, GError **error)
{
	struct machine *machine = session->machine;
	struct table_config config;
	const char *why = "refused";

	/* Without paging the heap says itself that it needs it. */
	if (!maps(session) || !machine->config->paging)
		return true;
	if (session->config->spaces)
		return lab_usage(error,
				 "heap %s has the kernel's page tables to itself: no --space",
				 session->config->heap[session->pass]->name);
	config = table_config_for(session, machine);
	/* The native build's functions: nothing is booted that probes could watch. */
	machine->params.room_bytes =
		table_state_bytes(table_ops_for(session, PASS_NATIVE), &config, &why);
	if (machine->params.room_bytes)
		return true;
	return lab_usage(error, "machine %s, page tables %s: %s", machine->config->name,
			 table_ops_for(session, PASS_NATIVE)->name, why);
}

static bool start_tables(struct session *session)
{
	struct machine *machine = session->machine;
	struct table_config config = table_config_for(session, machine);
	struct paddr room = pfn_to_paddr(machine->boot.room.first);
	struct tables *tables =
		machine_pointer(machine, vaddr_add(machine->params.direct_map, room.a));

	machine_set_cpu(machine, 0);
	config.frames = (struct frames){ &table_frame_ops, session };
	config.reach.direct = machine->params.direct_map;
	config.reach.direct_end = config.frames_end;
	session_heap_begin(session, PROBE_KERNEL, NULL);
	int status =
		session->kernel->table_init(table_ops_for(session, session->pass), &config, tables);
	if (status == KERR_OK)
		session->heap->mapper = session->kernel->heap_mapper_over(
			tables, session->heap->region, session->heap->region_bytes);
	session_heap_leave(session);
	session->heap->tables = tables;
	if (status != KERR_OK)
		g_set_error(&session->error, LAB_ERROR, LAB_ERROR_BOOT,
			    "page tables %s do not start in this RAM (error %d)",
			    table_ops_for(session, session->pass)->name, status);
	return status == KERR_OK;
}

/* ---- the mapper, watched ---- */

static int watched_prepare(void *context, struct vaddr va, uint64_t bytes)
{
	const struct session *session = context;
	const struct heap_mapper *m = &session->heap->mapper;
	enum probe_phase before = enter_tables(session);
	int status = m->ops->prepare(m->context, va, bytes);

	leave_tables(session, before);
	return status;
}

static int watched_map(void *context, struct vaddr va, struct pfn frame)
{
	const struct session *session = context;
	const struct heap_mapper *m = &session->heap->mapper;
	enum probe_phase before = enter_tables(session);
	int status = m->ops->map(m->context, va, frame);

	leave_tables(session, before);
	return status;
}

struct told {
	const struct session *session;
	heap_unmapped_fn fn;
	void *context;
	enum probe_phase phase; /* the heap's */
};

/* From the kernel's page tables back into its heap. */
static void tell(void *context, struct vaddr va, struct pfn frame)
{
	const struct told *told = context;

	leave_tables(told->session, told->phase);
	told->fn(told->context, va, frame);
	enter_tables(told->session);
}

static void watched_unmap(void *context, struct vaddr va, uint64_t bytes, heap_unmapped_fn fn,
			  void *fn_context)
{
	const struct session *session = context;
	const struct heap_mapper *m = &session->heap->mapper;
	struct told told = { session, fn, fn_context, enter_tables(session) };

	m->ops->unmap(m->context, va, bytes, tell, &told);
	leave_tables(session, told.phase);
}

static bool watched_query(void *context, struct vaddr va, struct pfn *frame)
{
	const struct session *session = context;
	const struct heap_mapper *m = &session->heap->mapper;
	enum probe_phase before = enter_tables(session);
	struct pfn there; /* on the kernel's stack */
	bool mapped = m->ops->query(m->context, va, &there);

	leave_tables(session, before);
	if (mapped)
		*frame = there;
	return mapped;
}

static const struct heap_mapper_ops watched_mapper = {
	.prepare = watched_prepare,
	.map = watched_map,
	.unmap = watched_unmap,
	.query = watched_query,
};

bool session_mapped_start(struct session *session, struct heap_config *config)
{
	struct session_heap *heap = session->heap;

	if (!maps(session))
		return true;
	heap->region = machine_heap_region(session->machine->config, &heap->region_bytes);
	if (!heap->region_bytes)
		return true;
	if (!heap_ledger_add_region(heap->ledger, heap->region_bytes,
				    heap->heap.ops->caps & HEAP_CAP_DEMAND, session_region_frame,
				    session)) {
		g_set_error(&session->error, LAB_ERROR, LAB_ERROR_LAB,
			    "lab error: no memory for the heap ledger's region");
		return false;
	}
	if (!start_tables(session))
		return false;
	config->mapper = heap->mapper;
	config->mapper.ops = &watched_mapper;
	config->mapper.context = session;
	return true;
}

static bool descriptors(struct session *session, struct heap_descriptors *out)
{
	const struct heap *heap = &session->heap->heap;

	if (!heap->ops->descriptors)
		return false;
	session_heap_begin(session, PROBE_CHECK, NULL);
	bool there = heap->ops->descriptors(heap->state, out);
	session_heap_leave(session);
	return there;
}

/* LGDT with the heap's table. */
static void start_segments(struct session *session)
{
	struct heap_descriptors d;

	session->heap->segmented = descriptors(session, &d);
	if (session->heap->segmented)
		mmu_segments_init(&session->heap->segments, d.table.a, d.limit);
}

void session_mapped_bind(struct session *session, struct heap *in_ram)
{
	if (!session->heap->region_bytes)
		return;
	*in_ram = session->heap->heap;
	session->heap->bound = in_ram;
	session->machine->fault_handler = session->kernel->heap_page_fault;
	session->machine->fault_context = in_ram;
	start_segments(session);
}

uint64_t session_mapped_held(const struct session *session)
{
	return session->heap ? session->heap->table_frames : 0;
}

void session_mapped_figures(struct session *session)
{
	struct replay_heap *kept = &session->result->heap;

	kept->maps = session->heap->region_bytes != 0;
	kept->table_frames = session->heap->table_frames;
	kept->faults = session->heap->faults;
	kept->unbacked = session->heap->unbacked;
	struct heap_descriptors d = { { 0 } };
	kept->segmented = descriptors(session, &d);
	kept->descriptors = d.used;
	kept->undescribed = d.without;
}

/* ---- where objects are ---- */

static uint64_t direct_map_base(const struct session *session)
{
	return session->machine->config->paging ? session->machine->params.direct_map.a : 0;
}

uint64_t session_object_offset(const struct session *session, const void *object)
{
	const struct session_heap *heap = session->heap;
	uint64_t va = machine_vaddr(session->machine, object).a;

	if (va - heap->region.a < heap->region_bytes)
		return heap_ledger_region_offset(heap->ledger) + (va - heap->region.a);
	return va - direct_map_base(session);
}

struct vaddr session_object_vaddr(const struct session *session, uint64_t offset)
{
	const struct session_heap *heap = session->heap;
	uint64_t region = heap_ledger_region_offset(heap->ledger);

	if (heap->region_bytes && offset >= region)
		return vaddr_add(heap->region, offset - region);
	return (struct vaddr){ direct_map_base(session) + offset };
}

/* By the lab's own walk of the tables in RAM. */
uint64_t session_region_frame(void *context, uint64_t offset)
{
	const struct session *session = context;
	struct mmu_walk walk;

	mmu_walk(session->machine->cpu[0], vaddr_add(session->heap->region, offset), NULL, &walk);
	return walk.mapped ? walk.paddr.a >> X86_PAGE_SHIFT : UINT64_MAX;
}

/* ---- words ---- */

static bool locate(const struct session *session, struct vaddr va, struct heap_place *place)
{
	const struct heap *heap = &session->heap->heap;

	return heap->ops->locate &&
	       heap->ops->locate(heap->state, machine_pointer(session->machine, va), place);
}

/* "0 bytes past the end of the object of 64 bytes at kernel address 0x..." */
static void say_place(const struct session *session, struct vaddr va, GString *text)
{
	struct heap_place place;

	if (!locate(session, va, &place)) {
		g_string_append(text, "; no object lies there or ends before it");
		return;
	}
	uint64_t object = machine_vaddr(session->machine, place.object).a;
	const char *was = place.freed ? "freed object" : "object";
	if (va.a < object)
		g_string_append_printf(text, "; %" PRIu64 " bytes before", object - va.a);
	else if (va.a - object < place.bytes)
		g_string_append_printf(text, "; byte %" PRIu64 " of", va.a - object);
	else
		g_string_append_printf(text, "; %" PRIu64 " bytes past the end of",
				       va.a - object - place.bytes);
	g_string_append_printf(text, " the %s of %" PRIu64 " bytes at kernel address 0x%" PRIx64,
			       was, place.bytes, object);
}

struct explain {
	const struct session *session;
	struct vaddr va;
	GString *text;
};

static void explain(void *argument)
{
	const struct explain *e = argument;

	say_place(e->session, e->va, e->text);
}

/* The kernel has died: what its heap knows may be half done. */
void session_mapped_explain(struct session *session, struct vaddr va, struct trap_report *report)
{
	struct explain e = { session, va, g_string_new(report->message) };
	struct trap_report nested;

	if (va.a - session->heap->region.a < session->heap->region_bytes) {
		probe_phase(PROBE_OFF, NULL);
		if (trap_run(explain, &e, &nested))
			g_strlcpy(report->message, e.text->str, sizeof(report->message));
	}
	g_string_free(e.text, TRUE);
}

/* ---- touches ---- */

static bool deliver(struct session *session, const struct mmu_fault *fault)
{
	struct machine *machine = session->machine;
	struct replay_row *row = &session->result->row[OPERATION_HEAP_FAULT][0];
	bool count = session->event != REPLAY_ALL;

	if (fault->vector != MMU_PF || !machine->fault_handler)
		return false;
	session->heap->lab_ticks = 0;
	session_heap_begin(session, PROBE_RUN, count ? &row->counters : NULL);
	uint64_t start = session_start(session);
	bool served = machine->fault_handler(machine->fault_context, fault->cr2, fault->error_code);
	uint64_t stop = session->timed ? timer_stop() : 0;
	session_heap_leave(session);
	if (session->pass == PASS_PROBED)
		row->operations += count;
	if (session->timed && count)
		recorder_latency(session->recorder, OPERATION_HEAP_FAULT, 0, machine->current_cpu,
				 session->event,
				 session_net_ns(session,
						start + MIN(session->heap->lab_ticks, stop - start),
						stop));
	session->heap->faults += served;
	return served;
}

static void report_fault(struct session *session, const struct mmu_fault *fault, unsigned kind)
{
	GString *text = g_string_new(NULL);

	g_string_printf(text,
			"heap %s: the workload's %s of kernel address 0x%" PRIx64
			": #PF, error code 0x%x",
			session->heap->heap.ops->name, kind == MMU_WRITE ? "write" : "read",
			fault->cr2.a, fault->error_code);
	say_place(session, fault->cr2, text);
	session_violation(session, "page-fault", 0, text->str);
	g_string_free(text, TRUE);
}

/* Where in the lab's view of RAM the bytes are, all in one page. NULL: FAULT is not served. */
static uint8_t *translate(struct session *session, struct vaddr va, unsigned kind, uint32_t bytes,
			  struct mmu_fault *fault)
{
	struct machine *machine = session->machine;
	struct mmu_access access = { .kind = (uint8_t)kind, .context = MMU_SUPERVISOR };
	struct mmu_result result;

	for (unsigned tries = 0; tries < TOUCH_TRIES; tries++) {
		struct mmu_cpu *cpu = machine->cpu[machine->current_cpu];
		if (mmu_translate(cpu, va, MIN(bytes, MMU_ACCESS_MAX_BYTES), access, &result) ==
		    MMU_NO_FAULT)
			return machine->ram.bytes + result.piece[0].paddr.a;
		*fault = result.fault;
		if (!deliver(session, fault))
			return NULL;
	}
	return NULL;
}

/* A page without a frame is data of a heap on demand, and a violation of any other. */
static bool touch_failed(struct session *session, const struct heap_object *object,
			 const struct mmu_fault *fault, unsigned kind)
{
	uint64_t at = fault->cr2.a - session_object_vaddr(session, object->offset).a;

	if (fault->vector != MMU_PF || !(session->heap->heap.ops->caps & HEAP_CAP_DEMAND) ||
	    at >= object->usable || (fault->error_code & X86_PF_P))
		report_fault(session, fault, kind);
	else
		session->heap->unbacked++;
	return false;
}

/* ---- selectors ---- */

static void report_segment(struct session *session, const struct heap_object *object,
			   uint16_t selector, uint64_t offset, unsigned kind, uint32_t vector)
{
	char *message = g_strdup_printf(
		"heap %s: the workload's %s of selector 0x%x, offset %" PRIu64
		": vector %u%s, error code 0; byte %" PRIu64 " of the object of %" PRIu64
		" bytes at kernel address 0x%" PRIx64 ", %" PRIu64 " bytes past its end",
		session->heap->heap.ops->name, kind == MMU_WRITE ? "write" : "read", selector,
		offset, vector, vector == MMU_GP ? " (#GP)" : "", offset, object->bytes,
		session_object_vaddr(session, object->offset).a,
		offset > object->bytes ? offset - object->bytes : 0);

	session_violation(session, "segment", 0, message);
	g_free(message);
}

/* The object's selector, loaded into FS; 0: it has none. *FINE: false, the load faulted, which is
 * reported. */
static uint16_t load_selector(struct session *session, const struct heap_object *object, bool *fine)
{
	const struct heap *heap = &session->heap->heap;
	struct machine *machine = session->machine;
	struct mmu_fault fault = { 0 };

	*fine = true;
	if (!session->heap->segmented)
		return 0;
	session_heap_begin(session, PROBE_CHECK, NULL);
	uint16_t selector = heap->ops->selector(
		heap->state,
		machine_pointer(machine, session_object_vaddr(session, object->offset)));
	session_heap_leave(session);
	if (selector)
		*fine = mmu_segment_load(&session->heap->segments,
					 machine->cpu[machine->current_cpu], MMU_SEG_FS, selector,
					 &fault) == MMU_NO_FAULT;
	if (!*fine)
		report_segment(session, object, selector, 0, MMU_READ, fault.vector);
	return selector;
}

/* Linear address of [offset, offset + bytes) of an object: through its selector, if it has one. */
static bool linear_address(struct session *session, const struct heap_object *object,
			   uint16_t selector, uint64_t offset, uint32_t bytes, unsigned kind,
			   struct vaddr *va)
{
	uint32_t vector;

	*va = vaddr_add(session_object_vaddr(session, object->offset), offset);
	if (!selector)
		return true;
	vector = mmu_segment_linear(&session->heap->segments,
				    session->machine->cpu[session->machine->current_cpu],
				    MMU_SEG_FS, offset, bytes, (enum mmu_kind)kind, va);
	if (vector)
		report_segment(session, object, selector, offset, kind, vector);
	return vector == MMU_NO_FAULT;
}

typedef bool (*piece_fn)(void *context, uint8_t *ram, uint64_t from, uint64_t end);

/* [from, end) of an object, a page at a time, until PIECE says false. */
static bool each_piece(struct session *session, const struct heap_object *object, uint64_t from,
		       uint64_t end, unsigned kind, piece_fn piece, void *context)
{
	struct vaddr base = session_object_vaddr(session, object->offset), va;
	struct mmu_fault fault;
	bool fine;
	uint16_t selector = load_selector(session, object, &fine);

	while (fine && from < end) {
		uint64_t room = X86_PAGE_BYTES - ((base.a + from) & (X86_PAGE_BYTES - 1));
		uint64_t stop = MIN(end, from + room);
		if (!linear_address(session, object, selector, from, (uint32_t)(stop - from), kind,
				    &va))
			return false;
		uint8_t *ram = translate(session, va, kind, (uint32_t)(stop - from), &fault);
		if (!ram)
			return touch_failed(session, object, &fault, kind);
		if (!piece(context, ram, from, stop))
			return true;
		from = stop;
	}
	return fine;
}

struct contents {
	uint64_t handle, bad;
};

static bool write_piece(void *context, uint8_t *ram, uint64_t from, uint64_t end)
{
	const struct contents *c = context;

	heap_contents_write(ram, c->handle, from, end);
	return true;
}

static bool verify_piece(void *context, uint8_t *ram, uint64_t from, uint64_t end)
{
	struct contents *c = context;

	c->bad = heap_contents_verify(ram, c->handle, from, end);
	return c->bad == UINT64_MAX;
}

bool session_object_write(struct session *session, uint64_t handle,
			  const struct heap_object *object, uint64_t from)
{
	struct contents c = { .handle = handle };

	from &= ~7ull;
	if (session->heap->region_bytes)
		return each_piece(session, object, from, object->bytes, MMU_WRITE, write_piece, &c);
	uint8_t *at = session_pointer(session, object->offset);
	heap_contents_write(at + session_guard_front(session, handle) + from, handle, from,
			    object->bytes);
	return true;
}

bool session_object_verify(struct session *session, uint64_t handle,
			   const struct heap_object *object, uint64_t bytes, uint64_t *bad)
{
	struct contents c = { .handle = handle, .bad = UINT64_MAX };
	bool fine = true;

	if (session->heap->region_bytes) {
		fine = each_piece(session, object, 0, bytes, MMU_READ, verify_piece, &c);
		*bad = c.bad;
	} else {
		const uint8_t *at = session_pointer(session, object->offset);
		*bad = heap_contents_verify(at + session_guard_front(session, handle), handle, 0,
					    bytes);
	}
	return fine;
}

void session_object_overrun(struct session *session, const struct heap_object *object)
{
	struct mmu_fault fault;
	struct vaddr past;
	bool fine;
	uint16_t selector = load_selector(session, object, &fine);

	if (!fine || !linear_address(session, object, selector, object->bytes, 1, MMU_WRITE, &past))
		return;
	uint8_t *ram = translate(session, past, MMU_WRITE, 1, &fault);

	if (ram)
		*ram ^= 0xff;
	else
		report_fault(session, &fault, MMU_WRITE);
}
