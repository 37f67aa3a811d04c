/* What a pass finds wrong: violations, in words, with the command that replays up to them. */
#include <inttypes.h>
#include <string.h>

#include "sim/audit.h"
#include "sim/session.h"
#include "sim/trap.h"

void session_violation_free(gpointer data)
{
	struct replay_violation *violation = data;

	g_free(violation->kind);
	g_free(violation->message);
	g_free(violation->command);
	g_free(violation);
}

void session_violation(struct session *session, const char *kind, uint64_t frame,
		       const char *message)
{
	struct replay_result *result = session->result;

	if (result->violations++ >= REPLAY_VIOLATIONS_MAX)
		return;
	struct replay_violation *violation = g_new0(struct replay_violation, 1);
	violation->event = session->event;
	violation->kind = g_strdup(kind);
	violation->frame = frame;
	violation->message =
		g_strdup_printf("%s error: %s: %s", strcmp(kind, "lab") == 0 ? "lab" : "allocator",
				session->frames.ops->name, message);
	violation->command = session->event == REPLAY_ALL
				     ? g_strdup(session->config->command)
				     : g_strdup_printf("%s --until %" G_GUINT64_FORMAT,
						       session->config->command, session->event);
	g_ptr_array_add(result->violation_list, violation);
}

void session_probe_finding(void *context, const struct probe_finding *finding)
{
	session_violation(context, finding->kind, finding->frame, finding->message);
}

static void describe_owner(uint32_t owner, char *text, gsize bytes)
{
	static const char *const names[] = { "no RAM", "free", "the allocator's own state",
					     "the kernel's from boot", "held from the start" };

	if (owner >= LEDGER_HANDLE_BASE)
		g_snprintf(text, bytes, "live handle %u", owner - LEDGER_HANDLE_BASE);
	else
		g_snprintf(text, bytes, "%s", names[owner]);
}

void session_ledger_violation(struct session *session, const char *action,
			      const struct ledger_finding *finding)
{
	char owner[64], message[200];

	describe_owner(finding->owner, owner, sizeof(owner));
	g_snprintf(message, sizeof(message), "%s: %s of frame 0x%" PRIx64 ", which is %s", action,
		   ledger_verdict_name(finding->verdict), finding->frame, owner);
	session_violation(session, ledger_verdict_name(finding->verdict), finding->frame, message);
}

void session_audit(struct session *session)
{
	struct audit_finding finding;

	if (session->config->unjudged)
		return;
	if (session->pass == PASS_PROBED)
		probe_phase(PROBE_CHECK, NULL);
	trap_kernel_begin();
	bool clean = audit_frames(&session->frames, session->ledger, &finding);
	trap_kernel_end();
	probe_phase(PROBE_OFF, NULL);
	if (clean)
		return;
	session_violation(session, finding.kind, finding.frame, finding.message);
	/* Metadata that contradict themselves may do anything next, loop for ever among it. */
	session->corrupt = strcmp(finding.kind, "check") == 0;
}
