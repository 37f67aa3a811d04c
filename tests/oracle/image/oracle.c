/*
 * oracle.c - random accesses through random page tables, each recorded.
 *
 * A case is one address with a path of entries, two when the access crosses a page, and everything
 * flushed; then up to four accesses, between which WP, SMEP, SMAP, AC, PKRU and PKRS change without
 * a flush. Entry 0 of the root belongs to the image, all others are the test's. Lower entries are
 * there even where an upper one is not present: they must not matter.
 */
#include "tests/oracle/image/run.h"
#include "tests/oracle/image/machine.h"

#include "mmu/x86.h"

#define CONFIG ((const volatile struct oracle_config *)(word)ORACLE_CONFIG)

#define MSR_EFER 0xc0000080u
#define MSR_PKRS 0x6e1u

#define FLAGS_FIXED 2u
#define FLAGS_AC    (1u << 18)

#define CODE_INT80    0x80cdu
#define TABLE_CHOICES 16u

struct path {
	struct oracle_entry entry[ORACLE_LEVELS];
	unsigned leaf_level;
	uint64_t place; /* physical address of the first byte, if mapped */
};

struct test_case {
	uint64_t va;
	bool canonical;
	unsigned left_in_page; /* bytes before the page ends, if the case crosses; else 0 */
	struct path path[2];
};

static struct machine machine;
static uint64_t random_state;
static struct oracle_record to_port;
uint32_t recorded;

void *memset(void *to, int value, word bytes)
{
	for (uint8_t *at = to; bytes > 0; bytes--)
		*at++ = (uint8_t)value;
	return to;
}

void *memcpy(void *to, const void *from, word bytes)
{
	const uint8_t *in = from;

	for (uint8_t *at = to; bytes > 0; bytes--)
		*at++ = *in++;
	return to;
}

uint32_t random32(void)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	uint32_t shifted = (uint32_t)((random_state >> 18 ^ random_state) >> 27);
	unsigned turn = (unsigned)(random_state >> 59);

	return shifted >> turn | shifted << (-turn & 31);
}

uint32_t random_below(uint32_t limit)
{
	return (uint32_t)((uint64_t)random32() * limit >> 32);
}

bool percent(unsigned chance)
{
	return random_below(100) < chance;
}

uint64_t random64(void)
{
	return (uint64_t)random32() << 32 | random32();
}

/* ---- Geometry ---- */

static bool wide(void)
{
	return machine.mode <= ORACLE_5LEVEL;
}

static unsigned entry_bytes(void)
{
	return machine.mode == ORACLE_32BIT ? 4 : 8;
}

static unsigned top_level(void)
{
	static const uint8_t top[] = { 3, 4, 1, 2 };

	return top[machine.mode];
}

static unsigned level_shift(unsigned level)
{
	return 12 + level * (machine.mode == ORACLE_32BIT ? 10 : 9);
}

static unsigned level_index(unsigned level, uint64_t va)
{
	unsigned mask = machine.mode == ORACLE_32BIT		   ? 1023
			: machine.mode == ORACLE_PAE && level == 2 ? 3
								   : 511;

	return (unsigned)(va >> level_shift(level)) & mask;
}

static uint64_t get_entry(uint64_t at)
{
	if (entry_bytes() == 4)
		return *(volatile uint32_t *)(word)at;
	return *(volatile uint64_t *)(word)at;
}

static void put_entry(uint64_t at, uint64_t value)
{
	if (entry_bytes() == 4)
		*(volatile uint32_t *)(word)at = (uint32_t)value;
	else
		*(volatile uint64_t *)(word)at = value;
}

/* ---- Entries ---- */

static uint64_t some(unsigned chance, uint64_t bits)
{
	return percent(chance) ? bits : 0;
}

