/* Running an experiment's cells: one process a cell, so that a crash or a hang ends that cell
 * alone. */
#include "sim/experiment.h"

#include <errno.h>
#include <json-glib/json-glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/lab.h"
#include "sim/run.h"

struct job {
	struct experiment_cell *cell;
	GPid pid;
	char *messages; /* path of what it says on stderr */
};

struct runner {
	struct experiment *experiment;
	const struct experiment_options *options;
	char *directory;
	struct job *jobs; /* pid 0: unused */
	unsigned job_count;
	unsigned running, finished, wanted;
	gint64 begin;
	bool terminal;
};

static void write_status(const struct runner *runner)
{
	JsonBuilder *json = json_builder_new();
	char *path = g_build_filename(runner->directory, "experiment.json", NULL);

	json_builder_begin_object(json);
	json_builder_add_int_value(json_builder_set_member_name(json, "schema"), 1);
	json_builder_add_string_value(json_builder_set_member_name(json, "name"),
				      runner->experiment->name);
	json_builder_add_string_value(json_builder_set_member_name(json, "title"),
				      runner->experiment->title);
	json_builder_begin_array(json_builder_set_member_name(json, "cells"));
	for (guint i = 0; i < runner->experiment->cells->len; i++) {
		const struct experiment_cell *cell =
			g_ptr_array_index(runner->experiment->cells, i);
		json_builder_begin_object(json);
		json_builder_add_string_value(json_builder_set_member_name(json, "run"), cell->run);
		json_builder_add_string_value(json_builder_set_member_name(json, "trace"),
					      cell->trace);
		json_builder_add_string_value(json_builder_set_member_name(json, "frames"),
					      cell->frames);
		json_builder_add_string_value(json_builder_set_member_name(json, "heap"),
					      cell->heap);
		json_builder_add_string_value(json_builder_set_member_name(json, "tables"),
					      cell->tables);
		json_builder_add_string_value(json_builder_set_member_name(json, "space"),
					      cell->space);
		json_builder_add_string_value(json_builder_set_member_name(json, "machine"),
					      cell->machine);
		json_builder_add_string_value(json_builder_set_member_name(json, "ram"), cell->ram);
		json_builder_add_string_value(json_builder_set_member_name(json, "start"),
					      cell->start);
		json_builder_add_int_value(json_builder_set_member_name(json, "seed"),
					   (gint64)cell->seed);
		json_builder_add_string_value(json_builder_set_member_name(json, "status"),
					      cell->status);
		json_builder_add_int_value(json_builder_set_member_name(json, "exit"), cell->exit);
		json_builder_add_string_value(json_builder_set_member_name(json, "message"),
					      cell->message ? cell->message : "");
		json_builder_end_object(json);
	}
	json_builder_end_array(json);
	json_builder_end_object(json);
	JsonNode *root = json_builder_get_root(json);
	char *text = json_to_string(root, TRUE);
	GError *error = NULL;
	if (!g_file_set_contents(path, text, -1, &error)) {
		g_printerr("kmemlab: %s\n", error->message);
		g_error_free(error);
	}
	json_node_unref(root);
	g_object_unref(json);
	g_free(text);
	g_free(path);
}

/* ---- what is done already ---- */

static const char *config_string(JsonObject *config, const char *key)
{
	return config && json_object_has_member(config, key)
		       ? json_object_get_string_member(config, key)
		       : "";
}

static bool same_plugin(JsonObject *config, const char *key, const char *path)
{
	char *sum = path ? lab_file_sha256(path) : NULL;
	bool same = g_strcmp0(config_string(config, key), sum ? sum : "") == 0;

	g_free(sum);
	return same;
}

/* Is there a finished run of the same command and the same trace? Its violations make it exit 1
 * again. */
static bool is_done(const struct runner *runner, struct experiment_cell *cell)
{
	char *path = g_build_filename(runner->directory, cell->run, "run.json", NULL);
	char *command = run_command(cell->argv + 1);
	char *sum = lab_file_sha256(cell->trace_path);
	JsonParser *parser = json_parser_new();
	bool done = false;

	if (json_parser_load_from_file(parser, path, NULL) &&
	    JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser))) {
		JsonObject *root = json_node_get_object(json_parser_get_root(parser));
		JsonObject *config = json_object_has_member(root, "config")
					     ? json_object_get_object_member(root, "config")
					     : NULL;
		JsonObject *result = json_object_has_member(root, "result")
					     ? json_object_get_object_member(root, "result")
					     : NULL;
		done = result && g_strcmp0(config_string(config, "command"), command) == 0 &&
		       g_strcmp0(config_string(config, "trace_sha256"), sum) == 0 &&
		       same_plugin(config, "frames_sha256", cell->frames_path) &&
		       same_plugin(config, "heap_sha256", cell->heap_path);
		if (done)
			cell->exit = json_object_get_int_member(result, "violations") ||
				     json_object_get_boolean_member(result, "digests_differ");
	}
	g_object_unref(parser);
	g_free(sum);
	g_free(command);
	g_free(path);
	return done;
}

/* ---- processes ---- */

static void progress(const struct runner *runner)
{
	double seconds = (double)(g_get_monotonic_time() - runner->begin) / 1e6;

	if (!runner->terminal)
		return;
	fprintf(stderr, "\r\033[K%u of %u cells", runner->finished, runner->wanted);
	if (runner->finished && runner->finished < runner->wanted)
		fprintf(stderr, ", %.0f s left",
			seconds / runner->finished * (runner->wanted - runner->finished));
	if (runner->finished == runner->wanted)
		fputc('\n', stderr);
	fflush(stderr);
}

