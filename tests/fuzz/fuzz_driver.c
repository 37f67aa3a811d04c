/*
 * fuzz_driver.c - for compilers without libFuzzer: runs a fuzz function over files as a fuzzer
 * found them, and, for some seconds, over mutations of them by seed.
 *
 *   fuzz_NAME [--seconds N] [--seed S] [--prefix BYTE] FILE...
 *
 * --prefix puts a byte before each file's content: recordings become inputs. A finding ends the
 * program; the input stands in fuzz-finding in the current folder.
 */
#include <glib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Larger seeds are cut: mutations should be many. */
enum { SEED_BYTES = 16 << 10, MOST_BYTES = 64 << 10, MOST_CHANGES = 6 };

static const char *const words[] = {
	"18446744073709551615",
	"-1",
	"0x",
	"99999999999999999999",
	"\n",
	"pfn=",
	"\"",
	"{",
	"[",
	",",
	"order=20",
	"[1000000]",
	":",
	" ",
	"\xff\xff\xff\xff\xff\xff\xff\xff",
};

static void overwrite(GByteArray *bytes, GRand *random)
{
	static const uint8_t odd[] = { 0, 1, 0x7f, 0x80, 0xff, '\n', ' ', '0', '-', ':' };

	if (bytes->len == 0)
		return;
	guint at = (guint)g_rand_int_range(random, 0, (gint)bytes->len);
	bytes->data[at] = g_rand_boolean(random)
				  ? odd[g_rand_int_range(random, 0, (gint)sizeof odd)]
				  : (uint8_t)g_rand_int(random);
}

static void insert(GByteArray *bytes, GRand *random, const void *what, guint length)
{
	guint at = (guint)g_rand_int_range(random, 0, (gint)bytes->len + 1);
	g_autofree uint8_t *copy = g_memdup2(what, length);

	g_byte_array_set_size(bytes, bytes->len + length);
	memmove(bytes->data + at + length, bytes->data + at, bytes->len - length - at);
	memcpy(bytes->data + at, copy, length);
}

static void cut(GByteArray *bytes, GRand *random)
{
	if (bytes->len < 2)
		return;
	guint at = (guint)g_rand_int_range(random, 0, (gint)bytes->len - 1);
	guint most = MIN(bytes->len - at, 200u);

	g_byte_array_remove_range(bytes, at, (guint)g_rand_int_range(random, 1, (gint)most + 1));
}

static void change(GByteArray *bytes, GRand *random, const GByteArray *other)
{
	const char *word = words[g_rand_int_range(random, 0, (gint)G_N_ELEMENTS(words))];
	guint from, length;

	switch (g_rand_int_range(random, 0, 6)) {
	case 0:
		cut(bytes, random);
		break;
	case 1:
		insert(bytes, random, word, (guint)strlen(word));
		break;
	case 2: /* a piece of another seed, or of this one */
		if (other->len == 0 || bytes->len > MOST_BYTES)
			break;
		from = (guint)g_rand_int_range(random, 0, (gint)other->len);
		length = MIN(other->len - from, 1 + g_rand_int(random) % 300);
		insert(bytes, random, other->data + from, length);
		break;
	default:
		overwrite(bytes, random);
		break;
	}
}

static void run_one(const GByteArray *bytes)
{
	/* In place and unsynced: it must outlive this process only. */
	FILE *file = fopen("fuzz-finding", "wb");

	if (!file || fwrite(bytes->data, 1, bytes->len, file) != bytes->len) {
		perror("fuzz-finding");
		exit(EXIT_FAILURE);
	}
	fclose(file);
	LLVMFuzzerTestOneInput(bytes->data, bytes->len);
}

static guint64 run_mutations(const GPtrArray *seeds, double seconds, guint32 seed)
{
	GRand *random = g_rand_new_with_seed(seed);
	gint64 end = g_get_monotonic_time() + (gint64)(seconds * 1e6);
	guint64 runs = 0;

	for (; seeds->len > 0 && g_get_monotonic_time() < end; runs++) {
		gint most = (gint)seeds->len;
		const GByteArray *from = seeds->pdata[g_rand_int_range(random, 0, most)];
		const GByteArray *other = seeds->pdata[g_rand_int_range(random, 0, most)];
		g_autoptr(GByteArray) bytes = g_byte_array_new();
		g_byte_array_append(bytes, from->data, from->len);
		for (gint i = g_rand_int_range(random, 1, MOST_CHANGES + 1); i > 0; i--)
			change(bytes, random, other);
		run_one(bytes);
	}
	g_rand_free(random);
	return runs;
}

static GByteArray *load(const char *path, int prefix)
{
	GByteArray *bytes = g_byte_array_new();
	const guint8 first = (guint8)prefix;
	char *content;
	gsize size;

	if (!g_file_get_contents(path, &content, &size, NULL)) {
		fprintf(stderr, "cannot read %s\n", path);
		exit(EXIT_FAILURE);
	}
	if (prefix >= 0)
		g_byte_array_append(bytes, &first, 1);
	g_byte_array_append(bytes, (guint8 *)content, (guint)MIN(size, SEED_BYTES));
	g_free(content);
	return bytes;
}

int main(int argc, char **argv)
{
	double seconds = 0;
	int seed = 1, prefix = -1;
	const GOptionEntry entries[] = {
		{ "seconds", 0, 0, G_OPTION_ARG_DOUBLE, &seconds, "Mutate so long", "N" },
		{ "seed", 0, 0, G_OPTION_ARG_INT, &seed, "Of the mutations", "S" },
		{ "prefix", 0, 0, G_OPTION_ARG_INT, &prefix, "Before each file", "BYTE" },
		{ NULL },
	};
	GOptionContext *context = g_option_context_new("FILE...");
	g_autoptr(GPtrArray) seeds =
		g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);

	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, NULL))
		return EXIT_FAILURE;
	g_option_context_free(context);
	for (int i = 1; i < argc; i++) {
		g_ptr_array_add(seeds, load(argv[i], prefix));
		run_one(seeds->pdata[i - 1]);
	}
	guint64 runs = run_mutations(seeds, seconds, (guint32)seed);
	remove("fuzz-finding");
	printf("%u files, %" G_GUINT64_FORMAT " mutations\n", seeds->len, runs);
	return EXIT_SUCCESS;
}