/* Bits that any present entry may have; @tame: none that would make an access fail. */
static uint64_t common_bits(bool tame)
{
	uint64_t bits = random64() & (X86_PTE_PWT | X86_PTE_PCD | X86_PTE_A | X86_PTE_D | 7u << 9);

	bits |= some(tame ? 100 : 95, X86_PTE_P);
	bits |= some(tame ? 100 : 70, X86_PTE_RW);
	bits |= some(tame ? 60 : 75, X86_PTE_US);
	if (machine.mode == ORACLE_32BIT)
		return bits;
	bool nxe = read_msr(MSR_EFER) & X86_EFER_NXE;
	bits |= some(tame ? 0 : nxe ? 15 : 2, X86_PTE_XD);
	bits |= some(tame ? 0 : 2, 1ull << (40 + random_below(12)));
	if (wide())
		bits |= random64() & 0x7ff0000000000000ull;
	else
		bits |= some(tame ? 0 : 2, 1ull << (52 + random_below(11)));
	return bits;
}

static uint64_t table_entry(unsigned path, unsigned level, bool tame)
{
	unsigned number =
		(path * ORACLE_LEVELS + level) * TABLE_CHOICES + random_below(TABLE_CHOICES);
	uint64_t table = ORACLE_TABLES + number * 4096u, bits;

	if (machine.mode == ORACLE_PAE && level == 2)
		return table | some(96, X86_PTE_P) |
		       (random32() & (X86_PTE_PWT | X86_PTE_PCD | 7u << 9));
	bits = common_bits(tame) | (random32() & X86_PTE_G);
	if (level > 2)
		bits |= some(tame ? 0 : 2, X86_PTE_PS);
	else if (machine.mode == ORACLE_32BIT && !(read_cr4() & X86_CR4_PSE))
		bits |= some(50, X86_PTE_PS);
	return table | bits;
}

/* Physical address bits 38:32 of a 4 MiB page, at 19:13 of its entry: where no machine here has
 * RAM. Address bit 39 is reserved on the smaller ones. */
static uint64_t random_pse36_bits(void)
{
	return (uint64_t)random_below(128) << 13;
}

static uint64_t pse36_place(uint64_t entry)
{
	return (entry & 0xfe000) << (32 - 13);
}

static uint64_t leaf_entry(unsigned level, uint64_t place, bool tame)
{
	unsigned shift = level_shift(level);
	uint64_t bits = common_bits(tame) | some(30, X86_PTE_G);

	if (level == 0) {
		bits |= random32() & X86_PTE_PAT;
	} else {
		bits |= X86_PTE_PS | (random32() & X86_PTE_LARGE_PAT);
		if (machine.mode == ORACLE_32BIT)
			bits |= some(tame ? 0 : 3, 1u << 21) | some(10, random_pse36_bits());
		else
			bits |= some(tame ? 0 : 3, 1u << (13 + random_below(shift - 13)));
	}
	return place >> shift << shift | bits;
}

static unsigned choose_leaf_level(uint64_t va)
{
	unsigned choice = random_below(10);
	uint64_t in_gib = va & 0x3fffffff;

	if (machine.mode == ORACLE_32BIT)
		return read_cr4() & X86_CR4_PSE ? choice < 4 : 0;
	if (wide() && machine.page1g && choice < 2 && in_gib >= ORACLE_POOL &&
	    in_gib < ORACLE_POOL + ORACLE_POOL_BYTES - 4096)
		return 2;
	return choice < 5;
}

