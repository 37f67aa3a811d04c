#include "sim/probe.h"

#include <glib.h>
#include <inttypes.h>
#include <link.h>
#include <pthread.h>
#include <string.h>

#include "alloc/lock.h"
#include "sim/source_line.h"
#include "sim/sparse.h"
#include "sim/stale_watch.h"
#include "sim/trap.h"

#define LINE_SHIFT 6
#define LINE_SLOTS 1024u /* power of two; lines of one operation beyond this are counted as new */
#define LINE_TRIES 8u
#define CONSTANTS  4u /* read-only segments that are known; kernel code reads two or three */

struct line_slot {
	uint64_t line;
	uint64_t operation;
};

static _Thread_local struct watch {
	struct probe probe;
	volatile enum probe_phase phase;
	unsigned limit_ms; /* PROBE_LEAVE */
	struct probe_counters *counters;
	struct probe_counters ignored;
	uint64_t operation;
	struct line_slot lines[LINE_SLOTS];
	uintptr_t stack_low, stack_high;
	uint64_t state_first, state_end;   /* physical, bytes */
	uint64_t loaded_first, loaded_end; /* the memory map, bytes */
	uint64_t lock_first, lock_end;	   /* the front door's, bytes; equal: there is none */
	uint64_t direct_map;
	uint64_t direct_first, direct_bytes; /* range of the direct map that was touched last */
	bool writes_free_frames;
	bool heap; /* runs, on top of the frame allocator */
	uint32_t heap_owner, heap_state_owner;
	uint64_t outside;
	uint64_t *seen; /* a bit a frame; NULL: frames are not counted */
	uint64_t seen_frames, frames_touched;
	GHashTable *reported;	   /* return addresses */
	struct stale_watch *stale; /* NULL: not asked for */
	const void *caller;	   /* of the access that is being translated; NULL: none of ours */
	/* Read-only segments that were read last, the oldest of them next to go. */
	struct segment {
		uintptr_t first, bytes;
	} constant[CONSTANTS];
	unsigned oldest;
} watch;

/* ---- segments of this program that are read-only ---- */

struct segment_query {
	uintptr_t address;
	struct segment found; /* bytes 0: none */
};

static int in_read_only_segment(struct dl_phdr_info *info, size_t size, void *data)
{
	struct segment_query *query = data;

	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];
		uintptr_t first = info->dlpi_addr + header->p_vaddr;
		bool constant = header->p_type == PT_GNU_RELRO ||
				(header->p_type == PT_LOAD && !(header->p_flags & PF_W));
		if (constant && query->address - first < header->p_memsz)
			query->found = (struct segment){ first, header->p_memsz };
	}
	return query->found.bytes != 0;
}

/* They do not change while a machine runs: what is loaded stays. */
static bool is_read_only(uintptr_t address)
{
	struct segment_query query = { .address = address };

	for (unsigned i = 0; i < CONSTANTS; i++)
		if (address - watch.constant[i].first < watch.constant[i].bytes)
			return true;
	if (!dl_iterate_phdr(in_read_only_segment, &query))
		return false;
	watch.constant[watch.oldest++ % CONSTANTS] = query.found;
	return true;
}

static void find_stack(void)
{
	pthread_attr_t attributes;
	void *low;
	size_t bytes;

	if (pthread_getattr_np(pthread_self(), &attributes) != 0)
		return;
	pthread_attr_getstack(&attributes, &low, &bytes);
	pthread_attr_destroy(&attributes);
	watch.stack_low = (uintptr_t)low;
	watch.stack_high = watch.stack_low + bytes;
}

void probe_report_again(void)
{
	g_hash_table_remove_all(watch.reported);
}

void probe_set_stack(const void *low, size_t bytes)
{
	watch.stack_low = (uintptr_t)low;
	watch.stack_high = watch.stack_low + bytes;
}

/* ---- findings ---- */

static const char *const verbs[MMU_KINDS] = { "load", "store", "fetch", "atomic" };

