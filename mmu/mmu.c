/*
 * mmu.c - one access: look-ups, the walk behind a miss, faults, data.
 *
 *     fast.h hit? --no--> canonical? -> page by page: L1 -> L2 -> walk -> judge -> A/D -> insert
 *
 * Invariants
 *  M1  An access that faults moves no data; the first faulting page decides (13.1).
 *  M2  A translation is inserted only after its walk succeeded and its A bits are set (10.1).
 *  M3  A hit never writes D: a first write through an entry with D = 0 walks again (7.5).
 *  M4  After a #PF nothing cached for that address remains (6.4): at most one spurious fault.
 *
 * Sources: Intel SDM volume 3, 4.6-4.8, 4.10; section numbers in the comments are those of the
 * rules that the tests cite.
 */
#include "mmu/cpu.h"
#include "mmu/memory.h"
#include "mmu/stale.h"
#include "mmu/tlb_ways.h"
#include "mmu/walk.h"

/* ---- A CPU ---- */

static size_t cpu_struct_bytes(void)
{
	return (sizeof(struct mmu_cpu) + 63) & ~(size_t)63; /* the arrays behind are 64-aligned */
}

size_t mmu_cpu_bytes(const struct mmu_config *config)
{
	return mmu_config_problem(config) ? 0 : cpu_struct_bytes() + tlb_bytes(config);
}

struct mmu_cpu *mmu_cpu_init(void *memory, const struct mmu_config *config, struct mmu_memory *ram,
			     unsigned number)
{
	struct mmu_cpu *cpu = memory;

	if (mmu_config_problem(config))
		return NULL;
	*cpu = (struct mmu_cpu){ .config = *config, .ram = ram, .number = number };
	cpu->front.bytes = ram->bytes;
	tlb_init(&cpu->tlb, config, &cpu->front, (uint8_t *)memory + cpu_struct_bytes());
	control_derive(&cpu->control, &cpu->config);
	cpu_watch(cpu, config->spurious_invalidation);
	return cpu;
}

unsigned mmu_cpu_number(const struct mmu_cpu *cpu)
{
	return cpu->number;
}

const struct mmu_config *mmu_cpu_config(const struct mmu_cpu *cpu)
{
	return &cpu->config;
}

struct mmu_memory *mmu_cpu_memory(const struct mmu_cpu *cpu)
{
	return cpu->ram;
}

/* ---- Judging and faults ---- */

/* What an access may do, looked up once an access. */
struct request {
	struct mmu_access access;
	bool fetch, writes;
	const struct control_verdict *verdict;
};

static inline bool key_denies(const struct control_verdict *verdict, const struct mmu_entry *entry)
{
	return verdict->deny[entry->rights / MMU_RIGHT_U & 1] >> entry->key & 1;
}

static inline bool allowed(const struct control_verdict *verdict, const struct mmu_entry *entry)
{
	return (verdict->allow >> entry->rights & 1) && !key_denies(verdict, entry);
}

/* 0, or the error code of the protection fault. */
static inline uint32_t judge(const struct control_verdict *verdict, const struct mmu_entry *entry)
{
	if (allowed(verdict, entry))
		return 0;
	return X86_PF_P | verdict->error_code | (key_denies(verdict, entry) ? X86_PF_PK : 0);
}

static inline struct request request_of(const struct control *control, struct mmu_access access)
{
	return (struct request){
		.access = access,
		.fetch = access.kind == MMU_FETCH,
		.writes = access.kind == MMU_WRITE || access.kind == MMU_RMW,
		.verdict = control_verdict(control, access.context, access.kind),
	};
}

static uint32_t fail(struct mmu_result *result, uint32_t vector, uint32_t error_code, uint64_t cr2)
{
	result->fault = (struct mmu_fault){ vector, error_code, { cr2 } };
	result->pieces = 0;
	return vector;
}

