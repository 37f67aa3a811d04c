/*
 * Windows: the host's mappings as a TLB for kernel code that runs natively.
 *
 *   reservation   | direct map: one mapping, not ours | nothing  [p]  nothing  [q]  nothing |
 *                                                                |             |
 *   fills               bucket[hash of page] ---> {p: frame, attributes, PCID} |
 *                                                                |             |
 *                                                       {q: frame, attributes, PCID}
 *   order of filling    oldest <--> ... <--> newest: the oldest makes room
 *
 * A touch of a page without a host mapping comes here through SIGSEGV. It is a TLB miss: the
 * simulated tables are walked, A (and D) set by compare-and-swap, and the frame's page of the memfd
 * is mapped there. A fill is a TLB entry: nothing but an invalidation, an eviction or a fault makes
 * it go, so that a kernel which forgets an INVLPG goes on reading the old frame.
 *
 * Native fills stand for ONE TLB that all CPUs share: a drop on any CPU is a drop. What each CPU
 * sees by its own TLB is the probed build's business: there mmu/ translates, and window_show()
 * only makes the host page behind the pointer what mmu/ said. Then a fill is no TLB entry but a
 * note of what is mapped, and invalidations leave it alone.
 *
 * Invariants
 *  W1  A host page of the reservation that is accessible belongs to the direct map (or the loader's
 *      window), or to exactly one fill with prot != 0, whose frame it is.
 *  W2  prot of a visible fill is what the shown CPU may do by the fill's raw attributes: PROT_WRITE
 *      only with D = 1, so that the first write comes here and sets D. Others are parked, prot = 0.
 *  W3  At most one fill a page and PCID; a global one counts for every PCID. Parked: of a PCID that
 *      is not the shown CPU's.
 *  W4  A fill's attributes are those of the walk that made it: what is judged later is judged by
 *      them (SDM 4.10.2, 4.10.4), a first write with D = 0 excepted, which walks again (4.8).
 *  W5  After a #PF no fill of that page remains (4.10.4.1).
 *  W6  A page of 2 MiB and more is filled in pieces of 4 KiB, all by the attributes of the first;
 *      INVLPG of any address in it drops all of them.
 *
 * Cost, on a 2-core VM: a fill 9-11 us (signal, walk, mmap), a first write 6 us, an eviction 4.5
 * us more, a drop 4-5 us, a drop of 1,000 pages side by side 0.4 ms. The probed build: 2 ns an
 * access where the page is the frame already. window_cost.h calibrates them. Look-up: one hash
 * bucket. Drops of more than a page, and drops while large pages are filled, look at all fills.
 *
 * Differs from a processor: replacement is first in, first out over all PCIDs together, because
 * hits are not seen; there are no paging-structure caches. Fetches do not exist: no code runs from
 * a window.
 *
 * Reference: Intel SDM volume 3, 4.8 (A and D), 4.10 (what is cached, what invalidates).
 */
#include "sim/window.h"

#include <glib.h>
#include <stdlib.h>
#include <sys/mman.h>

#define NO_FILL UINT32_MAX

struct fill {
	uint64_t page;		/* kernel address >> 12 */
	uint64_t frame;		/* physical address of its 4 KiB */
	struct mmu_entry entry; /* raw attributes of the whole page */
	uint32_t next;		/* in its bucket, or in the list of unused fills */
	uint32_t older, newer;
	uint16_t pcid;
	uint8_t prot; /* of the host mapping; 0: none */
};

struct windows {
	const struct ram *ram;
	uint8_t *reservation;
	uint64_t base;
	unsigned lock;
	bool probed;
	const struct mmu_cpu *cpu; /* shown */
	struct mmu_state shown;	   /* its registers, as the host mappings obey them */
	uint16_t pcid;
	uint32_t cap, buckets;
	uint32_t unused, oldest, newest;
	uint32_t large; /* fills that are pieces of large pages */
	struct fill *fill;
	uint32_t *bucket;
	struct window_statistics count;
};

/* ---- Lock ---- */

