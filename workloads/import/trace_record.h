/*
 * trace_record.h - records of Linux's ring buffer to raw events, by the formats that came with
 * them. For reading processes (wire.h): nothing is freed.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_TRACE_RECORD_H
#define KMEMLAB_WORKLOADS_IMPORT_TRACE_RECORD_H

#include "workloads/import/wire.h"

struct tep_handle;
struct tep_record;
struct decoder;

struct decoder *decoder_new(struct wire_child *wire, struct tep_handle *tep);
/* Sends the event of a record, or what is wrong with it; before that, what was lost before it. */
void decoder_send(struct decoder *decoder, struct tep_record *record);

#endif