/* @missed: nothing was found in the L1 and the L2. */
static uint32_t page_fault(struct mmu_cpu *cpu, uint64_t va, bool fetch, bool missed,
			   uint32_t error_code, struct mmu_result *result)
{
	struct control *control = &cpu->control;

	if (!(error_code & X86_PF_P))
		cpu->counts.faults_not_present++;
	else if (error_code & X86_PF_RSVD)
		cpu->counts.faults_reserved++;
	else if (error_code & X86_PF_PK)
		cpu->counts.faults_key++;
	else
		cpu->counts.faults_protection++;
	control->state.cr2 = va;
	if (missed)
		tlb_drop_missed_page(&cpu->tlb, va, control->pcid, fetch);
	else
		tlb_drop_page(&cpu->tlb, va, control->pcid, true);
	tlb_drop_psc_path(&cpu->tlb, va, control->pcid, control->index_bits);
	return fail(result, MMU_PF, error_code, va);
}

/* What a walk's end means for an access: 0 or MMU_PF, and the error code. */
static inline uint32_t walk_verdict(const struct control_verdict *verdict, const struct walk *walk,
				    uint32_t *error_code)
{
	*error_code = 0;
	if (walk->end == WALK_MAPPED && allowed(verdict, &walk->leaf))
		return MMU_NO_FAULT;
	if (walk->end == WALK_MAPPED)
		*error_code = judge(verdict, &walk->leaf);
	else
		*error_code = verdict->error_code |
			      (walk->end == WALK_RESERVED ? X86_PF_P | X86_PF_RSVD : 0);
	return MMU_PF;
}

/* ---- Walks with effects ---- */

static inline void insert_walk(struct mmu_cpu *cpu, uint64_t va, const struct walk *walk)
{
	const struct control *control = &cpu->control;

	for (unsigned level = walk->top - walk->latched; level > walk->bottom; level--) {
		struct mmu_entry table = walk_entry(
			walk->value[level] & control->address_mask,
			(struct walk_attributes){ .rights = walk_rights(walk->chain[level]) });

		tlb_insert_psc(&cpu->tlb, va, control->pcid, level, control->index_bits, &table);
	}
	tlb_insert_l2(&cpu->tlb, va, control->pcid, &walk->leaf);
}

/*
 * A and D, after a walk that has not found them all set or does not succeed. False: an entry has
 * changed since it was read.
 */
static bool mark(struct mmu_cpu *cpu, const struct walk *walk, uint64_t leaf_bits,
		 struct mmu_result *result)
{
	struct walk_marks marks = { 0, 0 };
	bool settled = walk_mark(&cpu->control, cpu->ram, walk, leaf_bits, &marks);

	cpu->counts.accessed_writes += marks.accessed;
	cpu->counts.dirty_writes += marks.dirty;
	cpu->counts.walk_restarts += !settled;
	result->ad_writes += marks.accessed + marks.dirty;
	return settled;
}

/* Walk, mark, and walk again while entries change underneath. Returns 0 or MMU_PF. */
static uint32_t walk_for(struct mmu_cpu *cpu, uint64_t va, const struct request *request,
			 struct walk *walk, uint32_t *error_code, struct mmu_result *result)
{
	const struct control *control = &cpu->control;
	uint64_t leaf_bits = X86_PTE_A | (request->writes ? X86_PTE_D : 0);

	for (;;) {
		struct tlb_ref ref =
			tlb_find_psc(&cpu->tlb, va, control->pcid, control->index_bits);
		const struct mmu_entry *cached = NULL;
		struct walk_start start;
		uint32_t vector, reads;

		if (ref.way != TLB_NO_WAY) {
			cached = tlb_entry(&cpu->tlb, ref);
			start.table = cached->page.a;
			start.level = ref.cache - MMU_PSC_PDE;
			start.rights = cached->rights;
			cpu->counts.psc_hits[start.level + 1]++;
			result->psc_hits++;
		}
		walk_run(control, cpu->ram, va, cached ? &start : NULL, walk);
		reads = walk->top - walk->bottom + 1u - walk->latched;
		cpu->counts.entry_reads += reads;
		result->entry_reads += (uint8_t)reads;
		vector = walk_verdict(request->verdict, walk, error_code);
		if (cpu->checking)
			stale_check_tables(cpu, va, request->access, walk, cached);
		if ((vector != 0 || !walk_marked(walk, leaf_bits)) &&
		    !mark(cpu, walk, vector ? 0 : leaf_bits, result))
			continue;
		if (request->writes)
			walk_entry_dirtied(&walk->leaf);
		if (cpu->checking && cached != NULL)
			stale_check_walk(cpu, va, request->access, walk, cached, vector);
		return vector;
	}
}

