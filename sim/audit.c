#include "sim/audit.h"

#include <glib.h>
#include <inttypes.h>

struct audit {
	const struct ledger *ledger;
	struct audit_finding *finding;
	uint64_t next; /* frames below are done */
	uint64_t free, live;
	uint64_t unowned, first_unowned; /* used by the allocator's account, free by ours */
	bool failed;
};

static bool fail(struct audit *audit, uint64_t frame, const char *what)
{
	audit->failed = true;
	audit->finding->kind = "walk";
	audit->finding->frame = frame;
	g_snprintf(audit->finding->message, sizeof(audit->finding->message),
		   "frame 0x%" PRIx64 ": %s", frame, what);
	return false;
}

static bool compare_frame(struct audit *audit, uint64_t frame, enum frame_state state)
{
	uint32_t owner = ledger_owner(audit->ledger, frame);

	if (owner == LEDGER_HOLE || owner == LEDGER_STATE || owner == LEDGER_TABLE)
		return fail(audit, frame, "walk() shows a frame that was never the allocator's");
	audit->live += owner >= LEDGER_HANDLE_BASE;
	if (state == FRAME_FREE && owner != LEDGER_FREE)
		return fail(audit, frame, "walk() calls a frame free that is handed out");
	if (state == FRAME_USED && owner == LEDGER_FREE && audit->unowned++ == 0)
		audit->first_unowned = frame;
	return true;
}

static int visit(void *context, const struct frame_extent *extent)
{
	struct audit *audit = context;

	if (extent->first.n < audit->next)
		return !fail(audit, extent->first.n, "walk() is not in address order");
	for (uint64_t i = 0; i < extent->frames; i++)
		if (!compare_frame(audit, extent->first.n + i, extent->state))
			return 1;
	if (extent->state == FRAME_FREE)
		audit->free += extent->frames;
	audit->next = extent->first.n + extent->frames;
	return 0;
}

bool audit_frames(const struct frames *frames, const struct ledger *ledger,
		  struct audit_finding *finding)
{
	struct audit audit = { .ledger = ledger, .finding = finding };
	struct violation violation = { 0 };
	struct frame_stats stats = { 0 };
	uint64_t expected = ledger_totals(ledger)->free_frames;

	if (frames->ops->check(frames->state, &violation) != KERR_OK) {
		finding->kind = "check";
		finding->frame = violation.frame.n;
		g_snprintf(finding->message, sizeof(finding->message),
			   "invariant %u does not hold at frame 0x%" PRIx64 ": %s",
			   violation.invariant, violation.frame.n,
			   violation.what ? violation.what : "");
		return false;
	}
	int status = frames->ops->walk(frames->state, visit, &audit);
	if (audit.failed)
		return false;
	if (status != KERR_OK)
		return fail(&audit, 0, "walk() failed");
	frames->ops->stats(frames->state, &stats);
	if (audit.live != ledger_totals(ledger)->live_frames)
		return fail(&audit, 0, "walk() leaves out frames that are handed out");
	/* Frames that the allocator keeps for itself are free to nobody. */
	if (audit.unowned != stats.kept_frames)
		return fail(&audit, audit.first_unowned,
			    "lost: used by walk(), owned by nobody, and stats() does not count it "
			    "as kept");
	if (audit.free + stats.kept_frames != expected)
		return fail(&audit, 0,
			    "lost: walk() and kept frames together are fewer than the ledger's "
			    "free frames");
	if (stats.free_frames != audit.free)
		return fail(&audit, 0, "stats() and walk() disagree about the free frames");
	return true;
}
