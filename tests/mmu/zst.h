/*
 * zst.h - a whole .zst file in memory.
 */
#ifndef KMEMLAB_TESTS_MMU_ZST_H
#define KMEMLAB_TESTS_MMU_ZST_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>

/*
 * Decompress @path, but stop soon after @enough bytes (0: never). Returns malloc'd bytes with a NUL
 * behind; fails the test if it cannot.
 */
static inline char *zst_read(const char *path, size_t enough, size_t *bytes)
{
	FILE *file = fopen(path, "rb");
	ZSTD_DCtx *context = ZSTD_createDCtx();
	size_t in_size = ZSTD_DStreamInSize(), capacity = 1 << 20, got;
	char *in = malloc(in_size), *out = malloc(capacity + 1);

	ck_assert_msg(file != NULL, "cannot open %s", path);
	*bytes = 0;
	while ((enough == 0 || *bytes < enough) && (got = fread(in, 1, in_size, file)) > 0) {
		ZSTD_inBuffer input = { in, got, 0 };

		while (input.pos < input.size) {
			ZSTD_outBuffer output = { out, capacity, *bytes };

			ck_assert_msg(
				!ZSTD_isError(ZSTD_decompressStream(context, &output, &input)),
				"bad zstd data in %s", path);
			*bytes = output.pos;
			if (*bytes == capacity)
				out = realloc(out, (capacity *= 2) + 1);
		}
	}
	out[*bytes] = '\0';
	ZSTD_freeDCtx(context);
	free(in);
	fclose(file);
	return out;
}

#endif
