/*
 * policy.c - the space slot's registry: which mechanisms of space.h each policy has.
 */
#include "alloc/space/space.h"

const char *const space_cap_names[] = { "demand", "zero-frame", "zero-table",  "copy-on-write",
					"guards", "exit",	"large-pages", NULL };

const char *const space_fault_names[] = {
	"none",	     "spurious", "zero",  "zero-table", "fresh",     "large",
	"from-zero", "copy",	 "reuse", "bad",	"no-memory",
};

static const char *const larges[] = { "never", "asked", "always", NULL };

#define OPTION_PROCESSES                                                                         \
	{                                                                                        \
		"processes", "address spaces at a time at most; 0: what memory allows", NULL, 0, \
			0, 1u << 20                                                              \
	}
#define OPTION_GUARD_PAGES                                                                         \
	{                                                                                          \
		"guard-pages", "a bad touch so many pages beside a region is told as its guard's", \
			NULL, 1, 1, 1u << 20                                                       \
	}
#define OPTION_LARGE_PAGES(which)                                                                 \
	{                                                                                         \
		"large-pages",                                                                    \
			"regions that get large pages: none, those that ask, all that have room", \
			larges, which, 0, 0                                                       \
	}

static const struct frame_option options[] = {
	OPTION_PROCESSES,
	OPTION_GUARD_PAGES,
	{ .key = NULL },
};

static const struct frame_option options_asked[] = {
	OPTION_PROCESSES,
	OPTION_GUARD_PAGES,
	OPTION_LARGE_PAGES(SPACE_LARGE_ASKED),
	{ .key = NULL },
};

static const struct frame_option options_always[] = {
	OPTION_PROCESSES,
	OPTION_GUARD_PAGES,
	OPTION_LARGE_PAGES(SPACE_LARGE_ALWAYS),
	{ .key = NULL },
};

static const struct space_ops none = {
	.name = "none",
	.id = "-",
	.summary = "no address spaces: a trace's processes are not replayed",
};

#define EVERYBODY (SPACE_CAP_DEMAND | SPACE_CAP_EXIT)

static const struct space_ops regions = {
	.name = "regions",
	.id = "V1",
	.summary = "regions and a page-fault handler: a fresh frame at first touch, fork copies",
	.caps = EVERYBODY,
	.options = options,
};

static const struct space_ops zero_frame = {
	.name = "zero-frame",
	.id = "V2",
	.summary = "V1, and one zero frame is mapped everywhere until written",
	.caps = EVERYBODY | SPACE_CAP_ZERO_FRAME,
	.options = options,
};

static const struct space_ops zero_table = {
	.name = "zero-table",
	.id = "V3",
	.summary = "V2, and a whole table of zero pages is shared until its first write",
	.caps = EVERYBODY | SPACE_CAP_ZERO_FRAME | SPACE_CAP_ZERO_TABLE,
	.options = options,
};

static const struct space_ops cow = {
	.name = "cow",
	.id = "V4",
	.summary = "V1, and fork shares pages until one side writes",
	.caps = EVERYBODY | SPACE_CAP_COW,
	.options = options,
};

static const struct space_ops guarded = {
	.name = "guarded",
	.id = "V7",
	.summary = "V1, and null page and guard pages are never mapped",
	.caps = EVERYBODY | SPACE_CAP_GUARDS,
	.options = options,
};

static const struct space_ops large = {
	.name = "large",
	.id = "V10",
	.summary = "V4, and pages of 2 or 4 MiB where a block is free, split where they must be",
	.caps = EVERYBODY | SPACE_CAP_COW | SPACE_CAP_LARGE,
	.options = options_always,
};

static const struct space_ops process = {
	.name = "process",
	.id = "V8",
	.summary = "all of them: what a process owned comes back at its exit, shared frames last",
	.caps = EVERYBODY | SPACE_CAP_ZERO_FRAME | SPACE_CAP_ZERO_TABLE | SPACE_CAP_COW |
		SPACE_CAP_GUARDS | SPACE_CAP_LARGE,
	.options = options_asked,
};

const struct space_ops *const space_registry[] = {
	&none, &regions, &zero_frame, &zero_table, &cow, &guarded, &large, &process, NULL,
};

const struct space_ops *space_find(const char *name)
{
	for (const struct space_ops *const *ops = space_registry; *ops; ops++) {
		const char *a = (*ops)->name, *b = name;

		while (*a && *a == *b) {
			a++;
			b++;
		}
		if (*a == *b)
			return *ops;
	}
	return NULL;
}

void spaces_config_defaults(const struct table_ops *tables, const struct space_ops *policy,
			    struct spaces_config *config)
{
	config->table_ops = tables;
	config->policy = policy;
	table_config_defaults(tables, &config->tables);
	for (unsigned i = 0; i < SPACE_OPTIONS_MAX; i++)
		config->option[i] = 0;
	for (unsigned i = 0; policy->options && policy->options[i].key; i++)
		config->option[i] = policy->options[i].value;
}
