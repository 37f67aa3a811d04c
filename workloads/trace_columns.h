/*
 * trace_columns.h - the inside of a block of events: struct event arrays to columns and back.
 *
 * The fields of struct event go three ways. What takes few values together (the kind, the flags,
 * the zone, mobility and size of a request ...) is the event's shape: the block lists its distinct
 * shapes, as images of whole events, and stores a number an event. CPU and task are its actor,
 * stored alike. What varies (times, handles, frames, addresses) has a column of its own, for the
 * kinds of event that have the field. A reader thus copies an image, adds the actor, and fills in
 * two or three numbers.
 *
 * The writer chooses which way a field goes, how to predict a number and how to lay out what
 * remains; the choice stands in the block, so that readers know nothing of how it was made.
 * FORMAT.md has the bytes.
 */
#ifndef KMEMLAB_WORKLOADS_TRACE_COLUMNS_H
#define KMEMLAB_WORKLOADS_TRACE_COLUMNS_H

#include <glib.h>
#include <stdbool.h>
#include "workloads/event.h"

enum {
	TRACE_PART_BYTES = 40,	 /* description of a part, in front of the data */
	TRACE_IMAGE_BYTES = 64,	 /* of an event */
	TRACE_IMAGES = 16 << 10, /* distinct ones in a block, at most */
	TRACE_BATCH = 256,	 /* events decoded at once: they stay in the L1 cache */
	TRACE_SLOTS = 256,	 /* last values kept by a PREDICT_LAST_OF_* */
	TRACE_RAW_SLACK = 8,	 /* readable bytes that a decoder wants behind its input */
};

/* Where a field may go besides a column of its own. */
enum trace_group { GROUP_NONE = 0, GROUP_SHAPE, GROUP_ACTOR };

/* How the text twin spells a field (trace_text.h). */
enum trace_style {
	STYLE_DECIMAL = 0,
	STYLE_HEX,
	STYLE_FRAME,  /* hexadecimal, or "none" for EVENT_NO_FRAME */
	STYLE_STRING, /* the string that the id names */
	STYLE_FLAGS,
	STYLE_ZONE,
	STYLE_MOBILITY,
	STYLE_RIGHTS,
	STYLE_PATH,
	TRACE_STYLES
};

/* What a value is thought to be; the difference is stored. Stored in files: never renumber. */
enum trace_predictor {
	PREDICT_NOTHING = 0,  /* values themselves */
	PREDICT_LAST,	      /* the column's value before */
	PREDICT_LAST_OF_CPU,  /* the column's value before on this CPU (modulo TRACE_SLOTS) */
	PREDICT_LAST_OF_TASK, /* of this task */
	PREDICT_NEWEST,	      /* handles: the latest that was given out in this block */
	TRACE_PREDICTORS
};

/* How what remains is laid out. Stored in files: never renumber. */
enum trace_coding {
	CODING_PLANES = 0, /* all lowest bytes, then all second bytes, ... */
	CODING_LENGTHS,	   /* a length in bytes each, then that many bytes each */
	CODING_NUMBERS,	   /* distinct values, then their numbers in planes */
	CODING_IMAGES,	   /* distinct images of events, then their numbers in planes */
	TRACE_CODINGS
};

/* One field of struct event, for the kinds in which it means one thing. */
struct trace_column {
	const char *name;
	const char *key;    /* in the text twin: one of a kind's fields */
	uint8_t style;	    /* enum trace_style */
	uint32_t kinds;	    /* 1 << enum event_kind of the events that have it */
	uint8_t group;	    /* enum trace_group */
	uint8_t predictors; /* 1 << enum trace_predictor of those worth trying */
	uint8_t offset;	    /* in struct event */
	uint8_t bytes;	    /* 1, 2, 4 or 8 */
};

/* Numbers of columns stand in files. The two groups have the first ones. */
enum {
	COLUMN_SHAPE = 0,
	COLUMN_ACTOR,
	COLUMN_FIELDS,
	COLUMN_FLAGS = COLUMN_FIELDS,
	COLUMN_CPU,
	COLUMN_TASK,
	COLUMN_TIME
};
extern const struct trace_column trace_columns[];
extern const unsigned trace_column_count;

/* Which bytes of an image may differ from zero for a kind: bit i for byte i. */
uint64_t trace_image_bytes(unsigned kind);

/* ---- a part: what a block holds of a column ---- */
struct trace_part {
	uint8_t column;	   /* index in trace_columns[] */
	uint8_t predictor; /* enum trace_predictor */
	uint8_t coding;	   /* enum trace_coding */
	uint8_t width;	   /* of planes: bytes a value */
	uint32_t count;	   /* values */
	uint32_t bytes;	   /* of data */
	uint64_t low;	   /* added to every stored number; NUMBERS, IMAGES: how many distinct */
	uint64_t scale;	   /* differences are multiples of it */
	uint64_t first;	   /* what the predictor starts from; IMAGES: bit i if byte i is stored */
};

/* ---- encoding ---- */
struct trace_encoder;
struct trace_encoder *trace_encoder_new(void);
void trace_encoder_free(struct trace_encoder *encoder);
/* Encodes 1 .. TRACE_BLOCK_EVENTS events. The bytes belong to the encoder until its next call.
 * *cuts: where columns end in them (uint32_t), for a compressor that starts afresh there. */
const GByteArray *trace_encoder_block(struct trace_encoder *encoder, const struct event *events,
				      uint32_t count, const GArray **cuts);

/* ---- decoding ---- */
struct trace_decoder;
struct trace_decoder *trace_decoder_new(void);
void trace_decoder_free(struct trace_decoder *decoder);
/* Begins with a block of count events. raw stays the caller's, must outlive the decoding and be
 * followed by TRACE_RAW_SLACK readable bytes. Returns false with TRACE_ERROR_FORMAT. */
bool trace_decoder_start(struct trace_decoder *decoder, const uint8_t *raw, uint32_t bytes,
			 uint32_t count, GError **error);
/* Decodes the next events, at most TRACE_BATCH, into out. Returns how many, 0 at the end, -1 with
 * TRACE_ERROR_FORMAT. */
int trace_decoder_next(struct trace_decoder *decoder, struct event *out, GError **error);

#endif
