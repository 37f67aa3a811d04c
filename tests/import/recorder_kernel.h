/* recorder_kernel.h - a freestanding user of kmemlab_record.h and what it asks of its test. */
#ifndef KMEMLAB_TESTS_RECORDER_KERNEL_H
#define KMEMLAB_TESTS_RECORDER_KERNEL_H

#include <stdint.h>

void recorder_kernel_run(void);

void recorder_port(uint8_t byte);
uint64_t recorder_clock(void);

#endif