/* Once for each kind and source line. CALLER may be NULL. */
static void report_as(const char *kind, uintptr_t key, const void *caller, uint64_t frame,
		      const char *text)
{
	if (!g_hash_table_add(watch.reported, (gpointer)key))
		return;
	char *place = caller ? source_line((const char *)caller - 1) : NULL;
	char *message = place ? g_strdup_printf("%s, at %s", text, place) : g_strdup(text);
	struct probe_finding finding = { .kind = kind, .frame = frame, .message = message };
	watch.probe.report(watch.probe.context, &finding);
	g_free(message);
	g_free(place);
}

static void report(const void *caller, uint64_t frame, const char *text)
{
	report_as("probe", (uintptr_t)caller, caller, frame, text);
}

static void report_frame(const void *caller, unsigned kind, unsigned bytes, uint64_t paddr,
			 const char *whose)
{
	char text[200];

	g_snprintf(text, sizeof(text), "%s of %u bytes at physical 0x%" PRIx64 " %s", verbs[kind],
		   bytes, paddr, whose);
	report(caller, paddr >> X86_PAGE_SHIFT, text);
}

/* ---- stale translations ---- */

#define STALE_KEY (1ull << 63) /* no return address has it, and no user's page */

static uint32_t owner_of(struct paddr at)
{
	const struct ledger *ledger = watch.probe.ledger;

	return ledger ? ledger_owner(ledger, at.a >> X86_PAGE_SHIFT) : LEDGER_HOLE;
}

static void on_stale(void *context, const struct mmu_stale *stale)
{
	uintptr_t line = watch.caller ? (uintptr_t)watch.caller : stale->va.a >> X86_PAGE_SHIFT;

	(void)context;
	if (g_hash_table_contains(watch.reported, (gpointer)(line | STALE_KEY)))
		return;
	char *text = stale_watch_describe(watch.stale, stale, owner_of(stale->used));
	report_as("stale", line | STALE_KEY, watch.caller, stale->used.a >> X86_PAGE_SHIFT, text);
	g_free(text);
}

static bool is_table(void *context, const struct mmu_table_read *read)
{
	(void)context;
	return !watch.probe.ledger || stale_watch_is_table(watch.stale, read, owner_of(read->at));
}

static void set_stale_check(const struct machine *machine, bool on)
{
	const struct mmu_checker checker = { .stale = on_stale, .is_table = is_table };

	for (unsigned i = 0; i < machine->config->cpus; i++)
		mmu_set_checker(machine->cpu[i], on ? &checker : NULL);
	g_clear_pointer(&watch.stale, stale_watch_free);
	watch.stale = on ? stale_watch_new() : NULL;
}

/* ---- set-up ---- */

void probe_begin(const struct probe *probe)
{
	GHashTable *reported = watch.reported ? watch.reported : g_hash_table_new(NULL, NULL);

	watch = (struct watch){ .probe = *probe, .reported = reported };
	watch.counters = &watch.ignored;
	g_hash_table_remove_all(reported);
	watch.writes_free_frames = probe->frames && probe->frames->caps & FRAME_CAP_IN_FRAME;
	windows_set_probed(probe->machine->windows, true);
	if (probe->machine->config->stale_check)
		set_stale_check(probe->machine, true);
	find_stack();
}

void probe_set_ledger(const struct ledger *ledger)
{
	const struct machine *machine = watch.probe.machine;
	const struct boot_result *boot = &machine->boot;

	watch.probe.ledger = ledger;
	watch.state_first = pfn_to_paddr(boot->state_range.first).a;
	watch.state_end = watch.state_first + boot->state_bytes;
	watch.loaded_first = pfn_to_paddr(machine->params.loaded.first).a;
	watch.loaded_end = watch.loaded_first + (machine->params.loaded.frames << X86_PAGE_SHIFT);
	watch.lock_first = watch.lock_end = 0;
	if (boot->frames.lock) {
		watch.lock_first = watch.state_first + (uint64_t)((const char *)boot->frames.lock -
								  (const char *)boot->frames.state);
		watch.lock_end = watch.lock_first + sizeof(*boot->frames.lock);
	}
}

static size_t seen_bytes(void)
{
	return (watch.seen_frames + 63) / 64 * sizeof(uint64_t);
}

