/*
 * kmt_reseal.h - gives a damaged .kmt file valid checksums, lengths and an index again, so that the
 * damage reaches the code behind them.
 */
#ifndef KMEMLAB_TESTS_KMT_RESEAL_H
#define KMEMLAB_TESTS_KMT_RESEAL_H

#include <glib.h>

/* Walks the blocks from the header on, as far as they follow each other, and replaces what comes
 * behind them by an index and an end. Payloads are kept as they are, compressed or broken. */
void kmt_reseal(GByteArray *file);
/* Decompresses the payload of block `number`, calls change() with it, and compresses it again.
 * Returns false if there is no such block. The file needs resealing afterwards. */
gboolean kmt_change_payload(GByteArray *file, guint number, void (*change)(GByteArray *, void *),
			    void *data);

#endif
