/*
 * cpu.h - the instructions that the image needs and C has not.
 */
#ifndef KMEMLAB_TESTS_ORACLE_IMAGE_CPU_H
#define KMEMLAB_TESTS_ORACLE_IMAGE_CPU_H

#include <stdint.h>

/* A machine word: 4 bytes in the 32-bit image. */
typedef unsigned long word;

#define CPU_REGISTER(name)                                                    \
	static inline word read_##name(void)                                  \
	{                                                                     \
		word value;                                                   \
		__asm__ volatile("mov %%" #name ", %0" : "=r"(value));        \
		return value;                                                 \
	}                                                                     \
	static inline void write_##name(word value)                           \
	{                                                                     \
		__asm__ volatile("mov %0, %%" #name ::"r"(value) : "memory"); \
	}

CPU_REGISTER(cr0)
CPU_REGISTER(cr2)
CPU_REGISTER(cr3)
CPU_REGISTER(cr4)

static inline void write_msr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static inline uint64_t read_msr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static inline void write_pkru(uint32_t value)
{
	__asm__ volatile("wrpkru" ::"a"(value), "c"(0), "d"(0) : "memory");
}

static inline void load_ldt(uint16_t selector)
{
	__asm__ volatile("lldt %0" ::"r"(selector) : "memory");
}

static inline void write_port(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

struct cpuid {
	uint32_t a, b, c, d;
};

static inline struct cpuid read_cpuid(uint32_t leaf)
{
	struct cpuid id;

	__asm__ volatile("cpuid"
			 : "=a"(id.a), "=b"(id.b), "=c"(id.c), "=d"(id.d)
			 : "a"(leaf), "c"(0));
	return id;
}

#endif
