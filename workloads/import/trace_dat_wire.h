/*
 * trace_dat_wire.h - between the process that reads a trace.dat and the one that imports it.
 *
 * libtracecmd and libtraceevent trust what they read: a damaged file can make them crash, loop or
 * ask for any amount of memory. They run in a process of their own, which leaves messages of one
 * size in shared batches; text goes in pieces. A pipe says how many messages the next batch holds
 * (and, by ending, that the process has died), another one gives batches back.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_TRACE_DAT_WIRE_H
#define KMEMLAB_WORKLOADS_IMPORT_TRACE_DAT_WIRE_H

#include <stdint.h>
#include "workloads/import/raw.h"

enum wire_type {
	WIRE_NONE = 0,
	WIRE_TEXT,   /* a piece of the text that the next message is about */
	WIRE_STRING, /* the text is string number `id` (1, 2, ...) */
	WIRE_TASK,   /* the text is the name of process `id` */
	WIRE_LOST,   /* events lost before the next one, on raw.cpu; number: how many, 0 unknown */
	WIRE_EVENT,  /* raw, with string numbers of WIRE_STRING */
	WIRE_MALFORMED, /* the text says what is wrong with the record at byte `number` */
	WIRE_FAILED,	/* the text says why the file cannot be read; nothing follows */
	WIRE_END	/* all read */
};

#define WIRE_PIECE 64

struct wire_message {
	uint8_t type;  /* enum wire_type */
	uint8_t bytes; /* of a piece of text */
	uint16_t pad;
	uint32_t id;
	uint64_t number;
	union {
		struct raw_event raw;
		char piece[WIRE_PIECE];
	} u;
};

enum { WIRE_BATCHES = 4, WIRE_BATCH_MESSAGES = 1024 };

/* Batches are used in turn. */
struct wire_shared {
	struct wire_message batch[WIRE_BATCHES][WIRE_BATCH_MESSAGES];
};

/* Where the reading process sends to. */
struct wire_end {
	struct wire_shared *shared;
	int filled; /* written: uint32_t, messages in the next batch */
	int credit; /* read: a byte for each batch that is free again */
};

/* Reads the trace.dat at descriptor FILE and sends what it holds. Never returns. */
_Noreturn void trace_dat_child(int file, struct wire_end end);

#endif
