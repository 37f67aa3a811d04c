/*
 * control.c - the legality of control-register values, and the tables derived from them.
 *
 * Every question of the form "which mode, which feature, which bit of CR4" is answered here once a
 * register write, and leaves masks and tables behind:
 *
 *     registers --check--> state --derive--> geometry, reserved[level][PS], verdict[context][kind]
 *
 * A walk then tests `entry & reserved[level][ps]`; a hit tests one bit of `allow` and of `deny`.
 * What is cached are raw attributes, so a change of WP, SMEP, SMAP, PKRU or PKRS needs new tables
 * and no flush (5.7).
 *
 * Sources: Intel SDM volume 3, 2.5 (registers), 4.1 (modes), 4.3-4.5 (entries), 4.6 (rights),
 * 4.10.4.1 (what a write invalidates). Rule numbers in the comments name the same things in tests.
 */
#include "mmu/control.h"
#include "mmu/memory.h"

/*
 * CR4 bits that have nothing to do with paging and exist on every configuration: VME, PVI, TSD, DE
 * (3:0), MCE (6), PCE, OSFXSR, OSXMMEXCPT, UMIP (11:8), VMXE, SMXE (14:13), FSGSBASE (16),
 * OSXSAVE (18).
 */
#define CR4_OTHER 0x56f4full

#define BITS(high, low) ((~0ull >> (63 - (high))) & (~0ull << (low)))

#define PDPTE_RESERVED_LOW (BITS(2, 1) | BITS(8, 5))

static uint64_t cr4_legal(const struct mmu_features *f)
{
	return CR4_OTHER | (f->pse ? X86_CR4_PSE : 0) | (f->pae ? X86_CR4_PAE : 0) |
	       (f->pge ? X86_CR4_PGE : 0) | (f->la57 ? X86_CR4_LA57 : 0) |
	       (f->pcid ? X86_CR4_PCIDE : 0) | (f->smep ? X86_CR4_SMEP : 0) |
	       (f->smap ? X86_CR4_SMAP : 0) | (f->pku ? X86_CR4_PKE : 0) |
	       (f->pks ? X86_CR4_PKS : 0);
}

static uint64_t efer_legal(const struct mmu_features *f)
{
	return X86_EFER_SCE | (f->long_mode ? X86_EFER_LME | X86_EFER_LMA : 0) |
	       (f->nx ? X86_EFER_NXE : 0);
}

static bool long_active(const struct mmu_state *s)
{
	return (s->cr0 & X86_CR0_PG) && (s->efer & X86_EFER_LME);
}

static bool pae_active(const struct mmu_state *s)
{
	return (s->cr0 & X86_CR0_PG) && (s->cr4 & X86_CR4_PAE) && !(s->efer & X86_EFER_LME);
}

/* May the registers hold this combination? (1.3) */
static bool legal(const struct mmu_state *s, const struct mmu_config *config)
{
	bool paging = s->cr0 & X86_CR0_PG;
	unsigned cr3_bits = long_active(s) ? config->maxphyaddr : 32;

	if ((s->cr0 >> 32) || (s->cr4 & ~cr4_legal(&config->features)) ||
	    (s->efer & ~efer_legal(&config->features)) || (s->cr3 >> cr3_bits))
		return false;
	if ((paging && !(s->cr0 & X86_CR0_PE)) || ((s->cr0 & X86_CR0_NW) && !(s->cr0 & X86_CR0_CD)))
		return false;
	if (long_active(s))
		return s->cr4 & X86_CR4_PAE;
	return !(s->cr4 & X86_CR4_PCIDE) && !s->code64;
}

/* Load the four PDPTEs (8.1). False: a present one has a reserved bit (8.2). */
static bool load_pdptes(uint64_t pdpte[4], const struct mmu_state *s,
			const struct mmu_config *config, const struct mmu_memory *ram)
{
	uint64_t reserved = PDPTE_RESERVED_LOW | BITS(63, config->maxphyaddr);

	for (unsigned i = 0; i < 4; i++) {
		pdpte[i] = memory_entry_read(ram, (s->cr3 & BITS(31, 5)) + 8 * i, 3);
		if ((pdpte[i] & X86_PTE_P) && (pdpte[i] & reserved))
			return false;
	}
	return true;
}

