/*
 * lab.h - the lab's one error domain. Messages say whose fault it is: "trace error:", "allocator
 * error:", "lab error:"; sim/cli turns codes into exit codes.
 */
#ifndef KMEMLAB_SIM_LAB_H
#define KMEMLAB_SIM_LAB_H

#include <glib.h>
#include <stdbool.h>

#define LAB_ERROR lab_error_quark()
GQuark lab_error_quark(void);

enum lab_error {
	LAB_ERROR_USAGE,     /* unknown name, absurd size: exit 2 */
	LAB_ERROR_BOOT,	     /* the memory manager cannot boot on that machine: exit 2 */
	LAB_ERROR_INPUT,     /* a file that is not what it should be: exit 3 */
	LAB_ERROR_ALLOCATOR, /* the kernel under test died where nothing can be measured: exit 1 */
	LAB_ERROR_LAB,	     /* the host refuses, or a defect of ours: exit 4 */
};

/* Sets LAB_ERROR_USAGE with the formatted message. Always returns false. */
bool lab_usage(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Sets LAB_ERROR_LAB "lab error: WHAT: strerror(errno)". Always returns false. */
bool lab_set_errno(GError **error, const char *what);

/* Hexadecimal; NULL where the file cannot be read. */
char *lab_file_sha256(const char *path);

#endif
