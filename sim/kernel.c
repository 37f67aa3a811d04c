#include "sim/kernel.h"

/* The probed build's twins; same types, prefixed names. */
int probed_boot(const struct boot_params *params, struct boot_result *result);
int probed_frame_alloc(const struct frames *frames, const struct frame_request *request,
		       struct frame_block *out);
int probed_frame_free(const struct frames *frames, const struct frame_block *block);
const struct frame_ops *probed_frame_find(const char *name);

const struct kernel kernels[PASSES] = {
	[PASS_NATIVE] = { "native", boot, frame_alloc, frame_free, frame_find },
	[PASS_PROBED] = { "probed", probed_boot, probed_frame_alloc, probed_frame_free,
			  probed_frame_find },
};
