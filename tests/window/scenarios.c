#include "tests/window/scenarios.h"

#include "alloc/port.h"

#define WANT(condition)                  \
	do {                             \
		if (!(condition))        \
			return __LINE__; \
	} while (0)

#define MARK_FIRST  0x1111111111111111ull
#define MARK_SECOND 0x2222222222222222ull
#define KERNEL_RW   (X86_PTE_P | X86_PTE_RW)
#define ADDRESS	    0x000ffffffffff000ull

/* ---- page tables, by the direct map ---- */

static void *direct(const struct scene *s, struct paddr at)
{
	return port_ptr(vaddr_add(s->direct, at.a));
}

static volatile uint64_t *word_of(const struct scene *s, struct pfn frame)
{
	return direct(s, pfn_to_paddr(frame));
}

static volatile uint64_t *at(struct vaddr va)
{
	return port_ptr(va);
}

/* A word that need not be aligned, and may lie across two pages. */
struct __attribute__((packed)) loose {
	uint64_t word;
};

static volatile struct loose *loose_at(struct vaddr va)
{
	return port_ptr(va);
}

static struct pfn new_frames(const struct scene *s, uint32_t frames)
{
	struct frame_request request = { .frames = frames, .align_frames = frames };
	struct frame_block block;

	if (frame_alloc(&s->frames, &request, &block))
		port_panic("the scenario has no frames");
	memset(direct(s, pfn_to_paddr(block.first)), 0, frames * FRAME_BYTES);
	return block.first;
}

static struct pfn new_frame(const struct scene *s, uint64_t mark)
{
	struct pfn frame = new_frames(s, 1);

	*word_of(s, frame) = mark;
	return frame;
}

static unsigned index_bits(const struct scene *s)
{
	return s->wide ? 9 : 10;
}

static unsigned entry_bytes(const struct scene *s)
{
	return s->wide ? 8 : 4;
}

static uint64_t entry_get(const struct scene *s, struct paddr entry)
{
	return s->wide ? *(volatile uint64_t *)direct(s, entry)
		       : *(volatile uint32_t *)direct(s, entry);
}

static void entry_set(const struct scene *s, struct paddr entry, uint64_t value)
{
	if (s->wide)
		*(volatile uint64_t *)direct(s, entry) = value;
	else
		*(volatile uint32_t *)direct(s, entry) = (uint32_t)value;
}

/* The entry of LEVEL (0: the lowest) for VA; tables above it are made where missing. */
static struct paddr entry_of(const struct scene *s, struct vaddr va, unsigned level)
{
	unsigned top = s->wide ? 3 : 1, bits = index_bits(s);
	struct paddr table = { port_read_cr3() & ADDRESS }, entry = table;

	for (unsigned l = top;; l--) {
		uint64_t index = va.a >> (X86_PAGE_SHIFT + l * bits) & ((1u << bits) - 1);
		entry.a = table.a + index * entry_bytes(s);
		if (l == level)
			return entry;
		if (!(entry_get(s, entry) & X86_PTE_P))
			entry_set(s, entry, pfn_to_paddr(new_frames(s, 1)).a | KERNEL_RW);
		table.a = entry_get(s, entry) & ADDRESS;
	}
}

static void map(const struct scene *s, struct vaddr va, struct pfn frame, uint64_t bits)
{
	entry_set(s, entry_of(s, va, 0), pfn_to_paddr(frame).a | bits);
}

static uint64_t pte(const struct scene *s, struct vaddr va)
{
	return entry_get(s, entry_of(s, va, 0));
}

static struct vaddr page(const struct scene *s, uint64_t n)
{
	return vaddr_add(s->window, n * FRAME_BYTES);
}

/* ---- windows ---- */

static int plain(struct scene *s)
{
	struct pfn frame = new_frame(s, MARK_FIRST);

	map(s, s->window, frame, KERNEL_RW);
	WANT(*at(s->window) == MARK_FIRST);
	*at(s->window) = MARK_SECOND;
	WANT(*word_of(s, frame) == MARK_SECOND);
	*word_of(s, frame) = MARK_FIRST;
	WANT(*at(s->window) == MARK_FIRST);
	return 0;
}