void probe_end(void)
{
	g_clear_pointer(&watch.reported, g_hash_table_unref);
	sparse_free(watch.seen, seen_bytes());
	watch.seen = NULL;
	watch.frames_touched = 0;
	if (watch.probe.machine) {
		windows_set_probed(watch.probe.machine->windows, false);
		if (watch.stale)
			set_stale_check(watch.probe.machine, false);
	}
	watch.phase = PROBE_OFF;
	watch.probe.machine = NULL;
}

void probe_phase(enum probe_phase phase, struct probe_counters *counters)
{
	watch.phase = phase;
	watch.counters = counters ? counters : &watch.ignored;
	watch.operation++;
}

enum probe_phase probe_change_phase(enum probe_phase phase)
{
	enum probe_phase before = watch.phase;

	watch.phase = phase;
	return before;
}

void probe_heap_owners(uint32_t owner, uint32_t state_owner)
{
	watch.heap_owner = owner;
	watch.heap_state_owner = state_owner;
}

void probe_heap(bool heap)
{
	watch.heap = heap;
}

bool probe_in_heap(void)
{
	return watch.heap;
}

void probe_set_observer(const struct probe_observer *observer)
{
	watch.probe.observer = observer;
}

bool probe_interrupt(unsigned limit_ms)
{
	if (watch.phase == PROBE_OFF)
		return false;
	watch.limit_ms = limit_ms;
	watch.phase = PROBE_LEAVE;
	return true;
}

bool probe_count_frames(uint64_t ram_frames)
{
	watch.seen_frames = ram_frames;
	watch.seen = sparse_new(seen_bytes());
	return watch.seen != NULL;
}

uint64_t probe_frames_touched(void)
{
	return watch.frames_touched;
}

static void see_frame(uint64_t frame)
{
	uint64_t bit = 1ull << frame % 64, *word = &watch.seen[frame / 64];

	if (frame >= watch.seen_frames || (*word & bit))
		return;
	*word |= bit;
	watch.frames_touched++;
}

uint64_t probe_outside(void)
{
	return watch.outside;
}

/* ---- one access ---- */

static void count_line(uint64_t line)
{
	uint64_t hash = line * 0x9e3779b97f4a7c15ull >> 40;

	for (unsigned i = 0; i < LINE_TRIES; i++) {
		struct line_slot *slot = &watch.lines[(hash + i) & (LINE_SLOTS - 1)];
		if (slot->operation != watch.operation) {
			*slot = (struct line_slot){ .line = line, .operation = watch.operation };
			break;
		}
		if (slot->line == line)
			return;
	}
	watch.counters->cache_lines++;
}

/* Page tables and address spaces: whatever frames they own, and nothing of the allocator's. */
static void judge_kernel(uint64_t paddr, unsigned kind, unsigned bytes, const void *caller)
{
	uint32_t owner = ledger_owner(watch.probe.ledger, paddr >> X86_PAGE_SHIFT);

	if (paddr >= watch.state_first && paddr < watch.state_end)
		report_frame(caller, kind, bytes, paddr, "in the frame allocator's state");
	else if (owner == LEDGER_FREE)
		report_frame(caller, kind, bytes, paddr, "in a free frame");
	else if (owner == LEDGER_HOLE)
		report_frame(caller, kind, bytes, paddr, "where there is no RAM");
}

/* A heap reads the memory map too, when it checks itself. */
static void judge_heap(uint64_t paddr, unsigned kind, unsigned bytes, const void *caller)
{
	uint32_t owner = ledger_owner(watch.probe.ledger, paddr >> X86_PAGE_SHIFT);

	if (owner == watch.heap_owner || owner == watch.heap_state_owner)
		return;
	if (kind == MMU_READ && (owner == LEDGER_STATE || owner == LEDGER_TABLE))
		return;
	report_frame(caller, kind, bytes, paddr,
		     owner == LEDGER_FREE ? "in a free frame, which is not the heap's"
					  : "in a frame that is not the heap's");
}

