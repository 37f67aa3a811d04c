/*
 * reach.c - the slow side of reach.h: what is not in the direct map.
 */
#include "alloc/port.h"
#include "alloc/reach.h"

void reach_bind(struct reach *copy, const struct reach *configured)
{
	*copy = *configured;
	copy->base = port_ptr(configured->direct);
}

void *frame_open_window(const struct reach *reach, struct pfn frame)
{
	(void)reach;
	(void)frame;
	port_panic("frame_open: the frame is not in the direct map, and there is no window");
}
