#include "sim/cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sim/walk_explain.h"
#include "sim/walk_list.h"
#include "workloads/small_file.h"

/* Of the frames that a file lacks, this many are named. */
#define MISSING_NAMED 8u

/* The command line as it came; -1 and NULL: not given. */
struct options {
	char *memory, *base, *cr0, *cr3, *cr4, *efer, *pkru, *pkrs;
	char **vaddr;
	char *vaddrs, *access, *format;
	gint maxphyaddr;
	gboolean user, ac, ranges, entries;
	char **recursive;
};

/* What it means. */
struct plan {
	struct mmu_access access;
	bool judged; /* --access was given */
	bool tsv;
	GArray *slots;
	GArray *addresses; /* uint64_t */
};

/* ---- Reading the command line ---- */

static bool parse_hex(const char *text, uint64_t *value)
{
	char *end;

	if (!g_ascii_isxdigit(*text))
		return false;
	errno = 0;
	*value = g_ascii_strtoull(text, &end, 16);
	return *end == '\0' && errno == 0;
}

/* Sets *value only where the option was given. */
static int hex_option(const char *name, const char *text, uint64_t *value)
{
	if (text && !parse_hex(text, value))
		return cli_usage("walk: --%s %s: not a hexadecimal number of up to 64 bits", name,
				 text);
	return CLI_OK;
}

static int key_option(const char *name, const char *text, uint32_t *value)
{
	uint64_t wide = *value;
	int code = hex_option(name, text, &wide);

	if (code == CLI_OK && wide > UINT32_MAX)
		code = cli_usage("walk: --%s %s: has 32 bits", name, text);
	*value = (uint32_t)wide;
	return code;
}

static int read_state(const struct options *options, const struct walk_memory *memory,
		      struct mmu_state *state)
{
	const struct {
		const char *name, *text;
		uint64_t *value;
	} registers[] = {
		{ "cr0", options->cr0, &state->cr0 },
		{ "cr3", options->cr3, &state->cr3 },
		{ "cr4", options->cr4, &state->cr4 },
		{ "efer", options->efer, &state->efer },
	};
	int code = CLI_OK;

	*state = memory->state;
	for (unsigned i = 0; i < G_N_ELEMENTS(registers) && code == CLI_OK; i++) {
		if (!registers[i].text && !memory->has_state)
			code = cli_usage("walk: --%s is needed: a %s holds no control registers; "
					 "the monitor's 'info registers' shows them",
					 registers[i].name, memory->format);
		else
			code = hex_option(registers[i].name, registers[i].text, registers[i].value);
	}
	if (code == CLI_OK)
		code = key_option("pkru", options->pkru, &state->pkru);
	return code != CLI_OK ? code : key_option("pkrs", options->pkrs, &state->pkrs);
}

static int read_access(const struct options *options, struct plan *plan)
{
	static const char letters[] = "rwx"; /* in the order of enum mmu_kind */
	const char *kind = options->access ? options->access : "r";
	const char *letter = strlen(kind) == 1 ? strchr(letters, *kind) : NULL;

	if (!letter)
		return cli_usage("walk: --access %s: r, w or x", kind);
	if (options->user && options->ac)
		return cli_usage("walk: --ac is about the kernel's accesses, not with --user");
	if (!options->access && (options->user || options->ac))
		return cli_usage("walk: --user and --ac say who accesses: give --access too");
	plan->judged = options->access != NULL;
	plan->access = (struct mmu_access){
		.kind = (uint8_t)(letter - letters),
		.context = options->user ? MMU_USER
			   : options->ac ? MMU_SUPERVISOR_AC
					 : MMU_SUPERVISOR,
	};
	return CLI_OK;
}

static int read_format(const struct options *options, struct plan *plan)
{
	const char *format = options->format ? options->format : options->vaddrs ? "tsv" : "text";

	plan->tsv = strcmp(format, "tsv") == 0;
	if (!plan->tsv && strcmp(format, "text") != 0)
		return cli_usage("walk: --format %s: text or tsv", format);
	return CLI_OK;
}