static void judge(uint64_t paddr, unsigned kind, unsigned bytes, const void *caller)
{
	char whose[64];

	if (watch.phase == PROBE_BOOT || !watch.probe.ledger)
		return;
	if (watch.phase == PROBE_KERNEL) {
		judge_kernel(paddr, kind, bytes, caller);
		return;
	}
	if (watch.heap) {
		judge_heap(paddr, kind, bytes, caller);
		return;
	}
	if (paddr >= watch.state_first && paddr < watch.state_end) {
		if (paddr + bytes > watch.state_end)
			report_frame(caller, kind, bytes, paddr,
				     "runs over the end of the allocator's state");
		return;
	}
	uint32_t owner = ledger_owner(watch.probe.ledger, paddr >> X86_PAGE_SHIFT);
	switch (owner) {
	case LEDGER_FREE:
		if (!watch.writes_free_frames)
			report_frame(caller, kind, bytes, paddr,
				     "in a free frame, where this allocator has no records");
		return;
	case LEDGER_TABLE:
		if (kind == MMU_READ && paddr >= watch.loaded_first && paddr < watch.loaded_end)
			return;
		report_frame(caller, kind, bytes, paddr, "in memory that the kernel took at boot");
		return;
	case LEDGER_STATE:
		/* Behind the state stands its copy of the memory map, and the lock. */
		if (kind == MMU_READ || (paddr >= watch.lock_first && paddr < watch.lock_end))
			return;
		report_frame(caller, kind, bytes, paddr, "past the allocator's state");
		return;
	case LEDGER_UNTOUCHED:
		report_frame(caller, kind, bytes, paddr,
			     "in a frame that is handed out (held from the start)");
		return;
	case LEDGER_HOLE:
		report_frame(caller, kind, bytes, paddr, "where there is no RAM");
		return;
	default:
		g_snprintf(whose, sizeof(whose), "in a frame of live handle %u",
			   owner - LEDGER_HANDLE_BASE);
		report_frame(caller, kind, bytes, paddr, whose);
	}
}

static void touch(uint64_t paddr, unsigned kind, unsigned bytes, const void *caller)
{
	if (watch.probe.observer && watch.probe.observer->write && kind != MMU_READ &&
	    watch.phase == PROBE_RUN)
		watch.probe.observer->write(watch.probe.observer->context, paddr, bytes);
	if (watch.stale && kind != MMU_READ)
		stale_watch_store(watch.stale, paddr, bytes, caller);
	if (watch.seen)
		see_frame(paddr >> X86_PAGE_SHIFT);
	count_line(paddr >> LINE_SHIFT);
	if (((paddr + bytes - 1) >> LINE_SHIFT) != paddr >> LINE_SHIFT)
		count_line((paddr + bytes - 1) >> LINE_SHIFT);
	judge(paddr, kind, bytes, caller);
}

/* Before the kernel's own tables are on, the loader's window shows physical memory. */
static bool in_boot_window(const struct machine *machine, struct vaddr va, uint64_t *paddr)
{
	*paddr = va.a - machine->layout->boot_window;
	return mmu_mode(machine->cpu[machine->current_cpu]) == MMU_MODE_NONE &&
	       *paddr < machine->ram.size;
}

static void show_page(struct vaddr va, struct paddr paddr, const void *caller)
{
	struct machine *machine = watch.probe.machine;
	const struct frame_range *range = machine_direct_range(machine, va, paddr);

	if (range) {
		watch.direct_map = machine->params.direct_map.a;
		watch.direct_first = pfn_to_paddr(range->first).a;
		watch.direct_bytes = range->frames << X86_PAGE_SHIFT;
		return;
	}
	switch (window_show(machine->windows, va, paddr)) {
	case WINDOW_READY:
		return;
	case WINDOW_NO_RAM:
		trap_no_ram(machine, va, paddr, (const char *)caller - 1);
	default:
		trap_die("lab", "the host maps no window for kernel address 0x%" PRIx64, va.a);
	}
}

/* The access goes through the pointer after we return: the host page behind it becomes the frame
 * that this CPU's TLB leads to. The direct map's own mapping is that already. */