/* A path for @va, sharing the entries of path 0 that both go through. */
static void build_path(struct test_case *test, unsigned number, uint64_t va, uint64_t place)
{
	struct path *path = &test->path[number];
	bool tame = percent(40);
	uint64_t table = machine.root;

	path->leaf_level = choose_leaf_level(va);
	for (unsigned level = top_level();; level--) {
		uint64_t at = table + level_index(level, va) * entry_bytes(), value;
		bool shared = number == 1 && test->path[0].entry[level].at == at;
		if (shared) {
			value = test->path[0].entry[level].before;
			if (level == test->path[0].leaf_level)
				path->leaf_level = level;
			else if (level == path->leaf_level)
				path->leaf_level = level - 1;
		} else if (level == path->leaf_level) {
			value = leaf_entry(level, place, tame);
		} else {
			value = table_entry(number, level, tame);
		}
		path->entry[level] = (struct oracle_entry){ at, value, 0 };
		put_entry(at, value);
		if (level == path->leaf_level) {
			uint64_t mask = (1ull << level_shift(level)) - 1;
			if (shared)
				path->place = test->path[0].place + (va - test->va);
			else
				path->place = (place & ~mask) | (va & mask);
			if (!shared && machine.mode == ORACLE_32BIT && level == 1)
				path->place |= pse36_place(value);
			return;
		}
		table = value & (machine.mode == ORACLE_32BIT ? 0xfffff000u : 0xfffffff000ull);
		table &= 0x3ffffff; /* whatever reserved bits say: where the tables are */
	}
}

static void clear_paths(const struct test_case *test)
{
	for (unsigned p = 0; p < 2; p++)
		for (unsigned level = 0; level < ORACLE_LEVELS; level++)
			if (test->path[p].entry[level].at)
				put_entry(test->path[p].entry[level].at, 0);
}

/* ---- Cases ---- */

static uint64_t sign_extend(uint64_t va)
{
	unsigned unused = machine.mode == ORACLE_5LEVEL ? 7 : 16;

	return wide() ? (uint64_t)((int64_t)(va << unused) >> unused) : (uint32_t)va;
}

/* Not in what the image keeps for itself: the first entry of the root (in 32-bit mode, 64). */
static uint64_t random_upper_bits(void)
{
	uint64_t va;

	do
		va = wide() ? random64() : random32();
	while (level_index(top_level(), va) < (machine.mode == ORACLE_32BIT ? 64u : 1u) ||
	       level_index(top_level(), va) == level_index(top_level(), ~0ull));
	return va;
}

/* A page that ends where canonical addresses do. Nothing can be mapped behind it. */
static void new_boundary_case(struct test_case *test)
{
	unsigned bits = machine.mode == ORACLE_5LEVEL ? 57 : 48;
	uint64_t place = ORACLE_POOL + (1 + random_below(7)) * 0x200000ull;

	test->canonical = true;
	test->left_in_page = 1 + random_below(7);
	test->va = (1ull << (bits - 1)) - test->left_in_page;
	build_path(test, 0, test->va, place - test->left_in_page);
}

static void new_case(struct test_case *test)
{
	uint64_t place = ORACLE_POOL + (random_below(ORACLE_POOL_BYTES - 0x4000) & ~7u);
	uint64_t gib = 0x3fffffff;

	memset(test, 0, sizeof(*test));
	if (wide() && percent(2)) {
		new_boundary_case(test);
		return;
	}
	if (percent(15)) {
		test->left_in_page = 1 + random_below(7);
		place = (place | 0xfff) + 1 - test->left_in_page;
	}
	/* The low 30 bits as in the physical address: a leaf of any size can lead there. */
	test->va = sign_extend((random_upper_bits() & ~gib) | (place & gib));
	if (!wide())
		test->va = (uint32_t)((random_upper_bits() & ~0x3fffffull) | (place & 0x3fffff));
	build_path(test, 0, test->va, place);
	if (test->left_in_page) {
		uint64_t second = ORACLE_POOL +
				  (random_below(ORACLE_POOL_BYTES - 0x4000) & ~0x3fffffu) +
				  ((place + test->left_in_page) & 0x3fffff);
		build_path(test, 1, test->va + test->left_in_page, second);
	}
	test->canonical = !wide() || !percent(2);
	if (!test->canonical)
		test->va ^= 1ull << (machine.mode == ORACLE_5LEVEL ? 57 + random_below(7)
								   : 48 + random_below(16));
}