static int read_slots(const struct options *options, struct plan *plan)
{
	for (char **text = options->recursive; text && *text; text++) {
		guint64 slot;
		if (!g_ascii_string_to_unsigned(*text, 10, 0, 2047, &slot, NULL))
			return cli_usage("walk: --recursive %s: the number of an entry", *text);
		unsigned small = (unsigned)slot;
		g_array_append_val(plan->slots, small);
	}
	return CLI_OK;
}

static int check_options(const struct options *options, struct plan *plan)
{
	int questions = (options->vaddr != NULL) + (options->vaddrs != NULL) + options->ranges +
			options->entries;
	int code;

	if (!options->memory)
		return cli_usage("walk: --memory is needed; see kmemlab walk --help");
	if (questions != 1)
		return cli_usage(
			"walk: one of --vaddr, --vaddrs, --ranges and --entries is needed");
	if (options->maxphyaddr != 0 && (options->maxphyaddr < 32 || options->maxphyaddr > 52))
		return cli_usage("walk: --maxphyaddr: 32 to 52");
	code = read_access(options, plan);
	if (code == CLI_OK)
		code = read_format(options, plan);
	return code != CLI_OK ? code : read_slots(options, plan);
}

/* ---- Addresses ---- */

static bool fits(const struct walk_machine *machine, uint64_t va)
{
	return walk_wide(machine) || va <= UINT32_MAX;
}

static int read_vaddr_options(const struct options *options, const struct walk_machine *machine,
			      GArray *addresses)
{
	for (char **text = options->vaddr; *text; text++) {
		uint64_t va;
		int code = hex_option("vaddr", *text, &va);
		if (code != CLI_OK)
			return code;
		if (!fits(machine, va))
			return cli_usage("walk: --vaddr %s: linear addresses have 32 bits with %s",
					 *text, walk_mode_name(machine->mode));
		g_array_append_val(addresses, va);
	}
	return CLI_OK;
}

static int bad_line(const char *path, unsigned number, const char *what)
{
	fprintf(stderr, "kmemlab: %s:%u: %s\n", path, number, what);
	return CLI_BAD_INPUT;
}

static int read_vaddr_lines(const char *path, char *text, const struct walk_machine *machine,
			    GArray *addresses)
{
	unsigned number = 1;
	char *next;

	for (char *line = text; line; line = next, number++) {
		uint64_t va;
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		g_strstrip(line);
		if (*line == '\0')
			continue;
		if (!parse_hex(line, &va))
			return bad_line(path, number, "not a hexadecimal address");
		if (!fits(machine, va))
			return bad_line(path, number, "linear addresses have 32 bits in this mode");
		g_array_append_val(addresses, va);
	}
	return CLI_OK;
}

static int read_addresses(const struct options *options, const struct walk_machine *machine,
			  GArray *addresses)
{
	GError *error = NULL;
	char *text;

	if (options->vaddr)
		return read_vaddr_options(options, machine, addresses);
	if (!small_file_read(options->vaddrs, &text, NULL, &error))
		return cli_fail(error);
	int code = read_vaddr_lines(options->vaddrs, text, machine, addresses);
	g_free(text);
	return code;
}

/* ---- Answers ---- */

static void print_tsv(const struct mmu_walk *walk, uint64_t va)
{
	uint8_t rights = walk->leaf.rights;

	if (walk->fault.vector == MMU_GP)
		printf("%" PRIx64 "\t-\t-\t-\tgp\n", va);
	else if (walk->fault.vector)
		printf("%" PRIx64 "\t-\t-\t-\t%x\n", va, walk->fault.error_code);
	else
		printf("%" PRIx64 "\t%" PRIx64 "\t%u\t%c%c%c\t-\n", va, walk->paddr.a,
		       walk->leaf.page_shift, rights & MMU_RIGHT_W ? 'W' : '-',
		       rights & MMU_RIGHT_U ? 'U' : '-', rights & MMU_RIGHT_X ? 'X' : '-');
}

