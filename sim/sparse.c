#include "sim/sparse.h"

#include <sys/mman.h>

void *sparse_new(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	/* A huge page would cost 2 MiB for the first byte touched. Refusal costs memory only. */
	(void)madvise(memory, bytes, MADV_NOHUGEPAGE);
	return memory;
}

void sparse_touch(void *memory, size_t bytes)
{
	/* Refused by kernels before 5.14: the page faults then come later. */
	(void)madvise(memory, bytes, MADV_POPULATE_WRITE);
}

void sparse_free(void *memory, size_t bytes)
{
	if (memory)
		munmap(memory, bytes);
}
