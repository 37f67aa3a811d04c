/*
 * trace_meta.h - struct trace_meta as the JSON text that a .kmt file holds. Internal.
 */
#ifndef KMEMLAB_WORKLOADS_TRACE_META_H
#define KMEMLAB_WORKLOADS_TRACE_META_H

#include "workloads/trace.h"

/* The names of event kinds in JSON and in the text twin: "frame_alloc". NULL beyond the last. */
const char *event_kind_name(unsigned kind);

/* Returns compact JSON with a fixed order of keys; numbers above INT64_MAX are hexadecimal strings.
 */
char *trace_meta_to_json(const struct trace_meta *meta);
/* Returns NULL with TRACE_ERROR_FORMAT. Unknown keys are passed over. */
struct trace_meta *trace_meta_from_json(const char *text, gsize bytes, GError **error);

#endif