static void show(const struct mmu_result *result, struct vaddr va, const void *caller)
{
	for (unsigned i = 0; i < result->pieces; i++) {
		struct paddr paddr = result->piece[i].paddr;
		if (va.a - watch.direct_map != paddr.a ||
		    paddr.a - watch.direct_first >= watch.direct_bytes)
			show_page(va, paddr, caller);
		va.a += result->piece[i].bytes;
	}
}

/* As the current CPU, with the kernel's fault handler where it faults. Does not return without a
 * translation. */
static void translate(struct vaddr va, unsigned kind, unsigned bytes, struct mmu_result *result,
		      const void *caller)
{
	struct machine *machine = watch.probe.machine;
	struct mmu_access access = { .kind = (uint8_t)kind, .context = MMU_SUPERVISOR };

	for (unsigned tries = 0; tries < TRAP_TRIES_MAX; tries++) {
		struct mmu_cpu *cpu = machine->cpu[machine->current_cpu];
		watch.caller = caller;
		uint32_t vector = mmu_translate(cpu, va, bytes, access, result);
		watch.caller = NULL;
		if (vector == MMU_NO_FAULT)
			return;
		watch.counters->faults++;
		watch.counters->walk_reads += result->entry_reads;
		if (result->fault.vector != MMU_PF)
			trap_die("page-fault",
				 "%s of kernel address 0x%" PRIx64 " faults (vector %u)",
				 verbs[kind], va.a, result->fault.vector);
		trap_page_fault(machine, &result->fault, (const char *)caller - 1);
	}
	trap_never_served(machine, &result->fault, (const char *)caller - 1);
}

static void access_ram(const void *pointer, unsigned kind, unsigned bytes, const void *caller)
{
	struct vaddr va = machine_vaddr(watch.probe.machine, pointer);
	struct mmu_result result;
	uint64_t paddr;

	if (in_boot_window(watch.probe.machine, va, &paddr)) {
		touch(paddr, kind, bytes, caller);
		return;
	}
	translate(va, kind, bytes, &result, caller);
	show(&result, va, caller);
	watch.counters->tlb_lookups += result.pieces;
	watch.counters->tlb_misses +=
		result.source == MMU_FROM_L2 || result.source == MMU_FROM_WALK;
	watch.counters->walk_reads += result.entry_reads;
	for (unsigned i = 0; i < result.pieces; i++)
		touch(result.piece[i].paddr.a, kind, result.piece[i].bytes, caller);
}

static void access_elsewhere(const void *pointer, unsigned kind, unsigned bytes, const void *caller)
{
	uintptr_t address = (uintptr_t)pointer;
	char text[160];

	if (address >= watch.stack_low && address < watch.stack_high)
		return;
	if (kind == MMU_READ && is_read_only(address))
		return;
	watch.outside++;
	g_snprintf(text, sizeof(text),
		   "%s of %u bytes outside simulated RAM, kernel stack and read-only data",
		   verbs[kind], bytes);
	report(caller, 0, text);
}

static inline void probe_access(const void *pointer, unsigned kind, unsigned bytes,
				const void *caller)
{
	if (watch.phase <= PROBE_LEAVE) {
		if (watch.phase == PROBE_LEAVE)
			trap_hang(watch.limit_ms, (const char *)caller - 1);
		return;
	}
	if (!machine_holds(watch.probe.machine, pointer)) {
		access_elsewhere(pointer, kind, bytes, caller);
		return;
	}
	if (watch.probe.observer && watch.phase == PROBE_RUN)
		watch.probe.observer->access(watch.probe.observer->context, pointer, kind, bytes,
					     caller);
	if (watch.phase == PROBE_CHECK) {
		watch.counters = &watch.ignored;
	} else if (kind == MMU_READ) {
		watch.counters->loads++;
	} else if (kind == MMU_WRITE) {
		watch.counters->stores++;
	} else {
		watch.counters->atomics++;
	}
	access_ram(pointer, kind, bytes, caller);
}

/* memcpy and its like: the accesses of a loop over 8-byte words. */
static void probe_range(const void *pointer, unsigned kind, size_t bytes, const void *caller)
{
	const uint8_t *at = pointer;

	while (bytes) {
		unsigned step = (unsigned)(8 - ((uintptr_t)at & 7));
		if (step > bytes)
			step = (unsigned)bytes;
		if (step & (step - 1))
			step = 1;
		probe_access(at, kind, step, caller);
		at += step;
		bytes -= step;
	}
}

