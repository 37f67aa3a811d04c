#include "sim/kernel.h"

/* The probed build's twins; same types, prefixed names. */
int probed_boot(const struct boot_params *params, struct boot_result *result);
int probed_frame_alloc(const struct frames *frames, const struct frame_request *request,
		       struct frame_block *out);
int probed_frame_free(const struct frames *frames, const struct frame_block *block);
const struct frame_ops *probed_frame_find(const char *name);
const struct table_ops *probed_table_find(const char *name);
const struct space_ops *probed_space_find(const char *name);
uint64_t probed_spaces_state_bytes(const struct spaces_config *config, const char **why);
int probed_spaces_init(const struct spaces_config *config, void *state, struct spaces **out);
void probed_spaces_fini(struct spaces *s);
int probed_space_new(struct spaces *s, struct space **out);
int probed_space_fork(struct spaces *s, struct space *parent, struct space **out);
void probed_space_free(struct spaces *s, struct space *space);
int probed_space_map(struct spaces *s, struct space *space, uint64_t base, uint64_t end,
		     unsigned rights);
int probed_space_unmap(struct spaces *s, struct space *space, uint64_t base, uint64_t end);
int probed_space_protect(struct spaces *s, struct space *space, uint64_t base, uint64_t end,
			 unsigned rights);
int probed_space_brk(struct spaces *s, struct space *space, uint64_t brk);
void probed_space_switch(struct spaces *s, struct space *space);
int probed_space_fault(struct spaces *s, struct space *space, struct vaddr va, uint32_t error_code,
		       struct space_report *report);
int probed_space_check(struct spaces *s, struct space *space, struct violation *violation);

int probed_heap_alloc(const struct heap *heap, const struct heap_request *request, void **out);
int probed_heap_free(const struct heap *heap, void *object);
int probed_heap_realloc(const struct heap *heap, const struct heap_request *request, void **object);
int probed_heap_cache_new(const struct heap *heap, const struct heap_cache_request *request,
			  uint32_t *out);
const struct heap_ops *probed_heap_find(const char *name);
bool probed_heap_page_fault(void *context, struct vaddr va, uint32_t error_code);
int probed_table_init(const struct table_ops *ops, const struct table_config *config, void *state);
struct heap_mapper probed_heap_mapper_over(struct tables *t, struct vaddr base, uint64_t bytes);

const struct kernel kernels[PASSES] = {
	[PASS_NATIVE] = { "native", boot, frame_alloc, frame_free, frame_find, heap_alloc,
			  heap_free, heap_realloc, heap_cache_new, heap_find, heap_page_fault,
			  table_init, heap_mapper_over },
	[PASS_PROBED] = { "probed", probed_boot, probed_frame_alloc, probed_frame_free,
			  probed_frame_find, probed_heap_alloc, probed_heap_free,
			  probed_heap_realloc, probed_heap_cache_new, probed_heap_find,
			  probed_heap_page_fault, probed_table_init, probed_heap_mapper_over },
};

const struct kernel_spaces kernel_spaces[PASSES] = {
	[PASS_NATIVE] = { table_find, space_find, spaces_state_bytes, spaces_init, spaces_fini,
			  space_new, space_fork, space_free, space_map, space_unmap, space_protect,
			  space_brk, space_switch, space_fault, space_check },
	[PASS_PROBED] = { probed_table_find, probed_space_find, probed_spaces_state_bytes,
			  probed_spaces_init, probed_spaces_fini, probed_space_new,
			  probed_space_fork, probed_space_free, probed_space_map,
			  probed_space_unmap, probed_space_protect, probed_space_brk,
			  probed_space_switch, probed_space_fault, probed_space_check },
};