/* ---- One page ---- */

static inline uint64_t physical(const struct mmu_entry *entry, uint64_t va)
{
	return entry->page.a | (va & ((1ull << entry->page_shift) - 1));
}

/* Let the fast path serve the next accesses of this context to this page. */
static inline void offer_fast(struct mmu_cpu *cpu, uint64_t va, const struct request *request,
			      struct tlb_ref ref, const struct mmu_entry *entry)
{
	const struct control *control = &cpu->control;
	unsigned context = request->access.context;
	uint64_t frame = physical(entry, va) & MMU_FAST_PAGE;
	struct fast_fill fill = {
		.table = fast_table(context, request->fetch),
		.va = va,
		.host = cpu->ram->bytes + frame,
		.page_shift = entry->page_shift,
		/* The access at hand has been judged, and is allowed. */
		.readable = true,
		.writable = true,
	};

	if (cpu->watched || !memory_holds(cpu->ram, frame, X86_PAGE_BYTES))
		return;
	if (request->writes)
		fill.readable = allowed(control_verdict(control, context, MMU_READ), entry);
	else
		fill.writable = !request->fetch && entry->dirty &&
				allowed(control_verdict(control, context, MMU_WRITE), entry);
	fast_fill(&cpu->tlb, ref, &fill);
}

/* L1, then L2 with a fill of L1. */
static inline struct tlb_ref look_up(struct mmu_cpu *cpu, uint64_t va, bool fetch, uint8_t *source)
{
	unsigned pcid = cpu->control.pcid;
	struct tlb_ref ref;
	struct mmu_entry entry;

	ref = tlb_find_l1(&cpu->tlb, va, pcid, fetch);
	*source = MMU_FROM_L1;
	if (ref.way != TLB_NO_WAY)
		return ref;
	if (fetch)
		cpu->counts.l1_fetch_misses++;
	else
		cpu->counts.l1_data_misses++;
	*source = MMU_FROM_L2;
	ref = tlb_find_l2(&cpu->tlb, va, pcid);
	if (ref.way == TLB_NO_WAY)
		return ref;
	cpu->counts.l2_hits++;
	entry = *tlb_entry(&cpu->tlb, ref);
	return tlb_insert_l1(&cpu->tlb, va, pcid, fetch, &entry);
}

/* After a miss (@again false), or for the D bit of an entry that was found. */
static uint32_t translate_by_walk(struct mmu_cpu *cpu, uint64_t va, const struct request *request,
				  bool again, uint64_t *paddr, struct mmu_result *result)
{
	struct tlb_ref ref = { 0, TLB_NO_WAY };
	uint32_t error_code;
	struct walk walk;

	if (again)
		cpu->counts.dirty_walks++;
	else
		cpu->counts.walks++;
	if (walk_for(cpu, va, request, &walk, &error_code, result))
		return page_fault(cpu, va, request->fetch, !again, error_code, result);
	if (again)
		tlb_forget_data_page(&cpu->tlb, va, cpu->control.pcid);
	if (cpu->config.statistics) {
		insert_walk(cpu, va, &walk);
		ref = tlb_insert_l1(&cpu->tlb, va, cpu->control.pcid, request->fetch, &walk.leaf);
	}
	offer_fast(cpu, va, request, ref, &walk.leaf);
	*paddr = physical(&walk.leaf, va);
	return MMU_NO_FAULT;
}

static void invalidate_by_chance(struct mmu_cpu *cpu)
{
	if (tlb_random(&cpu->tlb) % cpu->config.spurious_invalidation == 0)
		cpu->counts.spurious += tlb_drop_random(&cpu->tlb);
}