/* ---- what the compiler calls, by gcc's libsanitizer interface (tsan/tsan_interface.h names and
 * signatures) ---- */

#define CALLER __builtin_return_address(0)

void probed___tsan_init(void);
void probed___tsan_init(void)
{
}

#define PROBE_ACCESS(name, kind, bytes)                     \
	void probed___tsan_##name(void *pointer);           \
	void probed___tsan_##name(void *pointer)            \
	{                                                   \
		probe_access(pointer, kind, bytes, CALLER); \
	}

#define PROBE_SIZE(bytes)                                             \
	PROBE_ACCESS(read##bytes, MMU_READ, bytes)                    \
	PROBE_ACCESS(write##bytes, MMU_WRITE, bytes)                  \
	PROBE_ACCESS(unaligned_read##bytes, MMU_READ, bytes)          \
	PROBE_ACCESS(unaligned_write##bytes, MMU_WRITE, bytes)        \
	PROBE_ACCESS(volatile_read##bytes, MMU_READ, bytes)           \
	PROBE_ACCESS(volatile_write##bytes, MMU_WRITE, bytes)         \
	PROBE_ACCESS(unaligned_volatile_read##bytes, MMU_READ, bytes) \
	PROBE_ACCESS(unaligned_volatile_write##bytes, MMU_WRITE, bytes)

PROBE_SIZE(1)
PROBE_SIZE(2)
PROBE_SIZE(4)
PROBE_SIZE(8)
PROBE_SIZE(16)

#define PROBE_RANGE(name, kind)                                 \
	void probed___tsan_##name(void *pointer, size_t bytes); \
	void probed___tsan_##name(void *pointer, size_t bytes)  \
	{                                                       \
		probe_range(pointer, kind, bytes, CALLER);      \
	}

PROBE_RANGE(read_range, MMU_READ)
PROBE_RANGE(write_range, MMU_WRITE)

/* Memory orders are honoured as the strongest: a probed run has one host thread. */
#define PROBE_FETCH(type, bits, name, builtin)                                              \
	type probed___tsan_atomic##bits##_##name(volatile type *at, type value, int order); \
	type probed___tsan_atomic##bits##_##name(volatile type *at, type value, int order)  \
	{                                                                                   \
		probe_access((const void *)(uintptr_t)at, MMU_RMW, bits / 8, CALLER);       \
		return builtin(at, value, __ATOMIC_SEQ_CST);                                \
	}

#define PROBE_ATOMIC(type, bits)                                                                   \
	type probed___tsan_atomic##bits##_load(const volatile type *at, int order);                \
	type probed___tsan_atomic##bits##_load(const volatile type *at, int order)                 \
	{                                                                                          \
		probe_access((const void *)(uintptr_t)at, MMU_READ, bits / 8, CALLER);             \
		return __atomic_load_n(at, __ATOMIC_SEQ_CST);                                      \
	}                                                                                          \
	void probed___tsan_atomic##bits##_store(volatile type *at, type value, int order);         \
	void probed___tsan_atomic##bits##_store(volatile type *at, type value, int order)          \
	{                                                                                          \
		probe_access((const void *)(uintptr_t)at, MMU_WRITE, bits / 8, CALLER);            \
		__atomic_store_n(at, value, __ATOMIC_SEQ_CST);                                     \
	}                                                                                          \
	PROBE_FETCH(type, bits, exchange, __atomic_exchange_n)                                     \
	PROBE_FETCH(type, bits, fetch_add, __atomic_fetch_add)                                     \
	PROBE_FETCH(type, bits, fetch_sub, __atomic_fetch_sub)                                     \
	PROBE_FETCH(type, bits, fetch_and, __atomic_fetch_and)                                     \
	PROBE_FETCH(type, bits, fetch_or, __atomic_fetch_or)                                       \
	PROBE_FETCH(type, bits, fetch_xor, __atomic_fetch_xor)                                     \
	PROBE_FETCH(type, bits, fetch_nand, __atomic_fetch_nand)                                   \
	int probed___tsan_atomic##bits##_compare_exchange_strong(                                  \
		volatile type *at, type *want, type value, int order, int failure);                \
	int probed___tsan_atomic##bits##_compare_exchange_strong(                                  \
		volatile type *at, type *want, type value, int order, int failure)                 \
	{                                                                                          \
		probe_access((const void *)(uintptr_t)at, MMU_RMW, bits / 8, CALLER);              \
		return __atomic_compare_exchange_n(at, want, value, 0, __ATOMIC_SEQ_CST,           \
						   __ATOMIC_SEQ_CST);                              \
	}                                                                                          \
	int probed___tsan_atomic##bits##_compare_exchange_weak(volatile type *at, type *want,      \
							       type value, int order, int failure) \
		__attribute__((alias("probed___tsan_atomic" #bits "_compare_exchange_strong")))

PROBE_ATOMIC(uint8_t, 8);
PROBE_ATOMIC(uint16_t, 16);
PROBE_ATOMIC(uint32_t, 32);
PROBE_ATOMIC(uint64_t, 64);

/* A 16-byte compare-and-swap (cmpxchg16b) is all that kernel code does with 128 bits. */
typedef unsigned __int128 probe_u128;
int probed___tsan_atomic128_compare_exchange_strong(volatile probe_u128 *at, probe_u128 *want,
						    probe_u128 value, int order, int failure);
int probed___tsan_atomic128_compare_exchange_strong(volatile probe_u128 *at, probe_u128 *want,
						    probe_u128 value, int order, int failure)
{
	probe_access((const void *)(uintptr_t)at, MMU_RMW, 16, CALLER);
	probe_u128 seen = __sync_val_compare_and_swap(at, *want, value);
	int same = seen == *want;
	*want = seen;
	return same;
}

void probed___tsan_atomic_thread_fence(int order);
void probed___tsan_atomic_thread_fence(int order)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void probed___tsan_atomic_signal_fence(int order);
void probed___tsan_atomic_signal_fence(int order)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static size_t left_in_page(const void *pointer)
{
	return X86_PAGE_BYTES - ((uintptr_t)pointer & (X86_PAGE_BYTES - 1));
}

/* Page by page, so that what the probes show cannot be evicted before it is copied. */
static void copy_forward(uint8_t *to, const uint8_t *from, size_t bytes, const void *caller)
{
	while (bytes) {
		size_t step = MIN(bytes, MIN(left_in_page(to), left_in_page(from)));
		probe_range(from, MMU_READ, step, caller);
		probe_range(to, MMU_WRITE, step, caller);
		memmove(to, from, step);
		to += step;
		from += step;
		bytes -= step;
	}
}

void *probed_memcpy(void *to, const void *from, size_t bytes);
void *probed_memcpy(void *to, const void *from, size_t bytes)
{
	copy_forward(to, from, bytes, CALLER);
	return to;
}

void *probed_memmove(void *to, const void *from, size_t bytes);
void *probed_memmove(void *to, const void *from, size_t bytes)
{
	if ((uintptr_t)to - (uintptr_t)from >= bytes) {
		copy_forward(to, from, bytes, CALLER);
		return to;
	}
	probe_range(from, MMU_READ, bytes, CALLER);
	probe_range(to, MMU_WRITE, bytes, CALLER);
	return memmove(to, from, bytes);
}

void *probed_memset(void *to, int byte, size_t bytes);
void *probed_memset(void *to, int byte, size_t bytes)
{
	uint8_t *at = to;

	while (bytes) {
		size_t step = MIN(bytes, left_in_page(at));
		probe_range(at, MMU_WRITE, step, CALLER);
		memset(at, byte, step);
		at += step;
		bytes -= step;
	}
	return to;
}

int probed_memcmp(const void *a, const void *b, size_t bytes);
int probed_memcmp(const void *a, const void *b, size_t bytes)
{
	probe_range(a, MMU_READ, bytes, CALLER);
	probe_range(b, MMU_READ, bytes, CALLER);
	return memcmp(a, b, bytes);
}
