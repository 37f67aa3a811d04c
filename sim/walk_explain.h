/*
 * walk_explain.h - one translation in words, for somebody new to paging.
 */
#ifndef KMEMLAB_SIM_WALK_EXPLAIN_H
#define KMEMLAB_SIM_WALK_EXPLAIN_H

#include <stdio.h>

#include "sim/walk_machine.h"

/* What is asked about one address. */
struct walk_question {
	uint64_t va;
	const struct mmu_access *access; /* NULL: what is mapped there, and what could be done */
	const unsigned *slots; /* recursive slots to look through; NULL: the tables' own */
	unsigned slot_count;
};

/**
 * walk_explain - print the walk, the combined rights, the verdict, why, and what would change it.
 * @missing: set to the physical address of a page-table entry that the file lacks.
 * Returns false if there is one; the text then ends there.
 * Tries changes on the machine's copy of memory and on its registers, and undoes them.
 */
bool walk_explain(struct walk_machine *machine, const struct walk_question *question, FILE *to,
		  uint64_t *missing);

/* ---- walk_verdict.c: why, and what would change it ---- */

/* "PTE", "PDE" ... */
const char *walk_entry_name(unsigned level);

/* Bits of the entry that make it a reserved-bit fault. */
uint64_t walk_reserved_bits(struct walk_machine *machine, uint64_t va,
			    const struct mmu_walk_entry *entry);

/* "write by user code (CPL 3)" */
const char *walk_access_name(const struct mmu_access *access);

/* The fault of @walk: error code bit by bit, and the reason. */
void walk_explain_fault(struct walk_machine *machine, const struct walk_question *question,
			const struct mmu_walk *walk, FILE *to);

/* What single changes turn the verdict around. Each was tried on the model. */
void walk_explain_changes(struct walk_machine *machine, const struct walk_question *question,
			  const struct mmu_walk *walk, FILE *to);

/* ---- walk_recursive.c ---- */

/**
 * walk_explain_recursive - where the walk's entries can be seen through recursive slots.
 * Prints nothing where there are none and none were asked for.
 */
void walk_explain_recursive(struct walk_machine *machine, const struct walk_question *question,
			    const struct mmu_walk *walk, FILE *to);

#endif
