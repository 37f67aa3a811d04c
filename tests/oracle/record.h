/*
 * record.h - what the bare-metal image is told, and what it records of each access. The layout is
 * that of tests/data/mmu/vectors, which its README.md explains.
 */
#ifndef KMEMLAB_TESTS_ORACLE_RECORD_H
#define KMEMLAB_TESTS_ORACLE_RECORD_H

#include <stdint.h>

enum oracle_mode {
	ORACLE_4LEVEL = 0,
	ORACLE_5LEVEL,
	ORACLE_32BIT,
	ORACLE_PAE,
	ORACLE_SEGMENTS, /* no paging */
};

enum oracle_type {
	ORACLE_READ = 0,
	ORACLE_WRITE,
	ORACLE_FETCH,
	ORACLE_RMW,
	ORACLE_IMPLICIT, /* a descriptor read by LAR */
};

enum oracle_output {
	ORACLE_TO_MEMORY = 0, /* from ORACLE_RECORDS on */
	ORACLE_TO_PORT_E9,
};

/* First sector of the payload: patched in the image file. */
struct oracle_config {
	uint32_t magic;
	uint32_t mode; /* enum oracle_mode */
	uint32_t seed;
	uint32_t accesses;
	uint32_t output; /* enum oracle_output */
};

#define ORACLE_CONFIG_MAGIC 0x4b4d4c4fu /* "OLMK" */
#define ORACLE_MAGIC	    0x31434552u /* "REC1" */
#define ORACLE_NO_VECTOR    32u

/* Physical memory of the image. */
#define ORACLE_CONFIG	  0x10000u
#define ORACLE_TABLES	  0x1000000u /* page tables under test */
#define ORACLE_TABLES_END 0x1200000u
#define ORACLE_POOL	  0x2000000u /* each qword holds its own address */
#define ORACLE_POOL_BYTES 0x1000000u
#define ORACLE_RECORDS	  0x4000000u

#define ORACLE_LEVELS 5

struct oracle_entry {
	uint64_t at; /* 0: level unused */
	uint64_t before, after;
};

struct oracle_record {
	uint32_t magic;
	uint8_t mode, type, size, cpl;
	uint8_t ac, leaf_level, cross, seq; /* seq 0: first access after a flush */
	uint32_t vector, error_code, pkru, pkrs, number;
	uint64_t va, cr2;
	uint64_t value;	  /* read; or in memory after a write */
	uint64_t written; /* by a write */
	uint64_t cr0, cr3, cr4, efer;
	uint64_t place[2]; /* physical address of each page's piece, if it is mapped */
	struct oracle_entry path[2][ORACLE_LEVELS];
};

_Static_assert(sizeof(struct oracle_record) == 352, "as the recorded vectors");

#endif
