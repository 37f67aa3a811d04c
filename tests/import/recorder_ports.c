/* The header's own output, through a UART: it must compile as a kernel compiles it. */
#define KMEMLAB_RECORD_IMPLEMENTATION
#define KMEMLAB_RECORD_SERIAL 0x3f8
#include "workloads/recorder/kmemlab_record.h"
