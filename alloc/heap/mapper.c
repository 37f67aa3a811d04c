#include "alloc/heap/mapper.h"

#include "alloc/port.h"
#include "alloc/table/table.h"

static int over_prepare(void *context, struct vaddr va, uint64_t bytes)
{
	struct tables *t = context;
	int error = table_reserve_kernel(t, va, vaddr_add(va, bytes));

	table_settle(t);
	return error;
}

static int over_map(void *context, struct vaddr va, struct pfn frame)
{
	struct tables *t = context;
	int error =
		table_map(t, &t->kernel, va, pfn_to_paddr(frame), 0, TABLE_WRITE | TABLE_GLOBAL);

	table_settle(t);
	return error;
}

struct told {
	heap_unmapped_fn fn;
	void *context;
};

static int tell(void *context, struct vaddr va, const struct table_leaf *leaf)
{
	const struct told *told = context;

	told->fn(told->context, va, paddr_to_pfn(leaf->paddr));
	return 0;
}

static void over_unmap(void *context, struct vaddr va, uint64_t bytes, heap_unmapped_fn fn,
		       void *fn_context)
{
	struct tables *t = context;
	struct told told = { fn, fn_context };

	/* Pages of 4 KiB only: nothing is split, so it cannot fail. */
	if (table_unmap(t, &t->kernel, va, vaddr_add(va, bytes), tell, &told))
		port_panic("a heap's region could not be unmapped");
	table_settle(t);
}

static bool over_query(void *context, struct vaddr va, struct pfn *frame)
{
	struct tables *t = context;
	struct table_leaf leaf;
	bool mapped = table_query(t, &t->kernel, va, &leaf);

	table_settle(t);
	if (mapped)
		*frame = paddr_to_pfn(leaf.paddr);
	return mapped;
}

static const struct heap_mapper_ops over_ops = {
	.prepare = over_prepare,
	.map = over_map,
	.unmap = over_unmap,
	.query = over_query,
};

struct heap_mapper heap_mapper_over(struct tables *t, struct vaddr base, uint64_t bytes)
{
	enum boot_paging paging = t->config.paging;

	return (struct heap_mapper){
		.ops = &over_ops,
		.context = t,
		.base = base,
		.bytes = bytes,
		.segments = paging == BOOT_PAGING_32 || paging == BOOT_PAGING_PAE,
	};
}
