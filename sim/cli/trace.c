/* `trace`: traces out of traces. A table of actions, one function each. */
#include "sim/cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "workloads/tools/tools.h"
#include "workloads/trace_text.h"

struct action {
	const char *name;
	const char *arguments;
	const char *summary;
	int (*run)(const struct cli_command *command, int argc, char **argv);
};

/* ---- numbers ---- */

/* A whole number, or with a UNIT one with decimals times UNIT. */
static bool parse_number(const char *text, double unit, uint64_t *number)
{
	char *stop;
	guint64 whole;

	if (unit == 0) {
		if (!g_ascii_string_to_unsigned(text, 10, 0, UINT64_MAX, &whole, NULL))
			return false;
		*number = whole;
		return true;
	}
	double value = g_ascii_strtod(text, &stop) * unit;
	if (*stop || !(value >= 0) || value > 1e18)
		return false;
	*number = (uint64_t)(value + 0.5);
	return true;
}

/* "A..B", "A..", "..B". What is left out keeps its value. */
static bool parse_range(const char *text, double unit, uint64_t *first, uint64_t *end)
{
	const char *dots = strstr(text, "..");

	if (!dots)
		return false;
	g_autofree char *left = g_strndup(text, (gsize)(dots - text));
	return (!*left || parse_number(left, unit, first)) &&
	       (!dots[2] || parse_number(dots + 2, unit, end));
}

/* Numbers between commas; what is none goes to NAMES, or is refused without them. */
static bool parse_list(const char *text, uint64_t most, GArray *numbers, GPtrArray *names)
{
	char **items = g_strsplit(text, ",", -1);
	bool good = *items != NULL;

	for (char **item = items; good && *item; item++) {
		guint64 number;
		if (g_ascii_string_to_unsigned(*item, 10, 0, most, &number, NULL)) {
			uint32_t value = (uint32_t)number;
			uint16_t narrow = (uint16_t)number;
			g_array_append_vals(numbers,
					    g_array_get_element_size(numbers) == sizeof narrow
						    ? (gconstpointer)&narrow
						    : (gconstpointer)&value,
					    1);
		} else if (names && **item) {
			g_ptr_array_add(names, g_strdup(*item));
		} else {
			good = false;
		}
	}
	g_strfreev(items);
	return good;
}

static int finish(bool done, GError **error)
{
	return done ? CLI_OK : cli_fail(*error);
}

static GOptionEntry output_entry(char **output)
{
	return (GOptionEntry){ "output", 'o', 0, G_OPTION_ARG_FILENAME, output, "The file to write",
			       "FILE" };
}

static int need_output(const struct cli_command *command, const char *output)
{
	return output ? CLI_OK : cli_usage("%s needs -o FILE", command->name);
}

/* ---- the actions ---- */

static int run_cut(const struct cli_command *command, int argc, char **argv)
{
	g_autofree char *output = NULL, *events = NULL, *seconds = NULL;
	struct trace_cut cut = { 0, UINT64_MAX, false };
	const GOptionEntry entries[] = {
		output_entry(&output),
		{ "events", 0, 0, G_OPTION_ARG_STRING, &events,
		  "Events from number A up to, but not with, B", "A..B" },
		{ "time", 0, 0, G_OPTION_ARG_STRING, &seconds, "The same by seconds", "A..B" },
		{ NULL },
	};
	g_auto(GStrv) rest = NULL;
	GError *error = NULL;
	int code = cli_parse(command, entries, 1, argc, argv, &rest);

	if (code == CLI_OK)
		code = need_output(command, output);
	if (code == CLI_OK && !events == !seconds)
		code = cli_usage("trace cut needs either --events A..B or --time A..B");
	cut.by_time = seconds != NULL;
	if (code == CLI_OK &&
	    !parse_range(events ? events : seconds, seconds ? 1e9 : 0, &cut.first, &cut.end))
		code = cli_usage("'%s' is no range A..B", events ? events : seconds);
	return code == CLI_OK ? finish(trace_cut(rest[0], output, &cut, &error), &error) : code;
}

static int run_merge(const struct cli_command *command, int argc, char **argv)
{
	g_autofree char *output = NULL;
	const GOptionEntry entries[] = { output_entry(&output), { NULL } };
	g_auto(GStrv) rest = NULL;
	GError *error = NULL;
	int code = cli_parse(command, entries, -TRACE_MERGE_LIMIT, argc, argv, &rest);

	if (code == CLI_OK)
		code = need_output(command, output);
	if (code == CLI_OK && g_strv_length(rest) < 2)
		code = cli_usage("trace merge needs two traces or more");
	return code == CLI_OK ? finish(trace_merge((const char *const *)rest, g_strv_length(rest),
						   output, &error),
				       &error)
			      : code;
}

