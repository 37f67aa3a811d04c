/*
 * run.h - what the generators of paging and of segment cases share.
 */
#ifndef KMEMLAB_TESTS_ORACLE_IMAGE_RUN_H
#define KMEMLAB_TESTS_ORACLE_IMAGE_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/oracle/record.h"

/* Records so far. */
extern uint32_t recorded;

uint32_t random32(void);
uint32_t random_below(uint32_t limit);
bool percent(unsigned chance);
uint64_t random64(void);

/* Hands a record out, and counts it. */
void emit(const struct oracle_record *r);

void run_segments(uint32_t cases);

#endif
