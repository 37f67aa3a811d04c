#include "sim/snapshot.h"

#include <glib.h>
#include <string.h>

/* Larger figures are garbage; sums of as many as there are stay far from overflow. */
#define FIGURE_MAX  (1ull << 40)
#define ORDERS_MAX  20
#define KIB_A_FRAME 4

/* The rest of a line. */
struct scan {
	const char *at, *end;
};

static bool next_line(struct scan *text, struct scan *line)
{
	const char *newline;

	if (text->at == text->end)
		return false;
	newline = memchr(text->at, '\n', (size_t)(text->end - text->at));
	line->at = text->at;
	line->end = newline ? newline : text->end;
	text->at = newline ? newline + 1 : text->end;
	return true;
}

static void skip_blanks(struct scan *line)
{
	while (line->at < line->end && (*line->at == ' ' || *line->at == '\t'))
		line->at++;
}

static bool at_end(struct scan *line)
{
	skip_blanks(line);
	return line->at == line->end;
}

/* Steps over LITERAL, after blanks; false and no step where the line has something else. */
static bool literal(struct scan *line, const char *literal)
{
	size_t length = strlen(literal);

	skip_blanks(line);
	if ((size_t)(line->end - line->at) < length || memcmp(line->at, literal, length) != 0)
		return false;
	line->at += length;
	return true;
}

/* A decimal figure of its own, after blanks. */
static bool figure(struct scan *line, uint64_t *value)
{
	const char *first;

	skip_blanks(line);
	*value = 0;
	for (first = line->at; line->at < line->end && g_ascii_isdigit(*line->at); line->at++) {
		*value = *value * 10 + (uint64_t)(*line->at - '0');
		if (*value > FIGURE_MAX)
			return false;
	}
	return line->at > first &&
	       (line->at == line->end || !g_ascii_isgraph(*line->at) || *line->at == ',');
}

/* "Node 0, zone    DMA32": the zone of SNAPSHOT, made if it is new. NULL: no such line. */
static struct snapshot_zone *zone_line(struct snapshot *snapshot, struct scan *line)
{
	struct snapshot_zone *zone;
	char name[SNAPSHOT_NAME_BYTES] = "";
	uint64_t node;
	size_t length = 0;

	if (!literal(line, "Node ") || !figure(line, &node) || node > UINT16_MAX ||
	    !literal(line, ", zone "))
		return NULL;
	skip_blanks(line);
	for (; line->at < line->end && g_ascii_isalnum(*line->at); line->at++)
		if (length < sizeof(name) - 1)
			name[length++] = *line->at;
	for (unsigned i = 0; i < snapshot->zone_count; i++)
		if (snapshot->zones[i].node == node && strcmp(snapshot->zones[i].name, name) == 0)
			return &snapshot->zones[i];
	if (length == 0 || snapshot->zone_count == SNAPSHOT_ZONES)
		return NULL;
	zone = &snapshot->zones[snapshot->zone_count++];
	zone->node = (unsigned)node;
	memcpy(zone->name, name, sizeof(name));
	return zone;
}

/* Counts of blocks by order up to the end of the line. */
static bool block_counts(struct scan *line, struct snapshot_zone *zone)
{
	unsigned order;

	memset(zone->free_blocks, 0, sizeof(zone->free_blocks));
	for (order = 0; order < ORDERS_MAX && !at_end(line); order++) {
		unsigned capped = MIN(order, LEDGER_ORDERS - 1);
		uint64_t blocks;

		if (!figure(line, &blocks))
			return false;
		zone->free_blocks[capped] += blocks << (order - capped);
	}
	return order > 0 && at_end(line);
}

static bool parse_buddyinfo(struct snapshot *snapshot, struct scan text, unsigned *line_number)
{
	struct scan line;

	snapshot->has_buddyinfo = false;
	while (next_line(&text, &line)) {
		struct snapshot_zone *zone;

		++*line_number;
		if (at_end(&line))
			continue;
		zone = zone_line(snapshot, &line);
		if (!zone || !block_counts(&line, zone))
			return false;
		snapshot->has_buddyinfo = true;
	}
	*line_number = 0;
	return snapshot->has_buddyinfo;
}

static bool parse_meminfo(struct snapshot *snapshot, struct scan text, unsigned *line_number)
{
	struct scan line;

	while (next_line(&text, &line)) {
		uint64_t kib;

		++*line_number;
		if (!literal(&line, "MemFree:"))
			continue;
		if (!figure(&line, &kib) || !literal(&line, "kB") || !at_end(&line))
			return false;
		snapshot->mem_free_frames = kib / KIB_A_FRAME;
		snapshot->has_meminfo = true;
		return true;
	}
	*line_number = 0;
	return false;
}

/* What a zone's lines must have said before it is complete. */
enum { SAID_FREE = 1, SAID_MANAGED = 2, SAID_ALL = 3 };

/* A line of ZONE: one of the three figures that matter, or anything else. */
static bool zone_figure(struct scan *line, struct snapshot_zone *zone, unsigned *said)
{
	uint64_t value;

	if (literal(line, "pages free ")) {
		*said |= SAID_FREE;
		return figure(line, &zone->free_frames);
	}
	if (literal(line, "managed ")) {
		*said |= SAID_MANAGED;
		return figure(line, &zone->managed_frames);
	}
	if (!literal(line, "count: "))
		return true;
	if (!figure(line, &value))
		return false;
	zone->per_cpu_frames += value;
	return true;
}

static bool parse_zoneinfo(struct snapshot *snapshot, struct scan text, unsigned *line_number)
{
	struct snapshot_zone *zone = NULL;
	unsigned said = SAID_ALL;
	struct scan line;

	while (next_line(&text, &line)) {
		struct scan start = line;

		++*line_number;
		if (literal(&start, "Node ")) {
			if (said != SAID_ALL)
				return false;
			zone = zone_line(snapshot, &line);
			if (!zone)
				return false;
			zone->per_cpu_frames = 0;
			said = 0;
		} else if (zone && !zone_figure(&line, zone, &said)) {
			return false;
		}
	}
	*line_number = 0;
	snapshot->has_zoneinfo = zone && said == SAID_ALL;
	return snapshot->has_zoneinfo;
}

static void add_up(struct snapshot *snapshot)
{
	struct snapshot_zone *all = &snapshot->all;

	memset(all, 0, sizeof(*all));
	for (unsigned i = 0; i < snapshot->zone_count; i++) {
		const struct snapshot_zone *zone = &snapshot->zones[i];

		for (unsigned order = 0; order < LEDGER_ORDERS; order++)
			all->free_blocks[order] += zone->free_blocks[order];
		all->free_frames += zone->free_frames;
		all->managed_frames += zone->managed_frames;
		all->per_cpu_frames += zone->per_cpu_frames;
	}
}

bool snapshot_parse(struct snapshot *snapshot, const char *name, const char *text, size_t bytes,
		    unsigned *bad_line)
{
	static const struct {
		const char *name;
		bool (*parse)(struct snapshot *snapshot, struct scan text, unsigned *line_number);
	} parsers[] = { { "buddyinfo", parse_buddyinfo },
			{ "meminfo", parse_meminfo },
			{ "zoneinfo", parse_zoneinfo } };
	struct scan scan = { text, text + bytes };

	*bad_line = 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(parsers); i++) {
		struct snapshot parsed = *snapshot;

		if (strcmp(parsers[i].name, name) != 0)
			continue;
		if (!parsers[i].parse(&parsed, scan, bad_line))
			return false;
		add_up(&parsed);
		*snapshot = parsed;
	}
	*bad_line = 0;
	return true;
}