static int read_sets_a_and_first_write_sets_d(struct scene *s)
{
	map(s, s->window, new_frame(s, MARK_FIRST), KERNEL_RW);
	WANT(!(pte(s, s->window) & (X86_PTE_A | X86_PTE_D)));
	WANT(*at(s->window) == MARK_FIRST);
	WANT((pte(s, s->window) & (X86_PTE_A | X86_PTE_D)) == X86_PTE_A);
	*at(s->window) = 1;
	WANT((pte(s, s->window) & (X86_PTE_A | X86_PTE_D)) == (X86_PTE_A | X86_PTE_D));
	map(s, page(s, 1), new_frame(s, MARK_FIRST), KERNEL_RW);
	*at(page(s, 1)) = 1;
	WANT((pte(s, page(s, 1)) & (X86_PTE_A | X86_PTE_D)) == (X86_PTE_A | X86_PTE_D));
	return 0;
}

static int forgotten_invlpg_reads_the_old_frame(struct scene *s)
{
	struct pfn first = new_frame(s, MARK_FIRST), second = new_frame(s, MARK_SECOND);

	map(s, s->window, first, KERNEL_RW);
	WANT(*at(s->window) == MARK_FIRST);
	*at(s->window) = MARK_FIRST;
	map(s, s->window, second, KERNEL_RW);
	WANT(*at(s->window) == MARK_FIRST);
	*at(s->window) = 5;
	WANT(*word_of(s, first) == 5 && *word_of(s, second) == MARK_SECOND);
	port_invlpg(s->window);
	WANT(*at(s->window) == MARK_SECOND);
	/* Unmapped, and still readable. */
	map(s, s->window, second, 0);
	WANT(*at(s->window) == MARK_SECOND);
	return 0;
}

static int moving_slot(struct scene *s)
{
	for (uint64_t i = 0; i < 100; i++) {
		struct pfn frame = new_frame(s, i);
		map(s, s->window, frame, KERNEL_RW);
		port_invlpg(s->window);
		WANT(*at(s->window) == i);
		*at(s->window) = i + 1;
		WANT(*word_of(s, frame) == i + 1);
	}
	return 0;
}

static int copies_cross_pages(struct scene *s)
{
	struct pfn frame[6];

	/* Three pages to three others, in frames that are not neighbours. */
	for (unsigned i = 0; i < 6; i++) {
		frame[5 - i] = new_frames(s, 1);
		map(s, page(s, i), frame[5 - i], KERNEL_RW);
	}
	char *from = (char *)port_ptr(page(s, 0)) + 100, *to = (char *)port_ptr(page(s, 3)) + 300;
	for (unsigned i = 0; i < 8000; i++)
		from[i] = (char)(i * 7);
	memcpy(to, from, 8000);
	WANT(memcmp(to, from, 8000) == 0);
	memmove(from + 1, from, 7999);
	WANT(memcmp(to, from + 1, 7999) == 0);
	/* One access across two pages. */
	volatile struct loose *across = loose_at((struct vaddr){ page(s, 1).a - 3 });
	across->word = MARK_SECOND;
	WANT(across->word == MARK_SECOND);
	WANT(*((char *)port_ptr(page(s, 0)) + 4095) == 0x22);
	WANT(*(char *)port_ptr(page(s, 1)) == 0x22);
	return 0;
}

static int more_pages_than_fills(struct scene *s)
{
	WANT(scene_map_many(s) == 0);
	WANT(scene_touch_many(s) == 0);
	WANT(scene_touch_many(s) == 0);
	return 0;
}

int scene_map_many(struct scene *s)
{
	for (uint64_t i = 0; i < s->steps; i++)
		map(s, page(s, i), new_frame(s, i), KERNEL_RW);
	return 0;
}

int scene_touch_many(struct scene *s)
{
	for (uint64_t i = 0; i < s->steps; i++) {
		WANT(at(page(s, i))[0] == i);
		at(page(s, i))[1] = i;
	}
	return 0;
}

/* ---- recursive slots ---- */

static void set_slot(const struct scene *s)
{
	struct paddr top = { port_read_cr3() & ADDRESS };

	entry_set(s, (struct paddr){ top.a + s->slot_index * entry_bytes(s) }, top.a | KERNEL_RW);
}

/* Where the slot shows VA's entry of the lowest level. */
static struct vaddr slot_address(const struct scene *s, struct vaddr va)
{
	uint64_t linear = s->wide ? va.a & 0xffffffffffffull : va.a;

	return vaddr_add(s->slot, (linear >> X86_PAGE_SHIFT) * entry_bytes(s));
}

static uint64_t slot_get(const struct scene *s, struct vaddr entry)
{
	return s->wide ? *at(entry) : *(volatile uint32_t *)port_ptr(entry);
}

