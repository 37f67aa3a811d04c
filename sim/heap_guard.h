/*
 * heap_guard.h - what is planted around and in the objects of a heap, by the lab and not by the
 * heap, and found again:
 *
 *     what the heap handed out        |front| object                  |  behind  |
 *     red zones                        0xcc                             0xcc
 *     freed, until it comes back       0x6b 0x6b 0x6b ...  but for what the heap wrote there
 *
 * REDZONE widens each request, so that objects lie elsewhere than without it; the others change no
 * placement. A front zone has as many bytes as the object is aligned to, 16 at least, none above a
 * page.
 *
 * Free memory belongs to the heap, which may keep its records there: what it stored into a freed
 * object is its own from then on, by 8 bytes. What it did not store is the dead owner's. So
 *
 *   use-after-free   a load of what the dead owner left (collectors aside: they scan); or a store
 *                    there, by a heap that keeps nothing in free objects (HEAP_CAP_OUT_OF_BAND)
 *   poison           what the dead owner left is not what it was when the object comes back; in the
 *                    native build, where stores are not seen, of HEAP_CAP_OUT_OF_BAND heaps only
 *   object-touched   a load or store of the heap in a live object, its red zones included (loads of
 *                    collectors aside)
 *
 * Loads and stores are seen in the probed build, and named by their source line.
 */
#ifndef KMEMLAB_SIM_HEAP_GUARD_H
#define KMEMLAB_SIM_HEAP_GUARD_H

#include <glib.h>
#include <stdbool.h>

enum heap_guard {
	HEAP_GUARD_REDZONE = 1 << 0, /* bytes around objects are verified when they are freed */
	HEAP_GUARD_POISON = 1 << 1,  /* freed memory is overwritten, and verified at its return */
	HEAP_GUARD_ACCESS = 1 << 2,  /* loads and stores of the heap in objects (probed build) */
	HEAP_GUARD_MISUSE = 1 << 3,  /* double and foreign frees are tried, and must be refused */
	HEAP_GUARD_ALL = (1 << 4) - 1,
};

/* "redzone,poison", "all", "none". LAB_ERROR_USAGE for anything else. */
bool heap_guard_parse(const char *text, unsigned *guard, GError **error);
/* The words of it; free with g_free(). */
char *heap_guard_words(unsigned guard);

#endif
