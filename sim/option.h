/* option.h - one setting of a system: `--set SLOT.KEY=VALUE`, for every slot alike. */
#ifndef KMEMLAB_SIM_OPTION_H
#define KMEMLAB_SIM_OPTION_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "alloc/frame/frame.h"

/* Sets VALUES[i] for the option i of SYSTEM that SETTING, "SLOT.KEY=VALUE", names. OPTIONS may be
 * NULL. LAB_ERROR_USAGE, which says what is possible. */
bool option_set(const struct frame_option *options, const char *system, const char *setting,
		uint64_t *values, GError **error);

#endif