static int run_filter(const struct cli_command *command, int argc, char **argv)
{
	g_autofree char *output = NULL, *tasks = NULL, *cpus = NULL, *orders = NULL;
	const GOptionEntry entries[] = {
		output_entry(&output),
		{ "task", 0, 0, G_OPTION_ARG_STRING, &tasks, "Process numbers or names", "LIST" },
		{ "cpu", 0, 0, G_OPTION_ARG_STRING, &cpus, "CPUs", "LIST" },
		{ "order", 0, 0, G_OPTION_ARG_STRING, &orders, "Orders of frame blocks, A to B",
		  "A..B" },
		{ NULL },
	};
	g_auto(GStrv) rest = NULL;
	g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	g_autoptr(GArray) cpu_list = g_array_new(FALSE, FALSE, sizeof(uint16_t));
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	uint64_t first = 0, last = 32;
	GError *error = NULL;
	int code = cli_parse(command, entries, 1, argc, argv, &rest);

	if (code == CLI_OK)
		code = need_output(command, output);
	if (code == CLI_OK && !tasks && !cpus && !orders)
		code = cli_usage("trace filter needs --task, --cpu or --order");
	if (code == CLI_OK && tasks && !parse_list(tasks, UINT32_MAX, numbers, names))
		code = cli_usage("'%s' is no list of tasks", tasks);
	if (code == CLI_OK && cpus && !parse_list(cpus, UINT16_MAX - 1, cpu_list, NULL))
		code = cli_usage("'%s' is no list of CPUs", cpus);
	if (code == CLI_OK && orders &&
	    (!parse_range(orders, 0, &first, &last) || first > last || last > 32))
		code = cli_usage("'%s' is no range of orders, 0..32 at most", orders);
	if (code != CLI_OK)
		return code;
	g_ptr_array_add(names, NULL);
	struct trace_filter filter = { .tasks = numbers,
				       .names = (const char *const *)names->pdata,
				       .cpus = cpu_list,
				       .order_first = (int)first,
				       .order_last = orders ? (int)last : -1 };
	return finish(trace_filter(rest[0], output, &filter, &error), &error);
}

static int run_scale(const struct cli_command *command, int argc, char **argv)
{
	g_autofree char *output = NULL;
	int copies = 0;
	double shift = 0;
	const GOptionEntry entries[] = {
		output_entry(&output),
		{ "copies", 0, 0, G_OPTION_ARG_INT, &copies, "How many run at the same time", "K" },
		{ "shift", 0, 0, G_OPTION_ARG_DOUBLE, &shift,
		  "Each begins so much later than the one before (0)", "SECONDS" },
		{ NULL },
	};
	g_auto(GStrv) rest = NULL;
	GError *error = NULL;
	int code = cli_parse(command, entries, 1, argc, argv, &rest);

	if (code == CLI_OK)
		code = need_output(command, output);
	if (code == CLI_OK && copies < 1)
		code = cli_usage("trace scale needs --copies K");
	if (code == CLI_OK && !(shift >= 0 && shift < 1e9))
		code = cli_usage("--shift is from 0 to 1e9 seconds");
	return code == CLI_OK ? finish(trace_scale(rest[0], output, (unsigned)copies,
						   (uint64_t)(shift * 1e9 + 0.5), &error),
				       &error)
			      : code;
}

static int run_anonymise(const struct cli_command *command, int argc, char **argv)
{
	g_autofree char *output = NULL, *key = NULL;
	const GOptionEntry entries[] = {
		output_entry(&output),
		{ "key", 0, 0, G_OPTION_ARG_STRING, &key,
		  "Makes the same names every time (default: random)", "TEXT" },
		{ NULL },
	};
	g_auto(GStrv) rest = NULL;
	GError *error = NULL;
	int code = cli_parse(command, entries, 1, argc, argv, &rest);

	if (code == CLI_OK)
		code = need_output(command, output);
	return code == CLI_OK ? finish(trace_anonymise(rest[0], output, key, &error), &error)
			      : code;
}

static int run_diff(const struct cli_command *command, int argc, char **argv)
{
	const GOptionEntry entries[] = { { NULL } };
	g_auto(GStrv) rest = NULL;
	GError *error = NULL;
	int code = cli_parse(command, entries, 2, argc, argv, &rest);

	if (code != CLI_OK)
		return code;
	int differ = trace_diff(rest[0], rest[1], stdout, &error);
	return differ < 0 ? cli_fail(error) : differ ? CLI_CHECK_FAILED : CLI_OK;
}