static void random_registers(void)
{
	word cr4 = read_cr4() & ~(word)(X86_CR4_SMEP | X86_CR4_SMAP);

	cr4 |= machine.smep && percent(40) ? X86_CR4_SMEP : 0;
	cr4 |= machine.smap && percent(40) ? X86_CR4_SMAP : 0;
#ifdef __x86_64__
	cr4 &= ~(word)(X86_CR4_PKE | X86_CR4_PKS);
	cr4 |= machine.pku && percent(50) ? X86_CR4_PKE : 0;
	cr4 |= machine.pks && percent(50) ? X86_CR4_PKS : 0;
#endif
	write_cr4(cr4);
	write_cr0((read_cr0() & ~(word)X86_CR0_WP) | (percent(50) ? X86_CR0_WP : 0));
}

/* Between cases: what needs a flush, or decides how entries are made. */
static void random_formats(void)
{
	if (machine.mode == ORACLE_32BIT)
		write_cr4((read_cr4() & ~(word)X86_CR4_PSE) | (percent(75) ? X86_CR4_PSE : 0));
	else if (machine.nx)
		write_msr(MSR_EFER,
			  (read_msr(MSR_EFER) & ~X86_EFER_NXE) | (percent(75) ? X86_EFER_NXE : 0));
}

/* ---- One access ---- */

static void set_keys(struct oracle_record *r)
{
	r->pkru = random32() & random32();
	r->pkrs = random32() & random32() & ~3u; /* key 0 is the image's own */
	if (read_cr4() & X86_CR4_PKE)
		write_pkru(r->pkru);
	if (machine.pks)
		write_msr(MSR_PKRS, r->pkrs);
	else
		r->pkrs = 0;
}

/* There is nothing to execute there, nor a descriptor. */
static bool beyond_ram(const struct test_case *test)
{
	return (test->path[0].place | test->path[1].place) >> 32;
}

static enum oracle_type random_type(const struct test_case *test)
{
	unsigned choice = random_below(100);

	if (choice < 35)
		return ORACLE_READ;
	if (choice < 65)
		return ORACLE_WRITE;
	if (choice < 77 || beyond_ram(test))
		return ORACLE_RMW;
	if (choice < 92 || test->left_in_page || !test->canonical)
		return ORACLE_FETCH;
	return ORACLE_IMPLICIT;
}

static bool in_pool(uint64_t place)
{
	return place >= ORACLE_POOL && place < ORACLE_POOL + ORACLE_POOL_BYTES;
}

/* Byte @i of an operand, seen through the identity map; NULL where no RAM of the test is. */
static volatile uint8_t *operand_byte(const struct test_case *test, unsigned i)
{
	unsigned left = test->left_in_page ? test->left_in_page : 8;
	uint64_t place = i < left ? test->path[0].place + i : test->path[1].place + (i - left);

	return in_pool(place) ? (volatile uint8_t *)(word)place : 0;
}

static void restore_pool(uint64_t place)
{
	for (uint64_t at = place & ~7ull; at < place + 8; at += 8)
		if (in_pool(at))
			*(volatile uint64_t *)(word)at = at;
}

static void put_code(const struct test_case *test)
{
	for (unsigned i = 0; i < 2; i++) {
		volatile uint8_t *byte = operand_byte(test, i);
		if (byte)
			*byte = (uint8_t)(CODE_INT80 >> 8 * i);
	}
}

static void perform_access(const struct test_case *test, struct oracle_record *r)
{
	word flags = FLAGS_FIXED | (r->ac ? FLAGS_AC : 0);
	unsigned log2 = r->size == 8 ? 3 : r->size == 4 ? 2 : r->size == 2 ? 1 : 0;
	unsigned rmw = percent(50) ? STUB_OR : STUB_CMPXCHG;
	const unsigned stub[] = { STUB_READ + log2, STUB_WRITE + log2, STUB_FETCH, rmw + log2,
				  STUB_LAR };
	uint64_t value = r->written;

	if (r->type == ORACLE_FETCH)
		put_code(test);
	if (r->type == ORACLE_IMPLICIT) {
		machine_set_ldt(r->va - 8);
		value = 0xc; /* LDT, index 1 */
	}
	write_cr2(0);
	machine_perform((enum stub)stub[r->type], r->va, value, random32(), r->cpl == 3, flags);
	r->vector = (uint32_t)result_vector;
	r->error_code = (uint32_t)result_error;
	r->cr2 = result_cr2;
	r->value = result_value;
	if (r->type == ORACLE_WRITE) {
		r->value = 0;
		for (unsigned i = 0; i < r->size; i++) {
			const volatile uint8_t *byte = operand_byte(test, i);
			r->value |= (uint64_t)(byte ? *byte : 0) << 8 * i;
		}
	}
}

