/* What a replay asks a kernel heap about itself, and compares with the heap ledger: samples, and
 * audits by the heap's own check(), walk() and stats(). */
#include <inttypes.h>

#include "sim/heap_report.h"
#include "sim/lab.h"
#include "sim/session.h"

void session_heap_sample(void *context, struct result *result, uint64_t event, uint64_t time_ns)
{
	const struct session *session = context;
	const struct heap *heap = &session->heap->heap;
	const struct heap_totals *totals = heap_ledger_totals(session->heap->ledger);
	struct heap_stats stats = { 0 };

	heap->ops->stats(heap->state, &stats);
	struct result_heap_sample row = {
		.event = event,
		.time_ns = time_ns,
		.live_objects = totals->live_objects,
		.live_bytes = totals->live_bytes,
		.usable_bytes = totals->usable_bytes,
		.held_frames = totals->held_frames,
		.kept_bytes = stats.kept_bytes,
		.failures = session->result->failures,
		.internal_percent = heap_report_waste(totals->live_bytes, totals->usable_bytes),
		.slots = stats.slots,
		.vacant_slots_percent = heap_report_waste(totals->live_objects, stats.slots),
	};
	result_heap_sample(result, &row);
}

struct heap_audit {
	const struct session *session;
	uint64_t extents; /* objects and free ones */
	uint64_t objects, bytes;
	bool strange; /* an object that nobody has was seen */
	uint64_t stranger;
};

static int audit_extent(void *context, const struct heap_extent *extent)
{
	struct heap_audit *audit = context;

	audit->extents++;
	if (extent->state == HEAP_USED) {
		uint64_t offset = session_object_offset(audit->session, extent->at);
		audit->objects++;
		audit->bytes += extent->bytes;
		if (!audit->strange &&
		    !heap_ledger_covers(audit->session->heap->ledger, offset, 1)) {
			audit->strange = true;
			audit->stranger = offset;
		}
	}
	return 0;
}

static void compare(struct session *session)
{
	const struct heap *heap = &session->heap->heap;
	const struct heap_totals *totals = heap_ledger_totals(session->heap->ledger);
	struct heap_audit audit = { .session = session };
	struct heap_stats stats = { 0 };
	char message[200];

	if (!(heap->ops->caps & HEAP_CAP_FREE))
		return;
	heap->ops->walk(heap->state, audit_extent, &audit);
	heap->ops->stats(heap->state, &stats);
	session->heap->kept_bytes = stats.kept_bytes;
	if (stats.held_frames != totals->held_frames) {
		g_snprintf(message, sizeof(message),
			   "heap %s: counts %" PRIu64 " frames held, not %" PRIu64, heap->ops->name,
			   stats.held_frames, totals->held_frames);
		session_violation(session, "stats", 0, message);
	}
	if (stats.slots && stats.slots != audit.extents) {
		g_snprintf(message, sizeof(message),
			   "heap %s: counts %" PRIu64 " slots, walk() shows %" PRIu64,
			   heap->ops->name, stats.slots, audit.extents);
		session_violation(session, "stats", 0, message);
	}
	bool exact = audit.objects == totals->live_objects && audit.bytes == totals->usable_bytes;
	/* A collector may have more: what it has yet to find dead. */
	bool more = (heap->ops->caps & HEAP_CAP_COLLECTS) &&
		    audit.objects >= totals->live_objects && audit.bytes >= totals->usable_bytes;
	if ((exact || more) && stats.used_objects == audit.objects &&
	    stats.used_bytes == audit.bytes)
		return;
	char *stranger = audit.strange ? session_object_story(session, audit.stranger, false)
				       : g_strdup("one that it does not show");
	char *text = g_strdup_printf("heap %s: walk() shows %" PRIu64 " objects of %" PRIu64
				     " bytes, %" PRIu64 " of %" PRIu64 " are live; the first that "
				     "differs: %s",
				     heap->ops->name, audit.objects, audit.bytes,
				     totals->live_objects, totals->usable_bytes, stranger);
	session_violation(session, "walk", 0, text);
	g_free(text);
	g_free(stranger);
}

void session_heap_audit(struct session *session)
{
	const struct heap *heap = &session->heap->heap;
	struct heap_violation violation = { 0 };
	char message[256];

	if (session->config->unjudged)
		return;
	session_heap_begin(session, PROBE_CHECK, NULL);
	int error = heap->ops->check(heap->state, &violation);
	if (error == 0)
		compare(session);
	session_heap_leave(session);
	if (error == 0)
		return;
	g_snprintf(message, sizeof(message), "heap %s: check(): invariant %u at %p: %s",
		   heap->ops->name, violation.invariant, violation.at, violation.what);
	session_violation(session, "check", 0, message);
	session->corrupt = true;
}