static void note_missing(GHashTable *missing, uint64_t paddr)
{
	gint64 *frame = g_new(gint64, 1);

	*frame = (gint64)(paddr / X86_PAGE_BYTES);
	g_hash_table_add(missing, frame);
}

static gint compare_frames(gconstpointer a, gconstpointer b)
{
	gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;

	return (x > y) - (x < y);
}

/* Names the frames on stderr. CLI_OK where there are none. */
static int report_missing(const char *path, GHashTable *missing)
{
	guint count = g_hash_table_size(missing), named = 0;
	GString *text = g_string_new(NULL);

	if (count == 0) {
		g_string_free(text, TRUE);
		return CLI_OK;
	}
	GList *frames = g_list_sort(g_hash_table_get_keys(missing), compare_frames);
	for (GList *frame = frames; frame && named < MISSING_NAMED; frame = frame->next, named++)
		g_string_append_printf(text, "%s%#" PRIx64, named ? ", " : "",
				       (uint64_t) * (gint64 *)frame->data);
	if (count > named)
		g_string_append_printf(text, " and %u more", count - named);
	fprintf(stderr, "kmemlab: %s: page tables lie in frame%s %s, which the file lacks\n", path,
		count > 1 ? "s" : "", text->str);
	g_list_free(frames);
	g_string_free(text, TRUE);
	return CLI_BAD_INPUT;
}

static void answer(struct walk_machine *machine, const struct plan *plan, uint64_t va,
		   GHashTable *missing)
{
	struct walk_question question = {
		.va = va,
		.access = plan->judged ? &plan->access : NULL,
		.slots = (const unsigned *)(const void *)plan->slots->data,
		.slot_count = plan->slots->len,
	};
	struct mmu_walk walk;
	uint64_t lacking;
	bool whole;

	if (!plan->tsv) {
		whole = walk_explain(machine, &question, stdout, &lacking);
	} else {
		whole = walk_memory_walk(machine->memory, machine->cpu, va, question.access, &walk,
					 &lacking);
		if (whole)
			print_tsv(&walk, va);
		else
			printf("%" PRIx64 "\t?\t?\t?\t?\n", va);
	}
	if (!whole)
		note_missing(missing, lacking);
}

static int answer_all(const struct options *options, struct walk_machine *machine,
		      struct plan *plan)
{
	GHashTable *missing = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	int code = read_addresses(options, machine, plan->addresses);

	for (guint i = 0; i < plan->addresses->len && code == CLI_OK; i++) {
		if (i > 0 && !plan->tsv)
			printf("\n----\n\n");
		answer(machine, plan, g_array_index(plan->addresses, uint64_t, i), missing);
	}
	if (code == CLI_OK)
		code = report_missing(options->memory, missing);
	g_hash_table_unref(missing);
	return code;
}

static int list_all(const struct options *options, const struct walk_machine *machine)
{
	struct walk_list_result result = options->ranges ? walk_list_ranges(machine, stdout)
							 : walk_list_entries(machine, stdout);
	int code = report_missing(options->memory, result.missing);

	if (machine->mode == MMU_MODE_NONE) {
		fprintf(stderr, "kmemlab: paging is off (CR0.PG = 0): there are no tables\n");
	} else if (result.looped) {
		fprintf(stderr,
			"kmemlab: %s: the page tables lead back to themselves too often: "
			"given up\n",
			options->memory);
		code = CLI_BAD_INPUT;
	}
	g_hash_table_unref(result.missing);
	return code;
}

static int walk_with(const struct options *options, struct walk_memory *memory, struct plan *plan)
{
	struct mmu_state state;
	GError *error = NULL;
	int code = read_state(options, memory, &state);

	if (code != CLI_OK)
		return code;
	struct walk_machine *machine =
		walk_machine_new(memory, &state, (unsigned)options->maxphyaddr, &error);
	if (!machine)
		return cli_fail(error);
	code = options->ranges || options->entries ? list_all(options, machine)
						   : answer_all(options, machine, plan);
	walk_machine_free(machine);
	return code;
}

