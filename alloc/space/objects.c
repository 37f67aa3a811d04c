/*
 * objects.c - equal small objects in single frames.
 *
 *   frame | header: next, previous, free, used | object | object | free -> | free -> 0 |
 *                                                                  ^
 *   partial --> page <--> page                         header.free -+
 *
 * Invariants
 *  O1  used is the number of live objects of a page; a page with none has been given back.
 *  O2  A page is in `partial` iff it has a free object.
 *
 * Cost: a page's free list is built when its frame comes; alloc and free touch one page.
 */
#include "alloc/port.h"
#include "alloc/space/objects.h"

struct object_page {
	struct object_page *next, *previous;
	void *free; /* each begins with a pointer to the next */
	uint32_t used;
};

#define PAGE_HEADER round_up_u64(sizeof(struct object_page), 16)

void objects_init(struct objects *objects, const struct frames *frames, const struct reach *reach,
		  uint32_t bytes)
{
	*objects = (struct objects){ .frames = *frames,
				     .reach = *reach,
				     .bytes = (uint32_t)round_up_u64(bytes, 16) };
}

static void add_partial(struct objects *objects, struct object_page *page)
{
	page->previous = NULL;
	page->next = objects->partial;
	if (page->next)
		page->next->previous = page;
	objects->partial = page;
}

static void remove_partial(struct objects *objects, struct object_page *page)
{
	if (page->next)
		page->next->previous = page->previous;
	if (page->previous)
		page->previous->next = page->next;
	else
		objects->partial = page->next;
}

static struct object_page *new_page(struct objects *objects)
{
	struct frame_request request = { .frames = 1,
					 .align_frames = 1,
					 .zone = FRAME_ZONE_NORMAL,
					 .mobility = FRAME_UNMOVABLE,
					 .cpu = (uint16_t)port_cpu() };
	struct frame_block block;

	if (frame_alloc(&objects->frames, &request, &block))
		return NULL;
	struct object_page *page = frame_open(&objects->reach, block.first);

	*page = (struct object_page){ 0 };
	for (uint64_t at = PAGE_HEADER; at + objects->bytes <= FRAME_BYTES; at += objects->bytes) {
		void **object = (void **)((char *)page + at);

		*object = page->free;
		page->free = object;
	}
	objects->pages++;
	add_partial(objects, page);
	return page;
}

void *object_alloc(struct objects *objects)
{
	struct object_page *page = objects->partial ? objects->partial : new_page(objects);

	if (!page)
		return NULL;
	void **object = page->free;

	page->free = *object;
	page->used++;
	objects->live++;
	if (!page->free)
		remove_partial(objects, page);
	memset(object, 0, objects->bytes);
	return object;
}

/* The frame behind a page, which is in the direct map. */
static struct pfn frame_of(const struct objects *objects, const struct object_page *page)
{
	return pfn((uint64_t)((const char *)page - objects->reach.base) >> X86_PAGE_SHIFT);
}

void object_free(struct objects *objects, void *object)
{
	uint64_t offset = (uint64_t)((const char *)object - objects->reach.base);
	struct object_page *page =
		(struct object_page *)(objects->reach.base + (offset & ~(FRAME_BYTES - 1)));

	if (!page->free)
		add_partial(objects, page);
	*(void **)object = page->free;
	page->free = object;
	objects->live--;
	if (--page->used > 0)
		return;
	struct frame_block block = { frame_of(objects, page), 1 };

	remove_partial(objects, page);
	objects->pages--;
	if (frame_free(&objects->frames, &block) == KERR_NOT_OWNED)
		port_panic("spaces: the frame allocator does not know its own frame");
}
