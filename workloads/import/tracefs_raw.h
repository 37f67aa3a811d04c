/*
 * tracefs_raw.h - the process that reads a folder of raw pages of Linux's ring buffer.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_TRACEFS_RAW_H
#define KMEMLAB_WORKLOADS_IMPORT_TRACEFS_RAW_H

#include "workloads/import/wire.h"

/*
 * What the folder holds, all as tracefs gives it:
 *   header_page            events/header_page
 *   formats/SYSTEM.EVENT   events/SYSTEM/EVENT/format
 *   saved_cmdlines         pid and name a line; may be missing
 *   cpu0, cpu1, ...        per_cpu/cpuN/trace_pipe_raw, page after page
 */
#define TRACEFS_RAW_HEADER  "header_page"
#define TRACEFS_RAW_FORMATS "formats"
#define TRACEFS_RAW_NAMES   "saved_cmdlines"

/* Reads the folder input->path and sends what it holds. Never returns. */
void tracefs_raw_child(const struct wire_input *input, struct wire_end end);

#endif