static int validate(const char *path)
{
	GError *error = NULL;
	struct trace_reader *reader = trace_reader_open(path, &error);

	if (reader && trace_validate(reader, &error)) {
		const struct trace_meta *meta = trace_reader_meta(reader);
		printf("%s: good: %" G_GUINT64_FORMAT " events, %" G_GUINT64_FORMAT
		       " allocations before them\n",
		       path, meta->events, meta->prologue);
	}
	trace_reader_free(reader);
	return error ? cli_fail(error) : CLI_OK;
}

static int run_validate(const struct cli_command *command, int argc, char **argv)
{
	const GOptionEntry entries[] = { { NULL } };
	g_auto(GStrv) rest = NULL;
	int code = cli_parse(command, entries, -G_MAXINT16, argc, argv, &rest);

	if (code == CLI_OK && !rest[0])
		code = cli_usage("trace validate needs a trace");
	for (char **path = rest; code == CLI_OK && *path; path++)
		code = validate(*path);
	return code;
}

static bool to_text(const char *input, const char *output, GError **error)
{
	struct trace_reader *reader = trace_reader_open(input, error);
	g_autofree char *aside = g_strconcat(output, ".partial", NULL);
	FILE *out = reader ? fopen(aside, "we") : NULL;
	bool done = false;

	if (out)
		done = trace_text_write(reader, out, error);
	else if (reader)
		trace_error_set(error, TRACE_ERROR_IO, "cannot create %s: %s", aside,
				g_strerror(errno));
	if (out && fclose(out) != 0 && done)
		done = trace_error_set(error, TRACE_ERROR_IO, "cannot write %s", aside);
	if (done && rename(aside, output) != 0)
		done = trace_error_set(error, TRACE_ERROR_IO, "cannot create %s: %s", output,
				       g_strerror(errno));
	if (out && !done)
		remove(aside);
	trace_reader_free(reader);
	return done;
}

/* A trace begins with its magic number, anything else is taken for text. */
static bool convert(const char *input, const char *output, GError **error)
{
	FILE *in = fopen(input, "re");
	int first = in ? getc(in) : EOF;
	bool done;

	if (!in || ferror(in)) {
		trace_error_set(error, TRACE_ERROR_IO, "cannot read %s: %s", input,
				g_strerror(errno));
		done = false;
	} else if (first == 0x89) {
		done = to_text(input, output, error);
	} else {
		ungetc(first, in);
		done = trace_text_read(in, input, output, error);
	}
	if (in)
		fclose(in);
	return done;
}

static int run_convert(const struct cli_command *command, int argc, char **argv)
{
	g_autofree char *output = NULL;
	const GOptionEntry entries[] = { output_entry(&output), { NULL } };
	g_auto(GStrv) rest = NULL;
	GError *error = NULL;
	int code = cli_parse(command, entries, 1, argc, argv, &rest);

	if (code == CLI_OK)
		code = need_output(command, output);
	return code == CLI_OK ? finish(convert(rest[0], output, &error), &error) : code;
}

/* ---- the table ---- */

static const struct action actions[] = {
	{ "cut", "TRACE.kmt --events A..B -o PIECE.kmt", "the events of a range, with what lives",
	  run_cut },
	{ "merge", "A.kmt B.kmt ... -o SUM.kmt", "pieces to a whole, or machines side by side",
	  run_merge },
	{ "filter", "TRACE.kmt --task LIST -o PART.kmt", "what some tasks, CPUs or orders did",
	  run_filter },
	{ "scale", "TRACE.kmt --copies K -o MORE.kmt", "the workload K times at once", run_scale },
	{ "anonymise", "TRACE.kmt -o PUBLIC.kmt", "names and call sites as hashes", run_anonymise },
	{ "diff", "A.kmt B.kmt", "what differs; exit 1 if anything does", run_diff },
	{ "validate", "TRACE.kmt ...", "whether all of it makes sense", run_validate },
	{ "convert", "FILE -o FILE", "a trace to its text twin, or back", run_convert },
};

int cli_trace(const struct cli_command *command, int argc, char **argv)
{
	const GOptionEntry entries[] = { { NULL } };
	g_auto(GStrv) rest = NULL;

	for (size_t i = 0; argc > 1 && i < G_N_ELEMENTS(actions); i++) {
		const struct action *action = &actions[i];
		g_autofree char *name = g_strconcat("trace ", action->name, NULL);
		struct cli_command ours = { name, action->arguments, action->summary,
					    command->details, action->run };
		if (strcmp(argv[1], action->name) == 0)
			return action->run(&ours, argc - 1, argv + 1);
	}
	if (argc > 1 && argv[1][0] != '-')
		return cli_usage("trace: no action '%s'; see kmemlab trace --help", argv[1]);
	int code = cli_parse(command, entries, 0, argc, argv, &rest);
	return code == CLI_OK ? cli_usage("trace needs an action; see kmemlab trace --help") : code;
}
