/*
 * lock.h - the kernel's spinlock: a ticket lock that counts who had to wait.
 *
 *	next     ticket of the next one to come           [ 7 ]
 *	serving  ticket of the one who has the lock       [ 5 ]   two wait: 6, and who is about to
 *take 7
 *
 * Whoever comes takes a ticket with one atomic addition and waits until it is served, so that
 *nobody is overtaken. The counts stand beside the tickets and are written by the holder alone: they
 *cost no atomic operation, and are exact.
 *
 * Waiting is the outside's business (port_spin_wait()): a processor pauses, the lab notices a lock
 * that nobody will give back.
 *
 * Source: Mellor-Crummey, Scott: Algorithms for Scalable Synchronization, ACM TOCS 1991 (ticket
 * lock). Context: not from a fault handler that may interrupt its own holder.
 */
#ifndef KMEMLAB_ALLOC_LOCK_H
#define KMEMLAB_ALLOC_LOCK_H

#include <stdint.h>
#include "alloc/port.h"

/* A cache line to itself. All zero: free, never taken. */
struct spinlock {
	uint32_t next, serving;
	uint32_t holder; /* number of the CPU that has it, plus 1; 0: nobody */
	uint32_t unused;
	uint64_t acquisitions; /* how often it was taken */
	uint64_t contended;    /* of them, after having to wait */
	uint64_t waits;	       /* looks at it while waiting */
	uint64_t more[3];
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct spinlock) == 64, "a spinlock is a cache line");

/* Cost: an atomic addition. Does not return where the outside ends the wait. */
static inline void spin_lock(struct spinlock *lock)
{
	uint32_t ticket = __atomic_fetch_add(&lock->next, 1, __ATOMIC_RELAXED);
	uint64_t waits = 0;

	while (__atomic_load_n(&lock->serving, __ATOMIC_ACQUIRE) != ticket) {
		port_spin_wait(lock);
		waits++;
	}
	__atomic_store_n(&lock->holder, port_cpu() + 1, __ATOMIC_RELAXED);
	lock->acquisitions++;
	if (waits) {
		lock->contended++;
		lock->waits += waits;
	}
}

/* By the holder. Cost: a store. */
static inline void spin_unlock(struct spinlock *lock)
{
	__atomic_store_n(&lock->holder, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&lock->serving, lock->serving + 1, __ATOMIC_RELEASE);
}

#endif
