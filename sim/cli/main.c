#include "sim/cli/cli.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "sim/lab.h"
#include "sim/result.h"
#include "sim/version.h"
#include "workloads/trace.h"

const struct cli_command cli_commands[] = {
	{ "list", "[frames|heaps|tables|spaces|machines|workloads|starts|metrics]",
	  "what there is to choose from",
	  "  kmemlab list frames --frames ./mine.so\n  kmemlab list heaps --heap ./mine.so\n  "
	  "kmemlab list metrics --json",
	  cli_list },
	{ "import", "FILE -o TRACE.kmt", "make a .kmt trace of a recording",
	  "The format is detected from the content. A ground-truth.tar.zst or ground-truth/ beside "
	  "the recording is used for the\n"
	  "memory map, the start state and the snapshots; --state names another.\n\n"
	  "  kmemlab import trace.dat -o redis.kmt\n  kmemlab import report.txt.zst --state "
	  "ground-truth.tar.zst -o thp.kmt",
	  cli_import },
	{ "generate", "WORKLOAD [KEY=VALUE ...] -o TRACE.kmt",
	  "make a .kmt trace of a workload that nobody recorded",
	  "The same workload, parameters and seed give the same file on every machine. kmemlab "
	  "list "
	  "workloads shows what there is,\n"
	  "--parameters what can be set.\n\n"
	  "  kmemlab generate larson threads=4 slots=500 --seed 7 -o larson.kmt\n"
	  "  kmemlab generate frame-churn live=80 ram=128M -o churn.kmt\n"
	  "  kmemlab generate robson --parameters",
	  cli_generate },
	{ "record", "-o TRACE.kmt [--seconds N] [-- COMMAND ...]",
	  "record this machine's kernel (as root) into a trace",
	  "Records the page events of the whole machine through tracefs while a command runs, or "
	  "for "
	  "some seconds, with\n"
	  "snapshots of /proc at both ends. scripts/record-guest.sh does the same in QEMU, without "
	  "root. Exit 2 without\n"
	  "permission, 3 where there is no tracefs.\n\n"
	  "  sudo kmemlab record -o make.kmt -- make -j4\n"
	  "  sudo kmemlab record -o minute.kmt --seconds 60 --snapshots 5 --faults",
	  cli_record },
	{ "info", "TRACE.kmt", "what a trace holds",
	  "  kmemlab info redis.kmt\n  kmemlab info redis.kmt --dump | less\n"
	  "  kmemlab info redis.kmt --distributions --plot redis.svg",
	  cli_info },
	{ "trace", "ACTION ...", "cut, merge, filter, scale, anonymise, diff, validate, convert",
	  "  cut TRACE.kmt --events A..B | --time A..B   a piece, with what is alive where it "
	  "begins\n"
	  "  merge A.kmt B.kmt ...       pieces to a whole; other traces: machines side by side\n"
	  "  filter TRACE.kmt [--task LIST] [--cpu LIST] [--order A..B]   with the frees of what "
	  "is "
	  "kept\n"
	  "  scale TRACE.kmt --copies K [--shift SECONDS]   the workload K times at once\n"
	  "  anonymise TRACE.kmt [--key TEXT]   names and call sites as keyed hashes\n"
	  "  diff A.kmt B.kmt            exit 1 if anything differs\n"
	  "  validate TRACE.kmt ...      whether all of it makes sense\n"
	  "  convert FILE                a trace to its text twin, or back, without loss\n"
	  "All but diff and validate need -o FILE.\n\n"
	  "  kmemlab trace cut redis.kmt --time 5..10 -o five.kmt\n"
	  "  kmemlab trace filter redis.kmt --task redis-server --order 1..9 -o big.kmt\n"
	  "  kmemlab trace scale redis.kmt --copies 8 --shift 0.5 -o eight.kmt",
	  cli_trace },
	{ "replay", "TRACE.kmt --frames NAME", "run one trace against one allocator",
	  "Boots a machine, sets up the trace's start state and replays every event, once natively "
	  "(latency) and once probed\n"
	  "(machine events, memory checks). Exit 1 when an invariant is broken or the passes "
	  "differ; failed allocations are data.\n\n"
	  "  kmemlab replay redis.kmt --frames buddy --json\n"
	  "  kmemlab replay redis.kmt --frames bitmap --set frames.policy=next-fit --ram 1G -o "
	  "results/try/bitmap\n"
	  "  kmemlab replay redis.kmt --frames llfree --threads 2",
	  cli_replay },
	{ "run", "EXPERIMENT.ini", "run allocators x traces x machines x seeds",
	  "Cells run in parallel processes; what is finished is kept and not repeated.\n\n"
	  "  kmemlab run workloads/specs/demo.ini --jobs 2\n  kmemlab run demo.ini --dry-run",
	  cli_run },
	{ "plot", "DIR", "draw the plots of an experiment", "  kmemlab plot results/demo",
	  cli_plot },
	{ "report", "DIR -o report.html",
	  "write an experiment's report, one self-contained HTML file",
	  "  kmemlab report results/demo -o report.html", cli_report },
	{ "walk", "--memory FILE --vaddr V", "explain an address translation of a dumped machine",
	  "Reads page tables out of a dump and says, entry by entry, what an address leads to, who "
	  "may do what there, and why an\n"
	  "access faults. Numbers are hexadecimal, with or without 0x. A pt-pages file brings its "
	  "own control registers.\n"
	  "Exit 3 when a page table lies in a frame that the file lacks.\n\n"
	  "In QEMU's monitor:  pmemsave 0 0x8000000 ram.bin   (or dump-guest-memory ram.elf), then "
	  "info registers\n\n"
	  "  kmemlab walk --memory ram.bin --cr0 80050033 --cr3 1062000 --cr4 6f0 --efer d01 "
	  "--vaddr 401234 --access w --user\n"
	  "  kmemlab walk --memory ram.elf --cr0 80050033 --cr3 1062000 --cr4 6f0 --efer d01 "
	  "--vaddrs list.txt\n"
	  "  kmemlab walk --memory pt-pages.bin.zst --ranges",
	  cli_walk },
	{ "check", "[TRACE.kmt|SCHEDULE] [--frames NAME|--heap NAME]",
	  "prove allocators against their contract",
	  "Random operations by seed on a dozen memory maps and with every option's values: all "
	  "that is handed out is judged, all\n"
	  "invariants are checked on the way, misuse must be refused or detected, and everything "
	  "must be free at the end, in both\n"
	  "passes alike. The first failure is shrunk to a few operations, written as a trace, and "
	  "printed with the command that\n"
	  "shows it again. A crash or a hang ends its own process. With a trace: only its "
	  "operations, misuse included. Exit 1\n"
	  "when something is wrong.\n"
	  "With --tables or --space: random processes in every paging mode; what every touch reads "
	  "is compared with a reference model.\n\n"
	  "  kmemlab check --tables recursive --mode pae --operations 20000\n"
	  "  kmemlab check\n  kmemlab check --frames buddy --seed 7 --operations 5000\n"
	  "  kmemlab check --frames bitmap --set frames.policy=best-fit -o failure.kmt\n"
	  "  kmemlab check --heap ./mine.so\n"
	  "  kmemlab check --explore --frames llfree --preemptions 3",
	  cli_check },
	{ "boot", "", "what it costs to start an allocator, by RAM size",
	  "From the firmware's memory map to the first frame handed out, the direct map's page "
	  "tables included: loads, stores and\nframes touched in the probed build, CPU time in the "
	  "native one, bytes of state.\n\n"
	  "  kmemlab boot --frames buddy --frames stack\n"
	  "  kmemlab boot --ram 64M --ram 1T --json\n  kmemlab boot -o results/demo/boot.csv",
	  cli_boot },
	{ "distance", "STATE STATE", "how far two fragmented states are apart",
	  "Half the sum over orders of the difference in the share of free frames that lie in free "
	  "blocks of that order: 0 the\nsame, 1 nothing in common. A state is a fixture (kmemlab "
	  "list starts), a run's folder (its last sample; @start or\n@EVENT chooses another), or a "
	  "file with the text of /proc/buddyinfo.\n\n"
	  "  kmemlab distance aged-desktop half-random --ram 1G\n"
	  "  kmemlab distance results/demo/redis-page.buddy.s1@start "
	  "results/demo/redis-page.buddy.s1 --json",
	  cli_distance },
	{ "bench", "[NAME]", "measure kmemlab and its allocators against yardsticks",
	  "Every figure is a ratio to a minimal loop timed in the same run.\n\n  kmemlab bench\n  "
	  "kmemlab bench frames --json\n  kmemlab bench heaps --trace redis-slab.kmt",
	  cli_bench },
	{ NULL, NULL, NULL, NULL, NULL },
};