static void slot_set(const struct scene *s, struct vaddr entry, uint64_t value)
{
	if (s->wide)
		*at(entry) = value;
	else
		*(volatile uint32_t *)port_ptr(entry) = (uint32_t)value;
}

static int recursive_slot_shows_the_tables(struct scene *s)
{
	struct pfn frame = new_frame(s, MARK_FIRST), second = new_frame(s, MARK_SECOND);

	set_slot(s);
	map(s, s->window, frame, KERNEL_RW);
	WANT(slot_get(s, slot_address(s, s->window)) == (pfn_to_paddr(frame).a | KERNEL_RW));
	WANT(*at(s->window) == MARK_FIRST);
	WANT(slot_get(s, slot_address(s, s->window)) & X86_PTE_A);
	slot_set(s, slot_address(s, s->window), pfn_to_paddr(second).a | KERNEL_RW);
	WANT(pte(s, s->window) == (pfn_to_paddr(second).a | KERNEL_RW));
	WANT(*at(s->window) == MARK_FIRST);
	port_invlpg(s->window);
	WANT(*at(s->window) == MARK_SECOND);
	return 0;
}

/* The slot through itself: the topmost table (i386 0xFFFFF000). */
static int recursive_slot_shows_itself(struct scene *s)
{
	struct vaddr top = s->slot;

	set_slot(s);
	for (unsigned level = s->wide ? 3 : 1; level > 0; level--)
		top = slot_address(s, top);
	WANT((top.a & (FRAME_BYTES - 1)) == 0);
	uint64_t own = slot_get(s, vaddr_add(top, s->slot_index * entry_bytes(s)));
	WANT((own & ADDRESS) == (port_read_cr3() & ADDRESS));
	/* As a leaf it is read, and not yet written. */
	WANT((own & (X86_PTE_A | X86_PTE_D)) == X86_PTE_A);
	slot_set(s, vaddr_add(top, s->slot_index * entry_bytes(s)), own);
	own = slot_get(s, vaddr_add(top, s->slot_index * entry_bytes(s)));
	WANT(!(own & X86_PTE_D)); /* D was set before the store, which took it back */
	return 0;
}

/* A new table in an upper entry: the slot's view of the old one stays until INVLPG of that view. */
static int recursive_slot_goes_stale(struct scene *s)
{
	struct vaddr view = slot_address(s, s->window);

	set_slot(s);
	map(s, s->window, new_frame(s, MARK_FIRST), KERNEL_RW);
	uint64_t old = slot_get(s, view);
	WANT(old & X86_PTE_P);
	entry_set(s, entry_of(s, s->window, 1), pfn_to_paddr(new_frames(s, 1)).a | KERNEL_RW);
	WANT(slot_get(s, view) == old);
	port_invlpg(view);
	WANT(slot_get(s, view) == 0);
	return 0;
}

/* ---- faults that the kernel serves ---- */

static bool serve_on_demand(void *context, struct vaddr va, uint32_t error_code)
{
	struct scene *s = context;

	s->faults++;
	s->error_code = error_code;
	if (error_code & X86_PF_P)
		return false;
	map(s, va, new_frame(s, va.a & ~(FRAME_BYTES - 1)), KERNEL_RW);
	return true;
}

static int demand_filled(struct scene *s)
{
	port_set_fault_handler(serve_on_demand, s);
	for (uint64_t i = 0; i < 64; i++) {
		WANT(*at(page(s, i)) == page(s, i).a);
		WANT(s->faults == i + 1 && s->error_code == 0);
	}
	*at(vaddr_add(page(s, 64), 24)) = 1;
	WANT(s->faults == 65 && s->error_code == X86_PF_W);
	/* Both pages of one access. */
	volatile struct loose *across = loose_at((struct vaddr){ page(s, 66).a - 4 });
	across->word = MARK_FIRST;
	WANT(s->faults == 67 && across->word == MARK_FIRST);
	return 0;
}

static bool serve_copy_on_write(void *context, struct vaddr va, uint32_t error_code)
{
	struct scene *s = context;

	s->faults++;
	s->error_code = error_code;
	struct pfn old = { (pte(s, va) & ADDRESS) >> X86_PAGE_SHIFT };
	map(s, va, new_frame(s, *word_of(s, old)), KERNEL_RW);
	port_invlpg(va);
	return true;
}

