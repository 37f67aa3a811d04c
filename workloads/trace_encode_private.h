/*
 * trace_encode_private.h - the state of an encoder (trace_columns.h), and what its parts do for
 * each other: trace_encode.c gathers the values of columns, trace_encode_columns.c predicts and
 * lays out those that stand apart, trace_encode_groups.c those that stand together.
 */
#ifndef KMEMLAB_WORKLOADS_TRACE_ENCODE_PRIVATE_H
#define KMEMLAB_WORKLOADS_TRACE_ENCODE_PRIVATE_H

#include <stddef.h>
#include <string.h>
#include <zstd.h>
#include "workloads/trace_columns.h"
#include "workloads/trace_format.h"

/* What was found out about a column is found out again at every so many blocks: it seldom changes
 * within a trace, and trying costs more than encoding. */
enum { TRIAL_BLOCKS = 64 };

/* Values of a column that are tried. */
enum { TRIAL_VALUES = 8 << 10 };

/* The dictionary's hash table: at most half full. */
enum { HASH_SLOTS = 2 * TRACE_BLOCK_EVENTS };

enum { MOST_COLUMNS = 64 };

struct choice {
	uint8_t predictor, coding;
};

/* What was found out about a column. */
struct plan {
	bool tried;
	bool apart; /* not in its group, because it takes too many values */
	struct choice choice;
};

struct hash_slot {
	uint32_t generation, number;
};

enum { EVENT_WORDS = sizeof(struct event) / sizeof(uint64_t) };
G_STATIC_ASSERT(offsetof(struct event, kind) == 8);

struct trace_encoder {
	const struct event *events;
	uint32_t count;
	uint32_t kinds; /* 1 << kind of all events */
	uint64_t blocks;
	uint64_t newest, newest_at_start; /* handle given out last, and before this block */
	struct plan plan[MOST_COLUMNS];
	uint8_t way[MOST_COLUMNS]; /* in this block: enum way */

	uint8_t *kind;	/* of all events */
	uint64_t *head; /* word 1 of all events: kind, flags, CPU, task */
	/* By kind: its first event, and the bits in which another one differs from it. */
	uint64_t first[EVENT_KINDS][EVENT_WORDS], differ[EVENT_KINDS][EVENT_WORDS];
	uint32_t *by_kind; /* their numbers, sorted by kind */
	uint32_t kind_start[EVENT_KINDS + 1];
	uint32_t *all;	   /* 0, 1, 2 ... */
	uint32_t *several; /* the events of more than one kind, of several_kinds */
	uint32_t several_kinds, several_members;
	const uint32_t *index; /* the events that have the column at hand */
	uint32_t members;
	uint64_t *value; /* one each: of a column in gathered, or in one_column */
	uint64_t *stored;
	uint64_t *one_column;
	uint64_t *gathered; /* columns one behind the other */
	size_t gathered_room;
	uint64_t *column_values[MOST_COLUMNS]; /* in gathered, NULL: not there */
	uint32_t *number;		       /* of a distinct value or image */
	uint64_t *entries;		       /* the distinct ones, word after word */
	struct hash_slot *hash;
	uint32_t generation;

	GArray *parts;	  /* struct trace_part */
	GByteArray *data; /* of the parts */
	GByteArray *trial;
	GByteArray *out;
	GArray *data_cuts, *cuts; /* uint32_t */
	ZSTD_CCtx *zstd;
	void *zstd_out;
	size_t zstd_bytes;
};

/* Where a column goes in the block at hand. */
enum way { WAY_NOWHERE = 0, WAY_SHAPE, WAY_ACTOR, WAY_APART };

/* ---- trace_encode.c ---- */

/* Gathers the column's values, and finds the events that have it. */
void encoder_gather(struct trace_encoder *encoder, unsigned number);
/* Returns whether the values of a column differ from each other; *first is one of them. */
bool encoder_differs(const struct trace_encoder *encoder, const struct trace_column *column,
		     uint64_t *first);

/* ---- trace_encode_columns.c ---- */

/* Distinct values among those gathered, or `most` + 1. */
uint32_t encoder_count_distinct(struct trace_encoder *encoder, uint32_t most);
/* More entries than this for so many values are no dictionary. */
uint32_t encoder_most_entries(uint32_t values, uint32_t limit);
/* The planes of the members' numbers. */
void encoder_lay_numbers(struct trace_encoder *encoder, struct trace_part *part, uint32_t distinct,
			 GByteArray *out);
void encoder_add_part(struct trace_encoder *encoder, const struct trace_part *part);
/* Encodes a column of its own. */
void encoder_add_scalar(struct trace_encoder *encoder, unsigned number);

/* ---- trace_encode_groups.c ---- */

/* Sends every column its way: what is zero nowhere, what is constant into the shape, into its group
 * what takes few values, the rest apart. */
void encoder_find_ways(struct trace_encoder *encoder);
/* Encodes the group's images, and their numbers. */
void encoder_add_group(struct trace_encoder *encoder, uint8_t column, uint8_t way);

/* ---- distinct values and images ---- */

static inline __attribute__((always_inline)) uint32_t hash_words(const uint64_t *word,
								 unsigned words)
{
	uint64_t hash = 0;

	for (unsigned i = 0; i < words; i++) {
		hash = (hash ^ word[i]) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 32;
	}
	return (uint32_t)hash;
}

static inline __attribute__((always_inline)) bool same_words(const uint64_t *a, const uint64_t *b,
							     unsigned words)
{
	uint64_t differ = 0;

	for (unsigned i = 0; i < words; i++)
		differ |= a[i] ^ b[i];
	return differ == 0;
}

#endif
