/* ini.h - a file of groups and keys (GKeyFile), and where in it each stands. */
#ifndef KMEMLAB_SIM_INI_H
#define KMEMLAB_SIM_INI_H

#include <glib.h>
#include <stdbool.h>

#include "sim/lab.h"

struct ini {
	const char *path, *text; /* the caller's */
	GKeyFile *keys;
};

/* Every value of a file that was parsed can be read as a string. False with LAB_ERROR of CODE that
 * names PATH, and the line of a value that is no text. */
bool ini_parse(struct ini *ini, const char *path, const char *text, enum lab_error code,
	       GError **error);
void ini_clear(struct ini *ini); /* all zeroes as well */

/* From 1 on; 0: nowhere. KEY NULL: the group's own line. Cost: the length of the text. */
unsigned ini_line(const struct ini *ini, const char *group, const char *key);

#endif
