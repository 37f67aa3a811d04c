/*
 * trace_record.h - records of Linux's ring buffer to raw events, by the formats that came with
 * them. For reading processes (wire.h): nothing is freed.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_TRACE_RECORD_H
#define KMEMLAB_WORKLOADS_IMPORT_TRACE_RECORD_H

#include "workloads/import/ring_reader.h"
#include "workloads/import/wire.h"

struct tep_handle;
struct decoder;

/* Most recordings hold a few types of events and come with the formats of a thousand. */
struct decoder_source {
	/* Gives the format of an event type to TEP, if there is one; NULL: it has all. */
	void (*add_format)(void *context, struct tep_handle *tep, int type);
	/* Gives TEP what it needs to print an event of that type, such as the names of addresses;
	 * once for each type. */
	void (*add_symbols)(void *context, struct tep_handle *tep, int type);
	void *context;
};

struct decoder *decoder_new(struct wire_child *wire, struct tep_handle *tep, bool big_endian,
			    const struct decoder_source *source);
/* Sends all records of READER in their order: the event of each, or what is wrong with it; before
 * that, what was lost before it. */
void decoder_send_all(struct decoder *decoder, struct ring_reader *reader);

#endif