/* Never held while kernel code runs or anything can fault. */
static void lock(struct windows *w)
{
	while (__atomic_exchange_n(&w->lock, 1, __ATOMIC_ACQUIRE))
		__builtin_ia32_pause();
}

static void unlock(struct windows *w)
{
	__atomic_store_n(&w->lock, 0, __ATOMIC_RELEASE);
}

/* ---- Host mappings ---- */

static void *host_page(const struct windows *w, uint64_t page)
{
	return w->reservation + ((page << X86_PAGE_SHIFT) - w->base);
}

static bool host_map(struct windows *w, struct fill *fill, int prot)
{
	void *got = mmap(host_page(w, fill->page), X86_PAGE_BYTES, prot,
			 MAP_SHARED | MAP_NORESERVE | MAP_FIXED, w->ram->fd, (off_t)fill->frame);

	fill->prot = got == MAP_FAILED ? 0 : (uint8_t)prot;
	return got != MAP_FAILED;
}

static void host_unmap_pages(struct windows *w, uint64_t first, uint64_t pages)
{
	void *got = mmap(host_page(w, first), pages << X86_PAGE_SHIFT, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	/* A page that stays readable would falsify all that follows; no message from in here. */
	if (got == MAP_FAILED)
		abort();
}

static void host_unmap(struct windows *w, struct fill *fill)
{
	if (fill->prot == 0)
		return;
	host_unmap_pages(w, fill->page, 1);
	fill->prot = 0;
}

/* ---- Fills ---- */

static uint32_t *bucket_of(const struct windows *w, uint64_t page)
{
	return &w->bucket[(page * 0x9e3779b97f4a7c15ull >> 40) & (w->buckets - 1)];
}

static bool visible(const struct windows *w, const struct fill *fill)
{
	return fill->entry.global || fill->pcid == w->pcid;
}

static struct fill *find(const struct windows *w, uint64_t page)
{
	for (uint32_t i = *bucket_of(w, page); i != NO_FILL; i = w->fill[i].next)
		if (w->fill[i].page == page && visible(w, &w->fill[i]))
			return &w->fill[i];
	return NULL;
}

static bool is_large(const struct fill *fill)
{
	return fill->entry.page_shift > X86_PAGE_SHIFT;
}

/* Do both lie in one page of that size? */
static bool same_page(uint64_t page_a, uint64_t page_b, unsigned shift)
{
	return (page_a ^ page_b) >> (shift - X86_PAGE_SHIFT) == 0;
}

static void unlink_order(struct windows *w, struct fill *fill)
{
	*(fill->older == NO_FILL ? &w->oldest : &w->fill[fill->older].newer) = fill->newer;
	*(fill->newer == NO_FILL ? &w->newest : &w->fill[fill->newer].older) = fill->older;
}

static void forget(struct windows *w, struct fill *fill)
{
	uint32_t index = (uint32_t)(fill - w->fill);
	uint32_t *link = bucket_of(w, fill->page);

	host_unmap(w, fill);
	while (*link != index)
		link = &w->fill[*link].next;
	*link = fill->next;
	unlink_order(w, fill);
	w->large -= is_large(fill);
	w->count.live--;
	fill->next = w->unused;
	w->unused = index;
}

/* A fill for PAGE, the newest; the oldest makes room. Nothing is mapped yet. */
static struct fill *take(struct windows *w, uint64_t page, const struct mmu_entry *entry)
{
	uint32_t index, *bucket = bucket_of(w, page);

	if (w->unused == NO_FILL) {
		forget(w, &w->fill[w->oldest]);
		w->count.evictions++;
	}
	index = w->unused;
	struct fill *fill = &w->fill[index];
	w->unused = fill->next;
	*fill = (struct fill){ .page = page,
			       .entry = *entry,
			       .pcid = w->pcid,
			       .next = *bucket,
			       .older = w->newest,
			       .newer = NO_FILL };
	*bucket = index;
	*(w->newest == NO_FILL ? &w->oldest : &w->fill[w->newest].newer) = index;
	w->newest = index;
	w->large += is_large(fill);
	w->count.live++;
	return fill;
}

/* The frame of a piece, by the attributes of its page. */
static uint64_t piece_frame(const struct mmu_entry *entry, uint64_t page)
{
	uint64_t inside = (1ull << entry->page_shift) - 1;

	return entry->page.a | (page << X86_PAGE_SHIFT & inside);
}

/* A piece of a large page that is cached already: served by the same entry. */
static struct fill *find_sibling(const struct windows *w, uint64_t page)
{
	for (uint32_t i = w->oldest; w->large > 0 && i != NO_FILL; i = w->fill[i].newer) {
		const struct fill *fill = &w->fill[i];
		if (is_large(fill) && visible(w, fill) &&
		    same_page(fill->page, page, fill->entry.page_shift))
			return &w->fill[i];
	}
	return NULL;
}

/* ---- What goes ---- */

static bool in_drop(const struct fill *fill, const struct mmu_drop *drop)
{
	bool global = fill->entry.global;
	bool same_pcid = fill->pcid == drop->pcid;

	switch (drop->kind) {
	case MMU_DROP_PAGE:
	case MMU_DROP_PAGE_GLOBAL:
		return (global ? drop->kind == MMU_DROP_PAGE_GLOBAL : same_pcid) &&
		       same_page(fill->page, drop->va.a >> X86_PAGE_SHIFT, fill->entry.page_shift);
	case MMU_DROP_PCID:
		return !global && same_pcid;
	case MMU_DROP_PCID_GLOBAL:
		return global || same_pcid;
	case MMU_DROP_ALL_PCIDS:
		return !global;
	case MMU_DROP_EVERYTHING:
		return true;
	default:
		return false;
	}
}

/* The mapped fill of a page, if the drop covers it. */
static struct fill *dropped_at(const struct windows *w, uint64_t page, const struct mmu_drop *drop)
{
	struct fill *fill = find(w, page);

	return fill && fill->prot != 0 && in_drop(fill, drop) ? fill : NULL;
}

/* All pages around one that go with it, in one call to the host: most of a drop's cost. */
static void unmap_run(struct windows *w, uint64_t page, const struct mmu_drop *drop)
{
	uint64_t first = page, end = page;
	struct fill *fill;

	while ((fill = dropped_at(w, first - 1, drop)) != NULL) {
		fill->prot = 0;
		first--;
	}
	while ((fill = dropped_at(w, end, drop)) != NULL) {
		fill->prot = 0;
		end++;
	}
	if (end > first)
		host_unmap_pages(w, first, end - first);
}

/* Fills that the drop covers go. Returns how many. */
static uint64_t drop_any(struct windows *w, const struct mmu_drop *drop)
{
	uint64_t before = w->count.live;

	for (uint32_t i = w->oldest, next; i != NO_FILL; i = next) {
		next = w->fill[i].newer;
		if (!in_drop(&w->fill[i], drop))
			continue;
		unmap_run(w, w->fill[i].page, drop);
		forget(w, &w->fill[i]);
	}
	return before - w->count.live;
}

static uint64_t drop_page(struct windows *w, const struct mmu_drop *drop)
{
	uint64_t before = w->count.live;
	uint32_t next;

	if (w->large > 0)
		return drop_any(w, drop);
	for (uint32_t i = *bucket_of(w, drop->va.a >> X86_PAGE_SHIFT); i != NO_FILL; i = next) {
		next = w->fill[i].next;
		if (in_drop(&w->fill[i], drop))
			forget(w, &w->fill[i]);
	}
	return before - w->count.live;
}

/* All that is cached for an address. */
static void forget_page(struct windows *w, struct vaddr va)
{
	struct mmu_drop page = { MMU_DROP_PAGE_GLOBAL, w->pcid, va };

	drop_page(w, &page);
}

/* ---- Making and serving ---- */

struct windows *windows_new(const struct ram *ram, uint8_t *reservation, uint64_t base,
			    unsigned fills)
{
	struct windows *w = g_new0(struct windows, 1);

	w->ram = ram;
	w->reservation = reservation;
	w->base = base;
	w->cap = CLAMP(fills, WINDOW_FILLS_MIN, WINDOW_FILLS_MAX);
	for (w->buckets = 1; w->buckets < 2 * w->cap;)
		w->buckets *= 2;
	w->fill = g_new0(struct fill, w->cap);
	w->bucket = g_new(uint32_t, w->buckets);
	for (uint32_t i = 0; i < w->buckets; i++)
		w->bucket[i] = NO_FILL;
	for (uint32_t i = 0; i < w->cap; i++)
		w->fill[i].next = i + 1 < w->cap ? i + 1 : NO_FILL;
	w->oldest = w->newest = NO_FILL;
	return w;
}

void windows_free(struct windows *w)
{
	if (!w)
		return;
	g_free(w->fill);
	g_free(w->bucket);
	g_free(w);
}

static struct mmu_access access_of(bool write)
{
	return (struct mmu_access){ .kind = write ? MMU_WRITE : MMU_READ,
				    .context = MMU_SUPERVISOR };
}

/* W2 */
static int wanted_prot(const struct windows *w, const struct fill *fill)
{
	if (!visible(w, fill) || mmu_judge(w->cpu, access_of(false), &fill->entry) != 0)
		return 0;
	if (!fill->entry.dirty || mmu_judge(w->cpu, access_of(true), &fill->entry) != 0)
		return PROT_READ;
	return PROT_READ | PROT_WRITE;
}

static bool entry_swap(const struct windows *w, const struct mmu_walk_entry *entry, uint64_t bits)
{
	void *at = w->ram->bytes + entry->at.a;
	uint64_t old = entry->value, new = old | bits;
	uint32_t old32 = (uint32_t)old;

	if (new == old || entry->latched || entry->at.a + entry->bytes > w->ram->size)
		return true;
	if (entry->bytes == 4)
		return __atomic_compare_exchange_n((uint32_t *)at, &old32, (uint32_t) new, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	return __atomic_compare_exchange_n((uint64_t *)at, &old, new, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_RELAXED);
}

/* A fresh walk that leaves A and D bits as a processor's does: A in every entry that led on, A (and
 * D) in the leaf of an access that succeeds. */
static uint32_t walk(const struct windows *w, const struct mmu_cpu *cpu, struct vaddr va,
		     bool write, struct mmu_walk *out)
{
	struct mmu_access access = access_of(write);
	bool settled;

	do {
		uint32_t vector = mmu_walk(cpu, va, &access, out);
		uint64_t leaf_bits = vector ? 0 : X86_PTE_A | (write ? X86_PTE_D : 0);

		settled = true;
		for (uint32_t i = 0; settled && i < out->count; i++)
			settled = entry_swap(w, &out->entry[i],
					     i + 1 < out->count ? X86_PTE_A : leaf_bits);
	} while (!settled);
	out->leaf.dirty |= write;
	return out->fault.vector;
}

static enum window_verdict page_fault(struct windows *w, struct mmu_cpu *cpu, struct vaddr va,
				      uint32_t error_code, struct mmu_fault *fault)
{
	forget_page(w, va);
	w->count.faults++;
	mmu_write_cr2(cpu, va.a);
	*fault = (struct mmu_fault){ MMU_PF, error_code, va };
	return WINDOW_FAULT;
}

static enum window_verdict map(struct windows *w, struct fill *fill, int prot)
{
	if (host_map(w, fill, prot))
		return WINDOW_READY;
	forget(w, fill);
	return WINDOW_REFUSED;
}

static enum window_verdict fill_with(struct windows *w, uint64_t page,
				     const struct mmu_entry *entry)
{
	struct fill *fill = take(w, page, entry);

	fill->frame = piece_frame(entry, page);
	return map(w, fill, wanted_prot(w, fill));
}

/* The first write through a fill: the walk's translation replaces what was cached. */
static enum window_verdict upgrade(struct windows *w, struct vaddr va, struct fill *fill,
				   const struct mmu_entry *entry)
{
	uint64_t page = va.a >> X86_PAGE_SHIFT, frame = piece_frame(entry, page);

	w->count.upgrades++;
	if (!fill || is_large(fill) || entry->page_shift > X86_PAGE_SHIFT) {
		forget_page(w, va);
		return fill_with(w, page, entry);
	}
	bool same = fill->frame == frame && fill->prot != 0;
	fill->entry = *entry;
	fill->frame = frame;
	fill->pcid = w->pcid;
	int prot = wanted_prot(w, fill);
	if (!same || mprotect(host_page(w, page), X86_PAGE_BYTES, prot) != 0)
		return map(w, fill, prot);
	fill->prot = (uint8_t)prot;
	return WINDOW_READY;
}

/* A miss, or (AGAIN) the first write through what is cached: FILL, or a sibling of it. */
static enum window_verdict fill_by_walk(struct windows *w, struct mmu_cpu *cpu, struct vaddr va,
					bool write, bool again, struct fill *fill,
					struct mmu_fault *fault)
{
	uint64_t page = va.a >> X86_PAGE_SHIFT;
	struct mmu_walk fresh;

	if (walk(w, cpu, va, write, &fresh) != MMU_NO_FAULT)
		return page_fault(w, cpu, va, fresh.fault.error_code, fault);
	fault->cr2.a = piece_frame(&fresh.leaf, page);
	if (fault->cr2.a >= w->ram->size)
		return WINDOW_NO_RAM;
	if (again)
		return upgrade(w, va, fill, &fresh.leaf);
	w->count.fills++;
	return fill_with(w, page, &fresh.leaf);
}

static enum window_verdict serve(struct windows *w, struct mmu_cpu *cpu, struct vaddr va,
				 bool write, struct mmu_fault *fault)
{
	uint64_t page = va.a >> X86_PAGE_SHIFT;
	struct fill *fill = find(w, page);
	const struct fill *cached = fill ? fill : find_sibling(w, page);

	if (!cached)
		return fill_by_walk(w, cpu, va, write, false, NULL, fault);
	uint32_t error_code = mmu_judge(cpu, access_of(write), &cached->entry);
	if (error_code)
		return page_fault(w, cpu, va, error_code, fault);
	if (write && !cached->entry.dirty)
		return fill_by_walk(w, cpu, va, write, true, fill, fault);
	struct mmu_entry entry = cached->entry; /* may be evicted to make room */
	w->count.refills += !fill || fill->prot == 0;
	if (!fill)
		return fill_with(w, page, &entry);
	/* Parked, or filled by another thread since the signal. */
	return map(w, fill, wanted_prot(w, fill));
}

/* The host page becomes the frame, whatever it was. */
static enum window_verdict show(struct windows *w, struct fill *fill, uint64_t page, uint64_t frame)
{
	static const struct mmu_entry shown = { .page_shift = X86_PAGE_SHIFT, .global = 1 };

	if (frame >= w->ram->size)
		return WINDOW_NO_RAM;
	if (!fill)
		fill = take(w, page, &shown);
	fill->frame = frame;
	w->count.shows++;
	return map(w, fill, PROT_READ | PROT_WRITE);
}

/* Kernel code of the probed build that no probe watches, or whose page was evicted between the
 * probe and the access. */
static enum window_verdict serve_probed(struct windows *w, struct mmu_cpu *cpu, struct vaddr va,
					bool write, struct mmu_fault *fault)
{
	uint64_t page = va.a >> X86_PAGE_SHIFT;
	struct mmu_walk fresh;

	if (walk(w, cpu, va, write, &fresh) != MMU_NO_FAULT)
		return page_fault(w, cpu, va, fresh.fault.error_code, fault);
	fault->cr2.a = piece_frame(&fresh.leaf, page);
	return show(w, find(w, page), page, fault->cr2.a);
}

enum window_verdict window_touch(struct windows *w, struct mmu_cpu *cpu, struct vaddr va,
				 bool write, struct mmu_fault *fault)
{
	enum window_verdict verdict;

	if (mmu_mode(cpu) == MMU_MODE_NONE)
		return WINDOW_UNPAGED;
	lock(w);
	verdict = (w->probed ? serve_probed : serve)(w, cpu, va, write, fault);
	unlock(w);
	return verdict;
}

enum window_verdict window_show(struct windows *w, struct vaddr va, struct paddr paddr)
{
	uint64_t page = va.a >> X86_PAGE_SHIFT, frame = paddr.a & ~(X86_PAGE_BYTES - 1ull);
	struct fill *fill = find(w, page);
	enum window_verdict verdict;

	if (fill && fill->frame == frame && fill->prot == (PROT_READ | PROT_WRITE))
		return WINDOW_READY;
	lock(w);
	verdict = show(w, fill, page, frame);
	unlock(w);
	return verdict;
}

/* ---- What a CPU tells ---- */

/* The shown CPU's registers changed: W2 and W3 anew. */
static void protect_anew(struct windows *w)
{
	w->shown = mmu_save_state(w->cpu);
	w->pcid = w->shown.cr4 & X86_CR4_PCIDE ? w->shown.cr3 & X86_CR3_PCID : 0;
	for (uint32_t i = w->oldest; i != NO_FILL; i = w->fill[i].newer) {
		struct fill *fill = &w->fill[i];
		int prot = wanted_prot(w, fill);
		if (prot == 0)
			host_unmap(w, fill);
		else if (fill->prot != 0 && fill->prot != prot)
			(void)host_map(w, fill,
				       prot); /* fails: parked, and tried again when touched */
	}
}

static void dropped(void *context, const struct mmu_cpu *cpu, const struct mmu_drop *drop)
{
	struct windows *w = context;

	if (w->probed)
		return;
	lock(w);
	if (drop->kind == MMU_DROP_PAGE || drop->kind == MMU_DROP_PAGE_GLOBAL) {
		w->count.drops += drop_page(w, drop);
	} else {
		w->count.drops += drop_any(w, drop);
		if (cpu == w->cpu)
			protect_anew(w);
	}
	unlock(w);
}

void windows_listen(struct windows *w, struct mmu_cpu *cpu)
{
	struct mmu_listener listener = { .context = w, .dropped = dropped };

	mmu_set_listener(cpu, &listener);
}

/* Do host mappings made under one state hold under the other? */
static bool same_view(const struct mmu_state *a, const struct mmu_state *b)
{
	return a->cr0 == b->cr0 && a->cr3 == b->cr3 && a->cr4 == b->cr4 && a->efer == b->efer &&
	       a->pkru == b->pkru && a->pkrs == b->pkrs;
}

void windows_switch(struct windows *w, const struct mmu_cpu *cpu)
{
	struct mmu_drop other_space = { .kind = MMU_DROP_ALL_PCIDS };
	struct mmu_state state;

	if (w->cpu == cpu)
		return;
	w->cpu = cpu;
	state = mmu_save_state(cpu);
	if (w->probed || same_view(&state, &w->shown))
		return;
	lock(w);
	/* One shared TLB has no tag for two address spaces: the other CPU's go. */
	if (state.cr3 != w->shown.cr3)
		w->count.drops += drop_any(w, &other_space);
	protect_anew(w);
	unlock(w);
}

void windows_set_probed(struct windows *w, bool probed)
{
	struct mmu_drop all = { .kind = MMU_DROP_EVERYTHING };

	lock(w);
	if (probed != w->probed)
		drop_any(w, &all);
	w->probed = probed;
	if (!probed && w->cpu)
		protect_anew(w);
	unlock(w);
}

void windows_statistics(const struct windows *w, struct window_statistics *statistics)
{
	*statistics = w->count;
}

uint64_t windows_events(const struct windows *w)
{
	const struct window_statistics *count = &w->count;

	return count->fills + count->refills + count->upgrades + count->evictions + count->drops +
	       count->faults;
}
