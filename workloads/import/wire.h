/*
 * wire.h - between a process that reads a recording through libraries and the one that imports it.
 *
 * libtraceevent and libbabeltrace2 trust what they read: a damaged file can make them
 * crash, loop or ask for any amount of memory. They run in a process of their own, which leaves
 * messages of one size in shared batches; text goes in pieces. A pipe says how many messages the
 * next batch holds (and, by ending, that the process has died), another one gives batches back.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_WIRE_H
#define KMEMLAB_WORKLOADS_IMPORT_WIRE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "workloads/import/import.h"
#include "workloads/import/raw.h"

enum wire_type {
	WIRE_NONE = 0,
	WIRE_TEXT,   /* a piece of the text that the next message is about */
	WIRE_STRING, /* the text is string number `id` (1, 2, ...) */
	WIRE_TASK,   /* the text is the name of process `id` */
	WIRE_LOST,   /* events lost before the next one, on raw.cpu; number: how many, 0 unknown */
	WIRE_EVENT,  /* raw, with string numbers of WIRE_STRING */
	WIRE_MALFORMED, /* the text says what is wrong with the record at byte `number` */
	WIRE_FAILED, /* the text says why the file cannot be read, at byte `number`; the last one */
	WIRE_END     /* all read */
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

enum { WIRE_BATCHES = 4, WIRE_CREDITS = 2, WIRE_BATCH_MESSAGES = 2048 };

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

/* ---- the importing side ---- */

/* What is to be read. */
struct wire_input {
	int file;	  /* open for reading at its own offset; -1: PATH says it all */
	const char *path; /* of a folder, for readers that open files by themselves */
	uint64_t bytes;	  /* how much there is: measures the reader's patience and limits */
};

/* Reads INPUT in a process of its own with READ, which never returns, and hands its events to
 * job->owners. Returns false with error; a reader that crashes, hangs or asks for too much is a
 * TRACE_ERROR_FORMAT that names the event at which it did. */
bool wire_run(struct import_job *job, const struct wire_input *input,
	      void (*read)(const struct wire_input *input, struct wire_end end), GError **error);

/* ---- the reading side; nothing here returns an error: the process ends where nobody listens ----
 */

/* Its insides are for wire_child.c and wire_message(). */
struct wire_child {
	struct wire_message *out; /* the batch being filled */
	uint32_t used;
	struct wire_end end;
	uint64_t batches;    /* sent */
	uint64_t credits;    /* batches that may be sent all in all */
	GHashTable *strings; /* text -> number */
};

struct wire_child *wire_child_new(struct wire_end end);
/* Sends the batch. */
void wire_flush(struct wire_child *child);

/* The next message, all but its type zero or to be filled in. */
static inline struct wire_message *wire_message(struct wire_child *child, enum wire_type type)
{
	if (G_UNLIKELY(child->used == WIRE_BATCH_MESSAGES))
		wire_flush(child);
	struct wire_message *next = &child->out[child->used++];
	next->type = (uint8_t)type;
	next->bytes = 0;
	next->pad = 0;
	next->id = 0;
	next->number = 0;
	return next;
}

/* A message behind the pieces of a text. */
struct wire_message *wire_message_text(struct wire_child *child, enum wire_type type,
				       const char *text, size_t bytes);
/* The number of a string, which is sent if it is new. */
uint32_t wire_string(struct wire_child *child, const char *text, size_t bytes);
/* The record at byte OFFSET cannot be read. */
void wire_malformed(struct wire_child *child, uint64_t offset, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
/* The whole cannot be read; _at: for what is at byte OFFSET. */
_Noreturn void wire_fail(struct wire_child *child, const char *text);
_Noreturn void wire_fail_at(struct wire_child *child, uint64_t offset, const char *text);
/* All is read. */
_Noreturn void wire_end(struct wire_child *child);

#endif
