/* size.h - sizes on the command line and in files: a number with K, M, G or T (binary), or plain
 * bytes. */
#ifndef KMEMLAB_SIM_SIZE_H
#define KMEMLAB_SIM_SIZE_H

#include <stdbool.h>
#include <stdint.h>

/* False for anything else, for 2^64 and more, and for negative or empty text. */
bool size_parse(const char *text, uint64_t *bytes);
/* "512M", "1536K", "4097": the shortest exact form. Free with g_free(). */
char *size_format(uint64_t bytes);

#endif