/* 32-bit paging (3, rows "32 ..."). */
static void derive_32bit(struct control *c, const struct mmu_config *config)
{
	const struct mmu_features *f = &config->features;
	unsigned m = config->maxphyaddr < 40 ? config->maxphyaddr : 40;

	c->mode = MMU_MODE_32BIT;
	c->levels = 2;
	c->entry_shift = 2;
	c->index_bits = 10;
	c->large_shift = 22;
	c->root = c->state.cr3 & BITS(31, 12);
	c->address_mask = BITS(31, 12);
	c->leaf_levels = c->state.cr4 & X86_CR4_PSE ? 1 << 1 : 0;
	if (!c->leaf_levels)
		return;
	/* PSE-36: bits [m-20:13] are physical address bits [m-1:32]. */
	if (f->pse36 && m > 32)
		c->pse36_mask = BITS(m - 20, 13);
	c->reserved[1][1] = BITS(21, 13) & ~c->pse36_mask;
}

/* What PAE, 4-level and 5-level paging have in common. */
static void derive_8byte(struct control *c, const struct mmu_config *config)
{
	const struct mmu_features *f = &config->features;
	bool pae = c->mode == MMU_MODE_PAE;
	/* 3.2: bits 62:52 are reserved in PAE mode, ignored in long mode. */
	uint64_t reserved =
		pae || config->maxphyaddr < 52 ? BITS(pae ? 62 : 51, config->maxphyaddr) : 0;

	if (!(c->state.efer & X86_EFER_NXE))
		reserved |= X86_PTE_XD;
	c->entry_shift = 3;
	c->index_bits = 9;
	c->large_shift = 21;
	c->address_mask = BITS(config->maxphyaddr - 1, 12);
	c->leaf_levels = 1 << 1 | (!pae && f->page1g ? 1 << 2 : 0);
	for (unsigned level = 0; level < MMU_LEVELS_MAX; level++) {
		c->reserved[level][0] = reserved;
		c->reserved[level][1] = reserved | (level > 1 ? X86_PTE_PS : 0);
	}
	c->reserved[1][1] |= BITS(20, 13);
	if (f->page1g)
		c->reserved[2][1] = reserved | BITS(29, 13);
}

static void derive_geometry(struct control *c, const struct mmu_config *config)
{
	const struct mmu_state *s = &c->state;

	c->mode = MMU_MODE_NONE;
	c->levels = 0;
	c->leaf_levels = 0;
	c->pse36_mask = 0;
	c->canonical_bits = 0;
	c->pcid = s->cr4 & X86_CR4_PCIDE ? s->cr3 & X86_CR3_PCID : 0;
	for (unsigned level = 0; level < MMU_LEVELS_MAX; level++)
		c->reserved[level][0] = c->reserved[level][1] = 0;
	if (long_active(s)) {
		bool la57 = s->cr4 & X86_CR4_LA57;

		c->mode = la57 ? MMU_MODE_5LEVEL : MMU_MODE_4LEVEL;
		c->levels = la57 ? 5 : 4;
		derive_8byte(c, config);
		c->root = s->cr3 & c->address_mask;
		if (s->code64)
			c->canonical_bits = la57 ? 57 : 48;
	} else if (pae_active(s)) {
		c->mode = MMU_MODE_PAE;
		c->levels = 2;
		derive_8byte(c, config);
		c->root = s->cr3 & BITS(31, 5);
	} else if (s->cr0 & X86_CR0_PG) {
		derive_32bit(c, config);
	}
	c->linear_mask = c->canonical_bits ? ~0ull : BITS(31, 0);
	if (!config->features.pat) { /* 3.4 */
		c->reserved[0][0] |= X86_PTE_PAT;
		c->reserved[1][1] |= c->leaf_levels & 1 << 1 ? X86_PTE_LARGE_PAT : 0;
		c->reserved[2][1] |= c->leaf_levels & 1 << 2 ? X86_PTE_LARGE_PAT : 0;
	}
	c->reserved[0][1] = c->reserved[0][0];
	c->leaves = 3; /* level 0, whatever bit 7 is there */
	for (unsigned level = 1; level < MMU_LEVELS_MAX; level++)
		c->leaves |= (uint16_t)((c->leaf_levels >> level & 1) << (2 * level + 1));
	c->canonical_half = c->canonical_bits ? 1ull << (c->canonical_bits - 1) : 0;
	c->canonical_high = c->canonical_bits ? ~0ull << c->canonical_bits : 0;
}

