/*
 * An allocator that must not pass: it keeps state outside simulated RAM in every way there is, and
 * calls libc. symbols.py is held against it.
 */
#include <stddef.h>

void *malloc(size_t bytes);
_Noreturn void port_panic(const char *why);

static int in_bss;
static int in_data = 1;
static _Thread_local int per_thread;
int in_common;

static int legal(void)
{
	return 1;
}

/* Legal: constants, also those that need relocation. */
int (*const constant_table[])(void) = { legal };

void *planted_alloc(size_t bytes)
{
	if (in_bss++ + in_data++ + per_thread++ + in_common++ > 1000)
		port_panic("planted");
	return constant_table[0]() ? malloc(bytes) : NULL;
}
