/*
 * machine.h - the image's own ground: descriptor tables, the identity map, single accesses.
 */
#ifndef KMEMLAB_TESTS_ORACLE_IMAGE_MACHINE_H
#define KMEMLAB_TESTS_ORACLE_IMAGE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/oracle/image/cpu.h"
#include "tests/oracle/record.h"

/* Numbers of the stubs in entry.asm: base + log2 of the size. */
enum stub {
	STUB_READ = 0,
	STUB_WRITE = 4,
	STUB_OR = 8,
	STUB_CMPXCHG = 12,
	STUB_FETCH = 16,
	STUB_LAR = 17,
	/* The 32-bit image: load a selector, then access through it. */
	STUB_ES_READ = 18,
	STUB_ES_WRITE = 21,
	STUB_SS_READ = 24,
	STUB_SS_WRITE = 27,
};

/* For entry.asm: a word each, in this order. */
struct job {
	word stub; /* address of its code */
	word va, value, compared;
	word user; /* 1: at CPL 3 */
	word flags;
};

/* What became of the last job. */
extern word result_vector, result_error, result_cr2, result_value;

struct machine {
	enum oracle_mode mode;
	uint64_t root; /* of the page tables */
	bool smep, smap, pku, pks, page1g, nx;
};

/* Sets up everything, turns paging on. */
void machine_init(struct machine *machine, enum oracle_mode mode);

/* Runs one stub. @flags: EFLAGS. */
void machine_perform(enum stub stub, uint64_t va, uint64_t value, uint64_t compared, bool user,
		     word flags);

/* The LDT begins there. */
void machine_set_ldt(uint64_t base);

/* Drops every translation, global ones too. */
void machine_flush(const struct machine *machine);

/* Leaves the emulator. */
void machine_stop(void);

#endif