/* The table of section 5 without protection keys: one line of it. */
static bool allowed(const struct mmu_state *s, unsigned context, unsigned kind, unsigned rights)
{
	bool user_page = rights & MMU_RIGHT_U;
	bool smap_denies = user_page && (s->cr4 & X86_CR4_SMAP) && context != MMU_SUPERVISOR_AC;
	bool smep_denies = user_page && (s->cr4 & X86_CR4_SMEP);

	if (kind == MMU_FETCH) {
		if (context == MMU_USER ? !user_page : smep_denies)
			return false;
		return rights & MMU_RIGHT_X;
	}
	if (context == MMU_USER ? !user_page : smap_denies)
		return false;
	if (kind == MMU_READ || (rights & MMU_RIGHT_W))
		return true;
	return context != MMU_USER && !(s->cr0 & X86_CR0_WP);
}

/* Keys whose access-disable bit, or for writes write-disable bit, is set in a PKRU-like register.
 */
static uint16_t keys_denied(uint32_t key_rights, bool writes)
{
	uint16_t denied = 0;

	for (unsigned key = 0; key < 16; key++) {
		unsigned bits = key_rights >> (2 * key) & 3; /* 0: AD, 1: WD */

		if ((bits & 1) || (writes && (bits & 2)))
			denied |= (uint16_t)(1 << key);
	}
	return denied;
}

/* 5.4 and 5.5; a user access to a supervisor page never looks at PKRS (6.2: our choice). */
static void derive_keys(struct control_verdict *v, const struct mmu_state *s, unsigned context,
			unsigned kind)
{
	bool user = context == MMU_USER;
	bool write = kind == MMU_WRITE;
	bool wp = s->cr0 & X86_CR0_WP;

	v->deny[0] = v->deny[1] = 0;
	if (kind == MMU_FETCH || !long_active(s))
		return;
	if (s->cr4 & X86_CR4_PKE)
		v->deny[1] = keys_denied(s->pkru, write && (user || wp));
	if ((s->cr4 & X86_CR4_PKS) && !user)
		v->deny[0] = keys_denied(s->pkrs, write && wp);
}

static void derive_verdicts(struct control *c)
{
	const struct mmu_state *s = &c->state;
	bool fetch_bit =
		(s->cr4 & X86_CR4_SMEP) || ((s->cr4 & X86_CR4_PAE) && (s->efer & X86_EFER_NXE));

	for (unsigned context = 0; context < CONTROL_CONTEXTS; context++) {
		for (unsigned kind = 0; kind < CONTROL_KINDS; kind++) {
			struct control_verdict *v = &c->verdict[context][kind];

			v->allow = 0;
			for (unsigned rights = 0; rights < CONTROL_RIGHTS; rights++)
				v->allow |= (uint8_t)(allowed(s, context, kind, rights) << rights);
			v->error_code = (uint8_t)((kind == MMU_WRITE ? X86_PF_W : 0) |
						  (context == MMU_USER ? X86_PF_U : 0) |
						  (kind == MMU_FETCH && fetch_bit ? X86_PF_I : 0));
			derive_keys(v, s, context, kind);
		}
	}
}

void control_derive(struct control *c, const struct mmu_config *config)
{
	c->state.efer &= ~X86_EFER_LMA;
	if (long_active(&c->state))
		c->state.efer |= X86_EFER_LMA;
	else
		c->state.code64 = false;
	derive_geometry(c, config);
	derive_verdicts(c);
}

