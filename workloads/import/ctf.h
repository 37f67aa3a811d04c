/*
 * ctf.h - the process that reads a Common Trace Format recording through libbabeltrace2.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_CTF_H
#define KMEMLAB_WORKLOADS_IMPORT_CTF_H

#include "workloads/import/wire.h"

/* Reads the folder input->path and sends what it holds. Never returns. */
void ctf_child(const struct wire_input *input, struct wire_end end);

#endif