static int copy_on_write(struct scene *s)
{
	struct pfn shared = new_frame(s, MARK_FIRST);

	port_set_fault_handler(serve_copy_on_write, s);
	map(s, page(s, 0), shared, X86_PTE_P);
	map(s, page(s, 1), shared, X86_PTE_P);
	WANT(*at(page(s, 0)) == MARK_FIRST && *at(page(s, 1)) == MARK_FIRST);
	WANT(s->faults == 0);
	*at(page(s, 1)) += 1;
	WANT(s->faults == 1 && s->error_code == (X86_PF_P | X86_PF_W));
	WANT(*at(page(s, 0)) == MARK_FIRST && *at(page(s, 1)) == MARK_FIRST + 1);
	return 0;
}

/* More rights in memory than cached: one fault too many, as on hardware, and the next try works. */
static bool serve_nothing_to_do(void *context, struct vaddr va, uint32_t error_code)
{
	struct scene *s = context;

	(void)va;
	s->faults++;
	s->error_code = error_code;
	return true;
}

static int spurious_fault_after_more_rights(struct scene *s)
{
	struct pfn frame = new_frame(s, MARK_FIRST);

	port_set_fault_handler(serve_nothing_to_do, s);
	map(s, s->window, frame, X86_PTE_P);
	WANT(*at(s->window) == MARK_FIRST);
	map(s, s->window, frame, KERNEL_RW);
	*at(s->window) = MARK_SECOND;
	WANT(s->faults == 1 && s->error_code == (X86_PF_P | X86_PF_W));
	WANT(*word_of(s, frame) == MARK_SECOND);
	return 0;
}

/* To serve page n its handler touches page n + 1, up to six deep. */
static bool serve_nested(void *context, struct vaddr va, uint32_t error_code)
{
	struct scene *s = context;
	uint64_t n = (va.a - s->window.a) / FRAME_BYTES;
	volatile char room[512];

	(void)error_code;
	s->faults++;
	s->depth++;
	s->deepest = s->depth > s->deepest ? s->depth : s->deepest;
	for (unsigned i = 0; i < sizeof(room); i++)
		room[i] = (char)n;
	uint64_t below = n < s->steps ? *at(page(s, n + 1)) : 0;
	map(s, va, new_frame(s, below + 1), KERNEL_RW);
	s->depth--;
	return room[17] == (char)n;
}

static int nested_faults(struct scene *s)
{
	s->steps = 5;
	port_set_fault_handler(serve_nested, s);
	WANT(*at(page(s, 0)) == 6);
	WANT(s->faults == 6 && s->deepest == 6 && s->depth == 0);
	WANT(*at(page(s, 5)) == 1 && s->faults == 6);
	return 0;
}

/* ---- large pages, global pages, rights, PCIDs ---- */

static uint64_t large_bytes(const struct scene *s)
{
	return s->wide ? 2u << 20 : 4u << 20;
}

static int large_page_is_one_translation(struct scene *s)
{
	uint32_t frames = (uint32_t)(large_bytes(s) / FRAME_BYTES);
	struct pfn first = new_frames(s, frames), second = new_frames(s, frames);
	struct paddr pde = entry_of(s, s->window, 1);

	for (uint32_t i = 0; i < frames; i++) {
		*word_of(s, pfn_add(first, i)) = i;
		*word_of(s, pfn_add(second, i)) = 1000000 + i;
	}
	entry_set(s, pde, pfn_to_paddr(first).a | KERNEL_RW | X86_PTE_PS);
	WANT(*at(page(s, 3)) == 3 && *at(page(s, 100)) == 100);
	WANT((entry_get(s, pde) & (X86_PTE_A | X86_PTE_D)) == X86_PTE_A);
	entry_set(s, pde, pfn_to_paddr(second).a | KERNEL_RW | X86_PTE_PS);
	/* Never touched before, and still part of what is cached. */
	WANT(*at(page(s, 7)) == 7 && *at(page(s, 3)) == 3);
	port_invlpg(page(s, 200));
	WANT(*at(page(s, 3)) == 1000003 && *at(page(s, 7)) == 1000007);
	*at(page(s, 9)) = 9;
	WANT((entry_get(s, pde) & (X86_PTE_A | X86_PTE_D)) == (X86_PTE_A | X86_PTE_D));
	WANT(*word_of(s, pfn_add(second, 9)) == 9);
	return 0;
}

