/*
 * trace_dat_options.h - the options of a trace.dat, of either version.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_TRACE_DAT_OPTIONS_H
#define KMEMLAB_WORKLOADS_IMPORT_TRACE_DAT_OPTIONS_H

#include "workloads/import/trace_dat_file.h"

/* Takes option ID, whose head lies at byte AT (of what was decompressed, if it was). Options that
 * say nothing about the records are passed over. Returns false with DAT's problem. */
bool trace_dat_option(struct trace_dat *dat, uint64_t at, unsigned id, const unsigned char *bytes,
		      size_t count);

#endif
