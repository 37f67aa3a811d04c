/*
 * watchdog.h - ends an operation of the kernel that does not come back.
 *
 * A timer on the thread's CPU time looks in several times within the limit; an operation that is
 * still the same one when the limit has passed is left, as a page fault that nobody serves leaves
 * it (trap.h), kind "hang". In the probed build the next probe does the leaving, so that the lab is
 * never interrupted inside one; an endless loop without any access is left from the timer.
 *
 * CPU time, because kernel code has nothing to sleep in, and a busy host must not look like a hang.
 */
#ifndef KMEMLAB_SIM_WATCHDOG_H
#define KMEMLAB_SIM_WATCHDOG_H

#define WATCHDOG_DEFAULT_MS 60000 /* an audit of a full tebibyte takes seconds */

/* Watches the operations of this thread until watchdog_stop(). LIMIT_MS 0: none. Cost: a signal
 * every LIMIT_MS / 8 of CPU time, nothing an operation. */
void watchdog_start(unsigned limit_ms);
void watchdog_stop(void);

#endif
