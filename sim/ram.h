/*
 * ram.h - simulated physical RAM: one sparse memfd, because it is mapped more than once (the lab's
 * own view, the boot loader's window, the direct map, later every window). Only touched frames cost
 * host memory.
 */
#ifndef KMEMLAB_SIM_RAM_H
#define KMEMLAB_SIM_RAM_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "alloc/addr.h"

struct ram {
	int fd;
	uint8_t *bytes; /* the lab's view: physical address = offset */
	uint64_t size;	/* bytes, a multiple of the frame size; addresses of holes are inside */
};

/* Largest physical address space that fits the lab's host mappings. */
#define RAM_MAX_BYTES (2ull << 40)

bool ram_init(struct ram *ram, uint64_t size, GError **error);
void ram_fini(struct ram *ram);

/* Maps [paddr, paddr + bytes) read-write at exactly HOST, which is inside a reservation. */
bool ram_map(const struct ram *ram, uint64_t paddr, uint64_t bytes, void *host, GError **error);

/* The frames that have host memory, because something wrote to them: struct frame_range, ascending.
 * Cost: a system call a range. */
GArray *ram_touched(const struct ram *ram);

/* Reserves address space: SIZE bytes at a multiple of ALIGN (power of two), no access. NULL with
 * error. */
uint8_t *ram_reserve(uint64_t size, uint64_t align, GError **error);
/* Gives what is mapped in [host, host + bytes) of a reservation up: no access again. */
void ram_unmap(void *host, uint64_t bytes);

#endif