static inline uint32_t translate_page(struct mmu_cpu *cpu, uint64_t va,
				      const struct request *request, uint64_t *paddr,
				      struct mmu_result *result)
{
	const struct mmu_entry *entry;
	uint8_t source = MMU_FROM_WALK;
	struct tlb_ref ref = { 0, TLB_NO_WAY };
	uint32_t error_code;

	cpu->front.tick++;
	cpu->front.fetches += request->fetch;
	if (cpu->control.mode == MMU_MODE_NONE) {
		*paddr = va;
		result->source = MMU_FROM_NOWHERE;
		return MMU_NO_FAULT;
	}
	if (cpu->config.spurious_invalidation)
		invalidate_by_chance(cpu);
	if (cpu->config.statistics)
		ref = look_up(cpu, va, request->fetch, &source);
	if (ref.way == TLB_NO_WAY) {
		result->source = MMU_FROM_WALK;
		return translate_by_walk(cpu, va, request, false, paddr, result);
	}
	entry = tlb_entry(&cpu->tlb, ref);
	result->source = source > result->source ? source : result->source;
	error_code = judge(request->verdict, entry);
	if (error_code)
		return page_fault(cpu, va, request->fetch, false, error_code, result);
	if (request->writes && !entry->dirty)
		return translate_by_walk(cpu, va, request, true, paddr, result);
	*paddr = physical(entry, va);
	if (cpu->checking)
		stale_check_hit(cpu, va, request->access, source, entry, *paddr);
	offer_fast(cpu, va, request, ref, entry);
	return MMU_NO_FAULT;
}

/* An access that crosses into another page: page by page. */
static uint32_t translate_pages(struct mmu_cpu *cpu, uint64_t at, uint32_t left,
				const struct request *request, struct mmu_result *result)
{
	while (left > 0) {
		struct mmu_piece *piece = &result->piece[result->pieces];
		uint32_t in_page = X86_PAGE_BYTES - (uint32_t)(at % X86_PAGE_BYTES);

		piece->bytes = left < in_page ? left : in_page;
		if (translate_page(cpu, at, request, &piece->paddr.a, result))
			return result->fault.vector;
		result->pieces++;
		left -= piece->bytes;
		at = (at + piece->bytes) & cpu->control.linear_mask;
	}
	return MMU_NO_FAULT;
}

uint32_t mmu_translate_slow(struct mmu_cpu *cpu, struct vaddr va, uint32_t bytes, uint32_t packed,
			    struct mmu_result *result)
{
	/* Made of one word: a struct made of bytes would be read back as a word too early. */
	const union {
		uint32_t packed;
		struct mmu_access access;
	} whole = { .packed = packed };
	const struct mmu_access access = whole.access;
	const struct control *control = &cpu->control;
	uint64_t at = va.a & control->linear_mask;
	uint64_t last = at + bytes - 1;
	struct request request;

	if (bytes - 1 >= MMU_ACCESS_MAX_BYTES || access.kind >= MMU_KINDS ||
	    access.context >= MMU_CONTEXTS)
		__builtin_trap(); /* misuse */
	if (mmu_shootdowns_pending(cpu) > 0 && !cpu->hold)
		cpu_take_posted(cpu);
	/* Field by field: clearing it as a whole costs a `rep stos`, half of a walk. */
	result->fault = (struct mmu_fault){ 0 };
	result->pieces = 0;
	result->source = MMU_FROM_L1;
	result->psc_hits = result->entry_reads = result->ad_writes = 0;
	if (!control_canonical(control, at) || !control_canonical(control, last)) {
		cpu->counts.faults_address++;
		result->source = MMU_FROM_NOWHERE;
		return fail(result, access.via_ss ? MMU_SS : MMU_GP, 0, 0);
	}
	request = request_of(control, access);
	if ((at ^ last) >> X86_PAGE_SHIFT)
		return translate_pages(cpu, at, bytes, &request, result);
	result->piece[0].bytes = bytes;
	if (translate_page(cpu, at, &request, &result->piece[0].paddr.a, result))
		return result->fault.vector;
	result->pieces = 1;
	return MMU_NO_FAULT;
}