static int cr3_spares_global_pages(struct scene *s)
{
	struct pfn other = new_frame(s, MARK_SECOND);

	map(s, page(s, 0), new_frame(s, MARK_FIRST), KERNEL_RW);
	map(s, page(s, 1), new_frame(s, MARK_FIRST), KERNEL_RW | X86_PTE_G);
	WANT(*at(page(s, 0)) == MARK_FIRST && *at(page(s, 1)) == MARK_FIRST);
	map(s, page(s, 0), other, KERNEL_RW);
	map(s, page(s, 1), other, KERNEL_RW | X86_PTE_G);
	port_write_cr3(port_read_cr3());
	WANT(*at(page(s, 0)) == MARK_SECOND && *at(page(s, 1)) == MARK_FIRST);
	port_write_cr4(port_read_cr4() & ~X86_CR4_PGE);
	WANT(*at(page(s, 1)) == MARK_SECOND);
	return 0;
}

static int write_protect_acts_at_once(struct scene *s)
{
	struct pfn frame = new_frame(s, MARK_FIRST);

	port_set_fault_handler(serve_copy_on_write, s);
	map(s, s->window, frame, X86_PTE_P);
	WANT(*at(s->window) == MARK_FIRST);
	port_write_cr0(port_read_cr0() & ~X86_CR0_WP);
	*at(s->window) = MARK_SECOND;
	WANT(s->faults == 0 && *word_of(s, frame) == MARK_SECOND);
	port_write_cr0(port_read_cr0() | X86_CR0_WP);
	WANT(*at(s->window) == MARK_SECOND);
	*at(s->window) = 7;
	WANT(s->faults == 1 && s->error_code == (X86_PF_P | X86_PF_W));
	WANT(*word_of(s, frame) == MARK_SECOND);
	return 0;
}

static int pcids_keep_their_translations(struct scene *s)
{
	struct pfn first = new_frame(s, MARK_FIRST), second = new_frame(s, MARK_SECOND);
	uint64_t top = port_read_cr3() & ADDRESS;

	port_write_cr4(port_read_cr4() | X86_CR4_PCIDE);
	map(s, s->window, first, KERNEL_RW);
	WANT(*at(s->window) == MARK_FIRST);
	map(s, s->window, second, KERNEL_RW);
	port_write_cr3(top | 1);
	WANT(*at(s->window) == MARK_SECOND);
	port_write_cr3(top | X86_CR3_NO_FLUSH);
	WANT(*at(s->window) == MARK_FIRST); /* stale, and kept as asked for */
	port_write_cr3(top | 1 | X86_CR3_NO_FLUSH);
	WANT(*at(s->window) == MARK_SECOND);
	port_write_cr3(top);
	WANT(*at(s->window) == MARK_SECOND);
	return 0;
}

/* ---- deaths ---- */

static int unserved(struct scene *s)
{
	*at(s->window) = 1;
	return __LINE__;
}

static int read_only(struct scene *s)
{
	map(s, s->window, new_frame(s, 0), X86_PTE_P);
	WANT(*at(s->window) == 0);
	*at(s->window) = 1;
	return __LINE__;
}

static int unhandled(struct scene *s)
{
	port_set_fault_handler(serve_on_demand, s);
	WANT(*at(s->window) == s->window.a);
	map(s, s->window, new_frame(s, 0), X86_PTE_P);
	port_invlpg(s->window);
	*at(s->window) = 1; /* present and read-only: not for that handler */
	return __LINE__;
}

static int never_served(struct scene *s)
{
	port_set_fault_handler(serve_nothing_to_do, s);
	*at(s->window) = 1;
	return __LINE__;
}

static bool serve_by_touching(void *context, struct vaddr va, uint32_t error_code)
{
	(void)context;
	(void)error_code;
	return *at(va) != 0;
}

static int double_fault(struct scene *s)
{
	port_set_fault_handler(serve_by_touching, s);
	WANT(*at(s->window) == 0);
	return __LINE__;
}

static int too_deep(struct scene *s)
{
	s->steps = 1000;
	port_set_fault_handler(serve_nested, s);
	WANT(*at(s->window) == 0);
	return __LINE__;
}

static bool serve_by_panic(void *context, struct vaddr va, uint32_t error_code)
{
	(void)context;
	(void)va;
	(void)error_code;
	port_panic("no frame for the fault");
}

static int panic_in_the_handler(struct scene *s)
{
	port_set_fault_handler(serve_by_panic, s);
	WANT(*at(s->window) == 0);
	return __LINE__;
}

static int beyond_ram(struct scene *s)
{
	map(s, s->window, pfn(0xff000), KERNEL_RW);
	WANT(*at(s->window) == 0);
	return __LINE__;
}