static int walk(const struct options *options)
{
	struct plan plan = { .slots = g_array_new(FALSE, FALSE, sizeof(unsigned)),
			     .addresses = g_array_new(FALSE, FALSE, sizeof(uint64_t)) };
	GError *error = NULL;
	uint64_t base = 0;
	int code = check_options(options, &plan);

	if (code == CLI_OK)
		code = hex_option("base", options->base, &base);
	if (code == CLI_OK) {
		struct walk_memory *memory = walk_memory_open(options->memory, base, &error);
		code = memory ? walk_with(options, memory, &plan) : cli_fail(error);
		if (memory)
			walk_memory_free(memory);
	}
	g_array_unref(plan.slots);
	g_array_unref(plan.addresses);
	return code;
}

static void options_clear(struct options *options)
{
	char **texts[] = { &options->memory, &options->base,   &options->cr0,	&options->cr3,
			   &options->cr4,    &options->efer,   &options->pkru,	&options->pkrs,
			   &options->vaddrs, &options->access, &options->format };

	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++)
		g_free(*texts[i]);
	g_strfreev(options->vaddr);
	g_strfreev(options->recursive);
}

int cli_walk(const struct cli_command *command, int argc, char **argv)
{
	struct options o = { 0 };
	const GOptionEntry entries[] = {
		{ "memory", 0, 0, G_OPTION_ARG_FILENAME, &o.memory,
		  "Physical memory: a raw dump, an ELF core or a pt-pages file; .zst too", "FILE" },
		{ "base", 0, 0, G_OPTION_ARG_STRING, &o.base,
		  "Physical address of a raw dump's first byte (default 0)", "PADDR" },
		{ "cr0", 0, 0, G_OPTION_ARG_STRING, &o.cr0, "Control registers, hexadecimal", "X" },
		{ "cr3", 0, 0, G_OPTION_ARG_STRING, &o.cr3, NULL, "X" },
		{ "cr4", 0, 0, G_OPTION_ARG_STRING, &o.cr4, NULL, "X" },
		{ "efer", 0, 0, G_OPTION_ARG_STRING, &o.efer, NULL, "X" },
		{ "pkru", 0, 0, G_OPTION_ARG_STRING, &o.pkru, "Protection keys (default 0)", "X" },
		{ "pkrs", 0, 0, G_OPTION_ARG_STRING, &o.pkrs, NULL, "X" },
		{ "maxphyaddr", 0, 0, G_OPTION_ARG_INT, &o.maxphyaddr,
		  "Physical-address bits of the processor, decimal (default 40, as QEMU's CPUs)",
		  "BITS" },
		{ "vaddr", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o.vaddr,
		  "Linear address to translate, hexadecimal; may be repeated", "V" },
		{ "vaddrs", 0, 0, G_OPTION_ARG_FILENAME, &o.vaddrs,
		  "File of addresses, one a line (output is tsv unless told)", "FILE" },
		{ "access", 0, 0, G_OPTION_ARG_STRING, &o.access,
		  "Judge a read, a write or a fetch; without it, say what is mapped", "r|w|x" },
		{ "user", 0, 0, G_OPTION_ARG_NONE, &o.user, "... by user code (CPL 3)", NULL },
		{ "ac", 0, 0, G_OPTION_ARG_NONE, &o.ac, "... by the kernel with EFLAGS.AC=1",
		  NULL },
		{ "format", 0, 0, G_OPTION_ARG_STRING, &o.format, "Explain in words, or one line",
		  "text|tsv" },
		{ "ranges", 0, 0, G_OPTION_ARG_NONE, &o.ranges,
		  "Print all mapped ranges, as QEMU's 'info mem' does", NULL },
		{ "entries", 0, 0, G_OPTION_ARG_NONE, &o.entries,
		  "Print all leaf entries, as QEMU's 'info tlb' does", NULL },
		{ "recursive", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o.recursive,
		  "Show the entries through this recursive slot (default: all there are)", "N" },
		{ NULL },
	};
	char **rest;
	int code = cli_parse(command, entries, 0, argc, argv, &rest);

	if (code == CLI_OK)
		code = walk(&o);
	options_clear(&o);
	g_strfreev(rest);
	return code;
}
