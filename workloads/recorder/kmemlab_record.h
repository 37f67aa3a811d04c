/*
 * kmemlab_record.h - record what your own kernel's memory manager does. One header, freestanding C
 * (C99 and GCC's or clang's inline assembly on x86; elsewhere define the output yourself).
 *
 * In one source file of the kernel:
 *
 *     #define KMEMLAB_RECORD_IMPLEMENTATION
 *     #include "kmemlab_record.h"
 *
 * everywhere else only the include. Then, in the allocators:
 *
 *     kmemlab_record_begin(2400000000);            once; cycles a second of the time stamps, 0
 * unknown kmemlab_frame_alloc(first_frame, frames);    a block of frames was given out
 *     kmemlab_frame_free(first_frame, frames);
 *     kmemlab_frame_failed(frames);
 *     kmemlab_heap_alloc(address, bytes);          an object
 *     kmemlab_heap_realloc(old, address, bytes);
 *     kmemlab_heap_free(address);
 *     kmemlab_heap_failed(bytes);
 *     kmemlab_touch(address, access);              a page fault of a process; 1 read 2 write 4
 * execute kmemlab_fork(child); kmemlab_exec(name); kmemlab_exit(); kmemlab_marker(text); "boot
 * done"
 *
 * Run the kernel under QEMU with `-debugcon file:events.bin` (port 0xE9, the default) or, with
 * KMEMLAB_RECORD_SERIAL defined to the port of a UART that is set up (0x3f8), `-serial
 * file:events.bin`, and `kmemlab import events.bin -o events.kmt`. Other text on the same port is
 * no harm: it is passed over.
 *
 * What may be defined before the include:
 *   KMEMLAB_RECORD_OFF          all of it becomes nothing
 *   KMEMLAB_RECORD_PUT(byte)    how a byte leaves the machine, in place of the port
 *   KMEMLAB_RECORD_TIME()       a 64-bit clock, in place of RDTSC
 *   KMEMLAB_RECORD_CPU()        number of the processor, 0 unless said otherwise
 *   KMEMLAB_RECORD_TASK()       number of the process, 0 unless said otherwise
 *   KMEMLAB_RECORD_LOCK(), KMEMLAB_RECORD_UNLOCK()
 *                               around a record, for several processors: a spin lock with
 *                               interrupts off. Without them interrupts are switched off (x86).
 *
 * A record: the byte 0xF5 (in no UTF-8 text), the length of what follows, less the check (1 byte);
 * the kind (1 byte), CPU, task, time, and the kind's numbers, each in groups of 7 bits, lowest
 * first, the top bit set in all but the last; a text, if the kind has one, to the end; the check, a
 * byte that brings the sum of all from the length on to zero. Kinds: the table in
 * enum kmemlab_record_kind.
 */
#ifndef KMEMLAB_RECORD_H
#define KMEMLAB_RECORD_H

#include <stdint.h>

enum kmemlab_record_kind {
	KMEMLAB_RECORD_BEGIN = 1,    /* format version 1, cycles a second */
	KMEMLAB_RECORD_FRAME_ALLOC,  /* first frame, frames */
	KMEMLAB_RECORD_FRAME_FREE,   /* first frame, frames */
	KMEMLAB_RECORD_FRAME_FAILED, /* frames */
	KMEMLAB_RECORD_HEAP_ALLOC,   /* address, bytes, site */
	KMEMLAB_RECORD_HEAP_REALLOC, /* old address, address, bytes, site */
	KMEMLAB_RECORD_HEAP_FREE,    /* address, site */
	KMEMLAB_RECORD_HEAP_FAILED,  /* bytes, site */
	KMEMLAB_RECORD_TOUCH,	     /* address, access */
	KMEMLAB_RECORD_FORK,	     /* child */
	KMEMLAB_RECORD_EXEC,	     /* text: the program's name */
	KMEMLAB_RECORD_EXIT,	     /* */
	KMEMLAB_RECORD_MARKER,	     /* text */
	KMEMLAB_RECORD_KINDS
};

#define KMEMLAB_RECORD_SYNC    0xf5
#define KMEMLAB_RECORD_VERSION 1
/* A record's length fits a byte. */
#define KMEMLAB_RECORD_BYTES   255
#define KMEMLAB_RECORD_NUMBERS 4

#ifdef KMEMLAB_RECORD_OFF
#define kmemlab_record(kind, count, a, b, c, d, text) ((void)0)
#else
/* The COUNT first of the numbers A to D, and TEXT unless it is 0. */
void kmemlab_record(int kind, int count, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
		    const char *text);
#endif

#define KMEMLAB_RECORD_SITE ((uint64_t)(uintptr_t)__builtin_return_address(0))

#define kmemlab_record_begin(hertz) \
	kmemlab_record(KMEMLAB_RECORD_BEGIN, 2, KMEMLAB_RECORD_VERSION, (hertz), 0, 0, 0)
#define kmemlab_frame_alloc(first, frames) \
	kmemlab_record(KMEMLAB_RECORD_FRAME_ALLOC, 2, (first), (frames), 0, 0, 0)
#define kmemlab_frame_free(first, frames) \
	kmemlab_record(KMEMLAB_RECORD_FRAME_FREE, 2, (first), (frames), 0, 0, 0)
#define kmemlab_frame_failed(frames) \
	kmemlab_record(KMEMLAB_RECORD_FRAME_FAILED, 1, (frames), 0, 0, 0, 0)
