#include "sim/ram.h"
#include "sim/lab.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

bool ram_init(struct ram *ram, uint64_t size, GError **error)
{
	*ram = (struct ram){ .fd = -1 };
	if (size == 0 || size > RAM_MAX_BYTES) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_USAGE,
			    "RAM of %" G_GUINT64_FORMAT " bytes: 4K to 2T is possible", size);
		return false;
	}
	size = (size + 4095) & ~4095ull;
	ram->fd = memfd_create("kmemlab-ram", MFD_CLOEXEC);
	if (ram->fd < 0 || ftruncate(ram->fd, (off_t)size) != 0) {
		lab_set_errno(error, "cannot make simulated RAM");
		ram_fini(ram);
		return false;
	}
	void *view =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, ram->fd, 0);
	if (view == MAP_FAILED) {
		lab_set_errno(error, "cannot map simulated RAM");
		ram_fini(ram);
		return false;
	}
	ram->bytes = view;
	ram->size = size;
	return true;
}

void ram_fini(struct ram *ram)
{
	if (ram->bytes)
		munmap(ram->bytes, ram->size);
	if (ram->fd >= 0)
		close(ram->fd);
	*ram = (struct ram){ .fd = -1 };
}

bool ram_map(const struct ram *ram, uint64_t paddr, uint64_t bytes, void *host, GError **error)
{
	void *got = mmap(host, bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_NORESERVE | MAP_FIXED, ram->fd, (off_t)paddr);
	if (got != MAP_FAILED)
		return true;
	return lab_set_errno(error, "cannot map simulated RAM into a kernel window");
}

GArray *ram_touched(const struct ram *ram)
{
	GArray *touched = g_array_new(FALSE, FALSE, sizeof(struct frame_range));
	off_t end = 0;

	for (;;) {
		off_t begin = lseek(ram->fd, end, SEEK_DATA);
		end = begin < 0 ? -1 : lseek(ram->fd, begin, SEEK_HOLE);
		if (end < 0)
			return touched;
		struct frame_range range = { { (uint64_t)begin / FRAME_BYTES },
					     (uint64_t)(end - begin) / FRAME_BYTES };
		g_array_append_val(touched, range);
	}
}

uint8_t *ram_reserve(uint64_t size, uint64_t align, GError **error)
{
	uint64_t span = size + align;
	uint8_t *raw =
		mmap(NULL, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (raw == MAP_FAILED) {
		lab_set_errno(error, "cannot reserve the kernel's address space");
		return NULL;
	}
	uint8_t *aligned = (uint8_t *)(((uintptr_t)raw + align - 1) & ~(uintptr_t)(align - 1));
	if (aligned > raw)
		munmap(raw, (size_t)(aligned - raw));
	if (aligned + size < raw + span)
		munmap(aligned + size, (size_t)(raw + span - (aligned + size)));
	return aligned;
}

void ram_unmap(void *host, uint64_t bytes)
{
	void *got = mmap(host, bytes, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	if (got == MAP_FAILED)
		g_error("lab error: cannot drop a kernel window: %s", g_strerror(errno));
}
