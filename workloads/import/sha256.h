/*
 * sha256.h - SHA-256 (FIPS 180-4) of a stream, with the processor's own instructions where it has
 * them: GLib's takes as long for a text recording as importing it does.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_SHA256_H
#define KMEMLAB_WORKLOADS_IMPORT_SHA256_H

#include <glib.h>
#include <stdint.h>

struct sha256 {
	GChecksum *portable; /* NULL where the instructions do the work */
	uint32_t state[8];
	uint64_t bytes; /* so far */
	unsigned char rest[64];
};

void sha256_init(struct sha256 *sum);
void sha256_fini(struct sha256 *sum);
void sha256_update(struct sha256 *sum, const void *data, size_t bytes);
/* Lower-case hex (transfer full); nothing more can be added. */
char *sha256_finish(struct sha256 *sum);

#endif
