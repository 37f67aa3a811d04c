/* experiment_cell.h - what an experiment varies, and one choice of it as a cell: its folder's name,
 * its command line, and why it cannot be. */
#ifndef KMEMLAB_SIM_EXPERIMENT_CELL_H
#define KMEMLAB_SIM_EXPERIMENT_CELL_H

#include "sim/experiment.h"

/* The lists of [cells], outermost first. */
enum experiment_axis {
	AXIS_TRACE = 0,
	AXIS_FRAMES,
	AXIS_HEAP,
	AXIS_TABLES,
	AXIS_SPACE,
	AXIS_MACHINE,
	AXIS_RAM,
	AXIS_START,
	AXIS_SEED,
	EXPERIMENT_AXES
};

struct experiment_axis_row {
	const char *key;
	const char *fallback; /* NULL: must be given */
	/* The switch of `kmemlab replay` that it is; its settings are `--set slot.KEY=VALUE`, NULL:
	 * it has none. */
	const char *option, *slot;
};
extern const struct experiment_axis_row experiment_axes[EXPERIMENT_AXES];

/* One item of every list. */
struct experiment_choice {
	const char *file;	/* the experiment's: paths in it are relative to it */
	const char *experiment; /* its name */
	const char *value[EXPERIMENT_AXES];
	bool several[EXPERIMENT_AXES]; /* the list has more items than this one */
	char *const *options;	       /* [options] as words, NULL-terminated */
};

/* "name[:key=value,...]" taken apart: the name, and "slot.key=value" for each setting,
 * NULL-terminated. A colon that no setting follows belongs to the name. */
char **experiment_settings(const char *text, const char *slot, char **name);

struct experiment_cell *experiment_cell_new(const struct experiment_choice *choice);
void experiment_cell_free(struct experiment_cell *cell);

/* Makes a cell that cannot be "skipped", with the reason as its message: the trace has nothing for
 * what was chosen, or the machine refuses the systems. *BLAMED is then the axis to look at. What
 * cannot be judged (a trace or a plugin that cannot be read) is left for the cell to fail of. */
void experiment_cell_judge(struct experiment_cell *cell, const struct experiment_choice *choice,
			   enum experiment_axis *blamed);

#endif
