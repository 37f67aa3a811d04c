/*
 * oracle.c - one walk, spelled out. Rule numbers are those of the x86 paging rules.
 */
#include "tests/mmu/oracle.h"

static bool bit(uint64_t value, unsigned n)
{
	return value >> n & 1;
}

/* Is any of bits [high:low] set? An empty range has none. */
static bool any(uint64_t value, unsigned high, unsigned low)
{
	if (high < low)
		return false;
	return (value >> low) << (63 - (high - low)) != 0;
}

static bool cr4(const struct oracle_case *c, uint64_t flag)
{
	return (c->state.cr4 & flag) != 0;
}

static bool long_mode(const struct oracle_case *c)
{
	return c->mode == MMU_MODE_4LEVEL || c->mode == MMU_MODE_5LEVEL;
}

/* Rule 3, the column "leaf sizes" of rule 2. */
static bool is_leaf(const struct oracle_case *c, unsigned level, uint64_t entry)
{
	if (level == 0)
		return true;
	if (!bit(entry, 7))
		return false;
	if (level == 1)
		return c->mode != MMU_MODE_32BIT || cr4(c, X86_CR4_PSE);
	return level == 2 && long_mode(c) && c->features->page1g;
}

/* Rule 3, the column "reserved" of 32-bit entries. */
static bool reserved_32bit(const struct oracle_case *c, unsigned level, uint64_t entry)
{
	unsigned m = c->maxphyaddr > 40 ? 40 : c->maxphyaddr;

	if (level == 0 || !is_leaf(c, level, entry))
		return false;
	return c->features->pse36 ? any(entry, 21, m - 19) : any(entry, 21, 13);
}

/* Rule 3, the column "reserved" of 8-byte entries in memory. */
static bool reserved_8byte(const struct oracle_case *c, unsigned level, uint64_t entry)
{
	if (bit(entry, 63) && !(c->state.efer & X86_EFER_NXE))
		return true;
	if (any(entry, long_mode(c) ? 51 : 62, c->maxphyaddr)) /* 3.2 */
		return true;
	if (level >= 3)
		return bit(entry, 7);
	if (level == 2 && bit(entry, 7))
		return !c->features->page1g || any(entry, 29, 13);
	if (level == 1 && bit(entry, 7))
		return any(entry, 20, 13);
	return false;
}

/* 5.4, 5.5, 6.2: does the key deny? */
static bool key_denies(const struct oracle_case *c, uint64_t leaf, bool user_page)
{
	bool user_access = c->context == MMU_USER;
	bool write = c->kind == MMU_WRITE || c->kind == MMU_RMW;
	bool wp = (c->state.cr0 & X86_CR0_WP) != 0;
	unsigned key = leaf >> 59 & 15;
	uint32_t rights = user_page ? c->state.pkru : c->state.pkrs;

	if (!long_mode(c) || c->kind == MMU_FETCH)
		return false;
	if (user_page ? !cr4(c, X86_CR4_PKE) : !cr4(c, X86_CR4_PKS) || user_access)
		return false;
	if (bit(rights, 2 * key))
		return true;
	return write && bit(rights, 2 * key + 1) && (wp || (user_page && user_access));
}

/* The table of rule 5 but for keys. */
static bool rights_allow(const struct oracle_case *c, bool rw, bool user_page, bool xd)
{
	bool write = c->kind == MMU_WRITE || c->kind == MMU_RMW;
	bool wp = (c->state.cr0 & X86_CR0_WP) != 0;

	if (c->context == MMU_USER) {
		if (!user_page)
			return false;
		if (c->kind == MMU_FETCH)
			return !xd;
		return !write || rw;
	}
	if (c->kind == MMU_FETCH)
		return !xd && !(user_page && cr4(c, X86_CR4_SMEP));
	if (user_page && cr4(c, X86_CR4_SMAP) && c->context != MMU_SUPERVISOR_AC)
		return false;
	return !write || rw || !wp;
}

/* 6.1: the bits that describe the access. */
static uint32_t access_bits(const struct oracle_case *c)
{
	uint32_t code = 0;

	if (c->kind == MMU_WRITE || c->kind == MMU_RMW)
		code |= X86_PF_W;
	if (c->context == MMU_USER)
		code |= X86_PF_U;
	if (c->kind == MMU_FETCH &&
	    (cr4(c, X86_CR4_SMEP) || (cr4(c, X86_CR4_PAE) && (c->state.efer & X86_EFER_NXE))))
		code |= X86_PF_I;
	return code;
}

static uint64_t leaf_address(const struct oracle_case *c, unsigned level, uint64_t leaf)
{
	unsigned shift = 12 + level * (c->mode == MMU_MODE_32BIT ? 10 : 9);
	uint64_t offset = c->va & ((1ull << shift) - 1);
	uint64_t page;

	if (c->mode == MMU_MODE_32BIT)
		page = leaf & 0xfffff000u & ~((1ull << shift) - 1);
	else
		page = leaf & ((1ull << c->maxphyaddr) - 1) & ~((1ull << shift) - 1);
	if (c->mode == MMU_MODE_32BIT && level == 1 && c->features->pse36) {
		unsigned m = c->maxphyaddr > 40 ? 40 : c->maxphyaddr;

		for (unsigned address_bit = 32; address_bit < m; address_bit++)
			page |= (uint64_t)bit(leaf, address_bit - 19) << address_bit;
	}
	return page | offset;
}

static unsigned top_level(const struct oracle_case *c)
{
	switch (c->mode) {
	case MMU_MODE_5LEVEL:
		return 4;
	case MMU_MODE_4LEVEL:
		return 3;
	case MMU_MODE_PAE:
		return 2;
	default:
		return 1;
	}
}

void oracle_ask(const struct oracle_case *c, struct oracle_answer *a)
{
	bool rw = true, user_page = true, xd = false, key;
	unsigned level = top_level(c);

	a->error_code = access_bits(c);
	a->fault = true;
	for (unsigned l = 0; l < MMU_LEVELS_MAX; l++)
		a->after[l] = c->entry[l];
	for (;; level--) {
		uint64_t entry = c->entry[level];
		bool reg = c->mode == MMU_MODE_PAE && level == 2; /* 8.3: no rights, no A */

		a->leaf_level = level;
		if (!bit(entry, 0)) /* 4.2 */
			return;
		if (reg)
			continue;
		if (c->mode == MMU_MODE_32BIT ? reserved_32bit(c, level, entry)
					      : reserved_8byte(c, level, entry)) {
			a->error_code |= X86_PF_P | X86_PF_RSVD;
			return;
		}
		rw = rw && bit(entry, 1); /* 4.4 */
		user_page = user_page && bit(entry, 2);
		xd = xd || (c->mode != MMU_MODE_32BIT && bit(entry, 63));
		if (is_leaf(c, level, entry))
			break;
		a->after[level] |= 1u << 5; /* 7.1; on a fault below: 7.2, eager */
	}
	key = key_denies(c, c->entry[level], user_page); /* 4.5 */
	if (key || !rights_allow(c, rw, user_page, xd)) {
		a->error_code |= X86_PF_P | (key ? X86_PF_PK : 0);
		return;
	}
	a->fault = false;
	a->error_code = 0;
	a->paddr = leaf_address(c, level, c->entry[level]);
	a->after[level] |= 1u << 5;
	if (c->kind == MMU_WRITE || c->kind == MMU_RMW)
		a->after[level] |= 1u << 6;
}