/* Make @next the state, loading PDPTEs if @load says so. False: #GP, nothing changed. */
static bool commit(struct control *c, const struct mmu_config *config, const struct mmu_memory *ram,
		   const struct mmu_state *next, bool load)
{
	uint64_t pdpte[4];

	if (!legal(next, config))
		return false;
	if (load && pae_active(next)) {
		if (!load_pdptes(pdpte, next, config, ram))
			return false;
		for (unsigned i = 0; i < 4; i++)
			c->pdpte[i] = pdpte[i];
	}
	c->state = *next;
	control_derive(c, config);
	return true;
}

bool control_load(struct control *c, const struct mmu_config *config, struct mmu_memory *ram,
		  const struct mmu_state *state)
{
	return commit(c, config, ram, state, true);
}

bool control_write_cr0(struct control *c, const struct mmu_config *config, struct mmu_memory *ram,
		       uint64_t value, enum control_flush *flush)
{
	struct mmu_state next = c->state;
	uint64_t changed;

	next.cr0 = c->state.code64 ? value : (uint32_t)value;
	changed = next.cr0 ^ c->state.cr0;
	if ((changed & X86_CR0_PG) && !(next.cr0 & X86_CR0_PG)) {
		if (c->state.code64 || (c->state.cr4 & X86_CR4_PCIDE))
			return false;
		*flush = CONTROL_FLUSH_ALL;
	} else {
		*flush = changed & X86_CR0_WP ? CONTROL_RIGHTS_CHANGED : CONTROL_KEEP;
	}
	return commit(c, config, ram, &next, changed & (X86_CR0_CD | X86_CR0_NW | X86_CR0_PG));
}

bool control_write_cr3(struct control *c, const struct mmu_config *config, struct mmu_memory *ram,
		       uint64_t value, enum control_flush *flush)
{
	struct mmu_state next = c->state;
	bool pcids = c->state.cr4 & X86_CR4_PCIDE;

	next.cr3 = c->state.code64 ? value : (uint32_t)value;
	*flush = CONTROL_FLUSH_PCID;
	if (pcids && (next.cr3 & X86_CR3_NO_FLUSH)) {
		next.cr3 &= ~X86_CR3_NO_FLUSH;
		*flush = CONTROL_RIGHTS_CHANGED; /* other PCID: other entries are valid */
	}
	return commit(c, config, ram, &next, true);
}

bool control_write_cr4(struct control *c, const struct mmu_config *config, struct mmu_memory *ram,
		       uint64_t value, enum control_flush *flush)
{
	const uint64_t reload = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PSE | X86_CR4_SMEP;
	struct mmu_state next = c->state;
	uint64_t changed, set;

	next.cr4 = c->state.code64 ? value : (uint32_t)value;
	changed = next.cr4 ^ c->state.cr4;
	set = changed & next.cr4;
	if (long_active(&c->state) && (changed & (X86_CR4_PAE | X86_CR4_LA57)))
		return false;
	if ((set & X86_CR4_PCIDE) && (c->state.cr3 & X86_CR3_PCID))
		return false;
	/* PAE cannot change while PCIDs are in use: "all of the current PCID" is everything. */
	if ((changed & (X86_CR4_PGE | X86_CR4_PAE)) || (changed & ~set & X86_CR4_PCIDE))
		*flush = CONTROL_FLUSH_ALL;
	else if (set & X86_CR4_SMEP)
		*flush = CONTROL_FLUSH_PCID_GLOBAL;
	else
		*flush = changed ? CONTROL_RIGHTS_CHANGED : CONTROL_KEEP;
	return commit(c, config, ram, &next, changed & reload);
}

bool control_write_efer(struct control *c, const struct mmu_config *config, uint64_t value,
			enum control_flush *flush)
{
	struct mmu_state next = c->state;

	next.efer = (value & ~X86_EFER_LMA) | (c->state.efer & X86_EFER_LMA); /* LMA: read only */
	if ((c->state.cr0 & X86_CR0_PG) && ((next.efer ^ c->state.efer) & X86_EFER_LME))
		return false;
	*flush = CONTROL_RIGHTS_CHANGED;
	return commit(c, config, NULL, &next, false);
}
