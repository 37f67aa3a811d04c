/*
 * json_scan.h - JSON from beginning to end in constant memory: a recording is one value of
 * gigabytes, of which no tree can be built.
 *
 * The caller asks for what must come next. Texts are handed over without their escapes, cut to the
 * caller's room. Bytes above 0x7f are taken as they are. Errors are TRACE_ERROR_FORMAT without a
 * place (json_scan_offset() is the place), or of reading the source.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_JSON_SCAN_H
#define KMEMLAB_WORKLOADS_IMPORT_JSON_SCAN_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include "workloads/import/source.h"

struct json_scan;

struct json_scan *json_scan_new(struct import_source *source);
void json_scan_free(struct json_scan *scan);
/* Bytes of the (decompressed) source taken so far. */
uint64_t json_scan_offset(const struct json_scan *scan);
bool json_scan_ended(const struct json_scan *scan);

/* Enters an object ('{') or an array ('['). */
bool json_scan_enter(struct json_scan *scan, char bracket, GError **error);
/* The next member of an object, FIRST or behind a comma: its key, and the value is what comes next.
 * Returns 1; 0 where the object has ended; -1 with error. */
int json_scan_member(struct json_scan *scan, bool first, char *key, size_t room, GError **error);
/* Whether an array has another element, which comes next. Returns as above. */
int json_scan_element(struct json_scan *scan, bool first, GError **error);
/* A string's text, or a number, true, false or null as it is written. */
bool json_scan_scalar(struct json_scan *scan, char *text, size_t room, GError **error);
/* Passes over a value of any kind. */
bool json_scan_skip(struct json_scan *scan, GError **error);
/* Passes over everything before the next KEY (in quotes); it is what comes next. At the end of the
 * source json_scan_ended(). Returns false with an error of reading. */
bool json_scan_find(struct json_scan *scan, const char *key, GError **error);

#endif