static void print_help(FILE *to)
{
	fprintf(to, "Usage: kmemlab COMMAND [OPTIONS] ...\n\n"
		    "A lab bench for kernel memory managers: real kernel allocators on a simulated "
		    "x86 machine, under\n"
		    "recorded workloads.\n\nCommands:\n");
	for (const struct cli_command *command = cli_commands; command->name; command++)
		fprintf(to, "  %-8s %s\n", command->name, command->summary);
	fprintf(to,
		"\n  kmemlab COMMAND --help    says more, with examples\n  kmemlab --version\n\n"
		"Exit codes: 0 done; 1 done, but a check failed; 2 usage; 3 bad input; 4 "
		"internal.\n");
}

int cli_fail(GError *error)
{
	static const int lab_codes[] = { [LAB_ERROR_USAGE] = CLI_USAGE,
					 [LAB_ERROR_BOOT] = CLI_USAGE,
					 [LAB_ERROR_INPUT] = CLI_BAD_INPUT,
					 [LAB_ERROR_ALLOCATOR] = CLI_CHECK_FAILED,
					 [LAB_ERROR_LAB] = CLI_INTERNAL };
	int code = CLI_INTERNAL;

	if (error->domain == LAB_ERROR)
		code = lab_codes[error->code];
	else if (error->domain == TRACE_ERROR)
		code = error->code == TRACE_ERROR_USAGE ? CLI_USAGE : CLI_BAD_INPUT;
	else if (error->domain == RESULT_ERROR)
		code = error->code == RESULT_ERROR_EXISTS ? CLI_USAGE : CLI_INTERNAL;
	else if (error->domain == G_FILE_ERROR)
		code = CLI_BAD_INPUT;
	fprintf(stderr, "kmemlab: %s\n", error->message);
	g_error_free(error);
	return code;
}