static int reserved_bit(struct scene *s)
{
	struct pfn frame = new_frame(s, 0);

	/* PS in an entry of the topmost level of four. */
	map(s, s->window, frame, KERNEL_RW);
	struct paddr top = entry_of(s, s->window, 3);
	entry_set(s, top, entry_get(s, top) | X86_PTE_PS);
	WANT(*at(s->window) == 0);
	return __LINE__;
}

/* ---- what several CPUs see ---- */

int scene_two_frames(struct scene *s)
{
	s->first = new_frame(s, MARK_FIRST);
	s->second = new_frame(s, MARK_SECOND);
	map(s, s->window, s->first, KERNEL_RW);
	return 0;
}

int scene_sees_first(struct scene *s)
{
	WANT(*at(s->window) == MARK_FIRST);
	return 0;
}

int scene_sees_second(struct scene *s)
{
	WANT(*at(s->window) == MARK_SECOND);
	return 0;
}

int scene_changes_over_silently(struct scene *s)
{
	map(s, s->window, s->second, KERNEL_RW);
	return 0;
}

int scene_changes_over(struct scene *s)
{
	scene_changes_over_silently(s);
	port_invlpg(s->window);
	return 0;
}

int scene_makes_a_table(struct scene *s)
{
	s->first = new_frame(s, MARK_FIRST);
	map(s, s->window, s->first, KERNEL_RW);
	s->second = paddr_to_pfn((struct paddr){ entry_of(s, s->window, 0).a });
	return 0;
}

int scene_frees_the_table_in_use(struct scene *s)
{
	struct frame_block table = { s->second, 1 };

	WANT(frame_free(&s->frames, &table) == 0);
	return 0;
}

int scene_frees_the_table_silently(struct scene *s)
{
	entry_set(s, entry_of(s, s->window, 1), 0);
	return scene_frees_the_table_in_use(s);
}

int scene_frees_the_table(struct scene *s)
{
	entry_set(s, entry_of(s, s->window, 1), 0);
	port_invlpg(s->window);
	return scene_frees_the_table_in_use(s);
}

int scene_reuses_the_table(struct scene *s)
{
	while (new_frames(s, 1).n != s->second.n)
		;
	struct paddr next = { pfn_to_paddr(s->second).a + entry_bytes(s) };

	entry_set(s, next, pfn_to_paddr(s->first).a | KERNEL_RW);
	return 0;
}

int scene_reuses_it_as_a_table(struct scene *s)
{
	WANT(scene_reuses_the_table(s) == 0);
	entry_set(s, entry_of(s, s->window, 1), pfn_to_paddr(s->second).a | KERNEL_RW);
	return 0;
}

int scene_looks_at_the_next_page(struct scene *s)
{
	WANT(*at(page(s, 1)) == MARK_FIRST);
	return 0;
}

#define LIVES(name)                            \
	{                                      \
#name, name, NULL, NULL, false \
	}

const struct scenario scenarios[] = {
	LIVES(plain),
	LIVES(read_sets_a_and_first_write_sets_d),
	LIVES(forgotten_invlpg_reads_the_old_frame),
	LIVES(moving_slot),
	LIVES(copies_cross_pages),
	LIVES(more_pages_than_fills),
	LIVES(recursive_slot_shows_the_tables),
	LIVES(recursive_slot_shows_itself),
	LIVES(recursive_slot_goes_stale),
	LIVES(demand_filled),
	LIVES(copy_on_write),
	LIVES(spurious_fault_after_more_rights),
	LIVES(nested_faults),
	LIVES(large_page_is_one_translation),
	LIVES(cr3_spares_global_pages),
	LIVES(write_protect_acts_at_once),
	{ "pcids_keep_their_translations", pcids_keep_their_translations, NULL, NULL, true },
	{ "unserved", unserved, "page-fault", "the page is not present (vector 14, error code 0x2)",
	  false },
	{ "read_only", read_only, "page-fault", "rights forbid writing (vector 14, error code 0x3)",
	  false },
	{ "unhandled", unhandled, "page-fault", "handler does not serve it", false },
	{ "never_served", never_served, "page-fault", "says that it has served it", false },
	{ "double_fault", double_fault, "double-fault", "was serving just that page", false },
	{ "too_deep", too_deep, "double-fault", "serving 8 faults inside one another", false },
	{ "panic_in_the_handler", panic_in_the_handler, "panic", "no frame for the fault", false },
	{ "beyond_ram", beyond_ram, "page-fault", "where there is no RAM", false },
	{ "reserved_bit", reserved_bit, "page-fault",
	  "reserved bit set (vector 14, error code 0x9)", true },
	{ NULL, NULL, NULL, NULL, false },
};
