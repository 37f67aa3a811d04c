/*
 * trace_dat.h - the process that reads a trace.dat.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_TRACE_DAT_H
#define KMEMLAB_WORKLOADS_IMPORT_TRACE_DAT_H

#include "workloads/import/wire.h"

/* Reads the trace.dat at input->file and sends what it holds. Never returns. */
void trace_dat_child(const struct wire_input *input, struct wire_end end);

#endif
