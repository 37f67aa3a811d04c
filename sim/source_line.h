/* source_line.h - which line of our own source an address in this program's code came from (DWARF
 * through libdw). */
#ifndef KMEMLAB_SIM_SOURCE_LINE_H
#define KMEMLAB_SIM_SOURCE_LINE_H

/* "alloc/frame/bitmap.c:123 (bitmap_alloc)", or as much of it as is known, at least the address.
 * For a return address pass one less: the call, not what follows it. Free with g_free(). Cost: the
 * first call reads the program's debug information. Not for signal handlers. */
char *source_line(const void *pc);

#endif
