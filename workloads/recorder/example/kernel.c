/*
 * The smallest kernel that records itself: a frame allocator of a bitmap and a heap that cuts
 * frames into objects, driven for a while, then the machine is switched off.
 *
 *     gcc -m32 -ffreestanding -fno-pic -fno-stack-protector -nostdlib -static -no-pie \
 *         -Wl,-Ttext=0x100000,--build-id=none -I../../.. kernel.c -o kernel.elf
 *     qemu-system-i386 -kernel kernel.elf -display none -debugcon file:events.bin \
 *         -device isa-debug-exit,iobase=0xf4
 *     kmemlab import events.bin -o events.kmt
 */
#define KMEMLAB_RECORD_IMPLEMENTATION
#include "workloads/recorder/kmemlab_record.h"

/* Multiboot 1: magic, no flags, and what brings their sum to zero; then a stack and main. */
__asm__(".section .text\n"
	".align 4\n"
	".long 0x1badb002, 0, -0x1badb002\n"
	".globl _start\n"
	"_start:\n"
	"	mov $stack_top, %esp\n"
	"	call kernel_main\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	".section .bss\n"
	".align 16\n"
	"	.skip 16384\n"
	"stack_top:\n"
	".section .text\n");

#define FIRST_FRAME 0x400u
#define FRAMES	    256u
#define OBJECTS	    64u
#define FRAME_BYTES 4096u
/* QEMU's isa-debug-exit. */
#define EXIT_PORT 0xf4

static uint8_t taken[FRAMES];

static uint32_t frames_alloc(uint32_t count)
{
	for (uint32_t first = 0, run = 0; first + run < FRAMES;) {
		if (taken[first + run]) {
			first += run + 1;
			run = 0;
		} else if (++run == count) {
			for (uint32_t i = 0; i < count; i++)
				taken[first + i] = 1;
			kmemlab_frame_alloc(FIRST_FRAME + first, count);
			return FIRST_FRAME + first;
		}
	}
	kmemlab_frame_failed(count);
	return 0;
}

static void frames_free(uint32_t first, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		taken[first - FIRST_FRAME + i] = 0;
	kmemlab_frame_free(first, count);
}

static uint32_t heap_frame, heap_used;

static uint32_t heap_alloc(uint32_t bytes)
{
	if (heap_frame == 0 || heap_used + bytes > FRAME_BYTES) {
		heap_frame = frames_alloc(1);
		heap_used = 0;
	}
	uint32_t address = heap_frame * FRAME_BYTES + heap_used;
	heap_used += bytes;
	kmemlab_heap_alloc(address, bytes);
	return address;
}

static uint32_t random_below(uint32_t limit)
{
	static uint32_t state = 1;
	state = state * 1103515245u + 12345u;
	return (state >> 16) % limit;
}

void kernel_main(void);
void kernel_main(void)
{
	static uint32_t first[16], count[16], object[OBJECTS];

	kmemlab_record_begin(0);
	for (const char *text = "hello from the kernel\n"; *text; text++)
		kmemlab_record_out(0xe9, (uint8_t)*text);
	kmemlab_marker("boot done");
	for (uint32_t i = 0; i < 400; i++) {
		uint32_t slot = random_below(16);
		if (count[slot]) {
			frames_free(first[slot], count[slot]);
			count[slot] = 0;
		} else {
			count[slot] = 1 + random_below(24);
			first[slot] = frames_alloc(count[slot]);
			if (first[slot] == 0)
				count[slot] = 0;
		}
	}
	for (uint32_t i = 0; i < OBJECTS; i++)
		object[i] = heap_alloc(16 + 16 * random_below(8));
	for (uint32_t i = 0; i < OBJECTS; i++)
		kmemlab_heap_free(object[i]);
	kmemlab_marker("done");
	kmemlab_record_out(EXIT_PORT, 0);
}