int cli_usage(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	char *text = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	fprintf(stderr, "kmemlab: %s\n", text);
	g_free(text);
	return CLI_USAGE;
}

int cli_parse(const struct cli_command *command, const GOptionEntry *entries, int wanted, int argc,
	      char **argv, char ***rest)
{
	gboolean help = FALSE;
	const GOptionEntry help_entry[] = {
		{ "help", 'h', 0, G_OPTION_ARG_NONE, &help, "Show this help", NULL }, { NULL }
	};
	GOptionContext *context = g_option_context_new(command->arguments);
	GError *error = NULL;

	g_option_context_set_help_enabled(context, FALSE);
	g_option_context_set_summary(context, command->summary);
	g_option_context_set_description(context, command->details);
	g_option_context_add_main_entries(context, entries, NULL);
	g_option_context_add_main_entries(context, help_entry, NULL);
	char *program = g_strdup_printf("kmemlab %s", command->name);
	g_set_prgname(program);
	g_free(program);
	bool parsed = g_option_context_parse(context, &argc, &argv, &error);
	char *text = g_option_context_get_help(context, TRUE, NULL);
	g_option_context_free(context);
	int got = argc - 1;
	int status = CLI_OK;
	if (!parsed) {
		status = cli_usage("%s: %s", command->name, error->message);
		g_error_free(error);
	} else if (help) {
		fputs(text, stdout);
		status = -1;
	} else if (wanted >= 0 ? got != wanted : got > -wanted) {
		status = cli_usage("%s takes %s; see kmemlab %s --help", command->name,
				   command->arguments, command->name);
	}
	g_free(text);
	*rest = status == CLI_OK ? g_strdupv(argv + 1) : NULL;
	return status;
}

void cli_print_json(JsonNode *root)
{
	JsonGenerator *generator = json_generator_new();

	json_generator_set_root(generator, root);
	json_generator_set_pretty(generator, TRUE);
	char *text = json_generator_to_data(generator, NULL);
	puts(text);
	g_free(text);
	g_object_unref(generator);
	json_node_unref(root);
}

/* What was printed must have arrived. CODE is negative after --help. */
static int end(int code)
{
	code = MAX(code, CLI_OK);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	fprintf(stderr, "kmemlab: cannot write to standard output\n");
	return CLI_INTERNAL;
}

int main(int argc, char **argv)
{
	setlocale(LC_MESSAGES, "");
	if (argc < 2) {
		print_help(stderr);
		return CLI_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		print_help(stdout);
		return end(CLI_OK);
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("kmemlab " KMEMLAB_VERSION);
		return end(CLI_OK);
	}
	for (const struct cli_command *command = cli_commands; command->name; command++)
		if (strcmp(argv[1], command->name) == 0)
			return end(command->run(command, argc - 1, argv + 1));
	return cli_usage("unknown command '%s'; kmemlab --help lists them", argv[1]);
}