#define kmemlab_heap_alloc(address, bytes)                                                    \
	kmemlab_record(KMEMLAB_RECORD_HEAP_ALLOC, 3, (uint64_t)(uintptr_t)(address), (bytes), \
		       KMEMLAB_RECORD_SITE, 0, 0)
#define kmemlab_heap_realloc(old, address, bytes)                                  \
	kmemlab_record(KMEMLAB_RECORD_HEAP_REALLOC, 4, (uint64_t)(uintptr_t)(old), \
		       (uint64_t)(uintptr_t)(address), (bytes), KMEMLAB_RECORD_SITE, 0)
#define kmemlab_heap_free(address)                                                  \
	kmemlab_record(KMEMLAB_RECORD_HEAP_FREE, 2, (uint64_t)(uintptr_t)(address), \
		       KMEMLAB_RECORD_SITE, 0, 0, 0)
#define kmemlab_heap_failed(bytes) \
	kmemlab_record(KMEMLAB_RECORD_HEAP_FAILED, 2, (bytes), KMEMLAB_RECORD_SITE, 0, 0, 0)
#define kmemlab_touch(address, access) \
	kmemlab_record(KMEMLAB_RECORD_TOUCH, 2, (uint64_t)(uintptr_t)(address), (access), 0, 0, 0)
#define kmemlab_fork(child)   kmemlab_record(KMEMLAB_RECORD_FORK, 1, (child), 0, 0, 0, 0)
#define kmemlab_exec(name)    kmemlab_record(KMEMLAB_RECORD_EXEC, 0, 0, 0, 0, 0, (name))
#define kmemlab_exit()	      kmemlab_record(KMEMLAB_RECORD_EXIT, 0, 0, 0, 0, 0, 0)
#define kmemlab_marker(words) kmemlab_record(KMEMLAB_RECORD_MARKER, 0, 0, 0, 0, 0, (words))

#endif

#if defined(KMEMLAB_RECORD_IMPLEMENTATION) && !defined(KMEMLAB_RECORD_OFF)

#ifndef KMEMLAB_RECORD_PUT
static inline uint8_t kmemlab_record_in(uint16_t port)
{
	uint8_t value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}
static inline void kmemlab_record_out(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
#ifdef KMEMLAB_RECORD_SERIAL
/* 16550: bit 5 of the line status says that the transmitter takes a byte. */
#define KMEMLAB_RECORD_PUT(byte)                                               \
	do {                                                                   \
		while (!(kmemlab_record_in(KMEMLAB_RECORD_SERIAL + 5) & 0x20)) \
			;                                                      \
		kmemlab_record_out(KMEMLAB_RECORD_SERIAL, (byte));             \
	} while (0)
#else
#define KMEMLAB_RECORD_PUT(byte) kmemlab_record_out(0xe9, (byte))
#endif
#endif

#ifndef KMEMLAB_RECORD_TIME
static inline uint64_t kmemlab_record_time(void)
{
	uint32_t low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}
#define KMEMLAB_RECORD_TIME() kmemlab_record_time()
#endif

#ifndef KMEMLAB_RECORD_CPU
#define KMEMLAB_RECORD_CPU() 0
#endif
#ifndef KMEMLAB_RECORD_TASK
#define KMEMLAB_RECORD_TASK() 0
#endif

#ifndef KMEMLAB_RECORD_LOCK
/* An interrupt that records must not come in the middle of a record. */
#define KMEMLAB_RECORD_LOCK()    \
	uintptr_t kmemlab_flags; \
	__asm__ volatile("pushf\n\tpop %0\n\tcli" : "=r"(kmemlab_flags) : : "memory")
#define KMEMLAB_RECORD_UNLOCK()                  \
	do {                                     \
		if (kmemlab_flags & 0x200)       \
			__asm__ volatile("sti"); \
	} while (0)
#endif

static unsigned kmemlab_record_number(uint8_t *out, unsigned at, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		out[at++] = (uint8_t)(value | 0x80);
	out[at++] = (uint8_t)value;
	return at;
}

void kmemlab_record(int kind, int count, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
		    const char *text)
{
	const uint64_t number[KMEMLAB_RECORD_NUMBERS] = { a, b, c, d };
	uint8_t record[KMEMLAB_RECORD_BYTES + 1], sum = 0;
	unsigned at = 1;

	KMEMLAB_RECORD_LOCK();
	record[at++] = (uint8_t)kind;
	at = kmemlab_record_number(record, at, (uint64_t)KMEMLAB_RECORD_CPU());
	at = kmemlab_record_number(record, at, (uint64_t)KMEMLAB_RECORD_TASK());
	at = kmemlab_record_number(record, at, (uint64_t)KMEMLAB_RECORD_TIME());
	for (int i = 0; i < count; i++)
		at = kmemlab_record_number(record, at, number[i]);
	for (; text && *text && at <= KMEMLAB_RECORD_BYTES; text++)
		record[at++] = (uint8_t)*text;
	record[0] = (uint8_t)(at - 1);
	KMEMLAB_RECORD_PUT(KMEMLAB_RECORD_SYNC);
	for (unsigned i = 0; i < at; i++) {
		KMEMLAB_RECORD_PUT(record[i]);
		sum = (uint8_t)(sum + record[i]);
	}
	KMEMLAB_RECORD_PUT((uint8_t)(0u - sum));
	KMEMLAB_RECORD_UNLOCK();
}

#endif
