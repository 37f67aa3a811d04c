#include "workloads/record/record.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "workloads/import/import.h"
#include "workloads/record/snapshot.h"
#include "workloads/record/tracefs.h"
#include "workloads/trace.h"

/* How often it is looked whether the command has ended, or time is up. */
#define NAP_US 10000

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = 1;
}

struct recording {
	const struct record_options *options;
	char *folder, *state;
	struct tracer *tracer;
	struct snapshots *snapshots;
	pid_t child;
	int status;
	guint64 lost;
};

/* ---- the workload ---- */

static bool start_command(struct recording *recording, GError **error)
{
	char **command = recording->options->command;
	int gate[2];
	int reason = 0;

	if (!command || !*command)
		return true;
	if (pipe2(gate, O_CLOEXEC) != 0)
		return trace_error_set(error, TRACE_ERROR_IO, "cannot make a pipe: %s",
				       g_strerror(errno));
	recording->child = fork();
	if (recording->child == 0) {
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		execvp(command[0], command);
		reason = errno;
		(void)!write(gate[1], &reason, sizeof reason);
		_exit(127);
	}
	close(gate[1]);
	/* Ends when the command runs, or says why it does not. */
	ssize_t got = recording->child > 0 ? read(gate[0], &reason, sizeof reason) : 0;
	close(gate[0]);
	if (recording->child > 0 && got <= 0)
		return true;
	reason = recording->child > 0 ? reason : errno;
	if (recording->child > 0)
		waitpid(recording->child, NULL, 0);
	recording->child = 0;
	return trace_error_set(error, TRACE_ERROR_USAGE, "cannot run %s: %s", command[0],
			       g_strerror(reason));
}

static bool has_ended(struct recording *recording)
{
	if (recording->child <= 0)
		return recording->options->command && recording->options->command[0];
	if (waitpid(recording->child, &recording->status, WNOHANG) != recording->child)
		return false;
	recording->child = 0;
	return true;
}

static void stop_command(struct recording *recording)
{
	if (recording->child <= 0)
		return;
	kill(recording->child, SIGTERM);
	for (int i = 0; i < 200 && !has_ended(recording); i++)
		g_usleep(NAP_US);
	if (recording->child > 0) {
		kill(recording->child, SIGKILL);
		waitpid(recording->child, &recording->status, 0);
		recording->child = 0;
	}
}

static bool wait_for_it(struct recording *recording, GError **error)
{
	const struct record_options *options = recording->options;
	gint64 begin = g_get_monotonic_time(), snapshot = begin;

	while (!interrupted && !has_ended(recording)) {
		gint64 now = g_get_monotonic_time();
		if (options->seconds > 0 && (double)(now - begin) >= options->seconds * 1e6)
			break;
		if (options->snapshot_seconds > 0 &&
		    (double)(now - snapshot) >= options->snapshot_seconds * 1e6) {
			snapshot = now;
			if (!snapshots_take(recording->snapshots, recording->tracer, error))
				return false;
		}
		g_usleep(NAP_US);
	}
	return true;
}

/* ---- the recording ---- */

static bool run(struct recording *recording, GError **error)
{
	struct tracer *tracer = recording->tracer;
	bool done = tracer_follow(tracer, recording->folder, error) &&
		    tracer_switch(tracer, true, error) &&
		    snapshots_take(recording->snapshots, tracer, error) &&
		    start_command(recording, error) && wait_for_it(recording, error);

	stop_command(recording);
	done = done && snapshots_take(recording->snapshots, tracer, error);
	GError *off = NULL;
	if (!tracer_switch(tracer, false, done ? error : &off))
		done = false;
	g_clear_error(&off);
	return done && tracer_collect(tracer, recording->folder, &recording->lost, error);
}

static char *described(const struct record_options *options)
{
	g_autofree char *command =
		options->command && *options->command ? g_strjoinv(" ", options->command) : NULL;

	return g_strdup_printf("kmemlab record%s%s%s%s", options->heap ? " --heap" : "",
			       options->faults ? " --faults" : "", command ? " -- " : "",
			       command ? command : "");
}

static bool prepare(struct recording *recording, GError **error)
{
	g_autofree char *text = described(recording->options);

	if (g_mkdir(recording->folder, 0700) != 0)
		return trace_error_set(error, TRACE_ERROR_IO, "cannot make %s: %s",
				       recording->folder, g_strerror(errno));
	recording->snapshots = snapshots_new(recording->state, recording->options->proc, error);
	return recording->snapshots && snapshots_machine(recording->snapshots, text, error);
}

static bool import(struct recording *recording, GError **error)
{
	struct import_options options = { .format = "tracefs", .state = recording->state };

	snapshots_free(g_steal_pointer(&recording->snapshots));
	if (recording->lost > 0)
		g_message("the buffers had no room for %" G_GUINT64_FORMAT
			  " events; a larger --buffer helps",
			  recording->lost);
	return import_file(recording->folder, recording->options->output, &options, error);
}

static void remove_tree(const char *path)
{
	GDir *folder = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
	const char *name;

	while (folder && (name = g_dir_read_name(folder)) != NULL) {
		g_autofree char *inside = g_build_filename(path, name, NULL);
		remove_tree(inside);
	}
	if (folder)
		g_dir_close(folder);
	g_remove(path);
}

bool record(const struct record_options *options, int *status, GError **error)
{
	struct recording recording = { .options = options };
	struct sigaction action = { .sa_handler = on_signal }, old_int, old_term;
	bool done = false;

	interrupted = 0;
	recording.tracer = tracer_open(options, error);
	if (!recording.tracer)
		return false;
	recording.folder = g_strconcat(options->output, ".recording", NULL);
	recording.state = g_build_filename(recording.folder, "ground-truth", NULL);
	sigaction(SIGINT, &action, &old_int);
	sigaction(SIGTERM, &action, &old_term);
	bool prepared = prepare(&recording, error);
	bool ran = prepared && run(&recording, error);
	/* The buffer goes before the import, which takes a while. */
	tracer_free(recording.tracer);
	done = ran && import(&recording, error);
	sigaction(SIGINT, &old_int, NULL);
	sigaction(SIGTERM, &old_term, NULL);
	snapshots_free(recording.snapshots);
	if (prepared && !options->keep)
		remove_tree(recording.folder);
	g_free(recording.folder);
	g_free(recording.state);
	*status = recording.status;
	return done;
}