/* ---- Data ---- */

static void count_stray(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

void mmu_memory_read(struct mmu_memory *ram, struct paddr at, void *to, uint32_t bytes)
{
	uint8_t *out = to;

	if (!memory_holds(ram, at.a, bytes))
		count_stray(&ram->stray_reads);
	for (uint32_t i = 0; i < bytes; i++)
		out[i] = memory_holds(ram, at.a + i, 1) ? ram->bytes[at.a + i] : 0xff;
}

void mmu_memory_write(struct mmu_memory *ram, struct paddr at, const void *from, uint32_t bytes)
{
	const uint8_t *in = from;

	if (!memory_holds(ram, at.a, bytes))
		count_stray(&ram->stray_writes);
	for (uint32_t i = 0; i < bytes; i++) {
		if (memory_holds(ram, at.a + i, 1))
			ram->bytes[at.a + i] = in[i];
	}
}

static void copy(uint8_t *to, const uint8_t *from, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		to[i] = from[i];
}

uint32_t mmu_read(struct mmu_cpu *cpu, struct vaddr va, void *to, uint32_t bytes,
		  struct mmu_access access, struct mmu_fault *fault)
{
	const uint8_t *host;
	struct mmu_result result;
	uint8_t *out = to;

	access.kind = access.kind == MMU_FETCH ? MMU_FETCH : MMU_READ;
	host = mmu_fast_host(cpu, va, bytes, access);
	if (host != NULL) {
		copy(to, host, bytes);
		return MMU_NO_FAULT;
	}
	if (mmu_translate_slow(cpu, va, bytes, mmu_access_pack(access), &result)) {
		*fault = result.fault;
		return result.fault.vector;
	}
	for (uint32_t i = 0; i < result.pieces; i++) {
		mmu_memory_read(cpu->ram, result.piece[i].paddr, out, result.piece[i].bytes);
		out += result.piece[i].bytes;
	}
	return MMU_NO_FAULT;
}

uint32_t mmu_fetch(struct mmu_cpu *cpu, struct vaddr va, void *to, uint32_t bytes,
		   struct mmu_access access, struct mmu_fault *fault)
{
	access.kind = MMU_FETCH;
	return mmu_read(cpu, va, to, bytes, access, fault);
}

uint32_t mmu_write(struct mmu_cpu *cpu, struct vaddr va, const void *from, uint32_t bytes,
		   struct mmu_access access, struct mmu_fault *fault)
{
	uint8_t *host;
	struct mmu_result result;
	const uint8_t *in = from;

	access.kind = access.kind == MMU_RMW ? MMU_RMW : MMU_WRITE;
	host = mmu_fast_host(cpu, va, bytes, access);
	if (host != NULL) {
		copy(host, from, bytes);
		return MMU_NO_FAULT;
	}
	if (mmu_translate_slow(cpu, va, bytes, mmu_access_pack(access), &result)) {
		*fault = result.fault;
		return result.fault.vector;
	}
	for (uint32_t i = 0; i < result.pieces; i++) {
		mmu_memory_write(cpu->ram, result.piece[i].paddr, in, result.piece[i].bytes);
		in += result.piece[i].bytes;
	}
	return MMU_NO_FAULT;
}

/* ---- Queries ---- */

static void report_entries(const struct control *control, const struct walk *walk,
			   struct mmu_walk *out)
{
	out->accessed = true;
	for (unsigned level = walk->top; level + 1 > walk->bottom; level--) {
		struct mmu_walk_entry *entry = &out->entry[out->count++];

		entry->at.a = walk->at[level];
		entry->value = walk->value[level];
		entry->level = (uint8_t)level;
		entry->bytes = (uint8_t)(1 << control->entry_shift);
		entry->latched = walk->latched && level == walk->top;
		if (!entry->latched && !(entry->value & X86_PTE_A))
			out->accessed = false;
	}
}

uint32_t mmu_walk(const struct mmu_cpu *cpu, struct vaddr va, const struct mmu_access *access,
		  struct mmu_walk *out)
{
	static const struct mmu_access query = { MMU_READ, MMU_SUPERVISOR, 0 };
	const struct control *control = &cpu->control;
	uint64_t at = va.a & control->linear_mask;
	const struct control_verdict *verdict;
	struct walk walk;
	uint32_t error_code;

	*out = (struct mmu_walk){ 0 };
	if (!control_canonical(control, at)) {
		out->fault.vector = access && access->via_ss ? MMU_SS : MMU_GP;
		return out->fault.vector;
	}
	if (control->mode == MMU_MODE_NONE) {
		out->mapped = true;
		out->paddr.a = at;
		out->leaf.page.a = at & MMU_FAST_PAGE;
		out->leaf.page_shift = X86_PAGE_SHIFT;
		out->leaf.rights = MMU_RIGHT_W | MMU_RIGHT_U | MMU_RIGHT_X;
		return MMU_NO_FAULT;
	}
	walk_run(control, cpu->ram, at, NULL, &walk);
	report_entries(control, &walk, out);
	if (walk.end == WALK_MAPPED) {
		out->mapped = true;
		out->leaf = walk.leaf;
		out->paddr.a = physical(&walk.leaf, at);
	}
	verdict = request_of(control, access ? *access : query).verdict;
	if (walk_verdict(verdict, &walk, &error_code) && (access || !out->mapped))
		out->fault = (struct mmu_fault){ MMU_PF, error_code, { at } };
	return out->fault.vector;
}

uint32_t mmu_judge(const struct mmu_cpu *cpu, struct mmu_access access,
		   const struct mmu_entry *entry)
{
	return judge(request_of(&cpu->control, access).verdict, entry);
}

void mmu_visit_cached(const struct mmu_cpu *cpu, enum mmu_cache_id cache, mmu_visit_fn visit,
		      void *context)
{
	const struct mmu_cache_shape *shape = &cpu->config.cache[cache];

	for (uint32_t way = 0; way < shape->sets * shape->ways; way++) {
		struct tlb_ref ref = { (uint8_t)cache, way };
		struct vaddr va;
		unsigned pcid;

		if (tlb_inspect(&cpu->tlb, ref, &va.a, &pcid))
			visit(context, va, pcid, tlb_entry(&cpu->tlb, ref));
	}
}

/* ---- Statistics ---- */

void mmu_get_statistics(const struct mmu_cpu *cpu, struct mmu_statistics *statistics)
{
	struct mmu_statistics *s = statistics;

	*s = cpu->counts;
	s->fetch_lookups = cpu->front.fetches - cpu->first_fetch;
	s->data_lookups = cpu->front.tick - cpu->first_tick - s->fetch_lookups;
	s->l1_data_hits = s->data_lookups - s->l1_data_misses;
	s->l1_fetch_hits = s->fetch_lookups - s->l1_fetch_misses;
	s->dropped = cpu->tlb.dropped;
	s->l1_evictions = cpu->tlb.l1_evictions;
	s->l2_evictions = cpu->tlb.l2_evictions;
}

void mmu_reset_statistics(struct mmu_cpu *cpu)
{
	cpu->counts = (struct mmu_statistics){ 0 };
	cpu->first_tick = cpu->front.tick;
	cpu->first_fetch = cpu->front.fetches;
	cpu->tlb.dropped = 0;
	cpu->tlb.l1_evictions = 0;
	cpu->tlb.l2_evictions = 0;
}

uint64_t mmu_cycles(const struct mmu_statistics *s, const struct mmu_weights *w)
{
	uint64_t l1_misses = s->l1_data_misses + s->l1_fetch_misses;
	uint64_t faults = s->faults_not_present + s->faults_reserved + s->faults_protection +
			  s->faults_key + s->faults_address;

	return (s->data_lookups + s->fetch_lookups) * w->l1_hit + l1_misses * w->l2_lookup +
	       (s->walks + s->dirty_walks) * w->walk + s->entry_reads * w->entry_read +
	       (s->accessed_writes + s->dirty_writes) * w->ad_write + faults * w->fault +
	       s->invlpg * w->invlpg + s->flushes * w->flush + s->shootdowns_taken * w->shootdown;
}