static bool start_cell(struct runner *runner, struct experiment_cell *cell, GError **error)
{
	struct job *job = runner->jobs;
	GError *cause = NULL;

	while (job->pid)
		job++;
	int messages = g_file_open_tmp("kmemlab-cell-XXXXXX", &job->messages, error);
	if (messages < 0)
		return false;
	char *output = g_build_filename(runner->directory, cell->run, NULL);
	GStrvBuilder *builder = g_strv_builder_new();
	for (char **word = cell->argv; *word; word++)
		g_strv_builder_add(builder, *word);
	g_strv_builder_add_many(builder, "-o", output, "--force", "--quiet", NULL);
	char **argv = g_strv_builder_end(builder);
	g_strv_builder_unref(builder);
	g_free(argv[0]);
	argv[0] = g_strdup("/proc/self/exe");
	bool started = g_spawn_async_with_fds(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL,
					      NULL, &job->pid, -1, STDERR_FILENO, messages, &cause);
	close(messages);
	g_strfreev(argv);
	g_free(output);
	if (!started) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_LAB, "lab error: cannot start a cell: %s",
			    cause->message);
		g_error_free(cause);
		unlink(job->messages);
		g_clear_pointer(&job->messages, g_free);
		return false;
	}
	job->cell = cell;
	runner->running++;
	return true;
}

/* The first line that a cell said, without our name in front. */
static char *first_message(const char *path)
{
	char *text = NULL;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	char *message =
		g_strdup(g_str_has_prefix(text, "kmemlab: ") ? text + strlen("kmemlab: ") : text);
	g_free(text);
	return message;
}

static bool has_run(const struct runner *runner, const struct experiment_cell *cell)
{
	char *path = g_build_filename(runner->directory, cell->run, "run.json", NULL);
	bool there = g_file_test(path, G_FILE_TEST_EXISTS);

	g_free(path);
	return there;
}

static void end_cell(struct runner *runner, struct job *job, int status)
{
	struct experiment_cell *cell = job->cell;

	cell->exit = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	/* An allocator that dies in boot leaves nothing to look at. */
	bool done = cell->exit == 0 || (cell->exit == 1 && has_run(runner, cell));
	cell->status = done ? "done" : "failed";
	if (!done) {
		cell->message = WIFSIGNALED(status) ? g_strdup_printf("the cell's process died: %s",
								      g_strsignal(WTERMSIG(status)))
						    : first_message(job->messages);
		fprintf(stderr, "%skmemlab: %s: %s\n", runner->terminal ? "\r\033[K" : "",
			cell->run, cell->message ? cell->message : "failed");
	}
	unlink(job->messages);
	g_clear_pointer(&job->messages, g_free);
	g_spawn_close_pid(job->pid);
	job->pid = 0;
	runner->running--;
	runner->finished++;
	write_status(runner);
	progress(runner);
}

static void wait_for_one(struct runner *runner)
{
	int status;
	pid_t pid;

	do
		pid = waitpid(-1, &status, 0);
	while (pid < 0 && errno == EINTR);
	for (unsigned i = 0; pid > 0 && i < runner->job_count; i++)
		if (runner->jobs[i].pid == pid)
			end_cell(runner, &runner->jobs[i], status);
}

static bool run_cells(struct runner *runner, GPtrArray *wanted, GError **error)
{
	bool fine = true;

	runner->begin = g_get_monotonic_time();
	runner->wanted = wanted->len;
	for (guint i = 0; fine && i < wanted->len; i++) {
		while (runner->running == runner->job_count)
			wait_for_one(runner);
		fine = start_cell(runner, g_ptr_array_index(wanted, i), error);
	}
	while (runner->running)
		wait_for_one(runner);
	return fine;
}

bool experiment_run(struct experiment *experiment, const struct experiment_options *options,
		    unsigned *failed, unsigned *violated, GError **error)
{
	struct runner runner = { .experiment = experiment,
				 .options = options,
				 .terminal = isatty(STDERR_FILENO) };
	GPtrArray *wanted = g_ptr_array_new();

	runner.directory = options->directory ? g_strdup(options->directory)
					      : g_build_filename("results", experiment->name, NULL);
	runner.job_count = options->jobs ? options->jobs : g_get_num_processors();
	runner.jobs = g_new0(struct job, runner.job_count);
	bool fine = g_mkdir_with_parents(runner.directory, 0777) == 0 ||
		    lab_set_errno(error, runner.directory);
	for (guint i = 0; fine && i < experiment->cells->len; i++) {
		struct experiment_cell *cell = g_ptr_array_index(experiment->cells, i);
		if (strcmp(cell->status, "skipped") == 0)
			continue;
		if (!options->repeat && is_done(&runner, cell))
			cell->status = "done";
		else if (i >= options->first && i <= options->last)
			g_ptr_array_add(wanted, cell);
	}
	if (fine) {
		write_status(&runner);
		fine = run_cells(&runner, wanted, error);
	}
	*failed = *violated = 0;
	for (guint i = 0; i < experiment->cells->len; i++) {
		const struct experiment_cell *cell = g_ptr_array_index(experiment->cells, i);
		*failed += strcmp(cell->status, "failed") == 0;
		*violated += strcmp(cell->status, "done") == 0 && cell->exit == 1;
	}
	g_ptr_array_unref(wanted);
	g_free(runner.jobs);
	g_free(runner.directory);
	return fine;
}