static void note_entries(const struct test_case *test, struct oracle_record *r, bool after)
{
	for (unsigned p = 0; p < 2; p++) {
		for (unsigned level = 0; level < ORACLE_LEVELS; level++) {
			struct oracle_entry *entry = &r->path[p][level];
			entry->at = test->path[p].entry[level].at;
			if (!entry->at)
				continue;
			if (after)
				entry->after = get_entry(entry->at);
			else
				entry->before = get_entry(entry->at);
		}
	}
}

static void one_access(const struct test_case *test, unsigned seq, struct oracle_record *r)
{
	memset(r, 0, sizeof(*r));
	r->magic = ORACLE_MAGIC;
	r->mode = (uint8_t)machine.mode;
	r->type = (uint8_t)random_type(test);
	r->size = r->type == ORACLE_FETCH      ? 2
		  : r->type == ORACLE_IMPLICIT ? 8
					       : (uint8_t)(1u << random_below(wide() ? 4 : 3));
	r->cpl = percent(50) ? 3 : 0;
	r->ac = percent(30);
	r->leaf_level = (uint8_t)test->path[0].leaf_level;
	r->cross = test->left_in_page && test->left_in_page < r->size;
	r->seq = (uint8_t)seq;
	r->number = recorded;
	r->va = test->va;
	r->written = random64();
	r->place[0] = test->path[0].place;
	r->place[1] = test->path[1].place;
	random_registers();
	set_keys(r);
	r->cr0 = read_cr0();
	r->cr3 = read_cr3();
	r->cr4 = read_cr4();
	r->efer = machine.nx ? read_msr(MSR_EFER) : 0;
	note_entries(test, r, false);
	perform_access(test, r);
	note_entries(test, r, true);
	restore_pool(test->path[0].place);
	if (test->left_in_page)
		restore_pool(test->path[1].place);
}

void emit(const struct oracle_record *r)
{
	const uint8_t *bytes = (const uint8_t *)r;

	if (CONFIG->output == ORACLE_TO_PORT_E9)
		for (unsigned i = 0; i < sizeof(*r); i++)
			write_port(0xe9, bytes[i]);
	recorded++;
}

void oracle_main(void);
void oracle_main(void)
{
	struct test_case test;

	random_state = CONFIG->seed * 0x9e3779b97f4a7c15ull + 1;
	machine_init(&machine, (enum oracle_mode)CONFIG->mode);
	for (uint32_t at = ORACLE_POOL; at < ORACLE_POOL + ORACLE_POOL_BYTES; at += 8)
		*(volatile uint64_t *)(word)at = at;
	if (machine.mode == ORACLE_SEGMENTS)
		run_segments(CONFIG->accesses);
	while (recorded < CONFIG->accesses) {
		random_formats();
		new_case(&test);
		machine_flush(&machine);
		unsigned accesses = 1 + random_below(4);
		for (unsigned seq = 0; seq < accesses && recorded < CONFIG->accesses; seq++) {
			struct oracle_record *r = &to_port;
			if (CONFIG->output == ORACLE_TO_MEMORY)
				r = (struct oracle_record *)(word)ORACLE_RECORDS + recorded;
			one_access(&test, seq, r);
			emit(r);
		}
		clear_paths(&test);
	}
	machine_stop();
}
