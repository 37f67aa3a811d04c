/* A stand-in for a kernel, compiled freestanding: records go to a port that is a function. */
#include "tests/import/recorder_kernel.h"

#define KMEMLAB_RECORD_IMPLEMENTATION
#define KMEMLAB_RECORD_PUT(byte) recorder_port(byte)
#define KMEMLAB_RECORD_TIME()	 recorder_clock()
#define KMEMLAB_RECORD_CPU()	 1
#define KMEMLAB_RECORD_TASK()	 7
#define KMEMLAB_RECORD_LOCK()	 ((void)0)
#define KMEMLAB_RECORD_UNLOCK()	 ((void)0)
#include "workloads/recorder/kmemlab_record.h"

void recorder_kernel_run(void)
{
	kmemlab_record_begin(2000000000);
	kmemlab_marker("boot done");
	kmemlab_frame_alloc(0x105, 3);
	kmemlab_frame_free(0x106, 1);
	kmemlab_frame_free(0x105, 1);
	kmemlab_frame_free(0x107, 1);
	kmemlab_frame_failed(16);
	kmemlab_heap_alloc(UINT64_C(0xffffffff80001000), 100);
	kmemlab_heap_realloc(UINT64_C(0xffffffff80001000), UINT64_C(0xffffffff80002000), 300);
	kmemlab_heap_free(UINT64_C(0xffffffff80002000));
	kmemlab_heap_failed(5000);
	kmemlab_fork(8);
	kmemlab_exec("/bin/init");
	kmemlab_touch(0x400123, 5);
	kmemlab_exit();
}
