/*
 * machine_file.h - a machine described in an INI file:
 *
 *     [machine]
 *     name = my-board             # else the file's name
 *     arch = x86_64               # or i386
 *     cpu = skylake               # an mmu preset, before what [mmu] changes
 *     ram = 2G                    # a PC's memory map of that size; cuts or extends one given below
 *     leaf = 4K
 *     paging = on
 *     windows = 1024
 *     stale-check = off
 *     [memory]
 *          e820 = board.e820           # a memory map of any form (memory_map.h) beside this one,
 * or # E820 lines themselves: e820 = [mem 0x0-0x9ffff] usable; [mem 0x100000-0xffffff] usable [mmu]
 *     l1d_4k.ways = 8             # any key of mmu_config_set()
 */
#ifndef KMEMLAB_SIM_MACHINE_FILE_H
#define KMEMLAB_SIM_MACHINE_FILE_H

#include "sim/machine.h"

/* Is the text such a file, and not one of E820 lines? */
bool machine_file_is(const char *text);

/* NULL with LAB_ERROR_USAGE that names PATH and line for what is unknown or impossible; what is
 * wrong with a memory map is said as memory_map_parse() says it. */
struct machine_config *machine_file_parse(const char *path, const char *text, GError **error);

#endif
